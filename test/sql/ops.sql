\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- Partitions, maintain(), doctor(), settings; what PUBLIC and applications hold.
:be_super
SET sales_assistant.clock = '2026-11-15 12:00:00+00';
INSERT INTO sales.prospects (company_id, first_name) VALUES (helpers.company('alpha'), 'Ada') RETURNING prospect_id \gset
INSERT INTO sales.interactions (company_id, prospect_id, channel, type, interaction_date)
SELECT helpers.company('alpha'), :'prospect_id', 'email', 'sent', d
FROM unnest('{1999-12-31 23:59:59.999999+00,2000-01-01 00:00:00+00,2026-11-14 00:00:00+00,2027-03-31 23:59:59+00,2031-06-01 00:00:00+00}'::timestamptz[]) d;
SELECT count(*) AS before FROM sales.interactions \gset
SELECT bool_and(result NOT LIKE 'failed%') AS fine FROM sales.maintain();
SELECT tableoid::regclass::text AS partition, count(*) FROM sales.interactions WHERE prospect_id = :'prospect_id' GROUP BY 1 ORDER BY 1;
SELECT count(*) = :before AS kept FROM sales.interactions;
-- the first pass has rolled old days up, and made their years
SELECT sum(result::int) FROM sales.maintain() WHERE task = 'partitions';
SELECT (SELECT count(*) FROM sales.interactions_default) + (SELECT count(*) FROM sales.audit_logs_default) + (SELECT count(*) FROM sales.analytics_default) AS in_default;
SELECT count(*) FILTER (WHERE relname LIKE 'interactions_20%') >= 3 AS quarters, count(*) FILTER (WHERE relname LIKE 'audit_logs_20%') >= 3 AS months,
       count(*) FILTER (WHERE relname LIKE 'analytics_20%') >= 3 AS years, bool_and(relrowsecurity AND relforcerowsecurity) AS protected, bool_and(relacl IS NULL) AS no_grants
FROM pg_class WHERE relispartition AND relkind = 'r' AND relnamespace = 'sales'::regnamespace;
SELECT sum(result::int) FROM sales.maintain() WHERE task = 'partitions';
-- a new partition audits, refuses and hides as the others do
UPDATE sales.interactions SET subject = 'late' WHERE prospect_id = :'prospect_id' AND interaction_date > '2031-01-01';
SELECT table_name, action, new_values FROM sales.audit_logs ORDER BY audit_id DESC LIMIT 1;
DELETE FROM sales.audit_logs;
:be_beta
SELECT count(*) FROM sales.interactions;
SELECT count(*) FROM sales.interactions_2026_q4;
SELECT sales.maintain();
SELECT sales.doctor();
:be_super
-- the doctor finds what is put wrong
SELECT severity, finding FROM sales.doctor() WHERE severity = 'error';
CREATE ROLE regress_strong LOGIN BYPASSRLS IN ROLE sales_app;
CREATE TABLE sales.loose (company_id uuid);
GRANT SELECT ON sales.interactions_2026_q4, sales_internal.jobs TO sales_app;
GRANT UPDATE ON sales.users TO PUBLIC;
CREATE VIEW sales.leak AS SELECT * FROM sales.users;
SELECT severity, finding, hint FROM sales.doctor() WHERE severity = 'error' OR finding ~ 'PUBLIC|leak' ORDER BY finding;
REVOKE UPDATE ON sales.users FROM PUBLIC;
DROP VIEW sales.leak;
REVOKE SELECT ON sales.interactions_2026_q4, sales_internal.jobs FROM sales_app;
DROP TABLE sales.loose;
DROP ROLE regress_strong;
-- PUBLIC holds nothing
SELECT p.oid::regprocedure FROM pg_proc p, aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) a
WHERE p.pronamespace IN ('sales'::regnamespace, 'sales_bi'::regnamespace, 'sales_internal'::regnamespace) AND a.grantee = 0 ORDER BY 1;
SELECT c.oid::regclass FROM pg_class c, aclexplode(c.relacl) a
WHERE c.relnamespace IN ('sales'::regnamespace, 'sales_bi'::regnamespace, 'sales_internal'::regnamespace) AND a.grantee = 0;
-- definer functions pin their search_path
SELECT p.oid::regprocedure FROM pg_proc p WHERE p.pronamespace IN ('sales'::regnamespace, 'sales_bi'::regnamespace, 'sales_internal'::regnamespace)
  AND p.prosecdef AND NOT coalesce(p.proconfig, '{}') @> '{"search_path=pg_catalog, pg_temp"}' ORDER BY 1;
-- settings
:be_alpha
SELECT sales.setting('billing.currency'), sales.setting('billing.nonsense');
INSERT INTO sales.system_settings (category, key_name, value) VALUES ('billing', 'currency', 'CHF');
SELECT sales.setting('billing.currency');
SELECT sales.setting('nonsense');
:be_beta
SELECT sales.setting('billing.currency');
:be_super
DELETE FROM sales.system_settings WHERE key_name = 'currency';

-- statistics: tables that have none, and parents, which autovacuum passes by; then nothing is left to do
:be_super
SET session_replication_role = replica;
-- autovacuum, which may be at the table while it is empty, would call it known to be so
BEGIN;
ALTER TABLE sales.prospects SET (autovacuum_enabled = off);
UPDATE pg_class SET reltuples = -1 WHERE oid = 'sales.prospects'::regclass;
INSERT INTO sales.prospects (company_id, first_name, notes) SELECT helpers.company('alpha'), 'P' || g, repeat('x', 100) FROM generate_series(1, 3000) g;
INSERT INTO sales.interactions (company_id, prospect_id, channel, type, interaction_date)
SELECT company_id, prospect_id, 'email', 'sent', '2026-11-14' FROM sales.prospects WHERE notes ~ 'xxx';
COMMIT;
SELECT pg_stat_force_next_flush();
DELETE FROM pg_statistic WHERE starelid IN ('sales.prospects'::regclass, 'sales.interactions'::regclass);
SELECT sales_internal.keep_statistics() > 0 AS some;
-- what another was analyzing just then is taken up by the next pass
DO $$ BEGIN WHILE sales_internal.keep_statistics() > 0 LOOP PERFORM pg_sleep(0.01); END LOOP; END $$;
SELECT starelid::regclass, count(*) > 0 AS known FROM pg_statistic WHERE starelid IN ('sales.prospects'::regclass, 'sales.interactions'::regclass) GROUP BY 1 ORDER BY 1;
ALTER TABLE sales.prospects RESET (autovacuum_enabled);
DELETE FROM sales.interactions WHERE prospect_id IN (SELECT prospect_id FROM sales.prospects WHERE notes ~ 'xxx');
DELETE FROM sales.prospects WHERE notes ~ 'xxx';
RESET session_replication_role;
