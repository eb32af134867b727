#ifndef SALES_TENANCY_CONTEXT_SIGN_H
#define SALES_TENANCY_CONTEXT_SIGN_H

#include "core/json.h"
#include "tenancy/context.h"
#include "utils/guc.h"

/* A context that a session has, or one on its way between the nodes of a cluster. */
typedef enum ContextKind
{
	CONTEXT_OWN,
	CONTEXT_CARRIED
} ContextKind;

/* The payload as the setting's value, signed by the current key; palloc'd. */
extern char *context_sign(ContextKind kind, json_t *payload);

/*
 * What is wrong with a value's form or signature; or null, a new reference to its
 * payload, and which key of the key file signed it (0: the current one).
 */
extern const char *context_open(ContextKind kind, const char *value, GucSource source, int *key,
								json_t **payload);

/* The same of a session's own that was found right before: a new reference, or null. */
extern json_t *context_payload(const char *value);

/*
 * The payload as a struct, compat_guc_malloc'd; null where there is no memory.
 * *known is false where the payload lacks what a context has.
 */
extern TenantContext *context_read(json_t *payload, bool *known);

#endif							/* SALES_TENANCY_CONTEXT_SIGN_H */
