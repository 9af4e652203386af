#!/usr/bin/env python3
"""What sampling and steering from Python cost over the program: processor seconds of whole processes, and mean rewards.

    python experiments/python_cost.py path/to/pushforward

Package and program should be built alike. Each is run five times in turn; the median counts. Rewards of the program are in
Rust, those of the package in Python, on the same particles with the same seed.
"""

import json
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PROGRAM = sys.argv[1]
ITEMS = 10_000
SAMPLE = f"import pushforward as pf; pf.load('glyphs').sample({ITEMS}, nfe=4, as_ids=True)"
STEER = """
import json
import pushforward as pf
reward = lambda images: images.mean(axis=(1, 2))
found = pf.load("glyphs").steer(64, reward, strength=100, method="METHOD", particles=16, keep=1, nfe=4)
print(json.dumps(found.rewards.mean()))
"""


def seconds(command):
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main():
    with tempfile.TemporaryDirectory() as folder:
        out = Path(folder) / "items.safetensors"
        ours = [PROGRAM, "--quiet", "sample", "glyphs", "-n", str(ITEMS), "--nfe", "4", "--out", str(out)]
        theirs = [sys.executable, "-c", SAMPLE]
        times = [(seconds(ours), seconds(theirs)) for _ in range(5)]
    program, package = (statistics.median(column) for column in zip(*times))
    print(f"{ITEMS} glyphs at 4 evaluations: program {program:.2f} s, package {package:.2f} s, {100 * (package / program - 1):+.1f} %")
    for method in ["best-of", "smc"]:
        command = [PROGRAM, "steer", "glyphs", "--reward", "ink", "--strength", "100", "--method", method, "-n", "64"]
        command += ["--particles", "16", "--nfe", "4", "--json"]
        rows = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)["rows"]
        rust = [row["value"] for row in rows if row["metric"] == "reward_mean"][-1]
        script = [sys.executable, "-c", STEER.replace("METHOD", method)]
        python = json.loads(subprocess.run(script, check=True, capture_output=True, text=True).stdout)
        print(f"{method}: mean reward {rust:.4f} of the program, {python:.4f} by a function of Python")


main()
