"""Emission of host steps: nodes without a kernel, and constants that no kernel reads."""

from __future__ import annotations

from collections.abc import Mapping

import onnx_ir as ir

from ..kernels.abi import HOST
from .emission import Emission
from .graph import Node
from .program import Program
from .tensors import Tensor


def emit_host(emit: Emission, node: Node, bodies: Mapping[str, Program] | None = None) -> None:
    """Emit the host step of a node; programs may compute its bodies."""
    from .host import HostOp  # loads onnx's reference implementation, which few models need

    operator = HostOp(node.ir, node.name, emit.graph.opsets)
    inputs = [None if value is None else tensor_of(emit, value) for value in node.values]
    outer = emit.graph.named
    captured = {name: tensor_of(emit, outer[name]) for name in operator.captured_names}
    read_sizes = emit.graph.read_sizes.get(node.index, [])
    if read_sizes:
        emit.program.open_phase()
    outputs = []
    for value, info in zip(node.outputs, node.infos, strict=True):
        dtype = info.dtype if info.shape is not None else "object"
        tensor = emit.new(info.shape or (), dtype, name=info.name, kind=HOST)
        emit.set(value, tensor)
        outputs.append(tensor if value.name else None)
    emit.program.add_host_step(
        node, operator.to_bytes(), inputs, outputs, captured, read_sizes, bodies or {}
    )


def tensor_of(emit: Emission, value: ir.Value) -> Tensor:
    """Return the tensor of a value that may be of a type that no kernel reads.

    A constant of such a type (strings, bfloat16, ...) is what a host step ``Constant`` gives.
    """
    info = emit.infos[value]
    if emit.has_tensor(value) or info.constant is None or info.dtype != "object":
        return emit.tensor(value)
    attribute = ir.AttrTensor("value", info.constant)
    constant = ir.Node("", "Constant", [], [attribute], name=info.name)
    constant.outputs[0].name = info.name
    node = Node(constant, {}, emit.graph.opsets.get("", 13), len(emit.graph.nodes))
    node.infos = [info]
    emit_host(emit, node)
    emit.set(value, emit.tensor(constant.outputs[0]))
    return emit.tensor(value)
