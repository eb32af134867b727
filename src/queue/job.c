/*
 * job.c
 *		One job from claim to end: the SQL side, without transactions or I/O.
 *
 * The worker, its helpers for long jobs and run_jobs() in the foreground share
 * these steps and differ only in how they wrap transactions around them.
 */
#include "postgres.h"

#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "compat.h"
#include "core/spi.h"
#include "core/uuid.h"
#include "fmgr.h"
#include "funcapi.h"
#include "queue/job.h"
#include "secrets/cipher.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "core/json.h"

#define JOB_COLUMNS \
	"job_id, company_id, kind, args, mode, prepare_function, settle_function, claim, booked, keyed, lease"
#define JOB_COLUMNS_OF_TABLE \
	"job_id, company_id, kind, args, mode, prepare_function, settle_function, claim, booked, " \
	"unique_key IS NOT NULL, extract(epoch FROM lease)::float8"
#define BUSY_WAIT_S 5			/* after a lock that was not to be had */

static const Job *current_job = NULL;	/* whose function runs now */

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
	MemoryContext old;

	job->job_id = *DatumGetUUIDP(spi_datum(row, 1, &isnull));
	datum = spi_datum(row, 2, &isnull);
	job->has_company = !isnull;
	if (!isnull)
		job->company_id = *DatumGetUUIDP(datum);
	job->kind = copy_text(memory, row, 3);
	old = MemoryContextSwitchTo(memory);
	job->args = DatumGetJsonbPCopy(spi_datum(row, 4, &isnull));
	MemoryContextSwitchTo(old);
	job->mode = strcmp(mode, "http") == 0 ? JOB_HTTP : strcmp(mode, "long") == 0 ? JOB_LONG
		: JOB_SQL;
	job->prepare = copy_text(memory, row, 6);
	job->settle = copy_text(memory, row, 7);
	job->claim = DatumGetInt64(spi_datum(row, 8, &isnull));
	job->booked = DatumGetBool(spi_datum(row, 9, &isnull));
	job->keyed = DatumGetBool(spi_datum(row, 10, &isnull));
	job->lease_s = DatumGetFloat8(spi_datum(row, 11, &isnull));
	return job;
}

List *
job_claim(int wanted, int per_company, bool with_long, MemoryContext memory)
{
	SpiArg		args[3] = {
		SPI_ARG(INT4OID, Int32GetDatum(wanted)),
		SPI_ARG(INT4OID, Int32GetDatum(per_company)),
		SPI_ARG(BOOLOID, BoolGetDatum(with_long))
	};
	uint64		rows;
	List	   *jobs = NIL;
	MemoryContext old;

	args[1].isnull = per_company == 0;
	rows = spi_run_kept("SELECT " JOB_COLUMNS
						" FROM sales_internal.claim_jobs($1, $2, $3)", false, 0, 3, args);
	old = MemoryContextSwitchTo(memory);
	for (uint64 row = 0; row < rows; row++)
		jobs = lappend(jobs, job_from_row(row, memory));
	MemoryContextSwitchTo(old);
	return jobs;
}

Job *
job_load(const pg_uuid_t *job_id, MemoryContext memory)
{
	SpiArg		args[1] = {SPI_ARG_UUID(job_id)};

	if (spi_run("SELECT " JOB_COLUMNS_OF_TABLE " FROM sales_internal.jobs "
				"JOIN sales_internal.job_kinds USING (kind) "
				"WHERE job_id = $1 AND state = 'running'", true, 1, 1, args) == 0)
		return NULL;
	return job_from_row(0, memory);
}

/*
 * The lock keeps the claim as it is until the transaction ends: it is not given
 * to another meanwhile.  A cancel_job() passes it.  (As in settle_jobs(),
 * coalesce() is there for the planner, and the statements stand here rather than
 * in a function because they run for every call.)
 */
bool
job_hold(const Job *job)
{
	SpiArg		args[2] = {SPI_ARG_UUID(&job->job_id), SPI_ARG(INT8OID, Int64GetDatum(job->claim))};

	return spi_run_kept("SELECT FROM sales_internal.jobs WHERE job_id = $1 AND claim = $2 "
						"AND coalesce(state, '') = 'running' FOR KEY SHARE", false, 1, 2, args) == 1;
}

/* Ids and claims of jobs as two arrays. */
static void
claims_of(int n, const Job *const *jobs, SpiArg args[2])
{
	Datum	   *ids = palloc(n * sizeof(Datum));
	Datum	   *claims = palloc(n * sizeof(Datum));

	for (int i = 0; i < n; i++)
	{
		ids[i] = UUIDPGetDatum(&jobs[i]->job_id);
		claims[i] = Int64GetDatum(jobs[i]->claim);
	}
	args[0] = SPI_ARG(UUIDARRAYOID, PointerGetDatum(construct_array(ids, n, UUIDOID, UUID_LEN, false, TYPALIGN_CHAR)));
	args[1] = SPI_ARG(INT8ARRAYOID, PointerGetDatum(construct_array(claims, n, INT8OID, sizeof(int64), true, TYPALIGN_DOUBLE)));
}

void
job_hold_many(int n, const Job *const *jobs, bool *held)
{
	SpiArg		args[2];
	uint64		rows;

	claims_of(n, jobs, args);
	memset(held, 0, n * sizeof(bool));
	rows = spi_run_kept("SELECT h FROM sales_internal.hold_jobs($1, $2) h", false, 0, 2, args);
	for (uint64 row = 0; row < rows; row++)
	{
		bool		isnull;
		pg_uuid_t  *id = DatumGetUUIDP(spi_datum(row, 1, &isnull));

		for (int i = 0; i < n; i++)
			if (memcmp(id, &jobs[i]->job_id, UUID_LEN) == 0)
				held[i] = true;
	}
}

bool
job_extend_lease(const Job *job, double seconds)
{
	SpiArg		args[3] = {
		SPI_ARG_UUID(&job->job_id),
		SPI_ARG(INT8OID, Int64GetDatum(job->claim)),
		SPI_ARG(FLOAT8OID, Float8GetDatum(seconds))
	};

	return spi_run_kept("UPDATE sales_internal.jobs SET lease_until = sales_internal.now() + $3 * interval '1 second' "
				 "WHERE job_id = $1 AND claim = $2 AND coalesce(state, '') = 'running'", false, 0, 3, args) == 1;
}

bool
job_calls_restricted(void)
{
	return spi_run_kept("SELECT FROM sales.system_settings "
						"WHERE category = 'calls' AND key_name = 'enabled'", true, 1, 0, NULL) > 0;
}

void
job_check_calls_allowed(const Job *job)
{
	SpiArg		args[1] = {SPI_ARG_UUID(job->has_company ? &job->company_id : NULL)};

	spi_run_kept("SELECT sales_internal.check_calls_allowed($1)", false, 1, 1, args);
}

/* Calls f(job, company, args [, response]) and returns its JSON. */
static char *
job_call(const Job *job, const char *function, const Jsonb *response)
{
	SpiArg		args[4];
	char	   *sql = psprintf("SELECT %s($1, $2, $3%s)", function, response != NULL ? ", $4" : "");
	Datum		answer;
	bool		isnull;

	args[0] = SPI_ARG_UUID(&job->job_id);
	args[1] = SPI_ARG_UUID(job->has_company ? &job->company_id : NULL);
	args[2] = SPI_ARG(JSONBOID, JsonbPGetDatum(job->args));
	args[3] = SPI_ARG(JSONBOID, JsonbPGetDatum(response));
	current_job = job;
	PG_TRY();
	{
		spi_run_kept(sql, false, 1, response != NULL ? 4 : 3, args);
	}
	PG_FINALLY();
	{
		current_job = NULL;
	}
	PG_END_TRY();
	answer = spi_datum(0, 1, &isnull);
	if (isnull)
		return pstrdup("{}");
	response = DatumGetJsonbP(answer);
	return JsonbToCString(NULL, (JsonbContainer *) &response->root, VARSIZE(response));
}

bool
job_is_outcome(const char *json, bool *is_done)
{
	json_t	   *value;
	json_t	   *outcome;
	const char *word;
	bool		is_outcome;

	/* jsonb prints keys without escapes: most requests need not be read for it */
	if (strstr(json, "\"outcome\"") == NULL)
		return false;
	value = json_loads(json, JSON_DECODE_ANY, NULL);
	outcome = json_object_get(value, "outcome");
	is_outcome = outcome != NULL;
	word = json_string_value(outcome);
	if (is_done != NULL)
		*is_done = word != NULL && strcmp(word, "done") == 0;
	json_decref(value);
	return is_outcome;
}

char *
job_prepare(const Job *job)
{
	char	   *json = job_call(job, job->prepare, NULL);

	if (job->mode == JOB_HTTP || job_is_outcome(json, NULL))
		return json;
	return psprintf("{\"outcome\": \"done\", \"result\": %s}", json);
}

char *
job_answer(const Job *job, const Jsonb *response)
{
	return job_call(job, job->settle, response);
}

char *
job_secret(const Job *job, const char *request)
{
	json_t	   *value;
	const char *id;
	pg_uuid_t	key_id;
	SpiArg		args[4];
	bool		named;
	char	   *owner;

	if (!job->has_company || strstr(request, "\"api_key_id\"") == NULL)
		return NULL;
	value = json_loads(request, 0, NULL);
	id = json_string_value(json_object_get(value, "api_key_id"));
	named = id != NULL && uuid_parse(id, &key_id);
	args[2] = SPI_ARG_TEXT(json_string_value(json_object_get(value, "url")));
	args[3] = SPI_ARG_TEXT(json_string_value(json_object_get(value, "provider")));
	json_decref(value);
	if (!named)
		return NULL;
	args[0] = SPI_ARG_UUID(&job->company_id);
	args[1] = SPI_ARG_UUID(&key_id);
	owner = psprintf("%s|api_keys|%s", uuid_text(&job->company_id), uuid_text(&key_id));
	/*
	 * Each look has a snapshot of its own.  Where the master key changes between a
	 * look and the opening, a second look finds the secret under the new key.
	 */
	for (int look = 0;; look++)
	{
		char	   *sealed;
		char	   *secret;

		spi_run_kept("SELECT sales_internal.key_for_call($1, $2, $3, $4)", false, 1, 4, args);
		sealed = spi_text(0, 1);
		if (sealed == NULL)
			return NULL;
		secret = look == 0 ? cipher_try_open(sealed, owner, NULL) : cipher_open(sealed, owner);
		if (secret != NULL)
			return secret;
	}
}

/* Runs settle_jobs(); a row for each that is settled: its state in column 1. */
static uint64
run_settle(int n, const Job *const *jobs, const char *const *outcomes)
{
	Datum	   *texts = palloc(n * sizeof(Datum));
	SpiArg		args[3];

	claims_of(n, jobs, args);
	for (int i = 0; i < n; i++)
		texts[i] = CStringGetTextDatum(outcomes[i]);
	args[2] = SPI_ARG(TEXTARRAYOID, PointerGetDatum(construct_array(texts, n, TEXTOID, -1, false, TYPALIGN_INT)));
	return spi_run_kept("SELECT state FROM sales_internal.settle_jobs($1, $2, $3::jsonb[])", false, 0, 3, args);
}

JobEnd
job_settle(const Job *job, const char *outcome)
{
	char	   *state;

	if (run_settle(1, &job, &outcome) == 0)
		return JOB_LOST;
	state = spi_text(0, 1);
	return strcmp(state, "done") == 0 ? JOB_DONE
		: strcmp(state, "queued") == 0 ? JOB_AGAIN : JOB_FAILED;
}

bool
job_settle_many(int n, const Job *const *jobs, const char *const *outcomes)
{
	return n == 0 || run_settle(n, jobs, outcomes) == n;
}

/* The text of an outcome, palloc'd; takes the reference.  `otherwise` where it holds no valid text. */
static char *
dump_outcome(json_t *value, const char *otherwise)
{
	char	   *text = value != NULL ? json_dumps(value, JSON_COMPACT) : NULL;
	char	   *copy = pstrdup(text ? text : otherwise);

	free(text);
	json_decref(value);
	return copy;
}

bool
job_meets_others(const ErrorData *error)
{
	return error->sqlerrcode == ERRCODE_LOCK_NOT_AVAILABLE ||
		error->sqlerrcode == ERRCODE_T_R_DEADLOCK_DETECTED ||
		error->sqlerrcode == ERRCODE_T_R_SERIALIZATION_FAILURE;
}

char *
job_outcome_of(const ErrorData *error)
{
	if (job_meets_others(error) || error->sqlerrcode == ERRCODE_DISK_FULL)
		return dump_outcome(json_pack("{s:s, s:s, s:i}", "outcome", "wait",
									  "error", error->message, "after", BUSY_WAIT_S),
							"{\"outcome\": \"wait\", \"after\": 5}");
	switch (error->sqlerrcode)
	{
		case JOB_ERRCODE_WAIT:
			{
				SpiArg		args[1] = {SPI_ARG_TEXT(error->detail ? error->detail : "{}")};

				spi_run_kept("SELECT sales_internal.wait_outcome($1::jsonb)::text", false, 1, 1, args);
				return spi_text(0, 1);
			}
		case ERRCODE_PROGRAM_LIMIT_EXCEEDED:
			/* more of the same would not mend it */
			return dump_outcome(json_pack("{s:s, s:s}", "outcome", "failed", "error", error->message),
								"{\"outcome\": \"failed\"}");
		default:
			return job_failure(job_error_text(error));
	}
}

char *
job_failure(const char *message)
{
	return dump_outcome(json_pack("{s:s, s:s}", "outcome", "retry", "error", message),
						"{\"outcome\": \"retry\", \"error\": \"an error that is no valid text\"}");
}

char *
job_error_text(const ErrorData *error)
{
	return error->hint != NULL
		? psprintf("%s (%s)", error->message, error->hint)
		: pstrdup(error->message);
}

PG_FUNCTION_INFO_V1(sales_current_job);

/* sales_internal.current_job() → (job_id, booked) */
Datum
sales_current_job(PG_FUNCTION_ARGS)
{
	TupleDesc	desc;
	Datum		values[2] = {0};
	bool		nulls[2] = {true, true};

	if (get_call_result_type(fcinfo, NULL, &desc) != TYPEFUNC_COMPOSITE)
		elog(ERROR, "current_job returns a row");
	if (current_job != NULL)
	{
		values[0] = UUIDPGetDatum(&current_job->job_id);
		values[1] = BoolGetDatum(current_job->booked);
		nulls[0] = nulls[1] = false;
	}
	PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(desc), values, nulls)));
}
