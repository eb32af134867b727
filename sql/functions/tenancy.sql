-- Tenancy: entering and leaving a tenant.

CREATE OR REPLACE FUNCTION sales.login(domain text, email text, password text, ip inet DEFAULT NULL, user_agent text DEFAULT NULL)
RETURNS text
    AS 'MODULE_PATHNAME', 'sales_login'
    LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION sales.login(text, text, text, inet, text) IS
    'Checks a user''s password and returns a signed session token for sales.use_session(); guesses are slowed down';
REVOKE ALL ON FUNCTION sales.login(text, text, text, inet, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.login(text, text, text, inet, text) TO sales_app;

CREATE OR REPLACE FUNCTION sales.set_password(user_id uuid, password text)
RETURNS void
    AS 'MODULE_PATHNAME', 'sales_set_password'
    LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION sales.set_password(uuid, text) IS
    'Stores a yescrypt hash and ends the user''s sessions; for oneself, or with permission manage on users';
REVOKE ALL ON FUNCTION sales.set_password(uuid, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.set_password(uuid, text) TO sales_app;

CREATE OR REPLACE FUNCTION sales.use_session(token text, is_local boolean DEFAULT true)
RETURNS uuid
    AS 'MODULE_PATHNAME', 'sales_use_session'
    LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION sales.use_session(text, boolean) IS
    'Checks a token of sales.login() and sets the tenant of the transaction (or session); returns the company';
REVOKE ALL ON FUNCTION sales.use_session(text, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.use_session(text, boolean) TO sales_app;

CREATE OR REPLACE FUNCTION sales.set_tenant(company_id uuid, user_id uuid DEFAULT NULL, is_local boolean DEFAULT true)
RETURNS void
    AS 'MODULE_PATHNAME', 'sales_set_tenant'
    LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION sales.set_tenant(uuid, uuid, boolean) IS
    'Sets the tenant and user of the transaction (or session); for servers that authenticate users themselves';
REVOKE ALL ON FUNCTION sales.set_tenant(uuid, uuid, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.set_tenant(uuid, uuid, boolean) TO sales_gateway;

CREATE OR REPLACE FUNCTION sales.bind_role(role regrole, company_id uuid, user_id uuid DEFAULT NULL)
RETURNS void
    AS 'MODULE_PATHNAME', 'sales_bind_role'
    LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION sales.bind_role(regrole, uuid, uuid) IS
    'From its next session on, the role is in this company from the first query; ends the role''s sessions; for BI tools';
REVOKE ALL ON FUNCTION sales.bind_role(regrole, uuid, uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.bind_role(regrole, uuid, uuid) TO sales_admin;

CREATE OR REPLACE FUNCTION sales.unbind_role(role regrole)
RETURNS void
    AS 'MODULE_PATHNAME', 'sales_unbind_role'
    LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION sales.unbind_role(regrole) IS
    'Takes back bind_role() and ends the role''s sessions';
REVOKE ALL ON FUNCTION sales.unbind_role(regrole) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.unbind_role(regrole) TO sales_admin;

CREATE OR REPLACE FUNCTION sales.logout()
RETURNS void
    AS 'MODULE_PATHNAME', 'sales_logout'
    LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION sales.logout() IS
    'Ends the session that the context came from: its token opens nothing any more';
REVOKE ALL ON FUNCTION sales.logout() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.logout() TO sales_app;

