-- Audit: exports on record, the chain over the log, and proofs.

CREATE OR REPLACE FUNCTION sales.record_export(table_name text, record_ids uuid[], gdpr_basis text) RETURNS void
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
AS $$
DECLARE
    company uuid := sales_internal.require_company();
BEGIN
    IF table_name IS NULL OR record_ids IS NULL THEN
        RAISE null_value_not_allowed USING MESSAGE = 'an export has a table and records',
            HINT = 'Call sales.record_export(table_name, record_ids, gdpr_basis).';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
                   WHERE c.relnamespace = 'sales'::regnamespace AND c.relname = record_export.table_name
                     AND c.relkind IN ('r', 'p') AND NOT c.relispartition
                     AND a.attname = 'company_id' AND NOT a.attisdropped) THEN
        RAISE undefined_table USING MESSAGE = format('"%s" is no table of a company''s rows', left(table_name, 100)),
            HINT = 'Name a table of schema sales without its schema, such as prospects.';
    END IF;
    PERFORM sales_internal.require(table_name, 'export');
    PERFORM sales_internal.audit_note(company, sales.current_user_id(), 'export', table_name, id, gdpr_basis => record_export.gdpr_basis)
    FROM unnest(record_ids) id WHERE id IS NOT NULL;
END
$$;
COMMENT ON FUNCTION sales.record_export(text, uuid[], text) IS
    'Puts an export on record: one audit row for each record that leaves; needs the permission export on the table';
REVOKE ALL ON FUNCTION sales.record_export(text, uuid[], text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.record_export(text, uuid[], text) TO sales_app;

-- --- sealing ---

-- The bytes that a link of the chain is the MAC of.
CREATE OR REPLACE FUNCTION sales_internal.audit_link(
    company uuid, seal_no bigint, month date, sealed_at timestamptz, previous bytea, entries bytea) RETURNS bytea
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT uuid_send(company) || int8send(seal_no) || int4send(month - date '2000-01-01') || int8send((extract(epoch FROM sealed_at) * 1000000)::bigint)
           || coalesce(previous, '') || int4send(length(entries)) || entries
$$;
COMMENT ON FUNCTION sales_internal.audit_link(uuid, bigint, date, timestamptz, bytea, bytea) IS
    'What a link of the chain covers: its place, month and time, the link before, and ids and digests of its rows';
REVOKE ALL ON FUNCTION sales_internal.audit_link(uuid, bigint, date, timestamptz, bytea, bytea) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.seal_lock_key(company uuid) RETURNS bigint
LANGUAGE sql IMMUTABLE
SET search_path = pg_catalog, pg_temp
AS $$ SELECT hashtextextended('sales_assistant seal_audit ' || company, 0) $$;
COMMENT ON FUNCTION sales_internal.seal_lock_key(uuid) IS 'Lock (take_lock) of whoever seals a company''s audit rows';
REVOKE ALL ON FUNCTION sales_internal.seal_lock_key(uuid) FROM PUBLIC;

-- Seals the rows that are in no link yet.  The order of commits does not matter:
-- a row that a long transaction wrote is found by the pass after its commit, as
-- rows are compared with links.  What a pass costs follows the rows since the
-- pass before the last one, and not how long transactions are open.
--
-- Why no row is missed.  A transaction has its number before it makes the id of
-- an audit row (the change itself, or the lock on its company, takes the number),
-- and ids open with the time they were made at.  A pass notes a cut: its own
-- number, and a time before it had that.  Later numbers were given later, so
-- their ids are later than the cut's time.  So what a pass did not see and is
-- older than its cut was written by a transaction that was open then, with a
-- number up to the cut's.  Those that are open at the next pass too are kept in a
-- list (prepared ones and those of other databases count), each with the time
-- that its ids are later than; others have ended by then, and that pass looks
-- back to the cut before, the horizon, and sees their rows.  While a transaction
-- in the list is open its rows cannot be seen, and nobody looks for them; the
-- first pass that finds it ended looks back to its time.
--
-- A minute is left for a clock that is set back; a row that a larger step hides
-- is called "not sealed yet" by verify_audit(), and seal_audit(NULL, true) looks
-- at everything.
--
-- Rows and links are compared by one sort, and rows are found by their key: a
-- join, or a look at the whole table, is what the planner may come to think right
-- while it has no statistics.
CREATE OR REPLACE FUNCTION sales_internal.seal_audit(wanted uuid DEFAULT NULL, everything boolean DEFAULT false) RETURNS bigint
LANGUAGE plpgsql
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
SET enable_seqscan = off
AS $$
DECLARE
    since uuid := '00000000-0000-0000-0000-000000000000';
    state sales_internal.audit_sealing;
    running pg_snapshot;
    look_back timestamptz;
    still_open xid8[];
    still_since timestamptz[];
    part record;
    last sales_internal.audit_seals;
    company uuid;
    is_free boolean;
    passed_over boolean := false;
    sealed bigint := 0;
    moment timestamptz := clock_timestamp();
BEGIN
    -- One at a time for each company: a company that holds its own lock keeps nobody else waiting.
    IF wanted IS NOT NULL THEN
        PERFORM sales_internal.take_lock(sales_internal.seal_lock_key(wanted));
    ELSIF NOT sales_internal.take_lock(hashtextextended('sales_assistant seal_audit', 0), false) THEN
        RETURN 0;
    END IF;
    SELECT * INTO state FROM sales_internal.audit_sealing;
    -- before the rows are read: who has ended by now is seen then
    running := pg_current_snapshot();
    look_back := least(state.horizon, (SELECT min(o.since) FROM unnest(state.open_xids, state.open_since) o (xid, since)
                                       WHERE pg_visible_in_snapshot(o.xid, running)));
    IF NOT everything AND isfinite(look_back) THEN
        since := (lpad(to_hex((extract(epoch FROM look_back - interval '1 minute') * 1000)::bigint), 12, '0') || repeat('0', 20))::uuid;
    END IF;
    FOR part IN
        WITH rows AS MATERIALIZED (
            SELECT l.company_id, l.audit_id, date_trunc('month', l.created_at)::date AS month, l.digest
            FROM sales.audit_logs l
            WHERE l.audit_id >= since AND l.company_id IS NOT DISTINCT FROM coalesce(wanted, l.company_id)),
        links AS MATERIALIZED (
            SELECT s.company_id, id AS audit_id FROM sales_internal.audit_seals s, unnest(s.ids) id
            WHERE s.last_id >= since AND id >= since AND s.company_id IS NOT DISTINCT FROM coalesce(wanted, s.company_id)),
        compared AS (
            SELECT b.*, bool_or(b.is_link) OVER (PARTITION BY b.company_id, b.audit_id) AS is_sealed
            FROM (SELECT r.*, false AS is_link FROM rows r UNION ALL SELECT k.company_id, k.audit_id, NULL, NULL, true FROM links k) b),
        fresh AS (
            SELECT c.*, (row_number() OVER (PARTITION BY c.company_id, c.month ORDER BY c.audit_id) - 1) / 5000 AS chunk
            FROM compared c WHERE NOT c.is_sealed)
        SELECT f.company_id, f.month, array_agg(f.audit_id ORDER BY f.audit_id) AS ids,
               (SELECT max(s.seal_no) FROM sales_internal.audit_seals s WHERE s.company_id = f.company_id) AS last_no,
               string_agg(uuid_send(f.audit_id) || coalesce(f.digest, ''), '' ORDER BY f.audit_id) AS entries
        FROM fresh f GROUP BY f.company_id, f.month, f.chunk ORDER BY f.company_id, f.month, f.chunk
    LOOP
        IF part.company_id IS DISTINCT FROM company THEN
            company := part.company_id;
            is_free := wanted IS NOT NULL OR sales_internal.take_lock(sales_internal.seal_lock_key(company), false);
            SELECT * INTO last FROM sales_internal.audit_seals s WHERE s.company_id = company ORDER BY s.seal_no DESC LIMIT 1;
            -- sealed by another since these rows were read
            is_free := is_free AND last.seal_no IS NOT DISTINCT FROM part.last_no;
            passed_over := passed_over OR NOT is_free;
        END IF;
        CONTINUE WHEN NOT is_free;
        INSERT INTO sales_internal.audit_seals (company_id, seal_no, month, ids, last_id, sealed_at, chain)
        VALUES (part.company_id, coalesce(last.seal_no, 0) + 1, part.month, part.ids, part.ids[cardinality(part.ids)], moment,
                sales_internal.audit_mac(sales_internal.audit_link(part.company_id, coalesce(last.seal_no, 0) + 1, part.month, moment,
                                                                   last.chain, part.entries), NULL))
        -- taken by another since an old snapshot: a serialization failure, which says to try again
        ON CONFLICT (company_id, seal_no) DO NOTHING
        RETURNING * INTO last;
        sealed := sealed + cardinality(part.ids);
    END LOOP;
    -- What was passed over is found by the next pass, as the horizon stays where it is.
    IF wanted IS NOT NULL OR passed_over THEN
        RETURN sealed;
    END IF;
    -- a transaction that is not in the list, and has a number up to the cut's, makes ids later than the horizon
    SELECT coalesce(array_agg(x), '{}'), coalesce(array_agg(coalesce(o.since, state.horizon)), '{}') INTO still_open, still_since
    FROM pg_snapshot_xip(running) x LEFT JOIN unnest(state.open_xids, state.open_since) o (xid, since) ON o.xid = x
    WHERE x <= state.cut_xid;
    -- now() is before any snapshot of this transaction and before its number
    IF sealed > 0 THEN
        INSERT INTO sales_internal.audit_sealing (horizon, cut_xid, cut_at, open_xids, open_since)
        VALUES (coalesce(state.cut_at, '-infinity'), pg_current_xact_id(), now(), still_open, still_since)
        ON CONFLICT (only_one) DO UPDATE SET horizon = excluded.horizon, cut_xid = excluded.cut_xid, cut_at = excluded.cut_at,
                                             open_xids = excluded.open_xids, open_since = excluded.open_since;
    ELSIF state.cut_at > state.horizon OR look_back < state.horizon THEN
        UPDATE sales_internal.audit_sealing SET horizon = state.cut_at, open_xids = still_open, open_since = still_since;
    END IF;
    RETURN sealed;
END
$$;
COMMENT ON FUNCTION sales_internal.seal_audit(uuid, boolean) IS
    'Seals audit rows that no link of the chain covers yet, of one company or all, and returns how many';
REVOKE ALL ON FUNCTION sales_internal.seal_audit(uuid, boolean) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.seal_audit_task() RETURNS bigint
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$ SELECT sales_internal.seal_audit() $$;
COMMENT ON FUNCTION sales_internal.seal_audit_task() IS 'Periodic task: seals new audit rows';
REVOKE ALL ON FUNCTION sales_internal.seal_audit_task() FROM PUBLIC;

-- --- verifying ---

-- Rows before that time are gone by retention: said with a MAC, so that nobody
-- else can say it.
CREATE OR REPLACE FUNCTION sales_internal.audit_expired(company uuid, before timestamptz) RETURNS void
LANGUAGE sql
SET search_path = pg_catalog, pg_temp
AS $$
    INSERT INTO sales_internal.audit_expiries (company_id, before, mac)
    VALUES (company, before, sales_internal.audit_mac(convert_to('expired', 'UTF8') || uuid_send(company)
                                                      || int8send((extract(epoch FROM before) * 1000000)::bigint), NULL))
    ON CONFLICT (company_id) DO UPDATE SET before = excluded.before, mac = excluded.mac
    WHERE excluded.before > audit_expiries.before
$$;
COMMENT ON FUNCTION sales_internal.audit_expired(uuid, timestamptz) IS
    'Notes that a company''s audit rows before a month''s start are gone by retention; their links stay as anchors';
REVOKE ALL ON FUNCTION sales_internal.audit_expired(uuid, timestamptz) FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.verify_audit_of(company uuid, first_month date, last_month date)
RETURNS TABLE (period date, rows bigint, ok boolean, detail text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
    WITH expiry AS (
        SELECT max(e.before) AS before FROM sales_internal.audit_expiries e
        WHERE e.company_id = company
          AND e.mac = sales_internal.audit_mac(convert_to('expired', 'UTF8') || uuid_send(company)
                                               || int8send((extract(epoch FROM e.before) * 1000000)::bigint), e.mac)),
    seals AS (
        SELECT s.seal_no, s.month, s.ids, s.sealed_at, s.chain, p.chain AS previous,
               p.seal_no IS NULL AND s.seal_no > 1 AS torn, coalesce(s.month < (SELECT e.before::date FROM expiry e), false) AS is_expired
        FROM sales_internal.audit_seals s
        LEFT JOIN sales_internal.audit_seals p ON p.company_id = company AND p.seal_no = s.seal_no - 1
        WHERE s.company_id = company AND s.month BETWEEN first_month AND last_month),
    sealed AS (
        SELECT s.seal_no, s.month, s.is_expired, u.id, u.place FROM seals s, unnest(s.ids) WITH ORDINALITY u (id, place)),
    present AS (
        SELECT l.audit_id, date_trunc('month', l.created_at)::date AS month, l.digest, l.values_digest IS NOT NULL AS is_erased,
               l.values_digest IS NOT NULL AND (coalesce(l.old_values, '{}') <> '{}' OR coalesce(l.new_values, '{}') <> '{}') AS is_refilled,
               sales_internal.audit_digest(l.digest, l.values_digest, l.audit_id, l.company_id, l.user_id, l.table_name::text, l.record_id,
                                           l.action::text, l.old_values, l.new_values, l.ip_address::text, l.user_agent, l.gdpr_basis::text,
                                           l.created_at) AS expected
        FROM sales.audit_logs l
        WHERE l.company_id = company AND l.created_at >= first_month AND l.created_at < last_month + interval '1 month'),
    compared AS (
        SELECT coalesce(s.month, p.month) AS month, s.seal_no, s.id AS sealed_id, s.place, p.audit_id, p.digest, coalesce(p.is_erased, false) AS is_erased,
               p.audit_id IS NOT NULL AND p.expected IS NULL AND length(p.digest) = 32 AS no_key,
               p.audit_id IS NOT NULL AND (p.expected IS DISTINCT FROM p.digest OR p.is_refilled) AS misfit,
               p.audit_id IS NULL AND NOT s.is_expired AS missing,
               p.audit_id IS NULL AND s.is_expired AS gone
        FROM sealed s FULL JOIN present p ON p.audit_id = s.id AND p.month = s.month),
    links AS (
        SELECT s.month, s.seal_no, s.torn,
               s.is_expired OR s.chain IS NOT DISTINCT FROM sales_internal.audit_mac(
                   sales_internal.audit_link(company, s.seal_no, s.month, s.sealed_at, s.previous, c.entries), s.chain) AS holds
        FROM seals s
        LEFT JOIN LATERAL (SELECT string_agg(uuid_send(x.sealed_id) || coalesce(x.digest, ''), '' ORDER BY x.place) AS entries
                           FROM compared x WHERE x.seal_no = s.seal_no) c ON true),
    months AS (
        SELECT c.month, count(c.audit_id) AS present, count(*) FILTER (WHERE c.audit_id IS NOT NULL AND c.sealed_id IS NULL) AS unsealed,
               count(*) FILTER (WHERE c.is_erased) AS erased, count(*) FILTER (WHERE c.gone) AS gone,
               count(*) FILTER (WHERE c.missing) AS missing, (array_agg(c.sealed_id) FILTER (WHERE c.missing))[1] AS one_missing,
               count(*) FILTER (WHERE c.misfit AND NOT c.no_key) AS misfits,
               (array_agg(c.audit_id) FILTER (WHERE c.misfit AND NOT c.no_key))[1] AS one_misfit,
               count(*) FILTER (WHERE c.no_key) AS no_keys
        FROM compared c GROUP BY c.month),
    broken AS (
        SELECT l.month, count(*) FILTER (WHERE NOT l.holds) AS links, min(l.seal_no) FILTER (WHERE NOT l.holds) AS one_link,
               count(*) FILTER (WHERE l.torn) AS torn, min(l.seal_no) FILTER (WHERE l.torn) AS one_torn
        FROM links l GROUP BY l.month)
    SELECT m.month, m.present, m.missing = 0 AND m.misfits = 0 AND m.no_keys = 0 AND coalesce(b.links, 0) = 0 AND coalesce(b.torn, 0) = 0,
           concat_ws('; ',
               CASE WHEN m.misfits > 0 THEN format('%s rows were changed or added, such as %s', m.misfits, m.one_misfit) END,
               CASE WHEN m.missing > 0 THEN format('%s rows were removed, such as %s', m.missing, m.one_missing) END,
               CASE WHEN m.no_keys > 0 THEN format('%s rows were written under a master key that is not here', m.no_keys) END,
               CASE WHEN b.links > 0 THEN format('%s links of the chain do not hold, the first is number %s', b.links, b.one_link) END,
               CASE WHEN b.torn > 0 THEN format('links are missing before number %s', b.one_torn) END,
               CASE WHEN m.gone > 0 THEN format('%s rows are gone by retention, their links are kept', m.gone) END,
               CASE WHEN m.erased > 0 THEN format('the values of %s rows were erased', m.erased) END,
               CASE WHEN m.unsealed > 0 THEN format('%s rows are not sealed yet', m.unsealed) END)
    FROM months m LEFT JOIN broken b ON b.month = m.month ORDER BY m.month
$$;
COMMENT ON FUNCTION sales_internal.verify_audit_of(uuid, date, date) IS 'verify_audit() for one company and a range of months';
REVOKE ALL ON FUNCTION sales_internal.verify_audit_of(uuid, date, date) FROM PUBLIC;

-- The companies that the caller may prove something of: its own, or all.
CREATE OR REPLACE FUNCTION sales_internal.audit_scope() RETURNS SETOF uuid
LANGUAGE plpgsql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
BEGIN
    IF sales.current_company_id() IS NULL AND pg_has_role(session_user, 'sales_admin', 'MEMBER') THEN
        RETURN QUERY SELECT c.company_id FROM sales.companies c ORDER BY c.company_id;
        RETURN;
    END IF;
    PERFORM sales_internal.require_company(), sales_internal.require('audit_logs', 'read');
    RETURN NEXT sales.current_company_id();
END
$$;
COMMENT ON FUNCTION sales_internal.audit_scope() IS 'The current company; all of them for sales_admin without a tenant';
REVOKE ALL ON FUNCTION sales_internal.audit_scope() FROM PUBLIC;

-- What is said to be there cannot be taken away unseen afterwards: it is sealed
-- first, where this transaction can write, sees what others sealed, and need not
-- wait for one of them.
CREATE OR REPLACE FUNCTION sales.verify_audit("from" timestamptz DEFAULT NULL, "to" timestamptz DEFAULT NULL)
RETURNS TABLE (period date, rows bigint, ok boolean, detail text)
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    companies uuid[] := ARRAY(SELECT sales_internal.audit_scope());
    company uuid;
BEGIN
    IF current_setting('transaction_read_only') = 'off' AND current_setting('transaction_isolation') IN ('read committed', 'read uncommitted') THEN
        -- of all companies in one pass, as each reads what is recent of all; one by one where another is at such a pass
        IF cardinality(companies) > 1 AND sales_internal.take_lock(hashtextextended('sales_assistant seal_audit', 0), false) THEN
            PERFORM sales_internal.seal_audit();
        ELSE
            FOREACH company IN ARRAY companies LOOP
                PERFORM sales_internal.seal_audit(company) WHERE sales_internal.take_lock(sales_internal.seal_lock_key(company), false);
            END LOOP;
        END IF;
    END IF;
    RETURN QUERY
        SELECT v.period, v.rows, v.ok,
               CASE WHEN sales.current_company_id() IS NULL THEN concat_ws(': ', d.domain, nullif(v.detail, '')) ELSE v.detail END
        FROM unnest(companies) c JOIN sales.companies d ON d.company_id = c
        CROSS JOIN LATERAL sales_internal.verify_audit_of(c, coalesce(date_trunc('month', "from")::date, '2000-01-01'),
                                                          coalesce(date_trunc('month', "to")::date, '2999-12-01')) v
        ORDER BY v.period, c;
END
$$;
COMMENT ON FUNCTION sales.verify_audit(timestamptz, timestamptz) IS
    'Is the audit log as it was written?  A row for each month; where not ok, detail says what was changed, added or removed';
REVOKE ALL ON FUNCTION sales.verify_audit(timestamptz, timestamptz) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.verify_audit(timestamptz, timestamptz) TO sales_app, sales_admin;

-- --- anchors ---

CREATE OR REPLACE FUNCTION sales.audit_anchor() RETURNS jsonb
LANGUAGE plpgsql SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
DECLARE
    company uuid;
    heads jsonb := '[]';
BEGIN
    FOR company IN SELECT sales_internal.audit_scope() LOOP
        -- Who asks for all companies does not wait for one that holds its own lock.
        IF current_setting('transaction_read_only') = 'off' THEN
            PERFORM sales_internal.seal_audit(company)
            WHERE sales_internal.take_lock(sales_internal.seal_lock_key(company), sales.current_company_id() IS NOT NULL);
        END IF;
        heads := heads || coalesce((
            SELECT jsonb_agg(jsonb_build_object('company_id', m.company_id, 'period', m.month, 'rows', m.rows, 'seal', m.seal_no,
                                                'head', encode(s.chain, 'hex')) ORDER BY m.month)
            FROM (SELECT company_id, month, sum(cardinality(ids)) AS rows, max(seal_no) AS seal_no
                  FROM sales_internal.audit_seals WHERE company_id = company GROUP BY company_id, month) m
            JOIN sales_internal.audit_seals s ON s.company_id = m.company_id AND s.seal_no = m.seal_no), '[]');
    END LOOP;
    RETURN jsonb_build_object('version', 1, 'at', clock_timestamp(), 'database', current_database(), 'heads', heads);
END
$$;
COMMENT ON FUNCTION sales.audit_anchor() IS
    'The heads of the chain, to be kept where nobody who can write this database can; sales.verify_audit_anchor() compares later';
REVOKE ALL ON FUNCTION sales.audit_anchor() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.audit_anchor() TO sales_app, sales_admin;

CREATE OR REPLACE FUNCTION sales.verify_audit_anchor(anchor jsonb) RETURNS TABLE (period date, rows bigint, ok boolean, detail text)
LANGUAGE sql STABLE SECURITY DEFINER
SET search_path = pg_catalog, pg_temp
SET timezone = 'UTC'
AS $$
    SELECT h.period, coalesce(v.rows, 0), coalesce(v.ok, false) AND s.chain IS NOT DISTINCT FROM decode(h.head, 'hex') AND n.rows = h.rows,
           concat_ws('; ',
               CASE WHEN s.chain IS NULL THEN format('link %s of the anchor is missing', h.seal)
                    WHEN s.chain <> decode(h.head, 'hex') THEN format('link %s is not the anchor''s', h.seal)
                    WHEN n.rows IS DISTINCT FROM h.rows THEN format('the anchor has %s rows, the chain %s', h.rows, coalesce(n.rows, 0)) END,
               nullif(v.detail, ''))
    FROM jsonb_to_recordset(anchor -> 'heads') h (company_id uuid, period date, rows bigint, seal bigint, head text)
    JOIN sales_internal.audit_scope() c ON c = h.company_id
    LEFT JOIN sales_internal.audit_seals s ON s.company_id = h.company_id AND s.seal_no = h.seal AND s.month = h.period
    LEFT JOIN LATERAL (SELECT sum(cardinality(x.ids))::bigint AS rows FROM sales_internal.audit_seals x
                       WHERE x.company_id = h.company_id AND x.month = h.period AND x.seal_no <= h.seal) n ON true
    LEFT JOIN LATERAL sales_internal.verify_audit_of(h.company_id, h.period, h.period) v ON true
    ORDER BY h.period, h.company_id
$$;
COMMENT ON FUNCTION sales.verify_audit_anchor(jsonb) IS
    'Does the log still hold all that an exported anchor covers, unchanged?  A row for each month of the anchor';
REVOKE ALL ON FUNCTION sales.verify_audit_anchor(jsonb) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION sales.verify_audit_anchor(jsonb) TO sales_app, sales_admin;
