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

-- Who has left its tenant in the midst of a statement is asked all the same, and a company's
-- revocations take no more than its share of the places.
CREATE FUNCTION sales_internal.acting_company() RETURNS uuid
    AS 'MODULE_PATHNAME', 'sales_acting_company'
    LANGUAGE C VOLATILE PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.acting_company() IS
    'Company of whoever acts: of the context, or of one that SQL has left in this transaction; null: nobody''s, or a superuser''s';
REVOKE ALL ON FUNCTION sales_internal.acting_company() FROM PUBLIC;
DROP FUNCTION sales_internal.revoke(uuid);
CREATE FUNCTION sales_internal.revoke(id uuid, company uuid) RETURNS void
    AS 'MODULE_PATHNAME', 'sales_revoke'
    LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION sales_internal.revoke(uuid, uuid) IS
    'At commit makes every context of this company, or this user or session of it, worthless in all sessions';
REVOKE ALL ON FUNCTION sales_internal.revoke(uuid, uuid) FROM PUBLIC;
CREATE OR REPLACE FUNCTION sales_internal.check_setting() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    name text := NEW.category || '.' || NEW.key_name;
    platform sales.system_settings;
BEGIN
    IF TG_OP = 'DELETE' THEN
        IF NOT OLD.is_user_configurable AND OLD.company_id = sales_internal.acting_company() THEN
            RAISE insufficient_privilege USING MESSAGE = format('the setting %s.%s is not the company''s to change', OLD.category, OLD.key_name),
                HINT = 'It is marked is_user_configurable = false; ask the operator of the platform.';
        END IF;
        RETURN OLD;
    END IF;
    IF NEW.company_id IS NOT NULL AND NEW.company_id = sales.current_company_id() THEN
        SELECT * INTO platform FROM sales.system_settings g
        WHERE g.company_id IS NULL AND g.category = NEW.category AND g.key_name = NEW.key_name;
        IF NOT coalesce(platform.is_user_configurable, true)
           OR (TG_OP = 'UPDATE' AND NOT OLD.is_user_configurable) OR NOT NEW.is_user_configurable THEN
            RAISE insufficient_privilege USING MESSAGE = format('the setting %s is not the company''s to change', name),
                HINT = 'It is marked is_user_configurable = false; ask the operator of the platform.';
        END IF;
        IF platform.setting_id IS NOT NULL AND NEW.data_type <> platform.data_type THEN
            RAISE invalid_parameter_value USING
                MESSAGE = format('the setting %s is of type %s', name, platform.data_type),
                HINT = 'Give it the data_type that the platform''s setting has.';
        END IF;
        NEW.updated_by := sales.current_user_id();
    END IF;
    IF NEW.value IS NOT NULL AND (TG_OP = 'INSERT' OR NEW.value IS DISTINCT FROM OLD.value
                                  OR NEW.data_type <> OLD.data_type) THEN
        BEGIN
            CASE NEW.data_type
                WHEN 'integer' THEN PERFORM NEW.value::bigint;
                WHEN 'boolean' THEN PERFORM NEW.value::boolean;
                WHEN 'json' THEN PERFORM NEW.value::jsonb;
                WHEN 'encrypted' THEN
                    NEW.value := sales_internal.seal(NEW.value, format('%s|system_settings|%s', NEW.company_id, NEW.setting_id));
                ELSE NULL;
            END CASE;
        EXCEPTION WHEN data_exception THEN
            RAISE invalid_parameter_value USING
                MESSAGE = format('the value of %s is no %s', name, NEW.data_type),
                HINT = 'Change the value or data_type.';
        END;
    END IF;
    NEW.updated_at := sales_internal.now();
    RETURN NEW;
END
$$;
CREATE OR REPLACE FUNCTION sales_internal.revoke_contexts() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    affected uuid;
BEGIN
    IF TG_TABLE_NAME = 'companies' THEN
        UPDATE sales_internal.sessions SET revoked_at = sales_internal.now()
        WHERE company_id = NEW.company_id AND revoked_at IS NULL;
        PERFORM sales_internal.revoke(NEW.company_id, NEW.company_id), sales_internal.rebind_roles(NEW.company_id);
        RETURN NULL;
    END IF;
    FOR affected IN
        SELECT u.user_id FROM sales.users u
        WHERE u.company_id = NEW.company_id
          AND CASE TG_TABLE_NAME WHEN 'users' THEN u.user_id = (to_jsonb(NEW) ->> 'user_id')::uuid
                                 ELSE u.role_id = (to_jsonb(NEW) ->> 'role_id')::uuid END
    LOOP
        -- A token stays good after a change of permissions: use_session() reads them anew.
        IF TG_TABLE_NAME = 'users' AND NOT (to_jsonb(NEW) ->> 'is_active')::boolean THEN
            UPDATE sales_internal.sessions SET revoked_at = sales_internal.now()
            WHERE company_id = NEW.company_id AND user_id = affected AND revoked_at IS NULL;
        END IF;
        PERFORM sales_internal.revoke(affected, NEW.company_id), sales_internal.rebind_roles(NEW.company_id, affected);
    END LOOP;
    RETURN NULL;
END
$$;
CREATE OR REPLACE FUNCTION sales_internal.guard_roles() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    within boolean := sales_internal.acting_company() IS NOT NULL;
    wrong text;
BEGIN
    IF within THEN
        PERFORM sales_internal.require('roles', 'manage');
        IF TG_OP <> 'INSERT' AND OLD.is_system AND (TG_OP = 'DELETE' OR NEW.name <> OLD.name OR NOT NEW.is_system) THEN
            RAISE insufficient_privilege USING MESSAGE = format('the role %s was made with the company and stays', OLD.name),
                HINT = 'Make a role of your own beside it, and give that to users.';
        ELSIF TG_OP = 'INSERT' AND NEW.is_system THEN
            NEW.is_system := false;
        END IF;
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'INSERT' OR NEW.permissions <> OLD.permissions THEN
        SELECT problem INTO wrong
        FROM jsonb_each(NEW.permissions) p
        CROSS JOIN LATERAL (SELECT CASE
            WHEN p.key <> '*' AND to_regclass('sales.' || quote_ident(p.key)) IS NULL THEN format('there is no table "%s"', p.key)
            WHEN jsonb_typeof(p.value) <> 'array' THEN format('what is allowed on "%s" is no list', p.key)
            WHEN NOT p.value <@ '["read", "create", "update", "delete", "approve", "export", "manage"]' THEN format('"%s" allows %s', p.key, p.value)
            END) x (problem)
        WHERE problem IS NOT NULL LIMIT 1;
        IF wrong IS NOT NULL THEN
            RAISE invalid_parameter_value USING MESSAGE = 'these permissions cannot be understood', DETAIL = wrong || '.',
                HINT = 'Map a table of the schema sales, or *, to a list out of read, create, update, delete, approve, export, manage.';
        END IF;
    END IF;
    RETURN NEW;
END
$$;
CREATE OR REPLACE FUNCTION sales_internal.guard_users() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF sales_internal.acting_company() IS NOT NULL
       AND (TG_OP <> 'UPDATE' OR NEW.role_id <> OLD.role_id OR NEW.is_active <> OLD.is_active OR lower(NEW.email) <> lower(OLD.email)
            OR (NEW.password_hash IS DISTINCT FROM OLD.password_hash AND NEW.user_id IS DISTINCT FROM sales.current_user_id()))
       AND NOT sales.has_permission('users', 'manage') THEN
        RAISE insufficient_privilege USING
            MESSAGE = 'users, their addresses, roles, passwords and activity are changed by who may manage users',
            HINT = 'The user''s role must allow "manage" on "users"; one''s own password is changed by sales.set_password().';
    END IF;
    RETURN CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
END
$$;
CREATE OR REPLACE FUNCTION sales_internal.keep_a_manager() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.acting_company();
BEGIN
    IF company IS NOT NULL AND NOT EXISTS (
        SELECT FROM sales.users u JOIN sales.roles r ON r.company_id = u.company_id AND r.role_id = u.role_id
        WHERE u.company_id = company AND u.is_active
          AND (r.permissions -> '*' ? 'manage' OR r.permissions -> 'users' ? 'manage'))
    THEN
        RAISE check_violation USING MESSAGE = 'nobody would be left who may manage the company''s users',
            HINT = 'Give another active user a role with manage on users first.';
    END IF;
    RETURN NULL;
END
$$;

-- A setting that is not the company's to change is not its to remove.
CREATE OR REPLACE TRIGGER check_setting BEFORE INSERT OR UPDATE OR DELETE ON sales.system_settings
    FOR EACH ROW EXECUTE FUNCTION sales_internal.check_setting();

-- A key goes to the host that it was stored for.
ALTER TABLE sales.api_keys ADD COLUMN IF NOT EXISTS key_hosts text[];
COMMENT ON COLUMN sales.api_keys.key_hosts IS
    'Of a key for a mail server or an import''s source: the only hosts that it is sent to, those that it was first used with; null: none yet, or a provider''s key';
GRANT SELECT (key_hosts) ON sales.api_keys TO sales_app;
