/*
 * model.c
 *		Scorecards as JSON, as they stand in sales_internal.scorecards.
 *
 *	{"intercept": -2.1,
 *	 "features": [{"name": "size", "category": false, "bounds": [10.5], "points": [0, -0.2, 0.3]}, ...],
 *	 "pairs": [{"first": 0, "second": 3, "first_groups": [...], "second_groups": [...], "points": [...]}, ...]}
 *
 * A feature has two more points than bounds (learner.h says which bin is which);
 * a pair's groups are one for each point of its feature.  Only the extension
 * and superusers write there, yet a dump edited by hand, or a future version's,
 * must not crash the server: everything that is used as an index is checked.
 */
#include "postgres.h"

#include <math.h>

#include "core/spi.h"
#include "core/uuid.h"
#include "core/json.h"
#include "scoring/model.h"

static json_t *
numbers_json(const double *numbers, int n)
{
	json_t	   *array = json_array();

	for (int i = 0; i < n; i++)
		json_array_append_new(array, json_real(numbers[i]));
	return array;
}

static json_t *
groups_json(const uint8 *groups, int n)
{
	json_t	   *array = json_array();

	for (int i = 0; i < n; i++)
		json_array_append_new(array, json_integer(groups[i]));
	return array;
}

char *
scoring_model_json(const Scorecard *card)
{
	json_t	   *features = json_array();
	json_t	   *pairs = json_array();
	json_t	   *model;
	char	   *text;
	char	   *copy;

	for (int f = 0; f < card->nfeatures; f++)
	{
		const Feature *feature = &card->features[f];
		json_t	   *bounds = feature->is_category ? json_array()
			: numbers_json(feature->cuts, feature->ncuts);

		for (int b = 0; feature->is_category && b < feature->ncategories; b++)
			json_array_append_new(bounds, json_string(feature->categories[b]));
		json_array_append_new(features, json_pack("{s:s, s:b, s:o, s:o}", "name", feature->name,
												  "category", (int) feature->is_category,
												  "bounds", bounds,
												  "points", numbers_json(feature->points, feature->nbins)));
	}
	for (int p = 0; p < card->npairs; p++)
	{
		const Pair *pair = &card->pairs[p];

		json_array_append_new(pairs, json_pack("{s:i, s:i, s:o, s:o, s:o}",
											   "first", pair->first, "second", pair->second,
											   "first_groups", groups_json(pair->first_group, card->features[pair->first].nbins),
											   "second_groups", groups_json(pair->second_group, card->features[pair->second].nbins),
											   "points", numbers_json(pair->points, pair->nfirst * pair->nsecond)));
	}
	model = json_pack("{s:f, s:o, s:o}", "intercept", card->intercept, "features", features, "pairs", pairs);
	text = model == NULL ? NULL : json_dumps(model, JSON_COMPACT);
	json_decref(model);
	if (text == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
	copy = pstrdup(text);
	free(text);
	return copy;
}

/* --- reading: what is wrong is told by a false return, as jansson's memory must be freed --- */

static bool
read_numbers(json_t *array, double *numbers, int n)
{
	if (!json_is_array(array) || json_array_size(array) != n)
		return false;
	for (int i = 0; i < n; i++)
	{
		if (!json_is_number(json_array_get(array, i)))
			return false;
		numbers[i] = json_number_value(json_array_get(array, i));
		if (!isfinite(numbers[i]))
			return false;
	}
	return true;
}

static bool
read_feature(json_t *item, Feature *feature)
{
	json_t	   *bounds = json_object_get(item, "bounds");
	const char *name = json_string_value(json_object_get(item, "name"));
	size_t		nbounds = json_array_size(bounds);

	if (name == NULL || !json_is_array(bounds) || nbounds > MAX_BINS - 2)
		return false;
	feature->name = pstrdup(name);
	feature->is_category = json_is_true(json_object_get(item, "category"));
	feature->nbins = (int) nbounds + 2;
	feature->points = palloc(sizeof(double) * feature->nbins);
	if (!read_numbers(json_object_get(item, "points"), feature->points, feature->nbins))
		return false;
	if (!feature->is_category)
	{
		feature->ncuts = (int) nbounds;
		feature->cuts = palloc(sizeof(double) * Max(nbounds, 1));
		return read_numbers(bounds, feature->cuts, feature->ncuts);
	}
	feature->ncategories = (int) nbounds;
	feature->categories = palloc(sizeof(char *) * Max(nbounds, 1));
	for (int b = 0; b < feature->ncategories; b++)
	{
		const char *category = json_string_value(json_array_get(bounds, b));

		if (category == NULL)
			return false;
		feature->categories[b] = pstrdup(category);
		if (b > 0 && strcmp(feature->categories[b - 1], category) >= 0)
			return false;
	}
	return true;
}

static bool
read_groups(json_t *array, const Feature *feature, uint8 **groups, int *ngroups)
{
	*ngroups = 1;
	if (!json_is_array(array) || json_array_size(array) != feature->nbins)
		return false;
	*groups = palloc(feature->nbins);
	for (int b = 0; b < feature->nbins; b++)
	{
		json_int_t	group = json_integer_value(json_array_get(array, b));

		if (group < 0 || group >= MAX_BINS)
			return false;
		(*groups)[b] = (uint8) group;
		*ngroups = Max(*ngroups, (int) group + 1);
	}
	return true;
}

static bool
read_pair(json_t *item, const Scorecard *card, Pair *pair)
{
	json_int_t	first = json_integer_value(json_object_get(item, "first"));
	json_int_t	second = json_integer_value(json_object_get(item, "second"));
	int			ncells;

	if (first < 0 || first >= card->nfeatures || second < 0 || second >= card->nfeatures)
		return false;
	pair->first = (int) first;
	pair->second = (int) second;
	if (!read_groups(json_object_get(item, "first_groups"), &card->features[first],
					 &pair->first_group, &pair->nfirst) ||
		!read_groups(json_object_get(item, "second_groups"), &card->features[second],
					 &pair->second_group, &pair->nsecond))
		return false;
	/* Groups at the end may have no bin, as when a column lacks missing values. */
	ncells = (int) json_array_size(json_object_get(item, "points"));
	if (ncells > MAX_BINS || ncells < pair->nfirst * pair->nsecond)
		return false;
	pair->points = palloc(sizeof(double) * ncells);
	return ncells == pair->nfirst * pair->nsecond &&
		read_numbers(json_object_get(item, "points"), pair->points, ncells);
}

static bool
read_model(json_t *model, Scorecard *card)
{
	json_t	   *features = json_object_get(model, "features");
	json_t	   *pairs = json_object_get(model, "pairs");

	if (!json_is_number(json_object_get(model, "intercept")) || !json_is_array(features) ||
		json_array_size(features) > 10000 || json_array_size(pairs) > 10000)
		return false;
	card->intercept = json_number_value(json_object_get(model, "intercept"));
	card->nfeatures = (int) json_array_size(features);
	card->features = palloc0(sizeof(Feature) * Max(card->nfeatures, 1));
	for (int f = 0; f < card->nfeatures; f++)
		if (!read_feature(json_array_get(features, f), &card->features[f]))
			return false;
	card->npairs = (int) json_array_size(pairs);
	card->pairs = palloc0(sizeof(Pair) * Max(card->npairs, 1));
	for (int p = 0; p < card->npairs; p++)
		if (!read_pair(json_array_get(pairs, p), card, &card->pairs[p]))
			return false;
	return true;
}

Scorecard *
scoring_model_parse(const char *text)
{
	Scorecard  *card = palloc0(sizeof(Scorecard));
	json_t	   *model = json_loads(text, 0, NULL);
	volatile bool ok = false;

	PG_TRY();
	{
		ok = model != NULL && read_model(model, card);
	}
	PG_FINALLY();
	{
		json_decref(model);
	}
	PG_END_TRY();
	if (!ok)
		ereport(ERROR, (errcode(ERRCODE_DATA_CORRUPTED), errmsg("the stored model cannot be read"),
						errhint("Train a new one.")));
	return card;
}

Scorecard *
scoring_model_load(const pg_uuid_t *model_id)
{
	SpiArg		args[1] = {SPI_ARG_UUID(model_id)};

	if (spi_run_as_owner("SELECT model::text FROM sales_internal.scorecards WHERE model_id = $1",
						 true, 1, 1, args) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("there is no model %s", uuid_text(model_id)),
						errhint("Models are made by sales_internal.train_scorecard().")));
	return scoring_model_parse(spi_text(0, 1));
}
