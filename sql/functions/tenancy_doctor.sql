-- What would let rows through, found by reading the catalogue.  test_isolation()
-- tries; this names logins, policies, grants and views, with the statement that
-- mends each.

-- Views of any schema through which rows of tenant tables are read, by other views
-- too.  Loose is one that reads them with its owner's rights: it says so of itself
-- above a table or a loose view; above an invoker's view the reader's rights count
-- again, but for a materialized view, which its owner fills.
CREATE OR REPLACE FUNCTION sales_internal.tenant_views(OUT view oid, OUT is_loose boolean) RETURNS SETOF record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE readers AS (
        SELECT c.oid, c.relkind, true AS gives_all FROM pg_class c
        WHERE c.relnamespace = 'sales'::regnamespace AND c.relkind IN ('r', 'p')
          AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'company_id' AND NOT a.attisdropped)
        UNION
        SELECT c.oid, c.relkind,
               c.relkind = 'm' OR (r.gives_all AND NOT coalesce(c.reloptions, '{}')
                                   && '{security_invoker=true,security_invoker=on,security_invoker=1,security_invoker=yes}')
        FROM readers r
        JOIN pg_depend d ON d.refclassid = 'pg_class'::regclass AND d.refobjid = r.oid AND d.classid = 'pg_rewrite'::regclass
        JOIN pg_rewrite w ON w.oid = d.objid
        JOIN pg_class c ON c.oid = w.ev_class)
    SELECT r.oid, bool_or(r.gives_all) FROM readers r WHERE r.relkind IN ('v', 'm') GROUP BY r.oid
$$;
COMMENT ON FUNCTION sales_internal.tenant_views() IS
    'Views and materialized views, of any schema, that read tenant tables, and whether they do so with their owner''s rights';
REVOKE ALL ON FUNCTION sales_internal.tenant_views() FROM PUBLIC;

-- What anybody but the owner holds on relations of our schemas, their columns too.
CREATE OR REPLACE FUNCTION sales_internal.foreign_grants(
    OUT relation regclass, OUT schema regnamespace, OUT is_partition boolean, OUT grantee oid, OUT holder text, OUT privilege text)
RETURNS SETOF record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    SELECT h.relation, h.relnamespace, h.relispartition, h.grantee,
           CASE WHEN h.grantee = 0 THEN 'PUBLIC' ELSE h.grantee::regrole::text END,
           string_agg(DISTINCT h.privilege, ', ' ORDER BY h.privilege)
    FROM (SELECT c.oid::regclass AS relation, c.relnamespace, c.relispartition, g.grantee, g.privilege_type AS privilege
          FROM pg_class c CROSS JOIN LATERAL aclexplode(c.relacl) g WHERE g.grantee <> c.relowner
          UNION ALL
          SELECT c.oid::regclass, c.relnamespace, c.relispartition, g.grantee, format('%s (%I)', g.privilege_type, a.attname)
          FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND NOT a.attisdropped
          CROSS JOIN LATERAL aclexplode(a.attacl) g WHERE g.grantee <> c.relowner) h
    WHERE h.relnamespace IN ('sales'::regnamespace, 'sales_bi'::regnamespace, 'sales_internal'::regnamespace)
    GROUP BY h.relation, h.relnamespace, h.relispartition, h.grantee
$$;
COMMENT ON FUNCTION sales_internal.foreign_grants() IS
    'Rights on relations of the extension''s schemas that others than their owners hold, one row for each holder';
REVOKE ALL ON FUNCTION sales_internal.foreign_grants() FROM PUBLIC;

-- Logins of applications, and what each may become by SET ROLE.
CREATE OR REPLACE FUNCTION sales_internal.application_logins(OUT login name, OUT becomes oid) RETURNS SETOF record
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    WITH RECURSIVE roles AS (
        SELECT r.rolname, r.oid FROM pg_roles r WHERE r.rolcanlogin
        UNION
        SELECT r.rolname, m.roleid FROM roles r JOIN pg_auth_members m ON m.member = r.oid)
    SELECT r.rolname, r.oid FROM roles r
    WHERE r.rolname IN (SELECT x.rolname FROM roles x JOIN pg_roles g ON g.oid = x.oid
                        WHERE g.rolname IN ('sales_app', 'sales_bi', 'sales_gateway'))
$$;
COMMENT ON FUNCTION sales_internal.application_logins() IS
    'Logins that are members of sales_app, sales_bi or sales_gateway, each with itself and every role that it is a member of';
REVOKE ALL ON FUNCTION sales_internal.application_logins() FROM PUBLIC;

CREATE OR REPLACE FUNCTION sales_internal.doctor_tenancy() RETURNS TABLE (severity text, finding text, hint text)
LANGUAGE sql STABLE
SET search_path = pg_catalog, pg_temp
AS $$
    -- logins
    SELECT 'error', format('login "%s" is an application''s and skips row security', r.rolname),
           format('ALTER ROLE %I NOSUPERUSER NOBYPASSRLS;', r.rolname)
    FROM pg_roles r
    WHERE (r.rolsuper OR r.rolbypassrls) AND r.rolname IN (SELECT l.login FROM sales_internal.application_logins() l)
    UNION ALL
    SELECT 'error', format('login "%s" is an application''s and may become "%s", who %s', l.login, r.rolname,
                           CASE WHEN r.rolsuper OR r.rolbypassrls THEN 'skips row security' ELSE 'owns tables of tenants' END),
           format('REVOKE %I FROM the roles that lead from %I to it.', r.rolname, l.login)
    FROM sales_internal.application_logins() l JOIN pg_roles r ON r.oid = l.becomes
    WHERE NOT EXISTS (SELECT FROM pg_roles x WHERE x.rolname = l.login AND (x.rolsuper OR x.rolbypassrls))
      AND (r.rolsuper OR r.rolbypassrls
           OR EXISTS (SELECT FROM pg_class c WHERE c.relowner = r.oid AND c.relkind IN ('r', 'p', 'v')
                      AND c.relnamespace IN ('sales'::regnamespace, 'sales_bi'::regnamespace, 'sales_internal'::regnamespace)))
    UNION ALL
    -- tables and their policies
    SELECT 'error', format('table %s has no forced row security', c.oid::regclass),
           format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY; ALTER TABLE %s FORCE ROW LEVEL SECURITY;', c.oid::regclass, c.oid::regclass)
    FROM pg_class c
    WHERE c.relnamespace = 'sales'::regnamespace AND c.relkind IN ('r', 'p') AND NOT (c.relrowsecurity AND c.relforcerowsecurity)
      AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'company_id' AND NOT a.attisdropped)
    UNION ALL
    SELECT 'error', format('table %s lacks the policy %s, which keeps companies apart', c.oid::regclass, p.name),
           format('CREATE POLICY %1$s ON %2$s AS RESTRICTIVE FOR %3$s %4$s (company_id = sales.company_allowing(%5$L, %6$L));', p.name, c.oid::regclass,
                  p.command, CASE p.command WHEN 'INSERT' THEN 'WITH CHECK' ELSE 'USING' END, c.relname, p.action)
    FROM pg_class c
    CROSS JOIN (VALUES ('r', 'tenant_read', 'SELECT', 'read'), ('a', 'tenant_create', 'INSERT', 'create'),
                       ('w', 'tenant_update', 'UPDATE', 'update'), ('d', 'tenant_delete', 'DELETE', 'delete')) p (code, name, command, action)
    WHERE c.relnamespace = 'sales'::regnamespace AND c.relkind IN ('r', 'p') AND NOT c.relispartition AND sales_internal.is_granted(c.oid)
      AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'company_id' AND NOT a.attisdropped)
      AND NOT EXISTS (SELECT FROM pg_policy x
                      WHERE x.polrelid = c.oid AND x.polcmd::text IN (p.code, '*') AND x.polroles = '{0}'
                        -- on a cluster it is the command's only permissive one
                        AND (NOT x.polpermissive
                             OR NOT EXISTS (SELECT FROM pg_policy o WHERE o.polrelid = c.oid AND o.oid <> x.oid AND o.polpermissive AND o.polcmd IN (p.code::"char", '*')))
                        AND strpos(pg_get_expr(coalesce(CASE p.code WHEN 'a' THEN x.polwithcheck END, x.polqual), c.oid),
                                   format('company_allowing(%L', c.relname)) > 0)
    UNION ALL
    SELECT 'note', format('policy %I on %s is not the extension''s: a dump does not keep it', x.polname, x.polrelid::regclass),
           'Keep the statement that makes it; after a restore it must be made again.'
    FROM pg_policy x JOIN pg_class c ON c.oid = x.polrelid
    WHERE c.relnamespace = 'sales'::regnamespace AND x.polname NOT IN ('app', 'tenant_read', 'tenant_create', 'tenant_update', 'tenant_delete')
    UNION ALL
    SELECT 'error', format('trigger %I on %s is off', t.tgname, t.tgrelid::regclass),
           format('ALTER TABLE %s ENABLE TRIGGER %I;', t.tgrelid::regclass, t.tgname)
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace IN ('sales'::regnamespace, 'sales_internal'::regnamespace) AND NOT t.tgisinternal AND t.tgenabled = 'D'
      -- switched by the library; doctor_rollup() speaks of the other
      AND t.tgname <> 'replace_seed' AND t.tgfoid <> 'sales_internal.mark_metrics()'::regprocedure
    UNION ALL
    -- grants
    SELECT 'error', format('table %s can be reached by %s without its parent''s policies', g.relation, g.holder),
           format('REVOKE ALL ON %s FROM %s;', g.relation, g.holder)
    FROM sales_internal.foreign_grants() g WHERE g.is_partition
    UNION ALL
    SELECT 'error', format('%s holds a privilege in sales_internal', g.holder), format('REVOKE %s ON %s FROM %s;', g.privilege, g.relation, g.holder)
    FROM sales_internal.foreign_grants() g WHERE g.schema = 'sales_internal'::regnamespace
    UNION ALL
    SELECT 'warning', format('%s holds %s on %s, which the extension did not grant', g.holder, g.privilege, g.relation),
           format('REVOKE %s ON %s FROM %s, or grant the group role sales_app or sales_bi instead.', g.privilege, g.relation, g.holder)
    FROM sales_internal.foreign_grants() g
    WHERE g.schema <> 'sales_internal'::regnamespace AND NOT g.is_partition
      AND NOT EXISTS (SELECT FROM pg_roles r WHERE r.oid = g.grantee AND r.rolname IN ('sales_app', 'sales_bi', 'sales_gateway', 'sales_admin', 'pg_monitor'))
    UNION ALL
    SELECT 'error', format('%s holds %s on schema %I', CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END, g.privilege_type, n.nspname),
           format('REVOKE %s ON SCHEMA %I FROM %s;', g.privilege_type, n.nspname, CASE WHEN g.grantee = 0 THEN 'PUBLIC' ELSE g.grantee::regrole::text END)
    FROM pg_namespace n CROSS JOIN LATERAL aclexplode(n.nspacl) g
    WHERE n.nspname IN ('sales', 'sales_bi', 'sales_internal') AND g.grantee <> n.nspowner
      AND (g.privilege_type = 'CREATE' OR n.nspname = 'sales_internal' OR g.grantee = 0)
    UNION ALL
    SELECT 'warning', format('PUBLIC may call %s', p.oid::regprocedure), format('REVOKE ALL ON FUNCTION %s FROM PUBLIC;', p.oid::regprocedure)
    FROM pg_proc p CROSS JOIN LATERAL aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) g
    WHERE p.pronamespace IN ('sales'::regnamespace, 'sales_bi'::regnamespace, 'sales_internal'::regnamespace) AND g.grantee = 0
      AND NOT EXISTS (SELECT FROM pg_depend d JOIN pg_extension e ON e.oid = d.refobjid AND e.extname = 'btree_gist'
                      WHERE d.classid = 'pg_proc'::regclass AND d.objid = p.oid AND d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e')
    UNION ALL
    SELECT 'error', format('function %s runs as its owner with the caller''s search_path', p.oid::regprocedure),
           format('ALTER FUNCTION %s SET search_path = pg_catalog, pg_temp;', p.oid::regprocedure)
    FROM pg_proc p
    WHERE p.pronamespace IN ('sales'::regnamespace, 'sales_bi'::regnamespace, 'sales_internal'::regnamespace)
      AND p.prosecdef AND NOT coalesce(p.proconfig, '{}') @> '{"search_path=pg_catalog, pg_temp"}'
    UNION ALL
    -- views: those that are no one's but their owner's let nobody through yet, and outside our schemas they are not our business
    SELECT CASE WHEN sales_internal.is_granted(c.oid) THEN 'error' ELSE 'warning' END,
           format('view %s does not run with its reader''s rights', c.oid::regclass),
           format('ALTER VIEW %s SET (security_invoker = true);', c.oid::regclass)
    FROM sales_internal.tenant_views() t JOIN pg_class c ON c.oid = t.view
    WHERE t.is_loose AND c.relkind = 'v'
      AND (sales_internal.is_granted(c.oid) OR c.relnamespace IN ('sales'::regnamespace, 'sales_bi'::regnamespace))
      -- these say themselves whose rows they show
      AND c.relnamespace <> 'sales_internal'::regnamespace AND c.oid NOT IN ('sales.jobs'::regclass, 'sales.worker_status'::regclass)
    UNION ALL
    SELECT 'error', format('materialized view %s keeps rows of all companies, and has no row security', c.oid::regclass),
           format('REVOKE ALL ON %s FROM those who hold it, and give them a view with a WHERE on their company.', c.oid::regclass)
    FROM sales_internal.tenant_views() t JOIN pg_class c ON c.oid = t.view
    WHERE c.relkind = 'm' AND sales_internal.is_granted(c.oid)
$$;
COMMENT ON FUNCTION sales_internal.doctor_tenancy() IS 'Part of doctor(): who could see past row security';
REVOKE ALL ON FUNCTION sales_internal.doctor_tenancy() FROM PUBLIC;
