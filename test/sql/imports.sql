\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- CSV imports: every row ends somewhere, nothing twice, nothing lost.
CREATE VIEW helpers.runs AS
SELECT status, dry_run AS dry, rows_read AS read, rows_inserted AS ins, rows_updated AS upd, rows_unchanged AS same,
       rows_duplicate AS dup, rows_rejected AS rej,
       rows_read = rows_inserted + rows_updated + rows_unchanged + rows_duplicate + rows_rejected AS adds_up
FROM sales.import_runs r WHERE started_at = (SELECT max(started_at) FROM sales.import_runs);
ALTER VIEW helpers.runs SET (security_invoker = true);
GRANT SELECT ON helpers.runs TO PUBLIC;
CREATE TEMP TABLE run (id uuid);
GRANT ALL ON run TO PUBLIC;
:be_alpha
-- a French export with semicolons, a quoted delimiter, a line break in a field
INSERT INTO run SELECT sales.import_csv(E'\uFEFFPrénom;Nom;Société;E-mail;Téléphone;Ville;Budget;Remarques\r\n'
    'Camille;"Le;Goff";Atelier Test;camille@atelier.test;+33 1 23;Paris;1.200,50 €;"ligne 1\r\nligne 2"\r\n'
    'Léa;Petit;;lea@@atelier.test;;Lyon;;\r\n'
    'Luc;;;;;;;\r\n'
    ';;;;;;beaucoup;\r\n'
    ';;Seule Société;;;;;\r\n'
    'Camille;Le Goff;;CAMILLE@atelier.test;;;;\r\n'
    'Trop;Court\r\n');
SELECT * FROM helpers.runs;
SELECT row_number, column_name, reason FROM sales.import_rejects ORDER BY row_number;
SELECT first_name, last_name, company_name, phone, estimated_budget_amount AS budget, source, city
FROM sales.prospects LEFT JOIN sales.addresses USING (company_id, address_id) ORDER BY first_name;
-- the same again changes nothing; a later file updates
SELECT sales.import_csv(E'First Name,Last Name,Email\nCamille,Le;Goff,camille@atelier.test\n') IS NOT NULL AS done;
SELECT * FROM helpers.runs;
INSERT INTO run SELECT sales.import_csv(E'Email,Job Title\ncamille@atelier.test,Gérante\nnew@atelier.test,Boss\n');
SELECT * FROM helpers.runs;
SELECT sales.import_csv(E'Email,Job Title\ncamille@atelier.test,Other\n', options => '{"update": "empty"}') IS NOT NULL AS done;
SELECT * FROM helpers.runs;
SELECT sales.import_csv(E'Email,Job Title\ncamille@atelier.test,Other\nx@y.test,Z', options => '{"dry_run": true}') IS NOT NULL AS done;
SELECT * FROM helpers.runs;
SELECT email, job_title FROM sales.prospects WHERE email IS NOT NULL ORDER BY email;
-- by hand: mapping, transforms, constants
SELECT sales.import_csv(E'Who|Mail|Money\nGrace Hopper|GRACE@NAVY.TEST|1.000,5\n',
    '{"Who": "full_name", "Mail": {"column": "email", "transform": ["lower"]}, "Money": {"column": "estimated_budget_amount", "transform": ["decimal_comma"]}, "constants": {"notes": "by hand"}}') IS NOT NULL AS done;
SELECT first_name, last_name, email, estimated_budget_amount, notes FROM sales.prospects WHERE last_name = 'Hopper';
-- bad input
SELECT sales.import_csv('');
SELECT sales.import_csv(E'a,b\n1,2\n');
SELECT sales.import_csv(E'Email\nx@y.test\n', '{"Mail": "email"}');
SELECT sales.import_csv(E'Email\nx@y.test\n', '{"Email": "password_hash"}');
SELECT sales.import_csv(E'Email\nx@y.test\n', options => '{"delimiter": "ab"}');
SELECT sales.import_csv(E'Email\nx@y.test\n', options => '{"nonsense": 1}');
SELECT sales.import_csv(E'Email\nx@y.test\n', options => '{"product_id": "00000000-0000-7000-8000-000000000001"}');
SELECT sales.import_csv(E'Email,Notes\nq@y.test,"never closed\n') IS NOT NULL AS done;
SELECT * FROM helpers.runs;
-- undo, newest first
SELECT sales.undo_import(id) FROM (SELECT id FROM run ORDER BY id DESC LIMIT 1) r;
SELECT email, job_title FROM sales.prospects WHERE email LIKE '%atelier.test' ORDER BY email;
SELECT helpers.try(format('SELECT sales.undo_import(%L)', (SELECT max(id::text) FROM run)));
DELETE FROM run WHERE id = (SELECT max(id::text)::uuid FROM run);
SELECT sales.undo_import(id) FROM (SELECT id FROM run ORDER BY id DESC LIMIT 1) r;
-- an import that failed keeps no other from being tried in the same transaction
DO $$
BEGIN
    FOR i IN 1 .. 3 LOOP
        BEGIN
            PERFORM sales.import_csv(E'Email\nagain@atelier.test\n', NULL, CASE WHEN i < 3 THEN '{"delimiter": ",,"}' ELSE '{}' END::jsonb);
            RAISE WARNING 'imported';
        EXCEPTION WHEN invalid_parameter_value THEN
            RAISE WARNING '%', SQLERRM;
        END;
    END LOOP;
    RAISE EXCEPTION 'and taken back';
END
$$;
-- the other company: neither seen, nor matched, nor undone
:be_beta
SELECT count(*) FROM sales.import_runs;
SELECT helpers.try(format('SELECT sales.undo_import(%L)', (SELECT min(id::text) FROM run)));
SELECT sales.import_csv(E'Email\ncamille@atelier.test\n') IS NOT NULL AS done;
SELECT ins, same FROM helpers.runs;
:be_super
SELECT count(*) FROM sales_internal.import_changes WHERE before = '{}';
DROP VIEW helpers.runs;
