/*
 * context_make.c
 *		Making a tenant context: what the tables say of a company and its user,
 *		signed for a login.  How it is judged and used: context.c.
 */
#include "postgres.h"

#include "commands/dbcommands.h"
#include "core/json.h"
#include "core/spi.h"
#include "core/uuid.h"
#include "miscadmin.h"
#include "tenancy/context.h"
#include "tenancy/context_sign.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

/*
 * {"prospects": ["read", "create"], "*": ["read"]} → {"prospects": 3, "*": 1}.
 * A new reference.
 */
static json_t *
permission_masks(const char *permissions)
{
	json_t	   *in = json_loads(permissions ? permissions : "{}", 0, NULL);
	json_t	   *out = json_new_object();
	const char *table;
	json_t	   *actions;

	json_object_foreach(in, table, actions)
	{
		int			mask = 0;
		size_t		i;
		json_t	   *action;

		json_array_foreach(actions, i, action)
			if (json_is_string(action))
			mask |= permission_by_name(json_string_value(action));
		json_object_set_new(out, table, json_integer(mask));
	}
	json_decref(in);
	return out;
}

char *
context_make(const ContextRequest *request)
{
	SpiArg		args[2] = {SPI_ARG_UUID(request->company_id), SPI_ARG_UUID(request->user_id)};
	const pg_uuid_t *user_id = request->user_id;
	json_t	   *payload;
	json_t	   *expiry;
	const char *permissions;
	MemoryContext caller = CurrentMemoryContext;
	char	   *value;

	SPI_connect();
	if (spi_run_as_owner("SELECT c.subscription_status::text, u.is_active::text, "
						 "       r.permissions::text "
						 "FROM sales.companies c "
						 "LEFT JOIN sales.users u ON u.company_id = c.company_id "
						 "  AND u.user_id = coalesce($2, '00000000-0000-0000-0000-000000000000') "
						 "LEFT JOIN sales.roles r ON r.company_id = u.company_id "
						 "  AND r.role_id = u.role_id "
						 "WHERE c.company_id = $1",
						 true, 1, 2, args) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("there is no company %s", uuid_text(request->company_id))));
	if (user_id != NULL && (spi_text(0, 2) == NULL || strcmp(spi_text(0, 2), "true") != 0))
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
				 errmsg("user %s is not an active user of this company",
						uuid_text(user_id))));

	permissions = user_id != NULL
		? spi_text(0, 3)
		: "{\"*\": [\"read\", \"create\", \"update\", \"delete\", \"approve\", "
		"\"export\", \"manage\"]}";
	expiry = request->expires_at == DT_NOEND
		? json_null()
		: json_integer(timestamptz_to_time_t(request->expires_at));
	payload = json_pack("{s:s, s:s?, s:s?, s:s, s:s, s:s, s:o, s:I, s:s?, s:s?, s:o}",
						"c", uuid_text(request->company_id),
						"u", user_id ? uuid_text(user_id) : NULL,
						"t", request->session_id ? uuid_text(request->session_id) : NULL,
						"s", spi_text(0, 1),
						"r", request->role ? request->role : context_login_role(),
						"d", get_database_name(MyDatabaseId),
						"e", expiry,
						"n", (json_int_t) GetCurrentTimestamp(),
						"i", request->ip,
						"a", request->user_agent,
						"p", permission_masks(permissions));
	if (payload == NULL)
		elog(ERROR, "could not build the tenant context");
	value = context_sign(CONTEXT_OWN, payload);
	json_decref(payload);
	value = MemoryContextStrdup(caller, value);
	SPI_finish();
	return value;
}

void
context_enter(const ContextRequest *request, bool is_local)
{
	(void) set_config_option("sales_assistant.context", context_make(request), PGC_USERSET,
							 PGC_S_SESSION,
							 is_local ? GUC_ACTION_LOCAL : GUC_ACTION_SET, true, 0,
							 false);
}
