#!/usr/bin/python3
"""The worker: HTTP calls of 1 KB to a local server, all results settled in tables, against a bare curl-multi program.

Usage: worker.py [--calls 10000] [--rounds 5] [--delays 0,200] DBNAME

The server must be local and have the library preloaded; libpq's environment says where it is, as a superuser.
sales_assistant.allowed_hosts is set for the time of the bench.  Per delay of the server, the worker (settings at
their defaults, two companies, synchronous commits) and c/curl_floor.c, which does nothing with the answers, take turns;
medians.  A call counts only as one whose stored answer has status 200 and 1,024 bytes.  In each round a session also does what
the tables ask for and no more, in plain SQL: it claims as many jobs, 400 by a commit, stores an answer of 1 KB for each and ends
them.  Whoever makes calls and settles them in tables, in one process, takes the time of both: that is the floor.
"""
import argparse, os, statistics, subprocess, tempfile, time

import common

p = argparse.ArgumentParser()
p.add_argument("--calls", type=int, default=10000)
p.add_argument("--rounds", type=int, default=5)
p.add_argument("--delays", default="0,200", help="milliseconds, after which the server answers")
p.add_argument("database")
a = p.parse_args()
FLOOR_OPEN = {"0": 64}          # calls open at a time in the bare program: what is fastest for it
BATCH = 400                     # jobs that the worker claims or settles by one commit at most
WORKER_OPEN = 800               # the default of sales_assistant.max_calls
here = os.path.dirname(os.path.abspath(__file__))
tmp = tempfile.TemporaryDirectory()


def sql(text):
    return common.psql(a.database, text)


def prepare():
    for name, libraries in (("http_echo", []), ("curl_floor", ["-lcurl"])):
        subprocess.run(["cc", "-O2", "-o", f"{tmp.name}/{name}", f"{here}/c/{name}.c", *libraries], check=True)
    sql("""
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sales_assistant;
SELECT sales.create_company('Bench ' || n, 'bench' || n || '.test', 'business', 'en', 'UTC', 'a@bench' || n || '.test', NULL)
FROM generate_series(1, 2) n WHERE NOT EXISTS (SELECT FROM sales.companies);
DROP TABLE IF EXISTS bench_answers;
CREATE TABLE bench_answers (job uuid PRIMARY KEY, company uuid, status integer, body text, at timestamptz DEFAULT clock_timestamp());
CREATE OR REPLACE FUNCTION bench_prepare(job uuid, company uuid, args jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN RETURN args; END $$;
CREATE OR REPLACE FUNCTION bench_settle(job uuid, company uuid, args jsonb, response jsonb) RETURNS jsonb LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO public.bench_answers VALUES (job, company, (response ->> 'status')::integer, response ->> 'body');
    RETURN '{"outcome": "done"}';
END $$;
INSERT INTO sales_internal.job_kinds (kind, mode, prepare_function, settle_function, max_attempts)
VALUES ('bench', 'http', 'public.bench_prepare', 'public.bench_settle', 1) ON CONFLICT DO NOTHING;
CREATE OR REPLACE PROCEDURE bench_plain() LANGUAGE plpgsql AS $$
DECLARE
    jobs uuid[] := ARRAY(SELECT job_id FROM sales_internal.jobs WHERE kind = 'bench' ORDER BY company_id, job_id);
    ids uuid[];
    answer text := repeat('x', 1024);
BEGIN
    FOR nr IN 1 .. cardinality(jobs) BY %d LOOP
        ids := jobs[nr : nr + %d - 1];
        UPDATE sales_internal.jobs SET state = 'running', due = false, attempts = attempts + 1, claim = claim + 1,
               lease_until = now() + interval '2 minutes', error = NULL
        WHERE job_id = ANY (ids);
        COMMIT;
        INSERT INTO public.bench_answers SELECT u, NULL, 200, answer FROM unnest(ids) u;
        UPDATE sales_internal.jobs SET state = 'done', lease_until = NULL, finished_at = now(), booked = false WHERE job_id = ANY (ids);
        COMMIT;
    END LOOP;
END $$;
""" % (BATCH, BATCH))
    sql("ALTER SYSTEM SET sales_assistant.allowed_hosts = '127.0.0.1'")
    sql("SELECT pg_reload_conf(); SELECT sales.start_workers()")
    # nothing periodic in the middle
    sql("UPDATE sales_internal.periodic_tasks SET next_run = now() + interval '1 day'; SELECT sales_internal.wake_workers()")


def cpu(pid):
    with open(f"/proc/{pid}/stat") as f:
        fields = f.read().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def wait_until(condition):
    while sql(f"SELECT {condition}") != "t":
        time.sleep(0.1)


def clean():
    sql("DELETE FROM sales_internal.jobs WHERE kind = 'bench'; TRUNCATE bench_answers;")
    sql("VACUUM ANALYZE sales_internal.jobs")


def queue(url, calls, due):
    return f"""INSERT INTO sales_internal.jobs (company_id, kind, args, max_attempts, due, run_at)
SELECT company_id, 'bench', jsonb_build_object('url', '{url}'), 1, true, now() + '{due}' FROM sales.companies, generate_series(1, {calls // 2});
CHECKPOINT;"""


def by_worker(url, calls):
    """Seconds and CPU seconds of the worker for so many jobs, from the wake to the last settlement."""
    clean()
    wait_until("state = 'idle' FROM sales.worker_status WHERE database = current_database()")
    pid = int(sql("SELECT pid FROM sales.worker_status WHERE database = current_database()"))
    start = float(sql(queue(url, calls, "0") + f"""
SELECT extract(epoch FROM clock_timestamp()) FROM sales_internal.wake_workers();""").split()[-1])
    before = cpu(pid)
    wait_until("NOT EXISTS (SELECT FROM sales_internal.jobs WHERE kind = 'bench' AND state IN ('queued', 'running'))")
    used = cpu(pid) - before
    good, last = sql("SELECT count(*) FILTER (WHERE a.status = 200 AND length(a.body) = 1024 AND j.state = 'done'), "
                     "extract(epoch FROM max(a.at)) "
                     "FROM bench_answers a JOIN sales_internal.jobs j ON j.job_id = a.job").split("|")
    if int(good) != calls:
        raise SystemExit(f"{good} of {calls} calls were settled with status 200 and 1,024 bytes")
    return float(last) - start, used


def by_sql(calls):
    """The same of a session that only does what the tables ask for."""
    clean()
    sql(queue("http://127.0.0.1", calls, "1 day"))      # the worker leaves them alone
    session = common.Session(a.database)
    start = time.monotonic()
    used = session.cpu("CALL public.bench_plain()")
    seconds = time.monotonic() - start
    session.end()
    return seconds, used


def by_floor(url, calls, opened):
    """The same of the bare program."""
    out = subprocess.run([f"{tmp.name}/curl_floor", url, str(calls), str(opened)], text=True, capture_output=True, check=True)
    seconds, used, size = out.stdout.split()
    if int(size) != calls * 1024 or out.stderr:
        raise SystemExit(f"the bare program got {size} bytes: {out.stderr}")
    return float(seconds), float(used)


def measure(delay):
    server = subprocess.Popen([f"{tmp.name}/http_echo", delay], stdout=subprocess.PIPE, text=True)
    try:
        url = f"http://127.0.0.1:{server.stdout.readline().strip()}/bench"
        opened = FLOOR_OPEN.get(delay, WORKER_OPEN)
        by_worker(url, min(a.calls, 1000))      # plans are made, connections are there
        ours, floor, plain = [], [], []
        for _ in range(a.rounds):
            ours.append(by_worker(url, a.calls))
            floor.append(by_floor(url, a.calls, opened))
            plain.append(by_sql(a.calls))
    finally:
        server.kill()
        server.wait()
    rate, floor_rate, plain_rate = (a.calls / statistics.median(r[0] for r in runs) for runs in (ours, floor, plain))
    each, floor_each, plain_each = (1e6 * statistics.median(r[1] for r in runs) / a.calls for runs in (ours, floor, plain))
    both_rate = 1 / (1 / floor_rate + 1 / plain_rate)
    name = f"{a.calls} calls, server answers after {delay} ms"
    bare = f"bare curl-multi program, {opened} open"
    common.result(f"worker: {name}", rate, bare, floor_rate, "requests/s", rate / floor_rate, ">= 0.5" if delay == "0" else None)
    common.result(f"worker: {name}", rate, "the least that is aimed at", 2000, "requests/s", rate / 2000, ">= 1")
    common.result(f"worker: CPU of a call, {delay} ms", each, bare, floor_each, "CPU µs", each / floor_each)
    if delay == "0":
        common.result(f"worker: {name}", rate, "floor: the bare program, then plain SQL", both_rate, "requests/s", rate / both_rate)
        common.result(f"worker: CPU of a call, {delay} ms", each, f"floor: bare {floor_each:.0f} and plain SQL {plain_each:.0f}",
                      floor_each + plain_each, "CPU µs", each / (floor_each + plain_each))


prepare()
try:
    for delay in a.delays.split(","):
        measure(delay)
finally:
    sql("ALTER SYSTEM RESET sales_assistant.allowed_hosts")
    sql("SELECT pg_reload_conf()")
