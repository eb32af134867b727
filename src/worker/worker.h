#ifndef SALES_WORKER_WORKER_H
#define SALES_WORKER_WORKER_H

/* The worker waits for nobody for longer; what meets a lock is put back. */
#define WORKER_LOCK_TIMEOUT "250ms"

/* Registers a worker for a database; false when there is no free process. */
extern bool worker_launch(Oid database);

/* Milliseconds that a job may hold up the worker by its functions; 0: any. */
extern int	worker_turn_timeout(void);

extern void worker_init(void);
extern PGDLLEXPORT void sales_worker_main(Datum arg);

#endif							/* SALES_WORKER_WORKER_H */
