# Where the keys of two companies could show, and do not: to applications, the
# operator, plans, settings, statistics, the audit log, a dump, the server log at
# its most talkative.  And the switches that stop calls, of a company and of all.
use strict;
use warnings;
use File::Basename;
use lib dirname(__FILE__) . '/../servers';
use Peers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tmp = PostgreSQL::Test::Utils::tempdir();
my $peer = start_peer("$tmp/peer");
my $node = PostgreSQL::Test::Cluster->new('secrecy');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'sales_assistant,auto_explain'
sales_assistant.allowed_hosts = '127.0.0.1:$peer->{http}'
log_min_messages = debug5
log_statement = none
auto_explain.log_min_duration = 0
auto_explain.log_analyze = on
auto_explain.log_verbose = on
auto_explain.log_nested_statements = on
debug_print_plan = on
});
$node->start;
my $secret = qr/sk-live-secret-|plain-password-/;

# The client keeps its statements out of the log, as docs/security.md asks for.
my $quiet = q{SET log_min_messages = panic; SET auto_explain.log_min_duration = -1; SET debug_print_plan = off;
};
$node->safe_psql('postgres', 'CREATE EXTENSION sales_assistant; ' . probe_sql() . q{
CREATE ROLE app LOGIN IN ROLE sales_app;
CREATE ROLE operator LOGIN IN ROLE sales_admin;
CREATE ROLE reader LOGIN IN ROLE pg_read_all_stats;
SELECT sales.create_company(name, lower(name) || '.test', 'starter', 'en', 'UTC', 'a@' || lower(name) || '.test', 'login-secret-1') FROM unnest('{Alpha,Beta}'::text[]) name;
});
$node->safe_psql('postgres', $quiet . q{
INSERT INTO sales.api_keys (company_id, service_name, key_value) SELECT company_id, 'hunter', 'sk-live-secret-' || lower(name) FROM sales.companies;
INSERT INTO sales.api_keys (company_id, service_name, key_value) SELECT company_id, 'short', 'plain-pass' FROM sales.companies;
INSERT INTO sales.system_settings (company_id, category, key_name, value, data_type) SELECT company_id, 'smtp', 'password', 'plain-password-' || name, 'encrypted' FROM sales.companies;
UPDATE sales.api_keys SET key_value = key_value || '-2', is_active = true WHERE service_name = 'none';
UPDATE sales.api_keys SET usage_limit_monthly = 50;
});

sub app
{
	my ($sql, $domain) = @_;
	$domain //= 'alpha';
	my ($rc, $out, $err) = $node->psql('postgres', "SELECT sales.use_session(sales.login('$domain.test', 'a\@$domain.test', 'login-secret-1'), false) \\g /dev/null\n$sql", extra_params => [ '-U', 'app' ]);
	return $out . $err;
}

# --- applications and operators ---
is(app(q{SELECT service_name, key_last4 FROM sales.api_keys ORDER BY 1}), "hunter|lpha\nshort|", 'an application sees the last four characters, of a short key none');
is(app(q{SELECT service_name, key_last4 FROM sales.api_keys WHERE service_name = 'hunter'}, 'beta'), 'hunter|beta', 'of its own keys');
like(app($_), qr/permission denied for table api_keys/, "not by $_") for (
	'SELECT key_value FROM sales.api_keys', 'SELECT * FROM sales.api_keys', 'SELECT k FROM sales.api_keys k', 'COPY sales.api_keys TO stdout',
	q{SELECT FROM sales.api_keys WHERE key_value LIKE 'sk%'}, 'UPDATE sales.api_keys SET is_active = true RETURNING key_value');
my $shown = app(q{SELECT value FROM sales.system_settings WHERE key_name = 'password'; SELECT sales.setting('smtp.password') IS NULL;});
like($shown, qr/^sa2:[0-9a-f]{8}:\S+\nt$/, 'an encrypted setting is ciphertext, and none to setting()');
for my $role ('operator', 'reader')
{
	my ($rc, $out, $err) = $node->psql('postgres', 'SELECT key_value FROM sales.api_keys', extra_params => [ '-U', $role ]);
	like($err, qr/permission denied/, "$role cannot read keys");
}
for my $call (q{sales_internal.reseal('sa2:00000000:AAAA', 'x')}, 'sales_internal.key_names()', q{sales_internal.seal('x', 'y')}, 'sales_internal.audit_keep_key()')
{
	like(app("SELECT $call"), qr/permission denied/, "applications cannot call $call");
}

# --- the worker uses them; nothing shows ---
for my $company ('Alpha', 'Beta')
{
	$node->safe_psql('postgres', qq{SELECT sales_internal.enqueue('probe', company_id, jsonb_build_object('url', 'http://127.0.0.1:$peer->{http}/ok?of=$company', 'provider', 'hunter', 'api_key_id', api_key_id, 'auth', '{"query": "key"}'::jsonb))
FROM sales.api_keys JOIN sales.companies USING (company_id) WHERE name = '$company' AND service_name = 'hunter'});
}
$node->poll_query_until('postgres', q{SELECT count(*) = 2 FROM probed}) or diag('the calls are not made');
is(join("\n", sort map { s/ HTTP.*//r } split /\n/, slurp_file("$peer->{dir}/requests")), "GET /ok?of=Alpha&key=sk-live-secret-alpha\nGET /ok?of=Beta&key=sk-live-secret-beta", 'each company calls with its own key');

# --- after use they are nowhere in the worker's memory, however they were sent ---
for my $auth ('{"query": "key"}', '{"header": "Authorization", "prefix": "Bearer "}', '{"basic": true}')
{
	$node->safe_psql('postgres', qq{SELECT sales_internal.enqueue('probe', company_id, jsonb_build_object('url', 'http://127.0.0.1:$peer->{http}/ok', 'provider', 'hunter', 'api_key_id', api_key_id, 'auth', '$auth'::jsonb))
FROM sales.api_keys JOIN sales.companies USING (company_id), generate_series(1, 20) WHERE service_name = 'hunter'});
}
$node->poll_query_until('postgres', q{SELECT count(*) = 122 FROM probed}) or diag('the calls are not made');
$node->poll_query_until('postgres', q{SELECT state = 'idle' FROM sales.worker_status}) or diag('the worker is not idle');
is($node->safe_psql('postgres', q{SELECT count(*) FROM probed WHERE response ->> 'status' = '200'}), '122', 'many more calls');
SKIP:
{
	my $pid = $node->safe_psql('postgres', 'SELECT pid FROM sales.worker_status');
	open(my $memory, '<:raw', "/proc/$pid/mem") or skip("the memory of another process cannot be read here: $!", 2);
	my ($seen, %found) = (0);
	for (grep { /^\S+ rw-p/ } split /\n/, slurp_file("/proc/$pid/maps"))
	{
		my ($from, $to) = map { hex } /^(\w+)-(\w+)/;
		my $bytes;
		sysseek($memory, $from, 0) && defined sysread($memory, $bytes, $to - $from) or next;
		$seen += length $bytes;
		# the key, or the base64 of basic authentication
		$found{$1}++ while $bytes =~ /(sk-live-secret-\w+|c2stbGl2ZS1zZWNyZXQt\w+)/g;
	}
	cmp_ok($seen, '>', 1_000_000, 'the worker has memory');
	is(join(', ', map { "$_ $found{$_}" } sort keys %found), '', 'and no key is left in it');
}

# --- a secret belongs to its company, table and row ---
is($node->safe_psql('postgres', q{
SELECT c.name, string_agg(CASE WHEN sales_internal.reseal(k.key_value, o.owner) IS NULL THEN 'no' ELSE 'opens' END, ' ' ORDER BY o.n)
FROM sales.api_keys k JOIN sales.companies c USING (company_id),
     LATERAL (SELECT company_id AS other FROM sales.companies x WHERE x.company_id <> k.company_id) x,
     LATERAL (SELECT api_key_id AS next FROM sales.api_keys y WHERE y.company_id = k.company_id AND y.api_key_id <> k.api_key_id) y,
     LATERAL (VALUES (1, format('%s|api_keys|%s', k.company_id, k.api_key_id)), (2, format('%s|api_keys|%s', other, k.api_key_id)),
                     (3, format('%s|system_settings|%s', k.company_id, k.api_key_id)), (4, format('%s|api_keys|%s', k.company_id, next)), (5, '')) o (n, owner)
WHERE k.service_name = 'hunter' GROUP BY 1 ORDER BY 1}), "Alpha|opens no no no no\nBeta|opens no no no no", 'what is sealed opens for its own company, table and row alone');
# a superuser puts Alpha's into Beta's row, past all triggers
my $moved = q{SET session_replication_role = replica; UPDATE sales.api_keys k SET key_value = o.key_value FROM sales.api_keys o, sales.companies b, sales.companies a
WHERE b.name = 'Beta' AND a.name = 'Alpha' AND k.company_id = b.company_id AND o.company_id = a.company_id AND k.service_name = 'short' AND o.service_name = 'hunter'};
$node->safe_psql('postgres', $quiet . $moved);
my $asked = () = slurp_file("$peer->{dir}/requests") =~ /\n/g;
my $job = $node->safe_psql('postgres', qq{SELECT sales_internal.enqueue('probe', company_id, jsonb_build_object('url', 'http://127.0.0.1:$peer->{http}/ok', 'api_key_id', api_key_id, 'auth', '{"query": "key"}'::jsonb))
FROM sales.api_keys JOIN sales.companies USING (company_id) WHERE name = 'Beta' AND service_name = 'short'});
$node->poll_query_until('postgres', "SELECT error IS NOT NULL FROM sales_internal.jobs WHERE job_id = '$job'") or diag('it does not fail');
like($node->safe_psql('postgres', "SELECT error FROM sales_internal.jobs WHERE job_id = '$job'"), qr/cannot be opened with this master key/, 'moved to another company\'s row it is of no use there');
is(scalar(() = slurp_file("$peer->{dir}/requests") =~ /\n/g), $asked, 'and no call is made');
$node->safe_psql('postgres', "DELETE FROM sales_internal.jobs; DELETE FROM sales.api_keys k USING sales.companies c WHERE c.company_id = k.company_id AND c.name = 'Beta' AND k.service_name = 'short'");

for my $options ('VERBOSE', 'ANALYZE, VERBOSE')
{
	unlike($node->safe_psql('postgres', "EXPLAIN ($options) UPDATE sales.api_keys SET usage_current_month = usage_current_month; EXPLAIN ($options) SELECT * FROM sales.api_keys"), $secret, "EXPLAIN ($options) shows none");
}
unlike($node->safe_psql('postgres', $_), $secret, "nothing in $_") for (
	'SELECT name, setting, reset_val FROM pg_settings', 'SELECT * FROM pg_stat_activity', 'SELECT * FROM pg_stats', 'SELECT * FROM sales.audit_logs',
	'SELECT * FROM sales_internal.jobs', 'SELECT * FROM probed', 'SELECT * FROM sales_internal.service_pace', 'SELECT * FROM pg_db_role_setting', 'SELECT * FROM sales_internal.key_check');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sales.audit_logs WHERE table_name = 'api_keys' AND action = 'create'}), '4', 'although what is done with keys is audited');
is($node->safe_psql('postgres', q{SELECT count(*) FROM sales.audit_logs l WHERE l::text LIKE '%sa2:%'}), '0', 'without the ciphertext');
for my $format ('plain', 'custom', 'directory')
{
	$node->command_ok([ 'pg_dump', '-Z0', '-F', $format, '-f', "$tmp/$format", $node->connstr('postgres') ], "a dump, $format");
}
my $master = slurp_file($node->data_dir . '/sales_assistant.key') =~ s/\s//gr;
is(length $master, 64, 'there is a master key');
my @files = ("$tmp/plain", "$tmp/custom", glob("$tmp/directory/*"));
is(join(' ', grep { slurp_file($_) =~ /$secret|plain-pass|$master/ } @files), '', 'no key is in any of their ' . @files . ' files');
like(slurp_file("$tmp/plain"), qr/\tsa2:[0-9a-f]{8}:/, 'but the ciphertext is');

# --- the switches ---
sub switch_off { $node->safe_psql('postgres', "INSERT INTO sales.system_settings (company_id, category, key_name, value, data_type) SELECT $_[0], 'calls', 'enabled', 'false', 'boolean'"); }
sub switch_on { $node->safe_psql('postgres', q{DELETE FROM sales.system_settings WHERE category = 'calls'; UPDATE sales_internal.jobs SET run_at = now() WHERE state = 'queued'; SELECT sales_internal.wake_workers()}); }
sub both_ask { $node->safe_psql('postgres', qq{TRUNCATE probed; DELETE FROM sales_internal.jobs; SELECT sales_internal.enqueue('probe', company_id, '{"url": "http://127.0.0.1:$peer->{http}/ok"}') FROM sales.companies}); }
sub states { return $node->safe_psql('postgres', q{SELECT string_agg(format('%s %s %s', name, state, coalesce(error, '')), '; ' ORDER BY name) FROM sales_internal.jobs JOIN sales.companies USING (company_id)}); }
my $off = 'calls to outside services are switched off (setting calls.enabled)';
sub settled { $node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM sales_internal.jobs WHERE state = 'running' OR (state = 'queued' AND error IS NULL)}) or diag('jobs do not settle'); }

switch_off(q{(SELECT company_id FROM sales.companies WHERE name = 'Alpha')});
both_ask();
settled();
is(states(), "Alpha queued $off; Beta done ", 'one company switches its calls off, the other goes on');
is($node->safe_psql('postgres', q{SELECT attempts FROM sales_internal.jobs WHERE state = 'queued'}), '0', 'waiting is no attempt');
switch_on();
settled();
is(states(), 'Alpha done ; Beta done ', 'switched on again, it goes on');
switch_off('NULL');
both_ask();
settled();
is(states(), "Alpha queued $off; Beta queued $off", 'the platform switches all calls off');
is($node->safe_psql('postgres', 'SELECT count(*) FROM probed'), '0', 'and none is made');
like(app(q{INSERT INTO sales.system_settings (category, key_name, value, data_type) VALUES ('calls', 'enabled', 'true', 'boolean')} . "\n;SELECT 1"), qr/1/, 'a company may say what it likes');
$node->safe_psql('postgres', q{UPDATE sales_internal.jobs SET run_at = now(), error = NULL; SELECT sales_internal.wake_workers()});
settled();
is(states(), "Alpha queued $off; Beta queued $off", 'the platform has the last word');
switch_on();
settled();
is(states(), 'Alpha done ; Beta done ', 'then all go on');

my $log = slurp_file($node->logfile);
cmp_ok(length $log, '>', 100_000, 'the log is talkative');
unlike($log, $secret, 'and says no key');
unlike($log, qr/$master/, 'nor the master key');

$node->stop;
stop_peers();
done_testing();
