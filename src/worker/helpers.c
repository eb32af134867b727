/*
 * helpers.c
 *		Work that would hold up the worker's loop, in short-lived processes.
 *
 * A long job (training, an import) and a periodic task that was not quick the
 * last time, or comes seldom (claim_task()), get a process of their own, while the
 * loop goes on with the calls.  The claim of a job is held by a row lock in the
 * transaction that runs it, so that no lease has to be extended; a lost process drops
 * the lock.  The helpers end with the worker that started them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/spi.h"
#include "core/uuid.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "portability/instr_time.h"
#include "queue/job.h"
#include "storage/ipc.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
#include "worker/helpers.h"
#include "worker/slots.h"
#include "worker/steps.h"
#include "worker/turns.h"
#include "worker/worker.h"

#define LONG_JOBS 2				/* processes for long jobs at a time */
#define TASKS_PLACE LONG_JOBS	/* the one for periodic tasks */
#define QUICK_TASK_MS 100

/* What a helper is told, in bgw_extra. */
typedef struct HelperOrder
{
	bool		is_task;
	pg_uuid_t	job_id;
	char		task[NAMEDATALEN];
} HelperOrder;

StaticAssertDecl(sizeof(HelperOrder) <= BGW_EXTRALEN, "an order must fit into bgw_extra");

static BackgroundWorkerHandle *helpers[LONG_JOBS + 1];

bool
worker_register(const char *function, const char *name, Oid database, const void *extra,
				int extra_size, BackgroundWorkerHandle **handle)
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
	worker.bgw_main_arg = ObjectIdGetDatum(database);
	worker.bgw_notify_pid = MyProcPid;
	if (extra_size > 0)
		memcpy(worker.bgw_extra, extra, extra_size);
	ok = RegisterDynamicBackgroundWorker(&worker, handle);
	MemoryContextSwitchTo(old);
	return ok;
}

/* --- jobs --- */

typedef struct JobRun
{
	const Job  *job;
	const char *outcome;		/* set: the job only ends so */
	ErrorData  *error;
	JobEnd		end;
	bool		lost;
} JobRun;

static void
step_run_job(void *arg)
{
	JobRun	   *run = arg;

	if (!job_hold(run->job))
	{
		run->lost = true;
		return;
	}
	run->end = job_settle(run->job, run->outcome ? run->outcome : job_prepare(run->job));
	if (run->end == JOB_LOST)
	{
		run->lost = true;
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("the job was cancelled")));
	}
}

static void
step_run_job_or_note_why(void *arg)
{
	JobRun	   *run = arg;
	/* a long job has a process of its own */
	ErrorData  *error = run->job->mode == JOB_LONG ? worker_in_subtransaction(step_run_job, run)
		: worker_in_limited_subtransaction(step_run_job, run, worker_turn_timeout());

	if (error == NULL || run->lost)
		return;
	run->error = error;
	run->outcome = job_outcome_of(error);
	run->end = job_settle(run->job, run->outcome);
}

void
worker_run_job(const Job *job)
{
	JobRun		run = {.job = job};
	char	   *problem;

	slots_report(WORKER_WORKING, worker_open_calls());
	pgstat_report_activity(STATE_RUNNING, job->kind);
	problem = worker_in_transaction(step_run_job_or_note_why, &run);
	if (problem != NULL)
	{
		/* not even its failure could be noted there */
		run.outcome = job_failure(problem);
		run.error = NULL;
		if (worker_in_transaction(step_run_job_or_note_why, &run) != NULL)
			return;
	}
	if (!run.lost)
		slots_count(run.end == JOB_DONE, run.end == JOB_FAILED,
					problem ? problem : run.error ? job_error_text(run.error) : NULL);
}

/* --- places --- */

static void
stop_helpers(int code, Datum arg)
{
	for (int i = 0; i <= LONG_JOBS; i++)
		if (helpers[i] != NULL)
			TerminateBackgroundWorker(helpers[i]);
}

static bool
is_free(int place)
{
	pid_t		pid;

	if (helpers[place] != NULL && GetBackgroundWorkerPid(helpers[place], &pid) == BGWH_STOPPED)
	{
		pfree(helpers[place]);
		helpers[place] = NULL;
	}
	return helpers[place] == NULL;
}

static bool
start_helper(int place, const char *name, const HelperOrder *order)
{
	static bool registered = false;

	if (!registered)
		before_shmem_exit(stop_helpers, 0);
	registered = true;
	return worker_register("sales_helper_main", name, MyDatabaseId, order, sizeof(*order),
						   &helpers[place]);
}

static int
free_long_place(void)
{
	for (int i = 0; i < LONG_JOBS; i++)
		if (is_free(i))
			return i;
	return -1;
}

bool
worker_has_long_place(void)
{
	return free_long_place() >= 0;
}

static void
step_put_back(void *arg)
{
	(void) job_settle(arg, "{\"outcome\": \"wait\", \"after\": 2}");
}

void
worker_run_long(const Job *job)
{
	HelperOrder order = {.job_id = job->job_id};
	int			place = free_long_place();

	if (place >= 0 && start_helper(place, "sales_assistant long job", &order))
		return;
	/* Without a free process it is run here, unless that would hold up calls. */
	if (place >= 0 && worker_open_calls() == 0)
		worker_run_job(job);
	else
		(void) worker_in_transaction(step_put_back, (void *) job);
}

/* --- periodic tasks --- */

typedef struct Task
{
	char	   *name;
	char	   *function;
	int			last_ms;		/* -1: not known, or of no account */
	char	   *problem;
	int			ms;
} Task;

static void
step_claim_task(void *arg)
{
	Task	   *task = arg;
	char	   *text;

	spi_run_kept("SELECT name, run_function, last_ms FROM sales_internal.claim_task()", false, 1, 0, NULL);
	text = spi_text(0, 1);
	if (text == NULL)
		return;
	task->name = MemoryContextStrdup(worker_memory, text);
	task->function = MemoryContextStrdup(worker_memory, spi_text(0, 2));
	text = spi_text(0, 3);
	task->last_ms = text != NULL ? atoi(text) : -1;
}

static void
step_run_task(void *arg)
{
	Task	   *task = arg;

	spi_run(psprintf("SELECT %s()", task->function), false, 0, 0, NULL);
}

static void
step_end_task(void *arg)
{
	Task	   *task = arg;
	SpiArg		args[3] = {
		SPI_ARG_TEXT(task->name), SPI_ARG(INT4OID, Int32GetDatum(task->ms)),
		SPI_ARG_TEXT(task->problem)
	};

	spi_run_kept("SELECT sales_internal.end_task($1, $2, $3)", false, 1, 3, args);
}

static void
run_task(Task *task)
{
	TimestampTz start = GetCurrentTimestamp();

	pgstat_report_activity(STATE_RUNNING, task->function);
	task->problem = worker_in_transaction(step_run_task, task);
	task->ms = TimestampDifferenceMilliseconds(start, GetCurrentTimestamp());
	(void) worker_in_transaction(step_end_task, task);
}

void
worker_run_tasks(void)
{
	/* While tasks run in their process the others wait for it. */
	while (is_free(TASKS_PLACE))
	{
		Task		task = {NULL};
		HelperOrder order = {.is_task = true};

		CHECK_FOR_INTERRUPTS();
		if (worker_in_transaction(step_claim_task, &task) != NULL || task.name == NULL)
			return;
		strlcpy(order.task, task.name, sizeof(order.task));
		if (task.last_ms >= 0 && task.last_ms < QUICK_TASK_MS)
			run_task(&task);
		else if (!start_helper(TASKS_PLACE, "sales_assistant task", &order))
			run_task(&task);
	}
}

bool
worker_runs_tasks(void)
{
	return !is_free(TASKS_PLACE);
}

/* --- the helper's own side --- */

static void
step_load_job(void *arg)
{
	Job		  **job = arg;

	*job = job_load(&((HelperOrder *) MyBgworkerEntry->bgw_extra)->job_id, worker_memory);
}

static void
step_load_task(void *arg)
{
	Task	   *task = arg;
	SpiArg		args[1] = {SPI_ARG_TEXT(task->name)};

	if (spi_run("SELECT run_function FROM sales_internal.periodic_tasks WHERE name = $1",
				true, 1, 1, args) == 1)
		task->function = MemoryContextStrdup(worker_memory, spi_text(0, 1));
}

void
sales_helper_main(Datum arg)
{
	HelperOrder order;

	memcpy(&order, MyBgworkerEntry->bgw_extra, sizeof(order));
	worker_connect(DatumGetObjectId(arg), MyBgworkerEntry->bgw_name, 0);
	if (order.is_task)
	{
		Task		task = {.name = order.task};

		if (worker_in_transaction(step_load_task, &task) == NULL && task.function != NULL)
			run_task(&task);
	}
	else
	{
		Job		   *job = NULL;

		(void) worker_in_transaction(step_load_job, &job);
		if (job != NULL)
			worker_run_job(job);
	}
	proc_exit(0);
}
