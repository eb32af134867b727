-- Conversion funnel: one row for each stage that a prospect enters.

CREATE TYPE sales.funnel_stage AS ENUM
    ('nouveau', 'contacte', 'interesse', 'demo_programmee', 'proposition_envoyee',
     'negociation', 'client', 'perdu');
COMMENT ON TYPE sales.funnel_stage IS 'Stages on the way from prospect to client';

CREATE TABLE sales.conversion_funnel (
    funnel_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    prospect_id uuid NOT NULL,
    company_id uuid NOT NULL DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    stage sales.funnel_stage NOT NULL,
    stage_entered_at timestamptz NOT NULL DEFAULT now() CHECK (isfinite(stage_entered_at)),
    stage_duration_hours integer CHECK (stage_duration_hours >= 0),
    conversion_probability decimal(3,2) CHECK (conversion_probability BETWEEN 0 AND 1),
    deal_value decimal(10,2) CHECK (deal_value >= 0),
    loss_reason varchar(100),
    next_action varchar(200),
    created_by uuid,
    updated_at timestamptz NOT NULL DEFAULT now(),
    FOREIGN KEY (company_id, prospect_id)
        REFERENCES sales.prospects (company_id, prospect_id) ON DELETE CASCADE,
    FOREIGN KEY (company_id, created_by) REFERENCES sales.users (company_id, user_id)
);
CREATE INDEX conversion_funnel_prospect_idx
    ON sales.conversion_funnel (company_id, prospect_id, stage_entered_at DESC);
CREATE INDEX conversion_funnel_entered_idx
    ON sales.conversion_funnel (company_id, stage_entered_at);
COMMENT ON TABLE sales.conversion_funnel IS 'History of stages: one row each time a prospect enters one';
COMMENT ON COLUMN sales.conversion_funnel.funnel_id IS 'Key of the stage entry';
COMMENT ON COLUMN sales.conversion_funnel.prospect_id IS 'Prospect';
COMMENT ON COLUMN sales.conversion_funnel.company_id IS 'Tenant';
COMMENT ON COLUMN sales.conversion_funnel.stage IS 'Stage entered';
COMMENT ON COLUMN sales.conversion_funnel.stage_entered_at IS 'When it was entered';
COMMENT ON COLUMN sales.conversion_funnel.stage_duration_hours IS 'Whole hours spent in the stage; null while it is the current one';
COMMENT ON COLUMN sales.conversion_funnel.conversion_probability IS 'Chance of a win, 0.00 to 1.00, as seen on entry';
COMMENT ON COLUMN sales.conversion_funnel.deal_value IS 'Value of the deal, estimated or real, in the setting billing.currency';
COMMENT ON COLUMN sales.conversion_funnel.loss_reason IS 'Why it was lost: price, timing, competitor and so on';
COMMENT ON COLUMN sales.conversion_funnel.next_action IS 'Next action suggested';
COMMENT ON COLUMN sales.conversion_funnel.created_by IS 'User who moved the prospect; null: the system';
COMMENT ON COLUMN sales.conversion_funnel.updated_at IS 'When the row last changed';

CALL sales_internal.protect_table('conversion_funnel', 'funnel_id');


-- How deals that reached a stage go on, refreshed with the metrics.
-- A new entry takes its probability from here, at the price of one lookup.
CREATE TABLE sales_internal.stage_odds (
    company_id uuid NOT NULL REFERENCES sales.companies ON DELETE CASCADE,
    stage sales.funnel_stage NOT NULL,
    deals bigint NOT NULL CHECK (deals >= 0),
    share numeric(7,6) NOT NULL CHECK (share BETWEEN 0 AND 1),
    PRIMARY KEY (company_id, stage)
);
COMMENT ON TABLE sales_internal.stage_odds IS
    'Of a company''s deals that reached a stage: the share that is won in the end, and how many it rests on';
COMMENT ON COLUMN sales_internal.stage_odds.company_id IS 'Tenant';
COMMENT ON COLUMN sales_internal.stage_odds.stage IS 'Stage reached';
COMMENT ON COLUMN sales_internal.stage_odds.deals IS 'Deals decided, or open for longer than most take';
COMMENT ON COLUMN sales_internal.stage_odds.share IS 'Share won in the end, open deals reckoned with';
SELECT sales_internal.dump_table('sales_internal.stage_odds');
