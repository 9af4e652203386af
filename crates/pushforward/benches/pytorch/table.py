"""The whole table against PyTorch, in one run: steps, sampling, memory, and the start of a process.

    cargo bench --workspace --no-run && cargo build --release
    python table.py TARGET [--rounds N]

TARGET is cargo's target folder, of which the newest executables are taken. Times are those of `compare.py`: in turns, medians, two
threads, PyTorch's eager float32 (its autocast where ours is bf16). A process's memory is its peak while it takes two training steps, the libraries' own included, and
above what it held before it made the model. The start is from nothing to a first one-step sample of a transformer of the benchmark's
width and depth: ours is the program reading a run from disk, PyTorch's draws its weights.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import compare

STEP, AEF, GRAPH = "flow_map_step", "aef_step", "graph_step"

# Name, benchmark, case, precision, target, must.
ROWS = [
    ("DiT step, diagonal", STEP, "train/diagonal", "high", 0.75, 0.90),
    ("DiT step through the tangent, CSD", STEP, "train/csd", "high", 0.40, 0.55),
    ("DiT sampling, batch 64", STEP, "sample/b64-nfe1", "high", 0.65, 0.80),
    ("DiT sampling, batch 1", STEP, "sample/b1-nfe1", "high", 0.50, 0.90),
    ("published graph network, diagonal", GRAPH, "train/qm9-diagonal", "high", 0.60, 0.90),
    ("published graph network, CSD", GRAPH, "train/qm9-csd", "high", 0.40, 0.60),
    ("our graph network, diagonal", GRAPH, "train/qm9-pair-diagonal", "high", None, None),
    ("our graph network, ECLD", GRAPH, "train/qm9-pair-ecld", "high", None, None),
    ("AEF-linear, latent 2", AEF, "train/linear-2", "high", 0.80, 1.0),
    ("AEF-linear, latent 32", AEF, "train/linear-32", "high", 0.80, 1.0),
    ("DiT step, bf16 against autocast", STEP, "train/diagonal", "bf16", 0.90, None),
    ("DiT sampling, batch 64, bf16", STEP, "sample/b64-nfe1", "bf16", None, None),
]


def newest(target, name):
    found = [p for p in target.glob(f"release/deps/{name}-*") if p.suffix == "" and compare.twin_of(p) == name]
    if not found:
        sys.exit(f"no benchmark {name} under {target}: run `cargo bench --workspace --no-run`")
    return max(found, key=lambda p: p.stat().st_mtime)


def line(name, ours, theirs, unit, target, must, least=""):
    limits = "".join(f" {x:7.2f}" if x else f" {'':7}" for x in (target, must))
    print(f"{name:38} {ours:10.1f} {theirs:10.1f} {unit:4} {ours / theirs:6.2f} {least:>6}{limits}", flush=True)


def memory(executable, case):
    """Peak of a process and its rise above what it held at first, MiB, of ours and of PyTorch's."""
    script = Path(__file__).with_name(f"{STEP}.py")
    run = lambda command: json.loads(subprocess.run(command, env=compare.ENVIRONMENT, check=True, capture_output=True).stdout)
    ours = run([str(executable), "--json", "--rounds", "1", "--only", case])[0]
    return ours, run([sys.executable, str(script), "--peak", case])


def seconds(command):
    start = time.perf_counter()
    subprocess.run(command, env=compare.ENVIRONMENT, check=True, capture_output=True)
    return time.perf_counter() - start


def starts(program, rounds):
    script = Path(__file__).with_name(f"{STEP}.py")
    with tempfile.TemporaryDirectory() as folder:
        run = f"{folder}/run"
        network = 'model.network={kind="dit", patch=1, width=256, blocks=6, heads=8, cond=128, time_width=256}'
        # Images of more pixels than the benchmark has sites.
        train = ["train", "glyphs", "--out", run, "--no-eval", "--set", network, "--set", "train.steps=2", "--set", "train.batch=2"]
        subprocess.run([program, *train], check=True, capture_output=True)
        ours = [str(program), "sample", run, "-n", "1", "--nfe", "1"]
        theirs = [sys.executable, str(script), "--first-sample"]
        times = [(seconds(ours), seconds(theirs)) for _ in range(rounds + 1)][1:]
    return [1e3 * statistics.median(side) for side in zip(*times)]


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("target", type=Path)
    parser.add_argument("--rounds", type=int, default=5)
    args = parser.parse_args()
    print(compare.machine())
    compare.warn_if_busy()
    measured = {}
    for bench in (STEP, GRAPH, AEF):
        for precision in ("high", "bf16"):
            names = list(dict.fromkeys(case for _, b, case, p, *_ in ROWS if (b, p) == (bench, precision)))
            if names:
                measured[bench, precision] = compare.measure(newest(args.target, bench), bench, args.rounds, names, precision)
    ours, theirs, *_ = measured[STEP, "high"]
    print(ours.facts["version"], theirs.facts["version"], "2 threads", f"{args.rounds} rounds, medians", sep=", ")
    print(f"{'':38} {'ours':>10} {'PyTorch':>10} {'':4} {'ratio':>6} {'least':>6} {'target':>7} {'must':>7}")
    for name, bench, case, precision, target, must in ROWS:
        ours, theirs, times, _ = measured[bench, precision]
        a, b = times[ours, case], times[theirs, case]
        line(name, statistics.median(a), statistics.median(b), "ms", target, must, f"{min(a) / min(b):.2f}")
    for case in ("train/csd", "train/diagonal"):
        ours, theirs = memory(newest(args.target, STEP), case)
        limits = (0.60, 1.0) if case == "train/csd" else (None, None)
        line(f"peak memory, {case}", ours["peak_rss_mib"], theirs["peak_rss_mib"], "MiB", *limits)
        line("  above the start", ours["peak_rise_mib"], theirs["peak_rise_mib"], "MiB", None, None)
    line("start to first sample", *starts(args.target / "release" / "pushforward", args.rounds), "ms", 0.05, 0.2)


if __name__ == "__main__":
    main()
