/*
 * policy.c
 *		What functions in SQL demand of the tenant context.
 */
#include "postgres.h"

#include "fmgr.h"
#include "tenancy/context.h"
#include "utils/builtins.h"
#include "utils/uuid.h"

PG_FUNCTION_INFO_V1(sales_require);
PG_FUNCTION_INFO_V1(sales_require_company);

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
	pg_uuid_t  *result = palloc(sizeof(pg_uuid_t));

	*result = *context_company_or_fail();
	PG_RETURN_UUID_P(result);
}
