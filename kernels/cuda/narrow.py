"""Numbers of 8 bits and fewer, a byte each in memory, as code for a GPU.

Floats are float32 when they are computed with. Those of `narrow_floats` are converted by the
arithmetic that the CPU's kernels have, powers of two by their exponents.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir

from .. import narrow_floats
from ..narrow_tables import INTEGERS

_I8, _I32, _F32 = ir.IntType(8), ir.IntType(32), ir.FloatType()
_LEAST_BITS, _NAN_BITS, _NAN_CODE = 0x400000, 0x7FC00000, 255
_MOST_POWER = 254
_ABOVE = {"up": 1, "nearest": 0x400000, "down": 1 << 23}
"""Fractions from which on the next power is taken."""


def emit_float(builder: Any, byte: Any, name: str) -> Any:
    """Emit the float32 that a byte stands for."""
    code = builder.zext(byte, _I32)
    if name in narrow_floats.NAMES:
        return narrow_floats.emit_number(builder, code, name)
    bits = builder.shl(code, _I32(23))
    bits = builder.select(builder.icmp_unsigned("==", code, _I32(0)), _I32(_LEAST_BITS), bits)
    is_nan = builder.icmp_unsigned("==", code, _I32(_NAN_CODE))
    return builder.bitcast(builder.select(is_nan, _I32(_NAN_BITS), bits), _F32)


def emit_byte(builder: Any, value: Any, name: str, mode: str) -> Any:
    """Emit the byte of a float32."""
    if name in narrow_floats.NAMES:
        return builder.trunc(narrow_floats.emit_code(builder, value, name, mode), _I8)
    return builder.trunc(_power_code(builder, value, mode), _I8)


def _power_code(builder: Any, value: Any, mode: str) -> Any:
    """Emit the exponent of the power of two that stands for the size of a number."""
    limit, _, way = mode.partition("_")
    bits = builder.bitcast(value, _I32)
    exponent = builder.and_(builder.lshr(bits, _I32(23)), _I32(255))
    fraction = builder.and_(bits, _I32(0x7FFFFF))
    is_denormal = builder.icmp_unsigned("==", exponent, _I32(0))
    is_small = builder.and_(is_denormal, builder.icmp_unsigned("<", fraction, _I32(_LEAST_BITS)))
    doubled = builder.and_(builder.shl(fraction, _I32(1)), _I32(0x7FFFFF))
    fraction = builder.select(is_denormal, doubled, fraction)
    is_above = builder.icmp_unsigned(">=", fraction, _I32(_ABOVE[way]))
    code = builder.add(exponent, builder.zext(is_above, _I32))
    is_large = builder.icmp_unsigned(">", code, _I32(_MOST_POWER))
    code = builder.select(is_large, _I32(_MOST_POWER if limit == "saturate" else _NAN_CODE), code)
    code = builder.select(is_small, _I32(0 if limit == "saturate" else _NAN_CODE), code)
    is_number = builder.fcmp_ordered("==", value, value)
    return builder.select(is_number, code, _I32(_NAN_CODE))


def emit_rounded(builder: Any, value: Any, name: str, mode: str) -> Any:
    """Emit the number of a type that is nearest to a float32."""
    if name in narrow_floats.NAMES:
        return narrow_floats.emit_rounded(builder, value, name, mode)
    return emit_float(builder, emit_byte(builder, value, name, mode), name)


def emit_low_bits(builder: Any, byte: Any, name: str) -> Any:
    """Emit the number that the low bits of a byte are."""
    unused = _I8(8 - INTEGERS[name])
    shift = builder.ashr if name[0] == "i" else builder.lshr
    return shift(builder.shl(byte, unused), unused)


def emit_masked(builder: Any, byte: Any, name: str) -> Any:
    """Emit a byte of which only the bits of a number are set."""
    return builder.and_(byte, _I8((1 << INTEGERS[name]) - 1))
