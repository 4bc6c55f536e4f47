"""The optimizer: standard ONNX in, standard ONNX out."""

from .pipeline import optimize, optimize_with_report
from .report import Report

__all__ = ["Report", "optimize", "optimize_with_report"]
