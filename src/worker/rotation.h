#ifndef SALES_WORKER_ROTATION_H
#define SALES_WORKER_ROTATION_H

#include "postgres.h"

/* Seals the secrets of one database under the current master key. */
extern PGDLLEXPORT void sales_rotation_main(Datum arg);

#endif							/* SALES_WORKER_ROTATION_H */
