/*
 * quality.c
 *		How good predictions are, and what makes them honest.
 *
 * Predictions are log-odds.  Calibration is a logistic regression of the label
 * on the predictions of rows that the model had not seen: slope and shift keep
 * the model additive, as every point is multiplied alike.
 */
#include "postgres.h"

#include <math.h>

#include "miscadmin.h"
#include "scoring/quality.h"

double
learner_logistic(double logit)
{
	return 1.0 / (1.0 + exp(-logit));
}

double
learner_row_loss(double logit, int label)
{
	/* log(1 + exp(-z)), safe for large |z| */
	double		z = label ? logit : -logit;

	return z > 0 ? log1p(exp(-z)) : -z + log1p(exp(z));
}

void
learner_calibrate(const double *logit, const uint8 *labels, int nrows,
				  double *slope, double *shift)
{
	double		a = 1;
	double		b = 0;

	for (int iteration = 0; iteration < 25; iteration++)
	{
		/* a prior of a few rows' weight holds the slope near 1 */
		double		ga = -4 * (a - 1);
		double		gb = -0.1 * b;
		double		haa = 4;
		double		hab = 0;
		double		hbb = 0.1;
		double		determinant;

		CHECK_FOR_INTERRUPTS();
		for (int i = 0; i < nrows; i++)
		{
			double		p = learner_logistic(a * logit[i] + b);
			double		w = p * (1 - p);

			ga += (labels[i] - p) * logit[i];
			gb += labels[i] - p;
			haa += w * logit[i] * logit[i];
			hab += w * logit[i];
			hbb += w;
		}
		determinant = haa * hbb - hab * hab;
		if (fabs(determinant) < 1e-12)
			break;
		a += (hbb * ga - hab * gb) / determinant;
		b += (haa * gb - hab * ga) / determinant;
	}
	/* Never turn the order round, nor follow a fit that ran away. */
	if (!isfinite(a) || !isfinite(b) || a < 0.05 || a > 3)
	{
		a = 1;
		b = 0;
	}
	*slope = a;
	*shift = b;
}

typedef struct Ranked
{
	double		logit;
	int			label;
} Ranked;

static int
compare_ranked(const void *a, const void *b)
{
	double		x = ((const Ranked *) a)->logit;
	double		y = ((const Ranked *) b)->logit;

	return (x > y) - (x < y);
}

void
learner_measure(const double *logit, const uint8 *labels, int nrows,
				double *auc, double *log_loss, double *brier)
{
	Ranked	   *ranked = palloc_extended(sizeof(Ranked) * Max(nrows, 1), MCXT_ALLOC_HUGE);
	double		ones = 0;
	double		rank_sum = 0;
	double		loss = 0;
	double		squares = 0;

	for (int i = 0; i < nrows; i++)
	{
		double		p = learner_logistic(logit[i]);

		ranked[i] = (Ranked) {logit[i], labels[i]};
		ones += labels[i];
		loss += learner_row_loss(logit[i], labels[i]);
		squares += (p - labels[i]) * (p - labels[i]);
	}
	CHECK_FOR_INTERRUPTS();
	*auc = *log_loss = *brier = NAN;
	if (ones > 0 && ones < nrows)
	{
		qsort(ranked, nrows, sizeof(Ranked), compare_ranked);
		for (int i = 0; i < nrows;)
		{
			int			j = i;
			double		ties = 0;

			while (j < nrows && ranked[j].logit == ranked[i].logit)
				ties += ranked[j++].label;
			rank_sum += ties * ((i + 1 + j) / 2.0);
			i = j;
		}
		*auc = (rank_sum - ones * (ones + 1) / 2) / (ones * (nrows - ones));
		*log_loss = loss / nrows;
		*brier = squares / nrows;
	}
	pfree(ranked);
}
