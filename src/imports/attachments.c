/*
 * attachments.c
 *		The attachments of a mail, by GMime.
 *
 * An attachment is a part that says so, that has a file name, or that is neither
 * text nor a container.  A mail inside
 * a mail, as forwarded ones are, is looked into.  Names are decoded whatever
 * way they were written (RFC 2231, RFC 2047, bare bytes) and lose their folders.
 *
 * The mail is a stranger's: GMime takes any bytes, depth and number of parts are
 * bounded here.  All is collected in GLib's memory, where nothing throws, and
 * handed to PostgreSQL at the end; GLib's memory is freed before anything can.
 */
#include "postgres.h"

#include <gmime/gmime.h>

#include "campaigns/mime.h"
#include "compat.h"
#include "fmgr.h"
#include "funcapi.h"
#include "utils/builtins.h"

#define MAX_DEPTH 20
#define MAX_ATTACHMENTS 200

typedef struct Attachment
{
	char	   *name;
	char	   *type;
	GByteArray *content;
} Attachment;

typedef struct Found
{
	GPtrArray  *attachments;
} Found;

static void
free_attachment(gpointer data)
{
	Attachment *a = data;

	g_free(a->name);
	g_free(a->type);
	g_byte_array_unref(a->content);
	g_free(a);
}

/* Without folders and control characters; null when nothing is left. */
static char *
plain_name(const char *name)
{
	char	   *valid;
	char	   *base;

	if (name == NULL)
		return NULL;
	valid = g_utf8_make_valid(name, -1);
	for (char *p = valid; *p != '\0'; p++)
		if ((unsigned char) *p < ' ' || *p == 0x7F)
			*p = ' ';
	base = strrchr(valid, '/');
	base = base != NULL ? base + 1 : valid;
	if (strrchr(base, '\\') != NULL)
		base = strrchr(base, '\\') + 1;
	base = g_strstrip(g_strdup(base));
	g_free(valid);
	if (*base != '\0')
		return base;
	g_free(base);
	return NULL;
}

/* Base64 whose last group lacks its padding: GMime would drop what is there of it. */
static void
finish_base64(GByteArray *raw, GByteArray *bytes)
{
	GMimeEncoding state;
	size_t		letters = 0;

	for (guint i = 0; i < raw->len; i++)
		letters += g_ascii_isalnum(raw->data[i]) || raw->data[i] == '+' || raw->data[i] == '/';
	if (letters % 4 < 2 || memchr(raw->data, '=', raw->len) != NULL)
		return;
	g_byte_array_append(raw, (const guint8 *) "==", 4 - letters % 4);
	g_mime_encoding_init_decode(&state, GMIME_CONTENT_ENCODING_BASE64);
	g_byte_array_set_size(bytes, g_mime_encoding_outlen(&state, raw->len));
	g_byte_array_set_size(bytes, g_mime_encoding_step(&state, (char *) raw->data, raw->len, (char *) bytes->data));
}

/* Everything that a stream writes, in memory of its own. */
static GByteArray *
collect(GMimeDataWrapper *content, gboolean decoded)
{
	GByteArray *bytes = g_byte_array_new();
	GMimeStream *stream = g_mime_stream_mem_new_with_byte_array(bytes);

	g_mime_stream_mem_set_owner(GMIME_STREAM_MEM(stream), FALSE);
	if (decoded)
		g_mime_data_wrapper_write_to_stream(content, stream);
	else
	{
		g_mime_stream_reset(g_mime_data_wrapper_get_stream(content));
		g_mime_stream_write_to_stream(g_mime_data_wrapper_get_stream(content), stream);
	}
	g_object_unref(stream);
	return bytes;
}

static GByteArray *
part_bytes(GMimePart *part)
{
	GMimeDataWrapper *content = g_mime_part_get_content(part);
	GByteArray *bytes;

	if (content == NULL)
		return g_byte_array_new();
	bytes = collect(content, TRUE);
	if (g_mime_data_wrapper_get_encoding(content) == GMIME_CONTENT_ENCODING_BASE64)
	{
		GByteArray *raw = collect(content, FALSE);

		finish_base64(raw, bytes);
		g_byte_array_unref(raw);
	}
	/* The line end before a boundary at the end of the mail is the boundary's. */
	else if (bytes->len > 2 && memcmp(bytes->data + bytes->len - 3, "\r\n\r", 3) == 0)
		g_byte_array_set_size(bytes, bytes->len - 1);
	return bytes;
}

static void
take(GMimeObject *object, Found *found)
{
	GMimeContentType *type = g_mime_object_get_content_type(object);
	const char *disposition = g_mime_object_get_disposition(object);
	bool		is_text = type != NULL && g_mime_content_type_is_type(type, "text", "*");
	char	   *name = plain_name(g_mime_part_get_filename(GMIME_PART(object)));
	bool		is_body = is_text && name == NULL &&
		(disposition == NULL || g_ascii_strcasecmp(disposition, "attachment") != 0);
	Attachment *a;

	if (is_body || found->attachments->len >= MAX_ATTACHMENTS)
	{
		g_free(name);
		return;
	}
	a = g_new0(Attachment, 1);
	a->name = name;
	a->type = type != NULL ? g_mime_content_type_get_mime_type(type) : g_strdup("application/octet-stream");
	a->content = part_bytes(GMIME_PART(object));
	g_ptr_array_add(found->attachments, a);
}

static void
walk(GMimeObject *object, Found *found, int depth)
{
	if (object == NULL || depth > MAX_DEPTH)
		return;
	if (GMIME_IS_MULTIPART(object))
	{
		GMimeMultipart *parts = GMIME_MULTIPART(object);

		for (int i = 0; i < g_mime_multipart_get_count(parts); i++)
			walk(g_mime_multipart_get_part(parts, i), found, depth + 1);
	}
	else if (GMIME_IS_MESSAGE_PART(object))
	{
		GMimeMessage *inner = g_mime_message_part_get_message(GMIME_MESSAGE_PART(object));

		if (inner != NULL)
			walk(g_mime_message_get_mime_part(inner), found, depth + 1);
	}
	else if (GMIME_IS_PART(object))
		take(object, found);
}

static GPtrArray *
attachments_of(const char *bytes, size_t length)
{
	Found		found = {.attachments = g_ptr_array_new_with_free_func(free_attachment)};
	GMimeStream *stream;
	GMimeParser *parser;
	GMimeMessage *message;

	mime_start();
	stream = g_mime_stream_mem_new_with_buffer(bytes, length);
	parser = g_mime_parser_new_with_stream(stream);
	g_object_unref(stream);
	message = g_mime_parser_construct_message(parser, NULL);
	g_object_unref(parser);
	if (message != NULL)
	{
		walk(g_mime_message_get_mime_part(message), &found, 0);
		g_object_unref(message);
	}
	return found.attachments;
}

PG_FUNCTION_INFO_V1(sales_mail_attachments);

/*
 * sales_internal.mail_attachments(message bytea)
 *     → setof (name text, content_type text, content bytea)
 */
Datum
sales_mail_attachments(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	bytea	   *raw = PG_GETARG_BYTEA_PP(0);
	GPtrArray  *volatile found;

	InitMaterializedSRF(fcinfo, 0);
	found = attachments_of(VARDATA_ANY(raw), VARSIZE_ANY_EXHDR(raw));
	PG_TRY();
	{
		for (guint i = 0; i < found->len; i++)
		{
			Attachment *a = g_ptr_array_index(found, i);
			Datum		values[3];
			bool		nulls[3] = {a->name == NULL, false, false};

			values[0] = a->name ? CStringGetTextDatum(a->name) : (Datum) 0;
			values[1] = CStringGetTextDatum(a->type);
			values[2] = PointerGetDatum(cstring_to_text_with_len((char *) a->content->data, a->content->len));
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	}
	PG_FINALLY();
	{
		g_ptr_array_unref(found);
	}
	PG_END_TRY();
	return (Datum) 0;
}
