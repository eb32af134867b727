#ifndef SALES_SCORING_QUALITY_H
#define SALES_SCORING_QUALITY_H

/* Chance of log-odds. */
extern double learner_logistic(double logit);

/* Log loss of one row. */
extern double learner_row_loss(double logit, int label);

/* Slope and shift that make log-odds of unseen rows into honest chances. */
extern void learner_calibrate(const double *logit, const uint8 *labels, int nrows,
							  double *slope, double *shift);

/* Quality of predictions; all NaN unless both labels are there. */
extern void learner_measure(const double *logit, const uint8 *labels, int nrows,
							double *auc, double *log_loss, double *brier);

#endif							/* SALES_SCORING_QUALITY_H */
