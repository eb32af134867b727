# A job whose functions take without end fails, and holds up the worker that all
# companies share no longer than sales_assistant.turn_timeout; before and after a
# call, and where it makes none.
use strict;
use warnings;
use File::Basename;
use lib dirname(__FILE__) . '/../servers';
use Peers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $port = start_echo(0);
my $node = PostgreSQL::Test::Cluster->new('turn_timeout');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'sales_assistant'
sales_assistant.allowed_hosts = '127.0.0.1'
sales_assistant.turn_timeout = '700ms'
});
$node->start;
sub sql { return $node->safe_psql('postgres', $_[0]); }
sql('CREATE EXTENSION sales_assistant;' . probe_sql() . q{
SELECT sales.create_company('Alpha', 'alpha.test', 'starter', 'en', 'UTC', 'a@alpha.test', 'alpha-secret-1');
SELECT sales.create_company('Beta', 'beta.test', 'starter', 'en', 'UTC', 'b@beta.test', 'beta-secret-1');
CREATE FUNCTION endless(job uuid, company uuid, args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN LOOP END LOOP; END $$;
CREATE FUNCTION endless(job uuid, company uuid, args jsonb, response jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$ BEGIN LOOP END LOOP; END $$;
INSERT INTO sales_internal.job_kinds (kind, mode, prepare_function, settle_function)
VALUES ('before', 'http', 'public.endless', 'public.probe_settle'), ('after', 'http', 'public.probe_prepare', 'public.endless'), ('without', 'sql', 'public.endless', NULL);
});
sub ask
{
	my ($company, $kind) = @_;
	return sql("SELECT sales_internal.enqueue('$kind', company_id, '{\"url\": \"http://127.0.0.1:$port/x\"}') FROM sales.companies WHERE name = '$company'");
}
my $pid = sql(q{SELECT pid FROM sales.worker_status});
for my $kind ('before', 'after', 'without')
{
	my $evil = ask('Alpha', $kind);
	my $good = ask('Beta', 'probe');
	$node->poll_query_until('postgres', "SELECT state NOT IN ('queued', 'running') FROM sales_internal.jobs WHERE job_id = '$evil'") or diag('it does not end');
	is(sql("SELECT state, attempts, error FROM sales_internal.jobs WHERE job_id = '$evil'"), 'failed|1|the job held up the worker for longer than sales_assistant.turn_timeout', "endless $kind: it fails, once");
	$node->poll_query_until('postgres', "SELECT state = 'done' FROM sales_internal.jobs WHERE job_id = '$good'") or diag('the other company is not served');
	is(sql("SELECT state FROM sales_internal.jobs WHERE job_id = '$good'"), 'done', 'and the other company is served');
}
is(sql(q{SELECT pid FROM sales.worker_status}), $pid, 'the worker is the same');
$node->stop;
stop_peers();
done_testing();
