/*
 * write.c
 *		Puts audit rows into the table: many at once, straight into the partition.
 *
 * Rows are collected while a query's triggers fire and written before the query
 * ends, so that the next statement sees them.  A row goes into the partition of
 * its month as COPY would put it there: table_multi_insert(), then the indexes;
 * no parser, planner or executor node in between.
 *
 * What an INSERT would do besides, and why it may be left out:
 *	- row security: nobody may write audit_logs but the extension;
 *	- foreign key to companies: the changed row proves the company, by its own
 *	  foreign keys, and holds it until the transaction ends;
 *	- foreign key to users: the user's row is locked once in a transaction, as
 *	  the key's trigger would lock it for each row;
 *	- NOT NULL and lengths: values are made here and fit;
 *	- the guard against writing by SQL: that is for others.
 * Where there is more to do, it is done: with a trigger, rule, column or
 * constraint that somebody added to audit_logs, or where it is not a table
 * with partitions by created_at, the rows go in by a plain INSERT.
 */
#include "postgres.h"

#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "audit/write.h"
#include "catalog/namespace.h"
#include "catalog/partition.h"
#include "catalog/pg_enum.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "compat.h"
#include "core/spi.h"
#include "core/uuid.h"
#include "executor/executor.h"
#include "miscadmin.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#define BATCH_ROWS 100
#define BATCH_BYTES (256 * 1024)

/* The columns of audit_logs that are written, in an order of their own. */
enum
{
	COL_ID, COL_COMPANY, COL_USER, COL_TABLE, COL_RECORD, COL_ACTION, COL_OLD, COL_NEW,
	COL_IP, COL_AGENT, COL_BASIS, COL_AT, COL_DIGEST, COL_COUNT
};

static const char *const column_names[COL_COUNT] = {
	"audit_id", "company_id", "user_id", "table_name", "record_id", "action", "old_values",
	"new_values", "ip_address", "user_agent", "gdpr_basis", "created_at", "digest"
};

typedef struct AuditWriter
{
	MemoryContext context;		/* the writer itself and what is open */
	MemoryContext rows;			/* what rows point to */
	int			count;
	AuditEntry	entries[BATCH_ROWS];
	unsigned char digests[BATCH_ROWS][AUDIT_DIGEST_SIZE];

	/* the partition, while it is open */
	Relation	parent;
	Relation	leaf;
	bool		direct;			/* else rows go in by INSERT */
	AttrNumber	attnums[COL_COUNT];
	EState	   *estate;
	ResultRelInfo *result;
	TupleTableSlot *slots[BATCH_ROWS];
	int			nslots;
} AuditWriter;

static AuditBatch *current = NULL;
static bool write_open = false;

/* The row of companies or users that this transaction has locked last. */
typedef struct Held
{
	LocalTransactionId lxid;
	SubTransactionId subid;
	pg_uuid_t	id;
} Held;

static Held held_company;
static Held held_user;

static void
forget_at_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
	{
		current = NULL;
		write_open = false;
		held_company.lxid = held_user.lxid = InvalidLocalTransactionId;
	}
}

/* A lock taken in a subtransaction goes when that is rolled back. */
static void
forget_at_sub_end(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB)
	{
		write_open = false;
		if (held_company.subid >= mine)
			held_company.lxid = InvalidLocalTransactionId;
		if (held_user.subid >= mine)
			held_user.lxid = InvalidLocalTransactionId;
	}
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

/* --- where rows go --- */

/* Does an INSERT here do more than we would? */
static bool
has_other_triggers(Relation leaf)
{
	TriggerDesc *triggers = leaf->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if ((trigger->tgtype & TRIGGER_TYPE_INSERT) != 0 && trigger->tgenabled != TRIGGER_DISABLED &&
			RI_FKey_trigger_type(trigger->tgfoid) == RI_TRIGGER_NONE &&
			strcmp(trigger->tgname, "append_only") != 0 &&
			strcmp(trigger->tgname, "quiet_restore") != 0)
			return true;
	}
	return false;
}

/* Finds our columns in the partition; false where it has others to be filled. */
static bool
map_columns(AuditWriter *writer)
{
	TupleDesc	desc = RelationGetDescr(writer->leaf);

	memset(writer->attnums, 0, sizeof(writer->attnums));
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		int			column = 0;

		if (attribute->attisdropped)
			continue;
		while (column < COL_COUNT &&
			   strcmp(NameStr(attribute->attname), column_names[column]) != 0)
			column++;
		if (column < COL_COUNT)
			writer->attnums[column] = attribute->attnum;
		else if (attribute->attnotnull || attribute->atthasdef)
			return false;
	}
	for (int column = 0; column < COL_COUNT; column++)
		if (writer->attnums[column] == 0)
			return false;
	return true;
}

/* The partition for an instant; invalid where the table is of another make. */
static Oid
find_partition(Relation parent, TimestampTz at)
{
	PartitionKey key = RelationGetPartitionKey(parent);
	PartitionDesc parts = RelationGetPartitionDesc(parent, true);
	Datum		value = TimestampTzGetDatum(at);
	bool		is_equal;
	int			offset;
	int			index;

	if (key->strategy != PARTITION_STRATEGY_RANGE || key->partnatts != 1 ||
		key->parttypid[0] != TIMESTAMPTZOID || parts->boundinfo == NULL)
		return InvalidOid;
	offset = partition_range_datum_bsearch(key->partsupfunc, key->partcollation,
										   parts->boundinfo, 1, &value, &is_equal);
	index = parts->boundinfo->indexes[offset + 1];
	if (index < 0)
		index = parts->boundinfo->default_index;
	return index < 0 ? InvalidOid : parts->oids[index];
}

static void
writer_open(AuditWriter *writer, TimestampTz at)
{
	Oid			parent = get_relname_relid("audit_logs", get_namespace_oid("sales", false));
	MemoryContext old = MemoryContextSwitchTo(writer->context);
	Oid			leaf;

	if (!OidIsValid(parent))
		ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
						errmsg("table sales.audit_logs does not exist")));
	writer->parent = table_open(parent, RowExclusiveLock);
	writer->leaf = NULL;
	writer->direct = false;
	if (writer->parent->rd_rel->relkind == RELKIND_PARTITIONED_TABLE)
	{
		leaf = find_partition(writer->parent, at);
		while (OidIsValid(leaf))
		{
			writer->leaf = table_open(leaf, RowExclusiveLock);
			/* a partition made while we waited may be the right one now */
			if (find_partition(writer->parent, at) == leaf)
				break;
			table_close(writer->leaf, NoLock);
			writer->leaf = NULL;
			leaf = find_partition(writer->parent, at);
		}
	}
	writer->direct = writer->leaf != NULL && writer->leaf->rd_rel->relkind == RELKIND_RELATION &&
		!has_other_triggers(writer->leaf) &&
		(writer->leaf->rd_att->constr == NULL || writer->leaf->rd_att->constr->num_check == 0) &&
		map_columns(writer);
	if (writer->direct)
	{
		writer->estate = CreateExecutorState();
		writer->result = makeNode(ResultRelInfo);
		InitResultRelInfo(writer->result, writer->leaf, 1, NULL, 0);
		ExecOpenIndices(writer->result, false);
		writer->nslots = 0;
	}
	MemoryContextSwitchTo(old);
}

/* Locks are kept until the transaction ends. */
static void
writer_close(AuditWriter *writer)
{
	if (writer->parent == NULL)
		return;
	if (writer->direct)
	{
		for (int i = 0; i < writer->nslots; i++)
			ExecDropSingleTupleTableSlot(writer->slots[i]);
		ExecCloseIndices(writer->result);
		FreeExecutorState(writer->estate);
	}
	if (writer->leaf != NULL)
		table_close(writer->leaf, NoLock);
	table_close(writer->parent, NoLock);
	writer->parent = NULL;
}

/* --- writing --- */

static Oid
action_oid(AuditWriter *writer, const char *label)
{
	static Oid	type = InvalidOid;
	static Oid	value = InvalidOid;
	static char known[NAMEDATALEN] = "";
	Oid			now = TupleDescAttr(RelationGetDescr(writer->leaf),
									writer->attnums[COL_ACTION] - 1)->atttypid;

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
write_direct(AuditWriter *writer)
{
	CommandId	command = GetCurrentCommandId(true);
	MemoryContext old = MemoryContextSwitchTo(writer->context);

	while (writer->nslots < writer->count)
		writer->slots[writer->nslots++] = table_slot_create(writer->leaf, NULL);
	MemoryContextSwitchTo(writer->rows);
	for (int i = 0; i < writer->count; i++)
	{
		TupleTableSlot *slot = writer->slots[i];
		Datum		values[COL_COUNT];
		bool		isnull[COL_COUNT];

		entry_datums(&writer->entries[i], writer->digests[i], values, isnull);
		values[COL_ACTION] = ObjectIdGetDatum(action_oid(writer, writer->entries[i].action));
		ExecClearTuple(slot);
		memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts * sizeof(bool));
		for (int column = 0; column < COL_COUNT; column++)
		{
			slot->tts_values[writer->attnums[column] - 1] = values[column];
			slot->tts_isnull[writer->attnums[column] - 1] = isnull[column];
		}
		ExecStoreVirtualTuple(slot);
	}
	table_multi_insert(writer->leaf, writer->slots, writer->count, command, 0, NULL);
	for (int i = 0; i < writer->count; i++)
	{
		(void) compat_insert_index_tuples(writer->result, writer->slots[i], writer->estate);
		ResetPerTupleExprContext(writer->estate);
		ExecClearTuple(writer->slots[i]);
	}
	MemoryContextSwitchTo(old);
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
	if (writer->count == 0)
		return;
	CHECK_FOR_INTERRUPTS();
	if (writer->parent == NULL)
		writer_open(writer, writer->entries[0].created_at);
	if (writer->direct)
		write_direct(writer);
	else
		write_by_sql(writer);
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

void
audit_batch_end(AuditBatch *batch)
{
	AuditWriter *writer = batch->writer;

	if (writer != NULL)
	{
		writer_flush(writer);
		writer_close(writer);
		batch->writer = NULL;
		MemoryContextDelete(writer->context);
	}
	current = batch->parent;
}

/* What is open goes with the transaction. */
void
audit_batch_abort(AuditBatch *batch)
{
	current = batch->parent;
}

static AuditWriter *
batch_writer(AuditBatch *batch)
{
	if (batch->writer == NULL)
	{
		MemoryContext context = AllocSetContextCreate(CurTransactionContext, "audit rows",
													  ALLOCSET_DEFAULT_SIZES);

		batch->writer = MemoryContextAlloc(context, sizeof(AuditWriter));
		batch->writer->context = context;
		batch->writer->rows = AllocSetContextCreate(context, "audit values",
													ALLOCSET_DEFAULT_SIZES);
		batch->writer->count = 0;
		batch->writer->parent = NULL;
	}
	return batch->writer;
}

MemoryContext
audit_batch_memory(AuditBatch *batch)
{
	AuditWriter *writer = batch_writer(batch);

	/* Full: written here, where no row is half made. */
	if (writer->count == BATCH_ROWS ||
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

static const pg_uuid_t *
copy_uuid(const pg_uuid_t *uuid)
{
	return uuid == NULL ? NULL : memcpy(palloc(UUID_LEN), uuid, UUID_LEN);
}

void
audit_batch_add(AuditBatch *batch, const AuditEntry *entry)
{
	static const AuditEntry none;
	AuditWriter *writer = batch_writer(batch);
	MemoryContext old = MemoryContextSwitchTo(writer->rows);
	const AuditEntry *previous = writer->count > 0 ? &writer->entries[writer->count - 1] : &none;
	AuditEntry *copy = &writer->entries[writer->count];

	Assert(writer->count < BATCH_ROWS);
	*copy = *entry;
	uuid_v7_fill(&copy->audit_id);
	copy->user_id = copy_uuid(entry->user_id);
	copy->record_id = copy_uuid(entry->record_id);
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

/* --- what foreign keys would do --- */

static bool
is_held(Held *held, const pg_uuid_t *id)
{
	return held->lxid == COMPAT_MY_LXID && memcmp(&held->id, id, UUID_LEN) == 0;
}

static void
note_held(Held *held, const pg_uuid_t *id)
{
	held->lxid = COMPAT_MY_LXID;
	held->subid = GetCurrentSubTransactionId();
	held->id = *id;
}

/* Runs `plan` (made of `sql` when first needed) as the owner; false: no such row. */
static bool
lock_row(SPIPlanPtr *plan, const char *sql, const pg_uuid_t *company, const pg_uuid_t *user)
{
	Oid			types[2] = {UUIDOID, UUIDOID};
	Datum		values[2] = {UUIDPGetDatum(company), UUIDPGetDatum(user)};
	int			n = user != NULL ? 2 : 1;
	Oid			save_userid;
	int			save_sec_context;
	bool		found;

	GetUserIdAndSecContext(&save_userid, &save_sec_context);
	SetUserIdAndSecContext(spi_owner(), save_sec_context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	if (*plan == NULL)
	{
		*plan = SPI_prepare(sql, n, types);
		if (*plan == NULL || SPI_keepplan(*plan) != 0)
			elog(ERROR, "could not prepare: %s", sql);
	}
	if (SPI_execute_plan(*plan, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", sql);
	found = SPI_processed > 0;
	SPI_finish();
	SetUserIdAndSecContext(save_userid, save_sec_context);
	return found;
}

void
audit_hold(const pg_uuid_t *company_id, const pg_uuid_t *user_company, const pg_uuid_t *user_id)
{
	static SPIPlanPtr company_plan = NULL;
	static SPIPlanPtr user_plan = NULL;

	/* Operators are qualified, as the caller's search_path is in effect. */
	if (company_id != NULL && !is_held(&held_company, company_id))
	{
		if (!lock_row(&company_plan,
					  "SELECT FROM ONLY sales.companies "
					  "WHERE company_id OPERATOR(pg_catalog.=) $1 FOR KEY SHARE",
					  company_id, NULL))
			ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
							errmsg("the company does not exist any more")));
		note_held(&held_company, company_id);
	}
	if (user_id != NULL && !is_held(&held_user, user_id))
	{
		if (!lock_row(&user_plan,
					  "SELECT FROM ONLY sales.users "
					  "WHERE company_id OPERATOR(pg_catalog.=) $1 "
					  "  AND user_id OPERATOR(pg_catalog.=) $2 FOR KEY SHARE",
					  user_company, user_id))
			ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
							errmsg("the user of this session does not exist any more"),
							errhint("Log in again: sales.login(), then sales.use_session().")));
		note_held(&held_user, user_id);
	}
}
