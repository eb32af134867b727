\pset footer off
SELECT sales.use_session(sales.login('lumiere.example', 'claire@lumiere.example', 'demo-Claire-2026'), false)
    \g /dev/null
SELECT table_name AS "table", action, count(*), count(user_id) AS "by a user"
FROM sales.audit_logs GROUP BY 1, 2 ORDER BY 3 DESC LIMIT 8;
