-- Providers: choosing one, building its request, reading its answer.

-- Fills a JSON template: every string in it is Mustache over the variables.
-- Values become JSON strings, so no value can change the request's shape.
CREATE OR REPLACE FUNCTION sales_internal.fill(template jsonb, variables jsonb) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    CASE jsonb_typeof(template)
        WHEN 'string' THEN
            RETURN to_jsonb(sales.render_template(template #>> '{}', variables));
        WHEN 'object' THEN
            RETURN (SELECT coalesce(jsonb_object_agg(key, sales_internal.fill(value, variables)), '{}')
                    FROM jsonb_each(template));
        WHEN 'array' THEN
            RETURN (SELECT coalesce(jsonb_agg(sales_internal.fill(value, variables) ORDER BY n), '[]')
                    FROM jsonb_array_elements(template) WITH ORDINALITY e (value, n));
        ELSE
            RETURN template;
    END CASE;
END
$$;
COMMENT ON FUNCTION sales_internal.fill(jsonb, jsonb) IS 'Fills the Mustache strings of a JSON template';
REVOKE ALL ON FUNCTION sales_internal.fill(jsonb, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.url_encode(value text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT string_agg(CASE WHEN b BETWEEN 48 AND 57 OR b BETWEEN 65 AND 90 OR b BETWEEN 97 AND 122 OR b IN (45, 46, 95, 126)
                           THEN chr(b) ELSE '%' || upper(lpad(to_hex(b), 2, '0')) END, '' ORDER BY n)
    FROM (SELECT n, get_byte(convert_to(value, 'UTF8'), n) AS b
          FROM generate_series(0, octet_length(convert_to(value, 'UTF8')) - 1) n) x
$$;
COMMENT ON FUNCTION sales_internal.url_encode(text) IS 'Percent-encodes a value for a URL';
REVOKE ALL ON FUNCTION sales_internal.url_encode(text) FROM PUBLIC;

-- The company's best provider for a purpose that has not been asked yet: one
-- for which it has an active key with budget left.  Null: use `local`.
CREATE OR REPLACE FUNCTION sales_internal.choose_provider(company uuid, purpose text, asked text[] DEFAULT '{}')
RETURNS TABLE (provider sales.providers, api_key_id uuid)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT p, k.api_key_id
    FROM sales.providers p
    JOIN sales.api_keys k ON k.company_id = company AND k.service_name = p.name
    WHERE p.purpose = choose_provider.purpose AND p.is_active AND k.is_active AND p.name <> ALL (asked)
      AND (k.expires_at IS NULL OR k.expires_at > sales_internal.now())
      AND (k.usage_limit_monthly IS NULL OR k.usage_current_month < k.usage_limit_monthly
           OR k.usage_month IS DISTINCT FROM sales_internal.current_month(company))
      AND coalesce(sales_internal.setting_of(company, 'ai.enabled'), 'true') <> 'false'
    ORDER BY p.rank, p.name, k.created_at
    LIMIT 1
$$;
COMMENT ON FUNCTION sales_internal.choose_provider(uuid, text, text[]) IS
    'Best provider of a purpose for which the company has a key with budget, other than those asked already';
REVOKE ALL ON FUNCTION sales_internal.choose_provider(uuid, text, text[]) FROM PUBLIC;

-- A call as an HTTP request of the worker; the budget is reserved here.
CREATE OR REPLACE FUNCTION sales_internal.provider_request(company uuid, chosen sales.providers, key_id uuid, variables jsonb)
RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    filled jsonb := sales_internal.fill(chosen.request,
        variables || jsonb_build_object('base_url', rtrim(chosen.base_url, '/'), 'model', coalesce(chosen.model, '')));
BEGIN
    PERFORM sales_internal.reserve_call(company, key_id);
    IF filled ? 'json' THEN
        filled := (filled - 'json') || jsonb_build_object('body', (filled -> 'json')::text);
    END IF;
    RETURN filled || jsonb_build_object('api_key_id', key_id, 'provider', chosen.name);
END
$$;
COMMENT ON FUNCTION sales_internal.provider_request(uuid, sales.providers, uuid, jsonb) IS
    'Request of a provider with its variables filled in; reserves one call of the key''s budget';
REVOKE ALL ON FUNCTION sales_internal.provider_request(uuid, sales.providers, uuid, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.at_path(document jsonb, path text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT jsonb_path_query_first(document, path::jsonpath, silent => true) #>> '{}' $$;
COMMENT ON FUNCTION sales_internal.at_path(jsonb, text) IS 'Value at a SQL/JSON path, as text';
REVOKE ALL ON FUNCTION sales_internal.at_path(jsonb, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.to_json(body text) RETURNS jsonb
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN body::jsonb;
EXCEPTION WHEN data_exception THEN
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sales_internal.to_json(text) IS 'The text as jsonb; null where it is not JSON';
REVOKE ALL ON FUNCTION sales_internal.to_json(text) FROM PUBLIC;

-- What an answer means: null when it is good, else the outcome of the job.
CREATE OR REPLACE FUNCTION sales_internal.provider_trouble(chosen sales.providers, response jsonb) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    status integer := (response ->> 'status')::integer;
    document jsonb := sales_internal.to_json(response ->> 'body');
    code text := sales_internal.at_path(document, chosen.answer ->> 'error_code');
    message text := coalesce(sales_internal.at_path(document, chosen.answer ->> 'error_message'), response ->> 'error',
                             'HTTP status ' || status);
    again boolean;
    after numeric;
BEGIN
    IF status BETWEEN 200 AND 299 AND status <> ALL (chosen.retry_statuses) THEN
        IF document IS NULL THEN
            RETURN jsonb_build_object('outcome', 'retry', 'error', format('%s: the answer is no JSON', chosen.name));
        END IF;
        RETURN NULL;
    END IF;
    again := (status = 0 AND NOT (response ->> 'blocked')::boolean) OR status = ANY (chosen.retry_statuses);
    IF code = ANY (chosen.final_codes) THEN
        again := false;
    ELSIF response #>> '{headers,x-should-retry}' IN ('true', 'false') THEN
        again := (response #>> '{headers,x-should-retry}')::boolean;
    END IF;
    after := CASE
        WHEN response #>> '{headers,retry-after-ms}' ~ '^\d{1,9}(\.\d+)?$' THEN (response #>> '{headers,retry-after-ms}')::numeric / 1000
        WHEN response #>> '{headers,retry-after}' ~ '^\d{1,6}(\.\d+)?$' THEN (response #>> '{headers,retry-after}')::numeric
    END;
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'outcome', CASE WHEN again THEN 'retry' ELSE 'failed' END,
        'error', left(chosen.name || ': ' || message, 500),
        'after', least(after, 86400)));
END
$$;
COMMENT ON FUNCTION sales_internal.provider_trouble(sales.providers, jsonb) IS
    'Outcome of a job whose call went wrong: try again (when the service says) or give up; null when the answer is good';
REVOKE ALL ON FUNCTION sales_internal.provider_trouble(sales.providers, jsonb) FROM PUBLIC;
