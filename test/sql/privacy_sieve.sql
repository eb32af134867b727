-- A person is found in the same texts as by the expressions alone, whatever the sieve before them leaves out.
\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\i :srcdir/clean.inc
\set ECHO none
CREATE FUNCTION helpers.plain_mentions(body text, person sales_internal.person_pattern) RETURNS boolean LANGUAGE sql IMMUTABLE AS
$$ SELECT coalesce(body ~* (person).sure, false) OR coalesce(body ~* ANY ((person).pairs), false) $$;
CREATE FUNCTION helpers.plain_holds_key(body text, keys uuid[]) RETURNS boolean LANGUAGE sql IMMUTABLE AS $$
    SELECT EXISTS (SELECT FROM regexp_matches(body, '[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}', 'g') m WHERE m[1]::uuid = ANY (keys)) $$;
INSERT INTO sales.prospects (company_id, first_name, last_name, email, phone, linkedin_url, twitter_url)
SELECT helpers.company(v.c), v.f, v.l, v.e, v.p, v.u, v.t FROM (VALUES
    ('alpha', 'Anna', 'Müller', 'Anna.Muller+x@Mail.test', '+33 (6) 12.34-56 78', 'https://www.linkedin.com/in/Anna-M', 'https://www.'),
    ('alpha', 'Élodie', 'd''Été (née Ça)', 'élodie@été.test', '0612345678', NULL, NULL),
    ('alpha', 'Ἄγγελος', 'ΟΔΥΣΣΕΥΣ', 'aggelos@x.test', NULL, NULL, NULL),
    ('alpha', 'İpek', 'Işık', 'ipek@x.test', '12345678', NULL, NULL),
    ('alpha', 'Иван', 'Петров', NULL, '+7 900 123-45-67', 'http://vk.test/ivan', NULL),
    ('alpha', 'Bo', 'Li', 'b@l.x', '1234567', NULL, NULL),
    ('alpha', 'Ann', 'Ann', 'ann@ann.test', NULL, NULL, NULL),
    ('alpha', 'M.', '[a-z]+', 'm*@x.test', NULL, 'https://x.test/a?b=(c)|d', NULL),
    ('alpha', NULL, 'Solo', NULL, NULL, NULL, NULL),
    ('alpha', 'Straße', 'Groß', 'ß@ß.test', NULL, NULL, NULL),
    ('beta', 'Anna', 'Muller', 'anna@beta.test', '+33687654321', NULL, NULL)) AS v (c, f, l, e, p, u, t);
-- two persons with names of before
UPDATE sales.prospects SET last_name = 'Durand', email = 'anna.durand@mail.test' WHERE first_name = 'Anna';
CREATE TEMP TABLE persons AS
SELECT p.prospect_id, p.first_name, sales_internal.person_pattern(p.company_id, p.prospect_id) AS pattern, v.*
FROM sales.prospects p
CROSS JOIN LATERAL (
    SELECT p.first_name, p.last_name, p.email, p.phone, p.linkedin_url
    UNION ALL SELECT p.first_name, l.old_values ->> 'last_name', l.old_values ->> 'email', p.phone, p.linkedin_url
    FROM sales.audit_logs l WHERE l.record_id = p.prospect_id AND l.action = 'update' AND l.old_values ? 'last_name') AS v (f, l, e, p, u);
-- Each way to name a person and not to, in several cases, alone and in the midst of others' texts.
CREATE TEMP TABLE texts AS
WITH said AS (
    SELECT DISTINCT s.body FROM persons x
    CROSS JOIN LATERAL (VALUES
        (x.f || ' ' || x.l), (x.l || E',\n ' || x.f), (x.f || '-' || x.l), (x.f || x.l), (x.l || ' and the other, ' || x.f), (x.f), (x.l), (x.l || x.l || ' ' || x.f),
        (x.e), (replace(x.e, '@', '%40')), (replace(x.e, '@', ' at ')), (left(x.e, -1)), ('a' || x.e), (x.e || 'x'), ('<' || x.e || '>'), (x.e || ', ' || x.e),
        (x.p), (regexp_replace(x.p, '\D', '', 'g')), (regexp_replace(x.p, '(\d)', '\1 ', 'g')), (regexp_replace(x.p, '(\d)', '\1/-.', 'g')),
        (regexp_replace(x.p, '(\d)', '\1x', 'g')), (right(x.p, 5)), ('9' || x.p || '9'), (x.p || ' 1'),
        (x.u), (regexp_replace(x.u, '^https?://', '')), (rtrim(x.u, '/') || '/'), (x.u || 'x'), (left(x.u, -1))) AS s (body)
    WHERE s.body <> '')
SELECT DISTINCT m.body FROM said s
CROSS JOIN LATERAL (VALUES (s.body), (upper(s.body)), (lower(s.body)), (initcap(s.body))) AS c (body)
CROSS JOIN LATERAL (VALUES (c.body), ('A word with ' || c.body || ', and more words after it.'), ('x' || c.body), (c.body || 'x'), ('é' || c.body || 'é'), ('12 ' || c.body || ' 34'),
                           (repeat('lorem ipsum ', 300) || c.body)) AS m (body)
UNION ALL VALUES (''), (NULL), ('nothing of anybody');
\set ECHO all
SELECT count(*) > 3000 AS many FROM texts;
SELECT x.first_name, x.f IS NOT DISTINCT FROM x.first_name AS named_so, count(*) FILTER (WHERE m.plain) > 50 AS found, count(*) FILTER (WHERE NOT m.plain) > 50 AS not_found,
       count(*) FILTER (WHERE m.sieved IS DISTINCT FROM m.plain) AS differences
FROM persons x CROSS JOIN texts t
CROSS JOIN LATERAL (SELECT sales_internal.mentions(t.body, x.pattern) AS sieved, helpers.plain_mentions(t.body, x.pattern) AS plain) m
GROUP BY 1, 2, x.l, x.prospect_id ORDER BY x.first_name COLLATE "C", x.l COLLATE "C";
-- a profile that is none is no pattern
SELECT count(*) AS everybody FROM persons x WHERE sales_internal.mentions('', x.pattern);
-- more names than places, no needles, and nobody: the expressions alone decide
SELECT count(*) AS differences FROM persons x CROSS JOIN texts t
CROSS JOIN LATERAL (VALUES (ROW((x.pattern).sure, (x.pattern).pairs, NULL, ARRAY(SELECT 'n' || g FROM generate_series(1, 70) g), NULL, NULL, NULL)::sales_internal.person_pattern)) p (pattern)
WHERE hashtext(t.body) % 5 = 0 AND sales_internal.mentions(t.body, p.pattern) IS DISTINCT FROM helpers.plain_mentions(t.body, p.pattern);
SELECT sales_internal.mentions('Solo', x.pattern) AS a_name_alone, sales_internal.mentions(NULL, x.pattern) AS no_text, sales_internal.mentions('x', NULL) AS nobody
FROM persons x WHERE x.l = 'Solo';
-- keys in texts
SELECT count(*) > 300 AS many, count(*) FILTER (WHERE p.holds) > 20 AS holding, count(*) FILTER (WHERE p.holds IS DISTINCT FROM sales_internal.holds_key(t.body, k.keys)) AS differences
FROM (SELECT array_agg(x.prospect_id) AS keys FROM persons x WHERE x.first_name IN ('Anna', 'Bo')) k
CROSS JOIN LATERAL (
    SELECT DISTINCT m.body FROM persons x
    CROSS JOIN LATERAL (VALUES (x.prospect_id::text), (upper(x.prospect_id::text)), (left(x.prospect_id::text, -1)), (right(x.prospect_id::text, -1)), (replace(x.prospect_id::text, '-', ''))) s (body)
    CROSS JOIN LATERAL (VALUES (s.body), ('{"id": "' || s.body || '"}'), ('a' || s.body), (s.body || '0'), ('-' || s.body || '-'), ('é' || s.body), (sales.uuidv7() || ' ' || s.body), ('--------' || s.body)) m (body)
    UNION ALL VALUES (''), ('-'), (repeat('-', 50)), (NULL)) t
CROSS JOIN LATERAL (SELECT helpers.plain_holds_key(t.body, k.keys) AS holds) p;
SELECT sales_internal.holds_key('x', '{}') AS none, sales_internal.holds_key('00000000-0000-7000-8000-000000000001', NULL) AS nothing;
SELECT helpers.try($$SELECT sales_internal.holds_key('x', '{NULL}')$$);
DROP FUNCTION helpers.plain_mentions(text, sales_internal.person_pattern), helpers.plain_holds_key(text, uuid[]);
\i :srcdir/clean.inc
