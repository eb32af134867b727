/*
 * status.c
 *		A status that is set by hand enters its stage of the funnel.
 *
 * Two triggers on prospects.  The one for each row fires only where the status
 * changed (its WHEN says so) and notes the prospect; the one for each statement
 * hands all that were noted to SQL, which enters their stages at once.  A
 * statement that changes the status of ten thousand prospects so costs one
 * insert, and one that changes no status next to nothing; a transition table
 * would copy every row of every update.
 *
 * What was noted belongs to the subtransaction that noted it: a rollback takes
 * the change of the status away, and the note with it.
 */
#include "postgres.h"

#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "compat.h"
#include "core/spi.h"
#include "executor/tuptable.h"
#include "fmgr.h"
#include "funnel/outlook.h"
#include "storage/proc.h"
#include "utils/array.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/uuid.h"

typedef struct Noted
{
	pg_uuid_t	company;
	pg_uuid_t	prospect;
} Noted;

/* In TopTransactionContext, of this transaction and subtransaction alone. */
static Noted *noted = NULL;
static int	nnoted = 0;
static int64 room = 0;
static LocalTransactionId noted_xact = InvalidLocalTransactionId;
static SubTransactionId noted_subxact = InvalidSubTransactionId;

PG_FUNCTION_INFO_V1(sales_note_status);
PG_FUNCTION_INFO_V1(sales_enter_statuses);

static void
forget_others(void)
{
	LocalTransactionId xact = COMPAT_MY_LXID;
	SubTransactionId subxact = GetCurrentSubTransactionId();

	if (noted_xact != xact)
	{
		noted = NULL;			/* went with its transaction */
		room = 0;
	}
	if (noted_xact != xact || noted_subxact != subxact)
		nnoted = 0;
	noted_xact = xact;
	noted_subxact = subxact;
}

static pg_uuid_t
uuid_column(TupleTableSlot *slot, TupleDesc desc, const char *name)
{
	bool		isnull;
	Datum		value = slot_getattr(slot, SPI_fnumber(desc, name), &isnull);

	Assert(!isnull);
	return *DatumGetUUIDP(value);
}

/* sales_internal.note_status(): AFTER UPDATE FOR EACH ROW whose status changed. */
Datum
sales_note_status(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	desc;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || !TRIGGER_FIRED_BY_UPDATE(trigger->tg_event))
		elog(ERROR, "note_status is an AFTER UPDATE trigger for each row");
	if (spi_restoring())
		return PointerGetDatum(NULL);
	forget_others();
	noted = funnel_room_for_one(TopTransactionContext, noted, nnoted, &room, sizeof(Noted));
	desc = RelationGetDescr(trigger->tg_relation);
	noted[nnoted].company = uuid_column(trigger->tg_newslot, desc, "company_id");
	noted[nnoted].prospect = uuid_column(trigger->tg_newslot, desc, "prospect_id");
	nnoted++;
	return PointerGetDatum(NULL);
}

static SpiArg
uuid_array(const Noted *rows, int n, size_t offset)
{
	Datum	   *elements = palloc(n * sizeof(Datum));

	for (int i = 0; i < n; i++)
		elements[i] = UUIDPGetDatum((pg_uuid_t *) ((char *) &rows[i] + offset));
	return SPI_ARG(UUIDARRAYOID, PointerGetDatum(construct_array(elements, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)));
}

/* sales_internal.enter_statuses(): AFTER UPDATE FOR EACH STATEMENT; runs enter_status_stages(). */
Datum
sales_enter_statuses(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	SpiArg		args[2];

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_AFTER(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_STATEMENT(trigger->tg_event))
		elog(ERROR, "enter_statuses is an AFTER trigger for each statement");
	forget_others();
	if (nnoted == 0)
		return PointerGetDatum(NULL);
	SPI_connect();
	args[0] = uuid_array(noted, nnoted, offsetof(Noted, company));
	args[1] = uuid_array(noted, nnoted, offsetof(Noted, prospect));
	nnoted = 0;					/* what runs now may note others */
	spi_run_as_owner("SELECT sales_internal.enter_status_stages($1, $2)", false, 0, 2, args);
	SPI_finish();
	return PointerGetDatum(NULL);
}
