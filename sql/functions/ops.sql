-- Operations: one pass of everything periodic, and a look at what is wrong.

CREATE OR REPLACE FUNCTION sales.maintain() RETURNS TABLE (task text, result text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    due record;
    answer text;
BEGIN
    -- What is new in the audit log is sealed first: scores follow its links.
    -- All in one transaction: rows that leave a DEFAULT partition stay in its indexes until the end, in the way of the others.
    FOR due IN SELECT t.name, t.run_function, t.next_run, count(*) OVER () AS total,
                      row_number() OVER (ORDER BY t.name <> 'statistics', t.name <> 'seal audit', t.name = 'partitions', t.name) AS nth
               FROM sales_internal.periodic_tasks t ORDER BY nth
    LOOP
        task := due.name;
        result := 'done';
        PERFORM sales_internal.note_progress('maintain', NULL, due.name, due.nth - 1, due.total);
        BEGIN
            -- A task that works in steps makes itself due again; counts add up.
            LOOP
                UPDATE sales_internal.periodic_tasks t SET next_run = 'infinity' WHERE t.name = due.name;
                EXECUTE format('SELECT %s()::text', due.run_function) INTO answer;
                result := CASE WHEN result ~ '^\d+$' AND answer ~ '^\d+$' THEN (result::bigint + answer::bigint)::text
                               ELSE coalesce(nullif(answer, ''), result) END;
                EXIT WHEN NOT EXISTS (SELECT FROM sales_internal.periodic_tasks t
                                      WHERE t.name = due.name AND t.next_run <= sales_internal.now());
            END LOOP;
            UPDATE sales_internal.periodic_tasks t
            SET last_run = sales_internal.now(), next_run = due.next_run, last_error = NULL WHERE t.name = due.name;
        EXCEPTION WHEN others THEN
            result := 'failed: ' || SQLERRM;
            UPDATE sales_internal.periodic_tasks t SET last_error = SQLERRM WHERE t.name = due.name;
        END;
        RETURN NEXT;
    END LOOP;
    PERFORM sales_internal.end_progress('maintain');
END
$$;
COMMENT ON FUNCTION sales.maintain() IS
    'Runs everything that workers do from time to time, once, now; for servers without workers, and for tests';
REVOKE ALL ON FUNCTION sales.maintain() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.maintain() TO sales_admin;

-- How far long operations are: others see it while they run.
CREATE OR REPLACE FUNCTION sales_internal.note_progress(operation text, company uuid, phase text, done bigint DEFAULT 0, total bigint DEFAULT NULL) RETURNS void
    AS 'MODULE_PATHNAME', 'sales_note_progress'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.note_progress(text, uuid, text, bigint, bigint) IS
    'Tells sales.progress how far this session''s operation is, the first call that it has begun; done and total count what the phase says';
REVOKE ALL ON FUNCTION sales_internal.note_progress(text, uuid, text, bigint, bigint) FROM PUBLIC;
CREATE OR REPLACE FUNCTION sales_internal.end_progress(operation text) RETURNS void
    AS 'MODULE_PATHNAME', 'sales_end_progress'
    LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION sales_internal.end_progress(text) IS 'The session''s operation is over; an error or the end of the transaction says so too';
REVOKE ALL ON FUNCTION sales_internal.end_progress(text) FROM PUBLIC;
CREATE OR REPLACE FUNCTION sales_internal.progress_places(
    OUT pid integer, OUT database name, OUT company_id uuid, OUT operation text, OUT phase text,
    OUT done bigint, OUT total bigint, OUT started_at timestamptz)
RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'sales_progress_places'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.progress_places() IS
    'Operations under way: all of the cluster for pg_monitor and sales_admin, its company''s for a tenant';
REVOKE ALL ON FUNCTION sales_internal.progress_places() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales_internal.progress_places() TO pg_monitor, sales_admin, sales_app;

CREATE OR REPLACE VIEW sales.progress AS SELECT * FROM sales_internal.progress_places();
COMMENT ON VIEW sales.progress IS
    'Long operations under way and how far they are: all of the cluster for pg_monitor and sales_admin, those of its company for a tenant';
COMMENT ON COLUMN sales.progress.pid IS 'Process, as in pg_stat_activity';
COMMENT ON COLUMN sales.progress.database IS 'Where it runs';
COMMENT ON COLUMN sales.progress.company_id IS 'Tenant that it is about; null: all, or the platform';
COMMENT ON COLUMN sales.progress.operation IS 'Function or task: gdpr_erase, import, retention ...; what it calls is not told apart';
COMMENT ON COLUMN sales.progress.phase IS 'What it does at this moment';
COMMENT ON COLUMN sales.progress.done IS 'How much of the phase is done; docs/operations.md says of what';
COMMENT ON COLUMN sales.progress.total IS 'How much there is to do in the phase; null: not known';
COMMENT ON COLUMN sales.progress.started_at IS 'When the operation began';
GRANT SELECT ON sales.progress TO pg_monitor, sales_admin, sales_app;

-- Autovacuum never looks at a partitioned parent, and comes late to a table that was just filled (a restore leaves all
-- tables without statistics).  Until then the planner takes every condition for equally selective, and what reads each
-- prospect's history reads the company's whole history for each.
-- A table is looked at when its rows are committed: ANALYZE in the midst of the first big INSERT finds pages without rows, and
-- the planner then takes the table for empty, and any index for as good as another, until autovacuum comes.
CREATE OR REPLACE FUNCTION sales_internal.keep_statistics() RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET client_min_messages = error      -- another's ANALYZE of the same table is no news
AS $$
DECLARE
    stale regclass;
    analyzed integer := 0;
BEGIN
    FOR stale IN
        SELECT c.oid::regclass
        FROM pg_class c
        LEFT JOIN LATERAL (
            SELECT sum(pg_stat_get_live_tuples(t.relid)) AS live FROM pg_partition_tree(c.oid) t WHERE t.isleaf) l ON c.relkind = 'p'
        WHERE c.relnamespace IN ('sales'::regnamespace, 'sales_internal'::regnamespace)
          AND CASE c.relkind
              -- not by reltuples alone: an ANALYZE that was rolled back has set them all the same; 0 is a table known to be empty
              WHEN 'r' THEN c.reltuples <> 0 AND NOT EXISTS (SELECT FROM pg_statistic s WHERE s.starelid = c.oid)
                   AND pg_relation_size(c.oid) > 256 * 1024
                   AND pg_stat_get_live_tuples(c.oid) >= pg_relation_size(c.oid) / current_setting('block_size')::integer
              -- a parent's reltuples are all its partitions' at its last ANALYZE
              WHEN 'p' THEN l.live > 1000 AND NOT EXISTS (SELECT FROM pg_statistic s WHERE s.starelid = c.oid)
                   OR abs(l.live - greatest(c.reltuples, 0)) > 1000 + greatest(c.reltuples, 0) / 10
          END
        ORDER BY c.relkind DESC, c.oid      -- tables first: a parent's ANALYZE is its partitions' too
    LOOP
        EXECUTE format('ANALYZE (SKIP_LOCKED) %s', stale);
        analyzed := analyzed + 1;
    END LOOP;
    RETURN analyzed;
END
$$;
COMMENT ON FUNCTION sales_internal.keep_statistics() IS
    'Periodic task: ANALYZE where autovacuum does not come (partitioned parents whose rows grew or shrank by a tenth) or has not come yet (tables without statistics); returns how many';
REVOKE ALL ON FUNCTION sales_internal.keep_statistics() FROM PUBLIC;

DO $$
BEGIN
    INSERT INTO sales_internal.periodic_tasks (name, every, run_function)
    VALUES ('statistics', '10 minutes', 'sales_internal.keep_statistics') ON CONFLICT (name) DO NOTHING;
END
$$;

-- Every function sales_internal.doctor_*() is asked.
CREATE OR REPLACE FUNCTION sales.doctor() RETURNS TABLE (severity text, finding text, hint text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    part regproc;
BEGIN
    FOR part IN SELECT p.oid FROM pg_proc p
                WHERE p.pronamespace = 'sales_internal'::regnamespace AND p.proname LIKE 'doctor\_%' AND p.pronargs = 0
                ORDER BY p.proname
    LOOP
        RETURN QUERY EXECUTE format('SELECT * FROM %s()', part);
    END LOOP;
END
$$;
COMMENT ON FUNCTION sales.doctor() IS
    'What is wrong or unwise in this installation: severity (error, warning, note), finding, and what to do about it';
REVOKE ALL ON FUNCTION sales.doctor() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.doctor() TO sales_admin;

CREATE OR REPLACE FUNCTION sales_internal.doctor_operations() RETURNS TABLE (severity text, finding text, hint text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT 'warning', 'the library is not preloaded: no worker starts by itself, and guesses of passwords are slowed down less',
           'Add sales_assistant to shared_preload_libraries and restart.'
    WHERE current_setting('shared_preload_libraries') !~ '\msales_assistant\M'
    UNION ALL
    SELECT 'warning', 'no worker serves this database', 'SELECT sales.start_workers();'
    WHERE current_setting('shared_preload_libraries') ~ '\msales_assistant\M' AND NOT pg_is_in_recovery()
      AND NOT EXISTS (SELECT FROM sales_internal.worker_slots() w WHERE w.database = current_database())
    UNION ALL
    SELECT 'warning', format('%s jobs wait, the oldest for %s', count(*), date_trunc('second', sales_internal.now() - min(run_at))),
           'See sales.worker_status.'
    FROM sales_internal.jobs WHERE state = 'queued' AND run_at < sales_internal.now() - interval '10 minutes' HAVING count(*) > 0
    UNION ALL
    SELECT 'note', format('rows of sales.%s stay in its DEFAULT partition, as it is published', d.parent),
           format('To move them: ALTER PUBLICATION ... DROP TABLE sales.%1$s; SELECT sales.maintain(); ADD TABLE it again, and on the subscriber DELETE its rows and ALTER SUBSCRIPTION ... REFRESH PUBLICATION.', d.parent)
    FROM (SELECT 'audit_logs' AS parent WHERE EXISTS (SELECT FROM sales.audit_logs_default)
          UNION ALL SELECT 'interactions' WHERE EXISTS (SELECT FROM sales.interactions_default WHERE interaction_date BETWEEN '1900-01-01' AND '2199-12-31')
          UNION ALL SELECT 'analytics' WHERE EXISTS (SELECT FROM sales.analytics_default WHERE date BETWEEN '1900-01-01' AND '2199-12-31')) d
    WHERE sales_internal.is_published(d.parent)
    UNION ALL
    -- nothing limits it: docs/security.md
    SELECT 'warning', format('company "%s" has %s jobs in the queue', c.domain, j.n),
           format('Others do not wait behind it. If somebody is at work there: UPDATE sales.companies SET subscription_status = ''suspended'' WHERE domain = %L; then DELETE FROM sales_internal.jobs WHERE company_id = %L AND state = ''queued'';', c.domain, c.company_id)
    FROM (SELECT q.company_id, count(*) AS n FROM sales_internal.jobs q WHERE q.state = 'queued' GROUP BY 1 HAVING count(*) > 100000) j
    JOIN sales.companies c ON c.company_id = j.company_id
    UNION ALL
    SELECT 'note', format('%s jobs have failed; the last says: %s', count(*), (array_agg(error ORDER BY finished_at DESC))[1]),
           'A tenant sees its own in sales.jobs and repeats one with sales.retry_job().'
    FROM sales_internal.jobs WHERE state = 'failed' HAVING count(*) > 0
    UNION ALL
    SELECT 'warning', format('the periodic task %s fails: %s', name, last_error), 'SELECT * FROM sales.maintain();'
    FROM sales_internal.periodic_tasks WHERE last_error IS NOT NULL
    UNION ALL
    SELECT 'warning', format('transaction "%s" of %s is prepared since %s, and keeps its locks and what vacuum would clear', gid, owner, prepared),
           format('COMMIT PREPARED %L; or ROLLBACK PREPARED %L;', gid, gid)
    FROM pg_prepared_xacts WHERE database = current_database() AND prepared < sales_internal.now() - interval '1 hour'
$$;
COMMENT ON FUNCTION sales_internal.doctor_operations() IS 'Part of doctor(): workers, queue, periodic tasks, transactions that were left prepared';
REVOKE ALL ON FUNCTION sales_internal.doctor_operations() FROM PUBLIC;

