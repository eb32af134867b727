#ifndef SALES_WORKER_WORKER_H
#define SALES_WORKER_WORKER_H

/* Registers a worker for a database; false when there is no free process. */
extern bool worker_launch(Oid database);

extern void worker_init(void);
extern PGDLLEXPORT void sales_worker_main(Datum arg);

#endif							/* SALES_WORKER_WORKER_H */
