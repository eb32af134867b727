#!/usr/bin/python3
"""Row security against the same query with an explicit WHERE.

usage: rls.py DBNAME      connects as psql does (PGHOST, PGPORT, PGUSER: a superuser)

Makes 100 companies, 1 M prospects and 2 M messages in the database unless they
are there, then runs each query in sessions of a bound application login (row
security on) and of a login with the same rights and BYPASSRLS that says WHERE
company_id = ... (off): by plans that are kept, in short turns, as the machine's
speed changes from one second to the next, and in 7 pairs of sessions, as no two
processes lie in memory alike.  Prints the medians of the CPU time that the
backends took for one execution, and their ratio.
"""
import statistics
import sys

import common

DB = sys.argv[1]
PAIRS = 7                       # of sessions, for each query
TURNS = 4                       # of each session of a pair
CPU_SECONDS = 0.2               # of one turn, about


def psql(sql):
    return common.psql(DB, sql)


def prepare():
    psql("""
SET client_min_messages = warning;
CREATE EXTENSION IF NOT EXISTS sales_assistant;
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bench_app') THEN CREATE ROLE bench_app LOGIN IN ROLE sales_app; END IF;
  IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'bench_plain') THEN CREATE ROLE bench_plain LOGIN BYPASSRLS IN ROLE sales_app; END IF;
END $$;
SELECT sales.create_company('C' || g, 'c' || g || '.test', 'starter', 'en', 'UTC', 'a@c' || g || '.test', NULL)
FROM generate_series(1, 100) g WHERE NOT EXISTS (SELECT FROM sales.companies);
""")
    if psql("SELECT count(*) FROM sales.messages") != "2000000":
        psql("""
SET session_replication_role = replica;
TRUNCATE sales.prospects CASCADE;
INSERT INTO sales.prospects (company_id, first_name, email, status, created_at)
SELECT c.company_id, 'P' || g, 'p' || g || '@x' || n || '.test', (enum_range(NULL::sales.prospect_status))[1 + g % 7],
       now() - g * interval '1 minute'
FROM generate_series(1, 10000) g CROSS JOIN (SELECT company_id, row_number() OVER (ORDER BY company_id) AS n FROM sales.companies) c;
INSERT INTO sales.messages (company_id, prospect_id, channel, content, language, created_at)
SELECT company_id, prospect_id, 'email', 'Hello ' || g, 'en', created_at + g * interval '1 hour'
FROM sales.prospects CROSS JOIN generate_series(1, 2) g;
""")
        psql("VACUUM (ANALYZE) sales.prospects, sales.messages")


def loop(query, times):
    """A statement that runs the query so often, by one plan."""
    return f"DO $d$ BEGIN FOR i IN 1..{times} LOOP PERFORM * FROM ({query}) q; END LOOP; END $d$"


def repetitions(user, query):
    """How often to run a query so that it takes about CPU_SECONDS."""
    session = common.Session(DB, user)
    times = 1
    while (seconds := session.cpu(loop(query, times))) < CPU_SECONDS / 5:
        times *= 5
    session.end()
    return max(1, round(times * CPU_SECONDS / seconds))


def measure(sides, times):
    """For each (user, query): the median CPU milliseconds of one execution."""
    taken = [[] for _ in sides]
    for _ in range(PAIRS):
        sessions = [common.Session(DB, user) for user, _ in sides]
        for turn in range(-1, TURNS):
            for session, (_, query), results in zip(sessions, sides, taken):
                seconds = session.cpu(loop(query, times))
                if turn >= 0:   # the one before fills caches
                    results.append(seconds * 1000 / times)
        for session in sessions:
            session.end()
    return map(statistics.median, taken)


prepare()
company = psql("SELECT company_id FROM sales.companies ORDER BY 1 OFFSET 50 LIMIT 1")
psql(f"SELECT sales.bind_role('bench_app', '{company}')")
prospect = psql(f"SELECT prospect_id FROM sales.prospects WHERE company_id = '{company}' AND first_name = 'P5000'")
QUERIES = {
    "point read": ("SELECT * FROM sales.prospects p WHERE prospect_id = '%s' {and}" % prospect),
    "50 newest": "SELECT prospect_id, first_name, email FROM sales.prospects p {where} ORDER BY created_at DESC LIMIT 50",
    "count by status": "SELECT status, count(*) FROM sales.prospects p {where} GROUP BY status",
    "prospects x messages": "SELECT p.status, count(*) FROM sales.prospects p JOIN sales.messages m "
                            "ON m.company_id = p.company_id AND m.prospect_id = p.prospect_id {where} GROUP BY p.status",
}
for name, query in QUERIES.items():
    with_rls = query.replace("{where}", "").replace("{and}", "")
    condition = f"p.company_id = '{company}' AND p.deleted_at IS NULL"
    if " JOIN " in query:
        condition += f" AND m.company_id = '{company}' AND m.deleted_at IS NULL"
    explicit = query.replace("{where}", "WHERE " + condition).replace("{and}", "AND " + condition)
    rls, plain = measure((("bench_app", with_rls), ("bench_plain", explicit)), repetitions("bench_plain", explicit))
    common.result(f"row security: {name}", rls, "WHERE company_id = ...", plain, "CPU ms", rls / plain, "<= 1.05")
