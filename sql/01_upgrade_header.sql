-- sales_assistant: an upgrade script, joined by the Makefile from sql/.
\echo Use "ALTER EXTENSION sales_assistant UPDATE" to load this file. \quit

-- Nothing that somebody has planted in the schema public is taken for PostgreSQL's
-- own: an operator or a function with closer types would be, in expressions here.
SET LOCAL search_path = pg_catalog, pg_temp;

-- Citus takes one statement at a time for tables that it has spread, so no script.
DO $$
BEGIN
    IF 'sales.companies'::regclass = ANY (sales_internal.citus_tables()) THEN
        RAISE feature_not_supported USING MESSAGE = 'a database that distribute() has spread over a cluster cannot be updated in place',
            HINT = 'Take its companies to a cluster of the new version with sales.export_company() and sales.import_company(). See docs/citus.md.';
    END IF;
END
$$;
