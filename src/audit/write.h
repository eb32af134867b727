#ifndef SALES_AUDIT_WRITE_H
#define SALES_AUDIT_WRITE_H

#include "audit/digest.h"

/*
 * Audit rows of one query, written together when it ends.  Lives on the stack
 * of whoever runs the query: audit_batch_begin(), the query, then
 * audit_batch_end(), or audit_batch_abort() where it failed.
 */
typedef struct AuditBatch
{
	struct AuditBatch *parent;
	struct AuditWriter *writer; /* made with the first row */
	bool		may_move;		/* there is an UPDATE in it: rows can change their partition */
} AuditBatch;

extern void audit_batch_begin(AuditBatch *batch, bool may_move);
extern void audit_batch_end(AuditBatch *batch);
extern void audit_batch_abort(AuditBatch *batch);

/* The batch of the running query; null where nobody will end one. */
extern AuditBatch *audit_batch_current(void);

/*
 * Memory for the values of the next row.  Writes the rows of a full batch first,
 * which empties it; audit_batch_rows() is the same without that.
 */
extern MemoryContext audit_batch_memory(AuditBatch *batch);
extern MemoryContext audit_batch_rows(AuditBatch *batch);

/*
 * Adds a row; audit_id and the digest are made here.  The values must be in
 * audit_batch_memory(); all else is copied.
 */
extern void audit_batch_add(AuditBatch *batch, const AuditEntry *entry);

/* The last row added, while it is not written; null where there is none. */
extern const AuditEntry *audit_batch_last(AuditBatch *batch);

/* Takes the last row back. */
extern void audit_batch_drop_last(AuditBatch *batch);

/* True while audit_logs takes rows by SQL from the extension itself. */
extern bool audit_write_is_open(void);

extern void audit_write_init(void);

#endif							/* SALES_AUDIT_WRITE_H */
