# Files by SFTP from a real server (OpenSSH's sshd): only from the server whose key
# the import names; what fails is tried again and taken once.
use strict;
use warnings;
use lib 'test/servers';
use FileServers qw(host_key fingerprint);
use ImportTest;
use Peers;
use PostgreSQL::Test::Utils;
use Test::More;
use File::Temp qw(tempdir);

plan skip_all => 'openssh-server and libnss-wrapper are needed' unless FileServers::has_sshd();
my $dir = tempdir(CLEANUP => 1);
my $files = FileServers->new($dir, 'sftp-secret');
my ($ecdsa, $ed25519, $rsa, $other) = (host_key($dir, 'ecdsa'), host_key($dir, 'ed25519'), host_key($dir, 'rsa'), host_key("$dir/empty", 'ed25519'));
append_to_file("$dir/files/leads/a.csv", "email,last name\nf1\@sftp.test,A\nbad,B\n");
append_to_file("$dir/files/leads/b \xC3\xA9 #1.csv", "email,last name\nf2\@sftp.test,C\n");
append_to_file("$dir/files/leads/caf\xE9.csv", "email\nf5\@sftp.test\n");
append_to_file("$dir/files/leads/readme.txt", 'no leads');
my ($port, $many) = (FileServers::port(), FileServers::port());
my $server = $files->sshd($port, $ed25519);
$files->sshd($many, $ecdsa, $ed25519, $rsa);
my $node = new_node('import_sftp', "sales_assistant.allowed_hosts = '127.0.0.1'");
my $user = getpwuid($>);

sub config
{
	my ($to, $path, $keys, $more) = @_;
	return qq({"url": "sftp://127.0.0.1:$to$dir/files/leads/$path", "user": "$user", "password": "sftp-secret", "host_key": "$keys"$more});
}
sub sessions { my @accepted = slurp_file("$dir/sshd.log") =~ /Accepted password/g; return scalar @accepted; }

# --- who answers ---
my $key = fingerprint($ed25519);
my $folder = set_up('ftp', config($port, '', $key, ''));
is(run_import($folder), 'done|4|3|0|1', 'the files of a folder that fit the pattern are read, also where a name is not in UTF-8');
is(run_import($folder), 'done|0|0|0|0', 'a file is taken once');
append_to_file("$dir/files/leads/c.csv", "email\nf3\@sftp.test\n");
is(run_import($folder), 'done|1|1|0|0', 'a new one is taken');
my $single = set_up('ftp', config($port, 'a.csv', $key, ''));
is(run_import($single), 'done|2|0|1|1', 'a single file');
is(run_import($single), 'done|0|0|0|0', 'is taken once');
is(run_import(set_up('ftp', qq({"protocol": "sftp", "host": "127.0.0.1", "port": $port, "path": "~/leads/a.csv", "username": "$user", "password": "sftp-secret", "host_key": "$key"}))),
	'done|2|0|1|1', 'a path from the home of the user');
my ($type, $blob) = split / /, slurp_file("$ed25519.pub");
is(run_import(set_up('ftp', config($port, 'a.csv', "$type $blob", ''))), 'done|2|0|1|1', 'the public key itself does as well as its fingerprint');
is(run_import(set_up('ftp', config($many, 'a.csv', join(' ', map { fingerprint($_) } $rsa, $ecdsa, $ed25519), ''))), 'done|2|0|1|1', 'a server with several keys, all named');

my $sessions = sessions();
my $wrong = set_up('ftp', config($port, 'a.csv', fingerprint($other), ''));
my $run = start_import($wrong);
like(waits_with($run), qr/^the server's key is \Q$key\E, which host_key does not name/, 'another key than the one named: the error tells which was met');
is(sessions(), $sessions, 'nobody logs in there, though the host is allowed');
set_config($wrong, qq({"host_key": "$key"}));
is(hurry($run), 'done|2|0|1|1', 'tried again with the right one, all is read');
$run = start_import(set_up('ftp', config($many, 'a.csv', fingerprint($rsa), '')));
like(waits_with($run), qr/\Q${\ fingerprint($ecdsa)}\E/, 'a server shows the key that it chose: the error names it');
as('alpha', "SELECT sales.cancel_job('$run')");
for (['', qr/needs host_key/], ['not-a-key', qr/neither a fingerprint .* nor a public key/])
{
	my ($given, $says) = @$_;
	my $import = set_up('ftp', config($port, 'a.csv', $given, ''));
	my $said = refused('alpha', "SELECT sales.run_import('$import')");
	like($said =~ /ERROR/ ? $said : do { my $job = start_import($import); hurry($job); error_of($job) }, $says, "host_key '$given': no way around it");
}
is(sessions(), $sessions + 1, 'nobody logged in there either');

# --- who asks, and for what ---
my $stranger = set_up('ftp', config($port, '', $key, '') =~ s/sftp-secret/not-the-password/r);
$run = start_import($stranger);
is(hurry($run), 'failed|0|0|0|0', 'a wrong password fails the run');
like(error_of($run), qr/authentication|denied/i, 'which says so');
unlike(error_of($run), qr/not-the-password/, 'without the password');
set_config($stranger, '{"password": "sftp-secret"}');
is(run_import($stranger), 'done|5|0|4|1', 'with the right one all is read');
$run = start_import(set_up('ftp', config($port, 'none.csv', $key, '')));
is(hurry($run), 'failed|0|0|0|0', 'a file that is not there fails the run');
like(error_of($run), qr/no such file/i, 'which says so');

# --- by key: in memory alone, and no other way when it is refused ---
system_or_bail('ssh-keygen', '-q', '-t', $_->[0], '-N', $_->[1], '-f', "$dir/$_->[2]") for ['ed25519', '', 'ours'], ['ecdsa', '', 'ours_too'], ['ed25519', '', 'theirs'], ['ed25519', 'word', 'locked'];
append_to_file("$dir/authorized_keys", slurp_file("$dir/ours.pub") . slurp_file("$dir/ours_too.pub"));
sub by_key
{
	my ($to, $name) = @_;
	return config($to, 'a.csv', $key, '') =~ s/"password": "sftp-secret"/'"private_key": "' . slurp_file("$dir\/$name") =~ s{\n}{\\n}gr . '"'/er;
}
for my $name ('ours', 'ours_too')
{
	my $import = set_up('ftp', by_key($port, $name));
	is(run_import($import), 'done|2|0|1|1', "$name: a key logs in as well as a password");
	is(as('alpha', "SELECT source_config::text ~ 'PRIVATE', source_config ? 'api_key_id' FROM sales.import_jobs WHERE import_job_id = '$import'"), 'f|t', "$name: and is not kept in the row");
}
my @accepted = slurp_file("$dir/sshd.log") =~ /Accepted publickey/g;
is(scalar @accepted, 2, 'as the server saw it');
$run = start_import(set_up('ftp', by_key($port, 'theirs')));
is(hurry($run), 'failed|0|0|0|0', 'a key that the server does not know fails the run');
like(error_of($run), qr/authentication|denied/i, 'which says so');
like(refused('alpha', "INSERT INTO sales.import_jobs (name, source_type, source_config) VALUES ('x', 'ftp', '" . by_key($port, $_->[0]) . "')"), $_->[1], "$_->[0]: refused as it is written")
  for ['locked', qr/needs a passphrase/], ['ours.pub', qr/no private key/];
like(refused('alpha', "INSERT INTO sales.import_jobs (name, source_type, source_config) VALUES ('x', 'ftp', '" . by_key($port, 'ours') =~ s/sftp:/ftps:/r . "')"), qr/logs in at sftp alone/, 'nor is a key sent to a server of another kind');

# --- a file that cannot be had keeps nobody from the others ---
my $huge = "$dir/files/leads/d huge.csv";
append_to_file($huge, '');
truncate $huge, 66 * 1024 * 1024;
append_to_file("$dir/files/leads/e closed.csv", "email\n");
chmod 0, "$dir/files/leads/e closed.csv";
append_to_file("$dir/files/leads/f.csv", "email\nf4\@sftp.test\n");
is(run_import($folder), 'failed|1|1|0|0', 'beside a file that is too large and one that may not be read, the others are imported');
like(as('alpha', "SELECT replace(error_log, E'\\n', ' / ') FROM sales.import_jobs WHERE import_job_id = '$folder'"),
	qr/^d huge\.csv: the answer is larger than allowed \/ e closed\.csv: .*denied/i, 'the import says which ones were not, and why');
unlink $huge, "$dir/files/leads/e closed.csv";
is(run_import($folder), 'done|0|0|0|0', 'without them all is well');

# --- a server that goes away in the middle of a file ---
append_to_file("$dir/files/leads/big.csv", "email,last name\n" . join('', map { "big$_\@sftp.test,N$_" . ('x' x 30) . "\n" } 1 .. 40000));
append_to_file("$dir/stall", '');
my $big = set_up('ftp', config($port, '', $key, ', "pattern": "big*"'));
$run = start_import($big);
wait_for(sub { -e "$dir/stalled" });
$files->stop($server);
isnt(waits_with($run), '', 'a server that stops in the middle of a file: the job waits, with an error');
is(as('alpha', "SELECT count(*) FROM sales.prospects WHERE email LIKE 'big%'"), '0', 'nothing of half a file is imported');
unlink "$dir/stall";
$server = $files->sshd($port, $ed25519);
is(hurry($run), 'done|40000|40000|0|0', 'once it is back the whole file is read, each row once');
is(run_import($big), 'done|0|0|0|0', 'and it is taken once');
beta_has_nothing();
$node->stop;
done_testing();
