# Memory does not grow with the file: an import of ten times the bytes needs as
# much private memory as the small one.  IMPORT_MB=1024 for the large file by hand.
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

# Runs an import; the most private memory of the process that imports, in MB.
sub peak
{
	my ($import, $rows) = @_;
	my $run = start_import($import);
	my $most = 0;
	my $state = '';
	my $looks = 0;
	until ($state =~ /done|failed/)
	{
		($state, my @pids) = split /\s+/, $node->safe_psql('postgres', "SELECT state FROM sales_internal.jobs WHERE job_id = '$run'; SELECT pid FROM pg_stat_activity WHERE backend_type = 'sales_assistant long job'");
		for (@pids)
		{
			next unless open my $status, '<', "/proc/$_/status";
			my ($kb) = join('', <$status>) =~ /^RssAnon:\s+(\d+)/m;
			$looks++ if $kb;
			$most = $kb if $kb && $kb > $most;
		}
		usleep(20_000);
	}
	is(told($run), "done|$rows|$rows|0|0", "its $rows rows are imported");
	cmp_ok($looks, '>', 5, 'and it was looked at meanwhile');
	return $most / 1024;
}

my $small = peak(upload(20));
my $big = peak(upload($large));
note(sprintf '20 MB: %.1f MB of memory; %d MB: %.1f MB', $small, $large, $big);
cmp_ok($big, '<', $small * 1.3 + 8, "$large MB need no more memory than 20 MB");
beta_has_nothing();
$node->stop;
done_testing();
