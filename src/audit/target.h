#ifndef SALES_AUDIT_TARGET_H
#define SALES_AUDIT_TARGET_H

#include "datatype/timestamp.h"
#include "executor/tuptable.h"
#include "utils/rel.h"

#define AUDIT_BATCH_ROWS 100	/* that are written together at most */

/* The columns of audit_logs that are written, in an order of their own. */
enum
{
	COL_ID, COL_COMPANY, COL_USER, COL_TABLE, COL_RECORD, COL_ACTION, COL_OLD, COL_NEW,
	COL_IP, COL_AGENT, COL_BASIS, COL_AT, COL_DIGEST, COL_COUNT
};

/* The partition of a month, open for writing. */
typedef struct AuditTarget
{
	Relation	parent;
	Relation	leaf;
	AttrNumber	attnums[COL_COUNT]; /* of the columns in the partition */
	Oid			action_type;
} AuditTarget;

/*
 * Locks audit_logs and opens the partition for rows of an instant.  False where
 * rows must go in by a plain INSERT; nothing is open then.
 */
extern bool audit_target_open(AuditTarget *target, TimestampTz at);

/* An empty slot for row `i` of those that are written together. */
extern TupleTableSlot *audit_target_slot(int i);

/*
 * Writes the first `count` slots into the partition and its indexes, and empties
 * them.  Garbage goes to the current memory context.
 */
extern void audit_target_insert(AuditTarget *target, int count);

/* Closes it; locks are kept until the transaction ends. */
extern void audit_target_close(AuditTarget *target);

extern void audit_target_init(void);

#endif							/* SALES_AUDIT_TARGET_H */
