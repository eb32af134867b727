# Addresses: the 164 vectors of isemail, and mail domains asked of a real name server while the
# worker goes on with everything else.
use strict;
use warnings;
use lib 'test/t';
use PostgreSQL::Test::Utils;
use Test::More;
use PeerTest;

my $dns = start_peer('dns');
my $node = new_node('mx', "sales_assistant.dns_servers = '127.0.0.1:$dns'\n");
my $vectors = ($ENV{SHARED_DATA} || '../shared/data') . '/email/email_vectors.tsv';

SKIP:
{
	skip "no $vectors", 3 unless -r $vectors;
	my (%count, @wrong);
	my @lines = split /\r?\n/, slurp_file($vectors);
	shift @lines;
	for (@lines)
	{
		my ($id, $address, undef, undef, undef, $policy) = split /\t/, $_, -1;
		$address =~ s/\\(x([0-9A-Fa-f]{2})|\\)/defined $2 ? chr hex $2 : '\\'/ge;
		$count{$policy}++;
		if ($address =~ /\0/)
		{
			# cannot stand in a text at all: refused before it is looked at
			push @wrong, $id if $policy ne 'reject';
			next;
		}
		my $hex = unpack 'H*', $address;
		my $verdict = sql("SELECT sales_internal.email_problem(convert_from(decode('$hex', 'hex'), 'UTF8')) IS NULL");
		push @wrong, "$id $address" if ($verdict eq 't') ne ($policy eq 'accept');
	}
	is($count{accept}, 22, 'addresses to take');
	is($count{reject}, 142, 'addresses to refuse');
	is("@wrong", '', 'all 164 are judged right');
}

# one prospect for each kind of domain
my %expected = (
	mx => 'valid|0.80|f', null => 'invalid|0.99|f', host => 'valid|0.60|f', host6 => 'valid|0.60|f', none => 'invalid|0.95|f',
	nx => 'invalid|0.99|f', fail => 'unknown|0.50|f', 'müller' => 'valid|0.80|f', silent => 'unknown|0.50|f', junk => 'unknown|0.50|f');
# the silent ones first: nobody waits for them
my (%job, %prospect);
for my $kind (sort { ($b =~ /silent|junk/) <=> ($a =~ /silent|junk/) || $a cmp $b } keys %expected)
{
	my $id = sql("INSERT INTO sales.prospects (company_id, first_name, email) SELECT company_id, 'x', 'ada\@$kind.example' FROM who WHERE name = 'alpha' RETURNING prospect_id");
	$id =~ s/\s.*//s;
	$prospect{$kind} = $id;
	$job{$kind} = ask('enrich', qq({"type": "email_validation", "prospect_id": "$id"}));
}
for my $kind (sort keys %expected)
{
	ends($job{$kind}, 'done', "$kind: in the end");
	is(sql("SELECT enriched_value::jsonb ->> 'status', confidence_score, enriched_value::jsonb ->> 'role' = 'true' FROM sales.enrichments WHERE job_id = '$job{$kind}'"),
		$expected{$kind}, "$kind: its verdict");
}
# A worker that waited would answer what it was asked first, first, always; on a busy machine a
# worker that does not may happen to, so it is asked until it has not.
my $overtaken = '';
for (1 .. 30)
{
	$overtaken = sql("SELECT finished_at < (SELECT finished_at FROM sales_internal.jobs WHERE job_id = '$job{silent}') FROM sales_internal.jobs WHERE job_id = '$job{mx}'");
	last if $overtaken eq 't';
	@job{qw(silent mx)} = split /\|/, sql('SELECT ' . join(', ', map { qq{sales_internal.enqueue('enrich', company_id, '{"type": "email_validation", "prospect_id": "$prospect{$_}"}')} } qw(silent mx)) . " FROM who WHERE name = 'alpha'");
	$node->poll_query_until('postgres', "SELECT count(*) = 2 FROM sales_internal.jobs WHERE job_id IN ('$job{silent}', '$job{mx}') AND state = 'done'");
}
is($overtaken, 't', 'one that is answered does not wait for a name server that says nothing');

# a question that is open does not hold up the end of the server, nor of the extension
sql("UPDATE sales.prospects SET email = 'ada\@silent.example'");
my $open = ask('enrich', '{"type": "email_validation"}');
$node->poll_query_until('postgres', "SELECT state = 'running' FROM sales_internal.jobs WHERE job_id = '$open'");
sql("SELECT sales.cancel_job('$open') FROM (SELECT sales.set_tenant(company_id) FROM who WHERE name = 'alpha') t");
is(sql("SELECT status FROM sales.enrichments WHERE job_id = '$open'"), 'failed', 'a question that is cancelled');
$open = ask('enrich', '{"type": "email_validation"}', 'beta');
$node->poll_query_until('postgres', "SELECT state = 'running' FROM sales_internal.jobs WHERE job_id = '$open'");
$node->stop('fast');
$node->start;
ends($open, 'done', 'a question that was open as the server stopped is asked again');
# in the foreground as well
is(sql(q{SELECT sales.stop_workers() IS NOT NULL}), 't', 'without a worker');
sql("UPDATE sales.prospects SET email = 'ada\@mx.example'");
my $by_hand = ask('enrich', '{"type": "email_validation"}');
sql('SELECT sales_internal.run_jobs()');
is(job_row($by_hand, "state, result #>> '{found,status}'"), 'done|valid', 'it is asked in the foreground');

$node->stop;
stop_peers();
done_testing();
