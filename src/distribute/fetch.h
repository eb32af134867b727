#ifndef SALES_DISTRIBUTE_FETCH_H
#define SALES_DISTRIBUTE_FETCH_H

#include "nodes/parsenodes.h"

/*
 * Where a query calls functions of ours that can only run on the coordinator,
 * its spread tables are replaced by fetches of their rows; changes the query.
 * True where that was done, or where there was nothing to do.
 */
extern bool distribute_fetch(Query *query);

#endif							/* SALES_DISTRIBUTE_FETCH_H */
