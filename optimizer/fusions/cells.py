"""One step of a recurrent layer: which cell computes the new state, and with which weights.

The formulas are those of the standard's GRU, LSTM and RNN. Gates are affine forms of the step's
input and of the state before it, so that it does not matter how an exporter has written them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from ..rewrite import NearMiss, either, find
from .affine_forms import Affine, affine


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
    attributes: dict[str, int] = field(default_factory=dict)


def find_cell(states: Sequence[tuple[ir.Value, ir.Value]], hidden: int) -> Cell:
    """Recognise the cell that makes new states of old ones.

    Parameters
    ----------
    states : sequence of (before, after)
        One pair, or two for an LSTM: the hidden state and the cell state.
    hidden : int
        Columns of a state.

    Raises
    ------
    NearMiss
        It is none, or one whose gates are no products with constants; says why.
    """
    if len(states) == 2:
        return _lstm(states[0], states[1], hidden)
    before, after = states[0]
    for bound in find(_GRU_STATE, after):
        if bound["h"] is before:
            return _gru(before, bound["z"], bound["candidate"], hidden)
    if (node := after.producer()) is not None and node.op_type == "Tanh":
        gates = _Gates(before, hidden)
        gates.take(affine(_activated(after, "Tanh", "new state")), "new state")
        return gates.cell("RNN")
    made = "no node of the body" if node is None else node.op_type
    raise NearMiss(f"the new state, made by {made}, is neither that of a GRU nor of an RNN")


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
        if form.added:
            named = ", ".join(repr(value.name) for value in form.added)
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

    def cell(self, op_type: str, **attributes: int) -> Cell:
        """Put the gates together; one without a product has zeros for weights."""
        inputs = next((w.shape[0] for w, *_ in self._parts if w is not None), None)
        if self._x is None or inputs is None:
            raise NearMiss("no gate reads an input of the step")
        shapes = ((inputs, self._hidden), (self._hidden, self._hidden))
        columns: list[list[np.ndarray]] = [[], [], [], []]
        for part in self._parts:
            for index, shape in enumerate(shapes):
                matrix = part[index]
                made = np.zeros(shape, np.float32) if matrix is None else matrix
                if made.shape != shape:
                    raise NearMiss(f"a gate's weights are of shape {made.shape}, not {shape}")
                columns[index].append(made)
            for index in (2, 3):
                bias = part[index]
                assert bias is not None
                if bias.size not in (1, self._hidden):
                    raise NearMiss(f"a bias has {bias.size} elements, not {self._hidden}")
                columns[index].append(np.broadcast_to(bias, self._hidden))
        w, r, wb, rb = (np.stack(column).astype(np.float32) for column in columns)
        return Cell(op_type, self._x, w, r, wb, rb, attributes)


def _activated(value: ir.Value, wanted: str, name: str) -> ir.Value:
    """Return what an activation is applied to."""
    node = value.producer()
    if node is None or node.op_type != wanted or node.domain or node.inputs[0] is None:
        made = "no node of the body" if node is None else node.op_type
        raise NearMiss(f"the {name} is made by {made}, not by {wanted}")
    return node.inputs[0]


def _gru(h: ir.Value, z: ir.Value, candidate: ir.Value, hidden: int) -> Cell:
    gates = _Gates(h, hidden)
    gates.take(affine(_activated(z, "Sigmoid", "update gate")), "update gate")
    form = affine(_activated(candidate, "Tanh", "candidate"))
    if len(form.added) == 1:
        r, after = _reset_after(form.added[0], h)
        if h in form.products:
            raise NearMiss("the candidate reads the state without a reset gate, too")
        gates.take(affine(_activated(r, "Sigmoid", "reset gate")), "reset gate")
        whole = Affine({**form.products, **after.products}, form.bias)
        gates.take(whole, "candidate", recurrent_bias=after.bias)
        return gates.cell("GRU", linear_before_reset=1)
    for value in form.products:
        for bound in find(lambda r, state: r * state, value):
            if bound["state"] is h:
                gates.take(affine(_activated(bound["r"], "Sigmoid", "reset gate")), "reset gate")
                gates.take(form, "candidate", state=value)
                return gates.cell("GRU")
    raise NearMiss("the candidate reads no state behind a reset gate")


def _reset_after(value: ir.Value, h: ir.Value) -> tuple[ir.Value, Affine]:
    """Find the gate and the product of the state in ``r * (h @ R + b)``."""
    for bound in find(lambda r, product: r * product, value):
        form = affine(bound["product"])
        if not form.added and list(form.products) == [h]:
            return bound["r"], form
    raise NearMiss(f"the candidate adds {value.name!r}, no product of the state behind a gate")


def _lstm(
    hidden_state: tuple[ir.Value, ir.Value], cell_state: tuple[ir.Value, ir.Value], hidden: int
) -> Cell:
    (h, new_h), (c, new_c) = hidden_state, cell_state
    for bound in find(lambda o, activated: o * activated, new_h):
        node = bound["activated"].producer()
        if node is not None and node.op_type == "Tanh" and node.inputs[0] is new_c:
            output = bound["o"]
            break
    else:
        raise NearMiss("the new hidden state is no gate times Tanh of the new cell state")
    for bound in find(lambda f, c, i, candidate: f * c + i * candidate, new_c):
        made = bound["candidate"].producer()
        if bound["c"] is c and made is not None and made.op_type == "Tanh":
            break
    else:
        raise NearMiss("the new cell state is no sum of the old one and Tanh behind gates")
    gates = _Gates(h, hidden)
    for value, name in ((bound["i"], "input"), (output, "output"), (bound["f"], "forget")):
        gates.take(affine(_activated(value, "Sigmoid", f"{name} gate")), f"{name} gate")
    gates.take(affine(_activated(bound["candidate"], "Tanh", "candidate")), "candidate")
    return gates.cell("LSTM")
