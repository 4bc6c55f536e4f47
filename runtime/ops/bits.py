"""BitCast: the same bytes, read as another type."""

from __future__ import annotations

import dataclasses

import numpy as np
import onnx_ir as ir

from ..emission import Emission
from ..graph import Info, Node, OnHost, dtype_name, refuse
from . import checks
from .pointwise import emit_expression
from .registry import Operator, register


def _infer(node: Node) -> list[Info]:
    x, dtype = node.required(0), dtype_name(ir.DataType(node.attribute("to")))
    if dtype == "object":
        raise OnHost(f"bits of {x.dtype} as {ir.DataType(node.attribute('to')).name}")
    if np.dtype(dtype).itemsize != np.dtype(x.dtype).itemsize:
        refuse(node, "attribute 'to'", dtype, f"a type of as many bits as {x.dtype}")
    return [node.result(x.dims, dtype)]


def _lower(emit: Emission, node: Node) -> None:
    x, dtype = emit.tensor(node.values[0]), node.infos[0].dtype
    if dtype == "bool":
        # A byte that is neither 0 nor 1 is true, and no kernel may meet it.
        emit_expression(
            emit, "to_bool(x0)", emit.output(node), [dataclasses.replace(x, dtype="uint8")]
        )
    else:
        emit.set(node.outputs[0], dataclasses.replace(x, dtype=dtype))


register(
    "BitCast",
    Operator(rules=(checks.element_type("to"),), infer=_infer, lower=_lower, moves=True),
)
