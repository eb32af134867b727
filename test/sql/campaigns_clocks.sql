\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- Windows by the recipient's clock, compared with a search quarter by quarter, on the days around each change of
-- clocks of 2037: whole hours, half hours (Adelaide, St. John's, Lord Howe, which changes by half an hour), quarters (Chatham), and zones that never change.
CREATE TABLE helpers.zones AS
SELECT z.zone, c.changes FROM unnest('{Europe/Paris,America/New_York,Australia/Adelaide,America/St_Johns,Australia/Lord_Howe,Pacific/Chatham,Asia/Kolkata,Asia/Kathmandu,UTC}'::text[]) z (zone)
CROSS JOIN LATERAL (
    SELECT coalesce(array_agg(h) FILTER (WHERE (h AT TIME ZONE z.zone) - ((h - interval '30 minutes') AT TIME ZONE z.zone) <> interval '30 minutes'), '{2037-03-29 01:00+00}') AS changes
    FROM generate_series(timestamptz '2037-01-01 00:30+00', '2037-12-31 00:00+00', '30 minutes') h) c;
SELECT zone, changes FROM helpers.zones ORDER BY zone;
-- The first quarter of an hour in the window, by looking at all of them.
CREATE FUNCTION helpers.by_search(after timestamptz, zone text, opens time, closes time, days integer[]) RETURNS timestamptz
LANGUAGE sql STABLE SET search_path = pg_catalog, pg_temp AS $$
    SELECT min(m) FROM generate_series(after, after + interval '3 days', '15 minutes') m
    WHERE (m AT TIME ZONE zone)::time >= opens AND (m AT TIME ZONE zone)::time < closes AND extract(isodow FROM m AT TIME ZONE zone) = ANY (days)
$$;
CREATE TABLE helpers.asked AS
SELECT z.zone, w.opens, w.closes, a.after, sales_internal.next_in_window(a.after, z.zone, w.opens, w.closes, '{1,2,3,5,6,7}') AS ours,
       helpers.by_search(a.after, z.zone, w.opens, w.closes, '{1,2,3,5,6,7}') AS search
FROM helpers.zones z CROSS JOIN unnest(z.changes) change (at)
CROSS JOIN (VALUES (time '09:00', time '17:00'), ('08:30', '12:15'), ('00:00', '24:00'), ('22:45', '24:00')) w (opens, closes)
CROSS JOIN LATERAL generate_series(change.at - interval '30 hours', change.at + interval '30 hours', '75 minutes') a (after);
SELECT zone, count(*) > 100 AS asked, count(*) FILTER (WHERE ours IS DISTINCT FROM search) AS differ, count(*) FILTER (WHERE ours > after) > 50 AS wait FROM helpers.asked GROUP BY zone ORDER BY zone;
-- Windows in the night of the change: never outside the window by the recipient's clock, never before it was asked for, and never more
-- than the night later than could be.
SELECT z.zone, bool_and(n.ours >= a.after) AS not_before, bool_and((n.ours AT TIME ZONE z.zone)::time >= w.opens AND (n.ours AT TIME ZONE z.zone)::time < w.closes) AS inside,
       bool_and(n.ours - helpers.by_search(a.after, z.zone, w.opens, w.closes, '{1,2,3,4,5,6,7}') <= interval '24 hours') AS soon
FROM helpers.zones z CROSS JOIN unnest(z.changes) change (at)
CROSS JOIN (VALUES (time '01:30', time '02:15'), ('02:15', '02:45'), ('01:30', '03:30')) w (opens, closes)
CROSS JOIN LATERAL generate_series(change.at - interval '3 hours', change.at + interval '3 hours', '15 minutes') a (after)
CROSS JOIN LATERAL (SELECT sales_internal.next_in_window(a.after, z.zone, w.opens, w.closes, NULL) AS ours) n
GROUP BY z.zone ORDER BY z.zone;
-- a window of one night a week that the change swallows: the week after
SELECT sales_internal.next_in_window('2037-03-22 02:30+00', 'Europe/Paris', '02:10', '02:50', '{7}') AS a_week_later;
-- One campaign, recipients in five zones: each at nine by his own clock, the day after the clocks went back in Paris
:be_super
SET sales_assistant.clock = '2037-10-24 16:00:00+00';
INSERT INTO sales.mailboxes (company_id, email, smtp_url) SELECT company_id, 'm@' || domain, 'smtp://mail.alpha.test' FROM sales.companies;
INSERT INTO sales.templates (company_id, name, channel, language, subject_template, content_template) SELECT company_id, 'Nine', 'email', 'en', 'Hello', 'Hello' FROM sales.companies;
:be_alpha
WITH there AS (
    INSERT INTO sales.addresses (country, region) VALUES ('France', NULL), ('India', NULL), ('Canada', 'Newfoundland and Labrador'), ('Australia', 'South Australia') RETURNING address_id, country)
INSERT INTO sales.prospects (first_name, email, address_id) SELECT country, lower(country) || '@x.test', address_id FROM there;
INSERT INTO sales.prospects (first_name, email) VALUES ('nowhere', 'nowhere@x.test');
INSERT INTO sales.email_campaigns (name, template_id, window_start, window_end) SELECT 'Nine', template_id, '09:00', '10:00' FROM sales.templates WHERE name = 'Nine';
SELECT sales.launch_campaign(campaign_id) FROM sales.email_campaigns;
SELECT p.first_name, r.timezone, r.due_at, to_char(r.due_at AT TIME ZONE r.timezone, 'Dy HH24:MI') AS by_the_clock
FROM sales.campaign_recipients r JOIN sales.prospects p USING (company_id, prospect_id) ORDER BY r.due_at, 1;
:be_beta
SELECT count(*) FROM sales.campaign_recipients;
:be_super
DELETE FROM sales_internal.jobs WHERE kind = 'campaign_mail';
DELETE FROM sales.email_campaigns WHERE name = 'Nine';
DELETE FROM sales.templates WHERE name = 'Nine';
DROP TABLE helpers.asked, helpers.zones;
DROP FUNCTION helpers.by_search(timestamptz, text, time, time, integer[]);
\i :clean
