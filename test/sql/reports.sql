-- Reports: periods, figures, five languages, hostile values, sending, suggestions.
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\i :srcdir/clean.inc
SET sales_assistant.clock = '2026-05-20 12:00:00+00';
-- Names of periods.
SELECT t.type, t.period, p.name, p.first_day, p.last_day, p.before_first, p.before_last
FROM (VALUES ('weekly', NULL), ('monthly', NULL), ('quarterly', ''), ('on_demand', NULL), ('weekly', '2026-W53'), ('weekly', '2020-w53'),
             ('monthly', '2026-02'), ('quarterly', '2026-Q1'), ('on_demand', '2026-Q1'), ('on_demand', '2026-01-05/2026-01-20')) AS t (type, period),
     LATERAL (SELECT * FROM sales_internal.report_period(t.type::sales.report_type, t.period, '2026-05-20')
              WHERE t.period IS DISTINCT FROM '2026-W54') AS p
ORDER BY 1, 2;
SELECT * FROM sales_internal.report_period('weekly', '2025-W53', '2026-05-20');
SELECT * FROM sales_internal.report_period('weekly', '2026-01', '2026-05-20');
SELECT * FROM sales_internal.report_period('monthly', '0000-05', '2026-05-20');
SELECT * FROM sales_internal.report_period('on_demand', '2026-02-30/2026-03-01', '2026-05-20');
SELECT * FROM sales_internal.report_period('on_demand', '2026-03-02/2026-03-01', '2026-05-20');
:be_alpha
INSERT INTO sales.prospects (prospect_id, first_name, last_name, company_name, created_at, estimated_budget_amount) VALUES
    ('00000000-0000-7000-8000-0000000000a1', '<script>alert(1)</script>', '" onload="x', 'A & B', '2026-04-01 10:00+00', 5000),
    ('00000000-0000-7000-8000-0000000000a2', 'Bo', E'\u202Egnp.exe', 'C', '2026-04-01 10:00+00', NULL);
INSERT INTO sales.templates (name, channel, language, content_template) VALUES ('</table><h1>x', 'email', 'fr', 'x');
INSERT INTO sales.messages (prospect_id, channel, content, language, template_id)
SELECT p.prospect_id, 'email', 'x', 'fr', t.template_id FROM sales.prospects p, sales.templates t WHERE t.name LIKE '</table>%';
INSERT INTO sales.interactions (prospect_id, user_id, channel, type, message_id, response_received, interaction_date)
SELECT prospect_id, sales.current_user_id(), 'email', 'sent', message_id, n < 8, '2026-05-12 10:00+00'
FROM sales.messages, generate_series(1, 20) AS n;
INSERT INTO sales.interactions (prospect_id, channel, type, response_received, interaction_date)
SELECT prospect_id, 'linkedin', 'sent', false, '2026-05-05 10:00+00' FROM sales.prospects, generate_series(1, 20) AS n;
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at, deal_value, loss_reason, created_by) VALUES
    ('00000000-0000-7000-8000-0000000000a1', 'negociation', '2026-04-02 10:00+00', NULL, NULL, NULL),
    ('00000000-0000-7000-8000-0000000000a2', 'client', '2026-05-12 10:00+00', 1234.5, NULL, sales.current_user_id()),
    ('00000000-0000-7000-8000-0000000000a2', 'perdu', '2026-05-13 10:00+00', NULL, '<i>price</i>', NULL);
INSERT INTO sales.improvement_suggestions (suggestion_type, suggested_change, expected_improvement, confidence_score)
VALUES ('channel_mix', 'Use <e-mail> & call', '+5 %', 0.8);
SELECT current_performance FROM sales.improvement_suggestions;
SELECT sales.generate_report('weekly', '2026-W20') AS report \gset
SELECT report_type, report_period, key_metrics #>> '{metrics,messages_sent}' AS sent, key_metrics #>> '{metrics,response_rate}' AS rate,
       key_metrics #>> '{metrics,revenue}' AS revenue, key_metrics #>> '{previous,messages_sent}' AS sent_before,
       jsonb_array_length(key_metrics -> 'trend') AS weeks, sent_at IS NULL AS unsent
FROM sales.success_reports WHERE report_id = :'report';
-- The figures are those of success_metrics.
SELECT (r.key_metrics #>> '{metrics,prospects_contacted}')::int = m.prospects_contacted AND (r.key_metrics #>> '{metrics,roi}')::numeric IS NOT DISTINCT FROM m.roi_calculated
   AND (r.key_metrics #>> '{metrics,revenue}')::numeric = m.total_revenue AND (r.key_metrics #>> '{metrics,sales_cycle_days}')::numeric = m.sales_cycle_days AS same
FROM sales.success_reports r JOIN sales.success_metrics m ON m.period_start = '2026-05-11' AND m.period_end = '2026-05-17';
SELECT jsonb_array_elements(insights_generated) AS insight FROM sales.success_reports;
SELECT jsonb_array_elements(recommendations) AS recommendation FROM sales.success_reports;
-- No person's name is kept in the report.
SELECT count(*) FROM sales.success_reports WHERE key_metrics::text LIKE '%alert%' OR recommendations::text LIKE '%alert%';
SELECT sales.report_html(:'report') AS html \gset
-- Hostile values are shown, not obeyed; nothing is fetched from outside.
SELECT position('&lt;script&gt;alert(1)&lt;/script&gt; &quot; onload=&quot;x, A &amp; B' IN :'html') > 0 AS shown,
       :'html' ~* '<(script|img|iframe|link|object|form|a|i)[ >]' AS obeyed, position('</table><h1>x' IN :'html') > 0 AS broken,
       :'html' ~ U&'[\202E\2066]' AS turned, :'html' ~* '(src|href|action)\s*=' AS fetches, :'html' ~ 'url\(' AS styles_fetch;
SELECT position('Use &lt;e-mail&gt; &amp; call (+5 %)' IN :'html') > 0 AS suggestion,
       position('&lt;i&gt;price&lt;/i&gt;' IN :'html') > 0 AS reason;
-- It is well-formed XML apart from the heading, with a title and a description in each chart and a caption for each table.
SELECT array_length(regexp_split_to_array(:'html', '<svg '), 1) - 1 AS charts,
       array_length(regexp_split_to_array(:'html', '<desc '), 1) - 1 AS described,
       (SELECT count(*) FROM regexp_matches(:'html', '<table border', 'g')) = (SELECT count(*) FROM regexp_matches(:'html', '<caption', 'g')) AS captions,
       xmlparse(DOCUMENT regexp_replace(replace(:'html', '<!DOCTYPE html>', ''), '<meta ([^>]*)>', '', 'g')) IS DOCUMENT AS well_formed;
-- Erased people disappear from reports that were made before.
DELETE FROM sales.prospects WHERE prospect_id = '00000000-0000-7000-8000-0000000000a1';
SELECT position('alert(1)' IN sales.report_html(:'report')) > 0 AS still_there;
-- Five languages, each complete.
:be_super
SELECT u.language, substring(sales_internal.report_page(r, u.language) FROM '<h1>(.*?)</h1>') AS heading,
       substring(sales_internal.report_page(r, u.language) FROM '[€]?1.234[,.]50[^<]*') AS money,
       (SELECT array_agg(k ORDER BY k) FROM jsonb_object_keys(sales_internal.report_words('en')) AS k
        WHERE coalesce(sales_internal.report_words(u.language) ->> k, '') = '') AS missing
FROM sales.success_reports r, (VALUES ('fr'), ('en'), ('it'), ('es'), ('de')) AS u (language) ORDER BY 1;
:be_alpha
-- Mistakes.
SELECT sales.generate_report('daily');
SELECT sales.generate_report('weekly', '2026-05');
SELECT sales.report_html('00000000-0000-7000-8000-00000000dead');
SELECT sales.send_report('00000000-0000-7000-8000-00000000dead');
:be_beta
\set VERBOSITY sqlstate
SELECT sales.report_html(:'report');
SELECT sales.send_report(:'report');
\set VERBOSITY terse
SELECT count(*) FROM sales.success_reports;
SELECT sales.generate_report('monthly') IS NOT NULL AS empty_one;
SELECT position('Nothing happened in this period.' IN sales.report_html(report_id)) > 0 AS quiet, report_period FROM sales.success_reports;
-- By themselves: each due report once.
:be_super
DELETE FROM sales.success_reports;
SELECT sales_internal.make_due_reports();
SELECT sales_internal.make_due_reports();
SELECT c.name, r.report_type, r.report_period FROM sales.success_reports r JOIN sales.companies c USING (company_id) ORDER BY 1, 2;
-- More than a step takes are made at once, step by step, each in a transaction of its own.
\set ECHO none
SELECT count(sales.create_company('Many ' || g, 'many' || g || '.test', 'starter', 'en', 'UTC', 'a@many' || g || '.test', NULL)) FROM generate_series(1, 20) g \g /dev/null
INSERT INTO sales_internal.metric_days
SELECT c.company_id, d, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0 FROM sales.companies c, unnest('{2026-05-12,2026-04-15,2026-02-15}'::date[]) d WHERE c.domain LIKE 'many%';
UPDATE sales_internal.periodic_tasks SET next_run = 'infinity' WHERE name = 'reports';
\set ECHO all
SELECT sales_internal.make_due_reports();
SELECT next_run <= sales_internal.now() AS goes_on FROM sales_internal.periodic_tasks WHERE name = 'reports';
UPDATE sales_internal.periodic_tasks SET next_run = 'infinity' WHERE name = 'reports';
SELECT sales_internal.make_due_reports();
SELECT next_run <= sales_internal.now() AS goes_on FROM sales_internal.periodic_tasks WHERE name = 'reports';
SELECT report_type, report_period, count(*) FROM sales.success_reports r JOIN sales.companies c USING (company_id) WHERE c.domain LIKE 'many%' GROUP BY 1, 2 ORDER BY 1;
SELECT count(sales.delete_company(company_id)) FROM sales.companies WHERE domain LIKE 'many%';
UPDATE sales_internal.periodic_tasks SET next_run = now() WHERE name = 'reports';
-- Suggestions are measured from a week after they were carried out, and finally after five.
UPDATE sales.improvement_suggestions SET status = 'testing', implemented_at = '2026-05-10 00:00+00';
SELECT sales_internal.measure_suggestions();
SELECT result_measured FROM sales.improvement_suggestions;
SELECT sales_internal.measure_suggestions();
SET sales_assistant.clock = '2026-07-20 12:00:00+00';
SELECT sales_internal.measure_suggestions();
SELECT result_measured -> 'final' AS final FROM sales.improvement_suggestions;
SELECT sales_internal.measure_suggestions();
RESET sales_assistant.clock;
-- a report is done when generate_report() returns; who waits for it as for a job is told so, and nobody else
:be_alpha
SELECT sales.generate_report('monthly', '2026-04') AS report \gset
SELECT sales.wait_job(:'report', '0 seconds'), sales.report_html(:'report') LIKE '<!DOCTYPE html>%' AS page;
:be_beta
SELECT helpers.try(format('SELECT sales.wait_job(%L)', :'report'));
:be_super
\set ECHO none
DELETE FROM sales.interactions;
DELETE FROM sales.messages;
DELETE FROM sales.templates WHERE name LIKE '</table>%';
