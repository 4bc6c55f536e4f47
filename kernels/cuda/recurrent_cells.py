"""Cells of recurrent layers on a GPU: what a thread computes for a hidden unit at a step.

The formulas are those of the standard's LSTM, GRU and RNN. A cell is done in one phase or, where a
product needs what others gave (the reset state of a GRU), in two.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from .functions import device_function
from .memory import LOAD, STORE
from .recurrent_functions import NUMBERS, activation

GATES = {"lstm": 4, "gru": 3, "gru_linear": 3, "rnn": 1}


class Phases(NamedTuple):
    """Functions of a hidden unit's phases; the second is None where there is one phase.

    They take the number of the unit, that of units, then addresses: of the products with the input,
    of the hidden state, of the weights, of cell and reset state, of bias and peepholes; and the
    numbers of three activations with a threshold. They return the new hidden state.
    """

    first: Any
    second: Any = None


def phases_of(cell: str, names: tuple[str, ...], options: str, clips: bool, kind: str) -> Phases:
    """Return the functions of a cell; the parameters are those of the CPU's ``cell_phases``."""
    functions = [activation(name, clips and i < 2, kind) for i, name in enumerate(names)]
    if cell == "lstm":
        f, g, h = functions
        return _lstm(kind, f, g, h, "coupled" in options, "peepholes" in options)
    if cell == "rnn":
        return _rnn(kind, *functions)
    return (_gru if cell == "gru" else _gru_linear)(kind, *functions)


def _sums(gates: int, kind: str) -> tuple[Any, Any]:
    """Return a unit's product with a state, of one gate, and its sum with that of the input.

    Weights lie as (hidden unit of the state, gate, hidden unit): neighbouring threads read
    neighbouring ones.
    """
    load, number = LOAD[kind], NUMBERS[kind]

    @device_function(number.__name__)
    def product(state: Any, w: Any, gate: Any, unit: Any, size: Any) -> Any:
        total = number(0)
        for k in range(size):
            total += load(state, k) * load(w, (k * gates + gate) * size + unit)
        return total

    @device_function(number.__name__)
    def total(inputs: Any, state: Any, w: Any, gate: Any, unit: Any, size: Any) -> Any:
        return load(inputs, gate * size + unit) + product(state, w, gate, unit, size)

    return product, total


def _rnn(kind: str, f: Any) -> Phases:
    _, total = _sums(1, kind)

    @device_function(NUMBERS[kind].__name__)
    def phase(
        unit: Any, size: Any, inputs: Any, state: Any, w: Any, cell: Any, reset: Any, bias: Any,
        peepholes: Any, a0: Any, b0: Any, a1: Any, b1: Any, a2: Any, b2: Any, clip: Any,
    ) -> Any:  # fmt: skip
        """H = f(X W + H R + b)."""
        return f(total(inputs, state, w, 0, unit, size), a0, b0, clip)

    return Phases(phase)


def _lstm(kind: str, f: Any, g: Any, h: Any, coupled: bool, peepholes_are: bool) -> Phases:
    load, store, number = LOAD[kind], STORE[kind], NUMBERS[kind]
    _, total = _sums(4, kind)

    @device_function(number.__name__)
    def seen(peepholes: Any, gate: Any, unit: Any, size: Any, c: Any) -> Any:
        """What a gate sees of the cell state; of three, in the order i, o, f."""
        return load(peepholes, gate * size + unit) * c if peepholes_are else number(0)

    @device_function(number.__name__)
    def phase(
        unit: Any, size: Any, inputs: Any, state: Any, w: Any, cell: Any, reset: Any, bias: Any,
        peepholes: Any, a0: Any, b0: Any, a1: Any, b1: Any, a2: Any, b2: Any, clip: Any,
    ) -> Any:  # fmt: skip
        """C = f C + i g(...), H = o h(C); gates in the order i, o, f, c."""
        c = load(cell, unit)
        x = total(inputs, state, w, 0, unit, size) + seen(peepholes, 0, unit, size, c)
        i = f(x, a0, b0, clip)
        if coupled:
            forget = number(1) - i
        else:
            x = total(inputs, state, w, 2, unit, size) + seen(peepholes, 2, unit, size, c)
            forget = f(x, a0, b0, clip)
        c = number(forget * c + i * g(total(inputs, state, w, 3, unit, size), a1, b1, clip))
        store(cell, unit, c)
        x = total(inputs, state, w, 1, unit, size) + seen(peepholes, 1, unit, size, c)
        return f(x, a0, b0, clip) * h(c, a2, b2, clip)

    return Phases(phase)


def _gru(kind: str, f: Any, g: Any) -> Phases:
    load, store, number = LOAD[kind], STORE[kind], NUMBERS[kind]
    _, total = _sums(3, kind)

    @device_function(number.__name__)
    def gates(
        unit: Any, size: Any, inputs: Any, state: Any, w: Any, cell: Any, reset: Any, bias: Any,
        peepholes: Any, a0: Any, b0: Any, a1: Any, b1: Any, a2: Any, b2: Any, clip: Any,
    ) -> Any:  # fmt: skip
        """Update and reset gate; keeps the first, and the state that the second leaves."""
        store(cell, unit, f(total(inputs, state, w, 0, unit, size), a0, b0, clip))
        kept = f(total(inputs, state, w, 1, unit, size), a0, b0, clip)
        store(reset, unit, number(kept * load(state, unit)))
        return number(0)

    @device_function(number.__name__)
    def candidate(
        unit: Any, size: Any, inputs: Any, state: Any, w: Any, cell: Any, reset: Any, bias: Any,
        peepholes: Any, a0: Any, b0: Any, a1: Any, b1: Any, a2: Any, b2: Any, clip: Any,
    ) -> Any:  # fmt: skip
        """H = (1 - z) g(X W + (r H) R + b) + z H."""
        new, update = g(total(inputs, reset, w, 2, unit, size), a1, b1, clip), load(cell, unit)
        return update * load(state, unit) + (number(1) - update) * new

    return Phases(gates, candidate)


def _gru_linear(kind: str, f: Any, g: Any) -> Phases:
    load, number = LOAD[kind], NUMBERS[kind]
    product, total = _sums(3, kind)

    @device_function(number.__name__)
    def phase(
        unit: Any, size: Any, inputs: Any, state: Any, w: Any, cell: Any, reset: Any, bias: Any,
        peepholes: Any, a0: Any, b0: Any, a1: Any, b1: Any, a2: Any, b2: Any, clip: Any,
    ) -> Any:  # fmt: skip
        """H = (1 - z) g(X W + r (H R + b)) + z H."""
        update = f(total(inputs, state, w, 0, unit, size), a0, b0, clip)
        kept = f(total(inputs, state, w, 1, unit, size), a0, b0, clip)
        recurrent = product(state, w, 2, unit, size)
        if bias != 0:
            recurrent += load(bias, unit)
        new = g(number(kept * recurrent + load(inputs, 2 * size + unit)), a1, b1, clip)
        return update * load(state, unit) + (number(1) - update) * new

    return Phases(phase)
