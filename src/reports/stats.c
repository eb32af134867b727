/*
 * stats.c
 *		Small statistics for forecasts and for measured suggestions.
 *
 * A forecast is a sum of deals, each of which comes with its own chance or not
 * at all.  Its distribution (Poisson binomial, weighted by value) is computed
 * by convolution on a grid of GRID steps; a deal that falls between two steps
 * is split between them, so that the mean stays exact.  Of more deals than
 * MOST_CONVOLVED the sum is taken as normal, with their mean and variance: that
 * is as near, and convolving them would take seconds.  Deals are taken as
 * independent given their chances.  A difference of two response rates is
 * judged by the pooled two-proportion z-test.
 */
#include "postgres.h"

#include <math.h>

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"

#define GRID 2000
#define MOST_CONVOLVED 200000

PG_FUNCTION_INFO_V1(sales_deal_quantiles);
PG_FUNCTION_INFO_V1(sales_proportions_p);

/* Numbers of a one-dimensional float8[] without nulls. */
static int
read_floats(ArrayType *array, const double **numbers)
{
	if (ARR_NDIM(array) == 0)
		return 0;
	if (ARR_NDIM(array) != 1 || array_contains_nulls(array))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("a list of numbers without nulls is needed")));
	*numbers = (const double *) ARR_DATA_PTR(array);
	return ArrayGetNItems(ARR_NDIM(array), ARR_DIMS(array));
}

/* Adds one deal to the distribution: `low` whole steps and a part of the next. */
static void
add_deal(double *mass, double *next, double steps, double chance)
{
	int			low = (int) floor(steps);
	double		part = steps - low;

	for (int i = 0; i <= GRID; i++)
		next[i] = mass[i] * (1 - chance);
	for (int i = 0; i <= GRID; i++)
	{
		if (mass[i] == 0)
			continue;
		next[Min(i + low, GRID)] += mass[i] * chance * (1 - part);
		next[Min(i + low + 1, GRID)] += mass[i] * chance * part;
	}
}

/* The distribution of the sum by convolution; `step` is the grid's. */
static double *
convolve(const double *deal_values, const double *chances, int ndeals, double step)
{
	double	   *mass = palloc0(sizeof(double) * (GRID + 1));
	double	   *next = palloc0(sizeof(double) * (GRID + 1));

	mass[0] = 1;
	for (int i = 0; i < ndeals && step > 0; i++)
	{
		double	   *swap = mass;

		CHECK_FOR_INTERRUPTS();
		add_deal(mass, next, deal_values[i] / step, chances[i]);
		mass = next;
		next = swap;
	}
	return mass;
}

/* The same for very many deals, as a normal one. */
static double *
approximate(const double *deal_values, const double *chances, int ndeals, double step)
{
	double	   *mass = palloc0(sizeof(double) * (GRID + 1));
	double		mean = 0;
	double		variance = 0;
	double		below = 0;

	for (int i = 0; i < ndeals; i++)
	{
		mean += deal_values[i] * chances[i];
		variance += deal_values[i] * deal_values[i] * chances[i] * (1 - chances[i]);
	}
	for (int i = 0; i <= GRID; i++)
	{
		double		distance = (i + 0.5) * step - mean;
		double		upto = i == GRID ? 1 : variance > 0 ? erfc(-distance / sqrt(2 * variance)) / 2 : distance >= 0;

		mass[i] = upto - below;
		below = upto;
	}
	return mass;
}

/*
 * sales_internal.deal_quantiles(deal_values, chances, quantiles): the sums that
 * are not exceeded with these probabilities.
 */
Datum
sales_deal_quantiles(PG_FUNCTION_ARGS)
{
	const double *deal_values = NULL;
	const double *chances = NULL;
	const double *quantiles = NULL;
	int			ndeals = read_floats(PG_GETARG_ARRAYTYPE_P(0), &deal_values);
	int			nchances = read_floats(PG_GETARG_ARRAYTYPE_P(1), &chances);
	int			nquantiles = read_floats(PG_GETARG_ARRAYTYPE_P(2), &quantiles);
	double	   *mass;
	Datum	   *result = palloc(sizeof(Datum) * Max(nquantiles, 1));
	double		total = 0;
	double		step;

	if (ndeals != nchances)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("each deal needs one chance")));
	for (int i = 0; i < ndeals; i++)
	{
		if (!(deal_values[i] >= 0) || isinf(deal_values[i]) || !(chances[i] >= 0 && chances[i] <= 1))
			ereport(ERROR,
					(errcode(ERRCODE_NUMERIC_VALUE_OUT_OF_RANGE),
					 errmsg("deals have values from 0 and chances from 0 to 1")));
		total += deal_values[i];
	}

	step = total / GRID;
	mass = (ndeals > MOST_CONVOLVED ? approximate : convolve) (deal_values, chances, ndeals, step);
	for (int q = 0; q < nquantiles; q++)
	{
		double		sum = 0;
		int			i;

		for (i = 0; i < GRID; i++)
		{
			sum += mass[i];
			if (sum >= quantiles[q] - 1e-12)
				break;
		}
		result[q] = Float8GetDatum(i * step);
	}
	PG_RETURN_ARRAYTYPE_P(construct_array(result, nquantiles, FLOAT8OID, sizeof(float8),
										  FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

/*
 * sales_internal.proportions_p(hits1, n1, hits2, n2): two-sided p-value of the
 * difference of two shares; null where there is nothing to compare.
 */
Datum
sales_proportions_p(PG_FUNCTION_ARGS)
{
	double		hits1 = (double) PG_GETARG_INT64(0);
	double		n1 = (double) PG_GETARG_INT64(1);
	double		hits2 = (double) PG_GETARG_INT64(2);
	double		n2 = (double) PG_GETARG_INT64(3);
	double		pooled;
	double		deviation;

	if (n1 <= 0 || n2 <= 0 || hits1 < 0 || hits2 < 0 || hits1 > n1 || hits2 > n2)
		PG_RETURN_NULL();
	pooled = (hits1 + hits2) / (n1 + n2);
	deviation = sqrt(pooled * (1 - pooled) * (1 / n1 + 1 / n2));
	if (deviation == 0)
		PG_RETURN_FLOAT8(1.0);
	PG_RETURN_FLOAT8(erfc(fabs(hits1 / n1 - hits2 / n2) / deviation / sqrt(2.0)));
}
