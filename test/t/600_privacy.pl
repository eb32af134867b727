# The ends of data: a dump after gdpr_erase() does not name the person, one after
# delete_company() not the company; a company moves to another database row by
# row; what is old goes as the settings say.  Two companies throughout.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('privacy');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'\nlog_statement = none");
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION sales_assistant;
SELECT sales.create_company(name, lower(name) || '.test', 'business', 'fr', 'Europe/Paris', 'a@' || lower(name) || '.test', 'secret-secret')
FROM unnest('{Alpha,Beta}'::text[]) name});
my %id = map { split /\|/ } split /\n/, $node->safe_psql('postgres', 'SELECT name, company_id FROM sales.companies');
my $dir = $node->basedir;

# Everything about a person of a company, by the calls that an application makes.
for my $company ('Alpha', 'Beta')
{
	my $who = "Zyx$company";    # a name that nothing else has
	$node->safe_psql('postgres', qq{
SELECT sales.set_tenant('$id{$company}', (SELECT user_id FROM sales.users WHERE company_id = '$id{$company}'), false) \\g /dev/null
INSERT INTO sales.addresses (street_address, city) VALUES ('1 rue $who', '$who-ville') RETURNING address_id \\gset
INSERT INTO sales.products (name) VALUES ('Product of $company');
INSERT INTO sales.prospects (product_id, first_name, last_name, email, phone, company_name, notes, address_id, website)
SELECT product_id, 'Quaxy', '$who', 'quaxy\@$who.test', '+33612340000', '$who SARL', 'about $who', :'address_id', 'https://www.$who.test' FROM sales.products WHERE name = 'Product of $company' RETURNING prospect_id \\gset
UPDATE sales.prospects SET email = 'quaxy.new\@$who.test', phone = '+33612349999' WHERE prospect_id = :'prospect_id';
INSERT INTO sales.interactions (prospect_id, channel, type, content, response_received, response_content, interaction_date)
SELECT :'prospect_id', 'email', 'sent', 'Dear $who', true, 'oui, $who', now() - g * interval '40 days' FROM generate_series(1, 10) g;
INSERT INTO sales.tasks (prospect_id, type, title) VALUES (:'prospect_id', 'meeting', 'see $who');
SELECT sales.enter_stage(:'prospect_id', 'client', 700) \\g /dev/null
SELECT sales.import_csv(E'First Name,Last Name,Email\\nQuaxy,$who,quaxy\@\@$who.test\\n') \\g /dev/null
SELECT sales.generate_message(:'prospect_id'::uuid, c) FROM unnest('{email,sms,linkedin}'::sales.message_channel[]) c \\g /dev/null
SELECT sales.suggest_next_action(:'prospect_id') \\g /dev/null
SELECT sales.enrich(:'prospect_id', 'email_validation') \\g /dev/null
INSERT INTO sales.api_keys (service_name, key_value) VALUES ('unused', 'secret-key-of-$company') RETURNING 1 \\g /dev/null
INSERT INTO sales.prospects (first_name, last_name, created_at, notes) SELECT 'Old', 'Friend' || g, now() - interval '5 years', 'a friend of Quaxy $who' FROM generate_series(1, 30) g;
});
}
$node->poll_query_until('postgres', q{SELECT count(*) = 0 FROM sales_internal.jobs WHERE state IN ('queued', 'running')}) or die 'jobs do not end';
$node->safe_psql('postgres', 'SELECT sales.maintain(); SELECT sales.stop_workers()');

sub dump_of { my ($db) = @_; $node->command_ok([ 'pg_dump', '--data-only', '-f', "$dir/data.sql", '-d', $node->connstr($db) ], "a dump of $db"); return slurp_file("$dir/data.sql"); }
sub lines_with { my ($text, $pattern) = @_; return join "\n", grep { /$pattern/i } split /\n/, $text; }

my $metrics = q{SELECT md5(string_agg(t, chr(10) ORDER BY t COLLATE "C")) FROM (SELECT (to_jsonb(a) - 'analytics_id')::text FROM sales.analytics a
	UNION ALL SELECT (to_jsonb(m) - 'metric_id')::text FROM sales.success_metrics m) x (t)};
my $before = $node->safe_psql('postgres', $metrics);
isnt(lines_with(dump_of('postgres'), 'ZyxAlpha'), '', 'the person is there before');

# --- another database ---
my $export = "$dir/company.rows";
sub move
{
	my ($from, $to, $company) = @_;
	$node->safe_psql($from, "\\copy (SELECT * FROM sales.export_company('$id{$company}')) TO '$export'");
	return $node->safe_psql($to, qq{CREATE TEMP TABLE moved (table_name text, "row" jsonb);
\\copy moved FROM '$export'
SELECT sales.import_company('moved')});
}
sub export_text { my ($db, $company) = @_; return $node->safe_psql($db, "SELECT * FROM sales.export_company('$id{$company}')"); }
$node->safe_psql('postgres', "CREATE DATABASE elsewhere");
$node->safe_psql('elsewhere', 'CREATE EXTENSION sales_assistant; SELECT sales.stop_workers()');
is(move('postgres', 'elsewhere', 'Beta'), $id{Beta}, 'Beta moves to another database');
is(export_text('elsewhere', 'Beta'), export_text('postgres', 'Beta'), 'every row is as it was, none is audited or marked anew');
is($node->safe_psql('elsewhere', 'SELECT count(*) FROM sales.companies'), '1', 'and nothing else came with it');
is(lines_with(dump_of('elsewhere'), "Alpha|$id{Alpha}"), '', 'no trace of Alpha');
my ($rc, $out, $err) = $node->psql('elsewhere', qq{CREATE TEMP TABLE moved (table_name text, "row" jsonb);
\\copy moved FROM '$export'
SELECT sales.import_company('moved')});
like($err, qr/is here already/, 'a second time is refused');
($rc, $out, $err) = $node->psql('elsewhere', q{CREATE TEMP TABLE moved (table_name text, "row" jsonb); SELECT sales.import_company('moved')});
like($err, qr/does not hold one company but 0/, 'so are no rows');
$node->safe_psql('postgres', q{INSERT INTO sales.industries (name) VALUES ('Own sector of the platform');
UPDATE sales.prospects SET industry_id = (SELECT industry_id FROM sales.industries WHERE name = 'Own sector of the platform') WHERE last_name = 'Friend1'});
$node->safe_psql('elsewhere', "SELECT sales.delete_company('$id{Beta}')");
is(lines_with(dump_of('elsewhere'), "Beta|$id{Beta}"), '', 'a removed company leaves no trace');
($rc, $out, $err) = $node->psql('postgres', "\\copy (SELECT * FROM sales.export_company('$id{Beta}')) TO '$export'");
($rc, $out, $err) = $node->psql('elsewhere', qq{CREATE TEMP TABLE moved (table_name text, "row" jsonb);
\\copy moved FROM '$export'
SELECT sales.import_company('moved')});
like($err, qr/sales\.prospects points to .* in sales\.industries, which is not here/, 'a row that is missing here is told');
is($node->safe_psql('elsewhere', 'SELECT count(*) FROM sales.companies'), '0', 'and nothing is half moved');
$node->safe_psql('elsewhere', $node->safe_psql('postgres', q{SELECT format('INSERT INTO sales.industries SELECT * FROM jsonb_populate_record(NULL::sales.industries, %L)', to_jsonb(i)) FROM sales.industries i WHERE name LIKE 'Own%'}));
is(move('postgres', 'elsewhere', 'Beta'), $id{Beta}, 'with the row it moves');
is($node->safe_psql('elsewhere', qq{SELECT sales.set_tenant('$id{Beta}', NULL, false) \\g /dev/null
SELECT count(*) FROM sales.check_metrics()}), '0', 'its metrics equal a recomputation there');
like($node->safe_psql('elsewhere', q{CREATE ROLE mover LOGIN IN ROLE sales_app; SET SESSION AUTHORIZATION mover; SELECT sales.login('beta.test', 'a@beta.test', 'secret-secret')}),
	qr/^eyJ/, 'its users log in there');
for my $role ('sales_app', 'sales_admin', 'sales_gateway', 'sales_bi')
{
	($rc, $out, $err) = $node->psql('postgres', "SET ROLE $role; SELECT sales.export_company('$id{Beta}')");
	like($err, qr/permission denied for function export_company/, "$role cannot export a company");
}

# --- erasure, seen by a dump ---
my $erase = qq{SELECT sales.set_tenant('$id{Alpha}', (SELECT user_id FROM sales.users WHERE company_id = '$id{Alpha}'), false) \\g /dev/null
SELECT sales.gdpr_erase(prospect_id, 'request, art. 17') FROM sales.prospects WHERE company_id = '$id{Alpha}' AND last_name = 'ZyxAlpha'};
$node->safe_psql('postgres', $erase);
my $after = dump_of('postgres');
is(lines_with($after, 'ZyxAlpha'), '', 'a dump names the erased person nowhere');
is(lines_with(lines_with($after, $id{Alpha}), 'quaxy|3361234'), '', 'nor has its first name or number');
isnt(lines_with($after, 'ZyxBeta'), '', 'the other company\'s person is there still');
$node->safe_psql('postgres', 'SELECT sales.maintain()');
is($node->safe_psql('postgres', $metrics), $before, 'the metrics are what they were, to the cent');
is($node->safe_psql('postgres', qq{SELECT sales.set_tenant('$id{Alpha}', NULL, false) \\g /dev/null
SELECT count(*) FROM sales.check_metrics()}), '0', 'and equal a recomputation');

# --- retention ---
my $later = "SET sales_assistant.clock = '2033-01-15 12:00:00+00';";
sub counts { return $node->safe_psql('postgres', qq{SELECT count(*) FILTER (WHERE erased_at IS NOT NULL), count(*) FILTER (WHERE erased_at IS NULL) FROM sales.prospects WHERE company_id = '$_[0]';
SELECT count(*) FILTER (WHERE content IS NOT NULL) FROM sales.interactions WHERE company_id = '$_[0]';
SELECT count(*) > 0 FROM sales.audit_logs WHERE company_id = '$_[0]';
SELECT count(*) FROM sales.import_rejects WHERE company_id = '$_[0]'; SELECT count(*) FROM sales_internal.jobs WHERE company_id = '$_[0]'}); }
my $beta = counts($id{Beta});
like($beta, qr/^0\|31\n10\nt\n1\n\d\d$/, 'Beta has it all before');
$node->safe_psql('postgres', qq{INSERT INTO sales.system_settings (company_id, category, key_name, value) VALUES
('$id{Alpha}', 'privacy', 'retention_prospects_months', '36'), ('$id{Alpha}', 'privacy', 'retention_texts_months', '12'), ('$id{Alpha}', 'privacy', 'retention_audit_months', '24'),
('$id{Beta}', 'privacy', 'retention_jobs_days', ''), ('$id{Beta}', 'privacy', 'retention_rejects_days', '')});
my $partitions = q{SELECT count(*) FROM pg_inherits i WHERE inhparent = 'sales.audit_logs'::regclass AND inhrelid IN } . "(SELECT '0'::oid"
	. join('', map { " UNION ALL SELECT $_\::oid" } split /\n/, $node->safe_psql('postgres', 'SELECT DISTINCT tableoid FROM sales.audit_logs')) . ')';
my $had = $node->safe_psql('postgres', $partitions);
$node->safe_psql('postgres', "$later SELECT sales_internal.apply_retention()");
is(counts($id{Alpha}), "31|0\n0\nt\n0\n0", 'Alpha\'s old prospects, texts, rejects and jobs are gone, its audit has the erasures');
is($node->safe_psql('postgres', qq{SELECT count(*) FROM sales.audit_logs WHERE company_id = '$id{Alpha}' AND created_at < '2031-01-01'}), '0', 'its old audit rows are gone');
is(counts($id{Beta}), $beta, 'Beta, which keeps everything, has it all');
is($node->safe_psql('postgres', $partitions), $had, 'a month in which Beta has rows stays');
is(lines_with(dump_of('postgres'), 'a friend of Quaxy ZyxAlpha'), '', 'nor does a dump name them');
$node->safe_psql('postgres', qq{INSERT INTO sales.system_settings (company_id, category, key_name, value) VALUES ('$id{Beta}', 'privacy', 'retention_audit_months', '24')});
$node->safe_psql('postgres', "$later SELECT sales_internal.apply_retention()");
cmp_ok($node->safe_psql('postgres', $partitions), '<', $had, 'months in which nobody has rows are dropped');
$node->safe_psql('postgres', qq{UPDATE sales.system_settings SET value = 'some' WHERE company_id = '$id{Beta}' AND key_name = 'retention_audit_months'});
like($node->safe_psql('postgres', "$later SELECT sales_internal.apply_retention()"), qr/no number of months: some/, 'a setting that is no number removes nothing and is told');
is($node->safe_psql('postgres', qq{SELECT sales.set_tenant('$id{Alpha}', NULL, false) \\g /dev/null
SELECT sales.refresh_metrics() >= 0; SELECT count(*) FROM sales.check_metrics()}), "t\n0", 'metrics still equal a recomputation');

# --- removal ---
$node->safe_psql('postgres', "SELECT sales.delete_company('$id{Alpha}')");
is(lines_with(dump_of('postgres'), "Alpha|$id{Alpha}"), '', 'a dump has no trace of the removed company');
is(counts($id{Beta}) =~ s/\n[tf]\n/\n/r, $beta =~ s/\n[tf]\n/\n/r, 'and all of the other');
$node->stop;
done_testing();
