# Campaigns sent by a provider row over HTTP instead of SMTP: what is taken, refused,
# put off and lost, each exactly once; keys of other services log in nowhere.
use strict;
use warnings;

use File::Basename;
use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $log = PostgreSQL::Test::Utils::tempdir() . '/requests';
my ($out, $err) = ('', '');
my $server = IPC::Run::start([ 'python3', dirname(__FILE__) . '/../servers/sendgrid.py', $log ], '<', \undef, '>', \$out, '2>', \$err);
$server->pump until $out =~ /\n/;
my ($port) = $out =~ /(\d+)/;

my $node = PostgreSQL::Test::Cluster->new('provider');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'\nmax_worker_processes = 16\nsales_assistant.allowed_hosts = '127.0.0.1:$port'");
$node->start;
sub sql { return $node->safe_psql('postgres', $_[0]); }
sql(<<SQL);
CREATE EXTENSION sales_assistant;
UPDATE sales.providers SET base_url = 'http://127.0.0.1:$port/v3' WHERE name = 'sendgrid';
SELECT sales.create_company(name, lower(name) || '.test', 'business', 'en', 'UTC', 'boss\@' || lower(name) || '.test', 'secret-secret') FROM unnest('{Alpha,Beta}'::text[]) name;
INSERT INTO sales.system_settings (company_id, category, key_name, value) VALUES (NULL, 'campaigns', 'domain_per_minute', '0'), (NULL, 'campaigns', 'unsubscribe_url', 'https://app.test/u');
INSERT INTO sales.api_keys (company_id, service_name, key_value) SELECT company_id, s, CASE WHEN name = 'Beta' THEN 'SG.wrong' ELSE 'SG.key' END FROM sales.companies, unnest('{sendgrid,openai}'::text[]) s;
INSERT INTO sales.templates (company_id, name, channel, language, subject_template, content_template) SELECT company_id, 'T', 'email', 'en', 'Hi {{first_name}}', 'Text "{{first_name}}" <b>' FROM sales.companies;
INSERT INTO sales.prospects (company_id, first_name, email) SELECT company_id, n, n || '\@x.test' FROM sales.companies, unnest('{ok1,ok2,bad,pace,drop}'::text[]) n;
INSERT INTO sales.email_campaigns (company_id, name, template_id) SELECT company_id, 'C', template_id FROM sales.templates;
SQL
for my $wrong ("smtp_url, smtp_key_id) SELECT company_id, 'a\@a.test', 'smtp://evil.test', api_key_id", "provider, provider_key_id) SELECT company_id, 'a\@a.test', 'sendgrid', api_key_id")
{
	my ($rc, $o, $e) = $node->psql('postgres', "INSERT INTO sales.mailboxes (company_id, email, $wrong FROM sales.api_keys WHERE service_name = 'openai' LIMIT 1");
	like($e, qr/the key of the service "openai" is/, 'the key of another service does not log in here');
}
my ($rc, $o, $e) = $node->psql('postgres', q{INSERT INTO sales.mailboxes (company_id, email, provider) SELECT company_id, 'a@a.test', 'openai' FROM sales.companies LIMIT 1});
like($e, qr/no provider "openai" that sends mail/, 'nor does a provider that sends no mail');
sql(q{INSERT INTO sales.mailboxes (company_id, email, display_name, provider, provider_key_id) SELECT company_id, 'boss@' || domain, name, 'sendgrid', api_key_id FROM sales.companies JOIN sales.api_keys USING (company_id) WHERE service_name = 'sendgrid'});
for my $company (qw(alpha beta))
{
	sql("SELECT sales.set_tenant(company_id, user_id, false) FROM sales.users WHERE email = 'boss\@$company.test'; SELECT sales.launch_campaign(campaign_id) FROM sales.email_campaigns WHERE company_id = sales.current_company_id()");
}
my $open = q{SELECT count(*) FROM sales.campaign_recipients r JOIN sales.companies c USING (company_id) WHERE c.name = 'Alpha' AND r.status IN ('pending', 'sending')};
ok($node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM sales.campaign_recipients r JOIN sales.companies c USING (company_id) WHERE c.name = 'Alpha' AND r.status IN ('pending', 'sending')
AND (SELECT sales_internal.send_due() IS NOT NULL)}), 'all is done with');
is(sql(q{SELECT p.first_name, r.status, r.reason ~ 'valid address|lost' FROM sales.campaign_recipients r JOIN sales.prospects p USING (company_id, prospect_id) JOIN sales.companies c USING (company_id) WHERE c.name = 'Alpha' ORDER BY 1}),
	"bad|failed|t\ndrop|uncertain|t\nok1|sent|f\nok2|sent|f\npace|sent|f", 'taken, refused, put off and then taken, lost and not sent again');
ok($node->poll_query_until('postgres', q{SELECT failures > 0 AND last_error ~ 'grant is invalid' FROM sales.mailboxes WHERE email = 'boss@beta.test'}), 'a wrong key makes the mailbox rest, and says why');
is(sql(q{SELECT count(*) FROM sales.campaign_recipients r JOIN sales.companies c USING (company_id) WHERE c.name = 'Beta' AND r.status IN ('pending', 'sending')}), '5', 'and nobody has lost anything');
my %count;
my @requests = map { decode_json($_) } split /\n/, slurp_file($log);
$count{ $_->{body}{personalizations}[0]{to}[0]{email} }++ for grep { $_->{key} eq 'Bearer SG.key' } @requests;
is(join(' ', map { "$_ $count{$_}" } sort keys %count), 'bad@x.test 1 drop@x.test 1 ok1@x.test 1 ok2@x.test 1 pace@x.test 2', 'each was asked for once, but for the one put off');
my ($mail) = map { $_->{body} } grep { $_->{body}{personalizations}[0]{to}[0]{email} eq 'ok1@x.test' && $_->{key} eq 'Bearer SG.key' } @requests;
like($mail->{content}[0]{value}, qr/^Text "ok1" <b>\n\n-- \nUnsubscribe: https:/, 'the text is as it was written');
like($mail->{content}[1]{value}, qr/Text &quot;ok1&quot; &lt;b&gt;/, 'and escaped in HTML');
like($mail->{headers}{'List-Unsubscribe'}, qr/^<https:\/\/app\.test\/u\?token=[\w-]{64}>, <mailto:/, 'with both ways to unsubscribe');
my $id = $mail->{personalizations}[0]{custom_args}{recipient_id};
sql("SELECT sales.set_tenant(company_id, user_id, false) FROM sales.users WHERE email = 'boss\@alpha.test'; SELECT sales.record_email_event('$id', 'open', now() + interval '1 minute'), sales.record_email_event('$id', 'open', now() + interval '2 minutes')");
is(sql(q{SELECT emails_sent, emails_delivered, emails_opened FROM sales.email_campaigns JOIN sales.companies USING (company_id) WHERE companies.name = 'Alpha'}), '3|1|1', 'its webhook is counted by recipient_id');
is(sql(q{SELECT usage_current_month FROM sales.api_keys JOIN sales.companies USING (company_id) WHERE service_name = 'sendgrid' AND name = 'Alpha'}), '3', 'and the budget counts what was taken');
$node->stop;
$server->kill_kill;
done_testing();
