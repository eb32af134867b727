/*
 * charset.c
 *		Bodies in whatever encoding, as UTF-8.
 *
 * Services speak UTF-8; web pages speak anything, say so in one of three places,
 * and are often wrong about it.  The C library's iconv knows the encodings; a
 * byte that does not fit becomes U+FFFD.  Used where libcurl's calls are read,
 * so memory is malloc'd and nothing throws.
 */
#include "postgres.h"

#include <iconv.h>

#include "http/charset.h"
#include "mb/pg_wchar.h"

#define META_BYTES 2048			/* where a page's <meta> must stand */

/* The name after "charset=", lower case, if it is one that iconv may be given. */
static bool
charset_name(const char *text, const char *end, char *into, size_t size)
{
	size_t		n = 0;

	while (text + 8 <= end && pg_strncasecmp(text, "charset=", 8) != 0)
		text++;
	if (text + 8 > end)
		return false;
	text += 8;
	while (text < end && (*text == '"' || *text == '\'' || *text == ' '))
		text++;
	while (text < end && n + 1 < size && *text != '\0' &&
		   (isalnum((unsigned char) *text) || strchr("-_.:", *text) != NULL))
		into[n++] = pg_ascii_tolower((unsigned char) *text++);
	into[n] = '\0';
	/* What pages call Latin-1 is Windows-1252. */
	if (strcmp(into, "iso-8859-1") == 0 || strcmp(into, "latin1") == 0 || strcmp(into, "us-ascii") == 0)
		strlcpy(into, "windows-1252", size);
	return n > 0;
}

/* UTF-8 without NUL of bytes in the named encoding; null if it is not known. */
static char *
convert(const char *body, size_t size, const char *name)
{
	iconv_t		cd = iconv_open("UTF-8", name);
	char	   *in = (char *) body;
	size_t		left = size;
	size_t		room = size * 4 + 4;	/* no byte gives more */
	char	   *out;
	char	   *to;
	size_t		n = 0;

	if (cd == (iconv_t) -1)
		return NULL;
	out = to = malloc(room + 1);
	while (out != NULL && left > 0)
	{
		if (iconv(cd, &in, &left, &to, &room) != (size_t) -1 || left == 0 || room < 3)
			break;
		memcpy(to, "\xEF\xBF\xBD", 3);
		to += 3;
		room -= 3;
		in++;
		left--;
	}
	iconv_close(cd);
	if (out == NULL)
		return NULL;
	for (char *p = out; p < to; p++)
		if (*p != '\0')
			out[n++] = *p;
	out[n] = '\0';
	return out;
}

static bool
is_utf8(const char *text, size_t length)
{
	return pg_encoding_verifymbstr(PG_UTF8, text, length) == (int) length;
}

static char *
without_nul(const char *body, size_t size)
{
	char	   *out = malloc(size + 1);
	size_t		n = 0;

	if (out == NULL)
		return NULL;
	for (size_t i = 0; i < size;)
	{
		size_t		piece = strnlen(body + i, size - i);

		memcpy(out + n, body + i, piece);
		n += piece;
		i += piece + 1;
	}
	out[n] = '\0';
	return out;
}

/* Takes any byte. */
static char *
from_windows_1252(const char *body, size_t size)
{
	static const uint16 high[32] = {
		0x20AC, 0xFFFD, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
		0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0xFFFD, 0x017D, 0xFFFD,
		0xFFFD, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
		0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0xFFFD, 0x017E, 0x0178
	};
	char	   *out = malloc(size * 3 + 1);
	size_t		n = 0;

	if (out == NULL)
		return NULL;
	for (size_t i = 0; i < size; i++)
	{
		unsigned char c = body[i];
		pg_wchar	code = c >= 0x80 && c < 0xA0 ? high[c - 0x80] : c;

		if (c == '\0')
			continue;
		unicode_to_utf8(code, (unsigned char *) out + n);
		n += pg_utf_mblen((unsigned char *) out + n);
	}
	out[n] = '\0';
	return out;
}

/* iconv may give what PostgreSQL does not take: then null as well. */
static char *
try_charset(const char *body, size_t size, const char *name)
{
	char	   *out = convert(body, size, name);

	if (out != NULL && is_utf8(out, strlen(out)))
		return out;
	free(out);
	return NULL;
}

char *
charset_to_utf8(const char *body, size_t size, const char *content_type)
{
	char		name[41];
	char	   *out = NULL;
	bool		told = false;

	if (size >= 2 && (memcmp(body, "\xFF\xFE", 2) == 0 || memcmp(body, "\xFE\xFF", 2) == 0))
		out = try_charset(body + 2, size - 2, body[0] == '\xFF' ? "utf-16le" : "utf-16be");
	else if (content_type != NULL)
	{
		told = charset_name(content_type, content_type + strlen(content_type), name, sizeof(name)) &&
			strcmp(name, "utf-8") != 0 && strcmp(name, "utf8") != 0;
		/* UTF-8 that is called Latin-1 is UTF-8 all the same. */
		if (told && !(strcmp(name, "windows-1252") == 0 && is_utf8(body, size)))
			out = try_charset(body, size, name);
	}
	if (out != NULL)
		return out;
	if (size >= 3 && memcmp(body, "\xEF\xBB\xBF", 3) == 0)
	{
		body += 3;
		size -= 3;
	}
	out = without_nul(body, size);
	if (out == NULL || is_utf8(out, strlen(out)))
		return out;
	free(out);
	if (!told && charset_name(body, body + Min(size, META_BYTES), name, sizeof(name)) &&
		(out = try_charset(body, size, name)) != NULL)
		return out;
	return from_windows_1252(body, size);
}
