-- Tenancy: entering and leaving a tenant.

CREATE OR REPLACE FUNCTION sales_internal.acting_company() RETURNS uuid
    AS 'MODULE_PATHNAME', 'sales_acting_company'
    LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.acting_company() IS
    'Company of whoever acts: of the context, or of one that SQL has left in this transaction; null: nobody''s, or a superuser''s';
REVOKE ALL ON FUNCTION sales_internal.acting_company() FROM PUBLIC;

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

CREATE OR REPLACE FUNCTION sales_internal.check_jwks(jwks jsonb) RETURNS text
    AS 'MODULE_PATHNAME', 'sales_check_jwks'
    LANGUAGE C IMMUTABLE STRICT;
COMMENT ON FUNCTION sales_internal.check_jwks(jsonb) IS 'What is wrong with a JSON Web Key Set; null when it can be used';
REVOKE ALL ON FUNCTION sales_internal.check_jwks(jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.trust_issuer(issuer text, jwks jsonb, claims jsonb DEFAULT '{}') RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    problem text := sales_internal.check_jwks(jwks);
BEGIN
    IF issuer IS NULL OR issuer IN ('', 'sales_assistant') THEN
        RAISE invalid_parameter_value USING MESSAGE = 'that is no issuer to trust',
            HINT = 'Give the value of the claim "iss", such as https://id.company.com/.';
    ELSIF jwks IS NULL THEN
        DELETE FROM sales_internal.issuers i WHERE i.issuer = trust_issuer.issuer;
        RETURN;
    ELSIF problem IS NOT NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the key set cannot be used', DETAIL = problem,
            HINT = 'Give the document that the issuer serves as its jwks_uri.';
    ELSIF jsonb_typeof(claims) <> 'object' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'claims must be a JSON object',
            HINT = 'Write what each token must carry, such as {"aud": "sales"}.';
    END IF;
    INSERT INTO sales_internal.issuers AS i (issuer, jwks, claims) VALUES (issuer, jwks, coalesce(claims, '{}'))
    ON CONFLICT ON CONSTRAINT issuers_pkey DO UPDATE SET jwks = excluded.jwks, claims = excluded.claims, trusted_at = now();
END
$$;
COMMENT ON FUNCTION sales.trust_issuer(text, jsonb, jsonb) IS
    'Has use_session() accept an outside issuer''s tokens (RS256, ES256, EdDSA) that carry these claims; jwks null: no longer';
REVOKE ALL ON FUNCTION sales.trust_issuer(text, jsonb, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.trust_issuer(text, jsonb, jsonb) TO sales_admin;

-- What a well-signed outside token says, and whom it names: the user by the
-- claim email (or a uuid in sub), the company by company_id, else domain, else
-- the domain of the e-mail address.  A minute's difference of clocks is let pass.
CREATE OR REPLACE FUNCTION sales_internal.accept_outside_token(
    payload jsonb, session uuid, may_write boolean, OUT company_id uuid, OUT user_id uuid, OUT expires_at timestamptz)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    moment timestamptz := sales_internal.now();
    wanted record;
    refused CONSTANT text := 'invalid session token';
    ended timestamptz;
BEGIN
    IF jsonb_typeof(payload -> 'exp') IS DISTINCT FROM 'number' THEN
        RAISE invalid_authorization_specification USING MESSAGE = refused, DETAIL = 'It has no expiry (exp).';
    END IF;
    expires_at := to_timestamp(least((payload ->> 'exp')::numeric, 253402300799)::double precision);
    IF expires_at < moment THEN
        RAISE invalid_authorization_specification USING MESSAGE = 'session token has expired',
            HINT = 'Get a new one from its issuer.';
    ELSIF jsonb_typeof(payload -> 'nbf') = 'number'
          AND (payload ->> 'nbf')::numeric > extract(epoch FROM moment) + 60 THEN
        RAISE invalid_authorization_specification USING MESSAGE = refused, DETAIL = 'It is not valid yet (nbf).';
    END IF;
    FOR wanted IN SELECT c.key, c.value FROM sales_internal.issuers i CROSS JOIN LATERAL jsonb_each(i.claims) c
                  WHERE i.issuer = payload ->> 'iss'
    LOOP
        IF NOT coalesce(payload -> wanted.key = wanted.value OR (jsonb_typeof(payload -> wanted.key) = 'array'
                        AND payload -> wanted.key @> jsonb_build_array(wanted.value)), false) THEN
            RAISE invalid_authorization_specification USING MESSAGE = refused,
                DETAIL = format('The claim "%s" is not what sales.trust_issuer() asks for.', wanted.key);
        END IF;
    END LOOP;

    SELECT u.company_id, u.user_id INTO company_id, user_id
    FROM sales.users u JOIN sales.companies c ON c.company_id = u.company_id
    WHERE c.subscription_status <> 'cancelled' AND u.is_active
      AND CASE WHEN payload ? 'company_id' THEN c.company_id::text = payload ->> 'company_id'
               ELSE c.domain = lower(coalesce(payload ->> 'domain', split_part(payload ->> 'email', '@', 2))) END
      AND CASE WHEN payload ? 'email' THEN lower(u.email) = lower(payload ->> 'email')
                    -- an address that its issuer has not verified names nobody
                    AND (NOT payload ? 'email_verified' OR lower(payload ->> 'email_verified') IS NOT DISTINCT FROM 'true')
               ELSE u.user_id::text = payload ->> 'sub' END;
    IF user_id IS NULL THEN
        RAISE invalid_authorization_specification USING MESSAGE = refused,
            DETAIL = 'It names no active user of a company.',
            HINT = 'The claims email (or sub) and company_id, domain or the domain of the address must name one.';
    END IF;

    IF may_write THEN
        INSERT INTO sales_internal.sessions (session_id, company_id, user_id, expires_at, created_at, ip_address)
        VALUES (session, company_id, user_id, expires_at, moment, inet_client_addr())
        ON CONFLICT DO NOTHING;
        IF FOUND THEN
            PERFORM sales_internal.record_login(company_id, user_id);
        END IF;
    END IF;
    SELECT s.revoked_at INTO ended FROM sales_internal.sessions s WHERE s.session_id = session;
    IF ended IS NOT NULL THEN
        RAISE invalid_authorization_specification USING MESSAGE = 'session has ended', HINT = 'Get a new token from its issuer.';
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.accept_outside_token(jsonb, uuid, boolean) IS
    'Judges the claims of a token whose signature is good, and finds its user';
REVOKE ALL ON FUNCTION sales_internal.accept_outside_token(jsonb, uuid, boolean) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.record_login(company uuid, who uuid) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE sales.users SET last_login = sales_internal.now() WHERE company_id = company AND user_id = who;
    SELECT sales_internal.audit_note(company, who, 'login', 'users', who);
$$;
COMMENT ON FUNCTION sales_internal.record_login(uuid, uuid) IS 'Notes a login: last_login and the audit log';
REVOKE ALL ON FUNCTION sales_internal.record_login(uuid, uuid) FROM PUBLIC;

