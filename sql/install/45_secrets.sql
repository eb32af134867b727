-- Keys of outside services.

CREATE TABLE sales.api_keys (
    api_key_id uuid PRIMARY KEY DEFAULT sales.uuidv7(),
    company_id uuid NOT NULL DEFAULT sales.current_company_id()
        REFERENCES sales.companies ON DELETE CASCADE,
    service_name varchar(50) NOT NULL,
    key_value text NOT NULL,
    usage_limit_monthly integer CHECK (usage_limit_monthly >= 0),
    usage_current_month integer NOT NULL DEFAULT 0 CHECK (usage_current_month >= 0),
    cost_per_request decimal(6,4) NOT NULL DEFAULT 0 CHECK (cost_per_request >= 0),
    is_active boolean NOT NULL DEFAULT true,
    expires_at timestamptz,
    created_at timestamptz NOT NULL DEFAULT now(),
    key_last4 text,
    usage_month date,
    key_hosts text[],
    UNIQUE (company_id, api_key_id),
    CONSTRAINT chk_usage CHECK (usage_current_month <= usage_limit_monthly)
);
CREATE INDEX api_keys_service_idx ON sales.api_keys (company_id, service_name);
COMMENT ON TABLE sales.api_keys IS 'Keys of a company for outside services, with their monthly budgets';
COMMENT ON COLUMN sales.api_keys.api_key_id IS 'Key of the row';
COMMENT ON COLUMN sales.api_keys.company_id IS 'Tenant';
COMMENT ON COLUMN sales.api_keys.service_name IS 'Provider, such as openai or hunter';
COMMENT ON COLUMN sales.api_keys.key_value IS 'The secret; plain text written here is stored encrypted, and no application can read it';
COMMENT ON COLUMN sales.api_keys.usage_limit_monthly IS 'Most calls in a month; null: unlimited';
COMMENT ON COLUMN sales.api_keys.usage_current_month IS 'Calls of this month, reserved ones included';
COMMENT ON COLUMN sales.api_keys.cost_per_request IS 'Cost of one call in the setting billing.currency';
COMMENT ON COLUMN sales.api_keys.is_active IS 'Is the key used?';
COMMENT ON COLUMN sales.api_keys.expires_at IS 'When the key ends';
COMMENT ON COLUMN sales.api_keys.created_at IS 'When the key was stored';
COMMENT ON COLUMN sales.api_keys.key_last4 IS 'Last four characters of the secret, to tell keys apart; null for a short one';
COMMENT ON COLUMN sales.api_keys.usage_month IS 'Month that usage_current_month counts, its first day in the company''s timezone';
COMMENT ON COLUMN sales.api_keys.key_hosts IS
    'Of a key for a mail server or an import''s source: the only hosts that it is sent to, those that it was first used with; null: none yet, or a provider''s key';

CREATE FUNCTION sales_internal.seal_column() RETURNS trigger
    AS 'MODULE_PATHNAME', 'sales_seal_column'
    LANGUAGE C;
COMMENT ON FUNCTION sales_internal.seal_column() IS
    'Trigger: encrypts a secret column as it is written; arguments: key column, secret column, column of its last four characters';
REVOKE ALL ON FUNCTION sales_internal.seal_column() FROM PUBLIC;
CREATE TRIGGER seal_column BEFORE INSERT OR UPDATE ON sales.api_keys FOR EACH ROW
    EXECUTE FUNCTION sales_internal.seal_column('api_key_id', 'key_value', 'key_last4');

CALL sales_internal.protect_table('api_keys', 'api_key_id', hidden => '{key_value}');

CREATE FUNCTION sales_internal.reseal(sealed text, owner text) RETURNS text
    AS 'MODULE_PATHNAME', 'sales_reseal'
    LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION sales_internal.reseal(text, text) IS
    'The same secret under the current master key; as it is where it is that already, null where no key of the key file opens it';
REVOKE ALL ON FUNCTION sales_internal.reseal(text, text) FROM PUBLIC;

CREATE FUNCTION sales_internal.key_names() RETURNS text[]
    AS 'MODULE_PATHNAME', 'sales_key_names'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.key_names() IS
    'Names of the master keys in the key file, which tell nothing of them; the current one first';
REVOKE ALL ON FUNCTION sales_internal.key_names() FROM PUBLIC;

-- Which master key this database was written under: after a restore tells
-- whether the key file is the right one.
CREATE TABLE sales_internal.key_check (
    is_only boolean PRIMARY KEY DEFAULT true CHECK (is_only),
    key_name text NOT NULL,
    sealed text NOT NULL,
    noted_at timestamptz NOT NULL DEFAULT now()
);
COMMENT ON TABLE sales_internal.key_check IS 'The key-check value: the name of the master key and a text sealed under it; one row';
COMMENT ON COLUMN sales_internal.key_check.is_only IS 'There is one row';
COMMENT ON COLUMN sales_internal.key_check.key_name IS 'Name of the master key, which tells nothing of it';
COMMENT ON COLUMN sales_internal.key_check.sealed IS 'A known text, sealed with owner key_check';
COMMENT ON COLUMN sales_internal.key_check.noted_at IS 'When the first company was made, or the key last changed';
SELECT sales_internal.dump_table('sales_internal.key_check');
