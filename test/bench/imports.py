#!/usr/bin/python3
"""import_csv() of 100,000 rows against plain COPY into the same table with its indexes.

usage: imports.py DBNAME      connects as psql does (PGHOST, PGPORT, PGUSER: a superuser)

Both sides fill an empty table with the same 100,000 people of one company.  COPY
reads ready columns into a copy of sales.prospects (LIKE ... INCLUDING ALL: the
same columns, constraints and indexes, no triggers, no foreign keys); import_csv()
reads the file as a CRM exports it: mapping, checks, duplicates, matching,
tenant checks, foreign keys, metrics' marks, audit.  Alternated, 5 rounds,
medians of wall time and of the backends' CPU time, and their ratios.
"""
import os
import statistics
import sys
import tempfile

import common

DB = sys.argv[1]
ROUNDS = int(os.environ.get("ROUNDS", "5"))
ROWS = 100_000


def psql(sql):
    return common.psql(DB, sql)


def measured(before, statement):
    """Milliseconds of wall and CPU time of one statement in a session of its own."""
    clock = common.CPU_TICKS
    out = psql("SET client_min_messages = warning;\n" + common.SET_BACKEND + before + clock + "SELECT clock_timestamp() AS t0 \\gset\n" + statement
               + "\nSELECT extract(epoch FROM clock_timestamp() - :'t0'::timestamptz) * 1000;\n" + clock).split("\n")
    return float(out[-2]), (float(out[-1]) - float(out[-3])) * 10


def files(folder):
    export, ready = f"{folder}/export.csv", f"{folder}/ready.csv"
    company = psql("SELECT company_id FROM sales.companies WHERE domain = 'import.bench'")
    with open(export, "w") as e, open(ready, "w") as r:
        e.write("First Name,Last Name,Email,Phone Number,Job Title,Company Name,Website URL,LinkedIn URL,Notes\n")
        for i in range(ROWS):
            values = [f"First{i % 977}", f"Last{i}", f"user{i}@company{i % 5000}.com", f"+33 6 {i // 10000:02d} {i // 100 % 100:02d} {i % 100:02d} {i % 90 + 10}",
                      f"Manager {i % 50}", f"Company {i % 5000}", f"https://www.company{i % 5000}.com",
                      f"https://www.linkedin.com/in/user{i}", f'"Met at fair {i % 100}, wants a call"']
            e.write(",".join(values) + "\n")
            r.write(f"{company}," + ",".join(values) + ",import_csv\n")
    for name in (export, ready):
        os.chmod(name, 0o644)
    os.chmod(folder, 0o755)
    return export, ready


psql("""
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sales_assistant;
SELECT sales.create_company('Import', 'import.bench', 'enterprise', 'en', 'UTC', 'a@import.bench', NULL)
WHERE NOT EXISTS (SELECT FROM sales.companies WHERE domain = 'import.bench');
SELECT sales.stop_workers();
DO $$
BEGIN   -- a worker that is still at it would meet the TRUNCATEs below
    WHILE EXISTS (SELECT FROM pg_stat_activity WHERE datname = current_database() AND backend_type LIKE 'sales_assistant%') LOOP
        PERFORM pg_sleep(0.1), pg_stat_clear_snapshot();
    END LOOP;
END
$$;
DROP TABLE IF EXISTS bench_prospects;
CREATE TABLE bench_prospects (LIKE sales.prospects INCLUDING ALL);
""")
COLUMNS = "company_id, first_name, last_name, email, phone, job_title, company_name, website, linkedin_url, notes, source"
times = {"copy": [], "import": []}
with tempfile.TemporaryDirectory() as folder:
    export, ready = files(folder)
    for _ in range(ROUNDS):
        psql("TRUNCATE bench_prospects")
        times["copy"].append(measured("", f"COPY bench_prospects ({COLUMNS}) FROM '{ready}' (FORMAT csv);"))
        psql("SET client_min_messages = warning; SET session_replication_role = replica; TRUNCATE sales.prospects CASCADE; TRUNCATE sales_internal.import_changes, sales.audit_logs;")
        times["import"].append(measured(
            "SELECT sales.set_tenant(company_id, NULL, false) FROM sales.companies WHERE domain = 'import.bench';\n",
            f"SELECT sales.import_csv(pg_read_file('{export}')) AS run \\gset"))
    done = psql("SELECT rows_inserted FROM sales.import_runs ORDER BY started_at DESC LIMIT 1")
assert done == str(ROWS), f"only {done} rows were imported"
psql("DROP TABLE bench_prospects")

for i, what in enumerate(("wall", "CPU")):
    copy = statistics.median(t[i] for t in times["copy"])
    ours = statistics.median(t[i] for t in times["import"])
    common.result(f"import_csv() of {ROWS} rows", ours, "COPY", copy, f"{what} ms", ours / copy, "<= 4")
