/*
 * key_share.c
 *		One master key for all nodes of a cluster.
 *
 * A node must read contexts and digests that another has signed, so all have
 * the coordinator's key.  sales.distribute() sends it to workers that have
 * another one, over the connections of Citus, which speak TLS unless told
 * otherwise; the statement is not logged.  What was in the worker's file is
 * kept beside it.  A DBA who does not want the key to travel copies the file
 * first; then there is nothing to send.
 */
#include "postgres.h"

#include <fcntl.h>
#include <openssl/crypto.h>
#include <sys/stat.h>
#include <unistd.h>

#include "common/string.h"
#include "core/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "secrets/key.h"
#include "storage/fd.h"
#include "utils/builtins.h"
#include "utils/guc.h"

#define FINGERPRINT_PURPOSE "fingerprint of the master key v1"
#define FINGERPRINT_SIZE 8
#define KEY_DIGITS (2 * KEY_SIZE)

PG_FUNCTION_INFO_V1(sales_key_fingerprint);
PG_FUNCTION_INFO_V1(sales_share_key);
PG_FUNCTION_INFO_V1(sales_take_key);

static const char *
key_file(void)
{
	return GetConfigOption("sales_assistant.key_file", false, false);
}

/* sales_internal.key_fingerprint(): tells keys apart and nothing else. */
Datum
sales_key_fingerprint(PG_FUNCTION_ARGS)
{
	unsigned char derived[KEY_SIZE];
	char		text[2 * FINGERPRINT_SIZE + 1];

	key_derive_or_fail(FINGERPRINT_PURPOSE, derived);
	for (int i = 0; i < FINGERPRINT_SIZE; i++)
		snprintf(text + 2 * i, 3, "%02x", derived[i]);
	OPENSSL_cleanse(derived, sizeof(derived));
	PG_RETURN_TEXT_P(cstring_to_text(text));
}

static void
require_superuser(void)
{
	if (!superuser())
		ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
						errmsg("only superusers handle the master key")));
}

/* sales_internal.share_key(): to the workers whose key is another; how many took it. */
Datum
sales_share_key(PG_FUNCTION_ARGS)
{
	char		digits[KEY_DIGITS + 1] = "";
	char	   *command;
	int			fd;
	int			got;
	uint64		taken;

	require_superuser();
	/* makes the file where there is none yet */
	(void) DirectFunctionCall1(sales_key_fingerprint, (Datum) 0);
	fd = OpenTransientFile(key_file(), O_RDONLY | PG_BINARY);
	if (fd < 0)
		ereport(ERROR, (errcode_for_file_access(),
						errmsg("could not open key file \"%s\": %m", key_file())));
	got = read(fd, digits, KEY_DIGITS);
	CloseTransientFile(fd);
	if (got != KEY_DIGITS || strspn(digits, "0123456789abcdefABCDEF") != KEY_DIGITS)
		elog(ERROR, "the key file does not hold a key");

	command = psprintf("SET LOCAL log_statement = 'none'; SET LOCAL log_min_duration_statement = -1; "
					   "SET LOCAL log_min_error_statement = 'panic'; "
					   "SELECT sales_internal.take_key('%s')", digits);
	SPI_connect();
	{
		SpiArg		args[1] = {SPI_ARG_TEXT(command)};

		taken = spi_run("SELECT 1 FROM pg_catalog.run_command_on_workers($1) r "
						"WHERE r.success AND r.result = 'taken'", false, 0, 1, args);
	}
	SPI_finish();
	OPENSSL_cleanse(command, strlen(command));
	OPENSSL_cleanse(digits, sizeof(digits));
	PG_RETURN_INT32((int32) taken);
}

/* sales_internal.take_key(digits): 'taken', or 'same' where it is this node's already. */
Datum
sales_take_key(PG_FUNCTION_ARGS)
{
	char	   *digits = text_to_cstring(PG_GETARG_TEXT_PP(0));
	char		temp[MAXPGPATH];
	char		kept[MAXPGPATH];
	char		old[KEY_DIGITS + 1] = "";
	int			fd;

	require_superuser();
	if (strlen(digits) != KEY_DIGITS || strspn(digits, "0123456789abcdefABCDEF") != KEY_DIGITS)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("this is no master key")));
	fd = OpenTransientFile(key_file(), O_RDONLY | PG_BINARY);
	if (fd >= 0)
	{
		bool		same = read(fd, old, KEY_DIGITS) == KEY_DIGITS && pg_strcasecmp(old, digits) == 0;

		CloseTransientFile(fd);
		OPENSSL_cleanse(old, sizeof(old));
		if (same)
			PG_RETURN_TEXT_P(cstring_to_text("same"));
		snprintf(kept, sizeof(kept), "%s.replaced", key_file());
		if (link(key_file(), kept) != 0)
			ereport(ERROR, (errcode_for_file_access(),
							errmsg("could not keep the former key as \"%s\": %m", kept)));
	}
	snprintf(temp, sizeof(temp), "%s.%d.tmp", key_file(), MyProcPid);
	fd = OpenTransientFilePerm(temp, O_WRONLY | O_CREAT | O_EXCL | PG_BINARY, 0600);
	if (fd < 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not create \"%s\": %m", temp)));
	if (write(fd, digits, KEY_DIGITS) != KEY_DIGITS || write(fd, "\n", 1) != 1 || pg_fsync(fd) != 0)
		ereport(ERROR, (errcode_for_file_access(), errmsg("could not write \"%s\": %m", temp)));
	CloseTransientFile(fd);
	OPENSSL_cleanse(digits, KEY_DIGITS);
	if (durable_rename(temp, key_file(), ERROR) != 0)
		elog(ERROR, "could not put the key into place");
	PG_RETURN_TEXT_P(cstring_to_text("taken"));
}
