# 10,000 jobs of two companies through 20 crashes of the whole server: every job
# is done once, with one result, and each of its calls was made; at worst calls
# were made again.
use strict;
use warnings;
use File::Basename;
use lib dirname(__FILE__) . '/../servers';
use Peers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $jobs = $ENV{CRASH_JOBS} || 10_000;
my $crashes = $ENV{CRASHES} || 20;
my $log = PostgreSQL::Test::Utils::tempdir() . '/requests';
my $port = start_echo(50, $log);

my $node = PostgreSQL::Test::Cluster->new('crashes');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'sales_assistant'
sales_assistant.allowed_hosts = '127.0.0.1:$port'
sales_assistant.max_calls = 40
});
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION sales_assistant;' . probe_sql() . q{
SELECT sales.create_company('Alpha', 'alpha.test', 'starter', 'en', 'UTC', 'a@alpha.test', 'alpha-secret-1');
SELECT sales.create_company('Beta', 'beta.test', 'starter', 'en', 'UTC', 'b@beta.test', 'beta-secret-1');
CREATE TABLE asked (job uuid PRIMARY KEY, company uuid, target text UNIQUE);
SELECT sales.stop_workers();
});
# 40 calls of 50 ms at a time are 800 a second at most: not all are done before the last crash
$node->safe_psql('postgres', qq{
INSERT INTO asked
SELECT sales_internal.enqueue('probe', company_id, jsonb_build_object('url', 'http://127.0.0.1:$port/' || split_part(domain, '.', 1) || n)),
       company_id, '/' || split_part(domain, '.', 1) || n
FROM sales.companies, generate_series(1, $jobs / 2) n});

# a crash as soon as so many more are settled
my $ended = 0;
for my $crash (1 .. $crashes)
{
	my $more = int($jobs / $crashes / 4);
	$node->restart if $crash == 1;
	$node->poll_query_until('postgres', "SELECT count(*) >= $ended + $more FROM probed") or die 'the worker does not go on';
	$ended = $node->safe_psql('postgres', 'SELECT count(*) FROM probed');
	$node->stop('immediate');
	$node->start;
}
cmp_ok($ended, '<', $jobs, 'the last crash met open jobs') or diag("$ended were settled");
# the rest need not be slow
$node->append_conf('postgresql.conf', 'sales_assistant.max_calls = 800');
$node->reload;
$node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM sales_internal.jobs WHERE kind = 'probe' AND state IN ('queued', 'running'))})
  or diag('not all jobs ended');

is($node->safe_psql('postgres', q{SELECT state, count(*) FROM sales_internal.jobs WHERE kind = 'probe' GROUP BY 1}), "done|$jobs", 'every job is done');
is($node->safe_psql('postgres', q{SELECT count(*), count(DISTINCT job) FROM probed}), "$jobs|$jobs", 'every job has one result, and one alone');
is($node->safe_psql('postgres', q{SELECT count(*) FROM probed p JOIN asked a ON a.job = p.job
	WHERE a.company = p.company AND p.response ->> 'status' = '200' AND length(p.response ->> 'body') = 1024}), $jobs, 'a good one, of its own company');
my %calls;
$calls{$_}++ for split /\n/, slurp_file($log);
is(scalar(keys %calls), $jobs, 'each call was made');
my $again = 0;
$again += $_ - 1 for values %calls;
note("$again calls were made again after $crashes crashes");
is($node->safe_psql('postgres', 'SELECT sum(attempts) - count(*) FROM sales_internal.jobs WHERE kind = \'probe\'') >= $again ? 'yes' : 'no', 'yes',
	'a call is made again only where a claim was lost');
is($node->safe_psql('postgres', q{SELECT max(attempts) < 5 FROM sales_internal.jobs}), 't', 'no job came near its last attempt');

$node->stop;
stop_peers();
done_testing();
