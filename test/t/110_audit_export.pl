# What COPY ... TO has sent out is out, whatever becomes of its transaction: the
# row of the audit log goes with a ROLLBACK, the server log's line does not.  An
# export that failed, or whose session ended in the midst of it, is there too.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('audit_export');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'sales_assistant'
sales_assistant.workers = off
fsync = off
log_statement = none
log_min_messages = warning
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION sales_assistant;
CREATE ROLE tester LOGIN;
GRANT sales_gateway TO tester;
SELECT sales.create_company(name, lower(name) || '.test', 'business', 'fr', 'Europe/Paris', 'a@' || lower(name) || '.test', 'secret-secret')
FROM unnest('{Alpha,Beta}'::text[]) name;
INSERT INTO sales.prospects (company_id, first_name) SELECT company_id, name || g FROM sales.companies, generate_series(1, 2 + length(name) % 2) g;
CREATE FUNCTION be(company text) RETURNS void LANGUAGE sql SECURITY DEFINER AS
    $$ SELECT sales.set_tenant(company_id, NULL, false) FROM sales.companies WHERE name = company $$;
SQL

my $before = -s $node->logfile;

# Runs it as a company's; what came out, and the lines about exports that the server log got.
sub lines_of
{
	my ($company, $sql, $end) = @_;
	my ($out, $err) = ('', '');
	$before = -s $node->logfile;
	$node->psql('postgres', "SELECT be('$company') \\g /dev/null\n$sql", connstr => $node->connstr('postgres') . ' user=tester', stdout => \$out, stderr => \$err);
	# the line of a session that is ended is written as it ends
	$node->wait_for_log($end, $before) if $end;
	my @lines = map { s/.*sales_assistant: //r } grep { /sales_assistant: COPY/ } split /\n/, slurp_file($node->logfile, $before);
	return ($out, $err, join(', ', @lines));
}

sub on_record
{
	return $node->safe_psql('postgres', q{SELECT coalesce(string_agg(format('%s %s %s', c.name, l.table_name, l.new_values ->> 'rows'), ', ' ORDER BY l.audit_id), '')
		FROM sales.audit_logs l JOIN sales.companies c USING (company_id) WHERE l.action = 'export'});
}

my ($out, $err, $said) = lines_of('Alpha', 'COPY (SELECT first_name FROM sales.prospects ORDER BY 1) TO STDOUT;');
is($out, "Alpha1\nAlpha2\nAlpha3", 'Alpha exports its three');
is($said, 'COPY of 3 rows out of prospects by tester', 'the server log says so');
is(on_record(), 'Alpha prospects 3', 'and so does the audit log');

($out, $err, $said) = lines_of('Beta', "BEGIN;\nCOPY (SELECT first_name FROM sales.prospects ORDER BY 1) TO STDOUT;\nROLLBACK;");
is($out, "Beta1\nBeta2", 'Beta exports its two and rolls back');
is($said, 'COPY of 2 rows out of prospects by tester', 'the server log has it');
is(on_record(), 'Alpha prospects 3', 'the audit log has not');

($out, $err, $said) = lines_of('Beta', "BEGIN;\nSAVEPOINT s;\nCOPY sales.prospects (first_name) TO STDOUT;\nROLLBACK TO s;\nCOMMIT;");
is($said, 'COPY of 2 rows out of prospects by tester', 'a savepoint hides no more');

($out, $err, $said) = lines_of('Alpha', "COPY (SELECT first_name, 1 / (3 - right(first_name, 1)::int) FROM (SELECT first_name FROM sales.prospects ORDER BY 1) x) TO STDOUT;");
like($err, qr/division by zero/, 'one that fails after two rows');
is($said, 'COPY out of prospects by tester failed, rows may have gone out', 'is in the server log');

($out, $err, $said) = lines_of('Alpha', "COPY (SELECT p.first_name, g, CASE g WHEN 1000 THEN pg_terminate_backend(pg_backend_pid()) END FROM generate_series(1, 100000) g, sales.prospects p) TO STDOUT;",
	qr/COPY out of prospects by tester failed/);
is($said, 'COPY out of prospects by tester failed, rows may have gone out', 'so is one whose session was ended');

($out, $err, $said) = lines_of('Alpha', "BEGIN READ ONLY;\nCOPY sales.prospects TO STDOUT;");
is($out, '', 'nothing goes out of a read-only transaction');
like($err, qr/cannot record an export in a read-only transaction/, 'as it could not be recorded');
is($said, '', 'and nothing is said of it');
is(on_record(), 'Alpha prospects 3', 'the audit log has what was committed');
$node->stop;
done_testing();
