/*
 * context.c
 *		The tenant context: a setting that SQL can carry and cannot forge.
 *
 * sales_assistant.context holds what context_sign.c has signed.  The check hook
 * accepts the empty value or a validly signed, unexpired one for this role and
 * database, and reads no table: so the context follows transactions, savepoints,
 * DISCARD ALL and parallel workers as any setting does.  The assign hook keeps
 * the parsed form, so that policies, which call current_company_id() and
 * has_permission() (policy.c), read a static struct.
 */
#include "postgres.h"

#include "access/parallel.h"
#include "access/xact.h"
#include "commands/dbcommands.h"
#include "compat.h"
#include "core/clock.h"
#include "core/json.h"
#include "core/spi.h"
#include "distribute/planner.h"
#include "distribute/shards.h"
#include "fmgr.h"
#include "libpq/libpq-be.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "tenancy/context.h"
#include "tenancy/context_sign.h"
#include "tenancy/revocation.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"

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

/* --- may it be used --- */

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
 * again, as ALTER ROLE tests the value first.  (A superuser's is not tested:
 * context_check_hook().)
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
	/* the sender's clock: ours may still be that of who sent the one before */
	if (context->expires_at < (context->carried == 0 ? clock_instant()
							   : context->sent_clock_is_fixed ? context->sent_now : GetCurrentTimestamp()))
		return "It has expired.";
	/*
	 * What was revoked before the start is forgotten, so such contexts go too.  Of
	 * one that was sent to a node it is the coordinator who remembers.
	 */
	if (context->expires_at != DT_NOEND && !context->is_bound && context->carried == 0 &&
		context->signed_at < PgStartTime)
		return "It was made before the server started.";
	if (is_revoked(context))
		return "It has been revoked.";
	if (context->readable && IsTransactionState() && MyProc != NULL && seen_lxid == COMPAT_MY_LXID &&
		memcmp(&seen_company, &context->company_id, UUID_LEN) != 0)
		return "This transaction has acted for another company already.";
	return NULL;
}

static const char *
role_of(json_t *payload)
{
	const char *role = json_string_value(json_object_get(payload, "r"));

	return role != NULL ? role : "";
}

/* A value's signature and form, then whether it may be used here. */
static bool
check_value(ContextKind kind, char **newval, void **extra, GucSource source)
{
	json_t	   *payload;
	TenantContext *context;
	const char *problem;
	bool		known = false;
	int			key;

	if (*newval == NULL || **newval == '\0')
		return true;
	problem = context_open(kind, *newval, source, &key, &payload);
	if (problem != NULL)
		return refuse(problem);
	context = context_read(payload, &known);
	if (context == NULL)
	{
		json_decref(payload);
		return false;
	}
	if (!known || (context->carried != 0) != (kind == CONTEXT_CARRIED))
		problem = "It is not of a known form.";
	else if (key > 0 && context->expires_at != DT_NOEND)
		problem = "Its signature is not valid.";
	else if (context->carried != 0 && !OidIsValid(context->role = get_role_oid(role_of(payload), true)))
		problem = "Its role does not exist here.";
	else if (!InitializingParallelWorker)
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
	/*
	 * Stored by a superuser: by context_bind(), by pg_upgrade, by a restore and by
	 * Citus on other nodes, which give roles the settings that they had, under
	 * whatever key there is.  It is judged when the role logs in.
	 */
	if (source == PGC_S_TEST && superuser())
		return true;
	return check_value(CONTEXT_OWN, newval, extra, source);
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
	/* on the coordinator nobody is sent one, but by itself */
	if (!distribute_is_node() && !superuser_arg(GetSessionUserId()))
		return refuse("It is good only on the nodes of a cluster.");
	if (!check_value(CONTEXT_CARRIED, newval, extra, source))
		return false;
	context = *extra;
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
	if (carried != NULL)
		clock_follow(carried->sent_now, carried->sent_clock_is_fixed);
	else
		clock_follow_no_more();
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
	json_t	   *payload;

	if (current == NULL || context_peek() == NULL)
		return NULL;
	payload = context_payload(guc_context);
	if (payload == NULL)
		elog(ERROR, "the tenant context cannot be read");
	return payload;
}

char *
context_to_carry(const char *role, int allowed)
{
	json_t	   *payload = current_payload();
	int64		now = timestamptz_to_time_t(clock_instant());
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
	json_object_set_new(payload, "k", json_integer(clock_now()));
	json_object_set_new(payload, "f", json_boolean(clock_is_fixed()));
	value = context_sign(CONTEXT_CARRIED, payload);
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

/* --- making one --- */

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
	SPI_connect();
	spi_run_as_owner(sql.data, false, 0, 0, NULL);
	SPI_finish();
}
