\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
:be_alpha
SELECT name FROM sales.companies;
INSERT INTO sales.prospects (first_name, email) VALUES ('Ada', 'ada@client.test') RETURNING first_name;
:be_beta
SELECT count(*) FROM sales.prospects;
:be_super
-- plan, status and domain are not the company's to change; name and zone are
:be_alpha
UPDATE sales.companies SET subscription_status = 'active';
UPDATE sales.companies SET subscription_plan = 'enterprise';
UPDATE sales.companies SET timezone = 'Mars/Olympus';
UPDATE sales.companies SET timezone = 'Europe/Rome' RETURNING timezone;
UPDATE sales.companies SET timezone = 'Europe/Paris';
-- a manager leads the sales work and cannot make itself an admin
:be_super
SELECT role_id AS manager FROM sales.roles WHERE name = 'manager' AND company_id = helpers.company('alpha') \gset
INSERT INTO sales.users (company_id, email, role_id, password_hash)
VALUES (helpers.company('alpha'), 'manager@alpha.test', :'manager', sales_internal.hash_password('manager-secret'));
SET SESSION AUTHORIZATION regress_app;
SELECT sales.use_session(sales.login('alpha.test', 'manager@alpha.test', 'manager-secret'), false) IS NOT NULL AS in;
SELECT sales.has_permission('prospects', 'delete') AS prospects, sales.has_permission('users', 'update') AS users,
       sales.has_permission('roles', 'update') AS roles, sales.has_permission('api_keys', 'create') AS api_keys;
WITH u AS (UPDATE sales.users SET role_id = (SELECT role_id FROM sales.roles WHERE name = 'admin') RETURNING 1) SELECT count(*) FROM u;
INSERT INTO sales.api_keys (service_name, key_value) VALUES ('openai', 'sk-0123456789abcdef');
-- settings: types, what the platform keeps for itself, secrets
:be_super
INSERT INTO sales.system_settings (company_id, category, key_name, value, data_type, is_user_configurable)
VALUES (NULL, 'ai', 'enabled', 'true', 'boolean', false), (NULL, 'ui', 'rows', '20', 'integer', true);
:be_alpha
SELECT sales.setting('ai.enabled'), sales.setting('ui.rows');
INSERT INTO sales.system_settings (category, key_name, value, data_type) VALUES ('ai', 'enabled', 'false', 'boolean');
INSERT INTO sales.system_settings (category, key_name, value, data_type) VALUES ('ui', 'rows', 'many', 'integer');
INSERT INTO sales.system_settings (category, key_name, value, data_type) VALUES ('ui', 'rows', '50', 'string');
INSERT INTO sales.system_settings (category, key_name, value, data_type) VALUES ('ui', 'rows', '50', 'integer'), ('smtp', 'password', 'hunter2hunter2', 'encrypted');
SELECT sales.setting('ui.rows'), sales.setting('smtp.password') IS NULL AS hidden;
SELECT key_name, value LIKE 'sa1:%' AS sealed, updated_by = sales.current_user_id() AS by_me FROM sales.system_settings ORDER BY key_name;
INSERT INTO sales.system_settings (company_id, category, key_name, value) VALUES (NULL, 'ui', 'theme', 'dark');
UPDATE sales.system_settings SET value = 'x' WHERE company_id IS NULL;
:be_beta
SELECT sales.setting('ui.rows'), (SELECT count(*) FROM sales.system_settings) AS rows;
:be_super
CREATE ROLE regress_operator LOGIN IN ROLE sales_admin;
SET SESSION AUTHORIZATION regress_operator;
UPDATE sales.system_settings SET value = '30' WHERE key_name = 'rows' RETURNING company_id IS NULL AS platform, value;
SELECT count(*) FROM sales.prospects;
:be_super
DROP ROLE regress_operator;
SELECT count(*) FROM sales.audit_logs WHERE new_values::text LIKE '%hunter2%' OR old_values::text LIKE '%hunter2%';
DELETE FROM sales.system_settings WHERE category IN ('ai', 'ui', 'smtp');
UPDATE sales.users SET is_active = false WHERE email = 'manager@alpha.test';
