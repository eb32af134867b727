# A Postfix and a Dovecot of one's own, as an unprivileged user on 127.0.0.1.
#
# Postfix wants to be root and to change users; fakeroot makes it believe that it
# does.  Dovecot runs as one user by its configuration.  They share a tree of
# Maildirs, ROOT/mail/DOMAIN/NAME, and one password; Postfix takes mail from those
# who have logged in alone.  ROOT/access and ROOT/transport are Postfix's tables.
package MailServers;
use strict;
use warnings;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

sub available
{
	return -x '/usr/sbin/postfix' && -x '/usr/sbin/dovecot' && -x '/usr/bin/fakeroot';
}

sub write_file
{
	my ($path, $text) = @_;
	open my $f, '>', $path or die "$path: $!";
	print $f $text;
	close $f;
	return;
}

sub new
{
	my ($class, $root, $password, @domains) = @_;
	my $self = bless {
		root => $root,
		smtp => PostgreSQL::Test::Cluster::get_free_port(),
		imap => PostgreSQL::Test::Cluster::get_free_port()
	}, $class;
	my ($user, $group) = (scalar getpwuid($>), scalar getgrgid($)));
	mkdir "$root/$_" for qw(etc spool spool/private data mail dove);
	write_file("$root/access", "nobody\@x.invalid OK\n");
	write_file("$root/transport", "nobody\@x.invalid :\n");
	write_file("$root/etc/main.cf", <<CONF);
compatibility_level = 3.6
queue_directory = $root/spool
data_directory = $root/data
daemon_directory = /usr/lib/postfix/sbin
command_directory = /usr/sbin
mail_owner = postfix
setgid_group = postdrop
myhostname = mx.test
mydestination =
local_recipient_maps =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks =
virtual_mailbox_domains = @domains
virtual_mailbox_maps = static:all
virtual_transport = lmtp:unix:private/dovecot-lmtp
transport_maps = texthash:$root/transport
smtpd_sasl_auth_enable = yes
smtpd_sasl_type = dovecot
smtpd_sasl_path = private/auth
smtpd_client_restrictions = permit_sasl_authenticated, reject
smtpd_delay_reject = yes
smtpd_relay_restrictions = permit_sasl_authenticated, reject_unauth_destination
smtpd_recipient_restrictions = check_recipient_access texthash:$root/access, permit_sasl_authenticated, reject
import_environment = MAIL_CONFIG LANG=C LD_PRELOAD LD_LIBRARY_PATH FAKEROOTKEY FAKED_MODE
export_environment = MAIL_CONFIG LANG LD_PRELOAD LD_LIBRARY_PATH FAKEROOTKEY FAKED_MODE
maillog_file = $root/postfix.log
maillog_file_prefixes = $root
CONF
	my $master = slurp_file('/usr/share/postfix/master.cf.dist');
	$master =~ s/^smtp      inet .*$/127.0.0.1:$self->{smtp} inet n - n - - smtpd/m;
	$master =~ s/^(\w+\s+(?:unix|unix-dgram)\s+\S+\s+\S+\s+)y/$1n/mg;
	write_file("$root/etc/master.cf", $master);
	# version 2.4 has other words for the same, and wants to be told that it is meant
	$self->{new_words} = `/usr/sbin/dovecot --version` !~ /^2\.[0-3]\./;
	my $words = $self->{new_words} ? <<NEW : <<OLD;
dovecot_config_version = 2.4.0
dovecot_storage_version = 2.4.0
auth_allow_cleartext = yes
mail_driver = maildir
mail_path = $root/mail/%{user|domain|lower}/%{user|username|lower}
passdb static {
  password = $password
}
userdb static {
  fields {
    uid = $user
    gid = $group
    home = $root/mail/%{user|domain|lower}
  }
}
NEW
disable_plaintext_auth = no
mail_location = maildir:$root/mail/%Ld/%Ln
passdb {
  driver = static
  args = password=$password
}
userdb {
  driver = static
  args = uid=$user gid=$group home=$root/mail/%Ld/%Ln
}
OLD
	write_file("$root/dovecot.conf", $words . <<CONF);
base_dir = $root/dove
log_path = $root/dovecot.log
state_dir = $root/dove
protocols = imap lmtp
listen = 127.0.0.1
default_internal_user = $user
default_login_user = $user
default_internal_group = $group
ssl = no
auth_mechanisms = plain login
first_valid_uid = 1
service anvil {
  chroot =
}
service imap-login {
  chroot =
  inet_listener imap {
    port = $self->{imap}
  }
  inet_listener imaps {
    port = 0
  }
}
service lmtp {
  user = $user
  unix_listener $root/spool/private/dovecot-lmtp {
    mode = 0666
  }
}
service auth {
  unix_listener $root/spool/private/auth {
    mode = 0666
  }
}
CONF
	return $self;
}

# Has both servers speak TLS by FILE.crt and FILE.key, before they are started:
# STARTTLS on their ports, TLS from the first byte on {smtps} and {imaps}; who
# wants to log in in clear is refused.
sub use_tls
{
	my ($self, $file) = @_;
	my $root = $self->{root};
	$self->{$_} //= PostgreSQL::Test::Cluster::get_free_port() for qw(smtps imaps);
	open my $main, '>>', "$root/etc/main.cf" or die $!;
	print $main "smtpd_tls_cert_file = $file.crt\nsmtpd_tls_key_file = $file.key\nsmtpd_tls_security_level = may\nsmtpd_tls_auth_only = yes\nsmtpd_tls_received_header = yes\n";
	close $main;
	open my $master, '>>', "$root/etc/master.cf" or die $!;
	print $master "127.0.0.1:$self->{smtps} inet n - n - - smtpd\n  -o smtpd_tls_wrappermode=yes\n";
	close $master;
	open my $dovecot, '>>', "$root/dovecot.conf" or die $!;
	my ($clear, $cert, $in, $listen) = $self->{new_words} ? ('auth_allow_cleartext = no', 'ssl_server_cert_file', '', 'listen')
		: ('disable_plaintext_auth = yes', 'ssl_cert', '<', 'address');
	(my $key = $cert) =~ s/cert/key/;
	print $dovecot <<CONF;
ssl = yes
$cert = $in$file.crt
$key = $in$file.key
$clear
login_trusted_networks =
service imap-login {
  inet_listener imaps {
    $listen = 127.0.0.1
    port = $self->{imaps}
    ssl = yes
  }
}
CONF
	close $dovecot;
	return;
}

sub listens
{
	my ($port) = @_;
	require IO::Socket::INET;
	for (1 .. 600)
	{
		my $socket = IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => $port, Timeout => 1);
		return 1 if $socket;
		select undef, undef, undef, 0.1;
	}
	return 0;
}

sub start_postfix
{
	my ($self) = @_;
	my $out = "$self->{root}/postfix.out";
	$self->{postfix} = IPC::Run::start([ 'fakeroot', '/usr/sbin/postfix', '-c', "$self->{root}/etc", 'start-fg' ], '<', '/dev/null', '>&', $out);
	listens($self->{smtp}) or diag('postfix: ' . slurp_file($out) . slurp_file("$self->{root}/postfix.log"));
	return;
}

# At once, whatever it is doing.
sub stop_postfix
{
	my ($self) = @_;
	return unless $self->{postfix};
	my ($pid) = slurp_file("$self->{root}/spool/pid/master.pid") =~ /(\d+)/;
	kill 'TERM', $pid;
	IPC::Run::finish($self->{postfix});
	delete $self->{postfix};
	return;
}

sub start_dovecot
{
	my ($self) = @_;
	$self->{dovecot} = IPC::Run::start([ '/usr/sbin/dovecot', '-F', '-c', "$self->{root}/dovecot.conf" ], '<', '/dev/null', '>&', "$self->{root}/dovecot.out");
	listens($self->{imap}) or diag('dovecot: ' . slurp_file("$self->{root}/dovecot.out"));
	return;
}

sub stop_dovecot
{
	my ($self) = @_;
	return unless $self->{dovecot};
	my ($pid) = slurp_file("$self->{root}/dove/master.pid") =~ /(\d+)/;
	kill 'TERM', $pid;
	IPC::Run::finish($self->{dovecot});
	delete $self->{dovecot};
	return;
}

# A test that dies leaves nothing running.
sub DESTROY
{
	my ($self) = @_;
	local ($?, $@);
	eval { $self->stop_postfix; };
	eval { $self->stop_dovecot; };
	return;
}

# Files of a mailbox.
sub mails
{
	my ($self, $address) = @_;
	my ($name, $domain) = split /@/, $address;
	return map { glob("$self->{root}/mail/$domain/$name/$_/*") } qw(new cur);
}

# Puts a mail into a mailbox, as a delivery does.
sub deliver
{
	my ($self, $address, $text) = @_;
	my ($name, $domain) = split /@/, $address;
	my $box = "$self->{root}/mail/$domain/$name";
	my $file = sprintf '%d.%d_%d.test', time, $$, $self->{delivered}++;
	mkdir $_ for ("$self->{root}/mail/$domain", $box, map { "$box/$_" } qw(tmp new cur));
	$text =~ s/\r?\n/\r\n/g;
	write_file("$box/tmp/$file", $text);
	rename "$box/tmp/$file", "$box/new/$file" or die $!;
	return;
}

1;
