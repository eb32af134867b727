# What the pages tell users to type is typed here, in the order in which it stands: the
# five minutes of the README, then each block ```sql and ```sh of docs/, page by
# page, in the same database.  A table that a page shows is what psql prints, but for the day.
#   A block that begins with "-- as the DBA" is a superuser's, "-- as LOGIN" that login's; others are
# the application's, logged in as Ada of Alpha, with psql's variables as %known sets them.
#   What pages name in `backquotes` is there: functions, relations, settings and their defaults, files.
use strict;
use warnings;
use File::Basename;
use File::Spec;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $root = File::Spec->rel2abs(dirname(__FILE__) . '/../..');
my $dir = PostgreSQL::Test::Utils::tempdir();
my %page = map { basename($_, '.md') => slurp_file($_) } "$root/README.md", grep { !/reference/ } glob("$root/docs/*.md");

my $node = PostgreSQL::Test::Cluster->new('docs');
$node->init;
$node->append_conf('postgresql.conf', <<"CONF");
shared_preload_libraries = 'sales_assistant'
max_worker_processes = 16
# nobody answers: an address is "unknown" wherever this runs
sales_assistant.dns_servers = '127.0.0.1:1'
CONF
$node->start;
$node->safe_psql('postgres', 'CREATE DATABASE sales');

# Statements of a block, as they are typed, and the tables that follow them.
sub read_block
{
	my ($block) = @_;
	my ($typed, @tables) = ('');
	while ($block =~ /\G(.*?(?:;[ \t]*(?:--[^\n]*)?|\\(?:gset|c|set|copy|gx)\b[^\n]*)\n)((?:[ -](?!-)[^\n]*\n|-{4}[^\n]*\n)*)/gcs)
	{
		my ($lines, $table) = ($1, $2);
		$typed .= $lines;
		push @tables, $table if $table =~ /\S/;
	}
	$typed .= $1 if $block =~ /\G(.*)\z/gcs;
	return ($typed, @tables);
}

sub plain
{
	my ($text) = @_;
	$text =~ s/\b20\d\d-\d\d-\d\d\b/a day/g;
	$text =~ s/ +$//mg;
	return $text;
}

# Types it, and looks for the tables in what is printed.
sub type
{
	my ($name, $typed, @tables) = @_;
	my $script = "$dir/$name.sql";
	append_to_file($script, "\\pset footer off\n$typed");
	my ($out, $err) = run_command([ 'psql', '-X', '-d', $node->connstr('sales'), '-f', $script ]);
	unlike($err, qr/ERROR|FATAL|PANIC|WARNING|error:/, "$name: no error");
	$out = plain($out);
	my $at = 0;
	for my $table (map { plain($_) } @tables)
	{
		my $found = index($out, $table, $at);
		cmp_ok($found, '>=', 0, "$name: psql prints " . (split /\n/, $table)[0]) or diag("the page has\n$table\nand psql printed\n$out");
		$at = $found + length($table) if $found >= 0;
	}
}

# --- the README's five minutes, in a new database ---
my ($minutes) = $page{README} =~ /^## Five minutes\n(.*?)^## /ms or die 'README.md has no five minutes';
my ($typed, @tables) = ('');
my @blocks = $minutes =~ /^```sql\n(.*?)^```$/msg;
for my $i (0 .. $#blocks)
{
	my ($lines, @shown) = read_block($blocks[$i]);
	# the README says \c between the first block and the second
	$typed .= $lines . ($i ? '' : "\\c - app\n");
	push @tables, @shown;
}
cmp_ok(scalar(@tables), '>=', 7, 'the README shows tables');
# a machine under load may take its time
$typed =~ s/'5 seconds'/'60 seconds'/ or die 'nothing waits for the job';
type('README', $typed, @tables);
delete $page{README};
$node->safe_psql('postgres', 'CREATE DATABASE elsewhere');
$node->safe_psql('elsewhere', 'CREATE EXTENSION sales_assistant');

# --- the pages ---
my %known = (
	prospect => q{SELECT prospect_id AS prospect, company_id AS company FROM sales.prospects WHERE email = 'grace@navy.example'},
);
my %logins = ('the DBA' => $ENV{USER} // getpwuid($<), app => 'app');
# Blocks that need what is not here, and what tries them.
my %elsewhere = ('sql on a cluster' => { citus => 2 });    # t/710_citus
my %kinds = map { $_ => 1 } qw(sql sh text json conf);

sub login_of
{
	my ($block) = @_;
	return $block =~ /\A-- as ([\w ]+)/ ? $logins{$1} // $1 : 'app';
}

append_to_file("$dir/export.csv", "First Name,Last Name,Email\nMary,Jackson,mary\@nasa.example\nNobody,,not an address\n");
chdir $dir or die $dir;
my %away;
# (privacy erases the person that the others are about)
for my $name (sort { ($a eq 'privacy') <=> ($b eq 'privacy') || $a cmp $b } keys %page)
{
	my ($typed, @tables) = ('');
	my $login = '';
	while ($page{$name} =~ /^```(\w[^\n]*)?\n(.*?)^```$/msg)
	{
		my ($kind, $block) = ($1 // '', $2);
		$block =~ s{/var/lib/postgresql\b}{$dir}g;
		$block =~ s/'1 minute'/'3 minutes'/;
		$block =~ s/host 'db.alpha.example', port '5432'/host '@{[ $node->host ]}', port '@{[ $node->port ]}'/;
		if ($elsewhere{$kind})
		{
			$away{$kind}{$name}++;
			next;
		}
		ok($kinds{$kind}, "$name: a block of kind $kind") or next;
		if ($kind eq 'sh')
		{
			# what was typed before comes first
			type($name, $typed, @tables) if $typed;
			($typed, @tables) = ('');
			$login = '';
			local $ENV{PGHOST} = $node->host;
			local $ENV{PGPORT} = $node->port;
			my ($out, $err) = run_command([ 'sh', '-e', '-c', $block ]);
			is($err, '', "$name: no error of the shell");
		}
		next if $kind ne 'sql';
		if (login_of($block) ne $login)
		{
			$login = login_of($block);
			$typed .= "\\c - $login\n";
			$typed .= "SELECT sales.use_session(sales.login('alpha.example', 'ada\@alpha.example', 'a long password'), false) \\g $dir/null\n"
			  . join('', map { "$known{$_} \\gset\n" } sort keys %known) if $login eq 'app';
		}
		my ($lines, @shown) = read_block($block);
		$typed .= "\\echo @@@\n$lines\\t off\n";
		push @tables, @shown;
	}
	type($name, $typed, @tables) if $typed;
}
is_deeply(\%away, \%elsewhere, 'what is not typed here is what needs a cluster');

# --- each page says what it cannot do; what pages name is there ---
for my $name (sort grep { $_ ne 'faq' } keys %page)
{
	ok($page{$name} =~ /\A# [^\n]+\n\n(?!```|\||#).*^## Limits/ms, "$name: what it is for, and its limits");
}

my %is = map { $_ => 1 } split /\n/, $node->safe_psql('sales', q{
SELECT n.nspname || '.' || x.name FROM pg_namespace n, LATERAL (
    SELECT proname AS name FROM pg_proc WHERE pronamespace = n.oid UNION SELECT relname FROM pg_class WHERE relnamespace = n.oid
    UNION SELECT typname FROM pg_type WHERE typnamespace = n.oid) x WHERE n.nspname LIKE 'sales%'
UNION SELECT proname FROM pg_proc UNION SELECT name FROM pg_settings
UNION SELECT key FROM sales_internal.setting_defaults});
my %default = map { split /\|/, $_, 2 } split /\n/, $node->safe_psql('sales', q{
SELECT key, coalesce(value, 'none') FROM sales_internal.setting_defaults
UNION ALL SELECT name, coalesce(nullif(replace(current_setting(name), ' ', ''), ''), 'empty') FROM pg_settings WHERE name LIKE 'sales\_assistant.%' AND source = 'default'});
my $categories = join '|', map { /^(\w+)\./ } keys %default;
# a setting that is not shown, files, functions of C, of tests, and of those who write a kind of job
$is{$_} = 1 for qw(sales_assistant.carried sales_assistant.control sales_assistant.key sales_assistant.c
  spi_run helpers.try prepare settle);
my $checked = 0;
for my $file (qw(README.md CONTRIBUTING.md src/README.md sql/README.md test/README.md), map { "docs/$_.md" } sort keys %page)
{
	my $text = slurp_file("$root/$file");
	my (@bad, @named);
	push @named, $1 while $text =~ /\b((?:sales|sales_internal|sales_bi)\.[a-z_0-9]+)/g;
	push @named, $1 while $text =~ /\b(sales_assistant\.[a-z_]{2,})\b(?!-)/g;
	for my $quoted ($text =~ /(?<!`)`([^`\n]+)`/g)
	{
		push @named, $1 if $quoted =~ /^((?:helpers\.)?[a-z_0-9]+)\(/;
		push @named, $1 if $quoted =~ /^((?:$categories)\.[a-z_]+)$/o;
		# files: from the root, or below test/, or a test by its name
		push @bad, $quoted
		  if $quoted =~ m{^(?:test|src|sql|scripts|docs|demo|specs|t|bench)/[\w./]+$}
		  && $quoted !~ m{NAME|/(?:NN_)?domain\.sql$}
		  && !grep { -e $_ } map { ("$root/$_", glob("$root/$_.*")) } $quoted, "test/$quoted";
	}
	push @bad, grep { !$is{$_} && !/^citus_/ } @named;
	push @bad, grep { !/^http/ && !-e dirname("$root/$file") . "/$_" } $text =~ /\]\(([^)#]+)\)/g;
	while ($text =~ /^\| `?([a-z_]+\.[a-z_0-9]+)`? \| `?([^`|]*?)`? \|/mg)
	{
		my ($name, $said) = ($1, $2);
		next if !defined $default{$name} || $said =~ / /;
		push @bad, "$name is $default{$name}" if $said ne $default{$name};
	}
	$checked += @named;
	is(join(' ', @bad), '', "$file: what it names is there");
}
cmp_ok($checked, '>', 300, 'names were looked at');
$node->stop;
done_testing();
