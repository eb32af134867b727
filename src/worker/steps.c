/*
 * steps.c
 *		What the background processes share: how they connect, and transactions
 *		around a step that turn errors into values.
 *
 * An error never ends a worker's loop.  It is caught here, once, at the edge of
 * the transaction or subtransaction that it undoes.
 */
#include "postgres.h"

#include "access/xact.h"
#include "core/spi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "queue/job.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
#include "worker/steps.h"
#include "worker/worker.h"

MemoryContext worker_memory = NULL;

static int	limit = 0;			/* of the subtransaction, in ms; 0: none */
static TimestampTz limit_start;

char *
worker_in_transaction(WorkerStep step, void *arg)
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

		MemoryContextSwitchTo(worker_memory);
		error = CopyErrorData();
		EmitErrorReport();
		FlushErrorState();
		AbortCurrentTransaction();
		problem = job_error_text(error);
	}
	PG_END_TRY();
	MemoryContextSwitchTo(worker_memory);
	return problem;
}

ErrorData *
worker_in_subtransaction(WorkerStep step, void *arg)
{
	return spi_in_subtransaction(step, arg, worker_memory);
}

/*
 * What companies write (JSON paths, patterns, templates) is run by the worker that
 * all of them share: none of it may hold the others up for long.
 */
void
worker_limit_step(int limit_ms)
{
	limit = limit_ms;
	limit_start = GetCurrentTimestamp();
	enable_timeout_after(STATEMENT_TIMEOUT, limit_ms);
}

ErrorData *
worker_in_limited_subtransaction(WorkerStep step, void *arg, int limit_ms)
{
	ErrorData  *error;

	limit = 0;
	if (limit_ms > 0)
		worker_limit_step(limit_ms);
	error = worker_in_subtransaction(step, arg);
	if (limit == 0)
		return error;
	disable_timeout(STATEMENT_TIMEOUT, false);
	QueryCancelPending = false; /* it may have fired at the last moment */
	if (error != NULL && error->sqlerrcode == ERRCODE_QUERY_CANCELED &&
		TimestampDifferenceExceeds(limit_start, GetCurrentTimestamp(), limit))
	{
		error->sqlerrcode = ERRCODE_PROGRAM_LIMIT_EXCEEDED;
		error->message = MemoryContextStrdup(worker_memory,
											 "the job held up the worker for longer than sales_assistant.turn_timeout");
	}
	return error;
}

void
worker_connect(Oid database, const char *name, uint32 flags)
{
	pqsignal(SIGHUP, SignalHandlerForConfigReload);
	pqsignal(SIGTERM, die);
	BackgroundWorkerUnblockSignals();
	BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, flags);
	pgstat_report_appname(name);
	/* spi_run() need not pin it for each query then. */
	SetConfigOption("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_OVERRIDE);
	worker_memory = AllocSetContextCreate(TopMemoryContext, "sales_assistant worker",
										  ALLOCSET_DEFAULT_SIZES);
	MemoryContextSwitchTo(worker_memory);
}
