-- Campaigns: what became of mails.

-- Opened or clicked by a proxy, a scanner or a preview rather than by a person?
CREATE OR REPLACE FUNCTION sales_internal.is_machine_event(event text, at timestamptz, detail jsonb, sent_at timestamptz) RETURNS boolean
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN event NOT IN ('opened', 'clicked') THEN false
        WHEN detail -> 'machine' IN ('true', 'false') THEN detail -> 'machine' = 'true'
        WHEN upper(detail ->> 'method') = 'HEAD' THEN true
        -- Apple's proxy loads every picture as the mail arrives and gives no more than this
        WHEN btrim(detail ->> 'user_agent') = 'Mozilla/5.0' THEN true
        WHEN detail ->> 'user_agent' ~* '(bot|crawl|spider|scan|preview|proofpoint|mimecast|barracuda|fireeye|safelinks|urldefense|headless|^curl|^wget|python|^java/|go-http|okhttp)' THEN true
        ELSE coalesce(at < sent_at + interval '2 seconds', false) END
$$;
COMMENT ON FUNCTION sales_internal.is_machine_event(text, timestamptz, jsonb, timestamptz) IS
    'Does an opening or a click come from a machine? By detail.machine, else by user_agent, method and time since sending';
REVOKE ALL ON FUNCTION sales_internal.is_machine_event(text, timestamptz, jsonb, timestamptz) FROM PUBLIC;

-- An answer is put on the interaction that it answers, or stands by itself.
CREATE OR REPLACE FUNCTION sales_internal.note_reply(
    company uuid, prospect uuid, interaction uuid, interaction_at timestamptz, at timestamptz, subject text, content text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
BEGIN
    UPDATE sales.interactions i
    SET response_received = true, response_content = left(concat_ws(E'\n\n', i.response_content, nullif(btrim(note_reply.content), '')), 60000)
    WHERE i.company_id = company AND i.interaction_id = interaction AND i.interaction_date = interaction_at;
    IF NOT FOUND THEN
        INSERT INTO sales.interactions (company_id, prospect_id, channel, type, subject, content, interaction_date)
        VALUES (company, prospect, 'email', 'received', left(note_reply.subject, 200), left(note_reply.content, 60000), at);
    END IF;
    PERFORM sales_internal.advance_stage(company, prospect, 'contacte', at);
END
$$;
COMMENT ON FUNCTION sales_internal.note_reply(uuid, uuid, uuid, timestamptz, timestamptz, text, text) IS
    'Puts an answer on the interaction it answers, whose tone is then judged by itself';
REVOKE ALL ON FUNCTION sales_internal.note_reply(uuid, uuid, uuid, timestamptz, timestamptz, text, text) FROM PUBLIC;

-- Notes an event once; false if it is on record already.
CREATE OR REPLACE FUNCTION sales_internal.note_event(company uuid, recipient uuid, event text, at timestamptz, detail jsonb) RETURNS boolean
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    r sales.campaign_recipients;
    machine boolean;
    person boolean;
    hard boolean := event = 'bounced' AND coalesce(detail ->> 'type', CASE WHEN detail ->> 'status' ~ '^5' THEN 'hard' ELSE 'soft' END) = 'hard';
    most_soft integer;
BEGIN
    -- the person before the mail to it, as an erasure does
    IF NOT sales_internal.hold_person(company, (SELECT x.prospect_id FROM sales.campaign_recipients x WHERE x.company_id = company AND x.recipient_id = recipient)) THEN
        detail := jsonb_strip_nulls(jsonb_build_object('event_id', coalesce(detail ->> 'event_id', md5(concat(extract(epoch FROM at), ' ', detail))),
                                                       'type', detail -> 'type', 'status', detail -> 'status', 'source', detail -> 'source'));
    END IF;
    SELECT * INTO r FROM sales.campaign_recipients x
    WHERE x.company_id = company AND x.recipient_id = recipient FOR NO KEY UPDATE;
    machine := sales_internal.is_machine_event(event, at, detail, r.sent_at);
    person := NOT machine AND event IN ('opened', 'clicked', 'replied');
    INSERT INTO sales.email_events (company_id, recipient_id, prospect_id, event, at, is_machine, detail, event_key)
    VALUES (company, recipient, r.prospect_id, event, at, machine, detail - '{content,subject}'::text[],
            coalesce(left(detail ->> 'event_id', 200), md5(concat(extract(epoch FROM at), ' ', detail))))
    ON CONFLICT DO NOTHING;
    IF NOT FOUND THEN
        RETURN false;
    END IF;
    -- Whoever saw it shows that it was sent, and had arrived.
    IF r.status = 'uncertain' THEN
        PERFORM sales_internal.mark_sent(company, recipient, coalesce(r.claimed_at, at), 'told by what became of it: ' || event);
    END IF;
    UPDATE sales.campaign_recipients x
    SET delivered_at = CASE WHEN event = 'delivered' OR person THEN least(x.delivered_at, at) ELSE x.delivered_at END,
        opened_at = CASE WHEN event = 'opened' AND person THEN least(x.opened_at, at) ELSE x.opened_at END,
        machine_opened_at = CASE WHEN event = 'opened' AND machine THEN least(x.machine_opened_at, at) ELSE x.machine_opened_at END,
        clicked_at = CASE WHEN event = 'clicked' AND person THEN least(x.clicked_at, at) ELSE x.clicked_at END,
        replied_at = CASE WHEN event = 'replied' THEN least(x.replied_at, at) ELSE x.replied_at END,
        bounced_at = CASE WHEN event = 'bounced' THEN least(x.bounced_at, at) ELSE x.bounced_at END,
        bounce_type = CASE WHEN event = 'bounced' AND (hard OR x.bounce_type IS NULL) THEN CASE WHEN hard THEN 'hard' ELSE 'soft' END
                           ELSE x.bounce_type END,
        status = CASE WHEN event = 'bounced' AND x.status IN ('sent', 'uncertain') THEN 'bounced' ELSE x.status END,
        reason = CASE WHEN event = 'bounced' THEN left(concat_ws(' ', detail ->> 'status', detail ->> 'diagnostic'), 500) ELSE x.reason END,
        complained_at = CASE WHEN event = 'complained' THEN least(x.complained_at, at) ELSE x.complained_at END,
        unsubscribed_at = CASE WHEN event = 'unsubscribed' THEN least(x.unsubscribed_at, at) ELSE x.unsubscribed_at END
    WHERE x.company_id = company AND x.recipient_id = recipient
    RETURNING * INTO r;

    IF event = 'replied' THEN
        PERFORM sales_internal.note_reply(company, r.prospect_id, r.interaction_id, r.interaction_date, at, detail ->> 'subject', detail ->> 'content');
        UPDATE sales.campaign_recipients x SET status = 'stopped', reason = 'answered'
        WHERE x.company_id = company AND x.campaign_id = r.campaign_id AND x.run = r.run AND x.prospect_id = r.prospect_id
          AND x.step_number > r.step_number AND x.status IN ('waiting', 'pending');
    ELSIF hard THEN
        PERFORM sales_internal.suppress_hash(company, r.address_hash, 'hard_bounce', detail ->> 'diagnostic');
    ELSIF event = 'bounced' THEN
        most_soft := least(sales_internal.setting_number(company, 'campaigns.soft_bounce_limit', 0), 1e6)::integer;
        IF most_soft > 0 AND most_soft <= (
            SELECT count(*) FROM sales.campaign_recipients x
            WHERE x.company_id = company AND x.address_hash = r.address_hash AND x.bounced_at IS NOT NULL
              AND x.bounced_at > coalesce((SELECT max(y.delivered_at) FROM sales.campaign_recipients y
                                           WHERE y.company_id = company AND y.address_hash = r.address_hash), '-infinity')) THEN
            PERFORM sales_internal.suppress_hash(company, r.address_hash, 'hard_bounce', format('%s soft bounces', most_soft));
        END IF;
    ELSIF event = 'complained' THEN
        PERFORM sales_internal.suppress_hash(company, r.address_hash, 'complaint', detail ->> 'source');
    ELSIF event = 'unsubscribed' THEN
        PERFORM sales_internal.suppress_hash(company, r.address_hash, 'unsubscribed', format('campaign %s', r.campaign_id));
        UPDATE sales.consents k SET withdrawn_at = at
        WHERE k.company_id = company AND k.prospect_id = r.prospect_id AND k.basis = 'consent' AND k.withdrawn_at IS NULL;
    END IF;
    RETURN true;
END
$$;
COMMENT ON FUNCTION sales_internal.note_event(uuid, uuid, text, timestamptz, jsonb) IS
    'Notes what became of a mail: ledger, interaction, suppression, sequence; false if it was noted already';
REVOKE ALL ON FUNCTION sales_internal.note_event(uuid, uuid, text, timestamptz, jsonb) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.record_email_event(
    message_ref text, event text, at timestamptz DEFAULT now(), detail jsonb DEFAULT '{}')
RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    company uuid := sales_internal.require_company();
    ref text := lower(btrim(record_email_event.message_ref, E' <>\t\r\n'));
    kind text := lower(btrim(record_email_event.event));
    found_one uuid;
BEGIN
    PERFORM sales_internal.require('interactions', 'update');
    kind := CASE kind
        WHEN 'delivery' THEN 'delivered' WHEN 'open' THEN 'opened' WHEN 'click' THEN 'clicked' WHEN 'reply' THEN 'replied'
        WHEN 'bounce' THEN 'bounced' WHEN 'complaint' THEN 'complained' WHEN 'spam' THEN 'complained' WHEN 'unsubscribe' THEN 'unsubscribed'
        ELSE kind END;
    IF kind IS NULL OR kind NOT IN ('delivered', 'opened', 'clicked', 'replied', 'auto_replied', 'bounced', 'complained', 'unsubscribed') THEN
        RAISE invalid_parameter_value USING MESSAGE = format('"%s" is no event of a mail', left(record_email_event.event, 100)),
            HINT = 'Events: delivered, opened, clicked, replied, auto_replied, bounced, complained, unsubscribed.';
    ELSIF NOT isfinite(coalesce(at, sales_internal.now())) THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the time of the event is not finite';
    ELSIF jsonb_typeof(coalesce(detail, '{}')) <> 'object' THEN
        RAISE invalid_parameter_value USING MESSAGE = 'the detail of an event is an object', HINT = 'Such as {"type": "hard", "status": "5.1.1"}.';
    END IF;
    SELECT x.recipient_id INTO found_one FROM sales.campaign_recipients x
    WHERE x.company_id = company AND x.message_ref = ref;
    IF found_one IS NULL AND ref ~ '^[0-9a-f]{8}-([0-9a-f]{4}-){3}[0-9a-f]{12}$' THEN
        SELECT x.recipient_id INTO found_one FROM sales.campaign_recipients x
        WHERE x.company_id = company AND (x.recipient_id = ref::uuid OR x.message_id = ref::uuid)
        ORDER BY x.recipient_id = ref::uuid DESC LIMIT 1;
    END IF;
    IF found_one IS NULL THEN
        RAISE no_data_found USING MESSAGE = format('no mail of the company has the reference "%s"', left(record_email_event.message_ref, 100)),
            HINT = 'Give its Message-ID, its recipient_id in campaign_recipients, or its message_id.';
    END IF;
    PERFORM sales_internal.note_event(company, found_one, kind, coalesce(at, sales_internal.now()), coalesce(detail, '{}'));
END
$$;
COMMENT ON FUNCTION sales.record_email_event(text, text, timestamptz, jsonb) IS
    'Records what became of a mail, by Message-ID, recipient_id or message_id: delivered, opened, clicked, replied, auto_replied, bounced, complained, unsubscribed. Told twice, it counts once';
REVOKE ALL ON FUNCTION sales.record_email_event(text, text, timestamptz, jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.record_email_event(text, text, timestamptz, jsonb) TO sales_app;

-- --- unsubscribe ---

-- Company and recipient of a token; null where its signature does not hold.
CREATE OR REPLACE FUNCTION sales_internal.read_token(token text, OUT company uuid, OUT recipient uuid)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bytes bytea;
    signing bytea;
BEGIN
    IF token IS NULL OR token !~ '^[A-Za-z0-9_-]{64}$' THEN
        RETURN;
    END IF;
    bytes := decode(translate(token, '-_', '+/'), 'base64');
    company := encode(substr(bytes, 1, 16), 'hex')::uuid;
    recipient := encode(substr(bytes, 17, 16), 'hex')::uuid;
    SELECT k.key INTO signing FROM sales_internal.mail_keys k WHERE k.company_id = company;
    -- Hashes of the signatures are compared, so that time tells nothing of them.
    IF signing IS NULL OR sales_internal.keyed_hash(signing, substr(bytes, 33))
       <> sales_internal.keyed_hash(signing, substr(sales_internal.keyed_hash(signing, 'unsubscribe:'::bytea || substr(bytes, 1, 32)), 1, 16)) THEN
        company := NULL;
        recipient := NULL;
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.read_token(text) IS 'Whom a token to unsubscribe is about; null unless its signature holds';
REVOKE ALL ON FUNCTION sales_internal.read_token(text) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.unsubscribe(token text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    about record;
BEGIN
    SELECT * INTO about FROM sales_internal.read_token(btrim(token));
    IF about.recipient IS NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'this is no valid token to unsubscribe',
            HINT = 'The token is in the link of the mail, after token=.';
    END IF;
    -- Somebody who was erased meanwhile has no row, and gets no mail either.
    IF EXISTS (SELECT FROM sales.campaign_recipients x
               WHERE x.company_id = about.company AND x.recipient_id = about.recipient) THEN
        PERFORM sales_internal.note_event(about.company, about.recipient, 'unsubscribed', sales_internal.now(), '{"event_id": "unsubscribe"}');
    END IF;
END
$$;
COMMENT ON FUNCTION sales.unsubscribe(text) IS
    'Unsubscribes the recipient of a mail by the signed token in its link; needs no tenant. Call it on POST alone: mail scanners follow every link with GET';
REVOKE ALL ON FUNCTION sales.unsubscribe(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.unsubscribe(text) TO sales_app;

-- An answer that is judged positive moves its prospect on.
CREATE OR REPLACE FUNCTION sales_internal.move_interested() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF NOT sales_internal.restoring() AND EXISTS (
        SELECT FROM sales.campaign_recipients x WHERE x.company_id = NEW.company_id AND x.prospect_id = NEW.prospect_id
        AND x.interaction_id = NEW.interaction_id AND x.replied_at IS NOT NULL) THEN
        PERFORM sales_internal.advance_stage(NEW.company_id, NEW.prospect_id, 'interesse', sales_internal.now());
    END IF;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sales_internal.move_interested() IS 'Trigger: a positive answer to a campaign moves the prospect to "interesse"';
REVOKE ALL ON FUNCTION sales_internal.move_interested() FROM PUBLIC;
CREATE OR REPLACE TRIGGER move_interested AFTER UPDATE OF response_sentiment ON sales.interactions FOR EACH ROW
    WHEN (NEW.response_sentiment = 'positive' AND NEW.response_sentiment IS DISTINCT FROM OLD.response_sentiment)
    EXECUTE FUNCTION sales_internal.move_interested();
