"""Dimensions that are integers or expressions of a model's named dimensions.

An expression is kept as a polynomial with integer coefficients over *atoms*: symbols, and
operations that are not polynomial (floor division, modulo, minimum, maximum, "is not one").
The normal form makes equality of dimensions a comparison of data: ``h + w == w + h``.

``Code`` turns expressions into a table of integer instructions that a compiled function
evaluates when a program is bound to actual sizes.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias, Union

from ..kernels import abi

Dim: TypeAlias = Union[int, "Expr"]
_Monomial: TypeAlias = tuple["_Atom", ...]
_Atom: TypeAlias = tuple  # ("symbol", name) or (operation, Dim, Dim)

_OPCODES = {
    "constant": abi.CONSTANT,
    "symbol": abi.SYMBOL,
    "add": abi.ADD,
    "mul": abi.MULTIPLY,
    "div": abi.FLOOR_DIVIDE,
    "mod": abi.MODULO,
    "min": abi.MINIMUM,
    "max": abi.MAXIMUM,
    "ne1": abi.NOT_ONE,
}


class Expr:
    """An integer expression of named dimensions; immutable and hashable.

    Supports ``+ - * // %`` with integers and expressions; a result that is constant becomes
    a plain ``int``. Build from :func:`symbol`, :func:`minimum`, :func:`maximum`.
    """

    __slots__ = ("_hash", "terms")

    def __init__(self, terms: tuple[tuple[_Monomial, int], ...]) -> None:
        self.terms = terms
        self._hash = hash(terms)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Expr) and self.terms == other.terms

    def __add__(self, other: Dim) -> Dim:
        return _polynomial([*self.terms, *_terms(other)])

    def __mul__(self, other: Dim) -> Dim:
        return _polynomial(
            [
                (tuple(sorted(m + n, key=repr)), a * b)
                for m, a in self.terms
                for n, b in _terms(other)
            ]
        )

    def __neg__(self) -> Dim:
        return self * -1

    def __sub__(self, other: Dim) -> Dim:
        return self + -1 * other

    def __rsub__(self, other: int) -> Dim:
        return self * -1 + other

    __radd__, __rmul__ = __add__, __mul__

    def __floordiv__(self, other: Dim) -> Dim:
        return floor_divide(self, other)

    def __rfloordiv__(self, other: int) -> Dim:
        return floor_divide(other, self)

    def __mod__(self, other: Dim) -> Dim:
        return modulo(self, other)

    def __rmod__(self, other: int) -> Dim:
        return modulo(other, self)

    def __repr__(self) -> str:
        parts = []
        for monomial, factor in self.terms:
            names = [_atom_text(atom) for atom in monomial]
            if factor != 1 or not names:
                names.insert(0, str(factor))
            parts.append("*".join(names))
        return " + ".join(parts)


def _atom_text(atom: _Atom) -> str:
    if atom[0] == "symbol":
        return str(atom[1])
    return f"{atom[0]}({', '.join(map(repr, atom[1:]))})"


def _terms(value: Dim) -> tuple[tuple[_Monomial, int], ...]:
    return value.terms if isinstance(value, Expr) else (((), int(value)),)


def _polynomial(terms: list[tuple[_Monomial, int]]) -> Dim:
    total: dict[_Monomial, int] = {}
    for monomial, factor in terms:
        total[monomial] = total.get(monomial, 0) + factor
    nonzero = {monomial: factor for monomial, factor in total.items() if factor}
    if not nonzero:
        return 0
    if set(nonzero) == {()}:
        return nonzero[()]
    return Expr(tuple(sorted(nonzero.items(), key=repr)))


def _atom(*parts: object) -> Expr:
    return Expr((((tuple(parts),), 1),))


def symbol(name: str) -> Expr:
    """Return the expression that stands for a named dimension."""
    return _atom("symbol", name)


def floor_divide(a: Dim, b: Dim) -> Dim:
    """``a // b``; exact division of every term is carried out."""
    if isinstance(a, int) and isinstance(b, int):
        return a // b
    if b == 1:
        return a
    if a == b:
        return 1
    if isinstance(b, int) and b:
        exact = [(m, f) for m, f in _terms(a) if f % b == 0]
        inexact = [(m, f) for m, f in _terms(a) if f % b]
        quotient = _polynomial([(m, f // b) for m, f in exact])
        if not inexact:
            return quotient
        if len(inexact) == 1 and inexact[0][0] == ():
            # floor((b*q + r) / b) = q + floor(r / b)
            return quotient + inexact[0][1] // b
        return quotient + _atom("div", _polynomial(inexact), b)
    if isinstance(b, Expr) and len(b.terms) == 1:
        divided = [_divide_term(term, b.terms[0]) for term in _terms(a)]
        if all(term is not None for term in divided):
            return _polynomial([term for term in divided if term is not None])
    return _atom("div", a, b)


def _divide_term(
    term: tuple[_Monomial, int], by: tuple[_Monomial, int]
) -> tuple[_Monomial, int] | None:
    atoms = list(term[0])
    for atom in by[0]:
        if atom not in atoms:
            return None
        atoms.remove(atom)
    return None if term[1] % by[1] else (tuple(atoms), term[1] // by[1])


def modulo(a: Dim, b: Dim) -> Dim:
    """``a % b``."""
    if isinstance(a, int) and isinstance(b, int):
        return a % b
    if b == 1 or a == b:
        return 0
    if isinstance(b, int) and all(f % b == 0 for _, f in _terms(a)):
        return 0
    return _atom("mod", a, b)


def minimum(a: Dim, b: Dim) -> Dim:
    """Return the smaller of two dimensions."""
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    return _extreme("min", "max", a, b)


def maximum(a: Dim, b: Dim) -> Dim:
    """Return the larger of two dimensions."""
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    return _extreme("max", "min", a, b)


def _extreme(kind: str, dual: str, a: Dim, b: Dim) -> Dim:
    """``max(a, max(b, a))`` names each operand once, ``max(a, min(a, c))`` is ``a``."""
    parts = list(dict.fromkeys([*_operands(kind, a), *_operands(kind, b)]))
    needed = [x for x in parts if not any(y != x and y in _operands(dual, x) for y in parts)]
    first, *others = sorted(needed, key=repr)
    for other in others:
        first = _atom(kind, first, other)
    return first


def _operands(kind: str, value: Dim) -> list[Dim]:
    """Operands of operations of a kind, one in another; the value itself if it is none."""
    if isinstance(value, Expr) and len(value.terms) == 1:
        (monomial, factor), *_ = value.terms
        if factor == 1 and len(monomial) == 1 and monomial[0][0] == kind:
            return [operand for part in monomial[0][1:] for operand in _operands(kind, part)]
    return [value]


def ceil_divide(a: Dim, b: Dim) -> Dim:
    """``ceil(a / b)``."""
    return (a + b - 1) // b


def not_one(a: Dim) -> Dim:
    """1 where the dimension is not 1, else 0: the factor of a broadcast operand's stride."""
    return int(a != 1) if isinstance(a, int) else _atom("ne1", a, 0)


def product(dims: Iterable[Dim]) -> Dim:
    """Product of dimensions; 1 for none."""
    total: Dim = 1
    for dim in dims:
        total = total * dim
    return total


def sum_dims(dims: Iterable[Dim]) -> Dim:
    """Sum of dimensions; 0 for none."""
    total: Dim = 0
    for dim in dims:
        total = total + dim
    return total


def evaluate(value: Dim, sizes: Mapping[str, int]) -> int:
    """Value of an expression for given sizes; the reference for the compiled evaluation."""
    if isinstance(value, int):
        return value
    total = 0
    for monomial, factor in value.terms:
        for kind, *operands in monomial:
            if kind == "symbol":
                factor *= sizes[operands[0]]
                continue
            a, b = (evaluate(operand, sizes) for operand in operands)
            if kind in ("div", "mod") and b == 0:
                factor = 0
            elif kind == "div":
                factor *= a // b
            elif kind == "mod":
                factor *= a % b
            elif kind == "ne1":
                factor *= int(a != 1)
            else:
                factor *= min(a, b) if kind == "min" else max(a, b)
        total += factor
    return total


class Code:
    """Instructions ``(operation, a, b)`` that evaluate expressions, each once.

    The value of instruction ``i`` is slot ``i``; ``a`` and ``b`` are slots of operands, or the
    number itself for a constant, or the index of the symbol.
    """

    def __init__(self) -> None:
        self.instructions: list[tuple[int, int, int]] = []
        self.symbols: list[str] = []
        self._slots: dict[object, int] = {}

    def slot(self, value: Dim) -> int:
        """Return the slot that will hold the value of a dimension."""
        if value not in self._slots:
            self._slots[value] = self._emit(value)
        return self._slots[value]

    def symbol(self, name: str) -> int:
        """Return the index of a symbol, which gets a slot, too."""
        self.slot(symbol(name))
        return self.symbols.index(name)

    def _instruction(self, name: str, a: int, b: int) -> int:
        key = (_OPCODES[name], a, b)
        if key not in self._slots:
            self.instructions.append(key)
            self._slots[key] = len(self.instructions) - 1
        return self._slots[key]

    def _emit(self, value: Dim) -> int:
        if isinstance(value, int):
            return self._instruction("constant", value, 0)
        total: int | None = None
        for monomial, factor in value.terms:
            part: int | None = None if factor != 1 or not monomial else -1
            term = self._instruction("constant", factor, 0) if part is None else None
            for atom in monomial:
                one = self._atom(atom)
                term = one if term is None else self._instruction("mul", term, one)
            assert term is not None
            total = term if total is None else self._instruction("add", total, term)
        assert total is not None
        return total

    def _atom(self, atom: _Atom) -> int:
        kind, *operands = atom
        if kind == "symbol":
            if operands[0] not in self.symbols:
                self.symbols.append(operands[0])
            return self._instruction("symbol", self.symbols.index(operands[0]), 0)
        return self._instruction(kind, self.slot(operands[0]), self.slot(operands[1]))
