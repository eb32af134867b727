\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
-- Entering a tenant: tokens, bound roles, forgeries.
:be_super
CREATE ROLE regress_bi LOGIN IN ROLE sales_bi;
SET SESSION AUTHORIZATION regress_app;
-- without a context: no rows, no inserts
SELECT sales.current_company_id() IS NULL AS none, (SELECT count(*) FROM sales.companies) AS companies;
INSERT INTO sales.prospects (first_name) VALUES ('Nobody');
-- login says the same whatever is wrong
SELECT sales.login('alpha.test', 'admin@alpha.test', 'wrong-password');
SELECT sales.login('alpha.test', 'nobody@alpha.test', 'alpha-secret-1');
SELECT sales.login('nowhere.test', 'admin@alpha.test', 'alpha-secret-1');
SELECT sales.login('beta.test', 'admin@alpha.test', 'alpha-secret-1');
SELECT sales.login(NULL, 'admin@alpha.test', 'alpha-secret-1');
SELECT sales.login('alpha.test', 'Admin@Alpha.test', 'alpha-secret-1', '192.0.2.7', 'psql') AS token \gset
SELECT array_length(string_to_array(:'token', '.'), 1) AS parts;
-- for the transaction
BEGIN;
SELECT sales.use_session(:'token') = sales.current_company_id() AS entered;
SELECT name FROM sales.companies;
SELECT email, last_login IS NOT NULL AS seen FROM sales.users WHERE email LIKE 'admin%';
SELECT password_hash FROM sales.users;
ROLLBACK;
SELECT sales.current_company_id() IS NULL AS left_again;
BEGIN;
SELECT sales.use_session(:'token') IS NOT NULL AS entered;
SAVEPOINT s;
SELECT sales.use_session(sales.login('beta.test', 'admin@beta.test', 'beta-secret-1'));
ROLLBACK TO s;
SELECT name FROM sales.companies;
RESET sales_assistant.context;
SELECT sales.use_session(sales.login('beta.test', 'admin@beta.test', 'beta-secret-1'));
ROLLBACK;
-- a session goes from one company to another between transactions
SELECT sales.use_session(:'token', false) IS NOT NULL AS entered;
SELECT sales.use_session(sales.login('beta.test', 'admin@beta.test', 'beta-secret-1'), false) IS NOT NULL AS entered;
SELECT name FROM sales.companies;
RESET sales_assistant.context;
-- tampering with a token
SELECT sales.use_session('rubbish', false);
SELECT sales.use_session(:'token' || 'x', false);
SELECT sales.use_session('eyJhbGciOiJub25lIn0.' || split_part(:'token', '.', 2) || '.', false);
SELECT sales.use_session(NULL);
-- for the session, and out again
SELECT sales.use_session(:'token', false) IS NOT NULL AS entered;
SELECT current_setting('sales_assistant.context') AS context \gset
SELECT ip_address, user_agent, user_id = sales.current_user_id() AS mine, action
FROM sales.audit_logs WHERE action = 'login' ORDER BY created_at DESC LIMIT 1;
SET sales_assistant.context = 'v1.e30.AAAA';
SELECT set_config('sales_assistant.context', translate(:'context', 'abcdef', 'bcdefa'), false);
ALTER ROLE regress_app SET sales_assistant.context = 'v1.e30.AAAA';
SELECT sales.logout();
SELECT sales.current_company_id() IS NULL AS left_again;
SELECT sales.use_session(:'token', false);
-- another role cannot use the context
:be_super
SET SESSION AUTHORIZATION regress_bi;
SELECT set_config('sales_assistant.context', :'context', false);
-- a context ends with its token, in a live session and as a copy; so does the token
:be_super
SELECT now() + interval '2 hours' AS later \gset
SET SESSION AUTHORIZATION regress_app;
SELECT sales.login('alpha.test', 'admin@alpha.test', 'alpha-secret-1') AS token \gset
SELECT sales.use_session(:'token', false) IS NOT NULL AS entered;
SELECT current_setting('sales_assistant.context') AS context \gset
RESET SESSION AUTHORIZATION;
SET sales_assistant.clock = :'later';
SET SESSION AUTHORIZATION regress_app;
SELECT count(*) FROM sales.companies;
INSERT INTO sales.products (name) VALUES ('too late');
SELECT helpers.try(format('SET sales_assistant.context = %L', :'context'));
SELECT helpers.try(format('SELECT sales.use_session(%L, false)', :'token'));
:be_super
RESET sales_assistant.clock;
SET SESSION AUTHORIZATION regress_app;
-- who may do what
SET SESSION AUTHORIZATION regress_app;
SELECT sales.set_tenant(gen_random_uuid());
SELECT sales.create_company('X', 'x.test');
SELECT sales.bind_role('regress_app', gen_random_uuid());
SELECT sales_internal.hash_password('password');
-- guesses are slowed down, whether or not there is such a user; time stands still meanwhile
:be_super
CREATE FUNCTION helpers.guess(who text, times integer, ip inet DEFAULT NULL) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    said text;
BEGIN
    FOR i IN 1..times LOOP
        said := helpers.try(format('SELECT sales.login(''delta.test'', %L, %L, %L)', who, 'guess' || i, ip));
    END LOOP;
    RETURN said;
END $$;
SELECT sales.create_company('Delta', 'delta.test', 'starter', 'en', 'UTC', 'guessed@delta.test', 'delta-secret-2') AS delta \gset
SET sales_assistant.clock = '2037-05-01 10:00:00+00';
SET SESSION AUTHORIZATION regress_app;
SELECT helpers.guess('guess@delta.test', 5) AS fifth, helpers.guess('guess@delta.test', 1) AS sixth;
SELECT sales.login('delta.test', 'guess@delta.test', 'delta-secret-1');
-- those of somebody else do not keep a user out of where he has logged in before: the address, of version 6 its network
SELECT sales.login('delta.test', 'guessed@delta.test', 'delta-secret-2', ip) IS NOT NULL AS entered FROM unnest('{192.0.2.20,2001:db8:7::1}'::inet[]) ip;
SELECT helpers.guess('guessed@delta.test', 6, '198.51.100.1') AS elsewhere;
SELECT ip, left(helpers.try(format('SELECT sales.login(''Delta.test'', ''Guessed@delta.test'', ''delta-secret-2'', %L)', ip)), 60) AS login
FROM unnest('{192.0.2.20,192.0.2.21,2001:db8:7::ffff,2001:db8:8::1,192.0.2.20/8,NULL}'::inet[]) ip;
SELECT helpers.guess('guessed@delta.test', 6, '192.0.2.20') AS guesses_there_too;
SELECT helpers.guess('guess@delta.test', 1, '192.0.2.20') AS an_address_of_others;
-- an address of 90 days ago is not known any more; the pause ends by then, as it does when the clock is set back
RESET SESSION AUTHORIZATION;
SET sales_assistant.clock = '2037-08-01 10:00:00+00';
SET SESSION AUTHORIZATION regress_app;
SELECT helpers.guess('guessed@delta.test', 6, '198.51.100.1') AS elsewhere, helpers.guess('guessed@delta.test', 1, '2001:db8:7::1') AS long_ago;
RESET SESSION AUTHORIZATION;
SET sales_assistant.clock = '2037-01-01 10:00:00+00';
SET SESSION AUTHORIZATION regress_app;
SELECT helpers.guess('guessed@delta.test', 1) AS set_back;
RESET SESSION AUTHORIZATION;
SET sales_assistant.clock = '2037-01-01 10:15:00+00';
SET SESSION AUTHORIZATION regress_app;
SELECT helpers.guess('guessed@delta.test', 1) AS a_quarter_later, helpers.guess('guessed@delta.test', 1) AS again;
-- a new password is good at once
:be_super
SELECT sales.set_password(user_id, 'delta-secret-3') FROM sales.users WHERE email = 'guessed@delta.test';
SET SESSION AUTHORIZATION regress_app;
SELECT sales.login('delta.test', 'guessed@delta.test', 'delta-secret-3') IS NOT NULL AS entered;
-- sessions that are long over go
:be_super
SET sales_assistant.clock = '2037-07-01 10:00:00+00';
SELECT sales_internal.retain_sessions(:'delta');
SET sales_assistant.clock = '2037-08-01 10:00:00+00';
SELECT sales_internal.retain_sessions(:'delta');
RESET sales_assistant.clock;
SELECT sales.delete_company(:'delta');
DROP FUNCTION helpers.guess(text, integer, inet);
SET SESSION AUTHORIZATION regress_app;
-- suspended: reads only; cancelled: nothing
:be_super
SELECT sales.create_company('Gamma', 'gamma.test', 'starter', 'it', 'Europe/Rome', 'admin@gamma.test', 'gamma-secret-1') AS gamma \gset
SET SESSION AUTHORIZATION regress_app;
SELECT sales.login('gamma.test', 'admin@gamma.test', 'gamma-secret-1') AS token \gset
:be_super
UPDATE sales.companies SET subscription_status = 'suspended' WHERE company_id = :'gamma';
SET SESSION AUTHORIZATION regress_app;
SELECT sales.use_session(:'token', false);
SELECT sales.use_session(sales.login('gamma.test', 'admin@gamma.test', 'gamma-secret-1'), false) IS NOT NULL AS entered;
SELECT name FROM sales.companies;
INSERT INTO sales.products (name) VALUES ('No');
\set VERBOSITY default
SELECT sales.train_score_model();
\set VERBOSITY terse
:be_super
UPDATE sales.companies SET subscription_status = 'cancelled' WHERE company_id = :'gamma';
SET SESSION AUTHORIZATION regress_app;
SELECT sales.login('gamma.test', 'admin@gamma.test', 'gamma-secret-1');
-- a bound role is in its company from the first query
:be_super
SELECT sales.bind_role('regress_bi', helpers.company('beta'));
SELECT sales.bind_role('postgres', helpers.company('beta'));
\c - regress_bi
SELECT sales.current_company_id() IS NOT NULL AS bound, sales.has_permission('prospects', 'read') AS reads;
SELECT count(*) FROM sales.prospects;
SELECT current_setting('sales_assistant.context') AS kept \gset
SELECT set_config('sales_assistant.context', :'kept', false);
ALTER ROLE regress_bi SET sales_assistant.context = :'kept';
DISCARD ALL;
SELECT sales.current_company_id() IS NOT NULL AS bound;
\c - postgres
SELECT sales.unbind_role('regress_bi');
\c - regress_bi
SELECT sales.current_company_id() IS NULL AS unbound;
SELECT set_config('sales_assistant.context', :'kept', false);
\c - postgres
SET client_min_messages = warning;
-- everything of a company goes with it
SELECT sales.delete_company(:'gamma');
SELECT count(*) FROM sales.roles WHERE company_id = :'gamma';
SELECT sales.delete_company('00000000-0000-7000-8000-000000000001');
DROP ROLE regress_bi;
