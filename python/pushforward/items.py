"""Between the arrays of the native part and what people use: strings, data frames, pictures."""

from __future__ import annotations

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


def frame(rows: list[list[str]], columns: list[tuple[str, str]]) -> Any:
    """Rows of texts as a data frame: numbers where the column is one, missing cells as missing."""
    pandas = _pandas()
    table = pandas.DataFrame(rows, columns=[name for name, _ in columns], dtype=object)
    for name, kind in columns:
        if kind in ("integer", "number"):
            values = pandas.to_numeric(table[name], errors="coerce")
            whole = kind == "integer" and bool((values.dropna() % 1 == 0).all())
            if whole:
                values = values.astype("Int64") if values.isna().any() else values.astype("int64")
            table[name] = values
        elif kind == "date":
            table[name] = pandas.to_datetime(table[name], errors="coerce")
    return table


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
