#ifndef SALES_WORKER_OPEN_CALLS_H
#define SALES_WORKER_OPEN_CALLS_H

#include "http/http.h"
#include "queue/job.h"

/* A call with the job that it is for; malloc'd, as the call is. */
typedef struct OpenCall
{
	Job			job;
	HttpCall   *http;
	CURLcode	result;
	bool		keep;			/* its answer could not be written now */
	bool		was_kept;		/* nor the first time */
	struct OpenCall *next;		/* of those prepared, or in a CallQueue */
	struct OpenCall *left;		/* of all */
	struct OpenCall *right;
} OpenCall;

/* First come, first out. */
typedef struct CallQueue
{
	OpenCall   *first;
	OpenCall   *last;
	int			length;
} CallQueue;

static inline void
call_queue_put(CallQueue *queue, OpenCall *open)
{
	open->next = NULL;
	if (queue->first == NULL)
		queue->first = open;
	else
		queue->last->next = open;
	queue->last = open;
	queue->length++;
}

static inline OpenCall *
call_queue_take(CallQueue *queue)
{
	OpenCall   *open = queue->first;

	queue->first = open->next;
	queue->length--;
	return open;
}

/* Calls that have ended, to be settled. */
extern CallQueue worker_finished_calls;

/* Prepares the call that a job's request asks for. */
extern void worker_prepare_call(const Job *job, const char *request, const char *secret);

/* The call that was prepared last; null: none is. */
extern OpenCall *worker_last_prepared(void);

/* Drops the calls that were prepared after that one. */
extern void worker_drop_prepared(OpenCall *before);

/* Starts those that are prepared. */
extern void worker_start_prepared(void);

/* The call is settled, or was never started. */
extern void worker_free_call(OpenCall *open);

/* Calls open, or about to be. */
extern int	worker_open_calls(void);

/* Waits as calls_wait() does and collects the calls that end. */
extern void worker_wait(long timeout_ms);

#endif							/* SALES_WORKER_OPEN_CALLS_H */
