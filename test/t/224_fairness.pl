# Two companies, one with 10,000 jobs and one with 10 that come after them: the
# ten do not wait for the ten thousand.  Memory stays as it is over 100,000 jobs,
# and a worker without work takes no CPU.
use strict;
use warnings;
use File::Basename;
use lib dirname(__FILE__) . '/../servers';
use Peers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $port = start_echo(0);
my $wide = start_echo(3000);
my $many = $ENV{MEMORY_JOBS} || 100_000;
my $node = PostgreSQL::Test::Cluster->new('fairness');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'sales_assistant'
sales_assistant.allowed_hosts = '127.0.0.1'
sales_assistant.max_calls = 100
});
$node->start;
sub sql { return $node->safe_psql('postgres', $_[0]); }
sql('CREATE EXTENSION sales_assistant;' . probe_sql() . qq{
SELECT sales.create_company('Big', 'big.test', 'starter', 'en', 'UTC', 'a\@big.test', 'alpha-secret-1');
SELECT sales.create_company('Small', 'small.test', 'starter', 'en', 'UTC', 'b\@small.test', 'beta-secret-1');
CREATE FUNCTION ask(whose text, n integer) RETURNS bigint LANGUAGE sql AS \$\$
WITH asked AS (INSERT INTO sales_internal.jobs (company_id, kind, args, due)
	SELECT company_id, 'probe', '{"url": "http://127.0.0.1:$port/x"}', true FROM sales.companies, generate_series(1, n) WHERE name = whose RETURNING 1)
SELECT count(*) FROM asked, (SELECT sales_internal.wake_workers()) w \$\$;
CREATE FUNCTION open_jobs() RETURNS bigint LANGUAGE sql AS \$\$ SELECT count(*) FROM sales_internal.jobs WHERE kind = 'probe' AND state IN ('queued', 'running') \$\$;});

# --- fairness: in the order in which they ended ---
sub shares
{
	return sql(q{
WITH ended AS (SELECT c.name, row_number() OVER (ORDER BY p.at) AS place FROM probed p JOIN sales.companies c ON c.company_id = p.company)
SELECT count(*) FROM ended WHERE name = 'Big' AND place < (SELECT max(place) FROM ended WHERE name = 'Small')
                             AND place > (SELECT max(place) FROM began)});
}
sql("CREATE TABLE began (place bigint); SELECT ask('Big', 10000)");
$node->poll_query_until('postgres', 'SELECT count(*) > 100 FROM probed') or die 'nothing is done';
# what had ended before the ten were there
sql("INSERT INTO began SELECT count(*) FROM probed; SELECT ask('Small', 10)");
$node->poll_query_until('postgres', 'SELECT open_jobs() = 0') or diag('not all ended');
is(sql(q{SELECT c.name, count(*) FROM probed p JOIN sales.companies c ON c.company_id = p.company GROUP BY 1 ORDER BY 1}), "Big|10000\nSmall|10", 'all jobs are done once');
my $before = shares();
note("$before jobs of the other company ended between the asking of the ten and the last of them");
# those under way (100), those claimed meanwhile by turns, and what ended while the statement above was run
cmp_ok($before, '<', 1500, 'the small company is served by turns, not after the large one');
cmp_ok(sql('SELECT count(*) FROM probed WHERE at > (SELECT max(at) FROM probed JOIN sales.companies ON company_id = company WHERE name = \'Small\')'), '>', 5000,
	'most of the other\'s come after it');

# --- memory ---
# with as many calls open as the worker may have at most
$node->append_conf('postgresql.conf', 'sales_assistant.max_calls = 800');
$node->reload;
# all of them at a time once, which is as much memory as calls take
sql(qq{INSERT INTO sales_internal.jobs (company_id, kind, args, due)
	SELECT company_id, 'probe', '{"url": "http://127.0.0.1:$wide/x"}', true FROM sales.companies, generate_series(1, 500); SELECT sales_internal.wake_workers()});
ok($node->poll_query_until('postgres', 'SELECT calls_open = 800 FROM sales.worker_status'), '800 calls are open') or diag(sql('SELECT * FROM sales.worker_status'));
$node->poll_query_until('postgres', 'SELECT open_jobs() = 0') or diag('not all ended');
my $pid = sql('SELECT pid FROM sales.worker_status');
sub rss_kb { return slurp_file("/proc/$pid/status") =~ /VmRSS:\s+(\d+)/ ? $1 - shared_kb() : die; }
# shared buffers that it has touched do not count
sub shared_kb { return slurp_file("/proc/$pid/status") =~ /RssShmem:\s+(\d+)/ ? $1 : 0; }
my @rss;
for my $part (1 .. 5)
{
	sql("TRUNCATE probed; DELETE FROM sales_internal.jobs; SELECT ask('Big', $many / 10), ask('Small', $many / 10)");
	$node->poll_query_until('postgres', 'SELECT open_jobs() = 0') or diag('not all ended');
	is(sql('SELECT count(*), count(DISTINCT job), count(*) FILTER (WHERE length(response ->> \'body\') = 1024) FROM probed'), join('|', ($many / 5) x 3), "part $part of 5: all are done");
	push @rss, rss_kb();
}
note("memory of the worker in kB after each fifth of $many jobs: @rss");
# a hundred bytes lost for each job would show
cmp_ok($rss[4] - $rss[0], '<', $many * 0.6 * 100 / 1024, 'memory does not grow with the jobs');
unlike(slurp_file("/proc/$pid/maps"), qr/llvm/i, 'nor does it compile its queries');
is(sql('SELECT pid FROM sales.worker_status'), $pid, 'all by one worker');

# --- idle ---
# nothing periodic is due while it is watched
sql(q{UPDATE sales_internal.periodic_tasks SET next_run = now() + interval '1 hour'; SELECT sales_internal.wake_workers();});
$node->poll_query_until('postgres', q{SELECT state = 'idle' FROM sales.worker_status}) or die 'the worker is not idle';
sub ticks { my @f = split / /, slurp_file("/proc/$pid/stat") =~ s/.*\) //r; return $f[11] + $f[12]; }
sub switches { return slurp_file("/proc/$pid/status") =~ /^voluntary_ctxt_switches:\s+(\d+)/m ? $1 : die; }
# two seconds of the server's own clock; not the first ones, if what was to be done before is still being done in them
my ($ticks, $switches);
for (1 .. 10)
{
	($ticks, $switches) = (ticks(), switches());
	sql('SELECT pg_sleep(2)');
	($ticks, $switches) = (ticks() - $ticks, switches() - $switches);
	last if $switches == 0;
}
is($switches, 0, 'an idle worker is not woken');
cmp_ok($ticks, '<', 2, 'and takes no CPU');

$node->stop;
stop_peers();
done_testing();
