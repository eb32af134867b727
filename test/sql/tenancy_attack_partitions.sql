\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- Companies choose the dates of their rows, and could so have tables made without
-- end: partitions for rows in DEFAULT end at 160 of a parent, and those of now and
-- ahead are made all the same.
:be_super
SET client_min_messages = error;
SET sales_assistant.clock = '2026-11-15 12:00:00+00';
DO $$ BEGIN FOR i IN 1 .. 400 LOOP EXIT WHEN (SELECT count(*) FROM sales.maintain() m WHERE m.task = 'partitions' AND m.result <> '0') = 0; END LOOP; END $$;
BEGIN;
-- as many as there may be (bare ones, of times before the rows below)
DO $$
BEGIN
    FOR n IN 1 .. 160 - (SELECT count(*) FROM pg_inherits WHERE inhparent = 'sales.interactions'::regclass) LOOP
        EXECUTE format('CREATE TABLE sales.interactions_bare_%s PARTITION OF sales.interactions FOR VALUES FROM (%L) TO (%L)', n,
                       '1700-01-01'::timestamp + n * interval '1 day', '1700-01-02'::timestamp + n * interval '1 day');
    END LOOP;
END $$;
CREATE TEMP VIEW partitions AS SELECT i.inhrelid::regclass::text AS name FROM pg_inherits i WHERE i.inhparent = 'sales.interactions'::regclass;
SELECT count(*) FROM partitions;
:be_beta
INSERT INTO sales.prospects (first_name) VALUES ('Long ago') RETURNING prospect_id \gset
INSERT INTO sales.interactions (prospect_id, channel, type, interaction_date)
SELECT :'prospect_id', 'email', 'sent', '1950-01-15'::timestamp + n * interval '3 months' FROM generate_series(0, 19) n;
:be_super
SELECT sum(sales_internal.keep_partitions()) AS made FROM generate_series(1, 40);
SELECT count(*) AS partitions, count(*) FILTER (WHERE name ~ 'interactions_195') AS of_then FROM partitions;
SELECT count(*) AS prepared FROM pg_class WHERE relnamespace = 'sales'::regnamespace AND relname ~ 'interactions_195';
SELECT count(*) AS in_default FROM sales.interactions_default WHERE interaction_date < '1960-01-01';
-- its rows are there for it, and a new quarter comes
:be_beta
SELECT count(*) FROM sales.interactions;
:be_super
SET sales_assistant.clock = '2031-11-15 12:00:00+00';
SELECT sum(sales_internal.keep_partitions()) > 0 AS made FROM generate_series(1, 40);
SELECT name FROM partitions WHERE name ~ '(2031_q4|2032_q[12])$' ORDER BY name;
-- with room for one more there is one more
DROP TABLE sales.interactions_bare_1, sales.interactions_bare_2, sales.interactions_bare_3, sales.interactions_bare_4;
SELECT sum(sales_internal.keep_partitions()) AS made FROM generate_series(1, 40);
SELECT count(*) AS partitions, count(*) FILTER (WHERE name ~ 'interactions_195') AS of_then FROM partitions;
ROLLBACK;
\i :clean
