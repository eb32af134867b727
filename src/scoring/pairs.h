#ifndef SALES_SCORING_PAIRS_H
#define SALES_SCORING_PAIRS_H

#include "scoring/boost.h"

/*
 * Pairs of columns that explain most of what the columns alone have left, in
 * card->pairs; none if nothing is left.  residual and weight: of rows held out.
 */
extern void learner_choose_pairs(Scorecard *card, const float *residual, const float *weight,
								 int nrows);

/* Undoes learner_choose_pairs(). */
extern void learner_free_pairs(Scorecard *card);

/* Moves what a pair says of one of its columns alone into that column's points. */
extern void learner_purify_pairs(Scorecard *card, int nrows);

#endif							/* SALES_SCORING_PAIRS_H */
