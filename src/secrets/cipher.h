#ifndef SALES_SECRETS_CIPHER_H
#define SALES_SECRETS_CIPHER_H

/*
 * Encrypts text with AES-256-GCM, bound to `owner` (company, table and row):
 * moved to another row it does not open.  Returns "sa1:" and base64, palloc'd.
 */
extern char *cipher_seal(const char *plain, const char *owner);

/* Opens what cipher_seal() made; palloc'd.  Throws where it does not open. */
extern char *cipher_open(const char *sealed, const char *owner);

/* Is it of the form that cipher_seal() makes? */
extern bool cipher_is_sealed(const char *text);

/* Overwrites and frees a secret. */
extern void cipher_wipe(char *secret);

#endif							/* SALES_SECRETS_CIPHER_H */
