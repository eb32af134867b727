/*
 * probe.c
 *		Running a statement as an application would, to see whether it gets through.
 *
 * For sales.test_isolation(): the statement runs as the group role sales_app in
 * the context of one company, in a subtransaction that is always rolled back.
 */
#include "postgres.h"

#include "access/xact.h"
#include "core/clock.h"
#include "core/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "tenancy/context.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
#include "utils/timestamp.h"

#define PROBE_SECONDS 600

/* Runs the statement; what it gave: its first value, or how many rows it touched. */
static char *
run_as_app(const char *statement, const pg_uuid_t *company)
{
	ContextRequest request = {0};
	Oid			save_userid;
	int			save_sec_context;
	char	   *result;

	request.company_id = company;
	request.expires_at = clock_instant() + PROBE_SECONDS * USECS_PER_SEC;
	context_enter(&request, true);
	GetUserIdAndSecContext(&save_userid, &save_sec_context);
	SetUserIdAndSecContext(get_role_oid("sales_app", false),
						   save_sec_context | SECURITY_LOCAL_USERID_CHANGE);
	SPI_connect();
	spi_run(statement, false, 0, 0, NULL);
	result = SPI_tuptable != NULL && SPI_processed > 0
		? spi_text(0, 1) : psprintf(UINT64_FORMAT, SPI_processed);
	result = MemoryContextStrdup(CurTransactionContext, result);
	SPI_finish();
	SetUserIdAndSecContext(save_userid, save_sec_context);
	return result;
}

PG_FUNCTION_INFO_V1(sales_probe);

/* sales_internal.probe(statement text, company uuid, OUT result text, OUT sqlstate text) */
Datum
sales_probe(PG_FUNCTION_ARGS)
{
	char	   *statement = text_to_cstring(PG_GETARG_TEXT_PP(0));
	pg_uuid_t  *company = PG_GETARG_UUID_P(1);
	MemoryContext caller = CurrentMemoryContext;
	ResourceOwner owner = CurrentResourceOwner;
	char	   *volatile result = NULL;
	char	   *volatile state = NULL;
	Datum		values[2];
	bool		nulls[2] = {false, false};
	TupleDesc	desc;

	BeginInternalSubTransaction(NULL);
	MemoryContextSwitchTo(caller);
	PG_TRY();
	{
		result = MemoryContextStrdup(caller, run_as_app(statement, company));
	}
	PG_CATCH();
	{
		ErrorData  *error;

		MemoryContextSwitchTo(caller);
		error = CopyErrorData();
		FlushErrorState();
		if (error->sqlerrcode == ERRCODE_QUERY_CANCELED)
			ReThrowError(error);
		state = pstrdup(unpack_sql_state(error->sqlerrcode));
		result = pstrdup(error->message);
	}
	PG_END_TRY();
	RollbackAndReleaseCurrentSubTransaction();
	MemoryContextSwitchTo(caller);
	CurrentResourceOwner = owner;

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "probe returns a row");
	values[0] = CStringGetTextDatum(result);
	nulls[1] = state == NULL;
	values[1] = state != NULL ? CStringGetTextDatum(state) : (Datum) 0;
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
