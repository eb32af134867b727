#!/usr/bin/python3
"""What the platform's own work costs with many companies: 1,000 of them, and a tenth of that beside it.

usage: tenants.py [--companies 1000] [--prospects 20] DBNAME

Connects as psql does (PGHOST, PGPORT, PGUSER: a superuser).  Makes the companies by create_company(), gives each
prospects, interactions over 400 days, a stage and an audit log of it all; then times what the platform does for all of
them and what one company does among them, in the backend's CPU time, first with a tenth of the companies, then with all.  What grows with
the companies should grow tenfold at most; what is one company's not at all.
"""
import argparse

import common

p = argparse.ArgumentParser()
p.add_argument("--companies", type=int, default=1000)
p.add_argument("--prospects", type=int, default=20)
p.add_argument("database")
a = p.parse_args()
s = common.Session(a.database)
s.run("SET client_min_messages = warning")
s.run("CREATE EXTENSION IF NOT EXISTS sales_assistant")
s.run("SELECT sales.stop_workers()")
s.run("CREATE ROLE tenants_bench LOGIN IN ROLE sales_app")
app = common.Session(a.database, "tenants_bench")


def grow(first, last):
    """Companies first .. last, each in a transaction of its own, as they come."""
    made = 0
    for n in range(first, last + 1):
        password = "'bench-secret-1'" if n == first else "NULL"
        made += s.cpu(f"SELECT sales.create_company('C{n}', 'c{n}.test', 'business', 'en', 'Europe/Paris', 'a@c{n}.test', {password})")
    new = f"sales.companies c WHERE substr(c.name, 2)::int BETWEEN {first} AND {last}"
    s.run(f"""INSERT INTO sales.prospects (company_id, first_name, last_name, email, notes)
        SELECT c.company_id, 'F' || g, 'L' || g, 'p' || g || '@' || c.domain, 'a note' FROM generate_series(1, {a.prospects}) g, {new}""")
    s.run(f"""INSERT INTO sales.interactions (company_id, prospect_id, channel, type, interaction_date)
        SELECT p.company_id, p.prospect_id, 'email', 'sent', now() - random() * interval '400 days' FROM sales.prospects p JOIN {new.replace('WHERE', 'USING (company_id) WHERE')}""")
    s.run(f"""INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, deal_value)
        SELECT p.company_id, p.prospect_id, CASE WHEN random() < 0.5 THEN 'client' ELSE 'perdu' END::sales.funnel_stage, 100
        FROM sales.prospects p JOIN {new.replace('WHERE', 'USING (company_id) WHERE')}""")
    return made / (last - first + 1)


PLATFORM = {
    "the worker's pass over the queue (run_jobs), until it is empty": "DO $$ BEGIN WHILE sales_internal.run_jobs(1000) > 0 LOOP END LOOP; END $$",
    "maintain(), the first": "SELECT count(*) FROM sales.maintain()",
    "maintain(), with nothing new": "SELECT count(*) FROM sales.maintain()",
    "keep_partitions()": "SELECT sales_internal.keep_partitions()",
    "doctor()": "SELECT count(*) FROM sales.doctor()",
    "verify_audit(), all companies": "SELECT count(*) FROM sales.verify_audit() WHERE NOT ok",
    "test_isolation()": "SELECT count(*) FROM sales.test_isolation() WHERE NOT ok",
}
ONE = {
    "login()": "SELECT length(sales.login('c{n}.test', 'a@c{n}.test', 'bench-secret-1'))",
    "read its prospects": "SELECT count(*) FROM sales.prospects",
    "insert a prospect": "INSERT INTO sales.prospects (first_name) VALUES ('new')",
    "refresh_metrics() after it": "SELECT sales.refresh_metrics()",
    "check_metrics()": "SELECT count(*) FROM sales.check_metrics()",
    "sales_bi.funnel_now": "SELECT count(*) FROM sales_bi.funnel_now",
}


def measure(n):
    times = {}
    for what, sql in PLATFORM.items():
        times[what] = s.cpu(sql)
    for what, sql in ONE.items():
        if what == "login()":
            times[what] = app.cpu(sql.format(n=n))
            app.run(f"SELECT sales.use_session(sales.login('c{n}.test', 'a@c{n}.test', 'bench-secret-1'), false)")
        else:
            app.run(sql)                # caches
            times[what] = app.cpu(sql)
    return times


tenth = a.companies // 10
made_few = grow(1, tenth)
few = measure(1)
made_many = grow(tenth + 1, a.companies)
s.run("VACUUM (ANALYZE)")
many = measure(tenth + 1)
print(f"| {a.prospects} prospects each, ms of the backend's CPU time | {tenth} companies | {a.companies} companies | ratio |\n|---|---|---|---|")
for what, x, y in [("create_company(), each", made_few, made_many)] + [(w, few[w], many[w]) for w in few]:
    print(f"| {what} | {x * 1000:.4g} | {y * 1000:.4g} | {y / x:.2f} |")
print("companies:", s.run("SELECT count(*) FROM sales.companies")[0], "audit rows:", s.run("SELECT count(*) FROM sales.audit_logs")[0],
      "partitions:", s.run("SELECT count(*) FROM pg_inherits")[0])
