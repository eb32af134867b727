/*
 * key_file.c
 *		The file of the master key: sales_assistant.key_file.
 *
 * It holds one key a line, 64 hexadecimal digits each: the current key first,
 * then former ones.  There are former ones while sales.rotate_master_key() seals
 * what they sealed anew, or where a DBA has added one to read an older dump.
 * One file for all of them means that one rename changes the key: whenever a
 * crash comes, the file has either the old keys or the new ones, and never lacks
 * a key that something is still sealed under.
 *
 * Nothing here throws, as check hooks read the file too.
 */
#include "postgres.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include "access/xlog.h"
#include "core/guc.h"
#include "miscadmin.h"
#include "port.h"
#include "secrets/key.h"
#include "storage/fd.h"

#define KEY_DIGITS (2 * KEY_SIZE)
#define MAX_FILE_SIZE 4096

static char message_text[MAXPGPATH + 256];

/* "<what> key file "...": <the system's error>" */
static const char *
complain(const char *what, const char *path)
{
	snprintf(message_text, sizeof(message_text), "%s key file \"%s\": %s", what, path,
			 strerror(errno));
	return message_text;
}

static const char *
complain_of_content(const char *path, const char *what)
{
	snprintf(message_text, sizeof(message_text), "key file \"%s\" %s", path, what);
	return message_text;
}

/* --- reading --- */

/* Of a hexadecimal digit. */
static unsigned
digit_value(char c)
{
	return c <= '9' ? c - '0' : pg_ascii_tolower(c) - 'a' + 10;
}

/* Nobody's random key has 32 equal bytes. */
static bool
looks_random(const unsigned char key[KEY_SIZE])
{
	for (int i = 1; i < KEY_SIZE; i++)
		if (key[i] != key[0])
			return true;
	return false;
}

static const char *
parse_keys(const char *text, const char *path, KeyRing *ring)
{
	ring->n = 0;
	for (const char *at = text + strspn(text, " \t\r\n"); *at != '\0'; at += strspn(at, " \t\r\n"))
	{
		size_t		digits = strspn(at, "0123456789abcdefABCDEF");
		unsigned char *key;

		if (ring->n == KEY_RING_SIZE)
			return complain_of_content(path, "holds too many keys");
		key = ring->keys[ring->n];
		if (digits != KEY_DIGITS || strchr(" \t\r\n", at[digits]) == NULL)
			return complain_of_content(path, "does not hold 64 hexadecimal digits");
		for (int i = 0; i < KEY_SIZE; i++)
			key[i] = digit_value(at[2 * i]) << 4 | digit_value(at[2 * i + 1]);
		if (!looks_random(key))
			return complain_of_content(path, "holds a key that is not random");
		ring->n++;
		at += digits;
	}
	return ring->n > 0 ? NULL : complain_of_content(path, "does not hold 64 hexadecimal digits");
}

const char *
key_file_read(const char *path, KeyRing *ring, struct stat *st)
{
	char		text[MAX_FILE_SIZE + 1];
	const char *message = NULL;
	ssize_t		got = 0;
	int			fd = open(path, O_RDONLY | O_NONBLOCK | O_CLOEXEC);

	if (fd < 0)
		return complain("could not open", path);
	if (fstat(fd, st) != 0)
		message = complain("could not stat", path);
	else if (!S_ISREG(st->st_mode))
		message = complain_of_content(path, "is not a regular file");
	else if (st->st_mode & (S_IRWXG | S_IRWXO))
		message = complain_of_content(path, "is open to others; its mode must be 0600");
	else if (st->st_size > MAX_FILE_SIZE)
		message = complain_of_content(path, "is too long to hold keys");
	else if ((got = read(fd, text, MAX_FILE_SIZE)) < 0)
		message = complain("could not read", path);
	close(fd);
	if (message == NULL)
	{
		text[got] = '\0';
		message = parse_keys(text, path, ring);
	}
	OPENSSL_cleanse(text, sizeof(text));
	if (message != NULL)
		OPENSSL_cleanse(ring, sizeof(*ring));
	return message;
}

static bool
is_unchanged(const KeyFile *file, const struct stat *st)
{
	return file->is_loaded && st->st_ino == file->stat.st_ino && st->st_dev == file->stat.st_dev &&
		st->st_size == file->stat.st_size && st->st_mtim.tv_sec == file->stat.st_mtim.tv_sec &&
		st->st_mtim.tv_nsec == file->stat.st_mtim.tv_nsec;
}

const char *
key_file_load(KeyFile *file, const char *path)
{
	struct stat st;
	KeyRing		fresh;
	const char *message;

	if (stat(path, &st) == 0 && is_unchanged(file, &st))
		return NULL;
	message = key_file_read(path, &fresh, &st);
	if (message != NULL)
		return message;
	file->ring = fresh;
	file->stat = st;
	file->is_loaded = true;
	OPENSSL_cleanse(&fresh, sizeof(fresh));
	return NULL;
}

/* --- writing --- */

/* Writes a new file that only the server's user can read, down to the disk. */
static const char *
write_file(const char *path, const KeyRing *ring)
{
	char		text[KEY_RING_SIZE * (KEY_DIGITS + 1) + 1];
	char	   *end = text;
	const char *message = NULL;
	int			fd;

	for (int k = 0; k < ring->n; k++)
	{
		for (int i = 0; i < KEY_SIZE; i++, end += 2)
			snprintf(end, 3, "%02x", ring->keys[k][i]);
		*end++ = '\n';
	}
	/* one that a crash has left over */
	(void) unlink(path);
	fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	if (fd < 0)
		message = complain("could not create", path);
	else
	{
		errno = 0;
		if (write(fd, text, end - text) != end - text || pg_fsync(fd) != 0)
		{
			/* a short write with no error is a full disk */
			if (errno == 0)
				errno = ENOSPC;
			message = complain("could not write", path);
		}
		if (close(fd) != 0 && message == NULL)
			message = complain("could not write", path);
		if (message != NULL)
			(void) unlink(path);
	}
	OPENSSL_cleanse(text, sizeof(text));
	return message;
}

/*
 * A first key goes under a temporary name and is linked into place, so that two
 * backends in need of it agree on one and a crash leaves none half written.
 */
const char *
key_file_create(void)
{
	KeyRing		ring = {.n = 1};
	char		temp[MAXPGPATH];
	const char *message;

	if (RecoveryInProgress())
		return "the key file is missing on this standby; copy it from the primary";
	if (!pg_strong_random(ring.keys[0], KEY_SIZE))
		return "could not generate a random key";
	snprintf(temp, sizeof(temp), "%s.%d.tmp", guc_key_file, MyProcPid);
	message = write_file(temp, &ring);
	OPENSSL_cleanse(&ring, sizeof(ring));
	if (message != NULL)
		return message;
	if (link(temp, guc_key_file) != 0 && errno != EEXIST)
		message = complain("could not link", guc_key_file);
	(void) unlink(temp);
	return message;
}

const char *
key_file_replace(const KeyRing *ring)
{
	char		path[PATH_MAX];

	/* The file itself is replaced, not a link that leads to it. */
	if (realpath(guc_key_file, path) == NULL)
		return complain("could not find", guc_key_file);
	return key_file_write(path, ring);
}

const char *
key_file_write(const char *path, const KeyRing *ring)
{
	char		temp[PATH_MAX + 4];
	const char *message;

	snprintf(temp, sizeof(temp), "%s.tmp", path);
	message = write_file(temp, ring);
	if (message == NULL && durable_rename(temp, path, LOG) != 0)
	{
		message = complain("could not replace", path);
		(void) unlink(temp);
	}
	return message;
}
