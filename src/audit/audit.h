#ifndef SALES_AUDIT_AUDIT_H
#define SALES_AUDIT_AUDIT_H

extern void audit_init(void);

#endif							/* SALES_AUDIT_AUDIT_H */
