/*
 * shards.c
 *		Which of our tables Citus has spread, and which shard is being written.
 *
 * A trigger of a spread table runs on the node that has the row, on a shard: a
 * plain table named prospects_102008.  What the trigger reads and writes
 * besides is the same company's, and so in shards of the same hash range on the
 * same node.  While a query writes a shard, its range is kept here; planner.c
 * puts the shards of that range in the place of the names that the trigger's
 * queries use, and code that writes a table directly asks distribute_beside().  So
 * triggers are written once, for plain tables, and run on a shard at the same
 * price, with all of SQL.
 *
 * The map is read from Citus's catalogue when first needed, and again after a
 * change of a table in it.  Where the library of Citus is not loaded, no hook
 * is set and every question is answered by one test.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_namespace.h"
#include "catalog/pg_type.h"
#include "commands/copy.h"
#include "core/spi.h"
#include "distribute/shards.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/plannodes.h"
#include "parser/parsetree.h"
#include "tcop/utility.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/hsearch.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/plancache.h"
#include "utils/snapmgr.h"

#define NO_RANGE (-1)

typedef struct ShardEntry
{
	Oid			relid;			/* hash key */
	ShardKind	kind;
	Oid			logical;		/* of a shard: the table that it is a part of */
	int			range;			/* of a shard: its hash range, counted from 0 */
} ShardEntry;

typedef struct SiblingKey
{
	Oid			logical;
	int			range;
} SiblingKey;

typedef struct SiblingEntry
{
	SiblingKey	key;
	Oid			shard;
} SiblingEntry;

static bool possible = false;
static MemoryContext map_context = NULL;
static HTAB *tables = NULL;
static HTAB *siblings = NULL;
static bool map_is_stale = true;
static bool map_is_loading = false;
static bool on_coordinator = true;

/* The range that the running query writes, and that plans were last made for. */
static int	current_range = NO_RANGE;
static int	planned_range = NO_RANGE;

static ExecutorRun_hook_type next_executor_run = NULL;
static ExecutorFinish_hook_type next_executor_finish = NULL;
static ProcessUtility_hook_type next_utility = NULL;

PG_FUNCTION_INFO_V1(sales_citus_tables);
PG_FUNCTION_INFO_V1(sales_on_shard);

bool
distribute_possible(void)
{
	return possible;
}

static void
note_change(Datum arg, Oid relid)
{
	if (!OidIsValid(relid) || tables == NULL ||
		hash_search(tables, &relid, HASH_FIND, NULL) != NULL)
		map_is_stale = true;
}

static HTAB *
new_table(const char *name, Size key, Size entry)
{
	HASHCTL		control = {0};

	control.keysize = key;
	control.entrysize = entry;
	control.hcxt = map_context;
	return hash_create(name, 512, &control, HASH_ELEM | HASH_BLOBS | HASH_CONTEXT);
}

static void
add_table(Oid relid, ShardKind kind, Oid logical, int range)
{
	ShardEntry *entry = hash_search(tables, &relid, HASH_ENTER, NULL);

	entry->kind = kind;
	entry->logical = logical;
	entry->range = range;
}

/* Reads what Citus knows of the tables in our schemas. */
static void
read_catalogue(void)
{
	if (spi_run("SELECT p.logicalrelid::pg_catalog.oid, p.partmethod::pg_catalog.text, s.shardid, "
				"  (row_number() OVER (PARTITION BY p.logicalrelid ORDER BY s.shardminvalue::pg_catalog.int4) - 1)::pg_catalog.int4, "
				"  n.nspname::pg_catalog.text, c.relname::pg_catalog.text "
				"FROM pg_catalog.pg_dist_partition p "
				"JOIN pg_catalog.pg_class c ON c.oid = p.logicalrelid "
				"JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace "
				"LEFT JOIN pg_catalog.pg_dist_shard s ON s.logicalrelid = p.logicalrelid "
				"WHERE n.nspname IN ('sales', 'sales_internal')", true, 0, 0, NULL) == 0)
		return;
	for (uint64 row = 0; row < SPI_processed; row++)
	{
		bool		isnull;
		Oid			logical = DatumGetObjectId(spi_datum(row, 1, &isnull));
		bool		spread = strcmp(spi_text(row, 2), "h") == 0;
		int64		shard_id = DatumGetInt64(spi_datum(row, 3, &isnull));
		int			range = DatumGetInt32(spi_datum(row, 4, &isnull));
		char	   *schema = spi_text(row, 5);
		char	   *name = spi_text(row, 6);
		Oid			shard;

		add_table(logical, spread ? SHARD_SPREAD : SHARD_REFERENCE, InvalidOid, NO_RANGE);
		shard = get_relname_relid(psprintf("%s_" INT64_FORMAT, name, shard_id),
								  get_namespace_oid(schema, false));
		if (OidIsValid(shard))
		{
			SiblingKey	key = {logical, spread ? range : 0};
			SiblingEntry *entry;

			add_table(shard, SHARD_PART, logical, spread ? range : NO_RANGE);
			entry = hash_search(siblings, &key, HASH_ENTER, NULL);
			entry->shard = shard;
		}
	}
}

/* True where there is a map to look into. */
static bool
load_map(void)
{
	if (!possible || !IsTransactionState() || map_is_loading)
		return false;
	if (!map_is_stale)
		return hash_get_num_entries(tables) > 0;

	map_is_loading = true;
	PG_TRY();
	{
		if (map_context == NULL)
		{
			map_context = AllocSetContextCreate(CacheMemoryContext, "sales_assistant shards",
												ALLOCSET_DEFAULT_SIZES);
			CacheRegisterRelcacheCallback(note_change, (Datum) 0);
		}
		else
			MemoryContextReset(map_context);
		tables = new_table("tables that Citus knows", sizeof(Oid), sizeof(ShardEntry));
		siblings = new_table("shards of a range", sizeof(SiblingKey), sizeof(SiblingEntry));
		map_is_stale = false;
		if (OidIsValid(get_relname_relid("pg_dist_partition", PG_CATALOG_NAMESPACE)) &&
			OidIsValid(get_namespace_oid("sales", true)))
		{
			/* a check hook may ask before there is a snapshot; a query's own is not taken for it */
			PushActiveSnapshot(GetCatalogSnapshot(InvalidOid));
			SPI_connect();
			read_catalogue();
			on_coordinator = spi_run("SELECT FROM pg_catalog.pg_dist_local_group WHERE groupid = 0",
									 true, 1, 0, NULL) > 0;
			SPI_finish();
			PopActiveSnapshot();
		}
	}
	PG_CATCH();
	{
		map_is_loading = false;
		map_is_stale = true;
		PG_RE_THROW();
	}
	PG_END_TRY();
	map_is_loading = false;
	return hash_get_num_entries(tables) > 0;
}

static ShardEntry *
find_table(Oid relid)
{
	return load_map() ? hash_search(tables, &relid, HASH_FIND, NULL) : NULL;
}

ShardKind
distribute_kind(Oid relid)
{
	ShardEntry *entry = find_table(relid);

	return entry == NULL ? SHARD_NONE : entry->kind;
}

bool
distribute_any(void)
{
	return load_map();
}

bool
distribute_is_spread(Oid relid)
{
	return possible && distribute_kind(relid) == SHARD_SPREAD;
}

bool
distribute_in_range(void)
{
	return current_range != NO_RANGE;
}

bool
distribute_within(void)
{
	return current_range != NO_RANGE && load_map() && !on_coordinator;
}

bool
distribute_is_node(void)
{
	(void) load_map();
	return possible && !on_coordinator;
}

Oid
distribute_beside(Oid relid)
{
	ShardEntry *entry;
	SiblingKey	key = {relid, current_range};
	SiblingEntry *sibling;

	if (current_range == NO_RANGE)
		return relid;
	entry = find_table(relid);
	if (entry == NULL || (entry->kind != SHARD_SPREAD && entry->kind != SHARD_REFERENCE))
		return relid;
	if (entry->kind == SHARD_REFERENCE)
		key.range = 0;
	sibling = hash_search(siblings, &key, HASH_FIND, NULL);
	if (sibling == NULL)
		elog(ERROR, "no shard of \"%s\" is beside the one that is written", get_rel_name(relid));
	return sibling->shard;
}

/* --- which range is being written --- */

/*
 * Enters the range of a shard, or leaves it.  Plans made for another range are
 * made again.  Sessions that Citus opens use their plans within ranges only.
 */
static void
enter_range(int range)
{
	current_range = range;
	if (range != planned_range &&
		(range != NO_RANGE || strncmp(application_name, "citus_internal", 14) != 0))
	{
		ResetPlanCache();
		planned_range = range;
	}
}

static int
range_of(Oid relid)
{
	ShardEntry *entry = find_table(relid);

	return entry != NULL && entry->kind == SHARD_PART ? entry->range : NO_RANGE;
}

/* The range that a query writes, or the current one where it writes no shard. */
static int
range_of_query(QueryDesc *query)
{
	PlannedStmt *stmt = query->plannedstmt;
	ListCell   *cell;

	if (query->operation == CMD_SELECT && !stmt->hasModifyingCTE)
		return current_range;
	foreach(cell, stmt->resultRelations)
	{
		RangeTblEntry *entry = rt_fetch(lfirst_int(cell), stmt->rtable);
		int			range = range_of(entry->relid);

		if (range != NO_RANGE)
			return range;
	}
	return current_range;
}

static void
shards_executor_run(QueryDesc *query, ScanDirection direction, uint64 count, bool once)
{
	int			outer = current_range;

	enter_range(range_of_query(query));
	PG_TRY();
	{
		if (next_executor_run)
			next_executor_run(query, direction, count, once);
		else
			standard_ExecutorRun(query, direction, count, once);
	}
	PG_FINALLY();
	{
		enter_range(outer);
	}
	PG_END_TRY();
}

static void
shards_executor_finish(QueryDesc *query)
{
	int			outer = current_range;

	enter_range(range_of_query(query));
	PG_TRY();
	{
		if (next_executor_finish)
			next_executor_finish(query);
		else
			standard_ExecutorFinish(query);
	}
	PG_FINALLY();
	{
		enter_range(outer);
	}
	PG_END_TRY();
}

/* COPY into a shard fires its triggers too. */
static void
shards_utility(PlannedStmt *stmt, const char *text, bool read_only_tree,
			   ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *env,
			   DestReceiver *dest, QueryCompletion *completion)
{
	CopyStmt   *copy = (CopyStmt *) stmt->utilityStmt;
	int			outer = current_range;

	if (IsA(copy, CopyStmt) && copy->is_from && copy->relation != NULL && IsTransactionState())
	{
		int			range = range_of(RangeVarGetRelid(copy->relation, NoLock, true));

		if (range != NO_RANGE)
			enter_range(range);
	}
	PG_TRY();
	{
		if (next_utility)
			next_utility(stmt, text, read_only_tree, context, params, env, dest, completion);
		else
			standard_ProcessUtility(stmt, text, read_only_tree, context, params, env, dest,
									completion);
	}
	PG_FINALLY();
	{
		enter_range(outer);
	}
	PG_END_TRY();
}

/* --- for SQL --- */

/* sales_internal.citus_tables() */
Datum
sales_citus_tables(PG_FUNCTION_ARGS)
{
	ArrayBuildState *state = initArrayResult(OIDOID, CurrentMemoryContext, false);

	if (load_map())
	{
		HASH_SEQ_STATUS status;
		ShardEntry *entry;

		hash_seq_init(&status, tables);
		while ((entry = hash_seq_search(&status)) != NULL)
			if (entry->kind != SHARD_PART)
				state = accumArrayResult(state, ObjectIdGetDatum(entry->relid), false, OIDOID,
										 CurrentMemoryContext);
	}
	PG_RETURN_DATUM(makeArrayResult(state, CurrentMemoryContext));
}

/* sales_internal.on_shard() */
Datum
sales_on_shard(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(distribute_within());
}

/* Citus must be the first of the preloaded libraries, so it is there before us. */
void
distribute_init(void)
{
	possible = GetConfigOption("citus.version", true, false) != NULL;
}

/* Around the hooks of audit, which writes at the end of a query. */
void
distribute_init_hooks(void)
{
	if (!possible)
		return;
	next_executor_run = ExecutorRun_hook;
	ExecutorRun_hook = shards_executor_run;
	next_executor_finish = ExecutorFinish_hook;
	ExecutorFinish_hook = shards_executor_finish;
	next_utility = ProcessUtility_hook;
	ProcessUtility_hook = shards_utility;
}
