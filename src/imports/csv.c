/*
 * csv.c
 *		CSV text to rows of fields, by PostgreSQL's own COPY parser.
 *
 * parse_csv() finds the delimiter (or takes the one given), skips a byte order
 * mark and a "sep=" line, and hands the text to COPY's parser piece by piece.
 * Quoting, line ends and embedded line breaks are therefore exactly those of
 * COPY ... (FORMAT csv).  A row carries its number, its fields (null for an
 * unquoted empty one) and its raw text.  Text that the parser cannot take, such
 * as a quote that is never closed, ends the result with a row whose fields are
 * null and whose raw text is the parser's message: what came before is kept.
 */
#include "postgres.h"

#include "compat.h"
#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/copy.h"
#include "commands/copyfrom_internal.h"
#include "fmgr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "parser/parse_node.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

#define MAX_FIELDS 500
#define SNIFF_BYTES 65536

/* COPY's data source has no argument of its own. */
static const char *source = NULL;
static size_t source_left = 0;

static int
read_source(void *buffer, int min_bytes, int max_bytes)
{
	int			bytes = Min((size_t) max_bytes, source_left);

	memcpy(buffer, source, bytes);
	source += bytes;
	source_left -= bytes;
	return bytes;
}

/* The candidate that is there most often outside quotes in the first record. */
static char
find_delimiter(const char *data, size_t length)
{
	static const char candidates[] = ",;\t|";
	int			count[4] = {0};
	int			best = 0;
	bool		quoted = false;

	for (size_t i = 0; i < Min(length, SNIFF_BYTES); i++)
	{
		const char *hit;

		if (data[i] == '"')
			quoted = !quoted;
		else if (!quoted && (data[i] == '\n' || data[i] == '\r'))
			break;
		else if (!quoted && (hit = strchr(candidates, data[i])) != NULL && *hit != '\0')
			count[hit - candidates]++;
	}
	for (int i = 1; i < 4; i++)
		if (count[i] > count[best])
			best = i;
	return candidates[best];
}

/* "sep=;" as spreadsheets write it: its length with the line end, or 0. */
static size_t
sep_line(const char *data, size_t length, char *delimiter)
{
	size_t		n = 5;

	if (length < 5 || pg_strncasecmp(data, "sep=", 4) != 0)
		return 0;
	if (n < length && data[n] == '\r')
		n++;
	if (n < length && data[n] == '\n')
		n++;
	if (n == 5 && length > 5)
		return 0;
	*delimiter = data[4];
	return n;
}

static CopyFromState
begin_copy(Relation rel, char delimiter)
{
	char		text[2] = {delimiter, '\0'};
	List	   *options = list_make3(
		makeDefElem("format", (Node *) makeString("csv"), -1),
		makeDefElem("delimiter", (Node *) makeString(pstrdup(text)), -1),
		makeDefElem("encoding", (Node *) makeString(pstrdup(GetDatabaseEncodingName())), -1));

	return BeginCopyFrom(NULL, rel, NULL, NULL, false, read_source, NIL, options);
}

static void
put_row(ReturnSetInfo *result, int number, char **fields, int nfields, const char *raw)
{
	Datum		values[3];
	bool		nulls[3] = {false, fields == NULL, false};

	values[0] = Int32GetDatum(number);
	if (fields != NULL)
	{
		Datum	   *items = palloc(sizeof(Datum) * Max(nfields, 1));
		bool	   *item_nulls = palloc(sizeof(bool) * Max(nfields, 1));
		int			dims[1] = {nfields};
		int			lower[1] = {1};

		for (int i = 0; i < nfields; i++)
		{
			item_nulls[i] = fields[i] == NULL;
			items[i] = item_nulls[i] ? (Datum) 0 : CStringGetTextDatum(fields[i]);
		}
		values[1] = PointerGetDatum(construct_md_array(items, item_nulls, 1, dims, lower,
													   TEXTOID, -1, false, TYPALIGN_INT));
	}
	values[2] = CStringGetTextDatum(raw);
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

static void
parse_rows(ReturnSetInfo *result, Relation rel, char delimiter)
{
	MemoryContext per_row = AllocSetContextCreate(CurrentMemoryContext, "csv row",
												  ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = CurrentMemoryContext;
	CopyFromState volatile copy = begin_copy(rel, delimiter);
	volatile int number = 0;

	PG_TRY();
	{
		char	  **fields;
		int			nfields;

		while (NextCopyFromRawFields(copy, &fields, &nfields))
		{
			CHECK_FOR_INTERRUPTS();
			number++;
			MemoryContextSwitchTo(per_row);
			if (nfields > MAX_FIELDS)
				ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
								errmsg("a row has more than %d fields", MAX_FIELDS)));
			put_row(result, number, fields, nfields, copy->line_buf.data);
			MemoryContextSwitchTo(caller);
			MemoryContextReset(per_row);
		}
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		if (geterrcode() != ERRCODE_BAD_COPY_FILE_FORMAT)
			PG_RE_THROW();
		error = CopyErrorData();
		FlushErrorState();
		put_row(result, number + 1, NULL, 0, error->message);
	}
	PG_END_TRY();
	EndCopyFrom(copy);
	MemoryContextDelete(per_row);
}

PG_FUNCTION_INFO_V1(sales_parse_csv);

/* sales_internal.parse_csv(data text, delimiter text) → (row_number, fields, raw) */
Datum
sales_parse_csv(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	text	   *data = PG_GETARG_TEXT_PP(0);
	const char *start = VARDATA_ANY(data);
	size_t		length = VARSIZE_ANY_EXHDR(data);
	char		delimiter;
	size_t		skip;
	Relation	rel;

	InitMaterializedSRF(fcinfo, 0);
	if (length >= 3 && memcmp(start, "\xEF\xBB\xBF", 3) == 0)
	{
		start += 3;
		length -= 3;
	}
	delimiter = find_delimiter(start, length);
	skip = sep_line(start, length, &delimiter);
	start += skip;
	length -= skip;
	/* Text that lost its last line feed on the way keeps half of a CR LF. */
	if (length > 0 && start[length - 1] == '\r' && memmem(start, length, "\r\n", 2) != NULL)
		length--;
	if (!PG_ARGISNULL(1))
	{
		char	   *given = text_to_cstring(PG_GETARG_TEXT_PP(1));

		if (strlen(given) != 1 || strchr("\"\r\n", given[0]) != NULL)
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("the delimiter must be one character, not a quote or a line end"),
							errhint("Leave the option out: the delimiter is then found.")));
		delimiter = given[0];
	}

	/* COPY wants a relation, though no row goes there. */
	rel = table_open(get_relname_relid("setting_defaults",
									   get_namespace_oid("sales_internal", false)),
					 AccessShareLock);
	source = start;
	source_left = length;
	parse_rows(result, rel, delimiter);
	table_close(rel, AccessShareLock);
	return (Datum) 0;
}
