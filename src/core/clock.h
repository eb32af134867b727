#ifndef SALES_CORE_CLOCK_H
#define SALES_CORE_CLOCK_H

#include "datatype/timestamp.h"
#include "utils/guc.h"

/* Start of the current transaction, or what sales_assistant.clock says. */
extern TimestampTz clock_now(void);

/* The instant itself (moves within a transaction), or sales_assistant.clock. */
extern TimestampTz clock_instant(void);

extern bool clock_check_hook(char **newval, void **extra, GucSource source);
extern void clock_assign_hook(const char *newval, void *extra);

#endif							/* SALES_CORE_CLOCK_H */
