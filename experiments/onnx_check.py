"""Compares exported models with the program: same classes, close logits, and the time of both.

    pip install onnxruntime && python/build.sh && pip install python/dist/*.whl
    python experiments/onnx_check.py path/to/pushforward [model ...]

For every model (those that come along by default) and 1 and 4 network evaluations, 1,000 items are drawn from the same
noise by this package and by onnxruntime; then points on the way from noise to data go through one jump in both. The program is
one with the command `export` (cargo build --release --features onnx).
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime

import pushforward as pf

ITEMS, BATCH = 1000, 250


def session(program, model, folder, *options):
    path = Path(folder) / "model.onnx"
    subprocess.run([program, "--quiet", "export", model, "--out", path, *options], check=True, stdout=subprocess.DEVNULL)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def told(graph, model, n):
    """What the model is told: no label, no site, the largest size."""
    inputs = {}
    for port in graph.get_inputs():
        if port.name == "label":
            inputs["label"] = np.full(n, len(model.labels), np.int64)
        elif port.name == "observed":
            inputs["observed"] = np.zeros((n, model.sites, model.classes), np.float32)
        elif port.name == "size":
            layout = model.schema["layout"]
            largest = layout["graph"]["nodes"] if "graph" in layout else model.sites
            inputs["size"] = np.full(n, largest, np.int64)
    return inputs


def main():
    program, models = sys.argv[1], sys.argv[2:] or ["glyphs", "echo"]
    worst = 0.0
    for name in models:
        model = pf.load(name)
        sizes = {"size": model.schema["layout"]["graph"]["nodes"]} if model.kind == "molecules" else {}
        with tempfile.TemporaryDirectory() as folder:
            for nfe in (1, 4):
                graph = session(program, name, folder, "--nfe", str(nfe))
                began = time.perf_counter()
                ours = model.sample(ITEMS, nfe=nfe, as_ids=True, batch=BATCH, **sizes)
                own = time.perf_counter() - began
                noise = model.noise(ITEMS)
                began = time.perf_counter()
                parts = [
                    graph.run(["classes"], {"noise": part, **told(graph, model, len(part))})[0]
                    for part in np.split(noise, ITEMS // BATCH)
                ]
                theirs, other = np.concatenate(parts), time.perf_counter() - began
                same = (ours == theirs).all(axis=1).sum()
                print(f"{name}, {nfe} evaluations: {same} of {ITEMS} items equal; {own:.2f} s here, {other:.2f} s onnxruntime")
            # One jump against the whole sampler: two half jumps are a sampler of two evaluations.
            jump, whole = session(program, name, folder), session(program, name, folder, "--nfe", "2")
            x = model.noise(64)
            end = whole.run(["endpoint"], {"noise": x, **told(whole, model, 64)})[0]
            for s, t in ((0.0, 0.5), (0.5, 1.0)):
                times = {"s": np.full(64, s, np.float32), "t": np.full(64, t, np.float32)}
                x = jump.run(["next"], {"x": x, **times, **told(jump, model, 64)})[0]
            gap = float(np.abs(x - end).max())
            # The end points of the program itself, from the file that it writes.
            path = Path(folder) / "ours.safetensors"
            subprocess.run(
                [program, "--quiet", "sample", name, "-n", "64", "--nfe", "2", "--precision", "f32", "--out", path],
                check=True, stdout=subprocess.DEVNULL,
            )
            from safetensors.numpy import load_file

            ours = load_file(path)["endpoints"].reshape(end.shape)
            difference = float(np.abs(ours - end).max())
            worst = max(worst, gap, difference)
            print(f"{name}: largest difference of probabilities {difference:.1e} (program), {gap:.1e} (jump by jump)")
    if worst > 1e-4:
        sys.exit(f"the outputs differ by {worst:.1e}")


main()
