-- Scoring: the generic learner.

CREATE OR REPLACE FUNCTION sales_internal.train_scorecard(source regclass, label name, options jsonb DEFAULT '{}') RETURNS uuid
    AS 'MODULE_PATHNAME', 'sales_train_scorecard'
    LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION sales_internal.train_scorecard(regclass, name, jsonb) IS
    'Learns a scorecard from a relation: key first, a label of 0/1, any numeric, boolean, date and text columns; options: exclude, names of columns to leave out; prior, model to start from';
REVOKE ALL ON FUNCTION sales_internal.train_scorecard(regclass, name, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.apply_scorecard(model_id uuid, source regclass, OUT key text, OUT probability double precision)
RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'sales_apply_scorecard'
    LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION sales_internal.apply_scorecard(uuid, regclass) IS
    'Probability of each row of a relation with the columns of training';
REVOKE ALL ON FUNCTION sales_internal.apply_scorecard(uuid, regclass) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.scorecard_points(
    model_id uuid, source regclass, OUT key text, OUT feature text, OUT value text, OUT points double precision)
RETURNS SETOF record
    AS 'MODULE_PATHNAME', 'sales_scorecard_points'
    LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION sales_internal.scorecard_points(uuid, regclass) IS
    'Log-odds points of each column of each row; they and the (base) add up to the row''s log-odds';
REVOKE ALL ON FUNCTION sales_internal.scorecard_points(uuid, regclass) FROM PUBLIC;

-- --- prospects ---

CREATE OR REPLACE FUNCTION sales_internal.scoring_model(company uuid, OUT model_id uuid, OUT version integer)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT m.model_id, m.version FROM sales.score_models m WHERE m.company_id = company AND m.is_current
    UNION ALL
    SELECT '00000000-0000-7000-8000-000000000000', 0
    LIMIT 1
$$;
COMMENT ON FUNCTION sales_internal.scoring_model(uuid) IS 'The company''s current model; the built-in prior (version 0) before there is one';
REVOKE ALL ON FUNCTION sales_internal.scoring_model(uuid) FROM PUBLIC;

-- Scores of all prospects of a company, written where they changed.
CREATE OR REPLACE FUNCTION sales_internal.score_company(company uuid) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    current record := sales_internal.scoring_model(company);
    scored bigint;
BEGIN
    PERFORM set_config('sales_assistant.scoring_company', company::text, true);
    WITH fresh AS MATERIALIZED (
        SELECT a.key::uuid AS prospect_id, round(100 * a.probability)::integer AS score
        FROM sales_internal.apply_scorecard(current.model_id, 'sales_internal.prospect_features') a
    ), known AS (
        -- nothing known, no score
        SELECT f.prospect_id, CASE WHEN num_nonnulls(p.email, p.phone, p.job_title, p.company_name, p.website, p.linkedin_url,
                   p.industry_id, p.company_size_id, p.estimated_budget_amount, p.pain_points) > 0
               OR EXISTS (SELECT FROM sales.interactions x WHERE x.company_id = company AND x.prospect_id = f.prospect_id)
               THEN f.score END AS score
        FROM fresh f JOIN sales.prospects p ON p.company_id = company AND p.prospect_id = f.prospect_id
    ), changed AS (
        UPDATE sales.prospects p SET ai_score = k.score
        FROM known k
        WHERE p.company_id = company AND p.prospect_id = k.prospect_id AND p.ai_score IS DISTINCT FROM k.score
        RETURNING p.prospect_id, p.ai_score
    ), history AS (
        INSERT INTO sales.score_history (company_id, prospect_id, scored_at, score, model_version)
        SELECT company, c.prospect_id, clock_timestamp(), c.ai_score, current.version FROM changed c WHERE c.ai_score IS NOT NULL
    )
    SELECT count(score) INTO scored FROM known;
    INSERT INTO sales_internal.scoring_state (company_id, scored_at) VALUES (company, sales_internal.now())
    ON CONFLICT (company_id) DO UPDATE SET scored_at = excluded.scored_at;
    RETURN scored;
END
$$;
COMMENT ON FUNCTION sales_internal.score_company(uuid) IS 'Scores all prospects of a company; returns how many have a score';
REVOKE ALL ON FUNCTION sales_internal.score_company(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.refresh_scores() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
BEGIN
    PERFORM sales_internal.require('prospects', 'update');
    RETURN sales_internal.score_company(company);
END
$$;
COMMENT ON FUNCTION sales.refresh_scores() IS 'Scores all prospects afresh; returns how many have a score';
REVOKE ALL ON FUNCTION sales.refresh_scores() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.refresh_scores() TO sales_app;

-- Log-odds of one prospect's features, and the score that they give.
CREATE OR REPLACE FUNCTION sales_internal.prospect_points(company uuid, prospect uuid)
RETURNS TABLE (feature text, value text, points double precision)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM set_config('sales_assistant.scoring_company', company::text, true);
    CREATE TEMP TABLE IF NOT EXISTS sales_assistant_one_prospect ON COMMIT DROP AS
        SELECT * FROM sales_internal.prospect_features LIMIT 0;
    DELETE FROM pg_temp.sales_assistant_one_prospect;
    INSERT INTO pg_temp.sales_assistant_one_prospect
    SELECT * FROM sales_internal.prospect_features f WHERE f.prospect_id = prospect;
    RETURN QUERY SELECT s.feature, s.value, s.points
    FROM sales_internal.scorecard_points((sales_internal.scoring_model(company)).model_id,
                                         'pg_temp.sales_assistant_one_prospect') s;
    DROP TABLE pg_temp.sales_assistant_one_prospect;
END
$$;
COMMENT ON FUNCTION sales_internal.prospect_points(uuid, uuid) IS 'Log-odds of each feature of one prospect, and the (base)';
REVOKE ALL ON FUNCTION sales_internal.prospect_points(uuid, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.score(prospect_id uuid) RETURNS integer
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.visible_prospect(prospect_id);
BEGIN
    PERFORM sales_internal.require('prospects', 'read');
    RETURN (SELECT round(100 / (1 + exp(-sum(p.points))))::integer
            FROM sales_internal.prospect_points(company, prospect_id) p);
END
$$;
COMMENT ON FUNCTION sales.score(uuid) IS
    'Calibrated chance of a win in percent, 0 to 100, by the company''s model of now';
REVOKE ALL ON FUNCTION sales.score(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.score(uuid) TO sales_app;

-- The score is the base, what the average prospect has, plus each feature's
-- share of the way from there, in proportion to its log-odds.  Shares are
-- rounded to tenths by largest remainder, so they add up to the score exactly.
CREATE OR REPLACE FUNCTION sales.explain_score(prospect_id uuid)
RETURNS TABLE (feature text, value text, points numeric)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.visible_prospect(prospect_id);
BEGIN
    PERFORM sales_internal.require('prospects', 'read');
    RETURN QUERY
    WITH odds AS MATERIALIZED (
        SELECT p.feature, p.value, p.points FROM sales_internal.prospect_points(company, prospect_id) p
    ), total AS (
        SELECT round(100 / (1 + exp(-sum(o.points))))::integer AS score,
               round(100 / (1 + exp(-max(o.points) FILTER (WHERE o.feature = '(base)'))))::integer AS base,
               coalesce(sum(o.points) FILTER (WHERE o.feature <> '(base)'), 0) AS way
        FROM odds o
    ), shared AS (
        SELECT o.feature, o.value, o.points AS weight,
               CASE WHEN abs(t.way) > 1e-9 THEN 10 * (t.score - t.base) * o.points / t.way ELSE 0 END AS exact,
               CASE WHEN abs(t.way) > 1e-9 THEN 10 * (t.score - t.base) ELSE 0 END AS target
        FROM odds o CROSS JOIN total t WHERE o.feature <> '(base)'
    ), ranked AS (
        SELECT s.*, floor(s.exact) AS low,
               row_number() OVER (ORDER BY s.exact - floor(s.exact) DESC, s.feature) AS nth,
               s.target - sum(floor(s.exact)) OVER () AS missing
        FROM shared s
    ), rounded AS (
        SELECT r.feature, r.value, (r.low + CASE WHEN r.nth <= r.missing THEN 1 ELSE 0 END)::numeric / 10 AS points, abs(r.weight) AS weight
        FROM ranked r
    )
    SELECT x.feature, x.value, round(x.points, 1)
    FROM (SELECT '(base)' AS feature, NULL::text AS value,
                 t.score - coalesce((SELECT sum(r.points) FROM rounded r), 0) AS points, 1e9 AS weight
          FROM total t
          UNION ALL
          SELECT r.feature, r.value, r.points, r.weight FROM rounded r) x
    ORDER BY x.weight DESC, x.feature;
END
$$;
COMMENT ON FUNCTION sales.explain_score(uuid) IS
    'Why a prospect has its score: points of each feature and of the (base); they add up to the score exactly';
REVOKE ALL ON FUNCTION sales.explain_score(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.explain_score(uuid) TO sales_app;

CREATE OR REPLACE FUNCTION sales_internal.train_company(company uuid)
RETURNS TABLE (model_id uuid, rows integer, auc double precision, log_loss double precision, brier double precision)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    trained uuid;
    card sales_internal.scorecards;
    old sales.score_models;
    better boolean;
BEGIN
    PERFORM pg_advisory_xact_lock(hashtextextended('sales_assistant training ' || company, 0));
    PERFORM set_config('sales_assistant.scoring_company', company::text, true);
    trained := sales_internal.train_scorecard('sales_internal.decided_features', 'won');
    SELECT * INTO card FROM sales_internal.scorecards c WHERE c.model_id = trained;
    SELECT * INTO old FROM sales.score_models m WHERE m.company_id = company AND m.is_current;
    -- Judged on deals that the new model has not seen; the old one is given its own such figure.
    better := old.model_id IS NULL OR card.log_loss <= old.log_loss * 1.02 OR card.rows >= old.rows * 1.5;
    IF better THEN
        UPDATE sales.score_models m SET is_current = false WHERE m.company_id = company AND m.is_current;
    END IF;
    INSERT INTO sales.score_models (model_id, company_id, version, rows, auc, log_loss, brier, is_current, trained_at)
    VALUES (trained, company,
            1 + coalesce((SELECT max(m.version) FROM sales.score_models m WHERE m.company_id = company), 0),
            card.rows, card.auc, card.log_loss, card.brier, better, sales_internal.now());
    INSERT INTO sales_internal.scoring_state (company_id, trained_at, outcomes) VALUES (company, sales_internal.now(), card.rows)
    ON CONFLICT (company_id) DO UPDATE SET trained_at = excluded.trained_at, outcomes = excluded.outcomes;
    RETURN QUERY SELECT trained, card.rows, card.auc, card.log_loss, card.brier;
END
$$;
COMMENT ON FUNCTION sales_internal.train_company(uuid) IS
    'Trains a company''s model; it becomes current unless the one before is better';
REVOKE ALL ON FUNCTION sales_internal.train_company(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.train_score_model()
RETURNS TABLE (model_id uuid, rows integer, auc double precision, log_loss double precision, brier double precision)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
BEGIN
    PERFORM sales_internal.require('prospects', 'update');
    RETURN QUERY SELECT * FROM sales_internal.train_company(company);
END
$$;
COMMENT ON FUNCTION sales.train_score_model() IS
    'Learns from the company''s won and lost deals; quality is measured on deals not learned from';
REVOKE ALL ON FUNCTION sales.train_score_model() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.train_score_model() TO sales_app;

-- Trains where outcomes have grown enough, and scores companies where
-- something has happened since.
CREATE OR REPLACE FUNCTION sales_internal.keep_scores() RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    due record;
    done integer := 0;
BEGIN
    FOR due IN
        SELECT c.company_id, s.scored_at, coalesce(s.outcomes, 0) AS outcomes, n.decided, n.won
        FROM sales.companies c
        LEFT JOIN sales_internal.scoring_state s USING (company_id)
        CROSS JOIN LATERAL (
            SELECT count(*) AS decided, count(*) FILTER (WHERE p.status = 'client') AS won
            FROM sales.prospects p WHERE p.company_id = c.company_id AND p.status IN ('client', 'perdu') AND p.deleted_at IS NULL) n
        WHERE c.subscription_status = 'active'
          AND (s.scored_at IS NULL
               OR EXISTS (SELECT FROM sales.audit_logs a WHERE a.company_id = c.company_id AND a.created_at > s.scored_at
                          AND a.table_name IN ('interactions', 'enrichments', 'conversion_funnel'))
               OR EXISTS (SELECT FROM sales.prospects p WHERE p.company_id = c.company_id AND p.ai_score IS NULL
                          AND p.created_at > s.scored_at))
        ORDER BY c.company_id
    LOOP
        IF due.decided >= 20 AND due.won >= 5 AND due.decided - due.won >= 5
           AND due.decided >= due.outcomes
               * (1 + sales_internal.setting_of(due.company_id, 'scoring.retrain_growth_percent')::numeric / 100)
           AND due.decided > due.outcomes THEN
            PERFORM sales_internal.train_company(due.company_id);
        END IF;
        PERFORM sales_internal.score_company(due.company_id);
        done := done + 1;
    END LOOP;
    RETURN done;
END
$$;
COMMENT ON FUNCTION sales_internal.keep_scores() IS
    'Periodic task: retrains where outcomes have grown and scores companies with new activity';
REVOKE ALL ON FUNCTION sales_internal.keep_scores() FROM PUBLIC;

DO $$
BEGIN
    INSERT INTO sales_internal.periodic_tasks (name, every, run_function)
    VALUES ('scores', '10 minutes', 'sales_internal.keep_scores') ON CONFLICT (name) DO NOTHING;
END
$$;

