#ifndef SALES_TENANCY_TOKEN_H
#define SALES_TENANCY_TOKEN_H

#include "utils/uuid.h"

/* What a session token of login() says. */
typedef struct Token
{
	pg_uuid_t	session_id;
	pg_uuid_t	company_id;
	pg_uuid_t	user_id;
	pg_time_t	expires_at;
} Token;

/* A signed JWT (HS256) of the token; palloc'd. */
extern char *token_sign(const Token *token);

/* Checks signature, algorithm and form (not the expiry); false if not ours. */
extern bool token_verify(const char *jwt, Token *token);

#endif							/* SALES_TENANCY_TOKEN_H */
