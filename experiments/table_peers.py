#!/usr/bin/env python3
"""Rows of a table by other generators, for `pushforward eval RUN --samples OUT.csv` beside our own.

    pip install ctgan ForestDiffusion pandas scikit-learn
    experiments/table_peers.py METHOD TRAIN.csv OUT.csv [--rows N] [--minutes M] [--seed S]

METHOD is one of
  independent  every column redrawn from its own values
  copula       a Gaussian copula over all columns, with their empirical laws; categories in the order of their frequency
  ctgan, tvae  Xu et al. 2019 (arXiv:1907.00503), as in the package `ctgan` with its own settings, for as many of their
               300 epochs as fit into M minutes (20)
  forest       ForestDiffusion (Jolicoeur-Martineau et al. 2023, arXiv:2309.09968): boosted trees for the field of a flow
               at each noise level; --levels and --copies (50 and 100 there) set what fits into the time
TRAIN.csv has a header; a column of numbers with more than 20 values is a number, any other a category. One line of JSON
says how long training and sampling took.
"""

import argparse
import json
import time

import numpy as np
import pandas as pd
from scipy.stats import norm

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("method", choices=["independent", "copula", "ctgan", "tvae", "forest"])
parser.add_argument("train")
parser.add_argument("out")
parser.add_argument("--rows", type=int, default=10000)
parser.add_argument("--minutes", type=float, default=20)
parser.add_argument("--levels", type=int, default=10)
parser.add_argument("--copies", type=int, default=5)
parser.add_argument("--seed", type=int, default=0)
args = parser.parse_args()

random = np.random.default_rng(args.seed)
real = pd.read_csv(args.train, keep_default_na=False)
numbers = [c for c in real if pd.api.types.is_numeric_dtype(real[c]) and real[c].nunique() > 20]
words = [c for c in real if c not in numbers]


def independent():
    return lambda n: pd.DataFrame({c: random.choice(real[c].to_numpy(), n) for c in real})


def copula():
    """Each value is a random place within its share of the sorted column."""
    scores, columns = [], {}
    for c in real:
        order = real[c].value_counts().index if c in words else np.unique(real[c])
        place = pd.Series(np.arange(len(order)), order)
        code = place[real[c]].to_numpy()
        edges = np.concatenate([[0], np.bincount(code, minlength=len(order)).cumsum()]) / len(real)
        columns[c] = order, edges
        scores.append(norm.ppf(edges[code] + (edges[code + 1] - edges[code]) * random.uniform(1e-6, 1 - 1e-6, len(real))))
    root = np.linalg.cholesky(np.corrcoef(scores) + 1e-9 * np.eye(len(scores)))

    def draw(n):
        places = norm.cdf(random.standard_normal((n, len(root))) @ root.T)
        inside = {c: np.searchsorted(edges, p, "right") - 1 for (c, (_, edges)), p in zip(columns.items(), places.T)}
        return pd.DataFrame({c: np.asarray(order)[inside[c]] for c, (order, _) in columns.items()})

    return draw


def by_ctgan(kind):
    import ctgan
    import torch

    torch.manual_seed(args.seed)
    np.random.seed(args.seed)
    make = lambda epochs: getattr(ctgan, kind)(epochs=epochs)
    # Two short trainings say what preparing the columns takes, and what an epoch takes.
    times = []
    for epochs in (1, 3):
        start = time.time()
        make(epochs).fit(real, words)
        times.append(time.time() - start)
    epoch = max((times[1] - times[0]) / 2, 1e-3)
    epochs = int(np.clip((60 * args.minutes - times[0]) / epoch, 1, 300))
    model = make(epochs)
    start = time.time()
    model.fit(real, words)
    return model.sample, time.time() - start, f"{epochs} epochs"


def forest():
    from ForestDiffusion import ForestDiffusionModel

    codes = {c: np.unique(real[c].astype(str), return_inverse=True) for c in words}
    values = np.column_stack([codes[c][1] if c in words else real[c] for c in real]).astype(float)
    places = [i for i, c in enumerate(real) if c in words]
    model = ForestDiffusionModel(values, n_t=args.levels, duplicate_K=args.copies, cat_indexes=places, n_jobs=2,
                                 seed=args.seed)

    def draw(n):
        rows = pd.DataFrame(model.generate(batch_size=n), columns=real.columns)
        for c in words:
            rows[c] = codes[c][0][rows[c].round().astype(int)]
        return rows

    return draw


note, start = "", time.time()
if args.method in ("ctgan", "tvae"):
    sample, trained, note = by_ctgan(args.method.upper())
else:
    sample = {"independent": independent, "copula": copula, "forest": forest}[args.method]()
    trained = time.time() - start
start = time.time()
rows = sample(args.rows)
sampled = time.time() - start
for c in numbers:
    if pd.api.types.is_integer_dtype(real[c]):
        rows[c] = rows[c].round().astype(int)
rows[real.columns].to_csv(args.out, index=False)
print(json.dumps({"method": args.method, "train_s": round(trained, 1), "sample_s": round(sampled, 2), "note": note}))
