# The keys of a cluster on their way, without a cluster: boxes that another
# implementation of src/distribute/key_exchange.c has made are opened, and those of
# share_key() are opened by it.  A function in the place of Citus's sends statements
# back to the server itself and keeps what was sent.  (On a cluster: 710_citus.)
use strict;
use warnings;
use File::Basename;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $program = dirname(__FILE__) . '/../servers/key_box.py';
plan skip_all => 'python3-cryptography is absent' if system('/usr/bin/python3 -c "import cryptography" 2>/dev/null') != 0;

my $node = PostgreSQL::Test::Cluster->new('key_exchange');
$node->init;
$node->append_conf('postgresql.conf', "shared_preload_libraries = 'sales_assistant'\nsales_assistant.workers = off\nlog_statement = all\nfsync = off");
$node->start;
sub sql { return $node->safe_psql('postgres', $_[0]); }
sub box { my $out = qx(/usr/bin/python3 $program @_ 2>&1); chomp $out; return $? == 0 ? $out : "status " . ($? >> 8); }
sub hex_of { return join '', map { sprintf '%02x', int rand 256 } 1 .. $_[0]; }
sub take { return sql("SELECT sales_internal.take_key('$_[0]')"); }

sql('CREATE EXTENSION sales_assistant');
my $public = sql('SELECT sales_internal.exchange_key()');
my ($master) = slurp_file($node->data_dir . '/sales_assistant.key') =~ /^([0-9a-f]{64})/;
my $file = $node->data_dir . '/sales_assistant.key.cluster.' . sql("SELECT oid FROM pg_database WHERE datname = 'postgres'");
sub kept { return -e $file ? slurp_file($file) : ''; }

# --- taking ---
is($public, box('public', $master), 'the public key is that of the master key');
is(sql('SELECT sales_internal.key_fingerprint() IS NULL'), 't', 'no keys before');
my $keys = hex_of(32) . hex_of(32);
my $box = box('seal', $public, $keys);
my $others = box('seal', box('public', hex_of(32)), $keys);
# (of the public key X25519 itself leaves out the highest bit, in digit 62)
for my $place ([ 'public key', 3 ], [ 'public key, the bit that is left out,', 62 ], [ 'tag', 70 ], [ 'first key', 100 ], [ 'last key', length($box) - 1 ])
{
	my $changed = $box;
	substr($changed, $place->[1], 1) =~ tr/0-9a-f/89a-f0-7/;
	is(take($changed), 'f', "a box with a digit of its $place->[0] changed is not opened");
}
is(take($others), 'f', 'nor one for another node');
is(take('00' x 32 . substr($box, 64)), 'f', 'nor one from a point that agrees with everybody on zero');
is(take('01' . '00' x 31 . substr($box, 64)), 'f', 'nor from another such point');
is(take(substr($box, 0, 96)), 'f', 'nor one without keys');
is(take(substr($box, 0, -2)), 'f', 'nor one that was cut off');
is(take($box . '00'), 'f', 'nor one with more at its end');
is(take($box . hex_of(32 * 15)), 'f', 'nor one with more keys than there can be');
is(take(substr($box, 1)), 'f', 'nor one of half a byte');
is(take(''), 'f', 'nor none');
isnt($node->psql('postgres', "SELECT sales_internal.take_key('zz')"), 0, 'what is not hexadecimal is an error');
is(kept(), '', 'none of them has left a key');
is(take("$others,$box"), 't', 'the box that is for this node is found among those of others');
is(kept(), join("\n", unpack('(A64)*', $keys), ''), 'its keys are in the file');
is(sprintf('%o', (stat $file)[2] & 07777), '600', 'which nobody else can read');
is(take($others), 'f', 'a box for another node');
is(kept(), join("\n", unpack('(A64)*', $keys), ''), 'changes nothing');

# --- sharing ---
sql(q{
SET allow_system_table_mods = on;
CREATE TABLE public.sent (n serial, statement text);
CREATE FUNCTION pg_catalog.run_command_on_workers(command text, OUT nodename text, OUT nodeport int, OUT success boolean, OUT result text)
RETURNS SETOF record LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.sent (statement) VALUES (command);
    nodename := 'here'; nodeport := 1; success := true;
    EXECUTE replace(command, 'sales_internal.key_fingerprint()', '''0123''') INTO result;
    RETURN NEXT;
    -- one that answers what no node of ours would, one that is away
    result := '|' || repeat('z', 64); RETURN NEXT;
    result := NULL; RETURN NEXT;
    success := false; result := 'no connection'; RETURN NEXT;
END $$;
});
my $log = -s $node->logfile;
is(sql('SELECT sales_internal.share_key()'), 1, 'a worker that has other keys is sent them; those that answer strangely are passed over');
my ($sent) = sql('SELECT statement FROM public.sent ORDER BY n DESC LIMIT 1') =~ /take_key\('([0-9a-f]+)'\)/;
my $in_file = kept() =~ s/\n//gr;
is(box('open', $master, $sent), $in_file, 'what is sent opens with the key of the worker that it is for');
is(substr($in_file, 0, 64), substr($keys, 0, 64), 'and is the key of before');
isnt(substr($in_file, 64), substr($keys, 64), 'with the audit keys of now');
is(box('open', hex_of(32), $sent), 'status 1', 'not with that of another');
sql('SELECT sales_internal.share_key()');
my ($again) = sql('SELECT statement FROM public.sent ORDER BY n DESC LIMIT 1') =~ /take_key\('([0-9a-f]+)'\)/;
is(box('open', $master, $again), $in_file, 'the same keys are sent again');
isnt(substr($again, 0, 64), substr($sent, 0, 64), 'by a key that is used once');
my $words = slurp_file($node->logfile, $log);
is(scalar(grep { index($words, $_) >= 0 } $master, unpack('(A64)*', $in_file)), 0, 'no key stands in the log of statements');

# --- who may ---
sql('CREATE ROLE operator LOGIN IN ROLE sales_admin, sales_app; GRANT USAGE ON SCHEMA sales_internal TO operator; GRANT EXECUTE ON ALL FUNCTIONS IN SCHEMA sales_internal TO operator');
for my $call ("take_key('$box')", 'share_key()')
{
	my ($rc, $out, $err) = $node->psql('postgres', "SELECT sales_internal.$call", extra_params => [ '-U', 'operator' ]);
	like($err, qr/only superusers handle the keys of a cluster/, "no other than a superuser calls $call, whatever was granted");
}
is(kept() =~ s/\n//gr, $in_file, 'the keys are as they were');

$node->stop;
done_testing();
