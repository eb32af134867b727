\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- A table that ANALYZE saw empty, or never, is read by its best index all the same.
CREATE FUNCTION helpers.rows_of(query text) RETURNS numeric LANGUAGE plpgsql AS $$
DECLARE
    plan json;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
    RETURN plan #>> '{0,Plan,Plan Rows}';
END
$$;
CREATE FUNCTION helpers.index_of(query text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    plan text;
BEGIN
    EXECUTE 'EXPLAIN (FORMAT json) ' || query INTO plan;
    RETURN substring(plan FROM '"Index Name": "(\w+)"');
END
$$;
BEGIN;
-- nor has an ANALYZE that came by chance left anything, and none comes now
LOCK TABLE sales.prospects IN SHARE UPDATE EXCLUSIVE MODE;
DELETE FROM pg_statistic WHERE starelid = 'sales.prospects'::regclass;
SELECT company_id AS alpha FROM sales.companies WHERE domain = 'alpha.test' \gset
INSERT INTO sales.prospects (company_id, first_name, email)
SELECT company_id, 'F', format('p%s@%s', i, domain) FROM sales.companies, generate_series(1, 3000) i WHERE domain IN ('alpha.test', 'beta.test');
CREATE TABLE helpers.other AS SELECT i FROM generate_series(1, 6000) i;
UPDATE pg_class SET relpages = pg_relation_size(oid) / 8192, reltuples = 0
WHERE oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'sales.prospects'::regclass)
   OR oid IN ('sales.prospects'::regclass, 'helpers.other'::regclass);
SELECT helpers.rows_of('SELECT FROM sales.prospects') BETWEEN 1000 AND 20000 AS counted_by_pages, helpers.rows_of('SELECT FROM helpers.other') AS of_another_schema;
SELECT helpers.index_of(format('SELECT FROM sales.prospects WHERE company_id = %L AND prospect_id = %L', :'alpha', :'alpha'));
UPDATE pg_class SET relpages = 0, reltuples = -1
WHERE oid = 'sales.prospects'::regclass OR oid IN (SELECT indexrelid FROM pg_index WHERE indrelid = 'sales.prospects'::regclass);
SELECT helpers.rows_of('SELECT FROM sales.prospects') BETWEEN 1000 AND 20000 AS never_analyzed;
SELECT helpers.index_of(format('SELECT FROM sales.prospects WHERE company_id = %L AND prospect_id = %L', :'alpha', :'alpha'));
ROLLBACK;
DROP FUNCTION helpers.rows_of(text), helpers.index_of(text);
