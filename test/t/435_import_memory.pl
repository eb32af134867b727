# Memory does not grow with the file: the last fifth of it needs no more private
# memory than the first.  IMPORT_MB=1024 for a larger file by hand.
use strict;
use warnings;
use lib 'test/servers';
use ImportTest;
use PostgreSQL::Test::Utils;
use Test::More;
use Time::HiRes qw(usleep);

my $large = $ENV{IMPORT_MB} || 200;
my $node = new_node('import_memory', "shared_buffers = '64MB'\nmax_wal_size = '4GB'\nfsync = off");
my $rows_a_part = 2000;

# A file of that many MB, in parts of four; its import and its rows.
sub upload
{
	my ($mb) = @_;
	my $parts = int(($mb + 3) / 4);
	my $id = sprintf '00000000-0000-7000-8000-%012d', $mb;
	$node->safe_psql('postgres', "SELECT be('alpha'); INSERT INTO sales.import_uploads (upload_id, part, company_id, name, content)
SELECT '$id', p, sales.current_company_id(), 'f.csv', convert_to(CASE WHEN p = 1 THEN E'email,last name,notes\\n' ELSE '' END || (
    SELECT string_agg(format(E'u%s.$mb\@mem.test,N%s,\"%s\"\\n', i, i, repeat(md5(i::text), 62)), '' ORDER BY i)
    FROM generate_series((p - 1) * $rows_a_part + 1, p * $rows_a_part) i), 'UTF8')
FROM generate_series(1, $parts) p");
	cmp_ok($node->safe_psql('postgres', "SELECT sum(octet_length(content)) / 1048576 FROM sales.import_uploads"), '>=', $mb * 0.9, "a file of about $mb MB");
	return (set_up('csv', qq({"upload_id": "$id"})), $parts * $rows_a_part);
}

# Runs an import; the most private memory of the process that imports, in MB, while it
# is in the first fifth of the rows, and in the last.
sub peaks
{
	my ($import, $rows) = @_;
	my $run = start_import($import);
	my ($first, $last, $looks) = (0, 0, 0);
	my $state = '';
	until ($state =~ /done|failed/)
	{
		($state, my $read, my @pids) = split /\s+/, $node->safe_psql('postgres', "SELECT state FROM sales_internal.jobs WHERE job_id = '$run'; SELECT rows_read FROM sales.import_runs WHERE run_id = '$run'; SELECT pid FROM pg_stat_activity WHERE backend_type = 'sales_assistant long job'");
		for (@pids)
		{
			next unless open my $status, '<', "/proc/$_/status";
			my ($kb) = join('', <$status>) =~ /^RssAnon:\s+(\d+)/m;
			next unless $kb;
			$looks++;
			$first = $kb if $read < $rows / 5 && $kb > $first;
			$last = $kb if $read >= $rows * 4 / 5 && $kb > $last;
		}
		usleep(20_000);
	}
	is(told($run), "done|$rows|$rows|0|0", "its $rows rows are imported");
	cmp_ok($looks, '>', 5, 'and it was looked at meanwhile');
	return ($first / 1024, $last / 1024);
}

my ($first, $last) = peaks(upload($large));
note(sprintf '%d MB: %.1f MB of memory in the first fifth, %.1f MB in the last', $large, $first, $last);
cmp_ok($last, '<', $first * 1.3 + 8, "$large MB need no more memory in the end than at the beginning");
beta_has_nothing();
$node->stop;
done_testing();
