/*
 * mask.c
 *		Where the key of a call stands in what came back, asterisks take its place.
 *
 * A service may quote the key that it refuses, as it got it or as it writes it
 * down itself: percent-encoded in a URL, with the escapes of JSON or HTML, in
 * base64 as in the header of basic authentication or a login by mail, there also
 * in the middle of a longer text.  Escapes are undone on a copy, so that any mix of
 * them is found; a match is overwritten in the text byte for byte, so lengths stay.
 * All steps are linear in the text, whatever a server sends.  Nothing throws.
 */
#include "postgres.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include "http/http.h"
#include "mb/pg_wchar.h"

#define MIN_HIDDEN 4			/* shorter keys are words that may stand anywhere */
#define MIN_BASE64 6			/* as are fewer digits of base64 */
#define MAX_NEEDLES 24			/* the key and six of base64, each in up to three spellings */

/* What to look for, with what surrounds it. */
typedef struct Needle
{
	char	   *text;
	size_t		size;
	bool		shares_before;	/* base64: the digit before it holds bits of the key, too */
	bool		shares_after;	/* and the one after it */
} Needle;

typedef struct Needles
{
	int			n;
	Needle		all[MAX_NEEDLES];
	bool		failed;			/* out of memory */
} Needles;

/* --- what to look for --- */

static void
needles_add(Needles *needles, const char *text, size_t size, bool shares_before, bool shares_after)
{
	char	   *copy;

	for (int i = 0; i < needles->n; i++)
		if (needles->all[i].size == size && memcmp(needles->all[i].text, text, size) == 0)
			return;
	copy = needles->n < MAX_NEEDLES ? malloc(size + 1) : NULL;
	if (copy == NULL)
	{
		needles->failed = true;
		return;
	}
	memcpy(copy, text, size);
	copy[size] = '\0';
	needles->all[needles->n++] = (Needle) {copy, size, shares_before, shares_after};
}

static void
needles_free(Needles *needles)
{
	for (int i = 0; i < needles->n; i++)
	{
		OPENSSL_cleanse(needles->all[i].text, needles->all[i].size);
		free(needles->all[i].text);
	}
}

/*
 * The digits of base64 that the key alone decides where it begins as byte 0, 1 or 2
 * of three, in both alphabets.
 */
static void
needles_add_base64(Needles *needles, const char *secret, size_t length)
{
	static const int skipped[] = {0, 2, 3};
	char	   *padded = calloc(1, length + 3);
	char	   *digits = malloc((length + 4) / 3 * 4 + 1);

	needles->failed = needles->failed || padded == NULL || digits == NULL;
	for (int before = 0; before < 3 && !needles->failed; before++)
	{
		int			whole = (before + length) * 8 / 6;	/* digits with no bit of what follows */
		bool		shares_after = (before + length) * 8 % 6 != 0;

		memset(padded, 0, before);
		memcpy(padded + before, secret, length);
		EVP_EncodeBlock((unsigned char *) digits, (unsigned char *) padded, before + length);
		if (whole - skipped[before] < MIN_BASE64)
			continue;
		needles_add(needles, digits + skipped[before], whole - skipped[before],
					before > 0, shares_after);
		for (int i = 0; i < whole; i++)
			digits[i] = digits[i] == '+' ? '-' : digits[i] == '/' ? '_' : digits[i];
		needles_add(needles, digits + skipped[before], whole - skipped[before],
					before > 0, shares_after);
	}
	if (padded != NULL)
		OPENSSL_cleanse(padded, length + 3);
	if (digits != NULL)
		OPENSSL_cleanse(digits, (length + 4) / 3 * 4 + 1);
	free(padded);
	free(digits);
}

/* --- escapes --- */

static int
hex_value(const char *at, int digits)
{
	int			value = 0;

	for (int i = 0; i < digits; i++)
	{
		char		c = at[i];
		int			v = c >= '0' && c <= '9' ? c - '0'
			: c >= 'a' && c <= 'f' ? c - 'a' + 10
			: c >= 'A' && c <= 'F' ? c - 'A' + 10
			: -1;

		if (v < 0)
			return -1;
		value = value * 16 + v;
	}
	return value;
}

/* What an escape may stand for, as UTF-8. */
typedef struct Bytes
{
	char		text[5];
	int			n;
} Bytes;

static void
set_character(Bytes *bytes, int code)
{
	(void) unicode_to_utf8(code, (unsigned char *) bytes->text);
	bytes->n = pg_utf_mblen((unsigned char *) bytes->text);
}

/* An entity of HTML or XML; how many bytes it takes, 0 if it is none. */
static size_t
read_entity(const char *at, size_t left, Bytes *bytes)
{
	static const struct
	{
		const char *text;
		char		byte;
	}			named[] = {{"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
	bool		hex = left > 3 && (at[2] == 'x' || at[2] == 'X');
	size_t		n = hex ? 3 : 2;
	int			value = 0;

	for (int i = 0; i < (int) lengthof(named); i++)
		if (left >= strlen(named[i].text) && memcmp(at, named[i].text, strlen(named[i].text)) == 0)
		{
			set_character(bytes, named[i].byte);
			return strlen(named[i].text);
		}
	if (left < 4 || at[1] != '#')
		return 0;
	for (; n < left && n < 9 && at[n] != ';'; n++)
	{
		int			digit = hex_value(at + n, 1);

		if (digit < 0 || (!hex && digit > 9))
			return 0;
		value = value * (hex ? 16 : 10) + digit;
	}
	if (n >= left || at[n] != ';' || value < 1 || value > 0x10FFFF)
		return 0;
	set_character(bytes, value);
	return n + 1;
}

/* Undoes one escape, or takes one byte as it is; how many bytes of the text it takes. */
static size_t
read_escape(const char *at, size_t left, Bytes *bytes)
{
	size_t		taken = 0;
	int			value;

	if (*at == '%' && left >= 3 && hex_value(at + 1, 2) >= 0)
	{
		/* "%252F" was escaped twice */
		for (taken = 1; left >= taken + 4 && memcmp(at + taken, "25", 2) == 0 &&
			 hex_value(at + taken + 2, 2) >= 0;)
			taken += 2;
		bytes->text[0] = hex_value(at + taken, 2);
		bytes->n = 1;
		taken += 2;
	}
	else if (*at == '\\' && left >= 2 && at[1] != '\0' && strchr("\"\\/'", at[1]) != NULL)
	{
		set_character(bytes, at[1]);
		taken = 2;
	}
	else if (*at == '\\' && left >= 6 && at[1] == 'u' && (value = hex_value(at + 2, 4)) > 0)
	{
		set_character(bytes, value);
		taken = 6;
	}
	else if (*at == '&')
		taken = read_entity(at, left, bytes);
	if (taken == 0)
	{
		bytes->text[0] = *at;
		bytes->n = 1;
		taken = 1;
	}
	/* in a form a blank is written as "+" */
	if (bytes->text[0] == '+')
		bytes->text[0] = ' ';
	return taken;
}

/* No escape is shorter than what it stands for: `into` may be as long as the text. */
static size_t
unescape(const char *text, size_t size, char *into)
{
	size_t		n = 0;

	for (size_t i = 0; i < size;)
	{
		Bytes		bytes;

		i += read_escape(text + i, size - i, &bytes);
		memcpy(into + n, bytes.text, bytes.n);
		n += bytes.n;
	}
	return n;
}

/* --- overwriting --- */

static bool
is_base64_digit(char c)
{
	return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') ||
		c == '+' || c == '/' || c == '-' || c == '_' || c == ' ';
}

/* Marks in hit, a byte for each of text, where a needle stands. */
static bool
find_needle(const Needle *needle, const char *text, size_t size, char *hit)
{
	const char *at = text;
	bool		found = false;

	while ((at = memmem(at, size - (at - text), needle->text, needle->size)) != NULL)
	{
		size_t		from = at - text;
		size_t		to = from + needle->size;

		if (needle->shares_before && from > 0 && is_base64_digit(text[from - 1]))
			from--;
		if (needle->shares_after && to < size && is_base64_digit(text[to]))
			to++;
		memset(hit + from, 1, to - from);
		found = true;
		at += needle->size;
	}
	return found;
}

static bool
has_escapes(const char *text, size_t size)
{
	return memchr(text, '%', size) != NULL || memchr(text, '\\', size) != NULL ||
		memchr(text, '&', size) != NULL || memchr(text, '+', size) != NULL;
}

/* Overwrites what is found in the text as it stands. */
static void
hide_plain(const Needles *needles, char *text, size_t size, char *hit)
{
	bool		found = false;

	memset(hit, 0, size);
	for (int i = 0; i < needles->n; i++)
		found |= find_needle(&needles->all[i], text, size, hit);
	for (size_t i = 0; found && i < size; i++)
		if (hit[i])
			text[i] = '*';
}

/* And what is found where its escapes are undone. */
static void
hide_escaped(const Needles *needles, char *text, size_t size, char *hit, char *copy)
{
	size_t		n = unescape(text, size, copy);
	bool		found = false;

	memset(hit, 0, size);
	for (int i = 0; i < needles->n; i++)
		found |= find_needle(&needles->all[i], copy, n, hit);
	n = 0;
	for (size_t i = 0; found && i < size;)
	{
		Bytes		bytes;
		size_t		taken = read_escape(text + i, size - i, &bytes);

		if (memchr(hit + n, 1, bytes.n) != NULL)
			memset(text + i, '*', taken);
		n += bytes.n;
		i += taken;
	}
}

/* Every needle once more, as it looks when the escapes of a text are undone. */
static void
needles_unescape(Needles *needles)
{
	Needles		plain = *needles;

	for (int i = 0; i < plain.n; i++)
	{
		char	   *copy = malloc(plain.all[i].size + 1);

		if (copy == NULL)
		{
			needles->failed = true;
			return;
		}
		/* its own "%41" or "\/" may have been escaped again, or not */
		needles_add(needles, copy, unescape(plain.all[i].text, plain.all[i].size, copy),
					plain.all[i].shares_before, plain.all[i].shares_after);
		memcpy(copy, plain.all[i].text, plain.all[i].size);
		for (size_t c = 0; c < plain.all[i].size; c++)
			copy[c] = copy[c] == '+' ? ' ' : copy[c];
		needles_add(needles, copy, plain.all[i].size, plain.all[i].shares_before,
					plain.all[i].shares_after);
		OPENSSL_cleanse(copy, plain.all[i].size);
		free(copy);
	}
}

void
http_hide_secret(const HttpCall *call, char *text, size_t size)
{
	size_t		length = call->secret != NULL ? strlen(call->secret) : 0;
	Needles		needles = {0};
	char	   *hit;
	char	   *copy;

	if (length < MIN_HIDDEN || text == NULL || size == 0)
		return;
	hit = malloc(size);
	copy = malloc(size);
	needles_add(&needles, call->secret, length, false, false);
	needles_add_base64(&needles, call->secret, length);
	if (hit != NULL && copy != NULL && !needles.failed)
	{
		hide_plain(&needles, text, size, hit);
		if (has_escapes(text, size))
		{
			needles_unescape(&needles);
			hide_escaped(&needles, text, size, hit, copy);
		}
	}
	/* rather nothing than a key */
	if (hit == NULL || copy == NULL || needles.failed)
		memset(text, '*', size);
	if (copy != NULL)
		OPENSSL_cleanse(copy, size);
	free(copy);
	free(hit);
	needles_free(&needles);
}
