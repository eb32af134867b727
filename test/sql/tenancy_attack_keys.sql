\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- Stolen SQL cannot have a stored secret sent to a host of its own: a key goes to
-- the hosts that it was first used with, a provider's key to its provider.
:be_super
SET client_min_messages = error;
SELECT sales.create_company('Gamma', 'gamma.test', 'starter', 'en', 'UTC', 'admin@gamma.test', 'gamma-secret-1') IS NOT NULL AS gamma;
SET SESSION AUTHORIZATION regress_app;
SELECT helpers.be('gamma');
INSERT INTO sales.api_keys (service_name, key_value) VALUES ('OpenAI', 'sk-gamma-secret') RETURNING api_key_id AS openai \gset
INSERT INTO sales.api_keys (service_name, key_value, key_hosts) VALUES ('mailbox', 'mail-secret', '{evil.test}') RETURNING api_key_id AS mail, key_hosts \gset
INSERT INTO sales.mailboxes (email, smtp_url, smtp_key_id, imap_url, imap_key_id) VALUES ('m@gamma.test', 'smtps://mail.gamma.test:465', :'mail', 'imaps://imap.gamma.test/INBOX', :'mail');
SELECT service_name, key_hosts FROM sales.api_keys ORDER BY service_name;
-- the mail server
SELECT helpers.try('UPDATE sales.mailboxes SET smtp_url = ''smtps://mail.evil.test''') AS smtp;
SELECT helpers.try('UPDATE sales.mailboxes SET smtp_url = ''smtps://mail.gamma.test@evil.test''') AS user_part;
SELECT helpers.try('UPDATE sales.mailboxes SET imap_url = ''imaps://evil.test''') AS imap;
SELECT helpers.try(format('INSERT INTO sales.mailboxes (email, smtp_url, smtp_key_id) VALUES (''n@gamma.test'', ''smtp://evil.test'', %L)', :'mail')) AS another_mailbox;
SELECT helpers.try('UPDATE sales.mailboxes SET smtp_url = ''smtp://MAIL.gamma.test:587''') AS same_host;
SELECT helpers.try('UPDATE sales.mailboxes SET smtp_url = NULL') AS by_the_setting;
-- the key itself
SELECT helpers.try('UPDATE sales.api_keys SET key_hosts = ''{evil.test}'' WHERE service_name = ''mailbox''') AS hosts;
SELECT helpers.try('UPDATE sales.api_keys SET key_hosts = NULL WHERE service_name = ''mailbox''') AS no_hosts;
SELECT helpers.try('UPDATE sales.api_keys SET service_name = ''mailbox'' WHERE service_name = ''OpenAI''') AS relabelled;
SELECT helpers.try('UPDATE sales.api_keys SET service_name = ''openai'' WHERE service_name = ''OpenAI''') AS same_service;
SELECT helpers.try(format('UPDATE sales.api_keys SET api_key_id = %L WHERE service_name = ''mailbox''', sales.uuidv7())) AS another_row;
-- imports
INSERT INTO sales.import_jobs (name, source_type, source_config) VALUES ('leads', 'api', '{"url": "https://crm.gamma.test/v1/people", "token": "import-secret"}');
SELECT key_hosts, source_config - 'api_key_id' AS config FROM sales.import_jobs i JOIN sales.api_keys k ON k.api_key_id::text = i.source_config ->> 'api_key_id';
SELECT helpers.try('UPDATE sales.import_jobs SET source_config = source_config || ''{"url": "https://evil.test/"}''') AS url;
SELECT helpers.try('UPDATE sales.import_jobs SET source_config = (source_config - ''url'') || ''{"host": "evil.test"}''') AS host;
SELECT helpers.try('UPDATE sales.import_jobs SET source_type = ''ftp'', source_config = (source_config - ''url'') || ''{"host": "evil.test"}''') AS ftp;
SELECT helpers.try('INSERT INTO sales.import_jobs (name, source_type, source_config) SELECT ''x'', ''api'', source_config || ''{"url": "https://evil.test/"}'' FROM sales.import_jobs') AS another_import;
SELECT helpers.try(format('INSERT INTO sales.import_jobs (name, source_type, source_config) VALUES (''x'', ''api'', ''{"url": "https://evil.test/", "api_key_id": "%s"}'')', :'openai')) AS providers_key;
SELECT helpers.try(format('INSERT INTO sales.import_jobs (name, source_type, source_config) VALUES (''x'', ''api'', ''{"url": "https://evil.test/", "api_key_id": "%s"}'')', :'mail')) AS mailboxs_key;
SELECT helpers.try('UPDATE sales.import_jobs SET source_config = source_config || ''{"url": "https://new.gamma.test/", "token": "import-secret"}''') AS written_again;
SELECT key_hosts FROM sales.api_keys WHERE service_name = 'import';
-- and at the moment of the call, whatever has asked for it
:be_super
SELECT url, provider, helpers.try(format('SELECT sales_internal.key_for_call(%L, %L, %L, %L)', helpers.company('gamma'), key, url, provider))
FROM (VALUES (1, :'openai', 'https://api.openai.com/v1/chat', 'openai'), (2, :'openai', 'https://evil.test/', NULL), (3, :'openai', 'https://evil.test/', 'import'), (4, :'openai', 'https://evil.test/', 'anthropic'),
             (5, :'mail', 'smtp://mail.gamma.test:587', 'smtp'), (6, :'mail', 'smtp://evil.test', 'smtp'), (7, :'mail', 'smtp://evil.test', 'openai')) v (n, key, url, provider) ORDER BY n;
SELECT helpers.try(format('SELECT sales_internal.key_for_call(%L, %L, ''https://x.test'', NULL)', helpers.company('alpha'), :'openai')) AS another_company,
       sales_internal.key_for_call(helpers.company('alpha'), :'openai', 'https://x.test', NULL) IS NULL AS has_none;
SELECT sales.delete_company(helpers.company('gamma'));
