#ifndef SALES_TENANCY_ISSUER_H
#define SALES_TENANCY_ISSUER_H

/*
 * The payload of a token (JSON text, palloc'd) without any check; null where it
 * is no token at all.  Only to find out who claims to have issued it.
 */
extern char *issuer_peek(const char *token);

/*
 * Checks a token's signature against a JSON Web Key Set: RS256, ES256 or EdDSA,
 * as the key says, never as the token alone says.  Null if it is good, else what
 * is wrong (static).
 */
extern const char *issuer_verify(const char *token, const char *jwks);

/* Null if the set can be used, else what is wrong with it (static). */
extern const char *issuer_check_keys(const char *jwks);

#endif							/* SALES_TENANCY_ISSUER_H */
