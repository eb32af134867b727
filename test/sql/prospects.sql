\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- find_duplicates() and merge_prospects(): one person of two, with one history.
CREATE VIEW helpers.duplicates WITH (security_invoker = true) AS
SELECT p.notes, o.notes AS duplicate_of, d.reason, d.confidence
FROM sales.find_duplicates() d JOIN sales.prospects p USING (prospect_id) JOIN sales.prospects o ON o.prospect_id = d.duplicate_of;
GRANT SELECT ON helpers.duplicates TO PUBLIC;
CREATE FUNCTION helpers.who(which text) RETURNS uuid LANGUAGE sql AS $$ SELECT prospect_id FROM sales.prospects WHERE notes = which $$;
GRANT EXECUTE ON FUNCTION helpers.who(text) TO PUBLIC;
:be_beta
INSERT INTO sales.prospects (first_name, last_name, email, phone, linkedin_url, company_name, notes, created_at) VALUES
    ('Ada', 'Lovelace', 'ada@engine.test', '+44 20 7946 0958', 'linkedin.com/in/ada', 'Engine', 'beta', '2026-01-01');
:be_alpha
INSERT INTO sales.prospects (first_name, last_name, email, phone, linkedin_url, company_name, notes, created_at) VALUES
    ('Ada', 'Lovelace', 'ada@engine.test', '+44 20 7946 0958', NULL, 'Engine', 'a1', '2026-01-01'),
    ('A.', 'L.', 'ADA@engine.test', NULL, 'https://uk.linkedin.com/in/Ada/', NULL, 'a2', '2026-01-02'),
    (NULL, NULL, NULL, NULL, 'linkedin.com/in/ada', NULL, 'a3', '2026-01-03'),
    ('Ada', NULL, NULL, '020 7946 0958', NULL, NULL, 'a4', '2026-01-04'),
    ('ADA', 'LOVELACE', NULL, NULL, NULL, 'engine', 'a5', '2026-01-05'),
    ('Ada', 'Lovelace', 'other@engine.test', '+44 20 7946 0958', NULL, 'Engine', 'another address', '2026-01-06'),
    ('Alan', 'Turing', NULL, NULL, NULL, NULL, 'b1', '2026-01-01'), ('alan', 'turing', NULL, NULL, NULL, NULL, 'b2', '2026-01-02'),
    ('Grace', 'Hopper', NULL, '0000000000', NULL, NULL, 'c1', '2026-01-01'), ('Ken', 'Thompson', NULL, '0000000000', NULL, NULL, 'c2', '2026-01-02');
SELECT * FROM helpers.duplicates ORDER BY notes;
-- both worked with: messages, tasks, interactions, stages, enrichments, scores
CREATE TEMP TABLE ids AS SELECT helpers.who('a1') AS keep, helpers.who('a4') AS drop;
INSERT INTO sales.messages (prospect_id, channel, content, language) SELECT p, 'email', 'Hello', 'en' FROM ids, unnest(ARRAY[keep, drop]) p;
INSERT INTO sales.tasks (prospect_id, type, title) SELECT p, 'call', 'Call' FROM ids, unnest(ARRAY[keep, drop]) p;
INSERT INTO sales.interactions (prospect_id, channel, type, interaction_date) SELECT p, 'phone', 'call_made', timestamptz '2026-02-01' + n * interval '1 day' FROM ids, unnest(ARRAY[keep, drop]) WITH ORDINALITY u (p, n);
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at, deal_value) SELECT keep, 'contacte'::sales.funnel_stage, timestamptz '2026-03-01', NULL::numeric FROM ids
UNION ALL SELECT drop, 'interesse', '2026-03-02', NULL FROM ids UNION ALL SELECT drop, 'client', '2026-03-10', 900 FROM ids UNION ALL SELECT keep, 'contacte', '2026-04-01', NULL FROM ids;
SELECT sales.refresh_metrics() > 0 AS refreshed;
CREATE TEMP TABLE metrics AS SELECT date, prospects_added, deals_closed FROM sales.analytics;
SELECT notes, status FROM sales.prospects WHERE notes IN ('a1', 'a4') ORDER BY notes;
SELECT sales.merge_prospects(keep, drop) FROM ids;
SELECT first_name, last_name, email, phone, status, notes FROM sales.prospects WHERE prospect_id IN (SELECT keep FROM ids UNION ALL SELECT drop FROM ids);
SELECT (SELECT count(*) FROM sales.messages m WHERE m.prospect_id = keep) AS messages, (SELECT count(*) FROM sales.tasks t WHERE t.prospect_id = keep) AS tasks,
       (SELECT count(*) FROM sales.interactions i WHERE i.prospect_id = keep) AS interactions FROM ids;
SELECT stage, stage_entered_at::date, stage_duration_hours, deal_value FROM sales.conversion_funnel f, ids WHERE f.prospect_id = keep ORDER BY stage_entered_at;
-- what the company did is what it was
SELECT sales.refresh_metrics() >= 0 AS refreshed;
SELECT * FROM sales.check_metrics();
SELECT * FROM (SELECT * FROM metrics EXCEPT SELECT date, prospects_added, deals_closed FROM sales.analytics) x;
SELECT action, table_name, count(*) FROM sales.audit_logs
WHERE (new_values ->> 'prospect_id' IN (SELECT unnest(ARRAY[keep, drop])::text FROM ids) AND action = 'update') OR (table_name = 'prospects' AND action = 'delete' AND record_id = (SELECT drop FROM ids)) GROUP BY 1, 2 ORDER BY 2;
-- the dropped one is no duplicate of anybody any more, nor matched
SELECT * FROM helpers.duplicates WHERE notes LIKE 'a%' ORDER BY notes;
SELECT sales.import_csv(E'phone,first name\n020 7946 0958,Ada\n') IS NOT NULL AS done;
SELECT rows_unchanged + rows_updated AS known FROM sales.import_runs ORDER BY started_at DESC LIMIT 1;
-- the winner's stage holds when keep is the further one
CREATE TEMP TABLE two AS SELECT helpers.who('b1') AS keep, helpers.who('b2') AS drop;
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at) SELECT keep, 'negociation', '2026-03-01' FROM two;
INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at) SELECT drop, 'contacte', '2026-05-01' FROM two;
SELECT sales.merge_prospects(keep, drop) FROM two;
SELECT status, notes FROM sales.prospects, two WHERE prospect_id = keep;
-- mistakes
SELECT helpers.try(format('SELECT sales.merge_prospects(%L, %L)', keep, drop)) FROM two;
SELECT helpers.try(format('SELECT sales.merge_prospects(%L, %L)', keep, keep)) FROM two;
SELECT helpers.try(format('SELECT sales.merge_prospects(%L, %L)', keep, NULL)) FROM two;
GRANT SELECT ON two TO PUBLIC;
:be_beta
SELECT helpers.try(format('SELECT sales.merge_prospects(%L, %L)', keep, helpers.who('beta'))) FROM two;
SELECT helpers.try(format('SELECT sales.merge_prospects(%L, %L)', helpers.who('beta'), keep)) FROM two;
SELECT * FROM helpers.duplicates;
SELECT notes FROM sales.prospects;
:be_super
DROP VIEW helpers.duplicates;
DROP FUNCTION helpers.who(text);
