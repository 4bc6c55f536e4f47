"""Recurrent layers: Loops over the steps of a sequence become GRU, LSTM and RNN.

tf2onnx leaves every cell of Keras but the plain LSTM a Loop, with the products of each step in its
body. The operator computes the same steps, and the products with the input of all steps at once.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from ..edits import remove_with_body, replace_output
from ..loops import behind_identities
from ..report import Report
from ..rewrite import Builder, NearMiss
from ..sizes import extent
from ..values import graphs, rank
from ..zeros import is_zero
from .cells import Cell, find_cell
from .masked import Masked, find_mask
from .steps import Steps, element, steps


def fuse_recurrent(model: ir.Model, report: Report) -> int:
    """Replace Loops by recurrent operators; returns how many."""
    if model.opset_imports.get("", 1) < 13:
        return 0  # since then, the axes of Squeeze and Unsqueeze are inputs
    count = 0
    for graph in list(graphs(model)):
        for node in list(graph):
            if node.op_type == "Loop" and not node.domain and _may_be_recurrent(node):
                count += _fuse(node, report)
    return count


def _may_be_recurrent(loop: ir.Node) -> bool:
    """Tell whether a Loop carries tensors that are no scalars, and multiplies matrices."""
    body = loop.attributes["body"].as_graph()
    carried = any(rank(value) != 0 for value in loop.inputs[2:])
    return carried and any(node.op_type in ("MatMul", "Gemm") for node in body)


def _fuse(loop: ir.Node, report: Report) -> int:
    subject = f"recurrent layer in {loop.name!r}"
    try:
        layer = _recognise(loop)
    except NearMiss as reason:
        report.explain(f"{subject} not fused: {reason}", subject, loop)
        return 0
    _replace(loop, layer)
    report.explain(f"{subject} fused: {layer.cell.op_type}", subject)
    return 1


@dataclass(frozen=True)
class _Layer:
    """A recurrent layer: its cell, sequence, states and mask."""

    cell: Cell
    sequence: ir.Value
    """Of shape (length, batch, inputs)."""
    states: tuple[int, ...]
    """Numbers of the hidden and the cell state among the states of the Loop."""
    initial: tuple[ir.Value | None, ...]
    """Initial states, of shape (batch, hidden); None for zeros."""
    masked: Masked | None
    """Mask of steps that leave the states as they are."""


def _recognise(loop: ir.Node) -> _Layer:
    loop_steps = steps(loop)
    carried = [k for k in range(len(loop.inputs) - 2) if k not in loop_steps.counting]
    masked = find_mask(loop, loop_steps, carried)
    if masked is not None:
        carried = [k for k in carried if k not in masked.outputs]
    if not 1 <= len(carried) <= 2:
        raise NearMiss(f"it carries {len(carried)} states besides the number of the step")
    hidden = _hidden_size(loop, carried)
    for k in carried:
        if loop.inputs[2 + k].dtype != ir.DataType.FLOAT:  # type: ignore[union-attr]
            raise NearMiss("it is not float32")
    after = {k: loop_steps.after(k) if masked is None else masked.new(k) for k in carried}
    states, cell = _cell(loop_steps, after, hidden)
    sequence = element(cell.x, loop_steps)
    initial = tuple(_initial(loop.inputs[2 + k], sequence) for k in states)
    layer = _Layer(cell, sequence, states, initial, masked)
    if masked is None:
        _check_results(loop, layer, loop_steps)
    else:
        masked.check(loop, states[0], sequence)
    return layer


def _hidden_size(loop: ir.Node, carried: list[int]) -> int:
    sizes = {extent(loop.inputs[2 + k], 1) for k in carried}
    size = sizes.pop()
    if sizes or not isinstance(size, int):
        raise NearMiss("the number of columns of its states is not known")
    if any(rank(loop.inputs[2 + k]) != 2 for k in carried):
        raise NearMiss("its states are not of shape (batch, hidden)")
    return size


def _cell(
    loop_steps: Steps, after: dict[int, ir.Value], hidden: int
) -> tuple[tuple[int, ...], Cell]:
    """Find the cell, and the numbers of its states in the order of the operator's."""
    reasons = []
    for order in itertools.permutations(after):
        pairs = [(loop_steps.before(k), behind_identities(after[k])) for k in order]
        try:
            return order, find_cell(pairs, hidden)
        except NearMiss as reason:
            reasons.append(str(reason))
    raise NearMiss(min(reasons, key=lambda text: text.startswith("the new hidden state is no")))


def _initial(value: ir.Value | None, sequence: ir.Value) -> ir.Value | None:
    """Initial state, None where it is zero."""
    assert value is not None
    batch = extent(sequence, 1)
    if batch is None or extent(value, 0) != batch:
        raise NearMiss(
            f"the state {value.name!r} has {extent(value, 0)} rows, the sequence's elements {batch}"
        )
    return None if is_zero(value) else value


def _check_results(loop: ir.Node, layer: _Layer, loop_steps: Steps) -> None:
    """Check that the recurrent operator computes every result of the Loop that is used."""
    hidden = behind_identities(loop_steps.after(layer.states[0]))
    states = max(len(loop.inputs) - 2, 0)
    for index, output in enumerate(loop.outputs):
        if not (output.uses() or output.is_graph_output()):
            continue
        if index < states and index not in layer.states:
            raise NearMiss(f"{output.name!r}, the number of steps, is used")
        if index >= states and behind_identities(loop_steps.after(index)) is not hidden:
            raise NearMiss(f"{output.name!r} is used, and collects other than hidden states")


def _replace(loop: ir.Node, layer: _Layer) -> None:
    op: Any = Builder(loop)
    masked, sequence, lengths = layer.masked, layer.sequence, None
    if masked is not None:
        sequence, lengths = masked.to_front(op, sequence)
    inputs = [sequence, *_weights(layer.cell), lengths]
    inputs += [None if x is None else op.Unsqueeze(x, np.array([0])) for x in layer.initial]
    while inputs[-1] is None:
        inputs.pop()
    length, batch = extent(sequence, 0), extent(sequence, 1)
    hidden, count = layer.cell.recurrence.shape[-1], 1 + len(layer.states)
    options = {"hidden_size": hidden, **layer.cell.attributes}
    outputs = op.results(layer.cell.op_type, inputs, count, **options)
    shapes = [[length, 1, batch, hidden], *([[1, batch, hidden]] * len(layer.states))]
    squeezed = []
    for axis, value, shape in zip([1, 0, 0], outputs, shapes, strict=False):
        _describe(value, shape)
        squeezed.append(op.Squeeze(value, np.array([axis])))
        _describe(squeezed[-1], shape[:axis] + shape[axis + 1 :])
    if masked is None:
        results = _results(loop, layer, squeezed)
    else:
        results = masked.results(op, loop, layer.states, layer.initial, squeezed)
    pairs = list(results)
    op.commit()
    for output, value in pairs:
        replace_output(output, value)
    remove_with_body(loop)


def _describe(value: ir.Value, shape: list[Any]) -> None:
    value.shape, value.type = ir.Shape(shape), ir.TensorType(ir.DataType.FLOAT)


def _weights(cell: Cell) -> list[np.ndarray | None]:
    """Weights, recurrent weights and biases of an operator, of one direction."""
    weights = cell.weights.transpose(0, 2, 1).reshape(-1, cell.weights.shape[1])
    recurrence = cell.recurrence.transpose(0, 2, 1).reshape(-1, cell.recurrence.shape[-1])
    bias = np.concatenate([cell.input_bias.reshape(-1), cell.recurrent_bias.reshape(-1)])
    return [weights[None], recurrence[None], bias[None] if bias.any() else None]


def _results(
    loop: ir.Node, layer: _Layer, squeezed: list[ir.Value]
) -> Iterator[tuple[ir.Value, ir.Value]]:
    """Results of the Loop that are read, and the values that replace them."""
    for index, output in enumerate(loop.outputs):
        if output.uses() or output.is_graph_output():
            number = 1 + layer.states.index(index) if index in layer.states else 0
            yield output, squeezed[number]
