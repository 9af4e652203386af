"""Trained models: samples, scores, codes, steering and weights."""

from __future__ import annotations

import json
from os import PathLike
from typing import Any, Callable, Mapping, NamedTuple, Optional, Sequence, Union

import numpy as np
from numpy.typing import ArrayLike, NDArray

from pushforward import _native, items
from pushforward.errors import RequestError

Label = Union[int, str]


class Steered(NamedTuple):
    """Steered samples: the items as :meth:`Model.sample` gives them, and the reward of each, ``[n]``."""

    items: Any
    rewards: NDArray[np.float64]


def load(model: Union[str, PathLike[str]], *, raw: bool = False) -> Model:
    """Load a model: a run folder, a checkpoint, or the name of a model that comes along (``glyphs``, ``echo``).

    ``raw`` takes the trained weights in place of their running average.

    :raises LoadError: if there is no such model, or its file is damaged.
    """
    return Model(_native.load(model, raw), items.kept_dtypes(model))


class Model:
    """A trained model.

    What items are depends on :attr:`kind`:

    ============  ==========================================================================
    ``text``      strings
    ``sequences`` strings
    ``molecules`` SMILES, ``None`` for items that are no valid molecule
    ``columns``   rows of a table: a pandas data frame with the columns of the training data
    ``image``     ``uint8`` array ``[n, height, width]`` of classes; 0 is the darkest
    others        ``int64`` array ``[n, sites]`` of class indices
    ============  ==========================================================================

    Images of autoencoders are ``float32`` arrays ``[n, channels, height, width]`` in ``[0, 1]``.
    """

    def __init__(self, native: _native.Model, dtypes: Optional[items.Dtypes] = None) -> None:
        self._native = native
        self._about = native.about()
        # What the columns of the data frame were that a model of tables was trained on.
        self._dtypes = dtypes

    def __repr__(self) -> str:
        return f"<pushforward.Model {self.name!r}: {self.family} of {self.kind}, {self.step} steps>"

    @property
    def name(self) -> str:
        """Name of the run."""
        return self._about["name"]

    @property
    def family(self) -> str:
        """``flow-map``, ``autoencoder`` (of images), ``categorical-autoencoder`` (of data in classes) or ``classifier``."""
        return self._about["family"]

    @property
    def kind(self) -> str:
        """What items are: ``text``, ``image``, ``columns``, ``sequences``, ``molecules``, ``graph`` or ``table``."""
        return self._about["kind"]

    @property
    def sites(self) -> int:
        """Number of categorical variables of an item."""
        return self._about["sites"]

    @property
    def classes(self) -> int:
        """Number of classes of each; the largest if they differ."""
        return self._about["classes"]

    @property
    def labels(self) -> list[str]:
        """Names of the labels that samples can be asked for; empty for models without."""
        return self._about["labels"]

    @property
    def step(self) -> int:
        """Optimiser steps of the weights."""
        return self._about["step"]

    @property
    def recipe(self) -> str:
        """The recipe of the run, as TOML."""
        return self._about["recipe"]

    @property
    def schema(self) -> dict[str, Any]:
        """Sites, classes and layout of the data."""
        return json.loads(self._about["schema"])

    def sample(
        self,
        n: int = 1,
        *,
        nfe: int = 1,
        seed: int = 0,
        label: Union[Label, Sequence[Label], None] = None,
        where: Union[str, Mapping[str, Any], None] = None,
        observed: Optional[ArrayLike] = None,
        allowed: Optional[ArrayLike] = None,
        size: Optional[int] = None,
        guidance: float = 1.0,
        sampler: str = "map",
        gamma: float = 1.0,
        temperature: float = 1.0,
        draw: bool = False,
        correct: bool = False,
        mean: bool = False,
        first: int = 0,
        batch: int = 256,
        as_ids: bool = False,
        as_arrow: bool = False,
    ) -> Any:
        """Draw ``n`` items. Item ``i`` depends on ``seed``, ``first + i`` and what it is told, not on the batch.

        :param nfe: network evaluations per item of a flow map, also as the prior of an autoencoder.
        :param label: label or labels, by name or number; item ``i`` has label ``i`` of the list, in turn. By default a model that
            takes labels, and is told nothing else, draws them as often as its training data have them; ``[]`` hides them.
        :param where: a condition on columns of a table, such as ``"sex = Female, age = 30..40"``, or a dictionary of
            columns and values.
        :param observed: what a model is told, ``[m, sites]`` classes, -1 for sites that are drawn; item ``i`` has row
            ``i``, in turn. For models trained with ``model.condition.kind = observed`` or ``prefix``.
        :param allowed: allowed classes, a boolean array ``[sites, classes]``; holds exactly, for any model.
        :param size: nodes of every graph or letters of every sequence, in place of draws of the training sizes.
        :param guidance: weight of classifier-free guidance, 1 for none.
        :param sampler: ``map``, ``euler``, ``heun``, ``renoise`` or ``dopri5``.
        :param gamma: how much of the noise ``renoise`` draws anew, from 0 (the map) to 1 (all of it).
        :param temperature: divides logits; scales the base variable of an autoencoder.
        :param draw: draw the last classes in place of the most probable ones.
        :param correct: of molecules: make some of samples that are none, by the likeliest changes of atoms and bonds.
        :param mean: for autoencoders, images without deviations.
        :param as_ids: class indices, ``int64`` ``[n, sites]``, for every kind.
        :param as_arrow: rows of a table as a ``pyarrow.Table`` (``pip install pyarrow``).
        :raises RequestError: if the request does not fit the model.
        """
        if as_arrow and self.kind != "columns":
            raise RequestError("as_arrow is for models of tables")
        if self.family == "autoencoder":
            pixels = self._native.draw(n, seed, first, temperature, mean, batch, nfe, sampler)
            return items.numbers(pixels, np.float32, (n, *self._about["shape"]))
        settings = self._settings(
            n, nfe, seed, label, observed, allowed, size, guidance, sampler, gamma, temperature, draw, first, batch, False, correct
        )
        condition = items.condition(where) if where is not None else None
        ids, _, _, labels = self._native.sample(settings, condition)
        found = self._present(self._ids(ids), as_ids, seed, first, condition)
        if labels and self.kind == "columns" and not as_ids:
            self._write_labels(found, labels)
        return items.arrow(found) if as_arrow else found

    def _write_labels(self, frame: Any, labels: list[int]) -> None:
        """Writes labels into the column that they are from, which is none of the model."""
        by = _native.setting(self.recipe, "data.label.by.column")
        if by not in frame.columns:
            return
        names = items.texts([self.labels[labels[i]] for i in range(len(frame))])
        of_bins = any(_native.setting(self.recipe, f"data.label.{key}") for key in ("bins", "edges"))
        frame[by] = names if of_bins else items.like_trained(names, (self._dtypes or {}).get(by))

    def _settings(
        self, n, nfe, seed, label, observed, allowed, size, guidance, sampler, gamma, temperature, draw, first, batch, points,
        correct=False
    ) -> dict[str, Any]:
        return {
            "count": n,
            "nfe": nfe,
            "seed": seed,
            "first": first,
            "batch": batch,
            "sampler": sampler,
            "gamma": gamma,
            "temperature": temperature,
            "draw": draw,
            "correct": correct,
            "endpoints": points,
            "labels": self._labels(label),
            "guidance": guidance,
            "observed": [] if observed is None else items.told(observed, self.sites),
            "allowed": None if allowed is None else items.allowed(allowed, (self.sites, self.classes)),
            "size": size,
        }

    def _labels(self, label: Union[Label, Sequence[Label], None]) -> Optional[list[int]]:
        if label is None:
            return None
        given = [label] if isinstance(label, (str, int, np.integer)) else list(label)
        found = []
        for one in given:
            if isinstance(one, str):
                if one not in self.labels:
                    known = f"the labels are {', '.join(self.labels)}" if self.labels else "this model is told none"
                    raise RequestError(f"there is no label {one!r}: {known}")
                one = self.labels.index(one)
            found.append(int(one))
        return found

    def _ids(self, ids: bytearray) -> NDArray[np.int64]:
        return items.numbers(ids, np.int64, (-1, self.sites))

    def _present(
        self, ids: NDArray[np.int64], as_ids: bool, seed: int = 0, first: int = 0, condition: Optional[str] = None
    ) -> Any:
        if as_ids:
            return ids
        if self.family == "autoencoder":
            return ((ids + 0.5) / 256).astype(np.float32).reshape(-1, *self._about["shape"])
        if self.kind in ("text", "sequences", "molecules"):
            return self._native.texts(ids.tobytes())
        if self.kind == "columns":
            rows = self._native.rows(ids.tobytes(), seed, first, condition)
            return items.frame(rows, self._about["columns"], self._dtypes)
        if self.kind == "image":
            return ids.astype(np.uint8).reshape(-1, *self._about["shape"])
        return ids

    def _read(self, given: Any) -> NDArray[np.int64]:
        """Items as :meth:`sample` gives them, or class indices, as class indices."""
        if self.kind in ("text", "sequences") and isinstance(given, (list, tuple)) and given and isinstance(given[0], str):
            return self._ids(self._native.read_texts(list(given)))
        if self.kind == "columns" and hasattr(given, "to_pandas"):
            given = given.to_pandas()
        if self.kind == "columns" and hasattr(given, "columns"):
            told = self._native.read_rows(items.cells(given, self._about["columns"]))
            # What is missing is a class of its own where the training data had such cells.
            missing = self._native.missing_classes()
            whole = [[of if one is None else one for one, of in zip(row, missing)] for row in told]
            lacking = {self._about["columns"][self._about["places"][i]][0] for row in whole for i, c in enumerate(row) if c is None}
            if lacking:
                raise RequestError(
                    f"cells of {', '.join(sorted(lacking))} are missing, which no training row has: fill them by impute"
                )
            return np.asarray(whole, dtype=np.int64)
        ids = np.asarray(given, dtype=np.int64)
        if self.kind == "image" and ids.ndim == 3:
            ids = ids.reshape(len(ids), -1)
        if ids.ndim != 2 or ids.shape[1] != self.sites:
            raise RequestError(f"items are [n, {self.sites}] class indices, found {list(ids.shape)}")
        return np.ascontiguousarray(ids)

    def score(self, data: Any, *, draws: int = 32, seed: int = 0) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """``-log p`` of items in nats, and standard errors: two arrays ``[n]``.

        Of a flow map it is an upper bound, estimated by ``draws`` draws an item. Of an autoencoder of images it is that of the
        dequantised image in ``[0, 1]^pixels``, exact (with errors 0) or importance-sampled; of one of data in classes it is
        importance-sampled.

        :param data: items as :meth:`sample` gives them, or class indices; images of an autoencoder
            ``[n, channels, height, width]`` or ``[n, height, width]``, in ``[0, 1]`` or ``uint8``.
        """
        if self.family == "autoencoder":
            values, errors, _ = self._native.densities(self._images(data).tobytes(), draws, seed)
            return -items.numbers(values, np.float64, (-1,)), items.numbers(errors, np.float64, (-1,))
        values, errors = self._native.bound(self._read(data).tobytes(), draws, seed)
        return items.numbers(values, np.float64, (-1,)), items.numbers(errors, np.float64, (-1,))

    def _images(self, images: Any) -> NDArray[np.float32]:
        array = np.asarray(images)
        if array.dtype == np.uint8:
            # The middle of the interval of each of the 256 levels.
            array = (array.astype(np.float32) + 0.5) / 256
        shape = tuple(self._about.get("shape", ()))
        if array.ndim == 3 and shape[0] == 1:
            array = array[:, None]
        if array.shape[1:] != shape:
            raise RequestError(f"images are [n, {', '.join(map(str, shape))}], found {list(array.shape)}")
        return np.ascontiguousarray(array, dtype=np.float32)

    def encode(self, images: Any) -> dict[str, NDArray[Any]]:
        """Codes: ``latent`` and ``base`` (the latent as standard normal numbers of the prior), both ``[n, d]``, and
        ``deviations`` ``[n, m]`` where the model has them: what of the image the latent does not determine. Of data in
        classes, ``sizes`` ``[n]`` where items differ in their number of nodes or letters.

        :param images: ``[n, channels, height, width]`` or ``[n, height, width]``, in ``[0, 1]`` or ``uint8``; of data in
            classes items as :meth:`sample` gives them.
        """
        if self.family == "categorical-autoencoder":
            ids = self._read(images)
            z, base, sizes = self._native.encode_items(ids.tobytes())
            rows = (len(ids), -1)
            codes = {"latent": items.numbers(z, np.float32, rows), "base": items.numbers(base, np.float32, rows)}
            return {**codes, "sizes": np.asarray(sizes, dtype=np.int64)} if sizes else codes
        array = self._images(images) if self.family == "autoencoder" else np.empty((0,), np.float32)
        z, base, deviations = self._native.encode(array.tobytes())
        rows = (len(array), -1)
        found = {"latent": items.numbers(z, np.float32, rows), "base": items.numbers(base, np.float32, rows)}
        if deviations is not None:
            found["deviations"] = items.numbers(deviations, np.float32, rows)
        return found

    def decode(
        self,
        latent: Optional[ArrayLike] = None,
        *,
        base: Optional[ArrayLike] = None,
        deviations: Optional[ArrayLike] = None,
        sizes: Optional[Sequence[int]] = None,
        as_ids: bool = False,
    ) -> Any:
        """Images ``[n, channels, height, width]`` of latents or base variables ``[n, d]``; without ``deviations``, a
        representative image of each. Of data in classes the most probable items, as :meth:`sample` gives them."""
        if (latent is None) == (base is None):
            raise RequestError("give latents or base variables, one of them")
        z = np.ascontiguousarray(latent if base is None else base, dtype=np.float32)
        if self.family == "categorical-autoencoder":
            if deviations is not None:
                raise RequestError("this model has no deviations")
            given = [] if sizes is None else [int(size) for size in sizes]
            return self._present(self._ids(self._native.decode_items(z.tobytes(), base is not None, given)), as_ids)
        rest = None if deviations is None else np.ascontiguousarray(deviations, dtype=np.float32).tobytes()
        pixels = self._native.decode(z.tobytes(), rest, base is not None)
        return items.numbers(pixels, np.float32, (len(z), *self._about["shape"]))

    def reconstruct(self, data: Any) -> Any:
        """Items or images decoded from their own latents, without deviations."""
        code = self.encode(data)
        return self.decode(code["latent"], sizes=code.get("sizes"))

    def steer(
        self,
        n: int,
        reward: Callable[[Any], ArrayLike],
        *,
        strength: float = 1.0,
        method: str = "smc",
        particles: int = 64,
        keep: Optional[int] = None,
        nfe: int = 4,
        seed: int = 0,
        label: Union[Label, Sequence[Label], None] = None,
        observed: Optional[ArrayLike] = None,
        allowed: Optional[ArrayLike] = None,
        size: Optional[int] = None,
        temperature: float = 1.0,
        batch: int = 256,
        as_ids: bool = False,
    ) -> Steered:
        """Draw ``n`` items of high reward, without training: the law of the samples is tilted by
        ``exp(strength * reward)``.

        :param reward: a function from a batch of items, as :meth:`sample` gives them, to one number an item, ``[batch]``.
            ``-inf`` excludes an item. An exception in it ends the work and comes through. Images of an autoencoder come as
            ``float32`` in ``[0, 1]``, in 256 levels.
        :param method: ``smc``, ``resample``, ``best-of`` or, for flow maps, ``tilt``. Of autoencoders, the reward tilts the law of
            the latent.
        :param particles: particles of a population, of which ``keep`` are kept (default: all for ``smc``, ``tilt`` and
            ``resample``, 1 for ``best-of``).
        """
        settings = self._settings(
            n, nfe, seed, label, observed, allowed, size, 1.0, "map", 1.0, temperature, False, 0, batch, False
        )

        def score(ids: bytearray) -> list[float]:
            batch = self._present(self._ids(ids), as_ids)
            return np.asarray(reward(batch), dtype=np.float64).ravel().tolist()

        kept = keep if keep is not None else (1 if method == "best-of" else particles)
        ids, rewards = self._native.steer(settings, score, strength, method, particles, min(kept, particles))
        return Steered(self._present(self._ids(ids), as_ids, seed), items.numbers(rewards, np.float64, (-1,)))

    def impute(self, frame: Any, *, nfe: int = 4, seed: int = 0, batch: int = 256) -> Any:
        """A data frame with its missing cells filled by joint draws given the other cells of the row; cells that are
        there do not change. For models of tables that are told any columns, as those of the preset ``table`` are."""
        if self.kind != "columns":
            raise RequestError("impute fills the cells of tables, and this model is not of one")
        columns, places = self._about["columns"], self._about["places"]
        told = self._native.read_rows(items.cells(frame, columns))
        open_rows = [i for i, row in enumerate(told) if any(one is None for one in row)]
        if not open_rows:
            return frame.copy()
        permitted = np.ones((self.sites, self.classes), dtype=bool)
        for site, missing in enumerate(self._native.missing_classes()):
            if missing is not None:
                permitted[site, missing] = False
        observed = [[-1 if one is None else one for one in told[i]] for i in open_rows]
        ids = self.sample(
            len(open_rows), nfe=nfe, seed=seed, batch=batch, observed=observed, allowed=permitted, as_ids=True
        )
        drawn = items.frame(self._native.rows(ids.tobytes(), seed, 0, None), columns)
        filled = frame.copy()
        for site, place in enumerate(places):
            name = columns[place][0]
            rows = [(k, i) for k, i in enumerate(open_rows) if told[i][site] is None]
            if rows:
                values = filled[name].copy()
                new = drawn[name].iloc[[k for k, _ in rows]]
                values.iloc[[i for _, i in rows]] = new.to_numpy()
                filled[name] = items.like(values, new)
        return filled

    def noise(self, n: int, *, seed: int = 0, first: int = 0) -> NDArray[np.float32]:
        """The noise that items ``first`` to ``first + n`` of a sample begin with, ``[n, sites, classes]``: for exported
        models in other runtimes, which then draw the same items."""
        return items.numbers(self._native.noise(n, seed, first), np.float32, (n, self.sites, self.classes))

    def weights(self) -> dict[str, NDArray[Any]]:
        """The weights by their names in the checkpoint. Linear layers are ``[inputs, outputs]``, the transpose of those of
        PyTorch; convolutions are ``[outputs, inputs, height, width]``, as there."""
        return {
            name: items.numbers(values, np.float32 if single else np.int64, tuple(shape))
            for name, shape, single, values in self._native.weights()
        }

    def with_weights(self, weights: Mapping[str, ArrayLike]) -> Model:
        """The same model with other weights: all that :meth:`weights` names, with the same shapes.

        :raises RequestError: if a weight is missing, unknown, of another shape, or not finite.
        """
        own = {name: single for name, _, single, _ in self._native.weights()}
        given = []
        for name, values in weights.items():
            array = np.ascontiguousarray(values, dtype=np.float32 if own.get(name, True) else np.int64)
            given.append((name, list(array.shape), array.tobytes()))
        return Model(self._native.with_weights(given), self._dtypes)

    def pictures(self, images: Any) -> list[Any]:
        """Items or images of this model as PIL images (``pip install pillow``)."""
        return items.pictures(images, None if self.family == "autoencoder" else self.classes)
