-- Privacy: where personal data lies, its export, its erasure, and its retention.

-- Where a prospect's data lies, and what becomes of it when the person is erased.
-- Each column of text, JSON or bytes of the extension's tables stands here, or a
-- test fails: a new column is put into the line that says what it is.
--   found_by  prospect  the row carries the prospect's key
--             address   the row is the prospect's address, and no other's
--             key       a key of one of the person's rows stands in the row
--             audit     audit values of the person's rows
--             mention   text that may name anybody
--             user      about the company's own users, whose data is not a prospect's
--             none      about nobody
--   on_erase  erase     null, or a placeholder where null is not allowed
--             delete    the whole row goes
--             redact    only what names the person goes
--             keep
CREATE OR REPLACE VIEW sales_internal.data_map AS
SELECT v.table_name, c.column_name, v.found_by, v.on_erase, v.purpose
FROM (VALUES
    ('sales.prospects', 'prospect', 'erase', 'Whom the company would like to sell to',
     'first_name last_name email phone job_title company_name website linkedin_url twitter_url blog_url pain_points tender_opportunities competitive_intel notes'),
    ('sales.prospects', 'none', 'keep', 'Statistics', 'estimated_budget_currency'),
    ('sales.prospects', 'none', 'keep', 'Why the person cannot be erased yet', 'legal_hold'),
    ('sales.addresses', 'address', 'delete', 'Where to reach the person', 'street_address city postal_code region country'),
    ('sales.messages', 'prospect', 'erase', 'Messages written for the person', 'subject content ai_prompt_used'),
    ('sales.messages', 'none', 'keep', 'Statistics', 'language'),
    ('sales.tasks', 'prospect', 'erase', 'What is to be done about the person', 'title description notes'),
    ('sales.interactions', 'prospect', 'erase', 'Correspondence and calls with the person', 'subject content response_content'),
    ('sales.conversion_funnel', 'prospect', 'erase', 'How the deal went', 'loss_reason next_action'),
    ('sales.enrichments', 'prospect', 'erase', 'What was looked up about the person', 'original_value enriched_value applied_value error'),
    ('sales.enrichments', 'none', 'keep', 'Statistics: who was asked', 'source_api'),
    ('sales.audit_logs', 'none', 'keep', 'Keyed digests, from which nothing can be read', 'digest values_digest'),
    ('sales_internal.audit_expiries', 'none', 'keep', 'Keyed digest', 'mac'),
    ('sales_internal.audit_keys', 'none', 'keep', 'Former keys, encrypted', 'key_id sealed'),
    ('sales_internal.key_check', 'none', 'keep', 'Which master key is in use', 'is_only key_name sealed'),
    ('sales_internal.audit_seals', 'none', 'keep', 'Keyed digest', 'chain'),
    ('sales.audit_logs', 'audit', 'erase', 'Proof of who changed what', 'old_values new_values'),
    ('sales.audit_logs', 'user', 'keep', 'Proof of who changed what', 'table_name ip_address user_agent gdpr_basis'),
    ('sales.import_rejects', 'mention', 'erase', 'Rows that an import did not take', 'reason raw_text source_name'),
    ('sales.import_rejects', 'none', 'keep', 'Name of a column', 'column_name'),
    ('sales.import_runs', 'mention', 'redact', 'How an import went', 'mapping options error progress'),
    ('sales.import_runs', 'none', 'keep', 'State', 'status detected'),
    ('sales.import_jobs', 'mention', 'redact', 'How an import went', 'name error_log'),
    ('sales.import_jobs', 'none', 'keep', 'Set-up of an import; erase_import_files() replaces what names the person in data that it holds', 'source_config schedule_cron field_mapping'),
    ('sales_internal.import_changes', 'prospect', 'delete', 'Undoing an import', 'before after'),
    ('sales_internal.jobs', 'key', 'erase', 'Work about the person: calls of services and their answers', 'args result error'),
    ('sales_internal.jobs', 'mention', 'redact', 'Work under way is not doubled', 'unique_key'),
    ('sales_internal.jobs', 'none', 'keep', 'What kind of work', 'kind state'),
    ('sales.success_reports', 'mention', 'redact', 'Reports', 'key_metrics insights_generated recommendations benchmark_data sent_to_emails'),
    ('sales.success_reports', 'none', 'keep', 'Period', 'report_period'),
    ('sales.improvement_suggestions', 'mention', 'redact', 'Suggestions', 'current_performance suggested_change expected_improvement ai_reasoning result_measured'),
    ('sales.templates', 'mention', 'redact', 'Templates', 'name subject_template content_template variables'),
    ('sales.templates', 'none', 'keep', 'Set-up', 'language'),
    ('sales.email_campaigns', 'mention', 'redact', 'Whom a campaign is for', 'name target_filter'),
    ('sales.email_campaigns', 'none', 'keep', 'Set-up', 'schedule_cron approval'),
    ('sales_internal.country_zones', 'none', 'keep', 'Reference data', 'country region zone'),
    ('sales.campaign_recipients', 'prospect', 'erase', 'Mails of campaigns to the person', 'reason address_hash domain'),
    ('sales.campaign_recipients', 'none', 'keep', 'Statistics', 'timezone message_ref bounce_type'),
    ('sales.campaign_steps', 'mention', 'redact', 'Texts of campaigns', 'approved_subject approved_content approved_variables'),
    ('sales.campaign_steps', 'none', 'keep', 'Set-up', 'approved_language'),
    ('sales.email_events', 'prospect', 'erase', 'What became of mails to the person', 'detail'),
    ('sales.email_events', 'none', 'keep', 'Statistics', 'event event_key'),
    ('sales.consents', 'prospect', 'erase', 'Proof of consent', 'source'),
    ('sales.consents', 'none', 'keep', 'Proof of consent', 'purpose'),
    ('sales.suppressions', 'mention', 'redact', 'That an address is not written to', 'source'),
    ('sales.suppressions', 'none', 'keep', 'That an address is not written to: a keyed hash, so that it stays so after erasure', 'address address_hash'),
    ('sales.mailboxes', 'mention', 'redact', 'Mailboxes of the company', 'last_error'),
    ('sales.mailboxes', 'user', 'keep', 'Mailboxes of the company', 'email display_name reply_to smtp_url smtp_user smtp_tls provider imap_url imap_user imap_tls dkim_selector'),
    ('sales_internal.mail_keys', 'none', 'keep', 'Key of the hashes of addresses', 'key'),
    ('sales_internal.company_domains', 'none', 'keep', 'Which company has a domain, on a cluster', 'domain'),
    ('sales_internal.shard_requests', 'none', 'keep', 'Work on its way to the coordinator of a cluster, for a second', 'kind args'),
    ('sales_internal.domain_slots', 'none', 'keep', 'When a mail domain is written to next', 'domain'),
    ('sales.users', 'user', 'keep', 'Logins of the company''s own people', 'email password_hash first_name last_name language'),
    ('sales_internal.sessions', 'user', 'keep', 'Sessions of the company''s own people', 'user_agent ip_address'),
    ('sales_internal.bound_roles', 'user', 'keep', 'Logins of the company''s own tools', 'role_name'),
    ('sales.companies', 'none', 'keep', 'The company itself', 'name domain language timezone'),
    ('sales.roles', 'none', 'keep', 'Set-up', 'name description permissions'),
    ('sales.system_settings', 'none', 'keep', 'Set-up', 'category key_name value description'),
    ('sales.api_keys', 'none', 'keep', 'Keys of services', 'service_name key_value key_last4 key_hosts'),
    ('sales.products', 'mention', 'redact', 'Catalogue: who is quoted in it', 'name description target_market'),
    ('sales.product_pricing', 'none', 'keep', 'Catalogue', 'currency'),
    ('sales.product_benefits', 'mention', 'redact', 'Catalogue: who is quoted in it', 'benefit_text'),
    ('sales.providers', 'none', 'keep', 'Services', 'name service purpose base_url request answer model final_codes'),
    ('sales.company_sizes', 'none', 'keep', 'Reference data', 'size_range'),
    ('sales.industries', 'none', 'keep', 'Reference data', 'name description nace_codes'),
    ('sales_internal.setting_defaults', 'none', 'keep', 'Reference data', 'key value description'),
    ('sales_internal.issuers', 'none', 'keep', 'Identity providers', 'issuer jwks claims'),
    ('sales_internal.job_kinds', 'none', 'keep', 'Reference data', 'kind mode prepare_function settle_function'),
    ('sales_internal.periodic_tasks', 'mention', 'redact', 'Why a task failed', 'last_error'),
    ('sales_internal.periodic_tasks', 'none', 'keep', 'Set-up', 'name run_function'),
    ('sales_internal.local_texts', 'none', 'keep', 'Reference data', 'language purpose subject body'),
    ('sales_internal.lexicon', 'none', 'keep', 'Reference data', 'language word kind'),
    ('sales_internal.countries', 'none', 'keep', 'Reference data', 'iso2 iso3 language names'),
    ('sales_internal.nace_cpv', 'none', 'keep', 'Reference data', 'section cpv'),
    ('sales_internal.email_lists', 'none', 'keep', 'Reference data', 'kind value'),
    ('sales.import_uploads', 'mention', 'redact', 'Files on their way into an import', 'name'),
    ('sales.import_uploads', 'none', 'keep', 'Files on their way into an import, removed by it; erase_import_files() removes one that names the person', 'content'),
    ('sales_internal.import_files', 'mention', 'redact', 'Files of a run under way, or that failed', 'name'),
    ('sales_internal.import_files', 'none', 'keep', 'Files of a run under way, or that failed; erase_import_files() removes one that names the person', 'source_key content state'),
    ('sales_internal.import_taken', 'none', 'keep', 'Which files and mails were taken', 'source_key'),
    ('sales_internal.import_headers', 'none', 'keep', 'Reference data', 'header field'),
    ('sales_internal.scorecards', 'none', 'keep', 'Weights of a model; categories are sectors, sources, ranks and countries', 'label model options'),
    ('sales_internal.service_pace', 'mention', 'redact', 'Why a service is left alone for a while', 'last_error'),
    ('sales_internal.service_pace', 'none', 'keep', 'Services', 'service'),
    ('sales_internal.ai_costs', 'none', 'keep', 'What calls cost', 'provider purpose model prompt'))
    AS v (table_name, found_by, on_erase, purpose, columns)
CROSS JOIN LATERAL unnest(string_to_array(v.columns, ' ')) AS c (column_name);
COMMENT ON VIEW sales_internal.data_map IS
    'Each column of text, JSON or bytes: whether it is about a prospect, for what, how it is found, and what erasure does to it';

-- The part of the map that the tables' definition adds to.
CREATE OR REPLACE FUNCTION sales_internal.personal_columns()
RETURNS TABLE (target regclass, number smallint, name text, type regtype, size integer, not_null boolean,
               found_by text, on_erase text, purpose text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT a.attrelid::regclass, a.attnum, a.attname::text, a.atttypid::regtype,
           CASE WHEN a.atttypid = 'varchar'::regtype AND a.atttypmod > 0 THEN a.atttypmod - 4 END, a.attnotnull,
           m.found_by, m.on_erase, m.purpose
    FROM sales_internal.data_map m
    JOIN pg_attribute a ON a.attrelid = to_regclass(m.table_name) AND a.attname = m.column_name AND NOT a.attisdropped
    WHERE m.on_erase <> 'keep'
$$;
COMMENT ON FUNCTION sales_internal.personal_columns() IS 'Columns that may hold a prospect''s data, as they are defined';
REVOKE ALL ON FUNCTION sales_internal.personal_columns() FROM PUBLIC;

-- --- finding the person ---

CREATE OR REPLACE FUNCTION sales_internal.regex_quote(plain text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$ SELECT regexp_replace(plain, '([][(){}.*+?^$|\\])', '\\\1', 'g') $$;
COMMENT ON FUNCTION sales_internal.regex_quote(text) IS 'A regular expression for exactly this text';
REVOKE ALL ON FUNCTION sales_internal.regex_quote(text) FROM PUBLIC;

-- All names, addresses, numbers and profiles that the person has ever had here.
CREATE OR REPLACE FUNCTION sales_internal.person_pattern(company uuid, person uuid) RETURNS sales_internal.person_pattern
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    emails text;
    others text;
    found sales_internal.person_pattern;
BEGIN
    WITH versions AS MATERIALIZED (
        SELECT to_jsonb(p) AS v FROM sales.prospects p WHERE p.company_id = company AND p.prospect_id = person
        UNION ALL
        SELECT x.v FROM sales.audit_logs l CROSS JOIN LATERAL (VALUES (l.old_values), (l.new_values)) x (v)
        WHERE l.company_id = company AND l.record_id = person AND l.table_name = 'prospects' AND x.v IS NOT NULL
        UNION ALL
        SELECT x.v FROM sales_internal.import_changes c CROSS JOIN LATERAL (VALUES (c.before), (c.after)) x (v)
        WHERE c.company_id = company AND c.prospect_id = person AND x.v IS NOT NULL
    ), firsts AS (
        SELECT n.plain, sales_internal.regex_quote(n.plain) AS name
        FROM (SELECT DISTINCT trim(v ->> 'first_name') AS plain FROM versions) n WHERE length(n.plain) >= 2 LIMIT 20
    ), lasts AS (
        SELECT n.plain, sales_internal.regex_quote(n.plain) AS name
        FROM (SELECT DISTINCT trim(v ->> 'last_name') AS plain FROM versions) n WHERE length(n.plain) >= 2 LIMIT 20
    ), emails AS (
        SELECT DISTINCT lower(e.address) AS address FROM (SELECT trim(v ->> 'email') AS address FROM versions) e WHERE length(e.address) >= 5
    ), phones AS (
        SELECT DISTINCT right(p.digits, 8) AS digits FROM (SELECT regexp_replace(v ->> 'phone', '\D', '', 'g') AS digits FROM versions) p WHERE length(p.digits) >= 8
    ), profiles AS (
        SELECT DISTINCT p.plain
        FROM versions CROSS JOIN LATERAL (VALUES (v ->> 'linkedin_url'), (v ->> 'twitter_url'), (v ->> 'blog_url')) u (url)
        CROSS JOIN LATERAL (SELECT rtrim(regexp_replace(u.url, '^https?://(www\.)?', '', 'i'), '/') AS plain) p
        WHERE length(u.url) >= 8 AND p.plain <> ''
    ), patterns AS (
        -- the last eight digits, whatever stands between and before them
        SELECT '[+(]?(?:[0-9][ ./()-]*)*' || regexp_replace(p.digits, '(\d)(?=\d)', '\1[ ./()-]*', 'g') AS pattern FROM phones p
        UNION
        SELECT '(?:https?://)?(?:www\.)?' || sales_internal.regex_quote(u.plain) || '/?' FROM profiles u
        UNION
        SELECT n.pattern FROM firsts f CROSS JOIN lasts l
        CROSS JOIN LATERAL (VALUES (f.name || '[\s,;]+' || l.name), (l.name || '[\s,;]+' || f.name)) n (pattern)
    )
    SELECT (SELECT string_agg(sales_internal.regex_quote(e.address) || '|' || sales_internal.regex_quote(replace(e.address, '@', '%40')), '|') FROM emails e),
           (SELECT string_agg(p.pattern, '|') FROM patterns p),
           (SELECT array_agg('^(?=.*\m' || f.name || '\M)(?=.*\m' || l.name || '\M)') FROM firsts f CROSS JOIN lasts l),
           (SELECT '\m(?:' || string_agg(n.name, '|') || ')\M' FROM (SELECT f.name FROM firsts f UNION SELECT l.name FROM lasts l) n),
           (SELECT array_agg(n.needle) FROM (SELECT e.address FROM emails e UNION SELECT replace(e.address, '@', '%40') FROM emails e
                                             UNION SELECT u.plain FROM profiles u) n (needle)),
           (SELECT array_agg(p.digits) FROM phones p),
           (SELECT array_agg(f.plain) FROM firsts f),
           (SELECT array_agg(l.plain) FROM lasts l)
    INTO emails, others, found.pairs, found.words, found.needles, found.numbers, found.firsts, found.lasts;
    found.sure := nullif(concat_ws('|', '(?<![[:alnum:]._%+-])(?:' || emails || ')(?![[:alnum:]])',
                                   '(?<![[:alnum:]])(?:' || others || ')(?![[:alnum:]])'), '');
    RETURN found;
END
$$;
COMMENT ON FUNCTION sales_internal.person_pattern(uuid, uuid) IS
    'Patterns of all e-mail addresses, numbers, profiles and names that a prospect has or had';
REVOKE ALL ON FUNCTION sales_internal.person_pattern(uuid, uuid) FROM PUBLIC;

-- Only texts that have one of the needles are given to the expressions.
CREATE OR REPLACE FUNCTION sales_internal.mentions(body text, person sales_internal.person_pattern) RETURNS boolean
    AS 'MODULE_PATHNAME', 'sales_mentions'
    LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.mentions(text, sales_internal.person_pattern) IS 'Does the text name the person?';
REVOKE ALL ON FUNCTION sales_internal.mentions(text, sales_internal.person_pattern) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.redact(body text, person sales_internal.person_pattern) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN coalesce(body ~* ANY (person.pairs), false)
                THEN regexp_replace(once.body, person.words, '[erased]', 'gi') ELSE once.body END
    FROM (SELECT CASE WHEN person.sure IS NULL THEN redact.body
                      ELSE regexp_replace(redact.body, person.sure, '[erased]', 'gi') END AS body) once
$$;
COMMENT ON FUNCTION sales_internal.redact(text, sales_internal.person_pattern) IS 'The text with what names the person replaced by [erased]';
REVOKE ALL ON FUNCTION sales_internal.redact(text, sales_internal.person_pattern) FROM PUBLIC;

-- Strings, keys of objects, and numbers that are the person's telephone number.
CREATE OR REPLACE FUNCTION sales_internal.redact(body jsonb, person sales_internal.person_pattern) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    result jsonb;
BEGIN
    CASE jsonb_typeof(body)
        WHEN 'object' THEN
            SELECT coalesce(jsonb_object_agg(sales_internal.redact(e.key, person), sales_internal.redact(e.value, person)), '{}') INTO result
            FROM jsonb_each(body) e;
        WHEN 'array' THEN
            SELECT coalesce(jsonb_agg(sales_internal.redact(e.value, person) ORDER BY e.ordinality), '[]') INTO result
            FROM jsonb_array_elements(body) WITH ORDINALITY e;
        WHEN 'string' THEN
            result := to_jsonb(sales_internal.redact(body #>> '{}', person));
        WHEN 'number' THEN
            result := CASE WHEN sales_internal.mentions(body #>> '{}', person) THEN to_jsonb('[erased]'::text) ELSE body END;
        ELSE
            result := body;
    END CASE;
    RETURN result;
END
$$;
COMMENT ON FUNCTION sales_internal.redact(jsonb, sales_internal.person_pattern) IS 'The JSON with what names the person replaced by [erased]';
REVOKE ALL ON FUNCTION sales_internal.redact(jsonb, sales_internal.person_pattern) FROM PUBLIC;

-- Tables of the extension whose rows carry a prospect's key, and their own key.
CREATE OR REPLACE FUNCTION sales_internal.person_tables() RETURNS TABLE (target regclass, key text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.oid::regclass,
           (SELECT k.attname::text FROM pg_index i JOIN pg_attribute k ON k.attrelid = c.oid AND k.attnum = ANY (i.indkey)
            WHERE i.indrelid = c.oid AND i.indisprimary AND k.atttypid = 'uuid'::regtype AND k.attname <> 'company_id'
            ORDER BY k.attname = 'prospect_id', k.attnum LIMIT 1)
    FROM pg_class c
    WHERE c.relnamespace IN ('sales'::regnamespace, 'sales_internal'::regnamespace) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
      AND (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname IN ('company_id', 'prospect_id')
           AND a.atttypid = 'uuid'::regtype AND NOT a.attisdropped) = 2
$$;
COMMENT ON FUNCTION sales_internal.person_tables() IS 'Tables whose rows carry the key of a prospect, with the column of their own key';
REVOKE ALL ON FUNCTION sales_internal.person_tables() FROM PUBLIC;

-- Keys of the person's rows, the prospect's and its address's among them.
CREATE OR REPLACE FUNCTION sales_internal.person_keys(company uuid, person uuid) RETURNS uuid[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    place record;
    own uuid[];
    keys uuid[] := ARRAY[person];
BEGIN
    FOR place IN SELECT * FROM sales_internal.person_tables() t WHERE t.key IS NOT NULL AND t.key <> 'prospect_id' LOOP
        EXECUTE format('SELECT array_agg(%I) FROM %s WHERE company_id = $1 AND prospect_id = $2', place.key, place.target)
        INTO own USING company, person;
        keys := keys || coalesce(own, '{}');
    END LOOP;
    RETURN keys || ARRAY(
        SELECT p.address_id FROM sales.prospects p
        WHERE p.company_id = company AND p.prospect_id = person AND p.address_id IS NOT NULL
          AND NOT EXISTS (SELECT FROM sales.prospects o WHERE o.company_id = company AND o.address_id = p.address_id AND o.prospect_id <> person));
END
$$;
COMMENT ON FUNCTION sales_internal.person_keys(uuid, uuid) IS 'Keys of all rows about a prospect; an address only if it is nobody else''s';
REVOKE ALL ON FUNCTION sales_internal.person_keys(uuid, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.holds_key(body text, keys uuid[]) RETURNS boolean
    AS 'MODULE_PATHNAME', 'sales_holds_key'
    LANGUAGE C IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.holds_key(text, uuid[]) IS 'Does one of the keys stand in the text?';
REVOKE ALL ON FUNCTION sales_internal.holds_key(text, uuid[]) FROM PUBLIC;

-- The prospect of the caller's company, or an error.
CREATE OR REPLACE FUNCTION sales_internal.require_prospect(company uuid, person uuid) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT EXISTS (SELECT FROM sales.prospects p WHERE p.company_id = company AND p.prospect_id = person) THEN
        RAISE no_data_found USING MESSAGE = format('there is no prospect %s', coalesce(person::text, 'null')),
            HINT = 'Give the prospect_id of one of your company''s prospects; deleted ones count too.';
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.require_prospect(uuid, uuid) IS 'Error with a hint unless the company has this prospect, deleted or not';
REVOKE ALL ON FUNCTION sales_internal.require_prospect(uuid, uuid) FROM PUBLIC;

-- --- export ---

-- Services and people that were given the person's data.
CREATE OR REPLACE FUNCTION sales_internal.person_recipients(company uuid, person uuid, keys uuid[]) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_agg(to_jsonb(r) ORDER BY r.recipient, r.why), '[]')
    FROM (
        SELECT e.source_api AS recipient, 'enrichment: ' || e.enrichment_type AS why, min(e.created_at) AS first_at, max(e.created_at) AS last_at, count(*) AS times
        FROM sales.enrichments e WHERE e.company_id = company AND e.prospect_id = person AND e.source_api <> 'local' GROUP BY 1, 2
        UNION ALL
        SELECT j.result ->> 'provider', 'job: ' || j.kind, min(j.created_at), max(j.finished_at), count(*)
        FROM sales_internal.jobs j
        WHERE j.company_id = company AND j.result ->> 'provider' <> 'local' AND sales_internal.holds_key(j.args::text || j.result::text, keys) GROUP BY 1, 2
        UNION ALL
        SELECT i.channel::text, 'interaction: ' || i.type, min(i.interaction_date), max(i.interaction_date), count(*)
        FROM sales.interactions i WHERE i.company_id = company AND i.prospect_id = person AND i.type <> 'received' GROUP BY 1, 2
        UNION ALL
        SELECT coalesce(u.email, 'the system'), 'export', min(l.created_at), max(l.created_at), count(*)
        FROM sales.audit_logs l LEFT JOIN sales.users u ON u.company_id = l.company_id AND u.user_id = l.user_id
        WHERE l.company_id = company AND l.action = 'export' AND (l.record_id = ANY (keys) OR sales_internal.holds_key(l.new_values::text, keys)) GROUP BY 1
    ) r
$$;
COMMENT ON FUNCTION sales_internal.person_recipients(uuid, uuid, uuid[]) IS
    'Who was given a prospect''s data: services asked, channels written to, users who exported it';
REVOKE ALL ON FUNCTION sales_internal.person_recipients(uuid, uuid, uuid[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.person_sources(company uuid, person uuid) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_agg(to_jsonb(s) ORDER BY s.at, s.source), '[]')
    FROM (
        SELECT CASE p.source WHEN 'manual' THEN 'entered by the company' WHEN 'import_csv' THEN 'import of a file' WHEN 'api' THEN 'import from an API'
                             ELSE 'enrichment' END AS source, NULL::text AS detail, p.created_at AS at
        FROM sales.prospects p WHERE p.company_id = company AND p.prospect_id = person
        UNION ALL
        SELECT 'import', coalesce(j.name, 'import_csv') || ', run ' || c.run_id, r.started_at
        FROM sales_internal.import_changes c
        JOIN sales.import_runs r ON r.company_id = c.company_id AND r.run_id = c.run_id
        LEFT JOIN sales.import_jobs j ON j.company_id = r.company_id AND j.import_job_id = r.import_job_id
        WHERE c.company_id = company AND c.prospect_id = person
        UNION ALL
        SELECT 'enrichment', e.enrichment_type || ' by ' || coalesce(e.source_api, 'nobody'), e.created_at
        FROM sales.enrichments e WHERE e.company_id = company AND e.prospect_id = person
        UNION ALL
        SELECT 'the person', i.channel || ', ' || i.type, i.interaction_date
        FROM sales.interactions i WHERE i.company_id = company AND i.prospect_id = person AND (i.type = 'received' OR i.response_received)
    ) s
$$;
COMMENT ON FUNCTION sales_internal.person_sources(uuid, uuid) IS 'Where a prospect''s data came from: entry, imports, look-ups, the person';
REVOKE ALL ON FUNCTION sales_internal.person_sources(uuid, uuid) FROM PUBLIC;

-- Rows about the person, by table: [{"table", "purpose", "rows"}].
CREATE OR REPLACE FUNCTION sales_internal.person_rows(company uuid, person uuid, keys uuid[], pattern sales_internal.person_pattern) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    place record;
    condition text;
    found jsonb;
    done bigint := 0;
    result jsonb := '[]';
BEGIN
    FOR place IN
        SELECT c.target, min(c.purpose) AS purpose, min(c.found_by) AS found_by, count(*) OVER () AS total,
               string_agg(format('t.%I::text', c.name), ', ' ORDER BY c.number) FILTER (WHERE c.name IS NOT NULL) AS texts
        FROM (SELECT * FROM sales_internal.personal_columns()
              UNION ALL
              -- rows that carry the key and no text
              SELECT t.target, 0::smallint, NULL, NULL, NULL, NULL, 'prospect', 'keep', 'Statistics'
              FROM sales_internal.person_tables() t WHERE NOT EXISTS (SELECT FROM sales_internal.personal_columns() o WHERE o.target = t.target)) c
        WHERE c.found_by IN ('prospect', 'address', 'key', 'audit') OR (c.found_by = 'mention' AND c.on_erase = 'erase')
        GROUP BY c.target ORDER BY c.target <> 'sales.prospects'::regclass, c.target::text
    LOOP
        PERFORM sales_internal.note_progress('gdpr_export', company, 'rows: ' || place.target, done, place.total);
        done := done + 1;
        condition := CASE place.found_by
            WHEN 'prospect' THEN 't.prospect_id = $2'
            WHEN 'address' THEN 't.address_id = (SELECT p.address_id FROM sales.prospects p WHERE p.company_id = $1 AND p.prospect_id = $2)'
            WHEN 'audit' THEN 't.record_id = ANY ($3)'
            WHEN 'key' THEN format('sales_internal.holds_key(concat_ws('' '', %s), $3)', place.texts)
            ELSE format('sales_internal.mentions(concat_ws('' '', %s), $4)', place.texts) END;
        EXECUTE format('SELECT jsonb_agg(to_jsonb(t) - ''company_id'') FROM %s t WHERE t.company_id = $1 AND %s', place.target, condition)
        INTO found USING company, person, keys, pattern;
        IF found IS NOT NULL THEN
            result := result || jsonb_build_object('table', place.target::text, 'purpose', place.purpose, 'rows', found);
        END IF;
    END LOOP;
    RETURN result;
END
$$;
COMMENT ON FUNCTION sales_internal.person_rows(uuid, uuid, uuid[], sales_internal.person_pattern) IS
    'All rows about a prospect, by table: those with its key, its address, its audit, its jobs, rejected imports that name it';
REVOKE ALL ON FUNCTION sales_internal.person_rows(uuid, uuid, uuid[], sales_internal.person_pattern) FROM PUBLIC;

-- Texts of others that name the person: only where they stand, as they are about others too.
CREATE OR REPLACE FUNCTION sales_internal.person_mentions(company uuid, person uuid, pattern sales_internal.person_pattern) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    place record;
    found bigint;
    done bigint := 0;
    result jsonb := '[]';
BEGIN
    FOR place IN
        SELECT c.target, count(*) OVER () AS total, string_agg(format('t.%I::text', c.name), ', ' ORDER BY c.number) AS texts,
               bool_or(c.found_by = 'prospect') AS is_linked
        FROM sales_internal.personal_columns() c
        WHERE (c.found_by = 'prospect' OR (c.found_by = 'mention' AND c.on_erase = 'redact'))
          AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.target AND a.attname = 'company_id' AND NOT a.attisdropped)
        GROUP BY c.target ORDER BY c.target::text
    LOOP
        PERFORM sales_internal.note_progress('gdpr_export', company, 'mentions: ' || place.target, done, place.total);
        done := done + 1;
        EXECUTE format('SELECT count(*) FROM %s t WHERE t.company_id = $1 AND %s sales_internal.mentions(concat_ws('' '', %s), $3)',
                       place.target, CASE WHEN place.is_linked THEN 't.prospect_id <> $2 AND' ELSE '' END, place.texts)
        INTO found USING company, person, pattern;
        IF found > 0 THEN
            result := result || jsonb_build_object('table', place.target::text, 'rows', found);
        END IF;
    END LOOP;
    RETURN result;
END
$$;
COMMENT ON FUNCTION sales_internal.person_mentions(uuid, uuid, sales_internal.person_pattern) IS 'How many rows about others name the prospect, by table';
REVOKE ALL ON FUNCTION sales_internal.person_mentions(uuid, uuid, sales_internal.person_pattern) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.gdpr_export(prospect_id uuid) RETURNS jsonb
LANGUAGE plpgsql VOLATILE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    company uuid := sales_internal.require_company();
    person uuid := gdpr_export.prospect_id;
    actor uuid := sales.current_user_id();      -- now: the session may be ended before this is
    keys uuid[];
    pattern sales_internal.person_pattern;
    result jsonb;
BEGIN
    PERFORM sales_internal.require('prospects', 'export');
    PERFORM sales_internal.require_prospect(company, person);
    PERFORM sales_internal.note_progress('gdpr_export', company, 'finding the person');
    keys := sales_internal.person_keys(company, person);
    pattern := sales_internal.person_pattern(company, person);
    SELECT jsonb_build_object(
        'prospect_id', person,
        'exported_at', sales_internal.now(),
        'controller', jsonb_build_object('name', c.name, 'domain', c.domain),
        'sources', sales_internal.person_sources(company, person),
        'purposes', (SELECT jsonb_object_agg(d.purpose, d.tables) FROM (
                        SELECT m.purpose, jsonb_agg(DISTINCT m.table_name) AS tables FROM sales_internal.data_map m
                        WHERE m.on_erase <> 'keep' AND m.found_by <> 'mention' GROUP BY m.purpose) d),
        'recipients', sales_internal.person_recipients(company, person, keys),
        'retention', (SELECT jsonb_object_agg(d.key, sales_internal.setting_of(company, d.key))
                      FROM sales_internal.setting_defaults d WHERE d.key LIKE 'privacy.retention\_%'),
        'profiling', jsonb_build_object(
            'score', (SELECT p.ai_score FROM sales.prospects p WHERE p.company_id = company AND p.prospect_id = person),
            'logic', 'Estimated chance in percent that the deal is won: points of each feature, added up. It decides nothing by itself.',
            'points', (SELECT coalesce(jsonb_agg(to_jsonb(e)), '[]') FROM sales_internal.explain_person(person) e)),
        'data', sales_internal.person_rows(company, person, keys, pattern),
        'mentions', sales_internal.person_mentions(company, person, pattern))
    INTO result
    FROM sales.companies c WHERE c.company_id = company;
    PERFORM sales_internal.audit_note(company, actor, 'export', 'prospects', person), sales_internal.end_progress('gdpr_export');
    RETURN result;
END
$$;
COMMENT ON FUNCTION sales.gdpr_export(uuid) IS
    'All that is held on a prospect, with sources, purposes, recipients, retention and score; needs the permission export on prospects; recorded';
REVOKE ALL ON FUNCTION sales.gdpr_export(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.gdpr_export(uuid) TO sales_app;

-- The score's points; none where the prospect cannot be scored (deleted, erased).
CREATE OR REPLACE FUNCTION sales_internal.explain_person(person uuid) RETURNS TABLE (feature text, value text, points numeric)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN QUERY SELECT e.feature::text, e.value::text, e.points::numeric FROM sales.explain_score(person) e;
EXCEPTION WHEN no_data_found OR insufficient_privilege THEN
    RETURN;
END
$$;
COMMENT ON FUNCTION sales_internal.explain_person(uuid) IS 'explain_score(), or nothing for a prospect that has no score';
REVOKE ALL ON FUNCTION sales_internal.explain_person(uuid) FROM PUBLIC;

-- --- erasure ---

-- What a column becomes: null, or what stands for nothing where null is not allowed.
CREATE OR REPLACE FUNCTION sales_internal.erased_value(type regtype, not_null boolean) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN NOT not_null THEN 'NULL'
                WHEN type = 'jsonb'::regtype THEN '''{}''::jsonb'
                ELSE '''[erased]''' END
$$;
COMMENT ON FUNCTION sales_internal.erased_value(regtype, boolean) IS 'SQL of what erasure puts into a column';
REVOKE ALL ON FUNCTION sales_internal.erased_value(regtype, boolean) FROM PUBLIC;

-- Rows of the person: personal columns are emptied, or the row goes.
CREATE OR REPLACE FUNCTION sales_internal.erase_own_rows(company uuid, person uuid, keys uuid[]) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    moment timestamptz := sales_internal.now();
    place record;
    changed bigint;
    done bigint := 0;
    counts jsonb := '{}';
BEGIN
    UPDATE sales_internal.jobs j SET state = 'cancelled', finished_at = sales_internal.now(), lease_until = NULL
    WHERE j.company_id = company AND j.state IN ('queued', 'running')
      AND sales_internal.holds_key(concat_ws(' ', j.args::text, j.unique_key), keys);
    FOR place IN
        SELECT c.target, c.found_by, c.on_erase, count(*) OVER () AS total,
               string_agg(format('%I = %s', c.name, sales_internal.erased_value(c.type, c.not_null)), ', ' ORDER BY c.number) AS assignments,
               string_agg(format('t.%I::text', c.name), ', ' ORDER BY c.number) AS texts
        FROM sales_internal.personal_columns() c
        WHERE c.found_by IN ('prospect', 'key') GROUP BY 1, 2, 3 ORDER BY c.target::text
    LOOP
        PERFORM sales_internal.note_progress('gdpr_erase', company, 'rows: ' || place.target, done, place.total);
        done := done + 1;
        EXECUTE format(CASE place.on_erase WHEN 'delete' THEN 'DELETE FROM %1$s t' ELSE 'UPDATE %1$s t SET %2$s' END
                       || ' WHERE t.company_id = $1 AND ' || CASE place.found_by WHEN 'prospect' THEN 't.prospect_id = $2'
                          ELSE 'sales_internal.holds_key(concat_ws('' '', %3$s), $3)' END,
                       place.target, place.assignments, place.texts)
        USING company, person, keys;
        GET DIAGNOSTICS changed = ROW_COUNT;
        IF changed > 0 THEN
            counts := counts || jsonb_build_object(place.target::text, changed);
        END IF;
    END LOOP;
    UPDATE sales.prospects p SET address_id = NULL, ai_score = NULL, erased_at = sales_internal.now(),
                                 deleted_at = coalesce(p.deleted_at, moment)
    WHERE p.company_id = company AND p.prospect_id = person;
    UPDATE sales.messages m SET deleted_at = coalesce(m.deleted_at, moment) WHERE m.company_id = company AND m.prospect_id = person;
    DELETE FROM sales.addresses a WHERE a.company_id = company AND a.address_id = ANY (keys);
    RETURN counts;
END
$$;
COMMENT ON FUNCTION sales_internal.erase_own_rows(uuid, uuid, uuid[]) IS
    'Empties the personal columns of the person''s rows, cancels and empties its jobs, and says how many rows of each table';
REVOKE ALL ON FUNCTION sales_internal.erase_own_rows(uuid, uuid, uuid[]) FROM PUBLIC;

-- Rows of others that name the person: what names it is replaced.
CREATE OR REPLACE FUNCTION sales_internal.erase_mentions(company uuid, pattern sales_internal.person_pattern) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    place record;
    changed bigint;
    done bigint := 0;
    counts jsonb := '{}';
BEGIN
    IF pattern.sure IS NULL AND pattern.pairs IS NULL THEN
        RETURN counts;
    END IF;
    FOR place IN
        SELECT c.target, count(*) OVER () AS total,
               EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.target AND a.attname = 'company_id' AND NOT a.attisdropped) AS is_tenants,
               string_agg(CASE WHEN c.found_by = 'mention' AND c.on_erase = 'erase'
                               THEN format('%I = %s', c.name, sales_internal.erased_value(c.type, c.not_null))
                               WHEN c.size IS NOT NULL THEN format('%1$I = left(sales_internal.redact(t.%1$I, $2), %2$s)', c.name, c.size)
                               ELSE format('%1$I = sales_internal.redact(t.%1$I, $2)', c.name) END, ', ' ORDER BY c.number) AS assignments,
               string_agg(format('t.%I::text', c.name), ', ' ORDER BY c.number) AS texts
        FROM sales_internal.personal_columns() c
        WHERE c.found_by <> 'audit' AND c.on_erase <> 'delete' AND c.type <> 'bytea'::regtype GROUP BY 1 ORDER BY c.target::text
    LOOP
        PERFORM sales_internal.note_progress('gdpr_erase', company, 'mentions: ' || place.target, done, place.total);
        done := done + 1;
        EXECUTE format('UPDATE %s t SET %s WHERE %s sales_internal.mentions(concat_ws('' '', %s), $2)',
                       place.target, place.assignments, CASE WHEN place.is_tenants THEN 't.company_id = $1 AND' ELSE '' END, place.texts)
        USING company, pattern;
        GET DIAGNOSTICS changed = ROW_COUNT;
        IF changed > 0 THEN
            counts := counts || jsonb_build_object(place.target::text, changed);
        END IF;
    END LOOP;
    RETURN counts;
END
$$;
COMMENT ON FUNCTION sales_internal.erase_mentions(uuid, sales_internal.person_pattern) IS
    'Replaces what names the person in rows about others, reports, jobs and rejects, and says how many rows of each table';
REVOKE ALL ON FUNCTION sales_internal.erase_mentions(uuid, sales_internal.person_pattern) FROM PUBLIC;

-- Files that wait for an import, or for one that failed to be tried again: one that names
-- the person goes, and so does one that cannot be read.  What a run under way has in hand
-- is what the company sends it, and gone at its end.
CREATE OR REPLACE FUNCTION sales_internal.erase_import_files(company uuid, pattern sales_internal.person_pattern) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    file record;
    opened record;
    named boolean;
    jobs bigint;
    files bigint := 0;
    uploads bigint := 0;
BEGIN
    PERFORM sales_internal.note_progress('gdpr_erase', company, 'files');
    UPDATE sales.import_jobs i
    SET source_config = jsonb_set(i.source_config, '{data}', to_jsonb(sales_internal.redact(i.source_config ->> 'data', pattern)))
    WHERE i.company_id = company AND i.source_config ? 'data' AND sales_internal.mentions(i.source_config ->> 'data', pattern);
    GET DIAGNOSTICS jobs = ROW_COUNT;
    FOR file IN
        SELECT f.file_id AS id, NULL::uuid AS upload_id, f.run_id, octet_length(f.content)::bigint AS size, r.options, f.source_key LIKE 'part/%' AS is_part
        FROM sales_internal.import_files f JOIN sales.import_runs r ON r.company_id = company AND r.run_id = f.run_id
        WHERE f.company_id = company AND f.content IS NOT NULL AND r.status <> 'running'
        UNION ALL
        SELECT u.upload_id, u.upload_id, NULL, sum(octet_length(u.content)), '{}', false FROM sales.import_uploads u
        WHERE u.company_id = company
          AND NOT EXISTS (SELECT FROM sales_internal.import_files f JOIN sales.import_runs r ON r.company_id = company AND r.run_id = f.run_id
                          WHERE f.company_id = company AND f.file_id = u.upload_id AND r.status = 'running')
        GROUP BY u.upload_id
    LOOP
        named := file.is_part;
        IF NOT named THEN
            BEGIN
                SELECT * INTO opened FROM sales_internal.csv_open_file(company, file.id, file.size, file.options ->> 'encoding', file.options ->> 'delimiter');
                named := sales_internal.mentions(array_to_string(opened.headers, ' '), pattern)
                         OR EXISTS (SELECT FROM sales_internal.csv_fields() f WHERE sales_internal.mentions(f.raw, pattern));
                PERFORM sales_internal.csv_close();
            EXCEPTION WHEN data_exception THEN
                named := true;
            END;
        END IF;
        CONTINUE WHEN NOT named;
        IF file.upload_id IS NOT NULL THEN
            DELETE FROM sales.import_uploads u WHERE u.company_id = company AND u.upload_id = file.upload_id;
            uploads := uploads + 1;
        ELSE
            DELETE FROM sales_internal.import_files f WHERE f.company_id = company AND f.file_id = file.id;
            UPDATE sales.import_runs r SET error = concat_ws(E'\n', r.error, 'a file of it was removed, as a person was erased')
            WHERE r.company_id = company AND r.run_id = file.run_id AND NOT file.is_part;
            files := files + 1;
        END IF;
    END LOOP;
    RETURN jsonb_strip_nulls(jsonb_build_object('sales.import_jobs', nullif(jobs, 0), 'sales.import_uploads', nullif(uploads, 0),
                                                'sales_internal.import_files', nullif(files, 0)));
END
$$;
COMMENT ON FUNCTION sales_internal.erase_import_files(uuid, sales_internal.person_pattern) IS
    'Removes files that wait to be imported and name the person, and says how many';
REVOKE ALL ON FUNCTION sales_internal.erase_import_files(uuid, sales_internal.person_pattern) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.erase_person(company uuid, person uuid, basis text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    -- now: the session may be ended before this is
    actor uuid := CASE WHEN company = sales.current_company_id() THEN sales.current_user_id() END;
    keys uuid[];
    pattern sales_internal.person_pattern;
    hold text;
    counts jsonb;
BEGIN
    IF current_setting('transaction_isolation') <> 'read committed' THEN
        -- what others have written since the snapshot would not be seen, and stay
        RAISE feature_not_supported USING MESSAGE = 'a person cannot be erased in a transaction that sees an old state',
            HINT = 'Erase in a transaction of isolation level READ COMMITTED.';
    END IF;
    PERFORM sales_internal.note_progress('gdpr_erase', company, 'waiting for writers');
    -- an import writes what it had read before: it ends first
    PERFORM sales_internal.take_lock(sales_internal.import_lock_key(company));
    -- whoever adds a row about the person holds its key: they are waited for
    SELECT p.legal_hold INTO hold FROM sales.prospects p WHERE p.company_id = company AND p.prospect_id = person FOR UPDATE;
    IF hold IS NOT NULL THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('prospect %s is on legal hold: %s', person, hold),
            HINT = 'Set prospects.legal_hold to null once the data need not be kept any more.';
    END IF;
    PERFORM sales_internal.note_progress('gdpr_erase', company, 'finding the person');
    keys := sales_internal.person_keys(company, person);
    pattern := sales_internal.person_pattern(company, person);
    -- who is imported again must not be written to: of the address a keyed hash stays
    PERFORM sales_internal.suppress_address(company, (SELECT p.email FROM sales.prospects p WHERE p.company_id = company AND p.prospect_id = person), 'erased');
    -- an audit row of an erasure would hold what was erased
    PERFORM sales_internal.audit_open_door();
    counts := sales_internal.erase_own_rows(company, person, keys);
    counts := jsonb_build_object('erased', counts, 'files', sales_internal.erase_import_files(company, pattern),
                                 'redacted', sales_internal.erase_mentions(company, pattern));
    PERFORM sales_internal.audit_close_door();
    -- last: whoever was changing one of these rows has ended, and its audit rows are seen
    PERFORM sales_internal.note_progress('gdpr_erase', company, 'audit log');
    PERFORM sales_internal.erase_audit(company, keys, pattern);
    PERFORM sales_internal.audit_note(company, actor, 'delete', 'prospects', person, counts, gdpr_basis => left(sales_internal.redact(basis, pattern), 50));
    PERFORM sales_internal.end_progress('gdpr_erase');
END
$$;
COMMENT ON FUNCTION sales_internal.erase_person(uuid, uuid, text) IS 'gdpr_erase() for a given company, without asking for a permission';
REVOKE ALL ON FUNCTION sales_internal.erase_person(uuid, uuid, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.values_text(body jsonb) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(CASE WHEN jsonb_typeof(e.value) IN ('object', 'array') THEN e.value::text ELSE e.value #>> '{}' END, ' ')
    FROM jsonb_each(CASE WHEN jsonb_typeof(body) = 'object' THEN body ELSE '{}' END) e
$$;
COMMENT ON FUNCTION sales_internal.values_text(jsonb) IS 'The values of an audit row without the names of their columns';
REVOKE ALL ON FUNCTION sales_internal.values_text(jsonb) FROM PUBLIC;

-- Audit rows of the person, and of others whose values name it.
CREATE OR REPLACE FUNCTION sales_internal.erase_audit(company uuid, keys uuid[], pattern sales_internal.person_pattern) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM sales_internal.audit_open_door();
    UPDATE sales.audit_logs l
    SET values_digest = coalesce(l.values_digest, sales_internal.audit_values_digest(l.digest, l.audit_id, l.old_values, l.new_values)),
        old_values = CASE WHEN l.old_values IS NOT NULL THEN '{}'::jsonb END, new_values = CASE WHEN l.new_values IS NOT NULL THEN '{}'::jsonb END
    WHERE l.company_id = company
      -- Of other rows, where a person may stand and in a value: whose name reads like a column's blanks no record of users, roles or keys.
      AND (l.record_id = ANY (keys)
           OR (l.table_name = ANY (ARRAY(SELECT DISTINCT substr(m.table_name, 7) FROM sales_internal.data_map m WHERE m.table_name LIKE 'sales.%' AND m.on_erase <> 'keep'))
               AND sales_internal.mentions(concat_ws(' ', l.old_values::text, l.new_values::text), pattern)
               AND sales_internal.mentions(concat_ws(' ', sales_internal.values_text(l.old_values), sales_internal.values_text(l.new_values)), pattern)));
    PERFORM sales_internal.audit_close_door();
END
$$;
COMMENT ON FUNCTION sales_internal.erase_audit(uuid, uuid[], sales_internal.person_pattern) IS 'Blanks audit values of the person''s rows and those that name it';
REVOKE ALL ON FUNCTION sales_internal.erase_audit(uuid, uuid[], sales_internal.person_pattern) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.gdpr_erase(prospect_id uuid, basis text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
BEGIN
    PERFORM sales_internal.require('prospects', 'delete');
    PERFORM sales_internal.require_prospect(company, gdpr_erase.prospect_id);
    IF coalesce(trim(basis), '') = '' OR octet_length(basis) > 50 THEN
        RAISE invalid_parameter_value USING MESSAGE = 'an erasure needs its legal basis, in at most 50 bytes',
            HINT = 'Such as sales.gdpr_erase(id, ''request of the person, art. 17'').';
    END IF;
    PERFORM sales_internal.erase_person(company, gdpr_erase.prospect_id, basis);
END
$$;
COMMENT ON FUNCTION sales.gdpr_erase(uuid, text) IS
    'Erases a person everywhere, audit values, jobs and rejected imports included; what the company did stays in its metrics. Needs the permission delete on prospects';
REVOKE ALL ON FUNCTION sales.gdpr_erase(uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.gdpr_erase(uuid, text) TO sales_app;
