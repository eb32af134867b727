\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
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
-- who may change users but not manage them cannot raise anybody, nor take an account over
:be_super
INSERT INTO sales.roles (company_id, name, permissions)
VALUES (helpers.company('alpha'), 'hr', '{"*": ["read"], "users": ["create", "update", "delete"], "roles": ["create", "update", "delete"]}');
UPDATE sales.users SET role_id = (SELECT role_id FROM sales.roles WHERE name = 'hr') WHERE email = 'manager@alpha.test';
SET SESSION AUTHORIZATION regress_app;
SELECT sales.use_session(sales.login('alpha.test', 'manager@alpha.test', 'manager-secret'), false) IS NOT NULL AS in;
UPDATE sales.users SET first_name = 'Max' WHERE email = 'manager@alpha.test' RETURNING first_name;
UPDATE sales.users SET role_id = (SELECT role_id FROM sales.roles WHERE name = 'admin') WHERE email = 'manager@alpha.test';
UPDATE sales.users SET password_hash = 'x' WHERE email = 'admin@alpha.test';
UPDATE sales.users SET email = 'me@alpha.test' WHERE email = 'admin@alpha.test';
DELETE FROM sales.users WHERE email = 'admin@alpha.test';
INSERT INTO sales.users (email, role_id) SELECT 'puppet@alpha.test', role_id FROM sales.roles WHERE name = 'admin';
UPDATE sales.roles SET permissions = '{"*": ["manage"]}' WHERE name = 'hr';
INSERT INTO sales.roles (name, permissions) VALUES ('all', '{"*": ["manage"]}');
SELECT sales.set_password(user_id, 'taken-over-1') FROM sales.users WHERE email = 'admin@alpha.test';
SELECT sales.set_password(sales.current_user_id(), 'manager-secret-2') AS own;
SELECT sales.use_session(sales.login('alpha.test', 'manager@alpha.test', 'manager-secret-2'), false) IS NOT NULL AS in;
-- roles: well formed, and those of the start stay; somebody can always manage the users
:be_alpha
INSERT INTO sales.roles (name, permissions) VALUES ('typo', '{"prospekts": ["read"]}');
INSERT INTO sales.roles (name, permissions) VALUES ('typo', '{"prospects": "read"}');
INSERT INTO sales.roles (name, permissions) VALUES ('typo', '{"prospects": ["reed"]}');
INSERT INTO sales.roles (name, permissions, is_system) VALUES ('night', '{"prospects": ["read"], "*": []}', true) RETURNING name, is_system;
DELETE FROM sales.roles WHERE name = 'night' RETURNING name;
DELETE FROM sales.roles WHERE name = 'viewer';
UPDATE sales.roles SET name = 'boss' WHERE name = 'admin';
UPDATE sales.users SET is_active = false WHERE email = 'admin@alpha.test';
UPDATE sales.roles SET permissions = '{"*": ["read"]}' WHERE name = 'admin';
UPDATE sales.users SET role_id = (SELECT role_id FROM sales.roles WHERE name = 'viewer') WHERE email = 'admin@alpha.test';
SELECT count(*) FROM sales.users WHERE is_active;
:be_beta
SELECT name FROM sales.roles ORDER BY name;
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
SELECT key_name, value LIKE 'sa2:%' AS sealed, updated_by = sales.current_user_id() AS by_me FROM sales.system_settings ORDER BY key_name;
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
DELETE FROM sales.roles WHERE name = 'hr' AND company_id = helpers.company('alpha') AND NOT EXISTS (SELECT FROM sales.users u WHERE u.role_id = roles.role_id);
-- a transaction that ends sessions is not left prepared
BEGIN;
SELECT sales.set_password(user_id, 'manager-secret') FROM sales.users WHERE email = 'manager@alpha.test';
PREPARE TRANSACTION 'ended';
-- a company that the DBA inserts by hand has the system roles too; its domain is kept as login() looks for it
INSERT INTO sales.companies (name, domain, timezone) VALUES ('Gamma', '@Gamma.test', 'Asia/Tokyo') RETURNING domain, subscription_plan, subscription_status;
SELECT r.name, r.is_system, r.permissions = (SELECT a.permissions FROM sales.roles a WHERE a.company_id = helpers.company('beta') AND a.name = r.name) AS as_others
FROM sales.roles r WHERE r.company_id = helpers.company('gamma') ORDER BY r.name;
SELECT helpers.try($$INSERT INTO sales.companies (name, domain) VALUES ('Other', 'GAMMA.test')$$);
SELECT helpers.try($$DELETE FROM sales.companies WHERE domain = 'gamma.test'$$);
SELECT sales.delete_company(helpers.company('gamma'));
SELECT sales.create_company('Delta', '@Delta.test', admin_email => 'd@delta.test', admin_password => 'delta-secret') IS NOT NULL AS made;
SET SESSION AUTHORIZATION regress_app;
SELECT sales.login('@DELTA.test', 'D@delta.test', 'delta-secret') IS NOT NULL AS by_address, sales.login('delta.test', 'd@delta.test', 'delta-secret') IS NOT NULL AS by_name;
:be_super
SELECT sales.delete_company(helpers.company('delta'));
