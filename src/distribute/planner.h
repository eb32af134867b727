#ifndef SALES_DISTRIBUTE_PLANNER_H
#define SALES_DISTRIBUTE_PLANNER_H

/* Throws away plans that hold the company of the context so far. */
extern void distribute_forget_plans(void);

extern void distribute_planner_init(void);

#endif							/* SALES_DISTRIBUTE_PLANNER_H */
