# sales.progress in the middle of each long operation, which a lock holds: operators see all of the cluster, a company
# its own, and what has ended, failed or was cancelled is gone.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('progress');
$node->init;
$node->append_conf('postgresql.conf', q{
shared_preload_libraries = 'sales_assistant'
sales_assistant.workers = off
max_worker_processes = 16
autovacuum = off
log_statement = none
});
$node->start;
sub sql { return $node->safe_psql('postgres', $_[0], $_[1] ? (extra_params => [ '-U', $_[1] ]) : ()); }

sql(q{CREATE EXTENSION sales_assistant;
CREATE ROLE app LOGIN IN ROLE sales_app;
CREATE ROLE watcher LOGIN IN ROLE pg_monitor;
CREATE ROLE operator LOGIN IN ROLE sales_admin;
CREATE ROLE stranger LOGIN;
SELECT sales.create_company(n, lower(n) || '.test', 'business', 'fr', 'Europe/Paris', 'a@' || lower(n) || '.test', 'secret-secret') FROM unnest('{Alpha,Beta,Gamma}'::text[]) n;
INSERT INTO sales.api_keys (company_id, service_name, key_value) SELECT company_id, 'mail', 'plain-secret-of-it' FROM sales.companies;
INSERT INTO sales.prospects (company_id, first_name, last_name, email)
SELECT company_id, 'P' || g, 'Byron', 'p' || g || '@client.example' FROM sales.companies, generate_series(1, 20) g;
INSERT INTO sales.tasks (company_id, prospect_id, type, title) SELECT company_id, prospect_id, 'call', 'call' FROM sales.prospects;
UPDATE sales.prospects SET status = 'client' WHERE first_name > 'P15';
SELECT count(*) FROM sales.maintain();
INSERT INTO sales.interactions (company_id, prospect_id, channel, type) SELECT company_id, prospect_id, 'email', 'sent' FROM sales.prospects;
CREATE DATABASE other;
});
$node->safe_psql('other', 'CREATE EXTENSION sales_assistant');
my %company = map { split /\|/ } split /\n/, sql('SELECT lower(name), company_id FROM sales.companies');
sub enter { return "SELECT sales.use_session(sales.login('$_[0].test', 'a\@$_[0].test', 'secret-secret'), false) \\g /dev/null\n"; }
my $look = "SELECT coalesce(c.name, '-'), p.operation, p.phase, p.done, p.total, p.started_at <= clock_timestamp() FROM sales.progress p LEFT JOIN sales.companies c USING (company_id)";
my $count = 'SELECT count(*) FROM sales.progress';

# Holds a statement of a company's (or nobody's) session by a lock: what its row in the view says, as "company|operation|
# phase|done|total|t".  Who may see it does, nobody else, and at its end it is gone.
sub held
{
	my ($operation, %what) = @_;
	my $holder = $node->background_psql($what{database} // 'postgres');
	$holder->query_safe("BEGIN; $what{lock}");
	my $runner = $node->background_psql($what{database} // 'postgres', on_error_stop => 0, extra_params => [ '-U', $what{user} // 'app' ]);
	$runner->query_safe(enter($what{as})) if $what{as};
	$runner->query_safe("SET client_min_messages = error; SET application_name = 'held'; " . ($what{before} // ''));
	$runner->query_until(qr/begun/, "\\echo begun\n$what{run};\n");
	$node->poll_query_until('postgres', 'SELECT count(*) > 0 FROM pg_stat_activity WHERE ' . ($what{waits} // "application_name = 'held'") . " AND wait_event_type = 'Lock'")
	  or diag("$operation does not wait");
	my $row = sql($look);
	like($row, $what{says}, "$operation: how far it is");
	is(sql('SELECT p.database || a.application_name FROM sales.progress p JOIN pg_stat_activity a USING (pid)'), ($what{database} // 'postgres') . 'held', "$operation: whose it is");
	is(join(' ', map { sql($count, $_) } 'watcher', 'operator'), '1 1', "$operation: operators see it");
	is($node->safe_psql('postgres', enter($_) . $count, extra_params => [ '-U', 'app' ]), $what{of} && $what{of} eq $_ ? 1 : 0, "$operation: what $_ sees of it") for 'alpha', 'beta';
	$what{meanwhile}->() if $what{meanwhile};
	$holder->query_safe('ROLLBACK');
	$holder->quit;
	$runner->query_safe(q{SELECT 'it has gone through'});
	is(sql($count), '0', "$operation: and it is over");
	$runner->query_safe('ROLLBACK') if $what{before};
	$runner->quit;
	return;
}

my $p1 = "(SELECT prospect_id FROM sales.prospects WHERE first_name = 'P1')";
my $exclusive = 'LOCK TABLE %s IN ACCESS EXCLUSIVE MODE';
my %alpha = (as => 'alpha', of => 'alpha');
my %super = (user => $node->safe_psql('postgres', 'SELECT current_user'));

# each in a transaction that is still open when the operation has ended
held('gdpr_erase', %alpha, before => 'BEGIN', lock => "SELECT FROM sales.prospects WHERE company_id = '$company{alpha}' FOR UPDATE", run => "SELECT sales.gdpr_erase($p1, 'x')",
	says => qr/^Alpha\|gdpr_erase\|waiting for writers\|0\|\|t$/);
held('gdpr_erase', as => 'beta', of => 'beta', before => 'BEGIN', lock => "SELECT FROM sales.tasks WHERE company_id = '$company{beta}' FOR UPDATE", run => "SELECT sales.gdpr_erase($p1, 'x')",
	says => qr/^Beta\|gdpr_erase\|rows: sales.tasks\|([1-9]\d*)\|(?!\1\|)[1-9]\d*\|t$/);
held('gdpr_erase', %alpha, before => 'BEGIN', lock => "SELECT FROM sales.audit_logs WHERE company_id = '$company{alpha}' FOR UPDATE", run => "SELECT sales.gdpr_erase($p1, 'x')",
	says => qr/^Alpha\|gdpr_erase\|audit log\|0\|\|t$/);
held('gdpr_export', %alpha, before => 'BEGIN', lock => sprintf($exclusive, 'sales.success_reports'), run => "SELECT length(sales.gdpr_export($p1)::text)",
	says => qr/^Alpha\|gdpr_export\|mentions: sales.success_reports\|[1-9]\d*\|[1-9]\d*\|t$/);
held('refresh_metrics', %alpha, lock => sprintf($exclusive, 'sales.analytics'), run => 'SELECT sales.refresh_metrics(current_date - 3, current_date)',
	says => qr/^Alpha\|refresh_metrics\|days\|0\|[1-9]\d*\|t$/);
held('refresh_scores', %alpha, before => 'BEGIN', lock => sprintf('LOCK TABLE %s IN EXCLUSIVE MODE', 'sales.prospects'), run => 'SELECT sales.refresh_scores()',
	says => qr/^Alpha\|refresh_scores\|writing\|0\|20\|t$/);
held('train_score_model', %alpha, before => 'BEGIN', lock => sprintf($exclusive, 'sales.conversion_funnel'), run => 'SELECT sales.train_score_model()',
	says => qr/^Alpha\|train_score_model\|learning\|0\|\|t$/);
my $csv = "last name,email\nX,x\@file.test\n";
held('import', %alpha, before => 'BEGIN', lock => 'LOCK TABLE sales.prospects IN SHARE MODE', run => "SELECT sales.import_csv('$csv')",
	says => qr/^Alpha\|import\|bytes of the file\|\d+\|@{[ length $csv ]}\|t$/);

# what the worker and operators do
held('import by a job', %super, of => 'beta', lock => 'LOCK TABLE sales.prospects IN SHARE MODE', run => 'SELECT sales_internal.run_jobs()',
	before => qq{SELECT sales.set_tenant(u.company_id, u.user_id, false) FROM sales.users u WHERE u.email = 'a\@beta.test' \\g /dev/null
INSERT INTO sales.import_jobs (name, source_type, source_config) VALUES ('f', 'csv', jsonb_build_object('data', '$csv')) \\g /dev/null
SELECT sales.run_import(import_job_id) FROM sales.import_jobs \\g /dev/null
BEGIN},
	says => qr/^Beta\|import\|bytes of a file\|\d+\|@{[ length $csv ]}\|t$/);
held('keep_scores', %super, before => 'UPDATE sales_internal.scoring_state SET all_scored_at = NULL; BEGIN', lock => sprintf('LOCK TABLE %s IN EXCLUSIVE MODE', 'sales.prospects'), run => 'SELECT sales_internal.keep_scores()',
	says => qr/^-\|keep_scores\|companies\|0\|3\|t$/);
held('retention', %super, lock => 'LOCK TABLE sales_internal.jobs IN SHARE MODE', run => 'SELECT sales_internal.apply_retention()', says => qr/^-\|retention\|companies\|\d\|4\|t$/);
held('maintain', %super, lock => 'LOCK TABLE sales_internal.audit_seals IN SHARE MODE', run => 'SELECT count(*) FROM sales.maintain()', says => qr/^-\|maintain\|seal audit\|[1-9]\d*\|[1-9]\d*\|t$/);
held('rotate_master_key', %super, lock => 'SELECT FROM sales.api_keys FOR UPDATE', waits => "backend_type = 'sales_assistant key rotation'",
	run => "COPY (SELECT encode(sha256(random()::text::bytea), 'hex')) TO PROGRAM 'umask 077; cat >new.key'; SELECT sales.rotate_master_key('new.key')", says => qr/^-\|rotate_master_key\|databases\|\d\|[34]\|t$/);
held('export_company', %super, of => 'alpha', lock => sprintf($exclusive, 'sales.tasks'), run => "CREATE TABLE moved AS SELECT * FROM sales.export_company('$company{alpha}')",
	says => qr/^Alpha\|export_company\|rows: sales.tasks\|[1-9]\d*\|[1-9]\d*\|t$/);
sql("COPY moved TO '" . $node->data_dir . "/moved'");
$node->safe_psql('other', "CREATE TABLE moved (table_name text, \"row\" jsonb); COPY moved FROM '" . $node->data_dir . "/moved'");
# an operator sees other databases too; a company does not, of its own key there
held('import_company', %super, database => 'other', lock => 'LOCK TABLE sales.tasks IN SHARE MODE', run => "SELECT sales.import_company('moved')",
	says => qr/^Alpha\|import_company\|rows: sales.tasks\|[1-9]\d*\|[1-9]\d*\|t$/);
held('delete_company', user => 'operator', lock => "SELECT FROM sales.tasks WHERE company_id = '$company{gamma}' FOR UPDATE", run => "SELECT sales.delete_company('$company{gamma}')",
	says => qr/^Gamma\|delete_company\|rows: sales.tasks\|[1-9]\d*\|[1-9]\d*\|t$/);

# --- cancelled, within a savepoint; ended ---
my $session = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'app' ]);
$session->query_safe(enter('alpha'));
$session->query_safe("SET application_name = 'cancelled'; BEGIN; SAVEPOINT s");
my $holder = $node->background_psql('postgres');
$holder->query_safe("BEGIN; SELECT FROM sales.prospects WHERE company_id = '$company{alpha}' FOR UPDATE");
for my $how ('cancel', 'terminate')
{
	$session->query_until(qr/begun/, "\\echo begun\nSELECT sales.gdpr_erase((SELECT prospect_id FROM sales.prospects WHERE first_name = 'P2'), 'x');\n");
	$node->poll_query_until('postgres', "SELECT count(*) = 1 FROM sales.progress WHERE operation = 'gdpr_erase'");
	sql("SELECT pg_${how}_backend(pid) FROM sales.progress");
	if ($how eq 'cancel')
	{
		like($session->query('ROLLBACK TO s; SELECT 1'), qr/1/, 'cancelled, its transaction goes on');
		is(sql($count), '0', 'and it is gone from the view');
	}
	else
	{
		ok($node->poll_query_until('postgres', "SELECT count(*) = 0 FROM sales.progress"), 'so it is when its session is ended');
	}
}
eval { $session->quit };
$holder->quit;

my ($rc, $out, $err) = $node->psql('postgres', $count, extra_params => [ '-U', 'stranger' ]);
like($err, qr/permission denied/, 'who is neither an operator nor an application sees nothing');
is(sql($count, 'app'), '0', 'nor an application without a tenant');

# --- without preload there is nothing to see ---
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
is(sql("SELECT sales_internal.note_progress('x', NULL, 'y'); $count"), "\n0", 'without preload the view is empty');
$node->stop;
done_testing();
