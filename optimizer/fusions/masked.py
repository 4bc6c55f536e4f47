"""Recurrent layers with a mask: a step that is masked leaves the states as they are.

Keras masks any steps of a sequence, the operators leave out no others than the last ones. So the
steps that count come to the front, with their number as the length, and the results go back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from ..loops import behind_identities
from ..rewrite import NearMiss
from ..sizes import extent
from ..values import constant, scalar
from .steps import Steps, element

_LAST = np.array(2**31)  # behind every step that counts
_ZERO = np.float32(0)


@dataclass
class Masked:
    """What a mask does to the steps of a Loop.

    Attributes
    ----------
    mask : ir.Value
        Of shape (length, batch, 1); true where a step counts.
    outputs : set of int
        States that are the output of the step before, and which no step computes with.
    counts : ir.Value, optional
        How many steps count up to each, of shape (length, batch); made by `to_front`.
    """

    done: Steps
    condition: ir.Value
    mask: ir.Value
    outputs: frozenset[int]
    counts: ir.Value | None = None

    def new(self, state: int) -> ir.Value:
        """Give what a state becomes in a step that counts."""
        new = _chosen(self.done.after(state), self.condition)[0]
        if new is None:
            raise NearMiss("some of its states are masked, and others are not")
        return behind_identities(new)

    def check(self, loop: ir.Node, hidden: int, sequence: ir.Value) -> None:
        """Nothing may be read that the operator does not give.

        Raises
        ------
        NearMiss
            Something is; says what.
        """
        if [extent(self.mask, axis) for axis in range(2)] != [
            extent(sequence, a) for a in range(2)
        ]:
            raise NearMiss(f"the mask {self.mask.name!r} is not as long as the sequence")
        for k in self.outputs:
            if self.done.before(k).uses() and self._kind(k, hidden) != k:
                raise NearMiss("it keeps something else than the output of the step before")
            if self.done.before(k).uses() and not is_zero(loop.inputs[2 + k]):
                raise NearMiss("the output before the first step is not zero")
        for index, output in enumerate(loop.outputs):
            used = output.uses() or output.is_graph_output()
            if used and index in self.done.counting:
                raise NearMiss(f"{output.name!r}, the number of steps, is used")
            if used and (index in self.outputs or index >= len(loop.inputs) - 2):
                self._kind(index, hidden)

    def _kind(self, result: int, hidden: int) -> int | None:
        """Which state stands for the output in a step that is masked; None: zeros do."""
        new, other = _chosen(self.done.after(result), self.condition)
        if new is None or behind_identities(new) is not self.new(hidden):
            raise NearMiss(f"result {result} is no masked hidden state")
        for k in (hidden, *self.outputs):
            if other is self.done.before(k):
                return k
        if not is_zero(other):
            raise NearMiss(f"result {result} is neither kept nor zero where it is masked")
        return None

    def to_front(self, op: Any, sequence: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Bring the steps that count to the front; with their number for each row."""
        steps = op.Squeeze(self.mask, np.array([2]))
        self.counts = op.CumSum(op.Cast(steps, to=ir.DataType.INT64), np.array(0))
        places = op.Where(steps, self.counts, _LAST)
        length = op.Gather(op.Shape(steps), np.array([0]))
        order = op.results("TopK", [places, length], 2, axis=0, largest=0)[1]
        moved = _at(op, sequence, order, sequence)
        moved.shape, moved.type = sequence.shape, sequence.type
        last = op.Gather(self.counts, np.array(-1), axis=0)
        return moved, op.Cast(last, to=ir.DataType.INT32)

    def results(
        self,
        op: Any,
        loop: ir.Node,
        states: Sequence[int],
        initial: Sequence[ir.Value | None],
        found: Sequence[ir.Value],
    ) -> Iterator[tuple[ir.Value, ir.Value]]:
        """Give the results of the Loop that are read, and what they are now.

        Parameters
        ----------
        op : Builder
            Makes the nodes.
        states, initial
            The hidden and the cell state, and what they are in the beginning (None: zeros).
        found
            Hidden states of the steps that count, of shape (length, batch, hidden), and the
            states after the last of them, of shape (batch, hidden).
        """
        every, *last = found
        for index, output in enumerate(loop.outputs):
            if not (output.uses() or output.is_graph_output()):
                continue
            if index in states:
                place = states.index(index)
                yield output, self._last(op, initial[place], last[place])
                continue
            kept = self._kind(index, states[0])
            before = initial[0] if kept == states[0] else None
            whole = self._back(op, every, last[0], before)
            if kept is None:
                whole = op.Where(self.mask, whole, _ZERO)
            whole.shape, whole.type = every.shape, every.type
            if index in self.outputs:
                whole = op.Gather(whole, np.array(-1), axis=0)
                whole.shape, whole.type = last[0].shape, last[0].type
            yield output, whole

    def _last(self, op: Any, initial: ir.Value | None, last: ir.Value) -> ir.Value:
        """Keep the state of a row of which no step counts."""
        if initial is None:
            return last
        number = op.Gather(self.counts, np.array([-1]), axis=0)
        counts = op.Greater(op.Transpose(number, perm=[1, 0]), np.array(0))
        made: ir.Value = op.Where(counts, last, initial)
        made.shape, made.type = last.shape, last.type
        return made

    def _back(self, op: Any, found: ir.Value, last: ir.Value, before: ir.Value | None) -> ir.Value:
        """Bring results to their steps; steps that are masked have that of the step before."""
        row = op.Expand(_ZERO, op.Shape(last)) if before is None else before
        rows = op.Concat(op.Unsqueeze(row, np.array([0])), found, axis=0)
        return _at(op, rows, self.counts, found)


def _at(op: Any, rows: ir.Value, places: ir.Value | None, like: ir.Value) -> ir.Value:
    """Take rows of (steps, batch, columns) by their places, of (length, batch)."""
    whole = op.Expand(op.Unsqueeze(places, np.array([2])), op.Shape(like))
    made: ir.Value = op.GatherElements(rows, whole, axis=0)
    return made


def find_mask(loop: ir.Node, done: Steps, carried: Sequence[int]) -> Masked | None:
    """Find the mask under which a Loop changes its states; None if it always does.

    Raises
    ------
    NearMiss
        It is none of a recurrent layer; says why.
    """
    conditions = [_condition(done.after(k), done.before(k)) for k in carried]
    condition = next((found for found in conditions if found is not None), None)
    if condition is None:
        return None
    mask = element(condition, done)
    if mask.dtype != ir.DataType.BOOL or extent(mask, 2) != 1:
        raise NearMiss(f"the mask {mask.name!r} is not one for each row")
    outputs = [k for k in carried if _is_output(done.before(k), condition)]
    return Masked(done, condition, mask, frozenset(outputs))


def _condition(after: ir.Value, before: ir.Value) -> ir.Value | None:
    node = behind_identities(after).producer()
    if node is None or node.op_type != "Where" or node.domain or node.inputs[2] is not before:
        return None
    return node.inputs[0]


def _is_output(before: ir.Value, condition: ir.Value) -> bool:
    """Tell whether a state is only ever kept, and nothing computed with it."""
    uses = before.uses()
    return all(
        use.idx == 2 and use.node.op_type == "Where" and use.node.inputs[0] is condition
        for use in uses
    )


def _chosen(after: ir.Value, condition: ir.Value) -> tuple[ir.Value | None, ir.Value | None]:
    """What is taken in steps that count, and in others; None if the mask does not choose."""
    node = behind_identities(after).producer()
    if node is None or node.op_type != "Where" or node.inputs[0] is not condition:
        return None, None
    return node.inputs[1], node.inputs[2]


def is_zero(value: ir.Value | None) -> bool:
    """Tell whether a value is known to be all zeros."""
    array = constant(value)
    if array is not None:
        return not array.any()
    node = None if value is None else value.producer()
    if node is None or node.domain:
        return False
    if node.op_type == "Expand":
        return scalar(node.inputs[0]) == 0.0
    filled = node.attributes.get("value")
    return node.op_type == "ConstantOfShape" and (
        filled is None or not filled.as_tensor().numpy().any()
    )
