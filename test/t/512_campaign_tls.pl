# Campaign mail under TLS through a real Postfix and Dovecot: STARTTLS and smtps
# with AUTH and a verified certificate, answers read by imaps; a server whose
# certificate is another's gets neither password nor mail.
use strict;
use warnings;
use lib 'test/servers';
use MailServers;
use Peers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use File::Temp qw(tempdir);

plan skip_all => 'postfix, dovecot and fakeroot are needed' unless MailServers::available();
my $dir = tempdir(CLEANUP => 1);
make_certificates("$dir/certificates", '127.0.0.1', 'elsewhere.test');
my %server;
for (['good', '127.0.0.1'], ['bad', 'elsewhere.test'])
{
	my ($name, $certificate) = @$_;
	mkdir "$dir/$name";
	$server{$name} = MailServers->new("$dir/$name", 'mailbox-secret', 'x.test', 'alpha.test', 'beta.test');
	$server{$name}->use_tls("$dir/certificates/$certificate");
	$server{$name}->start_dovecot;
	$server{$name}->start_postfix;
}
my $node = PostgreSQL::Test::Cluster->new('campaign_tls');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'\nsales_assistant.allowed_hosts = '127.0.0.1'\nsales_assistant.ca_file = '$dir/certificates/ca.crt'");
$node->start;
sub sql { return $node->safe_psql('postgres', $_[0]); }
# Alpha sends by STARTTLS, Beta by TLS from the first byte; both are read by imaps.
sql(<<SQL);
CREATE EXTENSION sales_assistant;
SELECT sales.create_company(name, lower(name) || '.test', 'business', 'en', 'UTC', 'boss\@' || lower(name) || '.test', 'secret-secret') FROM unnest('{Alpha,Beta}'::text[]) name;
INSERT INTO sales.system_settings (company_id, category, key_name, value) VALUES (NULL, 'campaigns', 'domain_per_minute', '0'), (NULL, 'campaigns', 'imap_minutes', '0');
INSERT INTO sales.products (company_id, name) SELECT company_id, 'Cap' FROM sales.companies;
INSERT INTO sales.api_keys (company_id, service_name, key_value) SELECT company_id, 'mailbox', 'mailbox-secret' FROM sales.companies;
INSERT INTO sales.mailboxes (company_id, email, smtp_url, smtp_user, smtp_key_id, imap_url, imap_user, imap_key_id)
SELECT company_id, 'boss\@' || domain, CASE name WHEN 'Alpha' THEN 'smtp://127.0.0.1:$server{bad}{smtp}' ELSE 'smtps://127.0.0.1:$server{bad}{smtps}' END, 'boss\@' || domain, api_key_id,
       'imaps://127.0.0.1:$server{good}{imaps}/INBOX', 'boss\@' || domain, api_key_id
FROM sales.companies JOIN sales.api_keys USING (company_id);
INSERT INTO sales.templates (company_id, name, channel, language, subject_template, content_template)
SELECT company_id, 'T', 'email', 'en', 'Hello {{first_name}}', 'Dear {{first_name}}' FROM sales.companies;
INSERT INTO sales.prospects (company_id, first_name, email) SELECT company_id, name || g, lower(name) || g || '\@x.test' FROM sales.companies, generate_series(1, 40) g;
INSERT INTO sales.email_campaigns (company_id, name, template_id) SELECT company_id, 'C', template_id FROM sales.templates;
SQL
my %enter = map { $_ => "SELECT sales.set_tenant(company_id, user_id, false) FROM sales.users WHERE email = 'boss\@$_.test';" } qw(alpha beta);
sub until_true
{
	my ($query, $name) = @_;
	ok($node->poll_query_until('postgres', $query), $name)
	  or diag(sql('SELECT status, reason, count(*) FROM sales.campaign_recipients GROUP BY 1, 2; SELECT email, failures, last_error FROM sales.mailboxes; SELECT kind, state, error FROM sales_internal.jobs'));
	return;
}
sub hurry
{
	sql(q{UPDATE sales.mailboxes SET paused_until = NULL; UPDATE sales_internal.periodic_tasks SET next_run = now() WHERE name = 'campaigns';
UPDATE sales_internal.jobs SET run_at = now() WHERE state = 'queued'; SELECT sales_internal.wake_workers()});
	return;
}

# --- another's certificate ---
sql("$enter{$_} SELECT sales.launch_campaign(campaign_id) FROM sales.email_campaigns WHERE company_id = sales.current_company_id()") for qw(alpha beta);
until_true(q{SELECT bool_and(failures > 0 AND last_error ~* 'certificate|ssl') FROM sales.mailboxes}, 'a certificate for another name: the mailboxes rest and say why');
is(sql('SELECT count(*) FROM sales.campaign_recipients WHERE sent_at IS NOT NULL'), '0', 'nothing is sent');
unlike(slurp_file("$dir/bad/postfix.log"), qr/sasl_username|status=sent/, 'and nobody has logged in there');

# --- the right one ---
sql("UPDATE sales.mailboxes SET smtp_url = replace(replace(smtp_url, ':$server{bad}{smtps}', ':$server{good}{smtps}'), ':$server{bad}{smtp}', ':$server{good}{smtp}')");
hurry();
until_true(q{SELECT count(*) = 80 FROM sales.campaign_recipients WHERE status = 'sent'}, 'by STARTTLS and by smtps all is sent');
my ($mail) = map { slurp_file($_) } ($server{good}->mails('alpha7@x.test'))[0];
like($mail, qr/\(using TLSv1\.[23] with cipher.*?Authenticated sender|with ESMTPSA/s, 'under TLS, by a sender who has logged in');
like(slurp_file("$dir/good/postfix.log"), qr/sasl_method=(PLAIN|LOGIN), sasl_username=boss\@beta\.test/, 'both mailboxes have');
wait_for(sub { (map { $server{good}->mails("alpha$_\@x.test"), $server{good}->mails("beta$_\@x.test") } 1 .. 40) >= 80 });
is(scalar(map { $server{good}->mails("alpha$_\@x.test"), $server{good}->mails("beta$_\@x.test") } 1 .. 40), 80, 'each mail once');
my ($ref) = $mail =~ /^Message-I[dD]: (<.*?>)/m;
$server{good}->deliver('boss@alpha.test', "From: alpha7\@x.test\nTo: boss\@alpha.test\nSubject: Re: Hello\nMessage-ID: <a7\@x.test>\nIn-Reply-To: $ref\n\nYes, gladly.\n");
hurry();
until_true(q{SELECT count(*) = 1 FROM sales.email_events WHERE event = 'replied'}, 'an answer is read by imaps');
is(sql(q{SELECT c.name, r.replied_at IS NOT NULL FROM sales.campaign_recipients r JOIN sales.companies c USING (company_id) WHERE r.replied_at IS NOT NULL}), 'Alpha|t', 'by the company whose mail it answers');
# mails whose lines read like the end of the server's answer, a large answer, and one behind them all
sub ref_of { my ($who) = @_; my ($ref) = slurp_file(($server{good}->mails("$who\@x.test"))[0]) =~ /^Message-I[dD]: (<.*?>)/m; return $ref; }
for my $word ('OK done', 'NO such mail')
{
	$server{good}->deliver('boss@alpha.test', "From: evil\@x.test\nTo: boss\@alpha.test\nSubject: $word\nMessage-ID: <$word\@x.test>\n\n" . join('', map { my $letter = $_; map { sprintf "%s%03d %s\n", $letter, $_, $word } 1 .. 9 } 'A' .. 'Z'));
}
$server{good}->deliver('boss@alpha.test', "From: alpha8\@x.test\nTo: boss\@alpha.test\nSubject: Re: Hello\nMessage-ID: <a8\@x.test>\nIn-Reply-To: " . ref_of('alpha8') . "\n\nWith all of it below.\n" . ("> quoted\n" x 60000));
$server{good}->deliver('boss@alpha.test', "From: alpha9\@x.test\nTo: boss\@alpha.test\nSubject: Re: Hello\nMessage-ID: <a9\@x.test>\nIn-Reply-To: " . ref_of('alpha9') . "\n\nTell me more.\n");
# another company's mail answered here: its reference and its address are not this company's
$server{good}->deliver('boss@alpha.test', "From: beta7\@x.test\nTo: boss\@alpha.test\nSubject: Re: Hello\nMessage-ID: <b7\@x.test>\nIn-Reply-To: " . ref_of('beta7') . "\n\nWrong house.\n");
$server{good}->deliver('boss@alpha.test', "From: alpha10\@x.test\nTo: boss\@alpha.test\nSubject: Re: Hello\nMessage-ID: <a10\@x.test>\nIn-Reply-To: " . ref_of('alpha10') . "\n\nLast.\n");
hurry();
until_true(q{SELECT count(*) = 4 FROM sales.email_events e JOIN sales.companies c USING (company_id) WHERE event = 'replied' AND c.name = 'Alpha'}, 'neither they nor a large mail keep the answers behind them from being read');
is(sql(q{SELECT count(*) FROM sales.email_events e JOIN sales.companies c USING (company_id) WHERE c.name = 'Beta'}), '0', 'an answer to another company\'s mail changes nothing there');
is(sql(q{SELECT string_agg(split_part(response_content, E'\n', 1), '/' ORDER BY response_content) FROM sales.interactions WHERE response_received}), 'Last./Tell me more./With all of it below./Yes, gladly.', 'and each is what was written');
is(join(' ', grep { m{:2,[A-Z]*S} } $server{good}->mails('boss@alpha.test')), '', 'and not marked as read');
sql(qq{UPDATE sales.mailboxes SET imap_url = 'imap://127.0.0.1:$server{bad}{imap}/INBOX', paused_until = NULL});
sql(q{UPDATE sales_internal.periodic_tasks SET next_run = now() WHERE name = 'campaigns'; SELECT sales_internal.wake_workers()});
until_true(q{SELECT bool_or(error ~* 'certificate|ssl') FROM sales_internal.jobs WHERE kind = 'mailbox_read'}, 'a mailbox whose certificate is another\'s is not read');
unlike(slurp_file("$dir/bad/dovecot.log"), qr/Login: user/, 'and told no password');

$node->stop;
for (values %server) { $_->stop_postfix; $_->stop_dovecot; }
done_testing();
