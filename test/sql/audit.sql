\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
-- Every change of a tenant's row is on record; nobody changes the record.
-- Other tests may have left rows in the log: ours are later.
SELECT sales.uuidv7() AS start \gset
:be_alpha
SET sales_assistant.gdpr_basis = 'consent';
INSERT INTO sales.prospects (first_name, last_name, email, notes)
VALUES ('Audrey', 'Audit', 'audrey@audit.test', repeat('long ', 5000)) RETURNING prospect_id \gset
UPDATE sales.prospects SET last_name = 'Changed', competitive_intel = '{"a": [1, {"b": null}], "c": "é"}' WHERE prospect_id = :'prospect_id';
UPDATE sales.prospects SET last_name = last_name, updated_at = updated_at WHERE prospect_id = :'prospect_id';
DELETE FROM sales.prospects WHERE prospect_id = :'prospect_id';
SELECT count(*) FROM sales.prospects WHERE prospect_id = :'prospect_id';
SELECT action, user_id = sales.current_user_id() AS by_me, gdpr_basis,
       old_values - '{deleted_at,updated_at,notes,created_at,company_id,prospect_id}'::text[] AS old,
       length(new_values ->> 'notes') AS notes,
       jsonb_strip_nulls(new_values - '{deleted_at,updated_at,notes,created_at,company_id,prospect_id}'::text[]) AS new
FROM sales.audit_logs WHERE record_id = :'prospect_id' ORDER BY audit_id;
-- multi-row statements, ON CONFLICT, MERGE, partitions
INSERT INTO sales.products (name) SELECT 'Audited ' || g FROM generate_series(1, 3) g;
UPDATE sales.products SET description = 'new' WHERE name LIKE 'Audited _';
MERGE INTO sales.products p USING (VALUES ('Audited 1'), ('Audited 9')) v (name) ON p.name = v.name
WHEN MATCHED THEN DELETE WHEN NOT MATCHED THEN INSERT (name) VALUES (v.name);
SELECT action, count(*) FROM sales.audit_logs WHERE table_name = 'products' AND audit_id > :'start' GROUP BY action ORDER BY action;
INSERT INTO sales.prospects (first_name) VALUES ('Part') RETURNING prospect_id \gset
INSERT INTO sales.interactions (prospect_id, channel, type) VALUES (:'prospect_id', 'email', 'sent');
UPDATE sales.interactions SET response_received = true WHERE prospect_id = :'prospect_id';
SELECT table_name, action, new_values ->> 'response_received' AS answered FROM sales.audit_logs
WHERE table_name = 'interactions' AND audit_id > :'start' ORDER BY audit_id;
-- never a secret
INSERT INTO sales.api_keys (service_name, key_value) VALUES ('openai', 'sk-very-secret');
:be_super
SELECT count(*) FROM sales.audit_logs WHERE table_name IN ('api_keys', 'users')
  AND coalesce(old_values, '{}') || coalesce(new_values, '{}') ?| '{key_value,password_hash}';
-- append-only, for applications and for the owner
:be_alpha
INSERT INTO sales.audit_logs (action) VALUES ('create');
DELETE FROM sales.audit_logs;
:be_super
UPDATE sales.audit_logs SET gdpr_basis = 'x';
DELETE FROM sales.audit_logs;
SELECT tableoid::regclass AS partition FROM sales.audit_logs LIMIT 1 \gset
DELETE FROM :partition;
TRUNCATE sales.audit_logs;
-- the other company sees none of it
:be_beta
SELECT count(*) FROM sales.audit_logs WHERE table_name IN ('prospects', 'products', 'interactions') AND audit_id > :'start';
-- system work has no user
:be_super
INSERT INTO sales.products (company_id, name) VALUES (helpers.company('beta'), 'By the system');
:be_beta
SELECT user_id IS NULL AS system FROM sales.audit_logs WHERE table_name = 'products' AND audit_id > :'start';
:be_alpha
DELETE FROM sales.api_keys;
