/*
 * answers.c
 *		What becomes of calls that have ended: their turns are taken, many by one
 *		commit, and their services' pace is told how they went.
 *
 * An answer that cannot be written at the moment, as the disk is full or somebody
 * has a lock, is kept and settled later: it may have been paid for, and is not asked
 * for again.  Kept answers are settled again after a moment, a few at a time and
 * with little patience for locks, until one goes through.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/clock.h"
#include "core/spi.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "worker/answers.h"
#include "worker/open_calls.h"
#include "worker/slots.h"
#include "worker/steps.h"
#include "worker/turns.h"

#define TOGETHER_BYTES (4 * 1024 * 1024)	/* of answers in memory at a time, but for one */
#define GATHER_MS 5				/* how long answers wait for others, */
#define QUIET_MS 1				/* unless none comes for so long */
#define KEEP_MS 1000
#define KEPT_AT_ONCE 10

static CallQueue kept = {NULL, NULL, 0};
static int64 kept_due = 0;		/* when they are settled again, by clock_monotonic() */
static bool disk_full = false;	/* it is what the transaction failed by */
static int	answers_apart = 0;	/* transactions for which answers are still to be taken apart */

/* What the calls of one transaction tell about their services. */
typedef struct CallNote
{
	const char *service;
	const char *api_key_id;
	bool		ok;
	double		retry_after;	/* seconds, 0 if not said */
	char	   *error;
} CallNote;

static CallNote notes[TURNS_TOGETHER];
static int	nnotes = 0;
static bool any_trouble = true; /* may a service have failures on record? */

/* --- kept answers --- */

static void
keep_answer(OpenCall *open)
{
	if (kept.length == 0)
		kept_due = clock_monotonic() + KEEP_MS * INT64CONST(1000);
	open->was_kept = true;
	call_queue_put(&kept, open);
}

/* Some of the kept answers are finished calls again, when it is time. */
static void
take_kept(void)
{
	if (kept.length == 0 || clock_monotonic() < kept_due)
		return;
	kept_due = clock_monotonic() + KEEP_MS * INT64CONST(1000);
	for (int i = 0; kept.length > 0 && i < KEPT_AT_ONCE; i++)
		call_queue_put(&worker_finished_calls, call_queue_take(&kept));
}

long
worker_settle_ms(void)
{
	return worker_finished_calls.length > 0 ? 0 : kept.length == 0 ? INT_MAX
		: Max((kept_due - clock_monotonic() + 999) / 1000, 0);
}

/* --- notes --- */

/* Tells the services' pace how its calls went. */
static void
step_note_calls(void *arg)
{
	Datum		columns[5][TURNS_TOGETHER];
	SpiArg		args[5];
	Oid			types[5] = {TEXTOID, TEXTOID, BOOLOID, FLOAT8OID, TEXTOID};

	for (int i = 0; i < nnotes; i++)
	{
		columns[0][i] = CStringGetTextDatum(notes[i].service);
		columns[1][i] = CStringGetTextDatum(notes[i].api_key_id);
		columns[2][i] = BoolGetDatum(notes[i].ok);
		columns[3][i] = Float8GetDatum(notes[i].retry_after);
		columns[4][i] = CStringGetTextDatum(notes[i].error ? notes[i].error : "");
	}
	for (int c = 0; c < 5; c++)
	{
		int			length = types[c] == TEXTOID ? -1 : types[c] == BOOLOID ? 1 : 8;
		char		align = types[c] == TEXTOID ? TYPALIGN_INT : types[c] == BOOLOID ? TYPALIGN_CHAR
			: TYPALIGN_DOUBLE;
		Oid			array = types[c] == TEXTOID ? TEXTARRAYOID : types[c] == BOOLOID ? BOOLARRAYOID
			: FLOAT8ARRAYOID;

		args[c] = SPI_ARG(array, PointerGetDatum(construct_array(columns[c], nnotes, types[c], length,
																 length != -1, align)));
	}
	spi_run_kept("SELECT sales_internal.note_calls($1, $2, $3, $4, $5)", false, 1, 5, args);
	any_trouble = strcmp(spi_text(0, 1), "t") == 0;
}

static void
note_call(const OpenCall *open)
{
	const char *error;
	CallNote   *note;
	double		after;
	bool		ok = http_call_is_healthy(open->http, open->result, &after, &error);

	if (open->http->provider[0] == '\0' || open->http->blocked)
		return;
	if (!ok)
		any_trouble = true;
	note = &notes[nnotes++];
	note->service = open->http->provider;
	note->api_key_id = open->http->api_key_id;
	note->ok = ok;
	note->retry_after = after;
	note->error = ok ? NULL : pstrdup(error);
}

/* --- settling --- */

/* Calls whose answers are settled by one transaction. */
typedef struct Batch
{
	OpenCall  **calls;
	int			n;
	bool		together;
	bool		settled;		/* or undone, to be taken apart */
} Batch;

static void
settle_batch(Batch *batch)
{
	nnotes = 0;
	for (int i = 0; i < batch->n; i++)
		if (!batch->calls[i]->was_kept)
			note_call(batch->calls[i]);
	batch->settled = worker_take_answers(batch->n, batch->calls, batch->together);
	if (batch->settled && nnotes > 0 && any_trouble)
		(void) worker_in_subtransaction(step_note_calls, NULL);
}

static void
step_settle(void *arg)
{
	disk_full = false;
	PG_TRY();
	{
		settle_batch(arg);
	}
	PG_CATCH();
	{
		disk_full = geterrcode() == ERRCODE_DISK_FULL;
		PG_RE_THROW();
	}
	PG_END_TRY();
}

/* Are they settled?  Then each call is free, but those that are kept. */
static bool
settle(OpenCall **calls, int n, bool together, char **problem)
{
	Batch		batch = {.calls = calls,.n = n,.together = together};

	*problem = worker_in_transaction(step_settle, &batch);
	worker_end_turns(*problem == NULL);
	if (*problem != NULL && disk_full)
	{
		slots_count(false, false, *problem);
		for (int i = 0; i < n; i++)
			keep_answer(calls[i]);
		return true;
	}
	if (*problem != NULL || !batch.settled)
		return false;
	for (int i = 0; i < n; i++)
	{
		if (calls[i]->keep)
		{
			keep_answer(calls[i]);
			continue;
		}
		if (calls[i]->was_kept)
			kept_due = 0;
		worker_free_call(calls[i]);
	}
	return true;
}

static void
step_give_up(void *arg)
{
	void	  **parts = arg;

	(void) job_settle(parts[0], job_failure(parts[1]));
}

/* What undoes the whole transaction even so is the job's fault. */
static void
give_up(OpenCall *open, const char *problem)
{
	void	   *parts[2] = {&open->job, (void *) problem};

	(void) worker_in_transaction(step_give_up, parts);
	slots_count(false, true, problem);
	worker_free_call(open);
}

/* In one transaction; where that fails, in one each. */
static void
settle_apart(OpenCall **calls, int n)
{
	char	   *problem;

	if (settle(calls, n, false, &problem))
		return;
	if (n == 1)
		give_up(calls[0], problem);
	else
		for (int i = 0; i < n; i++)
			settle_apart(calls + i, 1);
}

/* The next answers to be settled by one transaction; how many they are. */
static int
take_finished(OpenCall **calls, bool *together)
{
	int			most = answers_apart > 0 ? TURNS_APART : TURNS_TOGETHER;
	size_t		bytes = 0;
	int			n = 0;

	*together = answers_apart == 0;
	while (worker_finished_calls.length > 0 && n < most && bytes < TOGETHER_BYTES)
	{
		calls[n] = call_queue_take(&worker_finished_calls);
		bytes += calls[n]->http->body_size;
		*together = *together && !calls[n]->was_kept;
		n++;
	}
	*together = *together && n > 1;
	return n;
}

/* Lets calls that are about to end do so first: they are settled by the same commit. */
static void
gather(void)
{
	int64		end = clock_monotonic() + GATHER_MS * INT64CONST(1000);
	int			before = 0;

	while (worker_finished_calls.length > before && worker_finished_calls.length < TURNS_TOGETHER && worker_finished_calls.length < worker_open_calls() &&
		   clock_monotonic() < end)
	{
		before = worker_finished_calls.length;
		worker_wait(QUIET_MS);
	}
}

void
worker_settle_calls(void)
{
	OpenCall   *calls[TURNS_TOGETHER];
	bool		together;
	char	   *problem;
	int			n;

	take_kept();
	gather();
	n = take_finished(calls, &together);
	if (n == 0)
		return;
	if (together && settle(calls, n, true, &problem))
		return;
	if (together)
		answers_apart = APART_FOR;
	else if (answers_apart > 0)
		answers_apart--;
	for (int i = 0; i < n; i += TURNS_APART)
		settle_apart(calls + i, Min(TURNS_APART, n - i));
}
