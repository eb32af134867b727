/*
 * insert_select.c
 *		INSERT INTO a spread table SELECT ...
 *
 * Citus copies the rows of such a query to the nodes with COPY, which PostgreSQL
 * refuses where row security holds, so a tenant could not do it; and it takes
 * not every query.  Here the query runs first, by itself, as any SELECT of the
 * same user, and its rows are kept; then they are inserted as lists of VALUES,
 * which Citus takes to their nodes, with policies, triggers, ON CONFLICT and
 * RETURNING as they are.
 *
 * The plan is one node, which has both as queries and has them planned when it
 * runs.  What the table's defaults give is computed with the query, once a row.
 *
 * Limits: rows that meet each other under ON CONFLICT DO UPDATE are told only
 * within a list.  In a WITH it is refused: Citus would lose the rows of another
 * part of the WITH on their way, with no more than a warning.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "distribute/insert_select.h"
#include "distribute/shards.h"
#include "executor/executor.h"
#include "executor/tstoreReceiver.h"
#include "miscadmin.h"
#include "nodes/extensible.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/optimizer.h"
#include "optimizer/planner.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "rewrite/rewriteManip.h"
#include "tcop/tcopprot.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/snapmgr.h"
#include "utils/tuplestore.h"

#define LIST_ROWS 500			/* most rows in a list of VALUES */
#define LIST_BYTES (1024 * 1024)	/* that hold about so much */

typedef struct InsertScan
{
	CustomScanState scan;
	Query	   *source;			/* gives rows as they are stored */
	Query	   *insert;			/* has them in an empty list of VALUES */
	Index		values;			/* which entry of its range table that is */
	Tuplestorestate *answers;	/* of RETURNING; null: not run yet */
	TupleTableSlot *answer;
} InsertScan;

/* --- planning --- */

static Index
source_of(Query *query)
{
	Index		varno = 0;
	ListCell   *cell;

	foreach(cell, query->rtable)
	{
		varno++;
		if (((RangeTblEntry *) lfirst(cell))->rtekind == RTE_SUBQUERY)
			return varno;
	}
	return 0;
}

bool
distribute_inserts_query(Query *query)
{
	return query->commandType == CMD_INSERT && source_of(query) != 0 &&
		distribute_kind(rt_fetch(query->resultRelation, query->rtable)->relid) == SHARD_SPREAD;
}

void
distribute_refuse_inserts_in_with(Query *query)
{
	ListCell   *cell;

	foreach(cell, query->hasModifyingCTE ? query->cteList : NIL)
	{
		Query	   *part = (Query *) ((CommonTableExpr *) lfirst(cell))->ctequery;

		if (distribute_inserts_query(part))
			ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
							errmsg("a WITH cannot insert a query's rows into \"%s\", which is spread over nodes",
								   get_rel_name(rt_fetch(part->resultRelation, part->rtable)->relid)),
							errhint("Make the INSERT ... SELECT a statement of its own.")));
	}
}

/* SELECT of what the INSERT stores, from its query. */
static Query *
make_source(Query *insert, Index values)
{
	Query	   *source = makeNode(Query);
	RangeTblRef *from = makeNode(RangeTblRef);
	ListCell   *cell;
	int			n = 0;

	from->rtindex = 1;
	source->commandType = CMD_SELECT;
	source->canSetTag = true;
	source->rtable = list_make1(copyObject(rt_fetch(values, insert->rtable)));
	((RangeTblEntry *) linitial(source->rtable))->inFromCl = true;	/* else it is not deparsed */
	source->jointree = makeFromExpr(list_make1(from), NULL);
	source->cteList = copyObject(insert->cteList);
	source->hasRecursive = insert->hasRecursive;
	source->hasModifyingCTE = insert->hasModifyingCTE;
	source->hasRowSecurity = insert->hasRowSecurity;
	foreach(cell, insert->targetList)
	{
		TargetEntry *entry = lfirst(cell);
		Node	   *value = copyObject((Node *) entry->expr);

		n++;
		ChangeVarNodes(value, values, 1, 0);
		source->targetList = lappend(source->targetList,
									 makeTargetEntry((Expr *) value, n, psprintf("value%d", n), false));
	}
	return source;
}

/* The same INSERT with an empty list of VALUES in the place of its query. */
static Query *
make_insert(Query *query, Index values)
{
	Query	   *insert = copyObject(query);
	RangeTblEntry *entry = makeNode(RangeTblEntry);
	ListCell   *cell;
	int			n = 0;

	entry->rtekind = RTE_VALUES;
	entry->eref = makeAlias("*VALUES*", NIL);
	entry->inFromCl = true;
	foreach(cell, insert->targetList)
	{
		TargetEntry *target = lfirst(cell);
		Oid			type = exprType((Node *) target->expr);
		int32		typmod = exprTypmod((Node *) target->expr);
		Oid			collation = exprCollation((Node *) target->expr);

		n++;
		entry->coltypes = lappend_oid(entry->coltypes, type);
		entry->coltypmods = lappend_int(entry->coltypmods, typmod);
		entry->colcollations = lappend_oid(entry->colcollations, collation);
		entry->eref->colnames = lappend(entry->eref->colnames, makeString(psprintf("column%d", n)));
		target->expr = (Expr *) makeVar(values, n, type, typmod, collation, 0);
	}
	list_nth_cell(insert->rtable, values - 1)->ptr_value = entry;
	insert->cteList = NIL;
	insert->hasRecursive = false;
	insert->hasModifyingCTE = false;
	return insert;
}

static Node *create_state(CustomScan *scan);

static const CustomScanMethods plan_methods = {
	.CustomName = "Sales Insert",
	.CreateCustomScanState = create_state,
};

PlannedStmt *
distribute_plan_insert(Query *query)
{
	Index		values = source_of(query);
	PlannedStmt *stmt = makeNode(PlannedStmt);
	CustomScan *scan = makeNode(CustomScan);
	bool		has_row_security = false;
	ListCell   *cell;
	int			n = 0;

	scan->methods = &plan_methods;
	scan->custom_private = list_make3(make_source(query, values), make_insert(query, values),
									  makeInteger(values));
	foreach(cell, query->returningList)
	{
		TargetEntry *entry = lfirst(cell);
		Node	   *value = (Node *) entry->expr;
		Var		   *var = makeVar(INDEX_VAR, ++n, exprType(value), exprTypmod(value), exprCollation(value), 0);

		/* what the scan gives is of this type; there is no expression of it that EXPLAIN could show */
		scan->custom_scan_tlist = lappend(scan->custom_scan_tlist,
										  makeTargetEntry((Expr *) makeNullConst(var->vartype, var->vartypmod, var->varcollid),
														  n, entry->resname, false));
		scan->scan.plan.targetlist = lappend(scan->scan.plan.targetlist,
											 makeTargetEntry((Expr *) var, n, entry->resname, false));
	}
	stmt->commandType = CMD_INSERT;
	stmt->hasReturning = query->returningList != NIL;
	stmt->canSetTag = query->canSetTag;
	stmt->planTree = (Plan *) scan;
	stmt->stmt_location = query->stmt_location;
	stmt->stmt_len = query->stmt_len;
	extract_query_dependencies((Node *) query, &stmt->relationOids, &stmt->invalItems, &has_row_security);
	stmt->dependsOnRole = has_row_security;
	return stmt;
}

/* --- running --- */

/* Runs a query now; how many rows it processed. */
static uint64
run_query(InsertScan *state, Query *query, ParamListInfo params, DestReceiver *receiver)
{
	EState	   *outer = state->scan.ss.ps.state;
	PlannedStmt *plan;
	QueryDesc  *desc;
	uint64		processed;

	AcquireRewriteLocks(query, true, false);
	plan = pg_plan_query(query, outer->es_sourceText, CURSOR_OPT_PARALLEL_OK, params);
	PushCopiedSnapshot(GetActiveSnapshot());
	UpdateActiveSnapshotCommandId();
	desc = CreateQueryDesc(plan, outer->es_sourceText, GetActiveSnapshot(), InvalidSnapshot, receiver,
						   params, outer->es_queryEnv, 0);
	ExecutorStart(desc, 0);
	ExecutorRun(desc, ForwardScanDirection, 0, true);
	ExecutorFinish(desc);
	processed = desc->estate->es_processed;
	ExecutorEnd(desc);
	FreeQueryDesc(desc);
	PopActiveSnapshot();
	return processed;
}

/* A row as constants; adds to *bytes about what it holds. */
static List *
row_of(TupleTableSlot *slot, RangeTblEntry *values, Size *bytes)
{
	List	   *row = NIL;

	slot_getallattrs(slot);
	for (int i = 0; i < slot->tts_tupleDescriptor->natts; i++)
	{
		Oid			type = list_nth_oid(values->coltypes, i);
		int16		len;
		bool		byval;
		bool		isnull = slot->tts_isnull[i];
		Datum		value = (Datum) 0;

		get_typlenbyval(type, &len, &byval);
		if (!isnull)
		{
			value = datumCopy(slot->tts_values[i], byval, len);
			*bytes += byval ? sizeof(Datum) : datumGetSize(value, byval, len);
		}
		row = lappend(row, makeConst(type, list_nth_int(values->coltypmods, i),
									 list_nth_oid(values->colcollations, i), len, value, isnull, byval));
	}
	return row;
}

/* Puts the one row in the place of references to it: a list of one is planned as one of many. */
static Node *
put_row(Node *node, void *context)
{
	InsertScan *state = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Var) && ((Var *) node)->varno == state->values)
	{
		RangeTblEntry *values = rt_fetch(state->values, state->insert->rtable);

		return copyObject(list_nth(linitial(values->values_lists), ((Var *) node)->varattno - 1));
	}
	return expression_tree_mutator(node, put_row, context);
}

/* INSERT of one row as the parser makes it: without a list of VALUES, and so without its entry. */
static void
make_single(InsertScan *state, Query *insert)
{
	insert->targetList = (List *) put_row((Node *) insert->targetList, state);
	insert->jointree->fromlist = NIL;
	insert->rtable = list_delete_nth_cell(insert->rtable, state->values - 1);
	/* what ON CONFLICT calls EXCLUDED is the entry behind it */
	if (insert->onConflict != NULL && insert->onConflict->exclRelIndex > (int) state->values)
		ChangeVarNodes((Node *) insert, insert->onConflict->exclRelIndex, insert->onConflict->exclRelIndex - 1, 0);
}

/* The statement's parameters as constants: Citus fails on one that is there and not used. */
static Node *
put_params(Node *node, void *context)
{
	ParamListInfo params = context;

	if (node == NULL)
		return NULL;
	if (IsA(node, Param) && ((Param *) node)->paramkind == PARAM_EXTERN)
	{
		Param	   *param = (Param *) node;
		ParamExternData space;
		ParamExternData *value;
		int16		len;
		bool		byval;

		if (params == NULL || param->paramid <= 0 || param->paramid > params->numParams)
			elog(ERROR, "no value for parameter %d", param->paramid);
		value = params->paramFetch != NULL ? params->paramFetch(params, param->paramid, false, &space)
			: &params->params[param->paramid - 1];
		if (value->ptype != param->paramtype)
			elog(ERROR, "parameter %d is not of the type that was planned", param->paramid);
		get_typlenbyval(param->paramtype, &len, &byval);
		return (Node *) makeConst(param->paramtype, param->paramtypmod, param->paramcollid, len,
								  value->isnull ? (Datum) 0 : datumCopy(value->value, byval, len),
								  value->isnull, byval);
	}
	if (IsA(node, Query))
		return (Node *) query_tree_mutator((Query *) node, put_params, context, 0);
	return expression_tree_mutator(node, put_params, context);
}

static void
insert_rows(InsertScan *state, List *rows, DestReceiver *receiver)
{
	RangeTblEntry *values = rt_fetch(state->values, state->insert->rtable);
	Query	   *insert;

	values->values_lists = rows;
	insert = (Query *) put_params((Node *) state->insert, state->scan.ss.ps.state->es_param_list_info);
	if (list_length(rows) == 1)
		make_single(state, insert);
	values->values_lists = NIL;
	state->scan.ss.ps.state->es_processed += run_query(state, insert, NULL, receiver);
}

static DestReceiver *
store_receiver(Tuplestorestate *store)
{
	DestReceiver *receiver = CreateDestReceiver(DestTuplestore);

	SetTuplestoreDestReceiverParams(receiver, store, CurrentMemoryContext, false, NULL, NULL);
	return receiver;
}

static void
run_all(InsertScan *state)
{
	bool		has_answers = state->insert->returningList != NIL;
	RangeTblEntry *values = rt_fetch(state->values, state->insert->rtable);
	Tuplestorestate *rows = tuplestore_begin_heap(false, false, work_mem);
	TupleTableSlot *slot;
	DestReceiver *receiver;
	MemoryContext batch = AllocSetContextCreate(CurrentMemoryContext, "rows of an INSERT", ALLOCSET_DEFAULT_SIZES);
	MemoryContext old = CurrentMemoryContext;
	List	   *list = NIL;
	Size		bytes = 0;

	state->answers = tuplestore_begin_heap(false, false, work_mem);
	(void) run_query(state, copyObject(state->source), state->scan.ss.ps.state->es_param_list_info,
					 store_receiver(rows));
	receiver = has_answers ? store_receiver(state->answers) : CreateDestReceiver(DestNone);
	slot = MakeSingleTupleTableSlot(ExecTypeFromTL(state->source->targetList), &TTSOpsMinimalTuple);
	for (;;)
	{
		bool		more = tuplestore_gettupleslot(rows, true, false, slot);

		CHECK_FOR_INTERRUPTS();
		MemoryContextSwitchTo(batch);
		if (more)
			list = lappend(list, row_of(slot, values, &bytes));
		if (list != NIL && (!more || list_length(list) == LIST_ROWS || bytes >= LIST_BYTES))
		{
			insert_rows(state, list, receiver);
			list = NIL;
			bytes = 0;
			MemoryContextReset(batch);
		}
		MemoryContextSwitchTo(old);
		if (!more)
			break;
	}
	ExecDropSingleTupleTableSlot(slot);
	tuplestore_end(rows);
	MemoryContextDelete(batch);
}

static void
begin_scan(CustomScanState *node, EState *estate, int flags)
{
	InsertScan *state = (InsertScan *) node;

	if (state->insert->returningList != NIL)
		state->answer = ExecInitExtraTupleSlot(estate, node->ss.ss_ScanTupleSlot->tts_tupleDescriptor, &TTSOpsMinimalTuple);
}

static TupleTableSlot *
next_answer(ScanState *node)
{
	InsertScan *state = (InsertScan *) node;

	if (state->answer == NULL || !tuplestore_gettupleslot(state->answers, true, false, state->answer))
		return ExecClearTuple(node->ss_ScanTupleSlot);
	return ExecCopySlot(node->ss_ScanTupleSlot, state->answer);
}

static bool
recheck(ScanState *node, TupleTableSlot *slot)
{
	return true;
}

static TupleTableSlot *
exec_scan(CustomScanState *node)
{
	InsertScan *state = (InsertScan *) node;

	if (state->answers == NULL)
	{
		MemoryContext old = MemoryContextSwitchTo(node->ss.ps.state->es_query_cxt);

		run_all(state);
		MemoryContextSwitchTo(old);
	}
	return ExecScan(&node->ss, next_answer, recheck);
}

static void
end_scan(CustomScanState *node)
{
	InsertScan *state = (InsertScan *) node;

	if (state->answers != NULL)
		tuplestore_end(state->answers);
	state->answers = NULL;
}

static void
rescan(CustomScanState *node)
{
	elog(ERROR, "an INSERT is not run again");
}

static const CustomExecMethods exec_methods = {
	.CustomName = "Sales Insert",
	.BeginCustomScan = begin_scan,
	.ExecCustomScan = exec_scan,
	.EndCustomScan = end_scan,
	.ReScanCustomScan = rescan,
};

static Node *
create_state(CustomScan *scan)
{
	InsertScan *state = palloc0(sizeof(InsertScan));

	NodeSetTag(state, T_CustomScanState);
	state->scan.methods = &exec_methods;
	state->source = linitial(scan->custom_private);
	state->insert = copyObject(lsecond(scan->custom_private));
	state->values = intVal(lthird(scan->custom_private));
	return (Node *) state;
}

void
distribute_insert_select_init(void)
{
	RegisterCustomScanMethods(&plan_methods);
}
