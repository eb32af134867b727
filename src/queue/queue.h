#ifndef SALES_QUEUE_QUEUE_H
#define SALES_QUEUE_QUEUE_H

/*
 * This database's worker was stopped for a command: it may run again when the
 * transaction ends, whichever way.
 */
extern void queue_wake_at_end(void);

extern void queue_init(void);

#endif							/* SALES_QUEUE_QUEUE_H */
