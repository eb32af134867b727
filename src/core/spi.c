/*
 * spi.c
 *		Queries run from C, immune to the caller's search_path.
 *
 * Every query goes through spi_run(), which pins search_path to pg_catalog and
 * pg_temp for its duration, so that neither an operator nor a function nor a
 * temporary table of the caller can take the place of the intended one.
 * Parameters are always bound, never pasted.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "core/spi.h"
#include "miscadmin.h"
#include "nodes/params.h"
#include "tcop/dest.h"
#include "tenancy/context.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/rls.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"

#define SPI_MAX_ARGS 32
#define KEPT_TEXT 512			/* bytes of a query whose plan is kept */

typedef struct KeptPlan
{
	char		sql[KEPT_TEXT];	/* hash key */
	SPIPlanPtr	plan;
} KeptPlan;

static HTAB *kept_plans = NULL;

SpiArg
spi_arg_text(const char *value)
{
	if (value == NULL)
		return SPI_ARG_NULL(TEXTOID);
	return SPI_ARG(TEXTOID, CStringGetTextDatum(value));
}

SpiArg
spi_arg_uuid(const pg_uuid_t *value)
{
	if (value == NULL)
		return SPI_ARG_NULL(UUIDOID);
	return SPI_ARG(UUIDOID, UUIDPGetDatum(value));
}

static void
spread_args(int nargs, const SpiArg *args, Oid *types, Datum *values, char *nulls)
{
	if (nargs > SPI_MAX_ARGS)
		elog(ERROR, "too many parameters in a query");
	for (int i = 0; i < nargs; i++)
	{
		types[i] = args[i].type;
		values[i] = args[i].value;
		nulls[i] = args[i].isnull ? 'n' : ' ';
	}
}

#define PINNED_PATH "pg_catalog, pg_temp"

/* For unpin_search_path(); 0 if it is pinned already, as in the worker. */
static int
pin_search_path(void)
{
	int			nestlevel;

	if (strcmp(namespace_search_path, PINNED_PATH) == 0)
		return 0;
	nestlevel = NewGUCNestLevel();
	(void) set_config_option("search_path", PINNED_PATH, PGC_USERSET,
							 PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
	return nestlevel;
}

static void
unpin_search_path(int nestlevel)
{
	if (nestlevel != 0)
		AtEOXact_GUC(true, nestlevel);
}

/* The kept plan of a query; search_path must be pinned. */
static SPIPlanPtr
kept_plan(const char *sql, int nargs, Oid *types)
{
	KeptPlan   *kept;
	bool		found;

	if (strlen(sql) >= KEPT_TEXT)
		elog(ERROR, "query is too long to be kept: %s", sql);
	if (kept_plans == NULL)
	{
		HASHCTL		control = {0};

		control.keysize = KEPT_TEXT;
		control.entrysize = sizeof(KeptPlan);
		kept_plans = hash_create("sales_assistant plans", 32, &control,
								 HASH_ELEM | HASH_STRINGS);
	}
	kept = hash_search(kept_plans, sql, HASH_ENTER, &found);
	if (!found)
		kept->plan = NULL;
	if (kept->plan == NULL)
	{
		SPIPlanPtr	plan = SPI_prepare(sql, nargs, types);

		if (plan == NULL || SPI_keepplan(plan) != 0)
			elog(ERROR, "could not prepare (%s): %s", SPI_result_code_string(SPI_result), sql);
		kept->plan = plan;
	}
	return kept->plan;
}

static uint64
run(const char *sql, bool keep, bool read_only, long limit, int nargs, const SpiArg *args)
{
	Oid			types[SPI_MAX_ARGS];
	Datum		values[SPI_MAX_ARGS];
	char		nulls[SPI_MAX_ARGS];
	int			nestlevel;
	int			rc;

	spread_args(nargs, args, types, values, nulls);
	nestlevel = pin_search_path();
	rc = keep ? SPI_execute_plan(kept_plan(sql, nargs, types), values, nulls, read_only, limit)
		: SPI_execute_with_args(sql, nargs, types, values, nulls, read_only, limit);
	unpin_search_path(nestlevel);

	if (rc < 0)
		elog(ERROR, "query failed (%s): %s", SPI_result_code_string(rc), sql);
	return SPI_processed;
}

uint64
spi_run(const char *sql, bool read_only, long limit, int nargs, const SpiArg *args)
{
	return run(sql, false, read_only, limit, nargs, args);
}

uint64
spi_run_kept(const char *sql, bool read_only, long limit, int nargs, const SpiArg *args)
{
	return run(sql, true, read_only, limit, nargs, args);
}

/* As run(), with the rights of the owner. */
static uint64
run_as_owner(const char *sql, bool keep, bool read_only, long limit, int nargs, const SpiArg *args)
{
	Oid			save_userid;
	int			save_sec_context;
	uint64		rows;

	/* An error leaves through transaction abort, which restores the user. */
	GetUserIdAndSecContext(&save_userid, &save_sec_context);
	SetUserIdAndSecContext(spi_owner(),
						   save_sec_context | SECURITY_LOCAL_USERID_CHANGE);
	rows = run(sql, keep, read_only, limit, nargs, args);
	SetUserIdAndSecContext(save_userid, save_sec_context);
	return rows;
}

uint64
spi_run_as_owner(const char *sql, bool read_only, long limit, int nargs,
				 const SpiArg *args)
{
	return run_as_owner(sql, false, read_only, limit, nargs, args);
}

uint64
spi_run_kept_as_owner(const char *sql, bool read_only, long limit, int nargs,
					  const SpiArg *args)
{
	return run_as_owner(sql, true, read_only, limit, nargs, args);
}

/* --- rows as they come --- */

typedef struct ScanReceiver
{
	DestReceiver dest;
	SpiTaker	taker;
	void	   *state;
	MemoryContext row;
} ScanReceiver;

static void
start_scan(DestReceiver *self, int operation, TupleDesc desc)
{
}

static bool
receive_row(TupleTableSlot *slot, DestReceiver *self)
{
	ScanReceiver *scan = (ScanReceiver *) self;
	MemoryContext before = MemoryContextSwitchTo(scan->row);

	slot_getallattrs(slot);
	scan->taker(slot, scan->state);
	MemoryContextSwitchTo(before);
	MemoryContextReset(scan->row);
	return true;
}

static void
end_scan(DestReceiver *self)
{
}

void
spi_scan(const char *sql, int nargs, const SpiArg *args, SpiTaker taker, void *state)
{
	ScanReceiver scan = {
		{receive_row, start_scan, end_scan, end_scan, DestNone}, taker, state,
		AllocSetContextCreate(CurrentMemoryContext, "scanned row", ALLOCSET_DEFAULT_SIZES)
	};
	SPIExecuteOptions options = {0};
	int			nestlevel;
	int			rc;

	options.read_only = true;
	options.dest = &scan.dest;
	options.params = makeParamList(nargs);
	for (int i = 0; i < nargs; i++)
		options.params->params[i] = (ParamExternData) {args[i].value, args[i].isnull, PARAM_FLAG_CONST, args[i].type};
	nestlevel = pin_search_path();
	rc = SPI_execute_extended(sql, &options);
	unpin_search_path(nestlevel);
	if (rc < 0)
		elog(ERROR, "query failed (%s): %s", SPI_result_code_string(rc), sql);
	MemoryContextDelete(scan.row);
}

static char *
first_text(const char *sql, int nargs, const SpiArg *args)
{
	return spi_run(sql, true, 1, nargs, args) > 0 ? spi_text(0, 1) : NULL;
}

void
spi_refuse_stale(const char *work, const char *sql, int nargs, const SpiArg *args)
{
	char	   *seen;
	char	   *now;

	if (!IsolationUsesXactSnapshot())
		return;
	seen = first_text(sql, nargs, args);
	PushActiveSnapshot(GetLatestSnapshot());
	now = first_text(sql, nargs, args);
	PopActiveSnapshot();
	if ((seen == NULL) != (now == NULL) || (seen != NULL && strcmp(seen, now) != 0))
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("could not serialize access due to concurrent %s", work),
						errhint("The transaction might succeed if retried.")));
}

ErrorData *
spi_in_subtransaction(SpiStep step, void *arg, MemoryContext memory)
{
	ResourceOwner owner = CurrentResourceOwner;
	MemoryContext caller = CurrentMemoryContext;
	ErrorData  *volatile error = NULL;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		/* A step sees what the steps before it wrote. */
		PushActiveSnapshot(GetTransactionSnapshot());
		step(arg);
		PopActiveSnapshot();
		ReleaseCurrentSubTransaction();
	}
	PG_CATCH();
	{
		MemoryContextSwitchTo(memory);
		error = CopyErrorData();
		FlushErrorState();
		RollbackAndReleaseCurrentSubTransaction();
	}
	PG_END_TRY();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;
	return error;
}

char *
spi_text(uint64 row, int column)
{
	return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

Datum
spi_datum(uint64 row, int column, bool *isnull)
{
	return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, isnull);
}

Oid
spi_owner(void)
{
	Oid			nsp = get_namespace_oid("sales", false);
	HeapTuple	tuple = SearchSysCache1(NAMESPACEOID, ObjectIdGetDatum(nsp));
	Oid			owner;

	if (!HeapTupleIsValid(tuple))
		elog(ERROR, "cache lookup failed for schema %u", nsp);
	owner = ((Form_pg_namespace) GETSTRUCT(tuple))->nspowner;
	ReleaseSysCache(tuple);
	return owner;
}

/*
 * pg_dump's scripts open with a fixed preamble: row_security and
 * check_function_bodies off.  A session with both, whose login is a superuser,
 * is putting back rows that were already audited, marked and stamped.  The
 * login counts, not the current user: a tenant that turned both off and called
 * a definer function would be a superuser inside it.  (On a node of a cluster the
 * login is that of Citus, which tells by a carried context who has sent it.)
 */
bool
spi_restoring(void)
{
	return !row_security && !check_function_bodies && superuser_arg(GetSessionUserId()) &&
		!context_carries(CARRY_CONTEXT);
}
