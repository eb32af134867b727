\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- An erasure and the files of imports: those that wait and those that failed go where they
-- name the person; what others sent, what is under way, and the other company's stay.
INSERT INTO sales.prospects (company_id, first_name, last_name, email) SELECT company_id, 'Zyxanne', 'Qwopper', 'zyxnew@qwopper.test' FROM sales.companies;
-- uploads in parts and encodings
INSERT INTO sales.import_uploads (company_id, upload_id, part, name, content)
SELECT company_id, ('00000000-0000-7000-8000-0000000000' || n || left(lower(c.name), 1))::uuid, part, v.name, content
FROM sales.companies c CROSS JOIN (VALUES
    ('1', 1, 'cut in parts', convert_to(E'email;nom\nstay@stays.test;\u00c9t\u00e9\nzyx', 'WIN1252')), ('1', 2, 'cut in parts', convert_to(E'new@qwopper.test;Q\n', 'WIN1252')),
    ('2', 1, 'of others, for Zyxanne Qwopper', convert_to(E'email;nom\nstay@stays.test;\u00c9t\u00e9\n', 'WIN1252')),
    ('3', 1, 'UTF-16', decode('fffe' || regexp_replace(encode(convert_to(E'nom\nZyxanne Qwopper\n', 'UTF8'), 'hex'), '(..)', '\100', 'g'), 'hex')),
    ('4', 1, 'header only', convert_to('zyxnew@qwopper.test,x', 'UTF8'))) v (n, part, name, content);
INSERT INTO sales.import_jobs (company_id, name, source_type, source_config)
SELECT company_id, 'privacy', 'csv', '{"data": "email,name\nzyxnew@qwopper.test,Zyxanne Qwopper\nstay@stays.test,Stays\n"}' FROM sales.companies;
WITH runs AS (
    INSERT INTO sales.import_runs (company_id, status, error)
    SELECT company_id, s, CASE s WHEN 'failed' THEN 'no header of the file is known' END FROM sales.companies, unnest('{failed,running}'::text[]) s RETURNING company_id, run_id, status)
INSERT INTO sales_internal.import_files (company_id, run_id, source_key, name, content, state)
SELECT r.company_id, r.run_id, v.name, v.name, convert_to(v.content, 'UTF8'), CASE r.status WHEN 'failed' THEN 'failed' ELSE 'new' END
FROM runs r JOIN (VALUES ('failed', 'named.csv', E'Who\nZyxanne Qwopper\n'), ('failed', 'part/1/2/0000000000', 'Wnl4'),
                         ('failed', 'stays.csv', E'Who\nStays\n'), ('running', 'way.csv', E'Who\nZyxanne Qwopper\n')) v (status, name, content) USING (status);
:be_alpha
SELECT sales.gdpr_erase(prospect_id, 'art. 17') FROM sales.prospects WHERE first_name = 'Zyxanne';
:be_super
SELECT c.name, u.upload_id, u.part, u.name FROM sales.import_uploads u JOIN sales.companies c USING (company_id) ORDER BY 1, 2, 3;
SELECT c.name, i.source_config ->> 'data' AS data FROM sales.import_jobs i JOIN sales.companies c USING (company_id) ORDER BY 1;
SELECT c.name, r.status, r.error FROM sales.import_runs r JOIN sales.companies c USING (company_id) ORDER BY 1, 2;
SELECT c.name, array_agg(f.name ORDER BY f.name) FROM sales_internal.import_files f JOIN sales.companies c USING (company_id) GROUP BY 1 ORDER BY 1;
SELECT c.name, l.new_values -> 'files' AS files, l.new_values -> 'redacted' AS redacted FROM sales.audit_logs l JOIN sales.prospects p ON p.prospect_id = l.record_id JOIN sales.companies c ON c.company_id = l.company_id WHERE l.gdpr_basis = 'art. 17' AND p.erased_at IS NOT NULL;
-- retention takes the files of old imports, those under way left alone
SET sales_assistant.clock = '2037-01-01 00:00:00+00';
SELECT sales_internal.retain_rejects(company_id) > 0 AS removed FROM sales.companies WHERE name = 'Beta';
SELECT c.name, array_agg(f.name ORDER BY f.name) FROM sales_internal.import_files f JOIN sales.companies c USING (company_id) GROUP BY 1 ORDER BY 1;
SELECT c.name, count(*) FROM sales.import_uploads u JOIN sales.companies c USING (company_id) GROUP BY 1;
RESET sales_assistant.clock;
DELETE FROM sales.import_runs;
DELETE FROM sales.import_jobs WHERE name = 'privacy';
DELETE FROM sales.import_uploads;
\i :clean
