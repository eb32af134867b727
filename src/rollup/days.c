/*
 * days.c
 *		Calendar days of a timezone as ranges of instants.
 *
 * A day begins at the first instant whose local date is that day or a later
 * one, and ends where the next day begins.  AT TIME ZONE does not say so: where
 * clocks are turned back over midnight (Azores, Havana) midnight comes twice,
 * and it answers with the second, which would leave the day an hour short.
 * Where clocks are put forward over midnight the day begins when they are; a
 * day that a zone left out (Apia, 30 December 2011) is empty.  Every instant
 * so belongs to exactly one day, which is all that the roll-ups rest on.
 */
#include "postgres.h"

#include "datatype/timestamp.h"
#include "fmgr.h"
#include "pgtime.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/datetime.h"
#include "utils/timestamp.h"

#define EPOCH_SECONDS ((POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * (int64) SECS_PER_DAY)

/* Wider than any zone's distance from UTC. */
#define FARTHEST_OFFSET (16 * SECS_PER_HOUR)

PG_FUNCTION_INFO_V1(sales_day_start);
PG_FUNCTION_INFO_V1(sales_local_day);
PG_FUNCTION_INFO_V1(sales_local_week);

static pg_tz *
zone_named(const text *name)
{
	char		zone[TZ_STRLEN_MAX + 1];
	pg_tz	   *tz;

	text_to_cstring_buffer(name, zone, sizeof(zone));
	tz = pg_tzset(zone);
	if (tz == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("there is no timezone \"%s\"", zone),
				 errhint("Give an IANA name such as Europe/Paris.")));
	return tz;
}

/* First second of a day, counted from 1970. */
static pg_time_t
first_second(DateADT day, pg_tz *tz)
{
	pg_time_t	midnight = (pg_time_t) day * SECS_PER_DAY + EPOCH_SECONDS;
	pg_time_t	from = midnight - FARTHEST_OFFSET;

	/* Stretches of one offset, one after the other, until one holds midnight or leaps over it. */
	for (;;)
	{
		long		offset;
		long		next_offset;
		int			isdst;
		int			next_isdst;
		pg_time_t	boundary;
		int			found = pg_next_dst_boundary(&from, &offset, &isdst, &boundary,
												 &next_offset, &next_isdst, tz);

		if (found <= 0 || midnight - offset < boundary)
			return midnight - offset;
		if (boundary + next_offset >= midnight)
			return boundary;
		from = boundary;
	}
}

/* sales_internal.day_start(day, timezone): the instant at which the day begins there. */
Datum
sales_day_start(PG_FUNCTION_ARGS)
{
	DateADT		day = PG_GETARG_DATEADT(0);
	pg_tz	   *tz = zone_named(PG_GETARG_TEXT_PP(1));
	pg_time_t	start;

	if (DATE_IS_NOBEGIN(day))
		PG_RETURN_TIMESTAMPTZ(DT_NOBEGIN);
	if (DATE_IS_NOEND(day))
		PG_RETURN_TIMESTAMPTZ(DT_NOEND);
	/* A margin for the offset, so that the product below cannot overflow. */
	if (day < DATETIME_MIN_JULIAN - POSTGRES_EPOCH_JDATE + 1 ||
		day > TIMESTAMP_END_JULIAN - POSTGRES_EPOCH_JDATE - 2)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("date out of range for a timestamp")));
	start = first_second(day, tz);
	PG_RETURN_TIMESTAMPTZ((start - EPOCH_SECONDS) * USECS_PER_SEC);
}

/* The day that a finite instant belongs to. */
static DateADT
day_of(TimestampTz instant, pg_tz *tz)
{
	struct pg_tm tm;
	fsec_t		fsec;
	int			offset;
	DateADT		day;

	if (timestamp2tm(instant, &offset, &tm, &fsec, NULL, tz) != 0)
		ereport(ERROR,
				(errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
				 errmsg("timestamp out of range")));
	day = date2j(tm.tm_year, tm.tm_mon, tm.tm_mday) - POSTGRES_EPOCH_JDATE;
	/* Clocks turned back over midnight repeat the end of a day that is over. */
	if (day < TIMESTAMP_END_JULIAN - POSTGRES_EPOCH_JDATE - 3 &&
		(first_second(day + 1, tz) - EPOCH_SECONDS) * USECS_PER_SEC <= instant)
		day++;
	/* The outermost instants are, in some zones, on days that are no dates. */
	day = Max(day, DATETIME_MIN_JULIAN - POSTGRES_EPOCH_JDATE);
	return Min(day, TIMESTAMP_END_JULIAN - POSTGRES_EPOCH_JDATE - 1);
}

/* sales_internal.local_day(instant, timezone): the day that the instant belongs to there. */
Datum
sales_local_day(PG_FUNCTION_ARGS)
{
	TimestampTz instant = PG_GETARG_TIMESTAMPTZ(0);
	pg_tz	   *tz = zone_named(PG_GETARG_TEXT_PP(1));

	if (TIMESTAMP_IS_NOBEGIN(instant))
		PG_RETURN_DATEADT(DATEVAL_NOBEGIN);
	if (TIMESTAMP_IS_NOEND(instant))
		PG_RETURN_DATEADT(DATEVAL_NOEND);
	PG_RETURN_DATEADT(day_of(instant, tz));
}

/*
 * sales_internal.local_week(instant, timezone, first): first day of the week
 * that the instant belongs to there; weeks begin on day `first`, 1 (Monday) to
 * 7 (Sunday).
 */
Datum
sales_local_week(PG_FUNCTION_ARGS)
{
	TimestampTz instant = PG_GETARG_TIMESTAMPTZ(0);
	pg_tz	   *tz = zone_named(PG_GETARG_TEXT_PP(1));
	int32		first = PG_GETARG_INT32(2);
	DateADT		day;

	if (first < 1 || first > 7)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("weeks begin on a day from 1 to 7, not %d", first)));
	if (TIMESTAMP_IS_NOBEGIN(instant))
		PG_RETURN_DATEADT(DATEVAL_NOBEGIN);
	if (TIMESTAMP_IS_NOEND(instant))
		PG_RETURN_DATEADT(DATEVAL_NOEND);
	day = day_of(instant, tz);
	/* j2day: 0 is Sunday. */
	day -= (j2day(day + POSTGRES_EPOCH_JDATE) + 7 - first) % 7;
	PG_RETURN_DATEADT(Max(day, DATETIME_MIN_JULIAN - POSTGRES_EPOCH_JDATE));
}
