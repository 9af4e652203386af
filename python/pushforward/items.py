"""Between the arrays of the native part and what people use: strings, data frames, pictures."""

from __future__ import annotations

import json
from os import PathLike
from pathlib import Path
from typing import Any, Mapping, Sequence, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pushforward.errors import RequestError


def numbers(values: bytearray, dtype: Any, shape: Sequence[int]) -> NDArray[Any]:
    """An array of bytes that are not copied again."""
    return np.frombuffer(values, dtype=dtype).reshape(tuple(shape))


def told(observed: ArrayLike, sites: int) -> list[list[Union[int, None]]]:
    """Rows of classes, -1 for sites that are not told."""
    rows = np.atleast_2d(np.asarray(observed, dtype=np.int64))
    if rows.ndim != 2 or rows.shape[1] != sites:
        raise RequestError(f"observed sites are [m, {sites}] classes, -1 where a site is not told, found {list(rows.shape)}")
    return [[None if one < 0 else one for one in row] for row in rows.tolist()]


def allowed(mask: ArrayLike, shape: tuple[int, int]) -> list[list[int]]:
    """Allowed classes of every site."""
    array = np.asarray(mask, dtype=bool)
    if array.shape != shape:
        raise RequestError(f"allowed classes are a boolean array {list(shape)}, found {list(array.shape)}")
    return [np.flatnonzero(row).tolist() for row in array]


def condition(where: Union[str, Mapping[str, Any]]) -> str:
    """A condition on columns as text. Values of a dictionary: a value, a pair ``(low, high)``, or a list of values."""
    if isinstance(where, str):
        return where

    def quoted(value: Any) -> str:
        text = str(value)
        plain = text.replace(".", "").replace("-", "").replace("_", "").isalnum()
        quote = "'" if '"' in text else '"'
        return text if plain else quote + text + quote

    def one(name: str, value: Any) -> str:
        if isinstance(value, tuple) and len(value) == 2:
            return f"{quoted(name)} = {value[0]}..{value[1]}"
        if isinstance(value, (list, set, frozenset, np.ndarray)):
            return f"{quoted(name)} in ({', '.join(quoted(v) for v in value)})"
        return f"{quoted(name)} = {quoted(value)}"

    return ", ".join(one(name, value) for name, value in where.items())


def _pandas() -> Any:
    try:
        import pandas
    except ImportError as error:
        raise RequestError("rows of tables are data frames: pip install pandas, or ask for as_ids=True") from error
    return pandas


Dtypes = Mapping[str, Any]
"""What columns of a data frame were, as JSON: a name of a dtype, or the categories of a categorical one."""


def dtypes(frame: Any) -> dict[str, Any]:
    """What the columns of a data frame are, so that samples are like it."""
    found: dict[str, Any] = {}
    for name, column in frame.items():
        values = getattr(column.dtype, "categories", None)
        if values is not None and hasattr(column, "cat"):
            found[str(name)] = {"categories": [text(one) for one in values], "ordered": bool(column.cat.ordered)}
            found[str(name)]["of"] = str(values.dtype)
        elif str(column.dtype) == "object" and _pandas().api.types.infer_dtype(column, skipna=True) == "boolean":
            found[str(name)] = "boolean"
        else:
            found[str(name)] = str(column.dtype)
    return found


def frame(rows: list[list[Union[str, None]]], columns: list[tuple[str, str]], known: Union[Dtypes, None] = None) -> Any:
    """Rows of texts as a data frame, missing cells as missing: of the dtypes of the frame that a model was trained on, if it
    was; else numbers and dates where the column is of them."""
    pandas = _pandas()
    table = pandas.DataFrame(rows, columns=[name for name, _ in columns], dtype=object)
    for name, kind in columns:
        wanted = (known or {}).get(name)
        if wanted is not None:
            table[name] = like_trained(table[name], wanted)
        elif kind in ("integer", "number"):
            table[name] = _numbers(table[name], kind == "integer")
        elif kind == "date":
            table[name] = pandas.to_datetime(table[name], errors="coerce")
    return table


def texts(values: Sequence[str]) -> Any:
    """A column of texts."""
    return _pandas().Series(list(values), dtype=object)


def like_trained(column: Any, wanted: Any) -> Any:
    """A column of texts as that of a frame; as it is if nothing is known of it."""
    return column if wanted is None else _as(column, wanted)


def _numbers(column: Any, integer: bool) -> Any:
    values = _pandas().to_numeric(column, errors="coerce")
    if integer and bool((values.dropna() % 1 == 0).all()):
        return values.astype("Int64") if values.isna().any() else values.astype("int64")
    return values


def _as(column: Any, wanted: Any) -> Any:
    """A column of texts as one of a dtype; as near to it as its values can be."""
    pandas = _pandas()
    if isinstance(wanted, Mapping):
        values = _as(pandas.Series(wanted["categories"], dtype=object), wanted["of"])
        of_text = dict(zip(wanted["categories"], values.tolist()))
        found = [of_text.get(one) for one in column]
        return pandas.Series(pandas.Categorical(found, categories=values.tolist(), ordered=wanted["ordered"]), column.index)
    if wanted in ("bool", "boolean"):
        values = column.map({"True": True, "False": False, "1": True, "0": False})
        return values.astype("boolean" if wanted == "boolean" or values.isna().any() else "bool")
    if wanted.lower().startswith(("int", "uint", "float")):
        values = pandas.to_numeric(column, errors="coerce")
        if values.isna().any() and wanted[0] in "iu":
            # The integers of pandas that can be missing: Int64, UInt8.
            wanted = wanted.replace("int", "Int").replace("uI", "UI")
        try:
            return values.astype(wanted)
        except (TypeError, ValueError):
            return values
    if wanted.startswith("datetime"):
        values = pandas.to_datetime(column, errors="coerce", utc="," in wanted)
        try:
            return values.astype(wanted)
        except (TypeError, ValueError):
            return values
    try:
        return column.astype(wanted)
    except (TypeError, ValueError):
        return column


DTYPES = "data-frame.json"
"""The file beside the checkpoints of a run that has the dtypes of its data frame."""


def kept_dtypes(model: Union[str, PathLike[str]]) -> Union[Dtypes, None]:
    """The dtypes in the folder of a run, given the folder or a checkpoint in it; ``None`` if there are none."""
    path = Path(model)
    folders = [path] if path.is_dir() else list(path.parents)[:2] if path.is_file() else []
    for folder in folders:
        try:
            return json.loads((folder / DTYPES).read_text(encoding="utf-8"))
        except (OSError, ValueError):
            continue
    return None


def arrow(frame: Any) -> Any:
    """A data frame as a ``pyarrow.Table``."""
    try:
        import pyarrow
    except ImportError as error:
        raise RequestError("Arrow tables need pyarrow: pip install pyarrow") from error
    return pyarrow.Table.from_pandas(frame, preserve_index=False)


def cells(frame: Any, columns: list[tuple[str, str]]) -> list[list[Union[str, None]]]:
    """The cells of a data frame as texts, in the order of the columns; ``None`` for missing ones."""
    names = [name for name, _ in columns]
    lacking = [name for name in names if name not in frame.columns]
    if lacking:
        raise RequestError(f"the data frame lacks the columns {', '.join(lacking)}")
    pandas = _pandas()
    made = []
    for name in names:
        values, gone = written(frame[name]), pandas.isna(frame[name])
        made.append([None if missing else text(value) for value, missing in zip(values, gone)])
    return [list(row) for row in zip(*made)]


def written(column: Any) -> Any:
    """A column as data frames are written: dates without a time, if all of them are at midnight."""
    if not _pandas().api.types.is_datetime64_any_dtype(column.dtype):
        return column
    days = bool((column.dropna() == column.dropna().dt.normalize()).all())
    return column.dt.strftime("%Y-%m-%d" if days else "%Y-%m-%d %H:%M:%S")


def text(value: Any) -> str:
    """A cell as it stands in a file: whole numbers without a fraction."""
    if isinstance(value, (float, np.floating)) and float(value).is_integer():
        return str(int(value))
    return str(value)


def like(values: Any, new: Any) -> Any:
    """A column with new values, as the numbers that it now holds."""
    pandas = _pandas()
    if pandas.api.types.is_numeric_dtype(new.dtype):
        numbers = pandas.to_numeric(values, errors="coerce")
        if numbers.notna().all() and bool((numbers % 1 == 0).all()) and pandas.api.types.is_integer_dtype(new.dtype):
            return numbers.astype("int64")
        return numbers
    if pandas.api.types.is_datetime64_any_dtype(new.dtype):
        return pandas.to_datetime(values, errors="coerce")
    return values


def pictures(images: Any, classes: Union[int, None]) -> list[Any]:
    """Images as PIL images: classes ``[n, h, w]``, or pixels ``[n, channels, h, w]`` in ``[0, 1]``."""
    try:
        from PIL import Image
    except ImportError as error:
        raise RequestError("pictures need pillow: pip install pillow") from error
    array = np.asarray(images)
    if classes is not None:
        levels = (array.astype(np.float32) * (255 / max(classes - 1, 1))).astype(np.uint8)
        return [Image.fromarray(one) for one in levels]
    levels = np.clip(array * 256, 0, 255).astype(np.uint8)
    return [Image.fromarray(one[0] if one.shape[0] == 1 else np.moveaxis(one, 0, 2)) for one in levels]
