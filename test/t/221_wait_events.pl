# What pg_stat_activity says that processes of ours wait for: the names that docs/operations.md gives, on PostgreSQL 17 and
# later; "Extension" before.  Each wait is one that does not end by itself: nothing here depends on how fast a machine is.
use strict;
use warnings;
use File::Basename;
use lib dirname(__FILE__) . '/../servers';
use IO::Socket::INET;
use IPC::Run;
use Peers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $slow = start_echo(600_000);
# takes questions and answers none
my $mute = IO::Socket::INET->new(Proto => 'udp', LocalAddr => '127.0.0.1') or die $!;
my $node = PostgreSQL::Test::Cluster->new('wait_events');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'sales_assistant'
sales_assistant.allowed_hosts = '127.0.0.1'
sales_assistant.dns_servers = '127.0.0.1:@{[ $mute->sockport ]}'
log_statement = none
});
$node->start;
sub sql { return $node->safe_psql('postgres', $_[0]); }
sql('CREATE EXTENSION sales_assistant;' . probe_sql() . q{
SELECT sales.create_company(n, lower(n) || '.test', 'business', 'fr', 'Europe/Paris', 'a@' || lower(n) || '.test', 'secret-secret') FROM unnest('{Alpha,Beta}'::text[]) n;
CREATE ROLE app LOGIN IN ROLE sales_app});
my $named = sql("SELECT current_setting('server_version_num')::int >= 170000") eq 't';

my ($said) = slurp_file('docs/operations.md') =~ /^\*\*Waits\*\*: (.*?)\n(?=`query` of a worker)/ms;
my %said = map { $_ => 1 } $said =~ /`(SalesAssistant\w+)`/g;
my %made = map { $_ => 1 } map { slurp_file($_) =~ /compat_wait_event\([^"]*"(\w+)"/g } glob 'src/*/*.c';
is(join(' ', sort keys %said), join(' ', sort keys %made), 'the page names all that there are');

my %seen;
# Some process of these waits for it, sooner or later.
sub waits
{
	my ($condition, $name, $what) = @_;
	my $event = $named ? $name : 'Extension';
	$seen{$name} = 1;
	ok($node->poll_query_until('postgres', "SELECT count(*) > 0 FROM pg_stat_activity WHERE $condition AND wait_event_type = 'Extension' AND wait_event = '$event'"), "$what: $event")
	  or diag(sql("SELECT backend_type, application_name, state, wait_event_type, wait_event, query FROM pg_stat_activity"));
	return;
}

# A session that waits, until it is ended.
sub session_waits
{
	my ($name, $what, $sql, @options) = @_;
	my ($out, $err) = ('', '');
	my $session = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres') . " application_name=waits", @options, '-c', $sql ], '<', \undef, '>', \$out, '2>', \$err);
	waits("application_name = 'waits'", $name, $what);
	sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'waits'");
	$session->finish;
	$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE application_name = 'waits'");
	return;
}
sub call_of { return "SELECT sales_internal.enqueue('probe', company_id, jsonb_build_object('url', 'http://127.0.0.1:$slow/x')) FROM sales.companies WHERE name = '$_[0]'"; }

# --- processes of ours ---
waits("backend_type = 'sales_assistant launcher'", 'SalesAssistantLauncher', 'the launcher');
waits("backend_type = 'sales_assistant worker'", 'SalesAssistantIdle', 'a worker without work');
my $job = sql(call_of('Alpha'));
waits("backend_type = 'sales_assistant worker'", 'SalesAssistantCalls', 'a worker with a call open');

# --- sessions ---
session_waits('SalesAssistantWaitJob', 'a session that waits for a job',
	"SELECT sales.set_tenant(company_id, NULL, false), sales.wait_job('$job', '1 hour') FROM sales.companies WHERE name = 'Alpha'");
my $worker = sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'sales_assistant worker'");
kill 'STOP', $worker;
session_waits('SalesAssistantWorkerEnd', 'a session that waits for the end of a worker', 'SELECT sales.stop_workers() FROM generate_series(1, 1000)');
kill 'CONT', $worker;
$node->poll_query_until('postgres', "SELECT count(*) = 0 FROM pg_stat_activity WHERE backend_type = 'sales_assistant worker'");
sql('DELETE FROM sales_internal.jobs');
sql(call_of('Beta'));
session_waits('SalesAssistantCall', 'a session that calls', 'SELECT sales_internal.run_jobs()');
session_waits('SalesAssistantDns', 'a session that looks up a name', q{SELECT sales_internal.dns_txt('x.test') FROM generate_series(1, 1000)});

# --- without preload: wrong passwords are answered late ---
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
session_waits('SalesAssistantLogin', 'a session that guesses',
	q{DO $$ BEGIN LOOP BEGIN PERFORM sales.login('alpha.test', 'a@alpha.test', 'wrong'); EXCEPTION WHEN OTHERS THEN NULL; END; END LOOP; END $$}, '-U', 'app');

is(join(' ', sort keys %seen), join(' ', sort keys %said), 'each was seen');
$node->stop;
stop_peers();
done_testing();
