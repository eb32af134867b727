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
