# cron_next() against the runs that four other engines (robfig/cron, croniter,
# cron-parser, croner) computed: every row on which all agree, dialects included.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $shared = $ENV{SHARED_DATA} || '../shared/data';
my $file = "$shared/cron/cron_vectors.tsv";
plan skip_all => "the vectors are absent (looked for $file)" unless -r $file;

my $node = PostgreSQL::Test::Cluster->new('cron');
$node->init;
$node->start;
append_to_file($node->basedir . '/vectors.tsv', slurp_file($file));
$node->safe_psql('postgres', "
CREATE EXTENSION sales_assistant;
CREATE TABLE vectors (id int, source text, dialect text, expr text, timezone text, std5_expr text, from_time text,
    expected_next text, other_impls_agree text, contested text, note text);
COPY vectors FROM '" . $node->basedir . "/vectors.tsv' (FORMAT csv, HEADER, DELIMITER E'\\t', QUOTE E'\\b');
CREATE FUNCTION ran(expr text, zone text, after text) RETURNS text LANGUAGE plpgsql AS \$\$
BEGIN
    RETURN coalesce(sales.cron_next(expr, zone, coalesce(after, '2024-01-01T00:00:00+00:00')::timestamptz)::text, 'never');
EXCEPTION WHEN invalid_parameter_value THEN
    RETURN 'error';
END
\$\$;
CREATE VIEW judged AS
SELECT v.*, ran(coalesce(v.expr, ''), v.timezone, v.from_time) AS got, ran(nullif(v.std5_expr, ''), v.timezone, v.from_time) AS got_std5,
       coalesce(other_impls_agree, '') ~ '=y.*=y.*=y' AND contested IS NULL AS agreed
FROM vectors v;
-- expected: a time, !a time that must not be it, error, never
CREATE FUNCTION fits(got text, expected text) RETURNS boolean LANGUAGE sql AS \$\$
    SELECT CASE WHEN expected IN ('error', 'never') THEN got = expected
                WHEN got IN ('error', 'never') THEN false
                WHEN expected ~ '^!' THEN got::timestamptz <> substr(expected, 2)::timestamptz
                ELSE got::timestamptz = expected::timestamptz END
\$\$;");

# The counts guard against a file read wrongly.
is($node->safe_psql('postgres', "SELECT count(*) FROM vectors"), '311', 'the file has its rows');
is($node->safe_psql('postgres', "SELECT count(*) FROM judged WHERE agreed AND std5_expr <> ''"),
	'174', 'as many of them are agreed in five fields');
is($node->safe_psql('postgres', "SELECT id, std5_expr, timezone, from_time, expected_next, got_std5 FROM judged
	WHERE agreed AND std5_expr <> '' AND NOT fits(got_std5, expected_next)"), '', 'each runs when all engines say');
is($node->safe_psql('postgres', "SELECT id, expr, timezone, from_time, expected_next, got FROM judged
	WHERE agreed AND NOT fits(got, expected_next)"), '', 'so do the dialects, macros and errors on which all agree');
# docs/schedule.md: no seconds, no years
is($node->safe_psql('postgres', "SELECT count(*) FILTER (WHERE got <> 'error') FROM judged WHERE dialect LIKE 'sec6%'"),
	'0', 'expressions with seconds or years are refused');
# docs/schedule.md: which side we take where the engines do not agree
is($node->safe_psql('postgres', "SELECT string_agg(id::text, ' ' ORDER BY id) FROM judged
	WHERE NOT agreed AND dialect NOT LIKE 'sec6%' AND NOT fits(got, expected_next)"),
	'49 60 62 67 77 155 156 201 202 203 204 205 206 207 210 211 212 213 214 215 267 268 269 270 271',
	'and we differ from the contested rows exactly where the page says');
$node->stop;
done_testing();
