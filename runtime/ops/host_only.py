"""Operators that run on the host: their attributes are checked, their bodies compiled."""

from __future__ import annotations

import onnx_ir as ir

from ..graph import BodyInputs, Info, Node, dtype_name
from ..symbolic import Dim, symbol
from . import checks
from .registry import Operator, register

_reduction = checks.one_of("reduction", "none", "mean", "sum")

register("NegativeLogLikelihoodLoss SoftmaxCrossEntropyLoss", Operator(rules=(_reduction,)))


def _map_bodies(node: Node) -> dict[str, BodyInputs]:
    """Describe an element of each sequence of a SequenceMap, of the rank that the body declares."""
    declared = node.ir.attributes["body"].as_graph().inputs
    infos = []
    for info, value, parameter in zip(node.inputs, node.values, declared, strict=False):
        assert info is not None and value is not None
        kind = value.type
        if isinstance(kind, ir.SequenceType):
            kind = kind.elem_type if isinstance(kind.elem_type, ir.TensorType) else parameter.type
            dtype = dtype_name(None if kind is None else kind.dtype)
            info = Info(info.name, dtype, _opened(parameter))
        infos.append(info)
    return {"body": BodyInputs(infos)}


def _opened(declared: ir.Value) -> tuple[Dim, ...] | None:
    """Return open sizes for the axes that a value declares."""
    if declared.shape is None:
        return None
    name = declared.name or ""
    return tuple(symbol(f"{name}.{axis}", "input") for axis in range(len(declared.shape)))


register("SequenceMap", Operator(bodies=_map_bodies))
