-- sales_assistant: the install script, joined by the Makefile from sql/.
-- Complain if the script is sourced in psql rather than by CREATE EXTENSION.
\echo Use "CREATE EXTENSION sales_assistant" to load this file. \quit

-- Nothing that somebody has planted in the schema public is taken for PostgreSQL's
-- own: an operator or a function with closer types would be, in expressions here.
SET LOCAL search_path = pg_catalog, pg_temp;
