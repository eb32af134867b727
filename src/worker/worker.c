/*
 * worker.c
 *		The worker of one database: claims jobs, runs them, settles them.
 *
 * One process, one loop, short transactions:
 *	 1. claim: jobs get a lease; requests of HTTP jobs are prepared;
 *	 2. SQL jobs run, each in a transaction that also settles it; long ones get a
 *		process of their own;
 *	 3. HTTP calls are driven with no transaction open;
 *	 4. answers are settled: result and end of a job are one transaction.
 * A crash between 1 and 4 leaves a lease that runs out: the call is repeated,
 * its result is neither lost nor doubled.
 *
 * The loop sleeps on its latch until a commit wakes it, a call moves, or the
 * next job or periodic task is due.  SIGTERM ends it at the next interrupt
 * check, whatever calls are open.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "core/spi.h"
#include "core/uuid.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "queue/job.h"
#include "secrets/cipher.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "tcop/tcopprot.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/snapmgr.h"
#include "worker/calls.h"
#include "worker/slots.h"
#include "worker/worker.h"

#define LONG_JOBS 2				/* processes for long jobs at a time */
#define POLL_MS 1000			/* without shared memory nobody wakes us */
#define MAX_SLEEP_MS 300000
#define ERROR_PAUSE_MS 60000	/* when the queue itself cannot be read */

static int	guc_max_calls = 256;

/* A call with the job that it is for; malloc'd, as the call is. */
typedef struct OpenCall
{
	Job			job;
	HttpCall   *http;
	CURLcode	result;
	struct OpenCall *next;
} OpenCall;

static OpenCall *finished = NULL;	/* calls that ended and are to be settled */
static OpenCall *prepared = NULL;	/* calls to start once their claim is committed */
static MemoryContext loop_context = NULL;	/* reset after each turn */
static BackgroundWorkerHandle *long_jobs[LONG_JOBS];

/* --- transactions --- */

typedef void (*Step) (void *arg);

/*
 * Runs a step in a transaction of its own with SPI connected.  An error rolls
 * it back, is logged, and comes back as text in the loop's memory.
 */
static char *
in_transaction(Step step, void *arg)
{
	char	   *volatile problem = NULL;

	PG_TRY();
	{
		SetCurrentStatementStartTimestamp();
		StartTransactionCommand();
		SPI_connect();
		PushActiveSnapshot(GetTransactionSnapshot());
		step(arg);
		PopActiveSnapshot();
		SPI_finish();
		CommitTransactionCommand();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(loop_context);
		error = CopyErrorData();
		EmitErrorReport();
		FlushErrorState();
		AbortCurrentTransaction();
		problem = job_error_text(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(loop_context);
	return problem;
}

/* Runs a step in a subtransaction; the text of its error, or null. */
static char *
in_subtransaction(Step step, void *arg)
{
	ResourceOwner owner = CurrentResourceOwner;
	MemoryContext caller = CurrentMemoryContext;
	char	   *volatile problem = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		step(arg);
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(loop_context);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
		problem = job_error_text(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	return problem;
}

static void
settle(const Job *job, const char *outcome, const char *problem)
{
	bool		done = job_settle(job, outcome);

	slots_count(done, problem);
}

/* --- HTTP jobs --- */

typedef struct Turn
{
	const Job  *job;
	const char *response;
	char	   *json;			/* request or outcome */
	char	   *secret;
} Turn;

static void
step_prepare(void *arg)
{
	Turn	   *turn = arg;

	turn->json = turn->response == NULL
		? job_prepare(turn->job)
		: job_answer(turn->job, turn->response);
	if (!job_is_outcome(turn->json))
		turn->secret = job_secret(turn->job, turn->json);
}

static char *
malloc_text(const char *text)
{
	char	   *copy = text != NULL ? strdup(text) : NULL;

	if (text != NULL && copy == NULL)
		elog(ERROR, "out of memory");
	return copy;
}

static void
open_call_free(OpenCall *open)
{
	http_call_free(open->http);
	free(open->job.kind);
	free(open->job.args);
	free(open->job.prepare);
	free(open->job.settle);
	free(open);
}

/*
 * Makes the call, to be started by start_prepared(); null, or what is wrong
 * with the request.
 */
static const char *
make_call(const Job *job, const char *request, const char *secret)
{
	const char *problem;
	HttpCall   *http = http_call_new(request, secret, &problem);
	OpenCall   *open;

	if (http == NULL)
		return problem;
	open = calloc(1, sizeof(OpenCall));
	if (open == NULL)
		elog(ERROR, "out of memory");
	open->job = *job;
	open->job.kind = malloc_text(job->kind);
	open->job.args = malloc_text(job->args);
	open->job.prepare = malloc_text(job->prepare);
	open->job.settle = malloc_text(job->settle);
	open->http = http;
	http->owner = open;
	open->next = prepared;
	prepared = open;
	return NULL;
}

/*
 * Nothing goes out before what was noted about it is on record: were the
 * transaction undone after the call had started, the call would be made twice.
 */
static void
start_prepared(bool committed)
{
	while (prepared != NULL)
	{
		OpenCall   *open = prepared;

		prepared = open->next;
		open->next = NULL;
		if (committed)
			calls_start(open->http);
		else
			open_call_free(open);
	}
}

/*
 * Prepares a job, or hands it the response, inside the current transaction;
 * then either starts the (next) call or settles the outcome.
 */
static void
advance(const Job *job, const char *response)
{
	Turn		turn = {job, response, NULL, NULL};
	char	   *problem = in_subtransaction(step_prepare, &turn);

	if (problem == NULL && !job_is_outcome(turn.json))
	{
		problem = (char *) make_call(job, turn.json, turn.secret);
		cipher_wipe(turn.secret);
		if (problem == NULL)
			return;
	}
	settle(job, problem != NULL ? job_failure(problem) : turn.json, problem);
}

static void
call_done(HttpCall *call, CURLcode result)
{
	OpenCall   *open = call->owner;

	open->result = result;
	open->next = finished;
	finished = open;
}

static void
step_settle_calls(void *arg)
{
	for (OpenCall *open = finished; open != NULL; open = open->next)
	{
		char	   *response = http_call_response(open->http, open->result);
		char	   *copy = pstrdup(response != NULL ? response : "{\"status\": 0, \"blocked\": false, \"error\": \"out of memory\"}");

		free(response);
		advance(&open->job, copy);
	}
}

static void
settle_finished_calls(void)
{
	if (finished == NULL)
		return;
	slots_report(WORKER_WORKING, calls_open());
	/* Where this fails as a whole, the leases run out and the calls are made again. */
	start_prepared(in_transaction(step_settle_calls, NULL) == NULL);
	while (finished != NULL)
	{
		OpenCall   *next = finished->next;

		open_call_free(finished);
		finished = next;
	}
}

/* --- SQL jobs --- */

static void
step_run_sql(void *arg)
{
	const Job  *job = arg;
	char	   *outcome = job_prepare(job);

	settle(job, outcome, NULL);
}

typedef struct Failure
{
	const Job  *job;
	const char *problem;
} Failure;

static void
step_record_failure(void *arg)
{
	Failure    *failure = arg;

	settle(failure->job, job_failure(failure->problem), failure->problem);
}

static void
run_sql_job(Job *job)
{
	Failure		failure = {job, in_transaction(step_run_sql, job)};

	if (failure.problem != NULL)
		(void) in_transaction(step_record_failure, &failure);
}

/* --- long jobs, each in a process of its own --- */

/* Finds a place for one more; -1 where all are taken. */
static int
free_long_place(void)
{
	for (int i = 0; i < LONG_JOBS; i++)
	{
		pid_t		pid;

		if (long_jobs[i] == NULL)
			return i;
		if (GetBackgroundWorkerPid(long_jobs[i], &pid) == BGWH_STOPPED)
		{
			pfree(long_jobs[i]);
			long_jobs[i] = NULL;
			return i;
		}
	}
	return -1;
}

static bool
launch(const char *function, const char *name, Datum arg, const void *extra, int extra_size,
	   BackgroundWorkerHandle **handle)
{
	BackgroundWorker worker;
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	bool		ok;

	memset(&worker, 0, sizeof(worker));
	worker.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
	worker.bgw_start_time = BgWorkerStart_RecoveryFinished;
	worker.bgw_restart_time = BGW_NEVER_RESTART;
	strlcpy(worker.bgw_library_name, "sales_assistant", BGW_MAXLEN);
	strlcpy(worker.bgw_function_name, function, BGW_MAXLEN);
	strlcpy(worker.bgw_name, name, BGW_MAXLEN);
	strlcpy(worker.bgw_type, name, BGW_MAXLEN);
	worker.bgw_main_arg = arg;
	worker.bgw_notify_pid = MyProcPid;
	if (extra_size > 0)
		memcpy(worker.bgw_extra, extra, extra_size);
	ok = RegisterDynamicBackgroundWorker(&worker, handle);
	MemoryContextSwitchTo(old);
	return ok;
}

static void
run_long_job(Job *job)
{
	int			place = free_long_place();

	if (place < 0 ||
		!launch("sales_long_job_main", "sales_assistant long job",
				ObjectIdGetDatum(MyDatabaseId), &job->job_id, UUID_LEN, &long_jobs[place]))
		run_sql_job(job);		/* no place: here and now */
}

static void
worker_connect(Oid database)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
	loop_context = AllocSetContextCreate(TopMemoryContext, "sales_assistant loop",
										 ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(loop_context);
}

static void
step_load_job(void *arg)
{
	Job		  **job = arg;

	*job = job_load((pg_uuid_t *) MyBgworkerEntry->bgw_extra, loop_context);
}

void
sales_long_job_main(Datum arg)
{
	Job		   *job = NULL;

	worker_connect(DatumGetObjectId(arg));
	pgstat_report_appname("sales_assistant long job");
	(void) in_transaction(step_load_job, &job);
	if (job != NULL)
	{
		pgstat_report_activity(STATE_RUNNING, job->kind);
		run_sql_job(job);
	}
	proc_exit(0);
}

/* --- the loop --- */

static void
step_claim(void *arg)
{
	List	  **jobs = arg;
	ListCell   *cell;

	*jobs = job_claim(Max(guc_max_calls - calls_open(), 0), loop_context);
	foreach(cell, *jobs)
	{
		Job		   *job = lfirst(cell);

		if (job->mode == JOB_HTTP)
			advance(job, NULL);
	}
}

/* Claims and runs what is due; true if there may be more at once. */
static bool
run_due_jobs(void)
{
	List	   *jobs = NIL;
	ListCell   *cell;
	char	   *problem;

	if (calls_open() >= guc_max_calls)
		return false;
	problem = in_transaction(step_claim, &jobs);
	start_prepared(problem == NULL);
	if (problem != NULL)
		return false;
	foreach(cell, jobs)
	{
		Job		   *job = lfirst(cell);

		CHECK_FOR_INTERRUPTS();
		if (job->mode == JOB_SQL)
			run_sql_job(job);
		else if (job->mode == JOB_LONG)
			run_long_job(job);
	}
	return jobs != NIL;
}

static void
step_claim_task(void *arg)
{
	char	  **function = arg;

	spi_run("SELECT sales_internal.claim_task()", false, 1, 0, NULL);
	*function = spi_text(0, 1);
	if (*function != NULL)
		*function = MemoryContextStrdup(loop_context, *function);
}

static void
step_run_task(void *arg)
{
	spi_run(psprintf("SELECT %s()", (char *) arg), false, 0, 0, NULL);
}

static void
step_task_failed(void *arg)
{
	char	  **parts = arg;
	SpiArg		args[2] = {SPI_ARG_TEXT(parts[0]), SPI_ARG_TEXT(parts[1])};

	spi_run("UPDATE sales_internal.periodic_tasks SET last_error = $2 WHERE run_function = $1",
			false, 0, 2, args);
}

static void
run_due_tasks(void)
{
	for (;;)
	{
		char	   *function = NULL;
		char	   *problem = in_transaction(step_claim_task, &function);

		CHECK_FOR_INTERRUPTS();
		if (problem != NULL || function == NULL)
			return;
		pgstat_report_activity(STATE_RUNNING, function);
		problem = in_transaction(step_run_task, function);
		if (problem != NULL)
		{
			char	   *parts[2] = {function, problem};

			(void) in_transaction(step_task_failed, parts);
		}
	}
}

static void
step_is_installed(void *arg)
{
	*(bool *) arg = OidIsValid(get_extension_oid("sales_assistant", true));
}

/* What the last worker of this database left behind is queued again. */
static void
step_take_over(void *arg)
{
	spi_run("UPDATE sales_internal.jobs j SET state = 'queued', lease_until = NULL "
			"FROM sales_internal.job_kinds k "
			"WHERE k.kind = j.kind AND k.mode <> 'long' AND j.state = 'running' "
			"  AND j.attempts < j.max_attempts", false, 0, 0, NULL);
}

static void
step_until_due(void *arg)
{
	long	   *ms = arg;
	char	   *text;

	spi_run("SELECT (least(greatest(ceil(sales_internal.seconds_until_due() * 1000), 0), "
			"1000000000))::int8", true, 1, 0, NULL);
	text = spi_text(0, 1);
	*ms = text != NULL ? atol(text) : MAX_SLEEP_MS;
}

static long
time_to_sleep(void)
{
	long		ms = MAX_SLEEP_MS;

	if (calls_open() >= guc_max_calls)
		return ms;				/* a call's end wakes us */
	if (in_transaction(step_until_due, &ms) != NULL)
		ms = ERROR_PAUSE_MS;
	if (!slots_are_shared())
		ms = Min(ms, POLL_MS);
	return Min(ms, MAX_SLEEP_MS);
}

void
sales_worker_main(Datum arg)
{
	bool		installed = false;

	worker_connect(DatumGetObjectId(arg));
	pgstat_report_appname("sales_assistant worker");
	if (in_transaction(step_is_installed, &installed) != NULL || !installed ||
		!slots_attach())
		proc_exit(0);
	calls_init();
	(void) in_transaction(step_take_over, NULL);

	while (!slots_must_stop())
	{
		CHECK_FOR_INTERRUPTS();
		if (ConfigReloadPending)
		{
			ConfigReloadPending = false;
			ProcessConfigFile(PGC_SIGHUP);
		}
		/* DROP EXTENSION takes the worker with it. */
		installed = false;
		if (in_transaction(step_is_installed, &installed) != NULL || !installed)
			break;
		settle_finished_calls();
		run_due_tasks();
		if (!run_due_jobs() && finished == NULL)
		{
			long		sleep = time_to_sleep();

			pgstat_report_stat(true);
			pgstat_report_activity(STATE_IDLE, NULL);
			slots_report(calls_open() > 0 ? WORKER_CALLING : WORKER_IDLE, calls_open());
			calls_wait(sleep, call_done);
		}
		else
		{
			slots_report(WORKER_WORKING, calls_open());
			calls_wait(0, call_done);
		}
		MemoryContextReset(loop_context);
	}
	proc_exit(0);
}

bool
worker_launch(Oid database)
{
	return launch("sales_worker_main", "sales_assistant worker", ObjectIdGetDatum(database),
				  NULL, 0, NULL);
}

void
worker_init(void)
{
	DefineCustomIntVariable("sales_assistant.max_calls",
							"Calls to outside services that a worker has open at a time.", NULL,
							&guc_max_calls, 256, 1, 4096, PGC_SIGHUP, 0, NULL, NULL, NULL);
}

/* --- by hand --- */

PG_FUNCTION_INFO_V1(sales_start_workers);
PG_FUNCTION_INFO_V1(sales_stop_workers);

/* sales.start_workers() → boolean */
Datum
sales_start_workers(PG_FUNCTION_ARGS)
{
	slots_allow(MyDatabaseId);
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
	if (!slots_are_shared())
	{
		SPI_connect();
		spi_run("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
				"WHERE backend_type = 'sales_assistant worker' "
				"  AND datname = current_database()", false, 0, 0, NULL);
		SPI_finish();
		PG_RETURN_BOOL(SPI_processed > 0);
	}
	PG_RETURN_BOOL(slots_stop(MyDatabaseId));
}
