\getenv srcdir PG_ABS_SRCDIR
\set helpers :srcdir '/helpers.inc'
\i :helpers
-- distribute() without a cluster: what it would do, and what it says is missing.
\set VERBOSITY default
SELECT sales.distribute();
SELECT sales.distribute(shard_count => 0);
SELECT 'unchanged' AS database FROM pg_constraint WHERE conname = 'prospects_pkey' AND pg_get_constraintdef(oid) = 'PRIMARY KEY (prospect_id)';

SELECT statement FROM sales.distribute(plan_only => true, shard_count => 7)
WHERE statement LIKE '%create_distributed_table%' OR statement LIKE '%create_reference_table%' ORDER BY step;
SELECT statement FROM sales.distribute(plan_only => true) WHERE statement LIKE '%prospects %' AND purpose NOT LIKE '%functions in SQL%' ORDER BY step;

-- every table of a tenant is either spread or on the list of what stays
SELECT c.oid::regclass AS stays
FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
WHERE n.nspname IN ('sales', 'sales_internal') AND c.relkind IN ('r', 'p') AND NOT c.relispartition
  AND EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attname = 'company_id' AND NOT a.attisdropped)
  AND NOT EXISTS (SELECT FROM sales.distribute(plan_only => true) d
                  WHERE d.statement LIKE '%create_distributed_table(''' || c.oid::regclass || '''%')
ORDER BY c.oid::regclass::text COLLATE "C";
-- a table added later is placed by the same rule
BEGIN;
CREATE TABLE sales.later (later_id uuid PRIMARY KEY, company_id uuid NOT NULL REFERENCES sales.companies);
ALTER EXTENSION sales_assistant ADD TABLE sales.later;
SELECT statement FROM sales.distribute(plan_only => true) WHERE statement LIKE '%sales.later%' ORDER BY step;
ROLLBACK;

-- nobody but a superuser handles the key
SET ROLE sales_admin;
SELECT sales.distribute();
SELECT sales_internal.take_key(repeat('0', 64));
RESET ROLE;
SELECT length(sales_internal.key_fingerprint()) AS digits, sales_internal.on_shard(), sales_internal.citus_tables();
