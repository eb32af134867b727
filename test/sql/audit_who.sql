\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
-- Who did it, from where and on what basis; what goes out by COPY in whatever form;
-- nobody at all changes the log; erasure leaves what an anchor proves.
:be_super
SELECT sales.create_company('Who', 'who.test', 'business', 'en', 'UTC', 'admin@who.test', 'who-secret-1') AS who,
       sales.create_company('Whom', 'whom.test', 'business', 'en', 'UTC', 'admin@whom.test', 'whom-secret-1') AS whom \gset
SELECT set_config('helpers.start', sales.uuidv7()::text, false) \g /dev/null
CREATE VIEW helpers.log WITH (security_invoker = true) AS
SELECT audit_id, company_id, CASE company_id WHEN helpers.company('who') THEN 'who' ELSE 'whom' END AS company,
       (SELECT u.email FROM sales.users u WHERE u.user_id = l.user_id) AS by, ip_address AS ip, user_agent AS agent, gdpr_basis AS basis, table_name AS tab, action, record_id, new_values
FROM sales.audit_logs l WHERE company_id IN (helpers.company('who'), helpers.company('whom')) AND audit_id > current_setting('helpers.start')::uuid;
GRANT SELECT ON helpers.log TO PUBLIC;
SET application_name = 'regress';

-- a session: from the context, whatever else the connection says
SET SESSION AUTHORIZATION regress_app;
SELECT sales.login('who.test', 'admin@who.test', 'who-secret-1', '2001:db8::7', 'Firefox/128 é') AS token \gset
SELECT sales.use_session(:'token', false) IS NOT NULL AS entered;
INSERT INTO sales.products (name) VALUES ('by context');
SET sales_assistant.gdpr_basis = 'contract';
UPDATE sales.products SET name = 'on another basis' WHERE name = 'by context';
SET sales_assistant.gdpr_basis = 'a basis of more than fifty bytes, which no column holds';
RESET sales_assistant.gdpr_basis;
-- within a savepoint that is rolled back nothing is left, before and after it is
BEGIN;
INSERT INTO sales.products (name) VALUES ('before');
SAVEPOINT s;
INSERT INTO sales.products (name) VALUES ('within');
ROLLBACK TO s;
INSERT INTO sales.products (name) VALUES ('after');
COMMIT;
SELECT sales.logout();
SELECT count(*) FROM sales.products;
SET SESSION AUTHORIZATION regress_app;
SELECT sales.login('whom.test', 'admin@whom.test', 'wrong', '2001:db8::8', 'curl');
RESET SESSION AUTHORIZATION;
-- without one: the program's name; the context of another company names nobody
INSERT INTO sales.products (company_id, name) VALUES (:'who', 'by the system');
SELECT sales.set_tenant(:'who', (SELECT user_id FROM sales.users WHERE email = 'admin@who.test'), false) IS NULL AS entered;
INSERT INTO sales.products (company_id, name) VALUES (:'whom', 'across'), (:'who', 'at home');
:be_super
SELECT company, by, ip, agent, basis, tab, action, new_values ->> 'name' AS name FROM helpers.log ORDER BY audit_id;
-- the name on record is the trigger's argument, whatever the table is called
BEGIN;
ALTER TABLE sales.products RENAME TO products_102008;
UPDATE sales.products_102008 SET name = name || '!' WHERE name = 'at home';
SELECT tab, action FROM helpers.log ORDER BY audit_id DESC LIMIT 1;
ROLLBACK;

-- what goes out: a row for each table that was read, with how many rows went and where to
INSERT INTO sales.prospects (company_id, first_name, email) SELECT helpers.company(c), 'P' || g, 'p' || g || '@' || c || '.test' FROM unnest('{who,whom}'::text[]) c, generate_series(1, 3) g;
INSERT INTO sales.interactions (company_id, prospect_id, channel, type) SELECT company_id, prospect_id, 'email', 'sent' FROM sales.prospects WHERE company_id IN (:'who', :'whom');
CREATE FUNCTION helpers.names() RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY EXECUTE 'SELECT first_name::text FROM sales.prospects'; END $$;
CREATE FUNCTION helpers.exported(OUT said text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    since uuid := current_setting('helpers.start')::uuid;
BEGIN
    SELECT string_agg(format('%s %s %s %s', company, tab, new_values ->> 'rows', new_values ->> 'to'), ', ' ORDER BY tab) INTO said FROM helpers.log WHERE action = 'export' AND audit_id > since;
    PERFORM set_config('helpers.start', sales.uuidv7()::text, false);
END $$;
SET SESSION AUTHORIZATION regress_app;
DO $$ BEGIN PERFORM helpers.be('who'); END $$;
SELECT helpers.exported() \g /dev/null
\o results/audit_who.copy
COPY sales.prospects TO STDOUT;
\o
SELECT helpers.exported();
\o results/audit_who.copy
COPY sales.prospects (first_name) TO STDOUT WITH (FORMAT csv, HEADER);
\o
SELECT helpers.exported();
-- (COPY of a partitioned table under row security reads the empty parent alone, so 0 rows is what went out)
\o results/audit_who.copy
COPY sales.interactions TO STDOUT;
\o
SELECT helpers.exported();
\o results/audit_who.copy
COPY (SELECT p.first_name, i.type FROM sales.prospects p JOIN sales.interactions i USING (company_id, prospect_id) LIMIT 2) TO STDOUT;
\o
SELECT helpers.exported();
\o results/audit_who.copy
COPY (SELECT helpers.names()) TO STDOUT;
\o
SELECT helpers.exported();
\o results/audit_who.copy
COPY (SELECT * FROM sales_bi.funnel_now) TO STDOUT;
\o
SELECT helpers.exported() ~ '^who .*prospects \d+ client' AS through_a_view;
\o results/audit_who.copy
COPY (WITH p AS (SELECT first_name FROM sales.prospects WHERE false) SELECT * FROM p) TO STDOUT;
\o
SELECT helpers.exported();
\o results/audit_who.copy
COPY (UPDATE sales.prospects SET last_name = 'Seen' WHERE first_name = 'P1' RETURNING first_name) TO STDOUT;
\o
SELECT helpers.exported();
\o results/audit_who.copy
COPY sales.industries TO STDOUT;
COPY (SELECT 1) TO STDOUT;
\o
SELECT helpers.exported() IS NULL AS nothing_of_a_tenant;
-- one that fails leaves none
\o results/audit_who.copy
COPY (SELECT 1 / (length(first_name) - 2) FROM sales.prospects) TO STDOUT;
\o
SELECT helpers.exported() IS NULL AS failed;
-- the other company's, by a server-side file and a program
RESET SESSION AUTHORIZATION;
SELECT sales.set_tenant(:'whom', NULL, false) IS NULL AS entered;
DO $$ BEGIN EXECUTE format('COPY sales.messages TO %L', current_setting('data_directory') || '/audit_who.copy'); END $$;
SELECT helpers.exported();
COPY (SELECT first_name FROM sales.prospects WHERE company_id = sales.current_company_id()) TO PROGRAM 'cat >/dev/null';
SELECT helpers.exported();
COPY sales.interactions_default TO PROGRAM 'cat >/dev/null';
SELECT regexp_replace(helpers.exported(), '\d+', 'N');
:be_super
-- by function: each record, with its basis, for whom may export
SET SESSION AUTHORIZATION regress_app;
DO $$ BEGIN PERFORM helpers.be('whom'); END $$;
SELECT sales.record_export('prospects', ARRAY(SELECT prospect_id FROM sales.prospects ORDER BY first_name LIMIT 2) || NULL::uuid, 'consent');
SELECT l.company, l.by, l.action, l.basis, l.tab, p.first_name FROM helpers.log l JOIN sales.prospects p ON p.prospect_id = l.record_id ORDER BY 6;
SELECT sales.gdpr_export(prospect_id) IS NOT NULL AS exported FROM sales.prospects WHERE first_name = 'P3';
SELECT l.company, l.by, l.action, l.tab, p.first_name FROM helpers.log l JOIN sales.prospects p ON p.prospect_id = l.record_id WHERE p.first_name = 'P3';
:be_super
UPDATE sales.users SET role_id = (SELECT role_id FROM sales.roles WHERE company_id = :'whom' AND name = 'viewer') WHERE email = 'admin@whom.test';
SET SESSION AUTHORIZATION regress_app;
DO $$ BEGIN PERFORM helpers.be('whom'); END $$;
SELECT helpers.try($$SELECT sales.record_export('prospects', '{}', 'consent')$$);
:be_super

-- nobody changes the log: members of each role, an owner who is no superuser, a superuser; by whatever statement
CREATE ROLE regress_owner;
SELECT set_config('helpers.partition', tableoid::regclass::text, false) FROM sales.audit_logs WHERE company_id = :'who' ORDER BY audit_id DESC LIMIT 1 \g /dev/null
CREATE FUNCTION helpers.attempts() RETURNS TABLE (statement text, said text) LANGUAGE plpgsql AS $$
DECLARE
    part text := current_setting('helpers.partition');
BEGIN
    FOREACH statement IN ARRAY ARRAY['UPDATE sales.audit_logs SET gdpr_basis = NULL', 'DELETE FROM sales.audit_logs', 'TRUNCATE sales.audit_logs', 'TRUNCATE sales.audit_logs_default',
            'INSERT INTO sales.audit_logs (company_id, action) SELECT helpers.company(''who''), ''create''',
            'INSERT INTO sales.audit_logs SELECT * FROM sales.audit_logs ON CONFLICT (audit_id, created_at) DO UPDATE SET gdpr_basis = NULL',
            'MERGE INTO sales.audit_logs l USING (SELECT 1) x ON true WHEN MATCHED THEN DELETE',
            'UPDATE PART SET gdpr_basis = NULL', 'DELETE FROM PART', 'TRUNCATE PART', 'INSERT INTO PART SELECT * FROM PART',
            'WITH d AS (DELETE FROM sales.audit_logs RETURNING 1) SELECT * FROM d', 'DELETE FROM sales.companies WHERE domain = ''who.test'''] LOOP
        said := regexp_replace(helpers.try(replace(statement, 'PART', part)), 'audit_logs_(default|\d+_\d+)', 'PART');
        RETURN NEXT;
    END LOOP;
END $$;
GRANT EXECUTE ON FUNCTION helpers.attempts() TO PUBLIC;
SELECT * FROM helpers.attempts();
BEGIN;
SELECT sales_internal.make_partition('audit_logs', '2019-01-15') AS made;
SELECT helpers.try('TRUNCATE sales.audit_logs_2019_01');
DO $$
DECLARE
    t regclass;
BEGIN
    GRANT USAGE, CREATE ON SCHEMA sales TO regress_owner;
    GRANT sales_app TO regress_owner;
    FOR t IN SELECT 'sales.audit_logs'::regclass UNION ALL SELECT inhrelid FROM pg_inherits WHERE inhparent = 'sales.audit_logs'::regclass LOOP
        EXECUTE format('ALTER TABLE %s OWNER TO regress_owner', t);
        EXECUTE format('ALTER TABLE %s NO FORCE ROW LEVEL SECURITY', t);
    END LOOP;
END $$;
SET LOCAL ROLE regress_owner;
SELECT said, count(*) FROM helpers.attempts() WHERE statement NOT LIKE '%companies%' GROUP BY 1;
ROLLBACK;
CREATE FUNCTION helpers.refused_to(who regrole) RETURNS TABLE (role regrole, said text, count bigint) LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('SET LOCAL ROLE %s', who);
    RETURN QUERY SELECT who, a.said, count(*) FROM helpers.attempts() a GROUP BY a.said ORDER BY 2;
    RESET ROLE;
END $$;
SELECT r.* FROM unnest('{sales_app,sales_bi,sales_gateway,sales_admin}'::regrole[]) u, helpers.refused_to(u) r;

-- erasure keeps the chain, and what an anchor of before it proves
SELECT sales_internal.seal_audit(NULL, true) > 0 AS sealed;
SELECT prospect_id AS person FROM sales.prospects WHERE company_id = :'who' AND first_name = 'P1' \gset
DO $$ BEGIN PERFORM helpers.be('who'); END $$;
SELECT sales.audit_anchor() AS anchor \gset
SELECT sales.gdpr_erase(:'person', 'request of the person');
SELECT count(*) > 1 AS rows, count(*) FILTER (WHERE values_digest IS NOT NULL) > 1 AS erased, bool_or(old_values::text || new_values::text LIKE '%p1@who%') AS named
FROM sales.audit_logs WHERE record_id = :'person' AND action <> 'delete';
SELECT bool_and(ok), bool_or(detail LIKE '%values of % rows were erased%') AS says_so FROM sales.verify_audit();
SELECT count(*) > 0 AS months, bool_and(ok) FROM sales.verify_audit_anchor(:'anchor');
:be_super
-- what is put in the place of the erased is found
SET session_replication_role = replica;
UPDATE sales.audit_logs SET new_values = '{"email": "forged@who.test"}' WHERE record_id = :'person' AND action = 'create';
RESET session_replication_role;
SELECT sales.set_tenant(:'who', NULL, false) IS NULL AS entered;
SELECT bool_and(ok) FROM sales.verify_audit();
SELECT bool_and(ok) FROM sales.verify_audit_anchor(:'anchor');
:be_super
SELECT sales.set_tenant(:'whom', NULL, false) IS NULL AS entered;
SELECT bool_and(ok) FROM sales.verify_audit();
:be_super
SELECT count(sales.delete_company(company_id)) FROM sales.companies WHERE domain IN ('who.test', 'whom.test');
DROP ROLE regress_owner;
DROP VIEW helpers.log;
DROP FUNCTION helpers.names(), helpers.exported(), helpers.attempts(), helpers.refused_to(regrole);
