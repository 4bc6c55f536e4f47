"""If, Loop and Scan: their bodies are steps of the program, which a run passes by or repeats.

A node is compiled where its bodies have kernels and their results keep one shape however often a
body runs, and one rank whatever branch is taken; others run on the host.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from ...errors import InvalidModel
from ...kernels.cpu import control
from ..emission import Emission
from ..graph import BodyInputs, Graph, Info, Node, OnHost, known_array, refuse
from ..strides import contiguous_strides
from ..symbolic import Dim, maximum, product
from ..tensors import Label, Tensor
from .registry import Operator, register

Tensors = Sequence[Tensor]

_NO_LIMIT = (1 << 62) - 1
_SMALL = 4096
"""Bytes of a state that a loop copies: an iteration of larger ones is emitted twice."""


# --- If ---------------------------------------------------------------------------------------

_BRANCHES = ("then_branch", "else_branch")


def _if_bodies(node: Node) -> dict[str, BodyInputs]:
    return {name: BodyInputs([]) for name in _BRANCHES}


def _check_flag(node: Node, info: Info) -> None:
    if info.dtype != "bool":
        refuse(node, f"type of {info.name!r}", info.dtype, "bool")
    _check_one(info)


def _check_one(info: Info | None) -> None:
    if info is not None and product(info.dims) != 1:
        raise OnHost(f"{info.name!r} has the shape {info.dims}")


def _infer_if(node: Node) -> list[Info]:
    _check_flag(node, node.required(0))
    then, other = (_results(node, name, len(node.outputs)) for name in _BRANCHES)
    pairs = list(zip(then, other, strict=True))
    for a, b in pairs:
        if a.dtype != b.dtype:
            refuse(node, f"type of {b.name!r}, of its else_branch", b.dtype, a.dtype)
        if a.rank != b.rank:
            raise OnHost(f"{a.name!r} of shape {a.dims} is {b.name!r} of shape {b.dims} otherwise")
    if all(a.shape == b.shape for a, b in pairs):
        return [node.result(a.dims, a.dtype, i) for i, (a, _) in enumerate(pairs)]
    taken = node.count()  # 1 or 0: how often a run takes the then_branch
    return [
        node.result(_either(taken, a.dims, b.dims), a.dtype, i) for i, (a, b) in enumerate(pairs)
    ]


def _either(first: Dim, a: Sequence[Dim], b: Sequence[Dim]) -> list[Dim]:
    """Return the sizes ``a`` where ``first`` is 1, and ``b`` where it is 0."""
    return [x if x == y else first * x + (1 - first) * y for x, y in zip(a, b, strict=True)]


def _results(node: Node, name: str, count: int) -> list[Info]:
    """Describe the outputs of a body."""
    graph = node.bodies[name]
    if len(graph.outputs) != count:
        refuse(node, f"number of outputs of {name!r}", len(graph.outputs), str(count))
    infos = [graph.infos[value] for value in graph.outputs]
    if any(info.dtype == "object" for info in infos):
        raise OnHost(f"its {name} gives what is no plain numeric tensor")
    return infos


def _lower_if(emit: Emission, node: Node) -> None:
    condition = emit.tensor(node.values[0])
    if node.counted:
        one = emit.constant(np.array(1, np.int64))
        _count(emit, node, one, condition)
    results = [emit.output(node, index) for index in range(len(node.outputs))]
    other, end = Label(), Label()
    with _contained(emit, node):
        emit.step(control.branch, outputs=[], condition=condition, other=other)
        _emit_branch(emit, node.bodies["then_branch"], results)
        emit.step(control.jump, outputs=[], target=end)
        emit.program.mark(other)
        _emit_branch(emit, node.bodies["else_branch"], results)
        emit.program.mark(end)


def _emit_branch(emit: Emission, graph: Graph, results: Sequence[Tensor]) -> None:
    own = [emit.infos[value].dims for value in graph.outputs]
    wanted = [
        result if result.shape == dims else result.view(dims, contiguous_strides(dims))
        for dims, result in zip(own, results, strict=True)
    ]
    for tensor, target in zip(emit.body(graph, [], wanted), wanted, strict=True):
        if tensor is not target:
            emit.copy(tensor, target, "Copy")


@contextmanager
def _contained(emit: Emission, node: Node) -> Iterator[None]:
    """Emit what a run may pass by or repeat.

    A node whose bodies are not valid is left to the host, which sees whether they run at all.
    """
    before, emit.is_certain = emit.is_certain, False
    try:
        yield
    except InvalidModel as error:
        raise OnHost(f"a body of {node.name!r}: {error}") from error
    finally:
        emit.is_certain = before


# --- Loop -------------------------------------------------------------------------------------


def _loop_bodies(node: Node) -> dict[str, BodyInputs]:
    states = _states(node, node.inputs[2:])
    infos = [Info("", "int64", ()), Info("", "bool", ()), *states]
    return {"body": BodyInputs(infos, [(2 + i, 1 + i) for i in range(len(states))])}


def _states(node: Node, inputs: Sequence[Info | None]) -> list[Info]:
    states = [info for info in inputs if info is not None]
    if len(states) != len(inputs):
        refuse(node, "an initial state", None, "a tensor")
    return states


def _infer_loop(node: Node) -> list[Info]:
    states = _states(node, node.inputs[2:])
    condition, *results = _results(node, "body", 1 + len(node.outputs))
    _check_one(node.input(0))
    for flag in (node.input(1), condition):
        if flag is not None:
            _check_flag(node, flag)
    _check_states(node, states, results)
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


def _check_states(node: Node, states: Sequence[Info], results: Sequence[Info]) -> None:
    """Demand that an iteration keeps the types and shapes of the states."""
    if len(results) < len(states):
        refuse(node, "number of states that its body gives", len(results), str(len(states)))
    for state, result in zip(states, results, strict=False):
        if state.dtype != result.dtype:
            refuse(node, f"type of the state {result.name!r}", result.dtype, state.dtype)
        if state.shape != result.shape:
            raise OnHost(f"the state {state.name!r} of shape {state.dims} becomes {result.dims}")


def _trip_count(node: Node) -> Dim:
    """Return the number of iterations, which sizes tell or a step before the first one."""
    trips, condition = node.input(0), node.input(1)
    if trips is None or not _goes_on(node):
        raise OnHost("its number of iterations depends on what they compute")
    if trips.known is not None and (condition is None or _is_true(condition)):
        return maximum(trips.sizes()[0], 0)
    return node.count()


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
    states = [_initial(emit, node, i, node.values[2 + i]) for i in range(count)]
    if node.counted:
        _count_iterations(emit, node)
    results = [emit.output(node, i) for i in range(count, len(node.outputs))]
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
            _move(emit, iteration, element, result, 0, writes=True)
        return [*([goes_on.view((), ())] if asks else []), *after[:count]]

    with _contained(emit, node):
        _repeat(emit, trips, [flag, *states] if asks else states, results, iterate, asks=asks)


def _count_iterations(emit: Emission, node: Node) -> None:
    """Emit the number of iterations of a loop that its body does not end, and read it."""
    trips, condition = (
        None if node.input(i) is None else emit.tensor(node.values[i]) for i in range(2)
    )
    _count(emit, node, trips, condition)


def _count(emit: Emission, node: Node, trips: Tensor | None, condition: Tensor | None) -> None:
    """Emit how often a body runs, so many times if the condition holds, and read it."""
    counted = emit.new((1,), "int64")
    emit.step(
        control.count_iterations, outputs=[counted], op_type=f"{node.op_type}Count",
        counted=counted, trips=trips, condition=condition,
    )  # fmt: skip
    emit.read(counted, node.counted, node)


def _initial(emit: Emission, node: Node, index: int, value: Any) -> Tensor:
    """Emit a state, which is the output of the node after the last iteration."""
    state = emit.output(node, index)
    emit.copy(emit.tensor(value), state, "Copy")
    return state


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


def _repeat(
    emit: Emission, trips: Tensor | None, states: Tensors, results: Tensors,
    iterate: Callable[[Tensor, Tensors, Tensors], Tensors], *, asks: bool = False,
) -> None:  # fmt: skip
    """Emit a loop.

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


def _is_large(state: Tensor) -> bool:
    """Tell whether a copy of a tensor may take longer than a step, some 0.1 us."""
    size = product(state.shape) * state.itemsize
    return (size if isinstance(size, int) else 1 << 62) > _SMALL


def _end_iteration(emit: Emission, iteration: Tensor, head: Label) -> None:
    step_type = f"{emit.nodes[0].op_type}Iteration"
    emit.step(control.end_iteration, outputs=[], op_type=step_type, iteration=iteration, head=head)


# --- Scan -------------------------------------------------------------------------------------


def _scan_lists(node: Node) -> tuple[int, list[int], list[bool], list[int], list[bool]]:
    """Return the number of states; axes and directions of operands, then of results."""
    operands = node.attribute("num_scan_inputs")
    states = len(node.inputs) - operands
    results = len(node.outputs) - states
    if node.version < 9 or operands < 1 or states < 0 or results < 0:
        raise OnHost(f"{operands} operands of opset {node.version}")
    lists = []
    for kind, count in (("input", operands), ("output", results)):
        for what in ("axes", "directions"):
            name = f"scan_{kind}_{what}"
            numbers = node.attribute(name) or [0] * count
            if len(numbers) != count:
                refuse(node, f"length of {name!r}", len(numbers), str(count))
            lists.append(numbers)
    into, forth, out, back = lists
    return states, into, list(map(bool, forth)), out, list(map(bool, back))


def _axis(node: Node, axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        refuse(node, "axis of a scan", axis, f"one of {rank} axes")
    return axis % rank


def _scan_bodies(node: Node) -> dict[str, BodyInputs]:
    states, axes, *_ = _scan_lists(node)
    inputs = _states(node, node.inputs)
    slices = []
    for info, axis in zip(inputs[states:], axes, strict=True):
        at = _axis(node, axis, info.rank)
        slices.append(Info("", info.dtype, (*info.dims[:at], *info.dims[at + 1 :])))
    return {"body": BodyInputs([*inputs[:states], *slices], [(i, i) for i in range(states)])}


def _infer_scan(node: Node) -> list[Info]:
    states, into, _, out, _ = _scan_lists(node)
    inputs = _states(node, node.inputs)
    results = _results(node, "body", len(node.outputs))
    _check_states(node, inputs[:states], results)
    counts = [
        info.dims[_axis(node, axis, info.rank)]
        for info, axis in zip(inputs[states:], into, strict=True)
    ]
    if len({count for count in counts if isinstance(count, int)}) > 1:
        refuse(node, "sizes of the scanned axes", counts, "equal ones")
    infos = [node.result(info.dims, info.dtype, i) for i, info in enumerate(inputs[:states])]
    for index, axis in enumerate(out):
        info = results[states + index]
        at = _axis(node, axis, info.rank + 1)
        shape = (*info.dims[:at], counts[0], *info.dims[at:])
        infos.append(node.result(shape, info.dtype, states + index))
    return infos


def _lower_scan(emit: Emission, node: Node) -> None:
    count, into, forth, out, back = _scan_lists(node)
    operands = [emit.ordered(emit.tensor(value)) for value in node.values[count:]]
    axes = [_axis(node, axis, len(x.shape)) for x, axis in zip(operands, into, strict=True)]
    sizes = [x.shape[axis] for x, axis in zip(operands, axes, strict=True)]
    for size in sizes[1:]:
        emit.check(size, sizes[0], "sizes of the scanned axes")
    states = [_initial(emit, node, i, node.values[i]) for i in range(count)]
    results = [emit.output(node, i) for i in range(count, len(node.outputs))]
    trips = emit.sizes(Info("", "int64", (), known=known_array([sizes[0]], ())))

    def iterate(iteration: Tensor, before: Tensors, targets: Tensors) -> Tensors:
        slices = []
        for x, axis, is_back in zip(operands, axes, forth, strict=True):
            part = emit.new((*x.shape[:axis], *x.shape[axis + 1 :]), x.dtype)
            _move(emit, iteration, x, part, axis, is_back=is_back)
            slices.append(part)
        after = emit.body(node.bodies["body"], [*before, *slices], targets)
        for y, element, axis, is_back in zip(results, after[count:], out, back, strict=True):
            at = _axis(node, axis, len(y.shape))
            _move(emit, iteration, element, y, at, is_back=is_back, writes=True)
        return after[:count]

    with _contained(emit, node):
        _repeat(emit, trips, states, results, iterate)


def _move(
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


register("If", Operator(bodies=_if_bodies, infer=_infer_if, lower=_lower_if, moves=True))
register("Loop", Operator(bodies=_loop_bodies, infer=_infer_loop, lower=_lower_loop, moves=True))
register("Scan", Operator(bodies=_scan_bodies, infer=_infer_scan, lower=_lower_scan, moves=True))
