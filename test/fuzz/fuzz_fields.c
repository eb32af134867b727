/*
 * fuzz_fields.c
 *		Records to the fields of a prospect: one line for each column, "field:steps"
 *		with commas between the steps, then an empty line, then the values by line.
 *
 * Dates are read by the server, which is not here: a stand-in takes some and
 * throws for the others, as the server does.
 */
#include "postgres.h"

#include "imports/fields.c"
#include "shim.h"

/* --- the server's dates --- */

Datum
DirectFunctionCall1Coll(PGFunction f, Oid collation, Datum a)
{
	return a;
}

Datum
DirectFunctionCall2Coll(PGFunction f, Oid collation, Datum a, Datum b)
{
	char	   *given = text_to_cstring(DatumGetTextPP(a));

	if (strlen(given) % 3 == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_DATETIME_FORMAT), errmsg("not a date")));
	return Int64GetDatum(strlen(given) * USECS_PER_DAY);
}

Datum
DirectFunctionCall3Coll(PGFunction f, Oid collation, Datum a, Datum b, Datum c)
{
	char	   *text = DatumGetCString(a);

	if (text[strlen(text) - 1] == '0')
		ereport(ERROR, (errcode(ERRCODE_DATETIME_FIELD_OVERFLOW), errmsg("not a date")));
	return Int64GetDatum(strlen(text) * USECS_PER_DAY);
}

int timestamp2tm(Timestamp t, int *tz, struct pg_tm *tm, fsec_t *fsec, const char **name, pg_tz *zone) { return 0; }
int tm2timestamp(struct pg_tm *tm, fsec_t fsec, int *tz, Timestamp *t) { *t = 0; return 0; }
int DetermineTimeZoneOffset(struct pg_tm *tm, pg_tz *zone) { return 0; }
const char *timestamptz_to_str(TimestampTz t) { return "2026-01-31 00:00:00+00"; }

static void
map_record(const char *data, size_t size)
{
	char	   *text = fuzz_string(data, size);
	char	   *next = text;
	char	   *line;
	FieldSource sources[64];
	int			n = 0;
	char	   *values[64];
	int			nvalues = 0;
	CsvRow		row = {.number = 2, .raw = text};
	FieldRow	out;
	pg_uuid_t	company = {{1}};

	memset(sources, 0, sizeof(sources));
	while ((line = strsep(&next, "\n")) != NULL && *line != '\0' && n < lengthof(sources))
	{
		char	   *steps = strchr(line, ':');
		char	   *rest = NULL;
		char	   *equals;

		if (steps != NULL)
			*steps++ = '\0';
		if ((equals = strchr(line, '=')) != NULL)
			*equals++ = '\0';
		if (fields_find(line) < 0)
			continue;
		sources[n].field = fields_find(line);
		sources[n].column = equals != NULL ? -1 : n;
		sources[n].constant = equals;
		sources[n].steps = palloc(sizeof(char *) * (steps != NULL ? strlen(steps) + 1 : 1));
		for (char *step = steps != NULL ? strtok_r(steps, ",", &rest) : NULL; step != NULL; step = strtok_r(NULL, ",", &rest))
		{
			fields_check_step(step);
			sources[n].steps[sources[n].nsteps++] = step;
		}
		n++;
	}
	while (nvalues < lengthof(values) && (line = next != NULL ? strsep(&next, "\n") : NULL) != NULL)
		values[nvalues++] = *line != '\0' ? line : NULL;
	row.fields = values;
	row.nfields = nvalues;
	fields_map(&row, sources, n, n, NULL, &out);
	if (out.reason != NULL)
		return;
	fuzz_claim(nvalues >= n);
	for (int i = 0; i < FIELD_COUNT; i++)
		if (out.values[i] != NULL)
			fuzz_claim(*out.values[i] != '\0' || i == FIELD_COMPANY_SIZE || i == FIELD_PHONE);
	if (out.values[FIELD_AMOUNT] != NULL)
		fuzz_claim(strspn(out.values[FIELD_AMOUNT], "0123456789.") == strlen(out.values[FIELD_AMOUNT]));
	if (out.values[FIELD_LINKEDIN_URL] != NULL)
		(void) fields_key(&company, KEY_LINKEDIN, fields_linkedin_key(out.values[FIELD_LINKEDIN_URL]));
	if (out.values[FIELD_PHONE] != NULL)
		(void) fields_key(&company, KEY_PHONE, fields_phone_key(out.values[FIELD_PHONE]));
	(void) fields_key(&company, KEY_NAME, fields_name_key(out.values[FIELD_FIRST_NAME], out.values[FIELD_LAST_NAME], out.values[FIELD_COMPANY_NAME]));
}

int
LLVMFuzzerTestOneInput(const uint8 *data, size_t size)
{
	if (!fuzz_run(map_record, (const char *) data, size))
		fuzz_claim(fuzz_errcode == ERRCODE_INVALID_PARAMETER_VALUE);
	return 0;
}
