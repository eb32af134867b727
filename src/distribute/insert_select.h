#ifndef SALES_DISTRIBUTE_INSERT_SELECT_H
#define SALES_DISTRIBUTE_INSERT_SELECT_H

#include "nodes/params.h"
#include "nodes/parsenodes.h"
#include "nodes/plannodes.h"

/* Is it an INSERT of a query's rows into a spread table? */
extern bool distribute_inserts_query(Query *query);

/* Throws where a part of the query's WITH is one. */
extern void distribute_refuse_inserts_in_with(Query *query);

/* A plan for one. */
extern PlannedStmt *distribute_plan_insert(Query *query);

extern void distribute_insert_select_init(void);

#endif							/* SALES_DISTRIBUTE_INSERT_SELECT_H */
