\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
-- cron_next: five fields in a timezone.
CREATE FUNCTION helpers.cron(expression text, zone text, after timestamptz) RETURNS text
LANGUAGE plpgsql AS $$
DECLARE
    told text;
BEGIN
    RETURN coalesce(to_char(sales.cron_next(expression, zone, after) AT TIME ZONE zone, 'Dy YYYY-MM-DD HH24:MI:SS'), 'never');
EXCEPTION WHEN others THEN
    RETURN SQLSTATE || ' ' || SQLERRM;
END
$$;
:be_alpha
-- the vocabulary, from Wednesday 2026-11-25 12:00:30 in Paris
SELECT e AS expression, helpers.cron(e, 'Europe/Paris', '2026-11-25 11:00:30+00') FROM unnest(ARRAY[
    '* * * * *', '0 12 * * *', '30 7 * * mon-fri', '*/20 8-18 * * *', '5/20 * * * *', '0 9 1,15 * *', '0 9 1 * MON', '0 9 */10 * sun',
    '0 22-6/4 * * *', '0 0 * * fri-mon', '0 0 * * 7', '0 0 * * sun', '0 0 29 2 *', '0 8 L * *', '0 8 * * fri#2', '0 8 * * friL', '0 8 * * L5',
    '0 8 ? jan ?', '@hourly', '@daily', '@midnight', '@weekly', '@monthly', '@yearly', '@ANNUALLY', E'  0\t0   1 1 *  ', '*/60 * * * *',
    '0 0 30 2 *', '0 0 31 4,6,9,11 *']) WITH ORDINALITY t (e, i) ORDER BY i;
-- strictly after, to the microsecond
SELECT sales.cron_next('0 12 * * *', 'UTC', '2026-11-25 12:00:00+00') AS a, sales.cron_next('0 12 * * *', 'UTC', '2026-11-25 11:59:59.999999+00') AS b;
-- clocks go forward (Paris, 2026-03-29 02:00 -> 03:00): fixed times move by the jump, others do not miss it
SELECT e AS expression, helpers.cron(e, 'Europe/Paris', '2026-03-29 00:59:00+00') FROM unnest(ARRAY[
    '30 2 * * *', '0 2,3 * * *', '*/30 * * * *', '*/30 2 * * *', '30 * * * *', '30 3 * * *']) WITH ORDINALITY t (e, i) ORDER BY i;
SELECT sales.cron_next('30 2 * * *', 'Europe/Paris', sales.cron_next('30 2 * * *', 'Europe/Paris', '2026-03-28 12:00+00')) AS "and the next night";
-- clocks go back (2026-10-25 03:00 -> 02:00): fixed times run once, others every time
SELECT sales.cron_next('30 2 * * *', 'Europe/Paris', '2026-10-24 22:00+00') AS first,
       sales.cron_next('30 2 * * *', 'Europe/Paris', '2026-10-25 00:30+00') AS then,
       sales.cron_next('*/30 * * * *', 'Europe/Paris', '2026-10-25 00:30+00') AS half,
       sales.cron_next('*/30 * * * *', 'Europe/Paris', '2026-10-25 01:00+00') AS again;
-- a day that was skipped whole, a midnight that was, half-hour zones
SELECT helpers.cron('0 12 30 12 *', 'Pacific/Apia', '2011-12-29 12:00-10'), helpers.cron('0 0 * * *', 'Asia/Hebron', '2022-03-26 00:00+02'),
       helpers.cron('15 2 * * *', 'Australia/Lord_Howe', '2026-10-03 12:00+00'), helpers.cron('0 0 1 * *', 'Asia/Kolkata', '2026-11-25 00:00+00');
-- runs in time order, none twice, whatever the clocks do: a year of each zone's runs
SELECT zone, e AS expression, count(*) AS runs, bool_and(at > before) AS rising
FROM unnest(ARRAY['Europe/Paris', 'America/New_York', 'Australia/Lord_Howe', 'Asia/Hebron', 'UTC']) zone,
     unnest(ARRAY['30 2 * * *', '0,59 0-3 * * *', '15 * * * *']) e,
     LATERAL (WITH RECURSIVE r AS (SELECT timestamptz '2022-01-01 00:00+00' AS before, sales.cron_next(e, zone, '2022-01-01 00:00+00') AS at
                                   UNION ALL SELECT at, sales.cron_next(e, zone, at) FROM r WHERE at < '2023-01-01 00:00+00') SELECT * FROM r) r
GROUP BY zone, e ORDER BY zone, e;
-- mistakes say what and how
SELECT e AS expression, helpers.cron(e, 'UTC', '2026-11-25') FROM unnest(ARRAY[
    '', '* * * *', '* * * * * *', '60 * * * *', '* 24 * * *', '* * 0 * *', '* * 32 * *', '* * * 13 *', '* * * * 8', '* * * janu *', '*/0 * * * *', '*/61 * * * *',
    '1- * * * *', '1--2 * * * *', ', * * * *', '1, * * * *', '-1 * * * *', '1.5 * * * *', '99999999999999999999 * * * *', '? * * * *', '* * ?,1 * *',
    '* * 29-L * *', '* * * * fri#6', '* * * * fri#0', '* * * * 5,fri#2', '* * * * mon-fri#1', '@reboot', '@every 5m', '@', '@daily x', 'mon * * * *']) WITH ORDINALITY t (e, i) ORDER BY i;
\set VERBOSITY default
SELECT sales.cron_next('* * * * * *', 'UTC', now());
SELECT sales.cron_next('61 * * * *', 'UTC', now());
SELECT sales.cron_next('@reboot', 'UTC', now());
SELECT sales.cron_next('* * * * *', 'Mars/Olympus', now());
\set VERBOSITY terse
SELECT sales.cron_next('* * * * *', repeat('x', 1000), now());
SELECT sales.cron_next('* * * * *', 'UTC', 'infinity');
SELECT sales.cron_next('0 0 1 1 *', 'UTC', '294276-12-31 23:59:59+00');
SELECT sales.cron_next(NULL, 'UTC', now()) IS NULL AS "null in, null out";
:be_super
DROP FUNCTION helpers.cron(text, text, timestamptz);
