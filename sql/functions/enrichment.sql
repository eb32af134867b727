-- Enrichment: what can be learned about a prospect, from the company's
-- providers in order of rank, or from `local`.

CREATE OR REPLACE FUNCTION sales_internal.read_page(html text) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'sales_read_page'
    LANGUAGE C IMMUTABLE STRICT;
COMMENT ON FUNCTION sales_internal.read_page(text) IS
    'Title, description, language, contacts, organisation and social links of a web page';
REVOKE ALL ON FUNCTION sales_internal.read_page(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.resolve_url(base text, target text) RETURNS text
    AS 'MODULE_PATHNAME', 'sales_resolve_url'
    LANGUAGE C IMMUTABLE STRICT;
COMMENT ON FUNCTION sales_internal.resolve_url(text, text) IS
    'URL that a link or redirect on a page means, without its fragment; null unless it is http or https';
REVOKE ALL ON FUNCTION sales_internal.resolve_url(text, text) FROM PUBLIC;

-- A number that a company may have set itself, and may have set wrongly.
CREATE OR REPLACE FUNCTION sales_internal.setting_number(company uuid, key text, otherwise numeric) RETURNS numeric
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(sales_internal.to_number(sales_internal.setting_of(company, key)), otherwise) $$;
COMMENT ON FUNCTION sales_internal.setting_number(uuid, text, numeric) IS 'A setting as a number of at least 0; the other where it is none';
REVOKE ALL ON FUNCTION sales_internal.setting_number(uuid, text, numeric) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.enrich(prospect_id uuid, enrichment_type sales.enrichment_type) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.visible_prospect(prospect_id);
BEGIN
    PERFORM sales_internal.require('enrichments', 'create');
    IF enrichment_type IS NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the type of enrichment is missing',
            HINT = 'Types: website, linkedin, twitter, company_info, email_validation.';
    END IF;
    RETURN sales_internal.ask_enrichment(company, prospect_id, enrichment_type);
END
$$;
COMMENT ON FUNCTION sales.enrich(uuid, sales.enrichment_type) IS
    'Looks something up about a prospect; the answer becomes a row of enrichments; returns the job';
REVOKE ALL ON FUNCTION sales.enrich(uuid, sales.enrichment_type) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.enrich(uuid, sales.enrichment_type) TO sales_app;

CREATE OR REPLACE FUNCTION sales_internal.ask_enrichment(
    company uuid, prospect uuid, kind sales.enrichment_type, priority integer DEFAULT 0) RETURNS uuid
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    job uuid := sales_internal.enqueue('enrich', company, jsonb_build_object('prospect_id', prospect, 'type', kind),
                                       prospect || ' ' || kind, priority => ask_enrichment.priority);
BEGIN
    PERFORM sales_internal.pending_enrichment(job, company, prospect, kind);
    RETURN job;
END
$$;
COMMENT ON FUNCTION sales_internal.ask_enrichment(uuid, uuid, sales.enrichment_type, integer) IS 'Queues a look-up and its pending row; the job';
REVOKE ALL ON FUNCTION sales_internal.ask_enrichment(uuid, uuid, sales.enrichment_type, integer) FROM PUBLIC;

-- The one row of a job; a job that is tried again makes it pending again.
CREATE OR REPLACE FUNCTION sales_internal.pending_enrichment(job uuid, company uuid, prospect uuid, kind sales.enrichment_type) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE sales.enrichments e SET status = 'pending', error = NULL
    WHERE e.company_id = company AND e.job_id = job AND e.status = 'failed';
    INSERT INTO sales.enrichments (company_id, prospect_id, enrichment_type, status, created_at, job_id)
    SELECT company, prospect, kind, 'pending', sales_internal.now(), job
    WHERE NOT EXISTS (SELECT FROM sales.enrichments e WHERE e.company_id = company AND e.job_id = job);
END
$$;
COMMENT ON FUNCTION sales_internal.pending_enrichment(uuid, uuid, uuid, sales.enrichment_type) IS 'Makes or reopens the row of an enrichment job';
REVOKE ALL ON FUNCTION sales_internal.pending_enrichment(uuid, uuid, uuid, sales.enrichment_type) FROM PUBLIC;

-- However a job ends without an answer, its row says so.
CREATE OR REPLACE FUNCTION sales_internal.enrichment_failed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE sales.enrichments e SET status = 'failed', cost = least(round(NEW.cost, 4), 99.9999),
           error = CASE NEW.state WHEN 'cancelled' THEN 'the job was cancelled' ELSE NEW.error END
    WHERE e.company_id = NEW.company_id AND e.job_id = NEW.job_id AND e.status = 'pending';
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sales_internal.enrichment_failed() IS 'Trigger: the enrichment of a job that failed or was cancelled is failed';
REVOKE ALL ON FUNCTION sales_internal.enrichment_failed() FROM PUBLIC;
CREATE OR REPLACE TRIGGER enrichment_failed AFTER UPDATE OF state ON sales_internal.jobs FOR EACH ROW
    WHEN (NEW.kind = 'enrich' AND NEW.state IN ('failed', 'cancelled') AND OLD.state <> NEW.state)
    EXECUTE FUNCTION sales_internal.enrichment_failed();

CREATE OR REPLACE FUNCTION sales_internal.website_of(prospect sales.prospects) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT CASE WHEN w ~* '^https?://' THEN w WHEN w ~ '^[[:alnum:]]([[:alnum:].-]*[[:alnum:]])?(:\d+)?(/|$)' THEN 'https://' || w END
    FROM btrim((prospect).website) w
$$;
COMMENT ON FUNCTION sales_internal.website_of(sales.prospects) IS 'URL of a prospect''s web site; null where there is none';
REVOKE ALL ON FUNCTION sales_internal.website_of(sales.prospects) FROM PUBLIC;

-- Domain of the prospect's company: of its web site, else of its own mail.
CREATE OR REPLACE FUNCTION sales_internal.domain_of(prospect sales.prospects) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT coalesce(
        lower(substring(sales_internal.website_of(prospect) FROM '^[hH][tT][tT][pP][sS]?://(?:www\.)?([^/:?#]+)')),
        (SELECT d FROM lower(substring((prospect).email FROM '@([^@]+)$')) d
         WHERE d <> '' AND NOT EXISTS (SELECT FROM sales_internal.email_lists l WHERE l.kind IN ('webmail', 'disposable') AND l.value = d)))
$$;
COMMENT ON FUNCTION sales_internal.domain_of(sales.prospects) IS 'Domain of the company that a prospect works for';
REVOKE ALL ON FUNCTION sales_internal.domain_of(sales.prospects) FROM PUBLIC;

-- What a stranger gave as a value of a column: links are http(s) links, numbers
-- of telephones look like one; what is neither is left out.
CREATE OR REPLACE FUNCTION sales_internal.clean_found(found jsonb) RETURNS jsonb
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT coalesce(jsonb_object_agg(key, cleaned), '{}')
    FROM (SELECT f.key, CASE
              WHEN f.key = 'website' OR f.key LIKE '%\_url' THEN
                  CASE WHEN f.value ~* '^https?://[^[:space:]"<>\\]+$' AND length(f.value) <= 200 THEN f.value
                       WHEN f.value ~* '^[a-z0-9]([a-z0-9.-]*[a-z0-9])?\.[a-z]{2,}(/[^[:space:]"<>\\]*)?$' AND length(f.value) <= 190 THEN 'https://' || f.value END
              WHEN f.key IN ('phone', 'company_phone') THEN
                  CASE WHEN f.value ~ '\d.*\d.*\d' AND f.value ~ '^[-0-9+()./ ]{4,40}$' THEN left(regexp_replace(btrim(f.value), '\s+', ' ', 'g'), 20) END
              WHEN f.key IN ('email', 'company_email') THEN
                  CASE WHEN length(f.value) <= 100 AND sales_internal.email_problem(f.value) IS NULL THEN lower(f.value) END
              ELSE f.value END AS cleaned
          FROM jsonb_each_text(found) f) x
    WHERE cleaned <> ''
$$;
COMMENT ON FUNCTION sales_internal.clean_found(jsonb) IS 'Found values of which links, numbers and addresses are what they should be';
REVOKE ALL ON FUNCTION sales_internal.clean_found(jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.store_enrichment(
    job uuid, company uuid, args jsonb, provider text, answer jsonb, confidence numeric, spent numeric DEFAULT 0)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    stored uuid;
    kind text := args ->> 'type';
    days numeric := sales_internal.setting_number(company, 'enrichment.keep_days_' || kind,
                        sales_internal.setting_number(company, 'enrichment.keep_days', 90));
BEGIN
    IF answer ->> 'status' = 'unknown' THEN
        days := least(days, 1); -- what could not be told today may be told tomorrow
    END IF;
    UPDATE sales.enrichments e
    SET source_api = store_enrichment.provider, enriched_value = answer::text, confidence_score = round(least(greatest(confidence, 0), 1), 2),
        original_value = (SELECT coalesce(jsonb_object_agg(key, to_jsonb(p) -> key), '{}') FROM jsonb_object_keys(answer) key
                          WHERE to_jsonb(p) ? key)::text,
        cost = least(round(spent, 4), 99.9999), status = 'completed', error = NULL,
        expires_at = sales_internal.now() + least(days, 36500) * interval '1 day'
    FROM sales.prospects p
    WHERE e.company_id = company AND e.job_id = job AND e.status = 'pending'
      AND p.company_id = company AND p.prospect_id = e.prospect_id AND p.deleted_at IS NULL
    RETURNING e.enrichment_id INTO stored;
    IF stored IS NULL THEN
        RETURN jsonb_build_object('outcome', 'failed', 'cost', spent, 'error', 'the prospect is gone');
    END IF;
    RETURN jsonb_build_object('outcome', 'done', 'cost', spent, 'result',
        jsonb_build_object('enrichment_id', stored, 'provider', store_enrichment.provider, 'found', answer));
END
$$;
COMMENT ON FUNCTION sales_internal.store_enrichment(uuid, uuid, jsonb, text, jsonb, numeric, numeric) IS
    'Stores an answer with the values it would replace; the outcome of its job';
REVOKE ALL ON FUNCTION sales_internal.store_enrichment(uuid, uuid, jsonb, text, jsonb, numeric, numeric) FROM PUBLIC;

-- --- local ---

-- E-mail address by syntax and lists; null where DNS has to say.
CREATE OR REPLACE FUNCTION sales_internal.local_email(address text, dns text DEFAULT NULL, OUT verdict jsonb, OUT confidence numeric)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problem text := sales_internal.email_problem(address);
    box text := sales_internal.fold(substring(address FROM '^(.*)@'));
    domain text := lower(substring(address FROM '@([^@]*)$'));
BEGIN
    IF problem IS NOT NULL THEN
        verdict := jsonb_build_object('status', 'invalid', 'reason', problem);
        confidence := 1;
        RETURN;
    END IF;
    -- also of a subdomain of such a domain
    IF EXISTS (SELECT FROM sales_internal.email_lists l WHERE l.kind = 'disposable' AND (l.value = domain OR domain LIKE '%.' || l.value)) THEN
        verdict := jsonb_build_object('status', 'disposable', 'reason', 'the domain throws mail away');
        confidence := 0.95;
        RETURN;
    END IF;
    IF dns IS NULL THEN
        RETURN;
    END IF;
    verdict := jsonb_build_object(
        'status', CASE WHEN dns IN ('mx', 'address') THEN 'valid' WHEN dns IN ('null_mx', 'no_mail', 'no_domain') THEN 'invalid' ELSE 'unknown' END,
        'reason', CASE dns
            WHEN 'mx' THEN 'syntax and mail server are in order; the mailbox was not asked'
            WHEN 'address' THEN 'the domain has no mail server of its own but a host that may take mail; the mailbox was not asked'
            WHEN 'null_mx' THEN 'the domain says that it takes no mail'
            WHEN 'no_mail' THEN 'the domain has no mail server'
            WHEN 'no_domain' THEN 'the domain does not exist'
            ELSE 'DNS did not answer; the syntax is in order' END,
        'role', EXISTS (SELECT FROM sales_internal.email_lists WHERE kind = 'role' AND value = split_part(box, '+', 1)),
        'webmail', EXISTS (SELECT FROM sales_internal.email_lists WHERE kind = 'webmail' AND value = domain));
    confidence := CASE dns WHEN 'mx' THEN 0.80 WHEN 'address' THEN 0.60 WHEN 'null_mx' THEN 0.99 WHEN 'no_mail' THEN 0.95 WHEN 'no_domain' THEN 0.99
                           ELSE 0.50 END;
END
$$;
COMMENT ON FUNCTION sales_internal.local_email(text, text) IS
    'Verdict of the provider local on an address: valid, invalid, disposable or unknown, with the reason; null where DNS has not been asked';
REVOKE ALL ON FUNCTION sales_internal.local_email(text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.page_request(url text) RETURNS jsonb
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('url', url, 'timeout_ms', 15000, 'max_bytes', 2097152, 'provider', 'local',
                              'headers', '{"Accept": "text/html,application/xhtml+xml"}'::jsonb)
$$;
COMMENT ON FUNCTION sales_internal.page_request(text) IS 'Request for a web page';
REVOKE ALL ON FUNCTION sales_internal.page_request(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.enrichment_gives_up(args jsonb, reason text) RETURNS jsonb
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object('outcome', 'failed', 'cost', coalesce((args ->> 'spent')::numeric, 0), 'error', left(concat_ws('; ',
        (SELECT string_agg(n, '; ') FROM jsonb_array_elements_text(args -> 'notes') n), 'local: ' || reason), 1000))
$$;
COMMENT ON FUNCTION sales_internal.enrichment_gives_up(jsonb, text) IS 'Outcome of a look-up that found nothing: what each provider said';
REVOKE ALL ON FUNCTION sales_internal.enrichment_gives_up(jsonb, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.enrich_locally(job uuid, company uuid, args jsonb, prospect sales.prospects) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    judged record;
    url text;
BEGIN
    IF args ->> 'type' = 'email_validation' THEN
        IF coalesce(btrim(prospect.email), '') = '' THEN
            RETURN sales_internal.enrichment_gives_up(args, 'the prospect has no e-mail address');
        END IF;
        SELECT * INTO judged FROM sales_internal.local_email(prospect.email);
        IF judged.verdict IS NULL THEN
            UPDATE sales_internal.jobs j SET args = j.args || jsonb_build_object('address', prospect.email) WHERE j.job_id = job;
            RETURN jsonb_build_object('dns', lower(substring(prospect.email FROM '@([^@]*)$')), 'provider', 'local', 'timeout_ms', 10000);
        END IF;
        RETURN sales_internal.store_enrichment(job, company, args, 'local', judged.verdict, judged.confidence, coalesce((args ->> 'spent')::numeric, 0));
    END IF;
    -- All else is read from the company's own page.
    url := coalesce(sales_internal.website_of(prospect), 'https://' || sales_internal.domain_of(prospect) || '/');
    IF url IS NULL THEN
        RETURN sales_internal.enrichment_gives_up(args, 'neither a web site nor an e-mail domain of the prospect''s company is known');
    END IF;
    UPDATE sales_internal.jobs j SET args = j.args || jsonb_build_object('page', url, 'hops', 0) WHERE j.job_id = job;
    RETURN sales_internal.page_request(url);
END
$$;
COMMENT ON FUNCTION sales_internal.enrich_locally(uuid, uuid, jsonb, sales.prospects) IS
    'What the provider local does for an enrichment: judge the address, or read the company''s page';
REVOKE ALL ON FUNCTION sales_internal.enrich_locally(uuid, uuid, jsonb, sales.prospects) FROM PUBLIC;

-- A page that answered: what of it is news about the prospect.  An address or a
-- number on it is the company's, and the prospect's only where it has none.
CREATE OR REPLACE FUNCTION sales_internal.settle_page(job uuid, company uuid, args jsonb, response jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    status integer := (response ->> 'status')::integer;
    target text := sales_internal.resolve_url(args ->> 'page', response #>> '{headers,location}');
    hops integer := coalesce((args ->> 'hops')::integer, 0);
    prospect sales.prospects;
    raw jsonb;
    page jsonb;
    wanted text[] := CASE args ->> 'type'
        WHEN 'linkedin' THEN '{linkedin_url}' WHEN 'twitter' THEN '{twitter_url}'
        WHEN 'company_info' THEN '{company_name,description,email,phone,street_address,postal_code,city,region,country,employees,founded_year,linkedin_url,twitter_url}'
        ELSE '{title,description,language,site_name,keywords,company_name,email,phone,linkedin_url,twitter_url,blog_url}' END;
BEGIN
    IF status IN (301, 302, 303, 307, 308) AND target IS NOT NULL THEN
        IF hops >= 5 THEN
            RETURN sales_internal.enrichment_gives_up(args, 'the page redirects without end');
        END IF;
        -- Followed as a request of its own, which the guard sees.
        UPDATE sales_internal.jobs j SET args = j.args || jsonb_build_object('page', target, 'hops', hops + 1) WHERE j.job_id = job;
        RETURN sales_internal.page_request(target);
    END IF;
    IF status <> 200 THEN
        IF status IN (0, 408, 425, 429) OR status >= 500 THEN
            IF NOT coalesce((response ->> 'blocked')::boolean, false) AND NOT sales_internal.is_last_attempt(job) THEN
                RETURN jsonb_strip_nulls(jsonb_build_object('outcome', 'retry', 'error', 'local: ' || coalesce(response ->> 'error', 'HTTP status ' || status),
                    'after', sales_internal.retry_after(response -> 'headers')));
            END IF;
        END IF;
        RETURN sales_internal.enrichment_gives_up(args, coalesce(response ->> 'error', 'the page answered with HTTP status ' || status));
    END IF;
    SELECT * INTO prospect FROM sales.prospects p
    WHERE p.company_id = company AND p.prospect_id = (args ->> 'prospect_id')::uuid;
    raw := sales_internal.read_page(response ->> 'body');
    SELECT coalesce(jsonb_object_agg(k.name, e.value), '{}') INTO page
    FROM jsonb_each(raw) e
    CROSS JOIN LATERAL (SELECT CASE
        WHEN e.key = 'email' AND prospect.email <> '' OR e.key = 'phone' AND prospect.phone <> '' THEN 'company_' || e.key ELSE e.key END) k (name)
    WHERE e.key = ANY (wanted);
    SELECT coalesce(jsonb_object_agg(e.key, CASE WHEN e.key LIKE '%\_url'
            THEN to_jsonb(sales_internal.resolve_url(args ->> 'page', e.value)) ELSE to_jsonb(e.value) END), '{}') INTO page
    FROM jsonb_each_text(page) e;
    page := sales_internal.clean_found(jsonb_strip_nulls(page));
    IF page - '{language,keywords}'::text[] = '{}' THEN
        RETURN sales_internal.enrichment_gives_up(args, 'the page tells nothing of the kind');
    END IF;
    RETURN sales_internal.store_enrichment(job, company, args, 'local', page, CASE
        WHEN args ->> 'type' = 'linkedin' AND page ->> 'linkedin_url' ~ '/company/' THEN 0.40
        WHEN raw ? 'organization' THEN 0.75 ELSE 0.60 END, coalesce((args ->> 'spent')::numeric, 0));
END
$$;
COMMENT ON FUNCTION sales_internal.settle_page(uuid, uuid, jsonb, jsonb) IS 'Outcome of a page that local has read';
REVOKE ALL ON FUNCTION sales_internal.settle_page(uuid, uuid, jsonb, jsonb) FROM PUBLIC;

-- --- the job ---

CREATE OR REPLACE FUNCTION sales_internal.is_last_attempt(job uuid) RETURNS boolean
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce((SELECT j.attempts >= j.max_attempts FROM sales_internal.jobs j WHERE j.job_id = job), true) $$;
COMMENT ON FUNCTION sales_internal.is_last_attempt(uuid) IS 'Would a retry of the job be refused?';
REVOKE ALL ON FUNCTION sales_internal.is_last_attempt(uuid) FROM PUBLIC;

-- Variables of look-ups: what is known of a prospect, by the names of columns.
CREATE OR REPLACE FUNCTION sales_internal.lookup_variables(company uuid, prospect sales.prospects) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'email', nullif((prospect).email, ''), 'domain', sales_internal.domain_of(prospect), 'website', sales_internal.website_of(prospect),
        'first_name', (prospect).first_name, 'last_name', (prospect).last_name, 'job_title', (prospect).job_title,
        'company_name', nullif((prospect).company_name, ''), 'phone', (prospect).phone, 'linkedin_url', (prospect).linkedin_url,
        'twitter_url', (prospect).twitter_url, 'city', a.city, 'region', a.region, 'country_name', a.country, 'country', k.iso3, 'country_iso2', k.iso2,
        'industry', i.name, 'nace', i.nace_codes ->> 0))
    FROM (SELECT) one
    LEFT JOIN sales.addresses a ON a.company_id = company AND a.address_id = (prospect).address_id
    LEFT JOIN LATERAL sales_internal.country_of(a.country) k ON true
    LEFT JOIN sales.industries i ON i.industry_id = (prospect).industry_id
$$;
COMMENT ON FUNCTION sales_internal.lookup_variables(uuid, sales.prospects) IS 'What is known of a prospect, for requests of look-ups';
REVOKE ALL ON FUNCTION sales_internal.lookup_variables(uuid, sales.prospects) FROM PUBLIC;

-- The next provider of the waterfall whose needs are met, as a request; null when
-- there is none left within what may be spent.
CREATE OR REPLACE FUNCTION sales_internal.next_lookup(job uuid, company uuid, args jsonb, purpose text, variables jsonb, most numeric)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    asked text[];
    chosen record;
BEGIN
    SELECT coalesce(array_agg(value), '{}') INTO asked FROM jsonb_array_elements_text(coalesce(args -> 'asked', '[]'));
    LOOP
        SELECT * INTO chosen FROM sales_internal.choose_provider(company, purpose, asked,
            most - coalesce((args ->> 'spent')::numeric, 0));
        IF NOT FOUND THEN
            RETURN NULL;
        END IF;
        IF NOT EXISTS (SELECT FROM jsonb_array_elements_text((chosen.provider).request -> 'needs') n
                       WHERE coalesce(variables ->> n, '') = '') THEN
            RETURN sales_internal.provider_request(company, chosen.provider, chosen.api_key_id, variables);
        END IF;
        asked := asked || (chosen.provider).name::text;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sales_internal.next_lookup(uuid, uuid, jsonb, text, jsonb, numeric) IS
    'Request of the best provider that was not asked yet, has what it needs and costs no more than what is left';
REVOKE ALL ON FUNCTION sales_internal.next_lookup(uuid, uuid, jsonb, text, jsonb, numeric) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.prepare_enrichment(job uuid, company uuid, args jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    prospect sales.prospects;
BEGIN
    -- What was noted on earlier attempts: providers asked, money spent.
    args := args || coalesce((SELECT j.args FROM sales_internal.jobs j WHERE j.job_id = job), '{}');
    SELECT * INTO prospect FROM sales.prospects p
    WHERE p.company_id = company AND p.prospect_id = (args ->> 'prospect_id')::uuid AND p.deleted_at IS NULL;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'failed', 'error', 'the prospect is gone');
    END IF;
    PERFORM sales_internal.pending_enrichment(job, company, prospect.prospect_id, (args ->> 'type')::sales.enrichment_type);
    RETURN coalesce(
        -- an address that is none needs no service to say so
        CASE WHEN args ->> 'type' <> 'email_validation' OR sales_internal.email_problem(prospect.email) IS NULL THEN
            sales_internal.next_lookup(job, company, args, args ->> 'type',
                sales_internal.lookup_variables(company, prospect) || jsonb_build_object('type', args ->> 'type'),
                sales_internal.setting_number(company, 'enrichment.max_cost', NULL)) END,
        sales_internal.enrich_locally(job, company, args, prospect));
END
$$;
COMMENT ON FUNCTION sales_internal.prepare_enrichment(uuid, uuid, jsonb) IS
    'Job enrich: the request of the best provider not asked yet, or what local does';
REVOKE ALL ON FUNCTION sales_internal.prepare_enrichment(uuid, uuid, jsonb) FROM PUBLIC;

-- Notes a provider that had no good answer.
CREATE OR REPLACE FUNCTION sales_internal.note_asked(job uuid, args jsonb, provider text, said text, cost numeric) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    args := args || jsonb_build_object(
        'asked', coalesce(args -> 'asked', '[]') || to_jsonb(provider),
        'notes', coalesce(args -> 'notes', '[]') || to_jsonb(said),
        'spent', coalesce((args ->> 'spent')::numeric, 0) + cost);
    UPDATE sales_internal.jobs j SET args = note_asked.args WHERE j.job_id = job;
    RETURN args;
END
$$;
COMMENT ON FUNCTION sales_internal.note_asked(uuid, jsonb, text, text, numeric) IS 'Arguments of a look-up with one more provider asked in vain';
REVOKE ALL ON FUNCTION sales_internal.note_asked(uuid, jsonb, text, text, numeric) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.settle_enrichment(job uuid, company uuid, args jsonb, response jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    call record;
    form jsonb;
    answer jsonb;
    confidence numeric;
    judged record;
    said text;
BEGIN
    args := args || coalesce((SELECT j.args FROM sales_internal.jobs j WHERE j.job_id = job), '{}');
    IF response ->> 'provider' = 'local' THEN
        IF response ? 'dns' THEN
            SELECT v.* INTO judged FROM sales.prospects p CROSS JOIN LATERAL sales_internal.local_email(p.email, response ->> 'dns') v
            WHERE p.company_id = company AND p.prospect_id = (args ->> 'prospect_id')::uuid AND p.email = args ->> 'address';
            IF NOT FOUND THEN
                RETURN jsonb_build_object('outcome', 'retry', 'after', 0, 'error', 'the address was changed while it was judged');
            END IF;
            RETURN sales_internal.store_enrichment(job, company, args, 'local', judged.verdict, judged.confidence,
                                                   coalesce((args ->> 'spent')::numeric, 0));
        END IF;
        RETURN sales_internal.settle_page(job, company, args, response);
    END IF;
    call := sales_internal.settle_call(company, response);
    said := call.trouble ->> 'error';
    -- Worth repeating, unless it was the last time: then the next one is asked.
    IF call.trouble ->> 'outcome' = 'retry' AND NOT sales_internal.is_last_attempt(job) THEN
        IF call.cost > 0 THEN
            UPDATE sales_internal.jobs j SET args = settle_enrichment.args
                || jsonb_build_object('spent', coalesce((settle_enrichment.args ->> 'spent')::numeric, 0) + call.cost) WHERE j.job_id = job;
        END IF;
        RETURN call.trouble;
    END IF;
    IF call.trouble IS NULL THEN
        form := (call.chosen).answer;
        answer := sales_internal.clean_found(sales_internal.read_fields(call.document, form -> 'fields', '{}'))
                  || jsonb_strip_nulls(jsonb_build_object('status', left(sales_internal.at_path(call.document, form -> 'status'), 50)));
        IF answer = '{}' OR (args ->> 'type' = 'email_validation' AND NOT answer ? 'status') THEN
            said := (call.chosen).name || ': nothing found';
        ELSIF coalesce(form -> 'inconclusive', '[]') ? (answer ->> 'status') THEN
            said := format('%s: %s', (call.chosen).name, answer ->> 'status');
        ELSE
            confidence := coalesce(
                sales_internal.to_number(sales_internal.at_path(call.document, form -> 'confidence_percent'), 0, 100) / 100,
                sales_internal.to_number(sales_internal.at_path(call.document, form -> 'confidence'), 0, 1),
                sales_internal.to_number(form ->> 'confidence_fixed', 0, 1), 0.5);
            RETURN sales_internal.store_enrichment(job, company, args, coalesce((call.chosen).service, (call.chosen).name), answer, confidence,
                                                   coalesce((args ->> 'spent')::numeric, 0) + call.cost);
        END IF;
    END IF;
    args := sales_internal.note_asked(job, args, response ->> 'provider', said, call.cost);
    BEGIN
        RETURN sales_internal.prepare_enrichment(job, company, args);
    EXCEPTION WHEN SQLSTATE 'SAW01' THEN
        -- the next one is not to be called now; who has been asked is noted and not asked again
        GET STACKED DIAGNOSTICS said = PG_EXCEPTION_DETAIL;
        RETURN sales_internal.wait_outcome(said::jsonb);
    END;
END
$$;
COMMENT ON FUNCTION sales_internal.settle_enrichment(uuid, uuid, jsonb, jsonb) IS
    'Job enrich: stores a good answer; after another asks the next provider';
REVOKE ALL ON FUNCTION sales_internal.settle_enrichment(uuid, uuid, jsonb, jsonb) FROM PUBLIC;

DO $$
BEGIN
    INSERT INTO sales_internal.job_kinds (kind, mode, prepare_function, settle_function)
    VALUES ('enrich', 'http', 'sales_internal.prepare_enrichment', 'sales_internal.settle_enrichment')
    ON CONFLICT (kind) DO NOTHING;
    INSERT INTO sales_internal.setting_defaults (key, value, description) VALUES
        ('enrichment.keep_days', '90', 'Days after which an enrichment is no longer fresh; keep_days_ and a type: of that type'),
        ('enrichment.renew', 'false', 'True: what has expired is looked up again by itself'),
        ('enrichment.max_cost', NULL, 'Most that the services asked for one look-up may cost together; unset: no bound'),
        ('ai.enabled', 'true', 'False: no call to an outside service is made for the company')
    ON CONFLICT (key) DO NOTHING;
END
$$;
