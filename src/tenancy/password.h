#ifndef SALES_TENANCY_PASSWORD_H
#define SALES_TENANCY_PASSWORD_H

/* A new yescrypt hash of a password; palloc'd. */
extern char *password_hash(const char *password);

/*
 * Does the password match the hash?  With a null hash it works as long as with
 * a real one and says no, so that time does not tell which users exist.
 */
extern bool password_verify(const char *password, const char *hash);

/* Error with a hint unless the password may be set. */
extern void password_check_strength(const char *password);

#endif							/* SALES_TENANCY_PASSWORD_H */
