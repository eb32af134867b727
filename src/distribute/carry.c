/*
 * carry.c
 *		Who acts, in which tenant context, on the way to the nodes of a cluster.
 *
 * Policies and triggers of a spread table run on the node that has the rows, in
 * a session that Citus opened.  What Citus takes there is SET LOCAL, as a
 * statement, in a transaction; so before a query on spread tables runs,
 * sales_assistant.carried is set by one: the same context, signed for the role
 * that acts.  A node accepts it as it does a context of its own: by its
 * signature, with the key that all nodes share (tenancy/context.c).
 *
 * It is done in a DO block, and with a call into Citus, because outside of a
 * transaction block Citus would neither keep the SET LOCAL nor begin a
 * transaction on the node for it: a statement alone is a transaction too.
 *
 * Citus opens a session on a node for each role that acts, and one cannot see
 * what the other has not committed; yet a tenant and the definer functions that
 * it calls work in one transaction.  So all go as the owner of the tables, and
 * the node acts as the role that the signed context names, so that privileges
 * and policies hold there (run_as_owner below).  The user is changed only
 * while Citus's own code runs, for plans in which it has nothing of the
 * tenant's to evaluate here; queries that run inside it are given the user back.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "audit/audit.h"
#include "audit/write.h"
#include "compat.h"
#include "catalog/pg_type.h"
#include "core/clock.h"
#include "core/spi.h"
#include "distribute/carry.h"
#include "distribute/shards.h"
#include "executor/executor.h"
#include "fmgr.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "nodes/extensible.h"
#include "storage/proc.h"
#include "tenancy/context.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"

static LocalTransactionId carried_lxid = InvalidLocalTransactionId;
static SubTransactionId carried_subid = InvalidSubTransactionId;
static uint64 carried_generation = 0;
static Oid	carried_role = InvalidOid;
static int	carried_allowed = 0;
static TimestampTz carried_now = 0;
static char carried_basis[64] = "";
static bool carrying = false;

static void
forget_at_sub_end(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event == SUBXACT_EVENT_ABORT_SUB && carried_subid >= mine)
		carried_lxid = InvalidLocalTransactionId;
	else if (event == SUBXACT_EVENT_COMMIT_SUB && carried_subid == mine)
		carried_subid = parent;
}

/* Has Citus begin a transaction on each node that this one goes to. */
static void
use_transaction_on_nodes(void)
{
	static void (*use_coordinated) (void) = NULL;

	if (use_coordinated == NULL)
		use_coordinated = (void (*) (void))
			load_external_function("$libdir/citus", "UseCoordinatedTransaction", true, NULL);
	use_coordinated();
}

/* A session that Citus opened here was given its context by who opened it. */
static bool
is_sent_by_citus(void)
{
	return application_name != NULL && strncmp(application_name, "citus_internal", 14) == 0;
}

void
distribute_carry(void)
{
	bool		known = carried_lxid == COMPAT_MY_LXID;
	bool		any = context_peek() != NULL;
	int			allowed = CARRY_CONTEXT;
	const char *basis = GetConfigOption("sales_assistant.gdpr_basis", true, false);
	char	   *value;

	if (carrying || IsInParallelMode() || is_sent_by_citus())
		return;
	/* once in a transaction for rows: each way would be a message to each node */
	if (audit_write_is_open() || (known && (carried_allowed & CARRY_AUDIT_INSERT) != 0))
		allowed |= CARRY_AUDIT_INSERT;
	if (audit_door_is_open())
		allowed |= CARRY_AUDIT_CHANGE;
	if (known ? carried_generation == context_generation() && carried_role == GetUserId() && carried_allowed == allowed &&
		carried_now == clock_now() && strcmp(carried_basis, basis) == 0
		: !any && allowed == CARRY_CONTEXT && superuser() && !clock_is_fixed())
		return;

	value = context_to_carry(GetUserNameFromId(GetUserId(), false), allowed);
	carrying = true;
	PG_TRY();
	{
		context_accept_carried(true);
		SPI_connect();
		spi_run(psprintf("DO $carry$ BEGIN "
						 "SET LOCAL citus.propagate_set_commands = 'local'; "
						 "SET LOCAL sales_assistant.gdpr_basis = %s; "
						 "SET LOCAL sales_assistant.carried = %s; END $carry$",
						 quote_literal_cstr(basis), quote_literal_cstr(value)),
				false, 0, 0, NULL);
		SPI_finish();
		use_transaction_on_nodes();
	}
	PG_FINALLY();
	{
		context_accept_carried(false);
		carrying = false;
	}
	PG_END_TRY();
	carried_lxid = COMPAT_MY_LXID;
	carried_subid = GetCurrentSubTransactionId();
	carried_generation = context_generation();
	carried_role = GetUserId();
	carried_allowed = allowed;
	carried_now = clock_now();
	strlcpy(carried_basis, basis, sizeof(carried_basis));
}

/* --- one session on a node for all roles --- */

/* The user from whom the running query was taken over; invalid: none. */
static Oid	true_user = InvalidOid;
static int	true_sec_context = 0;

static ExecutorStart_hook_type next_executor_start = NULL;
static ExecutorRun_hook_type next_executor_run = NULL;

static CustomScan *
citus_scan(Plan *plan)
{
	for (; plan != NULL; plan = plan->lefttree)
		if (IsA(plan, CustomScan) &&
			strncmp(((CustomScan *) plan)->methods->CustomName, "Citus ", 6) == 0)
			return (CustomScan *) plan;
	return NULL;
}

/* Only what is received as it was sent: a domain or a row may have checks of its owner's. */
static bool
is_plain_type(Oid type)
{
	Oid			element = get_element_type(type);
	char		kind = get_typtype(OidIsValid(element) ? element : type);

	return kind == TYPTYPE_BASE || kind == TYPTYPE_ENUM || kind == TYPTYPE_RANGE;
}

/* Is the whole plan one of Citus that evaluates nothing here? */
static bool
can_run_as_owner(PlannedStmt *stmt)
{
	Plan	   *plan = stmt->planTree;
	ListCell   *cell;

	if (!IsA(plan, CustomScan) ||
		strcmp(((CustomScan *) plan)->methods->CustomName, "Citus Adaptive") != 0 || plan->qual != NIL)
		return false;
	foreach(cell, plan->targetlist)
	{
		TargetEntry *entry = lfirst(cell);

		if (!IsA(entry->expr, Var) || !is_plain_type(((Var *) entry->expr)->vartype))
			return false;
	}
	return superuser_arg(spi_owner());
}

static void
carry_executor_start(QueryDesc *query, int flags)
{
	if ((flags & EXEC_FLAG_EXPLAIN_ONLY) == 0 && citus_scan(query->plannedstmt->planTree) != NULL &&
		IsTransactionState() && distribute_any())
		distribute_carry();
	if (next_executor_start)
		next_executor_start(query, flags);
	else
		standard_ExecutorStart(query, flags);
}

static void
run(QueryDesc *query, ScanDirection direction, uint64 count, bool once)
{
	if (next_executor_run)
		next_executor_run(query, direction, count, once);
	else
		standard_ExecutorRun(query, direction, count, once);
}

static void
carry_executor_run(QueryDesc *query, ScanDirection direction, uint64 count, bool once)
{
	Oid			outer_user;
	int			outer_sec_context;
	Oid			outer_true_user = true_user;
	int			outer_true_sec_context = true_sec_context;
	bool		as_owner;

	if (!OidIsValid(true_user) && citus_scan(query->plannedstmt->planTree) == NULL)
	{
		run(query, direction, count, once);
		return;
	}
	GetUserIdAndSecContext(&outer_user, &outer_sec_context);
	if (OidIsValid(true_user))
		SetUserIdAndSecContext(true_user, true_sec_context);
	/* another may have acted since the query began: functions in a cursor's loop */
	if (citus_scan(query->plannedstmt->planTree) != NULL && distribute_any())
		distribute_carry();
	as_owner = !superuser() && !is_sent_by_citus() && carried_lxid == COMPAT_MY_LXID &&
		carried_role == GetUserId() && can_run_as_owner(query->plannedstmt);
	GetUserIdAndSecContext(&true_user, &true_sec_context);
	PG_TRY();
	{
		if (as_owner)
			SetUserIdAndSecContext(spi_owner(), true_sec_context | SECURITY_LOCAL_USERID_CHANGE);
		else
			true_user = InvalidOid;
		run(query, direction, count, once);
	}
	PG_FINALLY();
	{
		true_user = outer_true_user;
		true_sec_context = outer_true_sec_context;
		SetUserIdAndSecContext(outer_user, outer_sec_context);
	}
	PG_END_TRY();
}

void
distribute_carry_init(void)
{
	if (!distribute_possible())
		return;
	RegisterSubXactCallback(forget_at_sub_end, NULL);
	next_executor_start = ExecutorStart_hook;
	ExecutorStart_hook = carry_executor_start;
	next_executor_run = ExecutorRun_hook;
	ExecutorRun_hook = carry_executor_run;
}
