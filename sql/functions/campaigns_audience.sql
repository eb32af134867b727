-- Campaigns: target filters, compiled to SQL whose every value is a bound
-- parameter.  Field names and operators are looked up in what stands here; a
-- filter adds no text of its own to the query.  Grammar: docs/campaigns.md.

-- What a filter may name: `kind` says how its values are read, `expression` is
-- over p, a row of sales.prospects.
CREATE OR REPLACE FUNCTION sales_internal.audience_field(name text, OUT kind text, OUT expression text)
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT f.kind, f.expression
    FROM (VALUES
        ('prospect_id', 'uuid', 'p.prospect_id'),
        ('product_id', 'uuid', 'p.product_id'),
        ('first_name', 'text', 'p.first_name'),
        ('last_name', 'text', 'p.last_name'),
        ('email', 'text', 'p.email'),
        ('domain', 'text', 'split_part(p.email, ''@'', 2)'),
        ('phone', 'text', 'p.phone'),
        ('job_title', 'text', 'p.job_title'),
        ('company_name', 'text', 'p.company_name'),
        ('website', 'text', 'p.website'),
        ('linkedin_url', 'text', 'p.linkedin_url'),
        ('pain_points', 'text', 'p.pain_points'),
        ('notes', 'text', 'p.notes'),
        ('score', 'number', 'p.ai_score'),
        ('ai_score', 'number', 'p.ai_score'),
        ('estimated_budget_amount', 'number', 'p.estimated_budget_amount'),
        ('estimated_budget_currency', 'text', 'p.estimated_budget_currency'),
        ('status', 'sales.prospect_status', 'p.status'),
        ('source', 'sales.prospect_source', 'p.source'),
        ('created_at', 'date', 'p.created_at'),
        ('updated_at', 'date', 'p.updated_at'),
        ('product', 'text', '(SELECT x.name FROM sales.products x WHERE x.company_id = p.company_id AND x.product_id = p.product_id)'),
        ('industry', 'text', '(SELECT x.name FROM sales.industries x WHERE x.industry_id = p.industry_id)'),
        ('company_size', 'text', '(SELECT x.size_range FROM sales.company_sizes x WHERE x.size_id = p.company_size_id)'),
        ('employees', 'number', '(SELECT x.min_employees FROM sales.company_sizes x WHERE x.size_id = p.company_size_id)'),
        ('country', 'text', '(SELECT x.country FROM sales.addresses x WHERE x.company_id = p.company_id AND x.address_id = p.address_id)'),
        ('region', 'text', '(SELECT x.region FROM sales.addresses x WHERE x.company_id = p.company_id AND x.address_id = p.address_id)'),
        ('city', 'text', '(SELECT x.city FROM sales.addresses x WHERE x.company_id = p.company_id AND x.address_id = p.address_id)'),
        ('postal_code', 'text', '(SELECT x.postal_code FROM sales.addresses x WHERE x.company_id = p.company_id AND x.address_id = p.address_id)'),
        ('language', 'text', 'sales_internal.language_of(p.company_id, p.prospect_id)'),
        ('stage', 'sales.funnel_stage', 'coalesce((SELECT x.stage FROM sales.conversion_funnel x WHERE x.company_id = p.company_id AND x.prospect_id = p.prospect_id ORDER BY x.stage_entered_at DESC, x.funnel_id DESC LIMIT 1), sales_internal.status_stage(p.status), ''nouveau'')'),
        ('stage_entered_at', 'date', '(SELECT max(x.stage_entered_at) FROM sales.conversion_funnel x WHERE x.company_id = p.company_id AND x.prospect_id = p.prospect_id)'),
        ('deal_value', 'number', '(SELECT x.deal_value FROM sales.conversion_funnel x WHERE x.company_id = p.company_id AND x.prospect_id = p.prospect_id AND x.deal_value IS NOT NULL ORDER BY x.stage_entered_at DESC, x.funnel_id DESC LIMIT 1)'),
        ('last_contact_at', 'date', '(SELECT max(x.interaction_date) FROM sales.interactions x WHERE x.company_id = p.company_id AND x.prospect_id = p.prospect_id AND x.type <> ''received'')'),
        ('last_reply_at', 'date', '(SELECT max(x.interaction_date) FROM sales.interactions x WHERE x.company_id = p.company_id AND x.prospect_id = p.prospect_id AND (x.type = ''received'' OR x.response_received))'),
        ('last_activity_at', 'date', '(SELECT max(x.interaction_date) FROM sales.interactions x WHERE x.company_id = p.company_id AND x.prospect_id = p.prospect_id)'),
        ('interactions', 'number', '(SELECT count(*) FROM sales.interactions x WHERE x.company_id = p.company_id AND x.prospect_id = p.prospect_id)'),
        ('campaign_id', 'uuid[]', 'ARRAY(SELECT x.campaign_id FROM sales.campaign_recipients x WHERE x.company_id = p.company_id AND x.prospect_id = p.prospect_id)'),
        ('activity', 'activity[]', 'sales_internal.activity_tags(p.company_id, p.prospect_id)')
    ) AS f (name, kind, expression)
    WHERE f.name = audience_field.name
$$;
COMMENT ON FUNCTION sales_internal.audience_field(text) IS 'Fields that a target filter may name: how values are read, and the expression';
REVOKE ALL ON FUNCTION sales_internal.audience_field(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.activity_tags(company uuid, prospect uuid) RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT ARRAY(
        SELECT CASE i.type WHEN 'received' THEN 'replied' WHEN 'call_made' THEN 'called' WHEN 'meeting_held' THEN 'met' ELSE 'contacted' END
        FROM sales.interactions i WHERE i.company_id = company AND i.prospect_id = prospect
        UNION
        SELECT t.tag FROM sales.interactions i,
             LATERAL (VALUES (CASE WHEN i.response_received THEN 'replied' END), (i.response_sentiment::text)) AS t (tag)
        WHERE i.company_id = company AND i.prospect_id = prospect AND t.tag IS NOT NULL
        UNION
        SELECT t.tag FROM sales.campaign_recipients r,
             LATERAL (VALUES ('mailed', r.sent_at), ('opened', r.opened_at), ('clicked', r.clicked_at), ('replied', r.replied_at),
                             ('bounced', r.bounced_at), ('complained', r.complained_at), ('unsubscribed', r.unsubscribed_at)) AS t (tag, at)
        WHERE r.company_id = company AND r.prospect_id = prospect AND t.at IS NOT NULL
        UNION
        SELECT CASE k.type WHEN 'meeting' THEN 'meeting_planned' ELSE 'task_open' END
        FROM sales.tasks k WHERE k.company_id = company AND k.prospect_id = prospect AND k.status IN ('pending', 'in_progress'))
$$;
COMMENT ON FUNCTION sales_internal.activity_tags(uuid, uuid) IS
    'What has happened with a prospect: contacted, called, met, replied, positive, neutral, negative, mailed, opened, clicked, bounced, complained, unsubscribed, task_open, meeting_planned';
REVOKE ALL ON FUNCTION sales_internal.activity_tags(uuid, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.filter_error(path text, problem text, hint text DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    RAISE invalid_parameter_value USING
        MESSAGE = format('target_filter, at %s: %s', left(path, 300), problem),
        HINT = coalesce(hint, 'A filter is {"field": condition}, {"and": [...]}, {"or": [...]} or {"not": {...}}; see docs/campaigns.md.');
END
$$;
COMMENT ON FUNCTION sales_internal.filter_error(text, text, text) IS 'Refuses a target filter, with the place in its JSON';
REVOKE ALL ON FUNCTION sales_internal.filter_error(text, text, text) FROM PUBLIC;

-- A time: ISO, "now", "today", or relative such as "-30 days" or "2 weeks ago".
CREATE OR REPLACE FUNCTION sales_internal.filter_time(value text, zone text, path text) RETURNS timestamptz
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET datestyle = 'ISO, YMD'
AS $$
DECLARE
    part text[] := regexp_match(lower(btrim(value)), '^([+-]?)\s*(\d{1,6})\s+(minute|hour|day|week|month|year)s?(\s+ago)?$');
    span interval;
BEGIN
    IF part IS NOT NULL THEN
        span := (part[2] || ' ' || part[3])::interval;
        RETURN sales_internal.now() + CASE WHEN (part[1] = '-') <> (part[4] IS NOT NULL) THEN -span ELSE span END;
    ELSIF lower(btrim(value)) = 'now' THEN
        RETURN sales_internal.now();
    ELSIF lower(btrim(value)) = 'today' THEN
        RETURN date_trunc('day', sales_internal.now() AT TIME ZONE zone) AT TIME ZONE zone;
    ELSIF value ~ '^\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d+)?)?)?$' THEN
        RETURN value::timestamp AT TIME ZONE zone;
    ELSIF value ~ '^\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d(:?\d\d)?)$' THEN
        RETURN value::timestamptz;
    END IF;
    RAISE invalid_datetime_format;
EXCEPTION WHEN data_exception THEN
    PERFORM sales_internal.filter_error(path, format('"%s" is no time', left(value, 60)),
        'Write a time as 2026-01-31, 2026-01-31T12:00:00Z, now, today, "-30 days" or "2 weeks ago".');
END
$$;
COMMENT ON FUNCTION sales_internal.filter_time(text, text, text) IS 'Reads a time of a target filter; dates are days of the company''s timezone';
REVOKE ALL ON FUNCTION sales_internal.filter_time(text, text, text) FROM PUBLIC;

-- Checks one value and brings it into the form in which it is bound.
CREATE OR REPLACE FUNCTION sales_internal.filter_value(kind text, value jsonb, zone text, path text) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    given text := value #>> '{}';
    base text := rtrim(kind, '[]');
    labels text[];
BEGIN
    IF jsonb_typeof(value) NOT IN ('string', 'number', 'boolean') THEN
        PERFORM sales_internal.filter_error(path, format('a value is needed, not %s', jsonb_typeof(value)));
    END IF;
    CASE base
        WHEN 'text' THEN
            RETURN to_jsonb(lower(given));
        WHEN 'number' THEN
            IF jsonb_typeof(value) <> 'number' AND given !~ '^-?\d{1,20}(\.\d{1,20})?$' THEN
                PERFORM sales_internal.filter_error(path, format('"%s" is no number', left(given, 60)));
            END IF;
            RETURN to_jsonb(given::numeric);
        WHEN 'date' THEN
            RETURN to_jsonb(sales_internal.filter_time(given, zone, path));
        WHEN 'uuid' THEN
            IF given !~* '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' THEN
                PERFORM sales_internal.filter_error(path, format('"%s" is no uuid', left(given, 60)));
            END IF;
            RETURN to_jsonb(given);
        WHEN 'activity' THEN
            labels := '{contacted,called,met,replied,positive,neutral,negative,mailed,opened,clicked,bounced,complained,unsubscribed,task_open,meeting_planned}';
        ELSE
            SELECT array_agg(e.enumlabel ORDER BY e.enumsortorder) INTO labels
            FROM pg_enum e WHERE e.enumtypid = base::regtype;
    END CASE;
    IF given <> ALL (labels) THEN
        PERFORM sales_internal.filter_error(path, format('"%s" is not one of its values', left(given, 60)),
            'Values: ' || array_to_string(labels, ', ') || '.');
    END IF;
    RETURN to_jsonb(given);
END
$$;
COMMENT ON FUNCTION sales_internal.filter_value(text, jsonb, text, text) IS 'Checks a value of a target filter against its field';
REVOKE ALL ON FUNCTION sales_internal.filter_value(text, jsonb, text, text) FROM PUBLIC;

-- field operator value.  Values go into `params`, a JSON array that the query
-- gets as $2; the text returned refers to them by position.
CREATE OR REPLACE FUNCTION sales_internal.filter_leaf(
    field text, op text, value jsonb, zone text, path text, INOUT params jsonb, OUT condition text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    known record;
    slot integer := jsonb_array_length(params);
    type text;
    left_side text;
    listed jsonb := CASE WHEN jsonb_typeof(value) = 'array' THEN value ELSE jsonb_build_array(value) END;
    checked jsonb;
    one text;
    many text;
BEGIN
    SELECT * INTO known FROM sales_internal.audience_field(field);
    IF known.kind IS NULL THEN
        PERFORM sales_internal.filter_error(path, format('there is no field "%s"', left(field, 60)));
    END IF;
    op := CASE lower(op) WHEN 'eq' THEN '=' WHEN '==' THEN '=' WHEN 'ne' THEN '<>' WHEN '!=' THEN '<>' WHEN 'lt' THEN '<'
                         WHEN 'lte' THEN '<=' WHEN 'gt' THEN '>' WHEN 'gte' THEN '>=' WHEN 'nin' THEN 'not_in' ELSE lower(op) END;
    IF known.kind LIKE '%[]' THEN
        op := CASE op WHEN '=' THEN 'any' WHEN 'in' THEN 'any' WHEN 'has' THEN 'any' WHEN '<>' THEN 'none' WHEN 'not_in' THEN 'none' ELSE op END;
    END IF;
    IF op = 'exists' OR (op IN ('=', '<>') AND value = 'null') THEN
        IF op = 'exists' AND jsonb_typeof(value) <> 'boolean' THEN
            PERFORM sales_internal.filter_error(path, '"exists" takes true or false');
        END IF;
        condition := CASE WHEN known.kind LIKE '%[]' THEN format('cardinality(%s) > 0', known.expression)
                          WHEN known.kind = 'text' THEN format('nullif(%s, '''') IS NOT NULL', known.expression)
                          ELSE format('%s IS NOT NULL', known.expression) END;
        IF op = '=' OR value = 'false' THEN
            condition := format('NOT (%s)', condition);
        END IF;
        RETURN;
    END IF;
    IF jsonb_array_length(listed) NOT BETWEEN 1 AND 10000 THEN
        PERFORM sales_internal.filter_error(path, 'a list has 1 to 10000 values');
    END IF;
    SELECT jsonb_agg(sales_internal.filter_value(known.kind, e.item, zone,
                     CASE WHEN jsonb_typeof(value) = 'array' THEN format('%s[%s]', path, e.n - 1) ELSE path END) ORDER BY e.n)
    INTO checked FROM jsonb_array_elements(listed) WITH ORDINALITY AS e (item, n);
    params := params || jsonb_build_array(checked);

    type := CASE rtrim(known.kind, '[]') WHEN 'text' THEN 'text' WHEN 'activity' THEN 'text' WHEN 'number' THEN 'numeric'
                 WHEN 'date' THEN 'timestamptz' ELSE rtrim(known.kind, '[]') END;
    left_side := CASE WHEN known.kind = 'text' THEN format('lower(%s)', known.expression) ELSE known.expression END;
    one := format('($2 #>> ''{%s,0}'')::%s', slot, type);
    many := format('ARRAY(SELECT v::%s FROM jsonb_array_elements_text($2 -> %s) AS v)', type, slot);
    IF op NOT IN ('in', 'not_in', 'between', 'any', 'all', 'none') AND jsonb_array_length(listed) > 1 THEN
        PERFORM sales_internal.filter_error(path, format('"%s" takes one value', op), 'Use "in" for a list.');
    END IF;
    IF known.kind LIKE '%[]' THEN
        condition := CASE op WHEN 'any' THEN format('%s && %s', left_side, many)
                             WHEN 'all' THEN format('%s @> %s', left_side, many)
                             WHEN 'none' THEN format('NOT (%s && %s)', left_side, many) END;
    ELSIF op IN ('=', '<>', '<', '<=', '>', '>=') THEN
        IF known.kind <> 'uuid' OR op IN ('=', '<>') THEN
            condition := format('%s %s %s', left_side, CASE op WHEN '<>' THEN 'IS DISTINCT FROM' ELSE op END, one);
        END IF;
    ELSIF op = 'in' THEN
        condition := format('%s = ANY (%s)', left_side, many);
    ELSIF op = 'not_in' THEN
        condition := format('(%s = ANY (%s)) IS NOT TRUE', left_side, many);
    ELSIF op = 'between' AND known.kind <> 'uuid' THEN
        IF jsonb_array_length(listed) <> 2 THEN
            PERFORM sales_internal.filter_error(path, '"between" takes two values');
        END IF;
        condition := format('%s BETWEEN %s AND ($2 #>> ''{%s,1}'')::%s', left_side, one, slot, type);
    ELSIF known.kind = 'text' THEN
        condition := CASE op WHEN 'contains' THEN format('strpos(%s, %s) > 0', left_side, one)
                             WHEN 'not_contains' THEN format('(strpos(%s, %s) > 0) IS NOT TRUE', left_side, one)
                             WHEN 'starts_with' THEN format('starts_with(%s, %s)', left_side, one)
                             WHEN 'ends_with' THEN format('right(%s, length(%s)) = %s', left_side, one, one) END;
    END IF;
    IF condition IS NULL THEN
        PERFORM sales_internal.filter_error(path, format('"%s" is no comparison of this field', left(op, 30)),
            CASE WHEN known.kind LIKE '%[]' THEN 'Comparisons: any, all, none, exists.'
                 WHEN known.kind = 'text' THEN 'Comparisons: =, <>, <, <=, >, >=, in, not_in, between, contains, not_contains, starts_with, ends_with, exists.'
                 WHEN known.kind = 'uuid' THEN 'Comparisons: =, <>, in, not_in, exists.'
                 ELSE 'Comparisons: =, <>, <, <=, >, >=, in, not_in, between, exists.' END);
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.filter_leaf(text, text, jsonb, text, text, jsonb) IS 'Condition of one comparison of a target filter; its values are added to params';
REVOKE ALL ON FUNCTION sales_internal.filter_leaf(text, text, jsonb, text, text, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.compile_filter(
    node jsonb, zone text, path text, depth integer, INOUT params jsonb, OUT condition text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    member record;
    part record;
    parts text[] := '{}';
    branches text[];
    here text;
BEGIN
    IF jsonb_typeof(node) IS DISTINCT FROM 'object' THEN
        PERFORM sales_internal.filter_error(path, format('an object is needed, not %s', coalesce(jsonb_typeof(node), 'nothing')));
    ELSIF depth > 20 OR jsonb_array_length(params) > 500 THEN
        PERFORM sales_internal.filter_error(path, 'the filter is too large', 'At most 20 levels and 500 comparisons.');
    END IF;
    IF jsonb_typeof(node -> 'field') = 'string' AND node ?| '{op,value}' THEN
        IF node - 'field' - 'op' - 'value' <> '{}' THEN
            PERFORM sales_internal.filter_error(path, 'only field, op and value go together');
        ELSIF NOT node ? 'value' THEN
            PERFORM sales_internal.filter_error(path, 'the value is missing');
        ELSIF jsonb_typeof(coalesce(node -> 'op', '"="')) <> 'string' THEN
            PERFORM sales_internal.filter_error(path || '.op', 'a comparison is a text');
        END IF;
        SELECT * INTO part FROM sales_internal.filter_leaf(node ->> 'field',
            coalesce(node ->> 'op', CASE jsonb_typeof(node -> 'value') WHEN 'array' THEN 'in' ELSE '=' END),
            node -> 'value', zone, path, params);
        params := part.params;
        condition := part.condition;
        RETURN;
    END IF;
    FOR member IN SELECT key, value FROM jsonb_each(node) ORDER BY key
    LOOP
        here := path || '.' || member.key;
        IF member.key IN ('and', 'or') THEN
            IF jsonb_typeof(member.value) <> 'array' OR jsonb_array_length(member.value) = 0 THEN
                PERFORM sales_internal.filter_error(here, 'a list of at least one filter is needed');
            END IF;
            branches := '{}';
            FOR i IN 0 .. jsonb_array_length(member.value) - 1
            LOOP
                SELECT * INTO part FROM sales_internal.compile_filter(member.value -> i, zone, format('%s[%s]', here, i), depth + 1, params);
                params := part.params;
                branches := branches || part.condition;
            END LOOP;
            parts := parts || format('(%s)', array_to_string(branches, CASE member.key WHEN 'and' THEN ' AND ' ELSE ' OR ' END));
        ELSIF member.key = 'not' THEN
            SELECT * INTO part FROM sales_internal.compile_filter(member.value, zone, here, depth + 1, params);
            params := part.params;
            parts := parts || format('(%s) IS NOT TRUE', part.condition);
        ELSIF jsonb_typeof(member.value) = 'object' THEN
            IF member.value = '{}' THEN
                PERFORM sales_internal.filter_error(here, 'a comparison is missing');
            END IF;
            FOR part IN SELECT key AS op, value FROM jsonb_each(member.value) ORDER BY key
            LOOP
                SELECT * INTO part FROM sales_internal.filter_leaf(member.key, part.op, part.value, zone, here || '.' || part.op, params);
                params := part.params;
                parts := parts || part.condition;
            END LOOP;
        ELSE
            SELECT * INTO part FROM sales_internal.filter_leaf(member.key,
                CASE jsonb_typeof(member.value) WHEN 'array' THEN 'in' ELSE '=' END, member.value, zone, here, params);
            params := part.params;
            parts := parts || part.condition;
        END IF;
    END LOOP;
    condition := coalesce(nullif(array_to_string(parts, ' AND '), ''), 'true');
    IF cardinality(parts) > 1 THEN
        condition := format('(%s)', condition);
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.compile_filter(jsonb, text, text, integer, jsonb) IS
    'Compiles a target filter to a condition over p whose values are in params';
REVOKE ALL ON FUNCTION sales_internal.compile_filter(jsonb, text, text, integer, jsonb) FROM PUBLIC;

-- The prospects of a company that a filter chooses.
CREATE OR REPLACE FUNCTION sales_internal.audience(company uuid, target_filter jsonb) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    compiled record;
BEGIN
    SELECT f.* INTO compiled
    FROM sales.companies c, sales_internal.compile_filter(coalesce(target_filter, '{}'), c.timezone, '$', 0, '[]') AS f
    WHERE c.company_id = company;
    RETURN QUERY EXECUTE
        'SELECT p.prospect_id FROM sales.prospects p WHERE p.company_id = $1 AND p.deleted_at IS NULL AND '
        || compiled.condition || ' ORDER BY p.prospect_id'
    USING company, compiled.params;
END
$$;
COMMENT ON FUNCTION sales_internal.audience(uuid, jsonb) IS 'Prospects of a company that a target filter chooses, deleted ones left out';
REVOKE ALL ON FUNCTION sales_internal.audience(uuid, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.preview_audience(target_filter jsonb) RETURNS SETOF uuid
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
BEGIN
    PERFORM sales_internal.require('prospects', 'read');
    RETURN QUERY SELECT a FROM sales_internal.audience(company, target_filter) AS a;
END
$$;
COMMENT ON FUNCTION sales.preview_audience(jsonb) IS
    'Prospects that a target filter chooses; a filter that cannot be read is an error with its place in the JSON';
REVOKE ALL ON FUNCTION sales.preview_audience(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.preview_audience(jsonb) TO sales_app;
