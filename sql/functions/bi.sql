-- Views for BI tools.  Members of sales_bi reach no table, so each view reads a
-- definer function that gives the company of the session its own rows and no
-- personal data.  Deleted and erased prospects count in history as ever.

CREATE OR REPLACE FUNCTION sales_internal.freshness(company uuid) RETURNS interval
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(greatest(sales_internal.now() - min(marked_at), interval '0'), interval '0')
    FROM sales_internal.metric_marks WHERE company_id = company
$$;
COMMENT ON FUNCTION sales_internal.freshness(uuid) IS
    'Age of the oldest change that a company''s metrics do not hold yet; 0 when they hold all';
REVOKE ALL ON FUNCTION sales_internal.freshness(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.company_currency(company uuid) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce((SELECT value FROM sales.system_settings
                     WHERE category = 'billing' AND key_name = 'currency' AND value ~ '^[A-Z]{3}$'
                       AND (company_id = company OR company_id IS NULL) AND data_type <> 'encrypted'
                     ORDER BY company_id NULLS LAST LIMIT 1), 'EUR')
$$;
COMMENT ON FUNCTION sales_internal.company_currency(uuid) IS 'The setting billing.currency of a company, else EUR';
REVOKE ALL ON FUNCTION sales_internal.company_currency(uuid) FROM PUBLIC;

-- Weeks of the views begin as the company likes; those of success_metrics are ISO weeks.
CREATE OR REPLACE FUNCTION sales_internal.calendar_of(company uuid)
RETURNS TABLE (company_id uuid, timezone text, week_begins integer)
LANGUAGE sql STABLE ROWS 1
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT c.company_id, c.timezone::text,
           CASE lower(btrim(sales_internal.setting_of(c.company_id, 'bi.week_start')))
               WHEN 'saturday' THEN 6 WHEN 'sunday' THEN 7 ELSE 1 END
    FROM sales.companies c WHERE c.company_id = company
$$;
COMMENT ON FUNCTION sales_internal.calendar_of(uuid) IS
    'Timezone of a company and the day on which its weeks begin (1 Monday, 6 Saturday, 7 Sunday)';
REVOKE ALL ON FUNCTION sales_internal.calendar_of(uuid) FROM PUBLIC;

-- The sector of a company is the industry of most of its prospects; settled once a day.
CREATE OR REPLACE FUNCTION sales_internal.refresh_sector(company uuid, eager boolean) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    UPDATE sales_internal.metric_state s
    SET sector_at = sales_internal.now(),
        sector_id = (SELECT p.industry_id FROM sales.prospects p
                     WHERE p.company_id = company AND p.industry_id IS NOT NULL
                     GROUP BY p.industry_id ORDER BY count(*) DESC, p.industry_id LIMIT 1)
    WHERE s.company_id = company
      AND (s.sector_at IS NULL OR s.sector_at < sales_internal.now() - interval '1 day' OR (eager AND s.sector_id IS NULL))
$$;
COMMENT ON FUNCTION sales_internal.refresh_sector(uuid, boolean) IS 'Settles the sector of a company, once a day, or (eager) as soon as there is one';
REVOKE ALL ON FUNCTION sales_internal.refresh_sector(uuid, boolean) FROM PUBLIC;

-- A mean of a sector must tell nothing of one company, also to who compares two
-- means.  So companies enter by fives and keep their place in the quarter for
-- good (sector_members), every company weighs the same, and what is published
-- once never changes.  Two means of one quarter then differ by five companies
-- at once, or by a week of the same ones.  Where a member ended or left no
-- metrics, the means that held it stay as they were and are not computed again.
CREATE OR REPLACE FUNCTION sales_internal.publish_benchmarks(only_company uuid DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    published bigint;
    today date := (sales_internal.now() AT TIME ZONE 'UTC')::date;
    this_week date := date_trunc('week', today::timestamp)::date;
    only_sector uuid;
    quarters date[];
BEGIN
    -- One at a time; who comes second has nothing to add.
    IF NOT sales_internal.take_lock(hashtextextended('sales_assistant benchmarks', 0), false) THEN
        RETURN 0;
    END IF;
    IF only_company IS NOT NULL THEN
        SELECT s.sector_id INTO only_sector FROM sales_internal.metric_state s WHERE s.company_id = only_company;
        IF only_sector IS NULL THEN
            RETURN 0;
        END IF;
        -- Quarters in which this company may bring something new.
        SELECT array_agg(m.period_start) INTO quarters
        FROM sales.success_metrics m
        WHERE m.company_id = only_company AND m.period_end - m.period_start > 80 AND m.period_start <= today
          AND m.prospects_contacted > 0
          AND (m.period_end >= this_week
               OR NOT EXISTS (SELECT FROM sales_internal.sector_members x
                              WHERE x.quarter_start = m.period_start AND x.member = only_company));
    END IF;

    WITH eligible AS (
        SELECT s.sector_id, m.period_start, m.company_id,
               row_number() OVER w AS place, count(*) OVER (PARTITION BY s.sector_id, m.period_start) AS known
        FROM sales_internal.metric_state s
        JOIN sales.success_metrics m USING (company_id)
        JOIN sales.companies c USING (company_id)
        WHERE (s.sector_id = only_sector OR (only_company IS NULL AND s.sector_id IS NOT NULL))
          AND m.period_end - m.period_start > 80 AND m.period_start <= today AND m.prospects_contacted > 0
          AND (m.period_start = ANY (quarters) OR only_company IS NULL)
          AND NOT EXISTS (SELECT FROM sales_internal.sector_members x
                          WHERE x.quarter_start = m.period_start AND x.member = m.company_id)
        WINDOW w AS (PARTITION BY s.sector_id, m.period_start ORDER BY c.created_at, c.company_id)
    )
    INSERT INTO sales_internal.sector_members (quarter_start, member, sector_id, place)
    SELECT e.period_start, e.company_id, e.sector_id, e.place + coalesce(
               (SELECT max(x.place) FROM sales_internal.sector_members x
                WHERE x.sector_id = e.sector_id AND x.quarter_start = e.period_start), 0)
    FROM eligible e WHERE e.place <= e.known - e.known % 5;

    INSERT INTO sales_internal.sector_benchmarks
        (sector_id, quarter_start, edition, companies, response_rate, conversion_rate, sales_cycle_days)
    SELECT x.sector_id, x.quarter_start, least(x.last_day, this_week), x.places,
           round(avg(m.response_rate_percent)), round(avg(m.conversion_rate_percent)),
           CASE WHEN count(m.sales_cycle_days) = x.places THEN round(avg(m.sales_cycle_days)) END
    FROM (SELECT g.sector_id, g.quarter_start, (g.quarter_start + interval '3 months')::date - 1 AS last_day, max(g.place) AS places
          FROM sales_internal.sector_members g
          WHERE (g.sector_id = only_sector AND g.quarter_start = ANY (quarters)) OR only_company IS NULL
          GROUP BY g.sector_id, g.quarter_start) AS x
    JOIN sales_internal.sector_members g USING (sector_id, quarter_start)
    JOIN sales.success_metrics m ON m.company_id = g.member AND m.period_start = x.quarter_start AND m.period_end = x.last_day
    WHERE m.prospects_contacted > 0
      AND NOT EXISTS (SELECT FROM sales_internal.sector_benchmarks b
                      WHERE b.sector_id = x.sector_id AND b.quarter_start = x.quarter_start
                        AND b.edition = least(x.last_day, this_week) AND b.companies = x.places)
    GROUP BY x.sector_id, x.quarter_start, x.last_day, x.places
    HAVING count(*) = x.places
    ON CONFLICT DO NOTHING;
    GET DIAGNOSTICS published = ROW_COUNT;
    RETURN published;
END
$$;
COMMENT ON FUNCTION sales_internal.publish_benchmarks(uuid) IS
    'Publishes the means of sectors that have five companies more, or a new week of an open quarter; given a company, of its sector alone';
REVOKE ALL ON FUNCTION sales_internal.publish_benchmarks(uuid) FROM PUBLIC;


CREATE OR REPLACE FUNCTION sales_bi.read_daily_activity()
RETURNS TABLE (date date, week_start date, prospects_added integer, prospects_contacted bigint, messages_sent integer, messages_answered bigint, responses_received integer, meetings_scheduled integer, deals_won integer, deals_lost bigint, revenue numeric, response_rate numeric, conversion_rate numeric, freshness interval)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT a.date, date_trunc('week', (a.date + 8 - c.week_begins)::timestamp)::date - (8 - c.week_begins), a.prospects_added, coalesce(m.prospects_contacted, 0),
           a.messages_sent, coalesce(m.answered, 0), a.responses_received, a.meetings_scheduled, a.deals_closed,
           coalesce(m.deals_lost, 0), a.revenue_generated, a.response_rate, a.conversion_rate,
           sales_internal.freshness(a.company_id)
    FROM sales.analytics a JOIN sales_internal.calendar_of(sales.current_company_id()) c USING (company_id)
    LEFT JOIN sales_internal.metric_days m ON m.company_id = a.company_id AND m.day = a.date
    WHERE a.company_id = sales.current_company_id() AND sales.has_permission('analytics', 'read')
$$;
COMMENT ON FUNCTION sales_bi.read_daily_activity() IS 'Rows of the view sales_bi.daily_activity';
REVOKE ALL ON FUNCTION sales_bi.read_daily_activity() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales_bi.read_daily_activity() TO sales_bi, sales_app;
CREATE OR REPLACE VIEW sales_bi.daily_activity WITH (security_invoker = true) AS
    SELECT date, week_start, prospects_added, prospects_contacted, messages_sent, messages_answered, responses_received, meetings_scheduled, deals_won, deals_lost, revenue, response_rate, conversion_rate, freshness
    FROM sales_bi.read_daily_activity();
GRANT SELECT ON sales_bi.daily_activity TO sales_bi, sales_app;
COMMENT ON VIEW sales_bi.daily_activity IS 'Activity of each day in the company''s timezone';
COMMENT ON COLUMN sales_bi.daily_activity.date IS 'Day in the company''s timezone';
COMMENT ON COLUMN sales_bi.daily_activity.week_start IS 'First day of the week; weeks begin as the setting bi.week_start says';
COMMENT ON COLUMN sales_bi.daily_activity.prospects_added IS 'Prospects made that day';
COMMENT ON COLUMN sales_bi.daily_activity.prospects_contacted IS 'Distinct prospects contacted that day; does not add up over days';
COMMENT ON COLUMN sales_bi.daily_activity.messages_sent IS 'Messages sent';
COMMENT ON COLUMN sales_bi.daily_activity.messages_answered IS 'Messages sent that day and answered by now';
COMMENT ON COLUMN sales_bi.daily_activity.responses_received IS 'Inbound interactions and answered outbound ones';
COMMENT ON COLUMN sales_bi.daily_activity.meetings_scheduled IS 'Meeting tasks made and not cancelled';
COMMENT ON COLUMN sales_bi.daily_activity.deals_won IS 'Deals won';
COMMENT ON COLUMN sales_bi.daily_activity.deals_lost IS 'Deals lost';
COMMENT ON COLUMN sales_bi.daily_activity.revenue IS 'Value of the deals won, in the company''s currency';
COMMENT ON COLUMN sales_bi.daily_activity.response_rate IS 'Answered messages in percent of those sent';
COMMENT ON COLUMN sales_bi.daily_activity.conversion_rate IS 'Deals won in percent of prospects contacted, at most 100';
COMMENT ON COLUMN sales_bi.daily_activity.freshness IS 'Age of the oldest change that these numbers do not hold yet; 0 when they hold all';

CREATE OR REPLACE FUNCTION sales_bi.read_period_performance()
RETURNS TABLE (period_start date, period_type text, period text, prospects_imported integer, prospects_contacted integer, responses_received integer, meetings_scheduled integer, proposals_sent integer, deals_won integer, deals_lost integer, revenue numeric, avg_deal_size numeric, sales_cycle_days numeric, response_rate numeric, conversion_rate numeric, roi numeric, freshness interval)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT s.period_start, k.kind,
           CASE k.kind WHEN 'week' THEN to_char(s.period_start, 'IYYY-"W"IW')
                       WHEN 'month' THEN to_char(s.period_start, 'YYYY-MM')
                       ELSE to_char(s.period_start, 'YYYY-"Q"Q') END,
           s.prospects_imported, s.prospects_contacted, s.responses_received, s.meetings_scheduled, s.proposals_sent,
           s.deals_won, s.deals_lost, s.total_revenue, s.avg_deal_size, s.sales_cycle_days,
           s.response_rate_percent, s.conversion_rate_percent, s.roi_calculated, sales_internal.freshness(s.company_id)
    FROM sales.success_metrics s
    CROSS JOIN LATERAL (SELECT CASE WHEN s.period_end - s.period_start < 7 THEN 'week'
                                    WHEN s.period_end - s.period_start < 31 THEN 'month' ELSE 'quarter' END) AS k (kind)
    WHERE s.company_id = sales.current_company_id() AND sales.has_permission('success_metrics', 'read')
$$;
COMMENT ON FUNCTION sales_bi.read_period_performance() IS 'Rows of the view sales_bi.period_performance';
REVOKE ALL ON FUNCTION sales_bi.read_period_performance() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales_bi.read_period_performance() TO sales_bi, sales_app;
CREATE OR REPLACE VIEW sales_bi.period_performance WITH (security_invoker = true) AS
    SELECT period_start, period_type, period, prospects_imported, prospects_contacted, responses_received, meetings_scheduled, proposals_sent, deals_won, deals_lost, revenue, avg_deal_size, sales_cycle_days, response_rate, conversion_rate, roi, freshness
    FROM sales_bi.read_period_performance();
GRANT SELECT ON sales_bi.period_performance TO sales_bi, sales_app;
COMMENT ON VIEW sales_bi.period_performance IS 'Metrics of each ISO week, calendar month and calendar quarter';
COMMENT ON COLUMN sales_bi.period_performance.period_start IS 'First day of the period';
COMMENT ON COLUMN sales_bi.period_performance.period_type IS 'week, month or quarter';
COMMENT ON COLUMN sales_bi.period_performance.period IS 'Name of the period: 2026-W05, 2026-01 or 2026-Q1';
COMMENT ON COLUMN sales_bi.period_performance.prospects_imported IS 'Prospects added otherwise than by hand';
COMMENT ON COLUMN sales_bi.period_performance.prospects_contacted IS 'Distinct prospects contacted';
COMMENT ON COLUMN sales_bi.period_performance.responses_received IS 'Inbound interactions and answered outbound ones';
COMMENT ON COLUMN sales_bi.period_performance.meetings_scheduled IS 'Meeting tasks made and not cancelled';
COMMENT ON COLUMN sales_bi.period_performance.proposals_sent IS 'Prospects that entered the stage proposition_envoyee';
COMMENT ON COLUMN sales_bi.period_performance.deals_won IS 'Deals won';
COMMENT ON COLUMN sales_bi.period_performance.deals_lost IS 'Deals lost';
COMMENT ON COLUMN sales_bi.period_performance.revenue IS 'Value of the deals won, in the company''s currency';
COMMENT ON COLUMN sales_bi.period_performance.avg_deal_size IS 'Revenue for each deal won';
COMMENT ON COLUMN sales_bi.period_performance.sales_cycle_days IS 'Mean days from a client''s first stage to the win';
COMMENT ON COLUMN sales_bi.period_performance.response_rate IS 'Answered messages in percent of those sent';
COMMENT ON COLUMN sales_bi.period_performance.conversion_rate IS 'Deals won in percent of prospects contacted, at most 100';
COMMENT ON COLUMN sales_bi.period_performance.roi IS 'Revenue over cost in percent, less 100; null without a cost';
COMMENT ON COLUMN sales_bi.period_performance.freshness IS 'Age of the oldest change that these numbers do not hold yet; 0 when they hold all';

CREATE OR REPLACE FUNCTION sales_internal.funnel_now_of(company uuid)
RETURNS TABLE (as_of date, stage text, stage_order integer, prospects bigint, deal_value numeric, expected_value numeric, median_hours numeric, freshness interval)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH person AS (
        SELECT p.prospect_id, coalesce(t.stage, sales_internal.status_stage(p.status), 'nouveau') AS stage, t.hours,
               coalesce(t.deal_value, p.estimated_budget_amount, 0) AS amount, t.chance
        FROM sales.prospects p LEFT JOIN sales_internal.standings(company) t ON t.prospect_id = p.prospect_id
        WHERE p.company_id = company AND p.deleted_at IS NULL
    )
    SELECT sales_internal.local_day(sales_internal.now(), c.timezone), s.stage::text, s.place::integer,
           coalesce(p.prospects, 0), coalesce(p.amount, 0),
           -- who has entered no stage yet has the chance of an entry
           coalesce(round(p.expected + p.unentered * sales_internal.stage_chance(s.stage, o.deals, o.share), 2), 0),
           round(p.hours::numeric, 1), interval '0'
    FROM sales.companies c
    CROSS JOIN unnest(enum_range(NULL::sales.funnel_stage)) WITH ORDINALITY AS s (stage, place)
    LEFT JOIN (SELECT x.stage, count(*) AS prospects, sum(x.amount) AS amount, coalesce(sum(x.amount * x.chance), 0) AS expected,
                      coalesce(sum(x.amount) FILTER (WHERE x.chance IS NULL), 0) AS unentered,
                      percentile_cont(0.5) WITHIN GROUP (ORDER BY x.hours) AS hours
               FROM person x GROUP BY x.stage) p USING (stage)
    LEFT JOIN sales_internal.stage_odds o ON o.company_id = c.company_id AND o.stage = s.stage
    WHERE c.company_id = company
$$;
COMMENT ON FUNCTION sales_internal.funnel_now_of(uuid) IS 'What sales_bi.funnel_now shows, of a given company; for reports';
REVOKE ALL ON FUNCTION sales_internal.funnel_now_of(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_bi.read_funnel_now()
RETURNS TABLE (as_of date, stage text, stage_order integer, prospects bigint, deal_value numeric, expected_value numeric, median_hours numeric, freshness interval)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT * FROM sales_internal.funnel_now_of(sales.current_company_id())
    WHERE sales.current_company_id() IS NOT NULL AND sales.has_permission('conversion_funnel', 'read')
$$;
COMMENT ON FUNCTION sales_bi.read_funnel_now() IS 'Rows of the view sales_bi.funnel_now';
REVOKE ALL ON FUNCTION sales_bi.read_funnel_now() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales_bi.read_funnel_now() TO sales_bi, sales_app;
CREATE OR REPLACE VIEW sales_bi.funnel_now WITH (security_invoker = true) AS
    SELECT as_of, stage, stage_order, prospects, deal_value, expected_value, median_hours, freshness
    FROM sales_bi.read_funnel_now();
GRANT SELECT ON sales_bi.funnel_now TO sales_bi, sales_app;
COMMENT ON VIEW sales_bi.funnel_now IS 'Where the prospects stand now, stage by stage; deleted prospects are left out';
COMMENT ON COLUMN sales_bi.funnel_now.as_of IS 'Today in the company''s timezone';
COMMENT ON COLUMN sales_bi.funnel_now.stage IS 'Stage of the funnel';
COMMENT ON COLUMN sales_bi.funnel_now.stage_order IS 'Place of the stage in the funnel, from 1';
COMMENT ON COLUMN sales_bi.funnel_now.prospects IS 'Prospects in the stage';
COMMENT ON COLUMN sales_bi.funnel_now.deal_value IS 'Sum of their deal values, else of their estimated budgets';
COMMENT ON COLUMN sales_bi.funnel_now.expected_value IS 'The same, each times its chance of a win';
COMMENT ON COLUMN sales_bi.funnel_now.median_hours IS 'Median hours since they entered the stage';
COMMENT ON COLUMN sales_bi.funnel_now.freshness IS 'Always 0: read from the data themselves';

CREATE OR REPLACE FUNCTION sales_bi.read_funnel_flow()
RETURNS TABLE (week_start date, from_stage text, to_stage text, moves bigint, entries bigint, rate numeric, median_hours numeric, freshness interval)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT week, stage::text, next_stage::text, count(*), sum(count(*)) OVER (PARTITION BY week, stage)::bigint,
           round(100.0 * count(*) / sum(count(*)) OVER (PARTITION BY week, stage), 2),
           round((percentile_cont(0.5) WITHIN GROUP (ORDER BY hours))::numeric, 1), interval '0'
    FROM (SELECT sales_internal.local_week(f.stage_entered_at, c.timezone, c.week_begins) AS week, f.stage,
                 lead(f.stage) OVER w AS next_stage,
                 extract(epoch FROM lead(f.stage_entered_at) OVER w - f.stage_entered_at)::float8 / 3600 AS hours
          FROM sales.conversion_funnel f JOIN sales_internal.calendar_of(sales.current_company_id()) c USING (company_id)
          WHERE f.company_id = sales.current_company_id() AND isfinite(f.stage_entered_at) AND sales.has_permission('conversion_funnel', 'read')
          WINDOW w AS (PARTITION BY f.prospect_id ORDER BY f.stage_entered_at, f.funnel_id)) AS x
    GROUP BY week, stage, next_stage
$$;
COMMENT ON FUNCTION sales_bi.read_funnel_flow() IS 'Rows of the view sales_bi.funnel_flow';
REVOKE ALL ON FUNCTION sales_bi.read_funnel_flow() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales_bi.read_funnel_flow() TO sales_bi, sales_app;
CREATE OR REPLACE VIEW sales_bi.funnel_flow WITH (security_invoker = true) AS
    SELECT week_start, from_stage, to_stage, moves, entries, rate, median_hours, freshness
    FROM sales_bi.read_funnel_flow();
GRANT SELECT ON sales_bi.funnel_flow TO sales_bi, sales_app;
COMMENT ON VIEW sales_bi.funnel_flow IS 'Moves from stage to stage, by the week in which the first stage was entered';
COMMENT ON COLUMN sales_bi.funnel_flow.week_start IS 'First day of the week in which the first of the two stages was entered';
COMMENT ON COLUMN sales_bi.funnel_flow.from_stage IS 'Stage entered';
COMMENT ON COLUMN sales_bi.funnel_flow.to_stage IS 'Next stage; null: still there';
COMMENT ON COLUMN sales_bi.funnel_flow.moves IS 'Entries that went on to the next stage';
COMMENT ON COLUMN sales_bi.funnel_flow.entries IS 'All entries of the first stage in that week';
COMMENT ON COLUMN sales_bi.funnel_flow.rate IS 'Moves in percent of the entries';
COMMENT ON COLUMN sales_bi.funnel_flow.median_hours IS 'Median hours between the two';
COMMENT ON COLUMN sales_bi.funnel_flow.freshness IS 'Always 0: read from the data themselves';

CREATE OR REPLACE FUNCTION sales_internal.forecast_of(company uuid)
RETURNS TABLE (month date, currency text, deals bigint, pipeline_value numeric, expected_value numeric, low_value numeric, high_value numeric, expected_deals numeric, freshness interval)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH pace AS (
        SELECT f.stage, percentile_cont(0.5) WITHIN GROUP (
                   ORDER BY extract(epoch FROM w.won_at - f.stage_entered_at)::float8 / 3600) AS hours
        FROM sales.conversion_funnel f
        JOIN (SELECT x.prospect_id, max(x.stage_entered_at) AS won_at FROM sales.conversion_funnel x
              WHERE x.company_id = company AND x.stage = 'client' GROUP BY x.prospect_id) AS w USING (prospect_id)
        WHERE f.company_id = company AND f.stage <> 'client' AND f.stage_entered_at <= w.won_at
        GROUP BY f.stage
    ), deal AS (
        SELECT date_trunc('month', greatest(sales_internal.now(),
                   o.entered_at + make_interval(hours => least(coalesce(p.hours, 720), 87600)::integer))
                   AT TIME ZONE c.timezone)::date AS month,
               coalesce(o.deal_value, s.estimated_budget_amount) AS amount, o.chance
        FROM sales_internal.standings(company) o
        JOIN sales.companies c ON c.company_id = company
        JOIN sales.prospects s ON s.company_id = c.company_id AND s.prospect_id = o.prospect_id AND s.deleted_at IS NULL
        LEFT JOIN pace p ON p.stage = o.stage
        WHERE o.stage NOT IN ('client', 'perdu') AND coalesce(o.deal_value, s.estimated_budget_amount) > 0 AND isfinite(o.entered_at)
    )
    SELECT g.month, sales_internal.company_currency(company), g.deals, g.amount, round(g.expected, 2),
           -- Of a deal that is likelier lost than won the tenths are 0: an interval still holds what is expected.
           round(least(q.range[1]::numeric, g.expected), 2), round(greatest(q.range[2]::numeric, g.expected), 2), round(g.wins, 2), interval '0'
    FROM (SELECT month, count(*) AS deals, sum(amount) AS amount, sum(amount * chance) AS expected, sum(chance) AS wins,
                 array_agg(amount::float8) AS amounts, array_agg(chance::float8) AS chances
          FROM deal GROUP BY month) AS g
    CROSS JOIN LATERAL (SELECT sales_internal.deal_quantiles(g.amounts, g.chances, '{0.1,0.9}')) AS q (range)
$$;
COMMENT ON FUNCTION sales_internal.forecast_of(uuid) IS 'What sales_bi.forecast shows, of a given company; for reports';
REVOKE ALL ON FUNCTION sales_internal.forecast_of(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_bi.read_forecast()
RETURNS TABLE (month date, currency text, deals bigint, pipeline_value numeric, expected_value numeric, low_value numeric, high_value numeric, expected_deals numeric, freshness interval)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT * FROM sales_internal.forecast_of(sales.current_company_id())
    WHERE sales.current_company_id() IS NOT NULL AND sales.has_permission('conversion_funnel', 'read')
$$;
COMMENT ON FUNCTION sales_bi.read_forecast() IS 'Rows of the view sales_bi.forecast';
REVOKE ALL ON FUNCTION sales_bi.read_forecast() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales_bi.read_forecast() TO sales_bi, sales_app;
CREATE OR REPLACE VIEW sales_bi.forecast WITH (security_invoker = true) AS
    SELECT month, currency, deals, pipeline_value, expected_value, low_value, high_value, expected_deals, freshness
    FROM sales_bi.read_forecast();
GRANT SELECT ON sales_bi.forecast TO sales_bi, sales_app;
COMMENT ON VIEW sales_bi.forecast IS 'Open deals by the month in which they are likely to close: value times chance, with an interval';
COMMENT ON COLUMN sales_bi.forecast.month IS 'First day of the month in which the deals are likely to be won, at the pace of earlier ones';
COMMENT ON COLUMN sales_bi.forecast.currency IS 'The company''s currency, setting billing.currency';
COMMENT ON COLUMN sales_bi.forecast.deals IS 'Open deals';
COMMENT ON COLUMN sales_bi.forecast.pipeline_value IS 'Their value';
COMMENT ON COLUMN sales_bi.forecast.expected_value IS 'Sum of value times chance';
COMMENT ON COLUMN sales_bi.forecast.low_value IS 'In 9 of 10 cases at least this much comes, if chances are right and deals independent; never above expected_value';
COMMENT ON COLUMN sales_bi.forecast.high_value IS 'In 9 of 10 cases at most this much comes; never below expected_value';
COMMENT ON COLUMN sales_bi.forecast.expected_deals IS 'Sum of the chances';
COMMENT ON COLUMN sales_bi.forecast.freshness IS 'Always 0: read from the data themselves';

CREATE OR REPLACE FUNCTION sales_bi.read_channel_performance()
RETURNS TABLE (week_start date, channel text, outbound bigint, messages_sent bigint, messages_answered bigint, responses_received bigint, positive_responses bigint, prospects_contacted bigint, response_rate numeric, freshness interval)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sales_internal.local_week(i.interaction_date, c.timezone, c.week_begins), i.channel::text,
           count(*) FILTER (WHERE i.type <> 'received'), count(*) FILTER (WHERE i.type = 'sent'), count(*) FILTER (WHERE i.type = 'sent' AND i.response_received),
           count(*) FILTER (WHERE i.type = 'received' OR i.response_received),
           count(*) FILTER (WHERE i.response_sentiment = 'positive'),
           count(DISTINCT i.prospect_id) FILTER (WHERE i.type <> 'received'),
           CASE WHEN count(*) FILTER (WHERE i.type = 'sent') > 0 THEN round(100.0 * count(*) FILTER (WHERE i.type = 'sent' AND i.response_received) / count(*) FILTER (WHERE i.type = 'sent'), 2) ELSE 0 END, interval '0'
    FROM sales.interactions i JOIN sales_internal.calendar_of(sales.current_company_id()) c USING (company_id)
    WHERE i.company_id = sales.current_company_id() AND isfinite(i.interaction_date) AND sales.has_permission('interactions', 'read')
    GROUP BY 1, 2
$$;
COMMENT ON FUNCTION sales_bi.read_channel_performance() IS 'Rows of the view sales_bi.channel_performance';
REVOKE ALL ON FUNCTION sales_bi.read_channel_performance() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales_bi.read_channel_performance() TO sales_bi, sales_app;
CREATE OR REPLACE VIEW sales_bi.channel_performance WITH (security_invoker = true) AS
    SELECT week_start, channel, outbound, messages_sent, messages_answered, responses_received, positive_responses, prospects_contacted, response_rate, freshness
    FROM sales_bi.read_channel_performance();
GRANT SELECT ON sales_bi.channel_performance TO sales_bi, sales_app;
COMMENT ON VIEW sales_bi.channel_performance IS 'What each channel brought, by week';
COMMENT ON COLUMN sales_bi.channel_performance.week_start IS 'First day of the week';
COMMENT ON COLUMN sales_bi.channel_performance.channel IS 'email, linkedin, phone, meeting or other';
COMMENT ON COLUMN sales_bi.channel_performance.outbound IS 'Messages, calls and meetings';
COMMENT ON COLUMN sales_bi.channel_performance.messages_sent IS 'Messages sent';
COMMENT ON COLUMN sales_bi.channel_performance.messages_answered IS 'Of these, answered by now';
COMMENT ON COLUMN sales_bi.channel_performance.responses_received IS 'Inbound interactions and answered outbound ones';
COMMENT ON COLUMN sales_bi.channel_performance.positive_responses IS 'Answers of a positive tone';
COMMENT ON COLUMN sales_bi.channel_performance.prospects_contacted IS 'Distinct prospects contacted';
COMMENT ON COLUMN sales_bi.channel_performance.response_rate IS 'Answered messages in percent of those sent';
COMMENT ON COLUMN sales_bi.channel_performance.freshness IS 'Always 0: read from the data themselves';

CREATE OR REPLACE FUNCTION sales_bi.read_template_performance()
RETURNS TABLE (week_start date, template_id uuid, template text, channel text, language text, messages_sent bigint, messages_answered bigint, positive_responses bigint, response_rate numeric, freshness interval)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sales_internal.local_week(i.interaction_date, c.timezone, c.week_begins), t.template_id, t.name::text,
           t.channel::text, t.language::text, count(*) FILTER (WHERE i.type = 'sent'), count(*) FILTER (WHERE i.type = 'sent' AND i.response_received),
           count(*) FILTER (WHERE i.type = 'sent' AND i.response_sentiment = 'positive'),
           CASE WHEN count(*) FILTER (WHERE i.type = 'sent') > 0 THEN round(100.0 * count(*) FILTER (WHERE i.type = 'sent' AND i.response_received) / count(*) FILTER (WHERE i.type = 'sent'), 2) ELSE 0 END, interval '0'
    FROM sales.interactions i
    JOIN sales_internal.calendar_of(sales.current_company_id()) c USING (company_id)
    JOIN sales.messages m ON m.company_id = i.company_id AND m.message_id = i.message_id
    JOIN sales.templates t ON t.company_id = m.company_id AND t.template_id = m.template_id
    WHERE i.company_id = sales.current_company_id() AND i.type = 'sent' AND isfinite(i.interaction_date)
      AND sales.has_permission('interactions', 'read')
    GROUP BY 1, 2, 3, 4, 5
$$;
COMMENT ON FUNCTION sales_bi.read_template_performance() IS 'Rows of the view sales_bi.template_performance';
REVOKE ALL ON FUNCTION sales_bi.read_template_performance() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales_bi.read_template_performance() TO sales_bi, sales_app;
CREATE OR REPLACE VIEW sales_bi.template_performance WITH (security_invoker = true) AS
    SELECT week_start, template_id, template, channel, language, messages_sent, messages_answered, positive_responses, response_rate, freshness
    FROM sales_bi.read_template_performance();
GRANT SELECT ON sales_bi.template_performance TO sales_bi, sales_app;
COMMENT ON VIEW sales_bi.template_performance IS 'What the messages of each template brought, by week';
COMMENT ON COLUMN sales_bi.template_performance.week_start IS 'First day of the week';
COMMENT ON COLUMN sales_bi.template_performance.template_id IS 'Key of the template';
COMMENT ON COLUMN sales_bi.template_performance.template IS 'Name of the template';
COMMENT ON COLUMN sales_bi.template_performance.channel IS 'Channel of the template';
COMMENT ON COLUMN sales_bi.template_performance.language IS 'Language of the template';
COMMENT ON COLUMN sales_bi.template_performance.messages_sent IS 'Messages sent from the template';
COMMENT ON COLUMN sales_bi.template_performance.messages_answered IS 'Of these, answered by now';
COMMENT ON COLUMN sales_bi.template_performance.positive_responses IS 'Answers of a positive tone';
COMMENT ON COLUMN sales_bi.template_performance.response_rate IS 'Answered messages in percent of those sent';
COMMENT ON COLUMN sales_bi.template_performance.freshness IS 'Always 0: read from the data themselves';

CREATE OR REPLACE FUNCTION sales_bi.read_campaign_performance()
RETURNS TABLE (started_on date, campaign_id uuid, campaign text, status text, recipients integer, sent integer, delivered integer, opened integer, clicked integer, replied integer, open_rate numeric, click_rate numeric, reply_rate numeric, freshness interval)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sales_internal.local_day(coalesce(e.scheduled_at, e.created_at), c.timezone), e.campaign_id, e.name::text, e.status::text,
           e.total_recipients, e.emails_sent, e.emails_delivered, e.emails_opened, e.emails_clicked, e.emails_replied,
           CASE WHEN e.emails_delivered > 0 THEN round(100.0 * e.emails_opened / e.emails_delivered, 2) ELSE 0 END, CASE WHEN e.emails_delivered > 0 THEN round(100.0 * e.emails_clicked / e.emails_delivered, 2) ELSE 0 END,
           CASE WHEN e.emails_delivered > 0 THEN round(100.0 * e.emails_replied / e.emails_delivered, 2) ELSE 0 END, interval '0'
    FROM sales.email_campaigns e JOIN sales_internal.calendar_of(sales.current_company_id()) c USING (company_id)
    WHERE e.company_id = sales.current_company_id() AND sales.has_permission('email_campaigns', 'read')
$$;
COMMENT ON FUNCTION sales_bi.read_campaign_performance() IS 'Rows of the view sales_bi.campaign_performance';
REVOKE ALL ON FUNCTION sales_bi.read_campaign_performance() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales_bi.read_campaign_performance() TO sales_bi, sales_app;
CREATE OR REPLACE VIEW sales_bi.campaign_performance WITH (security_invoker = true) AS
    SELECT started_on, campaign_id, campaign, status, recipients, sent, delivered, opened, clicked, replied, open_rate, click_rate, reply_rate, freshness
    FROM sales_bi.read_campaign_performance();
GRANT SELECT ON sales_bi.campaign_performance TO sales_bi, sales_app;
COMMENT ON VIEW sales_bi.campaign_performance IS 'What each e-mail campaign brought';
COMMENT ON COLUMN sales_bi.campaign_performance.started_on IS 'Day on which the campaign was scheduled, else made, in the company''s timezone';
COMMENT ON COLUMN sales_bi.campaign_performance.campaign_id IS 'Key of the campaign';
COMMENT ON COLUMN sales_bi.campaign_performance.campaign IS 'Name of the campaign';
COMMENT ON COLUMN sales_bi.campaign_performance.status IS 'draft, scheduled, running, completed or paused';
COMMENT ON COLUMN sales_bi.campaign_performance.recipients IS 'Recipients chosen at launch';
COMMENT ON COLUMN sales_bi.campaign_performance.sent IS 'Mails given to the mail server';
COMMENT ON COLUMN sales_bi.campaign_performance.delivered IS 'Mails delivered';
COMMENT ON COLUMN sales_bi.campaign_performance.opened IS 'Mails opened';
COMMENT ON COLUMN sales_bi.campaign_performance.clicked IS 'Mails with a link followed';
COMMENT ON COLUMN sales_bi.campaign_performance.replied IS 'Mails answered';
COMMENT ON COLUMN sales_bi.campaign_performance.open_rate IS 'Opened in percent of delivered';
COMMENT ON COLUMN sales_bi.campaign_performance.click_rate IS 'Clicked in percent of delivered';
COMMENT ON COLUMN sales_bi.campaign_performance.reply_rate IS 'Replied in percent of delivered';
COMMENT ON COLUMN sales_bi.campaign_performance.freshness IS 'Always 0: read from the data themselves';

CREATE OR REPLACE FUNCTION sales_bi.read_user_performance()
RETURNS TABLE (week_start date, user_id uuid, role text, messages_sent bigint, messages_answered bigint, calls_made bigint, meetings_held bigint, prospects_contacted bigint, deals_won bigint, revenue numeric, response_rate numeric, freshness interval)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT week, u.user_id, r.name::text,
           count(*) FILTER (WHERE what = 'sent'), count(*) FILTER (WHERE what = 'sent' AND flag),
           count(*) FILTER (WHERE what = 'call_made'), count(*) FILTER (WHERE what = 'meeting_held'),
           count(DISTINCT prospect_id) FILTER (WHERE what <> 'client'),
           count(*) FILTER (WHERE what = 'client'), coalesce(sum(amount), 0),
           CASE WHEN count(*) FILTER (WHERE what = 'sent') > 0 THEN round(100.0 * count(*) FILTER (WHERE what = 'sent' AND flag) / count(*) FILTER (WHERE what = 'sent'), 2) ELSE 0 END, interval '0'
    FROM (SELECT i.company_id, i.user_id, sales_internal.local_week(i.interaction_date, c.timezone, c.week_begins) AS week,
                 i.type::text AS what, i.prospect_id, i.response_received AS flag, NULL::numeric AS amount
          FROM sales.interactions i JOIN sales_internal.calendar_of(sales.current_company_id()) c USING (company_id)
          WHERE i.company_id = sales.current_company_id() AND i.type <> 'received' AND isfinite(i.interaction_date)
            AND sales.has_permission('interactions', 'read')
          UNION ALL
          SELECT f.company_id, f.created_by, sales_internal.local_week(f.stage_entered_at, c.timezone, c.week_begins),
                 'client', f.prospect_id, NULL, f.deal_value
          FROM sales.conversion_funnel f JOIN sales_internal.calendar_of(sales.current_company_id()) c USING (company_id)
          WHERE f.company_id = sales.current_company_id() AND f.stage = 'client' AND isfinite(f.stage_entered_at)
            AND sales.has_permission('conversion_funnel', 'read')) AS x
    JOIN sales.users u ON u.company_id = x.company_id AND u.user_id = x.user_id
    JOIN sales.roles r ON r.company_id = u.company_id AND r.role_id = u.role_id
    GROUP BY 1, 2, 3
$$;
COMMENT ON FUNCTION sales_bi.read_user_performance() IS 'Rows of the view sales_bi.user_performance';
REVOKE ALL ON FUNCTION sales_bi.read_user_performance() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales_bi.read_user_performance() TO sales_bi, sales_app;
CREATE OR REPLACE VIEW sales_bi.user_performance WITH (security_invoker = true) AS
    SELECT week_start, user_id, role, messages_sent, messages_answered, calls_made, meetings_held, prospects_contacted, deals_won, revenue, response_rate, freshness
    FROM sales_bi.read_user_performance();
GRANT SELECT ON sales_bi.user_performance TO sales_bi, sales_app;
COMMENT ON VIEW sales_bi.user_performance IS 'What each user did, by week; users appear by key and role only';
COMMENT ON COLUMN sales_bi.user_performance.week_start IS 'First day of the week';
COMMENT ON COLUMN sales_bi.user_performance.user_id IS 'Key of the user';
COMMENT ON COLUMN sales_bi.user_performance.role IS 'Role of the user now';
COMMENT ON COLUMN sales_bi.user_performance.messages_sent IS 'Messages sent';
COMMENT ON COLUMN sales_bi.user_performance.messages_answered IS 'Of these, answered by now';
COMMENT ON COLUMN sales_bi.user_performance.calls_made IS 'Calls made';
COMMENT ON COLUMN sales_bi.user_performance.meetings_held IS 'Meetings held';
COMMENT ON COLUMN sales_bi.user_performance.prospects_contacted IS 'Distinct prospects contacted';
COMMENT ON COLUMN sales_bi.user_performance.deals_won IS 'Stage entries client made by the user';
COMMENT ON COLUMN sales_bi.user_performance.revenue IS 'Their value';
COMMENT ON COLUMN sales_bi.user_performance.response_rate IS 'Answered messages in percent of those sent';
COMMENT ON COLUMN sales_bi.user_performance.freshness IS 'Always 0: read from the data themselves';

CREATE OR REPLACE FUNCTION sales_bi.read_source_performance()
RETURNS TABLE (week_start date, source text, prospects_added bigint, prospects_contacted bigint, deals_won bigint, deals_lost bigint, revenue numeric, win_rate numeric, freshness interval)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sales_internal.local_week(p.created_at, c.timezone, c.week_begins), p.source::text, count(*),
           count(*) FILTER (WHERE k.contacted), count(*) FILTER (WHERE l.stage = 'client'),
           count(*) FILTER (WHERE l.stage = 'perdu'), coalesce(sum(l.deal_value) FILTER (WHERE l.stage = 'client'), 0),
           CASE WHEN count(*) FILTER (WHERE l.stage IN ('client', 'perdu')) > 0
                THEN round(100.0 * count(*) FILTER (WHERE l.stage = 'client')
                           / count(*) FILTER (WHERE l.stage IN ('client', 'perdu')), 2) END,
           interval '0'
    FROM sales.prospects p
    JOIN sales_internal.calendar_of(sales.current_company_id()) c USING (company_id)
    LEFT JOIN (SELECT DISTINCT i.prospect_id, true AS contacted FROM sales.interactions i
               WHERE i.company_id = sales.current_company_id() AND i.type <> 'received') k USING (prospect_id)
    LEFT JOIN (SELECT DISTINCT ON (f.prospect_id) f.prospect_id, f.stage, f.deal_value FROM sales.conversion_funnel f
               WHERE f.company_id = sales.current_company_id()
               ORDER BY f.prospect_id, f.stage_entered_at DESC, f.funnel_id DESC) l USING (prospect_id)
    WHERE p.company_id = sales.current_company_id() AND isfinite(p.created_at) AND sales.has_permission('prospects', 'read')
    GROUP BY 1, 2
$$;
COMMENT ON FUNCTION sales_bi.read_source_performance() IS 'Rows of the view sales_bi.source_performance';
REVOKE ALL ON FUNCTION sales_bi.read_source_performance() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales_bi.read_source_performance() TO sales_bi, sales_app;
CREATE OR REPLACE VIEW sales_bi.source_performance WITH (security_invoker = true) AS
    SELECT week_start, source, prospects_added, prospects_contacted, deals_won, deals_lost, revenue, win_rate, freshness
    FROM sales_bi.read_source_performance();
GRANT SELECT ON sales_bi.source_performance TO sales_bi, sales_app;
COMMENT ON VIEW sales_bi.source_performance IS 'What became of the prospects of each source, by the week in which they were added';
COMMENT ON COLUMN sales_bi.source_performance.week_start IS 'First day of the week in which the prospects were added';
COMMENT ON COLUMN sales_bi.source_performance.source IS 'import_csv, manual, api or enrichment';
COMMENT ON COLUMN sales_bi.source_performance.prospects_added IS 'Prospects added';
COMMENT ON COLUMN sales_bi.source_performance.prospects_contacted IS 'Of these, contacted by now';
COMMENT ON COLUMN sales_bi.source_performance.deals_won IS 'Of these, won by now';
COMMENT ON COLUMN sales_bi.source_performance.deals_lost IS 'Of these, lost by now';
COMMENT ON COLUMN sales_bi.source_performance.revenue IS 'Value of the deals won';
COMMENT ON COLUMN sales_bi.source_performance.win_rate IS 'Won in percent of won and lost';
COMMENT ON COLUMN sales_bi.source_performance.freshness IS 'Always 0: read from the data themselves';

CREATE OR REPLACE FUNCTION sales_bi.read_score_quality()
RETURNS TABLE (as_of date, decile integer, prospects bigint, predicted numeric, actual numeric, gap numeric, freshness interval)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sales_internal.local_day(sales_internal.now(), c.timezone), least(s.score / 10 + 1, 10), count(*),
           round(avg(s.score), 2), round(100.0 * count(*) FILTER (WHERE l.stage = 'client') / count(*), 2),
           round(100.0 * count(*) FILTER (WHERE l.stage = 'client') / count(*) - avg(s.score), 2), interval '0'
    FROM sales.prospects p
    JOIN sales_internal.calendar_of(sales.current_company_id()) c USING (company_id)
    JOIN (SELECT DISTINCT ON (f.prospect_id) f.prospect_id, f.stage, f.stage_entered_at FROM sales.conversion_funnel f
          WHERE f.company_id = sales.current_company_id()
          ORDER BY f.prospect_id, f.stage_entered_at DESC, f.funnel_id DESC) l USING (prospect_id)
    CROSS JOIN LATERAL (
        -- A score given after the outcome proves nothing; without any history the present one stands in.
        SELECT coalesce(
            (SELECT h.score FROM sales.score_history h
             WHERE h.company_id = p.company_id AND h.prospect_id = p.prospect_id AND h.scored_at <= l.stage_entered_at
             ORDER BY h.scored_at DESC LIMIT 1),
            CASE WHEN NOT EXISTS (SELECT FROM sales.score_history h
                                  WHERE h.company_id = p.company_id AND h.prospect_id = p.prospect_id)
                 THEN p.ai_score END) AS score) AS s
    WHERE p.company_id = sales.current_company_id() AND s.score IS NOT NULL AND l.stage IN ('client', 'perdu')
      AND sales.has_permission('prospects', 'read')
    GROUP BY 1, 2
$$;
COMMENT ON FUNCTION sales_bi.read_score_quality() IS 'Rows of the view sales_bi.score_quality';
REVOKE ALL ON FUNCTION sales_bi.read_score_quality() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales_bi.read_score_quality() TO sales_bi, sales_app;
CREATE OR REPLACE VIEW sales_bi.score_quality WITH (security_invoker = true) AS
    SELECT as_of, decile, prospects, predicted, actual, gap, freshness
    FROM sales_bi.read_score_quality();
GRANT SELECT ON sales_bi.score_quality TO sales_bi, sales_app;
COMMENT ON VIEW sales_bi.score_quality IS 'Were scores right? Decided prospects by decile of the score they had when the deal was decided';
COMMENT ON COLUMN sales_bi.score_quality.as_of IS 'Today in the company''s timezone';
COMMENT ON COLUMN sales_bi.score_quality.decile IS '1: scores 0 to 9; 10: scores 90 to 100';
COMMENT ON COLUMN sales_bi.score_quality.prospects IS 'Decided prospects with such a score';
COMMENT ON COLUMN sales_bi.score_quality.predicted IS 'Mean score, in percent';
COMMENT ON COLUMN sales_bi.score_quality.actual IS 'Won in percent';
COMMENT ON COLUMN sales_bi.score_quality.gap IS 'Actual less predicted, in points';
COMMENT ON COLUMN sales_bi.score_quality.freshness IS 'Always 0: read from the data themselves';

CREATE OR REPLACE FUNCTION sales_bi.read_ai_cost()
RETURNS TABLE (week_start date, provider text, purpose text, model text, currency text, calls bigint, input_tokens bigint, output_tokens bigint, cost numeric, freshness interval)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sales_internal.local_week(u.spent_at, c.timezone, c.week_begins), u.provider, u.purpose, u.model,
           sales_internal.company_currency(sales.current_company_id()), count(*),
           sum(u.input_tokens)::bigint, sum(u.output_tokens)::bigint, sum(u.cost), interval '0'
    FROM sales_internal.ai_costs u JOIN sales_internal.calendar_of(sales.current_company_id()) c USING (company_id)
    WHERE u.company_id = sales.current_company_id() AND isfinite(u.spent_at) AND sales.has_permission('api_keys', 'read')
    GROUP BY 1, 2, 3, 4
$$;
COMMENT ON FUNCTION sales_bi.read_ai_cost() IS 'Rows of the view sales_bi.ai_cost';
REVOKE ALL ON FUNCTION sales_bi.read_ai_cost() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales_bi.read_ai_cost() TO sales_bi, sales_app;
CREATE OR REPLACE VIEW sales_bi.ai_cost WITH (security_invoker = true) AS
    SELECT week_start, provider, purpose, model, currency, calls, input_tokens, output_tokens, cost, freshness
    FROM sales_bi.read_ai_cost();
GRANT SELECT ON sales_bi.ai_cost TO sales_bi, sales_app;
COMMENT ON VIEW sales_bi.ai_cost IS 'AI calls and what they cost, by week';
COMMENT ON COLUMN sales_bi.ai_cost.week_start IS 'First day of the week';
COMMENT ON COLUMN sales_bi.ai_cost.provider IS 'Provider called';
COMMENT ON COLUMN sales_bi.ai_cost.purpose IS 'What for: generation, sentiment, improvement and so on';
COMMENT ON COLUMN sales_bi.ai_cost.model IS 'Model called';
COMMENT ON COLUMN sales_bi.ai_cost.currency IS 'The company''s currency, setting billing.currency';
COMMENT ON COLUMN sales_bi.ai_cost.calls IS 'Calls';
COMMENT ON COLUMN sales_bi.ai_cost.input_tokens IS 'Tokens sent';
COMMENT ON COLUMN sales_bi.ai_cost.output_tokens IS 'Tokens received';
COMMENT ON COLUMN sales_bi.ai_cost.cost IS 'Cost in the company''s currency';
COMMENT ON COLUMN sales_bi.ai_cost.freshness IS 'Always 0: read from the data themselves';

CREATE OR REPLACE FUNCTION sales_bi.read_enrichment_quality()
RETURNS TABLE (week_start date, enrichment_type text, source text, enrichments bigint, completed bigint, failed bigint, success_rate numeric, confidence numeric, cost numeric, cost_per_success numeric, freshness interval)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sales_internal.local_week(e.created_at, c.timezone, c.week_begins), e.enrichment_type::text, e.source_api::text,
           count(*), count(*) FILTER (WHERE e.status IN ('completed', 'expired')), count(*) FILTER (WHERE e.status = 'failed'),
           CASE WHEN count(*) FILTER (WHERE e.status <> 'pending') > 0
                THEN round(100.0 * count(*) FILTER (WHERE e.status IN ('completed', 'expired'))
                           / count(*) FILTER (WHERE e.status <> 'pending'), 2) END,
           round(avg(e.confidence_score) FILTER (WHERE e.status IN ('completed', 'expired')), 2), sum(e.cost),
           round(sum(e.cost) / nullif(count(*) FILTER (WHERE e.status IN ('completed', 'expired')), 0), 4), interval '0'
    FROM sales.enrichments e JOIN sales_internal.calendar_of(sales.current_company_id()) c USING (company_id)
    WHERE e.company_id = sales.current_company_id() AND isfinite(e.created_at) AND sales.has_permission('enrichments', 'read')
    GROUP BY 1, 2, 3
$$;
COMMENT ON FUNCTION sales_bi.read_enrichment_quality() IS 'Rows of the view sales_bi.enrichment_quality';
REVOKE ALL ON FUNCTION sales_bi.read_enrichment_quality() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales_bi.read_enrichment_quality() TO sales_bi, sales_app;
CREATE OR REPLACE VIEW sales_bi.enrichment_quality WITH (security_invoker = true) AS
    SELECT week_start, enrichment_type, source, enrichments, completed, failed, success_rate, confidence, cost, cost_per_success, freshness
    FROM sales_bi.read_enrichment_quality();
GRANT SELECT ON sales_bi.enrichment_quality TO sales_bi, sales_app;
COMMENT ON VIEW sales_bi.enrichment_quality IS 'How well enrichments worked, by week';
COMMENT ON COLUMN sales_bi.enrichment_quality.week_start IS 'First day of the week';
COMMENT ON COLUMN sales_bi.enrichment_quality.enrichment_type IS 'website, linkedin, twitter, company_info or email_validation';
COMMENT ON COLUMN sales_bi.enrichment_quality.source IS 'Service asked';
COMMENT ON COLUMN sales_bi.enrichment_quality.enrichments IS 'Enrichments begun';
COMMENT ON COLUMN sales_bi.enrichment_quality.completed IS 'Of these, completed (expired ones included)';
COMMENT ON COLUMN sales_bi.enrichment_quality.failed IS 'Of these, failed';
COMMENT ON COLUMN sales_bi.enrichment_quality.success_rate IS 'Completed in percent of completed and failed';
COMMENT ON COLUMN sales_bi.enrichment_quality.confidence IS 'Mean confidence of the completed, 0 to 1';
COMMENT ON COLUMN sales_bi.enrichment_quality.cost IS 'Cost of all';
COMMENT ON COLUMN sales_bi.enrichment_quality.cost_per_success IS 'Cost for each completed one';
COMMENT ON COLUMN sales_bi.enrichment_quality.freshness IS 'Always 0: read from the data themselves';

CREATE OR REPLACE FUNCTION sales_internal.sector_benchmark_of(company uuid)
RETURNS TABLE (quarter_start date, sector text, companies integer, response_rate numeric, sector_response_rate numeric, conversion_rate numeric, sector_conversion_rate numeric, sales_cycle_days numeric, sector_sales_cycle_days numeric, freshness interval)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT b.quarter_start, i.name::text, b.companies, m.response_rate_percent, b.response_rate,
           m.conversion_rate_percent, b.conversion_rate, m.sales_cycle_days, b.sales_cycle_days,
           sales_internal.freshness(s.company_id)
    FROM sales_internal.metric_state s
    JOIN sales.industries i ON i.industry_id = s.sector_id
    JOIN (SELECT DISTINCT ON (x.sector_id, x.quarter_start) x.* FROM sales_internal.sector_benchmarks x
          ORDER BY x.sector_id, x.quarter_start, x.edition DESC, x.companies DESC) b ON b.sector_id = s.sector_id
    LEFT JOIN sales.success_metrics m ON m.company_id = s.company_id AND m.period_start = b.quarter_start
        AND m.period_end = (b.quarter_start + interval '3 months')::date - 1
    WHERE s.company_id = company
$$;
COMMENT ON FUNCTION sales_internal.sector_benchmark_of(uuid) IS 'What sales_bi.sector_benchmark shows, of a given company; for reports';
REVOKE ALL ON FUNCTION sales_internal.sector_benchmark_of(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_bi.read_sector_benchmark()
RETURNS TABLE (quarter_start date, sector text, companies integer, response_rate numeric, sector_response_rate numeric, conversion_rate numeric, sector_conversion_rate numeric, sales_cycle_days numeric, sector_sales_cycle_days numeric, freshness interval)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT * FROM sales_internal.sector_benchmark_of(sales.current_company_id())
    WHERE sales.current_company_id() IS NOT NULL AND sales.has_permission('success_metrics', 'read')
$$;
COMMENT ON FUNCTION sales_bi.read_sector_benchmark() IS 'Rows of the view sales_bi.sector_benchmark';
REVOKE ALL ON FUNCTION sales_bi.read_sector_benchmark() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales_bi.read_sector_benchmark() TO sales_bi, sales_app;
CREATE OR REPLACE VIEW sales_bi.sector_benchmark WITH (security_invoker = true) AS
    SELECT quarter_start, sector, companies, response_rate, sector_response_rate, conversion_rate, sector_conversion_rate, sales_cycle_days, sector_sales_cycle_days, freshness
    FROM sales_bi.read_sector_benchmark();
GRANT SELECT ON sales_bi.sector_benchmark TO sales_bi, sales_app;
COMMENT ON VIEW sales_bi.sector_benchmark IS 'The company beside its sector: means over 5, 10, 15 ... companies in whole percent, published once';
COMMENT ON COLUMN sales_bi.sector_benchmark.quarter_start IS 'First day of the quarter';
COMMENT ON COLUMN sales_bi.sector_benchmark.sector IS 'Industry of most of the company''s prospects';
COMMENT ON COLUMN sales_bi.sector_benchmark.companies IS 'Companies in the mean, never fewer than 5';
COMMENT ON COLUMN sales_bi.sector_benchmark.response_rate IS 'The company''s own response rate';
COMMENT ON COLUMN sales_bi.sector_benchmark.sector_response_rate IS 'Mean of the sector, in whole percent';
COMMENT ON COLUMN sales_bi.sector_benchmark.conversion_rate IS 'The company''s own conversion rate';
COMMENT ON COLUMN sales_bi.sector_benchmark.sector_conversion_rate IS 'Mean of the sector, in whole percent';
COMMENT ON COLUMN sales_bi.sector_benchmark.sales_cycle_days IS 'The company''s own sales cycle';
COMMENT ON COLUMN sales_bi.sector_benchmark.sector_sales_cycle_days IS 'Mean of the sector, in whole days';
COMMENT ON COLUMN sales_bi.sector_benchmark.freshness IS 'Age of the oldest change that these numbers do not hold yet; 0 when they hold all';

DO $$
BEGIN
    IF to_regclass('sales_internal.periodic_tasks') IS NOT NULL THEN
        INSERT INTO sales_internal.periodic_tasks (name, every, run_function)
        VALUES ('benchmarks', '1 hour', 'sales_internal.publish_benchmarks')
        ON CONFLICT (name) DO NOTHING;
    END IF;
END
$$;
