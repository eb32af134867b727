# Random bytes and expressions against the parsers of imports and schedules, on a
# server with assertions: an answer or an error with a code, never a crash, and
# every record accounted for.  FUZZ_ROUNDS=100000 for a longer run by hand.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $rounds = $ENV{FUZZ_ROUNDS} || 1500;
my $node = PostgreSQL::Test::Cluster->new('import_fuzz');
$node->init;
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION sales_assistant;
SELECT sales.create_company('Alpha', 'alpha.test', 'starter', 'fr', 'Europe/Paris', 'a@alpha.test', 'alpha-secret-1');
-- bytes that look like CSV more often than not
CREATE FUNCTION noise(size integer) RETURNS bytea LANGUAGE sql VOLATILE AS $$
    SELECT decode(string_agg(CASE WHEN random() < 0.9
               THEN (ARRAY['22', '22', '2c', '3b', '09', '0a', '0d', '0d0a', '61', '62', '20', 'c3a9', 'e9', '5c2e', '31', '6162', '40', 'efbbbf', 'c383c2a9', '00', 'ff', 'fffe', 'f09f918d', '80'])[1 + floor(random() * 24)::int]
               ELSE lpad(to_hex(floor(random() * 256)::int), 2, '0') END, ''), 'hex')
    FROM generate_series(1, size) $$;
CREATE FUNCTION read_noise(data bytea) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    told text;
BEGIN
    PERFORM sales_internal.csv_open(data, NULL, NULL);
    SELECT CASE WHEN count(*) = 0 OR (bool_and((fields IS NULL) <> (problem IS NULL)) AND max(row_number) >= count(*)
                                      AND sum(octet_length(raw)) <= 3 * length(data) + 3) THEN 'fine' ELSE 'wrong' END
    INTO told FROM sales_internal.csv_fields();
    PERFORM sales_internal.csv_close();
    RETURN told;
EXCEPTION WHEN data_exception THEN
    PERFORM sales_internal.csv_close();
    RETURN 'refused';
END $$;
});
sub crashed { return $node->safe_psql('postgres', 'SELECT 1') ne '1'; }

# --- records ---
my $told = $node->safe_psql('postgres', "SELECT setseed(0.42) \\g /dev/null
SELECT t, count(*) > 0 FROM (SELECT read_noise(noise(1 + (g % 120))) AS t FROM generate_series(1, $rounds) g) x GROUP BY t ORDER BY t");
is($told, "fine|t\nrefused|t", 'random bytes are records with fields or a reason, or a header that is refused');

# --- whole imports: counters add up, whatever comes ---
$told = $node->safe_psql('postgres', "SELECT setseed(0.17) \\g /dev/null
SELECT sales.set_tenant(company_id, NULL, false) FROM sales.companies \\g /dev/null
SELECT count(sales.import_csv(convert_to(E'email;nom;notes\\n', 'UTF8') || noise(60))) = 150 FROM generate_series(1, 150);
SELECT bool_and(rows_read = rows_inserted + rows_updated + rows_unchanged + rows_duplicate + rows_rejected),
       sum(rows_rejected) = (SELECT count(*) FROM sales.import_rejects), sum(rows_inserted) = (SELECT count(*) FROM sales.prospects) FROM sales.import_runs");
is($told, "t\nt|t|t", 'imports of random bytes count every row');

# --- cron expressions ---
$told = $node->safe_psql('postgres', q{
CREATE FUNCTION cron_noise() RETURNS text LANGUAGE sql VOLATILE AS $$
    SELECT string_agg((ARRAY['*', '1', '5', '59', '/', '-', ',', ' ', ' ', 'mon', 'jan', 'L', '#', '?', '0', '23', '31', '7', '@', 'daily', E'\t', 'é', '999999999999'])[1 + floor(random() * 23)::int], '')
    FROM generate_series(1, 3 + floor(random() * 14)::int) $$;
CREATE FUNCTION cron_told(e text) RETURNS text LANGUAGE plpgsql AS $$
DECLARE
    at timestamptz := '2026-03-28 20:00+00';
    next timestamptz := sales.cron_next(e, 'Europe/Paris', at);
BEGIN
    RETURN CASE WHEN next <= at THEN 'wrong' ELSE 'fine' END;
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN 'refused';
END $$;
CREATE FUNCTION cron_safe(e text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN RETURN cron_told(e); EXCEPTION WHEN invalid_parameter_value THEN RETURN 'refused'; END $$;
SELECT setseed(0.99) \g /dev/null
} . "SELECT t, count(*) > 0 FROM (SELECT cron_safe(CASE WHEN g % 3 = 0 THEN cron_noise() ELSE
        (ARRAY['*', '*/7', '5', '1-9/2', '22-6', '0,59'])[1 + g % 6] || ' ' || (ARRAY['*', '2', '0-3', '*/5'])[1 + g / 6 % 4] || ' ' || (1 + g % 31) || ' * ' || (g % 8) END) AS t
     FROM generate_series(1, $rounds * 4) g) x GROUP BY t ORDER BY t");
is($told, "fine|t\nrefused|t", 'random expressions have a run ahead, or are refused');
ok(!crashed(), 'the server stands');
unlike(slurp_file($node->logfile), qr/TRAP|PANIC|terminated by signal/, 'and no process of it fell');
$node->stop;
done_testing();
