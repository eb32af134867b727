-- Isolation, tried on the live database.

CREATE OR REPLACE FUNCTION sales_internal.probe(statement text, company uuid, OUT result text, OUT sqlstate text)
    AS 'MODULE_PATHNAME', 'sales_probe'
    LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION sales_internal.probe(text, uuid) IS
    'Runs a statement as sales_app in a company''s context, rolled back in any case: its first value or number of rows, or its error';
REVOKE ALL ON FUNCTION sales_internal.probe(text, uuid) FROM PUBLIC;

-- A company with a row in every table that tenants have.
CREATE OR REPLACE FUNCTION sales_internal.make_probe_company(name text) RETURNS uuid
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales.create_company(name, lower(name) || '.isolation-probe.invalid', 'starter', 'en', 'UTC',
                                         'probe@' || lower(name) || '.invalid', NULL);
    who uuid := (SELECT user_id FROM sales.users u WHERE u.company_id = company);
    product uuid := sales.uuidv7();
    template uuid := sales.uuidv7();
    address uuid := sales.uuidv7();
    prospect uuid := sales.uuidv7();
    message uuid := sales.uuidv7();
    task uuid := sales.uuidv7();
    job uuid := sales.uuidv7();
    run uuid := sales.uuidv7();
    mailbox uuid := sales.uuidv7();
    campaign uuid := sales.uuidv7();
    recipient uuid := sales.uuidv7();
BEGIN
    INSERT INTO sales.system_settings (company_id, category, key_name, value) VALUES (company, 'probe', 'key', 'value');
    INSERT INTO sales.api_keys (company_id, service_name, key_value) VALUES (company, 'probe', 'a-secret-of-the-probe');
    INSERT INTO sales.products (product_id, company_id, name) VALUES (product, company, 'probe');
    INSERT INTO sales.product_pricing (company_id, product_id, price_amount) VALUES (company, product, 1);
    INSERT INTO sales.product_benefits (company_id, product_id, benefit_text) VALUES (company, product, 'probe');
    INSERT INTO sales.templates (template_id, company_id, product_id, name, content_template) VALUES (template, company, product, 'probe', 'probe');
    INSERT INTO sales.addresses (address_id, company_id, city) VALUES (address, company, 'probe');
    INSERT INTO sales.prospects (prospect_id, company_id, product_id, address_id, first_name, email)
    VALUES (prospect, company, product, address, 'probe', 'probe@client.invalid');
    INSERT INTO sales.messages (message_id, company_id, prospect_id, channel, content, language) VALUES (message, company, prospect, 'email', 'probe', 'en');
    INSERT INTO sales.tasks (task_id, company_id, prospect_id, assigned_to, message_id, type, title) VALUES (task, company, prospect, who, message, 'call', 'probe');
    INSERT INTO sales.interactions (company_id, prospect_id, user_id, task_id, channel, type) VALUES (company, prospect, who, task, 'email', 'sent');
    INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, created_by) VALUES (company, prospect, 'contacte', who);
    INSERT INTO sales.enrichments (company_id, prospect_id, enrichment_type) VALUES (company, prospect, 'website');
    INSERT INTO sales.import_jobs (import_job_id, company_id, user_id, name, source_type) VALUES (job, company, who, 'probe', 'csv');
    INSERT INTO sales.import_runs (run_id, company_id, import_job_id) VALUES (run, company, job);
    INSERT INTO sales.import_rejects (company_id, run_id, row_number, reason) VALUES (company, run, 1, 'probe');
    INSERT INTO sales.import_uploads (company_id, content) VALUES (company, 'probe');
    INSERT INTO sales.mailboxes (mailbox_id, company_id, email) VALUES (mailbox, company, 'probe@client.invalid');
    INSERT INTO sales.email_campaigns (campaign_id, company_id, created_by, name, template_id) VALUES (campaign, company, who, 'probe', template);
    INSERT INTO sales.campaign_steps (company_id, campaign_id, step_number, template_id) VALUES (company, campaign, 2, template);
    INSERT INTO sales.campaign_recipients (recipient_id, company_id, campaign_id, prospect_id, mailbox_id) VALUES (recipient, company, campaign, prospect, mailbox);
    INSERT INTO sales.email_events (company_id, recipient_id, prospect_id, event, at, event_key) VALUES (company, recipient, prospect, 'opened', now(), 'probe');
    INSERT INTO sales.suppressions (company_id, address) VALUES (company, 'probe@client.invalid');
    INSERT INTO sales.consents (company_id, prospect_id, source, recorded_by) VALUES (company, prospect, 'probe', who);
    INSERT INTO sales.success_reports (company_id, report_type, report_period) VALUES (company, 'monthly', '2026-01');
    INSERT INTO sales.improvement_suggestions (company_id, suggestion_type, suggested_change) VALUES (company, 'channel_mix', 'probe');
    INSERT INTO sales.analytics (company_id, date) VALUES (company, '2026-01-01');
    INSERT INTO sales.success_metrics (company_id, period_start, period_end) VALUES (company, '2026-01-01', '2026-01-31');
    INSERT INTO sales.score_models (company_id, version, rows) VALUES (company, 1, 1);
    INSERT INTO sales.score_history (company_id, prospect_id, score, model_version) VALUES (company, prospect, 1, 1);
    RETURN company;
END
$$;
COMMENT ON FUNCTION sales_internal.make_probe_company(text) IS 'A company with a row in each tenant table; for test_isolation(), which rolls it back';
REVOKE ALL ON FUNCTION sales_internal.make_probe_company(text) FROM PUBLIC;

-- Does anybody but the owner hold anything on a relation, or on a column of it?
CREATE OR REPLACE FUNCTION sales_internal.is_granted(relation oid) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT EXISTS (SELECT FROM pg_class c, aclexplode(c.relacl) g WHERE c.oid = relation AND g.grantee <> c.relowner)
        OR EXISTS (SELECT FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid, aclexplode(a.attacl) g
                   WHERE c.oid = relation AND NOT a.attisdropped AND g.grantee <> c.relowner)
$$;
COMMENT ON FUNCTION sales_internal.is_granted(oid) IS 'Does anybody but its owner hold a right on a relation or on a column of it?';
REVOKE ALL ON FUNCTION sales_internal.is_granted(oid) FROM PUBLIC;

-- One attempt: `harmless` says which results are fine when no error comes.  No
-- row where the relation was dropped since it was listed.
CREATE OR REPLACE FUNCTION sales_internal.attempt(
    relation oid, name text, what text, statement text, company uuid, harmless text DEFAULT '0')
RETURNS TABLE (object text, attempt text, outcome text, ok boolean)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    answer record;
BEGIN
    SELECT * INTO answer FROM sales_internal.probe(statement, company);
    object := name;
    attempt := what;
    outcome := CASE WHEN answer.sqlstate IS NULL THEN
                        CASE WHEN answer.result = '0' THEN 'no rows' ELSE 'got ' || left(answer.result, 100) END
                    ELSE 'refused: ' || answer.result END;
    -- An error counts as a refusal only if it is one: no privilege or row
    -- security, and for a reference the foreign key.  Any other error came later
    -- than those, so the statement had got through to the row.
    ok := CASE WHEN answer.sqlstate IS NULL THEN answer.result = harmless
               ELSE answer.sqlstate = '42501' OR (what LIKE 'reference%' AND answer.sqlstate = '23503') END;
    -- Asked of the catalogue as it is now, whatever snapshot we have: null where
    -- there is no such relation.
    IF ok OR pg_table_is_visible(relation) IS NOT NULL THEN
        RETURN NEXT;
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.attempt(oid, text, text, text, uuid, text) IS
    'One attempt of test_isolation() and what came of it; no row where the relation is not there any more';
REVOKE ALL ON FUNCTION sales_internal.attempt(oid, text, text, text, uuid, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.test_isolation() RETURNS TABLE (object text, attempt text, outcome text, ok boolean)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    mine uuid;
    theirs uuid;
    target record;
    link record;
    their_row text;
    own bigint;
BEGIN
    IF 'sales.companies'::regclass = ANY (sales_internal.citus_tables()) THEN
        RAISE feature_not_supported USING MESSAGE = 'test_isolation() does not run on a cluster',
            HINT = 'Run it before sales.distribute(), which keeps policies and grants. docs/citus.md says how isolation holds there.';
    END IF;
    BEGIN
        mine := sales_internal.make_probe_company('Mine');
        theirs := sales_internal.make_probe_company('Theirs');

        FOR target IN
            SELECT c.oid, c.oid::regclass::text AS name, c.relkind,
                   EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'company_id') AS has_company,
                   EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attacl IS NOT NULL) AS has_column_grants
            FROM pg_class c
            WHERE (c.relnamespace IN ('sales'::regnamespace, 'sales_bi'::regnamespace) OR (has_table_privilege('sales_app', c.oid, 'SELECT')
                   AND has_schema_privilege('sales_app', c.relnamespace, 'USAGE') AND c.oid IN (SELECT t.view FROM sales_internal.tenant_views() t)))
              AND c.relkind IN ('r', 'p', 'v', 'm') AND NOT c.relispartition
              -- a partition on its way to its parent is nobody's: tried below
              AND (c.relkind <> 'r' OR sales_internal.is_granted(c.oid))
              AND c.oid NOT IN ('sales.company_sizes'::regclass, 'sales.industries'::regclass, 'sales.providers'::regclass)
            ORDER BY c.relkind = 'v', c.oid::regclass::text
        LOOP
            -- whatever the columns, no row may mention the other company
            RETURN QUERY SELECT * FROM sales_internal.attempt(target.oid, target.name, 'read',
                CASE WHEN target.has_company AND target.relkind IN ('v', 'm') THEN format('SELECT count(*) FROM %s WHERE company_id IS DISTINCT FROM %L', target.name, mine)
                     WHEN target.has_company THEN format('SELECT count(*) FROM %s WHERE company_id = %L', target.name, theirs)
                     ELSE format('SELECT count(*) FROM %s x WHERE x::text LIKE ''%%%s%%''', target.name, theirs) END, mine);
            -- a right on any one column is enough to count rows
            IF target.has_company THEN
                EXECUTE format('SELECT count(*) FROM %s WHERE company_id = $1', target.name) INTO own USING mine;
            END IF;
            IF target.has_column_grants AND target.has_company THEN
                RETURN QUERY SELECT * FROM sales_internal.attempt(target.oid, target.name, 'count by a column''s grant',
                    format('SELECT greatest(count(*) - %s, 0) FROM %s', own, target.name), mine);
            END IF;
            CONTINUE WHEN target.relkind NOT IN ('r', 'p') OR NOT target.has_company;
            RETURN QUERY SELECT * FROM sales_internal.attempt(target.oid, target.name, 'read all companies',
                format('SELECT count(*) FROM %s WHERE company_id IS DISTINCT FROM %L', target.name, mine), mine);
            -- A command that names no column of the rows is asked by its own policy alone, so it reaches all that one
            -- with a condition would.  What is in its WHERE counts the rows that it is given and is never true.
            FOR link IN SELECT * FROM (VALUES ('update', 'UPDATE %1$s SET company_id = NULL'), ('delete', 'DELETE FROM %1$s')) v (what, command) LOOP
                PERFORM set_config('sales_probe.reached', '0', true);
                RETURN QUERY SELECT * FROM sales_internal.attempt(target.oid, target.name, link.what,
                    format('WITH reached AS (' || link.command || ' WHERE set_config(''sales_probe.reached'', '
                           '(current_setting(''sales_probe.reached'')::bigint + 1)::text, true) IS NULL RETURNING 1) '
                           'SELECT greatest(current_setting(''sales_probe.reached'')::bigint - %2$s, 0) FROM (SELECT count(*) FROM reached OFFSET 0) x',
                           target.name, own), mine);
            END LOOP;
            RETURN QUERY SELECT * FROM sales_internal.attempt(target.oid, target.name, 'move away',
                format('UPDATE %s SET company_id = %L WHERE company_id = %L', target.name, theirs, mine), mine);
            RETURN QUERY SELECT * FROM sales_internal.attempt(target.oid, target.name, 'truncate',
                format('TRUNCATE %s', target.name), mine, 'nothing is harmless');
            -- a sealed secret cannot be written again: another one is
            EXECUTE format('SELECT (to_jsonb(t) || CASE WHEN to_jsonb(t) ? ''key_value'' THEN ''{"key_value": "another secret"}''::jsonb ELSE ''{}'' END)::text FROM %s t WHERE company_id = $1 LIMIT 1', target.name) INTO their_row USING theirs;
            IF their_row IS NULL THEN
                object := target.name; attempt := 'insert'; outcome := 'not tried: no row to copy'; ok := NULL;
                RETURN NEXT;
            ELSE
                RETURN QUERY SELECT * FROM sales_internal.attempt(target.oid, target.name, 'insert',
                    format('INSERT INTO %s SELECT * FROM jsonb_populate_record(NULL::%s, %L)', target.name, target.name, their_row),
                    mine, 'nothing is harmless');
            END IF;
            -- my row made to point at theirs
            FOR link IN
                SELECT f.confrelid AS to_oid, f.confrelid::regclass::text AS to_table, a.attname AS from_column, b.attname AS to_column
                FROM pg_constraint f
                JOIN pg_attribute a ON a.attrelid = f.conrelid AND a.attnum = f.conkey[2]
                JOIN pg_attribute b ON b.attrelid = f.confrelid AND b.attnum = f.confkey[2]
                WHERE f.conrelid = target.oid AND f.contype = 'f' AND cardinality(f.conkey) = 2 AND f.conparentid = 0
                ORDER BY f.conname
            LOOP
                RETURN QUERY SELECT * FROM sales_internal.attempt(target.oid, target.name, format('reference %s by %s', link.to_table, link.from_column),
                    format('WITH changed AS (UPDATE %1$s SET %2$I = %3$L WHERE company_id = %4$L RETURNING %2$I AS key) '
                           'SELECT count(*) FROM changed WHERE key = %3$L', target.name, link.from_column,
                        sales_internal.probe_key(link.to_oid, link.to_column, theirs), mine), mine);
            END LOOP;
        END LOOP;
        FOR target IN
            SELECT c.oid, c.oid::regclass::text AS name FROM pg_class c
            WHERE c.relkind IN ('r', 'p', 'v') AND (c.relnamespace = 'sales_internal'::regnamespace
                  OR (c.relnamespace = 'sales'::regnamespace AND (c.relispartition OR (c.relkind = 'r' AND NOT sales_internal.is_granted(c.oid)))))
            ORDER BY c.oid::regclass::text
        LOOP
            RETURN QUERY SELECT * FROM sales_internal.attempt(target.oid, target.name, 'read directly',
                format('SELECT count(*) FROM %s', target.name), mine, 'nothing is harmless');
        END LOOP;
        RAISE EXCEPTION USING ERRCODE = 'SA001', MESSAGE = 'the probe is rolled back';
    EXCEPTION WHEN SQLSTATE 'SA001' THEN NULL;
    END;
END
$$;
COMMENT ON FUNCTION sales.test_isolation() IS
    'Tries to read, write, move and reference another company''s rows in every tenant table and view; everything is rolled back. ok is false where something got through';
REVOKE ALL ON FUNCTION sales.test_isolation() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.test_isolation() TO sales_admin;

CREATE OR REPLACE FUNCTION sales_internal.probe_key(target regclass, key text, company uuid) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    value text;
BEGIN
    EXECUTE format('SELECT %I::text FROM %s WHERE company_id = $1 LIMIT 1', key, target) INTO value USING company;
    RETURN value;
END
$$;
COMMENT ON FUNCTION sales_internal.probe_key(regclass, text, uuid) IS 'Key of some row of a company; for test_isolation()';
REVOKE ALL ON FUNCTION sales_internal.probe_key(regclass, text, uuid) FROM PUBLIC;

