/*
 * write.c
 *		Audit rows of one query, collected and written together.
 *
 * Rows are collected while a query's triggers fire and written before the query
 * ends, so that the next statement sees them: straight into the partition of
 * their month (target.c), or by a plain INSERT where that is not possible.
 *
 * What rows are collected in is kept for the next query.  A query that runs
 * inside another has its own.
 */
#include "postgres.h"

#include "access/xact.h"
#include "audit/target.h"
#include "audit/write.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "core/spi.h"
#include "core/uuid.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"

#define BATCH_BYTES (256 * 1024)

typedef struct AuditWriter
{
	MemoryContext rows;			/* what rows point to */
	int			count;
	AuditEntry	entries[AUDIT_BATCH_ROWS];
	unsigned char digests[AUDIT_BATCH_ROWS][AUDIT_DIGEST_SIZE];
} AuditWriter;

static AuditBatch *current = NULL;
static bool write_open = false;

static AuditWriter *spare = NULL;	/* of the query before */

static void
forget_at_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
	{
		current = NULL;
		write_open = false;
	}
}

static void
forget_at_sub_end(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
		write_open = false;
}

void
audit_write_init(void)
{
	RegisterXactCallback(forget_at_end, NULL);
	RegisterSubXactCallback(forget_at_sub_end, NULL);
}

bool
audit_write_is_open(void)
{
	return write_open;
}

/* --- writing --- */

static Oid
action_oid(Oid now, const char *label)
{
	static Oid	type = InvalidOid;
	static Oid	value = InvalidOid;
	static char known[NAMEDATALEN] = "";

	if (type != now || strcmp(known, label) != 0)
	{
		value = GetSysCacheOid2(ENUMTYPOIDNAME, Anum_pg_enum_oid, ObjectIdGetDatum(now),
								CStringGetDatum(label));
		if (!OidIsValid(value))
			elog(ERROR, "audit_action has no value \"%s\"", label);
		type = now;
		strlcpy(known, label, sizeof(known));
	}
	return value;
}

static Datum
optional_text(const char *text, bool *isnull)
{
	*isnull = (text == NULL || *text == '\0');
	return *isnull ? (Datum) 0 : CStringGetTextDatum(text);
}

/* One row as datums, allocated in the current context. */
static void
entry_datums(const AuditEntry *entry, const unsigned char *digest, Datum *values, bool *isnull)
{
	bytea	   *bytes = palloc(VARHDRSZ + AUDIT_DIGEST_SIZE);

	memset(isnull, 0, COL_COUNT * sizeof(bool));
	values[COL_ID] = UUIDPGetDatum(&entry->audit_id);
	values[COL_COMPANY] = UUIDPGetDatum(&entry->company_id);
	isnull[COL_USER] = entry->user_id == NULL;
	values[COL_USER] = UUIDPGetDatum(entry->user_id);
	values[COL_TABLE] = optional_text(entry->table_name, &isnull[COL_TABLE]);
	isnull[COL_RECORD] = entry->record_id == NULL;
	values[COL_RECORD] = UUIDPGetDatum(entry->record_id);
	isnull[COL_OLD] = entry->old_values == NULL;
	values[COL_OLD] = PointerGetDatum(entry->old_values);
	isnull[COL_NEW] = entry->new_values == NULL;
	values[COL_NEW] = PointerGetDatum(entry->new_values);
	values[COL_IP] = optional_text(entry->ip_address, &isnull[COL_IP]);
	values[COL_AGENT] = optional_text(entry->user_agent, &isnull[COL_AGENT]);
	values[COL_BASIS] = optional_text(entry->gdpr_basis, &isnull[COL_BASIS]);
	values[COL_AT] = TimestampTzGetDatum(entry->created_at);
	SET_VARSIZE(bytes, VARHDRSZ + AUDIT_DIGEST_SIZE);
	memcpy(VARDATA(bytes), digest, AUDIT_DIGEST_SIZE);
	values[COL_DIGEST] = PointerGetDatum(bytes);
}

static void
write_direct(AuditWriter *writer, AuditTarget *target)
{
	for (int i = 0; i < writer->count; i++)
	{
		TupleTableSlot *slot = audit_target_slot(i);
		Datum		values[COL_COUNT];
		bool		isnull[COL_COUNT];

		entry_datums(&writer->entries[i], writer->digests[i], values, isnull);
		values[COL_ACTION] = ObjectIdGetDatum(action_oid(target->action_type,
														 writer->entries[i].action));
		for (int column = 0; column < COL_COUNT; column++)
		{
			slot->tts_values[target->attnums[column] - 1] = values[column];
			slot->tts_isnull[target->attnums[column] - 1] = isnull[column];
		}
		ExecStoreVirtualTuple(slot);
	}
	audit_target_insert(target, writer->count);
}

/* The guard lets these through, as write_open is set; other triggers fire. */
static void
write_by_sql(AuditWriter *writer)
{
	static const Oid types[COL_COUNT] = {
		UUIDOID, UUIDOID, UUIDOID, TEXTOID, UUIDOID, TEXTOID, JSONBOID, JSONBOID, TEXTOID,
		TEXTOID, TEXTOID, TIMESTAMPTZOID, BYTEAOID
	};

	for (int i = 0; i < writer->count; i++)
	{
		Datum		values[COL_COUNT];
		bool		isnull[COL_COUNT];
		SpiArg		args[COL_COUNT];

		SPI_connect();
		entry_datums(&writer->entries[i], writer->digests[i], values, isnull);
		values[COL_ACTION] = CStringGetTextDatum(writer->entries[i].action);
		for (int column = 0; column < COL_COUNT; column++)
			args[column] = (SpiArg) {types[column], values[column], isnull[column]};
		write_open = true;
		spi_run_as_owner("INSERT INTO sales.audit_logs (audit_id, company_id, user_id, table_name, "
						 "  record_id, action, old_values, new_values, ip_address, user_agent, "
						 "  gdpr_basis, created_at, digest) "
						 "VALUES ($1, $2, $3, $4, $5, $6::sales.audit_action, $7, $8, $9, $10, $11, "
						 "  $12, $13)", false, 0, COL_COUNT, args);
		write_open = false;
		SPI_finish();
	}
}

static void
writer_flush(AuditWriter *writer)
{
	AuditTarget target;
	MemoryContext old;

	if (writer->count == 0)
		return;
	CHECK_FOR_INTERRUPTS();
	old = MemoryContextSwitchTo(writer->rows);
	if (audit_target_open(&target, writer->entries[0].created_at))
	{
		write_direct(writer, &target);
		audit_target_close(&target);
	}
	else
		write_by_sql(writer);
	MemoryContextSwitchTo(old);
	writer->count = 0;
	MemoryContextReset(writer->rows);
}

/* --- batches --- */

AuditBatch *
audit_batch_current(void)
{
	return current;
}

void
audit_batch_begin(AuditBatch *batch, bool may_move)
{
	batch->parent = current;
	batch->writer = NULL;
	batch->may_move = may_move;
	current = batch;
}

/* Gives the batch's writer back, with nothing in it. */
static void
batch_release(AuditBatch *batch)
{
	AuditWriter *writer = batch->writer;

	batch->writer = NULL;
	current = batch->parent;
	if (writer == NULL)
		return;
	writer->count = 0;
	MemoryContextReset(writer->rows);
	if (spare == NULL)
		spare = writer;
	else
	{
		MemoryContextDelete(writer->rows);
		pfree(writer);
	}
}

void
audit_batch_end(AuditBatch *batch)
{
	if (batch->writer != NULL)
		writer_flush(batch->writer);
	batch_release(batch);
}

void
audit_batch_abort(AuditBatch *batch)
{
	batch_release(batch);
}

static AuditWriter *
batch_writer(AuditBatch *batch)
{
	if (batch->writer == NULL && spare != NULL)
	{
		batch->writer = spare;
		spare = NULL;
	}
	else if (batch->writer == NULL)
	{
		MemoryContext rows = AllocSetContextCreate(TopMemoryContext, "audit rows",
												   ALLOCSET_DEFAULT_SIZES);

		batch->writer = MemoryContextAlloc(TopMemoryContext, sizeof(AuditWriter));
		batch->writer->rows = rows;
		batch->writer->count = 0;
	}
	return batch->writer;
}

MemoryContext
audit_batch_memory(AuditBatch *batch)
{
	AuditWriter *writer = batch_writer(batch);

	/* Full: written here, where no row is half made. */
	if (writer->count == AUDIT_BATCH_ROWS ||
		(writer->count > 0 && MemoryContextMemAllocated(writer->rows, false) > BATCH_BYTES))
		writer_flush(writer);
	return writer->rows;
}

MemoryContext
audit_batch_rows(AuditBatch *batch)
{
	return batch_writer(batch)->rows;
}

/* The same text as the row before has, if it is the same; else a copy. */
static const char *
share_text(const char *previous, const char *text)
{
	if (text == NULL)
		return NULL;
	return previous != NULL && strcmp(previous, text) == 0 ? previous : pstrdup(text);
}

void
audit_batch_add(AuditBatch *batch, const AuditEntry *entry)
{
	static const AuditEntry none;
	AuditWriter *writer = batch_writer(batch);
	MemoryContext old = MemoryContextSwitchTo(writer->rows);
	const AuditEntry *previous = writer->count > 0 ? &writer->entries[writer->count - 1] : &none;
	AuditEntry *copy = &writer->entries[writer->count];

	Assert(writer->count < AUDIT_BATCH_ROWS);
	*copy = *entry;
	uuid_v7_fill(&copy->audit_id);
	copy->user_id = uuid_copy(entry->user_id);
	copy->record_id = uuid_copy(entry->record_id);
	copy->table_name = share_text(previous->table_name, entry->table_name);
	copy->ip_address = share_text(previous->ip_address, entry->ip_address);
	copy->user_agent = share_text(previous->user_agent, entry->user_agent);
	copy->gdpr_basis = share_text(previous->gdpr_basis, entry->gdpr_basis);
	audit_digest(copy, NULL, writer->digests[writer->count]);
	writer->count++;
	MemoryContextSwitchTo(old);
}

const AuditEntry *
audit_batch_last(AuditBatch *batch)
{
	if (batch->writer == NULL || batch->writer->count == 0)
		return NULL;
	return &batch->writer->entries[batch->writer->count - 1];
}

void
audit_batch_drop_last(AuditBatch *batch)
{
	batch->writer->count--;
}
