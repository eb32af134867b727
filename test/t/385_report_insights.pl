# Insights by a chat provider: asked in the company's language with figures and without people, put before the local
# ones, escaped, paid for; and local ones alone where there is no key or the service fails.
use strict;
use warnings;

use Cwd qw(abs_path);
use IPC::Run;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $log = "${PostgreSQL::Test::Utils::tmp_check}/insights.log";
my ($out, $err) = ('', '');
my $server = IPC::Run::start([ '/usr/bin/python3', abs_path('test/servers/openai.py'), $log ], '>', \$out, '2>', \$err);
$server->pump until $out =~ /\n/;
my ($port) = $out =~ /^(\d+)/;

my $node = PostgreSQL::Test::Cluster->new('insights');
$node->init;
$node->append_conf('postgresql.conf', <<CONF);
shared_preload_libraries = 'sales_assistant'
max_worker_processes = 16
sales_assistant.allowed_hosts = '127.0.0.1:$port'
CONF
$node->start;
$node->safe_psql('postgres', <<SQL);
CREATE EXTENSION sales_assistant;
UPDATE sales.providers SET base_url = 'http://127.0.0.1:$port/v1' WHERE name = 'openai';
SELECT sales.create_company('Alpha', 'a.test', 'business', 'fr', 'Europe/Paris', 'boss\@a.test', 'secret-alpha-1');
SELECT sales.create_company('Beta', 'b.test', 'business', 'en', 'UTC', 'boss\@b.test', 'secret-beta-1');
INSERT INTO sales.prospects (company_id, first_name, created_at) SELECT company_id, 'Hidden', '2026-05-13' FROM sales.companies;
INSERT INTO sales.interactions (company_id, prospect_id, user_id, channel, type, interaction_date)
SELECT p.company_id, p.prospect_id, u.user_id, 'email', 'sent', '2026-05-13' FROM sales.prospects p JOIN sales.users u USING (company_id);
INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, stage_entered_at, deal_value)
SELECT company_id, prospect_id, 'contacte', '2026-01-13', 500 FROM sales.prospects;
SQL

sub report
{
	my ($domain, $key) = @_;
	$node->safe_psql('postgres', "DELETE FROM sales.api_keys WHERE company_id = (SELECT company_id FROM sales.companies WHERE domain = '$domain')");
	$node->safe_psql('postgres', "INSERT INTO sales.api_keys (company_id, service_name, key_value) SELECT company_id, 'openai', 'sk-test-key-$key' FROM sales.companies WHERE domain = '$domain'")
	  if $key;
	return (split /\n/, $node->safe_psql('postgres',
		"SELECT sales.set_tenant(company_id, user_id, false) FROM sales.users WHERE email LIKE '%\@$domain'; SELECT sales.generate_report('weekly', '2026-W20')"))[-1];
}

sub ended
{
	my ($report, $state, $name) = @_;
	ok($node->poll_query_until('postgres', "SELECT state FROM sales_internal.jobs WHERE kind = 'report_insights' AND unique_key = '$report'", $state), $name)
	  or diag($node->safe_psql('postgres', "SELECT state, error FROM sales_internal.jobs WHERE kind = 'report_insights'"));
}

my $report = report('a.test', 'good');
ended($report, 'done', 'the provider answered');
is($node->safe_psql('postgres', "SELECT jsonb_path_query_array(insights_generated, '\$[*].source') ->> 0, insights_generated #>> '{0,text}', insights_generated \@> '[{\"source\": \"local\"}]', recommendations #>> '{0,text}' FROM sales.success_reports WHERE report_id = '$report'"),
	"ai|Le volume <b>monte</b>.|t|Relancer mardi.", 'its insights come first, the local ones stay');
my $html = $node->safe_psql('postgres', "SELECT sales_internal.report_page(r, 'fr') FROM sales.success_reports r WHERE report_id = '$report'");
like($html, qr/Le volume &lt;b&gt;monte&lt;\/b&gt;\..*Analyses rédigées par openai/s, 'the page shows them escaped, and says who wrote them');
my $body = decode_json((split /\n/, slurp_file($log))[-1])->{body};
my $asked = join ' ', map { $_->{content} } @{ $body->{messages} };
like($asked, qr/language "fr".*messages_sent/s, 'asked in the company\'s language about the figures');
unlike($asked, qr/Hidden|boss|user_id|prospect_id|[0-9a-f]{8}-[0-9a-f]{4}-7/, 'without people or their keys');
is($node->safe_psql('postgres', "SELECT purpose, cost > 0 FROM sales_internal.ai_costs"), 'report|t', 'and it is in the ledger');

$report = report('b.test', 'unknown');
ended($report, 'failed', 'a key that is refused fails the job');
is($node->safe_psql('postgres', "SELECT insights_generated \@> '[{\"source\": \"ai\"}]', jsonb_array_length(insights_generated) > 0 FROM sales.success_reports WHERE report_id = '$report'"),
	'f|t', 'and leaves the local insights');
$report = report('b.test', undef);
is($node->safe_psql('postgres', "SELECT count(*) FROM sales_internal.jobs WHERE kind = 'report_insights' AND unique_key = '$report'"), '0', 'without a key nobody is asked');
$node->stop;
$server->kill_kill;
done_testing();
