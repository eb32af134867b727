# Imports that run in a worker: data, uploads in parts, web and API pages, the
# schedule, progress, cancelling, and a server killed in the middle.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use IPC::Run;
use Cwd qw(abs_path);

my ($out, $err) = ('', '');
my $server = IPC::Run::start([ '/usr/bin/python3', abs_path('test/servers/import_sources.py') ], '>', \$out, '2>', \$err);
$server->pump until $out =~ /\n/;
my ($port) = $out =~ /^(\d+)/;

my $node = PostgreSQL::Test::Cluster->new('import_jobs');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'sales_assistant'
sales_assistant.allowed_hosts = '127.0.0.1:$port'
log_statement = none
restart_after_crash = on
});
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION sales_assistant;
CREATE ROLE app LOGIN IN ROLE sales_app;
SELECT sales.create_company('Alpha', 'alpha.test', 'starter', 'fr', 'Europe/Paris', 'boss@alpha.test', 'alpha-secret-1');
SELECT sales.create_company('Beta', 'beta.test', 'starter', 'en', 'UTC', 'boss@beta.test', 'beta-secret-1');
});

# SQL as the application, logged in as a company's admin; the last line of its output.
sub as
{
	my ($company, $sql) = @_;
	my $all = $node->safe_psql('postgres',
		"SELECT sales.use_session(sales.login('$company.test', 'boss\@$company.test', '$company-secret-1'), false) \\g /dev/null\n$sql",
		extra_params => [ '-U', 'app' ]);
	return (split /\n/, $all)[-1] // '';
}
sub import_of
{
	my ($company, $type, $config, $mapping) = @_;
	$mapping = defined $mapping ? "'$mapping'" : 'NULL';
	return as($company, "INSERT INTO sales.import_jobs (name, source_type, source_config, field_mapping) VALUES ('test', '$type', '$config', $mapping) RETURNING import_job_id");
}
sub run_job
{
	my ($company, $import) = @_;
	my $run = as($company, "SELECT sales.run_import('$import')");
	$node->poll_query_until('postgres', "SELECT state IN ('done', 'failed', 'cancelled') FROM sales_internal.jobs WHERE job_id = '$run'");
	return $run;
}
sub told
{
	my ($company, $run) = @_;
	return as($company, "SELECT status, rows_read, rows_inserted, rows_updated, rows_unchanged, rows_duplicate, rows_rejected FROM sales.import_runs WHERE run_id = '$run'");
}
sub error_of { my ($company, $run) = @_; return as($company, "SELECT coalesce(error, '') FROM sales.jobs WHERE job_id = '$run'"); }

# --- data in the row, an upload in parts ---
my $import = import_of('alpha', 'csv', '{"data": "email,last name\na@data.test,X\nbad,Y\n", "options": {"update": "empty"}}');
my $run = run_job('alpha', $import);
is(told('alpha', $run), 'done|2|1|0|0|0|1', 'data in the row is imported, and the run bears the key of the job');
is(as('alpha', "SELECT status, records_processed, records_succeeded, records_failed, error_log FROM sales.import_jobs"),
	'active|2|1|1|row 3: email: it has no @', 'the import says how it went');
is(told('alpha', run_job('alpha', $import)), 'done|2|0|0|1|0|1', 'again: nothing changes');
is(as('beta', 'SELECT (SELECT count(*) FROM sales.import_jobs), (SELECT count(*) FROM sales.import_runs), (SELECT count(*) FROM sales.prospects)'), '0|0|0', 'the other company sees nothing of it');
as('alpha', q{INSERT INTO sales.import_uploads (upload_id, part, name, content) VALUES
	('00000000-0000-7000-8000-000000000001', 1, 'big.csv', convert_to(E'email,notes\nu1@up.test,"caf' || U&'\00e9', 'WIN1252')),
	('00000000-0000-7000-8000-000000000001', 2, 'big.csv', convert_to(E' noir\nin two"\nu2', 'WIN1252')), ('00000000-0000-7000-8000-000000000001', 3, 'big.csv', convert_to(E'@up.test,\n', 'WIN1252'))});
$import = import_of('alpha', 'csv', '{"upload_id": "00000000-0000-7000-8000-000000000001"}');
is(told('alpha', run_job('alpha', $import)), 'done|2|2|0|0|0|0', 'an upload in parts, cut inside a row, is one file');
is(as('alpha', q{SELECT replace(notes, E'\n', '/') FROM sales.prospects WHERE email = 'u1@up.test'}), "caf\x{c3}\x{a9} noir/in two", 'in its own encoding');
is(as('alpha', 'SELECT count(*) FROM sales.import_uploads'), '0', 'and is gone once it is imported');
my ($ret, $stdout, $stderr) = $node->psql('postgres', "SELECT sales.use_session(sales.login('alpha.test', 'boss\@alpha.test', 'alpha-secret-1'), false);
	SELECT sales.run_import('$import')", extra_params => [ '-U', 'app' ]);
like($stderr, qr/there is no upload/, 'so it cannot run again');

# --- the web: a file, an API with its kinds of paging ---
my $base = "http://127.0.0.1:$port";
is(told('alpha', run_job('alpha', import_of('alpha', 'csv', qq({"url": "$base/file.csv"})))), 'done|1|1|0|0|0|0', 'a CSV file of the web');
is(as('alpha', "SELECT last_name FROM sales.prospects WHERE email = 'web\@file.test'"), "\x{c3}\x{89}t\x{c3}\x{a9}", 'read in its encoding');
my $mapping = '{"$.name.first": "first_name", "$.name.last": "last_name", "mail": "email"}';
$import = import_of('alpha', 'api', qq({"url": "$base/pages", "token": "the-token-of-alpha", "paging": {"page": "page"}}), $mapping);
is(as('alpha', "SELECT source_config ? 'token', source_config ? 'api_key_id' FROM sales.import_jobs WHERE import_job_id = '$import'"), 'f|t', 'the token is not kept in the row');
is($node->safe_psql('postgres', "SELECT count(*) FROM sales.api_keys WHERE key_value LIKE '%token%'"), '0', 'but encrypted among the keys');
is(told('alpha', run_job('alpha', $import)), 'done|6|6|0|0|0|0', 'all pages of an API are imported, by paths');
is(as('alpha', "SELECT first_name, last_name, source FROM sales.prospects WHERE email = 'p3.2\@api.test'"), 'P3|L2|api', 'nested values too');
is(told('alpha', run_job('alpha', $import)), 'done|6|0|0|6|0|0', 'again: nothing changes');
is(told('alpha', run_job('alpha', import_of('alpha', 'api', qq({"url": "$base/linked", "items": "\$.items[*]", "paging": {"next_url": "\$.links.next"}}), $mapping))),
	'done|6|0|0|6|0|0', 'pages that name the next');
is(told('alpha', run_job('alpha', import_of('alpha', 'api', qq({"url": "$base/cursor", "paging": {"cursor": "\$.meta.next"}}), $mapping))), 'done|4|0|0|4|0|0', 'pages with a cursor');
is(told('alpha', run_job('alpha', import_of('alpha', 'api', qq({"url": "$base/busy"}), $mapping))), 'done|2|0|0|2|0|0', 'a service that asks to wait is asked again');
for (['elsewhere', qr/leads to another host/, '{"next_url": "$.next"}'], ['broken', qr/not the JSON/, '{}'], ['nothing', qr/answered 404/, '{}'])
{
	my ($path, $says, $paging) = @$_;
	$run = run_job('alpha', import_of('alpha', 'api', qq({"url": "$base/$path", "paging": $paging}), $mapping));
	like(error_of('alpha', $run), $says, "$path: the run fails and says why");
	is((split /\|/, told('alpha', $run))[0], 'failed', "$path: the run is over");
}
$run = run_job('alpha', import_of('alpha', 'api', '{"url": "http://127.0.0.1:1/secret"}', $mapping));
like(error_of('alpha', $run), qr/not public/, 'the guard lets no import into the inside');
$run = run_job('alpha', import_of('alpha', 'api', qq({"url": "$base/pages", "paging": {"page": "page"}}), $mapping));
like(error_of('alpha', $run), qr/answered 401/, 'without the key there is no answer');
like(as('alpha', "SELECT status || ' ' || error_log FROM sales.import_jobs WHERE last_run IS NOT NULL ORDER BY created_at DESC LIMIT 1"), qr/^failed the server answered 401/, 'the import says so');

for (['{"items": "$["}', 'NULL', qr/items: "\$\[" is not a JSON path/], ['{"paging": {"next": "x"}}', 'NULL', qr/paging cannot be or hold "next"/],
	['{}', q('{"$.a[": "email"}'), qr/field_mapping: "\$\.a\[" is not a JSON path/])
{
	my ($config, $map, $says) = @$_;
	my ($rc, $o, $e) = $node->psql('postgres', "SELECT sales.use_session(sales.login('alpha.test', 'boss\@alpha.test', 'alpha-secret-1'), false);
		INSERT INTO sales.import_jobs (name, source_type, source_config, field_mapping) VALUES ('test', 'api', '$config', $map)", extra_params => [ '-U', 'app' ]);
	like($e, $says, 'what is no JSON path is refused when it is written');
}

# --- the schedule ---
my $clocked = as('alpha', "INSERT INTO sales.import_jobs (name, source_type, source_config, schedule_cron) VALUES ('nightly', 'csv', '{\"url\": \"$base/file.csv\"}', '30 2 * * *') RETURNING import_job_id");
is(as('alpha', "SELECT to_char(next_run AT TIME ZONE 'Europe/Paris', 'HH24:MI') FROM sales.import_jobs WHERE import_job_id = '$clocked'"), '02:30', 'a schedule plans the next run in the company\'s timezone');
($ret, $stdout, $stderr) = $node->psql('postgres', "SELECT sales.use_session(sales.login('alpha.test', 'boss\@alpha.test', 'alpha-secret-1'), false);
	UPDATE sales.import_jobs SET schedule_cron = 'every night'", extra_params => [ '-U', 'app' ]);
like($stderr, qr/is not a schedule/, 'what is no schedule is refused when it is written');
# three nights were missed
$node->safe_psql('postgres', "UPDATE sales.import_jobs SET next_run = now() - interval '3 days' WHERE import_job_id = '$clocked'; SELECT sales_internal.run_due_imports()");
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM sales.import_runs WHERE import_job_id = '$clocked' AND status = 'done'");
is($node->safe_psql('postgres', "SELECT next_run > now(), last_run IS NOT NULL FROM sales.import_jobs WHERE import_job_id = '$clocked'"), 't|t', 'missed runs are done once, and the next is ahead');
$node->safe_psql('postgres', 'SELECT sales_internal.run_due_imports()');
is($node->safe_psql('postgres', "SELECT count(*) FROM sales.import_runs WHERE import_job_id = '$clocked'"), '1', 'and not before its time');
as('alpha', "UPDATE sales.import_jobs SET status = 'paused' WHERE import_job_id = '$clocked'");
is(as('alpha', "SELECT next_run IS NULL FROM sales.import_jobs WHERE import_job_id = '$clocked'"), 't', 'a paused import plans nothing');

# --- many rows: progress that others see, cancelling, a crash ---
sub upload
{
	my ($id, $rows, $domain) = @_;
	as('alpha', qq{INSERT INTO sales.import_uploads (upload_id, part, name, content)
SELECT '$id', p, 'many.csv', convert_to(CASE WHEN p = 1 THEN E'email,last name,notes\\n' ELSE '' END
       || (SELECT string_agg(format(E'u%s\@$domain,N%s,%s\\n', i, i, repeat('x', 50)), '' ORDER BY i) FROM generate_series((p - 1) * 10000 + 1, least(p * 10000, $rows)) i), 'UTF8')
FROM generate_series(1, ($rows + 9999) / 10000) p});
	return import_of('alpha', 'csv', qq({"upload_id": "$id"}));
}
$import = upload('00000000-0000-7000-8000-000000000002', 120000, 'cancel.test');
$run = as('alpha', "SELECT sales.run_import('$import')");
is(as('alpha', "SELECT sales.run_import('$import')"), $run, 'an import runs once at a time');
$node->poll_query_until('postgres', "SELECT rows_read > 0 AND status = 'running' FROM sales.import_runs WHERE run_id = '$run'");
like(as('alpha', "SELECT progress ->> 'row' FROM sales.import_runs WHERE run_id = '$run'"), qr/^\d{5,}$/, 'others see how far it is while it runs');
as('alpha', "SELECT sales.cancel_job('$run')");
$node->poll_query_until('postgres', "SELECT status = 'cancelled' FROM sales.import_runs WHERE run_id = '$run'");
my $had = as('alpha', "SELECT rows_inserted FROM sales.import_runs WHERE run_id = '$run'");
$node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE backend_type = 'sales_assistant long job')");
is(as('alpha', "SELECT count(*) FROM sales.prospects WHERE email LIKE '%\@cancel.test'"), $had, 'a cancelled run has written what it says and no more');
as('alpha', "SELECT sales.undo_import('$run')");
is(as('alpha', "SELECT count(*) FROM sales.prospects WHERE email LIKE '%\@cancel.test'"), '0', 'and can be taken back');

$import = upload('00000000-0000-7000-8000-000000000003', 120000, 'crash.test');
$run = as('alpha', "SELECT sales.run_import('$import')");
$node->poll_query_until('postgres', "SELECT rows_read > 0 FROM sales.import_runs WHERE run_id = '$run'");
$node->stop('immediate');
$node->start;
is((split /\|/, told('alpha', $run))[0], 'running', 'the server was killed in the middle');
# and once more, by a kill -9 of the process that imports: all sessions go, and the server comes back by itself
$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'sales_assistant long job'");
my ($importer, $reached) = split /\|/, $node->safe_psql('postgres', "SELECT a.pid, r.rows_read FROM pg_stat_activity a, sales.import_runs r WHERE a.backend_type = 'sales_assistant long job' AND r.run_id = '$run'");
is(kill('KILL', $importer), 1, 'its process is killed too');
# a psql that meets the crash ends before it has read its query, which ends the test of whoever writes it
1 until eval { $node->poll_query_until('postgres', "SELECT NOT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $importer)") };
cmp_ok($reached, '<', 120000, 'before it was through');
$node->poll_query_until('postgres', "SELECT state = 'done' FROM sales_internal.jobs WHERE job_id = '$run'") or diag('it did not end');
is(told('alpha', $run), 'done|120000|120000|0|0|0|0', 'the run goes on where it was and counts every row once');
is(as('alpha', "SELECT count(*), count(DISTINCT email) FROM sales.prospects WHERE email LIKE '%\@crash.test'"), '120000|120000', 'no row is lost or doubled');

$node->stop;
$server->kill_kill;
done_testing();
