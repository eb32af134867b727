/*
 * audit_floor.c
 *		The least that an audit trigger in C can do; the floor of audit.py.
 *
 * A row trigger that keeps one row for each changed row: of the size that ours
 * has, in a table with the same columns and indexes, under an id that grows, many
 * at a time.  It looks at nothing: no JSON is made, nothing is compared, no digest
 * is computed, nobody's row is locked, no partition is sought.
 *
 * Arguments of the trigger: the table, and after how many rows they are written
 * (a statement must change a multiple of it).  The rows are copies of the first
 * row of that table with the same action, which must be there.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/tableam.h"
#include "catalog/index.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/uuid.h"

PG_MODULE_MAGIC;
PG_FUNCTION_INFO_V1(audit_floor);

#define MOST_ROWS 1000
#define MOST_INDEXES 8

static struct
{
	Oid			table;
	HeapTuple	models[3];		/* of an insert, update, delete */
	TupleTableSlot *slots[MOST_ROWS];
	int			rows;
	int			nindexes;
	Oid			indexes[MOST_INDEXES];
	IndexInfo  *infos[MOST_INDEXES];
	uint64		next_id;
} floor_state;

/* The first row of the table with this action. */
static HeapTuple
find_model(const char *table, const char *action)
{
	char	   *query = psprintf("SELECT * FROM %s WHERE action = '%s' LIMIT 1", table, action);
	MemoryContext caller = CurrentMemoryContext;
	HeapTuple	model;

	SPI_connect();
	if (SPI_execute(query, true, 1) != SPI_OK_SELECT || SPI_processed != 1)
		elog(ERROR, "%s has no row with action %s", table, action);
	MemoryContextSwitchTo(TopMemoryContext);
	model = heap_copytuple(SPI_tuptable->vals[0]);
	SPI_finish();
	MemoryContextSwitchTo(caller);
	return model;
}

static void
prepare(const char *name)
{
	static const char *const actions[] = {"create", "update", "delete"};
	MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
	Oid			oid = DatumGetObjectId(DirectFunctionCall1(regclassin, CStringGetDatum(name)));
	Relation	table = table_open(oid, RowExclusiveLock);
	ListCell   *cell;

	for (int i = 0; i < MOST_ROWS; i++)
		floor_state.slots[i] = MakeSingleTupleTableSlot(CreateTupleDescCopy(RelationGetDescr(table)), table_slot_callbacks(table));
	floor_state.nindexes = 0;
	foreach(cell, RelationGetIndexList(table))
	{
		Relation	index = index_open(lfirst_oid(cell), RowExclusiveLock);

		floor_state.indexes[floor_state.nindexes] = lfirst_oid(cell);
		floor_state.infos[floor_state.nindexes++] = BuildIndexInfo(index);
		index_close(index, NoLock);
	}
	floor_state.table = oid;
	table_close(table, NoLock);
	for (int i = 0; i < 3; i++)
		floor_state.models[i] = find_model(name, actions[i]);
	floor_state.next_id = (uint64) GetCurrentTimestamp();
	MemoryContextSwitchTo(old);
}

static void
flush(void)
{
	Relation	table = table_open(floor_state.table, RowExclusiveLock);
	CommandId	command = GetCurrentCommandId(true);
	Datum		values[INDEX_MAX_KEYS];
	bool		isnull[INDEX_MAX_KEYS];

	if (floor_state.rows == 1)
		table_tuple_insert(table, floor_state.slots[0], command, 0, NULL);
	else
		table_multi_insert(table, floor_state.slots, floor_state.rows, command, 0, NULL);
	for (int i = 0; i < floor_state.nindexes; i++)
	{
		Relation	index = index_open(floor_state.indexes[i], RowExclusiveLock);

		for (int row = 0; row < floor_state.rows; row++)
		{
			FormIndexDatum(floor_state.infos[i], floor_state.slots[row], NULL, values, isnull);
			index_insert(index, values, isnull, &floor_state.slots[row]->tts_tid, table,
						 index->rd_index->indisunique ? UNIQUE_CHECK_YES : UNIQUE_CHECK_NO, false, floor_state.infos[i]);
		}
		index_close(index, NoLock);
	}
	for (int row = 0; row < floor_state.rows; row++)
		ExecClearTuple(floor_state.slots[row]);
	floor_state.rows = 0;
	table_close(table, NoLock);
}

Datum
audit_floor(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	int			most = atoi(trigger->tg_trigger->tgargs[1]);
	MemoryContext old;
	HeapTuple	row;
	pg_uuid_t  *id;

	if (floor_state.table == InvalidOid)
		prepare(trigger->tg_trigger->tgargs[0]);
	old = MemoryContextSwitchTo(TopTransactionContext);
	row = heap_copytuple(floor_state.models[TRIGGER_FIRED_BY_INSERT(trigger->tg_event) ? 0 : TRIGGER_FIRED_BY_UPDATE(trigger->tg_event) ? 1 : 2]);
	/* its first column is the id, a uuid that is never null */
	id = (pg_uuid_t *) ((char *) row->t_data + row->t_data->t_hoff);
	floor_state.next_id++;
	for (int i = 0; i < 8; i++)
		id->data[i] = (unsigned char) (floor_state.next_id >> (56 - 8 * i));
	ExecForceStoreHeapTuple(row, floor_state.slots[floor_state.rows++], true);
	MemoryContextSwitchTo(old);
	if (floor_state.rows == Min(most, MOST_ROWS))
		flush();
	return PointerGetDatum(NULL);
}
