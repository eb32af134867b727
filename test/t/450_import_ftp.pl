# A folder of a real FTP server (vsftpd, as the tests' own user): each file once,
# names of any kind, a pattern, what is not there.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;
use File::Temp qw(tempdir);
use IPC::Run;

plan skip_all => 'vsftpd is needed' unless -x '/usr/sbin/vsftpd';
my $port = PostgreSQL::Test::Cluster::get_free_port();
my $dir = tempdir(CLEANUP => 1);
mkdir "$dir/$_" for qw(root root/leads empty);
append_to_file("$dir/root/leads/a.csv", "email,last name\nf1\@ftp.test,A\n");
append_to_file("$dir/root/leads/b \xC3\xA9 #1.csv", "email,last name\nf2\@ftp.test,B\nbad,C\n");
append_to_file("$dir/root/leads/caf\xE9 \xC3.csv", "email,last name\nf5\@ftp.test,E\n");
append_to_file("$dir/root/leads/readme.txt", 'no leads');
chmod 0555, "$dir/root";
my $me = getpwuid($>);
append_to_file("$dir/vsftpd.conf", join("\n", 'listen=YES', 'listen_address=127.0.0.1', "listen_port=$port", 'run_as_launching_user=YES',
	'anonymous_enable=YES', 'no_anon_password=YES', "anon_root=$dir/root", 'local_enable=NO', 'background=NO', 'seccomp_sandbox=NO',
	"secure_chroot_dir=$dir/empty", "vsftpd_log_file=$dir/log", "ftp_username=$me") . "\n");
my ($out, $err) = ('', '');
my $server = IPC::Run::start([ '/usr/sbin/vsftpd', "$dir/vsftpd.conf" ], '>', \$out, '2>', \$err);

my $node = PostgreSQL::Test::Cluster->new('import_ftp');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'\nsales_assistant.allowed_hosts = '127.0.0.1:$port'\n");
$node->start;
$node->safe_psql('postgres', q{
CREATE EXTENSION sales_assistant;
SELECT sales.create_company(n, lower(n) || '.test', 'starter', 'fr', 'Europe/Paris', 'boss@' || lower(n) || '.test', 'secret-secret') FROM unnest('{Alpha,Beta}'::text[]) n;
CREATE FUNCTION be(who text) RETURNS void LANGUAGE sql AS $$
    SELECT sales.set_tenant(c.company_id, u.user_id, false) FROM sales.companies c JOIN sales.users u USING (company_id) WHERE c.domain = who || '.test' $$;
});
sub as { return (split /\n/, $node->safe_psql('postgres', "SELECT be('$_[0]'); SET ROLE sales_app; $_[1]"))[-1] // ''; }
sub import_of
{
	my ($path) = @_;
	return as('alpha', qq{INSERT INTO sales.import_jobs (name, source_type, source_config) VALUES ('ftp', 'ftp',
		'{"protocol": "ftp", "host": "127.0.0.1", "port": $port, "path": "$path", "username": "anonymous", "password": "alpha\@x.test", "tls": "optional"}') RETURNING import_job_id});
}
sub run_import
{
	my ($import) = @_;
	my $run = as('alpha', "SELECT sales.run_import('$import')");
	$node->poll_query_until('postgres', "SELECT state IN ('done', 'failed') FROM sales_internal.jobs WHERE job_id = '$run'");
	return as('alpha', "SELECT status, rows_read, rows_inserted, rows_unchanged, rows_rejected FROM sales.import_runs WHERE run_id = '$run'");
}
my $folder = import_of('/leads/');
is(run_import($folder), 'done|4|3|0|1', 'the files of a folder that fit the pattern are imported, also where a name is not in UTF-8');
is(as('alpha', "SELECT count(*) FROM sales.prospects WHERE email = 'f5\@ftp.test'"), '1', 'whose bytes are asked for as they are');
is(as('alpha', 'SELECT source_name, row_number FROM sales.import_rejects'), "b \xC3\xA9 #1.csv|3", 'a reject names its file');
is(run_import($folder), 'done|0|0|0|0', 'a file is taken once');
append_to_file("$dir/root/leads/c.csv", "email\nf3\@ftp.test\n");
is(run_import($folder), 'done|1|1|0|0', 'a new one is taken');
my $single = import_of('/leads/a.csv');
is(run_import($single), 'done|1|0|1|0', 'a single file');
is(run_import($single), 'done|0|0|0|0', 'is taken once');
append_to_file("$dir/root/leads/a.csv", "f4\@ftp.test,D\n");
is(run_import($single), 'done|2|1|1|0', 'and again when it has changed');
like(run_import(import_of('/leads/none.csv')), qr/^failed\|0/, 'what is not there fails the run');
is(as('beta', 'SELECT (SELECT count(*) FROM sales.prospects), (SELECT count(*) FROM sales.import_runs)'), '0|0', 'the other company has none of it');
$node->stop;
$server->kill_kill;
done_testing();
