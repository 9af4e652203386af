"""Missing cells of held-out rows, filled in by a trained model and by imputers of scikit-learn.

usage: experiments/fill_table.py PROGRAM RUN TRAIN.csv TEST.csv [ROWS] [SHARE|COLUMN,COLUMN,...] [SEED]

A share (0.2) of the cells of the first ROWS (5000) rows of TEST is hidden at random, or whole columns are. Printed are the accuracy of
categories and the error of numbers in units of their deviation, each as the mean over columns, for
  draw        `pushforward impute`: one joint draw, one network evaluation a row
  likely      `pushforward impute --likely`
  constant    the most frequent value and the mean
  iterative   IterativeImputer (Bayesian ridge regression) on one-hot columns
  forest      random forests column by column, three rounds from the constant (after Stekhoven and Buehlmann 2012)
and the score of a detector (boosted trees, 1 - 2 |AUC - 0.5|) that tells the filled rows from the whole ones.
Needs numpy, pandas, scikit-learn.
"""

import pathlib
import subprocess
import sys
import tempfile

import numpy as np
import pandas as pd
from sklearn.ensemble import HistGradientBoostingClassifier, RandomForestClassifier, RandomForestRegressor
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.impute import IterativeImputer
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

PROGRAM, RUN, TRAIN, TEST = sys.argv[1:5]
ROWS = int(sys.argv[5]) if len(sys.argv) > 5 else 5000
WHICH = sys.argv[6] if len(sys.argv) > 6 else "0.2"
RANDOM = np.random.default_rng(int(sys.argv[7]) if len(sys.argv) > 7 else 0)

train = pd.read_csv(TRAIN, keep_default_na=False)
test = pd.read_csv(TEST, keep_default_na=False).head(ROWS)
for name in train:
    if train[name].dtype == object:
        test[name] = test[name].str.rstrip(".")
numbers = [name for name in train if pd.api.types.is_numeric_dtype(train[name])]
words = [name for name in train if name not in numbers]
# What is missing already has no truth.
known = test.astype(str).ne("?").to_numpy()
chosen = np.isin(test.columns, WHICH.split(","))[None]
hidden = (chosen if chosen.any() else RANDOM.random(test.shape) < float(WHICH)) & known
hidden = pd.DataFrame(hidden, columns=test.columns)


def by_program(*options):
    with tempfile.TemporaryDirectory() as folder:
        holes, filled = pathlib.Path(folder, "holes.csv"), pathlib.Path(folder, "filled.csv")
        # `?` is a value here: only what was hidden is filled in.
        test.astype(str).replace("?", "~").mask(hidden, "").to_csv(holes, index=False)
        subprocess.run([PROGRAM, "-q", "impute", RUN, holes, "--out", filled, *options], check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        out = pd.read_csv(filled, keep_default_na=False).replace("~", "?")
    return out.astype({name: float for name in numbers})


def constant():
    out = test.copy()
    for name in numbers:
        out[name] = test[name].astype(float).mask(hidden[name], train[name].mean())
    for name in words:
        out[name] = test[name].mask(hidden[name], train[name].mode()[0])
    return out


def iterative():
    both = pd.concat([train.head(10000), test], ignore_index=True)
    gaps = pd.concat([hidden.head(0).reindex(range(len(both) - len(test)), fill_value=False), hidden], ignore_index=True)
    wide = pd.get_dummies(both, columns=words, dtype=float)
    for name in train:
        columns = [name] if name in numbers else [c for c in wide if c.startswith(f"{name}_")]
        wide.loc[gaps[name].to_numpy(bool), columns] = np.nan
    filled = pd.DataFrame(IterativeImputer(max_iter=5, random_state=0).fit_transform(wide), columns=wide.columns)
    filled = filled.tail(len(test)).reset_index(drop=True)
    out = test.copy()
    for name in numbers:
        out[name] = filled[name]
    for name in words:
        columns = [c for c in wide if c.startswith(f"{name}_")]
        guess = filled[columns].idxmax(axis=1).str[len(name) + 1:]
        out[name] = test[name].mask(hidden[name], guess)
    return out


def forest():
    out, rows = constant(), train.sample(min(len(train), 10000), random_state=0)
    codes = {name: {value: code for code, value in enumerate(sorted(set(train[name]) | set(test[name])))} for name in words}
    coded = lambda table: pd.DataFrame({n: table[n].map(codes[n]) if n in words else table[n].astype(float) for n in table})
    for _ in range(3):
        for name in train.columns[hidden.any()]:
            kind = RandomForestClassifier if name in words else RandomForestRegressor
            model = kind(50, min_samples_leaf=3, n_jobs=2, random_state=0)
            model.fit(coded(rows).drop(columns=name), rows[name])
            gaps = hidden[name].to_numpy()
            out.loc[gaps, name] = model.predict(coded(out[gaps]).drop(columns=name))
    return out


def detected(filled):
    both = pd.concat([train.sample(len(filled), random_state=1), filled], ignore_index=True)
    for name in words:
        both[name] = pd.factorize(both[name])[0]
    rows, label = both.to_numpy(float), np.r_[np.ones(len(filled)), np.zeros(len(filled))]
    areas = []
    for fit, see in StratifiedKFold(3, shuffle=True, random_state=0).split(rows, label):
        model = HistGradientBoostingClassifier(random_state=0).fit(rows[fit], label[fit])
        areas.append(roc_auc_score(label[see], model.predict_proba(rows[see])[:, 1]))
    return 1 - 2 * max(np.mean(areas) - 0.5, 0)


print(f"{'':10} accuracy   error  detector   ({len(words)} columns of words, {len(numbers)} of numbers)")
for name, fill in [("draw", lambda: by_program()), ("likely", lambda: by_program("--likely")), ("constant", constant),
                   ("iterative", iterative), ("forest", forest)]:
    filled = fill()
    right = [(filled[c] == test[c])[hidden[c]].mean() for c in words if hidden[c].any()]
    error = [np.sqrt(((filled[c].astype(float) - test[c]) ** 2)[hidden[c]].mean()) / train[c].std()
             for c in numbers if hidden[c].any()]
    print(f"{name:10} {np.mean(right):8.4f} {np.mean(error):7.4f} {detected(filled):9.4f}", flush=True)
