/*
 * fetch.c
 *		Queries that call functions on the rows of spread tables.
 *
 * SELECT sales.enter_stage(prospect_id, 'client') FROM sales.prospects: Citus
 * would have the node that holds the rows call the function.  But such
 * functions use the queue, the settings and other tables, and run on the
 * coordinator.  So in a query that calls one, each spread table becomes a call
 * of sales_internal.fetch(), which brings the columns that are used of the rows
 * that the table's own conditions leave; the rest is PostgreSQL's, here.  The
 * fetch is a query of its own by the same user, with the same policies.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/table.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "core/spi.h"
#include "distribute/fetch.h"
#include "distribute/route.h"
#include "distribute/shards.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "catalog/namespace.h"
#include "parser/parse_relation.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteManip.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"

PG_FUNCTION_INFO_V1(sales_fetch);

#define MAX_FETCH_PARAMS 30

/* --- is it needed --- */

/* A shard's rows are of a type of their own, which such a function does not know. */
static bool
takes_row(Form_pg_proc proc)
{
	for (int i = 0; i < proc->pronargs; i++)
		if (get_typtype(proc->proargtypes.values[i]) == TYPTYPE_COMPOSITE)
			return true;
	return false;
}

/*
 * Functions in C that neither change the database nor read its tables (as those do that
 * give rows) may run anywhere, but for those that are given one: nodes cannot be sent it.
 */
static bool
runs_on_coordinator(Oid funcid)
{
	HeapTuple	tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(funcid));
	Form_pg_proc proc;
	bool		yes;

	if (!HeapTupleIsValid(tuple))
		return false;
	proc = (Form_pg_proc) GETSTRUCT(tuple);
	yes = proc->prolang != INTERNALlanguageId &&
		(proc->provolatile != PROVOLATILE_IMMUTABLE || takes_row(proc));
	if (yes)
	{
		char	   *schema = get_namespace_name(proc->pronamespace);
		const char *name = NameStr(proc->proname);

		yes = schema != NULL &&
			(strcmp(schema, "sales") == 0 || strcmp(schema, "sales_internal") == 0 || strcmp(schema, "sales_bi") == 0);
		if (yes && proc->prolang == ClanguageId)
			yes = takes_row(proc) ||
				((proc->provolatile == PROVOLATILE_VOLATILE || proc->proretset) &&
				 strcmp(name, "uuidv7") != 0 && strcmp(name, "restoring") != 0 && strcmp(name, "fetch") != 0);
	}
	ReleaseSysCache(tuple);
	return yes;
}

static bool
check_function(Oid funcid, void *context)
{
	return runs_on_coordinator(funcid);
}

static bool
calls_coordinator(Node *node, void *context)
{
	if (node == NULL)
		return false;
	if (check_functions_in_node(node, check_function, context))
		return true;
	if (IsA(node, Query))
		return query_tree_walker((Query *) node, calls_coordinator, context, 0);
	return expression_tree_walker(node, calls_coordinator, context);
}

/* --- what a fetch asks for --- */

typedef struct Conditions
{
	Index		varno;
	bool		fits;
} Conditions;

static bool
of_other_tables(Node *node, void *context)
{
	Conditions *conditions = context;

	if (node == NULL)
		return false;
	if (IsA(node, Var))
	{
		Var		   *var = (Var *) node;

		return var->varlevelsup != 0 || var->varno != conditions->varno || var->varattno <= 0;
	}
	if (IsA(node, Param))
		return ((Param *) node)->paramkind != PARAM_EXTERN;
	if (IsA(node, SubLink) || IsA(node, Aggref) || IsA(node, WindowFunc) || IsA(node, GroupingFunc))
		return true;
	return expression_tree_walker(node, of_other_tables, context);
}

/* Parameters numbered anew, in the order in which they are passed on. */
static Node *
number_params(Node *node, void *context)
{
	List	  **params = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Param))
	{
		Param	   *param = copyObject((Param *) node);

		*params = lappend(*params, copyObject(node));
		param->paramid = list_length(*params);
		return (Node *) param;
	}
	if (IsA(node, Var))
	{
		Var		   *var = copyObject((Var *) node);

		var->varno = 1;
		var->varnosyn = 1;
		var->varattnosyn = var->varattno;
		return (Node *) var;
	}
	return expression_tree_mutator(node, number_params, context);
}

/* Is the table one whose rows an outer join may fill up with nulls? */
static bool
is_nullable(Node *node, Index varno, bool nullable)
{
	if (IsA(node, RangeTblRef))
		return nullable && ((RangeTblRef *) node)->rtindex == varno;
	if (IsA(node, FromExpr))
	{
		ListCell   *cell;

		foreach(cell, ((FromExpr *) node)->fromlist)
			if (is_nullable(lfirst(cell), varno, nullable))
				return true;
		return false;
	}
	if (IsA(node, JoinExpr))
	{
		JoinExpr   *join = (JoinExpr *) node;

		return is_nullable(join->larg, varno, nullable || join->jointype == JOIN_RIGHT || join->jointype == JOIN_FULL) ||
			is_nullable(join->rarg, varno, nullable || join->jointype == JOIN_LEFT || join->jointype == JOIN_FULL);
	}
	return false;
}

/* The query that brings a table's rows, and the parameters that it takes. */
static char *
fetch_text(Query *query, Index varno, Relation table, List **params)
{
	RangeTblEntry *entry = rt_fetch(varno, query->rtable);
	TupleDesc	desc = RelationGetDescr(table);
	bool		whole_row = bms_is_member(InvalidAttrNumber - FirstLowInvalidHeapAttributeNumber,
										  compat_selected_columns(query, entry));
	StringInfoData sql;
	Conditions	conditions = {varno, true};
	List	   *context = deparse_context_for("x", RelationGetRelid(table));
	List	   *clauses = make_ands_implicit((Expr *) query->jointree->quals);
	const char *separator = " WHERE ";
	Node	   *company;
	ListCell   *cell;

	initStringInfo(&sql);
	appendStringInfoString(&sql, "SELECT ");
	for (int i = 0; i < desc->natts; i++)
	{
		Form_pg_attribute attribute = TupleDescAttr(desc, i);
		bool		used = whole_row ||
			bms_is_member(attribute->attnum - FirstLowInvalidHeapAttributeNumber,
						  compat_selected_columns(query, entry));

		if (i > 0)
			appendStringInfoString(&sql, ", ");
		if (attribute->attisdropped)
			appendStringInfoString(&sql, "NULL::pg_catalog.int4");
		else if (used)
			appendStringInfo(&sql, "x.%s", quote_identifier(NameStr(attribute->attname)));
		else
			appendStringInfo(&sql, "NULL::%s", format_type_extended(attribute->atttypid, attribute->atttypmod, FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
	}
	appendStringInfo(&sql, " FROM %s x",
					 quote_qualified_identifier(get_namespace_name(RelationGetNamespace(table)),
												RelationGetRelationName(table)));
	/* A table that is joined by company is that of the company that the other is. */
	company = distribute_route_company(query, varno);
	if (company != NULL)
	{
		company = number_params(company, params);
		appendStringInfo(&sql, " WHERE x.company_id = (%s)", deparse_expression(company, context, true, false));
		separator = " AND ";
	}
	if (is_nullable((Node *) query->jointree, varno, false))
		clauses = NIL;
	foreach(cell, clauses)
	{
		Node	   *clause = lfirst(cell);

		if (of_other_tables(clause, &conditions) || contain_volatile_functions(clause) ||
			calls_coordinator(clause, NULL))
			continue;
		if (list_length(*params) > MAX_FETCH_PARAMS - 10)
			break;
		clause = number_params(clause, params);
		appendStringInfo(&sql, "%s(%s)", separator, deparse_expression(clause, context, true, false));
		separator = " AND ";
	}
	return sql.data;
}

/* Puts a fetch in the place of a table. */
static void
put_fetch(Query *query, Index varno)
{
	RangeTblEntry *entry = rt_fetch(varno, query->rtable);
	Relation	table = table_open(entry->relid, AccessShareLock);
	Oid			row_type = table->rd_rel->reltype;
	List	   *params = NIL;
	char	   *sql = fetch_text(query, varno, table, &params);
	RangeTblFunction *function = makeNode(RangeTblFunction);
	Oid			types[3] = {ANYELEMENTOID, TEXTOID, ANYOID};
	Oid			funcid = GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum("fetch"),
										 PointerGetDatum(buildoidvector(types, params == NIL ? 2 : 3)),
										 ObjectIdGetDatum(get_namespace_oid("sales_internal", false)));
	List	   *args = list_make2(makeNullConst(row_type, -1, InvalidOid),
								  makeConst(TEXTOID, -1, DEFAULT_COLLATION_OID, -1, CStringGetTextDatum(sql), false, false));
	FuncExpr   *call;

	if (!OidIsValid(funcid))
		elog(ERROR, "sales_internal.fetch is not there");
	args = list_concat(args, params);
	call = makeFuncExpr(funcid, row_type, args, InvalidOid, InvalidOid, COERCE_EXPLICIT_CALL);
	call->funcretset = true;
	function->funcexpr = (Node *) call;
	function->funccolcount = RelationGetNumberOfAttributes(table);
	table_close(table, NoLock);

	entry->rtekind = RTE_FUNCTION;
	entry->functions = list_make1(function);
	entry->relid = InvalidOid;
	entry->relkind = '\0';
	entry->rellockmode = 0;
	entry->inh = false;
	entry->securityQuals = NIL;
	compat_forget_permissions(entry);
}

typedef struct Places
{
	bool		possible;
	bool		replace;
	int			found;
} Places;

/* Looks for spread tables in all levels of a query; replaces them the second time. */
static bool
visit(Node *node, void *context)
{
	Places	   *places = context;

	if (node == NULL)
		return false;
	if (IsA(node, Query))
	{
		Query	   *query = (Query *) node;
		Index		varno = 0;
		ListCell   *cell;

		foreach(cell, query->rtable)
		{
			RangeTblEntry *entry = lfirst(cell);
			ShardKind	kind;

			varno++;
			if (entry->rtekind != RTE_RELATION)
				continue;
			kind = distribute_kind(entry->relid);
			if (kind != SHARD_SPREAD && kind != SHARD_REFERENCE)
				continue;
			if (varno == query->resultRelation)
			{
				if (query->commandType != CMD_INSERT)
					places->possible = false;
				continue;
			}
			places->found++;
			if (entry->tablesample != NULL || get_parse_rowmark(query, varno) != NULL)
				places->possible = false;
			else if (places->replace)
				put_fetch(query, varno);
		}
		return query_tree_walker(query, visit, context, 0);
	}
	return expression_tree_walker(node, visit, context);
}

bool
distribute_fetch(Query *query)
{
	Places		places = {true, false, 0};
	int			nestlevel;

	if (!calls_coordinator((Node *) query, NULL) && distribute_route_is_simple(query))
		return true;
	(void) visit((Node *) query, &places);
	if (places.found == 0)
		return true;
	if (!places.possible)
		return false;
	places.replace = true;
	nestlevel = NewGUCNestLevel();
	(void) set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SAVE, true, 0, false);
	(void) visit((Node *) query, &places);
	AtEOXact_GUC(true, nestlevel);
	return true;
}

/* --- the fetch itself --- */

/*
 * sales_internal.fetch(like anyelement, query text, VARIADIC "any") → setof the
 * first argument's type: the rows of the query, run by the current user.
 */
Datum
sales_fetch(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	char	   *sql = text_to_cstring(PG_GETARG_TEXT_PP(1));
	SpiArg		args[MAX_FETCH_PARAMS];
	int			nargs = PG_NARGS() - 2;

	if (nargs > MAX_FETCH_PARAMS)
		elog(ERROR, "too many parameters of a fetch");
	InitMaterializedSRF(fcinfo, MAT_SRF_USE_EXPECTED_DESC);
	for (int i = 0; i < nargs; i++)
		args[i] = (SpiArg) {get_fn_expr_argtype(fcinfo->flinfo, i + 2), PG_GETARG_DATUM(i + 2), PG_ARGISNULL(i + 2)};
	SPI_connect();
	spi_run(sql, true, 0, nargs, args);
	for (uint64 row = 0; row < SPI_processed; row++)
		tuplestore_puttuple(result->setResult, SPI_tuptable->vals[row]);
	SPI_finish();
	return (Datum) 0;
}
