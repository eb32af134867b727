\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- Scores: the prior, a model, explanations that add up.
:be_super
DELETE FROM sales.score_models;
-- before anything is learned: the prior; nothing known: no score
:be_alpha
INSERT INTO sales.prospects (first_name) VALUES ('Nobody');
INSERT INTO sales.prospects (first_name, email, job_title, estimated_budget_amount, company_name)
VALUES ('Top', 'top@x.test', 'CEO', 50000, 'X'), ('Low', 'low@x.test', NULL, 500, 'X');
SELECT sales.refresh_scores();
SELECT first_name, ai_score FROM sales.prospects ORDER BY first_name;
SELECT sum(points) = sales.score(prospect_id) AS adds_up
FROM sales.prospects CROSS JOIN LATERAL sales.explain_score(prospect_id) GROUP BY prospect_id, first_name ORDER BY first_name;
SELECT * FROM sales.train_score_model();
-- with outcomes: a model of the company's own
INSERT INTO sales.prospects (first_name, email, job_title, company_size_id)
SELECT 'P' || g, 'p' || g || '@x.test', CASE WHEN g % 2 = 0 THEN 'Director' END,
       (SELECT size_id FROM sales.company_sizes WHERE size_range = CASE WHEN g % 3 = 0 THEN '1-10' ELSE '51-200' END)
FROM generate_series(1, 200) g;
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at)
SELECT prospect_id, (CASE WHEN substr(first_name, 2)::int % 3 <> 0 AND substr(first_name, 2)::int % 2 = 0 THEN 'client' ELSE 'perdu' END)::sales.funnel_stage, now()
FROM sales.prospects WHERE first_name ~ '^P\d+$' AND substr(first_name, 2)::int <= 150;
SELECT rows, auc > 0.95 AS ranks FROM sales.train_score_model();
SELECT version, rows, is_current FROM sales.score_models;
SELECT sales.refresh_scores();
SELECT min(ai_score) FILTER (WHERE substr(first_name, 2)::int % 3 <> 0 AND substr(first_name, 2)::int % 2 = 0)
     > max(ai_score) FILTER (WHERE NOT (substr(first_name, 2)::int % 3 <> 0 AND substr(first_name, 2)::int % 2 = 0)) AS separates
FROM sales.prospects WHERE first_name ~ '^P\d+$' AND substr(first_name, 2)::int > 150;
SELECT bool_and(ok) AS all_add_up FROM (
    SELECT sum(points) = sales.score(prospect_id) AS ok
    FROM (SELECT prospect_id FROM sales.prospects ORDER BY email LIMIT 20) p CROSS JOIN LATERAL sales.explain_score(prospect_id)
    GROUP BY prospect_id) x;
SELECT count(DISTINCT model_version) AS versions FROM sales.score_history;
-- the history's newest entry is the score, with the model that gave it and the moment
SELECT count(*) AS scored, count(*) FILTER (WHERE h.score = p.ai_score AND h.model_version = 1 AND h.scored_at BETWEEN now() - interval '1 hour' AND clock_timestamp()) AS as_told
FROM sales.prospects p
CROSS JOIN LATERAL (SELECT * FROM sales.score_history h WHERE h.prospect_id = p.prospect_id ORDER BY h.scored_at DESC LIMIT 1) h
WHERE p.ai_score IS NOT NULL AND p.first_name ~ '^P';
-- a score that is as it was adds nothing; one that changed adds an entry, and the former stays as it was
SELECT count(*) AS entries FROM sales.score_history \gset before_
SELECT ai_score AS score FROM sales.prospects WHERE first_name = 'P199' \gset before_
SELECT sales.refresh_scores() > 0 AS scored;
SELECT count(*) - :before_entries AS added FROM sales.score_history;
UPDATE sales.prospects SET job_title = 'Director' WHERE first_name = 'P199';
SELECT sales.refresh_scores() > 0 AS scored;
SELECT count(*) - :before_entries AS added FROM sales.score_history;
SELECT row_number() OVER (ORDER BY h.scored_at) AS nth, h.score = :before_score AS former, h.score = p.ai_score AS newest, h.model_version
FROM sales.score_history h JOIN sales.prospects p USING (prospect_id) WHERE p.first_name = 'P199' ORDER BY 1;
-- the other company: its own prior, none of this
:be_beta
SELECT count(*) FROM sales.score_models;
SELECT sales.score('00000000-0000-7000-8000-000000000001');
:be_super
SELECT count(*) FROM sales_internal.scorecards WHERE rows = 0;
-- the one prior is that of the extension's files, to the letter: whatever companies have learned, nothing of it is there
SELECT model_id, md5(model::text) AS model FROM sales_internal.scorecards WHERE rows = 0;
-- kept fresh: only what has news is scored again, and all once a day, as time alone changes scores
\set clean :srcdir '/clean.inc'
\i :clean
DELETE FROM sales.score_models;
DELETE FROM sales_internal.scoring_state;
SET sales_assistant.clock = '2041-05-01 10:00+00';
:be_alpha
INSERT INTO sales.prospects (first_name, email, created_at) VALUES ('Eve', 'eve@x.test', '2041-04-01'), ('Fay', 'fay@x.test', '2041-04-01');
:be_beta
INSERT INTO sales.prospects (first_name, email, created_at) VALUES ('Gus', 'gus@x.test', '2041-04-01');
:be_super
SELECT sales_internal.seal_audit() >= 0 AS sealed;
SELECT sales_internal.keep_scores() > 0 AS scored;
SELECT first_name, ai_score FROM sales.prospects ORDER BY first_name;
SET sales_assistant.clock = '2041-05-01 11:00+00';
SELECT sales_internal.seal_audit() >= 0 AS sealed;
SELECT sales_internal.keep_scores() AS own_writing_is_no_news;
UPDATE sales.prospects SET ai_score = 99;
SET sales_assistant.clock = '2041-05-01 12:00+00';
SELECT sales_internal.seal_audit() >= 0 AS sealed;
SELECT sales_internal.keep_scores() AS nothing_new;
:be_alpha
INSERT INTO sales.interactions (prospect_id, channel, type, interaction_date)
SELECT prospect_id, 'email', 'sent', '2041-04-30' FROM sales.prospects WHERE first_name = 'Eve';
:be_super
SELECT sales_internal.seal_audit() >= 0 AS sealed;
SELECT sales_internal.keep_scores() AS one_company;
SELECT first_name, ai_score, ai_score = 99 AS untouched FROM sales.prospects ORDER BY first_name;
UPDATE sales.prospects SET ai_score = 99;
SET sales_assistant.clock = '2041-05-01 13:00+00';
:be_alpha
UPDATE sales.interactions SET response_received = true, response_sentiment = 'positive';
:be_super
SELECT sales_internal.seal_audit() >= 0 AS sealed;
SELECT sales_internal.keep_scores() AS one_company;
SELECT first_name, ai_score, ai_score = 99 AS untouched FROM sales.prospects ORDER BY first_name;
SELECT ai_score AS fresh FROM sales.prospects WHERE first_name = 'Eve' \gset
SET sales_assistant.clock = '2041-07-01 10:00+00';
SELECT sales_internal.seal_audit() >= 0 AS sealed;
SELECT sales_internal.keep_scores() > 0 AS scored;
SELECT first_name, ai_score, ai_score < :fresh AS decayed FROM sales.prospects ORDER BY first_name;
-- the first won deal counts, a little; the other company's does not
:be_alpha
SELECT score FROM (SELECT sales.score(prospect_id) AS score FROM sales.prospects WHERE first_name = 'Fay') x \gset before_
SELECT sales.enter_stage(prospect_id, 'client', 100) IS NOT NULL AS won FROM sales.prospects WHERE first_name = 'Eve';
:be_super
SELECT sales_internal.seal_audit() >= 0 AS sealed;
SELECT sales_internal.keep_scores() > 0 AS trained;
SELECT c.domain, m.version, m.rows, m.auc IS NULL AS nothing_held_out, m.is_current FROM sales.score_models m JOIN sales.companies c USING (company_id);
:be_alpha
SELECT sales.score(prospect_id) > :before_score AND sales.score(prospect_id) < :before_score + 12 AS a_little FROM sales.prospects WHERE first_name = 'Fay';
SELECT sum(points) = sales.score(prospect_id) AS adds_up
FROM sales.prospects CROSS JOIN LATERAL sales.explain_score(prospect_id) WHERE first_name = 'Fay' GROUP BY prospect_id;
:be_beta
SELECT sales.score(prospect_id) = :before_score AS as_before FROM sales.prospects;
-- nothing after the decision, nor after the moment that is learned from, is a feature
:be_super
RESET sales_assistant.clock;
\i :clean
:be_alpha
INSERT INTO sales.prospects (first_name, created_at) VALUES ('Hal', '2026-01-01');
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at)
SELECT prospect_id, x.stage::sales.funnel_stage, x.at FROM sales.prospects,
    (VALUES ('nouveau', timestamptz '2026-01-01'), ('client', '2026-03-01')) x (stage, at) WHERE first_name = 'Hal';
INSERT INTO sales.interactions (prospect_id, channel, type, response_received, interaction_date)
SELECT prospect_id, 'email', 'sent', true, x.at FROM sales.prospects, (VALUES (timestamptz '2025-12-31'), ('2026-02-28 23:59'), ('2026-03-01'), ('2026-04-01')) x (at);
:be_super
SELECT won, stage, answers, days_in_stage FROM sales_internal.features_of(helpers.company('alpha'), false, NULL);
SELECT won, stage, answers, days_in_stage < 59 AS earlier FROM sales_internal.features_of(helpers.company('alpha'), true, NULL);
-- what changes at the outcome, or later, is no feature to learn from
:be_super
\i :clean
:be_alpha
INSERT INTO sales.prospects (first_name, job_title, estimated_budget_amount, created_at)
VALUES ('Ida', 'Clerk', 100, now() - interval '20 days'), ('Jon', NULL, NULL, now() - interval '20 days'), ('Kim', 'Clerk', 100, now() - interval '400 days');
INSERT INTO sales.interactions (prospect_id, channel, type, interaction_date)
SELECT prospect_id, 'email', 'sent', created_at FROM sales.prospects;
-- history taken over: what was known before it was recorded belongs to it
INSERT INTO sales.prospects (first_name, created_at) VALUES ('Lea', '2025-01-01');
UPDATE sales.prospects SET job_title = 'Director' WHERE first_name = 'Lea';
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at)
SELECT prospect_id, 'client', '2025-03-01' FROM sales.prospects WHERE first_name = 'Lea';
SELECT count(sales.enter_stage(prospect_id, CASE first_name WHEN 'Jon' THEN 'perdu' ELSE 'client' END, 100)) FROM sales.prospects WHERE first_name IN ('Ida', 'Jon');
UPDATE sales.prospects SET job_title = 'CEO', estimated_budget_amount = 99999, phone = '1', pain_points = 'none left', competitive_intel = '[1, 2]';
UPDATE sales.prospects SET job_title = 'Owner';
UPDATE sales.interactions SET response_received = true, response_sentiment = 'positive';
:be_super
SELECT p.first_name, f.won, f.seniority, f.budget, f.completeness, f.pain_points, f.competitors, f.answers, f.positive, f.stages
FROM sales_internal.features_of(helpers.company('alpha'), true, NULL) f JOIN sales.prospects p USING (prospect_id) ORDER BY p.first_name;
SELECT p.first_name, f.seniority, f.budget, f.answers, f.positive
FROM sales_internal.features_of(helpers.company('alpha'), false, NULL) f JOIN sales.prospects p USING (prospect_id) WHERE p.first_name = 'Kim';
SELECT count(*) AS of_the_other FROM sales_internal.features_of(helpers.company('beta'), true, NULL);
:be_super
\i :clean
-- a new model takes over only if it is better on deals that neither has seen: here the old one learned the opposite
:be_alpha
INSERT INTO sales.prospects (first_name, job_title, created_at)
SELECT 'P' || g, CASE WHEN g % 2 = 0 THEN 'Director' ELSE 'Clerk' END, timestamptz '2026-01-01' + g * interval '1 hour' FROM generate_series(1, 300) g;
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at)
SELECT prospect_id, CASE WHEN (job_title = 'Director') = (g <= 100) THEN 'client' ELSE 'perdu' END::sales.funnel_stage, created_at + interval '1 day'
FROM (SELECT *, substr(first_name, 2)::int AS g FROM sales.prospects WHERE first_name ~ '^P\d+$') p WHERE g <= 100;
SELECT rows FROM sales.train_score_model();
:be_super
UPDATE sales.score_models SET trained_at = '2026-01-06';
:be_alpha
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at)
SELECT prospect_id, CASE WHEN (job_title = 'Director') = (g <= 100) THEN 'client' ELSE 'perdu' END::sales.funnel_stage, created_at + interval '1 day'
FROM (SELECT *, substr(first_name, 2)::int AS g FROM sales.prospects WHERE first_name ~ '^P\d+$') p WHERE g > 100;
SELECT rows FROM sales.train_score_model();
SELECT version, is_current FROM sales.score_models ORDER BY version;
:be_super
-- now one that knows better than any that can be trained stays
UPDATE sales.score_models SET trained_at = '2026-01-10' WHERE is_current;
UPDATE sales_internal.scorecards SET model = '{"intercept": 0, "features": [{"name": "seniority", "category": true, "bounds": ["director", "other"], "points": [0, 0, -9, 9]}]}'
WHERE model_id = (SELECT model_id FROM sales.score_models WHERE is_current);
:be_alpha
SELECT rows FROM sales.train_score_model();
SELECT version, is_current FROM sales.score_models ORDER BY version;
:be_super
-- where deals became so few that nothing could be held out, the model in use stays
UPDATE sales.prospects SET deleted_at = now() WHERE first_name ~ '^P\d+$' AND substr(first_name, 2)::int > 10;
:be_alpha
SELECT rows, log_loss IS NULL AS nothing_held_out FROM sales.train_score_model();
SELECT version, is_current FROM sales.score_models ORDER BY version;
:be_super
UPDATE sales.prospects SET deleted_at = NULL;
-- explanations add up, for 1,000 prospects of all sorts and each of their models; no company learns of the other's
:be_beta
INSERT INTO sales.prospects (first_name, email, job_title, estimated_budget_amount, pain_points, website, company_size_id, industry_id, source)
SELECT 'R' || g, CASE WHEN g % 3 = 0 THEN 'r' || g || '@x.test' END, (ARRAY['CEO', 'Head of sales', 'manager', 'clerk', NULL])[1 + hashint4(g) & 3], nullif(hashint4(g * 3) & 65535, 7),
       CASE WHEN g % 7 = 0 THEN 'slow' END, CASE WHEN g % 5 = 0 THEN 'x.test' END,
       (SELECT size_id FROM sales.company_sizes ORDER BY min_employees OFFSET g % 5 LIMIT 1), (SELECT industry_id FROM sales.industries ORDER BY name OFFSET g % 21 LIMIT 1),
       (ARRAY['manual', 'api'])[1 + g % 2]::sales.prospect_source
FROM generate_series(1, 1000) g;
INSERT INTO sales.interactions (prospect_id, channel, type, response_received, response_sentiment, interaction_date)
SELECT prospect_id, (ARRAY['email', 'phone', 'linkedin'])[1 + g % 3]::sales.interaction_channel, (ARRAY['sent', 'call_made', 'meeting_held', 'received'])[1 + g % 4]::sales.interaction_type,
       g % 2 = 0, (ARRAY['positive', 'neutral', 'negative'])[1 + g % 3]::sales.sentiment, now() - g * interval '1 hour'
FROM (SELECT prospect_id, substr(first_name, 2)::int AS g FROM sales.prospects WHERE first_name ~ '^R\d+$') p WHERE g % 3 > 0;
SELECT sales.refresh_scores();
SELECT count(*), count(*) FILTER (WHERE x.total IS DISTINCT FROM x.ai_score) AS off, count(DISTINCT x.ai_score) > 10 AS many_scores
FROM (SELECT p.ai_score, (SELECT sum(e.points) FROM sales.explain_score(p.prospect_id) e) AS total
      FROM sales.prospects p WHERE first_name ~ '^R\d+$') x;
-- on outcomes of its own
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at)
SELECT prospect_id, CASE WHEN job_title = 'CEO' OR hashtext(first_name) & 7 = 0 THEN 'client' ELSE 'perdu' END::sales.funnel_stage, now()
FROM sales.prospects WHERE first_name ~ '^R\d+$' AND hashtext(first_name) & 3 = 0;
SELECT rows > 200 AS learned, auc > 0.55 AS ranks FROM sales.train_score_model();
SELECT sales.refresh_scores();
SELECT count(*), count(*) FILTER (WHERE x.total IS DISTINCT FROM x.ai_score) AS off, count(DISTINCT x.ai_score) > 5 AS many_scores
FROM (SELECT p.ai_score, (SELECT sum(e.points) FROM sales.explain_score(p.prospect_id) e) AS total
      FROM sales.prospects p WHERE first_name ~ '^R\d+$' AND hashtext(first_name) & 7 = 1) x;
SELECT DISTINCT model_version FROM sales.score_history ORDER BY 1;
:be_alpha
SELECT count(*) AS of_beta FROM sales.prospects WHERE first_name ~ '^R\d+$';
-- drift is reported
:be_super
SELECT model_id, md5(model::text) AS model FROM sales_internal.scorecards WHERE rows = 0;
DELETE FROM sales.score_history;
INSERT INTO sales.score_history (company_id, prospect_id, scored_at, score, model_version)
SELECT company_id, prospect_id, created_at, CASE job_title WHEN 'Director' THEN 90 ELSE 10 END, 2 FROM sales.prospects WHERE first_name ~ '^P\d+$';
UPDATE sales.score_models SET log_loss = 0.3;
SELECT severity, regexp_replace(finding, '[0-9a-f-]{36}', '<uuid>') AS finding, hint FROM sales.doctor() WHERE finding LIKE 'scores%';
-- who may not change prospects may read scores but not make them
INSERT INTO sales.users (company_id, email, role_id)
SELECT company_id, 'viewer@alpha.test', role_id FROM sales.roles WHERE company_id = helpers.company('alpha') AND name = 'viewer' ON CONFLICT DO NOTHING;
SET SESSION AUTHORIZATION regress_app;
RESET SESSION AUTHORIZATION;
CREATE OR REPLACE FUNCTION helpers.be_viewer() RETURNS void LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    PERFORM sales.set_tenant(u.company_id, u.user_id, false) FROM sales.users u WHERE u.email = 'viewer@alpha.test';
END
$$;
SET SESSION AUTHORIZATION regress_app;
DO $$ BEGIN PERFORM helpers.be_viewer(); END $$;
SELECT count(sales.score(prospect_id)) FROM sales.prospects WHERE first_name IN ('P1', 'P2');
SELECT helpers.try('SELECT sales.refresh_scores()');
SELECT helpers.try('SELECT * FROM sales.train_score_model()');
SELECT helpers.try('SELECT * FROM sales_internal.prospect_features');
:be_super
DELETE FROM sales.users WHERE email = 'viewer@alpha.test';
