#ifndef SALES_WORKER_WORKER_H
#define SALES_WORKER_WORKER_H

/* Registers a worker for a database; false when there is no free process. */
extern bool worker_launch(Oid database);

/* Milliseconds that a job may hold up the worker by its functions; 0: any. */
extern int	worker_turn_timeout(void);

extern void worker_init(void);
extern PGDLLEXPORT void sales_worker_main(Datum arg);

#endif							/* SALES_WORKER_WORKER_H */
