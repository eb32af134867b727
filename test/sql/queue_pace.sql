\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
-- When services may be called: their pace and turns, their breakers, how much a company has under way; by a clock that stands still.
DELETE FROM sales_internal.service_pace;
DELETE FROM sales_internal.jobs;
SET sales_assistant.clock = '2037-03-10 10:00:00+00';
INSERT INTO sales.api_keys (company_id, service_name, key_value) SELECT company_id, 'pace', 'key-of-' || domain FROM sales.companies WHERE domain IN ('alpha.test', 'beta.test');
CREATE FUNCTION helpers.key(company text) RETURNS uuid LANGUAGE sql AS $$
    SELECT api_key_id FROM sales.api_keys WHERE company_id = helpers.company(company) AND service_name = 'pace' $$;
-- A job asks: "goes", or the seconds to a turn of its own, or those of a pause.
CREATE FUNCTION helpers.ask(key uuid, limits jsonb, service text DEFAULT 'pace') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    detail text;
    wait jsonb;
BEGIN
    PERFORM sales_internal.pace_call(service, key, limits);
    RETURN 'goes';
EXCEPTION WHEN SQLSTATE 'SAW01' THEN
    GET STACKED DIAGNOSTICS detail = PG_EXCEPTION_DETAIL;
    wait := sales_internal.wait_outcome(detail::jsonb);
    RETURN CASE WHEN wait ? 'booked' THEN format('turn in %s', round((wait ->> 'after')::numeric, 3))
                WHEN (wait ->> 'after')::numeric BETWEEN 540 AND 600 THEN 'a look later'
                ELSE format('pause of %s', floor((wait ->> 'after')::numeric)) END;
END $$;
CREATE FUNCTION helpers.told(company text, ok boolean, after float8 DEFAULT 0) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    pace sales_internal.service_pace;
    trouble boolean := sales_internal.note_calls(ARRAY['pace'], ARRAY[helpers.key(company)::text], ARRAY[ok], ARRAY[after], ARRAY['HTTP status 500']);
BEGIN
    SELECT * INTO pace FROM sales_internal.service_pace WHERE api_key_id = helpers.key(company);
    RETURN format('%s failures, closed for %s, trouble %s', coalesce(pace.failures, 0), coalesce((pace.closed_until - sales_internal.now())::text, 'no time'), trouble);
END $$;
-- two a second, each that comes too early has a turn of its own; another key, which is another company's, has its own pace
SELECT string_agg(helpers.ask(helpers.key('alpha'), '{"per_second": 2}'), ', ') FROM generate_series(1, 5);
SELECT helpers.ask(helpers.key('beta'), '{"per_second": 2}');
SET sales_assistant.clock = '2037-03-10 10:00:01.5+00';
SELECT helpers.ask(helpers.key('alpha'), '{"per_second": 2}') AS after_the_turns_that_are_booked;
SET sales_assistant.clock = '2037-03-10 10:00:10+00';
SELECT string_agg(helpers.ask(helpers.key('alpha'), '{"per_second": 2}'), ', ') AS later FROM generate_series(1, 3);
-- so many a minute; the stricter of two counts
SELECT string_agg(helpers.ask(NULL, '{"per_minute": 30}', 'slow'), ', ') FROM generate_series(1, 3);
SELECT string_agg(helpers.ask(NULL, '{"per_minute": 30, "per_second": 10}', 'both'), ', ') FROM generate_series(1, 3);
-- nobody has a turn further ahead than ten minutes
SELECT string_agg(helpers.ask(NULL, '{"per_minute": 0.1}', 'slowest'), ', ') FROM generate_series(1, 3);
-- no limit, no wait
SELECT count(*) FILTER (WHERE helpers.ask(NULL, NULL, 'free') = 'goes') FROM generate_series(1, 100);
-- limits that are none are told as a provider's row is written
UPDATE sales.providers SET request = request || '{"limits": {"per_second": 0}}' WHERE name = 'hunter';
UPDATE sales.providers SET request = request || '{"limits": {"open": -1}}' WHERE name = 'hunter';
UPDATE sales.providers SET request = request || '{"limits": {"open": "ten"}}' WHERE name = 'hunter';
UPDATE sales.providers SET request = request || '{"limits": {"per_hour": 1}}' WHERE name = 'hunter';
UPDATE sales.providers SET request = request || '{"limits": 5}' WHERE name = 'hunter';
-- the breaker: five failures in a row, then for 5 seconds, doubled to five minutes; of this key alone
DELETE FROM sales_internal.service_pace;
SELECT n, helpers.told('alpha', false) FROM generate_series(1, 4) n;
SELECT helpers.told('alpha', true) AS one_good_answer;
SELECT n, helpers.told('alpha', false) FROM generate_series(1, 5) n;
SELECT helpers.told('alpha', false) AS one_that_was_under_way;
SELECT helpers.ask(helpers.key('alpha'), NULL) AS alpha, helpers.ask(helpers.key('beta'), NULL) AS beta;
CREATE FUNCTION helpers.fails_after_each_pause(n integer) RETURNS SETOF text LANGUAGE plpgsql AS $$
BEGIN
    FOR i IN 1..n LOOP
        PERFORM set_config('sales_assistant.clock', (SELECT closed_until::text FROM sales_internal.service_pace WHERE api_key_id = helpers.key('alpha')), false);
        RETURN NEXT helpers.told('alpha', false);
    END LOOP;
END $$;
SELECT * FROM helpers.fails_after_each_pause(7);
-- after a pause one call a second, until one is answered
SELECT set_config('sales_assistant.clock', closed_until::text, false) IS NOT NULL AS paused FROM sales_internal.service_pace WHERE api_key_id = helpers.key('alpha');
SELECT string_agg(helpers.ask(helpers.key('alpha'), NULL), ', ') FROM generate_series(1, 3);
SELECT helpers.told('alpha', true) AS answered;
SELECT string_agg(helpers.ask(helpers.key('alpha'), NULL), ', ') FROM generate_series(1, 3);
-- what Retry-After asks for is kept at the first failure, and not made shorter by another
SELECT helpers.told('alpha', false, 90), helpers.told('alpha', false, 10);
SELECT helpers.ask(helpers.key('alpha'), NULL);
-- a key that is gone, or none, is no trouble
SELECT sales_internal.note_calls(ARRAY['pace'], ARRAY['00000000-0000-7000-8000-000000000001'], ARRAY[false], ARRAY[0::float8], ARRAY['x']) AS alphas_alone;
-- companies take turns; one has so many under way and no more
INSERT INTO sales_internal.job_kinds (kind, mode, prepare_function) VALUES ('pace', 'sql', 'helpers.none');
INSERT INTO sales_internal.jobs (company_id, kind, run_at, due)
SELECT company_id, 'pace', sales_internal.now(), true FROM sales.companies, generate_series(1, CASE domain WHEN 'alpha.test' THEN 50 ELSE 3 END) WHERE domain IN ('alpha.test', 'beta.test');
CREATE TABLE helpers.claims AS SELECT * FROM sales_internal.claim_jobs(4, 5);
SELECT c.name, count(*) AS of_four_places FROM helpers.claims JOIN sales.companies c USING (company_id) GROUP BY 1 ORDER BY 1;
INSERT INTO helpers.claims SELECT * FROM sales_internal.claim_jobs(100, 5);
SELECT c.name, count(*) AS with_five_for_each FROM helpers.claims JOIN sales.companies c USING (company_id) GROUP BY 1 ORDER BY 1;
SELECT count(*) AS none_more FROM sales_internal.claim_jobs(100, 5);
SELECT count(*) AS ended FROM sales_internal.settle_jobs(ARRAY(SELECT job_id FROM helpers.claims WHERE company_id = helpers.company('alpha') LIMIT 2), '{1,1}', '{"{\"outcome\": \"done\"}","{\"outcome\": \"done\"}"}');
SELECT c.name, count(*) AS two_places_are_free FROM sales_internal.claim_jobs(100, 5) k JOIN sales.companies c USING (company_id) GROUP BY 1;
-- what fails is tried again twice as late each time, with jitter, and after an hour at most; or when it says; and no more often than it may be
CREATE FUNCTION helpers.fail(attempt integer, outcome jsonb) RETURNS TABLE (state text, after numeric) LANGUAGE plpgsql AS $$
BEGIN
    DELETE FROM sales_internal.jobs;
    INSERT INTO sales_internal.jobs (company_id, kind, state, attempts, max_attempts, claim)
    SELECT helpers.company('alpha'), 'pace', 'running', attempt, 30, 1 FROM generate_series(1, 200);
    PERFORM sales_internal.settle_jobs((SELECT array_agg(j.job_id) FROM sales_internal.jobs j), array_fill(1::bigint, ARRAY[200]), array_fill(outcome, ARRAY[200]));
    RETURN QUERY SELECT j.state, extract(epoch FROM j.run_at - sales_internal.now()) FROM sales_internal.jobs j;
END $$;
SELECT n, min(after) BETWEEN 0.75 * least(2 ^ n, 3600) AND 0.8 * least(2 ^ n, 3600) AS earliest, max(after) BETWEEN 1.2 * least(2 ^ n, 3600) AND 1.25 * least(2 ^ n, 3600) AS latest, count(DISTINCT after) > 150 AS spread
FROM unnest('{1,2,3,10,20}'::integer[]) n, helpers.fail(n, '{"outcome": "retry", "error": "x"}') GROUP BY n ORDER BY n;
SELECT DISTINCT after, state FROM helpers.fail(3, '{"outcome": "retry", "error": "x", "after": 77}');
SELECT DISTINCT state FROM helpers.fail(30, '{"outcome": "retry", "error": "the last time"}');
-- dead, it stays to be seen with its error, by its own company
:be_alpha
SELECT state, error, attempts, next_run, finished_at, count(*) FROM sales.jobs WHERE kind = 'pace' GROUP BY 1, 2, 3, 4, 5;
:be_beta
SELECT count(*) FROM sales.jobs WHERE kind = 'pace';
:be_super
-- who watches the server sees how much waits and since when; and no company's jobs
CREATE ROLE regress_monitor IN ROLE pg_monitor;
DELETE FROM sales_internal.jobs;
INSERT INTO sales_internal.jobs (company_id, kind, run_at, due) SELECT company_id, 'pace', sales_internal.now() - CASE domain WHEN 'alpha.test' THEN interval '7 minutes' ELSE '1 minute' END, true FROM sales.companies WHERE domain IN ('alpha.test', 'beta.test');
SET ROLE regress_monitor;
SELECT state, queued, oldest_age FROM sales.worker_status WHERE database = current_database();
SELECT helpers.try('SELECT FROM sales.jobs') AS jobs, helpers.try('SELECT FROM sales_internal.jobs') AS queue;
RESET ROLE;
DROP ROLE regress_monitor;
-- a task that comes often may be run in the worker; one that comes seldom has a process of its own, however quick it was
UPDATE sales_internal.periodic_tasks SET next_run = 'infinity', last_ms = 5;
UPDATE sales_internal.periodic_tasks SET next_run = sales_internal.now() WHERE name IN ('metrics', 'statistics');
SELECT name, last_ms FROM sales_internal.claim_task();
SELECT name, last_ms FROM sales_internal.claim_task();
UPDATE sales_internal.periodic_tasks SET next_run = now() + every, last_ms = NULL, last_run = NULL;
RESET sales_assistant.clock;
DELETE FROM sales_internal.jobs;
DELETE FROM sales_internal.job_kinds WHERE kind = 'pace';
DELETE FROM sales_internal.service_pace;
DELETE FROM sales.api_keys WHERE service_name = 'pace';
DROP TABLE helpers.claims;
DROP FUNCTION helpers.fail(integer, jsonb), helpers.key(text), helpers.ask(uuid, jsonb, text), helpers.told(text, boolean, float8), helpers.fails_after_each_pause(integer);
