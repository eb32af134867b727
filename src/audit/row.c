/*
 * row.c
 *		What an audit row says of a changed row: two flat JSON objects.
 *
 * The objects are written in jsonb's stored form at once.  Their keys are
 * column names, so the order in which jsonb wants them is found once for each
 * table and kept; the general builder would sort them for every row, and would
 * take every value through a tree of its own first.  The result is to the byte
 * what the general builder makes (test/sql/audit_values compares), since the
 * digest covers the stored form and must fit after a dump and restore.
 *
 * Values are those of to_jsonb(row), but not the session's: timestamps are in
 * UTC, dates in ISO form, floats at full precision, whatever its settings are.
 *
 * The cache is by table, not by trigger: a partition has an entry of its own,
 * as its columns may stand in another order than its parent's.
 */
#include "postgres.h"

#include <math.h>

#include "access/htup_details.h"
#include "access/toast_internals.h"
#include "audit/row.h"
#include "catalog/pg_type.h"
#include "common/shortest_dec.h"
#include "compat.h"
#include "executor/spi.h"
#include "fmgr.h"
#include "lib/stringinfo.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/fmgroids.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/json.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/numeric.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

typedef enum ValueKind
{
	VALUE_BOOL,
	VALUE_INT2,
	VALUE_INT4,
	VALUE_INT8,
	VALUE_FLOAT4,
	VALUE_FLOAT8,
	VALUE_NUMERIC,
	VALUE_STRING,				/* text and what is stored like it */
	VALUE_UUID,
	VALUE_TIMESTAMPTZ,
	VALUE_DATETIME,				/* other dates and times, by JsonEncodeDateTime() */
	VALUE_ENUM,
	VALUE_JSONB,
	VALUE_BY_JSON,				/* json, arrays and composites: through JSON text */
	VALUE_BY_OUTPUT				/* anything else: its text, a JSON string */
} ValueKind;

struct AuditColumn
{
	AttrNumber	number;
	NameData	name;
	uint8		length;			/* of the name */
	bool		hidden;			/* a change leaves a row, the value does not */
	bool		is_updated_at;
	bool		byval;
	int16		typlen;
	Oid			type;			/* base type of a domain */
	ValueKind	kind;
	FmgrInfo	convert;		/* output function, or one to JSON text */
};

static HTAB *tables = NULL;

/* --- the cache --- */

static void
on_relcache_change(Datum arg, Oid relid)
{
	HASH_SEQ_STATUS status;
	AuditTable *table;

	if (tables == NULL)
		return;
	if (OidIsValid(relid))
	{
		table = hash_search(tables, &relid, HASH_FIND, NULL);
		if (table != NULL)
			table->valid = false;
		return;
	}
	hash_seq_init(&status, tables);
	while ((table = hash_seq_search(&status)) != NULL)
		table->valid = false;
}

void
audit_row_init(void)
{
	HASHCTL		info = {.keysize = sizeof(Oid), .entrysize = sizeof(AuditTable)};

	tables = hash_create("audited tables", 64, &info, HASH_ELEM | HASH_BLOBS);
	CacheRegisterRelcacheCallback(on_relcache_change, (Datum) 0);
}

/* Is the column in a list separated by commas? */
static bool
is_listed(const char *list, const char *column)
{
	size_t		length = strlen(column);

	for (const char *p = list; (p = strstr(p, column)) != NULL; p += length)
		if ((p == list || p[-1] == ',') && (p[length] == ',' || p[length] == '\0'))
			return true;
	return false;
}

static void
column_find_kind(AuditColumn *column)
{
	Oid			function = InvalidOid;
	bool		is_varlena;

	switch (column->type)
	{
		case BOOLOID:
			column->kind = VALUE_BOOL;
			return;
		case INT2OID:
			column->kind = VALUE_INT2;
			return;
		case INT4OID:
			column->kind = VALUE_INT4;
			return;
		case INT8OID:
			column->kind = VALUE_INT8;
			return;
		case FLOAT4OID:
			column->kind = VALUE_FLOAT4;
			return;
		case FLOAT8OID:
			column->kind = VALUE_FLOAT8;
			return;
		case NUMERICOID:
			column->kind = VALUE_NUMERIC;
			return;
		case TEXTOID:
		case VARCHAROID:
		case BPCHAROID:
			column->kind = VALUE_STRING;
			return;
		case UUIDOID:
			column->kind = VALUE_UUID;
			return;
		case TIMESTAMPTZOID:
			column->kind = VALUE_TIMESTAMPTZ;
			return;
		case DATEOID:
		case TIMEOID:
		case TIMETZOID:
		case TIMESTAMPOID:
			column->kind = VALUE_DATETIME;
			return;
		case JSONBOID:
			column->kind = VALUE_JSONB;
			return;
		default:
			break;
	}

	if (type_is_array(column->type))
		function = F_ARRAY_TO_JSON_ANYARRAY;
	else if (type_is_rowtype(column->type))
		function = F_ROW_TO_JSON_RECORD;
	else if (column->type == JSONOID)
		function = F_JSON_OUT;
	column->kind = OidIsValid(function) ? VALUE_BY_JSON : VALUE_BY_OUTPUT;
	if (!OidIsValid(function))
	{
		getTypeOutputInfo(column->type, &function, &is_varlena);
		if (type_is_enum(column->type))
			column->kind = VALUE_ENUM;
	}
	fmgr_info_cxt(function, &column->convert, CurrentMemoryContext);
}

/* The order of keys in jsonb: shorter first, then bytewise. */
static int
compare_columns(const void *a, const void *b)
{
	const AuditColumn *left = a;
	const AuditColumn *right = b;

	if (left->length != right->length)
		return left->length < right->length ? -1 : 1;
	return memcmp(NameStr(left->name), NameStr(right->name), left->length);
}

static AttrNumber
column_number(TupleDesc desc, const char *name)
{
	int			number = SPI_fnumber(desc, name);

	return number > 0 ? number : 0;
}

static void
table_fill(AuditTable *table, Relation relation, char **args)
{
	TupleDesc	desc = RelationGetDescr(relation);
	MemoryContext context = AllocSetContextCreate(CacheMemoryContext, "audited table",
												  ALLOCSET_SMALL_SIZES);
	MemoryContext old = MemoryContextSwitchTo(context);
	AuditColumn *column;

	if (table->context != NULL)
		MemoryContextDelete(table->context);
	table->context = context;
	table->name = pstrdup(args[0]);
	table->natts = desc->natts;
	table->company = column_number(desc, "company_id");
	table->key = column_number(desc, args[1]);
	table->deleted_at = column_number(desc, "deleted_at");
	if (table->company == 0 || table->key == 0)
		elog(ERROR, "audited table \"%s\" has no column company_id or \"%s\"",
			 RelationGetRelationName(relation), args[1]);

	table->columns = palloc0(desc->natts * sizeof(AuditColumn));
	table->ncolumns = 0;
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);

		/* A virtual generated column (PG 18) is not stored, and says nothing new. */
		if (attribute->attisdropped || (attribute->attgenerated != '\0' &&
										attribute->attgenerated != ATTRIBUTE_GENERATED_STORED))
			continue;
		column = &table->columns[table->ncolumns++];
		column->number = attribute->attnum;
		namestrcpy(&column->name, NameStr(attribute->attname));
		column->length = strlen(NameStr(attribute->attname));
		column->hidden = is_listed(args[2], NameStr(attribute->attname));
		column->is_updated_at = strcmp(NameStr(attribute->attname), "updated_at") == 0;
		column->byval = attribute->attbyval;
		column->typlen = attribute->attlen;
		column->type = getBaseType(attribute->atttypid);
		column_find_kind(column);
	}
	qsort(table->columns, table->ncolumns, sizeof(AuditColumn), compare_columns);
	MemoryContextSwitchTo(old);
}

const AuditTable *
audit_table(Relation relation, char **args)
{
	Oid			relid = RelationGetRelid(relation);
	bool		found;
	AuditTable *table = hash_search(tables, &relid, HASH_ENTER, &found);

	if (!found)
	{
		table->valid = false;
		table->context = NULL;
	}
	if (!table->valid)
	{
		/* First, so that a change met while the entry is filled clears it again. */
		table->valid = true;
		PG_TRY();
		{
			table_fill(table, relation, args);
		}
		PG_CATCH();
		{
			table->valid = false;
			PG_RE_THROW();
		}
		PG_END_TRY();
	}
	return table;
}

bool
audit_table_same_columns(const AuditTable *a, const AuditTable *b)
{
	if (a->ncolumns != b->ncolumns || a->natts != b->natts || strcmp(a->name, b->name) != 0)
		return false;
	for (int i = 0; i < a->ncolumns; i++)
		if (a->columns[i].number != b->columns[i].number ||
			a->columns[i].type != b->columns[i].type ||
			compare_columns(&a->columns[i], &b->columns[i]) != 0)
			return false;
	return true;
}

/* --- values --- */

/* Bytes up to the next multiple of four, which numbers and containers need. */
static void
pad_to_int(StringInfo out)
{
	while (out->len % sizeof(int32) != 0)
		appendStringInfoCharMacro(out, '\0');
}

static uint32
put_numeric(StringInfo out, Datum datum)
{
	struct varlena *value = PG_DETOAST_DATUM_PACKED(datum);
	int			size = VARSIZE_ANY_EXHDR(value);
	int			start = out->len;
	int			at;
	Numeric		number;
	varattrib_4b header;

	pad_to_int(out);
	at = out->len;
	SET_VARSIZE(&header, size + VARHDRSZ);
	appendBinaryStringInfo(out, (char *) &header, VARHDRSZ);
	appendBinaryStringInfo(out, VARDATA_ANY(value), size);
	number = (Numeric) (out->data + at);
	if (numeric_is_nan(number) || numeric_is_inf(number))
	{
		/* no JSON number: the string that to_jsonb() makes, and strings are not padded */
		char	   *text = DatumGetCString(DirectFunctionCall1(numeric_out,
															   PointerGetDatum(number)));

		out->len = start;
		appendStringInfoString(out, text);
		return JENTRY_ISSTRING;
	}
	return JENTRY_ISNUMERIC;
}

static uint32
put_float(StringInfo out, double value, bool is_single)
{
	char		text[Max(DOUBLE_SHORTEST_DECIMAL_LEN, FLOAT_SHORTEST_DECIMAL_LEN)];

	if (isnan(value) || isinf(value))
	{
		appendStringInfoString(out, isnan(value) ? "NaN" : value > 0 ? "Infinity" : "-Infinity");
		return JENTRY_ISSTRING;
	}
	if (is_single)
		float_to_shortest_decimal_buf((float) value, text);
	else
		double_to_shortest_decimal_buf(value, text);
	return put_numeric(out, DirectFunctionCall3(numeric_in, CStringGetDatum(text),
												ObjectIdGetDatum(InvalidOid),
												Int32GetDatum(-1)));
}

static void
put_uuid(StringInfo out, const pg_uuid_t *uuid)
{
	static const char digits[] = "0123456789abcdef";
	char		text[36];
	char	   *p = text;

	for (int i = 0; i < UUID_LEN; i++)
	{
		if (i == 4 || i == 6 || i == 8 || i == 10)
			*p++ = '-';
		*p++ = digits[uuid->data[i] >> 4];
		*p++ = digits[uuid->data[i] & 0x0F];
	}
	appendBinaryStringInfo(out, text, sizeof(text));
}

/* ISO 8601 in UTC, as "2026-01-31T12:00:00.5+00:00". */
static void
put_timestamptz(StringInfo out, TimestampTz value)
{
	char		text[MAXDATELEN + 1];
	struct pg_tm tm;
	fsec_t		fsec;

	if (TIMESTAMP_NOT_FINITE(value))
		EncodeSpecialTimestamp(value, text);
	else
	{
		if (timestamp2tm(value, NULL, &tm, &fsec, NULL, NULL) != 0)
			ereport(ERROR, (errcode(ERRCODE_DATETIME_VALUE_OUT_OF_RANGE),
							errmsg("timestamp out of range")));
		tm.tm_isdst = 0;
		EncodeDateTime(&tm, fsec, true, 0, NULL, USE_XSD_DATES, text);
	}
	appendStringInfoString(out, text);
}

/* A stored object or array as it is; a stored scalar as that scalar. */
static uint32
put_jsonb(StringInfo out, Jsonb *json)
{
	JsonbValue	scalar;

	if (!JB_ROOT_IS_SCALAR(json))
	{
		pad_to_int(out);
		appendBinaryStringInfo(out, (char *) &json->root, VARSIZE(json) - VARHDRSZ);
		return JENTRY_ISCONTAINER;
	}
	(void) JsonbExtractScalar(&json->root, &scalar);
	switch (scalar.type)
	{
		case jbvNull:
			return JENTRY_ISNULL;
		case jbvBool:
			return scalar.val.boolean ? JENTRY_ISBOOL_TRUE : JENTRY_ISBOOL_FALSE;
		case jbvNumeric:
			return put_numeric(out, NumericGetDatum(scalar.val.numeric));
		default:
			appendBinaryStringInfo(out, scalar.val.string.val, scalar.val.string.len);
			return JENTRY_ISSTRING;
	}
}

/*
 * Types without a case of their own.  What their text looks like can depend on
 * settings of the session; those are set to fixed values meanwhile.
 */
static uint32
put_by_function(StringInfo out, AuditColumn *column, Datum datum)
{
	static const char *const settings[][2] = {
		{"DateStyle", "ISO, YMD"}, {"IntervalStyle", "postgres"}, {"TimeZone", "UTC"},
		{"extra_float_digits", "1"}, {"bytea_output", "hex"}
	};
	int			nest = NewGUCNestLevel();
	uint32		entry;

	for (int i = 0; i < (int) lengthof(settings); i++)
		(void) set_config_option(settings[i][0], settings[i][1], PGC_USERSET, PGC_S_SESSION,
								 GUC_ACTION_SAVE, true, 0, false);
	if (column->kind == VALUE_BY_OUTPUT)
	{
		appendStringInfoString(out, OutputFunctionCall(&column->convert, datum));
		entry = JENTRY_ISSTRING;
	}
	else
	{
		char	   *json = column->type == JSONOID
			? OutputFunctionCall(&column->convert, datum)
			: text_to_cstring(DatumGetTextPP(FunctionCall1(&column->convert, datum)));

		/* jsonb cannot hold this character; json text can */
		if (strstr(json, "\\u0000") != NULL)
		{
			appendStringInfoString(out, json);
			entry = JENTRY_ISSTRING;
		}
		else
			entry = put_jsonb(out, DatumGetJsonbP(DirectFunctionCall1(jsonb_in,
																	  CStringGetDatum(json))));
	}
	AtEOXact_GUC(true, nest);
	return entry;
}

/* Appends a value; returns the type bits of its JEntry. */
static uint32
put_value(StringInfo out, AuditColumn *column, Datum datum)
{
	char		text[MAXDATELEN + 1];
	struct varlena *string;

	switch (column->kind)
	{
		case VALUE_BOOL:
			return DatumGetBool(datum) ? JENTRY_ISBOOL_TRUE : JENTRY_ISBOOL_FALSE;
		case VALUE_INT2:
			return put_numeric(out, NumericGetDatum(int64_to_numeric(DatumGetInt16(datum))));
		case VALUE_INT4:
			return put_numeric(out, NumericGetDatum(int64_to_numeric(DatumGetInt32(datum))));
		case VALUE_INT8:
			return put_numeric(out, NumericGetDatum(int64_to_numeric(DatumGetInt64(datum))));
		case VALUE_FLOAT4:
			return put_float(out, DatumGetFloat4(datum), true);
		case VALUE_FLOAT8:
			return put_float(out, DatumGetFloat8(datum), false);
		case VALUE_NUMERIC:
			return put_numeric(out, datum);
		case VALUE_STRING:
			string = PG_DETOAST_DATUM_PACKED(datum);
			appendBinaryStringInfo(out, VARDATA_ANY(string), VARSIZE_ANY_EXHDR(string));
			return JENTRY_ISSTRING;
		case VALUE_UUID:
			put_uuid(out, DatumGetUUIDP(datum));
			return JENTRY_ISSTRING;
		case VALUE_TIMESTAMPTZ:
			put_timestamptz(out, DatumGetTimestampTz(datum));
			return JENTRY_ISSTRING;
		case VALUE_DATETIME:
			appendStringInfoString(out, JsonEncodeDateTime(text, datum, column->type, NULL));
			return JENTRY_ISSTRING;
		case VALUE_ENUM:
			appendStringInfoString(out, OutputFunctionCall(&column->convert, datum));
			return JENTRY_ISSTRING;
		case VALUE_JSONB:
			return put_jsonb(out, DatumGetJsonbP(datum));
		default:
			return put_by_function(out, column, datum);
	}
}

/*
 * Notes in its JEntry where item `i`, which began at `start`, ended.  `base` is
 * where the items began.  Every so many entries hold an end, the others a length.
 */
static void
put_entry(StringInfo out, int i, int base, int start, uint32 type)
{
	uint32		end = out->len - base;
	JEntry		entry;

	if (end > JENTRY_OFFLENMASK)
		ereport(ERROR, (errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
						errmsg("row is too large to be audited"),
						errdetail("The values of one row can take %u bytes.", JENTRY_OFFLENMASK),
						errhint("Store what is that large elsewhere, and refer to it.")));
	entry = type | (i % JB_OFFSET_STRIDE == 0 ? end | JENTRY_HAS_OFF : (uint32) (out->len - start));
	memcpy(out->data + VARHDRSZ + sizeof(uint32) + i * sizeof(JEntry), &entry, sizeof(JEntry));
}

/* The chosen columns of a row as an object. */
static Jsonb *
put_object(const AuditTable *table, const int *chosen, int n, TupleTableSlot *slot,
		   MemoryContext result)
{
	StringInfoData out;
	uint32		header = n | JB_FOBJECT;
	int			base = VARHDRSZ + sizeof(uint32) + 2 * n * sizeof(JEntry);
	MemoryContext garbage = MemoryContextSwitchTo(result);

	initStringInfo(&out);
	enlargeStringInfo(&out, base + n * 32);
	MemoryContextSwitchTo(garbage);
	memcpy(out.data + VARHDRSZ, &header, sizeof(header));
	out.len = base;
	for (int i = 0; i < n; i++)
	{
		AuditColumn *column = &table->columns[chosen[i]];
		int			start = out.len;

		appendBinaryStringInfo(&out, NameStr(column->name), column->length);
		put_entry(&out, i, base, start, JENTRY_ISSTRING);
	}
	for (int i = 0; i < n; i++)
	{
		AuditColumn *column = &table->columns[chosen[i]];
		int			start = out.len;
		uint32		type = JENTRY_ISNULL;

		if (!slot->tts_isnull[column->number - 1])
			type = put_value(&out, column, slot->tts_values[column->number - 1]);
		put_entry(&out, n + i, base, start, type);
	}
	SET_VARSIZE(out.data, out.len);
	return (Jsonb *) out.data;
}

/* A value that went through an update untouched keeps its place in TOAST. */
static bool
is_same_toast(Datum a, Datum b)
{
	return VARATT_IS_EXTERNAL_ONDISK(a) && VARATT_IS_EXTERNAL_ONDISK(b) &&
		memcmp(DatumGetPointer(a), DatumGetPointer(b), VARSIZE_EXTERNAL(DatumGetPointer(a))) == 0;
}

static bool
is_changed(const AuditColumn *column, TupleTableSlot *before, TupleTableSlot *after)
{
	int			i = column->number - 1;
	Datum		a = before->tts_values[i];
	Datum		b = after->tts_values[i];

	if (before->tts_isnull[i] || after->tts_isnull[i])
		return before->tts_isnull[i] != after->tts_isnull[i];
	if (column->byval)
		return a != b;
	if (column->typlen == -1 && is_same_toast(a, b))
		return false;
	return !datum_image_eq(a, b, false, column->typlen);
}

bool
audit_row_values(const AuditTable *table, TupleTableSlot *before, TupleTableSlot *after,
				 MemoryContext result, Jsonb **old_values, Jsonb **new_values)
{
	int		   *chosen = palloc(table->ncolumns * sizeof(int));
	int			n = 0;
	bool		counts = false;

	if (before != NULL)
		slot_getallattrs(before);
	if (after != NULL)
		slot_getallattrs(after);
	for (int i = 0; i < table->ncolumns; i++)
	{
		const AuditColumn *column = &table->columns[i];

		if (before != NULL && after != NULL && !is_changed(column, before, after))
			continue;
		counts |= !column->is_updated_at;
		if (!column->hidden)
			chosen[n++] = i;
	}
	if (!counts)
		return false;
	*old_values = before != NULL ? put_object(table, chosen, n, before, result) : NULL;
	*new_values = after != NULL ? put_object(table, chosen, n, after, result) : NULL;
	return true;
}
