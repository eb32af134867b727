/*
 * fuzz_page.c
 *		Web pages of strangers, and the links in them: what is kept of one is a flat
 *		object of short texts, in UTF-8 whatever the page is in.
 */
#include "postgres.h"

#include "enrichment/page.c"
#include "shim.h"

/* In place of jsonb_in(): what it is given must be an object that it would take. */
Datum
DirectFunctionCall1Coll(PGFunction f, Oid collation, Datum given)
{
	json_t	   *found = json_loads(DatumGetCString(given), 0, NULL);
	const char *key;
	json_t	   *value;

	fuzz_claim(json_is_object(found));
	json_object_foreach(found, key, value)
		fuzz_claim(json_is_true(value) || (json_is_string(value) && json_string_length(value) <= MAX_VALUE));
	json_decref(found);
	return given;
}

static void
read_it(const char *data, size_t size)
{
	LOCAL_FCINFO(call, 1);

	memset(call, 0, SizeForFunctionCallInfo(1));
	call->nargs = 1;
	call->args[0].value = fuzz_varlena(data, size);
	(void) sales_read_page(call);
}

/* A page's address up to the first line's end, and what a link on it says. */
static void
resolve(const char *data, size_t size)
{
	const char *end = memchr(data, '\n', size);
	size_t		base = end != NULL ? end - data : size;
	LOCAL_FCINFO(call, 2);
	Datum		url;

	memset(call, 0, SizeForFunctionCallInfo(2));
	call->nargs = 2;
	call->args[0].value = fuzz_varlena(data, base);
	call->args[1].value = fuzz_varlena(data + base, size - base);
	url = sales_resolve_url(call);
	if (!call->isnull)
		fuzz_claim(strncasecmp(text_to_cstring(DatumGetTextPP(url)), "http", 4) == 0);
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	size_t		length = strnlen((const char *) data, size);	/* no text holds a NUL */

	fuzz_claim(fuzz_run(read_it, (const char *) data, length));
	fuzz_claim(fuzz_run(resolve, (const char *) data, length));
	return 0;
}
