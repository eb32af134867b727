#ifndef SALES_TENANCY_STATEMENT_H
#define SALES_TENANCY_STATEMENT_H

extern void statement_init(void);

#endif							/* SALES_TENANCY_STATEMENT_H */
