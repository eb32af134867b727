#ifndef SALES_QUEUE_QUEUE_H
#define SALES_QUEUE_QUEUE_H

extern void queue_init(void);

#endif							/* SALES_QUEUE_QUEUE_H */
