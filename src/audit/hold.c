/*
 * hold.c
 *		Locks the user, and where needed the company, that an audit row names.
 *
 * It is what the foreign keys of audit_logs would do for each row: the row that
 * is referred to must exist and may not be deleted before our transaction ends.
 * Done once in a transaction, and by the primary key's index and the row's lock
 * alone: a statement, even one planned once, costs four times as much, and every
 * small transaction pays it.  Where the table is not an ordinary one with that
 * one column as its key (a distributed one), a statement does it.
 */
#include "postgres.h"

#include "access/genam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "audit/hold.h"
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "core/spi.h"
#include "distribute/shards.h"
#include "executor/tuptable.h"
#include "miscadmin.h"
#include "storage/proc.h"
#include "utils/fmgroids.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"

/* A table whose rows are locked. */
typedef struct HoldTable
{
	const char *name;
	const char *key;			/* its primary key's only column */
	const char *sql;			/* does the same; operators are qualified, as the caller's
								 * search_path is in effect */
	SPIPlanPtr	plan;

	/* the row that this transaction has locked last */
	LocalTransactionId lxid;
	SubTransactionId subid;
	pg_uuid_t	id;
} HoldTable;

static HoldTable companies = {
	.name = "companies", .key = "company_id",
	.sql = "SELECT FROM ONLY sales.companies "
	"WHERE company_id OPERATOR(pg_catalog.=) $1 AND company_id OPERATOR(pg_catalog.=) $2 "
	"FOR KEY SHARE"
};
static HoldTable users = {
	.name = "users", .key = "user_id",
	.sql = "SELECT FROM ONLY sales.users "
	"WHERE user_id OPERATOR(pg_catalog.=) $1 AND company_id OPERATOR(pg_catalog.=) $2 "
	"FOR KEY SHARE"
};

static void
forget_at_end(XactEvent event, void *arg)
{
	if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
		companies.lxid = users.lxid = InvalidLocalTransactionId;
}

/* A lock taken in a subtransaction goes when that is rolled back. */
static void
forget_at_sub_end(SubXactEvent event, SubTransactionId mine, SubTransactionId parent, void *arg)
{
	if (event != SUBXACT_EVENT_ABORT_SUB)
		return;
	if (companies.subid >= mine)
		companies.lxid = InvalidLocalTransactionId;
	if (users.subid >= mine)
		users.lxid = InvalidLocalTransactionId;
}

void
audit_hold_init(void)
{
	RegisterXactCallback(forget_at_end, NULL);
	RegisterSubXactCallback(forget_at_sub_end, NULL);
}

/* --- by a statement --- */

static bool
lock_by_sql(HoldTable *held, const pg_uuid_t *id, const pg_uuid_t *company)
{
	Oid			types[2] = {UUIDOID, UUIDOID};
	Datum		values[2] = {UUIDPGetDatum(id), UUIDPGetDatum(company)};
	Oid			save_userid;
	int			save_sec_context;
	bool		found;

	GetUserIdAndSecContext(&save_userid, &save_sec_context);
	SetUserIdAndSecContext(spi_owner(), save_sec_context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	if (held->plan == NULL)
	{
		held->plan = SPI_prepare(held->sql, 2, types);
		if (held->plan == NULL || SPI_keepplan(held->plan) != 0)
			elog(ERROR, "could not prepare: %s", held->sql);
	}
	if (SPI_execute_plan(held->plan, values, NULL, false, 1) != SPI_OK_SELECT)
		elog(ERROR, "could not run: %s", held->sql);
	found = SPI_processed > 0;
	SPI_finish();
	SetUserIdAndSecContext(save_userid, save_sec_context);
	return found;
}

/* --- by the index --- */

/* The primary key, if it is an ordinary table's and of that column alone. */
static Oid
key_index(Relation table, AttrNumber column)
{
	Oid			oid;
	Relation	index;
	bool		fits;

	if (table->rd_rel->relkind != RELKIND_RELATION || column == InvalidAttrNumber)
		return InvalidOid;
	/* the list is what finds out which is the primary key */
	if (!table->rd_indexvalid)
		list_free(RelationGetIndexList(table));
	oid = table->rd_pkindex;
	if (!OidIsValid(oid))
		return InvalidOid;
	index = index_open(oid, AccessShareLock);
	fits = index->rd_index->indnkeyatts == 1 && index->rd_index->indkey.values[0] == column;
	index_close(index, NoLock);
	return fits ? oid : InvalidOid;
}

static bool
slot_has(TupleTableSlot *slot, AttrNumber column, const pg_uuid_t *value)
{
	bool		isnull;
	Datum		datum = slot_getattr(slot, column, &isnull);

	return !isnull && memcmp(DatumGetUUIDP(datum), value, UUID_LEN) == 0;
}

/* Locks a version of the row, or the one that came of it meanwhile. */
static bool
lock_version(Relation table, ItemPointer tid, Snapshot snapshot, TupleTableSlot *slot)
{
	TM_FailureData failure;
	uint8		flags = IsolationUsesXactSnapshot() ? 0 : TUPLE_LOCK_FLAG_FIND_LAST_VERSION;

	switch (table_tuple_lock(table, tid, snapshot, slot, GetCurrentCommandId(false),
							 LockTupleKeyShare, LockWaitBlock, flags, &failure))
	{
		case TM_Ok:
			return true;
		case TM_Updated:
		case TM_Deleted:
			if (IsolationUsesXactSnapshot())
				ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
								errmsg("could not serialize access due to concurrent update")));
			return false;
		default:
			return false;
	}
}

/* False in `*done` where it cannot be done this way. */
static bool
lock_by_index(const HoldTable *held, const pg_uuid_t *id, const pg_uuid_t *company, bool *done)
{
	Oid			oid = get_relname_relid(held->name, get_namespace_oid("sales", false));
	Relation	table = table_open(oid, RowShareLock);
	AttrNumber	key_column = get_attnum(oid, held->key);
	AttrNumber	company_column = get_attnum(oid, "company_id");
	Oid			index = key_index(table, key_column);
	bool		found = false;

	*done = OidIsValid(index) && company_column != InvalidAttrNumber;
	if (*done)
	{
		TupleTableSlot *slot = table_slot_create(table, NULL);
		ScanKeyData key;
		SysScanDesc scan;
		Snapshot	snapshot;
		HeapTuple	tuple;

		/* what this transaction itself did to the row counts */
		CommandCounterIncrement();
		snapshot = RegisterSnapshot(GetLatestSnapshot());
		ScanKeyInit(&key, key_column, BTEqualStrategyNumber, F_UUID_EQ, UUIDPGetDatum(id));
		scan = systable_beginscan(table, index, true, snapshot, 1, &key);
		tuple = systable_getnext(scan);
		if (tuple != NULL)
			found = lock_version(table, &tuple->t_self, snapshot, slot) &&
				slot_has(slot, key_column, id) && slot_has(slot, company_column, company);
		systable_endscan(scan);
		UnregisterSnapshot(snapshot);
		ExecDropSingleTupleTableSlot(slot);
	}
	table_close(table, NoLock);
	return found;
}

/* --- once in a transaction --- */

/* False: there is no such row. */
static bool
hold(HoldTable *held, const pg_uuid_t *id, const pg_uuid_t *company)
{
	bool		done;
	bool		found;

	if (held->lxid == COMPAT_MY_LXID && memcmp(&held->id, id, UUID_LEN) == 0)
		return true;
	found = lock_by_index(held, id, company, &done);
	if (!done)
		found = lock_by_sql(held, id, company);
	if (found)
	{
		held->lxid = COMPAT_MY_LXID;
		held->subid = GetCurrentSubTransactionId();
		held->id = *id;
	}
	return found;
}

void
audit_hold(const pg_uuid_t *company_id, const pg_uuid_t *user_company, const pg_uuid_t *user_id)
{
	/* in a cluster the foreign keys of the shard see to it, where the row is written */
	if (distribute_any())
		return;
	if (company_id != NULL && !hold(&companies, company_id, company_id))
		ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
						errmsg("the company does not exist any more")));
	if (user_id != NULL && !hold(&users, user_id, user_company))
		ereport(ERROR, (errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
						errmsg("the user of this session does not exist any more"),
						errhint("Log in again: sales.login(), then sales.use_session().")));
}
