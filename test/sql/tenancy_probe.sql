\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
-- test_isolation(): nothing gets through, everything is tried, nothing stays;
-- and it notices when something is put wrong.
:be_super
SELECT count(*) > 0 AS maintained FROM sales.maintain() WHERE task = 'partitions';
SELECT count(*) AS companies FROM sales.companies \gset
SELECT count(*) AS audited FROM sales.audit_logs \gset
SELECT ok, count(*) > 200 AS many FROM sales.test_isolation() GROUP BY ok ORDER BY ok;
SELECT * FROM sales.test_isolation() WHERE ok IS NOT TRUE;
SELECT count(*) = :companies AS gone FROM sales.companies;
SELECT count(*) = :audited AS no_trace FROM sales.audit_logs;
-- every tenant table is in it, with its foreign keys
SELECT c.oid::regclass FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'company_id'
WHERE c.relnamespace = 'sales'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND EXISTS (SELECT FROM aclexplode(c.relacl) g WHERE g.grantee <> c.relowner)
  AND c.oid::regclass::text NOT IN (SELECT object FROM sales.test_isolation() WHERE attempt = 'insert' AND ok) ORDER BY 1;
SELECT count(*) > 25 AS references FROM sales.test_isolation() WHERE attempt LIKE 'reference%';
-- an operator may call it, an application may not
CREATE ROLE regress_operator LOGIN IN ROLE sales_admin;
SET SESSION AUTHORIZATION regress_operator;
SELECT bool_and(ok) FROM sales.test_isolation();
:be_alpha
SELECT sales.test_isolation();
:be_super
DROP ROLE regress_operator;
-- a loose policy beside the restrictive ones opens nothing (permissive ones are ORed, restrictive ones are not)
BEGIN;
CREATE POLICY loose ON sales.tasks USING (true) WITH CHECK (true);
SELECT ok, count(*) > 5 AS tried FROM sales.test_isolation() WHERE object = 'sales.tasks' GROUP BY ok;
ROLLBACK;
-- a loose policy alone, a view with its owner's rights, a granted partition: each is found
BEGIN;
DROP POLICY tenant_read ON sales.tasks;
DROP POLICY tenant_create ON sales.tasks;
DROP POLICY tenant_update ON sales.tasks;
DROP POLICY tenant_delete ON sales.tasks;
CREATE POLICY loose ON sales.tasks USING (true);
CREATE VIEW sales.leak AS SELECT * FROM sales.products;
GRANT SELECT ON sales.leak TO sales_app;
GRANT SELECT ON sales.interactions_default TO sales_app;
ALTER TABLE sales.interactions_default NO FORCE ROW LEVEL SECURITY;
ALTER TABLE sales.interactions_default DISABLE ROW LEVEL SECURITY;
-- (whether the probe's interactions lie in DEFAULT depends on which partitions there are)
SELECT object, attempt, CASE WHEN object <> 'sales.interactions_default' THEN outcome LIKE 'got%' END AS got
FROM sales.test_isolation() WHERE NOT ok ORDER BY object, attempt;
ROLLBACK;
-- a right on one column only, of a partition, of a table of the machinery, of a table with a loose policy
BEGIN;
GRANT SELECT (prospect_id) ON sales.interactions_default TO sales_app;
GRANT USAGE ON SCHEMA sales_internal TO sales_app;
GRANT SELECT (company_id) ON sales_internal.jobs TO sales_app;
CREATE TABLE sales.aside AS SELECT company_id, city FROM sales.addresses;
INSERT INTO sales.aside VALUES (sales.uuidv7(), 'Somewhere');
GRANT SELECT (city) ON sales.aside TO sales_app;
SELECT object, attempt, CASE WHEN object = 'sales.aside' THEN outcome LIKE 'got%' END AS got
FROM sales.test_isolation() WHERE NOT ok ORDER BY object, attempt;
ROLLBACK;
-- what was dropped since it was listed is passed over; what is there and fails otherwise is not
CREATE TABLE sales.dropped (company_id uuid);
SELECT 'sales.dropped'::regclass::oid AS dropped, helpers.company('alpha') AS alpha \gset
SELECT ok, attempt FROM sales_internal.attempt(:dropped, 'sales.dropped', 'read', 'SELECT 1/0', :'alpha');
DROP TABLE sales.dropped;
SELECT count(*) FROM sales_internal.attempt(:dropped, 'sales.dropped', 'read', 'SELECT count(*) FROM sales.dropped', :'alpha');
SELECT ok FROM sales_internal.attempt('sales.tasks'::regclass, 'sales.tasks', 'read', 'SELECT count(*) FROM sales.dropped', :'alpha');
