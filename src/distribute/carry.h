#ifndef SALES_DISTRIBUTE_CARRY_H
#define SALES_DISTRIBUTE_CARRY_H

/*
 * Has the nodes that take part in this transaction, now and later, know who
 * acts, in which tenant context.  Cheap where they know it already.
 */
extern void distribute_carry(void);

extern void distribute_carry_init(void);

#endif							/* SALES_DISTRIBUTE_CARRY_H */
