# FTP under TLS, explicit and implicit, with real servers (vsftpd): certificates
# are verified, nothing goes in clear, and what fails is tried again and taken once.
use strict;
use warnings;
use lib 'test/servers';
use FileServers;
use ImportTest;
use Peers;
use PostgreSQL::Test::Utils;
use Test::More;
use File::Temp qw(tempdir);

plan skip_all => 'vsftpd and openssl are needed' unless FileServers::has_vsftpd();
my $dir = tempdir(CLEANUP => 1);
make_certificates("$dir/certificates", '127.0.0.1', 'elsewhere.test', 'self:127.0.0.1', 'expired:127.0.0.1');
my $files = FileServers->new($dir, 'ftp-secret');
append_to_file("$dir/files/leads/a.csv", "email,last name\nf1\@ftps.test,A\nbad,B\n");
my @trusted = $files->tls_lines("$dir/certificates/127.0.0.1");
my %port = map { ($_ => FileServers::port()) } qw(explicit implicit clear other);
my %server = (
	explicit => $files->vsftpd($port{explicit}, @trusted),
	implicit => $files->vsftpd($port{implicit}, @trusted, 'implicit_ssl=YES'),
	clear => $files->vsftpd($port{clear}));
my $node = new_node('import_ftps', "sales_assistant.allowed_hosts = '127.0.0.1'\nsales_assistant.ca_file = '$dir/certificates/ca.crt'");

sub config
{
	my ($scheme, $port, $path, $more) = @_;
	return qq({"url": "$scheme://127.0.0.1:$port/leads/$path", "user": "anonymous", "password": "ftp-secret"$more});
}

for (['explicit', 'ftp'], ['implicit', 'ftps'])
{
	my ($kind, $scheme) = @$_;
	my $folder = set_up('ftp', config($scheme, $port{$kind}, '', ''));
	is(run_import($folder), $kind eq 'explicit' ? 'done|2|1|0|1' : 'done|2|0|1|1', "$kind TLS: the files of a folder are read");
	is(run_import($folder), 'done|0|0|0|0', "$kind TLS: and taken once");
	my $single = set_up('ftp', config($scheme, $port{$kind}, 'a.csv', ''));
	is(run_import($single), 'done|2|0|1|1', "$kind TLS: a single file");
	like(slurp_file("$dir/vsftpd.$port{$kind}.log"), qr/PROT P.*PROT now Private/s, "$kind TLS: the files are encrypted as the session is");

	my $missing = set_up('ftp', config($scheme, $port{$kind}, 'none.csv', ''));
	my $run = start_import($missing);
	is(hurry($run), 'failed|0|0|0|0', "$kind TLS: a file that is not there fails the run");
	like(error_of($run), qr/does the file exist|not.*(exist|found)|550/i, "$kind TLS: which says so");

	my $wrong = set_up('ftp', config($scheme, $port{$kind}, '', '') =~ s/ftp-secret/not-the-password/r);
	$run = start_import($wrong);
	is(hurry($run), 'failed|0|0|0|0', "$kind TLS: a wrong password fails the run");
	like(error_of($run), qr/denied|login/i, "$kind TLS: which says so");
	unlike(error_of($run), qr/not-the-password/, "$kind TLS: without the password");
	set_config($wrong, '{"password": "ftp-secret"}');
	is(run_import($wrong), 'done|2|0|1|1', "$kind TLS: with the right one all is read");

	# whose certificate is not to be trusted is told nothing
	for my $certificate ('self.127.0.0.1', 'elsewhere.test', 'expired.127.0.0.1')
	{
		my $lines = $kind eq 'implicit' ? 'implicit_ssl=YES' : 'ssl_enable=YES';
		unlink "$dir/vsftpd.$port{other}.log";
		$server{other} = $files->vsftpd($port{other}, $files->tls_lines("$dir/certificates/$certificate"), $lines);
		my $import = set_up('ftp', config($scheme, $port{other}, '', ''));
		$run = start_import($import);
		like(waits_with($run), qr/certificate|SSL/, "$kind TLS, $certificate: the error speaks of the certificate");
		unlike(slurp_file("$dir/vsftpd.$port{other}.log"), qr/"PASS/, "$kind TLS, $certificate: no password was sent");
		$files->stop($server{other});
		$server{other} = $files->vsftpd($port{other}, @trusted, $lines);
		is(hurry($run), 'done|2|0|1|1', "$kind TLS, $certificate: tried again when the certificate is mended, all is read");
		$files->stop($server{other});
	}
}

# --- a server that does not encrypt ---
my $run = start_import(set_up('ftp', config('ftp', $port{clear}, '', '')));
like(waits_with($run), qr/SSL|TLS/, 'a server without TLS is refused unless the import says optional');
unlike(slurp_file("$dir/vsftpd.$port{clear}.log"), qr/"PASS/, 'and told no password');
as('alpha', "SELECT sales.cancel_job('$run')");
is(run_import(set_up('ftp', config('ftp', $port{clear}, '', ', "tls": "optional"'))), 'done|2|0|1|1', 'optional: read in clear, as the host is allowed');
like(refused('alpha', "SELECT sales.run_import('" . set_up('ftp', config('ftp', $port{clear}, '', ', "tls": "never"')) . "')"), qr/tls cannot be "never"/, 'tls is required or optional');

# --- a server that goes away in the middle of a file ---
append_to_file("$dir/files/leads/big.csv", "email,last name\n" . join('', map { "big$_\@ftps.test,N$_\n" } 1 .. 40000));
unlink "$dir/vsftpd.$port{other}.log";
$server{other} = $files->vsftpd($port{other}, @trusted, 'anon_max_rate=20000');
my $big = set_up('ftp', config('ftp', $port{other}, '', ', "pattern": "big*"'));
$run = start_import($big);
wait_for(sub { slurp_file("$dir/vsftpd.$port{other}.log") =~ /150 Opening/ });
$files->stop($server{other});
isnt(waits_with($run), '', 'a server that stops in the middle of a file: the job waits, with an error');
is(as('alpha', "SELECT count(*) FROM sales.prospects WHERE email LIKE 'big%'"), '0', 'nothing of half a file is imported');
$server{other} = $files->vsftpd($port{other}, @trusted);
is(hurry($run), 'done|40000|40000|0|0', 'once it is back the whole file is read, each row once');
is(run_import($big), 'done|0|0|0|0', 'and it is taken once');
beta_has_nothing();
$node->stop;
done_testing();
