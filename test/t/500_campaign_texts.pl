# Templates by the vectors of the Mustache specification, mails by messages from
# three libraries' own tests, and both with broken input.
use strict;
use warnings;

use JSON::PP;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $data = $ENV{SHARED_DATA};
plan skip_all => 'SHARED_DATA has no mustache and mime' unless $data && -d "$data/mustache" && -d "$data/mime";

my $node = PostgreSQL::Test::Cluster->new('texts');
$node->init;
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION sales_assistant');
my $json = JSON::PP->new->utf8->canonical->allow_nonref;
sub quoted { my ($text) = @_; $text =~ s/'/''/g; $text =~ s/\\/\\\\/g; return "E'$text'"; }

# all of the core; the optional modules (~lambdas, ~inheritance, ~dynamic-names) are left out
my ($script, @names) = ('');
for my $file (qw(comments delimiters interpolation inverted partials sections))
{
	for my $case (@{ $json->decode(slurp_file("$data/mustache/$file.json"))->{tests} })
	{
		my $variables = $case->{data};
		$variables = { %$variables, _partials => $case->{partials} } if $case->{partials};
		push @names, "$file: $case->{name}";
		$script .= sprintf "SELECT sales.render_template(%s, %s, true) = %s;\n",
		  map { quoted($_) } map { my $t = $_; utf8::encode($t) if utf8::is_utf8($t); $t } $case->{template}, JSON::PP->new->canonical->allow_nonref->encode($variables), $case->{expected};
	}
}
my @answers = split /\n/, $node->safe_psql('postgres', $script);
is(scalar(@names), 136, 'the core has 136 cases');
is(join("\n", map { $names[$_] } grep { ($answers[$_] // '') ne 't' } 0 .. $#names), '', 'and all of them come out right');

# mails: subject, as two other parsers see it where they agree
my $expected = $json->decode(slurp_file("$data/mime/expected_two_oracles.json"));
# msg_19 has no header at all, and so is no mail
my @files = grep { !m{/LICENSE$|/msg_19\.eml$} } sort map { glob "$data/mime/$_/*" } qw(mikel-mail enmime cpython derived);
cmp_ok(scalar(@files), '>=', 70, 'there are messages to read');
my (%seen, @bad);
for my $path (@files)
{
	next unless -f $path;
	my $hex = unpack 'H*', slurp_file($path);
	my ($rc, $out, $err) = $node->psql('postgres', "SELECT sales_internal.parse_mail('\\x$hex')");
	push @bad, "$path: $err" if $rc != 0 || $out eq '';
	$seen{$path} = $out eq '' ? {} : $json->decode($out);
}
is(join("\n", @bad), '', 'each is read, whatever is wrong with it');
my ($agree, @differ) = (0);
for my $path (sort keys %seen)
{
	my ($short) = $path =~ m{/mime/(.*)$};
	my $oracle = $expected->{$short};
	next unless $oracle;
	my ($subject, $other) = map { $oracle->{$_}{subject} // '' } qw(python_email mailparser);
	# which of two Subject headers counts is anybody's guess: GMime takes the last
	next if $subject ne $other || $short eq 'mikel-mail/raw_email_with_binary_encoded.eml';
	my $ours = $seen{$path}{subject} // '';
	s/\s+/ /g, s/^ | $//g for $subject, $ours;
	$agree++;
	push @differ, "$short: '$ours', not '$subject'" if $ours ne $subject;
}
note("$agree subjects compared");
cmp_ok($agree, '>=', 50, 'two parsers agree on most of them');
is(join("\n", map { my $t = $_; utf8::encode($t); $t } @differ), '', 'and so does this one');

# reports of bounces of three kinds of servers
my $report = join "\n", 'From: MAILER-DAEMON@mx.test', 'To: a@alpha.test', 'Subject: failed', 'MIME-Version: 1.0', 'Auto-Submitted: auto-replied',
  'Content-Type: multipart/report; report-type=delivery-status; boundary="b"', '', '--b', 'Content-Type: text/plain', '', 'Sorry.', '--b', 'Content-Type: message/delivery-status', '',
  'Reporting-MTA: dns; mx.test', '', 'Final-Recipient: rfc822; gone@x.test', 'Action: failed', 'Status: 5.1.1', 'Diagnostic-Code: smtp; 550 5.1.1 no', ' such user', '', '--b',
  'Content-Type: text/rfc822-headers', '', 'Message-ID: <m1@alpha.test>', 'To: gone@x.test', '', '--b--', '';
my $read = $json->decode($node->safe_psql('postgres', 'SELECT sales_internal.parse_mail(convert_to(' . quoted($report) . ", 'UTF8'))"));
is($read->{report}, 'delivery-status', 'a report is one');
is_deeply($read->{delivery}[1], { 'final-recipient' => 'rfc822; gone@x.test', action => 'failed', status => '5.1.1', 'diagnostic-code' => 'smtp; 550 5.1.1 no such user' }, 'with its fields, folded ones too');
is($read->{original}{message_id}, 'm1@alpha.test', 'and the mail that it is about');

# broken bytes: cut anywhere, flipped anywhere, nested too deeply
$node->safe_psql('postgres', <<'SQL');
CREATE FUNCTION mangle(raw bytea, seed double precision) RETURNS bytea LANGUAGE plpgsql AS $$
BEGIN
    PERFORM setseed(seed);
    FOR i IN 1 .. 20 LOOP
        raw := set_byte(raw, floor(random() * octet_length(raw))::int, floor(random() * 256)::int);
    END LOOP;
    RETURN substr(raw, 1, 1 + floor(random() * octet_length(raw))::int);
END $$;
CREATE TABLE mails (raw bytea);
SQL
for my $path (grep { -f $_ && -s($_) > 10 && -s($_) < 100_000 } @files)
{
	$node->safe_psql('postgres', sprintf "INSERT INTO mails VALUES ('\\x%s')", unpack 'H*', slurp_file($path));
}
is($node->safe_psql('postgres', 'SELECT count(sales_internal.parse_mail(mangle(raw, s / 100.0))) > 1000 FROM mails, generate_series(1, 30) s'), 't', 'thousands of broken mails are read');
is($node->safe_psql('postgres', q{SELECT sales_internal.parse_mail(convert_to(string_agg(format(E'Content-Type: multipart/mixed; boundary="b%s"\n\n--b%s\n', n, n), ''), 'UTF8')) IS NOT NULL FROM generate_series(1, 5000) n}), 't', 'a mail of 5,000 levels too');
is($node->safe_psql('postgres', q{SELECT count(sales_internal.imap_mails(mangle(t, s / 1000.0))) + count(sales_internal.imap_uids(mangle(t, s / 1000.0))) + count(sales_internal.imap_validity(mangle(t, s / 1000.0))) + count(sales_internal.imap_size(mangle(t, s / 1000.0))) > 0
FROM (SELECT convert_to(E'* OK [UIDVALIDITY 77] ok\r\n* SEARCH 1 2 3\r\n* 1 FETCH (RFC822.SIZE 5 UID 1 BODY[] {5}\r\nabcde)\r\nA1 OK\r\n', 'UTF8') AS t) x, generate_series(1, 999) s}), 't', 'and broken sessions of IMAP');
is($node->safe_psql('postgres', q{SELECT sales_internal.imap_uids(t), sales_internal.imap_validity(t), sales_internal.imap_mails(t) FROM (
SELECT convert_to(E'* OK [UIDVALIDITY 77] ok\r\n* 1 FETCH (UID 1 BODY[] {26}\r\n* SEARCH 9\r\nA1 OK {3}\r\nx\r\n)\r\n* 2 FETCH (BODY[] {99}\r\ncut', 'UTF8') AS t) x}),
	'|77|{"\\\\x2a20534541524348203' . '90d0a4131204f4b207b337d0d0a780d0a"}', 'what stands in a literal is no answer, and one cut short is left out');
$node->stop;
done_testing();
