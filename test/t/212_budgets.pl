# Budgets are exact: eight sessions of two companies reserve, give back and give up
# at once, while the month turns over in the timezone of one company and not yet
# in that of the other.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $tmp = PostgreSQL::Test::Utils::tempdir();
my $node = PostgreSQL::Test::Cluster->new('budgets');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'\nlog_statement = none");
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION sales_assistant;
SELECT sales.create_company('Alpha', 'alpha.test', 'starter', 'fr', 'Europe/Paris');
SELECT sales.create_company('Beta', 'beta.test', 'starter', 'en', 'America/New_York');
INSERT INTO sales.api_keys (company_id, service_name, key_value, usage_limit_monthly)
SELECT company_id, 'clearbit', 'a-key-of-' || name, CASE name WHEN 'Alpha' THEN 300 ELSE 120 END FROM sales.companies;
-- what each session holds of the budgets: a row for each call
CREATE TABLE took (company uuid, key uuid, month date, clock text);
CREATE FUNCTION reserve(wanted text) RETURNS boolean LANGUAGE plpgsql AS $$
BEGIN
	INSERT INTO took SELECT company_id, api_key_id, sales_internal.reserve_call(company_id, api_key_id), current_setting('sales_assistant.clock')
	FROM sales.api_keys JOIN sales.companies USING (company_id) WHERE name = wanted;
	RETURN true;
EXCEPTION WHEN insufficient_resources THEN RETURN false;
END $$;
CREATE FUNCTION release() RETURNS bigint LANGUAGE sql AS $$
WITH mine AS (SELECT ctid FROM took LIMIT 1 FOR UPDATE SKIP LOCKED), gone AS (DELETE FROM took t USING mine WHERE t.ctid = mine.ctid RETURNING t.*)
SELECT count(sales_internal.release_call(company, key, month)) FROM gone $$;
});

# Midnight of the first of November is at 23:00 UTC in Paris, at 4:00 in New York.
sub in_eight_sessions
{
	my ($name, $transactions, @clocks) = @_;
	my @script = ("\\set which random(1, 100)", "\\set clock random(1, " . scalar(@clocks) . ")");
	my $n = 0;
	push @script, map { $n++; "\\if :clock = $n", "SET sales_assistant.clock = '$_';", "\\endif" } @clocks;
	push @script, "BEGIN;", "\\if :which <= 60", "SELECT reserve('Alpha');", "\\else", "SELECT reserve('Beta');", "\\endif", "\\if :which % 5 = 0", "ROLLBACK;", "\\else", "COMMIT;", "\\endif";
	push @script, "\\if :which % 7 = 0", "SELECT release();", "\\endif" if $name =~ /given back/;
	append_to_file("$tmp/$transactions.sql", join("\n", @script) . "\n");
	$node->command_ok([ 'pgbench', '-n', '-c', '8', '-j', '2', '-t', $transactions, '-f', "$tmp/$transactions.sql", $node->connstr('postgres') ], $name);
}
my $counted = q{
SELECT c.name, k.usage_month, k.usage_current_month, count(t.key) AS held
FROM sales.api_keys k JOIN sales.companies c USING (company_id) LEFT JOIN took t ON t.key = k.api_key_id AND t.month = k.usage_month
GROUP BY c.name, k.api_key_id ORDER BY c.name};

my $october = '2026-10-31 22:59:59.9+00';
my $november = '2026-10-31 23:00:00.1+00';
in_eight_sessions('in October', 20, $october);
is($node->safe_psql('postgres', "SELECT bool_and(usage_month = '2026-10-01' AND usage_current_month = held AND held > 0) FROM ($counted) c"), 't', 'what is counted is what is held');
in_eight_sessions('calls are taken and given back', 40, $october);
is($node->safe_psql('postgres', "SELECT bool_and(usage_month = '2026-10-01' AND usage_current_month = held) FROM ($counted) c"), 't', 'what is counted is what is held');
# clocks of both months at once: a session may be late
in_eight_sessions('the month turns over in Paris, calls are given back', 50, $october, $november);
is($node->safe_psql('postgres', "SELECT bool_and(usage_current_month = held) FROM ($counted) c"), 't', 'what is counted is what is held, of the newer month');
is($node->safe_psql('postgres', q{SELECT string_agg(DISTINCT c.name || ' ' || k.usage_month, ', ' ORDER BY c.name || ' ' || k.usage_month) FROM sales.api_keys k JOIN sales.companies c USING (company_id)}),
	'Alpha 2026-11-01, Beta 2026-10-01', 'it is November in Paris, October in New York');
# more than there is
in_eight_sessions('eight sessions want more than there is', 120, $october, $november);
is($node->safe_psql('postgres', $counted), "Alpha|2026-11-01|300|300\nBeta|2026-10-01|120|120", 'each budget is spent to the last call, and no further');
is($node->safe_psql('postgres', 'SELECT count(*) FROM (SELECT FROM took GROUP BY key, month HAVING count(*) > CASE WHEN min(company) = (SELECT company_id FROM sales.companies WHERE name = $$Alpha$$) THEN 300 ELSE 120 END) t' =~ s/min\(company\)/min(company::text)::uuid/r), '0', 'in no month more than its budget');
is($node->safe_psql('postgres', "SET sales_assistant.clock = '$november'; SELECT reserve('Alpha')"), 'f', 'then a call is refused');
is($node->safe_psql('postgres', "SET sales_assistant.clock = '2026-11-01 04:00:01+00'; SELECT reserve('Beta')"), 't', 'until the month turns over in New York');
is($node->safe_psql('postgres', "SET sales_assistant.clock = '2026-12-01 00:00:00+00'; SELECT reserve('Alpha')"), 't', 'or in Paris');
is($node->safe_psql('postgres', q{SELECT usage_current_month FROM sales.api_keys ORDER BY usage_limit_monthly}), "1\n1", 'which both begin anew');
$node->safe_psql('postgres', "SELECT sales_internal.release_call(company, key, month) FROM took WHERE month < '2026-11-01'");
is($node->safe_psql('postgres', q{SELECT usage_current_month FROM sales.api_keys ORDER BY usage_limit_monthly}), "1\n1", 'a call of a month that is over is given back to nobody');

$node->stop;
done_testing();
