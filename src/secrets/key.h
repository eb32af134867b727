#ifndef SALES_SECRETS_KEY_H
#define SALES_SECRETS_KEY_H

#define KEY_SIZE 32				/* bytes of the master key and of derived keys */

/*
 * Derives the key for one purpose from the master key: HMAC-SHA256(master,
 * purpose).  Reads the key file on first use; makes it where there is none.
 * Returns null when all is well, else a message (static or malloc'd once) that
 * says what is wrong.  Never throws: check hooks call it.
 */
extern const char *key_derive(const char *purpose, unsigned char out[KEY_SIZE]);

/* The same, throwing with a hint on failure. */
extern void key_derive_or_fail(const char *purpose, unsigned char out[KEY_SIZE]);

#endif							/* SALES_SECRETS_KEY_H */
