/*
 * triggers.c
 *		Triggers and checks that many tables share.
 *
 * soft_delete turns an application's DELETE into deleted_at = now.  The update
 * runs as the table's owner, since row security would refuse a row that the
 * caller no longer sees; the policy for DELETE has let the row through already.
 *
 * quiet_restore puts dumped rows back as they were.  The tables' triggers and
 * foreign keys belong to the extension, so they are there before the rows,
 * and pg_restore -j loads the rows in no order.  So while a dump is replayed
 * each COPY first sets session_replication_role to replica for its
 * transaction: no trigger fires, no foreign key looks for a row that comes
 * later, and the rows, which were consistent when dumped, are so again.
 */
#include "postgres.h"

#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "core/clock.h"
#include "core/spi.h"
#include "core/uuid.h"
#include "fmgr.h"
#include "miscadmin.h"
#include "pgtime.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/rel.h"
#include "utils/timestamp.h"

PG_FUNCTION_INFO_V1(sales_touch_updated_at);
PG_FUNCTION_INFO_V1(sales_soft_delete);
PG_FUNCTION_INFO_V1(sales_is_timezone);
PG_FUNCTION_INFO_V1(sales_restoring);
PG_FUNCTION_INFO_V1(sales_quiet_restore);

/* BEFORE UPDATE: updated_at = now, unless the caller changed it. */
Datum
sales_touch_updated_at(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	int			column;
	bool		isnull;
	bool		was_null;
	Datum		before;
	Datum		after;
	Datum		now;
	bool		now_null = false;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		elog(ERROR, "touch_updated_at is a trigger for UPDATE");
	desc = RelationGetDescr(trigger->tg_relation);
	column = SPI_fnumber(desc, "updated_at");
	before = SPI_getbinval(trigger->tg_trigtuple, desc, column, &was_null);
	after = SPI_getbinval(trigger->tg_newtuple, desc, column, &isnull);
	if (spi_restoring() ||
		(!isnull && !was_null && DatumGetTimestampTz(before) != DatumGetTimestampTz(after)))
		return PointerGetDatum(trigger->tg_newtuple);

	now = TimestampTzGetDatum(clock_now());
	return PointerGetDatum(heap_modify_tuple_by_cols(trigger->tg_newtuple, desc, 1, &column,
													 &now, &now_null));
}

/* Is the current user one of the applications, rather than the owner? */
static bool
is_application(void)
{
	Oid			app = get_role_oid("sales_app", true);

	return OidIsValid(app) && !superuser() && has_privs_of_role(GetUserId(), app);
}

/* BEFORE DELETE; argument: the key column. */
Datum
sales_soft_delete(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	SpiArg		args[3];
	const char *key;
	char	   *sql;
	bool		isnull;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BY_DELETE(trigger->tg_event) ||
		trigger->tg_trigger->tgnargs != 1)
		elog(ERROR, "soft_delete is a trigger for DELETE with the key column as argument");
	if (!is_application())
		return PointerGetDatum(trigger->tg_trigtuple);

	key = trigger->tg_trigger->tgargs[0];
	desc = RelationGetDescr(trigger->tg_relation);
	args[0] = SPI_ARG(UUIDOID, SPI_getbinval(trigger->tg_trigtuple, desc,
											 SPI_fnumber(desc, key), &isnull));
	args[1] = SPI_ARG(UUIDOID, SPI_getbinval(trigger->tg_trigtuple, desc,
											 SPI_fnumber(desc, "company_id"), &isnull));
	args[2] = SPI_ARG(TIMESTAMPTZOID, TimestampTzGetDatum(clock_now()));

	SPI_connect();
	sql = psprintf("UPDATE %s SET deleted_at = $3 "
				   "WHERE %s = $1 AND company_id = $2 AND deleted_at IS NULL",
				   quote_qualified_identifier(SPI_getnspname(trigger->tg_relation),
											  SPI_getrelname(trigger->tg_relation)),
				   quote_identifier(key));
	spi_run_as_owner(sql, false, 0, 3, args);
	SPI_finish();

	return PointerGetDatum(NULL);	/* the row stays */
}

/* sales.is_timezone(name text): an IANA name as the zone itself spells it. */
Datum
sales_is_timezone(PG_FUNCTION_ARGS)
{
	text	   *name = PG_GETARG_TEXT_PP(0);
	char	   *zone = text_to_cstring(name);
	pg_tz	   *tz;

	/* POSIX forms such as "X+3" load too but are no names of places. */
	if (strlen(zone) > TZ_STRLEN_MAX || strpbrk(zone, ",<> ") != NULL)
		PG_RETURN_BOOL(false);
	if (strcmp(zone, "UTC") != 0 && strchr(zone, '/') == NULL)
		PG_RETURN_BOOL(false);
	tz = pg_tzset(zone);
	PG_RETURN_BOOL(tz != NULL && strcmp(pg_get_timezone_name(tz), zone) == 0 &&
				   pg_tz_acceptable(tz));
}

/* sales_internal.restoring() */
Datum
sales_restoring(PG_FUNCTION_ARGS)
{
	PG_RETURN_BOOL(spi_restoring());
}

/* BEFORE INSERT, for each statement. */
Datum
sales_quiet_restore(PG_FUNCTION_ARGS)
{
	if (!CALLED_AS_TRIGGER(fcinfo))
		elog(ERROR, "quiet_restore is a trigger");
	if (spi_restoring())
		(void) set_config_option("session_replication_role", "replica", PGC_SUSET,
								 PGC_S_SESSION, GUC_ACTION_LOCAL, true, 0, false);
	return PointerGetDatum(NULL);
}
