#ifndef SALES_SECRETS_KEY_H
#define SALES_SECRETS_KEY_H

#include <sys/stat.h>

#define KEY_SIZE 32				/* bytes of the master key and of derived keys */
#define KEY_NAME_SIZE 9			/* 8 hexadecimal digits and the end */
#define KEY_RING_SIZE 16		/* most keys in a file */

/* The keys of a file: the current one, then former ones that are still read. */
typedef struct KeyRing
{
	int			n;
	unsigned char keys[KEY_RING_SIZE][KEY_SIZE];
} KeyRing;

/*
 * Derives the key for one purpose from the current master key:
 * HMAC-SHA256(master, purpose).  Reads the key file on first use and when it has
 * changed; makes it where there is none.  Returns null when all is well, else a
 * message (static) that says what is wrong.  Never throws: check hooks call it.
 */
extern const char *key_derive(const char *purpose, unsigned char out[KEY_SIZE]);

/* The same of the n-th key of the file, 0 being the current one. */
extern const char *key_derive_nth(int n, const char *purpose, unsigned char out[KEY_SIZE]);

/* The same of the current key, throwing with a hint on failure. */
extern void key_derive_or_fail(const char *purpose, unsigned char out[KEY_SIZE]);

/* The keys of now; throws where there are none.  Valid until the next call of this module. */
extern const KeyRing *key_ring_or_fail(void);

/* Derives the key for one purpose from that master key; false on failure. */
extern bool key_derive_of(const unsigned char master[KEY_SIZE], const char *purpose,
						  unsigned char out[KEY_SIZE]);

/* The name of a master key, which tells nothing of it: 8 hexadecimal digits. */
extern void key_name(const unsigned char key[KEY_SIZE], char name[KEY_NAME_SIZE]);

/* Reads the keys of a file; null, or what is wrong with it (static). */
extern const char *key_file_read(const char *path, KeyRing *ring, struct stat *st);

/* What a process keeps of a file of keys. */
typedef struct KeyFile
{
	bool		is_loaded;
	KeyRing		ring;
	struct stat stat;			/* of the file that it was read from */
} KeyFile;

/* The same for one that is kept, which is read again where its inode, size or time has changed. */
extern const char *key_file_load(KeyFile *file, const char *path);

/*
 * Puts these keys into the key file, in one step that a crash either undoes or
 * keeps; null, or why that is not possible (static): then the file is as it was.
 */
extern const char *key_file_replace(const KeyRing *ring);

/* The same for another file of this form, which need not be there. */
extern const char *key_file_write(const char *path, const KeyRing *ring);

/* Makes the key file with a random key; null, or what is wrong. */
extern const char *key_file_create(void);

#endif							/* SALES_SECRETS_KEY_H */
