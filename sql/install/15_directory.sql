-- Companies, roles, users, settings.

CREATE TYPE sales.subscription_plan AS ENUM ('starter', 'business', 'enterprise');
COMMENT ON TYPE sales.subscription_plan IS 'What a company has subscribed to';
CREATE TYPE sales.subscription_status AS ENUM ('active', 'suspended', 'cancelled');
COMMENT ON TYPE sales.subscription_status IS
    'active: reads and writes; suspended: reads only; cancelled: neither';

CREATE TABLE sales.companies (
    company_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    name varchar(100) NOT NULL CHECK (name <> ''),
    domain varchar(50) NOT NULL UNIQUE CHECK (domain ~ '^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$'),
    subscription_plan sales.subscription_plan NOT NULL DEFAULT 'starter',
    subscription_status sales.subscription_status NOT NULL DEFAULT 'active',
    language varchar(5) NOT NULL DEFAULT 'en'
        CONSTRAINT companies_language_check CHECK (language IN ('fr', 'en', 'it', 'es', 'de')),
    timezone varchar(50) NOT NULL DEFAULT 'UTC'
        CONSTRAINT companies_timezone_check CHECK (sales.is_timezone(timezone)),
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE sales.companies IS 'Tenants: the companies that subscribe to the assistant';
COMMENT ON COLUMN sales.companies.company_id IS 'Key of the tenant';
COMMENT ON COLUMN sales.companies.name IS 'Name of the company';
COMMENT ON COLUMN sales.companies.domain IS 'E-mail domain, such as company.com; the first part of a login';
COMMENT ON COLUMN sales.companies.subscription_plan IS 'Plan: starter, business, enterprise';
COMMENT ON COLUMN sales.companies.subscription_status IS 'active, suspended (reads only) or cancelled (no access)';
COMMENT ON COLUMN sales.companies.language IS 'Language of the interface: fr, en, it, es, de';
COMMENT ON COLUMN sales.companies.timezone IS 'IANA zone name; days of all metrics are days in this zone';
COMMENT ON COLUMN sales.companies.created_at IS 'When the company was made';
COMMENT ON COLUMN sales.companies.updated_at IS 'When the row last changed';

CREATE TABLE sales.roles (
    role_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    name varchar(50) NOT NULL,
    description text,
    permissions jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(permissions) = 'object'),
    is_system boolean NOT NULL DEFAULT false,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (company_id, name),
    UNIQUE (company_id, role_id)
);
COMMENT ON TABLE sales.roles IS 'Roles of a company''s users and what each may do';
COMMENT ON COLUMN sales.roles.role_id IS 'Key of the role';
COMMENT ON COLUMN sales.roles.company_id IS 'Tenant';
COMMENT ON COLUMN sales.roles.name IS 'Name, unique in the company: admin, manager, seller, viewer or the company''s own';
COMMENT ON COLUMN sales.roles.description IS 'What the role is for';
COMMENT ON COLUMN sales.roles.permissions IS
    'Table name or * to a list of read, create, update, delete, approve, export, manage; * adds to each table''s own';
COMMENT ON COLUMN sales.roles.is_system IS 'Made with the company; cannot be removed or renamed';
COMMENT ON COLUMN sales.roles.created_at IS 'When the role was made';

CREATE TABLE sales.users (
    user_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    email varchar(100) NOT NULL CHECK (email <> ''),
    password_hash varchar(255),
    first_name varchar(50),
    last_name varchar(50),
    role_id uuid NOT NULL,
    language varchar(5)
        CONSTRAINT users_language_check CHECK (language IN ('fr', 'en', 'it', 'es', 'de')),
    is_active boolean NOT NULL DEFAULT true,
    last_login timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (company_id, user_id),
    CONSTRAINT users_company_id_email_key UNIQUE (company_id, email),
    FOREIGN KEY (company_id, role_id) REFERENCES sales.roles (company_id, role_id)
);
CREATE UNIQUE INDEX users_company_id_lower_email_key ON sales.users (company_id, lower(email));
COMMENT ON TABLE sales.users IS 'Users of a company';
COMMENT ON COLUMN sales.users.user_id IS 'Key of the user';
COMMENT ON COLUMN sales.users.company_id IS 'Tenant';
COMMENT ON COLUMN sales.users.email IS 'E-mail address, unique in the company whatever its case';
COMMENT ON COLUMN sales.users.password_hash IS 'yescrypt or bcrypt hash, set by sales.set_password(); no application can read it';
COMMENT ON COLUMN sales.users.first_name IS 'First name';
COMMENT ON COLUMN sales.users.last_name IS 'Last name';
COMMENT ON COLUMN sales.users.role_id IS 'Role, which gives the permissions';
COMMENT ON COLUMN sales.users.language IS 'Own choice of language; null: the company''s';
COMMENT ON COLUMN sales.users.is_active IS 'False: cannot log in, and open sessions end';
COMMENT ON COLUMN sales.users.last_login IS 'When the user last logged in';
COMMENT ON COLUMN sales.users.created_at IS 'When the user was made';

CREATE TYPE sales.setting_data_type AS ENUM ('string', 'integer', 'boolean', 'json', 'encrypted');
COMMENT ON TYPE sales.setting_data_type IS 'What the text of a setting must parse as';

CREATE TABLE sales.system_settings (
    setting_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    category varchar(50) NOT NULL,
    key_name varchar(100) NOT NULL,
    value text,
    data_type sales.setting_data_type NOT NULL DEFAULT 'string',
    is_user_configurable boolean NOT NULL DEFAULT true,
    description text,
    updated_by uuid,
    updated_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT system_settings_key UNIQUE NULLS NOT DISTINCT (company_id, category, key_name),
    FOREIGN KEY (company_id, updated_by) REFERENCES sales.users (company_id, user_id)
);
COMMENT ON TABLE sales.system_settings IS
    'Settings, of one company or (company_id null) of the platform; read them with sales.setting()';
COMMENT ON COLUMN sales.system_settings.setting_id IS 'Key of the setting';
COMMENT ON COLUMN sales.system_settings.company_id IS 'Tenant; null for a setting of the whole platform';
COMMENT ON COLUMN sales.system_settings.category IS 'ai, email, security, billing, privacy and so on';
COMMENT ON COLUMN sales.system_settings.key_name IS 'Name within the category';
COMMENT ON COLUMN sales.system_settings.value IS 'The value as text, checked against data_type; encrypted values are never shown';
COMMENT ON COLUMN sales.system_settings.data_type IS 'string, integer, boolean, json or encrypted';
COMMENT ON COLUMN sales.system_settings.is_user_configurable IS 'May a company change this key for itself?';
COMMENT ON COLUMN sales.system_settings.description IS 'What the setting does';
COMMENT ON COLUMN sales.system_settings.updated_by IS 'User who last changed it';
COMMENT ON COLUMN sales.system_settings.updated_at IS 'When it last changed';

-- A company names itself; plan, status and domain are the platform's to change.
CALL sales_internal.protect_table('companies', 'company_id', commands => '{select}');
GRANT UPDATE (name, language, timezone) ON sales.companies TO sales_app;
CALL sales_internal.protect_table('roles', 'role_id');
CALL sales_internal.protect_table('users', 'user_id', hidden => '{password_hash}');
CALL sales_internal.protect_table('system_settings', 'setting_id', hidden => '{value}');
-- Values may be read (an encrypted one is ciphertext); the audit log keeps none.
GRANT SELECT (value) ON sales.system_settings TO sales_app;

-- Settings of the platform have no company: sales_admin alone sees and changes
-- them as rows.  Companies read them through sales.setting().
DO $$
DECLARE
    policy record;
    platform CONSTANT text := 'company_id IS NULL AND pg_catalog.pg_has_role(current_user, ''sales_admin'', ''USAGE'')';
BEGIN
    FOR policy IN SELECT p.polname, pg_get_expr(p.polqual, p.polrelid) AS visible, pg_get_expr(p.polwithcheck, p.polrelid) AS checked
                  FROM pg_catalog.pg_policy p
                  WHERE p.polrelid = 'sales.system_settings'::regclass AND NOT p.polpermissive
    LOOP
        EXECUTE format('ALTER POLICY %I ON sales.system_settings', policy.polname)
             || coalesce(' USING (' || policy.visible || ' OR ' || platform || ')', '')
             || coalesce(' WITH CHECK (' || policy.checked || ' OR ' || platform || ')', '');
    END LOOP;
END
$$;
GRANT SELECT, INSERT, UPDATE, DELETE ON sales.system_settings TO sales_admin;

CREATE FUNCTION sales_internal.seal(plain text, owner text) RETURNS text
    AS 'MODULE_PATHNAME', 'sales_seal'
    LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION sales_internal.seal(text, text) IS
    'Encrypts a secret, bound to its owner (company|table|row)';
REVOKE ALL ON FUNCTION sales_internal.seal(text, text) FROM PUBLIC;

-- Is the value what data_type says, and may the company set this key at all?
CREATE FUNCTION sales_internal.check_setting() RETURNS trigger
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
CREATE TRIGGER check_setting BEFORE INSERT OR UPDATE OR DELETE ON sales.system_settings
    FOR EACH ROW EXECUTE FUNCTION sales_internal.check_setting();

-- Sessions that login() has opened, and roles that bind_role() has bound.
CREATE TABLE sales_internal.sessions (
    session_id uuid PRIMARY KEY,
    company_id uuid NOT NULL,
    user_id uuid NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz NOT NULL,
    revoked_at timestamptz,
    ip_address inet,
    user_agent text,
    FOREIGN KEY (company_id, user_id) REFERENCES sales.users (company_id, user_id) ON DELETE CASCADE
);
CREATE INDEX sessions_user_idx ON sales_internal.sessions (company_id, user_id);
CREATE INDEX sessions_expires_idx ON sales_internal.sessions (expires_at);
COMMENT ON TABLE sales_internal.sessions IS
    'Sessions opened by login(); not dumped: a restored database asks its users to log in again';

CREATE TABLE sales_internal.bound_roles (
    role_name name PRIMARY KEY,
    company_id uuid NOT NULL REFERENCES sales.companies ON DELETE CASCADE,
    user_id uuid,
    bound_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (company_id, user_id) REFERENCES sales.users (company_id, user_id) ON DELETE CASCADE
);
COMMENT ON TABLE sales_internal.bound_roles IS
    'Roles bound to a company by bind_role(); not dumped: the signed setting belongs to this cluster''s key';

-- Outside identity providers whose tokens use_session() accepts.
CREATE TABLE sales_internal.issuers (
    issuer text PRIMARY KEY CHECK (issuer <> '' AND issuer <> 'sales_assistant'),
    jwks jsonb NOT NULL,
    claims jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(claims) = 'object'),
    trusted_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE sales_internal.issuers IS 'Outside identity providers: their keys, and claims that a token must carry';
SELECT sales_internal.dump_table('sales_internal.issuers');

CREATE FUNCTION sales_internal.revoke(id uuid, company uuid) RETURNS void
    AS 'MODULE_PATHNAME', 'sales_revoke'
    LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION sales_internal.revoke(uuid, uuid) IS
    'At commit makes every context of this company, or this user or session of it, worthless in all sessions';
REVOKE ALL ON FUNCTION sales_internal.revoke(uuid, uuid) FROM PUBLIC;

-- A bound role carries what was true when it was bound: it is bound again, or no
-- more where its company or user has ended.
CREATE FUNCTION sales_internal.rebind_role(name name) RETURNS void
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

CREATE FUNCTION sales_internal.rebind_roles(company uuid, bound_user uuid DEFAULT NULL) RETURNS void
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
CREATE FUNCTION sales_internal.revoke_contexts() RETURNS trigger
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
CREATE TRIGGER revoke_contexts AFTER UPDATE OF is_active, role_id ON sales.users FOR EACH ROW
    WHEN (NEW.is_active <> OLD.is_active OR NEW.role_id <> OLD.role_id)
    EXECUTE FUNCTION sales_internal.revoke_contexts();
CREATE TRIGGER revoke_contexts AFTER UPDATE OF permissions ON sales.roles FOR EACH ROW
    WHEN (NEW.permissions <> OLD.permissions) EXECUTE FUNCTION sales_internal.revoke_contexts();
CREATE TRIGGER revoke_contexts AFTER UPDATE OF subscription_status ON sales.companies FOR EACH ROW
    WHEN (NEW.subscription_status <> OLD.subscription_status) EXECUTE FUNCTION sales_internal.revoke_contexts();

-- Roles give power, and so does the choice of a user's role, password or
-- activity: within a company that needs the permission manage, whatever else
-- the role allows, so that nobody can raise himself.  Sessions without a
-- context (the DBA's, a restore) are not asked.
CREATE FUNCTION sales_internal.guard_roles() RETURNS trigger
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
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OR DELETE ON sales.roles
    FOR EACH ROW EXECUTE FUNCTION sales_internal.guard_roles();

CREATE FUNCTION sales_internal.guard_users() RETURNS trigger
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
CREATE TRIGGER guard BEFORE INSERT OR UPDATE OF email, role_id, is_active, password_hash OR DELETE ON sales.users
    FOR EACH ROW EXECUTE FUNCTION sales_internal.guard_users();

-- A company cannot lock itself out.
CREATE FUNCTION sales_internal.keep_a_manager() RETURNS trigger
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
CREATE TRIGGER keep_a_manager AFTER UPDATE OF role_id, is_active OR DELETE ON sales.users
    FOR EACH STATEMENT EXECUTE FUNCTION sales_internal.keep_a_manager();
CREATE TRIGGER keep_a_manager AFTER UPDATE OF permissions ON sales.roles
    FOR EACH STATEMENT EXECUTE FUNCTION sales_internal.keep_a_manager();

-- What a setting is when nobody has set it.
CREATE TABLE sales_internal.setting_defaults (
    key text PRIMARY KEY,
    value text,
    description text NOT NULL
);
COMMENT ON TABLE sales_internal.setting_defaults IS 'Built-in defaults of settings; see sales.setting()';
INSERT INTO sales_internal.setting_defaults VALUES
    ('billing.currency', 'EUR', 'Currency of deal values, costs and revenue'),
    ('billing.monthly_cost', '0', 'What the platform costs the company in a month; counts in the ROI'),
    ('security.session_minutes', '60', 'Life of a session token of login()');

-- The value of category.key_name: the company's, else the platform's, else built in.
CREATE FUNCTION sales_internal.setting_of(company uuid, key text) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(
        (SELECT s.value FROM sales.system_settings s
         WHERE s.company_id = company AND s.category = split_part(key, '.', 1)
           AND s.key_name = substr(key, strpos(key, '.') + 1) AND s.data_type <> 'encrypted'),
        (SELECT s.value FROM sales.system_settings s
         WHERE s.company_id IS NULL AND s.category = split_part(key, '.', 1)
           AND s.key_name = substr(key, strpos(key, '.') + 1) AND s.data_type <> 'encrypted'),
        (SELECT d.value FROM sales_internal.setting_defaults d WHERE d.key = setting_of.key))
$$;
COMMENT ON FUNCTION sales_internal.setting_of(uuid, text) IS
    'Value of a setting for a company: its own, else the platform''s, else built in';
REVOKE ALL ON FUNCTION sales_internal.setting_of(uuid, text) FROM PUBLIC;

