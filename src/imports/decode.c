/*
 * decode.c
 *		Bytes of a file to UTF-8 text, the encoding found from the bytes.
 *
 * In this order: a byte order mark; zero bytes in the pattern of UTF-16 or
 * UTF-32; UTF-8 where at least as many sequences are well-formed as not;
 * Mac Roman where lines end in CR alone; ISO-8859-15 where its letters stand
 * inside words at places that are signs in Windows-1252; else Windows-1252.
 * UTF-8 that was taken for Windows-1252 and encoded again ("LÃ©a") is put
 * right, if every character of the sample beyond ASCII shows that mistake.
 *
 * Bytes that are no text become DECODE_BAD_BYTE, so that the row with them can
 * be rejected by itself.  The conversion is glibc's iconv, in pieces: memory
 * does not grow with the file.
 */
#include "postgres.h"

#include <ctype.h>
#include <iconv.h>

#include "imports/decode.h"
#include "mb/pg_wchar.h"
#include "utils/memutils.h"

#define SAMPLE_SIZE (256 * 1024)
#define PIECE_SIZE 65536

struct Decoder
{
	ReadBytes	read;
	void	   *arg;
	const char *encoding;
	bool		is_utf8;		/* no iconv: checked here */
	bool		twice;			/* UTF-8 of UTF-8 read as Windows-1252 */
	bool		cr_lines;
	iconv_t		converter;
	char	   *bytes;			/* not yet converted */
	size_t		length;
	size_t		capacity;
	bool		ended;
};

static const uint16 cp1252_high[32] = {
	0x20AC, 0x81, 0x201A, 0x0192, 0x201E, 0x2026, 0x2020, 0x2021,
	0x02C6, 0x2030, 0x0160, 0x2039, 0x0152, 0x8D, 0x017D, 0x8F,
	0x90, 0x2018, 0x2019, 0x201C, 0x201D, 0x2022, 0x2013, 0x2014,
	0x02DC, 0x2122, 0x0161, 0x203A, 0x0153, 0x9D, 0x017E, 0x0178
};

/* Byte of a character in Windows-1252; -1 if it has none. */
static int
cp1252_byte(pg_wchar c)
{
	for (int i = 0; i < 32; i++)
		if (cp1252_high[i] == c)
			return 0x80 + i;
	return c <= 0xFF ? (int) c : -1;
}

/* Length of the well-formed sequence at p; 0 if none, -1 if cut off by the end. */
static int
utf8_length(const unsigned char *p, size_t left)
{
	int			length;

	if (*p < 0x80)
		return 1;
	length = pg_utf_mblen(p);
	if (length < 2 || *p > 0xF4)
		return 0;
	for (int i = 1; i < length; i++)
	{
		if (i >= left)
			return -1;
		if ((p[i] & 0xC0) != 0x80)
			return 0;
	}
	return pg_utf8_islegal(p, length) ? length : 0;
}

/* --- finding the encoding --- */

/*
 * Length of the sequence that the characters from text[i] on stand for, if they
 * are one that was read as Windows-1252 and encoded again; it goes to bytes and
 * *next moves behind them.  0 if they are not; -1 if the text ends within them.
 */
static int
twice_encoded_at(const unsigned char *text, size_t length, size_t i, unsigned char bytes[4], size_t *next)
{
	int			n = 0;

	for (*next = i; n < 4;)
	{
		int			step = *next < length ? utf8_length(text + *next, length - *next) : -1;
		int			byte = step > 1 ? cp1252_byte(utf8_to_unicode(text + *next)) : -1;
		int			whole;

		if (step < 0)
			return -1;
		if (byte < 0x80)
			return 0;
		bytes[n++] = byte;
		*next += step;
		whole = utf8_length(bytes, n);
		if (whole >= 0)
			return whole == n ? n : 0;
	}
	return 0;
}

static bool
looks_twice_encoded(const unsigned char *text, size_t length)
{
	bool		repaired = false;

	for (size_t i = 0; i < length;)
	{
		unsigned char bytes[4];
		size_t		next = i + 1;

		if (text[i] >= 0x80)
		{
			int			n = twice_encoded_at(text, length, i, bytes, &next);

			if (n < 0)
				break;
			if (n == 0)
				return false;
			repaired = true;
		}
		i = next;
	}
	return repaired;
}

static bool
is_letter(unsigned char c)
{
	return (c | 0x20) >= 'a' && (c | 0x20) <= 'z';
}

static const char *
single_byte_encoding(const unsigned char *p, size_t length, bool cr_lines)
{
	bool		of_latin9 = false;

	if (cr_lines)
		return "MACINTOSH";
	for (size_t i = 0; i < length; i++)
	{
		if (p[i] >= 0x80 && p[i] < 0xA0)
			return "CP1252";
		if (i == 0 || i + 1 >= length || !is_letter(p[i + 1]))
			continue;
		/* the place of a fraction, before a letter: the oe of French */
		if (p[i] >= 0xBC && p[i] <= 0xBE && !isdigit(p[i - 1]))
			of_latin9 = true;
		/* the places of a broken bar and of accents by themselves, inside a word */
		if ((p[i] == 0xA6 || p[i] == 0xA8 || p[i] == 0xB4 || p[i] == 0xB8) && is_letter(p[i - 1]))
			of_latin9 = true;
	}
	return of_latin9 ? "ISO-8859-15" : "CP1252";
}

/* By where the zero bytes are, or null. */
static const char *
wide_encoding(const unsigned char *p, size_t length)
{
	size_t		zeros[4] = {0};
	size_t		n = length / 4;

	for (size_t i = 0; i < n * 4; i++)
		if (p[i] == 0)
			zeros[i % 4]++;
	if (n < 2)
		return NULL;
	if (zeros[2] > n * 9 / 10 && zeros[3] > n * 9 / 10 && zeros[1] > n / 2)
		return "UTF-32LE";
	if (zeros[0] > n * 9 / 10 && zeros[1] > n * 9 / 10 && zeros[2] > n / 2)
		return "UTF-32BE";
	if (zeros[1] + zeros[3] > n && zeros[0] + zeros[2] < n / 4)
		return "UTF-16LE";
	if (zeros[0] + zeros[2] > n && zeros[1] + zeros[3] < n / 4)
		return "UTF-16BE";
	return NULL;
}

/* Skips a byte order mark; its encoding, or null. */
static const char *
byte_order_mark(Decoder *d)
{
	static const struct
	{
		const char *mark;
		int			length;
		const char *encoding;
	}			marks[] = {
		{"\xEF\xBB\xBF", 3, "UTF-8"},
		{"\xFF\xFE\x00\x00", 4, "UTF-32LE"},	/* before UTF-16's, which begins it */
		{"\x00\x00\xFE\xFF", 4, "UTF-32BE"},
		{"\xFF\xFE", 2, "UTF-16LE"},
		{"\xFE\xFF", 2, "UTF-16BE"},
	};

	for (int i = 0; i < lengthof(marks); i++)
		if (d->length >= marks[i].length && memcmp(d->bytes, marks[i].mark, marks[i].length) == 0)
		{
			d->length -= marks[i].length;
			memmove(d->bytes, d->bytes + marks[i].length, d->length);
			return marks[i].encoding;
		}
	return NULL;
}

static void
find_line_ends(Decoder *d)
{
	size_t		lf = 0;
	size_t		cr = 0;

	for (size_t i = 0; i < d->length; i++)
	{
		lf += d->bytes[i] == '\n';
		cr += d->bytes[i] == '\r';
	}
	d->cr_lines = cr > 0 && lf == 0;
}

static const char *
find_encoding(Decoder *d)
{
	const unsigned char *p = (unsigned char *) d->bytes;
	const char *wide = wide_encoding(p, d->length);
	size_t		good = 0;
	size_t		bad = 0;

	if (wide != NULL)
		return wide;
	for (size_t i = 0; i < d->length;)
	{
		int			n = utf8_length(p + i, d->length - i);

		if (n < 0 && !d->ended)
			break;
		good += n > 1;
		bad += n <= 0;
		i += Max(n, 1);
	}
	if (good >= bad)
	{
		d->twice = bad == 0 && good > 0 && looks_twice_encoded(p, d->length);
		return "UTF-8";
	}
	return single_byte_encoding(p, d->length, d->cr_lines);
}

/* --- reading --- */

static void
fill(Decoder *d, size_t wanted)
{
	while (!d->ended && d->length < wanted)
	{
		size_t		n = d->read(d->arg, d->bytes + d->length, d->capacity - d->length);

		d->ended = n == 0;
		d->length += n;
	}
}

static void
close_converter(void *arg)
{
	iconv_close((iconv_t) arg);
}

Decoder *
decode_open(ReadBytes read, void *arg, const char *encoding)
{
	Decoder    *d = palloc0(sizeof(Decoder));
	const char *marked;

	d->read = read;
	d->arg = arg;
	d->capacity = SAMPLE_SIZE;
	d->bytes = palloc(d->capacity);
	fill(d, SAMPLE_SIZE);
	marked = byte_order_mark(d);
	find_line_ends(d);
	d->encoding = encoding ? encoding : marked ? marked : find_encoding(d);
	d->is_utf8 = pg_strcasecmp(d->encoding, "UTF-8") == 0 || pg_strcasecmp(d->encoding, "UTF8") == 0;
	if (marked != NULL && d->is_utf8)
		d->twice = looks_twice_encoded((unsigned char *) d->bytes, d->length);
	if (d->is_utf8)
	{
		d->encoding = "UTF-8";
		return d;
	}

	d->converter = (iconv_t) -1;
	if (strspn(d->encoding, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_") == strlen(d->encoding))
		d->converter = iconv_open("UTF-8", d->encoding);
	if (d->converter == (iconv_t) -1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("there is no encoding \"%s\"", d->encoding),
						errhint("Names such as CP1252, ISO-8859-15, UTF-16LE; left out, it is found.")));
	{
		MemoryContextCallback *callback = palloc0(sizeof(MemoryContextCallback));

		callback->func = close_converter;
		callback->arg = d->converter;
		MemoryContextRegisterResetCallback(CurrentMemoryContext, callback);
	}
	return d;
}

const char *
decode_encoding(const Decoder *d)
{
	return d->twice ? "UTF-8 encoded twice" : d->encoding;
}

bool
decode_has_cr_lines(const Decoder *d)
{
	return d->cr_lines;
}

static void
consume(Decoder *d, size_t bytes)
{
	d->length -= bytes;
	memmove(d->bytes, d->bytes + bytes, d->length);
}

/* Copies UTF-8, whole sequences only, with marks for what is none. */
static size_t
read_utf8(Decoder *d, char *into, size_t most)
{
	const unsigned char *p = (unsigned char *) d->bytes;
	size_t		in = 0;
	size_t		out = 0;

	while (in < d->length && out + 4 <= most)
	{
		int			n = utf8_length(p + in, d->length - in);

		if (n < 0 && !d->ended)
			break;
		if (n <= 0)
		{
			into[out++] = DECODE_BAD_BYTE;
			in++;
			continue;
		}
		memcpy(into + out, p + in, n);
		out += n;
		in += n;
	}
	/* What was encoded twice is put right in runs of such characters: keep them whole. */
	while (d->twice && !d->ended && out > 0 && (unsigned char) into[out - 1] >= 0x80)
		out--, in--;
	consume(d, in);
	return out;
}

static size_t
read_converted(Decoder *d, char *into, size_t most)
{
	char	   *in = d->bytes;
	size_t		in_left = d->length;
	char	   *out = into;
	size_t		out_left = most;

	while (in_left > 0 && out_left > 4)
	{
		if (iconv(d->converter, &in, &in_left, &out, &out_left) != (size_t) -1)
			break;
		if (errno == E2BIG || (errno == EINVAL && !d->ended))
			break;
		/* no character of the encoding, or half of one at the end */
		*out++ = DECODE_BAD_BYTE;
		out_left--;
		in++;
		in_left--;
		(void) iconv(d->converter, NULL, NULL, NULL, NULL);
	}
	consume(d, in - d->bytes);
	return out - into;
}

/* Puts text right that was encoded twice, in place; returns its new length. */
static size_t
repair_twice(char *text, size_t length)
{
	size_t		out = 0;

	for (size_t i = 0; i < length;)
	{
		unsigned char bytes[4];
		size_t		next = i + 1;
		int			n = 0;

		if ((unsigned char) text[i] >= 0x80)
			n = twice_encoded_at((unsigned char *) text, length, i, bytes, &next);
		if (n > 0)
			memcpy(text + out, bytes, n);
		else
		{
			n = 1;
			next = i + 1;
			text[out] = text[i];
		}
		out += n;
		i = next;
	}
	return out;
}

size_t
decode_read(Decoder *d, char *into, size_t most)
{
	size_t		n = 0;

	Assert(most >= 16);
	do
	{
		fill(d, Min(PIECE_SIZE, d->capacity));
		if (d->length == 0)
			return 0;
		n = d->is_utf8 ? read_utf8(d, into, most) : read_converted(d, into, most);
	} while (n == 0);
	if (d->twice)
		n = repair_twice(into, n);
	return n;
}
