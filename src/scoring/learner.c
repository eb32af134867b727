/*
 * learner.c
 *		The learner: an additive model of binned columns and a few pairs of them.
 *
 * The model gives each bin of each column a number of log-odds points, so a
 * prediction is a sum, and the sum explains itself.  Points are boosted in
 * cycles (boost.c) by several models that each hold a fold of the rows out.
 * What they predict for the rows that they held out decides everything else:
 * how strong the ridge, when to stop, whether pairs of columns (pairs.c) pay
 * for themselves, and the slope and shift that calibrate.  The model stored is
 * the mean of these models, which is as additive as they are.
 *
 * With a prior, learning starts from its points.  Where there are too few rows
 * to hold any out, the prior is only adjusted: each of its points moves by what
 * the rows say against a ridge of RIDGE_ADJUST, so that one row moves a little
 * and a hundred move much.  Columns that the prior does not know stay at 0.
 *
 * Deterministic: folds depend on the order of the rows alone, which the caller
 * makes the same each time.  Time is rows x columns x rounds x models.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "scoring/boost.h"
#include "scoring/learner.h"
#include "scoring/pairs.h"
#include "scoring/quality.h"

#define RIDGE_PAIRS 20
#define RIDGE_ADJUST 20
#define RIDGE_ADJUST_INTERCEPT 4
#define ROUNDS_ADJUST 30
#define FEW_ROWS 50000			/* up to here both ridges are tried */

static const double ridges[] = {5, 30};

double
learner_logit(const Scorecard *card, const uint8 *bins)
{
	double		logit = card->intercept;

	for (int f = 0; f < card->nfeatures; f++)
		logit += card->features[f].points[bins[f]];
	for (int p = 0; p < card->npairs; p++)
	{
		const Pair *pair = &card->pairs[p];

		logit += pair->points[pair->first_group[bins[pair->first]] * pair->nsecond
							  + pair->second_group[bins[pair->second]]];
	}
	return logit;
}

/* Log-odds before anything is learned: the prior's, or that of the mean row. */
static void
start_logits(const Scorecard *card, const uint8 *labels, int nrows, double *start)
{
	double		ones = 0;

	for (int i = 0; i < nrows; i++)
	{
		ones += labels[i];
		start[i] = card->prior_intercept;
	}
	if (!card->has_prior)
	{
		double		mean = log((ones + 0.5) / (nrows - ones + 0.5));

		for (int i = 0; i < nrows; i++)
			start[i] = mean;
		return;
	}
	for (int f = 0; f < card->nfeatures; f++)
	{
		CHECK_FOR_INTERRUPTS();
		for (int i = 0; card->features[f].prior != NULL && i < nrows; i++)
			start[i] += card->features[f].prior[card->features[f].bins[i]];
	}
}

/* The points of one column or pair, averaged over the models. */
static void
average(const Booster *booster, ModelPoints points, int t, int nbins, double *out)
{
	for (int b = 0; b < nbins; b++)
	{
		out[b] = 0;
		for (int m = 0; m < booster->nmodels; m++)
			out[b] += points[m][t][b] / booster->nmodels;
	}
}

/* Boosts the columns alone with each ridge; leaves the best in the booster. */
static ModelPoints
boost_columns(Booster *booster, const Term *terms, int nterms, const double *start)
{
	ModelPoints best = NULL;
	double		best_loss = INFINITY;
	int			tries = booster->nrows <= FEW_ROWS ? (int) lengthof(ridges) : 1;
	Lanes	  **logit = NULL;
	double	   *intercept = NULL;

	for (int r = 0; r < tries; r++)
	{
		ModelPoints points = learner_new_points(booster, terms, nterms);
		double		loss;

		for (int m = 0; m < booster->nmodels; m++)
			booster->intercept[m] = 0;
		for (int d = 0; d < booster->ndeals; d++)
			for (int i = 0; i < booster->nrows; i++)
				booster->logit[d][i] = (Lanes) {0} + (float) start[i];
		loss = learner_boost(booster, terms, nterms, ridges[r], points);
		if (loss < best_loss)
		{
			Lanes	  **spare = logit;
			double	   *spare_intercept = intercept;

			best_loss = loss;
			best = points;
			/* what is in the booster is the best so far: set it aside */
			logit = booster->logit;
			intercept = booster->intercept;
			if (r + 1 == tries)
				break;
			booster->logit = spare ? spare : learner_new_lanes(booster);
			booster->intercept = spare_intercept ? spare_intercept : palloc(sizeof(double) * booster->nmodels);
		}
	}
	booster->logit = logit;
	booster->intercept = intercept;
	return best;
}

/* Do the second predictions beat the first by more than a standard error? */
static bool
is_better(const double *first, const double *second, const uint8 *labels, int nrows)
{
	double		sum = 0;
	double		squares = 0;
	double		mean;

	CHECK_FOR_INTERRUPTS();
	for (int i = 0; i < nrows; i++)
	{
		double		gain = learner_row_loss(first[i], labels[i]) - learner_row_loss(second[i], labels[i]);

		sum += gain;
		squares += gain * gain;
	}
	mean = sum / nrows;
	return mean > sqrt(Max(squares / nrows - mean * mean, 0) / nrows);
}

/*
 * Chooses pairs by what is left to explain of the rows that do not judge, and
 * boosts them.  Returns their points, to be read or undone with the terms.
 */
static ModelPoints
try_pairs(Booster *booster, Scorecard *card, const double *held, Term **terms)
{
	ModelPoints points;
	float	   *residual = palloc_extended(sizeof(float) * booster->nrows, MCXT_ALLOC_HUGE);
	float	   *weight = palloc_extended(sizeof(float) * booster->nrows, MCXT_ALLOC_HUGE);

	learner_residuals(held, booster->labels, booster->nrows, residual, weight);
	for (int i = 0; i < booster->nrows; i++)
		if (booster->judges != JUDGES_ALL && (i & 1) == booster->judges)
			residual[i] = weight[i] = 0;
	learner_choose_pairs(card, residual, weight, booster->nrows);
	pfree(residual);
	pfree(weight);
	*terms = palloc0(sizeof(Term) * Max(card->npairs, 1));
	for (int p = 0; p < card->npairs; p++)
		(*terms)[p] = (Term) {NULL, &card->pairs[p], card->pairs[p].cells,
		card->pairs[p].nfirst * card->pairs[p].nsecond};
	points = learner_new_points(booster, *terms, card->npairs);
	learner_boost(booster, *terms, card->npairs, RIDGE_PAIRS, points);
	return points;
}

/*
 * Tries pairs; keeps them, and what they predict for rows held out, if they pay.
 *
 * The rows that chose pairs would find any choice good.  So each half of the
 * rows judges pairs that the other half chose; if these pay, all rows choose,
 * and boosting goes as far as the judges found best.
 */
static void
boost_pairs(Booster *booster, Scorecard *card, double *held)
{
	double	   *with = palloc_extended(sizeof(double) * booster->nrows, MCXT_ALLOC_HUGE);
	double	   *judged = palloc_extended(sizeof(double) * booster->nrows, MCXT_ALLOC_HUGE);
	Term	   *terms;
	ModelPoints points;
	int			rounds = 0;

	for (int half = 0; half < 2; half++)
	{
		booster->judges = half;
		points = try_pairs(booster, card, held, &terms);
		rounds += booster->rounds;
		learner_held_logits(booster, with);
		for (int i = half; i < booster->nrows; i += 2)
			judged[i] = with[i];
		learner_undo(booster, terms, card->npairs, points);
		learner_free_pairs(card);
		pfree(terms);
	}
	booster->judges = JUDGES_ALL;
	if (rounds > 0 && is_better(held, judged, booster->labels, booster->nrows))
	{
		booster->fixed_rounds = (rounds + 1) / 2;
		points = try_pairs(booster, card, held, &terms);
		booster->fixed_rounds = 0;
		memcpy(held, judged, sizeof(double) * booster->nrows);
		for (int p = 0; p < card->npairs; p++)
			average(booster, points, p, terms[p].nbins, card->pairs[p].points);
	}
	pfree(judged);
	pfree(with);
}

/* Points are told against the average row: each column's mean is 0. */
static void
centre_points(Scorecard *card, int nrows)
{
	for (int f = 0; f < card->nfeatures; f++)
	{
		Feature    *feature = &card->features[f];
		double		centre = 0;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < nrows; i++)
			centre += feature->points[feature->bins[i]] / nrows;
		for (int b = 0; b < feature->nbins; b++)
			feature->points[b] -= centre;
		card->intercept += centre;
	}
}

/* Few rows: moves the prior's points towards them, against a ridge. */
static void
adjust_prior(Scorecard *card, const uint8 *labels, int nrows, double *logit)
{
	float	   *residual = palloc(sizeof(float) * nrows);
	float	   *weight = palloc(sizeof(float) * nrows);
	double		moved = 0;

	for (int round = 0; round < ROUNDS_ADJUST; round++)
		for (int f = -1; f < card->nfeatures; f++)
		{
			Sums		sums[MAX_BINS] = {0};

			CHECK_FOR_INTERRUPTS();
			if (f >= 0 && card->features[f].prior == NULL)
				continue;
			learner_residuals(logit, labels, nrows, residual, weight);
			if (f < 0)
			{
				Sums		all = {-RIDGE_ADJUST_INTERCEPT * moved, RIDGE_ADJUST_INTERCEPT};

				for (int i = 0; i < nrows; i++)
				{
					all.g += residual[i];
					all.h += weight[i];
				}
				/* never more than one unit at a time: far off, curvature misleads */
				all.g = Max(Min(all.g / all.h, 1), -1);
				moved += all.g;
				for (int i = 0; i < nrows; i++)
					logit[i] += all.g;
				continue;
			}
			learner_sum_bins(card->features[f].bins, residual, weight, nrows, sums);
			for (int b = 0; b < card->features[f].nbins; b++)
			{
				double		moved_bin = card->features[f].points[b] - card->features[f].prior[b];
				double		g = sums[b].g - RIDGE_ADJUST * moved_bin;

				sums[b].g = Max(Min(g / (sums[b].h + RIDGE_ADJUST), 1), -1);
				card->features[f].points[b] += sums[b].g;
			}
			for (int i = 0; i < nrows; i++)
				logit[i] += sums[card->features[f].bins[i]].g;
		}
	card->intercept = card->prior_intercept + moved;
	card->auc = card->log_loss = card->brier = NAN;
	pfree(residual);
	pfree(weight);
}

/* Many rows: boosts, averages and calibrates. */
static void
boost_card(Scorecard *card, const uint8 *labels, int nrows, const double *start)
{
	Booster		booster;
	Term	   *terms = palloc0(sizeof(Term) * Max(card->nfeatures, 1));
	double	   *held = palloc_extended(sizeof(double) * nrows, MCXT_ALLOC_HUGE);
	double		learned = 0;
	double		slope;
	double		shift;
	ModelPoints points;

	learner_init_booster(&booster, labels, nrows);
	for (int f = 0; f < card->nfeatures; f++)
		terms[f] = (Term) {&card->features[f], NULL, card->features[f].bins, card->features[f].nbins};
	points = boost_columns(&booster, terms, card->nfeatures, start);
	learner_held_logits(&booster, held);
	boost_pairs(&booster, card, held);
	learner_calibrate(held, labels, nrows, &slope, &shift);

	for (int m = 0; m < booster.nmodels; m++)
		learned += booster.intercept[m] / booster.nmodels;
	card->intercept = slope * ((card->has_prior ? card->prior_intercept : start[0]) + learned) + shift;
	for (int f = 0; f < card->nfeatures; f++)
	{
		Feature    *feature = &card->features[f];

		average(&booster, points, f, feature->nbins, feature->points);
		for (int b = 0; b < feature->nbins; b++)
			feature->points[b] = slope * (feature->points[b] + (feature->prior ? feature->prior[b] : 0));
	}
	for (int p = 0; p < card->npairs; p++)
		for (int c = 0; c < card->pairs[p].nfirst * card->pairs[p].nsecond; c++)
			card->pairs[p].points[c] *= slope;
	for (int i = 0; i < nrows; i++)
		held[i] = slope * held[i] + shift;
	learner_measure(held, labels, nrows, &card->auc, &card->log_loss, &card->brier);
}

void
learner_train(Scorecard *card, const uint8 *labels, int nrows)
{
	double	   *start = palloc_extended(sizeof(double) * Max(nrows, 1), MCXT_ALLOC_HUGE);
	int			ones = 0;

	start_logits(card, labels, nrows, start);
	for (int i = 0; i < nrows; i++)
		ones += labels[i];
	for (int f = 0; f < card->nfeatures; f++)
	{
		Feature    *feature = &card->features[f];

		feature->points = palloc0(sizeof(double) * feature->nbins);
		if (feature->prior != NULL)
			memcpy(feature->points, feature->prior, sizeof(double) * feature->nbins);
	}
	card->npairs = 0;
	if (nrows < LEARNER_MIN_ROWS || ones < LEARNER_MIN_EACH_LABEL ||
		nrows - ones < LEARNER_MIN_EACH_LABEL)
	{
		Assert(card->has_prior);
		adjust_prior(card, labels, nrows, start);
		return;
	}
	boost_card(card, labels, nrows, start);
	learner_purify_pairs(card, nrows);
	centre_points(card, nrows);
}
