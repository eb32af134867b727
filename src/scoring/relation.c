/*
 * relation.c
 *		Relations as the learner takes them: rows to columns of numbers and texts.
 *
 * Rows come straight from the executor into a receiver: no cursor, no copies.
 * Numeric, boolean, date and time columns are numbers; text, varchar, char,
 * name and enum columns are texts; others cannot be learned from.
 *
 * Training must not depend on the order in which a scan happens to give rows.
 * So rows are sorted by a hash of their key, and if they are more than fit in
 * maintenance_work_mem, those with the smallest hashes are the sample.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "compat.h"
#include "core/spi.h"
#include "miscadmin.h"
#include "scoring/bins.h"
#include "scoring/relation.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/timestamp.h"

#define MAX_COLUMNS 500
#define FIRST_CAPACITY 1024
#define LEAST_CAPACITY 10000	/* rows that are always taken */
#define MAX_TEXT 127			/* bytes; longer texts are no categories */
#define MAX_TEXTS 20000			/* different ones in a column */

/* --- values --- */

static ColumnKind
kind_of(Oid type)
{
	char		category;
	bool		preferred;

	switch (type)
	{
		case BOOLOID:
		case INT2OID:
		case INT4OID:
		case INT8OID:
		case FLOAT4OID:
		case FLOAT8OID:
		case NUMERICOID:
		case DATEOID:
		case TIMESTAMPOID:
		case TIMESTAMPTZOID:
		case TIMEOID:
		case INTERVALOID:
			return COLUMN_NUMBER;
	}
	get_type_category_preferred(type, &category, &preferred);
	return category == TYPCATEGORY_STRING || category == TYPCATEGORY_ENUM || type == CHAROID
		? COLUMN_TEXT : COLUMN_OTHER;
}

void
scoring_init_reader(Reader *reader, TupleDesc desc, int number)
{
	Oid			output;
	bool		is_varlena;

	reader->number = number;
	reader->type = getBaseType(TupleDescAttr(desc, number - 1)->atttypid);
	reader->kind = kind_of(reader->type);
	getTypeOutputInfo(reader->type, &output, &is_varlena);
	fmgr_info(output, &reader->output);
}

double
scoring_number(const Reader *reader, Datum datum)
{
	switch (reader->type)
	{
		case BOOLOID:
			return DatumGetBool(datum) ? 1 : 0;
		case INT2OID:
			return DatumGetInt16(datum);
		case INT4OID:
			return DatumGetInt32(datum);
		case INT8OID:
			return (double) DatumGetInt64(datum);
		case FLOAT4OID:
			return DatumGetFloat4(datum);
		case FLOAT8OID:
			return DatumGetFloat8(datum);
		case NUMERICOID:
			return DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, datum));
		case DATEOID:
			{
				DateADT		date = DatumGetDateADT(datum);

				return DATE_IS_NOBEGIN(date) ? -INFINITY : DATE_IS_NOEND(date) ? INFINITY : date;
			}
		case TIMEOID:
			return (double) DatumGetTimeADT(datum) / USECS_PER_DAY;
		case INTERVALOID:
			{
				Interval   *span = DatumGetIntervalP(datum);

				return span->month * (double) DAYS_PER_YEAR / MONTHS_PER_YEAR + span->day
					+ (double) span->time / USECS_PER_DAY;
			}
		default:
			{
				Timestamp	moment = DatumGetTimestamp(datum);

				return TIMESTAMP_IS_NOBEGIN(moment) ? -INFINITY : TIMESTAMP_IS_NOEND(moment) ? INFINITY
					: (double) moment / USECS_PER_DAY;
			}
	}
}

const char *
scoring_text(Reader *reader, Datum datum, int *length)
{
	char	   *text;

	if (reader->type == TEXTOID || reader->type == VARCHAROID || reader->type == BPCHAROID)
	{
		struct varlena *value = PG_DETOAST_DATUM_PACKED(datum);

		text = VARDATA_ANY(value);
		*length = (int) VARSIZE_ANY_EXHDR(value);
	}
	else
	{
		text = OutputFunctionCall(&reader->output, datum);
		*length = (int) strlen(text);
	}
	while (reader->type == BPCHAROID && *length > 0 && text[*length - 1] == ' ')
		(*length)--;
	return text;
}

/* --- scanning --- */

char *
scoring_relation_name(Oid relation)
{
	char	   *name = get_rel_name(relation);
	char		kind;

	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", relation)));
	kind = get_rel_relkind(relation);
	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE && kind != RELKIND_VIEW &&
		kind != RELKIND_MATVIEW && kind != RELKIND_FOREIGN_TABLE)
		ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" has no rows", name),
						errhint("Name a table, a view, a materialized view or a foreign table.")));
	if (pg_class_aclcheck(relation, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, name);
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relation)), name);
}

void
scoring_scan(Oid relation, SpiTaker taker, void *state)
{
	spi_scan(psprintf("SELECT * FROM %s", scoring_relation_name(relation)), 0, NULL, taker, state);
}

/* --- rows to learn from --- */

typedef struct Reading
{
	Rows	   *rows;
	const char *label_name;
	json_t	   *options;
	Reader		key;
	Reader		label;
	uint64	   *hashes;			/* of the keys */
	int			capacity;
	int			most;			/* rows that fit */
	int			halvings;		/* only hashes below 2^(64 - halvings) are taken */
	MemoryContext memory;
} Reading;

static bool
is_excluded(json_t *options, const char *name)
{
	size_t		i;
	json_t	   *item;

	json_array_foreach(json_object_get(options, "exclude"), i, item)
		if (strcmp(json_string_value(item), name) == 0)
			return true;
	return false;
}

/* A name that is misspelt would be learned from. */
static void
warn_of_unknown(json_t *options, TupleDesc desc)
{
	size_t		i;
	json_t	   *item;

	json_array_foreach(json_object_get(options, "exclude"), i, item)
	{
		bool		found = false;

		for (int c = 0; c < desc->natts && !found; c++)
			found = strcmp(NameStr(TupleDescAttr(desc, c)->attname), json_string_value(item)) == 0;
		if (!found)
			ereport(WARNING, (errmsg("there is no column \"%s\" to exclude", json_string_value(item))));
	}
}

typedef struct KnownText
{
	char		text[MAX_TEXT + 1]; /* the hash key */
	int			code;
} KnownText;

static void
init_column(Column *column, TupleDesc desc, int number)
{
	column->name = pstrdup(NameStr(TupleDescAttr(desc, number - 1)->attname));
	scoring_init_reader(&column->reader, desc, number);
	if (column->reader.kind == COLUMN_TEXT)
	{
		HASHCTL		control = {0};

		control.keysize = MAX_TEXT + 1;
		control.entrysize = sizeof(KnownText);
		control.hcxt = CurrentMemoryContext;
		column->known = hash_create("texts", 64, &control, HASH_ELEM | HASH_STRINGS | HASH_CONTEXT);
		column->texts = palloc(sizeof(char *) * MAX_TEXTS);
	}
}

/* Columns to learn from: all but the key (the first), the label and excluded ones. */
static void
choose_columns(Reading *reading, TupleDesc desc)
{
	Rows	   *rows = reading->rows;
	int			label = 0;

	warn_of_unknown(reading->options, desc);
	rows->columns = palloc0(sizeof(Column) * desc->natts);
	for (int i = 1; i <= desc->natts; i++)
		if (strcmp(NameStr(TupleDescAttr(desc, i - 1)->attname), reading->label_name) == 0)
			label = i;
	if (label == 0)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
						errmsg("there is no column \"%s\" to learn", reading->label_name),
						errhint("Name the column that holds 0 or 1, or false or true.")));
	scoring_init_reader(&reading->key, desc, 1);
	scoring_init_reader(&reading->label, desc, label);
	if (label == 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the first column is the key; it cannot be the label"),
						errhint("Put a key first, in a view if need be.")));
	if (reading->label.kind != COLUMN_NUMBER)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("the label must be boolean or a number, 0 or 1"),
						errhint("Make it one in a view, such as: answer = 'yes' AS label.")));
	for (int i = 2; i <= desc->natts; i++)
	{
		char	   *name = NameStr(TupleDescAttr(desc, i - 1)->attname);
		Column	   *column = &rows->columns[rows->ncolumns];

		if (i == label || is_excluded(reading->options, name))
			continue;
		if (rows->ncolumns >= MAX_COLUMNS)
			ereport(ERROR, (errcode(ERRCODE_TOO_MANY_COLUMNS),
							errmsg("cannot learn from more than %d columns", MAX_COLUMNS),
							errhint("Name some in the option \"exclude\".")));
		init_column(column, desc, i);
		if (column->reader.kind == COLUMN_OTHER)
			ereport(NOTICE,
					(errmsg("column \"%s\" of type %s is not learned from", name,
							format_type_be(TupleDescAttr(desc, i - 1)->atttypid)),
					 errhint("Make numbers, dates, booleans or texts of it in a view.")));
		else
			rows->ncolumns++;
	}
	/* What the learner needs besides (boost.h) is less than 230 bytes a row. */
	reading->most = (int) Min((int64) maintenance_work_mem * 1024 / (230 + 9 * rows->ncolumns),
							  INT_MAX / 2);
	reading->most = Max(reading->most, LEAST_CAPACITY);
}

static void *
grow(void *old, size_t size)
{
	return old == NULL ? palloc_extended(size, MCXT_ALLOC_HUGE) : repalloc_huge(old, size);
}

static void
grow_rows(Reading *reading)
{
	Rows	   *rows = reading->rows;
	int64		capacity = Min(reading->capacity == 0 ? FIRST_CAPACITY : (int64) reading->capacity * 2,
							   reading->most);

	reading->capacity = (int) capacity;
	rows->labels = grow(rows->labels, capacity);
	reading->hashes = grow(reading->hashes, sizeof(uint64) * capacity);
	for (int c = 0; c < rows->ncolumns; c++)
	{
		Column	   *column = &rows->columns[c];

		if (column->reader.kind == COLUMN_NUMBER)
			column->numbers = grow(column->numbers, sizeof(double) * capacity);
		else
			column->codes = grow(column->codes, sizeof(int) * capacity);
	}
}

static void
move_row(Reading *reading, int to, int from)
{
	Rows	   *rows = reading->rows;

	rows->labels[to] = rows->labels[from];
	reading->hashes[to] = reading->hashes[from];
	for (int c = 0; c < rows->ncolumns; c++)
	{
		if (rows->columns[c].numbers != NULL)
			rows->columns[c].numbers[to] = rows->columns[c].numbers[from];
		else
			rows->columns[c].codes[to] = rows->columns[c].codes[from];
	}
}

static inline bool
is_sampled(const Reading *reading, uint64 hash)
{
	return reading->halvings == 0 || hash >> (64 - reading->halvings) == 0;
}

/* Room for one more row: a larger table, or half the sample. */
static void
make_room(Reading *reading)
{
	Rows	   *rows = reading->rows;
	int			kept = 0;

	if (rows->nrows < reading->capacity)
		return;
	if (reading->capacity < reading->most)
	{
		grow_rows(reading);
		return;
	}
	reading->halvings++;
	for (int i = 0; i < rows->nrows; i++)
		if (is_sampled(reading, reading->hashes[i]))
			move_row(reading, kept++, i);
	/* Keys that are all alike cannot be halved. */
	if (kept >= reading->capacity)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("the rows do not fit in memory and their keys are no help to take a sample"),
						errhint("The first column must be a key; or raise maintenance_work_mem.")));
	rows->nrows = kept;
}

static int
code_of(Column *column, const char *text, int length)
{
	char		key[MAX_TEXT + 1];
	bool		found;
	KnownText  *known;

	if (length > MAX_TEXT)
		return LEARNER_CODE_OTHER;
	memcpy(key, text, length);
	key[length] = '\0';
	known = hash_search(column->known, key, column->ntexts < MAX_TEXTS ? HASH_ENTER : HASH_FIND,
						&found);
	if (known == NULL)
		return LEARNER_CODE_OTHER;
	if (!found)
	{
		known->code = column->ntexts;
		column->texts[column->ntexts++] = known->text;
	}
	return known->code;
}

static uint64
hash_of_key(Reading *reading, TupleTableSlot *slot)
{
	char	   *key;

	if (slot->tts_isnull[0])
		return 0;
	key = OutputFunctionCall(&reading->key.output, slot->tts_values[0]);
	return hash_bytes_extended((unsigned char *) key, (int) strlen(key), 0);
}

static void
take_row(TupleTableSlot *slot, void *state)
{
	Reading    *reading = state;
	Rows	   *rows = reading->rows;
	int			at = reading->label.number - 1;
	MemoryContext row_memory;
	uint64		hash;
	double		label;

	if (slot->tts_isnull[at])
		return;					/* not known yet: nothing to learn from */
	label = scoring_number(&reading->label, slot->tts_values[at]);
	if (label != 0 && label != 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the label must be 0 or 1, not %g", label),
						errhint("Make it one in a view; rows whose label is null are left out.")));
	rows->seen++;
	hash = hash_of_key(reading, slot);
	if (!is_sampled(reading, hash))
		return;
	row_memory = MemoryContextSwitchTo(reading->memory);
	make_room(reading);
	MemoryContextSwitchTo(row_memory);
	if (!is_sampled(reading, hash))
		return;
	rows->labels[rows->nrows] = (uint8) label;
	reading->hashes[rows->nrows] = hash;
	for (int c = 0; c < rows->ncolumns; c++)
	{
		Column	   *column = &rows->columns[c];
		bool		isnull = slot->tts_isnull[column->reader.number - 1];
		Datum		datum = slot->tts_values[column->reader.number - 1];

		if (column->reader.kind == COLUMN_NUMBER)
			column->numbers[rows->nrows] = isnull ? NAN : scoring_number(&column->reader, datum);
		else
		{
			int			length = 0;
			const char *text = isnull ? NULL : scoring_text(&column->reader, datum, &length);

			column->codes[rows->nrows] = isnull ? LEARNER_CODE_MISSING : code_of(column, text, length);
		}
	}
	rows->nrows++;
}

typedef struct Place
{
	uint64		hash;
	int			row;
} Place;

static int
compare_numbers(double x, double y)
{
	if (isnan(x) || isnan(y))
		return isnan(x) - isnan(y);
	return (x > y) - (x < y);
}

static int
compare_codes(const Column *column, int x, int y)
{
	if (x < 0 || y < 0)
		return (x > y) - (x < y);
	return x == y ? 0 : strcmp(column->texts[x], column->texts[y]);
}

/* By hash; rows whose keys are equal by what they hold, so that their order tells nothing of the scan. */
static int
compare_places(const void *a, const void *b, void *arg)
{
	const Place *x = a;
	const Place *y = b;
	const Rows *rows = arg;
	int			order = (x->hash > y->hash) - (x->hash < y->hash);

	if (order == 0)
		order = rows->labels[x->row] - rows->labels[y->row];
	for (int c = 0; c < rows->ncolumns && order == 0; c++)
	{
		const Column *column = &rows->columns[c];

		order = column->numbers != NULL
			? compare_numbers(column->numbers[x->row], column->numbers[y->row])
			: compare_codes(column, column->codes[x->row], column->codes[y->row]);
	}
	return order;
}

/* Puts the rows in the order of their keys' hashes. */
static void
sort_rows(Reading *reading)
{
	Rows	   *rows = reading->rows;
	int			n = rows->nrows;
	Place	   *places = palloc_extended(sizeof(Place) * Max(n, 1), MCXT_ALLOC_HUGE);
	void	   *sorted = palloc_extended(sizeof(double) * Max(n, 1), MCXT_ALLOC_HUGE);

	for (int i = 0; i < n; i++)
		places[i] = (Place) {reading->hashes[i], i};
	qsort_arg(places, n, sizeof(Place), compare_places, rows);
	for (int i = 0; i < n; i++)
		((uint8 *) sorted)[i] = rows->labels[places[i].row];
	if (n > 0)
		memcpy(rows->labels, sorted, n);
	for (int c = 0; c < rows->ncolumns && n > 0; c++)
	{
		Column	   *column = &rows->columns[c];

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < n; i++)
		{
			if (column->numbers != NULL)
				((double *) sorted)[i] = column->numbers[places[i].row];
			else
				((int *) sorted)[i] = column->codes[places[i].row];
		}
		if (column->numbers != NULL)
			memcpy(column->numbers, sorted, sizeof(double) * n);
		else
			memcpy(column->codes, sorted, sizeof(int) * n);
	}
	pfree(places);
	pfree(sorted);
}

Rows *
scoring_read_rows(Oid source, const char *label, json_t *options)
{
	Rows	   *rows = palloc0(sizeof(Rows));
	Reading		reading = {0};
	TupleDesc	desc;
	SPIPlanPtr	plan;
	CachedPlanSource *source_plan;
	char	   *sql = psprintf("SELECT * FROM %s", scoring_relation_name(source));
	MemoryContext memory = CurrentMemoryContext;

	reading.rows = rows;
	reading.label_name = label;
	reading.options = options;
	reading.memory = memory;
	/* The columns are known before the first row, and where there is none. */
	plan = SPI_prepare(sql, 0, NULL);
	if (plan == NULL)
		elog(ERROR, "reading %s: %s", sql, SPI_result_code_string(SPI_result));
	source_plan = linitial(SPI_plan_get_plan_sources(plan));
	desc = CreateTupleDescCopy(source_plan->resultDesc);
	SPI_freeplan(plan);
	choose_columns(&reading, desc);
	scoring_scan(source, take_row, &reading);
	MemoryContextSwitchTo(memory);
	if (reading.halvings > 0)
		ereport(NOTICE, (errmsg("learning from a sample of %d of %lld rows", rows->nrows,
								(long long) rows->seen),
						 errhint("Raise maintenance_work_mem to learn from all.")));
	sort_rows(&reading);
	return rows;
}
