/*
 * learner.c
 *		The learner: an additive model of binned columns, boosted in cycles.
 *
 * Each column becomes at most MAX_BINS bins: quantiles of numbers, frequent
 * values of text, and one bin for missing.  The model gives each bin a number
 * of log-odds points, so a prediction is a sum, and the sum explains itself.
 *
 * Training goes round the columns; at each it takes a damped Newton step for
 * every bin at once (gradient over curvature plus a ridge), with the sums of
 * numeric bins smoothed over their neighbours.  Small steps and stopping early
 * on rows held out keep columns that only repeat each other from overshooting.
 * Ridge and stopping are chosen by five-fold cross-validation; the five models
 * are averaged, which leaves them additive, and a logistic regression of the
 * held-out predictions calibrates slope and intercept.  Folds come from a hash
 * of the row number, so the same rows give the same model.
 *
 * Memory is one byte a value beside the caller's; time is rows x columns x
 * rounds.
 */
#include "postgres.h"

#include <math.h>

#include "common/hashfn.h"
#include "miscadmin.h"
#include "scoring/learner.h"

#define NUMERIC_BINS 24
#define MIN_CATEGORY_ROWS 5
#define FOLDS 5
#define MAX_ROUNDS 300
#define PATIENCE 12
#define RATE 0.15

static const double ridges[] = {3, 12, 40};

/* --- bins --- */

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
learner_bin_of_text(const Feature *feature, const char *value)
{
	int			low = 0;
	int			high = feature->ncategories;

	if (value == NULL)
		return BIN_MISSING;
	while (low < high)
	{
		int			middle = (low + high) / 2;
		int			order = strcmp(value, feature->categories[middle]);

		if (order == 0)
			return 2 + middle;
		if (order < 0)
			high = middle;
		else
			low = middle + 1;
	}
	return BIN_OTHER;
}

void
learner_bin_numbers(Feature *feature, const double *values, int nrows)
{
	double	   *sorted = palloc_extended(sizeof(double) * Max(nrows, 1), MCXT_ALLOC_HUGE);
	int			n = 0;

	for (int i = 0; i < nrows; i++)
		if (!isnan(values[i]))
			sorted[n++] = values[i];
	qsort(sorted, n, sizeof(double), compare_doubles);
	feature->is_category = false;
	feature->cuts = palloc(sizeof(double) * NUMERIC_BINS);
	feature->ncuts = 0;
	for (int i = 1; i < NUMERIC_BINS && n > 0; i++)
	{
		double		cut = sorted[(int64) n * i / NUMERIC_BINS];

		/* A cut has something below it and something at or above it. */
		if (cut > sorted[0] &&
			(feature->ncuts == 0 || cut > feature->cuts[feature->ncuts - 1]))
			feature->cuts[feature->ncuts++] = cut;
	}
	pfree(sorted);
	feature->nbins = 2 + feature->ncuts;
	feature->bins = palloc_extended(Max(nrows, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < nrows; i++)
		feature->bins[i] = learner_bin_of_number(feature, values[i]);
}

typedef struct Counted
{
	char	   *value;
	int			rows;
} Counted;

static int
compare_texts(const void *a, const void *b)
{
	return strcmp(*(char *const *) a, *(char *const *) b);
}

/* Most rows first, then by value, so that the choice is the same each time. */
static int
compare_counted(const void *a, const void *b)
{
	const Counted *x = a;
	const Counted *y = b;

	return x->rows != y->rows ? (x->rows < y->rows) - (x->rows > y->rows)
		: strcmp(x->value, y->value);
}

void
learner_bin_texts(Feature *feature, char **values, int nrows)
{
	char	  **sorted = palloc_extended(sizeof(char *) * Max(nrows, 1), MCXT_ALLOC_HUGE);
	Counted    *counted = palloc_extended(sizeof(Counted) * Max(nrows, 1), MCXT_ALLOC_HUGE);
	int			n = 0;
	int			distinct = 0;

	for (int i = 0; i < nrows; i++)
		if (values[i] != NULL)
			sorted[n++] = values[i];
	qsort(sorted, n, sizeof(char *), compare_texts);
	for (int i = 0; i < n; i++)
	{
		if (distinct == 0 || strcmp(counted[distinct - 1].value, sorted[i]) != 0)
			counted[distinct++] = (Counted) {sorted[i], 0};
		counted[distinct - 1].rows++;
	}
	qsort(counted, distinct, sizeof(Counted), compare_counted);
	feature->is_category = true;
	feature->categories = palloc(sizeof(char *) * MAX_BINS);
	feature->ncategories = 0;
	for (int i = 0; i < distinct && i < MAX_BINS - 2; i++)
		if (counted[i].rows >= MIN_CATEGORY_ROWS)
			feature->categories[feature->ncategories++] = pstrdup(counted[i].value);
	qsort(feature->categories, feature->ncategories, sizeof(char *), compare_texts);
	pfree(sorted);
	pfree(counted);
	feature->nbins = 2 + feature->ncategories;
	feature->bins = palloc_extended(Max(nrows, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < nrows; i++)
		feature->bins[i] = learner_bin_of_text(feature, values[i]);
}

/* --- training --- */

typedef struct Training
{
	Scorecard  *card;
	const unsigned char *labels;
	int			nrows;
	unsigned char *fold;		/* of each row */
	double	   *logit;			/* of each row, while a fold is trained */
	double	  **points;			/* of each feature, while a fold is trained */
} Training;

static inline double
logistic(double x)
{
	return 1.0 / (1.0 + exp(-x));
}

static inline double
row_loss(double logit, int label)
{
	/* log(1 + exp(-z)), safe for large |z| */
	double		z = label ? logit : -logit;

	return z > 0 ? log1p(exp(-z)) : -z + log1p(exp(z));
}

/* One step for one column; rows of fold `held` only follow. */
static void
boost_feature(Training *t, int f, int held, double ridge)
{
	Feature    *feature = &t->card->features[f];
	double		gradient[MAX_BINS + 2] = {0};
	double		curvature[MAX_BINS + 2] = {0};
	double		step[MAX_BINS];

	for (int i = 0; i < t->nrows; i++)
	{
		double		p;

		if (t->fold[i] == held)
			continue;
		p = logistic(t->logit[i]);
		gradient[feature->bins[i]] += t->labels[i] - p;
		curvature[feature->bins[i]] += p * (1 - p);
	}
	for (int b = 0; b < feature->nbins; b++)
	{
		double		g = gradient[b];
		double		h = curvature[b];

		if (!feature->is_category && b > 0)
		{
			double		gn = (b > 1 ? gradient[b - 1] : 0) + (b + 1 < feature->nbins ? gradient[b + 1] : 0);
			double		hn = (b > 1 ? curvature[b - 1] : 0) + (b + 1 < feature->nbins ? curvature[b + 1] : 0);

			g += gn / 2;
			h += hn / 2;
		}
		step[b] = RATE * g / (h + ridge);
		t->points[f][b] += step[b];
	}
	for (int i = 0; i < t->nrows; i++)
		t->logit[i] += step[feature->bins[i]];
}

static double
held_loss(Training *t, int held)
{
	double		loss = 0;

	for (int i = 0; i < t->nrows; i++)
		if (t->fold[i] == held)
			loss += row_loss(t->logit[i], t->labels[i]);
	return loss;
}

/*
 * Trains on all folds but one and stops when that one gets no better.  Leaves
 * the best points in `best` and the held rows' logits in `out`; returns the
 * intercept, and the held rows' loss in *loss.
 */
static double
train_fold(Training *t, int held, double ridge, double **best, double *out, double *loss)
{
	int64		ones = 0;
	int64		all = 0;
	double		intercept;
	int			since_best = 0;

	for (int i = 0; i < t->nrows; i++)
		if (t->fold[i] != held)
		{
			ones += t->labels[i];
			all++;
		}
	intercept = log((ones + 0.5) / (all - ones + 0.5));
	for (int i = 0; i < t->nrows; i++)
		t->logit[i] = intercept;
	for (int f = 0; f < t->card->nfeatures; f++)
	{
		memset(t->points[f], 0, sizeof(double) * MAX_BINS);
		memset(best[f], 0, sizeof(double) * MAX_BINS);
	}
	*loss = held_loss(t, held);
	for (int i = 0; i < t->nrows; i++)
		if (t->fold[i] == held)
			out[i] = t->logit[i];
	for (int round = 0; round < MAX_ROUNDS && since_best < PATIENCE; round++)
	{
		double		now;

		for (int f = 0; f < t->card->nfeatures; f++)
		{
			CHECK_FOR_INTERRUPTS();
			boost_feature(t, f, held, ridge);
		}
		now = held_loss(t, held);
		since_best++;
		if (now < *loss)
		{
			*loss = now;
			since_best = 0;
			for (int f = 0; f < t->card->nfeatures; f++)
				memcpy(best[f], t->points[f], sizeof(double) * MAX_BINS);
			for (int i = 0; i < t->nrows; i++)
				if (t->fold[i] == held)
					out[i] = t->logit[i];
		}
	}
	return intercept;
}

/* Slope and intercept that make held-out logits into honest chances. */
static void
calibrate(Training *t, const double *logit, double *slope, double *shift)
{
	double		a = 1;
	double		b = 0;

	for (int iteration = 0; iteration < 25; iteration++)
	{
		/* a prior of a few rows' weight holds the slope near 1 */
		double		ga = -4 * (a - 1);
		double		gb = -0.1 * b;
		double		haa = 4;
		double		hab = 0;
		double		hbb = 0.1;
		double		determinant;

		for (int i = 0; i < t->nrows; i++)
		{
			double		p = logistic(a * logit[i] + b);
			double		w = p * (1 - p);

			ga += (t->labels[i] - p) * logit[i];
			gb += t->labels[i] - p;
			haa += w * logit[i] * logit[i];
			hab += w * logit[i];
			hbb += w;
		}
		determinant = haa * hbb - hab * hab;
		if (fabs(determinant) < 1e-12)
			break;
		a += (hbb * ga - hab * gb) / determinant;
		b += (haa * gb - hab * ga) / determinant;
	}
	/* Never turn the order round. */
	*slope = isfinite(a) && a > 0.05 ? Min(a, 3) : 1;
	*shift = isfinite(b) && *slope == a ? b : 0;
}

typedef struct Ranked
{
	double		logit;
	int			label;
} Ranked;

static int
compare_ranked(const void *a, const void *b)
{
	return compare_doubles(&((const Ranked *) a)->logit, &((const Ranked *) b)->logit);
}

static void
measure(Training *t, const double *logit)
{
	Ranked	   *ranked = palloc_extended(sizeof(Ranked) * t->nrows, MCXT_ALLOC_HUGE);
	double		ones = 0;
	double		rank_sum = 0;
	double		loss = 0;
	double		brier = 0;

	for (int i = 0; i < t->nrows; i++)
	{
		double		p = logistic(logit[i]);

		ranked[i] = (Ranked) {logit[i], t->labels[i]};
		ones += t->labels[i];
		loss += row_loss(logit[i], t->labels[i]);
		brier += (p - t->labels[i]) * (p - t->labels[i]);
	}
	qsort(ranked, t->nrows, sizeof(Ranked), compare_ranked);
	for (int i = 0; i < t->nrows;)
	{
		int			j = i;
		double		ties = 0;

		while (j < t->nrows && ranked[j].logit == ranked[i].logit)
			ties += ranked[j++].label;
		rank_sum += ties * ((i + 1 + j) / 2.0);
		i = j;
	}
	t->card->auc = (rank_sum - ones * (ones + 1) / 2) / (ones * (t->nrows - ones));
	t->card->log_loss = loss / t->nrows;
	t->card->brier = brier / t->nrows;
	pfree(ranked);
}

static double **
new_points(int nfeatures)
{
	double	  **points = palloc(sizeof(double *) * Max(nfeatures, 1));

	for (int f = 0; f < nfeatures; f++)
		points[f] = palloc0(sizeof(double) * MAX_BINS);
	return points;
}

void
learner_train(Scorecard *card, const unsigned char *labels, int nrows)
{
	Training	t = {card, labels, nrows, NULL, NULL, NULL};
	int			nfeatures = card->nfeatures;
	double	   *out = palloc_extended(sizeof(double) * nrows, MCXT_ALLOC_HUGE);
	double	   *best_out = palloc_extended(sizeof(double) * nrows, MCXT_ALLOC_HUGE);
	double	  **fold_points = new_points(nfeatures);
	double	  **mean = new_points(nfeatures);
	double	  **best_mean = new_points(nfeatures);
	double		best_loss = INFINITY;
	double		best_intercept = 0;
	double		slope;
	double		shift;
	int			seen[2] = {0, 0};

	/* Labels are dealt to the folds in turn, so that each has its share. */
	t.fold = palloc_extended(nrows, MCXT_ALLOC_HUGE);
	t.logit = palloc_extended(sizeof(double) * nrows, MCXT_ALLOC_HUGE);
	t.points = new_points(nfeatures);
	for (int i = 0; i < nrows; i++)
	{
		int			nth = seen[labels[i]]++;

		t.fold[i] = (murmurhash32(nth / FOLDS + 7919 * labels[i]) + nth) % FOLDS;
	}

	for (int r = 0; r < (int) lengthof(ridges); r++)
	{
		double		total = 0;
		double		intercept = 0;

		for (int f = 0; f < nfeatures; f++)
			memset(mean[f], 0, sizeof(double) * MAX_BINS);
		for (int held = 0; held < FOLDS; held++)
		{
			double		loss;

			intercept += train_fold(&t, held, ridges[r], fold_points, out, &loss) / FOLDS;
			total += loss;
			for (int f = 0; f < nfeatures; f++)
				for (int b = 0; b < card->features[f].nbins; b++)
					mean[f][b] += fold_points[f][b] / FOLDS;
		}
		if (total < best_loss)
		{
			best_loss = total;
			best_intercept = intercept;
			memcpy(best_out, out, sizeof(double) * nrows);
			for (int f = 0; f < nfeatures; f++)
				memcpy(best_mean[f], mean[f], sizeof(double) * MAX_BINS);
		}
	}

	calibrate(&t, best_out, &slope, &shift);
	card->intercept = slope * best_intercept + shift;
	for (int f = 0; f < nfeatures; f++)
	{
		Feature    *feature = &card->features[f];
		double		centre = 0;

		/* Points are told against the average row. */
		feature->points = palloc(sizeof(double) * feature->nbins);
		for (int i = 0; i < nrows; i++)
			centre += best_mean[f][feature->bins[i]] / nrows;
		for (int b = 0; b < feature->nbins; b++)
			feature->points[b] = slope * (best_mean[f][b] - centre);
		card->intercept += slope * centre;
	}
	for (int i = 0; i < nrows; i++)
		best_out[i] = slope * best_out[i] + shift;
	measure(&t, best_out);
}
