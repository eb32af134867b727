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
CREATE INDEX sessions_address_idx ON sales_internal.sessions (ip_address);
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

