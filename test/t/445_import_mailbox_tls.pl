# A mailbox under TLS (Dovecot): by STARTTLS and from the first byte, certificates
# verified, what fails tried again, each mail once.
use strict;
use warnings;
use lib 'test/servers';
use ImportTest;
use MailServers;
use Peers;
use PostgreSQL::Test::Utils;
use Test::More;
use File::Temp qw(tempdir);

plan skip_all => 'postfix, dovecot and fakeroot are needed' unless MailServers::available();
my $dir = tempdir(CLEANUP => 1);
make_certificates("$dir/certificates", '127.0.0.1', 'elsewhere.test');
mkdir "$dir/$_" for qw(good bad);
my $good = MailServers->new("$dir/good", 'mailbox-secret', 'alpha.test');
$good->use_tls("$dir/certificates/127.0.0.1");
$good->start_dovecot;
my $bad = MailServers->new("$dir/bad", 'mailbox-secret', 'alpha.test');
$bad->use_tls("$dir/certificates/elsewhere.test");
$bad->start_dovecot;
my $node = new_node('import_mailbox_tls', "sales_assistant.allowed_hosts = '127.0.0.1'\nsales_assistant.ca_file = '$dir/certificates/ca.crt'");

my $user = 'leads@alpha.test';
my $delivered = 0;
sub deliver
{
	my ($servers, $rows) = @_;
	$delivered++;
	my $content = "email,last name\n" . join('', map { "m$delivered.$_\@box.test,N$_\n" } 1 .. $rows);
	$servers->deliver($user, "From: crm\@partner.test\nTo: $user\nSubject: leads $delivered\nMIME-Version: 1.0\nContent-Type: text/csv; name=\"leads.csv\"\n"
		. "Content-Disposition: attachment; filename=\"leads.csv\"\n\n$content");
	return;
}
sub mailbox
{
	my ($url, $password) = @_;
	return set_up('email_attachment', qq({"url": "$url/INBOX", "user": "$user", "password": "$password"}));
}

deliver($good, 3);
my $n = 0;
for my $url ("imaps://127.0.0.1:$good->{imaps}", "imap://127.0.0.1:$good->{imap}")
{
	my $import = mailbox($url, 'mailbox-secret');
	is(run_import($import), $n++ ? 'done|3|0|3|0' : 'done|3|3|0|0', "$url: attachments are imported");
	is(run_import($import), 'done|0|0|0|0', 'each mail once');
	my $wrong = mailbox($url, 'not-the-password');
	my $run = start_import($wrong);
	like(waits_with($run), qr/denied|login/i, 'a wrong password: the error speaks of the login');
	unlike(error_of($run), qr/not-the-password/, 'without the password');
	set_config($wrong, '{"password": "mailbox-secret"}');
	is(hurry($run), 'done|3|0|3|0', 'tried again with the right one, all is read');
}
like(slurp_file("$dir/good/dovecot.log"), qr/(?:Login|Logged in): user=<$user>.*TLS/, 'the sessions were encrypted');
unlike(slurp_file("$dir/good/dovecot.log"), qr/(?:Login|Logged in): user=<$user>(?!.*TLS)/, 'all of them');

# a certificate for another name
deliver($bad, 2);
for my $url ("imaps://127.0.0.1:$bad->{imaps}", "imap://127.0.0.1:$bad->{imap}")
{
	my $run = start_import(mailbox($url, 'mailbox-secret'));
	like(waits_with($run), qr/certificate|SSL/, "$url: another's certificate is refused");
	as('alpha', "SELECT sales.cancel_job('$run')");
}
unlike(slurp_file("$dir/bad/dovecot.log"), qr/Login: user/, 'nobody logs in there');

# a folder that is not there; a server that goes away between mails
my $run = start_import(set_up('email_attachment', qq({"url": "imaps://127.0.0.1:$good->{imaps}/Nowhere", "user": "$user", "password": "mailbox-secret"})));
isnt(waits_with($run), '', 'a folder that is not there is an error');
as('alpha', "SELECT sales.cancel_job('$run')");
deliver($good, 5) for 1 .. 30;
my $import = mailbox("imaps://127.0.0.1:$good->{imaps}", 'mailbox-secret');
$run = start_import($import);
$node->poll_query_until('postgres', "SELECT count(*) > 3 FROM sales_internal.import_files WHERE run_id = '$run'");
$good->stop_dovecot;
isnt(waits_with($run), '', 'a server that stops in the middle: the job waits, with an error');
is(as('alpha', "SELECT count(*) FROM sales.prospects WHERE email LIKE 'm2.%'"), '0', 'nothing is imported yet');
$good->start_dovecot;
is(hurry($run), 'done|153|150|3|0', 'once it is back the rest is fetched, each mail once');
is(run_import($import), 'done|0|0|0|0', 'and none again');
# a large mail, which is fetched in parts: one that ends where a part does, too
my $head = "From: crm\@partner.test\r\nTo: $user\r\nSubject: large\r\nMIME-Version: 1.0\r\nContent-Type: text/csv; name=\"large.csv\"\r\n\r\nemail,notes\r\n";
for my $size (1_100_000, 400_000)
{
	my ($rows, $text) = (0, $head);
	while (length $text < $size - 300) { $text .= sprintf "l%06d.%d\@large.test,%s\r\n", $rows++, $size, 'x' x 60; }
	$text .= sprintf("l%06d.%d\@large.test,", $rows++, $size);
	$text .= 'x' x ($size - 2 - length $text) . "\r\n";
	$good->deliver($user, $text);
	is(run_import($import), "done|$rows|$rows|0|0", "a mail of $size bytes is read whole");
}
is($node->safe_psql('postgres', 'SELECT count(*) FROM sales_internal.import_files'), '0', 'and nothing of it stays but its rows');
# mails whose lines read like the end of the server's answer, a good one and a bad one
for my $word ('OK done', 'NO such mail')
{
	$good->deliver($user, "From: crm\@partner.test\nTo: $user\nSubject: $word\nMIME-Version: 1.0\nContent-Type: text/csv; name=\"trap.csv\"\n\nemail\ntrap\@box.test\n"
		. join('', map { my $letter = $_; map { sprintf "%s%03d %s\n", $letter, $_, $word } 1 .. 9 } 'A' .. 'Z'));
	deliver($good, 1);
	is(run_import($import), 'failed|1|1|0|0', "$word: a mail that looks like the server's words holds up no other");
	like(as('alpha', "SELECT error_log FROM sales.import_jobs WHERE import_job_id = '$import'"), qr/^mail \d+: /, "$word: and is named");
	is(run_import($import), 'done|0|0|0|0', "$word: once");
}
# a mail that is too large to be fetched keeps nobody from the others
$good->deliver($user, "From: crm\@partner.test\nTo: $user\nSubject: huge\nMIME-Version: 1.0\nContent-Type: text/csv; name=\"huge.csv\"\n\nemail\n" . (('x' x 999) . "\n") x 68000);
deliver($good, 2);
is(run_import($import), 'failed|2|2|0|0', 'beside a mail of more than 64 MB the others are imported');
like(as('alpha', "SELECT error_log FROM sales.import_jobs WHERE import_job_id = '$import'"), qr/^mail \d+: the answer is larger than allowed$/, 'the import says which one was not, and why');
is(run_import($import), 'done|0|0|0|0', 'and does not ask for it again');
is(join(' ', grep { m{:2,[A-Z]*S} } $good->mails($user)), '', 'no mail is marked as read');
beta_has_nothing();
$node->stop;
$_->stop_dovecot for $good, $bad;
done_testing();
