/*
 * audit.c
 *		The audit trigger: one row of sales.audit_logs for each changed row.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "core/spi.h"
#include "fmgr.h"
#include "tenancy/context.h"
#include "utils/builtins.h"
#include "utils/rel.h"

PG_FUNCTION_INFO_V1(sales_audit);

static Datum
row_datum(HeapTuple tuple, TupleDesc desc)
{
	return heap_copy_tuple_as_datum(tuple, desc);
}

/* Arguments: logical table name, key column, hidden columns (comma-separated). */
Datum
sales_audit(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	HeapTuple	before = NULL;
	HeapTuple	after = NULL;
	SpiArg		args[6];
	Oid			rowtype;

	if (!CALLED_AS_TRIGGER(fcinfo) || trigger->tg_trigger->tgnargs != 3)
		elog(ERROR, "audit is a trigger with three arguments");
	if (spi_restoring())
		return PointerGetDatum(NULL);
	desc = RelationGetDescr(trigger->tg_relation);
	rowtype = trigger->tg_relation->rd_rel->reltype;
	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		after = trigger->tg_trigtuple;
	else
		before = trigger->tg_trigtuple;
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		after = trigger->tg_newtuple;

	args[0] = SPI_ARG_TEXT(trigger->tg_trigger->tgargs[0]);
	args[1] = SPI_ARG_TEXT(trigger->tg_trigger->tgargs[1]);
	args[2] = SPI_ARG_TEXT(trigger->tg_trigger->tgargs[2]);
	args[3] = before ? SPI_ARG(rowtype, row_datum(before, desc)) : SPI_ARG_NULL(rowtype);
	args[4] = after ? SPI_ARG(rowtype, row_datum(after, desc)) : SPI_ARG_NULL(rowtype);
	args[5] = SPI_ARG_TEXT(before == NULL ? "create" : after == NULL ? "delete" : "update");
	SPI_connect();
	spi_run_as_owner("INSERT INTO sales.audit_logs (company_id, user_id, table_name, record_id, "
					 "  action, old_values, new_values) "
					 "SELECT (coalesce(n, o) ->> 'company_id')::uuid, sales.current_user_id(), $1, "
					 "  (coalesce(n, o) ->> $2)::uuid, $6::sales.audit_action, "
					 "  CASE WHEN n IS NULL THEN o ELSE (SELECT jsonb_object_agg(key, value) "
					 "    FROM jsonb_each(o) WHERE value IS DISTINCT FROM n -> key) END, "
					 "  CASE WHEN o IS NULL THEN n ELSE (SELECT jsonb_object_agg(key, value) "
					 "    FROM jsonb_each(n) WHERE value IS DISTINCT FROM o -> key) END "
					 "FROM (SELECT to_jsonb($4) - string_to_array($3, ','), "
					 "             to_jsonb($5) - string_to_array($3, ',')) AS x (o, n) "
					 "WHERE coalesce(n, o) ->> 'company_id' IS NOT NULL",
					 false, 0, 6, args);
	SPI_finish();
	return PointerGetDatum(NULL);
}
