\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
-- What an audit row says of a row: to the byte what to_jsonb() makes, for every
-- column of the schema and every type, whatever the session's settings.
:be_super
CREATE AGGREGATE helpers.merge(jsonb) (sfunc = jsonb_concat, stype = jsonb, initcond = '{}');
-- Digests cover the stored form: the same digest is the same bytes.
CREATE FUNCTION helpers.same_bytes(a jsonb, b jsonb) RETURNS boolean LANGUAGE sql AS $$
    SELECT sales_internal.audit_values_digest(d.digest, uuid_nil, a, NULL) IS NOT DISTINCT FROM sales_internal.audit_values_digest(d.digest, uuid_nil, b, NULL)
    FROM (SELECT digest, '00000000-0000-0000-0000-000000000000'::uuid AS uuid_nil FROM sales.audit_logs LIMIT 1) d $$;

-- every table that is audited: its rows made again from the log, in one company and another
BEGIN;
SET LOCAL datestyle = 'German';
SET LOCAL timezone = 'Pacific/Chatham';
SET LOCAL intervalstyle = 'iso_8601';
SET LOCAL extra_float_digits = -3;
SET LOCAL bytea_output = 'escape';
SELECT sales_internal.make_probe_company('Values') AS one, sales_internal.make_probe_company('Others') AS two \gset
UPDATE sales.prospects SET estimated_budget_amount = 1234.50, last_name = E'q"\\\t é', competitive_intel = '[1.0, {"a": null}]' WHERE company_id = :'one';
UPDATE sales.prospects SET competitive_intel = '"scalar"' WHERE company_id = :'two';
CREATE FUNCTION helpers.replayed() RETURNS TABLE (tab text, rows bigint, same bigint) LANGUAGE plpgsql
SET timezone = 'UTC' SET datestyle = 'ISO' SET intervalstyle = 'postgres' SET extra_float_digits = 1 SET bytea_output = 'hex' AS $$
DECLARE
    t record;
    args text[];
BEGIN
    FOR t IN SELECT c.relname, g.tgargs FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
             WHERE g.tgfoid = 'sales_internal.audit'::regproc AND NOT c.relispartition AND c.relnamespace = 'sales'::regnamespace ORDER BY 1 LOOP
        args := string_to_array(encode(t.tgargs, 'escape'), '\000');
        RETURN QUERY EXECUTE format(
            'SELECT %1$L::text, count(*), count(*) FILTER (WHERE helpers.same_bytes(m.value, to_jsonb(x) - string_to_array(%4$L, '','')))
             FROM sales.%1$I x LEFT JOIN LATERAL (SELECT helpers.merge(l.new_values ORDER BY l.audit_id) AS value FROM sales.audit_logs l
                 WHERE l.company_id = x.company_id AND l.table_name = %2$L AND l.record_id = x.%3$I) m ON true
             WHERE x.company_id IN (SELECT company_id FROM sales.companies WHERE name IN (''Values'', ''Others''))',
            t.relname, args[1], args[2], args[3]);
    END LOOP;
END $$;
SELECT count(*) > 20 AS many_tables, sum(rows) > 50 AS many_rows, bool_and(rows >= 2) AS all_tables FROM helpers.replayed();
SELECT tab, rows, same FROM helpers.replayed() WHERE rows <> same OR rows < 2;
ROLLBACK;

-- every type, with the values that are apt to go wrong; more than 32 columns, as jsonb counts in strides of that
BEGIN;
CREATE TYPE mood AS ENUM ('sad', 'it''s ok');
CREATE TYPE pair AS (a int, b timestamptz);
CREATE DOMAIN short AS varchar(9);
CREATE TABLE every_type (id uuid PRIMARY KEY DEFAULT sales.uuidv7(), company_id uuid, gone int DEFAULT 7, password_hash text, updated_at timestamptz DEFAULT now(),
    c_bool bool, c_int2 int2, c_int4 int4, c_int8 int8, c_float4 float4, c_float8 float8, c_numeric numeric, c_scaled numeric(12,2), c_text text, c_varchar varchar(20),
    c_char char(6), c_single "char", c_name name, c_uuid uuid, c_date date, c_time time, c_timetz timetz, c_timestamp timestamp, c_timestamptz timestamptz, c_interval interval,
    c_json json, c_jsonb jsonb, c_ints int[], c_times timestamptz[], c_mood mood, c_moods mood[], c_pair pair, c_domain short, c_bytea bytea, c_inet inet, c_range tstzrange,
    c_multi int4multirange, c_point point, c_bit varbit, c_tsvector tsvector, c_oid oid, c_double int GENERATED ALWAYS AS (c_int4 * 2) STORED);
ALTER TABLE every_type DROP COLUMN gone;
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON every_type FOR EACH ROW EXECUTE FUNCTION sales_internal.audit('every_type', 'id', 'password_hash');
SELECT helpers.company('alpha') AS alpha, helpers.company('beta') AS beta \gset
INSERT INTO every_type (company_id) VALUES (:'alpha');
INSERT INTO every_type VALUES (sales.uuidv7(), :'alpha', 'a secret', now(), true, -32768, 1073741823, -9223372036854775808, 'NaN', '-Infinity', 'NaN', 1.50, '', 'é', 'a  ', 'x', 'n',
    '00000000-0000-0000-0000-000000000001', '0044-03-15 BC', '24:00', '12:00:00.000001-05:30', '-infinity', 'infinity', '-1 mons +2 days -00:00:03.5',
    '{"b": 1, "a": [null, "\u00e9"], "b": 2}', 'null', '{{1,2},{3,NULL}}', '{2026-03-29 01:30+00,-infinity}', 'sad', '{sad,"it''s ok"}', '(1,"2026-01-01 00:00+00")', 'short',
    '\x00ff5c', '10.0.0.0/8', '[2026-01-01 00:00+00,)', '{[1,3),[7,9)}', '(1.5,-0)', B'1011', 'a:1 b:2A', 4294967295);
INSERT INTO every_type VALUES (sales.uuidv7(), :'beta', 'other secret', 'infinity', false, 0, 0, 0, '1e-45', '0.1', 1e100, -0.00, repeat('long ', 60000), repeat('y', 20), '', '', '',
    'ffffffff-ffff-ffff-ffff-ffffffffffff', 'infinity', '00:00:00.1', '00:00+15:59', '0001-01-01 00:00:00.000001', '294276-12-31 23:59:59.999999+00', '0',
    '"scalar"', '{"": [], "k": {}, "n": 1.0, "deep": [[[true]]]}', '{}', NULL, 'it''s ok', '{}', NULL, '', '', '::1', 'empty', '{}', '(NaN,Infinity)', B'', '', 0);
-- what does not compress is kept out of line
INSERT INTO every_type (company_id, c_text, c_jsonb, c_bytea)
SELECT :'alpha', s, jsonb_build_object('k', s, 'l', ARRAY[s, s]), convert_to(s, 'UTF8') FROM (SELECT string_agg(md5(g::text), '') AS s FROM generate_series(1, 2000) g) x;
SET LOCAL timezone = 'Asia/Kolkata';
SET LOCAL datestyle = 'SQL, DMY';
SET LOCAL extra_float_digits = 0;
UPDATE every_type SET c_float4 = c_float4 * 2, c_timestamptz = '2026-03-29 02:30:00.5+00', c_times = array_append(c_times, '2026-10-25 01:30+00');
DELETE FROM every_type e WHERE c_text = '';
SET LOCAL timezone = 'UTC';
SET LOCAL datestyle = 'ISO';
SET LOCAL extra_float_digits = 1;
SELECT count(*) AS rows, count(*) FILTER (WHERE helpers.same_bytes(m.value, to_jsonb(e) - 'password_hash')) AS same
FROM every_type e, LATERAL (SELECT helpers.merge(l.new_values ORDER BY l.audit_id) AS value FROM sales.audit_logs l WHERE l.record_id = e.id) m;
SELECT helpers.same_bytes(d.old_values, m.value) AS deleted_as_it_was, d.old_values ? 'password_hash' OR d.old_values ? 'gone' AS hidden_or_dropped
FROM sales.audit_logs d, LATERAL (SELECT helpers.merge(l.new_values ORDER BY l.audit_id) AS value FROM sales.audit_logs l WHERE l.record_id = d.record_id AND l.action <> 'delete') m
WHERE d.table_name = 'every_type' AND d.action = 'delete';
SELECT new_values - '{id,company_id,created_at,updated_at}'::text[] FROM sales.audit_logs WHERE table_name = 'every_type' AND action = 'create' AND new_values ->> 'c_text' = '';
-- what is no number in JSON is a string, wherever in the row it comes to stand
CREATE TABLE no_number (id uuid PRIMARY KEY DEFAULT sales.uuidv7(), company_id uuid, a text, b numeric, c numeric(5,2), d float8, e text);
CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON no_number FOR EACH ROW EXECUTE FUNCTION sales_internal.audit('no_number', 'id', '');
INSERT INTO no_number (company_id, a, b, c, d, e) SELECT helpers.company('alpha'), repeat('x', g), n::numeric, 'NaN', n::float8, 'end' FROM generate_series(0, 7) g, unnest('{NaN,Infinity,-Infinity}'::text[]) n;
SELECT count(*) AS rows, count(*) FILTER (WHERE helpers.same_bytes(l.new_values, to_jsonb(x)) AND helpers.same_bytes(l.new_values, l.new_values::text::jsonb)) AS same
FROM no_number x JOIN sales.audit_logs l ON l.record_id = x.id;

-- a change of each column alone is that column alone
CREATE FUNCTION helpers.one_by_one() RETURNS TABLE (col text, said text) LANGUAGE plpgsql AS $$
DECLARE
    c record;
    id uuid := (SELECT e.id FROM every_type e WHERE c_text LIKE 'long%');
    before jsonb := (SELECT to_jsonb(e) FROM every_type e WHERE c_text LIKE 'long%');
    last record;
    seen uuid;
BEGIN
    FOR c IN SELECT attname FROM pg_attribute WHERE attrelid = 'every_type'::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = ''
             AND attname NOT IN ('id', 'company_id') ORDER BY attnum LOOP
        SELECT max(audit_id::text) INTO seen FROM sales.audit_logs l WHERE l.record_id = id;
        EXECUTE format('UPDATE every_type SET %I = NULL WHERE id = $1', c.attname) USING id;
        SELECT l.* INTO last FROM sales.audit_logs l WHERE l.record_id = id ORDER BY audit_id DESC LIMIT 1;
        col := c.attname;
        said := CASE WHEN last.audit_id = seen THEN 'no row' WHEN last.old_values = '{}' AND last.new_values = '{}' THEN 'no value'
                     WHEN last.old_values = jsonb_build_object(c.attname, before -> c.attname) AND last.new_values = jsonb_build_object(c.attname, NULL) THEN 'itself'
                     ELSE left(last.old_values::text, 100) || ' ' || left(last.new_values::text, 100) END;
        RETURN NEXT;
    END LOOP;
END $$;
SELECT said, string_agg(col, ' ' ORDER BY col) AS columns FROM helpers.one_by_one() GROUP BY said ORDER BY said;
-- no change, no row: the same values again, out of line too; a column with a default that was added later
ALTER TABLE every_type ADD COLUMN added text DEFAULT 'new';
SELECT count(*) AS before FROM sales.audit_logs WHERE table_name = 'every_type' \gset
UPDATE every_type SET c_text = c_text, c_jsonb = c_jsonb, c_bytea = c_bytea, updated_at = clock_timestamp();
UPDATE every_type SET c_text = c_text || '', c_jsonb = c_jsonb || '{}', c_bytea = c_bytea || '' WHERE length(c_text) > 1000;
SELECT count(*) - :before AS more FROM sales.audit_logs WHERE table_name = 'every_type';
UPDATE every_type SET c_int4 = 21 WHERE length(c_text) > 1000;
SELECT old_values, new_values FROM sales.audit_logs WHERE table_name = 'every_type' ORDER BY audit_id DESC LIMIT 1;
ROLLBACK;

-- cascades: every row that goes is on record as it was, those in partitions too
BEGIN;
SELECT sales_internal.make_probe_company('Cascade') AS one, sales_internal.make_probe_company('Spared') AS two \gset
SELECT prospect_id AS gone FROM sales.prospects WHERE company_id = :'one' \gset
CREATE TEMP TABLE children AS
SELECT 'messages' AS name, message_id AS id, to_jsonb(m) AS value FROM sales.messages m WHERE prospect_id = :'gone'
UNION ALL SELECT 'tasks', task_id, to_jsonb(t) FROM sales.tasks t WHERE prospect_id = :'gone'
UNION ALL SELECT 'interactions', interaction_id, to_jsonb(i) FROM sales.interactions i WHERE prospect_id = :'gone'
UNION ALL SELECT 'conversion_funnel', funnel_id, to_jsonb(f) FROM sales.conversion_funnel f WHERE prospect_id = :'gone'
UNION ALL SELECT 'enrichments', enrichment_id, to_jsonb(e) FROM sales.enrichments e WHERE prospect_id = :'gone';
DELETE FROM sales.prospects WHERE prospect_id = :'gone';
SELECT c.name, count(*) AS children, count(l.audit_id) AS audited, bool_and(l.old_values = c.value AND l.new_values IS NULL AND l.company_id = :'one') AS as_they_were
FROM children c LEFT JOIN sales.audit_logs l ON l.record_id = c.id AND l.table_name = c.name AND l.action = 'delete' GROUP BY 1 ORDER BY 1;
SELECT count(*) AS of_the_other FROM sales.audit_logs WHERE company_id = :'two' AND action = 'delete';
ROLLBACK;

-- ON CONFLICT, MERGE, COPY, rows that move between partitions, one statement that does all
BEGIN;
INSERT INTO sales.products (company_id, product_id, name) VALUES (:'alpha', '11111111-1111-7111-8111-111111111111', 'First');
INSERT INTO sales.products (company_id, product_id, name) VALUES (:'alpha', '11111111-1111-7111-8111-111111111111', 'Second')
ON CONFLICT (product_id) DO UPDATE SET name = excluded.name;
INSERT INTO sales.products (company_id, product_id, name) VALUES (:'alpha', '11111111-1111-7111-8111-111111111111', 'Third') ON CONFLICT DO NOTHING;
MERGE INTO sales.products p USING (VALUES ('11111111-1111-7111-8111-111111111111'::uuid, 'Merged'), ('22222222-2222-7222-8222-222222222222', 'Made')) v (id, name) ON p.product_id = v.id
WHEN MATCHED THEN UPDATE SET name = v.name WHEN NOT MATCHED THEN INSERT (company_id, product_id, name) VALUES (:'alpha', v.id, v.name);
MERGE INTO sales.products p USING (VALUES ('11111111-1111-7111-8111-111111111111'::uuid), ('22222222-2222-7222-8222-222222222222')) v (id) ON p.product_id = v.id
WHEN MATCHED AND p.name = 'Made' THEN DELETE WHEN MATCHED THEN DO NOTHING;
SELECT left(record_id::text, 4) AS row, action, old_values ->> 'name' AS old, new_values ->> 'name' AS new FROM sales.audit_logs
WHERE record_id IN ('11111111-1111-7111-8111-111111111111', '22222222-2222-7222-8222-222222222222') ORDER BY audit_id;
ROLLBACK;
BEGIN;
SELECT sales_internal.make_probe_company('Moves') AS one \gset
SELECT sales_internal.make_partition('interactions', at) FROM unnest('{2001-05-05,2001-08-01,2031-05-05}'::date[]) at \g /dev/null
UPDATE sales.interactions SET interaction_date = '2001-05-05 12:00+00', response_received = true WHERE company_id = :'one';
UPDATE sales.interactions SET interaction_date = now() WHERE company_id = :'one';
SELECT action, (SELECT array_agg(k ORDER BY k) FROM jsonb_object_keys(old_values) k) AS columns, left(new_values ->> 'interaction_date', 4) = '2001' AS to_2001
FROM sales.audit_logs WHERE company_id = :'one' AND table_name = 'interactions' ORDER BY audit_id;
-- some move, some do not, and others go
INSERT INTO sales.interactions (company_id, prospect_id, channel, type, interaction_date)
SELECT company_id, prospect_id, 'email', 'sent', '2001-05-05 12:00+00'::timestamptz + g * interval '1 day' FROM sales.prospects, generate_series(1, 300) g WHERE company_id = :'one';
WITH gone AS (DELETE FROM sales.interactions WHERE company_id = :'one' AND interaction_date > '2002-02-01' RETURNING 1),
     moved AS (UPDATE sales.interactions SET interaction_date = interaction_date + interval '30 years' WHERE company_id = :'one' AND interaction_date < '2001-07-01' RETURNING 1)
SELECT (SELECT count(*) FROM gone) = (SELECT count(*) FROM sales.interactions WHERE company_id = :'one' AND interaction_date > '2002-02-01') AS gone,
       (SELECT count(*) FROM moved) AS moved;
SELECT action, count(*), count(*) FILTER (WHERE old_values ->> 'interaction_date' < '2002' AND new_values ->> 'interaction_date' > '2031') AS moved
FROM sales.audit_logs WHERE company_id = :'one' AND table_name = 'interactions' GROUP BY 1 ORDER BY 1;
SELECT tableoid::regclass::text ~ 'default' AS default, count(*) > 0 AS rows FROM sales.interactions WHERE company_id = :'one' AND interaction_date BETWEEN '2031-04-01' AND '2031-06-30' GROUP BY 1;
SELECT bool_and(ok) FROM sales_internal.verify_audit_of(:'one', '2000-01-01', '2999-12-01');
ROLLBACK;
-- COPY goes in as any other statement
BEGIN;
CREATE TEMP TABLE incoming AS SELECT helpers.company('beta') AS company_id, 'Copied ' || g AS city FROM generate_series(1, 250) g;
\copy (SELECT * FROM incoming) TO 'results/audit_values.copy'
\copy sales.addresses (company_id, city) FROM 'results/audit_values.copy'
SELECT count(*), count(DISTINCT record_id) AS records, bool_and(company_id = helpers.company('beta')) AS beta FROM sales.audit_logs
WHERE action = 'create' AND table_name = 'addresses' AND new_values ->> 'city' LIKE 'Copied %';
ROLLBACK;
DROP FUNCTION helpers.same_bytes(jsonb, jsonb);
DROP AGGREGATE helpers.merge(jsonb);
