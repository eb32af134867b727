-- Partitions: made ahead of time, and filled from DEFAULT where rows came early or late.

-- The partition of a table that an instant belongs to.
CREATE OR REPLACE FUNCTION sales_internal.partition_of(
    parent text, at timestamp, OUT name text, OUT low timestamp, OUT high timestamp)
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE parent
               WHEN 'audit_logs' THEN to_char(date_trunc('month', at), '"audit_logs_"YYYY_MM')
               WHEN 'interactions' THEN to_char(date_trunc('quarter', at), '"interactions_"YYYY"_q"Q')
               ELSE to_char(date_trunc('year', at), '"analytics_"YYYY') END,
           date_trunc(unit, at),
           date_trunc(unit, at) + CASE unit WHEN 'month' THEN interval '1 month' WHEN 'quarter' THEN interval '3 months'
                                            ELSE interval '1 year' END
    FROM (SELECT CASE parent WHEN 'audit_logs' THEN 'month' WHEN 'interactions' THEN 'quarter' ELSE 'year' END AS unit) u
$$;
COMMENT ON FUNCTION sales_internal.partition_of(text, timestamp) IS
    'Name and bounds (UTC) of the partition for an instant: months of audit_logs, quarters of interactions, years of analytics';
REVOKE ALL ON FUNCTION sales_internal.partition_of(text, timestamp) FROM PUBLIC;

-- Takes every lock that a new partition needs: DEFAULT for itself, and the
-- tables that the foreign keys point to against writers.  Applications lock the
-- same tables in any order, so to wait for one while holding another would be
-- a deadlock sooner or later.  Hence only the first lock is waited for, and not
-- for long; the others are there or all are given back, and next time the one
-- that was in the way is the first.
CREATE OR REPLACE FUNCTION sales_internal.lock_for_partition(parent text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET lock_timeout = '500ms'
AS $$
DECLARE
    first text := format('sales.%I', parent || '_default');
    lockable record;
BEGIN
    FOR attempt IN 1 .. 8 LOOP
        BEGIN
            FOR lockable IN
                SELECT name, mode, name = first AS waits
                FROM (SELECT format('sales.%I', parent || '_default') AS name, 'ACCESS EXCLUSIVE' AS mode
                      UNION ALL
                      SELECT DISTINCT confrelid::regclass::text, 'SHARE ROW EXCLUSIVE' FROM pg_constraint
                      WHERE conrelid = format('sales.%I', parent)::regclass AND contype = 'f') t
                ORDER BY waits DESC, name
            LOOP
                EXECUTE format('LOCK TABLE %s IN %s MODE%s', lockable.name, lockable.mode,
                               CASE WHEN NOT lockable.waits THEN ' NOWAIT' END);
            END LOOP;
            RETURN;
        EXCEPTION WHEN lock_not_available THEN
            first := lockable.name;
        END;
    END LOOP;
    RAISE lock_not_available USING
        MESSAGE = format('no partition of %s could be made, as %s is in use', parent, first),
        HINT = 'It is tried again; rows go to the default partition meanwhile.';
END
$$;
COMMENT ON FUNCTION sales_internal.lock_for_partition(text) IS
    'Locks what making a partition needs, without ever waiting for one lock while it holds another';
REVOKE ALL ON FUNCTION sales_internal.lock_for_partition(text) FROM PUBLIC;

-- Makes one partition; rows of its range that are in DEFAULT move into it.
CREATE OR REPLACE FUNCTION sales_internal.make_partition(parent text, at timestamp) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    part record := sales_internal.partition_of(parent, at);
    key text := CASE parent WHEN 'audit_logs' THEN 'created_at' WHEN 'interactions' THEN 'interaction_date' ELSE 'date' END;
BEGIN
    IF to_regclass('sales.' || quote_ident(part.name)) IS NOT NULL THEN
        RETURN false;
    END IF;
    PERFORM sales_internal.lock_for_partition(parent);
    -- The rows move as they are: that is no change to be audited.
    PERFORM sales_internal.audit_open_door();
    EXECUTE format('CREATE TABLE sales.%I (LIKE sales.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS)', part.name, parent);
    EXECUTE format('COMMENT ON TABLE sales.%I IS %L', part.name,
                   format('Rows of %s from %s to %s', parent, part.low::date, part.high::date - 1));
    -- a member of the extension is not dumped: its rows are, with those of DEFAULT
    EXECUTE format('ALTER EXTENSION sales_assistant ADD TABLE sales.%I', part.name);
    EXECUTE format('WITH moved AS (DELETE FROM sales.%I WHERE %I >= %L AND %I < %L RETURNING *) INSERT INTO sales.%I SELECT * FROM moved',
                   parent || '_default', key, part.low, key, part.high, part.name);
    PERFORM sales_internal.audit_close_door();
    EXECUTE format('ALTER TABLE sales.%I ATTACH PARTITION sales.%I FOR VALUES FROM (%L) TO (%L)',
                   parent, part.name, part.low, part.high);
    EXECUTE format('ALTER TABLE sales.%I ENABLE ROW LEVEL SECURITY', part.name);
    EXECUTE format('ALTER TABLE sales.%I FORCE ROW LEVEL SECURITY', part.name);
    IF parent = 'audit_logs' THEN
        EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON sales.%I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION sales_internal.audit_append_only()', part.name);
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION sales_internal.make_partition(text, timestamp) IS
    'Makes the partition for an instant unless it is there, and moves its rows out of DEFAULT';
REVOKE ALL ON FUNCTION sales_internal.make_partition(text, timestamp) FROM PUBLIC;

-- One partition a call, as locks are kept until the transaction's end: where
-- more are wanted the task is due again at once.
CREATE OR REPLACE FUNCTION sales_internal.keep_partitions() RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    moment timestamp := sales_internal.now();
    wanted record;
BEGIN
    IF NOT pg_try_advisory_xact_lock(hashtextextended('sales_assistant partitions', 0)) THEN
        RETURN 0;
    END IF;
    FOR wanted IN
        -- now and ahead
        SELECT p.parent, moment + n * p.step AS at
        FROM (VALUES ('audit_logs', interval '1 month'), ('interactions', interval '3 months'), ('analytics', interval '1 year')) p (parent, step)
        CROSS JOIN generate_series(0, 2) n
        UNION
        -- and wherever rows lie in DEFAULT
        SELECT 'audit_logs', date_trunc('month', created_at::timestamp) FROM sales.audit_logs_default
        UNION
        SELECT 'interactions', date_trunc('quarter', interaction_date::timestamp) FROM sales.interactions_default
        UNION
        SELECT 'analytics', date_trunc('year', date::timestamp) FROM sales.analytics_default
        ORDER BY 1, 2
    LOOP
        IF sales_internal.make_partition(wanted.parent, wanted.at) THEN
            UPDATE sales_internal.periodic_tasks SET next_run = sales_internal.now() WHERE name = 'partitions';
            RETURN 1;
        END IF;
    END LOOP;
    RETURN 0;
END
$$;
COMMENT ON FUNCTION sales_internal.keep_partitions() IS
    'Periodic task: makes one partition, of now, of two periods ahead or of rows in DEFAULT; returns how many it made, 0 or 1';
REVOKE ALL ON FUNCTION sales_internal.keep_partitions() FROM PUBLIC;

DO $$
BEGIN
    INSERT INTO sales_internal.periodic_tasks (name, every, run_function, next_run)
    VALUES ('partitions', '1 day', 'sales_internal.keep_partitions', now() + interval '1 minute') ON CONFLICT (name) DO NOTHING;
END
$$;

