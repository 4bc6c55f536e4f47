"""sardonyx: ONNX inference and graph optimization in pure Python, at native speed.

Names are resolved on first use, so that ``import sardonyx`` costs nothing and opening a
cached program never imports onnx, the optimizer or the compiler.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from .errors import (
    ImportFailed,
    InvalidArgument,
    InvalidModel,
    KernelError,
    SardonyxError,
    UnreadableModel,
    UnsupportedModel,
)
from .forks import fork_lock

if TYPE_CHECKING:
    from .custom_operators import TensorType
    from .importers import load, save
    from .optimizer import optimize
    from .registration import operator
    from .runtime.cancellation import Cancellation
    from .runtime.devices.find import devices
    from .runtime.session import Session
    from .tools.compare import compare
    from .tools.convert import convert
    from .tools.html_report.notebook import report
    from .tools.quantize import quantize

__version__ = "0.1.0"
__path__ += [f"{folder}/clusters" for folder in __path__]
"""``sardonyx.ray`` lies there: at the top it would hide Ray from who runs Python in this folder."""

_LAZY = {
    "load": "importers",
    "save": "importers",
    "optimize": "optimizer",
    "Cancellation": "runtime.cancellation",
    "Session": "runtime.session",
    "devices": "runtime.devices.find",
    "compare": "tools.compare",
    "convert": "tools.convert",
    "quantize": "tools.quantize",
    "report": "tools.html_report.notebook",
    "backend": "backend",
    "operator": "registration",
    "TensorType": "custom_operators",
}

__all__ = [
    "Cancellation",
    "ImportFailed",
    "InvalidArgument",
    "InvalidModel",
    "KernelError",
    "SardonyxError",
    "Session",
    "TensorType",
    "UnreadableModel",
    "UnsupportedModel",
    "compare",
    "convert",
    "devices",
    "load",
    "operator",
    "optimize",
    "quantize",
    "report",
    "save",
]


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module 'sardonyx' has no attribute {name!r}")
    with fork_lock:
        module = importlib.import_module(f".{_LAZY[name]}", __name__)
    value = module if name == "backend" else getattr(module, name)
    globals()[name] = value
    return value
