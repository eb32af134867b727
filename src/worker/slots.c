/*
 * slots.c
 *		Shared memory of the workers: one slot for each database that has one.
 *
 * A backend that commits a job finds its database's slot and sets the worker's
 * latch, or the launcher's.  Without preload there is no shared memory: then a
 * worker started by hand polls once a second, and status shows nothing.
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "compat.h"
#include "core/shmem.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/ipc.h"
#include "storage/lwlock.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
#include "worker/slots.h"

#define STOP_WAIT_MS 5000
#define START_MS 60000			/* a worker that was launched is expected so long */

typedef struct SlotTable
{
	LWLock	   *lock;			/* first, as core/shmem.h has it */
	Latch	   *launcher;
	Oid			turned_away;	/* has work and no slot: the launcher says so */
	WorkerSlot	slots[SLOTS];
} SlotTable;

static SlotTable *table = NULL;
static uint32 waits_for_end = 0;	/* wait event */
static WorkerSlot *mine = NULL;

static void
slots_attach_table(void *part, bool is_new)
{
	table = part;
}

void
slots_init(void)
{
	shmem_add("sales_assistant_workers", sizeof(SlotTable), slots_attach_table);
}

bool
slots_are_shared(void)
{
	return table != NULL;
}

/* Is nobody in it, nor expected?  Then it is as good as free. */
static bool
is_deserted(const WorkerSlot *slot)
{
	return slot->pid == 0 && !slot->wanted && !slot->stopped &&
		TimestampDifferenceExceeds(slot->launched_at, GetCurrentTimestamp(), START_MS);
}

/* The database's slot, or a free one; the lock must be held. */
static WorkerSlot *
slot_of(Oid database, bool make)
{
	WorkerSlot *empty = NULL;

	for (int i = 0; i < SLOTS; i++)
	{
		WorkerSlot *slot = &table->slots[i];

		if (slot->database == database)
			return slot;
		if (!OidIsValid(slot->database) || (empty == NULL && is_deserted(slot)))
			empty = slot;
	}
	if (!make || empty == NULL)
		return NULL;
	memset(empty, 0, sizeof(WorkerSlot));
	empty->database = database;
	return empty;
}

bool
slots_want(Oid database, const char *name)
{
	WorkerSlot *slot;

	if (table == NULL)
		return false;
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	slot = slot_of(database, true);
	if (slot != NULL)
	{
		if (name != NULL)
			namestrcpy(&slot->name, name);
		if (slot->pid == 0 && !slot->stopped)
			slot->wanted = true;
	}
	LWLockRelease(table->lock);
	return slot != NULL;
}

/* Called while a transaction commits: must not throw. */
void
slots_wake(Oid database)
{
	WorkerSlot *slot;

	if (table == NULL)
		return;
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	slot = slot_of(database, true);
	if (slot != NULL && slot->latch != NULL)
		SetLatch(slot->latch);
	else if (slot != NULL && slot->pid == 0 && !slot->stopped)
	{
		slot->wanted = true;
		if (table->launcher != NULL)
			SetLatch(table->launcher);
	}
	else if (slot == NULL)
	{
		table->turned_away = database;
		if (table->launcher != NULL)
			SetLatch(table->launcher);
	}
	LWLockRelease(table->lock);
}

bool
slots_stop(Oid database)
{
	bool		was_there = false;

	if (table == NULL)
		return false;
	for (int waited = 0; waited < STOP_WAIT_MS; waited += 10)
	{
		WorkerSlot *slot;
		bool		gone;

		LWLockAcquire(table->lock, LW_EXCLUSIVE);
		slot = slot_of(database, true);
		gone = slot == NULL || slot->pid == 0;
		if (slot != NULL)
		{
			slot->stopped = true;
			slot->wanted = false;
			if (slot->latch != NULL)
				SetLatch(slot->latch);
		}
		LWLockRelease(table->lock);
		if (gone)
			return was_there;
		was_there = true;
		CHECK_FOR_INTERRUPTS();
		pgstat_report_wait_start(compat_wait_event(&waits_for_end, "SalesAssistantWorkerEnd"));
		pg_usleep(10 * 1000L);
		pgstat_report_wait_end();
	}
	return was_there;
}

void
slots_forget(Oid database)
{
	WorkerSlot *slot;

	if (table == NULL)
		return;
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	slot = slot_of(database, false);
	if (slot != NULL && slot->pid == 0)
		memset(slot, 0, sizeof(WorkerSlot));
	LWLockRelease(table->lock);
}

void
slots_allow(Oid database)
{
	WorkerSlot *slot;

	if (table == NULL)
		return;
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	slot = slot_of(database, false);
	if (slot != NULL)
		slot->stopped = false;
	LWLockRelease(table->lock);
}

/* A copy of the database's slot; false: it has none. */
static bool
look_at(Oid database, WorkerSlot *copy)
{
	WorkerSlot *slot;

	if (table == NULL)
		return false;
	LWLockAcquire(table->lock, LW_SHARED);
	slot = slot_of(database, false);
	if (slot != NULL)
		*copy = *slot;
	LWLockRelease(table->lock);
	return slot != NULL;
}

bool
slots_is_stopped(Oid database)
{
	WorkerSlot	slot;

	return look_at(database, &slot) && slot.stopped;
}

bool
slots_has_worker(Oid database)
{
	WorkerSlot	slot;

	return look_at(database, &slot) && slot.pid != 0;
}

bool
slots_has_place(Oid database)
{
	WorkerSlot *slot;

	if (table == NULL)
		return true;
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	slot = slot_of(database, true);
	if (slot != NULL && slot->pid == 0)
		slot->launched_at = GetCurrentTimestamp();
	LWLockRelease(table->lock);
	return slot != NULL;
}

Oid
slots_turned_away(void)
{
	Oid			database;

	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	database = table->turned_away;
	table->turned_away = InvalidOid;
	LWLockRelease(table->lock);
	return database;
}

void
slots_set_launcher(Latch *latch)
{
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	table->launcher = latch;
	LWLockRelease(table->lock);
}

int
slots_wanted(Oid *databases, int most)
{
	int			n = 0;

	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	for (int i = 0; i < SLOTS && n < most; i++)
	{
		WorkerSlot *slot = &table->slots[i];

		if (OidIsValid(slot->database) && slot->wanted && slot->pid == 0)
		{
			slot->wanted = false;
			slot->launched_at = GetCurrentTimestamp();
			databases[n++] = slot->database;
		}
	}
	LWLockRelease(table->lock);
	return n;
}

static void
slots_detach(int code, Datum arg)
{
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	if (mine != NULL)
	{
		mine->pid = 0;
		mine->latch = NULL;
		mine->calls_open = 0;
		/* Ended by an error or by pg_terminate_backend(): there will be another. */
		if (code != 0 && !mine->stopped)
		{
			mine->wanted = true;
			if (table->launcher != NULL)
				SetLatch(table->launcher);
		}
	}
	mine = NULL;
	LWLockRelease(table->lock);
}

bool
slots_attach(void)
{
	WorkerSlot *slot;

	if (table == NULL)
		return true;
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	slot = slot_of(MyDatabaseId, true);
	if (slot == NULL)
	{
		table->turned_away = MyDatabaseId;
		if (table->launcher != NULL)
			SetLatch(table->launcher);
	}
	else if (slot->pid != 0 || slot->stopped)
		slot = NULL;
	else
	{
		slot->pid = MyProcPid;
		slot->latch = MyLatch;
		slot->wanted = false;
		slot->launched_at = 0;
		slot->phase = WORKER_STARTING;
		slot->started_at = GetCurrentTimestamp();
		slot->jobs_done = slot->jobs_failed = 0;
		slot->last_error[0] = '\0';
	}
	mine = slot;
	LWLockRelease(table->lock);
	if (slot != NULL)
		before_shmem_exit(slots_detach, 0);
	return slot != NULL;
}

bool
slots_must_stop(void)
{
	bool		stop;

	if (mine == NULL)
		return false;
	LWLockAcquire(table->lock, LW_SHARED);
	stop = mine->stopped;
	LWLockRelease(table->lock);
	return stop;
}

void
slots_report(WorkerPhase phase, int calls_open)
{
	if (mine == NULL)
		return;
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	mine->phase = phase;
	mine->calls_open = calls_open;
	LWLockRelease(table->lock);
}

void
slots_count(bool done, bool failed, const char *error)
{
	if (mine == NULL)
		return;
	LWLockAcquire(table->lock, LW_EXCLUSIVE);
	if (done)
		mine->jobs_done++;
	else if (failed)
		mine->jobs_failed++;
	if (error != NULL)
		strlcpy(mine->last_error, error, sizeof(mine->last_error));
	LWLockRelease(table->lock);
}

PG_FUNCTION_INFO_V1(sales_worker_slots);

/* sales_internal.worker_slots() */
Datum
sales_worker_slots(PG_FUNCTION_ARGS)
{
	static const char *const phases[] = {"starting", "idle", "working", "calling"};
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	WorkerSlot *copy = palloc(sizeof(WorkerSlot) * SLOTS);

	InitMaterializedSRF(fcinfo, 0);
	if (table == NULL)
		return (Datum) 0;
	LWLockAcquire(table->lock, LW_SHARED);
	memcpy(copy, table->slots, sizeof(WorkerSlot) * SLOTS);
	LWLockRelease(table->lock);
	for (int i = 0; i < SLOTS; i++)
	{
		WorkerSlot *slot = &copy[i];
		Datum		values[8];
		bool		nulls[8] = {0};
		char	   *name;

		if (!OidIsValid(slot->database) || slot->pid == 0 ||
			(name = get_database_name(slot->database)) == NULL)
			continue;
		values[0] = DirectFunctionCall1(namein, CStringGetDatum(name));
		values[1] = Int32GetDatum(slot->pid);
		values[2] = CStringGetTextDatum(phases[slot->phase]);
		values[3] = TimestampTzGetDatum(slot->started_at);
		values[4] = Int64GetDatum(slot->jobs_done);
		values[5] = Int64GetDatum(slot->jobs_failed);
		values[6] = Int32GetDatum(slot->calls_open);
		nulls[7] = slot->last_error[0] == '\0';
		values[7] = nulls[7] ? (Datum) 0 : CStringGetTextDatum(slot->last_error);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
