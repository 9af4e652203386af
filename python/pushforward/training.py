"""Training from recipes, on files or on data in memory."""

from __future__ import annotations

import csv
import difflib
import io
import json
import os
import tempfile
from os import PathLike
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Sequence, Union

import numpy as np

from pushforward import _native, items
from pushforward.errors import RequestError
from pushforward.model import Model

Event = dict
"""What callbacks get: ``event`` is ``start``, ``step``, ``validation`` or ``checkpoint``; the other keys are its numbers."""


def presets() -> dict[str, str]:
    """The recipes that come along, as TOML, by name."""
    return dict(_native.presets())


def train(
    recipe: Union[str, PathLike[str], Mapping[str, Any]],
    data: Any = None,
    *,
    labels: Union[Sequence[Any], str, None] = None,
    out: Union[str, PathLike[str], None] = None,
    minutes: Optional[float] = None,
    steps: Optional[int] = None,
    set: Optional[Mapping[str, Any]] = None,
    callback: Optional[Callable[[Event], Any]] = None,
    data_dir: Union[str, PathLike[str], None] = None,
) -> Model:
    """Train a model. Other threads of Python run meanwhile; Ctrl-C ends the training and raises ``KeyboardInterrupt``.

    :param recipe: a preset by name (:func:`presets`), a path of a recipe, its TOML, or a dictionary of it.
    :param data: in place of the recipe's own data: a pandas data frame or a ``pyarrow.Table`` (rows of a table; for recipes of
        sequences or molecules, the column of them is found or named by ``set={"data.column": ...}``); a list of strings
        (sequences, SMILES or texts, as ``data.set`` of the recipe says); an integer array of classes ``[n, sites]`` or, for
        images, ``[n, height, width]``; for autoencoders of images (``model.family = "aef"``) an array ``[n, height, width]``
        or ``[n, channels, height, width]`` of ``uint8``, or of floats in ``[0, 1]``.
    :param labels: the label of every item, numbers or names, ``[n]``; of a data frame the name of the column that has them,
        which is then no column of the model. The model is then told labels, also if the recipe does not say so.
    :param out: folder of the run, with checkpoints that :func:`pushforward.load` and the program read; without it nothing
        is kept but the model that is returned.
    :param minutes: length of the training; ``steps`` is another way to say it.
    :param set: other settings of the recipe by key, such as ``{"train.lr": 1e-3}``.
    :param callback: called with every :data:`Event`; the training ends early if it returns ``False``. An exception in it
        ends the training and comes through.
    :param data_dir: folder of standard data sets, as of the program.
    :raises RequestError: if recipe and data do not fit.
    :raises TrainingError: if the training fails.
    """
    text = _text(recipe)
    overrides = [f"{key}={_toml(value)}" for key, value in (set or {}).items()]
    if minutes is not None:
        if steps is not None:
            raise RequestError("minutes and steps are two ways to say how long the training is: give one of them")
        overrides.append(f"train.minutes={float(minutes)}")
    if labels is not None:
        overrides = _told(text, data) + overrides
    folder = None if out is None else Path(out)
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise RequestError(f"{folder} holds files already: choose another folder")
    answer = None
    if callback is not None:
        # Only False ends the training: a function that returns nothing goes on.
        answer = lambda event: callback(event) is not False  # noqa: E731
    if hasattr(data, "to_pandas"):
        data = data.to_pandas()
    kept = items.dtypes(data) if hasattr(data, "to_csv") else None
    with tempfile.TemporaryDirectory(prefix="pushforward-") as scratch:
        given, written = None, None
        if isinstance(data, np.ndarray):
            given = _items(data, labels, text)
        elif data is not None:
            # Beside the checkpoints, so that the run finds its data again.
            kind = (set or {}).get("data.set") or _native.setting(text, "data.set")
            written, more = _written(data, labels, kind, folder or Path(scratch))
            overrides = more + overrides
        try:
            native, _ = _native.train(text, overrides, steps, given, folder, data_dir or _data_dir(), answer)
        except RequestError:
            if folder is not None and written is not None and list(folder.iterdir()) == [written]:
                written.unlink()
                folder.rmdir()
            raise
    if kept is not None and folder is not None:
        (folder / items.DTYPES).write_text(json.dumps(kept), encoding="utf-8")
    return Model(native, kept)


def _data_dir() -> Path:
    """Where the program keeps data sets."""
    given = os.environ.get("PUSHFORWARD_DATA")
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(given) if given else Path(cache) / "pushforward" / "data"


def _text(recipe: Union[str, PathLike[str], Mapping[str, Any]]) -> str:
    if isinstance(recipe, Mapping):
        return "".join(f"{json.dumps(str(k))} = {_toml(v)}\n" for k, v in recipe.items() if v is not None)
    known = presets()
    if isinstance(recipe, str) and recipe in known:
        return known[recipe]
    if isinstance(recipe, str) and "\n" in recipe:
        return recipe
    try:
        return Path(recipe).read_text(encoding="utf-8")
    except OSError as error:
        near = difflib.get_close_matches(str(recipe), known, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"the presets are {', '.join(known)}"
        raise RequestError(f"there is no preset and no file of a recipe {str(recipe)!r}; {hint}") from error


def _toml(value: Any) -> str:
    """A value of TOML on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, (int, float, np.integer, np.floating)):
        return repr(value.item() if isinstance(value, (np.integer, np.floating)) else value)
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{json.dumps(str(k))} = {_toml(v)}" for k, v in value.items() if v is not None) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_toml(one) for one in value) + "]"
    return json.dumps(str(value), ensure_ascii=False)


def _told(text: str, data: Any) -> list[str]:
    """The settings of a model that is told labels."""
    if data is None:
        raise RequestError("labels go with data; of a recipe's own data, data.label says them")
    if (_native.setting(text, "model.family") or "flow-map") != "flow-map":
        return []
    kind = _native.setting(text, "model.condition.kind")
    if kind is None:
        return ["model.condition.kind=label"]
    return ["model.condition.labels=true"] if kind == "observed" else []


def _items(data: np.ndarray, labels: Optional[Sequence[Any]], text: str) -> dict[str, Any]:
    numbers, names = _numbered(labels, len(data))
    given = {"labels": numbers, "names": names, "channels": None}
    if _native.setting(text, "model.family") == "aef":
        pixels = _pixels(data)
        _, channels, height, width = pixels.shape
        return {**given, "ids": pixels.tobytes(), "sites": 1, "classes": 2, "shape": (height, width), "channels": channels}
    if data.dtype == bool:
        data = data.astype(np.int64)
    if not np.issubdtype(data.dtype, np.integer) or data.ndim not in (2, 3) or data.size == 0:
        hint = ""
        if data.ndim in (3, 4) or np.issubdtype(data.dtype, np.floating):
            hint = "; four levels of grey pictures are (pictures * 4).astype(int).clip(0, 3) of floats in [0, 1], or "
            hint += "pictures // 64 of 8 bits; colours and all levels are for autoencoders, such as the preset mnist-aef"
        raise RequestError(
            "arrays of items are integers [n, sites] or, for images, [n, height, width], one class each, found "
            f"{data.dtype} {list(data.shape)}{hint}"
        )
    if int(data.min()) < 0:
        raise RequestError(f"classes are numbers from 0 on, found {int(data.min())}")
    flat = np.ascontiguousarray(data.reshape(len(data), -1), dtype=np.int64)
    return {
        **given,
        "ids": flat.tobytes(),
        "sites": flat.shape[1],
        "classes": max(int(flat.max()) + 1, 2),
        "shape": tuple(data.shape[1:]) if data.ndim == 3 else None,
    }


def _pixels(data: np.ndarray) -> np.ndarray:
    """Images of 8 bits, ``[n, channels, height, width]``."""
    images = data[:, None] if data.ndim == 3 else data
    floats = np.issubdtype(images.dtype, np.floating)
    if images.ndim != 4 or images.shape[1] not in (1, 3) or images.size == 0 or not (floats or images.dtype == np.uint8):
        raise RequestError(
            "images of autoencoders are [n, height, width] or [n, channels, height, width] with 1 or 3 channels, of uint8 or "
            f"of floats in [0, 1], found {data.dtype} {list(data.shape)}"
        )
    if floats:
        if not (np.isfinite(images).all() and images.min() >= 0 and images.max() <= 1):
            raise RequestError(f"floats of images are in [0, 1], found {images.min():.4g} to {images.max():.4g}")
        images = np.minimum(images * 256, 255)
    return np.ascontiguousarray(images, dtype=np.uint8)


def _numbered(labels: Optional[Sequence[Any]], count: int) -> tuple[Optional[list[int]], list[str]]:
    """Labels as numbers from 0 on, and what they stand for if they are not such numbers."""
    if labels is None:
        return None, []
    given = _listed(labels, count)
    if all(isinstance(one, (int, np.integer)) and not isinstance(one, bool) and one >= 0 for one in given):
        return [int(one) for one in given], []
    texts = [str(one) for one in given]
    names = sorted(set(texts))
    place = {name: i for i, name in enumerate(names)}
    return [place[one] for one in texts], names


def _listed(labels: Sequence[Any], count: int) -> list[Any]:
    if isinstance(labels, str):
        raise RequestError("labels are one for every item; a name of a column is for data frames")
    given = np.asarray(labels).tolist() if hasattr(labels, "__array__") else list(labels)
    if len(given) != count:
        raise RequestError(f"{len(given)} labels for {count} items")
    if any(isinstance(one, (list, tuple)) or one is None or one != one for one in given):
        raise RequestError("labels are one number or name for every item, and none may be missing")
    return given


# Recipes of published sets take data of their kind.
_KINDS = {"qm9": "molecules", "zinc250k": "molecules", "text8": "text"}


def _written(data: Any, labels: Any, of: Optional[str], folder: Path) -> tuple[Path, list[str]]:
    """Writes data to a file; the settings name it."""
    kind = _KINDS.get(of or "", of)
    if hasattr(data, "to_csv"):
        settings = [f"data.set={kind if kind in ('sequences', 'molecules') else 'table'}"]
        if labels is not None:
            if not isinstance(labels, str) or labels not in data.columns:
                columns = ", ".join(map(str, data.columns))
                raise RequestError(f"labels of a data frame are the name of one of its columns, which are {columns}")
            settings.append(f"data.label={_toml({'by': {'column': labels}})}")
        path, content = folder / "data.csv", data.to_csv(index=False)
    elif isinstance(data, (list, tuple)) and data and all(isinstance(one, str) for one in data):
        if kind not in ("text", "sequences", "molecules"):
            raise RequestError(
                f"strings are for recipes whose data.set is text, sequences or molecules, not {kind}; the preset sequences takes "
                "any strings, one an item"
            )
        settings = [f"data.set={kind}"]
        if labels is None:
            path, content = folder / ("data.smi" if kind == "molecules" else "data.txt"), "\n".join(data) + "\n"
        elif kind == "text":
            raise RequestError("texts are cut into windows, which have no labels; use a recipe of sequences")
        else:
            out = io.StringIO(newline="")
            rows = csv.writer(out, lineterminator="\n")
            column = "smiles" if kind == "molecules" else "sequence"
            rows.writerow([column, "label"])
            rows.writerows(zip(data, _listed(labels, len(data))))
            path, content = folder / "data.csv", out.getvalue()
            settings += [f"data.column={column}", 'data.label={"by" = {"column" = "label"}}']
    else:
        found = f"a list of {type(data[0]).__name__}" if isinstance(data, (list, tuple)) and data else type(data).__name__
        raise RequestError(
            "data are a pandas data frame, a pyarrow table, a list of strings, or a NumPy array of integers, found "
            f"{found}"
        )
    folder.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode())
    return path, [*settings, f"data.path={_toml(str(path.resolve()))}"]
