# Many answers are settled by one commit.  One of them that goes wrong has all of it
# undone and taken apart: the others are settled, once each, by no further attempt and
# no further call.  A commit takes no more than 4 MB of answers.
use strict;
use warnings;
use File::Basename;
use lib dirname(__FILE__) . '/../servers';
use Peers;
use PostgreSQL::Test::Cluster;
use PostgreSQL::Test::Utils;
use Test::More;

my $peer = start_peer(PostgreSQL::Test::Utils::tempdir() . '/peer');
my $url = "http://127.0.0.1:$peer->{http}";
my $node = probe_node('batches', qq{
sales_assistant.allowed_hosts = '127.0.0.1:$peer->{http}'
sales_assistant.turn_timeout = 0
autovacuum = off
});
sub sql { return $node->safe_psql('postgres', $_[0]); }
sub until_true { $node->poll_query_until('postgres', $_[0]) or diag("not so: $_[0]\n" . sql('SELECT kind, state, attempts, error, count(*) FROM sales_internal.jobs GROUP BY 1, 2, 3, 4')); return; }
# How the peer was asked, or has answered, so far.
sub noted { my ($file) = @_; return scalar(split /\n/, slurp_file("$peer->{dir}/$file")); }

# A sequence counts what is undone, too.  What was written by one subtransaction has one xmin.
# A "gate" holds up the worker, in which answers arrive meanwhile; further ones let it read them.
sql(q{
CREATE SEQUENCE turns;
CREATE TABLE gates (is_open boolean);
INSERT INTO gates VALUES (false);
CREATE TABLE named (name text PRIMARY KEY DEFERRABLE INITIALLY DEFERRED);
INSERT INTO named VALUES ('taken');
CREATE OR REPLACE FUNCTION probe_settle(job uuid, company uuid, args jsonb, response jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	PERFORM nextval('public.turns');
	INSERT INTO public.probed VALUES (job, company, response);
	CASE args ->> 'tag'
		WHEN 'throws' THEN RAISE 'this one cannot be settled';
		-- this shows at the commit alone
		WHEN 'at commit' THEN INSERT INTO public.named VALUES ('taken');
		-- by a session, meanwhile
		WHEN 'cancelled' THEN WHILE (SELECT state = 'running' FROM sales_internal.jobs WHERE job_id = job) LOOP PERFORM pg_sleep(0.01); END LOOP;
		ELSE NULL;
	END CASE;
	RETURN '{"outcome": "done"}';
END $$;
CREATE OR REPLACE FUNCTION probe_prepare(job uuid, company uuid, args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	PERFORM nextval('public.turns');
	IF args ->> 'tag' = 'no request' THEN RAISE 'this one has no request'; END IF;
	RETURN args - 'tag';
END $$;
CREATE FUNCTION gate(job uuid, company uuid, args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
	WHILE NOT (SELECT is_open FROM public.gates) LOOP PERFORM pg_sleep(0.02); END LOOP;
	RETURN '{}';
END $$;
INSERT INTO sales_internal.job_kinds (kind, mode, prepare_function) VALUES ('gate', 'sql', 'public.gate');
-- what fails is not tried again
UPDATE sales_internal.job_kinds SET max_attempts = 1 WHERE kind = 'probe';});

# Calls whose answers all arrive while the worker is held up, so that it finds them at once: so many of each company,
# and one for each tag.  Each has a table of its own answers after it.
sub arrive_together
{
	my ($n, $bytes, @tags) = @_;
	unlink "$peer->{dir}/release";
	sql(q{TRUNCATE probed; DELETE FROM sales_internal.jobs; UPDATE gates SET is_open = false});
	my $asked = noted('requests') + 2 * $n + @tags;
	sql(qq{SELECT sales_internal.enqueue('probe', company_id, '{"url": "$url/held/$bytes"}') FROM sales.companies, generate_series(1, $n)});
	sql(qq{SELECT sales_internal.enqueue('probe', company_id, '{"url": "$url/held/$bytes", "tag": "$_"}') FROM sales.companies WHERE name = 'Alpha'}) for @tags;
	wait_for(sub { noted('requests') == $asked });
	# the calls' own transactions are over
	until_true(q{SELECT state = 'calling' FROM sales.worker_status WHERE database = current_database()});
	sql(q{SELECT sales_internal.enqueue('gate', company_id) FROM sales.companies, generate_series(1, 10) WHERE name = 'Beta'});
	until_true(q{SELECT count(*) = 1 FROM pg_stat_activity WHERE backend_type = 'sales_assistant worker' AND wait_event = 'PgSleep'});
	append_to_file("$peer->{dir}/release", '');
	wait_for(sub { noted('answers') == $asked });
	sql('ALTER SEQUENCE turns RESTART');
	sql('UPDATE gates SET is_open = true');
	sql(q{UPDATE sales_internal.jobs SET state = 'cancelled', finished_at = now(), lease_until = NULL WHERE args ->> 'tag' = 'cancelled'});
	until_true(q{SELECT count(*) = 0 FROM sales_internal.jobs WHERE state IN ('queued', 'running')});
	is(noted('requests'), $asked, 'each call was made once');
	return;
}
# After a batch that was undone the next few are taken apart at once.
sub one_by_one
{
	for my $n (1 .. 9)
	{
		my $job = sql(qq{SELECT sales_internal.enqueue('probe', company_id, '{"url": "$url/ok"}') FROM sales.companies WHERE name = 'Beta'});
		until_true("SELECT state = 'done' FROM sales_internal.jobs WHERE job_id = '$job'");
	}
	return;
}
sub good { return sql(q{SELECT count(*), count(DISTINCT job), max(attempts), count(DISTINCT company_id) FROM probed JOIN sales_internal.jobs ON job_id = job AND args ->> 'tag' IS NULL AND state = 'done'}); }
sub batches { return sql('SELECT count(DISTINCT xmin::text) FROM probed'); }

# --- all good ---
arrive_together(20, 100);
is(good(), '40|40|1|2', 'all are settled');
is(batches(), '1', 'by one subtransaction');
is(sql('SELECT last_value FROM turns'), '40', 'each once');

# --- one that cannot be settled, in one way or another ---
for my $case (
	# it is taken with those before it, then all are apart
	[ 'throws', 82, 'failed|this one cannot be settled' ],
	# all are taken together, then apart, then by a transaction each
	[ 'at commit', 123, 'failed|duplicate key value violates unique constraint "named_pkey"' ],
	# the same, but that in the end it is not called; or less, where waiting for it took a second
	[ 'cancelled', 122, 'cancelled|' ])
{
	my ($tag, $turns, $end) = @$case;
	arrive_together(20, 100, $tag);
	is(good(), '40|40|1|2', "$tag: all others are settled, once each and at the first attempt");
	is(batches(), '40', "$tag: each by a subtransaction of its own");
	cmp_ok(sql('SELECT last_value FROM turns'), $tag eq 'at commit' ? '==' : '<=', $turns, "$tag: after they were undone");
	cmp_ok(sql('SELECT last_value FROM turns'), '>', 41, "$tag: as they were");
	is(sql(q{SELECT count(*) FROM probed JOIN sales_internal.jobs ON job_id = job WHERE args ->> 'tag' IS NOT NULL}), '0', "$tag: nothing of it is left");
	is(sql(q{SELECT state, error FROM sales_internal.jobs WHERE args ->> 'tag' IS NOT NULL}), $end, "$tag: it has ended, and says why");
	is(sql(q{SELECT count(*) FROM named}), '1', "$tag: what it wrote elsewhere is undone, too");
	one_by_one();
}

# --- one for which no request can be made, in a claim of many ---
sql('TRUNCATE probed; DELETE FROM sales_internal.jobs; ALTER SEQUENCE turns RESTART');
my $before = noted('requests');
sql(qq{SELECT sales_internal.enqueue('probe', company_id, jsonb_build_object('url', '$url/ok', 'tag', CASE WHEN n = 10 AND name = 'Alpha' THEN 'no request' END))
	FROM sales.companies, generate_series(1, 20) n});
until_true(q{SELECT count(*) = 0 FROM sales_internal.jobs WHERE state IN ('queued', 'running')});
is(sql(q{SELECT state, attempts, error, count(*) FROM sales_internal.jobs GROUP BY 1, 2, 3 ORDER BY 1}), "done|1||39\nfailed|1|this one has no request|1", 'the others are done, at the first attempt');
is(noted('requests') - $before, 39, 'by one call each');
cmp_ok(sql('SELECT last_value FROM turns'), '>', 40 + 39, 'after their claim was undone and made again');
one_by_one();

# --- 4 MB ---
arrive_together(190, 15_000);
is(good(), '380|380|1|2', 'answers of 5.7 MB are settled');
note('in batches of ' . sql(q{SELECT string_agg(n::text, ' + ' ORDER BY n DESC) FROM (SELECT count(*) AS n FROM probed GROUP BY xmin::text) b}));
is(sql('SELECT max(bytes) BETWEEN 2000000 AND 4 * 1024 * 1024 + 15000 FROM (SELECT sum(length(response ->> \'body\')) AS bytes FROM probed GROUP BY xmin::text) b'), 't',
	'many by one commit, but of no more than 4 MB');

$node->stop;
stop_peers();
done_testing();
