#!/usr/bin/env python3
"""Scores of a synthetic table by SDMetrics, scikit-learn and XGBoost, under the names of `metrics::tables`.

    pip install sdmetrics==0.32.0 xgboost scikit-learn pandas
    table_scores.py real.csv synthetic.csv [test.csv] [--target COLUMN] [--missing '?'] [--seed 0]

The files have a header. A column of numbers in real.csv is numerical, any other is a category; --categories names
columns of numbers that are categories. real.csv is what the generator was trained on, test.csv was held out: with it
come dcr_share and membership_auc, with --target also tstr_auc or tstr_rmse.
"""

import argparse
import json
import time
import warnings

import numpy as np
import pandas as pd
from scipy.spatial.distance import cdist
from sdmetrics.reports.single_table import QualityReport
from sdmetrics.single_table import LogisticDetection
from sdmetrics.single_table.detection.sklearn import ScikitLearnClassifierDetectionMetric
from sklearn.metrics import mutual_info_score, roc_auc_score, root_mean_squared_error
from sklearn.neighbors import NearestNeighbors
from xgboost import XGBClassifier, XGBRegressor

warnings.filterwarnings("ignore")


class TreeDetection(ScikitLearnClassifierDetectionMetric):
    """As in TabPC (april-tools/tabpc, src/metrics/metrics.py)."""

    @staticmethod
    def _get_classifier():
        return XGBClassifier(eval_metric="logloss", enable_categorical=True, random_state=0)


def read(path, missing):
    values = [missing] if missing else []
    return pd.read_csv(path, skipinitialspace=True, keep_default_na=False, na_values=["", *values])


def one_hot(tables, numbers, scale):
    """Numbers by `scale`, with the mean of the first table for missing ones, and one column a class."""
    parts = [[] for _ in tables]
    for column in tables[0]:
        if column in numbers:
            fill = tables[0][column].mean()
            low, high = scale(tables[0][column])
            for part, table in zip(parts, tables):
                part.append(((table[column].fillna(fill) - low) / (high - low or 1)).to_numpy()[:, None])
        else:
            classes = pd.unique(pd.concat(tables)[column].astype(str))
            for part, table in zip(parts, tables):
                part.append((table[column].astype(str).to_numpy()[:, None] == classes[None, :]).astype(float))
    return [np.hstack(part) for part in parts]


def span(values):
    return values.min(), values.max()


def alpha_beta(real, synthetic, seed):
    """synthcity's AlphaPrecision, the naive variant that TabSyn reports."""
    rng = np.random.default_rng(seed)
    n = min(len(real), len(synthetic))
    x, y = (t[np.sort(rng.permutation(len(t))[:n])] for t in (real, synthetic))
    steps = np.linspace(0, 1, 30)
    centre = x.mean(0)
    radii = np.quantile(np.linalg.norm(x - centre, axis=1), steps)
    to_centre = np.linalg.norm(y - centre, axis=1)
    own = NearestNeighbors(n_neighbors=2, algorithm="kd_tree").fit(x).kneighbors(x)[0][:, 1]
    other, at = NearestNeighbors(n_neighbors=1, algorithm="kd_tree").fit(y).kneighbors(x)
    other, at = other[:, 0], at[:, 0]
    spread = np.linalg.norm(y[at] - y.mean(0), axis=1)
    closest = np.quantile(spread, steps)
    precision = [(to_centre <= r).mean() for r in radii]
    coverage = [((other <= own) & (spread <= r)).mean() for r in closest]
    score = lambda curve: 1 - np.abs(steps - np.array(curve)).sum() / steps.sum()
    return score(precision), score(coverage)


def wnmis(real, synthetic, numbers):
    """As in TabPC: 10 bins by the range of the real column, values outside of it a class of their own."""
    edges = {c: np.histogram_bin_edges(real[c].dropna(), bins=10) for c in numbers}

    def codes(table):
        columns = []
        for c in table:
            values = table[c]
            if c in numbers and values.nunique(dropna=False) > len(edges[c]):
                values = pd.cut(values, bins=edges[c], labels=False, include_lowest=True)
            columns.append(pd.Categorical(values).codes)
        return columns

    def nmi(columns):
        k = len(columns)
        mi = np.array([[mutual_info_score(columns[i], columns[j]) if j <= i else 0 for j in range(k)] for i in range(k)])
        h = np.where(np.diag(mi) > 0, np.diag(mi), 1)
        return (2 * mi / (h[:, None] + h[None, :]))[np.tril_indices(k, -1)]

    a, b = nmi(codes(real)), nmi(codes(synthetic))
    return 1 - ((a + b) * abs(a - b)).sum() / (a + b).sum()


def nearest(rows, targets):
    """TabSyn's distance to the closest record: L1 of range-scaled numbers, 2 for another class."""
    return np.concatenate([cdist(rows[i : i + 500], targets, "cityblock").min(1) for i in range(0, len(rows), 500)])


def tstr(train, test, target, seed):
    names = [c for c in train if c != target]
    numbers = [c for c in names if pd.api.types.is_numeric_dtype(train[c]) and pd.api.types.is_numeric_dtype(test[c])]
    both = pd.concat([train[names], test[names]])
    x = pd.get_dummies(both, columns=[c for c in names if c not in numbers], dummy_na=True).astype(float)
    x = x.loc[:, x.nunique() > 1].to_numpy()
    if pd.api.types.is_numeric_dtype(test[target]):
        model = XGBRegressor(random_state=seed).fit(x[: len(train)], train[target])
        return "tstr_rmse", root_mean_squared_error(test[target], model.predict(x[len(train) :]))
    classes = sorted(set(train[target]) | set(test[target]))
    y = train[target].map(classes.index), test[target].map(classes.index)
    p = XGBClassifier(random_state=seed).fit(x[: len(train)], y[0]).predict_proba(x[len(train) :])
    return "tstr_auc", roc_auc_score(y[1], p[:, 1]) if len(classes) == 2 else roc_auc_score(y[1], p, multi_class="ovr")


def main():
    ask = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ask.add_argument("real")
    ask.add_argument("synthetic")
    ask.add_argument("test", nargs="?")
    ask.add_argument("--target")
    ask.add_argument("--missing")
    ask.add_argument("--categories", nargs="*", default=[])
    ask.add_argument("--cap", type=int, default=16_000, help="most rows of a table in distances to rows")
    ask.add_argument("--seed", type=int, default=0)
    ask = ask.parse_args()
    np.random.seed(ask.seed)
    real, synthetic = read(ask.real, ask.missing), read(ask.synthetic, ask.missing)
    test = read(ask.test, ask.missing) if ask.test else None
    numbers = [c for c in real if pd.api.types.is_numeric_dtype(real[c]) and c not in ask.categories]
    for table in filter(lambda t: t is not None, (real, synthetic, test)):
        for c in set(table) - set(numbers):
            table[c] = table[c].astype(object)
    scores, seconds = {}, {}

    def timed(names, function):
        start = time.time()
        value = function()
        seconds[names] = round(time.time() - start, 1)
        values = value if isinstance(value, tuple) else (value,)
        scores.update({k: float(v) for k, v in zip(names.split(), values)})
        print(names, *(f"{v:.4f}" for v in values), f"({seconds[names]} s)", flush=True)

    metadata = {"columns": {c: {"sdtype": "numerical" if c in numbers else "categorical"} for c in real}}

    def quality():
        report = QualityReport()
        # All pairs, as in SDMetrics 0.24 and in published figures; 0.32 leaves out those that are unrelated in real.csv.
        report.real_correlation_threshold = report.real_association_threshold = 0
        report.generate(real, synthetic, metadata, verbose=False)
        return tuple(report.get_properties()["Score"])

    timed("shape trend", quality)
    timed("c2st_logistic", lambda: LogisticDetection.compute(real.copy(), synthetic.copy(), metadata))
    timed("c2st_trees", lambda: TreeDetection.compute(real.copy(), synthetic.copy(), metadata))
    timed("alpha_precision beta_recall", lambda: alpha_beta(*one_hot([real, synthetic], numbers, span), ask.seed))
    timed("wnmis", lambda: wnmis(real, synthetic, numbers))

    def missing_tv():
        laws = [pd.Series(map(tuple, t.isna().to_numpy())).value_counts(normalize=True) for t in (real, synthetic)]
        return laws[0].sub(laws[1], fill_value=0).abs().sum() / 2

    timed("missing_tv", missing_tv)
    if test is not None:
        rng = np.random.default_rng(ask.seed)
        cut = lambda t, n: t[rng.permutation(len(t))[:n]]
        x, y, z = one_hot([real, synthetic, test], numbers, span)
        n = min(len(x), len(z), ask.cap)
        x, y, z = cut(x, n), cut(y, ask.cap), cut(z, n)

        def share():
            a, b = nearest(y, x), nearest(y, z)
            return (a < b).mean() + (a == b).mean() / 2

        timed("dcr_share", share)
        attack = lambda: roc_auc_score([1] * n + [0] * n, -np.concatenate([nearest(x, y), nearest(z, y)]))
        timed("membership_auc", attack)
        if ask.target:
            name, value = tstr(synthetic, test, ask.target, ask.seed)
            timed(name, lambda: value)
            _, value = tstr(real, test, ask.target, ask.seed)
            timed(name + "_of_real_rows", lambda: value)
    print(json.dumps(scores))


if __name__ == "__main__":
    main()
