"""Pieces of attention of com.microsoft: sizes, heads, and what its nodes have in common."""

from __future__ import annotations

import onnx_ir as ir

from .contrib_rewrite import become, optional, summed
from .node_rewrite import NodeRewrite, NotExpressible


def size_of(r: NodeRewrite, x: ir.Value, axis: int) -> ir.Value:
    """Size of an axis, as a vector."""
    return r.emit("Shape", x, start=axis, end=axis + 1)


def _scalar(r: NodeRewrite, vector: ir.Value) -> ir.Value:
    return r.emit("Squeeze", vector, r.constant([0]))


def numbers_below(r: NodeRewrite, until: ir.Value) -> ir.Value:
    """Numbers from 0 to below a vector's only element."""
    return r.emit("Range", r.constant(0), _scalar(r, until), r.constant(1))


def split(
    r: NodeRewrite, x: ir.Value, axis: int, sizes: ir.Value | None, count: int
) -> list[ir.Value]:
    """Parts of a tensor, of the same size where none are given."""
    more = {} if sizes is not None else {"num_outputs": count}
    first = r.emit("Split", x, sizes, axis=axis, **more)
    return outputs_of(first, count)


def outputs_of(first: ir.Value, count: int) -> list[ir.Value]:
    """Outputs of a node that was made with one."""
    producer = first.producer()
    assert producer is not None
    producer.resize_outputs(count)
    for index, value in enumerate(producer.outputs[1:], 1):
        value.name = f"{first.name}_{index}"
    return list(producer.outputs)


def rank_of(value: ir.Value) -> int | None:
    """Number of axes, None where it is not known."""
    return None if value.shape is None else len(value.shape)


def heads_apart(r: NodeRewrite, x: ir.Value, heads: int) -> ir.Value:
    """(batch, rows, all) as (batch, heads, rows, size)."""
    apart = r.emit("Reshape", x, r.constant([0, 0, heads, -1]))
    return r.emit("Transpose", apart, perm=[0, 2, 1, 3])


def take_scale(r: NodeRewrite) -> dict[str, float]:
    """Take the scale, as the attribute of the standard operator."""
    scale = r.take("scale", 0.0)
    return {"scale": scale} if scale else {}


def take_heads(r: NodeRewrite, name: str = "num_heads") -> int:
    """Take a number of heads."""
    heads = r.take(name, 0)
    if heads <= 0:
        raise ValueError(f"{name} is {heads}")
    return int(heads)


def refuse_inputs(r: NodeRewrite, *indices: int) -> None:
    """Give up where there is an input that the standard has nothing for."""
    for index in indices:
        if optional(r, index) is not None:
            raise NotExpressible(f"it has an input {index}")


def with_scores(y: ir.Value) -> tuple[ir.Value, ir.Value]:
    """Result and scores of an Attention that gives no caches."""
    y, keys, values, scores = outputs_of(y, 4)
    keys.name = values.name = ""
    return y, scores


def biases(r: NodeRewrite, *biases: ir.Value | None) -> ir.Value | None:
    """Sum of those addends that there are, None without any."""
    return summed(r, *biases) if any(bias is not None for bias in biases) else None


def become_joined(r: NodeRewrite, y: ir.Value) -> None:
    """Let the node put heads of rows side by side."""
    r.outputs = 1
    become(r, "Reshape", r.emit("Transpose", y, perm=[0, 2, 1, 3]), r.constant([0, 0, -1]))
