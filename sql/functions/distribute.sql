-- Beyond one machine: the tenant tables spread by company over a Citus cluster.
--
-- Where a table belongs follows from its columns, so that a table added later
-- is placed without a word here: what has a company_id that is never null is
-- the tenant's, but for the queue, the keys, what their checks read, and the
-- ledgers of work done on the coordinator.  See docs/citus.md.

CREATE OR REPLACE FUNCTION sales_internal.citus_tables() RETURNS oid[]
    AS 'MODULE_PATHNAME', 'sales_citus_tables'
    LANGUAGE C STABLE;
COMMENT ON FUNCTION sales_internal.citus_tables() IS 'Tables that Citus has spread or copied to all nodes; empty on a plain server';
REVOKE ALL ON FUNCTION sales_internal.citus_tables() FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.on_shard() RETURNS boolean
    AS 'MODULE_PATHNAME', 'sales_on_shard'
    LANGUAGE C STABLE;
COMMENT ON FUNCTION sales_internal.on_shard() IS 'True within a trigger of a shard, on a node that has no queue and no keys; false on a plain server';
REVOKE ALL ON FUNCTION sales_internal.on_shard() FROM PUBLIC;

-- Planned in the place of a spread table; runs the query as who calls it.
CREATE OR REPLACE FUNCTION sales_internal.fetch("like" anyelement, query text) RETURNS SETOF anyelement
    AS 'MODULE_PATHNAME', 'sales_fetch'
    LANGUAGE C STABLE;
COMMENT ON FUNCTION sales_internal.fetch(anyelement, text) IS 'Rows of a spread table, brought to the coordinator for a query that calls functions on them';
REVOKE ALL ON FUNCTION sales_internal.fetch(anyelement, text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales_internal.fetch(anyelement, text) TO sales_app, sales_bi, sales_gateway, sales_admin;
CREATE OR REPLACE FUNCTION sales_internal.fetch("like" anyelement, query text, VARIADIC parameters "any") RETURNS SETOF anyelement
    AS 'MODULE_PATHNAME', 'sales_fetch'
    LANGUAGE C STABLE;
COMMENT ON FUNCTION sales_internal.fetch(anyelement, text, "any") IS 'The same with parameters of the query';
REVOKE ALL ON FUNCTION sales_internal.fetch(anyelement, text, "any") FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales_internal.fetch(anyelement, text, "any") TO sales_app, sales_bi, sales_gateway, sales_admin;

-- The server's own, which is only STABLE as some types' output is.
CREATE OR REPLACE FUNCTION sales_internal.concat_ws(text, VARIADIC "any") RETURNS text
    AS 'text_concat_ws'
    LANGUAGE internal IMMUTABLE PARALLEL SAFE;
COMMENT ON FUNCTION sales_internal.concat_ws(text, "any") IS 'pg_catalog.concat_ws() for an UPDATE of spread rows, where Citus takes immutable functions; planned in its place';
REVOKE ALL ON FUNCTION sales_internal.concat_ws(text, "any") FROM PUBLIC;

-- Where companies are spread, no key can hold their domains apart; this table does.
CREATE OR REPLACE FUNCTION sales_internal.claim_domain(company uuid, domain text) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF 'sales.companies'::regclass = ANY (sales_internal.citus_tables()) THEN
        INSERT INTO sales_internal.company_domains (domain, company_id) VALUES (claim_domain.domain, company);
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.claim_domain(uuid, text) IS 'Unique violation where another company has the domain already; for spread companies, whose table cannot tell';
REVOKE ALL ON FUNCTION sales_internal.claim_domain(uuid, text) FROM PUBLIC;

-- Of a company that is deleted: what stays whole has no foreign key that would remove it.
CREATE OR REPLACE FUNCTION sales_internal.forget_on_coordinator(company uuid) RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    target regclass;
BEGIN
    IF 'sales.companies'::regclass = ANY (sales_internal.citus_tables()) THEN
        FOR target IN
            SELECT c.oid FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'company_id'
            WHERE sales_internal.placement(c.oid) = 'coordinator' AND NOT c.relispartition
            ORDER BY c.relname = 'api_keys', c.relname
        LOOP
            EXECUTE format('DELETE FROM %s WHERE company_id = $1', target) USING company;
        END LOOP;
    END IF;
END
$$;
COMMENT ON FUNCTION sales_internal.forget_on_coordinator(uuid) IS 'Removes a company''s rows of the tables that are not spread; nothing on a plain server, where foreign keys do it';
REVOKE ALL ON FUNCTION sales_internal.forget_on_coordinator(uuid) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.key_fingerprint() RETURNS text
    AS 'MODULE_PATHNAME', 'sales_key_fingerprint'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.key_fingerprint() IS 'Tells apart the keys that nodes of a cluster share, which cannot be had from it; null where this node has none';
REVOKE ALL ON FUNCTION sales_internal.key_fingerprint() FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.share_key() RETURNS integer
    AS 'MODULE_PATHNAME', 'sales_share_key'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.share_key() IS
    'Sends the keys that nodes share, which the master key is not of, sealed to the workers that have others; how many were sent them. Superusers only';
REVOKE ALL ON FUNCTION sales_internal.share_key() FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.exchange_key() RETURNS text
    AS 'MODULE_PATHNAME', 'sales_exchange_key'
    LANGUAGE C VOLATILE;
COMMENT ON FUNCTION sales_internal.exchange_key() IS 'Public key of this node (X25519), for which share_key() seals';
REVOKE ALL ON FUNCTION sales_internal.exchange_key() FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.take_key(boxes text) RETURNS boolean
    AS 'MODULE_PATHNAME', 'sales_take_key'
    LANGUAGE C VOLATILE STRICT;
COMMENT ON FUNCTION sales_internal.take_key(text) IS 'On a worker: takes the keys that nodes share out of the box that is sealed for it; false where there is none. Superusers only';
REVOKE ALL ON FUNCTION sales_internal.take_key(text) FROM PUBLIC;

-- What triggers on other nodes have asked for: jobs, and ends of contexts.
CREATE OR REPLACE FUNCTION sales_internal.drain_shard_requests() RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    asked record;
    taken integer := 0;
BEGIN
    IF 'sales.companies'::regclass <> ALL (sales_internal.citus_tables()) THEN
        RETURN 0;
    END IF;
    FOR asked IN SELECT r.company_id, r.request_id, r.kind, r.args FROM sales_internal.shard_requests r ORDER BY r.request_id LIMIT 1000
    LOOP
        DELETE FROM sales_internal.shard_requests r WHERE r.company_id = asked.company_id AND r.request_id = asked.request_id;
        CONTINUE WHEN NOT FOUND;
        IF asked.kind = 'job' THEN
            PERFORM sales_internal.enqueue(asked.args ->> 'kind', asked.company_id, asked.args -> 'args', asked.args ->> 'unique_key',
                                           (asked.args ->> 'run_at')::timestamptz, (asked.args ->> 'priority')::integer);
        ELSE
            PERFORM sales_internal.revoke((asked.args ->> 'id')::uuid, asked.company_id),
                    sales_internal.rebind_roles(asked.company_id, (asked.args ->> 'user_id')::uuid);
        END IF;
        taken := taken + 1;
    END LOOP;
    RETURN taken;
END
$$;
COMMENT ON FUNCTION sales_internal.drain_shard_requests() IS 'Periodic task: does what triggers on other nodes of a cluster have asked of the coordinator; returns how much';
REVOKE ALL ON FUNCTION sales_internal.drain_shard_requests() FROM PUBLIC;

-- Where a table belongs: tenant (spread by company_id), everywhere (the same
-- rows on each node), coordinator (stays); null for what is no table of ours.
CREATE OR REPLACE FUNCTION sales_internal.placement(target oid) RETURNS text
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT CASE
        WHEN n.nspname || '.' || c.relname IN ('sales.company_sizes', 'sales.industries') THEN 'everywhere'
        WHEN n.nspname || '.' || c.relname IN (
            'sales.api_keys',                   -- keys
            'sales.import_jobs', 'sales.mailboxes', 'sales_internal.import_taken', 'sales_internal.mailbox_days',  -- name keys
            'sales_internal.bound_roles',       -- of this cluster's roles
            'sales_internal.audit_seals', 'sales_internal.audit_expiries', 'sales_internal.ai_costs',              -- ledgers
            'sales_internal.scoring_state', 'sales_internal.metric_state',                                         -- turns of the worker
            'sales.analytics', 'sales.success_metrics', 'sales_internal.metric_days', 'sales_internal.metric_contacts'  -- what the roll-up derives
        ) THEN 'coordinator'
        WHEN EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'company_id' AND a.attnotnull) THEN 'tenant'
        ELSE 'coordinator' END
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
    JOIN pg_extension e ON e.oid = d.refobjid AND d.refclassid = 'pg_extension'::regclass AND e.extname = 'sales_assistant'
    WHERE c.oid = placement.target AND c.relkind IN ('r', 'p') AND n.nspname IN ('sales', 'sales_internal')
$$;
COMMENT ON FUNCTION sales_internal.placement(oid) IS 'Where distribute() puts a table: tenant (by company_id), everywhere (reference), coordinator; null: not of the extension';
REVOKE ALL ON FUNCTION sales_internal.placement(oid) FROM PUBLIC;

-- A function in SQL again in PL/pgSQL, as a statement; null where it need not
-- be.  Citus cannot plan the parameters of functions in SQL.
CREATE OR REPLACE FUNCTION sales_internal.in_plpgsql(target oid) RETURNS text
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
DECLARE
    f record;
    body text;
    last_statement text;
    before text;
    outs text;
    code text;
BEGIN
    SELECT p.*, l.lanname, pg_get_functiondef(p.oid) AS whole INTO f
    FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang WHERE p.oid = target;
    IF f.lanname <> 'sql' OR f.pronargs = 0 OR f.prokind <> 'f' OR f.prosqlbody IS NOT NULL THEN
        RETURN NULL;
    END IF;
    body := btrim(f.prosrc, E' \n;');
    -- a last statement after others begins a line of its own
    last_statement := regexp_replace(body, '^.*;\s*\n', '');
    before := left(body, length(body) - length(last_statement));
    IF before ~* '(^|;\s*\n)\s*(select|with)\M' THEN
        RAISE 'function % cannot be written in PL/pgSQL', target::regprocedure;
    END IF;
    SELECT string_agg(format('%I', n), ', ' ORDER BY o) INTO outs
    FROM unnest(f.proargnames, f.proargmodes) WITH ORDINALITY AS a (n, m, o) WHERE m IN ('o', 't', 'b');
    code := CASE
        WHEN f.prorettype = 'void'::regtype THEN
            CASE WHEN last_statement ~* '^\s*(with|select)\M' AND last_statement !~ '\n    (INSERT|UPDATE|DELETE|MERGE) ' THEN 'FOR answer IN ' || last_statement || E'\nLOOP NULL; END LOOP;'
                 ELSE last_statement || ';' END
        WHEN f.proretset THEN 'RETURN QUERY ' || last_statement || ';'
        WHEN outs IS NOT NULL THEN 'FOR ' || outs || ' IN ' || last_statement || E'\nLOOP RETURN; END LOOP;'
        ELSE 'FOR answer IN ' || last_statement || E'\nLOOP RETURN answer; END LOOP;\nRETURN NULL;' END;
    code := E'\n#variable_conflict use_column\nDECLARE\n    answer '
        || CASE WHEN f.prorettype = 'void'::regtype OR f.proretset OR outs IS NOT NULL THEN 'record' ELSE format_type(f.prorettype, NULL) END
        || E';\n'
        -- (PL/pgSQL has a variable of this name)
        || CASE WHEN 'found' = ANY (f.proargnames) THEN format(E'    found ALIAS FOR $%s;\n', array_position(f.proargnames, 'found')) ELSE '' END
        || E'BEGIN\n' || before || code || E'\nEND\n';
    -- the definition as the server spells it, with the language and the body exchanged
    RETURN regexp_replace(regexp_replace(split_part(f.whole, E'\nAS $', 1), E'\n LANGUAGE sql', E'\n LANGUAGE plpgsql'), 'search_path TO ''''', 'search_path TO ''''')
        || E'\nAS $in_plpgsql$' || code || '$in_plpgsql$';
END
$$;
COMMENT ON FUNCTION sales_internal.in_plpgsql(oid) IS 'A function in SQL, written again in PL/pgSQL: CREATE OR REPLACE statement; null where it is in another language or has no parameter';
REVOKE ALL ON FUNCTION sales_internal.in_plpgsql(oid) FROM PUBLIC;

-- Partitions made since the install are members of the extension here, but are on no worker.
CREATE OR REPLACE FUNCTION sales_internal.free_partitions() RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    part regclass;
    freed integer := 0;
BEGIN
    FOR part IN
        SELECT c.oid FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid
        JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = c.oid AND d.deptype = 'e'
        WHERE sales_internal.placement(i.inhparent) = 'tenant' AND c.relname <> (SELECT relname FROM pg_class p WHERE p.oid = i.inhparent) || '_default'
    LOOP
        EXECUTE format('ALTER EXTENSION sales_assistant DROP TABLE %s', part);
        freed := freed + 1;
    END LOOP;
    RETURN freed;
END
$$;
COMMENT ON FUNCTION sales_internal.free_partitions() IS 'Partitions made since the install are no members of the extension any more; returns how many';
REVOKE ALL ON FUNCTION sales_internal.free_partitions() FROM PUBLIC;

-- A spread table's keys begin with the company; those that do not yet, each with the statement that changes it.
CREATE OR REPLACE FUNCTION sales_internal.keys_without_company() RETURNS TABLE (target regclass, key name, kind "char", statement text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
    SELECT c.oid::regclass, k.conname, k.contype,
           format('ALTER TABLE %s DROP CONSTRAINT %I, ADD CONSTRAINT %I %s', c.oid::regclass, k.conname, k.conname, CASE k.contype
               WHEN 'x' THEN replace(pg_get_constraintdef(k.oid), 'USING gist (', 'USING gist (company_id sales_internal.gist_uuid_ops WITH =, ')
               ELSE format('%s (company_id, %s)', CASE k.contype WHEN 'p' THEN 'PRIMARY KEY' ELSE 'UNIQUE' END,
                           (SELECT string_agg(quote_ident(a.attname), ', ' ORDER BY x.n)
                            FROM unnest(k.conkey) WITH ORDINALITY x (attnum, n) JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.attnum)) END)
    FROM pg_class c JOIN pg_constraint k ON k.conrelid = c.oid AND k.contype IN ('p', 'u', 'x') AND k.conparentid = 0
    WHERE sales_internal.placement(c.oid) = 'tenant' AND NOT c.relispartition
      AND NOT EXISTS (SELECT FROM unnest(k.conkey, k.conexclop) AS x (attnum, operator)
                      JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = x.attnum
                      WHERE a.attname = 'company_id'
                        AND (k.contype <> 'x' OR (SELECT o.oprname FROM pg_operator o WHERE o.oid = x.operator) = '='))
    ORDER BY c.oid::regclass::text, k.conname
$$;
COMMENT ON FUNCTION sales_internal.keys_without_company() IS 'Keys of tenants'' tables that do not carry the company, each with the statement that makes it do so';
REVOKE ALL ON FUNCTION sales_internal.keys_without_company() FROM PUBLIC;

-- CREATE EXTENSION makes the tables on a worker, and Citus the partitions, with the
-- keys that the coordinator's have once they carry the company: they must fit.
CREATE OR REPLACE FUNCTION sales_internal.fit_worker() RETURNS integer
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    command text;
    fitted integer := 0;
    is_worker boolean := false;
BEGIN
    IF to_regclass('pg_catalog.pg_dist_local_group') IS NOT NULL THEN
        EXECUTE 'SELECT groupid <> 0 FROM pg_catalog.pg_dist_local_group' INTO is_worker;
    END IF;
    IF is_worker THEN
        FOR command IN SELECT k.statement FROM sales_internal.keys_without_company() k
                       WHERE k.kind = 'p' AND EXISTS (SELECT FROM pg_partitioned_table p WHERE p.partrelid = k.target)
        LOOP
            EXECUTE command;
            fitted := fitted + 1;
        END LOOP;
    END IF;
    RETURN fitted;
END
$$;
COMMENT ON FUNCTION sales_internal.fit_worker() IS 'On a worker of a cluster: keys of the empty partitioned tables carry the company; returns how many were changed';
REVOKE ALL ON FUNCTION sales_internal.fit_worker() FROM PUBLIC;
-- Where this is CREATE EXTENSION by citus_add_node(), all is distributed already.
SELECT sales_internal.fit_worker();

-- What is to be run, in order; each step asks the catalogue whether it is done.
CREATE OR REPLACE FUNCTION sales_internal.distribute_plan(shard_count integer DEFAULT 32)
RETURNS TABLE (step integer, purpose text, statement text, done boolean)
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp SET standard_conforming_strings = on
AS $$
#variable_conflict use_column
DECLARE
    target record;
    placed CONSTANT oid[] := sales_internal.citus_tables();
    put_back text[] := '{}';
    truncates text[] := '{}';
    spread CONSTANT boolean := 'sales.companies'::regclass = ANY (placed);
BEGIN
    step := 0;

    purpose := 'the company is part of an exclusion constraint, which takes an operator class of btree_gist';
    step := step + 1;
    statement := 'CREATE EXTENSION IF NOT EXISTS btree_gist WITH SCHEMA sales_internal';
    done := EXISTS (SELECT FROM pg_extension WHERE extname = 'btree_gist');
    RETURN NEXT;

    purpose := 'partitions of now and of the next periods, while they are made in place';
    FOR target IN SELECT p.parent, p.n FROM (VALUES ('analytics', '1 year'), ('audit_logs', '1 month'), ('interactions', '3 months')) t (parent, step)
                  CROSS JOIN LATERAL (SELECT t.parent, n FROM generate_series(0, 2) n) p ORDER BY p.parent, p.n
    LOOP
        step := step + 1;
        statement := format('SELECT sales_internal.make_partition(%L, %s)', target.parent,
            CASE target.parent
                WHEN 'analytics' THEN format('date_trunc(''year'', now() AT TIME ZONE ''UTC'' + interval ''%s years'')', target.n)
                WHEN 'audit_logs' THEN format('date_trunc(''month'', now() AT TIME ZONE ''UTC'' + interval ''%s months'')', target.n)
                ELSE format('date_trunc(''quarter'', now() AT TIME ZONE ''UTC'' + interval ''%s months'')', 3 * target.n) END);
        done := spread;
        RETURN NEXT;
    END LOOP;

    purpose := 'Citus makes on the workers what is no member of an extension';
    step := step + 1;
    statement := 'SELECT sales_internal.free_partitions()';
    done := spread;
    RETURN NEXT;

    purpose := 'foreign keys hold within a node: none leads from or to a table that stays whole';
    done := false;
    FOR target IN
        SELECT f.conrelid::regclass AS name, f.conname
        FROM pg_constraint f
        WHERE f.contype = 'f' AND f.conparentid = 0
          AND (sales_internal.placement(f.conrelid), sales_internal.placement(f.confrelid))
              IN (('coordinator', 'tenant'), ('coordinator', 'everywhere'), ('everywhere', 'tenant'), ('tenant', 'coordinator'))
        ORDER BY f.conrelid::regclass::text, f.conname
    LOOP
        step := step + 1;
        statement := format('ALTER TABLE %s DROP CONSTRAINT %I', target.name, target.conname);
        RETURN NEXT;
    END LOOP;

    -- taken off while Citus makes the tables: it would convert all that they connect
    FOR target IN
        SELECT f.conrelid::regclass AS name, f.conname, pg_get_constraintdef(f.oid) AS definition
        FROM pg_constraint f
        WHERE f.contype = 'f' AND f.conparentid = 0 AND f.conrelid <> ALL (placed)
          AND sales_internal.placement(f.conrelid) = 'tenant' AND sales_internal.placement(f.confrelid) = 'everywhere'
        ORDER BY f.conrelid::regclass::text, f.conname
    LOOP
        step := step + 1;
        purpose := 'taken off until both tables are placed';
        statement := format('ALTER TABLE %s DROP CONSTRAINT %I', target.name, target.conname);
        RETURN NEXT;
        -- the workers' own copies of the empty table have it too
        step := step + 1;
        statement := format('SELECT * FROM pg_catalog.run_command_on_workers(%L)',
                            format('ALTER TABLE %s DROP CONSTRAINT IF EXISTS %I', target.name, target.conname));
        put_back := put_back || format('ALTER TABLE %s ADD CONSTRAINT %I %s', target.name, target.conname, target.definition);
        RETURN NEXT;
    END LOOP;

    purpose := 'keys carry the company';
    FOR statement IN SELECT k.statement FROM sales_internal.keys_without_company() k LOOP
        step := step + 1;
        RETURN NEXT;
    END LOOP;

    -- Citus gives shards each policy as a permissive one.  So each command has one
    -- policy that allows it, instead of one for all that allows and one that limits.
    purpose := 'a node is given defaults as values: who may insert a row may write what has a default';
    done := false;
    FOR target IN
        SELECT c.oid::regclass AS name, g.grantee::regrole AS role, string_agg(quote_ident(a.attname), ', ' ORDER BY a.attnum) AS columns
        FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum > 0 AND a.atthasdef AND a.attgenerated = ''
        CROSS JOIN LATERAL (SELECT DISTINCT x.grantee FROM pg_attribute b, aclexplode(b.attacl) x
                            WHERE b.attrelid = c.oid AND x.privilege_type = 'INSERT' AND x.grantee <> 0) g
        WHERE sales_internal.placement(c.oid) = 'tenant' AND NOT c.relispartition
          AND NOT has_column_privilege(g.grantee, c.oid, a.attnum, 'INSERT')
        GROUP BY 1, 2 ORDER BY 1::text, 2::text
    LOOP
        step := step + 1;
        statement := format('GRANT INSERT (%s) ON %s TO %s', target.columns, target.name, target.role);
        RETURN NEXT;
    END LOOP;

    purpose := 'each command has one permissive policy: Citus knows no restrictive ones';
    done := false;
    FOR target IN
        SELECT p.polrelid::regclass AS name, string_agg(format('DROP POLICY %I ON %s; ', p.polname, p.polrelid::regclass)
               || CASE WHEN p.polpermissive THEN '' ELSE
                  format('CREATE POLICY %I ON %s FOR %s', p.polname, p.polrelid::regclass,
                         CASE p.polcmd WHEN 'r' THEN 'SELECT' WHEN 'a' THEN 'INSERT' WHEN 'w' THEN 'UPDATE' WHEN 'd' THEN 'DELETE' ELSE 'ALL' END)
                  || coalesce(' USING (' || pg_get_expr(p.polqual, p.polrelid) || ')', '')
                  || coalesce(' WITH CHECK (' || pg_get_expr(p.polwithcheck, p.polrelid) || ')', '') || '; ' END, '' ORDER BY p.polname) AS commands
        FROM pg_policy p JOIN pg_class c ON c.oid = p.polrelid
        WHERE sales_internal.placement(p.polrelid) = 'tenant' AND NOT c.relispartition AND (NOT p.polpermissive OR p.polname = 'app')
        GROUP BY p.polrelid ORDER BY p.polrelid::regclass::text
    LOOP
        step := step + 1; statement := target.commands;
        RETURN NEXT;
    END LOOP;

    purpose := 'domains of companies stay unique, over all nodes';
    FOR target IN SELECT * FROM (VALUES
        ('INSERT INTO sales_internal.company_domains (domain, company_id) SELECT c.domain, c.company_id FROM sales.companies c ON CONFLICT DO NOTHING'))
        AS v (command)
    LOOP
        step := step + 1; statement := target.command; done := spread;
        RETURN NEXT;
    END LOOP;

    purpose := 'the same rows on every node';
    FOR target IN
        SELECT c.oid, c.oid::regclass AS name FROM pg_class c
        WHERE sales_internal.placement(c.oid) = 'everywhere' ORDER BY c.oid::regclass::text
    LOOP
        step := step + 1; done := target.oid = ANY (placed);
        statement := format('SELECT pg_catalog.create_reference_table(%L)', target.name);
        RETURN NEXT;
    END LOOP;

    purpose := 'spread by company, all that is a company''s on one node';
    FOR target IN
        WITH RECURSIVE depth (oid, level) AS (
            SELECT c.oid, 0 FROM pg_class c WHERE sales_internal.placement(c.oid) = 'tenant' AND NOT c.relispartition
            UNION
            SELECT f.conrelid, d.level + 1
            FROM depth d JOIN pg_constraint f ON f.confrelid = d.oid AND f.contype = 'f'
            JOIN pg_class k ON k.oid = f.conrelid AND NOT k.relispartition
            WHERE f.conrelid <> f.confrelid AND d.level < 20 AND sales_internal.placement(f.conrelid) = 'tenant')
        SELECT d.oid, d.oid::regclass AS name FROM depth d
        GROUP BY d.oid ORDER BY max(d.level), d.oid <> 'sales.companies'::regclass, d.oid::regclass::text
    LOOP
        step := step + 1; done := target.oid = ANY (placed);
        statement := CASE WHEN target.oid = 'sales.companies'::regclass
            THEN format('SELECT pg_catalog.create_distributed_table(%L, ''company_id'', colocate_with => ''none'', shard_count => %s)', target.name, shard_count)
            ELSE format('SELECT pg_catalog.create_distributed_table(%L, ''company_id'', colocate_with => ''sales.companies'')', target.name) END;
        RETURN NEXT;
        IF NOT done THEN
            truncates := truncates || format('SELECT pg_catalog.truncate_local_data_after_distributing_table(%L)', target.name);
        END IF;
    END LOOP;

    purpose := 'rows have gone to their nodes: what is left of them here is removed, without a trigger';
    done := false;
    FOREACH statement IN ARRAY CASE WHEN truncates <> '{}' THEN
        'SET LOCAL session_replication_role = replica'::text || truncates || 'SET LOCAL session_replication_role = origin'::text ELSE '{}' END
    LOOP
        step := step + 1;
        RETURN NEXT;
    END LOOP;

    purpose := 'both tables are placed';
    FOREACH statement IN ARRAY put_back LOOP
        step := step + 1;
        RETURN NEXT;
    END LOOP;

    purpose := 'Citus cannot plan the parameters of functions in SQL';
    FOR target IN
        SELECT p.oid, sales_internal.in_plpgsql(p.oid) AS definition
        FROM pg_proc p JOIN pg_language l ON l.oid = p.prolang AND l.lanname = 'sql'
        JOIN pg_depend d ON d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.deptype = 'e'
        JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'sales_assistant'
        WHERE p.prosrc ~ '\msales(_internal)?\.' AND p.pronargs > 0 AND p.prokind = 'f' AND p.prosqlbody IS NULL
          AND p.proname NOT IN ('placement')
          -- what names a table that is spread, or a function that may
          AND EXISTS (SELECT FROM pg_class c
                      WHERE c.relkind IN ('r', 'p', 'v') AND c.relnamespace IN ('sales'::regnamespace, 'sales_internal'::regnamespace)
                        AND strpos(p.prosrc, c.relname) > 0
                        AND (c.relkind = 'v' OR sales_internal.placement(c.oid) <> 'coordinator'))
        ORDER BY p.oid::regprocedure::text
    LOOP
        step := step + 1; done := false; statement := target.definition;
        RETURN NEXT;
    END LOOP;

    purpose := 'digests depend on the key alone, which all nodes share: as such they may stand in an UPDATE of spread rows';
    FOR target IN SELECT p.oid::regprocedure AS name, p.provolatile = 'i' AS done FROM pg_proc p
                  WHERE p.pronamespace = 'sales_internal'::regnamespace AND p.proname IN ('audit_digest', 'audit_values_digest', 'audit_mac')
                  ORDER BY p.oid::regprocedure::text
    LOOP
        step := step + 1; done := target.done;
        statement := format('ALTER FUNCTION %s IMMUTABLE', target.name);
        RETURN NEXT;
    END LOOP;

    purpose := 'the worker does what triggers on other nodes ask of the coordinator';
    step := step + 1;
    statement := 'INSERT INTO sales_internal.periodic_tasks (name, every, run_function) VALUES (''shard requests'', ''1 second'', ''sales_internal.drain_shard_requests'') ON CONFLICT (name) DO NOTHING';
    done := EXISTS (SELECT FROM sales_internal.periodic_tasks t WHERE t.name = 'shard requests');
    RETURN NEXT;

    purpose := 'triggers run where the rows are, also those that maintain() gives to new partitions';
    step := step + 1;
    statement := format('ALTER DATABASE %I SET citus.enable_unsafe_triggers = on', current_database());
    done := EXISTS (SELECT FROM pg_db_role_setting s JOIN pg_database b ON b.oid = s.setdatabase
                    WHERE b.datname = current_database() AND s.setrole = 0 AND 'citus.enable_unsafe_triggers=on' = ANY (s.setconfig));
    RETURN NEXT;
END
$$;
COMMENT ON FUNCTION sales_internal.distribute_plan(integer) IS 'Steps of sales.distribute(), in order, and which are done; needs no Citus';
REVOKE ALL ON FUNCTION sales_internal.distribute_plan(integer) FROM PUBLIC;

-- What stands in the way, first things first.
CREATE OR REPLACE FUNCTION sales_internal.distribute_check() RETURNS void
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    version text := (SELECT extversion FROM pg_extension WHERE extname = 'citus');
    own_keys text;
    bad text;
    workers integer;
BEGIN
    IF version IS NULL THEN
        RAISE feature_not_supported USING
            MESSAGE = 'this database is not part of a Citus cluster',
            DETAIL = 'The extension citus is not installed here.',
            HINT = 'Install Citus 13 on a coordinator and its workers (shared_preload_libraries = ''citus, sales_assistant''), CREATE EXTENSION citus, '
                   'and add the nodes; sales.distribute(plan_only => true) shows what would be done. See docs/citus.md.';
    ELSIF split_part(version, '.', 1)::integer < 13 THEN
        RAISE feature_not_supported USING
            MESSAGE = format('Citus %s is too old', version), HINT = 'Upgrade to Citus 13 or later on all nodes, then ALTER EXTENSION citus UPDATE.';
    END IF;
    IF NOT (SELECT rolsuper FROM pg_roles WHERE rolname = session_user) THEN
        RAISE insufficient_privilege USING MESSAGE = 'distribute() is for superusers', HINT = 'Connect to the coordinator as a superuser.';
    END IF;
    EXECUTE 'SELECT count(*) FROM pg_catalog.pg_dist_node WHERE isactive AND shouldhaveshards AND groupid <> 0' INTO workers;
    EXECUTE 'SELECT ''x'' FROM pg_catalog.pg_dist_local_group WHERE groupid <> 0' INTO bad;
    IF bad IS NOT NULL THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = 'this is a worker of the cluster', HINT = 'Call sales.distribute() on the coordinator.';
    ELSIF workers = 0 THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = 'the cluster has no worker',
            HINT = 'SELECT citus_set_coordinator_host(...), then citus_add_node(host, port) for each worker.';
    END IF;
    EXECUTE 'SELECT ''x'' WHERE NOT EXISTS (SELECT FROM pg_catalog.pg_dist_node WHERE groupid = 0)' INTO bad;
    IF bad IS NOT NULL THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = 'the coordinator is not in the cluster''s metadata',
            HINT = 'SELECT citus_set_coordinator_host(''its address'').';
    END IF;
    PERFORM sales_internal.share_key();
    own_keys := sales_internal.key_fingerprint();
    FOR bad IN EXECUTE $q$
        SELECT format('%s:%s: %s', n.nodename, n.nodeport, CASE
            WHEN NOT r.success THEN r.result
            WHEN r.result LIKE '%|f|%' THEN 'the library is not preloaded; shared_preload_libraries = ''citus, sales_assistant'''
            ELSE 'it did not take the keys that nodes share' END)
        FROM pg_catalog.run_command_on_workers($w$SELECT concat_ws('|', '', current_setting('shared_preload_libraries') ~ 'sales_assistant', sales_internal.key_fingerprint())$w$) r
        JOIN pg_catalog.pg_dist_node n ON n.nodename = r.nodename AND n.nodeport = r.nodeport
        WHERE NOT r.success OR r.result <> '|t|' || $1 $q$ USING own_keys
    LOOP
        RAISE object_not_in_prerequisite_state USING MESSAGE = 'a worker is not ready', DETAIL = bad,
            HINT = 'Each node has the same version of the extension''s files, preloads the library after citus, and can write beside its sales_assistant.key_file.';
    END LOOP;
    IF current_setting('shared_preload_libraries') !~ 'citus.*sales_assistant' THEN
        RAISE object_not_in_prerequisite_state USING MESSAGE = 'the library is not preloaded after citus',
            HINT = 'Set shared_preload_libraries = ''citus, sales_assistant'' on each node and restart it.';
    END IF;
    FOR bad IN
        SELECT c.oid::regclass FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attisdropped
        WHERE sales_internal.placement(c.oid) = 'tenant' AND c.oid <> ALL (sales_internal.citus_tables()) LIMIT 1
    LOOP
        RAISE object_not_in_prerequisite_state USING MESSAGE = format('table %s has a dropped column', bad),
            HINT = 'Dump the database, restore it into a fresh one on the coordinator, and distribute that.';
    END LOOP;
END
$$;
COMMENT ON FUNCTION sales_internal.distribute_check() IS 'Error with a hint where the cluster is not ready for sales.distribute()';
REVOKE ALL ON FUNCTION sales_internal.distribute_check() FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales.distribute(plan_only boolean DEFAULT false, shard_count integer DEFAULT 32)
RETURNS TABLE (step integer, purpose text, statement text, done boolean)
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET check_function_bodies = off
AS $$
#variable_conflict use_column
DECLARE
    planned record;
BEGIN
    IF shard_count NOT BETWEEN 1 AND 64000 OR shard_count IS NULL THEN
        RAISE invalid_parameter_value USING MESSAGE = 'shard_count is from 1 to 64000', HINT = 'The default is 32; take some more than workers you will ever have, times their cores.';
    ELSIF plan_only IS NOT FALSE THEN
        RETURN QUERY SELECT * FROM sales_internal.distribute_plan(shard_count);
        RETURN;
    END IF;
    PERFORM sales_internal.distribute_check();
    -- One at a time; all of it in this transaction, so an interruption leaves nothing half done.
    PERFORM sales_internal.take_lock(hashtext('sales.distribute'));
    -- Tables are locked one after the other, in another order than the worker's.
    PERFORM sales_internal.pause_workers();
    PERFORM set_config('citus.multi_shard_modify_mode', 'sequential', true), set_config('citus.enable_unsafe_triggers', 'on', true),
            set_config('client_min_messages', 'warning', true);
    FOR planned IN SELECT *, count(*) OVER () AS total FROM sales_internal.distribute_plan(shard_count) LOOP
        IF NOT planned.done THEN
            PERFORM sales_internal.note_progress('distribute', NULL, planned.purpose, planned.step - 1, planned.total);
            EXECUTE planned.statement;
        END IF;
        step := planned.step; purpose := planned.purpose; statement := planned.statement; done := true;
        RETURN NEXT;
    END LOOP;
    PERFORM sales_internal.end_progress('distribute');
END
$$;
COMMENT ON FUNCTION sales.distribute(boolean, integer) IS
    'Spreads the tenants'' tables over the workers of a Citus 13 cluster; plan_only prints the statements and needs no Citus. Returns the steps; one that was done before is not done again';
REVOKE ALL ON FUNCTION sales.distribute(boolean, integer) FROM PUBLIC;
