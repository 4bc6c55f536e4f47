"""Cells of recurrent layers: what follows the sums of a step, some units at a time.

The formulas are those of the standard's LSTM, GRU and RNN. A cell is done in one phase or, where a
product needs what others gave (the reset state of a GRU), in two.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from numba import njit

from ..registry import Pointer
from .recurrent_functions import ARITHMETIC, Arithmetic, activation, product, quotient

GATES = {"lstm": 4, "gru": 3, "gru_linear": 3, "rnn": 1}
PHASES = {"lstm": (4,), "gru": (2, 1), "gru_linear": (3,), "rnn": (1,)}
"""Gates whose recurrent products are made in each phase of a step."""


class Numbers(NamedTuple):
    """Parameters of a cell's activations, and the threshold that their arguments are clipped to."""

    alpha0: float
    beta0: float
    alpha1: float
    beta1: float
    alpha2: float
    beta2: float
    clip: float


class Row(NamedTuple):
    """One sequence at one step: addresses of its first hidden unit in each array, 0: none.

    ``sums`` are recurrent products, ``inputs`` products with the input and biases; both have the
    gates of a vector of units side by side. Of each vector the cell takes the numbers from
    ``lane`` on. ``state`` is the hidden state before the step, ``new``
    after it; ``cell`` is a LSTM's cell state, or what phases of a GRU hand on (the update gate),
    ``reset`` its reset state.
    """

    sums: Pointer
    inputs: Pointer
    state: Pointer
    new: Pointer
    cell: Pointer
    reset: Pointer
    bias: Pointer
    peepholes: Pointer
    lane: int


# --- cells ------------------------------------------------------------------------------------


def cell_phases(
    cell: str, names: tuple[str, ...], clips: bool, options: str, kind: str = "f32"
) -> tuple[Any, Any]:
    """Make the functions of a cell's two phases (the same one twice where there is one phase).

    Parameters
    ----------
    cell : {"lstm", "gru", "gru_linear", "rnn"}
        A ``gru_linear`` applies its reset gate after the linear transformation.
    names : tuple of str
        Activations.
    clips : bool
        Arguments of the gates' activations are clipped.
    options : str
        Of a LSTM: ``coupled`` (input and forget gate), ``peepholes``, or both.
    kind : {"f32", "f64"}
        Kind of numbers.

    Returns
    -------
    (function, function)
        Each takes a `Row`, the number of a vector of units in its arrays, that in ``sums``, and
        `Numbers`; returns the new hidden state.
    """
    # As onnxruntime has it: the gates are clipped, not the cell state before its output.
    functions = [activation(name, clips and i < 2, kind) for i, name in enumerate(names)]
    of = ARITHMETIC[kind]
    if cell == "rnn":
        return (_rnn(of, *functions),) * 2
    if cell == "gru_linear":
        return (_gru_linear(of, *functions),) * 2
    if cell == "gru":
        return _gru(of, *functions)
    f, g, h = functions
    return (_lstm(of, f, g, h, "coupled" in options, "peepholes" in options),) * 2


def _sum(of: Arithmetic, gates: int, summed: int) -> Any:
    """Make the sum of both products of a gate: one of ``gates``, or one of those ``summed``."""
    load, lanes = of.load, of.lanes

    @njit
    def total(row: Row, gate: int, v: int, position: int, at: int) -> Any:
        recurrent = load(row.sums, (at * summed + position) * lanes + row.lane)
        return load(row.inputs, (v * gates + gate) * lanes + row.lane) + recurrent

    return total


def _rnn(of: Arithmetic, f: Any) -> Any:
    total = _sum(of, 1, 1)

    @njit
    def phase(row: Row, v: int, at: int, n: Numbers) -> Any:
        """H = f(X W + H R + b)."""
        return quotient(f(total(row, 0, v, 0, at), n.alpha0, n.beta0, n.clip))

    return phase


def _lstm(of: Arithmetic, f: Any, g: Any, h: Any, coupled: bool, peepholes: bool) -> Any:
    load, store, fma, number, lanes = of.load, of.store, of.fma, of.number, of.lanes
    total = _sum(of, 4, 4)

    @njit
    def seen(row: Row, gate: int, v: int, at: int, cell: Any) -> Any:
        """Sum of a gate, with what it sees of the cell state."""
        x = total(row, gate, v, gate, at)
        if peepholes:
            # Of three, in the order i, o, f.
            return fma(load(row.peepholes, (v * 3 + gate) * lanes + row.lane), cell, x)
        return x

    @njit
    def phase(row: Row, v: int, at: int, n: Numbers) -> Any:
        """C = f C + i g(...), H = o h(C); gates in the order i, o, f, c."""
        cell = load(row.cell, v * lanes + row.lane)
        i = f(seen(row, 0, v, at, cell), n.alpha0, n.beta0, n.clip)
        if coupled:
            forget = number(1.0) - quotient(i)
        else:
            forget = quotient(f(seen(row, 2, v, at, cell), n.alpha0, n.beta0, n.clip))
        new = g(total(row, 3, v, 3, at), n.alpha1, n.beta1, n.clip)
        cell = fma(forget, cell, product(i, new))
        store(row.cell, v * lanes + row.lane, cell)
        o = f(seen(row, 1, v, at, cell), n.alpha0, n.beta0, n.clip)
        return product(o, h(cell, n.alpha2, n.beta2, n.clip))

    return phase


def _updated(of: Arithmetic) -> Any:
    """Make (1 - z) new + z H."""
    fma, number = of.fma, of.number
    return njit(lambda update, new, state: fma(update, state, (number(1.0) - update) * new))


def _gru(of: Arithmetic, f: Any, g: Any) -> tuple[Any, Any]:
    load, store, lanes, updated = of.load, of.store, of.lanes, _updated(of)
    total, later_total = _sum(of, 3, 2), _sum(of, 3, 1)

    @njit
    def gates(row: Row, v: int, at: int, n: Numbers) -> Any:
        """Update and reset gate; keeps the first, and the state that the second leaves."""
        unit = v * lanes + row.lane
        state = load(row.state, unit)
        update = f(total(row, 0, v, 0, at), n.alpha0, n.beta0, n.clip)
        store(row.cell, unit, quotient(update))
        reset = f(total(row, 1, v, 1, at), n.alpha0, n.beta0, n.clip)
        store(row.reset, unit, quotient(reset) * state)
        return state

    @njit
    def candidate(row: Row, v: int, at: int, n: Numbers) -> Any:
        """H = (1 - z) g(X W + (r H) R + b) + z H."""
        unit = v * lanes + row.lane
        new = g(later_total(row, 2, v, 0, at), n.alpha1, n.beta1, n.clip)
        return updated(load(row.cell, unit), quotient(new), load(row.state, unit))

    return gates, candidate


def _gru_linear(of: Arithmetic, f: Any, g: Any) -> Any:
    load, fma, lanes, updated = of.load, of.fma, of.lanes, _updated(of)
    total = _sum(of, 3, 3)

    @njit
    def phase(row: Row, v: int, at: int, n: Numbers) -> Any:
        """H = (1 - z) g(X W + r (H R + b)) + z H."""
        unit = v * lanes + row.lane
        update = f(total(row, 0, v, 0, at), n.alpha0, n.beta0, n.clip)
        reset = f(total(row, 1, v, 1, at), n.alpha0, n.beta0, n.clip)
        recurrent = load(row.sums, (at * 3 + 2) * lanes + row.lane)
        if row.bias != 0:
            recurrent = recurrent + load(row.bias, unit)
        x = fma(quotient(reset), recurrent, load(row.inputs, (v * 3 + 2) * lanes + row.lane))
        new = g(x, n.alpha1, n.beta1, n.clip)
        return updated(quotient(update), quotient(new), load(row.state, unit))

    return phase
