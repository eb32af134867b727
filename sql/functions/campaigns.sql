-- Campaigns: templates, addresses, suppressions.

CREATE OR REPLACE FUNCTION sales.render_template(template text, variables jsonb, html boolean DEFAULT false) RETURNS text
    AS 'MODULE_PATHNAME', 'sales_render_template'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales.render_template(text, jsonb, boolean) IS
    'Fills a Mustache template; with html, values are escaped. Partials come from the key _partials of the variables; lambdas, inheritance and dynamic names are left out';
REVOKE ALL ON FUNCTION sales.render_template(text, jsonb, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.render_template(text, jsonb, boolean) TO sales_app;

CREATE OR REPLACE FUNCTION sales_internal.template_variables(template text) RETURNS text[]
    AS 'MODULE_PATHNAME', 'sales_template_variables'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.template_variables(text) IS
    'Variables that a template names outside any section, so that a missing one leaves a hole';
REVOKE ALL ON FUNCTION sales_internal.template_variables(text) FROM PUBLIC;

-- --- mail ---

CREATE OR REPLACE FUNCTION sales_internal.build_mail(parts jsonb) RETURNS text
    AS 'MODULE_PATHNAME', 'sales_build_mail'
    LANGUAGE C IMMUTABLE STRICT;
COMMENT ON FUNCTION sales_internal.build_mail(jsonb) IS
    'A mail from from, to, reply_to, subject, text, html, message_id, date and headers, as ASCII with CRLF';
REVOKE ALL ON FUNCTION sales_internal.build_mail(jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.parse_mail(raw bytea) RETURNS jsonb
    AS 'MODULE_PATHNAME', 'sales_parse_mail'
    LANGUAGE C IMMUTABLE STRICT;
COMMENT ON FUNCTION sales_internal.parse_mail(bytea) IS
    'Sender, references and text of a mail; delivery status and complaints of reports; null for no mail';
REVOKE ALL ON FUNCTION sales_internal.parse_mail(bytea) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.text_of_html(html text) RETURNS text
    AS 'MODULE_PATHNAME', 'sales_text_of_html'
    LANGUAGE C IMMUTABLE STRICT;
COMMENT ON FUNCTION sales_internal.text_of_html(text) IS 'Text of a HTML page without scripts, styles and quotations';
REVOKE ALL ON FUNCTION sales_internal.text_of_html(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.imap_uids(transcript bytea) RETURNS bigint[]
    AS 'MODULE_PATHNAME', 'sales_imap_uids'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.imap_uids(bytea) IS 'What a SEARCH in a session of IMAP found; null where none was answered';
REVOKE ALL ON FUNCTION sales_internal.imap_uids(bytea) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.imap_validity(transcript bytea) RETURNS bigint
    AS 'MODULE_PATHNAME', 'sales_imap_validity'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.imap_validity(bytea) IS 'UIDVALIDITY of the folder that a session of IMAP has opened';
REVOKE ALL ON FUNCTION sales_internal.imap_validity(bytea) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.imap_size(transcript bytea) RETURNS bigint
    AS 'MODULE_PATHNAME', 'sales_imap_size'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.imap_size(bytea) IS 'Size of a mail as a FETCH in a session of IMAP told it; null where it did not';
REVOKE ALL ON FUNCTION sales_internal.imap_size(bytea) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.imap_mails(transcript bytea) RETURNS bytea[]
    AS 'MODULE_PATHNAME', 'sales_imap_mails'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.imap_mails(bytea) IS 'Mails that a FETCH in a session of IMAP brought, as they are';
REVOKE ALL ON FUNCTION sales_internal.imap_mails(bytea) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.dns_txt(name text) RETURNS text[]
    AS 'MODULE_PATHNAME', 'sales_dns_txt'
    LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION sales_internal.dns_txt(text) IS 'TXT records of a name; null when DNS cannot say. Blocks for two seconds at most';
REVOKE ALL ON FUNCTION sales_internal.dns_txt(text) FROM PUBLIC;

-- --- addresses ---

CREATE OR REPLACE FUNCTION sales_internal.normal_email(address text) RETURNS text
    AS 'MODULE_PATHNAME', 'sales_normal_email'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.normal_email(text) IS
    'An address in lower case with the domain in ASCII; null where it is none';
REVOKE ALL ON FUNCTION sales_internal.normal_email(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.keyed_hash(key bytea, data bytea) RETURNS bytea
    AS 'MODULE_PATHNAME', 'sales_keyed_hash'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.keyed_hash(bytea, bytea) IS 'HMAC-SHA256';
REVOKE ALL ON FUNCTION sales_internal.keyed_hash(bytea, bytea) FROM PUBLIC;

-- The company's key, made on first need.
CREATE OR REPLACE FUNCTION sales_internal.mail_key(company uuid) RETURNS bytea
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    found_key bytea;
BEGIN
    SELECT k.key INTO found_key FROM sales_internal.mail_keys k WHERE k.company_id = company;
    IF found_key IS NULL THEN
        INSERT INTO sales_internal.mail_keys (company_id, key)
        VALUES (company, sha256(uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid()) || uuid_send(gen_random_uuid())))
        ON CONFLICT (company_id) DO NOTHING;
        SELECT k.key INTO found_key FROM sales_internal.mail_keys k WHERE k.company_id = company;
    END IF;
    RETURN found_key;
END
$$;
COMMENT ON FUNCTION sales_internal.mail_key(uuid) IS 'Key of a company''s address hashes and unsubscribe links';
REVOKE ALL ON FUNCTION sales_internal.mail_key(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.address_hash(key bytea, address text) RETURNS bytea
LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sales_internal.keyed_hash(key, convert_to('address:' || CASE WHEN address LIKE '@%'
        THEN substr(sales_internal.normal_email('x' || address), 2) ELSE sales_internal.normal_email(address) END, 'UTF8'))
$$;
COMMENT ON FUNCTION sales_internal.address_hash(bytea, text) IS
    'What stands for an address, or for a whole @domain, in suppressions and in the ledger; null where it is none';
REVOKE ALL ON FUNCTION sales_internal.address_hash(bytea, text) FROM PUBLIC;

-- --- suppressions ---

CREATE OR REPLACE FUNCTION sales_internal.hash_suppression() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NEW.address IS NOT NULL THEN
        NEW.address_hash := sales_internal.address_hash(sales_internal.mail_key(NEW.company_id), NEW.address);
        IF NEW.address_hash IS NULL THEN
            RAISE invalid_parameter_value USING
                MESSAGE = format('"%s" is no address', left(NEW.address, 100)),
                DETAIL = sales_internal.email_problem(NEW.address),
                HINT = 'Write an e-mail address, or @domain for all addresses of a domain.';
        END IF;
        NEW.address := NULL;
    END IF;
    IF NEW.created_by IS NULL AND NEW.company_id = sales.current_company_id() THEN
        NEW.created_by := sales.current_user_id();
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sales_internal.hash_suppression() IS 'Trigger: of an address that is written only its keyed hash is kept';
REVOKE ALL ON FUNCTION sales_internal.hash_suppression() FROM PUBLIC;
CREATE OR REPLACE TRIGGER hash_suppression BEFORE INSERT ON sales.suppressions
    FOR EACH ROW EXECUTE FUNCTION sales_internal.hash_suppression();

-- For unsubscribe(), bounces, complaints and erasure.  What was on its way to
-- the address stays behind.
CREATE OR REPLACE FUNCTION sales_internal.suppress_hash(company uuid, hash bytea, why sales.suppression_reason, origin text DEFAULT NULL)
RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO sales.suppressions (company_id, address_hash, reason, source)
    SELECT company, hash, why, left(origin, 500) WHERE hash IS NOT NULL
    ON CONFLICT (company_id, address_hash) DO NOTHING;
    UPDATE sales.campaign_recipients r SET status = 'suppressed', reason = why::text
    WHERE r.company_id = company AND r.address_hash = hash AND r.status IN ('waiting', 'pending');
$$;
COMMENT ON FUNCTION sales_internal.suppress_hash(uuid, bytea, sales.suppression_reason, text) IS
    'Suppresses the address that a hash stands for, and takes it out of all campaigns';
REVOKE ALL ON FUNCTION sales_internal.suppress_hash(uuid, bytea, sales.suppression_reason, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.suppress_address(company uuid, address text, why sales.suppression_reason, origin text DEFAULT NULL)
RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sales_internal.suppress_hash(company, sales_internal.address_hash(sales_internal.mail_key(company), address), why, origin)
$$;
COMMENT ON FUNCTION sales_internal.suppress_address(uuid, text, sales.suppression_reason, text) IS
    'Suppresses an address of a company; erasure calls it before it forgets the address';
REVOKE ALL ON FUNCTION sales_internal.suppress_address(uuid, text, sales.suppression_reason, text) FROM PUBLIC;

-- Why an address gets no mail; null when it may.
CREATE OR REPLACE FUNCTION sales_internal.suppressed(company uuid, hash bytea, domain text) RETURNS sales.suppression_reason
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RETURN (SELECT s.reason FROM sales.suppressions s
            WHERE s.company_id = company
              AND s.address_hash IN (hash, (SELECT sales_internal.address_hash(k.key, '@' || suppressed.domain)
                                            FROM sales_internal.mail_keys k WHERE k.company_id = company))
            LIMIT 1);
END
$$;
COMMENT ON FUNCTION sales_internal.suppressed(uuid, bytea, text) IS 'Why the address, or its whole domain, is suppressed; null: it is not';
REVOKE ALL ON FUNCTION sales_internal.suppressed(uuid, bytea, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.is_suppressed(address text) RETURNS boolean
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
    hash bytea := sales_internal.address_hash(sales_internal.mail_key(company), address);
BEGIN
    PERFORM sales_internal.require('suppressions', 'read');
    IF hash IS NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = format('"%s" is no address', left(address, 100)),
            DETAIL = sales_internal.email_problem(address);
    END IF;
    RETURN sales_internal.suppressed(company, hash, split_part(sales_internal.normal_email(address), '@', 2)) IS NOT NULL;
END
$$;
COMMENT ON FUNCTION sales.is_suppressed(text) IS 'Does the company not write to this address any more?';
REVOKE ALL ON FUNCTION sales.is_suppressed(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.is_suppressed(text) TO sales_app;
