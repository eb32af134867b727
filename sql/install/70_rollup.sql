-- Roll-ups by day and by period; metrics.md says what each metric means.

CREATE TABLE sales.analytics (
    analytics_id uuid NOT NULL DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    date date NOT NULL,
    prospects_added integer NOT NULL DEFAULT 0,
    messages_sent integer NOT NULL DEFAULT 0,
    responses_received integer NOT NULL DEFAULT 0,
    meetings_scheduled integer NOT NULL DEFAULT 0,
    deals_closed integer NOT NULL DEFAULT 0,
    revenue_generated decimal(10,2) NOT NULL DEFAULT 0,
    response_rate decimal(5,2) NOT NULL DEFAULT 0,
    conversion_rate decimal(5,2) NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (analytics_id, date),
    UNIQUE (company_id, date)
) PARTITION BY RANGE (date);
CREATE TABLE sales.analytics_default PARTITION OF sales.analytics DEFAULT;
CREATE INDEX idx_analytics_company_date ON sales.analytics (company_id, date DESC);
COMMENT ON TABLE sales.analytics IS 'Metrics of each day that saw activity; partitioned by year of date';
COMMENT ON TABLE sales.analytics_default IS 'Days of no other partition; maintain() moves them';
COMMENT ON COLUMN sales.analytics.analytics_id IS 'Key of the row, with date';
COMMENT ON COLUMN sales.analytics.company_id IS 'Tenant';
COMMENT ON COLUMN sales.analytics.date IS 'Calendar day in the company''s timezone';
COMMENT ON COLUMN sales.analytics.prospects_added IS 'Prospects created on the day';
COMMENT ON COLUMN sales.analytics.messages_sent IS 'Interactions of type sent';
COMMENT ON COLUMN sales.analytics.responses_received IS 'Interactions received, and outbound ones that were answered';
COMMENT ON COLUMN sales.analytics.meetings_scheduled IS 'Tasks of type meeting made on the day and not cancelled';
COMMENT ON COLUMN sales.analytics.deals_closed IS 'Entries into stage client';
COMMENT ON COLUMN sales.analytics.revenue_generated IS 'Deal value of those entries';
COMMENT ON COLUMN sales.analytics.response_rate IS '100 x answered messages / messages sent; 0 when none was sent';
COMMENT ON COLUMN sales.analytics.conversion_rate IS '100 x deals / prospects contacted, at most 100; 0 when nobody was contacted';
COMMENT ON COLUMN sales.analytics.created_at IS 'When the row was first computed';

CREATE TABLE sales.success_metrics (
    metric_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    period_start date NOT NULL,
    period_end date NOT NULL,
    prospects_imported integer NOT NULL DEFAULT 0,
    prospects_contacted integer NOT NULL DEFAULT 0,
    responses_received integer NOT NULL DEFAULT 0,
    meetings_scheduled integer NOT NULL DEFAULT 0,
    proposals_sent integer NOT NULL DEFAULT 0,
    deals_won integer NOT NULL DEFAULT 0,
    deals_lost integer NOT NULL DEFAULT 0,
    total_revenue decimal(12,2) NOT NULL DEFAULT 0,
    avg_deal_size decimal(10,2),
    sales_cycle_days decimal(5,2),
    response_rate_percent decimal(5,2) NOT NULL DEFAULT 0,
    conversion_rate_percent decimal(5,2) NOT NULL DEFAULT 0,
    roi_calculated decimal(8,2),
    created_at timestamptz NOT NULL DEFAULT now(),
    CHECK (period_end >= period_start),
    UNIQUE (company_id, period_start, period_end)
) WITH (fillfactor = 75);
COMMENT ON TABLE sales.success_metrics IS 'Metrics of each ISO week, calendar month and quarter that saw activity';
COMMENT ON COLUMN sales.success_metrics.metric_id IS 'Key of the row';
COMMENT ON COLUMN sales.success_metrics.company_id IS 'Tenant';
COMMENT ON COLUMN sales.success_metrics.period_start IS 'First day of the period';
COMMENT ON COLUMN sales.success_metrics.period_end IS 'Last day of the period, inclusive';
COMMENT ON COLUMN sales.success_metrics.prospects_imported IS 'Prospects created in the period, other than by hand';
COMMENT ON COLUMN sales.success_metrics.prospects_contacted IS 'Distinct prospects with an outbound interaction in the period';
COMMENT ON COLUMN sales.success_metrics.responses_received IS 'Interactions received, and outbound ones that were answered';
COMMENT ON COLUMN sales.success_metrics.meetings_scheduled IS 'Tasks of type meeting made in the period and not cancelled';
COMMENT ON COLUMN sales.success_metrics.proposals_sent IS 'Entries into stage proposition_envoyee';
COMMENT ON COLUMN sales.success_metrics.deals_won IS 'Entries into stage client';
COMMENT ON COLUMN sales.success_metrics.deals_lost IS 'Entries into stage perdu';
COMMENT ON COLUMN sales.success_metrics.total_revenue IS 'Deal value of the deals won';
COMMENT ON COLUMN sales.success_metrics.avg_deal_size IS 'total_revenue / deals_won; null without a deal';
COMMENT ON COLUMN sales.success_metrics.sales_cycle_days IS 'Mean days from the prospect''s first stage entry to the win; null without a deal';
COMMENT ON COLUMN sales.success_metrics.response_rate_percent IS '100 x answered messages / messages sent; 0 when none was sent';
COMMENT ON COLUMN sales.success_metrics.conversion_rate_percent IS '100 x deals won / prospects contacted, at most 100; 0 when nobody was contacted';
COMMENT ON COLUMN sales.success_metrics.roi_calculated IS '100 x (revenue - cost) / cost, clamped to the column; null when cost is 0';
COMMENT ON COLUMN sales.success_metrics.created_at IS 'When the row was first computed';

CALL sales_internal.protect_table('analytics', 'analytics_id', commands => '{select}', audited => false);
CALL sales_internal.protect_table('success_metrics', 'metric_id', commands => '{select}', audited => false);


-- Machinery of the roll-up.

-- Changes that the metrics do not hold yet.  Append-only for writers, without
-- any unique constraint, so that no writer waits for another; who recomputes
-- deletes the marks that it saw.  No index either: marks are few, as they are
-- consumed every few seconds, and each index would cost every writer.
CREATE TABLE sales_internal.metric_marks (
    company_id uuid NOT NULL,
    first_at timestamptz NOT NULL,
    last_at timestamptz NOT NULL,
    prospect_id uuid,
    marked_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE sales_internal.metric_marks IS
    'Instants whose days need new metrics; infinite: all days of the company';
COMMENT ON COLUMN sales_internal.metric_marks.company_id IS 'Tenant';
COMMENT ON COLUMN sales_internal.metric_marks.first_at IS 'First instant that changed';
COMMENT ON COLUMN sales_internal.metric_marks.last_at IS 'Last instant that changed';
COMMENT ON COLUMN sales_internal.metric_marks.prospect_id IS
    'Prospect whose stages changed: the days on which it was won change too';
COMMENT ON COLUMN sales_internal.metric_marks.marked_at IS 'When the change was made, for freshness';
SELECT sales_internal.dump_table('sales_internal.metric_marks');

-- What can be added up, by day and not rounded; periods are sums of it.
CREATE TABLE sales_internal.metric_days (
    company_id uuid NOT NULL REFERENCES sales.companies ON DELETE CASCADE,
    day date NOT NULL,
    events bigint NOT NULL,
    prospects_added bigint NOT NULL,
    prospects_imported bigint NOT NULL,
    prospects_contacted bigint NOT NULL,
    messages_sent bigint NOT NULL,
    answered bigint NOT NULL,
    responses_received bigint NOT NULL,
    meetings_scheduled bigint NOT NULL,
    proposals_sent bigint NOT NULL,
    deals_won bigint NOT NULL,
    deals_lost bigint NOT NULL,
    revenue numeric NOT NULL,
    cycle_seconds numeric NOT NULL,
    cost numeric NOT NULL,
    PRIMARY KEY (company_id, day)
) WITH (fillfactor = 75);
COMMENT ON TABLE sales_internal.metric_days IS
    'Counts and sums of each day that saw activity or cost; success_metrics adds them up';
SELECT sales_internal.dump_table('sales_internal.metric_days');

-- Who was contacted on each day.  Distinct counts do not add up: with these, a
-- change looks at those it touches, and not at all interactions of a quarter.
CREATE TABLE sales_internal.metric_contacts (
    company_id uuid NOT NULL REFERENCES sales.companies ON DELETE CASCADE,
    day date NOT NULL,
    people uuid[] NOT NULL,
    PRIMARY KEY (company_id, day)
);
COMMENT ON TABLE sales_internal.metric_contacts IS 'Prospects with an outbound interaction on each day';
COMMENT ON COLUMN sales_internal.metric_contacts.company_id IS 'Tenant';
COMMENT ON COLUMN sales_internal.metric_contacts.day IS 'Day in the company''s timezone';
COMMENT ON COLUMN sales_internal.metric_contacts.people IS 'Keys of the prospects, sorted';
SELECT sales_internal.dump_table('sales_internal.metric_contacts');

CREATE TABLE sales_internal.metric_state (
    company_id uuid PRIMARY KEY REFERENCES sales.companies ON DELETE CASCADE,
    refreshed_at timestamptz NOT NULL,
    sector_id uuid REFERENCES sales.industries,
    sector_at timestamptz,
    odds_stale boolean NOT NULL DEFAULT false,
    odds_at timestamptz
);
COMMENT ON TABLE sales_internal.metric_state IS
    'When the metrics of a company were last brought up to date, and what else is derived with them';
SELECT sales_internal.dump_table('sales_internal.metric_state');

-- Money spent on AI calls; providers write it when a call is settled.
CREATE TABLE sales_internal.ai_costs (
    cost_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL REFERENCES sales.companies ON DELETE CASCADE,
    spent_at timestamptz NOT NULL DEFAULT now(),
    provider text NOT NULL,
    purpose text NOT NULL,
    model text,
    input_tokens bigint NOT NULL DEFAULT 0 CHECK (input_tokens >= 0),
    output_tokens bigint NOT NULL DEFAULT 0 CHECK (output_tokens >= 0),
    cost numeric(12,6) NOT NULL DEFAULT 0 CHECK (cost >= 0),
    job_id uuid,
    prompt text
);
CREATE INDEX ai_costs_company_idx ON sales_internal.ai_costs (company_id, spent_at);
COMMENT ON TABLE sales_internal.ai_costs IS
    'Ledger of AI calls: what each cost, in the company''s currency; no personal data';
SELECT sales_internal.dump_table('sales_internal.ai_costs');

CREATE FUNCTION sales_internal.day_start(day date, timezone text) RETURNS timestamptz
    AS 'MODULE_PATHNAME', 'sales_day_start'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.day_start(date, text) IS
    'The instant at which a day begins in a timezone; it ends where the next one begins';
REVOKE ALL ON FUNCTION sales_internal.day_start(date, text) FROM PUBLIC;

CREATE FUNCTION sales_internal.local_day(instant timestamptz, timezone text) RETURNS date
    AS 'MODULE_PATHNAME', 'sales_local_day'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.local_day(timestamptz, text) IS
    'The day that an instant belongs to in a timezone, also where clocks are turned back over midnight';
REVOKE ALL ON FUNCTION sales_internal.local_day(timestamptz, text) FROM PUBLIC;

CREATE FUNCTION sales_internal.local_week(instant timestamptz, timezone text, first integer) RETURNS date
    AS 'MODULE_PATHNAME', 'sales_local_week'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.local_week(timestamptz, text, integer) IS
    'First day of the week that an instant belongs to in a timezone; weeks begin on day 1 (Monday) to 7 (Sunday)';
REVOKE ALL ON FUNCTION sales_internal.local_week(timestamptz, text, integer) FROM PUBLIC;

CREATE FUNCTION sales_internal.mark_metrics() RETURNS trigger
    AS 'MODULE_PATHNAME', 'sales_mark_metrics'
    LANGUAGE C;
COMMENT ON FUNCTION sales_internal.mark_metrics() IS
    'Trigger: marks the days that a change touches; arguments: time column, prospect column or empty, key, compared columns';
REVOKE ALL ON FUNCTION sales_internal.mark_metrics() FROM PUBLIC;

CREATE FUNCTION sales_internal.marks_forget() RETURNS void
    AS 'MODULE_PATHNAME', 'sales_marks_forget'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.marks_forget() IS
    'Has this session write marks anew, as those of its transaction were consumed';
REVOKE ALL ON FUNCTION sales_internal.marks_forget() FROM PUBLIC;

-- Inserts and deletes are seen by statement.  Updates of most tables touch no
-- metric: a row trigger whose WHEN is false costs next to nothing there, while
-- a transition table would copy every row twice.  Interactions are partitioned,
-- and a row that moves to another partition fires no row trigger for UPDATE,
-- so theirs is by statement.
DO $$
DECLARE
    t record;
BEGIN
    FOR t IN
        SELECT * FROM (VALUES
            ('sales.prospects', 'created_at', '', 'prospect_id', '{company_id,created_at,source}'::text[]),
            ('sales.tasks', 'created_at', '', 'task_id', '{company_id,created_at,type,status}'),
            ('sales.interactions', 'interaction_date', '', 'interaction_id',
             '{company_id,prospect_id,type,response_received,interaction_date}'),
            ('sales.conversion_funnel', 'stage_entered_at', 'prospect_id', 'funnel_id',
             '{company_id,prospect_id,stage,stage_entered_at,deal_value}'),
            ('sales.enrichments', 'created_at', '', 'enrichment_id', '{company_id,created_at,cost}'),
            ('sales_internal.ai_costs', 'spent_at', '', 'cost_id', '{company_id,spent_at,cost}'))
            AS x (name, at, prospect, key, compared)
    LOOP
        EXECUTE format('CREATE TRIGGER metrics_insert AFTER INSERT ON %s REFERENCING NEW TABLE AS added '
                       'FOR EACH STATEMENT EXECUTE FUNCTION sales_internal.mark_metrics(%L, %L)',
                       t.name, t.at, t.prospect);
        EXECUTE format('CREATE TRIGGER metrics_delete AFTER DELETE ON %s REFERENCING OLD TABLE AS removed '
                       'FOR EACH STATEMENT EXECUTE FUNCTION sales_internal.mark_metrics(%L, %L)',
                       t.name, t.at, t.prospect);
        EXECUTE format('CREATE TRIGGER metrics_truncate AFTER TRUNCATE ON %s '
                       'FOR EACH STATEMENT EXECUTE FUNCTION sales_internal.mark_metrics(%L)', t.name, t.at);
        IF t.name = 'sales.interactions' THEN
            EXECUTE format('CREATE TRIGGER metrics_update AFTER UPDATE ON %s '
                           'REFERENCING OLD TABLE AS removed NEW TABLE AS added '
                           'FOR EACH STATEMENT EXECUTE FUNCTION sales_internal.mark_metrics(%L, %L, %L, %s)',
                           t.name, t.at, t.prospect, t.key,
                           (SELECT string_agg(quote_literal(c), ', ') FROM unnest(t.compared) AS c));
        ELSE
            EXECUTE format('CREATE TRIGGER metrics_update AFTER UPDATE ON %s FOR EACH ROW WHEN (%s) '
                           'EXECUTE FUNCTION sales_internal.mark_metrics(%L, %L)',
                           t.name,
                           (SELECT string_agg(format('OLD.%I IS DISTINCT FROM NEW.%I', c, c), ' OR ')
                            FROM unnest(t.compared) AS c),
                           t.at, t.prospect);
        END IF;
    END LOOP;
END
$$;

COMMENT ON COLUMN sales_internal.metric_days.company_id IS 'Tenant';
COMMENT ON COLUMN sales_internal.metric_days.day IS 'Day in the company''s timezone';
COMMENT ON COLUMN sales_internal.metric_days.events IS 'Prospects, interactions, meeting tasks and stage entries; 0: the day only cost money';
COMMENT ON COLUMN sales_internal.metric_days.prospects_added IS 'Prospects made';
COMMENT ON COLUMN sales_internal.metric_days.prospects_imported IS 'Those not made by hand';
COMMENT ON COLUMN sales_internal.metric_days.prospects_contacted IS 'Distinct prospects with an outbound interaction; does not add up over days';
COMMENT ON COLUMN sales_internal.metric_days.messages_sent IS 'Messages sent';
COMMENT ON COLUMN sales_internal.metric_days.answered IS 'Messages sent that were answered, whenever';
COMMENT ON COLUMN sales_internal.metric_days.responses_received IS 'Inbound interactions and answered outbound ones';
COMMENT ON COLUMN sales_internal.metric_days.meetings_scheduled IS 'Meeting tasks made and not cancelled';
COMMENT ON COLUMN sales_internal.metric_days.proposals_sent IS 'Entries of proposition_envoyee';
COMMENT ON COLUMN sales_internal.metric_days.deals_won IS 'Entries of client';
COMMENT ON COLUMN sales_internal.metric_days.deals_lost IS 'Entries of perdu';
COMMENT ON COLUMN sales_internal.metric_days.revenue IS 'Value of the deals won';
COMMENT ON COLUMN sales_internal.metric_days.cycle_seconds IS 'Over deals won: seconds since the prospect''s first stage';
COMMENT ON COLUMN sales_internal.metric_days.cost IS 'Enrichments and AI calls';
COMMENT ON COLUMN sales_internal.metric_state.company_id IS 'Tenant';
COMMENT ON COLUMN sales_internal.metric_state.refreshed_at IS 'When the metrics were last brought up to date';
COMMENT ON COLUMN sales_internal.metric_state.sector_id IS 'Industry of most of the company''s prospects, for benchmarks';
COMMENT ON COLUMN sales_internal.metric_state.sector_at IS 'When the sector was last determined';
COMMENT ON COLUMN sales_internal.metric_state.odds_stale IS 'Were stages entered, changed or removed since stage_odds was computed?';
COMMENT ON COLUMN sales_internal.metric_state.odds_at IS 'When stage_odds was last computed';
COMMENT ON COLUMN sales_internal.ai_costs.cost_id IS 'Key of the call';
COMMENT ON COLUMN sales_internal.ai_costs.company_id IS 'Tenant';
COMMENT ON COLUMN sales_internal.ai_costs.spent_at IS 'When the call was settled';
COMMENT ON COLUMN sales_internal.ai_costs.provider IS 'Provider called';
COMMENT ON COLUMN sales_internal.ai_costs.purpose IS 'What for: generation, sentiment, improvement and so on';
COMMENT ON COLUMN sales_internal.ai_costs.model IS 'Model called';
COMMENT ON COLUMN sales_internal.ai_costs.input_tokens IS 'Tokens sent';
COMMENT ON COLUMN sales_internal.ai_costs.output_tokens IS 'Tokens received';
COMMENT ON COLUMN sales_internal.ai_costs.cost IS 'Cost in the company''s currency';
COMMENT ON COLUMN sales_internal.ai_costs.job_id IS 'Job that made the call; the job may be gone';
COMMENT ON COLUMN sales_internal.ai_costs.prompt IS 'Task that was given, without the data about people';
