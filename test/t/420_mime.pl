# Attachments of 76 mails, odd ones most of them, as two other libraries see them
# (Python's email, npm mailparser): where these agree, so do we, byte by byte.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use JSON::PP;
use Digest::SHA qw(sha256_hex);

my $shared = $ENV{SHARED_DATA} || '../shared/data';
my $file = "$shared/mime/expected_two_oracles.json";
plan skip_all => "the mails are absent (looked for $file)" unless -r $file;

my $node = PostgreSQL::Test::Cluster->new('mime');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION sales_assistant');
sub attachments
{
	my ($bytes) = @_;
	return decode_json($node->safe_psql('postgres', "SELECT coalesce(json_agg(json_build_object('filename', name, 'content_type', lower(content_type),
		'size', length(content), 'sha256', encode(sha256(content), 'hex'))), '[]') FROM sales_internal.mail_attachments(decode('" . unpack('H*', $bytes) . "', 'hex'))"));
}

my $expected = decode_json(slurp_file($file));
my $agreed = 0;
for my $name (sort keys %$expected)
{
	my $got = attachments(slurp_file("$shared/mime/$name"));
	if (!$expected->{$name}{agree})
	{
		# docs/imports.md says which way: it must at least be read
		ok(ref $got eq 'ARRAY', "$name is read");
		next;
	}
	$agreed++;
	my $want = [ map { { filename => $_->{filename}, content_type => $_->{content_type} =~ s/ .*//r, size => $_->{size}, sha256 => $_->{sha256} } }
		  @{ $expected->{$name}{python_email}{attachments} } ];
	# A name's folders are dropped.
	defined $_->{filename} and $_->{filename} =~ s{.*/}{} for @$want;
	is_deeply($got, $want, $name);
}
is($agreed, 63, 'as many mails are agreed on');
# forwarded mails are looked into; what has neither name nor text is an attachment
is(attachments(slurp_file("$shared/mime/derived/09_forwarded_rfc822.eml"))->[0]{filename}, 'deep.csv', 'a CSV inside a forwarded mail is found');
is(scalar @{ attachments(slurp_file("$shared/mime/enmime/attachment-octet.eml")) }, 1, 'bytes without a name are an attachment');
# cut anywhere, bytes changed anywhere: read or not, but never a crash
my $mail = slurp_file("$shared/mime/derived/08_two_csv_one_txt.eml");
srand(42);
my $read = 0;
for my $n (1 .. 60)
{
	my $broken = substr($mail, 0, int(rand(length $mail)));
	substr($broken, int(rand(length $broken)), 1, chr(int(rand(256)))) for 1 .. ($broken eq '' ? 0 : 3);
	$read++ if ref attachments($broken) eq 'ARRAY';
}
is($read, 60, 'broken mails are read as far as they go');
$node->stop;
done_testing();
