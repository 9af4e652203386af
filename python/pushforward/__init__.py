"""Few-step generation of text, images, tables, sequences and molecules with flow maps, and autoencoders within flows.

>>> import pushforward as pf
>>> model = pf.load("glyphs")                      # a run folder, a checkpoint, or a model that comes along
>>> digits = model.sample(100, label=[3, 7])       # uint8 array, [100, 16, 16]
>>> model = pf.train("table", data=frame, minutes=5, out="runs/mine")
>>> model.sample(1000, where="age = 30..40")       # a data frame
"""

from pushforward import bijector
from pushforward._native import version as _version
from pushforward.errors import LoadError, PushforwardError, RequestError, TrainingError
from pushforward.model import Model, Steered, load
from pushforward.training import presets, train

__version__ = _version()
__all__ = [
    "LoadError",
    "Model",
    "PushforwardError",
    "RequestError",
    "Steered",
    "TrainingError",
    "bijector",
    "load",
    "presets",
    "train",
]
