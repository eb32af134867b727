# Tokens of outside identity providers: RS256, ES256 and EdDSA with real keys,
# and what must not pass: confusion of algorithms, other keys, old tokens,
# missing claims, users of nobody, ended sessions.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use MIME::Base64 qw(encode_base64url);
use Digest::SHA qw(hmac_sha256);
use JSON::PP;

plan skip_all => 'openssl is absent' if system('openssl version >/dev/null 2>&1') != 0;
my $dir = PostgreSQL::Test::Utils::tempdir();
my $json = JSON::PP->new->canonical;

sub shell { my ($command) = @_; my $out = `$command`; die "failed: $command" if $?; return $out; }
shell("openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:2048 -out $dir/rsa.pem 2>/dev/null");
shell("openssl genpkey -quiet -algorithm RSA -pkeyopt rsa_keygen_bits:1024 -out $dir/small.pem 2>/dev/null");
shell("openssl genpkey -quiet -algorithm EC -pkeyopt ec_paramgen_curve:P-256 -out $dir/ec.pem 2>/dev/null");
shell("openssl genpkey -quiet -algorithm ED25519 -out $dir/ed.pem 2>/dev/null");
shell("openssl genpkey -quiet -algorithm ED25519 -out $dir/other.pem 2>/dev/null");

sub rsa_jwk
{
	my ($name) = @_;
	my ($hex) = shell("openssl rsa -in $dir/$name.pem -noout -modulus 2>/dev/null") =~ /=([0-9A-F]+)/;
	return { kty => 'RSA', kid => $name, use => 'sig', e => 'AQAB', n => encode_base64url(pack 'H*', $hex) };
}
my $point = substr(shell("openssl pkey -in $dir/ec.pem -pubout -outform DER"), -64);
my $ed = substr(shell("openssl pkey -in $dir/ed.pem -pubout -outform DER"), -32);
my %jwk = (
	rsa => rsa_jwk('rsa'),
	ec => { kty => 'EC', crv => 'P-256', kid => 'ec', x => encode_base64url(substr $point, 0, 32), y => encode_base64url(substr $point, 32) },
	ed => { kty => 'OKP', crv => 'Ed25519', kid => 'ed', x => encode_base64url($ed) });
my %algorithm = (rsa => 'RS256', ec => 'ES256', ed => 'EdDSA', other => 'EdDSA');

# r and s, each of 32 bytes, out of their DER
sub raw_ecdsa
{
	my ($der) = @_;
	my @bytes = unpack 'C*', $der;
	my ($at, $raw) = (2, '');
	for (1 .. 2)
	{
		my $length = $bytes[ $at + 1 ];
		my $number = substr $der, $at + 2, $length;
		$number =~ s/^\x00+//;
		$raw .= ("\x00" x (32 - length $number)) . $number;
		$at += 2 + $length;
	}
	return $raw;
}

sub token
{
	my ($key, $claims, %header) = @_;
	my $head = $json->encode({ typ => 'JWT', alg => $algorithm{$key}, kid => $key, %header });
	my $body = $json->encode({ iss => 'https://id.test/', email => 'a@alpha.test', aud => [ 'sales', 'x' ], exp => time + 600, %$claims });
	my $text = encode_base64url($head) . '.' . encode_base64url($body);
	open(my $fh, '>', "$dir/text") or die;
	print $fh $text;
	close $fh;
	my $signature = $key eq 'rsa' ? shell("openssl dgst -sha256 -sign $dir/rsa.pem $dir/text")
	  : $key eq 'ec' ? raw_ecdsa(shell("openssl dgst -sha256 -sign $dir/ec.pem $dir/text"))
	  : shell("openssl pkeyutl -sign -rawin -inkey $dir/$key.pem -in $dir/text");
	return "$text." . encode_base64url($signature);
}

my $node = PostgreSQL::Test::Cluster->new('issuers');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'\nlog_statement = none");
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION sales_assistant;
CREATE ROLE app LOGIN IN ROLE sales_app;
CREATE ROLE operator LOGIN IN ROLE sales_admin;
SELECT sales.create_company('Alpha', 'alpha.test', 'starter', 'en', 'UTC', 'a@alpha.test', 'alpha-secret');
SELECT sales.create_company('Beta', 'beta.test', 'starter', 'en', 'UTC', 'b@beta.test', 'beta-secret');
});
my $keys = $json->encode({ keys => [ @jwk{qw(rsa ec ed)} ] });

sub enters
{
	my ($token) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', "\\set VERBOSITY verbose
SELECT sales.use_session('$token', false) \\g /dev/null
SELECT name FROM sales.companies", extra_params => [ '-U', 'app' ], on_error_stop => 1);
	return $out ne '' ? $out : $err;
}

like(enters(token('rsa', {})), qr/not trusted/, 'an issuer that nobody trusts');
my ($rc, $out, $err) = $node->psql('postgres', "SELECT sales.trust_issuer('https://id.test/', '$keys')", extra_params => [ '-U', 'app' ]);
like($err, qr/permission denied/, 'an application cannot trust one');
for my $bad ('{}', '{"keys": []}', '{"keys": [{"kty": "oct", "k": "AAAA"}]}', $json->encode({ keys => [ rsa_jwk('small') ] }))
{
	($rc, $out, $err) = $node->psql('postgres', "SELECT sales.trust_issuer('https://id.test/', '$bad')");
	like($err, qr/key set cannot be used/, 'a key set that cannot be used is refused');
}
$node->safe_psql('postgres', "SELECT sales.trust_issuer('https://id.test/', '$keys', '{\"aud\": \"sales\"}')", extra_params => [ '-U', 'operator' ]);

is(enters(token($_, {})), 'Alpha', "a token signed with $algorithm{$_}") for qw(rsa ec ed);
is(enters(token('ed', {}, kid => undef)), 'Alpha', 'a token without a key id');
is(enters(token('ed', { email => 'b@beta.test' })), 'Beta', 'the other company\'s user');
my $id = $node->safe_psql('postgres', "SELECT company_id FROM sales.companies WHERE name = 'Alpha'");
is(enters(token('ed', { company_id => $id })), 'Alpha', 'a company by its id');
is($node->safe_psql('postgres', "SELECT count(*) > 0 FROM sales.audit_logs WHERE action = 'login'"), 't', 'logins are on record');

# what must not pass
my $public = shell("openssl pkey -in $dir/rsa.pem -pubout");
my $body = encode_base64url($json->encode({ iss => 'https://id.test/', email => 'a@alpha.test', aud => 'sales', exp => time + 600 }));
for my $alg ('HS256', 'none', 'RS256')
{
	my $text = encode_base64url($json->encode({ alg => $alg, kid => 'rsa' })) . ".$body";
	like(enters("$text." . ($alg eq 'none' ? '' : encode_base64url(hmac_sha256($text, $public)))),
		qr/invalid session token/, "HMAC under the public key, called $alg");
}
like(enters(token('other', {}, kid => 'ed')), qr/signature is not valid/, 'a key that is not the issuer\'s');
like(enters(token('ed', {}, alg => 'ES256', kid => 'ec')), qr/invalid session token/, 'an algorithm that is not the key\'s');
like(enters(token('ed', {}, crit => ['b64'])), qr/critical/, 'critical extensions');
my $good = token('rsa', {});
(my $changed = $good) =~ s/\.([^.]+)\./'.' . encode_base64url($json->encode({ iss => 'https:\/\/id.test\/', email => 'b@beta.test', aud => 'sales', exp => time + 600 })) . '.'/e;
like(enters($changed), qr/signature is not valid/, 'a changed payload');
like(enters(token('ed', { exp => time - 5 })), qr/expired/, 'an expired token');
like(enters(token('ed', { exp => undef })), qr/no expiry/, 'a token without expiry');
like(enters(token('ed', { nbf => time + 3600 })), qr/not valid yet/, 'a token of the future');
like(enters(token('ed', { aud => 'elsewhere' })), qr/"aud"/, 'a token for somebody else');
like(enters(token('ed', { email => 'nobody@alpha.test' })), qr/names no active user/, 'a user that is not there');
like(enters(token('ed', { company_id => $id, email => 'b@beta.test' })), qr/names no active user/, 'a user of another company');
for my $unverified (JSON::PP::false, 'false', 'False', '', 0, undef, [], 'no')
{
	like(enters(token('ed', { email_verified => $unverified })), qr/names no active user/, 'an address that was not verified: ' . $json->encode({ x => $unverified }));
}
is(enters(token('ed', { email_verified => $_ })), 'Alpha', 'one that was') for (JSON::PP::true, 'true');

# ending: logout, deactivation, an issuer that is trusted no more
$out = $node->safe_psql('postgres', "SELECT sales.use_session('$good', false) \\g /dev/null\nSELECT sales.logout()", extra_params => [ '-U', 'app' ]);
like(enters($good), qr/session has ended/, 'logout ends the token');
$node->safe_psql('postgres', "UPDATE sales.users SET is_active = false WHERE email = 'a\@alpha.test'");
like(enters(token('ed', {})), qr/names no active user/, 'a deactivated user');
$node->safe_psql('postgres', "UPDATE sales.users SET is_active = true WHERE email = 'a\@alpha.test'; SELECT sales.trust_issuer('https://id.test/', NULL)");
like(enters(token('ed', {})), qr/not trusted/, 'an issuer that is trusted no more');

$node->stop;
done_testing();
