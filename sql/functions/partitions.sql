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

-- Takes every lock that attaching a partition needs: DEFAULT for itself, and so the
-- tables that the foreign keys point to (ATTACH takes the partition's own key triggers
-- off them); to make the table, those against writers.  Applications lock the
-- same tables in any order.  So no lock is waited for longer than all of them
-- together may take before anybody's deadlock_timeout, after which PostgreSQL
-- would look for a deadlock and pick a victim: then all are given back, and
-- after a short pause they are asked for again.  Where it is rows already moved
-- that another waits for, that does not help: so deadlocks are looked for here,
-- long before others do, and after the third the transaction is given up.
CREATE OR REPLACE FUNCTION sales_internal.lock_for_partition(parent text, with_default boolean DEFAULT true) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    before CONSTANT text := current_setting('lock_timeout');
    others CONSTANT text := current_setting('deadlock_timeout');
    lockable record;
    patience integer;
    deadlocks integer := 0;
BEGIN
    SELECT greatest(10, (SELECT setting::integer FROM pg_settings WHERE name = 'deadlock_timeout') / (count(DISTINCT confrelid) + 2)) INTO patience
    FROM pg_constraint WHERE conrelid = format('sales.%I', parent)::regclass AND contype = 'f';
    FOR attempt IN 1 .. 24 LOOP
        BEGIN
            PERFORM set_config('lock_timeout', least(patience, 200)::text, true), set_config('deadlock_timeout', least(patience / 10 + 1, 20)::text, true);
            FOR lockable IN
                SELECT DISTINCT confrelid::regclass::text AS name, CASE WHEN with_default THEN 'ACCESS EXCLUSIVE' ELSE 'SHARE ROW EXCLUSIVE' END AS mode, 1 AS turn
                FROM pg_constraint
                WHERE conrelid = format('sales.%I', parent)::regclass AND contype = 'f'
                UNION ALL
                SELECT format('sales.%I', parent || '_default'), 'ACCESS EXCLUSIVE', 2 WHERE with_default
                ORDER BY turn, name
            LOOP
                EXECUTE format('LOCK TABLE %s IN %s MODE', lockable.name, lockable.mode);
            END LOOP;
            PERFORM set_config('lock_timeout', before, true), set_config('deadlock_timeout', others, true);
            RETURN;
        EXCEPTION
            WHEN lock_not_available THEN PERFORM pg_sleep(0.02 + random() * 0.08);
            WHEN deadlock_detected THEN
                deadlocks := deadlocks + 1;
                EXIT WHEN deadlocks = 3;
                PERFORM pg_sleep(0.02 + random() * 0.08);
        END;
    END LOOP;
    RAISE lock_not_available USING
        MESSAGE = format('no partition of %s could be made, as %s is in use', parent, lockable.name),
        HINT = 'It is tried again; rows go to the default partition meanwhile.';
END
$$;
COMMENT ON FUNCTION sales_internal.lock_for_partition(text, boolean) IS
    'Locks what attaching a partition needs; waits for no lock long enough to be in anybody''s deadlock';
REVOKE ALL ON FUNCTION sales_internal.lock_for_partition(text, boolean) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.partition_key(parent text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT CASE parent WHEN 'audit_logs' THEN 'created_at' WHEN 'interactions' THEN 'interaction_date' ELSE 'date' END $$;
COMMENT ON FUNCTION sales_internal.partition_key(text) IS 'Column that a table is partitioned by';
REVOKE ALL ON FUNCTION sales_internal.partition_key(text) FROM PUBLIC;

-- First step: a table of its own with the parent's columns, indexes, checks and
-- foreign keys and a check of its range, so that attaching it finds all there
-- and reads nothing.
CREATE OR REPLACE FUNCTION sales_internal.prepare_partition(parent text, at timestamp) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    part record := sales_internal.partition_of(parent, at);
    foreign_key record;
BEGIN
    EXECUTE format('CREATE TABLE sales.%I (LIKE sales.%I INCLUDING DEFAULTS INCLUDING CONSTRAINTS INCLUDING INDEXES, '
                   'CONSTRAINT range CHECK (%3$I >= %4$L AND %3$I < %5$L))',
                   part.name, parent, sales_internal.partition_key(parent), part.low, part.high);
    EXECUTE format('COMMENT ON TABLE sales.%I IS %L', part.name,
                   format('Rows of %s from %s to %s', parent, part.low::date, part.high::date - 1));
    EXECUTE format('ALTER TABLE sales.%I ENABLE ROW LEVEL SECURITY', part.name);
    EXECUTE format('ALTER TABLE sales.%I FORCE ROW LEVEL SECURITY', part.name);
    FOR foreign_key IN
        SELECT conname, pg_get_constraintdef(oid) AS definition FROM pg_constraint
        WHERE conrelid = format('sales.%I', parent)::regclass AND contype = 'f' AND conparentid = 0 ORDER BY conname
    LOOP
        EXECUTE format('ALTER TABLE sales.%I ADD CONSTRAINT %I %s', part.name, foreign_key.conname, foreign_key.definition);
    END LOOP;
    -- a member of the extension is not dumped: its rows are, with those of DEFAULT
    EXECUTE format('ALTER EXTENSION sales_assistant ADD TABLE sales.%I', part.name);
END
$$;
COMMENT ON FUNCTION sales_internal.prepare_partition(text, timestamp) IS
    'Makes the table that will be the partition for an instant, not attached yet';
REVOKE ALL ON FUNCTION sales_internal.prepare_partition(text, timestamp) FROM PUBLIC;

-- A subscriber is told that a row has left DEFAULT, and not that it is in a table which is no partition yet: it would lose the row.
CREATE OR REPLACE FUNCTION sales_internal.is_published(parent text) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM pg_publication_tables p
                   WHERE p.schemaname = 'sales' AND p.tablename IN (is_published.parent, is_published.parent || '_default'))
$$;
COMMENT ON FUNCTION sales_internal.is_published(text) IS 'Do changes of a partitioned table go to subscribers? Then its rows stay where they are';
REVOKE ALL ON FUNCTION sales_internal.is_published(text) FROM PUBLIC;

-- Rows of the partition's range move from DEFAULT: as they are, which is no
-- change to be audited.  Foreign keys are looked at, since who deletes a
-- prospect meanwhile does not see the rows that arrive.
CREATE OR REPLACE FUNCTION sales_internal.fill_partition(parent text, at timestamp) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    part record := sales_internal.partition_of(parent, at);
    moved bigint;
BEGIN
    PERFORM sales_internal.audit_open_door();
    EXECUTE format('WITH moved AS (DELETE FROM sales.%I WHERE %I >= %L AND %I < %L RETURNING *) INSERT INTO sales.%I SELECT * FROM moved',
                   parent || '_default', sales_internal.partition_key(parent), part.low, sales_internal.partition_key(parent), part.high, part.name);
    GET DIAGNOSTICS moved = ROW_COUNT;
    PERFORM sales_internal.audit_close_door();
    IF moved > 0 AND sales_internal.is_published(parent) THEN
        RAISE object_in_use USING MESSAGE = format('sales.%s is published: its rows stay in DEFAULT, as subscribers would lose them', parent),
            HINT = 'See docs/backup.md, a warehouse.';
    END IF;
    RETURN moved;
END
$$;
COMMENT ON FUNCTION sales_internal.fill_partition(text, timestamp) IS 'Moves rows from DEFAULT into the table of a partition and returns how many';
REVOKE ALL ON FUNCTION sales_internal.fill_partition(text, timestamp) FROM PUBLIC;

-- Second step: most rows move while everybody works on; then, under the locks,
-- those that came meanwhile, and the table is attached.  What is left in DEFAULT
-- is read once under the locks: with a DEFAULT that is empty or nearly so, the
-- normal case, that takes no time.
CREATE OR REPLACE FUNCTION sales_internal.attach_partition(parent text, at timestamp) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    part record := sales_internal.partition_of(parent, at);
    moved bigint;
BEGIN
    moved := sales_internal.fill_partition(parent, at);
    PERFORM sales_internal.lock_for_partition(parent);
    moved := moved + sales_internal.fill_partition(parent, at);
    EXECUTE format('ALTER TABLE sales.%I ATTACH PARTITION sales.%I FOR VALUES FROM (%L) TO (%L)', parent, part.name, part.low, part.high);
    EXECUTE format('ALTER TABLE sales.%I DROP CONSTRAINT range', part.name);
    IF parent = 'audit_logs' THEN
        EXECUTE format('CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON sales.%I '
                       'FOR EACH STATEMENT EXECUTE FUNCTION sales_internal.audit_append_only()', part.name);
    END IF;
    RAISE LOG 'sales_assistant: partition % is there, % rows have moved into it', part.name, moved;
END
$$;
COMMENT ON FUNCTION sales_internal.attach_partition(text, timestamp) IS
    'Moves the rows of a prepared partition out of DEFAULT and attaches it';
REVOKE ALL ON FUNCTION sales_internal.attach_partition(text, timestamp) FROM PUBLIC;

-- What there is for an instant: 'attached', 'prepared' or null.
CREATE OR REPLACE FUNCTION sales_internal.partition_state(parent text, at timestamp) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN c.relispartition THEN 'attached' ELSE 'prepared' END FROM pg_class c
    WHERE c.oid = to_regclass(format('sales.%I', (sales_internal.partition_of(partition_state.parent, partition_state.at)).name))
$$;
COMMENT ON FUNCTION sales_internal.partition_state(text, timestamp) IS 'attached, prepared, or null where there is no table for the instant';
REVOKE ALL ON FUNCTION sales_internal.partition_state(text, timestamp) FROM PUBLIC;

-- On a cluster (docs/citus.md) Citus makes the partition of each shard, and does
-- not take the steps above.  It fails where DEFAULT holds rows of the range.
CREATE OR REPLACE FUNCTION sales_internal.make_spread_partition(parent text, at timestamp) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    part record := sales_internal.partition_of(parent, at);
BEGIN
    PERFORM set_config('citus.multi_shard_modify_mode', 'sequential', true), set_config('citus.enable_unsafe_triggers', 'on', true);
    EXECUTE format('CREATE TABLE sales.%I PARTITION OF sales.%I FOR VALUES FROM (%L) TO (%L)', part.name, parent, part.low, part.high);
    EXECUTE format('ALTER TABLE sales.%I ENABLE ROW LEVEL SECURITY', part.name);
    EXECUTE format('ALTER TABLE sales.%I FORCE ROW LEVEL SECURITY', part.name);
END
$$;
COMMENT ON FUNCTION sales_internal.make_spread_partition(text, timestamp) IS 'Makes the partition for an instant of a table that is spread over nodes';
REVOKE ALL ON FUNCTION sales_internal.make_spread_partition(text, timestamp) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.make_partition(parent text, at timestamp) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    state text := sales_internal.partition_state(parent, at);
BEGIN
    IF state = 'attached' THEN
        RETURN false;
    ELSIF format('sales.%I', parent)::regclass = ANY (sales_internal.citus_tables()) THEN
        PERFORM sales_internal.make_spread_partition(parent, at);
        RETURN true;
    ELSIF state IS NULL THEN
        -- all that attaching needs: who holds the weaker lock and asks for the stronger is in everybody's deadlock
        PERFORM sales_internal.lock_for_partition(parent);
        PERFORM sales_internal.prepare_partition(parent, at);
    END IF;
    PERFORM sales_internal.attach_partition(parent, at);
    RETURN true;
END
$$;
COMMENT ON FUNCTION sales_internal.make_partition(text, timestamp) IS
    'Makes the partition for an instant unless it is there, and moves its rows out of DEFAULT, in one transaction';
REVOKE ALL ON FUNCTION sales_internal.make_partition(text, timestamp) FROM PUBLIC;

-- One step of one partition a call, as locks are kept until the transaction's
-- end: where more are wanted the task is due again at once.  It is made by one
-- call and attached by the next, so that no lock of the first is kept while rows
-- move, nor made stronger.
CREATE OR REPLACE FUNCTION sales_internal.keep_partitions() RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    moment timestamp := sales_internal.now();
    wanted record;
    state text;
    is_spread boolean;         -- over the nodes of a cluster
BEGIN
    IF NOT sales_internal.take_lock(hashtextextended('sales_assistant partitions', 0), false) THEN
        RETURN 0;
    END IF;
    FOR wanted IN
        SELECT w.parent, w.at, bool_or(w.has_rows) AS has_rows
        FROM (-- now and ahead
              SELECT p.parent, date_trunc(p.unit, moment + n * p.step) AS at, false AS has_rows
              FROM (VALUES ('audit_logs', 'month', interval '1 month'), ('interactions', 'quarter', interval '3 months'),
                           ('analytics', 'year', interval '1 year')) p (parent, unit, step)
              CROSS JOIN generate_series(0, 2) n
              UNION ALL
              -- and wherever rows lie in DEFAULT
              SELECT DISTINCT 'audit_logs', date_trunc('month', created_at::timestamp), true FROM sales.audit_logs_default
              UNION ALL
              SELECT DISTINCT 'interactions', date_trunc('quarter', interaction_date::timestamp), true FROM sales.interactions_default
              WHERE interaction_date BETWEEN '1900-01-01' AND '2199-12-31'
              UNION ALL
              SELECT DISTINCT 'analytics', date_trunc('year', date::timestamp), true FROM sales.analytics_default
              WHERE date BETWEEN '1900-01-01' AND '2199-12-31') w
        -- Companies choose these dates, and one could have tables made without end: what lies centuries away, and
        -- what would be more tables than all can live with, stays in DEFAULT.
        WHERE NOT w.has_rows OR w.parent = 'audit_logs'
              OR (SELECT count(*) FROM pg_inherits i WHERE i.inhparent = format('sales.%I', w.parent)::regclass) < 160
        GROUP BY w.parent, w.at ORDER BY w.parent, abs(extract(epoch FROM w.at - moment)), w.at
    LOOP
        state := sales_internal.partition_state(wanted.parent, wanted.at);
        is_spread := coalesce(format('sales.%I', wanted.parent)::regclass = ANY (sales_internal.citus_tables()), false);
        CONTINUE WHEN state = 'attached' OR (wanted.has_rows AND (is_spread OR sales_internal.is_published(wanted.parent)));
        UPDATE sales_internal.periodic_tasks SET next_run = sales_internal.now() WHERE name = 'partitions';
        IF state IS NULL AND NOT is_spread THEN
            PERFORM sales_internal.lock_for_partition(wanted.parent, false);
            PERFORM sales_internal.prepare_partition(wanted.parent, wanted.at);
            RETURN 0;
        END IF;
        PERFORM sales_internal.make_partition(wanted.parent, wanted.at);
        RETURN 1;
    END LOOP;
    RETURN 0;
END
$$;
COMMENT ON FUNCTION sales_internal.keep_partitions() IS
    'Periodic task: one step towards the partitions of now, of two periods ahead and of rows in DEFAULT; returns how many it attached, 0 or 1';
REVOKE ALL ON FUNCTION sales_internal.keep_partitions() FROM PUBLIC;

DO $$
BEGIN
    INSERT INTO sales_internal.periodic_tasks (name, every, run_function, next_run)
    VALUES ('partitions', '1 day', 'sales_internal.keep_partitions', now() + interval '1 minute'),
           ('seal audit', '10 seconds', 'sales_internal.seal_audit_task', now() + interval '10 seconds') ON CONFLICT (name) DO NOTHING;
END
$$;

