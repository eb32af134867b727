# Contexts that were taken back: by logout, deactivation, a change of role or
# permissions, suspension and the end of a company; in live sessions and as
# copies that somebody kept; after a restart; and without preload.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('revocation');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'\nlog_statement = none");
$node->start;
my $super = 'psql -XAtq -d "' . $node->connstr('postgres') . '"';
$node->safe_psql('postgres', q{
CREATE EXTENSION sales_assistant;
CREATE ROLE app LOGIN IN ROLE sales_app;
CREATE ROLE other_app LOGIN IN ROLE sales_app;
CREATE ROLE bi LOGIN IN ROLE sales_app;
SELECT sales.create_company('Alpha', 'alpha.test', 'starter', 'en', 'UTC', 'a@alpha.test', 'alpha-secret');
SELECT sales.create_company('Beta', 'beta.test', 'starter', 'en', 'UTC', 'b@beta.test', 'beta-secret');
INSERT INTO sales.products (company_id, name) SELECT company_id, name || ' product' FROM sales.companies;
SELECT sales.bind_role('bi', company_id) FROM sales.companies WHERE name = 'Alpha';
});

my $enter = q{SELECT sales.use_session(sales.login('alpha.test', 'a@alpha.test', 'alpha-secret'), false) \g /dev/null
};

# What a live session sees before and after something happens elsewhere, and
# what a copy of its context is worth then, in a new session of the same role.
sub both
{
	my ($change, $name, $after, $undo) = @_;
	my $out = $node->safe_psql('postgres', "$enter
SELECT string_agg(name, ',') FROM sales.products;
SELECT current_setting('sales_assistant.context') AS kept \\gset
\\! $super -c \"$change\"
SELECT coalesce(string_agg(name, ','), 'nothing') FROM sales.products;
\\echo :kept", extra_params => [ '-U', 'app' ]);
	my @lines = grep { $_ ne '' } split /\n/, $out;
	is($lines[0], 'Alpha product', "$name: seen before");
	is($lines[1], $after, "$name: live session after");
	my ($rc, $stdout, $stderr) = $node->psql('postgres', "SET sales_assistant.context = '$lines[2]'; SELECT count(*) FROM sales.products",
		extra_params => [ '-U', 'app' ]);
	like($stderr, qr/invalid tenant context.*revoked/s, "$name: a kept copy is refused");
	$node->safe_psql('postgres', $undo) if $undo;
	return $lines[2];
}

# a copy is good while nothing happens, for the same role alone
my $copy = $node->safe_psql('postgres', $enter . "SELECT current_setting('sales_assistant.context')", extra_params => [ '-U', 'app' ]);
is($node->safe_psql('postgres', "SET sales_assistant.context = '$copy'; SELECT name FROM sales.products", extra_params => [ '-U', 'app' ]),
	'Alpha product', 'a context can be carried to another session of the role');
my ($rc, $out, $err) = $node->psql('postgres', "SET sales_assistant.context = '$copy'", extra_params => [ '-U', 'other_app' ]);
like($err, qr/made for another role or database/, 'but not to another role');
$node->safe_psql('postgres', 'CREATE DATABASE elsewhere');
$node->safe_psql('elsewhere', 'CREATE EXTENSION sales_assistant');
($rc, $out, $err) = $node->psql('elsewhere', "SET sales_assistant.context = '$copy'", extra_params => [ '-U', 'app' ]);
like($err, qr/made for another role or database/, 'nor to another database');

both("UPDATE sales.users SET is_active = false WHERE email = 'a\@alpha.test'", 'deactivation', 'nothing',
	"UPDATE sales.users SET is_active = true WHERE email = 'a\@alpha.test'");
both("UPDATE sales.roles SET permissions = permissions || '{\\\"products\\\": [\\\"read\\\"]}' WHERE name = 'admin'", 'changed permissions', 'nothing');
both("UPDATE sales.companies SET subscription_status = 'suspended' WHERE name = 'Alpha'", 'suspension', 'nothing');
is($node->safe_psql('postgres', $enter . 'SELECT name FROM sales.products', extra_params => [ '-U', 'app' ]), 'Alpha product', 'suspended: a new login reads');
($rc, $out, $err) = $node->psql('postgres', $enter . "INSERT INTO sales.products (name) VALUES ('x')", extra_params => [ '-U', 'app' ]);
like($err, qr/row-level security/, 'and does not write');
is($node->safe_psql('postgres', 'SELECT name FROM sales.products', extra_params => [ '-U', 'bi' ]), 'Alpha product', 'suspended: a bound role reads');
($rc, $out, $err) = $node->psql('postgres', "INSERT INTO sales.products (name) VALUES ('x')", extra_params => [ '-U', 'bi' ]);
like($err, qr/row-level security/, 'and does not write');
$node->safe_psql('postgres', "UPDATE sales.companies SET subscription_status = 'active' WHERE name = 'Alpha'");
is($node->safe_psql('postgres', "INSERT INTO sales.products (name) VALUES ('by bi') RETURNING name", extra_params => [ '-U', 'bi' ]), 'by bi', 'resumed: it writes again');
$node->safe_psql('postgres', "DELETE FROM sales.products WHERE name = 'by bi'");

# logout ends its own session, not the user's others
my $two = $node->safe_psql('postgres', "$enter
SELECT current_setting('sales_assistant.context') AS first \\gset
SELECT sales.use_session(sales.login('alpha.test', 'a\@alpha.test', 'alpha-secret'), false) \\g /dev/null
SELECT current_setting('sales_assistant.context') AS second \\gset
SELECT sales.logout() \\g /dev/null
\\echo :first
\\echo :second", extra_params => [ '-U', 'app' ]);
my ($first, $second) = split /\n/, $two;
is($node->safe_psql('postgres', "SET sales_assistant.context = '$first'; SELECT name FROM sales.products", extra_params => [ '-U', 'app' ]), 'Alpha product', 'logout leaves other sessions of the user');
($rc, $out, $err) = $node->psql('postgres', "SET sales_assistant.context = '$second'", extra_params => [ '-U', 'app' ]);
like($err, qr/revoked/, 'and ends its own');

# a rolled back change revokes nothing; the other company is not touched
is($node->safe_psql('postgres', "BEGIN; UPDATE sales.users SET is_active = false; ROLLBACK; SELECT 1"), '1', 'a change is rolled back');
is($node->safe_psql('postgres', "SET sales_assistant.context = '$first'; SELECT name FROM sales.products", extra_params => [ '-U', 'app' ]), 'Alpha product', 'nothing was revoked');

# a company that revokes without end has its own contexts revoked, and nobody else's
my $beta = $node->safe_psql('postgres', q{SELECT sales.use_session(sales.login('beta.test', 'b@beta.test', 'beta-secret'), false) \g /dev/null
SELECT current_setting('sales_assistant.context')}, extra_params => [ '-U', 'app' ]);
$node->safe_psql('postgres', q{INSERT INTO sales.users (company_id, email, role_id)
SELECT r.company_id, g || '@beta.test', r.role_id FROM sales.roles r JOIN sales.companies c USING (company_id), generate_series(1, 5000) g
WHERE c.name = 'Beta' AND r.name = 'seller';
UPDATE sales.users SET is_active = false WHERE email ~ '^[0-9]+@beta.test$';
UPDATE sales.users SET is_active = true WHERE email ~ '^[0-9]+@beta.test$';});
is($node->safe_psql('postgres', "SET sales_assistant.context = '$first'; SELECT name FROM sales.products", extra_params => [ '-U', 'app' ]), 'Alpha product', 'ten thousand revocations of a company leave the others');
($rc, $out, $err) = $node->psql('postgres', "SET sales_assistant.context = '$beta'", extra_params => [ '-U', 'app' ]);
like($err, qr/revoked/, 'and end all of its own');
both("UPDATE sales.users SET is_active = false WHERE email = 'a\@alpha.test'", 'deactivation after that', 'nothing',
	"UPDATE sales.users SET is_active = true WHERE email = 'a\@alpha.test'");

# a new password
both("SELECT sales.set_password((SELECT user_id FROM sales.users WHERE email = 'a\@alpha.test'), 'alpha-secret')", 'a new password', 'nothing');

# a restart forgets what was revoked, so older contexts go; bound roles stay
$copy = $node->safe_psql('postgres', $enter . "SELECT current_setting('sales_assistant.context')", extra_params => [ '-U', 'app' ]);
$node->restart;
($rc, $out, $err) = $node->psql('postgres', "SET sales_assistant.context = '$copy'", extra_params => [ '-U', 'app' ]);
like($err, qr/before the server started/, 'a context from before a restart is refused');
is($node->safe_psql('postgres', 'SELECT name FROM sales.products', extra_params => [ '-U', 'bi' ]), 'Alpha product', 'a bound role stays bound');

# parallel workers see what the leader sees
is($node->safe_psql('postgres', "$enter DO \$\$ BEGIN PERFORM set_config(name, 'on', false) FROM pg_settings WHERE name IN ('force_parallel_mode', 'debug_parallel_query'); END \$\$; SET min_parallel_table_scan_size = 0; SET parallel_setup_cost = 0; SET parallel_tuple_cost = 0;
SELECT count(*), max(name) FROM sales.products", extra_params => [ '-U', 'app' ]), '1|Alpha product', 'in parallel workers too');

# the end of a company
my $kept = both("SELECT sales.delete_company(company_id) FROM sales.companies WHERE name = 'Alpha'", 'the end of the company', 'nothing');
is($node->safe_psql('postgres', 'SELECT sales.current_company_id() IS NULL', extra_params => [ '-U', 'bi' ]), 't', 'its bound roles are free');
is($node->safe_psql('postgres', 'SELECT name FROM sales.products'), 'Beta product', 'the other company is untouched');

# without preload: a forged placeholder is judged when the library loads
$node->append_conf('postgresql.conf', "shared_preload_libraries = ''");
$node->restart;
$node->safe_psql('postgres', "SELECT sales.bind_role('bi', company_id) FROM sales.companies");
is($node->safe_psql('postgres', 'SELECT name FROM sales.products', extra_params => [ '-U', 'bi' ]), 'Beta product', 'no preload: a bound role is in its company');
($rc, $out, $err) = $node->psql('postgres', "SET sales_assistant.context = 'v1.forged.forged'; SELECT count(*) FROM sales.products", extra_params => [ '-U', 'app' ]);
is($out, '0', 'no preload: a forged placeholder opens nothing');
for my $setting ('clock', 'scoring_company', 'workers', 'allowed_hosts', 'turn_timeout')
{
	my $shown = "SELECT current_setting('sales_assistant.$setting')";
	my $kept = $node->safe_psql('postgres', "SET SESSION AUTHORIZATION app; SET sales_assistant.$setting = '2020-01-01'; SELECT count(sales.current_company_id()); RESET SESSION AUTHORIZATION; $shown");
	unlike($kept, qr/2020/, "no preload: a placeholder of $setting is not taken over");
}

$node->stop;
done_testing();
