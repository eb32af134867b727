#!/usr/bin/python3
"""How each main operation grows with the database: from 10,000 to 10 M prospects.

usage: growth.py [--sizes 10000,100000,1000000,10000000] [--large N] [--rounds 5] [--maintain-to N] DBNAME

Connects as psql does (PGHOST, PGPORT, PGUSER: a superuser).  For each size the
database is made anew: half of all prospects (at most --large) belong to one
company, the others to companies of 10,000; each has two messages, 1.5 interactions on average and 1.5
stages.  (10 M prospects are ten times the ERD's platform, and take some 25 GB.)
Then each operation is run as an application login of a small company and of the
large one, a first time unmeasured, and the medians of the rounds are printed, in
milliseconds of the backend's CPU time (the database fits into memory or the
system's cache), as one Markdown table: a column for each size.  maintain() over all
companies, which then finds everything new, is measured up to --maintain-to prospects.
"""
import argparse
import statistics
import sys
import time

import common

SMALL = 10000
COMPANY = "('0000c000-0000-7000-8000-' || to_char({n}, 'FM000000000000'))::uuid"
PROSPECT = "('00000000-0000-7000-8000-' || to_char({n}, 'FM000000000000'))::uuid"

p = argparse.ArgumentParser()
p.add_argument("--sizes", default="10000,100000,1000000,10000000")
p.add_argument("--large", type=int, default=500000)
p.add_argument("--rounds", type=int, default=5)
p.add_argument("--maintain-to", type=int, default=1000000)
p.add_argument("database")
a = p.parse_args()


def load(admin, total):
    """Company 1 gets the first half of the prospects, at most --large, the others 10,000 each."""
    half = min(total // 2, a.large)
    companies = 1 + max(1, (total - half) // SMALL)
    each = (total - half) // (companies - 1)
    admin.run("CREATE EXTENSION sales_assistant")
    admin.run("SELECT sales.stop_workers()")
    admin.run("SELECT count(sales_internal.make_partition('interactions', at)) FROM generate_series(now()::timestamp - interval '1001 days', now()::timestamp, '1 month') AS at")
    # as a restore does: rows first, then what is found by
    indexes = admin.run("""SELECT pg_get_indexdef(i.indexrelid) || ';' || i.indexrelid::regclass
        FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indrelid
        WHERE i.indrelid IN ('sales.prospects'::regclass, 'sales.messages'::regclass, 'sales.interactions'::regclass, 'sales.conversion_funnel'::regclass)
          AND NOT i.indisunique AND NOT EXISTS (SELECT FROM pg_constraint AS k WHERE k.conindid = i.indexrelid)""")
    for index in indexes:
        admin.run("DROP INDEX " + index.split(";")[1])
    admin.run(f"""SELECT count(sales.create_company('Company ' || n, 'c' || n || '.test', 'enterprise', 'en', 'Europe/Paris', 'a@c' || n || '.test', NULL))
                  FROM generate_series(1, {companies}) AS n""")
    admin.run("SET session_replication_role = replica")
    admin.run("CREATE TABLE bench_company AS SELECT row_number() OVER (ORDER BY substr(domain, 2, length(domain) - 6)::int) AS n, company_id FROM sales.companies")
    of = f"CASE WHEN g <= {half} THEN 1 ELSE 2 + (g - {half} - 1) / {each} END"
    admin.run(f"""INSERT INTO sales.prospects (prospect_id, company_id, first_name, last_name, email, phone, company_name, job_title, status, source, ai_score, created_at)
        SELECT {PROSPECT.format(n='g')}, c.company_id, 'First' || g % 977, 'Last' || g, 'p' || to_char(g, 'FM00000000') || '@x' || g % 5000 || '.test',
               '+336' || to_char(g, 'FM00000000'), 'Firm ' || g / 4, 'Manager ' || g % 50,
               CASE WHEN g % 2 = 0 THEN 'contacte' ELSE 'nouveau' END::sales.prospect_status, 'import_csv', g % 101,
               now() - ({total} - g) / {total}.0::float8 * interval '1000 days'
        FROM generate_series(1, {total}) AS g JOIN bench_company AS c ON c.n = {of}""")
    admin.run("""INSERT INTO sales.messages (company_id, prospect_id, channel, subject, content, language, created_at)
        SELECT company_id, prospect_id, 'email', 'Subject', 'Hello ' || first_name || ', a text of an ordinary length for a message.', 'en', created_at + g * interval '1 hour'
        FROM sales.prospects CROSS JOIN generate_series(1, 2) AS g""")
    admin.run("""INSERT INTO sales.interactions (company_id, prospect_id, channel, type, interaction_date)
        SELECT company_id, prospect_id, 'email', 'sent', created_at + g * interval '1 hour'
        FROM sales.prospects CROSS JOIN generate_series(1, 2) AS g WHERE g = 1 OR status = 'contacte'""")
    admin.run("""INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, stage_entered_at, stage_duration_hours)
        SELECT company_id, prospect_id, x.stage::sales.funnel_stage, created_at + x.after, CASE WHEN x.stage = 'nouveau' AND status = 'contacte' THEN 24 END
        FROM sales.prospects, (VALUES ('nouveau', interval '0'), ('contacte', interval '1 day')) AS x (stage, after) WHERE x.stage = 'nouveau' OR status = 'contacte'""")
    admin.run("RESET session_replication_role")
    for index in indexes:
        admin.run(index.split(";")[0].replace(" ON ONLY ", " ON "))
    admin.run("VACUUM (ANALYZE)")
    admin.run("SELECT sales_internal.refresh_companies(array_agg(company_id), '-infinity', 'infinity') FROM sales.companies")
    admin.run("VACUUM (ANALYZE)")
    admin.run("CHECKPOINT")
    return {"small": (2, half + 1, each), "large": (1, 1, half)}


def operations(first, count):
    """Name -> statement of a round; {r} is the round's number, {p} a prospect of this company."""
    csv = "string_agg(format('Bench,Row%s-{r}-%s,{r}-%s@import.test,Firm', " + str(first) + ", g, g), E'\\n')"
    return {
        "read a prospect": "SELECT * FROM sales.prospects WHERE prospect_id = {p}",
        "find by e-mail": "SELECT * FROM sales.prospects WHERE email = 'p' || to_char({n}, 'FM00000000') || '@x' || {n} % 5000 || '.test'",
        "50 newest": "SELECT prospect_id, first_name, email FROM sales.prospects ORDER BY created_at DESC LIMIT 50",
        "history of a prospect": "SELECT * FROM sales.interactions WHERE prospect_id = {p} ORDER BY interaction_date DESC",
        "count by status": "SELECT status, count(*) FROM sales.prospects GROUP BY status",
        "sales_bi.funnel_now": "SELECT * FROM sales_bi.funnel_now",
        "sales_bi.daily_activity, 30 days": "SELECT * FROM sales_bi.daily_activity WHERE date > current_date - 30",
        "insert a prospect": "INSERT INTO sales.prospects (first_name, email) VALUES ('New', 'new{r}@bench.test')",
        "update a prospect": "UPDATE sales.prospects SET notes = 'round {r}' WHERE prospect_id = {p}",
        "enter_stage()": "SELECT sales.enter_stage({p}, 'interesse', 100)",
        "refresh_metrics() after these": "SELECT sales.refresh_metrics()",
        "score()": "SELECT sales.score({p})",
        "explain_score()": "SELECT * FROM sales.explain_score({p})",
        "preview_audience(), 100 of them": "SELECT * FROM sales.preview_audience('{{\"status\": \"contacte\", \"score\": {{\">=\": 90}}}}') LIMIT 100",
        "import_csv() of 1,000 rows": f"SELECT sales.import_csv(E'First Name,Last Name,Email,Company\\n' || {csv}) FROM generate_series(1, 1000) AS g",
        "generate_report()": "SELECT sales.generate_report('monthly')",
        "gdpr_export()": "SELECT sales.gdpr_export({p})",
        "gdpr_erase()": "SELECT sales.gdpr_erase({p}, 'bench')",
        "refresh_scores(), all": "SELECT sales.refresh_scores()",
        "find_duplicates(), all": "SELECT count(*) FROM sales.find_duplicates()",
    }


def measure(app, first, count):
    medians = {}
    for name, statement in operations(first, count).items():
        rounds = a.rounds if ", all" not in name else 1
        times = []
        for r in range(rounds + (0 if ", all" in name else 1)):
            n = first + (r + 1) * count // (rounds + 3) + len(medians)
            times.append(app.cpu(statement.format(r=r, n=n, p=PROSPECT.format(n=n))) * 1000)
        medians[name] = statistics.median(times[1:] or times)
    return medians


sizes = [int(s) for s in a.sizes.split(",")]
table = {}
for total in sizes:
    common.psql("postgres", f'DROP DATABASE IF EXISTS "{a.database}" WITH (FORCE)')
    common.psql("postgres", f'CREATE DATABASE "{a.database}"')
    common.psql("postgres", "DO $$ BEGIN IF to_regrole('bench_app') IS NULL THEN CREATE ROLE bench_app LOGIN; END IF; END $$")
    admin = common.Session(a.database)
    started = time.monotonic()
    companies = load(admin, total)
    admin.run("SET client_min_messages = warning")
    admin.run("GRANT sales_app, sales_bi TO bench_app")
    print(f"{total} prospects loaded in {time.monotonic() - started:.0f} s, {admin.run('SELECT pg_size_pretty(pg_database_size(current_database()))')[0]}",
          file=sys.stderr, flush=True)
    for kind, (company, first, count) in companies.items():
        admin.run(f"""SELECT sales.bind_role('bench_app', c.company_id, u.user_id) FROM bench_company AS c JOIN sales.users AS u ON u.company_id = c.company_id
                      WHERE c.n = {company}""")
        app = common.Session(a.database, "bench_app")
        for name, ms in measure(app, first, count).items():
            table.setdefault((name, kind), []).append(ms)
        app.end()
        admin.run("SELECT sales.unbind_role('bench_app')")
    for name in ("maintain()", "doctor()") if total <= a.maintain_to else ("doctor()",):
        table.setdefault((name, "all"), []).append(admin.cpu(f"SELECT * FROM sales.{name}") * 1000)
    admin.end()
common.psql("postgres", f'DROP DATABASE IF EXISTS "{a.database}" WITH (FORCE)')

print("| operation (ms) | company | " + " | ".join(f"{s:,}" for s in sizes) + " |")
print("|---|---|" + "---|" * len(sizes))
for (name, kind), values in table.items():
    print(f"| {name} | {kind} | " + " | ".join(f"{v:,.1f}" if v < 100 else f"{v:,.0f}" for v in values) + " |")
