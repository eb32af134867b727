/*
 * planner.c
 *		What is done to a query on spread tables before Citus plans it.
 *
 * On the coordinator, in a query that names a spread table, calls of
 * current_company_id() and company_allowing() become constants.  Policies and
 * functions compare company_id with them, so Citus sees that a query is one
 * company's and sends the whole of it to that company's node, where all of SQL
 * may be used.  Plans with such constants hold for one company; they are thrown away when
 * the context changes (distribute_forget_plans()).
 *
 * Within a trigger of a shard: the shards beside it take the place of the
 * tables that the trigger's query names, and PostgreSQL plans it (shards.c).
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "distribute/fetch.h"
#include "distribute/insert_select.h"
#include "distribute/planner.h"
#include "distribute/shards.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/planner.h"
#include "parser/parsetree.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/plancache.h"
#include "utils/syscache.h"
#include "utils/uuid.h"

static planner_hook_type next_planner = NULL;
static bool plans_hold_constants = false;

typedef struct Found
{
	bool		spread;			/* a spread or reference table is named */
	bool		shard;			/* a shard itself is */
} Found;

static bool
find_tables(Node *node, void *context)
{
	Found	   *found = context;

	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *entry = (RangeTblEntry *) node;

		if (entry->rtekind == RTE_RELATION)
		{
			ShardKind	kind = distribute_kind(entry->relid);

			found->spread |= kind == SHARD_SPREAD || kind == SHARD_REFERENCE;
			found->shard |= kind == SHARD_PART;
		}
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, find_tables, context, QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, find_tables, context);
}

/* --- within a trigger of a shard --- */

static bool
put_shards(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (IsA(node, RangeTblEntry))
	{
		RangeTblEntry *entry = (RangeTblEntry *) node;

		if (entry->rtekind == RTE_RELATION)
		{
			Oid			shard = distribute_beside(entry->relid);

			if (shard != entry->relid)
			{
				LockRelationOid(shard, entry->rellockmode);
				entry->relid = shard;
			}
		}
		return false;
	}
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, put_shards, context, QTW_EXAMINE_RTES_BEFORE);
	return expression_tree_walker(node, put_shards, context);
}

/* --- on the coordinator --- */

static Node *
put_case_value(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, CaseTestExpr))
		return copyObject((Node *) context);
	/* these have test values of their own */
	if (IsA(node, CaseExpr) || IsA(node, ArrayCoerceExpr))
		return node;
	return expression_tree_mutator(node, put_case_value, context);
}

/* CASE value WHEN a is written CASE WHEN value = a: Citus writes the first wrongly once the value is a constant. */
static Node *
write_out_case(CaseExpr *simple)
{
	CaseExpr   *searched = copyObject(simple);
	ListCell   *cell;

	foreach(cell, searched->args)
	{
		CaseWhen   *when = lfirst(cell);

		when->expr = (Expr *) put_case_value((Node *) when->expr, simple->arg);
	}
	searched->arg = NULL;
	return (Node *) searched;
}

/* The function's value now, where it is one of those that tell the company. */
static Node *
put_constants(Node *node, void *context)
{
	if (node == NULL)
		return NULL;
	if (IsA(node, FuncExpr))
	{
		FuncExpr   *call = (FuncExpr *) node;
		char	   *name;

		if (call->funcresulttype == UUIDOID && list_length(call->args) != 1 &&
			get_func_namespace(call->funcid) == get_namespace_oid("sales", true) &&
			(name = get_func_name(call->funcid)) != NULL &&
			(strcmp(name, "current_company_id") == 0 || strcmp(name, "company_allowing") == 0 ||
			 strcmp(name, "current_user_id") == 0))
		{
			FmgrInfo	flinfo;
			LOCAL_FCINFO(fcinfo, 2);
			ListCell   *cell;
			int			n = 0;
			Datum		value;

			fmgr_info(call->funcid, &flinfo);
			InitFunctionCallInfoData(*fcinfo, &flinfo, list_length(call->args), InvalidOid, NULL, NULL);
			foreach(cell, call->args)
			{
				Const	   *arg = lfirst(cell);

				if (!IsA(arg, Const) || arg->constisnull)
					return node;
				fcinfo->args[n].value = arg->constvalue;
				fcinfo->args[n++].isnull = false;
			}
			value = FunctionCallInvoke(fcinfo);
			plans_hold_constants = true;
			return (Node *) makeConst(UUIDOID, -1, InvalidOid, UUID_LEN, value, fcinfo->isnull, false);
		}
	}
	if (IsA(node, CaseExpr) && ((CaseExpr *) node)->arg != NULL && !contain_volatile_functions((Node *) ((CaseExpr *) node)->arg))
		return put_constants(write_out_case((CaseExpr *) node), context);
	/* Citus takes no volatile function in an UPDATE; a statement's time will do */
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid == F_CLOCK_TIMESTAMP)
	{
		FuncExpr   *call = copyObject((FuncExpr *) node);

		call->funcid = F_STATEMENT_TIMESTAMP;
		return (Node *) call;
	}
	/* nor one that is merely STABLE as it takes any type; ours has the same code */
	if (IsA(node, FuncExpr) && ((FuncExpr *) node)->funcid == F_CONCAT_WS && superuser())
	{
		FuncExpr   *call = (FuncExpr *) expression_tree_mutator(node, put_constants, context);
		Oid			types[2] = {TEXTOID, ANYOID};

		call->funcid = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("concat_ws"),
									   PointerGetDatum(buildoidvector(types, 2)),
									   ObjectIdGetDatum(get_namespace_oid("sales_internal", false)));
		return (Node *) call;
	}
	if (IsA(node, Query))
		return (Node *) query_tree_mutator((Query *) node, put_constants, context, 0);
	return expression_tree_mutator(node, put_constants, context);
}

void
distribute_forget_plans(void)
{
	if (plans_hold_constants)
	{
		plans_hold_constants = false;
		ResetPlanCache();
	}
}

static PlannedStmt *
distribute_planner(Query *parse, const char *text, int options, ParamListInfo params)
{
	Found		found = {false, false};

	if (parse->commandType != CMD_UTILITY && IsTransactionState())
		(void) find_tables((Node *) parse, &found);
	if (found.spread && !found.shard)
	{
		/* A plan within a shard's trigger must not survive it. */
		if (distribute_in_range())
			(void) put_shards((Node *) parse, NULL);
		else
		{
			distribute_refuse_inserts_in_with(parse);
			if (distribute_inserts_query(parse))
				return distribute_plan_insert(parse);
			parse = (Query *) put_constants((Node *) parse, NULL);
			(void) distribute_fetch(parse);
		}
	}
	return next_planner ? next_planner(parse, text, options, params)
		: standard_planner(parse, text, options, params);
}

void
distribute_planner_init(void)
{
	if (!distribute_possible())
		return;
	distribute_insert_select_init();
	next_planner = planner_hook;
	planner_hook = distribute_planner;
}
