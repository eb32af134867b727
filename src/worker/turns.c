/*
 * turns.c
 *		Jobs that call the outside, turn by turn.
 *
 * A turn is one function of the job: prepare, or settle with what came back.  It
 * answers with the job's outcome or with a (next) request.  Many turns are taken
 * together, in one subtransaction of one transaction, and the jobs that are done
 * end by one statement after the last: a commit costs as much as many calls.
 *
 * Where anything goes wrong there, if only that a job was cancelled meanwhile, it is
 * all undone and the turns are taken apart, each in a subtransaction of its own, so
 * that the error of one is its own; and so are those of the next few transactions.
 * There are at most 60 then: more subtransactions than a backend has room for in
 * shared memory would slow down every other session's snapshots.  Where even that
 * fails, each turn is taken again in a transaction of its own.  A job with a unique
 * key ends in its turn: what a later turn asks for under that key must be a new job.
 *
 * An answer that comes after a cancel_job(), or after the lease was given to another,
 * writes nothing.  A request goes out only when the transaction that prepared it is
 * committed, and the lease covers the time that it may take.
 */
#include "postgres.h"

#include "core/spi.h"
#include "queue/job.h"
#include "secrets/cipher.h"
#include "utils/guc.h"
#include "utils/memutils.h"
#include "worker/slots.h"
#include "worker/steps.h"
#include "worker/turns.h"
#include "worker/worker.h"

#define LEASE_MARGIN_S 60.0	/* to settle in, beyond the longest time of a call */
#define TOGETHER_MS 1000		/* turns that take longer together are taken apart */
#define BRIEF_LOCK_TIMEOUT "10ms"	/* who keeps rows locked shall not hold up the others */

/* One turn. */
typedef struct Turn
{
	const Job  *job;
	OpenCall   *open;			/* whose answer it settles; null on the first turn */
	const char *outcome;		/* set: no function is called, the job ends so */
	JobEnd		end;
	char	   *problem;		/* what the job failed by, in worker_memory */
	bool		held;			/* the claim is held already */
	bool		together;		/* it may end with the others of its transaction */
	bool		ends_later;		/* and does */
	bool		lost;			/* the claim is no longer good: nothing was written */
	bool		called;			/* a request was made instead of an end */
} Turn;

/* The turns of this transaction. */
static Turn turns[TURNS_TOGETHER];
static int	nturns = 0;

static int	first_apart = 0;		/* transactions for which first turns are still to be taken apart */
static bool calls_restricted = true;	/* are there switches to look at in this transaction? */

/* --- a turn --- */

static void
begin_turns(void)
{
	nturns = 0;
	calls_restricted = job_calls_restricted();
}

static void
add_turn(const Job *job, OpenCall *open)
{
	turns[nturns++] = (Turn) {.job = job,.open = open};
}

static void
lose(Turn *turn)
{
	turn->lost = true;
	ereport(ERROR, (errcode(ERRCODE_QUERY_CANCELED), errmsg("the job was cancelled")));
}

static void
end_turn(Turn *turn, const char *outcome)
{
	turn->end = job_settle(turn->job, outcome);
	if (turn->end == JOB_LOST)
		lose(turn);
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
	if (!turn->held && !job_hold(job))
		lose(turn);
	json = turn->open == NULL ? job_prepare(job)
		: job_answer(job, http_call_response(turn->open->http, turn->open->result));
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
	if ((turn->open != NULL || lease_s > job->lease_s) && !job_extend_lease(job, lease_s))
		lose(turn);
	secret = job_secret(job, json);
	PG_TRY();
	{
		worker_prepare_call(job, json, secret);
	}
	PG_FINALLY();
	{
		cipher_wipe(secret);
	}
	PG_END_TRY();
	turn->called = true;
}

/* Ends the jobs that end together; throws if one is lost. */
static void
end_done_jobs(void)
{
	const Job  *jobs[TURNS_TOGETHER] = {NULL};
	const char *outcomes[TURNS_TOGETHER] = {NULL};
	int			n = 0;

	for (int i = 0; i < nturns; i++)
	{
		if (!turns[i].ends_later)
			continue;
		turns[i].end = JOB_DONE;
		jobs[n] = turns[i].job;
		outcomes[n++] = turns[i].outcome;
	}
	if (n > 0 && !job_settle_many(n, jobs, outcomes))
		ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
						errmsg("a job was cancelled while its answer was settled with those of others: each is settled alone")));
}

/* --- turns together --- */

/*
 * The claims of answers are not held: that one is lost shows when it is ended, or
 * goes on, and undoes all.
 */
static void
step_turns_together(void *arg)
{
	int			limit = worker_turn_timeout();

	worker_limit_step(limit > 0 ? Min(limit, TOGETHER_MS) : TOGETHER_MS);
	for (int i = 0; i < nturns; i++)
	{
		turns[i].held = turns[i].together = true;
		step_turn(&turns[i]);
	}
	end_done_jobs();
}

/*
 * Runs a step that takes turns together; false if it failed and is undone.  The limit of
 * time begins with the first turn, not with the step: a timer that was set once wakes the
 * worker when it is over, even if it was stopped before, and an idle worker, which claims
 * nothing, would wake itself by it for ever.
 */
static bool
try_together(WorkerStep step, void *arg)
{
	if (worker_in_limited_subtransaction(step, arg, 0) == NULL)
		return true;
	worker_drop_prepared(NULL);
	nturns = 0;
	return false;
}

/* --- turns apart --- */

static void
step_outcome_of(void *arg)
{
	void	  **parts = arg;

	parts[1] = MemoryContextStrdup(worker_memory, job_outcome_of(parts[0]));
}

/* The claim lasts while the answer is kept. */
static void
step_keep_claim(void *arg)
{
	(void) job_extend_lease(arg, LEASE_MARGIN_S);
}

/*
 * Takes one turn, whatever comes of it.  Throws only where even the failure
 * cannot be noted: then the transaction is undone.  An answer that could
 * not be written because somebody has a lock is to be kept, and settled later.
 */
static void
take_turn(Turn *turn)
{
	OpenCall   *before = worker_last_prepared();
	ErrorData  *error = worker_in_limited_subtransaction(step_turn, turn, worker_turn_timeout());
	void	   *parts[2] = {error, NULL};

	if (error == NULL)
		return;
	worker_drop_prepared(before);
	if (turn->lost)
		return;
	if (turn->open != NULL && error->sqlerrcode == ERRCODE_DISK_FULL)
		ReThrowError(error);
	if (turn->open != NULL && job_meets_others(error))
	{
		slots_count(false, false, job_error_text(error));
		(void) worker_in_subtransaction(step_keep_claim, (void *) turn->job);
		turn->open->keep = true;
		return;
	}
	turn->called = turn->ends_later = false;
	if (worker_in_subtransaction(step_outcome_of, parts) != NULL)
		parts[1] = job_failure("the job failed, and so did taking note of why");
	turn->outcome = parts[1];
	if (error->sqlerrcode != JOB_ERRCODE_WAIT)
		turn->problem = MemoryContextStrdup(worker_memory, job_error_text(error));
	error = worker_in_subtransaction(step_turn, turn);
	if (error != NULL && !turn->lost)
		ReThrowError(error);
}

/* Many turns, or one whose answer was kept, have little patience with locks. */
static void
take_turns_apart(void)
{
	const Job  *jobs[TURNS_APART];
	bool		held[TURNS_APART];

	Assert(nturns <= TURNS_APART);
	for (int i = 0; i < nturns; i++)
		jobs[i] = turns[i].job;
	memset(held, true, sizeof(held));	/* by its claim, on the first turn */
	if (nturns > 0 && turns[0].open != NULL)
		job_hold_many(nturns, jobs, held);
	for (int i = 0; i < nturns; i++)
	{
		Turn	   *turn = &turns[i];
		bool		briefly = nturns > 1 || (turn->open != NULL && turn->open->was_kept);

		turn->held = held[i];
		turn->together = nturns > 1;
		/* (an error that goes on from here undoes the setting with the transaction) */
		if (briefly)
			SetConfigOption("lock_timeout", BRIEF_LOCK_TIMEOUT, PGC_USERSET, PGC_S_OVERRIDE);
		take_turn(turn);
		if (briefly)
			SetConfigOption("lock_timeout", WORKER_LOCK_TIMEOUT, PGC_USERSET, PGC_S_OVERRIDE);
	}
	end_done_jobs();
}

/* --- first turns --- */

int
worker_turns_at_once(void)
{
	return first_apart > 0 ? TURNS_APART : TURNS_TOGETHER;
}

bool
worker_claim_together(WorkerStep step, void *arg)
{
	if (first_apart == 0)
	{
		bool		all_went = try_together(step, arg);

		if (!all_went)
			first_apart = APART_FOR;
		return all_went;
	}
	step(arg);
	first_apart--;
	return true;
}

void
worker_first_turns(List *jobs)
{
	ListCell   *cell;

	begin_turns();
	foreach(cell, jobs)
	{
		const Job  *job = lfirst(cell);

		if (job->mode == JOB_HTTP)
			add_turn(job, NULL);
	}
	if (first_apart == 0)
		step_turns_together(NULL);
	else
		take_turns_apart();
}

/* --- answers --- */

bool
worker_take_answers(int n, OpenCall **calls, bool together)
{
	begin_turns();
	for (int i = 0; i < n; i++)
	{
		calls[i]->keep = false;
		add_turn(&calls[i]->job, calls[i]);
	}
	if (together)
		return try_together(step_turns_together, NULL);
	take_turns_apart();
	return true;
}

/* --- the end of the transaction --- */

void
worker_end_turns(bool committed)
{
	for (int i = 0; i < nturns && committed; i++)
	{
		const Turn *turn = &turns[i];

		if (!turn->called && !turn->lost && !(turn->open != NULL && turn->open->keep))
			slots_count(turn->end == JOB_DONE, turn->end == JOB_FAILED, turn->problem);
	}
	nturns = 0;
	if (committed)
		worker_start_prepared();
	else
		worker_drop_prepared(NULL);
}
