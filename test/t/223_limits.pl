# No more calls are open at a time than a provider, a company and the worker may have;
# those that are not open wait, which is no attempt, and are made when there is room.
use strict;
use warnings;
use File::Basename;
use lib dirname(__FILE__) . '/../servers';
use Peers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $peer = start_peer(PostgreSQL::Test::Utils::tempdir() . '/peer');
my $url = "http://127.0.0.1:$peer->{http}";
my $node = probe_node('limits', qq{
sales_assistant.allowed_hosts = '127.0.0.1:$peer->{http}'
});
sub sql { return $node->safe_psql('postgres', $_[0]); }
sub until_true { $node->poll_query_until('postgres', $_[0]) or diag("not so: $_[0]\n" . sql('SELECT kind, state, attempts, error, count(*) FROM sales_internal.jobs GROUP BY 1, 2, 3, 4')); return; }
sub asked { my ($path) = @_; return scalar(grep { $_ eq "GET $path" } split /\n/, slurp_file("$peer->{dir}/requests")); }
sql(q{
CREATE OR REPLACE FUNCTION probe_prepare(job uuid, company uuid, args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	IF args ? 'provider' THEN PERFORM sales_internal.pace_call(args ->> 'provider', NULL, '{"open": 3}'); END IF;
	RETURN args;
END $$;});
sub ask
{
	my ($n, $company, $path, $more) = @_;
	sql("SELECT sales_internal.enqueue('probe', company_id, '{\"url\": \"$url$path\"$more}') FROM sales.companies, generate_series(1, $n) WHERE name ~ '$company'");
	return;
}

# How the peer is asked while it holds back its answers: so often for each path, when the worker waits for them and nothing else is to be done.
sub holds
{
	my ($name, $more, %paths) = @_;
	wait_for(sub { !grep { asked($_) < $paths{$_} } keys %paths });
	until_true($more);
	until_true(q{SELECT state = 'calling' FROM sales.worker_status WHERE database = current_database()});
	is(join(' ', map { "$_ " . asked($_) } sort keys %paths), join(' ', map { "$_ $paths{$_}" } sort keys %paths), $name);
	return;
}
sub release
{
	append_to_file("$peer->{dir}/release", '');
	# what waits for a turn is hurried along
	until_true(q{WITH hurried AS (UPDATE sales_internal.jobs SET run_at = now() WHERE state = 'queued' AND run_at > now() RETURNING sales_internal.wake_workers())
		SELECT count(*) = 0 AND (SELECT count(*) FROM hurried) = 0 FROM sales_internal.jobs WHERE state IN ('queued', 'running')});
	is(sql(q{SELECT state, max(attempts) FROM sales_internal.jobs GROUP BY 1}), 'done|1', 'all are done in the end, and waiting was no attempt');
	unlink "$peer->{dir}/release";
	sql('DELETE FROM sales_internal.jobs');
	return;
}

# --- a provider ---
ask(10, 'Alpha', '/held?narrow', ', "provider": "narrow"');
ask(2, 'Beta', '/held?free', '');
holds('no more calls are open with a provider than its limit, while others go on',
	q{SELECT count(*) = 7 FROM sales_internal.jobs WHERE state = 'queued' AND claim > 0 AND attempts = 0}, '/held?narrow' => 3, '/held?free' => 2);
release();
is(asked('/held?narrow'), 10, 'each was called once');

# --- a company ---
$node->append_conf('postgresql.conf', "sales_assistant.max_calls = 20\nsales_assistant.max_calls_per_company = 12");
$node->reload;
ask(30, 'Alpha', '/held?alpha', '');
ask(3, 'Beta', '/held?beta', '');
holds('no more calls are open for a company than its limit, and another finds room', 'SELECT true', '/held?alpha' => 12, '/held?beta' => 3);
is(sql(q{SELECT calls_open FROM sales.worker_status WHERE database = current_database()}), '15', 'as worker_status shows');
release();

# --- the worker ---
ask(30, 'Alpha|Beta', '/held?both', '');
holds('no more calls are open than the worker may have', 'SELECT true', '/held?both' => 20);
is(sql(q{SELECT count(*) FROM sales_internal.jobs WHERE state = 'running' GROUP BY company_id}), "10\n10", 'half of them each company\'s');
release();

$node->stop;
stop_peers();
done_testing();
