#ifndef SALES_SECRETS_CIPHER_H
#define SALES_SECRETS_CIPHER_H

/*
 * Encrypts text with AES-256-GCM, bound to `owner` (company, table and row):
 * moved to another row it does not open.  Returns "sa2:KEY:" and base64, palloc'd.
 */
extern char *cipher_seal(const char *plain, const char *owner);

/* Opens what cipher_seal() made; palloc'd.  Throws where it does not open. */
extern char *cipher_open(const char *sealed, const char *owner);

/*
 * The same, null where no key of the key file opens it.  *by_current (may be null)
 * tells whether it is sealed under the current key already.
 */
extern char *cipher_try_open(const char *sealed, const char *owner, bool *by_current);

/* Is it of a form that cipher_seal() makes or has made? */
extern bool cipher_is_sealed(const char *text);

/* Overwrites and frees a secret. */
extern void cipher_wipe(char *secret);

#endif							/* SALES_SECRETS_CIPHER_H */
