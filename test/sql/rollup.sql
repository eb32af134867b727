-- Roll-ups: exact whatever happens to the base tables, in the company's timezone.
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\i :srcdir/clean.inc
SET sales_assistant.clock = '2026-06-01 12:00:00+00';
:be_alpha
INSERT INTO sales.prospects (prospect_id, first_name, source, created_at) VALUES
    ('00000000-0000-7000-8000-0000000000a1', 'Ada', 'manual', '2026-03-28 23:30+00'),
    ('00000000-0000-7000-8000-0000000000a2', 'Bo', 'import_csv', '2026-03-29 21:59+00'),
    ('00000000-0000-7000-8000-0000000000a3', 'Cy', 'api', '2026-03-29 22:00+00');
\set ada '''00000000-0000-7000-8000-0000000000a1'''
\set bo '''00000000-0000-7000-8000-0000000000a2'''
\set cy '''00000000-0000-7000-8000-0000000000a3'''
-- 29 March 2026 has 23 hours in Paris: 23:00 UTC of the 28th to 22:00 UTC.
SELECT sales.refresh_metrics() > 0 AS some;
SELECT date, prospects_added FROM sales.analytics ORDER BY date;
INSERT INTO sales.interactions (prospect_id, channel, type, interaction_date, response_received) VALUES
    (:ada, 'email', 'sent', '2026-04-01 10:00+00', false), (:ada, 'email', 'sent', '2026-04-02 10:00+00', true),
    (:bo, 'phone', 'call_made', '2026-04-02 11:00+00', true), (:bo, 'email', 'received', '2026-04-07 10:00+00', false),
    (:cy, 'email', 'sent', '2026-04-08 10:00+00', false);
INSERT INTO sales.tasks (prospect_id, type, title, status, created_at) VALUES
    (:ada, 'meeting', 'm', 'pending', '2026-04-02 12:00+00'), (:ada, 'meeting', 'm', 'cancelled', '2026-04-02 12:00+00'),
    (:bo, 'call', 'c', 'pending', '2026-04-02 12:00+00');
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at, deal_value) VALUES
    (:ada, 'contacte', '2026-04-01 10:00+00', NULL), (:ada, 'proposition_envoyee', '2026-04-03 10:00+00', 900),
    (:ada, 'client', '2026-04-08 22:00+00', 1000.55), (:bo, 'perdu', '2026-04-09 10:00+00', NULL);
SELECT sales.refresh_metrics() AS days;
SELECT date, prospects_added, messages_sent, responses_received, meetings_scheduled, deals_closed,
       revenue_generated, response_rate, conversion_rate
FROM sales.analytics ORDER BY date;
SELECT period_start, period_end, prospects_imported AS imp, prospects_contacted AS cont, responses_received AS resp,
       meetings_scheduled AS meet, proposals_sent AS prop, deals_won AS won, deals_lost AS lost, total_revenue,
       avg_deal_size, sales_cycle_days, response_rate_percent, conversion_rate_percent, roi_calculated
FROM sales.success_metrics ORDER BY 1, 2;
SELECT * FROM sales.check_metrics();
SELECT sales.refresh_metrics() AS nothing_left;
-- A late answer changes the day on which the message was sent.
UPDATE sales.interactions SET response_received = true WHERE interaction_date = '2026-04-01 10:00+00';
SELECT metric, period, stored, recomputed FROM sales.check_metrics() ORDER BY 2, 1;
SELECT sales.refresh_metrics() AS days;
SELECT count(*) FROM sales.check_metrics();
-- What no metric depends on marks nothing.
UPDATE sales.interactions SET content = 'x', response_sentiment = 'positive';
UPDATE sales.prospects SET ai_score = 50, notes = 'x';
UPDATE sales.tasks SET notes = 'x';
SELECT sales.refresh_metrics() AS nothing_left;
-- Soft-deleted prospects and messages still count; a task that is cancelled does not.
DELETE FROM sales.prospects WHERE prospect_id = :bo;
UPDATE sales.tasks SET status = 'cancelled' WHERE type = 'meeting';
SELECT count(*) FROM sales.prospects;
SELECT sales.refresh_metrics() > 0 AS some;
SELECT count(*) FROM sales.check_metrics();
SELECT sum(prospects_added) AS added, sum(meetings_scheduled) AS meetings FROM sales.analytics;
-- An earlier first entry lengthens the cycle of a deal won on another day; so does its removal.
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at) VALUES (:ada, 'nouveau', '2026-01-01 00:00+00');
SELECT sales.refresh_metrics() AS days;
SELECT sales_cycle_days FROM sales.success_metrics WHERE deals_won > 0 ORDER BY period_end;
SELECT count(*) FROM sales.check_metrics();
DELETE FROM sales.conversion_funnel WHERE stage_entered_at = '2026-01-01 00:00+00';
SELECT sales.refresh_metrics() AS days;
SELECT count(*) FROM sales.check_metrics();
SELECT count(*) FROM sales.analytics WHERE date < '2026-02-01';
-- An interaction that moves to another day, month and person.
UPDATE sales.interactions SET interaction_date = '2025-12-31 23:30+00', prospect_id = :cy
WHERE prospect_id = :ada AND interaction_date = '2026-04-01 10:00+00';
SELECT sales.refresh_metrics() > 0 AS some;
SELECT count(*) FROM sales.check_metrics();
SELECT date FROM sales.analytics WHERE date < '2026-02-01';
-- A savepoint takes its marks with it, and only them.
BEGIN;
SAVEPOINT s;
INSERT INTO sales.interactions (prospect_id, channel, type, interaction_date) VALUES (:ada, 'email', 'sent', '2026-05-05 10:00+00');
ROLLBACK TO s;
INSERT INTO sales.interactions (prospect_id, channel, type, interaction_date) VALUES (:ada, 'email', 'sent', '2026-05-05 10:00+00');
INSERT INTO sales.interactions (prospect_id, channel, type, interaction_date) VALUES (:ada, 'email', 'sent', '2026-05-05 10:01+00');
SELECT sales.refresh_metrics() AS days;
INSERT INTO sales.interactions (prospect_id, channel, type, interaction_date) VALUES (:ada, 'email', 'sent', '2026-05-05 10:00:30+00');
COMMIT;
SELECT sales.refresh_metrics() AS days;
SELECT count(*) FROM sales.check_metrics();
-- In one snapshot the marks stay for who sees more.
BEGIN ISOLATION LEVEL REPEATABLE READ;
INSERT INTO sales.interactions (prospect_id, channel, type, interaction_date) VALUES (:ada, 'email', 'sent', '2026-05-06 10:00+00');
SELECT sales.refresh_metrics() AS days;
SELECT count(*) FROM sales.check_metrics();
COMMIT;
SELECT sales.refresh_metrics() AS days;
-- Costs and return.
:be_super
INSERT INTO sales.system_settings (company_id, category, key_name, value)
VALUES (helpers.company('alpha'), 'billing', 'monthly_cost', '300.00');
INSERT INTO sales_internal.ai_costs (company_id, spent_at, provider, purpose, cost)
VALUES (helpers.company('alpha'), '2026-04-10 10:00+00', 'openai', 'generation', 0.55);
:be_alpha
INSERT INTO sales.enrichments (prospect_id, enrichment_type, cost, created_at) VALUES (:ada, 'website', 0.25, '2026-04-10 10:00+00');
SELECT sales.refresh_metrics() > 0 AS some;
SELECT period_start, period_end, total_revenue, roi_calculated FROM sales.success_metrics ORDER BY 1, 2;
SELECT count(*) FROM sales.check_metrics();
-- Too much for the columns: clamped, not refused.
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at, deal_value)
SELECT :cy, 'client', '2026-07-01 10:00+00', 99999999.99 FROM generate_series(1, 2);
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at) VALUES (:cy, 'nouveau', '2020-01-01 10:00+00');
SELECT sales.refresh_metrics() > 0 AS some;
SELECT revenue_generated FROM sales.analytics WHERE date = '2026-07-01';
SELECT total_revenue, sales_cycle_days, roi_calculated FROM sales.success_metrics WHERE period_start = '2026-07-01';
SELECT count(*) FROM sales.check_metrics();
DELETE FROM sales.conversion_funnel WHERE prospect_id = :cy;
-- Dates beyond all calendars harm nobody.
INSERT INTO sales.interactions (prospect_id, channel, type, interaction_date) VALUES
    (:cy, 'email', 'sent', 'infinity'), (:cy, 'email', 'sent', '-infinity'), (:cy, 'email', 'sent', '294000-01-01'),
    (:cy, 'email', 'sent', '4000-01-01 BC');
SELECT sales.refresh_metrics() > 0 AS some;
SELECT count(*) FROM sales.check_metrics();
DELETE FROM sales.interactions WHERE prospect_id = :cy AND (interaction_date > '3000-01-01' OR interaction_date < '1000-01-01');
-- Another timezone, all days anew.
UPDATE sales.companies SET timezone = 'Pacific/Auckland';
SELECT sales.refresh_metrics() > 0 AS some;
SELECT date, prospects_added FROM sales.analytics WHERE prospects_added > 0 ORDER BY date;
SELECT count(*) FROM sales.check_metrics();
UPDATE sales.companies SET timezone = 'Europe/Paris';
-- Azores turn their clocks back over midnight, St John's did at one past it, Apia left a day out: each instant has one day.
:be_super
SELECT sales_internal.day_start('2026-10-25', 'Atlantic/Azores') AS azores, '2026-10-25'::timestamp AT TIME ZONE 'Atlantic/Azores' AS second_midnight,
       sales_internal.day_start('2026-10-26', 'Atlantic/Azores') - sales_internal.day_start('2026-10-25', 'Atlantic/Azores') AS length;
SELECT count(*) AS days,
       count(*) FILTER (WHERE sales_internal.local_day(s, zone) < d OR sales_internal.local_day(s - interval '1 us', zone) >= d) AS wrong,
       count(*) FILTER (WHERE (s AT TIME ZONE zone)::date < d OR ((s - interval '1 us') AT TIME ZONE zone)::date >= d) AS wrong_by_the_clock
FROM unnest('{Atlantic/Azores,America/Havana,America/St_Johns,Pacific/Apia,Pacific/Kwajalein,Africa/Cairo,America/Sao_Paulo,Australia/Lord_Howe,Europe/Paris,America/Toronto}'::text[]) AS zone,
     generate_series('1910-01-01'::timestamp, '2040-01-01', interval '1 day') AS g, LATERAL (SELECT g::date, sales_internal.day_start(g::date, zone)) AS x (d, s);
SELECT sales_internal.local_day('infinity', 'UTC'), sales_internal.local_day('294276-12-31 23:59+00', 'Pacific/Apia') > '294276-01-01' AS far,
       sales_internal.local_day('4713-11-24 00:00+00 BC', 'America/New_York') AS early, sales_internal.local_week('2026-03-29 12:00+00', 'UTC', 7) AS sunday,
       sales_internal.local_week('2026-03-29 12:00+00', 'UTC', 1) AS monday, sales_internal.local_week('2026-03-29 12:00+00', 'UTC', 6) AS saturday;
SELECT sales_internal.day_start('5874000-01-01', 'UTC');
SELECT sales_internal.day_start('2026-01-01', 'Mars/Base');
SELECT sales_internal.local_week('2026-01-01', 'UTC', 0);
:be_alpha
INSERT INTO sales.prospects (first_name, created_at)
SELECT 'Night', '2026-10-24 22:00+00'::timestamptz + n * interval '15 min' FROM generate_series(0, 20) AS n
UNION ALL SELECT 'Night', '2005-10-30 01:00+00'::timestamptz + n * interval '5 min' FROM generate_series(0, 30) AS n
UNION ALL SELECT 'Night', '2011-12-29 01:00+00'::timestamptz + n * interval '1 hour' FROM generate_series(0, 60) AS n;
UPDATE sales.companies SET timezone = 'Atlantic/Azores';
SELECT sales.refresh_metrics() > 0 AS some;
SELECT date, prospects_added FROM sales.analytics WHERE date BETWEEN '2026-10-24' AND '2026-10-26' ORDER BY 1;
SELECT count(*) FROM sales.check_metrics();
UPDATE sales.companies SET timezone = 'America/St_Johns';
SELECT sales.refresh_metrics() > 0 AS some;
SELECT date, prospects_added FROM sales.analytics WHERE date BETWEEN '2005-10-28' AND '2005-11-01' ORDER BY 1;
SELECT count(*) FROM sales.check_metrics();
UPDATE sales.companies SET timezone = 'Pacific/Apia';
SELECT sales.refresh_metrics() > 0 AS some;
SELECT date, prospects_added FROM sales.analytics WHERE date BETWEEN '2011-12-27' AND '2012-01-01' ORDER BY 1;
SELECT count(*) FROM sales.check_metrics();
UPDATE sales.companies SET timezone = 'Europe/Paris';
-- Many contacts of one day: counted, and taken back.
INSERT INTO sales.interactions (prospect_id, channel, type, interaction_date)
SELECT prospect_id, 'email', 'sent', '2026-10-24 10:00+00' FROM sales.prospects WHERE first_name = 'Night';
SELECT sales.refresh_metrics() > 0 AS some;
SELECT prospects_contacted FROM sales.success_metrics WHERE period_start = '2026-10-01' AND period_end = '2026-10-31';
DELETE FROM sales.interactions WHERE interaction_id IN
    (SELECT interaction_id FROM sales.interactions WHERE interaction_date = '2026-10-24 10:00+00' LIMIT 40);
SELECT sales.refresh_metrics() > 0 AS some;
SELECT prospects_contacted FROM sales.success_metrics WHERE period_start = '2026-10-01' AND period_end = '2026-10-31';
SELECT count(*) FROM sales.check_metrics();
DELETE FROM sales.interactions WHERE interaction_date = '2026-10-24 10:00+00';
-- Periods that cross years, and the ends of calendars.
INSERT INTO sales.interactions (prospect_id, channel, type, response_received, interaction_date) VALUES
    (:ada, 'email', 'sent', true, '2020-12-31 23:30+01'), (:ada, 'email', 'sent', false, '2021-01-01 00:30+01'),
    (:ada, 'email', 'sent', false, '2021-01-03 23:59:59.999999+01'), (:ada, 'email', 'sent', false, '2021-01-04 00:00+01'),
    (:ada, 'email', 'sent', false, '0001-01-01 00:10+00'), (:ada, 'email', 'sent', false, '9999-12-30 12:00+00');
SELECT sales.refresh_metrics() > 0 AS some;
SELECT period_start, period_end, prospects_contacted, responses_received, response_rate_percent FROM sales.success_metrics
WHERE period_start BETWEEN '2020-10-01' AND '2021-01-04' OR period_start < '0002-01-01' OR period_start > '9000-01-01' ORDER BY 1, 2;
SELECT count(*) FROM sales.check_metrics();
DELETE FROM sales.interactions WHERE interaction_date < '2021-02-01' OR interaction_date > '9000-01-01';
-- A tenant cannot pass for a restore and so hide changes from the metrics.
SELECT sales.refresh_metrics() >= 0 AS fine;
SET row_security = off;
SET check_function_bodies = off;
SELECT sales.enter_stage(:cy, 'client', 5) IS NOT NULL AS entered;
RESET row_security;
RESET check_function_bodies;
SELECT sales.refresh_metrics() > 0 AS seen;
SELECT count(*) FROM sales.check_metrics();
-- Damage is found, and a range mends it.
:be_super
UPDATE sales.analytics SET messages_sent = 77 WHERE date = '2026-05-05';
DELETE FROM sales.success_metrics WHERE period_start = '2026-01-01';
DELETE FROM sales_internal.metric_marks;
:be_alpha
SELECT count(*) > 10 AS found FROM sales.check_metrics();
SELECT sales.refresh_metrics('2025-01-01', '2026-12-31') > 0 AS some;
SELECT count(*) FROM sales.check_metrics();
SELECT sales.refresh_metrics('2026-12-31', '2025-01-01');
-- The other tenant has none of it, and cannot write metrics.
:be_beta
SELECT count(*) FROM sales.analytics;
SELECT sales.refresh_metrics() AS days;
INSERT INTO sales.analytics (date) VALUES ('2026-01-01');
SELECT sales_internal.refresh_all_metrics();
SELECT * FROM sales_internal.metric_marks;
INSERT INTO sales.prospects (first_name, created_at) VALUES ('Zoe', '2026-05-01 03:59+00');
:be_super
SELECT sales.refresh_metrics();
-- All companies at once.
SELECT sales_internal.refresh_all_metrics() AS days;
SELECT date FROM sales.analytics WHERE company_id = helpers.company('beta');
SELECT count(*) FROM sales_internal.metric_marks;
-- The doctor sees changes that wait and triggers that are off.
SELECT count(*) FROM sales_internal.doctor_rollup();
INSERT INTO sales_internal.metric_marks (company_id, first_at, last_at, marked_at)
VALUES (helpers.company('beta'), '2026-05-01', '2026-05-01', '2026-06-01 10:00+00');
ALTER TABLE sales.tasks DISABLE TRIGGER metrics_insert;
SELECT severity, finding FROM sales_internal.doctor_rollup() ORDER BY 1;
ALTER TABLE sales.tasks ENABLE TRIGGER metrics_insert;
-- An emptied table.
TRUNCATE sales.interactions;
SELECT sales_internal.refresh_all_metrics() > 0 AS some;
:be_alpha
SELECT count(*) FROM sales.check_metrics();
SELECT sum(messages_sent) FROM sales.analytics;
:be_super
DELETE FROM sales.system_settings WHERE key_name = 'monthly_cost';
RESET sales_assistant.clock;
