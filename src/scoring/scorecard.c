/*
 * scorecard.c
 *		Scorecards and relations: training from one, applying to one.
 *
 * train_scorecard() reads a relation of a key and any numeric, boolean, date
 * and text columns through a cursor, has the learner (learner.c) make a model
 * and stores it as JSON in sales_internal.scorecards.  apply_scorecard() reads
 * a relation with the same columns and gives each key its probability.
 *
 * Infinities count as the largest or smallest value, NaN as missing.
 */
#include "postgres.h"

#include <math.h>

#include "access/table.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "core/spi.h"
#include "core/uuid.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "scoring/learner.h"
#include "scoring/scorecard.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "core/json.h"

#define BATCH 10000
#define MAX_ROWS 20000000
#define MAX_COLUMNS 500
#define MIN_ROWS 20
#define MIN_EACH_LABEL 5

typedef enum ColumnKind
{
	COLUMN_NUMBER, COLUMN_TEXT
} ColumnKind;

static ColumnKind
kind_of(Oid type)
{
	switch (getBaseType(type))
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
			return COLUMN_NUMBER;
		default:
			return COLUMN_TEXT;
	}
}

static double
number_of(Datum datum, Oid type)
{
	double		value;

	switch (getBaseType(type))
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
			value = DatumGetFloat4(datum);
			break;
		case FLOAT8OID:
			value = DatumGetFloat8(datum);
			break;
		case NUMERICOID:
			value = DatumGetFloat8(DirectFunctionCall1(numeric_float8_no_overflow, datum));
			break;
		case DATEOID:
			return DatumGetDateADT(datum);
		default:
			return (double) DatumGetTimestamp(datum) / USECS_PER_DAY;
	}
	return isinf(value) ? copysign(1e300, value) : value;
}

static char *
quoted_relation(Oid relid)
{
	char	   *name = get_rel_name(relid);

	if (name == NULL)
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("relation with OID %u does not exist", relid)));
	if (pg_class_aclcheck(relid, GetUserId(), ACL_SELECT) != ACLCHECK_OK)
		aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, name);
	return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), name);
}

/* --- training --- */

typedef struct Column
{
	char	   *name;
	Oid			type;
	int			number;			/* in the query's result */
	ColumnKind	kind;
	double	   *numbers;
	char	  **texts;
} Column;

typedef struct Rows
{
	int			ncolumns;
	Column	   *columns;
	unsigned char *labels;
	int			nrows;
	int			capacity;
	MemoryContext memory;
} Rows;

static bool
is_excluded(json_t *options, const char *name)
{
	size_t		i;
	json_t	   *item;

	json_array_foreach(json_object_get(options, "exclude"), i, item)
		if (json_is_string(item) && strcmp(json_string_value(item), name) == 0)
			return true;
	return false;
}

static void *
grow(Rows *rows, void *old, size_t size)
{
	return old == NULL
		? MemoryContextAllocHuge(rows->memory, size * rows->capacity)
		: repalloc_huge(old, size * rows->capacity);
}

static void
make_room(Rows *rows)
{
	if (rows->nrows < rows->capacity)
		return;
	if (rows->nrows >= MAX_ROWS)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("cannot learn from more than %d rows", MAX_ROWS),
						errhint("Train on a sample, such as a view with TABLESAMPLE.")));
	rows->capacity = rows->capacity == 0 ? BATCH : rows->capacity * 2;
	rows->labels = grow(rows, rows->labels, 1);
	for (int c = 0; c < rows->ncolumns; c++)
	{
		Column	   *column = &rows->columns[c];

		if (column->kind == COLUMN_NUMBER)
			column->numbers = grow(rows, column->numbers, sizeof(double));
		else
			column->texts = grow(rows, column->texts, sizeof(char *));
	}
}

static int
label_of(Datum datum, Oid type)
{
	double		value;

	if (kind_of(type) != COLUMN_NUMBER)
		ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
						errmsg("the label must be boolean or a number, 0 or 1")));
	value = number_of(datum, type);
	if (value != 0 && value != 1)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("the label must be 0 or 1, not %g", value)));
	return (int) value;
}

static void
take_row(Rows *rows, HeapTuple tuple, TupleDesc desc, int label_number)
{
	bool		isnull;
	Datum		datum = SPI_getbinval(tuple, desc, label_number, &isnull);

	if (isnull)
		return;					/* not known yet: nothing to learn from */
	make_room(rows);
	rows->labels[rows->nrows] = label_of(datum, SPI_gettypeid(desc, label_number));
	for (int c = 0; c < rows->ncolumns; c++)
	{
		Column	   *column = &rows->columns[c];

		datum = SPI_getbinval(tuple, desc, column->number, &isnull);
		if (column->kind == COLUMN_NUMBER)
			column->numbers[rows->nrows] = isnull ? NAN : number_of(datum, column->type);
		else
		{
			char	   *value = isnull ? NULL : SPI_getvalue(tuple, desc, column->number);

			column->texts[rows->nrows] = value ? MemoryContextStrdup(rows->memory, value) : NULL;
			if (value != NULL)
				pfree(value);
		}
	}
	rows->nrows++;
}

/* Columns to learn from: all but the key (the first), the label and excluded ones. */
static void
choose_columns(Rows *rows, TupleDesc desc, int label_number, json_t *options)
{
	rows->columns = MemoryContextAllocZero(rows->memory, sizeof(Column) * desc->natts);
	for (int i = 2; i <= desc->natts; i++)
	{
		char	   *name = SPI_fname(desc, i);

		if (i == label_number || is_excluded(options, name))
			continue;
		if (rows->ncolumns >= MAX_COLUMNS)
			ereport(ERROR, (errcode(ERRCODE_TOO_MANY_COLUMNS),
							errmsg("cannot learn from more than %d columns", MAX_COLUMNS),
							errhint("Name some in the option \"exclude\".")));
		rows->columns[rows->ncolumns++] = (Column) {
			MemoryContextStrdup(rows->memory, name), SPI_gettypeid(desc, i), i,
			kind_of(SPI_gettypeid(desc, i)), NULL, NULL
		};
	}
}

static void
read_rows(Rows *rows, Oid source, const char *label, json_t *options)
{
	char	   *sql = psprintf("SELECT * FROM %s", quoted_relation(source));
	Portal		portal = SPI_cursor_open_with_args(NULL, sql, 0, NULL, NULL, NULL, true, 0);
	int			label_number = 0;

	for (;;)
	{
		SPI_cursor_fetch(portal, true, BATCH);
		if (label_number == 0)
		{
			label_number = SPI_fnumber(SPI_tuptable->tupdesc, label);
			if (label_number <= 0)
				ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
								errmsg("column \"%s\" does not exist in %s", label,
									   quoted_relation(source))));
			choose_columns(rows, SPI_tuptable->tupdesc, label_number, options);
		}
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
			take_row(rows, SPI_tuptable->vals[i], SPI_tuptable->tupdesc, label_number);
		SPI_freetuptable(SPI_tuptable);
		CHECK_FOR_INTERRUPTS();
	}
	SPI_cursor_close(portal);
}

static void
check_rows(Rows *rows)
{
	int			ones = 0;

	for (int i = 0; i < rows->nrows; i++)
		ones += rows->labels[i];
	if (rows->nrows < MIN_ROWS || ones < MIN_EACH_LABEL || rows->nrows - ones < MIN_EACH_LABEL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("too little to learn from: %d rows with a label, %d of them true",
							   rows->nrows, ones),
						errhint("At least %d rows and %d of each label are needed.", MIN_ROWS,
								MIN_EACH_LABEL)));
}

static void
build_features(Scorecard *card, Rows *rows)
{
	card->features = palloc0(sizeof(Feature) * Max(rows->ncolumns, 1));
	for (int c = 0; c < rows->ncolumns; c++)
	{
		Column	   *column = &rows->columns[c];
		Feature    *feature = &card->features[card->nfeatures];

		CHECK_FOR_INTERRUPTS();
		feature->name = column->name;
		if (column->kind == COLUMN_NUMBER)
			learner_bin_numbers(feature, column->numbers, rows->nrows);
		else
			learner_bin_texts(feature, column->texts, rows->nrows);
		card->nfeatures++;
	}
}

static char *
scorecard_json(const Scorecard *card)
{
	json_t	   *features = json_array();
	json_t	   *model;
	char	   *text;
	char	   *copy;

	for (int f = 0; f < card->nfeatures; f++)
	{
		const Feature *feature = &card->features[f];
		json_t	   *points = json_array();
		json_t	   *bounds = json_array();

		for (int b = 0; b < feature->nbins; b++)
			json_array_append_new(points, json_real(feature->points[b]));
		for (int b = 0; b < feature->ncuts; b++)
			json_array_append_new(bounds, json_real(feature->cuts[b]));
		for (int b = 0; b < feature->ncategories; b++)
			json_array_append_new(bounds, json_string(feature->categories[b]));
		json_array_append_new(features, json_pack("{s:s, s:b, s:o, s:o}",
												  "name", feature->name,
												  "category", (int) feature->is_category,
												  "bounds", bounds, "points", points));
	}
	model = json_pack("{s:f, s:o}", "intercept", card->intercept, "features", features);
	text = json_dumps(model, JSON_COMPACT);
	json_decref(model);
	copy = pstrdup(text);
	free(text);
	return copy;
}

PG_FUNCTION_INFO_V1(sales_train_scorecard);

/* sales_internal.train_scorecard(source regclass, label name, options jsonb) → uuid */
Datum
sales_train_scorecard(PG_FUNCTION_ARGS)
{
	Oid			source = PG_GETARG_OID(0);
	char	   *label = NameStr(*PG_GETARG_NAME(1));
	char	   *options_text = DatumGetCString(DirectFunctionCall1(jsonb_out, PG_GETARG_DATUM(2)));
	json_t	   *options = json_loads(options_text, 0, NULL);
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "scorecard training",
												 ALLOCSET_DEFAULT_SIZES);
	MemoryContext caller = MemoryContextSwitchTo(memory);
	Rows		rows = {0};
	Scorecard	card = {0};
	pg_uuid_t  *model_id;
	SpiArg		args[8];

	rows.memory = memory;
	SPI_connect();
	PG_TRY();
	{
		read_rows(&rows, source, label, options);
	}
	PG_FINALLY();
	{
		json_decref(options);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(memory);
	check_rows(&rows);
	build_features(&card, &rows);
	learner_train(&card, rows.labels, rows.nrows);

	MemoryContextSwitchTo(caller);
	model_id = uuid_v7();
	args[0] = SPI_ARG_UUID(model_id);
	args[1] = SPI_ARG_TEXT(label);
	args[2] = SPI_ARG_TEXT(scorecard_json(&card));
	args[3] = SPI_ARG(INT4OID, Int32GetDatum(rows.nrows));
	args[4] = SPI_ARG(FLOAT8OID, Float8GetDatum(card.auc));
	args[5] = SPI_ARG(FLOAT8OID, Float8GetDatum(card.log_loss));
	args[6] = SPI_ARG(FLOAT8OID, Float8GetDatum(card.brier));
	args[7] = SPI_ARG_TEXT(options_text);
	spi_run_as_owner("INSERT INTO sales_internal.scorecards "
					 "(model_id, label, model, rows, auc, log_loss, brier, options) "
					 "VALUES ($1, $2, $3::jsonb, $4, $5, $6, $7, $8::jsonb)", false, 0, 8, args);
	SPI_finish();
	MemoryContextDelete(memory);
	PG_RETURN_UUID_P(model_id);
}

/* --- applying --- */

static Scorecard *
load_scorecard(const pg_uuid_t *model_id)
{
	SpiArg		args[1] = {SPI_ARG_UUID(model_id)};
	Scorecard  *card = palloc0(sizeof(Scorecard));
	json_t	   *model;
	json_t	   *features;

	if (spi_run_as_owner("SELECT model::text FROM sales_internal.scorecards WHERE model_id = $1",
						 true, 1, 1, args) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("there is no model %s", uuid_text(model_id))));
	model = json_loads(spi_text(0, 1), 0, NULL);
	features = json_object_get(model, "features");
	card->intercept = json_number_value(json_object_get(model, "intercept"));
	card->nfeatures = json_array_size(features);
	card->features = palloc0(sizeof(Feature) * Max(card->nfeatures, 1));
	for (int f = 0; f < card->nfeatures; f++)
	{
		json_t	   *item = json_array_get(features, f);
		json_t	   *bounds = json_object_get(item, "bounds");
		json_t	   *points = json_object_get(item, "points");
		Feature    *feature = &card->features[f];
		int			nbounds = json_array_size(bounds);

		feature->name = pstrdup(json_string_value(json_object_get(item, "name")));
		feature->is_category = json_is_true(json_object_get(item, "category"));
		feature->nbins = json_array_size(points);
		if (feature->nbins != nbounds + 2)
			elog(ERROR, "model has %d points for %d bins", feature->nbins, nbounds + 2);
		feature->points = palloc(sizeof(double) * Max(feature->nbins, 1));
		for (int b = 0; b < feature->nbins; b++)
			feature->points[b] = json_number_value(json_array_get(points, b));
		feature->cuts = palloc(sizeof(double) * Max(nbounds, 1));
		feature->categories = palloc(sizeof(char *) * Max(nbounds, 1));
		for (int b = 0; b < nbounds; b++)
		{
			if (feature->is_category)
				feature->categories[b] = pstrdup(json_string_value(json_array_get(bounds, b)));
			else
				feature->cuts[b] = json_number_value(json_array_get(bounds, b));
		}
		feature->ncuts = feature->is_category ? 0 : nbounds;
		feature->ncategories = feature->is_category ? nbounds : 0;
	}
	json_decref(model);
	return card;
}

typedef struct Placed
{
	int			column;			/* 0: the relation has none: missing */
	Oid			type;
} Placed;

static Placed *
place_features(const Scorecard *card, TupleDesc desc)
{
	Placed	   *placed = palloc(sizeof(Placed) * Max(card->nfeatures, 1));

	for (int f = 0; f < card->nfeatures; f++)
	{
		int			column = SPI_fnumber(desc, card->features[f].name);

		placed[f].column = column > 0 ? column : 0;
		placed[f].type = column > 0 ? SPI_gettypeid(desc, column) : InvalidOid;
		if (column > 0 &&
			(kind_of(placed[f].type) == COLUMN_TEXT) != card->features[f].is_category)
			ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
							errmsg("column \"%s\" has another type than in training",
								   card->features[f].name)));
	}
	return placed;
}

static int
bin_of(const Feature *feature, const Placed *placed, HeapTuple tuple, TupleDesc desc)
{
	bool		isnull = true;
	Datum		datum = (Datum) 0;
	char	   *text;
	int			bin;

	if (placed->column > 0)
		datum = SPI_getbinval(tuple, desc, placed->column, &isnull);
	if (isnull)
		return BIN_MISSING;
	if (!feature->is_category)
		return learner_bin_of_number(feature, number_of(datum, placed->type));
	text = SPI_getvalue(tuple, desc, placed->column);
	bin = learner_bin_of_text(feature, text);
	pfree(text);
	return bin;
}

PG_FUNCTION_INFO_V1(sales_apply_scorecard);

/* sales_internal.apply_scorecard(model_id, source) → (key, probability[, parts]) */
Datum
sales_apply_scorecard(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Scorecard  *card;
	Placed	   *placed = NULL;
	Portal		portal;
	char	   *sql = psprintf("SELECT * FROM %s", quoted_relation(PG_GETARG_OID(1)));

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	card = load_scorecard(PG_GETARG_UUID_P(0));
	portal = SPI_cursor_open_with_args(NULL, sql, 0, NULL, NULL, NULL, true, 0);
	for (;;)
	{
		SPI_cursor_fetch(portal, true, BATCH);
		if (placed == NULL)
			placed = place_features(card, SPI_tuptable->tupdesc);
		if (SPI_processed == 0)
			break;
		for (uint64 i = 0; i < SPI_processed; i++)
		{
			HeapTuple	tuple = SPI_tuptable->vals[i];
			TupleDesc	desc = SPI_tuptable->tupdesc;
			char	   *key = SPI_getvalue(tuple, desc, 1);
			double		logit = card->intercept;
			Datum		values[2];
			bool		nulls[2] = {key == NULL, false};

			for (int f = 0; f < card->nfeatures; f++)
				logit += card->features[f].points[bin_of(&card->features[f], &placed[f],
														 tuple, desc)];
			values[0] = key ? CStringGetTextDatum(key) : (Datum) 0;
			values[1] = Float8GetDatum(1.0 / (1.0 + exp(-logit)));
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
			if (key != NULL)
			{
				pfree(DatumGetPointer(values[0]));
				pfree(key);
			}
		}
		SPI_freetuptable(SPI_tuptable);
		CHECK_FOR_INTERRUPTS();
	}
	SPI_cursor_close(portal);
	SPI_finish();
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(sales_scorecard_points);

/*
 * sales_internal.scorecard_points(model_id, source) →
 *		(key, feature, value, points float8): log-odds of each column of each row,
 *		and the intercept as feature '(base)'
 */
Datum
sales_scorecard_points(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *sql = psprintf("SELECT * FROM %s", quoted_relation(PG_GETARG_OID(1)));
	Scorecard  *card;
	Placed	   *placed;
	TupleDesc	desc;
	uint64		rows;

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	card = load_scorecard(PG_GETARG_UUID_P(0));
	rows = spi_run(sql, true, 0, 0, NULL);
	desc = SPI_tuptable->tupdesc;
	placed = place_features(card, desc);
	for (uint64 i = 0; i < rows; i++)
	{
		HeapTuple	tuple = SPI_tuptable->vals[i];

		for (int f = -1; f < card->nfeatures; f++)
		{
			Datum		values[4];
			bool		nulls[4] = {0};
			char	   *value = f >= 0 && placed[f].column > 0
				? SPI_getvalue(tuple, desc, placed[f].column) : NULL;

			values[0] = CStringGetTextDatum(SPI_getvalue(tuple, desc, 1));
			values[1] = CStringGetTextDatum(f < 0 ? "(base)" : card->features[f].name);
			nulls[2] = value == NULL;
			values[2] = value ? CStringGetTextDatum(value) : (Datum) 0;
			values[3] = Float8GetDatum(f < 0 ? card->intercept
									   : card->features[f].points[bin_of(&card->features[f], &placed[f],
																		 tuple, desc)]);
			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	}
	SPI_finish();
	return (Datum) 0;
}

static char *guc_scoring_company = NULL;

/* The company that sales_internal.prospect_features shows; set by definer code. */
void
scoring_init(void)
{
	DefineCustomStringVariable("sales_assistant.scoring_company",
							   "Company whose prospects are being scored.",
							   "Set by the extension while it scores; it opens nothing.",
							   &guc_scoring_company, "", PGC_SUSET, GUC_NOT_IN_SAMPLE, NULL,
							   NULL, NULL);
}
