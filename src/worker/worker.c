/*
 * worker.c
 *		The worker of one database: claims jobs, runs them, settles them.
 *
 * One process, one loop, short transactions:
 *	 1. claim: jobs get a lease; requests of HTTP jobs are prepared (turns.c);
 *	 2. SQL jobs run, each in a transaction that also settles it; long ones, and
 *		periodic tasks that are not quick or come seldom, get a process of their own (helpers.c);
 *	 3. HTTP calls are driven with no transaction open (calls.c);
 *	 4. answers are settled: result and end of a job are one transaction.
 * A crash between 1 and 4 leaves a lease that runs out: the call is repeated,
 * its result is neither lost nor doubled.
 *
 * The loop sleeps on its latch until a commit wakes it, a call moves, or the
 * next job or periodic task is due.  It waits for nobody: lock_timeout is short,
 * and what meets a lock is put back for a while.  SIGTERM ends it at the next
 * interrupt check, whatever calls are open.
 */
#include "postgres.h"

#include <math.h>

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "core/clock.h"
#include "core/spi.h"
#include "distribute/shards.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "queue/job.h"
#include "storage/ipc.h"
#include "storage/lock.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/answers.h"
#include "worker/calls.h"
#include "worker/helpers.h"
#include "worker/slots.h"
#include "worker/steps.h"
#include "worker/turns.h"
#include "worker/worker.h"

#define JOBS_AT_ONCE 60
#define POLL_MS 1000			/* without shared memory nobody wakes us */
#define MAX_SLEEP_MS 300000
#define ERROR_PAUSE_MS 5000		/* when the queue itself cannot be read */
#define BUSY_LOOK_MS 200		/* a busy worker looks at tasks and the catalogue so often */
#define CLOCK_STEP_S 2			/* a clock that is set goes by more, one that is slewed by less */

static int	guc_max_calls = 800;
static int	guc_max_calls_per_company = 600;
static int	guc_turn_timeout = 20000;
static char *database_name = NULL;	/* for the log */

/* What a claim came to. */
typedef struct Claim
{
	List	   *jobs;			/* of Job */
	int			wanted;
	bool		undone;			/* it was too much at a time */
	long		sleep_ms;		/* until something is due, when nothing was claimed */
} Claim;

static void
step_claim_few(void *arg)
{
	Claim	   *claim = arg;
	char	   *text;

	claim->jobs = job_claim(claim->wanted, guc_max_calls_per_company, worker_has_long_place(),
							worker_memory);
	if (claim->jobs != NIL)
	{
		worker_first_turns(claim->jobs);
		return;
	}
	/* in the same transaction, at the same instant: nothing falls between */
	spi_run_kept(worker_runs_tasks()
				 ? "SELECT least(greatest(ceil(sales_internal.seconds_until_due(false) * 1000), 0), 1000000000)::int8"
				 : "SELECT least(greatest(ceil(sales_internal.seconds_until_due(true) * 1000), 0), 1000000000)::int8",
				 true, 1, 0, NULL);
	text = spi_text(0, 1);
	claim->sleep_ms = text != NULL ? Min(atol(text), MAX_SLEEP_MS) : MAX_SLEEP_MS;
}

static void
step_claim(void *arg)
{
	Claim	   *claim = arg;

	claim->undone = !worker_claim_together(step_claim_few, arg);
}

/*
 * Claims and runs what is due; how long to sleep then, 0 if there may be more.  A
 * claim takes many calls, but few of the jobs that are run here one after the
 * other: what comes meanwhile, of others, waits for them.  Which kind they are the last
 * claim tells.
 */
static long
run_due_jobs(void)
{
	static bool calls_alone = false;
	Claim		claim = {.sleep_ms = MAX_SLEEP_MS};
	ListCell   *cell;
	char	   *problem;

	claim.wanted = Min(Min(guc_max_calls, calls_limit()) - worker_open_calls(),
					   calls_alone ? worker_turns_at_once() : JOBS_AT_ONCE);
	if (claim.wanted <= 0)
		return MAX_SLEEP_MS;	/* the end of a call wakes us */
	problem = worker_in_transaction(step_claim, &claim);
	worker_end_turns(problem == NULL);
	if (problem != NULL)
		return ERROR_PAUSE_MS;
	if (claim.undone)
		return 0;
	calls_alone = true;
	foreach(cell, claim.jobs)
	{
		Job		   *job = lfirst(cell);

		CHECK_FOR_INTERRUPTS();
		calls_alone = calls_alone && job->mode == JOB_HTTP;
		if (job->mode == JOB_SQL)
			worker_run_job(job);
		else if (job->mode == JOB_LONG)
			worker_run_long(job);
		else
			continue;
		worker_wait(0);			/* calls go on meanwhile */
	}
	return claim.jobs != NIL ? 0 : claim.sleep_ms;
}

/* What is in the database, for this library. */
typedef enum Installed
{
	INSTALLED_NOT,
	INSTALLED_OTHER,			/* another version: its update is still to come */
	INSTALLED
} Installed;

static void
step_look_at_extension(void *arg)
{
	*(Installed *) arg = INSTALLED_NOT;
	if (database_name == NULL)
		database_name = MemoryContextStrdup(TopMemoryContext, get_database_name(MyDatabaseId));
	if (!OidIsValid(get_extension_oid("sales_assistant", true)))
		return;
	spi_run_kept("SELECT 1 FROM pg_extension WHERE extname = 'sales_assistant' AND extversion = '" SALES_VERSION "'",
				 true, 1, 0, NULL);
	*(Installed *) arg = SPI_processed > 0 ? INSTALLED : INSTALLED_OTHER;
}

static Installed
look_at_extension(void)
{
	Installed	found = INSTALLED_NOT;

	return worker_in_transaction(step_look_at_extension, &found) == NULL ? found : INSTALLED_NOT;
}

/*
 * New files and a restart come before ALTER EXTENSION UPDATE, which may be some
 * time later and must find no worker in its way: until then nothing of ours is
 * called.  False if the extension has gone, or the worker is to go.
 */
static bool
await_update(void)
{
	Installed	found;
	bool		said = false;

	while ((found = look_at_extension()) == INSTALLED_OTHER && !slots_must_stop())
	{
		CHECK_FOR_INTERRUPTS();
		if (!said)
			ereport(WARNING, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
							  errmsg("jobs of database \"%s\" wait: it has another version of sales_assistant than the server's library, " SALES_VERSION,
									 database_name),
							  errhint("Run ALTER EXTENSION sales_assistant UPDATE in it; its worker then goes on by itself.")));
		said = true;
		slots_count(false, false, "the database awaits ALTER EXTENSION sales_assistant UPDATE");
		slots_report(WORKER_IDLE, 0);
		worker_wait(ERROR_PAUSE_MS);
	}
	return found == INSTALLED;
}

/*
 * For the rest of this process the lock that is the worker's alone; no SQL can
 * take it.  Who has the slot in shared memory waits for it: only a worker that
 * is ending can still have it, and has given up its slot a moment earlier.
 */
static bool
lock_work(void)
{
	LOCKTAG		tag = {MyDatabaseId, 0, 0, 0, LOCKTAG_USERLOCK, USER_LOCKMETHOD};

	return LockAcquire(&tag, ExclusiveLock, true, !slots_are_shared()) != LOCKACQUIRE_NOT_AVAIL;
}

/*
 * This process alone is the database's worker from here on; what the last one
 * left behind is queued again.  Long jobs may still run: a lock on their row
 * shows it.
 */
static void
step_take_over(void *arg)
{
	*(bool *) arg = lock_work();
	/* a cluster's queue and periodic work are the coordinator's */
	if (distribute_is_node())
		*(bool *) arg = false;
	if (*(bool *) arg)
		spi_run("UPDATE sales_internal.jobs j SET state = 'queued', lease_until = NULL "
				"FROM (SELECT l.job_id FROM sales_internal.jobs l "
				"      WHERE l.state = 'running' AND l.attempts < l.max_attempts "
				"      FOR UPDATE SKIP LOCKED) lost "
				"WHERE j.job_id = lost.job_id", false, 0, 0, NULL);
}

static bool
start(Oid database)
{
	bool		is_mine = false;

	worker_connect(database, "sales_assistant worker", 0);
	if (look_at_extension() == INSTALLED_NOT)
	{
		slots_forget(database);
		return false;
	}
	if (!slots_attach())
		return false;
	calls_init();
	if (!await_update() || worker_in_transaction(step_take_over, &is_mine) != NULL || !is_mine)
		return false;
	SetConfigOption("lock_timeout", WORKER_LOCK_TIMEOUT, PGC_USERSET, PGC_S_OVERRIDE);
	/* what it runs is short: compiling it takes longer, and LLVM stays in memory */
	SetConfigOption("jit", "off", PGC_USERSET, PGC_S_OVERRIDE);
	ereport(LOG, (errmsg("sales_assistant: the worker of database \"%s\" has started", database_name)));
	return true;
}

static void
step_clock_was_set(void *arg)
{
	SpiArg		args[1] = {SPI_ARG(FLOAT8OID, Float8GetDatum(*(double *) arg))};

	spi_run_kept("SELECT sales_internal.clock_was_set($1 * interval '1 second')", false, 1, 1, args);
}

/*
 * Has the clock of the machine been set?  Forward, it would end all leases, and
 * calls that are under way would be made again; back, what waits for a while
 * would wait for so much longer.
 */
static void
look_at_clock(void)
{
	static int64 before = 0;	/* what the clock was ahead of clock_monotonic() */
	int64		ahead = GetCurrentTimestamp() - clock_monotonic();
	double		seconds = before == 0 ? 0 : (ahead - before) / 1e6;

	if (fabs(seconds) < CLOCK_STEP_S || worker_in_transaction(step_clock_was_set, &seconds) == NULL)
		before = ahead;
}

void
sales_worker_main(Datum arg)
{
	int64		next_look = 0;	/* by clock_monotonic() */

	if (!start(DatumGetObjectId(arg)))
		proc_exit(0);
	while (!slots_must_stop())
	{
		long		sleep = 0;

		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		look_at_clock();
		if (clock_monotonic() >= next_look)
		{
			/* DROP EXTENSION takes the worker with it. */
			if (!await_update())
				break;
			worker_run_tasks();
			next_look = clock_monotonic() + BUSY_LOOK_MS * INT64CONST(1000);
		}
		worker_settle_calls();
		sleep = run_due_jobs();
		sleep = Min(sleep, worker_settle_ms());
		if (sleep > 0)
		{
			if (!slots_are_shared())
				sleep = Min(sleep, POLL_MS);
			pgstat_report_stat(true);
			pgstat_report_activity(STATE_IDLE, NULL);
			next_look = 0;
		}
		slots_report(sleep == 0 ? WORKER_WORKING
					 : worker_open_calls() > 0 ? WORKER_CALLING : WORKER_IDLE, worker_open_calls());
		worker_wait(sleep);
		MemoryContextReset(worker_memory);
	}
	ereport(LOG, (errmsg("sales_assistant: the worker of database \"%s\" has stopped", database_name)));
	proc_exit(0);
}

bool
worker_launch(Oid database)
{
	return worker_register("sales_worker_main", "sales_assistant worker", database, NULL, 0, NULL);
}

void
worker_init(void)
{
	DefineCustomIntVariable("sales_assistant.max_calls",
							"Calls to outside services that a worker has open at a time.", NULL,
							&guc_max_calls, 800, 1, 4096, PGC_SIGHUP, 0, NULL, NULL, NULL);
	DefineCustomIntVariable("sales_assistant.max_calls_per_company",
							"Jobs that one company has under way at a time.",
							"The rest of max_calls is kept free for others.",
							&guc_max_calls_per_company, 600, 1, 4096, PGC_SIGHUP, 0, NULL, NULL,
							NULL);
	DefineCustomIntVariable("sales_assistant.turn_timeout",
							"Time that the functions of a job may take in the worker that all companies share.",
							"A job that takes longer fails; 0 is no limit. Long jobs have processes of their own.",
							&guc_turn_timeout, 20000, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS, NULL, NULL,
							NULL);
}

int
worker_turn_timeout(void)
{
	return guc_turn_timeout;
}

/* --- by hand --- */

PG_FUNCTION_INFO_V1(sales_start_workers);
PG_FUNCTION_INFO_V1(sales_stop_workers);

/* sales.start_workers() → boolean */
Datum
sales_start_workers(PG_FUNCTION_ARGS)
{
	slots_allow(MyDatabaseId);
	if (slots_has_worker(MyDatabaseId))
		PG_RETURN_BOOL(false);
	if (!slots_has_place(MyDatabaseId))
		ereport(ERROR, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
						errmsg("%d databases of this server have a worker, and no more can have one", SLOTS),
						errhint("Drop the extension in a database that does not need it.")));
	if (!worker_launch(MyDatabaseId))
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_RESOURCES),
						errmsg("could not start a worker"),
						errhint("Raise max_worker_processes.")));
	PG_RETURN_BOOL(true);
}

/* sales.stop_workers() → boolean */
Datum
sales_stop_workers(PG_FUNCTION_ARGS)
{
	uint64		stopped;

	if (slots_are_shared())
		PG_RETURN_BOOL(slots_stop(MyDatabaseId));
	SPI_connect();
	stopped = spi_run("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
					  "WHERE backend_type = 'sales_assistant worker' "
					  "  AND datname = current_database()", false, 0, 0, NULL);
	SPI_finish();
	PG_RETURN_BOOL(stopped > 0);
}
