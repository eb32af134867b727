#ifndef SALES_TENANCY_CONTEXT_SIGN_H
#define SALES_TENANCY_CONTEXT_SIGN_H

#include "core/json.h"

/* The payload as the setting's value, signed by the current key; palloc'd. */
extern char *context_sign(json_t *payload);

/* The name that this session logged in with; SET ROLE does not change it. */
extern const char *context_login_role(void);

#endif							/* SALES_TENANCY_CONTEXT_SIGN_H */
