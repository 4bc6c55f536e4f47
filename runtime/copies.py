"""Copies: one kernel call moves a tensor between any two layouts, or many into one."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..kernels.cpu.concat import concat
from ..kernels.cpu.copy import RANK, copy
from ..kernels.pointwise import pointwise
from ..kernels.registry import Kernel
from .strides import collapse
from .symbolic import Dim, product
from .tensors import Tensor, short_name

_AXES = 4
"""Axes of a pointwise kernel."""


def copy_call(source: Tensor, target: Tensor) -> tuple[Kernel, dict[str, Any]]:
    """Return the kernel that copies between tensors, and its fields.

    The target is walked in its own memory order; axes that both tensors walk evenly are merged.

    Raises
    ------
    OnHost
        More axes are left than the kernel has.
    """
    order = memory_order(target)
    dims, (to, come) = collapse(target.shape, order, [target.strides, source.strides], RANK)
    fields: dict[str, Any] = {"x": source, "y": target}
    for name, values in (("d", dims), ("y", to), ("x", come)):
        fields |= {f"{name}{i}": value for i, value in enumerate(values)}
    return copy(target.itemsize), fields


def convert_call(source: Tensor, target: Tensor) -> tuple[Kernel, dict[str, Any]]:
    """Return the kernel that converts elements to another type of floats, and its fields.

    Both `is_in_rows`, in the same order of axes.
    """
    order = memory_order(target)
    dims, (to, come) = collapse(target.shape, order, [target.strides, source.strides], _AXES)
    fields: dict[str, Any] = {f"d{i}": dim for i, dim in enumerate(dims)}
    for name, tensor, strides in (("y", target, to), ("x0", source, come)):
        fields[f"{name}p"] = tensor
        fields |= {f"{name}s{i}": stride for i, stride in enumerate(strides)}
    kinds = (f"{short_name(tensor.dtype)}v" for tensor in (target, source))
    return pointwise("x0", " ".join(kinds)), fields


def is_in_rows(tensor: Tensor) -> bool:
    """Tell whether elements are dense along an axis, of few axes that do not merge."""
    dims, (strides,) = collapse(tensor.shape, memory_order(tensor), [tensor.strides])
    return not dims or (len(dims) <= _AXES and strides[-1] == 1)


def concat_call(
    operands: Sequence[Tensor], whole: Tensor, axis: int
) -> tuple[Kernel, dict[str, Any], list[bool]]:
    """Return the kernel that copies operands into a concatenation, and its fields.

    The axes of the result, in its memory order, are cut before the axis of concatenation: what
    comes before counts rows, the others make a run of each operand in every row.

    Returns
    -------
    kernel : Kernel
    fields : dict
        ``pieces`` is a list of words yet. Operands that are left out are gaps in it.
    taken : list of bool
        For each operand whether it is copied. Those that lie otherwise are not, nor those that lie
        in the result's buffer, perhaps at their place.
    """
    order = memory_order(whole)
    outer, inner = order[: order.index(axis)], order[order.index(axis) :]
    step, itemsize = row_stride(whole, outer, inner), whole.itemsize
    taken, pieces = [], list[Any]()
    for operand in operands:
        is_apart = step is not None and operand.buffer is not whole.buffer
        stride = row_stride(operand, outer, inner) if is_apart else None
        run = product(operand.shape[a] for a in inner) * itemsize
        pieces += [0, run, 0] if stride is None else [operand, run, stride * itemsize]
        taken.append(stride is not None)
    fields = {
        "y": whole, "rows": product(whole.shape[a] for a in outer),
        "width": product(whole.shape[a] for a in inner) * itemsize,
        "stride": (step or 0) * itemsize, "count": len(taken), "pieces": pieces,
    }  # fmt: skip
    return concat, fields, taken


def memory_order(tensor: Tensor) -> list[int]:
    """Axes in memory, outermost first, of a tensor in ONNX's order but for one axis."""
    return sorted(range(len(tensor.shape)), key=lambda axis: tensor.strides[axis] == 1)


def row_stride(tensor: Tensor, outer: Sequence[int], inner: Sequence[int]) -> Dim | None:
    """Elements between rows, which some axes count evenly while others make each a dense run.

    None where the elements lie otherwise.
    """
    counts, (steps,) = collapse(tensor.shape, outer, [tensor.strides])
    sizes, (strides,) = collapse(tensor.shape, inner, [tensor.strides])
    is_dense = len(sizes) == 1 and (strides[0] == 1 or sizes[0] == 1)
    return steps[0] if is_dense and len(counts) == 1 else None
