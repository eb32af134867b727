-- Campaigns: templates.

CREATE OR REPLACE FUNCTION sales.render_template(template text, variables jsonb, html boolean DEFAULT false) RETURNS text
    AS 'MODULE_PATHNAME', 'sales_render_template'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales.render_template(text, jsonb, boolean) IS
    'Fills a Mustache template; with html, values are escaped. Partials and lambdas are left out';
REVOKE ALL ON FUNCTION sales.render_template(text, jsonb, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.render_template(text, jsonb, boolean) TO sales_app;

