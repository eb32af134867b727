#!/usr/bin/python3
"""Learner: quality and time of train_scorecard() against scikit-learn on the same rows.

usage: learner.py [--rows 100000] [--rounds 5] [--more] DBNAME      connects as psql does (PGHOST, PGPORT, PGUSER: a superuser)

Needs Debian's python3-sklearn and python3-pandas, and SHARED_DATA (default
../shared/data) for the two public sets.  Each of the three learns from the rows
of the split "train" and is judged on those of "test"; with --more the sets that
scikit-learn brings and some made ones too.  Times are of the
processor, of one thread each: the server's with the reading of the table,
scikit-learn's without; medians, alternated in one run.
"""
import argparse
import os
import statistics
import time

os.environ["OMP_NUM_THREADS"] = "1"     # before numpy reads it

import numpy
import pandas
from sklearn import datasets
from sklearn.compose import ColumnTransformer
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import log_loss, roc_auc_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import OneHotEncoder, OrdinalEncoder, StandardScaler

import common

p = argparse.ArgumentParser()
p.add_argument("--rows", type=int, default=100000)
p.add_argument("--rounds", type=int, default=5)
p.add_argument("--more", action="store_true")
p.add_argument("database")
a = p.parse_args()
data = os.environ.get("SHARED_DATA", "../shared/data")
OURS = "train_scorecard"


def public(name, label, drop):
    d = pandas.read_csv(f"{data}/{name}/prepared.csv")
    keep = [c for c in d.columns if c not in drop]
    return name, label, d[d.split == "train"][keep], d[d.split == "test"][keep]


def made(n):
    """Straight, bent, stepped and joint effects, texts, missing values, noise."""
    r = numpy.random.RandomState(1)
    d = pandas.DataFrame({f"x{i}": r.randn(n) for i in range(12)})
    d["size"] = r.randint(0, 9, n)
    d["sector"] = ["s%d" % v for v in r.zipf(1.5, n) % 60]
    z = d.x0 + numpy.sin(2 * d.x1) + (d.x2 > 1) + d.x3 * d.x4 + 0.3 * (d["size"] == 4) + 0.5 * (d.sector == "s1") - 2
    d.loc[r.rand(n) < 0.1, "x5"] = numpy.nan
    d["won"] = (r.rand(n) < 1 / (1 + numpy.exp(-z))).astype(int)
    half = r.rand(n) < 0.7
    return "made", "won", d[half], d[~half]


def more():
    """Sets that scikit-learn brings, and small made ones: two columns that decide together, bent effects, nothing but noise."""
    r = numpy.random.RandomState(2)
    sets = {name: (x, y) for name, (x, y) in {
        "breast cancer": datasets.load_breast_cancer(return_X_y=True), "wine": datasets.load_wine(return_X_y=True),
        "diabetes": datasets.load_diabetes(return_X_y=True), "digits": datasets.load_digits(return_X_y=True),
        "moons": datasets.make_moons(2000, noise=0.35, random_state=1), "hastie": datasets.make_hastie_10_2(6000, random_state=2),
        "classification": datasets.make_classification(3000, 20, n_informative=8, n_redundant=4, random_state=5, flip_y=0.1)}.items()}
    for name, meant in (("wine", lambda y: y == 1), ("diabetes", lambda y: y > numpy.median(y)), ("digits", lambda y: y == 8), ("hastie", lambda y: y > 0)):
        sets[name] = sets[name][0], meant(sets[name][1])
    x = r.rand(5000, 10)
    z = 10 * numpy.sin(numpy.pi * x[:, 0] * x[:, 1]) + 20 * (x[:, 2] - 0.5) ** 2 + 10 * x[:, 3] + 5 * x[:, 4]
    sets["friedman"] = x, r.rand(5000) < 1 / (1 + numpy.exp((14 - z) / 2))
    x = r.randn(800, 6)
    sets["product of two"] = x, r.rand(800) < 1 / (1 + numpy.exp(-2 * x[:, 0] * x[:, 1]))
    x = r.randn(4000, 15)
    sets["noise"] = x, r.rand(4000) < 0.12
    for name, (x, y) in sets.items():
        d = pandas.DataFrame(x, columns=[f"x{i}" for i in range(x.shape[1])])
        d["label"] = numpy.asarray(y).astype(int)
        part = numpy.random.RandomState(7).rand(len(d)) < 0.7
        yield name, "label", d[part], d[~part]


def load(table, d):
    types = ", ".join(f'"{c}" ' + ("text" if d[c].dtype == object else "float8") for c in d.columns)
    columns = ", ".join(f'"{c}"' for c in d.columns)
    common.psql(a.database, f"DROP TABLE IF EXISTS {table}; CREATE TABLE {table} (id serial, {types});\n"
                            f"COPY {table} ({columns}) FROM STDIN (FORMAT csv);\n{d.to_csv(index=False, header=False)}\\.\nVACUUM ANALYZE {table};")


def calibration_error(y, chance):
    """Mean distance of predicted and true share over ten equal groups by prediction."""
    order = numpy.argsort(chance, kind="stable")
    return sum(len(b) * abs(chance[b].mean() - y[b].mean()) for b in numpy.array_split(order, 10)) / len(y)


def rivals(d, label):
    texts = [c for c in d.columns if c != label and d[c].dtype == object]
    numbers = [c for c in d.columns if c != label and c not in texts]
    return {"LogisticRegression": lambda: make_pipeline(
                ColumnTransformer([("t", OneHotEncoder(handle_unknown="ignore", min_frequency=5), texts),
                                   ("n", make_pipeline(SimpleImputer(), StandardScaler()), numbers)]), LogisticRegression(max_iter=1000)),
            "HistGradientBoosting": lambda: make_pipeline(
                ColumnTransformer([("t", OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), texts),
                                   ("n", "passthrough", numbers)]), HistGradientBoostingClassifier(random_state=42))}


def compare(session, name, label, train, test):
    load("bench_train", train)
    load("bench_test", test)
    y = test[label].values
    times, chances = {}, {}
    x, z = train.drop(columns=label).copy(), test.drop(columns=label).copy()
    for c in x.columns[x.dtypes == object]:
        x[c], z[c] = x[c].fillna(""), z[c].fillna("")
    session.run("DROP TABLE IF EXISTS bench_model")
    for _ in range(a.rounds):
        session.run("DROP TABLE IF EXISTS bench_model")
        times.setdefault(OURS, []).append(session.cpu(
            f"CREATE TABLE bench_model AS SELECT sales_internal.train_scorecard('bench_train', '{label}') AS model_id"))
        for rival, make in rivals(train, label).items():
            start = time.process_time()
            fitted = make().fit(x, train[label])
            times.setdefault(rival, []).append(time.process_time() - start)
            chances[rival] = fitted.predict_proba(z)[:, 1]
    answer = session.run("SELECT a.probability FROM bench_model m, sales_internal.apply_scorecard(m.model_id, 'bench_test') a ORDER BY a.key::int")
    chances[OURS] = numpy.array(answer, dtype=float)
    seconds = {who: statistics.median(t) for who, t in times.items()}
    auc = {who: roc_auc_score(y, c) for who, c in chances.items()}
    loss = {who: log_loss(y, c) for who, c in chances.items()}
    error = {who: calibration_error(y, c) for who, c in chances.items()}
    print(f"{name}: {len(train)} rows to learn from, {len(test)} to judge by")
    for who in seconds:
        print(f"  {who:22s} {seconds[who]:7.2f} CPU s  AUC {auc[who]:.4f}  log loss {loss[who]:.4f}  calibration error {error[who]:.4f}")
    best = max((w for w in auc if w != OURS), key=auc.get)
    common.result(f"learner, {name}: AUC", auc[OURS], best, auc[best], "AUC", auc[OURS] / auc[best], ">= 1")
    best = min((w for w in loss if w != OURS), key=loss.get)
    common.result(f"learner, {name}: log loss", loss[OURS], best, loss[best], "nats", loss[OURS] / loss[best], "<= 1")
    common.result(f"learner, {name}: calibration error", error[OURS], "the most that is aimed at", 0.02, "probability", error[OURS] / 0.02, "<= 1")
    common.result(f"learner, {name}: training from {len(train)} rows", seconds[OURS], "HistGradientBoosting", seconds["HistGradientBoosting"],
                  "CPU s", seconds[OURS] / seconds["HistGradientBoosting"])


common.psql(a.database, "CREATE EXTENSION IF NOT EXISTS sales_assistant")
session = common.Session(a.database)
session.run("SET maintenance_work_mem = '1GB'")
for one in (public("bank_small", "y", ("duration", "split", "cv_fold")),
            public("olist_funnel", "closed", ("mql_id", "first_contact_date", "contact_month", "split", "cv_fold", "split_time")),
            made(a.rows), *(more() if a.more else ())):
    compare(session, *one)
session.end()
