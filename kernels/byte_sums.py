"""Sums of bytes in scales of their own, in registers: a residual that is added to a result.

What a quantized network adds are numbers of two grids, and their sum is one of a third. In float32
that is ``(q - z) s + (p - y) t``, divided by the third scale: all of it rounded as by a
DequantizeLinear of each, an Add and a QuantizeLinear. An activation between them limits the bytes.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir

from . import simd
from .arithmetic import ARITHMETIC
from .byte_packing import emit_rounded
from .vectors import F32, I32, f32x, i32x

_FLIP = 0x80
"""Makes unsigned bytes of signed ones, which then have a zero point that is as much larger."""


class Addition(NamedTuple):
    """What a sum of two grids is made with; vectors of float32, those of `_WHOLE` of int32.

    Attributes
    ----------
    low, high
        Limits of own numbers less their zero point.
    scale
        Of own numbers.
    flip, other_zero, other_scale
        Of the other bytes, which are taken for unsigned ones.
    divisor, inverse
        Scale of the sum, and its reciprocal.
    """

    low: Any
    high: Any
    scale: Any
    flip: Any
    other_zero: Any
    other_scale: Any
    divisor: Any
    inverse: Any


_WHOLE = ("low", "flip", "other_zero")


def addition_words(
    own: tuple[np.ndarray, np.ndarray], other: tuple[np.ndarray, np.ndarray], scale: np.ndarray
) -> np.ndarray:
    """Return the words of an `Addition`, int32, for scales and zero points of both operands.

    ``scale`` is that of the sum.
    """
    limits, zero = np.iinfo(own[1].dtype), int(own[1])
    flip = _FLIP if other[1].dtype == np.int8 else 0
    numbers = Addition(
        low=limits.min - zero, high=limits.max - zero, scale=own[0], flip=flip,
        other_zero=int(other[1]) + flip, other_scale=other[0], divisor=scale,
        inverse=np.float32(1.0) / np.float32(scale),
    )  # fmt: skip
    types = [np.int32 if name in _WHOLE else np.float32 for name in Addition._fields]
    pairs = zip(types, numbers, strict=True)
    return np.array([np.array(number, kind).view(np.int32) for kind, number in pairs], np.int32)


def load_addition(builder: ir.IRBuilder, words: Any) -> Addition:
    """Emit the loads of its words, at a pointer to bytes."""
    found = []
    for i, name in enumerate(Addition._fields):
        element = I32 if name in _WHOLE else F32
        base = builder.bitcast(words, element.as_pointer())
        found.append(simd.emit_splat(builder, builder.load(builder.gep(base, [I32(i)]), align=4)))
    return Addition(*found)


def emit_added(builder: ir.IRBuilder, value: Any, other: Any, own: Addition) -> Any:
    """Emit the sum, in units of its scale, of scaled whole sums and a vector of other bytes.

    Units that convert and compare floats are busy, so integers do what they can.
    """
    whole = emit_rounded(builder, value, own.low, own.high)
    number = builder.fmul(builder.sitofp(whole, f32x.llvm), own.scale)
    unsigned = builder.xor(builder.zext(other, i32x.llvm), own.flip)
    second = builder.sitofp(builder.sub(unsigned, own.other_zero), f32x.llvm)
    total = builder.fadd(number, builder.fmul(second, own.other_scale))
    # The correctly rounded quotient, as in ``quotients``.
    fma = ARITHMETIC["f32"].add_product
    near = builder.fmul(total, own.inverse)
    rest = fma(builder, builder.fneg(near), own.divisor, total)
    return fma(builder, rest, own.inverse, near)
