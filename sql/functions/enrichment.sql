-- Enrichment: what can be learned about a prospect, from the company's
-- providers in order of rank, or from `local`.

CREATE OR REPLACE FUNCTION sales_internal.takes_mail(domain text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'sales_takes_mail'
    LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION sales_internal.takes_mail(text) IS 'Has the domain a mail server, by DNS? Null when DNS cannot say';
REVOKE ALL ON FUNCTION sales_internal.takes_mail(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.read_page(html text) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'sales_read_page'
    LANGUAGE C IMMUTABLE STRICT;
COMMENT ON FUNCTION sales_internal.read_page(text) IS
    'Title, description, language, contacts and social links of a web page';
REVOKE ALL ON FUNCTION sales_internal.read_page(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.enrich(prospect_id uuid, enrichment_type sales.enrichment_type) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM sales_internal.require('enrichments', 'create');
    RETURN sales_internal.enqueue('enrich', sales_internal.visible_prospect(prospect_id),
        jsonb_build_object('prospect_id', prospect_id, 'type', enrichment_type), prospect_id || ' ' || enrichment_type);
END
$$;
COMMENT ON FUNCTION sales.enrich(uuid, sales.enrichment_type) IS
    'Looks something up about a prospect; the answer becomes a row of enrichments; returns the job';
REVOKE ALL ON FUNCTION sales.enrich(uuid, sales.enrichment_type) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.enrich(uuid, sales.enrichment_type) TO sales_app;

CREATE OR REPLACE FUNCTION sales_internal.website_of(prospect sales.prospects) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN (prospect).website ~* '^https?://' THEN (prospect).website
                WHEN (prospect).website <> '' THEN 'https://' || (prospect).website END
$$;
COMMENT ON FUNCTION sales_internal.website_of(sales.prospects) IS 'URL of a prospect''s web site';
REVOKE ALL ON FUNCTION sales_internal.website_of(sales.prospects) FROM PUBLIC;

-- Domain of the prospect's company: of its web site, else of its own mail.
CREATE OR REPLACE FUNCTION sales_internal.domain_of(prospect sales.prospects) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(
        lower(substring(sales_internal.website_of(prospect) FROM '^https?://(?:www\.)?([^/:?#]+)')),
        (SELECT d FROM lower(split_part((prospect).email, '@', 2)) d
         WHERE d <> '' AND NOT EXISTS (SELECT FROM sales_internal.email_lists l WHERE l.kind = 'webmail' AND l.value = d)))
$$;
COMMENT ON FUNCTION sales_internal.domain_of(sales.prospects) IS 'Domain of the company that a prospect works for';
REVOKE ALL ON FUNCTION sales_internal.domain_of(sales.prospects) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.store_enrichment(
    company uuid, args jsonb, provider text, answer jsonb, confidence numeric, spent numeric DEFAULT 0)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stored uuid;
BEGIN
    INSERT INTO sales.enrichments
        (company_id, prospect_id, enrichment_type, source_api, original_value, enriched_value, confidence_score, cost,
         status, created_at, expires_at)
    SELECT company, p.prospect_id, (args ->> 'type')::sales.enrichment_type, store_enrichment.provider,
           (SELECT coalesce(jsonb_object_agg(key, to_jsonb(p) -> key), '{}') FROM jsonb_object_keys(answer) key
            WHERE to_jsonb(p) ? key)::text,
           answer::text, round(least(greatest(confidence, 0), 1), 2), round(spent, 4), 'completed', sales_internal.now(),
           sales_internal.now() + sales_internal.setting_of(company, 'enrichment.keep_days')::integer * interval '1 day'
    FROM sales.prospects p WHERE p.company_id = company AND p.prospect_id = (args ->> 'prospect_id')::uuid
    RETURNING enrichment_id INTO stored;
    RETURN jsonb_build_object('outcome', 'done', 'cost', spent, 'result',
        jsonb_build_object('enrichment_id', stored, 'provider', store_enrichment.provider, 'found', answer));
END
$$;
COMMENT ON FUNCTION sales_internal.store_enrichment(uuid, jsonb, text, jsonb, numeric, numeric) IS
    'Stores an answer with the values it would replace; the outcome of its job';
REVOKE ALL ON FUNCTION sales_internal.store_enrichment(uuid, jsonb, text, jsonb, numeric, numeric) FROM PUBLIC;

-- E-mail address without any service: syntax, lists, MX.
CREATE OR REPLACE FUNCTION sales_internal.local_email(address text, OUT verdict jsonb, OUT confidence numeric)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problem text := sales_internal.email_problem(address);
    box text := lower(split_part(address, '@', 1));
    domain text := lower(split_part(address, '@', 2));
    takes_mail boolean;
BEGIN
    IF problem IS NOT NULL THEN
        verdict := jsonb_build_object('status', 'invalid', 'reason', problem);
        confidence := 1;
        RETURN;
    END IF;
    IF EXISTS (SELECT FROM sales_internal.email_lists WHERE kind = 'disposable' AND value = domain) THEN
        verdict := jsonb_build_object('status', 'disposable', 'reason', 'the domain throws mail away');
        confidence := 0.95;
        RETURN;
    END IF;
    takes_mail := sales_internal.takes_mail(domain);
    verdict := jsonb_strip_nulls(jsonb_build_object(
        'status', CASE WHEN takes_mail THEN 'valid' WHEN NOT takes_mail THEN 'invalid' ELSE 'unknown' END,
        'reason', CASE WHEN takes_mail THEN 'syntax and mail server are in order; the mailbox was not asked'
                       WHEN NOT takes_mail THEN 'the domain has no mail server'
                       ELSE 'DNS did not answer; the syntax is in order' END,
        'role', EXISTS (SELECT FROM sales_internal.email_lists WHERE kind = 'role' AND value = box),
        'webmail', EXISTS (SELECT FROM sales_internal.email_lists WHERE kind = 'webmail' AND value = domain)));
    confidence := CASE WHEN takes_mail THEN 0.80 WHEN NOT takes_mail THEN 0.95 ELSE 0.50 END;
END
$$;
COMMENT ON FUNCTION sales_internal.local_email(text) IS
    'Verdict of the provider local on an address: valid, invalid, disposable or unknown, with the reason';
REVOKE ALL ON FUNCTION sales_internal.local_email(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.enrich_locally(company uuid, args jsonb, prospect sales.prospects) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    judged record;
    url text;
BEGIN
    IF args ->> 'type' = 'email_validation' THEN
        IF prospect.email IS NULL THEN
            RETURN jsonb_build_object('outcome', 'failed', 'error', 'the prospect has no e-mail address');
        END IF;
        SELECT * INTO judged FROM sales_internal.local_email(prospect.email);
        RETURN sales_internal.store_enrichment(company, args, 'local', judged.verdict, judged.confidence);
    END IF;
    -- All else is read from the company's own page.
    url := coalesce(sales_internal.website_of(prospect), 'https://' || sales_internal.domain_of(prospect) || '/');
    IF url IS NULL THEN
        RETURN jsonb_build_object('outcome', 'failed',
            'error', 'neither a web site nor an e-mail domain of the prospect is known');
    END IF;
    RETURN jsonb_build_object('url', url, 'timeout_ms', 15000, 'max_bytes', 2097152, 'provider', 'local',
                              'headers', jsonb_build_object('Accept', 'text/html'));
END
$$;
COMMENT ON FUNCTION sales_internal.enrich_locally(uuid, jsonb, sales.prospects) IS
    'What the provider local does for an enrichment: judge the address, or read the company''s page';
REVOKE ALL ON FUNCTION sales_internal.enrich_locally(uuid, jsonb, sales.prospects) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.prepare_enrichment(job uuid, company uuid, args jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    prospect sales.prospects;
    chosen record;
    asked text[];
BEGIN
    SELECT * INTO prospect FROM sales.prospects p
    WHERE p.company_id = company AND p.prospect_id = (args ->> 'prospect_id')::uuid;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'failed', 'error', 'the prospect is gone');
    END IF;
    SELECT coalesce(array_agg(value), '{}') INTO asked FROM jsonb_array_elements_text(coalesce(args -> 'asked', '[]'));
    SELECT * INTO chosen FROM sales_internal.choose_provider(company, args ->> 'type', asked);
    IF NOT FOUND OR (args ->> 'type' = 'email_validation' AND prospect.email IS NULL) THEN
        RETURN sales_internal.enrich_locally(company, args, prospect);
    END IF;
    RETURN sales_internal.provider_request(company, chosen.provider, chosen.api_key_id, jsonb_strip_nulls(jsonb_build_object(
        'email_url', sales_internal.url_encode(prospect.email),
        'domain_url', sales_internal.url_encode(sales_internal.domain_of(prospect)),
        'linkedin_url', sales_internal.url_encode(prospect.linkedin_url),
        'twitter_url', sales_internal.url_encode(prospect.twitter_url),
        'first_name_url', sales_internal.url_encode(prospect.first_name),
        'last_name_url', sales_internal.url_encode(prospect.last_name),
        'company_name_url', sales_internal.url_encode(prospect.company_name))));
END
$$;
COMMENT ON FUNCTION sales_internal.prepare_enrichment(uuid, uuid, jsonb) IS
    'Job enrich: the request of the best provider not asked yet, or what local does';
REVOKE ALL ON FUNCTION sales_internal.prepare_enrichment(uuid, uuid, jsonb) FROM PUBLIC;

-- A page that answered: what of it is news about the prospect.
CREATE OR REPLACE FUNCTION sales_internal.settle_page(company uuid, args jsonb, response jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    status integer := (response ->> 'status')::integer;
    target text := response #>> '{headers,location}';
    hops integer := coalesce((args ->> 'hops')::integer, 0);
    page jsonb;
    wanted text[] := CASE args ->> 'type'
        WHEN 'linkedin' THEN '{linkedin_url}' WHEN 'twitter' THEN '{twitter_url}'
        ELSE '{title,description,language,site_name,keywords,email,phone,linkedin_url,twitter_url,blog_url}' END;
BEGIN
    IF status IN (301, 302, 303, 307, 308) AND target ~* '^https?://' THEN
        -- One hop is followed, as a request of its own that the guard sees.
        RETURN jsonb_build_object('url', target, 'timeout_ms', 15000, 'max_bytes', 2097152, 'provider', 'local, redirected',
                                  'headers', jsonb_build_object('Accept', 'text/html'));
    END IF;
    IF status <> 200 THEN
        RETURN jsonb_build_object('outcome', CASE WHEN (response ->> 'blocked')::boolean THEN 'failed'
            WHEN status IN (0, 408, 425, 429) OR status >= 500 THEN 'retry' ELSE 'failed' END,
            'error', 'local: ' || coalesce(response ->> 'error', 'the page answered with status ' || status));
    END IF;
    SELECT coalesce(jsonb_object_agg(key, value), '{}') INTO page
    FROM jsonb_each(sales_internal.read_page(response ->> 'body')) WHERE key = ANY (wanted);
    IF page = '{}' THEN
        RETURN jsonb_build_object('outcome', 'failed', 'error', 'local: the page tells nothing of the kind');
    END IF;
    RETURN sales_internal.store_enrichment(company, args, 'local', page, 0.60);
END
$$;
COMMENT ON FUNCTION sales_internal.settle_page(uuid, jsonb, jsonb) IS 'Outcome of a page that local has read';
REVOKE ALL ON FUNCTION sales_internal.settle_page(uuid, jsonb, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.settle_enrichment(job uuid, company uuid, args jsonb, response jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    chosen sales.providers;
    key_id uuid := nullif(response ->> 'api_key_id', '')::uuid;
    document jsonb := sales_internal.to_json(response ->> 'body');
    trouble jsonb;
    answer jsonb;
    percent text;
    price numeric;
BEGIN
    IF response ->> 'provider' LIKE 'local%' THEN
        IF response ->> 'provider' <> 'local' AND (response ->> 'status')::integer BETWEEN 300 AND 399 THEN
            RETURN jsonb_build_object('outcome', 'failed', 'error', 'local: the page redirects more than once');
        END IF;
        RETURN sales_internal.settle_page(company, args, response);
    END IF;
    chosen := sales_internal.provider_row(response ->> 'provider');
    trouble := sales_internal.provider_trouble(chosen, response);
    IF trouble IS NOT NULL THEN
        IF (response ->> 'status')::integer = 0 THEN
            PERFORM sales_internal.release_call(company, key_id);
        END IF;
        IF trouble ->> 'outcome' = 'retry' THEN
            RETURN trouble;
        END IF;
        -- The next provider of this kind, or local.
        args := args || jsonb_build_object('asked', coalesce(args -> 'asked', '[]') || to_jsonb(chosen.name::text));
        UPDATE sales_internal.jobs j SET args = settle_enrichment.args WHERE j.job_id = job;
        RETURN sales_internal.prepare_enrichment(job, company, args);
    END IF;
    SELECT coalesce(jsonb_object_agg(f.key, to_jsonb(v.value)), '{}') INTO answer
    FROM jsonb_each_text(chosen.answer -> 'fields') f
    CROSS JOIN LATERAL (SELECT left(sales_internal.at_path(document, f.value), 500)) v (value)
    WHERE v.value IS NOT NULL;
    IF chosen.answer ? 'status' THEN
        answer := answer || jsonb_strip_nulls(jsonb_build_object('status', sales_internal.at_path(document, chosen.answer ->> 'status')));
    END IF;
    percent := sales_internal.at_path(document, chosen.answer ->> 'confidence_percent');
    SELECT cost_per_request INTO price FROM sales.api_keys WHERE company_id = company AND api_key_id = key_id;
    RETURN sales_internal.store_enrichment(company, args, chosen.name, answer,
        coalesce(percent::numeric / 100, (chosen.answer ->> 'confidence_fixed')::numeric, 0.5), coalesce(price, 0));
END
$$;
COMMENT ON FUNCTION sales_internal.settle_enrichment(uuid, uuid, jsonb, jsonb) IS
    'Job enrich: stores a good answer; after a bad one asks the next provider';
REVOKE ALL ON FUNCTION sales_internal.settle_enrichment(uuid, uuid, jsonb, jsonb) FROM PUBLIC;

-- --- taking over what was found ---

-- Columns of prospects that an enrichment may set, with their widths.
CREATE OR REPLACE FUNCTION sales_internal.enrichable(values_found jsonb) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_object_agg(key, CASE WHEN jsonb_typeof(value) = 'null' THEN value
        ELSE to_jsonb(left(value #>> '{}', CASE key WHEN 'phone' THEN 20 WHEN 'email' THEN 100 WHEN 'job_title' THEN 100
                                           WHEN 'company_name' THEN 100 ELSE 200 END)) END), '{}')
    FROM jsonb_each(values_found)
    WHERE key IN ('email', 'phone', 'job_title', 'company_name', 'website', 'linkedin_url', 'twitter_url', 'blog_url')
$$;
COMMENT ON FUNCTION sales_internal.enrichable(jsonb) IS 'The part of found values that prospects have columns for';
REVOKE ALL ON FUNCTION sales_internal.enrichable(jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.set_enriched(enrichment_id uuid, revert boolean) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
    stored sales.enrichments;
    changes jsonb;
BEGIN
    PERFORM sales_internal.require('prospects', 'update');
    SELECT * INTO stored FROM sales.enrichments e
    WHERE e.company_id = company AND e.enrichment_id = set_enriched.enrichment_id;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = format('there is no enrichment %s', enrichment_id), HINT = 'See sales.enrichments.';
    END IF;
    IF stored.status <> 'completed' THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('the enrichment is %s', stored.status),
            HINT = 'Only a completed one can be applied; ask again with sales.enrich().';
    END IF;
    changes := sales_internal.enrichable(CASE WHEN revert THEN stored.original_value ELSE stored.enriched_value END::jsonb);
    UPDATE sales.prospects p
    SET email = CASE WHEN changes ? 'email' THEN changes ->> 'email' ELSE p.email END,
        phone = CASE WHEN changes ? 'phone' THEN changes ->> 'phone' ELSE p.phone END,
        job_title = CASE WHEN changes ? 'job_title' THEN changes ->> 'job_title' ELSE p.job_title END,
        company_name = CASE WHEN changes ? 'company_name' THEN changes ->> 'company_name' ELSE p.company_name END,
        website = CASE WHEN changes ? 'website' THEN changes ->> 'website' ELSE p.website END,
        linkedin_url = CASE WHEN changes ? 'linkedin_url' THEN changes ->> 'linkedin_url' ELSE p.linkedin_url END,
        twitter_url = CASE WHEN changes ? 'twitter_url' THEN changes ->> 'twitter_url' ELSE p.twitter_url END,
        blog_url = CASE WHEN changes ? 'blog_url' THEN changes ->> 'blog_url' ELSE p.blog_url END
    WHERE p.company_id = company AND p.prospect_id = stored.prospect_id AND p.deleted_at IS NULL;
END
$$;
COMMENT ON FUNCTION sales_internal.set_enriched(uuid, boolean) IS 'Writes the found values, or those from before, to the prospect';
REVOKE ALL ON FUNCTION sales_internal.set_enriched(uuid, boolean) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.apply_enrichment(enrichment_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT sales_internal.set_enriched(enrichment_id, false) $$;
COMMENT ON FUNCTION sales.apply_enrichment(uuid) IS 'Takes what an enrichment found over into the prospect';
REVOKE ALL ON FUNCTION sales.apply_enrichment(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.apply_enrichment(uuid) TO sales_app;

CREATE OR REPLACE FUNCTION sales.revert_enrichment(enrichment_id uuid) RETURNS void
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT sales_internal.set_enriched(enrichment_id, true) $$;
COMMENT ON FUNCTION sales.revert_enrichment(uuid) IS 'Puts back what the prospect had before the enrichment';
REVOKE ALL ON FUNCTION sales.revert_enrichment(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.revert_enrichment(uuid) TO sales_app;

CREATE OR REPLACE FUNCTION sales_internal.expire_enrichments() RETURNS bigint
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    WITH expired AS (
        UPDATE sales.enrichments SET status = 'expired'
        WHERE status = 'completed' AND expires_at <= sales_internal.now() RETURNING 1)
    SELECT count(*) FROM expired
$$;
COMMENT ON FUNCTION sales_internal.expire_enrichments() IS 'Periodic task: marks enrichments whose time is over';
REVOKE ALL ON FUNCTION sales_internal.expire_enrichments() FROM PUBLIC;

DO $$
BEGIN
    INSERT INTO sales_internal.job_kinds (kind, mode, prepare_function, settle_function)
    VALUES ('enrich', 'http', 'sales_internal.prepare_enrichment', 'sales_internal.settle_enrichment')
    ON CONFLICT (kind) DO NOTHING;
    INSERT INTO sales_internal.periodic_tasks (name, every, run_function)
    VALUES ('enrichment_expiry', '1 hour', 'sales_internal.expire_enrichments')
    ON CONFLICT (name) DO NOTHING;
    INSERT INTO sales_internal.setting_defaults (key, value, description) VALUES
        ('enrichment.keep_days', '90', 'Days after which an enrichment is no longer fresh'),
        ('ai.enabled', 'true', 'False: no call to an outside service is made for the company')
    ON CONFLICT (key) DO NOTHING;
END
$$;

