"""onnx's backend interface: ``prepare``, ``run``, ``supports_device``."""

from ...onnx_backend import OnnxRuntimeBackend
from .backend import is_compatible, prepare, run, run_model, supports_device

__all__ = [
    "OnnxRuntimeBackend",
    "is_compatible",
    "prepare",
    "run",
    "run_model",
    "supports_device",
]
