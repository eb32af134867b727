# A service may quote the key it is called with: in whatever form it writes it
# down, nothing of it comes back to the database or gets into the log.
use strict;
use warnings;
use Cwd qw(abs_path);
use File::Basename;
use lib dirname(__FILE__) . '/../servers';
use IPC::Run;
use JSON::PP;
use MIME::Base64;
use Peers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tmp = PostgreSQL::Test::Utils::tempdir();
my $server = IPC::Run::start([ '/usr/bin/python3', abs_path(dirname(__FILE__) . '/../servers/echo_key.py'), $tmp ]);
wait_for(sub { -e "$tmp/port.http" && -e "$tmp/port.smtp" });
my ($http, $smtp) = map { slurp_file("$tmp/port.$_") } 'http', 'smtp';

my $node = PostgreSQL::Test::Cluster->new('masking');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'sales_assistant'
sales_assistant.allowed_hosts = '127.0.0.1:$http,127.0.0.1:$smtp'
log_min_messages = debug5
log_statement = none
log_min_error_statement = panic
});
$node->start;
# Alpha's key has all that is ever escaped; Beta's is like those of real services.
my %key = (alpha => q{ab/cd+ef&gh=ij"kl<mn>o%41p'q~r}, beta => 'sk-test-0123456789ABCDEFG');
$node->safe_psql('postgres', 'CREATE EXTENSION sales_assistant; ' . probe_sql() . q{
SELECT sales.create_company(name, lower(name) || '.test') FROM unnest('{Alpha,Beta}'::text[]) name;
} . join('', map { my $quoted = $key{$_} =~ s/'/''/gr; "INSERT INTO sales.api_keys (company_id, service_name, key_value) SELECT company_id, 'echo', '$quoted' FROM sales.companies WHERE domain = '$_.test';\n" } keys %key));

# Does the text hold the key, escaped or in base64, wherever that begins?
sub holds
{
	my ($text, $key) = @_;
	my %unescape = (amp => '&', lt => '<', gt => '>', quot => '"', apos => "'");
	for my $one ($text, $text =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger, $text =~ s/%25/%/gr =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger, $text =~ s/\+/ /gr =~ s/%([0-9A-Fa-f]{2})/chr hex $1/ger,
		$text =~ s/&(\w+);/$unescape{$1} \/\/ $&/ger =~ s/&#x([0-9a-f]+);/chr hex $1/ger, $text =~ s/\\(.)/$1/gr)
	{
		return 1 if index($one, $key) >= 0;
		for my $run ($one =~ m{[A-Za-z0-9+/_-]{6,}}g)
		{
			$run =~ tr{-_}{+/};
			for my $start (0 .. 3)
			{
				return 1 if $start < length $run && index(decode_base64(substr($run, $start)), $key) >= 0;
			}
		}
	}
	return 0;
}
ok(holds('x ' . encode_base64('ab' . $key{beta}, ''), $key{beta}) && holds('sk-test-0123456789ABCDEFG%20', $key{beta}) && !holds('sk-test', $key{beta}), 'the test knows a key when it sees it');

# Has a company's key sent somewhere; what came back, as text and as JSON.
sub call
{
	my ($company, $request) = @_;
	my $job = $node->safe_psql('postgres', "SELECT sales_internal.enqueue('probe', company_id, jsonb_build_object('api_key_id', api_key_id) || '$request') FROM sales.api_keys JOIN sales.companies USING (company_id) WHERE domain = '$company.test'");
	$node->poll_query_until('postgres', "SELECT state IN ('done', 'failed') FROM sales_internal.jobs WHERE job_id = '$job'") or diag('the job does not end');
	my $response = decode_json($node->safe_psql('postgres', "SELECT response FROM probed WHERE job = '$job'"));
	return ($response, join "\n", map { ref $_ eq q{HASH} ? values %$_ : $_ // q{} } values %$response);
}

my %auth = (header => '{"header": "X-Key"}', query => '{"query": "key"}', basic => '{"basic": true}');
for my $company (sort keys %key)
{
	for my $form (qw(plain url url_lower url_path url_form every_byte json html basic base64 base64_url base64_inside base64_inside_2 base64_escaped base64_json utf16))
	{
		my $how = (sort keys %auth)[ length($form) % 3 ];
		my ($response, $text) = call($company, qq({"url": "http://127.0.0.1:$http/$form", "auth": $auth{$how}}));
		like($response->{body}, qr/^begin .*\*{6,}.* end$/s, "$company, $form by $how: asterisks stand in the body");
		like($response->{headers}{'x-echo'} // 'begin ****** end', qr/^begin .*\*{6,}.* end$/, "$company, $form: and in the header");
		ok(!holds($text, $key{$company}), "$company, $form: the key is nowhere") or diag($text);
		next if $form =~ /^(json|html|utf16)/;
		($response, $text) = call($company, qq({"url": "http://127.0.0.1:$http/redirect/$form", "auth": $auth{$how}, "follow": 1}));
		is($response->{body}, 'begin landed end', "$company, $form: a redirect to a path with the key is followed");
		like($response->{url}, qr{/landed/.*\*{6,}.*/end$}, "$company, $form: asterisks stand in its path");
		ok(!holds($text, $key{$company}), "$company, $form: the key is nowhere") or diag($text);
		($response, $text) = call($company, qq({"url": "http://127.0.0.1:$http/redirect/$form", "auth": $auth{$how}}));
		like($response->{headers}{location}, qr{/landed/.*\*{6,}.*/end$}, "$company, $form: and in a redirect that is not followed");
		ok(!holds($text, $key{$company}), "$company, $form: the key is nowhere") or diag($text);
	}
	my ($response) = call($company, qq({"url": "http://127.0.0.1:$http/binary", "auth": $auth{header}, "binary": true}));
	is(decode_base64($response->{body_base64}), "\xff\x00" . '*' x length($key{$company}) . "\x00\xfe", "$company: in bytes that are no text it is overwritten, byte for byte");

	($response, my $text) = call($company, qq({"url": "smtp://127.0.0.1:$smtp", "mail": {"from": "a\@$company.test", "to": ["b\@client.example"], "message": "Subject: x\\r\\n\\r\\nx", "user": "me", "tls": "optional"}}));
	is($response->{smtp}{code}, 535, "$company: a mail server refuses the login");
	like($response->{smtp}{reply}, qr/begin .*\*{6,}.*password \*+ end/, "$company: asterisks stand in its reply");
	ok(!holds($text, $key{$company}), "$company: the key is nowhere") or diag($text);
}
# the other company's words are its own: only the key of the call is overwritten
is((call('alpha', qq({"url": "http://127.0.0.1:$http/plain", "headers": {"X-Key": "$key{beta}"}})))[0]{body}, "begin $key{beta} end", 'what is not the key of the call stays as it is');

my $log = slurp_file($node->logfile);
ok(!holds($log, $_), 'no key is in the log of level debug5') for values %key;
is($node->safe_psql('postgres', q{SELECT count(*) FROM sales_internal.jobs j WHERE j::text ~ 'sk-test-0123'}), '1', 'nor in a job, but for the one that was given it in the clear');

$node->stop;
$server->kill_kill;
done_testing();
