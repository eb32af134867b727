/*
 * cluster_key.c
 *		Keys that the nodes of a cluster share, in a file of each node.
 *
 * A node must judge contexts that the coordinator has signed, and its triggers
 * make digests of audit rows that the coordinator verifies.  The master key is
 * not needed for that, and stays on the coordinator: secrets are sealed and
 * opened there alone.  What nodes have is a random key that signs contexts on
 * their way between nodes and nothing else, and the audit keys, which are
 * derived from the master.  They lie beside the master key's file, in one for
 * each database: sales_assistant.key.cluster.OID, of the same form and mode.
 *
 * sales.distribute() makes the first and sends all of them (key_exchange.c).
 * Where the coordinator has lost its file, it makes another and sends that:
 * nothing but contexts on their way was signed with it.
 */
#include "postgres.h"

#include <openssl/crypto.h>
#include <sys/stat.h>

#include "core/guc.h"
#include "distribute/cluster_key.h"
#include "miscadmin.h"

static KeyRing ring;
static struct stat ring_stat;
static bool ring_loaded = false;

static void
file_name(char path[MAXPGPATH])
{
	snprintf(path, MAXPGPATH, "%s.cluster.%u", guc_key_file, MyDatabaseId);
}

static bool
is_unchanged(const struct stat *st)
{
	return ring_loaded && st->st_ino == ring_stat.st_ino && st->st_dev == ring_stat.st_dev &&
		st->st_size == ring_stat.st_size && st->st_mtim.tv_sec == ring_stat.st_mtim.tv_sec &&
		st->st_mtim.tv_nsec == ring_stat.st_mtim.tv_nsec;
}

const char *
distribute_keys(const KeyRing **out)
{
	char		path[MAXPGPATH];
	struct stat st;
	KeyRing		fresh;
	const char *message;

	*out = &ring;
	if (!OidIsValid(MyDatabaseId))
		return "keys of a cluster belong to a database";
	file_name(path);
	if (stat(path, &st) != 0 && errno == ENOENT)
		return "This node has no keys of the cluster; sales.distribute() on the coordinator sends them.";
	if (is_unchanged(&st))
		return NULL;
	message = key_file_read(path, &fresh, &st);
	if (message != NULL)
		return message;
	ring = fresh;
	ring_stat = st;
	ring_loaded = true;
	OPENSSL_cleanse(&fresh, sizeof(fresh));
	return NULL;
}

void
distribute_keys_replace(const KeyRing *fresh)
{
	char		path[MAXPGPATH];
	const char *message;

	file_name(path);
	message = key_file_write(path, fresh);
	if (message != NULL)
		ereport(ERROR, (errcode(ERRCODE_CONFIG_FILE_ERROR),
						errmsg("could not keep the keys of the cluster"), errdetail_internal("%s", message),
						errhint("The server's user must be able to write beside sales_assistant.key_file.")));
}
