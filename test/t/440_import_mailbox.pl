# Attachments of a real mailbox (Dovecot): each mail once, forwarded ones and odd
# encodings, what does not fit left alone, nothing marked as read.
use strict;
use warnings;
use lib 'test/servers';
use MailServers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use File::Temp qw(tempdir);
use MIME::Base64;

plan skip_all => 'postfix, dovecot and fakeroot are needed' unless MailServers::available();
my $dir = tempdir(CLEANUP => 1);
my $servers = MailServers->new($dir, 'mailbox-secret', 'x.test', 'alpha.test', 'beta.test');
$servers->start_dovecot;

my $node = PostgreSQL::Test::Cluster->new('import_mailbox');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'\nsales_assistant.allowed_hosts = '127.0.0.1:$servers->{imap}'\n");
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION sales_assistant;
SELECT sales.create_company(n, lower(n) || '.test', 'starter', 'fr', 'Europe/Paris', 'boss@' || lower(n) || '.test', 'secret-secret') FROM unnest('{Alpha,Beta}'::text[]) n;
CREATE FUNCTION be(who text) RETURNS void LANGUAGE sql AS $$
    SELECT sales.set_tenant(c.company_id, u.user_id, false) FROM sales.companies c JOIN sales.users u USING (company_id) WHERE c.domain = who || '.test' $$;
});
sub as { return (split /\n/, $node->safe_psql('postgres', "SELECT be('$_[0]'); SET ROLE sales_app; $_[1]"))[-1] // ''; }

sub mail
{
	my ($from, $subject, $name, $content, $type) = @_;
	my $encoded = encode_base64($content);
	return "From: $from\r\nTo: leads\@alpha.test\r\nSubject: $subject\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"b\"\r\n\r\n"
	  . "--b\r\nContent-Type: text/plain\r\n\r\nSee the file.\r\n--b\r\nContent-Type: " . ($type // 'text/csv') . "; name=\"$name\"\r\nContent-Transfer-Encoding: base64\r\n"
	  . "Content-Disposition: attachment; filename=\"$name\"\r\n\r\n" . $encoded =~ s/\n/\r\n/gr . "--b--\r\n";
}
my $user = 'leads@alpha.test';
$servers->deliver($user, mail('crm@partner.test', 'Leads of today', 'leads.csv', "E-mail;Nom\nm1\@box.test;\xC9t\xE9\nnot-an-address;X\n"));
$servers->deliver($user, mail('crm@partner.test', 'A picture', 'logo.png', "\x89PNG", 'image/png'));
$servers->deliver($user, mail('stranger@else.test', 'Leads of today', 'evil.csv', "E-mail\nevil\@box.test\n"));

my $import = as('alpha', qq{INSERT INTO sales.import_jobs (name, source_type, source_config) VALUES ('mailbox', 'email_attachment',
	'{"url": "imap://127.0.0.1:$servers->{imap}/INBOX", "user": "$user", "password": "mailbox-secret", "tls": "optional", "from": "crm\@partner.test"}') RETURNING import_job_id});
sub run_import
{
	my $run = as('alpha', "SELECT sales.run_import('$import')");
	$node->poll_query_until('postgres', "SELECT state IN ('done', 'failed') FROM sales_internal.jobs WHERE job_id = '$run'");
	diag(as('alpha', "SELECT error FROM sales.jobs WHERE job_id = '$run'")) if as('alpha', "SELECT state FROM sales.jobs WHERE job_id = '$run'") ne 'done';
	return as('alpha', "SELECT status, rows_read, rows_inserted, rows_unchanged, rows_rejected FROM sales.import_runs WHERE run_id = '$run'");
}
is(run_import(), 'done|2|1|0|1', 'the attachment of the partner\'s mail is imported');
is(as('alpha', "SELECT last_name FROM sales.prospects WHERE email = 'm1\@box.test'"), "\x{c3}\x{89}t\x{c3}\x{a9}", 'in its own encoding');
is(as('alpha', "SELECT source_name, row_number, column_name FROM sales.import_rejects"), 'leads.csv|3|email', 'a reject names its file');
is(as('alpha', "SELECT count(*) FROM sales.prospects WHERE email = 'evil\@box.test'"), '0', 'a mail from somebody else is not read');
is(as('alpha', "SELECT source_config ? 'password' FROM sales.import_jobs"), 'f', 'the password is not kept in the row');
is(run_import(), 'done|0|0|0|0', 'a mail is taken once');
my $inner = mail('crm@partner.test', 'inner', 'fwd.csv', "E-mail,Nom\nm2\@box.test,Z\n");
$servers->deliver($user, "From: crm\@partner.test\r\nSubject: Fwd\r\nMIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=\"o\"\r\n\r\n--o\r\nContent-Type: message/rfc822\r\n\r\n$inner\r\n--o--\r\n");
is(run_import(), 'done|1|1|0|0', 'a new mail is read, also one inside another');
is(as('beta', 'SELECT (SELECT count(*) FROM sales.prospects), (SELECT count(*) FROM sales.import_runs)'), '0|0', 'the other company has none of it');
as('alpha', qq{UPDATE sales.import_jobs SET source_config = source_config || '{"password": "wrong"}'});
my $run = as('alpha', "SELECT sales.run_import('$import')");
$node->poll_query_until('postgres', "SELECT error IS NOT NULL FROM sales_internal.jobs WHERE job_id = '$run'");
unlike(as('alpha', "SELECT error FROM sales.jobs WHERE job_id = '$run'"), qr/wrong|secret/, 'an error tells no password');
as('alpha', "SELECT sales.cancel_job('$run')");
is(as('alpha', "SELECT status FROM sales.import_runs WHERE run_id = '$run'"), 'cancelled', 'a run that waits can be cancelled');
$node->stop;
$servers->stop_dovecot;
done_testing();
