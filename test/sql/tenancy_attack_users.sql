\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- What users try within their company and what one company's SQL tries against
-- the others who share its login, beyond rows: attacks that once went through.
:be_super
SET client_min_messages = error;
SELECT sales.create_company('Gamma', 'gamma.test', 'starter', 'en', 'UTC', 'admin@gamma.test', 'gamma-secret-1') IS NOT NULL AS gamma;
INSERT INTO sales.roles (company_id, name, permissions) VALUES
    (helpers.company('gamma'), 'office', '{"*": ["read"], "enrichments": ["create"], "users": ["update", "delete"], "roles": ["update", "delete"], "prospects": ["create", "update", "delete"], "messages": ["create", "update"], "system_settings": ["create", "update", "delete"]}');
INSERT INTO sales.users (company_id, email, role_id, password_hash)
SELECT company_id, 'clerk@gamma.test', role_id, sales_internal.hash_password('clerk-secret-1') FROM sales.roles WHERE company_id = helpers.company('gamma') AND name = 'office';
INSERT INTO sales.users (company_id, email, role_id)
SELECT company_id, 'victim@gamma.test', role_id FROM sales.roles WHERE company_id = helpers.company('gamma') AND name = 'viewer';
INSERT INTO sales.prospects (company_id, first_name, email) SELECT helpers.company('gamma'), 'Beta' || g, 'beta' || g || '@x.test' FROM generate_series(1, 3) g;
INSERT INTO sales.system_settings (company_id, category, key_name, value, is_user_configurable) VALUES (helpers.company('gamma'), 'ai', 'ceiling', '5', false);
SET SESSION AUTHORIZATION regress_app;
SELECT sales.use_session(sales.login('gamma.test', 'clerk@gamma.test', 'clerk-secret-1'), false) IS NOT NULL AS clerk;
SELECT current_setting('sales_assistant.context') AS clerk_context \gset
-- he drops his context between the policy and the trigger that asks who he is
CREATE FUNCTION pg_temp.leave() RETURNS boolean LANGUAGE plpgsql COST 100000 AS $$ BEGIN PERFORM set_config('sales_assistant.context', '', true); RETURN true; END $$;
SELECT helpers.try('DELETE FROM sales.users WHERE email = ''victim@gamma.test''') AS plainly;
SELECT helpers.try('DELETE FROM sales.users WHERE email = ''victim@gamma.test'' AND pg_temp.leave()') AS by_leaving;
SELECT helpers.try('MERGE INTO sales.users u USING (VALUES (1)) v (x) ON u.email = ''victim@gamma.test'' WHEN MATCHED AND pg_temp.leave() THEN DELETE') AS by_merge;
SELECT helpers.try('DELETE FROM sales.roles WHERE name = ''viewer'' AND pg_temp.leave()') AS system_role;
SELECT helpers.try('UPDATE sales.users SET role_id = (SELECT role_id FROM sales.roles WHERE name = ''admin'') WHERE email = ''clerk@gamma.test'' AND pg_temp.leave()') AS raise_himself;
SELECT helpers.try('INSERT INTO sales.messages (prospect_id, channel, content, is_approved) SELECT prospect_id, ''sms'', ''x'', pg_temp.leave() FROM sales.prospects') AS approve;
-- nor is his name left out of the record
BEGIN;
UPDATE sales.prospects SET notes = 'by whom?' WHERE first_name = 'Beta1' AND pg_temp.leave();
SELECT sales.current_company_id() IS NULL AS has_left;
COMMIT;
BEGIN;
UPDATE sales.prospects SET notes = 'by whom?' WHERE first_name = 'Beta2' RETURNING pg_temp.leave();
COMMIT;
BEGIN;
COPY (SELECT first_name FROM sales.prospects WHERE first_name = 'Beta3' AND pg_temp.leave()) TO STDOUT;
COMMIT;
SELECT l.action, l.new_values ->> 'notes' AS notes, l.new_values ->> 'rows' AS rows, u.email
FROM sales.audit_logs l LEFT JOIN sales.users u USING (user_id) WHERE l.table_name = 'prospects' AND l.action <> 'create' ORDER BY l.created_at, l.audit_id;
-- who leaves and comes back, or rolls back, goes on as before; another transaction knows nothing of it
BEGIN;
SELECT count(*) FROM sales.prospects;
SAVEPOINT a;
SELECT pg_temp.leave();
ROLLBACK TO a;
SELECT count(*) FROM sales.prospects;
ROLLBACK;
-- whose name reads like a column's has nothing blanked but what is about prospects
INSERT INTO sales.prospects (first_name, last_name, email) VALUES ('role_id', 'email', 'x@erased.test') RETURNING prospect_id AS person \gset
SELECT sales.gdpr_erase(:'person', 'attack');
SELECT table_name, count(*) FILTER (WHERE new_values = '{}') AS blanked, count(*) > 0 AS there FROM sales.audit_logs
WHERE action = 'create' AND table_name IN ('users', 'roles', 'system_settings') GROUP BY table_name ORDER BY table_name;
SELECT count(*) FILTER (WHERE new_values = '{}') AS blanked, count(*) FROM sales.audit_logs WHERE action = 'create' AND table_name = 'prospects';
-- jobs of others
SELECT sales.enrich(prospect_id, 'website') AS job FROM sales.prospects WHERE first_name = 'Beta1' \gset
SELECT helpers.try(format('SELECT sales.cancel_job(%L)', :'job')), helpers.try(format('SELECT sales.retry_job(%L)', :'job'));
:be_super
SELECT sales.set_password(user_id, 'victim-secret-1') FROM sales.users WHERE email = 'victim@gamma.test' \g /dev/null
SET SESSION AUTHORIZATION regress_app;
SELECT sales.use_session(sales.login('gamma.test', 'victim@gamma.test', 'victim-secret-1'), false) IS NOT NULL AS viewer;
SELECT helpers.try(format('SELECT sales.cancel_job(%L)', :'job')), helpers.try(format('SELECT sales.retry_job(%L)', :'job'));
SELECT helpers.be('gamma');
SELECT helpers.try(format('SELECT sales.cancel_job(%L)', :'job'));
SELECT sales.use_session(sales.login('gamma.test', 'clerk@gamma.test', 'clerk-secret-1'), false) IS NOT NULL AS clerk;
-- what is not the company's to change is not its to remove
SELECT helpers.try('DELETE FROM sales.system_settings WHERE key_name = ''ceiling''') AS remove;
SELECT helpers.try('DELETE FROM sales.system_settings WHERE key_name = ''ceiling'' AND pg_temp.leave()') AS remove_by_leaving;
-- the login that all share: its settings, its password, its tables
SELECT helpers.try(format('ALTER ROLE regress_app SET sales_assistant.context = %L', :'clerk_context')) AS own_context;
SELECT helpers.try(format('CREATE FUNCTION pg_temp.f() RETURNS int LANGUAGE sql SET sales_assistant.context = %L AS $f$ SELECT 1 $f$', :'clerk_context')) AS for_a_function;
SELECT helpers.try('ALTER ROLE regress_app SET search_path = elsewhere') AS search_path;
SELECT helpers.try('ALTER ROLE CURRENT_USER PASSWORD ''mine''') AS password;
SELECT helpers.try('ALTER USER regress_app SET default_transaction_read_only = on') AS read_only;
SELECT mode, helpers.try('LOCK TABLE sales.prospects IN ' || mode || ' MODE') FROM (VALUES ('ACCESS SHARE'), ('ROW EXCLUSIVE'), ('SHARE UPDATE EXCLUSIVE'), ('SHARE'), ('ACCESS EXCLUSIVE')) v (mode);
CREATE TEMP VIEW behind AS SELECT * FROM sales.prospects;
SELECT helpers.try('LOCK TABLE behind IN ACCESS EXCLUSIVE MODE') AS through_a_view;
SELECT helpers.try('CREATE TRIGGER t BEFORE INSERT ON sales.prospects EXECUTE FUNCTION suppress_redundant_updates_trigger()') AS own_trigger;
SELECT helpers.try('CREATE RULE r AS ON SELECT TO sales.prospects DO INSTEAD NOTHING') AS own_rule;
SELECT helpers.try('CREATE TEMP TABLE child (p uuid REFERENCES sales.prospects (prospect_id))') AS foreign_key;
SELECT helpers.try('CREATE TEMP TABLE child (p uuid); ALTER TABLE child ADD FOREIGN KEY (p) REFERENCES sales.prospects (prospect_id)') AS foreign_key_later;
SELECT helpers.try('CREATE TEMP TABLE child () INHERITS (sales.prospects)') AS inherit;
-- its own tables are its own
CREATE TEMP TABLE mine (a int PRIMARY KEY, b int REFERENCES mine);
BEGIN;
LOCK TABLE mine IN ACCESS EXCLUSIVE MODE;
ROLLBACK;
SELECT helpers.try('SELECT sales_internal.take_lock(1)') AS take_lock;
-- a hash that takes hours is no password
UPDATE sales.users SET password_hash = '$6$rounds=999999999$abcdefgh$' || repeat('x', 86) WHERE email = 'clerk@gamma.test';
SELECT helpers.try('SELECT sales.login(''gamma.test'', ''clerk@gamma.test'', ''clerk-secret-1'')') AS hours;
UPDATE sales.users SET password_hash = '$y$jJ3T3T$abcdefgh$' || repeat('x', 43) WHERE email = 'clerk@gamma.test';
SELECT helpers.try('SELECT sales.login(''gamma.test'', ''clerk@gamma.test'', ''clerk-secret-1'')') AS gigabytes;
-- the account is one, however its letters are written (the second K is the sign of the kelvin); time stands still
RESET SESSION AUTHORIZATION;
SET sales_assistant.clock = '2037-05-01 10:00:00+00';
SET SESSION AUTHORIZATION regress_app;
SELECT count(*) FILTER (WHERE outcome LIKE '28P01%') AS guesses, count(*) FILTER (WHERE outcome LIKE '28000 too many%') AS kept_waiting
FROM (SELECT helpers.try(format('SELECT sales.login(%L, %L, ''guess-number-x'')', 'gamma.test', address)) AS outcome
      FROM (SELECT translate('clerk@gamma.test', 'ck', l || k) AS address FROM (VALUES ('c'), ('C')) c (l), (VALUES ('k'), ('K'), (U&'\212A')) v (k), generate_series(1, 2)) a) x;
:be_super
RESET sales_assistant.clock;
SET client_min_messages = error;
-- the extension's locks are none that pg_advisory_lock() could take first
BEGIN;
SELECT pg_advisory_xact_lock(sales_internal.import_lock_key(helpers.company('alpha'))), sales_internal.take_lock(sales_internal.import_lock_key(helpers.company('alpha')), false) AS ours;
SELECT count(DISTINCT (classid, objid)) AS numbers, count(*) AS locks FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid();
ROLLBACK;
-- hashes brought from elsewhere are good (bcrypt, SHA-512); those made here are yescrypt's
CREATE FUNCTION helpers.brought(hash text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    UPDATE sales.users SET password_hash = hash WHERE email = 'clerk@gamma.test';
    RETURN concat_ws(', ', helpers.try($q$SELECT sales.login('gamma.test', 'clerk@gamma.test', 'brought-secret-1')$q$), helpers.try($q$SELECT sales.login('gamma.test', 'clerk@gamma.test', 'brought-secret-2')$q$));
END $$;
SELECT sales.set_password(user_id, 'brought-secret-1') FROM sales.users WHERE email = 'clerk@gamma.test';
SELECT left(password_hash, 7) AS made, helpers.brought(password_hash) FROM sales.users WHERE email = 'clerk@gamma.test';
SELECT helpers.brought('$2b$08$abcdefghijklmnopqrstuuQLzWTcq3FiC/R7rfi629.2ztAMAVGIK') AS bcrypt,
       helpers.brought('$6$rounds=5000$abcdefgh$.XI1W9oZnwO7UonWrRilBXNj5mFbWrc5GDO.jhVqO2zVtFV1KqQOpJXfctZWeekA2dJTbQfDnEe.GOmYmMwOh1') AS sha512;
DROP FUNCTION helpers.brought(text);
-- a session shows neither password nor token to those who share its login
SELECT sales.set_password(user_id, 'clerk-secret-2') FROM sales.users WHERE email = 'clerk@gamma.test';
SELECT a.query FROM (SELECT helpers.try($$SELECT sales.login('gamma.test', 'nobody@gamma.test', 'clerk-secret-2')$$) AS said OFFSET 0) c, LATERAL pg_stat_get_activity(CASE WHEN c.said IS NOT NULL THEN pg_backend_pid() END) a;
SELECT a.query FROM (SELECT helpers.try($$SELECT sales.use_session('a.b.c')$$) AS said OFFSET 0) c, LATERAL pg_stat_get_activity(CASE WHEN c.said IS NOT NULL THEN pg_backend_pid() END) a;
SELECT a.query FROM (SELECT helpers.try($$SELECT sales.set_password(NULL, 'clerk-secret-2')$$) AS said OFFSET 0) c, LATERAL pg_stat_get_activity(CASE WHEN c.said IS NOT NULL THEN pg_backend_pid() END) a;
SELECT sales.delete_company(helpers.company('gamma'));
\i :clean
