/*
 * session.c
 *		Entering a tenant: login, use_session, set_tenant, bind_role, logout.
 *
 * login() checks a password and hands out a token; the token's session stands
 * in sales_internal.sessions, where logout, deactivation and suspension end
 * it.  use_session() looks there each time, so a token that was revoked opens
 * nothing.  The SQL functions are SECURITY DEFINER with a pinned search_path.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_collation.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "core/clock.h"
#include "core/spi.h"
#include "core/uuid.h"
#include "common/cryptohash.h"
#include "common/sha2.h"
#include "fmgr.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "pgstat.h"
#include "tenancy/context.h"
#include "tenancy/issuer.h"
#include "tenancy/password.h"
#include "tenancy/revocation.h"
#include "tenancy/throttle.h"
#include "tenancy/token.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/formatting.h"
#include "utils/guc.h"
#include "utils/jsonb.h"
#include "utils/timestamp.h"

#define GATEWAY_SECONDS 3600	/* life of a context of set_tenant() */
#define KNOWN_ADDRESS_DAYS 90	/* since a login from there */

PG_FUNCTION_INFO_V1(sales_login);
PG_FUNCTION_INFO_V1(sales_set_password);
PG_FUNCTION_INFO_V1(sales_use_session);
PG_FUNCTION_INFO_V1(sales_set_tenant);
PG_FUNCTION_INFO_V1(sales_bind_role);
PG_FUNCTION_INFO_V1(sales_unbind_role);
PG_FUNCTION_INFO_V1(sales_logout);
PG_FUNCTION_INFO_V1(sales_hash_password);

static void
require_argument(FunctionCallInfo fcinfo, int n, const char *name)
{
	if (PG_ARGISNULL(n))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("%s must not be null", name)));
}

static char *
text_argument(FunctionCallInfo fcinfo, int n)
{
	return PG_ARGISNULL(n) ? NULL : text_to_cstring(PG_GETARG_TEXT_PP(n));
}

/*
 * Sessions of one login see each other's statements in pg_stat_activity, and the
 * companies of a platform share a login: what holds a password or a token is not
 * shown there any longer than it takes to get here.  (As a parameter of the
 * extended protocol it is not shown at all.)
 */
static void
hide_statement(const char *shown)
{
	pgstat_report_activity(STATE_RUNNING, shown);
}

static TimestampTz
in_seconds(int64 seconds)
{
	return clock_instant() + seconds * USECS_PER_SEC;
}

/* --- login --- */

/* What guesses are counted for: in lower case by the rules that find the user (to some, K is also the sign of the kelvin). */
static char *
account_of(const char *domain, const char *email)
{
	char	   *account = psprintf("%s/%s", domain, email);

	return str_tolower(account, strlen(account), DEFAULT_COLLATION_OID);
}

/*
 * The same for guesses from this address (null: unknown): an account of its own where
 * the user has logged in from its network in the last 90 days, so that others' guesses
 * do not keep him out.  The answer takes as long whether or not there is such a user:
 * what is looked through is who else has come from there.
 */
static char *
account_at(const char *account, const char *domain, const char *email, NullableDatum address)
{
	SpiArg		args[4] = {SPI_ARG_TEXT(domain), SPI_ARG_TEXT(email), SPI_ARG(INETOID, address.value),
	SPI_ARG(TIMESTAMPTZOID, TimestampTzGetDatum(clock_now() - KNOWN_ADDRESS_DAYS * USECS_PER_DAY))};
	bool		isnull;

	if (address.isnull)
		return NULL;
#define NETWORK "network(set_masklen($3, CASE family($3) WHEN 6 THEN 64 ELSE 32 END))"
	spi_run_as_owner("SELECT bool_or(c.domain = lower($1) AND lower(u.email) = lower($2)), text(" NETWORK ") "
					 "FROM sales_internal.sessions s "
					 "JOIN sales.users u ON u.company_id = s.company_id AND u.user_id = s.user_id "
					 "JOIN sales.companies c ON c.company_id = s.company_id "
					 "WHERE s.ip_address <<= " NETWORK " AND s.created_at > $4",
					 true, 1, 4, args);
#undef NETWORK
	if (!DatumGetBool(spi_datum(0, 1, &isnull)) || isnull)
		return NULL;
	return psprintf("%s from %s", account, spi_text(0, 2));
}

/* In the server's log, for who watches over it: not the password, and no more of the name than a name has. */
static void
log_guesses(const char *account)
{
	ereport(LOG, (errmsg("wrong passwords for %s: guesses have to wait", pnstrdup(account, pg_mbcliplen(account, strlen(account), 200))),
				  errhidestmt(true), errhidecontext(true)));
}

/*
 * sales.login(domain, email, password, ip inet, user_agent) → text, a JWT.
 * One message for every reason, so that it tells nobody which users exist.
 */
Datum
sales_login(PG_FUNCTION_ARGS)
{
	char	   *domain;
	char	   *email;
	char	   *password;
	char	   *account;
	char	   *hash = NULL;
	int			wait;
	bool		isnull;
	bool		known;
	Token		token;
	SpiArg		args[7];
	char	   *jwt;

	hide_statement("SELECT sales.login(...)");
	require_argument(fcinfo, 0, "domain");
	require_argument(fcinfo, 1, "email");
	require_argument(fcinfo, 2, "password");
	domain = text_argument(fcinfo, 0);
	email = text_argument(fcinfo, 1);
	password = text_argument(fcinfo, 2);

	/* As sales_internal.plain_domain() keeps it: "@company.com" is the same company, and the same account to throttle. */
	while (*domain == ' ' || *domain == '@')
		domain++;
	account = account_of(domain, email);
	SPI_connect();
	wait = throttle_wait(account);
	if (wait > 0)
	{
		char	   *apart = account_at(account, domain, email, fcinfo->args[3]);

		if (apart != NULL)
		{
			account = apart;
			wait = throttle_wait(account);
		}
	}
	if (wait > 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
						errmsg("too many wrong passwords for this account"),
						errhint("Try again in %d seconds.", wait)));

	args[0] = SPI_ARG_TEXT(domain);
	args[1] = SPI_ARG_TEXT(email);
	known = spi_run_as_owner(
		"SELECT u.company_id, u.user_id, u.password_hash, "
		"       greatest(least(sales_internal.setting_number(u.company_id, 'security.session_minutes', 60), 525600), 1)::int "
		"FROM sales.companies c JOIN sales.users u ON u.company_id = c.company_id "
		"WHERE c.domain = lower($1) AND lower(u.email) = lower($2) AND u.is_active "
		"  AND c.subscription_status <> 'cancelled'",
		true, 1, 2, args) > 0;
	if (known)
	{
		token.company_id = *DatumGetUUIDP(spi_datum(0, 1, &isnull));
		token.user_id = *DatumGetUUIDP(spi_datum(0, 2, &isnull));
		hash = spi_text(0, 3);
		token.expires_at = timestamptz_to_time_t(
			in_seconds(60 * (int64) DatumGetInt32(spi_datum(0, 4, &isnull))));
	}
	if (!password_verify(password, hash))
	{
		if (throttle_failed(account))
			log_guesses(account);
		ereport(ERROR, (errcode(ERRCODE_INVALID_PASSWORD),
						errmsg("unknown domain, user or wrong password"),
						errhint("Domain is the company's, such as company.com; see sales.companies.domain.")));
	}
	throttle_succeeded(account);

	token.session_id = *uuid_v7();
	args[0] = SPI_ARG_UUID(&token.session_id);
	args[1] = SPI_ARG_UUID(&token.company_id);
	args[2] = SPI_ARG_UUID(&token.user_id);
	args[3] = SPI_ARG(TIMESTAMPTZOID,
					  TimestampTzGetDatum(time_t_to_timestamptz(token.expires_at)));
	args[4] = PG_ARGISNULL(3) ? SPI_ARG_NULL(INETOID) : SPI_ARG(INETOID, PG_GETARG_DATUM(3));
	args[5] = SPI_ARG_TEXT(text_argument(fcinfo, 4));
	args[6] = SPI_ARG(TIMESTAMPTZOID, TimestampTzGetDatum(clock_now()));
	spi_run_as_owner("WITH session AS ("
					 "  INSERT INTO sales_internal.sessions "
					 "    (session_id, company_id, user_id, expires_at, ip_address, user_agent, created_at) "
					 "  VALUES ($1, $2, $3, $4, coalesce($5, inet_client_addr()), left($6, 255), $7)), "
					 "seen AS (UPDATE sales.users SET last_login = $7 "
					 "  WHERE company_id = $2 AND user_id = $3) "
					 "SELECT sales_internal.audit_note($2, $3, 'login', 'users', $3, "
					 "  ip_address => host($5), user_agent => $6)",
					 false, 0, 7, args);
	SPI_finish();

	jwt = token_sign(&token);
	PG_RETURN_TEXT_P(cstring_to_text(jwt));
}

/* sales.set_password(user_id uuid, password text) */
Datum
sales_set_password(PG_FUNCTION_ARGS)
{
	const TenantContext *context;
	const pg_uuid_t *company = NULL;
	pg_uuid_t  *user;
	SpiArg		args[3];
	bool		isnull;

	hide_statement("SELECT sales.set_password(...)");
	require_argument(fcinfo, 0, "user_id");
	require_argument(fcinfo, 1, "password");
	user = PG_GETARG_UUID_P(0);
	context = context_current();
	/* Oneself, who may manage users, or the DBA without a context. */
	if (context != NULL || !superuser_arg(GetSessionUserId()))
	{
		company = context_company_or_fail();
		if (context == NULL || !context->has_user ||
			memcmp(&context->user_id, user, UUID_LEN) != 0)
			context_require("users", PERMISSION_MANAGE);
	}

	args[0] = SPI_ARG_UUID(user);
	args[1] = SPI_ARG_TEXT(password_hash(text_argument(fcinfo, 1)));
	args[2] = SPI_ARG_UUID(company);
	SPI_connect();
	if (spi_run_as_owner("UPDATE sales.users SET password_hash = $2 "
						 "WHERE user_id = $1 AND company_id = coalesce($3, company_id) "
						 "RETURNING company_id",
						 false, 0, 3, args) == 0)
		ereport(ERROR, (errcode(ERRCODE_NO_DATA_FOUND),
						errmsg("there is no user %s in this company", uuid_text(user))));
	/* Whoever knew the old password is out. */
	revocation_add(user, DatumGetUUIDP(spi_datum(0, 1, &isnull)));
	spi_run_as_owner("UPDATE sales_internal.sessions SET revoked_at = sales_internal.now() "
					 "WHERE user_id = $1 AND revoked_at IS NULL", false, 0, 1, args);
	/* And who has guessed at it keeps nobody out. */
	if (spi_run_as_owner("SELECT c.domain, u.email FROM sales.users u JOIN sales.companies c ON c.company_id = u.company_id "
						 "WHERE u.user_id = $1", false, 1, 1, args) > 0)
		throttle_succeeded(account_of(spi_text(0, 1), spi_text(0, 2)));
	SPI_finish();
	PG_RETURN_VOID();
}

/* --- entering --- */

/*
 * A token of our own: signature, expiry, and a session that has not ended.
 * Fills token and the client's address and program.
 */
static void
accept_own_token(const char *text, Token *token, ContextRequest *request,
				 MemoryContext memory)
{
	SpiArg		args[2];

	if (!token_verify(text, token))
		ereport(ERROR, (errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
						errmsg("invalid session token"),
						errhint("Get one from sales.login().")));
	if (time_t_to_timestamptz(token->expires_at) < clock_instant())
		ereport(ERROR, (errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
						errmsg("session token has expired"),
						errhint("Get a new one from sales.login().")));
	args[0] = SPI_ARG_UUID(&token->session_id);
	args[1] = SPI_ARG_UUID(&token->user_id);
	if (spi_run_as_owner("SELECT host(ip_address), user_agent FROM sales_internal.sessions s "
						 "JOIN sales.companies c ON c.company_id = s.company_id "
						 "WHERE s.session_id = $1 AND s.user_id = $2 AND s.revoked_at IS NULL "
						 "  AND c.subscription_status <> 'cancelled'",
						 false, 1, 2, args) == 0)
		ereport(ERROR, (errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
						errmsg("session has ended"),
						errhint("Get a new token from sales.login().")));
	if (spi_text(0, 1) != NULL)
		request->ip = MemoryContextStrdup(memory, spi_text(0, 1));
	if (spi_text(0, 2) != NULL)
		request->user_agent = MemoryContextStrdup(memory, spi_text(0, 2));
}

/* The session of an outside token: the same id each time it is used. */
static void
session_id_of(const char *text, pg_uuid_t *id)
{
	uint8		digest[PG_SHA256_DIGEST_LENGTH];
	pg_cryptohash_ctx *ctx = pg_cryptohash_create(PG_SHA256);

	if (pg_cryptohash_init(ctx) < 0 ||
		pg_cryptohash_update(ctx, (const uint8 *) text, strlen(text)) < 0 ||
		pg_cryptohash_final(ctx, digest, sizeof(digest)) < 0)
		elog(ERROR, "could not hash a token");
	pg_cryptohash_free(ctx);
	memcpy(id->data, digest, UUID_LEN);
	id->data[6] = 0x80 | (id->data[6] & 0x0F);	/* version 8: of our own making */
	id->data[8] = 0x80 | (id->data[8] & 0x3F);
}

/*
 * A token of a trusted issuer: signature by its keys; what it says is checked,
 * and whom it names is found, in sales_internal.accept_outside_token().
 */
static void
accept_outside_token(const char *text, const char *payload, Token *token)
{
	SpiArg		args[3];
	const char *problem = "its issuer is not trusted";
	bool		isnull;

	args[0] = SPI_ARG_TEXT(payload);
	if (spi_run_as_owner("SELECT jwks::text FROM sales_internal.issuers "
						 "WHERE issuer = $1::jsonb ->> 'iss'", true, 1, 1, args) > 0)
		problem = issuer_verify(text, spi_text(0, 1));
	if (problem != NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION),
						errmsg("invalid session token"),
						errdetail_internal("%s", problem),
						errhint("Get one from sales.login(), or have the issuer trusted by sales.trust_issuer().")));
	session_id_of(text, &token->session_id);
	args[1] = SPI_ARG_UUID(&token->session_id);
	args[2] = SPI_ARG(BOOLOID, BoolGetDatum(!XactReadOnly));
	spi_run_as_owner("SELECT company_id, user_id, expires_at "
					 "FROM sales_internal.accept_outside_token($1::jsonb, $2, $3)",
					 false, 1, 3, args);
	token->company_id = *DatumGetUUIDP(spi_datum(0, 1, &isnull));
	token->user_id = *DatumGetUUIDP(spi_datum(0, 2, &isnull));
	token->expires_at = timestamptz_to_time_t(DatumGetTimestampTz(spi_datum(0, 3, &isnull)));
}

/* Is it a payload of a token that somebody else has issued? */
static bool
is_outside(const char *payload)
{
	SpiArg		args[1] = {SPI_ARG_TEXT(payload)};

	return payload != NULL &&
		spi_run("SELECT WHERE $1::jsonb ->> 'iss' <> 'sales_assistant'", true, 1, 1, args) > 0;
}

/* sales.use_session(token text, is_local boolean) → uuid, the company */
Datum
sales_use_session(PG_FUNCTION_ARGS)
{
	Token		token;
	ContextRequest request = {0};
	MemoryContext caller = CurrentMemoryContext;
	bool		is_local = PG_ARGISNULL(1) ? true : PG_GETARG_BOOL(1);
	char	   *text;
	char	   *payload;

	hide_statement("SELECT sales.use_session(...)");
	require_argument(fcinfo, 0, "token");
	text = text_argument(fcinfo, 0);
	if (is_local && !IsTransactionBlock())
		ereport(WARNING,
				(errcode(ERRCODE_NO_ACTIVE_SQL_TRANSACTION),
				 errmsg("the tenant is set for this statement alone"),
				 errhint("Call use_session(token) after BEGIN, or use_session(token, false) to set it for the session.")));

	payload = issuer_peek(text);
	SPI_connect();
	if (is_outside(payload))
		accept_outside_token(text, payload, &token);
	else
		accept_own_token(text, &token, &request, caller);
	SPI_finish();

	request.company_id = &token.company_id;
	request.user_id = &token.user_id;
	request.session_id = &token.session_id;
	request.expires_at = time_t_to_timestamptz(token.expires_at);
	context_enter(&request, is_local);

	PG_RETURN_UUID_P(uuid_copy(&token.company_id));
}

PG_FUNCTION_INFO_V1(sales_check_jwks);

/* sales_internal.check_jwks(jwks jsonb) → text: null when it can be used */
Datum
sales_check_jwks(PG_FUNCTION_ARGS)
{
	char	   *jwks = DatumGetCString(DirectFunctionCall1(jsonb_out, PG_GETARG_DATUM(0)));
	const char *problem = issuer_check_keys(jwks);

	if (problem == NULL)
		PG_RETURN_NULL();
	PG_RETURN_TEXT_P(cstring_to_text(problem));
}

/* sales.set_tenant(company_id uuid, user_id uuid, is_local boolean) */
Datum
sales_set_tenant(PG_FUNCTION_ARGS)
{
	ContextRequest request = {0};

	require_argument(fcinfo, 0, "company_id");
	request.company_id = PG_GETARG_UUID_P(0);
	request.user_id = PG_ARGISNULL(1) ? NULL : PG_GETARG_UUID_P(1);
	request.expires_at = in_seconds(GATEWAY_SECONDS);
	context_enter(&request, PG_ARGISNULL(2) ? true : PG_GETARG_BOOL(2));
	PG_RETURN_VOID();
}

/* --- bound roles --- */

/* Superusers skip row security, so a tenant of theirs would mean nothing. */
static char *
bindable_role(Oid role)
{
	char	   *name = GetUserNameFromId(role, false);

	if (superuser_arg(role))
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
						errmsg("role \"%s\" is a superuser and cannot be bound to a company", name),
						errhint("Make a login for the tool and GRANT sales_bi or sales_app to it.")));
	return name;
}

static void
end_sessions_of(Oid role)
{
	SpiArg		args[1] = {SPI_ARG(OIDOID, ObjectIdGetDatum(role))};

	SPI_connect();
	spi_run_as_owner("SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
					 "WHERE usesysid = $1 AND pid <> pg_backend_pid() "
					 "  AND datname = current_database()",
					 false, 0, 1, args);
	SPI_finish();
}

/* sales.bind_role(role regrole, company_id uuid, user_id uuid) */
Datum
sales_bind_role(PG_FUNCTION_ARGS)
{
	ContextRequest request = {0};
	Oid			role;
	SpiArg		args[3];

	require_argument(fcinfo, 0, "role");
	require_argument(fcinfo, 1, "company_id");
	role = PG_GETARG_OID(0);
	request.role = bindable_role(role);
	request.company_id = PG_GETARG_UUID_P(1);
	request.user_id = PG_ARGISNULL(2) ? NULL : PG_GETARG_UUID_P(2);
	request.expires_at = DT_NOEND;
	context_bind(request.role, context_make(&request));

	args[0] = SPI_ARG_TEXT(request.role);
	args[1] = SPI_ARG_UUID(request.company_id);
	args[2] = SPI_ARG_UUID(request.user_id);
	SPI_connect();
	spi_run_as_owner("INSERT INTO sales_internal.bound_roles (role_name, company_id, user_id) "
					 "VALUES ($1, $2, $3) ON CONFLICT (role_name) DO UPDATE "
					 "SET company_id = $2, user_id = $3, bound_at = now()",
					 false, 0, 3, args);
	SPI_finish();
	end_sessions_of(role);
	PG_RETURN_VOID();
}

/* sales.unbind_role(role regrole) */
Datum
sales_unbind_role(PG_FUNCTION_ARGS)
{
	SpiArg		args[1];
	Oid			role;
	char	   *name;

	require_argument(fcinfo, 0, "role");
	role = PG_GETARG_OID(0);
	name = GetUserNameFromId(role, false);
	context_bind(name, NULL);
	args[0] = SPI_ARG_TEXT(name);
	SPI_connect();
	spi_run_as_owner("DELETE FROM sales_internal.bound_roles WHERE role_name = $1", false, 0, 1,
					 args);
	SPI_finish();
	end_sessions_of(role);
	PG_RETURN_VOID();
}

/* --- leaving --- */

/* sales.logout(): ends the session that the context came from. */
Datum
sales_logout(PG_FUNCTION_ARGS)
{
	const TenantContext *context = context_current();
	SpiArg		args[3];

	(void) context_company_or_fail();
	args[0] = SPI_ARG_UUID(&context->company_id);
	args[1] = SPI_ARG_UUID(context->has_user ? &context->user_id : NULL);
	args[2] = SPI_ARG_UUID(context->has_session ? &context->session_id : NULL);
	SPI_connect();
	spi_run_as_owner("WITH ended AS ("
					 "  UPDATE sales_internal.sessions SET revoked_at = sales_internal.now() "
					 "  WHERE company_id = $1 AND session_id = $3 AND revoked_at IS NULL) "
					 "SELECT sales_internal.audit_note($1, $2, 'logout', 'users', $2)",
					 false, 0, 3, args);
	SPI_finish();
	if (context->has_session)
		revocation_add(&context->session_id, &context->company_id);
	(void) set_config_option("sales_assistant.context", "", PGC_USERSET, PGC_S_SESSION,
							 GUC_ACTION_SET, true, 0, false);
	PG_RETURN_VOID();
}

/* sales_internal.hash_password(password text) → text */
Datum
sales_hash_password(PG_FUNCTION_ARGS)
{
	PG_RETURN_TEXT_P(cstring_to_text(password_hash(text_to_cstring(PG_GETARG_TEXT_PP(0)))));
}
