# Each line that docs/operations.md promises of the server's log is written when what it tells of happens, and not before.
use strict;
use warnings;
use File::Basename;
use lib dirname(__FILE__) . '/../servers';
use Peers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $dir = PostgreSQL::Test::Utils::tempdir();
my $node = PostgreSQL::Test::Cluster->new('log_lines');
$node->init;
$node->append_conf('postgresql.conf', qq{
shared_preload_libraries = 'sales_assistant'
sales_assistant.key_file = '$dir/master.key'
max_worker_processes = 16
log_statement = none
});
$node->start;
my $super = $node->safe_psql('postgres', 'SELECT current_user');
sub sql { return $node->safe_psql($_[1] // 'postgres', $_[0]); }

my %promised = map { $_ => 1 } slurp_file('docs/operations.md') =~ /^\| `((?:sales_assistant: |wrong passwords|nothing is stored)[^`]*)` \|/mg;
cmp_ok(scalar(keys %promised), '>=', 14, 'the page promises lines');
my %seen;

# Has it written, with these things in place of the dots, and once?
sub logs
{
	my ($line, $from, @things) = @_;
	ok(delete $promised{$line} || $seen{$line}, "promised: $line");
	$seen{$line} = 1;
	my $pattern = join '', map { $_ eq '...' ? shift(@things) // '.*' : quotemeta } split /(\.\.\.)/, $line;
	my $log = eval { $node->wait_for_log(qr/(?:LOG|WARNING):  $pattern/, $from) };
	ok(defined $log, "written: $pattern") or diag(substr(slurp_file($node->logfile, $from), -3000));
	my @times = slurp_file($node->logfile, $from) =~ /(?:LOG|WARNING):  $pattern\n/g;
	is(scalar(@times), 1, 'once');
	return;
}
sub here { return -s $node->logfile; }

# --- workers ---
my $at = here();
sql(q{CREATE EXTENSION sales_assistant});
logs('sales_assistant: the worker of database "..." has started', $at, 'postgres');
$at = here();
is(sql('SELECT sales.stop_workers()'), 't', 'the worker is stopped');
logs('sales_assistant: the worker of database "..." has stopped', $at, 'postgres');

sql(probe_sql() . q{SELECT sales.create_company(n, lower(n) || '.test', 'business', 'fr', 'Europe/Paris', 'a@' || lower(n) || '.test', 'secret-secret') FROM unnest('{Alpha,Beta}'::text[]) n;
INSERT INTO sales.prospects (company_id, first_name, email) SELECT company_id, 'Ada', 'ada@client.example' FROM sales.companies;
CREATE ROLE app LOGIN IN ROLE sales_app});
my %company = map { split /\|/ } split /\n/, sql('SELECT lower(name), company_id FROM sales.companies');

# --- breakers: by what note_calls() is told, as the worker tells it ---
my $notes = q{SELECT sales_internal.note_calls('{probe}', '{""}', '{%s}', '{0}', '{"the server answered 503"}')};
my $none = '00000000-0000-0000-0000-000000000000';
$at = here();
sql(sprintf $notes, 'false') for 1 .. 4;
unlike(slurp_file($node->logfile, $at), qr/left alone/, 'four failures are not five');
sql(sprintf $notes, 'false') for 1 .. 3;
logs('sales_assistant: service "..." is left alone for a while (key ...)', $at, 'probe', $none);
$at = here();
sql(sprintf $notes, 'true') for 1 .. 2;
logs('sales_assistant: service "..." answers again (key ...)', $at, 'probe', $none);
$at = here();
sql(sprintf $notes, $_) for 'false', 'true';
unlike(slurp_file($node->logfile, $at), qr/sales_assistant: service/, 'one failure is not worth a line');

# --- partitions, retention ---
$at = here();
sql(q{INSERT INTO sales.interactions (company_id, prospect_id, channel, type, interaction_date) SELECT company_id, prospect_id, 'email', 'sent', '2020-05-05' FROM sales.prospects;
SELECT sales_internal.make_partition('interactions', '2020-05-05')});
logs('sales_assistant: partition ... is there, ... rows have moved into it', $at, 'interactions_2020_q2', '2');
sql(q{INSERT INTO sales_internal.jobs (company_id, kind, state, finished_at, created_at) SELECT company_id, 'probe', 'done', now() - interval '1 year', now() - interval '1 year' FROM sales.companies});
$at = here();
sql('SELECT sales_internal.apply_retention()');
logs('sales_assistant: retention removed {...}', $at, '"jobs": 2');

# --- guesses, exports, erased persons ---
$at = here();
$node->psql('postgres', q{SELECT sales.login('alpha.test', 'a@alpha.test', 'wrong')}, extra_params => [ '-U', 'app' ]) for 1 .. 6;
logs('wrong passwords for ...: guesses have to wait', $at, quotemeta 'alpha.test/a@alpha.test');
$at = here();
sql('COPY sales.products TO STDOUT; COPY (SELECT email FROM sales.prospects) TO STDOUT');
logs('sales_assistant: COPY of ... rows out of ... by ...', $at, '2', 'prospects', ".*$super.*");
$at = here();
$node->psql('postgres', 'COPY (SELECT email, 1 / (CASE first_name WHEN $$Ada$$ THEN 0 END) FROM sales.prospects) TO STDOUT');
logs('sales_assistant: COPY out of ... by ... failed, rows may have gone out', $at, 'prospects', ".*$super.*");
my $person = sql("SELECT prospect_id FROM sales.prospects WHERE company_id = '$company{alpha}'");
sql("SELECT sales.set_tenant(u.company_id, u.user_id, false) FROM sales.users u WHERE u.email = 'a\@alpha.test'; SELECT sales.gdpr_erase('$person', 'request')");
$at = here();
sql("INSERT INTO sales.interactions (company_id, prospect_id, channel, type, content) VALUES ('$company{alpha}', '$person', 'email', 'sent', 'Dear Ada')");
logs('nothing is stored about prospect ...: the person was erased', $at, $person);

# --- the master key, companies ---
append_to_file("$dir/new.key", join('', map { sprintf '%02x', int rand 256 } 1 .. 32) . "\n");
chmod 0600, "$dir/new.key";
$at = here();
sql("SELECT sales.rotate_master_key('$dir/new.key')");
logs('sales_assistant: the master key is ... now, by "..."', $at, sql('SELECT (sales_internal.key_names())[1]'), $super);
logs('sales_assistant: nothing is sealed under a former master key any more', $at);
sql("CREATE TABLE moved AS SELECT * FROM sales.export_company('$company{beta}')");
$at = here();
sql("SELECT sales.delete_company('$company{beta}')");
logs('sales_assistant: company ... was removed by ...', $at, $company{beta}, $super);
$at = here();
sql("SELECT sales.import_company('moved')");
logs('sales_assistant: company ... was imported by ...', $at, $company{beta}, $super);

is(join("\n", sort keys %promised), '', 'no line is promised that was not seen');
$node->stop;
done_testing();
