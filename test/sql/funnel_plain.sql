-- Outlooks of stages and chances of prospects are those of the plain SQL below, on random histories of two companies.
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\i :srcdir/clean.inc
\set ECHO none
CREATE FUNCTION helpers.plain_outlook(company uuid, only_stage sales.funnel_stage DEFAULT NULL)
RETURNS TABLE (stage sales.funnel_stage, from_hours float8, deals bigint, share numeric, leaves float8, pace float8)
LANGUAGE sql STABLE ROWS 24
SET search_path = pg_catalog, pg_temp
AS $$
    WITH entry AS MATERIALIZED (
        SELECT f.prospect_id, f.stage, f.stage_entered_at AS at,
               lead(f.stage_entered_at) OVER w AS next_at,
               last_value(f.stage) OVER whole AS final_stage, last_value(f.stage_entered_at) OVER whole AS final_at,
               row_number() OVER (PARTITION BY f.prospect_id, f.stage ORDER BY f.stage_entered_at DESC, f.funnel_id DESC) AS nth
        FROM sales.conversion_funnel f
        WHERE f.company_id = company AND f.stage_entered_at <= sales_internal.now()
        WINDOW w AS (PARTITION BY f.prospect_id ORDER BY f.stage_entered_at, f.funnel_id),
               whole AS (w ROWS BETWEEN UNBOUNDED PRECEDING AND UNBOUNDED FOLLOWING)
    ), episode AS MATERIALIZED (
        SELECT e.stage,
               extract(epoch FROM coalesce(e.next_at, sales_internal.now()) - e.at)::float8 / 3600 AS stayed,
               extract(epoch FROM CASE WHEN e.final_stage IN ('client', 'perdu') THEN e.final_at
                                       ELSE sales_internal.now() END - e.at)::float8 / 3600 AS waited,
               e.next_at IS NOT NULL AS left_it, e.final_stage = 'client' AS won, e.final_stage IN ('client', 'perdu') AS decided
        FROM entry e
        WHERE e.nth = 1 AND e.stage NOT IN ('client', 'perdu') AND (e.stage = only_stage OR only_stage IS NULL)
    ), stay AS MATERIALIZED (
        SELECT e.stage, max(e.stayed) FILTER (WHERE e.left_it) AS longest,
               percentile_disc(ARRAY[0.25, 0.5, 0.75, 0.9, 0.97]) WITHIN GROUP (ORDER BY e.stayed)
                   FILTER (WHERE e.left_it) AS hours,
               count(*) FILTER (WHERE e.left_it) AS leavers,
               (coalesce(sum(e.stayed) FILTER (WHERE e.left_it), 0) + 4 * 720) / (count(*) FILTER (WHERE e.left_it) + 4) AS pace
        FROM episode e GROUP BY e.stage
    ), tempo AS MATERIALIZED (
        SELECT y.stage, y.pace, (y.leavers + 4 * 0.7::float8) / (y.leavers + 4 + (
            SELECT count(*) FROM episode e
            WHERE e.stage = y.stage AND NOT e.left_it AND e.stayed > coalesce(y.hours[4], 720))) AS leaves
        FROM stay y
    ), threshold AS (
        SELECT DISTINCT x.stage, h.hours
        FROM stay x
        CROSS JOIN LATERAL (SELECT 0 AS hours UNION ALL SELECT unnest(x.hours) UNION ALL SELECT x.longest + 1) AS h
        WHERE h.hours IS NOT NULL
    ), member AS (
        SELECT t.stage, t.hours, e.waited, e.won, e.decided,
               count(*) OVER (PARTITION BY t.stage, t.hours) + 1
               - row_number() OVER (PARTITION BY t.stage, t.hours ORDER BY e.waited, e.decided DESC, e.won DESC) AS at_risk
        FROM threshold t JOIN episode e ON e.stage = t.stage AND e.stayed >= t.hours
    ), step AS (
        SELECT m.*, coalesce(sum(CASE WHEN m.decided AND m.at_risk > 1 THEN ln(1 - 1.0::float8 / m.at_risk) ELSE 0 END)
                   OVER (PARTITION BY m.stage, m.hours ORDER BY m.at_risk DESC
                         ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) AS log_open
        FROM member m
    ), usual AS MATERIALIZED (
        SELECT m.stage, m.hours, percentile_disc(0.75) WITHIN GROUP (ORDER BY m.waited) AS waited
        FROM member m WHERE m.decided GROUP BY m.stage, m.hours
    )
    SELECT s.stage, s.hours, count(*) FILTER (WHERE s.decided OR s.waited > coalesce(u.waited, 2160)),
           least(1, coalesce(sum(exp(s.log_open) / s.at_risk) FILTER (WHERE s.won), 0))::numeric, t.leaves, t.pace
    FROM step s LEFT JOIN usual u USING (stage, hours) JOIN tempo t USING (stage)
    GROUP BY s.stage, s.hours, t.leaves, t.pace
$$;
CREATE FUNCTION helpers.plain_chances(company uuid, only_prospect uuid DEFAULT NULL)
RETURNS TABLE (prospect_id uuid, stage sales.funnel_stage, entered_at timestamptz, chance numeric, deals numeric)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH target AS MATERIALIZED (
        SELECT DISTINCT ON (f.prospect_id) f.prospect_id, f.stage, f.stage_entered_at,
               greatest(extract(epoch FROM sales_internal.now() - f.stage_entered_at)::float8 / 3600, 0) AS hours
        FROM sales.conversion_funnel f
        WHERE f.company_id = company AND (f.prospect_id = only_prospect OR only_prospect IS NULL)
        ORDER BY f.prospect_id, f.stage_entered_at DESC, f.funnel_id DESC
    ), outlook AS MATERIALIZED (
        SELECT o.stage, o.from_hours, o.deals, o.leaves, o.pace, f.chance AS at_entry,
               o.deals * CASE WHEN o.from_hours = 0 THEN f.chance ELSE o.share END AS wins
        FROM (SELECT *, first_value(x.deals) OVER w AS all_deals, first_value(x.share) OVER w AS all_share
              FROM helpers.plain_outlook(company, (SELECT t.stage FROM target t WHERE only_prospect IS NOT NULL)) x
              WINDOW w AS (PARTITION BY x.stage ORDER BY x.from_hours)) AS o
        CROSS JOIN LATERAL (SELECT sales_internal.stage_chance(o.stage, o.all_deals, o.all_share)) AS f (chance)
    ), span AS MATERIALIZED (
        SELECT *, lead(o.from_hours) OVER w AS to_hours, lead(o.wins) OVER w AS next_wins, lead(o.deals) OVER w AS next_deals
        FROM outlook o WINDOW w AS (PARTITION BY o.stage ORDER BY o.from_hours)
    )
    -- Between two thresholds the evidence goes straight from one to the other.
    SELECT t.prospect_id, t.stage, t.stage_entered_at,
           CASE WHEN t.stage IN ('client', 'perdu') OR s.stage IS NULL THEN sales_internal.stage_prior(t.stage)
                ELSE ((k.wins + 10 * sales_internal.waiting_chance(s.at_entry::float8, s.leaves, s.pace, t.hours)) / (k.deals + 10))::numeric END,
           coalesce(k.deals::numeric, 0) + 10
    FROM target t
    LEFT JOIN span s ON s.stage = t.stage AND t.hours >= s.from_hours AND (t.hours < s.to_hours OR s.to_hours IS NULL)
    CROSS JOIN LATERAL (
        SELECT s.wins::float8 + coalesce((s.next_wins - s.wins)::float8 * p.part, 0) AS wins,
               s.deals::float8 + coalesce((s.next_deals - s.deals)::float8 * p.part, 0) AS deals
        FROM (SELECT (t.hours - s.from_hours) / (s.to_hours - s.from_hours)) AS p (part)) AS k
    WHERE only_prospect IS NOT NULL OR t.stage NOT IN ('client', 'perdu')
$$;
-- What funnel_now should show of a company.
CREATE FUNCTION helpers.plain_funnel(company uuid)
RETURNS TABLE (stage sales.funnel_stage, prospects bigint, deal_value numeric, expected_value numeric, median_hours numeric)
LANGUAGE sql STABLE AS $$
    WITH person AS (
        SELECT coalesce(l.stage, sales_internal.status_stage(p.status), 'nouveau') AS stage, l.stage_entered_at,
               coalesce(v.deal_value, p.estimated_budget_amount, 0) AS amount, c.chance
        FROM sales.prospects p
        LEFT JOIN LATERAL (SELECT f.stage, f.stage_entered_at FROM sales.conversion_funnel f WHERE f.prospect_id = p.prospect_id
                           ORDER BY f.stage_entered_at DESC, f.funnel_id DESC LIMIT 1) l ON true
        LEFT JOIN LATERAL (SELECT f.deal_value FROM sales.conversion_funnel f WHERE f.prospect_id = p.prospect_id AND f.deal_value IS NOT NULL
                           ORDER BY f.stage_entered_at DESC, f.funnel_id DESC LIMIT 1) v ON true
        LEFT JOIN helpers.plain_chances(company) c ON c.prospect_id = p.prospect_id
        WHERE p.company_id = company AND p.deleted_at IS NULL
    )
    SELECT p.stage, count(*), sum(p.amount),
           round(sum(p.amount * coalesce(p.chance, sales_internal.stage_chance(p.stage, o.deals, o.share))), 2),
           round((percentile_cont(0.5) WITHIN GROUP (ORDER BY extract(epoch FROM sales_internal.now() - p.stage_entered_at)::float8 / 3600))::numeric, 1)
    FROM person p LEFT JOIN sales_internal.stage_odds o ON o.company_id = company AND o.stage = p.stage
    GROUP BY p.stage
$$;
-- What a report should say of stalled deals: how many, and what they are worth in the funnel.
CREATE FUNCTION helpers.plain_stalled(company uuid) RETURNS jsonb LANGUAGE sql STABLE AS $$
    WITH usual AS (
        SELECT f.stage, percentile_cont(0.75) WITHIN GROUP (ORDER BY f.stage_duration_hours) AS hours
        FROM sales.conversion_funnel f WHERE f.company_id = company AND f.stage_duration_hours IS NOT NULL GROUP BY f.stage
    ), latest AS (
        SELECT DISTINCT ON (f.prospect_id) f.prospect_id, f.stage, f.stage_entered_at FROM sales.conversion_funnel f WHERE f.company_id = company
        ORDER BY f.prospect_id, f.stage_entered_at DESC, f.funnel_id DESC
    ), given AS (
        SELECT DISTINCT ON (f.prospect_id) f.prospect_id, f.deal_value FROM sales.conversion_funnel f WHERE f.company_id = company AND f.deal_value IS NOT NULL
        ORDER BY f.prospect_id, f.stage_entered_at DESC, f.funnel_id DESC
    )
    SELECT jsonb_build_object('deals', count(*), 'value', coalesce(sum(coalesce(g.deal_value, p.estimated_budget_amount, 0)), 0))
    FROM latest l JOIN sales.prospects p ON p.prospect_id = l.prospect_id AND p.deleted_at IS NULL
    LEFT JOIN given g ON g.prospect_id = l.prospect_id LEFT JOIN usual u ON u.stage = l.stage
    WHERE l.stage NOT IN ('nouveau', 'client', 'perdu')
      AND sales_internal.now() - l.stage_entered_at > greatest(make_interval(hours => least(coalesce(u.hours, 0), 1000000)::integer), interval '30 days')
$$;
-- Rows of either that the other lacks; numbers to nine digits.
CREATE FUNCTION helpers.differences(company uuid) RETURNS TABLE (what text, rows bigint, only_here bigint, only_there bigint) LANGUAGE sql AS $$
    WITH plain AS (
        SELECT 'outlook' AS what, concat_ws(' ', o.stage, round(o.from_hours::numeric, 9), o.deals, round(o.share, 9), round(o.leaves::numeric, 9), round(o.pace::numeric, 6)) AS row
        FROM helpers.plain_outlook(company) o
        UNION ALL
        SELECT 'one stage', concat_ws(' ', o.stage, round(o.from_hours::numeric, 9), o.deals, round(o.share, 9))
        FROM helpers.plain_outlook(company, 'interesse') o
        UNION ALL
        SELECT 'chances', concat_ws(' ', c.prospect_id, c.stage, c.entered_at, round(c.chance, 9), round(c.deals, 6)) FROM helpers.plain_chances(company) c
        UNION ALL
        SELECT 'funnel', concat_ws(' ', f.stage, f.prospects, round(f.deal_value, 2), f.expected_value, f.median_hours) FROM helpers.plain_funnel(company) f
    ), ours AS (
        SELECT 'outlook' AS what, concat_ws(' ', o.stage, round(o.from_hours::numeric, 9), o.deals, round(o.share, 9), round(o.leaves::numeric, 9), round(o.pace::numeric, 6)) AS row
        FROM sales_internal.stage_outlook(company) o
        UNION ALL
        SELECT 'one stage', concat_ws(' ', o.stage, round(o.from_hours::numeric, 9), o.deals, round(o.share, 9))
        FROM sales_internal.stage_outlook(company, 'interesse') o
        UNION ALL
        SELECT 'chances', concat_ws(' ', c.prospect_id, c.stage, c.entered_at, round(c.chance, 9), round(c.deals, 6))
        FROM sales_internal.standings(company) c WHERE c.stage NOT IN ('client', 'perdu')
        UNION ALL
        SELECT 'funnel', concat_ws(' ', f.stage, f.prospects, round(f.deal_value, 2), f.expected_value, f.median_hours)
        FROM sales_internal.funnel_now_of(company) f WHERE f.prospects > 0
    )
    SELECT p.what, (SELECT count(*) FROM plain x WHERE x.what = p.what),
           (SELECT count(*) FROM (SELECT x.row FROM ours x WHERE x.what = p.what EXCEPT ALL SELECT x.row FROM plain x WHERE x.what = p.what) d),
           (SELECT count(*) FROM (SELECT x.row FROM plain x WHERE x.what = p.what EXCEPT ALL SELECT x.row FROM ours x WHERE x.what = p.what) d)
    FROM (SELECT DISTINCT plain.what FROM plain) p
$$;
-- Histories of 0 to 6 stages in any order, some of one moment, some of the future; values and budgets of some.
CREATE FUNCTION helpers.fill(company uuid, n integer, span interval) RETURNS void LANGUAGE sql AS $$
    INSERT INTO sales.prospects (company_id, first_name, status, estimated_budget_amount, created_at)
    SELECT company, g, CASE WHEN random() < 0.2 THEN 'negocie' ELSE 'nouveau' END::sales.prospect_status, CASE WHEN random() < 0.5 THEN round((random() * 9000)::numeric, 2) END, '2025-01-01'
    FROM generate_series(1, n) AS g;
    INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, stage_entered_at, deal_value)
    SELECT company, p.prospect_id, s[1 + floor(random() * 8)], date_trunc(CASE WHEN random() < 0.3 THEN 'day' ELSE 'second' END, '2025-11-02 00:00+00'::timestamptz - random() * span),
           CASE WHEN random() < 0.3 THEN round((random() * 9000)::numeric, 2) END
    FROM (SELECT prospect_id, floor(random() * 7)::integer AS many FROM sales.prospects WHERE company_id = company) p
    CROSS JOIN LATERAL generate_series(1, p.many) AS g
    CROSS JOIN (SELECT enum_range(NULL::sales.funnel_stage) AS s) e;
$$;
SELECT setseed(0.3) \g /dev/null
SET sales_assistant.clock = '2025-11-01 12:00+00';
\set ECHO all
SELECT * FROM helpers.differences(helpers.company('alpha')) WHERE what <> 'none';
SELECT helpers.fill(helpers.company('alpha'), 600, '200 days'), helpers.fill(helpers.company('beta'), 7, '20 days');
SELECT sales_internal.refresh_stage_odds(helpers.company('alpha')), sales_internal.refresh_stage_odds(helpers.company('beta'));
SELECT what, rows > 300 AS many, rows > 5 AS some, only_here, only_there FROM helpers.differences(helpers.company('alpha')) ORDER BY what;
SELECT what, rows > 0 AS some, only_here, only_there FROM helpers.differences(helpers.company('beta')) ORDER BY what;
-- a report's stalled deals
SELECT c, (x.stalled ->> 'deals')::integer > 10 AS some, x.stalled = helpers.plain_stalled(helpers.company(c)) AS same
FROM unnest('{alpha,beta}'::text[]) AS c CROSS JOIN sales_internal.report_period('monthly', '2025-10', '2025-11-01') AS p
CROSS JOIN LATERAL (SELECT sales_internal.report_figures(helpers.company(c), p) -> 'stalled_total' AS stalled) x ORDER BY c;
-- deleted ones count in how deals go, and stand nowhere
UPDATE sales.prospects SET deleted_at = now() WHERE random() < 0.3;
-- where nobody stays as long as those that left did, where all are at once, and where nobody is decided
SELECT what, only_here, only_there FROM helpers.differences(helpers.company('beta')) ORDER BY what;
UPDATE sales.conversion_funnel SET stage_entered_at = '2025-10-01' WHERE company_id = helpers.company('beta');
DELETE FROM sales.conversion_funnel WHERE stage IN ('client', 'perdu') AND company_id = helpers.company('beta');
SELECT what, only_here, only_there FROM helpers.differences(helpers.company('alpha')) ORDER BY what;
SELECT what, only_here, only_there FROM helpers.differences(helpers.company('beta')) ORDER BY what;
-- one prospect has what it has among all; another company's has nothing here
SELECT count(*) AS differences FROM sales_internal.standings(helpers.company('alpha')) s
CROSS JOIN LATERAL sales_internal.standings(helpers.company('alpha'), s.prospect_id) o
WHERE (s.*) IS DISTINCT FROM (o.*) AND s.prospect_id IN (SELECT x.prospect_id FROM sales.prospects x WHERE x.first_name::integer % 30 = 0);
SELECT count(*) AS of_the_other FROM sales.prospects p CROSS JOIN LATERAL sales_internal.standings(helpers.company('alpha'), p.prospect_id)
WHERE p.company_id = helpers.company('beta');
SELECT count(*) AS nothing FROM sales_internal.standings(NULL), sales_internal.stage_outlook(NULL);
-- the test tells a difference
UPDATE sales.conversion_funnel SET deal_value = deal_value + 1 WHERE company_id = helpers.company('alpha') AND deal_value > 0;
CREATE TEMP TABLE before AS SELECT * FROM helpers.plain_funnel(helpers.company('alpha'));
UPDATE sales.conversion_funnel SET deal_value = deal_value + 1 WHERE company_id = helpers.company('alpha') AND deal_value > 0;
SELECT count(*) > 0 AS told FROM before b JOIN sales_internal.funnel_now_of(helpers.company('alpha')) f ON f.stage = b.stage::text WHERE f.expected_value <> b.expected_value;
RESET sales_assistant.clock;
DROP FUNCTION helpers.plain_stalled(uuid), helpers.fill(uuid, integer, interval), helpers.differences(uuid), helpers.plain_funnel(uuid), helpers.plain_chances(uuid, uuid), helpers.plain_outlook(uuid, sales.funnel_stage);
\i :srcdir/clean.inc
