-- Privacy: all rows of one company: moved to another database, or removed.

-- Tables that hold rows of companies, parents first, and how a company's rows
-- are told; `is_kept` is false for what belongs to this server alone.
CREATE OR REPLACE FUNCTION sales_internal.company_tables() RETURNS TABLE (target regclass, condition text, level integer, is_kept boolean)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE tables AS (
        SELECT c.oid, c.relpersistence,
               EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'company_id' AND NOT a.attisdropped) AS has_company
        FROM pg_class c
        WHERE c.relnamespace IN ('sales'::regnamespace, 'sales_internal'::regnamespace) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
    ), depth (oid, level) AS (
        SELECT t.oid, 0 FROM tables t
        UNION
        SELECT f.conrelid, d.level + 1
        FROM depth d JOIN pg_constraint f ON f.confrelid = d.oid AND f.contype = 'f' JOIN tables k ON k.oid = f.conrelid
        WHERE f.conrelid <> f.confrelid AND d.level < 20
    ), keyed (name, condition) AS (
        -- no company_id, but a key that one company's row has
        VALUES ('sales_internal.scorecards', 'model_id IN (SELECT m.model_id FROM sales.score_models m WHERE m.company_id = $1)'),
               ('sales_internal.service_pace', 'api_key_id IN (SELECT k.api_key_id FROM sales.api_keys k WHERE k.company_id = $1)')
    )
    SELECT t.oid::regclass, CASE WHEN t.has_company THEN 'company_id = $1' ELSE k.condition END, max(d.level),
           t.relpersistence = 'p' AND t.oid::regclass NOT IN ('sales_internal.sessions'::regclass, 'sales_internal.bound_roles'::regclass)
    FROM tables t JOIN depth d ON d.oid = t.oid LEFT JOIN keyed k ON to_regclass(k.name) = t.oid
    WHERE t.has_company OR k.condition IS NOT NULL
    GROUP BY t.oid, t.has_company, k.condition, t.relpersistence
    ORDER BY max(d.level), t.oid::regclass::text
$$;
COMMENT ON FUNCTION sales_internal.company_tables() IS
    'Tables with rows of companies, parents before children, and the condition that tells those of company $1';
REVOKE ALL ON FUNCTION sales_internal.company_tables() FROM PUBLIC;

-- Children before parents; what is told by a parent's key goes first of all.
CREATE OR REPLACE FUNCTION sales_internal.delete_company_rows(company uuid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    place record;
    done bigint := 0;
BEGIN
    FOR place IN SELECT *, count(*) OVER () AS total FROM sales_internal.company_tables() t
                 ORDER BY t.condition = 'company_id = $1', t.level DESC, t.target::text LOOP
        PERFORM sales_internal.note_progress('delete_company', company, 'rows: ' || place.target, done, place.total);
        done := done + 1;
        EXECUTE format('DELETE FROM %s WHERE %s', place.target, place.condition) USING company;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sales_internal.delete_company_rows(uuid) IS
    'Deletes every row of a company, children before parents';
REVOKE ALL ON FUNCTION sales_internal.delete_company_rows(uuid) FROM PUBLIC;

-- Every column as text, so that each comes back as it was.
CREATE OR REPLACE FUNCTION sales.export_company(company_id uuid) RETURNS TABLE (table_name text, "row" jsonb)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
SET datestyle = 'ISO' SET timezone = 'UTC' SET intervalstyle = 'postgres' SET bytea_output = 'hex' SET extra_float_digits = 1
AS $$
DECLARE
    place record;
    done bigint := 0;
BEGIN
    IF NOT EXISTS (SELECT FROM sales.companies c WHERE c.company_id = export_company.company_id) THEN
        RAISE no_data_found USING MESSAGE = format('there is no company %s', coalesce(company_id::text, 'null'));
    END IF;
    FOR place IN
        SELECT t.target, t.condition, count(*) OVER () AS total,
               (SELECT string_agg(format('%L, t.%I::text', a.attname, a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
                WHERE a.attrelid = t.target AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
               (SELECT string_agg(format('t.%I', a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a JOIN pg_index i ON i.indrelid = t.target AND i.indisprimary
                WHERE a.attrelid = t.target AND a.attnum = ANY (i.indkey)) AS key
        FROM sales_internal.company_tables() t WHERE t.is_kept ORDER BY t.level, t.target::text
    LOOP
        PERFORM sales_internal.note_progress('export_company', company_id, 'rows: ' || place.target, done, place.total);
        done := done + 1;
        RETURN QUERY EXECUTE format('SELECT %L, jsonb_strip_nulls(jsonb_build_object(%s)) FROM %s t WHERE %s %s', place.target, place.columns, place.target,
                                    place.condition, 'ORDER BY ' || place.key)
                     USING company_id;
    END LOOP;
    PERFORM sales_internal.end_progress('export_company');
END
$$;
COMMENT ON FUNCTION sales.export_company(uuid) IS
    'Every row of a company, parents first, for sales.import_company() in another database; superusers only, as password hashes are among them';
REVOKE ALL ON FUNCTION sales.export_company(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.import_company(source regclass) RETURNS uuid
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid;
    found bigint;
    place record;
    done bigint := 0;
BEGIN
    EXECUTE format('SELECT count(*), min(s."row" ->> ''company_id'')::uuid FROM %s s WHERE s.table_name = ''sales.companies''', source) INTO found, company;
    IF found <> 1 THEN
        RAISE invalid_parameter_value USING MESSAGE = format('%s does not hold one company but %s', source, found),
            HINT = 'Fill a table (table_name text, "row" jsonb) with all rows of sales.export_company().';
    END IF;
    EXECUTE format('SELECT s.table_name AS name FROM %s s WHERE NOT EXISTS (SELECT FROM sales_internal.company_tables() t '
                   'WHERE t.target = to_regclass(s.table_name)) LIMIT 1', source) INTO place;
    IF place.name IS NOT NULL THEN
        RAISE undefined_table USING MESSAGE = format('this version has no table %s of companies', place.name),
            HINT = 'Import into the version that the rows were exported from, or a later one.';
    END IF;
    IF sales_internal.citus_tables() <> '{}' THEN
        SET LOCAL citus.propagate_set_commands = 'local';
    END IF;
    -- The rows come as a restored dump does: no trigger audits, marks or seals them again.
    SET LOCAL session_replication_role = replica;
    FOR place IN
        SELECT t.target, count(*) OVER () AS total,
               (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) FROM pg_attribute a
                WHERE a.attrelid = t.target AND a.attnum > 0 AND NOT a.attisdropped) AS columns,
               (SELECT string_agg(CASE WHEN a.attnotnull AND d.adbin IS NOT NULL
                                       THEN format('coalesce((s."row" ->> %L)::%s, %s)', a.attname, format_type(a.atttypid, a.atttypmod), pg_get_expr(d.adbin, d.adrelid))
                                       ELSE format('(s."row" ->> %L)::%s', a.attname, format_type(a.atttypid, a.atttypmod)) END, ', ' ORDER BY a.attnum)
                FROM pg_attribute a LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
                WHERE a.attrelid = t.target AND a.attnum > 0 AND NOT a.attisdropped) AS values
        FROM sales_internal.company_tables() t ORDER BY t.level, t.target::text
    LOOP
        PERFORM sales_internal.note_progress('import_company', company, 'rows: ' || place.target, done, place.total);
        done := done + 1;
        EXECUTE format('INSERT INTO %s (%s) SELECT %s FROM %s s WHERE s.table_name = %L', place.target, place.columns, place.values, source, place.target);
    END LOOP;
    SET LOCAL session_replication_role = origin;
    PERFORM sales_internal.note_progress('import_company', company, 'foreign keys');
    PERFORM sales_internal.check_company_keys(company), sales_internal.end_progress('import_company');
    RAISE LOG 'sales_assistant: company % was imported by %', company, session_user;
    RETURN company;
EXCEPTION WHEN unique_violation THEN
    RAISE unique_violation USING MESSAGE = format('the company %s, or one with its domain, is here already', company),
        DETAIL = SQLERRM, HINT = 'sales.delete_company() removes one.';
END
$$;
COMMENT ON FUNCTION sales.import_company(regclass) IS
    'Puts the rows of sales.export_company(), held in a table (table_name, row), into this database and returns the company; superusers only';
REVOKE ALL ON FUNCTION sales.import_company(regclass) FROM PUBLIC;

-- Foreign keys were not looked at while rows came in: each is now.
CREATE OR REPLACE FUNCTION sales_internal.check_company_keys(company uuid) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    link record;
    lost text;
BEGIN
    FOR link IN
        SELECT t.target, t.condition, f.confrelid::regclass AS parent,
               string_agg(format('p.%I = c.%I', b.attname, a.attname), ' AND ') AS matches,
               string_agg(format('c.%I IS NOT NULL', a.attname), ' AND ') AS is_set,
               string_agg(format('c.%I::text', a.attname), ', ') AS key
        FROM sales_internal.company_tables() t
        JOIN pg_constraint f ON f.conrelid = t.target AND f.contype = 'f' AND f.conparentid = 0
        CROSS JOIN LATERAL unnest(f.conkey, f.confkey) u (ours, theirs)
        JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = u.ours
        JOIN pg_attribute b ON b.attrelid = f.confrelid AND b.attnum = u.theirs
        GROUP BY t.target, t.condition, f.oid, f.confrelid ORDER BY t.target::text, f.oid
    LOOP
        EXECUTE format('SELECT concat_ws('', '', %s) FROM %s c WHERE %s AND %s AND NOT EXISTS (SELECT FROM %s p WHERE %s) LIMIT 1', link.key, link.target,
                       replace(link.condition, 'company_id =', 'c.company_id ='), link.is_set, link.parent, link.matches)
        INTO lost USING company;
        IF lost IS NOT NULL THEN
            RAISE foreign_key_violation USING MESSAGE = format('%s points to (%s) in %s, which is not here', link.target, lost, link.parent),
                HINT = 'Rows of the platform, such as sectors of its own, are copied first; all else must be in the export.';
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sales_internal.check_company_keys(uuid) IS 'Error where a row of the company points to one that is not there';
REVOKE ALL ON FUNCTION sales_internal.check_company_keys(uuid) FROM PUBLIC;
