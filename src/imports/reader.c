/*
 * reader.c
 *		The file being imported, as SQL sees it: open, map, rows, close.
 *
 * One file at a time is open in a session.  SQL asks for its rows in batches,
 * mapped to fields and checked (fields.c), so an import holds one batch in
 * memory, and of a file in parts (an upload, or what a worker fetched) one part.
 * A reader ends with its transaction.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/progress.h"
#include "compat.h"
#include "core/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "imports/csv.h"
#include "imports/fields.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/backend_progress.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define ROW_COLUMNS (4 + FIELD_COUNT - 1 + 5)	/* full_name is never among them */
#define MAX_RAW 10000			/* bytes of a rejected row that are kept */

typedef struct Reader
{
	MemoryContext memory;
	char	   *part;			/* what is being read: the value, or a part of the file */
	const char *data;			/* what is left of it */
	size_t		left;
	size_t		size;			/* of all of it */
	size_t		seen;			/* of the parts that were read */
	bool		in_parts;
	pg_uuid_t	file;
	int			parts;
	CsvReader  *csv;
	int			columns;
	FieldSource *sources;
	int			nsources;
	pg_tz	   *zone;
	pg_uuid_t	company;
	int64		rows;
	int64		rejects;
} Reader;

static Reader *open_reader = NULL;

static void
reader_gone(void *arg)
{
	if (open_reader == arg)
		open_reader = NULL;
}

static size_t
read_value(void *arg, char *into, size_t most)
{
	Reader	   *reader = arg;
	size_t		n = Min(most, reader->left);

	memcpy(into, reader->data, n);
	reader->data += n;
	reader->left -= n;
	return n;
}

/* Puts the next part of the file under the reader; false when there is none. */
static bool
next_part(Reader *reader)
{
	SpiArg		args[3] = {SPI_ARG_UUID(&reader->company), SPI_ARG_UUID(&reader->file),
		SPI_ARG(INT4OID, Int32GetDatum(++reader->parts))};
	bool		isnull = true;
	Datum		datum = (Datum) 0;

	SPI_connect();
	if (spi_run("SELECT sales_internal.import_part($1, $2, $3)", true, 1, 3, args) > 0)
		datum = spi_datum(0, 1, &isnull);
	if (!isnull)
	{
		struct varlena *bytes = PG_DETOAST_DATUM_PACKED(datum);

		if (reader->part != NULL)
			pfree(reader->part);
		reader->left = VARSIZE_ANY_EXHDR(bytes);
		reader->part = MemoryContextAllocHuge(reader->memory, Max(reader->left, 1));
		memcpy(reader->part, VARDATA_ANY(bytes), reader->left);
		reader->data = reader->part;
		reader->seen += reader->left;
	}
	SPI_finish();
	return !isnull;
}

static size_t
read_parts(void *arg, char *into, size_t most)
{
	Reader	   *reader = arg;

	while (reader->left == 0)
		if (!next_part(reader))
			return 0;
	return read_value(arg, into, most);
}

static Reader *
the_reader(void)
{
	if (open_reader == NULL || open_reader->csv == NULL)
		elog(ERROR, "no file is open for import");
	return open_reader;
}

static char *
argument_text(FunctionCallInfo fcinfo, int i)
{
	return PG_ARGISNULL(i) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(i));
}

static Datum
text_array(char **items, int n)
{
	Datum	   *datums = palloc(sizeof(Datum) * Max(n, 1));
	bool	   *nulls = palloc(sizeof(bool) * Max(n, 1));
	int			dims[1] = {n};
	int			lower[1] = {1};

	for (int i = 0; i < n; i++)
	{
		nulls[i] = items[i] == NULL;
		datums[i] = nulls[i] ? (Datum) 0 : CStringGetTextDatum(items[i]);
	}
	return PointerGetDatum(construct_md_array(datums, nulls, 1, dims, lower, TEXTOID, -1, false, TYPALIGN_INT));
}

static Reader *
new_reader(void)
{
	MemoryContext memory;
	MemoryContextCallback *callback;
	Reader	   *reader;

	if (open_reader != NULL)
		ereport(ERROR, (errcode(ERRCODE_OBJECT_IN_USE),
						errmsg("another file is being imported in this session")));
	if (GetDatabaseEncoding() != PG_UTF8)
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("imports need a database in UTF-8"),
						errhint("createdb --encoding=UTF8 --template=template0")));
	/* of the subtransaction: an error that is caught closes the file */
	memory = AllocSetContextCreate(CurTransactionContext, "sales_assistant import",
								   ALLOCSET_DEFAULT_SIZES);
	reader = MemoryContextAllocZero(memory, sizeof(Reader));
	reader->memory = memory;
	callback = MemoryContextAllocZero(memory, sizeof(MemoryContextCallback));
	callback->func = reader_gone;
	callback->arg = reader;
	MemoryContextRegisterResetCallback(memory, callback);
	open_reader = reader;
	return reader;
}

/* Finds encoding and delimiter, reads the header, and returns all three. */
static Datum
start_reading(FunctionCallInfo fcinfo, Reader *reader, char *encoding, char *delimiter)
{
	MemoryContext old;
	Decoder    *decoder;
	CsvRow		row;
	char		found[2] = {'\0', '\0'};
	TupleDesc	desc;
	Datum		values[3] = {0};
	bool		nulls[3] = {true, false, false};

	if (delimiter != NULL && strlen(delimiter) != 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the delimiter must be one character of ASCII, not a quote or a line end"),
						errhint("Leave the option out: the delimiter is then found.")));
	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "return type must be a row type");
	old = MemoryContextSwitchTo(reader->memory);
	decoder = decode_open(reader->in_parts ? read_parts : read_value, reader, encoding);
	reader->csv = csv_open(decoder, delimiter != NULL ? *delimiter : '\0');
	csv_begin(reader->csv);
	if (csv_next(reader->csv, &row))
	{
		if (row.problem != NULL)
			ereport(ERROR, (errcode(ERRCODE_BAD_COPY_FILE_FORMAT),
							errmsg("the header row cannot be read: %s", row.problem)));
		reader->columns = row.nfields;
		MemoryContextSwitchTo(old);
		values[0] = text_array(row.fields, row.nfields);
		nulls[0] = false;
	}
	MemoryContextSwitchTo(old);
	csv_end(reader->csv);
	found[0] = csv_delimiter(reader->csv);
	values[1] = CStringGetTextDatum(decode_encoding(decoder));
	values[2] = CStringGetTextDatum(found);
	return HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls));
}

PG_FUNCTION_INFO_V1(sales_csv_open);

/*
 * sales_internal.csv_open(data bytea, encoding text, delimiter text,
 *     OUT headers text[], OUT found_encoding text, OUT found_delimiter text)
 *
 * headers null: there is no record in it.
 */
Datum
sales_csv_open(PG_FUNCTION_ARGS)
{
	Reader	   *reader;
	MemoryContext old;
	struct varlena *data;

	if (PG_ARGISNULL(0))
		elog(ERROR, "csv_open needs a file");
	reader = new_reader();
	old = MemoryContextSwitchTo(reader->memory);
	data = PG_DETOAST_DATUM_COPY(PG_GETARG_DATUM(0));
	MemoryContextSwitchTo(old);
	reader->data = VARDATA_ANY(data);
	reader->left = reader->size = reader->seen = VARSIZE_ANY_EXHDR(data);
	return start_reading(fcinfo, reader, argument_text(fcinfo, 1), argument_text(fcinfo, 2));
}

PG_FUNCTION_INFO_V1(sales_csv_open_file);

/* sales_internal.csv_open_file(company uuid, file uuid, size bigint, encoding text, delimiter text, OUT ...) */
Datum
sales_csv_open_file(PG_FUNCTION_ARGS)
{
	Reader	   *reader;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		elog(ERROR, "csv_open_file needs a company and a file");
	reader = new_reader();
	reader->in_parts = true;
	reader->company = *PG_GETARG_UUID_P(0);
	reader->file = *PG_GETARG_UUID_P(1);
	reader->size = PG_ARGISNULL(2) ? 0 : PG_GETARG_INT64(2);
	return start_reading(fcinfo, reader, argument_text(fcinfo, 3), argument_text(fcinfo, 4));
}

PG_FUNCTION_INFO_V1(sales_csv_map);

/*
 * sales_internal.csv_map(columns integer[], fields text[], constants text[],
 *     transforms text[], zone text, skip bigint, company uuid) → void
 *
 * Arrays of one length: the column (from 1; 0 for a constant), the field, the
 * constant, the transforms with LF between.  Rows up to number `skip` are passed
 * over: a run that goes on has them already.
 */
Datum
sales_csv_map(PG_FUNCTION_ARGS)
{
	Reader	   *reader = the_reader();
	MemoryContext old = MemoryContextSwitchTo(reader->memory);
	Datum	   *parts[4];
	bool	   *nulls[4];
	int			n[4];

	for (int i = 0; i < 4; i++)
		deconstruct_array(PG_GETARG_ARRAYTYPE_P(i), i == 0 ? INT4OID : TEXTOID, i == 0 ? 4 : -1, i == 0,
						  TYPALIGN_INT, &parts[i], &nulls[i], &n[i]);
	reader->sources = palloc0(sizeof(FieldSource) * Max(n[0], 1));
	reader->nsources = n[0];
	for (int i = 0; i < n[0]; i++)
	{
		FieldSource *s = &reader->sources[i];
		int			field = fields_find(TextDatumGetCString(parts[1][i]));
		char	   *steps = nulls[3][i] ? NULL : TextDatumGetCString(parts[3][i]);
		char	   *rest = NULL;

		s->column = DatumGetInt32(parts[0][i]) - 1;
		if (field < 0 || s->column >= reader->columns)
			elog(ERROR, "the mapping does not fit the file");
		s->field = field;
		s->constant = nulls[2][i] ? NULL : TextDatumGetCString(parts[2][i]);
		if (steps == NULL)
			continue;
		s->steps = palloc(sizeof(char *) * (strlen(steps) + 1));
		for (char *step = strtok_r(steps, "\n", &rest); step != NULL; step = strtok_r(NULL, "\n", &rest))
		{
			fields_check_step(step);
			s->steps[s->nsteps++] = step;
		}
	}
	reader->zone = pg_tzset(text_to_cstring(PG_GETARG_TEXT_PP(4)));
	if (reader->zone == NULL)
		reader->zone = pg_tzset("UTC");
	reader->company = *PG_GETARG_UUID_P(6);
	csv_skip(reader->csv, PG_GETARG_INT64(5));
	MemoryContextSwitchTo(old);
	PG_RETURN_VOID();
}

static void
put_text(Datum *values, bool *nulls, int i, const char *text)
{
	nulls[i] = text == NULL;
	values[i] = text == NULL ? (Datum) 0 : CStringGetTextDatum(text);
}

static void
put_key(Datum *values, bool *nulls, int i, const pg_uuid_t *key)
{
	nulls[i] = key == NULL;
	values[i] = UUIDPGetDatum(key);
}

static void
put_row(const Reader *reader, ReturnSetInfo *result, const CsvRow *csv, const FieldRow *row)
{
	Datum		values[ROW_COLUMNS];
	bool		nulls[ROW_COLUMNS] = {false};
	char	   *const *v = row->values;
	int			n = 4;

	values[0] = Int32GetDatum((int32) Min(csv->number, PG_INT32_MAX));
	put_text(values, nulls, 1, row->reason == NULL ? NULL
			 : pnstrdup(csv->raw, pg_mbcliplen(csv->raw, strlen(csv->raw), MAX_RAW)));
	put_text(values, nulls, 2, row->bad_column);
	put_text(values, nulls, 3, row->reason);
	for (int field = 0; field < FIELD_COUNT; field++)
	{
		if (field == FIELD_FULL_NAME)
			continue;
		nulls[n] = true;
		if (row->reason != NULL)
			;
		else if (field == FIELD_CREATED_AT && row->created_at != DT_NOBEGIN)
		{
			nulls[n] = false;
			values[n] = TimestampTzGetDatum(row->created_at);
		}
		else if (field == FIELD_AMOUNT && v[field] != NULL)
		{
			nulls[n] = false;
			values[n] = DirectFunctionCall3(numeric_in, CStringGetDatum(v[field]), ObjectIdGetDatum(InvalidOid),
											Int32GetDatum(((10 << 16) | 2) + VARHDRSZ));
		}
		else if (field != FIELD_CREATED_AT)
			put_text(values, nulls, n, v[field]);
		n++;
	}
	for (int i = 0; i < 5; i++)
		nulls[n + i] = true;
	if (row->reason == NULL)
	{
		const pg_uuid_t *c = &reader->company;

		if (v[FIELD_EMAIL] != NULL)
			put_key(values, nulls, n, fields_key(c, KEY_EMAIL, fields_email_key(v[FIELD_EMAIL])));
		if (v[FIELD_LINKEDIN_URL] != NULL)
			put_key(values, nulls, n + 1, fields_key(c, KEY_LINKEDIN, fields_linkedin_key(v[FIELD_LINKEDIN_URL])));
		if (v[FIELD_PHONE] != NULL)
			put_key(values, nulls, n + 2, fields_key(c, KEY_PHONE, fields_phone_key(v[FIELD_PHONE])));
		put_key(values, nulls, n + 3, fields_key(c, KEY_NAME,
				fields_name_key(v[FIELD_FIRST_NAME], v[FIELD_LAST_NAME], v[FIELD_COMPANY_NAME])));
		if (row->employees >= 0)
		{
			nulls[n + 4] = false;
			values[n + 4] = Int32GetDatum(row->employees);
		}
	}
	tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
}

/* In pg_stat_progress_copy, while this statement's rows are matched and written. */
static void
show_progress(const Reader *reader)
{
	pgstat_progress_start_command(PROGRESS_COMMAND_COPY, InvalidOid);
	pgstat_progress_update_param(PROGRESS_COPY_COMMAND, PROGRESS_COPY_COMMAND_FROM);
	pgstat_progress_update_param(PROGRESS_COPY_TYPE, PROGRESS_COPY_TYPE_CALLBACK);
	pgstat_progress_update_param(PROGRESS_COPY_BYTES_TOTAL, reader->size);
	pgstat_progress_update_param(PROGRESS_COPY_BYTES_PROCESSED,
								 reader->seen - reader->left);
	pgstat_progress_update_param(PROGRESS_COPY_TUPLES_PROCESSED, reader->rows - reader->rejects);
	pgstat_progress_update_param(PROGRESS_COPY_TUPLES_EXCLUDED, reader->rejects);
}

PG_FUNCTION_INFO_V1(sales_csv_rows);

/* sales_internal.csv_rows(most integer) → up to `most` rows; none at the end. */
Datum
sales_csv_rows(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Reader	   *reader = the_reader();
	int			most = PG_GETARG_INT32(0);
	MemoryContext per_row = AllocSetContextCreate(CurrentMemoryContext, "import row", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = CurrentMemoryContext;

	InitMaterializedSRF(fcinfo, 0);
	if (result->setDesc->natts != ROW_COLUMNS)
		elog(ERROR, "csv_rows must return %d columns", ROW_COLUMNS);
	csv_begin(reader->csv);
	for (int i = 0; i < most; i++)
	{
		CsvRow		csv;
		FieldRow	row;

		CHECK_FOR_INTERRUPTS();
		if (!csv_next(reader->csv, &csv))
			break;
		MemoryContextSwitchTo(per_row);
		fields_map(&csv, reader->sources, reader->nsources, reader->columns, reader->zone, &row);
		put_row(reader, result, &csv, &row);
		reader->rows++;
		reader->rejects += row.reason != NULL;
		MemoryContextSwitchTo(old);
		MemoryContextReset(per_row);
	}
	csv_end(reader->csv);
	MemoryContextDelete(per_row);
	show_progress(reader);
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(sales_csv_close);

/* sales_internal.csv_close() → void; fine when none is open. */
Datum
sales_csv_close(PG_FUNCTION_ARGS)
{
	if (open_reader != NULL)
	{
		pgstat_progress_end_command();
		MemoryContextDelete(open_reader->memory);
	}
	PG_RETURN_VOID();
}

PG_FUNCTION_INFO_V1(sales_csv_position);
PG_FUNCTION_INFO_V1(sales_csv_bytes);

/* sales_internal.csv_position() → bigint */
Datum
sales_csv_position(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(csv_position(the_reader()->csv));
}

/* sales_internal.csv_bytes() → bigint */
Datum
sales_csv_bytes(PG_FUNCTION_ARGS)
{
	PG_RETURN_INT64(the_reader()->seen - the_reader()->left);
}

PG_FUNCTION_INFO_V1(sales_csv_fields);

/* sales_internal.csv_fields(): the remaining records as they are, for tests. */
Datum
sales_csv_fields(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Reader	   *reader = the_reader();
	CsvRow		csv;

	InitMaterializedSRF(fcinfo, 0);
	csv_begin(reader->csv);
	while (csv_next(reader->csv, &csv))
	{
		Datum		values[4];
		bool		nulls[4] = {false};

		CHECK_FOR_INTERRUPTS();
		values[0] = Int32GetDatum((int32) csv.number);
		nulls[1] = csv.problem != NULL;
		values[1] = nulls[1] ? (Datum) 0 : text_array(csv.fields, csv.nfields);
		put_text(values, nulls, 2, csv.raw);
		put_text(values, nulls, 3, csv.problem);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	csv_end(reader->csv);
	return (Datum) 0;
}
