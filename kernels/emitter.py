"""Emitter of vector code as LLVM IR: loops, choices, and the activations of convolutions."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir

from . import simd
from .arithmetic import ARITHMETIC, Arithmetic
from .target import LANES
from .vectors import F32, I8, I64

NONE, CLIP, LEAKY_RELU, HARD_SWISH = range(4)
VECTOR = ir.VectorType(F32, LANES)
BYTE = I8.as_pointer()


def constant(value: float) -> Any:
    """Vector with one number in all lanes."""
    return ir.Constant(VECTOR, [float(value)] * LANES)


def unpacked(builder: ir.IRBuilder, group: Any, value: Any) -> Any:
    """Take a named tuple of numba's apart: the same of its values."""
    return group(*[builder.extract_value(value, i) for i in range(len(group._fields))])


class Emitter:
    """Emits code at the end of a builder's block; addresses are byte pointers."""

    def __init__(self, builder: ir.IRBuilder, kind: Arithmetic = ARITHMETIC["f32"]) -> None:
        self.builder = builder
        self.kind = kind

    def words(self, value: Any) -> Any:
        """Elements to bytes."""
        return self.builder.mul(value, I64(self.kind.itemsize))

    def address(self, base: Any, offset: Any) -> Any:
        """Pointer ``offset`` bytes on."""
        return self.builder.gep(base, [offset])

    def vector_load(self, pointer: Any, count: Any | None = None) -> Any:
        """Load a vector, or its first ``count`` lanes with zeros after them."""
        vector = self.kind.vector
        typed = self.builder.bitcast(pointer, vector.as_pointer())
        if count is None:
            return self.builder.load(typed, align=4)
        return simd.load_first_lanes(self.builder, vector, typed, count)

    def vector_store(self, value: Any, pointer: Any, count: Any | None = None) -> None:
        """Store a vector, or its first ``count`` lanes."""
        typed = self.builder.bitcast(pointer, self.kind.vector.as_pointer())
        if count is None:
            self.builder.store(value, typed, align=4)
        else:
            simd.store_first_lanes(self.builder, value, typed, count)

    def counted_loop(
        self, name: str, count: Any, carried: list[Any], body: Callable[[Any, list[Any]], list[Any]]
    ) -> list[Any]:
        """Emit ``for i in range(count)``; ``carried`` values pass through phis.

        Bodies are written for the registers there are: unrolled they would spill them.
        """
        builder = self.builder
        before = builder.block
        head = builder.append_basic_block(f"{name}.head")
        inside = builder.append_basic_block(f"{name}.body")
        after = builder.append_basic_block(f"{name}.end")
        builder.branch(head)
        builder.position_at_end(head)
        index = builder.phi(I64, f"{name}.i")
        phis = [builder.phi(value.type) for value in carried]
        builder.cbranch(builder.icmp_signed("<", index, count), inside, after)
        builder.position_at_end(inside)
        results = body(index, phis)
        following = builder.add(index, I64(1))
        index.add_incoming(I64(0), before)
        index.add_incoming(following, builder.block)
        for phi, start, result in zip(phis, carried, results, strict=True):
            phi.add_incoming(start, before)
            phi.add_incoming(result, builder.block)
        simd.keep_rolled(builder.branch(head))
        builder.position_at_end(after)
        return phis

    def choose(
        self, condition: Any, yes: Callable[[], list[Any]], no: Callable[[], list[Any]]
    ) -> Any:
        """Emit ``yes() if condition else no()`` over lists of values."""
        builder = self.builder
        blocks = [builder.append_basic_block(part) for part in ("yes", "no", "join")]
        builder.cbranch(condition, blocks[0], blocks[1])
        branches = []
        for block, emit in zip(blocks, (yes, no), strict=False):
            builder.position_at_end(block)
            values = emit()
            branches.append((values, builder.block))
            builder.branch(blocks[2])
        builder.position_at_end(blocks[2])
        merged = []
        for a, b in zip(branches[0][0], branches[1][0], strict=True):
            phi = builder.phi(a.type)
            phi.add_incoming(a, branches[0][1])
            phi.add_incoming(b, branches[1][1])
            merged.append(phi)
        return merged

    def fma(self, a: Any, b: Any, c: Any) -> Any:
        """Emit ``a * b + c``."""
        return self.kind.add_product(self.builder, a, b, c)

    def add_products(
        self, pointer: Any, factors: list[Any], sums: list[Any], embedded: bool
    ) -> list[Any]:
        """Emit ``sum + number * factor`` for each pair, of the number at a byte pointer.

        With ``embedded`` (of AVX-512) each instruction fetches and spreads the number itself: a
        multiply-add costs the same, while one that only spreads takes a third of a cycle. LLVM
        would fetch it once for all.
        """
        vector, builder = self.kind.vector, self.builder
        number = builder.bitcast(pointer, vector.element.as_pointer())
        if not embedded or not self.kind.instruction:
            loaded = builder.load(number, align=4)
            spread = simd.emit_splat(builder, loaded, vector.count)
            pairs = zip(factors, sums, strict=True)
            return [self.kind.add_product(builder, spread, f, s) for f, s in pairs]
        kind = ir.FunctionType(vector, [vector, vector, number.type])
        text = f"{self.kind.instruction} ($3){{1to{vector.count}}}, $2, $0"
        fma = ir.InlineAsm(kind, text, "=v,0,v,r", side_effect=False)
        return [builder.call(fma, [s, f, number]) for f, s in zip(factors, sums, strict=True)]

    def activate(self, values: list[Any], activation: Any, low: Any, high: Any) -> list[Any]:
        """Apply the activation of a code known at run time; ``low`` and ``high`` are float64."""
        builder = self.builder
        low = simd.emit_splat(builder, builder.fptrunc(low, F32))
        high = simd.emit_splat(builder, builder.fptrunc(high, F32))

        def clip(value: Any, low: Any = low, high: Any = high) -> Any:
            value = builder.select(builder.fcmp_ordered("<", value, low), low, value)
            return builder.select(builder.fcmp_ordered(">", value, high), high, value)

        def leaky(value: Any) -> Any:
            negative = builder.fcmp_ordered("<", value, constant(0.0))
            return builder.select(negative, builder.fmul(value, low), value)

        def hard_swish(value: Any) -> Any:
            gate = ARITHMETIC["f32"].add_product(builder, value, constant(1.0 / 6.0), constant(0.5))
            return builder.fmul(value, clip(gate, constant(0.0), constant(1.0)))

        for code, function in ((CLIP, clip), (LEAKY_RELU, leaky), (HARD_SWISH, hard_swish)):
            chosen = builder.icmp_signed("==", activation, I64(code))
            values = self._activated(chosen, function, values)
        return values

    def _activated(
        self, chosen: Any, function: Callable[[Any], Any], values: list[Any]
    ) -> list[Any]:
        merged: list[Any] = self.choose(
            chosen, lambda: [function(value) for value in values], lambda: values
        )
        return merged
