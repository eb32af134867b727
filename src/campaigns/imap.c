/*
 * imap.c
 *		What a mailbox said, out of the lines of a session.
 *
 * The transcript is what the server sent between its greeting and the end of
 * one command.  A literal, "{12}" and then twelve bytes, is the one place where
 * a mail's own bytes stand; it is stepped over by its length, so that a line
 * in a mail which looks like an answer is not taken for one.
 */
#include "postgres.h"

#include "compat.h"
#include "fmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "catalog/pg_type.h"

#define MAX_MAILS 1000

/* One line with the literal that it announces. */
typedef struct Line
{
	const char *text;
	int			length;
	const char *literal;		/* null without one */
	int64		literal_size;	/* as announced; the transcript may be shorter */
	const char *next;
} Line;

static bool
next_line(const char *at, const char *end, Line *line)
{
	const char *stop;
	const char *brace;

	if (at >= end)
		return false;
	stop = memchr(at, '\n', end - at);
	line->text = at;
	line->next = stop != NULL ? stop + 1 : end;
	line->length = (stop != NULL ? stop : end) - at;
	while (line->length > 0 && at[line->length - 1] == '\r')
		line->length--;
	line->literal = NULL;
	if (line->length < 3 || at[line->length - 1] != '}')
		return true;
	for (brace = at + line->length - 2; brace > at && isdigit((unsigned char) *brace); brace--)
		;
	if (*brace == '{' && at + line->length - brace <= 12)
	{
		line->literal = line->next;
		line->literal_size = strtoll(brace + 1, NULL, 10);
		line->next += Min(line->literal_size, end - line->next);
	}
	return true;
}

static bool
line_has(const Line *line, const char *prefix)
{
	int			length = strlen(prefix);

	return line->length >= length && pg_strncasecmp(line->text, prefix, length) == 0;
}

PG_FUNCTION_INFO_V1(sales_imap_uids);
PG_FUNCTION_INFO_V1(sales_imap_validity);
PG_FUNCTION_INFO_V1(sales_imap_size);
PG_FUNCTION_INFO_V1(sales_imap_mails);

/* sales_internal.imap_uids(transcript bytea) → bigint[]: what SEARCH found; null without an answer */
Datum
sales_imap_uids(PG_FUNCTION_ARGS)
{
	bytea	   *transcript = PG_GETARG_BYTEA_PP(0);
	const char *at = VARDATA_ANY(transcript);
	const char *end = at + VARSIZE_ANY_EXHDR(transcript);
	Datum	   *uids = palloc(sizeof(Datum) * (VARSIZE_ANY_EXHDR(transcript) / 2 + 1));
	bool		answered = false;
	int			n = 0;
	Line		line;

	for (; next_line(at, end, &line); at = line.next)
	{
		const char *p = line.text + strlen("* SEARCH");

		if (!line_has(&line, "* SEARCH"))
			continue;
		answered = true;
		while (p < line.text + line.length)
		{
			int64		uid = 0;

			while (p < line.text + line.length && !isdigit((unsigned char) *p))
				p++;
			while (p < line.text + line.length && isdigit((unsigned char) *p) && uid < PG_UINT32_MAX)
				uid = uid * 10 + (*p++ - '0');
			if (uid > 0 && uid <= PG_UINT32_MAX)
				uids[n++] = Int64GetDatum(uid);
			while (p < line.text + line.length && isdigit((unsigned char) *p))
				p++;
		}
	}
	if (!answered)
		PG_RETURN_NULL();
	PG_RETURN_ARRAYTYPE_P(construct_array(uids, n, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/* sales_internal.imap_validity(transcript bytea) → bigint: UIDVALIDITY of the folder */
Datum
sales_imap_validity(PG_FUNCTION_ARGS)
{
	bytea	   *transcript = PG_GETARG_BYTEA_PP(0);
	const char *at = VARDATA_ANY(transcript);
	const char *end = at + VARSIZE_ANY_EXHDR(transcript);
	Line		line;

	for (; next_line(at, end, &line); at = line.next)
	{
		int64		number = 0;

		if (!line_has(&line, "* OK [UIDVALIDITY "))
			continue;
		for (int i = strlen("* OK [UIDVALIDITY "); i < line.length &&
			 isdigit((unsigned char) line.text[i]) && number < PG_UINT32_MAX; i++)
			number = number * 10 + (line.text[i] - '0');
		PG_RETURN_INT64(number);
	}
	PG_RETURN_NULL();
}

/* sales_internal.imap_size(transcript bytea) → bigint: RFC822.SIZE that a FETCH told; null without one */
Datum
sales_imap_size(PG_FUNCTION_ARGS)
{
	static const char name[] = "RFC822.SIZE ";
	bytea	   *transcript = PG_GETARG_BYTEA_PP(0);
	const char *at = VARDATA_ANY(transcript);
	const char *end = at + VARSIZE_ANY_EXHDR(transcript);
	Line		line;

	for (; next_line(at, end, &line); at = line.next)
		if (line_has(&line, "* "))
			for (int i = 2; i + (int) strlen(name) < line.length; i++)
				if (pg_strncasecmp(line.text + i, name, strlen(name)) == 0 &&
					isdigit((unsigned char) line.text[i + strlen(name)]))
				{
					int64		size = 0;

					for (i += strlen(name); i < line.length && isdigit((unsigned char) line.text[i]) &&
						 size < PG_UINT32_MAX; i++)
						size = size * 10 + (line.text[i] - '0');
					PG_RETURN_INT64(size);
				}
	PG_RETURN_NULL();
}

/*
 * sales_internal.imap_mails(transcript bytea) → bytea[]: the mails of a FETCH.
 * One that is shorter than announced is left out.
 */
Datum
sales_imap_mails(PG_FUNCTION_ARGS)
{
	bytea	   *transcript = PG_GETARG_BYTEA_PP(0);
	const char *at = VARDATA_ANY(transcript);
	const char *end = at + VARSIZE_ANY_EXHDR(transcript);
	Datum		mails[MAX_MAILS];
	int			n = 0;
	Line		line;

	for (; n < MAX_MAILS && next_line(at, end, &line); at = line.next)
	{
		bytea	   *mail;

		if (line.literal == NULL || !line_has(&line, "* ") || line.literal_size > end - line.literal)
			continue;
		mail = palloc(VARHDRSZ + line.literal_size);
		SET_VARSIZE(mail, VARHDRSZ + line.literal_size);
		memcpy(VARDATA(mail), line.literal, line.literal_size);
		mails[n++] = PointerGetDatum(mail);
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(mails, n, BYTEAOID, -1, false, TYPALIGN_INT));
}
