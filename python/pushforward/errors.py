"""The exceptions of the package."""


class PushforwardError(Exception):
    """Anything that this package refuses, or that failed in it."""


class RequestError(PushforwardError, ValueError):
    """What was asked for does not fit the model or the data; the message says what would."""


class LoadError(PushforwardError, OSError):
    """A model cannot be loaded."""


class TrainingError(PushforwardError, RuntimeError):
    """A training failed; its folder keeps the last checkpoint."""
