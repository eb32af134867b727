#ifndef SALES_QUEUE_JOB_H
#define SALES_QUEUE_JOB_H

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
	JobMode		mode;
	char	   *kind;
	char	   *args;			/* JSON text */
	char	   *prepare;		/* function names, qualified */
	char	   *settle;
} Job;

/* Claims up to `wanted` jobs; SPI must be connected.  A List of Job. */
extern List *job_claim(int wanted, MemoryContext memory);

/* Reads the claim of one job again; null if it is no longer running. */
extern Job *job_load(const pg_uuid_t *job_id, MemoryContext memory);

/*
 * Calls the job's prepare function; SPI must be connected.  For JOB_HTTP the
 * result is the request or, if it holds "outcome", the end; else an outcome.
 */
extern char *job_prepare(const Job *job);

/* Is this JSON an outcome, rather than a request? */
extern bool job_is_outcome(const char *json);

/* The secret that a request names by "api_key_id", opened; null if none. */
extern char *job_secret(const Job *job, const char *request);

/* Calls the settle function with the response; an outcome or a next request. */
extern char *job_answer(const Job *job, const char *response);

/* Ends the job as the outcome says; true if it is done. */
extern bool job_settle(const Job *job, const char *outcome);

/* {"outcome": "retry", "error": message} */
extern char *job_failure(const char *message);

/* Message and hint of the error being handled, for the job's record. */
extern char *job_error_text(ErrorData *error);

#endif							/* SALES_QUEUE_JOB_H */
