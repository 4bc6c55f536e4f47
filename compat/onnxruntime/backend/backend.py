"""The backend's class and its methods as functions, where onnxruntime defines them."""

from __future__ import annotations

import importlib
from typing import Any


def __getattr__(name: str) -> Any:
    """Import what needs onnx when it is asked for: sessions open without it."""
    found = importlib.import_module("sardonyx.compat.onnx_backend")
    if name.startswith("_") or not hasattr(found, name):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(found, name)
