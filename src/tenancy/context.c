/*
 * context.c
 *		The tenant context: a setting that SQL can carry and cannot forge.
 *
 * sales_assistant.context holds "v1.PAYLOAD.MAC", both parts base64url.  The
 * payload is JSON: company, user, permissions, company status, login role,
 * database, expiry.  The MAC is HMAC-SHA256 under a key derived from the
 * master key.  The check hook accepts the empty value or a validly signed,
 * unexpired one for this role and database, and reads no table: so the context
 * follows transactions, savepoints, DISCARD ALL and parallel workers as any
 * setting does.  The assign hook keeps the parsed form, so that policies, which
 * call current_company_id() and has_permission(), read a static struct.
 */
#include "postgres.h"

#include <openssl/evp.h>
#include <openssl/hmac.h>

#include "access/parallel.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "compat.h"
#include "core/base64url.h"
#include "core/clock.h"
#include "core/json.h"
#include "core/spi.h"
#include "core/uuid.h"
#include "distribute/planner.h"
#include "distribute/shards.h"
#include "fmgr.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "secrets/key.h"
#include "storage/proc.h"
#include "tenancy/context.h"
#include "tenancy/context_sign.h"
#include "tenancy/revocation.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

#define CONTEXT_VERSION "v1"
#define CONTEXT_PURPOSE "tenant context v1"
#define MAC_SIZE 32

static char *guc_context = NULL;
static const TenantContext *current = NULL;

/* On a node of a cluster: the context of the session that sent it work. */
static char *guc_carried = NULL;
static const TenantContext *carried = NULL;
static bool accepting_carried = false;
static bool lowered = false;	/* to the role of the carried context */
static uint64 generation = 1;

/* What revocation_count() was when `current` was last judged, and the verdict. */
static uint64 judged_count = 0;
static bool judged_revoked = false;

/* True while context_bind() stores another role's context. */
static bool binding = false;

/* The company that this transaction has acted for, so that it keeps to it. */
static LocalTransactionId seen_lxid = InvalidLocalTransactionId;
static pg_uuid_t seen_company;

/*
 * Who has acted in this transaction and then left, without its permissions.  SQL
 * may drop its context at any point, in the midst of a statement too: between the
 * policies that let a row through and the triggers that ask who changes it.
 */
static LocalTransactionId left_lxid = InvalidLocalTransactionId;
static TenantContext left;

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

/* The MAC under the n-th key of the key file; null, or why there is none. */
static const char *
context_mac(int n, const char *payload, int len, unsigned char mac[MAC_SIZE])
{
	unsigned char key[KEY_SIZE];
	unsigned int maclen = MAC_SIZE;
	const char *message = key_derive_nth(n, CONTEXT_PURPOSE, key);

	if (message != NULL)
		return message;
	if (HMAC(EVP_sha256(), key, KEY_SIZE, (const unsigned char *) payload, len, mac,
			 &maclen) == NULL)
		message = "could not compute a signature";
	OPENSSL_cleanse(key, KEY_SIZE);
	return message;
}

/* --- reading a context --- */

static bool
context_fill(TenantContext *context, json_t *payload)
{
	const char *company = json_string_value(json_object_get(payload, "c"));
	const char *user = json_string_value(json_object_get(payload, "u"));
	const char *session = json_string_value(json_object_get(payload, "t"));
	const char *status = json_string_value(json_object_get(payload, "s"));
	const char *ip = json_string_value(json_object_get(payload, "i"));
	const char *agent = json_string_value(json_object_get(payload, "a"));
	json_t	   *expiry = json_object_get(payload, "e");
	json_t	   *signed_at = json_object_get(payload, "n");
	const char *table;
	json_t	   *mask;

	context->carried = json_integer_value(json_object_get(payload, "w"));
	/* a session without a tenant carries merely what it may do */
	if (company == NULL && status == NULL && json_is_integer(expiry) && json_object_get(payload, "w") != NULL)
	{
		context->expires_at = time_t_to_timestamptz((pg_time_t) json_integer_value(expiry));
		context->is_bound = true;
		return true;
	}
	if (company == NULL || !uuid_parse(company, &context->company_id) || status == NULL ||
		!json_is_integer(signed_at))
		return false;
	context->signed_at = json_integer_value(signed_at);
	if (user != NULL && !uuid_parse(user, &context->user_id))
		return false;
	context->has_user = (user != NULL);
	if (session != NULL && !uuid_parse(session, &context->session_id))
		return false;
	context->has_session = (session != NULL);
	context->is_bound = json_is_true(json_object_get(payload, "b"));
	context->writable = (strcmp(status, "active") == 0);
	context->readable = context->writable || strcmp(status, "suspended") == 0;
	context->expires_at = json_is_integer(expiry)
		? time_t_to_timestamptz((pg_time_t) json_integer_value(expiry))
		: DT_NOEND;
	strlcpy(context->ip, ip ? ip : "", sizeof(context->ip));
	strlcpy(context->user_agent, agent ? agent : "", sizeof(context->user_agent));
	json_object_foreach(json_object_get(payload, "p"), table, mask)
	{
		if (strcmp(table, "*") == 0)
			context->any_mask = json_integer_value(mask);
		else
		{
			PermissionEntry *entry = &context->entries[context->nentries++];

			strlcpy(entry->table, table, NAMEDATALEN);
			entry->mask = json_integer_value(mask);
		}
	}
	return true;
}

const char *
context_login_role(void)
{
	if (IsTransactionState())
		return GetUserNameFromId(GetSessionUserId(), true);
	return MyProcPort != NULL ? MyProcPort->user_name : NULL;
}

static bool
is_for_this_session(json_t *payload)
{
	const char *role = json_string_value(json_object_get(payload, "r"));
	const char *database = json_string_value(json_object_get(payload, "d"));
	const char *my_role;
	const char *my_database;

	if (!IsTransactionState())
		return false;
	my_role = context_login_role();
	my_database = get_database_name(MyDatabaseId);
	if (database == NULL || my_database == NULL || strcmp(database, my_database) != 0)
		return false;
	/* where one that travels is for another role, it is not used: carried_check_hook() */
	return (role != NULL && my_role != NULL && strcmp(role, my_role) == 0) ||
		json_object_get(payload, "w") != NULL;
}

static bool
refuse(const char *detail)
{
	GUC_check_errcode(ERRCODE_INSUFFICIENT_PRIVILEGE);
	GUC_check_errmsg("invalid tenant context");
	GUC_check_errdetail("%s", detail);
	GUC_check_errhint("Set it with sales.use_session() or sales.set_tenant().");
	return false;
}

static bool
is_revoked(const TenantContext *context)
{
	TimestampTz signed_at = context->signed_at;
	bool		bound = context->expires_at == DT_NOEND || context->is_bound;

	return revocation_covers(&context->company_id, signed_at, bound) ||
		(context->has_user && revocation_covers(&context->user_id, signed_at, bound)) ||
		(context->has_session && revocation_covers(&context->session_id, signed_at, bound));
}

/*
 * Why a well-formed, signed context may not be used here and now; null if it
 * may.  (A parallel worker takes over its leader's value, which was checked.)
 *
 * A context that never expires belongs to a bound role and is good only as the
 * role's own setting for this database, which reaches us with a source of its
 * own: a copy kept by hand is worth nothing, and the role cannot store it
 * again, as ALTER ROLE tests the value first.
 */
static const char *
context_problem(const TenantContext *context, json_t *payload, GucSource source)
{
	if (!is_for_this_session(payload))
		return "It was made for another role or database.";
	if (context->expires_at == DT_NOEND && source != PGC_S_DATABASE_USER)
		return "It is good only as the setting that sales.bind_role() stored.";
	/* A login that companies share could be made to begin in one of them. */
	if (context->expires_at != DT_NOEND && !context->is_bound &&
		(source == PGC_S_TEST || (source >= PGC_S_GLOBAL && source <= PGC_S_DATABASE_USER)))
		return "It is a session's own, and cannot be stored for a role, a database or a function.";
	if (context->expires_at < clock_instant())
		return "It has expired.";
	/* What was revoked before the start is forgotten, so such contexts go too. */
	if (context->expires_at != DT_NOEND && !context->is_bound && context->signed_at < PgStartTime)
		return "It was made before the server started.";
	if (is_revoked(context))
		return "It has been revoked.";
	if (context->readable && IsTransactionState() && MyProc != NULL && seen_lxid == COMPAT_MY_LXID &&
		memcmp(&seen_company, &context->company_id, UUID_LEN) != 0)
		return "This transaction has acted for another company already.";
	return NULL;
}

/*
 * Which key of the key file signed it: null and *key, or what is wrong.  A former
 * key counts for a setting that bind_role() stored, until rotate_master_key() has
 * signed that afresh.  (A parallel worker is given what its leader has checked,
 * perhaps before a change of the key.)
 */
static const char *
context_verify(const char *payload, const char *mac_text, GucSource source, int *key)
{
	int			mac_len = 0;
	unsigned char *mac = base64url_decode(mac_text + 1, strlen(mac_text + 1), &mac_len);
	const char *problem = "Its signature is not valid.";
	int			most = source == PGC_S_DATABASE_USER ? KEY_RING_SIZE : 1;

	*key = 0;
	if (InitializingParallelWorker)
		problem = NULL;
	for (int n = 0; problem != NULL && n < most; n++)
	{
		unsigned char expected[MAC_SIZE];
		const char *no_key = context_mac(n, payload, mac_text - payload, expected);

		if (no_key != NULL)
		{
			if (n == 0)
				problem = no_key;
			break;
		}
		if (mac != NULL && mac_len == MAC_SIZE && CRYPTO_memcmp(mac, expected, MAC_SIZE) == 0)
		{
			*key = n;
			problem = NULL;
		}
	}
	free(mac);
	return problem;
}

static const char *
role_of(json_t *payload)
{
	const char *role = json_string_value(json_object_get(payload, "r"));

	return role != NULL ? role : "";
}

/* A value's signature and form, then whether it may be used here. */
static bool
check_value(char **newval, void **extra, GucSource source)
{
	const char *value = *newval;
	const char *payload_text;
	const char *mac_text;
	unsigned char *payload_bytes = NULL;
	json_t	   *payload = NULL;
	TenantContext *context = NULL;
	const char *problem = NULL;
	int			key;
	int			payload_len = 0;
	size_t		size;

	if (value == NULL || *value == '\0')
		return true;
	if (strncmp(value, CONTEXT_VERSION ".", strlen(CONTEXT_VERSION) + 1) != 0)
		return refuse("It is not of a known form.");
	payload_text = value + strlen(CONTEXT_VERSION) + 1;
	mac_text = strchr(payload_text, '.');
	if (mac_text == NULL)
		return refuse("It is not of a known form.");

	problem = context_verify(payload_text, mac_text, source, &key);
	if (problem != NULL)
		return refuse(problem);

	payload_bytes = base64url_decode(payload_text, mac_text - payload_text, &payload_len);
	if (payload_bytes != NULL)
		payload = json_loadb((char *) payload_bytes, payload_len, 0, NULL);
	free(payload_bytes);
	if (payload == NULL)
		return refuse("It is not of a known form.");

	size = offsetof(TenantContext, entries) +
		(json_object_size(json_object_get(payload, "p")) + 1) * sizeof(PermissionEntry);
	context = compat_guc_malloc(size);
	if (context == NULL)
	{
		json_decref(payload);
		return false;
	}
	memset(context, 0, size);
	if (!context_fill(context, payload))
		problem = "It is not of a known form.";
	else if (key > 0 && context->expires_at != DT_NOEND)
		problem = "Its signature is not valid.";
	else if (context->carried != 0 && !OidIsValid(context->role = get_role_oid(role_of(payload), true)))
		problem = "Its role does not exist here.";
	else if (!InitializingParallelWorker && !(source == PGC_S_TEST && (binding || (distribute_is_node() && superuser()))))
		problem = context_problem(context, payload, source);
	json_decref(payload);
	if (problem != NULL)
	{
		compat_guc_free(context);
		return refuse(problem);
	}
	*extra = context;
	return true;
}

static bool
context_check_hook(char **newval, void **extra, GucSource source)
{
	if (!check_value(newval, extra, source))
		return false;
	if (*extra != NULL && ((TenantContext *) *extra)->carried != 0)
		return refuse("It is one that travels between nodes.");
	return true;
}

static void
note_company(const TenantContext *context)
{
	judged_count = 0;
	judged_revoked = false;
	generation++;
	if (context != NULL && context->readable && MyProc != NULL && IsTransactionState())
	{
		seen_lxid = COMPAT_MY_LXID;
		seen_company = context->company_id;
	}
	distribute_forget_plans();
}

static void
context_assign_hook(const char *newval, void *extra)
{
	if (current != NULL && MyProc != NULL && seen_lxid == COMPAT_MY_LXID &&
		LocalTransactionIdIsValid(seen_lxid))
	{
		memcpy(&left, current, offsetof(TenantContext, entries));
		left_lxid = seen_lxid;
	}
	current = extra;
	note_company(current);
}

/*
 * Where it is set to be sent, it says nothing new.  On a node it is judged as a
 * context is, in a session of the role that it was signed for; the rows that
 * definer functions work on are reached in a superuser's, who needs none.
 */
static bool
carried_check_hook(char **newval, void **extra, GucSource source)
{
	TenantContext *context;

	if (accepting_carried || *newval == NULL || **newval == '\0')
		return true;
	if (!check_value(newval, extra, source))
		return false;
	context = *extra;
	if (context->carried == 0)
		return refuse("It is not one that travels between nodes.");
	/* A session of another role than the one that acts now: it has no tenant meanwhile. */
	if (context->role != GetSessionUserId() && !superuser_arg(GetSessionUserId()))
	{
		compat_guc_free(context);
		*extra = NULL;
	}
	return true;
}

static void
carried_assign_hook(const char *newval, void *extra)
{
	carried = extra;
	note_company(carried);
	/*
	 * What a tenant's statement does here it does as that role, though Citus
	 * has come as the owner of the tables; SET ROLE is refused meanwhile.
	 */
	if (carried != NULL && carried->role != GetSessionUserId())
	{
		SetUserIdAndSecContext(carried->role, SECURITY_LOCAL_USERID_CHANGE);
		lowered = true;
	}
	else if (lowered)
	{
		SetUserIdAndSecContext(GetSessionUserId(), 0);
		lowered = false;
	}
}

void
context_init(void)
{
	DefineCustomStringVariable("sales_assistant.context",
							   "Signed tenant context of the session.",
							   "Set by sales.use_session(), sales.set_tenant() or "
							   "sales.bind_role(); it cannot be made by hand.",
							   &guc_context, "", PGC_USERSET, GUC_NOT_IN_SAMPLE,
							   context_check_hook, context_assign_hook, NULL);
	if (distribute_possible())
		DefineCustomStringVariable("sales_assistant.carried",
								   "Signed tenant context that a node of a Citus cluster was sent.",
								   "Set by the library on the node that a session is connected to; "
								   "it cannot be made by hand.",
								   &guc_carried, "", PGC_USERSET, GUC_NOT_IN_SAMPLE | GUC_SUPERUSER_ONLY | GUC_NO_SHOW_ALL,
								   carried_check_hook, carried_assign_hook, NULL);
}

bool
context_carries(int allowed)
{
	return carried != NULL && (carried->carried & allowed) != 0;
}

uint64
context_generation(void)
{
	return generation;
}

void
context_accept_carried(bool accept)
{
	accepting_carried = accept;
}

/* A new reference; null where the session has no context. */
static json_t *
current_payload(void)
{
	const char *start = guc_context + strlen(CONTEXT_VERSION) + 1;
	unsigned char *bytes;
	json_t	   *payload;
	int			len = 0;

	if (current == NULL || context_peek() == NULL)
		return NULL;
	bytes = base64url_decode(start, strchr(start, '.') - start, &len);
	payload = bytes != NULL ? json_loadb((char *) bytes, len, 0, NULL) : NULL;
	free(bytes);
	if (payload == NULL)
		elog(ERROR, "the tenant context cannot be read");
	return payload;
}

char *
context_to_carry(const char *role, int allowed)
{
	json_t	   *payload = current_payload();
	int64		now = timestamptz_to_time_t(GetCurrentTimestamp());
	char	   *value;

	if (payload == NULL)
		payload = json_pack("{s:s, s:I}", "d", get_database_name(MyDatabaseId), "e", (json_int_t) (now + SECS_PER_DAY));
	else
	{
		/* a bound role's context never ends, and is good only as the role's setting */
		if (!json_is_integer(json_object_get(payload, "e")))
		{
			json_object_set_new(payload, "e", json_integer(now + SECS_PER_DAY));
			json_object_set_new(payload, "b", json_true());
		}
		/* the node sees the coordinator as its client */
		if (!json_is_string(json_object_get(payload, "i")) && MyProcPort != NULL &&
			MyProcPort->remote_host != NULL && MyProcPort->raddr.addr.ss_family != AF_UNIX)
			json_object_set_new(payload, "i", json_string(MyProcPort->remote_host));
		if (!json_is_string(json_object_get(payload, "a")) && application_name != NULL && *application_name != '\0')
			json_object_set_new(payload, "a", json_string(application_name));
	}
	json_object_set_new(payload, "r", json_string(role));
	json_object_set_new(payload, "w", json_integer(allowed));
	value = context_sign(payload);
	json_decref(payload);
	return value;
}

/* --- using it --- */

const TenantContext *
context_peek(void)
{
	const TenantContext *context = carried != NULL ? carried : current;

	if (context == NULL || !context->readable)
		return NULL;
	if (context->expires_at != DT_NOEND && context->expires_at < clock_now())
		return NULL;
	if (judged_count != revocation_count())
	{
		judged_count = revocation_count();
		judged_revoked = is_revoked(context);
	}
	return judged_revoked ? NULL : context;
}

const TenantContext *
context_current(void)
{
	const TenantContext *context = context_peek();

	if (context != NULL && MyProc != NULL)
	{
		seen_lxid = COMPAT_MY_LXID;
		seen_company = context->company_id;
	}
	return context;
}

const TenantContext *
context_actor(void)
{
	const TenantContext *context = context_peek();
	LocalTransactionId now = MyProc != NULL ? COMPAT_MY_LXID : InvalidLocalTransactionId;

	if (context != NULL || !LocalTransactionIdIsValid(now))
		return context;
	if (current != NULL && seen_lxid == now)
		return current;			/* revoked meanwhile */
	return left_lxid == now && !superuser_arg(GetSessionUserId()) ? &left : NULL;
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

PG_FUNCTION_INFO_V1(sales_acting_company);
PG_FUNCTION_INFO_V1(sales_current_company_id);
PG_FUNCTION_INFO_V1(sales_current_user_id);
PG_FUNCTION_INFO_V1(sales_has_permission);
PG_FUNCTION_INFO_V1(sales_company_allowing);

/* sales_internal.acting_company() → uuid: of the context, or of one left in this transaction. */
Datum
sales_acting_company(PG_FUNCTION_ARGS)
{
	const TenantContext *context = context_actor();
	pg_uuid_t  *result;

	if (context == NULL)
		PG_RETURN_NULL();
	result = palloc(sizeof(pg_uuid_t));
	*result = context->company_id;
	PG_RETURN_UUID_P(result);
}

/* sales.current_company_id() → uuid: null without a context. */
Datum
sales_current_company_id(PG_FUNCTION_ARGS)
{
	const TenantContext *context = context_current();
	pg_uuid_t  *result;

	if (context == NULL)
		PG_RETURN_NULL();
	result = palloc(sizeof(pg_uuid_t));
	*result = context->company_id;
	PG_RETURN_UUID_P(result);
}

/* sales.current_user_id() → uuid: null without a context or for the system. */
Datum
sales_current_user_id(PG_FUNCTION_ARGS)
{
	const TenantContext *context = context_current();
	pg_uuid_t  *result;

	if (context == NULL || !context->has_user)
		PG_RETURN_NULL();
	result = palloc(sizeof(pg_uuid_t));
	*result = context->user_id;
	PG_RETURN_UUID_P(result);
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
	pg_uuid_t  *result;

	pfree(table);
	pfree(action);
	if (!allowed)
		PG_RETURN_NULL();
	result = palloc(sizeof(pg_uuid_t));
	*result = context->company_id;
	PG_RETURN_UUID_P(result);
}

/* --- making one --- */

char *
context_sign(json_t *payload)
{
	char	   *text = json_dumps(payload, JSON_COMPACT);
	char	   *encoded = base64url_encode((unsigned char *) text, strlen(text));
	unsigned char mac[MAC_SIZE];
	const char *problem = context_mac(0, encoded, strlen(encoded), mac);
	char	   *encoded_mac;
	char	   *value;

	free(text);
	if (problem != NULL)
	{
		free(encoded);
		ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR),
						errmsg("could not sign the tenant context"),
						errdetail_internal("%s", problem)));
	}
	encoded_mac = base64url_encode(mac, MAC_SIZE);
	value = psprintf("%s.%s.%s", CONTEXT_VERSION, encoded, encoded_mac);
	free(encoded);
	free(encoded_mac);
	return value;
}

void
context_bind(const char *role, const char *context)
{
	StringInfoData sql;

	initStringInfo(&sql);
	appendStringInfo(&sql, "ALTER ROLE %s IN DATABASE %s ", quote_identifier(role),
					 quote_identifier(get_database_name(MyDatabaseId)));
	if (context == NULL)
		appendStringInfoString(&sql, "RESET sales_assistant.context");
	else
		appendStringInfo(&sql, "SET sales_assistant.context = %s",
						 quote_literal_cstr(context));
	binding = true;
	PG_TRY();
	{
		SPI_connect();
		spi_run_as_owner(sql.data, false, 0, 0, NULL);
		SPI_finish();
	}
	PG_FINALLY();
	{
		binding = false;
	}
	PG_END_TRY();
}
