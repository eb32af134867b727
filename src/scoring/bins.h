#ifndef SALES_SCORING_BINS_H
#define SALES_SCORING_BINS_H

#include "scoring/learner.h"

/* A text of the rows as a number; -1 is missing, LEARNER_CODE_OTHER no category. */
#define LEARNER_CODE_MISSING (-1)
#define LEARNER_CODE_OTHER (-2)

/*
 * Makes the bins of a numeric column; NaN is missing, infinities count.
 * `extra` are cuts to make besides, such as those of a prior; `extra_only`: no others.
 */
extern void learner_bin_numbers(Feature *feature, const double *values, int nrows,
								const double *extra, int nextra, bool extra_only);

/*
 * Makes the bins of a text column: `codes` of the rows are positions in
 * `texts`.  `extra` are categories to make besides.
 */
extern void learner_bin_texts(Feature *feature, const int *codes, int nrows,
							  char **texts, int ntexts, char **extra, int nextra, bool extra_only);

/* Bin of one value, as apply needs it. */
extern int	learner_bin_of_number(const Feature *feature, double value);
extern int	learner_bin_of_text(const Feature *feature, const char *value, int length);

/* Binary search of a category; -1: none. */
extern int	learner_find_category(char *const *categories, int n, const char *value, int length);

#endif							/* SALES_SCORING_BINS_H */
