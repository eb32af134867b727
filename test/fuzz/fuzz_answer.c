/*
 * fuzz_answer.c
 *		What a service answered: bytes in any encoding become UTF-8, and the key of
 *		the call stands in them no more.  First line: Content-Type; second: the key.
 */
#include "postgres.h"

#include "http/charset.h"
#include "http/mask.c"
#include "shim.h"

static char *
line(const char **data, size_t *size)
{
	const char *end = memchr(*data, '\n', *size);
	size_t		length = end != NULL ? end - *data : *size;
	char	   *copy = fuzz_string(*data, length);

	length += end != NULL;
	*data += length;
	*size -= length;
	return copy;
}

static void
read_answer(const char *data, size_t size)
{
	char	   *type = line(&data, &size);
	HttpCall	call = {.secret = line(&data, &size)};
	char	   *body = palloc(size);
	char	   *text;
	size_t		length;
	size_t		n = strlen(call.secret);
	bool		is_stars = strspn(call.secret, "*") == n;

	memcpy(body, data, size);
	text = charset_to_utf8(body, size, *type != '\0' ? type : NULL);
	fuzz_claim(text != NULL);
	length = strlen(text);
	fuzz_claim(pg_encoding_verifymbstr(PG_UTF8, text, length) == (int) length);
	http_hide_secret(&call, text, length);
	fuzz_claim(strlen(text) == length);
	fuzz_claim(n < MIN_HIDDEN || is_stars || memmem(text, length, call.secret, n) == NULL);
	free(text);
	/* bodies that are not text, too */
	http_hide_secret(&call, body, size);
	fuzz_claim(n < MIN_HIDDEN || is_stars || memmem(body, size, call.secret, n) == NULL);
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	fuzz_claim(fuzz_run(read_answer, (const char *) data, size));
	return 0;
}
