-- Tenant context and the protection that each tenant table gets.

CREATE FUNCTION sales.current_company_id() RETURNS uuid
    AS 'MODULE_PATHNAME', 'sales_current_company_id'
    LANGUAGE C STABLE LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION sales.current_company_id() IS
    'Company of the signed tenant context; null without one';
REVOKE ALL ON FUNCTION sales.current_company_id() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.current_company_id()
    TO sales_app, sales_bi, sales_gateway, sales_admin;

CREATE FUNCTION sales.current_user_id() RETURNS uuid
    AS 'MODULE_PATHNAME', 'sales_current_user_id'
    LANGUAGE C STABLE LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION sales.current_user_id() IS
    'User of the signed tenant context; null without one and for the system';
REVOKE ALL ON FUNCTION sales.current_user_id() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.current_user_id()
    TO sales_app, sales_bi, sales_gateway, sales_admin;

CREATE FUNCTION sales.has_permission("table" text, action text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'sales_has_permission'
    LANGUAGE C STABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION sales.has_permission(text, text) IS
    'May the current user do this (read, create, update, delete, approve, export, manage) with this table?';
REVOKE ALL ON FUNCTION sales.has_permission(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.has_permission(text, text)
    TO sales_app, sales_bi, sales_gateway, sales_admin;

CREATE FUNCTION sales.company_allowing("table" text, action text) RETURNS uuid
    AS 'MODULE_PATHNAME', 'sales_company_allowing'
    LANGUAGE C STABLE STRICT LEAKPROOF PARALLEL SAFE;
COMMENT ON FUNCTION sales.company_allowing(text, text) IS
    'Current company if its user may do this with this table, else null; what policies compare company_id with';
REVOKE ALL ON FUNCTION sales.company_allowing(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.company_allowing(text, text)
    TO sales_app, sales_bi, sales_gateway, sales_admin;

CREATE FUNCTION sales_internal.require("table" text, action text) RETURNS void
    AS 'MODULE_PATHNAME', 'sales_require'
    LANGUAGE C STABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.require(text, text) IS
    'Error with a hint unless the current user may do this with this table';
REVOKE ALL ON FUNCTION sales_internal.require(text, text) FROM PUBLIC;

CREATE FUNCTION sales_internal.require_company() RETURNS uuid
    AS 'MODULE_PATHNAME', 'sales_require_company'
    LANGUAGE C STABLE PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.require_company() IS
    'The current company; error with a hint where no tenant is set';
REVOKE ALL ON FUNCTION sales_internal.require_company() FROM PUBLIC;

-- Row-level security, grants, audit and dump registration of one tenant table.
--   name         table in schema sales, with a company_id
--   key          its key column, for audit and soft delete
--   hidden       columns that no application role may read and audit never keeps
--   soft_delete  DELETE by an application sets deleted_at, and such rows are hidden
--   commands     what applications may do at all, before permissions
--   audited      changes are audited
-- Isolation and permission are one restrictive policy per command: company_id
-- must be the context's company if that allows the command.  It is a comparison
-- with a function that the planner can take for a constant: an index condition,
-- estimated as if the company were written out, and a single one (two that must
-- both hold would put a gate above each scan).  The permissive policy that
-- PostgreSQL wants besides lets all through, and so would any added later.
CREATE PROCEDURE sales_internal.protect_table(
    name text,
    key text,
    hidden text[] DEFAULT '{}',
    soft_delete boolean DEFAULT false,
    commands text[] DEFAULT '{select,insert,update,delete}',
    audited boolean DEFAULT true)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target regclass := format('sales.%I', name)::regclass;
    is_parent boolean := (SELECT relkind = 'p' FROM pg_class WHERE oid = target);
    allowed text := format('company_id = sales.company_allowing(%L, %%L)', name);
    alive text := CASE WHEN soft_delete THEN ' AND deleted_at IS NULL' ELSE '' END;
    columns text;
    child regclass;
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format('CREATE POLICY app ON %s USING (true) WITH CHECK (true)', target);
    EXECUTE format('CREATE POLICY tenant_read ON %s AS RESTRICTIVE FOR SELECT USING (%s)',
                   target, format(allowed, 'read') || alive);
    EXECUTE format('CREATE POLICY tenant_create ON %s AS RESTRICTIVE FOR INSERT WITH CHECK (%s)',
                   target, format(allowed, 'create'));
    EXECUTE format('CREATE POLICY tenant_update ON %s AS RESTRICTIVE FOR UPDATE USING (%s)',
                   target, format(allowed, 'update') || alive);
    EXECUTE format('CREATE POLICY tenant_delete ON %s AS RESTRICTIVE FOR DELETE USING (%s)',
                   target, format(allowed, 'delete') || alive);

    IF hidden = '{}' THEN
        EXECUTE format('GRANT %s ON %s TO sales_app', array_to_string(commands, ', '), target);
    ELSE
        -- Readable columns by name; all columns may be written.
        SELECT string_agg(quote_ident(attname), ', ' ORDER BY attnum) INTO columns
        FROM pg_attribute
        WHERE attrelid = target AND attnum > 0 AND NOT attisdropped AND attname <> ALL (hidden);
        EXECUTE format('GRANT SELECT (%s) ON %s TO sales_app', columns, target);
        EXECUTE format('GRANT %s ON %s TO sales_app',
                       array_to_string(array_remove(commands, 'select'), ', '), target);
    END IF;

    IF soft_delete THEN
        EXECUTE format('CREATE TRIGGER soft_delete BEFORE DELETE ON %s FOR EACH ROW '
                       'EXECUTE FUNCTION sales_internal.soft_delete(%L)', target, key);
    END IF;
    IF EXISTS (SELECT FROM pg_attribute WHERE attrelid = target AND attname = 'updated_at'
               AND NOT attisdropped) THEN
        EXECUTE format('CREATE TRIGGER touch_updated_at BEFORE UPDATE ON %s FOR EACH ROW '
                       'EXECUTE FUNCTION sales_internal.touch_updated_at()', target);
    END IF;
    IF audited THEN
        PERFORM sales_internal.audit_table(name, key, hidden);
    END IF;

    -- pg_dump takes rows from partitions, never from their parent, and it does
    -- not know which of them a fresh install will have.  So DEFAULT, which every
    -- install has, is dumped with the rows of all; the others are members of the
    -- extension that are not dumped, and maintain() makes them again.
    IF is_parent THEN
        FOR child IN SELECT inhrelid FROM pg_inherits WHERE inhparent = target LOOP
            EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', child);
            EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', child);
            PERFORM sales_internal.dump_table(child, format('WHERE false UNION ALL SELECT * FROM %s', target));
        END LOOP;
    ELSE
        PERFORM sales_internal.dump_table(target);
    END IF;
END
$$;
COMMENT ON PROCEDURE sales_internal.protect_table(text, text, text[], boolean, text[], boolean) IS
    'Gives a tenant table its policies, grants, triggers and dump registration; install and upgrade scripts only';
REVOKE ALL ON PROCEDURE sales_internal.protect_table(text, text, text[], boolean, text[], boolean) FROM PUBLIC;

-- The audit triggers of one table; 40_audit.sql makes the function they call.
CREATE FUNCTION sales_internal.audit_table(name text, key text, hidden text[])
RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    EXECUTE format('CREATE TRIGGER audit AFTER INSERT OR UPDATE OR DELETE ON sales.%I '
                   'FOR EACH ROW EXECUTE FUNCTION sales_internal.audit(%L, %L, %L)',
                   name, name, key, array_to_string(hidden, ','));
END
$$;
COMMENT ON FUNCTION sales_internal.audit_table(text, text, text[]) IS
    'Puts the audit triggers on a tenant table; install and upgrade scripts only';
REVOKE ALL ON FUNCTION sales_internal.audit_table(text, text, text[]) FROM PUBLIC;

CREATE FUNCTION sales_internal.audit() RETURNS trigger
    AS 'MODULE_PATHNAME', 'sales_audit'
    LANGUAGE C;
COMMENT ON FUNCTION sales_internal.audit() IS
    'Audit trigger; arguments: logical table name, key column, hidden columns';
REVOKE ALL ON FUNCTION sales_internal.audit() FROM PUBLIC;

