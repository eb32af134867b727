/*
 * erased.c
 *		Rows about an erased person hold no personal data, whoever writes them.
 *
 * BEFORE INSERT OR UPDATE trigger of each table that carries a prospect's key
 * (sql/functions/privacy_erased.sql says how writers and an erasure meet, and
 * makes the triggers from the map).  Its arguments are the personal columns of the
 * table, those that may not be null with a "!" before them.
 *
 * It is in C since it is met by every row that an application writes: the one
 * query is kept, and where nobody was erased the row is not looked into.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "core/spi.h"
#include "core/uuid.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/jsonb.h"
#include "utils/rel.h"

#define ERASED_AT "SELECT p.erased_at FROM sales.prospects p WHERE p.company_id = $1 AND p.prospect_id = $2"

PG_FUNCTION_INFO_V1(sales_keep_erased);

/*
 * Was the prospect erased?  With hold, it cannot be until the transaction ends.
 */
static bool
is_erased(Datum company, Datum person, bool hold)
{
	SpiArg		args[2] = {SPI_ARG(UUIDOID, company), SPI_ARG(UUIDOID, person)};
	bool		isnull = true;

	SPI_connect();
	if (spi_run_kept_as_owner(hold ? ERASED_AT " FOR KEY SHARE" : ERASED_AT, false, 0, 2, args) > 0)
		(void) spi_datum(0, 1, &isnull);
	SPI_finish();
	return !isnull;
}

/* What stands for nothing in a column that may not be null. */
static Datum
placeholder(Form_pg_attribute column)
{
	switch (column->atttypid)
	{
		case TEXTOID:
		case VARCHAROID:
			return CStringGetTextDatum("[erased]");
		case JSONBOID:
			return DirectFunctionCall1(jsonb_in, CStringGetDatum("{}"));
		default:
			elog(ERROR, "no placeholder for column \"%s\"", NameStr(column->attname));
	}
}

/* The row without personal data; the row itself where it has none. */
static HeapTuple
emptied(HeapTuple row, TupleDesc desc, int ncolumns, char **columns)
{
	int		   *numbers = palloc(ncolumns * sizeof(int));
	Datum	   *values = palloc(ncolumns * sizeof(Datum));
	bool	   *nulls = palloc(ncolumns * sizeof(bool));
	bool		changed = false;

	for (int i = 0; i < ncolumns; i++)
	{
		bool		not_null = columns[i][0] == '!';
		int			number = SPI_fnumber(desc, columns[i] + not_null);
		Form_pg_attribute column;
		bool		isnull;
		Datum		old;

		if (number <= 0)
			elog(ERROR, "keep_erased: there is no column \"%s\"", columns[i] + not_null);
		column = TupleDescAttr(desc, number - 1);
		old = SPI_getbinval(row, desc, number, &isnull);
		numbers[i] = number;
		nulls[i] = !not_null;
		values[i] = not_null ? placeholder(column) : (Datum) 0;
		if (isnull != nulls[i] ||
			(!isnull && !datum_image_eq(old, values[i], column->attbyval, column->attlen)))
			changed = true;
	}
	return changed ? heap_modify_tuple_by_cols(row, desc, ncolumns, numbers, values, nulls) : row;
}

/* sales_internal.keep_erased() */
Datum
sales_keep_erased(PG_FUNCTION_ARGS)
{
	TriggerData *trigger = (TriggerData *) fcinfo->context;
	TupleDesc	desc;
	HeapTuple	row;
	HeapTuple	empty;
	Datum		company;
	Datum		person;
	bool		no_company;
	bool		no_person;
	bool		is_new;

	if (!CALLED_AS_TRIGGER(fcinfo) || !TRIGGER_FIRED_BEFORE(trigger->tg_event) ||
		!TRIGGER_FIRED_FOR_ROW(trigger->tg_event) || TRIGGER_FIRED_BY_DELETE(trigger->tg_event))
		elog(ERROR, "keep_erased is a BEFORE INSERT OR UPDATE trigger for each row");
	desc = RelationGetDescr(trigger->tg_relation);
	is_new = TRIGGER_FIRED_BY_INSERT(trigger->tg_event);
	row = is_new ? trigger->tg_trigtuple : trigger->tg_newtuple;
	company = SPI_getbinval(row, desc, SPI_fnumber(desc, "company_id"), &no_company);
	person = SPI_getbinval(row, desc, SPI_fnumber(desc, "prospect_id"), &no_person);
	if (no_company || no_person)
		return PointerGetDatum(row);
	if (!is_new)
	{
		bool		isnull;
		Datum		before = SPI_getbinval(trigger->tg_trigtuple, desc, SPI_fnumber(desc, "prospect_id"), &isnull);

		is_new = isnull || !datumIsEqual(before, person, false, UUID_LEN);
	}
	/* no lock where the row is old: whoever holds it must not ask for the prospect */
	if (!is_erased(company, person, is_new))
		return PointerGetDatum(row);

	empty = emptied(row, desc, trigger->tg_trigger->tgnargs, trigger->tg_trigger->tgargs);
	if (empty != row)
		ereport(WARNING, (errmsg("nothing is stored about prospect %s: the person was erased",
								 uuid_text(DatumGetUUIDP(person)))));
	return PointerGetDatum(empty);
}
