\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- Scores: the prior, a model, explanations that add up.
:be_super
DELETE FROM sales.score_models;
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
