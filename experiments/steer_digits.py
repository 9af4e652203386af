#!/usr/bin/env python3
"""Steers a model of binary digits to each of the ten with one classifier and has another one judge; prints a row of a table.

    experiments/steer_digits.py RUN DATA_DIR CLASSIFIER JUDGE [--keep OUT] [OPTIONS OF steer...]

for instance `--method gradient --particles 1 --nfe 3 --rounds 2 --step 200 --strength 8`. A sample counts as the digit if the judge gives it more than
half of its probability. Diversity is the mean share of pixels in which two samples of one digit differ. OUT gets the pictures.
"""
import json
import os
import subprocess
import sys
from itertools import combinations
from pathlib import Path

run, data, classifier, judge, *options = sys.argv[1:]
keep = None
if options[:1] == ["--keep"]:
    keep, options = Path(options[1]), options[2:]
    keep.mkdir(parents=True, exist_ok=True)
found = []
for digit in range(10):
    goal = f"class({digit})"
    command = [os.environ.get("PUSHFORWARD", "pushforward"), "-q", "steer", run, "--data-dir", data, "--json", "-n", "32"]
    command += ["--classifier", classifier, "--judge-classifier", judge, "--reward", goal, "--judge", goal]
    command += ["--judge-target=-0.6931", *options] + (["--out", str(keep / f"{digit}.png")] if keep else [])
    report = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    rows = {(row["metric"], row["sampler"] == "map"): row["value"] for row in report["rows"]}
    items = [item["ids"] for item in report["items"]]
    apart = [sum(a != b for a, b in zip(x, y)) / len(x) for x, y in combinations(items, 2)]
    nfe = [item["nfe"] for item in report["items"]]
    mean = lambda numbers: sum(numbers) / len(numbers)
    found.append((rows["judge_satisfied", False], rows["judge_satisfied", True], mean(apart), mean(nfe)))
    print(f"{digit}: judged {found[-1][0]:.3f}, without steering {found[-1][1]:.3f}", file=sys.stderr)
judged, plain, apart, nfe = (sum(column) / len(column) for column in zip(*found))
least = min(row[0] for row in found)
print(f"| {' '.join(options)} | {nfe:.0f} | {judged:.3f} | {least:.2f} | {plain:.3f} | {apart:.3f} |")
