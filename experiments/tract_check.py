#!/usr/bin/env python3
"""Draws 1,000 items of every model that comes along by tract, from the noise of the package: equal items, seconds and memory of both.

    pip install tract && python/build.sh && pip install python/dist/*.whl
    python experiments/tract_check.py path/to/pushforward

The program is one with the command `export`: cargo build --release --features pushforward-cli/onnx. Figures of the package are those of
`onnx_check.py`, which compares with onnxruntime.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

import pushforward as pf

ITEMS, BATCH = 1000, 250

# What another process does with a graph of one batch; it prints the seconds of the computation alone and its largest memory in MB.
RUN = """
import resource, sys, time
import numpy as np, tract
path, given, out, batch = sys.argv[1], dict(np.load(sys.argv[2])), sys.argv[3], int(sys.argv[4])
graph = tract.onnx().load(path)
names = [graph.input_name(i) for i in range(graph.input_count())]
for i, name in enumerate(names):
    shape = ",".join(map(str, (batch, *given[name].shape[1:])))
    graph.set_input_fact(i, f"{shape},{'i64' if given[name].dtype == np.int64 else 'f32'}")
graph.analyse()
floats = [i for i in range(graph.output_count()) if str(graph.output_fact(i)).lower().endswith('f32')]
graph = graph.into_model().into_runnable()
found, began = [], time.perf_counter()
for start in range(0, len(given[names[0]]), batch):
    outs = graph.run([given[name][start : start + batch] for name in names])
    # tract computes classes in a type that its package cannot hand out.
    found.append([(out if i in floats else out.convert_to(tract.DatumType.I64)).to_numpy() for i, out in enumerate(outs)])
seconds = time.perf_counter() - began
np.savez(out, *(np.concatenate(parts) for parts in zip(*found)))
print(seconds, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def check(program, name, nfe, folder):
    model = pf.load(name)
    labels = list(range(len(model.labels))) or None
    began = time.perf_counter()
    ours = model.sample(ITEMS, nfe=nfe, as_ids=True, batch=BATCH, label=labels)
    own = time.perf_counter() - began
    subprocess.run([program, "--quiet", "export", name, "--nfe", str(nfe), "--out", folder / "model.onnx"], check=True, stdout=subprocess.DEVNULL)
    given = {"noise": model.noise(ITEMS)}
    if labels:
        given["label"] = np.arange(ITEMS) % len(labels)
    given["observed"] = np.zeros((ITEMS, model.sites, model.classes), np.float32)
    np.savez(folder / "given.npz", **given)
    run = [sys.executable, "-c", RUN, folder / "model.onnx", folder / "given.npz", folder / "found.npz", str(BATCH)]
    seconds, megabytes = map(float, subprocess.run(run, check=True, stdout=subprocess.PIPE).stdout.split())
    outputs = list(np.load(folder / "found.npz").values())
    classes = next(out for out in outputs if out.ndim == 2 and np.issubdtype(out.dtype, np.integer))
    same = int((ours == classes).all(axis=1).sum())
    print(f"{name}, {nfe} evaluations: {same} of {ITEMS} items equal; package {own:.2f} s, tract {seconds:.2f} s and {megabytes:.0f} MB", flush=True)
    return same == ITEMS


def main():
    own = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    with tempfile.TemporaryDirectory() as folder:
        right = [check(sys.argv[1], model, nfe, Path(folder)) for model in ("glyphs", "echo", "adult") for nfe in (1, 4)]
    print(f"the package, with NumPy and all models: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB, {own:.0f} of them before the first")
    sys.exit(0 if all(right) else "FAILED: items differ")


main()
