"""Sizes: integers, or expressions of sizes that are known only when a program runs.

An expression is a polynomial with integer coefficients over *atoms*: symbols, and operations that
are not polynomial (floor division, minimum, ...), whose operands are sizes again. Expressions are
never copied into one another: they form a graph without cycles, in which each one has few terms and
is known by its *key*, a digest of what it is made of. So to make, compare or hash one takes a time
that does not depend on how much lies below it. A polynomial that would get more than a few terms
becomes an atom of its own (`_whole`); two ways to write the same size then may differ, which costs
a comparison at run time and is never wrong.

``size_code.Code`` turns expressions into instructions that compiled code evaluates when a program
is bound to actual sizes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from typing import Literal, TypeAlias, Union

import numpy as np

from ..kernels.abi import SCALE, SIZE_LIMIT

Dim: TypeAlias = Union[int, "Expr"]
Symbol: TypeAlias = str
"""A size that a run defines: who names it, a colon, and its name there."""

Origin: TypeAlias = Literal["model", "input", "result", "content", "runtime"]
"""Who names a symbol. Names of models begin with "model:", so that none is one of the others.

Symbols of "content" are elements of tensors, read as sizes: they may be below zero.
"""

THREADS: Symbol = "runtime:threads"
"""Number of threads that walk a program."""

CAPACITY: Symbol = "runtime:capacity"
"""Length up to which caches may grow in the memory that they have (``growth``)."""

_Monomial: TypeAlias = tuple["Atom", ...]
_Term: TypeAlias = tuple[_Monomial, int]

_MOST_TERMS = 16
_MOST_FACTORS = 12
_MOST_OPERANDS = 16
_MOST_TEXT = 24


def _digest(*parts: str) -> str:
    return hashlib.blake2b("|".join(parts).encode(), digest_size=16).hexdigest()


class Atom:
    """A symbol, or an operation on sizes that polynomials have not; immutable and hashable.

    Attributes
    ----------
    kind : str
        ``"symbol"``, ``"overflow"`` (a number that no size reaches), ``"whole"`` (a polynomial that
        is not multiplied out) or an operation of `size_code`.
    operands : tuple of Dim
    symbol : Symbol
        Empty but for a symbol.
    key : str
        Equal for equal atoms, in every process.
    is_natural : bool
        It is never below zero.
    weight : int
        Number of symbols and numbers it would be written with; `_MOST_TEXT` stands for more.
    """

    __slots__ = ("_hash", "is_natural", "key", "kind", "operands", "symbol", "weight")

    def __init__(self, kind: str, operands: tuple[Dim, ...] = (), symbol: Symbol = "") -> None:
        self.kind, self.operands, self.symbol = kind, operands, symbol
        # ASCII and without the separator, whatever a model's name is made of.
        name = symbol.encode("unicode_escape", "surrogatepass").hex()
        self.key = _digest(kind, name, *map(_key, operands))
        self._hash = hash(self.key)
        natural = map(is_natural, operands)
        always = kind in ("bound", "ne1")
        self.is_natural = always or (any(natural) if kind == "max" else all(natural))
        if is_content(symbol):
            self.is_natural = False
        self.weight = min(max(sum(map(_weight, operands)), 1), _MOST_TEXT)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Atom) and self.key == other.key


class Expr:
    """An integer expression of symbols; immutable and hashable.

    Supports ``+ - * // %`` with integers and expressions; a result that is constant becomes
    a plain ``int``. Build from :func:`symbol`, :func:`minimum`, :func:`maximum`.
    """

    __slots__ = ("_key", "terms")

    def __init__(self, terms: tuple[_Term, ...]) -> None:
        self.terms = terms
        self._key = ""  # most expressions are only steps on the way to others

    @property
    def key(self) -> str:
        """Equal for equal expressions, in every process."""
        if not self._key:
            texts = ("*".join([str(n), *(atom.key for atom in m)]) for m, n in self.terms)
            self._key = _digest("sum", *texts)
        return self._key

    def __hash__(self) -> int:
        return hash(self.key)

    def __eq__(self, other: object) -> bool:
        return self is other or (isinstance(other, Expr) and self.key == other.key)

    def __add__(self, other: Dim) -> Dim:
        total = _polynomial([*self.terms, *_terms(other)])
        if isinstance(total, Expr) and len(total.terms) > _MOST_TERMS:
            return _polynomial([*_terms(_whole(self)), *_terms(_whole(other))])
        return total

    def __mul__(self, other: Dim) -> Dim:
        if isinstance(other, int) and 0 < other < SIZE_LIMIT:
            scaled = tuple((monomial, factor * other) for monomial, factor in self.terms)
            if all(abs(factor) < SIZE_LIMIT for _, factor in scaled):
                return self if other == 1 else Expr(scaled)
        left, right = self.terms, _terms(other)
        if isinstance(other, Expr):
            factors = max(len(m) for m, _ in left) + max(len(m) for m, _ in right)
            is_large = len(left) * len(right) > _MOST_TERMS or _has_whole(left + right)
            if factors > _MOST_FACTORS or (is_large and len(left) > 1):
                left = _terms(_whole(self))
            if factors > _MOST_FACTORS or (is_large and len(right) > 1):
                right = _terms(_whole(other))
        return _polynomial([(_joined(m, n), a * b) for m, a in left for n, b in right])

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
        terms = []
        for monomial, factor in self.terms:
            names = sorted(map(_atom_text, monomial))
            if factor != 1 or not names:
                names.insert(0, str(factor))
            terms.append((not monomial, "*".join(names)))
        return " + ".join(text for _, text in sorted(terms))


# --- polynomials ------------------------------------------------------------------------------


def _key(value: Dim) -> str:
    return value.key if isinstance(value, Expr) else f"#{value}"


def _terms(value: Dim) -> tuple[_Term, ...]:
    return value.terms if isinstance(value, Expr) else (((), int(value)),) if value else ()


def _joined(m: _Monomial, n: _Monomial) -> _Monomial:
    if not m or not n:
        return m or n
    return tuple(sorted(m + n, key=lambda atom: atom.key))


def _polynomial(terms: Iterable[_Term]) -> Dim:
    total: dict[_Monomial, int] = {}
    for monomial, factor in terms:
        total[monomial] = total.get(monomial, 0) + factor
    kept = {monomial: factor for monomial, factor in total.items() if factor}
    if not kept:
        return 0
    if len(kept) == 1:
        ((monomial, factor),) = kept.items()
        if not monomial:
            return factor
        if factor == 1 and len(monomial) == 1 and monomial[0].kind == "whole":
            return monomial[0].operands[0]
    if any(abs(factor) >= SIZE_LIMIT for factor in kept.values()):
        return _atom("overflow")
    if len(kept) == 1:
        return Expr(tuple(kept.items()))
    return Expr(tuple(sorted(kept.items(), key=lambda term: [atom.key for atom in term[0]])))


def _atom(kind: str, *operands: Dim) -> Expr:
    return _of_atom(Atom(kind, operands))


def _of_atom(atom: Atom) -> Expr:
    return Expr((((atom,), 1),))


def _single(value: Dim) -> Atom | None:
    """Return the atom that is all of an expression."""
    if isinstance(value, Expr) and len(value.terms) == 1:
        ((monomial, factor),) = value.terms
        if factor == 1 and len(monomial) == 1:
            return monomial[0]
    return None


def _has_whole(terms: tuple[_Term, ...]) -> bool:
    return any(atom.kind == "whole" for monomial, _ in terms for atom in monomial)


def _whole(value: Dim) -> Dim:
    """Return an expression as one atom, which sums and products do not look into."""
    if isinstance(value, int) or _single(value) is not None:
        return value
    return _atom("whole", value)


def of_symbol(symbol: Symbol) -> Expr:
    """Return the expression that stands for a symbol."""
    return _of_atom(Atom("symbol", symbol=symbol))


def symbol(name: str, origin: Origin = "model") -> Expr:
    """Return the expression that stands for the symbol of a name, by default one of the model."""
    return of_symbol(f"{origin}:{name}")


def symbol_of(value: Dim) -> Symbol | None:
    """Return the symbol that an expression is, None for any other size."""
    atom = _single(value)
    return atom.symbol if atom is not None and atom.kind == "symbol" else None


def is_content(symbol: Symbol) -> bool:
    """Tell whether a symbol is an element of a tensor, which may be any number."""
    return symbol.startswith("content:")


def symbols_in(value: Dim) -> Iterator[Symbol]:
    """Yield the symbols that a size is made of, each once."""
    pending, seen = [value], {value}
    while pending:
        dim = pending.pop()
        for monomial, _ in _terms(dim):
            for atom in monomial:
                if atom.kind == "symbol":
                    yield atom.symbol
                new = [operand for operand in atom.operands if operand not in seen]
                seen.update(new)
                pending += new


def is_natural(value: Dim) -> bool:
    """Tell whether a size is certainly not below zero; symbols of sizes never are."""
    if isinstance(value, int):
        return value >= 0
    return all(factor > 0 and all(atom.is_natural for atom in m) for m, factor in value.terms)


# --- text -------------------------------------------------------------------------------------


def _weight(value: Dim) -> int:
    return sum(atom.weight for m, _ in value.terms for atom in m) if isinstance(value, Expr) else 1


def _atom_text(atom: Atom) -> str:
    """Return an atom as text; what is too long is left out."""
    if atom.kind == "symbol":
        return atom.symbol.partition(":")[2]
    inner = ", ".join(map(repr, atom.operands)) if atom.weight < _MOST_TEXT else "..."
    return f"{'' if atom.kind == 'whole' else atom.kind}({inner})"


def named_text(value: Dim) -> str | None:
    """Return an expression as text where that is short and all in names of the model."""
    return repr(value) if _weight(value) < _MOST_TEXT and _is_named(value) else None


def _is_named(value: Dim) -> bool:
    atoms = [atom for m, _ in value.terms for atom in m] if isinstance(value, Expr) else []
    own = all(atom.symbol.startswith("model:") for atom in atoms if atom.kind == "symbol")
    return own and all(_is_named(operand) for atom in atoms for operand in atom.operands)


# --- operations -------------------------------------------------------------------------------


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


def _divide_term(term: _Term, by: _Term) -> _Term | None:
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
    if isinstance(b, int) and b and all(f % b == 0 for _, f in _terms(a)):
        return 0
    return _atom("mod", a, b)


def minimum(a: Dim, b: Dim) -> Dim:
    """Return the smaller of two sizes."""
    if isinstance(a, int) and isinstance(b, int):
        return min(a, b)
    if 0 in (a, b) and is_natural(a) and is_natural(b):
        return 0
    return _extreme("min", "max", a, b)


def maximum(a: Dim, b: Dim) -> Dim:
    """Return the larger of two sizes."""
    if isinstance(a, int) and isinstance(b, int):
        return max(a, b)
    for small, large in ((a, b), (b, a)):
        if isinstance(small, int) and small <= 0 and is_natural(large):
            return large
    return _extreme("max", "min", a, b)


def reaches(size: Dim, least: int) -> Dim:
    """Return 1 where a size is at least ``least``, else 0."""
    return minimum(maximum(size - (least - 1), 0), 1)


def _extreme(kind: str, dual: str, a: Dim, b: Dim) -> Dim:
    """``max(a, max(b, a))`` names each operand once, ``max(a, min(a, c))`` is ``a``."""
    parts = _parts(kind, a, b)
    needed = [x for x in parts if not any(y != x and y in _operands(dual, x) for y in parts)]
    return _of_parts(kind, needed)


def broadcast(a: Dim, b: Dim) -> Dim:
    """Return the size to which two broadcast: the one that is not 1.

    If neither is 1, both are the same, or there is no such size.
    """
    if a == 1 or a == b:
        return b
    return a if b == 1 else _of_parts("broadcast", _parts("broadcast", a, b))


def _parts(kind: str, a: Dim, b: Dim) -> list[Dim]:
    """Operands, each once, of an operation on what may be such operations; two if it is many."""
    parts = list(dict.fromkeys([*_operands(kind, a), *_operands(kind, b)]))
    return parts if len(parts) <= _MOST_OPERANDS else [a, b]


def _of_parts(kind: str, parts: list[Dim]) -> Dim:
    if len(parts) == 1:
        return parts[0]
    return _atom(kind, *sorted(parts, key=_key))


def _operands(kind: str, value: Dim) -> tuple[Dim, ...]:
    """Operands of an operation of a kind; the value itself if it is none."""
    atom = _single(value)
    return atom.operands if atom is not None and atom.kind == kind else (value,)


def bound(index: Dim, size: Dim) -> Dim:
    """Position that an index means as a limit of a slice, from 0 to the size.

    As in Python: an index below zero counts from the end, and what is beyond the axis is its end.
    """
    if is_natural(index):
        return minimum(index, size)
    if isinstance(index, int):
        return maximum(0, size + index)
    return _atom("bound", index, size)


def ceil_divide(a: Dim, b: Dim) -> Dim:
    """``ceil(a / b)``."""
    return (a + b - 1) // b


def not_one(a: Dim) -> Dim:
    """1 where the dimension is not 1, else 0: the factor of a broadcast operand's stride."""
    return int(a != 1) if isinstance(a, int) else _atom("ne1", a)


def is_zero_or_one(a: Dim) -> bool:
    """Tell whether an expression is what `not_one` gives of a size that is not known."""
    if not isinstance(a, Expr) or len(a.terms) != 1:
        return False
    monomial, factor = a.terms[0]
    return factor == 1 and all(atom.kind == "ne1" for atom in monomial)


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


def scaled(a: Dim, factor: float) -> Dim:
    """``floor(a * factor)`` with ``a``, the positive factor and their product as float32.

    Raises
    ------
    ValueError
        The factor is none that an expression holds.
    """
    if isinstance(a, int):
        return int(np.floor(np.float32(a) * np.float32(factor)))
    parts = float(np.float32(factor)) * SCALE
    if parts != int(parts) or not 0 < parts < SIZE_LIMIT:
        raise ValueError(f"a factor of {factor}")
    return _atom("scaled", a, int(parts))
