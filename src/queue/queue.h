#ifndef SALES_QUEUE_QUEUE_H
#define SALES_QUEUE_QUEUE_H

/*
 * Stops this database's worker for a command that is in its way.  It runs again
 * when the transaction ends, whichever way; one that was stopped by hand stays so.
 */
extern void queue_pause_workers(void);

extern void queue_init(void);

#endif							/* SALES_QUEUE_QUEUE_H */
