"""Results of expressions that are rounded to bytes: four vectors of them are stored together.

An expression that ends by rounding, adding a zero point and limiting to a type of bytes is computed
up to there; the rest is what `byte_packing` does of four vectors in fewer instructions.
"""

from __future__ import annotations

import ast
import dataclasses
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numba.core import types

from . import simd
from .byte_packing import HAS_PACKS, Limits, emit_joined
from .target import LANES
from .vectors import F32, I8, I32, I64, f32x, intrinsic

VECTORS = 4
"""That are stored together."""
PLACE = "place"
"""Name of where a vector begins, in statements."""
_LIMITS = {"u8": (0, 255), "i8": (-128, 127)}
_BLOCK = VECTORS * LANES
_BYTES = ir.VectorType(I8, _BLOCK)


@dataclasses.dataclass(frozen=True)
class Packing:
    """How an expression ends.

    Attributes
    ----------
    expression : str
        What is rounded, marked by ``unrounded``.
    zero, type_of_zero : str
        Operand that is the zero point, empty where there is none, and its type.
    kind : str
        Type of the bytes.
    """

    expression: str
    zero: str
    type_of_zero: str
    kind: str

    @classmethod
    def of(cls, expression: str, operands: str) -> Packing | None:
        """Return how an expression of vectors ends; None where it does in another way."""
        kind, *others = operands.split()
        if not HAS_PACKS or kind[:-1] not in _LIMITS:
            return None
        *before, last = ast.parse(expression).body
        given = _arguments(last.value, "saturate")  # type: ignore[attr-defined]
        limits = [float(end) for end in _LIMITS[kind[:-1]]]
        if len(given) != 3 or [_number(each) for each in given[1:]] != limits:
            return None
        value, zero, type_of_zero = given[0], "", kind[:-1]
        terms = _arguments(value, "add")
        if terms:
            value, zero = terms[0], "".join(map(ast.unparse, _arguments(terms[1], "to_f32")))
            places = {f"{kind[:-1]}s", "f32s"}
            if zero not in [f"x{i}" for i, each in enumerate(others) if each in places]:
                return None
            type_of_zero = others[int(zero[1:])][:-1]
        rounded = _arguments(value, "round")
        if not rounded:
            return None
        texts = [*map(ast.unparse, before), f"unrounded({ast.unparse(rounded[0])})"]
        return cls(";".join(texts), zero, type_of_zero, kind[:-1])

    def loop(self, statements: list[str], condition: str) -> list[str]:
        """Text of the loop over vectors that are stored together, where a condition holds.

        ``statements`` compute one, ``result``, of what begins at `PLACE`. They take turns, so that
        none waits for the one before it: a chain of them is longer than what processors reorder.
        """
        zero = f"load_{self.type_of_zero}({self.zero}a, 0)" if self.zero else "_F(0.0)"
        lines = [f"zero, packs = whole_{self.kind}({zero})", f"packs = packs and {condition}"]
        lines.append(f"while packs and j + {_BLOCK} <= stop:")
        lines += [f"    {PLACE}_{i} = j + {i * LANES}" for i in range(VECTORS)]
        own = {PLACE, *(statement.partition(" = ")[0] for statement in statements)}
        for statement in statements:
            lines += [f"    {_of_vector(statement, own, i)}" for i in range(VECTORS)]
        results = ", ".join(f"result_{i}" for i in range(VECTORS))
        store = f"    store_packed_{self.kind}(ya, j, {results}, zero)"
        return [*lines, store, f"    j += {_BLOCK}"]


def _of_vector(statement: str, own: set[str], number: int) -> str:
    """Rename what a statement has of its own for each vector."""
    tree = ast.parse(statement)
    for node in ast.walk(tree):
        if isinstance(node, ast.Name) and node.id in own:
            node.id = f"{node.id}_{number}"
    return ast.unparse(tree)


def _arguments(node: ast.AST, name: str) -> list[ast.expr]:
    """Arguments of a call of a function; none for anything else."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == name:
        return node.args
    return []


def _number(node: ast.expr) -> float | None:
    try:
        return float(ast.literal_eval(node))
    except (ValueError, TypeError):
        return None


def _make_whole(kind: str) -> Any:
    """Function that gives a zero point as a whole number, and whether it is one of a type."""
    low, high = _LIMITS[kind]

    @njit
    def whole(zero: Any) -> Any:
        number = np.int64(zero) if low <= zero <= high else 0
        return number, number == zero

    return whole


def _make_store(kind: str) -> Any:
    """Store of vectors of float32 as bytes of a type; NaN is 0."""
    low, high = _LIMITS[kind]

    @intrinsic
    def store(typingctx, address, index, a, b, c, d, zero):  # type: ignore[no-untyped-def]
        def codegen(context, builder, sig, args):  # type: ignore[no-untyped-def]
            address, index, *vectors, zero = args
            ends = [
                builder.sitofp(builder.sub(I64(end), zero), F32) for end in (low, high, 0)
            ]  # fmt: skip
            least, most, nothing = (simd.emit_splat(builder, end) for end in ends)
            if low != 0:  # else NaN, which is limited to the least number, is 0 already
                vectors = [
                    builder.select(builder.fcmp_ordered("==", each, each), each, nothing)
                    for each in vectors
                ]
            point = simd.emit_splat(builder, builder.trunc(zero, I32))
            joined = emit_joined(builder, vectors, Limits(least, most, point))
            pointer = simd.element_at(builder, address, index, I8)
            builder.store(joined, builder.bitcast(pointer, _BYTES.as_pointer()), align=1)
            return context.get_dummy_value()

        return types.void(types.int64, types.int64, *[f32x] * 4, types.int64), codegen

    return store


SCOPE = {f"store_packed_{kind}": _make_store(kind) for kind in _LIMITS}
SCOPE |= {f"whole_{kind}": _make_whole(kind) for kind in _LIMITS}
"""Functions that `Packing.loop` calls."""
