"""Room in the memory of a program with caches, which are longer from run to run.

Memory is planned for the sizes that a run has when its caches have used all of their room, so that
no run plans until they need more.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from ..kernels.abi import BUFFER_SIZE, CODE_OPERATION, CONSTANT
from .program import Program

_MUCH = 64 << 20
"""Bytes of working memory that are not spent on a guess."""


class CacheRoom:
    """Sizes that the memory of a program with caches is planned for.

    Parameters
    ----------
    program : Program
    symbols, values : ndarray of int64
        Of a binding: what ``evaluate`` reads, and what it writes.
    evaluate : callable
        Returns 0 unless a size is beyond what 64 bits hold.

    Attributes
    ----------
    planned : ndarray of int64
        A value for each slot, of which those count that are sizes of buffers.
    """

    def __init__(
        self,
        program: Program,
        symbols: np.ndarray,
        values: np.ndarray,
        evaluate: Callable[[], int],
    ) -> None:
        self.planned = np.full_like(values, -1)
        self._symbols, self._values, self._evaluate = symbols, values, evaluate
        self._slots = program.buffers[:, BUFFER_SIZE]
        self._is_open = program.code[self._slots, CODE_OPERATION] != CONSTANT
        ports = {port.name: port for port in program.inputs}
        growing = [c for c in program.caches if ports[c.input].symbols[c.axis] >= 0]
        self._lengths = [ports[c.input].symbols[c.axis] for c in growing]
        self._ends = [program.tensors[c.tensor].shape[c.axis] for c in growing]
        own = {symbol for cache in program.caches for symbol in ports[cache.input].symbols}
        others = {symbol for port in program.inputs for symbol in port.symbols}
        self._others = sorted(symbol for symbol in others - own if symbol >= 0)

    def suffices(self) -> bool:
        """Tell whether what is planned has room for the sizes as they are."""
        return bool((self._values[self._slots] <= self.planned[self._slots]).all())

    def extend(self, capacity: int) -> None:
        """Plan for full caches, and for twice the sizes as they are: runs need not be alike.

        Parameters
        ----------
        capacity : int
            Length that caches have memory for.
        """
        symbols, values = self._symbols.copy(), self._values.copy()
        slots, twice = self._slots, values[self._slots] * (1 + self._is_open)
        self.planned[slots] = twice
        if not self._lengths:
            return
        grown = values[self._ends]
        steps = {symbol for symbol in self._others if self._makes_longer(symbol, grown)}
        whole = [s for s in self._others if s not in steps and symbols[s] in grown]
        is_first = not symbols[self._lengths].any()
        if is_first:  # other runs go one by one
            self._symbols[list(steps)] = 1
        full = self._sizes_at(capacity, whole)
        # Of a first run's sizes none says whether it is the step or the whole.
        if is_first and full.sum() > 2 * twice.sum() + _MUCH:
            full = self._sizes_at(capacity, [])
        self._symbols[:], self._values[:] = symbols, values
        self.planned[slots] = np.maximum(twice, full)

    def _makes_longer(self, symbol: int, grown: np.ndarray) -> bool:
        """Tell whether the lengths of the caches after the run depend on a size."""
        self._symbols[symbol] += 1
        self._evaluate()
        self._symbols[symbol] -= 1
        return bool((self._values[self._ends] != grown).any())

    def _sizes_at(self, capacity: int, whole: list[int]) -> np.ndarray:
        """Sizes of buffers where caches, and sizes that are as long as they, are of a length."""
        self._evaluate()
        steps = self._values[self._ends] - self._symbols[self._lengths]
        lengths = np.maximum(capacity - steps, self._symbols[self._lengths])
        before, self._symbols[self._lengths] = self._symbols[self._lengths], lengths
        others, self._symbols[whole] = self._symbols[whole], (lengths + steps).max()
        is_beyond = self._evaluate()
        sizes = self._values[self._slots] * (0 if is_beyond else 1)
        self._symbols[self._lengths], self._symbols[whole] = before, others
        return sizes
