#ifndef SALES_AUDIT_EXPORT_H
#define SALES_AUDIT_EXPORT_H

extern void audit_export_init(void);

#endif							/* SALES_AUDIT_EXPORT_H */
