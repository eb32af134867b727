/*
 * steps.c
 *		One step of boosting: from sums by bin to a change of points.
 *
 * A category's bins each take a damped Newton step, shrunk by a ridge.  A
 * numeric column first takes a step along its values (a slope), then one of a
 * step function: its bins are cut in up to LEAVES stretches where that gains
 * most.  So straight lines are learned in few steps and from few rows, and any
 * other shape as rows allow.  Missing takes a step of its own.
 *
 * A pair takes a step of four corners: one cut through each of its sides.
 */
#include "postgres.h"

#include "scoring/boost.h"

#define RATE 0.1
#define PAIR_RATE 0.2
#define SLOPE_RATE 0.3
#define SLOPE_RIDGE 3
#define LEAVES 3
#define MIN_CURVATURE 0.5		/* of a stretch of bins */
#define MAX_GROUPS 16

static double
gain(double g, double h, double ridge)
{
	return g * g / (h + ridge);
}

/* Where to cut bins [low, high) in two; 0: nowhere. */
static int
best_cut(const Sums *sums, int low, int high, double ridge, double *best)
{
	Sums		all = {0, 0};
	Sums		left = {0, 0};
	double		whole;
	int			at = 0;

	for (int b = low; b < high; b++)
	{
		all.g += sums[b].g;
		all.h += sums[b].h;
	}
	whole = gain(all.g, all.h, ridge);
	*best = 0;
	for (int b = low; b < high - 1; b++)
	{
		double		now;

		left.g += sums[b].g;
		left.h += sums[b].h;
		if (left.h < MIN_CURVATURE)
			continue;
		if (all.h - left.h < MIN_CURVATURE)
			break;
		now = gain(left.g, left.h, ridge) + gain(all.g - left.g, all.h - left.h, ridge) - whole;
		if (now > *best)
		{
			*best = now;
			at = b + 1;
		}
	}
	return at;
}

/* Adds a step function over bins 1 and up. */
static void
step_stretches(const Sums *sums, int nbins, double ridge, double *step)
{
	int			edges[LEAVES + 1] = {1, nbins};
	int			nleaves = 1;

	while (nleaves < LEAVES)
	{
		double		best = 0;
		int			best_at = 0;
		int			best_leaf = 0;

		for (int leaf = 0; leaf < nleaves; leaf++)
		{
			double		now;
			int			at = best_cut(sums, edges[leaf], edges[leaf + 1], ridge, &now);

			if (at > 0 && now > best)
			{
				best = now;
				best_at = at;
				best_leaf = leaf;
			}
		}
		if (best_at == 0)
			break;
		memmove(&edges[best_leaf + 2], &edges[best_leaf + 1], sizeof(int) * (nleaves - best_leaf));
		edges[best_leaf + 1] = best_at;
		nleaves++;
	}
	for (int leaf = 0; leaf < nleaves && nleaves > 1; leaf++)
	{
		Sums		all = {0, 0};

		for (int b = edges[leaf]; b < edges[leaf + 1]; b++)
		{
			all.g += sums[b].g;
			all.h += sums[b].h;
		}
		for (int b = edges[leaf]; b < edges[leaf + 1]; b++)
			step[b] += RATE * all.g / (all.h + ridge);
	}
}

/* Writes step[0 .. nbins); uses up the sums.  *slope is that of the column so far. */
void
learner_step_feature(const Feature *feature, Sums *sums, double ridge,
					 double *slope, double *step)
{
	double		g = 0;
	double		h = 0;
	double		along;

	for (int b = 0; b < feature->nbins; b++)
		step[b] = feature->is_category ? RATE * sums[b].g / (sums[b].h + ridge) : 0;
	if (feature->is_category)
		return;
	for (int b = 1; b < feature->nbins; b++)
	{
		g += sums[b].g * feature->centres[b];
		h += sums[b].h * feature->centres[b] * feature->centres[b];
	}
	along = SLOPE_RATE * (g - SLOPE_RIDGE * *slope) / (h + SLOPE_RIDGE);
	*slope += along;
	for (int b = 1; b < feature->nbins; b++)
	{
		step[b] = along * feature->centres[b];
		sums[b].g -= sums[b].h * step[b];
	}
	step_stretches(sums, feature->nbins, ridge, step);
	step[BIN_MISSING] = RATE * sums[BIN_MISSING].g / (sums[BIN_MISSING].h + ridge);
}

void
learner_step_pair(const Pair *pair, const Sums *sums, double ridge, double *step)
{
	Sums		upto[MAX_GROUPS + 1][MAX_GROUPS + 1] = {0};
	int			n = pair->nfirst;
	int			m = pair->nsecond;
	double		corner[2][2] = {0};
	double		best;
	int			cut[2] = {0, 0};

	for (int i = 0; i < n; i++)
		for (int j = 0; j < m; j++)
		{
			upto[i + 1][j + 1].g = sums[i * m + j].g + upto[i][j + 1].g + upto[i + 1][j].g - upto[i][j].g;
			upto[i + 1][j + 1].h = sums[i * m + j].h + upto[i][j + 1].h + upto[i + 1][j].h - upto[i][j].h;
		}
	best = gain(upto[n][m].g, upto[n][m].h, ridge);
	for (int i = 1; i < n; i++)
		for (int j = 1; j < m; j++)
		{
			Sums		a = upto[i][j];
			Sums		b = {upto[i][m].g - a.g, upto[i][m].h - a.h};
			Sums		c = {upto[n][j].g - a.g, upto[n][j].h - a.h};
			Sums		d = {upto[n][m].g - a.g - b.g - c.g, upto[n][m].h - a.h - b.h - c.h};
			double		now = gain(a.g, a.h, ridge) + gain(b.g, b.h, ridge)
				+ gain(c.g, c.h, ridge) + gain(d.g, d.h, ridge);

			if (now > best)
			{
				best = now;
				cut[0] = i;
				cut[1] = j;
				corner[0][0] = a.g / (a.h + ridge);
				corner[0][1] = b.g / (b.h + ridge);
				corner[1][0] = c.g / (c.h + ridge);
				corner[1][1] = d.g / (d.h + ridge);
			}
		}
	for (int i = 0; i < n; i++)
		for (int j = 0; j < m; j++)
			step[i * m + j] = PAIR_RATE * corner[i >= cut[0]][j >= cut[1]];
}
