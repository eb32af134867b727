#ifndef SALES_WORKER_ANSWERS_H
#define SALES_WORKER_ANSWERS_H

/* Settles calls that have ended, many at a time; waits a moment for more of them. */
extern void worker_settle_calls(void);

/* Milliseconds until something is to be settled; INT_MAX: nothing is. */
extern long worker_settle_ms(void);

#endif							/* SALES_WORKER_ANSWERS_H */
