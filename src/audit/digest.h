#ifndef SALES_AUDIT_DIGEST_H
#define SALES_AUDIT_DIGEST_H

#include "datatype/timestamp.h"
#include "secrets/key.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

#define AUDIT_DIGEST_SIZE 32	/* 4 bytes that name the key, 28 of the MAC */
#define AUDIT_KEY_ID_SIZE 4

/* One row of audit_logs as its digest sees it; null pointers are NULLs. */
typedef struct AuditEntry
{
	pg_uuid_t	audit_id;
	pg_uuid_t	company_id;
	const pg_uuid_t *user_id;
	const char *table_name;
	const pg_uuid_t *record_id;
	const char *action;
	const Jsonb *old_values;
	const Jsonb *new_values;
	const char *ip_address;
	const char *user_agent;
	const char *gdpr_basis;
	TimestampTz created_at;
} AuditEntry;

/*
 * Digest of a row under the current key.  `values_digest` (AUDIT_DIGEST_SIZE
 * bytes) takes the place of the values where they were erased; else null.
 * Throws where the master key cannot be used.
 */
extern void audit_digest(const AuditEntry *entry, const unsigned char *values_digest,
						 unsigned char out[AUDIT_DIGEST_SIZE]);

/*
 * The audit keys that rows may have been written under, the current one first:
 * how many, at most `max`.  For the nodes of a cluster.
 */
extern int	audit_keys(unsigned char out[][KEY_SIZE], int max);

#endif							/* SALES_AUDIT_DIGEST_H */
