/*
 * export.c
 *		COPY ... TO of tenant tables is an export, and on record.
 *
 * COPY is a utility command, so our hook sees it.  Which tables it reads is
 * known from the statement itself (COPY table) and from the plans that start
 * while it runs (COPY (query), COPY of a table or view under row security; views
 * and functions are looked through this way).  When it is done one row for each
 * tenant table goes to the log, with the number of rows that went out and where
 * to; not the query, whose text may hold what a person's erasure must reach.
 *
 * A log row goes with its transaction: after COPY and ROLLBACK the data is out
 * and the row is not there.  So each export is in the server log too, at once,
 * and so is one that failed, as rows may have gone out before it did.
 * In a read-only transaction there can be no row: a tenant is refused, anyone
 * else (pg_dump) and any session of a standby is in the server log alone.
 *
 * COPY ... FROM fires row triggers outside any executor; its audit rows are
 * collected here.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "audit/audit.h"
#include "audit/export.h"
#include "audit/write.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "commands/copy.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/ipc.h"
#include "tcop/utility.h"
#include "tenancy/context.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"

static ProcessUtility_hook_type next_utility = NULL;
static ExecutorStart_hook_type next_executor_start = NULL;

/* Tenant tables that the running COPY ... TO reads, by their own (root) oid. */
typedef struct Export
{
	MemoryContext context;
	List	   *tables;
	List	   *names;			/* of these tables: after an error none can be looked up */
	const char *who;
} Export;

static Export *running = NULL;
static bool exit_is_watched = false;

/* The table of schema sales that an oid belongs to, if it holds tenants' rows. */
static Oid
tenant_table(Oid relid)
{
	char		kind = get_rel_relkind(relid);
	List	   *ancestors;

	if (kind != RELKIND_RELATION && kind != RELKIND_PARTITIONED_TABLE)
		return InvalidOid;
	if (get_rel_relispartition(relid))
	{
		ancestors = get_partition_ancestors(relid);
		if (ancestors != NIL)
			relid = llast_oid(ancestors);
		list_free(ancestors);
	}
	if (get_rel_namespace(relid) != get_namespace_oid("sales", true) ||
		get_attnum(relid, "company_id") == InvalidAttrNumber)
		return InvalidOid;
	return relid;
}

static void
note_table(Export *export, Oid relid)
{
	MemoryContext old;

	relid = tenant_table(relid);
	if (!OidIsValid(relid))
		return;
	/* No row goes out that could not be put on record. */
	if (XactReadOnly && !RecoveryInProgress() && context_actor() != NULL)
		ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
						errmsg("cannot record an export in a read-only transaction"),
						errdetail("COPY ... TO of tenant tables goes on record in sales.audit_logs."),
						errhint("Run COPY outside of the read-only transaction.")));
	if (list_member_oid(export->tables, relid))
		return;
	old = MemoryContextSwitchTo(export->context);
	export->tables = lappend_oid(export->tables, relid);
	export->names = lappend(export->names, get_rel_name(relid));
	MemoryContextSwitchTo(old);
}

static void
export_executor_start(QueryDesc *query, int flags)
{
	ListCell   *cell;

	if (running != NULL)
		foreach(cell, query->plannedstmt->rtable)
		{
			RangeTblEntry *entry = lfirst(cell);

			if (entry->rtekind == RTE_RELATION)
				note_table(running, entry->relid);
		}
	if (next_executor_start)
		next_executor_start(query, flags);
	else
		standard_ExecutorStart(query, flags);
}

static Jsonb *
export_values(const CopyStmt *copy, uint64 rows)
{
	const char *to = copy->is_program ? "program" : copy->filename != NULL ? "file" : "client";
	char	   *text = psprintf("{\"rows\": " UINT64_FORMAT ", \"to\": \"%s\"}", rows, to);

	return DatumGetJsonbP(DirectFunctionCall1(jsonb_in, CStringGetDatum(text)));
}

/* Puts a finished export on record. */
static void
export_record(const CopyStmt *copy, Export *export, uint64 rows)
{
	const TenantContext *context = context_actor();
	ListCell   *cell;

	foreach(cell, export->names)
	{
		char	   *table = lfirst(cell);

		ereport(LOG_SERVER_ONLY,
				(errmsg("sales_assistant: COPY of " UINT64_FORMAT " rows out of %s by %s", rows,
						table, export->who),
				 errhidestmt(true), errhidecontext(true)));
		if (context != NULL && !XactReadOnly && !RecoveryInProgress())
		{
			pg_uuid_t	company = context->company_id;
			pg_uuid_t	user = context->user_id;
			AuditNote	note = {
				.company_id = &company,
				.user_id = context->has_user ? &user : NULL,
				.action = "export",
				.table_name = table,
				.values = export_values(copy, rows)
			};

			audit_note(&note);
			context = context_actor();
			if (context == NULL)
				break;
		}
	}
}

/* One that failed: rows may have gone out before the error. */
static void
export_failed(const Export *export)
{
	MemoryContext old = MemoryContextSwitchTo(export->context);
	ListCell   *cell;

	foreach(cell, export->names)
		ereport(LOG_SERVER_ONLY,
				(errmsg("sales_assistant: COPY out of %s by %s failed, rows may have gone out",
						(char *) lfirst(cell), export->who),
				 errhidestmt(true), errhidecontext(true)));
	MemoryContextSwitchTo(old);
}

/* The session ends in the midst of one: its client is gone, or somebody ended it. */
static void
export_at_exit(int code, Datum arg)
{
	if (running != NULL)
		export_failed(running);
}

/* From here on `export` is the COPY ... TO that runs. */
static void
export_begin(Export *export, const CopyStmt *copy)
{
	if (!exit_is_watched)
		before_shmem_exit(export_at_exit, (Datum) 0);
	exit_is_watched = true;
	export->who = GetUserNameFromId(GetSessionUserId(), true);
	running = export;
	if (copy->relation != NULL)
	{
		Oid			relid = RangeVarGetRelid(copy->relation, NoLock, true);

		if (OidIsValid(relid))
			note_table(export, relid);
	}
}

static void
run_utility(PlannedStmt *stmt, const char *text, bool read_only_tree,
			ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *env,
			DestReceiver *dest, QueryCompletion *completion)
{
	if (next_utility)
		next_utility(stmt, text, read_only_tree, context, params, env, dest, completion);
	else
		standard_ProcessUtility(stmt, text, read_only_tree, context, params, env, dest,
								completion);
}

static void
export_utility(PlannedStmt *stmt, const char *text, bool read_only_tree,
			   ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *env,
			   DestReceiver *dest, QueryCompletion *completion)
{
	CopyStmt   *copy = (CopyStmt *) stmt->utilityStmt;
	QueryCompletion own = {0};
	QueryCompletion *volatile done = completion != NULL ? completion : &own;
	Export	   *outer = running;
	Export		export = {.context = CurrentMemoryContext};
	AuditBatch	batch;

	if (!IsA(copy, CopyStmt) || !IsTransactionState())
	{
		run_utility(stmt, text, read_only_tree, context, params, env, dest, completion);
		return;
	}

	InitializeQueryCompletion(&own);
	audit_batch_begin(&batch, false);
	PG_TRY();
	{
		if (!copy->is_from)
			export_begin(&export, copy);
		run_utility(stmt, text, read_only_tree, context, params, env, dest, done);
		running = outer;
		audit_batch_end(&batch);
		if (export.tables != NIL)
			export_record(copy, &export, done->nprocessed);
	}
	PG_CATCH();
	{
		running = outer;
		audit_batch_abort(&batch);
		export_failed(&export);
		PG_RE_THROW();
	}
	PG_END_TRY();
}

void
audit_export_init(void)
{
	next_utility = ProcessUtility_hook;
	ProcessUtility_hook = export_utility;
	next_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = export_executor_start;
}
