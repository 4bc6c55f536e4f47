"""Arithmetic of tiles: vectors of a kind of numbers, and how a product is added to a sum.

``i16`` are pairs of int16 in words of 32 bits: a product of two words is the sum of the products
of their halves, an int32. What 8-bit numbers less their zero points give fits, and no sum of a
pair overflows. A pair is one element to all loops around a tile, which see words of four bytes.

``u8`` are four bytes in such words, those of the first operand unsigned, of the second signed: the
sum of their four products is exact, too. Where there is no instruction for it (``HAS_QUADS``), it
is made of two products of pairs. Those of ``s8`` are signed in both operands, of ``u8u`` in none,
of ``s8u`` in the first: only AMX has instructions for these (``amx``).

``bf16`` are pairs of bfloat16 in such words: the sum of the products of their halves is added to a
float32. Where there is no instruction for it (``HAS_BFLOATS``), they are widened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from llvmlite import ir

from . import simd
from .target import HAS_MASKS, LANES, has_feature
from .vectors import F32, F64, I16, I32, I64, BFloats

AddProduct = Callable[[ir.IRBuilder, Any, Any, Any], Any]


@dataclass(frozen=True)
class Arithmetic:
    """Numbers that tiles compute with.

    Attributes
    ----------
    vector
        Vector of operands and of sums.
    add_product
        Emits ``a * b + c`` of three vectors.
    instruction
        That of AVX-512 which spreads one operand from memory; none where there is none.
    numbers
        How many an element has.
    """

    vector: ir.VectorType
    add_product: AddProduct
    instruction: str = ""
    numbers: int = 1

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return LANES * 4 // int(self.vector.count)


def _fused(builder: ir.IRBuilder, a: Any, b: Any, c: Any) -> Any:
    """Emit a multiply-add with one rounding."""
    return simd.call_by_name(builder, f"llvm.fma.{simd.mangled(a.type)}", a.type, [a, b, c])


def _wrapping(builder: ir.IRBuilder, a: Any, b: Any, c: Any) -> Any:
    """Emit a product and a sum of whole numbers, which wrap around."""
    return builder.add(builder.mul(a, b), c)


_OF_PAIRS = {16: "llvm.x86.avx512.pmaddw.d.512", 8: "llvm.x86.avx2.pmadd.wd"}


def _pairs(builder: ir.IRBuilder, a: Any, b: Any, c: Any) -> Any:
    """Emit the sum of the products of the halves of words."""
    name = _OF_PAIRS.get(LANES)
    if name is not None:
        halves = ir.VectorType(I16, 2 * LANES)
        products = [builder.bitcast(word, halves) for word in (a, b)]
        return builder.add(simd.call_by_name(builder, name, a.type, products), c)
    half = ir.Constant(a.type, [16] * LANES)
    for take in (lambda word: word, lambda word: builder.shl(word, half)):
        x, y = (builder.ashr(take(word), half) for word in (a, b))
        c = _wrapping(builder, x, y, c)
    return c


HAS_QUADS = (HAS_MASKS and has_feature("avx512vnni")) or (LANES == 8 and has_feature("avxvnni"))
"""Whether the processor multiplies unsigned by signed bytes and adds four products to an int32."""
_OF_QUADS = {16: "llvm.x86.avx512.vpdpbusd.512", 8: "llvm.x86.avx512.vpdpbusd.256"}


def _quads(builder: ir.IRBuilder, a: Any, b: Any, c: Any) -> Any:
    """Emit the sum of the products of the bytes of words.

    Without an instruction for it the even bytes and the odd ones are widened to pairs of int16: no
    sum of theirs saturates, as the 16-bit sums of pmaddubsw would.
    """
    if HAS_QUADS:
        return simd.call_by_name(builder, _OF_QUADS[LANES], a.type, [c, a, b])
    halves = ir.VectorType(I16, 2 * LANES)
    eight = ir.Constant(halves, [8] * (2 * LANES))
    x, y = (builder.bitcast(word, halves) for word in (a, b))
    even = builder.lshr(builder.shl(x, eight), eight), builder.ashr(builder.shl(y, eight), eight)
    odd = builder.lshr(x, eight), builder.ashr(y, eight)
    for x, y in (even, odd):
        c = _pairs(builder, builder.bitcast(x, a.type), builder.bitcast(y, a.type), c)
    return c


def _bytes(of_a: str, of_b: str) -> AddProduct:
    """Return what adds the products of the bytes of words, which are widened by shifts."""

    def add(builder: ir.IRBuilder, a: Any, b: Any, c: Any) -> Any:
        top = ir.Constant(a.type, [24] * LANES)
        for byte in range(4):
            up = ir.Constant(a.type, [24 - 8 * byte] * LANES)
            x = getattr(builder, of_a)(builder.shl(a, up), top)
            c = _wrapping(builder, x, getattr(builder, of_b)(builder.shl(b, up), top), c)
        return c

    return add


HAS_BFLOATS = HAS_MASKS and has_feature("avx512bf16")
"""Whether the processor multiplies bfloat16 and adds two products to a float32."""


def _bfloats(builder: ir.IRBuilder, a: Any, b: Any, c: Any) -> Any:
    """Emit the sum of the products of the bfloat16 of words, which are vectors of float32."""
    if HAS_BFLOATS:
        pairs = [builder.bitcast(word, BFloats(2 * LANES)) for word in (a, b)]
        name = f"llvm.x86.avx512bf16.dpbf16ps.{32 * LANES}"
        return simd.call_by_name(builder, name, c.type, [c, *pairs])
    words = ir.VectorType(I32, LANES)
    up, upper = (ir.Constant(words, [number] * LANES) for number in (16, -0x10000))
    for take in (lambda word: builder.shl(word, up), lambda word: builder.and_(word, upper)):
        x, y = (builder.bitcast(take(builder.bitcast(word, words)), c.type) for word in (a, b))
        c = _fused(builder, x, y, c)
    return c


def _vector(element: ir.Type, itemsize: int) -> ir.VectorType:
    return ir.VectorType(element, LANES * 4 // itemsize)


ARITHMETIC = {
    "f32": Arithmetic(_vector(F32, 4), _fused, "vfmadd231ps"),
    "f64": Arithmetic(_vector(F64, 8), _fused, "vfmadd231pd"),
    "i32": Arithmetic(_vector(I32, 4), _wrapping),
    "i64": Arithmetic(_vector(I64, 8), _wrapping),
    "i16": Arithmetic(_vector(I32, 4), _pairs,
                      "vpdpwssd" if has_feature("avx512vnni") else "", 2),
    "u8": Arithmetic(_vector(I32, 4), _quads, numbers=4),
    "s8": Arithmetic(_vector(I32, 4), _bytes("ashr", "ashr"), numbers=4),
    "u8u": Arithmetic(_vector(I32, 4), _bytes("lshr", "lshr"), numbers=4),
    "s8u": Arithmetic(_vector(I32, 4), _bytes("ashr", "lshr"), numbers=4),
    "bf16": Arithmetic(_vector(F32, 4), _bfloats, "vdpbf16ps" if HAS_BFLOATS else "", 2),
}  # fmt: skip
"""By the names of kinds: element types, pairs of int16, four bytes, and pairs of bfloat16."""
KINDS = list(ARITHMETIC)
