-- Small functions that all domains use.

CREATE FUNCTION sales.uuidv7() RETURNS uuid
    AS 'MODULE_PATHNAME', 'sales_uuidv7'
    LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION sales.uuidv7() IS 'A new time-ordered uuid, version 7 of RFC 9562';
REVOKE ALL ON FUNCTION sales.uuidv7() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.uuidv7() TO sales_app, sales_admin;

CREATE FUNCTION sales_internal.now() RETURNS timestamptz
    AS 'MODULE_PATHNAME', 'sales_now'
    LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.now() IS
    'Start of the transaction, or what the setting sales_assistant.clock says';
REVOKE ALL ON FUNCTION sales_internal.now() FROM PUBLIC;

CREATE FUNCTION sales_internal.take_lock(key bigint, wait boolean DEFAULT true) RETURNS boolean
    AS 'MODULE_PATHNAME', 'sales_take_lock'
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION sales_internal.take_lock(bigint, boolean) IS
    'Takes a lock that is the extension''s own, until the end of the transaction; false if another has it and wait is false';
REVOKE ALL ON FUNCTION sales_internal.take_lock(bigint, boolean) FROM PUBLIC;

CREATE FUNCTION sales_internal.restoring() RETURNS boolean
    AS 'MODULE_PATHNAME', 'sales_restoring'
    LANGUAGE C VOLATILE PARALLEL RESTRICTED;
COMMENT ON FUNCTION sales_internal.restoring() IS
    'True while the session replays a dump: triggers then leave rows as they are';
REVOKE ALL ON FUNCTION sales_internal.restoring() FROM PUBLIC;

CREATE FUNCTION sales.is_timezone(name text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'sales_is_timezone'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales.is_timezone(text) IS
    'Is this an IANA zone name that the server knows, in its own spelling?';
REVOKE ALL ON FUNCTION sales.is_timezone(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.is_timezone(text) TO sales_app, sales_admin;

CREATE FUNCTION sales_internal.quiet_restore() RETURNS trigger
    AS 'MODULE_PATHNAME', 'sales_quiet_restore'
    LANGUAGE C;
COMMENT ON FUNCTION sales_internal.quiet_restore() IS
    'Trigger: while a dump is replayed, no other trigger and no foreign key gets in the way of the rows';
REVOKE ALL ON FUNCTION sales_internal.quiet_restore() FROM PUBLIC;

CREATE FUNCTION sales_internal.dump_table(target regclass, condition text DEFAULT '')
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM pg_catalog.pg_extension_config_dump(target, condition);
    EXECUTE format('CREATE TRIGGER quiet_restore BEFORE INSERT ON %s FOR EACH STATEMENT '
                   'EXECUTE FUNCTION sales_internal.quiet_restore()', target);
END
$$;
COMMENT ON FUNCTION sales_internal.dump_table(regclass, text) IS
    'Has pg_dump keep the rows of an extension''s table, and a restore put them back untouched; install and upgrade scripts only';
REVOKE ALL ON FUNCTION sales_internal.dump_table(regclass, text) FROM PUBLIC;

-- Seeded tables are dumped whole.  On restore CREATE EXTENSION has seeded them
-- already; the restored row then takes the place of the seed.
CREATE FUNCTION sales_internal.replace_seed() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF sales_internal.restoring() THEN
        EXECUTE format('DELETE FROM %I.%I WHERE %I = ($1).%I',
                       TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_ARGV[0], TG_ARGV[0])
        USING NEW;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sales_internal.replace_seed() IS
    'Trigger of seeded tables: while a dump is restored, its row replaces the seed with the same key';
REVOKE ALL ON FUNCTION sales_internal.replace_seed() FROM PUBLIC;

CREATE FUNCTION sales_internal.touch_updated_at() RETURNS trigger
    AS 'MODULE_PATHNAME', 'sales_touch_updated_at'
    LANGUAGE C;
COMMENT ON FUNCTION sales_internal.touch_updated_at() IS
    'Trigger: sets updated_at to now when a row changes';
REVOKE ALL ON FUNCTION sales_internal.touch_updated_at() FROM PUBLIC;

CREATE FUNCTION sales_internal.soft_delete() RETURNS trigger
    AS 'MODULE_PATHNAME', 'sales_soft_delete'
    LANGUAGE C;
COMMENT ON FUNCTION sales_internal.soft_delete() IS
    'Trigger: a tenant''s DELETE sets deleted_at; argument 1 is the key column';
REVOKE ALL ON FUNCTION sales_internal.soft_delete() FROM PUBLIC;

CREATE FUNCTION sales_internal.email_problem(address text) RETURNS text
    AS 'MODULE_PATHNAME', 'sales_email_problem'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.email_problem(text) IS
    'Why this is no e-mail address that a CRM should take; null when it is one';
REVOKE ALL ON FUNCTION sales_internal.email_problem(text) FROM PUBLIC;

