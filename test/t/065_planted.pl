# A database where somebody who may create in public has planted operators and
# functions with closer argument types than PostgreSQL's own, and tables with our
# names: the extension is made, upgraded and used without calling one of them, and
# never takes what it did not make for its own.
use strict;
use warnings;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $node = PostgreSQL::Test::Cluster->new('planted');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'\nsales_assistant.workers = off\nfsync = off");
$node->start;
$node->safe_psql('postgres', 'CREATE ROLE planter');

# Each raises an error when it is called.
my $plant = q{
GRANT CREATE ON SCHEMA public TO planter;
SET SESSION AUTHORIZATION planter;
SET search_path = pg_catalog;
DO $$
DECLARE
    t record;
    raises CONSTANT text := ' LANGUAGE plpgsql IMMUTABLE AS ''BEGIN RAISE EXCEPTION $x$hijacked$x$; END''';
BEGIN
    FOR t IN SELECT o, l, r
             FROM unnest('{=,<>,~,!~,~~,!~~,<,>,<=,>=,||,-,->>,->,?,@>}'::text[]) o,
                  unnest('{varchar,name,text[],regclass,integer,jsonb,date,timestamptz,numeric,text,uuid,oid}'::text[]) l,
                  unnest('{text,varchar,name,integer,regclass,text[],bigint,uuid,interval,numeric}'::text[]) r
             WHERE NOT EXISTS (SELECT FROM pg_operator x WHERE x.oprname = o AND x.oprleft = l::regtype AND x.oprright = r::regtype)
    LOOP
        EXECUTE 'CREATE OR REPLACE FUNCTION public.hit(' || t.l || ', ' || t.r || ') RETURNS boolean' || raises;
        EXECUTE 'CREATE OPERATOR public.' || t.o || ' (LEFTARG = ' || t.l || ', RIGHTARG = ' || t.r || ', FUNCTION = public.hit)';
    END LOOP;
    FOR t IN SELECT f, l FROM unnest('{lower,upper,length,btrim,octet_length,cardinality,count,max,abs}'::text[]) f, unnest('{varchar,name,integer}'::text[]) l LOOP
        EXECUTE 'CREATE OR REPLACE FUNCTION public.' || t.f || '(' || t.l || ') RETURNS boolean' || raises;
    END LOOP;
    FOR t IN SELECT f, l, r FROM unnest('{format,left,strpos}'::text[]) f, unnest('{text,varchar}'::text[]) l, unnest('{regclass,text,varchar,name,integer}'::text[]) r LOOP
        EXECUTE 'CREATE OR REPLACE FUNCTION public.' || t.f || '(' || t.l || ', ' || t.r || ') RETURNS text' || raises;
    END LOOP;
END $$;
CREATE TABLE public.companies (company_id int);
CREATE TABLE public.prospects (company_id int);
RESET SESSION AUTHORIZATION;
};

# What the extension has made depends on nothing in public.
sub depends
{
	my ($database) = @_;
	return $node->safe_psql($database, q{SET search_path = pg_catalog;
SELECT count(*) FROM pg_depend d
WHERE (d.refclassid = 'pg_operator'::regclass AND d.classid <> 'pg_operator'::regclass AND d.refobjid IN (SELECT oid FROM pg_operator WHERE oprnamespace = 'public'::regnamespace))
   OR (d.refclassid = 'pg_proc'::regclass AND d.classid <> 'pg_operator'::regclass AND d.refobjid IN (SELECT oid FROM pg_proc WHERE pronamespace = 'public'::regnamespace))
   OR (d.refclassid = 'pg_extension'::regclass AND d.deptype = 'e' AND d.objid IN (SELECT oid FROM pg_class WHERE relnamespace = 'public'::regnamespace))});
}

sub used
{
	my ($database) = @_;
	return $node->safe_psql($database, q{
SELECT count(sales.create_company(name, domain, 'starter', 'en', 'UTC', email, 'secret-secret'))
FROM (VALUES ('Alpha', 'alpha.test', 'a@alpha.test'), ('Beta', 'beta.test', 'b@beta.test')) v (name, domain, email);
INSERT INTO sales.prospects (company_id, first_name, email) SELECT company_id, 'Ada', 'ada@x.test' FROM sales.companies;
SELECT bool_and(ok) FROM sales.test_isolation();
SET search_path = pg_catalog;
SELECT count(*) FROM sales.maintain() WHERE result LIKE 'failed%';
SELECT count(*) FROM sales.doctor() WHERE severity = 'error';});
}

$node->safe_psql('postgres', 'CREATE DATABASE fresh');
my ($rc, $out, $err) = $node->psql('fresh', $plant . "SET search_path = pg_catalog, public; SELECT 'x'::varchar ~ 'x'::text");
like($err, qr/hijacked/, 'what is planted is met by those who do not pin the path');
$node->safe_psql('fresh', 'CREATE EXTENSION sales_assistant');
is(depends('fresh'), '0', 'made: of PostgreSQL\'s own alone');
is(used('fresh'), "2\nt\n0\n0", 'and used');

$node->safe_psql('postgres', 'CREATE DATABASE upgraded');
$node->safe_psql('upgraded', "CREATE EXTENSION sales_assistant VERSION '1.0';");
$node->safe_psql('upgraded', $plant . 'ALTER EXTENSION sales_assistant UPDATE');
is(depends('upgraded'), '0', 'upgraded: of PostgreSQL\'s own alone');
is(used('upgraded'), "2\nt\n0\n0", 'and used');

# schemas of our names
for my $schema ('sales', 'sales_internal', 'sales_bi')
{
	$node->safe_psql('postgres', "CREATE DATABASE taken_$schema");
	$node->safe_psql("taken_$schema", "CREATE SCHEMA $schema AUTHORIZATION planter");
	($rc, $out, $err) = $node->psql("taken_$schema", 'CREATE EXTENSION sales_assistant');
	like($err, qr/schema "$schema" already exists/, "a schema $schema of somebody else's is not taken for ours");
}
$node->stop;
done_testing();
