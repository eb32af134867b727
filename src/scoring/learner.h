#ifndef SALES_SCORING_LEARNER_H
#define SALES_SCORING_LEARNER_H

#define BIN_MISSING 0
#define BIN_OTHER 1				/* of a category: rare or never seen */
#define MAX_BINS 256

/* One column: rows are bin numbers, the model is one number of points a bin. */
typedef struct Feature
{
	char	   *name;
	bool		is_category;
	int			nbins;
	unsigned char *bins;		/* of each row */
	int			ncuts;			/* numeric: bin 1 is below cuts[0], and so on */
	double	   *cuts;
	char	  **categories;		/* category: bin 2 + i is categories[i] */
	int			ncategories;
	double	   *points;			/* log-odds of each bin; what is learned */
} Feature;

typedef struct Scorecard
{
	int			nfeatures;
	Feature    *features;
	double		intercept;
	/* on rows that the model had not seen */
	double		auc;
	double		log_loss;
	double		brier;
} Scorecard;

/* Makes the bins of a numeric column; NaN is missing. */
extern void learner_bin_numbers(Feature *feature, const double *values, int nrows);

/* Makes the bins of a text column; null is missing. */
extern void learner_bin_texts(Feature *feature, char **values, int nrows);

/* Bin of one value, as apply needs it. */
extern int	learner_bin_of_number(const Feature *feature, double value);
extern int	learner_bin_of_text(const Feature *feature, const char *value);

/* Learns points and intercept; labels are 0 or 1.  Deterministic. */
extern void learner_train(Scorecard *card, const unsigned char *labels, int nrows);

#endif							/* SALES_SCORING_LEARNER_H */
