\pset footer off
SELECT sales.use_session(sales.login('northwind.example', 'sam@northwind.example', 'demo-Sam-2026'), false)
    \g /dev/null
\echo '   Logged in as Sam of Northwind, who owns no prospects yet:'
SELECT (SELECT count(*) FROM sales.prospects) AS prospects, (SELECT count(*) FROM sales.messages) AS messages,
       (SELECT count(*) FROM sales.interactions) AS interactions, (SELECT count(*) FROM sales.audit_logs
        WHERE table_name = 'prospects') AS audit_rows, (SELECT count(*) FROM sales_bi.daily_activity) AS bi_rows;
\set ON_ERROR_STOP off
\set VERBOSITY default
\echo '   A forged context:'
SET sales_assistant.context = 'v1.eyJjIjoiLi4uIn0.AAAA';
\echo '   A row written into another company:'
INSERT INTO sales.prospects (company_id, first_name) VALUES ('00000000-0000-7000-8000-000000000001', 'Mallory');
\echo '   A password hash:'
SELECT password_hash FROM sales.users;
