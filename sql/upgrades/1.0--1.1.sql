-- What version 1.1 changes in tables, types and seeds of version 1.0; the functions follow.

-- Legal holds.
ALTER TABLE sales.prospects ADD COLUMN IF NOT EXISTS legal_hold varchar(200);
COMMENT ON COLUMN sales.prospects.legal_hold IS 'Why erasure and retention must wait, such as a lawsuit (art. 17.3); null: nothing stands in the way';

-- What a run wrote, beside what was there: undo_import() leaves what was changed since.
ALTER TABLE sales_internal.import_changes ADD COLUMN IF NOT EXISTS after jsonb;
COMMENT ON COLUMN sales_internal.import_changes.after IS 'What the run wrote in place of them; null of runs before version 1.1';

-- A draft may still lack what its kind of schedule needs; launch_campaign() asks for it.
ALTER TABLE sales.email_campaigns DROP CONSTRAINT email_campaigns_check1, DROP CONSTRAINT email_campaigns_check2,
    ADD CONSTRAINT chk_schedule
        CHECK (status = 'draft' OR CASE schedule_type WHEN 'recurring' THEN schedule_cron IS NOT NULL
                                                      WHEN 'scheduled' THEN scheduled_at IS NOT NULL ELSE true END);
