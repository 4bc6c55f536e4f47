"""Recurrent layers of Keras on PyTorch and JAX, exported as the operators LSTM, GRU and RNN.

Both backends write a layer out for every step (or as a loop), each in its own way. Here a layer's
loop over steps is replaced while the model is traced: by one operator for each cell, which the
backend's exporter takes as it is. The rest is written in ``keras.ops``, the same for both.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from ..operators import Operator
from ..torch.operators import operator as torch_operator
from .jax_operators import operator as jax_operator

Attributes = dict[str, Any]

_ACTIVATIONS: dict[str, tuple[str, dict[str, float]]] = {
    "elu": ("Elu", {"alpha": 1.0}),
    "hard_sigmoid": ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}),
    "linear": ("Affine", {"alpha": 1.0, "beta": 0.0}),
    "relu": ("Relu", {}),
    "sigmoid": ("Sigmoid", {}),
    "softplus": ("Softplus", {}),
    "softsign": ("Softsign", {}),
    "tanh": ("Tanh", {}),
}
_CELLS = {
    "LSTMCell": ("LSTM", (0, 3, 1, 2)),
    "GRUCell": ("GRU", (0, 1, 2)),
    "SimpleRNNCell": ("RNN", (0,)),
}
"""The operator of a cell, and where Keras has the gates that are first, second... in it."""


def loop_as_operators(original: Callable[..., Any]) -> Callable[..., Any]:
    """Return ``inner_loop`` of a recurrent layer that applies an operator for each cell.

    Layers with cells or activations that the operators do not have stay as they are.
    """

    def inner_loop(
        self: Any, sequences: Any, initial_state: Any, mask: Any, training: bool = False
    ) -> Any:
        cells = _cells(self.cell)
        if cells is None or training:
            return original(self, sequences, initial_state, mask, training=training)
        return _Layer(self).run(cells, sequences, initial_state, mask)

    return inner_loop


def _cells(cell: Any) -> list[tuple[Any, Attributes]] | None:
    """Cells that take one after the other's output, with attributes for their activations.

    None when there is no operator for one.
    """
    from keras import layers

    cells = list(cell.cells) if type(cell) is layers.StackedRNNCells else [cell]
    pairs = []
    for each in cells:
        name = type(each).__name__
        if name not in _CELLS or type(each) is not getattr(layers, name):
            return None
        attributes = _activations(each)
        if attributes is None:
            return None
        pairs.append((each, attributes))
    return pairs


def _activations(cell: Any) -> Attributes | None:
    """Attributes for a cell's activations; None when the operators do not have one."""
    from keras import activations

    functions = [cell.activation]
    if hasattr(cell, "recurrent_activation"):
        functions.insert(0, cell.recurrent_activation)
    if type(cell).__name__ == "LSTMCell":
        functions.append(cell.activation)
    keras_names = {getattr(activations, name): name for name in _ACTIVATIONS}
    names: list[str] = []
    numbers: dict[str, list[float]] = {"activation_alpha": [], "activation_beta": []}
    for function in functions:
        if function not in keras_names:
            return None
        name, parameters = _ACTIVATIONS[keras_names[function]]
        names.append(name)
        for key, number in parameters.items():
            numbers[f"activation_{key}"].append(number)
    return {"activations": names, **{key: values for key, values in numbers.items() if values}}


@dataclass(frozen=True)
class _Mask:
    """Unmasked steps of a batch of sequences, and the order that has them first.

    Attributes
    ----------
    order : tensor (steps, batch, 1)
        Indices of the steps, unmasked ones first.
    lengths : tensor (batch,)
        Numbers of unmasked steps.
    counts : tensor (steps, batch, 1)
        Numbers of unmasked steps up to each.
    steps : tensor (steps, batch, 1)
        True where a step is not masked.
    """

    order: Any
    lengths: Any
    counts: Any
    steps: Any


class _Layer:
    """The loop of one layer over its steps, steps first."""

    def __init__(self, layer: Any) -> None:
        import keras

        on_torch = keras.backend.backend() == "torch"
        self._operator: Operator = torch_operator if on_torch else jax_operator
        self._keras, self._ops, self._layer = keras, keras.ops, layer

    def run(
        self, cells: list[tuple[Any, Attributes]], sequences: Any, states: Any, mask: Any
    ) -> tuple[Any, Any, Any]:
        """Return the last output, all outputs of shape (batch, steps, hidden), and the states."""
        ops = self._ops
        if self._keras.tree.is_nested(mask):
            mask = self._keras.tree.flatten(mask)[0]
        y = ops.transpose(sequences, (1, 0, 2))
        if self._layer.go_backwards:
            y = ops.flip(y, axis=0)
        front = None if mask is None else self._front(mask)
        if front is not None:
            y = self._gather(y, front.order)
        initial = self._keras.tree.flatten(states)
        final: list[Any] = []
        for cell, activations in cells:
            count = 2 if type(cell).__name__ == "LSTMCell" else 1
            before = initial[len(final) : len(final) + count]
            y, after = self._cell(cell, activations, y, before, front)
            final += after
        if front is not None:
            y = self._back(y, front)
        outputs = ops.transpose(y, (1, 0, 2))
        last_output = final[-count] if front is None else y[-1]
        return last_output, outputs, self._keras.tree.pack_sequence_as(states, final)

    def _cell(
        self, cell: Any, activations: Attributes, x: Any, states: list[Any], front: _Mask | None
    ) -> tuple[Any, list[Any]]:
        """Do all steps of a cell; returns (steps, batch, hidden) and the states after them."""
        ops = self._ops
        op_type, order = _CELLS[type(cell).__name__]
        attributes = {"hidden_size": int(cell.units), **activations}
        bias = cell.bias
        if op_type == "GRU":
            attributes["linear_before_reset"] = int(cell.reset_after)
        weights = [self._gates(matrix, order) for matrix in (cell.kernel, cell.recurrent_kernel)]
        if bias is not None:
            two = len(bias.shape) == 2  # a GRU's for the input and the state
            own = self._gates(bias[:1] if two else bias[None], order)
            other = self._gates(bias[1:], order) if two else ops.zeros_like(own)
            bias = ops.reshape(ops.concatenate([own, other], axis=0), (1, -1))
        lengths = None if front is None else front.lengths
        inputs = [x, *(w[None] for w in weights), bias, lengths, *(state[None] for state in states)]
        steps, batch, _ = x.shape
        shapes = [(steps, 1, batch, cell.units), *[(1, batch, cell.units)] * len(states)]
        outputs = [(shape, self._type(x)) for shape in shapes]
        y, *last = self._operator(op_type, inputs, attributes, outputs)
        states = [
            state[0] if front is None else self._last(state[0], before, front)
            for state, before in zip(last, states, strict=True)
        ]
        return y[:, 0], states

    def _gates(self, matrix: Any, order: Sequence[int]) -> Any:
        """Rows of gates in the operator's order, from columns in that of Keras."""
        ops = self._ops
        parts = ops.split(ops.convert_to_tensor(matrix), len(order), axis=-1)
        return ops.transpose(ops.concatenate([parts[gate] for gate in order], axis=-1))

    def _front(self, mask: Any) -> _Mask:
        ops = self._ops
        steps = ops.cast(mask, "bool")
        steps = ops.transpose(steps if len(steps.shape) == 3 else steps[..., None], (1, 0, 2))
        if self._layer.go_backwards:
            steps = ops.flip(steps, axis=0)
        counts = ops.cumsum(ops.cast(steps, "int32"), axis=0)
        ranks = ops.where(steps, counts, 2**30)  # masked steps after all others
        count = self._operator("Shape", [ranks], {"start": 0, "end": 1}, [((1,), "int64")])
        _, order = self._operator(
            "TopK", [ranks, *count], {"axis": 0, "largest": 0},
            [(ranks.shape, "int32"), (ranks.shape, "int64")],
        )  # fmt: skip
        return _Mask(order, counts[-1, :, 0], counts, steps)

    def _gather(self, x: Any, steps: Any) -> Any:
        """Return the rows at indices of steps of shape (steps, batch, 1)."""
        shape = self._operator("Shape", [x], {}, [((3,), "int64")])
        whole = [(x.shape, self._type(steps))]
        indices = self._operator("Expand", [steps, *shape], {}, whole)
        return self._operator(
            "GatherElements", [x, *indices], {"axis": 0}, [(x.shape, self._type(x))]
        )[0]

    def _type(self, x: Any) -> str:
        return str(self._keras.backend.standardize_dtype(x.dtype))

    def _back(self, y: Any, front: _Mask) -> Any:
        """Give each step its output; a masked one has the output before, or zeros."""
        ops = self._ops
        outputs = self._gather(y, ops.maximum(front.counts - 1, 0))
        nonzero = front.steps if self._layer.zero_output_for_mask else front.counts > 0
        return ops.where(nonzero, outputs, ops.zeros_like(outputs))

    def _last(self, state: Any, before: Any, front: _Mask) -> Any:
        """Return the state; of a sequence whose steps are all masked, that before."""
        return self._ops.where((front.lengths > 0)[:, None], state, before)
