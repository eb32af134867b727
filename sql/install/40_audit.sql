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

CREATE TRIGGER append_only BEFORE UPDATE OR DELETE ON sales.audit_logs
    FOR EACH ROW EXECUTE FUNCTION sales_internal.audit_append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON sales.audit_logs
    FOR EACH STATEMENT EXECUTE FUNCTION sales_internal.audit_append_only();
CREATE TRIGGER append_only_truncate BEFORE TRUNCATE ON sales.audit_logs_default
    FOR EACH STATEMENT EXECUTE FUNCTION sales_internal.audit_append_only();

