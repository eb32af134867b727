#ifndef SALES_WORKER_TURNS_H
#define SALES_WORKER_TURNS_H

#include "queue/job.h"

/* Jobs that one transaction claims or settles; each is a subtransaction. */
#define TURNS_PER_TRANSACTION 60

/* Takes the first turn of those of the claimed jobs that are HTTP jobs, in the current transaction. */
extern void worker_first_turns(List *jobs);

/*
 * After the transaction of worker_first_turns(): starts the calls that it
 * prepared, or drops them where it was undone.
 */
extern void worker_start_calls(bool committed);

/* Settles calls that have ended, some at a time; true if any are left. */
extern bool worker_settle_calls(void);

/* Milliseconds until something is to be settled; INT_MAX: nothing is. */
extern long worker_settle_ms(void);

/* Calls open, or about to be. */
extern int	worker_open_calls(void);

/* Waits as calls_wait() does and collects the calls that end. */
extern void worker_wait(long timeout_ms);

#endif							/* SALES_WORKER_TURNS_H */
