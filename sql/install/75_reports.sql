-- Success reports and improvement suggestions.

CREATE TYPE sales.report_type AS ENUM ('weekly', 'monthly', 'quarterly', 'on_demand');
COMMENT ON TYPE sales.report_type IS 'How often a report is made';

CREATE TABLE sales.success_reports (
    report_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    report_type sales.report_type NOT NULL,
    report_period varchar(20) NOT NULL,
    key_metrics jsonb NOT NULL DEFAULT '{}',
    insights_generated jsonb NOT NULL DEFAULT '[]',
    recommendations jsonb NOT NULL DEFAULT '[]',
    benchmark_data jsonb NOT NULL DEFAULT '{}',
    sent_to_emails jsonb NOT NULL DEFAULT '[]',
    internal_copy_sent boolean NOT NULL DEFAULT false,
    generated_at timestamptz NOT NULL DEFAULT now(),
    sent_at timestamptz,
    UNIQUE (company_id, report_id)
);
CREATE INDEX success_reports_company_idx ON sales.success_reports (company_id, generated_at DESC);
COMMENT ON TABLE sales.success_reports IS 'Performance reports; report_html() shows one as a page';
COMMENT ON COLUMN sales.success_reports.report_id IS 'Key of the report';
COMMENT ON COLUMN sales.success_reports.company_id IS 'Tenant';
COMMENT ON COLUMN sales.success_reports.report_type IS 'weekly, monthly, quarterly or on_demand';
COMMENT ON COLUMN sales.success_reports.report_period IS 'Such as 2025-W05, 2025-01, 2025-Q1';
COMMENT ON COLUMN sales.success_reports.key_metrics IS 'The metrics that the report shows, with their change';
COMMENT ON COLUMN sales.success_reports.insights_generated IS 'Insights, by AI or by rule';
COMMENT ON COLUMN sales.success_reports.recommendations IS 'What to do better';
COMMENT ON COLUMN sales.success_reports.benchmark_data IS 'Comparison with the sector, never of fewer than 5 companies';
COMMENT ON COLUMN sales.success_reports.sent_to_emails IS 'Addresses that it was sent to';
COMMENT ON COLUMN sales.success_reports.internal_copy_sent IS 'Was a copy sent to the platform''s team?';
COMMENT ON COLUMN sales.success_reports.generated_at IS 'When the report was made';
COMMENT ON COLUMN sales.success_reports.sent_at IS 'When it was sent';

CREATE TYPE sales.suggestion_type AS ENUM
    ('template_optimization', 'timing_adjustment', 'target_refinement', 'channel_mix');
COMMENT ON TYPE sales.suggestion_type IS 'What a suggestion would change';
CREATE TYPE sales.suggestion_status AS ENUM ('pending', 'accepted', 'rejected', 'testing');
COMMENT ON TYPE sales.suggestion_status IS 'What became of a suggestion';

CREATE TABLE sales.improvement_suggestions (
    suggestion_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    suggestion_type sales.suggestion_type NOT NULL,
    current_performance jsonb NOT NULL DEFAULT '{}',
    suggested_change text NOT NULL,
    expected_improvement varchar(100),
    confidence_score decimal(3,2) CHECK (confidence_score BETWEEN 0 AND 1),
    ai_reasoning text,
    status sales.suggestion_status NOT NULL DEFAULT 'pending',
    implemented_at timestamptz,
    result_measured jsonb,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (company_id, suggestion_id)
);
CREATE INDEX improvement_suggestions_company_idx
    ON sales.improvement_suggestions (company_id, created_at DESC);
COMMENT ON TABLE sales.improvement_suggestions IS 'What AI suggests to do better, and what came of it';
COMMENT ON COLUMN sales.improvement_suggestions.suggestion_id IS 'Key of the suggestion';
COMMENT ON COLUMN sales.improvement_suggestions.company_id IS 'Tenant';
COMMENT ON COLUMN sales.improvement_suggestions.suggestion_type IS 'template_optimization, timing_adjustment, target_refinement or channel_mix';
COMMENT ON COLUMN sales.improvement_suggestions.current_performance IS 'Metrics at the time of the suggestion';
COMMENT ON COLUMN sales.improvement_suggestions.suggested_change IS 'What to change';
COMMENT ON COLUMN sales.improvement_suggestions.expected_improvement IS 'What is hoped for, such as +15% replies';
COMMENT ON COLUMN sales.improvement_suggestions.confidence_score IS 'Trust in the suggestion, 0.00 to 1.00';
COMMENT ON COLUMN sales.improvement_suggestions.ai_reasoning IS 'Why';
COMMENT ON COLUMN sales.improvement_suggestions.status IS 'pending, accepted, rejected or testing';
COMMENT ON COLUMN sales.improvement_suggestions.implemented_at IS 'When the change was made';
COMMENT ON COLUMN sales.improvement_suggestions.result_measured IS 'Metrics after the change, with their significance';
COMMENT ON COLUMN sales.improvement_suggestions.created_at IS 'When it was suggested';

CALL sales_internal.protect_table('success_reports', 'report_id');
CALL sales_internal.protect_table('improvement_suggestions', 'suggestion_id');


CREATE FUNCTION sales_internal.deal_quantiles(deal_values float8[], chances float8[], quantiles float8[]) RETURNS float8[]
    AS 'MODULE_PATHNAME', 'sales_deal_quantiles'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.deal_quantiles(float8[], float8[], float8[]) IS
    'Quantiles of the sum of deals that each come with their own chance or not at all';
REVOKE ALL ON FUNCTION sales_internal.deal_quantiles(float8[], float8[], float8[]) FROM PUBLIC;

CREATE FUNCTION sales_internal.proportions_p(hits1 bigint, n1 bigint, hits2 bigint, n2 bigint) RETURNS float8
    AS 'MODULE_PATHNAME', 'sales_proportions_p'
    LANGUAGE C IMMUTABLE STRICT PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.proportions_p(bigint, bigint, bigint, bigint) IS
    'Two-sided p-value of the difference of two shares, by the pooled z-test';
REVOKE ALL ON FUNCTION sales_internal.proportions_p(bigint, bigint, bigint, bigint) FROM PUBLIC;

-- What was published of each sector, once and for all: see docs/bi.md.
CREATE TABLE sales_internal.sector_benchmarks (
    sector_id uuid NOT NULL REFERENCES sales.industries ON DELETE CASCADE,
    quarter_start date NOT NULL,
    edition date NOT NULL,
    companies integer NOT NULL CHECK (companies >= 5 AND companies % 5 = 0),
    response_rate numeric(4,0) NOT NULL,
    conversion_rate numeric(4,0) NOT NULL,
    sales_cycle_days numeric(4,0),
    PRIMARY KEY (sector_id, quarter_start, edition, companies)
);
COMMENT ON TABLE sales_internal.sector_benchmarks IS
    'Published means of each sector and quarter, over 5, 10, 15 ... companies; never changed once written';
COMMENT ON COLUMN sales_internal.sector_benchmarks.sector_id IS 'Industry of most of the companies'' prospects';
COMMENT ON COLUMN sales_internal.sector_benchmarks.quarter_start IS 'First day of the quarter';
COMMENT ON COLUMN sales_internal.sector_benchmarks.edition IS 'Monday of the week of publication; of a quarter that is over, its last day';
COMMENT ON COLUMN sales_internal.sector_benchmarks.companies IS 'Companies in the mean, a multiple of 5';
COMMENT ON COLUMN sales_internal.sector_benchmarks.response_rate IS 'Mean response rate in whole percent';
COMMENT ON COLUMN sales_internal.sector_benchmarks.conversion_rate IS 'Mean conversion rate in whole percent';
COMMENT ON COLUMN sales_internal.sector_benchmarks.sales_cycle_days IS 'Mean sales cycle in whole days';
SELECT sales_internal.dump_table('sales_internal.sector_benchmarks');

-- Who is in the means of a sector and quarter: companies enter by fives and keep
-- their place, so that none can be swapped for another between two figures.
CREATE TABLE sales_internal.sector_members (
    quarter_start date NOT NULL,
    member uuid NOT NULL,
    sector_id uuid NOT NULL REFERENCES sales.industries ON DELETE CASCADE,
    place integer NOT NULL CHECK (place > 0),
    PRIMARY KEY (quarter_start, member),
    UNIQUE (sector_id, quarter_start, place)
);
COMMENT ON TABLE sales_internal.sector_members IS
    'Companies in the means of a sector and quarter; a company that ends keeps its place, and its five publish no more';
COMMENT ON COLUMN sales_internal.sector_members.quarter_start IS 'First day of the quarter';
COMMENT ON COLUMN sales_internal.sector_members.member IS 'Key of the company, also after it has ended';
COMMENT ON COLUMN sales_internal.sector_members.sector_id IS 'Sector that it counts for in that quarter';
COMMENT ON COLUMN sales_internal.sector_members.place IS 'Place in the sector, from 1; means are over places 1 to 5, 1 to 10 and so on';
SELECT sales_internal.dump_table('sales_internal.sector_members');

INSERT INTO sales_internal.setting_defaults VALUES
    ('bi.week_start', 'monday', 'First day of the weeks in sales_bi: monday, sunday or saturday'),
    ('reports.schedule', 'weekly,monthly,quarterly', 'Reports that are made by themselves'),
    ('reports.recipients', NULL, 'E-mail addresses that get the reports; none: active admins and managers'),
    ('reports.send', 'false', 'Are reports that are made by themselves sent, too?'),
    ('reports.internal_copy', NULL, 'Address of the platform''s team that gets a copy of each report; a platform setting');

INSERT INTO sales_internal.setting_defaults VALUES
    ('email.smtp_url', NULL, 'Mail server, such as smtp://mail.company.com:587 or smtps://mail.company.com'),
    ('email.smtp_user', NULL, 'Login at the mail server; its password is the key of the service "smtp" in api_keys'),
    ('email.from', NULL, 'Sender''s address of mails')
ON CONFLICT DO NOTHING;
