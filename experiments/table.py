#!/usr/bin/env python3
"""Prints a Markdown table of the reports that an experiment left: one row per name, mean over seeds [min, max].

    experiments/table.py OUT METRIC [METRIC...]
"""
import json
import re
import sys
from collections import defaultdict
from pathlib import Path

folder, metrics = Path(sys.argv[1]), sys.argv[2:]
cells = defaultdict(lambda: defaultdict(list))
for run in sorted(folder.iterdir()):
    match = re.fullmatch(r"(.*)-(\d+)", run.name)
    for name in ("report.json", "euler.json"):
        path = run / name
        if not match or not path.is_file() or path.stat().st_size == 0:
            continue
        for row in json.loads(path.read_text())["rows"]:
            if row["metric"] in metrics and row["value"] is not None:
                column = (row["metric"], row["sampler"] or "", row["nfe"] or 0)
                cells[match[1]][column].append(row["value"])
columns = sorted({c for row in cells.values() for c in row}, key=lambda c: (metrics.index(c[0]), c[1] != "map", c[2]))
print("| | " + " | ".join(f"{m} {s} {n}".strip() for m, s, n in columns) + " |")
print("|---" * (len(columns) + 1) + "|")
for name, row in cells.items():
    text = []
    for column in columns:
        values = row.get(column, [])
        mean = sum(values) / len(values) if values else float("nan")
        spread = f" [{min(values):.3f}, {max(values):.3f}]" if len(values) > 1 else ""
        text.append(f"{mean:.3f}{spread}" if values else "-")
    print(f"| {name} | " + " | ".join(text) + " |")
