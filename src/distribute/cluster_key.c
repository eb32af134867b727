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

#include <unistd.h>

#include "core/guc.h"
#include "distribute/cluster_key.h"
#include "miscadmin.h"

static KeyFile keys;

static void
file_name(char path[MAXPGPATH])
{
	snprintf(path, MAXPGPATH, "%s.cluster.%u", guc_key_file, MyDatabaseId);
}

const char *
distribute_keys(const KeyRing **out)
{
	char		path[MAXPGPATH];
	const char *message;

	*out = &keys.ring;
	if (!OidIsValid(MyDatabaseId))
		return "keys of a cluster belong to a database";
	file_name(path);
	message = key_file_load(&keys, path);
	if (message != NULL && access(path, F_OK) != 0 && errno == ENOENT)
		return "This node has no keys of the cluster; sales.distribute() on the coordinator sends them.";
	return message;
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
