"""The optimizer: standard ONNX in, standard ONNX out."""

from .. import onnx_ir_import  # noqa: F401  before onnx_ir itself
from .pipeline import optimize, optimize_in_place, optimize_with_report
from .report import Report

__all__ = ["Report", "optimize", "optimize_in_place", "optimize_with_report"]
