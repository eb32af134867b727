# The server is killed at random moments while six sessions of two tenants write,
# by every kind of statement: multi-row INSERT, UPDATE and DELETE, MERGE, ON
# CONFLICT, COPY, cascades, soft deletes, moves between partitions.
# Whatever was committed is in the audit log and nothing else is: a ledger that
# each transaction keeps of what it did, the commits that clients were told of,
# and the tables themselves, made again from the log alone, all say the same.
# The worker is at work too, and changes rows (the sentiment of answers): its
# rows have no user agent.
use strict;
use warnings;

use IPC::Run;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = $ENV{AUDIT_CRASH_ROUNDS} || 6;
my $seed = $ENV{AUDIT_CRASH_SEED} || time;
srand($seed);
note("AUDIT_CRASH_SEED=$seed AUDIT_CRASH_ROUNDS=$rounds");

my $node = PostgreSQL::Test::Cluster->new('audit_crash');
$node->init;
$node->append_conf('postgresql.conf', <<'CONF');
shared_preload_libraries = 'sales_assistant'
max_worker_processes = 16
max_prepared_transactions = 20
restart_after_crash = on
fsync = off
log_statement = none
CONF
$node->start;
$node->safe_psql('postgres', <<'SQL');
CREATE EXTENSION sales_assistant;
CREATE ROLE tester LOGIN;
GRANT sales_gateway TO tester;
SELECT sales.create_company(name, lower(name) || '.test', 'business', 'fr', 'Europe/Paris', 'a@' || lower(name) || '.test', 'secret-secret')
FROM unnest('{Alpha,Beta}'::text[]) name;
INSERT INTO sales.prospects (company_id, first_name) SELECT company_id, 'Someone' FROM sales.companies;
INSERT INTO sales.products (company_id, name) SELECT company_id, 'hot' FROM sales.companies;

-- What transaction n of a client did, written by that transaction itself.
CREATE TABLE ledger (company uuid, client int, n int, created int, updated int, deleted int, PRIMARY KEY (client, n));
GRANT INSERT ON ledger TO tester;
CREATE FUNCTION tenant(client int) RETURNS uuid LANGUAGE sql SECURITY DEFINER AS
    $$ SELECT company_id FROM sales.companies ORDER BY domain OFFSET client % 2 LIMIT 1 $$;
-- Row security has no COPY FROM: as the owner.
CREATE FUNCTION copied(client int, n int) RETURNS int LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    IF n % 7 <> 3 THEN
        RETURN 0;
    END IF;
    EXECUTE format('COPY sales.addresses (company_id, city) FROM PROGRAM %L WITH (DELIMITER '','')', format('seq -f "%s,copied %%g" 1 %s', tenant(client), 1 + n % 5));
    RETURN 1 + n % 5;
END
$$;
CREATE FUNCTION work(client int, n int) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    created int := copied(client, n);
    updated int := 0;
    deleted int := 0;
    k int;
    made uuid;
BEGIN
    -- all of a tenant wait for one another here
    UPDATE sales.products SET description = client || ' ' || n WHERE name = 'hot';
    updated := updated + 1;
    INSERT INTO sales.addresses (city, street_address)
    SELECT client || ' ' || n || ' ' || g, repeat('x', g) FROM generate_series(1, 1 + (random() * 4)::int) g;
    GET DIAGNOSTICS k = ROW_COUNT;
    created := created + k;
    INSERT INTO sales.interactions (prospect_id, channel, type, interaction_date, response_content)
    SELECT prospect_id, 'email', 'sent', now() - random() * interval '400 days', 'é' || repeat('long ', (random() * 3000)::int) FROM sales.prospects;
    GET DIAGNOSTICS k = ROW_COUNT;
    created := created + k;
    -- some move to another partition
    UPDATE sales.interactions SET interaction_date = interaction_date + (random() - 0.5) * interval '200 days', response_received = NOT response_received
    WHERE (interaction_id, interaction_date) IN (SELECT interaction_id, interaction_date FROM sales.interactions ORDER BY random() LIMIT 2 FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS k = ROW_COUNT;
    updated := updated + k;
    UPDATE sales.addresses SET region = client || ' ' || n WHERE address_id IN (SELECT address_id FROM sales.addresses ORDER BY random() LIMIT 3 FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS k = ROW_COUNT;
    updated := updated + k;
    DELETE FROM sales.addresses WHERE address_id IN (SELECT address_id FROM sales.addresses ORDER BY random() LIMIT 2 FOR UPDATE SKIP LOCKED);
    GET DIAGNOSTICS k = ROW_COUNT;
    deleted := deleted + k;
    -- one of its own, then its id again; both kinds of MERGE
    INSERT INTO sales.addresses (city) VALUES ('one') RETURNING address_id INTO made;
    INSERT INTO sales.addresses (address_id, city) VALUES (made, 'again') ON CONFLICT (address_id) DO UPDATE SET city = excluded.city || n;
    MERGE INTO sales.addresses a USING (VALUES (made, 'merged'), (NULL, 'new')) v (id, city) ON a.address_id = v.id
    WHEN MATCHED THEN UPDATE SET city = v.city WHEN NOT MATCHED THEN INSERT (city) VALUES (v.city);
    -- a cascade
    INSERT INTO sales.products (name) VALUES (client || ' ' || n) RETURNING product_id INTO made;
    INSERT INTO sales.product_benefits (product_id, benefit_text) SELECT made, 'benefit ' || g FROM generate_series(1, 3) g;
    DELETE FROM sales.products WHERE product_id = made AND n % 2 = 0;
    -- a DELETE that is an UPDATE
    INSERT INTO sales.prospects (first_name) VALUES ('Short') RETURNING prospect_id INTO made;
    DELETE FROM sales.prospects WHERE prospect_id = made;
    created := created + 7;
    updated := updated + 2;
    deleted := deleted + 1 + CASE WHEN n % 2 = 0 THEN 4 ELSE 0 END;
    -- what is rolled back leaves nothing
    BEGIN
        INSERT INTO sales.addresses (city) SELECT 'rolled back' FROM generate_series(1, 150);
        RAISE SQLSTATE 'SA999';
    EXCEPTION WHEN SQLSTATE 'SA999' THEN NULL;
    END;
    INSERT INTO ledger VALUES (tenant(client), client, n, created, updated, deleted);
    RETURN format('ack %s %s', client, n);
END
$$;
SQL

# One client's script.  A line "ack CLIENT N" comes out when its COMMIT has been
# answered: psql prints a result when the command is complete, in autocommit mode
# after the commit.
my $next = 1;

sub script
{
	my ($client) = @_;
	my $sql = "SET client_min_messages = error;\nSELECT sales.set_tenant(tenant($client), null, false) \\g /dev/null\n";
	for (1 .. 3000)
	{
		my $n = $next++;
		if ($n % 7 == 0)
		{
			$sql .= "BEGIN;\nSELECT work($client, $n) AS said \\gset\nCOMMIT;\n\\echo :said\n";
		}
		elsif ($n % 7 == 1)
		{
			$sql .= "BEGIN;\nSELECT work($client, $n) \\g /dev/null\nROLLBACK;\n";
		}
		elsif ($n % 7 == 2)
		{
			$sql .= "BEGIN;\nSELECT work($client, $n) AS said \\gset\nPREPARE TRANSACTION 't$n';\nCOMMIT PREPARED 't$n';\n\\echo :said\n";
		}
		else
		{
			$sql .= "SELECT work($client, $n);\n";
		}
	}
	my $file = $node->basedir . "/client$client.sql";
	open(my $out, '>', $file) or die $!;
	print $out $sql;
	close $out;
	return $file;
}

my $acks = $node->basedir . '/acks';

sub acks
{
	return {} unless -e $acks;
	return { map { $_ => 1 } grep { /^ack \d+ \d+$/ } split /\n/, slurp_file($acks) };
}

sub errors
{
	my $file = $node->basedir . '/errors';
	return -e $file ? scalar(() = slurp_file($file) =~ /ERROR: /g) : 0;
}

sub kill_server
{
	my ($how) = @_;
	if ($how eq 'backend')
	{
		my $pid = $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE usename = 'tester' ORDER BY random() LIMIT 1});
		note('no client was connected') if $pid eq '';
		kill('KILL', $pid) if $pid ne '';
	}
	elsif ($how eq 'all')
	{
		# the postmaster's children notice and end; its lock file counts until it is gone itself
		my $pid = $node->{_pid};
		my $waits = 10 * $PostgreSQL::Test::Utils::timeout_default;
		$node->kill9;
		select(undef, undef, undef, 0.1) while kill(0, $pid) && --$waits > 0;
	}
	else
	{
		$node->stop('immediate');
	}
}

# Waits for the end of recovery; a postmaster that was killed leaves children
# that must have gone before another can start.
sub recover
{
	my ($how) = @_;
	if ($how eq 'backend')
	{
		my $waits = 10 * $PostgreSQL::Test::Utils::timeout_default;
		while (system('pg_isready', '-q', '-h', $node->host, '-p', $node->port) != 0)
		{
			die 'the server does not come back' if --$waits == 0;
			select(undef, undef, undef, 0.1);
		}
		return;
	}
	for (1 .. 10 * $PostgreSQL::Test::Utils::timeout_default)
	{
		return if $node->start(fail_ok => 1);
		select(undef, undef, undef, 0.1);
		$node->stop('fast', fail_ok => 1);
	}
	die 'the server does not start';
}

$node->safe_psql('postgres', 'CREATE AGGREGATE merge(jsonb) (sfunc = jsonb_concat, stype = jsonb, initcond = $${}$$)');

# The tables made again from the log: what is there and not in them, or the other way.
my $replay = join(' UNION ALL ', map { qq{
SELECT '$_->[0]' AS what, count(*) FROM (
    SELECT record_id, company_id, merge(new_values ORDER BY audit_id) AS value, (array_agg(action ORDER BY audit_id DESC))[1] AS last
    FROM sales.audit_logs WHERE table_name = '$_->[0]' GROUP BY 1, 2) made
FULL JOIN sales.$_->[0] t ON t.$_->[1] = made.record_id AND t.company_id = made.company_id
WHERE CASE WHEN t.$_->[1] IS NULL THEN made.last <> 'delete'
           ELSE (made.last = 'delete' AND to_jsonb(t) ->> 'deleted_at' IS NULL) OR made.value - 'updated_at' IS DISTINCT FROM to_jsonb(t) - 'updated_at' END
} } ([ 'addresses', 'address_id' ], [ 'interactions', 'interaction_id' ], [ 'product_benefits', 'benefit_id' ], [ 'products', 'product_id' ],
	[ 'prospects', 'prospect_id' ]));
# Each row of the log goes on from where the one before it left off.
my $chain = q{
SELECT count(*) FROM (
    SELECT action, old_values, merge(new_values) OVER w AS before, row_number() OVER (PARTITION BY company_id, record_id ORDER BY audit_id) AS place,
           lag(action) OVER (PARTITION BY company_id, record_id ORDER BY audit_id) AS previous
    FROM sales.audit_logs WHERE table_name IN ('addresses', 'interactions', 'product_benefits', 'products')
    WINDOW w AS (PARTITION BY company_id, record_id ORDER BY audit_id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING)) l
WHERE CASE action WHEN 'create' THEN place <> 1 WHEN 'update' THEN NOT before @> old_values OR previous = 'delete'
          WHEN 'delete' THEN before <> old_values OR previous = 'delete' ELSE true END};

my @how = qw(immediate all backend);
for my $round (1 .. $rounds)
{
	my $how = $how[($round - 1) % @how];
	my $before = keys %{ acks() };
	my $errors = errors();
	my @clients = map {
		IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-U', 'tester', '-v', 'ON_ERROR_STOP=1', '-f', script($_) ],
			'>>', $acks, '2>>', $node->basedir . '/errors')
	} (1 .. 6);
	my $wanted = $before + 20 + int(rand(150));
	my $waits = 100 * $PostgreSQL::Test::Utils::timeout_default;
	# a client ends at its first error; the server has not died yet
	select(undef, undef, undef, 0.01) while keys %{ acks() } < $wanted && --$waits > 0 && !($waits % 100 == 0 && errors() > $errors + 5);
	kill_server($how);
	eval { $_->finish } for @clients;
	recover($how);

	# a prepared transaction outlives the crash, its audit rows with it
	my @prepared = split /\n/, $node->safe_psql('postgres', 'SELECT gid FROM pg_prepared_xacts');
	$node->safe_psql('postgres', "COMMIT PREPARED '$_'") for @prepared;

	my $acked = acks();
	my %ledger = map { $_ => 1 } split /\n/, $node->safe_psql('postgres', q{SELECT format('ack %s %s', client, n) FROM ledger});
	my @lost = grep { !$ledger{$_} } keys %$acked;
	cmp_ok(scalar(keys %$acked), '>=', $wanted, "round $round ($how): clients were at work when the server died")
		or diag(join("\n", grep { /ERROR: / } split /\n/, slurp_file($node->basedir . '/errors')));
	is("@lost", '', "round $round: every commit that was answered is there");
	is($node->safe_psql('postgres', q{
SELECT l, a FROM (SELECT company, sum(created) AS created, sum(updated) AS updated, sum(deleted) AS deleted FROM ledger GROUP BY 1) l
FULL JOIN (SELECT company_id, count(*) FILTER (WHERE action = 'create') - 2 AS created, count(*) FILTER (WHERE action = 'update') AS updated,
                  count(*) FILTER (WHERE action = 'delete') AS deleted
           FROM sales.audit_logs WHERE table_name IN ('addresses', 'interactions', 'product_benefits', 'products', 'prospects') AND user_agent IS NOT NULL GROUP BY 1) a ON a.company_id = l.company
WHERE (l.created, l.updated, l.deleted) IS DISTINCT FROM (a.created, a.updated, a.deleted)}), '',
		"round $round: as many audit rows of each kind as there were committed changes");
	is($node->safe_psql('postgres', "SET timezone = 'UTC'; $replay"), "addresses|0\ninteractions|0\nproduct_benefits|0\nproducts|0\nprospects|0",
		"round $round: the tables made again from the log are the tables");
	is($node->safe_psql('postgres', $chain), '0', "round $round: each audit row goes on from the one before it");
	is($node->safe_psql('postgres', 'SELECT bool_and(ok), count(*) > 0 FROM sales.verify_audit()'), 't|t', "round $round: the log verifies");
	# the worker writes and seals meanwhile: until a pass finds nothing new
	my $said = '';
	for (1 .. 100)
	{
		$node->safe_psql('postgres', 'SELECT sales_internal.seal_audit(NULL, true)');
		$said = $node->safe_psql('postgres', q{SELECT bool_and(ok), bool_or(detail LIKE '%not sealed%') FROM sales.verify_audit()});
		last if $said ne 't|t';
	}
	is($said, 't|f', "round $round: so it does when all of it is sealed");
}
cmp_ok($node->safe_psql('postgres', q{SELECT count(*) FROM ledger}), '>', 20 * $rounds, 'there was work to lose');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sales.audit_logs WHERE new_values ->> 'city' = 'rolled back'}), '0',
	'nothing of what was rolled back');
$node->stop;
done_testing();
