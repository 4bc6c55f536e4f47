"""Pad and CenterCropPad."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import numpy as np

from ...kernels.cpu.fill import fill
from ...kernels.cpu.pad import MODES, RANK, pad
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..symbolic import Dim, maximum, minimum, product
from ..tensors import Tensor
from . import checks
from .axes import by_axis, check_axes
from .pointwise import preferred_order
from .registry import Operator, register


def _pads(node: Node) -> tuple[list[Dim], list[Dim]]:
    x = node.required(0)
    pads = node.attribute("pads") or node.required(1).sizes()
    axes = _axes(node)
    none = [0] * x.rank
    return by_axis(axes, pads[: len(axes)], none), by_axis(axes, pads[len(axes) :], none)


def _axes(node: Node) -> list[Dim]:
    axes = node.input(3)
    return list(range(node.required(0).rank)) if axes is None else axes.sizes()


def _infer_pad(node: Node) -> list[Info]:
    x = node.required(0)
    before, after = _pads(node)
    if node.attribute("mode", "constant") != "constant" and x.rank > RANK:
        raise OnHost(f"more than {RANK} axes in a mode other than constant")
    return [node.result([d + a + b for d, a, b in zip(x.dims, before, after, strict=True)])]


def _lower_pad(emit: Emission, node: Node) -> None:
    x = emit.tensor(node.values[0])
    check_axes(emit, _axes(node), len(x.shape))
    before, after = _pads(node)
    if node.outputs[0] in emit.caches:
        emit.continued(node.outputs[0], _zeros_behind(emit, node, x, after))
        return
    y = emit.output(node, order=preferred_order(x.shape, [x]) if len(x.shape) == 4 else None)
    if (mode := node.attribute("mode", "constant")) == "constant":
        emit_padded(emit, x, y, before, after, _value(emit, node, x))
        return
    x = _cropped(emit, x, before, after)
    groups = (
        ("n", x.shape, 1), ("m", y.shape, 1), ("p", [maximum(n, 0) for n in before], 0),
        ("x", x.strides, 0), ("y", y.strides, 0),
    )  # fmt: skip
    fields: dict[str, Any] = {}
    for name, values, unused in groups:
        filled = [unused] * (RANK - len(values)) + list(values)
        fields |= {f"{name}{i}": v for i, v in enumerate(filled)}
    emit.step(
        pad(x.itemsize), outputs=[y], x=x, y=y, value=emit.constant(np.zeros(1, x.dtype)),
        mode=MODES.index(mode), **fields,
    )  # fmt: skip


def _value(emit: Emission, node: Node, x: Tensor) -> Tensor:
    """The element that is put around others."""
    value = node.input(2)
    if value is None:
        return emit.constant(np.full(1, node.attribute("value", 0), x.dtype))
    if value.is_constant:
        return emit.constant(value.array().reshape(1).astype(x.dtype))
    own = emit.ordered(emit.tensor(node.values[2]))
    emit.check(own.size, 1, f"elements of the value {own.name!r}")
    return own


def _cropped(emit: Emission, x: Tensor, before: Sequence[Dim], after: Sequence[Dim]) -> Tensor:
    """Return what pads below zero leave of a tensor."""
    shape, offset = list(x.shape), cast("Dim", 0)
    for axis, (front, back) in enumerate(zip(before, after, strict=True)):
        shape[axis] = shape[axis] + minimum(front, 0) + minimum(back, 0)
        offset = offset + maximum(-1 * front, 0) * x.strides[axis]
        what = f"size of axis {axis} of {x.name!r} after cropping"
        emit.check(minimum(0, shape[axis]), 0, what)
        grown = maximum(front, 0) + maximum(back, 0)
        emit.check_some(shape[axis], grown, f"elements that pad axis {axis}")
    return x.view(shape, x.strides, offset)


def _zeros_behind(emit: Emission, node: Node, x: Tensor, after: Sequence[Dim]) -> Tensor:
    """Zeros that a cache is to have behind it."""
    axis = emit.caches[node.outputs[0]][1]
    shape = [after[i] if i == axis else size for i, size in enumerate(x.shape)]
    return emit.constant(np.zeros(1, x.dtype)).view(shape, (0,) * len(shape))


def emit_fill(emit: Emission, y: Tensor, value: Tensor) -> None:
    """Emit the filling of a tensor with one element."""
    if y.is_dense:
        emit.step(fill(y.itemsize), outputs=[y], op_type="Fill", y=y, value=value, count=y.size)
    else:
        emit.copy(value.view(y.shape, (0,) * len(y.shape)), y, "Fill")


def emit_padded(
    emit: Emission, x: Tensor, y: Tensor, before: Sequence[Dim], after: Sequence[Dim], value: Tensor
) -> None:
    """Emit ``x`` with so many elements of one value around it, or fewer of its own, to ``y``.

    More may be cut off one end than there is: then padding of the other end goes, too.
    """
    emit_fill(emit, y, value)
    shape = list(x.shape)
    source: Dim = 0
    target: Dim = 0
    for axis in range(len(shape)):
        front, back = before[axis], after[axis]
        cut = minimum(front, 0) + minimum(back, 0)
        shape[axis] = shape[axis] if cut == 0 else maximum(shape[axis] + cut, 0)
        source = source + maximum(-1 * front, 0) * x.strides[axis]
        target = target + maximum(front, 0) * y.strides[axis]
    emit.copy(x.view(shape, x.strides, source), y.view(shape, y.strides, target))


# --- CenterCropPad ----------------------------------------------------------------------------


def _centred_shape(node: Node) -> list[Dim]:
    shape = list(node.required(0).dims)
    axes = node.attribute("axes", range(len(shape)))
    for axis, size in zip(axes, node.required(1).sizes(), strict=True):
        shape[axis] = size
    return shape


def _infer_centred(node: Node) -> list[Info]:
    if node.required(0).dtype == "object":
        raise OnHost("elements that no kernel moves")
    return [node.result(_centred_shape(node))]


def _lower_centred(emit: Emission, node: Node) -> None:
    x = emit.tensor(node.values[0])
    y = emit.output(node, order=preferred_order(x.shape, [x]) if len(x.shape) == 4 else None)
    more = [new - old for new, old in zip(y.shape, x.shape, strict=True)]
    before = [maximum(n, 0) // 2 - maximum(-1 * n, 0) // 2 for n in more]
    after = [n - front for n, front in zip(more, before, strict=True)]
    emit_padded(emit, x, y, before, after, emit.constant(np.zeros(1, x.dtype)))


def _check_centred(node: Node) -> None:
    """Rule of CenterCropPad: one size for each axis that is listed."""
    x, sizes, axes = node.input(0), node.input(1), node.attribute("axes")
    if x is None or x.shape is None or sizes is None or sizes.shape is None:
        return
    count = x.rank if axes is None else len(axes)
    if sizes.shape != (count,) and isinstance(product(sizes.dims), int):
        refuse(node, f"shape of the sizes {sizes.name!r}", list(sizes.dims), f"[{count}]")


register(
    "CenterCropPad",
    Operator(
        rules=(checks.axes(2), _check_centred, checks.size_list(1, per_axis=0, least=0)),
        infer=_infer_centred,
        lower=_lower_centred,
        moves=True,
    ),
)
register(
    "Pad",
    Operator(
        rules=(
            checks.one_of("mode", "constant", "reflect", "edge", "wrap"),
            checks.size_list(1, per_axis=2),
            checks.axes(3),
        ),
        infer=_infer_pad,
        lower=_lower_pad,
        moves=True,
    ),
)
