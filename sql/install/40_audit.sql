-- Audit log: append-only, partitioned by month.

CREATE TYPE sales.audit_action AS ENUM ('create', 'update', 'delete', 'export', 'login', 'logout');
COMMENT ON TYPE sales.audit_action IS 'What was done';

CREATE TABLE sales.audit_logs (
    audit_id uuid NOT NULL DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    user_id uuid,
    table_name varchar(50),
    record_id uuid,
    action sales.audit_action NOT NULL,
    old_values jsonb,
    new_values jsonb,
    ip_address varchar(45),
    user_agent text,
    gdpr_basis varchar(50),
    created_at timestamptz NOT NULL DEFAULT now(),
    digest bytea,
    values_digest bytea,
    PRIMARY KEY (audit_id, created_at),
    -- Who has acted stays: deactivate users rather than delete them.
    FOREIGN KEY (company_id, user_id) REFERENCES sales.users (company_id, user_id)
) PARTITION BY RANGE (created_at);
CREATE TABLE sales.audit_logs_default PARTITION OF sales.audit_logs DEFAULT;
CREATE INDEX idx_audit_logs_company_created ON sales.audit_logs (company_id, created_at DESC);
COMMENT ON TABLE sales.audit_logs IS 'Every change, login, logout and export; append-only; partitioned by month of created_at';
COMMENT ON TABLE sales.audit_logs_default IS 'Audit rows of no other partition; maintain() moves them';
COMMENT ON COLUMN sales.audit_logs.audit_id IS 'Key of the audit row, with created_at';
COMMENT ON COLUMN sales.audit_logs.company_id IS 'Tenant';
COMMENT ON COLUMN sales.audit_logs.user_id IS 'User who did it; null: the system';
COMMENT ON COLUMN sales.audit_logs.table_name IS 'Table that was changed';
COMMENT ON COLUMN sales.audit_logs.record_id IS 'Key of the row that was changed';
COMMENT ON COLUMN sales.audit_logs.action IS 'create, update, delete, export, login or logout';
COMMENT ON COLUMN sales.audit_logs.old_values IS 'Values before; of an update, only the changed columns; never a secret';
COMMENT ON COLUMN sales.audit_logs.new_values IS 'Values after; of an update, only the changed columns; never a secret';
COMMENT ON COLUMN sales.audit_logs.ip_address IS 'Address of the client';
COMMENT ON COLUMN sales.audit_logs.user_agent IS 'Program of the client';
COMMENT ON COLUMN sales.audit_logs.gdpr_basis IS 'Legal basis under the GDPR';
COMMENT ON COLUMN sales.audit_logs.created_at IS 'When it was done';
COMMENT ON COLUMN sales.audit_logs.digest IS 'Keyed digest of the row: 4 bytes that name the key, 28 of HMAC-SHA256';
COMMENT ON COLUMN sales.audit_logs.values_digest IS 'Keyed digest of the values, where they were erased; else null';

CALL sales_internal.protect_table('audit_logs', 'audit_id', commands => '{select}', audited => false);

CREATE FUNCTION sales_internal.audit_append_only() RETURNS trigger
    AS 'MODULE_PATHNAME', 'sales_audit_append_only'
    LANGUAGE C;
COMMENT ON FUNCTION sales_internal.audit_append_only() IS
    'Trigger: refuses to change or remove audit rows, whoever asks';
REVOKE ALL ON FUNCTION sales_internal.audit_append_only() FROM PUBLIC;

CREATE FUNCTION sales_internal.audit_open_door() RETURNS void
    AS 'MODULE_PATHNAME', 'sales_audit_open_door'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.audit_open_door() IS
    'Until audit_close_door() or the transaction''s end audit rows can be changed and nothing is audited; for erasure, partitions and removal of a company';
REVOKE ALL ON FUNCTION sales_internal.audit_open_door() FROM PUBLIC;

CREATE FUNCTION sales_internal.audit_close_door() RETURNS void
    AS 'MODULE_PATHNAME', 'sales_audit_close_door'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.audit_close_door() IS 'Ends audit_open_door()';
REVOKE ALL ON FUNCTION sales_internal.audit_close_door() FROM PUBLIC;

CREATE TRIGGER append_only BEFORE INSERT OR UPDATE OR DELETE ON sales.audit_logs
    FOR EACH ROW EXECUTE FUNCTION sales_internal.audit_append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON sales.audit_logs
    FOR EACH STATEMENT EXECUTE FUNCTION sales_internal.audit_append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON sales.audit_logs_default
    FOR EACH STATEMENT EXECUTE FUNCTION sales_internal.audit_append_only();


CREATE FUNCTION sales_internal.audit_note(
    company_id uuid, user_id uuid, action text, table_name text, record_id uuid DEFAULT NULL, new_values jsonb DEFAULT NULL,
    ip_address text DEFAULT NULL, user_agent text DEFAULT NULL, gdpr_basis text DEFAULT NULL) RETURNS void
    AS 'MODULE_PATHNAME', 'sales_audit_note'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.audit_note(uuid, uuid, text, text, uuid, jsonb, text, text, text) IS
    'Writes an audit row of what is no change of a row: login, logout, export, erasure';
REVOKE ALL ON FUNCTION sales_internal.audit_note(uuid, uuid, text, text, uuid, jsonb, text, text, text) FROM PUBLIC;

CREATE FUNCTION sales_internal.audit_digest(
    digest bytea, values_digest bytea, audit_id uuid, company_id uuid, user_id uuid, table_name text, record_id uuid, action text,
    old_values jsonb, new_values jsonb, ip_address text, user_agent text, gdpr_basis text, created_at timestamptz) RETURNS bytea
    AS 'MODULE_PATHNAME', 'sales_audit_digest'
    LANGUAGE C STABLE;
COMMENT ON FUNCTION sales_internal.audit_digest(bytea, bytea, uuid, uuid, uuid, text, uuid, text, jsonb, jsonb, text, text, text, timestamptz) IS
    'What the digest of such a row should be, under the key that its digest names; null where that key is not here';
REVOKE ALL ON FUNCTION sales_internal.audit_digest(bytea, bytea, uuid, uuid, uuid, text, uuid, text, jsonb, jsonb, text, text, text, timestamptz) FROM PUBLIC;

CREATE FUNCTION sales_internal.audit_values_digest(digest bytea, audit_id uuid, old_values jsonb, new_values jsonb) RETURNS bytea
    AS 'MODULE_PATHNAME', 'sales_audit_values_digest'
    LANGUAGE C STABLE;
COMMENT ON FUNCTION sales_internal.audit_values_digest(bytea, uuid, jsonb, jsonb) IS
    'What stands for the values of a row when they are erased; null where the key of its digest is not here';
REVOKE ALL ON FUNCTION sales_internal.audit_values_digest(bytea, uuid, jsonb, jsonb) FROM PUBLIC;

CREATE FUNCTION sales_internal.audit_mac(data bytea, "like" bytea) RETURNS bytea
    AS 'MODULE_PATHNAME', 'sales_audit_mac'
    LANGUAGE C STABLE;
COMMENT ON FUNCTION sales_internal.audit_mac(bytea, bytea) IS
    'A link of the chain, under the key that the second argument names, else the current one; null where that key is not here';
REVOKE ALL ON FUNCTION sales_internal.audit_mac(bytea, bytea) FROM PUBLIC;

CREATE FUNCTION sales_internal.audit_keep_key() RETURNS void
    AS 'MODULE_PATHNAME', 'sales_audit_keep_key'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.audit_keep_key() IS
    'Keeps the current audit key, sealed, so that its rows can be verified after a change of the master key';
REVOKE ALL ON FUNCTION sales_internal.audit_keep_key() FROM PUBLIC;

CREATE TABLE sales_internal.audit_keys (
    key_id bytea PRIMARY KEY,
    sealed text NOT NULL,
    kept_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE sales_internal.audit_keys IS
    'Former audit keys, sealed under the master key with owner audit_keys|HEX OF key_id; a change of the master key seals them again';
SELECT sales_internal.dump_table('sales_internal.audit_keys');

-- The chain: a link covers the rows of one company and month that one pass of
-- the worker found new, and the link before.
CREATE TABLE sales_internal.audit_seals (
    company_id uuid NOT NULL REFERENCES sales.companies ON DELETE CASCADE,
    seal_no bigint NOT NULL,
    month date NOT NULL,
    ids uuid[] NOT NULL,
    last_id uuid NOT NULL,
    sealed_at timestamptz NOT NULL,
    chain bytea NOT NULL,
    PRIMARY KEY (company_id, seal_no)
);
CREATE INDEX audit_seals_last_id_idx ON sales_internal.audit_seals (last_id);
COMMENT ON TABLE sales_internal.audit_seals IS 'Hash chain over audit rows, per company; each link is of one month';
COMMENT ON COLUMN sales_internal.audit_seals.ids IS 'Rows that the link covers, in its order';
COMMENT ON COLUMN sales_internal.audit_seals.chain IS 'Keyed digest of the link before, this link''s place and month, and its rows'' ids and digests';
SELECT sales_internal.dump_table('sales_internal.audit_seals');

-- Not in a dump: transaction ids mean nothing elsewhere, and without a row
-- everything is looked at once.
CREATE TABLE sales_internal.audit_sealing (
    only_one boolean PRIMARY KEY DEFAULT true CHECK (only_one),
    horizon timestamptz NOT NULL,
    cut_xid xid8 NOT NULL,
    cut_at timestamptz NOT NULL,
    open_xids xid8[] NOT NULL DEFAULT '{}',
    open_since timestamptz[] NOT NULL DEFAULT '{}'
);
COMMENT ON TABLE sales_internal.audit_sealing IS 'How far back seal_audit() must look; says how it knows';
COMMENT ON COLUMN sales_internal.audit_sealing.horizon IS 'Each audit row whose id was made before is in a link, but those of transactions in open_xids';
COMMENT ON COLUMN sales_internal.audit_sealing.cut_xid IS 'Transactions after this one make ids later than cut_at';
COMMENT ON COLUMN sales_internal.audit_sealing.cut_at IS 'Where horizon goes next; horizon itself: nothing is waited for';
COMMENT ON COLUMN sales_internal.audit_sealing.open_xids IS 'Transactions that were open at two passes: the first that finds one ended looks back to its time in open_since';
COMMENT ON COLUMN sales_internal.audit_sealing.open_since IS 'What the ids of each transaction in open_xids are later than';

CREATE TABLE sales_internal.audit_expiries (
    company_id uuid PRIMARY KEY REFERENCES sales.companies ON DELETE CASCADE,
    before timestamptz NOT NULL,
    mac bytea NOT NULL
);
COMMENT ON TABLE sales_internal.audit_expiries IS 'Until when a company''s audit rows are gone by retention; their links in audit_seals are kept';
SELECT sales_internal.dump_table('sales_internal.audit_expiries');
