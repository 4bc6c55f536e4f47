"""The class of prepared models, where onnxruntime defines it."""

from ...onnx_backend import OnnxRuntimeBackendRep

__all__ = ["OnnxRuntimeBackendRep"]
