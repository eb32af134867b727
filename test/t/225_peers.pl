# Peers that misbehave, each in its way, on the wire: what the settle function is
# told, that the job ends, and that nothing half-read is taken for an answer.
# Meanwhile another company's calls are answered.
use strict;
use warnings;
use File::Basename;
use lib dirname(__FILE__) . '/../servers';
use JSON::PP;
use Peers;
use POSIX qw(strftime);
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tmp = PostgreSQL::Test::Utils::tempdir();
make_certificates("$tmp/tls", 'localhost', 'expired:localhost', 'self:localhost', 'other.example');
my %peer = map { my $name = $_; ($name => start_peer("$tmp/$name", "$tmp/tls/$name.crt", "$tmp/tls/$name.key")) }
  ('localhost', 'expired.localhost', 'self.localhost', 'other.example');
my $http = "http://127.0.0.1:$peer{localhost}{http}";
my $node = PostgreSQL::Test::Cluster->new('peers');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'sales_assistant'
sales_assistant.allowed_hosts = '127.0.0.1, localhost'
sales_assistant.ca_file = '$tmp/tls/ca.crt'
});
# no proxy is used, whatever the environment says: nobody listens there, and calls are answered
$ENV{$_} = 'http://127.0.0.1:9' for qw(http_proxy https_proxy ftp_proxy all_proxy ALL_PROXY);
$node->start;
sub sql { return $node->safe_psql('postgres', $_[0]); }
sql('CREATE EXTENSION sales_assistant;' . probe_sql() . q{
SELECT sales.create_company('Alpha', 'alpha.test', 'starter', 'en', 'UTC', 'a@alpha.test', 'alpha-secret-1');
SELECT sales.create_company('Beta', 'beta.test', 'starter', 'en', 'UTC', 'b@beta.test', 'beta-secret-1');});

sub quoted { return "'" . ($_[0] =~ s/'/''/gr) . "'"; }
sub ask
{
	my ($company, %request) = @_;
	return sql("SELECT sales_internal.enqueue('probe', company_id, " . quoted(encode_json(\%request)) . ") FROM sales.companies WHERE name = '$company'");
}
sub response
{
	my ($job) = @_;
	$node->poll_query_until('postgres', "SELECT state = 'done' FROM sales_internal.jobs WHERE job_id = '$job'") or diag(sql("SELECT * FROM sales_internal.jobs WHERE job_id = '$job'"));
	is(sql("SELECT count(*) FROM probed WHERE job = '$job'"), '1', 'it is settled once');
	return decode_json(sql("SELECT response FROM probed WHERE job = '$job'"));
}

# [path, status, pattern of the error or of the body, more of the request]
my @cases = (
	[ '/never', 0, qr/timed out/i, timeout_ms => 700 ],
	[ '/drip', 0, qr/timed out/i, timeout_ms => 700 ],
	[ '/wait/300', 200, qr/^\{"ok": true\}$/ ],
	[ '/huge', 0, qr/larger than allowed/, max_bytes => 100_000 ],
	[ '/gzipbomb', 0, qr/larger than allowed/, max_bytes => 100_000 ],
	[ '/headers', 0, qr/larger than allowed/ ],
	[ '/truncated', 0, qr/./ ],
	[ '/chunkcut', 0, qr/./ ],
	[ '/badchunk', 0, qr/./ ],
	[ '/reset', 0, qr/./ ],
	[ '/resetlate', 0, qr/./ ],
	[ '/badjson', 200, qr/^\{"ok": tru$/ ],
	[ '/badutf8', 200, qr/^\{"ok": "caf\x{e9} \x{ff}\x{fe} \x{20ac}"\}$/ ],
	[ '/duplicate', 200, qr/^\{"ok": false, "ok": true\}$/ ],
	[ '/nul', 200, qr/^[^\0]*$/ ],
	[ '/status/204', 204, qr/^/ ],
	(map { [ "/status/$_", $_, qr/"status $_"/ ] } 401, 402, 403, 404, 429, 500, 502, 503, 529),
	[ '/loop', 302, qr/^$/ ],
	# hostile ones: what has no end is ended, what has no form does no harm
	(map { [ "/flood/$_", 0, qr/larger than allowed|Too (?:large|many) response headers|Out of memory/, timeout_ms => 60_000 ] } qw(100 103 trailers line)),
	(map { [ "/flood/$_", 0, qr/timed out/i, timeout_ms => 1500 ] } qw(chunk gzip)),
	(map { [ "/raw/$_", 200, qr/^\{"ok": true\}$/ ] } qw(1.0 trailer folded charset cookies lengths overflow)),
	(map { [ "/raw/$_", 0, qr/./ ] } qw(0.9 nul nultrailer negative encodings status)),
	[ '/raw/304', 304, qr/^$/ ], [ '/raw/101', 101, qr/^/ ],
	[ '/raw/deep', 200, qr/^\[{1000}/ ]);
my @jobs = map { my ($path, undef, undef, %more) = @$_; ask('Alpha', url => "$http$path", %more) } @cases;
my $beta = ask('Beta', url => "$http/ok");
is(response($beta)->{status}, 200, 'another company\'s call is answered meanwhile');
for my $i (0 .. $#cases)
{
	my ($path, $status, $pattern) = @{ $cases[$i] };
	my $got = response($jobs[$i]);
	is($got->{status}, $status, "$path: status");
	if ($status == 0)
	{
		like($got->{error}, $pattern, "$path: what went wrong");
		is($got->{body}, undef, "$path: nothing half-read");
		note("$path: $got->{error}");
	}
	else
	{
		is($got->{error}, undef, "$path: no error");
		like($got->{body}, $pattern, "$path: the body");
	}
}

# no cookie, no other address and no other protocol is kept for the next call to that host
my $got = response(ask('Beta', url => "$http/echo"));
unlike($got->{body}, qr/cookie/i, 'no cookie of one call goes with another');
is($got->{status}, 200, 'nor is another address or protocol asked, whatever an answer told');

# --- other protocols: a session that stands still, or drips, at its greeting or in the middle of what was asked for ---
my %session = map { ($_ => slurp_file("$peer{localhost}{dir}/port.$_")) } qw(ftp imap smtp greeting silent);
my @sessions = (
	(map { [ ftp => $_, '/leads.csv', file => {} ], [ imap => $_, '/INBOX', imap => { command => 'FETCH 1 BODY[]' } ],
		[ smtp => $_, '', mail => { from => 'a@alpha.test', to => ['b@beta.test'], message => "Subject: hello\r\n\r\nhello\r\n" } ] } qw(greeting silent)),
	[ ftp => 'ftp', '/leads.csv', file => {} ], [ ftp => 'ftp', '/dir/', file => { list => JSON::PP::true } ],
	[ imap => 'imap', '/INBOX', imap => { command => 'FETCH 1 BODY[]' } ],
	[ smtp => 'smtp', '', mail => { from => 'a@alpha.test', to => ['b@beta.test'], message => "Subject: hello\r\n\r\nhello\r\n" } ]);
@jobs = map { my ($scheme, $port, $path, @more) = @$_; ask('Alpha', url => "$scheme://127.0.0.1:$session{$port}$path", timeout_ms => 1500, @more) } @sessions;
is(response(ask('Beta', url => "$http/ok"))->{status}, 200, 'another company\'s call is answered while sessions stand still');
for my $i (0 .. $#sessions)
{
	my ($scheme, $port) = @{ $sessions[$i] };
	my $got = response($jobs[$i]);
	is($got->{status}, 0, "$scheme with a peer that is $port: no status");
	like($got->{error}, qr/timed out|timeout/i, "$scheme with a peer that is $port: its time was over");
	is($got->{body} // $got->{body_base64}, undef, "$scheme with a peer that is $port: nothing half-read");
}

# --- TLS ---
for my $case (
	[ 'localhost', 'localhost', 200, qr/true/ ], [ 'expired.localhost', 'localhost', 0, qr/expired/ ],
	[ 'self.localhost', 'localhost', 0, qr/self-signed/ ], [ 'other.example', 'localhost', 0, qr/host name|subject name/ ],
	[ 'localhost', '127.0.0.1', 0, qr/host name|subject name/ ])
{
	my ($certificate, $host, $status, $pattern) = @$case;
	my $got = response(ask('Alpha', url => "https://$host:$peer{$certificate}{https}/ok"));
	is($got->{status}, $status, "certificate $certificate at $host: status");
	like($got->{body} // $got->{error}, $pattern, "certificate $certificate at $host: " . ($status ? 'answered' : 'refused, and why'));
	my $asked = () = slurp_file("$peer{$certificate}{dir}/requests") =~ m{^GET /ok$}mg;
	is($asked, 0, 'nothing was sent') if $certificate ne 'localhost';
}
$got = response(ask('Alpha', url => "https://localhost:$peer{localhost}{http}/ok"));
is($got->{status}, 0, 'TLS to a server that speaks none');
# (on a connection of its own: libcurl 8 may send it, encrypted, over one that was kept from above)
$got = response(ask('Alpha', url => "http://localhost:$peer{localhost}{https}/ok", timeout_ms => 5000, once => JSON::PP::true));
is($got->{status}, 0, 'no TLS to a server that speaks it');

# --- what a service asks for is kept, by key and so by company ---
for my $case ([ 429, '3600', 3000, 3601 ], [ 503, 'date', 3000, 3601 ], [ 429, 'nonsense', -1, 1 ], [ 503, '-5', -1, 1 ])
{
	my ($status, $after, $least, $most) = @$case;
	$after = strftime('%a, %d %b %Y %H:%M:%S GMT', gmtime(time + 3600)) if $after eq 'date';
	sql('DELETE FROM sales_internal.service_pace');
	response(ask('Alpha', url => "$http/status/$status?after=" . ($after =~ s/ /%20/gr), provider => 'far'));
	is(sql(qq{SELECT failures, coalesce(extract(epoch FROM closed_until - now()), 0) BETWEEN $least AND $most FROM sales_internal.service_pace WHERE service = 'far'}),
		'1|t', "$status with Retry-After: $after") or diag(sql('SELECT * FROM sales_internal.service_pace'));
}

# --- a breaker: five failures in a row, of one service alone ---
sql('DELETE FROM sales_internal.service_pace');
for my $n (1 .. 5)
{
	is(sql(q{SELECT count(*) FROM sales_internal.service_pace WHERE service = 'down' AND closed_until IS NOT NULL}), '0', 'the breaker has not tripped') if $n > 1;
	response(ask('Alpha', url => "$http/reset", provider => 'down'));
}
# (for the five seconds that sql/providers looks at, which may be over by now)
is(sql(q{SELECT service, failures FROM sales_internal.service_pace WHERE closed_until IS NOT NULL}), 'down|5', 'after five failures it has');
# for longer than this may take
sql(q{UPDATE sales_internal.service_pace SET closed_until = now() + interval '1 hour' WHERE service = 'down'});
sql("CREATE OR REPLACE FUNCTION probe_prepare(job uuid, company uuid, args jsonb) RETURNS jsonb LANGUAGE plpgsql AS \$\$
BEGIN PERFORM sales_internal.pace_call(args ->> 'provider', NULL); RETURN args; END \$\$");
my $waits = ask('Alpha', url => "$http/ok", provider => 'down');
is(response(ask('Beta', url => "$http/ok", provider => 'up'))->{status}, 200, 'another service is called');
is(sql("SELECT state, attempts FROM sales_internal.jobs WHERE job_id = '$waits'"), 'queued|0', 'while a job of the one that is down waits, which is no attempt');
sql(q{UPDATE sales_internal.service_pace SET closed_until = now() WHERE service = 'down'});
sql("UPDATE sales_internal.jobs SET run_at = now() WHERE job_id = '$waits'; SELECT sales_internal.wake_workers();");
is(response($waits)->{status}, 200, 'after the pause one call goes out');
is(sql(q{SELECT failures FROM sales_internal.service_pace WHERE service = 'down'}), '0', 'and closes the breaker');

is(sql('SELECT count(*) FROM sales.worker_status WHERE calls_open > 0'), '0', 'no call is left open');
$node->stop;
stop_peers();
done_testing();
