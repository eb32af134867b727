-- Roll-ups: analytics and success_metrics from the base tables, as docs/rollup.md says.

-- What the platform costs the company each month: its own setting, else the platform's.
CREATE OR REPLACE FUNCTION sales_internal.monthly_cost(company uuid) RETURNS numeric
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT coalesce((SELECT value::numeric FROM sales.system_settings
                     WHERE category = 'billing' AND key_name = 'monthly_cost'
                       AND (company_id = company OR company_id IS NULL)
                       AND data_type <> 'encrypted' AND value ~ '^\s*\d{1,12}(\.\d{1,6})?\s*$'
                     ORDER BY company_id NULLS LAST LIMIT 1), 0)
$$;
COMMENT ON FUNCTION sales_internal.monthly_cost(uuid) IS
    'The setting billing.monthly_cost of a company, else of the platform, else 0';
REVOKE ALL ON FUNCTION sales_internal.monthly_cost(uuid) FROM PUBLIC;

-- Shares of months are multiplied before they are divided, so that a whole month costs exactly the setting.
CREATE OR REPLACE FUNCTION sales_internal.subscription_cost(monthly numeric, period_start date, period_end date)
RETURNS numeric
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(sum(monthly * (least(period_end, (m + interval '1 month')::date - 1) - greatest(period_start, m::date) + 1)
                        / ((m + interval '1 month')::date - m::date)), 0)
    FROM generate_series(date_trunc('month', period_start::timestamp), period_end::timestamp, interval '1 month') AS m
$$;
COMMENT ON FUNCTION sales_internal.subscription_cost(numeric, date, date) IS
    'Share of the monthly cost that falls on a period, month by month';
REVOKE ALL ON FUNCTION sales_internal.subscription_cost(numeric, date, date) FROM PUBLIC;

-- All days of a company that its metrics know or ought to know.
CREATE OR REPLACE FUNCTION sales_internal.metric_company_days(company uuid) RETURNS SETOF date
LANGUAGE sql STABLE ROWS 1000
SET search_path = pg_catalog, pg_temp
AS $$
    WITH zone AS (SELECT timezone FROM sales.companies WHERE company_id = company)
    SELECT sales_internal.local_day(created_at, timezone) FROM sales.prospects, zone WHERE company_id = company
    UNION SELECT sales_internal.local_day(interaction_date, timezone) FROM sales.interactions, zone WHERE company_id = company
    UNION SELECT sales_internal.local_day(created_at, timezone) FROM sales.tasks, zone WHERE company_id = company AND type = 'meeting'
    UNION SELECT sales_internal.local_day(stage_entered_at, timezone) FROM sales.conversion_funnel, zone WHERE company_id = company
    UNION SELECT sales_internal.local_day(created_at, timezone) FROM sales.enrichments, zone WHERE company_id = company AND cost > 0
    UNION SELECT sales_internal.local_day(spent_at, timezone) FROM sales_internal.ai_costs, zone WHERE company_id = company
    UNION SELECT day FROM sales_internal.metric_days WHERE company_id = company
    UNION SELECT date FROM sales.analytics WHERE company_id = company
$$;
COMMENT ON FUNCTION sales_internal.metric_company_days(uuid) IS
    'Days on which a company has activity, cost or stored metrics';
REVOKE ALL ON FUNCTION sales_internal.metric_company_days(uuid) FROM PUBLIC;

-- Recomputes some days from the base tables, each found by index, and tells who
-- was contacted on a day and was not before, or the other way round.
CREATE OR REPLACE FUNCTION sales_internal.recompute_days(companies uuid[], days date[], tell boolean)
RETURNS TABLE (company_id uuid, prospect_id uuid, day date, added boolean)
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    WITH dirty AS (
        SELECT d.company_id, d.day,
               sales_internal.day_start(d.day, c.timezone) AS from_at,
               sales_internal.day_start(d.day + 1, c.timezone) AS to_at
        FROM unnest(companies, days) AS d (company_id, day) JOIN sales.companies c USING (company_id)
    ), fresh AS MATERIALIZED (
        SELECT d.company_id, d.day, p.n + i.n + t.n + f.n AS events,
               p.n AS added, p.imported, coalesce(cardinality(i.people), 0) AS contacted, i.people, i.sent, i.answered, i.responses, t.n AS meetings,
               f.proposals, f.won, f.lost, f.revenue, f.cycle_seconds, e.cost + a.cost AS cost
        FROM dirty d
        CROSS JOIN LATERAL (
            SELECT count(*) AS n, count(*) FILTER (WHERE source <> 'manual') AS imported
            FROM sales.prospects x
            WHERE x.company_id = d.company_id AND x.created_at >= d.from_at AND x.created_at < d.to_at) p
        CROSS JOIN LATERAL (
            SELECT count(*) AS n,
                   array_agg(DISTINCT x.prospect_id) FILTER (WHERE type <> 'received') AS people,
                   count(*) FILTER (WHERE type = 'sent') AS sent,
                   count(*) FILTER (WHERE type = 'sent' AND response_received) AS answered,
                   count(*) FILTER (WHERE type = 'received' OR response_received) AS responses
            FROM sales.interactions x
            WHERE x.company_id = d.company_id AND x.interaction_date >= d.from_at AND x.interaction_date < d.to_at) i
        CROSS JOIN LATERAL (
            SELECT count(*) AS n
            FROM sales.tasks x
            WHERE x.company_id = d.company_id AND x.created_at >= d.from_at AND x.created_at < d.to_at
              AND x.type = 'meeting' AND x.status <> 'cancelled') t
        CROSS JOIN LATERAL (
            SELECT count(*) AS n,
                   count(*) FILTER (WHERE stage = 'proposition_envoyee') AS proposals,
                   count(*) FILTER (WHERE stage = 'client') AS won,
                   count(*) FILTER (WHERE stage = 'perdu') AS lost,
                   coalesce(sum(deal_value) FILTER (WHERE stage = 'client'), 0) AS revenue,
                   coalesce(sum(extract(epoch FROM stage_entered_at - (
                       SELECT min(y.stage_entered_at) FROM sales.conversion_funnel y
                       WHERE y.company_id = x.company_id AND y.prospect_id = x.prospect_id
                         AND y.stage_entered_at > '-infinity'))) FILTER (WHERE stage = 'client'), 0) AS cycle_seconds
            FROM sales.conversion_funnel x
            WHERE x.company_id = d.company_id AND x.stage_entered_at >= d.from_at AND x.stage_entered_at < d.to_at) f
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(x.cost), 0) AS cost
            FROM sales.enrichments x
            WHERE x.company_id = d.company_id AND x.created_at >= d.from_at AND x.created_at < d.to_at) e
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(x.cost), 0) AS cost
            FROM sales_internal.ai_costs x
            WHERE x.company_id = d.company_id AND x.spent_at >= d.from_at AND x.spent_at < d.to_at) a
    ), known AS MATERIALIZED (
        SELECT f.company_id, f.day, f.people, c.people AS old_people
        FROM fresh f LEFT JOIN sales_internal.metric_contacts c ON c.company_id = f.company_id AND c.day = f.day
        WHERE f.people IS DISTINCT FROM c.people
    ), gone_contacts AS (
        DELETE FROM sales_internal.metric_contacts c USING known k
        WHERE c.company_id = k.company_id AND c.day = k.day AND k.people IS NULL
    ), kept_contacts AS (
        INSERT INTO sales_internal.metric_contacts AS c (company_id, day, people)
        SELECT k.company_id, k.day, k.people FROM known k WHERE k.people IS NOT NULL
        ON CONFLICT ON CONSTRAINT metric_contacts_pkey DO UPDATE SET people = excluded.people
    ), gone_days AS (
        DELETE FROM sales_internal.metric_days m USING fresh f
        WHERE m.company_id = f.company_id AND m.day = f.day AND f.events = 0 AND f.cost = 0
    ), gone_analytics AS (
        DELETE FROM sales.analytics m USING fresh f
        WHERE m.company_id = f.company_id AND m.date = f.day AND f.events = 0
    ), kept_days AS (
        INSERT INTO sales_internal.metric_days AS m
            (company_id, day, events, prospects_added, prospects_imported, prospects_contacted,
             messages_sent, answered, responses_received, meetings_scheduled, proposals_sent,
             deals_won, deals_lost, revenue, cycle_seconds, cost)
        SELECT f.company_id, f.day, events, f.added, imported, contacted, sent, answered, responses, meetings,
               proposals, won, lost, revenue, cycle_seconds, cost
        FROM fresh f WHERE events > 0 OR cost > 0
        ON CONFLICT ON CONSTRAINT metric_days_pkey DO UPDATE SET
            (events, prospects_added, prospects_imported, prospects_contacted, messages_sent, answered,
             responses_received, meetings_scheduled, proposals_sent, deals_won, deals_lost, revenue,
             cycle_seconds, cost)
            = (excluded.events, excluded.prospects_added, excluded.prospects_imported, excluded.prospects_contacted,
               excluded.messages_sent, excluded.answered, excluded.responses_received, excluded.meetings_scheduled,
               excluded.proposals_sent, excluded.deals_won, excluded.deals_lost, excluded.revenue,
               excluded.cycle_seconds, excluded.cost)
        WHERE (m.events, m.prospects_added, m.prospects_imported, m.prospects_contacted, m.messages_sent, m.answered,
               m.responses_received, m.meetings_scheduled, m.proposals_sent, m.deals_won, m.deals_lost, m.revenue,
               m.cycle_seconds, m.cost)
            IS DISTINCT FROM
              (excluded.events, excluded.prospects_added, excluded.prospects_imported, excluded.prospects_contacted,
               excluded.messages_sent, excluded.answered, excluded.responses_received, excluded.meetings_scheduled,
               excluded.proposals_sent, excluded.deals_won, excluded.deals_lost, excluded.revenue,
               excluded.cycle_seconds, excluded.cost)
    ), kept_analytics AS (
        INSERT INTO sales.analytics AS m
            (company_id, date, prospects_added, messages_sent, responses_received, meetings_scheduled,
             deals_closed, revenue_generated, response_rate, conversion_rate)
        SELECT f.company_id, f.day, f.added, sent, responses, meetings, won, least(round(revenue, 2), 99999999.99),
               CASE WHEN sent > 0 THEN round(100.0 * answered / sent, 2) ELSE 0 END,
               CASE WHEN contacted > 0 THEN least(round(100.0 * won / contacted, 2), 100) ELSE 0 END
        FROM fresh f WHERE events > 0
        ON CONFLICT ON CONSTRAINT analytics_company_id_date_key DO UPDATE SET
            (prospects_added, messages_sent, responses_received, meetings_scheduled, deals_closed,
             revenue_generated, response_rate, conversion_rate)
            = (excluded.prospects_added, excluded.messages_sent, excluded.responses_received,
               excluded.meetings_scheduled, excluded.deals_closed, excluded.revenue_generated,
               excluded.response_rate, excluded.conversion_rate)
        WHERE (m.prospects_added, m.messages_sent, m.responses_received, m.meetings_scheduled, m.deals_closed,
               m.revenue_generated, m.response_rate, m.conversion_rate)
            IS DISTINCT FROM
              (excluded.prospects_added, excluded.messages_sent, excluded.responses_received,
               excluded.meetings_scheduled, excluded.deals_closed, excluded.revenue_generated,
               excluded.response_rate, excluded.conversion_rate)
    )
    SELECT k.company_id, x.id, k.day, x.added
    FROM known k CROSS JOIN LATERAL (
        (SELECT unnest(k.people) AS id, true AS added EXCEPT SELECT unnest(k.old_people), true)
        UNION ALL
        (SELECT unnest(k.old_people), false EXCEPT SELECT unnest(k.people), false)) AS x
    WHERE tell
$$;
COMMENT ON FUNCTION sales_internal.recompute_days(uuid[], date[], boolean) IS
    'Computes metric_days and analytics anew for pairs of company and day; tells who was newly or no longer contacted';
REVOKE ALL ON FUNCTION sales_internal.recompute_days(uuid[], date[], boolean) FROM PUBLIC;

-- Recomputes some periods: sums of days, and the one distinct count.  That is
-- the size of the union of the days' contacts.  Where few people changed only
-- they are looked at: who is contacted on no other day of the period adds or
-- takes one.  Where many did, or all is to be computed (`exact`), the union is
-- counted.  Both ways read the same stored days, never the interactions, so
-- that a change which has not been consumed yet cannot be counted twice.
CREATE OR REPLACE FUNCTION sales_internal.recompute_periods(
    companies uuid[], starts date[], ends date[], exact boolean,
    changed_companies uuid[] DEFAULT NULL, changed_people uuid[] DEFAULT NULL, changed_days date[] DEFAULT NULL,
    changed_added boolean[] DEFAULT NULL)
RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    WITH costs AS MATERIALIZED (
        SELECT c.company_id, sales_internal.monthly_cost(c.company_id) AS monthly
        FROM sales.companies c
        WHERE c.company_id = ANY (companies)
    ), dirty AS (
        SELECT d.*, c.monthly
        FROM unnest(companies, starts, ends) AS d (company_id, period_start, period_end)
        JOIN costs c USING (company_id)
    ), moved AS (
        SELECT c.company_id, c.person, d.period_start, d.period_end, array_agg(c.day) FILTER (WHERE c.added) AS added_days,
               bool_or(NOT c.added) AS was
        FROM unnest(changed_companies, changed_people, changed_days, changed_added) AS c (company_id, person, day, added)
        CROSS JOIN LATERAL (VALUES
            (date_trunc('week', c.day::timestamp)::date, date_trunc('week', c.day::timestamp)::date + 6),
            (date_trunc('month', c.day::timestamp)::date, (date_trunc('month', c.day::timestamp) + interval '1 month')::date - 1),
            (date_trunc('quarter', c.day::timestamp)::date, (date_trunc('quarter', c.day::timestamp) + interval '3 months')::date - 1))
            AS d (period_start, period_end)
        WHERE NOT exact
        GROUP BY 1, 2, 3, 4
    ), crowds AS MATERIALIZED (
        SELECT v.company_id, v.period_start, v.period_end, count(*) > 20 AS many
        FROM moved v
        WHERE (v.added_days IS NOT NULL) <> v.was
        GROUP BY 1, 2, 3
    ), shift AS MATERIALIZED (
        SELECT v.company_id, v.period_start, v.period_end,
               sum(CASE WHEN v.added_days IS NOT NULL THEN 1 ELSE 0 END - CASE WHEN v.was THEN 1 ELSE 0 END) AS delta
        FROM moved v JOIN crowds c USING (company_id, period_start, period_end)
        WHERE NOT c.many AND (v.added_days IS NOT NULL) <> v.was
          AND NOT EXISTS (SELECT FROM sales_internal.metric_contacts m
                          WHERE m.company_id = v.company_id AND m.day BETWEEN v.period_start AND v.period_end
                            AND v.person = ANY (m.people) AND m.day <> ALL (coalesce(v.added_days, '{}')))
        GROUP BY 1, 2, 3
    ), fresh AS MATERIALIZED (
        SELECT d.company_id, d.period_start, d.period_end, s.*, k.contacted,
               s.cost + CASE WHEN d.monthly > 0
                   THEN sales_internal.subscription_cost(d.monthly, d.period_start, d.period_end) ELSE 0 END AS full_cost
        FROM dirty d
        CROSS JOIN LATERAL (
            SELECT coalesce(sum(events), 0) AS events, sum(prospects_imported) AS imported,
                   sum(messages_sent) AS sent, sum(answered) AS answered, sum(responses_received) AS responses,
                   sum(meetings_scheduled) AS meetings, sum(proposals_sent) AS proposals,
                   sum(deals_won) AS won, sum(deals_lost) AS lost, sum(revenue) AS revenue,
                   sum(cycle_seconds) AS cycle_seconds, sum(cost) AS cost
            FROM sales_internal.metric_days m
            WHERE m.company_id = d.company_id AND m.day BETWEEN d.period_start AND d.period_end) s
        LEFT JOIN crowds c USING (company_id, period_start, period_end)
        CROSS JOIN LATERAL (SELECT CASE WHEN exact OR c.many THEN (
                SELECT count(DISTINCT who)
                FROM sales_internal.metric_contacts m, unnest(m.people) AS who
                WHERE m.company_id = d.company_id AND m.day BETWEEN d.period_start AND d.period_end)
            ELSE coalesce((SELECT m.prospects_contacted FROM sales.success_metrics m
                           WHERE m.company_id = d.company_id AND m.period_start = d.period_start
                             AND m.period_end = d.period_end), 0)
                 + coalesce((SELECT h.delta FROM shift h
                             WHERE h.company_id = d.company_id AND h.period_start = d.period_start
                               AND h.period_end = d.period_end), 0) END AS contacted) AS k
    ), gone AS (
        DELETE FROM sales.success_metrics m USING fresh f
        WHERE m.company_id = f.company_id AND m.period_start = f.period_start AND m.period_end = f.period_end
          AND f.events = 0
    )
    INSERT INTO sales.success_metrics AS m
        (company_id, period_start, period_end, prospects_imported, prospects_contacted, responses_received,
         meetings_scheduled, proposals_sent, deals_won, deals_lost, total_revenue, avg_deal_size,
         sales_cycle_days, response_rate_percent, conversion_rate_percent, roi_calculated)
    SELECT company_id, period_start, period_end, imported, contacted, responses, meetings, proposals, won, lost,
           least(round(revenue, 2), 9999999999.99),
           CASE WHEN won > 0 THEN round(revenue / won, 2) END,
           CASE WHEN won > 0 THEN least(round(cycle_seconds / (86400 * won), 2), 999.99) END,
           CASE WHEN sent > 0 THEN round(100.0 * answered / sent, 2) ELSE 0 END,
           CASE WHEN contacted > 0 THEN least(round(100.0 * won / contacted, 2), 100) ELSE 0 END,
           CASE WHEN full_cost > 0
                THEN greatest(least(round(100 * (revenue - full_cost) / full_cost, 2), 999999.99), -999999.99) END
    FROM fresh WHERE events > 0
    ON CONFLICT (company_id, period_start, period_end) DO UPDATE SET
        (prospects_imported, prospects_contacted, responses_received, meetings_scheduled, proposals_sent,
         deals_won, deals_lost, total_revenue, avg_deal_size, sales_cycle_days, response_rate_percent,
         conversion_rate_percent, roi_calculated)
        = (excluded.prospects_imported, excluded.prospects_contacted, excluded.responses_received,
           excluded.meetings_scheduled, excluded.proposals_sent, excluded.deals_won, excluded.deals_lost,
           excluded.total_revenue, excluded.avg_deal_size, excluded.sales_cycle_days,
           excluded.response_rate_percent, excluded.conversion_rate_percent, excluded.roi_calculated)
    WHERE (m.prospects_imported, m.prospects_contacted, m.responses_received, m.meetings_scheduled,
           m.proposals_sent, m.deals_won, m.deals_lost, m.total_revenue, m.avg_deal_size, m.sales_cycle_days,
           m.response_rate_percent, m.conversion_rate_percent, m.roi_calculated)
        IS DISTINCT FROM
          (excluded.prospects_imported, excluded.prospects_contacted, excluded.responses_received,
           excluded.meetings_scheduled, excluded.proposals_sent, excluded.deals_won, excluded.deals_lost,
           excluded.total_revenue, excluded.avg_deal_size, excluded.sales_cycle_days,
           excluded.response_rate_percent, excluded.conversion_rate_percent, excluded.roi_calculated)
$$;
COMMENT ON FUNCTION sales_internal.recompute_periods(uuid[], date[], date[], boolean, uuid[], uuid[], date[], boolean[]) IS
    'Computes success_metrics anew for triples of company, first and last day';
REVOKE ALL ON FUNCTION sales_internal.recompute_periods(uuid[], date[], date[], boolean, uuid[], uuid[], date[], boolean[]) FROM PUBLIC;

-- One consumer at a time for each company; every statement after the lock has
-- a snapshot that is later than the last consumer's.
CREATE OR REPLACE FUNCTION sales_internal.metrics_lock_key(company uuid) RETURNS bigint
LANGUAGE sql IMMUTABLE STRICT
SET search_path = pg_catalog, pg_temp
AS $$ SELECT hashtextextended('sales_assistant metrics ' || company::text, 0) $$;
COMMENT ON FUNCTION sales_internal.metrics_lock_key(uuid) IS 'Lock (take_lock) of those who recompute a company''s metrics';
REVOKE ALL ON FUNCTION sales_internal.metrics_lock_key(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.refresh_companies(companies uuid[], from_day date DEFAULT NULL, to_day date DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    first_known constant date := '0001-01-01';
    last_known constant date := '9999-12-30';
    mark_company uuid[];
    mark_first timestamptz[];
    mark_last timestamptz[];
    mark_prospect uuid[];
    day_company uuid[];
    days date[];
    period_company uuid[];
    starts date[];
    ends date[];
    exact boolean;
    who_company uuid[];
    who uuid[];
    who_day date[];
    who_added boolean[];
    one_company uuid := CASE WHEN cardinality(companies) = 1 THEN companies[1] END;
BEGIN
    PERFORM sales_internal.note_progress('refresh_metrics', one_company, 'marks', 0, NULL);
    PERFORM sales_internal.take_lock(k)
    FROM (SELECT sales_internal.metrics_lock_key(c) AS k FROM unnest(companies) AS c ORDER BY 1) AS x;

    IF current_setting('transaction_isolation') = 'read committed' THEN
        -- Deletes what this statement sees and nothing else.  All that the
        -- marks stand for is visible to the statements below, as their
        -- snapshots are later.
        WITH taken AS (
            DELETE FROM sales_internal.metric_marks WHERE company_id = ANY (companies)
            RETURNING company_id, first_at, last_at, prospect_id)
        SELECT array_agg(company_id), array_agg(first_at), array_agg(last_at), array_agg(prospect_id)
        INTO mark_company, mark_first, mark_last, mark_prospect FROM taken;
        PERFORM sales_internal.marks_forget();
    ELSE
        -- With one snapshot for the whole transaction a mark may outlive it:
        -- metrics are computed, and the marks stay for who sees more.  The
        -- lock fails where another has consumed them since, as what that one
        -- computed is newer.
        SELECT array_agg(company_id), array_agg(first_at), array_agg(last_at), array_agg(prospect_id)
        INTO mark_company, mark_first, mark_last, mark_prospect
        FROM (SELECT * FROM sales_internal.metric_marks WHERE company_id = ANY (companies) FOR SHARE) AS kept;
    END IF;

    WITH ranges AS (
        SELECT DISTINCT m.company_id, c.timezone,
               sales_internal.local_day(m.first_at, c.timezone) AS first_day,
               sales_internal.local_day(m.last_at, c.timezone) AS last_day,
               m.prospect_id
        FROM unnest(mark_company, mark_first, mark_last, mark_prospect)
             AS m (company_id, first_at, last_at, prospect_id)
        JOIN sales.companies c USING (company_id)
        UNION ALL
        SELECT c.company_id, c.timezone, coalesce(from_day, '-infinity'), coalesce(to_day, 'infinity'), NULL
        FROM sales.companies c
        WHERE c.company_id = ANY (companies) AND num_nonnulls(from_day, to_day) > 0
    ), narrow AS (
        SELECT * FROM ranges
        WHERE isfinite(first_day) AND isfinite(last_day) AND last_day < first_day + 4
    ), wide AS (
        SELECT company_id, min(first_day) AS first_day, max(last_day) AS last_day FROM ranges
        WHERE NOT isfinite(first_day) OR NOT isfinite(last_day) OR last_day >= first_day + 4
        GROUP BY company_id
    ), all_days AS (
        SELECT company_id, first_day + n AS day FROM narrow, generate_series(0, last_day - first_day) AS n
        UNION
        -- OFFSET 0 keeps this a look-up of each prospect, whatever the planner expects.
        SELECT n.company_id, sales_internal.local_day(f.stage_entered_at, n.timezone)
        FROM narrow n CROSS JOIN LATERAL (
            SELECT x.stage_entered_at FROM sales.conversion_funnel x
            WHERE x.company_id = n.company_id AND x.prospect_id = n.prospect_id AND x.stage = 'client' OFFSET 0) AS f
        WHERE n.prospect_id IS NOT NULL AND isfinite(f.stage_entered_at)
        UNION
        SELECT w.company_id, d FROM wide w, sales_internal.metric_company_days(w.company_id) AS d
        WHERE d BETWEEN w.first_day AND w.last_day
    ), some_days AS (
        SELECT * FROM all_days WHERE day BETWEEN first_known AND last_known
    ), periods AS (
        SELECT s.company_id, p.first_day, (p.first_day + p.length)::date - 1 AS last_day
        FROM (SELECT DISTINCT company_id, day FROM some_days) AS s
        CROSS JOIN LATERAL (VALUES
            (date_trunc('week', s.day::timestamp)::date, interval '7 days'),
            (date_trunc('month', s.day::timestamp)::date, interval '1 month'),
            (date_trunc('quarter', s.day::timestamp)::date, interval '3 months')) AS p (first_day, length)
        UNION
        SELECT m.company_id, m.period_start, m.period_end
        FROM wide w JOIN sales.success_metrics m USING (company_id)
        WHERE m.period_end >= w.first_day AND m.period_start <= w.last_day
    )
    SELECT d.c, d.d, p.c, p.s, p.e, EXISTS (SELECT FROM wide) OR coalesce(cardinality(d.d), 0) > 5000
    INTO day_company, days, period_company, starts, ends, exact
    FROM (SELECT array_agg(company_id ORDER BY company_id, day) AS c, array_agg(day ORDER BY company_id, day) AS d
          FROM some_days) AS d,
         (SELECT array_agg(company_id ORDER BY company_id, first_day, last_day) AS c,
                 array_agg(first_day ORDER BY company_id, first_day, last_day) AS s,
                 array_agg(last_day ORDER BY company_id, first_day, last_day) AS e
          FROM periods) AS p;

    IF days IS NOT NULL THEN
        PERFORM sales_internal.note_progress('refresh_metrics', one_company, 'days', 0, cardinality(days));
        SELECT array_agg(r.company_id), array_agg(r.prospect_id), array_agg(r.day), array_agg(r.added)
        INTO who_company, who, who_day, who_added
        FROM sales_internal.recompute_days(day_company, days, NOT exact) AS r;
    END IF;
    IF period_company IS NOT NULL THEN
        PERFORM sales_internal.note_progress('refresh_metrics', one_company, 'periods', 0, cardinality(starts));
        PERFORM sales_internal.recompute_periods(period_company, starts, ends, exact, who_company, who, who_day, who_added);
    END IF;

    PERFORM sales_internal.note_progress('refresh_metrics', one_company, 'sectors and odds');
    -- Stages entered since then may change the odds of all stages.
    INSERT INTO sales_internal.metric_state AS s (company_id, refreshed_at, odds_stale)
    SELECT c.company_id, sales_internal.now(),
           EXISTS (SELECT FROM unnest(mark_company, mark_prospect) AS m (company, prospect)
                   WHERE company = c.company_id AND prospect IS NOT NULL)
    FROM sales.companies c WHERE c.company_id = ANY (companies)
    ON CONFLICT (company_id) DO UPDATE
    SET refreshed_at = excluded.refreshed_at, odds_stale = s.odds_stale OR excluded.odds_stale;
    PERFORM sales_internal.refresh_sector(c, cardinality(companies) = 1) FROM unnest(companies) AS c;
    PERFORM sales_internal.refresh_stale_odds(companies), sales_internal.end_progress('refresh_metrics');
    RETURN coalesce(cardinality(days), 0);
END
$$;
COMMENT ON FUNCTION sales_internal.refresh_companies(uuid[], date, date) IS
    'Brings the metrics of some companies up to date; with a range, computes those days anew whatever is marked';
REVOKE ALL ON FUNCTION sales_internal.refresh_companies(uuid[], date, date) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.refresh_metrics("from" date DEFAULT NULL, "to" date DEFAULT NULL)
RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
    days bigint;
BEGIN
    PERFORM sales_internal.require('analytics', 'read');
    IF "from" > "to" THEN
        RAISE EXCEPTION 'the range of days ends before it starts'
            USING ERRCODE = 'invalid_parameter_value', HINT = 'Call sales.refresh_metrics(from, to) with from <= to.';
    END IF;
    days := sales_internal.refresh_companies(ARRAY[company], "from", "to");
    PERFORM sales_internal.publish_benchmarks(company);
    RETURN days;
END
$$;
COMMENT ON FUNCTION sales.refresh_metrics(date, date) IS
    'Brings the company''s metrics up to date; returns the number of days computed. With a range, computes those days anew';
REVOKE ALL ON FUNCTION sales.refresh_metrics(date, date) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.refresh_metrics(date, date) TO sales_app;

-- For the worker and maintain(): all companies with marks that nobody is at.
CREATE OR REPLACE FUNCTION sales_internal.refresh_all_metrics() RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    companies uuid[];
    company uuid;
    days bigint := 0;
BEGIN
    DELETE FROM sales_internal.metric_marks m
    WHERE NOT EXISTS (SELECT FROM sales.companies c WHERE c.company_id = m.company_id);
    SELECT array_agg(company_id ORDER BY company_id) INTO companies
    FROM (SELECT DISTINCT company_id FROM sales_internal.metric_marks) AS x
    WHERE sales_internal.take_lock(sales_internal.metrics_lock_key(company_id), false);
    PERFORM sales_internal.refresh_stale_odds();
    IF companies IS NULL THEN
        RETURN 0;
    END IF;
    BEGIN
        RETURN sales_internal.refresh_companies(companies);
    EXCEPTION WHEN data_exception OR integrity_constraint_violation OR lock_not_available THEN
        -- One company's data must not stop the others.
        RAISE LOG 'sales_assistant: metrics of all companies at once failed: %', SQLERRM;
    END;
    FOREACH company IN ARRAY companies LOOP
        BEGIN
            days := days + sales_internal.refresh_companies(ARRAY[company]);
        EXCEPTION WHEN data_exception OR integrity_constraint_violation OR lock_not_available THEN
            RAISE WARNING 'metrics of company % failed: %', company, SQLERRM;
        END;
    END LOOP;
    RETURN days;
END
$$;
COMMENT ON FUNCTION sales_internal.refresh_all_metrics() IS
    'Brings the metrics of all companies up to date; run by the worker and maintain()';
REVOKE ALL ON FUNCTION sales_internal.refresh_all_metrics() FROM PUBLIC;

-- All days and periods of a company are wrong at once: another timezone, another cost.
CREATE OR REPLACE FUNCTION sales_internal.mark_company() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF sales_internal.restoring() THEN
        RETURN NULL;
    END IF;
    IF TG_TABLE_NAME = 'companies' THEN
        INSERT INTO sales_internal.metric_marks (company_id, first_at, last_at)
        VALUES (NEW.company_id, '-infinity', 'infinity');
        RETURN NULL;
    END IF;
    IF TG_OP <> 'INSERT' AND OLD.category = 'billing' AND OLD.key_name = 'monthly_cost' THEN
        INSERT INTO sales_internal.metric_marks (company_id, first_at, last_at)
        SELECT c.company_id, '-infinity', 'infinity' FROM sales.companies c
        WHERE c.company_id = OLD.company_id OR OLD.company_id IS NULL;
    END IF;
    IF TG_OP <> 'DELETE' AND NEW.category = 'billing' AND NEW.key_name = 'monthly_cost' THEN
        INSERT INTO sales_internal.metric_marks (company_id, first_at, last_at)
        SELECT c.company_id, '-infinity', 'infinity' FROM sales.companies c
        WHERE c.company_id = NEW.company_id OR NEW.company_id IS NULL;
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sales_internal.mark_company() IS
    'Trigger: marks all days of a company whose timezone or monthly cost changed';
REVOKE ALL ON FUNCTION sales_internal.mark_company() FROM PUBLIC;
CREATE OR REPLACE TRIGGER metrics_timezone AFTER UPDATE ON sales.companies
    FOR EACH ROW WHEN (OLD.timezone IS DISTINCT FROM NEW.timezone)
    EXECUTE FUNCTION sales_internal.mark_company();
CREATE OR REPLACE TRIGGER metrics_cost AFTER INSERT OR UPDATE OR DELETE ON sales.system_settings
    FOR EACH ROW EXECUTE FUNCTION sales_internal.mark_company();

-- A plain recomputation of everything, written apart from recompute_days() and
-- recompute_periods() and without their day table, compared with what is stored.
CREATE OR REPLACE FUNCTION sales.check_metrics()
RETURNS TABLE (table_name text, period text, metric text, stored numeric, recomputed numeric)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    mine uuid := sales_internal.require_company();
    zone text := (SELECT c.timezone FROM sales.companies c WHERE c.company_id = mine);
    monthly numeric := sales_internal.monthly_cost(mine);
BEGIN
    PERFORM sales_internal.require('analytics', 'read');
    RETURN QUERY
    WITH events AS (
        SELECT sales_internal.local_day(created_at, zone)::timestamp AS at, 'added' AS what, prospect_id AS who,
               source <> 'manual' AS flag, NULL::numeric AS amount, NULL::numeric AS seconds
        FROM sales.prospects WHERE company_id = mine
        UNION ALL
        SELECT sales_internal.local_day(interaction_date, zone)::timestamp, type::text, prospect_id, response_received, NULL, NULL
        FROM sales.interactions WHERE company_id = mine
        UNION ALL
        SELECT sales_internal.local_day(created_at, zone)::timestamp, 'meeting', prospect_id, NULL, NULL, NULL
        FROM sales.tasks WHERE company_id = mine AND type = 'meeting' AND status <> 'cancelled'
        UNION ALL
        SELECT sales_internal.local_day(stage_entered_at, zone)::timestamp, stage::text, prospect_id, NULL, deal_value,
               extract(epoch FROM stage_entered_at - min(stage_entered_at) OVER (PARTITION BY prospect_id))
        FROM sales.conversion_funnel WHERE company_id = mine AND isfinite(stage_entered_at)
        UNION ALL
        SELECT sales_internal.local_day(created_at, zone)::timestamp, 'cost', prospect_id, NULL, cost, NULL
        FROM sales.enrichments WHERE company_id = mine
        UNION ALL
        SELECT sales_internal.local_day(spent_at, zone)::timestamp, 'cost', NULL, NULL, cost, NULL
        FROM sales_internal.ai_costs WHERE company_id = mine
    ), placed AS (
        SELECT e.*, k.kind, k.first_day, k.last_day
        FROM events e
        CROSS JOIN LATERAL (VALUES
            ('day', at::date, at::date),
            ('week', date_trunc('week', at)::date, date_trunc('week', at)::date + 6),
            ('month', date_trunc('month', at)::date, (date_trunc('month', at) + interval '1 month')::date - 1),
            ('quarter', date_trunc('quarter', at)::date, (date_trunc('quarter', at) + interval '3 months')::date - 1))
            AS k (kind, first_day, last_day)
        WHERE isfinite(at) AND at >= '0001-01-01' AND at < '9999-12-31'
    ), sums AS (
        SELECT kind, first_day, last_day,
               count(*) FILTER (WHERE what = 'added') AS added,
               count(*) FILTER (WHERE what = 'added' AND flag) AS imported,
               count(DISTINCT who) FILTER (WHERE what IN ('sent', 'call_made', 'meeting_held')) AS contacted,
               count(*) FILTER (WHERE what = 'sent') AS sent,
               count(*) FILTER (WHERE what = 'sent' AND flag) AS answered,
               count(*) FILTER (WHERE what = 'received')
                 + count(*) FILTER (WHERE what IN ('sent', 'call_made', 'meeting_held') AND flag) AS responses,
               count(*) FILTER (WHERE what = 'meeting') AS meetings,
               count(*) FILTER (WHERE what = 'proposition_envoyee') AS proposals,
               count(*) FILTER (WHERE what = 'client') AS won,
               count(*) FILTER (WHERE what = 'perdu') AS lost,
               coalesce(sum(amount) FILTER (WHERE what = 'client'), 0) AS revenue,
               avg(seconds) FILTER (WHERE what = 'client') / 86400 AS cycle,
               coalesce(sum(amount) FILTER (WHERE what = 'cost'), 0)
                 + sales_internal.subscription_cost(monthly, first_day, last_day) AS cost
        FROM placed
        GROUP BY kind, first_day, last_day
        HAVING count(*) FILTER (WHERE what <> 'cost') > 0
    ), expected AS (
        SELECT 'analytics' AS tab, s.first_day, s.last_day, m.metric, m.value
        FROM sums s CROSS JOIN LATERAL (VALUES
            ('prospects_added', s.added::numeric), ('messages_sent', s.sent), ('responses_received', s.responses),
            ('meetings_scheduled', s.meetings), ('deals_closed', s.won),
            ('revenue_generated', least(s.revenue, 99999999.99)),
            ('response_rate', CASE WHEN s.sent = 0 THEN 0 ELSE round(s.answered * 100.0 / s.sent, 2) END),
            ('conversion_rate', CASE WHEN s.contacted = 0 THEN 0 ELSE least(100, round(s.won * 100.0 / s.contacted, 2)) END))
            AS m (metric, value)
        WHERE s.kind = 'day'
        UNION ALL
        SELECT 'success_metrics', s.first_day, s.last_day, m.metric, m.value
        FROM sums s CROSS JOIN LATERAL (VALUES
            ('prospects_imported', s.imported::numeric), ('prospects_contacted', s.contacted),
            ('responses_received', s.responses), ('meetings_scheduled', s.meetings),
            ('proposals_sent', s.proposals), ('deals_won', s.won), ('deals_lost', s.lost),
            ('total_revenue', least(s.revenue, 9999999999.99)),
            ('avg_deal_size', round(s.revenue / nullif(s.won, 0), 2)),
            ('sales_cycle_days', CASE WHEN s.cycle > 999.99 THEN 999.99 ELSE round(s.cycle, 2) END),
            ('response_rate_percent', CASE WHEN s.sent = 0 THEN 0 ELSE round(s.answered * 100.0 / s.sent, 2) END),
            ('conversion_rate_percent', CASE WHEN s.contacted = 0 THEN 0 ELSE least(100, round(s.won * 100.0 / s.contacted, 2)) END),
            ('roi_calculated', CASE WHEN s.cost > 0
                THEN greatest(-999999.99, least(999999.99, round((s.revenue - s.cost) * 100 / s.cost, 2))) END))
            AS m (metric, value)
        WHERE s.kind <> 'day'
    ), kept AS (
        SELECT 'analytics' AS tab, a.date AS first_day, a.date AS last_day, m.metric, m.value
        FROM sales.analytics a CROSS JOIN LATERAL (VALUES
            ('prospects_added', a.prospects_added::numeric), ('messages_sent', a.messages_sent),
            ('responses_received', a.responses_received), ('meetings_scheduled', a.meetings_scheduled),
            ('deals_closed', a.deals_closed), ('revenue_generated', a.revenue_generated),
            ('response_rate', a.response_rate), ('conversion_rate', a.conversion_rate)) AS m (metric, value)
        WHERE a.company_id = mine
        UNION ALL
        SELECT 'success_metrics', s.period_start, s.period_end, m.metric, m.value
        FROM sales.success_metrics s CROSS JOIN LATERAL (VALUES
            ('prospects_imported', s.prospects_imported::numeric), ('prospects_contacted', s.prospects_contacted),
            ('responses_received', s.responses_received), ('meetings_scheduled', s.meetings_scheduled),
            ('proposals_sent', s.proposals_sent), ('deals_won', s.deals_won), ('deals_lost', s.deals_lost),
            ('total_revenue', s.total_revenue), ('avg_deal_size', s.avg_deal_size),
            ('sales_cycle_days', s.sales_cycle_days), ('response_rate_percent', s.response_rate_percent),
            ('conversion_rate_percent', s.conversion_rate_percent), ('roi_calculated', s.roi_calculated))
            AS m (metric, value)
        WHERE s.company_id = mine
    )
    SELECT tab, CASE WHEN first_day = last_day THEN first_day::text ELSE first_day || '/' || last_day END,
           metric, k.value, e.value
    FROM kept k FULL JOIN expected e USING (tab, first_day, last_day, metric)
    WHERE k.value IS DISTINCT FROM e.value
    ORDER BY 1, first_day, last_day, metric;
END
$$;
COMMENT ON FUNCTION sales.check_metrics() IS
    'Compares all metrics of the company with a plain recomputation; no row where all is exact';
REVOKE ALL ON FUNCTION sales.check_metrics() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.check_metrics() TO sales_app;

CREATE OR REPLACE FUNCTION sales_internal.record_ai_cost(
    company uuid, provider text, purpose text, model text, cost numeric,
    input_tokens bigint DEFAULT 0, output_tokens bigint DEFAULT 0, job uuid DEFAULT NULL, prompt text DEFAULT NULL)
RETURNS uuid
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO sales_internal.ai_costs (company_id, spent_at, provider, purpose, model, cost, input_tokens, output_tokens, job_id, prompt)
    VALUES (company, sales_internal.now(), provider, purpose, model, cost, input_tokens, output_tokens, job, prompt)
    RETURNING cost_id
$$;
COMMENT ON FUNCTION sales_internal.record_ai_cost(uuid, text, text, text, numeric, bigint, bigint, uuid, text) IS
    'Notes what an AI call cost; called where the call is settled';
REVOKE ALL ON FUNCTION sales_internal.record_ai_cost(uuid, text, text, text, numeric, bigint, bigint, uuid, text) FROM PUBLIC;

-- The worker and maintain() run what is listed there, where there is such a list.
DO $$
BEGIN
    IF to_regclass('sales_internal.periodic_tasks') IS NOT NULL THEN
        INSERT INTO sales_internal.periodic_tasks (name, every, run_function)
        VALUES ('metrics', '10 seconds', 'sales_internal.refresh_all_metrics')
        ON CONFLICT (name) DO NOTHING;
    END IF;
END
$$;

CREATE OR REPLACE FUNCTION sales_internal.doctor_rollup()
RETURNS TABLE (severity text, finding text, hint text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'warning', format('the metrics of %s companies lack changes that are up to %s old', companies, age),
           'Let a worker run (shared_preload_libraries, or sales.start_workers()), or call sales.maintain() now and then.'
    FROM (SELECT count(DISTINCT company_id) AS companies,
                 date_trunc('second', sales_internal.now() - min(marked_at)) AS age
          FROM sales_internal.metric_marks
          WHERE marked_at < sales_internal.now() - interval '10 minutes') AS late
    WHERE companies > 0
    UNION ALL
    SELECT 'error', format('trigger "%s" of %s is disabled: changes are not marked for the metrics', t.tgname, t.tgrelid::regclass),
           format('ALTER TABLE %s ENABLE TRIGGER %I, then sales.refresh_metrics(''-infinity'', ''infinity'') in each company.',
                  t.tgrelid::regclass, t.tgname)
    FROM pg_trigger t
    WHERE t.tgfoid = 'sales_internal.mark_metrics()'::regprocedure AND t.tgenabled <> 'O'
$$;
COMMENT ON FUNCTION sales_internal.doctor_rollup() IS 'Findings of the doctor on metrics: changes that wait, triggers that are off';
REVOKE ALL ON FUNCTION sales_internal.doctor_rollup() FROM PUBLIC;
