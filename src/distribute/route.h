#ifndef SALES_DISTRIBUTE_ROUTE_H
#define SALES_DISTRIBUTE_ROUTE_H

#include "nodes/parsenodes.h"

/*
 * May Citus plan the query as it is?  Where all of its tables are spread and
 * compared with one and the same company, or where it is about one table only.
 */
extern bool distribute_route_is_simple(Query *query);

/*
 * The company that a spread table of this level is compared with: a constant or
 * a parameter; null where there is none.
 */
extern Node *distribute_route_company(Query *query, Index varno);

#endif							/* SALES_DISTRIBUTE_ROUTE_H */
