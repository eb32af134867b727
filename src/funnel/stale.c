/*
 * stale.c
 *		A transaction that sees an old snapshot must not reckon durations from it.
 *
 * Who enters a stage locks the prospect and then reckons from all its entries.
 * Under READ COMMITTED each statement sees what was committed before the lock
 * was had.  Under REPEATABLE READ and SERIALIZABLE the snapshot stays what it
 * was, and a row that others only locked raises no failure: an entry that they
 * committed would be passed over, and a wrong duration or status stored.  So the
 * entries are read twice, as this transaction sees them and as they are; where
 * the two differ the transaction fails as any other that comes too late does,
 * and is to be repeated.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/spi.h"
#include "fmgr.h"

PG_FUNCTION_INFO_V1(sales_refuse_stale_funnel);

/* sales_internal.refuse_stale_funnel(companies uuid[], prospects uuid[]) */
Datum
sales_refuse_stale_funnel(PG_FUNCTION_ARGS)
{
	SpiArg		args[2] = {SPI_ARG(UUIDARRAYOID, PG_GETARG_DATUM(0)), SPI_ARG(UUIDARRAYOID, PG_GETARG_DATUM(1))};

	SPI_connect();
	spi_refuse_stale("entry of a stage",
					 "SELECT string_agg(format('%s %s %s', funnel_id, stage, stage_entered_at), ',' ORDER BY funnel_id) "
					 "FROM sales.conversion_funnel "
					 "WHERE company_id = ANY ($1) AND prospect_id = ANY ($2)", 2, args);
	SPI_finish();
	PG_RETURN_VOID();
}
