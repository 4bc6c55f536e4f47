"""Depthwise convolution from bytes to bytes, channels last, by multiply-adds of float32.

For processors that do not multiply words of four bytes. Bytes are widened as they are loaded, each
once for all the columns that need it, and lose their zero point; float32 holds the sums of their
products exactly. Sums become bytes where they are, in registers. Products of pairs of int16 would
take as many instructions: half as many products, as many sums, and what makes pairs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import cgutils, types

from .. import simd
from ..byte_packing import Limits, emit_packed
from ..byte_vectors import emit_bytes, emit_scaled, emit_store
from ..fields import Scaled
from ..registry import Pointer, kernel_factory
from ..simd import load_f32, splat_i32, vload, vload_first, vload_i32, vload_i32_first
from ..target import LANES
from ..vectors import I8, I64, f32x, i32x, intrinsic
from .quads import limits
from .window import window_kernel

_FIELDS = " w: int, bias: int, x_zero: int, scale_step: int, scaled: Scaled"

_SETUP = """point = splat(zero_of_images(x_zero))
zero, least, most = limits(scaled.zero, scaled.is_signed, scaled.least, scaled.most)
low, high, added = splat(least), splat(most), splat_i32(int32(zero))
first, scales = {nothing}, splat(load_f32(scaled.scales, 0))"""

_ROW = "above = min(kh_first, kh_last)"

_CHANNEL = """if bias != 0:
    first = load_bias(bias, c) if count >= lanes else load_bias_first(bias, c, count)
if scale_step != 0:
    scales = vload(scaled.scales, c) if count >= lanes else vload_first(scaled.scales, c, count)"""

_ZEROS = """upper, lower = bias + (1 + above) * channels * 4, bias + (1 + kh_last) * channels * 4
if count >= lanes:
    first = first + (vload(upper, c) - vload(lower, c))
else:
    first = first + (vload_first(upper, c, count) - vload_first(lower, c, count))"""

STARTS = ("i32", "f32", "rows")
"""What a bias is, and what sums begin with.

``i32``: int32 that are added to sums in the end. ``f32``: float32 that sums begin with, which are
exact with them. ``rows``: the same, and behind them rows of float32, of which the one at k is what
the rows of a filter before its k-th give with the zero point alone; of bytes that keep theirs sums
begin with less than that.
"""


def _emit_scaled(builder: ir.IRBuilder, sums: Any, first: Any, scales: Any) -> Any:
    """Emit whole sums in their scales; ``first`` is added if they do not begin with it."""
    if first.type == f32x.llvm:
        return builder.fmul(sums, scales)
    return emit_scaled(builder, builder.add(builder.fptosi(sums, i32x.llvm), first), scales)


@intrinsic
def _requantized(typingctx, sums, first, scales, low, high, zero):  # type: ignore[no-untyped-def]
    """Bytes of whole sums, in the lowest ones of words."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        packed = emit_bytes(builder, _emit_scaled(builder, *args[:3]), *args[3:])
        return builder.zext(packed, i32x.llvm)

    return i32x(f32x, first, f32x, f32x, f32x, i32x), codegen


def _emit_put(builder: ir.IRBuilder, address: Any, index: Any, value: Any, *count: Any) -> None:
    packed = builder.trunc(value, ir.VectorType(I8, LANES))
    emit_store(builder, packed, simd.element_at(builder, address, index, I8), *count)


@intrinsic
def _put(typingctx, address, index, value):  # type: ignore[no-untyped-def]
    """Store the lowest bytes of words."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        _emit_put(builder, *args)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, i32x), codegen


@intrinsic
def _put_first(typingctx, address, index, value, count):  # type: ignore[no-untyped-def]
    """Store those of the first ``count`` words."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        _emit_put(builder, *args)
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, i32x, types.int64), codegen


@intrinsic
def _put_together(  # type: ignore[no-untyped-def]
    typingctx, address, apart, sums, first, scales, low, high, zero,
):  # fmt: skip
    """Store the bytes of vectors of sums, ``apart`` bytes from each other."""

    def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
        address, apart, sums, first, scales, *ends = args
        values = [
            _emit_scaled(builder, each, first, scales)
            for each in cgutils.unpack_tuple(builder, sums)
        ]
        for packed in emit_packed(builder, values, Limits(*ends)):
            emit_store(builder, packed, simd.element_at(builder, address, I64(0), I8))
            address = builder.add(address, apart)
        return context.get_dummy_value()

    numbers = f32x, f32x, f32x, i32x
    return types.void(types.int64, types.int64, sums, first, *numbers), codegen


@kernel_factory
def depthwise_widened(
    taps: int, stride: int, columns: int, kind: str, start: str
) -> Callable[..., int]:
    """Build the convolution of each channel of images of bytes with a filter of its own.

    ``w`` is (kd, kh, kw, channels) float32, whole numbers, and ``x_zero`` the zero point of the
    images, whose type is ``kind``; the bias is what ``start``, one of `STARTS`, says, and rows only
    where ``taps`` is known and images have one slice. ``y`` has the bytes of ``scaled``, whose
    scales are ``scale_step`` apart. ``taps``, ``stride`` and ``columns`` as in
    ``window.window_kernel``. Rows of all slices are split into parts.
    """
    load = getattr(simd, f"load_{kind}")
    is_after, has_rows = start == "i32", start == "rows"
    nothing = "splat_i32(int32(0))" if is_after else "splat(float32(0.0))"

    @njit
    def zero_of_images(address: Pointer) -> Any:
        return np.float32(load(address, 0)) if address != 0 else np.float32(0.0)

    return window_kernel(
        __name__,
        "depthwise_widened",
        taps,
        stride,
        columns,
        fields=_FIELDS,
        neutral="zero_of_images(x_zero)",
        start="s{j} = splat(float32(0.0))" if is_after else "s{j} = first",
        step="s{j} = fma(v, {f}, s{j})",
        finish="requantized(s{j}, first, scales, low, high, added)",
        filters=True,
        kind=kind,
        taken="" if has_rows else "v = v - point",
        together="put_together({at}, y_pixel, {sums}, first, scales, low, high, added)",
        setup=_SETUP.format(nothing=nothing),
        row=_ROW,
        channel=f"{_CHANNEL}\n{_ZEROS}" if has_rows else _CHANNEL,
        Scaled=Scaled,
        int32=np.int32,
        limits=limits,
        load_f32=load_f32,
        load_bias=vload_i32 if is_after else vload,
        load_bias_first=vload_i32_first if is_after else vload_first,
        put=_put,
        put_first=_put_first,
        put_together=_put_together,
        requantized=_requantized,
        splat_i32=splat_i32,
        zero_of_images=zero_of_images,
        lanes=LANES,
    )
