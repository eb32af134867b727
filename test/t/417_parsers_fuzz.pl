# The parsers of bytes from outside by themselves, under AddressSanitizer and
# UndefinedBehaviorSanitizer: seeds with random changes; make fuzz runs longer.
use strict;
use warnings;
use PostgreSQL::Test::Utils;
use Test::More;
use File::Temp qw(tempdir);

my $dir = tempdir(CLEANUP => 1);
my @parsers = qw(csv fields cron mustache mail address page answer url dns sealed model);
for my $parser (@parsers)
{
	local %ENV = (%ENV, ROUNDS => $parser eq 'mail' ? 20 : 200, WORK => $dir, TARGETS => $parser);
	delete @ENV{qw(MAKEFLAGS MAKELEVEL LD_PRELOAD)};
	my $said = `scripts/fuzz.sh 2>&1`;
	like($said, qr/^$parser: [1-9]\d* inputs$/m, "$parser: every input is read or refused, and no memory is touched that is not its own") or diag($said);
}
done_testing();
