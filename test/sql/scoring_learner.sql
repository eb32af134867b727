\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
-- The generic learner: what it finds, what it takes, what it says to bad input.
SET client_min_messages = notice;
-- what decides is found; the same rows give the same model
CREATE TABLE helpers.deals AS
SELECT g AS id, (hashint4(g) & 1023) / 1023.0 AS noise, CASE WHEN g % 10 < 3 THEN 'fair' WHEN g % 10 < 5 THEN NULL ELSE 'web' END AS origin,
       (g % 7)::numeric AS size, (g % 3 = 0) AS flag, date '2026-01-01' + g % 50 AS day,
       ((hashint4(g * 31) & 1023) / 1023.0 < 0.1 + 0.35 * (g % 10 < 3)::int + 0.06 * (g % 7))::int AS won
FROM generate_series(1, 3000) g;
SELECT sales_internal.train_scorecard('helpers.deals', 'won') AS model \gset
SELECT sales_internal.train_scorecard('helpers.deals', 'won') AS again \gset
SELECT rows, auc > 0.7 AS ranks, brier < 0.21 AS close FROM sales_internal.scorecards WHERE model_id = :'model';
SELECT (SELECT model FROM sales_internal.scorecards WHERE model_id = :'model')
     = (SELECT model FROM sales_internal.scorecards WHERE model_id = :'again') AS deterministic;
SELECT count(*), min(probability) > 0 AND max(probability) < 1 AS inside,
       abs(avg(probability) - (SELECT avg(won) FROM helpers.deals)) < 0.01 AS calibrated
FROM sales_internal.apply_scorecard(:'model', 'helpers.deals');
SELECT bool_and(abs(1 / (1 + exp(-p.total)) - a.probability) < 1e-9) AS adds_up
FROM (SELECT key, sum(points) AS total FROM sales_internal.scorecard_points(:'model', 'helpers.deals') GROUP BY key) p
JOIN sales_internal.apply_scorecard(:'model', 'helpers.deals') a USING (key);
-- bad input
CREATE TABLE helpers.odd AS SELECT g AS id, 'NaN'::float8 AS nan, 'infinity'::float8 AS inf, NULL::text AS nothing, 5 AS same,
    md5(g::text) AS every, (g % 2)::int AS won, 1 AS one, 7 AS seven, 'x'::text AS word FROM generate_series(1, 100) g;
SELECT sales_internal.train_scorecard('helpers.odd', 'won', '{"exclude": ["one", "seven"]}') IS NOT NULL AS copes;
SELECT sales_internal.train_scorecard('helpers.odd', 'one');
SELECT sales_internal.train_scorecard('helpers.odd', 'seven');
SELECT sales_internal.train_scorecard('helpers.odd', 'word');
SELECT sales_internal.train_scorecard('helpers.odd', 'absent');
SELECT sales_internal.apply_scorecard('00000000-0000-7000-8000-00000000000f', 'helpers.odd');
CREATE VIEW helpers.three AS SELECT * FROM helpers.odd ORDER BY id LIMIT 3;
SELECT sales_internal.train_scorecard('helpers.three', 'won');
-- errors say what to do
\set VERBOSITY default
SELECT sales_internal.train_scorecard('helpers.three', 'won');
SELECT sales_internal.train_scorecard('helpers.odd', 'won', '[]');
SELECT sales_internal.train_scorecard('helpers.odd', 'won', '{"exclude": "one"}');
SELECT sales_internal.train_scorecard('helpers.odd', 'id');
CREATE VIEW helpers.unknown AS SELECT id, nothing, NULL::boolean AS won FROM helpers.odd;
SELECT sales_internal.train_scorecard('helpers.unknown', 'won');
SELECT sales_internal.train_scorecard('pg_class_oid_index', 'won');
\set VERBOSITY terse
-- the order in which rows come makes no difference
CREATE VIEW helpers.long AS SELECT g AS id, hashint4(g) AS a, hashint4(g + 1) AS b, hashint4(g + 2) AS c, hashint4(g + 3) AS d, (hashint4(g * 3) & 1) AS won FROM generate_series(1, 300000) g;
CREATE TABLE helpers.reversed AS SELECT * FROM helpers.deals ORDER BY id DESC;
SELECT sales_internal.train_scorecard('helpers.reversed', 'won') AS reversed \gset
SELECT (SELECT model FROM sales_internal.scorecards WHERE model_id = :'model')
     = (SELECT model FROM sales_internal.scorecards WHERE model_id = :'reversed') AS same;
-- not even where keys are alike or null
CREATE TABLE helpers.alike AS SELECT CASE WHEN id % 3 > 0 THEN id % 3 END AS id, noise, origin, size, flag, won FROM helpers.deals ORDER BY noise;
CREATE TABLE helpers.alike_too AS SELECT * FROM helpers.alike ORDER BY won, size, noise DESC;
SELECT sales_internal.train_scorecard('helpers.alike', 'won') AS alike, sales_internal.train_scorecard('helpers.alike_too', 'won') AS alike_too \gset
SELECT (SELECT model FROM sales_internal.scorecards WHERE model_id = :'alike')
     = (SELECT model FROM sales_internal.scorecards WHERE model_id = :'alike_too') AS same;
-- training is ended by whoever ends the statement
SET client_min_messages = warning;
SET statement_timeout = '50ms';
SELECT sales_internal.train_scorecard('helpers.long', 'won');
RESET statement_timeout;
SET client_min_messages = notice;
-- more bad input: nothing to learn from, no rows, names in quotes, options and columns that are not there
CREATE SCHEMA "Other Schema";
CREATE TABLE "Other Schema"."Deals ""of"" 2026" ("The Key" uuid, "Größe" numeric(10, 2), "select" text, "Won?" boolean);
SELECT sales_internal.train_scorecard('"Other Schema"."Deals ""of"" 2026"', 'Won?');
INSERT INTO "Other Schema"."Deals ""of"" 2026" SELECT sales.uuidv7(), g / 7.0, 'x' || g % 2, g % 2 = 0 FROM generate_series(1, 100) g;
SELECT sales_internal.train_scorecard('"Other Schema"."Deals ""of"" 2026"', 'Won?', '{"exclude": ["Größe", "absent"], "exclud": []}') AS quoted \gset
CREATE VIEW "Other Schema"."New" AS SELECT "The Key", 'x1'::varchar AS "select" FROM "Other Schema"."Deals ""of"" 2026";
SELECT count(*), count(DISTINCT key) AS keys, min(probability) = max(probability) AS alike FROM sales_internal.apply_scorecard(:'quoted', '"Other Schema"."New"');
SELECT sales_internal.train_scorecard('helpers.deals', 'won', '{"exclude": [1]}');
SELECT sales_internal.train_scorecard('helpers.deals', 'won', '{"prior": "x"}');
SELECT sales_internal.train_scorecard('helpers.deals', 'won', '{"prior": 1}');
SELECT sales_internal.train_scorecard('helpers.deals', 'day');
SELECT sales_internal.train_scorecard('helpers.deals', 'noise');
CREATE VIEW helpers.key_and_label AS SELECT id, won FROM helpers.deals;
SELECT sales_internal.train_scorecard('helpers.key_and_label', 'won') AS bare \gset
SELECT count(*), bool_and(abs(probability - (SELECT avg(won) FROM helpers.deals)) < 0.001) AS the_mean FROM sales_internal.apply_scorecard(:'bare', 'helpers.key_and_label');
DROP SCHEMA "Other Schema" CASCADE;
-- every type that can be learned from, each of which alone decides; others are named and left out
CREATE TYPE helpers.colour AS ENUM ('red', 'green');
CREATE DOMAIN helpers.amount AS numeric(12, 2);
CREATE TABLE helpers.types AS
SELECT 'k' || g AS key, g % 2 = 0 AS won,
       CASE WHEN g % 2 = 0 THEN 'red' ELSE 'green' END::helpers.colour AS a_enum, (g % 2)::text::varchar(5) AS a_varchar,
       (g % 2)::text::char(4) AS a_char, (g % 2)::text::name AS a_name, (g % 2)::smallint AS a_smallint, (g % 2 + 10000000000)::bigint AS a_bigint,
       (g % 2)::real AS a_real, (g % 2)::helpers.amount AS a_domain, (g % 2 = 0) AS a_boolean, date '2026-01-01' + g % 2 AS a_date,
       timestamptz '2026-01-01' + (g % 2) * interval '1 hour' AS a_timestamptz, timestamp '2026-01-01' + (g % 2) * interval '1 hour' AS a_timestamp,
       time '10:00' + (g % 2) * interval '1 hour' AS a_time, (g % 2) * interval '1 day' AS an_interval,
       sales.uuidv7() AS a_uuid, '{}'::jsonb AS a_jsonb, ARRAY[g] AS an_array
FROM generate_series(1, 200) g;
SELECT sales_internal.train_scorecard('helpers.types', 'won') AS types \gset
SELECT count(*) AS columns, bool_and((SELECT max(p::numeric) - min(p::numeric) FROM jsonb_array_elements_text(f -> 'points') p) > 0.1) AS all_used
FROM sales_internal.scorecards, jsonb_array_elements(model -> 'features') f WHERE model_id = :'types';
SELECT bool_and((probability > 0.9) = t.won) AS right_all FROM sales_internal.apply_scorecard(:'types', 'helpers.types') a JOIN helpers.types t USING (key);
-- columns are found by name: in another order, of another number type, with the label and others gone; one that lacks is named
CREATE VIEW helpers.shuffled AS SELECT key, an_interval, a_time, a_timestamp, a_timestamptz, a_date, a_boolean, a_domain, a_real,
    a_bigint::numeric, a_smallint::float8, a_name, a_char::text, a_varchar::text, a_enum::text, 'more' AS more FROM helpers.types;
SELECT count(*) AS differing FROM sales_internal.apply_scorecard(:'types', 'helpers.types') a
JOIN sales_internal.apply_scorecard(:'types', 'helpers.shuffled') b USING (key) WHERE a.probability <> b.probability;
CREATE VIEW helpers.fewer AS SELECT key, a_enum FROM helpers.types;
SELECT * FROM sales_internal.apply_scorecard(:'types', 'helpers.fewer');
CREATE VIEW helpers.other_type AS SELECT key, a_enum, a_varchar, a_char, a_name, 'x' AS a_smallint, a_bigint, a_real, a_domain, a_boolean, a_date,
    a_timestamptz, a_timestamp, a_time, an_interval FROM helpers.types;
SELECT * FROM sales_internal.apply_scorecard(:'types', 'helpers.other_type');
-- what was never seen: unknown categories, missing values, NaN and infinities have probabilities too
CREATE TABLE helpers.strange AS SELECT * FROM helpers.deals LIMIT 0;
INSERT INTO helpers.strange VALUES (1, 'NaN', 'never seen', 'Infinity', NULL, 'infinity', NULL), (2, 'Infinity', NULL, '-Infinity', true, '-infinity', NULL),
    (3, NULL, NULL, NULL, NULL, NULL, NULL), (NULL, 0, '', 'NaN', false, NULL, NULL);
SELECT key, probability > 0 AND probability < 1 AS inside FROM sales_internal.apply_scorecard(:'model', 'helpers.strange') ORDER BY key;
SELECT count(*) FROM sales_internal.apply_scorecard(:'model', 'helpers.three') WHERE false;
-- 10,000 categories, 1 % true, two columns that decide only together
CREATE TABLE helpers.many AS
SELECT g AS id, 'c' || hashint4(g) % 10000 AS category, (hashint4(g * 7) & 1) AS a, (hashint4(g * 13) & 1) AS b,
       ((hashint4(g * 31) & 1023) < 5 + 60 * ((hashint4(g * 7) & 1) # (hashint4(g * 13) & 1)))::int AS won
FROM generate_series(1, 20000) g;
SELECT sales_internal.train_scorecard('helpers.many', 'won', '{"exclude": ["b"]}') AS one, sales_internal.train_scorecard('helpers.many', 'won') AS both \gset
SELECT c.auc > 0.7 AS ranks, jsonb_array_length(c.model -> 'pairs') > 0 AS pairs, c.auc > o.auc + 0.1 AS pairs_pay
FROM sales_internal.scorecards c, sales_internal.scorecards o WHERE c.model_id = :'both' AND o.model_id = :'one';
SELECT bool_and(abs(1 / (1 + exp(-p.total)) - a.probability) < 1e-9) AS adds_up
FROM (SELECT key, sum(points) AS total FROM sales_internal.scorecard_points(:'both', 'helpers.many') GROUP BY key) p
JOIN sales_internal.apply_scorecard(:'both', 'helpers.many') a USING (key);
SELECT DISTINCT feature FROM sales_internal.scorecard_points(:'both', 'helpers.many') WHERE feature IN ('a', 'b', 'a and b') ORDER BY feature;
-- two numbers that decide only together are found in few rows too
CREATE TABLE helpers.few AS
SELECT id, a, b, c, ((hashint4(id * 7) & 1023) / 1023.0 < 1 / (1 + exp(-4 * a * b)))::int AS won
FROM (SELECT g AS id, (hashint4(g) & 1023) / 512.0 - 1 AS a, (hashint4(g * 3) & 1023) / 512.0 - 1 AS b, (hashint4(g * 5) & 1023) / 512.0 - 1 AS c
      FROM generate_series(1, 800) g) x;
SELECT sales_internal.train_scorecard('helpers.few', 'won') AS few, sales_internal.train_scorecard('helpers.few', 'won', '{"exclude": ["b"]}') AS half \gset
SELECT (SELECT auc FROM sales_internal.scorecards WHERE model_id = :'few') > 0.7 AS ranks, (SELECT auc FROM sales_internal.scorecards WHERE model_id = :'half') < 0.6 AS alone_nothing;
SELECT DISTINCT feature FROM sales_internal.scorecard_points(:'few', 'helpers.few') WHERE feature = 'a and b';
-- a category of less than five rows is as one never seen, a frequent one is not
CREATE TABLE helpers.rare AS SELECT g AS id, CASE WHEN g <= 4 THEN 'rare' WHEN g % 2 = 0 THEN 'even' ELSE 'third' || g % 3 END AS word, (g % 2 = 0)::int AS won FROM generate_series(1, 400) g;
SELECT sales_internal.train_scorecard('helpers.rare', 'won') AS rare \gset
CREATE TABLE helpers.words AS SELECT * FROM unnest('{rare,never seen,even}'::text[]) WITH ORDINALITY AS x (word, id);
CREATE VIEW helpers.words_keyed AS SELECT word AS key, word FROM helpers.words;
SELECT count(DISTINCT probability) FILTER (WHERE key <> 'even') AS alike, max(probability) FILTER (WHERE key = 'even') > max(probability) FILTER (WHERE key <> 'even') AS frequent_differs
FROM sales_internal.apply_scorecard(:'rare', 'helpers.words_keyed');
-- noise: nothing is learned from it
CREATE VIEW helpers.noise AS SELECT id, category, (hashint4(id * 17) & 255) AS x, (hashint4(id * 19) & 3 = 0) AS won FROM helpers.many WHERE id <= 2000;
SELECT sales_internal.train_scorecard('helpers.noise', 'won') AS noise \gset
SELECT stddev(probability) < 0.04 AS flat FROM sales_internal.apply_scorecard(:'noise', 'helpers.noise');
SELECT jsonb_array_length(model -> 'pairs') AS pairs FROM sales_internal.scorecards WHERE model_id = :'noise';
-- a prior: one row adjusts it a little, the same many times much; without one, one row is too little
CREATE VIEW helpers.one AS SELECT * FROM helpers.deals WHERE won = 1 AND origin = 'fair' ORDER BY id LIMIT 1;
SELECT sales_internal.train_scorecard('helpers.one', 'won');
SELECT sales_internal.train_scorecard('helpers.one', 'won', format('{"prior": "%s"}', :'model')::jsonb) AS adjusted \gset
SELECT auc IS NULL AS nothing_held_out, rows FROM sales_internal.scorecards WHERE model_id = :'adjusted';
SELECT bool_and(b.probability > a.probability AND b.probability < a.probability + 0.25) AS a_little
FROM sales_internal.apply_scorecard(:'model', 'helpers.one') a JOIN sales_internal.apply_scorecard(:'adjusted', 'helpers.one') b USING (key);
SELECT sales_internal.train_scorecard('helpers.deals', 'won', format('{"prior": "%s"}', :'noise')::jsonb) AS warm \gset
SELECT abs(w.log_loss - m.log_loss) < 0.005 AS as_good FROM sales_internal.scorecards w, sales_internal.scorecards m
WHERE w.model_id = :'warm' AND m.model_id = :'model';
SELECT sales_internal.train_scorecard('helpers.deals', 'won', '{"prior": "00000000-0000-7000-8000-00000000000f"}');
-- more rows than memory: a sample, and it says so
SET maintenance_work_mem = '1MB';
CREATE VIEW helpers.large AS SELECT g AS id, (hashint4(g) & 1023) AS x, (hashint4(g) & 1023) > (hashint4(g * 3) & 1023) AS won FROM generate_series(1, 50000) g;
SELECT sales_internal.train_scorecard('helpers.large', 'won') IS NOT NULL AS trained;
RESET maintenance_work_mem;
-- a stored model that is damaged is refused, whatever was done to it
CREATE FUNCTION helpers.damage(path text[], value jsonb) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    UPDATE sales_internal.scorecards SET model = jsonb_set(model, path, value) WHERE label = 'damaged';
    PERFORM sales_internal.apply_scorecard(model_id, 'helpers.many') FROM sales_internal.scorecards WHERE label = 'damaged';
    RAISE EXCEPTION 'applied';
EXCEPTION WHEN others THEN
    RETURN SQLERRM;
END
$$;
INSERT INTO sales_internal.scorecards (model_id, label, model, rows) SELECT sales.uuidv7(), 'damaged', model, 0 FROM sales_internal.scorecards WHERE model_id = :'both';
SELECT path, value, helpers.damage(path, value) FROM (VALUES
    ('{}'::text[], 'null'::jsonb), ('{intercept}', '"x"'), ('{intercept}', '1'), ('{features}', '{}'), ('{features,0}', '[]'),
    ('{features,0,points}', '[]'), ('{features,0,points,0}', 'null'), ('{features,0,bounds,0}', '{}'), ('{features,0,bounds,0}', '"zzzz"'), ('{features,0,category}', 'false'),
    ('{features,1,bounds,0}', '"x"'), ('{pairs}', '[{}]'), ('{pairs,0,first}', '99'), ('{pairs,0,second}', '-1'), ('{pairs,0,first_groups,0}', '255'),
    ('{pairs,0,first_groups}', '[0]'), ('{pairs,0,points}', '[1, 2]'), ('{features}', '[]')) AS v (path, value);
-- nobody but the owner trains or applies
SET SESSION AUTHORIZATION regress_app;
SELECT sales_internal.train_scorecard('helpers.deals', 'won');
RESET SESSION AUTHORIZATION;
DELETE FROM sales_internal.scorecards WHERE (rows > 0 OR label = 'damaged') AND model_id NOT IN (SELECT model_id FROM sales.score_models);
SET client_min_messages = warning;
DROP SCHEMA helpers CASCADE;
