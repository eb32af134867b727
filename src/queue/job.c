/*
 * job.c
 *		One job from claim to end: the SQL side, without transactions or I/O.
 *
 * The worker, its helpers for long jobs and run_jobs() in the foreground share
 * these steps and differ only in how they wrap transactions around them.
 */
#include "postgres.h"

#include "catalog/pg_type.h"
#include "core/spi.h"
#include "core/uuid.h"
#include "queue/job.h"
#include "secrets/cipher.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "core/json.h"

#define JOB_COLUMNS "job_id, company_id, kind, args::text, mode, prepare_function, settle_function"

static char *
copy_text(MemoryContext memory, uint64 row, int column)
{
	char	   *text = spi_text(row, column);

	return text != NULL ? MemoryContextStrdup(memory, text) : NULL;
}

static Job *
job_from_row(uint64 row, MemoryContext memory)
{
	Job		   *job = MemoryContextAllocZero(memory, sizeof(Job));
	bool		isnull;
	Datum		datum;
	const char *mode = spi_text(row, 5);

	job->job_id = *DatumGetUUIDP(spi_datum(row, 1, &isnull));
	datum = spi_datum(row, 2, &isnull);
	job->has_company = !isnull;
	if (!isnull)
		job->company_id = *DatumGetUUIDP(datum);
	job->kind = copy_text(memory, row, 3);
	job->args = copy_text(memory, row, 4);
	job->mode = strcmp(mode, "http") == 0 ? JOB_HTTP : strcmp(mode, "long") == 0 ? JOB_LONG
		: JOB_SQL;
	job->prepare = copy_text(memory, row, 6);
	job->settle = copy_text(memory, row, 7);
	return job;
}

List *
job_claim(int wanted, MemoryContext memory)
{
	SpiArg		args[1] = {SPI_ARG(INT4OID, Int32GetDatum(wanted))};
	uint64		rows = spi_run("SELECT " JOB_COLUMNS " FROM sales_internal.claim_jobs($1)",
							   false, 0, 1, args);
	List	   *jobs = NIL;
	MemoryContext old = MemoryContextSwitchTo(memory);

	for (uint64 row = 0; row < rows; row++)
		jobs = lappend(jobs, job_from_row(row, memory));
	MemoryContextSwitchTo(old);
	return jobs;
}

Job *
job_load(const pg_uuid_t *job_id, MemoryContext memory)
{
	SpiArg		args[1] = {SPI_ARG_UUID(job_id)};

	if (spi_run("SELECT " JOB_COLUMNS " FROM sales_internal.jobs "
				"JOIN sales_internal.job_kinds USING (kind) "
				"WHERE job_id = $1 AND state = 'running'", true, 1, 1, args) == 0)
		return NULL;
	return job_from_row(0, memory);
}

/* Calls f(job, company, args [, response]) and returns its JSON. */
static char *
job_call(const Job *job, const char *function, const char *response)
{
	SpiArg		args[4];
	char	   *sql = psprintf("SELECT %s($1, $2, $3::jsonb%s)::text", function,
							   response != NULL ? ", $4::jsonb" : "");
	char	   *text;

	args[0] = SPI_ARG_UUID(&job->job_id);
	args[1] = SPI_ARG_UUID(job->has_company ? &job->company_id : NULL);
	args[2] = SPI_ARG_TEXT(job->args);
	args[3] = SPI_ARG_TEXT(response);
	spi_run(sql, false, 1, response != NULL ? 4 : 3, args);
	text = spi_text(0, 1);
	return text != NULL ? text : pstrdup("{}");
}

bool
job_is_outcome(const char *json)
{
	json_t	   *value = json_loads(json, JSON_DECODE_ANY, NULL);
	bool		is_outcome = json_object_get(value, "outcome") != NULL;

	json_decref(value);
	return is_outcome;
}

char *
job_prepare(const Job *job)
{
	char	   *json = job_call(job, job->prepare, NULL);

	if (job->mode == JOB_HTTP || job_is_outcome(json))
		return json;
	return psprintf("{\"outcome\": \"done\", \"result\": %s}", json);
}

char *
job_answer(const Job *job, const char *response)
{
	return job_call(job, job->settle, response);
}

char *
job_secret(const Job *job, const char *request)
{
	json_t	   *value = json_loads(request, 0, NULL);
	const char *id = json_string_value(json_object_get(value, "api_key_id"));
	pg_uuid_t	key_id;
	SpiArg		args[2];
	bool		named = id != NULL && uuid_parse(id, &key_id);
	char	   *owner;

	json_decref(value);
	if (!named || !job->has_company)
		return NULL;
	args[0] = SPI_ARG_UUID(&job->company_id);
	args[1] = SPI_ARG_UUID(&key_id);
	if (spi_run("SELECT key_value FROM sales.api_keys "
				"WHERE company_id = $1 AND api_key_id = $2", true, 1, 2, args) == 0)
		return NULL;
	owner = psprintf("%s|api_keys|%s", uuid_text(&job->company_id), uuid_text(&key_id));
	return cipher_open(spi_text(0, 1), owner);
}

bool
job_settle(const Job *job, const char *outcome)
{
	SpiArg		args[2] = {SPI_ARG_UUID(&job->job_id), SPI_ARG_TEXT(outcome)};
	char	   *ended;

	spi_run("SELECT sales_internal.settle_job($1, $2::jsonb)", false, 1, 2, args);
	ended = spi_text(0, 1);
	return ended != NULL && strcmp(ended, "done") == 0;
}

char *
job_failure(const char *message)
{
	json_t	   *value = json_pack("{s:s, s:s}", "outcome", "retry", "error", message);
	char	   *text = value != NULL ? json_dumps(value, JSON_COMPACT) : NULL;
	char	   *copy = pstrdup(text ? text : "{\"outcome\": \"retry\", \"error\": \"an error that is no valid text\"}");

	free(text);
	json_decref(value);
	return copy;
}

char *
job_error_text(ErrorData *error)
{
	return error->hint != NULL
		? psprintf("%s (%s)", error->message, error->hint)
		: pstrdup(error->message);
}
