/*
 * boost.c
 *		Boosting in cycles, several models side by side.
 *
 * Training goes round the terms, GROUP of them at a time; of each it sums
 * gradient and curvature by bin and takes a small step (steps.c).  Small steps
 * and a fixed order keep columns that only repeat each other from overshooting.
 * Within a round the loss is taken as quadratic: residuals follow each step at
 * the price of a multiplication, and exp() is taken once a row and round.
 *
 * Each model holds one fold out.  All stop at the same round: the one with the
 * least loss on the rows held out, summed over the models, so that no model
 * chooses its own end by its own held rows.
 *
 * The four models of one deal are the lanes of vectors: a row's bins are looked
 * up once for all of them, and one pass over the rows takes the steps of one
 * group and sums for the next.
 *
 * Memory: 64 bytes a row and deal, and one for its fold.
 */
#include "postgres.h"

#include <math.h>

#include "common/hashfn.h"
#include "miscadmin.h"
#include "scoring/boost.h"
#include "scoring/quality.h"

#define MAX_ROUNDS 400
#define PATIENCE 12
#define LEAST_GAIN 1e-5			/* of the loss, in a round, to go on */
#define GROUP 4					/* terms that step at once */
#define BLOCK 4096				/* rows whose sums are taken in single precision */
#define FAR 30					/* log-odds beyond which nothing changes */

Lanes **
learner_new_lanes(const Booster *booster)
{
	Lanes	  **lanes = palloc(sizeof(Lanes *) * booster->ndeals);

	for (int d = 0; d < booster->ndeals; d++)
		lanes[d] = palloc_extended(sizeof(Lanes) * booster->nrows, MCXT_ALLOC_HUGE | MCXT_ALLOC_ZERO);
	return lanes;
}

void
learner_init_booster(Booster *booster, const uint8 *labels, int nrows)
{
	booster->nrows = nrows;
	booster->labels = labels;
	/* Few rows: more deals of the same rows, to depend less on one. */
	booster->ndeals = nrows <= 10000 ? 4 : nrows <= 30000 ? 2 : 1;
	booster->nmodels = LANES * booster->ndeals;
	booster->fold = palloc(sizeof(uint8 *) * booster->ndeals);
	for (int d = 0; d < booster->ndeals; d++)
	{
		int			seen[2] = {0, 0};

		/* Labels are dealt to the folds in turn, so that each has its share. */
		booster->fold[d] = palloc_extended(nrows, MCXT_ALLOC_HUGE);
		for (int i = 0; i < nrows; i++)
		{
			int			nth = seen[labels[i]]++;
			uint32		turn = murmurhash32(nth / LANES + 7919 * labels[i] + 104729 * d);

			booster->fold[d][i] = (turn + nth) % LANES;
		}
	}
	booster->logit = learner_new_lanes(booster);
	booster->residual = learner_new_lanes(booster);
	booster->weight = learner_new_lanes(booster);
	booster->change = learner_new_lanes(booster);
	booster->all = palloc(sizeof(LaneSums) * booster->ndeals);
	booster->intercept = palloc0(sizeof(double) * booster->nmodels);
	booster->start = palloc0(sizeof(double) * booster->nmodels);
	booster->judges = JUDGES_ALL;
	booster->fixed_rounds = 0;
}

ModelPoints
learner_new_points(const Booster *booster, const Term *terms, int nterms)
{
	ModelPoints points = palloc(sizeof(double **) * booster->nmodels);

	for (int m = 0; m < booster->nmodels; m++)
	{
		points[m] = palloc(sizeof(double *) * Max(nterms, 1));
		for (int t = 0; t < nterms; t++)
			points[m][t] = palloc0(sizeof(double) * terms[t].nbins);
	}
	return points;
}

static void
copy_points(const Booster *booster, const Term *terms, int nterms, ModelPoints to, ModelPoints from)
{
	for (int m = 0; m < booster->nmodels; m++)
		for (int t = 0; t < nterms; t++)
			memcpy(to[m][t], from[m][t], sizeof(double) * terms[t].nbins);
}

static void
free_points(const Booster *booster, int nterms, ModelPoints points)
{
	for (int m = 0; m < booster->nmodels; m++)
	{
		for (int t = 0; t < nterms; t++)
			pfree(points[m][t]);
		pfree(points[m]);
	}
	pfree(points);
}

void
learner_residuals(const double *logit, const uint8 *labels, int nrows,
				  float *residual, float *weight)
{
	for (int i = 0; i < nrows; i++)
	{
		double		p = learner_logistic(logit[i]);

		residual[i] = (float) (labels[i] - p);
		weight[i] = (float) (p * (1 - p));
	}
}

void
learner_sum_bins(const uint8 *bins, const float *residual, const float *weight,
				 int nrows, Sums *sums)
{
	Sums		odd[MAX_BINS] = {0};
	int			i = 0;

	/* Two tables, so that equal neighbours do not wait for each other. */
	for (; i + 1 < nrows; i += 2)
	{
		sums[bins[i]].g += residual[i];
		sums[bins[i]].h += weight[i];
		odd[bins[i + 1]].g += residual[i + 1];
		odd[bins[i + 1]].h += weight[i + 1];
	}
	for (; i < nrows; i++)
	{
		sums[bins[i]].g += residual[i];
		sums[bins[i]].h += weight[i];
	}
	for (int b = 0; b < MAX_BINS; b++)
	{
		sums[b].g += odd[b].g;
		sums[b].h += odd[b].h;
	}
}

typedef uint32 LaneBits __attribute__((vector_size(LANES * sizeof(uint32))));

/*
 * exp() of numbers between -80 and 80, to 3e-7 of the result: a power of two,
 * put into the exponent's bits, times a series for what is left over.
 */
static inline Lanes
exp_lanes(Lanes x)
{
	const float round = 12582912;	/* 1.5 * 2^23: adding it leaves the nearest integer in the low bits */
	Lanes		power = x * 1.44269504f + round;
	LaneBits	bits = ((LaneBits) power << 23) + (127 << 23);
	Lanes		rest;

	power -= round;
	rest = x - power * 0.693359375f + power * 2.12194440e-4f;	/* log(2) in two parts */
	return (Lanes) bits *
		(1 + rest * (1 + rest * (0.5f + rest * (1.0f / 6 + rest * (1.0f / 24 + rest * (1.0f / 120 + rest * (1.0f / 720)))))));
}

/* Each of x, or the bound where it is beyond it. */
static inline Lanes
at_most(Lanes x, float bound)
{
	LaneBits	beyond = (LaneBits) (x > bound);

	return (Lanes) ((beyond & (LaneBits) ((Lanes) {0} + bound)) | (~beyond & (LaneBits) x));
}

/*
 * Takes the changes into the logits of one deal, and computes what is left to
 * explain.  Returns the log loss of the rows that judge, by the models that
 * held them out: that of eight rows is the logarithm of a product.
 */
static double
take_changes(Booster *booster, int d)
{
	static const Lanes learns[LANES] = {{0, 1, 1, 1}, {1, 0, 1, 1}, {1, 1, 0, 1}, {1, 1, 1, 0}};
	Lanes	   *restrict logit = booster->logit[d];
	Lanes	   *restrict residual = booster->residual[d];
	Lanes	   *restrict weight = booster->weight[d];
	Lanes	   *restrict change = booster->change[d];
	const uint8 *fold = booster->fold[d];
	LaneSums	all = {{0}, {0}};
	double		loss = 0;
	double		product = 1;
	int			factors = 0;

	for (int block = 0; block < booster->nrows; block += BLOCK)
	{
		LaneSums	sums = {{0}, {0}};

		CHECK_FOR_INTERRUPTS();
		for (int i = block; i < Min(block + BLOCK, booster->nrows); i++)
		{
			int			held = fold[i];
			float		label = booster->labels[i];
			Lanes		against;
			Lanes		p;

			logit[i] += change[i];
			change[i] = (Lanes) {0};
			against = exp_lanes(at_most(-at_most(logit[i], FAR), FAR));
			p = 1 / (1 + against);
			residual[i] = (label - p) * learns[held];
			weight[i] = p * p * against * learns[held];
			sums.g += residual[i];
			sums.h += weight[i];
			if (booster->judges == JUDGES_ALL || (i & 1) == booster->judges)
			{
				product *= label ? p[held] : p[held] * against[held];
				if (++factors % 8 == 0)
				{
					loss -= log(product);
					product = 1;
				}
			}
		}
		all.g += sums.g;
		all.h += sums.h;
	}
	booster->all[d] = all;
	return loss - log(product);
}

static double
held_loss(Booster *booster)
{
	double		loss = 0;

	for (int d = 0; d < booster->ndeals; d++)
		loss += take_changes(booster, d);
	return loss / booster->nrows / booster->ndeals;
}

/* A few terms that step at once: what one pass over the rows needs of them. */
typedef struct Group
{
	int			nterms;
	const Term *terms;
	Lanes		step[GROUP][MAX_BINS];
	LaneSums	block[GROUP][MAX_BINS];
	Sums		sums[LANES][GROUP][MAX_BINS];
} Group;

static void
clear_sums(Group *group)
{
	for (int t = 0; t < group->nterms; t++)
	{
		memset(group->block[t], 0, sizeof(LaneSums) * group->terms[t].nbins);
		for (int k = 0; k < LANES; k++)
			memset(group->sums[k][t], 0, sizeof(Sums) * group->terms[t].nbins);
	}
}

/* Single precision is enough for the sums of a block, and no more. */
static void
add_block(Group *group)
{
	for (int t = 0; t < group->nterms; t++)
	{
		for (int b = 0; b < group->terms[t].nbins; b++)
			for (int k = 0; k < LANES; k++)
			{
				group->sums[k][t][b].g += group->block[t][b].g[k];
				group->sums[k][t][b].h += group->block[t][b].h[k];
			}
		memset(group->block[t], 0, sizeof(LaneSums) * group->terms[t].nbins);
	}
}

/* The rows of one block, of pass_rows(). */
static pg_attribute_always_inline void
pass_block(Booster *booster, int d, int from, int to, Lanes shift,
		   const Group *stepped, int nstepped, Group *summed, int nsummed)
{
	Lanes	   *restrict change = booster->change[d];
	const Lanes *restrict residual = booster->residual[d];
	const Lanes *restrict weight = booster->weight[d];
	const uint8 *before[GROUP];
	const uint8 *after[GROUP];

	for (int t = 0; t < nstepped; t++)
		before[t] = stepped->terms[t].bins;
	for (int t = 0; t < nsummed; t++)
		after[t] = summed->terms[t].bins;
	for (int i = from; i < to; i++)
	{
		Lanes		now = change[i] + shift;
		Lanes		left;

#pragma GCC unroll 4
		for (int t = 0; t < nstepped; t++)
			now += stepped->step[t][before[t][i]];
		change[i] = now;
		left = residual[i] - weight[i] * now;
#pragma GCC unroll 4
		for (int t = 0; t < nsummed; t++)
		{
			LaneSums   *sums = &summed->block[t][after[t][i]];

			sums->g += left;
			sums->h += weight[i];
		}
	}
}

/*
 * Takes the steps of one group, and `shift`, and sums the residuals that they
 * leave by the bins of the next: memory is what training waits for.
 */
static void
pass_rows(Booster *booster, int d, Lanes shift, const Group *stepped, Group *summed)
{
	clear_sums(summed);
	for (int from = 0; from < booster->nrows; from += BLOCK)
	{
		int			to = Min(from + BLOCK, booster->nrows);

		CHECK_FOR_INTERRUPTS();
		/* Two full groups are most of the work: with constants the compiler unrolls them. */
		if (stepped->nterms == GROUP && summed->nterms == GROUP)
			pass_block(booster, d, from, to, shift, stepped, GROUP, summed, GROUP);
		else
			pass_block(booster, d, from, to, shift, stepped, stepped->nterms, summed, summed->nterms);
		add_block(summed);
	}
}

/* The steps of a group, from its sums. */
static void
choose_steps(Group *group, double ridge, int first, double ***points, double **slopes)
{
	for (int t = 0; t < group->nterms; t++)
		for (int k = 0; k < LANES; k++)
		{
			const Term *term = &group->terms[t];
			double		step[MAX_BINS];

			if (term->feature != NULL)
				learner_step_feature(term->feature, group->sums[k][t], ridge, &slopes[k][first + t], step);
			else
				learner_step_pair(term->pair, group->sums[k][t], ridge, step);
			for (int b = 0; b < term->nbins; b++)
			{
				points[k][first + t][b] += step[b];
				group->step[t][b][k] = (float) step[b];
			}
		}
}

/* Goes round the terms once, for the models of one deal. */
static void
run_round(Booster *booster, int d, const Term *terms, int nterms, double ridge,
		  double ***points, double **slopes, Group *groups)
{
	Lanes		shift = {0};

	for (int k = 0; k < LANES; k++)
	{
		shift[k] = booster->all[d].h[k] > 0 ? 0.5f * booster->all[d].g[k] / booster->all[d].h[k] : 0;
		booster->intercept[d * LANES + k] += shift[k];
	}
	groups[0].nterms = 0;
	for (int first = 0; first < nterms + GROUP; first += GROUP)
	{
		Group	   *stepped = &groups[first / GROUP % 2];
		Group	   *summed = &groups[1 - first / GROUP % 2];

		summed->nterms = Max(Min(nterms - first, GROUP), 0);
		summed->terms = terms + Min(first, nterms);
		pass_rows(booster, d, shift, stepped, summed);
		shift = (Lanes) {0};
		choose_steps(summed, ridge, first, points, slopes);
	}
}

/* The logits that other points and another intercept give. */
static void
replace_points(Booster *booster, int m, const Term *terms, int nterms,
			   double **now, double **then, double intercept)
{
	Lanes	   *logit = booster->logit[m / LANES];

	for (int i = 0; i < booster->nrows; i++)
		logit[i][m % LANES] += intercept - booster->intercept[m];
	booster->intercept[m] = intercept;
	for (int t = 0; t < nterms; t++)
	{
		CHECK_FOR_INTERRUPTS();
		for (int b = 0; b < terms[t].nbins; b++)
		{
			double		before = now[t][b];

			now[t][b] = then[t][b];
			then[t][b] -= before;
		}
		for (int i = 0; i < booster->nrows; i++)
			logit[i][m % LANES] += then[t][terms[t].bins[i]];
	}
}

double
learner_boost(Booster *booster, const Term *terms, int nterms, double ridge, ModelPoints points)
{
	ModelPoints best = learner_new_points(booster, terms, nterms);
	double	   *best_intercept = palloc(sizeof(double) * booster->nmodels);
	double	  **slopes = palloc(sizeof(double *) * booster->nmodels);
	Group	   *groups = palloc(sizeof(Group) * 2);
	double		best_loss = INFINITY;
	double		patience_loss = INFINITY;
	int			waited = 0;

	memcpy(booster->start, booster->intercept, sizeof(double) * booster->nmodels);
	for (int m = 0; m < booster->nmodels; m++)
		slopes[m] = palloc0(sizeof(double) * Max(nterms, 1));
	for (int round = 0;; round++)
	{
		double		loss = held_loss(booster);

		waited++;
		if (loss < best_loss || booster->fixed_rounds > 0)
		{
			best_loss = loss;
			booster->rounds = round;
			copy_points(booster, terms, nterms, best, points);
			memcpy(best_intercept, booster->intercept, sizeof(double) * booster->nmodels);
		}
		if (round == 0 || loss < patience_loss * (1 - LEAST_GAIN * waited))
		{
			patience_loss = loss;
			waited = 0;
		}
		if (nterms == 0 || (booster->fixed_rounds > 0 ? round == booster->fixed_rounds
							: round == MAX_ROUNDS || waited == PATIENCE))
			break;
		for (int d = 0; d < booster->ndeals; d++)
			run_round(booster, d, terms, nterms, ridge, points + d * LANES, slopes + d * LANES, groups);
	}
	for (int m = 0; m < booster->nmodels; m++)
	{
		replace_points(booster, m, terms, nterms, points[m], best[m], best_intercept[m]);
		pfree(slopes[m]);
	}
	free_points(booster, nterms, best);
	pfree(groups);
	pfree(slopes);
	pfree(best_intercept);
	return best_loss;
}

void
learner_undo(Booster *booster, const Term *terms, int nterms, ModelPoints points)
{
	ModelPoints none = learner_new_points(booster, terms, nterms);

	for (int m = 0; m < booster->nmodels; m++)
		replace_points(booster, m, terms, nterms, points[m], none[m], booster->start[m]);
	free_points(booster, nterms, none);
	free_points(booster, nterms, points);
}

void
learner_held_logits(const Booster *booster, double *out)
{
	for (int i = 0; i < booster->nrows; i++)
	{
		out[i] = 0;
		for (int d = 0; d < booster->ndeals; d++)
			out[i] += booster->logit[d][i][booster->fold[d][i]] / booster->ndeals;
	}
}
