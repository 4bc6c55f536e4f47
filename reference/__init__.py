"""Operators of onnx's reference implementation that do not follow the standard, done right."""

from onnx.reference.op_run import OpRun

from .loop import Loop

OPERATORS: list[type[OpRun]] = [Loop]
"""For ``new_ops`` of a ReferenceEvaluator."""
