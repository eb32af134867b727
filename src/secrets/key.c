/*
 * key.c
 *		The master key: a file outside the database, and the keys derived from it.
 *
 * The file (sales_assistant.key_file) holds 64 hexadecimal digits.  It is made
 * on first need with mode 0600 and is in no dump: whoever holds a dump alone
 * can neither read a secret nor sign a tenant context.  Each use has its own
 * key, derived with HMAC-SHA256 from the master and the name of the use, so a
 * leaked derived key opens nothing else.
 *
 * The file is read again when its inode, size or time changes, so that a key
 * put in place after a restore is taken up without a restart.
 */
#include "postgres.h"

#include <errno.h>
#include <fcntl.h>
#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog.h"
#include "core/guc.h"
#include "miscadmin.h"
#include "port.h"
#include "secrets/key.h"

#define KEY_FILE_SIZE (2 * KEY_SIZE)	/* without the newline */

static unsigned char master_key[KEY_SIZE];
static struct stat master_stat;
static bool master_loaded = false;
static char key_message[MAXPGPATH + 256];

static const char *
key_complain(const char *what)
{
	snprintf(key_message, sizeof(key_message), "%s key file \"%s\": %s", what,
			 guc_key_file, strerror(errno));
	return key_message;
}

static bool
hex_decode_key(const char *hex, unsigned char *out)
{
	for (int i = 0; i < KEY_FILE_SIZE; i++)
	{
		char		c = hex[i];
		int			v = (c >= '0' && c <= '9') ? c - '0'
			: (c >= 'a' && c <= 'f') ? c - 'a' + 10
			: (c >= 'A' && c <= 'F') ? c - 'A' + 10
			: -1;

		if (v < 0)
			return false;
		out[i / 2] = (i % 2 == 0) ? v << 4 : out[i / 2] | v;
	}
	return true;
}

/*
 * Makes the file under a temporary name and links it into place, so that two
 * backends in need of a first key agree on one and a crash leaves none half
 * written.
 */
static const char *
key_create(void)
{
	unsigned char key[KEY_SIZE];
	char		text[KEY_FILE_SIZE + 2];
	char		temp[MAXPGPATH];
	int			fd;

	if (RecoveryInProgress())
		return "the key file is missing on this standby; copy it from the primary";
	if (!pg_strong_random(key, KEY_SIZE))
		return "could not generate a random key";
	for (int i = 0; i < KEY_SIZE; i++)
		snprintf(text + 2 * i, 3, "%02x", key[i]);
	OPENSSL_cleanse(key, KEY_SIZE);
	text[KEY_FILE_SIZE] = '\n';

	snprintf(temp, sizeof(temp), "%s.%d.tmp", guc_key_file, MyProcPid);
	fd = open(temp, O_WRONLY | O_CREAT | O_EXCL, 0600);
	if (fd < 0)
		return key_complain("could not create");
	if (write(fd, text, KEY_FILE_SIZE + 1) != KEY_FILE_SIZE + 1 || fsync(fd) != 0)
	{
		const char *message = key_complain("could not write");

		close(fd);
		unlink(temp);
		return message;
	}
	close(fd);
	OPENSSL_cleanse(text, sizeof(text));
	if (link(temp, guc_key_file) != 0 && errno != EEXIST)
	{
		const char *message = key_complain("could not link");

		unlink(temp);
		return message;
	}
	unlink(temp);
	return NULL;
}

static const char *
key_load(void)
{
	struct stat st;
	char		text[KEY_FILE_SIZE];
	int			fd;
	ssize_t		got;

	if (stat(guc_key_file, &st) != 0)
	{
		const char *message;

		if (errno != ENOENT)
			return key_complain("could not stat");
		message = key_create();
		if (message != NULL)
			return message;
		if (stat(guc_key_file, &st) != 0)
			return key_complain("could not stat");
	}
	if (master_loaded && st.st_ino == master_stat.st_ino &&
		st.st_dev == master_stat.st_dev && st.st_size == master_stat.st_size &&
		st.st_mtim.tv_sec == master_stat.st_mtim.tv_sec &&
		st.st_mtim.tv_nsec == master_stat.st_mtim.tv_nsec)
		return NULL;

	if (st.st_mode & (S_IRWXG | S_IRWXO))
	{
		snprintf(key_message, sizeof(key_message),
				 "key file \"%s\" is open to others; its mode must be 0600", guc_key_file);
		return key_message;
	}
	fd = open(guc_key_file, O_RDONLY);
	if (fd < 0)
		return key_complain("could not open");
	got = read(fd, text, KEY_FILE_SIZE);
	close(fd);
	if (got != KEY_FILE_SIZE || !hex_decode_key(text, master_key))
	{
		OPENSSL_cleanse(text, sizeof(text));
		snprintf(key_message, sizeof(key_message),
				 "key file \"%s\" does not hold %d hexadecimal digits", guc_key_file,
				 KEY_FILE_SIZE);
		return key_message;
	}
	OPENSSL_cleanse(text, sizeof(text));
	master_stat = st;
	master_loaded = true;
	return NULL;
}

const char *
key_derive(const char *purpose, unsigned char out[KEY_SIZE])
{
	const char *message = key_load();
	unsigned int len = KEY_SIZE;

	if (message != NULL)
		return message;
	if (HMAC(EVP_sha256(), master_key, KEY_SIZE, (const unsigned char *) purpose,
			 strlen(purpose), out, &len) == NULL)
		return "could not derive a key";
	return NULL;
}

void
key_derive_or_fail(const char *purpose, unsigned char out[KEY_SIZE])
{
	const char *message = key_derive(purpose, out);

	if (message != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_CONFIG_FILE_ERROR),
				 errmsg("could not use the master key"), errdetail_internal("%s", message),
				 errhint("See the setting sales_assistant.key_file.")));
}
