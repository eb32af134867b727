#ifndef SALES_TENANCY_THROTTLE_H
#define SALES_TENANCY_THROTTLE_H

/*
 * Seconds until another guess for this account is let through; 0 is now.
 * `account` is any text that names it.
 */
extern int	throttle_wait(const char *account);

/* Counts a wrong guess: must the next one wait?  Or forgets them after a right one. */
extern bool throttle_failed(const char *account);
extern void throttle_succeeded(const char *account);

extern void throttle_init(void);

#endif							/* SALES_TENANCY_THROTTLE_H */
