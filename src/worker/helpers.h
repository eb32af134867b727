#ifndef SALES_WORKER_HELPERS_H
#define SALES_WORKER_HELPERS_H

#include "postmaster/bgworker.h"
#include "queue/job.h"

/* Registers a background process of this library; false when none is free. */
extern bool worker_register(const char *function, const char *name, Oid database,
							const void *extra, int extra_size,
							BackgroundWorkerHandle **handle);

/* Runs a job of mode sql or long, here, in a transaction that also settles it. */
extern void worker_run_job(const Job *job);

/* Can one more long job have a process of its own? */
extern bool worker_has_long_place(void);

/* Runs a long job in a process of its own, or puts it back for a moment. */
extern void worker_run_long(const Job *job);

/* Runs the periodic tasks that are due; what is slow gets a process. */
extern void worker_run_tasks(void);

/* Is a process under way with a task?  Its end wakes the worker. */
extern bool worker_runs_tasks(void);

extern PGDLLEXPORT void sales_helper_main(Datum arg);

#endif							/* SALES_WORKER_HELPERS_H */
