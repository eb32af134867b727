# The worker of a machine whose clock is set and whose disk is full, in the middle
# of calls (test/servers/fake_machine.c): no call is made twice, no answer is
# lost, nothing waits for a day that a clock has gone back.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename;
use lib dirname(__FILE__) . '/../servers';
use Peers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tmp = PostgreSQL::Test::Utils::tempdir();
is(system('cc', '-shared', '-fPIC', '-O2', '-o', "$tmp/fake_machine.so", abs_path(dirname(__FILE__)) . '/../servers/fake_machine.c', '-ldl'), 0,
	'the test has a machine of its own');

# How the machine is: seconds that its clock is ahead, whether its disk is full.
sub machine
{
	open(my $file, -e "$tmp/machine" ? '+<' : '>', "$tmp/machine") or die;
	syswrite($file, pack('qq', @_)) == 16 or die;
	close($file);
	return;
}
machine(0, 0);

my $peer = start_peer("$tmp/peer");

# Has the peer answer what it holds back, or hold it back.
sub release
{
	my ($now) = @_;
	append_to_file("$peer->{dir}/release", '') if $now;
	unlink "$peer->{dir}/release" unless $now;
	return;
}
my $url = "http://127.0.0.1:$peer->{http}";
my $node = PostgreSQL::Test::Cluster->new('machine');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'sales_assistant'
sales_assistant.allowed_hosts = '127.0.0.1:$peer->{http}'
autovacuum = off
});
{
	local $ENV{LD_PRELOAD} = "$tmp/fake_machine.so";
	local $ENV{FAKE_MACHINE} = "$tmp/machine";
	$node->start;
}
sub sql { return $node->safe_psql('postgres', $_[0]); }
sub until_true
{
	my ($query) = @_;
	my $ok = $node->poll_query_until('postgres', $query);
	diag("not so: $query\n" . sql('SELECT * FROM sales_internal.jobs WHERE kind = \'probe\'')) if !$ok;
	return $ok;
}
sql('CREATE EXTENSION sales_assistant;' . probe_sql() . q{
SELECT sales.create_company('Alpha', 'alpha.test', 'starter', 'en', 'UTC', 'a@alpha.test', 'alpha-secret-1');
SELECT sales.create_company('Beta', 'beta.test', 'starter', 'en', 'UTC', 'b@beta.test', 'beta-secret-1');});

sub ask
{
	my ($company, $path, $more) = @_;
	$more //= '{}';
	return sql("SELECT sales_internal.enqueue('probe', company_id, '{\"url\": \"$url$path\"}'::jsonb || '$more') FROM sales.companies WHERE name = '$company'");
}
sub state_of { return sql("SELECT state, attempts FROM sales_internal.jobs WHERE job_id = '$_[0]'"); }
sub asked { my ($path) = @_; my $n = () = slurp_file("$peer->{dir}/requests") =~ m{^GET \Q$path\E$}mg; return $n; }
sub is_done { until_true("SELECT state = 'done' FROM sales_internal.jobs WHERE job_id = '$_[0]'"); return; }

# --- the clock ---
my $day = 86400;
my $slow = ask('Alpha', '/held?slow');
wait_for(sub { asked('/held?slow') });
machine($day, 0);
is_done(ask('Beta', '/ok'));
release(1);
is_done($slow);
is(state_of($slow), 'done|1', 'a call that is under way when the clock is set forward is not given up');
is(asked('/held?slow'), 1, 'nor made again');
is(sql("SELECT now() > clock_timestamp() - interval '1 hour' AND max(at) < now() FROM probed"), 't', 'the server goes by that clock');

# what is under way, waits, or is done from time to time when the clock goes back
my $again = ask('Alpha', '/ok?again', '{"then": {"outcome": "retry", "error": "not yet", "after": 3}}');
until_true("SELECT state = 'queued' AND attempts = 1 FROM sales_internal.jobs WHERE job_id = '$again'");
my $never = ask('Beta', '/never', '{"timeout_ms": 3000}');
wait_for(sub { asked('/never') });
sql("INSERT INTO sales_internal.service_pace (service, api_key_id, next_turn, closed_until) VALUES ('far', '00000000-0000-0000-0000-000000000000', now(), now() + interval '1 minute')");
machine(-$day, 0);
is_done($never);
is(sql("SELECT response ->> 'error' LIKE '%timed out%' FROM probed WHERE job = '$never'"), 't', 'a call times out although the clock went back');
until_true("SELECT state = 'failed' FROM sales_internal.jobs WHERE job_id = '$again'");
is(state_of($again), 'failed|5', 'a job that waits is tried again after the time that it was to wait');
is(asked('/ok?again'), 5, 'each time by a call');
is(sql("SELECT closed_until < now() + interval '2 minutes' FROM sales_internal.service_pace WHERE service = 'far'"), 't', 'a service is left alone no longer than it was to be');
ok(until_true('SELECT bool_or(last_run < now()) FROM sales_internal.periodic_tasks'), 'periodic tasks go on, though they had run a day later');
is_done(ask('Alpha', '/ok'));
machine(0, 0);

# --- the disk ---
sql('TRUNCATE probed; DELETE FROM sales_internal.jobs');
sql('CREATE TABLE filler (x text)');
release(0);
my @jobs = map { ask($_ % 2 ? 'Alpha' : 'Beta', "/held?$_") } 1 .. 20;
for my $n (1 .. 20) { wait_for(sub { asked("/held?$n") }); }
machine(0, 1);
my ($ret, $out, $err) = $node->psql('postgres', "INSERT INTO filler SELECT repeat('x', 1000) FROM generate_series(1, 1000)");
like($err, qr/No space left on device/, 'the disk is full');
release(1);
until_true("SELECT last_error LIKE '%No space left%' FROM sales.worker_status WHERE database = current_database()");
is(sql('SELECT count(*) FROM probed'), '0', 'no answer can be stored');
is(sql("SELECT count(*) FROM sales_internal.jobs WHERE state = 'running' AND kind = 'probe'"), '20', 'so no job has ended');
machine(0, 0);
until_true("SELECT count(*) = 20 FROM sales_internal.jobs WHERE state = 'done' AND kind = 'probe'");
is(sql("SELECT count(*), count(DISTINCT job), count(*) FILTER (WHERE response ->> 'status' = '200') FROM probed"), '20|20|20',
	'when there is room again every answer is stored, once');
is(sql("SELECT max(attempts) FROM sales_internal.jobs WHERE kind = 'probe'"), '1', 'none was an attempt for nothing');
my $calls = () = slurp_file("$peer->{dir}/requests") =~ m{^GET /held\?\d}mg;
is($calls, 20, 'no call was made again');

$node->stop;
stop_peers();
done_testing();
