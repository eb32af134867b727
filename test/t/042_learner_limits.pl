# Training within its limits: its memory, of which maintenance_work_mem is the bound,
# and its end, when whoever asked for it ends it, at whatever it is.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $node = PostgreSQL::Test::Cluster->new('limits');
$node->init;
$node->append_conf('postgresql.conf', "jit = off\nmax_parallel_workers_per_gather = 0");
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION sales_assistant;
-- numbers, texts, two columns that decide together, so that every step of training has something to do
CREATE TABLE deals AS
SELECT g AS id, (hashint4(g) & 65535) / 65536.0::float8 AS a, (hashint4(g * 3) & 65535) / 65536.0::float8 AS b, (hashint4(g * 5) & 65535)::float8 AS c,
       'w' || (hashint4(g * 7) & 255) AS d, 'v' || (hashint4(g * 11) & 65535) AS e, (hashint4(g * 13) & 15) AS f,
       ((hashint4(g * 17) & 1023) / 1023.0 < 1 / (1 + exp(1 - 4 * ((hashint4(g) & 65535) / 65536.0 - 0.5) * ((hashint4(g * 3) & 65535) / 32768.0 - 1))))::int AS won
FROM generate_series(1, 150000) g;
VACUUM ANALYZE deals;});

sub status { slurp_file("/proc/$_[0]/status") =~ /^$_[1]:\s+(\d+) kB/m; return $1; }
sub cpu { my @f = split / /, slurp_file("/proc/$_[0]/stat") =~ s/^.*\) //r; return $f[11] + $f[12]; }    # ticks

# --- memory ---
for my $mb (4, 12, 32)
{
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	my $pid = $session->query('SELECT pg_backend_pid()');
	# what a scan and a small training take anyway is no part of it
	$session->query("SET client_min_messages = error; SET maintenance_work_mem = '${mb}MB'; SELECT count(*), sum(a) FROM deals");
	$session->query("CREATE VIEW some$mb AS SELECT * FROM deals WHERE id <= 100; SELECT sales_internal.train_scorecard('some$mb', 'won')");
	my $before = status($pid, 'RssAnon');
	# the high-water mark counts from here
	append_to_file("/proc/$pid/clear_refs", '5') if -w "/proc/$pid/clear_refs";
	$session->query("SELECT sales_internal.train_scorecard('deals', 'won') AS model \\gset");
	my $rows = $session->query("SELECT rows FROM sales_internal.scorecards WHERE model_id = :'model'");
	my $grown = (status($pid, 'VmHWM') - status($pid, 'RssShmem') - status($pid, 'RssFile') - $before) / 1024;
	$session->quit;
	note sprintf('maintenance_work_mem %d MB: %d rows learned from, %.1f MB of memory', $mb, $rows, $grown);
	# halves of the hashes are given up until what is left fits: about half of what fits, at least
	cmp_ok($rows, '>=', $mb * 1000, "$mb MB: a sample worth the memory is learned from");
	cmp_ok($grown, '<=', $mb + 8, "$mb MB: training takes no more, a few MB aside");
}
# --- interrupts ---
# A cancel at each thirteenth of what training takes, in time of the processor: each ends it.
my $session = $node->background_psql('postgres', on_error_stop => 0);
my $pid = $session->query('SELECT pg_backend_pid()');
$session->query("SET client_min_messages = error; SET maintenance_work_mem = '512MB'");
my $start = cpu($pid);
$session->query("SELECT sales_internal.train_scorecard('deals', 'won')");
my $whole = cpu($pid) - $start;
my ($cancelled, $finished, $most) = (0, 0, 0);
for my $turn (0 .. 11)
{
	$start = cpu($pid);
	$session->{stdin} .= "SELECT 'model ' || sales_internal.train_scorecard('deals', 'won');\n\\echo done $turn\n";
	$session->{run}->pump_nb;
	my $at = $start + $whole * $turn / 13;
	$node->poll_query_until('postgres', "SELECT state = 'active' AND query LIKE 'SELECT ''model%' FROM pg_stat_activity WHERE pid = $pid");
	usleep(1000) while cpu($pid) < $at;
	my $asked = cpu($pid);
	$node->safe_psql('postgres', "SELECT pg_cancel_backend($pid)");
	$session->{run}->pump until $session->{stdout} =~ /done $turn\n/;
	my $after = cpu($pid) - $asked;
	$most = $after if $after > $most;
	$session->{stdout} =~ /model/ ? $finished++ : $cancelled++;
	$session->{stdout} = '';
}
note "training takes $whole ticks of the processor; at most $most passed from asking for its end to the end";
is($finished, 0, 'a training that is cancelled ends, whatever it is at');
cmp_ok($most, '<', $whole / 2, 'and soon');
like($session->{stderr}, qr/canceling statement due to user request/, 'it says why');
$session->quit;
is($node->safe_psql('postgres', 'SELECT count(*) FROM sales_internal.scorecards WHERE rows = 150000'), 1, 'a training that was cancelled leaves no model');

# applying, and explaining
for my $call ('SELECT sum(probability) FROM sales_internal.apply_scorecard', 'SELECT sum(points) FROM sales_internal.scorecard_points')
{
	my ($code, $out, $err) = $node->psql('postgres', "SET statement_timeout = '20ms'; $call(m.model_id, 'deals') x;"
		=~ s/\(m\.model_id/((SELECT model_id FROM sales_internal.scorecards WHERE rows = 150000)/r);
	like($err, qr/canceling statement due to statement timeout/, "$call() is ended too");
}

$node->stop;
done_testing();
