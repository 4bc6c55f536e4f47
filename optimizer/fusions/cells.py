"""Cells of recurrent layers: the operator that computes a step, and its weights.

The formulas are those of the standard's GRU, LSTM and RNN. Gates are affine forms of the step's
input and of the state before it, so that it does not matter how an exporter has written them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from ..rewrite import NearMiss, either, find, op
from ..values import scalar
from .affine_forms import Affine, affine

_Function = tuple[str, *tuple[float, ...]]
"""An activation by the name of its operator, and its alpha and beta where it has them."""

_FUNCTIONS: dict[str, dict[str, float]] = {
    **{name: {} for name in ("Relu", "Sigmoid", "Softplus", "Softsign", "Tanh")},
    "Affine": {"alpha": 1.0, "beta": 0.0},
    "Elu": {"alpha": 1.0},
    "HardSigmoid": {"alpha": 0.2, "beta": 0.5},
    "LeakyRelu": {"alpha": 0.01},
}
"""Activations of recurrent operators, with the defaults of the operators of the same names."""

_LINEAR: _Function = ("Affine", *_FUNCTIONS["Affine"].values())

_DEFAULTS = {"GRU": ["Sigmoid", "Tanh"], "LSTM": ["Sigmoid", "Tanh", "Tanh"], "RNN": ["Tanh"]}


@dataclass(frozen=True)
class Cell:
    """A recurrent operator's weights, gates in the order of the standard.

    ``weights`` of shape (gates, inputs, hidden), ``recurrence`` (gates, hidden, hidden),
    ``input_bias`` and ``recurrent_bias`` (gates, hidden).
    """

    op_type: str
    x: ir.Value
    weights: np.ndarray
    recurrence: np.ndarray
    input_bias: np.ndarray
    recurrent_bias: np.ndarray
    attributes: dict[str, Any] = field(default_factory=dict)


def find_cell(states: Sequence[tuple[ir.Value, ir.Value]], hidden: int) -> Cell:
    """Recognise the cell that computes new states from old ones.

    Parameters
    ----------
    states : sequence of (before, after)
        One pair, or two for an LSTM: the hidden state and the cell state.
    hidden : int
        Columns of a state.

    Raises
    ------
    NearMiss
        It is no cell, or its gates are no products with constants; names the reason.
    """
    if len(states) == 2:
        return _lstm(states[0], states[1], hidden)
    before, after = states[0]
    for bound in find(_GRU_STATE, after):
        if bound["h"] is before:
            return _gru(before, bound["z"], bound["candidate"], hidden)
    try:
        form, function = _activated(after, "new state")
    except NearMiss as reason:
        raise NearMiss(f"{reason}, nor is it the state of a GRU") from None
    gates = _Gates(before, hidden)
    gates.take(form, "new state")
    return gates.cell("RNN", [function])


_GRU_STATE = lambda z, h, candidate: either(  # noqa: E731
    z * h + (1.0 - z) * candidate, candidate + z * (h - candidate)
)


class _Gates:
    """Collects the weights of gates; all of them read one input and one state."""

    def __init__(self, state: ir.Value, hidden: int) -> None:
        self._state, self._hidden = state, hidden
        self._x: ir.Value | None = None
        self._parts: list[tuple[np.ndarray | None, np.ndarray | None, np.ndarray, np.ndarray]] = []

    def take(
        self,
        form: Affine,
        name: str,
        state: ir.Value | None = None,
        recurrent_bias: np.ndarray | None = None,
    ) -> None:
        """Take a gate; ``state`` is what its recurrent product reads if not the state itself."""
        state = state or self._state
        if form.terms:
            named = ", ".join(repr(value.name) for value in form.terms)
            raise NearMiss(f"the {name} adds {named}, no product with a constant")
        for value in form.products:
            if value is not state:
                self._x = self._x or value
                if value is not self._x or value is self._state:
                    raise NearMiss(f"the {name} reads {value.name!r}, too")
        recurrence = form.products.get(state)
        bias = np.zeros(self._hidden, np.float32) if recurrent_bias is None else recurrent_bias
        self._parts.append((self._of_input(form), recurrence, form.bias, bias))

    def _of_input(self, form: Affine) -> np.ndarray | None:
        return None if self._x is None else form.products.get(self._x)

    def cell(self, op_type: str, functions: list[_Function], **attributes: int) -> Cell:
        """Put the gates together; one without a product has zeros for weights."""
        inputs = next((w.shape[0] for w, *_ in self._parts if w is not None), None)
        if self._x is None or inputs is None:
            raise NearMiss("no gate reads an input of the step")
        shapes = ((inputs, self._hidden), (self._hidden, self._hidden))
        columns: list[list[np.ndarray]] = [[], [], [], []]
        for part in self._parts:
            for index, shape in enumerate(shapes):
                matrix = part[index]
                weights = np.zeros(shape, np.float32) if matrix is None else matrix
                if weights.shape != shape:
                    raise NearMiss(f"a gate's weights are of shape {weights.shape}, not {shape}")
                columns[index].append(weights)
            for index in (2, 3):
                bias = part[index]
                assert bias is not None
                if bias.size not in (1, self._hidden):
                    raise NearMiss(f"a bias has {bias.size} elements, not {self._hidden}")
                columns[index].append(np.broadcast_to(bias, self._hidden))
        w, r, wb, rb = (np.stack(column).astype(np.float32) for column in columns)
        return Cell(op_type, self._x, w, r, wb, rb, _named(op_type, functions) | attributes)


def _activated(value: ir.Value, name: str) -> tuple[Affine, _Function]:
    """Affine form that an activation is applied to, and the activation."""
    limited = _limited(value)
    if limited is not None:
        return affine(limited[0]), ("HardSigmoid", limited[1], 0.0)
    node = value.producer()
    if node is None or node.op_type not in _FUNCTIONS or node.domain or node.inputs[0] is None:
        form = affine(value)
        if form.products:
            return form, _LINEAR
        producer = "no node of the body" if node is None else node.op_type
        raise NearMiss(f"the {name} is made by {producer}, which no recurrent operator applies")
    attributes = {name: item.as_float() for name, item in node.attributes.items()}
    numbers = {**_FUNCTIONS[node.op_type], **attributes}
    return affine(node.inputs[0]), (node.op_type, *numbers.values())


_LIMITS = lambda x, low, high: either(  # noqa: E731
    op.Clip(x, low, high), op.Max(op.Min(x, high), low), op.Min(op.Max(x, low), high)
)
_LIMITED = lambda x, low, high, k: _LIMITS(x, low, high) * k  # noqa: E731


def _limited(value: ir.Value) -> tuple[ir.Value, float] | None:
    """Find ``x`` and ``k`` where a value is that of ``k x`` between 0 and 1."""
    for pattern in (_LIMITS, _LIMITED):
        for bound in find(pattern, value):
            low, high = scalar(bound["low"]), scalar(bound["high"])
            k = scalar(bound["k"]) if "k" in bound else 1.0
            if low == 0.0 and high and k and abs(high * k - 1.0) < 1e-6:
                return bound["x"], k
    return None


def _named(op_type: str, functions: list[_Function]) -> dict[str, Any]:
    """Attributes for activations, where they are not the defaults of the operator."""
    names = [name for name, *_ in functions]
    if names == _DEFAULTS[op_type]:
        return {}
    numbers: dict[str, list[float]] = {"alpha": [], "beta": []}
    for name, *values in functions:
        for key, number in zip(_FUNCTIONS[name], values, strict=True):
            numbers[key].append(number)
    parameters = {f"activation_{key}": values for key, values in numbers.items() if values}
    return {"activations": names, **parameters}


def _gru(h: ir.Value, z: ir.Value, candidate: ir.Value, hidden: int) -> Cell:
    gates = _Gates(h, hidden)
    update, of_gates = _activated(z, "update gate")
    gates.take(update, "update gate")
    form, of_candidate = _activated(candidate, "candidate")
    functions = [of_gates, of_candidate]

    def take_reset(r: ir.Value) -> None:
        reset, function = _activated(r, "reset gate")
        _same(function, of_gates)
        gates.take(reset, "reset gate")

    if len(form.terms) == 1:
        r, after = _reset_after(form.terms[0], h)
        if h in form.products:
            raise NearMiss("the candidate reads the state without a reset gate, too")
        take_reset(r)
        whole = Affine({**form.products, **after.products}, form.bias)
        gates.take(whole, "candidate", recurrent_bias=after.bias)
        return gates.cell("GRU", functions, linear_before_reset=1)
    for value in form.products:
        for bound in find(lambda r, state: r * state, value):
            if bound["state"] is h:
                take_reset(bound["r"])
                gates.take(form, "candidate", state=value)
                return gates.cell("GRU", functions)
    raise NearMiss("the candidate reads no state behind a reset gate")


def _same(function: _Function, other: _Function) -> None:
    if function != other:
        raise NearMiss(f"one gate has {function[0]}, another {other[0]} or other numbers")


def _reset_after(value: ir.Value, h: ir.Value) -> tuple[ir.Value, Affine]:
    """Find the gate and the product of the state in ``r * (h @ R + b)``."""
    for bound in find(lambda r, product: r * product, value):
        form = affine(bound["product"])
        if not form.terms and list(form.products) == [h]:
            return bound["r"], form
    raise NearMiss(f"the candidate adds {value.name!r}, no product of the state behind a gate")


def _lstm(
    hidden_state: tuple[ir.Value, ir.Value], cell_state: tuple[ir.Value, ir.Value], hidden: int
) -> Cell:
    (h, new_h), (c, new_c) = hidden_state, cell_state
    for bound in find(lambda o, activated: o * activated, new_h):
        output, activated = bound["o"], bound["activated"]
        node = activated.producer()
        if activated is new_c:
            of_cell = _LINEAR
            break
        if node is not None and node.op_type in _FUNCTIONS and node.inputs[0] is new_c:
            of_cell = _activated(activated, "output")[1]
            break
    else:
        raise NearMiss("the new hidden state is no gate times an activation of the new cell state")
    reasons = []
    for bound in find(lambda f, c, i, candidate: f * c + i * candidate, new_c):
        if bound["c"] is c:
            try:
                return _lstm_of(h, bound, output, of_cell, hidden)
            except NearMiss as reason:
                reasons.append(reason)
    raise (
        reasons[0]
        if reasons
        else NearMiss("the new cell state is no sum of the old one and a candidate behind gates")
    )


def _lstm_of(
    h: ir.Value, parts: Mapping[str, ir.Value], output: ir.Value, of_cell: _Function, hidden: int
) -> Cell:
    gates = _Gates(h, hidden)
    form, of_gates = _activated(output, "output gate")
    for value, name in ((parts["i"], "input"), (output, "output"), (parts["f"], "forget")):
        form, function = _activated(value, f"{name} gate")
        _same(function, of_gates)
        gates.take(form, f"{name} gate")
    form, of_candidate = _activated(parts["candidate"], "candidate")
    gates.take(form, "candidate")
    return gates.cell("LSTM", [of_gates, of_candidate, of_cell])
