\pset footer off
SELECT sales.use_session(sales.login('northwind.example', 'sam@northwind.example', 'demo-Sam-2026'), false)
    \g /dev/null
INSERT INTO sales.prospects (first_name, last_name, email) VALUES ('Nora', 'Northern', 'nora@client.example');
\echo '   Logged in as Sam of Northwind, who has made one prospect:'
SELECT (SELECT string_agg(first_name, ', ') FROM sales.prospects) AS prospects, (SELECT count(*) FROM sales.messages) AS messages,
       (SELECT count(*) FROM sales.interactions) AS interactions, (SELECT count(*) FROM sales.audit_logs
        WHERE table_name = 'prospects') AS audit_rows, (SELECT count(*) FROM sales_bi.daily_activity) AS bi_rows;
\set ON_ERROR_STOP off
\set VERBOSITY default
\echo '   He tries, and each try should end in an error.  A forged context:'
SET sales_assistant.context = 'v1.eyJjIjoiLi4uIn0.AAAA';
\echo '   A row written into another company:'
INSERT INTO sales.prospects (company_id, first_name) VALUES ('00000000-0000-7000-8000-000000000001', 'Mallory');
\echo '   A password hash:'
SELECT password_hash FROM sales.users;
\echo '   And Claire of Lumière, of Northwind''s prospect:'
SELECT sales.use_session(sales.login('lumiere.example', 'claire@lumiere.example', 'demo-Claire-2026'), false)
    \g /dev/null
SELECT count(*) AS prospects, count(*) FILTER (WHERE first_name = 'Nora') AS "of Northwind" FROM sales.prospects;
