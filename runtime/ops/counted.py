"""NonZero, Compress, Unique: results with as many elements as data say.

Steps count first; the count is read (``Emission.read``), and the results are steps of the next
phase, written where they belong.
"""

from __future__ import annotations

from ...kernels.cpu.elements import RANK
from ...kernels.cpu.nonzero import BLOCKS, begins_of, count_nonzero, nonzero
from ...kernels.cpu.unique import sort_keys, unique_rows
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..symbolic import Dim, product
from ..tensors import Tensor, short_name
from . import checks
from .indexing import emit_gather, numbered
from .registry import Operator, register

# --- NonZero ----------------------------------------------------------------------------------


def _infer_nonzero(node: Node) -> list[Info]:
    x = node.required(0)
    if not 0 < x.rank <= RANK:
        raise OnHost(f"{x.rank} axes")
    return [node.result((x.rank, node.count()), "int64")]


def _count(emit: Emission, node: Node, x: Tensor) -> tuple[tuple[int, int], Tensor]:
    """Count the elements that are not zero; returns the kernels' parameters, and where each begins.

    The count itself is read as the size that the node counts.
    """
    form = x.itemsize, int(x.dtype.startswith("float"))
    counts, begins = emit.new((BLOCKS,), "int64"), emit.new((BLOCKS + 1,), "int64")
    emit.step(count_nonzero(*form), outputs=[counts], x=x, counts=counts, count=x.size)
    emit.step(begins_of, outputs=[begins], counts=counts, begins=begins, count=BLOCKS)
    emit.read(begins.view((1,), (1,), BLOCKS), node.counted, node)
    return form, begins


def _emit_positions(
    emit: Emission, x: Tensor, counted: tuple[tuple[int, int], Tensor], y: Tensor
) -> None:
    form, begins = counted
    rank = len(x.shape)
    emit.step(
        nonzero(*form), outputs=[y], x=x, begins=begins, y=y, count=x.size, total=y.shape[-1],
        rank=rank, **numbered("d", [*[1] * (RANK - rank), *x.shape], 1, RANK),
    )  # fmt: skip


def _lower_nonzero(emit: Emission, node: Node) -> None:
    x = emit.ordered(emit.tensor(node.values[0]))
    counted = _count(emit, node, x)
    _emit_positions(emit, x, counted, emit.output(node))


# --- Compress ---------------------------------------------------------------------------------


def _infer_compress(node: Node) -> list[Info]:
    x, condition = node.required(0), node.required(1)
    if condition.dtype != "bool":
        raise OnHost(f"conditions of {condition.dtype}")
    axis = node.attribute("axis")
    if axis is None:
        return [node.result((node.count(),))]
    axis %= x.rank
    return [node.result((*x.dims[:axis], node.count(), *x.dims[axis + 1 :]))]


def _lower_compress(emit: Emission, node: Node) -> None:
    """Gather at the positions of the condition's ones."""
    x = emit.ordered(emit.tensor(node.values[0]))
    condition = emit.ordered(emit.tensor(node.values[1]))
    axis = node.attribute("axis")
    if axis is None:
        x, axis = x.view((x.size,), (1,)), 0
    counted = _count(emit, node, condition)
    y = emit.output(node)
    positions = emit.new((y.shape[axis],), "int64")
    _emit_positions(emit, condition, counted, positions)
    emit_gather(emit, x, positions, y, axis % len(x.shape))


def _check_unique(node: Node) -> None:
    if node.attribute("axis") is not None:
        checks.least_rank(1)(node)
        checks.axis(0)(node)


def _check_compress(node: Node) -> None:
    checks.least_rank(1)(node)
    condition = node.input(1)
    if node.attribute("axis") is not None:
        checks.axis(0)(node)
    if condition is not None and condition.shape is not None and condition.rank != 1:
        refuse(node, f"rank of {condition.name!r}", condition.rank, "1")


# --- Unique -----------------------------------------------------------------------------------


def _infer_unique(node: Node) -> list[Info]:
    x, axis = node.required(0), node.attribute("axis")
    size = product(x.dims) if axis is None else x.dims[axis % x.rank]
    groups = node.count()
    shape: tuple[Dim, ...] = (groups,)
    if axis is not None:
        axis %= x.rank
        shape = (*x.dims[:axis], groups, *x.dims[axis + 1 :])
    others = zip(range(1, len(node.outputs)), (groups, size, groups), strict=False)
    return [node.result(shape), *(node.result((n,), "int64", i) for i, n in others)]


def _lower_unique(emit: Emission, node: Node) -> None:
    x = emit.tensor(node.values[0])
    axis = node.attribute("axis")
    if axis is None:
        x = emit.ordered(x)
        x, axis = x.view((x.size,), (1,)), 0
    axis %= len(x.shape)
    order = (axis, *(i for i in range(len(x.shape)) if i != axis))
    shape, strides = ([each[i] for i in order] for each in (x.shape, x.strides))
    rows = emit.ordered(x.view(shape, strides))
    count = x.shape[axis]
    keys = emit.new((rows.size,), "int64")
    kind = short_name(x.dtype)
    emit.step(
        sort_keys("u8" if kind == "bool" else kind), outputs=[keys], x=rows, keys=keys,
        count=rows.size,
    )  # fmt: skip
    first, inverse, counts = (emit.new((count,), "int64") for _ in range(3))
    groups, scratch = emit.new((1,), "int64"), emit.new((3 * count,), "int64")
    emit.step(
        unique_rows, outputs=[groups, first, inverse, counts], keys=keys, rows=count,
        width=product(rows.shape[1:]), is_float=int(node.required(0).is_float),
        is_sorted=node.attribute("sorted", 1), first=first, inverse=inverse, counts=counts,
        groups=groups, scratch=scratch,
    )  # fmt: skip
    emit.read(groups, node.counted, node)
    found = first.view(node.counted_sizes, (1,))
    emit_gather(emit, emit.ordered(x), found, emit.output(node), axis)
    for value, tensor in zip(node.outputs[1:], (first, inverse, counts), strict=False):
        sizes = tensor.shape if tensor is inverse else node.counted_sizes
        emit.set(value, tensor.view(sizes, (1,)))


register("NonZero", Operator(infer=_infer_nonzero, lower=_lower_nonzero))
register(
    "Unique",
    Operator(rules=(_check_unique,), infer=_infer_unique, lower=_lower_unique),
)
register(
    "Compress",
    Operator(rules=(_check_compress,), infer=_infer_compress, lower=_lower_compress, moves=True),
)
