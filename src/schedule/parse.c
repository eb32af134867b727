/*
 * parse.c
 *		Cron expressions to bit masks.
 *
 * Five fields (minute, hour, day of the month, month, weekday) or a macro.  A
 * field is a list of values, ranges and steps; names of months and weekdays
 * have three letters in any case.  Beyond the five fields of cron(5) stand what
 * other engines agree on: N/step (from N on), ranges that wrap (fri-mon), ? for
 * * in a day field, L for the last day of the month, fri#2 and friL.  What they
 * do not agree on (seconds, years, L inside ranges, fri#2 beside plain days) is
 * an error rather than a guess; docs/schedule.md has the list.
 */
#include "postgres.h"

#include "schedule/cron.h"

typedef struct CronField
{
	const char *name;
	int			min;
	int			max;
	const char *const *names;	/* of the values from min on */
} CronField;

static const char *const month_names[] =
{"jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec", NULL};
static const char *const weekday_names[] =
{"sun", "mon", "tue", "wed", "thu", "fri", "sat", NULL};

enum
{
	MINUTE, HOUR, DAY, MONTH, WEEKDAY, FIELDS
};

/* Sunday may be written 7, so weekdays run to 7 and are folded at the end. */
static const CronField cron_fields[FIELDS] = {
	{"minute", 0, 59, NULL},
	{"hour", 0, 23, NULL},
	{"day of the month", 1, 31, NULL},
	{"month", 1, 12, month_names},
	{"weekday", 0, 7, weekday_names},
};

static const struct
{
	const char *name;
	const char *expression;
}			macros[] = {
	{"@yearly", "0 0 1 1 *"},
	{"@annually", "0 0 1 1 *"},
	{"@monthly", "0 0 1 * *"},
	{"@weekly", "0 0 * * 0"},
	{"@daily", "0 0 * * *"},
	{"@midnight", "0 0 * * *"},
	{"@hourly", "0 * * * *"},
};

/* What stands at the cursor, for one field. */
typedef struct CronCursor
{
	const char *whole;			/* the expression, for messages */
	const CronField *field;
	const char *at;
	const char *end;			/* of the field */
} CronCursor;

static void reject(const CronCursor *c, const char *why) pg_attribute_noreturn();

static void
reject(const CronCursor *c, const char *why)
{
	ereport(ERROR,
			(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
			 errmsg("\"%s\" is not a schedule: %s %s", c->whole, c->field->name, why),
			 errhint("Five fields: minute (0-59), hour (0-23), day of the month (1-31 or L), month (1-12 or jan-dec), "
					 "weekday (0-7 or sun-sat, fri#2, friL); each a list of *, values, ranges and steps.")));
}

static bool
accept(CronCursor *c, char what)
{
	if (c->at == c->end || pg_tolower((unsigned char) *c->at) != what)
		return false;
	c->at++;
	return true;
}

/* Digits, as a number that cannot overflow; -1 when there are none. */
static int
read_number(CronCursor *c)
{
	int			value = -1;

	for (; c->at < c->end && *c->at >= '0' && *c->at <= '9'; c->at++)
		value = Min(Max(value, 0) * 10 + (*c->at - '0'), 100000);
	return value;
}

/* A value of the field by number or name. */
static int
read_value(CronCursor *c)
{
	int			value = read_number(c);

	if (value < 0 && c->field->names != NULL && c->end - c->at >= 3)
		for (int i = 0; c->field->names[i] != NULL; i++)
			if (pg_strncasecmp(c->at, c->field->names[i], 3) == 0)
			{
				c->at += 3;
				value = c->field->min + i;
				break;
			}
	if (value < 0)
		reject(c, "has something that is no value");
	if (value < c->field->min || value > c->field->max)
		reject(c, "is out of range");
	return value;
}

/*
 * One item of a list into the mask.  `any` becomes true for *.  Items about the
 * n-th or last weekday go to schedule->nth and return true.
 */
static bool
read_item(CronCursor *c, CronSchedule *schedule, uint64 *mask, bool *any)
{
	const bool	is_day = c->field == &cron_fields[DAY];
	const bool	is_weekday = c->field == &cron_fields[WEEKDAY];
	bool		star = false;
	int			count = is_weekday ? 7 : c->field->max - c->field->min + 1;
	int			from;
	int			to;
	int			step = 1;

	if ((is_day || is_weekday) && accept(c, '?'))
	{
		/* in place of a star, with nothing beside it */
		if (c->at != c->end || *mask != 0 || (is_day && schedule->last_day))
			reject(c, "has a ? that does not stand alone");
		*any = true;
		*mask = is_day ? UINT64CONST(0xFFFFFFFE) : UINT64CONST(0x7F);
		return false;
	}
	if (is_day && accept(c, 'l'))
	{
		schedule->last_day = true;
		return false;
	}
	if (is_weekday && accept(c, 'l'))
	{
		schedule->nth[read_value(c) % 7] |= 1 << 6;
		return true;
	}

	if ((star = accept(c, '*')))
	{
		from = c->field->min;
		to = is_weekday ? 6 : c->field->max;
	}
	else
	{
		from = to = read_value(c);
		if (is_weekday && accept(c, 'l'))
		{
			schedule->nth[from % 7] |= 1 << 6;
			return true;
		}
		if (is_weekday && accept(c, '#'))
		{
			int			n = read_number(c);

			if (n < 1 || n > 5)
				reject(c, "has an occurrence that is not 1 to 5");
			schedule->nth[from % 7] |= 1 << n;
			return true;
		}
		if (accept(c, '-'))
			to = read_value(c);
		else if (c->at < c->end && *c->at == '/')
			to = is_weekday ? 6 : c->field->max;
	}
	if (accept(c, '/'))
	{
		step = read_number(c);
		if (step < 1 || step > count)
			reject(c, "has a step that is not 1 to the number of its values");
	}
	if (star && step == 1)
		*any = true;

	/* A range that ends before it begins goes around: fri-mon, 22-6. */
	if (to < from)
		to += count;
	for (int value = from; value <= to; value += step)
	{
		int			folded = value > c->field->max ? value - count : value;

		*mask |= UINT64CONST(1) << (is_weekday ? folded % 7 : folded);
	}
	return false;
}

static uint64
read_field(CronCursor *c, CronSchedule *schedule, bool *any)
{
	uint64		mask = 0;
	bool		has_nth = false;
	bool		has_plain = false;

	*any = false;
	do
	{
		if (read_item(c, schedule, &mask, any))
			has_nth = true;
		else
			has_plain = true;
	} while (accept(c, ','));
	if (c->at != c->end)
		reject(c, "has something after a value");
	if (has_nth && has_plain)
		reject(c, "mixes days of every week with days of the month's weeks");
	return mask;
}

void
cron_parse(const char *expression, CronSchedule *schedule)
{
	static const char blanks[] = " \t\r\n";
	CronCursor	c = {.whole = expression};
	const char *at = expression + strspn(expression, blanks);
	uint64		masks[FIELDS];
	bool		any[FIELDS];
	int			found = 0;

	memset(schedule, 0, sizeof(*schedule));
	if (*at == '@')
	{
		size_t		length = strcspn(at, blanks);
		const char *macro = NULL;

		for (int i = 0; i < lengthof(macros); i++)
			if (strlen(macros[i].name) == length && pg_strncasecmp(at, macros[i].name, length) == 0)
				macro = macros[i].expression;
		if (macro == NULL || at[length + strspn(at + length, blanks)] != '\0')
			ereport(ERROR,
					(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					 errmsg("\"%s\" is not a schedule", expression),
					 errhint("Macros: @yearly, @annually, @monthly, @weekly, @daily, @midnight, @hourly.")));
		at = macro;
	}

	for (const char *p = at; *p != '\0'; p += strspn(p, blanks), found++)
		p += strcspn(p, blanks);
	if (found != FIELDS)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("\"%s\" is not a schedule: it has %d fields, not five", expression, found),
				 errhint("Minute, hour, day of the month, month, weekday, such as \"30 7 * * mon-fri\"; there are no seconds and no years.")));

	for (int i = 0; i < FIELDS; i++, at += strspn(at, blanks))
	{
		c.field = &cron_fields[i];
		c.at = at;
		at += strcspn(at, blanks);
		c.end = at;
		if (i <= HOUR && *c.at == '*')
			schedule->wildcard = true;
		masks[i] = read_field(&c, schedule, &any[i]);
	}
	schedule->minutes = masks[MINUTE];
	schedule->hours = masks[HOUR];
	schedule->days = masks[DAY];
	schedule->months = masks[MONTH];
	schedule->weekdays = masks[WEEKDAY] & 0x7F;
	schedule->any_day = any[DAY];
	schedule->any_weekday = any[WEEKDAY];
}
