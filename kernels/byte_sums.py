"""Sums of bytes in scales of their own, in registers: a residual that is added to a result.

What a quantized network adds are numbers of two grids, and their sum is one of a third. In float32
that is ``(q - z) s + (p - y) t``, limited by an activation and divided by the third scale: all of
it rounded as by a DequantizeLinear of each, an Add and a QuantizeLinear.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from . import simd
from .arithmetic import ARITHMETIC
from .byte_vectors import emit_whole
from .vectors import F32, I32, f32x, i32x

_FLIP = 0x80
"""Makes unsigned bytes of signed ones, which then have a zero point that is as much larger."""


class Addition(NamedTuple):
    """What a sum of two grids is made with; vectors of float32, but for ``flip``, of int32.

    Attributes
    ----------
    low, high
        Limits of own numbers less their zero point.
    scale
        Of own numbers.
    flip, other_zero, other_scale
        Of the other bytes, which are taken for unsigned ones.
    least
        The sum is at least that: 0, or the lowest number.
    divisor, inverse
        Scale of the sum, and its reciprocal.
    """

    low: Any
    high: Any
    scale: Any
    flip: Any
    other_zero: Any
    other_scale: Any
    least: Any
    divisor: Any
    inverse: Any


def addition_words(
    own: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], scale: np.ndarray,
    is_positive: bool,
) -> np.ndarray:  # fmt: skip
    """Return the words of an `Addition`, int32, for scales and zero points of both operands.

    ``scale`` is that of the sum, of which only what is positive may be wanted.
    """
    limits, zero = np.iinfo(own[1].dtype), int(own[1])
    flip = _FLIP if other[1].dtype == np.int8 else 0
    floats = Addition(
        low=limits.min - zero, high=limits.max - zero, scale=own[0], flip=0,
        other_zero=int(other[1]) + flip, other_scale=other[0],
        least=0.0 if is_positive else np.finfo(np.float32).min, divisor=scale,
        inverse=np.float32(1.0) / np.float32(scale),
    )  # fmt: skip
    words = np.array([np.float32(each) for each in floats], np.float32).view(np.int32)
    words[Addition._fields.index("flip")] = flip
    return words


def load_addition(builder: ir.IRBuilder, words: Any) -> Addition:
    """Emit the loads of its words, at a pointer to bytes."""
    found = []
    for i, name in enumerate(Addition._fields):
        element = I32 if name == "flip" else F32
        base = builder.bitcast(words, element.as_pointer())
        found.append(simd.emit_splat(builder, builder.load(builder.gep(base, [I32(i)]), align=4)))
    return Addition(*found)


def emit_added(builder: ir.IRBuilder, value: Any, other: Any, own: Addition) -> Any:
    """Emit the sum, in units of its scale, of scaled whole sums and a vector of other bytes."""
    number = builder.fmul(emit_whole(builder, value, own.low, own.high), own.scale)
    unsigned = builder.xor(builder.zext(other, i32x.llvm), own.flip)
    second = builder.fsub(builder.sitofp(unsigned, f32x.llvm), own.other_zero)
    total = builder.fadd(number, builder.fmul(second, own.other_scale))
    total = builder.select(builder.fcmp_ordered(">", total, own.least), total, own.least)
    # The correctly rounded quotient, as in ``quotients``.
    fma = ARITHMETIC["f32"].add_product
    near = builder.fmul(total, own.inverse)
    rest = fma(builder, builder.fneg(near), own.divisor, total)
    return fma(builder, rest, own.inverse, near)
