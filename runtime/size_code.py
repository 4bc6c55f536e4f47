"""Instructions that compute sizes: what compiled code evaluates when a program is bound.

Each expression is computed once, whatever it is a part of.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator

from ..kernels import abi
from .symbolic import Atom, Dim, Symbol

_OPERATIONS = {
    "add": abi.ADD,
    "mul": abi.MULTIPLY,
    "div": abi.FLOOR_DIVIDE,
    "mod": abi.MODULO,
    "min": abi.MINIMUM,
    "max": abi.MAXIMUM,
    "broadcast": abi.BROADCAST,
    "bound": abi.BOUND,
    "ne1": abi.NOT_ONE,
    "scaled": abi.SCALED,
}


class Code:
    """Instructions, of which number ``i`` computes slot ``i``.

    Attributes
    ----------
    instructions : array of int64
        One after the other, each with the columns of ``kernels.abi``.
    symbols : list of Symbol
        In the order of their indices.
    step : int
        The step that needs the slots asked for, as ``CODE_STEP`` has it.
    """

    def __init__(self) -> None:
        self.instructions = array("q")
        self.symbols: list[Symbol] = []
        self.step = 0
        self._indices: dict[Symbol, int] = {}
        self._slots: dict[Dim, int] = {}
        self._made: dict[tuple[int, int, int], int] = {}

    def slot(self, value: Dim) -> int:
        """Return the slot that will hold a size."""
        pending = [] if value in self._slots else [value]
        while pending:  # no recursion: expressions may lie deep in one another
            dim = pending[-1]
            missing = [part for part in _parts(dim) if part not in self._slots]
            if dim not in self._slots and not missing:
                self._slots[dim] = self._emit(dim)
            if missing:
                pending += missing
            else:
                pending.pop()
        return self._slots[value]

    def symbol(self, symbol: Symbol) -> int:
        """Return the index of a symbol."""
        if symbol not in self._indices:
            self._indices[symbol] = len(self.symbols)
            self.symbols.append(symbol)
        return self._indices[symbol]

    def _instruction(self, operation: int, a: int, b: int) -> int:
        key = (operation, a, b)
        if key not in self._made:
            self._made[key] = len(self._made)
            self.instructions.extend((*key, self.step))
        return self._made[key]

    def _constant(self, value: int) -> int:
        fits = abs(value) < abi.SIZE_LIMIT
        return self._instruction(abi.CONSTANT, value if fits else abi.OVERFLOW, 0)

    def _emit(self, value: Dim) -> int:
        """Append the instructions of a size, the parts of which have their slots."""
        if isinstance(value, int):
            return self._constant(value)
        sums = []
        for monomial, factor in value.terms:
            slots = [self._atom(atom) for atom in monomial]
            if factor != 1 or not slots:
                slots.insert(0, self._constant(factor))
            sums.append(self._chain("mul", slots))
        return self._chain("add", sums)

    def _chain(self, kind: str, slots: list[int]) -> int:
        first, *others = slots
        for other in others:
            first = self._instruction(_OPERATIONS[kind], first, other)
        return first

    def _atom(self, atom: Atom) -> int:
        if atom.kind == "symbol":
            return self._instruction(abi.SYMBOL, self.symbol(atom.symbol), 0)
        if atom.kind == "overflow":
            return self._instruction(abi.CONSTANT, abi.OVERFLOW, 0)
        slots = [self._slots[operand] for operand in atom.operands]
        if atom.kind == "whole":
            return slots[0]
        return self._chain(atom.kind, slots if len(slots) > 1 else [*slots, slots[0]])


def _parts(value: Dim) -> Iterator[Dim]:
    """Sizes that a size is computed from."""
    for monomial, _ in () if isinstance(value, int) else value.terms:
        for atom in monomial:
            yield from atom.operands
