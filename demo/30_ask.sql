-- Jobs for the workers: check every address, write to the first forty.
SELECT sales.use_session(sales.login('lumiere.example', 'claire@lumiere.example', 'demo-Claire-2026'), false)
    \g /dev/null
SELECT count(sales.enrich(prospect_id, 'email_validation')) || ' e-mail addresses to check' AS asked
FROM sales.prospects \gset
\echo '  ' :asked
SELECT count(sales.generate_message(prospect_id, 'email')) || ' messages to write' AS asked
FROM (SELECT prospect_id FROM sales.prospects ORDER BY prospect_id LIMIT 40) p \gset
\echo '  ' :asked
