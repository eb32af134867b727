#ifndef SALES_TENANCY_REVOCATION_H
#define SALES_TENANCY_REVOCATION_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

/*
 * Makes every context of a company, or of a user or session of it, that was signed
 * until now worthless, in all sessions, when this transaction commits.
 */
extern void revocation_add(const pg_uuid_t *id, const pg_uuid_t *company);

/*
 * At once, whatever becomes of the transaction: every context signed until now,
 * but for those of bound roles, is worthless in all sessions.
 */
extern void revocation_add_all(void);

/* Changes whenever something was revoked; contexts are judged again then. */
extern uint64 revocation_count(void);

/*
 * Was the id revoked after a context was signed?  Without shared memory: no.
 * `bound` is for the context of a bound role, which the revoking transaction
 * signs afresh: it counts from the call of revocation_add(), others from commit.
 */
extern bool revocation_covers(const pg_uuid_t *id, TimestampTz signed_at, bool bound);

extern void revocation_init(void);

#endif							/* SALES_TENANCY_REVOCATION_H */
