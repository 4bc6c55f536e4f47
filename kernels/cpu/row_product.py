"""Product of one row and several panels of weights: a matrix-vector product in registers.

With one row each weight is used once, so a panel's few chains of multiply-adds would wait for their
latency (four cycles). Panels side by side make as many chains as it takes. Weights of float16 are
widened in registers: a second-level cache hands out half as many lines for them.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types

from ..arithmetic import ARITHMETIC, KINDS
from ..emitter import BYTE, Emitter
from ..target import LANES
from ..vectors import F16, I64, intrinsic


class _RowProduct(Emitter):
    """Emits ``c[p, j] = sum over k of a[k] * b[p, k, j]``, vectors j of panels p."""

    def __init__(self, builder: ir.IRBuilder, panels: int, nv: int, kind: str, halves: int) -> None:
        super().__init__(builder, ARITHMETIC[kind])
        self.panels, self.nv, self.halves = panels, nv, halves
        self.vector_bytes = LANES * (2 if halves else 4)

    def emit(self, a: Any, b: Any, c: Any, length: Any) -> None:
        builder, width = self.builder, self.nv * self.vector_bytes
        row, first, target = (builder.inttoptr(pointer, BYTE) for pointer in (a, b, c))
        apart = builder.mul(length, I64(width))
        panels = [self.address(first, builder.mul(apart, I64(p))) for p in range(self.panels)]

        def multiply(_: Any, carried: list[Any]) -> list[Any]:
            number, *rest = carried
            pointers, sums = rest[: self.panels], list(rest[self.panels :])
            weights = [
                self._weights(self.address(pointer, I64(j * self.vector_bytes)))
                for pointer in pointers
                for j in range(self.nv)
            ]
            sums = self.add_products(number, weights, sums, embedded=False)
            moved = [self.address(pointer, I64(width)) for pointer in pointers]
            return [self.address(number, I64(self.kind.itemsize)), *moved, *sums]

        zeros = [ir.Constant(self.kind.vector, None)] * (self.panels * self.nv)
        results = self.counted_loop("k", length, [row, *panels, *zeros], multiply)
        for i, value in enumerate(results[1 + self.panels :]):
            self.vector_store(value, self.address(target, I64(i * LANES * 4)))

    def _weights(self, pointer: Any) -> Any:
        """Load a vector of weights."""
        if not self.halves:
            return self.vector_load(pointer)
        kind = ir.VectorType(F16, LANES)
        halves = self.builder.load(self.builder.bitcast(pointer, kind.as_pointer()), align=2)
        return self.builder.fpext(halves, self.kind.vector)


@intrinsic(prefer_literal=True)
def row_product(  # type: ignore[no-untyped-def]
    typingctx, panels, nv, kind, halves, a, b, c, length
):
    """Multiply ``length`` numbers at ``a`` by ``panels`` panels of ``nv`` vectors, packed at ``b``.

    The sums are stored at ``c``, those of a panel after those of the one before. The kind of
    numbers is given by its place in ``arithmetic.KINDS``; with ``halves`` (0 or 1), weights of
    float32 are stored as float16.
    """
    form = panels.literal_value, nv.literal_value, KINDS[kind.literal_value], halves.literal_value

    def codegen(context, builder, sig, values):  # type: ignore[no-untyped-def]
        _RowProduct(builder, *form).emit(*values[4:])
        return context.get_dummy_value()

    return types.void(panels, nv, kind, halves, *[types.int64] * 4), codegen
