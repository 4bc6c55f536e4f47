"""Loop: its body is emitted into the program, and repeated.

Iterations whose number sizes tell, or a step before the first one, write their results where they
belong. A loop that ends itself writes them into memory for as many as its limit allows, and how
many there were is read behind it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..emission import Emission
from ..graph import BodyInputs, Info, Node, OnHost
from ..symbolic import Dim, maximum
from ..tensors import Tensor
from .bodies import (
    check_flag,
    check_one,
    check_states,
    contained,
    count_runs,
    results_of,
    states_of,
)
from .registry import Operator, register
from .repeat import Tensors, initial_state, move_slice, repeat

_ROOM = 1 << 20
"""Elements that results of a loop which ends itself have room for."""


def _loop_bodies(node: Node) -> dict[str, BodyInputs]:
    states = states_of(node, node.inputs[2:])
    infos = [Info("", "int64", ()), Info("", "bool", ()), *states]
    return {"body": BodyInputs(infos, [(2 + i, 1 + i) for i in range(len(states))])}


def _infer_loop(node: Node) -> list[Info]:
    states = states_of(node, node.inputs[2:])
    condition, *results = results_of(node, "body", 1 + len(node.outputs))
    check_one(node.input(0))
    for flag in (node.input(1), condition):
        if flag is not None:
            check_flag(node, flag)
    check_states(node, states, results)
    infos = [node.result(state.dims, state.dtype, i) for i, state in enumerate(states)]
    elements = results[len(states) :]
    if elements:
        count = _trip_count(node, elements)
        shapes = [(count, *info.dims) for info in elements]
        infos += [
            node.result(shape, info.dtype, len(states) + i)
            for i, (shape, info) in enumerate(zip(shapes, elements, strict=True))
        ]
    return infos


def _trip_count(node: Node, elements: Sequence[Info]) -> Dim:
    """Return the number of iterations: sizes tell it, or a step before the first or after all."""
    trips, condition = node.input(0), node.input(1)
    if _ends_itself(node):
        if _room(node, elements) is None:
            raise OnHost("its number of iterations depends on what they compute")
        return node.count()
    is_certain = condition is None or _is_true(condition)
    if is_certain and trips is not None and trips.known is not None:
        return _known_trips(trips)
    return node.count()


def _known_trips(trips: Info) -> Dim:
    return maximum(trips.sizes()[0], 0)


def _ends_itself(node: Node) -> bool:
    """Tell whether what an iteration computes may end the loop."""
    return node.input(0) is None or not _goes_on(node)


def _room(node: Node, elements: Sequence[Info]) -> Dim | None:
    """Return how many iterations there is memory for in a loop that ends itself, if for any."""
    trips = node.input(0)
    if trips is None or trips.known is None:
        return None
    room = _known_trips(trips)
    # Sizes that are not known yet are those of tensors, and no "as many as you like".
    sizes = [room, *(dim for info in elements for dim in info.dims)]
    fixed = math.prod(size for size in sizes if isinstance(size, int))
    return room if fixed <= _ROOM else None


def _is_true(info: Info) -> bool:
    return info.is_constant and bool(info.array().reshape(-1)[0])


def _goes_on(node: Node) -> bool:
    """Tell whether the body never ends the loop: its condition is true, or the one it was given."""
    graph = node.bodies["body"]
    value = graph.outputs[0]
    while (producer := value.producer()) is not None and producer.op_type == "Identity":
        value = producer.inputs[0]  # type: ignore[assignment]
    return value is graph.inputs[1] or _is_true(graph.infos[value])


def _lower_loop(emit: Emission, node: Node) -> None:
    count, condition = max(len(node.inputs) - 2, 0), node.input(1)
    is_true = condition is None or _is_true(condition)
    states = [initial_state(emit, node, i, node.values[2 + i]) for i in range(count)]
    room = _room_of_results(emit, node, count)
    if node.counted and not room:
        _count_iterations(emit, node)
    results = room or [emit.output(node, i) for i in range(count, len(node.outputs))]
    trips = None if node.input(0) is None else emit.tensor(node.values[0])
    first = emit.constant(np.array(True)) if is_true else emit.tensor(node.values[1])
    flag = emit.new((), "bool", name="condition")
    emit.copy(first.view((), ()), flag, "Copy")
    asks = not (is_true and _goes_on(node))

    def iterate(iteration: Tensor, before: Tensors, targets: Tensors) -> Tensors:
        inputs = before if asks else [flag, *before]
        wanted = [None, *targets[-count:]] if count else []
        goes_on, *after = emit.body(node.bodies["body"], [iteration, *inputs], wanted)
        for element, result in zip(after[count:], results, strict=True):
            move_slice(emit, iteration, element, result, 0, writes=True)
        return [*([goes_on.view((), ())] if asks else []), *after[:count]]

    with contained(emit, node):
        done = repeat(emit, trips, [flag, *states] if asks else states, results, iterate, asks=asks)
    if room:
        emit.read(done.view((1,), (1,)), node.counted, node)
        for value, tensor in zip(node.outputs[count:], room, strict=True):
            emit.set(value, tensor.view((*node.counted_sizes, *tensor.shape[1:]), tensor.strides))


def _room_of_results(emit: Emission, node: Node, states: int) -> list[Tensor]:
    """Create what a loop that ends itself writes its results into, of which some rows remain."""
    infos = node.infos[states:]
    if not infos or not _ends_itself(node):
        return []
    elements = results_of(node, "body", 1 + len(node.outputs))[1 + states :]
    rows = _room(node, elements)
    assert rows is not None
    return [emit.new((rows, *info.dims[1:]), info.dtype, name=info.name) for info in infos]


def _count_iterations(emit: Emission, node: Node) -> None:
    """Emit the number of iterations of a loop that its body does not end, and read it."""
    trips, condition = (
        None if node.input(i) is None else emit.tensor(node.values[i]) for i in range(2)
    )
    count_runs(emit, node, trips, condition)


register("Loop", Operator(bodies=_loop_bodies, infer=_infer_loop, lower=_lower_loop, moves=True))
