\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- What a row becomes: matching, updates, addresses, values, and what is no row.
CREATE VIEW helpers.last_run WITH (security_invoker = true) AS
SELECT dry_run AS dry, rows_read AS read, rows_inserted AS ins, rows_updated AS upd, rows_unchanged AS same, rows_duplicate AS dup,
       rows_rejected AS rej FROM sales.import_runs r WHERE started_at = (SELECT max(started_at) FROM sales.import_runs);
CREATE VIEW helpers.people WITH (security_invoker = true) AS
SELECT coalesce(first_name, '-') || ' ' || coalesce(last_name, '-') AS name, email, phone, linkedin_url, company_name, notes FROM sales.prospects;
GRANT SELECT ON helpers.last_run, helpers.people TO PUBLIC;
CREATE TABLE helpers.kept (n serial, id uuid);
GRANT ALL ON helpers.kept TO PUBLIC;
GRANT ALL ON SEQUENCE helpers.kept_n_seq TO PUBLIC;
:be_beta
SELECT sales.import_csv(E'First Name,Last Name,Email,Phone,LinkedIn,Company\nAda,Lovelace,ada@engine.test,+44 20 7946 0958,linkedin.com/in/ada,Engine\n') IS NOT NULL AS done;
:be_alpha
INSERT INTO sales.prospects (first_name, last_name, email, phone, linkedin_url, company_name) VALUES
    ('Ada', 'Lovelace', 'Ada@Engine.test', NULL, NULL, NULL), ('Alan', 'Turing', NULL, '+33 6 12 34 56 78', NULL, 'Bletchley'),
    ('Grace', 'Hopper', NULL, NULL, 'https://www.linkedin.com/in/GraceHopper/', 'Navy'), ('Edsger', 'Dijkstra', 'e@dijkstra.test', '0102030405', NULL, 'THE');
-- the rules in order; a telephone or a name does not match against an e-mail address
SELECT sales.import_csv(E'Prénom;Nom;E-mail;Téléphone;LinkedIn;Société;Notes\n'
    'Ada;;ada@engine.test;;;;by e-mail\n'
    ';;;06.12.34.56.78;;;by phone\n'
    ';;g@hopper.test;;http://fr.linkedin.com/in/gracehopper?x=1;;by LinkedIn\n'
    'edsger;DIJKSTRA;;;;the;by name and company\n'
    'Edsger;Dijkstra;other@dijkstra.test;;;THE;another e-mail: another person\n'
    'Barbara;Liskov;;+33612345678;;;same phone, another name\n'
    ';;;0000000000;;;a phone of zeros tells nobody apart\n'
    ';;;00 00 00 00 00;;;nor here\n') IS NOT NULL AS done;
SELECT * FROM helpers.last_run;
SELECT * FROM helpers.people ORDER BY notes COLLATE "C", name;
-- within one file, by each rule; the first row counts
SELECT sales.import_csv(E'first name,last name,email,phone,linkedin,company,notes\n'
    'Tim,Lee,tim@w3.test,,,,1\nT,L,TIM@w3.test,,,,2\n'
    'Vint,,,+1 (202) 555-0101,,,3\n,Cerf,,12025550101,,,4\n'
    ',,,,linkedin.com/in/radia,,5\nRadia,Perlman,radia@mst.test,,https://linkedin.com/in/Radia,,6\n'
    'Ken,Thompson,,,,Bell,7\nken,thompson,,+1 202 555 0177,,BELL,8\nJust,Aname,,,,,9\n') IS NOT NULL AS done;
SELECT * FROM helpers.last_run;
SELECT name, notes FROM helpers.people WHERE notes ~ '^\d$' ORDER BY notes;
-- the same file again changes nothing, though its rows match in other ways now
SELECT sales.import_csv(E'first name,last name,email,phone,linkedin,company,notes\n'
    'Tim,Lee,tim@w3.test,,,,1\nT,L,TIM@w3.test,,,,2\n'
    'Vint,,,+1 (202) 555-0101,,,3\n,Cerf,,12025550101,,,4\n'
    ',,,,linkedin.com/in/radia,,5\nRadia,Perlman,radia@mst.test,,https://linkedin.com/in/Radia,,6\n'
    'Ken,Thompson,,,,Bell,7\nken,thompson,,+1 202 555 0177,,BELL,8\nJust,Aname,,,,,9\n') IS NOT NULL AS done;
SELECT * FROM helpers.last_run;
-- addresses: made, changed beside the old one, restored by undo
SELECT sales.import_csv(E'email,city,country\ntim@w3.test,Geneva,Switzerland\n') IS NOT NULL AS done;
INSERT INTO helpers.kept (id) SELECT sales.import_csv(E'email,city\ntim@w3.test,London\nnew@w3.test,Boston\n');
SELECT * FROM helpers.last_run;
SELECT p.email, a.city, a.country FROM sales.prospects p JOIN sales.addresses a USING (company_id, address_id) ORDER BY p.email;
SELECT sales.import_csv(E'email,city\ntim@w3.test,London\nnew@w3.test,Boston\n') IS NOT NULL AS done;
SELECT * FROM helpers.last_run;
SELECT sales.undo_import(id) FROM helpers.kept ORDER BY n DESC LIMIT 1;
SELECT p.email, a.city, a.country FROM sales.prospects p JOIN sales.addresses a USING (company_id, address_id) ORDER BY p.email;
SELECT count(*) FROM sales.addresses WHERE city IN ('Geneva', 'London', 'Boston');
-- what was written since stays: a value of one who was known, and one who was new, hidden
INSERT INTO helpers.kept (id) SELECT sales.import_csv(E'email,first name,job title,budget\ntim@w3.test,Timothy,Sir,10.5\nhand@w3.test,Hand,,\nplain@w3.test,Plain,,\n');
UPDATE sales.prospects SET job_title = 'Inventor' WHERE email = 'tim@w3.test';
UPDATE sales.prospects SET notes = 'called' WHERE email = 'hand@w3.test';
SELECT sales.undo_import(id) FROM helpers.kept ORDER BY n DESC LIMIT 1;
SELECT email, first_name, job_title, estimated_budget_amount FROM sales.prospects WHERE email IN ('tim@w3.test', 'hand@w3.test', 'plain@w3.test');
:be_super
SELECT email, notes, deleted_at IS NOT NULL AS hidden FROM sales.prospects WHERE email IN ('hand@w3.test', 'plain@w3.test');
DELETE FROM sales.prospects WHERE email = 'hand@w3.test';
:be_alpha
-- values: amounts and their currencies, dates with a format in the company's timezone, sizes, sectors, several telephones, full names
SELECT sales.import_csv(E'name\temail\tbudget\tadded\tsize\tsector\tWork Direct Phone\tMobile Phone\n'
    'Lovelace, Ada\ta1@v.test\t1 234,50 €\t31/01/2026 13:30\t1,234\tConstruction\t\t+1 202 555 0101\n'
    'Alan M. Turing\ta2@v.test\t$1,200.75\t01/07/2026 00:00\t11 - 50\tF\t+1 202 555 0102\t+1 202 555 0103\n'
    'Cher\ta3@v.test\t1.250.000,00\t\t7\tnone known\t+44 (0)20 7946 0000 ext 12\t\n'
    'Bob\ta4@v.test\t-3,5\t\t\t\t\t\nBob\ta5@v.test\tmuch\t\t\t\t\t\nBob\ta6@v.test\t123456789\t\t\t\t\t\nBob\ta7@v.test\t\t31/02/2026 10:00\t\t\t\t\n',
    '{"name": "full_name", "email": "email", "budget": "estimated_budget_amount", "added": {"column": "created_at", "transform": "date:DD/MM/YYYY HH24:MI"},
      "size": "company_size", "sector": "industry", "Work Direct Phone": "phone", "Mobile Phone": "phone"}') IS NOT NULL AS done;
SELECT * FROM helpers.last_run;
SELECT p.first_name, p.last_name, p.estimated_budget_amount AS budget, p.estimated_budget_currency AS cur, z.size_range, i.name AS sector, p.phone,
       CASE WHEN p.created_at < '2026-09-01' THEN p.created_at END AS added
FROM sales.prospects p LEFT JOIN sales.company_sizes z ON z.size_id = p.company_size_id LEFT JOIN sales.industries i USING (industry_id)
WHERE email LIKE 'a_@v.test' ORDER BY email;
SELECT row_number, column_name, reason FROM sales.import_rejects JOIN sales.import_runs r USING (run_id)
WHERE started_at = (SELECT max(started_at) FROM sales.import_runs) ORDER BY 1;
-- what is no row costs itself and no other
SELECT sales.import_csv(E'email,notes\n"b1@x.test",fine\nb2@x.test,"opened\nb3@x.test,next\nb4@x.test,a "b" c\nb5@x.test,"a" b\n\\.\nb6@x.test,"two\nlines"\n'
    'b7@x.test,bare \r return\nb8@x.test,5" pipe 3" long,,\nb9@x.test,too,many\nb10@x.test,' || repeat('x', 100001) || E'\n' || E'b11@x.test,last') IS NOT NULL AS done;
SELECT * FROM helpers.last_run;
SELECT row_number, column_name, reason, left(raw_text, 30) AS raw, length(raw_text) FROM sales.import_rejects JOIN sales.import_runs r USING (run_id)
WHERE started_at = (SELECT max(started_at) FROM sales.import_runs) ORDER BY 1;
SELECT email, notes FROM helpers.people WHERE email ~ '^b\d+@' ORDER BY email;
-- a dry run reports what the real one does, and writes nothing
SELECT sales.import_csv(E'email,notes\nb1@x.test,changed\nb1@x.test,again\nnew1@x.test,\nbad,\n', options => '{"dry_run": true}') IS NOT NULL AS done;
SELECT * FROM helpers.last_run;
SELECT count(*) FROM sales.prospects WHERE email = 'new1@x.test' OR notes = 'changed';
SELECT count(*) FROM sales.import_rejects JOIN sales.import_runs r USING (run_id) WHERE dry_run;
SELECT sales.import_csv(E'email,notes\nb1@x.test,changed\nb1@x.test,again\nnew1@x.test,\nbad,\n') IS NOT NULL AS done;
SELECT * FROM helpers.last_run;
-- bytes in any encoding; the option names one
SELECT sales.import_csv('\x4e6f6d3b652d6d61696c0d0a526fe93b726f406c2e746573740d0a'::bytea) IS NOT NULL AS done;
SELECT detected FROM sales.import_runs WHERE started_at = (SELECT max(started_at) FROM sales.import_runs);
SELECT name FROM helpers.people WHERE email = 'ro@l.test';
SELECT sales.import_csv('\x4e6f6d'::bytea, options => '{"encoding": "EBCDIC-OF-MARS"}');
SELECT sales.import_csv('\x4e6f6d'::bytea, options => '{"encoding": "UTF-8//IGNORE"}');
-- many rows, several batches: duplicates and updates across them
SELECT sales.import_csv('email,last name' || E'\n' || string_agg(format('p%s@many.test,N%s', i % 15000, i), E'\n' ORDER BY i)) IS NOT NULL AS done FROM generate_series(0, 24999) i;
SELECT * FROM helpers.last_run;
SELECT bool_and(last_name = 'N' || substr(email, 2, strpos(email, '@') - 2)) FROM sales.prospects WHERE email LIKE '%@many.test';
-- mistakes
SELECT sales.import_csv(E'Email\nx@y.test\n', '[]');
SELECT sales.import_csv(E'Email\nx@y.test\n', '{"Email": {"column": "email", "transform": ["shout"]}}');
SELECT sales.import_csv(E'Email\nx@y.test\n', options => '[]');
SELECT sales.import_csv(E'Email\nx@y.test\n', options => '{"dry_run": "yes"}');
SELECT sales.import_csv(E'Email,"Na"me\nx@y.test,\n');
SELECT count(*) FROM sales.import_runs WHERE status <> 'done' AND status <> 'undone';
:be_beta
SELECT name, notes FROM helpers.people;
:be_super
DROP VIEW helpers.people, helpers.last_run;
DROP TABLE helpers.kept;
