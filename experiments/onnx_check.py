#!/usr/bin/env python3
"""Compares exported models with the package: same items from the same noise, close numbers, and the time of both.

    pip install onnxruntime safetensors && python/build.sh && pip install python/dist/*.whl
    python experiments/onnx_check.py path/to/pushforward             the models that come along, 1,000 items each
    python experiments/onnx_check.py path/to/pushforward --networks  every network and autoencoder, after a few steps

The program is one with the command `export`: cargo build --release --features pushforward-cli/onnx.
"""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnxruntime
from safetensors.numpy import load_file

import pushforward as pf

PROGRAM = sys.argv[1]
BATCH = 250
MOST = 1e-4
failed = []


def program(*arguments):
    subprocess.run([PROGRAM, "--quiet", *map(str, arguments)], check=True, stdout=subprocess.DEVNULL)


def session(model, folder, *options):
    path = Path(folder) / "model.onnx"
    program("export", model, "--out", path, *options)
    return onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])


def told(graph, model, n, nodes):
    """What the model is told: every label in turn, no site, one size."""
    inputs = {}
    for port in graph.get_inputs():
        if port.name == "label":
            inputs["label"] = np.arange(n) % len(model.labels)
        elif port.name == "observed":
            inputs["observed"] = np.zeros((n, model.sites, model.classes), np.float32)
        elif port.name == "size":
            inputs["size"] = np.full(n, nodes)
    return inputs


def judge(what, difference, scale):
    print(f"  {what}: largest difference {difference:.1e}, of {scale:.2g}", flush=True)
    if not difference <= MOST * max(scale, 1):
        failed.append(what)


def flow_map(name, path, items, evaluations):
    model = pf.load(path)
    label = list(range(len(model.labels))) or None
    nodes = model.schema["layout"]["graph"]["nodes"] - 1 if model.kind == "molecules" else None
    more = (["--nodes", nodes] if nodes else []) + (["--label", ",".join(map(str, label))] if label else [])
    with tempfile.TemporaryDirectory() as folder:
        for nfe in evaluations:
            graph = session(path, folder, "--nfe", nfe)
            began = time.perf_counter()
            ours = model.sample(items, nfe=nfe, as_ids=True, batch=BATCH, label=label, size=nodes)
            own = time.perf_counter() - began
            noise, inputs = model.noise(items), told(graph, model, items, nodes)
            began = time.perf_counter()
            parts = []
            for start in range(0, items, BATCH):
                part = slice(start, start + BATCH)
                given = {"noise": noise[part], **{key: value[part] for key, value in inputs.items()}}
                parts.append(graph.run(["classes", "endpoint"], given))
            other = time.perf_counter() - began
            classes, points = (np.concatenate(values) for values in zip(*parts))
            same = int((ours == classes).all(axis=1).sum())
            print(f"{name}, {nfe} evaluations: {same} of {items} items equal; {own:.2f} s here, {other:.2f} s onnxruntime")
            if same < items:
                failed.append(f"items of {name}")
            file = Path(folder) / "ours.safetensors"
            program("sample", path, "-n", items, "--nfe", nfe, "--precision", "f32", "--out", file, *more)
            mine = load_file(file)["endpoints"].reshape(points.shape)
            judge(f"points of {name}", np.abs(mine - points).max(), np.abs(mine).max())
        # Jump by jump, it is the sampler.
        jump, x = session(path, folder), model.noise(BATCH)
        steps = np.linspace(0, 1, evaluations[-1] + 1, dtype=np.float32)
        if model.kind != "molecules":
            for s, t in zip(steps, steps[1:]):
                times = {"s": np.full(BATCH, s), "t": np.full(BATCH, t)}
                x = jump.run(["next"], {"x": x, **times, **told(jump, model, BATCH, nodes)})[0]
            judge(f"jumps of {name}", np.abs(x[:items] - points[: len(x)]).max(), np.abs(points).max())


def autoencoder(name, path):
    model = pf.load(path)
    images = model.sample(6, mean=True) if name != "autoencoder" else np.random.default_rng(0).random((6, 1, 16, 16))
    images = np.clip(images, 0.01, 0.99).astype(np.float32)
    code = model.encode(images)
    with tempfile.TemporaryDirectory() as folder:
        graph = session(path, folder, "--part", "encoder")
        outputs = [output.name for output in graph.get_outputs()]
        for key, found in zip(outputs, graph.run(None, {"image": images.reshape(6, -1)})):
            ours = -model.score(images)[0] if key == "log_density" else code[key]
            judge(f"{key} of {name}", np.abs(found - ours).max(), np.abs(ours).max())
        graph = session(path, folder, "--part", "decoder")
        given = {port.name: code[port.name] for port in graph.get_inputs()}
        ours = model.decode(code["latent"], deviations=code.get("deviations"))
        judge(f"images of {name}", np.abs(graph.run(None, given)[0] - ours.reshape(6, -1)).max(), 1)
        if "base" in outputs:
            found = session(path, folder, "--part", "prior").run(None, {"base": code["base"]})[0]
            judge(f"prior of {name}", np.abs(found - code["latent"]).max(), np.abs(code["latent"]).max())


def networks():
    """Name, data set and model of every network."""
    small = {"width": 16, "cond": 8, "time_width": 8, "blocks": 2}
    dit, observed = {"kind": "dit", "heads": 2, **small}, {"condition": {"kind": "observed"}}
    mlp = {"kind": "mlp", "width": 16, "blocks": 1}
    pair = {"kind": "pair-transformer", "pair_width": 8, "heads": 2, "walk": 2, "positions": True, **small}
    skip = {"skip": {"kind": "evidence", "cap": 64.0}}
    yield "transformer", "echo", {"network": dit}
    yield "transformer, scaled input", "echo", {"network": {**dit, "input": "rms"}}
    yield "transformer on patches", "glyphs", {"network": {**dit, "patch": 2}}
    yield "dilated convolutions", "echo", {"network": {"kind": "dilated", **small}}
    yield "U-net", "glyphs", {"network": {"kind": "unet", "channels": 8, "groups": 4, "time_width": 8}}
    yield "perceptron", "echo", {"network": {**mlp, "posterior": True, "skip": True, "rounds": 2}, **skip, **observed}
    yield "labels", "glyphs", {"network": mlp, "condition": {"kind": "label"}}
    yield "smoothed diagonal", "echo", {"network": mlp, "objective": {"smoothing": 0.1}}
    yield "velocities", "echo", {"network": mlp, "objective": {"off_diagonal": {"kind": "naive"}}}
    yield "nodes and pairs", "small-molecules", {"network": pair}
    yield "published graph network", "small-molecules", {"network": {"kind": "graph-transformer", "layers": 1}}


def every_network():
    def train(folder, data, model):
        length = {"steps": 8, "batch": 8, "lr": 3e-3, "warmup": 1}
        pf.train({"name": "small", "data": {"set": data}, "model": model, "train": length}, out=folder)
        return folder

    with tempfile.TemporaryDirectory() as folder:
        for place, (name, data, model) in enumerate(networks()):
            run = train(Path(folder) / f"map{place}", data, {"family": "flow-map", **model})
            flow_map(name, run, 50, [1, 3])
        variants = "noise center corner learned-core haar-core linear vae vae-iaf iwae autoencoder flow".split()
        for variant in variants:
            model = {"family": "aef", "variant": variant, "latent": 4, "network": {"kind": "mlp", "width": 16}}
            autoencoder(variant, train(Path(folder) / variant, "glyphs", model))


if "--networks" in sys.argv:
    every_network()
else:
    for model in ("glyphs", "echo"):
        flow_map(model, model, 1000, [1, 4])
if failed:
    sys.exit(f"too far apart: {', '.join(failed)}")
print("all close")
