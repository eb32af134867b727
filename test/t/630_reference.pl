# docs/reference.md is what COMMENTs, settings and defaults say: make reference
# writes it anew (REFERENCE_OUT names the file).
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('reference');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'");
$node->start;
$node->safe_psql('postgres', 'CREATE EXTENSION sales_assistant');

my $text = "# Reference\n\nMade from the COMMENTs by `make reference`; do not edit.\n\n## Functions of schema `sales`\n\n";
$text .= $node->safe_psql('postgres', q{
SELECT format(E'- `%s(%s)` → `%s`%s\n  %s', p.proname, pg_get_function_arguments(p.oid), pg_get_function_result(p.oid),
    coalesce(' — ' || (SELECT string_agg(a.grantee::regrole::text, ', ' ORDER BY a.grantee::regrole::text) FROM aclexplode(p.proacl) a WHERE a.grantee <> p.proowner), ''),
    obj_description(p.oid, 'pg_proc'))
FROM pg_proc p WHERE p.pronamespace = 'sales'::regnamespace ORDER BY p.proname COLLATE "C", pg_get_function_identity_arguments(p.oid) COLLATE "C"});
for my $schema ('sales', 'sales_bi')
{
	$text .= "\n\n## Tables and views of schema `$schema`\n\n" . $node->safe_psql('postgres', qq{
SELECT format(E'### `%s`\\n%s\\n\\n%s\\n', c.relname, obj_description(c.oid, 'pg_class'),
    (SELECT string_agg(format('- `%s` %s: %s', a.attname, format_type(a.atttypid, a.atttypmod), col_description(c.oid, a.attnum)), E'\\n' ORDER BY a.attnum)
     FROM pg_attribute a WHERE a.attrelid = c.oid AND a.attnum > 0 AND NOT a.attisdropped))
FROM pg_class c WHERE c.relnamespace = '$schema'::regnamespace AND c.relkind IN ('r', 'p', 'v') AND NOT c.relispartition ORDER BY c.relname COLLATE "C"});
}
$text .= "\n\n## Settings of the server (`postgresql.conf`, `ALTER SYSTEM`, `ALTER ROLE`)\n\n" . $node->safe_psql('postgres', q{
SELECT format(E'- `%s` (%s, default `%s`): %s %s', name, context, boot_val, short_desc, extra_desc) FROM pg_settings WHERE name LIKE 'sales\_assistant.%' ORDER BY name COLLATE "C"});
$text .= "\n\n## Settings of companies (`sales.system_settings`, read with `sales.setting()`)\n\n" . $node->safe_psql('postgres', q{
SELECT format(E'- `%s` (default %s): %s', key, coalesce('`' || value || '`', 'none'), description) FROM sales_internal.setting_defaults ORDER BY key COLLATE "C"});
$text .= "\n";
$text =~ s/ +$//mg;
$text =~ s/\n{3,}/\n\n/g;
$node->stop;

if ($ENV{REFERENCE_OUT})
{
	open(my $out, '>', $ENV{REFERENCE_OUT}) or die "$ENV{REFERENCE_OUT}: $!";
	print $out $text;
	close $out;
}
ok($text eq slurp_file($ENV{REFERENCE_OUT} || 'docs/reference.md'), 'docs/reference.md is up to date; if not: make reference');
done_testing();
