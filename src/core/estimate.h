/* estimate.h: the planner's estimate of rows in tables of the extension. */
#ifndef CORE_ESTIMATE_H
#define CORE_ESTIMATE_H

extern void core_estimate_init(void);

#endif
