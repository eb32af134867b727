/*
 * fields.c
 *		A record of a file to the fields of a prospect, checked.
 *
 * Each column goes through its transforms into a field; what cannot be a value
 * of that field is the row's reason to be rejected, and nothing is cut short to
 * fit.  Checks that hang on other rows (who is it about?) are made in SQL.
 */
#include "postgres.h"

#include <ctype.h>

#include "catalog/pg_collation.h"
#include "common/hashfn.h"
#include "core/email.h"
#include "fmgr.h"
#include "funcapi.h"
#include "imports/fields.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/formatting.h"
#include "utils/fmgrprotos.h"
#include "utils/timestamp.h"

#define PHONE_KEY_DIGITS 9		/* with or without the country's prefix */
#define PHONE_MIN_DIGITS 7

const FieldSpec fields_specs[FIELD_COUNT] = {
	{"first_name", 50, false}, {"last_name", 50, false}, {"full_name", 101, false},
	{"email", 100, false}, {"phone", 20, false}, {"job_title", 100, false},
	{"company_name", 100, false}, {"company_size", 20, false}, {"industry", 100, false},
	{"street_address", 200, true}, {"city", 100, true}, {"postal_code", 20, true},
	{"region", 100, true}, {"country", 50, true}, {"website", 200, false},
	{"linkedin_url", 200, false}, {"twitter_url", 200, false}, {"blog_url", 200, false},
	{"estimated_budget_amount", 40, false}, {"estimated_budget_currency", 3, false},
	{"pain_points", 100000, false}, {"notes", 100000, false}, {"created_at", 60, false},
};

int
fields_find(const char *name)
{
	for (int i = 0; i < FIELD_COUNT; i++)
		if (strcmp(fields_specs[i].name, name) == 0)
			return i;
	return -1;
}

/* --- text --- */

/* Length of the blank at p, of those that spreadsheets put around values; 0: none. */
static int
blank_at(const char *p)
{
	static const char *const wide[] = {"\xC2\xA0", "\xE2\x80\xAF", "\xE2\x80\x8B", "\xE3\x80\x80", "\xEF\xBB\xBF"};

	if (*p != '\0' && strchr(" \t\r\n\f\v", *p) != NULL)
		return 1;
	for (int i = 0; i < lengthof(wide); i++)
		if (strncmp(p, wide[i], strlen(wide[i])) == 0)
			return strlen(wide[i]);
	return 0;
}

/* Without blanks around it, in place; null when nothing is left. */
static char *
trim(char *text)
{
	char	   *end;
	int			n;

	while ((n = blank_at(text)) > 0)
		text += n;
	end = text + strlen(text);
	while (end > text)
	{
		char	   *last = end - 1;

		while (last > text && (*last & 0xC0) == 0x80)
			last--;
		if (blank_at(last) != end - last)
			break;
		end = last;
	}
	*end = '\0';
	return *text != '\0' ? text : NULL;
}

static bool
is_ascii_text(const char *text)
{
	for (; *text != '\0'; text++)
		if ((unsigned char) *text >= 0x80)
			return false;
	return true;
}

/* Lower case by the rules of no language in particular: for keys. */
static char *
fold(const char *text)
{
	char	   *copy;

	if (!is_ascii_text(text))
		return str_tolower(text, strlen(text), DEFAULT_COLLATION_OID);
	copy = pstrdup(text);
	for (char *p = copy; *p != '\0'; p++)
		*p = pg_ascii_tolower((unsigned char) *p);
	return copy;
}

/* Deletes what `drop` says from text, in place. */
static void
keep_only(char *text, const char *kept)
{
	char	   *out = text;

	for (; *text != '\0'; text++)
		if (strchr(kept, *text) != NULL)
			*out++ = *text;
	*out = '\0';
}

/* "+44 (0)20": not dialled from abroad. */
static void
drop_trunk_zero(char *phone)
{
	char	   *zero = strstr(phone, "(0)");

	if (zero != NULL)
		memcpy(zero, "   ", 3);
}

/* --- transforms --- */

void
fields_check_step(const char *step)
{
	static const char *const known[] = {"trim", "lower", "upper", "initcap", "decimal_comma", "digits"};

	for (int i = 0; i < lengthof(known); i++)
		if (strcmp(step, known[i]) == 0)
			return;
	if (strncmp(step, "date:", 5) == 0 && step[5] != '\0')
		return;
	ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
					errmsg("there is no transform \"%s\"", step),
					errhint("Transforms: trim, lower, upper, initcap, decimal_comma, digits, date:FORMAT such as date:DD/MM/YYYY.")));
}

/* "1.234,5" to "1234.5" */
static void
decimal_comma(char *text)
{
	char	   *out = text;

	for (; *text != '\0'; text++)
		if (*text == ',')
			*out++ = '.';
		else if (*text != '.')
			*out++ = *text;
	*out = '\0';
}

typedef Datum (*DateReader) (const char *text, const char *format);

/*
 * Runs a reader of dates that throws on what is none.  These only compute and
 * allocate, so catching their errors needs no subtransaction.
 */
static bool
read_date(DateReader reader, const char *text, const char *format, Timestamp *value)
{
	MemoryContext caller = CurrentMemoryContext;
	volatile bool ok = true;

	PG_TRY();
	{
		*value = DatumGetTimestamp(reader(text, format));
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(caller);
		if (ERRCODE_TO_CATEGORY(geterrcode()) != ERRCODE_DATA_EXCEPTION)
			PG_RE_THROW();
		FlushErrorState();
		ok = false;
	}
	PG_END_TRY();
	return ok && !TIMESTAMP_NOT_FINITE(*value);
}

/* By to_timestamp()'s format; the session's timezone goes in and out again. */
static Datum
by_format(const char *text, const char *format)
{
	Datum		tz = DirectFunctionCall2Coll(to_timestamp, DEFAULT_COLLATION_OID,
											 CStringGetTextDatum(text), CStringGetTextDatum(format));

	return DirectFunctionCall1(timestamptz_timestamp, tz);
}

static Datum
iso_local(const char *text, const char *format)
{
	return DirectFunctionCall3(timestamp_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
}

static Datum
iso_with_zone(const char *text, const char *format)
{
	return DirectFunctionCall3(timestamptz_in, CStringGetDatum(text), ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1));
}

/* Does text look like 2026-01-31, perhaps with a time and a zone after it? */
static bool
looks_iso(const char *text, bool *has_zone)
{
	static const char shape[] = "dddd-dd-dd";
	const char *p = text;

	*has_zone = false;
	for (const char *s = shape; *s != '\0'; s++, p++)
		if (*s == 'd' ? !isdigit((unsigned char) *p) : *p != *s)
			return false;
	if (*p == '\0')
		return true;
	if ((*p != ' ' && *p != 'T') || strspn(p + 1, "0123456789:.+-Z") != strlen(p + 1))
		return false;
	*has_zone = strpbrk(p + 1, "+-Z") != NULL;
	return isdigit((unsigned char) p[1]);
}

static bool
read_instant(const char *text, const char *format, pg_tz *zone, TimestampTz *value)
{
	bool		has_zone = false;
	Timestamp	local;
	struct pg_tm tm;
	fsec_t		fsec;
	int			tz;

	if (format == NULL && !looks_iso(text, &has_zone))
		return false;
	if (has_zone)
		return read_date(iso_with_zone, text, NULL, value);
	if (!read_date(format ? by_format : iso_local, text, format, &local) ||
		timestamp2tm(local, NULL, &tm, &fsec, NULL, NULL) != 0)
		return false;
	tz = DetermineTimeZoneOffset(&tm, zone);
	return tm2timestamp(&tm, fsec, &tz, value) == 0;
}

/* --- amounts --- */

/* Groups of three digits with `separator` between, then the end or `decimal`? */
static bool
is_grouped(const char *text, char separator, char decimal)
{
	int			lead = strspn(text, "0123456789");
	const char *p = text + lead;

	if (lead < 1 || lead > 3 || *p != separator)
		return false;
	while (*p == separator)
	{
		if (strspn(p + 1, "0123456789") != 3)
			return false;
		p += 4;
	}
	return *p == '\0' || (*p == decimal && strspn(p + 1, "0123456789") == strlen(p + 1) && p[1] != '\0');
}

/*
 * An amount in English or continental notation as digits with a point; null
 * where it is none.  A currency that stands beside it goes to *currency.
 */
static char *
read_amount(const char *text, const char **currency)
{
	static const struct
	{
		const char *sign;
		const char *code;
	}			signs[] = {{"\xE2\x82\xAC", "EUR"}, {"\xC2\xA3", "GBP"}, {"$", NULL}, {"EUR", "EUR"}, {"USD", "USD"}, {"GBP", "GBP"}, {"CHF", "CHF"}};
	char	   *digits = palloc(strlen(text) + 1);
	char	   *out = digits;
	char	   *point;

	*currency = NULL;
	while (*text != '\0')
	{
		int			skip = blank_at(text);

		/* as thousands: 1'234 */
		if (*text == '\'')
			skip = 1;
		for (int i = 0; i < lengthof(signs) && skip == 0; i++)
			if (strncmp(text, signs[i].sign, strlen(signs[i].sign)) == 0)
			{
				skip = strlen(signs[i].sign);
				*currency = signs[i].code;
			}
		if (skip == 0)
			*out++ = *text++;
		text += skip;
	}
	*out = '\0';

	point = strchr(digits, ',');
	if (is_grouped(digits, '.', ',') ||
		(point != NULL && strchr(digits, '.') == NULL && strlen(point + 1) <= 2 && point[1] != '\0'))
		decimal_comma(digits);
	else if (is_grouped(digits, ',', '.'))
		keep_only(digits, "0123456789.");
	point = strchr(digits, '.');
	if (digits[0] == '\0' || point == digits || strspn(digits, "0123456789.") != strlen(digits) ||
		(point != NULL && (strchr(point + 1, '.') != NULL || point[1] == '\0')))
		return NULL;
	return digits;
}

/* --- a row --- */

static void
complain(FieldRow *out, FieldId field, char *reason)
{
	if (out->reason != NULL)
		return;
	out->bad_column = fields_specs[field].name;
	out->reason = reason;
}

/* Applies a column's transforms and puts the value where nothing stands yet. */
static void
take_value(char *value, const FieldSource *from, pg_tz *zone, FieldRow *out)
{
	const char *format = NULL;

	for (int i = 0; i < from->nsteps && value != NULL; i++)
	{
		const char *step = from->steps[i];

		if (strcmp(step, "lower") == 0)
			value = str_tolower(value, strlen(value), DEFAULT_COLLATION_OID);
		else if (strcmp(step, "upper") == 0)
			value = str_toupper(value, strlen(value), DEFAULT_COLLATION_OID);
		else if (strcmp(step, "initcap") == 0)
			value = str_initcap(value, strlen(value), DEFAULT_COLLATION_OID);
		else if (strcmp(step, "decimal_comma") == 0)
			decimal_comma(value);
		else if (strcmp(step, "digits") == 0)
			keep_only(value, "0123456789+");
		else if (strncmp(step, "date:", 5) == 0)
			format = step + 5;
		value = trim(value);
	}
	if (value == NULL)
		return;
	if (format != NULL)
	{
		TimestampTz at;

		if (!read_instant(value, format, zone, &at))
			complain(out, from->field, psprintf("not a date in the format %s", format));
		else if (from->field == FIELD_CREATED_AT)
			out->created_at = at;
		else
			value = pnstrdup(timestamptz_to_str(at), 10);
	}
	else if (from->field == FIELD_CREATED_AT && !read_instant(value, NULL, zone, &out->created_at))
		complain(out, FIELD_CREATED_AT, "not a date such as 2026-01-31; a mapping can name its format, such as date:DD/MM/YYYY");
	out->values[from->field] = value;
}

/* "Ada Lovelace" or "Lovelace, Ada" where only a full name is given. */
static void
split_name(FieldRow *out)
{
	char	   *full = out->values[FIELD_FULL_NAME];
	char	   *comma;
	char	   *space;

	if (full == NULL || out->values[FIELD_FIRST_NAME] != NULL || out->values[FIELD_LAST_NAME] != NULL)
		return;
	full = pstrdup(full);
	comma = strchr(full, ',');
	space = strchr(full, ' ');
	if (comma != NULL)
	{
		*comma = '\0';
		out->values[FIELD_LAST_NAME] = trim(full);
		out->values[FIELD_FIRST_NAME] = trim(comma + 1);
		return;
	}
	if (space != NULL)
	{
		*space = '\0';
		out->values[FIELD_LAST_NAME] = trim(space + 1);
	}
	out->values[FIELD_FIRST_NAME] = trim(full);
}

static void
check_values(FieldRow *out)
{
	const char *why;
	char	  **v = out->values;

	/* A number that is too long loses what is there for the eye. */
	if (v[FIELD_PHONE] != NULL && pg_mbstrlen(v[FIELD_PHONE]) > fields_specs[FIELD_PHONE].width)
	{
		drop_trunk_zero(v[FIELD_PHONE]);
		keep_only(v[FIELD_PHONE], "+0123456789x");
	}
	for (int i = 0; i < FIELD_COUNT; i++)
		if (v[i] != NULL && strlen(v[i]) > fields_specs[i].width &&
			pg_mbstrlen(v[i]) > fields_specs[i].width)
			complain(out, i, psprintf("longer than %d characters", fields_specs[i].width));
	if (v[FIELD_EMAIL] != NULL && !email_is_valid(v[FIELD_EMAIL], strlen(v[FIELD_EMAIL]), &why))
		complain(out, FIELD_EMAIL, pstrdup(why));
	if (v[FIELD_AMOUNT] != NULL)
	{
		const char *currency;
		char	   *amount = read_amount(v[FIELD_AMOUNT], &currency);

		if (amount == NULL)
			complain(out, FIELD_AMOUNT, "not an amount");
		else if (strcspn(amount, ".") > 8)
			complain(out, FIELD_AMOUNT, "larger than 99999999.99");
		v[FIELD_AMOUNT] = amount;
		if (currency != NULL && v[FIELD_CURRENCY] == NULL)
			v[FIELD_CURRENCY] = pstrdup(currency);
	}
	if (v[FIELD_COMPANY_SIZE] != NULL)
	{
		/* "1,234" is a number, "11 - 50" a range as it is written here */
		char	   *size = v[FIELD_COMPANY_SIZE];

		keep_only(size, "0123456789-+");
		if (strspn(size, "0123456789") == strlen(size) && size[0] != '\0' && strlen(size) <= 9)
			out->employees = atoi(size);
	}
	if (v[FIELD_CURRENCY] != NULL)
	{
		for (char *p = v[FIELD_CURRENCY]; *p != '\0'; p++)
			*p = pg_ascii_toupper((unsigned char) *p);
		if (strspn(v[FIELD_CURRENCY], "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != 3 || strlen(v[FIELD_CURRENCY]) != 3)
			complain(out, FIELD_CURRENCY, "not a currency code");
	}
	if (out->reason != NULL || v[FIELD_EMAIL] != NULL || v[FIELD_LINKEDIN_URL] != NULL ||
		v[FIELD_FIRST_NAME] != NULL || v[FIELD_LAST_NAME] != NULL)
		return;
	if (v[FIELD_PHONE] == NULL)
		out->reason = "it names nobody: e-mail, LinkedIn, phone and name are all empty";
	else if (fields_phone_key(v[FIELD_PHONE]) == NULL)
		complain(out, FIELD_PHONE, "it names nobody: only a phone number that tells nobody apart");
}

void
fields_map(const CsvRow *row, const FieldSource *sources, int nsources, int columns, pg_tz *zone, FieldRow *out)
{
	memset(out, 0, sizeof(*out));
	out->created_at = DT_NOBEGIN;
	out->employees = -1;
	if (row->problem != NULL)
	{
		out->reason = pstrdup(row->problem);
		return;
	}
	/* Delimiters at the end of a row are no fields. */
	for (int i = columns; i < row->nfields; i++)
		if (row->fields[i] != NULL)
			out->reason = psprintf("the row has %d fields, the header %d", row->nfields, columns);
	if (row->nfields < columns)
		out->reason = psprintf("the row has %d fields, the header %d", row->nfields, columns);
	if (out->reason != NULL)
		return;
	for (int i = 0; i < nsources; i++)
	{
		const char *value = sources[i].column < 0 ? sources[i].constant : row->fields[sources[i].column];

		if (value != NULL && out->values[sources[i].field] == NULL)
			take_value(trim(pstrdup(value)), &sources[i], zone, out);
	}
	split_name(out);
	check_values(out);
}

/* --- keys --- */

char *
fields_linkedin_key(const char *url)
{
	char	   *key = fold(url);
	char	   *host = strstr(key, "linkedin.com/");

	if (host != NULL)
		key = host + strlen("linkedin.com/");
	key[strcspn(key, "?#")] = '\0';
	for (int n = strlen(key); n > 0 && key[n - 1] == '/'; n--)
		key[n - 1] = '\0';
	return *key != '\0' ? key : NULL;
}

char *
fields_phone_key(const char *phone)
{
	char	   *key = pstrdup(phone);
	int			n;

	drop_trunk_zero(key);
	key[strcspn(key, "xX")] = '\0'; /* an extension */
	keep_only(key, "0123456789");
	n = strlen(key);
	/* too short, or 0000000000 as forms are filled in */
	if (n < PHONE_MIN_DIGITS || strspn(key + n - PHONE_MIN_DIGITS, (char[]) {key[n - 1], '\0'}) == PHONE_MIN_DIGITS)
		return NULL;
	return n > PHONE_KEY_DIGITS ? key + n - PHONE_KEY_DIGITS : key;
}

char *
fields_name_key(const char *first, const char *last, const char *company)
{
	if (first == NULL && last == NULL)
		return NULL;
	return fold(psprintf("%s|%s|%s", first ? first : "", last ? last : "", company ? company : ""));
}

char *
fields_email_key(const char *email)
{
	return str_tolower(email, strlen(email), DEFAULT_COLLATION_OID);
}

pg_uuid_t *
fields_key(const pg_uuid_t *company, char kind, const char *text)
{
	pg_uuid_t  *key;
	int			length;
	unsigned char *bytes;

	if (text == NULL)
		return NULL;
	length = strlen(text);
	bytes = palloc(UUID_LEN + 1 + length);
	memcpy(bytes, company->data, UUID_LEN);
	bytes[UUID_LEN] = kind;
	memcpy(bytes + UUID_LEN + 1, text, length);
	key = palloc(sizeof(pg_uuid_t));
	for (int half = 0; half < 2; half++)
	{
		uint64		hash = hash_bytes_extended(bytes, UUID_LEN + 1 + length, half + 1);

		memcpy(key->data + half * 8, &hash, 8);
	}
	pfree(bytes);
	return key;
}

PG_FUNCTION_INFO_V1(sales_email_key);
PG_FUNCTION_INFO_V1(sales_linkedin_key);
PG_FUNCTION_INFO_V1(sales_phone_key);
PG_FUNCTION_INFO_V1(sales_name_key);
PG_FUNCTION_INFO_V1(sales_import_fields);

static Datum
key_or_null(FunctionCallInfo fcinfo, char kind, const char *text)
{
	pg_uuid_t  *key = fields_key(PG_GETARG_UUID_P(0), kind, text);

	if (key == NULL)
		PG_RETURN_NULL();
	PG_RETURN_UUID_P(key);
}

/* sales_internal.email_key(company uuid, email text) → uuid */
Datum
sales_email_key(PG_FUNCTION_ARGS)
{
	return key_or_null(fcinfo, KEY_EMAIL, fields_email_key(text_to_cstring(PG_GETARG_TEXT_PP(1))));
}

/* sales_internal.linkedin_key(company uuid, url text) → uuid */
Datum
sales_linkedin_key(PG_FUNCTION_ARGS)
{
	return key_or_null(fcinfo, KEY_LINKEDIN, fields_linkedin_key(text_to_cstring(PG_GETARG_TEXT_PP(1))));
}

/* sales_internal.phone_key(company uuid, phone text) → uuid */
Datum
sales_phone_key(PG_FUNCTION_ARGS)
{
	return key_or_null(fcinfo, KEY_PHONE, fields_phone_key(text_to_cstring(PG_GETARG_TEXT_PP(1))));
}

/* sales_internal.name_key(company uuid, first text, last text, company_name text) → uuid */
Datum
sales_name_key(PG_FUNCTION_ARGS)
{
	char	   *parts[3];

	if (PG_ARGISNULL(0))
		PG_RETURN_NULL();
	for (int i = 0; i < 3; i++)
		parts[i] = PG_ARGISNULL(i + 1) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(i + 1));
	return key_or_null(fcinfo, KEY_NAME, fields_name_key(parts[0], parts[1], parts[2]));
}

/* sales_internal.import_fields() → setof (field text, width integer, of_address boolean) */
Datum
sales_import_fields(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;

	InitMaterializedSRF(fcinfo, 0);
	for (int i = 0; i < FIELD_COUNT; i++)
	{
		Datum		values[3] = {CStringGetTextDatum(fields_specs[i].name),
			Int32GetDatum(fields_specs[i].width), BoolGetDatum(fields_specs[i].of_address)};
		bool		nulls[3] = {false, false, false};

		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
