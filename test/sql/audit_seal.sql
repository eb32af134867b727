\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
-- The log can be proven: whatever a superuser does to it is found.
:be_super
:be_alpha
INSERT INTO sales.prospects (first_name, notes, competitive_intel, estimated_budget_amount)
SELECT 'Seal' || g, repeat('long ', 20 * g), '{"a": [1, null, {"b": "é"}]}', g * 1.50 FROM generate_series(1, 250) g;
UPDATE sales.prospects SET last_name = 'Changed' WHERE first_name LIKE 'Seal1%';
SELECT sales.record_export('prospects', ARRAY(SELECT prospect_id FROM sales.prospects WHERE first_name IN ('Seal1', 'Seal2')), 'consent');
COPY (SELECT first_name FROM sales.prospects WHERE first_name IN ('Seal1', 'Seal2') ORDER BY 1) TO STDOUT;
SELECT table_name, record_id IS NULL AS many, new_values, gdpr_basis, user_id = sales.current_user_id() AS by_me, count(*)
FROM sales.audit_logs WHERE action = 'export' AND created_at > now() - interval '1 minute' GROUP BY 1, 2, 3, 4, 5 ORDER BY 2;
SELECT helpers.try('SELECT sales.record_export(''no_such_table'', ''{}'', ''consent'')');
BEGIN READ ONLY;
COPY sales.prospects TO STDOUT;
ROLLBACK;
-- values are stored as a restore will store them
SELECT bool_and(new_values = to_jsonb(p)) FROM sales.audit_logs l JOIN sales.prospects p ON p.prospect_id = l.record_id
WHERE l.action = 'create' AND p.first_name LIKE 'Seal2%';
:be_super
SELECT count(*) > 250 AS many, bool_and(sales_internal.audit_values_digest(digest, audit_id, old_values, new_values)
    = sales_internal.audit_values_digest(digest, audit_id, old_values::text::jsonb, new_values::text::jsonb)) AS same
FROM sales.audit_logs WHERE values_digest IS NULL AND company_id = helpers.company('alpha');
SELECT sales_internal.seal_audit(NULL, true) > 0 AS sealed, sales_internal.seal_audit() AS again;
:be_alpha
SELECT bool_and(ok), bool_or(detail LIKE '%not sealed%') FROM sales.verify_audit();
SELECT sales.audit_anchor() AS anchor \gset
SELECT bool_and(ok) FROM sales.verify_audit_anchor(:'anchor');
:be_beta
SELECT count(*) FROM sales.verify_audit_anchor(:'anchor');
-- changed, removed, added, moved in time, links cut: each is found, and only in Alpha
:be_super
SELECT audit_id AS victim FROM sales.audit_logs WHERE company_id = helpers.company('alpha') AND action = 'update' AND table_name = 'prospects'
ORDER BY audit_id DESC LIMIT 1 \gset
CREATE TEMP VIEW verdict AS -- other tests may have erased somebody
SELECT split_part(detail, ':', 1) AS company, bool_and(ok) AS ok,
       string_agg(regexp_replace(regexp_replace(regexp_replace(split_part(detail, ': ', 2), '; the values of \d+ rows were erased', ''), '[0-9a-f]{8}-[0-9a-f-]{27}', '<uuid>', 'g'), '\d+', 'N', 'g'), ' | ') FILTER (WHERE NOT ok) AS said
FROM sales.verify_audit() WHERE detail ~ '^(alpha|beta).test' GROUP BY 1 ORDER BY 1;
SET session_replication_role = replica;
BEGIN; UPDATE sales.audit_logs SET new_values = '{"x": 1}' WHERE audit_id = :'victim'; SELECT * FROM verdict; ROLLBACK;
BEGIN; UPDATE sales.audit_logs SET user_id = NULL WHERE audit_id = :'victim'; SELECT * FROM verdict; ROLLBACK;
BEGIN; DELETE FROM sales.audit_logs WHERE audit_id = :'victim'; SELECT * FROM verdict; ROLLBACK;
BEGIN; INSERT INTO sales.audit_logs (company_id, action) VALUES (helpers.company('alpha'), 'create'); SELECT * FROM verdict; ROLLBACK;
BEGIN; UPDATE sales.audit_logs SET created_at = created_at + interval '1 second' WHERE audit_id = :'victim'; SELECT * FROM verdict; ROLLBACK;
BEGIN; UPDATE sales.audit_logs SET new_values = '{"x": 1}', values_digest = sales_internal.audit_values_digest(digest, audit_id, old_values, new_values)
WHERE audit_id = :'victim'; SELECT * FROM verdict; ROLLBACK;
BEGIN; UPDATE sales_internal.audit_seals SET ids = array_remove(ids, :'victim'), chain = chain WHERE :'victim' = ANY (ids);
DELETE FROM sales.audit_logs WHERE audit_id = :'victim'; SELECT * FROM verdict; ROLLBACK;
-- reordered: two ids of a link change places
BEGIN; UPDATE sales_internal.audit_seals SET ids = ids[2:2] || ids[1:1] || ids[3:] WHERE :'victim' = ANY (ids); SELECT * FROM verdict; ROLLBACK;
-- cut off at the end, only the anchor tells
BEGIN; DELETE FROM sales_internal.audit_seals WHERE company_id = helpers.company('alpha');
SELECT ok, regexp_replace(split_part(detail, ';', 1), '\d+', 'N') FROM sales.verify_audit_anchor(:'anchor') ORDER BY period LIMIT 1; ROLLBACK;
RESET session_replication_role;
-- by SQL nobody adds a row; erasure keeps the chain
SELECT helpers.try('INSERT INTO sales.audit_logs (company_id, action) SELECT helpers.company(''alpha''), ''create''');
BEGIN;
SELECT sales_internal.audit_open_door();
UPDATE sales.audit_logs SET values_digest = sales_internal.audit_values_digest(digest, audit_id, old_values, new_values), old_values = NULL, new_values = NULL
WHERE audit_id = :'victim';
SELECT * FROM verdict;
ROLLBACK;
DELETE FROM sales.prospects WHERE first_name LIKE 'Seal%';
