#!/usr/bin/python3
"""Learner: quality and time of train_scorecard() against scikit-learn on the same rows.

Usage: learner.py [--rows 100000] [--rounds 5] DBNAME

Needs Debian's python3-sklearn and python3-pandas, and SHARED_DATA (default
../shared/data) for the two public sets.  Training times are wall times, of the
server's with the reading of the table; medians, alternated in one run.
scikit-learn may use all cores, the server uses one.
"""
import argparse, os, statistics, subprocess, time
import numpy, pandas
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

p = argparse.ArgumentParser()
p.add_argument('--rows', type=int, default=100000)
p.add_argument('--rounds', type=int, default=5)
p.add_argument('database')
a = p.parse_args()
data = os.environ.get('SHARED_DATA', '../shared/data')


def run(sql, stdin=None):
    command = ['psql', '-XqAt', '-v', 'ON_ERROR_STOP=1', '-d', a.database]
    command += ['-c', sql] if stdin is not None else []
    return subprocess.run(command, input=stdin if stdin is not None else sql, text=True, check=True, capture_output=True).stdout.strip()


def public(name, label, drop):
    d = pandas.read_csv(f'{data}/{name}/prepared.csv')
    keep = [c for c in d.columns if c not in drop]
    return name, label, d[d.split == 'train'][keep], d[d.split == 'test'][keep]


def made(n):
    """Straight, bent, stepped and joint effects, texts, missing values, noise."""
    r = numpy.random.RandomState(1)
    d = pandas.DataFrame({f'x{i}': r.randn(n) for i in range(12)})
    d['size'] = r.randint(0, 9, n)
    d['sector'] = ['s%d' % v for v in r.zipf(1.5, n) % 60]
    z = d.x0 + numpy.sin(2 * d.x1) + (d.x2 > 1) + d.x3 * d.x4 + 0.3 * (d['size'] == 4) + 0.5 * (d.sector == 's1') - 2
    d.loc[r.rand(n) < 0.1, 'x5'] = numpy.nan
    d['won'] = (r.rand(n) < 1 / (1 + numpy.exp(-z))).astype(int)
    half = r.rand(n) < 0.7
    return f'made, {n} rows', 'won', d[half], d[~half]


def load(table, d):
    types = ', '.join(f'"{c}" ' + ('text' if d[c].dtype == object else 'float8') for c in d.columns)
    run(f'DROP TABLE IF EXISTS {table}; CREATE TABLE {table} (id serial, {types})')
    columns = ', '.join(f'"{c}"' for c in d.columns)
    run(f'COPY {table} ({columns}) FROM STDIN (FORMAT csv)', d.to_csv(index=False, header=False))
    run(f'VACUUM ANALYZE {table}')


def calibration_error(y, chance):
    order = numpy.argsort(chance, kind='stable')
    return sum(len(b) * abs(chance[b].mean() - y[b].mean()) for b in numpy.array_split(order, 10)) / len(y)


def rivals(d, label):
    texts = [c for c in d.columns if c != label and d[c].dtype == object]
    numbers = [c for c in d.columns if c != label and c not in texts]
    return {'LogisticRegression': lambda: make_pipeline(
                ColumnTransformer([('t', OneHotEncoder(handle_unknown='ignore', min_frequency=5), texts),
                                   ('n', make_pipeline(SimpleImputer(), StandardScaler()), numbers)]), LogisticRegression(max_iter=1000)),
            'HistGradientBoosting': lambda: make_pipeline(
                ColumnTransformer([('t', OrdinalEncoder(handle_unknown='use_encoded_value', unknown_value=-1), texts),
                                   ('n', 'passthrough', numbers)]), HistGradientBoostingClassifier(random_state=42))}


run('CREATE EXTENSION IF NOT EXISTS sales_assistant')
for name, label, train, test in (
        public('bank_small', 'y', ('duration', 'split', 'cv_fold')),
        public('olist_funnel', 'closed', ('mql_id', 'first_contact_date', 'contact_month', 'split', 'cv_fold', 'split_time')),
        made(a.rows)):
    load('bench_train', train)
    load('bench_test', test)
    y = test[label].values
    times, chances = {}, {}
    x, z = train.drop(columns=label).copy(), test.drop(columns=label).copy()
    for c in x.columns[x.dtypes == object]:
        x[c], z[c] = x[c].fillna(''), z[c].fillna('')
    for _ in range(a.rounds):
        start = time.monotonic()
        model = run(f"SET maintenance_work_mem = '1GB'; SELECT sales_internal.train_scorecard('bench_train', '{label}')")
        times.setdefault('train_scorecard', []).append(time.monotonic() - start)
        for rival, make in rivals(train, label).items():
            start = time.monotonic()
            fitted = make().fit(x, train[label])
            times.setdefault(rival, []).append(time.monotonic() - start)
            chances[rival] = fitted.predict_proba(z)[:, 1]
    answer = run(f"SELECT probability FROM sales_internal.apply_scorecard('{model}', 'bench_test') ORDER BY key::int")
    chances['train_scorecard'] = numpy.array(answer.split(), dtype=float)
    print(f'{name}: {len(train)} rows to learn from, {len(test)} to judge by')
    for who in ('train_scorecard', 'LogisticRegression', 'HistGradientBoosting'):
        print(f'  {who:22s} {statistics.median(times[who]):7.2f} s  AUC {roc_auc_score(y, chances[who]):.4f}  '
              f'log loss {log_loss(y, chances[who]):.4f}  calibration error {calibration_error(y, chances[who]):.4f}')
