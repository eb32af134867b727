\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
\set clean :srcdir '/clean.inc'
\i :clean
-- Rules of campaigns one by one: schedules, throttle, rotation, stops, bounces, what is uncertain.
:be_super
SET sales_assistant.clock = '2037-03-10 10:00:00+00';
INSERT INTO sales.system_settings (company_id, category, key_name, value) VALUES (NULL, 'email', 'from', 'Ada@Alpha.test'), (NULL, 'email', 'smtp_url', 'smtp://mail.alpha.test'), (NULL, 'campaigns', 'domain_per_minute', '2');
INSERT INTO sales.products (company_id, name) SELECT company_id, 'Cap' FROM sales.companies;
INSERT INTO sales.templates (template_id, company_id, name, channel, language, subject_template, content_template)
SELECT ('00000000-0000-7000-8000-0000000000' || left(lower(name), 1) || '9')::uuid, company_id, 'T', 'email', 'en', 'Hello', 'Dear {{first_name}}' FROM sales.companies;
INSERT INTO sales.prospects (prospect_id, company_id, first_name, email)
SELECT ('00000000-0000-7000-8000-00000000' || left(lower(name), 1) || '00' || g)::uuid, company_id, 'P' || g, 'p' || g || CASE WHEN g < 4 THEN '@x.test' ELSE '@y' || g || '.test' END FROM sales.companies, generate_series(1, 6) g;
CREATE FUNCTION pg_temp.send(reply text DEFAULT '250 ok') RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    box record;
    recipient uuid;
BEGIN
    FOR box IN SELECT * FROM sales.mailboxes WHERE company_id = helpers.company('alpha') ORDER BY email LOOP
        recipient := sales_internal.claim_recipient(box.company_id, box.mailbox_id);
        EXIT WHEN recipient IS NOT NULL;
    END LOOP;
    IF recipient IS NULL THEN
        RETURN 'none';
    END IF;
    PERFORM sales_internal.campaign_mail(box.company_id, recipient);
    PERFORM sales_internal.apply_send_answer(box.company_id, recipient, jsonb_build_object('error', CASE WHEN reply NOT LIKE '250%' THEN 'x' END,
        'smtp', jsonb_build_object('code', left(reply, 3)::integer, 'reply', reply, 'handed_over', true)));
    RETURN (SELECT concat_ws(' ', p.first_name, r.step_number, r.status) FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) WHERE recipient_id = recipient);
END $$;
CREATE FUNCTION pg_temp.ledger(campaign text) RETURNS TABLE (first_name text, step integer, status text, reason text, due timestamptz) LANGUAGE sql AS $$
SELECT p.first_name, r.step_number, r.status, r.reason, r.due_at FROM sales.campaign_recipients r JOIN sales.prospects p USING (company_id, prospect_id) JOIN sales.email_campaigns c USING (company_id, campaign_id)
WHERE c.name = campaign AND company_id = helpers.company('alpha') ORDER BY 1, 2 $$;

-- scheduled: not before its time; the mailbox is made of the settings; a domain gets a mail each half minute
:be_alpha
INSERT INTO sales.email_campaigns (campaign_id, name, template_id, schedule_type, scheduled_at) VALUES ('00000000-0000-7000-8000-0000000000c1', 'Later', '00000000-0000-7000-8000-0000000000a9', 'scheduled', '2037-03-10 11:00+00');
SELECT sales.launch_campaign('00000000-0000-7000-8000-0000000000c1');
SELECT email, smtp_url FROM sales.mailboxes;
SELECT status, runs FROM sales.email_campaigns;
:be_super
SELECT sales_internal.run_campaigns();
SELECT count(*) FROM sales.campaign_recipients;
SET sales_assistant.clock = '2037-03-10 11:00:00+00';
SELECT sales_internal.run_campaigns();
SELECT status, runs, total_recipients FROM sales.email_campaigns;
SELECT * FROM (SELECT pg_temp.send() AS sent FROM generate_series(1, 5)) x WHERE sent NOT SIMILAR TO 'P[1-3]%' ORDER BY 1;
SELECT count(*) FILTER (WHERE status = 'sent') AS sent, count(*) FILTER (WHERE status = 'pending') AS pending FROM pg_temp.ledger('Later') WHERE first_name < 'P4';
SET sales_assistant.clock = '2037-03-10 11:00:31+00';
SELECT * FROM (SELECT pg_temp.send() FROM generate_series(1, 2)) x (sent) WHERE sent = 'none';
SET sales_assistant.clock = '2037-03-10 11:01:02+00';
SELECT pg_temp.send() ~ 'P[1-3] 1 sent' AS last, pg_temp.send();
SELECT sales_internal.finish_campaigns();
SELECT status, emails_sent FROM sales.email_campaigns;
:be_beta
SELECT count(*) FROM sales.email_campaigns;
SELECT count(*) FROM sales.mailboxes;

-- two mailboxes share a campaign, each its half; one that is switched off sends nothing
:be_super
UPDATE sales.system_settings SET value = '0' WHERE key_name = 'domain_per_minute';
SET sales_assistant.clock = '2037-03-10 11:10:00+00';
:be_alpha
INSERT INTO sales.mailboxes (email, smtp_url) VALUES ('bob@alpha.test', 'smtp://mail.alpha.test');
INSERT INTO sales.email_campaigns (campaign_id, name, template_id, target_filter) VALUES ('00000000-0000-7000-8000-0000000000c2', 'Sequence', '00000000-0000-7000-8000-0000000000a9', '{"first_name": {"<>": "P6"}}');
INSERT INTO sales.campaign_steps (campaign_id, step_number, template_id, wait) SELECT '00000000-0000-7000-8000-0000000000c2', s, '00000000-0000-7000-8000-0000000000a9', '1 day' FROM generate_series(2, 3) s;
SELECT sales.launch_campaign('00000000-0000-7000-8000-0000000000c2');
SELECT b.email, count(*) FROM sales.campaign_recipients r JOIN sales.mailboxes b USING (mailbox_id) WHERE campaign_id = '00000000-0000-7000-8000-0000000000c2' GROUP BY 1 ORDER BY 1;
UPDATE sales.mailboxes SET is_active = false WHERE email = 'bob@alpha.test';
:be_super
SELECT count(*) FILTER (WHERE s LIKE '%sent') AS sent, count(*) FILTER (WHERE s = 'none') AS none FROM (SELECT pg_temp.send() AS s FROM generate_series(1, 4)) x;
UPDATE sales.mailboxes SET is_active = true;
SELECT count(*) FILTER (WHERE s LIKE '%sent') AS sent FROM (SELECT pg_temp.send() AS s FROM generate_series(1, 3)) x;
-- what ends a sequence: a meeting held, one planned, a stage, an answer on another way; P5 goes on
INSERT INTO sales.interactions (company_id, prospect_id, channel, type, interaction_date) SELECT company_id, prospect_id, 'meeting', 'meeting_held', '2037-03-10 12:00+00' FROM sales.prospects WHERE first_name = 'P1' AND company_id = helpers.company('alpha');
INSERT INTO sales.tasks (company_id, prospect_id, type, title, created_at) SELECT company_id, prospect_id, 'meeting', 'visit', '2037-03-10 12:00+00' FROM sales.prospects WHERE first_name = 'P2' AND company_id = helpers.company('alpha');
INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, stage_entered_at) SELECT company_id, prospect_id, 'demo_programmee', '2037-03-10 12:00+00' FROM sales.prospects WHERE first_name = 'P3' AND company_id = helpers.company('alpha');
INSERT INTO sales.interactions (company_id, prospect_id, channel, type, interaction_date) SELECT company_id, prospect_id, 'linkedin', 'received', '2037-03-10 12:00+00' FROM sales.prospects WHERE first_name = 'P4' AND company_id = helpers.company('alpha');
SET sales_assistant.clock = '2037-03-11 12:00:00+00';
SELECT * FROM (SELECT pg_temp.send() AS sent FROM generate_series(1, 2)) x ORDER BY 1;
SELECT first_name, step, status, reason FROM pg_temp.ledger('Sequence') WHERE step > 1;

-- pause holds everything; launched again it goes on
:be_alpha
SELECT sales.pause_campaign('00000000-0000-7000-8000-0000000000c2');
:be_super
SET sales_assistant.clock = '2037-03-12 13:00:00+00';
SELECT pg_temp.send();
:be_alpha
SELECT sales.launch_campaign('00000000-0000-7000-8000-0000000000c2');
:be_super
-- greylisting: 5, 15, 45 minutes; what is uncertain is not sent again by itself
SELECT pg_temp.send('451 4.7.1 later');
SELECT step, status, reason, due - '2037-03-12 13:00:00+00' AS wait FROM pg_temp.ledger('Sequence') WHERE step = 3;
SET sales_assistant.clock = '2037-03-12 13:05:00+00';
SELECT pg_temp.send('451 4.7.1 later');
SELECT due - '2037-03-12 13:05:00+00' AS wait FROM pg_temp.ledger('Sequence') WHERE step = 3;
SET sales_assistant.clock = '2037-03-12 13:20:00+00';
SELECT pg_temp.send('354 go on');
SELECT sales_internal.run_campaigns() IS NOT NULL AS ran, pg_temp.send();
SELECT status, reason FROM pg_temp.ledger('Sequence') WHERE step = 3;
SELECT severity, finding FROM sales_internal.doctor_campaigns();
:be_beta
SELECT helpers.try($$SELECT sales.resolve_uncertain('00000000-0000-7000-8000-0000000000c2', true)$$);
:be_alpha
SELECT sales.resolve_uncertain('00000000-0000-7000-8000-0000000000c2', false);
:be_super
SELECT pg_temp.send();
-- a claim whose worker is gone becomes uncertain; a later answer says that it was sent
UPDATE sales.campaign_recipients SET status = 'sending', claimed_at = '2037-03-12 13:20:00+00', sent_at = NULL WHERE step_number = 3;
SET sales_assistant.clock = '2037-03-12 13:40:00+00';
SELECT sales_internal.run_campaigns() IS NOT NULL AS ran;
SELECT status, reason FROM pg_temp.ledger('Sequence') WHERE step = 3;
SELECT sales_internal.note_event(company_id, recipient_id, 'opened', '2037-03-12 13:45+00', '{}') FROM sales.campaign_recipients WHERE step_number = 3;
SELECT status, reason FROM pg_temp.ledger('Sequence') WHERE step = 3;
SELECT emails_sent, emails_delivered, emails_opened FROM sales.email_campaigns WHERE name = 'Sequence';

-- three soft bounces without a delivery between suppress; so does @domain
SELECT sales_internal.note_event(company_id, recipient_id, 'bounced', '2037-03-12 14:00+00', '{"type": "soft"}') FROM sales.campaign_recipients r JOIN sales.prospects p USING (company_id, prospect_id) WHERE p.first_name = 'P4' AND r.status = 'sent';
:be_alpha
SELECT sales.is_suppressed('p4@y4.test') AS after_two;
INSERT INTO sales.email_campaigns (campaign_id, name, template_id, target_filter) VALUES ('00000000-0000-7000-8000-0000000000c3', 'Third', '00000000-0000-7000-8000-0000000000a9', '{"first_name": ["P4", "P5", "P6"]}');
SELECT sales.launch_campaign('00000000-0000-7000-8000-0000000000c3');
INSERT INTO sales.suppressions (address, reason) VALUES ('@Y6.test', 'manual');
SELECT sales.is_suppressed('anybody@y6.test'), sales.is_suppressed('anybody@y5.test');
:be_super
SELECT * FROM (SELECT pg_temp.send() AS sent FROM generate_series(1, 3)) x ORDER BY 1;
SELECT sales_internal.note_event(company_id, recipient_id, 'bounced', '2037-03-12 14:10+00', '{"status": "4.2.2"}') FROM sales.campaign_recipients r JOIN sales.prospects p USING (company_id, prospect_id) WHERE p.first_name = 'P4' AND campaign_id = '00000000-0000-7000-8000-0000000000c3';
SELECT first_name, status, reason FROM pg_temp.ledger('Third');
:be_alpha
SELECT sales.is_suppressed('p4@y4.test') AS after_three;
-- a complaint ends it
:be_super
SELECT sales_internal.note_event(company_id, recipient_id, 'complained', '2037-03-12 15:00+00', '{}') FROM sales.campaign_recipients r JOIN sales.prospects p USING (company_id, prospect_id) WHERE p.first_name = 'P5' AND campaign_id = '00000000-0000-7000-8000-0000000000c3';
SELECT reason, count(*) FROM sales.suppressions GROUP BY 1 ORDER BY 1;

-- mails that come in: reports by address, a mail of one's own, an answer to a mail sent by hand
SELECT sales_internal.read_incoming(helpers.company('alpha'), 'ada@alpha.test', convert_to(m, 'UTF8')) FROM unnest(ARRAY[
    E'From: Ada <ADA@alpha.test>\nSubject: x\n\nmine', E'From: MAILER-DAEMON@mx.test\nSubject: x\n\nwarning', E'From: stranger@z.test\nSubject: x\n\nhello', E'From: p1@x.test\nSubject: Re: x\nMessage-ID: <a@x.test>\n\nYes, interested!',
    E'From: p3@x.test\nSubject: unsubscribe me\nMessage-ID: <b@x.test>\n\nplease', E'Subject: nobody\n\nx', E'From: fbl@isp.test\nMIME-Version: 1.0\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\n\n--b\nContent-Type: message/feedback-report\n\nFeedback-Type: abuse\nOriginal-Rcpt-To: p2@x.test\n\n--b--\n']) m;
SELECT p.first_name, e.event, e.detail ->> 'source' AS source FROM sales.email_events e JOIN sales.prospects p USING (company_id, prospect_id) WHERE e.event IN ('replied', 'complained') ORDER BY 1, 2;
SELECT p.first_name, response_content FROM sales.interactions i JOIN sales.prospects p USING (company_id, prospect_id) WHERE response_received ORDER BY 1;
-- the counts are the ledger's
SELECT name, (total_recipients, emails_sent, emails_delivered, emails_opened, emails_clicked, emails_replied) =
    (SELECT count(*) FILTER (WHERE step_number = 1)::int, count(sent_at)::int, count(delivered_at)::int, count(opened_at)::int, count(clicked_at)::int, count(replied_at)::int FROM sales.campaign_recipients r WHERE r.campaign_id = c.campaign_id) AS equal
FROM sales.email_campaigns c ORDER BY 1;
-- a campaign whose time has come without a mailbox to send from waits for one, and holds up no other company's
SET sales_assistant.clock = '2037-03-20 10:00:00+00';
DELETE FROM sales.suppressions;
INSERT INTO sales.email_campaigns (campaign_id, company_id, name, template_id, schedule_type, scheduled_at, target_filter)
SELECT ('00000000-0000-7000-8000-00000000' || left(lower(name), 1) || '0c4')::uuid, company_id, 'Unsent', ('00000000-0000-7000-8000-0000000000' || left(lower(name), 1) || '9')::uuid, 'scheduled', '2037-03-20 11:00+00', '{"first_name": ["P1", "P2"]}' FROM sales.companies;
:be_alpha
SELECT sales.launch_campaign('00000000-0000-7000-8000-00000000a0c4');
:be_beta
SELECT sales.launch_campaign('00000000-0000-7000-8000-00000000b0c4');
:be_super
UPDATE sales.mailboxes SET is_active = false WHERE company_id = helpers.company('alpha');
SET sales_assistant.clock = '2037-03-20 11:00:00+00';
SELECT sales_internal.run_campaigns() > 0 AS ran;
SELECT c.name, e.status, e.runs, e.total_recipients FROM sales.email_campaigns e JOIN sales.companies c USING (company_id) WHERE e.name = 'Unsent' ORDER BY 1;
SELECT severity, finding FROM sales_internal.doctor_campaigns() WHERE finding LIKE '%Unsent%';
UPDATE sales.mailboxes SET is_active = true WHERE company_id = helpers.company('alpha');
SELECT sales_internal.run_campaigns() > 0 AS ran;
SELECT c.name, e.status, e.runs, e.total_recipients FROM sales.email_campaigns e JOIN sales.companies c USING (company_id) WHERE e.name = 'Unsent' ORDER BY 1;
-- a provider that was switched off makes the mailbox rest; a text that cannot be written costs its recipient, and neither costs the day a mail
UPDATE sales.mailboxes SET provider = 'sendgrid' WHERE company_id = helpers.company('alpha');
UPDATE sales.providers SET is_active = false WHERE name = 'sendgrid';
CREATE TEMP TABLE taken AS SELECT coalesce(sum(taken), 0) AS n FROM sales_internal.mailbox_days WHERE company_id = helpers.company('alpha');
SELECT sales_internal.next_campaign_mail(sales.uuidv7(), company_id, jsonb_build_object('mailbox_id', mailbox_id)) FROM sales.mailboxes WHERE company_id = helpers.company('alpha') ORDER BY email;
SELECT first_name, status, reason FROM pg_temp.ledger('Unsent');
SELECT email, failures, last_error FROM sales.mailboxes WHERE company_id = helpers.company('alpha') AND failures > 0 ORDER BY email;
UPDATE sales.providers SET is_active = true WHERE name = 'sendgrid';
UPDATE sales.mailboxes SET provider = NULL, paused_until = NULL, failures = 0 WHERE company_id = helpers.company('alpha');
UPDATE sales.campaign_steps SET approved_content = '{{#broken}}' WHERE campaign_id = '00000000-0000-7000-8000-00000000a0c4';
SELECT sales_internal.next_campaign_mail(sales.uuidv7(), company_id, jsonb_build_object('mailbox_id', mailbox_id)) ->> 'outcome' AS outcome FROM sales.mailboxes WHERE company_id = helpers.company('alpha') ORDER BY email;
SELECT first_name, status, reason FROM pg_temp.ledger('Unsent');
SELECT sum(d.taken) = (SELECT n FROM taken) AS nothing_taken FROM sales_internal.mailbox_days d WHERE company_id = helpers.company('alpha');
-- what a prospect is called is text: no template, no header, no HTML
UPDATE sales.prospects SET first_name = E'{{sender}}\r\nBcc: v@x.test <b>' WHERE company_id = helpers.company('beta') AND first_name = 'P1';
UPDATE sales.campaign_steps SET approved_subject = 'Hi {{first_name}}', approved_content = '<p>Dear {{first_name}}</p>' WHERE campaign_id = '00000000-0000-7000-8000-00000000b0c4';
CREATE TEMP TABLE written AS SELECT sales_internal.campaign_mail(r.company_id, r.recipient_id) #>> '{mail,message}' AS mail, r.recipient_id
FROM sales.campaign_recipients r JOIN sales.prospects p USING (company_id, prospect_id) WHERE r.company_id = helpers.company('beta') AND p.first_name LIKE '%Bcc%';
SELECT mail ~ '(^|\n)Bcc' AS injected FROM written;
SELECT subject, content FROM sales.messages JOIN sales.campaign_recipients USING (company_id, message_id) JOIN written USING (recipient_id);
-- a token of one company, sent to a mailbox of another, unsubscribes nobody there or here
SELECT sales_internal.read_incoming(helpers.company('alpha'), 'ada@alpha.test', convert_to(E'From: p1@x.test\nMessage-ID: <t@x.test>\nSubject: unsubscribe ' || sales_internal.unsubscribe_token(helpers.company('beta'), recipient_id) || E'\n\n', 'UTF8')) FROM written;
SELECT c.name, s.reason, count(*) FROM sales.suppressions s JOIN sales.companies c USING (company_id) GROUP BY 1, 2 ORDER BY 1, 2;
SELECT helpers.try($$SELECT sales.unsubscribe((SELECT translate(encode(uuid_send(helpers.company('alpha')) || substr(decode(translate(t, '-_', '+/'), 'base64'), 17), 'base64'), E'+/\n', '-_') FROM (SELECT sales_internal.unsubscribe_token(helpers.company('beta'), recipient_id) AS t FROM written) x))$$);
-- no foreground sends mail: a crash there could send it twice
INSERT INTO sales_internal.jobs (company_id, kind, args) SELECT company_id, 'campaign_mail', jsonb_build_object('mailbox_id', mailbox_id) FROM sales.mailboxes LIMIT 1;
SELECT sales_internal.prepare_campaign_mail(job_id, company_id, args) FROM sales_internal.jobs WHERE kind = 'campaign_mail' LIMIT 1;
DELETE FROM sales_internal.jobs WHERE kind IN ('campaign_mail', 'mailbox_read');
-- a draft may lack the time it is to go at; it is not launched so, and no other state may lack it
:be_alpha
INSERT INTO sales.email_campaigns (name, schedule_type) VALUES ('timeless', 'recurring'), ('timeless', 'scheduled');
SELECT c.schedule_type, f.finding, f.hint FROM sales.email_campaigns c, sales.check_campaign(c.campaign_id) f WHERE c.name = 'timeless' AND f.finding LIKE '%without a %' ORDER BY 1, 2;
:be_super
SELECT helpers.try($$UPDATE sales.email_campaigns SET status = 'paused' WHERE name = 'timeless'$$);
DELETE FROM sales.email_campaigns WHERE name = 'timeless';
DELETE FROM sales.system_settings WHERE company_id IS NULL AND category IN ('email', 'campaigns');
\i :clean
