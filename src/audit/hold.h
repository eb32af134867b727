#ifndef SALES_AUDIT_HOLD_H
#define SALES_AUDIT_HOLD_H

#include "utils/uuid.h"

/*
 * Sees to it that these rows exist and stay until the transaction ends, as
 * foreign keys would; once for each transaction.  user_id may be null, as may
 * company_id where a changed row proves the company.
 */
extern void audit_hold(const pg_uuid_t *company_id, const pg_uuid_t *user_company,
					   const pg_uuid_t *user_id);

extern void audit_hold_init(void);

#endif							/* SALES_AUDIT_HOLD_H */
