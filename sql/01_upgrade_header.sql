-- sales_assistant: an upgrade script, joined by the Makefile from sql/.
\echo Use "ALTER EXTENSION sales_assistant UPDATE" to load this file. \quit

