\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
-- A database that somebody has put wrong, in each way that lets rows through:
-- doctor() names it, and test_isolation() gets through where a statement can.
:be_super
SET client_min_messages = error;
SELECT count(*) > 0 AS maintained FROM sales.maintain() WHERE task = 'partitions';
CREATE TEMP VIEW told AS SELECT severity, finding FROM sales_internal.doctor_tenancy() ORDER BY severity, finding;
CREATE TEMP VIEW got_through AS SELECT object, attempt FROM sales.test_isolation() WHERE ok IS NOT TRUE ORDER BY object, attempt;
SELECT * FROM told;
SELECT * FROM got_through;
-- logins that skip row security: themselves, by another group, by a role that they may become
BEGIN;
CREATE ROLE regress_group NOLOGIN IN ROLE sales_app;
CREATE ROLE regress_strong LOGIN BYPASSRLS IN ROLE regress_group;
CREATE ROLE regress_super LOGIN SUPERUSER IN ROLE sales_bi;
CREATE ROLE regress_hidden NOLOGIN BYPASSRLS;
CREATE ROLE regress_middle NOLOGIN NOINHERIT IN ROLE regress_hidden;
CREATE ROLE regress_weak LOGIN NOINHERIT IN ROLE sales_app, regress_middle;
CREATE ROLE regress_dba LOGIN BYPASSRLS;
SELECT * FROM told;
ROLLBACK;
-- a login that owns a table, or may become its owner
BEGIN;
CREATE ROLE regress_owner NOLOGIN;
CREATE ROLE regress_app2 LOGIN IN ROLE sales_app, regress_owner;
ALTER TABLE sales.products OWNER TO regress_owner;
SELECT * FROM told WHERE finding LIKE '%regress%';
ROLLBACK;
-- a table that is not forced, one without row security, one of the DBA's own
BEGIN;
ALTER TABLE sales.products NO FORCE ROW LEVEL SECURITY;
ALTER TABLE sales.prospects DISABLE ROW LEVEL SECURITY;
CREATE TABLE sales.mine (company_id uuid, what text);
INSERT INTO sales.mine SELECT sales.uuidv7(), 'x';
GRANT SELECT, INSERT ON sales.mine TO sales_app;
SELECT * FROM told;
SELECT * FROM got_through;
ROLLBACK;
-- a policy that is gone, one made loose, one for another role, one of the DBA's
BEGIN;
DROP POLICY tenant_read ON sales.products;
ALTER POLICY tenant_update ON sales.prospects USING (true);
DROP POLICY tenant_create ON sales.tasks;
CREATE POLICY tenant_create ON sales.tasks AS RESTRICTIVE FOR INSERT TO sales_bi WITH CHECK (company_id = sales.company_allowing('tasks', 'create'));
DROP POLICY tenant_delete ON sales.addresses;
CREATE POLICY tenant_delete ON sales.addresses FOR DELETE USING (company_id = sales.company_allowing('addresses', 'delete'));
ALTER POLICY tenant_read ON sales.templates USING (company_id = sales.company_allowing('products', 'read'));
CREATE POLICY dba ON sales.users USING (true);
SELECT * FROM told;
SELECT * FROM got_through;
ROLLBACK;
-- a trigger that is off
BEGIN;
ALTER TABLE sales.users DISABLE TRIGGER audit;
SELECT * FROM told;
ROLLBACK;
-- grants: on a partition, a column of one, the machinery, a column of it, to a stranger, to PUBLIC, on schemas, of a function
BEGIN;
CREATE ROLE regress_stranger NOLOGIN;
GRANT SELECT ON sales.interactions_default TO sales_app;
GRANT SELECT (record_id) ON sales.audit_logs_default TO sales_app;
GRANT SELECT ON sales_internal.jobs TO sales_app;
GRANT SELECT (company_id), UPDATE (company_id) ON sales_internal.sessions TO regress_stranger;
GRANT SELECT, DELETE ON sales.prospects TO regress_stranger;
GRANT SELECT (password_hash) ON sales.users TO PUBLIC;
GRANT USAGE ON SCHEMA sales_internal TO sales_app;
GRANT CREATE ON SCHEMA sales TO sales_app;
GRANT EXECUTE ON FUNCTION sales_internal.hash_password(text) TO PUBLIC;
ALTER FUNCTION sales.import_csv(text, jsonb, jsonb) RESET search_path;
SELECT * FROM told;
SELECT * FROM got_through;
ROLLBACK;
-- views: in our schemas, in another, by a view in between, a barrier that keeps nothing, one of ours made loose, materialized
BEGIN;
CREATE SCHEMA regress_reports;
GRANT USAGE ON SCHEMA regress_reports TO sales_app;
CREATE VIEW sales.leak AS SELECT * FROM sales.products;
CREATE VIEW regress_reports.behind WITH (security_invoker = true) AS SELECT * FROM sales.prospects;
CREATE VIEW regress_reports.leak AS SELECT company_id, first_name FROM regress_reports.behind;
CREATE VIEW regress_reports.barrier WITH (security_barrier = true) AS SELECT * FROM sales.tasks;
CREATE MATERIALIZED VIEW regress_reports.kept AS SELECT company_id, name FROM sales.companies;
CREATE VIEW regress_reports.nobodys AS SELECT * FROM sales.users;
CREATE VIEW regress_reports.fine WITH (security_invoker = true) AS SELECT * FROM sales.products;
GRANT SELECT ON ALL TABLES IN SCHEMA regress_reports TO sales_app;
REVOKE SELECT ON regress_reports.nobodys FROM sales_app;
ALTER VIEW sales.current_prices RESET (security_invoker);
SELECT * FROM told;
SELECT * FROM got_through;
ROLLBACK;
SELECT * FROM told;
-- one who asks for jobs without end: named, and what the hint says is the end of it
BEGIN;
DELETE FROM sales_internal.jobs;
INSERT INTO sales_internal.jobs (company_id, kind) SELECT helpers.company('beta'), 'enrich' FROM generate_series(1, 100001);
ANALYZE sales_internal.jobs;
SELECT severity, finding, regexp_replace(hint, '[0-9a-f]{8}-[0-9a-f-]{27}', '<uuid>') AS hint FROM sales.doctor() WHERE finding LIKE 'company %';
UPDATE sales.companies SET subscription_status = 'suspended' WHERE domain = 'beta.test';
INSERT INTO sales_internal.jobs (company_id, kind) VALUES (helpers.company('alpha'), 'enrich');
SELECT (SELECT domain FROM sales.companies c WHERE c.company_id = j.company_id) AS claimed FROM sales_internal.claim_jobs(10) j;
:be_beta
SELECT helpers.try('SELECT sales.generate_report(''weekly'', ''2026-W10'')');
:be_super
WITH gone AS (DELETE FROM sales_internal.jobs WHERE company_id = helpers.company('beta') AND state = 'queued' RETURNING 1) SELECT count(*) FROM gone;
SELECT count(*) FROM sales.doctor() WHERE finding LIKE 'company %';
ROLLBACK;
