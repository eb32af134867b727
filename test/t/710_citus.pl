# distribute() on a real cluster, a coordinator and two workers, wherever Citus is installed: what two tenants
# do there gives the same answers and the same rows as on a plain server (test/citus_tenant.inc); who comes to
# a worker himself gets nothing; the keys that nodes share; a node that is away; the master key changed.
use strict;
use warnings;
use File::Basename;
use MIME::Base64;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $share = `pg_config --sharedir`;
chomp $share;
plan skip_all => 'Citus is not installed here: distribute() is not tried on a cluster' unless -e "$share/extension/citus.control";

my $common = <<'CONF';
listen_addresses = '127.0.0.1'
max_worker_processes = 24
max_connections = 200
timezone = 'UTC'
CONF
my $plain = PostgreSQL::Test::Cluster->new('plain');
$plain->init;
$plain->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'\n$common");
$plain->start;
$plain->safe_psql('postgres', 'CREATE EXTENSION sales_assistant');

sub new_node
{
	my ($n) = @_;
	my $node = PostgreSQL::Test::Cluster->new("node$n");
	$node->init(has_archiving => 1, allows_streaming => 1);
	$node->append_conf('postgresql.conf', "shared_preload_libraries = 'citus,sales_assistant'\n$common" . <<'CONF');
max_prepared_transactions = 200
wal_level = logical
log_statement = all
CONF
	$node->start;
	$node->safe_psql('postgres', 'CREATE EXTENSION citus');
	return $node;
}
my @node = map { new_node($_) } 0 .. 2;
my $c = $node[0];
sub sql { return $c->safe_psql('postgres', $_[0]); }
sub error_of
{
	my ($node, $sql, @more) = @_;
	my ($code, $out, $err) = $node->psql('postgres', $sql, extra_params => \@more);
	return $code == 0 ? "no error, but: $out" : $err;
}

# --- distribute() ---
sql(sprintf q{SELECT citus_set_coordinator_host('127.0.0.1', %d)}, $c->port);
sql('CREATE EXTENSION sales_assistant');
like(error_of($c, 'SELECT sales.distribute()'), qr/the cluster has no worker.*HINT.*citus_add_node/s, 'what is missing is said');
sql(sprintf q{SELECT citus_add_node('127.0.0.1', %d)}, $_->port) for @node[1, 2];
like(error_of($node[1], 'SELECT sales.distribute()'), qr/this is a worker.*on the coordinator/s, 'and on a worker, where to go');
is(sql(q{SELECT count(*) FROM sales.distribute(plan_only => true) WHERE statement LIKE '%create_distributed_table%' AND done}), '0', 'a plan does nothing');
cmp_ok(sql('SELECT count(*) FROM sales.distribute(shard_count => 4)'), '>', 100, 'distributed');
is(sql('SELECT count(*) FROM sales.distribute(plan_only => true) WHERE NOT done'), '0', 'all is done');
sql('SELECT sales.distribute()');
is(sql(q{SELECT count(DISTINCT colocation_id) FROM citus_tables WHERE citus_table_type = 'distributed'}), '1', 'all tables are co-located');
is(sql(q{SELECT string_agg(c.oid::regclass::text, ' ') FROM pg_class c LEFT JOIN pg_dist_partition d ON d.logicalrelid = c.oid
	WHERE sales_internal.placement(c.oid) = 'tenant' AND NOT c.relispartition AND d.partmethod IS DISTINCT FROM 'h'}), '', 'each table of a tenant is spread');
is(sql(q{SELECT string_agg(f.conrelid::regclass || '.' || f.conname, ' ') FROM pg_constraint f WHERE f.contype = 'f' AND f.confdeltype = 'n'}), '', 'no key sets null');

# --- the same work on both ---
for my $node ($plain, $c)
{
	$node->safe_psql('postgres', q{CREATE ROLE app LOGIN IN ROLE sales_app; CREATE ROLE bound LOGIN IN ROLE sales_app;
SELECT sales.create_company(n, n || '.test', 'business', 'en', 'Europe/Paris', 'boss@' || n || '.test', 'a long password') FROM unnest('{alpha,beta,gamma}'::text[]) n;
-- what is compared is reckoned when it is asked for, and by nobody before
UPDATE sales_internal.periodic_tasks SET next_run = 'infinity' WHERE name = 'metrics'});
}
like(error_of($c, q{SELECT sales.create_company('again', 'alpha.test')}), qr/is there already/, 'domains stay unique');
# two companies on two nodes, so that the test is of two nodes
my $extra = 0;
sub node_of { return sql(qq{SELECT n.nodeport FROM sales.companies c JOIN pg_dist_placement p ON p.shardid = get_shard_id_for_distribution_column('sales.companies', c.company_id)
	JOIN pg_dist_node n USING (groupid) WHERE c.domain = '$_[0].test'}); }
while (node_of('alpha') eq node_of('beta') && $extra++ < 40)
{
	sql(q{SELECT sales.delete_company(company_id) FROM sales.companies WHERE domain = 'beta.test'});
	sql(q{SELECT sales.create_company('beta', 'beta.test', 'business', 'en', 'Europe/Paris', 'boss@beta.test', 'a long password')});
}
isnt(node_of('alpha'), node_of('beta'), 'Alpha and Beta lie on two nodes');

sub settle
{
	my ($node) = @_;
	$node->poll_query_until('postgres', q{SELECT NOT EXISTS (SELECT FROM sales_internal.shard_requests) AND NOT EXISTS (SELECT FROM sales_internal.jobs
		WHERE state = 'running' OR (state = 'queued' AND (run_at <= now() OR attempts > 0)))}) or die 'work does not end';
	return;
}
sub masked
{
	my ($text) = @_;
	$text =~ s/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/ID/g;
	$text =~ s/^psql:\S+: //mg;
	$text =~ s/(_[a-z]+)_1\d{5}\b/$1/g;    # a shard's name
	$text =~ s/"([a-z_]+)_1\d{5}"/"$1"/g;
	$text =~ s/row-level security policy "\w+"/row-level security policy/g;
	$text =~ s/\d+ rows are not sealed yet/some rows are not sealed yet/g;
	return $text;
}
my @parts = split /^-- pause\n/m, slurp_file(dirname(__FILE__) . '/../citus_tenant.inc');
my ($start) = $parts[0] =~ /\A(.*?^SELECT sales.use_session[^\n]*\n)/ms or die 'no start';
my $log_in = 0;
my %said;
for my $part (@parts)
{
	my $text = $log_in++ ? $start . $part : $part;
	for my $company ('alpha', 'beta')
	{
		for my $node ($plain, $c)
		{
			if ($text =~ /clearbit/)    # what a service would have found
			{
				$node->safe_psql('postgres', qq{INSERT INTO sales.enrichments (company_id, prospect_id, enrichment_type, source_api, original_value, enriched_value, confidence_score, status)
SELECT p.company_id, p.prospect_id, 'company_info', 'clearbit', '{}', '{"phone": "+39 02 1", "company_name": "Officine", "website": "https://officine.example"}', 0.9, 'completed'
FROM sales.companies c JOIN sales.prospects p USING (company_id) WHERE c.domain = '$company.test' AND p.first_name = 'P8'});
			}
			my ($out, $err) = ('', '');
			IPC::Run::run([ 'psql', '-XAt', '-a', '-v', "company=$company", '-d', $node->connstr('postgres') . ' user=app' ], '<', \$text, '>', \$out, '2>&1');
			$said{ $node->name }{$company} .= masked($out);
		}
	}
	settle($_) for $plain, $c;
}
sub same
{
	my ($one, $other, $name) = @_;
	my $dir = PostgreSQL::Test::Utils::tempdir();
	append_to_file("$dir/plain", $one);
	append_to_file("$dir/cluster", $other);
	my $diff = `diff -U2 "$dir/plain" "$dir/cluster" | head -60`;
	is($diff, '', $name);
	return;
}
same($said{plain}{$_}, $said{node0}{$_}, "all answers to $_ are those of a plain server") for 'alpha', 'beta';
cmp_ok(scalar(() = $said{plain}{$_} =~ /ERROR/g), '==', 6, "which refused $_ what should be refused, and nothing else") || diag(join "\n", grep { /ERROR/ } split /\n/, $said{plain}{$_}) for 'alpha', 'beta';

# Every row of every table, each key in it replaced by the name of the row that has it.
sub rows_of
{
	my ($node) = @_;
	my %key_of = map { split /\|/ } split /\n/, $node->safe_psql('postgres', q{
		SELECT c.oid::regclass, coalesce((SELECT a.attname FROM pg_constraint k JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = k.conkey[cardinality(k.conkey)]
			WHERE k.conrelid = c.oid AND k.contype = 'p' AND (a.attname <> 'company_id' OR c.oid = 'sales.companies'::regclass)), '-')
		FROM pg_class c JOIN pg_attribute x ON x.attrelid = c.oid AND x.attname = 'company_id'
		WHERE c.relnamespace IN ('sales'::regnamespace, 'sales_internal'::regnamespace) AND c.relkind IN ('r', 'p') AND NOT c.relispartition
		  -- what depends on when things were done, and what only a cluster has
		  AND c.relname NOT IN ('audit_seals', 'company_domains', 'shard_requests', 'metric_state', 'scoring_state', 'sessions', 'metric_marks', 'bound_roles')});
	my $uuid = qr/[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}/;
	my (@rows, %label);
	for my $table (sort keys %key_of)
	{
		for my $row (split /\n/, $node->safe_psql('postgres', "SELECT to_jsonb(t) FROM $table t"))
		{
			$row =~ s/20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00/TIME/g;
			$row =~ s/\\\\x[0-9a-f]{8,}/BYTES/g;
			$row =~ s/sa2:[^"]+/SEALED/g;
			$row =~ s/\$y\$[^"]+/HASH/g;
			# how often the worker has scored meanwhile is chance, and so is the last score
			next if $table eq 'sales.score_history' || ($table eq 'sales.audit_logs' && $row =~ /"new_values": \{"ai_score": (\d+|null)(, "updated_at": "TIME")?\}/);
			# of who acts without a context a node sees Citus; a job that a trigger on a node asked for has no creator; seconds and turns are chance
			$row =~ s/"user_agent": ("[^"]*"|null)/"user_agent": "-"/ if $row =~ /"user_id": null/;
			$row =~ s/"created_by": ("[^"]*"|null)/"created_by": "-"/ if $row =~ /"kind": "analyze_sentiment"/;
			$row =~ s/"(claim|cycle_seconds)": [\d.]+/"$1": 0/g;
			$row =~ s/"ai_score": \d+/"ai_score": 0/g;    # the days count in it; the answers have compared it
			push @rows, [ $table, $row ];
			my ($key) = $row =~ /"$key_of{$table}": "($uuid)"/ or next;
			$label{$key} = join ' ', $table, $row =~ /"(?:name|email|first_name|title)": "([^"]*)"/g;
		}
	}
	return join "\n", sort map { my ($table, $row) = @$_; $row =~ s/($uuid)/$label{$1} \/\/ 'ID'/ge; "$table $row" } @rows;
}
for my $node ($plain, $c)
{
	is($node->safe_psql('postgres', q{SELECT count(*) FROM sales.maintain() WHERE result LIKE 'failed%'}), '0', 'maintain() on ' . $node->name);
	settle($node);
	$node->safe_psql('postgres', q{SELECT sales.delete_company(company_id) FROM sales.companies WHERE domain = 'gamma.test'});
}
my ($rows_plain, $rows_cluster) = map { rows_of($_) } $plain, $c;
cmp_ok(scalar(split /\n/, $rows_plain), '>', 500, 'there is something to compare');
same($rows_plain, $rows_cluster, 'every row of every table is that of a plain server');
is(sql(q{SELECT count(*) FROM sales.doctor() WHERE severity <> 'note'}), $plain->safe_psql('postgres', q{SELECT count(*) FROM sales.doctor() WHERE severity <> 'note'}), 'doctor() finds what it finds on a plain server');
like(error_of($c, 'SELECT sales.test_isolation()'), qr/does not run on a cluster.*HINT/s, 'test_isolation() says that it is for a plain server');

sub as
{
	my ($company, $statements) = @_;
	return $c->safe_psql('postgres', "SET client_min_messages = warning; SELECT sales.use_session(sales.login('$company.test', 'boss\@$company.test', 'a long password'), false) \\g /dev/null\n$statements",
		extra_params => [ '-U', 'app' ]);
}

# --- a learned model (how it samples follows the keys, so that no other server's is the same) ---
is(as('alpha', q{SELECT rows FROM sales.train_score_model(); SELECT sales.refresh_scores() = (SELECT count(ai_score) FROM sales.prospects);
SELECT round(sum(e.points)) = max(p.ai_score) FROM sales.prospects p, sales.explain_score(p.prospect_id) e WHERE p.first_name = 'P9'}), "3\nt\nt", 'a model is learned, and scores');

# --- each table of a tenant attacked by the other ---
my %id = map { split /\|/ } split /\n/, sql(q{SELECT split_part(domain, '.', 1), company_id FROM sales.companies});
my @tables = split /\n/, sql(q{SELECT c.oid::regclass FROM pg_class c WHERE c.relnamespace = 'sales'::regnamespace AND sales_internal.placement(c.oid) = 'tenant' AND NOT c.relispartition ORDER BY 1});
sub state_of_beta { return join "\n", map { "$_ " . sql("SELECT count(*), md5(string_agg(t::text, '' ORDER BY t::text)) FROM $_ t WHERE company_id = '$id{beta}'") } @tables; }
my $before = state_of_beta();
my $attacks = '';
for my $table (@tables)
{
	$attacks .= "\\echo [$table]\n" . join '', map { "$_;\n" } "SELECT count(*) FROM $table WHERE company_id = '$id{beta}'", "SELECT count(*) FROM $table WHERE company_id <> '$id{alpha}'",
	  "UPDATE $table SET company_id = company_id WHERE company_id = '$id{beta}' RETURNING company_id", "DELETE FROM $table WHERE company_id = '$id{beta}' RETURNING company_id", "TRUNCATE $table",
	  "UPDATE $table SET company_id = '$id{beta}'", "INSERT INTO $table SELECT * FROM $table WHERE company_id = '$id{beta}' RETURNING company_id",
	  "INSERT INTO $table (company_id) VALUES ('$id{beta}') RETURNING company_id", "SELECT company_id FROM $table WHERE company_id = '$id{beta}' FOR UPDATE",
	  "WITH a AS (SELECT company_id FROM $table) SELECT company_id FROM a WHERE company_id = '$id{beta}'", "SELECT company_id FROM (SELECT company_id FROM $table OFFSET 0) x WHERE company_id <> '$id{alpha}'",
	  "COPY (SELECT company_id FROM $table) TO STDOUT";
}
my (undef, $shown, $refusals) = $c->psql('postgres', "SELECT sales.use_session(sales.login('alpha.test', 'boss\@alpha.test', 'a long password'), false) \\g /dev/null\n$attacks",
	extra_params => [ '-U', 'app' ], on_error_stop => 0);
unlike($shown, qr/$id{beta}/, 'no attack of Alpha on a table shows anything of Beta');
is(join(' ', grep { $shown !~ /^\[\Q$_\E\]\n0\n0$/m } @tables), '', 'each was tried, and counted nothing');
cmp_ok(scalar(() = $refusals =~ /ERROR:/g), '>', 3 * @tables, 'what should be refused was');
is(state_of_beta(), $before, 'all tables of Beta are as they were');

# --- who comes to a worker himself ---
my $context = (split /\n/, as('alpha', q{SHOW sales_assistant.context}))[-1];
like(error_of($c, q{BEGIN; SELECT count(*) FROM sales.products; SHOW sales_assistant.carried}, '-U', 'app'), qr/must be superuser/, 'what travels is not shown to applications');
# one that did travel, as a reader of a worker's log would have it
my ($carried) = grep { decode_base64((split /\./)[1] =~ tr{-_}{+/}r) =~ /"r":"app"/ } reverse slurp_file($node[1]->logfile) =~ /'(n1\.[\w-]+\.[\w-]+)'/g;
ok(defined $carried, 'a context travelled to a worker');
for my $worker (@node[1, 2])
{
	my @app = ('-U', 'app');
	my $name = $worker->name;
	is($worker->safe_psql('postgres', 'SELECT count(*) FROM sales.prospects', extra_params => \@app), '0', "$name shows nothing without a context");
	my $shards = $worker->safe_psql('postgres', q{SET citus.override_table_visibility = off; SELECT string_agg(format('SELECT * FROM %s', c.oid::regclass), ' UNION ALL ') FROM pg_class c WHERE c.relname ~ '^products_1'});
	is(($worker->psql('postgres', "SET citus.override_table_visibility = off; $shards", extra_params => \@app))[1], '', 'nor from a shard itself');
	like(error_of($worker, "SET sales_assistant.context = '$context'", @app), qr/invalid tenant context/, "$name takes no context of the coordinator");
	like(error_of($worker, "SET sales_assistant.carried = '$_'", @app), qr/invalid tenant context/, "$name takes no forged one: " . substr($_, 0, 10))
	  for 'n1.e30.AAAA', ($context =~ s/^v1/n1/r), ($context =~ s/^v1\.[^.]*/n1.eyJjIjoiMSJ9/r);
	my $token = $worker->safe_psql('postgres', "SELECT sales.login('alpha.test', 'boss\@alpha.test', 'a long password')", extra_params => \@app);
	like(error_of($c, "SELECT sales.use_session('$token')", '-U', 'app'), qr/ERROR/, "a login on $name is worth nothing on the coordinator");
	like(error_of($worker, "SELECT sales_internal.take_key('00')", @app), qr/permission denied/, "$name takes no key from an application");
	like(error_of($worker, "SELECT sales_internal.take_key('00,zz')"), qr/ERROR|no error, but: f/, 'nor a wrong one from a superuser');
}
my $broken = $carried =~ s/^(n1\.\w{20})(.)/$1 . ($2 eq 'A' ? 'B' : 'A')/er;
like(error_of($node[1], "SET sales_assistant.carried = '$broken'", '-U', 'app'), qr/invalid tenant context/, 'changed it is worth nothing');
like(error_of($node[1], "SET sales_assistant.carried = '$carried'; SELECT count(*) FROM sales.prospects", '-U', 'bound'), qr/invalid tenant context|no error, but: 0$/, 'for another role neither');
like(error_of($c, "SET sales_assistant.carried = '$carried'", '-U', 'app'), qr/invalid tenant context/, 'nor on the coordinator');
like(error_of($c, "SET sales_assistant.context = '$carried'", '-U', 'app'), qr/invalid tenant context/, 'nor as a session\'s own');
like(error_of($c, "SELECT sales.use_session(sales.login('alpha.test', 'boss\@alpha.test', 'a long password'), false) \\g /dev/null
SET application_name = 'citus_internal gpid=10000000001'; SELECT count(*) FROM sales.prospects WHERE company_id <> '$id{alpha}'", '-U', 'app'),
	qr/no error, but: 0$|cannot execute a distributed query/, 'who calls himself Citus sees no more');

# --- keys ---
my $master = slurp_file($c->data_dir . '/sales_assistant.key');
my ($file) = glob($c->data_dir . '/sales_assistant.key.cluster.*');
ok(defined $file, 'the coordinator has the file of shared keys');
my @shared = split /\n/, slurp_file($file);
for my $node (@node)
{
	my ($own) = glob($node->data_dir . '/sales_assistant.key.cluster.*');
	is(slurp_file($own), slurp_file($file), $node->name . ' has the same');
	is(sprintf('%04o', (stat $own)[2] & 07777), '0600', 'which none but the server reads');
	my $log = slurp_file($node->logfile);
	is(scalar(grep { index($log, $_) >= 0 } map { s/\s//gr } @shared, $master), 0, 'no key is in the log of ' . $node->name . ', where all statements are');
	next if $node == $c;
	my $its = -e $node->data_dir . '/sales_assistant.key' ? slurp_file($node->data_dir . '/sales_assistant.key') : '';
	isnt($its, $master, 'the master key is not on ' . $node->name);
}

# --- a node more, to which Alpha moves while it writes ---
my $third = new_node(3);
sql(sprintf q{SELECT citus_add_node('127.0.0.1', %d)}, $third->port);
isnt($third->safe_psql('postgres', 'SELECT sales_internal.key_fingerprint()'), sql('SELECT sales_internal.key_fingerprint()'), 'a node that is added has other keys');
sql('SELECT sales.distribute()');
is($third->safe_psql('postgres', 'SELECT sales_internal.key_fingerprint()'), sql('SELECT sales_internal.key_fingerprint()'), 'and is given the shared ones by distribute()');
push @node, $third;
sql(q{SELECT replicate_reference_tables('block_writes')});
$context = (split /\n/, as('alpha', q{SHOW sales_assistant.context}))[-1];    # the node refuses those from before its start
my $on_record = as('alpha', q{SELECT count(*) FROM sales.audit_logs WHERE table_name = 'products'});
my $script = "SET sales_assistant.context = '$context';\n" . join '', map { "INSERT INTO sales.products (name) VALUES ('Moving $_');\nUPDATE sales.products SET name = 'Moved $_' WHERE name = 'Moving $_';\n" } 1 .. 300;
my ($written, $trouble) = ('', '');
my $writer = IPC::Run::start([ 'psql', '-XAt', '-v', 'ON_ERROR_STOP=1', '-d', $c->connstr('postgres') . ' user=app' ], '<', \$script, '>', \$written, '2>', \$trouble);
IPC::Run::pump $writer until $written =~ /UPDATE/ || $trouble;
sql(sprintf q{SELECT citus_move_shard_placement(get_shard_id_for_distribution_column('sales.prospects', '%s'), '127.0.0.1', %d, '127.0.0.1', %d, 'block_writes')}, $id{alpha}, node_of('alpha'), $third->port);
is(node_of('alpha'), $third->port, 'Alpha lies on it');
IPC::Run::finish $writer;
is($trouble, '', 'who wrote meanwhile has waited');
is(as('alpha', q{SELECT count(*) FROM sales.products WHERE name LIKE 'Moved %'}), '300', 'all that was written is there');
is(as('alpha', q{SELECT count(*) FROM sales.audit_logs WHERE table_name = 'products'}) - $on_record, '600', 'and on record');
is(as('alpha', q{SELECT bool_and(ok) FROM sales.verify_audit()}), 't', 'where it verifies');
is(as('beta', q{SELECT count(*) FROM sales.products WHERE name LIKE 'Mov%'}), '0', 'and which Beta sees nothing of');

# --- a bound role, a node that is away, another master key ---
sql(q{SELECT sales.bind_role('bound', company_id) FROM sales.companies WHERE domain = 'beta.test'});
is($c->safe_psql('postgres', 'SELECT count(DISTINCT company_id), bool_and(company_id = sales.current_company_id()) FROM sales.prospects', extra_params => [ '-U', 'bound' ]), '1|t', 'a bound role is in its tenant');
my ($away) = grep { $_->port == node_of('beta') } @node;
$away->stop('fast');
like(error_of($c, "SET sales_assistant.context = '$context'; INSERT INTO sales.products (name) VALUES ('While away'); SELECT name FROM sales.products WHERE name = 'While away'", '-U', 'app'),
	qr/no error, but: While away/, 'a session of Alpha goes on while the node of Beta is away');
like(error_of($c, q{SELECT sales.login('beta.test', 'boss@beta.test', 'a long password')}, '-U', 'app'), qr/connection to the remote node/, 'a login, which looks on all nodes, is told which');
$away->start;
is(as('beta', q{SELECT count(DISTINCT company_id) FROM sales.prospects}), '1', 'and is back with it');

my $new = $c->basedir . '/new.key';
append_to_file($new, ('0123456789abcdef' x 4) . "\n");
chmod 0600, $new;
sql("SELECT sales.rotate_master_key('$new')");
$c->poll_query_until('postgres', q{SELECT count(*) = 1 FROM unnest(sales_internal.key_names())}) or die 'the master key does not change';
is($node[1]->safe_psql('postgres', 'SELECT sales_internal.key_fingerprint()'), sql('SELECT sales_internal.key_fingerprint()'), 'nodes have the new audit key');
is(as('alpha', q{INSERT INTO sales.products (name) VALUES ('After'); SELECT bool_and(ok) FROM sales.verify_audit()}), 't', 'rows of before and after verify');

# --- a company leaves for a plain server, and comes back ---
sub move
{
	my ($from, $to, $file) = (@_, $c->basedir . '/company.rows');
	$from->safe_psql('postgres', "\\copy (SELECT * FROM sales.export_company('$id{alpha}')) TO '$file'");
	$from->safe_psql('postgres', "SELECT sales.delete_company('$id{alpha}')");
	$to->safe_psql('postgres', qq{CREATE TEMP TABLE moved (table_name text, "row" jsonb);\n\\copy moved FROM '$file'\nSELECT sales.import_company('moved')});
	return join "\n", sort split /\n/, slurp_file($file);
}
$plain->safe_psql('postgres', 'SELECT sales.delete_company(company_id) FROM sales.companies');
my $here = move($c, $plain);
is(move($plain, $c), $here, 'Alpha leaves for a plain server and comes back, with every row as it was');
is(as('alpha', 'SELECT bool_and(ok) FROM sales.verify_audit(); SELECT count(*) FROM sales.check_metrics()'), "t\n0", 'its record verifies, and its metrics equal a recomputation');
is(as('alpha', q{INSERT INTO sales.products (name) VALUES ('Audited'); SELECT count(*) FROM sales.audit_logs WHERE new_values ->> 'name' = 'Audited'}), '1', 'triggers are awake again');

# --- the cluster restored from backups of its nodes, at a point that all of them have ---
$_->backup('base') for @node;
as('beta', q{INSERT INTO sales.products (name) VALUES ('Before the point')});
my $beta_then = state_of_beta();
sql(q{SELECT citus_create_restore_point('safe')});
as('beta', q{INSERT INTO sales.products (name) VALUES ('After the point'); DELETE FROM sales.products WHERE name = 'Before the point'});
my @lost = @node;
@node = ();
for my $old (@lost)
{
	my $segment = $old->safe_psql('postgres', 'SELECT pg_walfile_name(pg_switch_wal())');
	$old->poll_query_until('postgres', "SELECT last_archived_wal >= '$segment' FROM pg_stat_archiver") or die 'WAL is not archived';
	$old->stop('immediate');
	my $new = PostgreSQL::Test::Cluster->new('restored_' . $old->name, port => $old->port);
	$new->init_from_backup($old, 'base', has_restoring => 1, standby => 0);
	chmod 0600, glob($new->data_dir . '/*.key*') or die;    # the copy of the backup has lost it
	$new->append_conf('postgresql.conf', "recovery_target_name = 'safe'\nrecovery_target_action = promote\narchive_mode = off");
	push @node, $new;
}
$_->start for reverse @node;
$c = $node[0];
$_->poll_query_until('postgres', 'SELECT NOT pg_is_in_recovery()') or die 'a node is not restored' for @node;
is(state_of_beta(), $beta_then, 'a restored cluster has every row of that point, and none of later');
is(as('beta', q{INSERT INTO sales.products (name) VALUES ('Goes on'); SELECT bool_and(ok) FROM sales.verify_audit()}), 't', 'and goes on');
sql(q{SELECT sales.delete_company(company_id) FROM sales.companies WHERE domain = 'beta.test'});
my $left = join ' ', grep { sql("SELECT count(*) FROM $_ WHERE company_id = '$id{beta}'") ne '0' }
  split /\n/, sql(q{SELECT c.oid::regclass FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid AND a.attname = 'company_id'
	WHERE c.relnamespace IN ('sales'::regnamespace, 'sales_internal'::regnamespace) AND c.relkind IN ('r', 'p') AND NOT c.relispartition});
is($left, '', 'a company goes without a trace');

$_->stop('fast') for reverse(@node), $plain;
done_testing();
