# The learner on two public data sets, on rows that it has not seen, against
# the baselines that were measured with scikit-learn on the same split.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use JSON::PP;

my $shared = $ENV{SHARED_DATA} || '../shared/data';
plan skip_all => "the data sets are absent (looked in $shared)" unless -r "$shared/bank_small/prepared.csv";

my $node = PostgreSQL::Test::Cluster->new('learner');
$node->init;
$node->append_conf('postgresql.conf', "log_statement = none");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION sales_assistant');

sub check
{
	my ($set, $variant, $label, @exclude) = @_;
	my $file = "$shared/$set/prepared.csv";
	my $baselines = decode_json(slurp_file("$shared/$set/baselines.json"))->{variants}{$variant}{results}{split};
	my ($header) = slurp_file($file) =~ /^([^\r\n]+)/;
	my @rows = map { [ split /,/, $_, -1 ] } (split /\r?\n/, slurp_file($file))[ 1 .. 500 ];
	my @names = split /,/, $header;
	my @columns;
	for my $i (0 .. $#names)
	{
		my $numeric = !grep { $_->[$i] ne '' && $_->[$i] !~ /^-?\d+(\.\d+)?$/ } @rows;
		push @columns, qq{"$names[$i]" } . ($numeric ? 'numeric' : 'text');
	}
	append_to_file($node->basedir . "/$set.csv", slurp_file($file));
	$node->safe_psql('postgres', "CREATE TABLE $set (rowid serial PRIMARY KEY, " . join(', ', @columns) . ");
COPY $set (" . join(', ', map { qq{"$_"} } @names) . ") FROM '" . $node->basedir . "/$set.csv' (FORMAT csv, HEADER);
CREATE VIEW ${set}_train AS SELECT * FROM $set WHERE split = 'train';
CREATE VIEW ${set}_test AS SELECT * FROM $set WHERE split = 'test';");
	my $options = encode_json({ exclude => \@exclude });
	my $model = $node->safe_psql('postgres', "SELECT sales_internal.train_scorecard('${set}_train', '$label', '$options')");
	my ($auc, $loss, $ece) = split /\|/, $node->safe_psql('postgres', "
WITH p AS (SELECT a.probability AS p, t.${label}::int AS y
           FROM sales_internal.apply_scorecard('$model', '${set}_test') a JOIN ${set}_test t ON t.rowid::text = a.key),
ranked AS (SELECT y, (rank() OVER (ORDER BY p) + (count(*) OVER (PARTITION BY p) - 1) / 2.0) AS r FROM p),
tenths AS (SELECT y, p, ntile(10) OVER (ORDER BY p) AS bin FROM p)
SELECT (SELECT (sum(r) FILTER (WHERE y = 1) - count(*) FILTER (WHERE y = 1) * (count(*) FILTER (WHERE y = 1) + 1) / 2.0)
               / (count(*) FILTER (WHERE y = 1) * count(*) FILTER (WHERE y = 0)) FROM ranked),
       (SELECT -avg(CASE y WHEN 1 THEN ln(p) ELSE ln(1 - p) END) FROM p),
       (SELECT sum(n * gap) / sum(n) FROM (SELECT count(*) AS n, abs(avg(p) - avg(y)) AS gap FROM tenths GROUP BY bin) g)");
	my ($want_auc, $want_loss) = (0, 9);
	for my $baseline (@{$baselines}{qw(LogisticRegression HistGradientBoosting)})
	{
		$want_auc = $baseline->{auc} if $baseline->{auc} > $want_auc;
		$want_loss = $baseline->{log_loss} if $baseline->{log_loss} < $want_loss;
	}
	note "$set: auc $auc (baseline $want_auc), log loss $loss (baseline $want_loss), calibration error $ece";
	cmp_ok($auc, '>=', $want_auc, "$set: AUC is at least the better baseline's");
	cmp_ok($loss, '<=', $want_loss, "$set: log loss is no worse");
	cmp_ok($ece, '<=', 0.02, "$set: calibration error is at most 0.02");
}

check('bank_small', 'no_duration', 'y', qw(duration split cv_fold));
check('olist_funnel', 'mql_only', 'closed', qw(mql_id first_contact_date contact_month split cv_fold split_time));

$node->stop;
done_testing();
