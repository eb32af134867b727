# A disk that is full (test/servers/full_disk.c) in the midst of imports, roll-ups,
# sealing and jobs of two companies: each says so, nothing is half-written, the
# worker stays; with room again all goes on by itself.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tmp = PostgreSQL::Test::Utils::tempdir();
is(system('cc', '-shared', '-fPIC', '-o', "$tmp/full_disk.so", abs_path(dirname(__FILE__)) . '/../servers/full_disk.c', '-ldl'), 0, 'a disk of the test\'s own');
sub full { append_to_file("$tmp/full", ''); return; }
sub room { unlink "$tmp/full" or die $!; return; }

my $node = PostgreSQL::Test::Cluster->new('full_disk');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'\nlog_statement = none\nautovacuum = off");
$ENV{LD_PRELOAD} = "$tmp/full_disk.so";
$ENV{FULL_DISK} = "$tmp/full";
$node->start;
delete $ENV{LD_PRELOAD};
sub sql { return $node->safe_psql('postgres', $_[0]); }
sub says { my ($rc, $out, $err) = $node->psql('postgres', $_[0]); return $rc == 0 ? "no error: $out" : $err; }
sql(q{CREATE EXTENSION sales_assistant; SELECT sales.stop_workers();
SELECT sales.create_company(n, lower(n) || '.test', 'business', 'fr', 'Europe/Paris', 'a@' || lower(n) || '.test', 'secret-secret') FROM unnest('{Alpha,Beta}'::text[]) n});
my %id = map { split /\|/ } split /\n/, sql('SELECT name, company_id FROM sales.companies');
my %be = map { $_ => "SELECT sales.set_tenant('$id{$_}', (SELECT user_id FROM sales.users WHERE company_id = '$id{$_}'), false) \\g /dev/null\n" } keys %id;
my $file = q{SELECT 'First Name,Last Name,Email,Notes' || string_agg(format(E'\nFn%s,Ln%s,p%s@x.test,%s', g, g, g, repeat('n', 300)), '') AS file FROM generate_series(1, 400) g \gset
};
for my $company ('Alpha', 'Beta')
{
	sql("$be{$company}${file}SELECT sales.import_csv(:'file') \\g /dev/null
INSERT INTO sales.interactions (prospect_id, channel, type, interaction_date) SELECT prospect_id, 'email', 'sent', now() FROM sales.prospects WHERE company_id = '$id{$company}'");
}

# Rows of every table, and what they are.
my $tables = join ";\n", split /\n/, sql(q{SELECT format('SELECT %L, count(*), md5(string_agg(t::text, chr(10) ORDER BY t::text COLLATE "C")) FROM %s t', c.oid::regclass, c.oid::regclass)
FROM pg_class c WHERE relnamespace IN ('sales'::regnamespace, 'sales_internal'::regnamespace) AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY c.oid::regclass::text COLLATE "C"});
my $before = sql($tables);
(my $more = $file) =~ s/p%s\@x/q%s\@x/;
full();
my $no_room = qr/could not extend file .*No space left on device/s;
like(says("$be{Alpha}${more}SELECT sales.import_csv(:'file')"), $no_room, 'an import says that the disk is full');
like(says("$be{Beta}SELECT sales.refresh_metrics()"), $no_room, 'so does a roll-up');
like(says('SELECT sales_internal.seal_audit_task()') . says('SELECT sales_internal.seal_audit_task()'), qr/No space left|no error/, 'and sealing, where it needs room');
like(says("$be{Alpha}INSERT INTO sales.products (name, description) SELECT 'P' || g, repeat(md5(g::text), 100) FROM generate_series(1, 200) g"), $no_room, 'and a plain INSERT');
room();
is(join("\n", grep { !/audit_seal/ } split /\n/, sql($tables)), join("\n", grep { !/audit_seal/ } split /\n/, $before), 'nothing of them is half-written');

# the worker meets it
sql(q{INSERT INTO sales.import_uploads (company_id, name, content) SELECT company_id, 'x.csv', convert_to('First Name,Email' || (SELECT string_agg(format(E'\nW%s,w%s@x.test', g, g), '') FROM generate_series(1, 500) g), 'UTF8') FROM sales.companies});
my %job = map { my $company = $_; $company => sql(qq{$be{$company}INSERT INTO sales.import_jobs (name, source_type, source_config)
SELECT 'upload', 'csv', jsonb_build_object('upload_id', upload_id) FROM sales.import_uploads WHERE company_id = '$id{$company}' RETURNING import_job_id \\gset
SELECT sales.run_import(:'import_job_id')}) } ('Alpha', 'Beta');
full();
my $read = -s $node->logfile;
sql('SELECT sales.start_workers()');
$node->poll_query_until('postgres', 'SELECT count(*) = 1 FROM sales.worker_status WHERE database = current_database() AND pid IS NOT NULL') or fail('no worker');
ok($node->wait_for_log($no_room, $read), 'the worker says in the log what it meets');
my $worker = sql('SELECT pid FROM sales.worker_status WHERE database = current_database()');
isnt($worker, '', 'the worker is there');
room();
# who waits to be tried again does so now
$node->poll_query_until('postgres', q{WITH hurried AS (UPDATE sales_internal.jobs SET run_at = now() WHERE state = 'queued' AND run_at > now() + interval '2 seconds' RETURNING sales_internal.wake_workers())
SELECT count(*) = 0 FROM sales_internal.jobs WHERE state IN ('queued', 'running') AND (SELECT count(*) FROM hurried) >= 0}) or diag(sql("SELECT kind, state, attempts, error FROM sales_internal.jobs"));
is(sql('SELECT pid FROM sales.worker_status WHERE database = current_database()'), $worker, 'and is the same still');
is(sql(q{SELECT c.name, count(*) FILTER (WHERE p.email LIKE 'w%'), count(*) FILTER (WHERE p.email LIKE 'q%'), count(*) FILTER (WHERE p.email LIKE 'p%')
FROM sales.prospects p JOIN sales.companies c USING (company_id) GROUP BY 1 ORDER BY 1}), "Alpha|500|0|400\nBeta|500|0|400", 'with room again both imports end, each row once');
sub all_is_well
{
	my ($when) = @_;
	# a task that meets the lock of the worker says so and is done the next time
	ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM sales.maintain() WHERE result LIKE 'failed%'}), "$when: every task works");
	for my $company ('Alpha', 'Beta')
	{
		is(sql("$be{$company}SELECT sales.refresh_metrics() \\g /dev/null
SELECT count(*) FROM sales.check_metrics(); SELECT bool_and(ok) FROM sales.verify_audit()"), "0\nt", "$when: $company\'s metrics are exact, its audit chain verifies");
	}
	return;
}
all_is_well('with room again');

$node->stop;
done_testing();
