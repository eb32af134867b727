/*
 * fuzz_mail.c
 *		What a mailbox said and the mails in it: sessions of IMAP, headers, reports,
 *		attachments, HTML.  GMime and libxml2 read; ours is what is made of it.
 */
#include "postgres.h"

#include "campaigns/imap.c"
#include "campaigns/mime_read.c"
#undef MAX_DEPTH
#include "imports/attachments.c"
#include "shim.h"

static bool reads_json(PGFunction function, Datum value);

/* A mail, as parse_mail() reads it, without jsonb. */
static void
read_mail(const char *data, size_t size)
{
	char	   *copy = fuzz_string(data, size);
	GMimeMessage *message;
	json_t	   *found;
	char	   *text;
	GPtrArray  *files;
	char	   *html;

	mime_start();
	message = parse(copy, size);
	if (message != NULL)
	{
		found = json_new_object();
		json_object_set_new(found, "delivery", json_array());
		json_object_set_new(found, "feedback", json_array());
		read_headers(message, found);
		read_part(g_mime_message_get_mime_part(message), found, 0);
		g_object_unref(message);
		text = json_dumps(found, JSON_COMPACT);
		fuzz_claim(text != NULL);
		free(text);
		json_decref(found);
	}
	files = attachments_of(copy, size);
	fuzz_claim(files->len <= MAX_ATTACHMENTS);
	for (guint i = 0; i < files->len; i++)
	{
		Attachment *a = g_ptr_array_index(files, i);

		fuzz_claim(a->name == NULL || (strpbrk(a->name, "/\\\r\n") == NULL && g_utf8_validate(a->name, -1, NULL)));
	}
	g_ptr_array_unref(files);
	text = g_utf8_make_valid(copy, size);
	html = html_text(text);
	g_free(text);
	fuzz_claim(html == NULL || g_utf8_validate(html, -1, NULL));
	g_free(html);
}

static void
read_session(const char *data, size_t size)
{
	Datum		value = fuzz_varlena(data, size);

	reads_json(sales_imap_uids, value);
	reads_json(sales_imap_validity, value);
	reads_json(sales_imap_mails, value);
}

static bool
reads_json(PGFunction function, Datum value)
{
	LOCAL_FCINFO(call, 1);

	memset(call, 0, SizeForFunctionCallInfo(1));
	call->nargs = 1;
	call->args[0].value = value;
	(void) function(call);
	return !call->isnull;
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	if (size > 65536)
		return 0;
	fuzz_claim(fuzz_run(read_mail, (const char *) data, size));
	fuzz_claim(fuzz_run(read_session, (const char *) data, size));
	return 0;
}
