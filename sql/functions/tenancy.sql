-- Tenancy: entering a tenant.

CREATE OR REPLACE FUNCTION sales.set_tenant(company_id uuid, user_id uuid DEFAULT NULL, is_local boolean DEFAULT true)
RETURNS void
    AS 'MODULE_PATHNAME', 'sales_set_tenant'
    LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION sales.set_tenant(uuid, uuid, boolean) IS
    'Sets the tenant and user of the transaction (or session); for servers that authenticate users themselves';
REVOKE ALL ON FUNCTION sales.set_tenant(uuid, uuid, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.set_tenant(uuid, uuid, boolean) TO sales_gateway;

