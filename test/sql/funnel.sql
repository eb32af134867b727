-- Funnel: stages, durations, both directions of status, probability.
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\i :srcdir/clean.inc
SET sales_assistant.clock = '2026-03-01 10:00:00+00';
:be_alpha
INSERT INTO sales.prospects (prospect_id, first_name) VALUES
    ('00000000-0000-7000-8000-0000000000a1', 'Ada'), ('00000000-0000-7000-8000-0000000000a2', 'Bo');
\set ada '''00000000-0000-7000-8000-0000000000a1'''
\set bo '''00000000-0000-7000-8000-0000000000a2'''
-- A new prospect has entered no stage.
SELECT count(*) FROM sales.conversion_funnel;
SELECT sales.enter_stage(:ada, 'contacte') IS NOT NULL AS entered;
:be_super
SET sales_assistant.clock = '2026-03-03 10:00:00+00';
:be_alpha
SELECT sales.enter_stage(:ada, 'demo_programmee') IS NOT NULL AS entered;
SELECT stage, stage_duration_hours, conversion_probability, next_action, created_by = sales.current_user_id() AS mine
FROM sales.conversion_funnel ORDER BY stage_entered_at;
SELECT status FROM sales.prospects WHERE prospect_id = :ada;
-- A status that the stage maps to already enters nothing; another one does.
UPDATE sales.prospects SET status = 'interesse' WHERE prospect_id = :ada;
SELECT count(*) FROM sales.conversion_funnel;
:be_super
SET sales_assistant.clock = '2026-03-04 10:00:00+00';
:be_alpha
UPDATE sales.prospects SET status = 'negocie' WHERE prospect_id = :ada;
SELECT stage, stage_duration_hours FROM sales.conversion_funnel ORDER BY stage_entered_at;
-- a_contacter has no stage.
UPDATE sales.prospects SET status = 'a_contacter' WHERE prospect_id = :bo;
SELECT count(*) FROM sales.conversion_funnel WHERE prospect_id = :bo;
-- Late entries are put in their place and leave the status alone.
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at)
VALUES (:ada, 'interesse', '2026-03-02 10:00+00'), (:bo, 'contacte', '2026-02-01 00:00+00');
SELECT stage, stage_duration_hours FROM sales.conversion_funnel WHERE prospect_id = :ada ORDER BY stage_entered_at;
SELECT first_name, status FROM sales.prospects ORDER BY 1;
-- All stages and their status.
SELECT stage, (SELECT status FROM sales.prospects WHERE prospect_id = :bo AND x.entry IS NOT NULL)
FROM (SELECT stage, sales.enter_stage(:bo, stage::text) AS entry
      FROM unnest(ARRAY['nouveau']) AS stage) AS x;
DO $$
DECLARE s text; st text;
BEGIN
    FOREACH s IN ARRAY ARRAY['nouveau','contacte','interesse','demo_programmee','proposition_envoyee','negociation','client','perdu'] LOOP
        PERFORM sales.enter_stage('00000000-0000-7000-8000-0000000000a2', s);
        SELECT status INTO st FROM sales.prospects WHERE prospect_id = '00000000-0000-7000-8000-0000000000a2';
        RAISE INFO '% -> %', s, st;
    END LOOP;
END
$$;
-- Twice the same stage is one entry; the value is kept, then changed.
SELECT sales.enter_stage(:ada, 'client', 1000) = sales.enter_stage(:ada, 'client', 1200) AS same;
SELECT deal_value FROM sales.conversion_funnel WHERE prospect_id = :ada AND stage = 'client';
SELECT sales.conversion_probability(:ada), sales.conversion_probability(:bo);
-- Mistakes.
SELECT sales.enter_stage(:ada, 'gagne');
SELECT sales.enter_stage(:ada, NULL);
SELECT sales.enter_stage(:ada, 'negociation', -1);
SELECT sales.enter_stage(:ada, 'negociation', 1e8);
SELECT sales.enter_stage(:ada, 'negociation', NULL, 'price');
SELECT sales.enter_stage(:ada, 'perdu', NULL, repeat('x', 101));
SELECT sales.enter_stage('00000000-0000-7000-8000-00000000dead', 'client');
-- Another tenant sees and moves nothing.
:be_beta
SELECT sales.enter_stage(:ada, 'perdu');
SELECT sales.conversion_probability(:ada);
SELECT count(*) FROM sales.conversion_funnel;
-- Probability follows history: 30 decided proposals, 24 of them won.
INSERT INTO sales.prospects (prospect_id, first_name)
SELECT ('00000000-0000-7000-8000-00000000b0' || to_char(n, 'FM00'))::uuid, 'p' || n FROM generate_series(0, 31) AS n;
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at)
SELECT ('00000000-0000-7000-8000-00000000b0' || to_char(n, 'FM00'))::uuid, x.stage::sales.funnel_stage, '2026-01-01 00:00+00'::timestamptz + x.at
FROM generate_series(0, 29) AS n,
     (VALUES ('proposition_envoyee', interval '0'), ('end', interval '10 days')) AS y (stage, at),
     LATERAL (SELECT CASE WHEN y.stage <> 'end' THEN y.stage WHEN n < 24 THEN 'client' ELSE 'perdu' END, y.at) AS x (stage, at);
:be_super
SET sales_assistant.clock = '2026-03-05 00:00:00+00';
:be_beta
SELECT sales.enter_stage('00000000-0000-7000-8000-00000000b030', 'proposition_envoyee') IS NOT NULL AS entered;
SELECT sales.conversion_probability('00000000-0000-7000-8000-00000000b030') AS fresh;
:be_super
SET sales_assistant.clock = '2026-04-05 00:00:00+00';
:be_beta
SELECT sales.conversion_probability('00000000-0000-7000-8000-00000000b030') AS stale,
       sales.conversion_probability('00000000-0000-7000-8000-00000000b031') AS unseen;
-- A removed entry gives its time back to the one before, and the status follows.
DELETE FROM sales.conversion_funnel WHERE prospect_id = '00000000-0000-7000-8000-00000000b000' AND stage = 'client';
SELECT stage, stage_duration_hours FROM sales.conversion_funnel WHERE prospect_id = '00000000-0000-7000-8000-00000000b000';
SELECT status FROM sales.prospects WHERE prospect_id = '00000000-0000-7000-8000-00000000b000';
-- Several statuses in one transaction keep their order, and a clock that is behind the last entry undoes nothing.
:be_super
SET sales_assistant.clock = '2026-04-10 00:00:00+00';
:be_beta
\set one '''00000000-0000-7000-8000-00000000b031'''
BEGIN;
UPDATE sales.prospects SET status = 'contacte' WHERE prospect_id = :one;
UPDATE sales.prospects SET status = 'interesse' WHERE prospect_id = :one;
SAVEPOINT s;
UPDATE sales.prospects SET status = 'perdu' WHERE prospect_id = :one;
ROLLBACK TO s;
UPDATE sales.prospects SET status = 'client' WHERE prospect_id = :one;
COMMIT;
:be_super
SET sales_assistant.clock = '2026-04-09 00:00:00+00';
:be_beta
UPDATE sales.prospects SET status = 'negocie' WHERE prospect_id = :one;
SELECT stage, stage_duration_hours FROM sales.conversion_funnel WHERE prospect_id = :one ORDER BY stage_entered_at;
SELECT status FROM sales.prospects WHERE prospect_id = :one;
-- What is put into the past leaves a_contacter alone; what becomes the current stage, or ceases to be, does not.
UPDATE sales.prospects SET status = 'a_contacter' WHERE prospect_id = :one;
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at) VALUES (:one, 'nouveau', '2026-01-01 00:00+00');
SELECT status FROM sales.prospects WHERE prospect_id = :one;
UPDATE sales.conversion_funnel SET deal_value = 5, next_action = 'x' WHERE prospect_id = :one;
SELECT status FROM sales.prospects WHERE prospect_id = :one;
DELETE FROM sales.conversion_funnel WHERE prospect_id = :one AND stage = 'negociation';
SELECT status FROM sales.prospects WHERE prospect_id = :one;
UPDATE sales.conversion_funnel SET stage = 'perdu', loss_reason = 'price' WHERE prospect_id = :one AND stage = 'client';
SELECT status FROM sales.prospects WHERE prospect_id = :one;
UPDATE sales.conversion_funnel SET stage_entered_at = '2026-05-01 00:00+00' WHERE prospect_id = :one AND stage = 'contacte';
SELECT status FROM sales.prospects WHERE prospect_id = :one;
INSERT INTO sales.conversion_funnel (funnel_id, prospect_id, stage)
SELECT funnel_id, prospect_id, 'nouveau' FROM sales.conversion_funnel WHERE prospect_id = :one AND stage = 'contacte'
ON CONFLICT (funnel_id) DO UPDATE SET stage = 'demo_programmee';
SELECT stage, stage_duration_hours FROM sales.conversion_funnel WHERE prospect_id = :one ORDER BY stage_entered_at;
SELECT status FROM sales.prospects WHERE prospect_id = :one;
SELECT helpers.try(format('INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at) VALUES (%L, ''client'', ''infinity'')', :one));
-- Many at once, those without a stage included; who is merely imported as a client enters none.
INSERT INTO sales.prospects (first_name, status) VALUES ('imported', 'client');
UPDATE sales.prospects SET status = 'contacte' WHERE first_name LIKE 'p%';
SELECT count(*) AS entries FROM sales.conversion_funnel WHERE stage_entered_at >= '2026-04-09' AND stage = 'contacte';
SELECT count(*) FROM sales.conversion_funnel f JOIN sales.prospects p USING (prospect_id) WHERE p.first_name = 'imported';
:be_super
SELECT count(*) FROM sales.conversion_funnel WHERE company_id = helpers.company('alpha') AND stage_entered_at > '2026-04-01';
RESET sales_assistant.clock;
