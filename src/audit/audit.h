#ifndef SALES_AUDIT_AUDIT_H
#define SALES_AUDIT_AUDIT_H

#include "utils/jsonb.h"
#include "utils/uuid.h"

/* What somebody did other than change a row. */
typedef struct AuditNote
{
	const pg_uuid_t *company_id;
	const pg_uuid_t *user_id;	/* null: the system */
	const char *action;			/* login, logout, export, delete */
	const char *table_name;
	const pg_uuid_t *record_id; /* null: no single record */
	const Jsonb *values;		/* new_values; null: none */
	const char *ip_address;		/* null: the context's, else the client's */
	const char *user_agent;		/* null: the context's, else the program's name */
	const char *gdpr_basis;		/* null: sales_assistant.gdpr_basis */
} AuditNote;

/* Writes one row to the audit log. */
extern void audit_note(const AuditNote *note);

/* Is audit_open_door() in effect, here or where the session is connected? */
extern bool audit_door_is_open(void);

extern void audit_init(void);

#endif							/* SALES_AUDIT_AUDIT_H */
