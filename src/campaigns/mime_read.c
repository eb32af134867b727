/*
 * mime_read.c
 *		parse_mail(): what campaigns need to know of a mail that came in.
 *
 * Who wrote what in answer to which mail; is it a person or a machine; and, of
 * reports, which address was refused for what reason (RFC 3464) or who
 * complained (RFC 5965).  The mail is a stranger's: GMime reads any bytes, this
 * file bounds depth and sizes, and every text is made valid UTF-8.  A mail may
 * be cut short; what was there of it is read.
 *
 * Everything is collected in malloc'd memory, where nothing throws, and handed
 * to PostgreSQL at the end.
 */
#include "postgres.h"

#include <gmime/gmime.h>
#include <libxml/HTMLparser.h>

#include "campaigns/mime.h"
#include "compat.h"
#include "core/json.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"

#define MAX_PART_DEPTH 20
#define MAX_TEXT 65536			/* bytes kept of the text */
#define MAX_FIELD 1000			/* bytes kept of any other value */
#define MAX_LIST 100			/* references, recipients */

/* A text as JSON, valid and no longer than `most`; null for null. */
static json_t *
json_text(const char *text, gsize most)
{
	char	   *valid;
	json_t	   *value;

	if (text == NULL)
		return json_null();
	valid = g_utf8_make_valid(text, -1);
	if (strlen(valid) > most)
		*g_utf8_find_prev_char(valid, valid + most + 1) = '\0';
	value = json_string(g_strstrip(valid));
	g_free(valid);
	return value;
}

static void
put(json_t *into, const char *key, const char *text)
{
	if (text != NULL)
		json_object_set_new(into, key, json_text(text, MAX_FIELD));
}

/* --- headers --- */

static void
put_ids(json_t *found, const char *key, const char *header)
{
	GMimeReferences *ids = header != NULL ? g_mime_references_parse(NULL, header) : NULL;
	json_t	   *list = json_array();
	int			n = ids != NULL ? g_mime_references_length(ids) : 0;

	/* the last ones are the nearest */
	for (int i = Max(n - MAX_LIST, 0); i < n; i++)
		json_array_append_new(list, json_text(g_mime_references_get_message_id(ids, i), MAX_FIELD));
	if (ids != NULL)
		g_mime_references_free(ids);
	json_object_set_new(found, key, list);
}

static void
put_people(json_t *found, const char *key, InternetAddressList *people)
{
	json_t	   *list = json_array();
	int			n = people != NULL ? internet_address_list_length(people) : 0;

	for (int i = 0; i < Min(n, MAX_LIST); i++)
	{
		InternetAddress *one = internet_address_list_get_address(people, i);

		if (INTERNET_ADDRESS_IS_MAILBOX(one))
			json_array_append_new(list, json_text(internet_address_mailbox_get_addr(
												  INTERNET_ADDRESS_MAILBOX(one)), MAX_FIELD));
	}
	json_object_set_new(found, key, list);
}

static bool
header_is(GMimeObject *object, const char *name, const char *prefix)
{
	const char *value = g_mime_object_get_header(object, name);

	return value != NULL && g_ascii_strncasecmp(value, prefix, strlen(prefix)) == 0;
}

/* Did a machine write it?  RFC 3834, and what was usual before it. */
static bool
is_automatic(GMimeObject *message)
{
	const char *submitted = g_mime_object_get_header(message, "Auto-Submitted");

	return (submitted != NULL && g_ascii_strncasecmp(submitted, "no", 2) != 0) ||
		g_mime_object_get_header(message, "X-Autoreply") != NULL ||
		g_mime_object_get_header(message, "X-Autorespond") != NULL ||
		g_mime_object_get_header(message, "List-Id") != NULL ||
		header_is(message, "Precedence", "bulk") || header_is(message, "Precedence", "junk") ||
		header_is(message, "Precedence", "auto") || header_is(message, "Return-Path", "<>");
}

static void
read_headers(GMimeMessage *message, json_t *found)
{
	GMimeObject *object = GMIME_OBJECT(message);
	GDateTime  *date = g_mime_message_get_date(message);

	put(found, "message_id", g_mime_message_get_message_id(message));
	put(found, "subject", g_mime_message_get_subject(message));
	put_ids(found, "in_reply_to", g_mime_object_get_header(object, "In-Reply-To"));
	put_ids(found, "references", g_mime_object_get_header(object, "References"));
	put_people(found, "from", g_mime_message_get_from(message));
	put_people(found, "to", g_mime_message_get_to(message));
	if (date != NULL)
		json_object_set_new(found, "date", json_integer(g_date_time_to_unix(date)));
	json_object_set_new(found, "automatic", json_boolean(is_automatic(object)));
}

/* --- parts --- */

/* The decoded content of a part; g_free it. */
static char *
part_content(GMimeObject *object)
{
	GMimeDataWrapper *wrapper = GMIME_IS_PART(object) ? g_mime_part_get_content(GMIME_PART(object)) : NULL;
	GMimeStream *stream;
	GByteArray *bytes;
	char	   *text;

	if (wrapper == NULL)
		return NULL;
	stream = g_mime_stream_mem_new();
	g_mime_data_wrapper_write_to_stream(wrapper, stream);
	bytes = g_mime_stream_mem_get_byte_array(GMIME_STREAM_MEM(stream));
	text = g_strndup((char *) bytes->data, bytes->len);
	g_object_unref(stream);
	return text;
}

/* Text of a HTML page, without scripts and styles; free() it. */
static void
gather_text(xmlNode *node, GString *out, int depth)
{
	for (; node != NULL && depth < 200 && out->len < MAX_TEXT; node = node->next)
	{
		if (node->type == XML_TEXT_NODE && node->content != NULL)
			g_string_append(out, (char *) node->content);
		if (node->type != XML_ELEMENT_NODE || xmlStrEqual(node->name, BAD_CAST "script") ||
			xmlStrEqual(node->name, BAD_CAST "style") || xmlStrEqual(node->name, BAD_CAST "blockquote"))
			continue;
		gather_text(node->children, out, depth + 1);
		if (xmlStrEqual(node->name, BAD_CAST "p") || xmlStrEqual(node->name, BAD_CAST "br") ||
			xmlStrEqual(node->name, BAD_CAST "div") || xmlStrEqual(node->name, BAD_CAST "tr"))
			g_string_append_c(out, '\n');
	}
}

static char *
html_text(const char *html)
{
	htmlDocPtr	page = htmlReadMemory(html, strlen(html), NULL, "UTF-8",
									  HTML_PARSE_NOERROR | HTML_PARSE_NOWARNING | HTML_PARSE_NONET |
									  HTML_PARSE_RECOVER);
	GString    *out = g_string_new(NULL);

	if (page != NULL)
		gather_text(xmlDocGetRootElement(page), out, 0);
	xmlFreeDoc(page);
	return g_string_free(out, FALSE);
}

static void
read_text(GMimeObject *object, json_t *found)
{
	GMimeContentDisposition *place = g_mime_object_get_content_disposition(object);
	bool		html = g_mime_content_type_is_type(g_mime_object_get_content_type(object), "text", "html");
	const char *key = html ? "html_text" : "text";
	char	   *text;

	if ((place != NULL && g_mime_content_disposition_is_attachment(place)) ||
		json_object_get(found, key) != NULL)
		return;
	text = g_mime_text_part_get_text(GMIME_TEXT_PART(object));
	if (html && text != NULL)
	{
		char	   *page = g_utf8_make_valid(text, -1);

		g_free(text);
		text = html_text(page);
		g_free(page);
	}
	if (text != NULL)
		json_object_set_new(found, key, json_text(text, MAX_TEXT));
	g_free(text);
}

/*
 * Blocks of "Name: value" lines, an empty line between them, as reports hold
 * them; each becomes an object with names in lower case.
 */
static void
read_blocks(GMimeObject *object, json_t *into)
{
	char	   *content = part_content(object);
	char	  **lines = g_strsplit(content != NULL ? content : "", "\n", 10000);
	json_t	   *block = NULL;
	char	   *last = NULL;

	for (int i = 0; lines[i] != NULL && json_array_size(into) <= MAX_LIST; i++)
	{
		char	   *colon = strchr(lines[i], ':');
		char	   *name;

		g_strchomp(lines[i]);
		if (lines[i][0] == '\0')
		{
			block = NULL;
			continue;
		}
		if ((lines[i][0] == ' ' || lines[i][0] == '\t') && block != NULL && last != NULL)
		{
			const char *so_far = json_string_value(json_object_get(block, last));
			char	   *longer = g_strconcat(so_far ? so_far : "", " ", g_strchug(lines[i]), NULL);

			put(block, last, longer);
			g_free(longer);
			continue;
		}
		if (colon == NULL || colon - lines[i] > 100)
			continue;
		if (block == NULL)
		{
			block = json_new_object();
			json_array_append_new(into, block);
		}
		name = g_ascii_strdown(lines[i], colon - lines[i]);
		g_free(last);
		last = g_utf8_make_valid(name, -1);
		g_free(name);
		put(block, last, g_strstrip(colon + 1));
	}
	g_free(last);
	g_strfreev(lines);
	g_free(content);
}

/* The mail that a report is about: its own headers suffice. */
static void
read_original(GMimeMessage *original, json_t *found)
{
	json_t	   *about = json_new_object();

	put(about, "message_id", g_mime_message_get_message_id(original));
	put_people(about, "to", g_mime_message_get_to(original));
	json_object_set_new(found, "original", about);
}

static GMimeMessage *
parse(const char *bytes, size_t length)
{
	GMimeStream *stream = g_mime_stream_mem_new_with_buffer(bytes, length);
	GMimeParser *parser = g_mime_parser_new_with_stream(stream);
	GMimeMessage *message = g_mime_parser_construct_message(parser, NULL);

	g_object_unref(parser);
	g_object_unref(stream);
	return message;
}

static void
read_part(GMimeObject *object, json_t *found, int depth)
{
	GMimeContentType *type = object != NULL ? g_mime_object_get_content_type(object) : NULL;

	if (type == NULL || depth > MAX_PART_DEPTH)
		return;
	if (GMIME_IS_MULTIPART(object))
	{
		int			n = g_mime_multipart_get_count(GMIME_MULTIPART(object));

		if (g_mime_content_type_is_type(type, "multipart", "report"))
			put(found, "report", g_mime_content_type_get_parameter(type, "report-type"));
		for (int i = 0; i < Min(n, MAX_LIST); i++)
			read_part(g_mime_multipart_get_part(GMIME_MULTIPART(object), i), found, depth + 1);
	}
	else if (GMIME_IS_MESSAGE_PART(object))
	{
		GMimeMessage *inner = g_mime_message_part_get_message(GMIME_MESSAGE_PART(object));

		if (inner != NULL && json_object_get(found, "original") == NULL)
			read_original(inner, found);
	}
	else if (g_mime_content_type_is_type(type, "text", "rfc822-headers"))
	{
		char	   *content = part_content(object);
		GMimeMessage *inner = content != NULL ? parse(content, strlen(content)) : NULL;

		if (inner != NULL && json_object_get(found, "original") == NULL)
			read_original(inner, found);
		if (inner != NULL)
			g_object_unref(inner);
		g_free(content);
	}
	else if (g_mime_content_type_is_type(type, "message", "delivery-status"))
		read_blocks(object, json_object_get(found, "delivery"));
	else if (g_mime_content_type_is_type(type, "message", "feedback-report"))
		read_blocks(object, json_object_get(found, "feedback"));
	else if (GMIME_IS_TEXT_PART(object))
		read_text(object, found);
}

PG_FUNCTION_INFO_V1(sales_parse_mail);
PG_FUNCTION_INFO_V1(sales_text_of_html);

/* sales_internal.text_of_html(html text) → text: what a reader without HTML sees */
Datum
sales_text_of_html(PG_FUNCTION_ARGS)
{
	char	   *plain = html_text(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	text	   *result = NULL;

	PG_TRY();
	{
		result = cstring_to_text(plain);
	}
	PG_FINALLY();
	{
		g_free(plain);
	}
	PG_END_TRY();
	PG_RETURN_TEXT_P(result);
}

/*
 * sales_internal.parse_mail(raw bytea) → jsonb, null where it is no mail:
 *   message_id, subject, date (seconds), from, to, in_reply_to, references
 *   (arrays), automatic (boolean), text, html_text; of reports: report (its
 *   type), delivery and feedback (arrays of their fields), original.
 */
Datum
sales_parse_mail(PG_FUNCTION_ARGS)
{
	bytea	   *raw = PG_GETARG_BYTEA_PP(0);
	GMimeMessage *message;
	json_t	   *found;
	char	   *text = NULL;
	Datum		result = (Datum) 0;

	mime_start();
	message = parse(VARDATA_ANY(raw), VARSIZE_ANY_EXHDR(raw));
	if (message == NULL)
		PG_RETURN_NULL();
	found = json_new_object();
	json_object_set_new(found, "delivery", json_array());
	json_object_set_new(found, "feedback", json_array());
	read_headers(message, found);
	read_part(g_mime_message_get_mime_part(message), found, 0);
	g_object_unref(message);
	text = json_dumps(found, JSON_COMPACT);
	json_decref(found);
	if (text == NULL)
		elog(ERROR, "out of memory");
	PG_TRY();
	{
		result = DirectFunctionCall1(jsonb_in, CStringGetDatum(text));
	}
	PG_FINALLY();
	{
		free(text);
	}
	PG_END_TRY();
	PG_RETURN_DATUM(result);
}
