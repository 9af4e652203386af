#!/usr/bin/env python3
"""Prepares and trains on a set three times as large as the memory that the program may have, which the set read at once does not fit into.

    experiments/larger_than_memory.py PROGRAM [--megabytes 240] [--kind sequences|text|molecules|table] [--keep FOLDER]

The limit is that of the address space (RLIMIT_AS), which counts everything that a process has: code, threads, mapped files. The program is
one of a release build. Each step prints its time and the largest address space and resident memory that it had.
"""

import argparse
import pathlib
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time

STEPS = ["--no-eval", "--set", "train.steps=20", "--set", "train.accumulate=1", "--set", "train.batch=64"]
SMALL = {
    "sequences": ["--set", "model.network={kind='mlp',width=32,blocks=1,time_width=16}"],
    "text": ["--set", "model.network={kind='mlp',width=32,blocks=1,time_width=16}"],
    "table": ["--set", "model.network={kind='mlp',width=32,blocks=1,time_width=16}"],
    "molecules": [
        "--set",
        "model.network={kind='graph-transformer',layers=1,widths=[8,4,4],feed_forward=[8,4,8],outer=[8,4,4],heads=2}",
    ],
}


def write(kind, path, size):
    """A file of at least `size` bytes."""
    draw = random.Random(0)
    letters = ["".join("ACGT"[byte >> shift & 3] for shift in (0, 2, 4, 6)) for byte in range(256)]
    units = ["C", "N", "O", "C(C)", "CC", "C(=O)", "c1ccccc1", "C(F)", "C1CC1"]
    words = "it was the best of times the worst age of wisdom foolishness epoch belief".split()
    number, written = 0, 0
    with open(path, "w") as file:
        if kind == "table":
            file.write("number,word,other,day\n")
        while written < size:
            lines = []
            for _ in range(2000):
                if kind == "sequences":
                    lines.append(f">r{number}\n{''.join(letters[byte] for byte in draw.randbytes(75))}\n")
                elif kind == "text":
                    lines.append(" ".join(draw.choices(words, k=12)) + "\n")
                elif kind == "table":
                    day = f"20{draw.randrange(10, 25)}-0{draw.randrange(1, 10)}-1{draw.randrange(10)}"
                    lines.append(f"{draw.gauss(0, 100):.4f},{draw.choice(words)},{draw.randrange(9)},{day}\n")
                else:
                    lines.append("C" + "".join(draw.choices(units, k=8)) + "\n")
                number += 1
            text = "".join(lines)
            file.write(text)
            written += len(text)


def run(folder, limit, command):
    """Runs a command under a limit of its address space in bytes; returns its exit code."""
    started, peak = time.monotonic(), [0, 0]
    limited = lambda: resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    child = subprocess.Popen(command, cwd=folder, preexec_fn=limited, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL)
    status = pathlib.Path(f"/proc/{child.pid}/status")
    while child.poll() is None:
        try:
            found = dict(line.split(":", 1) for line in status.read_text().splitlines())
            values = [int(found[key].split()[0]) / 1024 for key in ("VmPeak", "VmHWM")]
            peak = [max(a, b) for a, b in zip(peak, values)]
        except (OSError, KeyError, ValueError):
            pass
        time.sleep(0.05)
    errors = child.stderr.read().decode().strip().splitlines()
    seconds = time.monotonic() - started
    print(f"{' '.join(command[1:4])}: exit {child.returncode}, {seconds:.1f} s, {peak[0]:.0f} MiB of address space, {peak[1]:.0f} MiB resident")
    print(f"    {errors[-1] if errors else ''}", flush=True)
    return child.returncode


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=pathlib.Path)
    parser.add_argument("--megabytes", type=int, default=240, help="the limit")
    parser.add_argument("--kind", choices=SMALL, default="sequences")
    parser.add_argument("--keep", type=pathlib.Path, help="work in this folder and leave it")
    args = parser.parse_args()
    folder = args.keep or pathlib.Path(tempfile.mkdtemp())
    folder.mkdir(exist_ok=True)
    limit = args.megabytes << 20
    name = {"sequences": "set.fasta", "text": "set.txt", "molecules": "set.smi", "table": "set.csv"}[args.kind]
    program = str(args.program.resolve())
    try:
        if not (folder / name).exists():
            write(args.kind, folder / name, 3 * limit)
        size = (folder / name).stat().st_size
        print(f"{args.kind}: {size >> 20} MiB, under {args.megabytes} MiB of address space", flush=True)
        threads = ["--threads", "1"]
        train = [program, "train"]
        whole = run(folder, limit, train + [name, "--out", "whole"] + STEPS + SMALL[args.kind] + threads)
        shutil.rmtree(folder / "set", ignore_errors=True)
        shutil.rmtree(folder / "read", ignore_errors=True)
        prepared = run(folder, limit, [program, "data", "prepare", name, "--out", "set"])
        read = run(folder, limit, train + ["set", "--out", "read"] + STEPS + SMALL[args.kind] + threads)
    finally:
        if not args.keep:
            shutil.rmtree(folder, ignore_errors=True)
    if whole == 0 or prepared != 0 or read != 0:
        sys.exit("expected: the file read at once does not fit, the prepared set does")
    print("the file read at once does not fit, the prepared set does")


if __name__ == "__main__":
    main()
