# A worker with 500 calls open is in nobody's way: shutdown, DROP DATABASE, DROP
# EXTENSION, pg_terminate_backend(); a database that is created later gets its
# worker; a standby has none until it is promoted.
use strict;
use warnings;
use File::Basename;
use lib dirname(__FILE__) . '/../servers';
use Peers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $slow = start_echo(600_000);
my $fast = start_echo(0);
my $node = PostgreSQL::Test::Cluster->new('lifecycle');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'sales_assistant'
sales_assistant.allowed_hosts = '127.0.0.1'
max_worker_processes = 16
});
$node->start;
my $db = 'postgres';
sub sql { return $node->safe_psql($db, $_[0]); }

# The extension, two companies and the kind of job "probe" in a database.
sub prepare
{
	($db) = @_;
	sql('CREATE EXTENSION sales_assistant;' . probe_sql() . q{
SELECT sales.create_company('Alpha', 'alpha.test', 'starter', 'en', 'UTC', 'a@alpha.test', 'alpha-secret-1');
SELECT sales.create_company('Beta', 'beta.test', 'starter', 'en', 'UTC', 'b@beta.test', 'beta-secret-1');});
}

# Queues calls of both companies.
sub ask
{
	my ($port, $n) = @_;
	return sql("SELECT sales_internal.enqueue('probe', company_id, jsonb_build_object('url', 'http://127.0.0.1:$port/' || n)) FROM sales.companies, generate_series(1, $n / 2) n");
}
sub opens
{
	my ($n, $name) = @_;
	ok($node->poll_query_until($db, "SELECT calls_open = $n FROM sales.worker_status WHERE database = current_database()"), $name)
	  or diag(sql('SELECT * FROM sales.worker_status'));
}
sub works
{
	my ($name) = @_;
	my $job = (split /\n/, ask($fast, 2))[0];
	ok($node->poll_query_until($db, "SELECT state = 'done' FROM sales_internal.jobs WHERE job_id = '$job'"), $name);
}
sub idle { $node->poll_query_until($db, q{SELECT state = 'idle' FROM sales.worker_status WHERE database = current_database()}) or die 'the worker is not idle'; }
sub forget_jobs { sql('DELETE FROM sales_internal.jobs'); }

prepare('postgres');
works('a worker starts in the database where the extension is created');

# --- shutdown ---
# How long the server says that its processes took to end, without what it writes after that; in the log there is a line for each.
sub seconds_to_end
{
	my ($from, $to);
	for (split /\n/, $_[0])
	{
		my @at = /^\d+-\d+-\d+ (\d+):(\d+):([\d.]+)/ or next;
		my $at = $at[0] * 3600 + $at[1] * 60 + $at[2];
		$from = $at if /received fast shutdown request/;
		$to //= $at if defined $from && /LOG:  shutting down$/;
	}
	return ($to - $from) + ($to < $from ? 86_400 : 0);
}
# In under 2 s: an idle server takes a few hundredths.  On a machine that is busy with other things a process may come to its
# turn late; whatever waited for a call, or for a time limit of ours, would do so each time.
my @took;
for my $try (1 .. 5)
{
	ask($slow, 500) if $try == 1;
	opens(500, $try == 1 ? '500 calls are open' : 'after the restart their jobs are taken up again at once');
	my $before = -s $node->logfile;
	$node->stop('fast', timeout => 60);
	push @took, seconds_to_end(slurp_file($node->logfile, $before));
	$node->start;
	last if $took[-1] < 2;
}
cmp_ok($took[-1], '<', 2, 'the server shuts down with 500 calls open in under 2 s') or diag("@took");
note("it took @took s");
opens(500, 'after the restart their jobs are taken up again at once');

# --- pg_terminate_backend, whatever it does ---
my $pid = sql('SELECT pid FROM sales.worker_status');
sub terminated
{
	my ($state) = @_;
	sql("SELECT pg_terminate_backend($pid)");
	my $old = $pid;
	$node->poll_query_until($db, "SELECT pid <> $old FROM sales.worker_status WHERE pid IS NOT NULL AND database = current_database()") or die 'no new worker';
	isnt($pid = sql('SELECT pid FROM sales.worker_status'), $old, "terminated while $state, a worker is there again");
}
terminated('it calls');
opens(500, 'and calls again');
forget_jobs();
terminated('its jobs are gone');
idle();
terminated('idle');
works('and it works');
# in the middle of a transaction of its own: of a job in SQL, and while it settles
sql(q{
CREATE TABLE seen (what text);
CREATE FUNCTION sleepy(job uuid, company uuid, args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.seen VALUES ('sql'); PERFORM pg_sleep(600 / (SELECT attempts ^ 10 FROM sales_internal.jobs j WHERE j.job_id = job)); RETURN '{}'; END $$;
CREATE FUNCTION sleepy_settle(job uuid, company uuid, args jsonb, response jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN INSERT INTO public.seen VALUES ('http'); PERFORM pg_sleep(600 / (SELECT attempts ^ 10 FROM sales_internal.jobs j WHERE j.job_id = job)); RETURN '{"outcome": "done"}'; END $$;
INSERT INTO sales_internal.job_kinds (kind, mode, prepare_function, settle_function)
VALUES ('sleepy_sql', 'sql', 'public.sleepy', NULL), ('sleepy_long', 'long', 'public.sleepy', NULL), ('sleepy_http', 'http', 'public.probe_prepare', 'public.sleepy_settle');
});
for my $mode ('sql', 'http', 'long')
{
	my $job = sql("SELECT sales_internal.enqueue('sleepy_$mode', company_id, '{\"url\": \"http://127.0.0.1:$fast/\"}') FROM sales.companies WHERE name = 'Alpha'");
	my $who = $mode eq 'long' ? 'sales_assistant long job' : 'sales_assistant worker';
	$node->poll_query_until($db, "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = '$who' AND wait_event = 'PgSleep' AND datname = current_database()") or die "$mode does not sleep";
	terminated("a job of mode $mode is in the middle of its transaction");
	# what is lost is found by its lease; where the worker itself was, it is by the next one
	sql("UPDATE sales_internal.jobs SET lease_until = now() - interval '1 second' WHERE job_id = '$job' AND state = 'running'; SELECT sales_internal.wake_workers();");
	ok($node->poll_query_until($db, "SELECT state = 'done' FROM sales_internal.jobs WHERE job_id = '$job'"), 'the job is done by the next one');
	is(sql("SELECT count(*) FROM seen"), '1', 'and what it wrote is there once');
	sql('TRUNCATE seen');
}

# --- a database that is created later, dropped and recreated while its worker is busy ---
$db = 'postgres';
for my $round (1 .. 2)
{
	sql('CREATE DATABASE later');
	prepare('later');
	works("round $round: a database that is created later gets its worker");
	ask($slow, 500);
	opens(500, 'which has 500 calls open');
	$db = 'postgres';
	sql('DROP DATABASE later');
	is(sql("SELECT count(*) FROM pg_database WHERE datname = 'later'"), '0', 'DROP DATABASE is not held up by it');
	ok($node->poll_query_until($db, "SELECT count(*) = 0 FROM sales.worker_status WHERE database = 'later'"), 'and it is gone');
}

# --- paused for a command in the way of which it is, as distribute() does ---
my $workers = q{SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'sales_assistant worker' AND datname = current_database()};
idle();
is(sql("BEGIN; SELECT sales_internal.pause_workers(); $workers; ROLLBACK;"), "\n0", 'paused it is gone');
works('after the transaction, which failed, it works');
is(sql('SELECT sales.stop_workers()'), 't', 'one that is stopped by hand');
sql('SELECT sales_internal.pause_workers(); SELECT sales_internal.wake_workers();');
is(sql("SELECT count(*) FROM sales.worker_status WHERE database = current_database() AND state <> 'none'"), '0', 'stays so');
is(sql('SELECT sales.start_workers()'), 't', 'until it is started');

# --- DROP EXTENSION ---
ask($slow, 500);
opens(500, '500 calls are open');
my ($ret, $out, $err) = $node->psql($db, 'BEGIN; DROP EXTENSION sales_assistant CASCADE; ROLLBACK;');
is($ret, 0, 'DROP EXTENSION that is rolled back') or diag($err);
opens(500, 'the worker is back');
($ret, $out, $err) = $node->psql($db, 'DROP EXTENSION sales_assistant CASCADE');
is($ret, 0, 'DROP EXTENSION is not held up') or diag($err);
ok($node->poll_query_until($db, "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type LIKE 'sales_assistant%' AND datname = current_database()"), 'no worker is left');
sql('DROP TABLE probed, seen; DROP FUNCTION probe_prepare, probe_settle, sleepy, sleepy_settle');
prepare('postgres');
works('created again it works again');

# --- standby ---
sql(q{CREATE ROLE app LOGIN IN ROLE sales_app; CREATE ROLE bi LOGIN IN ROLE sales_bi;
SELECT sales.bind_role('bi', company_id) FROM sales.companies WHERE name = 'Alpha';
INSERT INTO sales.prospects (company_id, first_name) SELECT company_id, 'Ada' FROM sales.companies, generate_series(1, CASE name WHEN 'Alpha' THEN 3 ELSE 5 END)});
my $token = $node->safe_psql($db, q{SELECT sales.login('beta.test', 'b@beta.test', 'beta-secret-1')}, extra_params => [ '-U', 'app' ]);
$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
# (the test's copy of the backup opens the file to others)
chmod 0600, $standby->data_dir . '/sales_assistant.key';
$standby->start;
my @jobs = split /\n/, do { sql('SELECT sales.stop_workers()'); ask($fast, 2) };
$node->wait_for_catchup($standby, 'replay', $node->lsn('insert'));
is($standby->safe_psql('postgres', 'SELECT count(*) FROM sales_internal.jobs WHERE state = \'queued\''), '2', 'the standby knows of two jobs');
is($standby->safe_psql('postgres', "SELECT count(*) FROM pg_stat_activity WHERE backend_type LIKE 'sales_assistant%'"), '0', 'and has no worker, nor launcher');
is($standby->safe_psql('postgres', 'SELECT state, queued FROM sales.worker_status'), 'none|2', 'as worker_status shows');
is($standby->safe_psql('postgres', 'SELECT sum(prospects) FROM sales_bi.funnel_now', extra_params => [ '-U', 'bi' ]), '3', 'a BI tool reads its company there');
is($standby->safe_psql('postgres', "SELECT sales.use_session('$token', false) \\g /dev/null\nSELECT count(*) FROM sales.prospects", extra_params => [ '-U', 'app' ]), '5', 'an application by its token of the primary');
for ([ q{SELECT sales.login('beta.test', 'b@beta.test', 'beta-secret-1')}, 'nobody logs in' ], [ "SELECT sales.use_session('$token', false); UPDATE sales.prospects SET notes = 'x'", 'nor writes' ])
{
	my ($rc, $o, $e) = $standby->psql('postgres', $_->[0], extra_params => [ '-U', 'app' ]);
	like($e, qr/in a read-only transaction/, "$_->[1] there, and is told why");
}
unlike($standby->safe_psql('postgres', 'SELECT finding FROM sales.doctor()'), qr/no worker|waiting|error/, 'doctor() does not miss a worker there');
is($standby->safe_psql('postgres', 'SELECT count(*) FROM sales.progress'), '0', 'sales.progress answers');
$node->stop;
$standby->promote;
$node = $standby;
ok($node->poll_query_until('postgres', "SELECT count(*) = 4 FROM sales_internal.jobs WHERE kind = 'probe' AND state = 'done'"), 'promoted, its worker begins by itself');
is(sql('SELECT count(*), count(DISTINCT company) FROM probed p WHERE EXISTS (SELECT FROM sales_internal.jobs j WHERE j.job_id = p.job AND attempts = 1)'), '4|2', 'and no job is done twice');

$node->stop;
stop_peers();
done_testing();
