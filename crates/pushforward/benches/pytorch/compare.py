"""Runs a Rust benchmark and its PyTorch twin in turns, case by case, and prints the ratio of their median times.

    python compare.py EXECUTABLE [--twin NAME] [--rounds N] [--only CASE,...] [--precision f32|high|bf16]

EXECUTABLE is what `cargo bench --bench NAME --no-run` names; its twin is `NAME.py` beside this file. Both sides use two
threads. PyTorch computes in float32, and under autocast where ours is bf16. They must agree on the number of parameters and on the operations in the matrix products of every case, which one
side knows by a formula and the other counts. Cases without a twin are left out. Leave the machine alone meanwhile:
PyTorch's threads wait for each other by spinning, and busy neighbours have made it thirteen times slower. The ratio of the
least times is the sturdier one.
"""

import argparse
import json
import os
import platform
import re
import statistics
import subprocess
import sys
import time
from pathlib import Path

# A thread pool of PyTorch's spins for a while after its work, which would slow whoever runs next.
PAUSE_SECONDS = 0.3


# Two threads, whatever it is.
ENVIRONMENT = os.environ | {"RAYON_NUM_THREADS": "2", "OMP_NUM_THREADS": "2", "MKL_NUM_THREADS": "2"}


class Side:
    def __init__(self, command, options):
        describe = subprocess.run([*command, "--describe"], env=ENVIRONMENT, check=True, stdout=subprocess.PIPE)
        self.facts = json.loads(describe.stdout)
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([*command, *options, "--serve"], env=ENVIRONMENT, stdin=pipe, stdout=pipe, text=True)

    def milliseconds(self, name):
        time.sleep(PAUSE_SECONDS)
        print(name, file=self.process.stdin, flush=True)
        answer = self.process.stdout.readline().split()
        if answer[:1] != [name]:
            sys.exit(f"{self.facts['version']} gave no time for {name}")
        return float(answer[1])


def check(ours, theirs):
    for name, count in theirs["parameters"].items():
        if ours["parameters"].get(name) != count:
            sys.exit(f"not the same network in {name}: {ours['parameters'].get(name)} and {count} parameters")
    for name, gflop in theirs["gflop"].items():
        # The formula's backward pass includes the gradient of the input, which not every case needs: less than 1 %.
        if abs(gflop / ours["gflop"][name] - 1) > 0.01:
            sys.exit(f"not the same work in {name}: {ours['gflop'][name]:.2f} and {gflop:.2f} GFLOP")
    # An error that is not a number is not below the limit either.
    if not all(error < 1e-6 for error in theirs["errors"].values()):
        sys.exit(f"the twin computes something else than it should: relative errors {theirs['errors']}")


def machine():
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        cpu = platform.processor() or platform.machine()
    return f"{cpu}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def warn_if_busy():
    if os.getloadavg()[0] > 0.5:
        print("warning: the machine is busy, and these times will not be worth much", file=sys.stderr)


def twin_of(executable):
    # Cargo appends a hash of 16 digits to the benchmark's name.
    return re.sub("-[0-9a-f]{16}$", "", executable.stem)


def measure(executable, twin, rounds, only=None, precision="high"):
    """Both sides, their times of every case in turns, and our cases without a twin."""
    script = Path(__file__).with_name(f"{twin}.py")
    if not script.exists():
        sys.exit(f"{executable.name} has no twin {script.name}: name one by --twin")
    ours = Side([str(executable.resolve())], ["--precision", precision])
    theirs = Side([sys.executable, str(script)], ["--autocast"] if precision == "bf16" else [])
    check(ours.facts, theirs.facts)
    twins = list(theirs.facts["gflop"])
    names = only or twins
    if unknown := [name for name in names if name not in twins]:
        sys.exit(f"no twin of {', '.join(unknown)}: there are {', '.join(twins)}")
    times = {(side, name): [] for side in (ours, theirs) for name in names}
    for round in range(rounds):
        for name in names:
            for side in (ours, theirs) if round % 2 == 0 else (theirs, ours):
                times[side, name].append(side.milliseconds(name))
        print(f"{twin}, {precision}: round {round + 1} of {rounds}", file=sys.stderr)
    for side in (ours, theirs):
        side.process.stdin.close()
        side.process.wait()
    return ours, theirs, times, [name for name in ours.facts["gflop"] if name not in twins]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("executable", type=Path)
    parser.add_argument("--twin")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--only", type=lambda names: names.split(","))
    parser.add_argument("--precision", choices=["f32", "high", "bf16"], default="high")
    args = parser.parse_args()
    print(machine(), flush=True)
    warn_if_busy()
    twin = args.twin or twin_of(args.executable)
    ours, theirs, times, alone = measure(args.executable, twin, args.rounds, args.only, args.precision)
    print(twin, ours.facts["version"], theirs.facts["version"], f"precision {args.precision}", "2 threads", sep=", ")
    if alone:
        print("without a twin:", ", ".join(alone))
    print(f"{args.rounds} rounds, ms{'median':>24}{'least':>28}{'GFLOP/s at least':>23}{'parameters':>11}")
    print(f"{'':26}" + f" {'ours':>9} {'PyTorch':>9} {'ratio':>6}" * 2 + f" {'ours':>9} {'PyTorch':>9}")
    for name in [name for side, name in times if side is ours]:
        line = f"{name:26}"
        for figure in (statistics.median, min):
            a, b = (figure(times[side, name]) for side in (ours, theirs))
            line += f" {a:9.1f} {b:9.1f} {a / b:6.2f}"
        work = 1e3 * ours.facts["gflop"][name]
        print(f"{line} {work / a:9.0f} {work / b:9.0f} {ours.facts['parameters'][name]:10}")


if __name__ == "__main__":
    main()
