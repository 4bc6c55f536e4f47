"""Linear maps of vectors in registers with few operations: the transforms of ``cook_toom``."""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Protocol

from llvmlite import ir

from ..arithmetic import ARITHMETIC
from ..emitter import constant
from .cook_toom import Matrix


class Numbers(Protocol):
    """Arithmetic on registers of a type."""

    def __init__(self, builder: ir.IRBuilder) -> None: ...

    def plus(self, a: Any, b: Any) -> Any:
        """Emit ``a + b``."""
        ...

    def minus(self, a: Any, b: Any) -> Any:
        """Emit ``a - b``."""
        ...

    def times(self, factor: Fraction, value: Any) -> Any:
        """Emit ``factor * value``."""
        ...

    def plus_times(self, total: Any, factor: Fraction, value: Any) -> Any:
        """Emit ``total + factor * value``."""
        ...


class Floats:
    """Arithmetic of float32; its products are added with one rounding."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.builder = builder

    def plus(self, a: Any, b: Any) -> Any:  # noqa: D102 (of Numbers)
        return self.builder.fadd(a, b)

    def minus(self, a: Any, b: Any) -> Any:  # noqa: D102
        return self.builder.fsub(a, b)

    def times(self, factor: Fraction, value: Any) -> Any:  # noqa: D102
        return self.builder.fmul(value, constant(float(factor)))

    def plus_times(self, total: Any, factor: Fraction, value: Any) -> Any:  # noqa: D102
        add = ARITHMETIC["f32"].add_product
        return add(self.builder, value, constant(float(factor)), total)


class Wholes:
    """Arithmetic of integers of any width, which wraps; factors are whole."""

    def __init__(self, builder: ir.IRBuilder) -> None:
        self.builder = builder

    def plus(self, a: Any, b: Any) -> Any:  # noqa: D102
        return self.builder.add(a, b)

    def minus(self, a: Any, b: Any) -> Any:  # noqa: D102
        return self.builder.sub(a, b)

    def times(self, factor: Fraction, value: Any) -> Any:  # noqa: D102
        assert factor.denominator == 1
        kind = value.type
        return self.builder.mul(value, ir.Constant(kind, [int(factor)] * kind.count))

    def plus_times(self, total: Any, factor: Fraction, value: Any) -> Any:  # noqa: D102
        if factor < 0:
            return self.minus(total, self.times(-factor, value))
        return self.plus(total, self.times(factor, value))


def linear_map(numbers: Numbers, matrix: Matrix, values: list[Any]) -> list[Any]:
    """Emit the product of a matrix and a vector of registers.

    Points come in pairs +-p: where two columns, or two rows, agree but for signs, their sums and
    differences serve both, which halves the operations.
    """
    columns = list(zip(*matrix, strict=True))
    pairs = _pairs(columns)
    for j, k in pairs:
        # Column j becomes the one of the sum, column k that of the difference.
        x, y = values[j], values[k]
        values = list(values)
        values[j], values[k] = numbers.plus(x, y), numbers.minus(x, y)
        same = [a == b for a, b in zip(columns[j], columns[k], strict=True)]
        column = columns[j]
        columns[j] = tuple(a if s else Fraction(0) for a, s in zip(column, same, strict=True))
        columns[k] = tuple(Fraction(0) if s else a for a, s in zip(column, same, strict=True))
    rows = [list(row) for row in zip(*columns, strict=True)]
    results: dict[int, Any] = {}
    for i, k in [] if pairs else _pairs([tuple(row) for row in rows]):
        same_signs = [a == b for a, b in zip(rows[i], rows[k], strict=True)]
        even = [a if s else Fraction(0) for a, s in zip(rows[i], same_signs, strict=True)]
        odd = [Fraction(0) if s else a for a, s in zip(rows[i], same_signs, strict=True)]
        scale = next(a for a in reversed(odd) if a)
        left = _combination(numbers, even, values)
        right = _combination(numbers, [a / scale for a in odd], values)
        results[i] = _plus(numbers, left, scale, right)
        results[k] = _plus(numbers, left, -scale, right)
    for i, row in enumerate(rows):
        if i not in results:
            results[i] = _combination(numbers, row, values)
    return [results[i] for i in range(len(rows))]


def _pairs(vectors: list[tuple[Fraction, ...]]) -> list[tuple[int, int]]:
    """Disjoint pairs of vectors that agree but for some signs."""
    pairs: list[tuple[int, int]] = []
    taken: set[int] = set()
    for i, first in enumerate(vectors):
        for k in range(i + 1, len(vectors)):
            both = list(zip(first, vectors[k], strict=True))
            alike = all(abs(a) == abs(b) for a, b in both) and sum(a != 0 for a in first) > 1
            if alike and {i, k}.isdisjoint(taken):
                pairs.append((i, k))
                taken |= {i, k}
    return pairs


def _combination(numbers: Numbers, coefficients: list[Fraction], values: list[Any]) -> Any:
    terms = [(c, v) for c, v in zip(coefficients, values, strict=True) if c]
    # A term without a factor costs nothing to begin with.
    terms.sort(key=lambda term: term[0] != 1)
    (factor, total), *others = terms
    if factor != 1:
        total = numbers.times(factor, total)
    for factor, value in others:
        total = _plus(numbers, total, factor, value)
    return total


def _plus(numbers: Numbers, total: Any, factor: Fraction, value: Any) -> Any:
    if factor == 1:
        return numbers.plus(total, value)
    if factor == -1:
        return numbers.minus(total, value)
    return numbers.plus_times(total, factor, value)
