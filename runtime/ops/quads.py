"""Operands of integer products as words of four bytes: rows unsigned, constant weights signed.

Rows keep their zero point ``z``: ``sum (x - z) w`` is ``sum x w - z sum w``, of which the second
part is a bias. Rows of int8 become unsigned by adding 128, and so does their zero point.
"""

from __future__ import annotations

import numpy as np

from ...kernels.arithmetic import HAS_QUADS
from ...kernels.cpu.quads import SIGNED, quad_planes, quad_rows, zero_bias
from ..emission import Emission
from ..graph import Info, Node
from ..strides import channels_last_order, contiguous_strides, same_strides
from ..symbolic import Dim, product
from ..tensors import Tensor

is_wanted = HAS_QUADS
"""Whether products of words of four bytes are faster than those of pairs."""


def row_quads(emit: Emission, a: Tensor) -> Tensor:
    """Return words of matrices (..., rows, depth): their memory itself where it has whole ones."""
    a = emit.ordered(a)
    *rows, depth = a.shape
    shape = (*rows, (depth + 3) // 4)
    if a.dtype == "uint8" and depth % 4 == 0:
        return _as_words(a, shape, contiguous_strides(shape))

    def make() -> Tensor:
        words = emit.new(shape, "int32", name=a.name)
        _emit_rows(emit, a, words, 1, product(rows), 1, depth, 0, depth)
        return words

    return emit.once(a, "quads", make)


def pixel_quads(emit: Emission, x: Tensor, groups: int, channels: Dim) -> Tensor:
    """Return words of the channels of each pixel of an image, by group."""
    if groups == 1 and _is_planar(x, channels):
        return _planar_quads(emit, x)
    x = emit.channels_last(x)
    images, *spatial = x.shape[0], *x.shape[2:]
    order = channels_last_order(len(x.shape))
    rows, pixel = product(spatial), x.strides[-1]
    shape = (images, groups * ((channels + 3) // 4), *spatial)
    is_even = all(stride % 4 == 0 for axis, stride in enumerate(x.strides) if axis != 1)
    if x.dtype == "uint8" and channels % 4 == 0 and is_even:
        strides = [stride // 4 for stride in x.strides]
        return _as_words(x, shape, [*strides[:1], 1, *strides[2:]])
    steps = [pixel * step for step in contiguous_strides(spatial)]
    if [x.strides[0], *x.strides[2:]] != [rows * pixel, *steps]:
        x = emit.ordered(x, order)
        pixel = x.shape[1]
    words = emit.new(shape, "int32", order, x.name)
    _emit_rows(emit, x, words, images, rows, groups, channels, rows * pixel, pixel)
    return words


def _is_planar(x: Tensor, channels: Dim) -> bool:
    """Tell whether a word has all channels of an image, which lie one after the other."""
    is_few = isinstance(channels, int) and 1 <= channels <= 4
    return is_few and same_strides(x.shape[1:], x.strides[1:], contiguous_strides(x.shape[1:]))


def _planar_quads(emit: Emission, x: Tensor) -> Tensor:
    order, pixels = channels_last_order(len(x.shape)), product(x.shape[2:])
    words = emit.new((x.shape[0], 1, *x.shape[2:]), "int32", order, x.name)
    emit.step(
        quad_planes, outputs=[words], op_type="Quads", x=x, y=words, images=x.shape[0],
        channels=x.shape[1], pixels=pixels, x_image=x.strides[0], x_plane=x.strides[1],
        is_signed=int(x.dtype == "int8"),
    )  # fmt: skip
    return words


def _as_words(x: Tensor, shape: tuple[Dim, ...], strides: tuple[Dim, ...] | list[Dim]) -> Tensor:
    return Tensor(x.buffer, x.offset, "int32", shape, tuple(strides), x.name)


def _emit_rows(
    emit: Emission, x: Tensor, words: Tensor, images: Dim, rows: Dim, groups: int, channels: Dim,
    x_image: Dim, x_row: Dim,
) -> None:  # fmt: skip
    emit.step(
        quad_rows, outputs=[words], op_type="Quads", x=x, y=words, images=images, rows=rows,
        groups=groups, channels=channels, x_image=x_image, x_row=x_row,
        is_signed=int(x.dtype == "int8"),
    )  # fmt: skip


# --- zero points ------------------------------------------------------------------------------


def zero_terms(
    emit: Emission, node: Node, x: Info, zero: int, sums: np.ndarray, bias: int | None = None
) -> tuple[Tensor | None, Tensor | None]:
    """Return the bias of sums whose rows keep their zero point, and a word of four such points.

    Parameters
    ----------
    emit : Emission
    node : Node
    x : Info
        Rows.
    zero : int
        Which input is their zero point.
    sums : ndarray
        Sum of the weights of each result.
    bias : int, optional
        Which input is added besides.

    Returns
    -------
    (Tensor or None, Tensor or None)
        None for a bias, and for words, of zeros.
    """
    shift = SIGNED if x.dtype == "int8" else 0
    point, own = node.input(zero), None if bias is None else node.input(bias)
    if all(info is None or info.is_constant for info in (point, own)):
        number = shift + (0 if point is None else int(point.array().reshape(-1)[0]))
        total = -number * sums if own is None else own.array().reshape(-1) - number * sums
        pad = emit.constant(np.full(4, number, np.uint8).view("<i4")) if number else None
        return emit.constant(total.astype(np.int32)) if total.any() else None, pad
    return emit_zero_terms(
        emit, node.name, sums, shift != 0,
        None if point is None else emit.tensor(node.values[zero]),
        None if own is None or bias is None else emit.ordered(emit.tensor(node.values[bias])),
    )  # fmt: skip


def emit_zero_terms(
    emit: Emission, name: str, sums: np.ndarray, is_signed: bool, zero: Tensor | None,
    bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Emit what `zero_terms` returns for a zero point, or a bias, that is computed."""
    y = emit.new(sums.shape, "int32", name=f"{name}.bias")
    pad = emit.new((1,), "int32", name=f"{name}.pad")
    emit.step(
        zero_bias, outputs=[y, pad], op_type="ZeroPoint", y=y, pad=pad, count=sums.size, zero=zero,
        bias=bias, sums=emit.constant(sums.astype(np.int32)), is_signed=int(is_signed),
    )  # fmt: skip
    return y, pad
