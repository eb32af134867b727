-- Queue: asking for work, watching it, running it.

CREATE OR REPLACE FUNCTION sales_internal.enqueue(
    kind text, company_id uuid, args jsonb DEFAULT '{}', unique_key text DEFAULT NULL,
    run_at timestamptz DEFAULT NULL, priority integer DEFAULT 0)
RETURNS uuid
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    known sales_internal.job_kinds;
    new_job uuid;
BEGIN
    SELECT * INTO known FROM sales_internal.job_kinds k WHERE k.kind = enqueue.kind;
    IF NOT FOUND THEN
        RAISE invalid_parameter_value USING MESSAGE = format('there is no kind of job "%s"', enqueue.kind);
    END IF;
    INSERT INTO sales_internal.jobs (company_id, kind, args, unique_key, run_at, priority, max_attempts, created_by)
    VALUES (enqueue.company_id, enqueue.kind, enqueue.args, enqueue.unique_key,
            coalesce(enqueue.run_at, sales_internal.now()), enqueue.priority, known.max_attempts,
            sales.current_user_id())
    ON CONFLICT (company_id, kind, unique_key) WHERE state IN ('queued', 'running') DO NOTHING
    RETURNING job_id INTO new_job;
    IF new_job IS NULL THEN
        SELECT j.job_id INTO new_job FROM sales_internal.jobs j
        WHERE j.company_id = enqueue.company_id AND j.kind = enqueue.kind
          AND j.unique_key = enqueue.unique_key AND j.state IN ('queued', 'running');
    END IF;
    PERFORM sales_internal.wake_workers();
    RETURN new_job;
END
$$;
COMMENT ON FUNCTION sales_internal.enqueue(text, uuid, jsonb, text, timestamptz, integer) IS
    'Puts a job into the queue and wakes the worker at commit; an open job with the same key is returned instead';
REVOKE ALL ON FUNCTION sales_internal.enqueue(text, uuid, jsonb, text, timestamptz, integer) FROM PUBLIC;

-- Claims up to `wanted` jobs: companies take turns, each in order of priority
-- and time; those whose lease is over are queued again first.
CREATE OR REPLACE FUNCTION sales_internal.claim_jobs(wanted integer)
RETURNS TABLE (job_id uuid, company_id uuid, kind text, args jsonb, mode text,
               prepare_function text, settle_function text, attempts integer)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    moment timestamptz := sales_internal.now();
BEGIN
    UPDATE sales_internal.jobs
    SET state = CASE WHEN attempts >= max_attempts THEN 'failed' ELSE 'queued' END,
        error = 'the worker was lost while it ran this job',
        finished_at = CASE WHEN attempts >= max_attempts THEN moment END
    WHERE state = 'running' AND lease_until < moment;

    RETURN QUERY
    WITH RECURSIVE companies AS (
        (SELECT j.company_id FROM sales_internal.jobs j WHERE j.state = 'queued' AND j.company_id IS NOT NULL
         ORDER BY j.company_id LIMIT 1)
        UNION ALL
        SELECT (SELECT j.company_id FROM sales_internal.jobs j
                WHERE j.state = 'queued' AND j.company_id > c.company_id ORDER BY j.company_id LIMIT 1)
        FROM companies c WHERE c.company_id IS NOT NULL
    ), tenants AS (
        SELECT company_id FROM companies WHERE company_id IS NOT NULL UNION ALL SELECT NULL
    ), candidates AS (
        SELECT q.job_id, q.turn
        FROM tenants t CROSS JOIN LATERAL (
            SELECT j.job_id, row_number() OVER (ORDER BY j.priority DESC, j.run_at, j.job_id) AS turn
            FROM (SELECT * FROM sales_internal.jobs j
                  WHERE j.state = 'queued' AND j.run_at <= moment
                    AND (j.company_id = t.company_id OR (t.company_id IS NULL AND j.company_id IS NULL))
                  ORDER BY j.priority DESC, j.run_at, j.job_id LIMIT wanted) j) q
        ORDER BY q.turn, q.job_id LIMIT wanted
    )
    UPDATE sales_internal.jobs j
    SET state = 'running', attempts = j.attempts + 1, lease_until = moment + k.lease, error = NULL
    FROM candidates c, sales_internal.job_kinds k
    WHERE j.job_id = c.job_id AND j.state = 'queued' AND k.kind = j.kind
    RETURNING j.job_id, j.company_id, j.kind, j.args, k.mode, k.prepare_function, k.settle_function, j.attempts;
END
$$;
COMMENT ON FUNCTION sales_internal.claim_jobs(integer) IS
    'Claims jobs for a worker, companies taking turns; queues those again whose lease is over';
REVOKE ALL ON FUNCTION sales_internal.claim_jobs(integer) FROM PUBLIC;

-- outcome: {"outcome": "done", "result": ..., "cost": n}
--          {"outcome": "retry", "error": "...", "after": seconds}
--          {"outcome": "failed", "error": "..."}
CREATE OR REPLACE FUNCTION sales_internal.settle_job(job uuid, outcome jsonb) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    claimed sales_internal.jobs;
    ended text;
    wait_seconds double precision;
BEGIN
    SELECT * INTO claimed FROM sales_internal.jobs WHERE job_id = job AND state = 'running' FOR UPDATE;
    IF NOT FOUND THEN
        RETURN NULL;            -- cancelled meanwhile
    END IF;
    ended := coalesce(outcome ->> 'outcome', 'failed');
    IF ended = 'retry' AND claimed.attempts < claimed.max_attempts THEN
        -- what the service asked for, else twice as long each time, with jitter
        wait_seconds := coalesce((outcome ->> 'after')::double precision,
                                 least(3600, 2 ^ claimed.attempts) * (0.75 + random() / 2));
        UPDATE sales_internal.jobs
        SET state = 'queued', error = outcome ->> 'error', lease_until = NULL,
            run_at = sales_internal.now() + wait_seconds * interval '1 second'
        WHERE job_id = job;
        RETURN 'queued';
    END IF;
    IF ended <> 'done' THEN
        ended := 'failed';
    END IF;
    UPDATE sales_internal.jobs
    SET state = ended, result = outcome -> 'result', error = outcome ->> 'error', lease_until = NULL,
        cost = cost + coalesce((outcome ->> 'cost')::numeric, 0), finished_at = sales_internal.now()
    WHERE job_id = job;
    RETURN ended;
END
$$;
COMMENT ON FUNCTION sales_internal.settle_job(uuid, jsonb) IS
    'Ends a claimed job as its outcome says: done, queued again after a while, or failed';
REVOKE ALL ON FUNCTION sales_internal.settle_job(uuid, jsonb) FROM PUBLIC;

-- Seconds until something is due: a job, a lease, a periodic task.
CREATE OR REPLACE FUNCTION sales_internal.seconds_until_due() RETURNS double precision
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT extract(epoch FROM least(
        (SELECT min(run_at) FROM sales_internal.jobs WHERE state = 'queued'),
        (SELECT min(lease_until) FROM sales_internal.jobs WHERE state = 'running'),
        (SELECT min(next_run) FROM sales_internal.periodic_tasks)) - sales_internal.now())::double precision
$$;
COMMENT ON FUNCTION sales_internal.seconds_until_due() IS
    'How long a worker may sleep; null when nothing is planned';
REVOKE ALL ON FUNCTION sales_internal.seconds_until_due() FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.claim_task() RETURNS text
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE sales_internal.periodic_tasks t
    SET last_run = sales_internal.now(), next_run = sales_internal.now() + t.every, last_error = NULL
    WHERE t.name = (SELECT name FROM sales_internal.periodic_tasks
                    WHERE next_run <= sales_internal.now() ORDER BY next_run, name LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING t.run_function
$$;
COMMENT ON FUNCTION sales_internal.claim_task() IS
    'Takes the periodic task that is due longest and plans its next run; null when none is due';
REVOKE ALL ON FUNCTION sales_internal.claim_task() FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.run_jobs(most integer DEFAULT 1000) RETURNS integer
    AS 'MODULE_PATHNAME', 'sales_run_jobs'
    LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION sales_internal.run_jobs(integer) IS
    'Runs due jobs here and now, in this transaction, and returns how many; for tests and for servers without workers';
REVOKE ALL ON FUNCTION sales_internal.run_jobs(integer) FROM PUBLIC;

CREATE OR REPLACE VIEW sales.jobs WITH (security_barrier = true) AS
SELECT j.job_id, j.kind, j.state, j.attempts, CASE WHEN j.state = 'queued' THEN j.run_at END AS next_run,
       j.error, j.cost, j.created_at, j.finished_at, j.result
FROM sales_internal.jobs j
WHERE j.company_id = sales.current_company_id();
COMMENT ON VIEW sales.jobs IS 'The tenant''s jobs';
COMMENT ON COLUMN sales.jobs.job_id IS 'Key of the job, as the asking function returned it';
COMMENT ON COLUMN sales.jobs.kind IS 'What it does';
COMMENT ON COLUMN sales.jobs.state IS 'queued, running, done, failed or cancelled';
COMMENT ON COLUMN sales.jobs.attempts IS 'How often it was tried';
COMMENT ON COLUMN sales.jobs.next_run IS 'When it is tried next; null unless queued';
COMMENT ON COLUMN sales.jobs.error IS 'What went wrong last';
COMMENT ON COLUMN sales.jobs.cost IS 'What it cost, in the setting billing.currency';
COMMENT ON COLUMN sales.jobs.created_at IS 'When it was asked for';
COMMENT ON COLUMN sales.jobs.finished_at IS 'When it ended';
COMMENT ON COLUMN sales.jobs.result IS 'What it found or made';
GRANT SELECT ON sales.jobs TO sales_app;

CREATE OR REPLACE VIEW sales.worker_status AS
SELECT w.database, w.pid, w.state, w.started_at, w.jobs_done, w.jobs_failed, w.calls_open, w.last_error,
       q.queued, q.oldest_age
FROM sales_internal.worker_slots() w
LEFT JOIN (SELECT current_database() AS database, count(*) AS queued,
                  sales_internal.now() - min(run_at) AS oldest_age
           FROM sales_internal.jobs WHERE state = 'queued') q ON q.database = w.database;
COMMENT ON VIEW sales.worker_status IS 'Background workers of this cluster; queue figures of this database';
COMMENT ON COLUMN sales.worker_status.database IS 'Database that the worker serves';
COMMENT ON COLUMN sales.worker_status.pid IS 'Its process';
COMMENT ON COLUMN sales.worker_status.state IS 'starting, idle, working or calling';
COMMENT ON COLUMN sales.worker_status.started_at IS 'When it started';
COMMENT ON COLUMN sales.worker_status.jobs_done IS 'Jobs done since';
COMMENT ON COLUMN sales.worker_status.jobs_failed IS 'Jobs failed since';
COMMENT ON COLUMN sales.worker_status.calls_open IS 'Calls to outside services under way';
COMMENT ON COLUMN sales.worker_status.last_error IS 'What went wrong last';
COMMENT ON COLUMN sales.worker_status.queued IS 'Jobs waiting in this database';
COMMENT ON COLUMN sales.worker_status.oldest_age IS 'How long the oldest of them waits';
GRANT SELECT ON sales.worker_status TO sales_admin, pg_monitor;
GRANT USAGE ON SCHEMA sales TO pg_monitor;

CREATE OR REPLACE FUNCTION sales.cancel_job(job_id uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
BEGIN
    UPDATE sales_internal.jobs j
    SET state = 'cancelled', finished_at = sales_internal.now(), lease_until = NULL
    WHERE j.job_id = cancel_job.job_id AND j.company_id = company AND j.state IN ('queued', 'running');
    IF FOUND THEN
        RETURN true;
    END IF;
    IF NOT EXISTS (SELECT FROM sales_internal.jobs j
                   WHERE j.job_id = cancel_job.job_id AND j.company_id = company) THEN
        RAISE no_data_found USING MESSAGE = format('there is no job %s', job_id), HINT = 'See sales.jobs.';
    END IF;
    RETURN false;
END
$$;
COMMENT ON FUNCTION sales.cancel_job(uuid) IS
    'Cancels a job that has not ended; false if it had. A call under way is not undone, but its answer is dropped';
REVOKE ALL ON FUNCTION sales.cancel_job(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.cancel_job(uuid) TO sales_app;

CREATE OR REPLACE FUNCTION sales.retry_job(job_id uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
BEGIN
    UPDATE sales_internal.jobs j
    SET state = 'queued', attempts = 0, run_at = sales_internal.now(), finished_at = NULL, error = NULL
    WHERE j.job_id = retry_job.job_id AND j.company_id = company AND j.state IN ('failed', 'cancelled');
    IF FOUND THEN
        PERFORM sales_internal.wake_workers();
        RETURN true;
    END IF;
    IF NOT EXISTS (SELECT FROM sales_internal.jobs j
                   WHERE j.job_id = retry_job.job_id AND j.company_id = company) THEN
        RAISE no_data_found USING MESSAGE = format('there is no job %s', job_id), HINT = 'See sales.jobs.';
    END IF;
    RETURN false;
END
$$;
COMMENT ON FUNCTION sales.retry_job(uuid) IS 'Queues a failed or cancelled job again; false if it is neither';
REVOKE ALL ON FUNCTION sales.retry_job(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.retry_job(uuid) TO sales_app;

CREATE OR REPLACE FUNCTION sales.wait_job(job_id uuid, timeout interval DEFAULT '30 seconds') RETURNS text
    AS 'MODULE_PATHNAME', 'sales_wait_job'
    LANGUAGE C VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION sales.wait_job(uuid, interval) IS
    'Waits until a job has ended or the time is over, and returns its state; call it in a transaction after the one that asked';
REVOKE ALL ON FUNCTION sales.wait_job(uuid, interval) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.wait_job(uuid, interval) TO sales_app;

CREATE OR REPLACE FUNCTION sales.start_workers() RETURNS boolean
    AS 'MODULE_PATHNAME', 'sales_start_workers'
    LANGUAGE C VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION sales.start_workers() IS
    'Starts this database''s worker unless it runs; true if it was started';
REVOKE ALL ON FUNCTION sales.start_workers() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.start_workers() TO sales_admin;

CREATE OR REPLACE FUNCTION sales.stop_workers() RETURNS boolean
    AS 'MODULE_PATHNAME', 'sales_stop_workers'
    LANGUAGE C VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION sales.stop_workers() IS
    'Stops this database''s worker until start_workers() or a restart of the server; true if it ran';
REVOKE ALL ON FUNCTION sales.stop_workers() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.stop_workers() TO sales_admin;

