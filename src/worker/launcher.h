#ifndef SALES_WORKER_LAUNCHER_H
#define SALES_WORKER_LAUNCHER_H

extern void launcher_init(void);
extern PGDLLEXPORT void sales_launcher_main(Datum arg);

#endif							/* SALES_WORKER_LAUNCHER_H */
