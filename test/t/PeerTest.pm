# Jobs of two companies against local peers: what the tests of providers share.
package PeerTest;
use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use IPC::Run;
use JSON::PP;
use Cwd qw(abs_path);

our @EXPORT = qw(start_peer requests new_node sql ask ends job_row stop_peers);

my @peers;
our $node;

# Starts test/servers/NAME.py; its port, which it prints.
sub start_peer
{
	my ($name, @args) = @_;
	my ($out, $err) = ('', '');
	my $peer = IPC::Run::start([ '/usr/bin/python3', abs_path("test/servers/$name.py"), @args ], '>', \$out, '2>', \$err);
	$peer->pump until $out =~ /\n/;
	push @peers, $peer;
	return $out =~ /^(\d+)/ ? $1 : die "$name: $err";
}

sub stop_peers { $_->kill_kill for @peers; return; }

# The requests that a peer has noted.
sub requests { return map { decode_json($_) } split /\n/, slurp_file($_[0]); }

# A server with Alpha (fr) and Beta (en), a product and a prospect each, in the table who.
sub new_node
{
	my ($name, $conf) = @_;
	$node = PostgreSQL::Test::Cluster->new($name);
	$node->init;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'\nlog_min_messages = debug1\nlog_statement = none\n$conf");
	$node->start;
	$node->safe_psql('postgres', q{
CREATE EXTENSION sales_assistant;
SELECT sales.create_company('Alpha', 'alpha.test', 'starter', 'fr', 'Europe/Paris', 'a@alpha.test', 'alpha-secret-1');
SELECT sales.create_company('Beta', 'beta.test', 'starter', 'en', 'UTC', 'b@beta.test', 'beta-secret-1');
CREATE TABLE who AS SELECT company_id, split_part(domain, '.', 1) AS name, sales.uuidv7() AS prospect_id FROM sales.companies;
INSERT INTO sales.products (company_id, name) SELECT company_id, 'Cap Vente' FROM who;
INSERT INTO sales.prospects (prospect_id, company_id, first_name, last_name, email) SELECT prospect_id, company_id, 'Ada', 'Byron', 'ada@client.example' FROM who;
});
	return $node;
}

sub sql { return $node->safe_psql('postgres', $_[0]); }

# Queues a job of a company about its prospect.
sub ask
{
	my ($kind, $args, $company) = @_;
	$company //= 'alpha';
	return sql("SELECT sales_internal.enqueue('$kind', company_id, jsonb_build_object('prospect_id', prospect_id) || '$args') FROM who WHERE name = '$company'");
}

# Waits for the end of a job, hurrying along what backs off; its error.
sub ends
{
	my ($job, $state, $name) = @_;
	$node->poll_query_until('postgres', qq{
WITH hurried AS (UPDATE sales_internal.jobs SET run_at = now() WHERE job_id = '$job' AND state = 'queued' AND run_at > now() + interval '2 seconds' RETURNING sales_internal.wake_workers())
SELECT state IN ('done', 'failed', 'cancelled') AND (SELECT count(*) FROM hurried) = 0 FROM sales_internal.jobs WHERE job_id = '$job'})
	  or diag("the job did not end: " . job_row($job, 'state, attempts, error'));
	is(job_row($job, 'state'), $state, $name) or diag(job_row($job, "coalesce(error, result::text)"));
	return job_row($job, "coalesce(error, '')");
}

sub job_row { my ($job, $columns) = @_; return sql("SELECT $columns FROM sales_internal.jobs WHERE job_id = '$job'"); }

1;
