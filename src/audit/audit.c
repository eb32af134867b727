/*
 * audit.c
 *		The audit trigger: one row of sales.audit_logs for each changed row.
 *
 * A row trigger, since PostgreSQL clones those to partitions: a write that
 * goes to a partition directly is on record too.  The two JSON values are
 * built straight from the tuples; an update keeps only the columns that
 * changed, and one that changed nothing but updated_at leaves no row.  Columns
 * named as hidden (password hashes, keys) never get into a value: a change of
 * one leaves a row without it.  The row goes in by a plan that is prepared once
 * a session.
 *
 * Who did it comes from the tenant context, if the context is the row's
 * company; else it was the system and user_id is null.
 *
 * audit_logs is append-only: its own trigger refuses UPDATE, DELETE and
 * TRUNCATE by anyone, except while audit_open_door() is in effect, which only
 * the functions that erase a person or remove a company call.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/xact.h"
#include "audit/audit.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "core/clock.h"
#include "core/spi.h"
#include "core/uuid.h"
#include "fmgr.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "tenancy/context.h"
#include "utils/builtins.h"
#include "utils/datetime.h"
#include "utils/datum.h"
#include "utils/guc.h"
#include "utils/json.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(sales_audit);
PG_FUNCTION_INFO_V1(sales_audit_append_only);
PG_FUNCTION_INFO_V1(sales_audit_open_door);
PG_FUNCTION_INFO_V1(sales_audit_close_door);

#define AUDIT_BASIS_LENGTH 50

static char *guc_gdpr_basis = NULL;

/* Set by audit_open_door() until audit_close_door() or the transaction's end. */
static bool door_open = false;

static void
door_close(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		door_open = false;
}

/* An error that is caught closes the door too. */
static void
door_close_sub(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		door_open = false;
}

static bool
basis_check_hook(char **newval, void **extra, GucSource source)
{
	if (strlen(*newval) <= AUDIT_BASIS_LENGTH)
		return true;
	GUC_check_errdetail("A legal basis has at most %d bytes.", AUDIT_BASIS_LENGTH);
	return false;
}

void
audit_init(void)
{
	DefineCustomStringVariable("sales_assistant.gdpr_basis",
							   "Legal basis under the GDPR that audit rows note.",
							   "Such as consent, contract or legitimate_interest.",
							   &guc_gdpr_basis, "legitimate_interest", PGC_USERSET, 0,
							   basis_check_hook, NULL, NULL);
	RegisterXactCallback(door_close, NULL);
	RegisterSubXactCallback(door_close_sub, NULL);
}

/* --- JSON of a row --- */

static bool
is_hidden(const char *hidden, const char *column)
{
	size_t		length = strlen(column);

	for (const char *p = hidden; (p = strstr(p, column)) != NULL; p += length)
		if ((p == hidden || p[-1] == ',') && (p[length] == ',' || p[length] == '\0'))
			return true;
	return false;
}

static void
json_push_datum(JsonbParseState **state, Oid type, Datum datum, JsonbIteratorToken token)
{
	JsonbValue	value;
	Oid			output;
	bool		is_varlena;

	switch (type)
	{
		case BOOLOID:
			value.type = jbvBool;
			value.val.boolean = DatumGetBool(datum);
			break;
		case INT4OID:
			value.type = jbvNumeric;
			value.val.numeric = int64_to_numeric(DatumGetInt32(datum));
			break;
		case INT8OID:
			value.type = jbvNumeric;
			value.val.numeric = int64_to_numeric(DatumGetInt64(datum));
			break;
		case NUMERICOID:
			value.val.numeric = DatumGetNumeric(datum);
			if (numeric_is_nan(value.val.numeric) || numeric_is_inf(value.val.numeric))
			{
				value.type = jbvString;
				value.val.string.val =
					DatumGetCString(DirectFunctionCall1(numeric_out, datum));
				value.val.string.len = strlen(value.val.string.val);
			}
			else
				value.type = jbvNumeric;
			break;
		case TIMESTAMPTZOID:
			/* ISO 8601 whatever the session's DateStyle and zone are */
			value.type = jbvString;
			value.val.string.val = JsonEncodeDateTime(palloc(MAXDATELEN + 1), datum,
													  TIMESTAMPTZOID, &(int) {0});
			value.val.string.len = strlen(value.val.string.val);
			break;
		case JSONBOID:
			{
				/* Embedded as it is; iterates over the binary form. */
				Jsonb	   *jsonb = DatumGetJsonbP(datum);
				JsonbIterator *iterator;
				JsonbIteratorToken inner;

				if (JB_ROOT_IS_SCALAR(jsonb))
				{
					JsonbValue	scalar;

					(void) JsonbExtractScalar(&jsonb->root, &scalar);
					pushJsonbValue(state, token, &scalar);
					return;
				}
				iterator = JsonbIteratorInit(&jsonb->root);
				while ((inner = JsonbIteratorNext(&iterator, &value, false)) != WJB_DONE)
					pushJsonbValue(state, inner, inner < WJB_BEGIN_ARRAY ? &value : NULL);
				return;
			}
		default:
			getTypeOutputInfo(type, &output, &is_varlena);
			value.type = jbvString;
			value.val.string.val = OidOutputFunctionCall(output, datum);
			value.val.string.len = strlen(value.val.string.val);
			break;
	}
	pushJsonbValue(state, token, &value);
}

/*
 * Columns of `tuple` as an object, without hidden ones; with `other`, only
 * those that differ, or null where nothing but updated_at does.
 */
static Jsonb *
row_json(HeapTuple tuple, HeapTuple other, TupleDesc desc, const char *hidden)
{
	JsonbParseState *state = NULL;
	JsonbValue *result;
	bool		any = false;

	pushJsonbValue(&state, WJB_BEGIN_OBJECT, NULL);
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		JsonbValue	key;
		bool		isnull;
		Datum		datum;

		if (attribute->attisdropped)
			continue;
		datum = heap_getattr(tuple, i + 1, desc, &isnull);
		if (other != NULL)
		{
			bool		other_null;
			Datum		other_datum = heap_getattr(other, i + 1, desc, &other_null);

			if (isnull == other_null &&
				(isnull || datum_image_eq(datum, other_datum, attribute->attbyval,
										  attribute->attlen)))
				continue;
		}
		any = any || strcmp(NameStr(attribute->attname), "updated_at") != 0;
		if (is_hidden(hidden, NameStr(attribute->attname)))
			continue;
		key.type = jbvString;
		key.val.string.val = NameStr(attribute->attname);
		key.val.string.len = strlen(key.val.string.val);
		pushJsonbValue(&state, WJB_KEY, &key);
		if (isnull)
		{
			JsonbValue	null_value;

			null_value.type = jbvNull;
			pushJsonbValue(&state, WJB_VALUE, &null_value);
		}
		else
			json_push_datum(&state, getBaseType(attribute->atttypid), datum, WJB_VALUE);
	}
	result = pushJsonbValue(&state, WJB_END_OBJECT, NULL);
	return any ? JsonbValueToJsonb(result) : NULL;
}

/* --- the row --- */

enum
{
	ARG_ID, ARG_COMPANY, ARG_USER, ARG_TABLE, ARG_RECORD, ARG_ACTION, ARG_OLD, ARG_NEW,
	ARG_IP, ARG_AGENT, ARG_BASIS, ARG_AT, ARG_COUNT
};

static void
audit_insert(Datum *values, char *nulls)
{
	static SPIPlanPtr plan = NULL;
	static Oid	types[ARG_COUNT] = {
		UUIDOID, UUIDOID, UUIDOID, TEXTOID, UUIDOID, TEXTOID, JSONBOID, JSONBOID,
		TEXTOID, TEXTOID, TEXTOID, TIMESTAMPTZOID
	};
	Oid			save_userid;
	int			save_sec_context;

	GetUserIdAndSecContext(&save_userid, &save_sec_context);
	SetUserIdAndSecContext(spi_owner(), save_sec_context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	if (plan == NULL)
	{
		/* Names and casts are qualified, so the caller's path does not matter. */
		plan = SPI_prepare("INSERT INTO sales.audit_logs (audit_id, company_id, user_id, "
						   "  table_name, record_id, action, old_values, new_values, "
						   "  ip_address, user_agent, gdpr_basis, created_at) "
						   "VALUES ($1, $2, $3, $4, $5, $6::sales.audit_action, $7, $8, $9, "
						   "  $10, $11, $12)", ARG_COUNT, types);
		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare the audit statement");
	}
	if (SPI_execute_plan(plan, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "could not write an audit row");
	SPI_finish();
	SetUserIdAndSecContext(save_userid, save_sec_context);
}

static const char *
client_address(void)
{
	if (MyProcPort == NULL || MyProcPort->remote_host == NULL ||
		strcmp(MyProcPort->remote_host, "[local]") == 0)
		return NULL;
	return MyProcPort->remote_host;
}

static void
set_text(Datum *values, char *nulls, int n, const char *text)
{
	nulls[n] = text != NULL && *text != '\0' ? ' ' : 'n';
	if (nulls[n] == ' ')
		values[n] = CStringGetTextDatum(text);
}

static Datum
uuid_column(HeapTuple tuple, TupleDesc desc, const char *column, bool *isnull)
{
	int			number = SPI_fnumber(desc, column);

	if (number <= 0)
		elog(ERROR, "audited table has no column \"%s\"", column);
	return SPI_getbinval(tuple, desc, number, isnull);
}

static bool
is_set(HeapTuple tuple, TupleDesc desc, const char *column)
{
	int			number = SPI_fnumber(desc, column);
	bool		isnull = true;

	if (number > 0)
		(void) SPI_getbinval(tuple, desc, number, &isnull);
	return !isnull;
}

/* Arguments: logical table name, key column, hidden columns (comma-separated). */
Datum
sales_audit(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	const TenantContext *context = context_peek();
	TupleDesc	desc;
	HeapTuple	before = NULL;
	HeapTuple	after = NULL;
	HeapTuple	row;
	Datum		values[ARG_COUNT];
	char		nulls[ARG_COUNT];
	char	  **args;
	bool		isnull;
	bool		is_mine;
	Jsonb	   *old_json = NULL;
	Jsonb	   *new_json = NULL;

	if (!CALLED_AS_TRIGGER(fcinfo) || trigger->tg_trigger->tgnargs != 3)
		elog(ERROR, "audit is a trigger with three arguments");
	if (door_open || spi_restoring())
		return PointerGetDatum(NULL);

	args = trigger->tg_trigger->tgargs;
	desc = RelationGetDescr(trigger->tg_relation);
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		after = trigger->tg_trigtuple;
	else
		before = trigger->tg_trigtuple;
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		after = trigger->tg_newtuple;
	row = after != NULL ? after : before;

	memset(nulls, ' ', sizeof(nulls));
	values[ARG_COMPANY] = uuid_column(row, desc, "company_id", &isnull);
	if (isnull)
		return PointerGetDatum(NULL);	/* of the platform, such as a global setting */
	values[ARG_RECORD] = uuid_column(row, desc, args[1], &isnull);

	if (before != NULL)
		old_json = row_json(before, after, desc, args[2]);
	if (after != NULL)
		new_json = row_json(after, before, desc, args[2]);
	if (old_json == NULL && new_json == NULL)
		return PointerGetDatum(NULL);

	is_mine = context != NULL &&
		memcmp(&context->company_id, DatumGetUUIDP(values[ARG_COMPANY]), UUID_LEN) == 0;
	values[ARG_ID] = UUIDPGetDatum(uuid_v7());
	nulls[ARG_USER] = is_mine && context->has_user ? ' ' : 'n';
	if (nulls[ARG_USER] == ' ')
		values[ARG_USER] = UUIDPGetDatum(&context->user_id);
	set_text(values, nulls, ARG_TABLE, args[0]);
	set_text(values, nulls, ARG_ACTION,
			 before == NULL ? "create"
			 : after == NULL ||
			 (is_set(after, desc, "deleted_at") && !is_set(before, desc, "deleted_at"))
			 ? "delete" : "update");
	nulls[ARG_OLD] = old_json != NULL ? ' ' : 'n';
	values[ARG_OLD] = PointerGetDatum(old_json);
	nulls[ARG_NEW] = new_json != NULL ? ' ' : 'n';
	values[ARG_NEW] = PointerGetDatum(new_json);
	set_text(values, nulls, ARG_IP,
			 is_mine && context->ip[0] != '\0' ? context->ip : client_address());
	set_text(values, nulls, ARG_AGENT,
			 is_mine && context->user_agent[0] != '\0' ? context->user_agent
			 : application_name);
	set_text(values, nulls, ARG_BASIS, guc_gdpr_basis);
	values[ARG_AT] = TimestampTzGetDatum(clock_now());

	audit_insert(values, nulls);
	return PointerGetDatum(NULL);
}

/* --- append-only --- */

Datum
sales_audit_append_only(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;

	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "audit_append_only is a trigger");
	if (!door_open)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("audit_logs is append-only"),
						errhint("To erase a person call sales.gdpr_erase(); old months go by retention.")));
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		return PointerGetDatum(trigger->tg_newtuple);
	return PointerGetDatum(trigger->tg_trigtuple);
}

/* sales_internal.audit_open_door(): until it is closed or the transaction ends. */
Datum
sales_audit_open_door(PG_FUNCTION_ARGS)
{
	if (!superuser())
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("only the extension itself may change audit rows")));
	door_open = true;
	PG_RETURN_VOID();
}

/* sales_internal.audit_close_door() */
Datum
sales_audit_close_door(PG_FUNCTION_ARGS)
{
	door_open = false;
	PG_RETURN_VOID();
}
