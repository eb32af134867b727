/*
 * mime_write.c
 *		build_mail(): a mail from its parts, by GMime.
 *
 * Names, subjects and addresses come from tenants and from strangers.  GMime
 * encodes whatever is not plain; before that, every control character becomes
 * a blank and every address is checked, so no value can start a header of its
 * own.  The result is ASCII with CRLF: any mail server takes it.
 *
 * GMime allocates with malloc and never longjmps; nothing here throws between
 * making its objects and freeing them.
 */
#include "postgres.h"

#include <gmime/gmime.h>

#include "campaigns/mime.h"
#include "core/email.h"
#include "core/json.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

void
mime_start(void)
{
	static bool started = false;

	if (!started)
		g_mime_init();
	started = true;
}

/* The text without control characters; malloc'd. */
static char *
clean(const char *text)
{
	char	   *copy = g_utf8_make_valid(text, -1);

	for (char *p = copy; *p; p++)
		if ((unsigned char) *p < 0x20 || *p == 0x7f)
			*p = ' ';
	return g_strstrip(copy);
}

static const char *
text_of(json_t *parts, const char *key)
{
	const char *text = json_string_value(json_object_get(parts, key));

	return text != NULL && text[0] != '\0' ? text : NULL;
}

/* A mailbox for the header; its address has been checked. */
static InternetAddress *
mailbox(json_t *person)
{
	const char *name = text_of(person, "name");
	char	   *shown = name != NULL ? clean(name) : NULL;
	InternetAddress *box = internet_address_mailbox_new(shown, text_of(person, "address"));

	g_free(shown);
	return box;
}

static void
add_mailbox(InternetAddressList *list, json_t *person)
{
	InternetAddress *box = mailbox(person);

	internet_address_list_add(list, box);
	g_object_unref(box);
}

/* A text part, quoted-printable, so that no line is long and no byte is high. */
static GMimeObject *
text_part(const char *subtype, const char *content)
{
	GMimePart  *part = g_mime_part_new_with_type("text", subtype);
	char	   *valid = g_utf8_make_valid(content, -1);
	GMimeStream *stream = g_mime_stream_mem_new_with_buffer(valid, strlen(valid));
	GMimeDataWrapper *wrapper = g_mime_data_wrapper_new_with_stream(stream, GMIME_CONTENT_ENCODING_DEFAULT);

	g_mime_part_set_content(part, wrapper);
	g_mime_object_set_content_type_parameter(GMIME_OBJECT(part), "charset", "utf-8");
	g_mime_part_set_content_encoding(part, GMIME_CONTENT_ENCODING_QUOTEDPRINTABLE);
	g_object_unref(wrapper);
	g_object_unref(stream);
	g_free(valid);
	return GMIME_OBJECT(part);
}

static GMimeObject *
body(json_t *parts)
{
	const char *plain = text_of(parts, "text");
	const char *html = text_of(parts, "html");
	GMimeMultipart *both;
	GMimeObject *part;

	if (html == NULL)
		return text_part("plain", plain != NULL ? plain : "");
	if (plain == NULL)
		return text_part("html", html);
	both = g_mime_multipart_new_with_subtype("alternative");
	part = text_part("plain", plain);
	g_mime_multipart_add(both, part);
	g_object_unref(part);
	part = text_part("html", html);
	g_mime_multipart_add(both, part);
	g_object_unref(part);
	return GMIME_OBJECT(both);
}

/*
 * Of GMime's own accord a long word would become an encoded one, which no reader
 * of a link or a Message-ID expects.  So plain values are set as they are,
 * folded at blanks.
 */
static void
set_header(GMimeMessage *message, const char *name, const char *value)
{
	char	   *cleaned = clean(value);
	GMimeHeader *header;
	GString    *raw;
	int			column = strlen(name) + 1;
	char	  **words;

	g_mime_object_set_header(GMIME_OBJECT(message), name, cleaned, "utf-8");
	header = g_mime_header_list_get_header(g_mime_object_get_header_list(GMIME_OBJECT(message)), name);
	if (header != NULL && g_str_is_ascii(cleaned))
	{
		words = g_strsplit(cleaned, " ", -1);
		raw = g_string_new(NULL);
		for (int i = 0; words[i] != NULL; i++)
		{
			if (words[i][0] == '\0')
				continue;
			if (raw->len > 0 && column + strlen(words[i]) > 76)
			{
				g_string_append_c(raw, '\n');
				column = 0;
			}
			g_string_append_printf(raw, " %s", words[i]);
			column += strlen(words[i]) + 1;
		}
		g_string_append_c(raw, '\n');
		g_mime_header_set_raw_value(header, raw->str);
		g_string_free(raw, TRUE);
		g_strfreev(words);
	}
	g_free(cleaned);
}

/* Every line ends with CRLF; g_free it. */
static char *
with_crlf(const char *text)
{
	GString    *out = g_string_sized_new(strlen(text) * 21 / 20 + 16);

	for (const char *p = text; *p; p++)
	{
		if (*p == '\n' && (p == text || p[-1] != '\r'))
			g_string_append_c(out, '\r');
		g_string_append_c(out, *p);
	}
	return g_string_free(out, FALSE);
}

/* The mail; g_free it. */
static char *
write_mail(json_t *parts)
{
	GMimeMessage *message = g_mime_message_new(FALSE);
	GMimeFormatOptions *format = g_mime_format_options_new();
	GMimeObject *content = body(parts);
	const char *name;
	json_t	   *value;
	GDateTime  *date;
	char	   *text;
	char	   *mail;

	add_mailbox(g_mime_message_get_from(message), json_object_get(parts, "from"));
	add_mailbox(g_mime_message_get_to(message), json_object_get(parts, "to"));
	if (json_is_object(json_object_get(parts, "reply_to")))
		add_mailbox(g_mime_message_get_reply_to(message), json_object_get(parts, "reply_to"));
	if (text_of(parts, "subject") != NULL)
	{
		text = clean(text_of(parts, "subject"));
		g_mime_message_set_subject(message, text, "utf-8");
		g_free(text);
	}
	date = g_date_time_new_from_unix_utc(json_integer_value(json_object_get(parts, "date")));
	if (date != NULL)
	{
		g_mime_message_set_date(message, date);
		g_date_time_unref(date);
	}
	if (text_of(parts, "message_id") != NULL)
	{
		text = clean(text_of(parts, "message_id"));
		g_mime_message_set_message_id(message, text);
		g_free(text);
	}
	json_object_foreach(json_object_get(parts, "headers"), name, value)
		if (json_is_string(value))
			set_header(message, name, json_string_value(value));
	g_mime_message_set_mime_part(message, content);
	g_object_unref(content);
	g_mime_format_options_set_newline_format(format, GMIME_NEWLINE_FORMAT_DOS);
	text = g_mime_object_to_string(GMIME_OBJECT(message), format);
	g_mime_format_options_free(format);
	g_object_unref(message);
	mail = with_crlf(text);
	g_free(text);
	return mail;
}

static bool
is_person(json_t *person, bool needed)
{
	const char *address = json_is_object(person) ? text_of(person, "address") : NULL;
	const char *reason;

	if (address == NULL)
		return !needed && !json_is_object(person);
	for (const char *p = address; *p; p++)
		if ((unsigned char) *p >= 0x80 || (unsigned char) *p <= 0x20)
			return false;
	return email_is_valid(address, strlen(address), &reason);
}

/* What is wrong with the parts; null when nothing is. */
static const char *
parts_problem(json_t *parts)
{
	const char *name;
	json_t	   *value;

	if (!is_person(json_object_get(parts, "from"), true))
		return "the sender is no address that a mail can carry";
	if (!is_person(json_object_get(parts, "to"), true))
		return "the recipient is no address that a mail can carry";
	if (!is_person(json_object_get(parts, "reply_to"), false))
		return "reply_to is no address that a mail can carry";
	json_object_foreach(json_object_get(parts, "headers"), name, value)
		for (const char *p = name; *p; p++)
			if (!isalnum((unsigned char) *p) && *p != '-')
				return "the name of a header holds what it must not";
	return NULL;
}

PG_FUNCTION_INFO_V1(sales_build_mail);

/*
 * sales_internal.build_mail(parts jsonb) → text
 *
 * parts: from, to, reply_to {"name", "address"}; subject, text, html,
 * message_id (without <>), date (seconds since 1970), headers (object).
 */
Datum
sales_build_mail(PG_FUNCTION_ARGS)
{
	char	   *source = DatumGetCString(DirectFunctionCall1(jsonb_out, PG_GETARG_DATUM(0)));
	json_t	   *parts = json_loads(source, 0, NULL);
	const char *problem = parts != NULL ? parts_problem(parts) : "the parts are no object";
	char	   *mail = NULL;
	text	   *result = NULL;

	if (problem == NULL)
	{
		mime_start();
		mail = write_mail(parts);
	}
	json_decref(parts);
	if (problem != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", problem)));
	PG_TRY();
	{
		result = cstring_to_text(mail);
	}
	PG_FINALLY();
	{
		g_free(mail);
	}
	PG_END_TRY();
	PG_RETURN_TEXT_P(result);
}
