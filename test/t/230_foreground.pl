# run_jobs(): calls made here and now on a server that has no workers, with real peers.  What a job's
# prepare function may not ask for is told to its settle function, and nothing goes out;
# answers in whatever encoding are UTF-8 and lack the key; whoever waits can give up, and nothing is lost.
use strict;
use warnings;
use File::Basename;
use lib dirname(__FILE__) . '/../servers';
use JSON::PP;
use Peers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tmp = PostgreSQL::Test::Utils::tempdir();
my $peer = start_peer("$tmp/peer");
my $http = "http://127.0.0.1:$peer->{http}";
my $node = probe_node('foreground', qq{
sales_assistant.workers = off
sales_assistant.allowed_hosts = '127.0.0.1, [::1]:9, 127.4.100.0/22'
});
sub sql { return $node->safe_psql('postgres', $_[0]); }
sub quoted { return "'" . ($_[0] =~ s/'/''/gr) . "'"; }
sql(q{
INSERT INTO sales.providers (name, purpose, base_url, request, answer) VALUES ('probe', 'website', '} . $http . q{', '{"url": "{{base_url}}/x", "auth": {"header": "X-Key"}}', '{"fields": {}}');
INSERT INTO sales.api_keys (company_id, service_name, key_value) SELECT company_id, 'probe', lower(name) || '-key-1' FROM sales.companies;});
my %key = map { split /\|/ } split /\n/, sql('SELECT c.name, k.api_key_id FROM sales.api_keys k JOIN sales.companies c USING (company_id)');

sub ask
{
	my ($company, %request) = @_;
	return sql("SELECT sales_internal.enqueue('probe', company_id, " . quoted(encode_json(\%request)) . ") FROM sales.companies WHERE name = '$company'");
}
sub response
{
	my ($job) = @_;
	is(sql("SELECT state FROM sales_internal.jobs WHERE job_id = '$job'"), 'done', 'it is done');
	return decode_json(sql("SELECT response FROM probed WHERE job = '$job'"));
}
sub run { return sql('SELECT sales_internal.run_jobs()'); }
sub asked { return scalar(() = slurp_file("$peer->{dir}/requests") =~ /\n/g); }

# --- calls as the worker makes them ---
my %jobs = (
	ok => ask('Alpha', url => "$http/ok"), beta => ask('Beta', url => "$http/ok"),
	head => ask('Alpha', url => "$http/ok", method => 'HEAD', follow => 1),
	post => ask('Alpha', url => "$http/echo?a=1", method => 'POST', body => 'x', headers => { 'X-One' => 'two' }),
	redirect => ask('Alpha', url => "$http/to?$http/ok", follow => 1),
	stays => ask('Alpha', url => "$http/to?$http/ok"),
	inside => ask('Alpha', url => "$http/to?http://10.0.0.1/", follow => 1),
	late => ask('Alpha', url => "$http/never", timeout_ms => 300),
	key => ask('Alpha', url => "$http/echo", auth => { query => 'k' }, provider => 'probe', api_key_id => $key{Alpha}),
	basic => ask('Beta', url => "$http/echo", auth => { basic => JSON::PP::true }, provider => 'probe', api_key_id => $key{Beta}));
is(run(), scalar(keys %jobs), 'all jobs ran');
my %got = map { ($_ => response($jobs{$_})) } keys %jobs;
is($got{$_}{status}, 200, "$_: answered") for qw(ok beta head post redirect key basic);
is($got{ok}{body}, '{"ok": true}', 'with the body');
is($got{head}{body}, '', 'which a HEAD has not');
is_deeply([ @{ decode_json($got{post}{body}) }{qw(method target)} ], [ 'POST', '/echo?a=1' ], 'method and target are as they were asked for');
is(decode_json($got{post}{body})->{headers}{'x-one'}, 'two', 'and the header');
like($got{redirect}{url}, qr{/ok$}, 'a redirect is followed where that is allowed');
is($got{stays}{status}, 302, 'and else not');
is($got{inside}{status}, 0, 'never to an address inside');
like($got{inside}{error}, qr/not public/, 'which is said');
like($got{late}{error}, qr/timed out/i, 'a call ends when its time is over');
like(decode_json($got{key}{body})->{target}, qr{^/echo\?k=\*+$}, 'a key went out in the query, and comes back as asterisks');
unlike(encode_json($got{basic}), qr/beta-key-1/, 'nor does that of basic authentication come back');
like(slurp_file("$peer->{dir}/requests"), qr{^GET /echo\?k=alpha-key-1$}m, 'though it was sent');

# --- what no request may be: told, and nothing goes out ---
my $before = asked();
my %alpha = (provider => 'probe', api_key_id => $key{Alpha});
my %mail = (from => 'a@alpha.test', to => ['b@beta.test'], message => "Subject: x\r\n\r\nx\r\n");
my @refused = (
	[ qr/not a valid URL/, {} ], [ qr/not a valid URL/, { url => 'http://' } ], [ qr/not a valid URL/, { url => 'nothing' } ],
	[ qr/only http and https/, { url => 'file:///etc/passwd' } ], [ qr/only http and https/, { url => 'gopher://example.com/' } ],
	[ qr/must not hold a user name/, { url => 'http://user@example.com/' } ],
	[ qr/port of the URL|not a valid URL/, { url => 'http://example.com:99999/' } ], [ qr/port of the URL|not a valid URL/, { url => 'http://example.com:8x/' } ],
	[ qr/no valid international name/, { url => "http://\x{2460}.example.com/" } ],
	[ qr/header of the request/, { url => "$http/ok", headers => { "X\r\nY" => '1' } } ],
	[ qr/header of the request/, { url => "$http/ok", headers => { X => "1\r\nY: 2" } } ], [ qr/header of the request/, { url => "$http/ok", headers => { X => 1 } } ],
	[ qr/method of the request/, { url => "$http/ok", method => "GET /x\r\n" } ], [ qr/method of the request/, { url => "$http/ok", method => 'get' } ],
	[ qr/needs a key and there is none/, { url => "$http/ok", auth => { header => 'X-Key' } } ],
	[ qr/needs a key and there is none/, { url => "$http/ok", auth => { header => 'X-Key' }, provider => 'probe', api_key_id => $key{Beta} } ],
	[ qr/auth is of no known kind/, { url => "$http/ok", auth => { digest => 1 }, %alpha } ],
	[ qr/cannot be sent in a header/, { url => "$http/ok", auth => { header => "X:\n" }, %alpha } ],
	[ qr/needs an smtp/, { url => "$http/ok", mail => \%mail } ],
	[ qr/needs from, to and message/, { url => 'smtp://127.0.0.1:9', mail => { %mail, to => [] } } ],
	[ qr/needs from, to and message/, { url => 'smtp://127.0.0.1:9', mail => { %mail, from => "a\@b>\r\nRCPT TO:<c\@d" } } ],
	[ qr/recipient is no mail address/, { url => 'smtp://127.0.0.1:9', mail => { %mail, to => [ 'b@beta.test', "c\@d\r\nDATA" ] } } ],
	[ qr/needs an imap/, { url => "$http/ok", imap => { command => 'NOOP' } } ],
	[ qr/command of one line/, { url => 'imap://127.0.0.1:9/INBOX', imap => {} } ],
	[ qr/command of one line/, { url => 'imap://127.0.0.1:9/INBOX', imap => { command => "NOOP\r\nA2 DELETE INBOX" } } ],
	[ qr/needs an ftp/, { url => "$http/ok", file => {} } ],
	[ qr/ends with a slash/, { url => 'ftp://127.0.0.1:9/leads', file => { list => JSON::PP::true } } ],
	[ qr/needs host_key/, { url => 'sftp://127.0.0.1:9/x', file => { user => 'u' } } ],
	[ qr/neither a fingerprint/, { url => 'sftp://127.0.0.1:9/x', file => { user => 'u', host_key => 'trust me' } } ]);
my @jobs = map { ask('Alpha', %{ $_->[1] }) } @refused;
is(run(), scalar(@refused), 'all of them are told');
for my $i (0 .. $#refused)
{
	my $got = response($jobs[$i]);
	like($got->{error}, $refused[$i][0], encode_json($refused[$i][1]) . ': refused');
	is($got->{status}, 0, 'and without a status');
}
is(asked(), $before, 'nothing was sent');

# --- where calls may go is a matter of bits ---
my @hosts = ([ 'http://127.4.103.255:9/', 0 ], [ 'http://127.4.104.0:9/', 1 ], [ 'http://[::1]:9/', 0 ], [ 'http://[::2]:9/', 1 ],
	[ 'http://[::1/', 0, qr/not a valid URL/ ], [ 'http://127.0.0.2:9/', 1 ], [ 'http://localhost:9/', 1 ]);
@jobs = map { ask('Beta', url => $_->[0], timeout_ms => 200) } @hosts;
run();
for my $i (0 .. $#hosts)
{
	my $got = response($jobs[$i]);
	is($got->{blocked} ? 1 : 0, $hosts[$i][1], "$hosts[$i][0] is " . ($hosts[$i][1] ? 'blocked' : 'not blocked'));
	like($got->{error}, $hosts[$i][2], 'and an error') if $hosts[$i][2];
}

# --- bodies are UTF-8, whatever they say of themselves ---
my @bodies = (
	[ 'efbbbf636166c3a9', 'text/plain', "caf\x{e9}", 'a byte order mark goes' ],
	[ '636166e9', 'text/html;charset="ISO-8859-1"', "caf\x{e9}", 'what is called Latin-1' ],
	[ '80', 'text/html; charset=latin1', "\x{20ac}", 'is Windows-1252, as pages mean it' ],
	[ '636166c3a9', 'text/html; charset=iso-8859-1', "caf\x{e9}", 'unless it is UTF-8' ],
	[ '82a0ff82a2', 'text/html; charset=Shift_JIS', "\x{3042}\x{fffd}\x{3044}", 'a byte that fits nowhere is replaced' ],
	[ 'fffe6300610066006000', 'text/plain', "caf`", 'UTF-16 by its mark' ],
	[ 'feff0063003d', 'text/plain; charset=utf-8', "c=", 'of either order' ],
	[ unpack('H*', '<meta charset=koi8-r>') . 'cb', 'text/html', "<meta charset=koi8-r>\x{43a}", 'what the page says of itself' ],
	[ 'e9', 'text/html; charset=nonsense', "\x{e9}", 'an encoding that nobody knows' ],
	[ 'e900ff', 'text/plain', "\x{e9}\x{ff}", 'nothing said, and a NUL' ],
	[ unpack('H*', '"alpha\u002dkey-1" alpha%2Dkey-1 alpha&#45;key-1 YWxwaGEta2V5LTE='), 'text/plain', qr/^[^ya1-9]*$/i, 'no spelling of the key comes back' ]);
@jobs = map { ask('Alpha', url => "$http/bytes/$_->[0]?" . ($_->[1] =~ s/ /%20/gr =~ s/"/%22/gr), auth => { header => 'X-Key' }, %alpha) } @bodies;
is(run(), scalar(@bodies), 'bodies');
for my $i (0 .. $#bodies)
{
	my $got = response($jobs[$i]);
	my $body = $got->{body};
	$body = $body =~ s/[" *]//gr if ref $bodies[$i][2];
	ref $bodies[$i][2] ? like($body, $bodies[$i][2], $bodies[$i][3]) : is($body, $bodies[$i][2], $bodies[$i][3]);
}

# --- who waits can give up: the call ends, and its job is as it was ---
my $never = ask('Alpha', url => "$http/never");
my ($code, $out, $err) = $node->psql('postgres', "SET statement_timeout = '700ms'; SELECT sales_internal.run_jobs()");
isnt($code, 0, 'a call that is not answered');
like($err, qr/canceling statement due to statement timeout/, 'is given up');
is(sql("SELECT state, attempts FROM sales_internal.jobs WHERE job_id = '$never'"), 'queued|0', 'its job waits, with no attempt lost');
is(sql("SELECT count(*) FROM probed WHERE job = '$never'"), '0', 'and was not settled');
$node->stop;
stop_peers();
done_testing();
