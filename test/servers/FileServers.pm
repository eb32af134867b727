# FTP, FTPS and SFTP servers of one's own, as the tests' user on 127.0.0.1:
# vsftpd and OpenSSH's sshd.
#
# vsftpd as an ordinary user knows anonymous alone; the passwords that it takes
# stand in a file.  sshd finds user and password in files of the test, by
# nss_wrapper.  Both serve ROOT/files.  What a test starts it ends, with all its
# children, as a machine that is switched off would.
package FileServers;
use strict;
use warnings;
use Exporter 'import';
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use MailServers;

our @EXPORT_OK = qw(host_key fingerprint);

sub has_vsftpd { return -x '/usr/sbin/vsftpd' && -x '/usr/bin/openssl'; }

sub has_sshd { return -x '/usr/sbin/sshd' && -x '/usr/bin/ssh-keygen' && glob('/usr/lib/*/libnss_wrapper.so'); }

sub host_key
{
	my ($dir, $type) = @_;
	system_or_bail('ssh-keygen', '-q', '-t', $type, '-N', '', '-f', "$dir/host_$type");
	return "$dir/host_$type";
}

sub fingerprint { my ($key) = @_; return (split / /, `ssh-keygen -lf $key.pub`)[1]; }

sub new
{
	my ($class, $root, $password) = @_;
	my $self = bless { root => $root, password => $password, user => scalar getpwuid($>) }, $class;
	mkdir "$root/$_" for qw(files files/leads empty);
	MailServers::write_file("$root/passwords", "$password\n");
	return $self;
}

sub port { return PostgreSQL::Test::Cluster::get_free_port(); }

# Starts vsftpd on a port, with more lines for its configuration; a server for stop().
sub vsftpd
{
	my ($self, $port, @lines) = @_;
	my $root = $self->{root};
	chmod 0555, "$root/files";
	MailServers::write_file("$root/vsftpd.$port.conf", join("\n", 'listen=YES', 'listen_address=127.0.0.1', "listen_port=$port", 'run_as_launching_user=YES',
		'anonymous_enable=YES', 'secure_email_list_enable=YES', "email_password_file=$root/passwords", "anon_root=$root/files", 'local_enable=NO',
		'background=NO', 'seccomp_sandbox=NO', "secure_chroot_dir=$root/empty", 'xferlog_enable=YES', 'log_ftp_protocol=YES',
		"vsftpd_log_file=$root/vsftpd.$port.log", "ftp_username=$self->{user}", @lines) . "\n");
	return $self->run($port, '/usr/sbin/vsftpd', "$root/vsftpd.$port.conf");
}

# What vsftpd needs to speak TLS, and nothing but TLS, by FILE.crt and FILE.key.
sub tls_lines
{
	my ($self, $file) = @_;
	return ('ssl_enable=YES', 'allow_anon_ssl=YES', 'force_anon_logins_ssl=YES', 'force_anon_data_ssl=YES',
		"rsa_cert_file=$file.crt", "rsa_private_key_file=$file.key");
}

# Starts sshd with such host keys.  While ROOT/stall is there, no more than a
# megabyte of a session comes through; ROOT/stalled then says so.
sub sshd
{
	my ($self, $port, @keys) = @_;
	my $root = $self->{root};
	my $hash = crypt($self->{password}, '$6$saltsalt');
	MailServers::write_file("$root/passwd", "$self->{user}:x:$>:" . ($) + 0) . "::$root/files:/bin/sh\n");
	MailServers::write_file("$root/shadow", "$self->{user}:$hash:19000:0:99999:7:::\n");
	MailServers::write_file("$root/relay.pl", <<'RELAY' =~ s/ROOT/$root/gr);
open my $from, '-|', '/usr/lib/openssh/sftp-server' or die;
my ($bytes, $piece) = (0);
while (sysread $from, $piece, 32768)
{
	$bytes += length $piece;
	if (-e 'ROOT/stall' && $bytes > 1048576)
	{
		open my $told, '>', 'ROOT/stalled';
		close $told;
		sleep 1 while -e 'ROOT/stall';
	}
	syswrite STDOUT, $piece;
}
RELAY
	MailServers::write_file("$root/sshd.$port.conf", join("\n", 'ListenAddress 127.0.0.1', "Port $port", (map { "HostKey $_" } @keys), 'UsePAM no',
		'PasswordAuthentication yes', "AuthorizedKeysFile $root/authorized_keys", 'StrictModes no', 'PidFile none', 'Subsystem sftp internal', "ForceCommand /usr/bin/perl $root/relay.pl") . "\n");
	my ($wrapper) = glob '/usr/lib/*/libnss_wrapper.so';
	local %ENV = (%ENV, LD_PRELOAD => $wrapper, NSS_WRAPPER_PASSWD => "$root/passwd", NSS_WRAPPER_GROUP => '/etc/group', NSS_WRAPPER_SHADOW => "$root/shadow");
	return $self->run($port, '/usr/sbin/sshd', '-D', '-E', "$root/sshd.log", '-f', "$root/sshd.$port.conf");
}

sub run
{
	my ($self, $port, @command) = @_;
	my $out = "$self->{root}/$port.out";
	my $server = { handle => IPC::Run::start(\@command, '<', '/dev/null', '>&', $out), port => $port };
	push @{ $self->{servers} }, $server;
	MailServers::listens($port) or diag("@command: " . slurp_file($out));
	return $server;
}

sub children
{
	my ($pid) = @_;
	my @found = -r "/proc/$pid/task/$pid/children" ? split ' ', slurp_file("/proc/$pid/task/$pid/children") : ();
	return map { ($_, children($_)) } @found;
}

# Ends a server and whatever serves for it, at once.
sub stop
{
	my ($self, $server) = @_;
	return unless $server->{handle};
	my @pids = map { $_->{PID} } @{ $server->{handle}{KIDS} };
	kill 'KILL', map { (children($_), $_) } @pids;
	eval { $server->{handle}->finish; };
	delete $server->{handle};
	return;
}

# A test that dies leaves nothing running.
sub DESTROY
{
	my ($self) = @_;
	local ($?, $@);
	eval { $self->stop($_) } for @{ $self->{servers} };
	return;
}

1;
