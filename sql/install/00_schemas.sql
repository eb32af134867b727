-- Schemas and group roles.

CREATE SCHEMA sales;
COMMENT ON SCHEMA sales IS 'AI sales assistant: entities and the functions that applications call';
CREATE SCHEMA sales_bi;
COMMENT ON SCHEMA sales_bi IS 'AI sales assistant: metric views for BI tools, no personal data';
CREATE SCHEMA sales_internal;
COMMENT ON SCHEMA sales_internal IS 'AI sales assistant: machinery; no grants to anyone';

REVOKE ALL ON SCHEMA sales, sales_bi, sales_internal FROM PUBLIC;

-- Roles belong to the cluster, not to the extension: they are made if absent
-- and stay when the extension goes.
DO $$
DECLARE
    group_role text;
BEGIN
    FOREACH group_role IN ARRAY ARRAY['sales_app', 'sales_bi', 'sales_gateway', 'sales_admin']
    LOOP
        IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = group_role) THEN
            EXECUTE pg_catalog.format('CREATE ROLE %I NOLOGIN', group_role);
        END IF;
    END LOOP;
END
$$;

GRANT sales_app TO sales_gateway;
GRANT USAGE ON SCHEMA sales TO sales_app, sales_bi, sales_gateway, sales_admin;
GRANT USAGE ON SCHEMA sales_bi TO sales_app, sales_bi, sales_gateway, sales_admin;

-- Nothing that the extension makes is PUBLIC's unless granted by name.
ALTER DEFAULT PRIVILEGES IN SCHEMA sales REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

