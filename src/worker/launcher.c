/*
 * launcher.c
 *		One launcher for the cluster: starts a worker in each database that has
 *		the extension, and starts it again when there is work and it is gone.
 *
 * At start every connectable database gets a worker, which leaves at once
 * where the extension is not installed.  Later a database asks for its worker
 * by itself: CREATE EXTENSION and each enqueued job wake the launcher through
 * shared memory.  The launcher sleeps otherwise.
 *
 * DROP DATABASE, and what else needs a database without sessions, first stops
 * that database's worker (the utility hook below), and so does DROP EXTENSION,
 * so that the worker is never in a DBA's way.  COMMIT PREPARED wakes the worker,
 * as jobs may have been queued in the transaction that was prepared.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "compat.h"
#include "core/guc.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "queue/queue.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/utility.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "worker/launcher.h"
#include "worker/slots.h"
#include "worker/worker.h"

#define LAUNCH_BATCH 16
#define RETRY_MS 5000
#define FAILURES_TO_SAY 3		/* at start, workers that find no extension leave at once */

static bool guc_workers = true;
static uint32 waits_for_wishes = 0; /* wait event */
static ProcessUtility_hook_type prev_ProcessUtility_hook = NULL;

/* Said once for a database, not at each of its jobs. */
static void
say_no_place(Oid database)
{
	static Oid	said = InvalidOid;

	if (said == database)
		return;
	said = database;
	ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
					  errmsg("the database with OID %u gets no worker: %d databases have one", database, SLOTS),
					  errhint("sales.stop_workers() in a database that needs none does not free its place; dropping the extension there does.")));
}

/* A database that has not been looked into for the extension yet. */
typedef struct Unseen
{
	Oid			database;
	NameData	name;
} Unseen;

static List *unseen = NIL;

/* Every database that takes connections. */
static void
list_databases(void)
{
	Relation	rel;
	TableScanDesc scan;
	HeapTuple	tuple;

	StartTransactionCommand();
	(void) GetTransactionSnapshot();
	rel = table_open(DatabaseRelationId, AccessShareLock);
	scan = table_beginscan_catalog(rel, 0, NULL);
	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);
		MemoryContext old;
		Unseen	   *one;

		if (!database->datallowconn || database->datistemplate)
			continue;
		old = MemoryContextSwitchTo(TopMemoryContext);
		one = palloc(sizeof(Unseen));
		one->database = database->oid;
		one->name = database->datname;
		unseen = lappend(unseen, one);
		MemoryContextSwitchTo(old);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	CommitTransactionCommand();
}

/*
 * Wants a worker for each of them, as far as there are slots: one that finds no
 * extension leaves its slot to the next.
 */
static void
want_unseen(void)
{
	bool		progress = false;

	while (unseen != NIL)
	{
		Unseen	   *one = linitial(unseen);

		if (!slots_want(one->database, NameStr(one->name)))
		{
			if (!progress)
				say_no_place(one->database);
			return;
		}
		progress = true;
		unseen = list_delete_first(unseen);
		pfree(one);
	}
}

static void
launcher_exit(int code, Datum arg)
{
	slots_set_launcher(NULL);
}

void
sales_launcher_main(Datum arg)
{
	int			failures = 0;	/* to find a free process, one after the other */

	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, SignalHandlerForShutdownRequest);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnection(NULL, NULL, 0);
	before_shmem_exit(launcher_exit, 0);
	slots_set_launcher(MyLatch);
	list_databases();

	while (!ShutdownRequestPending)
	{
		Oid			wanted[LAUNCH_BATCH];
		int			n;
		bool		all_started = true;
		Oid			turned_away;

		ResetLatch(MyLatch);
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		want_unseen();
		turned_away = slots_turned_away();
		if (OidIsValid(turned_away))
			say_no_place(turned_away);
		while (guc_workers && (n = slots_wanted(wanted, LAUNCH_BATCH)) > 0)
			for (int i = 0; i < n; i++)
				if (!worker_launch(wanted[i]))
				{
					/* no free process: try again later */
					if (++failures == FAILURES_TO_SAY)
						ereport(WARNING, (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
										  errmsg("no process is free for a worker of the database with OID %u; trying on", wanted[i]),
										  errhint("Raise max_worker_processes.")));
					(void) slots_want(wanted[i], NULL);
					all_started = false;
					i = n = LAUNCH_BATCH;
				}
		if (all_started)
			failures = 0;
		if (unseen != NIL)
			all_started = false;
		(void) WaitLatch(MyLatch,
						 WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (all_started ? 0 : WL_TIMEOUT),
						 all_started ? -1 : RETRY_MS,
						 compat_wait_event(&waits_for_wishes, "SalesAssistantLauncher"));
	}
	proc_exit(0);
}

/* --- commands that need a database to be empty of sessions --- */

/* The database that a command needs for itself; null if none. */
static const char *
database_to_leave(Node *command)
{
	switch (nodeTag(command))
	{
		case T_DropdbStmt:
			return ((DropdbStmt *) command)->dbname;
		case T_RenameStmt:
			return ((RenameStmt *) command)->renameType == OBJECT_DATABASE
				? ((RenameStmt *) command)->subname : NULL;
		case T_AlterDatabaseStmt:
			return ((AlterDatabaseStmt *) command)->dbname;
		case T_CreatedbStmt:
			{
				ListCell   *cell;

				foreach(cell, ((CreatedbStmt *) command)->options)
				{
					DefElem    *option = lfirst(cell);

					if (strcmp(option->defname, "template") == 0 && option->arg != NULL)
						return defGetString(option);
				}
				return NULL;
			}
		default:
			return NULL;
	}
}

/* Does the command drop this very extension? */
static bool
drops_extension(Node *command)
{
	ListCell   *cell;

	if (!IsA(command, DropStmt) || ((DropStmt *) command)->removeType != OBJECT_EXTENSION)
		return false;
	foreach(cell, ((DropStmt *) command)->objects)
		if (strcmp(strVal(lfirst(cell)), "sales_assistant") == 0)
			return true;
	return false;
}

static void
launcher_ProcessUtility(PlannedStmt *pstmt, const char *queryString, bool readOnlyTree,
						ProcessUtilityContext context, ParamListInfo params,
						QueryEnvironment *queryEnv, DestReceiver *dest,
						QueryCompletion *completion)
{
	const char *name = database_to_leave(pstmt->utilityStmt);
	Oid			database = name != NULL ? get_database_oid(name, true) : InvalidOid;
	bool		had_worker = OidIsValid(database) && database != MyDatabaseId &&
		slots_stop(database);

	/* It comes back at the transaction's end, and leaves if the extension is gone. */
	if (drops_extension(pstmt->utilityStmt))
		queue_pause_workers();
	PG_TRY();
	{
		if (prev_ProcessUtility_hook)
			prev_ProcessUtility_hook(pstmt, queryString, readOnlyTree, context, params,
									 queryEnv, dest, completion);
		else
			standard_ProcessUtility(pstmt, queryString, readOnlyTree, context, params,
									queryEnv, dest, completion);
	}
	PG_FINALLY();
	{
		/* Whether it worked or not: a database that is still there goes on. */
		if (OidIsValid(database) && database != MyDatabaseId)
		{
			slots_allow(database);
			if (get_database_name(database) == NULL)
				slots_forget(database);
			else if (had_worker)
				slots_wake(database);
		}
	}
	PG_END_TRY();
	if (IsA(pstmt->utilityStmt, TransactionStmt) &&
		((TransactionStmt *) pstmt->utilityStmt)->kind == TRANS_STMT_COMMIT_PREPARED)
		slots_wake(MyDatabaseId);
}

void
launcher_init(void)
{
	BackgroundWorker worker;

	DefineCustomBoolVariable("sales_assistant.workers",
							 "Whether background workers are started.",
							 "Off: the queue waits; sales.start_workers() still starts one by hand.",
							 &guc_workers, true, PGC_SIGHUP, 0, NULL, NULL, NULL);
	if (!process_shared_preload_libraries_in_progress)
		return;
	prev_ProcessUtility_hook = ProcessUtility_hook;
	ProcessUtility_hook = launcher_ProcessUtility;
	/* pg_upgrade's servers are nobody's to write in */
	if (IsBinaryUpgrade)
		return;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = 5;
	strlcpy(worker.bgw_library_name, "sales_assistant", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, "sales_launcher_main", BGW_MAXLEN);
	strlcpy(worker.bgw_name, "sales_assistant launcher", BGW_MAXLEN);
	strlcpy(worker.bgw_type, "sales_assistant launcher", BGW_MAXLEN);
	RegisterBackgroundWorker(&worker);
}
