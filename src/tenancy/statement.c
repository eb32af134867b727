/*
 * statement.c
 *		Plain commands by which one company could get at the others.
 *
 * Companies of a platform share a login.  PostgreSQL lets a login change its own
 * settings and password, which would be everybody's; and it lets whoever may
 * UPDATE a table lock the whole of it, and waits for a table's lock before it
 * asks who may put a trigger, a rule or a foreign key on it, attach or detach it
 * as a partition, or tie an index to an extension, with all others queued behind.
 * DROP OWNED removes what all of the login have, their temporary tables too.  So
 * to a login that is a member of sales_app, and neither a superuser nor one that
 * may change roles, these are refused at once.
 *
 * Without preload the hook is there once the library is loaded, by the first
 * call of the session.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/namespace.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_class.h"
#include "miscadmin.h"
#include "storage/lockdefs.h"
#include "tcop/utility.h"
#include "tenancy/statement.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"

static ProcessUtility_hook_type next_utility = NULL;

/* May this login change roles? */
static bool
changes_roles(Oid login)
{
	HeapTuple	tuple = SearchSysCache1(AUTHOID, ObjectIdGetDatum(login));
	bool		may = HeapTupleIsValid(tuple) && ((Form_pg_authid) GETSTRUCT(tuple))->rolcreaterole;

	if (HeapTupleIsValid(tuple))
		ReleaseSysCache(tuple);
	return may;
}

/* Is this session one of the logins that companies share? */
static bool
is_tenants_login(void)
{
	Oid			login = GetSessionUserId();
	Oid			app = get_role_oid("sales_app", true);

	return OidIsValid(app) && !superuser_arg(login) && is_member_of_role_nosuper(login, app) &&
		!changes_roles(login);
}

/* The relation, if it is a table of the extension's, or a view, behind which one may stand; else null. */
static const RangeVar *
if_ours(const RangeVar *relation, bool views_too)
{
	Oid			relid = RangeVarGetRelid(relation, NoLock, true);
	Oid			schema;

	if (!OidIsValid(relid))
		return NULL;
	if (views_too && get_rel_relkind(relid) == RELKIND_VIEW)
		return relation;
	schema = get_rel_namespace(relid);
	return schema == get_namespace_oid("sales", true) || schema == get_namespace_oid("sales_internal", true)
		? relation : NULL;
}

static const RangeVar *
first_of_ours(const List *relations, bool views_too)
{
	ListCell   *cell;

	foreach(cell, relations)
	{
		const RangeVar *found = if_ours(lfirst_node(RangeVar, cell), views_too);

		if (found != NULL)
			return found;
	}
	return NULL;
}

/* A table or index of ours that one of these elements of a table's definition would lock; or null. */
static const RangeVar *
referenced(const List *elements)
{
	ListCell   *cell;

	foreach(cell, elements)
	{
		Node	   *element = lfirst(cell);
		const RangeVar *found = NULL;

		if (IsA(element, AlterTableCmd))
			element = ((AlterTableCmd *) element)->def;
		if (element == NULL)
			continue;
		if (IsA(element, ColumnDef))
			found = referenced(((ColumnDef *) element)->constraints);
		else if (IsA(element, Constraint) && ((Constraint *) element)->pktable != NULL)
			found = if_ours(((Constraint *) element)->pktable, false);
		else if (IsA(element, PartitionCmd))
			found = if_ours(((PartitionCmd *) element)->name, false);
		else if (IsA(element, RangeVar))
			found = if_ours((RangeVar *) element, false);	/* INHERIT */
		if (found != NULL)
			return found;
	}
	return NULL;
}

static void
refuse_change(const RangeVar *relation)
{
	if (relation != NULL)
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("permission denied for table %s", relation->relname),
						errdetail("All companies share it; it is changed by the extension alone.")));
}

static void
judge(const Node *statement)
{
	switch (nodeTag(statement))
	{
		case T_LockStmt:
			{
				const LockStmt *lock = (const LockStmt *) statement;
				const RangeVar *relation;

				if (lock->mode <= RowExclusiveLock)
					return;
				relation = first_of_ours(lock->relations, true);
				if (relation != NULL)
					ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
									errmsg("permission denied to lock %s", relation->relname),
									errdetail("The lock would keep all companies waiting."),
									errhint("Lock rows, by SELECT ... FOR UPDATE.")));
				return;
			}
		case T_AlterRoleStmt:
		case T_AlterRoleSetStmt:
			ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
							errmsg("permission denied to change a role"),
							errdetail("A member of sales_app is a login that companies share: a change would be for all of them."),
							errhint("The database's administrator changes it.")));
			return;
		case T_DropOwnedStmt:
		case T_ReassignOwnedStmt:
			ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
							errmsg("permission denied to drop or reassign what a role owns"),
							errdetail("A member of sales_app is a login that companies share: it would be for all of them."),
							errhint("Drop objects by name.")));
			return;
		case T_AlterObjectDependsStmt:
			if (((const AlterObjectDependsStmt *) statement)->relation != NULL)
				refuse_change(if_ours(((const AlterObjectDependsStmt *) statement)->relation, false));
			return;
		case T_CreateTrigStmt:
			refuse_change(if_ours(((const CreateTrigStmt *) statement)->relation, false));
			return;
		case T_RuleStmt:
			refuse_change(if_ours(((const RuleStmt *) statement)->relation, false));
			return;
		case T_CreateStmt:
			refuse_change(referenced(((const CreateStmt *) statement)->tableElts));
			refuse_change(first_of_ours(((const CreateStmt *) statement)->inhRelations, false));
			return;
		case T_AlterTableStmt:
			refuse_change(referenced(((const AlterTableStmt *) statement)->cmds));
			return;
		default:
			return;
	}
}

static void
statement_utility(PlannedStmt *stmt, const char *text, bool read_only_tree,
				  ProcessUtilityContext context, ParamListInfo params, QueryEnvironment *env,
				  DestReceiver *dest, QueryCompletion *completion)
{
	switch (nodeTag(stmt->utilityStmt))
	{
		case T_LockStmt:
		case T_AlterRoleStmt:
		case T_AlterRoleSetStmt:
		case T_DropOwnedStmt:
		case T_ReassignOwnedStmt:
		case T_AlterObjectDependsStmt:
		case T_CreateTrigStmt:
		case T_RuleStmt:
		case T_CreateStmt:
		case T_AlterTableStmt:
			/* what the extension itself does runs as its owner, a superuser */
			if (IsTransactionState() && !superuser() && is_tenants_login())
				judge(stmt->utilityStmt);
			break;
		default:
			break;
	}
	if (next_utility)
		next_utility(stmt, text, read_only_tree, context, params, env, dest, completion);
	else
		standard_ProcessUtility(stmt, text, read_only_tree, context, params, env, dest,
								completion);
}

void
statement_init(void)
{
	next_utility = ProcessUtility_hook;
	ProcessUtility_hook = statement_utility;
}
