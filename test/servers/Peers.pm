# Peers of the worker's tests: servers of test/servers, certificates, and a kind
# of job that makes any call and keeps what came back.
package Peers;
use strict;
use warnings;
use Cwd qw(abs_path);
use Exporter qw(import);
use File::Basename;
use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Time::HiRes qw(usleep);

our @EXPORT = qw(start_peer start_echo stop_peers make_certificates probe_sql probe_node wait_for);
my $servers = abs_path(dirname(__FILE__));
my @running;

# Waits until a sub is true, three minutes at most.
sub wait_for
{
	my ($what) = @_;
	for (1 .. 1800)
	{
		my $is = $what->();
		return $is if $is;
		usleep(100_000);
	}
	die 'gave up waiting';
}

# Starts peer.py; returns its directory and ports.
sub start_peer
{
	my ($dir, @certificate) = @_;
	mkdir $dir;
	append_to_file("$dir/$_", '') for 'requests', 'answers';
	push @running, IPC::Run::start([ '/usr/bin/python3', "$servers/peer.py", $dir, @certificate ]);
	wait_for(sub { -e "$dir/port.http" && (!@certificate || -e "$dir/port.https") });
	return { dir => $dir, http => slurp_file("$dir/port.http"), https => @certificate ? slurp_file("$dir/port.https") : undef };
}

# Builds and starts bench/c/http_echo.c, which answers thousands a second, each
# after so many milliseconds; its port.  $log gets the target of each request.
sub start_echo
{
	my ($delay_ms, $log) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	my ($out, $err) = ('', '');
	system('cc', '-O2', '-o', "$dir/http_echo", "$servers/../bench/c/http_echo.c") == 0 or die 'http_echo does not build';
	push @running, IPC::Run::start([ "$dir/http_echo", $delay_ms, $log // () ], '>', \$out, '2>', \$err);
	$running[-1]->pump until $out =~ /\n/;
	return $out =~ /^(\d+)/ ? $1 : die "http_echo: $err";
}

sub stop_peers
{
	$_->kill_kill for @running;
	@running = ();
}

# A server with these settings that has the kind of job, and the companies Alpha and Beta.
sub probe_node
{
	my ($name, $conf) = @_;
	my $node = PostgreSQL::Test::Cluster->new($name);
	$node->init;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'\n$conf");
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION sales_assistant;' . probe_sql() . q{
SELECT sales.create_company('Alpha', 'alpha.test', 'starter', 'en', 'UTC', 'a@alpha.test', 'alpha-secret-1');
SELECT sales.create_company('Beta', 'beta.test', 'starter', 'en', 'UTC', 'b@beta.test', 'beta-secret-1')});
	return $node;
}

# A certificate authority in $dir, and a certificate for each of the names:
# NAME.crt and NAME.key; "expired:NAME" is out of date, "self:NAME" signs itself.
sub make_certificates
{
	my ($dir, @names) = @_;
	mkdir $dir;
	my $run = sub { run_log([ 'openssl', @_ ]) or die "openssl failed" };
	my @key = ('-newkey', 'rsa:2048', '-nodes', '-sha256');
	$run->('req', '-x509', @key, '-days', '30', '-subj', '/CN=test authority', '-keyout', "$dir/ca.key", '-out', "$dir/ca.crt");
	for my $wanted (@names)
	{
		my ($how, $name) = $wanted =~ /^(?:(expired|self):)?(.*)/;
		$how //= '';
		my $file = "$dir/" . ($how ? "$how.$name" : $name);
		my $san = $name =~ /^[\d.]+$/ ? "IP:$name" : "DNS:$name";
		if ($how eq 'self')
		{
			$run->('req', '-x509', @key, '-days', '30', '-subj', "/CN=$name", '-addext', "subjectAltName=$san", '-keyout', "$file.key", '-out', "$file.crt");
			next;
		}
		append_to_file("$file.ext", "subjectAltName=$san\n");
		$run->('req', @key, '-subj', "/CN=$name", '-keyout', "$file.key", '-out', "$file.csr");
		if ($how eq 'expired')
		{
			# only the "ca" command of every OpenSSL takes dates that are over
			append_to_file("$file.db", '');
			append_to_file("$file.cnf", "[ca]\ndefault_ca = d\n[d]\ndatabase = $file.db\nnew_certs_dir = $dir\nrand_serial = yes\ndefault_md = sha256\npolicy = p\n[p]\ncommonName = supplied\n");
			$run->('ca', '-batch', '-notext', '-config', "$file.cnf", '-in', "$file.csr", '-cert', "$dir/ca.crt", '-keyfile', "$dir/ca.key",
				'-startdate', '20200101000000Z', '-enddate', '20200201000000Z', '-extfile', "$file.ext", '-out', "$file.crt");
			next;
		}
		$run->('x509', '-req', '-in', "$file.csr", '-CA', "$dir/ca.crt", '-CAkey', "$dir/ca.key", '-CAcreateserial',
			'-days', '30', '-extfile', "$file.ext", '-out', "$file.crt");
	}
}

# A kind of job "probe": args is the request; table probed keeps the answer and
# how often a job was settled.  args.then is the outcome, done if there is none.
sub probe_sql
{
	return <<'SQL';
CREATE TABLE probed (job uuid, company uuid, response jsonb, at timestamptz DEFAULT clock_timestamp());
CREATE FUNCTION probe_prepare(job uuid, company uuid, args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RETURN args - 'then' - 'tag'; END $$;
CREATE FUNCTION probe_settle(job uuid, company uuid, args jsonb, response jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO public.probed VALUES (job, company, response);
	RETURN coalesce(args -> 'then', '{"outcome": "done"}');
END $$;
INSERT INTO sales_internal.job_kinds (kind, mode, prepare_function, settle_function)
VALUES ('probe', 'http', 'public.probe_prepare', 'public.probe_settle');
SQL
}

1;
