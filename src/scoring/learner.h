#ifndef SALES_SCORING_LEARNER_H
#define SALES_SCORING_LEARNER_H

#define BIN_MISSING 0
#define BIN_OTHER 1				/* of a category: rare or never seen */
#define MAX_BINS 256			/* of a column, and cells of a pair: a byte a row */

/* One column: rows are bin numbers, the model is one number of points a bin. */
typedef struct Feature
{
	char	   *name;
	bool		is_category;
	int			nbins;
	uint8	   *bins;			/* of each row */
	int			ncuts;			/* numeric: bin 1 is below cuts[0], and so on */
	double	   *cuts;
	char	  **categories;		/* category: bin 2 + i is categories[i], in order of bytes */
	int			ncategories;
	double	   *centres;		/* numeric: of each bin, mean 0 and deviation 1 over the rows */
	double	   *prior;			/* points of each bin to start from; null: none */
	double	   *points;			/* log-odds of each bin; what is learned */
} Feature;

/* Two columns together: their bins in groups, one number of points a cell. */
typedef struct Pair
{
	int			first;			/* numbers of the features */
	int			second;
	int			nfirst;			/* groups */
	int			nsecond;
	uint8	   *first_group;	/* of each bin of the first feature */
	uint8	   *second_group;
	uint8	   *cells;			/* of each row: first group * nsecond + second group */
	double	   *points;			/* log-odds of each cell */
} Pair;

typedef struct Scorecard
{
	int			nfeatures;
	Feature    *features;
	int			npairs;
	Pair	   *pairs;
	double		intercept;
	bool		has_prior;		/* features have one, and this: */
	double		prior_intercept;
	/* on rows that the model had not seen; NaN where there were too few */
	double		auc;
	double		log_loss;
	double		brier;
} Scorecard;

/* Fewer rows than these can only adjust a prior. */
#define LEARNER_MIN_ROWS 20
#define LEARNER_MIN_EACH_LABEL 5

/* Learns points and intercept; labels are 0 or 1.  Deterministic. */
extern void learner_train(Scorecard *card, const uint8 *labels, int nrows);

/* Log-odds of a row, given the bins of its features. */
extern double learner_logit(const Scorecard *card, const uint8 *bins);

#endif							/* SALES_SCORING_LEARNER_H */
