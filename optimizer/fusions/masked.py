"""Masks of recurrent layers: a step that is masked leaves the states as they are.

Keras masks any steps of a sequence, the operators of ONNX skip only the last ones. So the steps
that are not masked are moved to the front, with their number as the length of the sequence, and
the results are moved back to the positions of their steps.
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
from ..zeros import is_zero
from .steps import Steps, element

_LAST = np.array(2**31)  # behind every step that is not masked
_ZERO = np.float32(0)


@dataclass
class Masked:
    """A mask over the steps of a Loop.

    Attributes
    ----------
    mask : ir.Value
        Of shape (length, batch, 1); false where a step is masked.
    outputs : set of int
        States that hold the output of the step before, and that no step computes with.
    counts : ir.Value, optional
        Number of unmasked steps up to each, of shape (length, batch); set by `to_front`.
    """

    steps: Steps
    condition: ir.Value
    mask: ir.Value
    outputs: frozenset[int]
    counts: ir.Value | None = None

    def new(self, state: int) -> ir.Value:
        """State after a step that is not masked."""
        new = _chosen(self.steps.after(state), self.condition)[0]
        if new is None:
            raise NearMiss("some of its states are masked, and others are not")
        return behind_identities(new)

    def check(self, loop: ir.Node, hidden: int, sequence: ir.Value) -> None:
        """Check that the recurrent operator computes every result of the Loop that is used.

        Raises
        ------
        NearMiss
            It does not compute one of them; names it.
        """
        if any(extent(self.mask, axis) != extent(sequence, axis) for axis in range(2)):
            raise NearMiss(f"the mask {self.mask.name!r} is not as long as the sequence")
        for k in self.outputs:
            if self.steps.before(k).uses() and self._masked_output(k, hidden) != k:
                raise NearMiss("a masked step has another output than the step before")
            if self.steps.before(k).uses() and not is_zero(loop.inputs[2 + k]):
                raise NearMiss("the output before the first step is not zero")
        for index, output in enumerate(loop.outputs):
            used = output.uses() or output.is_graph_output()
            if used and index in self.steps.counting:
                raise NearMiss(f"{output.name!r}, the number of steps, is used")
            if used and (index in self.outputs or index >= max(len(loop.inputs) - 2, 0)):
                self._masked_output(index, hidden)

    def _masked_output(self, result: int, hidden: int) -> int | None:
        """State that a result repeats in a masked step; None where it is zero there."""
        new, other = _chosen(self.steps.after(result), self.condition)
        if new is None or behind_identities(new) is not self.new(hidden):
            raise NearMiss(f"result {result} is no masked hidden state")
        for k in (hidden, *self.outputs):
            if other is self.steps.before(k):
                return k
        if not is_zero(other):
            raise NearMiss(f"result {result} is neither repeated nor zero where it is masked")
        return None

    def to_front(self, op: Any, sequence: ir.Value) -> tuple[ir.Value, ir.Value]:
        """Move the steps that are not masked to the front.

        Returns
        -------
        (ir.Value, ir.Value)
            The sequence in that order, and the number of unmasked steps in each row.
        """
        unmasked = op.Squeeze(self.mask, np.array([2]))
        self.counts = op.CumSum(op.Cast(unmasked, to=ir.DataType.INT64), np.array(0))
        ranks = op.Where(unmasked, self.counts, _LAST)
        length = op.Gather(op.Shape(unmasked), np.array([0]))
        order = op.results("TopK", [ranks, length], 2, axis=0, largest=0)[1]
        ordered = _gather_rows(op, sequence, order, sequence)
        ordered.shape, ordered.type = sequence.shape, sequence.type
        last = op.Gather(self.counts, np.array(-1), axis=0)
        return ordered, op.Cast(last, to=ir.DataType.INT32)

    def results(
        self,
        op: Any,
        loop: ir.Node,
        states: Sequence[int],
        initial: Sequence[ir.Value | None],
        computed: Sequence[ir.Value],
    ) -> Iterator[tuple[ir.Value, ir.Value]]:
        """Results of the Loop that are read, and the values that replace them.

        Parameters
        ----------
        op : Builder
            Builds the nodes.
        states, initial
            The hidden and the cell state, and their initial values (None: zeros).
        computed
            Hidden states of the unmasked steps, of shape (length, batch, hidden), and the states
            after the last of them, of shape (batch, hidden).
        """
        every, *last = computed
        for index, output in enumerate(loop.outputs):
            if not (output.uses() or output.is_graph_output()):
                continue
            if index in states:
                number = states.index(index)
                yield output, self._last(op, initial[number], last[number])
                continue
            repeated = self._masked_output(index, states[0])
            before = initial[0] if repeated == states[0] else None
            whole = self._back(op, every, last[0], before)
            if repeated is None:
                whole = op.Where(self.mask, whole, _ZERO)
            whole.shape, whole.type = every.shape, every.type
            if index in self.outputs:
                whole = op.Gather(whole, np.array(-1), axis=0)
                whole.shape, whole.type = last[0].shape, last[0].type
            yield output, whole

    def _last(self, op: Any, initial: ir.Value | None, last: ir.Value) -> ir.Value:
        """Last state of each row, the initial one where all steps are masked."""
        if initial is None:
            return last
        number = op.Gather(self.counts, np.array([-1]), axis=0)
        any_step = op.Greater(op.Transpose(number, perm=[1, 0]), np.array(0))
        state: ir.Value = op.Where(any_step, last, initial)
        state.shape, state.type = last.shape, last.type
        return state

    def _back(self, op: Any, every: ir.Value, last: ir.Value, before: ir.Value | None) -> ir.Value:
        """Move results back to their steps; a masked step has that of the step before."""
        row = op.Expand(_ZERO, op.Shape(last)) if before is None else before
        rows = op.Concat(op.Unsqueeze(row, np.array([0])), every, axis=0)
        return _gather_rows(op, rows, self.counts, every)


def _gather_rows(op: Any, rows: ir.Value, indices: ir.Value | None, like: ir.Value) -> ir.Value:
    """Gather rows of (steps, batch, columns) by indices of shape (length, batch)."""
    whole = op.Expand(op.Unsqueeze(indices, np.array([2])), op.Shape(like))
    gathered: ir.Value = op.GatherElements(rows, whole, axis=0)
    return gathered


def find_mask(loop: ir.Node, steps: Steps, carried: Sequence[int]) -> Masked | None:
    """Find the mask under which a Loop changes its states; None if it always does.

    Raises
    ------
    NearMiss
        It is not the mask of a recurrent layer; names the reason.
    """
    conditions = [_condition(steps.after(k), steps.before(k)) for k in carried]
    condition = next((each for each in conditions if each is not None), None)
    if condition is None:
        return None
    mask = element(condition, steps)
    if mask.dtype != ir.DataType.BOOL or extent(mask, 2) != 1:
        raise NearMiss(f"the mask {mask.name!r} is not one for each row")
    outputs = [k for k in carried if _is_output(steps.before(k), condition)]
    return Masked(steps, condition, mask, frozenset(outputs))


def _condition(after: ir.Value, before: ir.Value) -> ir.Value | None:
    node = behind_identities(after).producer()
    if node is None or node.op_type != "Where" or node.domain or node.inputs[2] is not before:
        return None
    return node.inputs[0]


def _is_output(before: ir.Value, condition: ir.Value) -> bool:
    """Tell whether a state is only repeated in masked steps, and nothing computed with it."""
    uses = before.uses()
    return all(
        use.idx == 2 and use.node.op_type == "Where" and use.node.inputs[0] is condition
        for use in uses
    )


def _chosen(after: ir.Value, condition: ir.Value) -> tuple[ir.Value | None, ir.Value | None]:
    """Values of a state after unmasked and masked steps; None if the mask does not choose."""
    node = behind_identities(after).producer()
    if node is None or node.op_type != "Where" or node.inputs[0] is not condition:
        return None, None
    return node.inputs[1], node.inputs[2]
