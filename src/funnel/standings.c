/*
 * standings.c
 *		Where a company's prospects stand in the funnel, and their chances of a win.
 *
 * One pass over the company's entries, prospect by prospect in the order of the
 * index, gives what is needed of each: the stage it is in, its deal's value, and
 * an episode for each stage that it reached (a stage that it passed more than
 * once counts with the last entry), from which outlook.c reckons the stages.
 * Entries of the future say where a prospect stands, and nothing of how deals go.
 *
 * Rows stay in memory: 40 bytes a prospect, 32 an episode.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/clock.h"
#include "core/spi.h"
#include "fmgr.h"
#include "funcapi.h"
#include "funnel/outlook.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"

#define HOURS(from, to) (((double) ((to) - (from))) / USECS_PER_HOUR)

typedef struct Stage
{
	Oid			oid;			/* of the enum's value */
	bool		is_final;
	bool		is_won;
	Episodes	episodes;
	Outlook		outlook;
} Stage;

typedef struct Entry
{
	TimestampTz at;
	pg_uuid_t	key;
	int			stage;
	Datum		deal_value;		/* numeric in the row's memory; 0: null */
} Entry;

typedef struct Standing
{
	pg_uuid_t	prospect;
	TimestampTz entered_at;
	Datum		deal_value;		/* the last that was given; 0: none */
	int			stage;
} Standing;

typedef struct Funnel
{
	TimestampTz now;
	const pg_uuid_t *only;		/* whose standing is wanted; null: all */
	int			nstages;
	Stage		stages[MAX_STAGES];
	pg_uuid_t	prospect;		/* whose entries these are, latest first */
	Entry	   *entries;
	int			nentries;
	int64		room;
	Standing   *standings;
	int64		nstandings;
	int64		standings_room;
	MemoryContext memory;
	MemoryContext prospect_memory;
} Funnel;

/* The stages in their order, each with its prior chance. */
static void
read_stages(Funnel *funnel)
{
	funnel->nstages = (int)
		spi_run_kept("SELECT s, s IN ('client', 'perdu'), s = 'client', sales_internal.stage_prior(s)::float8 "
					 "FROM unnest(enum_range(NULL::sales.funnel_stage)) WITH ORDINALITY AS x (s, place) ORDER BY place",
					 true, 0, 0, NULL);
	if (funnel->nstages > MAX_STAGES)
		elog(ERROR, "more than %d stages", MAX_STAGES);
	for (int i = 0; i < funnel->nstages; i++)
	{
		Stage	   *stage = &funnel->stages[i];
		bool		isnull;

		stage->oid = DatumGetObjectId(spi_datum(i, 1, &isnull));
		stage->is_final = DatumGetBool(spi_datum(i, 2, &isnull));
		stage->is_won = DatumGetBool(spi_datum(i, 3, &isnull));
		stage->outlook.prior = DatumGetFloat8(spi_datum(i, 4, &isnull));
	}
}

static int
stage_of(const Funnel *funnel, Oid oid)
{
	for (int i = 0; i < funnel->nstages; i++)
		if (funnel->stages[i].oid == oid)
			return i;
	elog(ERROR, "there is no stage %u", oid);
}

static int
compare_entries(const void *a, const void *b)
{
	const Entry *x = a;
	const Entry *y = b;

	if (x->at != y->at)
		return x->at > y->at ? -1 : 1;
	return -memcmp(&x->key, &y->key, UUID_LEN);
}

/* An episode for each stage that the prospect has reached by now. */
static void
note_episodes(Funnel *funnel, const Entry *entries, int nentries)
{
	const Entry *last = NULL;	/* by now */
	const Entry *next = NULL;
	uint32		seen = 0;

	for (int i = 0; i < nentries; i++)
	{
		const Entry *entry = &entries[i];
		const Stage *decision;
		Episode		episode;

		if (entry->at > funnel->now)
			continue;
		if (last == NULL)
			last = entry;
		decision = &funnel->stages[last->stage];
		if (!funnel->stages[entry->stage].is_final && (seen & (1U << entry->stage)) == 0)
		{
			episode.stayed = HOURS(entry->at, next != NULL ? next->at : funnel->now);
			episode.waited = HOURS(entry->at, decision->is_final ? last->at : funnel->now);
			episode.left_it = next != NULL;
			episode.decided = decision->is_final;
			episode.won = decision->is_won;
			funnel_add_episode(&funnel->stages[entry->stage].episodes, &episode);
		}
		seen |= 1U << entry->stage;
		next = entry;
	}
}

/* All entries of a prospect are read. */
static void
end_prospect(Funnel *funnel)
{
	MemoryContext before = MemoryContextSwitchTo(funnel->memory);
	Entry	   *entries = funnel->entries;

	/* The index gives all but those of one moment in this order. */
	for (int i = 1; i < funnel->nentries; i++)
		if (compare_entries(&entries[i - 1], &entries[i]) > 0)
		{
			qsort(entries, funnel->nentries, sizeof(Entry), compare_entries);
			break;
		}
	if (funnel->nentries > 0 && (funnel->only == NULL || memcmp(funnel->only, &funnel->prospect, UUID_LEN) == 0))
	{
		Standing   *standing;

		funnel->standings = funnel_room_for_one(funnel->memory, funnel->standings, funnel->nstandings,
												&funnel->standings_room, sizeof(Standing));
		standing = &funnel->standings[funnel->nstandings++];
		standing->prospect = funnel->prospect;
		standing->entered_at = entries[0].at;
		standing->stage = entries[0].stage;
		standing->deal_value = (Datum) 0;
		for (int i = 0; i < funnel->nentries && standing->deal_value == (Datum) 0; i++)
			if (entries[i].deal_value != (Datum) 0)
				standing->deal_value = datumCopy(entries[i].deal_value, false, -1);
	}
	note_episodes(funnel, entries, funnel->nentries);
	funnel->nentries = 0;
	MemoryContextSwitchTo(before);
	MemoryContextReset(funnel->prospect_memory);
}

/* A row: prospect, key, moment, stage, value. */
static void
take_entry(TupleTableSlot *slot, void *state)
{
	Funnel	   *funnel = state;
	const pg_uuid_t *prospect = DatumGetUUIDP(slot->tts_values[0]);
	Entry	   *entry;

	if (funnel->nentries > 0 && memcmp(prospect, &funnel->prospect, UUID_LEN) != 0)
		end_prospect(funnel);
	funnel->prospect = *prospect;
	funnel->entries = funnel_room_for_one(funnel->memory, funnel->entries, funnel->nentries, &funnel->room, sizeof(Entry));
	entry = &funnel->entries[funnel->nentries++];
	entry->key = *DatumGetUUIDP(slot->tts_values[1]);
	entry->at = DatumGetTimestampTz(slot->tts_values[2]);
	entry->stage = stage_of(funnel, DatumGetObjectId(slot->tts_values[3]));
	entry->deal_value = (Datum) 0;
	if (!slot->tts_isnull[4])
	{
		MemoryContext before = MemoryContextSwitchTo(funnel->prospect_memory);

		entry->deal_value = datumCopy(slot->tts_values[4], false, -1);
		MemoryContextSwitchTo(before);
	}
}

static Funnel *
read_funnel(Datum company, const pg_uuid_t *only)
{
	Funnel	   *funnel = palloc0(sizeof(Funnel));
	SpiArg		args[1] = {SPI_ARG(UUIDOID, company)};

	funnel->now = clock_now();
	funnel->only = only;
	funnel->memory = CurrentMemoryContext;
	funnel->prospect_memory = AllocSetContextCreate(CurrentMemoryContext, "prospect's entries", ALLOCSET_SMALL_SIZES);
	read_stages(funnel);
	spi_scan("SELECT f.prospect_id, f.funnel_id, f.stage_entered_at, f.stage, f.deal_value FROM sales.conversion_funnel f "
			 "WHERE f.company_id = $1 ORDER BY f.prospect_id, f.stage_entered_at DESC", 1, args, take_entry, funnel);
	end_prospect(funnel);
	for (int i = 0; i < funnel->nstages; i++)
		funnel_reckon(&funnel->stages[i].outlook, &funnel->stages[i].episodes);
	return funnel;
}

static Datum
to_numeric(double number)
{
	return DirectFunctionCall1(float8_numeric, Float8GetDatum(number));
}

PG_FUNCTION_INFO_V1(sales_stage_outlook);

/* sales_internal.stage_outlook(company, only_stage) → (stage, from_hours, deals, share, leaves, pace) */
Datum
sales_stage_outlook(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Funnel	   *funnel;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	SPI_connect();
	funnel = read_funnel(PG_GETARG_DATUM(0), NULL);
	for (int i = 0; i < funnel->nstages; i++)
	{
		const Stage *stage = &funnel->stages[i];
		const Outlook *outlook = &stage->outlook;

		if (!PG_ARGISNULL(1) && PG_GETARG_OID(1) != stage->oid)
			continue;
		for (int s = 0; s < outlook->nspans; s++)
		{
			Datum		values[6] = {ObjectIdGetDatum(stage->oid), Float8GetDatum(outlook->spans[s].from_hours),
				Int64GetDatum(outlook->spans[s].deals), to_numeric(outlook->spans[s].share),
			Float8GetDatum(outlook->leaves), Float8GetDatum(outlook->pace)};
			bool		nulls[6] = {false};

			tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		}
	}
	SPI_finish();
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(sales_standings);

/* sales_internal.standings(company, only_prospect) → (prospect_id, stage, entered_at, hours, deal_value, chance, deals) */
Datum
sales_standings(PG_FUNCTION_ARGS)
{
	ReturnSetInfo *result = (ReturnSetInfo *) fcinfo->resultinfo;
	Funnel	   *funnel;
	MemoryContext row;

	InitMaterializedSRF(fcinfo, 0);
	if (PG_ARGISNULL(0))
		return (Datum) 0;
	SPI_connect();
	funnel = read_funnel(PG_GETARG_DATUM(0), PG_ARGISNULL(1) ? NULL : PG_GETARG_UUID_P(1));
	row = AllocSetContextCreate(CurrentMemoryContext, "standing", ALLOCSET_SMALL_SIZES);
	for (int64 i = 0; i < funnel->nstandings; i++)
	{
		const Standing *standing = &funnel->standings[i];
		const Stage *stage = &funnel->stages[standing->stage];
		double		hours = HOURS(standing->entered_at, funnel->now);
		double		deals;
		double		chance = funnel_chance(&stage->outlook, hours, &deals);
		MemoryContext before = MemoryContextSwitchTo(row);
		Datum		values[7] = {UUIDPGetDatum(&standing->prospect), ObjectIdGetDatum(stage->oid),
			TimestampTzGetDatum(standing->entered_at), Float8GetDatum(hours), standing->deal_value,
		to_numeric(chance), to_numeric(deals)};
		bool		nulls[7] = {false};

		nulls[4] = standing->deal_value == (Datum) 0;
		tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
		MemoryContextSwitchTo(before);
		MemoryContextReset(row);
		if (i % 1024 == 0)
			CHECK_FOR_INTERRUPTS();
	}
	SPI_finish();
	return (Datum) 0;
}

PG_FUNCTION_INFO_V1(sales_waiting_chance);

/* sales_internal.waiting_chance(chance, leaves, pace, hours) */
Datum
sales_waiting_chance(PG_FUNCTION_ARGS)
{
	PG_RETURN_FLOAT8(funnel_waiting_chance(PG_GETARG_FLOAT8(0), PG_GETARG_FLOAT8(1), PG_GETARG_FLOAT8(2), PG_GETARG_FLOAT8(3)));
}
