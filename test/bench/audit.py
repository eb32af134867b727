#!/usr/bin/python3
"""Audit against the same writes without it, the least that a trigger in C can do, and a row trigger in PL/pgSQL.

usage: audit.py DBNAME      connects as psql does (PGHOST, PGPORT, PGUSER: a superuser)

Inserts, updates and deletes 100,000 addresses in one statement each, in turn
without audit, with it, with a trigger that only keeps as many rows of that size
(c/audit_floor.c), and with one that does the same in PL/pgSQL; 5 rounds.  Then single-row transactions in one session, 200 of a kind in turn, 50
rounds, so that whatever else the machine does meets all kinds alike.  Prints
the medians of the CPU time of the backend and the ratios to "without".  CPU, as
the writes to disk are the same machine's noise on every side; what is written
is part of it.  Last, what a pass of sealing costs for 10,000 new rows: in an empty
log, and beside 200,000 sealed ones, without statistics and with a transaction
open that was there before them.
"""
import os
import statistics
import subprocess
import sys
import tempfile

import common

DB = sys.argv[1]
ROUNDS = 5
ROWS = 100000
BATCH = 1000
BLOCK = 200
BLOCKS = 50
CLOCK = common.CPU_TICKS
NANOSECONDS = "\\! cut -d' ' -f1 /proc/$BACKEND/schedstat\n"


here = os.path.dirname(os.path.abspath(__file__))
tmp = tempfile.TemporaryDirectory()
os.chmod(tmp.name, 0o755)
FLOOR = f"{tmp.name}/audit_floor.so"
include = subprocess.run(["pg_config", "--includedir-server"], capture_output=True, text=True, check=True).stdout.strip()
subprocess.run(["cc", "-O2", "-Wall", "-Werror", "-fPIC", "-shared", f"-I{include}", "-o", FLOOR, f"{here}/c/audit_floor.c"], check=True)


def psql(sql):
    return common.psql(DB, sql).split()


psql("""
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sales_assistant;
SELECT sales.create_company('Bench', 'audit-bench.test', 'starter', 'en', 'UTC', 'a@audit-bench.test', 'bench-secret-1')
WHERE NOT EXISTS (SELECT FROM sales.companies WHERE domain = 'audit-bench.test');
CREATE TABLE IF NOT EXISTS bench_log (id uuid DEFAULT gen_random_uuid(), company uuid, who uuid, tab text, rec uuid, act text,
    old jsonb, new jsonb, at timestamptz DEFAULT now(), PRIMARY KEY (id, at));
CREATE INDEX IF NOT EXISTS bench_log_idx ON bench_log (company, at DESC);
CREATE OR REPLACE FUNCTION bench_audit() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE o jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END; n jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END; r record;
BEGIN
    r := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
    IF TG_OP = 'UPDATE' THEN
        SELECT jsonb_object_agg(a.key, a.value), jsonb_object_agg(b.key, b.value) INTO o, n
        FROM jsonb_each(o) a JOIN jsonb_each(n) b ON a.key = b.key AND a.value IS DISTINCT FROM b.value;
    END IF;
    INSERT INTO bench_log (company, who, tab, rec, act, old, new)
    VALUES (r.company_id, sales.current_user_id(), TG_TABLE_NAME, r.address_id, TG_OP, o, n);
    RETURN NULL;
END $$;
DROP TRIGGER IF EXISTS bench_audit ON sales.addresses;
CREATE TRIGGER bench_audit AFTER INSERT OR UPDATE OR DELETE ON sales.addresses FOR EACH ROW EXECUTE FUNCTION bench_audit();
DROP TABLE IF EXISTS bench_floor;
CREATE TABLE bench_floor (LIKE sales.audit_logs);
SELECT sales.set_tenant(company_id, user_id, false) FROM sales.users WHERE email = 'a@audit-bench.test' \g /dev/null
INSERT INTO sales.addresses (street_address, city, postal_code, country) VALUES ('50000 Main Street', 'City 50', '50000', 'FR');
UPDATE sales.addresses SET city = city || '!' WHERE street_address = '50000 Main Street';
DELETE FROM sales.addresses WHERE street_address = '50000 Main Street';
INSERT INTO bench_floor SELECT * FROM sales.audit_logs WHERE table_name = 'addresses' ORDER BY audit_id DESC LIMIT 3;
ALTER TABLE bench_floor ADD PRIMARY KEY (audit_id, created_at);
CREATE INDEX ON bench_floor (company_id, created_at DESC);
""" + f"""
CREATE OR REPLACE FUNCTION bench_floor() RETURNS trigger LANGUAGE c AS '{FLOOR}', 'audit_floor';
CREATE TRIGGER bench_floor AFTER INSERT OR UPDATE OR DELETE ON sales.addresses FOR EACH ROW EXECUTE FUNCTION bench_floor('bench_floor', '{BATCH}');
CREATE TRIGGER bench_floor_one AFTER INSERT ON sales.addresses FOR EACH ROW EXECUTE FUNCTION bench_floor('bench_floor', '1');
""")

TRIGGERS = ("audit", "bench_audit", "bench_floor", "bench_floor_one")


def only(trigger):
    return "".join(f"ALTER TABLE sales.addresses {'ENABLE' if t == trigger else 'DISABLE'} TRIGGER {t};" for t in TRIGGERS) + "\n"


VARIANTS = {"without": only(None), "audit": only("audit"), "floor": only("bench_floor"), "PL/pgSQL": only("bench_audit")}
SINGLE = VARIANTS | {"floor": only("bench_floor_one")}
ENTER = """SELECT sales.set_tenant(company_id, user_id, false) FROM sales.users WHERE email = 'a@audit-bench.test' \\g /dev/null
""" + common.SET_BACKEND
# The first statement of a kind pays for caches: some rows go before.  Plans made for them are forgotten: the foreign
# key's look-up in a table of 1,000 rows is a sequential scan, and would stay one for each of 100,000.
BULK = ENTER + f"""INSERT INTO sales.addresses (street_address, city) SELECT 'warm', 'up' FROM generate_series(1, {BATCH});
UPDATE sales.addresses SET city = 'x' WHERE street_address = 'warm';
DELETE FROM sales.addresses WHERE street_address = 'warm';
DISCARD PLANS;
{CLOCK}INSERT INTO sales.addresses (street_address, city, postal_code, country)
SELECT g || ' Main Street', 'City ' || g % 100, g % 90000, 'FR' FROM generate_series(1, {ROWS}) g;
{CLOCK}UPDATE sales.addresses SET city = city || '!' WHERE company_id = sales.current_company_id();
{CLOCK}DELETE FROM sales.addresses WHERE company_id = sales.current_company_id();
{CLOCK}"""
ADD = "INSERT INTO sales.addresses (street_address, city) VALUES ('1 Main Street', 'Paris');\n"
ONE = ENTER + "".join(setup + ADD * 3 + NANOSECONDS + ADD * BLOCK + NANOSECONDS for setup in SINGLE.values()) * BLOCKS + """
DELETE FROM sales.addresses WHERE company_id = sales.current_company_id();
"""
times = {name: {what: [] for what in ("insert", "update", "delete", "single row")} for name in VARIANTS}
for _ in range(ROUNDS):
    for name, setup in VARIANTS.items():
        psql(setup + "TRUNCATE bench_log;\nVACUUM sales.addresses;")
        marks = list(map(int, psql(BULK)))
        for what, before, after in zip(("insert", "update", "delete"), marks, marks[1:]):
            times[name][what].append((after - before) * 10)
marks = list(map(int, psql(ONE)))
for i, name in enumerate(list(VARIANTS) * BLOCKS):
    times[name]["single row"].append((marks[2 * i + 1] - marks[2 * i]) / BLOCK / 1000)
psql(only("audit") + "DROP TRIGGER bench_audit ON sales.addresses; DROP TRIGGER bench_floor ON sales.addresses; "
     "DROP TRIGGER bench_floor_one ON sales.addresses; DROP FUNCTION bench_audit, bench_floor; DROP TABLE bench_log, bench_floor;")

AIMS = {"insert": "<= 2.0", "update": "<= 1.6", "delete": "<= 9", "single row": "<= 1.15"}
OTHERS = {"floor": "the least of a trigger in C", "PL/pgSQL": "the same by a PL/pgSQL trigger"}
for what, aim in AIMS.items():
    median = {name: statistics.median(times[name][what]) for name in VARIANTS}
    rows, unit = ("a single-row transaction", "CPU µs") if what == "single row" else (f"{what} of {ROWS} rows", "CPU ms")
    common.result(f"audit: {rows}", median["audit"], "without audit", median["without"], unit, median["audit"] / median["without"], aim)
    for name, text in OTHERS.items():
        common.result(f"{text}: {rows}", median[name], "without audit", median["without"], unit, median[name] / median["without"])

# --- sealing ---

SEALED, FRESH = 200000, 10000


def passes():
    """CPU ms of passes over FRESH new rows, which are taken out of the next one's way: a minute's rows are looked at again."""
    admin = common.Session(DB)
    admin.run("SET session_replication_role = replica")
    start = admin.run("SELECT sales.uuidv7()")[0]
    add = "INSERT INTO sales.audit_logs (company_id, action) SELECT company_id, 'create' FROM sales.companies, generate_series(1, {}) WHERE domain = 'audit-bench.test'"
    for _ in range(2):          # the first passes of a database look at everything
        admin.run(add.format(1))
        admin.run("SELECT sales_internal.seal_audit()")
    cpu = []
    for _ in range(ROUNDS):
        admin.run(add.format(FRESH))
        cpu.append(admin.cpu("SELECT sales_internal.seal_audit()") * 1000)
        admin.run(f"DELETE FROM sales.audit_logs WHERE audit_id > '{start}'")
        admin.run(f"DELETE FROM sales_internal.audit_seals WHERE last_id > '{start}'")
    admin.end()
    return statistics.median(cpu)


psql("""SELECT sales.stop_workers() \\g /dev/null
SET session_replication_role = replica;
TRUNCATE sales.audit_logs, sales_internal.audit_seals, sales_internal.audit_sealing;""")
empty = passes()
open_for_long = common.Session(DB)
open_for_long.run("BEGIN")
open_for_long.run("INSERT INTO sales.products (company_id, name) SELECT company_id, 'open' FROM sales.companies WHERE domain = 'audit-bench.test'")
# with ids of two hours ago
psql(f"""SET session_replication_role = replica;
INSERT INTO sales.audit_logs (audit_id, company_id, action)
SELECT (lpad(to_hex((extract(epoch FROM now() - interval '2 hours') * 1000)::bigint), 12, '0') || '7000' || lpad(to_hex(g), 16, '0'))::uuid, company_id, 'create'
FROM sales.companies, generate_series(1, {SEALED}) g WHERE domain = 'audit-bench.test';
SELECT sales_internal.seal_audit(NULL, true) \\g /dev/null""")
beside = passes()
open_for_long.run("ROLLBACK")
open_for_long.end()
common.result(f"sealing {FRESH} new audit rows beside {SEALED}, a transaction open", beside, "in an empty log", empty, "CPU ms", beside / empty)
