-- Enrichment: taking over what was found, and back; expiry and renewal.

-- What of an answer goes into columns of prospects, each cut to its width.
-- A number of employees is a size, a NACE code or a sector's name a sector.
CREATE OR REPLACE FUNCTION sales_internal.enrichable(found jsonb) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce((SELECT jsonb_object_agg(key, left(value, CASE key WHEN 'phone' THEN 20 WHEN 'email' THEN 100 WHEN 'job_title' THEN 100
                                                             WHEN 'company_name' THEN 100 ELSE 200 END))
                     FROM jsonb_each_text(found)
                     WHERE key IN ('email', 'phone', 'job_title', 'company_name', 'website', 'linkedin_url', 'twitter_url', 'blog_url')
                       AND value <> ''), '{}')
        || jsonb_strip_nulls(jsonb_build_object(
            'company_size_id', (SELECT z.size_id FROM sales.company_sizes z, sales_internal.to_number(found ->> 'employees', 0, 1e9) n
                                WHERE n >= z.min_employees AND n <= coalesce(z.max_employees, n) AND n > 0 ORDER BY z.min_employees LIMIT 1),
            'industry_id', (SELECT i.industry_id FROM sales.industries i
                            WHERE i.nace_codes ? left(found ->> 'nace_code', 2) OR i.nace_codes ? left(found ->> 'nace_code', 1)
                               OR lower(i.name) = lower(found ->> 'industry')
                            ORDER BY i.nace_codes ? left(found ->> 'nace_code', 2) DESC, i.industry_id LIMIT 1)))
$$;
COMMENT ON FUNCTION sales_internal.enrichable(jsonb) IS 'The part of found values that prospects have columns for';
REVOKE ALL ON FUNCTION sales_internal.enrichable(jsonb) FROM PUBLIC;

-- Writes the columns that the object names.
CREATE OR REPLACE FUNCTION sales_internal.write_prospect(company uuid, prospect uuid, changes jsonb) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE sales.prospects p
    SET email = CASE WHEN changes ? 'email' THEN changes ->> 'email' ELSE p.email END,
        phone = CASE WHEN changes ? 'phone' THEN changes ->> 'phone' ELSE p.phone END,
        job_title = CASE WHEN changes ? 'job_title' THEN changes ->> 'job_title' ELSE p.job_title END,
        company_name = CASE WHEN changes ? 'company_name' THEN changes ->> 'company_name' ELSE p.company_name END,
        website = CASE WHEN changes ? 'website' THEN changes ->> 'website' ELSE p.website END,
        linkedin_url = CASE WHEN changes ? 'linkedin_url' THEN changes ->> 'linkedin_url' ELSE p.linkedin_url END,
        twitter_url = CASE WHEN changes ? 'twitter_url' THEN changes ->> 'twitter_url' ELSE p.twitter_url END,
        blog_url = CASE WHEN changes ? 'blog_url' THEN changes ->> 'blog_url' ELSE p.blog_url END,
        company_size_id = CASE WHEN changes ? 'company_size_id' THEN (changes ->> 'company_size_id')::uuid ELSE p.company_size_id END,
        industry_id = CASE WHEN changes ? 'industry_id' THEN (changes ->> 'industry_id')::uuid ELSE p.industry_id END,
        address_id = CASE WHEN changes ? 'address_id' THEN (changes ->> 'address_id')::uuid ELSE p.address_id END
    WHERE p.company_id = company AND p.prospect_id = prospect
$$;
COMMENT ON FUNCTION sales_internal.write_prospect(uuid, uuid, jsonb) IS 'Sets the columns of a prospect that the object has keys for';
REVOKE ALL ON FUNCTION sales_internal.write_prospect(uuid, uuid, jsonb) FROM PUBLIC;

-- The enrichment and its prospect, locked in this order; an error where there is none.
CREATE OR REPLACE FUNCTION sales_internal.lock_enrichment(enrichment_id uuid, OUT stored sales.enrichments, OUT who sales.prospects)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
BEGIN
    PERFORM sales_internal.require('prospects', 'update');
    SELECT * INTO stored FROM sales.enrichments e
    WHERE e.company_id = company AND e.enrichment_id = lock_enrichment.enrichment_id FOR NO KEY UPDATE;
    SELECT * INTO who FROM sales.prospects p
    WHERE p.company_id = company AND p.prospect_id = stored.prospect_id AND p.deleted_at IS NULL FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = format('there is no enrichment %s', coalesce(lock_enrichment.enrichment_id::text, 'null')),
            HINT = 'See sales.enrichments.';
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.lock_enrichment(uuid) IS 'An enrichment of the company and its prospect, locked';
REVOKE ALL ON FUNCTION sales_internal.lock_enrichment(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.apply_enrichment(enrichment_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held record := sales_internal.lock_enrichment(enrichment_id);
    stored sales.enrichments := held.stored;
    who jsonb := to_jsonb(held.who);
    found jsonb;
    changes jsonb;
    place uuid;
BEGIN
    IF stored.status <> 'completed' THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('the enrichment is %s', stored.status),
            HINT = 'Only a completed one can be applied; ask again with sales.enrich().';
    ELSIF stored.applied_at IS NOT NULL THEN
        RETURN;                 -- once is enough: the values from before stay what they were
    END IF;
    found := coalesce(sales_internal.to_json(stored.enriched_value), '{}');
    IF jsonb_typeof(found) <> 'object' THEN
        found := '{}';
    END IF;
    changes := sales_internal.enrichable(found);
    -- An address is taken where the prospect has none: one may be shared.
    IF who ->> 'address_id' IS NULL AND found ?| '{street_address,city,postal_code,region,country}' THEN
        INSERT INTO sales.addresses (company_id, street_address, city, postal_code, region, country)
        VALUES (stored.company_id, left(found ->> 'street_address', 200), left(found ->> 'city', 100), left(found ->> 'postal_code', 20),
                left(found ->> 'region', 100), left(found ->> 'country', 50))
        RETURNING address_id INTO place;
        changes := changes || jsonb_build_object('address_id', place);
    END IF;
    UPDATE sales.enrichments e
    SET original_value = (SELECT coalesce(jsonb_object_agg(key, who -> key), '{}') FROM jsonb_object_keys(changes) key)::text,
        applied_value = changes::text, applied_at = sales_internal.now(), applied_by = sales.current_user_id()
    WHERE e.company_id = stored.company_id AND e.enrichment_id = stored.enrichment_id;
    PERFORM sales_internal.write_prospect(stored.company_id, stored.prospect_id, changes);
END
$$;
COMMENT ON FUNCTION sales.apply_enrichment(uuid) IS
    'Takes what an enrichment found over into the prospect; what the prospect had is kept in original_value';
REVOKE ALL ON FUNCTION sales.apply_enrichment(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.apply_enrichment(uuid) TO sales_app;

-- What has been changed by hand since it was applied is not touched.
CREATE OR REPLACE FUNCTION sales.revert_enrichment(enrichment_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    held record := sales_internal.lock_enrichment(enrichment_id);
    stored sales.enrichments := held.stored;
    who jsonb := to_jsonb(held.who);
    changes jsonb;
    kept text;
BEGIN
    IF stored.applied_at IS NULL THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = 'the enrichment is not applied',
            HINT = 'Only what sales.apply_enrichment() took over can be put back.';
    END IF;
    SELECT coalesce(jsonb_object_agg(o.key, o.value) FILTER (WHERE who ->> o.key IS NOT DISTINCT FROM a.applied ->> o.key), '{}'),
           string_agg(o.key, ', ' ORDER BY o.key) FILTER (WHERE who ->> o.key IS DISTINCT FROM a.applied ->> o.key)
    INTO changes, kept
    FROM (SELECT stored.applied_value::jsonb AS applied) a CROSS JOIN LATERAL jsonb_each(stored.original_value::jsonb) o;
    PERFORM sales_internal.write_prospect(stored.company_id, stored.prospect_id, changes);
    UPDATE sales.enrichments e SET applied_at = NULL, applied_by = NULL, applied_value = NULL
    WHERE e.company_id = stored.company_id AND e.enrichment_id = stored.enrichment_id;
    IF changes ? 'address_id' AND changes ->> 'address_id' IS NULL THEN
        DELETE FROM sales.addresses a
        WHERE a.company_id = stored.company_id AND a.address_id = (stored.applied_value::jsonb ->> 'address_id')::uuid
          AND NOT EXISTS (SELECT FROM sales.prospects p WHERE p.company_id = stored.company_id AND p.address_id = a.address_id);
    END IF;
    IF kept IS NOT NULL THEN
        RAISE NOTICE 'changed since and left as it is: %', kept;
    END IF;
END
$$;
COMMENT ON FUNCTION sales.revert_enrichment(uuid) IS
    'Puts back what the prospect had before apply_enrichment(), but for what has been changed since';
REVOKE ALL ON FUNCTION sales.revert_enrichment(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.revert_enrichment(uuid) TO sales_app;

-- --- expiry and renewal ---

-- At most 500 renewals a company at a time, the oldest first; one that failed is
-- not asked for again within a day.
CREATE OR REPLACE FUNCTION sales_internal.expire_enrichments() RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid;
    renews boolean;
    changed bigint;
    expired bigint := 0;
BEGIN
    FOR company, renews IN
        SELECT c.company_id, c.subscription_status = 'active' AND sales_internal.setting_of(c.company_id, 'enrichment.renew') = 'true'
        FROM sales.companies c
        WHERE EXISTS (SELECT FROM sales.enrichments e WHERE e.company_id = c.company_id)
        ORDER BY c.company_id
    LOOP
        -- A company that has locked its rows, or asks for the same at this moment, has its turn the next time.
        BEGIN
            UPDATE sales.enrichments e SET status = 'expired'
            WHERE e.company_id = company AND e.status = 'completed' AND e.expires_at <= sales_internal.now();
            GET DIAGNOSTICS changed = ROW_COUNT;
            IF renews THEN
                PERFORM sales_internal.ask_enrichment(company, due.prospect_id, due.enrichment_type, -2)
                FROM (SELECT l.prospect_id, l.enrichment_type
                      FROM (SELECT DISTINCT ON (e.prospect_id, e.enrichment_type) e.*
                            FROM sales.enrichments e WHERE e.company_id = company
                            ORDER BY e.prospect_id, e.enrichment_type, e.created_at DESC, e.enrichment_id DESC) l
                      JOIN sales.prospects p ON p.company_id = company AND p.prospect_id = l.prospect_id AND p.deleted_at IS NULL
                      WHERE l.status = 'expired' OR (l.status = 'failed' AND l.created_at < sales_internal.now() - interval '1 day'
                            AND EXISTS (SELECT FROM sales.enrichments o WHERE o.company_id = company AND o.prospect_id = l.prospect_id
                                        AND o.enrichment_type = l.enrichment_type AND o.status = 'expired'))
                      ORDER BY l.expires_at, l.enrichment_id LIMIT 500) due;
            END IF;
            expired := expired + changed;
        EXCEPTION WHEN data_exception OR lock_not_available THEN
            RAISE WARNING 'enrichments of company % could not be looked through: %', company, SQLERRM;
        END;
    END LOOP;
    RETURN expired;
END
$$;
COMMENT ON FUNCTION sales_internal.expire_enrichments() IS
    'Periodic task: marks enrichments whose time is over, and looks them up again where enrichment.renew says so';
REVOKE ALL ON FUNCTION sales_internal.expire_enrichments() FROM PUBLIC;

DO $$
BEGIN
    INSERT INTO sales_internal.periodic_tasks (name, every, run_function)
    VALUES ('enrichment_expiry', '1 hour', 'sales_internal.expire_enrichments')
    ON CONFLICT (name) DO NOTHING;
END
$$;
