-- Directory: companies, their settings, and what guards users and roles.

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
    PERFORM sales_internal.note_progress('delete_company', delete_company.company_id, 'waiting for writers');
    -- Who recomputes its metrics must not wait for rows that go, while this waits for rows that they hold.
    PERFORM sales_internal.take_lock(sales_internal.metrics_lock_key(delete_company.company_id));
    PERFORM sales_internal.revoke(company_id, company_id), sales_internal.audit_open_door();
    PERFORM sales_internal.delete_company_rows(company_id);
    PERFORM sales_internal.forget_on_coordinator(company_id), sales_internal.end_progress('delete_company');
    RAISE LOG 'sales_assistant: company % was removed by %', company_id, session_user;
END
$$;
COMMENT ON FUNCTION sales.delete_company(uuid) IS
    'Removes a company and all its rows, and ends the sessions of roles bound to it';
REVOKE ALL ON FUNCTION sales.delete_company(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.delete_company(uuid) TO sales_admin;

-- --- settings ---

-- Is the value what data_type says, and may the company set this key at all?
CREATE OR REPLACE FUNCTION sales_internal.check_setting() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := NEW.category || '.' || NEW.key_name;
    platform sales.system_settings;
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF NOT OLD.is_user_configurable AND OLD.company_id = sales_internal.acting_company() THEN
            RAISE insufficient_privilege USING MESSAGE = format('the setting %s.%s is not the company''s to change', OLD.category, OLD.key_name),
                HINT = 'It is marked is_user_configurable = false; ask the operator of the platform.';
        END IF;
        RETURN OLD;
    END IF;
    IF NEW.company_id IS NOT NULL AND NEW.company_id = sales.current_company_id() THEN
        SELECT * INTO platform FROM sales.system_settings g
        WHERE g.company_id IS NULL AND g.category = NEW.category AND g.key_name = NEW.key_name;
        IF NOT coalesce(platform.is_user_configurable, true)
           OR (TG_OP = 'UPDATE' AND NOT OLD.is_user_configurable) OR NOT NEW.is_user_configurable THEN
            RAISE insufficient_privilege USING MESSAGE = format('the setting %s is not the company''s to change', name),
                HINT = 'It is marked is_user_configurable = false; ask the operator of the platform.';
        END IF;
        IF platform.setting_id IS NOT NULL AND NEW.data_type <> platform.data_type THEN
            RAISE invalid_parameter_value USING
                MESSAGE = format('the setting %s is of type %s', name, platform.data_type),
                HINT = 'Give it the data_type that the platform''s setting has.';
        END IF;
        NEW.updated_by := sales.current_user_id();
    END IF;
    IF NEW.value IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.value IS DISTINCT FROM OLD.value
                                  OR NEW.data_type <> OLD.data_type) THEN
        BEGIN
            CASE NEW.data_type
                WHEN 'integer' THEN PERFORM NEW.value::bigint;
                WHEN 'boolean' THEN PERFORM NEW.value::boolean;
                WHEN 'json' THEN PERFORM NEW.value::jsonb;
                WHEN 'encrypted' THEN
                    NEW.value := sales_internal.seal(NEW.value, format('%s|system_settings|%s', NEW.company_id, NEW.setting_id));
                ELSE NULL;
            END CASE;
        EXCEPTION WHEN data_exception THEN
            RAISE invalid_parameter_value USING
                MESSAGE = format('the value of %s is no %s', name, NEW.data_type),
                HINT = 'Change the value or data_type.';
        END;
    END IF;
    NEW.updated_at := sales_internal.now();
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sales_internal.check_setting() IS
    'Trigger: a setting''s value fits its data_type, secrets are encrypted, and a company changes only what it may';
REVOKE ALL ON FUNCTION sales_internal.check_setting() FROM PUBLIC;
CREATE OR REPLACE TRIGGER check_setting BEFORE INSERT OR UPDATE OR DELETE ON sales.system_settings
    FOR EACH ROW EXECUTE FUNCTION sales_internal.check_setting();

-- --- users and roles: contexts that no longer hold, and who may change whom ---

CREATE OR REPLACE FUNCTION sales_internal.revoke(id uuid, company uuid) RETURNS void
    AS 'MODULE_PATHNAME', 'sales_revoke'
    LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION sales_internal.revoke(uuid, uuid) IS
    'At commit makes every context of this company, or this user or session of it, worthless in all sessions';
REVOKE ALL ON FUNCTION sales_internal.revoke(uuid, uuid) FROM PUBLIC;

-- A bound role carries what was true when it was bound: it is bound again, or no
-- more where its company or user has ended.
CREATE OR REPLACE FUNCTION sales_internal.rebind_role(name name) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bound record;
BEGIN
    SELECT b.role_name, b.company_id, b.user_id,
           c.subscription_status <> 'cancelled' AND coalesce(u.is_active, b.user_id IS NULL) AS stays
    INTO bound
    FROM sales_internal.bound_roles b
    JOIN sales.companies c ON c.company_id = b.company_id
    LEFT JOIN sales.users u ON u.company_id = b.company_id AND u.user_id = b.user_id
    WHERE b.role_name = rebind_role.name;
    IF NOT FOUND OR to_regrole(quote_ident(bound.role_name)) IS NULL THEN
        RETURN;
    ELSIF bound.stays THEN
        PERFORM sales.bind_role(quote_ident(bound.role_name)::regrole, bound.company_id, bound.user_id);
    ELSE
        PERFORM sales.unbind_role(quote_ident(bound.role_name)::regrole);
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.rebind_role(name) IS 'Signs the context of a bound role afresh, or frees it where its company or user has ended';
REVOKE ALL ON FUNCTION sales_internal.rebind_role(name) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.rebind_roles(company uuid, bound_user uuid DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF sales_internal.on_shard() THEN
        -- Roles are bound on the coordinator; it also revokes there what was revoked on this node.
        INSERT INTO sales_internal.shard_requests (company_id, kind, args)
        VALUES (company, 'revoke', jsonb_build_object('id', coalesce(bound_user, company), 'user_id', bound_user));
        RETURN;
    END IF;
    PERFORM sales_internal.rebind_role(b.role_name) FROM sales_internal.bound_roles b
    WHERE b.company_id = company AND (bound_user IS NULL OR b.user_id = bound_user);
END
$$;
COMMENT ON FUNCTION sales_internal.rebind_roles(uuid, uuid) IS
    'Signs the contexts of bound roles afresh after a change of the company or the user';
REVOKE ALL ON FUNCTION sales_internal.rebind_roles(uuid, uuid) FROM PUBLIC;

-- What a context says no longer holds: a user was deactivated or given another
-- role, a role's permissions changed, a company was suspended, ended or resumed.
CREATE OR REPLACE FUNCTION sales_internal.revoke_contexts() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    affected uuid;
BEGIN
    IF TG_TABLE_NAME = 'companies' THEN
        UPDATE sales_internal.sessions SET revoked_at = sales_internal.now()
        WHERE company_id = NEW.company_id AND revoked_at IS NULL;
        PERFORM sales_internal.revoke(NEW.company_id, NEW.company_id), sales_internal.rebind_roles(NEW.company_id);
        RETURN NULL;
    END IF;
    FOR affected IN
        SELECT u.user_id FROM sales.users u
        WHERE u.company_id = NEW.company_id
          AND CASE TG_TABLE_NAME WHEN 'users' THEN u.user_id = (to_jsonb(NEW) ->> 'user_id')::uuid
                                 ELSE u.role_id = (to_jsonb(NEW) ->> 'role_id')::uuid END
    LOOP
        -- A token stays good after a change of permissions: use_session() reads them anew.
        IF TG_TABLE_NAME = 'users' AND NOT (to_jsonb(NEW) ->> 'is_active')::boolean THEN
            UPDATE sales_internal.sessions SET revoked_at = sales_internal.now()
            WHERE company_id = NEW.company_id AND user_id = affected AND revoked_at IS NULL;
        END IF;
        PERFORM sales_internal.revoke(affected, NEW.company_id), sales_internal.rebind_roles(NEW.company_id, affected);
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sales_internal.revoke_contexts() IS
    'Trigger: contexts that say what no longer holds are revoked, and bound roles signed afresh';
REVOKE ALL ON FUNCTION sales_internal.revoke_contexts() FROM PUBLIC;
CREATE OR REPLACE TRIGGER revoke_contexts AFTER UPDATE OF is_active, role_id ON sales.users FOR EACH ROW
    WHEN (NEW.is_active <> OLD.is_active OR NEW.role_id <> OLD.role_id)
    EXECUTE FUNCTION sales_internal.revoke_contexts();
CREATE OR REPLACE TRIGGER revoke_contexts AFTER UPDATE OF permissions ON sales.roles FOR EACH ROW
    WHEN (NEW.permissions <> OLD.permissions) EXECUTE FUNCTION sales_internal.revoke_contexts();
CREATE OR REPLACE TRIGGER revoke_contexts AFTER UPDATE OF subscription_status ON sales.companies FOR EACH ROW
    WHEN (NEW.subscription_status <> OLD.subscription_status) EXECUTE FUNCTION sales_internal.revoke_contexts();

-- Roles give power, and so does the choice of a user's role, password or
-- activity: within a company that needs the permission manage, whatever else
-- the role allows, so that nobody can raise himself.  Sessions without a
-- context (the DBA's, a restore) are not asked.
CREATE OR REPLACE FUNCTION sales_internal.guard_roles() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    within boolean := sales_internal.acting_company() IS NOT NULL;
    wrong text;
BEGIN
    IF within THEN
        PERFORM sales_internal.require('roles', 'manage');
        IF TG_OP <> 'INSERT' AND OLD.is_system AND (TG_OP = 'DELETE' OR NEW.name <> OLD.name OR NOT NEW.is_system) THEN
            RAISE insufficient_privilege USING MESSAGE = format('the role %s was made with the company and stays', OLD.name),
                HINT = 'Make a role of your own beside it, and give that to users.';
        ELSIF TG_OP = 'INSERT' AND NEW.is_system THEN
            NEW.is_system := false;
        END IF;
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'INSERT' OR NEW.permissions <> OLD.permissions THEN
        SELECT problem INTO wrong
        FROM jsonb_each(NEW.permissions) p
        CROSS JOIN LATERAL (SELECT CASE
            WHEN p.key <> '*' AND to_regclass('sales.' || quote_ident(p.key)) IS NULL THEN format('there is no table "%s"', p.key)
            WHEN jsonb_typeof(p.value) <> 'array' THEN format('what is allowed on "%s" is no list', p.key)
            WHEN NOT p.value <@ '["read", "create", "update", "delete", "approve", "export", "manage"]' THEN format('"%s" allows %s', p.key, p.value)
            END) x (problem)
        WHERE problem IS NOT NULL LIMIT 1;
        IF wrong IS NOT NULL THEN
            RAISE invalid_parameter_value USING MESSAGE = 'these permissions cannot be understood', DETAIL = wrong || '.',
                HINT = 'Map a table of the schema sales, or *, to a list out of read, create, update, delete, approve, export, manage.';
        END IF;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sales_internal.guard_roles() IS
    'Trigger: permissions are well formed, a company changes its roles only by who may manage them, and keeps those it was made with';
REVOKE ALL ON FUNCTION sales_internal.guard_roles() FROM PUBLIC;
CREATE OR REPLACE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON sales.roles
    FOR EACH ROW EXECUTE FUNCTION sales_internal.guard_roles();

CREATE OR REPLACE FUNCTION sales_internal.guard_users() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF sales_internal.acting_company() IS NOT NULL
       AND (TG_OP <> 'UPDATE' OR NEW.role_id <> OLD.role_id OR NEW.is_active <> OLD.is_active OR lower(NEW.email) <> lower(OLD.email)
            OR (NEW.password_hash IS DISTINCT FROM OLD.password_hash AND NEW.user_id IS DISTINCT FROM sales.current_user_id()))
       AND NOT sales.has_permission('users', 'manage') THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'users, their addresses, roles, passwords and activity are changed by who may manage users',
            HINT = 'The user''s role must allow "manage" on "users"; one''s own password is changed by sales.set_password().';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$$;
COMMENT ON FUNCTION sales_internal.guard_users() IS
    'Trigger: within a company, what gives power over an account is changed only by who may manage users';
REVOKE ALL ON FUNCTION sales_internal.guard_users() FROM PUBLIC;
CREATE OR REPLACE TRIGGER guard BEFORE INSERT OR UPDATE OF email, role_id, is_active, password_hash OR DELETE ON sales.users
    FOR EACH ROW EXECUTE FUNCTION sales_internal.guard_users();

-- A company cannot lock itself out.
CREATE OR REPLACE FUNCTION sales_internal.keep_a_manager() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.acting_company();
BEGIN
    IF company IS NOT NULL AND NOT EXISTS (
        SELECT FROM sales.users u JOIN sales.roles r ON r.company_id = u.company_id AND r.role_id = u.role_id
        WHERE u.company_id = company AND u.is_active
          AND (r.permissions -> '*' ? 'manage' OR r.permissions -> 'users' ? 'manage'))
    THEN
        RAISE check_violation USING MESSAGE = 'nobody would be left who may manage the company''s users',
            HINT = 'Give another active user a role with manage on users first.';
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sales_internal.keep_a_manager() IS 'Trigger: the last active user who may manage users stays one';
REVOKE ALL ON FUNCTION sales_internal.keep_a_manager() FROM PUBLIC;
CREATE OR REPLACE TRIGGER keep_a_manager AFTER UPDATE OF role_id, is_active OR DELETE ON sales.users
    FOR EACH STATEMENT EXECUTE FUNCTION sales_internal.keep_a_manager();
CREATE OR REPLACE TRIGGER keep_a_manager AFTER UPDATE OF permissions ON sales.roles
    FOR EACH STATEMENT EXECUTE FUNCTION sales_internal.keep_a_manager();
