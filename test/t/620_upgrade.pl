# ALTER EXTENSION UPDATE from each released version: afterwards the catalogue is
# that of a fresh install, object by object, every row is as it was, and the
# database works on.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('upgrade');
$node->init;
# without preload no worker makes partitions of its own meanwhile
$node->start;

my $current = $node->safe_psql('postgres', q{SELECT default_version FROM pg_available_extensions WHERE name = 'sales_assistant'});
my @released = split /\n/, $node->safe_psql('postgres',
	q{SELECT version FROM pg_available_extension_versions WHERE name = 'sales_assistant' AND version <> '} . $current . q{' ORDER BY version});
cmp_ok(scalar @released, '>=', 1, "there are released versions before $current: @released");

# Each query gives lines "kind: object = definition", without oids.
my $mine = q{('sales'::regnamespace, 'sales_bi'::regnamespace, 'sales_internal'::regnamespace)};
my %catalogue = (
	columns => qq{SELECT format('%s.%s %s notnull=%s default=%s acl=%s comment=%s storage=%s generated=%s', a.attrelid::regclass, a.attname,
		format_type(a.atttypid, a.atttypmod), a.attnotnull, pg_get_expr(d.adbin, d.adrelid), a.attacl, col_description(a.attrelid, a.attnum), a.attstorage, a.attgenerated)
		FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
		WHERE c.relnamespace IN $mine AND c.relkind IN ('r', 'p', 'v', 'm', 'c') AND a.attnum > 0 AND NOT a.attisdropped},
	order_of_columns => qq{SELECT format('%s: %s', c.oid::regclass, string_agg(a.attname, ' ' ORDER BY a.attnum)) FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
		WHERE c.relnamespace IN $mine AND c.relkind IN ('r', 'p', 'v', 'm', 'c') AND a.attnum > 0 AND NOT a.attisdropped GROUP BY c.oid},
	relations => qq{SELECT format('%s kind=%s persistence=%s rls=%s force=%s options=%s acl=%s comment=%s replica=%s partition=%s', c.oid::regclass, c.relkind, c.relpersistence,
		c.relrowsecurity, c.relforcerowsecurity, c.reloptions, (SELECT array_agg(x::text ORDER BY x::text COLLATE "C") FROM unnest(c.relacl) x),
		obj_description(c.oid, 'pg_class'), c.relreplident, pg_get_expr(c.relpartbound, c.oid)) FROM pg_class c WHERE c.relnamespace IN $mine},
	views => qq{SELECT c.oid::regclass || ' ' || pg_get_viewdef(c.oid) FROM pg_class c WHERE c.relnamespace IN $mine AND c.relkind IN ('v', 'm')},
	indexes => qq{SELECT pg_get_indexdef(i.indexrelid) || i.indisvalid || i.indisprimary || i.indisreplident FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid WHERE c.relnamespace IN $mine},
	constraints => qq{SELECT format('%s %s %s %s %s %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid), convalidated, condeferrable, condeferred, obj_description(oid, 'pg_constraint'))
		FROM pg_constraint WHERE connamespace IN $mine},
	policies => q{SELECT p::text FROM pg_policies p WHERE schemaname IN ('sales', 'sales_bi', 'sales_internal')},
	triggers => qq{SELECT pg_get_triggerdef(t.oid) || ' ' || t.tgenabled::text FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid WHERE c.relnamespace IN $mine AND NOT t.tgisinternal},
	functions => qq{SELECT pg_get_functiondef(p.oid) || format(' acl=%s comment=%s', (SELECT array_agg(x::text ORDER BY x::text COLLATE "C") FROM unnest(p.proacl) x), obj_description(p.oid, 'pg_proc'))
		FROM pg_proc p WHERE p.pronamespace IN $mine AND p.prokind <> 'a'},
	aggregates => qq{SELECT p.oid::regprocedure::text FROM pg_proc p WHERE p.pronamespace IN $mine AND p.prokind = 'a'},
	types => qq{SELECT format('%s %s %s %s %s %s', t.oid::regtype, t.typtype, t.typacl, obj_description(t.oid, 'pg_type'), format_type(t.typbasetype, t.typtypmod),
		(SELECT string_agg(e.enumlabel, ',' ORDER BY e.enumsortorder) FROM pg_enum e WHERE e.enumtypid = t.oid)) FROM pg_type t WHERE t.typnamespace IN $mine},
	schemas => q{SELECT format('%s %s %s', nspname, nspacl, obj_description(oid, 'pg_namespace')) FROM pg_namespace WHERE nspname IN ('sales', 'sales_bi', 'sales_internal')},
	casts_operators => qq{SELECT oid::regoperator::text FROM pg_operator WHERE oprnamespace IN $mine},
	members => q{SELECT pg_describe_object(classid, objid, objsubid) FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e'
		AND refobjid = (SELECT oid FROM pg_extension WHERE extname = 'sales_assistant')},
	dumped => q{SELECT t::regclass || ' ' || c FROM pg_extension, unnest(extconfig, extcondition) u (t, c) WHERE extname = 'sales_assistant'},
	initial_rights => q{SELECT pg_describe_object(i.classoid, i.objoid, i.objsubid) || (SELECT array_agg(x::text ORDER BY x::text COLLATE "C") FROM unnest(i.initprivs) x)::text
		FROM pg_init_privs i JOIN pg_depend d ON d.classid = i.classoid AND d.objid = i.objoid AND d.deptype = 'e'
		WHERE d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'sales_assistant')},
	default_rights => q{SELECT format('%s %s %s', defaclnamespace::regnamespace, defaclobjtype, defaclacl) FROM pg_default_acl},
	seeds => q{SELECT format('%s %s', 'task', to_jsonb(t) - 'next_run' - 'last_run' - 'last_error') FROM sales_internal.periodic_tasks t
		UNION ALL SELECT 'kind ' || to_jsonb(t)::text FROM sales_internal.job_kinds t UNION ALL SELECT 'default ' || to_jsonb(t)::text FROM sales_internal.setting_defaults t
		UNION ALL SELECT 'provider ' || to_jsonb(t)::text FROM sales.providers t UNION ALL SELECT 'list ' || to_jsonb(t)::text FROM sales_internal.email_lists t
		UNION ALL SELECT 'text ' || to_jsonb(t)::text FROM sales_internal.local_texts t UNION ALL SELECT 'word ' || to_jsonb(t)::text FROM sales_internal.lexicon t
		UNION ALL SELECT 'header ' || to_jsonb(t)::text FROM sales_internal.import_headers t
		UNION ALL SELECT 'size ' || (to_jsonb(t) - 'created_at')::text FROM sales.company_sizes t UNION ALL SELECT 'sector ' || (to_jsonb(t) - 'created_at')::text FROM sales.industries t});

sub lines { my ($db, $query) = @_; return [ sort split /\n(?=\S)/, $node->safe_psql($db, "SET search_path = pg_catalog; SET datestyle = ISO;\n$query") ]; }

# Rows of every table without columns that are null, so that a new column does not count; not
# what is seeded afresh, nor audit_sealing, which a restore leaves empty on purpose.
sub rows
{
	my ($db) = @_;
	my $queries = $node->safe_psql($db, q{
SELECT format('SELECT %L, count(*), md5(string_agg(jsonb_strip_nulls(to_jsonb(t))::text, chr(10) ORDER BY to_jsonb(t)::text COLLATE "C")) FROM %s t', c.oid::regclass, c.oid::regclass)
FROM pg_class c WHERE relnamespace IN ('sales'::regnamespace, 'sales_internal'::regnamespace) AND relkind IN ('r', 'p') AND NOT relispartition
AND relname NOT IN ('periodic_tasks', 'job_kinds', 'setting_defaults', 'audit_sealing') ORDER BY c.oid::regclass::text COLLATE "C"});
	my %rows;
	for my $line (split /\n/, $node->safe_psql($db, join(";\n", split /\n/, $queries)))
	{
		my ($table, $rest) = split /\|/, $line, 2;
		$rows{$table} = $rest;
	}
	return \%rows;
}

$node->safe_psql('postgres', 'CREATE DATABASE fresh');
$node->safe_psql('fresh', 'CREATE EXTENSION sales_assistant');
for my $from (@released)
{
	(my $db = "from_$from") =~ s/\W/_/g;
	$node->safe_psql('postgres', "CREATE DATABASE $db");
	$node->safe_psql($db, "CREATE EXTENSION sales_assistant VERSION '$from'");
	$node->safe_psql($db, q{
SELECT sales.create_company(name, lower(name) || '.test', 'business', 'fr', 'Europe/Paris', 'a@' || lower(name) || '.test', 'secret-secret') FROM unnest('{Alpha,Beta}'::text[]) name;
INSERT INTO sales.products (company_id, name) SELECT company_id, 'P' FROM sales.companies;
INSERT INTO sales.prospects (company_id, product_id, first_name, email, created_at) SELECT company_id, product_id, 'Ada' || g, 'ada' || g || '@x.test', now() - g * interval '5 days'
FROM sales.products, generate_series(1, 100) g;
INSERT INTO sales.interactions (company_id, prospect_id, channel, type, interaction_date) SELECT company_id, prospect_id, 'email', 'sent', created_at + interval '1 day' FROM sales.prospects;
INSERT INTO sales.api_keys (company_id, service_name, key_value) SELECT company_id, 'hunter', 'secret-key-' || name FROM sales.companies;
INSERT INTO sales.system_settings (company_id, category, key_name, value) VALUES (NULL, 'billing', 'currency', 'CHF');
UPDATE sales.providers SET rank = 77 WHERE name = 'hunter';
SELECT sales.maintain();
});
	my $before = rows($db);
	# a reader and a writer of the same database are not in the way, nor it in theirs
	$node->safe_psql($db, 'ALTER EXTENSION sales_assistant UPDATE');
	is($node->safe_psql($db, q{SELECT extversion FROM pg_extension WHERE extname = 'sales_assistant'}), $current, "$from is updated to $current");
	my $after = rows($db);
	is_deeply({ map { $_ => $after->{$_} } keys %$before }, $before, "$from: every row is as it was");

	# what was changed by the operator stays: it is not the fresh seed
	is($node->safe_psql($db, q{UPDATE sales.providers SET rank = 10 WHERE name = 'hunter' AND rank = 77 RETURNING 'kept'}), 'kept', "$from: a changed seed stays changed");
	# partitions are data: the fresh install gets the same ones
	(my $like = "like_$from") =~ s/\W/_/g;
	$node->safe_psql('postgres', "CREATE DATABASE $like");
	$node->safe_psql($like, 'CREATE EXTENSION sales_assistant');
	my $partitions = $node->safe_psql($db, q{SELECT format('SELECT sales_internal.make_partition(%L, %L);', inhparent::regclass::name,
		substring(pg_get_expr(relpartbound, c.oid) FROM $$FROM \('([^']*)'$$)) FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid
		WHERE inhparent IN ('sales.audit_logs'::regclass, 'sales.interactions'::regclass, 'sales.analytics'::regclass) AND pg_get_expr(relpartbound, c.oid) <> 'DEFAULT'});
	$partitions =~ s/'sales\./'/g;
	$node->safe_psql($like, $partitions);
	for my $kind (sort keys %catalogue)
	{
		is_deeply(lines($db, $catalogue{$kind}), lines($like, $catalogue{$kind}), "$from: $kind are those of a fresh install");
	}
	is($node->safe_psql($db, q{
SELECT sales.set_tenant(company_id, NULL, false) FROM sales.companies WHERE name = 'Alpha' \g /dev/null
SELECT count(*) FROM sales.check_metrics();
SELECT sales.gdpr_erase(prospect_id, 'art. 17') FROM sales.prospects WHERE company_id = sales.current_company_id() AND first_name = 'Ada1' \g /dev/null
SELECT count(*) FROM sales.prospects WHERE company_id = sales.current_company_id() AND first_name = 'Ada1'}), "0\n0", "$from: and it works on");
	$node->safe_psql('postgres', 'CREATE DATABASE restored');
	$node->command_ok([ 'pg_dump', '-Fc', '-f', $node->basedir . '/updated.dump', '-d', $node->connstr($db) ], "$from: the updated database is dumped");
	$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr('restored'), $node->basedir . '/updated.dump' ], 'and restored');
	is_deeply(rows('restored'), rows($db), 'every row is as it was');
	$node->safe_psql('postgres', 'DROP DATABASE restored');
}

# New files and a restart, and the update some time later: the worker says so once, calls nothing of the
# old SQL, which may be of other forms, and goes on by itself.
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'");
$node->safe_psql('postgres', "CREATE DATABASE waits");
$node->safe_psql('waits', "CREATE EXTENSION sales_assistant VERSION '$released[0]'");
my $log = -s $node->logfile;
$node->restart;
$node->poll_query_until('waits', q{SELECT count(*) = 1 FROM sales_internal.worker_slots() s WHERE to_jsonb(s) ->> 'last_error' ~ 'ALTER EXTENSION sales_assistant UPDATE'}) or die 'the worker does not say what it waits for';
$node->safe_psql('waits', q{SELECT sales.create_company(n, lower(n) || '.test') FROM unnest('{Alpha,Beta}'::text[]) n;
INSERT INTO sales.prospects (company_id, first_name, email) SELECT company_id, 'Ada', 'ada@x.test' FROM sales.companies;
SELECT sales.set_tenant(company_id, NULL, false) FROM sales.companies WHERE name = 'Beta';
SELECT sales.generate_message(prospect_id, 'email') FROM sales.prospects WHERE company_id = sales.current_company_id()});
is($node->safe_psql('waits', q{SELECT string_agg(state::text, ' ') FROM sales_internal.jobs WHERE kind = 'generate_message'}), 'queued', 'a job of the version before waits');
$node->safe_psql('waits', 'ALTER EXTENSION sales_assistant UPDATE');
$node->poll_query_until('waits', q{SELECT state = 'done' FROM sales_internal.jobs WHERE kind = 'generate_message'}) or die 'the job that waited is not done after the update';
is($node->safe_psql('waits', q{SELECT string_agg(c.name, ' ') FROM sales.messages m JOIN sales.companies c USING (company_id)}), 'Beta', 'and is done after the update, for its company');
my @said = grep { /WARNING|ERROR|FATAL|PANIC/ } split /\n/, slurp_file($node->logfile, $log);
is(scalar(@said), 1, 'a worker that meets the SQL of another version says so once, and has no error') || diag(join "\n", @said);
like($said[0], qr/jobs of database "waits" wait: it has another version of sales_assistant than the server's library, \Q$current\E/, 'and it says what is to be done');
$node->stop;
done_testing();
