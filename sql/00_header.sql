-- sales_assistant: the install script, joined by the Makefile from sql/.
-- Complain if the script is sourced in psql rather than by CREATE EXTENSION.
\echo Use "CREATE EXTENSION sales_assistant" to load this file. \quit

