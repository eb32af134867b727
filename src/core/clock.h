#ifndef SALES_CORE_CLOCK_H
#define SALES_CORE_CLOCK_H

#include "datatype/timestamp.h"
#include "utils/guc.h"

/* Start of the current transaction, or what sales_assistant.clock says. */
extern TimestampTz clock_now(void);

/* The instant itself (moves within a transaction), or sales_assistant.clock. */
extern TimestampTz clock_instant(void);

/* Is it what sales_assistant.clock says? */
extern bool clock_is_fixed(void);

/* Has clock_now() be that of the node that sent us work, until clock_follow_no_more(). */
extern void clock_follow(TimestampTz now, bool is_fixed);
extern void clock_follow_no_more(void);

/*
 * Microseconds since some moment, however the clock of the machine is set
 * meanwhile: for how long to wait, and how long something took.
 */
extern int64 clock_monotonic(void);

extern bool clock_check_hook(char **newval, void **extra, GucSource source);
extern void clock_assign_hook(const char *newval, void *extra);

#endif							/* SALES_CORE_CLOCK_H */
