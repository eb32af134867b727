\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- target_filter under attack: hostile names, comparisons and values in every place.
-- An answer with the company's own prospects alone, or an error that names the place.
:be_super
INSERT INTO sales.prospects (company_id, first_name, email)
SELECT company_id, name || ' ' || g, lower(name) || g || '@x.test' FROM sales.companies, generate_series(1, 3) g;
:be_alpha
CREATE TEMP TABLE tried (filter jsonb, state text, message text);
DO $$
DECLARE
    field text;
    op text;
    value text;
    shape jsonb;
    strangers integer;
BEGIN
    FOREACH field IN ARRAY '{first_name,product,score,employees,status,created_at,last_reply_at,prospect_id,activity,campaign_id,"x'' OR true --","p.first_name",and,not,field,""}'::text[] LOOP
        FOREACH op IN ARRAY '{=,<,in,between,exists,contains,any,"= 1 OR 1=1 --",""}'::text[] LOOP
            FOREACH value IN ARRAY ARRAY['"x''); DROP TABLE sales.prospects; --"', '"$1"', '-1e400', '99999999999999999999999999', 'null', 'true', '[]', '[null]', '[[1]]',
                '["2026-01-01","2026-02-31"]', '{"a": 1}', '"infinity"', '"99999999999999999999 days ago"', '"00000000-0000-0000-0000-000000000000"', '"contacted"', '"\u0001%_\\"'] LOOP
                FOR shape IN SELECT x FROM (VALUES (jsonb_build_object(field, jsonb_build_object(op, value::jsonb))),
                                                   (jsonb_build_object('field', field, 'op', op, 'value', value::jsonb))) v (x) LOOP
                    BEGIN
                        SELECT count(*) INTO strangers FROM sales.preview_audience(shape) a
                        WHERE NOT EXISTS (SELECT FROM sales.prospects p WHERE p.prospect_id = a AND p.first_name LIKE 'Alpha %');
                        INSERT INTO tried VALUES (shape, CASE WHEN strangers = 0 THEN 'answered' ELSE 'a leak' END);
                    EXCEPTION WHEN OTHERS THEN
                        INSERT INTO tried VALUES (shape, SQLSTATE, SQLERRM);
                    END;
                END LOOP;
            END LOOP;
        END LOOP;
    END LOOP;
END
$$;
SELECT state, count(*) > 100 AS many, bool_and(message LIKE 'target_filter, at $%: %') AS names_the_place FROM tried GROUP BY state ORDER BY state;
SELECT count(*) FROM sales.prospects WHERE first_name LIKE 'Alpha %';
-- depth and length
SELECT helpers.try(format('SELECT sales.preview_audience(%L)', repeat('{"not": ', 5000) || '{}' || repeat('}', 5000)));
SELECT helpers.try(format('SELECT sales.preview_audience(%L)', jsonb_build_object('or', (SELECT jsonb_agg('{"score": 1}'::jsonb) FROM generate_series(1, 2000)))));
SELECT helpers.try(format('SELECT sales.preview_audience(%L)', jsonb_build_object('email', (SELECT jsonb_agg('a' || g) FROM generate_series(1, 20000) g))));
