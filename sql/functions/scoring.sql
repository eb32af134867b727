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

-- The moment of a decided deal's life that is learned from.
CREATE OR REPLACE FUNCTION sales_internal.learning_moment(prospect_id uuid, born timestamptz, decided_at timestamptz) RETURNS timestamptz
LANGUAGE sql IMMUTABLE
AS $$
    SELECT CASE WHEN born < decided_at
                THEN born + (decided_at - born) * ((hashtext(prospect_id::text) & 1023) / 1024.0)
                ELSE decided_at END
$$;
COMMENT ON FUNCTION sales_internal.learning_moment(uuid, timestamptz, timestamptz) IS
    'The moment of a deal''s life, before its decision, at which it is learned from: a hash of the key picks it';
REVOKE ALL ON FUNCTION sales_internal.learning_moment(uuid, timestamptz, timestamptz) FROM PUBLIC;

-- What a company's decided deals had before the changes that came after the
-- moment they are learned from, by the audit log: of several changes of one
-- column, what was before the first.  A decision that was recorded more than a
-- day after its date is history taken over; what was changed before it was
-- recorded belongs to it.  Joins are of whole tables, which a planner that
-- expects few rows would nest.
CREATE OR REPLACE FUNCTION sales_internal.undone_changes(company uuid)
RETURNS TABLE (prospect_id uuid, was jsonb, others jsonb)
LANGUAGE sql STABLE STRICT ROWS 100000
SET search_path = pg_catalog, pg_temp
SET enable_nestloop = off
AS $$
    WITH changes AS MATERIALIZED (
        SELECT a.table_name, a.record_id, a.audit_id, a.created_at, a.old_values
        FROM sales.audit_logs a
        WHERE a.company_id = company
          AND ((a.action = 'create' AND a.table_name = 'conversion_funnel' AND a.new_values ->> 'stage' IN ('client', 'perdu'))
               OR (a.action = 'update' AND a.table_name = 'prospects'
                   AND a.old_values ?| '{email,phone,job_title,company_name,website,linkedin_url,industry_id,company_size_id,address_id,pain_points,estimated_budget_amount,source,tender_opportunities,tender_last_update,competitive_intel}')
               OR (a.action = 'update' AND a.table_name = 'interactions' AND a.old_values ?| '{response_received,response_sentiment}')
               OR (a.action = 'update' AND a.table_name = 'enrichments' AND a.old_values ?| '{status,confidence_score,expires_at}')
               OR (a.action IN ('update', 'delete') AND a.table_name = 'addresses' AND a.old_values ? 'country'))
    ), entered AS (
        SELECT f.prospect_id, min(f.stage_entered_at) AS first_entered
        FROM sales.conversion_funnel f WHERE f.company_id = company GROUP BY f.prospect_id
    ), latest AS (
        SELECT DISTINCT ON (f.prospect_id) f.prospect_id, f.funnel_id, f.stage, f.stage_entered_at AS decided_at
        FROM sales.conversion_funnel f WHERE f.company_id = company
        ORDER BY f.prospect_id, f.stage_entered_at DESC, f.funnel_id DESC
    ), deals AS (
        SELECT l.prospect_id, c.audit_id, coalesce(c.created_at > l.decided_at + interval '1 day', false) AS is_late,
               sales_internal.learning_moment(l.prospect_id, least(p.created_at, e.first_entered), l.decided_at) AS moment
        FROM latest l
        JOIN entered e ON e.prospect_id = l.prospect_id
        JOIN sales.prospects p ON p.company_id = company AND p.prospect_id = l.prospect_id
        LEFT JOIN changes c ON c.table_name = 'conversion_funnel' AND c.record_id = l.funnel_id
        WHERE l.stage IN ('client', 'perdu')
    ), of_prospects AS (
        SELECT c.record_id AS prospect_id, c.record_id, c.audit_id, c.created_at, c.old_values FROM changes c WHERE c.table_name = 'prospects'
        UNION ALL
        SELECT x.prospect_id, c.record_id, c.audit_id, c.created_at, c.old_values
        FROM changes c JOIN sales.interactions x ON x.company_id = company AND x.interaction_id = c.record_id
        WHERE c.table_name = 'interactions'
        UNION ALL
        SELECT q.prospect_id, c.record_id, c.audit_id, c.created_at, c.old_values
        FROM changes c JOIN sales.enrichments q ON q.company_id = company AND q.enrichment_id = c.record_id
        WHERE c.table_name = 'enrichments'
        UNION ALL
        -- addresses that a prospect has, or had
        SELECT h.prospect_id, c.record_id, c.audit_id, c.created_at, jsonb_build_object('country', c.old_values -> 'country')
        FROM changes c JOIN (
            SELECT p.prospect_id, p.address_id FROM sales.prospects p WHERE p.company_id = company
            UNION
            SELECT b.record_id, (b.old_values ->> 'address_id')::uuid FROM changes b WHERE b.table_name = 'prospects') h ON h.address_id = c.record_id
        WHERE c.table_name = 'addresses'
    ), undone AS (
        SELECT d.prospect_id, c.record_id, jsonb_object_agg(v.key, v.value ORDER BY c.audit_id DESC) AS was
        FROM of_prospects c JOIN deals d ON d.prospect_id = c.prospect_id
        CROSS JOIN LATERAL jsonb_each(c.old_values) v
        WHERE c.audit_id > d.audit_id OR (c.created_at > d.moment AND NOT d.is_late)
        GROUP BY d.prospect_id, c.record_id
    )
    SELECT u.prospect_id, (array_agg(u.was) FILTER (WHERE u.record_id = u.prospect_id))[1],
           jsonb_object_agg(u.record_id, u.was) FILTER (WHERE u.record_id <> u.prospect_id)
    FROM undone u GROUP BY u.prospect_id
$$;
COMMENT ON FUNCTION sales_internal.undone_changes(uuid) IS
    'Of decided deals: columns of the prospect, and of its interactions, enrichments and addresses by their key, as they were before what was changed after the moment that is learned from';
REVOKE ALL ON FUNCTION sales_internal.undone_changes(uuid) FROM PUBLIC;

-- What was known of a company's prospects at a moment: now for open ones; for
-- decided ones just before the decision, or, to learn from, some moment of the
-- deal's life that a hash of the key picks, so that a model learns from deals
-- as it meets them: at any age.  Nothing after the moment counts; to learn from,
-- what was changed later is undone.
CREATE OR REPLACE FUNCTION sales_internal.features_of(company uuid, to_learn boolean, chosen uuid[])
RETURNS TABLE (
    prospect_id uuid, won integer, decided_at timestamptz, company_size integer, industry text, budget numeric, seniority text,
    source text, completeness integer, pain_points boolean, tenders integer, competitors integer, country text,
    stage text, days_in_stage numeric, answers bigint, positive bigint, negative bigint, meetings bigint, messages bigint,
    channel text, recent_activity numeric, days_since_activity numeric, enrichment_confidence numeric, stages bigint)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
SET jit = off      -- what it does for each prospect is short; compiling it takes seconds
AS $$
    SELECT p.prospect_id,
           CASE o.stage WHEN 'client' THEN 1 WHEN 'perdu' THEN 0 END,
           m.decided_at,
           z.min_employees,
           i.name::text,
           k.estimated_budget_amount,
           CASE WHEN k.job_title IS NULL THEN NULL
                WHEN k.job_title ~* '\m(ceo|cto|cfo|coo|founder|owner|chief|president|gérant|pdg|titolare|amministratore|gerente|inhaber|geschäftsführer)' THEN 'top'
                WHEN k.job_title ~* '(direct|direttor|leiter|head|vp\M|vice)' THEN 'director'
                WHEN k.job_title ~* '(manager|responsa|jef[ea]|chef)' THEN 'manager'
                ELSE 'other' END,
           k.source::text,
           num_nonnulls(k.email, k.phone, k.job_title, k.company_name, k.website, k.linkedin_url, k.industry_id,
                        k.company_size_id, k.address_id, k.pain_points),
           k.pain_points IS NOT NULL,
           CASE WHEN k.tender_last_update < t.moment AND jsonb_typeof(k.tender_opportunities) = 'array'
                THEN jsonb_array_length(k.tender_opportunities) END,
           CASE WHEN jsonb_typeof(k.competitive_intel) = 'array' THEN jsonb_array_length(k.competitive_intel) END,
           CASE WHEN g.was ? 'country' THEN g.was ->> 'country' ELSE a.country::text END,
           s.stage::text,
           round(extract(epoch FROM t.moment - s.stage_entered_at) / 86400, 2),
           e.answers, e.positive, e.negative, e.meetings, e.messages, e.channel,
           round(e.recent, 4),
           round(extract(epoch FROM t.moment - e.latest) / 86400, 2),
           n.confidence,
           s.stages
    FROM (
        -- two branches, as no index serves "all, or those": one or the other has no rows
        SELECT x.* FROM sales.prospects x WHERE chosen IS NULL AND x.company_id = company
        UNION ALL
        SELECT x.* FROM (SELECT DISTINCT unnest(chosen) AS id) c JOIN sales.prospects x ON x.company_id = company AND x.prospect_id = c.id) p
    LEFT JOIN LATERAL (
        SELECT f.stage, f.stage_entered_at FROM sales.conversion_funnel f
        WHERE f.company_id = p.company_id AND f.prospect_id = p.prospect_id
        ORDER BY f.stage_entered_at DESC, f.funnel_id DESC LIMIT 1) o ON true
    LEFT JOIN LATERAL (
        SELECT min(f.stage_entered_at) AS first_entered FROM sales.conversion_funnel f
        WHERE to_learn AND f.company_id = p.company_id AND f.prospect_id = p.prospect_id) b ON true
    CROSS JOIN LATERAL (
        SELECT CASE WHEN o.stage IN ('client', 'perdu') THEN o.stage_entered_at END AS decided_at,
               least(p.created_at, b.first_entered) AS born) m
    CROSS JOIN LATERAL (
        SELECT CASE WHEN m.decided_at IS NULL THEN sales_internal.now()
                    WHEN NOT to_learn OR m.born >= m.decided_at THEN m.decided_at
                    ELSE sales_internal.learning_moment(p.prospect_id, m.born, m.decided_at) END AS moment) t
    LEFT JOIN sales_internal.undone_changes(CASE WHEN to_learn THEN company END) u ON u.prospect_id = p.prospect_id
    CROSS JOIN LATERAL (
        SELECT p.email, p.phone, p.job_title, p.company_name, p.website, p.linkedin_url, p.industry_id, p.company_size_id, p.address_id,
               p.pain_points, p.estimated_budget_amount, p.source, p.tender_opportunities, p.tender_last_update, p.competitive_intel
        WHERE u.was IS NULL
        UNION ALL
        SELECT r.* FROM jsonb_to_record(jsonb_build_object(
            'email', p.email, 'phone', p.phone, 'job_title', p.job_title, 'company_name', p.company_name, 'website', p.website,
            'linkedin_url', p.linkedin_url, 'industry_id', p.industry_id, 'company_size_id', p.company_size_id, 'address_id', p.address_id,
            'pain_points', p.pain_points, 'estimated_budget_amount', p.estimated_budget_amount, 'source', p.source,
            'tender_opportunities', p.tender_opportunities, 'tender_last_update', p.tender_last_update,
            'competitive_intel', p.competitive_intel) || u.was) AS
            r (email varchar, phone varchar, job_title varchar, company_name varchar, website varchar, linkedin_url varchar,
               industry_id uuid, company_size_id uuid, address_id uuid, pain_points text, estimated_budget_amount numeric,
               source sales.prospect_source, tender_opportunities jsonb, tender_last_update timestamptz, competitive_intel jsonb)
        WHERE u.was IS NOT NULL) k
    LEFT JOIN sales.company_sizes z ON z.size_id = k.company_size_id
    LEFT JOIN sales.industries i ON i.industry_id = k.industry_id
    LEFT JOIN sales.addresses a ON a.company_id = p.company_id AND a.address_id = k.address_id
    CROSS JOIN LATERAL (SELECT u.others -> k.address_id::text AS was) g
    LEFT JOIN LATERAL (
        -- The decision itself is no stage to learn from.
        SELECT f.stage, f.stage_entered_at, count(*) OVER () AS stages FROM sales.conversion_funnel f
        WHERE f.company_id = p.company_id AND f.prospect_id = p.prospect_id AND f.stage_entered_at <= t.moment
          AND f.stage NOT IN ('client', 'perdu')
        ORDER BY f.stage_entered_at DESC, f.funnel_id DESC LIMIT 1) s ON true
    LEFT JOIN LATERAL (
        SELECT nullif(count(*) FILTER (WHERE x.type = 'sent'), 0) AS messages,
               CASE WHEN count(*) > 0 THEN count(*) FILTER (WHERE w.answered OR x.type = 'received') END AS answers,
               CASE WHEN count(*) > 0 THEN count(*) FILTER (WHERE w.tone = 'positive') END AS positive,
               CASE WHEN count(*) > 0 THEN count(*) FILTER (WHERE w.tone = 'negative') END AS negative,
               CASE WHEN count(*) > 0 THEN count(*) FILTER (WHERE x.type = 'meeting_held') END AS meetings,
               -- each counts half as much every 14 days; beyond a year, nothing
               sum(0.5 ^ least(extract(epoch FROM t.moment - x.interaction_date) / 86400 / 14, 26)) AS recent,
               max(x.interaction_date) AS latest,
               (array_agg(x.channel::text ORDER BY x.interaction_date DESC, x.interaction_id DESC))[1] AS channel
        FROM sales.interactions x
        CROSS JOIN LATERAL (SELECT u.others -> x.interaction_id::text AS was) v
        CROSS JOIN LATERAL (
            SELECT CASE WHEN v.was ? 'response_received' THEN (v.was ->> 'response_received')::boolean ELSE x.response_received END AS answered,
                   CASE WHEN v.was ? 'response_sentiment' THEN v.was ->> 'response_sentiment' ELSE x.response_sentiment::text END AS tone) w
        WHERE x.company_id = p.company_id AND x.prospect_id = p.prospect_id
          AND x.interaction_date <= t.moment AND x.interaction_date < coalesce(m.decided_at, 'infinity')) e ON true
    LEFT JOIN LATERAL (
        SELECT avg(w.confidence) AS confidence
        FROM sales.enrichments q
        CROSS JOIN LATERAL (SELECT u.others -> q.enrichment_id::text AS was) v
        CROSS JOIN LATERAL (
            SELECT CASE WHEN v.was ? 'status' THEN v.was ->> 'status' ELSE q.status::text END AS status,
                   CASE WHEN v.was ? 'confidence_score' THEN (v.was ->> 'confidence_score')::numeric ELSE q.confidence_score END AS confidence,
                   CASE WHEN v.was ? 'expires_at' THEN (v.was ->> 'expires_at')::timestamptz ELSE q.expires_at END AS expires_at) w
        WHERE q.company_id = p.company_id AND q.prospect_id = p.prospect_id AND w.status IN ('completed', 'expired')
          AND q.created_at <= t.moment AND coalesce(w.expires_at, 'infinity') > t.moment) n ON true
    WHERE p.deleted_at IS NULL
      AND (NOT to_learn OR o.stage IN ('client', 'perdu'))
$$;
COMMENT ON FUNCTION sales_internal.features_of(uuid, boolean, uuid[]) IS
    'What was known of a company''s prospects (all, or those chosen): now, or before their deal was decided';
REVOKE ALL ON FUNCTION sales_internal.features_of(uuid, boolean, uuid[]) FROM PUBLIC;

-- Relations for apply_scorecard and train_scorecard; whose prospects and which
-- stands in settings that definer code makes (sales_internal.scoring_scope).
CREATE OR REPLACE VIEW sales_internal.prospect_features AS
SELECT prospect_id, won, company_size, industry, budget, seniority, source, completeness, pain_points, tenders, competitors, country,
       stage, days_in_stage, answers, positive, negative, meetings, messages, channel, recent_activity, days_since_activity, enrichment_confidence, stages
FROM sales_internal.features_of(nullif(current_setting('sales_assistant.scoring_company'), '')::uuid, false,
                                nullif(current_setting('sales_assistant.scoring_prospects'), '')::uuid[]);
COMMENT ON VIEW sales_internal.prospect_features IS 'What scoring knows of the prospects in scoring_scope()';
CREATE OR REPLACE VIEW sales_internal.decided_features AS
SELECT prospect_id, won, company_size, industry, budget, seniority, source, completeness, pain_points, tenders, competitors, country,
       stage, days_in_stage, answers, positive, negative, meetings, messages, channel, recent_activity, days_since_activity, enrichment_confidence, stages
FROM sales_internal.features_of(nullif(current_setting('sales_assistant.scoring_company'), '')::uuid, true, NULL)
WHERE decided_at < coalesce(nullif(current_setting('sales_assistant.scoring_cut'), '')::timestamptz, 'infinity');
COMMENT ON VIEW sales_internal.decided_features IS 'Won and lost deals of the company in scoring_scope(), decided before its cut, as they were at some moment before';
CREATE OR REPLACE VIEW sales_internal.later_features AS
SELECT prospect_id, won, company_size, industry, budget, seniority, source, completeness, pain_points, tenders, competitors, country,
       stage, days_in_stage, answers, positive, negative, meetings, messages, channel, recent_activity, days_since_activity, enrichment_confidence, stages
FROM sales_internal.features_of(nullif(current_setting('sales_assistant.scoring_company'), '')::uuid, true, NULL)
WHERE decided_at >= nullif(current_setting('sales_assistant.scoring_cut'), '')::timestamptz;
COMMENT ON VIEW sales_internal.later_features IS 'Won and lost deals of the company in scoring_scope(), decided at its cut or later';

CREATE OR REPLACE FUNCTION sales_internal.scoring_scope(company uuid, chosen uuid[] DEFAULT NULL, cut timestamptz DEFAULT NULL) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT set_config('sales_assistant.scoring_company', company::text, true),
           set_config('sales_assistant.scoring_prospects', coalesce(chosen::text, ''), true),
           set_config('sales_assistant.scoring_cut', coalesce(cut::text, ''), true)
$$;
COMMENT ON FUNCTION sales_internal.scoring_scope(uuid, uuid[], timestamptz) IS
    'Sets whose prospects, which of them, and decided before when, the views of features show in this transaction';
REVOKE ALL ON FUNCTION sales_internal.scoring_scope(uuid, uuid[], timestamptz) FROM PUBLIC;

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

CREATE OR REPLACE FUNCTION sales_internal.last_seal(company uuid) RETURNS bigint
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT coalesce(max(s.seal_no), 0) FROM sales_internal.audit_seals s WHERE s.company_id = company $$;
COMMENT ON FUNCTION sales_internal.last_seal(uuid) IS 'Number of the last link of a company''s audit chain; 0: there is none';
REVOKE ALL ON FUNCTION sales_internal.last_seal(uuid) FROM PUBLIC;

-- Scores of a company's prospects, written where they changed.
CREATE OR REPLACE FUNCTION sales_internal.score_company(company uuid, chosen uuid[] DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    current record := sales_internal.scoring_model(company);
    -- read before the features are: these hold all that is sealed by then
    sealed bigint := CASE WHEN chosen IS NULL THEN sales_internal.last_seal(company) END;
    scored bigint;
    ids uuid[];
    scores integer[];
BEGIN
    PERFORM sales_internal.note_progress('refresh_scores', company, 'prospects', 0, cardinality(chosen));
    PERFORM sales_internal.scoring_scope(company, chosen);
    -- Three statements, as on a cluster the first runs on the coordinator, which has the models, and a WITH
    -- cannot insert what another part of it gives.
    SELECT array_agg(a.key::uuid), array_agg(round(100 * a.probability)::integer) INTO ids, scores
    FROM sales_internal.apply_scorecard(current.model_id, 'sales_internal.prospect_features') a;
    PERFORM sales_internal.note_progress('refresh_scores', company, 'writing', 0, cardinality(ids));
    WITH known AS (
        -- nothing known, no score
        SELECT f.prospect_id, CASE WHEN num_nonnulls(p.email, p.phone, p.job_title, p.company_name, p.website, p.linkedin_url,
                   p.industry_id, p.company_size_id, p.estimated_budget_amount, p.pain_points) > 0
               OR EXISTS (SELECT FROM sales.interactions x WHERE x.company_id = company AND x.prospect_id = f.prospect_id)
               THEN f.score END AS score
        FROM unnest(ids, scores) AS f (prospect_id, score) JOIN sales.prospects p ON p.company_id = company AND p.prospect_id = f.prospect_id
    ), changed AS (
        UPDATE sales.prospects p SET ai_score = k.score
        FROM known k
        WHERE p.company_id = company AND p.prospect_id = k.prospect_id AND p.ai_score IS DISTINCT FROM k.score
        RETURNING p.prospect_id, p.ai_score
    )
    SELECT (SELECT count(score) FROM known), array_agg(c.prospect_id), array_agg(c.ai_score) INTO scored, ids, scores
    FROM changed c WHERE c.ai_score IS NOT NULL;
    INSERT INTO sales.score_history (company_id, prospect_id, scored_at, score, model_version)
    SELECT company, c.prospect_id, clock_timestamp(), c.score, current.version FROM unnest(ids, scores) AS c (prospect_id, score);
    INSERT INTO sales_internal.scoring_state (company_id, scored_at, all_scored_at, seal_no)
    VALUES (company, sales_internal.now(), CASE WHEN chosen IS NULL THEN sales_internal.now() END, sealed)
    ON CONFLICT (company_id) DO UPDATE
    SET scored_at = excluded.scored_at, all_scored_at = coalesce(excluded.all_scored_at, scoring_state.all_scored_at),
        seal_no = coalesce(excluded.seal_no, scoring_state.seal_no);
    PERFORM sales_internal.end_progress('refresh_scores');
    RETURN scored;
END
$$;
COMMENT ON FUNCTION sales_internal.score_company(uuid, uuid[]) IS 'Scores a company''s prospects, all or those chosen; returns how many have a score';
REVOKE ALL ON FUNCTION sales_internal.score_company(uuid, uuid[]) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.refresh_scores() RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
BEGIN
    PERFORM sales_internal.require('prospects', 'update');
    PERFORM sales_internal.keep_statistics();
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
    PERFORM sales_internal.scoring_scope(company, ARRAY[prospect]);
    RETURN QUERY SELECT s.feature, s.value, s.points
    FROM sales_internal.scorecard_points((sales_internal.scoring_model(company)).model_id, 'sales_internal.prospect_features') s;
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

-- Mean log loss of a model on the deals decided since a moment.
CREATE OR REPLACE FUNCTION sales_internal.loss_since(company uuid, model uuid, cut timestamptz, OUT deals bigint, OUT loss double precision)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    PERFORM sales_internal.scoring_scope(company, NULL, cut);
    SELECT count(*), -avg(ln(CASE WHEN f.won = 1 THEN a.probability ELSE 1 - a.probability END))
    INTO deals, loss
    FROM sales_internal.apply_scorecard(model, 'sales_internal.later_features') a
    JOIN sales_internal.later_features f ON f.prospect_id = a.key::uuid;
END
$$;
COMMENT ON FUNCTION sales_internal.loss_since(uuid, uuid, timestamptz) IS
    'How many deals a company decided since a moment, and the mean log loss of a model on them';
REVOKE ALL ON FUNCTION sales_internal.loss_since(uuid, uuid, timestamptz) FROM PUBLIC;

-- Is a model learned from what was decided before the newest fifth of deals no
-- worse on that fifth than the model in use?  Null: too few deals to tell.
CREATE OR REPLACE FUNCTION sales_internal.challenge_model(company uuid, model uuid) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    cut timestamptz;
    challenger uuid;
    result boolean;
BEGIN
    SELECT percentile_disc(0.8) WITHIN GROUP (ORDER BY f.decided_at) INTO cut
    FROM sales_internal.features_of(company, true, NULL) f HAVING count(*) >= 50;
    -- The newest deals prove something of the model in use only if it has not learned from them.
    cut := greatest(cut, (SELECT m.trained_at FROM sales.score_models m WHERE m.company_id = company AND m.model_id = model));
    IF cut IS NULL OR (SELECT count(*) < 10 FROM sales_internal.features_of(company, true, NULL) f WHERE f.decided_at >= cut) THEN
        RETURN NULL;
    END IF;
    PERFORM sales_internal.scoring_scope(company, NULL, cut);
    challenger := sales_internal.train_scorecard('sales_internal.decided_features', 'won', '{"prior": "00000000-0000-7000-8000-000000000000"}');
    result := (SELECT loss FROM sales_internal.loss_since(company, challenger, cut))
              <= (SELECT loss FROM sales_internal.loss_since(company, model, cut));
    DELETE FROM sales_internal.scorecards c WHERE c.model_id = challenger;
    RETURN result;
END
$$;
COMMENT ON FUNCTION sales_internal.challenge_model(uuid, uuid) IS
    'Would a model trained again beat this one on deals that neither has learned from? Null: too few to tell';
REVOKE ALL ON FUNCTION sales_internal.challenge_model(uuid, uuid) FROM PUBLIC;

-- Learning starts from the prior: one decided deal moves it a little, many
-- replace it.
CREATE OR REPLACE FUNCTION sales_internal.train_company(company uuid)
RETURNS TABLE (model_id uuid, rows integer, auc double precision, log_loss double precision, brier double precision)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
#variable_conflict use_column
DECLARE
    next_version integer;
    trained uuid;
    card sales_internal.scorecards;
    old sales.score_models;
    better boolean;
BEGIN
    PERFORM sales_internal.note_progress('train_score_model', company, 'waiting for another training');
    PERFORM sales_internal.take_lock(hashtextextended('sales_assistant training ' || company, 0));
    PERFORM sales_internal.note_progress('train_score_model', company, 'learning');
    PERFORM sales_internal.scoring_scope(company);
    IF NOT EXISTS (SELECT FROM sales.conversion_funnel f WHERE f.company_id = company AND f.stage IN ('client', 'perdu')) THEN
        RAISE no_data_found USING MESSAGE = 'no deal is decided yet, there is nothing to learn from',
            HINT = 'A prospect that enters the stage client is a win, perdu a loss; until then the platform''s prior scores.';
    END IF;
    trained := sales_internal.train_scorecard('sales_internal.decided_features', 'won', '{"prior": "00000000-0000-7000-8000-000000000000"}');
    PERFORM sales_internal.note_progress('train_score_model', company, 'comparing with the current model');
    SELECT * INTO card FROM sales_internal.scorecards c WHERE c.model_id = trained;
    SELECT * INTO old FROM sales.score_models m WHERE m.company_id = company AND m.is_current;
    IF old.model_id IS NOT NULL THEN
        better := sales_internal.challenge_model(company, old.model_id);
    END IF;
    -- Where deals are too few to tell: unless it is clearly worse on rows held out.
    better := coalesce(better, old.model_id IS NULL OR old.log_loss IS NULL OR card.log_loss <= old.log_loss * 1.02 OR card.rows >= old.rows * 1.5, false);
    IF better THEN
        UPDATE sales.score_models m SET is_current = false WHERE m.company_id = company AND m.is_current;
    END IF;
    SELECT 1 + coalesce(max(m.version), 0) INTO next_version FROM sales.score_models m WHERE m.company_id = company;
    INSERT INTO sales.score_models (model_id, company_id, version, rows, auc, log_loss, brier, is_current, trained_at)
    VALUES (trained, company, next_version, card.rows, card.auc, card.log_loss, card.brier, better, sales_internal.now());
    INSERT INTO sales_internal.scoring_state (company_id, trained_at, outcomes) VALUES (company, sales_internal.now(), card.rows)
    ON CONFLICT (company_id) DO UPDATE SET trained_at = excluded.trained_at, outcomes = excluded.outcomes;
    PERFORM sales_internal.end_progress('train_score_model');
    RETURN QUERY SELECT trained, card.rows, card.auc, card.log_loss, card.brier;
END
$$;
COMMENT ON FUNCTION sales_internal.train_company(uuid) IS
    'Trains a company''s model; it becomes current unless the one before is better on deals that neither has learned from';
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
    'Learns from the company''s won and lost deals; quality is that on deals not learned from, null while they are too few';
REVOKE ALL ON FUNCTION sales.train_score_model() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.train_score_model() TO sales_app;

-- Prospects of a company of which something has changed.  The audit log is the
-- feed: it has every change already, so writers pay nothing more.  Its chain
-- says what is new in it: each row is in one link, which is made when the row
-- can be seen, however late its transaction ended; so a row that is in no link
-- up to the one read last is looked at once, and none is missed.
CREATE OR REPLACE FUNCTION sales_internal.changed_prospects(company uuid, after_seal bigint, last_seal bigint) RETURNS uuid[]
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    audit_ids uuid[];
    since timestamptz;
BEGIN
    -- Two statements: on a cluster the chain is on the coordinator, and the log on the company's node.
    SELECT array_agg(id), min(s.month)::timestamp AT TIME ZONE 'UTC' INTO audit_ids, since
    FROM sales_internal.audit_seals s CROSS JOIN LATERAL unnest(s.ids) id
    WHERE s.company_id = company AND s.seal_no > after_seal AND s.seal_no <= last_seal;
    RETURN (
        WITH changes AS MATERIALIZED (
            SELECT a.table_name, a.record_id, a.old_values, a.new_values
            FROM sales.audit_logs a
            WHERE a.company_id = company AND a.audit_id = ANY (audit_ids) AND a.created_at >= since AND a.action IN ('create', 'update', 'delete')
              AND (a.table_name IN ('interactions', 'enrichments', 'conversion_funnel', 'addresses')
                   -- what scoring itself has written is no news
                   OR (a.table_name = 'prospects' AND (a.action <> 'update' OR a.new_values - '{ai_score,updated_at}'::text[] <> '{}')))
        )
        SELECT array_agg(DISTINCT id) FROM (
            SELECT coalesce(c.new_values ->> 'prospect_id', c.old_values ->> 'prospect_id')::uuid AS id FROM changes c WHERE c.table_name <> 'prospects'
            UNION ALL SELECT c.record_id FROM changes c WHERE c.table_name = 'prospects'
            -- from one prospect to another
            UNION ALL SELECT (c.old_values ->> 'prospect_id')::uuid FROM changes c WHERE c.table_name <> 'prospects' AND c.new_values ? 'prospect_id'
            UNION ALL SELECT x.prospect_id FROM changes c JOIN sales.interactions x ON x.company_id = company AND x.interaction_id = c.record_id
                      WHERE c.table_name = 'interactions' AND NOT coalesce(c.new_values ? 'prospect_id', false)
            UNION ALL SELECT x.prospect_id FROM changes c JOIN sales.enrichments x ON x.company_id = company AND x.enrichment_id = c.record_id
                      WHERE c.table_name = 'enrichments' AND NOT coalesce(c.new_values ? 'prospect_id', false)
            UNION ALL SELECT x.prospect_id FROM changes c JOIN sales.conversion_funnel x ON x.company_id = company AND x.funnel_id = c.record_id
                      WHERE c.table_name = 'conversion_funnel' AND NOT coalesce(c.new_values ? 'prospect_id', false)
            UNION ALL SELECT x.prospect_id FROM changes c JOIN sales.prospects x ON x.company_id = company AND x.address_id = c.record_id
                      WHERE c.table_name = 'addresses') AS ids (id)
        WHERE id IS NOT NULL);
END
$$;
COMMENT ON FUNCTION sales_internal.changed_prospects(uuid, bigint, bigint) IS
    'Prospects of a company of which the rows in these links of the audit chain tell a change, their activity included; null: none';
REVOKE ALL ON FUNCTION sales_internal.changed_prospects(uuid, bigint, bigint) FROM PUBLIC;

-- One company: trains where outcomes have grown enough; scores the prospects
-- of which links of the audit chain after the last one seen tell something, or all.
CREATE OR REPLACE FUNCTION sales_internal.keep_company_scores(company uuid, after_seal bigint, last_seal bigint, "all" boolean) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    chosen uuid[];
    learned integer;
    deals record;
BEGIN
    IF NOT "all" THEN
        chosen := sales_internal.changed_prospects(company, after_seal, last_seal);
        IF chosen IS NULL THEN
            RETURN false;
        END IF;
    END IF;
    SELECT count(*) AS decided, count(*) FILTER (WHERE p.status = 'client') AS won INTO deals
    FROM sales.prospects p
    WHERE p.company_id = company AND p.status IN ('client', 'perdu') AND p.deleted_at IS NULL
      AND EXISTS (SELECT FROM sales.conversion_funnel f WHERE f.company_id = p.company_id AND f.prospect_id = p.prospect_id);
    learned := coalesce((SELECT s.outcomes FROM sales_internal.scoring_state s WHERE s.company_id = company), 0);
    IF deals.won >= 1 AND deals.decided > learned
       AND deals.decided >= learned * (1 + sales_internal.setting_number(company, 'scoring.retrain_growth_percent', 10) / 100) THEN
        -- It keeps the model that it has where training fails.
        BEGIN
            PERFORM sales_internal.train_company(company);
        EXCEPTION WHEN others THEN
            RAISE WARNING 'training for company % failed: %', company, SQLERRM;
        END;
        chosen := NULL;
    END IF;
    PERFORM sales_internal.score_company(company, chosen);
    RETURN true;
END
$$;
COMMENT ON FUNCTION sales_internal.keep_company_scores(uuid, bigint, bigint, boolean) IS
    'Part of keep_scores(): trains and scores one company; false where nothing has changed';
REVOKE ALL ON FUNCTION sales_internal.keep_company_scores(uuid, bigint, bigint, boolean) FROM PUBLIC;

-- Companies whose audit chain has links that the scores have not seen, and each
-- once a day, as time alone changes scores.  Of the others this one query is all
-- that is done.  A pass ends after some seconds, so that rows that it has changed
-- are not kept from others, and goes on in another transaction; who has waited
-- longest comes first.
CREATE OR REPLACE FUNCTION sales_internal.keep_scores() RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    due record;
    ends timestamptz := clock_timestamp() + interval '5 seconds';
    looked bigint := 0;
    done integer := 0;
BEGIN
    PERFORM sales_internal.keep_statistics();
    FOR due IN
        SELECT c.company_id, count(*) OVER () AS total, s.seal_no, n.last_seal, s.failed_at,
               s.seal_no IS NULL OR s.all_scored_at IS NULL OR s.all_scored_at < sales_internal.now() - interval '1 day' AS "all"
        FROM sales.companies c
        LEFT JOIN sales_internal.scoring_state s USING (company_id)
        CROSS JOIN LATERAL (SELECT coalesce(max(x.seal_no), 0) AS last_seal FROM sales_internal.audit_seals x WHERE x.company_id = c.company_id) n
        WHERE c.subscription_status = 'active'
          AND (s.seal_no IS DISTINCT FROM n.last_seal OR s.all_scored_at IS NULL OR s.all_scored_at < sales_internal.now() - interval '1 day')
        ORDER BY s.failed_at NULLS FIRST, s.scored_at NULLS FIRST, c.company_id
    LOOP
        IF clock_timestamp() > ends THEN
            UPDATE sales_internal.periodic_tasks t SET next_run = sales_internal.now() WHERE t.name = 'scores' AND due.failed_at IS NULL;
            EXIT;
        END IF;
        PERFORM sales_internal.note_progress('keep_scores', NULL, 'companies', looked, due.total);
        looked := looked + 1;
        -- One company's trouble must not keep the others from their scores; it comes last, and is no reason to go on at once.
        BEGIN
            done := done + sales_internal.keep_company_scores(due.company_id, due.seal_no, due.last_seal, due."all")::integer;
            UPDATE sales_internal.scoring_state s SET seal_no = due.last_seal, failed_at = NULL WHERE s.company_id = due.company_id;
        EXCEPTION WHEN others THEN
            RAISE WARNING 'scoring for company % failed: %', due.company_id, SQLERRM;
            INSERT INTO sales_internal.scoring_state (company_id, failed_at) VALUES (due.company_id, sales_internal.now())
            ON CONFLICT (company_id) DO UPDATE SET failed_at = excluded.failed_at;
        END;
    END LOOP;
    PERFORM sales_internal.end_progress('keep_scores');
    RETURN done;
END
$$;
COMMENT ON FUNCTION sales_internal.keep_scores() IS
    'Periodic task: retrains where outcomes have grown; scores prospects with news, and all once a day';
REVOKE ALL ON FUNCTION sales_internal.keep_scores() FROM PUBLIC;

-- Drift: deals decided since training, judged by the score they had before.
CREATE OR REPLACE FUNCTION sales_internal.doctor_scoring() RETURNS TABLE (severity text, finding text, hint text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT 'warning',
           format('scores of company %s have drifted: log loss %s on the %s deals decided since training, %s when trained',
                  m.company_id, round(d.loss::numeric, 3), d.deals, round(m.log_loss::numeric, 3)),
           'SELECT * FROM sales.train_score_model(), in that company.'
    FROM sales.score_models m
    CROSS JOIN LATERAL (
        SELECT count(*) AS deals,
               avg(-ln(CASE f.stage WHEN 'client' THEN h.chance ELSE 1 - h.chance END)) AS loss
        FROM sales.conversion_funnel f
        CROSS JOIN LATERAL (
            SELECT least(greatest(h.score, 0.5), 99.5) / 100 AS chance FROM sales.score_history h
            WHERE h.company_id = f.company_id AND h.prospect_id = f.prospect_id AND h.scored_at <= f.stage_entered_at
            ORDER BY h.scored_at DESC LIMIT 1) h
        WHERE f.company_id = m.company_id AND f.stage IN ('client', 'perdu') AND f.stage_entered_at > m.trained_at) d
    WHERE m.is_current AND d.deals >= 30 AND d.loss > m.log_loss * 1.25
$$;
COMMENT ON FUNCTION sales_internal.doctor_scoring() IS 'Part of doctor(): companies whose scores are clearly worse on new deals than in training';
REVOKE ALL ON FUNCTION sales_internal.doctor_scoring() FROM PUBLIC;

DO $$
BEGIN
    INSERT INTO sales_internal.periodic_tasks (name, every, run_function)
    VALUES ('scores', '10 minutes', 'sales_internal.keep_scores') ON CONFLICT (name) DO NOTHING;
END
$$;

