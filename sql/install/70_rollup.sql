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
);
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

