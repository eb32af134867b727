# Partitions are made and filled from DEFAULT while applications write and read:
# no writer gets an error, no row is lost or doubled, DEFAULT ends empty.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('partitions');
$node->init;
$node->append_conf('postgresql.conf', 'log_statement = none');
$node->start;    # not preloaded: this test alone makes partitions
$node->safe_psql('postgres', q{
CREATE EXTENSION sales_assistant;
SELECT sales.create_company(name, lower(name) || '.test', 'business', 'fr', 'Europe/Paris', 'a@' || lower(name) || '.test', 'secret-secret') FROM unnest('{Alpha,Beta}'::text[]) name;
INSERT INTO sales.prospects (company_id, first_name) SELECT company_id, 'P' || g FROM sales.companies, generate_series(1, 50) g;
INSERT INTO sales.interactions (company_id, prospect_id, channel, type, content, interaction_date)
SELECT company_id, prospect_id, 'email', 'sent', 'before', '2025-01-01 00:00:00+00'::timestamptz + g * interval '37 hours' FROM sales.prospects, generate_series(1, 200) g});

# Each writer: inserts, updates of old rows, reads, in transactions of their own.
my $dir = $node->basedir;
append_to_file("$dir/writer.sql", q{
\set n random(1, 9000)
\set p random(1, 100)
BEGIN;
INSERT INTO sales.interactions (company_id, prospect_id, channel, type, content, interaction_date)
SELECT company_id, prospect_id, 'email', 'sent', 'during', '2025-01-01 00:00:00+00'::timestamptz + :n * interval '1 hour' FROM sales.prospects ORDER BY prospect_id OFFSET :p - 1 LIMIT 1;
UPDATE sales.prospects SET notes = 'touched' WHERE prospect_id = (SELECT prospect_id FROM sales.prospects ORDER BY prospect_id OFFSET :p - 1 LIMIT 1);
COMMIT;
SELECT count(*) FROM sales.interactions WHERE prospect_id = (SELECT prospect_id FROM sales.prospects ORDER BY prospect_id OFFSET :p - 1 LIMIT 1);
});
my ($out, $err) = ('', '');
my $bench = IPC::Run::start([ 'pgbench', '-n', '-c', '3', '-t', '150', '-f', "$dir/writer.sql", $node->connstr('postgres') ], '>', \$out, '2>', \$err);
my ($made, $busy, $steps) = (0, 0, 0);
while ($steps++ < 200)
{
	my ($rc, $result, $problem) = $node->psql('postgres', 'SELECT sales_internal.keep_partitions()');
	$made++ if ($result // '') eq '1';
	$busy++ if $problem =~ /is in use/;
	like($problem, qr/is in use/, 'a lock that is not to be had is told') if $rc != 0;
	last if $rc == 0 && $node->safe_psql('postgres', q{SELECT NOT EXISTS (SELECT FROM sales.interactions_default) AND NOT EXISTS (SELECT FROM sales.audit_logs_default)
		AND (SELECT count(*) >= 7 FROM pg_inherits WHERE inhparent = 'sales.interactions'::regclass)}) eq 't' && !$bench->pumpable;
	eval { $bench->pump_nb if $bench->pumpable };
}
$bench->finish;
like($out, qr/number of transactions actually processed: 450\/450/, 'every transaction of the writers went through');
unlike($err, qr/ERROR|deadlock/, 'none had an error');
$node->safe_psql('postgres', 'SELECT sales.maintain()');
is($node->safe_psql('postgres', q{SELECT count(*) FILTER (WHERE content = 'before'), count(*) FILTER (WHERE content = 'during'), count(DISTINCT interaction_id) FROM sales.interactions}),
	'20000|450|20450', 'no row is lost or doubled');
is($node->safe_psql('postgres', 'SELECT (SELECT count(*) FROM sales.interactions_default) + (SELECT count(*) FROM sales.audit_logs_default)'), '0', 'DEFAULT is empty');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sales.interactions i WHERE NOT EXISTS (SELECT FROM sales.prospects p WHERE p.company_id = i.company_id AND p.prospect_id = i.prospect_id)}),
	'0', 'every row has its prospect');
# what is attached is what a partition must be
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_class c JOIN pg_inherits i ON i.inhrelid = c.oid
	WHERE inhparent IN ('sales.interactions'::regclass, 'sales.audit_logs'::regclass, 'sales.analytics'::regclass) AND c.relkind = 'r'
	AND NOT (c.relrowsecurity AND c.relforcerowsecurity AND c.relacl IS NULL
	  AND (SELECT count(*) FROM pg_constraint k WHERE k.conrelid = c.oid AND k.contype = 'f') = (SELECT count(*) FROM pg_constraint k WHERE k.conrelid = i.inhparent AND k.contype = 'f' AND k.conparentid = 0)
	  AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conrelid = c.oid AND k.conname = 'range'))}), '0', 'each partition has the policies, foreign keys and nothing else');
note("partitions made: $made, steps: $steps, times a table was in use: $busy");
cmp_ok($made, '>=', 5, 'partitions were made');
$node->stop;
done_testing();
