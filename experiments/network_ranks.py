"""Step times of training by two processes in two network namespaces: experiments/network_ranks.py PROGRAM [GBIT ...].

PROGRAM is built with the feature mpi. For every rate of the network (a token bucket of `tc`): one bucket, buckets of 4 MiB, with and
without overlap, and as bfloat16; beside the time of one process alone and what `--dry-run` predicts from it. Each process has a core
of its own. Variants take turns, ROUNDS times (3), and medians are printed. Needs root, `ip netns` and `tc`.
"""

import json
import os
import pathlib
import shutil
import stat
import statistics
import subprocess
import sys
import tempfile

PROGRAM = str(pathlib.Path(sys.argv[1]).resolve())
RATES = [float(rate) for rate in sys.argv[2:]] or [1.0, 25.0]
STEPS = int(os.environ.get("STEPS", 12))
ROUNDS = int(os.environ.get("ROUNDS", 3))
BATCH = int(os.environ.get("BATCH", 16))
# Of the pair of virtual devices; no delay is added.
DELAY = 30
SPACES = ["ranks-a", "ranks-b"]
ADDRESSES = ["10.77.0.1", "10.77.0.2"]
# The transformer of the benchmark: six blocks of width 256 on 128 sites.
NETWORK = "model.network={kind='dit',width=256,blocks=6,heads=8,cond=128}"
MODEL = ["echo", "--set", NETWORK, "--set", "train.minutes=0", "--set", f"train.steps={STEPS}",
         "--set", "train.accumulate=1", "--set", f"train.batch={BATCH}", "--threads", "1"]
LONG = ["--set", "train.validate_every=0", "--set", "train.sample_every=0", "--set", "train.log_every=1",
        "--no-eval"]
ENVIRONMENT = {**os.environ, "OMPI_ALLOW_RUN_AS_ROOT": "1", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1"}


def sh(command, check=True):
    return subprocess.run(command, shell=True, check=check, capture_output=True, text=True)


def connect():
    for space in SPACES:
        sh(f"ip netns del {space}", check=False)
        sh(f"ip netns add {space}")
        sh(f"ip netns exec {space} ip link set lo up")
    sh(f"ip link add va netns {SPACES[0]} type veth peer name vb netns {SPACES[1]}")
    for space, device, address in zip(SPACES, ["va", "vb"], ADDRESSES):
        sh(f"ip netns exec {space} ip addr add {address}/24 dev {device}")
        sh(f"ip netns exec {space} ip link set {device} up")


def shape(rate):
    for space, device in zip(SPACES, ["va", "vb"]):
        sh(f"ip netns exec {space} tc qdisc del dev {device} root", check=False)
        sh(f"ip netns exec {space} tc qdisc add dev {device} root tbf rate {rate}gbit burst 1mb latency 100ms")


def seconds(folder, micro_batches):
    """The median time of a step, without the first ones."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows = [row for row in rows if "loss" in row and row["step"] > 3]
    return statistics.median(BATCH * micro_batches / row["examples_per_second"] for row in rows)


def train(root, name, micro_batches, more, agent=None):
    """A run; `micro_batches` are those of a step of all processes."""
    folder = root / name
    program = [str(root / "pinned"), PROGRAM, "-q", "train", *MODEL, *LONG, "--out", str(folder), *more]
    if agent:
        hosts = ",".join(f"{address}:1" for address in ADDRESSES)
        program = ["ip", "netns", "exec", SPACES[0], "mpirun", "-n", "2", "--host", hosts, "--bind-to", "none",
                   "--mca", "plm_rsh_agent", str(agent), "--mca", "btl", "tcp,self", "--mca", "pml", "ob1",
                   "--mca", "btl_tcp_if_include", "10.77.0.0/24", "--mca", "oob_tcp_if_include", "10.77.0.0/24", *program]
    done = subprocess.run(program, env=ENVIRONMENT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"FAILED: {' '.join(program)}\n{done.stdout}{done.stderr}")
    found = seconds(folder, micro_batches)
    shutil.rmtree(folder)
    return found


def predicted(alone, rate, more):
    """The step that `--dry-run` predicts from the time of one process alone."""
    out = subprocess.run([PROGRAM, "-q", "train", *MODEL, "--dry-run", "--ranks", "2", "--link", str(rate), "--latency", str(DELAY),
                          "--seconds", str(alone), *more], capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"FAILED: {out.stderr}")
    return float(out.stdout.splitlines()[-1].split()[2])


VARIANTS = [
    ("one bucket, no overlap", 2, ["--bucket", "1024", "--no-overlap"]),
    ("buckets, no overlap", 2, ["--no-overlap"]),
    ("buckets, overlap", 2, []),
    ("bfloat16, overlap", 2, ["--wire", "bf16"]),
    ("reproducible, two micro-batches", 4, ["--reproducible", "--set", "train.accumulate=2"]),
]

with tempfile.TemporaryDirectory() as name:
    root = pathlib.Path(name)
    agent, pinned = root / "agent", root / "pinned"
    agent.write_text("#!/bin/sh\ncase $1 in 10.77.0.1) space=ranks-a;; *) space=ranks-b;; esac\nshift\nexec ip netns exec $space sh -c \"$*\"\n")
    pinned.write_text("#!/bin/sh\nexec taskset -c ${OMPI_COMM_WORLD_RANK:-0} \"$@\"\n")
    for script in [agent, pinned]:
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
    connect()
    try:
        for rate in RATES:
            shape(rate)
            alone, found = [], {label: [] for label, _, _ in VARIANTS}
            for turn in range(ROUNDS):
                alone.append(train(root, "one", 1, []))
                for label, micro_batches, more in VARIANTS:
                    found[label].append(train(root, "two", micro_batches, more, agent))
            one = statistics.median(alone)
            print(f"{rate:g} Gbit/s; one process: {one:.4f} s a step ({min(alone):.4f} to {max(alone):.4f}); load {os.getloadavg()[0]:.1f}")
            for label, micro_batches, more in VARIANTS:
                step, guess = statistics.median(found[label]), predicted(one, rate, more)
                print(f"  {label}: {step:.4f} s a step ({min(found[label]):.4f} to {max(found[label]):.4f}), "
                      f"{guess:.4f} predicted ({100 * (guess / step - 1):+.0f} %)", flush=True)
    finally:
        for space in SPACES:
            sh(f"ip netns del {space}", check=False)
