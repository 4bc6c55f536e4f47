"""Operands of integer products as words of four bytes, of rows and of constant weights.

Rows keep their zero point ``z``: ``sum (x - z) w`` is ``sum x w - z sum w``, of which the second
part is a bias. Vectors multiply unsigned rows by signed weights: rows of int8 become unsigned by
adding 128, and so does their zero point. AMX takes any signs, and rows as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from ...kernels.amx_permission import has_amx
from ...kernels.cpu.grouped_quads import HAS_GROUPED_QUADS, grouped_quads, places
from ...kernels.cpu.pairs import joined
from ...kernels.cpu.quads import SIGNED, quad_planes, quad_rows, quads, zero_bias
from ...kernels.unit_rates import words_pay
from ..emission import Emission
from ..graph import Info, Node
from ..strides import channels_last_order, contiguous_strides, same_strides
from ..symbolic import Dim, product
from ..tensors import Tensor


def weight_words(weights: np.ndarray, axis: int, dtype: str) -> tuple[np.ndarray, str] | None:
    """Return words of weights, and the kind of their products with rows of a type.

    None where products have to be those of pairs.
    """
    if not words_pay():
        return None
    rows = "s8" if dtype == "int8" and has_amx() else "u8"
    words = quads(weights, axis)
    if words is not None:
        return words, rows
    if has_amx() and weights.min() >= 0 and weights.max() <= np.iinfo(np.uint8).max:
        return joined(weights.astype(np.uint8), axis), f"{rows}u"
    return None


def _is_shifted(dtype: str, kind: str) -> bool:
    """Tell whether rows are made unsigned."""
    return dtype == "int8" and kind[0] == "u"


def row_quads(emit: Emission, a: Tensor, kind: str = "u8") -> Tensor:
    """Return words of matrices (..., rows, depth): their memory itself where it has whole ones."""
    a = emit.ordered(a)
    *rows, depth = a.shape
    shape = (*rows, (depth + 3) // 4)
    if not _is_shifted(a.dtype, kind) and depth % 4 == 0:
        return _as_words(a, shape, contiguous_strides(shape))

    def make() -> Tensor:
        words = emit.new(shape, "int32", name=a.name)
        _emit_rows(emit, a, words, 1, product(rows), 1, depth, 0, depth, kind)
        return words

    return emit.once(a, ("quads", kind[0]), make)


def pixel_quads(emit: Emission, x: Tensor, groups: int, channels: Dim, kind: str) -> Tensor:
    """Return words of the channels of each pixel of an image, by group."""
    if groups == 1 and has_few_planes(x):
        return _planar_quads(emit, x, kind)
    x = emit.channels_last(x)
    images, *spatial = x.shape[0], *x.shape[2:]
    order = channels_last_order(len(x.shape))
    rows, pixel = product(spatial), x.strides[-1]
    shape = (images, groups * ((channels + 3) // 4), *spatial)
    whole = channel_words(_with_whole_words(x)) if groups == 1 or channels % 4 == 0 else None
    if whole is not None and not _is_shifted(x.dtype, kind):
        return whole
    steps = [pixel * step for step in contiguous_strides(spatial)]
    if [x.strides[0], *x.strides[2:]] != [rows * pixel, *steps]:
        x = emit.ordered(x, order)
        pixel = x.shape[1]
    words = emit.new(shape, "int32", order, x.name)
    _emit_rows(emit, x, words, images, rows, groups, channels, rows * pixel, pixel, kind)
    return words


def channel_words(x: Tensor) -> Tensor | None:
    """Return the words of channels that images of bytes, or of bfloat16, channels last, consist of.

    None where they begin within a word.
    """
    images, channels, *spatial = x.shape
    strides, count = [stride for axis, stride in enumerate(x.strides) if axis != 1], 4 // x.itemsize
    if channels % count != 0 or not all(stride % count == 0 for stride in strides):
        return None
    shape = (images, channels // count, *spatial)
    first, *others = (stride // count for stride in strides)
    return _as_words(x, shape, (first, 1, *others))


def _with_whole_words(x: Tensor) -> Tensor:
    """Return images, channels last, with what lies behind the channels up to a whole word.

    That is where pixels have room for it; weights of zero meet it.
    """
    channels, pixel = x.shape[1], x.strides[-1]
    if not isinstance(channels, int) or not isinstance(pixel, int) or x.offset != 0:
        return x
    wide = (channels + 3) // 4 * 4
    return x.view((x.shape[0], wide, *x.shape[2:]), x.strides) if wide <= pixel else x


def has_few_planes(x: Tensor) -> bool:
    """Tell whether a word has all channels of an image, which lie one after the other."""
    channels = x.shape[1]
    is_few = isinstance(channels, int) and 1 <= channels <= 4
    return is_few and same_strides(x.shape[1:], x.strides[1:], contiguous_strides(x.shape[1:]))


def _planar_quads(emit: Emission, x: Tensor, kind: str) -> Tensor:
    order, pixels = channels_last_order(len(x.shape)), product(x.shape[2:])
    words = emit.new((x.shape[0], 1, *x.shape[2:]), "int32", order, x.name)
    emit.step(
        quad_planes, outputs=[words], op_type="Quads", x=x, y=words, images=x.shape[0],
        channels=x.shape[1], pixels=pixels, x_image=x.strides[0], x_plane=x.strides[1],
        is_signed=int(_is_shifted(x.dtype, kind)),
    )  # fmt: skip
    return words


def _as_words(x: Tensor, shape: tuple[Dim, ...], strides: tuple[Dim, ...] | list[Dim]) -> Tensor:
    return Tensor(x.buffer, x.offset, "int32", shape, tuple(strides), x.name)


def _emit_rows(
    emit: Emission, x: Tensor, words: Tensor, images: Dim, rows: Dim, groups: int, channels: Dim,
    x_image: Dim, x_row: Dim, kind: str,
) -> None:  # fmt: skip
    fields: dict[str, Any] = {
        "outputs": [words], "op_type": "Quads", "x": x, "y": words, "images": images, "rows": rows,
        "x_image": x_image, "x_row": x_row, "is_signed": int(_is_shifted(x.dtype, kind)),
    }  # fmt: skip
    if HAS_GROUPED_QUADS and groups > 1 and isinstance(channels, int) and channels > 0:
        order, starts = places(groups, channels)
        size = groups * ((channels + 3) // 4 * 4)
        emit.step(
            grouped_quads, order=emit.constant(order), starts=emit.constant(starts),
            width=groups * channels, size=size, **fields,
        )  # fmt: skip
        return
    emit.step(quad_rows, groups=groups, channels=channels, **fields)


# --- zero points ------------------------------------------------------------------------------


def zero_terms(
    emit: Emission, node: Node, x: Info, zero: int, sums: np.ndarray, kind: str,
    bias: int | None = None,
) -> tuple[Tensor | None, Tensor | None]:  # fmt: skip
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
    kind : str
        Of the products.
    bias : int, optional
        Which input is added besides.

    Returns
    -------
    (Tensor or None, Tensor or None)
        None for a bias, and for words, of zeros.
    """
    shift = SIGNED if _is_shifted(x.dtype, kind) else 0
    point, own = node.input(zero), None if bias is None else node.input(bias)
    if all(info is None or info.is_constant for info in (point, own)):
        number = shift + (0 if point is None else int(point.array().reshape(-1)[0]))
        total = -number * sums if own is None else own.array().reshape(-1) - number * sums
        pad = emit.constant(np.full(4, number & 0xFF, np.uint8).view("<i4")) if number else None
        return emit.constant(total.astype(np.int32)) if total.any() else None, pad
    return emit_zero_terms(
        emit, node.name, sums, x.dtype == "int8", shift != 0,
        None if point is None else emit.tensor(node.values[zero]),
        None if own is None or bias is None else emit.ordered(emit.tensor(node.values[bias])),
    )  # fmt: skip


def emit_zero_terms(
    emit: Emission, name: str, sums: np.ndarray, is_signed: bool, is_shifted: bool,
    zero: Tensor | None, bias: Tensor | None = None,
) -> tuple[Tensor, Tensor]:  # fmt: skip
    """Emit what `zero_terms` returns for a zero point, or a bias, that is computed."""
    y = emit.new(sums.shape, "int32", name=f"{name}.bias")
    pad = emit.new((1,), "int32", name=f"{name}.pad")
    emit.step(
        zero_bias, outputs=[y, pad], op_type="ZeroPoint", y=y, pad=pad, count=sums.size, zero=zero,
        bias=bias, sums=emit.constant(sums.astype(np.int32)), is_signed=int(is_signed),
        is_shifted=int(is_shifted),
    )  # fmt: skip
    return y, pad
