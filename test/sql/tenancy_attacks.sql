\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- What stolen SQL tries, as a login of company Beta against company Alpha.
:be_super
SET client_min_messages = error;
CREATE SCHEMA playground;
GRANT ALL ON SCHEMA playground TO regress_app;
INSERT INTO sales.products (company_id, name) VALUES (helpers.company('alpha'), 'Alpha secret') RETURNING product_id AS alpha_product \gset
INSERT INTO sales.prospects (company_id, first_name, email, product_id)
SELECT helpers.company('alpha'), 'Alpha' || g, 'alpha' || g || '@secret.test', :'alpha_product' FROM generate_series(1, 5) g;
INSERT INTO sales.prospects (company_id, first_name, email) SELECT helpers.company('beta'), 'Beta' || g, 'beta' || g || '@x.test' FROM generate_series(1, 3) g;
SELECT prospect_id AS alpha_prospect FROM sales.prospects WHERE first_name = 'Alpha1' \gset
SELECT helpers.company('alpha') AS alpha \gset
:be_alpha
SELECT current_setting('sales_assistant.context') AS alpha_context \gset
:be_beta
SELECT current_setting('sales_assistant.context') AS beta_context \gset
-- forging: by hand, by function, for the role, by parts of real ones
SELECT helpers.try($$SET sales_assistant.context = 'v1.eyJjIjoieCJ9.AAAA'$$);
SELECT helpers.try($$SET LOCAL sales_assistant.context = 'anything'$$);
SELECT helpers.try($$SELECT set_config('sales_assistant.context', 'v2.x.y', false)$$);
SELECT helpers.try($$ALTER ROLE regress_app SET sales_assistant.context = 'v1.x.y'$$);
SELECT helpers.try(format('SET sales_assistant.context = %L',
    'v1.' || split_part(:'alpha_context', '.', 2) || '.' || split_part(:'beta_context', '.', 3))) AS alphas_payload_betas_signature;
SELECT helpers.try(format('SET sales_assistant.context = %L', :'beta_context' || 'A')) AS longer;
SELECT helpers.try(format('SET sales_assistant.context = %L', repeat('x', 100000))) AS huge;
SELECT helpers.try(format('CREATE FUNCTION playground.f() RETURNS int LANGUAGE sql SET sales_assistant.context = %L AS $f$ SELECT 1 $f$', 'v1.x.y')) AS by_function_setting;
SELECT helpers.try('SET sales_assistant.clock = ''2020-01-01''') AS clock;
SELECT helpers.try('SET sales_assistant.scoring_company = ''x''') AS scoring;
SELECT helpers.try('SET row_security = off; SELECT count(*) FROM sales.prospects') AS row_security;
SET row_security = on;
SELECT helpers.try('SET session_replication_role = replica') AS replica;
-- savepoints and resets leave the tenant what it was
BEGIN;
SAVEPOINT a;
RESET sales_assistant.context;
SELECT count(*) AS without FROM sales.prospects;
ROLLBACK TO a;
SELECT count(*) AS with FROM sales.prospects;
SELECT helpers.try(format('SET LOCAL sales_assistant.context = %L', :'alpha_context')) AS other_company_in_one_transaction;
COMMIT;
-- prepared statements and generic plans, across tenants in one session
SET plan_cache_mode = force_generic_plan;
PREPARE mine AS SELECT string_agg(first_name, ',' ORDER BY first_name) FROM sales.prospects;
PREPARE nested AS WITH c AS (SELECT * FROM sales.prospects) SELECT count(*) FROM c WHERE EXISTS (SELECT FROM sales.prospects p WHERE p.prospect_id = c.prospect_id);
EXECUTE mine;
EXECUTE nested;
:be_alpha
EXECUTE mine;
EXECUTE nested;
:be_beta
EXECUTE mine;
EXECUTE nested;
RESET plan_cache_mode;
-- a cursor keeps what its own tenant saw and no more
BEGIN;
DECLARE held CURSOR WITH HOLD FOR SELECT first_name FROM sales.prospects ORDER BY 1;
COMMIT;
RESET sales_assistant.context;
FETCH 1 FROM held;
:be_alpha
FETCH 1 FROM held;
SELECT count(*) FILTER (WHERE first_name LIKE 'Alpha%') = count(*) AS only_alpha FROM sales.prospects;
FETCH ALL FROM held;
CLOSE held;
:be_beta
-- parallel workers
CREATE FUNCTION playground.plan(q text) RETURNS SETOF text LANGUAGE plpgsql AS $$ BEGIN RETURN QUERY EXECUTE 'EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF, SUMMARY OFF) ' || q; END $$;
DO $$ BEGIN PERFORM set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query'); END $$;
SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0; SET min_parallel_table_scan_size = 0;
SELECT count(*), min(first_name), max(first_name) FROM sales.prospects;
SELECT count(*) FILTER (WHERE line ~ 'Gather') AS gathers, count(*) FILTER (WHERE line ~ 'company_allowing') > 0 AS judged_there FROM playground.plan('SELECT * FROM sales.prospects') line;
DO $$ BEGIN PERFORM set_config(name, 'off', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query'); END $$;
RESET parallel_setup_cost; RESET parallel_tuple_cost; RESET min_parallel_table_scan_size;
-- leaky functions and operators in WHERE see no row of the others
CREATE TABLE playground.seen (what text);
CREATE FUNCTION playground.peek(t text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
$$ BEGIN INSERT INTO playground.seen VALUES (t); RETURN true; END $$;
CREATE FUNCTION playground.peek2(l varchar, r text) RETURNS boolean LANGUAGE plpgsql COST 0.0000001 AS
$$ BEGIN INSERT INTO playground.seen VALUES (l); RETURN true; END $$;
CREATE OPERATOR playground.=== (LEFTARG = varchar, RIGHTARG = text, FUNCTION = playground.peek2);
SELECT count(*) FROM sales.prospects WHERE playground.peek(email);
SELECT count(*) FROM sales.prospects WHERE email OPERATOR(playground.===) 'x';
SELECT count(*) FROM sales.prospects p JOIN sales.companies c USING (company_id) WHERE playground.peek(c.name || p.email);
SELECT count(*) FILTER (WHERE what ~* 'alpha') AS alpha, count(*) > 0 AS own FROM playground.seen;
-- division by zero tells nothing of hidden rows
SELECT count(*) FROM sales.prospects WHERE 1 / (first_name NOT LIKE 'Alpha%')::int = 1;
-- COPY, both ways
COPY (SELECT count(*) FROM sales.prospects) TO STDOUT;
\copy sales.prospects (first_name) TO PROGRAM 'sort'
SELECT left(helpers.try('COPY sales.prospects FROM PROGRAM ''true'''), 5) AS copy_from_program;
\copy sales.prospects (company_id, first_name) FROM PROGRAM '(echo) || true'
\copy sales.prospects (first_name) FROM PROGRAM '(echo Mine) || true'
COPY sales.interactions_default TO STDOUT;
COPY (UPDATE sales.prospects SET notes = 'copied' WHERE first_name LIKE 'Alpha%' RETURNING first_name) TO STDOUT;
-- another tenant's keys in INSERT, ON CONFLICT, MERGE, RETURNING
SELECT helpers.try(format('INSERT INTO sales.prospects (company_id, first_name) VALUES (%L, ''x'')', :'alpha')) AS insert_there;
SELECT helpers.try(format('INSERT INTO sales.prospects (prospect_id, first_name) VALUES (%L, ''x'') ON CONFLICT (prospect_id) DO UPDATE SET first_name = ''taken'' RETURNING email', :'alpha_prospect')) AS upsert;
SELECT helpers.try(format('INSERT INTO sales.prospects (prospect_id, first_name) VALUES (%L, ''x'') ON CONFLICT DO NOTHING', :'alpha_prospect')) AS do_nothing;
SELECT helpers.try(format('INSERT INTO sales.messages (prospect_id, channel, content, language) VALUES (%L, ''sms'', ''x'', ''en'')', :'alpha_prospect')) AS reference;
WITH m AS (UPDATE sales.prospects SET notes = 'mine' WHERE prospect_id = :'alpha_prospect' RETURNING *) SELECT count(*) FROM m;
MERGE INTO sales.prospects p USING (VALUES (:'alpha_prospect'::uuid)) v (id) ON p.prospect_id = v.id
WHEN MATCHED THEN UPDATE SET notes = 'merged' WHEN NOT MATCHED THEN DO NOTHING;
MERGE INTO sales.prospects p USING (VALUES (:'alpha_prospect'::uuid)) v (id) ON p.prospect_id = v.id OR p.first_name LIKE 'Alpha%' WHEN MATCHED THEN DELETE;
SELECT helpers.try(format('MERGE INTO sales.prospects p USING (VALUES (%L::uuid)) v (id) ON p.prospect_id = v.id WHEN NOT MATCHED THEN INSERT (prospect_id, first_name) VALUES (v.id, ''taken'')', :'alpha_prospect')) AS merge_their_key,
       helpers.try(format('MERGE INTO sales.prospects p USING (VALUES (%L::uuid)) v (id) ON p.company_id = v.id WHEN NOT MATCHED THEN INSERT (company_id, first_name) VALUES (v.id, ''there'')', :'alpha')) AS merge_there,
       helpers.try(format('MERGE INTO sales.prospects p USING (VALUES (%L::uuid)) v (id) ON p.first_name = ''Beta1'' WHEN MATCHED THEN UPDATE SET company_id = v.id', :'alpha')) AS merge_away;
SELECT helpers.try(format('UPDATE sales.prospects SET company_id = %L', :'alpha')) AS move;
SELECT helpers.try(format('UPDATE sales.prospects SET product_id = %L', :'alpha_product')) AS point;
-- EXPLAIN shows no foreign value and no foreign count
SELECT count(*) FILTER (WHERE line ~ 'secret|Alpha') AS leaks FROM playground.plan('SELECT * FROM sales.prospects') line;
SELECT helpers.try('SELECT most_common_vals FROM pg_catalog.pg_stats WHERE schemaname = ''sales'' AND tablename = ''prospects'' AND attname = ''email'' AND most_common_vals IS NOT NULL') AS statistics;
SELECT count(*) FROM pg_catalog.pg_stats WHERE schemaname IN ('sales', 'sales_internal');
-- privileges that skip policies
SELECT helpers.try('TRUNCATE sales.prospects');
SELECT helpers.try('CREATE TABLE playground.child (p uuid REFERENCES sales.prospects (prospect_id))') AS references_privilege;
SELECT helpers.try('CREATE TRIGGER t BEFORE INSERT ON sales.prospects EXECUTE FUNCTION suppress_redundant_updates_trigger()') AS own_trigger;
SELECT helpers.try('ALTER TABLE sales.prospects DISABLE ROW LEVEL SECURITY');
SELECT helpers.try('CREATE POLICY mine ON sales.prospects USING (true)');
SELECT helpers.try('DROP POLICY tenant_read ON sales.prospects');
SELECT helpers.try('SELECT count(*) FROM sales.interactions_default') AS partition_directly;
SELECT helpers.try('SELECT count(*) FROM sales_internal.jobs');
SELECT helpers.try('SELECT sales_internal.seal(''x'', ''y'')');
SELECT helpers.try('SELECT key_value FROM sales.api_keys');
SELECT helpers.try('SELECT u FROM sales.users u') AS whole_row;
SELECT helpers.try('CREATE TABLE sales.mine (x int)') AS table_there;
SELECT helpers.try('LOCK TABLE sales.prospects IN ACCESS EXCLUSIVE MODE') AS lock_all;
-- calls with the other company's ids
SELECT call, helpers.try(format(call, :'alpha_prospect')) FROM (VALUES
    ('SELECT sales.enter_stage(%L, ''client'')'), ('SELECT sales.generate_message(%L, ''email'')'), ('SELECT sales.enrich(%L, ''website'')'),
    ('SELECT sales.score(%L)'), ('SELECT * FROM sales.explain_score(%L)'), ('SELECT sales.suggest_next_action(%L)'), ('SELECT sales.conversion_probability(%L)')) v (call);
SELECT helpers.try(format('SELECT sales.import_csv(''Email'', options => ''{"product_id": "%s"}'')', :'alpha_product')) AS import_for_their_product;
SELECT helpers.try(format('SELECT sales.delete_company(%L)', :'alpha'));
SELECT helpers.try(format('SELECT sales.set_tenant(%L)', :'alpha'));
-- hostile search_path, temporary tables, operators: definer functions do not look there
CREATE TEMP TABLE prospects (company_id uuid, prospect_id uuid);
CREATE TEMP TABLE companies AS SELECT 'hijacked' AS name;
CREATE FUNCTION playground.now() RETURNS timestamptz LANGUAGE sql AS $$ SELECT 'epoch'::timestamptz $$;
CREATE FUNCTION playground.count_hits() RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked as %', current_user; END $$;
CREATE FUNCTION playground.eq(uuid, uuid) RETURNS boolean LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked as %', current_user; END $$;
CREATE OPERATOR playground.= (LEFTARG = uuid, RIGHTARG = uuid, FUNCTION = playground.eq);
CREATE FUNCTION playground.lower(text) RETURNS text LANGUAGE plpgsql AS $$ BEGIN RAISE EXCEPTION 'hijacked as %', current_user; END $$;
SET search_path = playground, pg_temp, sales, pg_catalog;
SELECT pg_catalog.count(*) FROM sales.prospects;
SELECT sales.refresh_scores();
SELECT sales.refresh_metrics() OPERATOR(pg_catalog.>=) 0 AS refreshed;
SELECT pg_catalog.count(*) FROM sales.check_metrics();
SELECT sales.import_csv(E'Email\nhijack@x.test\n') IS NOT NULL AS imported;
SELECT sales.setting('billing.currency');
INSERT INTO sales.interactions (prospect_id, channel, type, response_received, response_content)
SELECT prospect_id, 'email', 'sent', true, 'ja' FROM sales.prospects WHERE first_name OPERATOR(pg_catalog.=) 'Beta1';
DELETE FROM sales.prospects WHERE first_name OPERATOR(pg_catalog.=) 'Beta2';
RESET search_path;
DROP TABLE pg_temp.prospects, pg_temp.companies;
-- SET ROLE changes rights, not the tenant; the login counts
:be_super
CREATE ROLE regress_both LOGIN IN ROLE sales_app, sales_gateway;
SET SESSION AUTHORIZATION regress_both;
SELECT sales.set_tenant(:'alpha', NULL, false);
SET ROLE sales_app;
SELECT count(*) AS as_group FROM sales.prospects;
SET ROLE NONE;
SELECT count(*) AS as_login FROM sales.prospects;
SELECT current_setting('sales_assistant.context') AS both_context \gset
:be_super
SET SESSION AUTHORIZATION regress_app;
SELECT helpers.try(format('SET sales_assistant.context = %L', :'both_context')) AS anothers_context;
-- DISCARD ALL and RESET leave nobody in
:be_beta
DISCARD ALL;
SELECT sales.current_company_id() IS NULL AS out;
-- and Alpha is as it was
:be_super
SELECT count(*), count(notes) AS noted, count(deleted_at) AS deleted FROM sales.prospects WHERE company_id = :'alpha';
SET client_min_messages = error;
DROP SCHEMA playground CASCADE;
DROP ROLE regress_both;
