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
-- its privileges, by which it chooses what to sync: on what it may use, it reads and changes nothing
SELECT n.nspname, bool_and(has_any_column_privilege(current_user, c.oid, 'select')) AS reads,
       bool_or(has_any_column_privilege(current_user, c.oid, 'insert') OR has_any_column_privilege(current_user, c.oid, 'update') OR has_table_privilege(current_user, c.oid, 'delete')) AS writes
FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname = 'sales_bi' AND c.relkind IN ('r', 'v', 'm', 'p', 'f') GROUP BY 1;
-- its fields: by names that are made a regclass, with keys (views have none) and remarks
SELECT count(*) > 80 AS fields, count(*) FILTER (WHERE is_key) AS keys, count(*) FILTER (WHERE coalesce(remark, '') = '') AS without_remark, min(database_type), count(DISTINCT table_name) AS views
FROM (SELECT c.column_name AS name, c.table_name, CASE WHEN c.udt_schema IN ('public', 'pg_catalog') THEN format('%s', c.udt_name) ELSE format('"%s"."%s"', c.udt_schema, c.udt_name) END AS database_type,
             k.column_name IS NOT NULL AS is_key, col_description(format('%I.%I', c.table_schema::text, c.table_name::text)::regclass::oid, c.ordinal_position) AS remark
      FROM information_schema.columns c
      LEFT JOIN (SELECT u.table_schema, u.table_name, u.column_name FROM information_schema.table_constraints t
                 JOIN information_schema.key_column_usage u ON u.constraint_name = t.constraint_name AND u.table_schema = t.table_schema AND u.table_name = t.table_name
                 WHERE t.constraint_type = 'PRIMARY KEY') k ON k.table_schema = c.table_schema AND k.table_name = c.table_name AND k.column_name = c.column_name
      WHERE c.table_schema !~ '^information_schema|catalog_history|pg_' AND c.table_schema = 'sales_bi') fields;
-- as Grafana's query builder: what version, which schemas, then tables, then columns with their types, then a time column
SELECT current_setting('server_version_num')::int / 100 >= 1500 AS version;
SELECT schema_name AS name FROM information_schema.schemata WHERE schema_name NOT IN ('information_schema', 'pg_catalog', 'pg_toast') AND schema_name LIKE 'sales%' ORDER BY 1;
SELECT quote_ident(table_name) AS "table" FROM information_schema.tables WHERE quote_ident(table_schema) = 'sales_bi' ORDER BY 1;
SELECT count(*) AS with_their_schema FROM (
    SELECT CASE WHEN quote_ident(table_schema) IN (SELECT CASE WHEN trim(s) = '"$user"' THEN user ELSE trim(s) END FROM unnest(string_to_array(current_setting('search_path'), ',')) s)
                THEN quote_ident(table_name) ELSE quote_ident(table_schema) || '.' || quote_ident(table_name) END AS "table"
    FROM information_schema.tables WHERE quote_ident(table_schema) NOT IN ('information_schema', 'pg_catalog')) t WHERE "table" LIKE 'sales\_bi.%';
SELECT quote_ident(column_name) AS "column", data_type AS "type" FROM information_schema.columns
WHERE CASE WHEN array_length(parse_ident('sales_bi.daily_activity'), 1) = 2
           THEN quote_ident(table_schema) = (parse_ident('sales_bi.daily_activity'))[1] AND quote_ident(table_name) = (parse_ident('sales_bi.daily_activity'))[2] END
ORDER BY ordinal_position LIMIT 3;
SELECT t.table_name, count(*) FILTER (WHERE c.data_type IN ('date', 'timestamp with time zone')) AS time_columns
FROM information_schema.tables t JOIN information_schema.columns c USING (table_schema, table_name)
WHERE table_schema = 'sales_bi' GROUP BY 1 HAVING count(*) FILTER (WHERE c.data_type IN ('date', 'timestamp with time zone')) = 0 ORDER BY 1;
-- as sqlpad: every column of every schema with its type, by way of the array's, and its description
SELECT count(*) FILTER (WHERE table_schema = 'sales_bi') > 80 AS columns, count(DISTINCT table_name) FILTER (WHERE table_schema = 'sales_bi') AS views,
       count(*) FILTER (WHERE table_schema = 'sales_bi' AND coalesce(description, '') = '') AS without_description, bool_or(data_type = 'numeric') AS types
FROM (SELECT n.nspname AS table_schema, c.relname AS table_name, a.attname AS column_name, trim(leading '_' FROM t.typname) AS data_type, col_description(a.attrelid, a.attnum) AS description
      FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace
      JOIN pg_catalog.pg_type t ON t.typelem = a.atttypid AND t.typname LIKE '\_%'
      WHERE c.relkind IN ('r', 'v', 'm') AND n.nspname NOT IN ('pg_catalog', 'pg_toast', 'information_schema') AND NOT a.attisdropped AND a.attnum > 0) x;
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
