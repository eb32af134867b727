/*
 * target.c
 *		Where audit rows go: the month's partition, written without a plan.
 *
 * A row goes into the partition as COPY would put it there: the heap, then the
 * indexes; no parser, planner or executor node in between.
 *
 * What an INSERT would do besides, and why it may be left out:
 *	- row security: nobody may write audit_logs but the extension;
 *	- foreign key to companies: the changed row proves the company, by its own
 *	  foreign keys, and holds it until the transaction ends;
 *	- foreign key to users: the user's row is locked once in a transaction
 *	  (hold.c), as the key's trigger would lock it for each row;
 *	- NOT NULL and lengths: values are made here and fit;
 *	- the guard against writing by SQL: that is for others.
 * Where there is more to do, it is done: with a trigger, rule, foreign key,
 * column or check that somebody added to audit_logs, an index over expressions
 * or of a part, or where it is not a table with partitions by created_at,
 * audit_target_open() says no and the rows go in by a plain INSERT.
 *
 * All of that is found out once in a session and for each partition, and
 * forgotten when the catalogue says that the table, the partition or a
 * namespace changed.  It is looked at after the locks are taken: as for any
 * relation, whoever changes it later waits for us.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "audit/target.h"
#include "catalog/index.h"
#include "catalog/namespace.h"
#include "catalog/pg_trigger.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "compat.h"
#include "distribute/shards.h"
#include "nodes/execnodes.h"
#include "partitioning/partbounds.h"
#include "partitioning/partdesc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/partcache.h"
#include "utils/rel.h"
#include "utils/syscache.h"

static const char *const column_names[COL_COUNT] = {
	"audit_id", "company_id", "user_id", "table_name", "record_id", "action", "old_values",
	"new_values", "ip_address", "user_agent", "gdpr_basis", "created_at", "digest"
};

/* What is known of the partition that was written last. */
typedef struct Known
{
	bool		parent_valid;
	bool		leaf_valid;
	Oid			parent;
	Oid			leaf;
	bool		direct;
	AttrNumber	attnums[COL_COUNT];
	Oid			action_type;
	MemoryContext context;		/* holds all below */
	int			nindexes;
	Oid		   *indexes;
	IndexInfo **infos;
	TupleDesc	desc;
	const TupleTableSlotOps *slot_ops;
	TupleTableSlot *slots[AUDIT_BATCH_ROWS];
	int			nslots;
} Known;

static Known known;

static void
on_relcache_change(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || relid == known.parent)
		known.parent_valid = known.leaf_valid = false;
	else if (relid == known.leaf)
		known.leaf_valid = false;
}

static void
on_namespace_change(Datum arg, int cache, uint32 hash)
{
	known.parent_valid = known.leaf_valid = false;
}

void
audit_target_init(void)
{
	CacheRegisterRelcacheCallback(on_relcache_change, (Datum) 0);
	CacheRegisterSyscacheCallback(NAMESPACEOID, on_namespace_change, (Datum) 0);
}

/* --- what a plain INSERT would do --- */

/* A foreign key to another table than the two that we see to. */
static bool
is_other_key(const Trigger *trigger)
{
	Oid			schema = get_namespace_oid("sales", false);

	return trigger->tgconstrrelid != distribute_beside(get_relname_relid("companies", schema)) &&
		trigger->tgconstrrelid != distribute_beside(get_relname_relid("users", schema));
}

static bool
has_other_triggers(Relation relation)
{
	TriggerDesc *triggers = relation->trigdesc;

	for (int i = 0; triggers != NULL && i < triggers->numtriggers; i++)
	{
		Trigger    *trigger = &triggers->triggers[i];

		if ((trigger->tgtype & TRIGGER_TYPE_INSERT) == 0 ||
			trigger->tgenabled == TRIGGER_DISABLED ||
			strncmp(trigger->tgname, "append_only", strlen("append_only")) == 0 ||
			strncmp(trigger->tgname, "quiet_restore", strlen("quiet_restore")) == 0)
			continue;
		if (RI_FKey_trigger_type(trigger->tgfoid) == RI_TRIGGER_NONE || is_other_key(trigger))
			return true;
	}
	return false;
}

/* Finds our columns in the partition; false where it has others to be filled. */
static bool
find_columns(Relation leaf)
{
	TupleDesc	desc = RelationGetDescr(leaf);

	memset(known.attnums, 0, sizeof(known.attnums));
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
			known.attnums[column] = attribute->attnum;
		else if (attribute->attnotnull || attribute->atthasdef)
			return false;
		if (column == COL_ACTION)
			known.action_type = attribute->atttypid;
	}
	for (int column = 0; column < COL_COUNT; column++)
		if (known.attnums[column] == 0)
			return false;
	return true;
}

/* Notes the indexes; false where one needs an executor. */
static bool
find_indexes(Relation leaf)
{
	List	   *list = RelationGetIndexList(leaf);
	ListCell   *cell;

	known.nindexes = 0;
	known.indexes = palloc(list_length(list) * sizeof(Oid));
	known.infos = palloc(list_length(list) * sizeof(IndexInfo *));
	foreach(cell, list)
	{
		Relation	index = index_open(lfirst_oid(cell), RowExclusiveLock);
		bool		is_immediate = index->rd_index->indimmediate;
		IndexInfo  *info = BuildIndexInfo(index);

		index_close(index, NoLock);
		if (!info->ii_ReadyForInserts)
			continue;
		if (info->ii_Expressions != NIL || info->ii_Predicate != NIL ||
			info->ii_ExclusionOps != NULL || !is_immediate)
			return false;
		known.indexes[known.nindexes] = lfirst_oid(cell);
		known.infos[known.nindexes++] = info;
	}
	return true;
}

/* --- the partition --- */

/* The partition for an instant; invalid where the table is of another make. */
static Oid
find_partition(Relation parent, TimestampTz at)
{
	PartitionKey key;
	PartitionDesc parts;
	Datum		value = TimestampTzGetDatum(at);
	bool		is_equal;
	int			offset;
	int			index;

	if (parent->rd_rel->relkind != RELKIND_PARTITIONED_TABLE)
		return InvalidOid;
	key = RelationGetPartitionKey(parent);
	parts = RelationGetPartitionDesc(parent, true);
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

static Relation
open_parent(void)
{
	for (;;)
	{
		Relation	parent;

		/* in a cluster another shard may be written now */
		if (distribute_possible())
			known.parent_valid = false;
		if (!known.parent_valid)
		{
			known.leaf_valid = false;
			known.parent_valid = true;
			known.parent = distribute_beside(get_relname_relid("audit_logs", get_namespace_oid("sales", false)));
			if (!OidIsValid(known.parent))
			{
				known.parent_valid = false;
				ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
								errmsg("table sales.audit_logs does not exist")));
			}
		}
		parent = try_table_open(known.parent, RowExclusiveLock);
		if (parent != NULL && known.parent_valid)
			return parent;
		/* it changed while we waited */
		if (parent != NULL)
			table_close(parent, RowExclusiveLock);
		known.parent_valid = false;
	}
}

/* Finds out all about a partition, and keeps it. */
static void
know_leaf(Relation parent, Relation leaf)
{
	MemoryContext old;

	/* first, so that a change met meanwhile clears it again */
	known.leaf = RelationGetRelid(leaf);
	known.leaf_valid = true;
	known.direct = false;
	known.nslots = 0;
	if (known.context == NULL)
		known.context = AllocSetContextCreate(CacheMemoryContext, "audit partition",
											  ALLOCSET_DEFAULT_SIZES);
	MemoryContextReset(known.context);
	old = MemoryContextSwitchTo(known.context);
	PG_TRY();
	{
		known.desc = CreateTupleDescCopy(RelationGetDescr(leaf));
		known.slot_ops = table_slot_callbacks(leaf);
		known.direct = leaf->rd_rel->relkind == RELKIND_RELATION &&
			parent->rd_rules == NULL &&
			!has_other_triggers(parent) && !has_other_triggers(leaf) &&
			(leaf->rd_att->constr == NULL || leaf->rd_att->constr->num_check == 0) &&
			find_columns(leaf) && find_indexes(leaf);
	}
	PG_CATCH();
	{
		known.leaf_valid = false;
		PG_RE_THROW();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(old);
}

bool
audit_target_open(AuditTarget *target, TimestampTz at)
{
	Relation	parent = open_parent();
	/* where the rows are on other nodes, an INSERT takes them there */
	Oid			oid = distribute_is_spread(RelationGetRelid(parent)) ? InvalidOid : find_partition(parent, at);
	Relation	leaf = NULL;

	while (OidIsValid(oid))
	{
		leaf = table_open(oid, RowExclusiveLock);
		if (oid != known.leaf || !known.leaf_valid)
			know_leaf(parent, leaf);
		/* a partition made while we waited may be the right one now */
		if (known.leaf_valid && find_partition(parent, at) == oid)
			break;
		table_close(leaf, NoLock);
		leaf = NULL;
		oid = find_partition(parent, at);
	}
	if (leaf == NULL || !known.direct)
	{
		if (leaf != NULL)
			table_close(leaf, NoLock);
		table_close(parent, NoLock);
		return false;
	}
	target->parent = parent;
	target->leaf = leaf;
	target->action_type = known.action_type;
	memcpy(target->attnums, known.attnums, sizeof(known.attnums));
	return true;
}

void
audit_target_close(AuditTarget *target)
{
	table_close(target->leaf, NoLock);
	table_close(target->parent, NoLock);
}

/* --- rows --- */

TupleTableSlot *
audit_target_slot(int i)
{
	while (known.nslots <= i)
	{
		MemoryContext old = MemoryContextSwitchTo(known.context);

		known.slots[known.nslots] = MakeSingleTupleTableSlot(known.desc, known.slot_ops);
		known.nslots++;
		MemoryContextSwitchTo(old);
	}
	ExecClearTuple(known.slots[i]);
	memset(known.slots[i]->tts_isnull, true, known.desc->natts * sizeof(bool));
	return known.slots[i];
}

static void
insert_index_entries(Relation leaf, Relation index, IndexInfo *info, int count)
{
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];

	for (int i = 0; i < count; i++)
	{
		FormIndexDatum(info, known.slots[i], NULL, values, isnull);
		index_insert(index, values, isnull, &known.slots[i]->tts_tid, leaf,
					 index->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO,
					 false, info);
	}
}

void
audit_target_insert(AuditTarget *target, int count)
{
	CommandId	command = GetCurrentCommandId(true);

	if (count == 1)
		table_tuple_insert(target->leaf, known.slots[0], command, 0, NULL);
	else
		table_multi_insert(target->leaf, known.slots, count, command, 0, NULL);
	for (int i = 0; i < known.nindexes; i++)
	{
		Relation	index = index_open(known.indexes[i], RowExclusiveLock);
		IndexInfo	info = *known.infos[i];

		info.ii_Context = CurrentMemoryContext;
		insert_index_entries(target->leaf, index, &info, count);
		compat_index_insert_end(index, &info);
		index_close(index, NoLock);
	}
	for (int i = 0; i < count; i++)
		ExecClearTuple(known.slots[i]);
}
