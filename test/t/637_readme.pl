# The five minutes of the README, typed as they stand there: every table that it
# shows is what psql prints, but for the day.
use strict;
use warnings;
use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $readme = slurp_file(dirname(__FILE__) . '/../../README.md');
my ($minutes) = $readme =~ /^## Five minutes\n(.*?)^## /ms or die 'README.md has no five minutes';
my @blocks = $minutes =~ /^```\n(.*?)^```$/msg;

# Statements, each with the table that may follow it.
my ($typed, @tables) = ('');
for my $block (@blocks)
{
	while ($block =~ /(.*?(?:;|\\gset)\n)((?:[ -][^\n]*\n)*)/gs)
	{
		$typed .= $1;
		push @tables, $2 if $2 ne '';
	}
	# the README says \c between the first block and the second
	$typed .= "\\c - app\n" if $block eq $blocks[0];
}
cmp_ok(scalar(@tables), '>=', 7, 'the README shows tables');
# a machine under load may take its time
$typed =~ s/'5 seconds'/'60 seconds'/ or die 'nothing waits for the job';

sub plain
{
	my ($text) = @_;
	$text =~ s/\b20\d\d-\d\d-\d\d\b/a day/g;
	$text =~ s/ +$//mg;
	return $text;
}

my $node = PostgreSQL::Test::Cluster->new('readme');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'");
$node->start;
my $script = PostgreSQL::Test::Utils::tempdir() . '/typed.sql';
append_to_file($script, "\\pset footer off\n$typed");
my ($out, $err) = run_command([ 'psql', '-X', '-d', $node->connstr('postgres'), '-f', $script ]);
is($err, '', 'no error');
$out = plain($out);
my $at = 0;
for my $table (map { plain($_) } @tables)
{
	my $found = index($out, $table, $at);
	cmp_ok($found, '>=', 0, 'psql prints: ' . (split /\n/, $table)[0]) or diag("the README has\n$table");
	$at = $found + length($table) if $found >= 0;
}
diag($out) unless Test::More->builder->is_passing;
$node->stop;
done_testing();
