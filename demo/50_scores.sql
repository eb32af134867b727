\pset footer off
SELECT sales.use_session(sales.login('lumiere.example', 'claire@lumiere.example', 'demo-Claire-2026'), false)
    \g /dev/null
SELECT count(*) FILTER (WHERE status = 'client') >= 5 AND count(*) FILTER (WHERE status = 'perdu') >= 15 AS enough
FROM sales.prospects \gset
\if :enough
SELECT rows AS deals, round(auc::numeric, 3) AS auc, round(log_loss::numeric, 3) AS log_loss,
       round(brier::numeric, 3) AS brier
FROM sales.train_score_model();
\else
\echo '   Too few deals are decided to learn from: the built-in prior scores.'
\endif
SELECT sales.refresh_scores() AS scored \gset
\echo '  ' :scored 'prospects scored.  The best that are still open:'
SELECT first_name || ' ' || last_name AS prospect, company_name AS company, status, ai_score AS score
FROM sales.prospects WHERE status NOT IN ('client', 'perdu')
ORDER BY ai_score DESC NULLS LAST, prospect_id LIMIT 6;
\echo '   Why the first has that score; the points add up to it:'
WITH point AS (
    SELECT e.*, row_number() OVER (ORDER BY abs(e.points) DESC, e.feature) AS place
    FROM (SELECT prospect_id FROM sales.prospects WHERE status NOT IN ('client', 'perdu')
          ORDER BY ai_score DESC NULLS LAST, prospect_id LIMIT 1) p
    CROSS JOIN LATERAL sales.explain_score(p.prospect_id) e
    WHERE e.points <> 0)
SELECT feature, value, points FROM (
    SELECT place, feature, value, points FROM point WHERE place <= 7
    UNION ALL SELECT 8, '(the others)', NULL, sum(points) FROM point WHERE place > 7
    UNION ALL SELECT 9, '= score', NULL, sum(points) FROM point) AS lines
WHERE points IS NOT NULL ORDER BY place;
