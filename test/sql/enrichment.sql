\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- Enrichment without a service: rows and their states, pages, apply and revert, expiry, intelligence.
:be_super
DELETE FROM sales_internal.jobs;
-- what a page tells
SELECT key, value FROM jsonb_each_text(sales_internal.read_page($$<!DOCTYPE html [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;"> <!ENTITY x SYSTEM "file:///etc/passwd">]>
<html lang=it><head><title>Officine &amp; Figli &b; &x;</title><meta name=Description content="Torneria   di&#10;precisione">
<meta property="og:site_name" content="Officine"><script type="application/ld+json">{"@graph": [{"@type": "WebPage"}, {"@type": ["LocalBusiness"],
 "name": "Officine Figli srl", "telephone": "+39 02 123456", "numberOfEmployees": {"value": 120}, "foundingDate": "1971-05-01",
 "address": {"streetAddress": "Via Roma 1", "addressLocality": "Milano", "postalCode": "20121", "addressCountry": {"name": "Italia"}},
 "sameAs": ["https://www.facebook.com/x", "https://it.linkedin.com/company/officine"]}]}</script><script>var a = "<a href='mailto:no@no.no'>";</script></head>
<body><a href="mailto:Info%40officine.example?subject=x">m</a><a href="https://evil.example/?linkedin.com/in/x">no</a>
<a href="https://twitter.com/share?url=x">share</a><a href="https://twitter.com/officine">t</a><a href="/blog/">b</a>$$)) ORDER BY key;
-- hostile pages: deep, endless, broken, empty, no HTML at all; each is read, and quickly enough to be read here
SELECT sales_internal.read_page(repeat('<div>', 500000) || '<title>deep</title>') AS deep,
       sales_internal.read_page(repeat('<p>', 500000)) AS many,
       length(sales_internal.read_page('<title>' || repeat('x', 3000000)) ->> 'title') AS endless,
       length(sales_internal.read_page('<title>' || repeat('é', 3000) || '</title>') ->> 'title') AS cut,
       sales_internal.read_page(repeat('<a href="', 100000)) AS attributes,
       sales_internal.read_page('<title>a&#0;b&#xD800;&#x110000;c</title>') ->> 'title' IS NOT NULL AS references,
       sales_internal.read_page('') AS empty, sales_internal.read_page('{"json": 1}') AS other,
       sales_internal.read_page('<script type="application/ld+json">' || repeat('[', 100000) || '</script><title>after</title>') AS nested;
-- pages broken at random: each is read
SELECT setseed(0.42) IS NOT NULL AS seeded;
DO $$
DECLARE
    page text := '<html lang=fr><head><title>T &amp; t</title><meta name=description content="d"><script type="application/ld+json">{"@type":"Organization","name":"N","address":[{"addressLocality":"x"}],"sameAs":["https://x.com/a",1,null]}</script></head><body><a href="mailto:a%zz@b.c?x">x</a><!-- c --><a href=tel:+33>y</a><![CDATA[z]]></body></html>';
    bits text[] := ARRAY['<', '>', '"', '''', '&', '&#', ';', '<!--', '-->', '<script type="application/ld+json">', '</script>', '<title>', '%', E'\u0001', 'é', '{', '[', '\u0000', '<![CDATA[', '<?', '</'];
    broken text;
BEGIN
    FOR i IN 1 .. 5000 LOOP
        broken := page;
        FOR j IN 1 .. 1 + floor(random() * 6) LOOP
            broken := overlay(broken PLACING bits[1 + floor(random() * array_length(bits, 1))] FROM 1 + floor(random() * length(broken))::integer
                              FOR floor(random() * 40)::integer);
        END LOOP;
        IF jsonb_typeof(sales_internal.read_page(broken)) <> 'object' THEN
            RAISE EXCEPTION 'no object for %', broken;
        END IF;
        PERFORM sales_internal.clean_found(sales_internal.read_page(broken));
    END LOOP;
END
$$;
SELECT base, target, sales_internal.resolve_url(base, target) FROM (VALUES ('https://a.example/x/y', '../z?q=1#f'), ('https://a.example/', '//b.example/c'),
    ('https://a.example/x', 'http://c.example'), ('https://a.example/', 'javascript:alert(1)'), ('https://a.example', 'file:///etc/passwd'), ('https://a.example/x', '')) v (base, target);
-- what a stranger gives as values of columns
SELECT sales_internal.clean_found('{"website": "javascript:alert(1)", "linkedin_url": "linkedin.com/in/ada", "twitter_url": "https://twitter.com/a b", "blog_url": "https://b.example/x",
    "phone": "call me", "company_phone": "+33 (0)1 02-03", "email": "no@@no", "company_email": "Info@X.example", "title": "T"}');
-- addresses: syntax and lists need no DNS
SELECT a, v.verdict ->> 'status' AS status, v.verdict ->> 'reason' AS reason, v.verdict - '{status,reason}'::text[] AS more, v.confidence
FROM (VALUES (1, 'ada@@x', NULL), (2, 'ada@mailinator.com', NULL), (3, 'ada@eu.mailinator.com', NULL), (4, 'ada@client.example', NULL), (5, 'Ada@client.example', 'mx'),
    (6, 'INFO@client.example', 'mx'), (7, 'info+x@gmail.com', 'mx'), (8, 'a@x.example', 'null_mx'), (9, 'a@x.example', 'no_domain'), (10, 'a@x.example', 'no_mail'),
    (11, 'a@x.example', 'address'), (12, 'a@x.example', 'unknown'), (13, 'prénom@société.fr', 'mx')) t (n, a, dns)
CROSS JOIN LATERAL sales_internal.local_email(a, dns) v ORDER BY n;
-- a look-up is a row from the start, one for each job
:be_alpha
INSERT INTO sales.prospects (first_name, email, website) VALUES ('Ada', 'ada@mailinator.com', NULL) RETURNING prospect_id \gset
SELECT sales.enrich(:'prospect_id', 'email_validation') AS job, sales.enrich(:'prospect_id', 'email_validation') AS again \gset
SELECT :'job' = :'again' AS one_job, sales.enrich(:'prospect_id', 'website') IS NOT NULL AS other_job, sales.enrich(:'prospect_id', 'twitter') AS cancelled \gset
SELECT sales.cancel_job(:'cancelled');
SELECT enrichment_type, status, source_api, error FROM sales.enrichments ORDER BY enrichment_type;
:be_beta
SELECT count(*) FROM sales.enrichments;
SELECT helpers.try(format('SELECT sales.enrich(%L, ''website'')', :'prospect_id')), helpers.try(format('SELECT sales.refresh_intel(%L, ''tenders'')', :'prospect_id'));
:be_super
SELECT sales_internal.run_jobs();
:be_alpha
SELECT enrichment_type, status, source_api, enriched_value::jsonb ->> 'status' AS found, error, cost, expires_at > now() + interval '89 days' AS fresh FROM sales.enrichments ORDER BY enrichment_type;
SELECT sales.retry_job(:'cancelled');
:be_super
SELECT sales_internal.run_jobs();
:be_alpha
SELECT enrichment_type, status, error FROM sales.enrichments ORDER BY enrichment_type;
-- apply and revert: values of the moment of applying, kept apart from what was changed since
:be_super
INSERT INTO sales.enrichments (company_id, prospect_id, enrichment_type, source_api, original_value, enriched_value, confidence_score, status)
VALUES (helpers.company('alpha'), :'prospect_id', 'company_info', 'clearbit', '{}',
    '{"phone": "+39 02 1", "company_name": "Officine", "employees": "120", "nace_code": "25.62", "city": "Milano", "country": "Italia", "website": "https://officine.example", "title": "x"}', 0.9, 'completed')
RETURNING enrichment_id \gset
:be_alpha
UPDATE sales.prospects SET phone = '0123' WHERE prospect_id = :'prospect_id';
SELECT helpers.try(format('SELECT sales.revert_enrichment(%L)', :'enrichment_id'));
SELECT sales.apply_enrichment(:'enrichment_id'), sales.apply_enrichment(:'enrichment_id');
SELECT p.phone, p.company_name, p.website, z.size_range, i.name AS sector, a.city, a.country
FROM sales.prospects p LEFT JOIN sales.company_sizes z ON z.size_id = p.company_size_id LEFT JOIN sales.industries i USING (industry_id) LEFT JOIN sales.addresses a USING (address_id)
WHERE p.prospect_id = :'prospect_id';
SELECT applied_by = sales.current_user_id() AS by_me, original_value::jsonb ->> 'phone' AS phone_before FROM sales.enrichments WHERE enrichment_id = :'enrichment_id';
UPDATE sales.prospects SET company_name = 'Officine Figli' WHERE prospect_id = :'prospect_id';
\set VERBOSITY default
SET client_min_messages = notice;
SELECT sales.revert_enrichment(:'enrichment_id');
SET client_min_messages = warning;
\set VERBOSITY terse
SELECT phone, company_name, website, company_size_id, industry_id, address_id FROM sales.prospects WHERE prospect_id = :'prospect_id';
SELECT count(*) AS addresses_left FROM sales.addresses WHERE city = 'Milano';
SELECT helpers.try(format('SELECT sales.revert_enrichment(%L)', :'enrichment_id'));
SELECT sales.apply_enrichment(:'enrichment_id');
SELECT sales.revert_enrichment(:'enrichment_id');
SELECT phone, company_name FROM sales.prospects WHERE prospect_id = :'prospect_id';
:be_beta
SELECT helpers.try(format('SELECT sales.apply_enrichment(%L)', :'enrichment_id')), helpers.try(format('SELECT sales.revert_enrichment(%L)', :'enrichment_id'));
-- time goes by: expired, and looked up again where the company wants it
:be_alpha
INSERT INTO sales.system_settings (category, key_name, value, data_type) VALUES ('enrichment', 'renew', 'true', 'boolean'), ('enrichment', 'keep_days_email_validation', 'soon', 'string');
:be_super
UPDATE sales.enrichments SET expires_at = now() - interval '1 second' WHERE enrichment_type = 'email_validation';
SELECT sales_internal.expire_enrichments() AS expired;
SELECT sales_internal.expire_enrichments() AS none_twice;
:be_alpha
SELECT enrichment_type, status FROM sales.enrichments WHERE enrichment_type = 'email_validation' ORDER BY created_at;
SELECT helpers.try(format('SELECT sales.apply_enrichment(%L)', enrichment_id)) FROM sales.enrichments WHERE status = 'expired';
:be_super
SELECT sales_internal.run_jobs();
:be_alpha
SELECT status, expires_at > now() + interval '89 days' AS a_wrong_setting_is_no_setting FROM sales.enrichments WHERE enrichment_type = 'email_validation' ORDER BY created_at;
DELETE FROM sales.system_settings WHERE category = 'enrichment';
-- intelligence
SELECT helpers.try(format('SELECT sales.refresh_intel(%L, ''weather'')', :'prospect_id'));
INSERT INTO sales.system_settings (category, key_name, value, data_type) VALUES ('ai', 'enabled', 'false', 'boolean');
SELECT sales.refresh_intel(:'prospect_id', 'tenders') AS job \gset
:be_super
SELECT sales_internal.run_jobs();
SELECT state, error FROM sales_internal.jobs WHERE job_id = :'job';
:be_alpha
UPDATE sales.prospects SET industry_id = '5a1e5000-0000-7000-9000-000000000003', company_name = 'Officine Rossi' WHERE prospect_id = :'prospect_id';
INSERT INTO sales.prospects (first_name, company_name, industry_id, status) VALUES
    ('a', 'Torni SpA', '5a1e5000-0000-7000-9000-000000000003', 'client'), ('b', 'Frese srl', '5a1e5000-0000-7000-9000-000000000003', 'nouveau'),
    ('c', 'frese SRL', '5a1e5000-0000-7000-9000-000000000003', 'nouveau'), ('d', 'Banca', '5a1e5000-0000-7000-9000-000000000011', 'client'), ('e', 'officine rossi', '5a1e5000-0000-7000-9000-000000000003', 'nouveau');
:be_beta
INSERT INTO sales.prospects (first_name, company_name, industry_id) VALUES ('z', 'Of another tenant', '5a1e5000-0000-7000-9000-000000000003');
:be_alpha
SELECT sales.refresh_intel(:'prospect_id', 'competitors') AS job, sales.refresh_intel(:'prospect_id', 'tenders') AS tenders \gset
:be_super
SELECT sales_internal.run_jobs();
:be_alpha
SELECT state, error, result FROM sales.jobs WHERE job_id IN (:'job', :'tenders') ORDER BY state;
SELECT competitive_intel - 'updated_at' AS intel FROM sales.prospects WHERE prospect_id = :'prospect_id';
-- what was found a month ago is looked up again, and not more than once a day
:be_super
UPDATE sales.prospects SET tender_opportunities = '[{"title": "Ponte", "deadline": "2099-01-31", "source": "ted"}, {"title": "Old", "deadline": "2020-01-31"}, {"title": "Bad", "deadline": "2099-13-99"}, 7]',
    tender_last_update = now() - interval '31 days' WHERE prospect_id = :'prospect_id';
DELETE FROM sales_internal.jobs;
SELECT sales_internal.renew_intel() AS renewed;
SELECT kind, args ->> 'kind' AS what FROM sales_internal.jobs;
UPDATE sales_internal.jobs SET state = 'failed';
SELECT sales_internal.renew_intel() AS none_within_a_day;
SELECT title, deadline FROM sales_internal.open_tenders((SELECT tender_opportunities FROM sales.prospects WHERE prospect_id = :'prospect_id'));
-- a like prospect of the same day needs no call
:be_super
UPDATE sales.prospects SET tender_last_update = now() WHERE prospect_id = :'prospect_id';
:be_alpha
SELECT sales.refresh_intel(prospect_id, 'tenders') AS job FROM sales.prospects WHERE company_name = 'Frese srl' \gset
:be_super
SELECT sales_internal.run_jobs();
:be_alpha
SELECT jsonb_array_length(tender_opportunities) AS tenders FROM sales.prospects WHERE company_name = 'Frese srl';
DELETE FROM sales.system_settings WHERE category = 'ai';
:be_super
DELETE FROM sales_internal.jobs;
