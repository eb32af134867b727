\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- What PostgreSQL's own machinery offers to a stolen login of company Beta: prepared
-- transactions, procedures, files, programs, replication, other servers, owners' rights,
-- commands that wait for a table's lock before they ask whose it is.
:be_super
SET client_min_messages = error;
DELETE FROM sales.templates;
DELETE FROM sales.products;
CREATE SCHEMA playground;
GRANT ALL ON SCHEMA playground TO regress_app;
INSERT INTO sales.products (company_id, name) SELECT company_id, name || ' product' FROM sales.companies WHERE domain IN ('alpha.test', 'beta.test');
INSERT INTO sales.prospects (company_id, first_name) SELECT company_id, name || g FROM sales.companies, generate_series(1, 3) g WHERE domain IN ('alpha.test', 'beta.test');
:be_alpha
SELECT current_setting('sales_assistant.context') AS alpha_context \gset
:be_beta
SELECT current_setting('sales_assistant.context') AS beta_context \gset
-- two-phase commit: what is prepared as one company stays its own, is audited, and brings its job with it
BEGIN;
UPDATE sales.products SET name = 'Beta prepared';
SELECT sales.generate_message(prospect_id, 'email') IS NOT NULL AS asked FROM sales.prospects WHERE first_name = 'Beta1';
PREPARE TRANSACTION 'regress_beta';
SELECT name FROM sales.products;
:be_alpha
COMMIT PREPARED 'regress_beta';
SELECT name FROM sales.products;
SELECT count(*) AS jobs FROM sales.jobs;
:be_beta
SELECT p.name, l.new_values ->> 'name' AS audited, u.email FROM sales.products p JOIN sales.audit_logs l ON l.record_id = p.product_id LEFT JOIN sales.users u USING (user_id)
WHERE l.action = 'update';
SELECT kind, state FROM sales.jobs;
-- the next transaction is free to be another company's, this one was not; the session keeps what it was
BEGIN;
SELECT count(*) FROM sales.products;
SELECT helpers.try(format('SET LOCAL sales_assistant.context = %L', :'alpha_context')) AS other_company;
PREPARE TRANSACTION 'regress_beta';
SELECT sales.current_company_id() = helpers.company('beta') AS beta;
SET sales_assistant.context = :'alpha_context';
ROLLBACK PREPARED 'regress_beta';
SELECT name FROM sales.products;
SET sales_assistant.context = :'beta_context';
-- one that is left behind is told of
BEGIN;
UPDATE sales.products SET name = 'never';
PREPARE TRANSACTION 'regress_beta';
:be_super
SET sales_assistant.clock = '2037-03-10 10:00:00+00';
SELECT severity, regexp_replace(finding, 'since .*?, ', 'since ..., ') AS finding, hint FROM sales.doctor() WHERE finding LIKE '%regress_beta%';
RESET sales_assistant.clock;
SELECT count(*) AS too_early FROM sales.doctor() WHERE finding LIKE '%regress_beta%';
ROLLBACK PREPARED 'regress_beta';
:be_beta
-- what is to end sessions cannot be put off
SELECT sales.use_session(sales.login('beta.test', 'admin@beta.test', 'beta-secret-1'), false) IS NOT NULL AS entered;
BEGIN;
SELECT sales.logout();
PREPARE TRANSACTION 'regress_beta';
SELECT name FROM sales.products;
:be_beta
-- a procedure that commits: its cursor keeps the rows that its own tenant was given
CREATE PROCEDURE playground.swap(mine text, theirs text, OUT seen text) LANGUAGE plpgsql AS $$
DECLARE
    r record;
BEGIN
    PERFORM set_config('sales_assistant.context', mine, false);
    FOR r IN SELECT first_name FROM sales.prospects ORDER BY 1 LOOP
        seen := concat_ws(' ', seen, r.first_name);
        COMMIT;
        PERFORM set_config('sales_assistant.context', theirs, false);
    END LOOP;
END $$;
CALL playground.swap(:'beta_context', :'alpha_context', NULL);
:be_beta
BEGIN;
DECLARE c CURSOR FOR SELECT first_name FROM sales.prospects ORDER BY prospect_id;
FETCH 1 FROM c;
SELECT helpers.try(format('SET sales_assistant.context = %L', :'alpha_context')) AS under_an_open_cursor;
RESET sales_assistant.context;
SELECT count(*) FROM sales.prospects;
COMMIT;
-- a prepared statement that is kept over logout
:be_beta
PREPARE kept AS SELECT count(*) FROM sales.prospects WHERE first_name LIKE $1;
EXECUTE kept('%');
SELECT sales.use_session(sales.login('beta.test', 'admin@beta.test', 'beta-secret-1'), false) IS NOT NULL AS entered;
EXECUTE kept('%');
SELECT sales.logout();
EXECUTE kept('%');
DEALLOCATE kept;
:be_beta
-- the context is stored nowhere: with a function, from what is current, for a database, for the server
SELECT statement, left(helpers.try(statement), 5) AS refused FROM (VALUES (1, $$CREATE FUNCTION playground.f() RETURNS int LANGUAGE sql SET sales_assistant.context FROM CURRENT AS 'SELECT 1'$$),
    (2, $$ALTER PROCEDURE playground.swap SET sales_assistant.context FROM CURRENT$$), (3, $$ALTER DATABASE regression SET sales_assistant.context FROM CURRENT$$)) v (n, statement) ORDER BY n;
-- files, programs, other servers, replication
\set VERBOSITY sqlstate
COPY sales.prospects TO PROGRAM 'cat';
COPY (SELECT 1) TO PROGRAM 'cat';
COPY sales.prospects (first_name) FROM PROGRAM 'echo x';
COPY sales.prospects TO '/tmp/regress_prospects';
COPY sales.prospects FROM '/etc/passwd';
SELECT pg_read_file('PG_VERSION');
SELECT lo_import('/etc/passwd');
SELECT lo_export(1, '/tmp/regress');
SELECT count(*) FROM pg_largeobject;
CREATE EXTENSION dblink;
CREATE EXTENSION postgres_fdw;
CREATE PUBLICATION regress_p FOR TABLE sales.prospects;
CREATE PUBLICATION regress_p FOR ALL TABLES;
CREATE SUBSCRIPTION regress_s CONNECTION 'dbname=regression' PUBLICATION regress_p WITH (connect = false);
SELECT pg_create_logical_replication_slot('regress', 'pgoutput');
SELECT count(*) FROM pg_logical_slot_get_changes('regress', NULL, NULL);
SELECT pg_replication_origin_create('regress');
CREATE EVENT TRIGGER regress_e ON ddl_command_start EXECUTE FUNCTION playground.f();
SET session_replication_role = replica;
LOAD 'auto_explain';
ALTER SYSTEM SET sales_assistant.workers = off;
VACUUM FULL sales_internal.jobs;
\set VERBOSITY terse
-- types, operators, casts, leakproof functions: none that others' statements would meet
SELECT statement, left(helpers.try(statement), 5) AS refused FROM (VALUES (1, 'CREATE CAST (uuid AS text) WITH INOUT AS IMPLICIT'), (2, 'CREATE OPERATOR CLASS playground.oc FOR TYPE uuid USING btree AS STORAGE uuid'),
    (3, 'CREATE FUNCTION playground.lp(text) RETURNS boolean LANGUAGE sql LEAKPROOF AS ''SELECT true'''), (4, 'CREATE FUNCTION sales.f() RETURNS int LANGUAGE sql AS ''SELECT 1'''),
    (5, 'CREATE OPERATOR sales.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = uuid_eq)'), (6, 'ALTER OPERATOR = (uuid, uuid) SET (RESTRICT = NONE)'),
    (7, 'CREATE STATISTICS playground.s ON company_id, email FROM sales.prospects'), (8, 'CREATE INDEX ON sales.prospects (playground.f(notes))')) v (n, statement) ORDER BY n;
CREATE FUNCTION pg_temp.current_company_id() RETURNS uuid LANGUAGE sql AS 'SELECT helpers.company(''alpha'')';
CREATE FUNCTION pg_temp.company_allowing(text, text) RETURNS uuid LANGUAGE sql AS 'SELECT helpers.company(''alpha'')';
CREATE OPERATOR pg_temp.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = uuid_ne);
SET search_path = pg_temp, sales, pg_catalog;
SELECT string_agg(name, ',') FROM sales.products;
SELECT pg_catalog.count(*) OPERATOR(pg_catalog.>=) 0 AS checked FROM sales.check_metrics();
RESET search_path;
-- rights: those of the group that all belong to are nobody's to give, take or drop
SELECT statement, helpers.try(statement) FROM (VALUES (1, 'DROP OWNED BY sales_app'), (2, 'DROP OWNED BY CURRENT_USER CASCADE'), (3, 'REASSIGN OWNED BY sales_app TO CURRENT_USER')) v (n, statement) ORDER BY n;
SELECT statement, left(helpers.try(statement), 5) AS refused FROM (VALUES (4, 'REVOKE sales_app FROM regress_app'), (5, 'GRANT sales_app TO regress_app WITH ADMIN OPTION'), (6, 'ALTER DEFAULT PRIVILEGES FOR ROLE postgres GRANT SELECT ON TABLES TO PUBLIC'),
    (7, 'ALTER EXTENSION sales_assistant DROP TABLE sales.prospects'), (8, 'ALTER EXTENSION sales_assistant UPDATE'), (9, 'DROP EXTENSION sales_assistant CASCADE'),
    (10, 'COMMENT ON TABLE sales.prospects IS ''mine'''), (11, 'ALTER TABLE sales.prospects OWNER TO CURRENT_USER')) v (n, statement) ORDER BY n;
GRANT SELECT ON sales.prospects TO PUBLIC;
REVOKE ALL ON sales.prospects FROM sales_app;
SELECT count(*) FROM sales.prospects;
SELECT count(*) FROM information_schema.role_table_grants WHERE table_name = 'prospects' AND grantee = 'PUBLIC';
-- no command waits for a table or an index with others behind it: the lock would be asked for before the right
CREATE TABLE playground.parent (company_id uuid, prospect_id uuid) PARTITION BY LIST (company_id);
CREATE TABLE playground.child (company_id uuid, prospect_id uuid);
CREATE INDEX parent_index ON ONLY playground.parent (company_id);
SELECT statement, helpers.try(statement) FROM (VALUES (1, 'ALTER TABLE playground.parent ATTACH PARTITION sales.prospects DEFAULT'), (2, 'ALTER TABLE playground.parent DETACH PARTITION sales.prospects'),
    (3, 'ALTER INDEX playground.parent_index ATTACH PARTITION sales.prospects_pkey'), (4, 'ALTER TABLE playground.child INHERIT sales.prospects'),
    (5, 'ALTER INDEX sales.prospects_pkey DEPENDS ON EXTENSION plpgsql'), (6, 'ALTER TRIGGER audit ON sales.prospects DEPENDS ON EXTENSION plpgsql')) v (n, statement) ORDER BY n;
-- its own it may
CREATE TABLE playground.part (company_id uuid, prospect_id uuid);
ALTER TABLE playground.parent ATTACH PARTITION playground.part DEFAULT;
ALTER TABLE playground.parent DETACH PARTITION playground.part;
-- toast, catalogues of rows
SELECT left(helpers.try(format('SELECT * FROM %s', (SELECT reltoastrelid::regclass FROM pg_class WHERE oid = 'sales.prospects'::regclass))), 5) AS toast,
       left(helpers.try('SELECT * FROM pg_statistic'), 5) AS statistics, left(helpers.try('SELECT * FROM pg_statistic_ext_data'), 5) AS extended,
       (SELECT count(*) FROM pg_stats WHERE schemaname LIKE 'sales%') AS own_statistics;
-- how a session reads backslashes changes no function of the extension: a body that has one says how
SELECT p.oid::regprocedure FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang
WHERE p.pronamespace IN ('sales'::regnamespace, 'sales_bi'::regnamespace, 'sales_internal'::regnamespace) AND l.lanname IN ('sql', 'plpgsql')
  AND strpos(p.prosrc, chr(92)) > 0 AND NOT coalesce(p.proconfig, '{}') @> '{standard_conforming_strings=on}' ORDER BY 1;
SET standard_conforming_strings = off;
SET escape_string_warning = off;
SELECT helpers.try('SELECT sales.preview_audience(''{"created_at": {">": "2026-01-31"}}'')') AS filter, helpers.try('SELECT sales.gdpr_export(prospect_id) FROM sales.prospects') AS person;
RESET standard_conforming_strings;
RESET escape_string_warning;
-- a policy that asks for the role is asked again when the role changes, in a statement that was prepared before
:be_super
CREATE ROLE regress_two LOGIN IN ROLE sales_app, sales_admin, sales_gateway;
INSERT INTO sales.system_settings (company_id, category, key_name, value) VALUES (NULL, 'regress', 'of all', '1');
SET SESSION AUTHORIZATION regress_two;
PREPARE platform AS SELECT count(*) FROM sales.system_settings WHERE company_id IS NULL AND category = 'regress';
EXECUTE platform;
SET ROLE sales_app;
EXECUTE platform;
BEGIN;
SET LOCAL ROLE sales_admin;
SAVEPOINT a;
SET LOCAL ROLE sales_app;
EXECUTE platform;
ROLLBACK TO a;
SELECT current_user;
ROLLBACK;
EXECUTE platform;
RESET ROLE;
DEALLOCATE platform;
:be_super
DELETE FROM sales.system_settings WHERE category = 'regress';
DROP ROLE regress_two;
-- a leaky function and a leaky operator on every tenant table: it is given no row of the other company
BEGIN;
SELECT sales_internal.make_probe_company('Mine') AS mine, sales_internal.make_probe_company('Theirs') AS theirs \gset
CREATE FUNCTION playground.peek(t text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
$$ BEGIN PERFORM set_config('regress.seen', current_setting('regress.seen') || t || ' ', true); RETURN true; END $$;
CREATE FUNCTION playground.peek(l uuid, r text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS $$ BEGIN RETURN playground.peek(l::text); END $$;
CREATE OPERATOR playground.=== (LEFTARG = uuid, RIGHTARG = text, FUNCTION = playground.peek, RESTRICT = eqsel);
CREATE TABLE playground.peeked (name text, own boolean, others boolean);
GRANT USAGE ON SCHEMA playground TO sales_app;
GRANT INSERT ON playground.peeked TO sales_app;
SELECT sales.set_tenant(:'mine', NULL, false), set_config('regress.mine', :'mine', true) \g /dev/null
SET LOCAL ROLE sales_app;
DO $$
DECLARE
    t regclass;
BEGIN
    FOR t IN SELECT c.oid FROM pg_class c WHERE c.relnamespace = 'sales'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
             AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'company_id' AND has_column_privilege(c.oid, a.attnum, 'SELECT'))
    LOOP
        PERFORM set_config('regress.seen', '', true);
        EXECUTE format('SELECT count(*) FROM %s WHERE playground.peek(company_id::text)', t);
        EXECUTE format('SELECT count(*) FROM %s WHERE company_id OPERATOR(playground.===) ''x''', t);
        EXECUTE format('SELECT count(*) FROM %s x JOIN sales.companies c ON playground.peek(x.company_id::text) AND playground.peek(c.company_id::text)', t);
        INSERT INTO playground.peeked SELECT t, s ~ current_setting('regress.mine'), replace(s, current_setting('regress.mine'), '') ~ '[0-9a-f]' FROM current_setting('regress.seen') s;
    END LOOP;
END $$;
RESET ROLE;
SELECT count(*) > 30 AS tables, count(*) FILTER (WHERE others) AS leaks, string_agg(name, ' ') FILTER (WHERE NOT own) AS nothing_seen FROM playground.peeked;
ROLLBACK;
:be_beta
-- large objects and LISTEN are nobody's and show nothing of ours; what docs/security.md takes away is away, and imports do without
SELECT helpers.try('LISTEN sales_assistant') AS listen, count(*) FILTER (WHERE prosrc ~* 'pg_notify|notify ') AS notifies FROM pg_proc WHERE pronamespace::regnamespace::text LIKE 'sales%';
UNLISTEN *;
:be_super
BEGIN;
SELECT format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database()) \gexec
REVOKE EXECUTE ON FUNCTION pg_cancel_backend(integer), pg_terminate_backend(integer, bigint) FROM PUBLIC;
REVOKE EXECUTE ON FUNCTION lo_create(oid), lo_creat(integer), lo_from_bytea(oid, bytea) FROM PUBLIC;
:be_beta
SELECT statement, left(helpers.try(statement), 5) AS refused FROM (VALUES (1, 'CREATE TEMP TABLE planted (x int)'), (2, 'SELECT pg_terminate_backend(pg_backend_pid())'), (3, 'SELECT pg_cancel_backend(pg_backend_pid())'),
    (4, 'SELECT lo_from_bytea(0, ''x'')'), (5, 'SELECT lo_create(0)'), (6, 'SELECT lo_creat(-1)')) v (n, statement) ORDER BY n;
SELECT sales.import_csv(E'Email\nnew@beta.test\n') AS run \gset
SELECT rows_inserted FROM sales.import_runs WHERE run_id = :'run';
ROLLBACK;
:be_beta
-- deferred constraints ask after the context is dropped, and know who it was
BEGIN;
SET CONSTRAINTS ALL DEFERRED;
INSERT INTO sales.prospects (first_name) VALUES ('Deferred');
RESET sales_assistant.context;
COMMIT;
:be_super
SET client_min_messages = error;
SELECT c.name, u.email, count(*) FROM sales.audit_logs l JOIN sales.companies c USING (company_id) LEFT JOIN sales.users u USING (user_id)
WHERE l.new_values ->> 'first_name' = 'Deferred' GROUP BY 1, 2;
-- a server that somebody has joined to itself: another session of the login, in no company
CREATE EXTENSION IF NOT EXISTS dblink;
CREATE EXTENSION IF NOT EXISTS postgres_fdw;
:be_beta
-- later servers say "password or GSSAPI delegated credentials required"
SELECT left(helpers.try('SELECT dblink_connect(''dbname=regression user=postgres'')'), 14) AS dblink, helpers.try('CREATE SERVER loop FOREIGN DATA WRAPPER postgres_fdw') AS server;
:be_super
SET client_min_messages = error;
SELECT format('host=%s port=%s dbname=%s user=regress_app', split_part(current_setting('unix_socket_directories'), ',', 1), current_setting('port'), current_database()) AS loop \gset
SELECT dblink_connect('loop', :'loop') \g /dev/null
SELECT * FROM dblink('loop', 'SELECT count(*) FROM sales.prospects') AS t (in_no_company bigint);
SELECT dblink_exec('loop', format('SET sales_assistant.context = %L', :'beta_context'));
SELECT * FROM dblink('loop', 'SELECT count(*), max(first_name) FROM sales.prospects') AS t (in_beta bigint, name text);
SELECT dblink_disconnect('loop') \g /dev/null
DROP EXTENSION dblink, postgres_fdw;
-- and Alpha is as it was
SELECT string_agg(name, ',') AS products, (SELECT count(*) FROM sales.prospects WHERE company_id = helpers.company('alpha')) AS prospects FROM sales.products WHERE company_id = helpers.company('alpha');
DROP SCHEMA playground CASCADE;
\i :clean
