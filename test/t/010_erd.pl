# Reads the requirement itself (erd.md) and compares every entity, attribute,
# type, enum label, key, index, partitioning and constraint with the catalogue.
use strict;
use warnings;
use utf8;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $shared = $ENV{SHARED_DATA} || '../shared/data';
my $path = "$shared/../erd.md";
plan skip_all => "erd.md is absent (looked for $path)" unless -r $path;

open(my $fh, '<:encoding(UTF-8)', $path) or die "$path: $!";
my @lines = <$fh>;
close $fh;

# --- the requirement ---
my (%entities, @order, $entity, $indexes, $checks);
for my $line (@lines)
{
	if ($line =~ /^##\s+\S+\s+\*\*([A-Z_]+)\*\*/)
	{
		$entity = lc $1;
		push @order, $entity;
	}
	elsif ($line =~ /^##\s/)
	{
		$entity = undef;
	}
	elsif ($line =~ /^\*\*Attributs/ && $entity && $entities{$entity})
	{
		# a second list without a heading: design.md names it
		$entity = 'templates';
		push @order, $entity;
	}
	elsif ($entity && $line =~ /^-\s+`(\w+)`\s*:\s*(.+?)\s*$/)
	{
		my ($column, $rest) = ($1, $2);
		my ($type) = $rest =~ /^([A-Z]+(?:\([^)]*\))?)/;
		push @{ $entities{$entity} },
		  {
			column => $column,
			type => $type,
			pk => ($rest =~ /\(PK\)/ ? 1 : 0),
			fk => ($rest =~ /\(FK → (\w+)\)/ ? lc $1 : undef)
		  };
	}
}
my $text = join '', @lines;
my @indexes = $text =~ /CREATE INDEX (\w+ ON \w+\([^)]*\))/g;
my @added = $text =~ /ALTER TABLE (\w+ ADD COLUMN \w+ \w+)/g;
my @constraints = $text =~ /ALTER TABLE (\w+ ADD CONSTRAINT \w+)/g;
my @partitioned = $text =~ /^-- ([A-Z_]+) partizionato per/mg;

is(scalar @order, 24, 'erd.md describes 24 entities');
is(scalar @indexes, 8, 'erd.md names 8 indexes');
is(scalar @constraints, 2, 'erd.md names 2 constraints');
is(scalar @partitioned, 3, 'erd.md partitions 3 tables');

# --- the product ---
my $node = PostgreSQL::Test::Cluster->new('erd');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION sales_assistant');

sub one
{
	my ($sql) = @_;
	return $node->safe_psql('postgres', $sql);
}

my %fixed = (
	UUID => 'uuid',
	TEXT => 'text',
	TIMESTAMP => 'timestamp with time zone',
	BOOLEAN => 'boolean',
	INTEGER => 'integer',
	JSON => 'jsonb',
	DATE => 'date');

for my $name (@order)
{
	my $rel = "'sales.$name'::regclass";
	for my $attribute (@{ $entities{$name} })
	{
		my ($column, $type) = ($attribute->{column}, $attribute->{type});
		my $got = one(
			"SELECT format_type(atttypid, atttypmod) FROM pg_attribute
			 WHERE attrelid = $rel AND attname = '$column' AND NOT attisdropped");
		if ($type =~ /^ENUM\((.*)\)$/)
		{
			my $want = join ',', split /\s*,\s*/, $1;
			my $labels = one(
				"SELECT string_agg(enumlabel, ',' ORDER BY enumsortorder) FROM pg_attribute a
				 JOIN pg_enum e ON e.enumtypid = a.atttypid
				 WHERE attrelid = $rel AND attname = '$column'");
			is($labels, $want, "$name.$column is the enum ($want)");
		}
		else
		{
			my ($base, $arg) = $type =~ /^([A-Z]+)(?:\(([^)]*)\))?$/;
			my $want =
				$base eq 'VARCHAR' ? "character varying($arg)"
			  : $base eq 'DECIMAL' ? "numeric($arg)"
			  : $fixed{$base};
			is($got, $want, "$name.$column is $type");
		}
		if ($attribute->{pk})
		{
			is( one("SELECT a.attname FROM pg_constraint c
					 JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = c.conkey[1]
					 WHERE c.conrelid = $rel AND c.contype = 'p'"),
				$column, "$name: primary key starts with $column");
		}
		if (my $target = $attribute->{fk})
		{
			my $there = one(
				"SELECT count(*) FROM pg_constraint c
				 JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = ANY (c.conkey)
				 WHERE c.conrelid = $rel AND c.contype = 'f' AND a.attname = '$column'
				   AND c.confrelid = 'sales.$target'::regclass");
			cmp_ok($there, '>=', 1, "$name.$column references $target");
		}
	}
}

for my $index (@indexes)
{
	my ($iname, $table, $columns) = $index =~ /^(\w+) ON (\w+)\(([^)]*)\)$/;
	my $def = one("SELECT pg_get_indexdef(to_regclass('sales.$iname'))");
	$def =~ s/^.* USING btree //;
	is($def, "($columns)", "index $iname");
	is( one("SELECT indrelid::regclass FROM pg_index WHERE indexrelid = to_regclass('sales.$iname')"),
		"sales.$table", "index $iname is on $table");
}
for my $add (@added)
{
	my ($table, $column) = $add =~ /^(\w+) ADD COLUMN (\w+)/;
	is( one("SELECT format_type(atttypid, atttypmod) || attnotnull FROM pg_attribute
			 WHERE attrelid = 'sales.$table'::regclass AND attname = '$column'"),
		'timestamp with time zonefalse', "$table.$column");
}
for my $constraint (@constraints)
{
	my ($table, $cname) = $constraint =~ /^(\w+) ADD CONSTRAINT (\w+)/;
	is( one("SELECT contype FROM pg_constraint WHERE conrelid = 'sales.$table'::regclass AND conname = '$cname'"),
		'c', "check constraint $cname on $table");
}
for my $table (map { lc } @partitioned)
{
	is( one("SELECT partstrat FROM pg_partitioned_table WHERE partrelid = 'sales.$table'::regclass"),
		'r', "$table is partitioned by range");
	is( one("SELECT count(*) FROM pg_partitioned_table
			 WHERE partrelid = 'sales.$table'::regclass AND partdefid <> 0"),
		'1', "$table has a default partition");
}

# --- what design.md adds to it ---
is( one(q{SELECT string_agg(attname, ',' ORDER BY attnum) FROM pg_attribute
		  WHERE attrelid = 'sales.roles'::regclass AND attnum > 0 AND NOT attisdropped}),
	'role_id,company_id,name,description,permissions,is_system,created_at',
	'roles has the columns of design.md');
is( one(q{SELECT string_agg(c.relname, ',' ORDER BY 1) FROM pg_class c
		  WHERE relnamespace = 'sales'::regnamespace AND relkind IN ('r', 'p') AND NOT relispartition
			AND relname NOT IN ('company_sizes', 'industries', 'providers')
			AND NOT EXISTS (SELECT FROM pg_attribute a WHERE attrelid = c.oid AND attname = 'company_id'
							AND (attnotnull OR c.relname IN ('system_settings', 'score_models')))}),
	'', 'every tenant table has a company_id that is not null');
is( one(q{SELECT string_agg(conrelid::regclass || '.' || conname, ',') FROM pg_constraint c
		  WHERE contype = 'f' AND connamespace = 'sales'::regnamespace
			AND EXISTS (SELECT FROM pg_attribute WHERE attrelid = confrelid AND attname = 'company_id')
			AND NOT EXISTS (SELECT FROM pg_attribute WHERE attrelid = conrelid AND attnum = ANY (conkey)
							AND attname = 'company_id')}),
	'', 'every foreign key between tenant tables carries company_id');
is( one(q{SELECT count(*) FROM sales.industries}), '21', 'the 21 sections of NACE are seeded');
is( one(q{SELECT count(*) FROM sales.company_sizes}), '5', '5 size ranges are seeded');

# --- every object is commented ---
is( one(q{SELECT string_agg(pg_describe_object(d.classid, d.objid, 0), '; ')
		  FROM pg_depend d
		  WHERE d.deptype = 'e' AND d.refobjid = (SELECT oid FROM pg_extension WHERE extname = 'sales_assistant')
			AND d.classid IN ('pg_class'::regclass, 'pg_proc'::regclass, 'pg_type'::regclass, 'pg_namespace'::regclass)
			AND obj_description(d.objid, d.classid::regclass::name) IS NULL
			AND NOT (d.classid = 'pg_type'::regclass AND EXISTS (
				SELECT FROM pg_type t WHERE t.oid = d.objid AND (t.typelem <> 0 OR t.typrelid <> 0 OR t.typtype = 'm')))
			AND NOT (d.classid = 'pg_class'::regclass AND EXISTS (
				SELECT FROM pg_class c WHERE c.oid = d.objid AND c.relkind IN ('S', 'i', 'I', 'c', 't')))}),
	'', 'every table, view, function, type and schema has a comment');
is( one(q{SELECT string_agg(c.oid::regclass || '.' || a.attname, ', ' ORDER BY 1)
		  FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid
		  WHERE c.relnamespace::regnamespace::text IN ('sales', 'sales_bi') AND c.relkind IN ('r', 'p', 'v')
			AND NOT c.relispartition AND a.attnum > 0 AND NOT a.attisdropped
			AND col_description(c.oid, a.attnum) IS NULL}),
	'', 'every column of tables and views has a comment');

$node->stop;
done_testing();
