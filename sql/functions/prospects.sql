-- Prospects: who is there twice, and making one of two.

-- By the same keys and the same order as imports match by (docs/imports.md).
CREATE OR REPLACE FUNCTION sales.find_duplicates(
    OUT prospect_id uuid, OUT duplicate_of uuid, OUT reason text, OUT confidence numeric) RETURNS SETOF record
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    company uuid := sales_internal.require_company();
BEGIN
    PERFORM sales_internal.require('prospects', 'read');
    RETURN QUERY
    WITH people AS MATERIALIZED (
        SELECT p.prospect_id, p.created_at, sales_internal.email_key(company, p.email) AS email,
               sales_internal.linkedin_key(company, p.linkedin_url) AS linkedin, sales_internal.phone_key(company, p.phone) AS phone,
               sales_internal.name_key(company, p.first_name, p.last_name, p.company_name) AS name,
               lower(p.first_name) AS first, lower(p.last_name) AS last, p.company_name IS NOT NULL AS has_company
        FROM sales.prospects p WHERE p.company_id = company AND p.deleted_at IS NULL
    ), pairs AS (
        SELECT d.prospect_id, o.prospect_id AS older, 1 AS rule, o.created_at
        FROM people d JOIN people o ON o.email = d.email WHERE (o.created_at, o.prospect_id) < (d.created_at, d.prospect_id)
        UNION ALL
        SELECT d.prospect_id, o.prospect_id, 2, o.created_at
        FROM people d JOIN people o ON o.linkedin = d.linkedin WHERE (o.created_at, o.prospect_id) < (d.created_at, d.prospect_id)
        UNION ALL
        SELECT d.prospect_id, o.prospect_id, 3, o.created_at
        FROM people d JOIN people o ON o.phone = d.phone
        WHERE (o.created_at, o.prospect_id) < (d.created_at, d.prospect_id)
          AND coalesce(o.email = d.email, true) AND coalesce(o.linkedin = d.linkedin, true)
          AND coalesce(o.last = d.last, true) AND coalesce(o.first = d.first, true)
        UNION ALL
        SELECT d.prospect_id, o.prospect_id, CASE WHEN d.has_company THEN 4 ELSE 5 END, o.created_at
        FROM people d JOIN people o ON o.name = d.name
        WHERE (o.created_at, o.prospect_id) < (d.created_at, d.prospect_id)
          AND coalesce(o.email = d.email, true) AND coalesce(o.linkedin = d.linkedin, true)
    )
    SELECT DISTINCT ON (x.prospect_id) x.prospect_id, x.older,
           (ARRAY['same e-mail address', 'same LinkedIn profile', 'same telephone', 'same name and company', 'same name'])[x.rule],
           (ARRAY[0.99, 0.95, 0.85, 0.75, 0.40])[x.rule]
    FROM pairs x
    ORDER BY x.prospect_id, x.rule, x.created_at, x.older;
END
$$;
COMMENT ON FUNCTION sales.find_duplicates() IS
    'Prospects that seem to be another, older one; each once, by the surest reason; confidence is 0 to 1';
REVOKE ALL ON FUNCTION sales.find_duplicates() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.find_duplicates() TO sales_app;

-- Everything that hangs on a prospect by a foreign key goes to the other one.
-- A row that has its like there already (a recipient of the same campaign) stays.
CREATE OR REPLACE FUNCTION sales_internal.move_history(company uuid, keep uuid, drop uuid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    child regclass;
    place tid;
BEGIN
    FOR child IN
        SELECT c.conrelid FROM pg_constraint c
        WHERE c.contype = 'f' AND c.confrelid = 'sales.prospects'::regclass AND c.conparentid = 0
          AND c.conrelid <> 'sales.conversion_funnel'::regclass
        ORDER BY c.conrelid::regclass::text
    LOOP
        BEGIN
            EXECUTE format('UPDATE %s SET prospect_id = $1 WHERE company_id = $2 AND prospect_id = $3', child) USING keep, company, drop;
        EXCEPTION WHEN unique_violation THEN
            FOR place IN EXECUTE format('SELECT ctid FROM %s WHERE company_id = $1 AND prospect_id = $2', child) USING company, drop LOOP
                BEGIN
                    EXECUTE format('UPDATE %s SET prospect_id = $1 WHERE company_id = $2 AND ctid = $3', child) USING keep, company, place;
                EXCEPTION WHEN unique_violation THEN
                    NULL;
                END;
            END LOOP;
        END;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sales_internal.move_history(uuid, uuid, uuid) IS
    'Gives what refers to one prospect to another, but for the funnel';
REVOKE ALL ON FUNCTION sales_internal.move_history(uuid, uuid, uuid) FROM PUBLIC;

-- How far a prospect has come: of two, the further one says where the person stands.
CREATE OR REPLACE FUNCTION sales_internal.status_rank(status sales.prospect_status) RETURNS integer
LANGUAGE sql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE status WHEN 'client' THEN 6 WHEN 'negocie' THEN 5 WHEN 'interesse' THEN 4 WHEN 'contacte' THEN 3
        WHEN 'perdu' THEN 2 WHEN 'a_contacter' THEN 1 ELSE 0 END
$$;
COMMENT ON FUNCTION sales_internal.status_rank(sales.prospect_status) IS 'How far a status is, client being furthest';
REVOKE ALL ON FUNCTION sales_internal.status_rank(sales.prospect_status) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.merge_prospects(keep uuid, drop uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    company uuid := sales_internal.require_company();
    kept sales.prospects;
    dropped sales.prospects;
    further uuid;
    cutoff timestamptz;
BEGIN
    PERFORM sales_internal.require('prospects', 'update');
    PERFORM sales_internal.require('prospects', 'delete');
    IF keep = drop OR keep IS NULL OR drop IS NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'a merge needs two different prospects', HINT = 'See sales.find_duplicates().';
    END IF;
    -- an import would write to drop what is meant for keep
    PERFORM sales_internal.take_import_turn(company);
    -- in order of the key, so that two merges cannot wait for each other
    PERFORM FROM sales.prospects p WHERE p.company_id = company AND p.prospect_id IN (keep, drop) ORDER BY p.prospect_id FOR UPDATE;
    SELECT * INTO kept FROM sales.prospects p WHERE p.company_id = company AND p.prospect_id = keep AND p.deleted_at IS NULL;
    SELECT * INTO dropped FROM sales.prospects p WHERE p.company_id = company AND p.prospect_id = drop AND p.deleted_at IS NULL;
    IF kept.prospect_id IS NULL OR dropped.prospect_id IS NULL THEN
        RAISE no_data_found USING MESSAGE = format('there is no prospect %s', CASE WHEN kept.prospect_id IS NULL THEN keep ELSE drop END),
            HINT = 'See sales.prospects.';
    END IF;

    PERFORM sales_internal.move_history(company, keep, drop);
    -- The stages become one history that ends where the further of the two stands; what was
    -- entered later than that stays with the dropped one.  Nothing is entered anew, so no
    -- deal is counted twice and none is lost.
    further := CASE WHEN sales_internal.status_rank(dropped.status) > sales_internal.status_rank(kept.status) THEN drop ELSE keep END;
    cutoff := (SELECT max(f.stage_entered_at) FROM sales.conversion_funnel f WHERE f.company_id = company AND f.prospect_id = further);
    UPDATE sales.conversion_funnel f
    SET prospect_id = CASE WHEN f.stage_entered_at <= coalesce(cutoff, 'infinity') THEN keep ELSE drop END
    WHERE f.company_id = company AND f.prospect_id IN (keep, drop)
      AND f.prospect_id <> CASE WHEN f.stage_entered_at <= coalesce(cutoff, 'infinity') THEN keep ELSE drop END;

    UPDATE sales.prospects p
    SET product_id = coalesce(p.product_id, dropped.product_id), first_name = coalesce(p.first_name, dropped.first_name),
        last_name = coalesce(p.last_name, dropped.last_name), email = coalesce(p.email, dropped.email),
        phone = coalesce(p.phone, dropped.phone), job_title = coalesce(p.job_title, dropped.job_title),
        company_name = coalesce(p.company_name, dropped.company_name), company_size_id = coalesce(p.company_size_id, dropped.company_size_id),
        industry_id = coalesce(p.industry_id, dropped.industry_id), address_id = coalesce(p.address_id, dropped.address_id),
        website = coalesce(p.website, dropped.website), linkedin_url = coalesce(p.linkedin_url, dropped.linkedin_url),
        twitter_url = coalesce(p.twitter_url, dropped.twitter_url), blog_url = coalesce(p.blog_url, dropped.blog_url),
        estimated_budget_amount = coalesce(p.estimated_budget_amount, dropped.estimated_budget_amount),
        estimated_budget_currency = CASE WHEN p.estimated_budget_amount IS NULL THEN dropped.estimated_budget_currency
                                         ELSE p.estimated_budget_currency END,
        pain_points = coalesce(p.pain_points, dropped.pain_points),
        tender_opportunities = coalesce(p.tender_opportunities, dropped.tender_opportunities),
        tender_last_update = coalesce(p.tender_last_update, dropped.tender_last_update),
        competitive_intel = coalesce(p.competitive_intel, dropped.competitive_intel),
        notes = CASE WHEN dropped.notes IS DISTINCT FROM p.notes THEN concat_ws(E'\n', p.notes, dropped.notes) ELSE p.notes END
    WHERE p.company_id = company AND p.prospect_id = keep;
    UPDATE sales.prospects p SET deleted_at = sales_internal.now() WHERE p.company_id = company AND p.prospect_id = drop;
END
$$;
COMMENT ON FUNCTION sales.merge_prospects(uuid, uuid) IS
    'Makes one prospect of two: keep gets the history of drop and fills its empty fields from it; drop is soft-deleted';
REVOKE ALL ON FUNCTION sales.merge_prospects(uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.merge_prospects(uuid, uuid) TO sales_app;
