# Erasures that begin before or while the master key changes, and go on after it: they find the audit
# keys of before, blank the rows of all of them, and the chain verifies; the other company's rows stay.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use IPC::Run;

my $keys = PostgreSQL::Test::Utils::tempdir() . '/keys';
mkdir $keys, 0700;
my $node = PostgreSQL::Test::Cluster->new('rotation_erase');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'sales_assistant'
sales_assistant.key_file = '$keys/master.key'
sales_assistant.workers = off
max_worker_processes = 16
log_statement = none
});
$node->start;
sub sql { return $node->safe_psql('postgres', $_[0]); }

my $made = 0;
sub new_key
{
	my $path = "$keys/new" . $made++ . '.key';
	append_to_file($path, join('', map { sprintf '%02x', int rand 256 } 1 .. 32) . "\n");
	chmod 0600, $path;
	return $path;
}
sub rotate { sql("SELECT sales.rotate_master_key('" . new_key() . "')"); return; }

# A session of a company's admin that has not written anything yet, so that it has looked at no key.
sub session_of
{
	my ($company) = @_;
	my $session = $node->background_psql('postgres', on_error_stop => 0);
	$session->query_safe(qq{SELECT sales.set_tenant(u.company_id, u.user_id, false) FROM sales.users u WHERE u.email = 'a\@$company.test';
SET application_name = 'erases for $company'});
	return $session;
}
# Waits until a process waits for a lock.
sub held
{
	my ($condition, $name) = @_;
	ok($node->poll_query_until('postgres', "SELECT count(*) = 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND $condition"), $name);
	return;
}

sql(q{CREATE EXTENSION sales_assistant;
SELECT sales.create_company(n, lower(n) || '.test', 'business', 'fr', 'Europe/Paris', 'a@' || lower(n) || '.test', 'secret-secret') FROM unnest('{Alpha,Beta}'::text[]) n;
INSERT INTO sales.api_keys (company_id, service_name, key_value) SELECT company_id, 'mail', 'plain-secret-of-it' FROM sales.companies;
-- two persons of each: one is erased, the other is a bystander
INSERT INTO sales.prospects (company_id, first_name, last_name, email)
SELECT company_id, f, 'Byron', lower(f) || '@client.example' FROM sales.companies, unnest('{Ada,Bea}'::text[]) f});
sql(q{CREATE TABLE who AS SELECT p.company_id, lower(c.name) AS company, p.prospect_id FROM sales.prospects p JOIN sales.companies c USING (company_id) WHERE p.first_name = 'Ada'});
# Another audit row of each person: which key is it under?
sub write_of { sql("UPDATE sales.prospects SET notes = first_name || ' Byron, note $_[0]' WHERE erased_at IS NULL"); return; }
my $ada = q{FROM sales.audit_logs l JOIN who w ON w.company_id = l.company_id AND w.prospect_id = l.record_id WHERE l.table_name = 'prospects'};
sub keys_of { return sql("SELECT count(*), count(DISTINCT left(l.digest::text, 10)) $ada AND w.company = '$_[0]'"); }
my $bystanders = q{SELECT md5(string_agg(l::text, ',' ORDER BY l.audit_id)) FROM sales.audit_logs l WHERE l.record_id IN (SELECT prospect_id FROM sales.prospects WHERE first_name = 'Bea')};

# Locks the oldest and the newest audit row of a person: its erasure stops at the first that it comes to, before it has
# looked at the keys of others.
my $ends = q{SELECT FROM sales.audit_logs l WHERE l.audit_id IN (SELECT unnest(ARRAY[min(o.audit_id::text), max(o.audit_id::text)])::uuid FROM sales.audit_logs o JOIN who w
	ON w.company_id = o.company_id AND w.prospect_id = o.record_id WHERE w.company = 'COMPANY') FOR UPDATE};
sub holder_of
{
	my ($company) = @_;
	my $holder = $node->background_psql('postgres');
	$holder->query_safe('BEGIN; ' . $ends =~ s/COMPANY/$company/r);
	return $holder;
}
my %erasing;
sub begin_erasure
{
	my ($company) = @_;
	$erasing{$company} = session_of($company);
	my $person = sql("SELECT prospect_id FROM who WHERE company = '$company'");
	$erasing{$company}->query_until(qr/begun/, "\\echo begun\nSELECT sales.gdpr_erase('$person', 'request'); SELECT 'it is over';\n");
	held("application_name = 'erases for $company'", "the erasure of $company is under way");
	return;
}
sub end_erasure
{
	my ($company, $holder) = @_;
	$holder->query_safe('ROLLBACK');
	$holder->quit;
	is($erasing{$company}->query(q{SELECT 'after'}), "\nit is over\nafter", "the erasure of $company goes through") or diag($erasing{$company}->{stderr});
	$erasing{$company}->quit;
	return;
}

# --- begun in the midst of the first change: the key of now is the new one, and the one of before is in the key file alone ---
write_of(1);
my $stopper = $node->background_psql('postgres');
$stopper->query_safe('BEGIN; SELECT FROM sales.api_keys FOR UPDATE');
my ($out, $err) = ('', '');
my $call = IPC::Run::start([ 'psql', '-XAtq', '-d', $node->connstr('postgres'), '-c', "SELECT sales.rotate_master_key('" . new_key() . "')" ], '>', \$out, '2>', \$err);
held("backend_type = 'sales_assistant key rotation'", 'a change of the key is under way');
write_of(2);
is(keys_of('beta') . sql('SELECT count(*) FROM sales_internal.audit_keys'), '3|20', 'the rows of Beta are under two keys, which no table holds');
my $before = sql($bystanders);
my $holder = holder_of('beta');
begin_erasure('beta');
$stopper->query_safe('ROLLBACK');
$stopper->quit;
IPC::Run::finish($call);
like($err, qr/NOTICE:  the master key is/, 'the change is complete, and does not wait for the erasure');
end_erasure('beta', $holder);
is(sql($bystanders), $before, 'rows of others are what they were');

# --- begun before a change: the kept keys that it sees are sealed under one that is gone ---
rotate();
write_of(3);
$before = sql($bystanders);
is(keys_of('alpha'), '4|3', 'the rows of Alpha are under three keys');
$holder = holder_of('alpha');
begin_erasure('alpha');
rotate();
end_erasure('alpha', $holder);

# --- afterwards ---
is(sql("SELECT count(*), count(l.values_digest), count(*) FILTER (WHERE coalesce(l.old_values, '{}') = '{}' AND coalesce(l.new_values, '{}') = '{}') $ada AND l.action IN ('create', 'update')"),
	'7|7|7', 'every audit row of both persons is blank, with what stands for its values');
is(sql('SELECT count(*) FROM sales.prospects WHERE erased_at IS NOT NULL AND email IS NULL'), '2', 'and so are they');
is(sql("SELECT c.name, u.email FROM sales.audit_logs l JOIN sales.companies c USING (company_id) JOIN sales.users u ON u.company_id = l.company_id AND u.user_id = l.user_id WHERE l.action = 'delete' AND l.gdpr_basis = 'request' ORDER BY 1"),
	"Alpha|a\@alpha.test\nBeta|a\@beta.test", 'the record says who erased them');
is(sql($bystanders), $before, 'rows of others are what they were');
rotate();
is(sql('SELECT count(*) > 0, bool_and(ok), count(*) FILTER (WHERE NOT ok OR detail ~ $$key$$) FROM sales.verify_audit()'), 't|t|0', 'the chain of both companies verifies, after another change too');
$node->stop;
done_testing();
