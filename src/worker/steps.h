#ifndef SALES_WORKER_STEPS_H
#define SALES_WORKER_STEPS_H

#include "core/spi.h"

typedef SpiStep WorkerStep;

/* Memory of one turn of the loop, reset after it; texts of errors come in it. */
extern MemoryContext worker_memory;

/*
 * Runs a step in a transaction of its own with SPI connected.  An error rolls
 * it back, is logged, and comes back as text; null when all is well.
 */
extern char *worker_in_transaction(WorkerStep step, void *arg);

/* As spi_in_subtransaction(); errors come in worker_memory. */
extern ErrorData *worker_in_subtransaction(WorkerStep step, void *arg);

/* The same, cancelled after so many milliseconds; 0: never. */
extern ErrorData *worker_in_limited_subtransaction(WorkerStep step, void *arg, int limit_ms);

/* In a step of worker_in_limited_subtransaction() that was given no limit: the limit, from here on. */
extern void worker_limit_step(int limit_ms);

/*
 * First thing of a background process of this database: signals, connection,
 * memory.  `name` is what pg_stat_activity shows; flags are those of
 * BackgroundWorkerInitializeConnectionByOid().
 */
extern void worker_connect(Oid database, const char *name, uint32 flags);

#endif							/* SALES_WORKER_STEPS_H */
