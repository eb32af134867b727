/*
 * scorecard.c
 *		Scorecards and relations: training from one, applying to one.
 *
 * train_scorecard() reads a relation of a key and other columns (relation.c),
 * has the learner (learner.c) make a model and stores it (model.c).
 * apply_scorecard() gives each row of a relation with the same columns its
 * probability; scorecard_points() says what it is made of.
 *
 * Columns are found by name, in any order; those that the model does not know
 * are not looked at.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "core/spi.h"
#include "core/uuid.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "scoring/bins.h"
#include "scoring/learner.h"
#include "scoring/model.h"
#include "scoring/relation.h"
#include "scoring/scorecard.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/memutils.h"
#include "core/json.h"

/* --- training --- */

static bool
are_names(json_t *value)
{
	size_t		i;
	json_t	   *item;

	if (!json_is_array(value))
		return false;
	json_array_foreach(value, i, item)
		if (!json_is_string(item))
			return false;
	return true;
}

static void
check_options(json_t *options)
{
	const char *key;
	json_t	   *value;

	if (!json_is_object(options))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("options must be an object"),
						errhint("Such as {\"exclude\": [\"id\"]}.")));
	json_object_foreach(options, key, value)
	{
		if (strcmp(key, "exclude") == 0 && !are_names(value))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("the option \"exclude\" must be an array of column names")));
		if (strcmp(key, "prior") == 0 && !json_is_string(value))
			ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
							errmsg("the option \"prior\" must be the model_id of a model")));
		if (strcmp(key, "exclude") != 0 && strcmp(key, "prior") != 0)
			ereport(WARNING, (errmsg("there is no option \"%s\"", key),
							  errhint("Options are \"exclude\" and \"prior\".")));
	}
}

/* Are the rows enough to hold some of them out? */
static bool
are_enough(const Rows *rows, int *ones)
{
	*ones = 0;
	for (int i = 0; i < rows->nrows; i++)
		*ones += rows->labels[i];
	return rows->nrows >= LEARNER_MIN_ROWS && *ones >= LEARNER_MIN_EACH_LABEL &&
		rows->nrows - *ones >= LEARNER_MIN_EACH_LABEL;
}

static void
check_rows(const Rows *rows, bool has_prior)
{
	int			ones;

	if (rows->nrows == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("there is no row with a label to learn from"),
						errhint("Rows whose label is null are left out.")));
	if (!are_enough(rows, &ones) && !has_prior)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("too little to learn from: %d rows with a label, %d of them true",
							   rows->nrows, ones),
						errhint("At least %d rows and %d of each label are needed; with the option \"prior\" one row is enough.",
								LEARNER_MIN_ROWS, LEARNER_MIN_EACH_LABEL)));
}

static const Feature *
find_feature(const Scorecard *card, const char *name, bool is_category)
{
	for (int f = 0; card != NULL && f < card->nfeatures; f++)
		if (strcmp(card->features[f].name, name) == 0 &&
			card->features[f].is_category == is_category)
			return &card->features[f];
	return NULL;
}

/* The prior's points for the bins of a column; its bounds are bounds here too. */
static void
take_prior(Feature *feature, const Feature *prior)
{
	if (prior == NULL)
		return;
	feature->prior = palloc0(sizeof(double) * feature->nbins);
	for (int b = 0; b < feature->nbins; b++)
	{
		int			from = b;

		if (b >= 2 && feature->is_category)
			from = learner_bin_of_text(prior, feature->categories[b - 2],
									   (int) strlen(feature->categories[b - 2]));
		else if (b >= 2)
			from = learner_bin_of_number(prior, feature->cuts[b - 2]);
		feature->prior[b] = prior->points[from];
	}
}

static void
build_features(Scorecard *card, Rows *rows, const Scorecard *prior)
{
	int			ones;
	bool		adjust_only = !are_enough(rows, &ones);

	card->features = palloc0(sizeof(Feature) * Max(rows->ncolumns, 1));
	card->nfeatures = rows->ncolumns;
	card->has_prior = prior != NULL;
	card->prior_intercept = prior ? prior->intercept : 0;
	for (int c = 0; c < rows->ncolumns; c++)
	{
		Column	   *column = &rows->columns[c];
		Feature    *feature = &card->features[c];
		bool		is_category = column->reader.kind == COLUMN_TEXT;
		const Feature *before = find_feature(prior, column->name, is_category);

		CHECK_FOR_INTERRUPTS();
		feature->name = column->name;
		if (is_category)
			learner_bin_texts(feature, column->codes, rows->nrows, column->texts, column->ntexts,
							  before ? before->categories : NULL, before ? before->ncategories : 0,
							  adjust_only);
		else
			learner_bin_numbers(feature, column->numbers, rows->nrows,
								before ? before->cuts : NULL, before ? before->ncuts : 0, adjust_only);
		take_prior(feature, before);
		/* The learner needs bins alone. */
		if (column->numbers != NULL)
			pfree(column->numbers);
		if (column->codes != NULL)
			pfree(column->codes);
	}
}

static SpiArg
number_or_null(double value)
{
	return isfinite(value) ? SPI_ARG(FLOAT8OID, Float8GetDatum(value)) : SPI_ARG_NULL(FLOAT8OID);
}

static void
store_card(const Scorecard *card, const pg_uuid_t *model_id, const char *label, int nrows,
		   const char *options)
{
	SpiArg		args[8];

	args[0] = SPI_ARG_UUID(model_id);
	args[1] = SPI_ARG_TEXT(label);
	args[2] = SPI_ARG_TEXT(scoring_model_json(card));
	args[3] = SPI_ARG(INT4OID, Int32GetDatum(nrows));
	args[4] = number_or_null(card->auc);
	args[5] = number_or_null(card->log_loss);
	args[6] = number_or_null(card->brier);
	args[7] = SPI_ARG_TEXT(options);
	spi_run_as_owner("INSERT INTO sales_internal.scorecards "
					 "(model_id, label, model, rows, auc, log_loss, brier, options) "
					 "VALUES ($1, $2, $3::jsonb, $4, $5, $6, $7, $8::jsonb)", false, 0, 8, args);
}

static Scorecard *
load_prior(json_t *options)
{
	const char *text = json_string_value(json_object_get(options, "prior"));

	if (text == NULL)
		return NULL;
	return scoring_model_load(DatumGetUUIDP(DirectFunctionCall1(uuid_in, CStringGetDatum(text))));
}

PG_FUNCTION_INFO_V1(sales_train_scorecard);

/* sales_internal.train_scorecard(source regclass, label name, options jsonb) → uuid */
Datum
sales_train_scorecard(PG_FUNCTION_ARGS)
{
	Oid			source = PG_GETARG_OID(0);
	char	   *label = NameStr(*PG_GETARG_NAME(1));
	char	   *options_text = DatumGetCString(DirectFunctionCall1(jsonb_out, PG_GETARG_DATUM(2)));
	json_t	   *options = json_loads(options_text, JSON_DECODE_ANY, NULL);
	MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "scorecard training",
												 ALLOCSET_DEFAULT_SIZES);
	Rows	   *volatile rows = NULL;
	Scorecard  *volatile prior = NULL;
	Scorecard	card = {0};
	pg_uuid_t  *model_id = uuid_v7();

	SPI_connect();
	PG_TRY();
	{
		MemoryContextSwitchTo(memory);
		check_options(options);
		prior = load_prior(options);
		MemoryContextSwitchTo(memory);
		rows = scoring_read_rows(source, label, options);
	}
	PG_FINALLY();
	{
		json_decref(options);
	}
	PG_END_TRY();
	check_rows(rows, prior != NULL);
	build_features(&card, rows, prior);
	learner_train(&card, rows->labels, rows->nrows);

	store_card(&card, model_id, label, rows->nrows, options_text);
	SPI_finish();				/* back in the caller's memory */
	MemoryContextDelete(memory);
	PG_RETURN_UUID_P(model_id);
}

/* --- applying --- */

typedef struct Applying
{
	ReturnSetInfo *result;
	Scorecard  *card;
	Reader	   *readers;		/* of each feature */
	Reader		key;
	bool		placed;
} Applying;

static void
place_features(Applying *applying, TupleDesc desc)
{
	const Scorecard *card = applying->card;

	applying->placed = true;
	applying->readers = palloc0(sizeof(Reader) * Max(card->nfeatures, 1));
	scoring_init_reader(&applying->key, desc, 1);
	for (int f = 0; f < card->nfeatures; f++)
	{
		Reader	   *reader = &applying->readers[f];
		const char *name = card->features[f].name;

		for (int i = 1; i <= desc->natts; i++)
			if (strcmp(NameStr(TupleDescAttr(desc, i - 1)->attname), name) == 0)
				scoring_init_reader(reader, desc, i);
		if (reader->number == 0)
			ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
							errmsg("there is no column \"%s\", which the model has learned from", name),
							errhint("Add it, null where it is not known.")));
		if ((reader->kind == COLUMN_TEXT) != card->features[f].is_category ||
			reader->kind == COLUMN_OTHER)
			ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
							errmsg("column \"%s\" is of type %s, but was %s in training", name,
								   format_type_be(reader->type),
								   card->features[f].is_category ? "text" : "a number, a boolean or a date"),
							errhint("Cast it in a view.")));
	}
}

static void
bin_row(Applying *applying, TupleTableSlot *slot, uint8 *bins)
{
	const Scorecard *card = applying->card;

	if (!applying->placed)
	{
		MemoryContext row = MemoryContextSwitchTo(applying->result->econtext->ecxt_per_query_memory);

		place_features(applying, slot->tts_tupleDescriptor);
		MemoryContextSwitchTo(row);
	}
	for (int f = 0; f < card->nfeatures; f++)
	{
		const Feature *feature = &card->features[f];
		Reader	   *reader = &applying->readers[f];
		int			at = reader->number - 1;

		if (slot->tts_isnull[at])
			bins[f] = BIN_MISSING;
		else if (feature->is_category)
		{
			int			length;
			const char *text = scoring_text(reader, slot->tts_values[at], &length);

			bins[f] = (uint8) learner_bin_of_text(feature, text, length);
		}
		else
			bins[f] = (uint8) learner_bin_of_number(feature, scoring_number(reader, slot->tts_values[at]));
	}
}

/* Text of the row's key; null if it is null. */
static text *
key_text(Applying *applying, TupleTableSlot *slot)
{
	return slot->tts_isnull[0] ? NULL
		: cstring_to_text(OutputFunctionCall(&applying->key.output, slot->tts_values[0]));
}

static void
apply_row(TupleTableSlot *slot, void *state)
{
	Applying   *applying = state;
	uint8		few[64];
	uint8	   *bins = applying->card->nfeatures <= lengthof(few) ? few : palloc(applying->card->nfeatures);
	Datum		values[2];
	bool		nulls[2] = {false, false};
	text	   *key;

	bin_row(applying, slot, bins);
	key = key_text(applying, slot);
	nulls[0] = key == NULL;
	values[0] = PointerGetDatum(key);
	values[1] = Float8GetDatum(1.0 / (1.0 + exp(-learner_logit(applying->card, bins))));
	tuplestore_putvalues(applying->result->setResult, applying->result->setDesc, values, nulls);
}

PG_FUNCTION_INFO_V1(sales_apply_scorecard);

/* sales_internal.apply_scorecard(model_id, source) → (key, probability) */
Datum
sales_apply_scorecard(PG_FUNCTION_ARGS)
{
	Applying	applying = {(ReturnSetInfo *) fcinfo->resultinfo};

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	applying.card = scoring_model_load(PG_GETARG_UUID_P(0));
	scoring_scan(PG_GETARG_OID(1), apply_row, &applying);
	SPI_finish();
	return (Datum) 0;
}

/* --- explaining --- */

static void
put_points(Applying *applying, text *key, const char *feature, const char *value, double points)
{
	Datum		values[4];
	bool		nulls[4] = {key == NULL, false, value == NULL, false};

	values[0] = PointerGetDatum(key);
	values[1] = CStringGetTextDatum(feature);
	values[2] = value ? CStringGetTextDatum(value) : (Datum) 0;
	values[3] = Float8GetDatum(points);
	tuplestore_putvalues(applying->result->setResult, applying->result->setDesc, values, nulls);
}

static void
explain_row(TupleTableSlot *slot, void *state)
{
	Applying   *applying = state;
	const Scorecard *card = applying->card;
	uint8	   *bins = palloc(Max(card->nfeatures, 1));
	char	  **values = palloc0(sizeof(char *) * Max(card->nfeatures, 1));
	text	   *key;

	bin_row(applying, slot, bins);
	key = key_text(applying, slot);
	put_points(applying, key, "(base)", NULL, card->intercept);
	for (int f = 0; f < card->nfeatures; f++)
	{
		int			at = applying->readers[f].number - 1;

		if (!slot->tts_isnull[at])
			values[f] = OutputFunctionCall(&applying->readers[f].output, slot->tts_values[at]);
		put_points(applying, key, card->features[f].name, values[f], card->features[f].points[bins[f]]);
	}
	for (int p = 0; p < card->npairs; p++)
	{
		const Pair *pair = &card->pairs[p];
		int			a = pair->first;
		int			b = pair->second;

		put_points(applying, key,
				   psprintf("%s and %s", card->features[a].name, card->features[b].name),
				   psprintf("%s, %s", values[a] ? values[a] : "none", values[b] ? values[b] : "none"),
				   pair->points[pair->first_group[bins[a]] * pair->nsecond + pair->second_group[bins[b]]]);
	}
}

PG_FUNCTION_INFO_V1(sales_scorecard_points);

/*
 * sales_internal.scorecard_points(model_id, source) →
 *		(key, feature, value, points float8): log-odds of each column and pair of
 *		columns of each row, and the intercept as feature '(base)'
 */
Datum
sales_scorecard_points(PG_FUNCTION_ARGS)
{
	Applying	applying = {(ReturnSetInfo *) fcinfo->resultinfo};

	InitMaterializedSRF(fcinfo, 0);
	SPI_connect();
	applying.card = scoring_model_load(PG_GETARG_UUID_P(0));
	scoring_scan(PG_GETARG_OID(1), explain_row, &applying);
	SPI_finish();
	return (Datum) 0;
}

static char *guc_company = NULL;
static char *guc_prospects = NULL;
static char *guc_cut = NULL;

/* What the views of features show; set by definer code (sales_internal.scoring_scope). */
void
scoring_init(void)
{
	DefineCustomStringVariable("sales_assistant.scoring_company",
							   "Company whose prospects are being scored.",
							   "Set by the extension while it scores; it opens nothing.",
							   &guc_company, "", PGC_SUSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomStringVariable("sales_assistant.scoring_prospects",
							   "Prospects that are being scored; empty: all of the company.",
							   "Set by the extension while it scores; it opens nothing.",
							   &guc_prospects, "", PGC_SUSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
	DefineCustomStringVariable("sales_assistant.scoring_cut",
							   "Deals decided before this are learned from; empty: all.",
							   "Set by the extension while it trains; it opens nothing.",
							   &guc_cut, "", PGC_SUSET, GUC_NOT_IN_SAMPLE, NULL, NULL, NULL);
}
