# Dump and restore with no flags: every row as it was, in every format and with
# two jobs, nothing audited or marked a second time, no seed doubled, the
# policies in place and the worker quiet; also into a month with other partitions.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('dump');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'\nlog_statement = none");
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE empty');
$node->safe_psql('postgres', 'CREATE DATABASE full_one');
$node->safe_psql('empty', 'CREATE EXTENSION sales_assistant');
$node->safe_psql('full_one', q{
CREATE EXTENSION sales_assistant;
SELECT sales.create_company(name, lower(name) || '.test', 'business', 'fr', 'Europe/Paris', 'a@' || lower(name) || '.test', 'secret-secret')
FROM unnest('{Alpha,Beta}'::text[]) name;
INSERT INTO sales.products (company_id, name) SELECT company_id, 'P' FROM sales.companies;
INSERT INTO sales.addresses (company_id, city) SELECT company_id, 'Città "del" sole, 日本' FROM sales.companies;
INSERT INTO sales.prospects (company_id, product_id, address_id, first_name, email, notes, created_at, competitive_intel)
SELECT company_id, product_id, address_id, 'Ada' || g, 'ada' || g || '@x.test', E'line\n\\.\ttab "q"', now() - g * interval '5 days', '{"k": [1, null]}'
FROM sales.products JOIN sales.addresses USING (company_id), generate_series(1, 200) g;
INSERT INTO sales.interactions (company_id, prospect_id, channel, type, interaction_date, response_received, response_content)
SELECT company_id, prospect_id, 'email', 'sent', created_at + interval '1 day', true, 'oui merci' FROM sales.prospects;
INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, stage_entered_at, deal_value)
SELECT company_id, prospect_id, s, created_at + interval '2 days' + ord * interval '1 day', 10
FROM sales.prospects, unnest('{contacte,interesse,client}'::sales.funnel_stage[]) WITH ORDINALITY u (s, ord);
INSERT INTO sales.messages (company_id, prospect_id, channel, content, language) SELECT company_id, prospect_id, 'sms', 'x', 'fr' FROM sales.prospects LIMIT 20;
INSERT INTO sales.api_keys (company_id, service_name, key_value) SELECT company_id, 'hunter', 'secret-key-' || name FROM sales.companies;
UPDATE sales.providers SET rank = 77 WHERE name = 'hunter';
UPDATE sales.industries SET description = 'changed by the operator' WHERE name = 'Education';
INSERT INTO sales.industries (name) VALUES ('Own sector');
DELETE FROM sales.company_sizes WHERE size_range = '1000+';
INSERT INTO sales.system_settings (company_id, category, key_name, value) VALUES (NULL, 'billing', 'currency', 'CHF');
UPDATE sales.prospects SET deleted_at = now() WHERE first_name = 'Ada7';
});
$node->poll_query_until('full_one', q{SELECT count(*) = 0 FROM sales_internal.jobs WHERE state IN ('queued', 'running')});
$node->safe_psql('full_one', 'SELECT sales.maintain(); SELECT sales.maintain(); SELECT sales.stop_workers()');
$node->safe_psql('empty', 'SELECT sales.stop_workers()');
# a job that waits: no restored database may begin with it unasked
my $waiting = $node->safe_psql('full_one', q{SELECT sales_internal.enqueue('suggest_next_action', company_id, jsonb_build_object('prospect_id', prospect_id)) FROM sales.prospects WHERE first_name = 'Ada1' AND company_id = (SELECT company_id FROM sales.companies WHERE name = 'Alpha')});

# Every table with its rows, in an order of its own.
sub rows
{
	my ($database) = @_;
	my $queries = $node->safe_psql($database, q{
SELECT format('SELECT %L, count(*), md5(string_agg(t::text, chr(10) ORDER BY t::text COLLATE "C")) FROM %s t', c.oid::regclass, c.oid::regclass)
FROM pg_class c WHERE relnamespace IN ('sales'::regnamespace, 'sales_internal'::regnamespace) AND relkind IN ('r', 'p') AND NOT relispartition AND relpersistence = 'p'
AND relname NOT IN ('sessions', 'bound_roles', 'periodic_tasks', 'audit_sealing') ORDER BY c.oid::regclass::text COLLATE "C"});
	return $node->safe_psql($database, join(";\n", split /\n/, $queries));
}

# What keeps tenants apart and changes audited: policies, whether row security is forced, grants, triggers.
sub guards
{
	my ($database) = @_;
	return $node->safe_psql($database, q{
SELECT p::text FROM pg_policies p WHERE schemaname IN ('sales', 'sales_internal') ORDER BY 1;
SELECT c.oid::regclass, c.relrowsecurity, c.relforcerowsecurity, ARRAY(SELECT a::text FROM unnest(c.relacl) a ORDER BY 1) FROM pg_class c
WHERE relnamespace IN ('sales'::regnamespace, 'sales_bi'::regnamespace, 'sales_internal'::regnamespace) AND relkind IN ('r', 'p', 'v') AND NOT relispartition ORDER BY 1;
SELECT t.tgrelid::regclass, t.tgname, t.tgenabled, pg_get_triggerdef(t.oid) FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
WHERE NOT tgisinternal AND relnamespace IN ('sales'::regnamespace, 'sales_internal'::regnamespace) AND NOT relispartition ORDER BY t.tgrelid::regclass::text, 2;
SELECT p.oid::regprocedure, ARRAY(SELECT a::text FROM unnest(p.proacl) a ORDER BY 1) FROM pg_proc p WHERE pronamespace IN ('sales'::regnamespace, 'sales_internal'::regnamespace) ORDER BY p.oid::regprocedure::text});
}

my $dir = $node->basedir;
for my $source ('empty', 'full_one')
{
	my $before = rows($source);
	# a deleted seed comes back with the extension; that is said in docs/backup.md
	$before =~ s/^sales\.company_sizes.*\n//m if $source eq 'full_one';
	my @ways = (
		[ 'plain', sub { $node->command_ok([ 'pg_dump', '-f', "$dir/$source.sql", '-d', $node->connstr($source) ], "$source: plain dump");
			$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/$source.sql", '-d', $node->connstr($_[0]) ], "$source: plain restore"); } ],
		[ 'custom', sub { $node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/$source.dump", '-d', $node->connstr($source) ], "$source: custom dump");
			$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr($_[0]), "$dir/$source.dump" ], "$source: custom restore"); } ],
		[ 'jobs', sub { $node->command_ok([ 'pg_restore', '-e', '-j', '2', '-d', $node->connstr($_[0]), "$dir/$source.dump" ], "$source: restore with two jobs"); } ],
		[ 'folder', sub { $node->command_ok([ 'pg_dump', '-Fd', '-j', '2', '-f', "$dir/$source.d", '-d', $node->connstr($source) ], "$source: dump into a folder with two jobs");
			$node->command_ok([ 'pg_restore', '-e', '-j', '2', '-d', $node->connstr($_[0]), "$dir/$source.d" ], "$source: and its restore"); } ]);
	for my $way (@ways)
	{
		my ($name, $restore) = @$way;
		my $target = "${source}_$name";
		$node->safe_psql('postgres', "CREATE DATABASE $target");
		$restore->($target);
		my $after = rows($target);
		$after =~ s/^sales\.company_sizes.*\n//m if $source eq 'full_one';
		is($after, $before, "$target: every row is as it was");
		is($node->safe_psql($target, 'SELECT count(*), count(DISTINCT size_range) FROM sales.company_sizes'), '5|5', "$target: seeds are there once");
		is(guards($target), guards($source), "$target: policies, grants and triggers are in place");
	}
}

# No worker has come meanwhile, though jobs wait; one comes when it is wanted, and does them.
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'sales_assistant worker' AND datname ~ '^(empty|full)'}), '0', 'the workers of all restored databases are quiet');
is($node->safe_psql('full_one_custom', "SELECT state FROM sales_internal.jobs WHERE job_id = '$waiting'"), 'queued', 'a job that waited waits');
$node->safe_psql('full_one_custom', q{SELECT sales_internal.enqueue('suggest_next_action', company_id, jsonb_build_object('prospect_id', prospect_id)) FROM sales.prospects WHERE first_name = 'Ada2' AND company_id = (SELECT company_id FROM sales.companies WHERE name = 'Beta')});
ok($node->poll_query_until('full_one_custom', "SELECT count(*) = 2 FROM sales_internal.jobs WHERE kind = 'suggest_next_action' AND state = 'done'"), 'a new job wakes its worker, which does both');
is($node->safe_psql('full_one_folder', 'SELECT sales.start_workers()'), 't', 'or it is started by hand');
ok($node->poll_query_until('full_one_folder', "SELECT state = 'done' FROM sales_internal.jobs WHERE job_id = '$waiting'"), 'and does what waited');
$node->safe_psql($_, 'SELECT sales.stop_workers()') for 'full_one_custom', 'full_one_folder';

# the restored database works: partitions are made again, audit and metrics go on
my $db = 'full_one_jobs';
like($node->safe_psql($db, q{SELECT result FROM sales.maintain() WHERE task = 'partitions'}), qr/^\d+$/, 'partitions are made again');
is($node->safe_psql($db, 'SELECT count(*) FROM sales.interactions_default'), '0', 'and filled');
is($node->safe_psql($db, 'SELECT count(*) FROM sales.interactions'), '400', 'with all rows');
is($node->safe_psql($db, q{SELECT count(*) FROM sales.audit_logs \gset before_
UPDATE sales.products SET description = 'after';
SELECT count(*) - :before_count FROM sales.audit_logs}), '2', 'changes are audited again');
is($node->safe_psql($db, q{SELECT sales.set_tenant(company_id, NULL, false) FROM sales.companies WHERE name = 'Alpha' \g /dev/null
SELECT count(*) FROM sales.check_metrics()}), '0', 'the metrics still equal a recomputation');
my ($rc, $out, $err) = $node->psql($db, "INSERT INTO sales.prospects (company_id, first_name) VALUES ('00000000-0000-7000-8000-000000000001', 'x')");
like($err, qr/foreign key/, 'foreign keys hold again');
# a dump of the restored database, with partitions of its own, is the same again
my $again = rows($db);
$node->safe_psql('postgres', 'CREATE DATABASE twice');
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$dir/twice.dump", '-d', $node->connstr($db) ], 'dump of a restored database');
$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr('twice'), "$dir/twice.dump" ], 'and its restore');
is(rows('twice'), $again, 'every row is as it was, twice over') if $again !~ /company_sizes\|4/;

# in a month far from the install's
my $there = rows('full_one_plain');
$node->safe_psql('full_one_plain', "SET sales_assistant.clock = '2031-05-15 12:00:00+00'; SELECT sales_internal.make_partition('interactions', '2031-05-15'); SELECT sales_internal.keep_partitions() FROM generate_series(1, 60)");
is($node->safe_psql('full_one_plain', q{SELECT (SELECT count(*) FROM sales.interactions_default) + (SELECT count(*) FROM sales.audit_logs_default) || (to_regclass('sales.interactions_2031_q2') IS NOT NULL)::text}),
	'0true', 'in another month the partitions of the rows and of that month are made');
is(rows('full_one_plain'), $there, 'and no row has changed');

# a physical copy has the key file: secrets open, tokens go on; a standby reads
$node->safe_psql('postgres', 'CREATE ROLE dump_app LOGIN IN ROLE sales_app');
my $token = $node->safe_psql('full_one', q{SELECT sales.login('alpha.test', 'a@alpha.test', 'secret-secret')}, extra_params => [ '-U', 'dump_app' ]);
my $live = rows('full_one');
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
# pg_basebackup leaves the key readable by the server alone; the copy that the test makes of it does not
chmod 0600, $standby->data_dir . '/sales_assistant.key';
$standby->start;
$node->wait_for_catchup($standby);
sub rows_of { my ($other, $db) = @_; my $kept = $node; $node = $other; my $rows = rows($db); $node = $kept; return $rows; }
is(rows_of($standby, 'full_one'), $live, 'a standby has every row');
is($standby->safe_psql('full_one', 'SELECT count(*) FROM sales.worker_status WHERE pid IS NOT NULL'), '0', 'and no worker');
$standby->promote;
is($standby->safe_psql('full_one', "SELECT sales.use_session('$token', false) \\g /dev/null\nSELECT count(*) FROM sales.products", extra_params => [ '-U', 'dump_app' ]), '1',
	'promoted, it takes the tokens of before: the key came with the data directory');
$standby->stop;

$node->stop;
done_testing();
