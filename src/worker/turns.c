/*
 * turns.c
 *		Jobs that call the outside, turn by turn.
 *
 * A turn is one function of the job: prepare, or settle with what came back.  It
 * answers with the job's outcome or with a (next) request.  Turns run in
 * subtransactions of one transaction, so that many share a commit and the error
 * of one is its own.  There are at most 60: more subtransactions than a backend
 * has room for in shared memory would slow down every other session's snapshots.
 *
 * Jobs that are done end together, by one statement after the last turn.  Where
 * that fails, or one of them was cancelled meanwhile, the transaction is undone
 * and each turn is taken again in one of its own.  A job with a unique key ends
 * in its turn: what a later turn asks for under that key must be a new job.
 *
 * A turn first makes sure that the claim is still good; an answer that comes
 * after a cancel_job(), or after the lease was given to another, writes nothing.
 * A request goes out only when the transaction that prepared it is committed,
 * and the lease covers the time that it may take.  An answer that cannot be written
 * at the moment, as the disk is full or somebody has a lock, is kept and settled
 * later: it may have been paid for, and is not asked for again.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/clock.h"
#include "core/spi.h"
#include "fmgr.h"
#include "queue/job.h"
#include "secrets/cipher.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "worker/calls.h"
#include "worker/slots.h"
#include "worker/steps.h"
#include "worker/turns.h"
#include "worker/worker.h"

#define LEASE_MARGIN_S 60.0	/* to settle in, beyond the longest time of a call */
/*
 * Answers that could not be written are settled again after a moment, a few at
 * a time and with little patience for locks, until one goes through: whoever
 * keeps rows locked shall not hold up the others' answers.
 */
#define KEEP_MS 1000
#define KEPT_AT_ONCE 10
#define KEPT_LOCK_TIMEOUT "10ms"

/* A call with the job that it is for; malloc'd, as the call is. */
typedef struct OpenCall
{
	Job			job;
	HttpCall   *http;
	CURLcode	result;
	bool		was_kept;		/* its answer could not be written the first time */
	struct OpenCall *next;		/* in prepared or a CallQueue */
	struct OpenCall *left;		/* in all */
	struct OpenCall *right;
} OpenCall;

static OpenCall *all = NULL;
static int	open_calls = 0;
static OpenCall *prepared = NULL;	/* to start once their claim is committed */

/* First come, first out. */
typedef struct CallQueue
{
	OpenCall   *first;
	OpenCall   *last;
} CallQueue;

static CallQueue finished = {NULL, NULL};	/* to be settled */
static CallQueue kept = {NULL, NULL};	/* to be settled again */
static int64 kept_due = 0;		/* when, by clock_monotonic() */
static bool disk_full = false;	/* it is what the transaction failed by */

/* What the calls of one transaction tell about their services. */
typedef struct CallNote
{
	const char *service;
	const char *api_key_id;
	bool		ok;
	double		retry_after;	/* seconds, 0 if not said */
	char	   *error;
} CallNote;

/* Jobs of this transaction that are done and end with it. */
static const Job *done_jobs[TURNS_PER_TRANSACTION];
static const char *done_outcomes[TURNS_PER_TRANSACTION];
static int	ndone = 0;

static bool calls_restricted = true;	/* are there switches to look at in this transaction? */
static CallNote notes[TURNS_PER_TRANSACTION];
static int	nnotes = 0;
static bool any_trouble = true; /* may a service have failures on record? */

/* --- open calls --- */

static char *
malloc_text(const char *text)
{
	char	   *copy = text != NULL ? strdup(text) : NULL;

	if (text != NULL && copy == NULL)
		elog(ERROR, "out of memory");
	return copy;
}

static void
open_call_free(OpenCall *open)
{
	if (open->left != NULL)
		open->left->right = open->right;
	else
		all = open->right;
	if (open->right != NULL)
		open->right->left = open->left;
	open_calls--;
	http_call_free(open->http);
	free(open->job.kind);
	free(open->job.args);
	free(open->job.prepare);
	free(open->job.settle);
	free(open);
}

static OpenCall *
open_call_new(const Job *job, HttpCall *http)
{
	OpenCall   *open = calloc(1, sizeof(OpenCall));

	if (open == NULL)
	{
		http_call_free(http);
		elog(ERROR, "out of memory");
	}
	open->job = *job;
	open->job.kind = open->job.args = open->job.prepare = open->job.settle = NULL;
	open->http = http;
	http->owner = open;
	open->right = all;
	if (all != NULL)
		all->left = open;
	all = open;
	open_calls++;
	open->job.kind = malloc_text(job->kind);
	open->job.args = malloc_text(job->args);
	open->job.prepare = malloc_text(job->prepare);
	open->job.settle = malloc_text(job->settle);
	return open;
}

/* Makes the call of a request, to be started by worker_start_calls(). */
static void
make_call(const Job *job, const char *request, const char *secret)
{
	const char *problem;
	HttpCall   *http = http_call_new(request, secret, &problem);
	OpenCall   *open;

	if (http == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", problem)));
	open = open_call_new(job, http);
	open->next = prepared;
	prepared = open;
}

static void
put_last(CallQueue *queue, OpenCall *open)
{
	open->next = NULL;
	if (queue->first == NULL)
		queue->first = open;
	else
		queue->last->next = open;
	queue->last = open;
}

static OpenCall *
take_first(CallQueue *queue)
{
	OpenCall   *open = queue->first;

	queue->first = open->next;
	return open;
}

static void
call_done(HttpCall *call, CURLcode result)
{
	OpenCall   *open = call->owner;

	open->result = result;
	put_last(&finished, open);
}

void
worker_start_calls(bool committed)
{
	while (prepared != NULL)
	{
		OpenCall   *open = prepared;

		prepared = open->next;
		open->next = NULL;
		if (committed && open->http->blocked)
			call_done(open->http, CURLE_ABORTED_BY_CALLBACK);
		else if (committed)
			calls_start(open->http);
		else
			open_call_free(open);
	}
}

int
worker_open_calls(void)
{
	return open_calls;
}

static void
keep_answer(OpenCall *open)
{
	if (kept.first == NULL)
		kept_due = clock_monotonic() + KEEP_MS * INT64CONST(1000);
	open->was_kept = true;
	put_last(&kept, open);
}

/* Some of the kept answers are finished calls again, when it is time. */
static void
take_kept(void)
{
	if (kept.first == NULL || clock_monotonic() < kept_due)
		return;
	kept_due = clock_monotonic() + KEEP_MS * INT64CONST(1000);
	for (int i = 0; kept.first != NULL && i < KEPT_AT_ONCE; i++)
		put_last(&finished, take_first(&kept));
}

long
worker_settle_ms(void)
{
	return finished.first != NULL ? 0 : kept.first == NULL ? INT_MAX
		: Max((kept_due - clock_monotonic() + 999) / 1000, 0);
}

/* --- a turn --- */

typedef struct Turn
{
	const Job  *job;
	const char *response;		/* null on the first turn */
	const char *outcome;		/* set: no function is called, the job ends so */
	JobEnd		end;
	bool		held;			/* the claim is held already */
	bool		together;		/* it may end with the others of its transaction */
	bool		ends_later;		/* and does */
	bool		lost;			/* the claim is no longer good: nothing was written */
	bool		called;			/* a request was made instead of an end */
} Turn;

static void
end_turn(Turn *turn, const char *outcome)
{
	turn->end = job_settle(turn->job, outcome);
	turn->lost = turn->end == JOB_LOST;
	if (turn->lost)
		ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("the job was cancelled")));
}

static void
step_turn(void *arg)
{
	Turn	   *turn = arg;
	const Job  *job = turn->job;
	char	   *json;
	char	   *secret;
	bool		is_done;
	double		lease_s;

	if (turn->outcome != NULL)
	{
		end_turn(turn, turn->outcome);
		return;
	}
	if (turn->response != NULL && !turn->held && !job_hold(job))
	{
		turn->lost = true;
		return;
	}
	json = turn->response == NULL ? job_prepare(job) : job_answer(job, turn->response);
	if (job_is_outcome(json, &is_done))
	{
		turn->ends_later = turn->together && !job->keyed && is_done;
		if (turn->ends_later)
			turn->outcome = json;
		else
			end_turn(turn, json);
		return;
	}
	if (calls_restricted)
		job_check_calls_allowed(job);
	lease_s = http_timeout_ms(json) / 1000.0 + LEASE_MARGIN_S;
	if (turn->response != NULL || lease_s > job->lease_s)
		job_extend_lease(job, lease_s);
	secret = job_secret(job, json);
	PG_TRY();
	{
		make_call(job, json, secret);
	}
	PG_FINALLY();
	{
		cipher_wipe(secret);
	}
	PG_END_TRY();
	turn->called = true;
}

static void
step_outcome_of(void *arg)
{
	void	  **parts = arg;

	parts[1] = MemoryContextStrdup(worker_memory, job_outcome_of(parts[0]));
}

/* Drops what a turn prepared before it failed. */
static void
drop_prepared(OpenCall *before)
{
	while (prepared != before)
	{
		OpenCall   *open = prepared;

		prepared = open->next;
		open_call_free(open);
	}
}

/* The claim lasts while the answer is kept. */
static void
step_keep_claim(void *arg)
{
	job_extend_lease(arg, LEASE_MARGIN_S);
}

/*
 * Takes one turn, whatever comes of it.  Throws only where even the failure
 * cannot be noted: then the transaction is undone.  False if the answer could
 * not be written because somebody has a lock: it is to be settled later.
 */
static bool
take_turn(const Job *job, const char *response, bool held, bool together)
{
	Turn		turn = {.job = job,.response = response,.held = held,.together = together};
	OpenCall   *before = prepared;
	ErrorData  *error = worker_in_limited_subtransaction(step_turn, &turn);
	const char *problem = NULL;

	if (error != NULL)
	{
		void	   *parts[2] = {error, NULL};

		drop_prepared(before);
		if (turn.lost)
			return true;
		if (response != NULL && error->sqlerrcode == ERRCODE_DISK_FULL)
			ReThrowError(error);
		if (response != NULL && job_meets_others(error))
		{
			slots_count(false, false, job_error_text(error));
			(void) worker_in_subtransaction(step_keep_claim, (void *) job);
			return false;
		}
		turn.called = turn.ends_later = false;
		if (worker_in_subtransaction(step_outcome_of, parts) != NULL)
			parts[1] = job_failure("the job failed, and so did taking note of why");
		turn.outcome = parts[1];
		if (error->sqlerrcode != JOB_ERRCODE_WAIT)
			problem = job_error_text(error);
		error = worker_in_subtransaction(step_turn, &turn);
		if (error != NULL && !turn.lost)
			ReThrowError(error);
	}
	if (turn.ends_later)
	{
		done_jobs[ndone] = job;
		done_outcomes[ndone++] = turn.outcome;
	}
	else if (!turn.called && !turn.lost)
		slots_count(turn.end == JOB_DONE, turn.end == JOB_FAILED, problem);
	return true;
}

void
worker_first_turns(List *jobs)
{
	ListCell   *cell;

	calls_restricted = job_calls_restricted();
	foreach(cell, jobs)
	{
		const Job  *job = lfirst(cell);

		if (job->mode == JOB_HTTP)
			(void) take_turn(job, NULL, false, false);
	}
}

/* --- answers --- */

void
worker_wait(long timeout_ms)
{
	calls_wait(timeout_ms, call_done);
}

/* Tells the services' pace how its calls went. */
static void
step_note_calls(void *arg)
{
	Datum		columns[5][TURNS_PER_TRANSACTION];
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

	if (open->http->provider[0] == '\0' || open->http->blocked || nnotes == TURNS_PER_TRANSACTION)
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

static bool
settle_call(OpenCall *open, bool held, bool together)
{
	bool		settled;
	char	   *response = http_call_response(open->http, open->result);
	char	   *copy = pstrdup(response != NULL ? response
							   : "{\"status\": 0, \"blocked\": false, \"error\": \"out of memory\"}");

	free(response);
	if (!open->was_kept)
	{
		note_call(open);
		return take_turn(&open->job, copy, held, together);
	}
	/* (an error that goes on from here undoes the setting with the transaction) */
	SetConfigOption("lock_timeout", KEPT_LOCK_TIMEOUT, PGC_USERSET, PGC_S_OVERRIDE);
	settled = take_turn(&open->job, copy, held, together);
	SetConfigOption("lock_timeout", WORKER_LOCK_TIMEOUT, PGC_USERSET, PGC_S_OVERRIDE);
	return settled;
}

typedef struct Batch
{
	OpenCall   *calls[TURNS_PER_TRANSACTION];
	bool		settled[TURNS_PER_TRANSACTION];
	int			n;
} Batch;

static void
settle_batch(Batch *batch)
{
	const Job  *jobs[TURNS_PER_TRANSACTION];
	bool		held[TURNS_PER_TRANSACTION];

	nnotes = ndone = 0;
	calls_restricted = job_calls_restricted();
	for (int i = 0; i < batch->n; i++)
		jobs[i] = &batch->calls[i]->job;
	job_hold_many(batch->n, jobs, held);
	for (int i = 0; i < batch->n; i++)
		batch->settled[i] = settle_call(batch->calls[i], held[i], batch->n > 1);
	if (!job_settle_many(ndone, done_jobs, done_outcomes))
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("a job was cancelled while its answer was settled with those of others: each is settled alone")));
	if (nnotes > 0 && any_trouble)
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

static void
step_give_up(void *arg)
{
	void	  **parts = arg;

	(void) job_settle(parts[0], job_failure(parts[1]));
}

static void
end_call(OpenCall *open, bool settled)
{
	if (!settled)
	{
		keep_answer(open);
		return;
	}
	if (open->was_kept)
		kept_due = 0;
	open_call_free(open);
}

/*
 * A turn that undid the whole transaction is taken alone; then it is the job's
 * fault, unless the disk is full.
 */
static void
settle_alone(OpenCall *open)
{
	Batch		batch = {.calls = {open},.n = 1};
	char	   *problem = worker_in_transaction(step_settle, &batch);

	worker_start_calls(problem == NULL);
	if (problem != NULL && !disk_full)
	{
		void	   *parts[2] = {&open->job, problem};

		(void) worker_in_transaction(step_give_up, parts);
		slots_count(false, true, problem);
	}
	end_call(open, problem == NULL ? batch.settled[0] : !disk_full);
}

bool
worker_settle_calls(void)
{
	Batch		batch = {.n = 0};
	char	   *problem;

	take_kept();
	while (finished.first != NULL && batch.n < TURNS_PER_TRANSACTION)
		batch.calls[batch.n++] = take_first(&finished);
	if (batch.n == 0)
		return false;
	problem = worker_in_transaction(step_settle, &batch);
	worker_start_calls(problem == NULL);
	if (problem == NULL)
		for (int i = 0; i < ndone; i++)
			slots_count(true, false, NULL);
	else if (disk_full)
		slots_count(false, false, problem);
	for (int i = 0; i < batch.n; i++)
	{
		if (problem != NULL && !disk_full)
			settle_alone(batch.calls[i]);
		else
			end_call(batch.calls[i], problem == NULL && batch.settled[i]);
	}
	return finished.first != NULL;
}

PG_FUNCTION_INFO_V1(sales_open_calls);

/* sales_internal.open_calls(service text, api_key_id uuid) → integer */
Datum
sales_open_calls(PG_FUNCTION_ARGS)
{
	char	   *service = PG_ARGISNULL(0) ? pstrdup("") : text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *key = PG_ARGISNULL(1) ? NULL
		: DatumGetCString(DirectFunctionCall1(uuid_out, PG_GETARG_DATUM(1)));
	int			n = 0;

	for (OpenCall *open = all; open != NULL; open = open->right)
		if (key != NULL ? strcmp(open->http->api_key_id, key) == 0
			: strcmp(open->http->provider, service) == 0)
			n++;
	PG_RETURN_INT32(n);
}
