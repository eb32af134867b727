-- E-mail campaigns: what goes out, to whom, from which mailbox, and what came of it.

CREATE TYPE sales.campaign_schedule AS ENUM ('immediate', 'scheduled', 'recurring');
COMMENT ON TYPE sales.campaign_schedule IS 'When a campaign goes out';
CREATE TYPE sales.campaign_status AS ENUM ('draft', 'scheduled', 'running', 'completed', 'paused');
COMMENT ON TYPE sales.campaign_status IS 'State of a campaign';
CREATE TYPE sales.legal_basis AS ENUM ('consent', 'legitimate_interest', 'contract');
COMMENT ON TYPE sales.legal_basis IS 'Why a person may be written to (GDPR, article 6)';
CREATE TYPE sales.recipient_status AS ENUM
    ('waiting', 'pending', 'sending', 'sent', 'uncertain', 'bounced', 'failed', 'suppressed', 'skipped', 'stopped');
COMMENT ON TYPE sales.recipient_status IS
    'waiting for approval, pending, sending, sent; uncertain: the connection was lost after the mail was given away; why it did not go out';
CREATE TYPE sales.suppression_reason AS ENUM ('unsubscribed', 'hard_bounce', 'complaint', 'manual', 'erased');
COMMENT ON TYPE sales.suppression_reason IS 'Why an address gets no more mail';

-- --- mailboxes ---

CREATE TABLE sales.mailboxes (
    mailbox_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    email varchar(100) NOT NULL CHECK (email ~ '^[!-~]+@[a-zA-Z0-9.-]+$'),
    display_name varchar(100),
    reply_to varchar(100) CHECK (reply_to ~ '^[!-~]+@[a-zA-Z0-9.-]+$'),
    smtp_url text CHECK (smtp_url ~ '^smtps?://'),
    smtp_user text,
    smtp_key_id uuid,
    smtp_tls text NOT NULL DEFAULT 'required' CHECK (smtp_tls IN ('required', 'optional')),
    provider varchar(50),
    provider_key_id uuid,
    imap_url text CHECK (imap_url ~ '^imaps?://'),
    imap_user text,
    imap_key_id uuid,
    imap_tls text NOT NULL DEFAULT 'required' CHECK (imap_tls IN ('required', 'optional')),
    daily_limit integer NOT NULL DEFAULT 500 CHECK (daily_limit > 0),
    warmup_started date,
    warmup_first integer NOT NULL DEFAULT 20 CHECK (warmup_first > 0),
    warmup_growth numeric NOT NULL DEFAULT 1.3 CHECK (warmup_growth BETWEEN 1 AND 10),
    parallel integer NOT NULL DEFAULT 3 CHECK (parallel BETWEEN 1 AND 20),
    dkim_selector varchar(63) CHECK (dkim_selector ~ '^[a-zA-Z0-9._-]+$'),
    is_active boolean NOT NULL DEFAULT true,
    created_at timestamptz NOT NULL DEFAULT now(),
    paused_until timestamptz,
    failures integer NOT NULL DEFAULT 0,
    last_error text,
    imap_validity bigint,
    imap_last_uid bigint,
    imap_asked_uid bigint,
    imap_read_at timestamptz,
    UNIQUE (company_id, mailbox_id),
    UNIQUE (company_id, email),
    FOREIGN KEY (company_id, smtp_key_id) REFERENCES sales.api_keys (company_id, api_key_id),
    FOREIGN KEY (company_id, provider_key_id) REFERENCES sales.api_keys (company_id, api_key_id),
    FOREIGN KEY (company_id, imap_key_id) REFERENCES sales.api_keys (company_id, api_key_id)
);
COMMENT ON TABLE sales.mailboxes IS 'Mailboxes that campaigns are sent from and answers come into';
COMMENT ON COLUMN sales.mailboxes.mailbox_id IS 'Key of the mailbox';
COMMENT ON COLUMN sales.mailboxes.company_id IS 'Tenant';
COMMENT ON COLUMN sales.mailboxes.email IS 'Sender''s address';
COMMENT ON COLUMN sales.mailboxes.display_name IS 'Sender''s name';
COMMENT ON COLUMN sales.mailboxes.reply_to IS 'Address for answers; null: the sender''s';
COMMENT ON COLUMN sales.mailboxes.smtp_url IS 'Mail server, such as smtp://mail.company.com:587; null: the setting email.smtp_url';
COMMENT ON COLUMN sales.mailboxes.smtp_user IS 'Login at the mail server';
COMMENT ON COLUMN sales.mailboxes.smtp_key_id IS 'Row of api_keys that holds its password, encrypted';
COMMENT ON COLUMN sales.mailboxes.smtp_tls IS 'required, or optional: then a session in clear is taken with hosts that sales_assistant.allowed_hosts names';
COMMENT ON COLUMN sales.mailboxes.provider IS 'Row of providers with the purpose mail that sends instead of SMTP';
COMMENT ON COLUMN sales.mailboxes.provider_key_id IS 'Its row of api_keys';
COMMENT ON COLUMN sales.mailboxes.imap_url IS 'Folder that answers and reports come into, such as imaps://mail.company.com/INBOX; null: not read';
COMMENT ON COLUMN sales.mailboxes.imap_user IS 'Login at the IMAP server';
COMMENT ON COLUMN sales.mailboxes.imap_key_id IS 'Row of api_keys that holds its password, encrypted';
COMMENT ON COLUMN sales.mailboxes.imap_tls IS 'As smtp_tls';
COMMENT ON COLUMN sales.mailboxes.daily_limit IS 'Most mails in a day of the company''s timezone';
COMMENT ON COLUMN sales.mailboxes.warmup_started IS 'First day of a new sender''s warm-up; null: none';
COMMENT ON COLUMN sales.mailboxes.warmup_first IS 'Mails on the first day of the warm-up';
COMMENT ON COLUMN sales.mailboxes.warmup_growth IS 'Each day of the warm-up allows this many times as many as the day before, up to daily_limit';
COMMENT ON COLUMN sales.mailboxes.parallel IS 'Connections to the mail server at a time';
COMMENT ON COLUMN sales.mailboxes.dkim_selector IS 'Selector of the domain''s DKIM key, for doctor()';
COMMENT ON COLUMN sales.mailboxes.is_active IS 'Is it used?';
COMMENT ON COLUMN sales.mailboxes.created_at IS 'When the mailbox was made';
COMMENT ON COLUMN sales.mailboxes.paused_until IS 'Rests until then, after the server could not be reached';
COMMENT ON COLUMN sales.mailboxes.failures IS 'Failures in a row';
COMMENT ON COLUMN sales.mailboxes.last_error IS 'What the server said last when it refused the mailbox itself';
COMMENT ON COLUMN sales.mailboxes.imap_validity IS 'UIDVALIDITY of the folder';
COMMENT ON COLUMN sales.mailboxes.imap_last_uid IS 'Last mail that was read';
COMMENT ON COLUMN sales.mailboxes.imap_asked_uid IS 'Last mail that is being read';
COMMENT ON COLUMN sales.mailboxes.imap_read_at IS 'When the folder was last read';

-- --- campaigns ---

CREATE TABLE sales.email_campaigns (
    campaign_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    created_by uuid,
    name varchar(100) NOT NULL CHECK (name <> ''),
    template_id uuid,
    target_filter jsonb NOT NULL DEFAULT '{}',
    schedule_type sales.campaign_schedule NOT NULL DEFAULT 'immediate',
    scheduled_at timestamptz,
    status sales.campaign_status NOT NULL DEFAULT 'draft',
    total_recipients integer NOT NULL DEFAULT 0,
    emails_sent integer NOT NULL DEFAULT 0,
    emails_delivered integer NOT NULL DEFAULT 0,
    emails_opened integer NOT NULL DEFAULT 0,
    emails_clicked integer NOT NULL DEFAULT 0,
    emails_replied integer NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    schedule_cron varchar(50),
    mailbox_id uuid,
    approval text NOT NULL DEFAULT 'campaign' CHECK (approval IN ('campaign', 'message')),
    legal_basis sales.legal_basis NOT NULL DEFAULT 'legitimate_interest',
    window_start time,
    window_end time,
    window_days integer[] CHECK (window_days <@ '{1,2,3,4,5,6,7}' AND cardinality(window_days) > 0),
    once_per_recipient boolean NOT NULL DEFAULT false,
    next_run_at timestamptz,
    runs integer NOT NULL DEFAULT 0,
    launched_by uuid,
    launched_at timestamptz,
    completed_at timestamptz,
    CHECK (coalesce(window_start, '00:00') < coalesce(window_end, '24:00')),
    CONSTRAINT chk_schedule
        CHECK (status = 'draft' OR CASE schedule_type WHEN 'recurring' THEN schedule_cron IS NOT NULL
                                                      WHEN 'scheduled' THEN scheduled_at IS NOT NULL ELSE true END),
    UNIQUE (company_id, campaign_id),
    FOREIGN KEY (company_id, created_by) REFERENCES sales.users (company_id, user_id),
    FOREIGN KEY (company_id, template_id) REFERENCES sales.templates (company_id, template_id),
    FOREIGN KEY (company_id, mailbox_id) REFERENCES sales.mailboxes (company_id, mailbox_id),
    FOREIGN KEY (company_id, launched_by) REFERENCES sales.users (company_id, user_id)
);
CREATE INDEX email_campaigns_open_idx ON sales.email_campaigns (company_id, status)
    WHERE status IN ('scheduled', 'running');
COMMENT ON TABLE sales.email_campaigns IS 'E-mail campaigns and their counts';
COMMENT ON COLUMN sales.email_campaigns.campaign_id IS 'Key of the campaign';
COMMENT ON COLUMN sales.email_campaigns.company_id IS 'Tenant';
COMMENT ON COLUMN sales.email_campaigns.created_by IS 'User who made it';
COMMENT ON COLUMN sales.email_campaigns.name IS 'Name';
COMMENT ON COLUMN sales.email_campaigns.template_id IS 'Template of the mail, or of the first one of a sequence';
COMMENT ON COLUMN sales.email_campaigns.target_filter IS 'Which prospects it is for; its grammar is in docs/campaigns.md, {} is all';
COMMENT ON COLUMN sales.email_campaigns.schedule_type IS 'immediate, scheduled or recurring';
COMMENT ON COLUMN sales.email_campaigns.scheduled_at IS 'When a scheduled campaign starts';
COMMENT ON COLUMN sales.email_campaigns.status IS 'draft, scheduled, running, completed or paused';
COMMENT ON COLUMN sales.email_campaigns.total_recipients IS 'Recipients chosen, one for each prospect and run';
COMMENT ON COLUMN sales.email_campaigns.emails_sent IS 'Mails given to the mail server';
COMMENT ON COLUMN sales.email_campaigns.emails_delivered IS 'Mails delivered';
COMMENT ON COLUMN sales.email_campaigns.emails_opened IS 'Mails opened by people';
COMMENT ON COLUMN sales.email_campaigns.emails_clicked IS 'Mails with a link followed';
COMMENT ON COLUMN sales.email_campaigns.emails_replied IS 'Mails answered';
COMMENT ON COLUMN sales.email_campaigns.created_at IS 'When the campaign was made';
COMMENT ON COLUMN sales.email_campaigns.schedule_cron IS 'Cron expression of a recurring campaign, in the company''s timezone';
COMMENT ON COLUMN sales.email_campaigns.mailbox_id IS 'Mailbox that it is sent from; null: the company''s active ones in turn';
COMMENT ON COLUMN sales.email_campaigns.approval IS 'campaign: its launch approves every mail; message: each mail is written first and waits for approve_message()';
COMMENT ON COLUMN sales.email_campaigns.legal_basis IS 'Why its recipients may be written to; consent: only those with a row in consents';
COMMENT ON COLUMN sales.email_campaigns.window_start IS 'Earliest time of day for a mail, by the recipient''s clock; null: any';
COMMENT ON COLUMN sales.email_campaigns.window_end IS 'Latest time of day; null: any';
COMMENT ON COLUMN sales.email_campaigns.window_days IS 'Days of the week for a mail, Monday is 1; null: any';
COMMENT ON COLUMN sales.email_campaigns.once_per_recipient IS 'Of a recurring campaign: nobody gets it twice';
COMMENT ON COLUMN sales.email_campaigns.next_run_at IS 'When a recurring campaign next chooses recipients';
COMMENT ON COLUMN sales.email_campaigns.runs IS 'How often recipients were chosen';
COMMENT ON COLUMN sales.email_campaigns.launched_by IS 'User who launched it and thereby approved its texts';
COMMENT ON COLUMN sales.email_campaigns.launched_at IS 'When it was launched';
COMMENT ON COLUMN sales.email_campaigns.completed_at IS 'When the last mail was done with';

CREATE TABLE sales.campaign_steps (
    step_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id(),
    campaign_id uuid NOT NULL,
    step_number integer NOT NULL CHECK (step_number BETWEEN 1 AND 50),
    template_id uuid NOT NULL,
    wait interval NOT NULL DEFAULT '3 days' CHECK (wait >= '0'),
    created_at timestamptz NOT NULL DEFAULT now(),
    approved_subject text,
    approved_content text,
    approved_variables jsonb,
    approved_language varchar(5),
    approved_by uuid,
    approved_at timestamptz,
    UNIQUE (company_id, step_id),
    UNIQUE (company_id, campaign_id, step_number),
    FOREIGN KEY (company_id, campaign_id)
        REFERENCES sales.email_campaigns (company_id, campaign_id) ON DELETE CASCADE,
    FOREIGN KEY (company_id, template_id) REFERENCES sales.templates (company_id, template_id),
    FOREIGN KEY (company_id, approved_by) REFERENCES sales.users (company_id, user_id)
);
COMMENT ON TABLE sales.campaign_steps IS 'Mails of a campaign in their order; the follow-ups of a sequence are steps 2 and on';
COMMENT ON COLUMN sales.campaign_steps.step_id IS 'Key of the step';
COMMENT ON COLUMN sales.campaign_steps.company_id IS 'Tenant';
COMMENT ON COLUMN sales.campaign_steps.campaign_id IS 'Campaign';
COMMENT ON COLUMN sales.campaign_steps.step_number IS 'Place in the sequence; 1 is the campaign''s own template';
COMMENT ON COLUMN sales.campaign_steps.template_id IS 'Template of the mail';
COMMENT ON COLUMN sales.campaign_steps.wait IS 'Time after the mail before; no meaning in step 1';
COMMENT ON COLUMN sales.campaign_steps.created_at IS 'When the step was made';
COMMENT ON COLUMN sales.campaign_steps.approved_subject IS 'Subject template as it was when the campaign was launched';
COMMENT ON COLUMN sales.campaign_steps.approved_content IS 'Body template as it was when the campaign was launched; this is what goes out';
COMMENT ON COLUMN sales.campaign_steps.approved_variables IS 'Defaults of the template''s variables at launch';
COMMENT ON COLUMN sales.campaign_steps.approved_language IS 'Language of the template';
COMMENT ON COLUMN sales.campaign_steps.approved_by IS 'User who launched';
COMMENT ON COLUMN sales.campaign_steps.approved_at IS 'When the text was approved';

-- The ledger.  A recipient gets each step of a run once: the unique constraints
-- hold it, for the prospect and for the address.
CREATE TABLE sales.campaign_recipients (
    recipient_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id(),
    campaign_id uuid NOT NULL,
    run integer NOT NULL DEFAULT 1 CHECK (run > 0),
    step_number integer NOT NULL DEFAULT 1 CHECK (step_number > 0),
    prospect_id uuid NOT NULL,
    mailbox_id uuid,
    status sales.recipient_status NOT NULL DEFAULT 'pending',
    reason text,
    due_at timestamptz NOT NULL DEFAULT now(),
    timezone text NOT NULL DEFAULT 'UTC',
    address_hash bytea,
    domain text,
    legal_basis sales.legal_basis,
    consent_id uuid,
    message_id uuid,
    message_ref text,
    interaction_id uuid,
    interaction_date timestamptz,
    attempts integer NOT NULL DEFAULT 0,
    job_id uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    claimed_at timestamptz,
    sent_at timestamptz,
    delivered_at timestamptz,
    opened_at timestamptz,
    machine_opened_at timestamptz,
    clicked_at timestamptz,
    replied_at timestamptz,
    bounced_at timestamptz,
    bounce_type text CHECK (bounce_type IN ('hard', 'soft')),
    complained_at timestamptz,
    unsubscribed_at timestamptz,
    UNIQUE (company_id, recipient_id),
    UNIQUE (company_id, campaign_id, run, step_number, prospect_id),
    UNIQUE (company_id, campaign_id, run, step_number, address_hash),
    UNIQUE (company_id, message_ref),
    FOREIGN KEY (company_id, campaign_id)
        REFERENCES sales.email_campaigns (company_id, campaign_id) ON DELETE CASCADE,
    FOREIGN KEY (company_id, prospect_id)
        REFERENCES sales.prospects (company_id, prospect_id) ON DELETE CASCADE,
    FOREIGN KEY (company_id, mailbox_id) REFERENCES sales.mailboxes (company_id, mailbox_id),
    FOREIGN KEY (company_id, message_id) REFERENCES sales.messages (company_id, message_id)
);
CREATE INDEX campaign_recipients_due_idx ON sales.campaign_recipients (company_id, mailbox_id, due_at, recipient_id)
    WHERE status = 'pending';
CREATE INDEX campaign_recipients_open_idx ON sales.campaign_recipients (company_id, campaign_id)
    WHERE status IN ('waiting', 'pending', 'sending');
CREATE INDEX campaign_recipients_sending_idx ON sales.campaign_recipients (job_id) WHERE status = 'sending';
CREATE INDEX campaign_recipients_prospect_idx ON sales.campaign_recipients (company_id, prospect_id);
CREATE INDEX campaign_recipients_address_idx ON sales.campaign_recipients (company_id, address_hash);
CREATE INDEX campaign_recipients_message_idx ON sales.campaign_recipients (company_id, message_id);
COMMENT ON TABLE sales.campaign_recipients IS 'Ledger of campaigns: one row for each mail to a recipient, unique by campaign, run, step and recipient; written by the extension alone';
COMMENT ON COLUMN sales.campaign_recipients.recipient_id IS 'Key of the mail to one recipient';
COMMENT ON COLUMN sales.campaign_recipients.company_id IS 'Tenant';
COMMENT ON COLUMN sales.campaign_recipients.campaign_id IS 'Campaign';
COMMENT ON COLUMN sales.campaign_recipients.run IS 'Run of a recurring campaign; 1 for others';
COMMENT ON COLUMN sales.campaign_recipients.step_number IS 'Step of the sequence';
COMMENT ON COLUMN sales.campaign_recipients.prospect_id IS 'Who gets it';
COMMENT ON COLUMN sales.campaign_recipients.mailbox_id IS 'Mailbox that it goes out from';
COMMENT ON COLUMN sales.campaign_recipients.status IS 'See the type; only pending rows go out';
COMMENT ON COLUMN sales.campaign_recipients.reason IS 'Why it did not go out, or what the mail server said';
COMMENT ON COLUMN sales.campaign_recipients.due_at IS 'When it may go out';
COMMENT ON COLUMN sales.campaign_recipients.timezone IS 'Recipient''s timezone: by country and region, else the company''s';
COMMENT ON COLUMN sales.campaign_recipients.address_hash IS 'Keyed hash of the normalised address, as in suppressions';
COMMENT ON COLUMN sales.campaign_recipients.domain IS 'Domain of the address, for the throttle';
COMMENT ON COLUMN sales.campaign_recipients.legal_basis IS 'Legal basis when it was sent';
COMMENT ON COLUMN sales.campaign_recipients.consent_id IS 'Row of consents when it was sent, if any';
COMMENT ON COLUMN sales.campaign_recipients.message_id IS 'Message as it was sent';
COMMENT ON COLUMN sales.campaign_recipients.message_ref IS 'Message-ID of the mail, without <>';
COMMENT ON COLUMN sales.campaign_recipients.interaction_id IS 'Interaction of the sending';
COMMENT ON COLUMN sales.campaign_recipients.interaction_date IS 'Its date, the other part of its key';
COMMENT ON COLUMN sales.campaign_recipients.attempts IS 'How often it was given to a mail server';
COMMENT ON COLUMN sales.campaign_recipients.job_id IS 'Job that has claimed it';
COMMENT ON COLUMN sales.campaign_recipients.created_at IS 'When the recipient was chosen';
COMMENT ON COLUMN sales.campaign_recipients.claimed_at IS 'When it was last claimed for sending';
COMMENT ON COLUMN sales.campaign_recipients.sent_at IS 'When the mail server took it';
COMMENT ON COLUMN sales.campaign_recipients.delivered_at IS 'When it was delivered, as far as told; an opening by a person, a click or an answer tells so too';
COMMENT ON COLUMN sales.campaign_recipients.opened_at IS 'First opening by a person';
COMMENT ON COLUMN sales.campaign_recipients.machine_opened_at IS 'First opening by a proxy or scanner; not counted';
COMMENT ON COLUMN sales.campaign_recipients.clicked_at IS 'First click by a person';
COMMENT ON COLUMN sales.campaign_recipients.replied_at IS 'First answer by a person';
COMMENT ON COLUMN sales.campaign_recipients.bounced_at IS 'When it came back';
COMMENT ON COLUMN sales.campaign_recipients.bounce_type IS 'hard: the address does not work; soft: this time it did not';
COMMENT ON COLUMN sales.campaign_recipients.complained_at IS 'When it was reported as spam';
COMMENT ON COLUMN sales.campaign_recipients.unsubscribed_at IS 'When its unsubscribe link was used';

CREATE TABLE sales.email_events (
    event_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id(),
    recipient_id uuid NOT NULL,
    prospect_id uuid NOT NULL,
    event text NOT NULL CHECK (event IN
        ('delivered', 'opened', 'clicked', 'replied', 'auto_replied', 'bounced', 'complained', 'unsubscribed')),
    at timestamptz NOT NULL,
    is_machine boolean NOT NULL DEFAULT false,
    detail jsonb NOT NULL DEFAULT '{}',
    event_key text NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (company_id, recipient_id, event, event_key),
    FOREIGN KEY (company_id, recipient_id)
        REFERENCES sales.campaign_recipients (company_id, recipient_id) ON DELETE CASCADE,
    FOREIGN KEY (company_id, prospect_id)
        REFERENCES sales.prospects (company_id, prospect_id) ON DELETE CASCADE
);
CREATE INDEX email_events_prospect_idx ON sales.email_events (company_id, prospect_id);
COMMENT ON TABLE sales.email_events IS 'What became of mails, as told by record_email_event() and read from mailboxes; written by the extension alone';
COMMENT ON COLUMN sales.email_events.event_id IS 'Key of the event';
COMMENT ON COLUMN sales.email_events.company_id IS 'Tenant';
COMMENT ON COLUMN sales.email_events.recipient_id IS 'Mail that it is about';
COMMENT ON COLUMN sales.email_events.prospect_id IS 'Who got it';
COMMENT ON COLUMN sales.email_events.event IS 'delivered, opened, clicked, replied, auto_replied, bounced, complained or unsubscribed';
COMMENT ON COLUMN sales.email_events.at IS 'When it happened';
COMMENT ON COLUMN sales.email_events.is_machine IS 'Was it a proxy or scanner rather than a person?';
COMMENT ON COLUMN sales.email_events.detail IS 'What the reporter told';
COMMENT ON COLUMN sales.email_events.event_key IS 'Tells one event from another: its own id, else time and detail; an event told twice is noted once';
COMMENT ON COLUMN sales.email_events.created_at IS 'When it was noted';

-- --- who may be written to ---

CREATE TABLE sales.suppressions (
    suppression_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    address varchar(254) CHECK (address IS NULL),
    address_hash bytea NOT NULL,
    reason sales.suppression_reason NOT NULL DEFAULT 'manual',
    source text,
    created_by uuid,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (company_id, address_hash),
    FOREIGN KEY (company_id, created_by) REFERENCES sales.users (company_id, user_id)
);
COMMENT ON TABLE sales.suppressions IS 'Addresses that get no more mail from the company, as keyed hashes: they outlive the erasure of a person';
COMMENT ON COLUMN sales.suppressions.suppression_id IS 'Key of the row';
COMMENT ON COLUMN sales.suppressions.company_id IS 'Tenant';
COMMENT ON COLUMN sales.suppressions.address IS 'To write only: an address, or @domain for all of a domain; stored as address_hash alone and always null when read';
COMMENT ON COLUMN sales.suppressions.address_hash IS 'Keyed hash of the normalised address';
COMMENT ON COLUMN sales.suppressions.reason IS 'unsubscribed, hard_bounce, complaint, manual or erased';
COMMENT ON COLUMN sales.suppressions.source IS 'Where it comes from';
COMMENT ON COLUMN sales.suppressions.created_by IS 'User who added it; null: the system';
COMMENT ON COLUMN sales.suppressions.created_at IS 'Since when';

CREATE TABLE sales.consents (
    consent_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id(),
    prospect_id uuid NOT NULL,
    basis sales.legal_basis NOT NULL DEFAULT 'consent',
    purpose text NOT NULL DEFAULT 'marketing e-mail',
    source text NOT NULL CHECK (source <> ''),
    given_at timestamptz NOT NULL DEFAULT now(),
    withdrawn_at timestamptz,
    recorded_by uuid DEFAULT sales.current_user_id(),
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (company_id, consent_id),
    FOREIGN KEY (company_id, prospect_id)
        REFERENCES sales.prospects (company_id, prospect_id) ON DELETE CASCADE,
    FOREIGN KEY (company_id, recorded_by) REFERENCES sales.users (company_id, user_id)
);
CREATE INDEX consents_prospect_idx ON sales.consents (company_id, prospect_id);
COMMENT ON TABLE sales.consents IS 'Why prospects may be written to: consents and other legal bases, with their sources';
COMMENT ON COLUMN sales.consents.consent_id IS 'Key of the row';
COMMENT ON COLUMN sales.consents.company_id IS 'Tenant';
COMMENT ON COLUMN sales.consents.prospect_id IS 'Who';
COMMENT ON COLUMN sales.consents.basis IS 'consent, legitimate_interest or contract';
COMMENT ON COLUMN sales.consents.purpose IS 'What it is for';
COMMENT ON COLUMN sales.consents.source IS 'Where and how it was given: a form, a call, a contract';
COMMENT ON COLUMN sales.consents.given_at IS 'When it was given';
COMMENT ON COLUMN sales.consents.withdrawn_at IS 'When it was withdrawn, also by unsubscribe()';
COMMENT ON COLUMN sales.consents.recorded_by IS 'User who recorded it';
COMMENT ON COLUMN sales.consents.created_at IS 'When it was recorded';

CALL sales_internal.protect_table('mailboxes', 'mailbox_id');
CALL sales_internal.protect_table('email_campaigns', 'campaign_id');
CALL sales_internal.protect_table('campaign_steps', 'step_id');
-- The ledger and its events are a record themselves: as the audit log, they are
-- written by the extension alone and not audited again.
CALL sales_internal.protect_table('campaign_recipients', 'recipient_id', commands => '{select}', audited => false);
CALL sales_internal.protect_table('email_events', 'event_id', commands => '{select}', audited => false);
CALL sales_internal.protect_table('suppressions', 'suppression_id', commands => '{select,insert,delete}');
CALL sales_internal.protect_table('consents', 'consent_id');

-- What only launch_campaign() and the sender write.
REVOKE INSERT, UPDATE ON sales.email_campaigns FROM sales_app;
GRANT INSERT (campaign_id, company_id, created_by, name, template_id, target_filter, schedule_type, scheduled_at, status, total_recipients,
              emails_sent, emails_delivered, emails_opened, emails_clicked, emails_replied, created_at, schedule_cron, mailbox_id, approval,
              legal_basis, window_start, window_end, window_days, once_per_recipient) ON sales.email_campaigns TO sales_app;
GRANT UPDATE (created_by, name, template_id, target_filter, schedule_type, scheduled_at, schedule_cron, mailbox_id, approval,
              legal_basis, window_start, window_end, window_days, once_per_recipient) ON sales.email_campaigns TO sales_app;
REVOKE INSERT, UPDATE ON sales.campaign_steps FROM sales_app;
GRANT INSERT (step_id, company_id, campaign_id, step_number, template_id, wait), UPDATE (step_number, template_id, wait)
    ON sales.campaign_steps TO sales_app;
REVOKE INSERT, UPDATE ON sales.mailboxes FROM sales_app;
GRANT INSERT (mailbox_id, company_id, email, display_name, reply_to, smtp_url, smtp_user, smtp_key_id, smtp_tls, provider, provider_key_id,
              imap_url, imap_user, imap_key_id, imap_tls, daily_limit, warmup_started, warmup_first, warmup_growth, parallel, dkim_selector, is_active),
      UPDATE (email, display_name, reply_to, smtp_url, smtp_user, smtp_key_id, smtp_tls, provider, provider_key_id,
              imap_url, imap_user, imap_key_id, imap_tls, daily_limit, warmup_started, warmup_first, warmup_growth, parallel, dkim_selector, is_active)
    ON sales.mailboxes TO sales_app;
REVOKE INSERT ON sales.suppressions FROM sales_app;
GRANT INSERT (suppression_id, company_id, address, reason, source) ON sales.suppressions TO sales_app;

-- --- machinery ---

-- The key is data, not derived from the master key: hashes and the unsubscribe
-- links of mails sent long ago must hold after a restore under another one.
CREATE TABLE sales_internal.mail_keys (
    company_id uuid PRIMARY KEY REFERENCES sales.companies ON DELETE CASCADE,
    key bytea NOT NULL CHECK (octet_length(key) = 32)
);
COMMENT ON TABLE sales_internal.mail_keys IS 'Key of a company''s address hashes and unsubscribe links; dumped with them';
SELECT sales_internal.dump_table('sales_internal.mail_keys');

CREATE TABLE sales_internal.mailbox_days (
    company_id uuid NOT NULL,
    mailbox_id uuid NOT NULL,
    day date NOT NULL,
    taken integer NOT NULL CHECK (taken >= 0),
    PRIMARY KEY (company_id, mailbox_id, day),
    FOREIGN KEY (company_id, mailbox_id) REFERENCES sales.mailboxes (company_id, mailbox_id) ON DELETE CASCADE
);
COMMENT ON TABLE sales_internal.mailbox_days IS 'Mails that a mailbox has given away on a day of the company''s timezone; the daily limit is taken from it before a mail goes out';
SELECT sales_internal.dump_table('sales_internal.mailbox_days');

CREATE TABLE sales_internal.domain_slots (
    company_id uuid NOT NULL REFERENCES sales.companies ON DELETE CASCADE,
    domain text NOT NULL,
    next_at timestamptz NOT NULL,
    PRIMARY KEY (company_id, domain)
);
COMMENT ON TABLE sales_internal.domain_slots IS 'When the next mail of a company to a domain may go out';
SELECT sales_internal.dump_table('sales_internal.domain_slots');

INSERT INTO sales_internal.setting_defaults VALUES
    ('campaigns.unsubscribe_url', NULL, 'Page that unsubscribes, such as https://app.company.com/unsubscribe; the token is added as ?token='),
    ('campaigns.domain_per_minute', '30', 'Most campaign mails a minute to one domain; 0: no throttle'),
    ('campaigns.soft_bounce_limit', '3', 'So many soft bounces of an address without a delivery between suppress it; 0: never'),
    ('campaigns.give_up_hours', '48', 'A mail that a server puts off is tried for so long'),
    ('campaigns.imap_minutes', '5', 'How often mailboxes are read')
ON CONFLICT (key) DO NOTHING;

-- A service that sends by HTTP instead of SMTP.  Its webhook tells events with
-- custom_args.recipient_id, which record_email_event() takes as the reference.
INSERT INTO sales.providers (name, purpose, base_url, request, answer, retry_statuses, pending_statuses, billed_statuses, rank) VALUES
('sendgrid', 'mail', 'https://api.sendgrid.com/v3',
 '{"method": "POST", "url": "{{base_url}}/mail/send", "headers": {"Content-Type": "application/json"},
   "auth": {"header": "Authorization", "prefix": "Bearer "},
   "json": {"personalizations": [{"to": [{"email": "{{to}}"}], "custom_args": {"recipient_id": "{{recipient_id}}"}}],
            "from": {"email": "{{from}}", "name": "{{from_name}}"}, "reply_to": {"email": "{{reply_to}}"}, "subject": "{{subject}}",
            "content": [{"type": "text/plain", "value": "{{text}}"}, {"type": "text/html", "value": "{{html}}"}],
            "headers": {"Message-ID": "<{{message_id}}>", "List-Unsubscribe": "{{list_unsubscribe}}",
                        "List-Unsubscribe-Post": "List-Unsubscribe=One-Click"}}}',
 '{"error_message": "$.errors[0].message"}', '{429,500,502,503,504}', '{}', '{200,202}', 10);
