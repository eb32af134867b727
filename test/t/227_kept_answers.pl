# An answer that cannot be written at once, because somebody has locked a row that
# it is about, is kept and written later: the service is not asked again, which
# may have been paid.  Other companies' answers do not wait.
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
my $node = probe_node('kept_answers', qq{
sales_assistant.allowed_hosts = '127.0.0.1:$peer->{http}'
});
sub sql { return $node->safe_psql('postgres', $_[0]); }
sub until_true { $node->poll_query_until('postgres', $_[0]) or diag("not so: $_[0]"); return; }
sub asked { my ($path) = @_; my $n = () = slurp_file("$peer->{dir}/requests") =~ m{^GET \Q$path\E}mg; return $n; }
sql(q{
CREATE TABLE answers_of AS SELECT company_id, 0 AS n FROM sales.companies;
CREATE OR REPLACE FUNCTION probe_settle(job uuid, company uuid, args jsonb, response jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	UPDATE public.answers_of SET n = n + 1 WHERE company_id = company;
	INSERT INTO public.probed VALUES (job, company, response);
	RETURN '{"outcome": "done"}';
END $$;});

# --- a lock ---
my $holder = $node->background_psql('postgres');
$holder->query_safe(q{BEGIN; UPDATE answers_of SET n = n WHERE company_id = (SELECT company_id FROM sales.companies WHERE name = 'Alpha')});
sql(qq{SELECT sales_internal.enqueue('probe', company_id, jsonb_build_object('url', '$url/ok?' || name || n)) FROM sales.companies, generate_series(1, 30) n ORDER BY name});
until_true(q{SELECT last_error LIKE '%lock timeout%' FROM sales.worker_status WHERE database = current_database()});
until_true(q{SELECT n = 30 FROM answers_of JOIN sales.companies USING (company_id) WHERE name = 'Beta'});
is(asked('/ok?Alpha'), 30, 'Alpha\'s calls are made');
is(sql(q{SELECT count(*) FROM sales_internal.jobs JOIN sales.companies USING (company_id) WHERE name = 'Alpha' AND kind = 'probe' AND state = 'running' AND attempts = 1}),
	'30', 'while one of its rows is locked, their answers are kept');
sql(q{SELECT sales_internal.enqueue('probe', company_id, jsonb_build_object('url', '} . $url . q{/ok?Beta')) FROM sales.companies WHERE name = 'Beta'});
until_true(q{SELECT n = 31 FROM answers_of JOIN sales.companies USING (company_id) WHERE name = 'Beta'});
$holder->query_safe('COMMIT');
$holder->quit;
until_true(q{SELECT count(*) = 61 FROM sales_internal.jobs WHERE kind = 'probe' AND state = 'done'});
is(sql(q{SELECT count(*), count(DISTINCT job) FROM probed}), '61|61', 'when it is free, each is written once');
is(asked('/ok?Alpha'), 30, 'no service was asked again');
is(sql(q{SELECT max(attempts) FROM sales_internal.jobs WHERE kind = 'probe'}), '1', 'nor was it another attempt');

# a job that is cancelled while its answer is kept stays so
$holder = $node->background_psql('postgres');
$holder->query_safe(q{BEGIN; UPDATE answers_of SET n = n WHERE company_id = (SELECT company_id FROM sales.companies WHERE name = 'Alpha')});
my $job = sql(qq{SELECT sales_internal.enqueue('probe', company_id, '{"url": "$url/wait/1?cancelled"}') FROM sales.companies WHERE name = 'Alpha'});
wait_for(sub { asked('/wait/1?cancelled') });
sql(qq{UPDATE sales_internal.jobs SET state = 'cancelled', finished_at = now(), lease_until = NULL WHERE job_id = '$job'});
$holder->query_safe('COMMIT');
$holder->quit;
until_true(q{SELECT calls_open = 0 AND state = 'idle' FROM sales.worker_status WHERE database = current_database()});
is(sql("SELECT state, (SELECT count(*) FROM probed WHERE job = job_id) FROM sales_internal.jobs WHERE job_id = '$job'"), 'cancelled|0', 'the answer of a job that is cancelled meanwhile is dropped');

$node->stop;
stop_peers();
done_testing();
