-- Campaigns: sending.
--
-- A recipient is claimed in a transaction that is committed before the mail is
-- given away, and its answer is written in another.  What was claimed and never
-- answered is `uncertain` and is not sent again by itself: at most once.

-- --- what a mail consists of ---

CREATE OR REPLACE FUNCTION sales_internal.unsubscribe_token(company uuid, recipient uuid) RETURNS text
LANGUAGE sql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT translate(encode(t.body || substr(sales_internal.keyed_hash(sales_internal.mail_key(company), 'unsubscribe:'::bytea || t.body), 1, 16), 'base64'),
                     E'+/\n', '-_')
    FROM (SELECT uuid_send(company) || uuid_send(recipient)) AS t (body)
$$;
COMMENT ON FUNCTION sales_internal.unsubscribe_token(uuid, uuid) IS 'Signed token by which the recipient of a mail unsubscribes; 64 characters that a URL can carry';
REVOKE ALL ON FUNCTION sales_internal.unsubscribe_token(uuid, uuid) FROM PUBLIC;

-- Where the link of a mail leads: the company's page, else a mail to the mailbox.
CREATE OR REPLACE FUNCTION sales_internal.unsubscribe_link(company uuid, recipient uuid, mailbox text, OUT page text, OUT mail text)
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT u.url || CASE WHEN strpos(u.url, '?') > 0 THEN '&' ELSE '?' END || 'token=' || t.token,
           'mailto:' || mailbox || '?subject=unsubscribe%20' || t.token
    FROM (SELECT nullif(btrim(sales_internal.setting_of(company, 'campaigns.unsubscribe_url')), '')) AS u (url),
         (SELECT sales_internal.unsubscribe_token(company, recipient)) AS t (token)
$$;
COMMENT ON FUNCTION sales_internal.unsubscribe_link(uuid, uuid, text) IS 'Links to unsubscribe from a mail: a page if the company has one, and a mail';
REVOKE ALL ON FUNCTION sales_internal.unsubscribe_link(uuid, uuid, text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.is_html(content text) RETURNS boolean
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$ SELECT coalesce(content ~* '^\s*<(!doctype|html|head|body|div|table|p|h[1-6]|span|a|br)[\s/>]', false) $$;
COMMENT ON FUNCTION sales_internal.is_html(text) IS 'Is a template''s body HTML rather than plain text?';
REVOKE ALL ON FUNCTION sales_internal.is_html(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.escape_html(value text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT replace(replace(replace(replace(value, '&', '&amp;'), '<', '&lt;'), '>', '&gt;'), '"', '&quot;') $$;
COMMENT ON FUNCTION sales_internal.escape_html(text) IS 'Text as HTML shows it';
REVOKE ALL ON FUNCTION sales_internal.escape_html(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.unsubscribe_words(language text) RETURNS text
LANGUAGE sql IMMUTABLE PARALLEL SAFE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE language WHEN 'fr' THEN 'Ne plus recevoir ces messages' WHEN 'it' THEN 'Non ricevere più questi messaggi'
        WHEN 'es' THEN 'No recibir más estos mensajes' WHEN 'de' THEN 'Diese Nachrichten abbestellen' ELSE 'Unsubscribe' END
$$;
COMMENT ON FUNCTION sales_internal.unsubscribe_words(text) IS 'Words of the unsubscribe link below a mail';
REVOKE ALL ON FUNCTION sales_internal.unsubscribe_words(text) FROM PUBLIC;

-- Both bodies of a mail.  A link to unsubscribe is put below where the text has none.
CREATE OR REPLACE FUNCTION sales_internal.mail_bodies(content text, link text, language text, OUT plain text, OUT html text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    words text := sales_internal.unsubscribe_words(language);
    has_link boolean := strpos(content, link) > 0 OR strpos(content, sales_internal.escape_html(link)) > 0;
    footer text := format('<p style="font-size:small"><a href="%s">%s</a></p>', sales_internal.escape_html(link), words);
BEGIN
    IF sales_internal.is_html(content) THEN
        html := CASE WHEN has_link THEN content
                     WHEN content ~* '</body>' THEN regexp_replace(content, '(</body>)', replace(footer, '\', '\\') || '\1', 'i')
                     ELSE content || footer END;
        plain := btrim(sales_internal.text_of_html(content), E' \n\r\t') || E'\n\n-- \n' || words || ': ' || link || E'\n';
    ELSE
        plain := rtrim(content, E' \n\r\t') || E'\n' || CASE WHEN has_link THEN '' ELSE E'\n-- \n' || words || ': ' || link || E'\n' END;
        html := '<!DOCTYPE html><html><body><p>'
            || regexp_replace(replace(regexp_replace(regexp_replace(sales_internal.escape_html(rtrim(content, E' \n\r\t')),
                   '(https?://[^\s<>"]+)', '<a href="\1">\1</a>', 'g'), '\r?\n[ \t]*\r?\n', '</p><p>', 'g'), E'\n', '<br>'), '\r', '', 'g')
            || '</p>' || CASE WHEN has_link THEN '' ELSE footer END || '</body></html>';
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.mail_bodies(text, text, text) IS 'A message as plain text and as HTML, with a link to unsubscribe';
REVOKE ALL ON FUNCTION sales_internal.mail_bodies(text, text, text) FROM PUBLIC;

-- Writes the message of a recipient from the approved texts of its step.
CREATE OR REPLACE FUNCTION sales_internal.write_campaign_message(r sales.campaign_recipients, approved boolean) RETURNS uuid
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    step sales.campaign_steps;
    variables jsonb;
    link record;
    sender text := (SELECT b.email FROM sales.mailboxes b WHERE b.company_id = r.company_id AND b.mailbox_id = r.mailbox_id);
    written uuid;
BEGIN
    SELECT * INTO step FROM sales.campaign_steps s
    WHERE s.company_id = r.company_id AND s.campaign_id = r.campaign_id AND s.step_number = r.step_number AND s.approved_at IS NOT NULL;
    IF NOT FOUND THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the text of this step is not approved';
    END IF;
    SELECT * INTO link FROM sales_internal.unsubscribe_link(r.company_id, r.recipient_id, sender);
    variables := step.approved_variables || sales_internal.prospect_variables(r.company_id, r.prospect_id)
        || jsonb_build_object('unsubscribe_url', coalesce(link.page, link.mail));
    INSERT INTO sales.messages (company_id, prospect_id, channel, subject, content, ai_prompt_used, language, template_id,
                                is_approved, approved_by, approved_at)
    VALUES (r.company_id, r.prospect_id, 'email',
            left(regexp_replace(sales.render_template(coalesce(step.approved_subject, ''), variables), '[[:cntrl:]\s]+', ' ', 'g'), 200),
            sales.render_template(step.approved_content, variables, sales_internal.is_html(step.approved_content)),
            format('campaign %s, step %s', r.campaign_id, r.step_number), step.approved_language, step.template_id,
            approved, CASE WHEN approved THEN step.approved_by END, CASE WHEN approved THEN step.approved_at END)
    RETURNING message_id INTO written;
    UPDATE sales.campaign_recipients x SET message_id = written
    WHERE x.company_id = r.company_id AND x.recipient_id = r.recipient_id;
    RETURN written;
END
$$;
COMMENT ON FUNCTION sales_internal.write_campaign_message(sales.campaign_recipients, boolean) IS
    'Writes a recipient''s message; approved with the campaign, or to be approved';
REVOKE ALL ON FUNCTION sales_internal.write_campaign_message(sales.campaign_recipients, boolean) FROM PUBLIC;

-- The request that gives a claimed recipient's mail to its mail server or provider.
CREATE OR REPLACE FUNCTION sales_internal.campaign_mail(company uuid, recipient uuid) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    r sales.campaign_recipients;
    box sales.mailboxes;
    m sales.messages;
    person sales.prospects;
    link record;
    bodies record;
    parts jsonb;
    thread text[];
    via sales.providers;
BEGIN
    SELECT * INTO r FROM sales.campaign_recipients x WHERE x.company_id = company AND x.recipient_id = recipient;
    SELECT * INTO box FROM sales.mailboxes b WHERE b.company_id = company AND b.mailbox_id = r.mailbox_id;
    SELECT * INTO person FROM sales.prospects p WHERE p.company_id = company AND p.prospect_id = r.prospect_id;
    IF r.message_id IS NULL THEN
        r.message_id := sales_internal.write_campaign_message(r, true);
    END IF;
    SELECT * INTO m FROM sales.messages x WHERE x.company_id = company AND x.message_id = r.message_id;
    IF m.is_approved IS NOT TRUE OR m.deleted_at IS NOT NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the message is not approved';
    END IF;
    UPDATE sales.campaign_recipients x
    SET message_ref = coalesce(x.message_ref, recipient || '@' || split_part(box.email, '@', 2))
    WHERE x.company_id = company AND x.recipient_id = recipient RETURNING * INTO r;
    SELECT * INTO link FROM sales_internal.unsubscribe_link(company, recipient, coalesce(box.reply_to, box.email));
    SELECT * INTO bodies FROM sales_internal.mail_bodies(m.content, coalesce(link.page, link.mail), m.language);
    SELECT array_agg('<' || e.message_ref || '>' ORDER BY e.step_number) INTO thread FROM sales.campaign_recipients e
    WHERE e.company_id = company AND e.campaign_id = r.campaign_id AND e.run = r.run AND e.prospect_id = r.prospect_id
      AND e.step_number < r.step_number AND e.sent_at IS NOT NULL AND e.message_ref IS NOT NULL;
    parts := jsonb_strip_nulls(jsonb_build_object(
        'from', jsonb_build_object('name', coalesce(box.display_name, (SELECT c.name FROM sales.companies c WHERE c.company_id = company)),
                                   'address', box.email),
        'to', jsonb_build_object('name', nullif(concat_ws(' ', person.first_name, person.last_name), ''),
                                 'address', sales_internal.normal_email(person.email)),
        'reply_to', CASE WHEN box.reply_to IS NOT NULL THEN jsonb_build_object('address', box.reply_to) END,
        'subject', m.subject, 'text', bodies.plain, 'html', bodies.html,
        'message_id', r.message_ref, 'date', extract(epoch FROM sales_internal.now())::bigint,
        'headers', jsonb_build_object(
            'List-Unsubscribe', concat_ws(', ', '<' || link.page || '>', '<' || link.mail || '>'),
            'List-Unsubscribe-Post', CASE WHEN link.page LIKE 'https://%' THEN 'List-Unsubscribe=One-Click' END,
            'In-Reply-To', thread[cardinality(thread)], 'References', array_to_string(thread, ' '),
            'X-Campaign-ID', r.campaign_id)));
    IF box.provider IS NOT NULL THEN
        SELECT * INTO via FROM sales.providers p WHERE p.name = box.provider AND p.purpose = 'mail' AND p.is_active;
        IF NOT FOUND THEN
            RAISE object_not_in_prerequisite_state USING MESSAGE = format('there is no provider "%s" that sends mail', box.provider);
        END IF;
        RETURN sales_internal.provider_request(company, via, box.provider_key_id, jsonb_build_object(
            'from', parts #>> '{from,address}', 'from_name', parts #>> '{from,name}', 'to', parts #>> '{to,address}',
            'to_name', coalesce(parts #>> '{to,name}', ''), 'reply_to', coalesce(box.reply_to, box.email), 'subject', m.subject,
            'text', bodies.plain, 'html', bodies.html, 'message_id', r.message_ref, 'recipient_id', recipient,
            'list_unsubscribe', parts #>> '{headers,List-Unsubscribe}',
            'list_unsubscribe_post', coalesce(parts #>> '{headers,List-Unsubscribe-Post}', ''))) || '{"once": true}';
    END IF;
    RETURN jsonb_strip_nulls(jsonb_build_object(
        'url', coalesce(box.smtp_url, sales_internal.setting_of(company, 'email.smtp_url')), 'timeout_ms', 60000,
        'api_key_id', coalesce(box.smtp_key_id, CASE WHEN box.smtp_url IS NULL THEN (
            SELECT k.api_key_id FROM sales.api_keys k
            WHERE k.company_id = company AND lower(k.service_name) = 'smtp' AND k.is_active
              AND (k.expires_at IS NULL OR k.expires_at > sales_internal.now())
            ORDER BY k.created_at DESC LIMIT 1) END),
        'mail', jsonb_build_object(
            'from', box.email, 'to', jsonb_build_array(parts #>> '{to,address}'), 'tls', box.smtp_tls,
            'user', coalesce(box.smtp_user, CASE WHEN box.smtp_url IS NULL THEN sales_internal.setting_of(company, 'email.smtp_user') END),
            'message', sales_internal.build_mail(parts))));
END
$$;
COMMENT ON FUNCTION sales_internal.campaign_mail(uuid, uuid) IS 'Request that sends the mail of a claimed recipient';
REVOKE ALL ON FUNCTION sales_internal.campaign_mail(uuid, uuid) FROM PUBLIC;

-- --- claiming ---

-- Most mails of a mailbox on a day.
CREATE OR REPLACE FUNCTION sales_internal.mailbox_cap(box sales.mailboxes, day date) RETURNS integer
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN box.warmup_started IS NULL THEN box.daily_limit
                WHEN day < box.warmup_started THEN 0
                WHEN (day - box.warmup_started) * ln(greatest(box.warmup_growth, 1)) + ln(box.warmup_first) >= ln(box.daily_limit) THEN box.daily_limit
                ELSE floor(box.warmup_first * box.warmup_growth ^ (day - box.warmup_started))::integer END
$$;
COMMENT ON FUNCTION sales_internal.mailbox_cap(sales.mailboxes, date) IS 'Most mails of a mailbox on a day: its limit, less while it warms up';
REVOKE ALL ON FUNCTION sales_internal.mailbox_cap(sales.mailboxes, date) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.mailbox_room(box sales.mailboxes) RETURNS integer
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT sales_internal.mailbox_cap(box, d.day)
           - coalesce((SELECT t.taken FROM sales_internal.mailbox_days t
                       WHERE t.company_id = box.company_id AND t.mailbox_id = box.mailbox_id AND t.day = d.day), 0)
    FROM (SELECT (sales_internal.now() AT TIME ZONE c.timezone)::date AS day FROM sales.companies c WHERE c.company_id = box.company_id) AS d
$$;
COMMENT ON FUNCTION sales_internal.mailbox_room(sales.mailboxes) IS 'Mails that a mailbox may still give away today';
REVOKE ALL ON FUNCTION sales_internal.mailbox_room(sales.mailboxes) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.take_mailbox(box sales.mailboxes, mails integer) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    today date := (SELECT (sales_internal.now() AT TIME ZONE c.timezone)::date FROM sales.companies c WHERE c.company_id = box.company_id);
BEGIN
    INSERT INTO sales_internal.mailbox_days AS t (company_id, mailbox_id, day, taken)
    VALUES (box.company_id, box.mailbox_id, today, 0) ON CONFLICT DO NOTHING;
    UPDATE sales_internal.mailbox_days t SET taken = greatest(t.taken + mails, 0)
    WHERE t.company_id = box.company_id AND t.mailbox_id = box.mailbox_id AND t.day = today
      AND t.taken + mails <= greatest(sales_internal.mailbox_cap(box, today), t.taken);
    RETURN FOUND;
END
$$;
COMMENT ON FUNCTION sales_internal.take_mailbox(sales.mailboxes, integer) IS 'Takes mails from the day''s limit, or gives them back; false when it is used up';
REVOKE ALL ON FUNCTION sales_internal.take_mailbox(sales.mailboxes, integer) FROM PUBLIC;

-- Has something happened since the first mail that ends the sequence?
CREATE OR REPLACE FUNCTION sales_internal.sequence_end(r sales.campaign_recipients) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN EXISTS (SELECT FROM sales.campaign_recipients e
                     WHERE e.company_id = r.company_id AND e.campaign_id = r.campaign_id AND e.run = r.run
                       AND e.prospect_id = r.prospect_id AND e.replied_at IS NOT NULL)
          OR EXISTS (SELECT FROM sales.interactions i
                     WHERE i.company_id = r.company_id AND i.prospect_id = r.prospect_id AND i.interaction_date >= f.started
                       AND (i.type = 'received' OR i.response_received)) THEN 'answered'
        WHEN EXISTS (SELECT FROM sales.interactions i
                     WHERE i.company_id = r.company_id AND i.prospect_id = r.prospect_id AND i.interaction_date >= f.started
                       AND (i.type = 'meeting_held' OR i.channel = 'meeting'))
          OR EXISTS (SELECT FROM sales.tasks k
                     WHERE k.company_id = r.company_id AND k.prospect_id = r.prospect_id AND k.type = 'meeting'
                       AND k.created_at >= f.started AND k.status <> 'cancelled')
          OR EXISTS (SELECT FROM sales.conversion_funnel s
                     WHERE s.company_id = r.company_id AND s.prospect_id = r.prospect_id AND s.stage_entered_at >= f.started
                       AND s.stage IN ('demo_programmee', 'proposition_envoyee', 'negociation', 'client')) THEN 'a meeting or a deal is under way'
        WHEN EXISTS (SELECT FROM sales.conversion_funnel s
                     WHERE s.company_id = r.company_id AND s.prospect_id = r.prospect_id AND s.stage_entered_at >= f.started
                       AND s.stage = 'perdu') THEN 'the deal is lost' END
    FROM (SELECT min(e.created_at) AS started FROM sales.campaign_recipients e
          WHERE e.company_id = r.company_id AND e.campaign_id = r.campaign_id AND e.run = r.run AND e.prospect_id = r.prospect_id) AS f
$$;
COMMENT ON FUNCTION sales_internal.sequence_end(sales.campaign_recipients) IS 'Why a sequence goes no further for a recipient; null: it does';
REVOKE ALL ON FUNCTION sales_internal.sequence_end(sales.campaign_recipients) FROM PUBLIC;

-- May this mail go out now?  null: yes; else the status that it gets, why, and
-- when it is looked at again if that is pending.
CREATE OR REPLACE FUNCTION sales_internal.recipient_verdict(
    r sales.campaign_recipients, c sales.email_campaigns,
    OUT status sales.recipient_status, OUT reason text, OUT due_at timestamptz, OUT consent uuid)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    person sales.prospects;
    address text;
    m sales.messages;
BEGIN
    SELECT * INTO person FROM sales.prospects p
    WHERE p.company_id = r.company_id AND p.prospect_id = r.prospect_id AND p.deleted_at IS NULL;
    address := sales_internal.normal_email(person.email);
    IF person.prospect_id IS NULL OR address IS NULL THEN
        status := 'skipped';
        reason := CASE WHEN person.prospect_id IS NULL THEN 'the prospect was deleted' ELSE 'no e-mail address' END;
        RETURN;
    END IF;
    IF sales_internal.address_hash(sales_internal.mail_key(r.company_id), address) IS DISTINCT FROM r.address_hash THEN
        status := 'skipped';
        reason := 'the address has changed since the recipients were chosen';
        RETURN;
    END IF;
    reason := sales_internal.suppressed(r.company_id, r.address_hash, r.domain);
    IF reason IS NOT NULL THEN
        status := 'suppressed';
        RETURN;
    END IF;
    SELECT k.consent_id INTO consent FROM sales.consents k
    WHERE k.company_id = r.company_id AND k.prospect_id = r.prospect_id AND k.basis = c.legal_basis AND k.withdrawn_at IS NULL
    ORDER BY k.given_at DESC LIMIT 1;
    IF consent IS NULL AND c.legal_basis = 'consent' THEN
        status := 'skipped';
        reason := 'no consent is on record';
        RETURN;
    END IF;
    IF r.step_number > 1 THEN
        reason := sales_internal.sequence_end(r);
        IF reason IS NOT NULL THEN
            status := 'stopped';
            RETURN;
        END IF;
    END IF;
    IF c.approval = 'message' THEN
        SELECT * INTO m FROM sales.messages x WHERE x.company_id = r.company_id AND x.message_id = r.message_id;
        IF m.deleted_at IS NOT NULL THEN
            status := 'stopped';
            reason := 'its message was deleted';
        ELSIF NOT coalesce(m.is_approved, false) THEN
            status := 'waiting';
            reason := 'its message is to be approved';
        END IF;
        IF status IS NOT NULL THEN
            RETURN;
        END IF;
    END IF;
    due_at := sales_internal.next_in_window(sales_internal.now(), r.timezone, c.window_start, c.window_end, c.window_days);
    IF due_at > sales_internal.now() THEN
        status := 'pending';
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.recipient_verdict(sales.campaign_recipients, sales.email_campaigns) IS
    'Looks at a recipient just before its mail goes out: address, suppression, consent, sequence, approval, window';
REVOKE ALL ON FUNCTION sales_internal.recipient_verdict(sales.campaign_recipients, sales.email_campaigns) FROM PUBLIC;

-- Claims the next recipient of a mailbox for a job; null when none may go now.
CREATE OR REPLACE FUNCTION sales_internal.claim_recipient(company uuid, mailbox uuid, job uuid DEFAULT NULL) RETURNS uuid
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    box sales.mailboxes;
    r sales.campaign_recipients;
    c sales.email_campaigns;
    verdict record;
    moment timestamptz := sales_internal.now();
    a_minute numeric := sales_internal.setting_number(company, 'campaigns.domain_per_minute', 0);
BEGIN
    SELECT * INTO box FROM sales.mailboxes b
    WHERE b.company_id = company AND b.mailbox_id = mailbox AND b.is_active AND coalesce(b.paused_until, '-infinity') <= moment;
    IF NOT FOUND OR sales_internal.mailbox_room(box) <= 0 THEN
        RETURN NULL;
    END IF;
    FOR look IN 1 .. 500
    LOOP
        SELECT x.* INTO r FROM sales.campaign_recipients x
        WHERE x.company_id = company AND x.mailbox_id = mailbox AND x.status = 'pending' AND x.due_at <= moment
          AND EXISTS (SELECT FROM sales.email_campaigns e
                      WHERE e.company_id = company AND e.campaign_id = x.campaign_id AND e.status = 'running')
          AND NOT EXISTS (SELECT FROM sales_internal.domain_slots d
                          WHERE d.company_id = company AND d.domain = x.domain AND d.next_at > moment)
        ORDER BY x.due_at, x.recipient_id LIMIT 1 FOR UPDATE OF x SKIP LOCKED;
        EXIT WHEN NOT FOUND;
        SELECT * INTO c FROM sales.email_campaigns e WHERE e.company_id = company AND e.campaign_id = r.campaign_id;
        SELECT * INTO verdict FROM sales_internal.recipient_verdict(r, c);
        IF verdict.status IS NOT NULL THEN
            UPDATE sales.campaign_recipients x
            SET status = verdict.status, reason = verdict.reason, due_at = coalesce(verdict.due_at, x.due_at)
            WHERE x.company_id = company AND x.recipient_id = r.recipient_id;
            CONTINUE;
        END IF;
        IF a_minute > 0 THEN
            -- another connection may have taken the domain's turn since it was looked at
            INSERT INTO sales_internal.domain_slots AS d (company_id, domain, next_at)
            VALUES (company, r.domain, moment + interval '1 minute' / a_minute::double precision)
            ON CONFLICT (company_id, domain) DO UPDATE SET next_at = excluded.next_at WHERE d.next_at <= moment;
            CONTINUE WHEN NOT FOUND;
        END IF;
        IF NOT sales_internal.take_mailbox(box, 1) THEN
            RETURN NULL;
        END IF;
        UPDATE sales.campaign_recipients x
        SET status = 'sending', reason = NULL, claimed_at = moment, job_id = job, attempts = x.attempts + 1,
            legal_basis = c.legal_basis, consent_id = verdict.consent
        WHERE x.company_id = company AND x.recipient_id = r.recipient_id;
        RETURN r.recipient_id;
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sales_internal.claim_recipient(uuid, uuid, uuid) IS
    'Claims the next recipient of a mailbox, checked at this moment; two senders never get the same one';
REVOKE ALL ON FUNCTION sales_internal.claim_recipient(uuid, uuid, uuid) FROM PUBLIC;

-- --- answers ---

-- Enters "contacte" or a later stage, unless the prospect is that far already.
CREATE OR REPLACE FUNCTION sales_internal.advance_stage(company uuid, prospect uuid, target sales.funnel_stage, at timestamptz) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, stage_entered_at)
    SELECT company, prospect, target, greatest(at, l.stage_entered_at)
    FROM (SELECT) AS one LEFT JOIN LATERAL (
        SELECT f.stage, f.stage_entered_at FROM sales.conversion_funnel f
        WHERE f.company_id = company AND f.prospect_id = prospect
        ORDER BY f.stage_entered_at DESC, f.funnel_id DESC LIMIT 1) AS l ON true
    WHERE coalesce(l.stage, 'nouveau') < target
      AND EXISTS (SELECT FROM sales.prospects p WHERE p.company_id = company AND p.prospect_id = prospect AND p.deleted_at IS NULL)
$$;
COMMENT ON FUNCTION sales_internal.advance_stage(uuid, uuid, sales.funnel_stage, timestamptz) IS 'Moves a prospect forward to a stage; never back';
REVOKE ALL ON FUNCTION sales_internal.advance_stage(uuid, uuid, sales.funnel_stage, timestamptz) FROM PUBLIC;

-- The mail server has taken it: interaction, funnel, and the next step of the sequence.
CREATE OR REPLACE FUNCTION sales_internal.mark_sent(company uuid, recipient uuid, at timestamptz, note text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    r sales.campaign_recipients;
    c sales.email_campaigns;
    m sales.messages;
    following sales.campaign_steps;
    interaction uuid := sales.uuidv7();
BEGIN
    -- the person before the mail to it, as an erasure does
    PERFORM sales_internal.hold_person(company, (SELECT x.prospect_id FROM sales.campaign_recipients x WHERE x.company_id = company AND x.recipient_id = recipient));
    UPDATE sales.campaign_recipients x
    SET status = 'sent', sent_at = at, reason = left(note, 500), interaction_id = interaction, interaction_date = at
    WHERE x.company_id = company AND x.recipient_id = recipient AND x.status IN ('sending', 'uncertain')
    RETURNING * INTO r;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO c FROM sales.email_campaigns e WHERE e.company_id = company AND e.campaign_id = r.campaign_id;
    SELECT * INTO m FROM sales.messages x WHERE x.company_id = company AND x.message_id = r.message_id;
    INSERT INTO sales.interactions (interaction_id, company_id, prospect_id, user_id, channel, type, subject, content, interaction_date, message_id)
    VALUES (interaction, company, r.prospect_id, c.launched_by, 'email', 'sent', m.subject, m.content, at, r.message_id);
    PERFORM sales_internal.advance_stage(company, r.prospect_id, 'contacte', at);
    SELECT * INTO following FROM sales.campaign_steps s
    WHERE s.company_id = company AND s.campaign_id = r.campaign_id AND s.step_number > r.step_number AND s.approved_at IS NOT NULL
    ORDER BY s.step_number LIMIT 1;
    IF FOUND THEN
        INSERT INTO sales.campaign_recipients
            (company_id, campaign_id, run, step_number, prospect_id, mailbox_id, status, reason, due_at, timezone, address_hash, domain, created_at)
        VALUES (company, r.campaign_id, r.run, following.step_number, r.prospect_id, r.mailbox_id,
                CASE WHEN c.approval = 'message' THEN 'waiting' ELSE 'pending' END::sales.recipient_status,
                CASE WHEN c.approval = 'message' THEN 'its message is to be approved' END,
                sales_internal.next_in_window(at + following.wait, r.timezone, c.window_start, c.window_end, c.window_days),
                r.timezone, r.address_hash, r.domain, sales_internal.now())
        ON CONFLICT DO NOTHING;
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.mark_sent(uuid, uuid, timestamptz, text) IS 'Notes that a mail was taken by the mail server';
REVOKE ALL ON FUNCTION sales_internal.mark_sent(uuid, uuid, timestamptz, text) FROM PUBLIC;

-- What an answer says: taken; put_off (this recipient, later); refused (this
-- recipient); mailbox (nobody can be sent to now); uncertain.
CREATE OR REPLACE FUNCTION sales_internal.read_send_answer(box sales.mailboxes, response jsonb, OUT verdict text, OUT says text, OUT status text, OUT after numeric)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    problem text := response ->> 'error';
    code integer := (response #>> '{smtp,code}')::integer;
    reply text := response #>> '{smtp,reply}';
    handed_over boolean := coalesce((response #>> '{smtp,handed_over}')::boolean, false);
    trouble jsonb;
BEGIN
    says := coalesce(nullif(reply, ''), problem, 'HTTP status ' || (response ->> 'status'));
    IF response ? 'not_asked' THEN
        verdict := 'mailbox';
        RETURN;
    END IF;
    IF box.provider IS NOT NULL THEN
        trouble := sales_internal.provider_trouble((SELECT p FROM sales.providers p WHERE p.name = box.provider), response);
        says := coalesce(trouble ->> 'error', 'taken by ' || box.provider);
        after := (trouble ->> 'after')::numeric;
        verdict := CASE
            WHEN (response ->> 'status')::integer BETWEEN 200 AND 299 THEN 'taken'
            WHEN (response ->> 'status')::integer = 0 AND ((response ->> 'blocked')::boolean OR problem ~* 'resolve|connect') THEN 'mailbox'
            WHEN (response ->> 'status')::integer = 0 THEN 'uncertain'
            WHEN (response ->> 'status')::integer IN (401, 402, 403, 429) OR trouble ->> 'outcome' = 'retry' THEN 'mailbox'
            ELSE 'refused' END;
        RETURN;
    END IF;
    status := substring(reply FROM '^\d{3}[ -]([245]\.\d{1,3}\.\d{1,3})\M');
    verdict := CASE
        WHEN problem IS NULL THEN 'taken'
        WHEN code = 421 THEN 'mailbox'
        WHEN handed_over AND code BETWEEN 500 AND 599 THEN 'refused'
        WHEN handed_over AND code BETWEEN 400 AND 499 THEN 'put_off'
        WHEN handed_over THEN 'uncertain'
        WHEN problem LIKE 'RCPT failed%' AND code BETWEEN 500 AND 599 THEN 'refused'
        WHEN problem LIKE 'RCPT failed%' AND code BETWEEN 400 AND 499 THEN 'put_off'
        ELSE 'mailbox' END;
    IF verdict IN ('mailbox', 'uncertain') THEN
        says := concat_ws(': ', problem, CASE WHEN code >= 400 THEN reply END);
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.read_send_answer(sales.mailboxes, jsonb) IS 'What the answer of a mail server or provider means for the recipient';
REVOKE ALL ON FUNCTION sales_internal.read_send_answer(sales.mailboxes, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.apply_send_answer(company uuid, recipient uuid, response jsonb) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    r sales.campaign_recipients;
    box sales.mailboxes;
    answer record;
    moment timestamptz := sales_internal.now();
    hard boolean;
BEGIN
    -- the person before the mail to it, as an erasure does
    PERFORM sales_internal.hold_person(company, (SELECT x.prospect_id FROM sales.campaign_recipients x WHERE x.company_id = company AND x.recipient_id = recipient));
    SELECT * INTO r FROM sales.campaign_recipients x
    WHERE x.company_id = company AND x.recipient_id = recipient AND x.status = 'sending' FOR NO KEY UPDATE;
    IF NOT FOUND THEN
        RETURN;
    END IF;
    SELECT * INTO box FROM sales.mailboxes b WHERE b.company_id = company AND b.mailbox_id = r.mailbox_id;
    SELECT * INTO answer FROM sales_internal.read_send_answer(box, response);
    IF box.provider IS NOT NULL AND NOT response ? 'not_asked' THEN
        PERFORM sales_internal.settle_call(company, response);      -- its budget
    END IF;
    IF answer.verdict <> 'mailbox' AND box.failures > 0 THEN
        UPDATE sales.mailboxes b SET failures = 0, paused_until = NULL, last_error = NULL
        WHERE b.company_id = company AND b.mailbox_id = box.mailbox_id;
    END IF;
    CASE answer.verdict
        WHEN 'taken' THEN
            PERFORM sales_internal.mark_sent(company, recipient, moment, answer.says);
        WHEN 'uncertain' THEN
            UPDATE sales.campaign_recipients x
            SET status = 'uncertain', reason = left('the answer was lost after the mail was given away: ' || answer.says, 500)
            WHERE x.company_id = company AND x.recipient_id = recipient;
        WHEN 'refused' THEN
            hard := coalesce(answer.status ~ '^5\.1\.|^5\.2\.1$', (response #>> '{smtp,code}')::integer IN (550, 551, 553));
            IF hard OR answer.status = '5.2.2' THEN
                UPDATE sales.campaign_recipients x SET status = 'bounced', reason = left(answer.says, 500)
                WHERE x.company_id = company AND x.recipient_id = recipient;
                PERFORM sales_internal.note_event(company, recipient, 'bounced', moment, jsonb_build_object(
                    'type', CASE WHEN hard THEN 'hard' ELSE 'soft' END, 'status', answer.status, 'diagnostic', left(answer.says, 500), 'source', 'smtp'));
            ELSE
                -- refused for what it is or comes from, which says nothing of the address
                UPDATE sales.campaign_recipients x SET status = 'failed', reason = left(answer.says, 500)
                WHERE x.company_id = company AND x.recipient_id = recipient;
            END IF;
        WHEN 'put_off' THEN
            -- Greylisting wants some minutes; a full or busy mailbox some hours.
            UPDATE sales.campaign_recipients x
            SET status = (CASE WHEN x.created_at < moment - least(sales_internal.setting_number(company, 'campaigns.give_up_hours', 48), 1e6)::integer * interval '1 hour'
                                    AND x.attempts > 3 THEN 'failed' ELSE 'pending' END)::sales.recipient_status,
                reason = left(answer.says, 500),
                due_at = moment + least(5 * 3 ^ least(x.attempts - 1, 5), 240) * interval '1 minute'
            WHERE x.company_id = company AND x.recipient_id = recipient;
        ELSE
            -- The mail never reached the server: it waits, and so does the mailbox.
            UPDATE sales.campaign_recipients x SET status = 'pending', attempts = x.attempts - 1, due_at = moment
            WHERE x.company_id = company AND x.recipient_id = recipient;
            PERFORM sales_internal.take_mailbox(box, -1);
            UPDATE sales.mailboxes b
            SET failures = b.failures + 1, last_error = left(answer.says, 500),
                paused_until = greatest(b.paused_until, moment + least(coalesce(answer.after::double precision, least(900, 5 * 2 ^ least(b.failures, 10))), 86400) * interval '1 second')
            WHERE b.company_id = company AND b.mailbox_id = box.mailbox_id;
    END CASE;
END
$$;
COMMENT ON FUNCTION sales_internal.apply_send_answer(uuid, uuid, jsonb) IS 'Writes what became of a mail that was given away';
REVOKE ALL ON FUNCTION sales_internal.apply_send_answer(uuid, uuid, jsonb) FROM PUBLIC;

-- --- the job ---

-- One job is one connection of a mailbox: it sends mail after mail, a turn of
-- the queue each, until none is due.
CREATE OR REPLACE FUNCTION sales_internal.next_campaign_mail(job uuid, company uuid, args jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    mailbox uuid := (args ->> 'mailbox_id')::uuid;
    recipient uuid;
    pause double precision;
BEGIN
    LOOP
        recipient := sales_internal.claim_recipient(company, mailbox, job);
        EXIT WHEN recipient IS NULL;
        BEGIN
            RETURN sales_internal.campaign_mail(company, recipient);
        EXCEPTION WHEN object_not_in_prerequisite_state THEN
            -- the mailbox cannot send: that is not the recipient's affair
            PERFORM sales_internal.apply_send_answer(company, recipient, jsonb_build_object('error', SQLERRM, 'not_asked', true));
        WHEN data_exception THEN
            UPDATE sales.campaign_recipients x SET status = 'failed', reason = left(SQLERRM, 500)
            WHERE x.company_id = company AND x.recipient_id = recipient;
            -- nothing was given away: the day's limit is for mails
            PERFORM sales_internal.take_mailbox(b, -1) FROM sales.mailboxes b WHERE b.company_id = company AND b.mailbox_id = mailbox;
        END;
    END LOOP;
    -- Only the throttle of their domains holds the others back?
    SELECT extract(epoch FROM min(d.next_at) - sales_internal.now()) INTO pause
    FROM sales_internal.domain_slots d
    WHERE d.company_id = company AND d.next_at > sales_internal.now()
      AND EXISTS (SELECT FROM sales.campaign_recipients x JOIN sales.email_campaigns e USING (company_id, campaign_id)
                  WHERE x.company_id = company AND x.mailbox_id = mailbox AND x.domain = d.domain AND x.status = 'pending'
                    AND x.due_at <= sales_internal.now() AND e.status = 'running')
      AND EXISTS (SELECT FROM sales.mailboxes b
                  WHERE b.company_id = company AND b.mailbox_id = mailbox AND b.is_active
                    AND coalesce(b.paused_until, '-infinity') <= sales_internal.now() AND sales_internal.mailbox_room(b) > 0);
    IF pause IS NOT NULL THEN
        RETURN jsonb_build_object('outcome', 'wait', 'after', greatest(pause, 0.05));
    END IF;
    PERFORM sales_internal.finish_campaigns(company);
    RETURN jsonb_build_object('outcome', 'done');
END
$$;
COMMENT ON FUNCTION sales_internal.next_campaign_mail(uuid, uuid, jsonb) IS 'The next mail of a mailbox as a request, or the end of the job';
REVOKE ALL ON FUNCTION sales_internal.next_campaign_mail(uuid, uuid, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.prepare_campaign_mail(job uuid, company uuid, args jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    -- In the foreground claim and answer would be one transaction: a crash
    -- between them would send again.
    IF (SELECT a.backend_type FROM pg_stat_get_activity(pg_backend_pid()) AS a) NOT LIKE 'sales_assistant%' THEN
        RETURN jsonb_build_object('outcome', 'wait', 'after', 60, 'error', 'campaign mail is sent by the background worker alone');
    END IF;
    IF args ? 'answer' THEN
        PERFORM sales_internal.apply_send_answer(company, (args ->> 'recipient_id')::uuid, args -> 'answer');
        UPDATE sales_internal.jobs j SET args = j.args - '{answer,recipient_id}'::text[] WHERE j.job_id = job;
    END IF;
    -- What this job claimed before and never answered for was lost with a worker.
    UPDATE sales.campaign_recipients x
    SET status = 'uncertain', reason = 'the worker was lost while the mail was on its way'
    WHERE x.company_id = company AND x.job_id = job AND x.status = 'sending';
    RETURN sales_internal.next_campaign_mail(job, company, args);
END
$$;
COMMENT ON FUNCTION sales_internal.prepare_campaign_mail(uuid, uuid, jsonb) IS 'Job campaign_mail: the first mail';
REVOKE ALL ON FUNCTION sales_internal.prepare_campaign_mail(uuid, uuid, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.settle_campaign_mail(job uuid, company uuid, args jsonb, response jsonb) RETURNS jsonb
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    recipient uuid := (SELECT x.recipient_id FROM sales.campaign_recipients x
                       WHERE x.company_id = company AND x.job_id = job AND x.status = 'sending' LIMIT 1);
BEGIN
    -- The next mail is a turn of its own: what goes wrong there must not undo this.
    IF recipient IS NOT NULL THEN
        BEGIN
            PERFORM sales_internal.apply_send_answer(company, recipient, response);
        EXCEPTION WHEN others THEN
            -- The answer must not be lost: it is written when the job is taken up again.
            UPDATE sales_internal.jobs j
            SET args = j.args || jsonb_build_object('recipient_id', recipient, 'answer', response - 'headers')
            WHERE j.job_id = job;
            RETURN jsonb_build_object('outcome', CASE WHEN SQLSTATE IN ('55P03', '40P01', '40001') THEN 'wait' ELSE 'retry' END,
                                      'after', 1, 'error', 'the answer of the mail server could not be written yet: ' || SQLERRM);
        END;
    END IF;
    RETURN jsonb_build_object('outcome', 'wait', 'after', 0);
END
$$;
COMMENT ON FUNCTION sales_internal.settle_campaign_mail(uuid, uuid, jsonb, jsonb) IS 'Job campaign_mail: writes what became of a mail, and queues itself for the next';
REVOKE ALL ON FUNCTION sales_internal.settle_campaign_mail(uuid, uuid, jsonb, jsonb) FROM PUBLIC;

-- Starts the jobs of mailboxes that have mail to send.
CREATE OR REPLACE FUNCTION sales_internal.send_due(only_company uuid DEFAULT NULL) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    due record;
    started bigint := 0;
BEGIN
    FOR due IN
        SELECT b.company_id, b.mailbox_id, least(b.parallel, n.mails, sales_internal.mailbox_room(b)) AS lanes
        FROM sales.mailboxes b
        JOIN sales.companies c ON c.company_id = b.company_id AND c.subscription_status = 'active'
        CROSS JOIN LATERAL (
            SELECT count(*) AS mails
            FROM (SELECT FROM sales.campaign_recipients x
                  WHERE x.company_id = b.company_id AND x.mailbox_id = b.mailbox_id AND x.status = 'pending' AND x.due_at <= sales_internal.now()
                    AND EXISTS (SELECT FROM sales.email_campaigns e
                                WHERE e.company_id = b.company_id AND e.campaign_id = x.campaign_id AND e.status = 'running')
                  LIMIT b.parallel) AS l) AS n
        WHERE b.is_active AND coalesce(b.paused_until, '-infinity') <= sales_internal.now()
          AND b.company_id = coalesce(only_company, b.company_id) AND n.mails > 0
    LOOP
        -- where a session of the company is launching at this moment, it queues them itself
        BEGIN
            FOR lane IN 1 .. due.lanes
            LOOP
                PERFORM sales_internal.enqueue('campaign_mail', due.company_id, jsonb_build_object('mailbox_id', due.mailbox_id, 'lane', lane),
                                               due.mailbox_id || ' ' || lane);
                started := started + 1;
            END LOOP;
        EXCEPTION WHEN lock_not_available THEN
            NULL;
        END;
    END LOOP;
    RETURN started;
END
$$;
COMMENT ON FUNCTION sales_internal.send_due(uuid) IS 'Queues a job for each connection of a mailbox that has mail to send';
REVOKE ALL ON FUNCTION sales_internal.send_due(uuid) FROM PUBLIC;

-- A campaign that a session has locked is completed the next time: its company holds up no other.
CREATE OR REPLACE FUNCTION sales_internal.finish_campaigns(company uuid DEFAULT NULL) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    over record;
BEGIN
    FOR over IN
        SELECT c.company_id, c.campaign_id FROM sales.email_campaigns c
        WHERE c.company_id = coalesce(company, c.company_id) AND c.status = 'running' AND c.runs > 0
          AND (c.schedule_type <> 'recurring' OR c.next_run_at IS NULL)
          AND NOT EXISTS (SELECT FROM sales.campaign_recipients x
                          WHERE x.company_id = c.company_id AND x.campaign_id = c.campaign_id AND x.status IN ('waiting', 'pending', 'sending'))
    LOOP
        -- one campaign at a time is locked: its row may be on another node
        PERFORM FROM sales.email_campaigns c
        WHERE c.company_id = over.company_id AND c.campaign_id = over.campaign_id FOR NO KEY UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        UPDATE sales.email_campaigns c SET status = 'completed', completed_at = sales_internal.now()
        WHERE c.company_id = over.company_id AND c.campaign_id = over.campaign_id AND c.status = 'running';
    END LOOP;
END
$$;
COMMENT ON FUNCTION sales_internal.finish_campaigns(uuid) IS 'Campaigns with nothing left to send are completed';
REVOKE ALL ON FUNCTION sales_internal.finish_campaigns(uuid) FROM PUBLIC;

-- --- messages that are approved one by one ---

CREATE OR REPLACE FUNCTION sales_internal.write_waiting_messages(most integer DEFAULT 200) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    r sales.campaign_recipients;
    written bigint := 0;
BEGIN
    FOR r IN SELECT x.* FROM sales.campaign_recipients x JOIN sales.email_campaigns c USING (company_id, campaign_id)
             WHERE x.status = 'waiting' AND x.message_id IS NULL AND c.status = 'running'
             ORDER BY x.recipient_id LIMIT most
    LOOP
        -- one at a time is locked and looked at again: its row may be on another node
        PERFORM FROM sales.campaign_recipients x
        WHERE x.company_id = r.company_id AND x.recipient_id = r.recipient_id AND x.status = 'waiting' AND x.message_id IS NULL
        FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        BEGIN
            PERFORM sales_internal.write_campaign_message(r, false);
            written := written + 1;
        EXCEPTION
            WHEN lock_not_available THEN
                NULL;           -- its company has locked the prospect: the next time
            WHEN data_exception THEN
                UPDATE sales.campaign_recipients x SET status = 'failed', reason = left(SQLERRM, 500)
                WHERE x.company_id = r.company_id AND x.recipient_id = r.recipient_id;
        END;
    END LOOP;
    RETURN written;
END
$$;
COMMENT ON FUNCTION sales_internal.write_waiting_messages(integer) IS 'Writes the messages of campaigns whose messages are approved one by one';
REVOKE ALL ON FUNCTION sales_internal.write_waiting_messages(integer) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.release_approved() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    UPDATE sales.campaign_recipients x SET status = 'pending', reason = NULL
    WHERE x.company_id = NEW.company_id AND x.message_id = NEW.message_id AND x.status = 'waiting';
    IF FOUND AND NOT sales_internal.restoring() THEN
        PERFORM sales_internal.send_due(NEW.company_id);
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sales_internal.release_approved() IS 'Trigger: a campaign''s message that is approved goes out';
REVOKE ALL ON FUNCTION sales_internal.release_approved() FROM PUBLIC;
CREATE OR REPLACE TRIGGER release_approved AFTER UPDATE OF is_approved ON sales.messages FOR EACH ROW
    WHEN (NEW.is_approved AND NOT OLD.is_approved) EXECUTE FUNCTION sales_internal.release_approved();

-- --- time goes by ---

CREATE OR REPLACE FUNCTION sales_internal.run_campaigns() RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    due record;
    next_run timestamptz;
    moment timestamptz := sales_internal.now();
BEGIN
    UPDATE sales.campaign_recipients x
    SET status = 'uncertain', reason = 'no answer came while the mail was on its way'
    WHERE x.status = 'sending' AND x.claimed_at < moment - interval '15 minutes';
    FOR due IN SELECT c.company_id, c.campaign_id, c.schedule_type, c.schedule_cron
               FROM sales.email_campaigns c JOIN sales.companies o ON o.company_id = c.company_id AND o.subscription_status = 'active'
               WHERE ((c.status = 'scheduled' AND c.schedule_type <> 'recurring' AND c.scheduled_at <= moment)
                      OR (c.status IN ('scheduled', 'running') AND c.schedule_type = 'recurring' AND c.next_run_at <= moment))
                 -- without a mailbox to send from it waits for one; doctor() says so
                 AND EXISTS (SELECT FROM sales_internal.campaign_mailboxes b WHERE b.company_id = c.company_id AND b.campaign_id = c.campaign_id)
               ORDER BY c.company_id, c.campaign_id
    LOOP
        -- one campaign at a time is locked and looked at again: its rows may be on another node
        PERFORM FROM sales.email_campaigns c
        WHERE c.company_id = due.company_id AND c.campaign_id = due.campaign_id AND c.schedule_type = due.schedule_type
          AND ((c.status = 'scheduled' AND c.schedule_type <> 'recurring' AND c.scheduled_at <= moment)
               OR (c.status IN ('scheduled', 'running') AND c.schedule_type = 'recurring' AND c.next_run_at <= moment))
        FOR UPDATE SKIP LOCKED;
        CONTINUE WHEN NOT FOUND;
        BEGIN
            next_run := CASE WHEN due.schedule_type = 'recurring' THEN sales_internal.next_run(due.company_id, due.schedule_cron, moment) END;
            UPDATE sales.email_campaigns c SET status = 'running', next_run_at = next_run
            WHERE c.company_id = due.company_id AND c.campaign_id = due.campaign_id;
            PERFORM sales_internal.enrol(due.company_id, due.campaign_id);
        EXCEPTION
            WHEN lock_not_available OR transaction_rollback THEN
                NULL;           -- of rows of its own company: the next time
            WHEN data_exception OR integrity_constraint_violation OR no_data_found OR raise_exception OR program_limit_exceeded THEN
                RAISE WARNING 'campaign % could not choose its recipients: %', due.campaign_id, SQLERRM;
                UPDATE sales.email_campaigns c SET status = 'paused', next_run_at = NULL
                WHERE c.company_id = due.company_id AND c.campaign_id = due.campaign_id;
        END;
    END LOOP;
    PERFORM sales_internal.write_waiting_messages();
    PERFORM sales_internal.finish_campaigns();
    PERFORM sales_internal.read_due_mailboxes();
    DELETE FROM sales_internal.domain_slots d WHERE d.next_at < moment - interval '1 hour';
    RETURN sales_internal.send_due();
END
$$;
COMMENT ON FUNCTION sales_internal.run_campaigns() IS
    'Starts campaigns that are due, writes messages to approve, queues mailboxes to send from and to read; run by the worker and maintain()';
REVOKE ALL ON FUNCTION sales_internal.run_campaigns() FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.resolve_uncertain(campaign_id uuid, sent boolean) RETURNS bigint
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c sales.email_campaigns := sales_internal.visible_campaign(campaign_id);
    r record;
    resolved bigint := 0;
BEGIN
    PERFORM sales_internal.require('email_campaigns', 'approve');
    FOR r IN SELECT x.recipient_id, x.claimed_at FROM sales.campaign_recipients x
             WHERE x.company_id = c.company_id AND x.campaign_id = c.campaign_id AND x.status = 'uncertain' FOR UPDATE
    LOOP
        IF sent THEN
            PERFORM sales_internal.mark_sent(c.company_id, r.recipient_id, coalesce(r.claimed_at, sales_internal.now()), 'said to be sent');
        ELSE
            UPDATE sales.campaign_recipients x SET status = 'pending', due_at = sales_internal.now(), reason = 'said not to be sent'
            WHERE x.company_id = c.company_id AND x.recipient_id = r.recipient_id;
        END IF;
        resolved := resolved + 1;
    END LOOP;
    IF resolved > 0 AND NOT sent THEN
        UPDATE sales.email_campaigns e SET status = 'running', completed_at = NULL
        WHERE e.company_id = c.company_id AND e.campaign_id = c.campaign_id AND e.status = 'completed';
    END IF;
    PERFORM sales_internal.send_due(c.company_id);
    RETURN resolved;
END
$$;
COMMENT ON FUNCTION sales.resolve_uncertain(uuid, boolean) IS
    'Says of all mails of a campaign that are uncertain whether they were sent; those that were not are sent again. Returns how many';
REVOKE ALL ON FUNCTION sales.resolve_uncertain(uuid, boolean) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.resolve_uncertain(uuid, boolean) TO sales_app;

DO $$
BEGIN
    INSERT INTO sales_internal.job_kinds (kind, mode, prepare_function, settle_function, max_attempts, lease)
    VALUES ('campaign_mail', 'http', 'sales_internal.prepare_campaign_mail', 'sales_internal.settle_campaign_mail', 1000, '5 minutes')
    ON CONFLICT (kind) DO NOTHING;
    INSERT INTO sales_internal.periodic_tasks (name, every, run_function)
    VALUES ('campaigns', '15 seconds', 'sales_internal.run_campaigns') ON CONFLICT (name) DO NOTHING;
END
$$;
