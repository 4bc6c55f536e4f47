"""Slice and Split: views of parts."""

from __future__ import annotations

from ..emission import Emission
from ..graph import Info, Node, describe, refuse
from ..symbolic import Dim, bound, ceil_divide, is_natural, maximum, minimum, sum_dims
from . import checks
from .axes import by_axis, check_axes, is_below_zero, is_data_dependent, is_equal
from .registry import Operator, register

_WHOLE = 2**31 - 1
"""A step that few axes reach."""
_BEYOND = 2**46
"""An index that no axis reaches."""


def _slice_lists(node: Node) -> tuple[list[Dim], list[Dim], list[Dim], list[Dim]]:
    """Starts, ends, axes and steps."""
    if node.attribute("starts") is not None:
        starts, ends = node.attribute("starts"), node.attribute("ends")
        return starts, ends, node.attribute("axes") or list(range(len(starts))), [1] * len(starts)
    starts, ends = node.required(1).sizes(), node.required(2).sizes()
    third, fourth = node.input(3), node.input(4)
    axes: list[Dim] = list(range(len(starts))) if third is None else third.sizes()
    return starts, ends, axes, [1] * len(starts) if fourth is None else fourth.sizes()


def _slice_bounds(node: Node) -> list[tuple[int, Dim, Dim, Dim]]:
    """(axis, first, count, step) of sliced axes; of all where those are given at run time."""
    x = node.required(0)
    starts, ends, axes, steps = (list(map(_within, each)) for each in _slice_lists(node))
    if not all(isinstance(axis, int) for axis in axes):
        starts, ends, steps = (
            by_axis(axes, values, others)
            for values, others in ((starts, [0] * x.rank), (ends, x.dims), (steps, [1] * x.rank))
        )
        axes = list(range(x.rank))
    bounds = []
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        own = int(axis) % x.rank  # type: ignore[arg-type]
        bounds.append((own, *_range(start, end, x.dims[own], step)))
    return bounds


def _range(start: Dim, end: Dim, size: Dim, step: Dim) -> tuple[Dim, Dim, Dim]:
    """First index, number of elements and step of a Python slice over symbolic sizes."""
    if not isinstance(step, int) or abs(step) >= _WHOLE:
        step = maximum(minimum(step, maximum(size, 1)), -1 * maximum(size, 1))
    if isinstance(step, int):
        return *(_backward if step < 0 else _forward)(start, end, size, abs(step)), step
    turns, distance = is_below_zero(step), maximum(maximum(step, -1 * step), 1)
    pairs = zip(
        _forward(start, end, size, distance), _backward(start, end, size, distance), strict=True
    )
    first, count = (forth + turns * (back - forth) for forth, back in pairs)
    return first, count, step


def _forward(start: Dim, end: Dim, size: Dim, step: Dim) -> tuple[Dim, Dim]:
    first = bound(start, size)
    last = size if end == _BEYOND else bound(end, size)
    return first, ceil_divide(maximum(0, last - first), step)


def _backward(start: Dim, end: Dim, size: Dim, step: Dim) -> tuple[Dim, Dim]:
    # The standard lets a backward slice start at the first element at least.
    after = minimum(maximum(_after(start, size), 1), size)
    return maximum(0, after - 1), ceil_divide(maximum(0, after - _after(end, size)), step)


def _within(index: Dim) -> Dim:
    """Return an index whose number 64 bits hold, also with what is added to it."""
    if isinstance(index, int) or is_data_dependent(index):
        return minimum(maximum(index, -_BEYOND), _BEYOND)
    return index


def _after(index: Dim, size: Dim) -> Dim:
    """Return the position behind that of an index, as a limit of a backward slice."""
    if isinstance(index, int):
        return size if index == -1 else bound(index + 1, size)
    if not is_natural(index):
        return minimum(maximum(index + 1 + is_below_zero(index) * size, 0), size)
    return bound(index + 1, size)


def _infer_slice(node: Node) -> list[Info]:
    x = node.required(0)
    shape = list(x.dims)
    bounds = _slice_bounds(node)
    for axis, _, count, _ in bounds:
        shape[axis] = count
    known = None
    if (
        x.known is not None
        and x.rank == 1
        and all(isinstance(dim, int) for bound in bounds for dim in bound)
    ):
        known = x.known
        for _, first, count, step in bounds:
            known = known[[int(first) + i * step for i in range(int(count))]]  # type: ignore
    return [node.result(shape, known=known)]


def _lower_slice(emit: Emission, node: Node) -> None:
    x = emit.tensor(node.values[0])
    _, _, axes, steps = _slice_lists(node)
    check_axes(emit, axes, len(x.shape))
    for step in steps:
        emit.check(is_equal(_within(step), 0), 0, "1 for a step of 0, and 0")
    shape, strides = list(x.shape), list(x.strides)
    offset: Dim = 0
    for axis, first, count, step in _slice_bounds(node):
        offset = offset + first * x.strides[axis]
        shape[axis] = count
        strides[axis] = strides[axis] * step
    emit.set(node.outputs[0], x.view(shape, strides, offset))


def _split_sizes(node: Node) -> list[Dim]:
    x = node.required(0)
    axis = node.attribute("axis", 0) % x.rank
    sizes = node.attribute("split")
    if sizes is None and node.input(1) is not None:
        sizes = node.required(1).sizes()
    if sizes is not None:
        return list(sizes)
    parts = node.attribute("num_outputs") or len(node.outputs)
    size = (x.dims[axis] + parts - 1) // parts
    return [*[size] * (parts - 1), x.dims[axis] - size * (parts - 1)]


def _infer_split(node: Node) -> list[Info]:
    x = node.required(0)
    axis = node.attribute("axis", 0) % x.rank
    infos = []
    for index, size in enumerate(_split_sizes(node)):
        shape = list(x.dims)
        shape[axis] = size
        infos.append(node.result(shape, index=index))
    return infos


def _lower_split(emit: Emission, node: Node) -> None:
    x = emit.tensor(node.values[0])
    axis = node.attribute("axis", 0) % len(x.shape)
    total = sum_dims(info.dims[axis] for info in node.infos)
    emit.check(x.shape[axis], total, f"size of axis {axis} of {x.name!r} and of its parts")
    offset: Dim = 0
    for index, info in enumerate(node.infos):
        emit.set(node.outputs[index], x.view(info.dims, x.strides, offset * x.strides[axis]))
        offset = offset + info.dims[axis]


def _check_slice(node: Node) -> None:
    lists = [node.input(i) for i in range(1, 5)]
    known = [None if info is None or info.known is None else info.sizes() for info in lists]
    counts = {len(values) for values in known if values is not None}
    if len(counts) > 1:
        refuse(node, "number of starts, ends, axes and steps", sorted(counts), "the same for all")
    if known[3] is not None and 0 in known[3]:
        refuse(node, f"content of the steps {lists[3].name!r}", known[3], "no 0")  # type: ignore[union-attr]
    checks.axes(3)(node)


def _check_split(node: Node) -> None:
    checks.least_rank(1)(node)
    checks.axis(0)(node)
    x, operand, sizes = node.input(0), node.input(1), node.attribute("split")
    if sizes is None and operand is not None and operand.known is not None:
        sizes = operand.sizes()
    parts = len(node.outputs)
    if sizes is None:
        if node.attribute("num_outputs", parts) != parts:
            refuse(node, "attribute 'num_outputs'", node.attribute("num_outputs"), f"{parts}")
        return
    if len(sizes) != parts or any(isinstance(size, int) and size < 0 for size in sizes):
        refuse(node, "list of sizes", sizes, f"{parts} numbers from 0 on")
    total = sum(sizes) if all(isinstance(size, int) for size in sizes) else None
    if x is not None and x.shape is not None and total is not None:
        dim = x.dims[node.attribute("axis", 0)]
        if isinstance(dim, int) and dim != total:
            refuse(node, "sum of the sizes", total, f"{dim}, as in {describe(x)}")


register(
    "Slice", Operator(rules=(_check_slice,), infer=_infer_slice, lower=_lower_slice, moves=True)
)
register(
    "Split", Operator(rules=(_check_split,), infer=_infer_split, lower=_lower_split, moves=True)
)
