/*
 * audit.c
 *		The audit trigger, notes of what is no change of a row, and the guard.
 *
 * A row trigger, since PostgreSQL clones those to partitions: a write that
 * goes to a partition directly is on record too, and so is whatever a cascade,
 * a MERGE or ON CONFLICT does.  The trigger turns the row into JSON (row.c) and
 * adds it to the running query's batch, which is written when the query's
 * triggers are done (write.c); our hook on ExecutorFinish is that place.  Where
 * no hook runs (the first statement of a session into which the library was
 * loaded by that statement; a logical replication worker) each row is written
 * at once.
 *
 * An UPDATE that moves a row to another partition fires DELETE and INSERT
 * triggers, one after the other; the two become one row of the log again.
 *
 * Who did it comes from the tenant context, if the context is the row's
 * company; else it was the system and user_id is null.
 *
 * audit_logs takes rows from here alone: its own trigger refuses INSERT,
 * UPDATE, DELETE and TRUNCATE by anyone, except while audit_open_door() is in
 * effect, which only functions that erase a person, drop old months or remove a
 * company call.  (Who disables the trigger is found by verify_audit().)
 */
#include "postgres.h"

#include "access/xact.h"
#include "audit/audit.h"
#include "audit/export.h"
#include "audit/hold.h"
#include "audit/row.h"
#include "audit/target.h"
#include "audit/write.h"
#include "commands/trigger.h"
#include "core/clock.h"
#include "core/spi.h"
#include "distribute/shards.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "tenancy/context.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(sales_audit);
PG_FUNCTION_INFO_V1(sales_audit_note);
PG_FUNCTION_INFO_V1(sales_audit_append_only);
PG_FUNCTION_INFO_V1(sales_audit_open_door);
PG_FUNCTION_INFO_V1(sales_audit_close_door);

#define AUDIT_BASIS_LENGTH 50	/* of audit_logs.gdpr_basis */
#define AUDIT_TABLE_LENGTH 50	/* of audit_logs.table_name */

static char *guc_gdpr_basis = NULL;

/* Set by audit_open_door() until audit_close_door() or the transaction's end. */
static bool door_open = false;

static ExecutorFinish_hook_type next_executor_finish = NULL;

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

bool
audit_door_is_open(void)
{
	return door_open || context_carries(CARRY_AUDIT_CHANGE);
}

static bool
basis_check_hook(char **newval, void **extra, GucSource source)
{
	if (strlen(*newval) <= AUDIT_BASIS_LENGTH)
		return true;
	GUC_check_errdetail("A legal basis has at most %d bytes.", AUDIT_BASIS_LENGTH);
	return false;
}

/* A query's AFTER triggers fire in here; their audit rows are written at the end. */
static void
audit_executor_finish(QueryDesc *query)
{
	AuditBatch	batch;

	audit_batch_begin(&batch, query->operation == CMD_UPDATE || query->operation == CMD_MERGE ||
					  query->plannedstmt->hasModifyingCTE);
	PG_TRY();
	{
		if (next_executor_finish)
			next_executor_finish(query);
		else
			standard_ExecutorFinish(query);
		audit_batch_end(&batch);
	}
	PG_CATCH();
	{
		audit_batch_abort(&batch);
		PG_RE_THROW();
	}
	PG_END_TRY();
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
	audit_hold_init();
	audit_target_init();
	audit_write_init();
	audit_row_init();
	next_executor_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = audit_executor_finish;
	audit_export_init();
}

/* --- who, from where --- */

static const char *
client_address(void)
{
	if (MyProcPort == NULL || MyProcPort->remote_host == NULL || distribute_within() ||
		strcmp(MyProcPort->remote_host, "[local]") == 0)
		return NULL;
	return MyProcPort->remote_host;
}

/* Fills in user, address, program, basis and time; the company must be there. */
static void
entry_stamp(AuditEntry *entry)
{
	const TenantContext *context = context_actor();
	bool		is_mine = context != NULL &&
		memcmp(&context->company_id, &entry->company_id, UUID_LEN) == 0;

	entry->user_id = is_mine && context->has_user ? &context->user_id : NULL;
	entry->ip_address = is_mine && context->ip[0] != '\0' ? context->ip : client_address();
	entry->user_agent = is_mine && context->user_agent[0] != '\0' ? context->user_agent
		: application_name;
	entry->gdpr_basis = guc_gdpr_basis;
	entry->created_at = clock_now();
}

/* --- changes of rows --- */

static const pg_uuid_t *
uuid_column(TupleTableSlot *slot, AttrNumber number)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, number, &isnull);

	return isnull ? NULL : DatumGetUUIDP(value);
}

static bool
is_set(TupleTableSlot *slot, AttrNumber number)
{
	return number > 0 && !slot_attisnull(slot, number);
}

/* A deleted row that may turn up in another partition at once. */
typedef struct Moved
{
	AuditBatch *batch;
	Oid			relid;
	pg_uuid_t	audit_id;		/* of the row that was added for it */
	pg_uuid_t	key;
	HeapTuple	tuple;
	const AuditTable *table;
} Moved;

static Moved moved;

/* The row as it was where it came from, if it was deleted just now; else null. */
static TupleTableSlot *
moved_from(AuditBatch *batch, const AuditTable *table, Relation relation,
		   const pg_uuid_t *key, MemoryContext context)
{
	const AuditEntry *last;
	TupleTableSlot *slot;
	MemoryContext old;

	if (!batch->may_move || moved.batch != batch || key == NULL ||
		moved.relid == RelationGetRelid(relation) || memcmp(&moved.key, key, UUID_LEN) != 0)
		return NULL;
	last = audit_batch_last(batch);
	if (last == NULL || memcmp(&last->audit_id, &moved.audit_id, UUID_LEN) != 0 ||
		!audit_table_same_columns(moved.table, table))
		return NULL;
	old = MemoryContextSwitchTo(context);
	slot = MakeSingleTupleTableSlot(RelationGetDescr(relation), &TTSOpsHeapTuple);
	ExecStoreHeapTuple(moved.tuple, slot, false);
	MemoryContextSwitchTo(old);
	return slot;
}

static void
note_move(AuditBatch *batch, const AuditTable *table, Relation relation, const pg_uuid_t *key,
		  TupleTableSlot *before)
{
	MemoryContext old = MemoryContextSwitchTo(audit_batch_rows(batch));

	moved.batch = batch;
	moved.relid = RelationGetRelid(relation);
	moved.audit_id = audit_batch_last(batch)->audit_id;
	moved.key = *key;
	moved.tuple = ExecCopySlotHeapTuple(before);
	moved.table = table;
	MemoryContextSwitchTo(old);
}

static void
add_change(AuditBatch *batch, Relation relation, char **args, TupleTableSlot *before,
		   TupleTableSlot *after)
{
	const AuditTable *table = audit_table(relation, args);
	TupleTableSlot *row = after != NULL ? after : before;
	const pg_uuid_t *company;
	const pg_uuid_t *key;
	TupleTableSlot *from = NULL;
	AuditEntry	entry = {0};
	MemoryContext memory;
	Jsonb	   *old_values;
	Jsonb	   *new_values;

	Assert(row != NULL);
	company = uuid_column(row, table->company);
	key = uuid_column(row, table->key);
	if (company == NULL)
		return;					/* of the platform, such as a global setting */
	if (before == NULL && relation->rd_rel->relispartition)
		before = from = moved_from(batch, table, relation, key, CurrentMemoryContext);
	if (from != NULL)
		audit_batch_drop_last(batch);
	memory = from == NULL ? audit_batch_memory(batch) : audit_batch_rows(batch);

	entry.company_id = *company;
	entry_stamp(&entry);
	if (audit_row_values(table, before, after, memory, &old_values, &new_values))
	{
		entry.table_name = table->name;
		entry.record_id = key;
		entry.action = before == NULL ? "create"
			: after == NULL ||
			(is_set(after, table->deleted_at) && !is_set(before, table->deleted_at))
			? "delete" : "update";
		entry.old_values = old_values;
		entry.new_values = new_values;
		audit_hold(NULL, &entry.company_id, entry.user_id);
		audit_batch_add(batch, &entry);
		if (after == NULL && batch->may_move && relation->rd_rel->relispartition && key != NULL)
			note_move(batch, table, relation, key, before);
	}
	if (from != NULL)
		ExecDropSingleTupleTableSlot(from);
}

/* Arguments: logical table name, key column, hidden columns (comma-separated). */
Datum
sales_audit(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	AuditBatch *batch = audit_batch_current();
	AuditBatch	own;
	TupleTableSlot *before = NULL;
	TupleTableSlot *after = NULL;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_FOR_ROW(trigger->tg_event) ||
		trigger->tg_trigger->tgnargs != 3)
		elog(ERROR, "audit is a row trigger with three arguments");
	if (audit_door_is_open() || spi_restoring())
		return PointerGetDatum(NULL);

	if (TRIGGER_FIRED_BY_INSERT(trigger->tg_event))
		after = trigger->tg_trigslot;
	else
		before = trigger->tg_trigslot;
	if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		after = trigger->tg_newslot;

	if (batch != NULL)
	{
		add_change(batch, trigger->tg_relation, trigger->tg_trigger->tgargs, before, after);
		return PointerGetDatum(NULL);
	}
	audit_batch_begin(&own, false);
	PG_TRY();
	{
		add_change(&own, trigger->tg_relation, trigger->tg_trigger->tgargs, before, after);
		audit_batch_end(&own);
	}
	PG_CATCH();
	{
		audit_batch_abort(&own);
		PG_RE_THROW();
	}
	PG_END_TRY();
	return PointerGetDatum(NULL);
}

/* --- notes --- */

void
audit_note(const AuditNote *note)
{
	AuditBatch	batch;
	AuditEntry	entry = {0};

	audit_batch_begin(&batch, false);
	PG_TRY();
	{
		entry.company_id = *note->company_id;
		entry_stamp(&entry);
		entry.user_id = note->user_id;
		entry.table_name = note->table_name;
		entry.record_id = note->record_id;
		entry.action = note->action;
		entry.new_values = note->values;
		if (note->ip_address != NULL)
			entry.ip_address = note->ip_address;
		if (note->user_agent != NULL)
			entry.user_agent = note->user_agent;
		if (note->gdpr_basis != NULL)
			entry.gdpr_basis = note->gdpr_basis;
		audit_hold(note->company_id, note->company_id, note->user_id);
		audit_batch_add(&batch, &entry);
		audit_batch_end(&batch);
	}
	PG_CATCH();
	{
		audit_batch_abort(&batch);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

static char *
text_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/*
 * sales_internal.audit_note(company_id uuid, user_id uuid, action text,
 * table_name text, record_id uuid, new_values jsonb, ip_address text,
 * user_agent text, gdpr_basis text)
 */
Datum
sales_audit_note(PG_FUNCTION_ARGS)
{
	AuditNote	note = {0};

	if (PG_ARGISNULL(0) || PG_ARGISNULL(2))
		elog(ERROR, "an audit note needs a company and an action");
	note.company_id = PG_GETARG_UUID_P(0);
	note.user_id = PG_ARGISNULL(1) ? NULL : PG_GETARG_UUID_P(1);
	note.action = text_argument(fcinfo, 2);
	note.table_name = text_argument(fcinfo, 3);
	note.record_id = PG_ARGISNULL(4) ? NULL : PG_GETARG_UUID_P(4);
	note.values = PG_ARGISNULL(5) ? NULL : PG_GETARG_JSONB_P(5);
	note.ip_address = text_argument(fcinfo, 6);
	note.user_agent = text_argument(fcinfo, 7);
	note.gdpr_basis = text_argument(fcinfo, 8);
	if (note.table_name != NULL && strlen(note.table_name) > AUDIT_TABLE_LENGTH)
		ereport(ERROR, (errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
						errmsg("the name of a table has at most %d bytes", AUDIT_TABLE_LENGTH)));
	if (note.gdpr_basis != NULL && strlen(note.gdpr_basis) > AUDIT_BASIS_LENGTH)
		ereport(ERROR, (errcode(ERRCODE_STRING_DATA_RIGHT_TRUNCATION),
						errmsg("a legal basis has at most %d bytes", AUDIT_BASIS_LENGTH)));
	audit_note(&note);
	PG_RETURN_VOID();
}

/* --- append-only --- */

Datum
sales_audit_append_only(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	bool		is_insert;

	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "audit_append_only is a trigger");
	is_insert = TRIGGER_FIRED_BY_INSERT(trigger->tg_event);
	if (!audit_door_is_open() && !(is_insert && (audit_write_is_open() || context_carries(CARRY_AUDIT_INSERT))))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("audit_logs is append-only"),
						is_insert
						? errhint("The extension alone adds rows: functions of it by sales_internal.audit_note().")
						: errhint("To erase a person call sales.gdpr_erase(), to end a company sales.delete_company(); old months go by retention.")));
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
