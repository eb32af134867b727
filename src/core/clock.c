/*
 * clock.c
 *		The time of day as the extension sees it.
 *
 * Everything that schedules, expires or leases asks here, so that a test can
 * set the clock (sales_assistant.clock, superusers only) instead of sleeping.
 */
#include "postgres.h"

#include <time.h>

#include "access/xact.h"
#include "core/clock.h"
#include "compat.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

static bool clock_is_set = false;
static TimestampTz clock_value = 0;

/* Of a session that was sent work by another node of a cluster: that one's. */
static bool followed = false;
static bool followed_is_set = false;
static TimestampTz followed_now = 0;

TimestampTz
clock_now(void)
{
	return clock_is_set ? clock_value : followed ? followed_now : GetCurrentTransactionStartTimestamp();
}

TimestampTz
clock_instant(void)
{
	return clock_is_set ? clock_value : followed_is_set ? followed_now : GetCurrentTimestamp();
}

bool
clock_is_fixed(void)
{
	return clock_is_set;
}

void
clock_follow(TimestampTz now, bool is_fixed)
{
	followed = true;
	followed_now = now;
	followed_is_set = is_fixed;
}

void
clock_follow_no_more(void)
{
	followed = followed_is_set = false;
}

int64
clock_monotonic(void)
{
	struct timespec now;

	(void) clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * INT64CONST(1000000) + now.tv_nsec / 1000;
}

bool
clock_check_hook(char **newval, void **extra, GucSource source)
{
	TimestampTz *value;
	char	   *field[MAXDATEFIELDS];
	int			ftype[MAXDATEFIELDS];
	char		workbuf[MAXDATELEN + MAXDATEFIELDS];
	int			nf;
	int			dtype;
	int			tz;
	fsec_t		fsec;
	struct pg_tm tm;

	if (*newval == NULL || **newval == '\0')
		return true;

	/* Parsed by hand, as a check hook must not throw. */
	if (ParseDateTime(*newval, workbuf, sizeof(workbuf), field, ftype, MAXDATEFIELDS,
					  &nf) != 0 ||
		compat_decode_datetime(field, ftype, nf, &dtype, &tm, &fsec, &tz) != 0 ||
		dtype != DTK_DATE)
	{
		GUC_check_errdetail("Not a time: \"%s\".", *newval);
		GUC_check_errhint("Write it as 2026-01-31 12:00:00+00.");
		return false;
	}

	value = compat_guc_malloc(sizeof(TimestampTz));
	if (value == NULL)
		return false;
	if (tm2timestamp(&tm, fsec, &tz, value) != 0)
	{
		compat_guc_free(value);
		GUC_check_errdetail("Time out of range: \"%s\".", *newval);
		return false;
	}
	*extra = value;
	return true;
}

void
clock_assign_hook(const char *newval, void *extra)
{
	clock_is_set = (extra != NULL);
	if (extra != NULL)
		clock_value = *(TimestampTz *) extra;
}

PG_FUNCTION_INFO_V1(sales_now);

/* sales_internal.now() → timestamptz: clock_now() for SQL. */
Datum
sales_now(PG_FUNCTION_ARGS)
{
	PG_RETURN_TIMESTAMPTZ(clock_now());
}
