\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- What users type that is wrong or too much, and what they are told: a code, and nothing half-done.
:be_alpha
-- templates
SELECT helpers.try(format('SELECT sales.render_template(%L, %L)', t, v)) FROM (VALUES
    (1, '{{=a%}}', '{}'), (2, '{{=a b c=}}', '{}'), (3, '{{==}}', '{}'), (4, 'x {{}} y', '{}'), (5, '{{{ }}}', '{}'), (6, 'x {{/a}}', '{}'),
    (7, '{{#a}}{{=<% %>=}}<%/b%>', '{"a": 1}'), (8, repeat('{{#a}}', 100) || repeat('{{/a}}', 100), '{"a": 1}'), (9, '{{>p}}', '{"_partials": {"p": "{{>p}}"}}'),
    (10, '{{#a}}{{b}}{{/a}}', jsonb_build_object('a', (SELECT jsonb_agg(1) FROM generate_series(1, 2000)), 'b', repeat('x', 10000))::text)) c (n, t, v) ORDER BY n;
SELECT sales.render_template('{{#a}}{{=<% %>=}}<%x%> <%/a%>{{x}}', '{"a": [{"x": "it''s"}, {"x": "<\"&>"}], "x": "{{x}}"}', true);
-- imports: a row that is wrong is put aside with its reason, the others come in
SELECT sales.import_csv(E'First Name,Last Name,Email,Created At,Budget,Currency\n'
    'Ann,Ok,ann@odd.test,2026-01-31,100,EUR\nBob,Date,bob@odd.test,31st of Nivose,100,EUR\nCid,Money,cid@odd.test,,100,Euros of France\n'
    'Dan,Mail,dan@' || repeat('a', 64) || '.test,,,\nEve,Mail,eve@' || repeat('abcdefgh.', 40) || 'test,,,\n',
    '{"First Name": "first_name", "Last Name": {"column": "last_name", "transform": ["upper"]}, "Email": "email", "Created At": "created_at", "Budget": "estimated_budget_amount", "Currency": "estimated_budget_currency"}') IS NOT NULL AS ran;
SELECT row_number, column_name, reason FROM sales.import_rejects ORDER BY row_number;
SELECT first_name, last_name FROM sales.prospects WHERE email LIKE '%@odd.test';
SELECT helpers.try($$SELECT sales.import_csv(E'a,b\n1,2\n', '{"a": "no_such_field"}')$$);
SELECT helpers.try($$SELECT sales.import_csv(E'a,b\n1,2\n', '{"a": {"column": "email", "transform": ["explode"]}}')$$);
-- passwords
SELECT helpers.try(format('SELECT sales.set_password(user_id, %L) FROM sales.users WHERE email = %L', p, 'admin@alpha.test')) FROM (VALUES (1, 'short'), (2, repeat('x', 501))) c (n, p) ORDER BY n;
SELECT helpers.try($$SELECT sales.set_password('00000000-0000-7000-8000-000000000001', 'a long password')$$);
SELECT helpers.try(format('SELECT sales.login(%L, %L, %L)', 'alpha.test', 'admin@alpha.test', repeat('x', 600)));
-- exports that are put on record
SELECT helpers.try(format('SELECT sales.record_export(%L, ARRAY[sales.uuidv7()], %L)', t, b)) FROM (VALUES (1, 'no_such_table', 'art. 20'), (2, 'prospects', repeat('x', 300))) c (n, t, b) ORDER BY n;
-- a secret that looks like a sealed one
SELECT helpers.try($$INSERT INTO sales.api_keys (service_name, key_value) VALUES ('openai', 'sa2:01234567:AAAA')$$);
:be_super
-- tenants that are not there
SELECT helpers.try($$SELECT sales.set_tenant('00000000-0000-7000-8000-000000000001')$$);
SELECT helpers.try($$SELECT sales.set_tenant(helpers.company('alpha'), (SELECT user_id FROM sales.users WHERE email = 'admin@beta.test'))$$);
-- a user, and a company, that went away while their context was in use: nothing is written in their name
BEGIN;
DO $$ BEGIN PERFORM helpers.be('alpha'); END $$;
SET LOCAL session_replication_role = replica;
DELETE FROM sales.users WHERE email = 'admin@alpha.test';
SET LOCAL session_replication_role = origin;
SELECT helpers.try($$INSERT INTO sales.products (company_id, name) VALUES (helpers.company('alpha'), 'Of nobody')$$);
ROLLBACK;
RESET sales_assistant.context;
BEGIN;
SELECT helpers.company('alpha') AS alpha \gset
SET LOCAL session_replication_role = replica;
DELETE FROM sales.companies WHERE domain = 'alpha.test';
SET LOCAL session_replication_role = origin;
SELECT helpers.try(format('SELECT sales_internal.audit_note(%L, NULL, %L, %L)', :'alpha', 'export', 'prospects'));
ROLLBACK;
-- keys of users as they are after a table was distributed and taken back: the same is locked and written
BEGIN;
ALTER TABLE sales.users DROP CONSTRAINT users_pkey CASCADE;
ALTER TABLE sales.users ADD PRIMARY KEY (company_id, user_id);
:be_alpha
INSERT INTO sales.products (name) VALUES ('With the other key');
:be_super
SELECT u.email, a.action FROM sales.audit_logs a JOIN sales.users u USING (company_id, user_id) WHERE a.new_values ->> 'name' = 'With the other key';
ROLLBACK;
-- a hash of an older kind that came with the users of another system; one that nobody could check in time
UPDATE sales.users SET password_hash = '$1$abcdefgh$InvxLBC33V76chXIeTx2s0' WHERE email = 'admin@beta.test';
SELECT sales.login('beta.test', 'admin@beta.test', 'alpha-secret-9') IS NOT NULL AS legacy_hash;
UPDATE sales.users SET password_hash = '$2b$31$abcdefghijklmnopqrstuuKlQ5nF1q1yYpTQ1p0m1aRZ8M1O1l1aa' WHERE email = 'admin@beta.test';
SELECT helpers.try($$SELECT sales.login('beta.test', 'admin@beta.test', 'alpha-secret-9')$$);
SELECT sales.set_password(user_id, 'beta-secret-1') FROM sales.users WHERE email = 'admin@beta.test';
-- the clock of tests
SELECT helpers.try($$SET sales_assistant.clock = 'the day before yesterday'$$), helpers.try($$SET sales_assistant.clock = '999999-01-01'$$);
SET sales_assistant.clock = '2026-01-31 12:00+00';
SELECT sales_internal.now();
RESET sales_assistant.clock;
-- days that never come
SELECT sales_internal.day_start('infinity', 'UTC') AS after_all, sales_internal.day_start('-infinity', 'UTC') AS before_all, sales_internal.local_week('infinity', 'UTC', 1) AS week_after, sales_internal.local_week('-infinity', 'UTC', 1) AS week_before;
-- relations that nobody can learn from
CREATE SEQUENCE odd_sequence;
CREATE TABLE odd_columns (key int, won int, a point);
SELECT helpers.try(format('SELECT sales_internal.train_scorecard(%s, %L)', r, 'won')) FROM (VALUES (1, '0::regclass'), (2, '4294967295::oid::regclass'), (3, $$'odd_sequence'$$), (4, $$'odd_columns'$$)) c (n, r) ORDER BY n;
DROP SEQUENCE odd_sequence;
DROP TABLE odd_columns;
SELECT helpers.try($$SELECT sales_internal.deal_quantiles('{1,NULL}', '{0.5,0.5}', '{0.1}')$$), helpers.try($$SELECT sales_internal.deal_quantiles('{{1},{2}}', '{0.5,0.5}', '{0.1}')$$);
-- pages
SELECT sales_internal.read_page('<meta name="Keywords" content=" a  b "><script type="application/ld+json">{"@type": "Corporation", "name": "N", "sameAs": "https://www.linkedin.com/company/n", "foundingDate": "19", "address": {"addressCountry": {"name": "DE"}}}</script>');
SELECT sales_internal.read_page('<script type="application/ld+json">' || repeat('[', 9) || '{"@type": "Organization", "name": "too deep"}' || repeat(']', 9) || '</script><title>t</title>') AS deep,
       sales_internal.read_page(repeat('<div>', 400) || '<title>beyond all depth</title>') AS bottomless, sales_internal.resolve_url('https://a.test/', repeat('x', 5000)) AS endless;
-- a stored secret that another hand has changed: its job waits and says why
INSERT INTO sales.api_keys (company_id, service_name, key_value) SELECT company_id, 'openai', 'sk-odd-1' FROM sales.companies WHERE domain IN ('alpha.test', 'beta.test');
INSERT INTO sales.products (company_id, name) VALUES (helpers.company('alpha'), 'Odd');
INSERT INTO sales.prospects (company_id, first_name, last_name, email) VALUES (helpers.company('alpha'), 'Fay', 'Sealed', 'fay@sealed.test');
CREATE TEMP TABLE sealed AS SELECT key_value FROM sales.api_keys WHERE company_id = helpers.company('alpha');
CREATE FUNCTION pg_temp.with_key(value text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    job uuid;
    said text;
BEGIN
    SET LOCAL session_replication_role = replica;
    UPDATE sales.api_keys SET key_value = value WHERE company_id = helpers.company('alpha');
    SET LOCAL session_replication_role = origin;
    job := sales_internal.enqueue('generate_message', helpers.company('alpha'), jsonb_build_object('prospect_id', (SELECT prospect_id FROM sales.prospects WHERE email = 'fay@sealed.test'), 'channel', 'email'));
    PERFORM sales_internal.run_jobs();
    SELECT concat_ws(' ', state, error) INTO said FROM sales_internal.jobs WHERE job_id = job;
    DELETE FROM sales_internal.jobs WHERE job_id = job;
    RETURN said;
END $$;
SELECT pg_temp.with_key('sa2:nonsense') AS other_form, pg_temp.with_key('sa2:01234567:AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA') AS other_key,
       pg_temp.with_key(left(key_value, 20) || translate(substr(key_value, 21), 'ABCDEFGHabcdefgh', 'BCDEFGHAbcdefgha')) AS changed, pg_temp.with_key((SELECT b.key_value FROM sales.api_keys b WHERE b.company_id = helpers.company('beta'))) AS of_another_company FROM sealed;
SELECT sales_internal.reseal('sa2:nonsense', 'x') IS NULL AS no_key_opens_it, sales_internal.reseal('sa1:AAAA', 'x') IS NULL AS nor_this;
DELETE FROM sales.api_keys;
\i :clean
