-- E-mail campaigns.

CREATE TYPE sales.campaign_schedule AS ENUM ('immediate', 'scheduled', 'recurring');
COMMENT ON TYPE sales.campaign_schedule IS 'When a campaign goes out';
CREATE TYPE sales.campaign_status AS ENUM ('draft', 'scheduled', 'running', 'completed', 'paused');
COMMENT ON TYPE sales.campaign_status IS 'State of a campaign';

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
    CHECK (schedule_type <> 'recurring' OR schedule_cron IS NOT NULL),
    CHECK (schedule_type <> 'scheduled' OR scheduled_at IS NOT NULL),
    UNIQUE (company_id, campaign_id),
    FOREIGN KEY (company_id, created_by) REFERENCES sales.users (company_id, user_id),
    FOREIGN KEY (company_id, template_id) REFERENCES sales.templates (company_id, template_id)
);
COMMENT ON TABLE sales.email_campaigns IS 'E-mail campaigns and their counts';
COMMENT ON COLUMN sales.email_campaigns.campaign_id IS 'Key of the campaign';
COMMENT ON COLUMN sales.email_campaigns.company_id IS 'Tenant';
COMMENT ON COLUMN sales.email_campaigns.created_by IS 'User who made it';
COMMENT ON COLUMN sales.email_campaigns.name IS 'Name';
COMMENT ON COLUMN sales.email_campaigns.template_id IS 'Template of the mail';
COMMENT ON COLUMN sales.email_campaigns.target_filter IS 'Which prospects it is for';
COMMENT ON COLUMN sales.email_campaigns.schedule_type IS 'immediate, scheduled or recurring';
COMMENT ON COLUMN sales.email_campaigns.scheduled_at IS 'When a scheduled campaign starts';
COMMENT ON COLUMN sales.email_campaigns.status IS 'draft, scheduled, running, completed or paused';
COMMENT ON COLUMN sales.email_campaigns.total_recipients IS 'Recipients chosen at launch';
COMMENT ON COLUMN sales.email_campaigns.emails_sent IS 'Mails given to the mail server';
COMMENT ON COLUMN sales.email_campaigns.emails_delivered IS 'Mails delivered';
COMMENT ON COLUMN sales.email_campaigns.emails_opened IS 'Mails opened by people';
COMMENT ON COLUMN sales.email_campaigns.emails_clicked IS 'Mails with a link followed';
COMMENT ON COLUMN sales.email_campaigns.emails_replied IS 'Mails answered';
COMMENT ON COLUMN sales.email_campaigns.created_at IS 'When the campaign was made';
COMMENT ON COLUMN sales.email_campaigns.schedule_cron IS 'Cron expression of a recurring campaign, in the company''s timezone';

CALL sales_internal.protect_table('email_campaigns', 'campaign_id');

