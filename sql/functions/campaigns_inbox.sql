-- Campaigns: reading mailboxes.  Folders are read with BODY.PEEK, so that no
-- mail is marked as read; mails that concern no campaign are not stored.

-- What the writer of an answer wrote, without what he answered to.
CREATE OR REPLACE FUNCTION sales_internal.without_quotation(content text) RETURNS text
LANGUAGE plpgsql IMMUTABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    kept text := replace(content, E'\r', '');
    start integer;
BEGIN
    -- "On Monday ... wrote:", "Le ... a écrit :", "Il ... ha scritto:", "El ... escribió:", "Am ... schrieb ...:"
    start := (SELECT min(strpos(kept, m[1])) FROM regexp_matches(kept,
        '(?:^|\n)((?:On|Le|Il|El|Am) [^\n]{4,200}(?:\n[^\n]{0,120})?(?:wrote|a écrit|ha scritto|escribió|schrieb)[^\n]{0,80}:[ \t]*)(?=\n|$)', 'g') AS m);
    start := least(start, (SELECT min(strpos(kept, m[1])) FROM regexp_matches(kept,
        '(?:^|\n)(-{2,} ?(?:Original Message|Message d''origine|Messaggio originale|Mensaje original|Ursprüngliche Nachricht) ?-{2,}|_{20,})', 'gi') AS m));
    IF start > 0 THEN
        kept := left(kept, start - 1);
    END IF;
    kept := regexp_replace(kept, '(^|\n)>[^\n]*', '', 'g');
    kept := regexp_replace(kept, '\n-- \n.*$', '');
    RETURN btrim(kept, E' \n\t');
END
$$;
COMMENT ON FUNCTION sales_internal.without_quotation(text) IS 'Text of an answer without quotations and signature';
REVOKE ALL ON FUNCTION sales_internal.without_quotation(text) FROM PUBLIC;

-- The mail that a report or an answer is about: by Message-ID, else the last
-- one to the address.
CREATE OR REPLACE FUNCTION sales_internal.recipient_of(company uuid, refs jsonb, address text) RETURNS uuid
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(
        (SELECT x.recipient_id FROM jsonb_array_elements_text(coalesce(refs, '[]')) WITH ORDINALITY AS e (ref, n)
         JOIN sales.campaign_recipients x ON x.company_id = company AND x.message_ref = lower(btrim(e.ref, ' <>'))
         ORDER BY e.n DESC LIMIT 1),
        (SELECT x.recipient_id FROM sales.campaign_recipients x
         WHERE x.company_id = company AND x.address_hash = sales_internal.address_hash(sales_internal.mail_key(company), address)
           AND (x.sent_at IS NOT NULL OR x.status = 'uncertain') AND coalesce(x.sent_at, x.claimed_at) > sales_internal.now() - interval '90 days'
         ORDER BY coalesce(x.sent_at, x.claimed_at) DESC, x.recipient_id DESC LIMIT 1))
$$;
COMMENT ON FUNCTION sales_internal.recipient_of(uuid, jsonb, text) IS 'Mail that one of these Message-IDs names, else the last to this address in 90 days';
REVOKE ALL ON FUNCTION sales_internal.recipient_of(uuid, jsonb, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.read_report(company uuid, mail jsonb) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    field jsonb;
    about jsonb := CASE WHEN mail #>> '{original,message_id}' IS NOT NULL THEN jsonb_build_array(mail #>> '{original,message_id}') END;
    recipient uuid;
    action text;
    status text;
    told text := 'a report on no mail of a campaign';
BEGIN
    FOR field IN SELECT * FROM jsonb_array_elements((mail -> 'delivery') || (mail -> 'feedback'))
    LOOP
        action := lower(field ->> 'action');
        CONTINUE WHEN action IS NULL AND field ->> 'feedback-type' IS NULL;
        recipient := sales_internal.recipient_of(company, about, btrim(regexp_replace(
            coalesce(field ->> 'original-recipient', field ->> 'final-recipient', field ->> 'original-rcpt-to', mail #>> '{original,to,0}'), '^[^;]*;', ''), ' <>'));
        CONTINUE WHEN recipient IS NULL;
        status := substring(field ->> 'status' FROM '[245]\.\d{1,3}\.\d{1,3}');
        IF field ->> 'feedback-type' IS NOT NULL THEN
            IF lower(field ->> 'feedback-type') IN ('abuse', 'fraud', 'virus', 'other', 'opt-out') THEN
                PERFORM sales_internal.note_event(company, recipient, 'complained', sales_internal.now(),
                    jsonb_build_object('event_id', coalesce(mail ->> 'message_id', 'feedback'), 'source', 'feedback report', 'type', field ->> 'feedback-type'));
            END IF;
            told := 'complaint';
        ELSIF action = 'failed' THEN
            -- 4.x.x that failed was tried for days; a full mailbox may empty
            PERFORM sales_internal.note_event(company, recipient, 'bounced', sales_internal.now(), jsonb_strip_nulls(jsonb_build_object(
                'event_id', coalesce(mail ->> 'message_id', 'report'), 'source', 'report', 'status', status,
                'type', CASE WHEN status ~ '^5' AND status !~ '^5\.(2\.2|7\.)' THEN 'hard' ELSE 'soft' END,
                'diagnostic', left(field ->> 'diagnostic-code', 500))));
            told := 'bounce';
        ELSIF action IN ('delivered', 'relayed', 'expanded') THEN
            PERFORM sales_internal.note_event(company, recipient, 'delivered', sales_internal.now(),
                jsonb_build_object('event_id', coalesce(mail ->> 'message_id', 'report'), 'source', 'report'));
            told := 'delivery';
        ELSE
            told := 'delay';
        END IF;
    END LOOP;
    RETURN told;
END
$$;
COMMENT ON FUNCTION sales_internal.read_report(uuid, jsonb) IS 'Notes what a delivery or feedback report tells; returns what it was';
REVOKE ALL ON FUNCTION sales_internal.read_report(uuid, jsonb) FROM PUBLIC;

-- One mail that came into a mailbox; returns what it was.
CREATE OR REPLACE FUNCTION sales_internal.read_incoming(company uuid, mailbox text, raw bytea) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    mail jsonb := sales_internal.parse_mail(raw);
    sender text := lower(mail #>> '{from,0}');
    token record;
    recipient uuid;
    sent_at timestamptz;
    at timestamptz;
    content text;
    known record;
BEGIN
    IF mail IS NULL THEN
        RETURN 'unreadable';
    ELSIF jsonb_array_length(mail -> 'delivery') + jsonb_array_length(mail -> 'feedback') > 0 THEN
        RETURN sales_internal.read_report(company, mail);
    ELSIF sender IS NULL OR sender = lower(mailbox) OR sender ~ '^(mailer-daemon|postmaster)@' THEN
        RETURN 'nobody''s';
    END IF;
    SELECT * INTO token FROM sales_internal.read_token(substring(mail ->> 'subject' FROM '(?i)unsubscribe\s+([A-Za-z0-9_-]{64})'));
    IF token.company = company THEN
        PERFORM sales.unsubscribe(substring(mail ->> 'subject' FROM '(?i)unsubscribe\s+([A-Za-z0-9_-]{64})'));
        RETURN 'unsubscription';
    END IF;
    content := coalesce(nullif(sales_internal.without_quotation(mail ->> 'text'), ''), nullif(sales_internal.without_quotation(mail ->> 'html_text'), ''));
    recipient := sales_internal.recipient_of(company, (mail -> 'references') || (mail -> 'in_reply_to'), sender);
    at := least(to_timestamp((mail ->> 'date')::double precision), sales_internal.now());
    IF recipient IS NOT NULL THEN
        SELECT coalesce(x.sent_at, x.claimed_at) INTO sent_at FROM sales.campaign_recipients x
        WHERE x.company_id = company AND x.recipient_id = recipient;
        PERFORM sales_internal.note_event(company, recipient, CASE WHEN (mail ->> 'automatic')::boolean THEN 'auto_replied' ELSE 'replied' END,
            coalesce(greatest(at, sent_at), sales_internal.now()), jsonb_strip_nulls(jsonb_build_object(
                'event_id', coalesce(mail ->> 'message_id', md5(raw)), 'source', 'mailbox', 'subject', mail ->> 'subject', 'content', content)));
        RETURN CASE WHEN (mail ->> 'automatic')::boolean THEN 'automatic answer' ELSE 'answer' END;
    ELSIF (mail ->> 'automatic')::boolean THEN
        RETURN 'nobody''s';
    END IF;
    -- An answer to a mail that was sent by hand.
    SELECT i.prospect_id, i.interaction_id, i.interaction_date INTO known
    FROM sales.prospects p JOIN sales.interactions i ON i.company_id = company AND i.prospect_id = p.prospect_id
    WHERE p.company_id = company AND lower(p.email) = sender AND p.deleted_at IS NULL
      AND i.channel = 'email' AND i.type = 'sent' AND i.interaction_date > sales_internal.now() - interval '90 days'
    ORDER BY i.interaction_date DESC LIMIT 1;
    IF NOT FOUND THEN
        RETURN 'nobody''s';
    END IF;
    PERFORM sales_internal.note_reply(company, known.prospect_id, known.interaction_id, known.interaction_date,
        coalesce(greatest(at, known.interaction_date), sales_internal.now()), mail ->> 'subject', content);
    RETURN 'answer';
END
$$;
COMMENT ON FUNCTION sales_internal.read_incoming(uuid, text, bytea) IS 'Notes what a mail that came in tells: an answer, a bounce, a complaint; returns what it was';
REVOKE ALL ON FUNCTION sales_internal.read_incoming(uuid, text, bytea) FROM PUBLIC;

-- --- the job ---

CREATE OR REPLACE FUNCTION sales_internal.mailbox_command(box sales.mailboxes, command text) RETURNS jsonb
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT jsonb_strip_nulls(jsonb_build_object(
        'url', box.imap_url, 'timeout_ms', 60000, 'max_bytes', 16777216, 'api_key_id', box.imap_key_id,
        'imap', jsonb_build_object('user', box.imap_user, 'tls', box.imap_tls, 'command', command)))
$$;
COMMENT ON FUNCTION sales_internal.mailbox_command(sales.mailboxes, text) IS 'Request of one IMAP command';
REVOKE ALL ON FUNCTION sales_internal.mailbox_command(sales.mailboxes, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.search_mailbox(box sales.mailboxes) RETURNS jsonb
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    -- what was there before the mailbox was set up is nobody's business
    SELECT sales_internal.mailbox_command(box, format('UID SEARCH UID %s:* SINCE %s', coalesce(box.imap_last_uid, 0) + 1,
                                                      to_char(box.created_at - interval '1 day', 'DD-Mon-YYYY')))
$$;
COMMENT ON FUNCTION sales_internal.search_mailbox(sales.mailboxes) IS 'Request for the mails that are new';
REVOKE ALL ON FUNCTION sales_internal.search_mailbox(sales.mailboxes) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.prepare_mailbox_read(job uuid, company uuid, args jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    box sales.mailboxes;
BEGIN
    UPDATE sales.mailboxes b SET imap_read_at = sales_internal.now(), imap_asked_uid = NULL
    WHERE b.company_id = company AND b.mailbox_id = (args ->> 'mailbox_id')::uuid AND b.imap_url IS NOT NULL AND b.is_active
    RETURNING * INTO box;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'done');
    END IF;
    RETURN sales_internal.search_mailbox(box);
END
$$;
COMMENT ON FUNCTION sales_internal.prepare_mailbox_read(uuid, uuid, jsonb) IS 'Job mailbox_read: asks for new mails';
REVOKE ALL ON FUNCTION sales_internal.prepare_mailbox_read(uuid, uuid, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.settle_mailbox_read(job uuid, company uuid, args jsonb, response jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    box sales.mailboxes;
    heard bytea := decode(coalesce(response ->> 'body_base64', ''), 'base64');
    validity bigint := sales_internal.imap_validity(heard);
    uids bigint[];
    uid bigint;
    raw bytea;
BEGIN
    SELECT * INTO box FROM sales.mailboxes b WHERE b.company_id = company AND b.mailbox_id = (args ->> 'mailbox_id')::uuid;
    IF NOT FOUND THEN
        RETURN jsonb_build_object('outcome', 'done');
    ELSIF (response ->> 'status')::integer = 422 AND box.imap_asked_uid IS NOT NULL THEN
        -- the mail is gone, or its own lines read like the server's refusal
        RAISE WARNING 'mail % in % could not be read: %', box.imap_asked_uid, box.email, response ->> 'error';
        UPDATE sales.mailboxes b SET imap_last_uid = greatest(b.imap_asked_uid, b.imap_last_uid), imap_asked_uid = NULL
        WHERE b.company_id = company AND b.mailbox_id = box.mailbox_id RETURNING * INTO box;
        RETURN sales_internal.search_mailbox(box);
    ELSIF response ->> 'error' IS NOT NULL THEN
        UPDATE sales.mailboxes b SET last_error = left('imap: ' || (response ->> 'error'), 500)
        WHERE b.company_id = company AND b.mailbox_id = box.mailbox_id;
        RETURN jsonb_build_object('outcome', 'failed', 'error', 'imap: ' || (response ->> 'error'));
    END IF;
    IF validity IS DISTINCT FROM box.imap_validity THEN
        -- another folder under the same name: its numbers start anew, and a mail
        -- that is read again is noted once all the same
        UPDATE sales.mailboxes b SET imap_validity = validity, imap_last_uid = NULL, imap_asked_uid = NULL, last_error = NULL
        WHERE b.company_id = company AND b.mailbox_id = box.mailbox_id RETURNING * INTO box;
        RETURN sales_internal.search_mailbox(box);
    END IF;
    uids := sales_internal.imap_uids(heard);
    IF uids IS NOT NULL THEN
        -- "n:*" finds the last mail even where it is below n
        uid := (SELECT min(u) FROM unnest(uids) AS u WHERE u > coalesce(box.imap_last_uid, 0));
        IF uid IS NULL THEN
            RETURN jsonb_build_object('outcome', 'done');
        END IF;
        UPDATE sales.mailboxes b SET imap_asked_uid = uid
        WHERE b.company_id = company AND b.mailbox_id = box.mailbox_id;
        -- by itself: one whose lines read like the end of the answer must not cut off the others
        RETURN sales_internal.mailbox_command(box, format('UID FETCH %s (BODY.PEEK[]<0.%s>)', uid, sales_internal.mail_part_size()));
    END IF;
    IF sales_internal.imap_mails(heard) = '{}' AND position('BODY[]'::bytea IN heard) > 0 THEN
        RAISE WARNING 'mail % in % could not be read whole', box.imap_asked_uid, box.email;
    END IF;
    FOREACH raw IN ARRAY sales_internal.imap_mails(heard)
    LOOP
        BEGIN
            PERFORM sales_internal.read_incoming(company, box.email, raw);
        EXCEPTION WHEN data_exception OR integrity_constraint_violation THEN
            -- one mail that cannot be taken must not hold up the others
            RAISE WARNING 'a mail in % could not be read: %', box.email, SQLERRM;
        END;
    END LOOP;
    UPDATE sales.mailboxes b SET imap_last_uid = greatest(b.imap_asked_uid, b.imap_last_uid), imap_asked_uid = NULL
    WHERE b.company_id = company AND b.mailbox_id = box.mailbox_id RETURNING * INTO box;
    RETURN sales_internal.search_mailbox(box);
END
$$;
COMMENT ON FUNCTION sales_internal.settle_mailbox_read(uuid, uuid, jsonb, jsonb) IS 'Job mailbox_read: fetches new mails without marking them, notes what they tell, and looks for more';
REVOKE ALL ON FUNCTION sales_internal.settle_mailbox_read(uuid, uuid, jsonb, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.read_due_mailboxes() RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sales_internal.enqueue('mailbox_read', b.company_id, jsonb_build_object('mailbox_id', b.mailbox_id), b.mailbox_id::text)
    FROM sales.mailboxes b JOIN sales.companies c ON c.company_id = b.company_id AND c.subscription_status = 'active'
    WHERE b.is_active AND b.imap_url IS NOT NULL
      AND coalesce(b.imap_read_at, '-infinity') <= sales_internal.now()
          - least(sales_internal.setting_number(b.company_id, 'campaigns.imap_minutes', 5), 1e6)::integer * interval '1 minute'
$$;
COMMENT ON FUNCTION sales_internal.read_due_mailboxes() IS 'Queues mailboxes whose folder is to be read';
REVOKE ALL ON FUNCTION sales_internal.read_due_mailboxes() FROM PUBLIC;

-- --- doctor ---

CREATE OR REPLACE FUNCTION sales_internal.doctor_campaigns() RETURNS TABLE (severity text, finding text, hint text)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    sender record;
    texts text[];
    policies integer;
    started timestamptz := clock_timestamp();
BEGIN
    RETURN QUERY
    SELECT 'warning', format('the campaign "%s" waits for a mailbox to send from', e.name), 'Set mailboxes.is_active, or the campaign''s mailbox_id.'
    FROM sales.email_campaigns e
    WHERE coalesce(e.next_run_at, e.scheduled_at) <= sales_internal.now() AND e.status IN ('scheduled', 'running') AND (e.runs = 0 OR e.schedule_type = 'recurring')
      AND NOT EXISTS (SELECT FROM sales_internal.campaign_mailboxes b WHERE b.company_id = e.company_id AND b.campaign_id = e.campaign_id);
    RETURN QUERY
    SELECT 'warning', format('mailbox %s rests: %s', b.email, b.last_error), 'Mend the mail server''s address or login in sales.mailboxes; it is tried again by itself.'
    FROM sales.mailboxes b WHERE b.is_active AND b.failures >= 3 ORDER BY b.email;
    RETURN QUERY
    SELECT 'note', format('%s mails of campaigns are uncertain: a connection or the server was lost while they were on their way', count(*)),
           'Look into the mail server''s log, then SELECT sales.resolve_uncertain(campaign_id, sent).'
    FROM sales.campaign_recipients x WHERE x.status = 'uncertain' HAVING count(*) > 0;
    FOR sender IN
        SELECT split_part(b.email, '@', 2) AS domain, max(b.dkim_selector) AS selector FROM sales.mailboxes b
        WHERE b.is_active AND b.email !~ '\.(test|example|invalid|localhost)$' GROUP BY 1 ORDER BY 1 LIMIT 50
    LOOP
        IF clock_timestamp() > started + interval '10 seconds' THEN
            RETURN QUERY SELECT 'note', format('DNS is slow: %s and the senders after it were not asked for', sender.domain), 'Run doctor() again.';
            RETURN;
        END IF;
        texts := sales_internal.dns_txt(sender.domain);
        IF texts IS NULL THEN
            RETURN QUERY SELECT 'note', format('DNS could not be asked for the SPF, DKIM and DMARC of %s', sender.domain),
                'Look at the server''s /etc/resolv.conf and at sales_assistant.dns_servers, or ask from elsewhere.';
            CONTINUE;
        END IF;
        policies := (SELECT count(*) FROM unnest(texts) AS t WHERE t ~* '^v=spf1( |$)');
        IF policies <> 1 THEN
            RETURN QUERY SELECT 'warning', format(CASE policies WHEN 0 THEN '%s has no SPF record' ELSE '%s has several SPF records, which counts as none' END, sender.domain),
                format('Publish one TXT %s "v=spf1 include:your-mail-server -all".', sender.domain);
        END IF;
        texts := sales_internal.dns_txt('_dmarc.' || sender.domain);
        IF texts IS NOT NULL AND NOT EXISTS (SELECT FROM unnest(texts) AS t WHERE t ~* '^v=DMARC1 *(;|$)') THEN
            RETURN QUERY SELECT 'warning', format('%s has no DMARC record', sender.domain), format('Publish TXT _dmarc.%s "v=DMARC1; p=quarantine; rua=mailto:...".', sender.domain);
        END IF;
        texts := sales_internal.dns_txt(sender.selector || '._domainkey.' || sender.domain);
        IF sender.selector IS NULL THEN
            RETURN QUERY SELECT 'note', format('the DKIM key of %s was not looked for', sender.domain), 'Set mailboxes.dkim_selector.';
        ELSIF texts IS NOT NULL AND NOT EXISTS (SELECT FROM unnest(texts) AS t WHERE t ~ '(^|;)\s*p=[A-Za-z0-9+/]') THEN
            RETURN QUERY SELECT 'warning', format('%s has no DKIM key under the selector %s', sender.domain, sender.selector),
                format('Publish the mail server''s public key as TXT %s._domainkey.%s.', sender.selector, sender.domain);
        END IF;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sales_internal.doctor_campaigns() IS 'Part of doctor(): mailboxes in trouble, uncertain mails, and SPF, DKIM and DMARC of senders';
REVOKE ALL ON FUNCTION sales_internal.doctor_campaigns() FROM PUBLIC;

INSERT INTO sales_internal.job_kinds (kind, mode, prepare_function, settle_function, max_attempts)
VALUES ('mailbox_read', 'http', 'sales_internal.prepare_mailbox_read', 'sales_internal.settle_mailbox_read', 3)
ON CONFLICT (kind) DO NOTHING;
