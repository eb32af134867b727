#ifndef SALES_SCHEDULE_CRON_H
#define SALES_SCHEDULE_CRON_H

#include "datatype/timestamp.h"
#include "pgtime.h"

/* A parsed expression: one bit for each value of a field. */
typedef struct CronSchedule
{
	uint64		minutes;		/* 0-59 */
	uint32		hours;			/* 0-23 */
	uint32		days;			/* of the month, 1-31 */
	uint32		months;			/* 1-12 */
	uint32		weekdays;		/* 0-6, Sunday is 0 */
	uint32		nth[7];			/* bits 1-5: that occurrence of the weekday in the month; bit 6: the last */
	bool		last_day;		/* L in the day of the month */
	bool		any_day;		/* the day of the month is * */
	bool		any_weekday;	/* the weekday is * */
	bool		wildcard;		/* minute or hour begins with *: follows the clock at once */
} CronSchedule;

/* Throws invalid_parameter_value with a hint for what is not an expression. */
extern void cron_parse(const char *expression, CronSchedule *schedule);

/* First run strictly after `after`; false if there is none within 40 years. */
extern bool cron_next_run(const CronSchedule *schedule, pg_tz *tz, TimestampTz after,
						  TimestampTz *next);

#endif							/* SALES_SCHEDULE_CRON_H */
