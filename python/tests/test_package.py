"""The package as a user has it."""

import json
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest

import pushforward as pf

TINY = {
    "name": "tiny",
    "data": {"set": "echo"},
    "model": {"family": "flow-map", "network": {"kind": "mlp", "width": 16}},
    "train": {"steps": 20, "log_every": 5, "batch": 16},
}


@pytest.fixture(scope="module")
def glyphs():
    return pf.load("glyphs")


def test_imports_quickly():
    code = "import time, numpy; t = time.time(); import pushforward; print(time.time() - t)"
    seconds = float(subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True).stdout)
    # It takes a few hundredths; a busy machine gets more.
    assert seconds < 2


def test_images_depend_on_seed_and_index_alone(glyphs):
    digits = glyphs.sample(6, label=[3, 7], seed=5)
    assert digits.shape == (6, 16, 16) and digits.dtype == np.uint8 and digits.max() == 1
    assert (glyphs.sample(2, label=[3, 7], seed=5, first=4, batch=1) == digits[4:]).all()
    assert (glyphs.sample(6, label=["3", "7"], seed=6) != digits).any()
    # Without a label one is drawn; an empty list hides it.
    drawn, hidden = glyphs.sample(20, seed=5), glyphs.sample(20, label=[], seed=5)
    assert (drawn != hidden).any() and (glyphs.sample(1, seed=5, first=7)[0] == drawn[7]).all()
    fresh = [glyphs.sample(20, nfe=3, sampler="renoise", gamma=gamma) for gamma in (0.0, 0.5, 1.0)]
    assert (fresh[0] != fresh[1]).any() and (fresh[1] != fresh[2]).any()
    assert glyphs.sample(6, as_ids=True).shape == (6, glyphs.sites)
    assert repr(glyphs).startswith("<pushforward.Model 'glyphs") and glyphs.schema["sites"] == 256


def test_what_is_wrong_is_said_by_exceptions_of_their_own(glyphs, tmp_path):
    with pytest.raises(pf.LoadError, match="nobody.*come along: glyphs"):
        pf.load(tmp_path / "nobody")
    with pytest.raises(pf.RequestError, match="did you mean 'table'"):
        pf.train("tables")
    with pytest.raises(pf.RequestError, match="is told none"):
        pf.load("echo").sample(label="x")
    with pytest.raises(pf.RequestError, match="the labels are"):
        glyphs.sample(label="cat")
    with pytest.raises(pf.RequestError, match="samplers are"):
        glyphs.sample(sampler="leap")
    with pytest.raises(pf.RequestError, match="gamma"):
        glyphs.sample(sampler="renoise", gamma=2.0)
    with pytest.raises(pf.RequestError, match="models of tables"):
        glyphs.sample(where="a = 1")
    with pytest.raises(pf.RequestError, match="take an autoencoder"):
        glyphs.encode(np.zeros((1, 16, 16)))
    with pytest.raises(ValueError):
        glyphs.sample(observed=np.zeros((1, 3)))
    assert issubclass(pf.RequestError, pf.PushforwardError)


def test_what_is_told_and_what_is_allowed_holds(glyphs):
    told = np.full((1, 256), -1)
    told[0, :32] = 1
    assert (glyphs.sample(3, observed=told, as_ids=True)[:, :32] == 1).all()
    allowed = np.ones((256, 2), dtype=bool)
    allowed[-16:, 1] = False
    assert (glyphs.sample(3, allowed=allowed, as_ids=True)[:, -16:] == 0).all()


def test_scores_prefer_samples_to_noise(glyphs):
    nats, errors = glyphs.score(glyphs.sample(4, label=1, nfe=4), draws=8)
    noise, _ = glyphs.score(np.random.default_rng(0).integers(0, 2, (4, 256)), draws=8)
    assert nats.shape == errors.shape == (4,) and nats.mean() < noise.mean()


def test_rewards_of_python_steer_and_their_exceptions_come_through(glyphs):
    seen = []

    def ink(images):
        seen.append(images.shape)
        return images.reshape(len(images), -1).sum(axis=1)

    plain = glyphs.sample(8).reshape(8, -1).sum(axis=1)
    steered = glyphs.steer(8, ink, method="best-of", particles=8, nfe=1)
    assert steered.items.shape == (8, 16, 16) and seen[0][1:] == (16, 16)
    assert (steered.rewards == steered.items.reshape(8, -1).sum(axis=1)).all()
    assert steered.rewards.mean() > plain.mean()

    def broken(_):
        raise KeyError("no such figure")

    with pytest.raises(KeyError, match="no such figure"):
        glyphs.steer(2, broken, particles=4)
    with pytest.raises(pf.RequestError, match="one number an item"):
        glyphs.steer(2, lambda images: [1.0], particles=4)


def test_weights_go_out_and_come_back(glyphs):
    weights = glyphs.weights()
    assert all(isinstance(value, np.ndarray) for value in weights.values())
    same = glyphs.with_weights(weights)
    assert (same.sample(2, seed=1) == glyphs.sample(2, seed=1)).all()
    name = next(name for name, value in weights.items() if value.ndim == 2)
    other = glyphs.with_weights({**weights, name: weights[name] + 0.5})
    assert (other.weights()[name] != weights[name]).all()
    with pytest.raises(pf.RequestError, match="missing"):
        glyphs.with_weights({key: value for key, value in weights.items() if key != name})
    with pytest.raises(pf.RequestError, match="not part of the model"):
        glyphs.with_weights({**weights, "more": np.zeros(3)})


def test_texts_are_strings():
    echo = pf.load("echo")
    words = echo.sample(5)
    assert all(isinstance(word, str) and len(word) == echo.sites for word in words)
    assert echo.score(words, draws=4)[0].shape == (5,)


def test_noise_is_that_of_the_samples(glyphs):
    noise = glyphs.noise(3, seed=2)
    assert noise.shape == (3, 256, 2) and (glyphs.noise(1, seed=2, first=2)[0] == noise[2]).all()
    assert abs(noise.mean()) < 0.1 and abs(noise.std() - 1) < 0.1


def test_a_recipe_trains_and_its_events_arrive(tmp_path):
    events = []
    model = pf.train(TINY, out=tmp_path / "run", callback=events.append)
    kinds = [event["event"] for event in events]
    assert kinds[0] == "start" and "step" in kinds and events[0]["parameters"] > 0
    again = pf.load(tmp_path / "run")
    assert again.sample(4) == model.sample(4) and again.step == 20
    with pytest.raises(pf.RequestError, match="holds files already"):
        pf.train(TINY, out=tmp_path / "run")
    with pytest.raises(pf.RequestError, match="did you mean `steps`"):
        pf.train({**TINY, "train": {"stepz": 2}})


def test_a_training_ends_early_and_raises_what_its_callback_raises():
    seen = []
    model = pf.train(TINY, steps=10_000, callback=lambda event: seen.append(event) or len(seen) < 3)
    assert model.step < 100

    def broken(event):
        raise RuntimeError("enough")

    with pytest.raises(RuntimeError, match="enough"):
        pf.train(TINY, callback=broken)


def test_other_threads_run_during_a_training():
    stop, count = threading.Event(), [0]

    def work():
        while not stop.wait(0.001):
            count[0] += 1

    thread = threading.Thread(target=work)
    thread.start()
    pf.train(TINY, steps=200)
    stop.set()
    thread.join()
    assert count[0] > 10


def test_arrays_are_data():
    rows = np.random.default_rng(0).integers(0, 2, (400, 1)) * np.ones((1, 4), dtype=np.int64)
    recipe = {**TINY, "model": {**TINY["model"], "condition": {"kind": "label"}}}
    model = pf.train(recipe, data=rows, labels=rows[:, 0], steps=30)
    assert model.kind == "table" and model.sample(3, label=1).shape == (3, 4)
    images = pf.train(TINY, data=np.zeros((40, 4, 5), dtype=np.uint8), steps=2)
    assert images.sample(2).shape == (2, 4, 5)
    with pytest.raises(pf.RequestError, match="integers"):
        pf.train(TINY, data=np.zeros((3, 4)))
    with pytest.raises(pf.RequestError, match="from 0 on, found -1"):
        pf.train(TINY, data=-np.ones((30, 4), dtype=np.int64))
    with pytest.raises(pf.RequestError, match="4 labels for 400 items"):
        pf.train(TINY, data=rows, labels=[0, 1, 0, 1])


def test_labels_have_names_and_tell_a_recipe_that_has_none():
    rows = np.random.default_rng(0).integers(0, 2, (400, 1)) * np.ones((1, 4), dtype=np.int64)
    model = pf.train(TINY, data=rows, labels=np.array(["cat", "dog"])[rows[:, 0]], steps=150, set={"train.lr": 1e-2})
    assert model.labels == ["cat", "dog"]
    assert model.sample(40, label="dog", nfe=2).mean() > 0.5 + model.sample(40, label="cat", nfe=2).mean()
    names = [a + b + c for a in "abcdef" for b in "ghijkl" for c in "mnopqr"]
    small = {"train.batch": 8, "eval.bound_items": 0}
    words = pf.train("sequences", data=names, labels=[ord(name[0]) % 2 for name in names], steps=3, set=small)
    assert words.labels == ["0", "1"] and len(words.sample(3, label=["1", "0"])) == 3
    with pytest.raises(pf.RequestError, match="none may be missing"):
        pf.train("sequences", data=names, labels=[None] * len(names), steps=3)
    with pytest.raises(pf.RequestError, match="labels go with data"):
        pf.train(TINY, labels=[1])


def test_arrays_of_images_train_autoencoders():
    recipe = {
        "name": "tiny-aef",
        "data": {"set": "glyphs"},
        "model": {"family": "aef", "variant": "center", "latent": 4, "network": {"kind": "mlp", "width": 16}},
        "train": {"steps": 5, "batch": 16},
    }
    pictures = np.random.default_rng(0).integers(0, 256, (60, 4, 5), dtype=np.uint8)
    model = pf.train(recipe, data=pictures)
    assert model.sample(3).shape == (3, 1, 4, 5)
    same = pf.train(recipe, data=(pictures + 0.5) / 256)
    assert all((value == model.weights()[name]).all() for name, value in same.weights().items())
    colours = pf.train(recipe, data=np.repeat(pictures[:, None], 3, axis=1))
    assert colours.sample(2).shape == (2, 3, 4, 5)
    for wrong, what in [(pictures.astype(np.int64), "uint8"), (pictures * 1.0, r"in \[0, 1\]"), (pictures[:2], "2 images")]:
        with pytest.raises(pf.RequestError, match=what):
            pf.train(recipe, data=wrong)


def test_strings_are_data():
    names = [a + b + c for a in "abcdef" for b in "ghijkl" for c in "mnopqr"]
    model = pf.train("sequences", data=names, steps=3, set={"train.batch": 8, "eval.bound_items": 0})
    assert model.kind == "sequences" and all(len(name) == 3 for name in model.sample(4))
    with pytest.raises(pf.RequestError, match="strings are for recipes"):
        pf.train(TINY, data=names)
    smiles = ["C" * n + end for n in range(1, 9) for end in ("", "O", "N", "F", "=O")]
    small = {"train.batch": 4, "train.accumulate": 1, "eval.bound_items": 0}
    for recipe, data in [("qm9-cpu", smiles), ({**TINY, "data": {"set": "molecules", "path": "x"}}, smiles)]:
        model = pf.train(recipe, data=data, steps=2, set=small)
        assert model.kind == "molecules" and len(model.sample(2)) == 2
        corrected = model.sample(20, correct=True)
        assert all(corrected) and not any("." in smiles for smiles in corrected)
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"id": range(len(smiles)), "smiles": smiles, "kind": ["a", "b"] * (len(smiles) // 2)})
    told = pf.train("qm9-cpu", data=frame, labels="kind", steps=2, set=small)
    assert told.kind == "molecules" and told.labels == ["a", "b"]


def test_data_frames_go_in_and_come_out(tmp_path):
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    frame = pandas.DataFrame({
        "day": pandas.Timestamp("2024-01-01") + pandas.to_timedelta(np.arange(600) % 50, unit="D"),
        "age": rng.integers(20, 60, 600),
        "sex": rng.choice(["Female", "Male"], 600),
        "weight": np.round(rng.normal(70.0, 9.0, 600), 2),
    })
    frame.loc[::50, "weight"] = np.nan
    model = pf.train("table", data=frame, steps=3, out=tmp_path / "run", set={"train.batch": 32, "train.accumulate": 1})
    fake = model.sample(20)
    assert list(fake.columns) == list(frame.columns) and len(fake) == 20
    assert fake["age"].dtype == frame["age"].dtype and fake["weight"].dtype == np.float64
    assert set(fake["sex"]) <= {"Female", "Male"}
    some = model.sample(5, where={"sex": "Female", "age": (30, 40)})
    assert fake["day"].between("2024-01-01", "2024-02-19").all()
    assert (some["sex"] == "Female").all() and some["age"].between(30, 40).all()
    # A range holds also within the bins of numbers.
    heavy = model.sample(50, where={"weight": (70.0, 70.5)})
    assert heavy["weight"].between(70.0, 70.5).all()
    assert model.score(frame.iloc[[0, 1, 50]])[0].shape == (3,)
    holes = frame.head(8).copy()
    holes.loc[2, "sex"] = None
    holes.loc[3, "day"] = pandas.NaT
    filled = model.impute(holes)
    assert not filled.isna().any().any()
    kept = holes.notna()
    assert (filled[kept] == holes[kept]).where(kept, True).all().all()


def test_samples_have_the_dtypes_of_the_data_frame(tmp_path):
    pandas = pytest.importorskip("pandas")
    rng = np.random.default_rng(0)
    n = 400
    frame = pandas.DataFrame({
        "flag": rng.random(n) < 0.5,
        "whole": np.round(rng.normal(50, 9, n)),
        "small": rng.integers(0, 200, n).astype(np.uint8),
        "single": np.round(rng.normal(0, 1, n), 3).astype(np.float32),
        "gaps": pandas.array(rng.integers(0, 9, n), dtype="Int64"),
        "day": pandas.to_datetime("2024-01-01") + pandas.to_timedelta(rng.integers(0, 90, n), unit="D"),
        "text": [f"2024-0{1 + i % 9}-11" for i in range(n)],
        "size": pandas.Categorical(rng.choice(["s", "m", "l"], n), categories=["s", "m", "l", "xl"], ordered=True),
        "number": pandas.Categorical(rng.integers(1, 4, n)),
        "maybe": [[True, False, None][i % 3] for i in range(n)],
        "kind": rng.choice(["a", "b"], n),
    })
    frame.loc[::7, "gaps"] = pandas.NA
    recipe = {
        "name": "tiny-table",
        "data": {"set": "table", "path": "x"},
        "model": {"family": "flow-map", "network": {"kind": "mlp", "width": 16}},
        "train": {"steps": 5, "batch": 16},
    }
    model = pf.train(recipe, data=frame, labels="kind", out=tmp_path / "run")
    assert model.labels == ["a", "b"]
    for one in (model, pf.load(tmp_path / "run"), pf.load(tmp_path / "run" / "checkpoints" / "last.safetensors")):
        fake = one.sample(60, label=["b", "a"])
        expected = frame.dtypes.to_dict()
        expected["maybe"] = pandas.BooleanDtype()
        assert fake.dtypes.to_dict() == expected
        assert fake["kind"].tolist()[:4] == ["b", "a", "b", "a"]
        assert fake["text"].iloc[0].startswith("2024-") and fake["gaps"].isna().any() and fake["maybe"].isna().any()
        assert set(fake["number"]) <= {1, 2, 3}
    with pytest.raises(pf.RequestError, match="name of one of its columns"):
        pf.train(recipe, data=frame, labels="colour")


def test_autoencoders_encode_and_decode():
    recipe = {
        "name": "tiny-aef",
        "data": {"set": "glyphs"},
        "model": {"family": "aef", "variant": "center", "latent": 4, "network": {"kind": "mlp", "width": 16}},
        "train": {"steps": 5, "batch": 16},
    }
    model = pf.train(recipe)
    images = model.sample(3)
    assert images.shape == (3, 1, 16, 16) and images.dtype == np.float32
    code = model.encode(images)
    assert code["latent"].shape == (3, 4) and code["deviations"].shape == (3, 252)
    back = model.decode(code["latent"], deviations=code["deviations"])
    assert np.abs(back - images).max() < 1e-2
    assert np.abs(model.decode(base=code["base"]) - model.decode(code["latent"])).max() < 1e-2
    nats, errors = model.score(images)
    assert nats.shape == (3,) and (errors == 0).all()
    with pytest.raises(pf.RequestError, match="one of them"):
        model.decode()


def test_pictures():
    pytest.importorskip("PIL")
    model = pf.load("glyphs")
    pictures = model.pictures(model.sample(2))
    assert pictures[0].size == (16, 16)


def test_autoencoders_of_classes_do_what_flow_maps_and_autoencoders_do():
    recipe = {
        "name": "tiny-classes",
        "data": {"set": "glyphs", "examples": 300},
        "model": {
            "family": "categorical-aef",
            "latent": 4,
            "network": {"kind": "small", "channels": 4},
            "prior": {"kind": "flow-map", "network": {"width": 16, "blocks": 1}},
        },
        "train": {"steps": 20, "batch": 16},
    }
    model = pf.train(recipe)
    digits = model.sample(5, nfe=2)
    assert model.family == "categorical-autoencoder" and digits.shape == (5, 16, 16) and digits.dtype == np.uint8
    assert (model.sample(2, nfe=2, first=3) == digits[3:]).all()
    code = model.encode(digits)
    assert code["latent"].shape == code["base"].shape == (5, 4) and "sizes" not in code
    assert (model.decode(code["latent"]) == model.reconstruct(digits)).all()
    assert (model.decode(base=code["base"]) == model.decode(code["latent"])).mean() > 0.99
    nats, errors = model.score(digits, draws=4)
    assert nats.shape == errors.shape == (5,) and (nats > 0).all()
    ink = lambda images: images.reshape(len(images), -1).sum(axis=1)  # noqa: E731
    steered = model.steer(8, ink, method="best-of", particles=8, nfe=1)
    assert steered.rewards.mean() > ink(model.sample(8)).mean()
    other = model.with_weights(model.weights())
    assert (other.sample(5, nfe=2) == digits).all()
    words = pf.train({**recipe, "data": {"set": "echo"}, "model": {**recipe["model"], "network": {"kind": "mlp", "width": 16}}})
    texts = words.sample(3)
    assert words.encode(texts)["latent"].shape == (3, 4) and len(words.reconstruct(texts)) == 3


def test_images_of_autoencoders_are_steered():
    recipe = {
        "name": "tiny-noise",
        "data": {"set": "glyphs", "examples": 300},
        "model": {"family": "aef", "variant": "noise", "latent": 4, "network": {"kind": "mlp", "width": 16}},
        "train": {"steps": 10, "batch": 16},
    }
    model = pf.train(recipe)
    light = lambda images: 100 * images.mean(axis=(1, 2, 3))  # noqa: E731
    steered = model.steer(8, light, strength=20, particles=16, nfe=3)
    assert steered.items.shape == (8, 1, 16, 16) and steered.items.dtype == np.float32
    assert np.allclose(light(steered.items), steered.rewards, atol=1e-3)
    assert steered.rewards.mean() > light(model.sample(8, mean=True)).mean()


def test_flows_of_arrays():
    random = np.random.default_rng(0)
    points = random.normal(size=(2000, 2)).astype(np.float32) @ np.array([[2.0, 0.0], [1.5, 0.5]], np.float32) + 3
    losses = []
    start = pf.bijector.Flow({"kind": "maf", "layers": 2, "hidden": 16}, features=2)
    flow = start.fit(points, steps=150, lr=5e-3, losses=losses)
    # The entropy of the normal distribution that the points are from is log(2 pi e) + log |det|, with determinant 1.
    exact = np.log(2 * np.pi * np.e)
    assert len(losses) == 150 and abs(-flow.log_prob(points).mean() - exact) < 0.1
    z, ladj = flow.forward(points[:9])
    back, other = flow.inverse(z)
    assert np.abs(back - points[:9]).max() < 1e-2 and np.abs(ladj + other).max() < 1e-2
    drawn = flow.sample(4000, seed=1)
    assert np.abs(np.cov(drawn.T) - np.cov(points.T)).max() < 0.6 and (flow.sample(2, seed=1) == drawn[:2]).all()
    copy = start.with_weights(flow.weights())
    assert np.allclose(copy.log_prob(points[:9]), flow.log_prob(points[:9]))
    with pytest.raises(pf.RequestError, match="vectors are"):
        flow.log_prob(points[:, :1])
    with pytest.raises(pf.RequestError):
        pf.bijector.Flow({"kind": "maf", "layer": 2}, features=2)


def test_arrow_tables_go_in_and_come_out():
    pyarrow = pytest.importorskip("pyarrow")
    table = pyarrow.table({"colour": ["red", "green", "red", "blue"] * 50, "size": [1, 2, 3, 4] * 50})
    recipe = {
        "name": "tiny-table",
        "data": {"set": "table", "path": "x"},
        "model": {"family": "flow-map", "network": {"kind": "mlp", "width": 16}},
        "train": {"steps": 20, "batch": 16},
    }
    model = pf.train(recipe, data=table)
    rows = model.sample(7, as_arrow=True)
    assert rows.column_names == ["colour", "size"] and rows.num_rows == 7
    assert model.score(rows)[0].shape == (7,)


def test_the_notebook_runs(tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    pytest.importorskip("PIL")
    cells = json.loads((Path(__file__).parent.parent / "tour.ipynb").read_text(encoding="utf-8"))["cells"]
    monkeypatch.chdir(tmp_path)
    names = {}
    for cell in cells:
        if cell["cell_type"] == "code":
            exec(compile("".join(cell["source"]), "tour.ipynb", "exec"), names)
    assert names["model"].family == "flow-map"
