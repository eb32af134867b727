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

-- Locks of the extension's own, which no other SQL can take.
CREATE FUNCTION sales_internal.take_lock(key bigint, wait boolean DEFAULT true) RETURNS boolean
    AS 'MODULE_PATHNAME', 'sales_take_lock'
    LANGUAGE C VOLATILE STRICT PARALLEL UNSAFE;
COMMENT ON FUNCTION sales_internal.take_lock(bigint, boolean) IS
    'Takes a lock that is the extension''s own, until the end of the transaction; false if another has it and wait is false';
REVOKE ALL ON FUNCTION sales_internal.take_lock(bigint, boolean) FROM PUBLIC;

-- A company's revocations take no more than its share of the places: revoke() asks whose they are.
DROP FUNCTION sales_internal.revoke(uuid);

-- A key goes to the host that it was stored for.
ALTER TABLE sales.api_keys ADD COLUMN IF NOT EXISTS key_hosts text[];
COMMENT ON COLUMN sales.api_keys.key_hosts IS
    'Of a key for a mail server or an import''s source: the only hosts that it is sent to, those that it was first used with; null: none yet, or a provider''s key';
GRANT SELECT (key_hosts) ON sales.api_keys TO sales_app;

-- What the nodes of a cluster share is no master key any more.
DROP FUNCTION sales_internal.take_key(text);

-- Queue: a claim looks at jobs that are due alone.
ALTER TABLE sales_internal.jobs ADD COLUMN IF NOT EXISTS due boolean NOT NULL DEFAULT false;
COMMENT ON COLUMN sales_internal.jobs.due IS
    'It was queued when its time had come, or its time has come since: claim_jobs() looks at it; false while it runs';
DROP INDEX sales_internal.jobs_queued_idx;
DROP INDEX sales_internal.jobs_run_at_idx;
CREATE INDEX jobs_queued_idx ON sales_internal.jobs (company_id, priority DESC, run_at, job_id)
    WHERE state = 'queued' AND due;
CREATE INDEX jobs_run_at_idx ON sales_internal.jobs (run_at) WHERE state = 'queued' AND NOT due;
-- A job without a key needs no entry in the index of keys.
DROP INDEX sales_internal.jobs_unique_key;
CREATE UNIQUE INDEX jobs_unique_key ON sales_internal.jobs (company_id, kind, unique_key)
    WHERE state IN ('queued', 'running') AND unique_key IS NOT NULL;
-- What a claim tells has changed.
DROP FUNCTION sales_internal.claim_jobs(integer, integer, boolean);
-- settle_jobs() ends many at a time.
DROP FUNCTION sales_internal.settle_job(uuid, bigint, jsonb);

-- Undoes what enrichments and addresses became too: a column of another name.
DROP FUNCTION sales_internal.undone_changes(uuid);

-- seal_audit() looks back for a long transaction only when that has ended.
ALTER TABLE sales_internal.audit_sealing ADD COLUMN IF NOT EXISTS open_xids xid8[] NOT NULL DEFAULT '{}',
    ADD COLUMN IF NOT EXISTS open_since timestamptz[] NOT NULL DEFAULT '{}';
COMMENT ON COLUMN sales_internal.audit_sealing.horizon IS 'Each audit row whose id was made before is in a link, but those of transactions in open_xids';
COMMENT ON COLUMN sales_internal.audit_sealing.cut_xid IS 'Transactions after this one make ids later than cut_at';
COMMENT ON COLUMN sales_internal.audit_sealing.cut_at IS 'Where horizon goes next; horizon itself: nothing is waited for';
COMMENT ON COLUMN sales_internal.audit_sealing.open_xids IS 'Transactions that were open at two passes: the first that finds one ended looks back to its time in open_since';
COMMENT ON COLUMN sales_internal.audit_sealing.open_since IS 'What the ids of each transaction in open_xids are later than';

-- login() asks who has come from an address; retention removes sessions that are long over.
CREATE INDEX sessions_address_idx ON sales_internal.sessions (ip_address);

-- Who sent a file for an import and who took it away is on record.
SELECT sales_internal.audit_table('import_uploads', 'upload_id', '{name,content}');

-- What scores have seen is told by the audit chain: a company without news costs a pass nothing.
DROP FUNCTION sales_internal.changed_prospects(uuid, timestamptz);
ALTER TABLE sales_internal.scoring_state ADD COLUMN IF NOT EXISTS seal_no bigint, ADD COLUMN IF NOT EXISTS failed_at timestamptz;
COMMENT ON COLUMN sales_internal.scoring_state.seal_no IS 'Last link of the audit chain whose rows the scores have seen; null: all are to be made';
COMMENT ON COLUMN sales_internal.scoring_state.failed_at IS 'When scoring failed, if it did the last time';

-- standings() gives what it gave, and more.
DROP FUNCTION sales_internal.open_chances(uuid, uuid);

-- Texts are sieved before the expressions decide.
ALTER TYPE sales_internal.person_pattern ADD ATTRIBUTE needles text[], ADD ATTRIBUTE numbers text[], ADD ATTRIBUTE firsts text[], ADD ATTRIBUTE lasts text[];
-- Export and erasure note themselves.
DROP FUNCTION sales_internal.note_privacy(uuid, uuid, sales.audit_action, text, jsonb);
