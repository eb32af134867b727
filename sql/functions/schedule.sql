-- Schedules: cron expressions in a company's timezone.

CREATE OR REPLACE FUNCTION sales.cron_next(expression text, timezone text, after timestamptz) RETURNS timestamptz
    AS 'MODULE_PATHNAME', 'sales_cron_next'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales.cron_next(text, text, timestamptz) IS
    'First time strictly after the given one at which a five-field cron expression runs by the clock of the timezone; null: never';
REVOKE ALL ON FUNCTION sales.cron_next(text, text, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.cron_next(text, text, timestamptz) TO sales_app, sales_gateway, sales_admin;

-- What imports, campaigns and reports put into next_run.
CREATE OR REPLACE FUNCTION sales_internal.next_run(company uuid, expression text, after timestamptz) RETURNS timestamptz
LANGUAGE sql STABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sales.cron_next(expression, c.timezone, after) FROM sales.companies c WHERE c.company_id = company
$$;
COMMENT ON FUNCTION sales_internal.next_run(uuid, text, timestamptz) IS
    'cron_next() in the company''s timezone; null: by hand, or never';
REVOKE ALL ON FUNCTION sales_internal.next_run(uuid, text, timestamptz) FROM PUBLIC;
