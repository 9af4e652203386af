#!/usr/bin/env python3
"""Compares exported models with the package: same items from the same noise, close numbers, and time and memory of both.

    pip install onnx onnxruntime safetensors && python/build.sh && pip install python/dist/*.whl
    python experiments/onnx_check.py path/to/pushforward             the models that come along, 1,000 items each: plain, guided and
                                                                     sharp samplers, then the share of equal items in half precision
    python experiments/onnx_check.py path/to/pushforward --networks  every network and autoencoder, after a few steps

The program is one with the command `export`: cargo build --release --features pushforward-cli/onnx.
"""

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx.reference import ReferenceEvaluator
from safetensors.numpy import load_file

import pushforward as pf

PROGRAM = sys.argv[1]
BATCH = 250
MOST = 1e-4
failed = []


# What another process does with a graph; it prints the seconds of the computation alone.
RUN = """
import sys, time
import numpy as np, onnxruntime
path, given, out, batch = sys.argv[1:]
graph = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
given, parts = dict(np.load(given)), []
n, began = len(next(iter(given.values()))), time.perf_counter()
for start in range(0, n, int(batch)):
    parts.append(graph.run(["classes", "endpoint"], {k: v[start : start + int(batch)] for k, v in given.items()}))
print(time.perf_counter() - began)
classes, points = (np.concatenate(values) for values in zip(*parts))
np.savez(out, classes=classes, points=points)
"""


def measured(command):
    """What a command prints, its seconds and its largest memory in MB."""
    began, largest = time.perf_counter(), 0
    with subprocess.Popen([*map(str, command)], stdout=subprocess.PIPE) as running:
        # The system's own figure at the end of a process includes that of the process that started it.
        while running.poll() is None:
            status = Path(f"/proc/{running.pid}/status").read_text()
            largest = max(largest, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")), 0)
            time.sleep(0.002)
        said = running.stdout.read()
    if running.returncode:
        sys.exit(f"{command[0]} ended with {running.returncode}")
    return said, time.perf_counter() - began, largest / 1024


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


def judge(what, difference, scale, any_will_do=False):
    print(f"  {what}: largest difference {difference:.1e}, of {scale:.2g}", flush=True)
    if not any_will_do and not difference <= MOST * max(scale, 1):
        failed.append(what)


def flow_map(name, path, items, evaluations, settings=({},), halves=()):
    model = pf.load(path)
    label = list(range(len(model.labels))) or None
    nodes = model.schema["layout"]["graph"]["nodes"] - 1 if model.kind == "molecules" else None
    more = (["--nodes", nodes] if nodes else []) + (["--label", ",".join(map(str, label))] if label else [])
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for nfe in evaluations:
            for setting in settings:
                if "guidance" in setting and not label:
                    continue
                options = ["--nfe", nfe, *(word for key, value in setting.items() for word in (f"--{key}", value))]
                called = ", ".join([name, f"{nfe} evaluations", *(f"{key} {value}" for key, value in setting.items())])
                began = time.perf_counter()
                ours = model.sample(items, nfe=nfe, as_ids=True, batch=BATCH, label=label, size=nodes, **setting)
                own = time.perf_counter() - began
                file = folder / "ours.safetensors"
                drawn = ["sample", path, "-n", items, "--batch", BATCH, "--precision", "f32", "--out", file, *options, *more]
                _, whole, memory = measured([PROGRAM, "--quiet", *drawn])

                def others(*numbers):
                    graph = session(path, folder, *options, *numbers)
                    np.savez(folder / "given.npz", noise=model.noise(items), **told(graph, model, items, nodes))
                    run = [sys.executable, "-c", RUN, folder / "model.onnx", folder / "given.npz", folder / "found.npz", BATCH]
                    said, theirs, megabytes = measured(run)
                    found = np.load(folder / "found.npz")
                    return found["classes"], found["points"], float(said), theirs, megabytes

                classes, points, other, theirs, megabytes = others()
                same = int((ours == classes).all(axis=1).sum())
                print(f"{called}: {same} of {items} items equal", flush=True)
                print(f"  package {own:.2f} s, program {whole:.2f} s and {memory:.0f} MB from start to end")
                print(f"  onnxruntime {other:.2f} s, {theirs:.2f} s and {megabytes:.0f} MB from start to end, with Python")
                if same < items:
                    failed.append(f"items of {called}")
                mine = load_file(file)["endpoints"].reshape(points.shape)
                # Guided and sharp samplers multiply what is rounded: of them only items are to be equal.
                judge(f"points of {called}", np.abs(mine - points).max(), np.abs(mine).max(), bool(setting))
                for numbers in halves if not setting else ():
                    if numbers == "mixed":
                        # On a CPU, onnxruntime computes products of float16 in float32; the reference of ONNX does what the file says.
                        session(path, folder, *options, "--numbers", numbers)
                        graph = ReferenceEvaluator(onnx.load(folder / "model.onnx"))
                        classes = graph.run(["classes"], dict(np.load(folder / "given.npz")))[0]
                    else:
                        classes = others("--numbers", numbers)[0]
                    whole_items, sites = (ours == classes).all(axis=1).mean(), (ours == classes).mean()
                    print(f"  {numbers}: {100 * whole_items:.1f} % of the items and {100 * sites:.2f} % of their sites equal")
        # Jump by jump, it is the sampler.
        jump, x = session(path, folder), model.noise(BATCH)
        steps = np.linspace(0, 1, evaluations[-1] + 1, dtype=np.float32)
        plain = model.sample(BATCH, nfe=evaluations[-1], as_ids=True, label=label, size=nodes)
        if model.kind != "molecules":
            for s, t in zip(steps, steps[1:]):
                times = {"s": np.full(BATCH, s), "t": np.full(BATCH, t)}
                x = jump.run(["next"], {"x": x, **times, **told(jump, model, BATCH, nodes)})[0]
            same = int((x.argmax(axis=2) == plain).all(axis=1).sum())
            print(f"{name}, jump by jump: {same} of {BATCH} items equal")
            if same < BATCH:
                failed.append(f"jumps of {name}")


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


def of_classes(name, path):
    """An autoencoder of data in classes."""
    model = pf.load(path)
    items = model.sample(6, nfe=2, as_ids=True)
    code = model.encode(items)
    with tempfile.TemporaryDirectory() as folder:
        graph = session(path, folder, "--part", "encoder")
        one_hot = np.eye(model.classes, dtype=np.float32)[items]
        for key, found in zip(["latent", "base"], graph.run(["latent", "base"], {"items": one_hot})):
            judge(f"{key} of {name}", np.abs(found - code[key]).max(), np.abs(code[key]).max())
        found = session(path, folder, "--part", "prior").run(None, {"base": code["base"]})[0]
        judge(f"prior of {name}", np.abs(found - code["latent"]).max(), np.abs(code["latent"]).max())
        found = session(path, folder, "--part", "decoder").run(["classes"], {"latent": code["latent"]})[0]
        same = int((found == model.decode(code["latent"], as_ids=True)).all(axis=1).sum())
        print(f"{name}: {same} of 6 decoded items equal", flush=True)
        if same < 6:
            failed.append(f"items of {name}")


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
        for place, prior in enumerate([{"kind": "maf", "layers": 2}, {"kind": "flow-map"}]):
            model = {"family": "categorical-aef", "latent": 4, "network": {"kind": "mlp", "width": 16}, "prior": prior}
            of_classes(f"classes, {prior['kind']}", train(Path(folder) / f"classes{place}", "echo", model))


if "--networks" in sys.argv:
    every_network()
else:
    listed, _, _ = measured([PROGRAM, "--quiet", "models", "--json"])
    for model in (one["name"] for one in json.loads(listed)["models"]):
        settings = ({}, {"temperature": 0.8}, {"guidance": 2.0}, {"guidance": 1.5, "temperature": 0.7})
        flow_map(model, model, 1000, [1, 4], settings, ("f16", "mixed"))
if failed:
    sys.exit(f"too far apart: {', '.join(failed)}")
print("all close")
