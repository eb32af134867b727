# send_report() through a real mail server: recipients, internal copy, encoding, refusal.
use strict;
use warnings;

use File::Basename;
use File::Temp qw(tempdir);
use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = tempdir(CLEANUP => 1);
my $sink = IPC::Run::start([ '/usr/bin/python3', dirname(__FILE__) . '/../servers/smtp_sink.py', $dir ]);
for (1 .. 1800) { last if -e "$dir/port"; select undef, undef, undef, 0.1; }
my $port = slurp_file("$dir/port");

my $node = PostgreSQL::Test::Cluster->new('mail');
$node->init;
$node->append_conf('postgresql.conf', <<CONF);
shared_preload_libraries = 'sales_assistant'
max_worker_processes = 16
sales_assistant.allowed_hosts = '127.0.0.1:$port'
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION sales_assistant');
$node->safe_psql('postgres', <<'SQL');
SELECT sales.create_company(E'Société "Ünïcode"', 'a.test', 'business', 'fr', 'Europe/Paris', 'boss@a.test', 'secret-alpha-1');
SQL
my $enter = "SELECT sales.set_tenant(company_id, user_id, false) FROM sales.users WHERE email = 'boss\@a.test';";

my ($rc, $out, $err) = $node->psql('postgres', "$enter SELECT sales.send_report(sales.generate_report('weekly'))");
like($err, qr/no mail server is set/, 'without a mail server it says so');

$node->safe_psql('postgres', <<SQL);
INSERT INTO sales.system_settings (company_id, category, key_name, value) VALUES
    (NULL, 'email', 'smtp_url', 'smtp://127.0.0.1:$port'), (NULL, 'email', 'from', 'reports\@platform.test'),
    (NULL, 'reports', 'internal_copy', 'team\@platform.test');
SQL
my ($report, $job) = split /\|/, (split /\n/, $node->safe_psql('postgres', <<SQL))[-1];
$enter
SELECT r, sales.send_report(r) FROM (SELECT sales.generate_report('weekly') AS r OFFSET 0) AS x;
SQL
ok($node->poll_query_until('postgres', "SELECT state FROM sales_internal.jobs WHERE job_id = '$job'", 'done'), 'the worker sent it')
  or diag($node->safe_psql('postgres', "SELECT state, error FROM sales_internal.jobs WHERE job_id = '$job'"));
is($node->safe_psql('postgres', "SELECT sent_at IS NOT NULL, sent_to_emails, internal_copy_sent FROM sales.success_reports WHERE report_id = '$report'"),
	't|["boss@a.test"]|t', 'the report knows to whom it went');
my ($envelope, $mail) = split /\n/, slurp_file("$dir/mail.1"), 2;
is($envelope, 'reports@platform.test > boss@a.test team@platform.test', 'the admin and the internal copy got it');
my ($head, $body) = split /\r?\n\r?\n/, $mail, 2;
unlike($head, qr/team\@/, 'the copy is a blind one');
my $subject = join '', map { decode_base64($_) } ($head =~ /=\?utf-8\?B\?([^?]*)\?=/g);
like($subject, qr/^Rapport hebdomadaire \d{4}-W\d\d - Soci\xc3\xa9t\xc3\xa9 "/, 'the subject survives its way');
is(scalar(() = $head =~ /^[^\r\n]{999,}/mg), 0, 'no line is too long');
my ($boundary) = $head =~ /multipart\/alternative; boundary="([^"]+)"/;
ok($boundary, 'the mail has alternatives');
my @parts = split /\r?\n?--\Q$boundary\E(?:--)?\r?\n/, $body;
my ($text) = map { /text\/plain.*?\r?\n\r?\n(.*)/s ? decode_base64($1) : () } @parts;
my ($page) = map { /text\/html.*?\r?\n\r?\n(.*)/s ? decode_base64($1) : () } @parts;
like($text // '', qr/Rapport hebdomadaire .* semaine \d+.*Chiffre d'affaires: /s, 'one in plain text, with the figures');
like($page // '', qr/^<!DOCTYPE html>.*<html lang="fr">.*<h1>Rapport hebdomadaire.*<\/html>$/s, 'one is the page of the report');

# A server that refuses is not asked again and again.
$node->safe_psql('postgres', "UPDATE sales.system_settings SET value = 'reports\@refused.test' WHERE key_name = 'from'");
my $refused = (split /\n/, $node->safe_psql('postgres', "$enter SELECT sales.send_report('$report')"))[-1];
ok($node->poll_query_until('postgres', "SELECT state FROM sales_internal.jobs WHERE job_id = '$refused'", 'failed'), 'a refusal fails the job');
like($node->safe_psql('postgres', "SELECT error FROM sales_internal.jobs WHERE job_id = '$refused'"), qr/smtp: .*550/, 'and says why');

# By themselves: the worker makes the reports that are due, and sends those of the company that asked for it.
$node->safe_psql('postgres', <<'SQL');
DELETE FROM sales.success_reports;
UPDATE sales.system_settings SET value = 'reports@platform.test' WHERE key_name = 'from';
SELECT sales.create_company('Quiet', 'b.test', 'business', 'en', 'UTC', 'boss@b.test', 'secret-beta-1');
INSERT INTO sales.system_settings (company_id, category, key_name, value)
SELECT company_id, 'reports', x.key, x.value FROM sales.companies, (VALUES ('schedule', 'weekly'), ('send', 'true')) AS x (key, value)
WHERE x.key = 'schedule' OR domain = 'a.test';
INSERT INTO sales.prospects (company_id, first_name, created_at)
SELECT company_id, 'x', (date_trunc('week', (now() AT TIME ZONE timezone) - interval '6 hours') - interval '3 days') AT TIME ZONE timezone FROM sales.companies;
SQL
ok($node->poll_query_until('postgres', q{
WITH again AS (UPDATE sales_internal.periodic_tasks SET next_run = now() WHERE name IN ('reports', 'metrics') AND next_run > now())
SELECT count(*) = 2 AND count(sent_at) = 1 FROM sales.success_reports}), 'the worker made the due reports, and sent one');
is($node->safe_psql('postgres', q{SELECT c.name LIKE 'Soc%', r.report_type, r.sent_at IS NOT NULL, r.sent_to_emails, r.internal_copy_sent
FROM sales.success_reports r JOIN sales.companies c USING (company_id) ORDER BY c.domain}),
	qq{t|weekly|t|["boss\@a.test"]|t\nf|weekly|f|[]|f}, 'each once; who did not ask for it gets no mail');
($envelope) = split /\n/, slurp_file("$dir/mail.2");
is($envelope, 'reports@platform.test > boss@a.test team@platform.test', 'it went to the admin and as internal copy');
ok(!-e "$dir/mail.3", 'and to nobody else');
$node->stop;
$sink->kill_kill;
done_testing();
