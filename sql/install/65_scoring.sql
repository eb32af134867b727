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
    trained_at timestamptz,
    outcomes integer NOT NULL DEFAULT 0
);
COMMENT ON TABLE sales_internal.scoring_state IS 'When a company was last scored and trained, and on how many decided deals';
SELECT sales_internal.dump_table('sales_internal.scoring_state');

-- What scoring knows of the prospects of the company in the setting
-- sales_assistant.scoring_company.  Engagement is that of the first 14 days,
-- for decided and open deals alike, so that nothing known only after the
-- outcome, such as how often a client was met, can teach the model.
CREATE VIEW sales_internal.prospect_features AS
SELECT p.prospect_id,
       CASE o.stage WHEN 'client' THEN 1 WHEN 'perdu' THEN 0 END AS won,
       z.min_employees AS company_size,
       i.name::text AS industry,
       p.estimated_budget_amount AS budget,
       CASE WHEN p.job_title IS NULL THEN NULL
            WHEN p.job_title ~* '\m(ceo|cto|cfo|coo|founder|owner|chief|president|gérant|pdg|titolare|amministratore|gerente|inhaber|geschäftsführer)' THEN 'top'
            WHEN p.job_title ~* '(direct|direttor|leiter|head|vp\M|vice)' THEN 'director'
            WHEN p.job_title ~* '(manager|responsa|jef[ea]|chef)' THEN 'manager'
            ELSE 'other' END AS seniority,
       p.source::text AS source,
       num_nonnulls(p.email, p.phone, p.job_title, p.company_name, p.website, p.linkedin_url, p.industry_id,
                    p.company_size_id, p.address_id, p.pain_points) AS completeness,
       (p.pain_points IS NOT NULL) AS pain_points,
       jsonb_array_length(CASE WHEN jsonb_typeof(p.tender_opportunities) = 'array' THEN p.tender_opportunities END) AS tenders,
       a.country::text AS country,
       e.answers, e.positive, e.negative, e.meetings, e.messages,
       n.confidence AS enrichment_confidence
FROM sales.prospects p
LEFT JOIN sales.company_sizes z ON z.size_id = p.company_size_id
LEFT JOIN sales.industries i ON i.industry_id = p.industry_id
LEFT JOIN sales.addresses a ON a.company_id = p.company_id AND a.address_id = p.address_id
LEFT JOIN LATERAL (
    SELECT f.stage FROM sales.conversion_funnel f
    WHERE f.company_id = p.company_id AND f.prospect_id = p.prospect_id
    ORDER BY f.stage_entered_at DESC, f.funnel_id DESC LIMIT 1) o ON true
LEFT JOIN LATERAL (
    SELECT nullif(count(*) FILTER (WHERE x.type = 'sent'), 0) AS messages,
           CASE WHEN count(*) > 0 THEN count(*) FILTER (WHERE x.response_received OR x.type = 'received') END AS answers,
           CASE WHEN count(*) > 0 THEN count(*) FILTER (WHERE x.response_sentiment = 'positive') END AS positive,
           CASE WHEN count(*) > 0 THEN count(*) FILTER (WHERE x.response_sentiment = 'negative') END AS negative,
           CASE WHEN count(*) > 0 THEN count(*) FILTER (WHERE x.type = 'meeting_held') END AS meetings
    FROM sales.interactions x
    WHERE x.company_id = p.company_id AND x.prospect_id = p.prospect_id
      AND x.interaction_date < p.created_at + interval '14 days') e ON true
LEFT JOIN LATERAL (
    SELECT avg(q.confidence_score) AS confidence FROM sales.enrichments q
    WHERE q.company_id = p.company_id AND q.prospect_id = p.prospect_id AND q.status = 'completed'
      AND q.created_at < p.created_at + interval '14 days') n ON true
WHERE p.company_id = nullif(current_setting('sales_assistant.scoring_company'), '')::uuid AND p.deleted_at IS NULL;
COMMENT ON VIEW sales_internal.prospect_features IS
    'What scoring knows of each prospect of the company in sales_assistant.scoring_company';
CREATE VIEW sales_internal.decided_features AS
SELECT * FROM sales_internal.prospect_features WHERE won IS NOT NULL;
COMMENT ON VIEW sales_internal.decided_features IS 'The prospects among them whose deal is won or lost';

-- The built-in prior, used until a company has enough outcomes to learn from:
-- moderate weights of common sense, in log-odds, around a win rate of 1 in 8.
INSERT INTO sales_internal.scorecards (model_id, label, model, rows, auc, log_loss, brier, created_at) VALUES
('00000000-0000-7000-8000-000000000000', 'won',
 '{"intercept": -1.95, "features": [
   {"name": "company_size", "category": false, "bounds": [11, 51, 201], "points": [0, -0.2, 0, 0.15, 0.2]},
   {"name": "budget", "category": false, "bounds": [1000, 5000, 20000], "points": [0, -0.2, 0, 0.3, 0.4]},
   {"name": "seniority", "category": true, "bounds": ["director", "manager", "other", "top"], "points": [-0.1, 0, 0.25, 0.1, -0.15, 0.35]},
   {"name": "completeness", "category": false, "bounds": [4, 7, 9], "points": [0, -0.3, -0.05, 0.1, 0.25]},
   {"name": "pain_points", "category": false, "bounds": [1], "points": [0, -0.05, 0.2]},
   {"name": "answers", "category": false, "bounds": [1, 2], "points": [0, -0.5, 0.6, 0.9]},
   {"name": "positive", "category": false, "bounds": [1], "points": [0, 0, 0.9]},
   {"name": "negative", "category": false, "bounds": [1], "points": [0, 0, -1.2]},
   {"name": "meetings", "category": false, "bounds": [1], "points": [0, 0, 1.1]}]}',
 0, 0.5, 0.377, 0.109, '2026-01-01 00:00:00+00');

INSERT INTO sales_internal.setting_defaults VALUES
    ('scoring.retrain_growth_percent', '10', 'A model is trained again when decided deals have grown by this much');

