-- Enrichment: public tenders of a prospect's sector and its competitors, into
-- prospects.tender_opportunities and prospects.competitive_intel.

CREATE OR REPLACE FUNCTION sales.refresh_intel(prospect_id uuid, kind text) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.visible_prospect(prospect_id);
BEGIN
    PERFORM sales_internal.require('prospects', 'update');
    IF kind IS NULL OR kind NOT IN ('tenders', 'competitors') THEN
        RAISE invalid_parameter_value USING MESSAGE = format('there is no intelligence of kind "%s"', coalesce(left(kind, 100), 'null')),
            HINT = 'Kinds: tenders, competitors.';
    END IF;
    RETURN sales_internal.enqueue('refresh_intel', company,
        jsonb_build_object('prospect_id', prospect_id, 'kind', kind), prospect_id || ' ' || kind);
END
$$;
COMMENT ON FUNCTION sales.refresh_intel(uuid, text) IS
    'Looks up public tenders for the prospect''s sector and country, or its competitors; returns the job';
REVOKE ALL ON FUNCTION sales.refresh_intel(uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.refresh_intel(uuid, text) TO sales_app;

-- --- storing ---

CREATE OR REPLACE FUNCTION sales_internal.store_tenders(company uuid, prospect uuid, tenders jsonb, provider text, spent numeric) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE sales.prospects p SET tender_opportunities = tenders, tender_last_update = sales_internal.now()
    WHERE p.company_id = company AND p.prospect_id = prospect AND p.deleted_at IS NULL;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'failed', 'cost', spent, 'error', 'the prospect is gone');
    END IF;
    RETURN jsonb_build_object('outcome', 'done', 'cost', spent,
        'result', jsonb_build_object('tenders', jsonb_array_length(tenders), 'provider', provider));
END
$$;
COMMENT ON FUNCTION sales_internal.store_tenders(uuid, uuid, jsonb, text, numeric) IS 'Notes the tenders of a prospect; the outcome of its job';
REVOKE ALL ON FUNCTION sales_internal.store_tenders(uuid, uuid, jsonb, text, numeric) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.store_competitors(
    company uuid, prospect uuid, competitors jsonb, provider text, confidence numeric, spent numeric) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE sales.prospects p SET competitive_intel = jsonb_build_object('competitors', competitors, 'source', provider,
        'confidence', confidence, 'updated_at', sales_internal.now())
    WHERE p.company_id = company AND p.prospect_id = prospect AND p.deleted_at IS NULL;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'failed', 'cost', spent, 'error', 'the prospect is gone');
    END IF;
    RETURN jsonb_build_object('outcome', 'done', 'cost', spent,
        'result', jsonb_build_object('competitors', jsonb_array_length(competitors), 'provider', provider));
END
$$;
COMMENT ON FUNCTION sales_internal.store_competitors(uuid, uuid, jsonb, text, numeric, numeric) IS 'Notes the competitors of a prospect; the outcome of its job';
REVOKE ALL ON FUNCTION sales_internal.store_competitors(uuid, uuid, jsonb, text, numeric, numeric) FROM PUBLIC;

-- --- local ---

-- Other companies of the sector among the company's own prospects: clients
-- first, then those of the same country and size.
CREATE OR REPLACE FUNCTION sales_internal.local_competitors(company uuid, prospect uuid) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(jsonb_agg(jsonb_build_object('name', name, 'is_client', is_client, 'same_country', near, 'same_size', like_size)
                              ORDER BY is_client DESC, near DESC, like_size DESC, name), '[]')
    FROM (SELECT min(o.company_name) AS name, bool_or(o.status = 'client') AS is_client,
                 bool_or(coalesce((sales_internal.country_of(b.country)).iso2 = here.iso2, false)) AS near,
                 bool_or(coalesce(o.company_size_id = p.company_size_id, false)) AS like_size
          FROM sales.prospects p
          LEFT JOIN sales.addresses a ON a.company_id = company AND a.address_id = p.address_id
          CROSS JOIN LATERAL (SELECT (sales_internal.country_of(a.country)).iso2) here
          JOIN sales.prospects o ON o.company_id = company AND o.industry_id = p.industry_id AND o.deleted_at IS NULL
               AND btrim(o.company_name) <> '' AND lower(btrim(o.company_name)) IS DISTINCT FROM lower(btrim(p.company_name))
          LEFT JOIN sales.addresses b ON b.company_id = company AND b.address_id = o.address_id
          WHERE p.company_id = company AND p.prospect_id = prospect
          GROUP BY lower(btrim(o.company_name))
          ORDER BY is_client DESC, near DESC, like_size DESC, name LIMIT 20) x
$$;
COMMENT ON FUNCTION sales_internal.local_competitors(uuid, uuid) IS
    'Companies of the prospect''s sector among the company''s own prospects, clients first';
REVOKE ALL ON FUNCTION sales_internal.local_competitors(uuid, uuid) FROM PUBLIC;

-- Tenders that were looked up for another prospect of the same sector, region
-- and country within a day are those of this one too.
CREATE OR REPLACE FUNCTION sales_internal.known_tenders(company uuid, prospect sales.prospects) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT o.tender_opportunities
    FROM sales.prospects o
    LEFT JOIN sales.addresses b ON b.company_id = company AND b.address_id = o.address_id
    LEFT JOIN sales.addresses a ON a.company_id = company AND a.address_id = (prospect).address_id
    WHERE o.company_id = company AND o.industry_id = (prospect).industry_id AND o.prospect_id <> (prospect).prospect_id
      AND o.tender_last_update > sales_internal.now() - interval '1 day'
      AND (lower(btrim(b.country)), lower(btrim(b.region))) IS NOT DISTINCT FROM (lower(btrim(a.country)), lower(btrim(a.region)))
    ORDER BY o.tender_last_update DESC LIMIT 1
$$;
COMMENT ON FUNCTION sales_internal.known_tenders(uuid, sales.prospects) IS 'Tenders of a like prospect that are less than a day old';
REVOKE ALL ON FUNCTION sales_internal.known_tenders(uuid, sales.prospects) FROM PUBLIC;

-- --- the job ---

CREATE OR REPLACE FUNCTION sales_internal.prepare_intel(job uuid, company uuid, args jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    kind text := args ->> 'kind';
    prospect sales.prospects;
    variables jsonb;
    request jsonb;
    known jsonb;
    chosen record;
BEGIN
    args := args || coalesce((SELECT j.args FROM sales_internal.jobs j WHERE j.job_id = job), '{}');
    SELECT * INTO prospect FROM sales.prospects p
    WHERE p.company_id = company AND p.prospect_id = (args ->> 'prospect_id')::uuid AND p.deleted_at IS NULL;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'failed', 'error', 'the prospect is gone');
    ELSIF prospect.industry_id IS NULL AND (kind = 'tenders' OR coalesce(prospect.company_name, '') = '') THEN
        RETURN jsonb_build_object('outcome', 'failed', 'error', 'the prospect has no sector: set prospects.industry_id');
    END IF;
    variables := sales_internal.lookup_variables(company, prospect);
    IF kind = 'tenders' THEN
        known := CASE WHEN NOT args ? 'asked' THEN sales_internal.known_tenders(company, prospect) END;
        IF known IS NOT NULL THEN
            RETURN sales_internal.store_tenders(company, prospect.prospect_id, known, 'a look-up of today', 0);
        END IF;
        SELECT variables || jsonb_build_object('cpv', jsonb_agg(jsonb_build_object('code', code, 'first', n = 1) ORDER BY n)) INTO variables
        FROM sales_internal.nace_cpv c CROSS JOIN LATERAL unnest(c.cpv) WITH ORDINALITY u (code, n)
        WHERE c.section = variables ->> 'nace' HAVING count(*) > 0;
        IF variables IS NULL THEN
            RETURN jsonb_build_object('outcome', 'failed', 'error', 'the prospect''s sector has no section of NACE');
        END IF;
    END IF;
    request := sales_internal.next_lookup(job, company, args, kind, variables, sales_internal.setting_number(company, 'enrichment.max_cost', NULL));
    IF request IS NOT NULL THEN
        RETURN request;
    ELSIF kind = 'tenders' THEN
        RETURN jsonb_build_object('outcome', 'failed', 'cost', coalesce((args ->> 'spent')::numeric, 0), 'error', left(coalesce(
            (SELECT string_agg(n, '; ') FROM jsonb_array_elements_text(args -> 'notes') n),
            'no provider of tenders can be asked; see sales.providers and the setting ai.enabled'), 1000));
    END IF;
    -- Competitors: a chat service may know them, and the company's own records do.
    IF NOT coalesce(args -> 'asked', '[]') ? 'chat' AND coalesce(prospect.company_name, '') <> '' THEN
        SELECT * INTO chosen FROM sales_internal.choose_provider(company, 'chat');
        IF FOUND THEN
            RETURN sales_internal.chat_request(job, company, chosen.provider, chosen.api_key_id,
                format('You name the main competitors of a company, at most ten, only such as you are sure of; none is a good answer. In the language "%s". '
                       'The JSON object has the key "competitors", an array of objects with "name", "website" (empty if not known) and "note" (one sentence), '
                       'and the key "confidence" (0 to 1).', (SELECT c.language FROM sales.companies c WHERE c.company_id = company)),
                variables - '{email,first_name,last_name,phone,job_title,linkedin_url,twitter_url}'::text[],
                sales_internal.answer_schema(jsonb_build_object('confidence', '{"type": "number"}'::jsonb, 'competitors',
                    jsonb_build_object('type', 'array', 'items', sales_internal.answer_schema(
                        '{"name": {"type": "string"}, "website": {"type": "string"}, "note": {"type": "string"}}')))));
        END IF;
    END IF;
    RETURN sales_internal.store_competitors(company, prospect.prospect_id, sales_internal.local_competitors(company, prospect.prospect_id),
        'local', 0.50, coalesce((args ->> 'spent')::numeric, 0));
END
$$;
COMMENT ON FUNCTION sales_internal.prepare_intel(uuid, uuid, jsonb) IS
    'Job refresh_intel: the request of the next provider, or what is known without one';
REVOKE ALL ON FUNCTION sales_internal.prepare_intel(uuid, uuid, jsonb) FROM PUBLIC;

-- The elements of an answer's list, at most 20, each with the fields that it has.
CREATE OR REPLACE FUNCTION sales_internal.read_items(chosen sales.providers, document jsonb, language text) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT coalesce(jsonb_agg(x.item ORDER BY x.n), '[]')
    FROM (SELECT i.n, sales_internal.clean_found(sales_internal.read_fields(i.item, chosen.answer -> 'item', l.codes)
                 || coalesce((SELECT jsonb_build_object('url', u) FROM sales_internal.at_path(i.item, chosen.answer #> '{item,url}', l.codes) u
                              WHERE u ~* '^https?://[^[:space:]"<>\\]+$'), '{}')) || jsonb_build_object('source', chosen.name) AS item
          FROM (SELECT CASE language WHEN 'fr' THEN 'fra' WHEN 'it' THEN 'ita' WHEN 'es' THEN 'spa' WHEN 'de' THEN 'deu' ELSE 'eng' END AS code) k
          CROSS JOIN LATERAL (SELECT jsonb_build_object('lang', k.code, 'LANG', upper(k.code)) AS codes) l
          CROSS JOIN LATERAL jsonb_path_query(document, (chosen.answer ->> 'items')::jsonpath, '{}', true) WITH ORDINALITY i (item, n)
          WHERE i.n <= 20) x
    WHERE coalesce(x.item ->> 'title', x.item ->> 'name') <> ''
$$;
COMMENT ON FUNCTION sales_internal.read_items(sales.providers, jsonb, text) IS
    'Tenders or competitors of an answer, texts in the language where they come in several';
REVOKE ALL ON FUNCTION sales_internal.read_items(sales.providers, jsonb, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.settle_intel(job uuid, company uuid, args jsonb, response jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    asked sales.providers := sales_internal.provider_row(response ->> 'provider');
    prospect uuid := (args ->> 'prospect_id')::uuid;
    home_language text := (SELECT c.language FROM sales.companies c WHERE c.company_id = company);
    call record;
    read jsonb;
    items jsonb;
    trouble jsonb;
    spent numeric;
    said text;
BEGIN
    args := args || coalesce((SELECT j.args FROM sales_internal.jobs j WHERE j.job_id = job), '{}') - 'prompt';
    IF asked.purpose = 'chat' THEN
        read := sales_internal.chat_answer(job, company, 'competitors', response);
        trouble := read -> 'trouble';
        spent := coalesce((read ->> 'cost')::numeric, (trouble ->> 'cost')::numeric, 0);
        SELECT jsonb_agg(sales_internal.clean_found(jsonb_build_object('name', left(btrim(c ->> 'name'), 200), 'website', c ->> 'website',
                                                                       'note', left(btrim(c ->> 'note'), 500)))) INTO items
        FROM (SELECT c FROM jsonb_array_elements(CASE WHEN jsonb_typeof(read #> '{answer,competitors}') = 'array'
                                                      THEN read #> '{answer,competitors}' ELSE '[]' END) c
              WHERE btrim(c ->> 'name') <> '' LIMIT 10) x;
    ELSE
        call := sales_internal.settle_call(company, response);
        trouble := call.trouble;
        spent := call.cost;
        items := CASE WHEN trouble IS NULL THEN sales_internal.read_items(asked, call.document, home_language) END;
        IF spent > 0 THEN
            PERFORM sales_internal.record_ai_cost(company, asked.name, args ->> 'kind', NULL, spent, 0, 0, job);
        END IF;
    END IF;
    IF trouble ->> 'outcome' = 'retry' AND NOT sales_internal.is_last_attempt(job) THEN
        RETURN trouble;
    END IF;
    spent := spent + coalesce((args ->> 'spent')::numeric, 0);
    -- An empty list is an answer for tenders; competitors are then sought elsewhere.
    IF trouble IS NULL AND args ->> 'kind' = 'tenders' THEN
        RETURN sales_internal.store_tenders(company, prospect, items, asked.name, spent);
    ELSIF trouble IS NULL AND items <> '[]' THEN
        RETURN sales_internal.store_competitors(company, prospect, items, asked.name,
            CASE WHEN asked.purpose = 'chat' THEN round(least(coalesce(sales_internal.to_number(read #>> '{answer,confidence}', 0, 1), 0.5), 0.7), 2)
                 ELSE coalesce(sales_internal.to_number(asked.answer ->> 'confidence_fixed', 0, 1), 0.80) END, spent);
    END IF;
    said := coalesce(trouble ->> 'error', asked.name || ': nothing found');
    RETURN sales_internal.prepare_intel(job, company, sales_internal.note_asked(job, args,
        CASE WHEN asked.purpose = 'chat' THEN 'chat' ELSE response ->> 'provider' END, said, spent - coalesce((args ->> 'spent')::numeric, 0)));
END
$$;
COMMENT ON FUNCTION sales_internal.settle_intel(uuid, uuid, jsonb, jsonb) IS
    'Job refresh_intel: notes what the provider found; after a bad answer asks the next';
REVOKE ALL ON FUNCTION sales_internal.settle_intel(uuid, uuid, jsonb, jsonb) FROM PUBLIC;

-- What was once looked up is kept fresh for prospects that are still open: at
-- most 500 of a company at a time, the oldest first.
CREATE OR REPLACE FUNCTION sales_internal.renew_intel() RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    company uuid;
    days numeric;
    asked bigint;
    renewed bigint := 0;
BEGIN
    FOR company, days IN
        SELECT c.company_id, s.days FROM sales.companies c
        CROSS JOIN LATERAL (SELECT sales_internal.setting_number(c.company_id, 'intel.renew_days', 30) AS days) s
        WHERE c.subscription_status = 'active' AND s.days > 0 ORDER BY c.company_id
    LOOP
        -- competitive_intel is the company's to write: what stands there must not stop the others
        BEGIN
            SELECT count(sales_internal.enqueue('refresh_intel', company, jsonb_build_object('prospect_id', due.prospect_id, 'kind', due.kind),
                                                due.prospect_id || ' ' || due.kind, priority => -2)) INTO asked
            FROM (SELECT p.prospect_id, k.kind
                  FROM sales.prospects p
                  CROSS JOIN LATERAL (VALUES
                      ('tenders', p.tender_last_update),
                      ('competitors', CASE WHEN p.competitive_intel ->> 'updated_at' ~ '^\d{4}-\d\d-\d\dT[\d:.]+([-+]\d\d(:\d\d)?|Z)$'
                                           THEN (p.competitive_intel ->> 'updated_at')::timestamptz END)) k (kind, at)
                  WHERE p.company_id = company AND p.deleted_at IS NULL AND p.status NOT IN ('client', 'perdu')
                    AND k.at < sales_internal.now() - least(days, 36500) * interval '1 day'
                    AND NOT EXISTS (SELECT FROM sales_internal.jobs j
                                    WHERE j.company_id = company AND j.created_at > sales_internal.now() - interval '1 day'
                                      AND j.kind = 'refresh_intel' AND j.unique_key = p.prospect_id || ' ' || k.kind)
                  ORDER BY k.at LIMIT 500) due;
            renewed := renewed + asked;
        EXCEPTION WHEN data_exception OR lock_not_available THEN
            RAISE WARNING 'tenders and competitors of company % could not be looked through: %', company, SQLERRM;
        END;
    END LOOP;
    RETURN renewed;
END
$$;
COMMENT ON FUNCTION sales_internal.renew_intel() IS
    'Periodic task: looks up again tenders and competitors that are older than intel.renew_days';
REVOKE ALL ON FUNCTION sales_internal.renew_intel() FROM PUBLIC;

DO $$
BEGIN
    INSERT INTO sales_internal.job_kinds (kind, mode, prepare_function, settle_function)
    VALUES ('refresh_intel', 'http', 'sales_internal.prepare_intel', 'sales_internal.settle_intel')
    ON CONFLICT (kind) DO NOTHING;
    INSERT INTO sales_internal.periodic_tasks (name, every, run_function)
    VALUES ('intel', '1 hour', 'sales_internal.renew_intel')
    ON CONFLICT (name) DO NOTHING;
    INSERT INTO sales_internal.setting_defaults (key, value, description) VALUES
        ('intel.renew_days', '30', 'Days after which tenders and competitors that were looked up once are looked up again; 0: never')
    ON CONFLICT (key) DO NOTHING;
END
$$;
