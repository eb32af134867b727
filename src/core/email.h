#ifndef SALES_CORE_EMAIL_H
#define SALES_CORE_EMAIL_H

/*
 * Is this an address that a CRM should take: a dot-atom, "@", and a host name
 * of two labels or more?  If not, *reason (static) says why.
 */
extern bool email_is_valid(const char *address, int length, const char **reason);

#endif							/* SALES_CORE_EMAIL_H */
