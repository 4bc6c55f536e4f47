"""Short rows of an elementwise step as long ones, where an operand is the same in all rows.

A factor for each channel of an image keeps pixels apart: each is a row, and what a row begins with
takes longer than a few vectors do. Such operands are written several times, one after the other,
and so many pixels are one row.
"""

from __future__ import annotations

from collections.abc import Sequence

from ...kernels.target import LANES
from ..emission import Emission
from ..symbolic import Dim
from ..tensors import Tensor

_SHORT = 256
"""Elements of a row that is long enough."""
_LONG = 1024
_BLOCK = 4 * LANES
"""Elements that kernels store together: rows are whole blocks where they can."""
_LEAST = 4
"""Rows that have to become one, and at least so many long ones have to be left."""

Part = tuple[Sequence[Tensor], Sequence[Dim], Sequence[Sequence[Dim]]]
"""Tensors, the result first, sizes along four axes, outermost first, and strides of each."""


def long_rows(
    emit: Emission, tensors: Sequence[Tensor], dims: Sequence[Dim], strides: Sequence[Sequence[Dim]]
) -> list[Part]:
    """Return the parts that a step is done in: one with longer rows, and what they leave.

    Where that gains nothing there is one part, with all that is given.
    """
    (*outer, count, size), whole = dims, (tensors, dims, strides)
    if not isinstance(size, int) or not 3 < size < _SHORT:
        return [whole]
    numbers = range(_LONG // size, _LEAST - 1, -1)
    if isinstance(count, int):
        even = [n for n in numbers if count % n == 0] or [0]
        joined = next((n for n in even if n * size % _BLOCK == 0), even[0])
    else:
        joined = next((n for n in numbers if n * size % _BLOCK == 0), _LONG // size)
    kinds = [_kind(own, size) for own in strides]
    is_few = joined < _LEAST or (isinstance(count, int) and count < joined * _LEAST)
    if is_few or None in kinds or "repeated" not in kinds or kinds[0] != "rows":
        return [whole]
    long, steps, left = [], [], []
    for tensor, own, kind in zip(tensors, strides, kinds, strict=True):
        inner = {"rows": (joined * size, 1), "repeated": (0, 1), "number": (0, 0)}[kind or ""]
        start: Dim = count // joined * joined * size if kind == "rows" else 0
        left.append(tensor.view(tensor.shape, tensor.strides, start))
        if kind == "repeated":
            tensor, own = _repeated(emit, tensor, dims, own, joined)
        long.append(tensor)
        steps.append((*own[:2], *inner))
    first = (long, (*outer, count // joined, joined * size), steps)
    rest = (left, (*outer, count % joined, size), strides)
    return [first] if isinstance(count, int) else [first, rest]


def _kind(strides: Sequence[Dim], size: int) -> str | None:
    """Tell how a tensor lies: its rows end to end, one row for all, or one number for these."""
    known = {(size, 1): "rows", (0, 1): "repeated", (0, 0): "number"}
    found = [name for steps, name in known.items() if tuple(strides[2:]) == steps]
    return found[0] if found else None


def _repeated(
    emit: Emission, tensor: Tensor, dims: Sequence[Dim], strides: Sequence[Dim], count: int
) -> tuple[Tensor, Sequence[Dim]]:
    """Emit an operand whose rows are there so many times, one after the other, and its strides."""
    outer = (1 if step == 0 else n for n, step in zip(dims[:2], strides[:2], strict=True))
    shape = (*outer, count, dims[3])
    own = tensor.view(shape, (*strides[:2], 0, 1))

    def make() -> Tensor:
        rows = emit.new(shape, tensor.dtype, name=tensor.name)
        emit.copy(own, rows, "Repeat")
        return rows

    repeated = emit.once(own, "repeated", make)
    pairs = zip(strides[:2], repeated.strides[:2], strict=True)
    return repeated, [0 if old == 0 else new for old, new in pairs]
