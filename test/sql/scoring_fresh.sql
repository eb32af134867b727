-- Scores are kept fresh by the links of the audit chain: after any work a pass leaves what a plain scoring of everything would.
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
\set ECHO none
DELETE FROM sales.score_models;
DELETE FROM sales_internal.scoring_state;
SET sales_assistant.clock = '2041-05-01 10:00+00';
SELECT setseed(0.5) \g /dev/null
CREATE FUNCTION helpers.some(company uuid) RETURNS uuid LANGUAGE sql VOLATILE AS
$$ SELECT p.prospect_id FROM sales.prospects p WHERE p.company_id = company ORDER BY random() LIMIT 1 $$;
-- One change of some row of a company, of each kind that a score depends on, and of some that it does not.
CREATE PROCEDURE helpers.work(company uuid) LANGUAGE plpgsql AS $$
DECLARE
    who uuid := helpers.some(company);
    other uuid := helpers.some(company);
BEGIN
    CASE floor(random() * 14)
        WHEN 0 THEN INSERT INTO sales.prospects (company_id, first_name, email, created_at)
                    SELECT company, 'new', sales.uuidv7() || '@x.test', '2041-04-01';
        WHEN 1 THEN UPDATE sales.prospects SET job_title = (ARRAY['CEO', 'clerk', NULL])[1 + floor(random() * 3)] WHERE prospect_id = who;
        WHEN 2 THEN UPDATE sales.prospects SET estimated_budget_amount = 1 + floor(random() * 50000), phone = floor(random() * 1000) WHERE prospect_id = who;
        WHEN 3 THEN INSERT INTO sales.interactions (company_id, prospect_id, channel, type, response_received, interaction_date)
                    SELECT company, who, 'email', 'sent', random() < 0.5, '2041-05-01 10:00+00'::timestamptz - random() * interval '60 days';
        WHEN 4 THEN UPDATE sales.interactions SET response_received = true, response_sentiment = 'positive' WHERE prospect_id = who;
        WHEN 5 THEN UPDATE sales.interactions SET prospect_id = other WHERE prospect_id = who;
        WHEN 6 THEN DELETE FROM sales.interactions WHERE prospect_id = who;
        WHEN 7 THEN INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, stage_entered_at)
                    SELECT company, who, (ARRAY['contacte', 'negociation', 'perdu'])[1 + floor(random() * 3)]::sales.funnel_stage,
                           '2041-05-01 10:00+00'::timestamptz - random() * interval '30 days';
        WHEN 8 THEN DELETE FROM sales.conversion_funnel WHERE prospect_id = who;
        WHEN 9 THEN INSERT INTO sales.enrichments (company_id, prospect_id, enrichment_type, status, confidence_score, created_at)
                    SELECT company, who, 'website', 'completed', random(), '2041-04-30';
        WHEN 10 THEN UPDATE sales.enrichments SET confidence_score = random() WHERE prospect_id = who;
        WHEN 11 THEN UPDATE sales.prospects SET deleted_at = CASE WHEN deleted_at IS NULL THEN now() END WHERE prospect_id = who;
        WHEN 12 THEN UPDATE sales.prospects SET notes = random() WHERE prospect_id = who;
        ELSE UPDATE sales.interactions SET interaction_date = interaction_date - interval '20 days' WHERE prospect_id = who;
    END CASE;
END
$$;
-- Scores that are not what a plain scoring of that moment gives.
CREATE FUNCTION helpers.stale() RETURNS bigint LANGUAGE plpgsql AS $$
DECLARE
    stale bigint := 0;
    company uuid;
BEGIN
    FOREACH company IN ARRAY ARRAY[helpers.company('alpha'), helpers.company('beta')] LOOP
        PERFORM sales_internal.scoring_scope(company);
        stale := stale + (SELECT count(*)
            FROM sales_internal.apply_scorecard((sales_internal.scoring_model(company)).model_id, 'sales_internal.prospect_features') a
            JOIN sales.prospects p ON p.company_id = company AND p.prospect_id = a.key::uuid
            WHERE p.ai_score IS DISTINCT FROM round(100 * a.probability)::integer);
    END LOOP;
    RETURN stale;
END
$$;
INSERT INTO sales.prospects (company_id, first_name, email, created_at)
SELECT helpers.company(c), 'P' || n, 'p' || n || '@x.test', '2041-04-01' FROM unnest('{alpha,beta}'::text[]) AS c, generate_series(1, 20) AS n;
CREATE TEMP TABLE seen (round integer, scored integer, stale bigint, quiet integer);
CREATE PROCEDURE helpers.rounds(n integer) LANGUAGE plpgsql AS $$
BEGIN
    FOR r IN 1 .. n LOOP
        -- some rounds are of one company, some of none
        FOR i IN 1 .. floor(random() * 6) LOOP
            CALL helpers.work(helpers.company(CASE WHEN r % 3 = 0 OR random() < 0.5 THEN 'alpha' ELSE 'beta' END));
            COMMIT;
        END LOOP;
        PERFORM sales_internal.seal_audit();
        INSERT INTO seen VALUES (r, sales_internal.keep_scores(), helpers.stale());
        COMMIT;
        PERFORM sales_internal.seal_audit();
        UPDATE seen SET quiet = sales_internal.keep_scores() WHERE seen.round = r;
        COMMIT;
    END LOOP;
END
$$;
\set ECHO all
SELECT sales_internal.seal_audit() > 0 AS sealed;
SELECT sales_internal.keep_scores() >= 2 AS all_of_both, helpers.stale();
CALL helpers.rounds(60);
SELECT count(*) AS rounds, sum(stale) AS stale, sum(quiet) AS scored_for_nothing, count(*) FILTER (WHERE scored = 0) > 5 AS some_idle,
       count(*) FILTER (WHERE scored = 1) > 5 AS some_of_one, count(*) FILTER (WHERE scored = 2) > 5 AS some_of_both FROM seen;
-- the test sees what is stale
UPDATE sales.interactions SET response_received = NOT response_received WHERE company_id = helpers.company('beta');
SELECT helpers.stale() > 0 AS seen;
SELECT sales_internal.seal_audit() > 0 AS sealed;
SELECT sales_internal.keep_scores() AS one_company, helpers.stale();
-- what a company's own pass has read is not read again; what came since is
:be_alpha
UPDATE sales.prospects SET job_title = 'Director';
SELECT sales.refresh_scores() > 0 AS scored;
:be_super
SELECT helpers.stale();
SELECT sales_internal.seal_audit() > 0 AS sealed;
SELECT sales_internal.keep_scores() AS one_company, helpers.stale();
-- by time alone: once a day
SET sales_assistant.clock = '2041-05-01 20:00+00';
SELECT sales_internal.keep_scores() AS nobody;
SET sales_assistant.clock = '2041-05-25 10:00+00';
SELECT helpers.stale() > 0 AS decayed;
SELECT sales_internal.keep_scores() >= 2 AS both, helpers.stale();
-- a company whose scoring fails keeps nobody waiting, and is tried again by the next pass
CREATE FUNCTION helpers.refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN IF NEW.company_id = helpers.company('alpha') THEN RAISE EXCEPTION 'no score today'; END IF; RETURN NEW; END $$;
CREATE TRIGGER refuse BEFORE INSERT ON sales.score_history FOR EACH ROW EXECUTE FUNCTION helpers.refuse();
UPDATE sales.interactions SET response_received = NOT response_received;
SELECT sales_internal.seal_audit() > 0 AS sealed;
\set VERBOSITY sqlstate
SELECT sales_internal.keep_scores() AS the_other;
SELECT sales_internal.keep_scores() AS nobody, helpers.stale() > 0 AS still_stale;
\set VERBOSITY terse
SELECT failed_at IS NOT NULL AS failed FROM sales_internal.scoring_state WHERE company_id IN (helpers.company('alpha'), helpers.company('beta')) ORDER BY company_id;
DROP TRIGGER refuse ON sales.score_history;
SELECT sales_internal.keep_scores() AS it, helpers.stale();
-- a link that is older than the company's state is nothing new; a state from before there were links is
UPDATE sales_internal.scoring_state SET seal_no = NULL WHERE company_id = helpers.company('beta');
SELECT sales_internal.keep_scores() AS one_company;
SELECT sales_internal.keep_scores() AS nobody;
RESET sales_assistant.clock;
DROP FUNCTION helpers.some(uuid), helpers.stale(), helpers.refuse();
DROP PROCEDURE helpers.work(uuid), helpers.rounds(integer);
\i :clean
