"""Model as it is before quantizing: simplified, with normalization folded into weights."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ...errors import InvalidArgument
from ..fusions.affine import fold_affine
from ..fusions.batchnorm import fold_batch_normalization
from ..fusions.padding import fold_pads
from ..pipeline import optimize_in_place
from ..report import Report
from ..values import constant, graphs

_QUANTIZED = ("Quantize", "QLinear", "QGemm", "QAttention", "Integer", "MatMulNBits")
_ROUNDS = 4


_OPERANDS = {"Conv": 1, "ConvTranspose": 1, "MatMul": 1, "Gemm": 1, "Gather": 0}
"""Which operands are weights."""


def weights_of_no_numbers(model: ir.Model) -> list[str]:
    """Say which weights of layers are NaN or infinite: node, operator and constant."""
    found: dict[ir.Value, str] = {}
    for node in model.graph.all_nodes():
        index = _OPERANDS.get(node.op_type)
        value = None if node.domain or index is None else node.inputs[index]
        if value is None or value in found or value.dtype != ir.DataType.FLOAT:
            continue
        weights = constant(value)
        if weights is not None and not np.isfinite(weights).all():
            found[value] = f"{value.name!r} of node {node.name!r} ({node.op_type})"
    return list(found.values())


def prepared(model: ir.Model) -> ir.Model:
    """Return a simplified copy of a float model.

    Raises
    ------
    InvalidArgument
        Something of the model is quantized already: names the node.
    """
    for graph in graphs(model):
        for node in graph:
            if any(part in node.op_type for part in _QUANTIZED):
                raise InvalidArgument(
                    f"the model is quantized already: node {node.name!r} ({node.op_type}) "
                    f"makes {node.outputs[0].name!r}; give the float model"
                )
    copy = optimize_in_place(model.clone(), "basic")
    for _ in range(_ROUNDS):
        report = Report()
        passes = (fold_pads, fold_batch_normalization, fold_affine)
        if not sum(each(copy, report) for each in passes):
            break
        copy = optimize_in_place(copy, "basic")
    return copy
