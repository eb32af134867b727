\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- Campaigns without a mail server and without the worker: filters, launch, approval, ledger, events, suppressions, unsubscribe.
:be_super
SET sales_assistant.clock = '2037-03-10 10:00:00+00';
INSERT INTO sales.prospects (company_id, first_name, last_name, email, ai_score, status)
SELECT helpers.company('alpha'), 'P' || g, 'L' || g, 'p' || g || '@x.test', g * 5, CASE WHEN g % 2 = 0 THEN 'interesse' ELSE 'nouveau' END::sales.prospect_status
FROM generate_series(1, 10) g;
INSERT INTO sales.prospects (company_id, first_name, email, ai_score) VALUES (helpers.company('beta'), 'Betty', 'p1@x.test', 5);
INSERT INTO sales.addresses (company_id, country, region) VALUES (helpers.company('alpha'), 'États-Unis', 'California'), (helpers.company('alpha'), 'Japan', NULL), (helpers.company('alpha'), 'Atlantis', NULL);
UPDATE sales.prospects p SET address_id = a.address_id FROM sales.addresses a
WHERE a.company_id = p.company_id AND (p.first_name, a.country) IN (('P1', 'États-Unis'), ('P2', 'Japan'), ('P3', 'Atlantis'));
INSERT INTO sales.interactions (company_id, prospect_id, channel, type, response_received, response_sentiment, interaction_date)
SELECT company_id, prospect_id, 'email', 'sent', first_name = 'P4', CASE WHEN first_name = 'P4' THEN 'positive' END::sales.sentiment, '2037-02-01'
FROM sales.prospects WHERE first_name IN ('P4', 'P5');

-- the filter, as each company
:be_alpha
CREATE FUNCTION pg_temp.who(filter jsonb) RETURNS text LANGUAGE sql AS
$$ SELECT coalesce(string_agg(first_name, ' ' ORDER BY length(first_name), first_name), '(nobody)') FROM sales.prospects WHERE prospect_id IN (SELECT sales.preview_audience(filter)) $$;
SELECT f AS filter, pg_temp.who(f::jsonb) FROM unnest(ARRAY[
    '{}', '{"status": "nouveau"}', '{"status": ["nouveau", "interesse"]}', '{"status": {"<>": "nouveau"}}', '{"score": {">=": 20, "<": 35}}',
    '{"score": {"between": [45, 50]}}', '{"field": "ai_score", "op": "gt", "value": 45}', '{"or": [{"first_name": "p1"}, {"score": {"in": [10, 15]}}]}',
    '{"and": [{"status": "nouveau"}, {"not": {"first_name": {"in": ["P1", "P3"]}}}]}', '{"not": {"country": "japan"}, "score": {"<=": 15}}',
    '{"country": null, "score": {"<": 30}}', '{"country": {"exists": true}}', '{"email": {"starts_with": "P1"}}', '{"email": {"contains": "7@"}}',
    '{"email": {"not_contains": "@x.test"}}', '{"email": {"ends_with": "0@X.test"}}', '{"first_name": {"contains": "%"}}', '{"domain": "x.test", "last_name": "l9"}',
    '{"stage": "interesse"}', '{"activity": "replied"}', '{"activity": {"none": ["replied"], "any": ["contacted"]}}', '{"activity": {"all": ["replied", "positive"]}}',
    '{"activity": {"exists": false}, "score": 50}', '{"last_contact_at": {"<": "-30 days"}}', '{"last_contact_at": {">": "2 weeks ago"}}',
    '{"last_contact_at": {"=": "2037-02-01T00:00:00Z"}}', '{"created_at": {">": "2099-01-01"}}', '{"region": "california"}', '{"interactions": {">": 0}}']) f;
SELECT f AS filter, helpers.try(format('SELECT sales.preview_audience(%L)', f)) FROM unnest(ARRAY[
    '[]', '{"and": {}}', '{"and": []}', '{"and": [{"or": [{"statu": 1}]}]}', '{"status": "new"}', '{"score": {">": "many"}}', '{"score": {}}', '{"score": {"like": 1}}',
    '{"first_name": {"=": {"a": 1}}}', '{"status": {"in": []}}', '{"created_at": {">": "tomorrow"}}', '{"created_at": {">": "2037-02-31"}}', '{"product_id": "x"}', '{"activity": ["danced"]}',
    '{"first_name": {"exists": "yes"}}', '{"score": {"between": [1]}}', '{"score": {"=": [1, 2]}}', '{"field": "score", "op": 7, "value": 1}', '{"field": "score", "op": "="}',
    '{"first_name''; DROP TABLE x; --": 1}']) f;
SELECT helpers.try(format('SELECT sales.preview_audience(%L)', repeat('{"not": ', 30) || '{}' || repeat('}', 30)));
-- no value gets into the text of the query
:be_super
SELECT condition, params FROM sales_internal.compile_filter('{"first_name": "x'' OR true --", "score": {"in": [1, 2]}}', 'UTC', '$', 0, '[]');
:be_beta
SELECT count(*) FROM sales.preview_audience('{}');
SELECT count(*) FROM sales.preview_audience('{"activity": {"any": ["replied", "contacted"]}}');

-- timezones and windows
:be_super
SELECT p.first_name, sales_internal.prospect_zone(p.company_id, p.address_id) FROM sales.prospects p WHERE p.first_name IN ('P1', 'P2', 'P3', 'Betty') ORDER BY 1;
SELECT t AS after, sales_internal.next_in_window(t::timestamptz, 'Europe/Paris', '09:00', '17:00', '{1,2,3,4,5}') FROM unnest(ARRAY[
    '2037-03-10 10:00+00', '2037-03-10 17:00+00', '2037-03-13 16:30+00', '2037-03-28 12:00+00', '2037-03-10 07:59+00']) t;
SELECT sales_internal.next_in_window('2037-03-28 12:00+00', 'Europe/Paris', '02:10', '02:50', NULL) AS swallowed_by_summer_time;

-- what launch_campaign() refuses
:be_alpha
INSERT INTO sales.products (name) VALUES ('Cap');
INSERT INTO sales.templates (template_id, name, channel, language, subject_template, content_template) VALUES
    ('00000000-0000-7000-8000-0000000000a1', 'First', 'email', 'en', 'Hello {{first_name}}', E'Dear {{first_name}} {{last_name}},\n{{#job_title}}as {{job_title}}{{/job_title}}\n{{offer}}'),
    ('00000000-0000-7000-8000-0000000000a2', 'Second', 'email', 'en', 'Again', '<p>Dear {{first_name}}, <a href="{{unsubscribe_url}}">no more</a></p>'),
    ('00000000-0000-7000-8000-0000000000a3', 'Link', 'linkedin', 'en', NULL, 'x');
INSERT INTO sales.email_campaigns (campaign_id, name, template_id, target_filter) VALUES
    ('00000000-0000-7000-8000-0000000000c1', 'Spring', '00000000-0000-7000-8000-0000000000a1', '{"score": {"<=": 30}}');
SELECT helpers.try($$INSERT INTO sales.email_campaigns (name, target_filter) VALUES ('x', '{"nope": 1}')$$);
SELECT helpers.try($$INSERT INTO sales.email_campaigns (name, status) VALUES ('x', 'running')$$);
SELECT helpers.try($$INSERT INTO sales.email_campaigns (name, schedule_type, schedule_cron) VALUES ('x', 'recurring', 'every day')$$);
SELECT helpers.try($$UPDATE sales.email_campaigns SET emails_sent = 99$$);
SELECT helpers.try($$UPDATE sales.email_campaigns SET status = 'running'$$);
SELECT severity, finding FROM sales.check_campaign('00000000-0000-7000-8000-0000000000c1');
SELECT sales.launch_campaign('00000000-0000-7000-8000-0000000000c1');
UPDATE sales.templates SET variables = '{"offer": "20 % off"}' WHERE name = 'First';
INSERT INTO sales.mailboxes (mailbox_id, email, daily_limit) VALUES ('00000000-0000-7000-8000-0000000000b1', 'ada@alpha.test', 4);
SELECT severity, finding FROM sales.check_campaign('00000000-0000-7000-8000-0000000000c1');
UPDATE sales.mailboxes SET smtp_url = 'smtp://mail.alpha.test:587';
INSERT INTO sales.system_settings (category, key_name, value) VALUES ('campaigns', 'unsubscribe_url', 'https://app.alpha.test/u'), ('campaigns', 'domain_per_minute', '0');
INSERT INTO sales.campaign_steps (campaign_id, step_number, template_id, wait) VALUES ('00000000-0000-7000-8000-0000000000c1', 2, '00000000-0000-7000-8000-0000000000a2', '2 days');
SELECT helpers.try($$UPDATE sales.campaign_steps SET approved_content = 'mine'$$);
INSERT INTO sales.suppressions (address) VALUES (' P2@X.test ');
SELECT helpers.try($$INSERT INTO sales.suppressions (address) VALUES ('nobody')$$);
SELECT address, octet_length(address_hash), reason, created_by IS NOT NULL AS by_user FROM sales.suppressions;
SELECT sales.is_suppressed('p2@x.test'), sales.is_suppressed('p3@x.test');
-- another company neither sees nor launches it, and its own addresses are not suppressed by it
:be_beta
SELECT helpers.try($$SELECT sales.launch_campaign('00000000-0000-7000-8000-0000000000c1')$$);
SELECT helpers.try($$SELECT sales.pause_campaign('00000000-0000-7000-8000-0000000000c1')$$);
SELECT count(*) FROM sales.suppressions;
SELECT sales.is_suppressed('p2@x.test');
-- a seller may not launch: launching approves
:be_super
INSERT INTO sales.users (company_id, email, role_id) SELECT company_id, 'launcher@alpha.test', role_id FROM sales.roles WHERE name = 'seller' AND company_id = helpers.company('alpha') ON CONFLICT DO NOTHING;
SELECT sales.set_tenant(company_id, user_id, false) IS NULL AS ok FROM sales.users WHERE email = 'launcher@alpha.test';
SELECT helpers.try($$SELECT sales.launch_campaign('00000000-0000-7000-8000-0000000000c1')$$);

-- launch: the ledger
:be_alpha
SELECT sales.launch_campaign('00000000-0000-7000-8000-0000000000c1');
SELECT p.first_name, r.step_number, r.status, r.reason, r.timezone FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) ORDER BY length(p.first_name), p.first_name;
SELECT status, total_recipients, emails_sent, runs FROM sales.email_campaigns;
SELECT sales.launch_campaign('00000000-0000-7000-8000-0000000000c1');
SELECT helpers.try($$UPDATE sales.email_campaigns SET target_filter = '{}'$$);
SELECT helpers.try($$INSERT INTO sales.campaign_recipients (campaign_id, prospect_id) SELECT campaign_id, prospect_id FROM sales.campaign_recipients LIMIT 1$$);
SELECT helpers.try($$DELETE FROM sales.campaign_recipients$$);
-- the template changes after the launch: what was approved goes out
UPDATE sales.templates SET content_template = 'SOMETHING ELSE' WHERE name = 'First';

-- claiming: the limit of the day, deleted prospects, changed addresses
:be_super
CREATE FUNCTION pg_temp.send() RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    company uuid := helpers.company('alpha');
    recipient uuid := sales_internal.claim_recipient(company, '00000000-0000-7000-8000-0000000000b1', sales.uuidv7());
BEGIN
    IF recipient IS NULL THEN
        RETURN 'none may go';
    END IF;
    PERFORM sales_internal.campaign_mail(company, recipient);
    PERFORM sales_internal.apply_send_answer(company, recipient, '{"status": 250, "error": null, "smtp": {"code": 250, "reply": "250 2.0.0 queued", "handed_over": true}}');
    RETURN (SELECT p.first_name || ' step ' || r.step_number || ' ' || r.status FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) WHERE recipient_id = recipient);
END $$;
UPDATE sales.prospects SET deleted_at = now() WHERE first_name = 'P3';
UPDATE sales.prospects SET email = 'p4new@x.test' WHERE first_name = 'P4';
SELECT * FROM (SELECT pg_temp.send() AS sent FROM generate_series(1, 3)) x ORDER BY 1;
SELECT p.first_name, r.status, r.reason FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) WHERE r.status IN ('skipped', 'suppressed') ORDER BY 1;
-- the request that went to the worker
SELECT q ->> 'url' AS url, q -> 'mail' -> 'to' AS recipient, q -> 'mail' ->> 'tls' AS tls, q #>> '{mail,message}' ~ 'offer|20 % off' AS approved_text
FROM (SELECT sales_internal.campaign_mail(company_id, recipient_id) AS q FROM sales.campaign_recipients r JOIN sales.prospects p USING (company_id, prospect_id)
      WHERE p.first_name = 'P1' AND step_number = 1 AND r.company_id = helpers.company('alpha')) x;
SELECT status, total_recipients, emails_sent FROM sales.email_campaigns;
SELECT p.first_name, i.type, i.subject, i.content, m.is_approved, m.approved_by IS NOT NULL AS by_launcher FROM sales.interactions i JOIN sales.prospects p USING (prospect_id) JOIN sales.messages m USING (message_id) ORDER BY 1;
SELECT p.first_name, p.status FROM sales.prospects p JOIN sales.campaign_recipients r USING (prospect_id) WHERE r.step_number = 2 ORDER BY 1;
-- follow-ups are due two days later
SELECT p.first_name, r.status, r.due_at FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) WHERE r.step_number = 2 ORDER BY 1;

-- events
:be_alpha
SELECT r.recipient_id AS r1, r.message_ref AS ref1 FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) WHERE p.first_name = 'P1' AND step_number = 1 \gset
SELECT r.recipient_id AS r5, r.message_id AS m5 FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) WHERE p.first_name = 'P5' AND step_number = 1 \gset
SELECT r.recipient_id AS r6 FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) WHERE p.first_name = 'P6' AND step_number = 1 \gset
SELECT sales.record_email_event('<' || :'ref1' || '>', 'delivered', '2037-03-10 10:05+00');
SELECT sales.record_email_event(:'ref1', 'opened', '2037-03-10 10:06+00', '{"user_agent": "Mozilla/5.0"}');
SELECT sales.record_email_event(:'ref1', 'opened', '2037-03-10 10:00:01+00');
SELECT sales.record_email_event(:'ref1', 'open', '2037-03-10 11:00+00', '{"user_agent": "Mozilla/5.0 (X11; Linux x86_64) Firefox/128"}') FROM generate_series(1, 3);
SELECT sales.record_email_event(:'r1', 'clicked', '2037-03-10 11:01+00', '{"url": "https://x.test", "event_id": "e1"}') FROM generate_series(1, 2);
SELECT sales.record_email_event(:'m5', 'replied', '2037-03-10 12:00+00', '{"content": "Oui, volontiers, merci !"}');
SELECT sales.record_email_event(:'r6', 'bounced', '2037-03-10 12:00+00', '{"type": "hard", "status": "5.1.1"}') FROM generate_series(1, 2);
SELECT helpers.try(format('SELECT sales.record_email_event(%L, ''eaten'')', :'r1'));
SELECT helpers.try('SELECT sales.record_email_event(''no-such@mail'', ''opened'')');
SELECT helpers.try(format('SELECT sales.record_email_event(%L, ''opened'', ''infinity'')', :'r1'));
SELECT emails_sent, emails_delivered, emails_opened, emails_clicked, emails_replied FROM sales.email_campaigns;
SELECT event, is_machine, count(*) FROM sales.email_events GROUP BY 1, 2 ORDER BY 1, 2;
SELECT p.first_name, r.step_number, r.status, r.reason FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) WHERE p.first_name IN ('P1', 'P5', 'P6') ORDER BY 1, 2;
SELECT response_received, response_content FROM sales.interactions WHERE message_id = :'m5';
SELECT sales.is_suppressed('p6@x.test');
-- the tone is judged by a job, and a positive answer moves the prospect
:be_super
SELECT kind, state FROM sales_internal.jobs WHERE kind = 'analyze_sentiment' AND company_id = helpers.company('alpha') AND state = 'queued' AND args ->> 'interaction_id' = (SELECT interaction_id::text FROM sales.interactions WHERE message_id = :'m5');
UPDATE sales.interactions SET response_sentiment = 'positive' WHERE message_id = :'m5';
SELECT status FROM sales.prospects WHERE first_name = 'P5';
-- another company cannot report on it
:be_beta
SELECT helpers.try(format('SELECT sales.record_email_event(%L, ''opened'')', :'ref1'));
SELECT count(*) FROM sales.campaign_recipients;
SELECT count(*) FROM sales.email_events;

-- the sequence two days later: answered and bounced ones get nothing, a meeting stops it
:be_super
SET sales_assistant.clock = '2037-03-12 10:00:01+00';
SELECT * FROM (SELECT pg_temp.send() AS sent FROM generate_series(1, 2)) x ORDER BY 1;
SELECT p.first_name, r.step_number, r.status, r.reason FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) WHERE r.step_number = 2 ORDER BY 1;
SELECT sales_internal.finish_campaigns();
SELECT status, total_recipients, emails_sent FROM sales.email_campaigns;
-- the follow-up is part of the thread, and HTML
SELECT q #>> '{mail,message}' ~ ('In-Reply-To: <' || :'ref1' || '>') AS threaded, q #>> '{mail,message}' ~ 'List-Unsubscribe-Post: List-Unsubscribe=One-Click' AS one_click
FROM (SELECT sales_internal.campaign_mail(company_id, recipient_id) AS q FROM sales.campaign_recipients r JOIN sales.prospects p USING (company_id, prospect_id) WHERE p.first_name = 'P1' AND step_number = 2) x;

-- unsubscribe: signed, from any session, once
SELECT sales_internal.unsubscribe_token(helpers.company('alpha'), :'r1') AS token \gset
SELECT length(:'token');
INSERT INTO sales.consents (company_id, prospect_id, source) SELECT company_id, prospect_id, 'fair of Lyon' FROM sales.prospects WHERE first_name = 'P1';
SET SESSION AUTHORIZATION regress_app;
RESET sales_assistant.context;
SELECT helpers.try(format('SELECT sales.unsubscribe(%L)', overlay(:'token' PLACING 'AAAA' FROM 40)));
SELECT helpers.try(format('SELECT sales.unsubscribe(%L)', 'x'));
SELECT helpers.try('SELECT sales.unsubscribe(NULL)');
SELECT sales.unsubscribe(:'token') FROM generate_series(1, 2);
:be_alpha
SELECT reason, count(*) FROM sales.suppressions GROUP BY 1 ORDER BY 1;
SELECT withdrawn_at IS NOT NULL AS withdrawn FROM sales.consents;
SELECT event, count(*) FROM sales.email_events WHERE event = 'unsubscribed' GROUP BY 1;
:be_beta
SELECT count(*) FROM sales.suppressions;

-- a campaign by consent, its messages approved one by one, recurring, once for each recipient
:be_alpha
UPDATE sales.templates SET content_template = 'Dear {{first_name}}' WHERE name = 'First';
INSERT INTO sales.consents (prospect_id, source) SELECT prospect_id, 'form' FROM sales.prospects WHERE first_name IN ('P7', 'P8');
UPDATE sales.mailboxes SET daily_limit = 100;
INSERT INTO sales.email_campaigns (campaign_id, name, template_id, target_filter, schedule_type, schedule_cron, approval, legal_basis, once_per_recipient, window_start, window_end)
VALUES ('00000000-0000-7000-8000-0000000000c2', 'Weekly', '00000000-0000-7000-8000-0000000000a1', '{"first_name": ["P1", "P7", "P8", "P9"]}', 'recurring', '0 8 * * 1', 'message', 'consent', true, '09:00', '12:00');
SELECT sales.launch_campaign('00000000-0000-7000-8000-0000000000c2');
SELECT status, next_run_at, runs FROM sales.email_campaigns WHERE name = 'Weekly';
:be_super
SELECT sales_internal.run_campaigns();
SET sales_assistant.clock = '2037-03-16 07:30:00+00';
SELECT sales_internal.run_campaigns();
SELECT status, next_run_at, runs, total_recipients FROM sales.email_campaigns WHERE name = 'Weekly';
SELECT p.first_name, r.status, r.due_at, m.content, m.is_approved FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) LEFT JOIN sales.messages m USING (message_id)
WHERE r.campaign_id = '00000000-0000-7000-8000-0000000000c2' ORDER BY 1;
SELECT pg_temp.send();
:be_alpha
SELECT sales.approve_message(r.message_id) FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) WHERE r.status = 'waiting' AND first_name IN ('P7', 'P9') ORDER BY p.first_name;
:be_super
SET sales_assistant.clock = '2037-03-16 07:59:00+00';
SELECT pg_temp.send() AS before_the_window;
SET sales_assistant.clock = '2037-03-16 08:30:00+00';
SELECT * FROM (SELECT pg_temp.send() AS sent FROM generate_series(1, 3)) x ORDER BY 1;
SELECT p.first_name, r.status, r.reason, r.legal_basis, r.consent_id IS NOT NULL AS consent FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id)
WHERE r.campaign_id = '00000000-0000-7000-8000-0000000000c2' ORDER BY 1;
-- an approved message that is changed is to be approved again
:be_alpha
SELECT sales.approve_message(r.message_id) FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) WHERE r.status = 'waiting' AND first_name = 'P8';
UPDATE sales.messages SET content = 'Dear P8, and more' WHERE content = 'Dear P8';
:be_super
SELECT pg_temp.send();
SELECT p.first_name, r.status, r.reason FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) WHERE r.campaign_id = '00000000-0000-7000-8000-0000000000c2' AND p.first_name = 'P8';
-- the next week: nobody twice
SET sales_assistant.clock = '2037-03-23 09:00:00+00';
SELECT sales_internal.run_campaigns() IS NOT NULL AS ran;
SELECT runs, total_recipients FROM sales.email_campaigns WHERE name = 'Weekly';
:be_alpha
SELECT sales.pause_campaign('00000000-0000-7000-8000-0000000000c2');
SELECT status, next_run_at FROM sales.email_campaigns WHERE name = 'Weekly';
SELECT sales.pause_campaign('00000000-0000-7000-8000-0000000000c2');

-- answers of mail servers
:be_super
SELECT a ->> 'n' AS answer, v.verdict, v.status FROM jsonb_array_elements('[
 {"n": "taken", "error": null, "smtp": {"code": 250, "reply": "250 2.0.0 Ok", "handed_over": true}},
 {"n": "lost after the mail", "error": "recv failure", "smtp": {"code": 354, "reply": "354 go", "handed_over": true}},
 {"n": "lost before", "error": "recv failure", "smtp": {"code": 354, "reply": "354 go", "handed_over": false}},
 {"n": "user unknown", "error": "RCPT failed: 550", "smtp": {"code": 550, "reply": "550 5.1.1 unknown", "handed_over": false}},
 {"n": "greylisted", "error": "RCPT failed: 450", "smtp": {"code": 450, "reply": "450 4.7.1 later", "handed_over": false}},
 {"n": "spam", "error": "weird server reply", "smtp": {"code": 554, "reply": "554 5.7.1 spam", "handed_over": true}},
 {"n": "later, after the mail", "error": "weird server reply", "smtp": {"code": 451, "reply": "451 4.3.0 busy", "handed_over": true}},
 {"n": "sender refused", "error": "MAIL failed: 550", "smtp": {"code": 550, "reply": "550 5.7.1 you", "handed_over": false}},
 {"n": "shutting down", "error": "RCPT failed: 421", "smtp": {"code": 421, "reply": "421 4.3.2 bye", "handed_over": false}},
 {"n": "no server", "error": "Failed to connect", "smtp": {"code": 0, "reply": "", "handed_over": false}}]') a,
 LATERAL sales_internal.read_send_answer((SELECT b FROM sales.mailboxes b LIMIT 1), a) v;
-- warm-up
SELECT day, sales_internal.mailbox_cap(jsonb_populate_record(b, '{"daily_limit": 200, "warmup_started": "2037-03-01", "warmup_first": 20, "warmup_growth": 1.5}'), day)
FROM sales.mailboxes b, unnest('{2037-02-28,2037-03-01,2037-03-02,2037-03-05,2037-03-07,2037-09-01}'::date[]) day WHERE email = 'ada@alpha.test' ORDER BY 1;
-- texts
SELECT sales_internal.normal_email(a) FROM unnest(ARRAY[' Ada.L+x@Ex-Ample.COM ', 'jörg@MÜNCHEN.de', 'no', 'a@b', 'é@x.fr']) a;
SELECT sales_internal.without_quotation(E'Yes please.\n\nOn Mon, 9 Mar 2026 at 10:00, Ada <ada@x.test> wrote:\n> Hello\n> there');
SELECT sales_internal.without_quotation(E'D''accord !\n\nLe lun. 9 mars 2026 à 10:00, Ada\n<ada@x.test> a écrit :\n\n> Bonjour');
SELECT helpers.try(format('SELECT sales_internal.build_mail(%L)', p)) FROM unnest(ARRAY[
  '{"from": {"address": "a@x.test"}, "to": {"address": "b@x.test\nBcc: c@x.test"}}', '{"from": {"address": "a@x.test"}, "to": {}}',
  '{"from": {"address": "a@x.test"}, "to": {"address": "b@x.test"}, "headers": {"X: y\nBcc": "z"}}']) p;
SELECT sales_internal.build_mail('{"from": {"name": "A\r\nBcc: evil@x.test", "address": "a@x.test"}, "to": {"name": "Zoë, \"Z\"", "address": "b@x.test"}, "subject": "Été\nBcc: evil@x.test",
  "message_id": "m@x.test", "date": 0, "text": "a\n.\nFrom here, éà", "headers": {"X-Y": "v\nBcc: evil@x.test"}}') ~ '(^|\n)Bcc' AS injected;
SELECT sales_internal.build_mail('{"from": {"address": "a@x.test"}, "to": {"name": "Zoë", "address": "b@x.test"}, "subject": "Été", "message_id": "m@x.test", "date": 0, "text": "éà"}');

-- the counts are the ledger's, whatever was done
CREATE FUNCTION pg_temp.differ() RETURNS bigint LANGUAGE sql AS $$
SELECT count(*) FROM sales.email_campaigns c
LEFT JOIN (SELECT campaign_id, count(*) FILTER (WHERE step_number = 1) AS a, count(sent_at) AS b, count(delivered_at) AS c, count(opened_at) AS d, count(clicked_at) AS e, count(replied_at) AS f
           FROM sales.campaign_recipients GROUP BY 1) r USING (campaign_id)
WHERE (c.total_recipients, c.emails_sent, c.emails_delivered, c.emails_opened, c.emails_clicked, c.emails_replied) <> (coalesce(a, 0), coalesce(b, 0), coalesce(r.c, 0), coalesce(d, 0), coalesce(e, 0), coalesce(f, 0)) $$;
SELECT pg_temp.differ();
DELETE FROM sales.interactions WHERE message_id IS NOT NULL;
DELETE FROM sales.prospects WHERE first_name IN ('P5', 'P7') AND company_id = helpers.company('alpha');
SELECT pg_temp.differ();
-- erased and imported again: nobody writes to P8
:be_alpha
SELECT sales.gdpr_erase(prospect_id, 'art. 17') FROM sales.prospects WHERE first_name = 'P8';
SELECT sales.is_suppressed('p8@x.test');
:be_super
DELETE FROM sales.system_settings WHERE category = 'campaigns';
DELETE FROM sales.users WHERE email = 'launcher@alpha.test';
\i :clean
