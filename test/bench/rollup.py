#!/usr/bin/python3
"""Roll-up: recomputation after 1,000 changes against a full one, and the burden on writers.

Usage: rollup.py [--tenants 100] [--rows 3000000] [--rounds 5] DBNAME

The database must be empty; libpq's environment says where the server is.  Prints
both sides of each ratio, alternated in one run, medians of the rounds, in the
backend's processor time.
"""
import argparse, statistics

import common

p = argparse.ArgumentParser()
p.add_argument('--tenants', type=int, default=100)
p.add_argument('--rows', type=int, default=3000000)
p.add_argument('--rounds', type=int, default=5)
p.add_argument('--keep', action='store_true', help='the data are there already')
p.add_argument('--only', choices=['recompute', 'writers', 'idle'])
p.add_argument('database')
a = p.parse_args()

s = common.Session(a.database)
if not a.keep:
    s.run("CREATE EXTENSION IF NOT EXISTS sales_assistant")
    s.run("ALTER DATABASE %s SET synchronous_commit = off" % a.database)
    per = a.rows // a.tenants
    people = max(1, 1000000 // 100 // 10)
    print(f"loading {a.tenants} tenants, {a.rows} interactions over three years", flush=True)
    # The load itself is not measured: no audit, no foreign keys, no marks.
    s.run("SET session_replication_role = replica")
    s.run(f"""INSERT INTO sales.companies (company_id, name, domain, timezone)
        SELECT ('0000c000-0000-7000-8000-' || to_char(n, 'FM000000000000'))::uuid, 'c' || n, 'c' || n || '.test',
               (ARRAY['Europe/Paris', 'America/New_York', 'UTC', 'Asia/Kolkata'])[1 + n % 4] FROM generate_series(1, {a.tenants}) AS n""")
    s.run(f"""INSERT INTO sales.prospects (prospect_id, company_id, first_name, source, created_at)
        SELECT ('0000e000-0000-7000-' || to_char(8000 + n / 10000, 'FM0000') || '-' || to_char(n % 10000 * 1000000 + c, 'FM000000000000'))::uuid,
               ('0000c000-0000-7000-8000-' || to_char(c, 'FM000000000000'))::uuid, 'x', 'api',
               '2023-01-01'::timestamptz + random() * interval '1095 days'
        FROM generate_series(1, {a.tenants}) AS c, generate_series(1, {people}) AS n""")
    s.run(f"""INSERT INTO sales.interactions (company_id, prospect_id, channel, type, response_received, interaction_date)
        SELECT p.company_id, p.prospect_id, 'email', CASE WHEN random() < 0.8 THEN 'sent' ELSE 'received' END::sales.interaction_type,
               random() < 0.2, '2023-01-01'::timestamptz + random() * interval '1095 days'
        FROM (SELECT company_id, prospect_id FROM sales.prospects) AS p, generate_series(1, {max(1, per // people)}) AS n
        ORDER BY 6""")
    s.run("""INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, stage_entered_at, deal_value)
        SELECT company_id, prospect_id, x.stage::sales.funnel_stage, created_at + x.after * interval '1 day', 1000
        FROM sales.prospects, (VALUES ('contacte', 1), ('proposition_envoyee', 10), ('client', 30)) AS x (stage, after) WHERE random() < 0.5""")
    s.run("RESET session_replication_role")
    s.run("VACUUM ANALYZE")
    t = s.time("SELECT sales_internal.refresh_companies(array_agg(company_id), '-infinity', 'infinity') FROM sales.companies")
    print(f"first computation of all: {t:.1f} s", flush=True)
    s.run("VACUUM ANALYZE")
    s.run("DELETE FROM sales_internal.metric_marks")

def recompute():
    """1,000 rows changed, of all tenants, within the last week and over all three years."""
    times = {'recent': [], 'spread': [], 'mixed': [], 'full': []}
    for n in range(a.rounds):
        for kind, since in (('recent', "'2025-12-24'::timestamptz + random() * interval '6 days'"),
                            ('spread', "'2023-01-05'::timestamptz + random() * interval '1085 days'")):
            s.run(f"""UPDATE sales.interactions i SET response_received = NOT response_received
                FROM (SELECT (SELECT ctid::text || tableoid::text FROM sales.interactions x
                              WHERE x.company_id = c.company_id AND x.interaction_date >= c.since ORDER BY x.interaction_date LIMIT 1) AS k, c.company_id, c.since
                      FROM (SELECT company_id, {since} AS since FROM sales.companies, generate_series(1, {max(1, 1000 // a.tenants)}) AS g) AS c) AS w
                WHERE i.company_id = w.company_id AND i.interaction_date >= w.since AND i.interaction_date < w.since + interval '3 days'
                  AND i.ctid::text || i.tableoid::text = w.k""")
            times[kind].append(s.cpu("SELECT sales_internal.refresh_all_metrics()"))
        # 1,000 changes of all kinds: contacts added and removed, meetings, stages, prospects.
        s.run(f"""WITH who AS (SELECT DISTINCT ON (company_id, g) p.company_id, p.prospect_id, g, '2025-12-24'::timestamptz + random() * interval '6 days' AS at
                      FROM (SELECT company_id, prospect_id FROM sales.prospects TABLESAMPLE SYSTEM (20)) AS p, generate_series(1, {max(1, 200 // a.tenants)}) AS g
                      ORDER BY company_id, g, random()),
                  sent AS (INSERT INTO sales.interactions (company_id, prospect_id, channel, type, interaction_date)
                           SELECT company_id, prospect_id, 'email', 'sent', at FROM who),
                  meetings AS (INSERT INTO sales.tasks (company_id, prospect_id, type, title, created_at) SELECT company_id, prospect_id, 'meeting', 'm', at FROM who),
                  entered AS (INSERT INTO sales.conversion_funnel (company_id, prospect_id, stage, stage_entered_at, deal_value)
                              SELECT company_id, prospect_id, 'client', at, 100 FROM who),
                  added AS (INSERT INTO sales.prospects (company_id, first_name, created_at) SELECT company_id, 'new', at FROM who)
                  SELECT count(*) FROM who""")
        s.run(f"""DELETE FROM sales.interactions i USING
                  (SELECT c.company_id, x.interaction_id, x.interaction_date FROM sales.companies c CROSS JOIN LATERAL
                      (SELECT * FROM sales.interactions x WHERE x.company_id = c.company_id AND x.interaction_date >= '2025-12-24'::timestamptz + random() * interval '5 days'
                       ORDER BY x.interaction_date LIMIT {max(1, 200 // a.tenants)}) AS x) AS gone
                  WHERE i.company_id = gone.company_id AND i.interaction_id = gone.interaction_id AND i.interaction_date = gone.interaction_date""")
        times['mixed'].append(s.cpu("SELECT sales_internal.refresh_all_metrics()"))
        times['full'].append(s.cpu("SELECT sales_internal.refresh_companies(array_agg(company_id), '-infinity', 'infinity') FROM sales.companies"))
    full = statistics.median(times['full'])
    for kind in ('recent', 'spread', 'mixed'):
        one = statistics.median(times[kind])
        common.result(f"roll-up after 1,000 changes, {kind}", one * 1000, "full recomputation", full * 1000, "CPU ms", one / full, "<= 0.02")

def writers():
    """The same inserts with the roll-up's triggers and without them, in single rows and in bulk, in processor time."""
    company = s.run("SELECT company_id FROM sales.companies ORDER BY 1 LIMIT 1")[0]
    person = s.run(f"SELECT prospect_id FROM sales.prospects WHERE company_id = '{company}' LIMIT 1")[0]
    insert = (f"INSERT INTO sales.interactions (company_id, prospect_id, channel, type, interaction_date) "
              f"SELECT '{company}', '{person}', 'email', 'sent', '2025-12-01'::timestamptz + n * interval '1 second' FROM generate_series(1, %d) AS n")
    # In short turns: whatever else the machine does meets both sides alike.
    turn = 300
    singles = (f"DO $$ BEGIN FOR n IN 1..{turn} LOOP INSERT INTO sales.interactions (company_id, prospect_id, channel, type, interaction_date) "
               f"VALUES ('{company}', '{person}', 'email', 'sent', '2025-12-01'::timestamptz + n * interval '1 second'); COMMIT; END LOOP; END $$")
    for name, sql, turns in (('20,000 rows in one statement', insert % 20000, 2 * a.rounds), (f'{turn} transactions of one row', singles, 12 * a.rounds)):
        times = {True: [], False: []}
        for n in range(turns + 1):
            for on in ((True, False) if n % 2 else (False, True)):
                s.run("ALTER TABLE sales.interactions %s TRIGGER metrics_insert" % ('ENABLE' if on else 'DISABLE'))
                t = s.cpu(sql)
                if n:
                    times[on].append(t)
        s.run("ALTER TABLE sales.interactions ENABLE TRIGGER metrics_insert")
        w, o = statistics.median(times[True]), statistics.median(times[False])
        common.result(f"writers with the roll-up: {name}", w * 1000, "without it", o * 1000, "ms of CPU", w / o, "<= 1.10")

def idle():
    """What the worker's periodic tasks cost where nothing happened."""
    for name in ('refresh_all_metrics', 'publish_benchmarks', 'make_due_reports', 'measure_suggestions'):
        s.run(f"SELECT sales_internal.{name}()")
        t = statistics.median(s.time(f"SELECT sales_internal.{name}()") for _ in range(a.rounds))
        print(f"{name}() with {a.tenants} companies and nothing to do: {t*1000:.1f} ms", flush=True)

if a.only == 'idle':
    idle()
if a.only not in ('writers', 'idle'):
    recompute()
if a.only not in ('recompute', 'idle'):
    writers()
