/*
 * bins.c
 *		Columns to bins: what the learner sees of a value.
 *
 * A column becomes at most MAX_BINS bins.  Numbers are cut at quantiles, or
 * between all their values where those are few; texts keep a bin for each
 * value that enough rows have, the most frequent first, and one for all
 * others; missing is always a bin of its own (BIN_MISSING).  A cut lies half
 * way between two values that were seen, so that a value in between, seen
 * only later, goes to the nearer.
 *
 * Infinities are values like any other: the largest and the smallest.
 */
#include "postgres.h"

#include <math.h>

#include "scoring/bins.h"

#define NUMERIC_BINS 128
#define MIN_CATEGORY_ROWS 5

static int
compare_doubles(const void *a, const void *b)
{
	double		x = *(const double *) a;
	double		y = *(const double *) b;

	return (x > y) - (x < y);
}

int
learner_bin_of_number(const Feature *feature, double value)
{
	int			low = 0;
	int			high = feature->ncuts;

	if (isnan(value))
		return BIN_MISSING;
	while (low < high)
	{
		int			middle = (low + high) / 2;

		if (value < feature->cuts[middle])
			high = middle;
		else
			low = middle + 1;
	}
	return 1 + low;
}

int
learner_find_category(char *const *categories, int n, const char *value, int length)
{
	int			low = 0;
	int			high = n;

	while (low < high)
	{
		int			middle = (low + high) / 2;
		int			order = strncmp(value, categories[middle], length);

		if (order == 0 && categories[middle][length] == '\0')
			return middle;
		if (order <= 0)
			high = middle;
		else
			low = middle + 1;
	}
	return -1;
}

int
learner_bin_of_text(const Feature *feature, const char *value, int length)
{
	int			found = learner_find_category(feature->categories, feature->ncategories,
											  value, length);

	return found < 0 ? BIN_OTHER : 2 + found;
}

/* A number between two others, above the first. */
static double
half_way(double below, double above)
{
	double		middle = below / 2 + above / 2;

	return middle > below && isfinite(middle) ? middle : above;
}

static void
add_cut(Feature *feature, double cut)
{
	/* Something lies below a cut, so it can be no smaller than the last one. */
	if (feature->ncuts == 0 || cut > feature->cuts[feature->ncuts - 1])
		feature->cuts[feature->ncuts++] = cut;
}

/* Cuts between all values if they are few, else at quantiles. */
static void
cut_sorted(Feature *feature, const double *sorted, int n, int most)
{
	int			distinct = 0;

	for (int i = 0; i < n && distinct <= most; i++)
		distinct += (i == 0 || sorted[i] != sorted[i - 1]);
	if (distinct <= most)
	{
		for (int i = 1; i < n; i++)
			if (sorted[i] != sorted[i - 1])
				add_cut(feature, half_way(sorted[i - 1], sorted[i]));
		return;
	}
	for (int b = 1; b < most; b++)
	{
		int			at = (int) ((int64) n * b / most);
		double		value = sorted[at];

		while (at > 0 && sorted[at - 1] == value)
			at--;
		if (at > 0)
			add_cut(feature, half_way(sorted[at - 1], value));
	}
}

static void
add_extra_cuts(Feature *feature, const double *extra, int nextra)
{
	int			kept = 0;

	for (int i = 0; i < nextra && feature->ncuts < MAX_BINS - 2; i++)
		feature->cuts[feature->ncuts++] = extra[i];
	qsort(feature->cuts, feature->ncuts, sizeof(double), compare_doubles);
	for (int i = 0; i < feature->ncuts; i++)
		if (kept == 0 || feature->cuts[i] > feature->cuts[kept - 1])
			feature->cuts[kept++] = feature->cuts[i];
	feature->ncuts = kept;
}

/*
 * The mean value of each bin, in standard deviations from the mean.  Values are
 * held within the 2nd and 98th percentile and half their distance more, so that
 * a few giants do not flatten the rest.
 */
static void
find_centres(Feature *feature, const double *values, const double *sorted, int n, int nrows)
{
	double	   *sum = palloc0(sizeof(double) * feature->nbins);
	double	   *rows = palloc0(sizeof(double) * feature->nbins);
	double		low = n > 0 ? Max(sorted[(int64) n * 2 / 100], -1e100) : 0;
	double		high = n > 0 ? Min(sorted[(int64) (n - 1) * 98 / 100], 1e100) : 0;
	double		room = Max(Min((high - low) / 2, 1e100), 0);
	double		mean = 0;
	double		deviation = 0;

	low -= room;
	high += room;
	feature->centres = palloc0(sizeof(double) * feature->nbins);
	for (int i = 0; i < nrows; i++)
		if (feature->bins[i] != BIN_MISSING)
		{
			sum[feature->bins[i]] += Max(Min(values[i], high), low);
			rows[feature->bins[i]]++;
		}
	for (int b = 1; b < feature->nbins; b++)
		if (rows[b] > 0)
		{
			feature->centres[b] = sum[b] / rows[b];
			mean += sum[b] / n;
		}
	for (int b = 1; b < feature->nbins; b++)
		deviation += rows[b] * (feature->centres[b] - mean) * (feature->centres[b] - mean) / Max(n, 1);
	deviation = sqrt(deviation);
	for (int b = 1; b < feature->nbins; b++)
		feature->centres[b] = rows[b] > 0 && deviation > 0 && isfinite(deviation)
			? (feature->centres[b] - mean) / deviation : 0;
	pfree(sum);
	pfree(rows);
}

void
learner_bin_numbers(Feature *feature, const double *values, int nrows,
					const double *extra, int nextra, bool extra_only)
{
	double	   *sorted = palloc_extended(sizeof(double) * Max(nrows, 1), MCXT_ALLOC_HUGE);
	int			n = 0;

	for (int i = 0; i < nrows; i++)
		if (!isnan(values[i]))
			sorted[n++] = values[i];
	qsort(sorted, n, sizeof(double), compare_doubles);
	feature->is_category = false;
	feature->cuts = palloc(sizeof(double) * MAX_BINS);
	feature->ncuts = 0;
	if (!extra_only)
		cut_sorted(feature, sorted, n, NUMERIC_BINS);
	add_extra_cuts(feature, extra, nextra);
	feature->nbins = 2 + feature->ncuts;
	feature->bins = palloc_extended(Max(nrows, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < nrows; i++)
		feature->bins[i] = (uint8) learner_bin_of_number(feature, values[i]);
	find_centres(feature, values, sorted, n, nrows);
	pfree(sorted);
}

typedef struct Counted
{
	char	   *text;
	int			code;
	int			rows;
} Counted;

/* Most rows first, then by value, so that the choice is the same each time. */
static int
compare_counted(const void *a, const void *b)
{
	const Counted *x = a;
	const Counted *y = b;

	return x->rows != y->rows ? (x->rows < y->rows) - (x->rows > y->rows)
		: strcmp(x->text, y->text);
}

static int
compare_texts(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

void
learner_bin_texts(Feature *feature, const int *codes, int nrows,
				  char **texts, int ntexts, char **extra, int nextra, bool extra_only)
{
	Counted    *counted = palloc_extended(sizeof(Counted) * Max(ntexts, 1), MCXT_ALLOC_HUGE);
	uint8	   *bin_of_code = palloc_extended(Max(ntexts, 1), MCXT_ALLOC_HUGE);
	int			kept = 0;

	for (int c = 0; c < ntexts; c++)
		counted[c] = (Counted) {texts[c], c, 0};
	for (int i = 0; i < nrows; i++)
		if (codes[i] >= 0)
			counted[codes[i]].rows++;
	qsort(counted, ntexts, sizeof(Counted), compare_counted);

	feature->is_category = true;
	feature->categories = palloc(sizeof(char *) * MAX_BINS);
	feature->ncategories = 0;
	for (int i = 0; i < nextra && feature->ncategories < MAX_BINS - 2; i++)
		feature->categories[feature->ncategories++] = pstrdup(extra[i]);
	for (int c = 0; !extra_only && c < ntexts && feature->ncategories < MAX_BINS - 2; c++)
		if (counted[c].rows >= MIN_CATEGORY_ROWS)
			feature->categories[feature->ncategories++] = pstrdup(counted[c].text);
	qsort(feature->categories, feature->ncategories, sizeof(char *), compare_texts);
	for (int c = 0; c < feature->ncategories; c++)
		if (kept == 0 || strcmp(feature->categories[kept - 1], feature->categories[c]) != 0)
			feature->categories[kept++] = feature->categories[c];
	feature->ncategories = kept;
	feature->nbins = 2 + kept;

	for (int c = 0; c < ntexts; c++)
		bin_of_code[c] = (uint8) learner_bin_of_text(feature, texts[c], (int) strlen(texts[c]));
	feature->bins = palloc_extended(Max(nrows, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < nrows; i++)
		feature->bins[i] = codes[i] == LEARNER_CODE_MISSING ? BIN_MISSING
			: codes[i] == LEARNER_CODE_OTHER ? BIN_OTHER : bin_of_code[codes[i]];
	pfree(counted);
	pfree(bin_of_code);
}
