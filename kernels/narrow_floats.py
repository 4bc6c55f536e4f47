"""Floats of 8 and 4 bits by arithmetic: of one number or a vector, without memory.

A float32 is rounded half to even as it lies: half of what the shorter fraction leaves is added to
its bits, which carries into the exponent. Numbers below the least normal one are rounded by adding
a float32 whose last place is the least number of the type. What follows no rule, NaN and what is
too large, is read off the conversions of ml_dtypes (`narrow.bytes_of`).
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
from llvmlite import ir

from .narrow_tables import FLOATS, bytes_of, numbers_of
from .vectors import F32, I32

NAMES = ("e4m3fn", "e4m3fnuz", "e5m2", "e5m2fnuz", "e2m1")
"""Types that have signs and fractions: all but powers of two."""
_FRACTION, _BIAS, _INFINITY = 23, 127, 0x7F800000


@dataclass(frozen=True)
class _Format:
    """A type of floats of few bits.

    Attributes
    ----------
    bits, fraction : int
        Bits of a number, and of its fraction.
    least : int
        Exponent of the least normal number.
    largest : int
        Code of the largest finite number.
    has_negative_zero : bool
    """

    bits: int
    fraction: int
    least: int
    largest: int
    has_negative_zero: bool

    @property
    def shift(self) -> int:
        """Bits of a float32's fraction that are lost."""
        return _FRACTION - self.fraction

    @property
    def sign(self) -> int:
        """Bit of the sign."""
        return 1 << (self.bits - 1)

    @property
    def offset(self) -> int:
        """What codes of normal numbers are less than the upper bits of a float32."""
        return (self.least - 1 + _BIAS) << self.fraction

    @property
    def largest_bits(self) -> int:
        """Bits of the largest number, as float32."""
        return (self.largest + self.offset) << self.shift

    @property
    def unit(self) -> float:
        """The least number above zero."""
        return float(2.0 ** (self.least - self.fraction))

    @property
    def magic(self) -> float:
        """Float32 whose last place is ``unit``."""
        return self.unit * 2.0**_FRACTION


@functools.cache
def _format(name: str) -> _Format:
    import ml_dtypes

    kind = getattr(ml_dtypes, FLOATS[name])
    info = ml_dtypes.finfo(kind)
    largest = int(np.asarray(info.max).view(np.uint8))
    least = int(np.log2(float(info.smallest_normal)))
    return _Format(info.bits, info.nmant, least, largest, not name.endswith("fnuz"))


@functools.cache
def _special(name: str, mode: str) -> dict[str, tuple[int, int]]:
    """Codes of what is too large and of NaN, each without and with a sign."""
    table = bytes_of(name, mode)
    halves = {"large": _INFINITY >> 16, "nan": 0x7FC0}
    return {what: (int(table[half]), int(table[half | 0x8000])) for what, half in halves.items()}


def _of(kind: ir.Type, number: float) -> ir.Constant:
    """A number in each lane of a type."""
    is_vector = isinstance(kind, ir.VectorType)
    return ir.Constant(kind, [number] * kind.count if is_vector else number)


def _whole_type(kind: ir.Type) -> ir.Type:
    return ir.VectorType(I32, kind.count) if isinstance(kind, ir.VectorType) else I32


def _float_type(kind: ir.Type) -> ir.Type:
    return ir.VectorType(F32, kind.count) if isinstance(kind, ir.VectorType) else F32


class _Number:
    """A float32, or a vector of them: its bits, and whether it is negative, small, or NaN."""

    def __init__(self, builder: ir.IRBuilder, value: Any, form: _Format) -> None:
        self.whole, self.floats, self.form = _whole_type(value.type), value.type, form
        bits = builder.bitcast(value, self.whole)
        self.is_negative = builder.icmp_signed("<", bits, _of(self.whole, 0))
        self.size = builder.and_(bits, _of(self.whole, 0x7FFFFFFF))
        self.is_nan = builder.icmp_signed(">", self.size, _of(self.whole, _INFINITY))
        limit = (form.least + _BIAS) << _FRACTION
        self.is_small = builder.icmp_signed("<", self.size, _of(self.whole, limit))
        raised = builder.bitcast(self.size, self.floats)
        self.raised = builder.fadd(raised, _of(self.floats, form.magic))

    def shortened(self, builder: ir.IRBuilder) -> Any:
        """Emit the upper bits of the size of a normal number, rounded."""
        shift = _of(self.whole, self.form.shift)
        odd = builder.and_(builder.lshr(self.size, shift), _of(self.whole, 1))
        half = _of(self.whole, (1 << (self.form.shift - 1)) - 1)
        return builder.lshr(builder.add(builder.add(self.size, half), odd), shift)


def emit_code(builder: ir.IRBuilder, value: Any, name: str, mode: str) -> Any:
    """Emit the codes of float32, as int32."""
    form, special = _format(name), _special(name, mode)
    number = _Number(builder, value, form)
    whole = number.whole
    normal = builder.sub(number.shortened(builder), _of(whole, form.offset))
    magic = int(np.float32(form.magic).view(np.int32))
    small = builder.sub(builder.bitcast(number.raised, whole), _of(whole, magic))
    code = builder.select(number.is_small, small, normal)
    is_large = builder.icmp_signed(">", code, _of(whole, form.largest))
    signed = builder.or_(code, _of(whole, form.sign))
    if not form.has_negative_zero:
        is_zero = builder.icmp_signed("==", code, _of(whole, 0))
        signed = builder.select(is_zero, code, signed)
    code = builder.select(number.is_negative, signed, code)
    for condition, what in ((is_large, "large"), (number.is_nan, "nan")):
        codes = [_of(whole, each) for each in special[what]]
        code = builder.select(
            condition, builder.select(number.is_negative, codes[1], codes[0]), code
        )
    return code


def emit_number(builder: ir.IRBuilder, code: Any, name: str) -> Any:
    """Emit the float32 that codes, as int32 from 0 to 255, stand for."""
    form, whole, numbers = _format(name), code.type, numbers_of(name)
    floats = _float_type(whole)
    sign = builder.and_(code, _of(whole, form.sign))
    low = builder.and_(code, _of(whole, form.sign - 1))
    normal = builder.shl(builder.add(low, _of(whole, form.offset)), _of(whole, form.shift))
    small = builder.fmul(builder.sitofp(low, floats), _of(floats, form.unit))
    is_small = builder.icmp_signed("<", low, _of(whole, 1 << form.fraction))
    bits = builder.select(is_small, builder.bitcast(small, whole), normal)
    bits = builder.or_(bits, builder.shl(sign, _of(whole, 32 - form.bits)))
    bits_of = numbers.view(np.int32)
    for each in (i for i in range(1 << form.bits) if not np.isfinite(numbers[i])):
        is_it = builder.icmp_signed("==", code, _of(whole, each))
        bits = builder.select(is_it, _of(whole, int(bits_of[each])), bits)
    return builder.bitcast(bits, floats)


def emit_rounded(builder: ir.IRBuilder, value: Any, name: str, mode: str) -> Any:
    """Emit the numbers of a type that are nearest to float32."""
    form, special, numbers = _format(name), _special(name, mode), numbers_of(name)
    number = _Number(builder, value, form)
    whole = number.whole
    normal = builder.shl(number.shortened(builder), _of(whole, form.shift))
    small = builder.fsub(number.raised, _of(number.floats, form.magic))
    bits = builder.select(number.is_small, builder.bitcast(small, whole), normal)
    is_large = builder.icmp_signed(">", bits, _of(whole, form.largest_bits))
    signed = builder.or_(bits, _of(whole, -(1 << 31)))
    if not form.has_negative_zero:
        is_zero = builder.icmp_signed("==", bits, _of(whole, 0))
        signed = builder.select(is_zero, bits, signed)
    bits = builder.select(number.is_negative, signed, bits)
    for condition, what in ((is_large, "large"), (number.is_nan, "nan")):
        ends = [_of(whole, int(numbers[code : code + 1].view(np.int32)[0]))
                for code in special[what]]  # fmt: skip
        bits = builder.select(condition, builder.select(number.is_negative, ends[1], ends[0]), bits)
    return builder.bitcast(bits, number.floats)
