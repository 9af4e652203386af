"""Kills a training at random moments, resumes it, and checks what is left: experiments/kill.py PROGRAM [KILLS] [SEED].

After every kill all checkpoints load. At the end the run is finished and compared with an uninterrupted one: the same
checkpoint bit for bit, a metrics file without half lines and without a step twice, and no file left behind. Then the
same on a disk that is too small (needs the right to mount; else it is said to be skipped). 1000 kills take ten minutes.
"""

import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

PROGRAM = str(pathlib.Path(sys.argv[1]).resolve())
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 1000
RANDOM = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 0)
SETTINGS = ["train.minutes=0", f"train.steps={300 * KILLS}", "train.batch=4", "train.checkpoint_every=7",
            "train.validate_every=11", "train.sample_every=50", "train.log_every=3", "train.keep_every=5000",
            "model.network={kind='mlp',width=8,blocks=1,time_width=4}"]


def arguments(folder, new):
    start = ["echo", "--out", folder] + [a for s in SETTINGS for a in ("--set", s)]
    return [PROGRAM, "-q", "train", *(start if new else ["--resume", folder]), "--threads", "1", "--no-eval"]


def fail(text):
    sys.exit(f"FAILED: {text}")


def run(folder, new, **more):
    return subprocess.run(arguments(folder, new), stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, **more)


def begun(folder):
    return (folder / "checkpoints" / "resume.safetensors").exists()


def check_checkpoints(folder):
    for path in (folder / "checkpoints").glob("[!.]*.safetensors"):
        if path.name.startswith("resume"):
            continue
        shown = subprocess.run([PROGRAM, "inspect", str(path)], capture_output=True, text=True)
        if shown.returncode:
            fail(f"{path} does not load: {shown.stderr}")


def check_metrics(folder):
    seen = set()
    for number, line in enumerate((folder / "metrics.jsonl").read_text().splitlines(), 1):
        try:
            row = json.loads(line)
        except ValueError:
            fail(f"line {number} of the metrics is no JSON: {line[:80]!r}")
        key = (row["step"], "loss" in row)
        if key in seen:
            fail(f"step {row['step']} is in the metrics twice (line {number})")
        seen.add(key)


def weights(path):
    data = path.read_bytes()
    return data[8 + int.from_bytes(data[:8], "little"):]


def kills(root):
    folder = root / "killed"
    for kill in range(KILLS):
        process = subprocess.Popen(arguments(str(folder), not begun(folder)), stdout=subprocess.DEVNULL,
                                   stderr=subprocess.PIPE, text=True)
        time.sleep(RANDOM.random() ** 2 * 0.5)
        ended = process.poll()
        process.send_signal(RANDOM.choice([signal.SIGKILL, signal.SIGKILL, signal.SIGTERM]))
        stderr = process.communicate()[1]
        if ended not in (None, 0):
            fail(f"kill {kill}: the program ended by itself with {ended}: {stderr}")
        if process.returncode not in (0, -9, -15, 143):
            fail(f"kill {kill}: exit code {process.returncode}: {stderr}")
        if kill % 10 == 0:
            check_checkpoints(folder)
        print(f"\r{kill + 1} kills", end="", flush=True)
    print()
    done = run(str(folder), not begun(folder))
    if done.returncode:
        fail(f"the last resume: {done.stderr}")
    check_checkpoints(folder)
    check_metrics(folder)
    whole = root / "whole"
    if run(str(whole), True).returncode:
        fail("the uninterrupted run")
    for name in ("last.safetensors", "best.safetensors"):
        if weights(folder / "checkpoints" / name) != weights(whole / "checkpoints" / name):
            fail(f"{name} differs from that of the uninterrupted run")
    left = [str(p) for p in folder.rglob("*") if "partial" in p.name]
    if left:
        fail(f"left behind: {left}")
    print("every checkpoint loaded; the finished run equals the uninterrupted one; nothing is left behind")


def full_disk(root):
    disk = root / "disk"
    disk.mkdir()
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(disk)], stderr=subprocess.DEVNULL).returncode:
        print("skipped: a full disk (no right to mount)")
        return
    try:
        folder = disk / "run"
        for attempt in range(20):
            ended = run(str(folder), not begun(folder), timeout=300)
            if ended.returncode == 0:
                fail("the run fits on the small disk: make it smaller")
            if ended.returncode not in (1, 2) or "panicked" in ended.stderr:
                fail(f"full disk: exit code {ended.returncode}: {ended.stderr}")
            check_checkpoints(folder)
        print(f"a full disk ends a run with code 1, and every checkpoint loads: {ended.stderr.strip().splitlines()[0]}")
    finally:
        subprocess.run(["umount", str(disk)])


with tempfile.TemporaryDirectory() as name:
    kills(pathlib.Path(name))
    full_disk(pathlib.Path(name))
