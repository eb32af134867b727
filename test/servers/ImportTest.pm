# Companies Alpha and Beta whose imports a worker runs against servers of the
# test: what the tests of FTP, SFTP and mailboxes share.
package ImportTest;
use strict;
use warnings;
use Exporter 'import';
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

our @EXPORT = qw(new_node as refused set_up set_config run_import start_import waits_with hurry told error_of beta_has_nothing);
our $node;

sub new_node
{
	my ($name, $conf) = @_;
	$node = PostgreSQL::Test::Cluster->new($name);
	$node->init;
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'\nlog_statement = none\n$conf\n");
	$node->start;
	$node->safe_psql('postgres', q{
CREATE EXTENSION sales_assistant;
SELECT sales.create_company(n, lower(n) || '.test', 'starter', 'fr', 'Europe/Paris', 'boss@' || lower(n) || '.test', 'secret-secret') FROM unnest('{Alpha,Beta}'::text[]) n;
CREATE FUNCTION be(who text) RETURNS void LANGUAGE sql AS $$
    SELECT sales.set_tenant(c.company_id, u.user_id, false) FROM sales.companies c JOIN sales.users u USING (company_id) WHERE c.domain = who || '.test' $$;
});
	return $node;
}

# SQL as an application of a company; the last line of its output.
sub as { return (split /\n/, $node->safe_psql('postgres', "SELECT be('$_[0]'); SET ROLE sales_app; $_[1]"))[-1] // ''; }

# What the server says to SQL that should fail.
sub refused
{
	my ($company, $sql) = @_;
	my ($ret, $stdout, $stderr) = $node->psql('postgres', "SELECT be('$company'); SET ROLE sales_app; $sql");
	return $stderr;
}

sub set_up
{
	my ($type, $config) = @_;
	return as('alpha', "INSERT INTO sales.import_jobs (name, source_type, source_config) VALUES ('test', '$type', '$config') RETURNING import_job_id");
}

sub set_config { my ($import, $config) = @_; return as('alpha', "UPDATE sales.import_jobs SET source_config = source_config || '$config' WHERE import_job_id = '$import'"); }

sub start_import { return as('alpha', "SELECT sales.run_import('$_[0]')"); }

sub told { return as('alpha', "SELECT status, rows_read, rows_inserted, rows_unchanged, rows_rejected FROM sales.import_runs WHERE run_id = '$_[0]'"); }

sub error_of { return as('alpha', "SELECT coalesce(error, '') FROM sales.jobs WHERE job_id = '$_[0]'"); }

sub run_import
{
	my $run = start_import($_[0]);
	$node->poll_query_until('postgres', "SELECT state IN ('done', 'failed') FROM sales_internal.jobs WHERE job_id = '$run'") or diag('it did not end');
	return told($run);
}

# Waits until the job of a run has failed once and is to be tried again; its error.
sub waits_with
{
	my ($run) = @_;
	$node->poll_query_until('postgres', "SELECT state = 'queued' AND attempts > 0 AND error IS NOT NULL FROM sales_internal.jobs WHERE job_id = '$run'")
	  or diag(as('alpha', "SELECT state, attempts, error FROM sales.jobs WHERE job_id = '$run'"));
	return error_of($run);
}

# Has a job that waits tried again at once, and waits for its end.
sub hurry
{
	my ($run) = @_;
	$node->poll_query_until('postgres', qq{
WITH hurried AS (UPDATE sales_internal.jobs SET run_at = now() WHERE job_id = '$run' AND state = 'queued' AND run_at > now() + interval '1 second' RETURNING sales_internal.wake_workers())
SELECT state IN ('done', 'failed') AND (SELECT count(*) FROM hurried) = 0 FROM sales_internal.jobs WHERE job_id = '$run'})
	  or diag(as('alpha', "SELECT state, attempts, error FROM sales.jobs WHERE job_id = '$run'"));
	return told($run);
}

sub beta_has_nothing
{
	is(as('beta', 'SELECT (SELECT count(*) FROM sales.prospects), (SELECT count(*) FROM sales.import_runs), (SELECT count(*) FROM sales.import_jobs)'), '0|0|0', 'the other company has none of it');
	return;
}

1;
