\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
-- What the worker does to the queue is planned once, often while the queue is empty, or was when it was looked at last.
-- Whatever comes then, it reads what it claims, holds and ends, and not the queue.
-- (a plan that reads all of it for each job would take hours: an error tells sooner)
SET statement_timeout = '5min';
DELETE FROM sales_internal.jobs;
VACUUM (ANALYZE) sales_internal.jobs;
INSERT INTO sales_internal.job_kinds (kind, mode, prepare_function) VALUES ('plans', 'sql', 'helpers.none');
-- Blocks of the table and of its indexes that this transaction has read since it looked last, and how often it read the whole table.
CREATE FUNCTION helpers.read(OUT blocks bigint, OUT whole_tables bigint) LANGUAGE plpgsql AS $$
DECLARE
    before bigint[] := coalesce(nullif(current_setting('helpers.read', true), ''), '{0,0}');
BEGIN
    blocks := (SELECT sum(pg_stat_get_xact_blocks_fetched(oid)) FROM pg_class
               WHERE oid = 'sales_internal.jobs'::regclass OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'sales_internal.jobs'::regclass));
    whole_tables := pg_stat_get_xact_numscans('sales_internal.jobs'::regclass);
    PERFORM set_config('helpers.read', ARRAY[blocks, whole_tables]::text, true);
    blocks := blocks - before[1];
    whole_tables := whole_tables - before[2];
END $$;
CREATE TABLE helpers.claimed (job_id uuid, claim bigint, company_id uuid);
-- Plans all of it, for the empty table.
SELECT count(*) FROM sales_internal.claim_jobs(400, 400);
SELECT count(*) FROM sales_internal.hold_jobs('{}', '{}');
SELECT count(*) FROM sales_internal.settle_jobs('{}', '{}', '{}');
SELECT sales_internal.seconds_until_due(false);
-- 100,000 jobs, of one company but for ten, and 20,000 that are not due.
INSERT INTO sales_internal.jobs (company_id, kind, due)
SELECT company_id, 'plans', true FROM sales.companies, generate_series(1, CASE domain WHEN 'alpha.test' THEN 99990 ELSE 10 END) WHERE domain IN ('alpha.test', 'beta.test');
INSERT INTO sales_internal.jobs (company_id, kind, run_at)
SELECT company_id, 'plans', '2100-01-01' FROM sales.companies, generate_series(1, 10000) WHERE domain IN ('alpha.test', 'beta.test');
SELECT reltuples FROM pg_class WHERE oid = 'sales_internal.jobs'::regclass;
BEGIN;
SELECT FROM helpers.read();
INSERT INTO helpers.claimed SELECT c.job_id, c.claim, c.company_id FROM sales_internal.claim_jobs(400, 400) c;
SELECT c.name, count(*) FROM helpers.claimed JOIN sales.companies c USING (company_id) GROUP BY 1 ORDER BY 1;
SELECT blocks < 35 * 400 AS claimed_by_index, whole_tables FROM helpers.read();
COMMIT;
BEGIN;
SELECT FROM helpers.read();
SELECT count(*) FROM sales_internal.hold_jobs((SELECT array_agg(job_id) FROM helpers.claimed), (SELECT array_agg(claim) FROM helpers.claimed));
SELECT blocks < 10 * 400 AS held_by_index, whole_tables FROM helpers.read();
COMMIT;
BEGIN;
SELECT FROM helpers.read();
SELECT state, count(*) FROM sales_internal.settle_jobs((SELECT array_agg(job_id) FROM helpers.claimed), (SELECT array_agg(claim) FROM helpers.claimed),
    (SELECT array_agg('{"outcome": "done"}'::jsonb) FROM helpers.claimed)) GROUP BY 1;
SELECT blocks < 20 * 400 AS settled_by_index, whole_tables FROM helpers.read();
COMMIT;
BEGIN;
SELECT FROM helpers.read();
SELECT sales_internal.seconds_until_due(false) > 0 AS later;
SELECT blocks < 100 AS looked_up, whole_tables FROM helpers.read();
COMMIT;
DELETE FROM sales_internal.jobs;
VACUUM (ANALYZE) sales_internal.jobs;
DELETE FROM sales_internal.job_kinds WHERE kind = 'plans';
DROP TABLE helpers.claimed;
DROP FUNCTION helpers.read();
