\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
-- A month whose retention is over goes and leaves its links; the rest is as
-- provable as before.  What a superuser does to rows in the middle, at the end,
-- and not sealed yet; what only an exported anchor tells.
:be_super
BEGIN;
SELECT sales.create_company('Old', 'old.test', 'starter', 'en', 'UTC', 'a@old.test', 'old-secret-1') AS old,
       sales.create_company('Kept', 'kept.test', 'starter', 'en', 'UTC', 'a@kept.test', 'kept-secret-1') AS kept \gset
SELECT sales_internal.make_partition('audit_logs', '2019-01-15') \g /dev/null
CREATE FUNCTION pg_temp.write(at timestamptz) RETURNS bigint LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('sales_assistant.clock', at::text, true);
    INSERT INTO sales.products (company_id, name) SELECT company_id, at || ' ' || g FROM sales.companies, generate_series(1, 5) g WHERE domain IN ('old.test', 'kept.test');
    RETURN sales_internal.seal_audit(NULL, true);
END $$;
SELECT sales_internal.seal_audit(NULL, true) > 0 AS sealed;
SELECT pg_temp.write('2019-01-10 10:00+00'), pg_temp.write('2019-02-10 10:00+00'), pg_temp.write('2019-01-20 10:00+00'), pg_temp.write('2019-03-10 10:00+00');
CREATE TEMP TABLE anchor AS SELECT sales.audit_anchor() AS a;
INSERT INTO sales.system_settings (company_id, category, key_name, value) VALUES (:'old', 'privacy', 'retention_audit_months', '12');
SET LOCAL sales_assistant.clock = '2020-02-15 10:00+00';
SELECT sales_internal.seal_audit(NULL, true) > 0 AS sealed;
CREATE TEMP VIEW verdict AS
SELECT split_part(detail, ':', 1) AS company, period, rows, ok, regexp_replace(regexp_replace(coalesce(split_part(detail, ': ', 2), ''), '[0-9a-f]{8}-[0-9a-f-]{27}', '<uuid>', 'g'), 'number \d+', 'number N', 'g') AS said
FROM sales.verify_audit('2019-01-01', '2019-12-31') WHERE detail ~ '^(old|kept).test' ORDER BY 1, 2;
CREATE TEMP VIEW anchored AS
SELECT count(*), count(*) FILTER (WHERE NOT ok) AS bad, min(regexp_replace(split_part(detail, ';', 1), '\d+', 'N')) FILTER (WHERE NOT ok) AS said
FROM sales.verify_audit_anchor((SELECT a FROM anchor)) WHERE period < '2020-01-01';
SELECT * FROM verdict;
-- January goes, for Old alone
SELECT sales_internal.retain_audit(:'old'), sales_internal.retain_audit(:'kept');
SELECT * FROM verdict;
SELECT * FROM anchored;
SELECT sales_internal.drop_audit_partitions(), to_regclass('sales.audit_logs_2019_01') IS NULL AS gone;
-- its end is not for others to say, nor are its links for others to take
SAVEPOINT s; DELETE FROM sales_internal.audit_expiries WHERE company_id = :'old'; SELECT * FROM verdict WHERE NOT ok; ROLLBACK TO s;
UPDATE sales_internal.audit_expiries SET before = '2019-03-01'; SELECT * FROM verdict WHERE NOT ok; ROLLBACK TO s;
DELETE FROM sales_internal.audit_seals WHERE company_id = :'old' AND seal_no = (SELECT min(seal_no) FROM sales_internal.audit_seals WHERE company_id = :'old' AND month = '2019-01-01');
SELECT count(*) > 0 AS found FROM sales.verify_audit() WHERE NOT ok AND detail LIKE 'old.test%links are missing%'; SELECT * FROM anchored; ROLLBACK TO s;
UPDATE sales_internal.audit_seals SET chain = sha256(chain) WHERE company_id = :'old' AND month = '2019-01-01';
SELECT count(*) > 0 AS found FROM sales.verify_audit() WHERE NOT ok AND detail LIKE 'old.test%do not hold%'; ROLLBACK TO s;
-- when the other's is over too the partition goes, and both still verify
INSERT INTO sales.system_settings (company_id, category, key_name, value) VALUES (:'kept', 'privacy', 'retention_audit_months', '12');
SELECT sales_internal.retain_audit(:'kept');
SELECT sales_internal.drop_audit_partitions(), to_regclass('sales.audit_logs_2019_01') IS NULL AS gone;
SELECT * FROM verdict;
SELECT * FROM anchored;

-- in the middle of a sealed month
SET LOCAL session_replication_role = replica;
SELECT array_agg(audit_id ORDER BY audit_id) AS ids FROM sales.audit_logs WHERE company_id = :'kept' AND created_at >= '2019-02-01' AND created_at < '2019-03-01' \gset
SAVEPOINT s; DELETE FROM sales.audit_logs WHERE audit_id = (:'ids'::uuid[])[3]; SELECT * FROM verdict WHERE NOT ok; ROLLBACK TO s;
UPDATE sales.audit_logs SET new_values = jsonb_set(new_values, '{name}', '"forged"') WHERE audit_id = (:'ids'::uuid[])[3]; SELECT * FROM verdict WHERE NOT ok; ROLLBACK TO s;
-- two rows change their values, their places, a row is there twice, moves to another month or company
UPDATE sales.audit_logs l SET new_values = o.new_values, record_id = o.record_id FROM sales.audit_logs o
WHERE l.audit_id IN ((:'ids'::uuid[])[2], (:'ids'::uuid[])[3]) AND o.audit_id IN ((:'ids'::uuid[])[2], (:'ids'::uuid[])[3]) AND o.audit_id <> l.audit_id;
SELECT * FROM verdict WHERE NOT ok; ROLLBACK TO s;
UPDATE sales.audit_logs SET audit_id = CASE audit_id WHEN (:'ids'::uuid[])[2] THEN (:'ids'::uuid[])[4] ELSE (:'ids'::uuid[])[2] END,
    created_at = created_at + CASE audit_id WHEN (:'ids'::uuid[])[2] THEN interval '1 us' ELSE interval '2 us' END
WHERE audit_id IN ((:'ids'::uuid[])[2], (:'ids'::uuid[])[4]); SELECT * FROM verdict WHERE NOT ok; ROLLBACK TO s;
INSERT INTO sales.audit_logs SELECT sales.uuidv7(), company_id, user_id, table_name, record_id, action, old_values, new_values, ip_address, user_agent, gdpr_basis, created_at, digest
FROM sales.audit_logs WHERE audit_id = (:'ids'::uuid[])[3]; SELECT * FROM verdict WHERE NOT ok; ROLLBACK TO s;
UPDATE sales.audit_logs SET created_at = created_at + interval '1 month' WHERE audit_id = (:'ids'::uuid[])[3]; SELECT * FROM verdict WHERE NOT ok; ROLLBACK TO s;
UPDATE sales.audit_logs SET company_id = :'old' WHERE audit_id = (:'ids'::uuid[])[3]; SELECT * FROM verdict WHERE NOT ok; ROLLBACK TO s;
-- a whole month
DELETE FROM sales.audit_logs WHERE company_id = :'kept' AND created_at >= '2019-03-01' AND created_at < '2019-04-01'; SELECT * FROM verdict WHERE NOT ok; ROLLBACK TO s;
-- the tail with its links: only the anchor tells
WITH links AS (DELETE FROM sales_internal.audit_seals WHERE company_id = :'kept'
               AND seal_no >= (SELECT min(seal_no) FROM sales_internal.audit_seals WHERE company_id = :'kept' AND month = '2019-03-01') RETURNING ids)
DELETE FROM sales.audit_logs WHERE company_id = :'kept' AND audit_id IN (SELECT unnest(ids) FROM links);
SELECT * FROM verdict WHERE NOT ok; SELECT * FROM anchored; ROLLBACK TO s;
-- newest rows, not sealed yet: a changed or forged one is found, a removed one is not (docs/audit.md says so)
SET LOCAL session_replication_role = origin;
SET LOCAL sales_assistant.clock = '2019-06-01 10:00+00';
INSERT INTO sales.products (company_id, name) VALUES (:'kept', 'Newest') RETURNING product_id AS newest \gset
SET LOCAL session_replication_role = replica;
SAVEPOINT n; DELETE FROM sales.audit_logs WHERE record_id = :'newest'; SELECT * FROM verdict WHERE period = '2019-06-01'; ROLLBACK TO n;
UPDATE sales.audit_logs SET gdpr_basis = 'consent' WHERE record_id = :'newest'; SELECT * FROM verdict WHERE period = '2019-06-01'; ROLLBACK TO n;
UPDATE sales.audit_logs SET record_id = :'kept' WHERE record_id = :'newest'; SELECT * FROM verdict WHERE period = '2019-06-01'; ROLLBACK TO n;
-- what verify_audit() has said to be there is sealed
SELECT * FROM verdict WHERE period = '2019-06-01';
DELETE FROM sales.audit_logs WHERE record_id = :'newest'; SELECT * FROM verdict WHERE period = '2019-06-01';
ROLLBACK;
