\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
-- Every audited table and each of its columns, as the catalogue has them: a copy of
-- the table without its rules, where each column in turn takes a value, another,
-- and none.  The audit row says just that column, to the byte; a hidden one never.
:be_super
-- which of the tenants' tables have no trigger: applications cannot write them, the extension makes them from others
SELECT c.relname, (SELECT string_agg(p, ',') FROM unnest('{INSERT,UPDATE,DELETE}'::text[]) p WHERE has_table_privilege('sales_app', c.oid, p)) AS writable
FROM pg_class c WHERE c.relnamespace = 'sales'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = c.oid AND attname = 'company_id' AND NOT attisdropped)
  AND NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = c.oid AND tgfoid = 'sales_internal.audit'::regproc AND tgenabled = 'O') ORDER BY 1;
-- and every partition of one with a trigger has its own
SELECT count(*) > 0 AS partitions, count(*) FILTER (WHERE NOT EXISTS (SELECT FROM pg_trigger g WHERE g.tgrelid = c.oid AND g.tgfoid = 'sales_internal.audit'::regproc)) AS without
FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid JOIN pg_trigger p ON p.tgrelid = i.inhparent AND p.tgfoid = 'sales_internal.audit'::regproc;
-- what is called like a secret and not hidden is none: names and hosts of keys, four characters of one, digests of addresses
SELECT c.relname, a.attname FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
WHERE g.tgfoid = 'sales_internal.audit'::regproc AND NOT c.relispartition AND a.attname ~ 'pass|secret|key|token|hash|credential|cipher|sealed|private|pin$|otp'
  AND a.attname <> ALL (string_to_array(split_part(encode(g.tgargs, 'escape'), '\000', 3), ',')) ORDER BY 1, 2;

BEGIN;
CREATE SCHEMA copies;
CREATE FUNCTION copies.same_bytes(a jsonb, b jsonb) RETURNS boolean LANGUAGE sql AS $$
    SELECT a IS NOT DISTINCT FROM b AND sales_internal.audit_values_digest(d.digest, d.none, a, NULL) IS NOT DISTINCT FROM sales_internal.audit_values_digest(d.digest, d.none, b, NULL)
    FROM (SELECT digest, '00000000-0000-0000-0000-000000000000'::uuid AS none FROM sales.audit_logs LIMIT 1) d $$;
-- A value of a type, the first or the second, as SQL; large ones where the type has no limit, so that they go out of line.
CREATE FUNCTION copies.value(type oid, typmod int, n int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    t pg_type := (SELECT p FROM pg_type p WHERE p.oid = type);
    large text := (SELECT string_agg(md5(n || '.' || g), ' é"\' || n) FROM generate_series(1, 400) g);
BEGIN
    IF t.typtype = 'd' THEN
        RETURN copies.value(t.typbasetype, t.typtypmod, n);
    ELSIF t.typtype = 'e' THEN
        RETURN (SELECT quote_literal(enumlabel) FROM pg_enum WHERE enumtypid = type ORDER BY enumsortorder OFFSET n - 1 LIMIT 1);
    ELSIF t.typcategory = 'A' THEN
        RETURN format('ARRAY[%s, NULL, %s]', copies.value(t.typelem, typmod, n), copies.value(t.typelem, typmod, 1));
    END IF;
    RETURN CASE t.typname
        WHEN 'bool' THEN CASE n WHEN 1 THEN 'true' ELSE 'false' END
        WHEN 'int2' THEN (n * -16000)::text WHEN 'int4' THEN (n * 1073741823)::text WHEN 'int8' THEN (n * 4611686018427387903)::text
        WHEN 'float4' THEN (n * 0.1)::text WHEN 'float8' THEN (n * 1e-7)::text
        WHEN 'numeric' THEN CASE WHEN typmod < 0 THEN (n * 12345678901234567890.10)::text ELSE (n * 1.10)::text END
        WHEN 'varchar' THEN quote_literal(left(large, least(CASE WHEN typmod > 4 THEN typmod - 4 ELSE 20000 END, 20000)))
        WHEN 'bpchar' THEN quote_literal(left(large, typmod - 4)) WHEN 'text' THEN quote_literal(large)
        WHEN 'bytea' THEN quote_literal('\x' || repeat('00ff5c0' || n, 3000))
        WHEN 'uuid' THEN quote_literal(n || '0000000-0000-7000-8000-00000000000f')
        WHEN 'date' THEN quote_literal('2026-02-2' || n) WHEN 'time' THEN quote_literal('23:59:59.00000' || n)
        WHEN 'timestamptz' THEN quote_literal('2026-10-25 0' || n || ':30:00.120+00') WHEN 'timestamp' THEN quote_literal('2026-10-25 0' || n || ':30')
        WHEN 'interval' THEN quote_literal(n || ' mons -3 days 04:05:06.7') WHEN 'inet' THEN quote_literal('2001:db8::' || n)
        WHEN 'jsonb' THEN quote_literal(jsonb_build_object('n', n, '', ARRAY[1.50, NULL], 'large', large, 'é', jsonb_build_object('b', true, 'a', jsonb '[]')))
        WHEN 'json' THEN quote_literal(json_build_object('n', n)) END;
END $$;
-- What went wrong with a column of a table; nothing where all is well.  Counts what was tried.
CREATE TABLE copies.tried (tab text, col text, type text);
CREATE FUNCTION copies.run(tab text, key text, hidden text[], company uuid, OUT col text, OUT wrong text) RETURNS SETOF record LANGUAGE plpgsql
SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'postgres' SET extra_float_digits = 1 AS $$
DECLARE
    copy text := format('copies.%I', tab);
    id uuid := sales.uuidv7();
    row jsonb;
    before jsonb;
    last sales.audit_logs;
    seen uuid;
    c record;
    n int;
    value text;
BEGIN
    -- a dropped column before the others, and one behind; no rules
    EXECUTE format('CREATE TABLE %s (dropped_1 text DEFAULT ''x'', LIKE sales.%I INCLUDING DEFAULTS INCLUDING GENERATED INCLUDING IDENTITY INCLUDING STORAGE, dropped_2 int DEFAULT 7)', copy, tab);
    EXECUTE format('ALTER TABLE %s DROP COLUMN dropped_1, DROP COLUMN dropped_2', copy);
    FOR c IN SELECT attname FROM pg_attribute WHERE attrelid = copy::regclass AND attnum > 0 AND attnotnull AND attname <> ALL (ARRAY[key, 'company_id']) AND attidentity = '' LOOP
        EXECUTE format('ALTER TABLE %s ALTER %I DROP NOT NULL', copy, c.attname);
    END LOOP;
    EXECUTE format('CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON %s FOR EACH ROW EXECUTE FUNCTION sales_internal.audit(%L, %L, %L)', copy, tab, key, array_to_string(hidden, ','));
    IF key = 'company_id' THEN
        id := company;
    END IF;
    EXECUTE format('INSERT INTO %s (%I%s) VALUES ($1%s)', copy, key, CASE WHEN key <> 'company_id' THEN ', company_id' END, CASE WHEN key <> 'company_id' THEN ', $2' END) USING id, company;
    FOR c IN SELECT attname, atttypid, atttypmod FROM pg_attribute WHERE attrelid = copy::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attidentity = ''
             AND attname <> ALL (ARRAY[key, 'company_id']) ORDER BY attnum LOOP
        INSERT INTO copies.tried VALUES (tab, c.attname, format_type(c.atttypid, NULL));
        col := c.attname;
        FOREACH n IN ARRAY '{1,2,2,0,1}'::int[] LOOP
            value := CASE n WHEN 0 THEN 'NULL' ELSE copies.value(c.atttypid, c.atttypmod, n) END;
            wrong := 'no value for type ' || format_type(c.atttypid, NULL);
            IF value IS NULL THEN
                RETURN NEXT;
                CONTINUE;
            END IF;
            EXECUTE format('SELECT to_jsonb(x) FROM %s x', copy) INTO before;
            seen := sales.uuidv7();
            EXECUTE format('UPDATE %s SET %I = %s', copy, c.attname, value);
            EXECUTE format('SELECT to_jsonb(x) FROM %s x', copy) INTO row;
            SELECT * INTO last FROM sales.audit_logs l WHERE l.record_id = id AND l.company_id = company AND l.audit_id > seen ORDER BY l.audit_id DESC LIMIT 1;
            wrong := CASE
                WHEN col = 'updated_at' OR before = row THEN CASE WHEN last.audit_id IS NOT NULL THEN 'a row of no change' END
                WHEN last.audit_id IS NULL THEN 'no row'
                WHEN col = ANY (hidden) THEN CASE WHEN last.old_values <> '{}' OR last.new_values <> '{}' THEN 'hidden, and there' END
                WHEN NOT copies.same_bytes(last.old_values, jsonb_build_object(col, before -> col)) THEN 'old ' || left(last.old_values::text, 60)
                WHEN NOT copies.same_bytes(last.new_values, jsonb_build_object(col, row -> col)) THEN 'new ' || left(last.new_values::text, 60)
                WHEN last.action <> CASE WHEN col = 'deleted_at' AND before -> col = 'null' THEN 'delete' ELSE 'update' END::sales.audit_action THEN 'it is called ' || last.action END;
            IF wrong IS NOT NULL THEN
                wrong := n || ': ' || wrong;
                RETURN NEXT;
            END IF;
        END LOOP;
    END LOOP;
    -- the whole row: as it is, one like it that is made, and as it was
    col := '(row)';
    EXECUTE format('SELECT to_jsonb(x) - $1 FROM %s x', copy) INTO row USING hidden;
    EXECUTE format('DELETE FROM %s', copy);
    SELECT * INTO last FROM sales.audit_logs l WHERE l.record_id = id AND l.company_id = company ORDER BY l.audit_id DESC LIMIT 1;
    IF last.action <> 'delete' OR last.new_values IS NOT NULL OR NOT copies.same_bytes(last.old_values, row) THEN
        wrong := 'deleted: ' || left(last.old_values::text, 100);
        RETURN NEXT;
    END IF;
    EXECUTE format('INSERT INTO %1$s SELECT * FROM jsonb_populate_record(NULL::%1$s, $1)', copy) USING row;
    SELECT * INTO last FROM sales.audit_logs l WHERE l.record_id = id AND l.company_id = company ORDER BY l.audit_id DESC LIMIT 1;
    EXECUTE format('SELECT to_jsonb(x) - $1 FROM %s x', copy) INTO row USING hidden;
    IF last.action <> 'create' OR last.old_values IS NOT NULL OR NOT copies.same_bytes(last.new_values, row) OR EXISTS (SELECT FROM jsonb_each(row) e WHERE e.value = 'null') THEN
        wrong := 'made: ' || left(last.new_values::text, 100);
        RETURN NEXT;
    END IF;
END $$;
CREATE TABLE copies.tables AS
SELECT c.relname::text AS tab, a[1] AS name, a[2] AS key, string_to_array(nullif(a[3], ''), ',') AS hidden
FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid, string_to_array(encode(g.tgargs, 'escape'), '\000') a
WHERE g.tgfoid = 'sales_internal.audit'::regproc AND NOT c.relispartition AND c.relnamespace = 'sales'::regnamespace;
SELECT count(*) AS other_names FROM copies.tables WHERE tab <> name;
-- in one company and the other by turns
SELECT t.tab, r.col, r.wrong FROM (SELECT *, row_number() OVER (ORDER BY tab) AS n FROM copies.tables) t,
    LATERAL copies.run(t.tab, t.key, coalesce(t.hidden, '{}'), helpers.company(CASE t.n % 2 WHEN 0 THEN 'alpha' ELSE 'beta' END)) r ORDER BY 1, 2;
SELECT (SELECT count(*) FROM copies.tables) = count(DISTINCT tab) AS all_tables, count(*) > 250 AS many_columns, count(DISTINCT type) > 25 AS many_types FROM copies.tried;
-- each value was in TOAST where it could be
SELECT count(*) > 20 AS large_values FROM sales.audit_logs l, jsonb_each_text(l.new_values) v WHERE length(v.value) > 10000 AND l.company_id IN (helpers.company('alpha'), helpers.company('beta'));
SELECT bool_and(ok) FROM unnest('{alpha,beta}'::text[]) c, sales_internal.verify_audit_of(helpers.company(c), '2000-01-01', '2999-12-01');
ROLLBACK;
