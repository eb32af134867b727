\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
-- A BI tool's login: bound by bind_role(), in its company from the first query,
-- with no call; what Metabase, Grafana and sqlpad ask the catalogue works for it
-- and shows the comments.
:be_super
CREATE ROLE regress_metabase LOGIN IN ROLE sales_bi;
SELECT sales.bind_role('regress_metabase', helpers.company('alpha')) \g /dev/null
\set superuser :USER
\c - regress_metabase
-- as Metabase syncs: schemas and tables with remarks, those that may be read
SELECT n.nspname, count(*) AS views, bool_and(d.description <> '') AS commented
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
LEFT JOIN pg_catalog.pg_description d ON d.objoid = c.oid AND d.objsubid = 0 AND d.classoid = 'pg_class'::regclass
WHERE n.nspname !~ '^(pg_|information_schema)' AND c.relkind IN ('r', 'v', 'p', 'm', 'f') AND NOT c.relispartition
  AND has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
GROUP BY n.nspname ORDER BY 1;
SELECT table_schema, count(DISTINCT table_name) AS views FROM information_schema.columns
WHERE table_schema IN ('sales', 'sales_bi', 'sales_internal') GROUP BY 1 ORDER BY 1;
-- as Grafana's query builder: tables, then columns with their types, then a time column
SELECT quote_ident(table_name) FROM information_schema.tables WHERE quote_ident(table_schema) = 'sales_bi' ORDER BY 1;
SELECT quote_ident(column_name) AS text, data_type AS type FROM information_schema.columns
WHERE quote_ident(table_schema) || '.' || quote_ident(table_name) = 'sales_bi.daily_activity' ORDER BY ordinal_position LIMIT 3;
SELECT t.table_name, count(*) FILTER (WHERE c.data_type IN ('date', 'timestamp with time zone')) AS time_columns
FROM information_schema.tables t JOIN information_schema.columns c USING (table_schema, table_name)
WHERE table_schema = 'sales_bi' GROUP BY 1 HAVING count(*) FILTER (WHERE c.data_type IN ('date', 'timestamp with time zone')) = 0 ORDER BY 1;
-- as sqlpad: every column with its description
SELECT count(*) > 80 AS columns, count(*) FILTER (WHERE coalesce(col_description(a.attrelid, a.attnum), '') = '') AS without_description
FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'sales_bi' AND c.relkind = 'v' AND a.attnum > 0 AND NOT a.attisdropped;
-- its company alone, no person, nothing to write
SELECT sales.current_company_id() IS NOT NULL AS bound, sales.current_user_id() IS NULL AS nobody;
SELECT helpers.try('SELECT * FROM sales.prospects');
SELECT helpers.try('SELECT * FROM sales.users');
SELECT helpers.try('SELECT * FROM sales.audit_logs');
SELECT helpers.try('SELECT * FROM sales.jobs');
SELECT helpers.try('DELETE FROM sales_bi.daily_activity');
SELECT count(*) FROM information_schema.columns WHERE table_schema = 'sales_bi'
  AND column_name IN ('first_name', 'last_name', 'email', 'phone', 'linkedin_url', 'content', 'notes', 'street_address');
SELECT count(*) >= 0 AS reads FROM sales_bi.daily_activity;
-- every session begins so; nothing ends it but unbind_role()
RESET ALL;
DISCARD ALL;
SELECT sales.current_company_id() IS NOT NULL AS bound;
\c - :superuser
SET client_min_messages = warning;
SELECT sales.unbind_role('regress_metabase') \g /dev/null
\c - regress_metabase
SELECT count(*) FROM sales_bi.daily_activity;
\c - :superuser
DROP ROLE regress_metabase;
