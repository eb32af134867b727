#ifndef SALES_CORE_PROGRESS_H
#define SALES_CORE_PROGRESS_H

#include "utils/uuid.h"

/*
 * Tells how far an operation of this session is: the first call begins it.  done and
 * total count what the phase says; total < 0: not known.  While another operation is
 * under way, which has called this one, nothing is told.
 */
extern void progress_note(const char *operation, const pg_uuid_t *company, const char *phase,
						  int64 done, int64 total);

/* It is over; the end of its transaction ends it too. */
extern void progress_end(const char *operation);

extern void progress_init(void);

#endif							/* SALES_CORE_PROGRESS_H */
