/*
 * revocation.c
 *		Contexts taken back before they expire.
 *
 * A context is judged without reading a table, so that it works wherever a
 * setting does; what was revoked therefore stands in shared memory, a table of
 * ids (companies, users, sessions) with the time of revocation.  A backend
 * judges its context again when the count of revocations has changed, which
 * costs one atomic read otherwise.  What is revoked again takes the place that it
 * has, and a company that wants more than its places has all its contexts revoked
 * at once, so that it cannot fill the table with its own.  When the table is full
 * all the same the oldest entry goes, and every context signed before it counts as
 * revoked: users log in again, nobody stays in.  A restart, after a crash too,
 * empties the table, and so contexts that were signed before it are refused.
 *
 * Without preload there is no table: tokens are still refused by use_session(),
 * and a context that is in use ends with its token's expiry.
 */
#include "postgres.h"

#include "access/xact.h"
#include "core/shmem.h"
#include "distribute/shards.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/pg_list.h"
#include "port/atomics.h"
#include "storage/lwlock.h"
#include "tenancy/revocation.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define PLACES 4096
#define PLACES_OF_COMPANY 64

typedef struct Revoked
{
	pg_uuid_t	id;
	pg_uuid_t	company;
	bool		for_many;		/* of a company that has no place left: not of its bound roles */
	TimestampTz asked_at;		/* revocation_add() */
	TimestampTz at;				/* commit */
} Revoked;

typedef struct RevocationState
{
	LWLock	   *lock;			/* first, as core/shmem.h has it */
	pg_atomic_uint64 generation;	/* of all revocations; contexts are judged anew */
	TimestampTz horizon;		/* contexts signed before it count as revoked */
	int			used;
	Revoked		places[PLACES];
} RevocationState;

static RevocationState *state = NULL;
static List *pending = NIL;		/* Revoked of this transaction */

static void
revocation_attach(void *part, bool is_new)
{
	state = part;
	if (is_new)
	{
		/* also after a crash, when the postmaster's start is older than what was lost */
		state->horizon = GetCurrentTimestamp();
		pg_atomic_init_u64(&state->generation, 0);
	}
}

/* The place that an id has, or gets; `for_many` entries are of a company as a whole. */
static Revoked *
place_for(const Revoked *revoked)
{
	Revoked    *oldest = NULL;
	int			of_company = 0;

	for (int i = 0; i < state->used; i++)
	{
		Revoked    *place = &state->places[i];

		if (place->for_many == revoked->for_many && memcmp(&place->id, &revoked->id, UUID_LEN) == 0)
			return place;
		if (memcmp(&place->company, &revoked->company, UUID_LEN) == 0)
			of_company++;
		if (oldest == NULL || place->at < oldest->at)
			oldest = place;
	}
	if (of_company >= PLACES_OF_COMPANY && !revoked->for_many)
		return NULL;
	if (state->used < PLACES)
		return &state->places[state->used++];
	state->horizon = Max(state->horizon, oldest->at);
	return oldest;
}

static void
publish(const Revoked *revoked, TimestampTz at)
{
	Revoked		whole = {.id = revoked->company,.company = revoked->company,.for_many = true};
	Revoked    *place = place_for(revoked);

	if (place == NULL)
	{
		revoked = &whole;
		place = place_for(revoked);
	}
	*place = *revoked;
	place->at = at;
	pg_atomic_fetch_add_u64(&state->generation, 1);
}

static void
revocation_xact_callback(XactEvent event, void *arg)
{
	ListCell   *cell;

	/* On a node of a cluster, whose coordinator ends the transaction: early rather than never. */
	if ((event == XACT_EVENT_COMMIT || (event == XACT_EVENT_PRE_PREPARE && distribute_is_node())) && pending != NIL && state != NULL)
	{
		TimestampTz now = GetCurrentTimestamp();

		LWLockAcquire(state->lock, LW_EXCLUSIVE);
		foreach(cell, pending)
			publish(lfirst(cell), now);
		LWLockRelease(state->lock);
	}
	if (event == XACT_EVENT_PRE_PREPARE && pending != NIL && !distribute_is_node())
		ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
						errmsg("cannot PREPARE a transaction that has ended sessions"),
						errdetail("Sessions end when the transaction that ends them commits, in the same process."),
						errhint("Use COMMIT instead.")));
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT ||
		event == XACT_EVENT_PREPARE)
		pending = NIL;			/* freed with the transaction's memory */
}

void
revocation_init(void)
{
	RegisterXactCallback(revocation_xact_callback, NULL);
	shmem_add("sales_assistant_revocations", sizeof(RevocationState), revocation_attach);
}

void
revocation_add(const pg_uuid_t *id, const pg_uuid_t *company)
{
	MemoryContext old = MemoryContextSwitchTo(TopTransactionContext);
	Revoked    *revoked = palloc0(sizeof(Revoked));

	revoked->id = *id;
	revoked->company = *company;
	revoked->asked_at = GetCurrentTimestamp();
	pending = lappend(pending, revoked);
	MemoryContextSwitchTo(old);
}

void
revocation_add_all(void)
{
	if (state == NULL)
		return;
	LWLockAcquire(state->lock, LW_EXCLUSIVE);
	state->horizon = GetCurrentTimestamp();
	pg_atomic_fetch_add_u64(&state->generation, 1);
	LWLockRelease(state->lock);
}

uint64
revocation_count(void)
{
	return state != NULL ? pg_atomic_read_u64(&state->generation) : 0;
}

bool
revocation_covers(const pg_uuid_t *id, TimestampTz signed_at, bool bound)
{
	bool		covered;

	if (state == NULL)
		return false;
	LWLockAcquire(state->lock, LW_SHARED);
	/* A bound role's context is good only as its setting, which was replaced. */
	covered = !bound && signed_at < state->horizon;
	for (int i = 0; i < state->used && !covered; i++)
	{
		const Revoked *place = &state->places[i];

		covered = signed_at <= (bound ? place->asked_at : place->at) && !(bound && place->for_many) &&
			memcmp(&place->id, id, UUID_LEN) == 0;
	}
	LWLockRelease(state->lock);
	return covered;
}

PG_FUNCTION_INFO_V1(sales_revoke);

/* sales_internal.revoke(id uuid, company uuid) */
Datum
sales_revoke(PG_FUNCTION_ARGS)
{
	revocation_add(PG_GETARG_UUID_P(0), PG_GETARG_UUID_P(1));
	PG_RETURN_VOID();
}
