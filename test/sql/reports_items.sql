-- Reports: every part is there, in each kind of report and each language, with the numbers of the tables beneath.
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\i :srcdir/clean.inc
SET sales_assistant.clock = '2026-05-20 12:00:00+00';
:be_alpha
INSERT INTO sales.templates (name, channel, language, content_template) VALUES ('Welcome', 'email', 'fr', 'x');
INSERT INTO sales.prospects (first_name, company_name, source, created_at, estimated_budget_amount, industry_id)
SELECT 'P' || n, 'Firm ' || n, CASE WHEN n % 2 = 0 THEN 'api' ELSE 'manual' END::sales.prospect_source, '2026-05-12 10:00+00', 1000 * n, '5a1e5000-0000-7000-9000-000000000012'
FROM generate_series(1, 8) AS n;
INSERT INTO sales.messages (prospect_id, channel, content, language, template_id)
SELECT prospect_id, 'email', 'x', 'fr', template_id FROM sales.prospects, sales.templates WHERE name = 'Welcome';
-- In the week: 16 mails of which 6 are answered, 8 calls, 2 meetings held; in the week before: 8 mails, one answered.
INSERT INTO sales.interactions (prospect_id, user_id, channel, type, message_id, response_received, interaction_date)
SELECT m.prospect_id, sales.current_user_id(), 'email', 'sent', m.message_id, i = 1 AND substr(p.first_name, 2)::int <= 6, '2026-05-12 11:00+00'
FROM sales.messages m JOIN sales.prospects p USING (prospect_id), generate_series(1, 2) AS i;
INSERT INTO sales.interactions (prospect_id, user_id, channel, type, interaction_date)
SELECT prospect_id, sales.current_user_id(), 'phone', 'call_made', '2026-05-13 10:00+00' FROM sales.prospects;
INSERT INTO sales.interactions (prospect_id, user_id, channel, type, interaction_date)
SELECT prospect_id, sales.current_user_id(), 'meeting', 'meeting_held', '2026-05-14 10:00+00' FROM sales.prospects WHERE first_name IN ('P1', 'P2');
INSERT INTO sales.interactions (prospect_id, channel, type, response_received, interaction_date)
SELECT prospect_id, 'email', 'sent', first_name = 'P1', '2026-05-05 10:00+00' FROM sales.prospects;
INSERT INTO sales.tasks (prospect_id, type, title, created_at) SELECT prospect_id, 'meeting', 'm', '2026-05-12 10:00+00' FROM sales.prospects WHERE first_name IN ('P1', 'P2');
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at, deal_value, loss_reason, created_by)
SELECT p.prospect_id, x.stage::sales.funnel_stage, x.at, x.value, x.reason, sales.current_user_id()
FROM sales.prospects p JOIN (VALUES
    ('P1', 'contacte', timestamptz '2026-05-02 10:00+00', NULL::numeric, NULL), ('P1', 'proposition_envoyee', '2026-05-11 10:00+00', 900, NULL), ('P1', 'client', '2026-05-12 10:00+00', 1234.5, NULL),
    ('P2', 'perdu', '2026-05-13 10:00+00', 700, 'price'), ('P3', 'perdu', '2026-05-13 10:00+00', 300, ' Price '), ('P4', 'perdu', '2026-05-13 10:00+00', 50, NULL),
    ('P5', 'negociation', '2026-03-01 10:00+00', 5000, NULL), ('P6', 'interesse', '2026-05-15 10:00+00', 600, NULL)) AS x (name, stage, at, value, reason) ON x.name = p.first_name;
INSERT INTO sales.email_campaigns (name, emails_sent, emails_opened, emails_replied, created_at) VALUES ('Spring', 8, 3, 1, '2026-05-12 10:00+00');
INSERT INTO sales.enrichments (prospect_id, enrichment_type, cost, status, created_at) SELECT prospect_id, 'website', 0.25, 'completed', '2026-05-12 10:00+00' FROM sales.prospects;
INSERT INTO sales.improvement_suggestions (suggestion_type, suggested_change, expected_improvement, confidence_score) VALUES ('channel_mix', 'Call more', '+5 %', 0.8);
:be_super
INSERT INTO sales.system_settings (company_id, category, key_name, value) VALUES (helpers.company('alpha'), 'billing', 'monthly_cost', '310');
INSERT INTO sales_internal.ai_costs (company_id, provider, purpose, model, cost, spent_at) VALUES (helpers.company('alpha'), 'openai', 'generation', 'm', 1, '2026-05-12 10:00+00');
DELETE FROM sales_internal.sector_benchmarks;
DELETE FROM sales_internal.sector_members;
SELECT sales_internal.refresh_all_metrics() > 0 AS some;
SELECT sales_internal.refresh_sector(helpers.company('alpha'), true);
INSERT INTO sales_internal.sector_members (quarter_start, member, sector_id, place) VALUES ('2026-04-01', helpers.company('alpha'), '5a1e5000-0000-7000-9000-000000000012', 5);
INSERT INTO sales_internal.sector_benchmarks (sector_id, quarter_start, edition, companies, response_rate, conversion_rate, sales_cycle_days)
VALUES ('5a1e5000-0000-7000-9000-000000000012', '2026-04-01', '2026-05-18', 5, 22, 11, 33);
:be_alpha
SELECT sales.generate_report('weekly', '2026-W20') AS weekly, sales.generate_report('monthly', '2026-05') AS monthly, sales.generate_report('quarterly', '2026-Q2') AS quarterly,
       sales.generate_report('on_demand', '2026-05-11/2026-05-17') AS on_demand \gset
:be_super
CREATE TEMP TABLE pages AS
SELECT r.report_type, u.language, xmlparse(DOCUMENT regexp_replace(replace(sales_internal.report_page(r, u.language), '<!DOCTYPE html>', ''), '<meta ([^>]*)>', '', 'g')) AS page
FROM sales.success_reports r, (VALUES ('fr'), ('en'), ('it'), ('es'), ('de')) AS u (language);
CREATE TEMP TABLE parts AS
SELECT p.report_type, p.language, x.place, x.title, x.part, array_length(xpath('//table[contains(@class, "data")]/tbody/tr', x.part), 1) AS rows,
       coalesce(array_length(xpath('//li', x.part), 1), 0) AS items, coalesce(array_length(xpath('//*[local-name() = "svg"]', x.part), 1), 0) AS charts
FROM pages p, xmltable('//section' PASSING p.page COLUMNS place FOR ORDINALITY, title text PATH 'h2', part xml PATH '.') AS x;
-- each part, as the English has it; in every kind of report and language there are as many rows, items and charts of each
SELECT place, min(title) FILTER (WHERE language = 'en') AS title, count(*) AS pages, min(rows) FILTER (WHERE report_type = 'weekly') AS rows,
       min(items) FILTER (WHERE report_type = 'weekly') AS items, min(charts) AS charts,
       bool_and(rows IS NOT NULL OR items > 0) AS filled,
       (SELECT bool_and(alike) FROM (SELECT count(DISTINCT (q.rows, q.items, q.charts)) = 1 AS alike FROM parts q WHERE q.place = p.place GROUP BY q.report_type) a) AS alike,
       count(DISTINCT title) AS wordings
FROM parts p GROUP BY place ORDER BY place;
-- the numbers of the week, by table and row
SELECT p.title, x.label, array_to_string(x.cells, ' | ') AS cells
FROM (SELECT * FROM parts WHERE report_type = 'weekly' AND language = 'en') p,
     LATERAL (SELECT (xpath('/tr/th//text()', t))[1]::text AS label, xpath('/tr/td//text()', t)::text[] AS cells, n
              FROM unnest(xpath('//table[contains(@class, "data")]/tbody/tr', p.part)) WITH ORDINALITY AS r (t, n)) AS x
WHERE p.title !~ 'weeks' ORDER BY p.place, x.n;
-- a quarter that is not over says so, and its twelve weeks end with this one
SELECT language, substring(sales_internal.report_page(r, language) FROM '<p>([^<]*2026[^<]*2026[^<]*)</p>') AS span
FROM sales.success_reports r, unnest('{fr,en,it,es,de}'::text[]) AS language WHERE report_id = :'quarterly';
SELECT max(w ->> 'week') AS last_week FROM sales.success_reports r, jsonb_array_elements(r.key_metrics -> 'trend') AS w WHERE report_id = :'quarterly';
-- twelve weeks, the last one that of the report
SELECT count(*) AS weeks, array_agg(w ->> 'messages_sent' ORDER BY w ->> 'week') AS sent FROM sales.success_reports r, jsonb_array_elements(r.key_metrics -> 'trend') AS w WHERE report_id = :'weekly';
-- a report over the days of the week has the week's figures
SELECT (a.key_metrics - 'timezone') = (b.key_metrics - 'timezone') AS same FROM sales.success_reports a, sales.success_reports b WHERE a.report_id = :'weekly' AND b.report_id = :'on_demand';
-- nothing of it is the other company's
:be_beta
SELECT sales.generate_report('weekly', '2026-W20') AS beta \gset
SELECT count(*) AS reports FROM sales.success_reports;
SELECT sales.report_html(:'beta') ~ 'Spring|Welcome|price|Firm|1,234' AS of_alpha;
:be_super
\set ECHO none
DELETE FROM sales_internal.sector_benchmarks;
DELETE FROM sales_internal.sector_members;
DELETE FROM sales_internal.ai_costs;
DELETE FROM sales.system_settings WHERE key_name = 'monthly_cost';
DELETE FROM sales.success_reports;
DELETE FROM sales.improvement_suggestions;
DELETE FROM sales.email_campaigns WHERE name = 'Spring';
DELETE FROM sales.interactions;
DELETE FROM sales.messages;
DELETE FROM sales.templates WHERE name = 'Welcome';
RESET sales_assistant.clock;
\i :srcdir/clean.inc
