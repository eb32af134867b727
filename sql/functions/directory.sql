-- Directory: companies.

-- The ERD writes a domain as in an address, @company.com: it is kept without the @, in lower case.
CREATE OR REPLACE FUNCTION sales_internal.plain_domain(domain text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
RETURN ltrim(lower(btrim(domain)), '@');
COMMENT ON FUNCTION sales_internal.plain_domain(text) IS 'A company''s domain as it is kept: lower case, without a leading @';
REVOKE ALL ON FUNCTION sales_internal.plain_domain(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.normal_domain() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    NEW.domain := sales_internal.plain_domain(NEW.domain);
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sales_internal.normal_domain() IS 'Trigger: a company''s domain is kept in lower case, without a leading @';
REVOKE ALL ON FUNCTION sales_internal.normal_domain() FROM PUBLIC;
CREATE OR REPLACE TRIGGER normal_domain BEFORE INSERT OR UPDATE OF domain ON sales.companies
    FOR EACH ROW EXECUTE FUNCTION sales_internal.normal_domain();

CREATE OR REPLACE FUNCTION sales_internal.make_system_roles(company uuid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    lead_permissions CONSTANT jsonb := '{"*": ["read", "export"]}'::jsonb || (
        SELECT jsonb_object_agg(t, '["create", "update", "delete", "approve"]'::jsonb)
        FROM unnest('{products,product_pricing,product_benefits,templates,addresses,prospects,messages,tasks,interactions,
                      conversion_funnel,enrichments,import_jobs,import_uploads,email_campaigns,campaign_steps,suppressions,
                      consents,success_reports,improvement_suggestions}'::text[]) t);
BEGIN
    INSERT INTO sales.roles (role_id, company_id, name, description, permissions, is_system) VALUES
        (sales.uuidv7(), company, 'admin', 'Everything',
         '{"*": ["read", "create", "update", "delete", "approve", "export", "manage"]}', true),
        (sales.uuidv7(), company, 'manager', 'Leads the sellers: all of the sales work, approval and export',
         lead_permissions, true),
        (sales.uuidv7(), company, 'seller', 'Works on prospects',
         '{"*": ["read"], "prospects": ["create", "update"], "addresses": ["create", "update"],
           "messages": ["create", "update"], "tasks": ["create", "update"],
           "interactions": ["create", "update"], "conversion_funnel": ["create", "update"],
           "enrichments": ["create", "update"], "consents": ["create", "update"], "suppressions": ["create"]}', true),
        (sales.uuidv7(), company, 'viewer', 'Reads only', '{"*": ["read"]}', true)
    ON CONFLICT (company_id, name) DO NOTHING;
END
$$;
COMMENT ON FUNCTION sales_internal.make_system_roles(uuid) IS 'Gives a company the roles admin, manager, seller and viewer, where it has none of the name';
REVOKE ALL ON FUNCTION sales_internal.make_system_roles(uuid) FROM PUBLIC;

-- Of a company that the DBA inserts by hand.  On a shard of a cluster a trigger may not write to
-- another table; there create_company() makes the roles.
CREATE OR REPLACE FUNCTION sales_internal.company_made() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF TG_TABLE_NAME = 'companies' THEN
        PERFORM sales_internal.make_system_roles(NEW.company_id);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sales_internal.company_made() IS 'Trigger: a new company has the system roles, however it was made';
REVOKE ALL ON FUNCTION sales_internal.company_made() FROM PUBLIC;
CREATE OR REPLACE TRIGGER company_made AFTER INSERT ON sales.companies
    FOR EACH ROW EXECUTE FUNCTION sales_internal.company_made();

CREATE OR REPLACE FUNCTION sales.create_company(
    name text, domain text, plan text DEFAULT 'starter', language text DEFAULT 'en',
    timezone text DEFAULT 'UTC', admin_email text DEFAULT NULL, admin_password text DEFAULT NULL)
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    new_company uuid := sales.uuidv7();
    plain CONSTANT text := sales_internal.plain_domain(create_company.domain);
BEGIN
    PERFORM sales_internal.note_key();
    PERFORM sales_internal.claim_domain(new_company, plain);
    INSERT INTO sales.companies (company_id, name, domain, subscription_plan, language, timezone)
    VALUES (new_company, create_company.name, plain,
            plan::sales.subscription_plan, create_company.language, create_company.timezone);
    PERFORM sales_internal.make_system_roles(new_company);
    IF admin_email IS NOT NULL THEN
        INSERT INTO sales.users (company_id, email, role_id, language, password_hash)
        SELECT new_company, lower(admin_email), r.role_id, create_company.language, sales_internal.hash_password(admin_password)
        FROM sales.roles r WHERE r.company_id = new_company AND r.name = 'admin';
    END IF;
    RETURN new_company;
EXCEPTION
    WHEN unique_violation THEN
        RAISE unique_violation USING
            MESSAGE = format('a company with the domain "%s" is there already', plain),
            HINT = 'Each company has a domain of its own.';
    WHEN invalid_text_representation OR check_violation THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('cannot make the company: %s', SQLERRM),
            HINT = 'Plan: starter, business or enterprise; language: fr, en, it, es or de; timezone: an IANA name such as Europe/Paris; domain: letters, digits, dots and hyphens, such as company.com.';
END
$$;
COMMENT ON FUNCTION sales.create_company(text, text, text, text, text, text, text) IS
    'Makes a company with the roles admin, manager, seller and viewer and its first user';
REVOKE ALL ON FUNCTION sales.create_company(text, text, text, text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.create_company(text, text, text, text, text, text, text) TO sales_admin;

CREATE OR REPLACE FUNCTION sales_internal.hash_password(password text) RETURNS text
    AS 'MODULE_PATHNAME', 'sales_hash_password'
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION sales_internal.hash_password(text) IS 'A new yescrypt hash';
REVOKE ALL ON FUNCTION sales_internal.hash_password(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.setting(key text) RETURNS text
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF strpos(key, '.') = 0 THEN
        RAISE invalid_parameter_value USING
            MESSAGE = format('"%s" is no key of a setting', left(key, 100)),
            HINT = 'Write it as category.key_name, such as billing.currency.';
    END IF;
    RETURN sales_internal.setting_of(sales.current_company_id(), key);
END
$$;
COMMENT ON FUNCTION sales.setting(text) IS
    'Value of the setting category.key_name: the company''s, else the platform''s, else built in; null for encrypted ones';
REVOKE ALL ON FUNCTION sales.setting(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.setting(text) TO sales_app, sales_bi, sales_admin;

CREATE OR REPLACE FUNCTION sales.delete_company(company_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bound record;
BEGIN
    IF NOT EXISTS (SELECT FROM sales.companies c WHERE c.company_id = delete_company.company_id) THEN
        RAISE no_data_found USING MESSAGE = format('there is no company %s', company_id);
    END IF;
    FOR bound IN SELECT role_name FROM sales_internal.bound_roles b
                 WHERE b.company_id = delete_company.company_id
    LOOP
        IF to_regrole(quote_ident(bound.role_name)) IS NOT NULL THEN
            PERFORM sales.unbind_role(quote_ident(bound.role_name)::regrole);
        END IF;
    END LOOP;
    -- Who recomputes its metrics must not wait for rows that go, while this waits for rows that they hold.
    PERFORM sales_internal.take_lock(sales_internal.metrics_lock_key(delete_company.company_id));
    PERFORM sales_internal.revoke(company_id, company_id), sales_internal.audit_open_door();
    PERFORM sales_internal.delete_company_rows(company_id);
    PERFORM sales_internal.forget_on_coordinator(company_id);
    RAISE LOG 'sales_assistant: company % was removed by %', company_id, session_user;
END
$$;
COMMENT ON FUNCTION sales.delete_company(uuid) IS
    'Removes a company and all its rows, and ends the sessions of roles bound to it';
REVOKE ALL ON FUNCTION sales.delete_company(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.delete_company(uuid) TO sales_admin;
