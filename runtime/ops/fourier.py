"""DFT and STFT: transforms of lines, of which those of an STFT overlap."""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.cpu.fourier import (
    chirps,
    count_length,
    fourier,
    length_for,
    roots,
    roots_of_unity,
)
from ...kernels.target import LANES
from ..emission import Emission
from ..graph import Info, Node, OnHost, refuse
from ..symbolic import Dim, maximum, minimum, not_one
from ..tensors import Tensor, short_name
from . import checks
from .axes import around, by_axis, check_axes, is_data_dependent, is_equal
from .registry import Operator, register

_WORKING_SET = 1 << 13  # numbers of the lines that are side by side
_SHORT = 64
"""Numbers of a line that is computed in double and rounded once.

Vocoders take the phase of such spectra, where what is no more than rounding must not be 0 by 0.
"""


def _signal(node: Node) -> Info:
    x = node.required(0)
    if x.dtype not in ("float32", "float64"):
        raise OnHost(f"{node.op_type} of {x.dtype}")
    return x


def _count_length(node: Node, n: Dim) -> None:
    """Let the length of transforms be a size that a step counts, where it depends on sizes."""
    if not isinstance(n, int):
        node.count()


def _emit_lines(
    emit: Emission, node: Node, x: Tensor, y: Tensor, n: Dim, window: Tensor | None,
    **fields: Any,
) -> None:  # fmt: skip
    """Emit the transform of lines of ``n`` numbers."""
    emit.check(minimum(n, 1), 1, "length of 1 or more")
    parts = x.shape[-1]
    emit.check(minimum(maximum(parts, 1), 2), parts, "1 or 2 parts of numbers")
    space = _length(emit, node, n)
    may_be_short = n <= _SHORT if isinstance(n, int) else is_data_dependent(n)
    table = _roots(emit, space, "float64" if may_be_short else x.dtype)
    tables: dict[str, Any] = {"table": table, "chirp": None, "spectrum": None}
    if space != n:
        tables |= _chirps(emit, n, space, table)
    _emit_transform(emit, x, y, n=n, space=space, window=window, x_parts=parts, **tables, **fields)


def _emit_transform(emit: Emission, x: Tensor, y: Tensor, **fields: Any) -> None:
    lines, space = fields["outer"] * fields["inner"], fields["space"]
    side_by_side = maximum(1, minimum(minimum(LANES, lines), _WORKING_SET // maximum(space, 1)))
    kind: str = fields["table"].dtype
    room = (4 * space * side_by_side * np.dtype(kind).itemsize + 63) // 64 * 64
    emit.step(
        fourier(short_name(x.dtype), short_name(kind)), outputs=[y], flops=space * lines * 64,
        x=x, y=y,
        side_by_side=side_by_side, scratch=emit.workspace(room), scratch_bytes=room, **fields,
    )  # fmt: skip


def _length(emit: Emission, node: Node, n: Dim) -> Dim:
    """Length of the transforms for one of length n; counted by a step where n is no number."""
    if isinstance(n, int):
        return length_for(n)
    counted = emit.new((1,), "int64")
    emit.step(count_length, outputs=[counted], counted=counted, n=n)
    emit.read(counted, node.counted, node)
    return node.counted_sizes[0]


def _roots(emit: Emission, n: Dim, dtype: str) -> Tensor:
    if isinstance(n, int):
        return emit.constant(roots(n, dtype))
    table = emit.new((2, n), dtype)
    emit.step(
        roots_of_unity(short_name(dtype)), outputs=[table], flops=n * 128, table=table, count=n
    )
    return table


def _chirps(emit: Emission, n: Dim, space: Dim, table: Tensor) -> dict[str, Tensor]:
    """Emit what a convolution needs; nothing where it turns out that there is none."""
    wanted = not_one(space - n + 1)
    dtype = table.dtype
    chirp, mirrored, spectrum = (
        emit.new((size * wanted, 2), dtype) for size in (n, space, space)
    )  # fmt: skip
    emit.step(
        chirps(short_name(dtype)), outputs=[chirp, mirrored], flops=space * 128, chirp=chirp,
        mirrored=mirrored, n=n, length=space,
    )  # fmt: skip
    _emit_transform(
        emit, mirrored, spectrum, window=None, table=table, chirp=None, spectrum=None, outer=1,
        inner=1, n=space, space=space, count=space, bins=space, x_outer=0, x_inner=0, x_step=2,
        x_parts=2, y_outer=0, y_inner=0, y_step=2, y_parts=2, sign=1, half=0, inverse_of=space,
    )  # fmt: skip
    return {"chirp": chirp, "spectrum": spectrum}


# --- DFT --------------------------------------------------------------------------------------


def _axis(node: Node) -> Dim:
    x, axis = node.required(0), node.attribute("axis", 1) if node.version < 20 else -2
    if node.version >= 20 and node.input(2) is not None:
        axis = node.required(2).sizes()[0]
    if isinstance(axis, int) and (not -x.rank <= axis < x.rank or axis % x.rank == x.rank - 1):
        refuse(node, "the axis", axis, f"a number from {-x.rank} to {x.rank - 2}, but not -1")
    return axis % x.rank


def _check_axis(emit: Emission, node: Node) -> None:
    """Refuse an axis given at run time if there is none such, or numbers of it have two parts."""
    rank = node.required(0).rank
    if node.version >= 20 and node.input(2) is not None:
        check_axes(emit, node.required(2).sizes(), rank)
    emit.check(is_equal(_axis(node), rank - 1), 0, "1 for an axis that is the last, and 0")


def _is_half(node: Node) -> bool:
    """Tell whether half of a spectrum becomes real numbers."""
    return bool(node.attribute("inverse", 0) and node.attribute("onesided", 0))


def _given_length(node: Node, size: Dim) -> Dim:
    if node.input(1) is not None:
        return node.required(1).sizes()[0]
    return 2 * (size - 1) if _is_half(node) else size


def _infer_dft(node: Node) -> list[Info]:
    x = _signal(node)
    axis, signal = _axis(node), x.dims[:-1]
    n = _given_length(node, around(signal, axis)[1])
    is_short = node.attribute("onesided", 0) and not node.attribute("inverse", 0)
    bins = n // 2 + 1 if is_short else n
    shape = by_axis([axis], [bins], signal)
    _count_length(node, n)
    return [node.result([*shape, 1 if _is_half(node) else 2])]


def _lower_dft(emit: Emission, node: Node) -> None:
    x, y, axis = emit.ordered(emit.tensor(node.values[0])), emit.output(node), _axis(node)
    _check_axis(emit, node)
    outer, size, inner = around(x.shape[:-1], axis)
    n, bins = _given_length(node, size), around(y.shape[:-1], axis)[1]
    parts, y_parts = x.shape[-1], y.shape[-1]
    inverse, half = node.attribute("inverse", 0), _is_half(node)
    used = n // 2 + 1 if half else n
    _emit_lines(
        emit, node, x, y, n, None, outer=outer, inner=inner,
        count=minimum(size, used), bins=bins,
        x_outer=size * inner * parts, x_inner=parts, x_step=inner * parts,
        y_outer=bins * inner * y_parts, y_inner=y_parts, y_step=inner * y_parts,
        y_parts=y_parts, sign=-1 if inverse else 1, half=int(half), inverse_of=n if inverse else 1,
    )  # fmt: skip


# --- STFT -------------------------------------------------------------------------------------


def _frame(node: Node) -> tuple[Dim, Dim]:
    """Length of the frames, and from one to the next."""
    window, length = node.input(2), node.input(3)
    step = node.required(1).sizes()[0]
    if isinstance(step, int) and step < 1:
        refuse(node, "the step from frame to frame", step, "a number from 1 on")
    if length is not None:
        return node.required(3).sizes()[0], step
    return (window if window is not None else node.required(0)).dims[0 if window else 1], step


def _infer_stft(node: Node) -> list[Info]:
    x = _signal(node)
    length, step = _frame(node)
    _count_length(node, length)
    bins = length // 2 + 1 if node.attribute("onesided", 1) else length
    return [node.result((x.dims[0], (x.dims[1] - length) // step + 1, bins, 2))]


def _lower_stft(emit: Emission, node: Node) -> None:
    x, y = emit.ordered(emit.tensor(node.values[0])), emit.output(node)
    if len(x.shape) == 2:
        x = x.view((*x.shape, 1), (*x.strides, 1))
    (length, step), parts = _frame(node), x.shape[-1]
    emit.check(minimum(step, 1), 1, "step of 1 or more")
    emit.check(minimum(length, x.shape[1]), length, "length of a frame, of the signal")
    window = None
    if node.input(2) is not None:
        window = emit.ordered(emit.tensor(node.values[2]))
        emit.check(window.shape[0], length, "sizes of the window and of a frame")
    _, frames, bins, _ = y.shape
    _emit_lines(
        emit, node, x, y, length, window, outer=x.shape[0], inner=frames, count=length, bins=bins,
        x_outer=x.shape[1] * parts, x_inner=step * parts, x_step=parts,
        y_outer=frames * bins * 2, y_inner=bins * 2, y_step=2, y_parts=2, sign=1, half=0,
        inverse_of=1,
    )  # fmt: skip


def _check_length(node: Node) -> None:
    checks.least_rank(2)(node)
    checks.one_number(node, 1)


def _check_signal(node: Node) -> None:
    """A real signal may leave out its last axis, as exporters write it and onnxruntime takes it."""
    x = node.input(0)
    for index in (1, 3):
        checks.one_number(node, index)
    if x is not None and x.shape is not None and x.rank not in (2, 3):
        refuse(node, f"rank of {x.name!r}", x.rank, "3")


register("DFT", Operator(rules=(_check_length,), infer=_infer_dft, lower=_lower_dft))
register(
    "STFT",
    Operator(rules=(_check_signal,), infer=_infer_stft, lower=_lower_stft),
)
