# The server is killed (kill -9, every process of it) between the moment at which a
# real Postfix has taken a mail and the moment at which that is committed, and at
# moments of chance.  Nobody gets a mail twice; what nobody can know is uncertain.
use strict;
use warnings;

use File::Basename;
use lib dirname(__FILE__) . '/../servers';
use File::Temp qw(tempdir);
use MailServers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'postfix, dovecot and fakeroot are needed' unless MailServers::available();

my $dir = tempdir(CLEANUP => 1);
my $servers = MailServers->new($dir, 'mailbox-secret', 'x.test', 'alpha.test', 'beta.test');
$servers->start_dovecot;
$servers->start_postfix;

my $node = PostgreSQL::Test::Cluster->new('campaign_crash');
$node->init;
$node->append_conf('postgresql.conf', <<CONF);
shared_preload_libraries = 'sales_assistant'
max_worker_processes = 16
sales_assistant.allowed_hosts = '127.0.0.1:$servers->{smtp}'
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION sales_assistant');
sub sql { return $node->safe_psql('postgres', $_[0]); }

my ($held, $killed, $each) = (4, 6, 30);
sql(<<SQL);
SELECT sales.create_company(name, lower(name) || '.test', 'business', 'en', 'UTC', 'boss\@' || lower(name) || '.test', 'secret-secret') FROM unnest('{Alpha,Beta}'::text[]) name;
INSERT INTO sales.system_settings (company_id, category, key_name, value) VALUES (NULL, 'campaigns', 'domain_per_minute', '0');
INSERT INTO sales.api_keys (company_id, service_name, key_value) SELECT company_id, 'mailbox', 'mailbox-secret' FROM sales.companies;
INSERT INTO sales.mailboxes (company_id, email, smtp_url, smtp_user, smtp_key_id, smtp_tls, daily_limit)
SELECT company_id, 'boss\@' || domain, 'smtp://127.0.0.1:$servers->{smtp}', 'boss\@' || domain, api_key_id, 'optional', 2000
FROM sales.companies JOIN sales.api_keys USING (company_id);
INSERT INTO sales.templates (company_id, name, channel, language, subject_template, content_template) SELECT company_id, 'T', 'email', 'en', 'Hello', 'Hello' FROM sales.companies;
INSERT INTO sales.prospects (company_id, first_name, email) SELECT company_id, 'held' || g, 'held' || g || '\@x.test' FROM sales.companies, generate_series(1, $held) g;
INSERT INTO sales.prospects (company_id, first_name, email) SELECT company_id, 'round' || k, 'p' || k || '.' || g || '\@x.test' FROM sales.companies, generate_series(1, $killed) k, generate_series(1, $each) g;
INSERT INTO sales.email_campaigns (company_id, name, template_id, target_filter)
SELECT company_id, n, template_id, jsonb_build_object('first_name', n) FROM sales.templates, (SELECT 'held' || g AS n FROM generate_series(1, $held) g UNION ALL SELECT 'round' || g FROM generate_series(1, $killed) g) x;
SQL

sub launch
{
	my ($name, @companies) = @_;
	sql("SELECT sales.set_tenant(company_id, user_id, false) FROM sales.users WHERE email = 'boss\@$_.test'; SELECT sales.launch_campaign(campaign_id) FROM sales.email_campaigns WHERE name = '$name' AND company_id = sales.current_company_id()") for @companies;
	return;
}

sub slurp_if { open my $f, '<', $_[0] or return ''; local $/; return scalar(<$f>) // ''; }

# Every process of the server at once, as a power cut.
sub crash
{
	my $file = $node->data_dir . '/postmaster.pid';
	my ($postmaster) = slurp_file($file) =~ /^(\d+)/;
	my @children = map { m{/proc/(\d+)/} } grep { (slurp_if($_) =~ /^PPid:\s+(\d+)/m && $1 == $postmaster) } glob '/proc/[0-9]*/status';
	$node->kill9;
	kill 'KILL', @children;
	my $alive = sub { slurp_if("/proc/$_[0]/status") =~ /^State:\s+[^Z\s]/m };
	for (1 .. 6000) { last unless grep { $alive->($_) } $postmaster, @children; select undef, undef, undef, 0.01; }
	# the parent of a dead postmaster may not have asked how it ended, so that its number is taken still
	unlink $file, $node->host . '/.s.PGSQL.' . $node->port . '.lock';
	$node->start;
	return;
}

# What waits for its time is hurried along, until nothing is left to send.
sub finish
{
	sql(q{UPDATE sales.mailboxes SET paused_until = NULL; UPDATE sales_internal.periodic_tasks SET next_run = now() WHERE name = 'campaigns';
UPDATE sales_internal.jobs SET run_at = now() WHERE state = 'queued'; SELECT sales_internal.wake_workers()});
	my $over = q{SELECT count(*) = 0 FROM sales.campaign_recipients WHERE status NOT IN ('sent', 'uncertain')};
	ok($node->poll_query_until('postgres', $over), $_[0]) or diag(sql(q{SELECT status, reason, count(*) FROM sales.campaign_recipients GROUP BY 1, 2; SELECT state, error, run_at, lease_until FROM sales_internal.jobs WHERE state IN ('queued', 'running')}));
	return;
}

# Mails that Postfix has taken, by company and recipient; each with its places in Postfix's queue.
sub taken
{
	my %got;
	for my $file (glob "$dir/mail/x.test/*/{new,cur}/*")
	{
		my ($name) = $file =~ m{/x\.test/([^/]+)/};
		my $text = slurp_if($file);
		my ($from) = $text =~ /^From: .*<boss@(.*?)>/m;
		my ($place) = $text =~ /^\tby mx\.test \(Postfix\) with \w+ id (\w+)/m;
		$got{"$from $name"}{$place}++ if $from && $place;
	}
	return %got;
}

# --- at the worst moment: taken, its answer not committed ---
# A trigger keeps the worker, which has the answer, from getting through with writing it
# for Alpha; Beta's mail may be on its way or not.
my $alpha = sql(q{SELECT company_id FROM sales.companies WHERE name = 'Alpha'});
sql(qq{CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(600); RETURN NEW; END';
CREATE TRIGGER hold BEFORE UPDATE ON sales.campaign_recipients FOR EACH ROW WHEN (NEW.status = 'sent' AND OLD.status = 'sending' AND NEW.company_id = '$alpha') EXECUTE FUNCTION hold()});
my $writes = q{FROM pg_stat_activity WHERE backend_type LIKE 'sales_assistant%' AND wait_event = 'PgSleep'};
for my $n (1 .. $held)
{
	launch("held$n", 'alpha', 'beta');
	ok($node->poll_query_until('postgres', "SELECT count(*) > 0 $writes"), "held $n: the worker writes that a mail was taken");
	my $worker = sql("SELECT pid $writes");
	kill 'STOP', $worker;
	is(sql("SELECT r.status FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) WHERE p.first_name = 'held$n' AND r.company_id = '$alpha'"), 'sending', "held $n: nothing says so yet");
	my %got;
	for (1 .. 600) { %got = taken(); last if $got{"alpha.test held$n"}; select undef, undef, undef, 0.1; }
	is(scalar(keys %{ $got{"alpha.test held$n"} }), 1, "held $n: Postfix has taken it");
	is(sql(q{SELECT count(*) FROM sales_internal.jobs j WHERE j.args ? 'answer'}), '0', "held $n: nor is the answer kept");
	crash();
	finish("held $n: the server comes back and goes on");
}
sql('DROP TRIGGER hold ON sales.campaign_recipients; DROP FUNCTION hold()');
is(sql("SELECT status, count(*) FROM sales.campaign_recipients WHERE company_id = '$alpha' GROUP BY 1"), "uncertain|$held", 'what was lost is uncertain, and is not sent again');

# --- at moments of chance ---
srand 42;
for my $k (1 .. $killed)
{
	my $before = keys %{ { taken() } };
	my $until = $before + 1 + int(rand(2 * $each - 10));
	launch("round$k", 'alpha', 'beta');
	for (1 .. 6000) { last if keys %{ { taken() } } >= $until; select undef, undef, undef, 0.01; }
	crash();
	finish("round $k: killed after some " . ($until - $before) . ' mails, it goes on');
}

# --- who got what? ---
my %status = map { split /\|/ } split /\n/, sql(q{SELECT c.domain || ' ' || split_part(p.email, '@', 1), r.status FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) JOIN sales.companies c ON c.company_id = r.company_id});
is(scalar(keys %status), 2 * ($held + $killed * $each), 'all are in the ledger');
my %got;
for (1 .. 600)
{
	%got = taken();
	last unless grep { $status{$_} eq 'sent' && !$got{$_} } keys %status;
	select undef, undef, undef, 0.1;
}
is(join(' ', sort grep { keys %{ $got{$_} } > 1 } keys %got), '', 'nobody got a mail twice');
is(join(' ', sort grep { $status{$_} eq 'sent' && !$got{$_} } keys %status), '', 'whoever is on record as sent to has got it');
is(join(' ', sort grep { !exists $status{$_} } keys %got), '', 'and nobody who is not in the ledger');
my $uncertain = grep { $_ eq 'uncertain' } values %status;
my $lanes = sql('SELECT sum(parallel) FROM sales.mailboxes');
cmp_ok($uncertain, '<=', $held * 2 + $killed * $lanes, "no more are uncertain than were on their way ($uncertain)");
is(sql(q{SELECT count(*) FROM sales.email_campaigns c WHERE (total_recipients, emails_sent) <> (SELECT count(*), count(sent_at) FROM sales.campaign_recipients r WHERE r.campaign_id = c.campaign_id)}), '0', 'the counts are the ledger\'s');
is(sql(q{SELECT count(*) FROM sales.interactions i WHERE i.type = 'sent'}), sql(q{SELECT count(sent_at) FROM sales.campaign_recipients}), 'and so are the interactions');

$node->stop;
$servers->stop_postfix;
$servers->stop_dovecot;
done_testing();
