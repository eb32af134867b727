-- Directory: companies.

CREATE OR REPLACE FUNCTION sales.create_company(
    name text, domain text, plan text DEFAULT 'starter', language text DEFAULT 'en',
    timezone text DEFAULT 'UTC', admin_email text DEFAULT NULL, admin_password text DEFAULT NULL)
RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    new_company uuid := sales.uuidv7();
    admin_role uuid := sales.uuidv7();
BEGIN
    INSERT INTO sales.companies (company_id, name, domain, subscription_plan, language, timezone)
    VALUES (new_company, create_company.name, lower(create_company.domain),
            plan::sales.subscription_plan, create_company.language, create_company.timezone);
    INSERT INTO sales.roles (role_id, company_id, name, description, permissions, is_system) VALUES
        (admin_role, new_company, 'admin', 'Everything',
         '{"*": ["read", "create", "update", "delete", "approve", "export", "manage"]}', true),
        (sales.uuidv7(), new_company, 'manager', 'Leads the sellers: all of the sales work, approval and export',
         '{"*": ["read", "create", "update", "delete", "approve", "export"],
           "users": ["read"], "roles": ["read"]}', true),
        (sales.uuidv7(), new_company, 'seller', 'Works on prospects',
         '{"*": ["read"], "prospects": ["create", "update"], "addresses": ["create", "update"],
           "messages": ["create", "update"], "tasks": ["create", "update"],
           "interactions": ["create", "update"], "conversion_funnel": ["create", "update"],
           "enrichments": ["create", "update"]}', true),
        (sales.uuidv7(), new_company, 'viewer', 'Reads only', '{"*": ["read"]}', true);
    IF admin_email IS NOT NULL THEN
        INSERT INTO sales.users (company_id, email, role_id, language)
        VALUES (new_company, lower(admin_email), admin_role, create_company.language);
    END IF;
    RETURN new_company;
END
$$;
COMMENT ON FUNCTION sales.create_company(text, text, text, text, text, text, text) IS
    'Makes a company with the roles admin, manager, seller and viewer and its first user';
REVOKE ALL ON FUNCTION sales.create_company(text, text, text, text, text, text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.create_company(text, text, text, text, text, text, text) TO sales_admin;

