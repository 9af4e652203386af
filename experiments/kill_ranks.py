"""Kills one of several processes of a training at random moments: experiments/kill_ranks.py PROGRAM [KILLS] [RANKS] [SEED].

PROGRAM is built with the feature mpi. After every kill the whole job has ended within ten seconds with the number of the process,
every checkpoint loads, and no file is half-written; then the run goes on from its last checkpoint. At the end the run is finished
and compared with one process that was not interrupted: the same weights bit for bit.
"""

import os
import pathlib
import random
import re
import signal
import subprocess
import sys
import tempfile
import time

PROGRAM = str(pathlib.Path(sys.argv[1]).resolve())
KILLS = int(sys.argv[2]) if len(sys.argv) > 2 else 50
RANKS = int(sys.argv[3]) if len(sys.argv) > 3 else 2
RANDOM = random.Random(int(sys.argv[4]) if len(sys.argv) > 4 else 0)
STEPS = 2000 * KILLS
SETTINGS = [f"train.steps={STEPS}", "train.batch=4", "train.checkpoint_every=3", "train.validate_every=11", "train.log_every=5",
            "train.keep_every=5000", "model.network.width=16", "model.network.blocks=1"]
ENVIRONMENT = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1", "PUSHFORWARD_RANK_TIMEOUT": "30"}


def fail(text):
    sys.exit(f"FAILED: {text}")


def begun(folder):
    return (folder / "checkpoints" / "resume.safetensors").exists()


def arguments(folder, accumulate):
    start = ["checker", "--out", str(folder)] + [a for s in [*SETTINGS, f"train.accumulate={accumulate}"] for a in ("--set", s)]
    start = ["--resume", str(folder)] if begun(folder) else start
    return [PROGRAM, "train", *start, "--threads", "1", "--no-eval"]


def launch(folder):
    launcher = ["mpirun", "--oversubscribe", "--bind-to", "none", "-n", str(RANKS)]
    return subprocess.Popen([*launcher, *arguments(folder, 1), "--reproducible"],
                            stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, env=ENVIRONMENT)


def processes(launcher):
    """The ranks of a launcher by their number."""
    found = {}
    for path in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parent = int((path / "stat").read_text().rsplit(")", 1)[1].split()[1])
            variables = (path / "environ").read_bytes()
        except OSError:
            continue
        rank = re.search(rb"OMPI_COMM_WORLD_RANK=(\d+)", variables)
        if parent == launcher and rank:
            found[int(rank.group(1))] = int(path.name)
    return found


def check_files(folder):
    for path in (folder / "checkpoints").glob("[!.]*.safetensors"):
        if path.name.startswith("resume"):
            continue
        shown = subprocess.run([PROGRAM, "inspect", str(path)], capture_output=True, text=True)
        if shown.returncode:
            fail(f"{path} does not load: {shown.stderr}")


def weights(path):
    data = path.read_bytes()
    return data[8 + int.from_bytes(data[:8], "little"):]


with tempfile.TemporaryDirectory() as name:
    folder, longest, later = pathlib.Path(name) / "killed", 0.0, 0
    for kill in range(KILLS):
        job = launch(folder)
        deadline = time.monotonic() + 30
        while len(processes(job.pid)) < RANKS and time.monotonic() < deadline:
            time.sleep(0.02)
        time.sleep(RANDOM.random() * 4)
        ranks = processes(job.pid)
        if job.poll() is not None or len(ranks) < RANKS:
            fail(f"kill {kill}: the job ended by itself: {job.communicate()[1]}")
        rank = RANDOM.choice(sorted(ranks))
        os.kill(ranks[rank], signal.SIGKILL)
        killed = time.monotonic()
        try:
            said = job.communicate(timeout=10)[1]
        except subprocess.TimeoutExpired:
            job.kill()
            fail(f"kill {kill}: the job goes on without rank {rank}")
        alive = lambda: [pid for pid in ranks.values() if pathlib.Path(f"/proc/{pid}").exists()]
        while alive() and time.monotonic() < killed + 10:
            time.sleep(0.02)
        longest, left = max(longest, time.monotonic() - killed), alive()
        if left or job.returncode == 0 or f"rank {rank} with PID" not in said:
            fail(f"kill {kill}: exit code {job.returncode}, left {left}, rank {rank}: {said}")
        later += begun(folder)
        check_files(folder)
        print(f"\r{kill + 1} kills, the longest end took {longest:.1f} s", end="", flush=True)
    shown = subprocess.run([PROGRAM, "inspect", str(folder)], capture_output=True, text=True).stdout
    step = int(re.search(r"step (\d+)", shown).group(1))
    print(f"\n{later} of them after the first checkpoint; step {step} is saved, and the run goes on to step {STEPS}")
    job = launch(folder)
    said = job.communicate()[1]
    if job.returncode:
        fail(f"the last resume: {said}")
    check_files(folder)
    whole = pathlib.Path(name) / "whole"
    if subprocess.run(arguments(whole, RANKS), stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL).returncode:
        fail("the uninterrupted run")
    for file in ("last.safetensors", "best.safetensors", "resume.safetensors"):
        if weights(folder / "checkpoints" / file) != weights(whole / "checkpoints" / file):
            fail(f"{file} differs from that of one uninterrupted process")
    left = [str(p) for p in folder.rglob("*") if "partial" in p.name]
    if left:
        fail(f"left behind: {left}")
    print("every checkpoint loaded; the finished run equals one uninterrupted process; nothing is left behind")
