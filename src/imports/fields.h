#ifndef SALES_IMPORTS_FIELDS_H
#define SALES_IMPORTS_FIELDS_H

#include "datatype/timestamp.h"
#include "imports/csv.h"
#include "pgtime.h"
#include "utils/uuid.h"

/* Fields that an import can fill; the order of sales_internal.import_fields(). */
typedef enum FieldId
{
	FIELD_FIRST_NAME, FIELD_LAST_NAME, FIELD_FULL_NAME, FIELD_EMAIL, FIELD_PHONE, FIELD_JOB_TITLE,
	FIELD_COMPANY_NAME, FIELD_COMPANY_SIZE, FIELD_INDUSTRY, FIELD_STREET_ADDRESS, FIELD_CITY,
	FIELD_POSTAL_CODE, FIELD_REGION, FIELD_COUNTRY, FIELD_WEBSITE, FIELD_LINKEDIN_URL, FIELD_TWITTER_URL,
	FIELD_BLOG_URL, FIELD_AMOUNT, FIELD_CURRENCY, FIELD_PAIN_POINTS, FIELD_NOTES, FIELD_CREATED_AT,
	FIELD_COUNT
} FieldId;

typedef struct FieldSpec
{
	const char *name;
	int			width;			/* most characters */
	bool		of_address;
} FieldSpec;

extern const FieldSpec fields_specs[FIELD_COUNT];

/* Which field a name means; -1 if none. */
extern int	fields_find(const char *name);

/* What one column of the file fills, or a constant fills. */
typedef struct FieldSource
{
	int			column;			/* from 0; -1 for a constant */
	FieldId		field;
	char	   *constant;
	int			nsteps;
	char	  **steps;			/* transforms, such as "lower" or "date:DD/MM/YYYY" */
} FieldSource;

/* One row, mapped and checked; strings live in the caller's context. */
typedef struct FieldRow
{
	char	   *values[FIELD_COUNT];
	TimestampTz created_at;		/* DT_NOBEGIN: not given */
	int			employees;		/* where company_size is a number; else -1 */
	const char *bad_column;
	char	   *reason;			/* null: the row is fine */
} FieldRow;

/* Throws invalid_parameter_value for a transform that there is not. */
extern void fields_check_step(const char *step);

/* Later sources fill only what earlier ones left empty. */
extern void fields_map(const CsvRow *row, const FieldSource *sources, int nsources, int columns,
					   pg_tz *zone, FieldRow *out);

/* What rows are matched by; null where there is nothing to match. */
extern char *fields_email_key(const char *email);
extern char *fields_linkedin_key(const char *url);
extern char *fields_phone_key(const char *phone);
extern char *fields_name_key(const char *first, const char *last, const char *company);

/*
 * Such a text with its company and kind in 16 bytes: what the indexes hold, so
 * that one condition finds a person of one company.  Null for null.
 */
extern pg_uuid_t *fields_key(const pg_uuid_t *company, char kind, const char *text);

#define KEY_EMAIL 'e'
#define KEY_LINKEDIN 'l'
#define KEY_PHONE 'p'
#define KEY_NAME 'n'

#endif							/* SALES_IMPORTS_FIELDS_H */
