"""Normalising flows on arrays: densities, samples, and training by maximum likelihood.

>>> flow = Flow({"kind": "maf", "layers": 4, "hidden": 64}, features=2)
>>> flow = flow.fit(points, steps=500)         # points: [n, 2]
>>> flow.log_prob(points).mean(), flow.sample(1000)
"""

from __future__ import annotations

from typing import Any, Mapping, Optional

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pushforward import _native, items
from pushforward.errors import RequestError
from pushforward.training import _toml


class Flow:
    """An invertible map between vectors of ``features`` numbers and standard normal base variables.

    :param settings: a dictionary as of ``model.prior`` in recipes: ``kind`` is ``maf``, ``iaf``, ``real-nvp``, ``spline``,
        ``tar-flow`` or ``none``, with the settings of that kind.
    :raises RequestError: if a setting is unknown or out of range.
    """

    def __init__(self, settings: Mapping[str, Any], features: int, *, seed: int = 0) -> None:
        self.settings = dict(settings)
        self._text = "".join(f"{key} = {_toml(value)}\n" for key, value in self.settings.items())
        self._native = _native.Flow(self._text, features, seed)
        self._fresh = True

    def __repr__(self) -> str:
        return f"<pushforward.bijector.Flow {self.settings.get('kind')!r} of {self.features} features>"

    @property
    def features(self) -> int:
        """Numbers of a vector."""
        return self._native.features

    def _rows(self, values: ArrayLike) -> bytes:
        rows = np.ascontiguousarray(values, dtype=np.float32)
        if rows.ndim != 2 or rows.shape[1] != self.features or len(rows) == 0:
            raise RequestError(f"vectors are [n, {self.features}], found {list(rows.shape)}")
        return rows.tobytes()

    def _with(self, native: _native.Flow) -> Flow:
        made = object.__new__(Flow)
        made.settings, made._text, made._native, made._fresh = self.settings, self._text, native, False
        return made

    def forward(self, x: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Base variables ``[n, features]`` of vectors, and ``log |det dz/dx|``, ``[n]``."""
        values, ladj = self._native.forward(self._rows(x))
        return items.numbers(values, np.float32, (-1, self.features)), items.numbers(ladj, np.float64, (-1,))

    def inverse(self, z: ArrayLike) -> tuple[NDArray[np.float32], NDArray[np.float64]]:
        """Vectors of base variables, and ``log |det dx/dz|``; the inverse of :meth:`forward`."""
        values, ladj = self._native.inverse(self._rows(z))
        return items.numbers(values, np.float32, (-1, self.features)), items.numbers(ladj, np.float64, (-1,))

    def log_prob(self, x: ArrayLike) -> NDArray[np.float64]:
        """Log-densities of vectors in nats, ``[n]``."""
        return items.numbers(self._native.log_prob(self._rows(x)), np.float64, (-1,))

    def sample(self, n: int, *, seed: int = 0) -> NDArray[np.float32]:
        """``n`` vectors; vector ``i`` depends on ``seed`` and ``i`` alone."""
        noise = items.numbers(self._native.noise(n, seed), np.float32, (n, self.features))
        return self.inverse(noise)[0]

    def fit(
        self,
        x: ArrayLike,
        *,
        steps: int = 1000,
        batch: int = 128,
        lr: float = 1e-3,
        seed: int = 0,
        losses: Optional[list[float]] = None,
    ) -> Flow:
        """A flow trained on vectors by maximum likelihood; this one stays as it is. The first training also sets shifts and
        scales from the data, later ones go on from the weights. ``losses`` gets the loss of every step."""
        native, found = self._native.fit(self._text, self._rows(x), steps, batch, lr, seed, self._fresh)
        if losses is not None:
            losses.extend(found)
        return self._with(native)

    def weights(self) -> dict[str, NDArray[Any]]:
        """The weights by name."""
        return {
            name: items.numbers(values, np.float32 if single else np.int64, tuple(shape))
            for name, shape, single, values in self._native.weights()
        }

    def with_weights(self, weights: Mapping[str, ArrayLike]) -> Flow:
        """The same flow with other weights: all that :meth:`weights` names, with the same shapes."""
        own = {name: single for name, _, single, _ in self._native.weights()}
        given = []
        for name, values in weights.items():
            array = np.ascontiguousarray(values, dtype=np.float32 if own.get(name, True) else np.int64)
            given.append((name, list(array.shape), array.tobytes()))
        return self._with(self._native.with_weights(given))
