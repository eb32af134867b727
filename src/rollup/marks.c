/*
 * marks.c
 *		Triggers that note which days of which company need new metrics.
 *
 * A mark is a row (company, first instant, last instant, prospect) in the
 * append-only table sales_internal.metric_marks.  Writers only insert, never
 * update, and no constraint makes one wait for another.  A mark becomes
 * visible with the change it stands for, in the same commit; whoever consumes
 * it deletes exactly the marks it saw and recomputes with a later snapshot, so
 * no change can fall between the two.
 *
 * Marks hold instants, not days: which day an instant belongs to is decided by
 * the company's timezone when the mark is consumed, so a writer reads no other
 * table and a change of timezone cannot race with it.  One statement leaves
 * one mark for each company and UTC day it touched.  A transaction of many
 * small statements does not repeat marks it has already written; only marks
 * of the current subtransaction count as written, since a rollback to a
 * savepoint takes the others away.
 *
 * Of the funnel the mark also carries the prospect: the length of a sales
 * cycle depends on the prospect's first entry, so a change on one day may
 * change the day on which the deal was won.  The consumer finds that day.
 */
#include "postgres.h"

#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "compat.h"
#include "core/clock.h"
#include "core/spi.h"
#include "distribute/shards.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#define RECENT_MARKS 32
#define MAX_COMPARED 8
#define FEW_MARKS 4

typedef struct MarkKey
{
	pg_uuid_t	company;
	pg_uuid_t	prospect;		/* zeros where the mark carries none */
	int64		day;			/* UTC day, only to group instants */
} MarkKey;

typedef struct Mark
{
	MarkKey		key;			/* first, for the hash table */
	TimestampTz first;
	TimestampTz last;
} Mark;

/* Marks of one statement: a few in place, more in a hash table. */
typedef struct Marks
{
	int			nfew;
	Mark		few[FEW_MARKS];
	HTAB	   *many;
} Marks;

/* Columns that a trigger was told of, as attribute numbers. */
typedef struct MarkColumns
{
	int			company;
	int			at;
	int			prospect;		/* 0: marks carry no prospect */
	int			key;
	int			ncompared;
	int			compared[MAX_COMPARED];
} MarkColumns;

/* Marks that the current subtransaction has written. */
static Mark recent[RECENT_MARKS];
static int	nrecent = 0;
static int	next_recent = 0;
static LocalTransactionId recent_xact = InvalidLocalTransactionId;
static SubTransactionId recent_subxact = InvalidSubTransactionId;

static const pg_uuid_t no_prospect = {{0}};

PG_FUNCTION_INFO_V1(sales_mark_metrics);
PG_FUNCTION_INFO_V1(sales_marks_forget);

static void
forget(void)
{
	nrecent = 0;
	next_recent = 0;
}

/* sales_internal.marks_forget(): called where marks are consumed. */
Datum
sales_marks_forget(PG_FUNCTION_ARGS)
{
	forget();
	PG_RETURN_VOID();
}

/*
 * Widens *mark by what is known to be written already; true where nothing is
 * left to write.
 */
static bool
mark_is_written(Mark *mark)
{
	SubTransactionId subxact = GetCurrentSubTransactionId();
	LocalTransactionId xact = COMPAT_MY_LXID;

	if (recent_subxact != subxact || recent_xact != xact)
	{
		forget();
		recent_subxact = subxact;
		recent_xact = xact;
	}
	for (int i = 0; i < nrecent; i++)
	{
		Mark	   *old = &recent[i];

		if (memcmp(&old->key, &mark->key, sizeof(MarkKey)) != 0)
			continue;
		if (old->first <= mark->first && old->last >= mark->last)
			return true;
		mark->first = Min(mark->first, old->first);
		mark->last = Max(mark->last, old->last);
		*old = *mark;
		return false;
	}
	recent[next_recent] = *mark;
	next_recent = (next_recent + 1) % RECENT_MARKS;
	nrecent = Min(nrecent + 1, RECENT_MARKS);
	return false;
}

/*
 * Inserts one mark.  Straight into the heap: the table has no index, no
 * constraint but NOT NULL and no trigger, and a query would cost a writer of
 * single rows more than all the rest.
 */
static void
write_mark(Relation table, Mark *mark)
{
	Datum		values[5];
	bool		nulls[5] = {false};
	HeapTuple	tuple;

	if (mark_is_written(mark))
		return;
	values[0] = UUIDPGetDatum(&mark->key.company);
	values[1] = TimestampTzGetDatum(mark->first);
	values[2] = TimestampTzGetDatum(mark->last);
	values[3] = UUIDPGetDatum(&mark->key.prospect);
	nulls[3] = memcmp(&mark->key.prospect, &no_prospect, sizeof(pg_uuid_t)) == 0;
	values[4] = TimestampTzGetDatum(clock_now());
	if (distribute_is_spread(RelationGetRelid(table)))
	{
		SpiArg		args[5] = {SPI_ARG(UUIDOID, values[0]), SPI_ARG(TIMESTAMPTZOID, values[1]),
			SPI_ARG(TIMESTAMPTZOID, values[2]), {UUIDOID, values[3], nulls[3]},
		SPI_ARG(TIMESTAMPTZOID, values[4])};

		SPI_connect();
		spi_run_as_owner("INSERT INTO sales_internal.metric_marks (company_id, first_at, last_at, "
						 "  prospect_id, marked_at) VALUES ($1, $2, $3, $4, $5)", false, 0, 5, args);
		SPI_finish();
		return;
	}
	tuple = heap_form_tuple(RelationGetDescr(table), values, nulls);
	simple_heap_insert(table, tuple);
	heap_freetuple(tuple);
}

static Relation
open_marks(void)
{
	Oid			table = get_relname_relid("metric_marks",
										  get_namespace_oid("sales_internal", false));
	Relation	relation = table_open(distribute_beside(table), RowExclusiveLock);

	/* Such as an upgrade may change: then this library is not the one for it. */
	if (RelationGetNumberOfAttributes(relation) != 5 || relation->rd_rel->relhasindex)
		elog(ERROR, "sales_internal.metric_marks is not as this library knows it");
	return relation;
}

static Mark *
find_mark(Marks *marks, const MarkKey *key, bool *found)
{
	*found = true;
	for (int i = 0; i < marks->nfew; i++)
		if (memcmp(&marks->few[i].key, key, sizeof(MarkKey)) == 0)
			return &marks->few[i];
	*found = false;
	if (marks->nfew < FEW_MARKS)
	{
		marks->few[marks->nfew].key = *key;
		return &marks->few[marks->nfew++];
	}
	if (marks->many == NULL)
	{
		HASHCTL		control = {0};

		control.keysize = sizeof(MarkKey);
		control.entrysize = sizeof(Mark);
		control.hcxt = CurrentMemoryContext;
		marks->many = hash_create("metric marks", 64, &control,
								  HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	}
	return hash_search(marks->many, key, HASH_ENTER, found);
}

/* Adds the instant of one row to the marks of this statement. */
static void
collect(Marks *marks, const MarkColumns *columns, TupleTableSlot *slot)
{
	MarkKey		key;
	Mark	   *mark;
	Datum		company;
	Datum		at;
	bool		isnull;
	bool		found;
	TimestampTz instant;

	company = slot_getattr(slot, columns->company, &isnull);
	if (isnull)
		return;
	at = slot_getattr(slot, columns->at, &isnull);
	instant = DatumGetTimestampTz(at);
	if (isnull || TIMESTAMP_NOT_FINITE(instant))
		return;					/* belongs to no day */

	memset(&key, 0, sizeof(key));
	key.company = *DatumGetUUIDP(company);
	key.day = instant / USECS_PER_DAY - (instant % USECS_PER_DAY < 0 ? 1 : 0);
	if (columns->prospect != 0)
	{
		Datum		prospect = slot_getattr(slot, columns->prospect, &isnull);

		if (!isnull)
			key.prospect = *DatumGetUUIDP(prospect);
	}
	mark = find_mark(marks, &key, &found);
	if (!found)
		mark->first = mark->last = instant;
	else
	{
		mark->first = Min(mark->first, instant);
		mark->last = Max(mark->last, instant);
	}
}

static bool
same_column(TupleTableSlot *before, TupleTableSlot *after, int column)
{
	Form_pg_attribute attribute = TupleDescAttr(before->tts_tupleDescriptor, column - 1);
	bool		before_null;
	bool		after_null;
	Datum		a = slot_getattr(before, column, &before_null);
	Datum		b = slot_getattr(after, column, &after_null);

	if (before_null || after_null)
		return before_null == after_null;
	return datumIsEqual(a, b, attribute->attbyval, attribute->attlen);
}

/* Does the update from one row to the other leave all metrics as they are? */
static bool
unchanged(const MarkColumns *columns, TupleTableSlot *before, TupleTableSlot *after)
{
	if (columns->key == 0 || !same_column(before, after, columns->key))
		return false;
	for (int i = 0; i < columns->ncompared; i++)
		if (!same_column(before, after, columns->compared[i]))
			return false;
	return true;
}

static void
start_scan(Tuplestorestate *rows)
{
	tuplestore_select_read_pointer(rows,
								   tuplestore_alloc_read_pointer(rows, EXEC_FLAG_REWIND));
	tuplestore_rescan(rows);
}

/*
 * Rows of a statement.  The two tables of an UPDATE are filled pairwise, so
 * they are read side by side; a pair whose keys differ is simply marked.
 */
static void
collect_statement(Marks *marks, const MarkColumns *columns, TriggerData *trigger)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	TupleTableSlot *before = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	TupleTableSlot *after = MakeSingleTupleTableSlot(desc, &TTSOpsMinimalTuple);
	bool		more_before = trigger->tg_oldtable != NULL;
	bool		more_after = trigger->tg_newtable != NULL;

	if (more_before)
		start_scan(trigger->tg_oldtable);
	if (more_after)
		start_scan(trigger->tg_newtable);
	while (more_before || more_after)
	{
		CHECK_FOR_INTERRUPTS();
		if (more_before)
			more_before = tuplestore_gettupleslot(trigger->tg_oldtable, true, false, before);
		if (more_after)
			more_after = tuplestore_gettupleslot(trigger->tg_newtable, true, false, after);
		if (more_before && more_after && unchanged(columns, before, after))
			continue;
		if (more_before)
			collect(marks, columns, before);
		if (more_after)
			collect(marks, columns, after);
	}
	ExecDropSingleTupleTableSlot(before);
	ExecDropSingleTupleTableSlot(after);
}

/* Reads the trigger's arguments: time column, "prospect" or "", key, compared columns. */
static void
find_columns(MarkColumns *columns, TriggerData *trigger)
{
	TupleDesc	desc = RelationGetDescr(trigger->tg_relation);
	char	  **args = trigger->tg_trigger->tgargs;
	int			nargs = trigger->tg_trigger->tgnargs;

	if (nargs < 1 || nargs > 3 + MAX_COMPARED)
		elog(ERROR, "wrong arguments of trigger \"%s\"", trigger->tg_trigger->tgname);
	memset(columns, 0, sizeof(*columns));
	columns->company = SPI_fnumber(desc, "company_id");
	columns->at = SPI_fnumber(desc, args[0]);
	if (nargs > 1 && args[1][0] != '\0')
		columns->prospect = SPI_fnumber(desc, args[1]);
	if (nargs > 2)
		columns->key = SPI_fnumber(desc, args[2]);
	for (int i = 3; i < nargs; i++)
		columns->compared[columns->ncompared++] = SPI_fnumber(desc, args[i]);
	if (columns->company <= 0 || columns->at <= 0 || columns->prospect < 0 || columns->key < 0)
		elog(ERROR, "trigger \"%s\" names a column that is not there",
			 trigger->tg_trigger->tgname);
	for (int i = 0; i < columns->ncompared; i++)
		if (columns->compared[i] <= 0)
			elog(ERROR, "trigger \"%s\" names a column that is not there",
				 trigger->tg_trigger->tgname);
}

/*
 * sales_internal.mark_metrics(): AFTER trigger.  For each statement with
 * transition tables, or for each row; on TRUNCATE all companies are marked.
 */
Datum
sales_mark_metrics(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	MarkColumns columns;
	Marks		marks;
	Relation	table;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event))
		elog(ERROR, "mark_metrics is an AFTER trigger");
	if (spi_restoring())
		return PointerGetDatum(NULL);

	if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
	{
		SPI_connect();
		spi_run_as_owner("INSERT INTO sales_internal.metric_marks (company_id, first_at, last_at) "
						 "SELECT company_id, '-infinity', 'infinity' FROM sales.companies",
						 false, 0, 0, NULL);
		SPI_finish();
		return PointerGetDatum(NULL);
	}

	find_columns(&columns, trigger);
	marks.nfew = 0;
	marks.many = NULL;
	if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
	{
		collect(&marks, &columns, trigger->tg_trigslot);
		if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
			collect(&marks, &columns, trigger->tg_newslot);
	}
	else
		collect_statement(&marks, &columns, trigger);
	if (marks.nfew == 0)
		return PointerGetDatum(NULL);

	table = open_marks();
	for (int i = 0; i < marks.nfew; i++)
		write_mark(table, &marks.few[i]);
	if (marks.many != NULL)
	{
		HASH_SEQ_STATUS status;
		Mark	   *mark;

		hash_seq_init(&status, marks.many);
		while ((mark = hash_seq_search(&status)) != NULL)
			write_mark(table, mark);
		hash_destroy(marks.many);
	}
	table_close(table, NoLock);
	return PointerGetDatum(NULL);
}
