"""Names of the compiled module, as onnxruntime's own Python code imports them."""

from __future__ import annotations

from typing import Any

from ... import real_package
from .onnxruntime_pybind11_state import *  # noqa: F403


def __getattr__(name: str) -> Any:
    """Return a name of the real module that is not offered here."""
    return real_package.attribute(name, "capi.onnxruntime_pybind11_state")
