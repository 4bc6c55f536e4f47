"""RotaryEmbedding: rows of heads turned by their positions."""

from __future__ import annotations

from typing import Any

from ...kernels.cpu.rotary import rotary
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..symbolic import Dim, maximum
from ..tensors import Indexed, Tensor
from .registry import Operator, register

X, COS, SIN, POSITIONS = range(4)
"""Inputs of a node."""


def _check(node: Node) -> None:
    x, cos = node.input(X), node.input(COS)
    if x is not None and x.shape is not None and x.rank not in (3, 4):
        refuse(node, f"rank of {x.name!r}", x.rank, "3 or 4")
    wanted = 3 if node.input(POSITIONS) is None else 2
    if cos is not None and cos.shape is not None and cos.rank != wanted:
        refuse(node, f"rank of {cos.name!r}", cos.rank, str(wanted))
    turned = node.attribute("rotary_embedding_dim", 0)
    if turned < 0 or turned % 2:
        refuse(node, "attribute 'rotary_embedding_dim'", turned, "an even number from 0 on")


def _sizes(node: Node) -> tuple[Dim, Dim, Dim, Dim]:
    """Batch, heads, rows, and elements of a row of one head."""
    dims = node.required(X).dims
    if len(dims) == 4:
        return dims
    heads = node.attribute("num_heads", 0)
    if heads <= 0:
        raise OnHost("an input of three axes without a number of heads")
    if isinstance(dims[2], int) and dims[2] % heads:
        refuse(node, "size of the last axis", dims[2], f"a multiple of {heads} heads")
    return dims[0], heads, dims[1], dims[2] // heads


def _infer(node: Node) -> list[Info]:
    infos = [node.required(i) for i in (X, COS, SIN)]
    if any(info.dtype != "float32" for info in infos):
        raise OnHost("only float32")
    size = _sizes(node)[3]
    turned = node.attribute("rotary_embedding_dim", 0)
    if isinstance(size, int) and (turned > size or (not turned and size % 2)):
        refuse(node, "elements of a head", size, f"even, and at least {turned}")
    return [node.result(infos[X].dims)]


def _heads_apart(x: Tensor, sizes: tuple[Dim, Dim, Dim, Dim]) -> Tensor:
    if len(x.shape) == 4:
        return x
    batch, row, element = x.strides
    return x.view(sizes, (batch, sizes[3] * element, row, element))


def _lower(emit: Emission, node: Node) -> None:
    sizes = batch, heads, rows, size = _sizes(node)
    x = _heads_apart(emit.tensor(node.values[X]), sizes)
    x = x if x.strides[3] == 1 else emit.ordered(x)
    y = emit.output(node)
    half = (node.attribute("rotary_embedding_dim", 0) or size) // 2
    cos, sin = (emit.ordered(emit.tensor(node.values[i])) for i in (COS, SIN))
    emit.check(maximum(2 * half, size), size, "elements that are turned, and all of a head")
    for table in (cos, sin):
        emit.check(table.shape[-1], half, f"angles of {table.name!r}, and pairs")
    emit.check(cos.shape[0], sin.shape[0], f"rows of {cos.name!r} and {sin.name!r}")
    positions, indexed = None, None
    if node.input(POSITIONS) is not None:
        positions = emit.ordered(emit.tensor(node.values[POSITIONS]))
        indexed = Indexed(node.required(POSITIONS).name, (cos.shape[0],))
        for axis, count in enumerate((batch, rows)):
            emit.check(positions.shape[axis], count, f"sizes of {positions.name!r}")
    else:
        for table in (cos, sin):
            for axis, count in enumerate((batch, rows)):
                emit.check(table.shape[axis], count, f"sizes of {table.name!r}")
    strides: dict[str, Any] = {
        f"{name}_{axis}": stride
        for name, tensor in (("x", x), ("y", _heads_apart(y, sizes)))
        for axis, stride in zip(("batch", "head", "row"), tensor.strides, strict=False)
    }
    emit.step(
        rotary(int(bool(node.attribute("interleaved", 0)))), outputs=[y], x=x, y=y, batch=batch,
        heads=heads, rows=rows, size=size, half=half, cos=cos, sin=sin, c_batch=rows * half,
        positions=positions, limit=cos.shape[0], indexed=indexed, **strides,
    )  # fmt: skip


register("RotaryEmbedding", Operator(rules=(_check,), infer=_infer, lower=_lower, is_float32=True))
