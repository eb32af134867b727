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

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "compat.h"
#include "core/spi.h"
#include "executor/executor.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "rollup/marks.h"
#include "storage/proc.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/hsearch.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
#include "utils/tuplestore.h"

#define RECENT_MARKS 32
#define MAX_COMPARED 8

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

void
marks_forget(void)
{
	nrecent = 0;
	next_recent = 0;
}

/* sales_internal.marks_forget(): called where marks are consumed. */
Datum
sales_marks_forget(PG_FUNCTION_ARGS)
{
	marks_forget();
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
		marks_forget();
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

/* Inserts one mark, with the rights of the tables' owner. */
static void
write_mark(Mark *mark)
{
	static SPIPlanPtr plan = NULL;
	Oid			types[4] = {UUIDOID, TIMESTAMPTZOID, TIMESTAMPTZOID, UUIDOID};
	Datum		values[4];
	char		nulls[4] = {' ', ' ', ' ', ' '};

	if (mark_is_written(mark))
		return;
	if (plan == NULL)
	{
		plan = SPI_prepare("INSERT INTO sales_internal.metric_marks "
						   "(company_id, first_at, last_at, prospect_id) "
						   "VALUES ($1, $2, $3, $4)", 4, types);
		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "cannot prepare a mark: %s", SPI_result_code_string(SPI_result));
	}
	values[0] = UUIDPGetDatum(&mark->key.company);
	values[1] = TimestampTzGetDatum(mark->first);
	values[2] = TimestampTzGetDatum(mark->last);
	values[3] = UUIDPGetDatum(&mark->key.prospect);
	if (memcmp(&mark->key.prospect, &no_prospect, sizeof(pg_uuid_t)) == 0)
		nulls[3] = 'n';
	if (SPI_execute_plan(plan, values, nulls, false, 0) != SPI_OK_INSERT)
		elog(ERROR, "cannot write a mark: %s", SPI_result_code_string(SPI_result));
}

/* Adds the instant of one row to the marks of this statement. */
static void
collect(HTAB *marks, const MarkColumns *columns, TupleTableSlot *slot)
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
	mark = hash_search(marks, &key, HASH_ENTER, &found);
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
collect_statement(HTAB *marks, const MarkColumns *columns, TriggerData *trigger)
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
	HASHCTL		control;
	HTAB	   *marks;
	HASH_SEQ_STATUS status;
	Mark	   *mark;
	Oid			save_userid;
	int			save_sec_context;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event))
		elog(ERROR, "mark_metrics is an AFTER trigger");
	if (spi_restoring())
		return PointerGetDatum(NULL);

	if (SPI_connect() != SPI_OK_CONNECT)
		elog(ERROR, "SPI_connect failed");
	if (TRIGGER_FIRED_BY_TRUNCATE(trigger->tg_event))
	{
		spi_run_as_owner("INSERT INTO sales_internal.metric_marks (company_id, first_at, last_at) "
						 "SELECT company_id, '-infinity', 'infinity' FROM sales.companies",
						 false, 0, 0, NULL);
		SPI_finish();
		return PointerGetDatum(NULL);
	}

	find_columns(&columns, trigger);
	memset(&control, 0, sizeof(control));
	control.keysize = sizeof(MarkKey);
	control.entrysize = sizeof(Mark);
	control.hcxt = CurrentMemoryContext;
	marks = hash_create("metric marks", 16, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
	if (TRIGGER_FIRED_FOR_ROW(trigger->tg_event))
	{
		collect(marks, &columns, trigger->tg_trigslot);
		if (TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
			collect(marks, &columns, trigger->tg_newslot);
	}
	else
		collect_statement(marks, &columns, trigger);

	/* An error leaves through transaction abort, which restores the user. */
	GetUserIdAndSecContext(&save_userid, &save_sec_context);
	SetUserIdAndSecContext(spi_owner(), save_sec_context | SECURITY_LOCAL_USERID_CHANGE);
	hash_seq_init(&status, marks);
	while ((mark = hash_seq_search(&status)) != NULL)
		write_mark(mark);
	SetUserIdAndSecContext(save_userid, save_sec_context);

	SPI_finish();
	return PointerGetDatum(NULL);
}
