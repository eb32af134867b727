/*
 * key.c
 *		The master key, and the keys derived from it.
 *
 * The key is in a file outside the database (key_file.c), in no dump: whoever
 * holds a dump alone can neither read a secret nor sign a tenant context.  Each
 * use has its own key, derived with HMAC-SHA256 from the master and the name of
 * the use, so a leaked derived key opens nothing else.
 *
 * The file is looked at on each use and read again when its inode, size or time
 * has changed.  So every process takes up a key that was put in place after a
 * restore, or by sales.rotate_master_key(), at its next use of one.
 */
#include "postgres.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <unistd.h>

#include "core/guc.h"
#include "secrets/key.h"

#define NAME_PURPOSE "key name v1"

static KeyFile key_file;

static const char *
key_load(void)
{
	if (!key_file.is_loaded && access(guc_key_file, F_OK) != 0 && errno == ENOENT)
	{
		const char *message = key_file_create();

		if (message != NULL)
			return message;
	}
	return key_file_load(&key_file, guc_key_file);
}

bool
key_derive_of(const unsigned char master[KEY_SIZE], const char *purpose,
			  unsigned char out[KEY_SIZE])
{
	unsigned int len = KEY_SIZE;

	return HMAC(EVP_sha256(), master, KEY_SIZE, (const unsigned char *) purpose, strlen(purpose),
				out, &len) != NULL;
}

const char *
key_derive_nth(int n, const char *purpose, unsigned char out[KEY_SIZE])
{
	const char *message = key_load();

	if (message != NULL)
		return message;
	if (n >= key_file.ring.n)
		return "the key file does not hold so many keys";
	return key_derive_of(key_file.ring.keys[n], purpose, out) ? NULL : "could not derive a key";
}

const char *
key_derive(const char *purpose, unsigned char out[KEY_SIZE])
{
	return key_derive_nth(0, purpose, out);
}

static void
fail(const char *message)
{
	ereport(ERROR,
			(errcode(ERRCODE_CONFIG_FILE_ERROR),
			 errmsg("could not use the master key"), errdetail_internal("%s", message),
			 errhint("See the setting sales_assistant.key_file.")));
}

void
key_derive_or_fail(const char *purpose, unsigned char out[KEY_SIZE])
{
	const char *message = key_derive(purpose, out);

	if (message != NULL)
		fail(message);
}

const KeyRing *
key_ring_or_fail(void)
{
	const char *message = key_load();

	if (message != NULL)
		fail(message);
	return &key_file.ring;
}

void
key_name(const unsigned char key[KEY_SIZE], char name[KEY_NAME_SIZE])
{
	unsigned char out[KEY_SIZE];

	if (!key_derive_of(key, NAME_PURPOSE, out))
		elog(ERROR, "could not derive the name of a key");
	for (int i = 0; i < KEY_NAME_SIZE / 2; i++)
		snprintf(name + 2 * i, 3, "%02x", out[i]);
}
