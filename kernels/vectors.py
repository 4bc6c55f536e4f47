"""Vector types of kernels for numba, and their operators.

``f32x`` values hold ``LANES`` floats, ``i32x`` as many int32, ``mask`` as many bits; they support
``+ - * /``, comparison (giving a mask) and unary minus.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba.core import types
from numba.core.datamodel import PrimitiveModel, register_default
from numba.core.imputils import lower_builtin
from numba.core.typing.templates import AbstractTemplate, infer_global, signature
from numba.extending import intrinsic as _numba_intrinsic

from .target import LANES

# numba annotates its result as if callers passed the typing context.
intrinsic: Callable[..., Any] = _numba_intrinsic

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))
F16, F32, F64 = ir.HalfType(), ir.FloatType(), ir.DoubleType()


class BFloats(ir.Type):
    """LLVM's vector of bfloat16, which llvmlite lacks."""

    def __init__(self, count: int) -> None:
        self.count = count

    def __str__(self) -> str:
        return f"<{self.count} x bfloat>"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloats) and other.count == self.count

    def __hash__(self) -> int:
        return hash((BFloats, self.count))


class VectorType(types.Type):
    """numba type of a SIMD vector."""

    def __init__(self, name: str, element: ir.Type) -> None:
        self.llvm = ir.VectorType(element, LANES)
        super().__init__(name=name)


class _F32x(VectorType):
    pass


class _I32x(VectorType):
    pass


class _Mask(VectorType):
    pass


f32x = _F32x("f32x", F32)
i32x = _I32x("i32x", I32)
mask = _Mask("mask", I1)


def _register_model(cls: type, vector: VectorType) -> None:
    class Model(PrimitiveModel):
        def __init__(self, manager: Any, fe_type: Any) -> None:
            super().__init__(manager, fe_type, vector.llvm)

    register_default(cls)(Model)


for _cls, _vector in ((_F32x, f32x), (_I32x, i32x), (_Mask, mask)):
    _register_model(_cls, _vector)


_ARITHMETIC: dict[Any, tuple[str, str]] = {
    operator.add: ("fadd", "add"),
    operator.sub: ("fsub", "sub"),
    operator.mul: ("fmul", "mul"),
    operator.truediv: ("fdiv", ""),
    operator.and_: ("", "and_"),
    operator.or_: ("", "or_"),
    operator.xor: ("", "xor"),
    operator.lshift: ("", "shl"),
    operator.rshift: ("", "ashr"),
}
_COMPARISON = {
    operator.lt: "<",
    operator.le: "<=",
    operator.gt: ">",
    operator.ge: ">=",
    operator.eq: "==",
    operator.ne: "!=",
}


def _register_typing(op: Any, cases: list[tuple[Any, Any, Any]]) -> None:
    class Operator(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            for result, left, right in cases:
                if args == (left, right):
                    return signature(result, left, right)
            return None

    infer_global(op)(Operator)


def _register_operators() -> None:
    for op, (floating, integer) in _ARITHMETIC.items():
        cases = []
        for vector, method in ((f32x, floating), (i32x, integer), (mask, integer)):
            if not method or (vector is mask and method not in ("and_", "or_", "xor")):
                continue

            def build(context, builder, sig, args, method=method):  # type: ignore[no-untyped-def]
                return getattr(builder, method)(*args)

            lower_builtin(op, vector, vector)(build)
            cases.append((vector, vector, vector))
        _register_typing(op, cases)
    for op, sign in _COMPARISON.items():

        def compare(context, builder, sig, args, sign=sign):  # type: ignore[no-untyped-def]
            if sig.args[0] is i32x:
                return builder.icmp_signed(sign, *args)
            # != is true for NaN, every other comparison false, as IEEE 754 says.
            return (builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered)(sign, *args)

        lower_builtin(op, f32x, f32x)(compare)
        lower_builtin(op, i32x, i32x)(compare)
        _register_typing(op, [(mask, f32x, f32x), (mask, i32x, i32x)])

    class Negative(AbstractTemplate):
        def generic(self, args: Any, kws: Any) -> Any:
            return signature(f32x, f32x) if args == (f32x,) else None

    infer_global(operator.neg)(Negative)
    lower_builtin(operator.neg, f32x)(lambda context, builder, sig, args: builder.fneg(args[0]))


_register_operators()
