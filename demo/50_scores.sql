\pset footer off
SELECT sales.use_session(sales.login('lumiere.example', 'claire@lumiere.example', 'demo-Claire-2026'), false)
    \g /dev/null
SELECT rows AS deals, round(auc::numeric, 3) AS auc, round(log_loss::numeric, 3) AS log_loss,
       round(brier::numeric, 3) AS brier
FROM sales.train_score_model();
SELECT sales.refresh_scores() AS scored \gset
\echo '  ' :scored 'prospects scored.  The best that are still open:'
SELECT first_name || ' ' || last_name AS prospect, company_name AS company, status, ai_score AS score
FROM sales.prospects WHERE status NOT IN ('client', 'perdu')
ORDER BY ai_score DESC NULLS LAST, prospect_id LIMIT 6;
\echo '   Why the first has that score; the points add up to it:'
SELECT feature, value, points
FROM sales.explain_score((SELECT prospect_id FROM sales.prospects WHERE status NOT IN ('client', 'perdu')
                          ORDER BY ai_score DESC NULLS LAST, prospect_id LIMIT 1))
WHERE points <> 0 ORDER BY abs(points) DESC LIMIT 7;
