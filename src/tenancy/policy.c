/*
 * policy.c
 *		What a tenant context allows: permissions, and what policies and functions
 *		in SQL ask of it.
 *
 * All of it reads the context's struct and no table, so that policies cost little
 * and work on shards.  The context itself is context.c's.
 */
#include "postgres.h"

#include "core/uuid.h"
#include "fmgr.h"
#include "tenancy/context.h"
#include "utils/builtins.h"

PG_FUNCTION_INFO_V1(sales_acting_company);
PG_FUNCTION_INFO_V1(sales_current_company_id);
PG_FUNCTION_INFO_V1(sales_current_user_id);
PG_FUNCTION_INFO_V1(sales_has_permission);
PG_FUNCTION_INFO_V1(sales_company_allowing);
PG_FUNCTION_INFO_V1(sales_require);
PG_FUNCTION_INFO_V1(sales_require_company);

static const struct
{
	const char *name;
	Permission	bit;
}			permission_names[] = {
	{"read", PERMISSION_READ},
	{"create", PERMISSION_CREATE},
	{"update", PERMISSION_UPDATE},
	{"delete", PERMISSION_DELETE},
	{"approve", PERMISSION_APPROVE},
	{"export", PERMISSION_EXPORT},
	{"manage", PERMISSION_MANAGE},
};

int
permission_by_name(const char *action)
{
	for (int i = 0; i < (int) lengthof(permission_names); i++)
		if (strcmp(permission_names[i].name, action) == 0)
			return permission_names[i].bit;
	return 0;
}

static const char *
permission_name(Permission bit)
{
	for (int i = 0; i < (int) lengthof(permission_names); i++)
		if (permission_names[i].bit == bit)
			return permission_names[i].name;
	return "?";
}

const pg_uuid_t *
context_company_or_fail(void)
{
	const TenantContext *context = context_current();

	if (context == NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("no tenant is set in this session"),
				 errhint("Call sales.use_session(token) with a token of sales.login() first.")));
	return &context->company_id;
}

static int
permissions_in(const TenantContext *context, const char *table)
{
	int			mask = context->any_mask;

	for (int i = 0; i < context->nentries; i++)
		if (strcmp(context->entries[i].table, table) == 0)
			mask |= context->entries[i].mask;
	if (!context->writable)
		mask &= PERMISSION_READ | PERMISSION_EXPORT;
	return mask;
}

int
context_permissions(const char *table)
{
	const TenantContext *context = context_current();

	return context == NULL ? 0 : permissions_in(context, table);
}

void
context_require(const char *table, Permission action)
{
	(void) context_company_or_fail();
	if ((context_permissions(table) & action) == 0)
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
				 errmsg("permission to %s in %s is missing", permission_name(action), table),
				 context_current()->writable ? 0 : errdetail("The company is suspended: it reads and exports, and writes nothing."),
				 errhint("The user's role must allow \"%s\" on \"%s\"; see sales.roles.permissions.",
						 permission_name(action), table)));
}

/* --- for SQL --- */

/* sales_internal.acting_company() → uuid: of the context, or of one left in this transaction. */
Datum
sales_acting_company(PG_FUNCTION_ARGS)
{
	const TenantContext *context = context_actor();

	if (context == NULL)
		PG_RETURN_NULL();
	PG_RETURN_UUID_P(uuid_copy(&context->company_id));
}

/* sales.current_company_id() → uuid: null without a context. */
Datum
sales_current_company_id(PG_FUNCTION_ARGS)
{
	const TenantContext *context = context_current();

	if (context == NULL)
		PG_RETURN_NULL();
	PG_RETURN_UUID_P(uuid_copy(&context->company_id));
}

/* sales.current_user_id() → uuid: null without a context or for the system. */
Datum
sales_current_user_id(PG_FUNCTION_ARGS)
{
	const TenantContext *context = context_current();

	if (context == NULL || !context->has_user)
		PG_RETURN_NULL();
	PG_RETURN_UUID_P(uuid_copy(&context->user_id));
}

/* sales.has_permission(table text, action text) → boolean */
Datum
sales_has_permission(PG_FUNCTION_ARGS)
{
	char	   *table = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *action = text_to_cstring(PG_GETARG_TEXT_PP(1));
	bool		allowed = (context_permissions(table) & permission_by_name(action)) != 0;

	pfree(table);
	pfree(action);
	PG_RETURN_BOOL(allowed);
}

/* sales.company_allowing(table text, action text) → uuid */
Datum
sales_company_allowing(PG_FUNCTION_ARGS)
{
	const TenantContext *context = context_current();
	char	   *table = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *action = text_to_cstring(PG_GETARG_TEXT_PP(1));
	bool		allowed = context != NULL &&
		(permissions_in(context, table) & permission_by_name(action)) != 0;

	pfree(table);
	pfree(action);
	if (!allowed)
		PG_RETURN_NULL();
	PG_RETURN_UUID_P(uuid_copy(&context->company_id));
}

/* sales_internal.require(table text, action text) */
Datum
sales_require(PG_FUNCTION_ARGS)
{
	char	   *table = text_to_cstring(PG_GETARG_TEXT_PP(0));
	int			action = permission_by_name(text_to_cstring(PG_GETARG_TEXT_PP(1)));

	if (action == 0)
		elog(ERROR, "unknown action");
	context_require(table, action);
	PG_RETURN_VOID();
}

/* sales_internal.require_company() → uuid */
Datum
sales_require_company(PG_FUNCTION_ARGS)
{
	PG_RETURN_UUID_P(uuid_copy(context_company_or_fail()));
}
