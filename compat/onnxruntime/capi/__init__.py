"""Modules that clients of onnxruntime import names from, beside the package itself."""

from . import onnxruntime_pybind11_state

__all__ = ["onnxruntime_pybind11_state"]
