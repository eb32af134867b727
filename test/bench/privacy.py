#!/usr/bin/python3
"""What it costs writers that nothing is stored about erased persons: rows with and without the trigger keep_erased.

usage: privacy.py DBNAME      connects as psql does (PGHOST, PGPORT, PGUSER: a superuser)

Inserts an interaction for each of 20,000 prospects in one statement and changes the texts of all, in turn with and
without the trigger, 7 rounds.  Prints the medians of the backend's CPU time for a row, and the ratio.
"""
import statistics
import sys

import common

ROWS = 20000
ROUNDS = 7
DB = sys.argv[1]
common.psql(DB, f"""
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sales_assistant;
SELECT sales.stop_workers();
SELECT sales.create_company('Bench', 'privacy-bench.test', 'starter', 'en', 'UTC', 'a@privacy-bench.test', 'bench-secret-1');
INSERT INTO sales.prospects (company_id, first_name, email) SELECT company_id, 'P' || g, 'p' || g || '@x.test'
FROM sales.companies, generate_series(1, {ROWS}) g WHERE domain = 'privacy-bench.test';
""")
common.psql(DB, "VACUUM (ANALYZE) sales.prospects")
session = common.Session(DB)
times = {what: {"on": [], "off": []} for what in ("insert", "update")}
for round in range(ROUNDS + 1):
    for state, command in ("on", "ENABLE"), ("off", "DISABLE"):
        session.run(f"TRUNCATE sales.interactions CASCADE; ALTER TABLE sales.interactions {command} TRIGGER keep_erased")
        insert = session.cpu("""INSERT INTO sales.interactions (company_id, prospect_id, channel, type, content, interaction_date)
            SELECT company_id, prospect_id, 'email', 'sent', 'hello', now() FROM sales.prospects""")
        update = session.cpu("UPDATE sales.interactions SET content = 'hello again'")
        if round > 0:           # the first pays for caches
            times["insert"][state].append(insert)
            times["update"][state].append(update)
session.run("ALTER TABLE sales.interactions ENABLE TRIGGER keep_erased")
session.end()
for what, by in times.items():
    on, off = (statistics.median(by[state]) / ROWS * 1e6 for state in ("on", "off"))
    common.result(f"{what} of an interaction, erased persons kept so", on, "without", off, "CPU µs", on / off)
