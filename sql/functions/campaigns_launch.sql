-- Campaigns: checks before a launch, choosing recipients, launch and pause.

-- --- time ---

-- The recipient's clock: by region, by country, else the company's.
CREATE OR REPLACE FUNCTION sales_internal.prospect_zone(company uuid, address uuid) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT coalesce(
        (SELECT z.zone FROM sales.addresses a
         JOIN sales_internal.country_zones z ON z.country = lower(btrim(a.country)) AND z.region IN ('', lower(btrim(a.region)))
         WHERE a.company_id = company AND a.address_id = address
         ORDER BY z.region DESC LIMIT 1),
        (SELECT c.timezone FROM sales.companies c WHERE c.company_id = company))
$$;
COMMENT ON FUNCTION sales_internal.prospect_zone(uuid, uuid) IS 'Timezone of an address, else of the company';
REVOKE ALL ON FUNCTION sales_internal.prospect_zone(uuid, uuid) FROM PUBLIC;

-- First time not before `after` that lies in the window by the clock of the zone:
-- `after` itself, else an opening.  Where a change of clocks has swallowed a window
-- (or moved its opening out of it), the next day's; so a window of one day a week
-- is looked for on two of them.
CREATE OR REPLACE FUNCTION sales_internal.next_in_window(after timestamptz, zone text, opens time, closes time, days integer[])
RETURNS timestamptz
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE WHEN num_nonnulls(opens, closes, days) = 0 THEN after ELSE
        (SELECT m.moment
         FROM (SELECT after AS moment
               UNION ALL
               SELECT ((after AT TIME ZONE zone)::date + n + coalesce(opens, '00:00')) AT TIME ZONE zone FROM generate_series(0, 15) AS n) AS m
         CROSS JOIN LATERAL (SELECT m.moment AT TIME ZONE zone) AS l (clock)
         WHERE m.moment >= after AND l.clock::time >= coalesce(opens, '00:00') AND l.clock::time < coalesce(closes, '24:00')
           AND (days IS NULL OR extract(isodow FROM l.clock) = ANY (days))
         ORDER BY m.moment LIMIT 1) END
$$;
COMMENT ON FUNCTION sales_internal.next_in_window(timestamptz, text, time, time, integer[]) IS
    'When a mail may go out: at once, or when the window next opens for the recipient';
REVOKE ALL ON FUNCTION sales_internal.next_in_window(timestamptz, text, time, time, integer[]) FROM PUBLIC;

-- --- mailboxes that a campaign is sent from ---

CREATE OR REPLACE VIEW sales_internal.campaign_mailboxes WITH (security_invoker = true) AS
SELECT c.company_id, c.campaign_id, b.mailbox_id
FROM sales.email_campaigns c
JOIN sales.mailboxes b ON b.company_id = c.company_id AND b.is_active AND b.mailbox_id = coalesce(c.mailbox_id, b.mailbox_id);
COMMENT ON VIEW sales_internal.campaign_mailboxes IS 'Active mailboxes of each campaign: the one that it names, else all of its company';

-- --- what can be wrong ---

-- Variables that mail templates get beside those of prospect_variables().
CREATE OR REPLACE FUNCTION sales_internal.mail_variables() RETURNS text[]
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT '{first_name,last_name,job_title,company_name,pain_points,website,product_name,product_description,benefits,benefit,sender,unsubscribe_url}'::text[]
$$;
COMMENT ON FUNCTION sales_internal.mail_variables() IS 'Variables that the extension fills in templates of mails';
REVOKE ALL ON FUNCTION sales_internal.mail_variables() FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.campaign_templates(company uuid, campaign uuid)
RETURNS TABLE (step_number integer, template sales.templates)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT x.step_number, t
    FROM (SELECT 1 AS step_number, c.template_id FROM sales.email_campaigns c
          WHERE c.company_id = company AND c.campaign_id = campaign AND c.template_id IS NOT NULL
          UNION ALL
          SELECT s.step_number, s.template_id FROM sales.campaign_steps s
          WHERE s.company_id = company AND s.campaign_id = campaign AND s.step_number > 1) AS x
    JOIN sales.templates t ON t.company_id = company AND t.template_id = x.template_id
$$;
COMMENT ON FUNCTION sales_internal.campaign_templates(uuid, uuid) IS 'Templates of a campaign by step, as they are now';
REVOKE ALL ON FUNCTION sales_internal.campaign_templates(uuid, uuid) FROM PUBLIC;

-- Recipients who lack what a step's texts cannot do without.
CREATE OR REPLACE FUNCTION sales_internal.missing_variables(company uuid, target_filter jsonb, template sales.templates)
RETURNS TABLE (variable text, recipients bigint, known boolean)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wanted text[] := ARRAY(
        SELECT DISTINCT split_part(v, '.', 1)
        FROM unnest(sales_internal.template_variables(coalesce(template.subject_template, ''))
                    || sales_internal.template_variables(template.content_template)) AS v
        WHERE v <> '.' AND NOT coalesce(template.variables, '{}') ? split_part(v, '.', 1) AND v NOT IN ('unsubscribe_url', 'sender', 'product_name'));
BEGIN
    RETURN QUERY SELECT w, NULL::bigint, false FROM unnest(wanted) AS w
    WHERE w <> ALL (sales_internal.mail_variables()) ORDER BY w;
    wanted := ARRAY(SELECT w FROM unnest(wanted) AS w WHERE w = ANY (sales_internal.mail_variables()));
    -- what stands in the prospect's own row is counted there
    RETURN QUERY
    SELECT w, count(*), true
    FROM sales_internal.audience(company, target_filter) AS a (id)
    JOIN sales.prospects p ON p.company_id = company AND p.prospect_id = a.id
    CROSS JOIN LATERAL (VALUES ('first_name', p.first_name::text), ('last_name', p.last_name), ('job_title', p.job_title),
                               ('company_name', p.company_name), ('pain_points', p.pain_points), ('website', p.website)) AS v (w, value)
    WHERE v.w = ANY (wanted) AND coalesce(v.value, '') = ''
    GROUP BY w ORDER BY w;
    wanted := ARRAY(SELECT w FROM unnest(wanted) AS w WHERE w IN ('product_description', 'benefits', 'benefit'));
    IF wanted <> '{}' THEN
        RETURN QUERY
        SELECT w, count(*), true
        FROM sales_internal.audience(company, target_filter) AS a (id)
        CROSS JOIN LATERAL (SELECT sales_internal.prospect_variables(company, a.id)) AS v (known)
        CROSS JOIN unnest(wanted) AS w
        WHERE coalesce(v.known ->> w, '') IN ('', '[]')
        GROUP BY w ORDER BY w;
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.missing_variables(uuid, jsonb, sales.templates) IS
    'Variables of a template that nobody fills (known false), or that so many recipients lack';
REVOKE ALL ON FUNCTION sales_internal.missing_variables(uuid, jsonb, sales.templates) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.campaign_findings(company uuid, campaign uuid)
RETURNS TABLE (severity text, finding text, hint text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c sales.email_campaigns;
    step record;
    gap record;
    part text;
    boxes integer;
    others integer;
BEGIN
    SELECT * INTO c FROM sales.email_campaigns e WHERE e.company_id = company AND e.campaign_id = campaign;
    IF c.template_id IS NULL THEN
        RETURN QUERY SELECT 'error', 'the campaign has no template', 'Set email_campaigns.template_id.';
    END IF;
    FOR step IN SELECT * FROM sales_internal.campaign_templates(company, campaign) AS t ORDER BY t.step_number
    LOOP
        part := format('step %s, template "%s": ', step.step_number, (step.template).name);
        IF (step.template).channel <> 'email' THEN
            RETURN QUERY SELECT 'error', part || 'it is not one for e-mail', 'Choose a template whose channel is email.';
            CONTINUE;
        END IF;
        IF NOT (step.template).is_active THEN
            RETURN QUERY SELECT 'error', part || 'it is not active', 'Set templates.is_active, or choose another.';
        END IF;
        IF coalesce(btrim((step.template).subject_template), '') = '' THEN
            RETURN QUERY SELECT 'error', part || 'it has no subject', 'Set templates.subject_template.';
        END IF;
        BEGIN
            FOR gap IN SELECT * FROM sales_internal.missing_variables(company, c.target_filter, step.template)
            LOOP
                RETURN QUERY SELECT 'error',
                    part || CASE WHEN gap.known THEN format('%s recipients have no %s', gap.recipients, gap.variable)
                                 ELSE format('nothing fills the variable %s', gap.variable) END,
                    CASE WHEN gap.known
                         THEN format('Give %s a default in templates.variables, write {{#%s}}...{{/%s}} around it, or add {"%s": {"exists": true}} to the filter.',
                                     gap.variable, gap.variable, gap.variable, gap.variable)
                         ELSE format('Give %s a value in templates.variables, or use one of: %s.', gap.variable,
                                     array_to_string(sales_internal.mail_variables(), ', ')) END;
            END LOOP;
        EXCEPTION WHEN invalid_parameter_value THEN
            RETURN QUERY SELECT 'error', part || SQLERRM, 'Mend the template, or the target_filter.';
        END;
    END LOOP;
    SELECT count(*) FILTER (WHERE b.is_active), count(*) FILTER (WHERE NOT b.is_active) INTO boxes, others
    FROM sales.mailboxes b WHERE b.company_id = company AND b.mailbox_id = coalesce(c.mailbox_id, b.mailbox_id);
    IF boxes = 0 AND (others > 0 OR sales_internal.setting_of(company, 'email.smtp_url') IS NULL
                      OR sales_internal.setting_of(company, 'email.from') IS NULL) THEN
        RETURN QUERY SELECT 'error', 'there is no mailbox to send from',
            'INSERT INTO sales.mailboxes (email, smtp_url) VALUES (...), or set email.from and email.smtp_url.';
    END IF;
    RETURN QUERY SELECT 'error', format('mailbox %s has no mail server', b.email), 'Set mailboxes.smtp_url, such as smtp://mail.company.com:587, or the setting email.smtp_url.'
    FROM sales.mailboxes b
    WHERE b.company_id = company AND b.is_active AND b.mailbox_id = coalesce(c.mailbox_id, b.mailbox_id)
      AND b.smtp_url IS NULL AND b.provider IS NULL AND sales_internal.setting_of(company, 'email.smtp_url') IS NULL;
    IF c.schedule_type = 'recurring' AND c.schedule_cron IS NULL THEN
        RETURN QUERY SELECT 'error', 'a recurring campaign without a schedule', 'Set schedule_cron, such as 0 9 * * 1.';
    ELSIF c.schedule_type = 'scheduled' AND c.scheduled_at IS NULL THEN
        RETURN QUERY SELECT 'error', 'a scheduled campaign without a time', 'Set scheduled_at, such as now() + interval ''1 day''.';
    ELSIF c.schedule_type = 'recurring' AND sales_internal.next_run(company, c.schedule_cron, sales_internal.now()) IS NULL THEN
        RETURN QUERY SELECT 'error', format('the schedule "%s" never comes', c.schedule_cron), 'Set schedule_cron, such as 0 9 * * 1.';
    END IF;
    IF sales_internal.setting_of(company, 'campaigns.unsubscribe_url') IS NULL THEN
        RETURN QUERY SELECT 'warning', 'mails can be unsubscribed from by answering only',
            'Set campaigns.unsubscribe_url to a page that calls sales.unsubscribe(token) on POST.';
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.campaign_findings(uuid, uuid) IS 'What stands in the way of a campaign';
REVOKE ALL ON FUNCTION sales_internal.campaign_findings(uuid, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.visible_campaign(campaign uuid) RETURNS sales.email_campaigns
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
    c sales.email_campaigns;
BEGIN
    SELECT * INTO c FROM sales.email_campaigns e WHERE e.company_id = company AND e.campaign_id = campaign;
    IF NOT FOUND THEN
        RAISE no_data_found USING MESSAGE = format('there is no campaign %s', campaign), HINT = 'See sales.email_campaigns.';
    END IF;
    RETURN c;
END
$$;
COMMENT ON FUNCTION sales_internal.visible_campaign(uuid) IS 'A campaign of the current company; else an error';
REVOKE ALL ON FUNCTION sales_internal.visible_campaign(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.check_campaign(campaign_id uuid)
RETURNS TABLE (severity text, finding text, hint text)
LANGUAGE plpgsql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c sales.email_campaigns := sales_internal.visible_campaign(campaign_id);
BEGIN
    PERFORM sales_internal.require('email_campaigns', 'read');
    RETURN QUERY SELECT f.* FROM sales_internal.campaign_findings(c.company_id, c.campaign_id) AS f;
END
$$;
COMMENT ON FUNCTION sales.check_campaign(uuid) IS
    'What launch_campaign() would refuse (error) or bear (warning): missing variables, templates, mailbox, schedule';
REVOKE ALL ON FUNCTION sales.check_campaign(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.check_campaign(uuid) TO sales_app;

-- --- choosing recipients ---

-- One run: everybody whom the filter chooses gets a row for step 1.  Who cannot
-- be mailed gets one too, which says why.
CREATE OR REPLACE FUNCTION sales_internal.enrol(company uuid, campaign uuid) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c sales.email_campaigns;
    key bytea := sales_internal.mail_key(company);
    boxes uuid[];
    enrolled bigint;
BEGIN
    UPDATE sales.email_campaigns e SET runs = e.runs + 1
    WHERE e.company_id = company AND e.campaign_id = campaign RETURNING * INTO c;
    SELECT array_agg(b.mailbox_id ORDER BY b.mailbox_id) INTO boxes FROM sales_internal.campaign_mailboxes b
    WHERE b.company_id = company AND b.campaign_id = campaign;
    IF boxes IS NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'there is no mailbox to send from', HINT = 'Set mailboxes.is_active, or add a mailbox.';
    END IF;
    INSERT INTO sales.campaign_recipients
        (company_id, campaign_id, run, prospect_id, mailbox_id, status, reason, due_at, timezone, address_hash, domain, created_at)
    SELECT company, campaign, c.runs, x.prospect_id, boxes[1 + (x.n - 1) % cardinality(boxes)],
           CASE WHEN x.hash IS NULL THEN 'skipped' WHEN x.suppressed IS NOT NULL THEN 'suppressed'
                WHEN c.approval = 'message' THEN 'waiting' ELSE 'pending' END::sales.recipient_status,
           CASE WHEN x.hash IS NULL THEN 'no e-mail address that can be written to'
                WHEN x.suppressed IS NOT NULL THEN x.suppressed::text
                WHEN c.approval = 'message' THEN 'its message is to be approved' END,
           sales_internal.next_in_window(sales_internal.now(), x.zone, c.window_start, c.window_end, c.window_days),
           x.zone, x.hash, x.domain, sales_internal.now()
    FROM (SELECT p.prospect_id, row_number() OVER (ORDER BY p.prospect_id) AS n, h.hash,
                 split_part(h.email, '@', 2) AS domain,
                 CASE WHEN h.hash IS NOT NULL THEN sales_internal.suppressed(company, h.hash, split_part(h.email, '@', 2)) END AS suppressed,
                 sales_internal.prospect_zone(company, p.address_id) AS zone
          FROM sales_internal.audience(company, c.target_filter) AS a (id)
          JOIN sales.prospects p ON p.company_id = company AND p.prospect_id = a.id
          CROSS JOIN LATERAL (
              SELECT e.email, CASE WHEN e.email ~ '^[!-~]+$' THEN sales_internal.address_hash(key, e.email) END AS hash
              FROM (SELECT sales_internal.normal_email(p.email)) AS e (email)) AS h
          WHERE NOT (c.once_per_recipient AND EXISTS (
              SELECT FROM sales.campaign_recipients r
              WHERE r.company_id = company AND r.campaign_id = campaign AND r.address_hash = h.hash))) AS x
    ORDER BY x.n
    ON CONFLICT DO NOTHING;         -- two prospects of one address: one mail
    GET DIAGNOSTICS enrolled = ROW_COUNT;
    RETURN enrolled;
END
$$;
COMMENT ON FUNCTION sales_internal.enrol(uuid, uuid) IS 'Chooses the recipients of a run of a campaign; returns how many';
REVOKE ALL ON FUNCTION sales_internal.enrol(uuid, uuid) FROM PUBLIC;

-- --- launch and pause ---

-- What goes out is the text that was launched, whatever becomes of the template.
CREATE OR REPLACE FUNCTION sales_internal.approve_texts(company uuid, campaign uuid) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO sales.campaign_steps AS s
        (company_id, campaign_id, step_number, template_id, wait, approved_subject, approved_content, approved_variables,
         approved_language, approved_by, approved_at)
    SELECT company, campaign, t.step_number, (t.template).template_id, '0', (t.template).subject_template, (t.template).content_template,
           coalesce((t.template).variables, '{}'), (t.template).language, sales.current_user_id(), sales_internal.now()
    FROM sales_internal.campaign_templates(company, campaign) AS t
    ON CONFLICT (company_id, campaign_id, step_number) DO UPDATE
    SET template_id = excluded.template_id, approved_subject = excluded.approved_subject, approved_content = excluded.approved_content,
        approved_variables = excluded.approved_variables, approved_language = excluded.approved_language,
        approved_by = excluded.approved_by, approved_at = excluded.approved_at
$$;
COMMENT ON FUNCTION sales_internal.approve_texts(uuid, uuid) IS 'Keeps the texts of a campaign as they are now: these go out';
REVOKE ALL ON FUNCTION sales_internal.approve_texts(uuid, uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.launch_campaign(campaign_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c sales.email_campaigns := sales_internal.visible_campaign(campaign_id);
    errors text[];
    hints text[];
    moment timestamptz := sales_internal.now();
    next_run timestamptz;
BEGIN
    PERFORM sales_internal.require('email_campaigns', 'approve');
    SELECT * INTO c FROM sales.email_campaigns e
    WHERE e.company_id = c.company_id AND e.campaign_id = c.campaign_id FOR NO KEY UPDATE;
    IF c.status NOT IN ('draft', 'paused') THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('the campaign "%s" is %s already', c.name, c.status),
            HINT = CASE WHEN c.status = 'completed' THEN 'Make another campaign to send again.' ELSE 'sales.pause_campaign(campaign_id) stops it.' END;
    END IF;
    SELECT array_agg(f.finding), array_agg(f.hint) INTO errors, hints
    FROM sales_internal.campaign_findings(c.company_id, c.campaign_id) AS f WHERE f.severity = 'error';
    IF errors IS NOT NULL THEN
        RAISE object_not_in_prerequisite_state USING
            MESSAGE = format('the campaign "%s" cannot be launched: %s', c.name, array_to_string(errors, '; ')),
            HINT = hints[1] || CASE WHEN cardinality(hints) > 1 THEN ' All of it: SELECT * FROM sales.check_campaign(campaign_id).' ELSE '' END;
    END IF;
    IF NOT EXISTS (SELECT FROM sales.mailboxes b WHERE b.company_id = c.company_id) THEN
        INSERT INTO sales.mailboxes (company_id, email)
        VALUES (c.company_id, sales_internal.normal_email(sales_internal.setting_of(c.company_id, 'email.from')));
    END IF;
    PERFORM sales_internal.approve_texts(c.company_id, c.campaign_id);
    IF c.schedule_type = 'recurring' THEN
        next_run := sales_internal.next_run(c.company_id, c.schedule_cron, greatest(moment, c.scheduled_at));
    END IF;
    UPDATE sales.email_campaigns e
    SET status = (CASE WHEN c.runs > 0 OR c.schedule_type = 'immediate' OR (c.schedule_type = 'scheduled' AND c.scheduled_at <= moment)
                       THEN 'running' ELSE 'scheduled' END)::sales.campaign_status,
        launched_by = sales.current_user_id(), launched_at = moment, completed_at = NULL,
        -- what was given as its history at INSERT gives way to the ledger
        total_recipients = CASE WHEN c.launched_at IS NULL THEN 0 ELSE e.total_recipients END,
        emails_sent = CASE WHEN c.launched_at IS NULL THEN 0 ELSE e.emails_sent END,
        emails_delivered = CASE WHEN c.launched_at IS NULL THEN 0 ELSE e.emails_delivered END,
        emails_opened = CASE WHEN c.launched_at IS NULL THEN 0 ELSE e.emails_opened END,
        emails_clicked = CASE WHEN c.launched_at IS NULL THEN 0 ELSE e.emails_clicked END,
        emails_replied = CASE WHEN c.launched_at IS NULL THEN 0 ELSE e.emails_replied END,
        next_run_at = next_run
    WHERE e.company_id = c.company_id AND e.campaign_id = c.campaign_id
    RETURNING * INTO c;
    IF c.status = 'running' AND c.runs = 0 THEN
        PERFORM sales_internal.enrol(c.company_id, c.campaign_id);
        PERFORM sales_internal.finish_campaigns(c.company_id);
    END IF;
    PERFORM sales_internal.send_due(c.company_id);
END
$$;
COMMENT ON FUNCTION sales.launch_campaign(uuid) IS
    'Approves a campaign''s texts as they are and starts it, or goes on with a paused one; needs permission approve on email_campaigns';
REVOKE ALL ON FUNCTION sales.launch_campaign(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.launch_campaign(uuid) TO sales_app;

CREATE OR REPLACE FUNCTION sales.pause_campaign(campaign_id uuid) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    c sales.email_campaigns := sales_internal.visible_campaign(campaign_id);
BEGIN
    PERFORM sales_internal.require('email_campaigns', 'update');
    UPDATE sales.email_campaigns e SET status = 'paused', next_run_at = NULL
    WHERE e.company_id = c.company_id AND e.campaign_id = c.campaign_id AND e.status IN ('scheduled', 'running');
    IF NOT FOUND THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('the campaign "%s" is %s', c.name, c.status),
            HINT = 'Only a campaign that is scheduled or running can be paused.';
    END IF;
END
$$;
COMMENT ON FUNCTION sales.pause_campaign(uuid) IS
    'Stops a campaign; mails that are with the mail server already arrive. launch_campaign() goes on with it';
REVOKE ALL ON FUNCTION sales.pause_campaign(uuid) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.pause_campaign(uuid) TO sales_app;

-- A campaign under way is paused before it is changed; a filter is read when it
-- is written.
CREATE OR REPLACE FUNCTION sales_internal.guard_campaign() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF sales_internal.restoring() THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'INSERT' AND NEW.status IN ('scheduled', 'running', 'paused') THEN
        RAISE invalid_parameter_value USING MESSAGE = format('a campaign is not made %s', NEW.status),
            HINT = 'Insert it as a draft and call sales.launch_campaign(campaign_id).';
    END IF;
    IF TG_OP = 'UPDATE' AND OLD.status IN ('scheduled', 'running') AND NEW.status = OLD.status
       AND (NEW.template_id, NEW.target_filter, NEW.schedule_type, NEW.scheduled_at, NEW.schedule_cron, NEW.approval, NEW.legal_basis, NEW.once_per_recipient)
           IS DISTINCT FROM
           (OLD.template_id, OLD.target_filter, OLD.schedule_type, OLD.scheduled_at, OLD.schedule_cron, OLD.approval, OLD.legal_basis, OLD.once_per_recipient) THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('the campaign "%s" is %s', OLD.name, OLD.status),
            HINT = 'Call sales.pause_campaign(campaign_id), change it, and launch it again.';
    END IF;
    IF TG_OP = 'INSERT' OR NEW.target_filter IS DISTINCT FROM OLD.target_filter THEN
        PERFORM sales_internal.compile_filter(NEW.target_filter, 'UTC', '$', 0, '[]');
    END IF;
    IF NEW.schedule_cron IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.schedule_cron IS DISTINCT FROM OLD.schedule_cron) THEN
        PERFORM sales.cron_next(NEW.schedule_cron, 'UTC', sales_internal.now());
    END IF;
    IF TG_OP = 'INSERT' AND NEW.created_by IS NULL AND NEW.company_id = sales.current_company_id() THEN
        NEW.created_by := sales.current_user_id();
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sales_internal.guard_campaign() IS
    'Trigger: filters and schedules are read when they are written, and a campaign under way is not changed';
REVOKE ALL ON FUNCTION sales_internal.guard_campaign() FROM PUBLIC;
CREATE OR REPLACE TRIGGER guard_campaign BEFORE INSERT OR UPDATE ON sales.email_campaigns
    FOR EACH ROW EXECUTE FUNCTION sales_internal.guard_campaign();

-- The counts of the ERD follow the ledger, statement by statement.
CREATE OR REPLACE FUNCTION sales_internal.count_recipients() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    change record;
    query text := 'SELECT x.company_id, x.campaign_id, sum(x.sign * (x.step_number = 1)::integer) AS total,
               sum(x.sign * (x.sent_at IS NOT NULL)::integer) AS sent, sum(x.sign * (x.delivered_at IS NOT NULL)::integer) AS delivered,
               sum(x.sign * (x.opened_at IS NOT NULL)::integer) AS opened, sum(x.sign * (x.clicked_at IS NOT NULL)::integer) AS clicked,
               sum(x.sign * (x.replied_at IS NOT NULL)::integer) AS replied FROM (';
BEGIN
    IF sales_internal.restoring() THEN
        RETURN NULL;
    END IF;
    -- The transition tables that there are differ by event.
    IF TG_OP <> 'DELETE' THEN
        query := query || 'SELECT 1 AS sign, n.* FROM added n';
    END IF;
    IF TG_OP = 'UPDATE' THEN
        query := query || ' UNION ALL ';
    END IF;
    IF TG_OP <> 'INSERT' THEN
        query := query || 'SELECT -1 AS sign, o.* FROM removed o';
    END IF;
    FOR change IN EXECUTE query || ') AS x GROUP BY x.company_id, x.campaign_id ORDER BY x.company_id, x.campaign_id'
    LOOP
        UPDATE sales.email_campaigns c
        SET total_recipients = c.total_recipients + change.total, emails_sent = c.emails_sent + change.sent,
            emails_delivered = c.emails_delivered + change.delivered, emails_opened = c.emails_opened + change.opened,
            emails_clicked = c.emails_clicked + change.clicked, emails_replied = c.emails_replied + change.replied
        WHERE c.company_id = change.company_id AND c.campaign_id = change.campaign_id
          AND (change.total, change.sent, change.delivered, change.opened, change.clicked, change.replied)
              <> (0, 0, 0, 0, 0, 0);
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON FUNCTION sales_internal.count_recipients() IS 'Trigger: the counts in email_campaigns follow the ledger';
REVOKE ALL ON FUNCTION sales_internal.count_recipients() FROM PUBLIC;
CREATE OR REPLACE TRIGGER count_insert AFTER INSERT ON sales.campaign_recipients
    REFERENCING NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION sales_internal.count_recipients();
CREATE OR REPLACE TRIGGER count_update AFTER UPDATE ON sales.campaign_recipients
    REFERENCING OLD TABLE AS removed NEW TABLE AS added FOR EACH STATEMENT EXECUTE FUNCTION sales_internal.count_recipients();
CREATE OR REPLACE TRIGGER count_delete AFTER DELETE ON sales.campaign_recipients
    REFERENCING OLD TABLE AS removed FOR EACH STATEMENT EXECUTE FUNCTION sales_internal.count_recipients();

-- --- mailboxes ---

-- A login goes to the mail server that the mailbox names, which its owner
-- chooses: so it must be one that was stored for that, never the key of a service.
CREATE OR REPLACE FUNCTION sales_internal.guard_mailbox() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    wrong text;
BEGIN
    IF sales_internal.restoring() THEN
        RETURN NEW;
    END IF;
    SELECT k.service_name INTO wrong FROM sales.api_keys k
    WHERE k.company_id = NEW.company_id AND k.api_key_id IN (NEW.smtp_key_id, NEW.imap_key_id)
      AND lower(k.service_name) NOT IN ('smtp', 'imap', 'mailbox') LIMIT 1;
    IF wrong IS NOT NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = format('the key of the service "%s" is no login of a mailbox', wrong),
            HINT = 'Store the password in api_keys under the service_name mailbox, smtp or imap.';
    END IF;
    IF NEW.provider IS NOT NULL AND NOT EXISTS (SELECT FROM sales.providers p WHERE p.name = NEW.provider AND p.purpose = 'mail') THEN
        RAISE invalid_parameter_value USING MESSAGE = format('there is no provider "%s" that sends mail', NEW.provider),
            HINT = 'See sales.providers with the purpose mail.';
    END IF;
    SELECT k.service_name INTO wrong FROM sales.api_keys k
    WHERE k.company_id = NEW.company_id AND k.api_key_id = NEW.provider_key_id
      AND k.service_name IS DISTINCT FROM (SELECT coalesce(p.service, p.name) FROM sales.providers p WHERE p.name = NEW.provider);
    IF wrong IS NOT NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = format('the key of the service "%s" is not for the provider "%s"', wrong, NEW.provider),
            HINT = 'Store the provider''s key in api_keys under its name.';
    END IF;
    PERFORM sales_internal.bind_key(NEW.company_id, u.key, array_agg(u.url))
    FROM (VALUES (NEW.smtp_key_id, NEW.smtp_url), (NEW.imap_key_id, NEW.imap_url)) u (key, url) WHERE u.key IS NOT NULL GROUP BY u.key;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sales_internal.guard_mailbox() IS 'Trigger: a mailbox logs in with keys that were stored for mailboxes, and for its servers, alone';
REVOKE ALL ON FUNCTION sales_internal.guard_mailbox() FROM PUBLIC;
CREATE OR REPLACE TRIGGER guard_mailbox BEFORE INSERT OR UPDATE OF smtp_url, smtp_key_id, imap_url, imap_key_id, provider, provider_key_id ON sales.mailboxes
    FOR EACH ROW EXECUTE FUNCTION sales_internal.guard_mailbox();
