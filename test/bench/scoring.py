#!/usr/bin/python3
"""Scoring: apply_scorecard() over a relation against the same arithmetic as SQL CASE expressions.

usage: scoring.py [--rows 1000000] [--prospects 100000] [--rounds 5] DBNAME      connects as psql does (PGHOST, PGPORT, PGUSER: a superuser)

The database is made into what is needed: it must be empty, or one that this
script has used.  Two models are measured: the built-in prior (few bins) and one
learned from the rows (many bins and pairs).  Model time is what the same call
takes longer than with a model that has no columns.  Then refresh_scores() of a
company with --prospects prospects, where all change and where none does, against
reading their features alone: what scoring adds to gathering what is known.
Times are of the backend's processor, medians, alternated in one run.
"""
import argparse
import json
import statistics

import common

p = argparse.ArgumentParser()
p.add_argument('--rows', type=int, default=1000000)
p.add_argument('--prospects', type=int, default=100000)
p.add_argument('--rounds', type=int, default=5)
p.add_argument('database')
a = p.parse_args()


def run(sql):
    return common.psql(a.database, sql)


def case(feature):
    name, bounds = feature['name'], feature['bounds']
    if name == 'pain_points':
        name += '::int'
    def lookup(values):
        if feature['category']:
            arms = ' '.join("WHEN '%s' THEN %r" % (b.replace("'", "''"), v) for b, v in zip(bounds, values[2:]))
            return f'CASE WHEN {name} IS NULL THEN {values[0]!r} ELSE CASE {name} {arms} ELSE {values[1]!r} END END' if arms \
                else f'CASE WHEN {name} IS NULL THEN {values[0]!r} ELSE {values[1]!r} END'
        arms = ' '.join(f'WHEN {name} < {b!r} THEN {v!r}' for b, v in zip(bounds, values[1:]))
        return f'CASE WHEN {name} IS NULL THEN {values[0]!r} {arms} ELSE {values[-1]!r} END'
    return lookup


def expression(model):
    terms = [repr(model['intercept'])] + [case(f)(f['points']) for f in model['features']]
    for pair in model.get('pairs', []):
        first, second = model['features'][pair['first']], model['features'][pair['second']]
        m = max(pair['second_groups']) + 1
        table = '{%s}' % ','.join(map(repr, pair['points']))
        terms.append(f"('{table}'::float8[])[1 + {m} * ({case(first)(pair['first_groups'])}) + ({case(second)(pair['second_groups'])})]")
    return '1 / (1 + exp(-(%s)::float8))' % ' + '.join(terms)


run('CREATE EXTENSION IF NOT EXISTS sales_assistant')
print(f'making {a.rows} rows', flush=True)
run(f"""DROP TABLE IF EXISTS bench_prospects CASCADE;
CREATE TABLE bench_prospects AS
SELECT sales.uuidv7() AS prospect_id, NULL::integer AS won, (ARRAY[1, 11, 51, 201, 1001, NULL])[1 + (random() * 5)::int] AS company_size,
       'sector ' || (random() * 20)::int AS industry, (random() * 30000)::int AS budget,
       (ARRAY['top', 'director', 'manager', 'other', NULL])[1 + (random() * 4)::int] AS seniority,
       (ARRAY['api', 'manual', 'import_csv'])[1 + (random() * 2)::int] AS source, (random() * 10)::int AS completeness,
       (random() < 0.3) AS pain_points, 'country ' || (random() * 30)::int AS country,
       (ARRAY['nouveau', 'contacte', 'interesse', 'negociation'])[1 + (random() * 3)::int] AS stage, random() * 90 AS days_in_stage,
       (random() * 3)::int AS answers, (random() * 2)::int AS positive, (random() * 1.2)::int AS negative, (random() * 1.5)::int AS meetings,
       (random() * 9)::int AS messages, random() * 4 AS recent_activity, random() * 100 AS days_since_activity
FROM generate_series(1, {a.rows});
UPDATE bench_prospects SET won = (random() < 1 / (1 + exp(3 - answers * 0.7 - (stage = 'negociation')::int * recent_activity)))::int
WHERE ctid < '(500,0)';
VACUUM ANALYZE bench_prospects;
CREATE VIEW bench_decided AS SELECT * FROM bench_prospects WHERE won IS NOT NULL LIMIT 20000""")
empty = run("""INSERT INTO sales_internal.scorecards (model_id, label, model, rows)
    VALUES (sales.uuidv7(), 'won', '{"intercept": 0, "features": []}', 0) RETURNING model_id""")
learned = run("SELECT sales_internal.train_scorecard('bench_decided', 'won')")
session = common.Session(a.database)
session.run("SET max_parallel_workers_per_gather = 0; SET jit = off; SET work_mem = '256MB'")
for name, model_id in (('prior', '00000000-0000-7000-8000-000000000000'), ('learned', learned)):
    model = json.loads(run(f"SELECT model FROM sales_internal.scorecards WHERE model_id = '{model_id}'"))
    sides = {'apply_scorecard': f"SELECT sum(probability) FROM sales_internal.apply_scorecard('{model_id}', 'bench_prospects')",
             'SQL CASE': f"SELECT sum({expression(model)}) FROM bench_prospects",
             # both sides as rows that something reads, not as a sum
             'SQL CASE, rows kept': f"CREATE TEMP TABLE kept AS SELECT prospect_id::text AS key, {expression(model)} AS probability FROM bench_prospects",
             'apply_scorecard, rows kept': f"CREATE TEMP TABLE kept AS SELECT * FROM sales_internal.apply_scorecard('{model_id}', 'bench_prospects')",
             'no model': f"SELECT sum(probability) FROM sales_internal.apply_scorecard('{empty}', 'bench_prospects')"}
    times = {side: [] for side in sides}
    for _ in range(a.rounds):
        for side, sql in sides.items():
            session.run("DROP TABLE IF EXISTS pg_temp.kept")
            times[side].append(session.cpu(sql) * 1000)
    ours, other = (float(session.run(sides[side])[0]) for side in ("apply_scorecard", "SQL CASE"))
    assert abs(ours / other - 1) < 1e-6, (ours, other)
    t = {side: statistics.median(v) for side, v in times.items()}
    print(f"{name}: {len(model['features'])} columns, {sum(len(f['points']) for f in model['features'])} bins, {len(model.get('pairs', []))} pairs")
    for side in sides:
        print(f"  {side:28s} {t[side]:8.0f} CPU ms")
    common.result(f"scoring {a.rows} rows, {name} model", t["apply_scorecard"], "SQL CASE", t["SQL CASE"], "CPU ms", t["apply_scorecard"] / t["SQL CASE"], "< 1")
    common.result(f"scoring {a.rows} rows, {name} model, rows kept", t["apply_scorecard, rows kept"], "SQL CASE", t["SQL CASE, rows kept"], "CPU ms",
                  t["apply_scorecard, rows kept"] / t["SQL CASE, rows kept"], "< 1")
    rate = a.rows / max(t["apply_scorecard"] - t["no model"], 1) / 1000
    common.result(f"scoring, {name} model: model time alone", rate, "the least that is aimed at", 1, "M rows/s of a core", rate, ">= 1")

company = run("""SELECT coalesce((SELECT company_id FROM sales.companies WHERE domain = 'bench.test'),
    sales.create_company('Bench', 'bench.test', 'business', 'en', 'UTC', 'admin@bench.test', 'bench-secret-1'))""")
tenant = f"DO $$ BEGIN PERFORM sales.set_tenant('{company}', NULL, false); END $$"
run(f"""{tenant};
DELETE FROM sales.interactions; DELETE FROM sales.prospects WHERE company_id = '{company}';
INSERT INTO sales.prospects (first_name, job_title, estimated_budget_amount)
SELECT 'P' || g, (ARRAY['CEO', 'Head', 'clerk'])[1 + g % 3], g % 40000 FROM generate_series(1, {a.prospects}) g;
INSERT INTO sales.interactions (prospect_id, channel, type, interaction_date)
SELECT prospect_id, 'email', 'sent', now() - random() * interval '60 days' FROM sales.prospects, generate_series(1, 2)""")
run('VACUUM ANALYZE')
session.run(tenant)
sides = {'features alone': f"SELECT count(f) FROM sales_internal.features_of('{company}', false, NULL) f",
         'refresh_scores, none changed': 'SELECT sales.refresh_scores()',
         'refresh_scores, all changed': 'SELECT sales.refresh_scores()'}
times = {side: [] for side in sides}
for _ in range(a.rounds):
    for side, sql in sides.items():
        if side == 'refresh_scores, all changed':
            session.run(f"UPDATE sales.prospects SET ai_score = NULL WHERE company_id = '{company}'")
        times[side].append(session.cpu(sql) * 1000)
t = {side: statistics.median(v) for side, v in times.items()}
for side in list(sides)[1:]:
    common.result(f"{side}: {a.prospects} prospects", t[side], "reading their features alone", t["features alone"], "CPU ms", t[side] / t["features alone"])
session.end()
