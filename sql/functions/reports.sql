-- Reports: figures are gathered once and kept; report_html() shows them.

-- Names of periods: 2026-W05, 2026-01, 2026-Q1, 2026-01-01/2026-01-31.
CREATE OR REPLACE FUNCTION sales_internal.report_period(type sales.report_type, period text, today date)
RETURNS TABLE (name text, first_day date, last_day date, before_first date, before_last date)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    unit interval := CASE type WHEN 'weekly' THEN interval '7 days' WHEN 'monthly' THEN interval '1 month'
                               WHEN 'quarterly' THEN interval '3 months' END;
    wanted text := upper(btrim(period));
    part text[];
BEGIN
    IF wanted IS NULL OR wanted = '' THEN
        -- The last one that is over.
        IF type = 'on_demand' THEN
            first_day := today - 29;
            last_day := today;
        ELSE
            first_day := (date_trunc(CASE type WHEN 'weekly' THEN 'week' WHEN 'monthly' THEN 'month' ELSE 'quarter' END,
                                     today::timestamp) - unit)::date;
        END IF;
    ELSIF wanted ~ '^\d{4}-W(0[1-9]|[1-4]\d|5[0-3])$' AND type IN ('weekly', 'on_demand') THEN
        first_day := to_date(wanted, 'IYYY-"W"IW');
        unit := interval '7 days';
        IF to_char(first_day, 'IYYY-"W"IW') <> wanted THEN
            first_day := NULL;
        END IF;
    ELSIF wanted ~ '^\d{4}-(0[1-9]|1[0-2])$' AND type IN ('monthly', 'on_demand') THEN
        first_day := to_date(wanted, 'YYYY-MM');
        unit := interval '1 month';
    ELSIF wanted ~ '^\d{4}-Q[1-4]$' AND type IN ('quarterly', 'on_demand') THEN
        first_day := make_date(left(wanted, 4)::integer, right(wanted, 1)::integer * 3 - 2, 1);
        unit := interval '3 months';
    ELSIF wanted ~ '^\d{4}-?\d\d-?\d\d/\d{4}-?\d\d-?\d\d$' AND type = 'on_demand' THEN
        BEGIN
            part := string_to_array(wanted, '/');
            first_day := part[1]::date;
            last_day := part[2]::date;
        EXCEPTION WHEN datetime_field_overflow OR invalid_datetime_format THEN
            first_day := NULL;
        END;
    END IF;
    IF first_day IS NULL OR first_day < '0001-01-01' OR last_day < first_day OR last_day > first_day + 3660 THEN
        RAISE EXCEPTION '"%" is no period of type %', period, type
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = 'Weekly: 2026-W05; monthly: 2026-01; quarterly: 2026-Q1; on_demand: any of these or 2026-01-01/2026-01-31.';
    END IF;
    IF last_day IS NULL THEN
        last_day := (first_day + unit)::date - 1;
        before_first := (first_day - unit)::date;
    ELSE
        before_first := first_day - (last_day - first_day + 1);
        unit := NULL;
    END IF;
    before_last := first_day - 1;
    name := CASE WHEN unit = interval '7 days' THEN to_char(first_day, 'IYYY-"W"IW')
                 WHEN unit = interval '1 month' THEN to_char(first_day, 'YYYY-MM')
                 WHEN unit = interval '3 months' THEN to_char(first_day, 'YYYY-"Q"Q')
                 ELSE to_char(first_day, 'YYYYMMDD/') || to_char(last_day, 'YYYYMMDD') END;
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sales_internal.report_period(sales.report_type, text, date) IS
    'Days of a named period and of the one before it; no name: the last one that is over';
REVOKE ALL ON FUNCTION sales_internal.report_period(sales.report_type, text, date) FROM PUBLIC;

-- The metric dictionary over any range of days, as success_metrics has it for its periods.
CREATE OR REPLACE FUNCTION sales_internal.range_metrics(company uuid, first_day date, last_day date) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH s AS (
        SELECT coalesce(sum(prospects_added), 0) AS added, coalesce(sum(prospects_imported), 0) AS imported,
               coalesce(sum(messages_sent), 0) AS sent, coalesce(sum(answered), 0) AS answered,
               coalesce(sum(responses_received), 0) AS responses, coalesce(sum(meetings_scheduled), 0) AS meetings,
               coalesce(sum(proposals_sent), 0) AS proposals, coalesce(sum(deals_won), 0) AS won,
               coalesce(sum(deals_lost), 0) AS lost, coalesce(sum(revenue), 0) AS revenue,
               coalesce(sum(cycle_seconds), 0) AS cycle_seconds,
               coalesce(sum(cost), 0) + sales_internal.subscription_cost(
                   sales_internal.monthly_cost(company), first_day, last_day) AS cost
        FROM sales_internal.metric_days
        WHERE company_id = company AND day BETWEEN first_day AND last_day
    ), k AS (
        SELECT count(DISTINCT who) AS contacted
        FROM sales_internal.metric_contacts m, unnest(m.people) AS who
        WHERE m.company_id = company AND m.day BETWEEN first_day AND last_day
    )
    SELECT jsonb_build_object(
        'prospects_added', added, 'prospects_imported', imported, 'prospects_contacted', contacted,
        'messages_sent', sent, 'messages_answered', answered, 'responses_received', responses,
        'response_rate', CASE WHEN sent > 0 THEN round(100.0 * answered / sent, 2) ELSE 0 END,
        'meetings_scheduled', meetings, 'proposals_sent', proposals, 'deals_won', won, 'deals_lost', lost,
        'conversion_rate', CASE WHEN contacted > 0 THEN least(round(100.0 * won / contacted, 2), 100) ELSE 0 END,
        'revenue', round(revenue, 2), 'avg_deal_size', CASE WHEN won > 0 THEN round(revenue / won, 2) END,
        'sales_cycle_days', CASE WHEN won > 0 THEN least(round(cycle_seconds / (86400 * won), 2), 999.99) END,
        'cost', round(cost, 2),
        'roi', CASE WHEN cost > 0
                    THEN greatest(least(round(100 * (revenue - cost) / cost, 2), 999999.99), -999999.99) END)
    FROM s, k
$$;
COMMENT ON FUNCTION sales_internal.range_metrics(uuid, date, date) IS 'The metrics of a company over a range of days';
REVOKE ALL ON FUNCTION sales_internal.range_metrics(uuid, date, date) FROM PUBLIC;

-- Everything a report shows.  People are kept by key, so that who is erased
-- later is gone from old reports too; report_html() looks the names up.
CREATE OR REPLACE FUNCTION sales_internal.report_figures(company uuid, p record) RETURNS jsonb
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    zone text := (SELECT timezone FROM sales.companies WHERE company_id = company);
    from_at timestamptz := sales_internal.day_start(p.first_day, zone);
    to_at timestamptz := sales_internal.day_start(p.last_day + 1, zone);
    today date := sales_internal.local_day(sales_internal.now(), zone);
    -- of a period that is not over: the week that it is
    last_week date := date_trunc('week', least(p.last_day, today)::timestamp)::date;
    now_metrics jsonb := sales_internal.range_metrics(company, p.first_day, p.last_day);
    old_metrics jsonb := sales_internal.range_metrics(company, p.before_first, p.before_last);
    figures jsonb;
BEGIN
    SELECT jsonb_build_object(
        'currency', sales_internal.company_currency(company), 'timezone', zone,
        'first_day', p.first_day, 'last_day', p.last_day, 'made_on', today,
        'metrics', now_metrics, 'previous', old_metrics)
    INTO figures;

    figures := figures || jsonb_build_object('trend', (
        SELECT jsonb_agg(jsonb_build_object('week', to_char(w, 'IYYY-"W"IW'), 'messages_sent', coalesce(d.sent, 0),
                             'responses_received', coalesce(d.responses, 0), 'deals_won', coalesce(d.won, 0),
                             'revenue', coalesce(d.revenue, 0)) ORDER BY w)
        FROM generate_series(last_week - 77, last_week::timestamp, interval '7 days') AS w
        LEFT JOIN LATERAL (
            SELECT sum(messages_sent) AS sent, sum(responses_received) AS responses, sum(deals_won) AS won, sum(revenue) AS revenue
            FROM sales_internal.metric_days m
            WHERE m.company_id = company AND m.day BETWEEN w::date AND w::date + 6) d ON true));

    -- What stands now, by the same calls as the BI views.
    figures := figures || jsonb_build_object(
        'funnel', (SELECT coalesce(jsonb_agg(jsonb_build_object('stage', stage, 'prospects', prospects,
                              'value', deal_value) ORDER BY stage_order), '[]') FROM sales_internal.funnel_now_of(company)),
        'forecast', (SELECT coalesce(jsonb_agg(jsonb_build_object('month', to_char(month, 'YYYY-MM'), 'deals', deals,
                              'expected', expected_value, 'low', low_value, 'high', high_value) ORDER BY month), '[]')
                     FROM (SELECT * FROM sales_internal.forecast_of(company) ORDER BY month LIMIT 6) AS f));

    figures := figures || jsonb_build_object('users', (
        SELECT coalesce(jsonb_agg(to_jsonb(u) ORDER BY u.won DESC, u.sent DESC, u.user_id), '[]')
        FROM (SELECT coalesce(i.user_id, f.user_id) AS user_id, coalesce(i.sent, 0) AS sent, coalesce(i.answered, 0) AS answered,
                     coalesce(i.calls, 0) AS calls, coalesce(i.meetings, 0) AS meetings,
                     coalesce(f.won, 0) AS won, coalesce(f.revenue, 0) AS revenue
              FROM (SELECT user_id, count(*) FILTER (WHERE type = 'sent') AS sent,
                           count(*) FILTER (WHERE type = 'sent' AND response_received) AS answered,
                           count(*) FILTER (WHERE type = 'call_made') AS calls,
                           count(*) FILTER (WHERE type = 'meeting_held') AS meetings
                    FROM sales.interactions
                    WHERE company_id = company AND interaction_date >= from_at AND interaction_date < to_at
                      AND user_id IS NOT NULL GROUP BY user_id) i
              FULL JOIN (SELECT created_by AS user_id, count(*) AS won, sum(deal_value) AS revenue
                         FROM sales.conversion_funnel
                         WHERE company_id = company AND stage = 'client' AND stage_entered_at >= from_at
                           AND stage_entered_at < to_at AND created_by IS NOT NULL GROUP BY created_by) f USING (user_id)
              ORDER BY 6 DESC, 2 DESC, 1 LIMIT 50) AS u));

    figures := figures || jsonb_build_object('channels', (
        SELECT coalesce(jsonb_agg(to_jsonb(c) ORDER BY c.sent DESC, c.channel), '[]')
        FROM (SELECT channel::text, count(*) FILTER (WHERE type = 'sent') AS sent,
                     count(*) FILTER (WHERE type = 'sent' AND response_received) AS answered,
                     count(*) FILTER (WHERE type = 'received' OR response_received) AS responses
              FROM sales.interactions
              WHERE company_id = company AND interaction_date >= from_at AND interaction_date < to_at
              GROUP BY channel) AS c),
        'templates', (
        SELECT coalesce(jsonb_agg(to_jsonb(t) ORDER BY t.sent DESC, t.name), '[]')
        FROM (SELECT t.name, count(*) AS sent, count(*) FILTER (WHERE i.response_received) AS answered
              FROM sales.interactions i
              JOIN sales.messages m ON m.company_id = i.company_id AND m.message_id = i.message_id
              JOIN sales.templates t ON t.company_id = m.company_id AND t.template_id = m.template_id
              WHERE i.company_id = company AND i.type = 'sent' AND i.interaction_date >= from_at AND i.interaction_date < to_at
              GROUP BY t.template_id, t.name ORDER BY 2 DESC, 1 LIMIT 20) AS t),
        'campaigns', (
        SELECT coalesce(jsonb_agg(to_jsonb(e) ORDER BY e.sent DESC, e.name), '[]')
        FROM (SELECT name, emails_sent AS sent, emails_opened AS opened, emails_replied AS replied
              FROM sales.email_campaigns
              WHERE company_id = company AND coalesce(scheduled_at, created_at) >= from_at
                AND coalesce(scheduled_at, created_at) < to_at
              ORDER BY 2 DESC, 1 LIMIT 20) AS e),
        'loss_reasons', (
        SELECT coalesce(jsonb_agg(to_jsonb(l) ORDER BY l.deals DESC, l.reason NULLS LAST), '[]')
        FROM (SELECT min(btrim(loss_reason)) AS reason, count(*) AS deals, coalesce(sum(deal_value), 0) AS value
              FROM sales.conversion_funnel
              WHERE company_id = company AND stage = 'perdu' AND stage_entered_at >= from_at AND stage_entered_at < to_at
              GROUP BY lower(btrim(loss_reason)) ORDER BY 2 DESC LIMIT 10) AS l));

    -- Of lists that may be longer than what is shown: how long.
    figures := figures || jsonb_build_object('totals', jsonb_build_object(
        'users', (SELECT count(*)
                  FROM (SELECT user_id FROM sales.interactions
                        WHERE company_id = company AND interaction_date >= from_at AND interaction_date < to_at AND user_id IS NOT NULL
                        UNION SELECT created_by FROM sales.conversion_funnel
                        WHERE company_id = company AND stage = 'client' AND stage_entered_at >= from_at AND stage_entered_at < to_at
                          AND created_by IS NOT NULL) AS u),
        'templates', (SELECT count(DISTINCT m.template_id)
                      FROM sales.interactions i JOIN sales.messages m ON m.company_id = i.company_id AND m.message_id = i.message_id
                      WHERE i.company_id = company AND i.type = 'sent' AND i.interaction_date >= from_at AND i.interaction_date < to_at),
        'campaigns', (SELECT count(*) FROM sales.email_campaigns
                      WHERE company_id = company AND coalesce(scheduled_at, created_at) >= from_at
                        AND coalesce(scheduled_at, created_at) < to_at),
        'loss_reasons', (SELECT count(DISTINCT coalesce(lower(btrim(loss_reason)), '')) FROM sales.conversion_funnel
                         WHERE company_id = company AND stage = 'perdu' AND stage_entered_at >= from_at AND stage_entered_at < to_at)));

    -- Stalled, and worth what the funnel says: open, past the first stage, and longer in it than three in four of those that left it (30 days at least).
    figures := figures || (
        WITH usual AS (
            SELECT stage, percentile_cont(0.75) WITHIN GROUP (ORDER BY stage_duration_hours) AS hours
            FROM sales.conversion_funnel WHERE company_id = company AND stage_duration_hours IS NOT NULL GROUP BY stage
        )
        SELECT jsonb_build_object(
                   'stalled', coalesce(jsonb_agg(jsonb_build_object('prospect_id', s.prospect_id, 'stage', s.stage, 'days', s.days, 'value', s.value)
                                                 ORDER BY s.place) FILTER (WHERE s.place <= 10), '[]'),
                   'stalled_total', jsonb_build_object('deals', count(*), 'value', coalesce(sum(s.value), 0)))
        FROM (SELECT d.*, row_number() OVER (ORDER BY d.value DESC, d.days DESC, d.prospect_id) AS place
              FROM (SELECT l.prospect_id, l.stage, floor(l.hours / 24)::bigint AS days, coalesce(l.deal_value, x.estimated_budget_amount, 0) AS value
                    FROM sales_internal.standings(company) l
                    JOIN sales.prospects x ON x.company_id = company AND x.prospect_id = l.prospect_id AND x.deleted_at IS NULL
                    LEFT JOIN usual u USING (stage)
                    WHERE l.stage NOT IN ('nouveau', 'client', 'perdu')
                      AND l.hours > greatest(round(u.hours), 30 * 24)) AS d) AS s);

    figures := figures || jsonb_build_object('costs', jsonb_build_object(
        'subscription', round(sales_internal.subscription_cost(sales_internal.monthly_cost(company), p.first_day, p.last_day), 2),
        'enrichment', (SELECT round(coalesce(sum(cost), 0), 2) FROM sales.enrichments
                       WHERE company_id = company AND created_at >= from_at AND created_at < to_at),
        'ai', (SELECT round(coalesce(sum(cost), 0), 2) FROM sales_internal.ai_costs
               WHERE company_id = company AND spent_at >= from_at AND spent_at < to_at),
        'total', now_metrics -> 'cost', 'revenue', now_metrics -> 'revenue', 'roi', now_metrics -> 'roi'));
    RETURN figures;
END
$$;
COMMENT ON FUNCTION sales_internal.report_figures(uuid, record) IS
    'All figures of a report as JSON; people by key only';
REVOKE ALL ON FUNCTION sales_internal.report_figures(uuid, record) FROM PUBLIC;

-- Insights and recommendations from the figures alone: no model, no network.
-- Kept as key and values, worded when shown.
CREATE OR REPLACE FUNCTION sales_internal.report_insights(figures jsonb) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH m AS (SELECT figures -> 'metrics' AS now, figures -> 'previous' AS old),
    channel AS (
        SELECT c ->> 'channel' AS channel, round(100.0 * (c ->> 'answered')::numeric / (c ->> 'sent')::numeric, 2) AS rate
        FROM jsonb_array_elements(figures -> 'channels') AS c WHERE (c ->> 'sent')::bigint >= 10
    )
    SELECT coalesce(jsonb_agg(x.item ORDER BY x.place), '[]') FROM (
        SELECT k.place, jsonb_build_object(
                   'key', CASE WHEN (now ->> k.metric)::numeric > (old ->> k.metric)::numeric THEN 'i_up' ELSE 'i_down' END,
                   'metric', k.metric, 'before', old -> k.metric, 'after', now -> k.metric, 'source', 'local') AS item
        FROM m, (VALUES (1, 'revenue'), (2, 'deals_won'), (3, 'response_rate'), (5, 'prospects_contacted')) AS k (place, metric)
        WHERE (now ->> k.metric)::numeric <> (old ->> k.metric)::numeric
        UNION ALL
        SELECT 4, jsonb_build_object('key', CASE WHEN p < 0.05 THEN 'i_sig' ELSE 'i_chance' END, 'p', round(p::numeric, 3), 'source', 'local')
        FROM m, LATERAL (SELECT sales_internal.proportions_p(
                 (old ->> 'messages_answered')::bigint, (old ->> 'messages_sent')::bigint,
                 (now ->> 'messages_answered')::bigint, (now ->> 'messages_sent')::bigint)) AS t (p)
        WHERE p IS NOT NULL AND (now ->> 'response_rate')::numeric <> (old ->> 'response_rate')::numeric
        UNION ALL
        -- The newest messages have had less time to be answered than those of the period before.
        SELECT 4, jsonb_build_object('key', 'i_late', 'source', 'local') FROM m
        WHERE (now ->> 'response_rate')::numeric < (old ->> 'response_rate')::numeric
          AND (figures ->> 'last_day')::date > (figures ->> 'made_on')::date - 7
        UNION ALL
        (SELECT 6, jsonb_build_object('key', 'i_channel', 'channel', channel, 'rate', rate, 'source', 'local')
         FROM channel ORDER BY rate DESC, channel LIMIT 1)
        UNION ALL
        SELECT 7, jsonb_build_object('key', 'i_loss', 'reason', figures #> '{loss_reasons,0,reason}',
                                     'n', figures #> '{loss_reasons,0,deals}', 'source', 'local')
        WHERE figures #>> '{loss_reasons,0,reason}' IS NOT NULL
        UNION ALL
        SELECT 8, jsonb_build_object('key', 'i_quiet', 'source', 'local') FROM m
        WHERE (now ->> 'messages_sent')::numeric + (now ->> 'prospects_added')::numeric + (now ->> 'prospects_contacted')::numeric
              + (now ->> 'responses_received')::numeric + (now ->> 'deals_won')::numeric + (now ->> 'deals_lost')::numeric = 0
    ) AS x
$$;
COMMENT ON FUNCTION sales_internal.report_insights(jsonb) IS 'What the figures of a report show, as keys and values';
REVOKE ALL ON FUNCTION sales_internal.report_insights(jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.report_recommendations(company uuid, figures jsonb) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH channel AS (
        SELECT c ->> 'channel' AS channel, round(100.0 * (c ->> 'answered')::numeric / (c ->> 'sent')::numeric, 2) AS rate,
               (c ->> 'sent')::bigint AS sent, (c ->> 'answered')::bigint AS answered
        FROM jsonb_array_elements(figures -> 'channels') AS c WHERE (c ->> 'sent')::bigint >= 10
    ), best AS (SELECT * FROM channel ORDER BY rate DESC, channel LIMIT 1),
    worst AS (SELECT * FROM channel ORDER BY rate, channel DESC LIMIT 1)
    SELECT coalesce(jsonb_agg(x.item ORDER BY x.place), '[]') FROM (
        SELECT 1 AS place, jsonb_build_object('key', 'r_stalled', 'n', figures #> '{stalled_total,deals}',
                                              'value', figures #> '{stalled_total,value}', 'source', 'local') AS item
        WHERE (figures #>> '{stalled_total,deals}')::bigint > 0
        UNION ALL
        SELECT 2, jsonb_build_object('key', 'r_channel', 'channel', b.channel, 'rate', b.rate, 'worst', w.channel, 'low', w.rate, 'source', 'local')
        FROM best b, worst w
        WHERE sales_internal.proportions_p(b.answered, b.sent, w.answered, w.sent) < 0.05
        UNION ALL
        SELECT 3, jsonb_build_object('key', 'r_followup', 'n', n, 'source', 'local')
        FROM (SELECT (figures #>> '{metrics,messages_sent}')::bigint - (figures #>> '{metrics,messages_answered}')::bigint) AS u (n)
        WHERE n > 0
        UNION ALL
        SELECT 4, jsonb_build_object('key', 'r_prospect', 'source', 'local')
        WHERE NOT EXISTS (SELECT FROM jsonb_array_elements(figures -> 'funnel') AS f
                          WHERE f ->> 'stage' NOT IN ('client', 'perdu') AND (f ->> 'prospects')::bigint > 0)
        UNION ALL
        -- Open suggestions, by AI or by rule, with what was measured of those carried out.
        SELECT 5, jsonb_build_object('text', s.suggested_change, 'expected', s.expected_improvement,
                                     'result', s.result_measured, 'source', 'suggestion')
        FROM (SELECT * FROM sales.improvement_suggestions
              WHERE company_id = company AND status <> 'rejected'
              ORDER BY confidence_score DESC NULLS LAST, created_at DESC LIMIT 5) AS s
    ) AS x
$$;
COMMENT ON FUNCTION sales_internal.report_recommendations(uuid, jsonb) IS
    'What to do next: rules over the figures, and the open suggestions';
REVOKE ALL ON FUNCTION sales_internal.report_recommendations(uuid, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.make_report(company uuid, kind sales.report_type, period text) RETURNS uuid
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    days record;
    figures jsonb;
    benchmark jsonb;
    report uuid;
BEGIN
    SELECT p.* INTO days
    FROM sales.companies c,
         sales_internal.report_period(kind, period, (sales_internal.now() AT TIME ZONE c.timezone)::date) AS p
    WHERE c.company_id = company;
    PERFORM sales_internal.refresh_companies(ARRAY[company]);
    figures := sales_internal.report_figures(company, days);
    SELECT to_jsonb(b) - 'freshness' INTO benchmark FROM sales_internal.sector_benchmark_of(company) b
    WHERE b.quarter_start <= days.last_day ORDER BY b.quarter_start DESC LIMIT 1;
    INSERT INTO sales.success_reports AS r
        (company_id, report_type, report_period, key_metrics, insights_generated, recommendations, benchmark_data, generated_at)
    VALUES (company, kind, days.name, figures, sales_internal.report_insights(figures),
            sales_internal.report_recommendations(company, figures), coalesce(benchmark, '{}'), sales_internal.now())
    RETURNING r.report_id INTO report;
    IF EXISTS (SELECT FROM sales_internal.choose_provider(company, 'chat')) THEN
        PERFORM sales_internal.enqueue('report_insights', company, jsonb_build_object('report_id', report), report::text);
    END IF;
    RETURN report;
END
$$;
COMMENT ON FUNCTION sales_internal.make_report(uuid, sales.report_type, text) IS 'Makes a report of a company';
REVOKE ALL ON FUNCTION sales_internal.make_report(uuid, sales.report_type, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.generate_report(type text, period text DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
BEGIN
    PERFORM sales_internal.require('success_reports', 'create');
    IF type IS NULL OR type <> ALL (enum_range(NULL::sales.report_type)::text[]) THEN
        RAISE EXCEPTION 'there is no report of type "%"', left(type, 100)
            USING ERRCODE = 'invalid_parameter_value',
                  HINT = format('Types are %s.', array_to_string(enum_range(NULL::sales.report_type), ', '));
    END IF;
    RETURN sales_internal.make_report(company, type::sales.report_type, period);
END
$$;
COMMENT ON FUNCTION sales.generate_report(text, text) IS
    'Makes a weekly (2026-W05), monthly (2026-01), quarterly (2026-Q1) or on_demand report and returns its key; no period: the last one that is over';
REVOKE ALL ON FUNCTION sales.generate_report(text, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.generate_report(text, text) TO sales_app;

-- Who gets the report: the setting reports.recipients, else the active admins and managers.
CREATE OR REPLACE FUNCTION sales_internal.report_recipients(company uuid) RETURNS text[]
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT coalesce(
        (SELECT array_agg(DISTINCT btrim(a)) FROM regexp_split_to_table(sales_internal.setting_of(company, 'reports.recipients'), '[,;\s]+') AS a
         WHERE btrim(a) ~ '^[^@\s<>"(),;:]+@[^@\s<>"(),;:]+$'),
        (SELECT array_agg(u.email::text ORDER BY u.email)
         FROM sales.users u JOIN sales.roles r USING (company_id, role_id)
         WHERE u.company_id = company AND u.is_active AND r.is_system AND r.name IN ('admin', 'manager')
           AND u.email ~ '^[^@\s<>"(),;:]+@[^@\s<>"(),;:]+$'), '{}')
$$;
COMMENT ON FUNCTION sales_internal.report_recipients(uuid) IS 'E-mail addresses that get a company''s reports';
REVOKE ALL ON FUNCTION sales_internal.report_recipients(uuid) FROM PUBLIC;

-- The mail itself is made when it is sent, so that the queue holds no names.
CREATE OR REPLACE FUNCTION sales_internal.report_mail(report_id uuid) RETURNS jsonb
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_build_object(
        'to', to_jsonb(sales_internal.report_recipients(r.company_id)),
        'bcc', to_jsonb(array_remove(ARRAY[nullif(btrim(sales_internal.setting_of(NULL, 'reports.internal_copy')), '')], NULL)),
        'subject', (sales_internal.report_words(c.language) ->> r.report_type::text) || ' ' || r.report_period || ' - '
                   || regexp_replace(c.name, '[[:cntrl:]]', ' ', 'g'),
        'text', sales_internal.report_text(r, c.language), 'html', sales_internal.report_page(r, c.language))
    FROM sales.success_reports r JOIN sales.companies c USING (company_id)
    WHERE r.report_id = report_mail.report_id
$$;
COMMENT ON FUNCTION sales_internal.report_mail(uuid) IS
    'A report as a mail: to, bcc (the internal copy), subject, text, html; called by the sender';
REVOKE ALL ON FUNCTION sales_internal.report_mail(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.queue_report(company uuid, report uuid) RETURNS uuid
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF sales_internal.setting_of(company, 'email.smtp_url') IS NULL OR sales_internal.setting_of(company, 'email.from') IS NULL THEN
        RAISE EXCEPTION 'no mail server is set'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Set email.smtp_url (such as smtp://mail.company.com:587) and email.from, or show the report with sales.report_html(report_id).';
    END IF;
    IF cardinality(sales_internal.report_recipients(company)) = 0 THEN
        RAISE EXCEPTION 'nobody is there to get the report'
            USING ERRCODE = 'object_not_in_prerequisite_state',
                  HINT = 'Set reports.recipients to e-mail addresses, or give an active user the role admin or manager.';
    END IF;
    -- A chat provider that is at the insights gets two minutes.
    RETURN sales_internal.enqueue('report_mail', company, jsonb_build_object('report_id', report), report::text,
        CASE WHEN EXISTS (SELECT FROM sales_internal.jobs j
                          WHERE j.company_id = company AND j.kind = 'report_insights' AND j.unique_key = report::text
                            AND j.state IN ('queued', 'running')) THEN sales_internal.now() + interval '2 minutes' END);
END
$$;
COMMENT ON FUNCTION sales_internal.queue_report(uuid, uuid) IS 'Queues the mail of a report';
REVOKE ALL ON FUNCTION sales_internal.queue_report(uuid, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.send_report(report_id uuid) RETURNS uuid
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
    wanted uuid := send_report.report_id;
BEGIN
    PERFORM sales_internal.require('success_reports', 'update');
    IF NOT EXISTS (SELECT FROM sales.success_reports r WHERE r.company_id = company AND r.report_id = wanted) THEN
        RAISE EXCEPTION 'there is no report %', wanted
            USING ERRCODE = 'no_data_found', HINT = 'Make one with sales.generate_report(type, period).';
    END IF;
    RETURN sales_internal.queue_report(company, wanted);
END
$$;
COMMENT ON FUNCTION sales.send_report(uuid) IS
    'Has a report sent by mail to reports.recipients with the internal copy; returns the job';
REVOKE ALL ON FUNCTION sales.send_report(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.send_report(uuid) TO sales_app;

-- Text of a header, in encoded words of RFC 2047 where it is not plain.
CREATE OR REPLACE FUNCTION sales_internal.mail_header(value text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT CASE WHEN value ~ '^[ -~]{0,60}$' AND value !~ '=\?' THEN value ELSE
        (SELECT string_agg('=?utf-8?B?' || encode(convert_to(substr(value, n, 10), 'UTF8'), 'base64') || '?=', E'\r\n ' ORDER BY n)
         FROM generate_series(1, greatest(length(value), 1), 10) AS n) END
$$;
COMMENT ON FUNCTION sales_internal.mail_header(text) IS 'Text as the header of a mail carries it';
REVOKE ALL ON FUNCTION sales_internal.mail_header(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.mail_part(job uuid, subtype text, body text) RETURNS text
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT concat(E'\r\n--=_', job, E'\r\nContent-Type: text/', subtype, E'; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\n',
                  replace(encode(convert_to(body, 'UTF8'), 'base64'), E'\n', E'\r\n'))
$$;
COMMENT ON FUNCTION sales_internal.mail_part(uuid, text, text) IS 'One part of a multipart/alternative mail, whose boundary is the job''s key';
REVOKE ALL ON FUNCTION sales_internal.mail_part(uuid, text, text) FROM PUBLIC;

-- Job report_mail: made when it is sent, so that the queue holds no names.
CREATE OR REPLACE FUNCTION sales_internal.prepare_report_mail(job uuid, company uuid, args jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    mail jsonb := sales_internal.report_mail((args ->> 'report_id')::uuid);
    sender text := btrim(sales_internal.setting_of(company, 'email.from'));
    server text := btrim(sales_internal.setting_of(company, 'email.smtp_url'));
    key_id uuid;
BEGIN
    IF mail IS NULL OR NOT EXISTS (SELECT FROM sales.success_reports r
                                   WHERE r.company_id = company AND r.report_id = (args ->> 'report_id')::uuid) THEN
        RETURN jsonb_build_object('outcome', 'failed', 'error', 'the report is gone');
    END IF;
    IF sender IS NULL OR server IS NULL OR jsonb_array_length(mail -> 'to') = 0 THEN
        RETURN jsonb_build_object('outcome', 'failed', 'error', 'mail server, sender or recipients are no longer set');
    END IF;
    SELECT k.api_key_id INTO key_id FROM sales.api_keys k
    WHERE k.company_id = company AND lower(k.service_name) = 'smtp' AND k.is_active
      AND (k.expires_at IS NULL OR k.expires_at > sales_internal.now())
    ORDER BY k.created_at DESC LIMIT 1;
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'url', server, 'timeout_ms', 60000, 'provider', 'smtp', 'api_key_id', key_id,
        'mail', jsonb_build_object(
            'from', sender, 'to', (mail -> 'to') || (mail -> 'bcc'),
            'user', sales_internal.setting_of(company, 'email.smtp_user'),
            'message', concat(
                'From: <', sender, E'>\r\nTo: ', (SELECT string_agg('<' || a || '>', E',\r\n ') FROM jsonb_array_elements_text(mail -> 'to') AS a),
                E'\r\nSubject: ', sales_internal.mail_header(mail ->> 'subject'),
                E'\r\nDate: ', to_char(sales_internal.now() AT TIME ZONE 'UTC', 'Dy, DD Mon YYYY HH24:MI:SS "+0000"'),
                E'\r\nMessage-ID: <', job, '@', split_part(sender, '@', 2),
                E'>\r\nMIME-Version: 1.0\r\nContent-Type: multipart/alternative; boundary="=_', job, E'"\r\n',
                sales_internal.mail_part(job, 'plain', mail ->> 'text'), sales_internal.mail_part(job, 'html', mail ->> 'html'),
                E'\r\n--=_', job, E'--\r\n'))));
END
$$;
COMMENT ON FUNCTION sales_internal.prepare_report_mail(uuid, uuid, jsonb) IS 'Job report_mail: the mail for the company''s mail server';
REVOKE ALL ON FUNCTION sales_internal.prepare_report_mail(uuid, uuid, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.settle_report_mail(job uuid, company uuid, args jsonb, response jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    mail jsonb;
BEGIN
    IF response ->> 'error' IS NOT NULL THEN
        RETURN jsonb_build_object('outcome', CASE WHEN (response ->> 'blocked')::boolean OR response ->> 'error' ~ '\m5\d\d\M|denied'
                                                  THEN 'failed' ELSE 'retry' END,
                                  'error', 'smtp: ' || (response ->> 'error'));
    END IF;
    mail := sales_internal.report_mail((args ->> 'report_id')::uuid);
    UPDATE sales.success_reports r
    SET sent_at = sales_internal.now(), sent_to_emails = coalesce(mail -> 'to', '[]'),
        internal_copy_sent = coalesce(jsonb_array_length(mail -> 'bcc') > 0, false)
    WHERE r.company_id = company AND r.report_id = (args ->> 'report_id')::uuid;
    RETURN jsonb_build_object('outcome', 'done', 'result', jsonb_build_object('report_id', args -> 'report_id'));
END
$$;
COMMENT ON FUNCTION sales_internal.settle_report_mail(uuid, uuid, jsonb, jsonb) IS 'Job report_mail: notes that the mail server took the mail, or tries again';
REVOKE ALL ON FUNCTION sales_internal.settle_report_mail(uuid, uuid, jsonb, jsonb) FROM PUBLIC;

-- Job report_insights: where the company has a chat provider, it reads the
-- figures and writes insights and recommendations in the company's language.
-- Users and prospects are left out of what it is shown, and the local insights
-- stay behind its own.
CREATE OR REPLACE FUNCTION sales_internal.prepare_report_insights(job uuid, company uuid, args jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    report sales.success_reports;
    chosen record;
    texts constant jsonb := '{"type": "array", "items": {"type": "string"}}';
BEGIN
    SELECT r.* INTO report FROM sales.success_reports r
    WHERE r.company_id = company AND r.report_id = (args ->> 'report_id')::uuid;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'failed', 'error', 'the report is gone');
    END IF;
    SELECT * INTO chosen FROM sales_internal.choose_provider(company, 'chat');
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'done', 'result', jsonb_build_object('provider', 'local'));
    END IF;
    RETURN sales_internal.chat_request(job, company, chosen.provider, chosen.api_key_id,
        format('You are a sales analyst. From the figures of a report and of the period before it, write what matters most, in the language "%s": '
               '"insights", at most five sentences on what happened and why it may have, and "recommendations", at most five sentences on what to do next. '
               'Use only numbers that the data hold; where a difference may be chance, say so. The JSON object has these two keys, each a list of strings of at most 300 characters.',
               (SELECT c.language FROM sales.companies c WHERE c.company_id = company)),
        (report.key_metrics - '{users,stalled}'::text[])
            || jsonb_build_object('period', report.report_period, 'sector', report.benchmark_data, 'found_by_rule', report.insights_generated),
        sales_internal.answer_schema(jsonb_build_object('insights', texts, 'recommendations', texts)));
END
$$;
COMMENT ON FUNCTION sales_internal.prepare_report_insights(uuid, uuid, jsonb) IS
    'Job report_insights: the chat request about a report''s figures';
REVOKE ALL ON FUNCTION sales_internal.prepare_report_insights(uuid, uuid, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.settle_report_insights(job uuid, company uuid, args jsonb, response jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    read jsonb := sales_internal.chat_answer(job, company, 'report', response);
    found jsonb;
    advice jsonb;
BEGIN
    IF read ? 'trouble' THEN
        RETURN read -> 'trouble';
    END IF;
    SELECT jsonb_agg(jsonb_build_object('text', left(btrim(t), 500), 'source', 'ai', 'provider', response ->> 'provider') ORDER BY n)
    INTO found
    FROM jsonb_array_elements_text(CASE jsonb_typeof(read #> '{answer,insights}') WHEN 'array' THEN read #> '{answer,insights}' ELSE '[]' END)
         WITH ORDINALITY AS x (t, n) WHERE btrim(t) <> '' AND n <= 8;
    SELECT jsonb_agg(jsonb_build_object('text', left(btrim(t), 500), 'source', 'ai', 'provider', response ->> 'provider') ORDER BY n)
    INTO advice
    FROM jsonb_array_elements_text(CASE jsonb_typeof(read #> '{answer,recommendations}') WHEN 'array' THEN read #> '{answer,recommendations}' ELSE '[]' END)
         WITH ORDINALITY AS x (t, n) WHERE btrim(t) <> '' AND n <= 8;
    IF found IS NULL THEN
        RETURN jsonb_build_object('outcome', 'retry', 'cost', read -> 'cost',
            'error', format('%s: the answer has no insights', response ->> 'provider'));
    END IF;
    UPDATE sales.success_reports r
    SET insights_generated = found || r.insights_generated, recommendations = coalesce(advice, '[]') || r.recommendations
    WHERE r.company_id = company AND r.report_id = (args ->> 'report_id')::uuid
      AND NOT r.insights_generated @> '[{"source": "ai"}]';
    RETURN jsonb_build_object('outcome', 'done', 'cost', read -> 'cost',
        'result', jsonb_build_object('insights', jsonb_array_length(found), 'provider', response ->> 'provider'));
END
$$;
COMMENT ON FUNCTION sales_internal.settle_report_insights(uuid, uuid, jsonb, jsonb) IS
    'Job report_insights: puts what the chat provider found before the insights found by rule';
REVOKE ALL ON FUNCTION sales_internal.settle_report_insights(uuid, uuid, jsonb, jsonb) FROM PUBLIC;

INSERT INTO sales_internal.job_kinds (kind, mode, prepare_function, settle_function)
VALUES ('report_insights', 'http', 'sales_internal.prepare_report_insights', 'sales_internal.settle_report_insights')
ON CONFLICT (kind) DO NOTHING;

INSERT INTO sales_internal.job_kinds (kind, mode, prepare_function, settle_function)
VALUES ('report_mail', 'http', 'sales_internal.prepare_report_mail', 'sales_internal.settle_report_mail')
ON CONFLICT (kind) DO NOTHING;

-- Every active company gets the reports of the setting reports.schedule for the
-- last period that is over, once, from 06:00 of its own day on.
CREATE OR REPLACE FUNCTION sales_internal.make_due_reports() RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    due record;
    report uuid;
    made bigint := 0;
    looked_at bigint := 0;
BEGIN
    FOR due IN
        -- What a company has set is asked last: of nearly all, the last period's report is made, or there is nothing to report.
        WITH possible AS MATERIALIZED (
            SELECT c.company_id, t.kind
            FROM sales.companies c
            CROSS JOIN LATERAL (SELECT (sales_internal.now() AT TIME ZONE c.timezone) - interval '6 hours') AS n (here)
            CROSS JOIN (VALUES ('weekly'::sales.report_type, 'week', interval '7 days', 'IYYY-"W"IW'), ('monthly', 'month', interval '1 month', 'YYYY-MM'),
                               ('quarterly', 'quarter', interval '3 months', 'YYYY-"Q"Q')) AS t (kind, unit, length, name)
            WHERE c.subscription_status = 'active'
              AND NOT EXISTS (SELECT FROM sales.success_reports r
                              WHERE r.company_id = c.company_id AND r.report_type = t.kind
                                AND r.report_period = to_char(date_trunc(t.unit, n.here) - t.length, t.name))
              AND EXISTS (SELECT FROM sales_internal.metric_days m
                          WHERE m.company_id = c.company_id AND m.day < date_trunc(t.unit, n.here)::date
                            AND m.day >= (date_trunc(t.unit, n.here) - t.length)::date)
        )
        SELECT p.company_id, p.kind FROM possible p
        WHERE p.kind::text = ANY (regexp_split_to_array(coalesce(sales_internal.setting_of(p.company_id, 'reports.schedule'), ''), '[,;\s]+'))
        ORDER BY p.company_id, p.kind LIMIT 50
    LOOP
        looked_at := looked_at + 1;
        BEGIN
            report := sales_internal.make_report(due.company_id, due.kind, (
                SELECT p.name FROM sales.companies c,
                     sales_internal.report_period(due.kind, NULL, ((sales_internal.now() AT TIME ZONE c.timezone) - interval '6 hours')::date) AS p
                WHERE c.company_id = due.company_id));
            made := made + 1;
            IF sales_internal.setting_of(due.company_id, 'reports.send') = 'true' THEN
                PERFORM sales_internal.queue_report(due.company_id, report);
            END IF;
        EXCEPTION WHEN data_exception OR integrity_constraint_violation OR object_not_in_prerequisite_state OR lock_not_available THEN
            RAISE WARNING '% report of company % failed: %', due.kind, due.company_id, SQLERRM;
        END;
    END LOOP;
    -- there may be more: on with them in another transaction
    UPDATE sales_internal.periodic_tasks t SET next_run = sales_internal.now() WHERE t.name = 'reports' AND looked_at = 50 AND made > 0;
    RETURN made;
END
$$;
COMMENT ON FUNCTION sales_internal.make_due_reports() IS
    'Makes the reports that are due for all companies; run by the worker and maintain()';
REVOKE ALL ON FUNCTION sales_internal.make_due_reports() FROM PUBLIC;

-- Response rates of a company's messages in a range of time.
CREATE OR REPLACE FUNCTION sales_internal.answered_between(company uuid, from_at timestamptz, to_at timestamptz,
                                                           OUT sent bigint, OUT answered bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT count(*), count(*) FILTER (WHERE response_received)
    FROM sales.interactions
    WHERE company_id = company AND type = 'sent' AND interaction_date >= from_at AND interaction_date < to_at
$$;
COMMENT ON FUNCTION sales_internal.answered_between(uuid, timestamptz, timestamptz) IS 'Messages sent in a range of time, and those answered';
REVOKE ALL ON FUNCTION sales_internal.answered_between(uuid, timestamptz, timestamptz) FROM PUBLIC;

-- A suggestion starts with what things are like: the four weeks before it.
CREATE OR REPLACE FUNCTION sales_internal.suggestion_baseline() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NEW.current_performance = '{}' AND NOT sales_internal.restoring() THEN
        SELECT jsonb_build_object('days', 28, 'messages_sent', a.sent, 'messages_answered', a.answered,
                   'response_rate', CASE WHEN a.sent > 0 THEN round(100.0 * a.answered / a.sent, 2) END)
        INTO NEW.current_performance
        FROM sales_internal.answered_between(NEW.company_id, sales_internal.now() - interval '28 days', sales_internal.now()) AS a;
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sales_internal.suggestion_baseline() IS
    'Trigger: current_performance of a suggestion, where its writer gave none';
REVOKE ALL ON FUNCTION sales_internal.suggestion_baseline() FROM PUBLIC;
CREATE OR REPLACE TRIGGER baseline BEFORE INSERT ON sales.improvement_suggestions
    FOR EACH ROW EXECUTE FUNCTION sales_internal.suggestion_baseline();

-- What a suggestion brought: the 28 days before implemented_at against up to 28
-- days after it, and a week more for the answers.  A before-and-after comparison shows a difference, not its
-- cause; the p-value says only whether chance explains it.
CREATE OR REPLACE FUNCTION sales_internal.measure_suggestions() RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid;
    measured bigint := 0;
BEGIN
    FOR company IN SELECT DISTINCT s.company_id FROM sales.improvement_suggestions s WHERE s.implemented_at IS NOT NULL ORDER BY 1 LOOP
        -- dates and results are the company's to write: what stands there must not stop the others
        BEGIN
            measured := measured + sales_internal.measure_suggestions_of(company);
        EXCEPTION WHEN data_exception OR lock_not_available THEN
            RAISE WARNING 'suggestions of company % could not be measured: %', company, SQLERRM;
        END;
    END LOOP;
    RETURN measured;
END
$$;
COMMENT ON FUNCTION sales_internal.measure_suggestions() IS
    'Periodic task: measures what implemented suggestions brought, company by company';
REVOKE ALL ON FUNCTION sales_internal.measure_suggestions() FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.measure_suggestions_of(company uuid) RETURNS bigint
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    WITH measured AS (
        UPDATE sales.improvement_suggestions s
        SET result_measured = jsonb_build_object(
            'metric', 'response_rate', 'days_before', 28, 'days_after', m.days,
            'before', jsonb_build_object('sent', b.sent, 'answered', b.answered, 'rate', round(100.0 * b.answered / nullif(b.sent, 0), 2)),
            'after', jsonb_build_object('sent', a.sent, 'answered', a.answered, 'rate', round(100.0 * a.answered / nullif(a.sent, 0), 2)),
            'change_points', round(100.0 * a.answered / nullif(a.sent, 0) - 100.0 * b.answered / nullif(b.sent, 0), 2),
            'test', 'two-proportion z-test, two-sided', 'p_value', round(t.p::numeric, 4),
            'significant', coalesce(t.p < 0.05, false) AND least(b.sent, a.sent) >= 30,
            'final', m.final)
        FROM (SELECT x.suggestion_id,
                     least(28, floor(extract(epoch FROM sales_internal.now() - x.implemented_at) / 86400))::integer AS days,
                     x.implemented_at <= sales_internal.now() - interval '35 days' AS final
              FROM sales.improvement_suggestions x
              WHERE x.company_id = company AND x.implemented_at <= sales_internal.now() - interval '7 days' AND isfinite(x.implemented_at)
                AND NOT coalesce(x.result_measured @> '{"final": true}', false)) AS m,
             sales.improvement_suggestions y,
             LATERAL sales_internal.answered_between(y.company_id, y.implemented_at - interval '28 days', y.implemented_at) AS b,
             LATERAL sales_internal.answered_between(y.company_id, y.implemented_at, y.implemented_at + make_interval(days => m.days)) AS a,
             LATERAL (SELECT sales_internal.proportions_p(b.answered, b.sent, a.answered, a.sent)) AS t (p)
        WHERE y.company_id = company AND y.suggestion_id = m.suggestion_id AND s.company_id = company AND s.suggestion_id = m.suggestion_id
          AND (m.final OR (s.result_measured ->> 'days_after')::integer IS DISTINCT FROM m.days)
        RETURNING 1)
    SELECT count(*) FROM measured
$$;
COMMENT ON FUNCTION sales_internal.measure_suggestions_of(uuid) IS
    'Measures what a company''s implemented suggestions brought, from a week on and until four weeks and one more for answers are over';
REVOKE ALL ON FUNCTION sales_internal.measure_suggestions_of(uuid) FROM PUBLIC;

DO $$
BEGIN
    IF to_regclass('sales_internal.periodic_tasks') IS NOT NULL THEN
        INSERT INTO sales_internal.periodic_tasks (name, every, run_function)
        VALUES ('reports', '5 minutes', 'sales_internal.make_due_reports'),
               ('suggestions', '6 hours', 'sales_internal.measure_suggestions')
        ON CONFLICT (name) DO NOTHING;
    END IF;
END
$$;
