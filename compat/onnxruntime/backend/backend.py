"""The backend's class and its methods as functions, where onnxruntime defines them."""

from ...onnx_backend import OnnxRuntimeBackend

__all__ = [
    "OnnxRuntimeBackend",
    "is_compatible",
    "prepare",
    "run",
    "run_model",
    "supports_device",
]

is_compatible = OnnxRuntimeBackend.is_compatible
prepare = OnnxRuntimeBackend.prepare
run = OnnxRuntimeBackend.run_model
run_model = OnnxRuntimeBackend.run_model
supports_device = OnnxRuntimeBackend.supports_device
