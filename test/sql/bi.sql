-- Views for BI tools, read by a login that is a member of sales_bi and nothing else.
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\i :srcdir/clean.inc
\set ECHO none
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'regress_bi_reader') THEN
        CREATE ROLE regress_bi_reader LOGIN;
    END IF;
    GRANT sales_bi TO regress_bi_reader;
END
$$;
SELECT sales.bind_role('regress_bi_reader', helpers.company('alpha'));
\set ECHO all
SET sales_assistant.clock = '2026-05-20 12:00:00+00';
:be_alpha
INSERT INTO sales.templates (template_id, name, channel, language, content_template)
VALUES ('00000000-0000-7000-8000-0000000000f1', 'Hello', 'email', 'fr', 'x') ON CONFLICT DO NOTHING;
INSERT INTO sales.prospects (prospect_id, first_name, source, created_at, ai_score, industry_id, estimated_budget_amount)
SELECT ('00000000-0000-7000-8000-0000000000' || to_char(n, 'FM00'))::uuid, 'Secret' || n,
       CASE n % 2 WHEN 0 THEN 'api' ELSE 'manual' END::sales.prospect_source,
       '2026-04-06 10:00+00', n * 3, '5a1e5000-0000-7000-9000-000000000012', 1000
FROM generate_series(10, 29) AS n;
INSERT INTO sales.messages (message_id, prospect_id, channel, content, language, template_id)
SELECT ('00000000-0000-7000-8000-0000000001' || to_char(n, 'FM00'))::uuid, ('00000000-0000-7000-8000-0000000000' || to_char(n, 'FM00'))::uuid,
       'email', 'x', 'fr', '00000000-0000-7000-8000-0000000000f1'
FROM generate_series(10, 29) AS n;
INSERT INTO sales.interactions (prospect_id, user_id, channel, type, message_id, response_received, response_sentiment, interaction_date)
SELECT prospect_id, sales.current_user_id(), 'email', 'sent', message_id, right(message_id::text, 1) < '5', 'positive', '2026-04-07 10:00+00'
FROM sales.messages;
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at, deal_value, created_by)
SELECT ('00000000-0000-7000-8000-0000000000' || to_char(n, 'FM00'))::uuid, x.stage, x.at, x.amount, sales.current_user_id()
FROM generate_series(10, 29) AS n,
     LATERAL (VALUES ('contacte'::sales.funnel_stage, '2026-04-07 10:00+00'::timestamptz, NULL::numeric),
                     (CASE WHEN n < 16 THEN 'client' WHEN n < 20 THEN 'perdu' ELSE 'negociation' END::sales.funnel_stage,
                      '2026-04-17 10:00+00'::timestamptz, 500)) AS x (stage, at, amount);
INSERT INTO sales.enrichments (prospect_id, enrichment_type, source_api, confidence_score, cost, status, created_at)
SELECT prospect_id, 'website', 'local', 0.8, 0.01, 'completed', '2026-04-07 10:00+00' FROM sales.prospects;
INSERT INTO sales.email_campaigns (name, emails_delivered, emails_opened, emails_replied, created_at)
VALUES ('Spring', 8, 3, 1, '2026-04-07 10:00+00');
SELECT sales.refresh_metrics() AS days;
-- Deleted people count in what was done, not in what is open.
DELETE FROM sales.prospects WHERE prospect_id = '00000000-0000-7000-8000-000000000029';
:be_super
INSERT INTO sales_internal.ai_costs (company_id, provider, purpose, model, input_tokens, output_tokens, cost, spent_at)
VALUES (helpers.company('alpha'), 'openai', 'generation', 'm', 10, 20, 0.05, '2026-04-07 10:00+00');
-- A clock for the reader's session too.
ALTER ROLE regress_bi_reader SET timezone = 'UTC';
ALTER ROLE regress_bi_reader SET sales_assistant.clock = '2026-05-20 13:00:00+00';
SELECT current_user AS owner \gset
\c - regress_bi_reader
SELECT sales.current_company_id() IS NOT NULL AS bound, current_user;
SELECT count(*) FROM sales.prospects;
SELECT count(*) FROM sales.analytics;
SELECT date, week_start, prospects_added, prospects_contacted, messages_sent, messages_answered, response_rate, deals_won, deals_lost, revenue,
       freshness > '0' AS behind
FROM sales_bi.daily_activity ORDER BY date;
SELECT period_start, period_type, period, prospects_contacted, deals_won, revenue, sales_cycle_days, response_rate
FROM sales_bi.period_performance ORDER BY 2, 1;
-- (the cent depends on the compiler: sums of binary fractions)
SELECT stage, stage_order, prospects, deal_value, round(expected_value) AS expected_value FROM sales_bi.funnel_now ORDER BY stage_order;
SELECT week_start, from_stage, to_stage, moves, entries, rate, median_hours FROM sales_bi.funnel_flow ORDER BY 1, 2, 3;
SELECT currency, deals, pipeline_value, low_value <= expected_value AND expected_value <= high_value AS ordered,
       high_value <= pipeline_value AS bounded, expected_value < pipeline_value AS sober FROM sales_bi.forecast;
SELECT week_start, channel, messages_sent, messages_answered, prospects_contacted, response_rate FROM sales_bi.channel_performance;
SELECT week_start, template, messages_sent, messages_answered, response_rate FROM sales_bi.template_performance;
SELECT started_on, campaign, delivered, open_rate, reply_rate FROM sales_bi.campaign_performance;
SELECT week_start, role, messages_sent, deals_won, revenue FROM sales_bi.user_performance ORDER BY 1;
SELECT * FROM sales_bi.source_performance ORDER BY 1, 2;
SELECT decile, prospects, predicted, actual, gap FROM sales_bi.score_quality ORDER BY 1;
SELECT week_start, provider, model, currency, calls, cost FROM sales_bi.ai_cost;
SELECT week_start, enrichment_type, source, enrichments, success_rate, confidence, cost FROM sales_bi.enrichment_quality;
SELECT count(*) FROM sales_bi.sector_benchmark;
\c - :owner
SET client_min_messages = warning;
SET timezone = 'UTC';
-- Without a tenant there is nothing; another tenant sees its own.
SET ROLE sales_bi;
SELECT count(*) FROM sales_bi.funnel_now;
RESET ROLE;
:be_beta
SELECT count(*) FROM sales_bi.daily_activity;
:be_super
-- Every view: security_invoker, all commented, one column for time and perhaps the week, freshness.
SELECT c.relname,
       'security_invoker=true' = ANY (c.reloptions) AS invoker,
       bool_and(col_description(c.oid, a.attnum) IS NOT NULL) AND obj_description(c.oid) IS NOT NULL AS commented,
       count(*) FILTER (WHERE a.atttypid IN ('date'::regtype, 'timestamptz'::regtype) AND a.attname <> 'week_start'
                              OR a.attname = 'week_start' AND c.relname <> 'daily_activity') AS times,
       bool_or(a.attname = 'freshness') AS fresh
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0
WHERE c.relnamespace = 'sales_bi'::regnamespace AND c.relkind = 'v'
GROUP BY c.oid ORDER BY 1;
-- The readers' functions: definers with a pinned path, no grant to PUBLIC; sales_bi reaches no table of sales but reference data.
SELECT count(*) FROM pg_proc p
WHERE p.pronamespace = 'sales_bi'::regnamespace
  AND NOT (p.prosecdef AND p.proconfig = '{"search_path=pg_catalog, pg_temp"}'
           AND NOT has_function_privilege('public', p.oid, 'EXECUTE'));
SELECT c.relname FROM pg_class c
WHERE c.relnamespace IN ('sales'::regnamespace, 'sales_internal'::regnamespace) AND c.relkind IN ('r', 'p', 'v')
  AND has_any_column_privilege('sales_bi', c.oid, 'SELECT') ORDER BY 1;
-- The sector: five companies are a mean, four are not; what is published stays.
\set ECHO none
DO $$
DECLARE
    n integer;
    c uuid;
    p uuid;
BEGIN
    FOR n IN 1..4 LOOP
        c := sales.create_company('Peer ' || n, 'peer' || n || '.test', 'starter', 'en', 'UTC', NULL, NULL);
        p := sales.uuidv7();
        INSERT INTO sales.prospects (prospect_id, company_id, industry_id)
        VALUES (p, c, '5a1e5000-0000-7000-9000-000000000012');
        INSERT INTO sales.interactions (company_id, prospect_id, channel, type, response_received, interaction_date)
        SELECT c, p, 'email', 'sent', x <= n * 10, '2026-05-04 10:00+00' FROM generate_series(1, 100) AS x;
    END LOOP;
END
$$;
\set ECHO all
DELETE FROM sales_internal.sector_benchmarks;
DELETE FROM sales_internal.sector_members;
SET sales_assistant.clock = '2026-07-20 12:00:00+00';
-- Four companies with a sector, one without: not enough.
UPDATE sales.prospects SET industry_id = NULL WHERE company_id = helpers.company('alpha');
UPDATE sales_internal.metric_state SET sector_id = NULL;
SELECT sales_internal.refresh_all_metrics() > 0 AS some;
SELECT sales_internal.publish_benchmarks();
UPDATE sales.prospects SET industry_id = '5a1e5000-0000-7000-9000-000000000012' WHERE company_id = helpers.company('alpha');
:be_alpha
SELECT sales.refresh_metrics() >= 0 AS fine;
SELECT quarter_start, companies, response_rate, sector_response_rate FROM sales_bi.sector_benchmark;
:be_super
-- One company changes its past: what was published does not move.
UPDATE sales.interactions SET response_received = true WHERE company_id = (SELECT company_id FROM sales.companies WHERE domain = 'peer1.test');
SELECT sales_internal.refresh_all_metrics() > 0 AS some;
SELECT sales_internal.publish_benchmarks();
:be_alpha
SELECT quarter_start, companies, sector_response_rate FROM sales_bi.sector_benchmark;
:be_super
-- An open quarter: five companies in July, then a sixth of whom one figure could tell, then one of the five ends.
\set ECHO none
CREATE FUNCTION pg_temp.peer(peer text, hits integer, at timestamptz) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    c uuid := (SELECT company_id FROM sales.companies WHERE domain = peer || '.test');
    p uuid;
BEGIN
    IF c IS NULL THEN
        c := sales.create_company(peer, peer || '.test', 'starter', 'en', 'UTC', NULL, NULL);
        INSERT INTO sales.prospects (company_id, industry_id) VALUES (c, '5a1e5000-0000-7000-9000-000000000012');
    END IF;
    SELECT prospect_id INTO p FROM sales.prospects WHERE company_id = c LIMIT 1;
    INSERT INTO sales.interactions (company_id, prospect_id, channel, type, response_received, interaction_date)
    SELECT c, p, 'email', 'sent', x <= hits, at FROM generate_series(1, 100) AS x;
    PERFORM sales_internal.refresh_companies(ARRAY[c]);
END
$$;
SELECT pg_temp.peer(peer, 20, '2026-07-14 10:00+00') FROM unnest('{alpha,peer1,peer2,peer3,peer4}'::text[]) AS peer \g /dev/null
\set ECHO all
SELECT sales_internal.publish_benchmarks();
SELECT companies, response_rate FROM sales_internal.sector_benchmarks WHERE quarter_start = '2026-07-01' ORDER BY edition, companies;
SELECT pg_temp.peer('peer6', 100, '2026-07-14 10:00+00');
SELECT sales_internal.publish_benchmarks();
-- Nobody takes the place of one that ended, nor of one that left its contacts, not in the next week either.
SELECT sales.delete_company(company_id) FROM sales.companies WHERE domain = 'peer1.test';
SET sales_assistant.clock = '2026-07-28 12:00:00+00';
SELECT sales_internal.publish_benchmarks();
SELECT count(*) AS members, count(c.company_id) AS there FROM sales_internal.sector_members m LEFT JOIN sales.companies c ON c.company_id = m.member
WHERE m.quarter_start = '2026-07-01';
SELECT pg_temp.peer(peer, 100, '2026-07-14 10:00+00') FROM unnest('{peer7,peer8,peer9,peera}'::text[]) AS peer;
SELECT sales_internal.publish_benchmarks();
SELECT count(*) AS members FROM sales_internal.sector_members WHERE quarter_start = '2026-07-01';
SELECT companies, response_rate FROM sales_internal.sector_benchmarks WHERE quarter_start = '2026-07-01' ORDER BY edition, companies;
:be_alpha
SELECT quarter_start, companies, sector_response_rate FROM sales_bi.sector_benchmark ORDER BY 1;
-- A company's own choice of the first day of its weeks.
SELECT DISTINCT week_start, to_char(week_start, 'Dy') AS day FROM sales_bi.channel_performance ORDER BY 1;
INSERT INTO sales.system_settings (category, key_name, value) VALUES ('bi', 'week_start', 'sunday');
SELECT DISTINCT to_char(week_start, 'Dy') AS day FROM (
    SELECT week_start FROM sales_bi.channel_performance UNION ALL SELECT week_start FROM sales_bi.daily_activity
    UNION ALL SELECT week_start FROM sales_bi.funnel_flow UNION ALL SELECT week_start FROM sales_bi.template_performance
    UNION ALL SELECT week_start FROM sales_bi.user_performance UNION ALL SELECT week_start FROM sales_bi.source_performance
    UNION ALL SELECT week_start FROM sales_bi.ai_cost UNION ALL SELECT week_start FROM sales_bi.enrichment_quality) AS all_of_them;
SELECT bool_and(date - week_start BETWEEN 0 AND 6) AS within FROM sales_bi.daily_activity;
UPDATE sales.system_settings SET value = 'someday' WHERE category = 'bi';
SELECT DISTINCT to_char(week_start, 'Dy') AS day FROM sales_bi.daily_activity;
DELETE FROM sales.system_settings WHERE category = 'bi';
:be_super
-- A sum of deals: exact for two coins, mean kept.
SELECT sales_internal.deal_quantiles('{100,100}', '{0.5,0.5}', '{0.2,0.5,0.9}');
-- Quantiles of twelve deals beside all 4,096 ways in which they may come: the same to a step of the grid.
WITH deal AS (SELECT n, (n * 37 % 11 + 1) * 150.5::float8 AS amount, 0.05 + n * 0.07::float8 AS chance FROM generate_series(1, 12) AS n),
ways AS (SELECT w, sum(CASE WHEN w >> (n - 1) & 1 = 1 THEN amount ELSE 0 END) AS total,
                exp(sum(ln(CASE WHEN w >> (n - 1) & 1 = 1 THEN chance ELSE 1 - chance END))) AS mass
         FROM generate_series(0, 4095) AS w, deal GROUP BY w),
run AS (SELECT total, sum(mass) OVER (ORDER BY total) AS upto FROM ways)
SELECT q, abs((SELECT min(total) FROM run WHERE upto >= q - 1e-9)
              - (SELECT (sales_internal.deal_quantiles(array_agg(amount), array_agg(chance), ARRAY[q]))[1] FROM deal))
          <= (SELECT sum(amount) FROM deal) / 2000 * 6 AS same
FROM unnest('{0.05,0.1,0.5,0.9,0.95}'::float8[]) AS q;
-- Very many deals: the mean plus and minus 1.2816 deviations, to a step of the grid; and where all is certain.
SELECT abs(q[1] - (125000 - 1.2816 * 250)) <= 125 AND abs(q[2] - (125000 + 1.2816 * 250)) <= 125 AS same, sure
FROM (SELECT sales_internal.deal_quantiles(array_fill(1::float8, ARRAY[250000]), array_fill(0.5::float8, ARRAY[250000]), '{0.1,0.9}') AS q,
             sales_internal.deal_quantiles(array_fill(1::float8, ARRAY[250000]), array_fill(1::float8, ARRAY[250000]), '{0.1,0.9}') AS sure) x;
SELECT sales_internal.deal_quantiles('{}', '{}', '{0.1,0.9}');
SELECT sales_internal.deal_quantiles('{1}', '{0.5,0.5}', '{0.1}');
SELECT sales_internal.deal_quantiles('{1}', '{1.5}', '{0.1}');
SELECT round(sales_internal.proportions_p(10, 100, 20, 100)::numeric, 4) AS p, sales_internal.proportions_p(0, 10, 0, 10) AS same,
       sales_internal.proportions_p(1, 0, 1, 10) AS nothing;
\set ECHO none
SELECT count(sales.delete_company(company_id)) AS gone FROM sales.companies WHERE domain LIKE 'peer_.test';
SELECT sales.unbind_role('regress_bi_reader');
ALTER ROLE regress_bi_reader RESET sales_assistant.clock;
