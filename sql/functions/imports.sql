-- Imports: CSV to prospects, every row accounted for.

CREATE OR REPLACE FUNCTION sales_internal.parse_csv(
    data text, delimiter text DEFAULT NULL, OUT row_number integer, OUT fields text[], OUT raw text)
RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'sales_parse_csv'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.parse_csv(text, text) IS
    'Rows of CSV text by COPY''s parser; the delimiter is found unless given; fields null: the text is broken from here on, raw says why';
REVOKE ALL ON FUNCTION sales_internal.parse_csv(text, text) FROM PUBLIC;

-- Letters and digits, lower case, without accents: how headers are compared.
CREATE OR REPLACE FUNCTION sales_internal.header_key(header text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$ SELECT regexp_replace(lower(normalize(header, NFKD)), '[^a-z0-9]', '', 'g') $$;
COMMENT ON FUNCTION sales_internal.header_key(text) IS 'A header without case, accents, blanks and signs';
REVOKE ALL ON FUNCTION sales_internal.header_key(text) FROM PUBLIC;

-- Fields that an import can fill, with their width.
CREATE OR REPLACE FUNCTION sales_internal.import_fields() RETURNS TABLE (field text, width integer, of_address boolean)
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT * FROM (VALUES
        ('first_name', 50, false), ('last_name', 50, false), ('full_name', 101, false), ('email', 100, false), ('phone', 20, false),
        ('job_title', 100, false), ('company_name', 100, false), ('company_size', 20, false), ('industry', 100, false),
        ('street_address', 200, true), ('city', 100, true), ('postal_code', 20, true), ('region', 100, true), ('country', 50, true),
        ('website', 200, false), ('linkedin_url', 200, false), ('twitter_url', 200, false), ('blog_url', 200, false),
        ('estimated_budget_amount', 20, false), ('estimated_budget_currency', 3, false), ('pain_points', 100000, false),
        ('notes', 100000, false), ('created_at', 40, false)) v (field, width, of_address)
$$;
COMMENT ON FUNCTION sales_internal.import_fields() IS 'Fields that an import can fill, with their greatest length';
REVOKE ALL ON FUNCTION sales_internal.import_fields() FROM PUBLIC;

-- One entry a header: the field it fills (or null) and its transforms.
CREATE OR REPLACE FUNCTION sales_internal.map_headers(headers text[], field_mapping jsonb)
RETURNS TABLE (n integer, header text, field text, transforms text[])
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong text;
BEGIN
    IF field_mapping IS NOT NULL AND jsonb_typeof(field_mapping) <> 'object' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'field_mapping must be a JSON object',
            HINT = 'Write {"Header": "column"} or {"Header": {"column": "email", "transform": ["trim", "lower"]}}.';
    END IF;
    SELECT key INTO wrong FROM jsonb_object_keys(coalesce(field_mapping, '{}')) key
    WHERE key <> 'constants' AND key <> ALL (coalesce(headers, '{}'));
    IF FOUND THEN
        RAISE invalid_parameter_value USING MESSAGE = format('the file has no header "%s"', wrong),
            HINT = format('Its headers are: %s.', array_to_string(headers, ', '));
    END IF;
    SELECT coalesce(value ->> 'column', value #>> '{}') INTO wrong
    FROM (SELECT value FROM jsonb_each(coalesce(field_mapping, '{}') - 'constants')
          UNION ALL SELECT to_jsonb(key) FROM jsonb_object_keys(coalesce(field_mapping -> 'constants', '{}')) key) v
    WHERE value <> 'null'
      AND coalesce(value ->> 'column', value #>> '{}') NOT IN (SELECT f.field FROM sales_internal.import_fields() f);
    IF FOUND THEN
        RAISE invalid_parameter_value USING MESSAGE = format('prospects cannot be imported into a column "%s"', wrong),
            HINT = format('Columns: %s.', (SELECT string_agg(f.field, ', ') FROM sales_internal.import_fields() f));
    END IF;
    RETURN QUERY
    SELECT h.i::integer, h.name,
           CASE WHEN field_mapping - 'constants' <> '{}'
                THEN coalesce(field_mapping -> h.name ->> 'column', field_mapping ->> h.name)
                -- the first header that means a field fills it
                WHEN row_number() OVER (PARTITION BY k.field ORDER BY h.i) = 1 THEN k.field END,
           (SELECT array_agg(t) FROM jsonb_array_elements_text(
               CASE WHEN jsonb_typeof(field_mapping -> h.name -> 'transform') = 'array'
                    THEN field_mapping -> h.name -> 'transform' END) t)
    FROM unnest(headers) WITH ORDINALITY h (name, i)
    LEFT JOIN sales_internal.import_headers k ON k.header = CASE sales_internal.header_key(h.name)
        -- French exports: Nom beside Prénom is the last name
        WHEN 'nom' THEN 'lastname' ELSE sales_internal.header_key(h.name) END
    ORDER BY h.i;
END
$$;
COMMENT ON FUNCTION sales_internal.map_headers(text[], jsonb) IS
    'What each header of a file fills: as field_mapping says, else as known exports call it';
REVOKE ALL ON FUNCTION sales_internal.map_headers(text[], jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.transform(value text, transforms text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    step text;
BEGIN
    value := btrim(value, E' \t\r\n\u00A0');
    FOREACH step IN ARRAY coalesce(transforms, '{}') LOOP
        value := CASE step
            WHEN 'trim' THEN value WHEN 'lower' THEN lower(value) WHEN 'upper' THEN upper(value)
            WHEN 'initcap' THEN initcap(value)
            WHEN 'decimal_comma' THEN replace(replace(value, '.', ''), ',', '.')
            WHEN 'digits' THEN regexp_replace(value, '[^0-9+]', '', 'g') END;
        IF value IS NULL AND step NOT IN ('trim', 'lower', 'upper', 'initcap', 'decimal_comma', 'digits') THEN
            RAISE invalid_parameter_value USING MESSAGE = format('there is no transform "%s"', step),
                HINT = 'Transforms: trim, lower, upper, initcap, decimal_comma, digits.';
        END IF;
    END LOOP;
    RETURN nullif(value, '');
END
$$;
COMMENT ON FUNCTION sales_internal.transform(text, text[]) IS 'A field, trimmed and transformed; null when empty';
REVOKE ALL ON FUNCTION sales_internal.transform(text, text[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.to_amount(value text) RETURNS numeric
LANGUAGE sql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN plain ~ '^\d{1,8}(\.\d+)?$' THEN round(plain::numeric, 2) END
    FROM (SELECT CASE
        WHEN v ~ '^\d{1,3}(\.\d{3})+(,\d+)?$' OR v ~ '^\d+,\d{1,2}$' THEN replace(replace(v, '.', ''), ',', '.')
        ELSE replace(v, ',', '') END AS plain
        FROM (SELECT regexp_replace(value, '[€$£\s\u00A0]|EUR|USD|GBP', '', 'g') AS v) x) y
$$;
COMMENT ON FUNCTION sales_internal.to_amount(text) IS
    'An amount in English or continental notation; null where it is none';
REVOKE ALL ON FUNCTION sales_internal.to_amount(text) FROM PUBLIC;

-- Reads the file into the staging table and says what is wrong with each row.
CREATE OR REPLACE FUNCTION sales_internal.stage_csv(run uuid, data text, field_mapping jsonb, options jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    headers text[];
    used jsonb;
BEGIN
    SELECT p.fields INTO headers FROM sales_internal.parse_csv(data, options ->> 'delimiter') p LIMIT 1;
    IF headers IS NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the file has no header row',
            HINT = 'The first row must name the columns, such as First Name,Last Name,Email.';
    END IF;
    SELECT jsonb_object_agg(m.header, m.field) INTO used
    FROM sales_internal.map_headers(headers, field_mapping) m WHERE m.field IS NOT NULL AND m.header IS NOT NULL;
    IF used IS NULL AND coalesce(field_mapping -> 'constants', '{}') = '{}' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'no header of the file is known',
            DETAIL = format('Its headers are: %s.', array_to_string(headers, ', ')),
            HINT = 'Give field_mapping, such as {"Mail": "email", "Who": "full_name"}.';
    END IF;

    WITH mapped AS MATERIALIZED (
        SELECT array_agg(m.n) AS ns, array_agg(m.field) AS names, array_agg(array_to_string(m.transforms, ',')) AS steps
        FROM sales_internal.map_headers(headers, field_mapping) m WHERE m.field IS NOT NULL)
    INSERT INTO sales_internal.import_staging (run_id, row_number, raw, fields, reason)
    SELECT run, p.row_number, p.raw,
           coalesce(field_mapping -> 'constants', '{}') || coalesce(jsonb_strip_nulls((
               SELECT jsonb_object_agg(u.name, sales_internal.transform(p.fields[u.n], string_to_array(u.step, ',')))
               FROM unnest(mapped.ns, mapped.names, mapped.steps) u (n, name, step))), '{}'),
           CASE WHEN p.fields IS NULL THEN p.raw
                WHEN cardinality(p.fields) <> cardinality(headers)
                     AND NOT (cardinality(p.fields) = 1 AND p.fields[1] IS NULL)
                THEN format('the row has %s fields, the header %s', cardinality(p.fields), cardinality(headers)) END
    FROM sales_internal.parse_csv(data, options ->> 'delimiter') p CROSS JOIN mapped
    WHERE p.row_number > 1 AND NOT (coalesce(p.raw, '') = '');

    -- "Ada Lovelace" where only a full name is given
    UPDATE sales_internal.import_staging s
    SET fields = (s.fields - 'full_name')
        || jsonb_build_object('first_name', left(split_part(s.fields ->> 'full_name', ' ', 1), 50))
        || jsonb_strip_nulls(jsonb_build_object('last_name',
               nullif(left(substr(s.fields ->> 'full_name', strpos(s.fields ->> 'full_name' || ' ', ' ') + 1), 50), '')))
    WHERE s.run_id = run AND s.fields ? 'full_name' AND NOT s.fields ? 'last_name' AND NOT s.fields ? 'first_name';

    UPDATE sales_internal.import_staging s
    SET bad_column = v.field, reason = v.reason
    FROM (
        SELECT DISTINCT ON (t.row_number) t.row_number, f.key AS field,
               CASE WHEN length(f.value) > k.width THEN format('longer than %s characters', k.width)
                    WHEN f.key = 'email' THEN sales_internal.email_problem(f.value)
                    WHEN f.key = 'estimated_budget_amount' AND sales_internal.to_amount(f.value) IS NULL THEN 'not an amount'
                    WHEN f.key = 'estimated_budget_currency' AND upper(f.value) !~ '^[A-Z]{3}$' THEN 'not a currency code'
                    WHEN f.key = 'created_at' AND f.value !~ '^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([+-]\d{2}(:?\d{2})?|Z)?)?$'
                    THEN 'not a date such as 2026-01-31' END AS reason
        FROM sales_internal.import_staging t CROSS JOIN LATERAL jsonb_each_text(t.fields) f
        JOIN sales_internal.import_fields() k ON k.field = f.key
        WHERE t.run_id = run AND t.reason IS NULL
        ORDER BY t.row_number, (CASE WHEN length(f.value) > k.width THEN 0
                    WHEN f.key = 'email' AND sales_internal.email_problem(f.value) IS NOT NULL THEN 0
                    WHEN f.key = 'estimated_budget_amount' AND sales_internal.to_amount(f.value) IS NULL THEN 0
                    WHEN f.key = 'estimated_budget_currency' AND upper(f.value) !~ '^[A-Z]{3}$' THEN 0
                    WHEN f.key = 'created_at' AND f.value !~ '^\d{4}-\d{2}-\d{2}([ T]\d{2}:\d{2}(:\d{2}(\.\d+)?)?([+-]\d{2}(:?\d{2})?|Z)?)?$' THEN 0
                    ELSE 1 END), f.key) v
    WHERE s.run_id = run AND s.row_number = v.row_number AND v.reason IS NOT NULL;
    UPDATE sales_internal.import_staging s
    SET reason = 'it names nobody: e-mail, LinkedIn, phone and name are all empty'
    WHERE s.run_id = run AND s.reason IS NULL AND NOT s.fields ?| '{email,linkedin_url,phone,first_name,last_name}';
    RETURN coalesce(used, '{}');
END
$$;
COMMENT ON FUNCTION sales_internal.stage_csv(uuid, text, jsonb, jsonb) IS
    'Parses, maps and checks a file into the staging table; returns the mapping used';
REVOKE ALL ON FUNCTION sales_internal.stage_csv(uuid, text, jsonb, jsonb) FROM PUBLIC;

-- Whom each row is about: by e-mail, else LinkedIn, else phone with a name,
-- else name and company.  Only within the company.
CREATE OR REPLACE FUNCTION sales_internal.match_staged(run uuid, company uuid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE sales_internal.import_staging s SET duplicate = true
    FROM (SELECT t.row_number, row_number() OVER (PARTITION BY coalesce(
                     'e ' || lower(t.fields ->> 'email'), 'l ' || lower(t.fields ->> 'linkedin_url'),
                     'p ' || regexp_replace(t.fields ->> 'phone', '[^0-9]', '', 'g') || lower(coalesce(t.fields ->> 'last_name', '')),
                     'n ' || lower(concat_ws('|', t.fields ->> 'first_name', t.fields ->> 'last_name', t.fields ->> 'company_name')))
                 ORDER BY t.row_number) AS nth
          FROM sales_internal.import_staging t WHERE t.run_id = run AND t.reason IS NULL) d
    WHERE s.run_id = run AND s.row_number = d.row_number AND d.nth > 1;

    UPDATE sales_internal.import_staging s SET prospect_id = m.prospect_id
    FROM (SELECT DISTINCT ON (t.row_number) t.row_number, p.prospect_id
          FROM sales_internal.import_staging t
          JOIN sales.prospects p ON p.company_id = company AND lower(p.email) = lower(t.fields ->> 'email') AND p.deleted_at IS NULL
          WHERE t.run_id = run AND t.reason IS NULL AND NOT t.duplicate
          ORDER BY t.row_number, p.prospect_id) m
    WHERE s.run_id = run AND s.row_number = m.row_number;

    UPDATE sales_internal.import_staging s SET prospect_id = m.prospect_id
    FROM (SELECT DISTINCT ON (t.row_number) t.row_number, p.prospect_id
          FROM sales_internal.import_staging t
          JOIN sales.prospects p ON p.company_id = company AND lower(p.linkedin_url) = lower(t.fields ->> 'linkedin_url')
           AND p.deleted_at IS NULL AND p.linkedin_url IS NOT NULL
          WHERE t.run_id = run AND t.reason IS NULL AND NOT t.duplicate AND t.prospect_id IS NULL
          ORDER BY t.row_number, p.prospect_id) m
    WHERE s.run_id = run AND s.row_number = m.row_number;

    -- Only for rows without an e-mail address: two people can share the rest.
    UPDATE sales_internal.import_staging s SET prospect_id = m.prospect_id
    FROM (SELECT DISTINCT ON (t.row_number) t.row_number, p.prospect_id
          FROM sales_internal.import_staging t
          JOIN sales.prospects p ON p.company_id = company AND p.deleted_at IS NULL
           AND lower(p.last_name) IS NOT DISTINCT FROM lower(t.fields ->> 'last_name')
           AND lower(p.first_name) IS NOT DISTINCT FROM lower(t.fields ->> 'first_name')
           AND (regexp_replace(p.phone, '[^0-9]', '', 'g') = regexp_replace(t.fields ->> 'phone', '[^0-9]', '', 'g')
                OR lower(p.company_name) = lower(t.fields ->> 'company_name'))
          WHERE t.run_id = run AND t.reason IS NULL AND NOT t.duplicate AND t.prospect_id IS NULL AND NOT t.fields ? 'email'
          ORDER BY t.row_number, p.prospect_id) m
    WHERE s.run_id = run AND s.row_number = m.row_number;

    -- Two rows of the file about one prospect: the first counts.
    UPDATE sales_internal.import_staging s SET duplicate = true
    FROM (SELECT t.row_number, row_number() OVER (PARTITION BY t.prospect_id ORDER BY t.row_number) AS nth
          FROM sales_internal.import_staging t WHERE t.run_id = run AND t.prospect_id IS NOT NULL) d
    WHERE s.run_id = run AND s.row_number = d.row_number AND d.nth > 1;
END
$$;
COMMENT ON FUNCTION sales_internal.match_staged(uuid, uuid) IS
    'Finds duplicates within the file and prospects that are there already';
REVOKE ALL ON FUNCTION sales_internal.match_staged(uuid, uuid) FROM PUBLIC;

-- Values of a staged row as columns of prospects.
CREATE OR REPLACE FUNCTION sales_internal.staged_prospect(fields jsonb, OUT company_size_id uuid, OUT industry_id uuid)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT (SELECT z.size_id FROM sales.company_sizes z
            WHERE z.size_range = replace(fields ->> 'company_size', ' ', '')
               OR (fields ->> 'company_size' ~ '^\d{1,9}$' AND (fields ->> 'company_size')::integer >= z.min_employees
                   AND (z.max_employees IS NULL OR (fields ->> 'company_size')::integer <= z.max_employees))
            ORDER BY z.min_employees LIMIT 1),
           (SELECT i.industry_id FROM sales.industries i
            WHERE lower(i.name) = lower(fields ->> 'industry') OR i.nace_codes ? upper(fields ->> 'industry') LIMIT 1)
$$;
COMMENT ON FUNCTION sales_internal.staged_prospect(jsonb) IS 'Size range and sector of a row, from the reference data';
REVOKE ALL ON FUNCTION sales_internal.staged_prospect(jsonb) FROM PUBLIC;

-- Old values of the prospects that a run changes: what undo needs.
CREATE OR REPLACE FUNCTION sales_internal.note_updates(run uuid, company uuid, options jsonb) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    WITH incoming AS (
        SELECT s.prospect_id, p.*, jsonb_strip_nulls(s.fields - '{company_size,industry,created_at,estimated_budget_amount}'::text[]
                   || jsonb_build_object('company_size_id', r.company_size_id, 'industry_id', r.industry_id,
                                         'estimated_budget_amount', sales_internal.to_amount(s.fields ->> 'estimated_budget_amount'),
                                         'estimated_budget_currency', upper(s.fields ->> 'estimated_budget_currency'))) AS new_values
        FROM sales_internal.import_staging s
        CROSS JOIN LATERAL sales_internal.staged_prospect(s.fields) r
        CROSS JOIN LATERAL (SELECT to_jsonb(p) AS old_values FROM sales.prospects p
                            WHERE p.company_id = company AND p.prospect_id = s.prospect_id) p
        WHERE s.run_id = run AND s.reason IS NULL AND NOT s.duplicate AND s.prospect_id IS NOT NULL
    )
    INSERT INTO sales_internal.import_changes (company_id, run_id, prospect_id, before)
    SELECT company, run, i.prospect_id, b.before
    FROM incoming i CROSS JOIN LATERAL (
        SELECT jsonb_object_agg(n.key, i.old_values -> n.key) AS before
        FROM jsonb_each(i.new_values) n
        WHERE i.old_values ? n.key AND n.value IS DISTINCT FROM i.old_values -> n.key
          AND (coalesce(options ->> 'update', 'all') = 'all' OR i.old_values -> n.key = 'null')) b
    WHERE b.before IS NOT NULL AND coalesce(options ->> 'update', 'all') <> 'none';
END
$$;
COMMENT ON FUNCTION sales_internal.note_updates(uuid, uuid, jsonb) IS
    'Notes the old values of the prospects that a run will change';
REVOKE ALL ON FUNCTION sales_internal.note_updates(uuid, uuid, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.write_staged(run uuid, company uuid, options jsonb, origin sales.prospect_source) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    zone text := (SELECT c.timezone FROM sales.companies c WHERE c.company_id = company);
BEGIN
    UPDATE sales.prospects p
    SET first_name = CASE WHEN c.before ? 'first_name' THEN s.fields ->> 'first_name' ELSE p.first_name END,
        last_name = CASE WHEN c.before ? 'last_name' THEN s.fields ->> 'last_name' ELSE p.last_name END,
        email = CASE WHEN c.before ? 'email' THEN s.fields ->> 'email' ELSE p.email END,
        phone = CASE WHEN c.before ? 'phone' THEN s.fields ->> 'phone' ELSE p.phone END,
        job_title = CASE WHEN c.before ? 'job_title' THEN s.fields ->> 'job_title' ELSE p.job_title END,
        company_name = CASE WHEN c.before ? 'company_name' THEN s.fields ->> 'company_name' ELSE p.company_name END,
        company_size_id = CASE WHEN c.before ? 'company_size_id' THEN r.company_size_id ELSE p.company_size_id END,
        industry_id = CASE WHEN c.before ? 'industry_id' THEN r.industry_id ELSE p.industry_id END,
        website = CASE WHEN c.before ? 'website' THEN s.fields ->> 'website' ELSE p.website END,
        linkedin_url = CASE WHEN c.before ? 'linkedin_url' THEN s.fields ->> 'linkedin_url' ELSE p.linkedin_url END,
        twitter_url = CASE WHEN c.before ? 'twitter_url' THEN s.fields ->> 'twitter_url' ELSE p.twitter_url END,
        blog_url = CASE WHEN c.before ? 'blog_url' THEN s.fields ->> 'blog_url' ELSE p.blog_url END,
        estimated_budget_amount = CASE WHEN c.before ? 'estimated_budget_amount'
            THEN sales_internal.to_amount(s.fields ->> 'estimated_budget_amount') ELSE p.estimated_budget_amount END,
        estimated_budget_currency = CASE WHEN c.before ? 'estimated_budget_currency'
            THEN upper(s.fields ->> 'estimated_budget_currency') ELSE p.estimated_budget_currency END,
        pain_points = CASE WHEN c.before ? 'pain_points' THEN s.fields ->> 'pain_points' ELSE p.pain_points END,
        notes = CASE WHEN c.before ? 'notes' THEN s.fields ->> 'notes' ELSE p.notes END
    FROM sales_internal.import_staging s
    JOIN sales_internal.import_changes c ON c.company_id = company AND c.run_id = run AND c.prospect_id = s.prospect_id
    CROSS JOIN LATERAL sales_internal.staged_prospect(s.fields) r
    WHERE s.run_id = run AND NOT s.duplicate AND s.reason IS NULL
      AND p.company_id = company AND p.prospect_id = s.prospect_id;

    -- new prospects, their ids first, so that addresses can go before them
    CREATE TEMP TABLE IF NOT EXISTS sales_assistant_import_ids (row_number integer, prospect_id uuid, address_id uuid) ON COMMIT DROP;
    DELETE FROM pg_temp.sales_assistant_import_ids;
    INSERT INTO pg_temp.sales_assistant_import_ids
    SELECT s.row_number, sales.uuidv7(),
           CASE WHEN s.fields ?| '{street_address,city,postal_code,region,country}' THEN sales.uuidv7() END
    FROM sales_internal.import_staging s
    WHERE s.run_id = run AND s.reason IS NULL AND NOT s.duplicate AND s.prospect_id IS NULL
    ORDER BY s.row_number;
    INSERT INTO sales.addresses (address_id, company_id, street_address, city, postal_code, region, country)
    SELECT i.address_id, company, s.fields ->> 'street_address', s.fields ->> 'city', s.fields ->> 'postal_code',
           s.fields ->> 'region', s.fields ->> 'country'
    FROM pg_temp.sales_assistant_import_ids i
    JOIN sales_internal.import_staging s ON s.run_id = run AND s.row_number = i.row_number
    WHERE i.address_id IS NOT NULL;
    INSERT INTO sales.prospects
        (prospect_id, company_id, product_id, first_name, last_name, email, phone, job_title, company_name, company_size_id,
         industry_id, address_id, website, linkedin_url, twitter_url, blog_url, estimated_budget_amount,
         estimated_budget_currency, pain_points, notes, source, created_at)
    SELECT i.prospect_id, company, (options ->> 'product_id')::uuid, s.fields ->> 'first_name', s.fields ->> 'last_name',
           s.fields ->> 'email', s.fields ->> 'phone', s.fields ->> 'job_title', s.fields ->> 'company_name',
           r.company_size_id, r.industry_id, i.address_id, s.fields ->> 'website', s.fields ->> 'linkedin_url',
           s.fields ->> 'twitter_url', s.fields ->> 'blog_url',
           sales_internal.to_amount(s.fields ->> 'estimated_budget_amount'), upper(s.fields ->> 'estimated_budget_currency'),
           s.fields ->> 'pain_points', s.fields ->> 'notes', origin,
           coalesce(CASE WHEN s.fields ->> 'created_at' ~ '([+-]\d{2}(:?\d{2})?|Z)$' AND length(s.fields ->> 'created_at') > 10
                         THEN (s.fields ->> 'created_at')::timestamptz
                         ELSE (s.fields ->> 'created_at')::timestamp AT TIME ZONE zone END, sales_internal.now())
    FROM pg_temp.sales_assistant_import_ids i
    JOIN sales_internal.import_staging s ON s.run_id = run AND s.row_number = i.row_number
    CROSS JOIN LATERAL sales_internal.staged_prospect(s.fields) r
    ORDER BY i.row_number;
    INSERT INTO sales_internal.import_changes (company_id, run_id, prospect_id, address_id)
    SELECT company, run, i.prospect_id, i.address_id FROM pg_temp.sales_assistant_import_ids i;
    DROP TABLE pg_temp.sales_assistant_import_ids;
END
$$;
COMMENT ON FUNCTION sales_internal.write_staged(uuid, uuid, jsonb, sales.prospect_source) IS
    'Writes the checked rows: updates of known prospects as noted, and inserts of new ones';
REVOKE ALL ON FUNCTION sales_internal.write_staged(uuid, uuid, jsonb, sales.prospect_source) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.import_csv(data text, field_mapping jsonb DEFAULT NULL, options jsonb DEFAULT '{}')
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
    run uuid := sales.uuidv7();
    dry boolean := coalesce((options ->> 'dry_run')::boolean, false);
    used jsonb;
    wrong text;
BEGIN
    PERFORM sales_internal.require('prospects', 'create');
    PERFORM sales_internal.require('prospects', 'update');
    SELECT key INTO wrong FROM jsonb_object_keys(coalesce(options, '{}')) key
    WHERE key NOT IN ('delimiter', 'dry_run', 'update', 'product_id');
    IF FOUND OR coalesce(options ->> 'update', 'all') NOT IN ('all', 'empty', 'none') THEN
        RAISE invalid_parameter_value USING
            MESSAGE = CASE WHEN wrong IS NOT NULL THEN format('there is no option "%s"', wrong)
                           ELSE format('update cannot be "%s"', options ->> 'update') END,
            HINT = 'Options: delimiter, dry_run, product_id, update (all, empty: only fill what is empty, none).';
    END IF;
    IF options ->> 'product_id' IS NOT NULL AND NOT EXISTS (
        SELECT FROM sales.products d WHERE d.company_id = company AND d.product_id = (options ->> 'product_id')::uuid) THEN
        RAISE no_data_found USING MESSAGE = format('there is no product %s', options ->> 'product_id'), HINT = 'See sales.products.';
    END IF;
    INSERT INTO sales.import_runs (run_id, company_id, user_id, dry_run, options, started_at)
    VALUES (run, company, sales.current_user_id(), dry, coalesce(options, '{}'), clock_timestamp());

    used := sales_internal.stage_csv(run, coalesce(data, ''), field_mapping, coalesce(options, '{}'));
    PERFORM sales_internal.match_staged(run, company);
    PERFORM sales_internal.note_updates(run, company, coalesce(options, '{}'));
    IF NOT dry THEN
        PERFORM sales_internal.write_staged(run, company, coalesce(options, '{}'), 'import_csv');
    END IF;
    INSERT INTO sales.import_rejects (company_id, run_id, row_number, column_name, reason, raw_text)
    SELECT company, run, s.row_number, s.bad_column, s.reason, left(s.raw, 10000)
    FROM sales_internal.import_staging s WHERE s.run_id = run AND s.reason IS NOT NULL ORDER BY s.row_number;
    UPDATE sales.import_runs r
    SET status = 'done', mapping = used, finished_at = clock_timestamp(), rows_read = n.all_rows, rows_rejected = n.rejected,
        rows_duplicate = n.duplicate, rows_inserted = n.new, rows_updated = n.changed, rows_unchanged = n.known - n.changed
    FROM (SELECT count(*) AS all_rows, count(*) FILTER (WHERE s.reason IS NOT NULL) AS rejected,
                 count(*) FILTER (WHERE s.reason IS NULL AND s.duplicate) AS duplicate,
                 count(*) FILTER (WHERE s.reason IS NULL AND NOT s.duplicate AND s.prospect_id IS NULL) AS new,
                 count(*) FILTER (WHERE s.reason IS NULL AND NOT s.duplicate AND s.prospect_id IS NOT NULL) AS known,
                 (SELECT count(*) FROM sales_internal.import_changes c
                  WHERE c.company_id = company AND c.run_id = run AND c.before IS NOT NULL) AS changed
          FROM sales_internal.import_staging s WHERE s.run_id = run) n
    WHERE r.company_id = company AND r.run_id = run;
    DELETE FROM sales_internal.import_staging s WHERE s.run_id = run;
    IF dry THEN
        DELETE FROM sales_internal.import_changes c WHERE c.company_id = company AND c.run_id = run;
    END IF;
    RETURN run;
END
$$;
COMMENT ON FUNCTION sales.import_csv(text, jsonb, jsonb) IS
    'Imports prospects from CSV text; known exports need no mapping; returns the run, see import_runs and import_rejects';
REVOKE ALL ON FUNCTION sales.import_csv(text, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.import_csv(text, jsonb, jsonb) TO sales_app;

CREATE OR REPLACE FUNCTION sales.undo_import(run_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    company uuid := sales_internal.require_company();
    run sales.import_runs;
BEGIN
    PERFORM sales_internal.require('prospects', 'delete');
    SELECT * INTO run FROM sales.import_runs r WHERE r.company_id = company AND r.run_id = undo_import.run_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = format('there is no import run %s', undo_import.run_id), HINT = 'See sales.import_runs.';
    ELSIF run.status <> 'done' OR run.dry_run THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('the run is %s', CASE WHEN run.dry_run THEN 'a dry run' ELSE run.status END),
            HINT = 'Only a run that is done can be undone, once.';
    END IF;
    UPDATE sales.prospects p
    SET first_name = q.first_name, last_name = q.last_name, email = q.email, phone = q.phone, job_title = q.job_title,
        company_name = q.company_name, company_size_id = q.company_size_id, industry_id = q.industry_id, website = q.website,
        linkedin_url = q.linkedin_url, twitter_url = q.twitter_url, blog_url = q.blog_url,
        estimated_budget_amount = q.estimated_budget_amount, estimated_budget_currency = q.estimated_budget_currency,
        pain_points = q.pain_points, notes = q.notes
    FROM sales_internal.import_changes c
    JOIN sales.prospects o ON o.company_id = company AND o.prospect_id = c.prospect_id
    CROSS JOIN LATERAL jsonb_populate_record(o, c.before) q
    WHERE c.company_id = company AND c.run_id = undo_import.run_id AND c.before IS NOT NULL
      AND p.company_id = company AND p.prospect_id = c.prospect_id;
    -- Who has been worked with since stays on record, hidden; the others go.
    UPDATE sales.prospects p SET deleted_at = sales_internal.now()
    FROM sales_internal.import_changes c
    WHERE c.company_id = company AND c.run_id = undo_import.run_id AND c.before IS NULL
      AND p.company_id = company AND p.prospect_id = c.prospect_id AND p.deleted_at IS NULL
      AND (EXISTS (SELECT FROM sales.interactions x WHERE x.company_id = company AND x.prospect_id = p.prospect_id)
           OR EXISTS (SELECT FROM sales.messages x WHERE x.company_id = company AND x.prospect_id = p.prospect_id)
           OR EXISTS (SELECT FROM sales.tasks x WHERE x.company_id = company AND x.prospect_id = p.prospect_id)
           OR EXISTS (SELECT FROM sales.conversion_funnel x WHERE x.company_id = company AND x.prospect_id = p.prospect_id));
    DELETE FROM sales.prospects p USING sales_internal.import_changes c
    WHERE c.company_id = company AND c.run_id = undo_import.run_id AND c.before IS NULL
      AND p.company_id = company AND p.prospect_id = c.prospect_id AND p.deleted_at IS NULL;
    DELETE FROM sales.addresses a USING sales_internal.import_changes c
    WHERE c.company_id = company AND c.run_id = undo_import.run_id AND a.company_id = company AND a.address_id = c.address_id
      AND NOT EXISTS (SELECT FROM sales.prospects p WHERE p.company_id = company AND p.address_id = a.address_id);
    UPDATE sales.import_runs r SET status = 'undone' WHERE r.company_id = company AND r.run_id = undo_import.run_id;
END
$$;
COMMENT ON FUNCTION sales.undo_import(uuid) IS
    'Takes a run back: new prospects go (hidden, if they were worked with since), changed ones get their old values';
REVOKE ALL ON FUNCTION sales.undo_import(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.undo_import(uuid) TO sales_app;

