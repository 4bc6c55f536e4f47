"""Repetition: steps of an iteration, its states and the slices that it reads and writes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from ...kernels.cpu import control
from ..emission import Emission
from ..graph import Node
from ..symbolic import product
from ..tensors import Label, Tensor

Tensors = Sequence[Tensor]

_NO_LIMIT = (1 << 62) - 1
_SMALL = 4096
"""Bytes of a state that a loop copies: an iteration of larger ones is emitted twice."""


def initial_state(emit: Emission, node: Node, index: int, value: Any) -> Tensor:
    """Emit a state, which is the output of the node after the last iteration."""
    state = emit.output(node, index)
    emit.copy(emit.tensor(value), state, "Copy")
    return state


def repeat(
    emit: Emission, trips: Tensor | None, states: Tensors, results: Tensors,
    iterate: Callable[[Tensor, Tensors, Tensors], Tensors], *, asks: bool = False,
) -> Tensor:  # fmt: skip
    """Emit a loop; returns the number of iterations it has done.

    Large states alternate between two buffers: the steps of an iteration are there twice, and the
    second ones write what the first ones read. Small ones are copied.

    Parameters
    ----------
    emit : Emission
    trips : Tensor, optional
        Number of iterations.
    states : sequence of Tensor
        What an iteration reads and changes; the first is the condition of a loop that ``asks``.
    results : sequence of Tensor
        What every iteration writes a part of.
    iterate : function
        Emits an iteration: takes its number, counted from 0, the states before it, and tensors that
        the states behind it are wanted in, if any; returns these states.
    asks : bool
    """
    iteration = emit.new((), "int64", name="iteration")
    step_type = f"{emit.nodes[0].op_type}Iteration"
    emit.step(control.start_loop, outputs=[iteration], op_type=step_type, iteration=iteration)
    others = [emit.new(state.shape, state.dtype, name=state.name) for state in states]
    alternates = emit.bodies == 0 and any(map(_is_large, states))
    turns = [(states, others), (others, states)] if alternates else [(states, states)]
    exits = [Label() for _ in turns]
    head = begin = Label()
    with emit.program.loop([*results, *others] if alternates else results):
        for (before, after), exit in zip(turns, exits, strict=True):
            if begin is not head:
                _end_iteration(emit, iteration, begin)
            emit.program.mark(begin)
            emit.step(
                control.begin_iteration, outputs=[], op_type=step_type, iteration=iteration,
                trips=trips, condition=before[0] if asks else None, exit=exit,
                most=emit.options.get("max_iterations", _NO_LIMIT),
            )  # fmt: skip
            given = iterate(iteration, before, after if alternates else ())
            _store_states(emit, after, given)
            begin = Label()
    _end_iteration(emit, iteration, head)
    if alternates:
        emit.program.mark(exits[1])
        for other, state in zip(others, states, strict=True):
            emit.copy(other, state, "Copy")
    emit.program.mark(exits[0])
    return iteration


def _is_large(state: Tensor) -> bool:
    """Tell whether a copy of a tensor may take longer than a step, some 0.1 us."""
    size = product(state.shape) * state.itemsize
    return (size if isinstance(size, int) else 1 << 62) > _SMALL


def _end_iteration(emit: Emission, iteration: Tensor, head: Label) -> None:
    step_type = f"{emit.nodes[0].op_type}Iteration"
    emit.step(control.end_iteration, outputs=[], op_type=step_type, iteration=iteration, head=head)


def _store_states(emit: Emission, states: Sequence[Tensor], results: Sequence[Tensor]) -> None:
    """Emit copies of what an iteration gives to where the next one finds it.

    A result that lies in the memory of a state is copied aside before any is overwritten.
    """
    memory = {state.buffer for state in states}
    changed = [(s, r) for s, r in zip(states, results, strict=True) if not _is_same(s, r)]
    sources = []
    for _, result in changed:
        if result.buffer in memory:
            aside = emit.new(result.shape, result.dtype, name=result.name)
            emit.copy(result, aside, "Copy")
            result = aside
        sources.append(result)
    for (state, _), source in zip(changed, sources, strict=True):
        emit.copy(source, state, "Copy")


def _is_same(a: Tensor, b: Tensor) -> bool:
    """Tell whether two tensors are the same elements of the same memory."""
    return a.buffer is b.buffer and (a.offset, a.strides) == (b.offset, b.strides)


def move_slice(
    emit: Emission, iteration: Tensor, x: Tensor, y: Tensor, axis: int, *,
    is_back: bool = False, writes: bool = False,
) -> None:  # fmt: skip
    """Emit a copy of the slice of an iteration: out of ``x``, or into ``y`` when it ``writes``."""
    if writes:
        x = emit.ordered(x)
    whole = y if writes else x
    size, itemsize = whole.shape[axis], whole.itemsize
    unit = product(whole.shape[axis + 1 :]) * itemsize
    row = unit * size
    emit.step(
        control.move_slice, outputs=[y], op_type=f"{emit.nodes[0].op_type}Slice",
        x=x, y=y, iteration=iteration, first=size - 1 if is_back else 0, sign=-1 if is_back else 1,
        x_unit=0 if writes else unit, y_unit=unit if writes else 0,
        rows=product(whole.shape[:axis]), run=unit,
        x_stride=unit if writes else row, y_stride=row if writes else unit,
        traffic=2 * unit * product(whole.shape[:axis]),
    )  # fmt: skip
