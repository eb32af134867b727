#ifndef SALES_TENANCY_CONTEXT_H
#define SALES_TENANCY_CONTEXT_H

#include "datatype/timestamp.h"
#include "utils/uuid.h"

/* What a role may do with a table; a bit each. */
typedef enum Permission
{
	PERMISSION_READ = 1 << 0,
	PERMISSION_CREATE = 1 << 1,
	PERMISSION_UPDATE = 1 << 2,
	PERMISSION_DELETE = 1 << 3,
	PERMISSION_APPROVE = 1 << 4,
	PERMISSION_EXPORT = 1 << 5,
	PERMISSION_MANAGE = 1 << 6
} Permission;

#define PERMISSION_ALL 0x7F

/* The bit of an action's name, 0 where there is no such action. */
extern int	permission_by_name(const char *action);

typedef struct PermissionEntry
{
	char		table[NAMEDATALEN];
	int			mask;
} PermissionEntry;

/* The tenant context of this session, as its signed setting says. */
typedef struct TenantContext
{
	pg_uuid_t	company_id;
	bool		has_user;
	pg_uuid_t	user_id;
	bool		has_session;
	pg_uuid_t	session_id;		/* of login(); not of set_tenant() and bound roles */
	bool		readable;		/* company is active or suspended */
	bool		writable;		/* company is active */
	bool		is_bound;		/* carried from the session of a bound role */
	int			carried;		/* CARRY_ bits; 0: not carried between nodes */
	Oid			role;			/* of one that is carried: who acts */
	TimestampTz sent_now;		/* and clock_now() of who sent it */
	bool		sent_clock_is_fixed;
	TimestampTz signed_at;
	TimestampTz expires_at;		/* DT_NOEND for a bound role */
	char		ip[46];			/* empty if unknown */
	char		user_agent[256];
	int			any_mask;		/* permissions on every table ('*') */
	int			nentries;
	PermissionEntry entries[FLEXIBLE_ARRAY_MEMBER];
} TenantContext;

/*
 * The valid context of now, or null: none set, or expired.  Valid until the
 * setting changes.
 */
extern const TenantContext *context_current(void);

/* The same for records of who did something: the transaction is not tied to it. */
extern const TenantContext *context_peek(void);

/*
 * Who acts: the context of now, or one that SQL has left in this transaction, of
 * which company, user and origin alone are known.  For triggers that ask who
 * changes a row and for records of it.  Null: nobody, or a superuser's login.
 */
extern const TenantContext *context_actor(void);

/* The name that this session logged in with; SET ROLE does not change it. */
extern const char *context_login_role(void);

/* The current company, or an error with a hint where there is no context. */
extern const pg_uuid_t *context_company_or_fail(void);

/* What the current role may do with a table, as Permission bits. */
extern int	context_permissions(const char *table);

/* Error with a hint unless the context allows the action. */
extern void context_require(const char *table, Permission action);

/* What context_make() signs. */
typedef struct ContextRequest
{
	const pg_uuid_t *company_id;
	const pg_uuid_t *user_id;	/* null: the gateway itself, all permissions */
	const pg_uuid_t *session_id;	/* null if not from login() */
	const char *role;			/* login role; null: that of this session */
	TimestampTz expires_at;		/* DT_NOEND: never, for a bound role */
	const char *ip;				/* null if unknown */
	const char *user_agent;		/* null if unknown */
} ContextRequest;

/*
 * Reads companies, users and roles and returns a signed context, palloc'd.
 * Throws where the company or the active user is not there.
 */
extern char *context_make(const ContextRequest *request);

/* Makes a context for this session and sets it. */
extern void context_enter(const ContextRequest *request, bool is_local);

/* Stores a context in a role's settings for this database; null removes it. */
extern void context_bind(const char *role, const char *context);

/* A number that changes whenever the context may have changed. */
extern uint64 context_generation(void);

/* What a session may do on a node because it may do so where it is connected. */
#define CARRY_CONTEXT 1			/* nothing but what the context allows */
#define CARRY_AUDIT_INSERT 2	/* the extension adds audit rows */
#define CARRY_AUDIT_CHANGE 4	/* audit_open_door() is in effect */

/* The session's context signed for a role, with what it may do; palloc'd. */
extern char *context_to_carry(const char *role, int allowed);

/* Is this such a node, and may the session that sent us do this? */
extern bool context_carries(int allowed);

/* While true, sales_assistant.carried is merely passed on, not judged here. */
extern void context_accept_carried(bool accept);

extern void context_init(void);

#endif							/* SALES_TENANCY_CONTEXT_H */
