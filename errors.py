"""Exceptions that sardonyx raises; the root package exports them."""

from __future__ import annotations

_REASON_LENGTH = 500


class SardonyxError(Exception):
    """Base of all errors raised by sardonyx."""


class InvalidModel(SardonyxError, ValueError):
    """The model is not valid ONNX: truncated, cyclic, inconsistent, or missing data."""


class UnreadableModel(InvalidModel):
    """What is given as a model is no ONNX message at all: empty, truncated or of another format."""


class UnsupportedModel(SardonyxError, NotImplementedError):
    """The model is valid, but holds an operator, domain or type that cannot run here."""


class InvalidArgument(SardonyxError, ValueError):
    """An argument of a call (an input of a run, an option) does not fit."""


class ImportFailed(SardonyxError, RuntimeError):
    """A framework's model could not be converted; says which layer and what to do."""


class KernelError(SardonyxError, RuntimeError):
    """A step failed while running, for example on an index out of range."""


def reason(error: BaseException) -> str:
    """Text of an exception in one line of bounded length; its type where it has no text."""
    return " ".join(str(error).split())[:_REASON_LENGTH] or type(error).__name__
