"""Training from recipes, on files or on data in memory."""

from __future__ import annotations

import json
import os
import tempfile
from os import PathLike
from pathlib import Path
from typing import Any, Callable, Mapping, Optional, Sequence, Union

import numpy as np

from pushforward import _native
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
    labels: Optional[Sequence[int]] = None,
    out: Union[str, PathLike[str], None] = None,
    minutes: Optional[float] = None,
    steps: Optional[int] = None,
    set: Optional[Mapping[str, Any]] = None,
    callback: Optional[Callable[[Event], Any]] = None,
    data_dir: Union[str, PathLike[str], None] = None,
) -> Model:
    """Train a model. Other threads of Python run meanwhile; Ctrl-C ends the training and raises ``KeyboardInterrupt``.

    :param recipe: a preset by name (:func:`presets`), a path of a recipe, its TOML, or a dictionary of it.
    :param data: in place of the recipe's own data: a pandas data frame or a ``pyarrow.Table`` (rows of a table), a list of strings (texts,
        sequences or SMILES, as ``data.set`` of the recipe says), or an integer array of classes ``[n, sites]`` or, for
        images, ``[n, height, width]``.
    :param labels: label of every item of an array, for recipes with ``model.condition.kind = "label"``.
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
        overrides.append(f"train.minutes={float(minutes)}")
    folder = None if out is None else Path(out)
    if folder is not None and folder.exists() and any(folder.iterdir()):
        raise RequestError(f"{folder} holds files already: choose another folder")
    answer = None
    if callback is not None:
        # Only False ends the training: a function that returns nothing goes on.
        answer = lambda event: callback(event) is not False  # noqa: E731
    if hasattr(data, "to_pandas"):
        data = data.to_pandas()
    with tempfile.TemporaryDirectory(prefix="pushforward-") as scratch:
        given, written = None, None
        if isinstance(data, np.ndarray):
            given = _items(data, labels)
        elif data is not None:
            # Beside the checkpoints, so that the run finds its data again.
            written, more = _written(data, text, folder or Path(scratch))
            overrides = more + overrides
        try:
            native, _ = _native.train(text, overrides, steps, given, folder, data_dir or _data_dir(), answer)
        except RequestError:
            if folder is not None and written is not None and list(folder.iterdir()) == [written]:
                written.unlink()
                folder.rmdir()
            raise
    return Model(native)


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
        names = ", ".join(known)
        raise RequestError(f"there is no preset and no recipe {str(recipe)!r} ({error}); the presets are {names}") from error


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


def _items(data: np.ndarray, labels: Optional[Sequence[int]]) -> dict[str, Any]:
    if data.dtype == bool:
        data = data.astype(np.int64)
    if not np.issubdtype(data.dtype, np.integer) or data.ndim not in (2, 3) or data.size == 0:
        raise RequestError(
            f"arrays of items are integers [n, sites] or [n, height, width], found {data.dtype} {list(data.shape)}"
        )
    flat = np.ascontiguousarray(data.reshape(len(data), -1), dtype=np.int64)
    return {
        "ids": flat.tobytes(),
        "sites": flat.shape[1],
        "classes": max(int(flat.max()) + 1, 2),
        "shape": tuple(data.shape[1:]) if data.ndim == 3 else None,
        "labels": None if labels is None else [int(one) for one in labels],
    }


def _written(data: Any, text: str, folder: Path) -> tuple[Path, list[str]]:
    """Writes data to a file; the settings name it."""
    if hasattr(data, "to_csv"):
        path, settings = folder / "data.csv", ["data.set=table"]
    elif isinstance(data, (list, tuple)) and data and all(isinstance(one, str) for one in data):
        kind = _native.data_set(text)
        if kind not in ("text", "sequences", "molecules"):
            raise RequestError(f"strings are for recipes whose data.set is text, sequences or molecules, not {kind}")
        path, settings = folder / ("data.smi" if kind == "molecules" else "data.txt"), []
    else:
        raise RequestError("data are a pandas data frame, a list of strings, or an array of integers")
    folder.mkdir(parents=True, exist_ok=True)
    if hasattr(data, "to_csv"):
        data.to_csv(path, index=False)
    else:
        path.write_text("\n".join(data) + "\n", encoding="utf-8")
    return path, [*settings, f"data.path={_toml(str(path.resolve()))}"]
