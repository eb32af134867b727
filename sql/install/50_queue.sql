-- Job queue.  A job is claimed with a lease in one short transaction, run with
-- none open, and settled in another that writes result and end together.

CREATE TABLE sales_internal.job_kinds (
    kind text PRIMARY KEY,
    mode text NOT NULL CHECK (mode IN ('sql', 'long', 'http')),
    prepare_function text NOT NULL,
    settle_function text CHECK (mode <> 'http' OR settle_function IS NOT NULL),
    max_attempts integer NOT NULL DEFAULT 5 CHECK (max_attempts > 0),
    lease interval NOT NULL DEFAULT '2 minutes'
);
COMMENT ON TABLE sales_internal.job_kinds IS
    'How each kind of job is run; rows are made by the extension, so they are not dumped';
COMMENT ON COLUMN sales_internal.job_kinds.mode IS
    'sql: in the worker''s transaction; long: in a short-lived worker of its own; http: a request outside any transaction';
COMMENT ON COLUMN sales_internal.job_kinds.prepare_function IS
    'Qualified name of f(job uuid, company uuid, args jsonb) returning jsonb: the result, or the http request';
COMMENT ON COLUMN sales_internal.job_kinds.settle_function IS
    'Qualified name of f(job uuid, company uuid, args jsonb, response jsonb) returning jsonb: the outcome';

CREATE TABLE sales_internal.jobs (
    job_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid REFERENCES sales.companies ON DELETE CASCADE,
    kind text NOT NULL,
    args jsonb NOT NULL DEFAULT '{}',
    unique_key text,
    state text NOT NULL DEFAULT 'queued'
        CHECK (state IN ('queued', 'running', 'done', 'failed', 'cancelled')),
    priority integer NOT NULL DEFAULT 0,
    attempts integer NOT NULL DEFAULT 0,
    claim bigint NOT NULL DEFAULT 0,
    booked boolean NOT NULL DEFAULT false,
    max_attempts integer NOT NULL DEFAULT 5,
    run_at timestamptz NOT NULL DEFAULT now(),
    lease_until timestamptz,
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    finished_at timestamptz,
    result jsonb,
    error text,
    cost numeric(12,6) NOT NULL DEFAULT 0,
    due boolean NOT NULL DEFAULT false
);
-- in the order of claim_jobs(), to the last column: many jobs may have one run_at
CREATE INDEX jobs_queued_idx ON sales_internal.jobs (company_id, priority DESC, run_at, job_id)
    WHERE state = 'queued' AND due;
CREATE INDEX jobs_run_at_idx ON sales_internal.jobs (run_at) WHERE state = 'queued' AND NOT due;
CREATE INDEX jobs_lease_idx ON sales_internal.jobs (lease_until, company_id) WHERE state = 'running';
CREATE INDEX jobs_company_idx ON sales_internal.jobs (company_id, created_at DESC);
CREATE UNIQUE INDEX jobs_unique_key ON sales_internal.jobs (company_id, kind, unique_key)
    WHERE state IN ('queued', 'running') AND unique_key IS NOT NULL;
COMMENT ON TABLE sales_internal.jobs IS
    'Work for the background workers; applications see theirs in the view sales.jobs';
COMMENT ON COLUMN sales_internal.jobs.company_id IS 'Tenant; null for the platform''s own work';
COMMENT ON COLUMN sales_internal.jobs.unique_key IS 'No second open job of this kind with the same key';
COMMENT ON COLUMN sales_internal.jobs.state IS
    'queued, running (leased), done, failed (gave up; see error), cancelled';
COMMENT ON COLUMN sales_internal.jobs.attempts IS 'How often it was tried; waiting for a turn does not count';
COMMENT ON COLUMN sales_internal.jobs.claim IS
    'Number of the claim: an answer to an earlier one, given up since, is dropped';
COMMENT ON COLUMN sales_internal.jobs.booked IS 'run_at is its turn with a service that limits the pace';
COMMENT ON COLUMN sales_internal.jobs.due IS
    'It was queued when its time had come, or its time has come since: claim_jobs() looks at it; false while it runs';
COMMENT ON COLUMN sales_internal.jobs.lease_until IS
    'A running job whose lease is over was lost in a crash and is queued again';
COMMENT ON COLUMN sales_internal.jobs.cost IS 'What its calls cost, in the setting billing.currency';
SELECT sales_internal.dump_table('sales_internal.jobs');
-- Every job is written three times and then rests.
ALTER TABLE sales_internal.jobs SET (autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_threshold = 2000,
                                     autovacuum_analyze_scale_factor = 0.05);

-- Pace and state of each service, by key.  Losing it in a crash costs nothing.
CREATE UNLOGGED TABLE sales_internal.service_pace (
    service text NOT NULL,
    api_key_id uuid NOT NULL,
    next_turn timestamptz NOT NULL,
    failures integer NOT NULL DEFAULT 0,
    closed_until timestamptz,
    last_error text,
    PRIMARY KEY (service, api_key_id)
);
COMMENT ON TABLE sales_internal.service_pace IS
    'When a service may be called next, by key, and its circuit breaker; made again as it is needed';
COMMENT ON COLUMN sales_internal.service_pace.service IS 'Service, as api_keys.service_name says';
COMMENT ON COLUMN sales_internal.service_pace.api_key_id IS 'Key; all zero for a service that needs none';
COMMENT ON COLUMN sales_internal.service_pace.next_turn IS 'First instant that is not booked';
COMMENT ON COLUMN sales_internal.service_pace.failures IS 'Failed calls one after the other';
COMMENT ON COLUMN sales_internal.service_pace.closed_until IS
    'No call before: the breaker has tripped, or the service asked to wait';
COMMENT ON COLUMN sales_internal.service_pace.last_error IS 'What the last failed call said';

CREATE TABLE sales_internal.periodic_tasks (
    name text PRIMARY KEY,
    every interval NOT NULL,
    run_function text NOT NULL,
    next_run timestamptz NOT NULL DEFAULT now(),
    last_run timestamptz,
    last_error text,
    last_ms integer
);
COMMENT ON TABLE sales_internal.periodic_tasks IS
    'What workers and maintain() do again and again; rows are made by the extension, so they are not dumped';
COMMENT ON COLUMN sales_internal.periodic_tasks.last_ms IS
    'How long the worker took for it last; what is not quick gets a process of its own';

CREATE FUNCTION sales_internal.wake_workers() RETURNS void
    AS 'MODULE_PATHNAME', 'sales_wake_workers'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.wake_workers() IS
    'Wakes this database''s worker when the transaction commits';
REVOKE ALL ON FUNCTION sales_internal.wake_workers() FROM PUBLIC;

-- What the worker knows of the job that it runs at this moment.
CREATE FUNCTION sales_internal.current_job(OUT job_id uuid, OUT booked boolean) RETURNS record
    AS 'MODULE_PATHNAME', 'sales_current_job'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.current_job() IS
    'The job whose prepare or settle function runs now, and whether it comes at its booked turn; null outside';
REVOKE ALL ON FUNCTION sales_internal.current_job() FROM PUBLIC;
CREATE FUNCTION sales_internal.open_calls(service text, api_key_id uuid) RETURNS integer
    AS 'MODULE_PATHNAME', 'sales_open_calls'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.open_calls(text, uuid) IS
    'Calls that this worker has open or about to start with a provider and key';
REVOKE ALL ON FUNCTION sales_internal.open_calls(text, uuid) FROM PUBLIC;

-- One row a running worker of this cluster.
CREATE FUNCTION sales_internal.worker_slots(
    OUT database name, OUT pid integer, OUT state text, OUT started_at timestamptz,
    OUT jobs_done bigint, OUT jobs_failed bigint, OUT calls_open integer, OUT last_error text)
RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'sales_worker_slots'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.worker_slots() IS 'Workers as shared memory knows them';
REVOKE ALL ON FUNCTION sales_internal.worker_slots() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales_internal.worker_slots() TO pg_monitor, sales_admin;
