\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- Scores: the generic learner, the prior, a model, explanations that add up.
:be_super
DELETE FROM sales.score_models;
-- what decides is found; the same rows give the same model
CREATE TABLE helpers.deals AS
SELECT g AS id, (hashint4(g) & 1023) / 1023.0 AS noise, CASE WHEN g % 10 < 3 THEN 'fair' WHEN g % 10 < 5 THEN NULL ELSE 'web' END AS origin,
       (g % 7)::numeric AS size, (g % 3 = 0) AS flag, date '2026-01-01' + g % 50 AS day,
       ((hashint4(g * 31) & 1023) / 1023.0 < 0.1 + 0.35 * (g % 10 < 3)::int + 0.06 * (g % 7))::int AS won
FROM generate_series(1, 3000) g;
SELECT sales_internal.train_scorecard('helpers.deals', 'won') AS model \gset
SELECT sales_internal.train_scorecard('helpers.deals', 'won') AS again \gset
SELECT rows, auc > 0.7 AS ranks, brier < 0.21 AS close FROM sales_internal.scorecards WHERE model_id = :'model';
SELECT (SELECT model FROM sales_internal.scorecards WHERE model_id = :'model')
     = (SELECT model FROM sales_internal.scorecards WHERE model_id = :'again') AS deterministic;
SELECT count(*), min(probability) > 0 AND max(probability) < 1 AS inside,
       abs(avg(probability) - (SELECT avg(won) FROM helpers.deals)) < 0.01 AS calibrated
FROM sales_internal.apply_scorecard(:'model', 'helpers.deals');
SELECT bool_and(abs(1 / (1 + exp(-p.total)) - a.probability) < 1e-9) AS adds_up
FROM (SELECT key, sum(points) AS total FROM sales_internal.scorecard_points(:'model', 'helpers.deals') GROUP BY key) p
JOIN sales_internal.apply_scorecard(:'model', 'helpers.deals') a USING (key);
-- bad input
CREATE TABLE helpers.odd AS SELECT g AS id, 'NaN'::float8 AS nan, 'infinity'::float8 AS inf, NULL::text AS nothing, 5 AS same,
    md5(g::text) AS every, (g % 2)::int AS won, 1 AS one, 7 AS seven, 'x'::text AS word FROM generate_series(1, 100) g;
SELECT sales_internal.train_scorecard('helpers.odd', 'won', '{"exclude": ["one", "seven"]}') IS NOT NULL AS copes;
SELECT sales_internal.train_scorecard('helpers.odd', 'one');
SELECT sales_internal.train_scorecard('helpers.odd', 'seven');
SELECT sales_internal.train_scorecard('helpers.odd', 'word');
SELECT sales_internal.train_scorecard('helpers.odd', 'absent');
SELECT sales_internal.apply_scorecard('00000000-0000-7000-8000-00000000000f', 'helpers.odd');
CREATE VIEW helpers.three AS SELECT * FROM helpers.odd ORDER BY id LIMIT 3;
SELECT sales_internal.train_scorecard('helpers.three', 'won');
DROP TABLE helpers.deals, helpers.odd CASCADE;
-- before anything is learned: the prior; nothing known: no score
:be_alpha
INSERT INTO sales.prospects (first_name) VALUES ('Nobody');
INSERT INTO sales.prospects (first_name, email, job_title, estimated_budget_amount, company_name)
VALUES ('Top', 'top@x.test', 'CEO', 50000, 'X'), ('Low', 'low@x.test', NULL, 500, 'X');
SELECT sales.refresh_scores();
SELECT first_name, ai_score FROM sales.prospects ORDER BY first_name;
SELECT sum(points) = sales.score(prospect_id) AS adds_up
FROM sales.prospects CROSS JOIN LATERAL sales.explain_score(prospect_id) GROUP BY prospect_id, first_name ORDER BY first_name;
SELECT * FROM sales.train_score_model();
-- with outcomes: a model of the company's own
INSERT INTO sales.prospects (first_name, email, job_title, company_size_id)
SELECT 'P' || g, 'p' || g || '@x.test', CASE WHEN g % 2 = 0 THEN 'Director' END,
       (SELECT size_id FROM sales.company_sizes WHERE size_range = CASE WHEN g % 3 = 0 THEN '1-10' ELSE '51-200' END)
FROM generate_series(1, 200) g;
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at)
SELECT prospect_id, (CASE WHEN substr(first_name, 2)::int % 3 <> 0 AND substr(first_name, 2)::int % 2 = 0 THEN 'client' ELSE 'perdu' END)::sales.funnel_stage, now()
FROM sales.prospects WHERE first_name ~ '^P\d+$' AND substr(first_name, 2)::int <= 150;
SELECT rows, auc > 0.95 AS ranks FROM sales.train_score_model();
SELECT version, rows, is_current FROM sales.score_models;
SELECT sales.refresh_scores();
SELECT min(ai_score) FILTER (WHERE substr(first_name, 2)::int % 3 <> 0 AND substr(first_name, 2)::int % 2 = 0)
     > max(ai_score) FILTER (WHERE NOT (substr(first_name, 2)::int % 3 <> 0 AND substr(first_name, 2)::int % 2 = 0)) AS separates
FROM sales.prospects WHERE first_name ~ '^P\d+$' AND substr(first_name, 2)::int > 150;
SELECT bool_and(ok) AS all_add_up FROM (
    SELECT sum(points) = sales.score(prospect_id) AS ok
    FROM (SELECT prospect_id FROM sales.prospects ORDER BY email LIMIT 20) p CROSS JOIN LATERAL sales.explain_score(prospect_id)
    GROUP BY prospect_id) x;
SELECT count(DISTINCT model_version) AS versions FROM sales.score_history;
-- the other company: its own prior, none of this
:be_beta
SELECT count(*) FROM sales.score_models;
SELECT sales.score('00000000-0000-7000-8000-000000000001');
:be_super
SELECT count(*) FROM sales_internal.scorecards WHERE rows = 0;
