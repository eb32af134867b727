# Campaigns through a real Postfix and a real Dovecot: 1,000 recipients, the mail
# server stopped in the middle, PostgreSQL killed in the middle, greylisting,
# refusals, reports of bounces, answers read over IMAP without marking them.
# Nobody gets a mail twice, and the counts are the ledger's.
use strict;
use warnings;

use File::Basename;
use lib dirname(__FILE__) . '/../servers';
use File::Temp qw(tempdir);
use MailServers;
use MIME::QuotedPrint;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

plan skip_all => 'postfix, dovecot and fakeroot are needed' unless MailServers::available();

my $recipients = 1000;
my $dir = tempdir(CLEANUP => 1);
my $servers = MailServers->new($dir, 'mailbox-secret', 'x.test', 'alpha.test', 'beta.test');
MailServers::write_file("$dir/access", "gone\@x.test 550 5.1.1 No such user\ngrey\@x.test 450 4.7.1 Greylisted, come back\nspam\@x.test 554 5.7.1 We do not like you\n");
MailServers::write_file("$dir/transport", "dsn\@x.test error:5.1.1 The mailbox is gone\nfull\@x.test error:5.2.2 The mailbox is full\n");
$servers->start_dovecot;

my $node = PostgreSQL::Test::Cluster->new('campaigns');
$node->init;
$node->append_conf('postgresql.conf', <<CONF);
shared_preload_libraries = 'sales_assistant'
max_worker_processes = 16
sales_assistant.allowed_hosts = '127.0.0.1:$servers->{smtp},127.0.0.1:$servers->{imap}'
restart_after_crash = on
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION sales_assistant');
sub sql { return $node->safe_psql('postgres', $_[0]); }
sub until_true
{
	my ($query, $name) = @_;
	my $ok = $node->poll_query_until('postgres', $query);
	ok($ok, $name) or diag(sql(q{SELECT step_number, status, reason, count(*) FROM sales.campaign_recipients GROUP BY 1, 2, 3;
SELECT email, failures, paused_until, last_error FROM sales.mailboxes; SELECT kind, state, error, count(*) FROM sales_internal.jobs GROUP BY 1, 2, 3;
SELECT name, last_error FROM sales_internal.periodic_tasks WHERE last_error IS NOT NULL}));
	return;
}
# What waits for its time is hurried along.
sub hurry
{
	sql(q{UPDATE sales.mailboxes SET paused_until = NULL; UPDATE sales_internal.periodic_tasks SET next_run = now() WHERE name = 'campaigns';
UPDATE sales_internal.jobs SET run_at = now() WHERE state = 'queued'; SELECT sales_internal.wake_workers()});
	return;
}

sql(<<SQL);
SELECT sales.create_company(name, lower(name) || '.test', 'business', 'fr', 'Europe/Paris', 'boss\@' || lower(name) || '.test', 'secret-secret') FROM unnest('{Alpha,Beta}'::text[]) name;
INSERT INTO sales.system_settings (company_id, category, key_name, value) VALUES (NULL, 'campaigns', 'domain_per_minute', '0'), (NULL, 'campaigns', 'imap_minutes', '0'),
    (NULL, 'campaigns', 'unsubscribe_url', 'https://app.test/unsubscribe');
INSERT INTO sales.products (company_id, name) SELECT company_id, 'Cap' FROM sales.companies;
INSERT INTO sales.api_keys (company_id, service_name, key_value) SELECT company_id, 'mailbox', 'mailbox-secret' FROM sales.companies;
INSERT INTO sales.mailboxes (company_id, email, display_name, smtp_url, smtp_user, smtp_key_id, imap_url, imap_user, imap_key_id, imap_tls, daily_limit)
SELECT company_id, 'boss\@' || domain, 'Léa "' || name || '"', 'smtp://127.0.0.1:$servers->{smtp}', 'boss\@' || domain, api_key_id,
       'imap://127.0.0.1:$servers->{imap}/INBOX', 'boss\@' || domain, api_key_id, 'optional', 2000
FROM sales.companies JOIN sales.api_keys USING (company_id);
INSERT INTO sales.templates (company_id, name, channel, language, subject_template, content_template)
SELECT company_id, 'T', 'email', 'fr', 'Bonjour {{first_name}}', E'Été à {{sender}} : <{{first_name}}>\\n\\n.\\nhttps://x.test/?a=1&b=2' FROM sales.companies;
INSERT INTO sales.prospects (company_id, first_name, email)
SELECT company_id, 'Zoë ' || g, 'p' || g || '\@x.test' FROM sales.companies, generate_series(1, CASE name WHEN 'Alpha' THEN $recipients ELSE 20 END) g
UNION ALL SELECT company_id, n, n || '\@x.test' FROM sales.companies, unnest('{gone,grey,spam,dsn,full}'::text[]) n WHERE name = 'Alpha';
INSERT INTO sales.email_campaigns (company_id, name, template_id) SELECT company_id, 'C', template_id FROM sales.templates;
SQL
my %enter = map { $_ => "SELECT sales.set_tenant(company_id, user_id, false) FROM sales.users WHERE email = 'boss\@$_.test';" } qw(alpha beta);

# a session in clear is refused unless it is allowed
$servers->start_postfix;
sql("$enter{alpha} SELECT sales.launch_campaign(campaign_id) FROM sales.email_campaigns WHERE company_id = sales.current_company_id()");
until_true(q{SELECT last_error ~* 'tls|ssl' AND failures > 0 FROM sales.mailboxes WHERE email = 'boss@alpha.test'}, 'without STARTTLS nothing is sent');
is(sql('SELECT count(*) FROM sales.campaign_recipients WHERE sent_at IS NOT NULL OR attempts <> 0 AND status <> \'sending\''), '0', 'and no recipient has lost an attempt');
is(sql(q{SELECT coalesce(sum(taken), 0) FROM sales_internal.mailbox_days}), '0', 'nor the day a mail');

# the server goes away in the middle and comes back
sql(q{UPDATE sales.mailboxes SET smtp_tls = 'optional'});
hurry();
sql("$enter{beta} SELECT sales.launch_campaign(campaign_id) FROM sales.email_campaigns WHERE company_id = sales.current_company_id()");
until_true('SELECT count(*) >= 150 FROM sales.campaign_recipients WHERE sent_at IS NOT NULL', 'mails go out');
$servers->stop_postfix;
until_true(q{SELECT failures > 0 AND paused_until IS NOT NULL FROM sales.mailboxes WHERE email = 'boss@alpha.test'}, 'the mail server is missed');
my $before = sql('SELECT count(*) FROM sales.campaign_recipients WHERE sent_at IS NOT NULL');
cmp_ok($before, '<', $recipients, 'in the middle of it');
$servers->start_postfix;
hurry();
until_true('SELECT count(*) >= 400 FROM sales.campaign_recipients WHERE sent_at IS NOT NULL', 'and goes on when it is back');

# the database is killed in the middle
$node->stop('immediate');
$node->start;
cmp_ok(sql('SELECT count(*) FROM sales.campaign_recipients WHERE sent_at IS NOT NULL'), '<', $recipients, 'PostgreSQL was killed in the middle');
hurry();
until_true(q{SELECT count(*) = 0 FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) WHERE r.status IN ('pending', 'sending') AND p.first_name <> 'grey'}, 'all is sent in the end');
my $uncertain = sql(q{SELECT count(*) FROM sales.campaign_recipients WHERE status = 'uncertain'});
cmp_ok($uncertain, '<=', 12, "no more are uncertain than were on their way ($uncertain)");

# what Postfix has is delivered; who got what?
my %sent = map { split /\|/ } split /\n/, sql(q{SELECT c.domain || ' ' || p.email, r.status FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) JOIN sales.companies c ON c.company_id = r.company_id});
my (%got, %refs);
for (1 .. 600)
{
	%got = ();
	for my $file (glob "$dir/mail/x.test/*/{new,cur}/*")
	{
		my ($name) = $file =~ m{/x\.test/([^/]+)/};
		my $text = slurp_file($file);
		my ($from) = $text =~ /^From: .*<boss@(.*?)>/m;
		# Postfix, killed while it delivers, may deliver again: that is the same mail
		# of its queue.  What was given to it twice has two places there.
		my ($place) = $text =~ /^\tby mx\.test \(Postfix\) with \w+ id (\w+)/m;
		$got{"$from $name\@x.test"}{$place // ''}++;
		($refs{"$from $name\@x.test"}) = $text =~ /^Message-I[dD]: <(.*?)>/m;
	}
	last if keys %got >= (grep { $_ eq 'sent' } values %sent) - 2;
	select undef, undef, undef, 0.1;
}
is(join(' ', map { my $who = $_; map { "$who $_" } keys %{ $got{$who} } } grep { keys %{ $got{$_} } > 1 } keys %got), '', 'nobody got it twice');
is(join(' ', sort grep { $sent{$_} eq 'sent' && !$got{$_} && !/ (dsn|full)@/ } keys %sent), '', 'whoever is on record as sent to has got it');
is(join(' ', sort grep { $sent{$_} !~ /^(sent|uncertain)$/ } keys %got), '', 'and nobody else has');
is(scalar(grep { /^beta/ } keys %got), 20, 'the other company\'s mails went out beside it');
is(sql(q{SELECT count(*) FROM sales.campaign_recipients r JOIN sales.messages m USING (company_id, message_id) WHERE NOT m.is_approved}), '0', 'all of them approved');

# the mail itself
my ($file) = $servers->mails('p77@x.test');
my $mail = slurp_file($file);
my ($head) = split /\r?\n\r?\n/, $mail, 2;
like($head, qr/^List-Unsubscribe: <https:\/\/app\.test\/unsubscribe\?token=[\w-]{64}>,\s+<mailto:boss\@alpha\.test\?subject=unsubscribe%20[\w-]{64}>/m, 'a mail has both ways to unsubscribe');
like($head, qr/^List-Unsubscribe-Post: List-Unsubscribe=One-Click\r?$/m, 'with one click');
like($head, qr/^Content-Type: multipart\/alternative/m, 'as text and as HTML');
my ($plain) = $mail =~ /Content-Type: text\/plain.*?\r?\n\r?\n(.*?)\r?\n--=-/s;
like(decode_qp($plain), qr/^\xc3\x89t\xc3\xa9 \xc3\xa0 Alpha : <Zo\xc3\xab 77>\r?\n\r?\n\.\r?\nhttps:\/\/x\.test\/\?a=1&b=2\r?\n\r?\n-- \r?\nNe plus recevoir/, 'umlauts, dots and links arrive as they were');
my ($token) = $head =~ /token=([\w-]{64})/;

# refusals and greylisting
is(sql(q{SELECT p.first_name, r.status, r.reason ~ '5.1.1|4.7.1|5.7.1', r.bounce_type FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) WHERE p.first_name IN ('gone', 'grey', 'spam') ORDER BY 1}),
	"gone|bounced|t|hard\ngrey|pending|t|\nspam|failed|t|", 'an unknown user bounces, a greylisted one waits, a refusal for spam says nothing of the address');
is(sql("$enter{alpha} SELECT sales.is_suppressed('gone\@x.test'), sales.is_suppressed('spam\@x.test'), sales.is_suppressed('grey\@x.test')") =~ s/^.*\n//r, 't|f|f', 'only the first is suppressed');
is(sql("$enter{beta} SELECT sales.is_suppressed('gone\@x.test')") =~ s/^.*\n//r, 'f', 'and for its own company alone');
MailServers::write_file("$dir/access", "nobody\@x.invalid OK\n");
$servers->stop_postfix;
$servers->start_postfix;
sql(q{UPDATE sales.campaign_recipients SET due_at = now() WHERE status = 'pending'});
hurry();
until_true(q{SELECT r.status = 'sent' AND r.attempts = 2 FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) WHERE p.first_name = 'grey'}, 'the greylisted one gets it the second time');

# reports and answers come into the mailbox
$servers->deliver('boss@alpha.test', "From: Zoe <p7\@x.test>\nTo: boss\@alpha.test\nSubject: Re: Bonjour\nMessage-ID: <answer-7\@x.test>\nDate: Wed, 25 Nov 2026 10:00:00 +0000\nIn-Reply-To: <$refs{'alpha.test p7@x.test'}>\nContent-Type: text/plain; charset=iso-8859-1\nContent-Transfer-Encoding: quoted-printable\n\nOui, int=E9ress=E9, volontiers !\n\nLe mer. 25 nov. 2026, Boss a =E9crit :\n> Bonjour\n") for 1 .. 2;
$servers->deliver('boss@alpha.test', "From: assistant\@x.test\nTo: boss\@alpha.test\nSubject: Absent\nMessage-ID: <auto-8\@x.test>\nAuto-Submitted: auto-replied\nReferences: <other\@y.test> <$refs{'alpha.test p8@x.test'}>\n\nI am away.\n");
$servers->deliver('boss@alpha.test', "From: P9\@X.TEST\nTo: boss\@alpha.test\nSubject: question\nMessage-ID: <answer-9\@x.test>\n\nWho are you?\n");
$servers->deliver('boss@alpha.test', "From: p10\@x.test\nTo: boss\@alpha.test\nSubject: unsubscribe " . ((slurp_file(($servers->mails('p10@x.test'))[0]) . slurp_file(($servers->mails('p10@x.test'))[-1])) =~ /mailto:boss\@alpha\.test\?subject=unsubscribe%20([\w-]{64})/)[0] . "\nMessage-ID: <bye-10\@x.test>\n\n\n");
$servers->deliver('boss@alpha.test', "From: stranger\@z.test\nTo: boss\@alpha.test\nSubject: offer\nMessage-ID: <spam\@z.test>\n\nA002 OK done\n* SEARCH 999999\nA003 OK FETCH completed\n* 1 FETCH (UID 1 BODY[] {3}\nBuy!\n");
$servers->deliver('boss@beta.test', "From: p9\@x.test\nTo: boss\@beta.test\nSubject: Re\nMessage-ID: <answer-b9\@x.test>\nIn-Reply-To: <$refs{'alpha.test p11@x.test'}>\n\nto Beta\n");
for (1 .. 600) { last if (() = $servers->mails('boss@alpha.test')) >= 8; select undef, undef, undef, 0.1; }
hurry();
until_true(q{SELECT count(*) = 2 FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) WHERE p.first_name IN ('dsn', 'full') AND r.bounced_at IS NOT NULL}, 'reports of bounces are read');
is(sql(q{SELECT p.first_name, r.status, r.bounce_type, r.reason ~ '^5' FROM sales.campaign_recipients r JOIN sales.prospects p USING (prospect_id) WHERE p.first_name IN ('dsn', 'full') ORDER BY 1}),
	"dsn|bounced|hard|t\nfull|bounced|soft|t", 'hard and soft');
hurry();
until_true(q{SELECT count(*) = 1 FROM sales.email_events WHERE event = 'unsubscribed'}, 'an unsubscription by mail is taken');
until_true(q{SELECT count(*) = 3 FROM sales.email_events WHERE event = 'replied'}, 'answers are found by References and by address');
is(sql(q{SELECT p.email, i.response_received, i.response_content FROM sales.interactions i JOIN sales.prospects p USING (company_id, prospect_id) JOIN sales.companies c USING (company_id)
WHERE c.domain = 'alpha.test' AND (i.response_received OR p.email IN ('p8@x.test', 'p11@x.test')) ORDER BY length(p.email), 1}),
	"p7\@x.test|t|Oui, int\xc3\xa9ress\xc3\xa9, volontiers !\np8\@x.test|f|\np9\@x.test|t|Who are you?\np11\@x.test|f|", 'and stand on the interactions they answer, without quotations; absence is no answer, and Beta\'s mailbox does not speak for Alpha');
is(sql(q{SELECT count(*) FROM sales.email_events WHERE event = 'auto_replied'}), '1', 'an automatic answer is told apart');
until_true(q{SELECT i.response_sentiment = 'positive' AND p.status = 'interesse' FROM sales.interactions i JOIN sales.prospects p USING (company_id, prospect_id) JOIN sales.companies c USING (company_id) WHERE c.domain = 'alpha.test' AND p.email = 'p7@x.test'},
	'the tone is judged, and the prospect moves on');
is(sql("$enter{alpha} SELECT sales.is_suppressed('p10\@x.test'), sales.is_suppressed('dsn\@x.test'), sales.is_suppressed('full\@x.test')") =~ s/^.*\n//r, 't|t|f', 'the ledger of suppressions follows');
hurry();
until_true(q{SELECT count(*) = 0 FROM sales_internal.jobs WHERE kind = 'mailbox_read' AND state IN ('queued', 'running')}, 'the mailbox is read to its end');
is(join(' ', grep { m{:2,[A-Z]*S} } $servers->mails('boss@alpha.test')), '', 'and no mail in it is marked as read');
is(sql(q{SELECT count(*) FROM sales_internal.jobs WHERE kind = 'mailbox_read' AND state = 'failed'}), '0', 'not even a mail that looks like a session of IMAP disturbs it');

# events at random, told twice and in any order: the counts are the ledger's
sql(<<'SQL');
SELECT setseed(0.42);
SELECT sales.set_tenant(company_id, user_id, false) FROM sales.users WHERE email = 'boss@alpha.test';
SELECT count(sales.record_email_event(message_ref, e, sent_at + (1 + floor(random() * 5)) * interval '1 minute', jsonb_build_object('machine', random() < 0.3)))
FROM (SELECT message_ref, sent_at, (ARRAY['delivered', 'opened', 'clicked', 'replied', 'bounced', 'complained'])[1 + floor(random() * random() * 6)::int] AS e
      FROM sales.campaign_recipients, generate_series(1, 3) WHERE company_id = sales.current_company_id() AND sent_at IS NOT NULL
        -- who unsubscribes by a link at the end, and must not have been suppressed by chance
        AND prospect_id NOT IN (SELECT prospect_id FROM sales.prospects WHERE email = 'p77@x.test')) x;
SQL
my $differ = q{SELECT count(*) FROM sales.email_campaigns c LEFT JOIN (
SELECT campaign_id, count(*) FILTER (WHERE step_number = 1) a, count(sent_at) b, count(delivered_at) d, count(opened_at) o, count(clicked_at) k, count(replied_at) r
FROM sales.campaign_recipients GROUP BY 1) x USING (campaign_id) WHERE (total_recipients, emails_sent, emails_delivered, emails_opened, emails_clicked, emails_replied) <> (a, b, d, o, k, r)};
is(sql($differ), '0', 'the counts equal the ledger');
cmp_ok(sql(q{SELECT min(emails_opened) FROM sales.email_campaigns WHERE emails_opened > 0}), '>', 100, 'and there is something to count');
is(sql(q{SELECT bool_and(status = 'completed') FROM sales.email_campaigns}), 't', 'both campaigns are complete');

# resolving what is uncertain, after a look into the mail server's log
sql("$enter{alpha} SELECT sales.resolve_uncertain(campaign_id, true) FROM sales.email_campaigns WHERE company_id = sales.current_company_id()");
is(sql(q{SELECT count(*) FROM sales.campaign_recipients WHERE status = 'uncertain'}) . sql($differ), '00', 'nothing is uncertain any more');

# suppressions and links hold after a restore without this cluster's master key
sql('SELECT sales.stop_workers()');
sql('CREATE DATABASE copy');
$node->command_ok([ 'pg_dump', '-f', "$dir/dump.sql", '-d', $node->connstr('postgres') ], 'dump');
$node->command_ok([ 'psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-f', "$dir/dump.sql", '-d', $node->connstr('copy') ], 'restore');
unlink $node->data_dir . '/sales_assistant.key';
$node->restart;
is($node->safe_psql('copy', 'SELECT count(*) FROM sales.campaign_recipients; SELECT count(*) FROM sales.suppressions'), $node->safe_psql('postgres', 'SELECT count(*) FROM sales.campaign_recipients; SELECT count(*) FROM sales.suppressions'), 'all rows are there');
is($node->safe_psql('copy', "$enter{alpha} SELECT sales.is_suppressed('gone\@x.test'), sales.is_suppressed('p77\@x.test'); SELECT sales.unsubscribe('$token'); SELECT sales.is_suppressed('p77\@x.test')") =~ s/^.*\n//r, "t|f\n\nt",
	'addresses are suppressed as before, and the link of an old mail unsubscribes');

$node->stop;
$servers->stop_postfix;
$servers->stop_dovecot;
done_testing();
