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
    IF sales_internal.on_shard() THEN
        -- The queue is on the coordinator, whose worker fetches this (drain_shard_requests).
        INSERT INTO sales_internal.shard_requests (company_id, kind, args)
        VALUES (enqueue.company_id, 'job', jsonb_build_object('kind', enqueue.kind, 'args', enqueue.args, 'unique_key', enqueue.unique_key,
                                                              'run_at', enqueue.run_at, 'priority', enqueue.priority));
        RETURN NULL;
    END IF;
    SELECT * INTO known FROM sales_internal.job_kinds k WHERE k.kind = enqueue.kind;
    IF NOT FOUND THEN
        RAISE invalid_parameter_value USING MESSAGE = format('there is no kind of job "%s"', enqueue.kind);
    END IF;
    -- An open job with the same key may end between the two looks: then again.
    WHILE new_job IS NULL LOOP
        INSERT INTO sales_internal.jobs (company_id, kind, args, unique_key, run_at, due, priority, max_attempts, created_by)
        VALUES (enqueue.company_id, enqueue.kind, enqueue.args, enqueue.unique_key,
                coalesce(enqueue.run_at, sales_internal.now()), coalesce(enqueue.run_at <= sales_internal.now(), true),
                enqueue.priority, known.max_attempts, sales.current_user_id())
        ON CONFLICT (company_id, kind, unique_key) WHERE state IN ('queued', 'running') AND unique_key IS NOT NULL DO NOTHING
        RETURNING job_id INTO new_job;
        IF new_job IS NULL THEN
            SELECT j.job_id INTO new_job FROM sales_internal.jobs j
            WHERE j.company_id = enqueue.company_id AND j.kind = enqueue.kind
              AND j.unique_key = enqueue.unique_key AND j.state IN ('queued', 'running');
        END IF;
    END LOOP;
    PERFORM sales_internal.wake_workers();
    RETURN new_job;
END
$$;
COMMENT ON FUNCTION sales_internal.enqueue(text, uuid, jsonb, text, timestamptz, integer) IS
    'Puts a job into the queue and wakes the worker at commit; an open job with the same key is returned instead';
REVOKE ALL ON FUNCTION sales_internal.enqueue(text, uuid, jsonb, text, timestamptz, integer) FROM PUBLIC;

-- Claims up to `wanted` jobs.  Companies take turns, and what a company has
-- running counts as turns that it had: of the free places the one that holds the
-- fewest gets the next.  Jobs of a company that may not write wait.  Jobs whose
-- lease is over are queued again first.  Nobody is waited for: a job that a
-- session has locked, to cancel it say, is left out.
--
-- What it costs: each job becomes due once; then one look-up for each company that
-- has a job that is due, and one for each job that may be claimed.  Jobs that are
-- not due cost nothing, however many they are and whosesoever.
--
-- The plans of the worker's statements are kept, and are often made while the table is
-- empty, when a scan of all of it looks as good as anything.  So seqscans are off, and
-- "= ANY (ARRAY[x])" is an equality that leaves no other way than the index on job_id.  A job that
-- is to be claimed is found again by its place (ctid); one that a session changed meanwhile is judged as it is now, or left for the next claim.
CREATE OR REPLACE FUNCTION sales_internal.claim_jobs(
    wanted integer, per_company integer DEFAULT NULL, with_long boolean DEFAULT true)
RETURNS TABLE (job_id uuid, company_id uuid, kind text, args jsonb, mode text, prepare_function text, settle_function text,
               claim bigint, booked boolean, keyed boolean, lease double precision)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    moment timestamptz := sales_internal.now();
    most integer := coalesce(per_company, wanted);
BEGIN
    UPDATE sales_internal.jobs j
    SET state = CASE WHEN j.attempts >= j.max_attempts THEN 'failed' ELSE 'queued' END,
        error = 'the worker was lost while it ran this job', lease_until = NULL,
        finished_at = CASE WHEN j.attempts >= j.max_attempts THEN moment END
    FROM (SELECT l.job_id FROM sales_internal.jobs l WHERE l.state = 'running' AND l.lease_until < moment
          FOR UPDATE SKIP LOCKED) lost
    WHERE j.job_id = ANY (ARRAY[lost.job_id]);

    UPDATE sales_internal.jobs j SET due = true
    FROM (SELECT l.job_id FROM sales_internal.jobs l WHERE l.state = 'queued' AND NOT l.due AND l.run_at <= moment
          FOR UPDATE SKIP LOCKED) ripe
    WHERE j.job_id = ANY (ARRAY[ripe.job_id]);

    RETURN QUERY
    WITH RECURSIVE companies AS (
        (SELECT j.company_id FROM sales_internal.jobs j WHERE j.state = 'queued' AND j.due AND j.company_id IS NOT NULL
         ORDER BY j.company_id LIMIT 1)
        UNION ALL
        SELECT (SELECT j.company_id FROM sales_internal.jobs j
                WHERE j.state = 'queued' AND j.due AND j.company_id > c.company_id ORDER BY j.company_id LIMIT 1)
        FROM companies c WHERE c.company_id IS NOT NULL
    ), busy AS MATERIALIZED (
        -- company → jobs running, as one value to look up in: a join compares every company with every other
        SELECT jsonb_object_agg(r.company_id, r.running) AS running
        FROM (SELECT j.company_id, count(*) AS running FROM sales_internal.jobs j
              WHERE j.state = 'running' AND j.company_id IS NOT NULL GROUP BY j.company_id) r
    ), tenants AS (
        SELECT c.company_id, coalesce((SELECT b.running ->> c.company_id::text FROM busy b)::bigint, 0) AS running
        FROM companies c
        WHERE (SELECT t.subscription_status FROM sales.companies t WHERE t.company_id = c.company_id) = 'active'
    ), enough AS (
        -- Where `wanted` companies have a job to be claimed, no turn after theirs is given: of
        -- many companies one job each is looked at rather than `wanted` of each.
        SELECT t.running + 1 AS turn
        FROM tenants t
        WHERE t.running < most
          AND (SELECT true FROM sales_internal.jobs j
               WHERE j.state = 'queued' AND j.due AND j.company_id = t.company_id AND j.run_at <= moment
                 AND (with_long OR NOT EXISTS (SELECT FROM sales_internal.job_kinds k WHERE k.kind = j.kind AND k.mode = 'long'))
               ORDER BY j.priority DESC, j.run_at, j.job_id LIMIT 1)
        ORDER BY t.running OFFSET greatest(wanted - 1, 0) LIMIT 1
    ), candidates AS (
        SELECT q.place, q.job_id, q.turn
        FROM tenants t CROSS JOIN LATERAL (
            SELECT d.place, d.job_id, t.running + row_number() OVER (ORDER BY d.priority DESC, d.run_at, d.job_id) AS turn
            FROM (SELECT j.ctid AS place, j.job_id, j.priority, j.run_at FROM sales_internal.jobs j
                  WHERE j.state = 'queued' AND j.due AND j.company_id = t.company_id AND j.run_at <= moment
                    AND (with_long OR NOT EXISTS (SELECT FROM sales_internal.job_kinds k WHERE k.kind = j.kind AND k.mode = 'long'))
                  ORDER BY j.priority DESC, j.run_at, j.job_id
                  LIMIT greatest(least(wanted, most - t.running, (SELECT e.turn FROM enough e) - t.running), 0)) d) q
        UNION ALL
        SELECT d.place, d.job_id, row_number() OVER (ORDER BY d.priority DESC, d.run_at, d.job_id)
        FROM (SELECT j.ctid AS place, j.job_id, j.priority, j.run_at FROM sales_internal.jobs j
              WHERE j.state = 'queued' AND j.due AND j.company_id IS NULL AND j.run_at <= moment
                AND (with_long OR NOT EXISTS (SELECT FROM sales_internal.job_kinds k WHERE k.kind = j.kind AND k.mode = 'long'))
              ORDER BY j.priority DESC, j.run_at, j.job_id LIMIT wanted) d
    ), chosen AS (
        SELECT c.place
        FROM (SELECT c.place FROM candidates c ORDER BY c.turn, c.job_id LIMIT wanted) c
        JOIN sales_internal.jobs j ON j.ctid = c.place AND coalesce(j.state, '') = 'queued'
        FOR UPDATE OF j SKIP LOCKED
    )
    UPDATE sales_internal.jobs j
    SET state = 'running', due = false, attempts = j.attempts + 1, claim = j.claim + 1, lease_until = moment + k.lease, error = NULL
    FROM chosen c, sales_internal.job_kinds k
    WHERE j.ctid = c.place AND k.kind = j.kind
    RETURNING j.job_id, j.company_id, j.kind, j.args, k.mode, k.prepare_function, k.settle_function, j.claim, j.booked,
              j.unique_key IS NOT NULL, extract(epoch FROM k.lease)::double precision;
END
$$;
COMMENT ON FUNCTION sales_internal.claim_jobs(integer, integer, boolean) IS
    'Claims jobs for a worker, companies taking turns, at most per_company running for each; queues those again whose lease is over';
REVOKE ALL ON FUNCTION sales_internal.claim_jobs(integer, integer, boolean) FROM PUBLIC;

-- Those of these claims that are good and that nobody else has locked; they stay
-- so until the transaction ends, but for a cancel_job().
CREATE OR REPLACE FUNCTION sales_internal.hold_jobs(jobs uuid[], claims bigint[]) RETURNS SETOF uuid
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan
AS $$
BEGIN
    RETURN QUERY
    SELECT j.job_id FROM unnest(jobs, claims) w (job_id, claim)
    JOIN sales_internal.jobs j ON j.job_id = ANY (ARRAY[w.job_id]) AND j.claim = w.claim AND coalesce(j.state, '') = 'running'
    FOR KEY SHARE OF j SKIP LOCKED;
END
$$;
COMMENT ON FUNCTION sales_internal.hold_jobs(uuid[], bigint[]) IS
    'Keeps claims as they are until the transaction ends; those that are lost, or locked at the moment, are left out';
REVOKE ALL ON FUNCTION sales_internal.hold_jobs(uuid[], bigint[]) FROM PUBLIC;

-- Ends claimed jobs as their outcomes say and tells in which state each is now; those
-- whose claim was lost, or which were cancelled, are left out.
-- outcome: {"outcome": "done", "result": ..., "cost": n}
--          {"outcome": "retry", "error": "...", "after": seconds}
--          {"outcome": "failed", "error": "..."}
--          {"outcome": "wait", "error": "...", "after": seconds, "booked": true}: not counted as an attempt
-- coalesce() keeps the planner from taking a partial index of running jobs, a good
-- choice for the nearly empty table that it may see when it plans.
CREATE OR REPLACE FUNCTION sales_internal.settle_jobs(jobs uuid[], claims bigint[], outcomes jsonb[])
RETURNS TABLE (job_id uuid, state text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off
SET enable_hashjoin = off
SET enable_mergejoin = off
SET enable_bitmapscan = off
SET plan_cache_mode = force_generic_plan
AS $$
#variable_conflict use_column
DECLARE
    moment timestamptz := sales_internal.now();
BEGIN
    RETURN QUERY
    UPDATE sales_internal.jobs j
    SET state = CASE WHEN w.ended = 'wait' OR (w.ended = 'retry' AND j.attempts < j.max_attempts) THEN 'queued'
                     WHEN w.ended = 'done' THEN 'done' ELSE 'failed' END,
        attempts = j.attempts - (w.ended = 'wait')::integer,
        -- what was asked for, else twice as long each time, with jitter
        run_at = CASE WHEN w.ended IN ('wait', 'retry')
                      THEN moment + coalesce(w.after, least(3600, 2.0 ^ least(j.attempts, 20)) * (0.75 + random() / 2)) * interval '1 second'
                      ELSE j.run_at END,
        booked = w.ended = 'wait' AND coalesce(w.outcome -> 'booked' = 'true', false),
        finished_at = CASE WHEN w.ended = 'wait' OR (w.ended = 'retry' AND j.attempts < j.max_attempts) THEN NULL ELSE moment END,
        result = CASE WHEN w.ended = 'done' THEN w.outcome -> 'result' END,
        error = w.outcome ->> 'error',
        cost = least(j.cost + w.price, 999999),
        lease_until = NULL
    FROM (SELECT u.job, u.claim, u.outcome,
                 CASE WHEN u.outcome ->> 'outcome' IN ('done', 'retry', 'wait') THEN u.outcome ->> 'outcome' ELSE 'failed' END AS ended,
                 CASE WHEN jsonb_typeof(u.outcome -> 'after') = 'number'
                      THEN least(greatest((u.outcome ->> 'after')::numeric, 0), 7 * 86400)::double precision END AS after,
                 CASE WHEN jsonb_typeof(u.outcome -> 'cost') = 'number'
                      THEN least(greatest((u.outcome ->> 'cost')::numeric, 0), 99999) ELSE 0 END AS price
          FROM unnest(settle_jobs.jobs, settle_jobs.claims, settle_jobs.outcomes) u (job, claim, outcome)) w
    WHERE j.job_id = ANY (ARRAY[w.job]) AND j.claim = w.claim AND coalesce(j.state, '') = 'running'
    RETURNING j.job_id, j.state;
END
$$;
COMMENT ON FUNCTION sales_internal.settle_jobs(uuid[], bigint[], jsonb[]) IS
    'Ends claimed jobs as their outcomes say: done, queued again after a while, or failed; leaves out those whose claim was lost or cancelled';
REVOKE ALL ON FUNCTION sales_internal.settle_jobs(uuid[], bigint[], jsonb[]) FROM PUBLIC;

-- Leases last as long as they were given for.  Where the clock was set back, what is due stays due, and what was to be done some
-- time after something else (another try of a job, a turn with a service, a periodic task) is done that
-- time later all the same; what has a moment of its own, as a campaign has, waits for that.
CREATE OR REPLACE FUNCTION sales_internal.clock_was_set(by interval) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE sales_internal.jobs SET lease_until = lease_until + by WHERE state = 'running';
    IF by < '0' THEN
        UPDATE sales_internal.jobs SET run_at = run_at + by WHERE state = 'queued' AND (due OR claim > 0);
        UPDATE sales_internal.service_pace SET next_turn = next_turn + by, closed_until = closed_until + by;
        UPDATE sales_internal.periodic_tasks SET next_run = next_run + by WHERE next_run > sales_internal.now();
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.clock_was_set(interval) IS
    'Plans again what was planned by a clock that has been set since, by so much: forward, or back if it is negative';
REVOKE ALL ON FUNCTION sales_internal.clock_was_set(interval) FROM PUBLIC;

-- Seconds until something becomes due that is not due yet: what is due now and
-- was not claimed has to wait for a place, and that is told by the end of a call.
CREATE OR REPLACE FUNCTION sales_internal.seconds_until_due(with_tasks boolean DEFAULT true) RETURNS double precision
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT extract(epoch FROM least(
        (SELECT run_at FROM sales_internal.jobs WHERE state = 'queued' AND NOT due AND run_at > sales_internal.now() ORDER BY run_at LIMIT 1),
        (SELECT lease_until FROM sales_internal.jobs WHERE state = 'running' AND lease_until > sales_internal.now()
         ORDER BY lease_until LIMIT 1),
        (SELECT min(next_run) FROM sales_internal.periodic_tasks WHERE with_tasks)) - sales_internal.now())::double precision
$$;
COMMENT ON FUNCTION sales_internal.seconds_until_due(boolean) IS
    'How long a worker that found nothing to do may sleep; null when nothing is planned';
REVOKE ALL ON FUNCTION sales_internal.seconds_until_due(boolean) FROM PUBLIC;

-- What a task took last tells whether it may be run in the worker: only of one that comes often, and so is of use there.
-- What comes seldom has a process of its own each time: what it takes may have grown since (an ANALYZE keeps its sample of
-- 30,000 rows in memory), and the worker would keep that for good.
CREATE OR REPLACE FUNCTION sales_internal.claim_task(OUT name text, OUT run_function text, OUT last_ms integer)
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE sales_internal.periodic_tasks t
    SET last_run = sales_internal.now(), next_run = sales_internal.now() + t.every, last_error = NULL
    WHERE t.name = (SELECT d.name FROM sales_internal.periodic_tasks d
                    WHERE d.next_run <= sales_internal.now() ORDER BY d.next_run, d.name LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING t.name, t.run_function, CASE WHEN t.every < interval '1 minute' THEN t.last_ms END
$$;
COMMENT ON FUNCTION sales_internal.claim_task() IS
    'Takes the periodic task that is due longest and plans its next run; null when none is due. last_ms is null where it needs a process of its own';
REVOKE ALL ON FUNCTION sales_internal.claim_task() FROM PUBLIC;

-- A task that failed is tried again sooner than its turn, but not at once.
CREATE OR REPLACE FUNCTION sales_internal.end_task(task text, took_ms integer, problem text) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE sales_internal.periodic_tasks t
    SET last_ms = took_ms, last_error = problem,
        next_run = CASE WHEN problem IS NULL THEN t.next_run
                        ELSE least(t.next_run, sales_internal.now() + interval '1 minute') END
    WHERE t.name = task
      AND (problem IS NOT NULL OR t.last_error IS NOT NULL OR t.last_ms IS NULL OR (took_ms >= 100) <> (t.last_ms >= 100))
$$;
COMMENT ON FUNCTION sales_internal.end_task(text, integer, text) IS 'Notes how a periodic task went';
REVOKE ALL ON FUNCTION sales_internal.end_task(text, integer, text) FROM PUBLIC;

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
SELECT coalesce(w.database, q.database) AS database, w.pid, coalesce(w.state, 'none') AS state, w.started_at,
       w.jobs_done, w.jobs_failed, w.calls_open, w.last_error, q.queued, q.oldest_age
FROM sales_internal.worker_slots() w
FULL JOIN (SELECT current_database() AS database, sum(n)::bigint AS queued,
                  greatest(sales_internal.now() - min(first), '0') AS oldest_age
           -- (in two parts, each with its index)
           FROM (SELECT count(*) AS n, min(run_at) AS first FROM sales_internal.jobs WHERE state = 'queued' AND due
                 UNION ALL
                 SELECT count(*), min(run_at) FROM sales_internal.jobs WHERE state = 'queued' AND NOT due) parts) q ON q.database = w.database;
COMMENT ON VIEW sales.worker_status IS 'Background workers of this cluster; queue figures of this database, also where it has no worker';
COMMENT ON COLUMN sales.worker_status.database IS 'Database that the worker serves';
COMMENT ON COLUMN sales.worker_status.pid IS 'Its process';
COMMENT ON COLUMN sales.worker_status.state IS 'starting, idle, working, calling; none: this database has no worker';
COMMENT ON COLUMN sales.worker_status.started_at IS 'When it started';
COMMENT ON COLUMN sales.worker_status.jobs_done IS 'Jobs done since';
COMMENT ON COLUMN sales.worker_status.jobs_failed IS 'Jobs failed since';
COMMENT ON COLUMN sales.worker_status.calls_open IS 'Calls to outside services under way';
COMMENT ON COLUMN sales.worker_status.last_error IS 'What went wrong last';
COMMENT ON COLUMN sales.worker_status.queued IS 'Jobs waiting in this database';
COMMENT ON COLUMN sales.worker_status.oldest_age IS 'How long the one that is due longest waits; zero if none is due';
GRANT SELECT ON sales.worker_status TO sales_admin, pg_monitor;
GRANT EXECUTE ON FUNCTION sales_internal.now() TO sales_admin, pg_monitor;
GRANT USAGE ON SCHEMA sales TO pg_monitor;

-- Whose it is to cancel or try again: who asked for it, who may update jobs, and who leads (approves messages).
CREATE OR REPLACE FUNCTION sales_internal.require_job(company uuid, job uuid) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    asked_by uuid;
BEGIN
    SELECT j.created_by INTO asked_by FROM sales_internal.jobs j WHERE j.job_id = job AND j.company_id = company;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = format('there is no job %s', job), HINT = 'See sales.jobs.';
    ELSIF (asked_by = sales.current_user_id()) IS NOT TRUE AND NOT sales.has_permission('messages', 'approve') THEN
        PERFORM sales_internal.require('jobs', 'update');
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.require_job(uuid, uuid) IS
    'Error unless the company has the job, and the user has asked for it, may update jobs, or may approve messages';
REVOKE ALL ON FUNCTION sales_internal.require_job(uuid, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.cancel_job(job_id uuid) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
BEGIN
    PERFORM sales_internal.require_job(company, cancel_job.job_id);
    UPDATE sales_internal.jobs j
    SET state = 'cancelled', finished_at = sales_internal.now(), lease_until = NULL
    WHERE j.job_id = cancel_job.job_id AND j.company_id = company AND j.state IN ('queued', 'running');
    RETURN FOUND;
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
    PERFORM sales_internal.require_job(company, retry_job.job_id);
    UPDATE sales_internal.jobs j
    SET state = 'queued', due = true, attempts = 0, run_at = sales_internal.now(), finished_at = NULL, error = NULL
    WHERE j.job_id = retry_job.job_id AND j.company_id = company AND j.state IN ('failed', 'cancelled')
      AND NOT EXISTS (SELECT FROM sales_internal.jobs o
                      WHERE o.company_id = company AND o.kind = j.kind AND o.unique_key = j.unique_key
                        AND o.state IN ('queued', 'running'));
    IF FOUND THEN
        PERFORM sales_internal.wake_workers();
        RETURN true;
    END IF;
    RETURN false;
END
$$;
COMMENT ON FUNCTION sales.retry_job(uuid) IS
    'Queues a failed or cancelled job again; false if it is neither, or the same is under way in another job';
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
    'Starts this database''s worker unless it runs; false if it is known to run, which is known where the library is preloaded';
REVOKE ALL ON FUNCTION sales.start_workers() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.start_workers() TO sales_admin;

CREATE OR REPLACE FUNCTION sales_internal.pause_workers() RETURNS void
    AS 'MODULE_PATHNAME', 'sales_pause_workers'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.pause_workers() IS
    'Stops this database''s worker to the end of the transaction; one that was stopped by hand stays so';
REVOKE ALL ON FUNCTION sales_internal.pause_workers() FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.stop_workers() RETURNS boolean
    AS 'MODULE_PATHNAME', 'sales_stop_workers'
    LANGUAGE C VOLATILE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION sales.stop_workers() IS
    'Stops this database''s worker until start_workers() or a restart of the server; true if it ran';
REVOKE ALL ON FUNCTION sales.stop_workers() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.stop_workers() TO sales_admin;

