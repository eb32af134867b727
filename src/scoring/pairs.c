/*
 * pairs.c
 *		Pairs of columns: which to try, and what of them is theirs alone.
 *
 * The bins of each column are joined to a few groups: numbers in their order,
 * categories in the order of what is left to explain of them.  A pair's gain is
 * what its cells explain of the residuals beyond its two sides, against what
 * they would explain of noise.  The best MAX_PAIRS of those clearly beyond that
 * are boosted like columns, and kept only if rows held out get better (learner.c).
 *
 * Searching costs rows x pairs; it uses SEARCH_ROWS rows and the
 * SEARCH_COLUMNS first columns at most.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "scoring/pairs.h"

#define MAX_PAIRS 20
#define GROUPS 16				/* of a side, when boosted */
#define SEARCH_GROUPS 8
#define SEARCH_RIDGE 10
#define SEARCH_DEVIATIONS 2		/* of what noise gains, above its mean */
#define SEARCH_ROWS 50000
#define SEARCH_COLUMNS 100

typedef struct Grouping
{
	int			ngroups;
	uint8		group[MAX_BINS];	/* of each bin */
} Grouping;

typedef struct Candidate
{
	int			first;
	int			second;
	double		gain;
} Candidate;

/* Order of the bins: numbers as they are, categories by mean residual. */
static void
order_bins(const Feature *feature, const Sums *sums, int *order)
{
	for (int b = 0; b < feature->nbins; b++)
	{
		double		mean = sums[b].g / (sums[b].h + SEARCH_RIDGE);
		int			at = b;

		if (feature->is_category)
			for (; at > 0 && sums[order[at - 1]].g / (sums[order[at - 1]].h + SEARCH_RIDGE) > mean; at--)
				order[at] = order[at - 1];
		order[at] = b;
	}
}

/*
 * Joins bins to at most `most` groups of about equal weight; bins without rows
 * go with the one before them.  Missing numbers are a group of their own.
 */
static void
group_bins(const Feature *feature, const Sums *sums, int most, Grouping *grouping)
{
	int			order[MAX_BINS];
	double		total = 0;
	double		sum = 0;
	int			used = 0;
	int			current = 0;
	bool		started = false;

	order_bins(feature, sums, order);
	for (int b = 0; b < feature->nbins; b++)
	{
		total += sums[b].h;
		used += sums[b].h > 0;
	}
	for (int i = 0; i < feature->nbins; i++)
	{
		int			b = order[i];

		if (sums[b].h > 0 && started && current < most - 1 &&
			(used <= most || sum >= total * (current + 1) / most ||
			 (!feature->is_category && order[i - 1] == BIN_MISSING)))
			current++;
		started = started || sums[b].h > 0;
		sum += sums[b].h;
		grouping->group[b] = (uint8) current;
	}
	grouping->ngroups = current + 1;
}

/* What a sum explains, and what noise of its curvature would. */
typedef struct Gain
{
	double		found;
	double		of_noise;
} Gain;

static void
add_gain(Gain *gain, const Sums *sums, double sign)
{
	gain->found += sign * sums->g * sums->g / (sums->h + SEARCH_RIDGE);
	gain->of_noise += sign * sums->h / (sums->h + SEARCH_RIDGE);
}

/*
 * What the cells of two columns explain beyond the columns themselves, against
 * what they would explain of noise, in standard deviations of that.  Noise makes
 * each cell's square as large as its curvature, on average: where rows are few
 * the ridge leaves much less of it than one a cell.
 */
static double
pair_gain(const uint8 *a, const Grouping *ga, const uint8 *b, const Grouping *gb,
		  const float *residual, const float *weight, int nrows, int every)
{
	Sums		cells[SEARCH_GROUPS][SEARCH_GROUPS] = {0};
	Sums		rows[SEARCH_GROUPS] = {0};
	Sums		columns[SEARCH_GROUPS] = {0};
	Sums		all = {0, 0};
	Gain		gain = {0, 0};
	double		variance = 0;

	for (int i = 0; i < nrows; i += every)
	{
		Sums	   *cell = &cells[ga->group[a[i]]][gb->group[b[i]]];

		cell->g += residual[i];
		cell->h += weight[i];
	}
	for (int i = 0; i < ga->ngroups; i++)
		for (int j = 0; j < gb->ngroups; j++)
		{
			rows[i].g += cells[i][j].g;
			rows[i].h += cells[i][j].h;
			columns[j].g += cells[i][j].g;
			columns[j].h += cells[i][j].h;
			all.g += cells[i][j].g;
			all.h += cells[i][j].h;
			add_gain(&gain, &cells[i][j], 1);
			variance += 2 * pow(cells[i][j].h / (cells[i][j].h + SEARCH_RIDGE), 2);
		}
	for (int i = 0; i < ga->ngroups; i++)
		add_gain(&gain, &rows[i], -1);
	for (int j = 0; j < gb->ngroups; j++)
		add_gain(&gain, &columns[j], -1);
	add_gain(&gain, &all, 1);
	return variance > 0 ? (gain.found - gain.of_noise) / sqrt(variance) : 0;
}

static void
group_columns(const Scorecard *card, int ncolumns, const float *residual, const float *weight,
			  int nrows, Grouping *coarse, Grouping *fine)
{
	for (int f = 0; f < ncolumns; f++)
	{
		Sums		sums[MAX_BINS] = {0};

		CHECK_FOR_INTERRUPTS();
		learner_sum_bins(card->features[f].bins, residual, weight, nrows, sums);
		group_bins(&card->features[f], sums, SEARCH_GROUPS, &coarse[f]);
		group_bins(&card->features[f], sums, GROUPS, &fine[f]);
	}
}

static void
make_pair(Pair *pair, const Scorecard *card, int first, int second, const Grouping *fine, int nrows)
{
	const Feature *a = &card->features[first];
	const Feature *b = &card->features[second];

	CHECK_FOR_INTERRUPTS();
	pair->first = first;
	pair->second = second;
	pair->nfirst = fine[first].ngroups;
	pair->nsecond = fine[second].ngroups;
	pair->first_group = palloc(a->nbins);
	pair->second_group = palloc(b->nbins);
	memcpy(pair->first_group, fine[first].group, a->nbins);
	memcpy(pair->second_group, fine[second].group, b->nbins);
	pair->cells = palloc_extended(Max(nrows, 1), MCXT_ALLOC_HUGE);
	for (int i = 0; i < nrows; i++)
		pair->cells[i] = (uint8) (pair->first_group[a->bins[i]] * pair->nsecond
								  + pair->second_group[b->bins[i]]);
	pair->points = palloc0(sizeof(double) * pair->nfirst * pair->nsecond);
}

void
learner_choose_pairs(Scorecard *card, const float *residual, const float *weight, int nrows)
{
	int			ncolumns = Min(card->nfeatures, SEARCH_COLUMNS);
	Grouping   *coarse = palloc(sizeof(Grouping) * Max(ncolumns, 1));
	Grouping   *fine = palloc(sizeof(Grouping) * Max(ncolumns, 1));
	Candidate	best[MAX_PAIRS];
	int			every = (nrows / SEARCH_ROWS) | 1;	/* odd, as every other row may be set aside */
	int			n = 0;

	group_columns(card, ncolumns, residual, weight, nrows, coarse, fine);
	for (int a = 0; a < ncolumns; a++)
		for (int b = a + 1; b < ncolumns; b++)
		{
			Candidate	now = {a, b, 0};
			int			at;

			CHECK_FOR_INTERRUPTS();
			if (coarse[a].ngroups < 2 || coarse[b].ngroups < 2)
				continue;
			now.gain = pair_gain(card->features[a].bins, &coarse[a], card->features[b].bins,
								 &coarse[b], residual, weight, nrows, every);
			/* Best first; the earlier pair first where they are equal. */
			for (at = n; at > 0 && best[at - 1].gain < now.gain; at--)
				if (at < MAX_PAIRS)
					best[at] = best[at - 1];
			if (now.gain > SEARCH_DEVIATIONS && at < MAX_PAIRS)
			{
				best[at] = now;
				n = Min(n + 1, MAX_PAIRS);
			}
		}
	card->pairs = palloc0(sizeof(Pair) * MAX_PAIRS);
	card->npairs = n;
	for (int p = 0; p < n; p++)
		make_pair(&card->pairs[p], card, best[p].first, best[p].second, fine, nrows);
	pfree(coarse);
	pfree(fine);
}

void
learner_free_pairs(Scorecard *card)
{
	for (int p = 0; p < card->npairs; p++)
	{
		pfree(card->pairs[p].first_group);
		pfree(card->pairs[p].second_group);
		pfree(card->pairs[p].cells);
		pfree(card->pairs[p].points);
	}
	pfree(card->pairs);
	card->pairs = NULL;
	card->npairs = 0;
}

/* Makes the mean of each row of cells (or column of cells) 0; the means go to the feature. */
static void
move_side(Pair *pair, const double *rows, bool first, Feature *feature)
{
	int			n = first ? pair->nfirst : pair->nsecond;
	int			m = first ? pair->nsecond : pair->nfirst;
	const uint8 *group = first ? pair->first_group : pair->second_group;
	double		moved[MAX_BINS] = {0};

	for (int i = 0; i < n; i++)
	{
		double		sum = 0;
		double		count = 0;

		for (int j = 0; j < m; j++)
		{
			int			cell = first ? i * m + j : j * n + i;

			sum += rows[cell] * pair->points[cell];
			count += rows[cell];
		}
		moved[i] = count > 0 ? sum / count : 0;
		for (int j = 0; j < m; j++)
			pair->points[first ? i * m + j : j * n + i] -= moved[i];
	}
	for (int b = 0; b < feature->nbins; b++)
		feature->points[b] += moved[group[b]];
}

void
learner_purify_pairs(Scorecard *card, int nrows)
{
	for (int p = 0; p < card->npairs; p++)
	{
		Pair	   *pair = &card->pairs[p];
		double		rows[MAX_BINS] = {0};

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < nrows; i++)
			rows[pair->cells[i]]++;
		for (int round = 0; round < 20; round++)
		{
			move_side(pair, rows, true, &card->features[pair->first]);
			move_side(pair, rows, false, &card->features[pair->second]);
		}
	}
}
