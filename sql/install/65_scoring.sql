-- Scores: scorecards learned in the database, and the tenants' models.

CREATE TABLE sales_internal.scorecards (
    model_id uuid PRIMARY KEY,
    label text NOT NULL,
    model jsonb NOT NULL,
    options jsonb NOT NULL DEFAULT '{}',
    rows integer NOT NULL,
    auc double precision,
    log_loss double precision,
    brier double precision,
    created_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE sales_internal.scorecards IS
    'Learned scorecards: log-odds points of the bins of each column; auc, log_loss and brier on rows not learned from, null where there were too few to hold any out';
SELECT sales_internal.dump_table('sales_internal.scorecards', 'WHERE rows > 0');

CREATE TABLE sales.score_models (
    model_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    version integer NOT NULL,
    rows integer NOT NULL,
    auc double precision,
    log_loss double precision,
    brier double precision,
    is_current boolean NOT NULL DEFAULT false,
    trained_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (company_id, version)
);
CREATE UNIQUE INDEX score_models_current_key ON sales.score_models (company_id) WHERE is_current;
COMMENT ON TABLE sales.score_models IS 'Scoring models of a company; one is current';
COMMENT ON COLUMN sales.score_models.model_id IS 'Key of the model';
COMMENT ON COLUMN sales.score_models.company_id IS 'Tenant';
COMMENT ON COLUMN sales.score_models.version IS 'Counts up from 1 for each company';
COMMENT ON COLUMN sales.score_models.rows IS 'Decided deals that it learned from';
COMMENT ON COLUMN sales.score_models.auc IS 'Chance that a won deal scores above a lost one, on deals not learned from';
COMMENT ON COLUMN sales.score_models.log_loss IS 'Mean log loss on deals not learned from';
COMMENT ON COLUMN sales.score_models.brier IS 'Mean squared error of the probability on deals not learned from';
COMMENT ON COLUMN sales.score_models.is_current IS 'Is it the one that scores?';
COMMENT ON COLUMN sales.score_models.trained_at IS 'When it was trained';

CREATE TABLE sales.score_history (
    company_id uuid NOT NULL,
    prospect_id uuid NOT NULL,
    scored_at timestamptz NOT NULL DEFAULT now(),
    score integer NOT NULL CHECK (score BETWEEN 0 AND 100),
    model_version integer NOT NULL,
    PRIMARY KEY (company_id, prospect_id, scored_at),
    FOREIGN KEY (company_id, prospect_id)
        REFERENCES sales.prospects (company_id, prospect_id) ON DELETE CASCADE
);
COMMENT ON TABLE sales.score_history IS 'Scores as they changed, with the model that gave them';
COMMENT ON COLUMN sales.score_history.company_id IS 'Tenant';
COMMENT ON COLUMN sales.score_history.prospect_id IS 'Prospect';
COMMENT ON COLUMN sales.score_history.scored_at IS 'When the score changed';
COMMENT ON COLUMN sales.score_history.score IS 'Score from then on';
COMMENT ON COLUMN sales.score_history.model_version IS 'Version of the model; 0: the built-in prior, before anything was learned';

CALL sales_internal.protect_table('score_models', 'model_id', commands => '{select}', audited => false);
CALL sales_internal.protect_table('score_history', 'prospect_id', commands => '{select}', audited => false);

CREATE TABLE sales_internal.scoring_state (
    company_id uuid PRIMARY KEY REFERENCES sales.companies ON DELETE CASCADE,
    scored_at timestamptz,
    all_scored_at timestamptz,
    trained_at timestamptz,
    outcomes integer NOT NULL DEFAULT 0,
    seal_no bigint,
    failed_at timestamptz
);
COMMENT ON TABLE sales_internal.scoring_state IS 'When a company was last scored and trained, and on how many decided deals';
COMMENT ON COLUMN sales_internal.scoring_state.company_id IS 'Tenant';
COMMENT ON COLUMN sales_internal.scoring_state.scored_at IS 'When scores were last made, of all prospects or of those with news';
COMMENT ON COLUMN sales_internal.scoring_state.all_scored_at IS 'When all were last scored';
COMMENT ON COLUMN sales_internal.scoring_state.trained_at IS 'When a model was last trained';
COMMENT ON COLUMN sales_internal.scoring_state.outcomes IS 'Decided deals that it learned from';
COMMENT ON COLUMN sales_internal.scoring_state.seal_no IS 'Last link of the audit chain whose rows the scores have seen; null: all are to be made';
COMMENT ON COLUMN sales_internal.scoring_state.failed_at IS 'When scoring failed, if it did the last time';
SELECT sales_internal.dump_table('sales_internal.scoring_state');

-- The built-in prior, where every company starts: moderate weights of common
-- sense, in log-odds, around a win rate of 1 in 8.
INSERT INTO sales_internal.scorecards (model_id, label, model, rows, auc, log_loss, brier, created_at) VALUES
('00000000-0000-7000-8000-000000000000', 'won',
 '{"intercept": -1.95, "features": [
   {"name": "company_size", "category": false, "bounds": [11, 51, 201], "points": [0, -0.2, 0, 0.15, 0.2]},
   {"name": "budget", "category": false, "bounds": [1000, 5000, 20000], "points": [0, -0.2, 0, 0.3, 0.4]},
   {"name": "seniority", "category": true, "bounds": ["director", "manager", "other", "top"], "points": [-0.1, 0, 0.25, 0.1, -0.15, 0.35]},
   {"name": "completeness", "category": false, "bounds": [4, 7, 9], "points": [0, -0.3, -0.05, 0.1, 0.25]},
   {"name": "pain_points", "category": false, "bounds": [1], "points": [0, -0.05, 0.2]},
   {"name": "stage", "category": true, "bounds": ["contacte", "demo_programmee", "interesse", "negociation", "nouveau", "proposition_envoyee"], "points": [0, 0, 0, 0.7, 0.4, 1.2, -0.1, 0.9]},
   {"name": "answers", "category": false, "bounds": [1, 2], "points": [0, -0.5, 0.6, 0.9]},
   {"name": "positive", "category": false, "bounds": [1], "points": [0, 0, 0.9]},
   {"name": "negative", "category": false, "bounds": [1], "points": [0, 0, -1.2]},
   {"name": "meetings", "category": false, "bounds": [1], "points": [0, 0, 1.1]},
   {"name": "recent_activity", "category": false, "bounds": [0.1, 1.5], "points": [0, -0.4, 0, 0.2]}]}',
 0, 0.5, 0.377, 0.109, '2026-01-01 00:00:00+00');

INSERT INTO sales_internal.setting_defaults VALUES
    ('scoring.retrain_growth_percent', '10', 'A model is trained again when decided deals have grown by this much');
