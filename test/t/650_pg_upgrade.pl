# pg_upgrade of a server with two companies' data: afterwards every row of every
# table is as it was, the audit chain verifies, secrets open and users go on.  From
# this server's version to itself; from an older one where INSTALL_FROM names its
# private installation (make test-pg17 does).
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use File::Copy;
use Test::More;

my $conf = "shared_preload_libraries = 'sales_assistant'\nlog_statement = none";
my $from = $ENV{INSTALL_FROM};
my $bin = `pg_config --bindir`;
chomp $bin;
my $old = PostgreSQL::Test::Cluster->new('old', $from ? (install_path => $from) : ());
$old->init(extra => [ '-U', 'postgres' ]);
$old->append_conf('postgresql.conf', $conf);
$old->start;
# pg_upgrade and the test call the bootstrap user so, whoever runs it
$ENV{PGUSER} = 'postgres';
$old->safe_psql('postgres', 'CREATE DATABASE shop');
$old->safe_psql('shop', q{
CREATE EXTENSION sales_assistant;
SELECT sales.create_company(name, lower(name) || '.test', 'business', 'fr', 'Europe/Paris', 'a@' || lower(name) || '.test', 'secret-secret') FROM unnest('{Alpha,Beta}'::text[]) name;
CREATE ROLE upgrade_app LOGIN IN ROLE sales_app;
CREATE ROLE upgrade_bi LOGIN IN ROLE sales_bi;
INSERT INTO sales.products (company_id, name) SELECT company_id, 'P' FROM sales.companies;
INSERT INTO sales.prospects (company_id, product_id, first_name, email, notes, created_at) SELECT company_id, product_id, 'Ada' || g, 'ada' || g || '@x.test', E'日本\\ "q"', now() - g * interval '5 days'
FROM sales.products, generate_series(1, 100) g;
INSERT INTO sales.interactions (company_id, prospect_id, channel, type, interaction_date, response_received, response_content)
SELECT company_id, prospect_id, 'email', 'sent', created_at + interval '1 day', true, 'oui merci' FROM sales.prospects;
INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, stage_entered_at, deal_value)
SELECT company_id, prospect_id, s, created_at + interval '2 days' + ord * interval '1 day', 10 FROM sales.prospects, unnest('{contacte,interesse,client}'::sales.funnel_stage[]) WITH ORDINALITY u (s, ord);
INSERT INTO sales.api_keys (company_id, service_name, key_value) SELECT company_id, 'hunter', 'secret-key-' || name FROM sales.companies;
UPDATE sales.providers SET rank = 77 WHERE name = 'hunter';
DELETE FROM sales.company_sizes WHERE size_range = '1000+';
SELECT sales.bind_role('upgrade_bi', company_id) FROM sales.companies WHERE name = 'Alpha';
SELECT sales.set_tenant(company_id, NULL, false) FROM sales.companies WHERE name = 'Beta' \g /dev/null
SELECT sales.import_csv(E'First Name,Email\nGrace,grace@x.test\nBad,bad@@x.test\n'), sales.generate_message(prospect_id, 'email') FROM sales.prospects WHERE company_id = sales.current_company_id() AND first_name = 'Ada1';
});
$old->poll_query_until('shop', q{SELECT count(*) = 0 FROM sales_internal.jobs WHERE state IN ('queued', 'running')}) or die 'jobs do not end';
my $token = $old->safe_psql('shop', q{SELECT sales.login('alpha.test', 'a@alpha.test', 'secret-secret')}, extra_params => [ '-U', 'upgrade_app' ]);
# a task of the worker's in the midst of it would have partitions put off
$old->safe_psql('shop', 'SELECT sales.stop_workers()');
$old->poll_query_until('shop', q{SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'sales_assistant%' AND datname = current_database()}) or die 'a worker does not stop';
$old->safe_psql('shop', 'SELECT sales.maintain(); SELECT sales.maintain()');

# Every row of every table, the partitions of each as they are.
sub rows
{
	my ($node) = @_;
	my $queries = $node->safe_psql('shop', q{
SELECT format('SELECT %L, count(*), md5(string_agg(t::text, chr(10) ORDER BY t::text COLLATE "C")) FROM %s t', c.oid::regclass, c.oid::regclass)
FROM pg_class c WHERE relnamespace IN ('sales'::regnamespace, 'sales_internal'::regnamespace) AND relkind = 'r' AND relpersistence = 'p' ORDER BY c.oid::regclass::text COLLATE "C"});
	return $node->safe_psql('shop', "SET timezone = 'UTC'; SET datestyle = ISO;\n" . join(";\n", split /\n/, $queries));
}
my $catalogue = q{SELECT count(*) FROM pg_policies WHERE schemaname = 'sales';
SELECT count(*) FROM pg_depend WHERE refclassid = 'pg_extension'::regclass AND deptype = 'e';
SELECT extversion, array_length(extconfig, 1) FROM pg_extension WHERE extname = 'sales_assistant';
SELECT count(*) FROM pg_trigger t JOIN pg_class c ON c.oid = tgrelid WHERE relnamespace = 'sales'::regnamespace AND NOT tgisinternal};
my ($rows, $objects) = (rows($old), $old->safe_psql('shop', $catalogue));
like($rows, qr/^sales\.audit_logs_\d+_\d+\|\d{3}/m, 'there is something to keep');
$old->stop;

my $new = PostgreSQL::Test::Cluster->new('new');
$new->init(extra => [ '-U', 'postgres' ]);
$new->append_conf('postgresql.conf', $conf);
# what docs/backup.md says to do
copy($old->data_dir . '/sales_assistant.key', $new->data_dir . '/sales_assistant.key') or die $!;
chmod 0600, $new->data_dir . '/sales_assistant.key';
local $ENV{LD_LIBRARY_PATH} = "$from/lib" if $from;
chdir $new->basedir or die $!;
command_ok([ 'pg_upgrade', '--no-sync', '--retain', '-d', $old->data_dir, '-D', $new->data_dir, '-b', $from ? "$from/bin" : $bin, '-B', $bin,
		'-s', $new->host, '-p', $old->port, '-P', $new->port ], 'pg_upgrade');
# (command_ok() does not return how it went)
diag(map { slurp_file($_) } grep { /pg_upgrade_(dump_\d+|utility)\.log|internal/ } glob($new->data_dir . '/pg_upgrade_output.d/*/log/*'))
  unless Test::More->builder->is_passing;
my $log = join '', map { slurp_file($_) } glob($new->data_dir . '/pg_upgrade_output.d/*/log/pg_upgrade_server.log');
isnt($log, '', 'its servers wrote a log');
unlike($log, qr/sales_assistant (worker|launcher|task)/, 'while it works no worker does');
delete $ENV{LD_LIBRARY_PATH};

# nobody works before it is looked at
$new->append_conf('postgresql.conf', 'sales_assistant.workers = off');
$new->start;
is(rows($new), $rows, 'every row is as it was');
is($new->safe_psql('shop', $catalogue), $objects, 'so are policies, triggers, members and dump registration');
is($new->safe_psql('shop', q{
SELECT sales.set_tenant(company_id, NULL, false) FROM sales.companies WHERE name = 'Alpha' \g /dev/null
SELECT count(*) > 0, bool_and(ok) FROM sales.verify_audit()}), 't|t', 'the audit chain verifies');
is($new->safe_psql('shop', "SELECT finding FROM sales.doctor() WHERE severity = 'error'"), '', 'the doctor finds nothing wrong: secrets open under the key that was copied');
is($new->safe_psql('shop', "SELECT sales.use_session('$token', false) \\g /dev/null\nSELECT count(*) FROM sales.prospects", extra_params => [ '-U', 'upgrade_app' ]),
	'100', 'a token of before is good');
is($new->safe_psql('shop', q{SELECT sales.current_company_id() IS NOT NULL, sum(prospects) FROM sales_bi.funnel_now}, extra_params => [ '-U', 'upgrade_bi' ]), 't|100', 'a bound role is bound');
is($new->safe_psql('shop', q{SELECT count(*), count(sales_internal.reseal(key_value, format('%s|api_keys|%s', company_id, api_key_id))) FROM sales.api_keys}), '2|2', 'stored keys open');
$new->safe_psql('postgres', 'ALTER SYSTEM SET sales_assistant.workers = on');
$new->restart;
$new->poll_query_until('shop', 'SELECT count(*) = 1 FROM sales.worker_status WHERE database = current_database() AND pid IS NOT NULL') or die 'no worker';
my $job = $new->safe_psql('shop', q{SELECT sales.set_tenant(company_id, NULL, false) FROM sales.companies WHERE name = 'Beta' \g /dev/null
SELECT sales.generate_message(prospect_id, 'sms') FROM sales.prospects WHERE company_id = sales.current_company_id() AND first_name = 'Ada2'});
$new->poll_query_until('shop', "SELECT state = 'done' FROM sales_internal.jobs WHERE job_id = '$job'") or fail('the job does not end');
is($new->safe_psql('shop', q{SELECT sales.set_tenant(company_id, NULL, false) FROM sales.companies WHERE name = 'Beta' \g /dev/null
SELECT count(*) FROM sales.messages WHERE company_id = sales.current_company_id() AND channel = 'sms';
SELECT count(*) FROM sales.refresh_metrics(); SELECT count(*) FROM sales.check_metrics();
SELECT bool_and(ok) FROM sales.verify_audit()}), "1\n1\n0\nt", 'the worker works on, metrics are exact, the chain goes on');
$new->stop;
done_testing();
