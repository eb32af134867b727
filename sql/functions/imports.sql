-- Imports: files to prospects, every row accounted for.

-- --- the file, row by row (src/imports) ---

CREATE OR REPLACE FUNCTION sales_internal.csv_open(
    data bytea, encoding text, delimiter text, OUT headers text[], OUT found_encoding text, OUT found_delimiter text)
    AS 'MODULE_PATHNAME', 'sales_csv_open'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.csv_open(bytea, text, text) IS
    'Opens a file for csv_rows(); headers null: the file is empty';
REVOKE ALL ON FUNCTION sales_internal.csv_open(bytea, text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.csv_open_file(
    company uuid, file uuid, size bigint, encoding text, delimiter text,
    OUT headers text[], OUT found_encoding text, OUT found_delimiter text)
    AS 'MODULE_PATHNAME', 'sales_csv_open_file'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.csv_open_file(uuid, uuid, bigint, text, text) IS
    'Opens a file that lies in parts, see import_part()';
REVOKE ALL ON FUNCTION sales_internal.csv_open_file(uuid, uuid, bigint, text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.csv_map(
    columns integer[], fields text[], constants text[], transforms text[], zone text, skip bigint, company uuid) RETURNS void
    AS 'MODULE_PATHNAME', 'sales_csv_map'
    LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION sales_internal.csv_map(integer[], text[], text[], text[], text, bigint, uuid) IS
    'Says what the columns of the open file fill (0: a constant), how many rows to pass over, and for whom';
REVOKE ALL ON FUNCTION sales_internal.csv_map(integer[], text[], text[], text[], text, bigint, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.csv_rows(most integer) RETURNS TABLE (
    row_number integer, raw text, bad_column text, reason text,
    first_name text, last_name text, email text, phone text, job_title text, company_name text, company_size text, industry text,
    street_address text, city text, postal_code text, region text, country text, website text, linkedin_url text,
    twitter_url text, blog_url text, estimated_budget_amount numeric, estimated_budget_currency text, pain_points text,
    notes text, created_at timestamptz, email_key uuid, linkedin_key uuid, phone_key uuid, name_key uuid, employees integer)
    AS 'MODULE_PATHNAME', 'sales_csv_rows'
    LANGUAGE C VOLATILE STRICT ROWS 10000;
COMMENT ON FUNCTION sales_internal.csv_rows(integer) IS
    'The next rows of the open file, mapped and checked; reason says why a row cannot be taken';
REVOKE ALL ON FUNCTION sales_internal.csv_rows(integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.csv_fields(
    OUT row_number integer, OUT fields text[], OUT raw text, OUT problem text) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'sales_csv_fields'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.csv_fields() IS 'The rest of the open file as it is; for tests';
REVOKE ALL ON FUNCTION sales_internal.csv_fields() FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.csv_close() RETURNS void
    AS 'MODULE_PATHNAME', 'sales_csv_close'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.csv_close() IS 'Closes the open file, if there is one';
REVOKE ALL ON FUNCTION sales_internal.csv_close() FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.import_fields(OUT field text, OUT width integer, OUT of_address boolean) RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'sales_import_fields'
    LANGUAGE C IMMUTABLE;
COMMENT ON FUNCTION sales_internal.import_fields() IS 'Fields that an import can fill, with their greatest length';
REVOKE ALL ON FUNCTION sales_internal.import_fields() FROM PUBLIC;

-- --- mapping ---

-- Letters and digits, lower case, without accents: how headers are compared.
CREATE OR REPLACE FUNCTION sales_internal.header_key(header text) RETURNS text
LANGUAGE sql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$ SELECT regexp_replace(lower(normalize(header, NFKD)), '[^a-z0-9]', '', 'g') $$;
COMMENT ON FUNCTION sales_internal.header_key(text) IS 'A header without case, accents, blanks and signs';
REVOKE ALL ON FUNCTION sales_internal.header_key(text) FROM PUBLIC;

-- {"Header": "column"} or {"Header": {"column": ..., "transform": ... or [...]}}, and "constants".
CREATE OR REPLACE FUNCTION sales_internal.check_mapping(headers text[], field_mapping jsonb) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong text;
BEGIN
    IF field_mapping IS NULL THEN
        RETURN;
    ELSIF jsonb_typeof(field_mapping) <> 'object' OR jsonb_typeof(coalesce(field_mapping -> 'constants', '{}')) <> 'object' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'field_mapping must be a JSON object',
            HINT = 'Write {"Header": "column"} or {"Header": {"column": "email", "transform": ["trim", "lower"]}}, and {"constants": {"column": "value"}}.';
    END IF;
    SELECT key INTO wrong FROM jsonb_object_keys(field_mapping) key
    WHERE key <> 'constants' AND NOT EXISTS (SELECT FROM unnest(headers) h WHERE btrim(h) = btrim(key));
    IF FOUND AND headers IS NOT NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = format('the file has no header "%s"', wrong),
            HINT = format('Its headers are: %s.', array_to_string(headers, ', '));
    END IF;
    SELECT coalesce(value ->> 'column', value #>> '{}') INTO wrong
    FROM (SELECT value FROM jsonb_each(field_mapping - 'constants')
          UNION ALL SELECT to_jsonb(key) FROM jsonb_object_keys(coalesce(field_mapping -> 'constants', '{}')) key) v
    WHERE value <> 'null'
      AND coalesce(value ->> 'column', value #>> '{}') NOT IN (SELECT f.field FROM sales_internal.import_fields() f);
    IF FOUND THEN
        RAISE invalid_parameter_value USING MESSAGE = format('prospects cannot be imported into a column "%s"', wrong),
            HINT = format('Columns: %s.', (SELECT string_agg(f.field, ', ') FROM sales_internal.import_fields() f));
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.check_mapping(text[], jsonb) IS
    'Error with a hint unless a mapping fits the headers (null: any) and the columns that can be filled';
REVOKE ALL ON FUNCTION sales_internal.check_mapping(text[], jsonb) FROM PUBLIC;

-- One row a header: the field it fills (or null) and its transforms.
CREATE OR REPLACE FUNCTION sales_internal.map_headers(headers text[], field_mapping jsonb)
RETURNS TABLE (n integer, header text, field text, transforms text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT h.i::integer, h.name, m.field, m.transforms
    FROM unnest(headers) WITH ORDINALITY h (name, i)
    LEFT JOIN LATERAL (SELECT g.value FROM jsonb_each(field_mapping - 'constants') g WHERE btrim(g.key) = btrim(h.name) LIMIT 1) given ON true
    LEFT JOIN sales_internal.import_headers k ON k.header = CASE sales_internal.header_key(h.name)
        -- French exports: Nom beside Prénom is the last name
        WHEN 'nom' THEN 'lastname' ELSE sales_internal.header_key(h.name) END
    LEFT JOIN sales_internal.import_fields() f ON f.field = k.field
    CROSS JOIN LATERAL (
        SELECT CASE WHEN field_mapping - 'constants' <> '{}' THEN coalesce(given.value ->> 'column', given.value #>> '{}')
                    -- of an address the first header counts: parts of two addresses make none
                    WHEN NOT f.of_address OR row_number() OVER (PARTITION BY k.field ORDER BY h.i) = 1 THEN k.field END AS field,
               CASE jsonb_typeof(given.value -> 'transform')
                   WHEN 'array' THEN (SELECT string_agg(t, E'\n') FROM jsonb_array_elements_text(given.value -> 'transform') t)
                   ELSE given.value ->> 'transform' END AS transforms) m
    ORDER BY h.i
$$;
COMMENT ON FUNCTION sales_internal.map_headers(text[], jsonb) IS
    'What each header of a file fills: as field_mapping says, else as known exports call it';
REVOKE ALL ON FUNCTION sales_internal.map_headers(text[], jsonb) FROM PUBLIC;

-- Tells the open file its mapping and the run what was found.
CREATE OR REPLACE FUNCTION sales_internal.map_file(
    company uuid, run uuid, headers text[], encoding text, delimiter text, field_mapping jsonb, skip bigint DEFAULT 0) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    used jsonb;
    constants jsonb := coalesce(field_mapping -> 'constants', '{}');
BEGIN
    IF headers IS NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the file has no header row',
            HINT = 'The first row must name the columns, such as First Name,Last Name,Email.';
    END IF;
    PERFORM sales_internal.check_mapping(headers, field_mapping);
    SELECT jsonb_object_agg(m.header, m.field) INTO used
    FROM sales_internal.map_headers(headers, field_mapping) m WHERE m.field IS NOT NULL AND m.header IS NOT NULL;
    IF used IS NULL AND constants = '{}' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'no header of the file is known',
            DETAIL = format('Its headers are: %s.', array_to_string(headers, ', ')),
            HINT = 'Give field_mapping, such as {"Mail": "email", "Who": "full_name"}.';
    END IF;
    PERFORM sales_internal.csv_map(
        coalesce(array_agg(v.n), '{}'), coalesce(array_agg(v.field), '{}'), coalesce(array_agg(v.constant), '{}'),
        coalesce(array_agg(v.transforms), '{}'), (SELECT c.timezone FROM sales.companies c WHERE c.company_id = company), skip, company)
    FROM (SELECT m.n, m.field, NULL AS constant, m.transforms
          FROM sales_internal.map_headers(headers, field_mapping) m WHERE m.field IS NOT NULL
          UNION ALL SELECT 0, e.key, e.value, NULL FROM jsonb_each_text(constants) e) v;
    UPDATE sales.import_runs r
    SET mapping = coalesce(used, '{}'), detected = jsonb_build_object('encoding', encoding, 'delimiter', delimiter)
    WHERE r.company_id = company AND r.run_id = run;
END
$$;
COMMENT ON FUNCTION sales_internal.map_file(uuid, uuid, text[], text, text, jsonb, bigint) IS
    'Maps the headers of the open file, checks the mapping, and notes both in the run';
REVOKE ALL ON FUNCTION sales_internal.map_file(uuid, uuid, text[], text, text, jsonb, bigint) FROM PUBLIC;

-- --- one batch ---

-- Rows of the batch about the same person as an earlier one: by e-mail, LinkedIn,
-- telephone, name and company.  A telephone or a name that people of different
-- e-mail, LinkedIn (or, for a telephone, name) share does not count.
CREATE OR REPLACE FUNCTION sales_internal.mark_duplicates() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF EXISTS (SELECT FROM pg_temp.sales_assistant_import b WHERE b.email_key IS NOT NULL GROUP BY b.email_key HAVING count(*) > 1) THEN
        UPDATE pg_temp.sales_assistant_import b SET duplicate = true
        FROM (SELECT e.row_number, row_number() OVER (PARTITION BY e.email_key ORDER BY e.row_number) AS nth
              FROM pg_temp.sales_assistant_import e WHERE e.email_key IS NOT NULL) d
        WHERE d.row_number = b.row_number AND d.nth > 1;
    END IF;
    IF EXISTS (SELECT FROM pg_temp.sales_assistant_import b WHERE b.linkedin_key IS NOT NULL GROUP BY b.linkedin_key HAVING count(*) > 1) THEN
        UPDATE pg_temp.sales_assistant_import b SET duplicate = true
        FROM (SELECT e.row_number, row_number() OVER (PARTITION BY e.linkedin_key ORDER BY e.row_number) AS nth
              FROM pg_temp.sales_assistant_import e WHERE e.linkedin_key IS NOT NULL) d
        WHERE d.row_number = b.row_number AND d.nth > 1;
    END IF;
    IF EXISTS (SELECT FROM pg_temp.sales_assistant_import b WHERE b.phone_key IS NOT NULL GROUP BY b.phone_key HAVING count(*) > 1) THEN
        CREATE INDEX ON pg_temp.sales_assistant_import (phone_key, row_number);
        ANALYZE pg_temp.sales_assistant_import;
        UPDATE pg_temp.sales_assistant_import b SET duplicate = true
        WHERE NOT b.duplicate AND EXISTS (
            SELECT FROM (SELECT * FROM pg_temp.sales_assistant_import e
                         WHERE e.phone_key = b.phone_key AND e.row_number < b.row_number LIMIT 100) e
            WHERE coalesce(e.email_key = b.email_key, true) AND coalesce(e.linkedin_key = b.linkedin_key, true)
              AND coalesce(e.who_last = b.who_last, true) AND coalesce(e.who_first = b.who_first, true));
    END IF;
    IF EXISTS (SELECT FROM pg_temp.sales_assistant_import b WHERE b.name_key IS NOT NULL GROUP BY b.name_key HAVING count(*) > 1) THEN
        CREATE INDEX ON pg_temp.sales_assistant_import (name_key, row_number);
        ANALYZE pg_temp.sales_assistant_import;
        UPDATE pg_temp.sales_assistant_import b SET duplicate = true
        WHERE NOT b.duplicate AND EXISTS (
            SELECT FROM (SELECT * FROM pg_temp.sales_assistant_import e
                         WHERE e.name_key = b.name_key AND e.row_number < b.row_number LIMIT 100) e
            WHERE coalesce(e.email_key = b.email_key, true) AND coalesce(e.linkedin_key = b.linkedin_key, true));
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.mark_duplicates() IS 'Finds duplicates within the batch in the temporary table';
REVOKE ALL ON FUNCTION sales_internal.mark_duplicates() FROM PUBLIC;

-- The prospect that values belong to: by e-mail, else LinkedIn, else telephone,
-- else name and company.  A telephone or a name that people of different
-- e-mail, LinkedIn (or, for a telephone, name) share does not count.
CREATE OR REPLACE FUNCTION sales_internal.match_rows(company uuid, run uuid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    CREATE TEMP TABLE sales_assistant_matches ON COMMIT DROP AS
    WITH m AS MATERIALIZED (
        SELECT t.row_number, coalesce(
            (SELECT c.prospect_id FROM (
                 SELECT * FROM sales.prospects p
                 WHERE sales_internal.email_key(p.company_id, p.email) = t.email_key
                   AND p.deleted_at IS NULL AND p.email IS NOT NULL LIMIT 100) c
             WHERE c.company_id = company
             ORDER BY c.prospect_id LIMIT 1),
            (SELECT c.prospect_id FROM (
                 SELECT * FROM sales.prospects p
                 WHERE sales_internal.linkedin_key(p.company_id, p.linkedin_url) = t.linkedin_key
                   AND p.deleted_at IS NULL AND p.linkedin_url IS NOT NULL LIMIT 100) c
             WHERE c.company_id = company
             ORDER BY c.prospect_id LIMIT 1),
            (SELECT c.prospect_id FROM (
                 SELECT * FROM sales.prospects p
                 WHERE sales_internal.phone_key(p.company_id, p.phone) = t.phone_key
                   AND p.deleted_at IS NULL AND p.phone IS NOT NULL LIMIT 100) c
             WHERE c.company_id = company
               AND coalesce(sales_internal.email_key(company, c.email) = t.email_key, true)
               AND coalesce(sales_internal.linkedin_key(company, c.linkedin_url) = t.linkedin_key, true)
               AND coalesce(lower(c.last_name) = t.who_last, true) AND coalesce(lower(c.first_name) = t.who_first, true)
             ORDER BY c.prospect_id LIMIT 1),
            (SELECT c.prospect_id FROM (
                 SELECT * FROM sales.prospects p
                 WHERE sales_internal.name_key(p.company_id, p.first_name, p.last_name, p.company_name) = t.name_key
                   AND p.deleted_at IS NULL LIMIT 100) c
             WHERE c.company_id = company
               AND coalesce(sales_internal.email_key(company, c.email) = t.email_key, true)
               AND coalesce(sales_internal.linkedin_key(company, c.linkedin_url) = t.linkedin_key, true)
             ORDER BY c.prospect_id LIMIT 1)) AS prospect_id
        FROM pg_temp.sales_assistant_import t WHERE t.reason IS NULL)
    SELECT m.row_number, m.prospect_id, row_number() OVER (PARTITION BY m.prospect_id ORDER BY m.row_number) AS nth
    FROM m WHERE m.prospect_id IS NOT NULL;
    -- Of two rows about one prospect, here or in an earlier batch, the first counts.  What is
    -- known of the prospect tells its row from others of the file.
    UPDATE pg_temp.sales_assistant_import b
    SET prospect_id = m.prospect_id,
        duplicate = m.nth > 1 OR EXISTS (SELECT FROM sales_internal.import_changes c
            WHERE c.company_id = company AND c.run_id = run AND c.prospect_id = m.prospect_id),
        email_key = coalesce(b.email_key, sales_internal.email_key(company, p.email)),
        linkedin_key = coalesce(b.linkedin_key, sales_internal.linkedin_key(company, p.linkedin_url)),
        phone_key = coalesce(b.phone_key, sales_internal.phone_key(company, p.phone)),
        name_key = coalesce(b.name_key, sales_internal.name_key(company, p.first_name, p.last_name, p.company_name)),
        who_first = coalesce(b.who_first, lower(p.first_name)), who_last = coalesce(b.who_last, lower(p.last_name))
    FROM pg_temp.sales_assistant_matches m
    CROSS JOIN LATERAL (SELECT * FROM sales.prospects p WHERE p.prospect_id = m.prospect_id OFFSET 0) p
    WHERE m.row_number = b.row_number;
    DROP TABLE pg_temp.sales_assistant_matches;
END
$$;
COMMENT ON FUNCTION sales_internal.match_rows(uuid, uuid) IS
    'Finds the prospects that rows of the batch are about';
REVOKE ALL ON FUNCTION sales_internal.match_rows(uuid, uuid) FROM PUBLIC;

-- What the known prospects become: one row for each that is not a duplicate.
CREATE OR REPLACE FUNCTION sales_internal.update_rows(company uuid, run uuid, mode text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    known uuid[] := ARRAY(SELECT b.prospect_id FROM pg_temp.sales_assistant_import b
                          WHERE b.reason IS NULL AND NOT b.duplicate AND b.prospect_id IS NOT NULL);
BEGIN
    -- locked, so that what is read then is what is written over below
    PERFORM FROM sales.prospects p WHERE p.company_id = company AND p.prospect_id = ANY (known)
    ORDER BY p.prospect_id FOR NO KEY UPDATE;
    CREATE TEMP TABLE sales_assistant_updates ON COMMIT DROP AS
    SELECT b.row_number, b.company_id, b.prospect_id, to_jsonb(o) AS old, to_jsonb(n) AS new
    FROM pg_temp.sales_assistant_import b
    JOIN sales.prospects p ON p.company_id = b.company_id AND p.prospect_id = b.prospect_id
    CROSS JOIN LATERAL (
        SELECT p.first_name, p.last_name, p.email, p.phone, p.job_title, p.company_name, p.company_size_id, p.industry_id, p.website,
               p.linkedin_url, p.twitter_url, p.blog_url, p.estimated_budget_amount, p.estimated_budget_currency, p.pain_points,
               p.notes, p.address_id) o
    CROSS JOIN LATERAL (
        SELECT b.first_name, b.last_name, CASE WHEN lower(b.email) = lower(p.email) THEN p.email ELSE b.email END AS email, b.phone,
               b.job_title, b.company_name, b.company_size_id, b.industry_id, b.website, b.linkedin_url, b.twitter_url, b.blog_url,
               b.estimated_budget_amount, b.estimated_budget_currency, b.pain_points, b.notes) n
    WHERE b.reason IS NULL AND NOT b.duplicate AND b.prospect_id IS NOT NULL;
    -- only what is given, and what may change
    UPDATE pg_temp.sales_assistant_updates u
    SET new = (SELECT coalesce(jsonb_object_agg(e.key, e.value), '{}') FROM jsonb_each(u.new) e
               WHERE e.value <> 'null' AND e.value <> u.old -> e.key AND (mode = 'all' OR u.old -> e.key = 'null'));
    IF mode = 'none' THEN
        UPDATE pg_temp.sales_assistant_updates u SET new = '{}';
    END IF;
    UPDATE pg_temp.sales_assistant_import b SET changed = true
    FROM pg_temp.sales_assistant_updates u WHERE u.row_number = b.row_number AND u.new <> '{}';
    UPDATE sales.prospects p
    SET first_name = q.first_name, last_name = q.last_name, email = q.email, phone = q.phone, job_title = q.job_title,
        company_name = q.company_name, company_size_id = q.company_size_id, industry_id = q.industry_id, website = q.website,
        linkedin_url = q.linkedin_url, twitter_url = q.twitter_url, blog_url = q.blog_url,
        estimated_budget_amount = q.estimated_budget_amount, estimated_budget_currency = q.estimated_budget_currency,
        pain_points = q.pain_points, notes = q.notes
    FROM pg_temp.sales_assistant_updates u
    CROSS JOIN LATERAL jsonb_populate_record(NULL::sales.prospects, u.old || u.new) q
    WHERE u.new <> '{}' AND p.company_id = u.company_id AND p.prospect_id = u.prospect_id;
    -- what is there now is what was given as the table took it: rounded, say
    INSERT INTO sales_internal.import_changes (company_id, run_id, prospect_id, before, after)
    SELECT company, run, u.prospect_id, coalesce(k.before, '{}'), k.after
    FROM pg_temp.sales_assistant_updates u
    LEFT JOIN sales.prospects p ON u.new <> '{}' AND p.company_id = u.company_id AND p.prospect_id = u.prospect_id
    -- (OFFSET 0: made once for a prospect, not for each of its values)
    CROSS JOIN LATERAL (SELECT to_jsonb(p) AS now OFFSET 0) w
    CROSS JOIN LATERAL (SELECT jsonb_object_agg(n, u.old -> n) AS before, jsonb_object_agg(n, w.now -> n) AS after
                        FROM jsonb_object_keys(u.new) n) k;
    DROP TABLE pg_temp.sales_assistant_updates;
END
$$;
COMMENT ON FUNCTION sales_internal.update_rows(uuid, uuid, text) IS
    'Updates the known prospects of the batch as the mode says (all, empty, none), and notes their old values';
REVOKE ALL ON FUNCTION sales_internal.update_rows(uuid, uuid, text) FROM PUBLIC;

-- Addresses of the batch: new ones, and those of known prospects that moved.
CREATE OR REPLACE FUNCTION sales_internal.update_addresses(company uuid, run uuid, mode text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    INSERT INTO sales.addresses (address_id, company_id, street_address, city, postal_code, region, country)
    SELECT b.address_id, company, b.street_address, b.city, b.postal_code, b.region, b.country
    FROM pg_temp.sales_assistant_import b
    WHERE b.reason IS NULL AND NOT b.duplicate AND b.prospect_id IS NULL AND b.address_id IS NOT NULL;
    -- The old address stays as it is, for others may share it and undo wants it.
    CREATE TEMP TABLE sales_assistant_moved ON COMMIT DROP AS
    SELECT b.row_number, b.company_id, run AS run_id, b.prospect_id, p.address_id, sales.uuidv7() AS fresh,
           CASE WHEN mode = 'all' THEN coalesce(b.street_address, a.street_address) ELSE coalesce(a.street_address, b.street_address) END AS street_address,
           CASE WHEN mode = 'all' THEN coalesce(b.city, a.city) ELSE coalesce(a.city, b.city) END AS city,
           CASE WHEN mode = 'all' THEN coalesce(b.postal_code, a.postal_code) ELSE coalesce(a.postal_code, b.postal_code) END AS postal_code,
           CASE WHEN mode = 'all' THEN coalesce(b.region, a.region) ELSE coalesce(a.region, b.region) END AS region,
           CASE WHEN mode = 'all' THEN coalesce(b.country, a.country) ELSE coalesce(a.country, b.country) END AS country
    FROM pg_temp.sales_assistant_import b
    CROSS JOIN LATERAL (SELECT * FROM sales.prospects p
                        WHERE p.company_id = b.company_id AND p.prospect_id = b.prospect_id OFFSET 0) p
    LEFT JOIN LATERAL (SELECT * FROM sales.addresses a
                       WHERE a.company_id = b.company_id AND a.address_id = p.address_id OFFSET 0) a ON true
    WHERE b.reason IS NULL AND NOT b.duplicate AND b.address_id IS NOT NULL AND mode <> 'none'
      AND (a.address_id IS NULL OR CASE WHEN mode = 'all'
            THEN (coalesce(b.street_address, a.street_address), coalesce(b.city, a.city), coalesce(b.postal_code, a.postal_code),
                  coalesce(b.region, a.region), coalesce(b.country, a.country))
            ELSE (coalesce(a.street_address, b.street_address), coalesce(a.city, b.city), coalesce(a.postal_code, b.postal_code),
                  coalesce(a.region, b.region), coalesce(a.country, b.country)) END
           IS DISTINCT FROM (a.street_address::text, a.city::text, a.postal_code::text, a.region::text, a.country::text));
    INSERT INTO sales.addresses (address_id, company_id, street_address, city, postal_code, region, country)
    SELECT m.fresh, company, m.street_address, m.city, m.postal_code, m.region, m.country FROM pg_temp.sales_assistant_moved m;
    UPDATE sales.prospects p SET address_id = m.fresh
    FROM pg_temp.sales_assistant_moved m WHERE p.company_id = m.company_id AND p.prospect_id = m.prospect_id;
    UPDATE pg_temp.sales_assistant_import b SET changed = true FROM pg_temp.sales_assistant_moved m WHERE b.row_number = m.row_number;
    -- (made into JSON aside: on a cluster an UPDATE calls no stable function of columns)
    UPDATE sales_internal.import_changes c
    SET address_id = m.fresh, before = c.before || m.before, after = coalesce(c.after, '{}') || m.after
    FROM (SELECT t.company_id, t.run_id, t.prospect_id, t.fresh, jsonb_build_object('address_id', t.address_id) AS before,
                 jsonb_build_object('address_id', t.fresh) AS after FROM pg_temp.sales_assistant_moved t OFFSET 0) m
    WHERE c.company_id = m.company_id AND c.run_id = m.run_id AND c.prospect_id = m.prospect_id;
    DROP TABLE pg_temp.sales_assistant_moved;
END
$$;
COMMENT ON FUNCTION sales_internal.update_addresses(uuid, uuid, text) IS
    'Writes the addresses of the batch; a known prospect whose address changed gets a new row';
REVOKE ALL ON FUNCTION sales_internal.update_addresses(uuid, uuid, text) FROM PUBLIC;

-- Reads, matches and writes up to `most` rows of the open file; how many there
-- were.  Prospects may just have been filled, so the planner's statistics say
-- nothing: all look-ups go by index, and joins name the company through a column
-- of the batch, since a constant would tempt the planner to walk the company.
CREATE OR REPLACE FUNCTION sales_internal.import_batch(
    company uuid, run uuid, options jsonb, origin sales.prospect_source, most integer, source_name text DEFAULT NULL) RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET enable_seqscan = off SET jit = off
AS $$
DECLARE
    found_rows integer;
    mode text := coalesce(options ->> 'update', 'all');
BEGIN
    CREATE TEMP TABLE sales_assistant_import ON COMMIT DROP AS
    SELECT r.*, company AS company_id, sales.uuidv7() AS new_id, NULL::uuid AS prospect_id, false AS duplicate, false AS changed,
           CASE WHEN coalesce(r.street_address, r.city, r.postal_code, r.region, r.country) IS NOT NULL THEN sales.uuidv7() END AS address_id,
           (SELECT z.size_id FROM sales.company_sizes z
            WHERE z.size_range = r.company_size
               OR (r.employees >= z.min_employees AND r.employees <= coalesce(z.max_employees, r.employees))
            ORDER BY z.min_employees LIMIT 1) AS company_size_id,
           i.industry_id, lower(r.first_name) AS who_first, lower(r.last_name) AS who_last
    FROM sales_internal.csv_rows(most) r
    LEFT JOIN (SELECT DISTINCT ON (v.name) v.name, n.industry_id
               FROM sales.industries n
               CROSS JOIN LATERAL (SELECT lower(n.name) UNION SELECT lower(c) FROM jsonb_array_elements_text(n.nace_codes) c) v (name)
               ORDER BY v.name, n.industry_id) i ON i.name = lower(r.industry);
    GET DIAGNOSTICS found_rows = ROW_COUNT;
    IF found_rows > 0 THEN
        PERFORM sales_internal.match_rows(company, run);
        PERFORM sales_internal.mark_duplicates();
        IF EXISTS (SELECT FROM pg_temp.sales_assistant_import b WHERE b.prospect_id IS NOT NULL AND NOT b.duplicate) THEN
            PERFORM sales_internal.update_rows(company, run, mode);
        END IF;
        IF EXISTS (SELECT FROM pg_temp.sales_assistant_import b WHERE b.address_id IS NOT NULL) THEN
            PERFORM sales_internal.update_addresses(company, run, mode);
        END IF;
        INSERT INTO sales.prospects (prospect_id, company_id, product_id, first_name, last_name, email, phone, job_title,
            company_name, company_size_id, industry_id, address_id, website, linkedin_url, twitter_url, blog_url,
            estimated_budget_amount, estimated_budget_currency, pain_points, notes, source, created_at)
        SELECT b.new_id, company, (options ->> 'product_id')::uuid, b.first_name, b.last_name, b.email, b.phone, b.job_title,
            b.company_name, b.company_size_id, b.industry_id, b.address_id, b.website, b.linkedin_url, b.twitter_url, b.blog_url,
            b.estimated_budget_amount, b.estimated_budget_currency, b.pain_points, b.notes, origin,
            coalesce(b.created_at, sales_internal.now())
        FROM pg_temp.sales_assistant_import b WHERE b.reason IS NULL AND NOT b.duplicate AND b.prospect_id IS NULL;
        INSERT INTO sales_internal.import_changes (company_id, run_id, prospect_id, address_id)
        SELECT company, run, b.new_id, b.address_id
        FROM pg_temp.sales_assistant_import b WHERE b.reason IS NULL AND NOT b.duplicate AND b.prospect_id IS NULL;
        INSERT INTO sales.import_rejects (company_id, run_id, row_number, column_name, reason, raw_text, source_name)
        SELECT company, run, b.row_number, b.bad_column, b.reason, b.raw, import_batch.source_name
        FROM pg_temp.sales_assistant_import b WHERE b.reason IS NOT NULL ORDER BY b.row_number;
        UPDATE sales.import_runs r
        SET rows_read = r.rows_read + found_rows, rows_rejected = r.rows_rejected + n.rejected, rows_duplicate = r.rows_duplicate + n.duplicate,
            rows_inserted = r.rows_inserted + n.new, rows_updated = r.rows_updated + n.changed,
            rows_unchanged = r.rows_unchanged + found_rows - n.rejected - n.duplicate - n.new - n.changed
        FROM (SELECT count(*) FILTER (WHERE b.reason IS NOT NULL) AS rejected,
                     count(*) FILTER (WHERE b.reason IS NULL AND b.duplicate) AS duplicate,
                     count(*) FILTER (WHERE b.reason IS NULL AND NOT b.duplicate AND b.prospect_id IS NULL) AS new,
                     count(*) FILTER (WHERE b.changed) AS changed
              FROM pg_temp.sales_assistant_import b) n
        WHERE r.company_id = company AND r.run_id = run;
    END IF;
    DROP TABLE pg_temp.sales_assistant_import;
    RETURN found_rows;
END
$$;
COMMENT ON FUNCTION sales_internal.import_batch(uuid, uuid, jsonb, sales.prospect_source, integer, text) IS
    'Imports the next rows of the open file into the run; 0 at its end';
REVOKE ALL ON FUNCTION sales_internal.import_batch(uuid, uuid, jsonb, sales.prospect_source, integer, text) FROM PUBLIC;

-- --- a run ---

CREATE OR REPLACE FUNCTION sales_internal.check_import_options(company uuid, options jsonb) RETURNS void
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong text;
BEGIN
    IF jsonb_typeof(options) <> 'object' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'options must be a JSON object', HINT = 'Such as {"dry_run": true}.';
    END IF;
    SELECT key INTO wrong FROM jsonb_object_keys(options) key
    WHERE key NOT IN ('delimiter', 'encoding', 'dry_run', 'update', 'product_id');
    IF FOUND OR coalesce(options ->> 'update', 'all') NOT IN ('all', 'empty', 'none') THEN
        RAISE invalid_parameter_value USING
            MESSAGE = CASE WHEN wrong IS NOT NULL THEN format('there is no option "%s"', wrong)
                           ELSE format('update cannot be "%s"', options ->> 'update') END,
            HINT = 'Options: delimiter, encoding, dry_run, product_id, update (all, empty: only fill what is empty, none).';
    END IF;
    IF jsonb_typeof(coalesce(options -> 'dry_run', 'false')) <> 'boolean' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'dry_run must be true or false';
    END IF;
    IF options ->> 'product_id' IS NOT NULL AND NOT EXISTS (
        SELECT FROM sales.products d WHERE d.company_id = company AND d.product_id::text = options ->> 'product_id') THEN
        RAISE no_data_found USING MESSAGE = format('there is no product %s', options ->> 'product_id'), HINT = 'See sales.products.';
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.check_import_options(uuid, jsonb) IS 'Error with a hint for options that there are not';
REVOKE ALL ON FUNCTION sales_internal.check_import_options(uuid, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.finish_run(company uuid, run uuid, ended text, problem text DEFAULT NULL) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE sales.import_runs r SET status = ended, error = problem, finished_at = clock_timestamp()
    WHERE r.company_id = company AND r.run_id = run;
    -- what undo does not need
    DELETE FROM sales_internal.import_changes c
    WHERE c.company_id = company AND c.run_id = run AND c.before = '{}';
$$;
COMMENT ON FUNCTION sales_internal.finish_run(uuid, uuid, text, text) IS 'Ends a run';
REVOKE ALL ON FUNCTION sales_internal.finish_run(uuid, uuid, text, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.begin_run(company uuid, options jsonb, job uuid DEFAULT NULL, run uuid DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM sales_internal.check_import_options(company, options);
    run := coalesce(run, sales.uuidv7());
    INSERT INTO sales.import_runs (run_id, company_id, import_job_id, user_id, dry_run, options, started_at)
    VALUES (run, company, job, sales.current_user_id(), coalesce((options ->> 'dry_run')::boolean, false), options, clock_timestamp());
    RETURN run;
END
$$;
COMMENT ON FUNCTION sales_internal.begin_run(uuid, jsonb, uuid, uuid) IS 'Checks the options of a run and makes it';
REVOKE ALL ON FUNCTION sales_internal.begin_run(uuid, jsonb, uuid, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.import_lock_key(company uuid) RETURNS bigint
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT hashtextextended('sales_assistant imports ' || company, 0) $$;
COMMENT ON FUNCTION sales_internal.import_lock_key(uuid) IS 'Lock (take_lock) of whoever writes what a company imports';
REVOKE ALL ON FUNCTION sales_internal.import_lock_key(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.refuse_stale_import(company uuid) RETURNS void
    AS 'MODULE_PATHNAME', 'sales_refuse_stale_import'
    LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION sales_internal.refuse_stale_import(uuid) IS
    'Fails a transaction whose old snapshot does not show what was imported since; whoever calls it has the turn';
REVOKE ALL ON FUNCTION sales_internal.refuse_stale_import(uuid) FROM PUBLIC;

-- One after the other: two that import at once would not see each other's new prospects.
CREATE OR REPLACE FUNCTION sales_internal.take_import_turn(company uuid, wait boolean DEFAULT true) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT sales_internal.take_lock(sales_internal.import_lock_key(company), wait) THEN
        RETURN false;
    END IF;
    PERFORM sales_internal.refuse_stale_import(company);
    RETURN true;
END
$$;
COMMENT ON FUNCTION sales_internal.take_import_turn(uuid, boolean) IS
    'Waits until nobody else imports, undoes or merges in the company, until the end of the transaction; false if another does and wait is false';
REVOKE ALL ON FUNCTION sales_internal.take_import_turn(uuid, boolean) FROM PUBLIC;

-- Both import_csv(): the text or the bytes of a file, in one transaction.
CREATE OR REPLACE FUNCTION sales_internal.import_data(data bytea, encoding text, field_mapping jsonb, options jsonb) RETURNS uuid
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
    run uuid;
    file record;
    report sales.import_runs;
    rejects sales.import_rejects[];
BEGIN
    PERFORM sales_internal.require('prospects', 'create');
    PERFORM sales_internal.require('prospects', 'update');
    options := coalesce(options, '{}');
    PERFORM sales_internal.take_import_turn(company);
    run := sales_internal.begin_run(company, options);
    SELECT * INTO file FROM sales_internal.csv_open(coalesce(data, ''), coalesce(encoding, options ->> 'encoding'), options ->> 'delimiter');
    PERFORM sales_internal.map_file(company, run, file.headers, file.found_encoding, file.found_delimiter, field_mapping);
    -- A dry run is a real one that is taken back, so its report is the same.
    BEGIN
        LOOP
            PERFORM sales_internal.note_progress('import', company, 'bytes of the file', sales_internal.csv_bytes(), octet_length(data));
            EXIT WHEN sales_internal.import_batch(company, run, options, 'import_csv', 10000) = 0;
        END LOOP;
        IF (options ->> 'dry_run')::boolean THEN
            SELECT * INTO report FROM sales.import_runs r WHERE r.company_id = company AND r.run_id = run;
            rejects := ARRAY(SELECT j FROM sales.import_rejects j WHERE j.company_id = company AND j.run_id = run);
            RAISE SQLSTATE 'SADRY' USING MESSAGE = 'the dry run is over';
        END IF;
    EXCEPTION WHEN SQLSTATE 'SADRY' THEN
        UPDATE sales.import_runs r
        SET rows_read = report.rows_read, rows_inserted = report.rows_inserted, rows_updated = report.rows_updated,
            rows_unchanged = report.rows_unchanged, rows_duplicate = report.rows_duplicate, rows_rejected = report.rows_rejected
        WHERE r.company_id = company AND r.run_id = run;
        INSERT INTO sales.import_rejects SELECT (j).* FROM unnest(rejects) j;
    END;
    PERFORM sales_internal.csv_close();
    PERFORM sales_internal.finish_run(company, run, 'done'), sales_internal.end_progress('import');
    RETURN run;
END
$$;
COMMENT ON FUNCTION sales_internal.import_data(bytea, text, jsonb, jsonb) IS
    'Imports a file in this transaction; encoding null: as the options say, else found';
REVOKE ALL ON FUNCTION sales_internal.import_data(bytea, text, jsonb, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.import_csv(data text, field_mapping jsonb DEFAULT NULL, options jsonb DEFAULT '{}')
RETURNS uuid
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT sales_internal.import_data(convert_to(data, 'UTF8'), 'UTF-8', field_mapping, options) $$;
COMMENT ON FUNCTION sales.import_csv(text, jsonb, jsonb) IS
    'Imports prospects from CSV text; known exports need no mapping; returns the run, see import_runs and import_rejects';
REVOKE ALL ON FUNCTION sales.import_csv(text, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.import_csv(text, jsonb, jsonb) TO sales_app;

CREATE OR REPLACE FUNCTION sales.import_csv(data bytea, field_mapping jsonb DEFAULT NULL, options jsonb DEFAULT '{}')
RETURNS uuid
LANGUAGE sql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$ SELECT sales_internal.import_data(data, NULL, field_mapping, options) $$;
COMMENT ON FUNCTION sales.import_csv(bytea, jsonb, jsonb) IS
    'As for text, with the bytes of a file in any usual encoding, which is found unless the option encoding names it';
REVOKE ALL ON FUNCTION sales.import_csv(bytea, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.import_csv(bytea, jsonb, jsonb) TO sales_app;

CREATE OR REPLACE FUNCTION sales.undo_import(run_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    company uuid := sales_internal.require_company();
    run sales.import_runs;
    kept bigint;
    hidden bigint;
BEGIN
    PERFORM sales_internal.require('prospects', 'delete');
    -- an import would count rows for prospects that go here
    PERFORM sales_internal.take_import_turn(company);
    SELECT * INTO run FROM sales.import_runs r WHERE r.company_id = company AND r.run_id = undo_import.run_id FOR UPDATE;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = format('there is no import run %s', undo_import.run_id), HINT = 'See sales.import_runs.';
    ELSIF run.status NOT IN ('done', 'failed', 'cancelled') OR run.dry_run THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('the run is %s', CASE WHEN run.dry_run THEN 'a dry run' ELSE run.status END),
            HINT = 'Only a run that has ended can be undone, once.';
    END IF;
    -- (a table of its own, whose size the planner sees: what it guesses of one run among all could cost hours)
    CREATE TEMP TABLE sales_assistant_undo ON COMMIT DROP AS
    SELECT c.prospect_id, c.address_id, c.before, c.after, c.before IS NULL AS is_new
    FROM sales_internal.import_changes c
    WHERE c.company_id = company AND c.run_id = undo_import.run_id AND c.before IS DISTINCT FROM '{}';
    ANALYZE pg_temp.sales_assistant_undo (prospect_id, address_id, is_new);
    -- A value that somebody wrote since, or a later run, stays.
    WITH back AS MATERIALIZED (
        SELECT o.prospect_id, w.now || v.values AS row, v.values <> '{}' AS some, v.whole
        FROM pg_temp.sales_assistant_undo c
        JOIN sales.prospects o ON o.company_id = company AND o.prospect_id = c.prospect_id
        CROSS JOIN LATERAL (SELECT to_jsonb(o) AS now OFFSET 0) w
        CROSS JOIN LATERAL (
            SELECT coalesce(jsonb_object_agg(e.key, e.value) FILTER (WHERE e.as_left), '{}') AS values, bool_and(e.as_left) AS whole
            FROM (SELECT key, value, c.after IS NULL OR c.after -> key = w.now -> key AS as_left FROM jsonb_each(c.before)) e) v
        WHERE NOT c.is_new
    ), restored AS (
        UPDATE sales.prospects p
        SET first_name = q.first_name, last_name = q.last_name, email = q.email, phone = q.phone, job_title = q.job_title,
            company_name = q.company_name, company_size_id = q.company_size_id, industry_id = q.industry_id, website = q.website,
            linkedin_url = q.linkedin_url, twitter_url = q.twitter_url, blog_url = q.blog_url,
            estimated_budget_amount = q.estimated_budget_amount, estimated_budget_currency = q.estimated_budget_currency,
            pain_points = q.pain_points, notes = q.notes, address_id = q.address_id
        FROM back b CROSS JOIN LATERAL jsonb_populate_record(NULL::sales.prospects, b.row) q
        WHERE b.some AND p.company_id = company AND p.prospect_id = b.prospect_id
    )
    SELECT count(*) FILTER (WHERE NOT whole) INTO kept FROM back;
    -- Who has been worked with since, or written to by hand, stays on record, hidden; the others go.
    UPDATE sales.prospects p SET deleted_at = sales_internal.now()
    FROM pg_temp.sales_assistant_undo c
    WHERE c.is_new AND p.company_id = company AND p.prospect_id = c.prospect_id AND p.deleted_at IS NULL
      AND (EXISTS (SELECT FROM sales.interactions x WHERE x.company_id = company AND x.prospect_id = p.prospect_id)
           OR EXISTS (SELECT FROM sales.messages x WHERE x.company_id = company AND x.prospect_id = p.prospect_id)
           OR EXISTS (SELECT FROM sales.tasks x WHERE x.company_id = company AND x.prospect_id = p.prospect_id)
           OR EXISTS (SELECT FROM sales.conversion_funnel x WHERE x.company_id = company AND x.prospect_id = p.prospect_id)
           OR p.prospect_id IN (SELECT l.record_id FROM sales.audit_logs l
                                WHERE l.company_id = company AND l.created_at >= run.started_at AND l.table_name = 'prospects'
                                  AND l.action = 'update' AND l.user_id IS NOT NULL AND l.new_values - '{ai_score,updated_at}'::text[] <> '{}'));
    GET DIAGNOSTICS hidden = ROW_COUNT;
    DELETE FROM sales.prospects p USING pg_temp.sales_assistant_undo c
    WHERE c.is_new AND p.company_id = company AND p.prospect_id = c.prospect_id AND p.deleted_at IS NULL;
    DELETE FROM sales.addresses a USING pg_temp.sales_assistant_undo c
    WHERE a.company_id = company AND a.address_id = c.address_id
      AND NOT EXISTS (SELECT FROM sales.prospects p WHERE p.company_id = company AND p.address_id = a.address_id);
    DROP TABLE pg_temp.sales_assistant_undo;
    UPDATE sales.import_runs r SET status = 'undone' WHERE r.company_id = company AND r.run_id = undo_import.run_id;
    IF kept + hidden > 0 THEN
        RAISE NOTICE 'prospects that the run updated and that were changed since, in those values left as they are: %; prospects that it inserted and that were worked with since, hidden: %', kept, hidden;
    END IF;
END
$$;
COMMENT ON FUNCTION sales.undo_import(uuid) IS
    'Takes a run back: new prospects go (hidden, if they were worked with or written to since), changed ones get the old values of what nobody has written since';
REVOKE ALL ON FUNCTION sales.undo_import(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.undo_import(uuid) TO sales_app;

