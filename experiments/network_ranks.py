"""Step times of training by two processes in two network namespaces: experiments/network_ranks.py PROGRAM [GBIT ...].

PROGRAM is built with the feature mpi. For every rate of the network (a token bucket of `tc`): float32 in one bucket, in
buckets of 4 MiB, and as bfloat16; beside the time of one process alone and what `--dry-run` predicts. Needs root, `ip netns` and `tc`.
"""

import json
import os
import pathlib
import re
import stat
import subprocess
import sys
import tempfile

PROGRAM = str(pathlib.Path(sys.argv[1]).resolve())
RATES = [float(rate) for rate in sys.argv[2:]] or [1.0, 25.0]
STEPS = int(os.environ.get("STEPS", 12))
# Of the pair of virtual devices; no delay is added.
DELAY = 30
SPACES = ["ranks-a", "ranks-b"]
ADDRESSES = ["10.77.0.1", "10.77.0.2"]
# The transformer of the benchmark: six blocks of width 256 on 128 sites.
NETWORK = "model.network={kind='dit',width=256,blocks=6,heads=8,cond=128}"
MODEL = ["echo", "--set", NETWORK, "--set", "train.minutes=0", "--set", "train.accumulate=1",
         "--set", f"train.batch={os.environ.get('BATCH', 16)}", "--threads", "1"]
LONG = ["--set", f"train.steps={STEPS}", "--set", "train.validate_every=0", "--set", "train.sample_every=0", "--set", "train.log_every=1",
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


def seconds(folder):
    """The median time of a step, without the first ones."""
    rows = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    rows = [row for row in rows if "loss" in row and row["step"] > 3]
    times = sorted(int(os.environ.get("BATCH", 16)) * RANKS[folder.name.split("-")[0]] / row["examples_per_second"] for row in rows)
    return times[len(times) // 2]


RANKS = {"one": 1, "two": 2}


def train(root, name, more, agent=None):
    folder = root / name
    program = [PROGRAM, "-q", "train", *MODEL, *LONG, "--out", str(folder), *more]
    if agent:
        hosts = ",".join(f"{address}:1" for address in ADDRESSES)
        program = ["ip", "netns", "exec", SPACES[0], "mpirun", "-n", "2", "--host", hosts, "--bind-to", "none",
                   "--mca", "plm_rsh_agent", str(agent), "--mca", "btl", "tcp,self", "--mca", "pml", "ob1",
                   "--mca", "btl_tcp_if_include", "10.77.0.0/24", "--mca", "oob_tcp_if_include", "10.77.0.0/24", *program]
    done = subprocess.run(program, env=ENVIRONMENT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"FAILED: {' '.join(program)}\n{done.stdout}{done.stderr}")
    return seconds(folder)


def predicted(alone, rate, more):
    """The step that `--dry-run` predicts, with the computation of `alone` in place of its own measurement."""
    out = subprocess.run([PROGRAM, "-q", "train", *MODEL, "--dry-run", "--ranks", "2", "--link", str(rate), "--latency", str(DELAY), *more],
                         capture_output=True, text=True)
    if out.returncode:
        sys.exit(f"FAILED: {out.stderr}")
    own = float(re.search(r"([\d.]+) s each", out.stdout).group(1))
    micro_batches = int(re.search(r"has (\d+) micro-batches", out.stdout).group(1))
    return float(out.stdout.splitlines()[-1].split()[2]) + micro_batches * (alone - own)


with tempfile.TemporaryDirectory() as name:
    root = pathlib.Path(name)
    agent = root / "agent"
    agent.write_text("#!/bin/sh\ncase $1 in 10.77.0.1) space=ranks-a;; *) space=ranks-b;; esac\nshift\nexec ip netns exec $space sh -c \"$*\"\n")
    agent.chmod(agent.stat().st_mode | stat.S_IXUSR)
    connect()
    try:
        alone = train(root, "one", [])
        print(f"one process: {alone:.4f} s a step")
        for rate in RATES:
            shape(rate)
            for label, more in [("one bucket", ["--bucket", "1024"]), ("buckets of 4 MiB", []), ("bfloat16", ["--wire", "bf16"]),
                                ("reproducible, 2 micro-batches", ["--reproducible", "--set", "train.accumulate=2"])]:
                if "accumulate" in str(more):
                    RANKS["two"] = 4
                step = train(root, f"two-{rate}-{label.split()[0]}-{label.split()[-1]}", more, agent)
                RANKS["two"] = 2
                print(f"{rate:g} Gbit/s, {label}: {step:.4f} s a step, {predicted(alone, rate, more):.4f} predicted", flush=True)
    finally:
        for space in SPACES:
            sh(f"ip netns del {space}", check=False)
