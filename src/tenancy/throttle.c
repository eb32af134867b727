/*
 * throttle.c
 *		Counts wrong passwords, so that guessing is slow.
 *
 * A failed login raises an error, which rolls back what a table would have
 * kept: so the counts stand in shared memory when the library is preloaded,
 * and in the backend alone (with a pause at each failure) when it is not.
 * After five failures an account waits 2, 4, 8 ... at most 900 seconds between
 * guesses.  The table has a fixed size; a new account takes the place of the
 * one with the fewest failures among the eight slots that its hash allows, those
 * of before yesterday counting as none.  Which slots those are nobody can tell: the
 * hash has a seed of this start.  So who makes up accounts to have a count forgotten
 * must fail at each of them as often as at the one that he is after.
 *
 * So whoever knows a name can keep its user waiting.  session.c counts guesses
 * from where the user has logged in before as another account's.
 */
#include "postgres.h"

#include "common/hashfn.h"
#include "compat.h"
#include "core/clock.h"
#include "core/shmem.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "storage/lwlock.h"
#include "tenancy/throttle.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define THROTTLE_SLOTS 4096
#define THROTTLE_WAYS 8
#define THROTTLE_FREE_GUESSES 5
#define THROTTLE_MAX_SECONDS 900
#define THROTTLE_FORGET_SECONDS INT64CONST(86400)

typedef struct ThrottleSlot
{
	uint64		account;		/* hash; 0 is empty */
	int			failures;
	TimestampTz last;
} ThrottleSlot;

typedef struct ThrottleState
{
	LWLock	   *lock;			/* first, as core/shmem.h has it; null without shared memory */
	uint64		seed;
	ThrottleSlot slots[THROTTLE_SLOTS];
} ThrottleState;

static ThrottleState *state = NULL;
static uint32 waits_to_answer = 0;	/* wait event */

static void
throttle_attach(void *part, bool is_new)
{
	state = part;
	if (is_new && !pg_strong_random(&state->seed, sizeof(state->seed)))
		elog(FATAL, "could not get random bytes");
}

void
throttle_init(void)
{
	shmem_add("sales_assistant_throttle", sizeof(ThrottleState), throttle_attach);
}

static void
throttle_lock(void)
{
	if (state == NULL)
		state = MemoryContextAllocZero(TopMemoryContext, sizeof(ThrottleState));
	if (state->lock != NULL)
		LWLockAcquire(state->lock, LW_EXCLUSIVE);
}

static void
throttle_unlock(void)
{
	if (state->lock != NULL)
		LWLockRelease(state->lock);
}

static uint64
throttle_hash(const char *account)
{
	uint64		hash = hash_bytes_extended((const unsigned char *) account,
										   strlen(account), state->seed ^ MyDatabaseId);

	return hash == 0 ? 1 : hash;
}

/* Failures that keep a slot; 0: anybody may have it. */
static int
standing_failures(const ThrottleSlot *slot, TimestampTz now)
{
	return now - slot->last > THROTTLE_FORGET_SECONDS * USECS_PER_SEC ? 0 : slot->failures;
}

/* The account's slot; with `take`, one of another account if need be. */
static ThrottleSlot *
throttle_slot(uint64 account, bool take)
{
	ThrottleSlot *least = NULL;
	TimestampTz now = clock_instant();

	for (int i = 0; i < THROTTLE_WAYS; i++)
	{
		ThrottleSlot *slot = &state->slots[(account + i) % THROTTLE_SLOTS];

		if (slot->account == account)
			return slot;
		if (least == NULL || standing_failures(slot, now) < standing_failures(least, now) ||
			(standing_failures(slot, now) == standing_failures(least, now) && slot->last < least->last))
			least = slot;
	}
	if (!take)
		return NULL;
	memset(least, 0, sizeof(ThrottleSlot));
	least->account = account;
	return least;
}

int
throttle_wait(const char *account)
{
	TimestampTz now = clock_instant();
	ThrottleSlot *slot;
	int64		wait = 0;

	throttle_lock();
	slot = throttle_slot(throttle_hash(account), false);
	if (slot != NULL && slot->failures >= THROTTLE_FREE_GUESSES)
	{
		int			doublings = Min(slot->failures - THROTTLE_FREE_GUESSES + 1, 10);
		int64		pause = Min(INT64CONST(1) << doublings, THROTTLE_MAX_SECONDS);

		/* the clock was set back: no longer than this pause for that */
		slot->last = Min(slot->last, now);
		wait = pause - (now - slot->last) / USECS_PER_SEC;
	}
	throttle_unlock();
	return (int) Max(wait, 0);
}

bool
throttle_failed(const char *account)
{
	ThrottleSlot *slot;
	bool		shared;
	bool		waits;

	throttle_lock();
	slot = throttle_slot(throttle_hash(account), true);
	slot->failures++;
	slot->last = clock_instant();
	waits = slot->failures >= THROTTLE_FREE_GUESSES;
	shared = state->lock != NULL;
	throttle_unlock();
	if (!shared)
	{
		pgstat_report_wait_start(compat_wait_event(&waits_to_answer, "SalesAssistantLogin"));
		pg_usleep(300 * 1000L);
		pgstat_report_wait_end();
	}
	return waits;
}

void
throttle_succeeded(const char *account)
{
	ThrottleSlot *slot;

	throttle_lock();
	slot = throttle_slot(throttle_hash(account), false);
	if (slot != NULL)
		memset(slot, 0, sizeof(ThrottleSlot));
	throttle_unlock();
}
