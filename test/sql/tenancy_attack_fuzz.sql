\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- Every function that a role can call, with arguments of chance (the same chance
-- each time) and with the other company's keys: no internal error, no call that does
-- not end, and nothing of the other company in what comes back.  More and other
-- chances: psql -v seed=0.7 -v rounds=1000 -f test/sql/tenancy_attack_fuzz.sql
\if :{?seed} \else
\set seed 0.42
\endif
\if :{?rounds} \else
\set rounds 40
\endif
:be_super
SET client_min_messages = error;
SELECT sales.create_company('Gamma', 'gamma.test', 'starter', 'en', 'UTC', 'admin@gamma.test', 'gamma-secret-1') IS NOT NULL AS gamma;
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'regress_fuzz_bi') THEN
        CREATE ROLE regress_fuzz_bi LOGIN IN ROLE sales_bi;
        CREATE ROLE regress_fuzz_admin LOGIN IN ROLE sales_admin;
    END IF;
END
$$;
CREATE SCHEMA fuzz;
GRANT USAGE, CREATE ON SCHEMA fuzz TO PUBLIC;
-- both companies have rows of everything; Alpha's bear a mark, which must show nowhere
DO $$
DECLARE
    who text; mark text; c uuid; p uuid; d uuid; t uuid; m uuid; e uuid; b uuid; k uuid; r uuid;
BEGIN
    FOREACH who IN ARRAY '{alpha,gamma}'::text[] LOOP
        c := helpers.company(who); mark := 'mark-of-' || who;
        INSERT INTO sales.products (company_id, name, description) VALUES (c, mark, mark) RETURNING product_id INTO d;
        INSERT INTO sales.prospects (company_id, first_name, last_name, email, company_name, notes, product_id, website)
        SELECT c, mark, g::text, mark || g || '@x.test', mark, mark, d, 'https://x.test' FROM generate_series(1, 3) g;
        SELECT prospect_id INTO p FROM sales.prospects WHERE company_id = c LIMIT 1;
        INSERT INTO sales.templates (company_id, name, channel, language, subject_template, content_template) VALUES (c, mark, 'email', 'en', mark, mark || ' {{first_name}}') RETURNING template_id INTO t;
        INSERT INTO sales.messages (company_id, prospect_id, channel, subject, content, language) VALUES (c, p, 'email', mark, mark, 'en') RETURNING message_id INTO m;
        INSERT INTO sales.tasks (company_id, prospect_id, type, title) VALUES (c, p, 'meeting', mark);
        INSERT INTO sales.interactions (company_id, prospect_id, channel, type, subject, content, response_received, response_content)
        VALUES (c, p, 'email', 'sent', mark, mark, true, mark);
        INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, deal_value) VALUES (c, p, 'client', 100);
        INSERT INTO sales.enrichments (company_id, prospect_id, enrichment_type, status, enriched_value, original_value) VALUES (c, p, 'website', 'completed', '{"phone": "1"}', mark);
        INSERT INTO sales.mailboxes (company_id, email) VALUES (c, mark || '@x.test') RETURNING mailbox_id INTO b;
        INSERT INTO sales.email_campaigns (company_id, name, template_id, mailbox_id) VALUES (c, mark, t, b) RETURNING campaign_id INTO k;
        INSERT INTO sales.import_jobs (company_id, name, source_type, source_config) VALUES (c, mark, 'csv', jsonb_build_object('data', E'Email\n' || mark || '@y.test'));
        INSERT INTO sales.system_settings (company_id, category, key_name, value, description) VALUES (c, 'fuzz', 'mark', mark, 'fuzz');
        PERFORM sales_internal.make_report(c, 'weekly', NULL);
    END LOOP;
END
$$;
-- keys of both companies, of all tables
CREATE TABLE fuzz.keys (id uuid);
GRANT SELECT ON fuzz.keys TO PUBLIC;
DO $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT c.oid::regclass AS name, (SELECT a.attname FROM pg_index i JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = i.indkey[0] WHERE i.indrelid = c.oid AND i.indisprimary AND a.atttypid = 'uuid'::regtype) AS key
             FROM pg_class c WHERE c.relnamespace = 'sales'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
               AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'company_id') ORDER BY 1 LOOP
        CONTINUE WHEN t.key IS NULL;
        EXECUTE format('INSERT INTO fuzz.keys (SELECT %1$I FROM %2$s WHERE company_id = helpers.company(''alpha'') ORDER BY 1 LIMIT 2) UNION ALL (SELECT %1$I FROM %2$s WHERE company_id = helpers.company(''gamma'') ORDER BY 1 LIMIT 2)', t.key, t.name);
    END LOOP;
END
$$;
CREATE TABLE fuzz.shapes (n serial, type text, value text);
GRANT SELECT ON fuzz.shapes TO PUBLIC;
INSERT INTO fuzz.shapes (type, value) VALUES
    ('text', ''), ('text', ' '), ('text', 'x'), ('text', '%s%n%1$I'), ('text', $$'; DROP TABLE sales.users; --$$), ('text', $$' OR 1=1$$), ('text', '{{{'), ('text', '{{#a}}'), ('text', '{{>a}}{{=<% %>=}}'),
    ('text', 'prospects'), ('text', 'users'), ('text', 'api_keys'), ('text', 'pg_catalog.pg_authid'), ('text', 'sales.prospects'), ('text', '*'), ('text', 'manage'), ('text', 'read'),
    ('text', 'mark-of-gamma1@x.test'), ('text', 'mark-of-alpha1@x.test'), ('text', 'a@b'), ('text', '@@@'), ('text', E'\t\r\n'), ('text', U&'\+01F389\0300\202E'), ('text', E'\x01\x7f'), ('text', '1e999'), ('text', '-1'),
    ('text', '2026-W05'), ('text', '2026-13'), ('text', '0001-Q1'), ('text', '9999-12'), ('text', '5874897-01-01/5874897-01-01'), ('text', '20260101/20260131'), ('text', 'weekly'), ('text', 'on_demand'),
    ('text', '* * * * *'), ('text', '0 0 30 2 *'), ('text', '*/0 1-60 , - /'), ('text', '59 23 29 2 7'), ('text', 'Europe/Paris'), ('text', 'UTC'), ('text', '../../etc/passwd'), ('text', 'client'), ('text', 'perdu'),
    ('text', 'fuzz.mark'), ('text', '.'), ('text', 'billing.'), ('text', 'opened'), ('text', 'bounced'), ('text', 'eyJhbGciOiJub25lIn0.e30.'), ('text', 'a.b.c'), ('text', E'Email,Name\n"a@b.c,\n'), ('text', E'Email;Notes\nq@q.test;"x""y"\n\n,,,\n'),
    ('text', 'gamma.test'), ('text', 'alpha.test'), ('text', 'tenders'), ('text', 'competitors'), ('text', '/etc/passwd'), ('text', repeat('x', 1000000)), ('text', repeat('{{#a}}', 20000)), ('text', repeat('(', 50000)), ('text', repeat(E'a,b\n', 20000)),
    ('bytea', ''), ('bytea', '\xfffe'), ('bytea', '\x00'), ('bytea', '\xefbbbf456d61696c0a'), ('bytea', '\x456d61696c0a784079'), ('bytea', '\xc3'), ('bytea', '\x' || repeat('ff', 100000)), ('bytea', '\x' || repeat('2c0a', 50000)),
    ('jsonb', 'null'), ('jsonb', '{}'), ('jsonb', '[]'), ('jsonb', '1'), ('jsonb', '"x"'), ('jsonb', 'true'), ('jsonb', '[[[]]]'), ('jsonb', '{"": ""}'), ('jsonb', '{"a": {"b": {"c": null}}}'), ('jsonb', '-1e300'), ('jsonb', '{"email": {"=": {}}}'),
    ('jsonb', '{"or": [{"score": {">": "x"}}, {"not": {}}]}'), ('jsonb', '{"created_at": {"between": ["infinity", "-99999999 years"]}}'), ('jsonb', '{"prospect_id": ["x"]}'), ('jsonb', '{"field": "email", "op": "contains", "value": "%"}'),
    ('jsonb', '{"Email": {"column": "email", "transform": ["trim", "nope", 7]}, "constants": {"notes": {}}}'), ('jsonb', '{"Email": "email", "constants": {"country": "x"}}'), ('jsonb', '{"delimiter": "", "encoding": "utf-7"}'),
    ('jsonb', '{"delimiter": ",,", "dry_run": true}'), ('jsonb', '{"dry_run": true}'), ('jsonb', '{"product_id": "x", "update": "all"}'), ('jsonb', '{"_partials": {"a": "{{>a}}"}, "a": [1, 2, {"a": []}]}'), ('jsonb', '{"a": [[[[1]]]], "keys": [{"kty": "RSA"}]}'), ('jsonb', '{"heads": [{"company_id": "x", "seal": {}}]}'),
    ('jsonb', '{"heads": [{"seal": 1, "head": "zz", "period": "2026-01-01", "rows": 1}]}'), ('jsonb', repeat('[', 5000) || repeat(']', 5000)), ('jsonb', '{"type": "hard", "status": "5.1.1", "at": "never", "event_id": "x"}'),
    ('numeric', 'NaN'), ('numeric', 'Infinity'), ('numeric', '-Infinity'), ('numeric', '0'), ('numeric', '-1'), ('numeric', '1e-400'), ('numeric', '99999999999999999999999999999999999'), ('numeric', '12.345'),
    ('timestamp with time zone', 'infinity'), ('timestamp with time zone', '-infinity'), ('timestamp with time zone', '4714-11-24 BC'), ('timestamp with time zone', '294276-12-31 23:59:59.999999'), ('timestamp with time zone', '2026-01-31 12:00'), ('timestamp with time zone', '0001-01-01'),
    ('date', 'infinity'), ('date', '-infinity'), ('date', '4714-11-24 BC'), ('date', '5874897-12-31'), ('date', '2026-01-31'), ('date', '0001-01-01'), ('date', '9999-12-31'),
    ('interval', '0'), ('interval', '-1 day'), ('interval', '1 ms'), ('interval', '-178000000 years'), ('interval', '10 ms'),
    ('boolean', 't'), ('boolean', 'f'), ('inet', '0.0.0.0/0'), ('inet', '::1'), ('regrole', 'regress_fuzz_bi'), ('regrole', 'pg_monitor'), ('regrole', '0'), ('regrole', '4294967295'),
    ('uuid', '00000000-0000-0000-0000-000000000000'), ('uuid', 'ffffffff-ffff-ffff-ffff-ffffffffffff'), ('uuid[]', '{}'), ('uuid[]', '{NULL,00000000-0000-0000-0000-000000000000}'), ('uuid[]', '{{00000000-0000-0000-0000-000000000000}}'),
    ('uuid[]', '{' || repeat('00000000-0000-0000-0000-000000000000,', 20000) || 'ffffffff-ffff-ffff-ffff-ffffffffffff}');
INSERT INTO fuzz.shapes (type, value) SELECT 'uuid', id FROM fuzz.keys;
INSERT INTO fuzz.shapes (type, value) SELECT 'uuid[]', '{' || id || '}' FROM fuzz.keys;
INSERT INTO fuzz.shapes (type, value) SELECT 'text', id FROM fuzz.keys;
INSERT INTO fuzz.shapes (type, value) SELECT t.oid::regtype::text, e.enumlabel FROM pg_enum e JOIN pg_type t ON t.oid = e.enumtypid WHERE t.typnamespace = 'sales'::regnamespace ORDER BY 1, e.enumsortorder;
CREATE TABLE fuzz.outcomes (role text, call text, state text, message text, marked boolean);
GRANT INSERT ON fuzz.outcomes TO PUBLIC;
CREATE FUNCTION fuzz.run(rounds integer) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    f record; arg text; args text[]; answer text; state text; detail text; hint text; message text; context text; picked text; is_marked boolean;
BEGIN
    FOR f IN SELECT p.oid::regprocedure::text AS name, p.oid, n.nspname, p.proname, p.provariadic,
                    ARRAY(SELECT format_type(a.t, NULL) FROM unnest(p.proargtypes::oid[]) WITH ORDINALITY a (t, n) ORDER BY a.n) AS types
             FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
             WHERE n.nspname IN ('sales', 'sales_bi') AND has_schema_privilege(n.oid, 'USAGE') AND has_function_privilege(p.oid, 'EXECUTE')
               -- these change the cluster, or wait by themselves
               AND p.proname NOT IN ('rotate_master_key', 'start_workers', 'stop_workers', 'maintain', 'test_isolation', 'doctor', 'set_password', 'login', 'bind_role')
             ORDER BY p.oid::regprocedure::text COLLATE "C" LOOP
        FOR round IN 1 .. CASE WHEN f.types = '{}' THEN 1 ELSE rounds END LOOP
            args := '{}';
            FOREACH arg IN ARRAY f.types LOOP
                SELECT s.value INTO picked FROM fuzz.shapes s WHERE s.type = arg ORDER BY s.n
                OFFSET floor(random() * (SELECT count(*) FROM fuzz.shapes o WHERE o.type = arg)) LIMIT 1;
                args := args || CASE WHEN random() < 0.07 THEN 'NULL::' || arg ELSE format('%L::%s', picked, arg) END;
            END LOOP;
            BEGIN
                EXECUTE format('SELECT left(string_agg(x::text, '' ''), 1000000) FROM %I.%I(%s) x', f.nspname, f.proname, array_to_string(args, ', ')) INTO answer;
                RAISE SQLSTATE 'FUZZ1';
            EXCEPTION
                WHEN SQLSTATE 'FUZZ1' THEN
                    INSERT INTO fuzz.outcomes VALUES (session_user, f.name, '00000', left(answer, 200), answer LIKE '%mark-of-alpha%' AND array_to_string(args, ' ') NOT LIKE '%mark-of-alpha%');
                WHEN query_canceled OR others THEN
                    GET STACKED DIAGNOSTICS state = RETURNED_SQLSTATE, message = MESSAGE_TEXT, detail = PG_EXCEPTION_DETAIL, hint = PG_EXCEPTION_HINT;
                    INSERT INTO fuzz.outcomes VALUES (session_user, f.name || ' ' || left(array_to_string(args, ', '), 300), state, left(message, 500),
                        concat(message, detail, hint) LIKE '%mark-of-alpha%' AND array_to_string(args, ' ') NOT LIKE '%mark-of-alpha%');
            END;
        END LOOP;
    END LOOP;
END
$$;
SET SESSION AUTHORIZATION regress_app;
SELECT helpers.be('gamma');
SELECT setseed(:seed) \g /dev/null
SELECT fuzz.run(:rounds);
SELECT setseed(:seed) \g /dev/null
RESET sales_assistant.context;
SELECT fuzz.run(:rounds / 4);
:be_super
SET SESSION AUTHORIZATION regress_fuzz_bi;
SELECT setseed(:seed) \g /dev/null
SELECT helpers.be('gamma');
SELECT fuzz.run(:rounds / 4);
:be_super
SET SESSION AUTHORIZATION regress_fuzz_admin;
SELECT setseed(:seed) \g /dev/null
SELECT fuzz.run(:rounds / 4);
:be_super
SET client_min_messages = error;
-- called, and some of it went well
SELECT role, count(*) > 40 AS called, count(*) FILTER (WHERE state = '00000') > 5 AS went_well FROM fuzz.outcomes GROUP BY role ORDER BY role;
-- internal errors, cancelled statements, and what must not be told
SELECT role, call, state, message FROM fuzz.outcomes
WHERE marked OR state LIKE 'XX%' OR message ~* 'cache lookup|unrecognized|unexpected|could not open'
   OR state IN ('57014', '58030', '53200', '54001', '26000', '42601', '42703', '42883', '42P01', '42702', '42804', '0A000', '21000', '24000', '25P02')
   AND message NOT LIKE '%is no table of a company''s rows' ORDER BY 1, 2 LIMIT 40;
-- Alpha is as it was
SELECT (SELECT count(*) FROM sales.prospects WHERE company_id = helpers.company('alpha')) AS prospects, (SELECT count(*) FROM sales.messages WHERE company_id = helpers.company('alpha')) AS messages,
       (SELECT count(*) FROM sales_internal.jobs WHERE company_id = helpers.company('alpha') AND kind NOT IN ('analyze_sentiment')) AS jobs;
DROP SCHEMA fuzz CASCADE;
DELETE FROM sales.system_settings WHERE description = 'fuzz';
DELETE FROM sales.import_jobs;
DELETE FROM sales_internal.jobs;
SELECT sales.delete_company(helpers.company('gamma'));
\i :clean
DELETE FROM sales.templates WHERE name LIKE 'mark-of-%';
DELETE FROM sales.products WHERE name LIKE 'mark-of-%';
