-- Imports that fetch: set up as rows of import_jobs, run by hand or on schedule.

CREATE OR REPLACE FUNCTION sales_internal.mail_attachments(
    message bytea, OUT name text, OUT content_type text, OUT content bytea) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'sales_mail_attachments'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.mail_attachments(bytea) IS 'Attachments of a mail; name null: it has none';
REVOKE ALL ON FUNCTION sales_internal.mail_attachments(bytea) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.import_part(company uuid, file uuid, n integer) RETURNS bytea
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(
        (SELECT f.content FROM sales_internal.import_files f WHERE f.company_id = company AND f.file_id = file AND n = 1),
        (SELECT u.content FROM sales.import_uploads u WHERE u.company_id = company AND u.upload_id = file AND u.part = n))
$$;
COMMENT ON FUNCTION sales_internal.import_part(uuid, uuid, integer) IS 'A part of a fetched file or an upload; null behind the last';
REVOKE ALL ON FUNCTION sales_internal.import_part(uuid, uuid, integer) FROM PUBLIC;

-- --- the set-up of an import ---

-- What source_config may hold, by source type.
CREATE OR REPLACE FUNCTION sales_internal.import_config_keys(source sales.import_source_type) RETURNS text[]
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '{options,api_key_id,password,private_key,token,secret,api_key,url,protocol,host,port,path,user,username}'::text[] || CASE source
        WHEN 'csv' THEN '{data,upload_id,headers,auth}'::text[]
        WHEN 'api' THEN '{method,headers,body,auth,items,paging}'
        WHEN 'ftp' THEN '{tls,host_key,pattern,once}'
        ELSE '{tls,from,subject,since,pattern,folder}' END
$$;
COMMENT ON FUNCTION sales_internal.import_config_keys(sales.import_source_type) IS 'Keys of source_config; see docs/imports.md';
REVOKE ALL ON FUNCTION sales_internal.import_config_keys(sales.import_source_type) FROM PUBLIC;

-- The same source_config in its one form: a url, a user.
CREATE OR REPLACE FUNCTION sales_internal.import_settings(source sales.import_source_type, config jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_strip_nulls(config || jsonb_build_object(
        'url', coalesce(config ->> 'url', coalesce(config ->> 'protocol', CASE source WHEN 'ftp' THEN 'ftp' WHEN 'email_attachment' THEN 'imaps' ELSE 'https' END)
            || '://' || (config ->> 'host') || coalesce(':' || (config ->> 'port'), '')
            || '/' || ltrim(coalesce(config ->> 'path', config ->> 'folder', CASE WHEN source = 'email_attachment' THEN 'INBOX' ELSE '' END), '/')),
        'user', coalesce(config ->> 'user', config ->> 'username')))
$$;
COMMENT ON FUNCTION sales_internal.import_settings(sales.import_source_type, jsonb) IS
    'source_config with the url that protocol, host, port and path make, and with user';
REVOKE ALL ON FUNCTION sales_internal.import_settings(sales.import_source_type, jsonb) FROM PUBLIC;

-- What a run needs and the row alone does not say.
CREATE OR REPLACE FUNCTION sales_internal.check_import_source(source sales.import_source_type, config jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    wrong text;
    schemes text := CASE source WHEN 'ftp' THEN 'ftp|ftps|sftp' WHEN 'email_attachment' THEN 'imap|imaps' ELSE 'http|https' END;
BEGIN
    SELECT key INTO wrong FROM jsonb_object_keys(config) key WHERE key <> ALL (sales_internal.import_config_keys(source)) LIMIT 1;
    IF FOUND THEN
        RAISE invalid_parameter_value USING MESSAGE = format('source_config of type %s has no "%s"', source, wrong),
            HINT = format('It may hold: %s.', array_to_string(sales_internal.import_config_keys(source), ', '));
    END IF;
    config := sales_internal.import_settings(source, config);
    IF config ->> 'url' IS NULL AND NOT (source = 'csv' AND (config ? 'data' OR config ? 'upload_id')) THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('an import of type %s needs %s', source, CASE WHEN source = 'csv' THEN 'data, upload_id or url' ELSE 'a url or a host' END),
            HINT = format('Set source_config, such as {"url": "%s://..."}.', split_part(schemes, '|', 2));
    ELSIF config ->> 'url' IS NOT NULL AND config ->> 'url' !~ ('^(' || schemes || ')://[^/@[:cntrl:]]+(/|$)') THEN
        RAISE invalid_parameter_value USING MESSAGE = format('the url of an import of type %s must begin with %s', source, replace(schemes, '|', '://, ') || '://'),
            HINT = 'User and password are keys of their own, not part of the url.';
    END IF;
    IF config ->> 'tls' NOT IN ('required', 'optional') THEN
        RAISE invalid_parameter_value USING MESSAGE = format('tls cannot be "%s"', config ->> 'tls'),
            HINT = 'It is required unless it is said to be optional; then a session in clear is taken with hosts that sales_assistant.allowed_hosts names.';
    ELSIF config ->> 'url' LIKE 'sftp:%' AND coalesce(btrim(config ->> 'host_key'), '') = '' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'an import by sftp needs host_key, the key that tells its server from others',
            HINT = 'Take it from the server''s owner, or look: ssh-keyscan HOST | ssh-keygen -lf -; such as {"host_key": "SHA256:..."}, several with blanks between.';
    END IF;
    IF config ->> 'from' ~ '[[:cntrl:]"\\]' OR config ->> 'subject' ~ '[[:cntrl:]"\\]' OR config ->> 'since' !~ '^\d{4}-\d{2}-\d{2}$' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'from and subject are plain text without quotes, since is a date such as 2026-01-31';
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.check_import_source(sales.import_source_type, jsonb) IS 'Error with a hint for a source that cannot be read';
REVOKE ALL ON FUNCTION sales_internal.check_import_source(sales.import_source_type, jsonb) FROM PUBLIC;

-- Error with a hint for JSON paths that are none, in source_config and in the mapping of an API.
CREATE OR REPLACE FUNCTION sales_internal.check_json_paths(config jsonb, field_mapping jsonb) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    at record;
    wrong text;
BEGIN
    IF jsonb_typeof(coalesce(config -> 'paging', '{}')) <> 'object' THEN
        wrong := config ->> 'paging';
    ELSE
        SELECT key INTO wrong FROM jsonb_object_keys(coalesce(config -> 'paging', '{}')) key
        WHERE key NOT IN ('page', 'start', 'next_url', 'cursor', 'param');
    END IF;
    IF wrong IS NOT NULL OR config -> 'paging' ->> 'start' !~ '^\d{1,9}$' THEN
        RAISE invalid_parameter_value USING MESSAGE = format('paging cannot be or hold "%s"', coalesce(wrong, config -> 'paging' ->> 'start')),
            HINT = 'Such as {"page": "page", "start": 1}, {"next_url": "$.links.next"} or {"cursor": "$.meta.next", "param": "cursor"}.';
    END IF;
    FOR at IN
        SELECT v.place, v.path FROM (VALUES ('items', config ->> 'items'), ('paging.next_url', config -> 'paging' ->> 'next_url'),
                                            ('paging.cursor', config -> 'paging' ->> 'cursor')) v (place, path) WHERE v.path IS NOT NULL
        UNION ALL SELECT 'field_mapping', key FROM jsonb_object_keys(coalesce(field_mapping, '{}')) key WHERE key ~ '^\$'
    LOOP
        -- All that is within all that is within: of a large answer that is more than there is memory for.
        IF at.path ~ '\*\*' THEN
            RAISE invalid_parameter_value USING MESSAGE = format('%s: "%s" looks at every level, which is not allowed here', at.place, left(at.path, 100)),
                HINT = 'Write where the values are, such as $.data[*] or $.name.first.';
        END IF;
        BEGIN
            PERFORM at.path::jsonpath;
        EXCEPTION WHEN syntax_error OR data_exception THEN
            RAISE invalid_parameter_value USING MESSAGE = format('%s: "%s" is not a JSON path', at.place, at.path),
                DETAIL = SQLERRM, HINT = 'Such as $.data[*] or $.name.first.';
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sales_internal.check_json_paths(jsonb, jsonb) IS 'Error with a hint for JSON paths and pagings that are none';
REVOKE ALL ON FUNCTION sales_internal.check_json_paths(jsonb, jsonb) FROM PUBLIC;

-- A private key logs in at SFTP servers, and only without a passphrase.
CREATE OR REPLACE FUNCTION sales_internal.check_login_key(secret text, is_key boolean, url text) RETURNS void
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
BEGIN
    IF secret !~ '^-----BEGIN ' AND NOT is_key THEN
        RETURN;
    ELSIF secret !~ '^-----BEGIN ([A-Z]+ )?PRIVATE KEY-----\s' THEN
        RAISE invalid_parameter_value USING MESSAGE = CASE WHEN secret ~ '^-----BEGIN ENCRYPTED PRIVATE KEY' THEN 'the private key needs a passphrase' ELSE 'this is no private key' END,
            HINT = 'Give the text of the file, from "-----BEGIN OPENSSH PRIVATE KEY-----" on, of a key made without a passphrase: ssh-keygen -t ed25519 -N "".';
    -- the name of the cipher in OpenSSH's form; a header in the old one
    ELSIF (secret ~ '^-----BEGIN OPENSSH' AND secret !~ '^[^\n]*-----\s+b3BlbnNzaC1rZXktdjEAAAAABG5vbmU') OR secret ~ 'Proc-Type: 4,ENCRYPTED' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the private key needs a passphrase', HINT = 'Take it off a copy of the key: ssh-keygen -p -N "" -f COPY.';
    ELSIF coalesce(url, '') NOT LIKE 'sftp://%' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'a private key logs in at sftp alone', HINT = 'Set url to sftp://..., or give a password.';
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.check_login_key(text, boolean, text) IS 'Error with a hint for a private key that logs in nowhere';
REVOKE ALL ON FUNCTION sales_internal.check_login_key(text, boolean, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.check_import_job() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    config jsonb := NEW.source_config;
    secrets text[];
    key_id uuid;
BEGIN
    IF sales_internal.restoring() THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'INSERT' OR config - 'data' IS DISTINCT FROM OLD.source_config - 'data' OR NEW.source_type <> OLD.source_type
       OR NEW.field_mapping IS DISTINCT FROM OLD.field_mapping THEN
        IF jsonb_typeof(config) <> 'object' THEN
            RAISE invalid_parameter_value USING MESSAGE = 'source_config must be a JSON object', HINT = 'See docs/imports.md.';
        END IF;
        IF config ->> 'upload_id' !~ '^[0-9a-fA-F-]{36}$' OR config ->> 'api_key_id' !~ '^[0-9a-fA-F-]{36}$' THEN
            RAISE invalid_parameter_value USING MESSAGE = 'upload_id and api_key_id are uuids';
        END IF;
        PERFORM sales_internal.check_import_options(NEW.company_id, coalesce(config -> 'options', '{}') - 'dry_run');
        PERFORM sales_internal.check_mapping(NULL, NEW.field_mapping);
        IF NEW.source_type = 'api' THEN
            PERFORM sales_internal.check_json_paths(config, NEW.field_mapping);
        END IF;
        -- The password of a source is kept as every other key is: encrypted, and opened by the worker alone.
        SELECT array_agg(k ORDER BY k) INTO secrets FROM unnest('{password,private_key,token,secret,api_key}'::text[]) k WHERE config ->> k IS NOT NULL;
        IF cardinality(secrets) > 1 THEN
            RAISE invalid_parameter_value USING MESSAGE = format('source_config holds several secrets: %s', array_to_string(secrets, ', ')),
                HINT = 'One is enough: password, private_key, token, secret or api_key.';
        ELSIF secrets IS NOT NULL THEN
            PERFORM sales_internal.check_login_key(config ->> secrets[1], secrets[1] = 'private_key',
                                                   sales_internal.import_settings(NEW.source_type, config) ->> 'url');
            key_id := coalesce((SELECT k.api_key_id FROM sales.api_keys k
                                WHERE k.company_id = NEW.company_id AND k.api_key_id::text = config ->> 'api_key_id'
                                  AND k.service_name = 'import'), sales.uuidv7());
            UPDATE sales.api_keys k SET key_value = config ->> secrets[1] WHERE k.company_id = NEW.company_id AND k.api_key_id = key_id;
            IF NOT FOUND THEN
                INSERT INTO sales.api_keys (api_key_id, company_id, service_name, key_value)
                VALUES (key_id, NEW.company_id, 'import', config ->> secrets[1]);
            END IF;
            NEW.source_config := config - secrets[1] || jsonb_build_object('api_key_id', key_id);
        ELSIF config ->> 'api_key_id' IS NOT NULL AND NOT EXISTS (
            SELECT FROM sales.api_keys k WHERE k.company_id = NEW.company_id AND k.api_key_id::text = config ->> 'api_key_id') THEN
            RAISE no_data_found USING MESSAGE = format('there is no key %s', config ->> 'api_key_id'),
                HINT = 'Write the secret as password, or see sales.api_keys.';
        END IF;
        IF NEW.source_config ->> 'api_key_id' IS NOT NULL THEN
            PERFORM sales_internal.bind_key(NEW.company_id, (NEW.source_config ->> 'api_key_id')::uuid,
                                            ARRAY[sales_internal.import_settings(NEW.source_type, NEW.source_config) ->> 'url']);
        END IF;
    END IF;
    -- A job that is made active again misses nothing: it begins from now.
    IF TG_OP = 'INSERT' OR NEW.schedule_cron IS DISTINCT FROM OLD.schedule_cron
       OR (NEW.status IS DISTINCT FROM OLD.status AND OLD.status IN ('paused', 'disabled')) THEN
        NEW.next_run := sales_internal.next_run(NEW.company_id, NEW.schedule_cron, sales_internal.now());
    END IF;
    IF NEW.status IN ('paused', 'disabled') THEN
        NEW.next_run := NULL;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sales_internal.check_import_job() IS
    'Trigger: judges the set-up of an import, puts its password among the keys, and plans its next run';
REVOKE ALL ON FUNCTION sales_internal.check_import_job() FROM PUBLIC;
CREATE OR REPLACE TRIGGER check_import_job BEFORE INSERT OR UPDATE ON sales.import_jobs
    FOR EACH ROW EXECUTE FUNCTION sales_internal.check_import_job();

-- "*.csv" by LIKE.
CREATE OR REPLACE FUNCTION sales_internal.glob_matches(name text, pattern text) RETURNS boolean
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT lower(name) LIKE replace(replace(regexp_replace(lower(pattern), '([\\%_])', '\\\1', 'g'), '*', '%'), '?', '_')
$$;
COMMENT ON FUNCTION sales_internal.glob_matches(text, text) IS 'Does a file name fit a pattern with * and ?; case does not matter';
REVOKE ALL ON FUNCTION sales_internal.glob_matches(text, text) FROM PUBLIC;

-- --- starting ---

CREATE OR REPLACE FUNCTION sales_internal.start_import(company uuid, wanted sales.import_jobs) RETURNS uuid
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    job uuid := (SELECT j.job_id FROM sales_internal.jobs j
                 WHERE j.company_id = company AND j.kind IN ('import_fetch', 'import_rows') AND j.unique_key = wanted.import_job_id::text
                   AND j.state IN ('queued', 'running') LIMIT 1);
    upload text := wanted.source_config ->> 'upload_id';
BEGIN
    -- One run at a time: what is asked for while one is under way, it does.
    IF job IS NOT NULL THEN
        RETURN job;
    END IF;
    IF upload IS NOT NULL AND NOT EXISTS (SELECT FROM sales.import_uploads u WHERE u.company_id = company AND u.upload_id::text = upload) THEN
        RAISE no_data_found USING MESSAGE = format('there is no upload %s', upload),
            HINT = 'Insert the file into sales.import_uploads first; it is removed when it was imported.';
    END IF;
    PERFORM sales_internal.check_import_source(wanted.source_type, wanted.source_config);
    wanted.source_config := sales_internal.import_settings(wanted.source_type, wanted.source_config);
    DELETE FROM sales_internal.import_files f USING sales.import_runs r
    WHERE f.company_id = company AND r.company_id = company AND r.run_id = f.run_id AND r.import_job_id = wanted.import_job_id;
    job := sales_internal.enqueue(CASE WHEN wanted.source_config ?| '{data,upload_id}' THEN 'import_rows' ELSE 'import_fetch' END, company,
                                  jsonb_build_object('import_job_id', wanted.import_job_id), wanted.import_job_id::text);
    -- The run bears the job's key, so that one value waits for it, watches it and takes it back.
    PERFORM sales_internal.begin_run(company, coalesce(wanted.source_config -> 'options', '{}') - 'dry_run', wanted.import_job_id, job);
    IF upload IS NOT NULL THEN
        INSERT INTO sales_internal.import_files (file_id, company_id, run_id, source_key, name)
        SELECT upload::uuid, company, job, upload, min(u.name) FROM sales.import_uploads u WHERE u.company_id = company AND u.upload_id::text = upload;
    ELSIF wanted.source_config ? 'data' THEN
        INSERT INTO sales_internal.import_files (company_id, run_id, source_key, content)
        VALUES (company, job, 'data', convert_to(wanted.source_config ->> 'data', 'UTF8'));
    END IF;
    UPDATE sales.import_jobs i SET last_run = sales_internal.now() WHERE i.company_id = company AND i.import_job_id = wanted.import_job_id;
    RETURN job;
END
$$;
COMMENT ON FUNCTION sales_internal.start_import(uuid, sales.import_jobs) IS 'Makes the run and the job of an import, or returns the one under way';
REVOKE ALL ON FUNCTION sales_internal.start_import(uuid, sales.import_jobs) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.run_import(import_job_id uuid) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
    wanted sales.import_jobs;
BEGIN
    PERFORM sales_internal.require('prospects', 'create');
    PERFORM sales_internal.require('prospects', 'update');
    PERFORM sales_internal.require('import_jobs', 'read');
    SELECT * INTO wanted FROM sales.import_jobs i WHERE i.company_id = company AND i.import_job_id = run_import.import_job_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = format('there is no import %s', run_import.import_job_id), HINT = 'See sales.import_jobs.';
    ELSIF wanted.status = 'disabled' THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('the import "%s" is disabled', wanted.name),
            HINT = 'Set its status to active or paused.';
    END IF;
    RETURN sales_internal.start_import(company, wanted);
END
$$;
COMMENT ON FUNCTION sales.run_import(uuid) IS
    'Starts an import and returns its job, which is also its run: wait_job(), cancel_job(), import_runs, undo_import() take it';
REVOKE ALL ON FUNCTION sales.run_import(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.run_import(uuid) TO sales_app;

-- Periodic: what is due starts once, however many times were missed.
CREATE OR REPLACE FUNCTION sales_internal.run_due_imports() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    due sales.import_jobs;
BEGIN
    FOR due IN
        SELECT i.* FROM sales.import_jobs i JOIN sales.companies c USING (company_id)
        WHERE i.next_run <= sales_internal.now() AND i.status IN ('active', 'failed') AND c.subscription_status = 'active'
        ORDER BY i.next_run, i.import_job_id FOR UPDATE OF i SKIP LOCKED
    LOOP
        BEGIN
            UPDATE sales.import_jobs i SET next_run = sales_internal.next_run(due.company_id, due.schedule_cron, sales_internal.now())
            WHERE i.company_id = due.company_id AND i.import_job_id = due.import_job_id;
            PERFORM sales_internal.start_import(due.company_id, due);
        EXCEPTION
            WHEN lock_not_available THEN
                NULL;           -- its company has locked what it needs: the next time
            WHEN no_data_found OR data_exception OR integrity_constraint_violation THEN
                -- not due again until it is set up anew: one set-up must not stop the others each time
                UPDATE sales.import_jobs i SET error_log = SQLERRM, status = 'failed',
                       next_run = CASE WHEN SQLSTATE IN ('P0002', '22023') THEN sales_internal.next_run(due.company_id, due.schedule_cron, sales_internal.now()) END
                WHERE i.company_id = due.company_id AND i.import_job_id = due.import_job_id;
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sales_internal.run_due_imports() IS 'Periodic task: starts the imports whose time has come';
REVOKE ALL ON FUNCTION sales_internal.run_due_imports() FROM PUBLIC;

-- --- fetching: job import_fetch, one call after another ---

-- Keeps a file for import_rows, unless this import has taken it already.
CREATE OR REPLACE FUNCTION sales_internal.take_file(
    company uuid, run uuid, import_job uuid, source_key text, name text, content bytea) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    WITH taken AS (
        INSERT INTO sales_internal.import_taken (company_id, import_job_id, source_key)
        VALUES (company, import_job, source_key) ON CONFLICT DO NOTHING RETURNING 1)
    INSERT INTO sales_internal.import_files (company_id, run_id, source_key, name, content)
    SELECT company, run, source_key, name, content FROM taken ON CONFLICT DO NOTHING
$$;
COMMENT ON FUNCTION sales_internal.take_file(uuid, uuid, uuid, text, text, bytea) IS 'Keeps a fetched file for its run, once';
REVOKE ALL ON FUNCTION sales_internal.take_file(uuid, uuid, uuid, text, text, bytea) FROM PUBLIC;

-- The request of a source: url and credentials as set up, with a path or command.
CREATE OR REPLACE FUNCTION sales_internal.import_request(setup sales.import_jobs, url text, extra jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'url', url, 'timeout_ms', 600000, 'max_bytes', 67108864, 'binary', true, 'provider', 'import',
        'api_key_id', setup.source_config -> 'api_key_id')) || extra
$$;
COMMENT ON FUNCTION sales_internal.import_request(sales.import_jobs, text, jsonb) IS 'A call to the source of an import';
REVOKE ALL ON FUNCTION sales_internal.import_request(sales.import_jobs, text, jsonb) FROM PUBLIC;

-- The next call of a run, from what is still to be done (import_runs.progress):
--   {"ask": "list"} | {"ask": "file", "names": of listed_names()} | {"ask": "search"}
--   | {"ask": "mails", "uids": [...], "validity": n, "at": bytes that are here of the first}
--   | {"ask": "page", "url": ..., "n": 1}
-- Nothing left: the job becomes import_rows.
CREATE OR REPLACE FUNCTION sales_internal.next_fetch(job uuid, company uuid, setup sales.import_jobs, todo jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    config jsonb := setup.source_config;
    login jsonb := jsonb_strip_nulls(jsonb_build_object('user', config -> 'user', 'tls', coalesce(config -> 'tls', '"required"'), 'host_key', config -> 'host_key'));
    search text;
BEGIN
    UPDATE sales.import_runs r SET progress = todo WHERE r.company_id = company AND r.run_id = job;
    CASE todo ->> 'ask'
        WHEN 'list' THEN
            RETURN sales_internal.import_request(setup, config ->> 'url', jsonb_build_object('file', login || '{"list": true}'));
        WHEN 'file' THEN
            IF todo -> 'names' ->> 0 IS NOT NULL THEN
                RETURN sales_internal.import_request(setup, CASE WHEN config ->> 'url' LIKE '%/' THEN config ->> 'url' || (todo #>> '{names,0,segment}')
                                                                 ELSE config ->> 'url' END, jsonb_build_object('file', login));
            END IF;
        WHEN 'search' THEN
            search := concat_ws(' ', 'UID SEARCH', 'FROM "' || (config ->> 'from') || '"', 'SUBJECT "' || (config ->> 'subject') || '"',
                                'SINCE ' || to_char((config ->> 'since')::date, 'DD-Mon-YYYY'),
                                CASE WHEN config ->> 'since' IS NULL AND config ->> 'subject' IS NULL AND config ->> 'from' IS NULL THEN 'ALL' END);
            RETURN sales_internal.import_request(setup, config ->> 'url', jsonb_build_object('imap', login || jsonb_build_object('command', search)));
        WHEN 'mails' THEN
            IF todo -> 'uids' ->> 0 IS NOT NULL THEN
                RETURN sales_internal.import_request(setup, config ->> 'url', jsonb_build_object('imap',
                    login || jsonb_build_object('command', format('UID FETCH %s (RFC822.SIZE BODY.PEEK[]<%s.%s>)',
                        todo -> 'uids' ->> 0, coalesce(todo ->> 'at', '0'), sales_internal.mail_part_size()))));
            END IF;
        WHEN 'page' THEN
            RETURN sales_internal.import_request(setup, todo ->> 'url', jsonb_strip_nulls(jsonb_build_object(
                'method', config -> 'method', 'headers', config -> 'headers', 'body', config -> 'body', 'follow', 3,
                'auth', CASE WHEN config -> 'api_key_id' IS NOT NULL
                             THEN coalesce(config -> 'auth', '{"header": "Authorization", "prefix": "Bearer "}') END)));
        ELSE
            NULL;
    END CASE;
    UPDATE sales_internal.jobs j SET kind = 'import_rows', attempts = 1 WHERE j.job_id = job;
    UPDATE sales.import_runs r SET progress = NULL WHERE r.company_id = company AND r.run_id = job;
    RETURN jsonb_build_object('outcome', 'wait', 'after', 0);
END
$$;
COMMENT ON FUNCTION sales_internal.next_fetch(uuid, uuid, sales.import_jobs, jsonb) IS 'The next call of a run that fetches, or its turn to import';
REVOKE ALL ON FUNCTION sales_internal.next_fetch(uuid, uuid, sales.import_jobs, jsonb) FROM PUBLIC;

-- A file name as a segment of a path, its bytes percent-encoded.
CREATE OR REPLACE FUNCTION sales_internal.url_segment(name bytea) RETURNS text
LANGUAGE sql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT string_agg(CASE WHEN chr(greatest(b.byte, 1)) ~ '[A-Za-z0-9._~-]' AND b.byte < 128 THEN chr(b.byte)
                           ELSE '%' || upper(lpad(to_hex(b.byte), 2, '0')) END, '' ORDER BY b.n)
    FROM (SELECT n, get_byte(name, n) AS byte FROM generate_series(0, octet_length(name) - 1) n) b
$$;
COMMENT ON FUNCTION sales_internal.url_segment(bytea) IS 'The bytes of a file name for a URL';
REVOKE ALL ON FUNCTION sales_internal.url_segment(bytea) FROM PUBLIC;
CREATE OR REPLACE FUNCTION sales_internal.url_segment(name text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$ SELECT sales_internal.url_segment(convert_to(name, 'UTF8')) $$;
COMMENT ON FUNCTION sales_internal.url_segment(text) IS 'A file name for a URL';
REVOKE ALL ON FUNCTION sales_internal.url_segment(text) FROM PUBLIC;

-- Names of a folder: {"name": to be read, "segment": its bytes for the URL, "key": what the
-- file is known by}.  A server says them in what encoding it likes; the bytes are the name.
CREATE OR REPLACE FUNCTION sales_internal.listed_names(listing bytea) RETURNS SETOF jsonb
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    latin text;
    name text;
    segment text;
BEGIN
    -- no name has a byte 0
    listing := substr(listing, 1, coalesce(nullif(position('\x00'::bytea IN listing), 0) - 1, octet_length(listing)));
    -- (LATIN1: a character for each byte)
    FOR latin IN SELECT DISTINCT regexp_replace(rtrim(l, E'\r'), '^.*/', '')
                 FROM unnest(string_to_array(convert_from(listing, 'LATIN1'), E'\n')) l
    LOOP
        segment := sales_internal.url_segment(convert_to(latin, 'LATIN1'));
        BEGIN
            name := convert_from(convert_to(latin, 'LATIN1'), 'UTF8');
        EXCEPTION WHEN character_not_in_repertoire THEN
            name := NULL;
        END;
        CONTINUE WHEN latin IN ('', '.', '..');
        RETURN NEXT jsonb_build_object('name', coalesce(name, latin), 'segment', segment, 'key', coalesce(name, segment));
    END LOOP;
END
$$;
COMMENT ON FUNCTION sales_internal.listed_names(bytea) IS 'Files of a folder as a server lists them';
REVOKE ALL ON FUNCTION sales_internal.listed_names(bytea) FROM PUBLIC;

-- --- mails, in parts (see http_call_new) ---

CREATE OR REPLACE FUNCTION sales_internal.mail_part_size() RETURNS integer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT 200000 $$;
COMMENT ON FUNCTION sales_internal.mail_part_size() IS 'Bytes of a mail that are fetched by one call';
REVOKE ALL ON FUNCTION sales_internal.mail_part_size() FROM PUBLIC;

-- Parts wait among the files of the run, as files that nobody imports.
CREATE OR REPLACE FUNCTION sales_internal.forget_parts(company uuid, run uuid) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$ DELETE FROM sales_internal.import_files f WHERE f.company_id = company AND f.run_id = run AND f.source_key LIKE 'part/%' $$;
COMMENT ON FUNCTION sales_internal.forget_parts(uuid, uuid) IS 'Removes the parts of a mail that a run has not fetched to its end';
REVOKE ALL ON FUNCTION sales_internal.forget_parts(uuid, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.next_mail(job uuid, company uuid, setup sales.import_jobs, todo jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM sales_internal.forget_parts(company, job);
    INSERT INTO sales_internal.import_taken (company_id, import_job_id, source_key)
    VALUES (company, setup.import_job_id, format('%s/%s', todo ->> 'validity', todo #>> '{uids,0}')) ON CONFLICT DO NOTHING;
    RETURN sales_internal.next_fetch(job, company, setup, todo - 'at' || jsonb_build_object('uids', (todo -> 'uids') - 0));
END
$$;
COMMENT ON FUNCTION sales_internal.next_mail(uuid, uuid, sales.import_jobs, jsonb) IS 'The first mail that was wanted is done with, taken or passed over: the next';
REVOKE ALL ON FUNCTION sales_internal.next_mail(uuid, uuid, sales.import_jobs, jsonb) FROM PUBLIC;

-- What a call brought of the first mail that is wanted.
CREATE OR REPLACE FUNCTION sales_internal.settle_mail(job uuid, company uuid, setup sales.import_jobs, todo jsonb, transcript bytea) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    most CONSTANT bigint := 67108864;
    mail bytea := (sales_internal.imap_mails(transcript))[1];
    size bigint := sales_internal.imap_size(transcript);
    here bigint := coalesce((todo ->> 'at')::bigint, 0);
    asked bigint := here;
    part record;
    known text := format('%s/%s', todo ->> 'validity', todo #>> '{uids,0}');
BEGIN
    IF mail IS NULL AND position('BODY[]'::bytea IN transcript) > 0 AND (here = 0 OR here < size) THEN
        RETURN sales_internal.pass_over(job, company, setup, todo, 'the mail could not be read whole: it may hold lines that read like the mail server''s own');
    ELSIF greatest(size, here) > most THEN
        RETURN sales_internal.pass_over(job, company, setup, todo, 'the answer is larger than allowed');
    END IF;
    here := here + coalesce(octet_length(mail), 0);
    IF asked + sales_internal.mail_part_size() = here AND here IS DISTINCT FROM size THEN
        INSERT INTO sales_internal.import_files (company_id, run_id, source_key, content, state)
        VALUES (company, job, format('part/%s/%s', known, lpad(asked::text, 10, '0')), mail, 'failed') ON CONFLICT DO NOTHING;
        RETURN sales_internal.next_fetch(job, company, setup, todo || jsonb_build_object('at', here));
    END IF;
    IF asked > 0 THEN
        SELECT string_agg(f.content, '' ORDER BY f.source_key) || coalesce(mail, '') INTO mail
        FROM sales_internal.import_files f WHERE f.company_id = company AND f.run_id = job AND f.source_key LIKE 'part/%';
    END IF;
    FOR part IN SELECT row_number() OVER () AS n, a.* FROM sales_internal.mail_attachments(mail) a LOOP
        IF sales_internal.glob_matches(coalesce(part.name, ''), coalesce(setup.source_config ->> 'pattern', '*.csv'))
           OR (setup.source_config ->> 'pattern' IS NULL AND (part.content_type ILIKE 'text/csv' OR part.name ~* '\.(tsv|txt)$')) THEN
            PERFORM sales_internal.take_file(company, job, setup.import_job_id, known || '/' || part.n, coalesce(part.name, 'attachment'), part.content);
        END IF;
    END LOOP;
    RETURN sales_internal.next_mail(job, company, setup, todo);
END
$$;
COMMENT ON FUNCTION sales_internal.settle_mail(uuid, uuid, sales.import_jobs, jsonb, bytea) IS 'Keeps a part of a mail, or the attachments of a whole one, and makes the next call';
REVOKE ALL ON FUNCTION sales_internal.settle_mail(uuid, uuid, sales.import_jobs, jsonb, bytea) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.prepare_import_fetch(job uuid, company uuid, args jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    setup sales.import_jobs;
    single text;
BEGIN
    SELECT * INTO setup FROM sales.import_jobs i WHERE i.company_id = company AND i.import_job_id = (args ->> 'import_job_id')::uuid;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'failed', 'error', 'the import is no longer there');
    END IF;
    setup.source_config := sales_internal.import_settings(setup.source_type, setup.source_config);
    single := regexp_replace(setup.source_config ->> 'url', '^.*/', '');
    UPDATE sales.import_runs r SET status = 'running', error = NULL, finished_at = NULL
    WHERE r.company_id = company AND r.run_id = job AND r.status <> 'running';
    PERFORM sales_internal.forget_parts(company, job);
    -- Asked anew after a failure: what is kept already is not asked for again.
    RETURN sales_internal.next_fetch(job, company, setup, CASE
        WHEN setup.source_type = 'email_attachment' THEN '{"ask": "search"}'::jsonb
        WHEN setup.source_type = 'ftp' AND setup.source_config ->> 'url' LIKE '%/' THEN '{"ask": "list"}'
        WHEN setup.source_type = 'ftp' THEN jsonb_build_object('ask', 'file', 'names', jsonb_build_array(jsonb_build_object('name', single, 'key', single)))
        ELSE jsonb_build_object('ask', 'page', 'n', 1, 'url', sales_internal.page_url(setup.source_config, setup.source_config ->> 'url', 1)) END);
END
$$;
COMMENT ON FUNCTION sales_internal.prepare_import_fetch(uuid, uuid, jsonb) IS 'Job import_fetch: the first call to the source';
REVOKE ALL ON FUNCTION sales_internal.prepare_import_fetch(uuid, uuid, jsonb) FROM PUBLIC;

-- --- pages of an API ---

CREATE OR REPLACE FUNCTION sales_internal.page_url(config jsonb, url text, n integer) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN config -> 'paging' ->> 'page' IS NULL THEN url
                ELSE url || CASE WHEN strpos(url, '?') > 0 THEN '&' ELSE '?' END || (config -> 'paging' ->> 'page') || '='
                     || (coalesce((config -> 'paging' ->> 'start')::integer, 1) + n - 1) END
$$;
COMMENT ON FUNCTION sales_internal.page_url(jsonb, text, integer) IS 'Address of the n-th page, where pages are numbered';
REVOKE ALL ON FUNCTION sales_internal.page_url(jsonb, text, integer) FROM PUBLIC;

-- A value of an item by the path that the mapping names: "$.name.first", or a key.
CREATE OR REPLACE FUNCTION sales_internal.item_value(item jsonb, path text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    value jsonb := CASE WHEN path ~ '^\$' THEN jsonb_path_query_first(item, path::jsonpath, silent => true) ELSE item -> path END;
BEGIN
    RETURN CASE WHEN jsonb_typeof(value) IN ('string', 'number', 'boolean') THEN value #>> '{}' END;
END
$$;
COMMENT ON FUNCTION sales_internal.item_value(jsonb, text) IS 'A scalar of an item as text; null for anything else';
REVOKE ALL ON FUNCTION sales_internal.item_value(jsonb, text) FROM PUBLIC;

-- Items as CSV, so that they go the way of every other row; null without any.
CREATE OR REPLACE FUNCTION sales_internal.items_csv(items jsonb[], field_mapping jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    WITH columns AS (
        SELECT k.key, row_number() OVER (ORDER BY k.key) AS n
        FROM (SELECT jsonb_object_keys(field_mapping - 'constants') AS key WHERE field_mapping - 'constants' <> '{}'
              UNION SELECT jsonb_object_keys(i) FROM unnest(items) i
                    WHERE jsonb_typeof(i) = 'object' AND coalesce(field_mapping - 'constants', '{}') = '{}') k
    )
    SELECT string_agg(line, E'\n' ORDER BY n)
    FROM (SELECT 0 AS n, (SELECT string_agg('"' || replace(c.key, '"', '""') || '"', ',' ORDER BY c.n) FROM columns c) AS line
          WHERE cardinality(items) > 0
          UNION ALL
          SELECT i.n, (SELECT string_agg(coalesce('"' || replace(sales_internal.item_value(i.item, c.key), '"', '""') || '"', ''), ',' ORDER BY c.n) FROM columns c)
          FROM unnest(items) WITH ORDINALITY i (item, n)) l
$$;
COMMENT ON FUNCTION sales_internal.items_csv(jsonb[], jsonb) IS 'Items of an API as CSV whose headers are the paths of the mapping, or the keys of the items';
REVOKE ALL ON FUNCTION sales_internal.items_csv(jsonb[], jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.settle_page(job uuid, company uuid, setup sales.import_jobs, todo jsonb, body bytea) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    config jsonb := setup.source_config;
    page integer := (todo ->> 'n')::integer;
    answer jsonb;
    items jsonb[];
    next_url text;
BEGIN
    IF setup.source_type = 'csv' THEN
        PERFORM sales_internal.take_file(company, job, setup.import_job_id, encode(sha256(body), 'hex'), regexp_replace(todo ->> 'url', '^.*/|[?].*$', '', 'g'), body);
        RETURN sales_internal.next_fetch(job, company, setup, '{}');
    END IF;
    BEGIN
        answer := convert_from(body, 'UTF8')::jsonb;
        items := ARRAY(SELECT jsonb_path_query(answer, coalesce(config ->> 'items', CASE WHEN jsonb_typeof(answer) = 'array' THEN '$[*]' ELSE '$.data[*]' END)::jsonpath));
    EXCEPTION WHEN data_exception OR syntax_error THEN
        RETURN jsonb_build_object('outcome', 'failed', 'error', format('page %s is not the JSON that was expected: %s', page, SQLERRM));
    END;
    -- Pages are no files: the same answer may come again tomorrow, and changes nothing then.
    IF cardinality(items) > 0 THEN
        INSERT INTO sales_internal.import_files (company_id, run_id, source_key, name, content)
        VALUES (company, job, 'page ' || page, 'page ' || page, convert_to(sales_internal.items_csv(items, setup.field_mapping), 'UTF8'))
        ON CONFLICT DO NOTHING;
    END IF;
    IF config -> 'paging' ->> 'page' IS NOT NULL AND cardinality(items) > 0 THEN
        next_url := sales_internal.page_url(config, config ->> 'url', page + 1);
    ELSIF config -> 'paging' ->> 'next_url' IS NOT NULL THEN
        next_url := jsonb_path_query_first(answer, (config -> 'paging' ->> 'next_url')::jsonpath, silent => true) #>> '{}';
        IF left(next_url, 1) = '/' THEN
            next_url := substring(config ->> 'url' FROM '^[a-z]+://[^/]+') || next_url;
        END IF;
    ELSIF config -> 'paging' ->> 'cursor' IS NOT NULL THEN
        next_url := jsonb_path_query_first(answer, (config -> 'paging' ->> 'cursor')::jsonpath, silent => true) #>> '{}';
        next_url := (config ->> 'url') || CASE WHEN strpos(config ->> 'url', '?') > 0 THEN '&' ELSE '?' END
                    || coalesce(config -> 'paging' ->> 'param', 'cursor') || '=' || sales_internal.url_segment(nullif(next_url, ''));
    END IF;
    IF next_url IS NULL OR next_url = todo ->> 'url' THEN
        RETURN sales_internal.next_fetch(job, company, setup, '{}');
    ELSIF page >= 10000 THEN
        RETURN jsonb_build_object('outcome', 'failed', 'error', 'more than 10000 pages');
    -- The key goes to the host that it was given for and to no other.
    ELSIF substring(next_url FROM '^[a-z]+://[^/?#]+') IS DISTINCT FROM substring(config ->> 'url' FROM '^[a-z]+://[^/?#]+') THEN
        RETURN jsonb_build_object('outcome', 'failed', 'error', format('page %s leads to another host: %s', page, left(next_url, 100)));
    END IF;
    RETURN sales_internal.next_fetch(job, company, setup, jsonb_build_object('ask', 'page', 'n', page + 1, 'url', next_url));
END
$$;
COMMENT ON FUNCTION sales_internal.settle_page(uuid, uuid, sales.import_jobs, jsonb, bytea) IS 'Keeps the items of a page and asks for the next';
REVOKE ALL ON FUNCTION sales_internal.settle_page(uuid, uuid, sales.import_jobs, jsonb, bytea) FROM PUBLIC;

-- --- answers ---

-- One file of a folder or one mail that cannot be had keeps nobody from the others;
-- the run says so and ends as failed.  A file that is gone (problem null) is no file.
CREATE OR REPLACE FUNCTION sales_internal.pass_over(job uuid, company uuid, setup sales.import_jobs, todo jsonb, problem text) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    list text := CASE todo ->> 'ask' WHEN 'mails' THEN 'uids' ELSE 'names' END;
    note text := CASE list WHEN 'uids' THEN 'mail ' || (todo #>> '{uids,0}') ELSE todo #>> '{names,0,name}' END || ': ' || problem;
BEGIN
    UPDATE sales.import_runs r SET error = concat_ws(E'\n', r.error, note)
    WHERE r.company_id = company AND r.run_id = job AND coalesce(strpos(r.error, note), 0) = 0 AND note IS NOT NULL;
    IF list = 'uids' THEN
        RETURN sales_internal.next_mail(job, company, setup, todo);
    END IF;
    RETURN sales_internal.next_fetch(job, company, setup, todo || jsonb_build_object(list, (todo -> list) - 0));
END
$$;
COMMENT ON FUNCTION sales_internal.pass_over(uuid, uuid, sales.import_jobs, jsonb, text) IS 'Notes why a file or mail was not fetched and goes on with the next';
REVOKE ALL ON FUNCTION sales_internal.pass_over(uuid, uuid, sales.import_jobs, jsonb, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.settle_import_fetch(job uuid, company uuid, args jsonb, response jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    setup sales.import_jobs;
    todo jsonb;
    body bytea := coalesce(decode(response ->> 'body_base64', 'base64'), convert_to(response ->> 'body', 'UTF8'), '');
    status integer := (response ->> 'status')::integer;
    problem text := response ->> 'error';
    name text;
    validity bigint;
BEGIN
    SELECT * INTO setup FROM sales.import_jobs i WHERE i.company_id = company AND i.import_job_id = (args ->> 'import_job_id')::uuid;
    setup.source_config := sales_internal.import_settings(setup.source_type, setup.source_config);
    SELECT r.progress INTO todo FROM sales.import_runs r WHERE r.company_id = company AND r.run_id = job;
    IF setup.import_job_id IS NULL OR todo IS NULL THEN
        RETURN jsonb_build_object('outcome', 'failed', 'error', 'the import is no longer there');
    ELSIF problem IS NULL AND setup.source_type IN ('csv', 'api') AND status NOT BETWEEN 200 AND 299 THEN
        problem := format('the server answered %s', status);
    ELSIF problem IS NULL AND setup.source_type = 'ftp' AND status >= 300 THEN
        problem := format('the server answered %s', status);
    END IF;
    IF problem IS NOT NULL AND (status IN (403, 404, 422) OR problem = 'the answer is larger than allowed')
       AND (todo ->> 'ask' = 'mails' OR (todo ->> 'ask' = 'file' AND setup.source_config ->> 'url' LIKE '%/')) THEN
        RETURN sales_internal.pass_over(job, company, setup, todo, CASE WHEN status = 404 THEN NULL ELSE problem END);
    ELSIF problem IS NOT NULL THEN
        -- What more of the same would not mend ends the run at once.
        RETURN jsonb_strip_nulls(jsonb_build_object(
            'outcome', CASE WHEN response -> 'blocked' = 'true' OR status BETWEEN 400 AND 428 OR status BETWEEN 430 AND 499
                            OR problem = 'the answer is larger than allowed' THEN 'failed' ELSE 'retry' END,
            'error', problem, 'after', CASE WHEN response -> 'headers' ->> 'retry-after' ~ '^\d{1,5}$' THEN (response -> 'headers' ->> 'retry-after')::integer END));
    END IF;
    CASE todo ->> 'ask'
        WHEN 'list' THEN
            RETURN sales_internal.next_fetch(job, company, setup, jsonb_build_object('ask', 'file', 'names', coalesce((
                SELECT jsonb_agg(n ORDER BY n ->> 'name', n ->> 'key') FROM sales_internal.listed_names(body) n
                WHERE sales_internal.glob_matches(n ->> 'name', coalesce(setup.source_config ->> 'pattern', '*.csv'))
                  AND (setup.source_config ->> 'once' IS NOT DISTINCT FROM 'content' OR NOT EXISTS (
                      SELECT FROM sales_internal.import_taken t
                      WHERE t.company_id = company AND t.import_job_id = setup.import_job_id AND t.source_key = n ->> 'key'))), '[]')));
        WHEN 'file' THEN
            name := todo #>> '{names,0,name}';
            -- A folder's files are known by their names, a single file by its content.
            PERFORM sales_internal.take_file(company, job, setup.import_job_id,
                CASE WHEN setup.source_config ->> 'url' LIKE '%/' AND setup.source_config ->> 'once' IS DISTINCT FROM 'content' THEN todo #>> '{names,0,key}'
                     ELSE (todo #>> '{names,0,key}') || ' ' || encode(sha256(body), 'hex') END, name, body);
            RETURN sales_internal.next_fetch(job, company, setup, jsonb_build_object('ask', 'file', 'names', (todo -> 'names') - 0));
        WHEN 'search' THEN
            validity := coalesce(sales_internal.imap_validity(body), 0);
            RETURN sales_internal.next_fetch(job, company, setup, jsonb_build_object('ask', 'mails', 'validity', validity, 'uids', coalesce((
                SELECT jsonb_agg(u ORDER BY u) FROM unnest(sales_internal.imap_uids(body)) u
                WHERE NOT EXISTS (SELECT FROM sales_internal.import_taken t WHERE t.company_id = company AND t.import_job_id = setup.import_job_id
                                    AND t.source_key = validity || '/' || u)), '[]')));
        WHEN 'mails' THEN
            RETURN sales_internal.settle_mail(job, company, setup, todo, body);
        ELSE
            RETURN sales_internal.settle_page(job, company, setup, todo, body);
    END CASE;
END
$$;
COMMENT ON FUNCTION sales_internal.settle_import_fetch(uuid, uuid, jsonb, jsonb) IS 'Job import_fetch: keeps what came and makes the next call';
REVOKE ALL ON FUNCTION sales_internal.settle_import_fetch(uuid, uuid, jsonb, jsonb) FROM PUBLIC;

-- --- importing what was fetched ---

-- A job that ended otherwise than by its own hand takes its run along.
CREATE OR REPLACE FUNCTION sales_internal.end_import_run() RETURNS trigger
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM sales.import_runs r WHERE r.company_id = NEW.company_id AND r.run_id = NEW.job_id AND r.status = 'running') THEN
        PERFORM sales_internal.close_import(NEW.company_id, NEW.job_id, NEW.state, NEW.error);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sales_internal.end_import_run() IS 'Trigger: a cancelled or failed job ends its run';
REVOKE ALL ON FUNCTION sales_internal.end_import_run() FROM PUBLIC;
CREATE OR REPLACE TRIGGER end_import_run AFTER UPDATE OF state ON sales_internal.jobs FOR EACH ROW
    WHEN (NEW.kind IN ('import_fetch', 'import_rows') AND NEW.state IN ('failed', 'cancelled'))
    EXECUTE FUNCTION sales_internal.end_import_run();

-- Ends the run and says in the import how it went.
CREATE OR REPLACE FUNCTION sales_internal.close_import(company uuid, run uuid, ended text, problem text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    finished sales.import_runs;
BEGIN
    PERFORM sales_internal.finish_run(company, run, ended, problem);
    SELECT * INTO finished FROM sales.import_runs r WHERE r.company_id = company AND r.run_id = run;
    -- what could not be read may be taken again, once the mapping is mended
    DELETE FROM sales_internal.import_taken t USING sales_internal.import_files f
    WHERE t.company_id = company AND t.import_job_id = finished.import_job_id AND f.company_id = company AND f.run_id = run
      AND f.source_key = t.source_key AND f.state <> 'done';
    DELETE FROM sales.import_uploads u USING sales_internal.import_files f
    WHERE u.company_id = company AND f.company_id = company AND f.run_id = run AND f.file_id = u.upload_id AND f.state = 'done';
    -- those that failed stay for retry_job(), until the import runs again
    DELETE FROM sales_internal.import_files f WHERE f.company_id = company AND f.run_id = run AND (f.state = 'done' OR ended <> 'failed');
    UPDATE sales.import_jobs i
    SET records_processed = finished.rows_read, records_failed = finished.rows_rejected,
        records_succeeded = finished.rows_read - finished.rows_rejected,
        status = CASE WHEN i.status IN ('active', 'failed') THEN (CASE ended WHEN 'failed' THEN 'failed' ELSE 'active' END)::sales.import_job_status
                      ELSE i.status END,
        error_log = nullif(concat_ws(E'\n', problem, (
            SELECT string_agg(e.line, E'\n' ORDER BY e.row_number) FROM (
                SELECT j.row_number, concat_ws(': ', concat_ws(', ', j.source_name, 'row ' || j.row_number), j.column_name, j.reason) AS line
                FROM sales.import_rejects j WHERE j.company_id = company AND j.run_id = run ORDER BY j.source_name, j.row_number LIMIT 20) e),
            CASE WHEN finished.rows_rejected > 20 THEN format('and %s more, see sales.import_rejects', finished.rows_rejected - 20) END), '')
    WHERE i.company_id = company AND i.import_job_id = finished.import_job_id;
END
$$;
COMMENT ON FUNCTION sales_internal.close_import(uuid, uuid, text, text) IS 'Ends a run of an import and writes its counters and errors into the import';
REVOKE ALL ON FUNCTION sales_internal.close_import(uuid, uuid, text, text) FROM PUBLIC;

-- Job import_rows, in a process of its own: imports for some seconds, commits by
-- ending as "wait", and is called again at once, until no file is left.  A crash
-- loses the last seconds, which the next call does again.
CREATE OR REPLACE FUNCTION sales_internal.import_rows(job uuid, company uuid, args jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    run sales.import_runs;
    setup sales.import_jobs;
    file sales_internal.import_files;
    opened record;
    total bigint;
    n integer;
    read_rows bigint;
    read_bytes bigint;
    started timestamptz := clock_timestamp();
    ready timestamptz;
    problem text;
BEGIN
    IF NOT sales_internal.take_import_turn(company, false) THEN
        RETURN jsonb_build_object('outcome', 'wait', 'after', 1, 'error', 'another import of the company is under way');
    END IF;
    SELECT * INTO run FROM sales.import_runs r WHERE r.company_id = company AND r.run_id = job;
    SELECT * INTO setup FROM sales.import_jobs i WHERE i.company_id = company AND i.import_job_id = run.import_job_id;
    IF run.status IS DISTINCT FROM 'running' THEN
        UPDATE sales.import_runs r SET status = 'running', error = NULL, finished_at = NULL WHERE r.company_id = company AND r.run_id = job;
        UPDATE sales_internal.import_files f SET state = 'new' WHERE f.company_id = company AND f.run_id = job AND f.state = 'failed';
    END IF;
    LOOP
        SELECT * INTO file FROM sales_internal.import_files f WHERE f.company_id = company AND f.run_id = job AND f.state = 'new'
        ORDER BY f.file_id LIMIT 1;
        EXIT WHEN NOT FOUND;
        total := coalesce(octet_length(file.content),
            (SELECT sum(octet_length(u.content)) FROM sales.import_uploads u WHERE u.company_id = company AND u.upload_id = file.file_id));
        BEGIN
            SELECT * INTO opened FROM sales_internal.csv_open_file(company, file.file_id, total, run.options ->> 'encoding', run.options ->> 'delimiter');
            PERFORM sales_internal.map_file(company, job, opened.headers, opened.found_encoding, opened.found_delimiter,
                                            setup.field_mapping, file.rows_done);
        EXCEPTION WHEN data_exception THEN
            GET STACKED DIAGNOSTICS problem = MESSAGE_TEXT;
            PERFORM sales_internal.csv_close();
            UPDATE sales_internal.import_files f SET state = 'failed' WHERE f.company_id = company AND f.file_id = file.file_id;
            UPDATE sales.import_runs r SET error = concat_ws(E'\n', r.error, concat_ws(': ', file.name, problem))
            WHERE r.company_id = company AND r.run_id = job;
            CONTINUE;
        END;
        ready := clock_timestamp();
        LOOP
            PERFORM sales_internal.note_progress('import', company, 'bytes of a file', sales_internal.csv_bytes(), total);
            n := sales_internal.import_batch(company, job, run.options, CASE WHEN setup.source_type = 'api' THEN 'api' ELSE 'import_csv' END::sales.prospect_source,
                                             10000, file.name);
            EXIT WHEN n = 0;
            read_rows := sales_internal.csv_position();
            read_bytes := sales_internal.csv_bytes();
            UPDATE sales_internal.import_files f SET rows_done = read_rows WHERE f.company_id = company AND f.file_id = file.file_id;
            UPDATE sales.import_runs r
            SET progress = jsonb_build_object('file', file.name, 'row', read_rows, 'bytes', read_bytes, 'total', total)
            WHERE r.company_id = company AND r.run_id = job;
            -- longer where it took long to get here, so that this does not add up
            IF clock_timestamp() - ready > greatest(interval '2 seconds', 2 * (ready - started)) THEN
                PERFORM sales_internal.csv_close(), sales_internal.end_progress('import');
                RETURN jsonb_build_object('outcome', 'wait', 'after', 0);
            END IF;
        END LOOP;
        PERFORM sales_internal.csv_close();
        UPDATE sales_internal.import_files f SET state = 'done' WHERE f.company_id = company AND f.file_id = file.file_id;
    END LOOP;
    SELECT * INTO run FROM sales.import_runs r WHERE r.company_id = company AND r.run_id = job;
    PERFORM sales_internal.close_import(company, job, CASE WHEN run.error IS NOT NULL THEN 'failed' ELSE 'done' END, run.error),
            sales_internal.end_progress('import');
    RETURN CASE WHEN run.error IS NOT NULL THEN jsonb_build_object('outcome', 'failed', 'error', run.error)
                ELSE jsonb_build_object('run_id', job, 'rows_read', run.rows_read, 'rows_inserted', run.rows_inserted,
                                        'rows_updated', run.rows_updated, 'rows_rejected', run.rows_rejected) END;
END
$$;
COMMENT ON FUNCTION sales_internal.import_rows(uuid, uuid, jsonb) IS 'Job import_rows: imports the files of a run, some seconds at a time';
REVOKE ALL ON FUNCTION sales_internal.import_rows(uuid, uuid, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.csv_position() RETURNS bigint
    AS 'MODULE_PATHNAME', 'sales_csv_position'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.csv_position() IS 'Number of the last record that was read of the open file';
REVOKE ALL ON FUNCTION sales_internal.csv_position() FROM PUBLIC;
CREATE OR REPLACE FUNCTION sales_internal.csv_bytes() RETURNS bigint
    AS 'MODULE_PATHNAME', 'sales_csv_bytes'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.csv_bytes() IS 'Bytes that were read of the open file';
REVOKE ALL ON FUNCTION sales_internal.csv_bytes() FROM PUBLIC;

DO $$
BEGIN
    INSERT INTO sales_internal.job_kinds (kind, mode, prepare_function, settle_function, max_attempts, lease) VALUES
        ('import_fetch', 'http', 'sales_internal.prepare_import_fetch', 'sales_internal.settle_import_fetch', 5, '15 minutes'),
        ('import_rows', 'long', 'sales_internal.import_rows', NULL, 3, '15 minutes')
    ON CONFLICT (kind) DO NOTHING;
    INSERT INTO sales_internal.periodic_tasks (name, every, run_function)
    VALUES ('imports', '20 seconds', 'sales_internal.run_due_imports') ON CONFLICT (name) DO NOTHING;
END
$$;
