# distribute() on a coordinator and two workers, where Citus is installed: two
# tenants, what each sees, audit, scores, metrics, an import, a job of the worker.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $share = `pg_config --sharedir`;
chomp $share;
plan skip_all => 'Citus is not installed here' unless -e "$share/extension/citus.control";

my @node;
for my $n (0 .. 2)
{
	my $node = PostgreSQL::Test::Cluster->new("node$n");
	$node->init;
	$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'citus,sales_assistant'
listen_addresses = '127.0.0.1'
max_prepared_transactions = 200
wal_level = logical
max_worker_processes = 24
CONF
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION citus');
	push @node, $node;
}
my $c = $node[0];
$c->safe_psql('postgres', sprintf q{SELECT citus_set_coordinator_host('127.0.0.1', %d)}, $c->port);
$c->safe_psql('postgres', 'CREATE EXTENSION sales_assistant');
my ($code, undef, $err) = $c->psql('postgres', 'SELECT sales.distribute()');
like($err, qr/the cluster has no worker/, 'what is missing is said');
$c->safe_psql('postgres', sprintf q{SELECT citus_add_node('127.0.0.1', %d)}, $_->port) for @node[1, 2];

cmp_ok($c->safe_psql('postgres', 'SELECT count(*) FROM sales.distribute(shard_count => 4)'), '>', 100, 'distributed');
is($c->safe_psql('postgres', 'SELECT count(*) FROM sales.distribute(plan_only => true) WHERE NOT done'), '0', 'all is done');
$c->safe_psql('postgres', 'SELECT sales.distribute()');
is($c->safe_psql('postgres', q{SELECT count(DISTINCT colocation_id) FROM citus_tables WHERE citus_table_type = 'distributed'}), '1', 'co-located');

$c->safe_psql('postgres', q{CREATE ROLE app LOGIN IN ROLE sales_app; CREATE ROLE bound LOGIN IN ROLE sales_app});
my $companies = 0;
for my $name ('alpha', 'beta', map { "more$_" } 1 .. 12)
{
	$c->safe_psql('postgres', "SELECT sales.create_company('$name', '$name.example', 'business', 'en', 'Europe/Paris', 'a\@$name.example', 'a long password')");
}
my $shards = $c->safe_psql('postgres', q{SELECT count(DISTINCT get_shard_id_for_distribution_column('sales.companies', company_id)) FROM sales.companies});
cmp_ok($shards, '>', 1, 'companies lie on several shards');
($code, undef, $err) = $c->psql('postgres', q{SELECT sales.create_company('again', 'alpha.example')});
like($err, qr/is there already/, 'domains stay unique');

sub as
{
	my ($company, $sql) = @_;
	return $c->safe_psql('postgres', "SET client_min_messages = warning; SELECT sales.use_session(sales.login('$company.example', 'a\@$company.example', 'a long password'), false) \\g /dev/null\n$sql",
		extra_params => [ '-U', 'app' ]);
}
as($_, q{INSERT INTO sales.products (name) VALUES ('Compass'); INSERT INTO sales.prospects (first_name, email, company_name) VALUES ('Ada', 'ada@x.example', 'X'), ('Bob', 'bob@y.example', 'Y')})
  for 'alpha', 'beta', 'more1';
is(as('alpha', 'SELECT count(*), count(DISTINCT company_id) FROM sales.prospects'), '2|1', 'a tenant sees its own');
is(as('alpha', q{UPDATE sales.prospects SET notes = 'x'; SELECT count(*) FROM sales.prospects WHERE notes = 'x'}), '2', 'and changes its own');
is(as('beta', q{SELECT count(*) FROM sales.prospects WHERE notes = 'x'}), '0', 'not the other');
is($c->safe_psql('postgres', 'SELECT count(*) FROM sales.prospects', extra_params => [ '-U', 'app' ]), '0', 'none without a context');
is(as('alpha', q{DELETE FROM sales.prospects WHERE first_name = 'Bob'; SELECT count(*) FROM sales.prospects}), '1', 'a soft delete hides');
is(as('alpha', q{SELECT sales.enter_stage(prospect_id, 'interesse', 100) IS NOT NULL FROM sales.prospects; SELECT status FROM sales.prospects}), "t\ninteresse", 'stages and statuses follow on the shard');
is(as('alpha', q{BEGIN; INSERT INTO sales.addresses (city) VALUES ('Paris'); SELECT sales.enter_stage(prospect_id, 'client', 100) IS NOT NULL FROM sales.prospects; SELECT count(*) FROM sales.addresses; COMMIT}),
	"t\n1", 'statements of a tenant and functions of the owner in one transaction');
is(as('alpha', q{SELECT bool_and(ok) FROM sales.verify_audit()}), 't', 'audit verifies');
cmp_ok(as('alpha', q{SELECT count(*) FROM sales.audit_logs WHERE table_name = 'prospects' AND user_id IS NOT NULL}), '>', 3, 'audit knows who');
is(as('alpha', q{SELECT sales.refresh_metrics() > 0; SELECT count(*) FROM sales.check_metrics(); SELECT deals_closed FROM sales.analytics}), "t\n0\n1", 'metrics are exact');
is(as('alpha', q{SELECT sales.import_csv(E'First Name,Email\nZoe,zoe@z.example\nBad,bad@@z\n') IS NOT NULL; SELECT rows_inserted, rows_rejected FROM sales.import_runs}), "t\n1|1", 'an import');
is(as('alpha', q{SELECT sales.refresh_scores() > 0; SELECT count(*) FROM sales.prospects WHERE ai_score IS NOT NULL; SELECT round(sum(points)) = max(ai_score) FROM sales.prospects p, sales.explain_score(p.prospect_id) WHERE first_name = 'Zoe'}), "t\n2\nt", 'scores and their explanation');
is(as('alpha', q{SELECT sales.generate_message(prospect_id, 'email') AS job FROM sales.prospects WHERE first_name = 'Zoe' \gset
SELECT sales.wait_job(:'job', '60 seconds'); SELECT count(*) FROM sales.messages}), "done\n1", 'the worker writes a message');
is(as('beta', 'SELECT count(*) FROM sales.messages'), '0', 'for whom it is');

$c->safe_psql('postgres', q{SELECT sales.bind_role('bound', company_id) FROM sales.companies WHERE domain = 'beta.example'});
is($c->safe_psql('postgres', 'SELECT count(*) FROM sales.prospects', extra_params => [ '-U', 'bound' ]), '2', 'a bound role is in its tenant');
is($c->safe_psql('postgres', q{SELECT count(*) FROM sales.maintain() WHERE result LIKE 'failed%'}), '0', 'maintain()');
$c->safe_psql('postgres', q{SELECT sales.delete_company(company_id) FROM sales.companies WHERE domain = 'beta.example'});
is($c->safe_psql('postgres', q{SELECT count(*) FROM sales.companies WHERE domain = 'beta.example'}), '0', 'a company goes');

$_->stop('fast') for reverse @node;
done_testing();
