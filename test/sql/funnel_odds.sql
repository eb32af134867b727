-- Chances are calibrated: of the deals said to be won with a chance of 20 %, one in five is, silent ones reckoned with.
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\i :srcdir/clean.inc
\set ECHO none
SELECT setseed(0.1) \g /dev/null
-- What becomes of 2,000 prospects: half of those contacted are interested, a third of the rest says no, and the others
-- are never heard of again; and so on.  Two in three are known by the day on which the chances are asked for.
CREATE TEMP TABLE fate AS
SELECT sales.uuidv7() AS id, '2025-01-01'::timestamptz + random() * interval '500 days' AS t0,
       random() AS a, random() AS a2, -ln(random()) * 10 AS d1, -ln(random()) * 20 AS d1x,
       random() AS b, -ln(random()) * 12 AS d2, -ln(random()) * 15 AS d2x,
       random() AS c, -ln(random()) * 20 AS d3, -ln(random()) * 25 AS d3x
FROM generate_series(1, 2000);
CREATE TEMP TABLE moves AS
SELECT id, 'contacte' AS stage, t0 AS at FROM fate
UNION ALL SELECT id, 'perdu', t0 + d1x * interval '1 day' FROM fate WHERE a >= 0.5 AND a2 < 0.3
UNION ALL SELECT id, 'interesse', t0 + d1 * interval '1 day' FROM fate WHERE a < 0.5
UNION ALL SELECT id, 'perdu', t0 + (d1 + d2x) * interval '1 day' FROM fate WHERE a < 0.5 AND b >= 0.6 AND b < 0.8
UNION ALL SELECT id, 'proposition_envoyee', t0 + (d1 + d2) * interval '1 day' FROM fate WHERE a < 0.5 AND b < 0.6
UNION ALL SELECT id, 'client', t0 + (d1 + d2 + d3) * interval '1 day' FROM fate WHERE a < 0.5 AND b < 0.6 AND c < 0.5
UNION ALL SELECT id, 'perdu', t0 + (d1 + d2 + d3x) * interval '1 day' FROM fate WHERE a < 0.5 AND b < 0.6 AND c >= 0.5 AND c < 0.85;
INSERT INTO sales.prospects (prospect_id, company_id, first_name, created_at)
SELECT id, helpers.company('alpha'), 'x', t0 FROM fate;
INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, stage_entered_at)
SELECT helpers.company('alpha'), id, stage::sales.funnel_stage, at FROM moves WHERE at <= '2025-11-01 00:00+00';
SET sales_assistant.clock = '2025-11-01 00:00+00';
CREATE TEMP TABLE guess AS
SELECT o.*, EXISTS (SELECT FROM moves m WHERE m.id = o.prospect_id AND m.stage = 'client') AS won
FROM sales_internal.standings(helpers.company('alpha')) o WHERE o.stage NOT IN ('client', 'perdu');
GRANT SELECT ON guess TO sales_app;
\set ECHO all
SELECT count(*) BETWEEN 500 AND 900 AS open, count(*) FILTER (WHERE won) BETWEEN 15 AND 50 AS wins,
       abs(avg(chance) / avg(won::integer) - 1) < 0.25 AS calibrated, avg((chance - won::integer) ^ 2) < 0.04 AS sharp
FROM guess;
SELECT stage, abs(avg(chance) - avg(won::integer)) < 0.08 AS calibrated FROM guess GROUP BY stage ORDER BY stage;
-- One call gives what the whole gives.
:be_alpha
SELECT count(*) AS differences FROM (SELECT * FROM guess ORDER BY prospect_id LIMIT 40) AS g
WHERE sales.conversion_probability(g.prospect_id) <> round(g.chance, 2);
SELECT sales.refresh_metrics('2025-10-01', '2025-10-01') >= 0 AS fine;
:be_super
-- New entries have the chance of their stage.
SELECT stage, deals > 100 AS many, share BETWEEN 0.05 AND 0.7 AS fair FROM sales_internal.stage_odds
WHERE company_id = helpers.company('alpha') AND stage IN ('contacte', 'interesse', 'proposition_envoyee') ORDER BY stage;
SELECT count(*) FROM sales_internal.stage_odds WHERE company_id = helpers.company('beta');
-- A company with few deals: who has been silent for long is not called likely because the company has no history to say so.
DELETE FROM sales.prospects WHERE company_id = helpers.company('beta');
INSERT INTO sales.prospects (company_id, last_name) SELECT helpers.company('beta'), n FROM generate_series(1, 24) AS n;
INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, stage_entered_at)
SELECT company_id, prospect_id, 'interesse', CASE WHEN n > 21 THEN '2025-10-31' ELSE '2025-01-01' END::timestamptz
FROM (SELECT *, last_name::int AS n FROM sales.prospects WHERE company_id = helpers.company('beta')) AS p;
INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, stage_entered_at)
SELECT company_id, prospect_id, 'client', '2025-01-01'::timestamptz + last_name::int * interval '2 days'
FROM sales.prospects WHERE company_id = helpers.company('beta') AND last_name::int <= 6;
SELECT entered_at > '2025-06-01' AS fresh, count(*), min(chance) > 0.2 AS likely, max(chance) < 0.02 AS forlorn, min(deals) >= 10 AS evidence
FROM sales_internal.standings(helpers.company('beta')) WHERE stage NOT IN ('client', 'perdu') GROUP BY 1 ORDER BY 1;
-- Time only ever takes from a chance.
SELECT bool_and(b < a) AS falls, bool_and(a BETWEEN 0 AND 0.4) AS between
FROM (SELECT sales_internal.waiting_chance(0.4, 0.7, 720, h) AS a, sales_internal.waiting_chance(0.4, 0.7, 720, h + 24) AS b FROM generate_series(0, 8000, 24) AS h) AS x;
DELETE FROM sales.prospects WHERE company_id = helpers.company('beta');
RESET sales_assistant.clock;
