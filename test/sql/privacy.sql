\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- Export and erasure of a person; the map of where personal data lies.
:be_super
DELETE FROM sales_internal.jobs;
DELETE FROM sales.import_runs;
-- Each column that can hold text stands in the map, so each whose type is not known to hold none: a new one is
-- put into the line of sql/functions/privacy.sql that says what it is.
SELECT c.oid::regclass || '.' || a.attname AS not_in_the_map
FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped
JOIN pg_type t ON t.oid = coalesce((SELECT e.oid FROM pg_type e WHERE e.typarray = a.atttypid), a.atttypid)
WHERE c.relnamespace IN ('sales'::regnamespace, 'sales_internal'::regnamespace, 'sales_bi'::regnamespace) AND c.relkind IN ('r', 'p', 'm')
  AND NOT c.relispartition AND t.typtype <> 'e'
  AND t.typname NOT IN ('bool', 'int2', 'int4', 'int8', 'float4', 'float8', 'numeric', 'date', 'time', 'timestamptz', 'interval', 'uuid', 'oid', 'xid8')
  AND NOT EXISTS (SELECT FROM sales_internal.data_map m WHERE to_regclass(m.table_name) = c.oid AND m.column_name = a.attname)
ORDER BY 1;
SELECT table_name, column_name AS no_such_column FROM sales_internal.data_map m
WHERE to_regclass(m.table_name) IS NOT NULL AND NOT EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = to_regclass(m.table_name) AND a.attname = m.column_name AND NOT a.attisdropped) ORDER BY 1, 2;
SELECT table_name, column_name AS stands_twice FROM sales_internal.data_map GROUP BY 1, 2 HAVING count(*) > 1;
-- what the map says can be done: rows found by the prospect's key have one, and so on
SELECT DISTINCT table_name AS cannot_be_found_so FROM sales_internal.data_map m
WHERE to_regclass(m.table_name) IS NOT NULL AND m.found_by = 'prospect' AND to_regclass(m.table_name) NOT IN (SELECT t.target FROM sales_internal.person_tables() t)
   OR to_regclass(m.table_name) IS NOT NULL AND m.found_by IN ('key', 'address', 'audit') AND NOT EXISTS (SELECT FROM pg_attribute a
      WHERE a.attrelid = to_regclass(m.table_name) AND a.attname = 'company_id' AND NOT a.attisdropped);
SELECT DISTINCT found_by, on_erase FROM sales_internal.data_map ORDER BY 1, 2;

-- The same person in both companies, and another who is told of the first.
CREATE FUNCTION helpers.fill_privacy() RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    home uuid; person uuid; text uuid; message uuid; task uuid; other uuid;
BEGIN
    INSERT INTO sales.addresses (street_address, city) VALUES ('7 rue Zyxstreet', 'Zyxcity') RETURNING address_id INTO home;
    INSERT INTO sales.prospects (first_name, last_name, email, phone, job_title, company_name, website, linkedin_url, twitter_url, blog_url, pain_points, notes, address_id,
                                 tender_opportunities, competitive_intel)
    VALUES ('Zyxanne', 'Qwopper', 'zyxold@qwopper.test', '+33 6 12 34 56 78', 'Zyxofficer', 'Zyxcorp', 'https://zyx.test', 'https://www.linkedin.com/in/zyxanne/',
            'https://x.test/zyxtweets', 'https://zyxblog.test', 'zyxpain', 'zyxnotes', home, '[{"t": "zyxtender"}]', '{"k": "zyxintel"}') RETURNING prospect_id INTO person;
    UPDATE sales.prospects SET email = 'zyxnew@qwopper.test' WHERE prospect_id = person;
    INSERT INTO sales.messages (prospect_id, channel, subject, content, ai_prompt_used, language)
    VALUES (person, 'email', 'zyxsubject', 'Dear Zyxanne', 'write to zyxanne', 'fr') RETURNING message_id INTO message;
    INSERT INTO sales.tasks (prospect_id, type, title, description, notes) VALUES (person, 'meeting', 'zyxtitle', 'zyxdescription', 'zyxtask') RETURNING task_id INTO task;
    INSERT INTO sales.interactions (prospect_id, channel, type, subject, content, response_received, response_content, interaction_date)
    VALUES (person, 'email', 'sent', 'zyxsubject', 'zyxcontent', true, 'zyxreply', '2026-11-02 10:00:00+00'),
           (person, 'phone', 'call_made', NULL, 'zyxcall', false, NULL, '2026-11-03 10:00:00+00');
    INSERT INTO sales.conversion_funnel (prospect_id, stage, stage_entered_at, deal_value, next_action)
    VALUES (person, 'client', '2026-11-04 10:00:00+00', 500, 'zyxaction');
    INSERT INTO sales.enrichments (prospect_id, enrichment_type, source_api, original_value, enriched_value, cost, status)
    VALUES (person, 'company_info', 'clearbit', '{"phone": "zyxbefore"}', '{"phone": "zyxafter"}', 0.25, 'completed');
    INSERT INTO sales.prospects (first_name, last_name, notes, address_id)
    VALUES ('Bob', 'Stays', 'met ZYXANNE QWOPPER (zyxold@qwopper.test, 0612345678) at Zürich; likes tea', NULL) RETURNING prospect_id INTO other;
    INSERT INTO sales.success_reports (report_type, report_period, key_metrics, sent_to_emails)
    VALUES ('monthly', '2026-01', '{"best": [{"who": "Qwopper, Zyxanne", "tel": 33612345678, "n": 3}]}', '["zyxnew@qwopper.test", "boss@stays.test"]');
    INSERT INTO sales.improvement_suggestions (suggestion_type, suggested_change, ai_reasoning) VALUES ('timing_adjustment', 'Write on Mondays', 'Zyxanne answered; so did Ms Qwopper''s team');
    PERFORM sales.import_csv(E'First Name,Last Name,Email,Company\nZyxanne,Qwopper,zyxold@@qwopper.test,Zyxcorp\nZoe,Stays,not-an-address,Kept\n');
    INSERT INTO sales.templates (name, language, subject_template, content_template)
    VALUES ('privacy', 'fr', '{{company_name}}', 'Bonjour {{first_name}} {{last_name}}') RETURNING template_id INTO text;
    PERFORM sales.generate_message(person, 'email', text);
END
$$;
CREATE FUNCTION helpers.person(of_company text) RETURNS uuid LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$ SELECT prospect_id FROM sales.prospects WHERE company_id = helpers.company(of_company) AND address_id IS NOT NULL OR erased_at IS NOT NULL AND company_id = helpers.company(of_company) $$;
-- Rows of a company, in all tables, in which the person is named (and no key, digest or hash that happens to have the digits or letters).
CREATE FUNCTION helpers.traces(of_company text) RETURNS TABLE (place text, rows bigint) LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    FOR place IN SELECT c.oid::regclass::text FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'company_id'
                 WHERE c.relnamespace IN ('sales'::regnamespace, 'sales_internal'::regnamespace) AND c.relkind IN ('r', 'p') AND NOT c.relispartition ORDER BY 1 LOOP
        EXECUTE format('SELECT count(*) FROM %s t WHERE company_id = $1 AND (to_jsonb(t) - ARRAY[''password_hash'', ''key_value''])::text ~* ''\mzyx|qwopper|(?<![0-9a-f])06 ?12 ?34''', place) INTO rows USING helpers.company(of_company);
        IF rows > 0 THEN RETURN NEXT; END IF;
    END LOOP;
END
$$;
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA helpers TO PUBLIC;
SET sales_assistant.clock = '2026-11-15 12:00:00+00';
:be_beta
SELECT helpers.fill_privacy();
:be_alpha
SELECT helpers.fill_privacy();
:be_super
SELECT sales_internal.run_jobs(100) > 0 AS ran;
:be_alpha
SELECT bool_and(sales.wait_job(job_id, '0 seconds') = 'done') AS worked FROM sales.jobs WHERE state IN ('queued', 'running') OR kind = 'generate_message';
SELECT sales.refresh_metrics() >= 0 AS refreshed;
SELECT * FROM helpers.traces('alpha');
CREATE TEMP TABLE before AS SELECT to_jsonb(a) - 'analytics_id' - 'created_at' AS row FROM sales.analytics a
UNION ALL SELECT to_jsonb(m) - 'metric_id' - 'created_at' FROM sales.success_metrics m;

-- export: everything, of this company alone
SELECT sales.gdpr_export(helpers.person('alpha')) AS export \gset
SELECT d ->> 'table' AS "table", jsonb_array_length(d -> 'rows') AS rows, d ->> 'purpose' AS purpose
FROM jsonb_array_elements(:'export'::jsonb -> 'data') d WHERE d ->> 'table' <> 'sales.audit_logs' ORDER BY 1;
SELECT s ->> 'source' AS source, s ->> 'detail' AS detail FROM jsonb_array_elements(:'export'::jsonb -> 'sources') s ORDER BY 1, 2;
SELECT r ->> 'recipient' AS recipient, r ->> 'why' AS why, r ->> 'times' AS times FROM jsonb_array_elements(:'export'::jsonb -> 'recipients') r ORDER BY 1, 2;
SELECT jsonb_pretty(:'export'::jsonb -> 'mentions') AS mentions;
SELECT jsonb_object_keys(:'export'::jsonb) AS key ORDER BY 1;
SELECT (SELECT count(*) FROM (SELECT DISTINCT m[1] FROM regexp_matches(:'export', '(zyx[a-z]+)', 'gi') m) x) AS different_words,
       strpos(:'export', helpers.company('beta')::text) = 0 AND strpos(:'export', helpers.person('beta')::text) = 0 AS nothing_of_beta;
SELECT action, table_name, record_id = helpers.person('alpha') AS of_the_person, user_id = sales.current_user_id() AS by_me
FROM sales.audit_logs WHERE action = 'export' ORDER BY audit_id DESC LIMIT 1;
-- who may
SELECT helpers.try(format('SELECT sales.gdpr_export(%L)', helpers.person('beta')));
SELECT helpers.try(format('SELECT sales.gdpr_erase(%L, ''art. 17'')', helpers.person('beta')));
SELECT helpers.try('SELECT sales.gdpr_export(NULL)');
SELECT helpers.try(format('SELECT sales.gdpr_erase(%L, %L)', helpers.person('alpha'), b)) FROM unnest('{NULL,"  ",xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx}'::text[]) b;
:be_super
INSERT INTO sales.users (company_id, email, role_id) SELECT company_id, name || '@privacy.test', role_id FROM sales.roles WHERE company_id = helpers.company('alpha') AND name IN ('viewer', 'seller');
SET SESSION AUTHORIZATION regress_app;
SELECT helpers.try('SELECT sales.gdpr_export(sales.uuidv7())');
:be_super
CREATE FUNCTION helpers.be_user(who text) RETURNS void LANGUAGE sql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS
$$ SELECT sales.set_tenant(company_id, user_id, false) FROM sales.users WHERE email = who $$;
SET SESSION AUTHORIZATION regress_app;
SELECT helpers.be_user('viewer@privacy.test');
SELECT helpers.try(format('SELECT sales.gdpr_export(%L)', helpers.person('alpha')));
SELECT helpers.try(format('SELECT sales.gdpr_erase(%L, ''art. 17'')', helpers.person('alpha')));
:be_super
SET SESSION AUTHORIZATION regress_app;
SELECT helpers.be_user('seller@privacy.test');
SELECT helpers.try(format('SELECT sales.gdpr_erase(%L, ''art. 17'')', helpers.person('alpha')));

-- erasure
:be_alpha
SELECT sales.gdpr_erase(helpers.person('alpha'), 'request of the person, art. 17');
SELECT * FROM helpers.traces('alpha');
SELECT count(*) AS visible FROM sales.prospects WHERE last_name IS DISTINCT FROM 'Stays';
-- what was said of others stays, but for the name
SELECT first_name, notes FROM sales.prospects;
SELECT key_metrics, sent_to_emails FROM sales.success_reports;
SELECT suggested_change, ai_reasoning FROM sales.improvement_suggestions;
SELECT row_number, reason, raw_text FROM sales.import_rejects ORDER BY 1;
SELECT kind, state, result, error FROM sales.jobs WHERE kind IN ('generate_message', 'analyze_sentiment') ORDER BY kind;
-- statistics stay to the cent
SELECT sales.refresh_metrics() >= 0 AS refreshed;
SELECT * FROM sales.check_metrics();
(SELECT row FROM before EXCEPT SELECT to_jsonb(a) - 'analytics_id' - 'created_at' FROM sales.analytics a EXCEPT SELECT to_jsonb(m) - 'metric_id' - 'created_at' FROM sales.success_metrics m);
-- the erasure is on record without its victim
SELECT action, gdpr_basis, new_values -> 'erased' AS erased FROM sales.audit_logs WHERE record_id = helpers.person('alpha') AND action = 'delete';
SELECT count(*) > 0 AS rows_stay, bool_and(coalesce(old_values, '{}') = '{}' AND coalesce(new_values, '{}') = '{}') AS values_gone
FROM sales.audit_logs WHERE record_id = helpers.person('alpha') AND action IN ('create', 'update');
-- the chain verifies, also over rows of a session without a name, such as the worker's
SET application_name = '';
UPDATE sales.prospects SET job_title = 'Tester' WHERE first_name = 'Bob';
SET application_name = 'privacy';
SELECT count(*) > 0 AS any, bool_and(ok) AS verifies FROM sales.verify_audit();
-- again: nothing to do, no error; an export has the bare rows
SELECT sales.gdpr_erase(helpers.person('alpha'), 'again');
SELECT sales.gdpr_export(helpers.person('alpha'))::text ~* 'zyx|qwopper' AS named;
-- the other company's person is untouched
:be_beta
SELECT bool_and(sales.wait_job(job_id, '0 seconds') = 'done') AS worked FROM sales.jobs WHERE state IN ('queued', 'running') OR kind = 'generate_message';
SELECT * FROM helpers.traces('beta');
SELECT count(*), min(email) FROM sales.prospects WHERE last_name = 'Qwopper';
:be_super
-- names of regular expressions' own characters, one name only, nothing known
:be_alpha
INSERT INTO sales.prospects (first_name, last_name, email) VALUES ('A.*(', 'B[x', 'a+b.c@stays.test'), ('Solo', NULL, NULL), (NULL, NULL, NULL);
INSERT INTO sales.prospects (first_name, notes) VALUES ('Witness', 'A.*( B[x wrote from a+b.c@stays.test, not from aab.c@stays.test nor xa+b.c@stays.test');
SELECT sales.gdpr_erase(prospect_id, 'art. 17') FROM sales.prospects WHERE first_name IS DISTINCT FROM 'Witness' AND last_name IS DISTINCT FROM 'Stays';
SELECT first_name, notes FROM sales.prospects ORDER BY first_name;
:be_super
DELETE FROM sales.users WHERE email LIKE '%@privacy.test';
DELETE FROM sales.messages;
DELETE FROM sales.templates WHERE name = 'privacy';
DELETE FROM sales_internal.jobs;
DELETE FROM sales.import_runs;
DROP FUNCTION helpers.fill_privacy, helpers.person, helpers.traces, helpers.be_user;
\i :clean
