/*
 * route.c
 *		Which company a query is about.
 *
 * Citus sends a query to one node whole, and so takes all of SQL, where each of
 * its tables is spread and compared with the same company.  It sees that
 * through conditions company_id = value, and company_id = company_id of
 * another table; so do we, and the rest is fetched (fetch.c).
 */
#include "postgres.h"

#include "distribute/route.h"
#include "distribute/shards.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "parser/parse_relation.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"

#define MAX_TABLES 64

/* What is known at one level of a query. */
typedef struct Level
{
	Query	   *query;
	int			set[MAX_TABLES];	/* tables with one number have one company */
	Node	   *value[MAX_TABLES];	/* by number: what it is compared with */
	bool		outer[MAX_TABLES];	/* by number: compared with the level above */
} Level;

typedef struct Route
{
	bool		one;			/* so far */
	Node	   *company;		/* of all; null: none seen yet */
	int			spread;			/* tables of each kind */
	int			others;
	int			levels;
} Route;

static bool
is_company_column(Query *query, Var *var)
{
	RangeTblEntry *entry;
	char	   *name;

	if (var->varno > list_length(query->rtable) || var->varattno <= 0)
		return false;
	entry = rt_fetch(var->varno, query->rtable);
	name = get_rte_attribute_name(entry, var->varattno);
	return name != NULL && strcmp(name, "company_id") == 0;
}

/* A Var of a join is one of the table that it comes from, where that is one. */
static Node *
strip(Query *query, Node *node)
{
	while (node != NULL && IsA(node, RelabelType))
		node = (Node *) ((RelabelType *) node)->arg;
	while (node != NULL && IsA(node, Var) && ((Var *) node)->varlevelsup == 0 && ((Var *) node)->varattno > 0)
	{
		Var		   *var = (Var *) node;
		RangeTblEntry *entry = rt_fetch(var->varno, query->rtable);

		if (entry->rtekind != RTE_JOIN)
			break;
		node = list_nth(entry->joinaliasvars, var->varattno - 1);
	}
	return node;
}

static void
merge(Level *level, int a, int b)
{
	int			from = level->set[b];
	int			to = level->set[a];

	if (from == to)
		return;
	if (level->value[to] == NULL)
		level->value[to] = level->value[from];
	level->outer[to] |= level->outer[from];
	for (int i = 0; i < MAX_TABLES; i++)
		if (level->set[i] == from)
			level->set[i] = to;
}

static void
note_equality(Level *level, Node *left, Node *right)
{
	left = strip(level->query, left);
	right = strip(level->query, right);
	if (left == NULL || right == NULL)
		return;
	if (!IsA(left, Var) || ((Var *) left)->varlevelsup != 0)
	{
		Node	   *swap = left;

		left = right;
		right = swap;
	}
	if (!IsA(left, Var) || ((Var *) left)->varlevelsup != 0 || !is_company_column(level->query, (Var *) left) ||
		((Var *) left)->varno >= MAX_TABLES)
		return;
	if (IsA(right, Const) || (IsA(right, Param) && ((Param *) right)->paramkind == PARAM_EXTERN))
	{
		int			set = level->set[((Var *) left)->varno];

		if (level->value[set] == NULL)
			level->value[set] = right;
	}
	else if (IsA(right, Var) && ((Var *) right)->varlevelsup > 0)
		level->outer[level->set[((Var *) left)->varno]] = true;
	else if (IsA(right, Var) && is_company_column(level->query, (Var *) right) && ((Var *) right)->varno < MAX_TABLES)
		merge(level, ((Var *) left)->varno, ((Var *) right)->varno);
}

static void
note_conditions(Level *level, Node *quals)
{
	ListCell   *cell;

	if (quals == NULL)
		return;
	if (IsA(quals, List))
		foreach(cell, (List *) quals)
			note_conditions(level, lfirst(cell));
	else if (is_andclause(quals))
		foreach(cell, ((BoolExpr *) quals)->args)
			note_conditions(level, lfirst(cell));
	else if (IsA(quals, OpExpr) && list_length(((OpExpr *) quals)->args) == 2)
	{
		OpExpr	   *comparison = (OpExpr *) quals;
		char	   *name = get_opname(comparison->opno);

		if (name != NULL && strcmp(name, "=") == 0)
			note_equality(level, linitial(comparison->args), lsecond(comparison->args));
	}
}

static void
note_joins(Level *level, Node *node)
{
	ListCell   *cell;

	if (node == NULL)
		return;
	if (IsA(node, FromExpr))
	{
		note_conditions(level, ((FromExpr *) node)->quals);
		foreach(cell, ((FromExpr *) node)->fromlist)
			note_joins(level, lfirst(cell));
	}
	else if (IsA(node, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) node;

		note_joins(level, join->larg);
		note_joins(level, join->rarg);
		/* of a full join neither side follows the other */
		if (join->jointype != JOIN_FULL)
			note_conditions(level, join->quals);
	}
}

static void
read_level(Level *level, Query *query)
{
	ListCell   *cell;
	int			varno = 0;

	memset(level, 0, sizeof(*level));
	level->query = query;
	for (int i = 0; i < MAX_TABLES; i++)
		level->set[i] = i;
	note_joins(level, (Node *) query->jointree);
	foreach(cell, query->rtable)
	{
		RangeTblEntry *entry = lfirst(cell);

		varno++;
		if (varno < MAX_TABLES && entry->rtekind == RTE_RELATION)
			note_conditions(level, (Node *) entry->securityQuals);
	}
}

Node *
distribute_route_company(Query *query, Index varno)
{
	Level		level;

	if (varno >= MAX_TABLES)
		return NULL;
	read_level(&level, query);
	return level.value[level.set[varno]];
}

static bool
is_used(Query *query, RangeTblEntry *entry)
{
	/* what a view was before it was put in; its place only checks privileges */
	return entry->inFromCl || entry == rt_fetch(Max(query->resultRelation, 1), query->rtable);
}

static bool
visit(Node *node, void *context)
{
	Route	   *route = context;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		Query	   *query = (Query *) node;
		Level		level;
		ListCell   *cell;
		int			varno = 0;

		route->levels++;
		read_level(&level, query);
		if (list_length(query->rtable) >= MAX_TABLES)
			route->one = false;
		foreach(cell, query->rtable)
		{
			RangeTblEntry *entry = lfirst(cell);
			ShardKind	kind;
			int			set;

			varno++;
			if (entry->rtekind != RTE_RELATION || varno >= MAX_TABLES || !is_used(query, entry))
				continue;
			kind = distribute_kind(entry->relid);
			if (kind == SHARD_REFERENCE)
				continue;
			if (kind != SHARD_SPREAD)
			{
				route->others++;
				route->one = false;
				continue;
			}
			route->spread++;
			set = level.set[varno];
			if (level.value[set] != NULL)
			{
				if (route->company == NULL)
					route->company = level.value[set];
				else if (!equal(route->company, level.value[set]))
				{
					Const	   *a = (Const *) route->company;
					Const	   *b = (Const *) level.value[set];

					if (!(IsA(a, Const) && IsA(b, Const) && !a->constisnull && !b->constisnull && a->consttype == b->consttype &&
						  memcmp(DatumGetPointer(a->constvalue), DatumGetPointer(b->constvalue), a->constlen > 0 ? a->constlen : 0) == 0 &&
						  a->constlen > 0))
						route->one = false;
				}
			}
			else if (!level.outer[set] && !(query->commandType == CMD_INSERT && varno == query->resultRelation))
				route->one = false;
		}
		return query_tree_walker(query, visit, context, 0);
	}
	return expression_tree_walker(node, visit, context);
}

/*
 * Tables that are compared with the company of a level above are compared with
 * the company itself as well: the planner would not see it from there.
 */
static bool
write_out(Node *node, void *context)
{
	Node	   *company = context;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		Query	   *query = (Query *) node;
		Level		level;
		int			n = Min(list_length(query->rtable), MAX_TABLES - 1);

		read_level(&level, query);
		for (int varno = 1; varno <= n; varno++)
		{
			RangeTblEntry *entry = rt_fetch(varno, query->rtable);
			AttrNumber	attnum;
			TypeCacheEntry *uuid;

			if (entry->rtekind != RTE_RELATION || !is_used(query, entry) || distribute_kind(entry->relid) != SHARD_SPREAD ||
				level.value[level.set[varno]] != NULL || !level.outer[level.set[varno]])
				continue;
			attnum = get_attnum(entry->relid, "company_id");
			uuid = lookup_type_cache(UUIDOID, TYPECACHE_EQ_OPR);
			query->jointree->quals = (Node *)
				make_and_qual(query->jointree->quals,
							  (Node *) make_opclause(uuid->eq_opr, BOOLOID, false,
													 (Expr *) makeVar(varno, attnum, UUIDOID, -1, InvalidOid, 0),
													 (Expr *) copyObject(company), InvalidOid, InvalidOid));
		}
		return query_tree_walker(query, write_out, context, 0);
	}
	return expression_tree_walker(node, write_out, context);
}

bool
distribute_route_is_simple(Query *query)
{
	Route		route = {true, NULL, 0, 0, 0};

	(void) visit((Node *) query, &route);
	if (route.one && route.company != NULL && route.levels > 1)
		(void) write_out((Node *) query, route.company);
	return (route.one && (route.company != NULL || route.spread <= 1)) ||
		(route.spread == 1 && route.others == 0 && route.levels == 1);
}
