#ifndef SALES_SCORING_BOOST_H
#define SALES_SCORING_BOOST_H

#include "scoring/learner.h"

/* Sums of a bin: gradient and curvature of the log loss. */
typedef struct Sums
{
	double		g;
	double		h;
} Sums;

/* What is boosted: a column, or a pair of columns. */
typedef struct Term
{
	const Feature *feature;		/* null: a pair */
	const Pair *pair;
	const uint8 *bins;			/* of each row */
	int			nbins;
} Term;

/* Numbers of the models that hold one fold each out: one vector, one model a lane. */
#define LANES 4
typedef float Lanes __attribute__((vector_size(LANES * sizeof(float)), aligned(sizeof(float))));

typedef struct LaneSums
{
	Lanes		g;
	Lanes		h;
} LaneSums;

/*
 * Models that are trained side by side: each holds one fold out, in one of
 * several deals of the rows to folds.  Model d * LANES + k is lane k of deal d.
 */
typedef struct Booster
{
	int			nrows;
	const uint8 *labels;
	int			ndeals;
	int			nmodels;		/* LANES * ndeals */
	uint8	  **fold;			/* of each deal and row: the lane that holds it out */
	Lanes	  **logit;			/* of each deal and row */
	Lanes	  **residual;		/* at these logits; 0 where the row is held out */
	Lanes	  **weight;
	Lanes	  **change;			/* of the logits, since */
	LaneSums   *all;			/* of each deal: over all rows */
	double	   *intercept;		/* of each model */
	double	   *start;			/* the intercepts before the last boosting */
	int			judges;			/* which rows say when to stop: those of odd or even number */
	int			fixed_rounds;	/* 0: until the judges find no gain */
	int			rounds;			/* how many were best, of the last boosting */
} Booster;

#define JUDGES_ALL (-1)

/* Points of each model, term and bin. */
typedef double ***ModelPoints;

extern void learner_init_booster(Booster *booster, const uint8 *labels, int nrows);

/* An array of an element for each row, for each deal. */
extern Lanes **learner_new_lanes(const Booster *booster);

extern ModelPoints learner_new_points(const Booster *booster, const Term *terms, int nterms);

/*
 * Adds steps to the points of the terms until rows held out that judge get no better;
 * leaves the best points in `points` and in the models' logits and intercepts.
 * Returns the mean log loss of rows held out.
 */
extern double learner_boost(Booster *booster, const Term *terms, int nterms, double ridge,
							ModelPoints points);

/* Takes back what learner_boost() has added to logits and intercepts, and frees the points. */
extern void learner_undo(Booster *booster, const Term *terms, int nterms, ModelPoints points);

/* Mean, over the models that held a row out, of its log-odds. */
extern void learner_held_logits(const Booster *booster, double *out);

/* Sums by bin of residuals and weights. */
extern void learner_sum_bins(const uint8 *bins, const float *residual, const float *weight,
							 int nrows, Sums *sums);

/* Residuals and weights at given log-odds. */
extern void learner_residuals(const double *logit, const uint8 *labels, int nrows,
							  float *residual, float *weight);

/* Steps of a term from its sums; in steps.c. */
extern void learner_step_feature(const Feature *feature, Sums *sums, double ridge,
								 double *slope, double *step);
extern void learner_step_pair(const Pair *pair, const Sums *sums, double ridge, double *step);

#endif							/* SALES_SCORING_BOOST_H */
