"""Cells of recurrent layers: what follows the sums of a step, a vector of units at a time.

The formulas are those of the standard's LSTM, GRU and RNN. A cell is done in one phase or, where a
product needs what others gave (the reset state of a GRU), in two.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
from numba import njit

from .. import vmath
from ..registry import Pointer
from ..simd import fma, select, splat, vabs, vload, vmax, vmin, vstore
from ..target import LANES
from ..vmath import c

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
    gates of a vector of units side by side. ``state`` is the hidden state before the step, ``new``
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


# --- activations ------------------------------------------------------------------------------


def _softplus(x: Any, a: Any, b: Any) -> Any:
    return vmax(x, c(0.0)) + vmath.log(c(1.0) + vmath.exp(-vabs(x)))


_ACTIVATIONS: dict[str, Callable[[Any, Any, Any], Any]] = {
    "affine": lambda x, a, b: fma(a, x, b),
    "elu": lambda x, a, b: select(x < c(0.0), a * (vmath.exp(x) - c(1.0)), x),
    "hardsigmoid": lambda x, a, b: vmin(vmax(fma(a, x, b), c(0.0)), c(1.0)),
    "leakyrelu": lambda x, a, b: select(x < c(0.0), a * x, x),
    "relu": lambda x, a, b: select(x < c(0.0), c(0.0), x),
    "scaledtanh": lambda x, a, b: a * vmath.tanh(b * x),
    "sigmoid": lambda x, a, b: vmath.sigmoid(x),
    "softplus": _softplus,
    "softsign": lambda x, a, b: x / (c(1.0) + vabs(x)),
    "tanh": lambda x, a, b: vmath.tanh(x),
    "thresholdedrelu": lambda x, a, b: select(x > a, x, select(x != x, x, c(0.0))),
}


def _activation(name: str, clips: bool) -> Any:
    function = njit(_ACTIVATIONS[name])
    if not clips:
        return njit(lambda x, a, b, clip: function(x, splat(np.float32(a)), splat(np.float32(b))))

    @njit
    def clipped(x: Any, a: float, b: float, clip: float) -> Any:
        most = splat(np.float32(clip))
        inside = select(x > most, most, select(x < -most, -most, x))
        return function(inside, splat(np.float32(a)), splat(np.float32(b)))

    return clipped


# --- cells ------------------------------------------------------------------------------------


def cell_phases(cell: str, names: tuple[str, ...], clips: bool, options: str) -> tuple[Any, Any]:
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

    Returns
    -------
    (function, function)
        Each takes a `Row`, the number of a vector of units in its arrays, that in ``sums``, and
        `Numbers`; returns the vector of the new hidden state.
    """
    # As onnxruntime has it: the gates are clipped, not the cell state before its output.
    functions = [_activation(name, clips and i < 2) for i, name in enumerate(names)]
    if cell == "rnn":
        return (_rnn(*functions),) * 2
    if cell == "gru_linear":
        return (_gru_linear(*functions),) * 2
    if cell == "gru":
        return _gru(*functions)
    f, g, h = functions
    return (_lstm(f, g, h, "coupled" in options, "peepholes" in options),) * 2


@njit
def _sum(row: Row, gates: int, gate: int, at: int, v: int, summed: int, position: int) -> Any:
    """Sum of both products of a gate: one of ``gates``; of ``summed`` it is at ``position``."""
    recurrent = vload(row.sums, (at * summed + position) * LANES)
    return vload(row.inputs, (v * gates + gate) * LANES) + recurrent


def _rnn(f: Any) -> Any:
    @njit
    def phase(row: Row, v: int, at: int, n: Numbers) -> Any:
        """H = f(X W + H R + b)."""
        return f(_sum(row, 1, 0, at, v, 1, 0), n.alpha0, n.beta0, n.clip)

    return phase


def _lstm(f: Any, g: Any, h: Any, coupled: bool, peepholes: bool) -> Any:
    @njit
    def seen(row: Row, gate: int, v: int, x: Any, cell: Any) -> Any:
        """Add what a gate sees of the cell state."""
        if peepholes:
            return fma(vload(row.peepholes, (v * 3 + gate) * LANES), cell, x)
        return x

    @njit
    def phase(row: Row, v: int, at: int, n: Numbers) -> Any:
        """C = f C + i g(...), H = o h(C); gates in the order i, o, f, c."""
        cell = vload(row.cell, v * LANES)
        i = f(seen(row, 0, v, _sum(row, 4, 0, at, v, 4, 0), cell), n.alpha0, n.beta0, n.clip)
        if coupled:
            forget = c(1.0) - i
        else:
            x = seen(row, 2, v, _sum(row, 4, 2, at, v, 4, 2), cell)
            forget = f(x, n.alpha0, n.beta0, n.clip)
        cell = fma(forget, cell, i * g(_sum(row, 4, 3, at, v, 4, 3), n.alpha1, n.beta1, n.clip))
        vstore(row.cell, v * LANES, cell)
        o = f(seen(row, 1, v, _sum(row, 4, 1, at, v, 4, 1), cell), n.alpha0, n.beta0, n.clip)
        return o * h(cell, n.alpha2, n.beta2, n.clip)

    return phase


@njit
def _updated(update: Any, new: Any, state: Any) -> Any:
    """Return (1 - z) new + z H."""
    return fma(update, state, (c(1.0) - update) * new)


def _gru(f: Any, g: Any) -> tuple[Any, Any]:
    @njit
    def gates(row: Row, v: int, at: int, n: Numbers) -> Any:
        """Update and reset gate; keeps the first, and the state that the second leaves."""
        update = f(_sum(row, 3, 0, at, v, 2, 0), n.alpha0, n.beta0, n.clip)
        reset = f(_sum(row, 3, 1, at, v, 2, 1), n.alpha0, n.beta0, n.clip)
        vstore(row.cell, v * LANES, update)
        state = vload(row.state, v * LANES)
        vstore(row.reset, v * LANES, reset * state)
        return state

    @njit
    def candidate(row: Row, v: int, at: int, n: Numbers) -> Any:
        """H = (1 - z) g(X W + (r H) R + b) + z H."""
        new = g(_sum(row, 3, 2, at, v, 1, 0), n.alpha1, n.beta1, n.clip)
        return _updated(vload(row.cell, v * LANES), new, vload(row.state, v * LANES))

    return gates, candidate


def _gru_linear(f: Any, g: Any) -> Any:
    @njit
    def phase(row: Row, v: int, at: int, n: Numbers) -> Any:
        """H = (1 - z) g(X W + r (H R + b)) + z H."""
        update = f(_sum(row, 3, 0, at, v, 3, 0), n.alpha0, n.beta0, n.clip)
        reset = f(_sum(row, 3, 1, at, v, 3, 1), n.alpha0, n.beta0, n.clip)
        recurrent = vload(row.sums, (at * 3 + 2) * LANES)
        if row.bias != 0:
            recurrent = recurrent + vload(row.bias, v * LANES)
        x = fma(reset, recurrent, vload(row.inputs, (v * 3 + 2) * LANES))
        new = g(x, n.alpha1, n.beta1, n.clip)
        return _updated(update, new, vload(row.state, v * LANES))

    return phase
