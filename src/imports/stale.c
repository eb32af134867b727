/*
 * stale.c
 *		A transaction that sees an old snapshot must not import by it.
 *
 * Imports of one company take turns by a lock.  Under READ COMMITTED whoever waited
 * sees what the other brought.  Under REPEATABLE READ and SERIALIZABLE the snapshot
 * stays what it was: the same people would be inserted again.  So the transaction
 * fails as any other that comes too late does, and is to be repeated.  Each batch
 * that was written has added to the rows of its run: that is what is looked at.
 */
#include "postgres.h"

#include "core/spi.h"
#include "fmgr.h"

PG_FUNCTION_INFO_V1(sales_refuse_stale_import);

/* sales_internal.refuse_stale_import(company uuid) */
Datum
sales_refuse_stale_import(PG_FUNCTION_ARGS)
{
	SpiArg		args[1] = {SPI_ARG_UUID(PG_GETARG_UUID_P(0))};

	SPI_connect();
	spi_refuse_stale("import", "SELECT sum(rows_read)::text FROM sales.import_runs WHERE company_id = $1", 1, args);
	SPI_finish();
	PG_RETURN_VOID();
}
