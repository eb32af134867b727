-- Scheduled imports.

CREATE TYPE sales.import_source_type AS ENUM ('csv', 'api', 'ftp', 'email_attachment');
COMMENT ON TYPE sales.import_source_type IS 'Where an import reads from';
CREATE TYPE sales.import_job_status AS ENUM ('active', 'paused', 'failed', 'disabled');
COMMENT ON TYPE sales.import_job_status IS 'State of a scheduled import';

CREATE TABLE sales.import_jobs (
    import_job_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    user_id uuid,
    name varchar(100) NOT NULL CHECK (name <> ''),
    source_type sales.import_source_type NOT NULL,
    source_config jsonb NOT NULL DEFAULT '{}',
    schedule_cron varchar(50),
    field_mapping jsonb,
    last_run timestamptz,
    next_run timestamptz,
    status sales.import_job_status NOT NULL DEFAULT 'active',
    records_processed integer NOT NULL DEFAULT 0,
    records_succeeded integer NOT NULL DEFAULT 0,
    records_failed integer NOT NULL DEFAULT 0,
    error_log text,
    created_at timestamptz NOT NULL DEFAULT now(),
    UNIQUE (company_id, import_job_id),
    FOREIGN KEY (company_id, user_id) REFERENCES sales.users (company_id, user_id)
);
COMMENT ON TABLE sales.import_jobs IS 'Imports of prospects, run by hand or on a schedule';
COMMENT ON COLUMN sales.import_jobs.import_job_id IS 'Key of the import';
COMMENT ON COLUMN sales.import_jobs.company_id IS 'Tenant';
COMMENT ON COLUMN sales.import_jobs.user_id IS 'User who made it';
COMMENT ON COLUMN sales.import_jobs.name IS 'Name';
COMMENT ON COLUMN sales.import_jobs.source_type IS 'csv, api, ftp or email_attachment';
COMMENT ON COLUMN sales.import_jobs.source_config IS 'How to connect; credentials in it are stored encrypted';
COMMENT ON COLUMN sales.import_jobs.schedule_cron IS 'Five-field cron expression in the company''s timezone; null: by hand';
COMMENT ON COLUMN sales.import_jobs.field_mapping IS 'Source header to column, constants, transforms; null: automatic';
COMMENT ON COLUMN sales.import_jobs.last_run IS 'When it last ran';
COMMENT ON COLUMN sales.import_jobs.next_run IS 'When it runs next';
COMMENT ON COLUMN sales.import_jobs.status IS 'active, paused, failed or disabled';
COMMENT ON COLUMN sales.import_jobs.records_processed IS 'Rows read by the last run';
COMMENT ON COLUMN sales.import_jobs.records_succeeded IS 'Rows inserted, updated, unchanged or duplicate';
COMMENT ON COLUMN sales.import_jobs.records_failed IS 'Rows rejected';
COMMENT ON COLUMN sales.import_jobs.error_log IS 'What went wrong in the last run';
COMMENT ON COLUMN sales.import_jobs.created_at IS 'When the import was made';

CALL sales_internal.protect_table('import_jobs', 'import_job_id');

