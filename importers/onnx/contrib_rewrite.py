"""What adapters of com.microsoft's operators share: their table, and edits of a node."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx_ir as ir

from .node_rewrite import NodeRewrite, NotExpressible

Adapter = Callable[[NodeRewrite], None]
ADAPTERS: dict[str, Adapter] = {}
"""Functions that make nodes standard ones, by operator."""


def adapts(*names: str) -> Callable[[Adapter], Adapter]:
    """Register the adapter of some operators."""

    def decorator(function: Adapter) -> Adapter:
        ADAPTERS.update(dict.fromkeys(names, function))
        return function

    return decorator


def optional(r: NodeRewrite, index: int) -> ir.Value | None:
    """Return an input, None where it is omitted."""
    return r.inputs[index] if index < len(r.inputs) else None


def needed(r: NodeRewrite, index: int) -> ir.Value:
    """Return an input that there must be."""
    value = optional(r, index)
    if value is None:
        raise NotExpressible(f"its input {index} is missing")
    return value


def summed(r: NodeRewrite, *values: ir.Value | None) -> ir.Value:
    """Sum of those values that there are."""
    first, *others = [value for value in values if value is not None]
    for other in others:
        first = r.emit("Add", first, other)
    return first


def become(r: NodeRewrite, op_type: str, *inputs: ir.Value | None) -> None:
    """Let the node be another one."""
    r.op_type, r.inputs = op_type, list(inputs)


def is_read(r: NodeRewrite, index: int) -> bool:
    """Tell whether somebody reads an output."""
    output = r.node.outputs[index] if index < len(r.node.outputs) else None
    return output is not None and (bool(output.uses()) or output.is_graph_output())


def need_unread(r: NodeRewrite, *indices: int) -> None:
    """Give up, before anything is changed, where outputs are read that the result has not."""
    for index in indices:
        if is_read(r, index):
            raise NotExpressible(f"its output {r.node.outputs[index].name!r} is read")


def give(r: NodeRewrite, index: int, value: ir.Value) -> None:
    """Let another value be an output."""
    if is_read(r, index):
        output = r.node.outputs[index]
        name = output.name
        output.name = f"{name}.replaced"
        value.name, value.type, value.shape = name, output.type, output.shape
        ir.convenience.replace_all_uses_with(output, value, replace_graph_outputs=True)


def moved(r: NodeRewrite, op_type: str, *inputs: ir.Value | None) -> ir.Value:
    """Put a node with all attributes of this one before it."""
    value = r.emit(op_type, *inputs)
    producer = value.producer()
    assert producer is not None
    producer.attributes.update(r.attributes)
    r.attributes.clear()
    return value


def channels_first(r: NodeRewrite, x: ir.Value, rank: int) -> ir.Value:
    """Move channels from the last axis to the second."""
    return r.emit("Transpose", x, perm=[0, rank - 1, *range(1, rank - 1)])


def channels_last(r: NodeRewrite, x: ir.Value, rank: int) -> ir.Value:
    """Move channels from the second axis to the last."""
    return r.emit("Transpose", x, perm=[0, *range(2, rank), 1])


def like(r: NodeRewrite, number: float, x: ir.Value) -> ir.Value:
    """Scalar of the type of a value."""
    return r.emit("CastLike", r.constant(number, np.float32), x)
