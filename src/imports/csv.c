/*
 * csv.c
 *		CSV text to records of fields, by PostgreSQL's own COPY parser.
 *
 * The text is cut into records here and each is handed to COPY by itself, with
 * its line end made LF.  So a record that is no CSV (a quote inside an unquoted
 * field, text behind a closing quote, a quote that is never closed, bytes that
 * are no text) is rejected alone: its first line is given up and reading goes on
 * with the next, instead of COPY's giving up on the whole file.  A quote that is
 * not closed within MAX_RECORD bytes counts as never closed, which also bounds
 * the memory.
 */
#include "postgres.h"

#include <ctype.h>

#include "access/table.h"
#include "catalog/namespace.h"
#include "commands/copy.h"
#include "commands/copyfrom_internal.h"
#include "compat.h"
#include "imports/csv.h"
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#define MAX_RECORD (8 * 1024 * 1024)
#define MAX_FIELDS 1600
#define PIECE_SIZE 65536

struct CsvReader
{
	Decoder    *text;
	char		delimiter;
	bool		cr_lines;
	bool		ended;			/* the text, not the buffer */
	StringInfoData buffer;
	int			at;				/* start of the next record in it */
	int64		number;
	StringInfoData raw;
	StringInfoData record;		/* what COPY gets */
	int			given;			/* how much of it it has */
	Relation	rel;
	CopyFromState copy;
};

/* COPY's data source has no argument of its own; set around each call of it. */
static CsvReader *source = NULL;

static int
give_record(void *buffer, int min_bytes, int max_bytes)
{
	int			bytes = Min(max_bytes, source->record.len - source->given);

	memcpy(buffer, source->record.data + source->given, bytes);
	source->given += bytes;
	return bytes;
}

/* --- cutting records --- */

/* Makes byte i of the buffer readable; false at the end of the text. */
static bool
have(CsvReader *r, int i)
{
	while (i >= r->buffer.len)
	{
		size_t		n;

		if (r->ended)
			return false;
		CHECK_FOR_INTERRUPTS();
		enlargeStringInfo(&r->buffer, PIECE_SIZE);
		n = decode_read(r->text, r->buffer.data + r->buffer.len, PIECE_SIZE);
		r->ended = n == 0;
		r->buffer.len += n;
	}
	return true;
}

/* Is a line end at i?  Its length, or 0. */
static int
line_end(CsvReader *r, int i)
{
	if (r->buffer.data[i] == '\n')
		return 1;
	if (r->buffer.data[i] != '\r')
		return 0;
	if (have(r, i + 1) && r->buffer.data[i + 1] == '\n')
		return 2;
	return r->cr_lines || !have(r, i + 1) ? 1 : 0;
}

typedef struct Cut
{
	int			end;			/* of the record, and of what follows it */
	int			next;
	int			first_line_end; /* if it has several lines; else -1 */
	int			first_line_next;
	bool		units;			/* quotes that mean inches or seconds of arc */
	bool		broken;			/* the quotes are wrong: where it ends is a guess */
	const char *problem;
} Cut;

/* One record from r->at on, judged as strictly as RFC 4180 does. */
static Cut
cut_record(CsvReader *r)
{
	enum
	{
		FIELD_START, UNQUOTED, QUOTED, QUOTE_SEEN
	}			state = FIELD_START;
	Cut			cut = {.first_line_end = -1};
	int			i = r->at;

	for (; have(r, i); i++)
	{
		char		c = r->buffer.data[i];
		int			eol = c == '\n' || c == '\r' ? line_end(r, i) : 0;

		if (c == '\0' && cut.problem == NULL)
			cut.problem = "it has a NUL byte";
		else if (c == DECODE_BAD_BYTE && cut.problem == NULL)
			cut.problem = "it has bytes that are no text in the file's encoding";
		if (state == QUOTED)
		{
			if (c == '"')
				state = QUOTE_SEEN;
			else if (eol > 0 && cut.first_line_end < 0)
			{
				cut.first_line_end = i;
				cut.first_line_next = i + eol;
			}
			if (i - r->at > MAX_RECORD)
				break;
			continue;
		}
		if (eol > 0)
		{
			cut.end = i;
			cut.next = i + eol;
			return cut;
		}
		if (c == r->delimiter)
			state = FIELD_START;
		else if (c == '"' && !cut.broken && (state == FIELD_START || state == QUOTE_SEEN))
			state = QUOTED;
		else if (c == '"' && state == UNQUOTED && isdigit((unsigned char) r->buffer.data[i - 1]))
			cut.units = true;
		else
		{
			/* After such a mistake quotes mean nothing more: the line ends where it ends. */
			if (cut.problem == NULL)
				cut.problem = state == QUOTE_SEEN ? "text follows a closing quote"
					: c == '"' ? "a quote stands inside a field that is not quoted"
					: c == '\r' ? "it has a carriage return outside quotes" : NULL;
			cut.broken = cut.broken || c == '"' || state == QUOTE_SEEN;
			state = UNQUOTED;
		}
		if (i - r->at > MAX_RECORD)
		{
			cut.problem = "it is longer than 8 MB";
			break;
		}
	}
	cut.end = cut.next = Min(i, r->buffer.len);
	if (state == QUOTED)
	{
		cut.problem = "a quote is never closed";
		cut.broken = true;
	}
	return cut;
}

/* raw as COPY reads it, fields with quotes that mean units put into quotes. */
static void
quote_units(CsvReader *r)
{
	const char *p = r->raw.data;
	const char *end = p + r->raw.len;

	while (p <= end)
	{
		const char *field = p;
		bool		quoted = *p == '"';

		if (quoted)
			for (p++; p < end && !(*p == '"' && p[1] != '"'); p++)
				p += *p == '"';
		while (p < end && *p != r->delimiter)
			p++;
		if (!quoted && memchr(field, '"', p - field) != NULL)
		{
			appendStringInfoChar(&r->record, '"');
			for (; field < p; field++)
			{
				if (*field == '"')
					appendStringInfoChar(&r->record, '"');
				appendStringInfoChar(&r->record, *field);
			}
			appendStringInfoChar(&r->record, '"');
		}
		else
			appendBinaryStringInfo(&r->record, field, p - field);
		if (p < end)
			appendStringInfoChar(&r->record, r->delimiter);
		p++;
	}
}

/* raw and record of the next one; its problem, if any. */
static const char *
take_record(CsvReader *r)
{
	Cut			cut = cut_record(r);
	const char *data;

	/* What was no record gives back the lines behind its first. */
	if (cut.broken && cut.first_line_end >= 0)
	{
		cut.end = cut.first_line_end;
		cut.next = cut.first_line_next;
	}
	data = r->buffer.data + r->at;
	resetStringInfo(&r->raw);
	for (int i = 0; i < cut.end - r->at; i++)
	{
		if (data[i] == DECODE_BAD_BYTE)
			appendStringInfoString(&r->raw, "\xEF\xBF\xBD");
		else if (data[i] != '\0')
			appendStringInfoCharMacro(&r->raw, data[i]);
	}
	resetStringInfo(&r->record);
	r->given = 0;
	if (cut.problem == NULL)
	{
		/* COPY takes a line of \. for the end of the data. */
		if (cut.units)
			quote_units(r);
		else
			appendStringInfoString(&r->record, strcmp(r->raw.data, "\\.") == 0 ? "\"\\.\"" : r->raw.data);
		appendStringInfoChar(&r->record, '\n');
	}
	r->at = cut.next;
	if (r->at > PIECE_SIZE)
	{
		r->buffer.len -= r->at;
		memmove(r->buffer.data, r->buffer.data + r->at, r->buffer.len);
		r->at = 0;
	}
	return cut.problem;
}

/* --- opening --- */

/* The candidate that is there most often outside quotes in the first record. */
static char
find_delimiter(CsvReader *r)
{
	static const char candidates[] = ",;\t|";
	int			count[4] = {0};
	int			best = 0;
	bool		quoted = false;
	int			i = r->at;

	while (have(r, i) && line_end(r, i) > 0)
		i++;					/* blank lines before the header */
	for (; have(r, i) && i - r->at < MAX_RECORD; i++)
	{
		char		c = r->buffer.data[i];
		const char *hit = strchr(candidates, c);

		if (c == '"')
			quoted = !quoted;
		else if (!quoted && (c == '\n' || c == '\r') && line_end(r, i) > 0)
			break;
		else if (!quoted && c != '\0' && hit != NULL)
			count[hit - candidates]++;
	}
	for (int k = 1; k < 4; k++)
		if (count[k] > count[best])
			best = k;
	return candidates[best];
}

/* Skips "sep=;" as spreadsheets write it; the delimiter it names, or '\0'. */
static char
sep_line(CsvReader *r)
{
	const char *data;
	int			eol;

	if (!have(r, r->at + 5) || pg_strncasecmp(r->buffer.data + r->at, "sep=", 4) != 0)
		return '\0';
	eol = line_end(r, r->at + 5);
	if (eol == 0)
		return '\0';
	data = r->buffer.data + r->at;
	r->at += 5 + eol;
	return data[4];
}

CsvReader *
csv_open(Decoder *text, char delimiter)
{
	CsvReader  *r = palloc0(sizeof(CsvReader));
	char		hinted;

	r->text = text;
	r->cr_lines = decode_has_cr_lines(text);
	initStringInfo(&r->buffer);
	initStringInfo(&r->raw);
	initStringInfo(&r->record);
	hinted = sep_line(r);
	r->delimiter = delimiter != '\0' ? delimiter : hinted != '\0' ? hinted : find_delimiter(r);
	if (strchr("\"\r\n", r->delimiter) != NULL || (unsigned char) r->delimiter >= 0x80)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the delimiter must be one character of ASCII, not a quote or a line end"),
						errhint("Leave the option out: the delimiter is then found.")));
	return r;
}

char
csv_delimiter(const CsvReader *r)
{
	return r->delimiter;
}

int64
csv_position(const CsvReader *r)
{
	return r->number;
}

/* --- reading --- */

void
csv_begin(CsvReader *r)
{
	char		text[2] = {r->delimiter, '\0'};
	List	   *options = list_make3(
		makeDefElem("format", (Node *) makeString("csv"), -1),
		makeDefElem("delimiter", (Node *) makeString(pstrdup(text)), -1),
		makeDefElem("encoding", (Node *) makeString("UTF8"), -1));

	/* COPY wants a relation, though no row goes there. */
	r->rel = table_open(get_relname_relid("setting_defaults",
										  get_namespace_oid("sales_internal", false)),
						AccessShareLock);
	r->copy = BeginCopyFrom(NULL, r->rel, NULL, NULL, false, give_record, NIL, options);
}

void
csv_end(CsvReader *r)
{
	EndCopyFrom(r->copy);
	table_close(r->rel, AccessShareLock);
	r->copy = NULL;
	r->rel = NULL;
}

void
csv_skip(CsvReader *r, int64 number)
{
	while (r->number < number && have(r, r->at))
	{
		(void) take_record(r);
		r->number++;
	}
}

bool
csv_next(CsvReader *r, CsvRow *row)
{
	memset(row, 0, sizeof(*row));
	do
	{
		if (!have(r, r->at))
			return false;
		r->number++;
		row->problem = take_record(r);
	} while (row->problem == NULL && r->raw.len == 0);
	row->number = r->number;
	row->raw = r->raw.data;
	if (row->problem != NULL)
		return true;

	source = r;
	if (!NextCopyFromRawFields(r->copy, &row->fields, &row->nfields))
		elog(ERROR, "COPY found the end of the data in a record");
	source = NULL;
	if (row->nfields > MAX_FIELDS)
		row->problem = "it has more than 1600 fields";
	return true;
}
