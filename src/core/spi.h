#ifndef SALES_CORE_SPI_H
#define SALES_CORE_SPI_H

#include "executor/spi.h"
#include "utils/uuid.h"

/* One parameter of a query. */
typedef struct SpiArg
{
	Oid			type;
	Datum		value;
	bool		isnull;
} SpiArg;

#define SPI_ARG(type, value) ((SpiArg) {(type), (value), false})
#define SPI_ARG_NULL(type) ((SpiArg) {(type), (Datum) 0, true})
#define SPI_ARG_TEXT(cstr) spi_arg_text(cstr)
#define SPI_ARG_UUID(ptr) spi_arg_uuid(ptr)

extern SpiArg spi_arg_text(const char *value);
extern SpiArg spi_arg_uuid(const pg_uuid_t *value);

/*
 * Runs a query with search_path pinned to pg_catalog, pg_temp, whatever the
 * caller's is; names in the query must be schema-qualified.  SPI must be
 * connected.  Returns the number of rows; they are in SPI_tuptable.  Throws
 * on any failure.
 */
extern uint64 spi_run(const char *sql, bool read_only, long limit, int nargs,
					  const SpiArg *args);

/*
 * As spi_run, keeping the plan for the life of the process: for the queries of
 * loops.  The text must be shorter than 512 bytes, and one text has one list of
 * parameter types.
 */
extern uint64 spi_run_kept(const char *sql, bool read_only, long limit, int nargs,
						   const SpiArg *args);

/* As these two, as the owner of the extension's tables (skips row security). */
extern uint64 spi_run_as_owner(const char *sql, bool read_only, long limit, int nargs,
							   const SpiArg *args);
extern uint64 spi_run_kept_as_owner(const char *sql, bool read_only, long limit, int nargs,
									const SpiArg *args);

typedef void (*SpiTaker) (TupleTableSlot *slot, void *state);

/*
 * As spi_run, for a query that only reads: hands its rows over as they come and keeps
 * none.  What the taker allocates is gone with the next row.
 */
extern void spi_scan(const char *sql, int nargs, const SpiArg *args, SpiTaker taker, void *state);

/*
 * Error 40001 in a transaction whose snapshot is old (REPEATABLE READ, SERIALIZABLE),
 * if the query, which returns one text at most, says something else of what is
 * committed by now; `work` is what others did meanwhile.  Never under READ
 * COMMITTED, where every statement sees that.
 */
extern void spi_refuse_stale(const char *work, const char *sql, int nargs, const SpiArg *args);

typedef void (*SpiStep) (void *arg);

/*
 * Runs a step in a subtransaction.  An error rolls it back and comes back, in `memory`;
 * null when all is well.
 */
extern ErrorData *spi_in_subtransaction(SpiStep step, void *arg, MemoryContext memory);

/* Column of row `row` of the last result, as text palloc'd there; null if NULL. */
extern char *spi_text(uint64 row, int column);
extern Datum spi_datum(uint64 row, int column, bool *isnull);

/* Owner of schema sales, whose rights definer code has. */
extern Oid spi_owner(void);

/* True while the session replays a dump: triggers then leave rows as they are. */
extern bool spi_restoring(void);

#endif							/* SALES_CORE_SPI_H */
