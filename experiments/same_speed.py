"""Times the benchmarks of two builds against each other, interleaved in one run, and prints medians in milliseconds and their ratio.

    python experiments/same_speed.py BEFORE AFTER [--rounds 15]

BEFORE and AFTER are folders with the executables `flow_map_step`, `graph_step` and `aef_step` of a build (`cargo bench -p pushforward --no-run` prints where they are;
copy them there under these names). For changes that promise to cost nothing.
"""

import argparse
import statistics
import subprocess
from pathlib import Path

CASES = {
    "flow_map_step": ["train/diagonal", "train/csd", "sample/b64-nfe4", "sample/b1-nfe4"],
    "graph_step": ["train/qm9-csd"],
    "aef_step": ["train/linear-2"],
}


class Bench:
    """One benchmark of one build, in a process of its own."""

    def __init__(self, file):
        pipe = subprocess.PIPE
        self.process = subprocess.Popen([file, "--serve"], stdin=pipe, stdout=pipe, text=True)

    def time(self, case):
        self.process.stdin.write(case + "\n")
        self.process.stdin.flush()
        name, milliseconds = self.process.stdout.readline().split()
        assert name == case, (name, case)
        return float(milliseconds)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("before", type=Path)
    parser.add_argument("after", type=Path)
    parser.add_argument("--rounds", type=int, default=15)
    args = parser.parse_args()
    for name, cases in CASES.items():
        pair = [Bench(folder / name) for folder in (args.before, args.after)]
        for case in cases:
            for bench in pair:
                bench.time(case)
            # The order alternates, so that neither build always follows the other.
            rounds = [[bench.time(case) for bench in pair[:: 1 if i % 2 == 0 else -1]][:: 1 if i % 2 == 0 else -1] for i in range(args.rounds)]
            before, after = (statistics.median(column) for column in zip(*rounds))
            least = min(r[1] for r in rounds) / min(r[0] for r in rounds)
            print(f"{name:14} {case:16} {before:9.1f} {after:9.1f}   ratio {after / before:.3f}   of least times {least:.3f}", flush=True)
        for bench in pair:
            bench.process.stdin.close()
            bench.process.wait()


if __name__ == "__main__":
    main()
