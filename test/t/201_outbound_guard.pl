# Where calls may go: all vectors of ../shared/data/ssrf through the real worker,
# with a DNS and an Internet of the test's own (test/servers/fake_net.c).  No
# connection to an address that is not public is even tried: not for a strange
# spelling, not for a public name that leads inside, not at the second look-up,
# not after a redirect.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename;
use lib dirname(__FILE__) . '/../servers';
use JSON::PP;
use Peers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $vectors = ($ENV{SHARED_DATA} || '../shared/data') . '/ssrf/ssrf_vectors.tsv';
plan skip_all => "the vectors are absent (looked for $vectors)" unless -r $vectors;

my @rows;
for my $line (split /\n/, slurp_file($vectors))
{
	my %row;
	@row{qw(id url must_block category source reason stub)} = split /\t/, $line, -1;
	push @rows, \%row if $row{id} =~ /^\d+$/;
}
is(scalar(@rows), 126, 'there are 126 vectors');

# The names that the vectors speak of.  Where the answer of the stub is of the
# documentation network, that network stands for the public Internet.
my $tmp = PostgreSQL::Test::Utils::tempdir();
my %names;
for my $row (@rows)
{
	my ($host) = $row->{url} =~ m{^\w+://(?:[^/?#]*@)?([^/?#:\[]+)};
	for my $stub (split /[;\s]+(?!\()/, $row->{stub} =~ s/ ?\(stub\)//gr)
	{
		my ($name, $addresses) = $stub =~ /^([^=]*)=(.*)/ or next;
		if ($name eq '1st') { $names{$host} = $addresses; }
		elsif ($name eq '2nd') { $names{$host} .= " $addresses"; }
		else { $names{ lc($name eq '' ? $host : $name) } = $addresses; }
	}
}
append_to_file("$tmp/names", join('', map { "$_ $names{$_}\n" } sort keys %names));
append_to_file("$tmp/connects", '');
is(system('cc', '-shared', '-fPIC', '-o', "$tmp/fake_net.so", abs_path(dirname(__FILE__)) . '/../servers/fake_net.c', '-ldl'), 0, 'the test has a network of its own');
make_certificates("$tmp/tls", 'ssrf.localdomain.pw');
my $peer = start_peer("$tmp/peer", "$tmp/tls/ssrf.localdomain.pw.crt", "$tmp/tls/ssrf.localdomain.pw.key");

my $node = PostgreSQL::Test::Cluster->new('guard');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'sales_assistant'
sales_assistant.allowed_hosts = '203.0.113.0/24'
sales_assistant.ca_file = '$tmp/tls/ca.crt'
});
{
	local $ENV{LD_PRELOAD} = "$tmp/fake_net.so";
	local $ENV{FAKE_NAMES} = "$tmp/names";
	local $ENV{FAKE_CONNECTS} = "$tmp/connects";
	local $ENV{FAKE_ROUTES} = "80=$peer->{http},443=$peer->{https}";
	$node->start;
}
$node->safe_psql('postgres', 'CREATE EXTENSION sales_assistant;' . probe_sql() . q{
SELECT sales.create_company('Alpha', 'alpha.test', 'starter', 'en', 'UTC', 'a@alpha.test', 'alpha-secret-1');
CREATE FUNCTION probe(request jsonb) RETURNS uuid LANGUAGE sql AS
	$$ SELECT sales_internal.enqueue('probe', company_id, request) FROM sales.companies $$;});

# Makes calls and says what became of each: "public" if it was let through.
sub verdicts
{
	my @requests = @_;
	truncate "$tmp/connects", 0;
	my $array = join ',', map { "'" . (encode_json($_) =~ s/'/''/gr) . "'" } @requests;
	my @jobs = split /\n/, $node->safe_psql('postgres', "SELECT probe(r) FROM unnest(ARRAY[$array]::jsonb[]) WITH ORDINALITY u (r, n) ORDER BY n");
	$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM sales_internal.jobs WHERE state NOT IN ('done', 'failed')}) or die 'a job did not end';
	my @inside = grep { !/^(203\.0\.113\.\d+|1\.2\.3\.4|8\.8\.8\.8|2606:4700:4700::1111)$/ } split /\n/, slurp_file("$tmp/connects");
	is("@inside", '', 'no connection to another address was tried');
	my %seen = map { split /\|/, $_, 2 } split /\n/, $node->safe_psql('postgres', q{
SELECT j.job_id, CASE WHEN p.job IS NULL THEN 'refused: ' || j.error
                      WHEN p.response ->> 'blocked' = 'true' THEN 'blocked'
                      WHEN p.response ->> 'error' ~ 'resolve' THEN 'not resolved' ELSE 'public' END
FROM sales_internal.jobs j LEFT JOIN probed p ON p.job = j.job_id});
	return map { $seen{$_} } @jobs;
}
sub verdict { return (verdicts(@_))[0]; }
$node->safe_psql('postgres', "UPDATE sales_internal.job_kinds SET max_attempts = 1 WHERE kind = 'probe'");

my @plain = grep { $_->{category} !~ /^(redirect|dns-rebinding)$/ } @rows;
my @got = verdicts(map { utf8::decode(my $url = $_->{url}); { url => $url, timeout_ms => 5000 } } @plain);
for my $i (0 .. $#plain)
{
	my $row = $plain[$i];
	my $name = "vector $row->{id}: $row->{url}";
	if ($row->{must_block} eq 'yes')
	{
		like($got[$i], qr/^(blocked|refused: (not a valid URL|only http|the (URL|host|port) ))/, $name);
	}
	else
	{
		is($got[$i], 'public', $name);
	}
}
for my $row (grep { $_->{category} eq 'redirect' } @rows)
{
	# the vector's server redirects as its path says
	my ($scheme, $host) = $row->{url} =~ m{^(\w+)://([^/]+)};
	is(verdict({ url => "$scheme://$host/to?http://169.254.169.254/latest/", follow => 5 }), 'blocked', "vector $row->{id}: $row->{url}");
}
is(verdict({ url => 'https://ssrf.localdomain.pw/to?http://203.0.113.99/ok', follow => 5 }), 'public', 'a redirect to a public address is followed');
is($node->safe_psql('postgres', q{SELECT response ->> 'url', response ->> 'body' FROM probed ORDER BY at DESC LIMIT 1}),
	'http://203.0.113.99/ok|{"ok": true}', 'and the answer says where it is from');
for my $row (grep { $_->{category} eq 'dns-rebinding' } @rows)
{
	is(verdict({ url => $row->{url} }), 'public', "vector $row->{id}: the first answer is public, and it is the one that is connected to");
	# (another port, as a name is not looked up again within a minute)
	my ($host) = $row->{url} =~ m{//([^/]+)};
	is(verdict({ url => "http://$host:8080/" }), 'blocked', "vector $row->{id}: $row->{url}, at the next look-up");
}

# Redirects of one's own making.
my $far = 'http://nicob.net';
is(verdict({ url => "$far/to?http://localhost/ok", follow => 5 }), 'blocked', 'a redirect to a local name');
is(verdict({ url => "$far/to?http://localtest.me/ok", follow => 5 }), 'blocked', 'a redirect to a public name that leads inside');
verdict({ url => "$far/to?http://user\@nicob.net/ok", follow => 5 });
verdict({ url => "$far/to?file:///etc/passwd", follow => 5 });
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT response ->> 'error', ' / ' ORDER BY response ->> 'error') FROM probed
	WHERE response ->> 'error' ~ 'user name|only http'}),
	'only http and https URLs can be called / the URL must not hold a user name; store the login as a key', 'a redirect with a user name or to a file is not followed, and says why');
is(verdict({ url => "$far/loop", follow => 5 }), 'public', 'a loop of redirects');
is($node->safe_psql('postgres', q{SELECT response ->> 'status' FROM probed ORDER BY at DESC LIMIT 1}), '302', 'ends after five');
is(scalar(() = slurp_file("$peer->{dir}/requests") =~ m{GET /loop}g), 6, 'and is not asked more often');

# The key stays with the host that it was given for (what comes back shows asterisks in its place).
$node->safe_psql('postgres', q{INSERT INTO sales.api_keys (company_id, service_name, key_value) SELECT company_id, 'far', 'sk-the-secret-key' FROM sales.companies});
my $key = $node->safe_psql('postgres', 'SELECT api_key_id FROM sales.api_keys');
my %auth = (api_key_id => $key, auth => { header => 'Authorization', prefix => 'Bearer ' }, headers => { Accept => 'text/html' });
is(verdict({ url => "$far/echo", %auth }), 'public', 'a call with a key');
like($node->safe_psql('postgres', q{SELECT response ->> 'body' FROM probed ORDER BY at DESC LIMIT 1}), qr/Bearer \*{17}"/, 'carries it');
is(verdict({ url => "$far/to?http://203.0.113.99/echo", follow => 1, %auth }), 'public', 'a call with a key that is redirected');
my $echoed = $node->safe_psql('postgres', q{SELECT response ->> 'body' FROM probed ORDER BY at DESC LIMIT 1});
unlike($echoed, qr/authorization|sk-the-secret-key/i, 'leaves it behind');
like($echoed, qr{text/html}, 'but keeps the other headers');

$node->stop;
stop_peers();
done_testing();
