"""Depthwise convolution from bytes to bytes, channels last, by words of four taps.

A word has four neighbours of a row of one channel. It serves all windows that begin within it and
end with it or with the words beside it: each has weights of its own, with zeros where its taps are
not. Words of the rows under a window are made once and kept in a ring of rows; of volumes for each
slice under a window in a ring of its own, anew for each slice of the result. What rows of padding
add to the sums of an image is the same for all of a row, and added once.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import types

from .. import simd
from ..arithmetic import ARITHMETIC
from ..byte_packing import Limits, emit_packed
from ..byte_vectors import emit_bytes, emit_scaled, emit_store, four_rows, four_rows_first
from ..emitter import BYTE, Emitter
from ..fields import Depth, Scaled, Sizes, Strides, Window
from ..registry import Pointer, kernel_factory
from ..simd import (
    load_f32,
    load_i32,
    splat,
    splat_i32,
    stack_words,
    store_i64,
    vload_first,
    vload_i32_first,
    vstore_i32,
)
from ..target import LANES
from ..vectors import I32, I64, f32x, i32x, intrinsic
from .quads import limits

MAX_ROWS, MAX_WORDS = 32, 128
"""Rows of a window at most, those of all its slices, and words of the weights of a channel."""
_LINE = LANES * 4
_PACKED = 3  # vectors of sums that become bytes faster together than one by one


# --- words of rows ----------------------------------------------------------------------------


@njit
def _pixel_at(x: Pointer, column: int, width: int, pixel: int, border: Pointer) -> Any:
    return x + column * pixel if 0 <= column < width else border


@njit
def _make_words(
    x: Pointer, target: Pointer, border: Pointer, sizes: Sizes, window: Window, pixel: int,
    channels: int, words: int, share: int, flip: Any,
) -> None:  # fmt: skip
    """Make the words of a row of pixels at ``x``, those outside it from the border."""
    apart, width, first = window.dilation_w, sizes.width, -window.pad_left
    left, word = first, 0
    for _ in range((sizes.out_width + share - 1) // share * words):
        a = _pixel_at(x, left, width, pixel, border)
        b = _pixel_at(x, left + apart, width, pixel, border)
        c = _pixel_at(x, left + 2 * apart, width, pixel, border)
        d = _pixel_at(x, left + 3 * apart, width, pixel, border)
        at = 0
        while at + LANES <= channels:
            vstore_i32(target, at, four_rows(a + at, b + at, c + at, d + at) ^ flip)
            at += LANES
        if at < channels:
            some = four_rows_first(a + at, b + at, c + at, d + at, channels - at)
            vstore_i32(target, at, some ^ flip)
            at += LANES
        target += at * 4
        left, word = left + 4 * apart, word + 1
        if word == words:
            first += share * window.stride_w
            left, word = first, 0


@njit
def _fill_words(target: Pointer, count: int, word: Any) -> None:
    for at in range(0, count, LANES):
        vstore_i32(target, at, word)


# --- results of rows of words -----------------------------------------------------------------


class _Row(Emitter):
    """Emits the results of a row for a vector of channels, by ``share`` windows at a place.

    Parameters are those of the intrinsic.
    """

    def __init__(
        self, builder: ir.IRBuilder, rows: int, words: int, share: int, args: list[Any]
    ) -> None:
        super().__init__(builder, ARITHMETIC["u8"])
        self.height, self.length, self.share = rows, words, share
        self.y, self.table, self.at, self.weights, *args = args
        self.step, self.width, self.pixel, self.count, self.begin, self.end, *args = args
        self.padding, self.first, self.scales, low, high, zero = args
        low, high, zero = (
            simd.emit_splat(builder, each) for each in (low, high, builder.trunc(zero, I32))
        )
        self.limits = Limits(low, high, zero)

    def vectors(self, address: Any, count: int) -> list[Any]:
        base = self.builder.inttoptr(address, BYTE)
        return [self.vector_load(self.address(base, I64(i * _LINE))) for i in range(count)]

    def row(self, index: Any) -> Any:
        """Pointer to the first words of the channels in a row."""
        builder = self.builder
        table = builder.inttoptr(self.table, I64.as_pointer())
        address = builder.load(builder.gep(table, [index]))
        return builder.inttoptr(builder.add(address, self.at), BYTE)

    def factors(self, row: Any) -> list[list[Any]]:
        """Weights of a row: of each window those of its words."""
        builder, size = self.builder, self.height * self.length * _LINE
        offset = builder.mul(row, I64(self.length * _LINE))
        starts = [builder.add(offset, I64(shift * size)) for shift in range(self.share)]
        return [self.vectors(builder.add(self.weights, at), self.length) for at in starts]

    def multiplied(self, sums: list[Any], words: list[Any], factors: list[list[Any]]) -> list[Any]:
        """Emit sums of all windows with what a row adds to them."""
        sums = list(sums)
        for shift, own in enumerate(factors):
            for word, factor in zip(words, own, strict=True):
                sums[shift] = self.fma(word, factor, sums[shift])
        return sums

    def emit(self) -> None:
        builder, height = self.builder, I64(self.height)
        is_whole = builder.and_(
            builder.icmp_signed("<=", self.begin, I64(0)),
            builder.icmp_signed(">=", self.end, height),
        )
        self.choose(is_whole, self.whole, self.inside)

    def whole(self) -> list[Any]:
        """Emit results whose rows are all there."""
        rows = [self.row(I64(row)) for row in range(self.height)]
        factors = [self.factors(I64(row)) for row in range(self.height)]

        def sums(offsets: list[Any]) -> list[Any]:
            totals = [self.first] * self.share
            words = [[self.vector_load(self.address(row, at)) for at in offsets] for row in rows]
            for own, weights in zip(words, factors, strict=True):
                totals = self.multiplied(totals, own, weights)
            return totals

        return self.places(sums)

    def inside(self) -> list[Any]:
        """Emit results of which some rows are padding: what these add is the same for all."""
        builder = self.builder

        def outside(row: Any, carried: list[Any]) -> list[Any]:
            is_there = builder.and_(
                builder.icmp_signed(">=", row, self.begin),
                builder.icmp_signed("<", row, self.end),
            )
            added = self.multiplied(carried, [self.padding] * self.length, self.factors(row))
            pairs = zip(carried, added, strict=True)
            return [builder.select(is_there, old, new) for old, new in pairs]

        firsts = self.counted_loop(
            "outside", I64(self.height), [self.first] * self.share, outside
        )  # fmt: skip
        count = builder.sub(self.end, self.begin)

        def sums(offsets: list[Any]) -> list[Any]:
            def one(index: Any, carried: list[Any]) -> list[Any]:
                number = builder.add(self.begin, index)
                row = self.row(number)
                words = [self.vector_load(self.address(row, at)) for at in offsets]
                return self.multiplied(carried, words, self.factors(number))

            return self.counted_loop("rows", count, firsts, one)

        return self.places(sums)

    def places(self, sums: Callable[[list[Any]], list[Any]]) -> list[Any]:
        """Emit all results of a row, of sums of the words at the offsets of a place."""
        builder = self.builder
        apart = [builder.mul(self.step, I64(word)) for word in range(self.length + 1)]

        def place(index: Any, carried: list[Any]) -> list[Any]:
            offset, target = carried
            offsets = [builder.add(offset, each) for each in apart]
            self.store(sums(offsets[:-1]), builder.mul(index, I64(self.share)), target)
            after = self.address(target, builder.mul(self.pixel, I64(self.share)))
            return [offsets[-1], after]

        more = builder.add(self.width, I64(self.share - 1))
        places = builder.sdiv(more, I64(self.share))
        self.counted_loop("place", places, [I64(0), builder.inttoptr(self.y, BYTE)], place)
        return []

    def store(self, totals: list[Any], column: Any, target: Any) -> None:
        """Store bytes of sums, those of windows that there are."""
        builder = self.builder
        values = [emit_scaled(builder, total, self.scales) for total in totals]
        targets = [
            self.address(target, builder.mul(self.pixel, I64(shift)))
            for shift in range(self.share)
        ]  # fmt: skip
        full = builder.icmp_signed(">=", self.count, I64(LANES))
        end = builder.add(column, I64(self.share))
        together = builder.and_(full, builder.icmp_signed("<=", end, self.width))

        def all_at_once() -> list[Any]:
            for value, at in zip(emit_packed(builder, values, self.limits), targets, strict=True):
                emit_store(builder, value, at)
            return []

        def one_by_one() -> list[Any]:
            for shift, (value, at) in enumerate(zip(values, targets, strict=True)):
                own = builder.add(column, I64(shift))
                with builder.if_then(builder.icmp_signed("<", own, self.width)):
                    packed = emit_bytes(builder, value, *self.limits)
                    with builder.if_else(full) as (whole, some):
                        with whole:
                            emit_store(builder, packed, at)
                        with some:
                            emit_store(builder, packed, at, self.count)
            return []

        if self.share >= _PACKED:
            self.choose(together, all_at_once, one_by_one)
        else:
            one_by_one()


@intrinsic(prefer_literal=True)
def _row(  # type: ignore[no-untyped-def]
    typingctx, rows, words, share, y, table, at, weights, step, width, pixel, count, begin, end,
    padding, first, scales, low, high, zero,
):  # fmt: skip
    """Write the results of a vector of channels of a row.

    ``table`` has addresses of rows of words, in which these channels are ``at`` bytes further and
    places ``step`` bytes apart, from ``begin`` to ``end``; the others have words of ``padding``.
    ``first`` are the sums' first terms.
    """
    sizes = rows.literal_value, words.literal_value, share.literal_value

    def codegen(context, builder, sig, values):  # type: ignore[no-untyped-def]
        _Row(builder, *sizes, list(values[3:])).emit()
        return context.get_dummy_value()

    numbers = [types.int64] * 10
    limits = types.float32, types.float32, types.int64
    return types.void(rows, words, share, *numbers, i32x, i32x, f32x, *limits), codegen


# --- the kernel -------------------------------------------------------------------------------


@kernel_factory
def depthwise_bytes(
    rows: int, words: int, share: int, terms: int = 1, slices: int = 1
) -> Callable[..., int]:
    """Build the convolution of each channel of images of bytes with a filter of its own.

    Weights are sums of ``terms`` of int8, each with rows of its own: those of all meet the same
    words. A window has ``slices`` of ``rows`` rows (images are volumes of one slice). A row of it
    is ``words`` words, which serve ``share`` windows (`row_words`), and ``w`` has (channels /
    LANES, share, terms * slices * rows, words, LANES) words. ``pad`` is the address of a word of
    padding (0: zeros); bytes are flipped by ``flip``, which makes signed ones unsigned. Strides are
    bytes; the bias is int32. Rows are split into parts.
    """
    filter_rows = terms * slices * rows
    taps = filter_rows * words
    is_plain = filter_rows == rows

    @njit
    def convolve_row(
        y: Pointer, table: Pointer, w: Pointer, bias: Pointer, scaled: Scaled,
        scale_step: int, channels: int, width: int, pixel: int, begin: int, end: int, padding: Any,
    ) -> None:  # fmt: skip
        zero, low, high = limits(scaled.zero, scaled.is_signed, scaled.least, scaled.most)
        blocks = (channels + LANES - 1) // LANES
        apart = blocks * _LINE
        scales = splat(load_f32(scaled.scales, 0))
        first = splat_i32(np.int32(0))
        for block in range(blocks):
            c = block * LANES
            count = min(LANES, channels - c)
            if bias != 0:
                first = vload_i32_first(bias, c, count)
            if scale_step != 0:
                scales = vload_first(scaled.scales, c, count)
            weights = w + block * share * taps * _LINE
            _row(
                filter_rows, words, share, y + c, table, c * 4, weights, apart, width, pixel, count,
                begin, end, padding, first, scales, low, high, zero,
            )  # fmt: skip

    def body(
        thread: int, part: int, until: int, parts: int,
        x: Pointer, w: Pointer, bias: Pointer, pad: Pointer, channels: int, sizes: Sizes,
        window: Window, depth: Depth, strides: Strides, flip: int, scale_step: int, scaled: Scaled,
        workspace: Pointer, workspace_bytes: int,
    ) -> int:  # fmt: skip
        height = sizes.out_height
        result_rows = sizes.images * depth.out_slices * height
        border = workspace + thread * workspace_bytes
        size = (channels + LANES - 1) // LANES * LANES
        line = (sizes.out_width + share - 1) // share * words * size
        ring = (rows - 1) * window.dilation_h + 1
        padding = splat_i32(load_i32(pad, 0) if pad != 0 else np.int32(0))
        flipped = splat_i32(np.int32(flip))
        _fill_words(border, size, padding ^ flipped)
        lines, table = border + size * 4, stack_words(MAX_ROWS)
        following, plane = 0, -1
        for row in range(result_rows * part // parts, result_rows * until // parts):
            h = row % height
            top = h * window.stride_h - window.pad_top
            if row // height != plane:
                plane, following = row // height, top
            image, out_slice = plane // depth.out_slices, plane % depth.out_slices
            front = out_slice * depth.stride_d - depth.pad_front
            for s in range(slices):
                d, own = front + s * depth.dilation_d, lines + s * ring * line * 4
                source = x + image * strides.x_image + d * depth.x_slice
                for r in range(max(following, top), top + ring):
                    target = own + r % ring * line * 4
                    if 0 <= d < depth.slices and 0 <= r < sizes.height:
                        _make_words(
                            source + r * strides.x_row, target, border, sizes, window,
                            strides.x_pixel, channels, words, share, flipped,
                        )  # fmt: skip
                    elif not is_plain:
                        _fill_words(target, line, padding)
                for k in range(rows):
                    at = own + (top + k * window.dilation_h) % ring * line * 4
                    for term in range(terms):
                        store_i64(table, (term * slices + s) * rows + k, at)
            following = top + ring
            begin, end = 0, filter_rows
            if is_plain:
                apart = window.dilation_h
                begin = max(0, (apart - 1 - top) // apart)
                end = max(begin, min(rows, (sizes.height - top + apart - 1) // apart))
                if not 0 <= front < depth.slices:
                    begin, end = 0, 0
            y = scaled.target + image * strides.y_image + out_slice * depth.y_slice
            convolve_row(
                y + h * strides.y_row, table, w, bias, scaled, scale_step, channels,
                sizes.out_width, strides.y_pixel, begin, end, padding,
            )  # fmt: skip
        return 0

    return body


def row_words(kernel_w: int, stride_w: int, dilation_w: int) -> tuple[int, int]:
    """Return words of a row of taps, and how many windows share their place."""
    words = -(-kernel_w // 4)
    share = (4 * words - kernel_w) // stride_w + 1 if dilation_w == 1 else 1
    return words, share


def workspace_bytes(out_width: Any, channels: Any, reach: int, words: int, share: int) -> Any:
    """Bytes of workspace for each thread; ``reach`` are rows under a window, of all its slices."""
    size = (channels + LANES - 1) // LANES * LANES * 4
    return size + (out_width + share - 1) // share * words * size * reach
