#ifndef SALES_QUEUE_JOB_H
#define SALES_QUEUE_JOB_H

#include "nodes/pg_list.h"
#include "utils/elog.h"
#include "utils/jsonb.h"
#include "utils/uuid.h"

typedef enum JobMode
{
	JOB_SQL,					/* in the worker's own transaction */
	JOB_LONG,					/* in a short-lived worker */
	JOB_HTTP					/* a request outside any transaction */
} JobMode;

/* A claimed job; strings are palloc'd with it. */
typedef struct Job
{
	pg_uuid_t	job_id;
	bool		has_company;
	pg_uuid_t	company_id;
	int64		claim;			/* number of this claim of it */
	bool		booked;			/* it comes at its turn with a service */
	bool		keyed;			/* it has a unique key */
	double		lease_s;		/* how long the claim lasts from when it was made */
	JobMode		mode;
	char	   *kind;
	Jsonb	   *args;
	char	   *prepare;		/* function names, qualified */
	char	   *settle;
} Job;

/* SQLSTATE of sales_internal.pace_call(): not now, the detail says when. */
#define JOB_ERRCODE_WAIT MAKE_SQLSTATE('S', 'A', 'W', '0', '1')

/*
 * Claims up to `wanted` jobs, such that no company has more than `per_company`
 * running (0: no limit); long ones only if asked.  SPI must be connected.  A
 * List of Job.
 */
extern List *job_claim(int wanted, int per_company, bool with_long, MemoryContext memory);

/* Reads the claim of one job again; null if it is no longer running. */
extern Job *job_load(const pg_uuid_t *job_id, MemoryContext memory);

/*
 * Holds the claim until the transaction ends; false if it was lost or the job
 * cancelled: then nothing may be written for it.
 */
extern bool job_hold(const Job *job);

/*
 * Does so for many at once, waiting for nobody's lock: held[i] tells for which.
 * The others are to be tried alone.
 */
extern void job_hold_many(int n, const Job *const *jobs, bool *held);

/* Makes the claim last that long from now at least; false if it was lost or the job cancelled. */
extern bool job_extend_lease(const Job *job, double seconds);

/* Is there any switch of calls at all?  If not the next need not be asked. */
extern bool job_calls_restricted(void);

/* Throws unless calls to the outside are switched on for the job's company. */
extern void job_check_calls_allowed(const Job *job);

/*
 * Calls the job's prepare function; SPI must be connected.  For JOB_HTTP the
 * result is the request or, if it holds "outcome", the end; else an outcome.
 */
extern char *job_prepare(const Job *job);

/* Is this JSON an outcome, rather than a request?  Then *is_done: is it "done"?  (is_done may be null.) */
extern bool job_is_outcome(const char *json, bool *is_done);

/* The secret that a request names by "api_key_id", opened; null if none. */
extern char *job_secret(const Job *job, const char *request);

/* Calls the settle function with the response; an outcome or a next request. */
extern char *job_answer(const Job *job, const Jsonb *response);

/* How a claim ended. */
typedef enum JobEnd
{
	JOB_DONE,
	JOB_FAILED,
	JOB_AGAIN,					/* queued: to be retried, or to wait for its turn */
	JOB_LOST					/* cancelled meanwhile, or claimed again */
} JobEnd;

/* Ends the claim as the outcome says.  JOB_LOST: what was written for it must go. */
extern JobEnd job_settle(const Job *job, const char *outcome);

/*
 * Does so for many at once; false if one is lost: then nothing that the
 * transaction has written may stay.
 */
extern bool job_settle_many(int n, const Job *const *jobs, const char *const *outcomes);

/* Did it only meet another session: a lock, a deadlock, a serialization failure? */
extern bool job_meets_others(const ErrorData *error);

/*
 * The outcome of an error: wait where the job only has to wait (for its turn, a
 * lock, another transaction), else retry.  SPI must be connected.
 */
extern char *job_outcome_of(const ErrorData *error);

/* {"outcome": "retry", "error": message} */
extern char *job_failure(const char *message);

/* Message and hint of the error being handled, for the job's record. */
extern char *job_error_text(const ErrorData *error);

#endif							/* SALES_QUEUE_JOB_H */
