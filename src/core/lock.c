/*
 * lock.c
 *		Locks of the extension's own, for its transactions alone.
 *
 * An advisory lock is anybody's to take: a session that holds pg_advisory_lock()
 * of the right number would keep the audit log from being sealed, or a company
 * from importing.  These are kept in the same table under a tag that no SQL
 * function of PostgreSQL makes (pg_locks shows them as advisory, objsubid 3).
 */
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "storage/lock.h"

#define LOCK_CLASS 3			/* pg_advisory_lock() uses 1 and 2 */

PG_FUNCTION_INFO_V1(sales_take_lock);

/* sales_internal.take_lock(key bigint, wait boolean) → boolean: false if it is another's. */
Datum
sales_take_lock(PG_FUNCTION_ARGS)
{
	int64		key = PG_GETARG_INT64(0);
	bool		wait = PG_GETARG_BOOL(1);
	LOCKTAG		tag;

	SET_LOCKTAG_ADVISORY(tag, MyDatabaseId, (uint32) (key >> 32), (uint32) key, LOCK_CLASS);
	PG_RETURN_BOOL(LockAcquire(&tag, ExclusiveLock, false, !wait) != LOCKACQUIRE_NOT_AVAIL);
}
