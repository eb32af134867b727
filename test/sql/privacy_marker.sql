\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
-- A marker of the person in every column of the map: the export shows it, the erasure leaves it
-- nowhere in the database, and all that is of others is as it was, row by row.  Two companies of its own.
SELECT count(sales.create_company('Marker ' || c, 'marker-' || c || '.test', 'business', 'fr', 'Europe/Paris', 'admin@marker-' || c || '.test', 'marker-secret-1')) FROM unnest('{a,b}'::text[]) c;
\set be_a 'SET SESSION AUTHORIZATION regress_app; DO $b$ BEGIN PERFORM helpers.be(''marker-a''); END $b$;'
SET sales_assistant.clock = '2026-11-15 12:00:00+00';
-- What marks a person: of each company its own letter, of each column its own number.  (The
-- word stands nowhere whole: the search of the database must not find the test itself.)
CREATE TABLE helpers.marks AS
SELECT c.company, m.target, m.name, m.type, m.found_by, m.on_erase, 'zq' || c.company || 'ma' || 'rk' || to_char(m.n, 'FM000') AS mark
FROM (VALUES ('a'), ('b')) c (company), (SELECT p.*, row_number() OVER (ORDER BY p.target::text, p.number) AS n FROM sales_internal.personal_columns() p) m;
-- A text about the person, by its full name, for columns that may name anybody.
CREATE FUNCTION helpers.told(of text) RETURNS text LANGUAGE sql AS $$
    SELECT 'told by ' || string_agg(initcap(mark), ' ' ORDER BY name) || ' again' FROM helpers.marks
    WHERE company = of AND target = 'sales.prospects'::regclass AND name IN ('first_name', 'last_name') $$;
CREATE FUNCTION helpers.mark(of text, place regclass, which text) RETURNS text LANGUAGE sql AS
$$ SELECT mark FROM helpers.marks WHERE company = of AND target = place AND name = which $$;
-- Rows about a person of a company in every table of the map, as plain as can be.
CREATE FUNCTION helpers.fill_marker(of text) RETURNS uuid LANGUAGE plpgsql AS $$
DECLARE
    c uuid := helpers.company(CASE of WHEN 'a' THEN 'marker-a' ELSE 'marker-b' END);
    home uuid; person uuid; message uuid; run uuid; template uuid; campaign uuid; recipient uuid; file uuid; product uuid;
BEGIN
    INSERT INTO sales.addresses (company_id, street_address) VALUES (c, 'x') RETURNING address_id INTO home;
    INSERT INTO sales.prospects (company_id, first_name, address_id) VALUES (c, 'x', home) RETURNING prospect_id INTO person;
    INSERT INTO sales.messages (company_id, prospect_id, channel, content, language) VALUES (c, person, 'email', 'x', 'fr') RETURNING message_id INTO message;
    INSERT INTO sales.tasks (company_id, prospect_id, type, title) VALUES (c, person, 'meeting', 'x');
    -- in a partition of long ago, of now, and in the default one
    INSERT INTO sales.interactions (company_id, prospect_id, channel, type, interaction_date)
    SELECT c, person, 'email', 'sent', d FROM unnest('{1999-05-05,2026-11-02,2040-01-01}'::timestamptz[]) d;
    INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, stage_entered_at, deal_value) VALUES (c, person, 'client', '2026-11-04', 500);
    INSERT INTO sales.enrichments (company_id, prospect_id, enrichment_type, status) VALUES (c, person, 'company_info', 'completed');
    INSERT INTO sales.products (company_id, name) VALUES (c, 'x') RETURNING product_id INTO product;
    INSERT INTO sales.product_benefits (company_id, product_id, benefit_text) VALUES (c, product, 'x');
    INSERT INTO sales.templates (company_id, name, content_template) VALUES (c, 'x', 'x') RETURNING template_id INTO template;
    INSERT INTO sales.mailboxes (company_id, email) VALUES (c, 'box@' || of || '.test');
    INSERT INTO sales.email_campaigns (company_id, name) VALUES (c, 'x') RETURNING campaign_id INTO campaign;
    INSERT INTO sales.campaign_steps (company_id, campaign_id, step_number, template_id) VALUES (c, campaign, 1, template);
    INSERT INTO sales.campaign_recipients (company_id, campaign_id, prospect_id) VALUES (c, campaign, person) RETURNING recipient_id INTO recipient;
    INSERT INTO sales.email_events (company_id, recipient_id, prospect_id, event, at, event_key) VALUES (c, recipient, person, 'opened', '2026-11-05', 'x');
    INSERT INTO sales.consents (company_id, prospect_id, source) VALUES (c, person, 'x');
    INSERT INTO sales.suppressions (company_id, address_hash, reason) VALUES (c, '\x00', 'manual');
    INSERT INTO sales.success_reports (company_id, report_type, report_period) VALUES (c, 'monthly', '2026-01');
    INSERT INTO sales.improvement_suggestions (company_id, suggestion_type, suggested_change) VALUES (c, 'timing_adjustment', 'x');
    INSERT INTO sales.import_jobs (company_id, name, source_type, source_config)
    VALUES (c, 'x', 'csv', jsonb_build_object('data', E'name,email\n' || helpers.told(of) || ',x@stays.test'));
    INSERT INTO sales.import_runs (company_id, status) VALUES (c, 'failed') RETURNING run_id INTO run;
    INSERT INTO sales.import_rejects (company_id, run_id, row_number, reason) VALUES (c, run, 2, 'x');
    INSERT INTO sales_internal.import_changes (company_id, run_id, prospect_id) VALUES (c, run, person);
    -- files: two that name the person, two that only come along
    INSERT INTO sales.import_uploads (company_id, name, content) VALUES (c, 'x', 'email,nom
x@stays.test,Stays'), (c, 'x', convert_to(E'email,nom\nx@stays.test,' || helpers.told(of) || E'\n', 'UTF8'));
    INSERT INTO sales_internal.import_files (company_id, run_id, source_key, name, content, state)
    VALUES (c, run, 'x', 'x', 'email,nom
x@stays.test,Stays', 'failed'), (c, run, 'y', 'x', convert_to(E'email,nom\nx@stays.test,' || helpers.told(of) || E'\n', 'UTF8'), 'failed');
    INSERT INTO sales_internal.jobs (company_id, kind, state, finished_at, args) VALUES (c, 'generate_message', 'done', '2026-11-05', jsonb_build_object('prospect_id', person));
    RETURN person;
END
$$;
-- Each column of those rows gets its mark: of a JSON column in an object, of bytes as bytes.
-- What is found by being told of, the person's name.  In tables of the platform both companies' persons stand.
CREATE FUNCTION helpers.set_marks(of text, person uuid) RETURNS void LANGUAGE plpgsql AS $$
DECLARE
    c uuid := helpers.company(CASE of WHEN 'a' THEN 'marker-a' ELSE 'marker-b' END);
    m record;
    value text;
BEGIN
    FOR m IN SELECT t.*, EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.target AND a.attname = 'company_id') AS is_tenants,
                    EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = t.target AND a.attname = 'prospect_id') AS is_persons
             FROM helpers.marks t WHERE t.company = of AND t.found_by <> 'audit' ORDER BY t.target::text, t.name LOOP
        value := CASE WHEN m.found_by = 'mention' THEN helpers.told(of)
                      WHEN m.name = 'email' THEN m.mark || '@stays.test'
                      WHEN m.name = 'phone' THEN CASE of WHEN 'a' THEN '+33 6 99 1' || '7 55 31' ELSE '+33 6 99 1' || '7 55 32' END
                      WHEN m.name ~ '_url$|website' THEN 'https://' || m.mark || '.test/me' ELSE initcap(m.mark) END
                 -- one that is stored apart (TOAST)
                 || CASE WHEN m.name = 'content' THEN (SELECT string_agg(md5(g::text), ' ') FROM generate_series(1, 400) g) ELSE '' END;
        CONTINUE WHEN m.name IN ('args', 'last_error');
        -- one job is kept, not those that all these writes asked for
        DELETE FROM sales_internal.jobs WHERE company_id = c AND state <> 'done';
        EXECUTE format(CASE m.type WHEN 'jsonb'::regtype THEN 'UPDATE %s t SET %I = jsonb_build_object(''notes'', $1::text)'
                                   WHEN 'bytea'::regtype THEN 'UPDATE %s t SET %I = convert_to($1, ''UTF8'')' ELSE 'UPDATE %s t SET %I = $1' END
                       || ' WHERE t.company_id = $2' || CASE WHEN m.is_persons THEN ' AND t.prospect_id = $3'
                            WHEN m.target = 'sales.suppressions'::regclass THEN ' AND t.address_hash = ''\x00''' ELSE '' END, m.target, m.name)
        USING value, c, person;
    END LOOP;
    UPDATE sales_internal.jobs SET args = args || jsonb_build_object('about', helpers.mark(of, 'sales_internal.jobs', 'args')) WHERE company_id = c;
    UPDATE sales.mailboxes SET last_error = helpers.told(of) WHERE company_id = c;
    -- the audit log has it as the old value, too
    UPDATE sales.prospects SET notes = notes || ' more' WHERE company_id = c AND prospect_id = person;
END
$$;
-- Where it is found: every table of the database, whatever its schema, each partition by itself, large values and bytes too.
-- (But the planner's statistics, which the next ANALYZE makes anew.)
CREATE FUNCTION helpers.search(pattern text) RETURNS TABLE (place text, rows bigint) LANGUAGE plpgsql AS $$
DECLARE
    t regclass;
BEGIN
    FOR t IN SELECT c.oid FROM pg_class c WHERE c.relkind IN ('r', 'm') AND NOT pg_is_other_temp_schema(c.relnamespace) AND c.relnamespace <> pg_my_temp_schema()
             AND c.oid NOT IN ('helpers.marks'::regclass, 'pg_statistic'::regclass) ORDER BY c.oid::regclass::text LOOP
        EXECUTE format('SELECT count(*) FROM %s t WHERE t::text ~* $1', t) INTO rows USING pattern;
        place := coalesce(pg_partition_root(t), t)::text;
        IF rows > 0 THEN RETURN NEXT; END IF;
    END LOOP;
END
$$;
-- the marks of a company's person, as text and as bytes, and its number with and without blanks
CREATE FUNCTION helpers.pattern(of text) RETURNS text LANGUAGE sql AS $$
    SELECT m || '|' || encode(m::bytea, 'hex') || '|' || encode(initcap(m)::bytea, 'hex') || CASE of WHEN 'a' THEN '|6 ?99 ?17 ?55 ?31' ELSE '|6 ?99 ?17 ?55 ?32' END
    FROM (SELECT 'zq' || of || 'ma' || 'rk' AS m) x $$;
SELECT helpers.be('marker-a');
SELECT helpers.fill_marker('a') AS person_a \gset
SELECT helpers.set_marks('a', :'person_a');
:be_super
SELECT helpers.be('marker-b');
SELECT helpers.fill_marker('b') AS person_b \gset
SELECT helpers.set_marks('b', :'person_b');
:be_super
-- Alpha has another person, of whom nothing is the first's, and one who is told of the first
INSERT INTO sales.prospects (company_id, first_name, last_name, email, notes) VALUES
    (helpers.company('marker-a'), 'Bob', 'Stays', 'bob@stays.test', 'likes tea'), (helpers.company('marker-a'), 'Eve', 'Stays', 'eve@stays.test', helpers.told('a'));
-- rolls up, and gives each row its partition
SELECT bool_and(result NOT LIKE 'failed%') AS fine FROM sales.maintain();
-- tables of the platform: one line, both companies' persons
UPDATE sales_internal.periodic_tasks SET last_error = helpers.told('a') || '; ' || helpers.told('b') WHERE name = 'statistics';
INSERT INTO sales_internal.service_pace (service, api_key_id, next_turn, last_error)
VALUES ('marker', '00000000-0000-7000-8000-000000000001', '2026-11-15', helpers.told('a') || '; ' || helpers.told('b'));

-- Every column of the map has the mark of either person (a column that is added to the map must be filled above).
CREATE FUNCTION helpers.unmarked(of text) RETURNS TABLE (place text) LANGUAGE plpgsql AS $$
DECLARE
    m record;
    n bigint;
BEGIN
    FOR m IN SELECT * FROM helpers.marks t WHERE t.company = of ORDER BY t.target::text, t.name LOOP
        EXECUTE format('SELECT count(*) FROM %s t WHERE t.%I::text ~* $1', m.target, m.name) INTO n USING helpers.pattern(of);
        place := m.target || '.' || m.name;
        IF n = 0 THEN RETURN NEXT; END IF;
    END LOOP;
END
$$;
SELECT * FROM helpers.unmarked('a') UNION ALL SELECT * FROM helpers.unmarked('b');
SELECT place, count(*) > 1 AS in_partitions FROM helpers.search(helpers.pattern('a')) GROUP BY 1 ORDER BY 1;

-- Every row of the database, to be compared: Beta's, the platform's, and of Alpha what is not about the person.
CREATE FUNCTION helpers.rows() RETURNS TABLE (place text, company uuid, body text) LANGUAGE plpgsql AS $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT c.oid::regclass AS target, EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'company_id') AS is_tenants
             FROM pg_class c WHERE c.relkind IN ('r', 'p') AND NOT c.relispartition AND c.relnamespace IN ('sales'::regnamespace, 'sales_internal'::regnamespace, 'sales_bi'::regnamespace) LOOP
        RETURN QUERY EXECUTE format('SELECT %L, %s, t::text FROM %s t', t.target, CASE WHEN t.is_tenants THEN 't.company_id' ELSE 'NULL::uuid' END, t.target);
    END LOOP;
END
$$;
CREATE TEMP TABLE rows_before AS SELECT * FROM helpers.rows();
SELECT sales_internal.person_keys(helpers.company('marker-a'), :'person_a') AS keys \gset
GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA helpers TO PUBLIC;

-- The export shows each column that is the person's.
:be_a
SELECT sales.gdpr_export(:'person_a') AS export \gset
:be_super
SELECT target, name AS not_in_the_export FROM helpers.marks
WHERE company = 'a' AND (found_by <> 'mention' OR on_erase = 'erase') AND found_by <> 'audit' AND target <> 'sales.import_rejects'::regclass
  AND strpos(lower(:'export'), CASE WHEN name = 'phone' THEN '+33 6 99 17 55 31' WHEN type = 'bytea'::regtype THEN encode(initcap(mark)::bytea, 'hex') ELSE mark END) = 0 ORDER BY 1, 2;
SELECT d ->> 'table' AS "table", jsonb_array_length(d -> 'rows') > 0 AS shown FROM jsonb_array_elements(:'export'::jsonb -> 'data') d ORDER BY 1;
SELECT d ->> 'table' AS "table", (d ->> 'rows')::int > 0 AS mentioned FROM jsonb_array_elements(:'export'::jsonb -> 'mentions') d ORDER BY 1;
SELECT :'export' ~* helpers.pattern('b') OR strpos(:'export', helpers.company('marker-b')::text) > 0 AS anything_of_beta;

-- The erasure leaves none: a basis that names the person neither.
SELECT helpers.told('a') AS basis \gset
:be_a
SELECT sales.gdpr_erase(:'person_a', :'basis');
:be_super
SELECT * FROM helpers.search(helpers.pattern('a'));
SELECT gdpr_basis FROM sales.audit_logs WHERE record_id = :'person_a' AND action = 'delete';
-- what is to stay, stays: the hash of the address, the deal and the dates, the chain
SELECT reason, address_hash = sales_internal.address_hash(sales_internal.mail_key(helpers.company('marker-a')), helpers.mark('a', 'sales.prospects', 'email') || '@stays.test') AS is_the_hash
FROM sales.suppressions WHERE company_id = helpers.company('marker-a') AND reason = 'erased';
SELECT count(*) AS interactions, count(DISTINCT tableoid) AS partitions FROM sales.interactions WHERE prospect_id = :'person_a';
SELECT stage, deal_value FROM sales.conversion_funnel WHERE prospect_id = :'person_a' ORDER BY stage_entered_at;
:be_a
SELECT count(*) > 0 AS any, bool_and(ok) AS verifies FROM sales.verify_audit();
SELECT sales.refresh_metrics() >= 0 AS refreshed;
SELECT * FROM sales.check_metrics();
:be_super
-- Beta's rows: every one as it was, and no other
CREATE TEMP TABLE rows_after AS SELECT * FROM helpers.rows();
SELECT count(*) > 100 AS beta_has_rows FROM rows_before WHERE company = helpers.company('marker-b');
(SELECT place, body FROM rows_before WHERE company = helpers.company('marker-b') EXCEPT ALL SELECT place, body FROM rows_after WHERE company = helpers.company('marker-b'))
UNION ALL
(SELECT place, body FROM rows_after WHERE company = helpers.company('marker-b') EXCEPT ALL SELECT place, body FROM rows_before WHERE company = helpers.company('marker-b'));
SELECT count(*) > 0 AS beta_is_found FROM helpers.search(helpers.pattern('b'));
-- the platform's: where both were told of, one is
SELECT DISTINCT a.place, replace(regexp_replace(a.body, '.*(told by .*) again.*', '\1'), initcap('zqb' || 'mark'), 'B') AS now
FROM (SELECT place, body FROM rows_after WHERE company IS NULL EXCEPT ALL SELECT place, body FROM rows_before WHERE company IS NULL) a ORDER BY 1, 2;
-- Alpha's: what was neither the person's nor told of it is as it was
SELECT b.place, count(*) AS changed
FROM (SELECT place, body FROM rows_before WHERE company = helpers.company('marker-a') EXCEPT ALL SELECT place, body FROM rows_after WHERE company = helpers.company('marker-a')) b
WHERE b.body !~* helpers.pattern('a') AND NOT sales_internal.holds_key(b.body, :'keys') GROUP BY 1 ORDER BY 1;
SELECT first_name, notes FROM sales.prospects WHERE company_id = helpers.company('marker-a') AND last_name = 'Stays' ORDER BY 1;
-- nothing comes back by a late writer
SET client_min_messages = error;
INSERT INTO sales.messages (company_id, prospect_id, channel, content, language) VALUES (helpers.company('marker-a'), :'person_a', 'email', helpers.mark('a', 'sales.messages', 'content'), 'fr');
INSERT INTO sales.tasks (company_id, prospect_id, type, title) VALUES (helpers.company('marker-a'), :'person_a', 'meeting', helpers.mark('a', 'sales.tasks', 'title'));
INSERT INTO sales.consents (company_id, prospect_id, source) VALUES (helpers.company('marker-a'), :'person_a', helpers.mark('a', 'sales.consents', 'source'));
UPDATE sales.email_events SET detail = jsonb_build_object('x', helpers.mark('a', 'sales.email_events', 'detail')) WHERE prospect_id = :'person_a';
UPDATE sales.enrichments SET enriched_value = helpers.mark('a', 'sales.enrichments', 'enriched_value') WHERE prospect_id = :'person_a';
UPDATE sales.prospects SET first_name = helpers.mark('a', 'sales.prospects', 'first_name') WHERE prospect_id = :'person_a';
SELECT * FROM helpers.search(helpers.pattern('a'));
SET client_min_messages = warning;
DELETE FROM sales_internal.service_pace WHERE service = 'marker';
UPDATE sales_internal.periodic_tasks SET last_error = NULL WHERE name = 'statistics';
SELECT sales.delete_company(company_id) FROM sales.companies WHERE domain LIKE 'marker-_.test';
SELECT helpers.company('marker-a') IS NULL AND helpers.company('marker-b') IS NULL AS gone;
DROP FUNCTION helpers.told, helpers.mark, helpers.fill_marker, helpers.set_marks, helpers.search, helpers.pattern, helpers.unmarked, helpers.rows;
DROP TABLE helpers.marks;
