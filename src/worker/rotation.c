/*
 * rotation.c
 *		sales.rotate_master_key(): another master key, while everybody works on.
 *
 * The key file belongs to the cluster and holds former keys beside the current
 * one (secrets/key_file.c), so a rotation has three steps:
 *
 * 1. One rename makes the new key the current one and keeps the old one as a
 *	  former one.  From that instant every process seals and signs with the new
 *	  key and still opens what the old one sealed.  Tokens and contexts signed
 *	  under the old one are worthless, but for those stored for bound roles.
 * 2. In each database a process of its own seals every secret anew, in batches
 *	  with a transaction each, keeps the old audit key, and signs the contexts of
 *	  bound roles.  It first waits for transactions that may have sealed something
 *	  under the old key and have not committed yet; nobody waits for it longer
 *	  than for one batch.
 * 3. Another rename leaves the old key out.
 *
 * A crash or an error at any point leaves a key file with all keys that are in
 * use, and the same call goes on from there.  Nothing of this is undone when the
 * calling transaction rolls back.
 */
#include "postgres.h"

#include <openssl/crypto.h>
#include <sys/stat.h>

#include "access/genam.h"
#include "access/heapam.h"
#include "access/table.h"
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_database.h"
#include "catalog/namespace.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "core/progress.h"
#include "core/spi.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "secrets/key.h"
#include "storage/dsm.h"
#include "storage/ipc.h"
#include "storage/lmgr.h"
#include "tenancy/revocation.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/relcache.h"
#include "worker/helpers.h"
#include "worker/rotation.h"
#include "worker/steps.h"

#define ROTATION_LOCK 0x5341	/* of our own among locks on no role in particular */
#define PROCESS_NAME "sales_assistant key rotation"

/* Tables with secrets, whose writers are waited for. */
static const char *const sealed_tables[][2] = {
	{"sales", "api_keys"}, {"sales", "system_settings"}, {"sales_internal", "audit_keys"}
};

/* What a database's process reports, in shared memory. */
typedef struct RotationReport
{
	bool		done;
	int64		resealed;
	char		problem[1024];	/* why it is not done */
	char		warning[1024];	/* what it met on its way */
} RotationReport;

/* --- in each database --- */

/* Waits for transactions that write, or have written, secrets. */
static void
step_wait_for_writers(void *arg)
{
	for (int i = 0; i < (int) lengthof(sealed_tables); i++)
	{
		Oid			table = get_relname_relid(sealed_tables[i][1],
											  get_namespace_oid(sealed_tables[i][0], false));
		LOCKTAG		tag;

		if (!OidIsValid(table))
			elog(ERROR, "there is no table %s.%s", sealed_tables[i][0], sealed_tables[i][1]);
		SET_LOCKTAG_RELATION(tag, MyDatabaseId, table);
		WaitForLockers(tag, ShareLock, false);
	}
}

typedef struct Batch
{
	char	   *after;			/* last row of the batch before; null at first */
	int64		resealed;
	char	   *stuck;			/* rows that no key opens */
	bool		more;
} Batch;

static void
step_reseal(void *arg)
{
	Batch	   *batch = arg;
	SpiArg		args[1] = {SPI_ARG_TEXT(batch->after)};
	bool		isnull;

	spi_run("SELECT last, resealed, array_to_string(stuck, ', ') FROM sales_internal.reseal_batch($1)",
			false, 1, 1, args);
	batch->more = spi_text(0, 1) != NULL;
	batch->after = batch->more ? MemoryContextStrdup(worker_memory, spi_text(0, 1)) : NULL;
	batch->resealed += DatumGetInt64(spi_datum(0, 2, &isnull));
	if (spi_text(0, 3) != NULL && spi_text(0, 3)[0] != '\0')
	{
		MemoryContext old = MemoryContextSwitchTo(worker_memory);

		batch->stuck = batch->stuck ? psprintf("%s, %s", batch->stuck, spi_text(0, 3))
			: pstrdup(spi_text(0, 3));
		MemoryContextSwitchTo(old);
	}
}

/* Role names whose context could not be signed afresh come back in *arg. */
static void
step_sign_anew(void *arg)
{
	char	  **failed = arg;

	spi_run("SELECT nullif(array_to_string(sales_internal.sign_anew(), ', '), '')", false, 1, 0, NULL);
	if (spi_text(0, 1) != NULL)
		*failed = MemoryContextStrdup(worker_memory, spi_text(0, 1));
}

/* Those too that opened before the fresh contexts were committed. */
static void
step_end_bound_sessions(void *arg)
{
	spi_run("SELECT pg_catalog.pg_terminate_backend(a.pid) FROM pg_catalog.pg_stat_activity a "
			"JOIN sales_internal.bound_roles b ON b.role_name = a.usename "
			"WHERE a.datname = pg_catalog.current_database()", false, 0, 0, NULL);
}

static void
step_is_installed(void *arg)
{
	*(bool *) arg = OidIsValid(get_extension_oid("sales_assistant", true));
}

/* Null when all is done, else why not. */
static char *
rotate_database(RotationReport *report)
{
	bool		installed = false;
	char	   *unsigned_roles = NULL;
	char	   *problem = worker_in_transaction(step_is_installed, &installed);
	Batch		batch = {0};

	if (problem != NULL || !installed)
		return problem;
	problem = worker_in_transaction(step_wait_for_writers, NULL);
	do
	{
		CHECK_FOR_INTERRUPTS();
		if (problem == NULL)
			problem = worker_in_transaction(step_reseal, &batch);
	} while (problem == NULL && batch.more);
	report->resealed = batch.resealed;
	if (problem == NULL)
		problem = worker_in_transaction(step_sign_anew, &unsigned_roles);
	if (problem == NULL)
		problem = worker_in_transaction(step_end_bound_sessions, NULL);
	if (problem == NULL && batch.stuck != NULL)
		snprintf(report->warning, sizeof(report->warning), "no key opens the secrets of %s", batch.stuck);
	else if (problem == NULL && unsigned_roles != NULL)
		snprintf(report->warning, sizeof(report->warning), "these roles could not be bound again: %s",
				 unsigned_roles);
	return problem;
}

static void
use_setting(const char *name, const char *value)
{
	SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
}

void
sales_rotation_main(Datum arg)
{
	dsm_handle	handle;
	dsm_segment *segment;
	RotationReport *report;
	char	   *problem;

	memcpy(&handle, MyBgworkerEntry->bgw_extra, sizeof(handle));
	worker_connect(DatumGetObjectId(arg), PROCESS_NAME, BGWORKER_BYPASS_ALLOWCONN);
	segment = dsm_attach(handle);
	if (segment == NULL)
		proc_exit(0);			/* who asked has given up */
	report = dsm_segment_address(segment);

	/* The rows stay what they are: no trigger, no audit row. */
	use_setting("session_replication_role", "replica");
	use_setting("default_transaction_isolation", "read committed");
	use_setting("default_transaction_read_only", "off");
	/* What is sealed anew is on disk before its old key goes. */
	use_setting("synchronous_commit", "on");
	problem = rotate_database(report);
	if (problem != NULL)
		strlcpy(report->problem, problem, sizeof(report->problem));
	report->done = problem == NULL;
	proc_exit(0);
}

/* --- who asks --- */

/* Databases that may have secrets: all but those that cannot be connected to. */
static List *
all_databases(void)
{
	Relation	rel = table_open(DatabaseRelationId, AccessShareLock);
	TableScanDesc scan = table_beginscan_catalog(rel, 0, NULL);
	List	   *databases = NIL;
	HeapTuple	tuple;

	while ((tuple = heap_getnext(scan, ForwardScanDirection)) != NULL)
	{
		Form_pg_database database = (Form_pg_database) GETSTRUCT(tuple);

		/* connlimit -2: a DROP DATABASE was cut off; template0 is never changed */
		if (database->datconnlimit != -2 && strcmp(NameStr(database->datname), "template0") != 0)
			databases = lappend_oid(databases, database->oid);
	}
	table_endscan(scan);
	table_close(rel, AccessShareLock);
	return databases;
}

/* Has one database done, and waits for it; its report, palloc'd. */
static RotationReport *
run_in_database(Oid database)
{
	RotationReport *copy = palloc0(sizeof(RotationReport));
	dsm_segment *segment = dsm_create(sizeof(RotationReport), 0);
	RotationReport *report = dsm_segment_address(segment);
	dsm_handle	handle = dsm_segment_handle(segment);
	BackgroundWorkerHandle *process = NULL;

	memset(report, 0, sizeof(RotationReport));
	if (!worker_register("sales_rotation_main", PROCESS_NAME, database, &handle, sizeof(handle),
						 &process))
		ereport(ERROR,
				(errcode(ERRCODE_INSUFFICIENT_RESOURCES),
				 errmsg("no process is free to seal the secrets anew"),
				 errdetail("The key file holds both keys, and nothing is lost."),
				 errhint("Raise max_worker_processes or wait, and call sales.rotate_master_key() again.")));
	PG_TRY();
	{
		if (WaitForBackgroundWorkerShutdown(process) == BGWH_POSTMASTER_DIED)
			ereport(FATAL, (errcode(ERRCODE_ADMIN_SHUTDOWN), errmsg("the server is going down")));
	}
	PG_CATCH();
	{
		TerminateBackgroundWorker(process);
		PG_RE_THROW();
	}
	PG_END_TRY();
	CHECK_FOR_INTERRUPTS();
	*copy = *report;
	dsm_detach(segment);
	return copy;
}

/* Every database in turn; the number of secrets that were sealed anew. */
static int64
run_in_databases(int *databases)
{
	ListCell   *cell;
	int64		resealed = 0;
	List	   *all = all_databases();
	StringInfoData problems;

	initStringInfo(&problems);
	*databases = 0;
	foreach(cell, all)
	{
		RotationReport *report;
		char	   *name;

		progress_note("rotate_master_key", NULL, "databases", foreach_current_index(cell), list_length(all));
		report = run_in_database(lfirst_oid(cell));
		name = get_database_name(lfirst_oid(cell));

		if (name == NULL)
			continue;			/* dropped meanwhile */
		if (!report->done)
			appendStringInfo(&problems, "%sdatabase \"%s\": %s", problems.len > 0 ? "; " : "", name,
							 report->problem[0] != '\0' ? report->problem : "its process was ended");
		if (report->warning[0] != '\0')
			ereport(WARNING,
					(errcode(ERRCODE_DATA_CORRUPTED),
					 errmsg("database \"%s\": %s", name, report->warning),
					 errhint("They could not be used before either: write the secrets again, call sales.bind_role() for the roles.")));
		resealed += report->resealed;
		*databases += report->resealed > 0;
	}
	progress_end("rotate_master_key");
	if (problems.len > 0)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the change of the master key is not complete"),
				 errdetail("%s.", problems.data),
				 errhint("The key file holds both keys, and nothing is lost.  Mend that and call sales.rotate_master_key() again.")));
	return resealed;
}

/* A process waits for what this transaction holds, and this one for the process. */
static void
refuse_if_it_would_wait_for_itself(void)
{
	for (int i = 0; i < (int) lengthof(sealed_tables); i++)
	{
		Oid			table = get_relname_relid(sealed_tables[i][1],
											  get_namespace_oid(sealed_tables[i][0], false));
		Relation	rel = OidIsValid(table) ? RelationIdGetRelation(table) : NULL;
		bool		written = rel != NULL && CheckRelationLockedByMe(rel, RowExclusiveLock, true);

		if (rel != NULL)
			RelationClose(rel);
		if (written)
			ereport(ERROR,
					(errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
					 errmsg("this transaction has written to %s.%s", sealed_tables[i][0],
							sealed_tables[i][1]),
					 errhint("Call sales.rotate_master_key() in a transaction of its own.")));
	}
}

static bool
ring_has(const KeyRing *ring, const unsigned char key[KEY_SIZE])
{
	for (int k = 0; k < ring->n; k++)
		if (CRYPTO_memcmp(ring->keys[k], key, KEY_SIZE) == 0)
			return true;
	return false;
}

/* Adds the keys that are not there yet. */
static void
ring_add(KeyRing *ring, const KeyRing *more)
{
	for (int k = 0; k < more->n; k++)
	{
		if (ring_has(ring, more->keys[k]))
			continue;
		if (ring->n == KEY_RING_SIZE)
			ereport(ERROR,
					(errcode(ERRCODE_PROGRAM_LIMIT_EXCEEDED),
					 errmsg("the key file would hold more than %d keys", KEY_RING_SIZE),
					 errhint("Finish the last change of the key first: call sales.rotate_master_key() with the file of the current key.")));
		memcpy(ring->keys[ring->n++], more->keys[k], KEY_SIZE);
	}
}

/* The key file as it is to be: the new key, then all that may still be in use. */
static void
plan_ring(const char *path, KeyRing *wanted)
{
	struct stat st;
	KeyRing		given;
	const KeyRing *ring;
	const char *message = key_file_read(path, &given, &st);

	if (message != NULL)
		ereport(ERROR,
				(errcode(ERRCODE_INVALID_PARAMETER_VALUE),
				 errmsg("the new key file cannot be used"), errdetail_internal("%s", message),
				 errhint("As the server's user: umask 077; openssl rand -hex 32 > FILE.  A relative path is taken from the data directory.")));
	*wanted = given;
	ring = key_ring_or_fail();
	ring_add(wanted, ring);
	if (wanted->n == 1)
		ereport(ERROR,
				(errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
				 errmsg("the master key of that file is the one in use"),
				 errdetail("Nothing is sealed under another key of the key file."),
				 errhint("Make another one: umask 077; openssl rand -hex 32 > FILE.")));
}

static bool
ring_equals(const KeyRing *a, const KeyRing *b)
{
	return a->n == b->n && CRYPTO_memcmp(a->keys, b->keys, a->n * KEY_SIZE) == 0;
}

PG_FUNCTION_INFO_V1(sales_rotate_master_key);

/* sales.rotate_master_key(new_key_file text) */
Datum
sales_rotate_master_key(PG_FUNCTION_ARGS)
{
	KeyRing		ring;
	char		name[KEY_NAME_SIZE];
	const char *message;
	int64		resealed;
	int			databases;

	if (PG_ARGISNULL(0))
		ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
						errmsg("new_key_file must not be null"),
						errhint("Name a file that the server's user alone can read.")));
	if (RecoveryInProgress())
		ereport(ERROR, (errcode(ERRCODE_READ_ONLY_SQL_TRANSACTION),
						errmsg("the master key cannot be changed on a standby"),
						errhint("Call sales.rotate_master_key() on the primary; docs/operations.md says what standbys need.")));
	refuse_if_it_would_wait_for_itself();
	/* one at a time in the cluster */
	LockSharedObject(AuthIdRelationId, InvalidOid, ROTATION_LOCK, ExclusiveLock);

	plan_ring(text_to_cstring(PG_GETARG_TEXT_PP(0)), &ring);
	key_name(ring.keys[0], name);
	if (!ring_equals(&ring, key_ring_or_fail()))
	{
		message = key_file_replace(&ring);
		if (message != NULL)
			ereport(ERROR,
					(errcode(ERRCODE_IO_ERROR),
					 errmsg("could not change the key file"), errdetail_internal("%s", message),
					 errhint("The server's user must be able to write in the folder of sales_assistant.key_file; then call sales.rotate_master_key() again.")));
		revocation_add_all();
		ereport(LOG, (errmsg("sales_assistant: the master key is %s now, by \"%s\"", name,
							 GetUserNameFromId(GetSessionUserId(), true))));
	}
	resealed = run_in_databases(&databases);

	OPENSSL_cleanse(ring.keys[1], sizeof(ring.keys) - KEY_SIZE);
	ring.n = 1;
	message = key_file_replace(&ring);
	OPENSSL_cleanse(&ring, sizeof(ring));
	ereport(LOG, (errmsg("sales_assistant: nothing is sealed under a former master key any more")));
	if (message != NULL)
		ereport(WARNING,
				(errcode(ERRCODE_IO_ERROR),
				 errmsg("the key file still holds former keys, which nothing needs any more"),
				 errdetail_internal("%s", message),
				 errhint("Remove all lines but the first from the key file.")));
	ereport(NOTICE, (errmsg("the master key is %s now; " INT64_FORMAT " secrets were sealed anew, databases: %d",
							name, resealed, databases),
					 errhint("Copy the key file to standbys and to where it is kept apart from backups.")));
	PG_RETURN_VOID();
}
