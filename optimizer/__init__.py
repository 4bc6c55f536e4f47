"""The optimizer: standard ONNX in, standard ONNX out."""

from .pipeline import Report, optimize, optimize_with_report

__all__ = ["Report", "optimize", "optimize_with_report"]
