/*
 * queue.c
 *		The queue as SQL sees it: waking the worker at commit, waiting for a
 *		job, running jobs in the foreground.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "core/clock.h"
#include "core/spi.h"
#include "core/uuid.h"
#include "fmgr.h"
#include "http/http.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "queue/job.h"
#include "queue/queue.h"
#include "secrets/cipher.h"
#include "storage/latch.h"
#include "tenancy/context.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "worker/slots.h"

#define WAIT_POLL_MS 50

static bool wake_at_commit = false;
static bool allow_at_end = false;
static uint32 waits_for_job = 0;	/* wait event */

static void
queue_xact_callback(XactEvent event, void *arg)
{
	if (allow_at_end && (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT))
	{
		allow_at_end = false;
		slots_allow(MyDatabaseId);
		slots_wake(MyDatabaseId);
	}
	if (event == XACT_EVENT_COMMIT && wake_at_commit)
		slots_wake(MyDatabaseId);
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		wake_at_commit = false;
}

void
queue_pause_workers(void)
{
	if (slots_is_stopped(MyDatabaseId))
		return;
	allow_at_end = true;
	(void) slots_stop(MyDatabaseId);
}

void
queue_init(void)
{
	RegisterXactCallback(queue_xact_callback, NULL);
}

PG_FUNCTION_INFO_V1(sales_wake_workers);
PG_FUNCTION_INFO_V1(sales_pause_workers);
PG_FUNCTION_INFO_V1(sales_wait_job);
PG_FUNCTION_INFO_V1(sales_run_jobs);

/* sales_internal.wake_workers(): a database being restored stays quiet. */
Datum
sales_wake_workers(PG_FUNCTION_ARGS)
{
	if (!spi_restoring())
		wake_at_commit = true;
	PG_RETURN_VOID();
}

/* sales_internal.pause_workers() */
Datum
sales_pause_workers(PG_FUNCTION_ARGS)
{
	queue_pause_workers();
	PG_RETURN_VOID();
}

/* sales.wait_job(job_id uuid, timeout interval) → text, the state */
Datum
sales_wait_job(PG_FUNCTION_ARGS)
{
	const pg_uuid_t *company = context_company_or_fail();
	SpiArg		args[2];
	TimestampTz begin;
	int64		end;			/* by clock_monotonic() */
	char	   *state;
	MemoryContext caller = CurrentMemoryContext;

	if (PG_ARGISNULL(0) || PG_ARGISNULL(1))
		PG_RETURN_NULL();
	begin = GetCurrentTimestamp();
	end = clock_monotonic() - begin +
		DatumGetTimestampTz(DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(begin),
												PG_GETARG_DATUM(1)));
	args[0] = SPI_ARG_UUID(PG_GETARG_UUID_P(0));
	args[1] = SPI_ARG_UUID(company);
	for (;;)
	{
		CHECK_FOR_INTERRUPTS();
		/* Under READ COMMITTED each look has a new snapshot. */
		PushActiveSnapshot(IsolationUsesXactSnapshot() ? GetTransactionSnapshot()
						   : GetLatestSnapshot());
		SPI_connect();
		/* generate_report() has done its work when it returns; who waits for it needs not know. */
		if (spi_run_as_owner("SELECT state FROM sales_internal.jobs "
							 "WHERE job_id = $1 AND company_id = $2 "
							 "UNION ALL SELECT 'done' FROM sales.success_reports "
							 "WHERE report_id = $1 AND company_id = $2", true, 1, 2, args) == 0)
			ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
							errmsg("there is no job %s", uuid_text(PG_GETARG_UUID_P(0))),
							errhint("See sales.jobs.")));
		state = MemoryContextStrdup(caller, spi_text(0, 1));
		SPI_finish();
		PopActiveSnapshot();
		if ((strcmp(state, "queued") != 0 && strcmp(state, "running") != 0) ||
			clock_monotonic() >= end)
			PG_RETURN_TEXT_P(cstring_to_text(state));
		pfree(state);
		(void) WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH,
						 WAIT_POLL_MS, compat_wait_event(&waits_for_job, "SalesAssistantWaitJob"));
		ResetLatch(MyLatch);
	}
}

/* Runs a claimed job to its outcome; SPI is connected. */
static char *
run_to_outcome(const Job *job)
{
	char	   *json = job_prepare(job);

	while (job->mode == JOB_HTTP && !job_is_outcome(json, NULL))
	{
		char	   *secret;
		Jsonb	   *response;

		job_check_calls_allowed(job);
		secret = job_secret(job, json);
		response = http_perform(json, secret);
		cipher_wipe(secret);
		json = job_answer(job, response);
	}
	return json;
}

typedef struct Run
{
	const Job  *job;
	const char *outcome;		/* set: the job only ends so */
} Run;

static void
step_run(void *arg)
{
	Run		   *run = arg;

	if (job_settle(run->job, run->outcome ? run->outcome : run_to_outcome(run->job)) == JOB_LOST)
		elog(ERROR, "job %s was lost while it ran", uuid_text(&run->job->job_id));
}

/* A job with its end, so that an error is the job's alone; null when it ended, else the error. */
static ErrorData *
run_guarded(const Job *job, const char *outcome)
{
	Run			run = {job, outcome};
	ErrorData  *error = spi_in_subtransaction(step_run, &run, CurrentMemoryContext);

	if (error != NULL && error->sqlerrcode == ERRCODE_QUERY_CANCELED)
		ReThrowError(error);
	return error;
}

/* sales_internal.run_jobs(most integer) → integer */
Datum
sales_run_jobs(PG_FUNCTION_ARGS)
{
	int			most = PG_GETARG_INT32(0);
	int			ran = 0;

	SPI_connect();
	while (ran < most)
	{
		List	   *jobs = job_claim(Min(most - ran, 100), 0, true, CurrentMemoryContext);
		ListCell   *cell;

		if (jobs == NIL)
			break;
		foreach(cell, jobs)
		{
			Job		   *job = lfirst(cell);
			ErrorData  *error;

			CHECK_FOR_INTERRUPTS();
			error = run_guarded(job, NULL);
			if (error != NULL)
				(void) run_guarded(job, job_outcome_of(error));
			ran++;
		}
	}
	SPI_finish();
	PG_RETURN_INT32(ran);
}
