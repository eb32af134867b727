-- Secrets: what is sealed under the master key, and changing that key.

CREATE OR REPLACE FUNCTION sales.rotate_master_key(new_key_file text) RETURNS void
    AS 'MODULE_PATHNAME', 'sales_rotate_master_key'
    LANGUAGE C VOLATILE PARALLEL UNSAFE SECURITY DEFINER
    SET search_path = pg_catalog, pg_temp;
COMMENT ON FUNCTION sales.rotate_master_key(text) IS
    'Makes the key of that file (64 hexadecimal digits, mode 0600) the cluster''s master key and seals every secret anew while everybody works on; after a crash or an error the same call goes on';
REVOKE ALL ON FUNCTION sales.rotate_master_key(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.rotate_master_key(text) TO sales_admin;

-- --- where a key goes ---

-- The provider of a key's service has the host from the platform.  A mail server or the source of an import is named by the
-- company: whoever may change that could have the key sent to himself.  So such a key goes to the hosts that it was first used
-- with, and to no other; and a provider's key, to its provider alone.
-- The secret that is given is the one whose hosts were looked at, of one version of the row.  Nothing is locked where the hosts are
-- known: a call does not wait for whoever writes the row, nor for a change of the master key.
CREATE OR REPLACE FUNCTION sales_internal.bind_key(company uuid, key_id uuid, urls text[]) RETURNS text
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    hosts text[] := ARRAY(SELECT DISTINCT lower(substring(u FROM '^[A-Za-z]+://(?:[^/?#@]*@)?(\[[^]]*\]|[^:/?#]+)')) AS host FROM unnest(urls) u WHERE u IS NOT NULL ORDER BY host);
    key record;
BEGIN
    SELECT k.service_name, k.key_hosts, k.key_value INTO key FROM sales.api_keys k WHERE k.company_id = company AND k.api_key_id = key_id;
    IF FOUND AND key.key_hosts IS NULL AND hosts <> '{}' THEN
        SELECT k.service_name, k.key_hosts, k.key_value INTO key FROM sales.api_keys k
        WHERE k.company_id = company AND k.api_key_id = key_id FOR NO KEY UPDATE;
    END IF;
    IF NOT FOUND OR hosts = '{}' THEN
        RETURN key.key_value;
    ELSIF EXISTS (SELECT FROM sales.providers p WHERE coalesce(p.service, p.name) = sales_internal.service_of(key.service_name)) THEN
        RAISE insufficient_privilege USING MESSAGE = format('the key of the service "%s" is for its provider alone', key.service_name),
            HINT = 'Store the secret of a mail server or an import in api_keys under a service_name of its own, such as mailbox or import.';
    ELSIF key.key_hosts IS NULL THEN
        UPDATE sales.api_keys k SET key_hosts = hosts WHERE k.company_id = company AND k.api_key_id = key_id;
    ELSIF NOT hosts <@ key.key_hosts THEN
        RAISE insufficient_privilege USING
            MESSAGE = format('the key was stored for %s and is not sent to %s', array_to_string(key.key_hosts, ', '), array_to_string(hosts, ', ')),
            HINT = 'Write the secret again: as another row of sales.api_keys, or into key_value of this one.';
    END IF;
    RETURN key.key_value;
END
$$;
COMMENT ON FUNCTION sales_internal.bind_key(uuid, uuid, text[]) IS
    'Notes the hosts of these URLs as those that a key is for, or an error where it is for others or for a provider; the sealed key';
REVOKE ALL ON FUNCTION sales_internal.bind_key(uuid, uuid, text[]) FROM PUBLIC;

-- Asked for every call that names a key, from C, under a pinned search_path: it does not set it again.
CREATE OR REPLACE FUNCTION sales_internal.key_for_call(company uuid, key_id uuid, url text, provider text) RETURNS text
LANGUAGE plpgsql
AS $$
DECLARE
    key record;
BEGIN
    SELECT k.service_name, k.key_value INTO key FROM sales.api_keys k WHERE k.company_id = company AND k.api_key_id = key_id;
    IF NOT FOUND OR EXISTS (SELECT FROM sales.providers p
                            WHERE p.name = provider AND coalesce(p.service, p.name) = sales_internal.service_of(key.service_name)) THEN
        RETURN key.key_value;
    END IF;
    RETURN sales_internal.bind_key(company, key_id, ARRAY[url]);
END
$$;
COMMENT ON FUNCTION sales_internal.key_for_call(uuid, uuid, text, text) IS
    'The sealed key of a company that a call names, if it may go to that URL; null where there is none';
REVOKE ALL ON FUNCTION sales_internal.key_for_call(uuid, uuid, text, text) FROM PUBLIC;

-- A secret that is written anew is for wherever it is used first; one that is not stays what it is, and where it is for.
CREATE OR REPLACE FUNCTION sales_internal.guard_key() RETURNS trigger
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF sales_internal.restoring() THEN
        RETURN NEW;
    ELSIF TG_OP = 'INSERT' OR NEW.key_value <> OLD.key_value THEN
        NEW.key_hosts := NULL;
    ELSIF sales_internal.service_of(NEW.service_name) <> sales_internal.service_of(OLD.service_name)
          OR (OLD.key_hosts IS NOT NULL AND NEW.key_hosts IS DISTINCT FROM OLD.key_hosts) THEN
        RAISE insufficient_privilege USING MESSAGE = format('a stored secret stays the one of the service "%s"%s', OLD.service_name,
                                                            coalesce(' and of ' || array_to_string(OLD.key_hosts, ', '), '')),
            HINT = 'Write the secret again, in the same UPDATE or as another row of sales.api_keys.';
    END IF;
    RETURN NEW;
END
$$;
COMMENT ON FUNCTION sales_internal.guard_key() IS 'Trigger: a secret is used for another service or host only by whoever knows it';
REVOKE ALL ON FUNCTION sales_internal.guard_key() FROM PUBLIC;
CREATE OR REPLACE TRIGGER guard_key BEFORE INSERT OR UPDATE ON sales.api_keys
    FOR EACH ROW EXECUTE FUNCTION sales_internal.guard_key();

-- --- another master key ---

-- Every column that holds sealed text: the owner is what cipher_seal() was given.
CREATE OR REPLACE FUNCTION sales_internal.sealed_columns()
RETURNS TABLE (place integer, "table" regclass, key text, "column" text, owner text, condition text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    VALUES (1, 'sales.api_keys'::regclass, 'api_key_id', 'key_value', $o$format('%s|api_keys|%s', t.company_id, t.api_key_id)$o$, 'true'),
           (2, 'sales.system_settings', 'setting_id', 'value', $o$format('%s|system_settings|%s', t.company_id, t.setting_id)$o$,
            $c$t.data_type = 'encrypted' AND t.value IS NOT NULL$c$),
           (3, 'sales_internal.audit_keys', 'key_id', 'sealed', $o$'audit_keys|' || encode(t.key_id, 'hex')$o$, 'true')
$$;
COMMENT ON FUNCTION sales_internal.sealed_columns() IS
    'Columns with sealed text: table t, its key, the column, an expression for the owner, and which rows';
REVOKE ALL ON FUNCTION sales_internal.sealed_columns() FROM PUBLIC;

-- One batch: the row's place among all, "table number key", is where the next
-- one begins.  A row that somebody writes at this moment is waited for, and what
-- is sealed anew is what he wrote.
CREATE OR REPLACE FUNCTION sales_internal.reseal_batch(after text DEFAULT NULL, OUT last text, OUT resealed bigint, OUT stuck text[])
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    at_place integer := coalesce(split_part(after, ' ', 1), '0')::integer;
    at_key text := split_part(after, ' ', 2);
    source record;
    found_row record;
    fresh text;
    current_form text := format('sa2:%s:%%', (sales_internal.key_names())[1]);
    most CONSTANT integer := 100;
    looked integer := 0;
BEGIN
    resealed := 0;
    FOR source IN SELECT * FROM sales_internal.sealed_columns() c WHERE c.place >= at_place ORDER BY c.place LOOP
        FOR found_row IN EXECUTE format(
            'SELECT t.%1$I::text AS key, t.%2$I AS sealed, %3$s AS owner FROM %4$s t
             WHERE %5$s AND t.%2$I NOT LIKE %6$L %7$s ORDER BY t.%1$I LIMIT %8$s FOR UPDATE',
            source.key, source."column", source.owner, source."table", source.condition, current_form,
            CASE WHEN source.place = at_place AND at_key <> '' THEN format('AND t.%I > %L', source.key, at_key) END, most - looked)
        LOOP
            looked := looked + 1;
            last := source.place || ' ' || found_row.key;
            fresh := sales_internal.reseal(found_row.sealed, found_row.owner);
            IF fresh IS NULL THEN
                stuck := array_append(stuck, format('%s %s', source."table", found_row.key));
            ELSE
                EXECUTE format('UPDATE %s SET %I = %L WHERE %I = %L', source."table", source."column", fresh, source.key, found_row.key);
                resealed := resealed + 1;
            END IF;
        END LOOP;
        IF looked >= most THEN
            RETURN;
        END IF;
    END LOOP;
    last := NULL;
END
$$;
COMMENT ON FUNCTION sales_internal.reseal_batch(text) IS
    'Seals up to 100 secrets after a row under the current master key; last is null at the end, stuck are rows that no key opens';
REVOKE ALL ON FUNCTION sales_internal.reseal_batch(text) FROM PUBLIC;

-- After a change of the master key: the old audit key is kept, the key-check
-- value is of the new key, and bound roles get contexts signed by it.
CREATE OR REPLACE FUNCTION sales_internal.sign_anew() RETURNS text[]
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    bound record;
    failed text[];
BEGIN
    PERFORM sales_internal.audit_keep_key();
    IF 'sales.companies'::regclass = ANY (sales_internal.citus_tables()) THEN
        PERFORM sales_internal.share_key();
        IF EXISTS (SELECT FROM pg_catalog.run_command_on_workers('SELECT sales_internal.key_fingerprint()') r
                   WHERE NOT r.success OR r.result IS DISTINCT FROM sales_internal.key_fingerprint()) THEN
            RAISE object_not_in_prerequisite_state USING MESSAGE = 'a node of the cluster did not take the new audit key',
                HINT = 'See that all nodes are up, and call sales.rotate_master_key() again.';
        END IF;
    END IF;
    INSERT INTO sales_internal.key_check AS k (key_name, sealed)
    VALUES ((sales_internal.key_names())[1], sales_internal.seal('sales_assistant', 'key_check'))
    ON CONFLICT (is_only) DO UPDATE SET key_name = excluded.key_name, sealed = excluded.sealed, noted_at = now();
    FOR bound IN SELECT b.role_name FROM sales_internal.bound_roles b ORDER BY b.role_name LOOP
        BEGIN
            PERFORM sales_internal.rebind_role(bound.role_name);
        EXCEPTION WHEN OTHERS THEN
            failed := array_append(failed, format('%s (%s)', bound.role_name, SQLERRM));
        END;
    END LOOP;
    RETURN failed;
END
$$;
COMMENT ON FUNCTION sales_internal.sign_anew() IS
    'Keeps the former audit keys, renews the key-check value and signs the contexts of bound roles; roles where that failed';
REVOKE ALL ON FUNCTION sales_internal.sign_anew() FROM PUBLIC;

-- Notes under which master key this database writes, or warns that it is another.
CREATE OR REPLACE FUNCTION sales_internal.note_key() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    noted text := (SELECT k.key_name FROM sales_internal.key_check k);
BEGIN
    IF noted IS NULL THEN
        INSERT INTO sales_internal.key_check (key_name, sealed)
        VALUES ((sales_internal.key_names())[1], sales_internal.seal('sales_assistant', 'key_check')) ON CONFLICT (is_only) DO NOTHING;
    ELSIF noted <> ALL (sales_internal.key_names()) THEN
        RAISE WARNING USING MESSAGE = 'the master key is not the one of this database', ERRCODE = 'config_file_error',
            DETAIL = format('It was written under the key %s, and the key file holds %s.', noted, array_to_string(sales_internal.key_names(), ', ')),
            HINT = 'See sales.doctor().';
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.note_key() IS
    'Notes the name of the master key with a value sealed under it; a warning where the key file holds another';
REVOKE ALL ON FUNCTION sales_internal.note_key() FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.doctor_secrets() RETURNS TABLE (severity text, finding text, hint text)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    names text[];
    source record;
BEGIN
    BEGIN
        names := sales_internal.key_names();
    EXCEPTION WHEN config_file_error THEN
        GET STACKED DIAGNOSTICS finding = PG_EXCEPTION_DETAIL;
        severity := 'error';
        hint := 'See the setting sales_assistant.key_file and docs/security.md.';
        RETURN NEXT;
        RETURN;
    END;
    SELECT 'error', format('this database was written under the master key %s, and the key file holds %s: another key, as after a restore',
                           k.key_name, array_to_string(names, ', ')),
           'Put the old key file in place, or add its line to the key file and call sales.rotate_master_key(). If it is lost: write the secrets again, then change the key.'
    INTO severity, finding, hint
    FROM sales_internal.key_check k WHERE sales_internal.reseal(k.sealed, 'key_check') IS NULL;
    IF FOUND THEN
        RETURN NEXT;
    END IF;
    IF cardinality(names) > 1 THEN
        severity := 'warning';
        finding := format('the key file still holds %s former master keys: a change of the key is not complete', cardinality(names) - 1);
        hint := 'Call sales.rotate_master_key() again, with the file of the new key.';
        RETURN NEXT;
    END IF;
    FOR source IN SELECT * FROM sales_internal.sealed_columns() LOOP
        RETURN QUERY EXECUTE format(
            'SELECT ''error'', format(''%%s secrets in %1$s were sealed under the master key %%s, which is not in the key file'', count(*), split_part(t.%2$I, '':'', 2)),
                    ''Add the old key as a further line to the key file and call sales.rotate_master_key(), or write the secrets again.''
             FROM %1$s t WHERE %3$s AND t.%2$I LIKE ''sa2:%%'' AND split_part(t.%2$I, '':'', 2) <> ALL ($1)
             GROUP BY split_part(t.%2$I, '':'', 2)', source."table", source."column", source.condition) USING names;
    END LOOP;
END
$$;
COMMENT ON FUNCTION sales_internal.doctor_secrets() IS 'Part of doctor(): is the master key the one that the secrets were sealed under?';
REVOKE ALL ON FUNCTION sales_internal.doctor_secrets() FROM PUBLIC;
