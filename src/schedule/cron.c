/*
 * cron.c
 *		When a schedule runs next, by the clock of a timezone.
 *
 * Days are walked on the calendar, and each minute that the expression names on
 * a day is brought to instants by the timezone's own transitions:
 *
 *	- A minute that comes twice (clocks go back): a job at fixed times runs at
 *	  the first; one whose minute or hour begins with * runs at both.
 *	- A minute that does not come (clocks go forward): a job at fixed times runs
 *	  later by as much as the clock jumped, as if it had not; the others do not
 *	  miss it.
 *
 * So nightly jobs run once every night, and a job of every half hour every half
 * hour.  Cost: one look-up of a timezone for each minute named on the days
 * walked that can have a run, so microseconds for the usual schedules; days
 * that cannot are skipped by their masks.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "schedule/cron.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

/* 29 February comes every 8 years at worst; a weekday on it does not narrow it. */
#define MAX_DAYS (40 * 366)

/* Clocks are never further from UTC, and never jump more than this (Samoa 2011). */
#define MAX_OFFSET (26 * SECS_PER_HOUR)

#define UNIX_EPOCH_DAYS ((int64) UNIX_EPOCH_JDATE)

static bool
day_matches(const CronSchedule *s, int julian)
{
	int			year;
	int			month;
	int			day;
	int			weekday = j2day(julian);
	int			last;
	bool		by_day;
	bool		by_weekday;

	j2date(julian, &year, &month, &day);
	if (!(s->months & (1 << month)))
		return false;
	last = day_tab[isleap(year)][month - 1];
	by_day = (s->days & (1U << day)) || (s->last_day && day == last);
	by_weekday = (s->weekdays & (1U << weekday)) ||
		(s->nth[weekday] & (1U << ((day - 1) / 7 + 1))) ||
		((s->nth[weekday] & (1U << 6)) && day + 7 > last);
	/* Two restricted day fields widen each other, as cron(5) has it. */
	if (s->any_day || s->any_weekday)
		return by_day && by_weekday;
	return by_day || by_weekday;
}

/*
 * Instants (Unix seconds) at which clocks show `local` (seconds since 1970 as if
 * UTC), earliest first, at most two.  When there are none, returns 0 and puts
 * the instant that it would have been without the jump into instants[0].
 */
static int
local_instants(pg_time_t local, pg_tz *tz, pg_time_t instants[2])
{
	pg_time_t	at = local - MAX_OFFSET;
	pg_time_t	from = PG_INT64_MIN;
	int			n = 0;

	for (;;)
	{
		long		before;
		long		after;
		int			isdst;
		pg_time_t	boundary;
		int			more = pg_next_dst_boundary(&at, &before, &isdst, &boundary, &after, &isdst, tz);
		pg_time_t	instant;

		if (more < 0)
			ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
							errmsg("timestamp out of range")));
		instant = local - before;
		if (instant >= from && (more == 0 || instant < boundary) && n < 2)
			instants[n++] = instant;
		if (more == 0 || boundary > local + MAX_OFFSET)
			return n;
		/* in the gap of this boundary: too late before it, too early after it */
		if (n == 0 && instant >= boundary && local - after < boundary)
			instants[0] = instant;
		from = at = boundary;
	}
}

/* The earliest run of a day after `after`, if it is earlier than *best. */
static bool
earliest_of_day(const CronSchedule *s, pg_tz *tz, int julian, TimestampTz after, pg_time_t *best)
{
	bool		found = false;

	for (int hour = 0; hour < HOURS_PER_DAY; hour++)
	{
		if (!(s->hours & (1U << hour)))
			continue;
		for (int minute = 0; minute < MINS_PER_HOUR; minute++)
		{
			pg_time_t	local = (julian - UNIX_EPOCH_DAYS) * SECS_PER_DAY +
				hour * SECS_PER_HOUR + minute * SECS_PER_MINUTE;
			pg_time_t	instants[2] = {0};
			int			n;

			if (!(s->minutes & (UINT64CONST(1) << minute)))
				continue;
			n = local_instants(local, tz, instants);
			if (!s->wildcard)
				n = 1;
			for (int i = 0; i < n; i++)
				if (time_t_to_timestamptz(instants[i]) > after && instants[i] < *best)
				{
					*best = instants[i];
					found = true;
				}
		}
	}
	return found;
}

bool
cron_next_run(const CronSchedule *schedule, pg_tz *tz, TimestampTz after, TimestampTz *next)
{
	/* The day before, whose last minutes may have been pushed into this one. */
	int			first = (int) (after / USECS_PER_DAY) + POSTGRES_EPOCH_JDATE - 2;
	pg_time_t	best = PG_INT64_MAX;
	bool		found = false;

	for (int julian = first; julian < first + MAX_DAYS; julian++)
	{
		bool		done = found;

		CHECK_FOR_INTERRUPTS();
		if (day_matches(schedule, julian) && earliest_of_day(schedule, tz, julian, after, &best))
			found = true;
		/* A day after the one with a run can only be earlier by a jump. */
		if (done)
			break;
	}
	if (!found)
		return false;
	*next = time_t_to_timestamptz(best);
	if (!IS_VALID_TIMESTAMP(*next))
		ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
						errmsg("timestamp out of range")));
	return true;
}

PG_FUNCTION_INFO_V1(sales_cron_next);

/*
 * sales.cron_next(expression text, timezone text, after timestamptz) → timestamptz
 *
 * Null when the expression names no day that exists (30 February).
 */
Datum
sales_cron_next(PG_FUNCTION_ARGS)
{
	char	   *expression = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *zone = text_to_cstring(PG_GETARG_TEXT_PP(1));
	TimestampTz after = PG_GETARG_TIMESTAMPTZ(2);
	CronSchedule schedule;
	pg_tz	   *tz;
	TimestampTz next;

	cron_parse(expression, &schedule);
	tz = strlen(zone) <= TZ_STRLEN_MAX ? pg_tzset(zone) : NULL;
	if (tz == NULL || !pg_tz_acceptable(tz))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no timezone \"%.100s\"", zone),
				 errhint("See pg_timezone_names; a name such as Europe/Paris.")));
	if (TIMESTAMP_NOT_FINITE(after))
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("the time after which to look must be finite")));
	if (!cron_next_run(&schedule, tz, after, &next))
		PG_RETURN_NULL();
	PG_RETURN_TIMESTAMPTZ(next);
}
