"""sardonyx: ONNX inference and graph optimization in pure Python, at native speed.

Names are resolved on first use, so that ``import sardonyx`` costs nothing and opening a
cached program never imports onnx, the optimizer or the compiler.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .importers import load, save
    from .optimizer import optimize
    from .runtime.session import Session

__version__ = "0.1.0"

_LAZY = {
    "load": "importers",
    "save": "importers",
    "optimize": "optimizer",
    "Session": "runtime.session",
    "compare": "tools.compare",
    "convert": "tools.convert",
    "backend": "runtime.backend",
}

__all__ = [
    "ImportFailed",
    "InvalidArgument",
    "InvalidModel",
    "KernelError",
    "SardonyxError",
    "Session",
    "UnsupportedModel",
    "compare",
    "convert",
    "load",
    "optimize",
    "save",
]


class SardonyxError(Exception):
    """Base of all errors raised by sardonyx."""


class InvalidModel(SardonyxError, ValueError):
    """The model is not valid ONNX: truncated, cyclic, inconsistent, or missing data."""


class UnsupportedModel(SardonyxError, NotImplementedError):
    """The model is valid, but holds an operator, domain or type that cannot run here."""


class InvalidArgument(SardonyxError, ValueError):
    """What was passed to a call (inputs of a run, options) does not fit."""


class ImportFailed(SardonyxError, RuntimeError):
    """A framework's model could not be converted; says which layer and what to do."""


class KernelError(SardonyxError, RuntimeError):
    """A step failed while running, for example on an index out of range."""


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'sardonyx' has no attribute {name!r}")
    module = importlib.import_module(f".{_LAZY[name]}", __name__)
    value = module if name == "backend" else getattr(module, name)
    globals()[name] = value
    return value
