\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
-- What a pass of sealing reads follows the rows that are new, whatever the planner
-- knows of the tables, how much is sealed, and what transactions are open.
:be_super
SELECT sales.create_company('Seals', 'seals.test', 'starter', 'en', 'UTC', 'a@seals.test', 'seals-secret-1') AS seals \gset
-- an id of two hours ago; the n-th
CREATE FUNCTION helpers.old_id(n int) RETURNS uuid LANGUAGE sql AS $$
    SELECT (lpad(to_hex((extract(epoch FROM now() - interval '2 hours') * 1000)::bigint), 12, '0') || '7000' || lpad(to_hex(n), 16, '0'))::uuid $$;
-- 20,000 rows of two hours ago in a partition without statistics, and their links
SET session_replication_role = replica;
INSERT INTO sales.audit_logs (audit_id, company_id, action) SELECT helpers.old_id(g), :'seals', 'create' FROM generate_series(1, 20000) g;
RESET session_replication_role;
SELECT sales_internal.seal_audit(NULL, true) >= 20000 AS sealed;
-- the first passes of a database look at everything
INSERT INTO sales.products (company_id, name) VALUES (:'seals', 'Zero');
SELECT sales_internal.seal_audit() AS sealed;
-- Rows that a pass may read: those of the minute before the horizon and later; other tests may have made some.
CREATE FUNCTION helpers.recent() RETURNS bigint LANGUAGE sql AS $$
    SELECT count(*) FROM sales.audit_logs, sales_internal.audit_sealing
    WHERE audit_id >= (lpad(to_hex((extract(epoch FROM horizon - interval '1 minute') * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid $$;
-- Rows and links that this backend has read from the log and the chain in this transaction.
CREATE FUNCTION helpers.reads() RETURNS bigint LANGUAGE sql AS $$
    SELECT sum(coalesce(seq_tup_read, 0) + coalesce(idx_tup_fetch, 0))::bigint FROM pg_stat_xact_all_tables
    WHERE schemaname IN ('sales', 'sales_internal') AND relname ~ '^audit_(logs|seals)' $$;
-- A pass: what it seals of ours, and whether it read more than it should.
CREATE FUNCTION helpers.pass(everything boolean DEFAULT false, OUT read text, OUT unsealed bigint) LANGUAGE plpgsql AS $$
DECLARE
    recent bigint := helpers.recent();
    before bigint := helpers.reads();
BEGIN
    PERFORM sales_internal.seal_audit(NULL, everything);
    before := helpers.reads() - before;
    read := CASE WHEN before <= 3 * recent + 100 THEN 'what is new' WHEN before >= 20000 THEN 'what is old too' ELSE before || ' of ' || recent END;
    SELECT count(*) INTO unsealed FROM sales.audit_logs l
    WHERE l.company_id = helpers.company('seals') AND NOT EXISTS (SELECT FROM sales_internal.audit_seals s WHERE s.company_id = l.company_id AND l.audit_id = ANY (s.ids))
      AND l.audit_id > helpers.old_id(19000);
END $$;
-- Makes the prepared transaction, if it is listed, one that was open three hours ago.
CREATE FUNCTION helpers.date_back(OUT listed boolean) LANGUAGE plpgsql AS $$
DECLARE
    id xid8 := (SELECT transaction::text::xid8 FROM pg_prepared_xacts WHERE gid = 'regress_seal');
BEGIN
    listed := (SELECT id = ANY (open_xids) FROM sales_internal.audit_sealing);
    UPDATE sales_internal.audit_sealing SET open_xids = ARRAY[id], open_since = ARRAY[now() - interval '3 hours'] WHERE listed;
END $$;
INSERT INTO sales.products (company_id, name) VALUES (:'seals', 'One');
SELECT * FROM helpers.pass();
INSERT INTO sales.products (company_id, name) VALUES (:'seals', 'Two');
SELECT * FROM helpers.pass();
SELECT * FROM helpers.pass();
INSERT INTO sales.products (company_id, name) VALUES (:'seals', 'Three');
SELECT * FROM helpers.pass();
-- of one company, as verify_audit() and audit_anchor() do
BEGIN;
INSERT INTO sales.products (company_id, name) VALUES (:'seals', 'Four');
SELECT helpers.reads() AS before \gset
SELECT sales_internal.seal_audit(:'seals') AS sealed;
SELECT helpers.reads() - :before <= 3 * helpers.recent() + 100 AS few;
COMMIT;
-- with every kind of plan that the planner may come to
BEGIN;
SET LOCAL enable_indexscan = off; SET LOCAL enable_hashagg = off; SET LOCAL plan_cache_mode = force_generic_plan;
SELECT * FROM helpers.pass();
ROLLBACK;

-- A transaction that began two hours ago, as its id says, and is still open: passes go on as before.  The pass
-- after its end looks back to it, once.
BEGIN;
SET LOCAL session_replication_role = replica;
INSERT INTO sales.audit_logs (audit_id, company_id, action) VALUES (helpers.old_id(20001), :'seals', 'create');
PREPARE TRANSACTION 'regress_seal';
INSERT INTO sales.products (company_id, name) VALUES (:'seals', 'Five');
SELECT * FROM helpers.pass();
INSERT INTO sales.products (company_id, name) VALUES (:'seals', 'Six');
SELECT * FROM helpers.pass();
-- it was open at two passes
SELECT helpers.date_back();
INSERT INTO sales.products (company_id, name) VALUES (:'seals', 'Seven');
SELECT * FROM helpers.pass();
SELECT * FROM helpers.pass();
COMMIT PREPARED 'regress_seal';
SELECT * FROM helpers.pass();
SELECT now() - interval '1 hour' < ALL (open_since) AS forgotten FROM sales_internal.audit_sealing;
INSERT INTO sales.products (company_id, name) VALUES (:'seals', 'Eight');
SELECT * FROM helpers.pass();
-- one that is rolled back is looked for once, and then forgotten
BEGIN;
INSERT INTO sales.products (company_id, name) VALUES (:'seals', 'Nine');
PREPARE TRANSACTION 'regress_seal';
INSERT INTO sales.products (company_id, name) VALUES (:'seals', 'Ten');
SELECT * FROM helpers.pass();
INSERT INTO sales.products (company_id, name) VALUES (:'seals', 'Eleven');
SELECT * FROM helpers.pass();
SELECT helpers.date_back();
ROLLBACK PREPARED 'regress_seal';
SELECT * FROM helpers.pass();
SELECT * FROM helpers.pass();
SELECT now() - interval '1 hour' < ALL (open_since) AS forgotten FROM sales_internal.audit_sealing;
SELECT count(*) > 0 AS months, bool_and(detail !~ 'not sealed|chain') AS whole FROM sales.verify_audit() WHERE detail LIKE 'seals.test%';
SELECT sales.delete_company(:'seals');
DROP FUNCTION helpers.old_id(int), helpers.recent(), helpers.reads(), helpers.pass(boolean), helpers.date_back();
