#ifndef SALES_CORE_ESTIMATE_H
#define SALES_CORE_ESTIMATE_H

/* The planner's estimate of rows in tables of the extension. */
extern void core_estimate_init(void);

#endif							/* SALES_CORE_ESTIMATE_H */
