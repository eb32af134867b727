/*
 * progress.c
 *		How far long operations are, for the view sales.progress.
 *
 * What a function writes into tables nobody sees before it has committed.  So an
 * operation that may take long has a place in shared memory meanwhile: a name, a
 * phase, and how much of it is done.  (The server's own pg_stat_progress_* have a
 * fixed list of commands, and ANALYZE or CREATE INDEX within would write over it.)
 *
 * A session has one place, its outermost operation's: an erasure that retention
 * asks for is retention's.  It is given back at the operation's end, at the end of
 * its transaction, or where the subtransaction that it began in is rolled back.
 *
 * Limits: without preload there is no shared memory and nothing to see; when all
 * places are taken, an operation goes unseen.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "commands/dbcommands.h"
#include "core/progress.h"
#include "core/shmem.h"
#include "core/uuid.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "storage/lwlock.h"
#include "tenancy/context.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"

#define PLACES 128
#define TEXT_SIZE 96			/* names of ours: ASCII */

typedef struct Place
{
	int			pid;			/* 0: free */
	Oid			database;
	bool		has_company;
	pg_uuid_t	company;
	char		operation[TEXT_SIZE];
	char		phase[TEXT_SIZE];
	int64		done;
	int64		total;			/* < 0: not known */
	TimestampTz started_at;
} Place;

typedef struct ProgressState
{
	LWLock	   *lock;			/* first, as core/shmem.h has it */
	Place		places[PLACES];
} ProgressState;

static ProgressState *state = NULL;
static Place *mine = NULL;
static SubTransactionId began_in = InvalidSubTransactionId;

static void
give_back(void)
{
	if (mine == NULL)
		return;
	LWLockAcquire(state->lock, LW_EXCLUSIVE);
	mine->pid = 0;
	LWLockRelease(state->lock);
	mine = NULL;
}

static void
end_of_transaction(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		give_back();
}

static void
end_of_subtransaction(SubXactEvent event, SubTransactionId sub, SubTransactionId parent, void *arg)
{
	if (mine == NULL || began_in != sub)
		return;
	if (event == SUBXACT_EVENT_ABORT_SUB)
		give_back();
	else if (event == SUBXACT_EVENT_COMMIT_SUB)
		began_in = parent;
}

static void
progress_attach(void *part, bool is_new)
{
	state = part;
}

void
progress_init(void)
{
	RegisterXactCallback(end_of_transaction, NULL);
	RegisterSubXactCallback(end_of_subtransaction, NULL);
	shmem_add("sales_assistant_progress", sizeof(ProgressState), progress_attach);
}

/* A free place, taken by this session; the lock must be held. */
static Place *
take_place(const char *operation, const pg_uuid_t *company)
{
	for (int i = 0; i < PLACES; i++)
	{
		Place	   *place = &state->places[i];

		if (place->pid != 0)
			continue;
		memset(place, 0, sizeof(Place));
		place->pid = MyProcPid;
		place->database = MyDatabaseId;
		place->has_company = company != NULL;
		if (company != NULL)
			place->company = *company;
		strlcpy(place->operation, operation, TEXT_SIZE);
		place->started_at = GetCurrentTimestamp();
		return place;
	}
	return NULL;
}

void
progress_note(const char *operation, const pg_uuid_t *company, const char *phase, int64 done,
			  int64 total)
{
	if (state == NULL || (mine != NULL && strcmp(mine->operation, operation) != 0))
		return;
	LWLockAcquire(state->lock, LW_EXCLUSIVE);
	if (mine == NULL)
	{
		mine = take_place(operation, company);
		began_in = GetCurrentSubTransactionId();
	}
	if (mine != NULL)
	{
		strlcpy(mine->phase, phase, TEXT_SIZE);
		mine->done = done;
		mine->total = total;
	}
	LWLockRelease(state->lock);
}

void
progress_end(const char *operation)
{
	if (mine != NULL && strcmp(mine->operation, operation) == 0)
		give_back();
}

/* --- for SQL --- */

PG_FUNCTION_INFO_V1(sales_note_progress);
PG_FUNCTION_INFO_V1(sales_end_progress);
PG_FUNCTION_INFO_V1(sales_progress_places);

/* sales_internal.note_progress(operation text, company uuid, phase text, done bigint, total bigint) */
Datum
sales_note_progress(PG_FUNCTION_ARGS)
{
	if (!PG_ARGISNULL(0) && !PG_ARGISNULL(2))
		progress_note(text_to_cstring(PG_GETARG_TEXT_PP(0)),
					  PG_ARGISNULL(1) ? NULL : PG_GETARG_UUID_P(1),
					  text_to_cstring(PG_GETARG_TEXT_PP(2)),
					  PG_ARGISNULL(3) ? 0 : PG_GETARG_INT64(3),
					  PG_ARGISNULL(4) ? -1 : PG_GETARG_INT64(4));
	PG_RETURN_VOID();
}

/* sales_internal.end_progress(operation text) */
Datum
sales_end_progress(PG_FUNCTION_ARGS)
{
	progress_end(text_to_cstring(PG_GETARG_TEXT_PP(0)));
	PG_RETURN_VOID();
}

/* Operators see the whole cluster, a tenant its company's operations. */
static bool
may_see(const Place *place, bool sees_all, const TenantContext *context)
{
	if (place->pid == 0)
		return false;
	return sees_all || (context != NULL && place->database == MyDatabaseId && place->has_company &&
						memcmp(&place->company, &context->company_id, UUID_LEN) == 0);
}

/* sales_internal.progress_places(): what the caller may see of them */
Datum
sales_progress_places(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	const TenantContext *context = context_current();
	Place	   *copy;
	bool		sees_all = has_privs_of_role(GetUserId(), ROLE_PG_MONITOR) ||
		has_privs_of_role(GetUserId(), get_role_oid("sales_admin", false));

	InitMaterializedSRF(fcinfo, 0);
	if (state == NULL)
		return (Datum) 0;
	copy = palloc(sizeof(state->places));
	LWLockAcquire(state->lock, LW_SHARED);
	memcpy(copy, state->places, sizeof(state->places));
	LWLockRelease(state->lock);
	for (int i = 0; i < PLACES; i++)
	{
		Place	   *place = &copy[i];
		Datum		values[8];
		bool		nulls[8] = {0};
		char	   *database;

		if (!may_see(place, sees_all, context) ||
			(database = get_database_name(place->database)) == NULL)
			continue;
		values[0] = Int32GetDatum(place->pid);
		values[1] = DirectFunctionCall1(namein, CStringGetDatum(database));
		nulls[2] = !place->has_company;
		values[2] = UUIDPGetDatum(&place->company);
		values[3] = CStringGetTextDatum(place->operation);
		values[4] = CStringGetTextDatum(place->phase);
		values[5] = Int64GetDatum(place->done);
		nulls[6] = place->total < 0;
		values[6] = Int64GetDatum(place->total);
		values[7] = TimestampTzGetDatum(place->started_at);
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
	}
	return (Datum) 0;
}
