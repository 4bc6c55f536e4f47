"""Integer division, as numba's ``//``, ``%`` and ``divmod`` compute it, without branches.

numba's own code is a dozen blocks for each division: 65 lines of assembly that LLVM has to read and
to simplify, half of what an elementwise kernel is made of. The quotient is rounded down, and the
remainder has the divisor's sign; both are 0 where the divisor is 0, and where the quotient does
not fit (the least integer by -1).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import cgutils, types

Values = tuple[Any, Any]


def without_branches(divide: Callable[..., Values]) -> Callable[..., Values]:
    """Replace numba's function that emits a division, where that does not raise.

    It returns two pointers, to the quotient and to the remainder.
    """

    def emit(context: Any, builder: Any, signature: Any, values: Values, message: str) -> Values:
        if context.error_model.raise_on_fp_zero_division:
            return divide(context, builder, signature, values, message)
        kind = signature.return_type
        kind = kind.dtype if isinstance(kind, types.UniTuple) else kind
        a, b = (
            context.cast(builder, *each, kind) for each in zip(values, signature.args, strict=True)
        )
        results = (_signed if kind.signed else _unsigned)(builder, a, b)
        quotient, remainder = (cgutils.alloca_once_value(builder, each) for each in results)
        return quotient, remainder

    return emit


def _unsigned(builder: Any, a: Any, b: Any) -> Values:
    if _is_divisor(b):
        return builder.udiv(a, b), builder.urem(a, b)
    zero, one = b.type(0), b.type(1)
    undefined = builder.icmp_unsigned("==", b, zero)
    divisor = builder.select(undefined, one, b)
    quotient, remainder = builder.udiv(a, divisor), builder.urem(a, divisor)
    return builder.select(undefined, zero, quotient), remainder


def _signed(builder: Any, a: Any, b: Any) -> Values:
    if _is_divisor(b):
        return _floored(builder, a, b)
    zero, one = b.type(0), b.type(1)
    least = b.type(-1 << (b.type.width - 1))
    overflows = builder.and_(
        builder.icmp_signed("==", b, b.type(-1)), builder.icmp_signed("==", a, least)
    )
    undefined = builder.or_(builder.icmp_signed("==", b, zero), overflows)
    quotient, remainder = _floored(builder, a, builder.select(undefined, one, b))
    return builder.select(undefined, zero, quotient), remainder  # that of 1 is 0


def _floored(builder: Any, a: Any, b: Any) -> Values:
    """Quotient rounded down, and what is left, from those rounded towards zero."""
    zero = b.type(0)
    quotient, remainder = builder.sdiv(a, b), builder.srem(a, b)
    differ = builder.icmp_signed("<", builder.xor(remainder, b), zero)
    rounded_up = builder.and_(builder.icmp_signed("!=", remainder, zero), differ)
    return (
        builder.sub(quotient, builder.zext(rounded_up, b.type)),
        builder.add(remainder, builder.select(rounded_up, b, zero)),
    )


def _is_divisor(b: Any) -> bool:
    """Tell whether it is a number by which all can be divided."""
    return isinstance(b, ir.Constant) and b.constant not in (0, -1, ir.Undefined, None)
