"""Trains, samples, scores and steers with two builds of the program and compares every byte.

    python experiments/same_bits.py BEFORE AFTER --data DIR [--work DIR] [--keep]

BEFORE and AFTER are two executables; DIR holds fashion_mnist. Of every run, 50 steps with a fixed seed in each precision that matters here,
all tensors of the resume file are compared bit for bit, by name; of the first build's checkpoint, samples, scores, steered samples and
evaluations as both builds make them. For changes that promise to change nothing.
"""

import argparse
import json
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

STEPS = 50
RUNS = {
    "glyphs": ["glyphs"],
    "checker": ["checker"],
    "small-molecules": ["small-molecules"],
    "glyphs-aef": ["glyphs-aef"],
    "glyphs-aef-center": ["glyphs-aef", "--set", "model.variant=center", "--set", "model.output.kind=dependent"],
    "echo": ["echo", "--set", "model.objective.off_diagonal.kind=csd"],
    "labels": ["glyphs", "--set", "model.condition.kind=label"],
    "classifier": ["fashion-classifier", "--set", "data.limit=2000"],
}
# What is asked of each run's checkpoint; OUT stands for a file.
ASKED = {
    "glyphs": [
        ["sample", "RUN", "-n", "40", "--nfe", "2", "--out", "OUT.safetensors"],
        ["sample", "RUN", "-n", "40", "--nfe", "3", "--sampler", "heun", "--batch", "7", "--out", "OUT.jsonl"],
        ["sample", "RUN", "-n", "40", "--sampler", "dopri5", "--draw", "--out", "OUT.jsonl"],
        ["score", "RUN", "-n", "32", "--draws", "8", "--json"],
        ["steer", "RUN", "--reward", "8*class(3)", "--method", "smc", "-n", "8", "--nfe", "4", "--particles", "8", "--out", "OUT.jsonl"],
        ["steer", "RUN", "--reward", "8*ink", "--method", "tilt", "-n", "8", "--nfe", "4", "--particles", "8", "--out", "OUT.jsonl"],
        ["eval", "RUN", "-n", "100", "--nfe", "1,2", "--bound-items", "16", "--json"],
    ],
    "checker": [["sample", "RUN", "-n", "200", "--nfe", "4", "--sampler", "renoise", "--out", "OUT.jsonl"], ["score", "RUN", "-n", "100", "--json"]],
    "small-molecules": [
        ["sample", "RUN", "-n", "50", "--nfe", "2", "--out", "OUT.jsonl"],
        ["steer", "RUN", "--reward", "2*logp", "--method", "best-of", "-n", "8", "--nfe", "2", "--particles", "4", "--out", "OUT.jsonl"],
        ["score", "RUN", "-n", "20", "--json"],
    ],
    "glyphs-aef": [["sample", "RUN", "-n", "20", "--out", "OUT.safetensors"], ["score", "RUN", "-n", "20", "--draws", "16", "--json"]],
    "glyphs-aef-center": [["sample", "RUN", "-n", "20", "--out", "OUT.safetensors"], ["score", "RUN", "-n", "20", "--json"]],
    "echo": [["sample", "RUN", "-n", "50", "--nfe", "4", "--sampler", "euler", "--out", "OUT.jsonl"], ["eval", "RUN", "-n", "100", "--nfe", "1", "--bound-items", "16", "--json"]],
    "labels": [["sample", "RUN", "-n", "20", "--label", "3", "--guidance", "2", "--out", "OUT.jsonl"]],
    "classifier": [],
}
# Facts about the program, not numbers of the model.
UNTOLD = ("checkpoint_sha256", "version", "path", "checkpoint", "dtype", "seconds", "model")


def tensors(path):
    data = path.read_bytes()
    length = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8 : 8 + length])
    header.pop("__metadata__", None)
    body = data[8 + length :]
    return {name: (entry["dtype"], entry["shape"], body[slice(*entry["data_offsets"])]) for name, entry in header.items()}


def told(value):
    if isinstance(value, dict):
        return {key: told(inner) for key, inner in value.items() if key not in UNTOLD}
    return [told(inner) for inner in value] if isinstance(value, list) else value


def run(program, words, data):
    done = subprocess.run([program, *words, "--data-dir", data] if words[0] in ("train", "eval", "score", "steer") else [program, *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if done.returncode != 0:
        sys.exit(f"{program} {' '.join(words)}: exit code {done.returncode}\n{done.stderr}")
    return done.stdout


def compare(name, before, after):
    same = before == after
    print(f"{'same' if same else 'DIFFERENT':10} {name}", flush=True)
    if not same and isinstance(before, dict):
        print("          ", [key for key in before.keys() | after.keys() if before.get(key) != after.get(key)][:8])
    return same


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before")
    parser.add_argument("after")
    parser.add_argument("--data", required=True)
    parser.add_argument("--work", help="folder that keeps the runs of the first build between calls")
    parser.add_argument("--only", help="runs, separated by commas")
    arguments = parser.parse_args()
    work = Path(arguments.work or tempfile.mkdtemp())
    fine = True
    for name, words in RUNS.items():
        if arguments.only and name not in arguments.only.split(","):
            continue
        states = []
        for side, program in (("before", arguments.before), ("after", arguments.after)):
            folder = work / side / name
            if side == "after":
                shutil.rmtree(folder, ignore_errors=True)
            if not folder.exists():
                folder.parent.mkdir(parents=True, exist_ok=True)
                options = ["--set", f"train.steps={STEPS}", "--set", "train.log_every=10", "--set", "train.validate_every=25", "--no-eval", "--out", str(folder)]
                run(program, ["train", *words, *options], arguments.data)
            lines = (folder / "metrics.jsonl").read_text().splitlines()
            keys = ("loss", "grad_norm", "diagonal", "nll")
            states.append((tensors(folder / "checkpoints" / "resume.safetensors"), [{k: v for k, v in json.loads(line).items() if k in keys} for line in lines]))
        fine &= compare(f"{name}: tensors after {STEPS} steps", states[0][0], states[1][0])
        fine &= compare(f"{name}: metrics", states[0][1], states[1][1])
        for number, asked in enumerate(ASKED[name]):
            answers = []
            for side, program in (("before", arguments.before), ("after", arguments.after)):
                out = work / side / f"{name}-{number}"
                words = [word.replace("RUN", str(work / "before" / name)).replace("OUT", str(out)) for word in asked]
                printed = run(program, words, arguments.data)
                files = [Path(word) for word in words if word.startswith(str(out))]
                if files and files[0].suffix == ".safetensors":
                    answers.append(tensors(files[0]))
                else:
                    answers.append(files[0].read_text() if files else told(json.loads(printed)))
            fine &= compare(f"{name}: {' '.join(asked)}", *answers)
    sys.exit(0 if fine else 1)


main()
