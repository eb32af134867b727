# A warehouse by logical replication: what docs/backup.md says.  Two real servers, two companies: all tenants' tables are
# published whole, or one company's rows by a filter; what arrives equals the source row by row, through changes of every
# kind, partitions made and dropped, and both servers' restarts; no trigger of the subscriber's fires; what cannot
# be done says so.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my ($source, $target) = map { PostgreSQL::Test::Cluster->new($_) } 'source', 'warehouse';
for my $node ($source, $target)
{
	$node->init(allows_streaming => 'logical');
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'\nmax_worker_processes = 20\nlog_statement = none\nsales_assistant.workers = off");
	$node->start;
}
sub sql { my ($node, $sql, $db) = @_; return $node->safe_psql($db // 'postgres', $sql); }
sql($source, q{CREATE EXTENSION sales_assistant;
SELECT sales.create_company(n, lower(n) || '.test', 'business', 'fr', 'Europe/Paris', 'a@' || lower(n) || '.test', 'secret-secret') FROM unnest('{Alpha,Beta}'::text[]) n;
INSERT INTO sales.products (company_id, name) SELECT company_id, name || ' product' FROM sales.companies;
INSERT INTO sales.prospects (company_id, first_name, last_name, email) SELECT company_id, 'P' || g, 'Byron', 'p' || g || '@client.example' FROM sales.companies, generate_series(1, 50) g;
INSERT INTO sales.interactions (company_id, prospect_id, channel, type, interaction_date) SELECT company_id, prospect_id, 'email', 'sent', now() - interval '1 year' FROM sales.prospects;
INSERT INTO sales.interactions (company_id, prospect_id, channel, type) SELECT company_id, prospect_id, 'email', 'sent' FROM sales.prospects});

# --- every table has what changes are told by ---
is(sql($source, q{SELECT c.oid::regclass FROM pg_class c WHERE relnamespace = 'sales'::regnamespace AND relkind IN ('r', 'p')
AND (relreplident <> 'd' OR NOT EXISTS (SELECT FROM pg_index i WHERE i.indrelid = c.oid AND i.indisprimary))}), '', 'each table of sales, partitions too, has a primary key, which is its replica identity');

# --- the whole of it ---
# first rows get partitions of their own: what is published stays where it is
sql($source, 'SELECT count(*) FROM sales.maintain()');
is(sql($source, 'SELECT (SELECT count(*) FROM sales.interactions_default) + (SELECT count(*) FROM sales.audit_logs_default) + (SELECT count(*) FROM sales.analytics_default)'), '0', 'nothing is in DEFAULT');
my $tables = sql($source, q{SELECT string_agg(oid::regclass::text, ', ' ORDER BY oid::regclass::text) FROM pg_class WHERE relnamespace = 'sales'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition});
sql($source, "CREATE PUBLICATION warehouse FOR TABLE $tables WITH (publish_via_partition_root = true)");
# the subscriber: the same version of the extension, emptied of its seeds; a subscription of a superuser's is not subject to row security
sub prepare
{
	my ($db) = @_;
	sql($target, "CREATE DATABASE $db");
	sql($target, q{CREATE EXTENSION sales_assistant}, $db);
	return;
}
my $empty = q{SET session_replication_role = replica;
DO $$ DECLARE t regclass; BEGIN
FOR t IN SELECT oid FROM pg_class WHERE relnamespace = 'sales'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition LOOP EXECUTE format('DELETE FROM %s', t); END LOOP; END $$};
prepare('warehouse');
sql($target, $empty, 'warehouse');
my $from = $source->connstr . ' dbname=postgres';
sub copied
{
	my ($db) = @_;
	$target->poll_query_until($db, q{SELECT count(*) = 0 FROM pg_subscription_rel WHERE srsubstate NOT IN ('r', 's')}) or diag("$db: the first copy does not end");
	return;
}
sub subscribe
{
	my ($db, $publication, $name) = @_;
	sql($target, "CREATE SUBSCRIPTION $name CONNECTION '$from' PUBLICATION $publication", $db);
	$source->wait_for_catchup($name);
	copied($db);
	return;
}
subscribe('warehouse', 'warehouse', 'whole');
sub rows
{
	my ($node, $db, $filter) = @_;
	return join "\n", map { sql($node, "SELECT '$_', count(*), md5(string_agg(t::text, chr(10) ORDER BY t::text COLLATE \"C\")) FROM $_ t" . ($filter ? " WHERE $filter" : ''), $db) } split /, /, $tables;
}
sub same
{
	my ($name) = @_;
	$source->wait_for_catchup('whole');
	is(rows($target, 'warehouse'), rows($source, 'postgres'), "$name: every row of every table is the same");
	return;
}
same('the first copy');
cmp_ok(sql($target, 'SELECT count(*) FROM sales.audit_logs', 'warehouse'), '>', 100, 'the audit log is the source\'s');
sql($source, q{UPDATE sales.prospects SET notes = 'changed' WHERE first_name < 'P3'; DELETE FROM sales.products WHERE name = 'Beta product';
INSERT INTO sales.prospects (company_id, first_name) SELECT company_id, 'Later' FROM sales.companies;
UPDATE sales.interactions SET interaction_date = interaction_date + interval '400 days' WHERE prospect_id IN (SELECT prospect_id FROM sales.prospects WHERE first_name = 'P4');
SELECT sales.set_tenant(u.company_id, u.user_id, false), sales.gdpr_erase((SELECT p.prospect_id FROM sales.prospects p WHERE p.company_id = u.company_id AND p.first_name = 'P5'), 'x') FROM sales.users u WHERE u.email = 'a@alpha.test'});
same('changes of every kind, an erasure too');
# rows of periods that have no partition: moving them would take them from the warehouse
my $stray = q{SELECT count(*) FROM sales.interactions_default};
sql($source, q{INSERT INTO sales.interactions (company_id, prospect_id, channel, type, interaction_date) SELECT company_id, prospect_id, 'email', 'sent', '2019-05-05' FROM sales.prospects WHERE first_name < 'P2'});
my $waiting = sql($source, $stray);
cmp_ok($waiting, '>', 20, 'rows come that belong to no partition');
sql($source, 'SELECT count(*) FROM sales.maintain()');
is(sql($source, $stray), $waiting, 'they stay in DEFAULT, as the table is published');
same('maintain()');
my ($rc, $out, $err) = $source->psql('postgres', q{SELECT sales_internal.make_partition('interactions', '2019-05-05')});
like($err, qr/sales\.interactions is published: its rows stay in DEFAULT/, 'nor does anything else move them');
like(sql($source, q{SELECT finding || hint FROM sales.doctor() WHERE finding ~ 'published'}), qr/rows of sales\.interactions stay in its DEFAULT.*ALTER PUBLICATION/, 'doctor() says so, and how to move them');
sql($source, 'ALTER PUBLICATION warehouse DROP TABLE sales.interactions');
sql($target, 'ALTER SUBSCRIPTION whole REFRESH PUBLICATION', 'warehouse');
sql($source, 'SELECT count(*) FROM sales.maintain()');
is(sql($source, $stray), '0', 'which does move them');
sql($source, 'ALTER PUBLICATION warehouse ADD TABLE sales.interactions');
sql($target, 'SET session_replication_role = replica; DELETE FROM sales.interactions; ALTER SUBSCRIPTION whole REFRESH PUBLICATION', 'warehouse');
copied('warehouse');
same('and it is copied again');
sql($source, 'INSERT INTO sales.interactions (company_id, prospect_id, channel, type, interaction_date) SELECT company_id, prospect_id, $$email$$, $$sent$$, now() + interval $$4 months$$ FROM sales.prospects LIMIT 20');
same('rows of a partition that was made ahead');
isnt(sql($source, 'SELECT count(*) FROM pg_inherits'), sql($target, 'SELECT count(*) FROM pg_inherits', 'warehouse'), 'each side has partitions of its own');
sql($target, 'SELECT sales_internal.keep_partitions() FROM generate_series(1, 30)', 'warehouse');
sql($source, q{INSERT INTO sales.interactions (company_id, prospect_id, channel, type) SELECT company_id, prospect_id, 'email', 'sent' FROM sales.prospects LIMIT 20});
same('partitions that the warehouse makes');
is(sql($target, 'SELECT count(*) FROM sales_internal.metric_marks', 'warehouse'), '0', 'no trigger of the warehouse has fired: nothing is marked there');
$target->restart;
$source->restart('immediate');
sql($source, q{UPDATE sales.products SET description = 'after'});
same('after a restart of the one and a crash of the other');

is(sql($target, q{SELECT count(*) FROM pg_class WHERE relnamespace = 'sales'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition AND NOT (relrowsecurity AND relforcerowsecurity)
	AND oid IN (SELECT a.attrelid FROM pg_attribute a WHERE a.attname = 'company_id')}, 'warehouse'), '0', 'row security is forced there all the while');
is(sql($target, q{CREATE ROLE reader LOGIN IN ROLE sales_app; SELECT sales.bind_role('reader', company_id) FROM sales.companies WHERE name = 'Beta'}, 'warehouse')
	. $target->safe_psql('warehouse', q{SELECT string_agg(DISTINCT name, ',') FROM sales.companies}, extra_params => [ '-U', 'reader' ]), 'Beta', 'who reads there reads his company');

# --- one company by a row filter ---
my $alpha = sql($source, q{SELECT company_id FROM sales.companies WHERE name = 'Alpha'});
my $publish = "CREATE PUBLICATION alpha FOR TABLE sales.companies WHERE (company_id = '$alpha'), sales.prospects WHERE (company_id = '$alpha'), sales.interactions WHERE (company_id = '$alpha') WITH (publish_via_partition_root = true";
sql($source, "$publish)");
($rc, $out, $err) = $source->psql('postgres', q{UPDATE sales.prospects SET notes = 'filtered'});
like($err, qr/cannot update table "prospects".*Column used in the publication WHERE expression is not part of the replica identity/s, 'whose publication filters by company_id cannot update any more');
sql($source, 'DROP PUBLICATION alpha');
sql($source, "$publish, publish = 'insert')");
prepare('alpha');
sql($target, $empty, 'alpha');
subscribe('alpha', 'alpha', 'of_alpha');
sql($source, q{INSERT INTO sales.prospects (company_id, first_name) SELECT company_id, 'Filtered' FROM sales.companies; UPDATE sales.prospects SET notes = 'again' WHERE first_name = 'P9'});
$source->wait_for_catchup('of_alpha');
is(sql($target, q{SELECT (SELECT count(*) FROM sales.companies), count(*), count(DISTINCT company_id), count(*) FILTER (WHERE first_name = 'Filtered') FROM sales.prospects}, 'alpha'), '1|52|1|1',
	'with inserts alone one company arrives, and no row of the other');
same('and the whole goes on beside it');

$source->stop;
$target->stop;
done_testing();
