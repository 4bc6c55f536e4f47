"""Loop: its body is emitted into the program, and repeated.

Iterations whose number sizes tell, or a step before the first one, write their results where they
belong. A loop that ends itself writes them into memory that grows, and how many there were is read
behind it.
"""

from __future__ import annotations

import numpy as np

from ..emission import Emission
from ..graph import BodyInputs, Info, Node
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
from .growing import append_slice, new_block, take_slices
from .registry import Operator, register
from .repeat import Tensors, initial_state, move_slice, repeat


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
        count = _trip_count(node)
        shapes = [(count, *info.dims) for info in elements]
        infos += [
            node.result(shape, info.dtype, len(states) + i)
            for i, (shape, info) in enumerate(zip(shapes, elements, strict=True))
        ]
    return infos


def _trip_count(node: Node) -> Dim:
    """Return the number of iterations: sizes tell it, or a step before the first or after all."""
    trips, condition = node.input(0), node.input(1)
    is_certain = not _ends_itself(node) and (condition is None or _is_true(condition))
    if is_certain and trips is not None and trips.known is not None:
        return maximum(trips.sizes()[0], 0)
    return node.count()


def _ends_itself(node: Node) -> bool:
    """Tell whether what an iteration computes may end the loop."""
    return node.input(0) is None or not _goes_on(node)


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
    grows = _ends_itself(node)
    if node.counted and not grows:
        _count_iterations(emit, node)
    places = range(count, len(node.outputs))
    results = [new_block(emit) if grows else emit.output(node, i) for i in places]
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
            if grows:
                append_slice(emit, iteration, element, result)
            else:
                move_slice(emit, iteration, element, result, 0, writes=True)
        return [*([goes_on.view((), ())] if asks else []), *after[:count]]

    with contained(emit, node):
        done = repeat(emit, trips, [flag, *states] if asks else states, results, iterate, asks=asks)
    if node.counted and grows:
        emit.read(done.view((1,), (1,)), node.counted, node)
        for i, block in zip(places, results, strict=True):
            take_slices(emit, block, emit.output(node, i))


def _count_iterations(emit: Emission, node: Node) -> None:
    """Emit the number of iterations of a loop that its body does not end, and read it."""
    trips, condition = (
        None if node.input(i) is None else emit.tensor(node.values[i]) for i in range(2)
    )
    count_runs(emit, node, trips, condition)


register("Loop", Operator(bodies=_loop_bodies, infer=_infer_loop, lower=_lower_loop, moves=True))
