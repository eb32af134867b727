-- Privacy: what is old goes, as the settings privacy.retention_* say.

-- A retention as an instant: what is older goes; null: nothing does.
CREATE OR REPLACE FUNCTION sales_internal.retention_limit(company uuid, key text) RETURNS timestamptz
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    full_key CONSTANT text := 'privacy.retention_' || key;
    value text := sales_internal.setting_of(company, full_key);
BEGIN
    IF coalesce(trim(value), '') = '' THEN
        RETURN NULL;
    ELSIF trim(value) !~ '^[1-9][0-9]{0,4}$' THEN
        -- nothing is removed by a setting that cannot be understood
        RAISE invalid_parameter_value USING MESSAGE = format('the setting %s is no number of %s: %s', full_key, split_part(key, '_', 2), value),
            HINT = 'Write a whole number from 1 to 99999, or remove the setting to keep everything.';
    END IF;
    RETURN sales_internal.now() - trim(value)::integer * CASE split_part(key, '_', 2) WHEN 'months' THEN interval '1 month' ELSE interval '1 day' END;
END
$$;
COMMENT ON FUNCTION sales_internal.retention_limit(uuid, text) IS
    'Instant before which things go by the setting privacy.retention_KEY of the company; null: they stay';
REVOKE ALL ON FUNCTION sales_internal.retention_limit(uuid, text) FROM PUBLIC;

-- Prospects that are no clients, with nothing done since the limit; and those
-- that were deleted before theirs.
CREATE OR REPLACE FUNCTION sales_internal.retain_prospects(company uuid) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    idle_limit timestamptz := sales_internal.retention_limit(company, 'prospects_months');
    deleted_limit timestamptz := sales_internal.retention_limit(company, 'deleted_days');
    person uuid;
    erased bigint := 0;
BEGIN
    IF idle_limit IS NULL AND deleted_limit IS NULL THEN
        RETURN 0;
    END IF;
    FOR person IN
        SELECT p.prospect_id FROM sales.prospects p
        WHERE p.company_id = company AND p.erased_at IS NULL
          AND (p.deleted_at < deleted_limit
               OR (p.status <> 'client' AND p.created_at < idle_limit
                   AND NOT EXISTS (SELECT FROM sales.interactions i WHERE i.company_id = company AND i.prospect_id = p.prospect_id AND i.interaction_date >= idle_limit)
                   AND NOT EXISTS (SELECT FROM sales.messages m WHERE m.company_id = company AND m.prospect_id = p.prospect_id AND m.created_at >= idle_limit)
                   AND NOT EXISTS (SELECT FROM sales.tasks t WHERE t.company_id = company AND t.prospect_id = p.prospect_id AND greatest(t.created_at, t.due_date, t.completed_at) >= idle_limit)
                   AND NOT EXISTS (SELECT FROM sales.conversion_funnel f WHERE f.company_id = company AND f.prospect_id = p.prospect_id
                                   AND (f.stage_entered_at >= idle_limit OR f.stage = 'client'))))
        -- what is more goes next time: an erasure looks through all that the company has
        ORDER BY p.prospect_id LIMIT 100
    LOOP
        PERFORM sales_internal.erase_person(company, person, 'retention');
        erased := erased + 1;
    END LOOP;
    RETURN erased;
END
$$;
COMMENT ON FUNCTION sales_internal.retain_prospects(uuid) IS 'Erases prospects whose retention is over, at most 100 a call, and returns how many';
REVOKE ALL ON FUNCTION sales_internal.retain_prospects(uuid) FROM PUBLIC;

-- Texts of old messages, interactions and tasks; the rows stay, for the metrics.
CREATE OR REPLACE FUNCTION sales_internal.retain_texts(company uuid) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    oldest timestamptz := sales_internal.retention_limit(company, 'texts_months');
    place record;
    keys uuid[];
    emptied bigint := 0;
BEGIN
    IF oldest IS NULL THEN
        RETURN 0;
    END IF;
    FOR place IN
        SELECT c.target, t.key, v.at,
               string_agg(format('%I = %s', c.name, sales_internal.erased_value(c.type, c.not_null)), ', ' ORDER BY c.number) AS assignments,
               string_agg(format('t.%I IS DISTINCT FROM %s', c.name, sales_internal.erased_value(c.type, c.not_null)), ' OR ' ORDER BY c.number) AS is_there
        FROM (VALUES ('sales.messages'::regclass, 'created_at'), ('sales.interactions'::regclass, 'interaction_date'), ('sales.tasks'::regclass, 'created_at')) v (target, at)
        JOIN sales_internal.person_tables() t ON t.target = v.target
        JOIN sales_internal.personal_columns() c ON c.target = v.target AND c.found_by = 'prospect'
        GROUP BY 1, 2, 3
    LOOP
        EXECUTE format('SELECT array_agg(k) FROM (SELECT t.%I AS k FROM %s t WHERE t.company_id = $1 AND t.%I < $2 AND (%s) LIMIT 10000) x', place.key, place.target, place.at, place.is_there)
        INTO keys USING company, oldest;
        CONTINUE WHEN keys IS NULL;
        PERFORM sales_internal.erase_audit(company, keys, NULL);
        PERFORM sales_internal.audit_open_door();
        EXECUTE format('UPDATE %s t SET %s WHERE t.company_id = $1 AND t.%I = ANY ($2)', place.target, place.assignments, place.key) USING company, keys;
        PERFORM sales_internal.audit_close_door();
        emptied := emptied + cardinality(keys);
    END LOOP;
    RETURN emptied;
END
$$;
COMMENT ON FUNCTION sales_internal.retain_texts(uuid) IS
    'Empties texts whose retention is over, in the audit log too, at most 10,000 of a table a call, and returns how many';
REVOKE ALL ON FUNCTION sales_internal.retain_texts(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.retain_jobs(company uuid) RETURNS bigint
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    WITH gone AS (DELETE FROM sales_internal.jobs j
                  WHERE j.company_id IS NOT DISTINCT FROM company AND j.state IN ('done', 'failed', 'cancelled')
                    AND j.finished_at < sales_internal.retention_limit(company, 'jobs_days') RETURNING 1)
    SELECT count(*) FROM gone
$$;
COMMENT ON FUNCTION sales_internal.retain_jobs(uuid) IS 'Removes ended jobs of a company, or of the platform, whose retention is over, and returns how many';
REVOKE ALL ON FUNCTION sales_internal.retain_jobs(uuid) FROM PUBLIC;

-- login() knows an address for 90 days (session.c).
CREATE OR REPLACE FUNCTION sales_internal.retain_sessions(company uuid) RETURNS bigint
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    WITH gone AS (DELETE FROM sales_internal.sessions s
                  WHERE s.company_id = company AND s.expires_at < sales_internal.now() - interval '90 days' RETURNING 1)
    SELECT count(*) FROM gone
$$;
COMMENT ON FUNCTION sales_internal.retain_sessions(uuid) IS 'Removes a company''s sessions that ended 90 days ago or more, and returns how many';
REVOKE ALL ON FUNCTION sales_internal.retain_sessions(uuid) FROM PUBLIC;

-- What an import did not take, its files among it, and what it would need to be undone.
CREATE OR REPLACE FUNCTION sales_internal.retain_rejects(company uuid) RETURNS bigint
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    WITH old_runs AS MATERIALIZED (
        SELECT r.run_id, r.status FROM sales.import_runs r
        WHERE r.company_id = company AND r.started_at < sales_internal.retention_limit(company, 'rejects_days')),
    rejects AS (DELETE FROM sales.import_rejects j WHERE j.company_id = company AND j.run_id IN (SELECT run_id FROM old_runs) RETURNING 1),
    changes AS (DELETE FROM sales_internal.import_changes c WHERE c.company_id = company AND c.run_id IN (SELECT run_id FROM old_runs) RETURNING 1),
    files AS (DELETE FROM sales_internal.import_files f WHERE f.company_id = company AND f.run_id IN (SELECT run_id FROM old_runs o WHERE o.status <> 'running') RETURNING 1),
    uploads AS (DELETE FROM sales.import_uploads u
                WHERE u.company_id = company AND u.created_at < sales_internal.retention_limit(company, 'rejects_days')
                  AND NOT EXISTS (SELECT FROM sales_internal.import_files f JOIN sales.import_runs r ON r.company_id = company AND r.run_id = f.run_id
                                  WHERE f.company_id = company AND f.file_id = u.upload_id AND r.status = 'running') RETURNING 1)
    SELECT (SELECT count(*) FROM rejects) + (SELECT count(*) FROM changes) + (SELECT count(*) FROM files) + (SELECT count(*) FROM uploads)
$$;
COMMENT ON FUNCTION sales_internal.retain_rejects(uuid) IS
    'Removes rejected rows and files of old imports and what undoing them would need, and returns how many';
REVOKE ALL ON FUNCTION sales_internal.retain_rejects(uuid) FROM PUBLIC;

-- Periodic task.  A company whose setting is wrong keeps everything and does not
-- hold up the others.
CREATE OR REPLACE FUNCTION sales_internal.apply_retention() RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid;
    kind text;
    gone bigint;
    counts jsonb := '{}';
    problem text;
    more boolean := false;
    done bigint := 0;
    total bigint;
BEGIN
    FOR company, total IN SELECT x.company_id, count(*) OVER () FROM (SELECT c.company_id FROM sales.companies c UNION ALL SELECT NULL) x LOOP
        PERFORM sales_internal.note_progress('retention', NULL, 'companies', done, total);
        done := done + 1;
        FOREACH kind IN ARRAY CASE WHEN company IS NULL THEN '{jobs}'::text[] ELSE '{jobs,sessions,rejects,texts,prospects,audit}' END LOOP
            BEGIN
                EXECUTE format('SELECT sales_internal.%I($1)', 'retain_' || kind) INTO gone USING company;
                more := more OR (kind = 'texts' AND gone >= 10000) OR (kind = 'prospects' AND gone >= 100);
                IF gone > 0 THEN
                    counts := counts || jsonb_build_object(kind, coalesce((counts ->> kind)::bigint, 0) + gone);
                END IF;
            EXCEPTION WHEN data_exception OR lock_not_available OR object_not_in_prerequisite_state THEN
                problem := format('company %s: %s', company, SQLERRM);
                RAISE WARNING 'sales_assistant: retention of company %: %', company, SQLERRM;
            END;
        END LOOP;
    END LOOP;
    counts := counts || coalesce((SELECT jsonb_build_object('audit_partitions', n) FROM sales_internal.drop_audit_partitions() n WHERE n > 0), '{}');
    PERFORM sales_internal.end_progress('retention');
    IF counts <> '{}' THEN
        RAISE LOG 'sales_assistant: retention removed %', counts;
    END IF;
    IF more THEN
        UPDATE sales_internal.periodic_tasks SET next_run = sales_internal.now() WHERE name = 'retention';
    END IF;
    RETURN concat_ws('; ', CASE WHEN counts <> '{}' THEN counts::text END, problem);
END
$$;
COMMENT ON FUNCTION sales_internal.apply_retention() IS
    'Periodic task: removes what is older than the settings privacy.retention_* of each company say';
REVOKE ALL ON FUNCTION sales_internal.apply_retention() FROM PUBLIC;

-- Audit rows go by whole months, so that the chain of each month is there or not.
CREATE OR REPLACE FUNCTION sales_internal.retain_audit(company uuid) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    oldest timestamptz := date_trunc('month', sales_internal.retention_limit(company, 'audit_months'));
    gone bigint;
BEGIN
    IF oldest IS NULL OR NOT EXISTS (SELECT FROM sales.audit_logs l WHERE l.company_id = company AND l.created_at < oldest) THEN
        RETURN 0;
    END IF;
    PERFORM sales_internal.seal_audit(company, true), sales_internal.audit_expired(company, oldest), sales_internal.audit_open_door();
    DELETE FROM sales.audit_logs l WHERE l.company_id = company AND l.created_at < oldest;
    GET DIAGNOSTICS gone = ROW_COUNT;
    PERFORM sales_internal.audit_close_door();
    RETURN gone;
END
$$;
COMMENT ON FUNCTION sales_internal.retain_audit(uuid) IS 'Removes a company''s audit rows of months whose retention is over, and returns how many';
REVOKE ALL ON FUNCTION sales_internal.retain_audit(uuid) FROM PUBLIC;

-- Months of audit_logs in which no company has a row any more, and which are over.
CREATE OR REPLACE FUNCTION sales_internal.drop_audit_partitions() RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET timezone = 'UTC'
AS $$
DECLARE
    before CONSTANT text := current_setting('lock_timeout');
    part record;
    has_rows boolean;
    dropped bigint := 0;
BEGIN
    FOR part IN
        SELECT c.oid::regclass AS name FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
        WHERE i.inhparent = 'sales.audit_logs'::regclass AND c.relname ~ '^audit_logs_\d{4}_\d\d$'
          AND to_date(right(c.relname, 7), 'YYYY_MM') < date_trunc('month', sales_internal.now()) - interval '1 month'
        ORDER BY c.relname
    LOOP
        EXECUTE format('SELECT EXISTS (SELECT FROM %s)', part.name) INTO has_rows;
        CONTINUE WHEN has_rows;
        BEGIN
            PERFORM set_config('lock_timeout', '200ms', true);
            -- nobody can add a row between the look and the drop
            LOCK TABLE sales.audit_logs IN ACCESS EXCLUSIVE MODE;
            EXECUTE format('SELECT EXISTS (SELECT FROM %s)', part.name) INTO has_rows;
            IF NOT has_rows THEN
                EXECUTE format('ALTER EXTENSION sales_assistant DROP TABLE %s', part.name);
                EXECUTE format('DROP TABLE %s', part.name);
                dropped := dropped + 1;
            END IF;
        EXCEPTION WHEN lock_not_available THEN
            EXIT;               -- next time
        END;
    END LOOP;
    PERFORM set_config('lock_timeout', before, true);
    RETURN dropped;
END
$$;
COMMENT ON FUNCTION sales_internal.drop_audit_partitions() IS
    'Drops past months of audit_logs that are empty; waits for no lock longer than a moment; returns how many';
REVOKE ALL ON FUNCTION sales_internal.drop_audit_partitions() FROM PUBLIC;

DO $$
BEGIN
    INSERT INTO sales_internal.periodic_tasks (name, every, run_function, next_run)
    VALUES ('retention', '1 day', 'sales_internal.apply_retention', now() + interval '10 minutes') ON CONFLICT (name) DO NOTHING;
END
$$;
