\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- What a company may write must not stop the tasks of the platform: Alpha writes
-- what cannot be read, in whatever the tasks read, and Beta is served all the same.
:be_super
SET client_min_messages = error;
SET sales_assistant.clock = '2037-03-10 10:00:00+00';
:be_alpha
INSERT INTO sales.system_settings (category, key_name, value, description) VALUES
    ('campaigns', 'imap_minutes', 'abc', 'attack'), ('campaigns', 'domain_per_minute', '-x', 'attack'),
    ('campaigns', 'soft_bounce_limit', '1e999', 'attack'), ('campaigns', 'give_up_hours', '99999999999999999999', 'attack'),
    ('scoring', 'retrain_growth_percent', 'as you like', 'attack'), ('intel', 'renew_days', '{}', 'attack'),
    ('enrichment', 'renew', 'true', 'attack'), ('enrichment', 'keep_days', 'x', 'attack'), ('reports', 'schedule', 'weekly(((,;monthly', 'attack'),
    ('reports', 'recipients', E'x\r\nBcc: y@z.test', 'attack'), ('billing', 'monthly_cost', 'NaN', 'attack'),
    ('privacy', 'retention_texts_months', 'soon', 'attack'), ('privacy', 'retention_jobs_days', '-1', 'attack'),
    ('privacy', 'retention_audit_months', '1e5', 'attack'), ('security', 'session_minutes', 'forever', 'attack');
INSERT INTO sales.mailboxes (email, imap_url) VALUES ('m@alpha.test', 'imaps://imap.alpha.test/INBOX');
INSERT INTO sales.prospects (first_name, email, competitive_intel, tender_opportunities, tender_last_update)
SELECT 'A' || g, 'a' || g || '@x.test',
       (ARRAY['{"updated_at": "2037-99-99T99:99:99Z"}', '[1]', '"x"', '{"updated_at": {}}'])[g]::jsonb, '{"a": []}', '-infinity'
FROM generate_series(1, 4) g;
CREATE FUNCTION pg_temp.write(statement text, given text[]) RETURNS TABLE (value text, outcome text) LANGUAGE sql AS
$$ SELECT g, helpers.try(format(statement, g)) FROM unnest(given) g $$;
\set dates '\'{infinity,-infinity,4714-11-25 BC,294276-12-01,0001-01-01,1850-05-05,2900-05-05}\''
SELECT * FROM pg_temp.write('UPDATE sales.prospects SET created_at = %L', :dates);
SELECT * FROM pg_temp.write($$INSERT INTO sales.interactions (prospect_id, channel, type, interaction_date) SELECT prospect_id, 'email', 'sent', %L FROM sales.prospects$$, :dates);
-- what a duration overflows first is an integer, from PostgreSQL 17 on an interval
SELECT value, regexp_replace(outcome, '^2200[38] (integer|interval)', 'an integer or interval') AS outcome FROM pg_temp.write($$INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at, deal_value) SELECT prospect_id, 'client', %L, 'NaN' FROM sales.prospects$$, :dates);
SELECT * FROM pg_temp.write($$INSERT INTO sales.tasks (prospect_id, type, title, created_at, due_date) SELECT prospect_id, 'meeting', 'x', %1$L, %1$L FROM sales.prospects$$, :dates);
SELECT * FROM pg_temp.write($$INSERT INTO sales.enrichments (prospect_id, enrichment_type, status, enriched_value, original_value, expires_at, created_at, cost)
    SELECT prospect_id, 'website', 'completed', '{{{', 'x', '-infinity', %L, 'NaN' FROM sales.prospects$$, :dates);
SELECT * FROM pg_temp.write($$INSERT INTO sales.improvement_suggestions (suggestion_type, current_performance, suggested_change, status, implemented_at, result_measured)
    VALUES ('channel_mix', '{"x": 1}', 'attack', 'testing', '2037-02-20', %L)$$, '{"{\"days_after\": \"x\"}","[]","{\"final\": 7}"}');
SELECT * FROM pg_temp.write($$INSERT INTO sales.improvement_suggestions (suggestion_type, current_performance, suggested_change, status, implemented_at)
    VALUES ('channel_mix', '{"x": 1}', 'attack', 'testing', %L)$$, :dates);
SELECT * FROM pg_temp.write($$INSERT INTO sales.import_jobs (name, source_type, source_config, schedule_cron) VALUES ('attack', 'csv', %L, '* * * * *')$$,
    ARRAY['{"url": "https://x.test/a.csv", "options": {"delimiter": "ab"}}', '{"data": {}}', '{"data": "Email\nx", "options": []}', '{"url": 7}', '{"host": "x", "port": "-1", "path": ["x"]}', '[]', '{"upload_id": "------------------------------------"}']);
SELECT * FROM pg_temp.write($$INSERT INTO sales.import_jobs (name, source_type, source_config) VALUES ('attack', 'api', %L)$$,
    '{"{\"url\": \"https://x.test/\", \"items\": \"$.**.**\"}","{\"url\": \"https://x.test/\", \"items\": \"$[*]\", \"paging\": {\"next_url\": \"$.**{2 to last}\"}}"}');
SELECT * FROM pg_temp.write($$INSERT INTO sales.email_campaigns (name, schedule_type, scheduled_at, target_filter) VALUES ('attack', 'scheduled', %L, '{}')$$, :dates);
-- Beta's own work for the tasks
:be_beta
INSERT INTO sales.prospects (first_name, email, tender_last_update, created_at) VALUES ('B', 'b@x.test', '2036-01-01', '2036-01-01');
INSERT INTO sales.system_settings (category, key_name, value, description) VALUES ('enrichment', 'renew', 'true', 'attack');
INSERT INTO sales.interactions (prospect_id, channel, type, interaction_date) SELECT prospect_id, 'email', 'sent', '2037-01-20'::timestamptz + n * interval '1 day' FROM sales.prospects, generate_series(1, 30) n;
INSERT INTO sales.enrichments (prospect_id, enrichment_type, status, expires_at) SELECT prospect_id, 'website', 'completed', '2037-01-01' FROM sales.prospects;
INSERT INTO sales.improvement_suggestions (suggestion_type, current_performance, suggested_change, status, implemented_at) VALUES ('channel_mix', '{"x": 1}', 'b', 'testing', '2037-02-01');
INSERT INTO sales.mailboxes (email, imap_url) VALUES ('m@beta.test', 'imaps://imap.beta.test/INBOX');
INSERT INTO sales.import_jobs (name, source_type, source_config, schedule_cron) VALUES ('b', 'csv', '{"data": "Email\nnew@x.test"}', '* * * * *');
INSERT INTO sales.email_campaigns (name) VALUES ('b');
:be_super
SET client_min_messages = error;
SET sales_assistant.clock = '2037-03-10 10:00:00+00';
UPDATE sales.email_campaigns SET status = 'scheduled', schedule_type = 'scheduled', scheduled_at = '2037-03-01' WHERE name = 'b';
UPDATE sales.import_jobs SET next_run = '2037-03-10 09:00+00' WHERE next_run IS NOT NULL;
SELECT task, result FROM sales.maintain() WHERE result LIKE 'failed%';
SELECT kind, count(*) FROM sales_internal.jobs WHERE company_id = helpers.company('beta') AND state = 'queued'
   AND kind IN ('enrich', 'refresh_intel', 'mailbox_read', 'import_rows') GROUP BY kind ORDER BY kind;
SELECT (SELECT ai_score IS NOT NULL FROM sales.prospects WHERE email = 'b@x.test') AS scored,
       (SELECT result_measured IS NOT NULL FROM sales.improvement_suggestions WHERE suggested_change = 'b') AS measured,
       (SELECT runs FROM sales.email_campaigns WHERE name = 'b') AS runs,
       (SELECT messages_sent FROM sales.analytics WHERE company_id = helpers.company('beta') AND date = '2037-01-25') AS sent;
-- no company has tables made without end
SELECT count(*) FILTER (WHERE relname ~ 'interactions_(1850|0001|2900|29427)') AS far, count(*) > 0 AS near
FROM pg_class WHERE relnamespace = 'sales'::regnamespace AND relispartition;
-- and its own users log in
RESET sales_assistant.clock;
SET SESSION AUTHORIZATION regress_app;
SELECT helpers.try($$SELECT sales.login('alpha.test', 'admin@alpha.test', 'alpha-secret-1')$$) AS login;
:be_super
SET client_min_messages = error;
DELETE FROM sales.system_settings WHERE description = 'attack';
DELETE FROM sales.import_jobs;
DELETE FROM sales_internal.jobs;
\i :clean
