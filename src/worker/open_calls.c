/*
 * open_calls.c
 *		The calls of this worker, each with its job, from the turn that prepares
 *		it until its answer is settled.
 *
 * Calls are prepared in a transaction and started when that is committed; those
 * that end wait in worker_finished_calls.  All of it is malloc'd, as libcurl's
 * part is, and outlives transactions.
 */
#include "postgres.h"

#include "compat.h"
#include "core/uuid.h"
#include "fmgr.h"
#include "utils/builtins.h"
#include "worker/calls.h"
#include "worker/open_calls.h"

#define STARTED_AT_ONCE 32

CallQueue	worker_finished_calls = {NULL, NULL, 0};

static OpenCall *all = NULL;
static int	open_calls = 0;
static OpenCall *prepared = NULL;

static char *
malloc_text(const char *text)
{
	char	   *copy = text != NULL ? strdup(text) : NULL;

	if (text != NULL && copy == NULL)
		elog(ERROR, "out of memory");
	return copy;
}

void
worker_free_call(OpenCall *open)
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
new_call(const Job *job, HttpCall *http)
{
	OpenCall   *open = calloc(1, sizeof(OpenCall));

	if (open == NULL)
	{
		http_call_free(http);
		elog(ERROR, "out of memory");
	}
	open->job = *job;
	open->job.kind = open->job.prepare = open->job.settle = NULL;
	open->job.args = NULL;
	open->http = http;
	http->owner = open;
	open->right = all;
	if (all != NULL)
		all->left = open;
	all = open;
	open_calls++;
	open->job.kind = malloc_text(job->kind);
	open->job.args = malloc(VARSIZE(job->args));
	if (open->job.args == NULL)
		elog(ERROR, "out of memory");
	memcpy(open->job.args, job->args, VARSIZE(job->args));
	open->job.prepare = malloc_text(job->prepare);
	open->job.settle = malloc_text(job->settle);
	return open;
}

void
worker_prepare_call(const Job *job, const char *request, const char *secret)
{
	const char *problem;
	HttpCall   *http = http_call_new(request, secret, &problem);
	OpenCall   *open;

	if (http == NULL)
		ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", problem)));
	open = new_call(job, http);
	open->next = prepared;
	prepared = open;
}

OpenCall *
worker_last_prepared(void)
{
	return prepared;
}

void
worker_drop_prepared(OpenCall *before)
{
	while (prepared != before)
	{
		OpenCall   *open = prepared;

		prepared = open->next;
		worker_free_call(open);
	}
}

static void
call_done(HttpCall *call, CURLcode result)
{
	OpenCall   *open = call->owner;

	open->result = result;
	call_queue_put(&worker_finished_calls, open);
}

/*
 * Some at a time: where a service answers at once, the next ones find connections
 * that are free again, and few calls are in memory at the same time.
 */
void
worker_start_prepared(void)
{
	for (int n = 1; prepared != NULL; n++)
	{
		OpenCall   *open = prepared;

		prepared = open->next;
		if (open->http->blocked)
			call_done(open->http, CURLE_ABORTED_BY_CALLBACK);
		else
			calls_start(open->http);
		if (n % STARTED_AT_ONCE == 0)
			worker_wait(0);
	}
}

int
worker_open_calls(void)
{
	return open_calls;
}

void
worker_wait(long timeout_ms)
{
	(void) calls_wait(timeout_ms, call_done);
}

PG_FUNCTION_INFO_V1(sales_open_calls);

/* sales_internal.open_calls(service text, api_key_id uuid) → integer */
Datum
sales_open_calls(PG_FUNCTION_ARGS)
{
	char	   *service = PG_ARGISNULL(0) ? pstrdup("") : text_to_cstring(PG_GETARG_TEXT_PP(0));
	char	   *key = PG_ARGISNULL(1) ? NULL : uuid_text(PG_GETARG_UUID_P(1));
	int			n = 0;

	for (OpenCall *open = all; open != NULL; open = open->right)
		if (key != NULL ? strcmp(open->http->api_key_id, key) == 0
			: strcmp(open->http->provider, service) == 0)
			n++;
	PG_RETURN_INT32(n);
}
