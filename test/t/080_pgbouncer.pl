# Two tenants behind a real PgBouncer, in transaction and in session mode: 50
# clients and 20,000 transactions in each, no row of the other tenant, nothing left over.
# Each statement of the load divides by zero where it sees what it must not.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use IPC::Run;

my $pgbouncer = (grep { -x $_ } '/usr/sbin/pgbouncer', '/usr/bin/pgbouncer')[0];
plan skip_all => 'pgbouncer is absent' unless $pgbouncer;

my $node = PostgreSQL::Test::Cluster->new('pgbouncer');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'\nlog_statement = none\nmax_connections = 100\nfsync = off");
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION sales_assistant;
CREATE ROLE app LOGIN IN ROLE sales_app;
SELECT sales.create_company('Alpha', 'alpha.test', 'starter', 'en', 'UTC', 'a@alpha.test', 'alpha-secret');
SELECT sales.create_company('Beta', 'beta.test', 'starter', 'en', 'UTC', 'b@beta.test', 'beta-secret');
INSERT INTO sales.prospects (company_id, first_name) SELECT company_id, name || g FROM sales.companies, generate_series(1, 30) g;
});
my %token = map { $_->[0] => $node->safe_psql('postgres', "SELECT sales.login('$_->[1].test', '$_->[2]\@$_->[1].test', '$_->[1]-secret')", extra_params => [ '-U', 'app' ]) }
  ([ 'Alpha', 'alpha', 'a' ], [ 'Beta', 'beta', 'b' ]);

my $dir = $node->basedir;
my $port = PostgreSQL::Test::Cluster::get_free_port();
append_to_file("$dir/users.txt", qq{"app" ""\n});

sub bouncer
{
	my ($mode) = @_;
	unlink "$dir/pgbouncer.ini";
	append_to_file("$dir/pgbouncer.ini", "[databases]
postgres = host=" . $node->host . " port=" . $node->port . " dbname=postgres
[pgbouncer]
listen_addr =
unix_socket_dir = $dir
listen_port = $port
auth_type = trust
auth_file = $dir/users.txt
pool_mode = $mode
default_pool_size = 8
max_client_conn = 200
server_reset_query = DISCARD ALL
logfile = $dir/pgbouncer.log
ignore_startup_parameters = extra_float_digits
");
	my $process = IPC::Run::start([ $pgbouncer, '-q', "$dir/pgbouncer.ini" ], '>', '/dev/null', '2>', "$dir/pgbouncer.err");
	for (1 .. 100)
	{
		last if system("psql -X -h $dir -p $port -U app -d postgres -c 'SELECT 1' >/dev/null 2>&1") == 0;
		select(undef, undef, undef, 0.05);
	}
	return $process;
}

sub script
{
	my ($name, $sql) = @_;
	append_to_file("$dir/$name.sql", $sql);
	return ('-f', "$dir/$name.sql");
}

sub load_ok
{
	my ($name, $transactions, @arguments) = @_;
	my ($out, $err) = ('', '');
	my $ok = IPC::Run::run([ 'pgbench', '-n', '-h', $dir, '-p', $port, '-U', 'app', @arguments, 'postgres' ], '>', \$out, '2>', \$err);
	ok($ok, "$name: no statement saw what it must not") or diag $err;
	my ($done) = $out =~ /transactions actually processed: (\d+)/;
	is($done, $transactions, "$name: all transactions ran");
}

my @transactions;
for my $company ('Alpha', 'Beta')
{
	push @transactions, script("tx_$company", "BEGIN;
SELECT sales.use_session('$token{$company}');
SELECT 1 / (count(*) >= 30 AND count(*) = count(*) FILTER (WHERE first_name LIKE '$company%'))::int FROM sales.prospects;
SELECT 1 / ((SELECT string_agg(name, ',') FROM sales.companies) = '$company')::int;
UPDATE sales.prospects SET notes = '$company' WHERE first_name = '$company' || 1 + (random() * 29)::int;
END;
");
}
# what comes between the transactions of others must find no tenant
push @transactions, script('tx_none', "SELECT 1 / (count(*) = 0)::int FROM sales.prospects;\nSELECT 1 / (sales.current_company_id() IS NULL)::int;\n");

my $process = bouncer('transaction');
load_ok('transaction mode', 20000, '-c', '50', '-j', '2', '-t', '400', @transactions);
is($node->safe_psql('postgres', "SELECT count(*) FROM sales.prospects WHERE notes IS NOT NULL AND first_name NOT LIKE notes || '%'"), '0', 'no write went astray');
cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"), '<=', 8, 'through few connections');
$process->signal('TERM');
$process->finish;

# session mode: the tenant is set for the session, and the next client of the
# connection starts without one; 2,000 clients one after the other, 50 at a time,
# then 50 that stay and go from one tenant to the other
my (@comers, @stayers);
for my $company ('Alpha', 'Beta')
{
	my $work = "SELECT sales.use_session('$token{$company}', false);
SELECT 1 / (count(*) >= 30 AND count(*) = count(*) FILTER (WHERE first_name LIKE '$company%'))::int FROM sales.prospects;
BEGIN;
SELECT 1 / (count(*) >= 30)::int FROM sales.prospects;
UPDATE sales.prospects SET notes = '$company' WHERE first_name = '$company' || 1 + (random() * 29)::int;
ROLLBACK;
";
	push @comers, script("comes_$company", "SELECT 1 / (sales.current_company_id() IS NULL)::int;\n$work");
	push @stayers, script("stays_$company", $work);
}
$process = bouncer('session');
load_ok('session mode, clients come and go', 2000, '-C', '-c', '50', '-j', '2', '-t', '40', @comers);
load_ok('session mode, clients stay', 18000, '-c', '50', '-j', '2', '-t', '360', @stayers);
is($node->safe_psql('postgres', "SELECT count(*) FROM sales.prospects WHERE notes IS NOT NULL AND first_name NOT LIKE notes || '%'"), '0', 'no write went astray');
cmp_ok($node->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE usename = 'app'"), '<=', 8, 'through few connections');
my $left = qx(psql -XAt -h $dir -p $port -U app -d postgres -c "SELECT sales.current_company_id() IS NULL, (SELECT count(*) FROM sales.prospects), current_setting('sales_assistant.context') = ''");
is($left, "t|0|t\n", 'who comes after them is in no tenant');
$process->signal('TERM');
$process->finish;

$node->stop;
done_testing();
