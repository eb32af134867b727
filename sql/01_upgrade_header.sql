-- sales_assistant: an upgrade script, joined by the Makefile from sql/.
\echo Use "ALTER EXTENSION sales_assistant UPDATE" to load this file. \quit

-- Nothing that somebody has planted in the schema public is taken for PostgreSQL's
-- own: an operator or a function with closer types would be, in expressions here.
SET LOCAL search_path = pg_catalog, pg_temp;
