# Another master key while two companies and the worker go on: under load, with
# the server killed in the middle, cancelled, over several databases, with dumps
# of before and after.  A local server checks each key that the worker sends it.
use strict;
use warnings;
use File::Basename;
use lib dirname(__FILE__) . '/../servers';
use IPC::Run;
use Peers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tmp = PostgreSQL::Test::Utils::tempdir();
my $peer = start_peer("$tmp/peer");
my $keys = "$tmp/keys";
mkdir $keys;
chmod 0700, $keys;
my $file = "$keys/master.key";

my $node = PostgreSQL::Test::Cluster->new('rotation');
$node->init(allows_streaming => 1);
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'sales_assistant'
sales_assistant.key_file = '$file'
sales_assistant.allowed_hosts = '127.0.0.1:$peer->{http}'
max_worker_processes = 16
restart_after_crash = on
log_min_messages = debug2
log_statement = none
log_min_error_statement = panic
});
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE other; CREATE DATABASE plain');

# Per company 150 keys "plain-SERVICE-secret" of services alpha1 ..., and settings.
my $setup = probe_sql() . q{
SELECT sales.create_company(name, lower(name) || '.test', 'business', 'fr', 'Europe/Paris', 'a@' || lower(name) || '.test', 'secret-secret')
FROM unnest('{Alpha,Beta}'::text[]) name;
INSERT INTO sales.api_keys (company_id, service_name, key_value)
SELECT company_id, s, 'plain-' || s || '-secret' FROM sales.companies, generate_series(1, 150) g, lower(name || g) s;
INSERT INTO sales.system_settings (company_id, category, key_name, value, data_type)
SELECT company_id, 'smtp', 'password', 'plain-setting-secret', 'encrypted' FROM (SELECT company_id FROM sales.companies UNION ALL SELECT NULL) c;
INSERT INTO sales.products (company_id, name) SELECT company_id, name || ' product' FROM sales.companies;
};
for my $db ('postgres', 'other')
{
	$node->safe_psql($db, "CREATE EXTENSION sales_assistant; $setup");
}
$node->safe_psql('postgres', q{
CREATE ROLE app LOGIN IN ROLE sales_app;
CREATE ROLE bi LOGIN IN ROLE sales_app;
CREATE ROLE operator LOGIN IN ROLE sales_admin;
SELECT sales.bind_role('bi', company_id) FROM sales.companies WHERE name = 'Alpha';
CREATE FUNCTION call_with(which text) RETURNS bigint LANGUAGE sql AS $$
SELECT count(sales_internal.enqueue('probe', k.company_id, jsonb_build_object('url', format('http://127.0.0.1:PORT/ok?service=%s', k.service_name),
	'api_key_id', k.api_key_id, 'auth', '{"query": "key"}'::jsonb))) FROM sales.api_keys k WHERE k.service_name LIKE which $$;
} =~ s/PORT/$peer->{http}/r);

my @made;
# A file with a new key, as an operator makes it.
sub new_key
{
	my $path = "$keys/new" . scalar(@made) . '.key';
	my $hex = join '', map { sprintf '%02x', int rand 256 } 1 .. 32;
	append_to_file($path, "$hex\n");
	chmod 0600, $path;
	push @made, $hex;
	return $path;
}
sub keys_in_file { return scalar split /\n/, slurp_file($file); }
sub name_now { return $node->safe_psql('postgres', 'SELECT (sales_internal.key_names())[1]'); }

# What is not sealed under the current key, in both databases.
sub left_over
{
	my $sum = 0;
	$sum += $node->safe_psql($_, q{
SELECT count(*) FROM (SELECT key_value FROM sales.api_keys UNION ALL SELECT value FROM sales.system_settings WHERE data_type = 'encrypted'
UNION ALL SELECT sealed FROM sales_internal.audit_keys UNION ALL SELECT sealed FROM sales_internal.key_check) s (sealed)
WHERE sealed NOT LIKE 'sa2:' || (sales_internal.key_names())[1] || ':%'}) for ('postgres', 'other');
	return $sum;
}

# Has the worker call with every key, and looks at what the server was sent.
sub keys_work
{
	my ($name) = @_;
	# what the load has left is not counted
	$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM sales_internal.jobs WHERE state IN ('queued', 'running')}) or diag('jobs do not end');
	unlink "$peer->{dir}/requests";
	append_to_file("$peer->{dir}/requests", '');
	my $calls = $node->safe_psql('postgres', q{SELECT call_with('%')});
	$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM sales_internal.jobs WHERE state IN ('queued', 'running')}) or diag('jobs do not end');
	is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT state || coalesce(error, ''), ',') FROM sales_internal.jobs}), 'done', "$name: every call was made");
	my @lines = split /\n/, slurp_file("$peer->{dir}/requests");
	my @right = grep { /service=(\w+)&key=plain-(\w+)-secret$/ && $1 eq $2 } map { s/ HTTP.*//r } @lines;
	is(scalar(@right), $calls, "$name: each with the key of its service");
	$node->safe_psql('postgres', 'DELETE FROM sales_internal.jobs; DELETE FROM probed');
}

my $before;
sub refused
{
	my ($path, $error, $name) = @_;
	my ($rc, $out, $err) = $node->psql('postgres', "SELECT sales.rotate_master_key('$path')");
	like($err, qr/$error.*HINT: /s, "$name is refused, with a hint");
	is(name_now() . keys_in_file(), $before, "$name: nothing has changed");
}

# --- what is refused ---

keys_work('before');
$before = name_now() . keys_in_file();
refused("$keys/nothing", qr/could not open key file/, 'no file');
refused($file, qr/is the one in use/, 'the same key');
append_to_file("$keys/short", "abcdef\n");
chmod 0600, "$keys/short";
refused("$keys/short", qr/does not hold 64 hexadecimal digits/, 'a short key');
append_to_file("$keys/zero", '0' x 64 . "\n");
chmod 0600, "$keys/zero";
refused("$keys/zero", qr/not random/, 'a key of zeros');
append_to_file("$keys/long", 'ab' x 40 . "\n");
chmod 0600, "$keys/long";
refused("$keys/long", qr/does not hold 64 hexadecimal digits/, 'a long key');
refused($keys, qr/not a regular file/, 'a folder');
my $open = new_key();
chmod 0640, $open;
refused($open, qr/mode must be 0600/, 'a file that others can read');
chmod 0000, $open;
refused($open, qr/Permission denied/, 'a file that the server cannot read');
chmod 0600, $open;
{
	my ($rc, $out, $err) = $node->psql('postgres', "SELECT sales.rotate_master_key('$open')", extra_params => [ '-U', 'app' ]);
	like($err, qr/permission denied for function rotate_master_key/, 'applications may not');
	($rc, $out, $err) = $node->psql('postgres', "BEGIN; UPDATE sales.api_keys SET is_active = true; SELECT sales.rotate_master_key('$open'); COMMIT");
	like($err, qr/has written to sales.api_keys.*HINT:  Call/s, 'nor does one wait for oneself');
	($rc, $out, $err) = $node->psql('postgres', 'SELECT sales.rotate_master_key(NULL)');
	like($err, qr/must not be null/, 'null');
}
chmod 0500, $keys;
refused($open, qr/could not change the key file/, 'a folder that the server cannot write');
chmod 0700, $keys;

# --- contexts, tokens, bound roles ---

my $enter = q{SELECT sales.use_session(sales.login('alpha.test', 'a@alpha.test', 'secret-secret'), false) \g /dev/null
};
my $as_app = [ '-U', 'app' ];
my $token = $node->safe_psql('postgres', q{SELECT sales.login('alpha.test', 'a@alpha.test', 'secret-secret')}, extra_params => $as_app);
my $bound_before = $node->safe_psql('postgres', q{SELECT current_setting('sales_assistant.context')}, extra_params => [ '-U', 'bi' ]);
my $bi = $node->background_psql('postgres', on_error_stop => 0, extra_params => [ '-U', 'bi' ]);
is($bi->query('SELECT name FROM sales.products'), 'Alpha product', 'a bound role reads its company');
my $kept = $node->safe_psql('postgres', $enter . q{SELECT current_setting('sales_assistant.context')}, extra_params => $as_app);
my $live = $node->background_psql('postgres', on_error_stop => 0, extra_params => $as_app);
$live->query("SELECT sales.use_session('$token', false)");
is($live->query('SELECT name FROM sales.products'), 'Alpha product', 'so does an application');

$node->safe_psql('postgres', "SELECT sales.rotate_master_key('$open')", extra_params => [ '-U', 'operator' ]);
isnt(name_now() . keys_in_file(), $before, 'the operator changes the key');
is(keys_in_file(), 1, 'and the old one has gone');
is(left_over(), 0, 'everything in both databases is sealed under the new one');
is($live->query(q{SELECT coalesce(string_agg(name, ','), 'nothing') FROM sales.products}), 'nothing', 'live sessions lose their tenant');
$live->quit;
my ($rc, $out, $err) = $node->psql('postgres', "SET sales_assistant.context = '$kept'", extra_params => $as_app);
like($err, qr/invalid tenant context.*signature is not valid/s, 'a kept context is worthless');
($rc, $out, $err) = $node->psql('postgres', "SELECT sales.use_session('$token', false)", extra_params => $as_app);
like($err, qr/invalid session token/, 'so is a token');
is($node->safe_psql('postgres', $enter . 'SELECT name FROM sales.products', extra_params => $as_app), 'Alpha product', 'users log in again');
is($node->safe_psql('postgres', q{SELECT count(*) FROM pg_stat_activity WHERE usename = 'bi'}), '0', 'the session of a bound role has ended');
eval { $bi->quit };
is($node->safe_psql('postgres', 'SELECT name FROM sales.products', extra_params => [ '-U', 'bi' ]), 'Alpha product', 'its next one is in its company');
isnt($node->safe_psql('postgres', q{SELECT current_setting('sales_assistant.context')}, extra_params => [ '-U', 'bi' ]), $bound_before, 'by a context signed afresh');
($rc, $out, $err) = $node->psql('postgres', "SET sales_assistant.context = '$bound_before'", extra_params => [ '-U', 'bi' ]);
like($err, qr/invalid tenant context/, 'the old one is worthless');
keys_work('after');

# --- under load ---

append_to_file("$tmp/load.sql", q{
\set n random(1, 150)
\set m random(1, 1000000)
BEGIN;
UPDATE sales.api_keys SET key_value = 'plain-' || service_name || '-secret' WHERE service_name = 'alpha' || :n;
INSERT INTO sales.api_keys (company_id, service_name, key_value) SELECT company_id, 'fresh' || :m, 'plain-fresh' || :m || '-secret' FROM sales.companies WHERE name = 'Beta';
SELECT pg_sleep(random() / 50);
COMMIT;
SELECT call_with('beta' || :n);
});
my ($load_out, $load_err) = ('', '');
my $load = IPC::Run::start([ 'pgbench', '-n', '-c', '4', '-T', '300', '-f', "$tmp/load.sql", $node->connstr('postgres') ], '>', \$load_out, '2>', \$load_err);
$node->poll_query_until('postgres', q{SELECT count(*) > 20 FROM probed}) or diag('there is no load');
for (1 .. 5)
{
	my $calls = $node->safe_psql('postgres', 'SELECT count(*) FROM probed');
	$node->safe_psql('postgres', "SELECT sales.rotate_master_key('" . new_key() . "')");
	is(keys_in_file() . left_over(), '10', "change $_ under load is complete");
	$node->poll_query_until('postgres', "SELECT count(*) > $calls + 10 FROM probed") or diag('the load has stopped');
}
$load->signal('TERM');    # (who runs in the background ignores INT)
IPC::Run::finish($load);
unlike($load_err, qr/ERROR/, 'no application met an error');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sales_internal.jobs WHERE state = 'failed' OR error IS NOT NULL}), '0', 'and no call failed');
keys_work('after the load');
$node->safe_psql('postgres', q{DELETE FROM sales.api_keys WHERE service_name LIKE 'fresh%'});

# --- killed, cancelled, ended in the middle ---

# A row that somebody holds stops the rotation where it is.
sub stopped_in_the_middle
{
	my $holder = $node->background_psql('postgres', on_error_stop => 0);
	$holder->query(q{BEGIN; SELECT FROM sales.api_keys WHERE service_name = 'beta150' FOR UPDATE});
	my ($o, $e) = ('', '');
	my $path = new_key();
	my $call = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', "SELECT sales.rotate_master_key('$path')" ], '>', \$o, '2>', \$e);
	$node->poll_query_until('postgres', q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'sales_assistant key rotation' AND wait_event_type = 'Lock'}) or diag('it does not stop');
	is(keys_in_file(), 2, 'stopped in the middle, the key file has both keys');
	cmp_ok(left_over(), '>', 0, 'and something is sealed under the old one');
	return ($path, $holder, $call, \$e);
}
for my $how ('immediate', 'kill', 'cancel', 'terminate')
{
	my ($path, $holder, $call, $error) = stopped_in_the_middle();
	my $half = name_now();
	# what a crash while writing leaves
	append_to_file("$file.tmp", 'half a');
	if ($how eq 'immediate') { $node->stop('immediate'); }
	elsif ($how eq 'kill') { kill 'KILL', $node->safe_psql('postgres', q{SELECT pid FROM pg_stat_activity WHERE backend_type = 'sales_assistant key rotation'}); }
	elsif ($how eq 'cancel') { $node->safe_psql('postgres', q{SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE query LIKE 'SELECT sales.rotate_master%'}); }
	else { $node->safe_psql('postgres', q{SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE backend_type = 'sales_assistant key rotation'}); }
	IPC::Run::finish($call);
	isnt($$error, '', "$how: the caller is told");
	eval { $holder->quit };
	$node->start if $how eq 'immediate';
	wait_for(sub { my ($up) = eval { $node->psql('postgres', 'SELECT 1') }; defined $up && $up == 0 });
	is(name_now() . keys_in_file(), "${half}2", "$how: the new key is in use, the old one is kept");
	keys_work($how);
	is($node->safe_psql('postgres', 'SELECT name FROM sales.products', extra_params => [ '-U', 'bi' ]), 'Alpha product', "$how: a bound role logs in");
	like($node->safe_psql('postgres', 'SELECT finding FROM sales.doctor()'), qr/former master keys: a change of the key is not complete/, "$how: doctor() says what is to be done");
	# from another database, and at last by another key altogether
	$node->safe_psql($how eq 'kill' ? 'other' : 'postgres', "SELECT sales.rotate_master_key('" . ($how eq 'terminate' ? new_key() : $path) . "')");
	is(keys_in_file() . left_over(), '10', "$how: the next call completes it");
	ok(!-e "$file.tmp", "$how: no other file is left");
	keys_work("$how, complete");
	$node->safe_psql('postgres', "UPDATE sales.products SET description = '$how'");
}

# --- dumps ---

my $old_key = slurp_file($file);
my $old_name = name_now();
$node->command_ok([ 'pg_dump', '-Fc', '-f', "$tmp/before.dump", $node->connstr('other') ], 'a dump of before');
$node->safe_psql('postgres', "SELECT sales.rotate_master_key('" . new_key() . "')");
$node->command_ok([ 'pg_dump', '-f', "$tmp/after.sql", $node->connstr('other') ], 'a dump of after');
unlike(slurp_file("$tmp/after.sql"), qr/plain-|$made[-1]|$made[-2]/, 'no secret is in it in the clear, and no key');
$node->safe_psql('postgres', 'CREATE DATABASE from_before; CREATE DATABASE from_after');
$node->command_ok([ 'psql', '-Xq', '-v', 'ON_ERROR_STOP=1', '-f', "$tmp/after.sql", '-d', $node->connstr('from_after') ], 'restored');
$node->command_ok([ 'pg_restore', '-e', '-d', $node->connstr('from_before'), "$tmp/before.dump" ], 'restored');
my $opens = q{SELECT count(sales_internal.reseal(key_value, format('%s|api_keys|%s', company_id, api_key_id))) FROM sales.api_keys};
is($node->safe_psql('from_after', $opens), '300', 'secrets of after open');
is($node->safe_psql('from_after', q{SELECT count(*) FROM sales.doctor() WHERE finding LIKE '%key%'}), '0', 'and nothing is wrong');
is($node->safe_psql('from_before', $opens), '0', 'those of before do not');
like($node->safe_psql('from_before', q{SELECT finding FROM sales.doctor()}), qr/written under the master key $old_name.*300 secrets in sales.api_keys were sealed under the master key $old_name/s, 'and doctor() says so');
($rc, $out, $err) = $node->psql('from_before', q{SELECT sales.create_company('Gamma', 'gamma.test')});
like($err, qr/WARNING:  the master key is not the one of this database.*DETAIL:  It was written under the key $old_name/s, 'as does who writes');
append_to_file($file, $old_key);
is($node->safe_psql('from_before', $opens), '300', 'the old key as a further line of the key file opens them');
$node->safe_psql('postgres', "SELECT sales.rotate_master_key('$file')");
is(keys_in_file(), 1, 'a change to the same file leaves the old key out again');
is($node->safe_psql('from_before', $opens), '300', 'when they are sealed under the new one');
is($node->safe_psql('from_before', q{SELECT count(*) FROM sales.doctor() WHERE finding LIKE '%key%'}), '0', 'and nothing is wrong');

# --- secrets of before there were names of keys, and such as no key opens ---

$node->safe_psql('postgres', q{UPDATE sales.api_keys SET key_value = 'plain-' || service_name || '-secret' WHERE service_name = 'alpha1';
SET session_replication_role = replica;
UPDATE sales.api_keys SET key_value = 'sa1:' || split_part(key_value, ':', 3) WHERE service_name = 'alpha1';
UPDATE sales.api_keys SET key_value = 'sa2:00000000:' || split_part(key_value, ':', 3) WHERE service_name = 'alpha2';
});
is($node->safe_psql('postgres', q{SELECT count(*) FROM sales.doctor() WHERE finding LIKE '1 secrets in sales.api_keys were sealed under the master key 00000000%'}), '1', 'doctor() names a key that is not there');
($rc, $out, $err) = $node->psql('postgres', "SELECT sales.rotate_master_key('" . new_key() . "')");
like($err, qr/WARNING:  database "postgres": no key opens the secrets of sales.api_keys [0-9a-f-]{36}\n/, 'what no key opens is named');
is(keys_in_file(), 1, 'and holds nothing up');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sales.api_keys WHERE key_value LIKE 'sa1:%'}), '0', 'the older form is sealed anew');
$node->safe_psql('postgres', q{UPDATE sales.api_keys SET key_value = 'plain-alpha2-secret' WHERE service_name = 'alpha2'});
keys_work('written again');

# --- a key file that is changed by hand ---

my $by_hand = new_key();
unlink "$keys/both";
append_to_file("$keys/both", slurp_file($by_hand) . slurp_file($file));
chmod 0600, "$keys/both";
rename "$keys/both", $file;
chmod 0500, $keys;
($rc, $out, $err) = $node->psql('postgres', "SELECT sales.rotate_master_key('$file')");
like($err, qr/WARNING:  the key file still holds former keys.*HINT:  Remove all lines but the first/s, 'a key file changed by hand is mended by hand');
chmod 0700, $keys;
append_to_file("$keys/one", slurp_file($by_hand));
chmod 0600, "$keys/one";
rename "$keys/one", $file;
is(left_over(), 0, 'everything is sealed under its first key');
keys_work('changed by hand');

# --- a standby ---

$node->backup('base');
my $standby = PostgreSQL::Test::Cluster->new('rotation_standby');
$standby->init_from_backup($node, 'base', has_streaming => 1);
mkdir "$tmp/standby_keys";
# first the new key goes to the standby as a further line, then it becomes the current one
my $next = new_key();
my $standby_file = "$tmp/standby_keys/master.key";
append_to_file($standby_file, slurp_file($file) . slurp_file($next));
chmod 0600, $standby_file;
$standby->append_conf('postgresql.conf', "sales_assistant.key_file = '$standby_file'");
$standby->start;
$node->safe_psql('postgres', "SELECT sales.rotate_master_key('$next')");
$node->wait_for_catchup($standby);
is($standby->safe_psql('postgres', 'SELECT name FROM sales.products', extra_params => [ '-U', 'bi' ]), 'Alpha product', 'a standby with both keys lets the bound role in');
is($standby->safe_psql('postgres', $opens), $node->safe_psql('postgres', 'SELECT count(*) FROM sales.api_keys'), 'and opens the secrets');
($rc, $out, $err) = $standby->psql('postgres', "SELECT sales.rotate_master_key('$next')");
like($err, qr/cannot be changed on a standby/, 'the key is changed on the primary alone');
$standby->promote;
$standby->safe_psql('postgres', "SELECT sales.rotate_master_key('$next')");
is(scalar(split /\n/, slurp_file($standby_file)), 1, 'promoted, it leaves the old key out');
is($standby->safe_psql('postgres', $opens), $node->safe_psql('postgres', 'SELECT count(*) FROM sales.api_keys'), 'and opens the secrets');
$standby->stop;

# --- at the end ---

unlink glob("$keys/new*.key");
$node->restart;
keys_work('all old key files destroyed, after a restart');
$node->safe_psql($_, q{SELECT sales_internal.seal_audit(NULL, true)}) for ('postgres', 'other');
is($node->safe_psql($_, q{SELECT string_agg(detail, ';') FROM sales.verify_audit() WHERE NOT ok OR detail LIKE '%key%'}), '', "the audit log of $_ verifies") for ('postgres', 'other');
cmp_ok($node->safe_psql('postgres', 'SELECT count(DISTINCT left(encode(digest, $$hex$$), 8)) FROM sales.audit_logs'), '>=', 5, 'with rows of many keys');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sales.audit_logs l WHERE l::text ~ 'plain-|sa2:'}), '0', 'no secret is in it, sealed or not');
my $log = slurp_file($node->logfile);
unlike($log, qr/plain-\w+-secret/, 'no secret is in the log');
my $all = join '|', @made;
unlike($log, qr/$all/, 'nor any master key');

$node->stop;
stop_peers();
done_testing();
