/*
 * boost.c
 *		Boosting in cycles, several models side by side.
 *
 * Training goes round the terms; at each it sums gradient and curvature by bin
 * and takes a small step (steps.c).  Small steps and a fixed order keep columns
 * that only repeat each other from overshooting.  Within a round the loss is
 * taken as quadratic: residuals follow each step at the price of a
 * multiplication, and exp() is called once a row and round.
 *
 * Each model holds one fold out.  All stop at the same round: the one with the
 * least loss on the rows held out, summed over the models, so that no model
 * chooses its own end by its own held rows.
 *
 * Memory: 8 bytes a row and model for the logits, 8 a row for the rest.
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
#define MANY_ROWS 100000		/* fewer folds from here */

void
learner_init_booster(Booster *booster, const uint8 *labels, int nrows)
{
	booster->nrows = nrows;
	booster->labels = labels;
	booster->nfolds = nrows >= MANY_ROWS ? 3 : 5;
	/* Few rows: more deals of the same rows, to depend less on one. */
	booster->ndeals = nrows <= 3000 ? 4 : nrows <= 20000 ? 2 : 1;
	booster->nmodels = booster->nfolds * booster->ndeals;
	booster->fold = palloc(sizeof(uint8 *) * booster->ndeals);
	for (int d = 0; d < booster->ndeals; d++)
	{
		int			seen[2] = {0, 0};

		/* Labels are dealt to the folds in turn, so that each has its share. */
		booster->fold[d] = palloc_extended(nrows, MCXT_ALLOC_HUGE);
		for (int i = 0; i < nrows; i++)
		{
			int			nth = seen[labels[i]]++;
			uint32		turn = murmurhash32(nth / booster->nfolds + 7919 * labels[i] + 104729 * d);

			booster->fold[d][i] = (turn + nth) % booster->nfolds;
		}
	}
	booster->logit = palloc(sizeof(double *) * booster->nmodels);
	for (int m = 0; m < booster->nmodels; m++)
		booster->logit[m] = palloc_extended(sizeof(double) * nrows, MCXT_ALLOC_HUGE);
	booster->intercept = palloc0(sizeof(double) * booster->nmodels);
	booster->start = palloc0(sizeof(double) * booster->nmodels);
	booster->judges = JUDGES_ALL;
	booster->fixed_rounds = 0;
	booster->residual = palloc_extended(sizeof(float) * nrows, MCXT_ALLOC_HUGE);
	booster->weight = palloc_extended(sizeof(float) * nrows, MCXT_ALLOC_HUGE);
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

/*
 * Takes a step of one term and sums the residuals that it leaves by the bins of
 * the next, in one pass over the rows: memory is what training waits for.
 */
static void
take_step(Booster *booster, int m, const uint8 *bins, const double *step,
		  const uint8 *next_bins, Sums *sums)
{
	double	   *restrict logit = booster->logit[m];
	float	   *restrict residual = booster->residual;
	const float *restrict weight = booster->weight;
	Sums		odd[MAX_BINS] = {0};
	int			n = booster->nrows;
	int			i = 0;

	for (; i + 1 < n; i += 2)
	{
		double		a = step[bins[i]];
		double		b = step[bins[i + 1]];
		float		ra = residual[i] - weight[i] * (float) a;
		float		rb = residual[i + 1] - weight[i + 1] * (float) b;

		logit[i] += a;
		logit[i + 1] += b;
		residual[i] = ra;
		residual[i + 1] = rb;
		sums[next_bins[i]].g += ra;
		sums[next_bins[i]].h += weight[i];
		odd[next_bins[i + 1]].g += rb;
		odd[next_bins[i + 1]].h += weight[i + 1];
	}
	for (; i < n; i++)
	{
		logit[i] += step[bins[i]];
		residual[i] -= weight[i] * (float) step[bins[i]];
		sums[next_bins[i]].g += residual[i];
		sums[next_bins[i]].h += weight[i];
	}
	for (int b = 0; b < MAX_BINS; b++)
	{
		sums[b].g += odd[b].g;
		sums[b].h += odd[b].h;
	}
}

/* Residuals of a model, none of rows held out; then a step of its intercept. */
static void
start_round(Booster *booster, int m)
{
	const uint8 *fold = booster->fold[m / booster->nfolds];
	int			held = m % booster->nfolds;
	double		g = 0;
	double		h = 0;
	double		change;

	learner_residuals(booster->logit[m], booster->labels, booster->nrows,
					  booster->residual, booster->weight);
	for (int i = 0; i < booster->nrows; i++)
	{
		if (fold[i] == held)
			booster->residual[i] = booster->weight[i] = 0;
		g += booster->residual[i];
		h += booster->weight[i];
	}
	change = h > 0 ? 0.5 * g / h : 0;
	booster->intercept[m] += change;
	for (int i = 0; i < booster->nrows; i++)
	{
		booster->logit[m][i] += change;
		booster->residual[i] -= booster->weight[i] * (float) change;
	}
}

static double
held_loss(const Booster *booster)
{
	double		loss = 0;

	for (int m = 0; m < booster->nmodels; m++)
	{
		const uint8 *fold = booster->fold[m / booster->nfolds];
		int			held = m % booster->nfolds;

		for (int i = 0; i < booster->nrows; i++)
			if (fold[i] == held && (booster->judges == JUDGES_ALL || (i & 1) == booster->judges))
				loss += learner_row_loss(booster->logit[m][i], booster->labels[i]);
	}
	return loss / booster->nrows / booster->ndeals;
}

/* Goes round the terms once, for one model. */
static void
run_round(Booster *booster, int m, const Term *terms, int nterms, double ridge,
		  double **points, double *slopes)
{
	Sums		sums[MAX_BINS] = {0};

	start_round(booster, m);
	learner_sum_bins(terms[0].bins, booster->residual, booster->weight, booster->nrows, sums);
	for (int t = 0; t < nterms; t++)
	{
		const Term *term = &terms[t];
		double		step[MAX_BINS];

		CHECK_FOR_INTERRUPTS();
		if (term->feature != NULL)
			learner_step_feature(term->feature, sums, ridge, &slopes[t], step);
		else
			learner_step_pair(term->pair, sums, ridge, step);
		for (int b = 0; b < term->nbins; b++)
			points[t][b] += step[b];
		memset(sums, 0, sizeof(sums));
		take_step(booster, m, term->bins, step, terms[t + 1 < nterms ? t + 1 : t].bins, sums);
	}
}

/* The logits that other points and another intercept give. */
static void
replace_points(Booster *booster, int m, const Term *terms, int nterms,
			   double **now, double **then, double intercept)
{
	double	   *logit = booster->logit[m];

	for (int i = 0; i < booster->nrows; i++)
		logit[i] += intercept - booster->intercept[m];
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
			logit[i] += then[t][terms[t].bins[i]];
	}
}

double
learner_boost(Booster *booster, const Term *terms, int nterms, double ridge, ModelPoints points)
{
	ModelPoints best = learner_new_points(booster, terms, nterms);
	double	   *best_intercept = palloc(sizeof(double) * booster->nmodels);
	double	  **slopes = palloc(sizeof(double *) * booster->nmodels);
	double		best_loss = held_loss(booster);
	double		patience_loss = best_loss;
	int			waited = 0;

	copy_points(booster, terms, nterms, best, points);
	memcpy(booster->start, booster->intercept, sizeof(double) * booster->nmodels);
	memcpy(best_intercept, booster->intercept, sizeof(double) * booster->nmodels);
	booster->rounds = 0;
	for (int m = 0; m < booster->nmodels; m++)
		slopes[m] = palloc0(sizeof(double) * Max(nterms, 1));
	for (int round = 0; nterms > 0 && (booster->fixed_rounds > 0 ? round < booster->fixed_rounds
									   : round < MAX_ROUNDS && waited < PATIENCE); round++)
	{
		double		loss;

		for (int m = 0; m < booster->nmodels; m++)
			run_round(booster, m, terms, nterms, ridge, points[m], slopes[m]);
		loss = held_loss(booster);
		waited++;
		if (loss < best_loss || booster->fixed_rounds > 0)
		{
			best_loss = loss;
			booster->rounds = round + 1;
			copy_points(booster, terms, nterms, best, points);
			memcpy(best_intercept, booster->intercept, sizeof(double) * booster->nmodels);
		}
		if (loss < patience_loss * (1 - LEAST_GAIN * waited))
		{
			patience_loss = loss;
			waited = 0;
		}
	}
	for (int m = 0; m < booster->nmodels; m++)
	{
		replace_points(booster, m, terms, nterms, points[m], best[m], best_intercept[m]);
		pfree(slopes[m]);
	}
	free_points(booster, nterms, best);
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
			out[i] += booster->logit[d * booster->nfolds + booster->fold[d][i]][i] / booster->ndeals;
	}
}
