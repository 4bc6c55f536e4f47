"""Scan: its body is emitted into the program, and repeated over slices."""

from __future__ import annotations

from ..emission import Emission
from ..graph import BodyInputs, Info, Node, OnHost, known_array, refuse
from ..tensors import Tensor
from .bodies import check_states, contained, results_of, states_of
from .registry import Operator, register
from .repeat import Tensors, initial_state, move_slice, repeat


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
    inputs = states_of(node, node.inputs)
    slices = []
    for info, axis in zip(inputs[states:], axes, strict=True):
        at = _axis(node, axis, info.rank)
        slices.append(Info("", info.dtype, (*info.dims[:at], *info.dims[at + 1 :])))
    return {"body": BodyInputs([*inputs[:states], *slices], [(i, i) for i in range(states)])}


def _infer_scan(node: Node) -> list[Info]:
    states, into, _, out, _ = _scan_lists(node)
    inputs = states_of(node, node.inputs)
    results = results_of(node, "body", len(node.outputs))
    check_states(node, inputs[:states], results)
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
    states = [initial_state(emit, node, i, node.values[i]) for i in range(count)]
    results = [emit.output(node, i) for i in range(count, len(node.outputs))]
    trips = emit.sizes(Info("", "int64", (), known=known_array([sizes[0]], ())))

    def iterate(iteration: Tensor, before: Tensors, targets: Tensors) -> Tensors:
        slices = []
        for x, axis, is_back in zip(operands, axes, forth, strict=True):
            part = emit.new((*x.shape[:axis], *x.shape[axis + 1 :]), x.dtype)
            move_slice(emit, iteration, x, part, axis, is_back=is_back)
            slices.append(part)
        after = emit.body(node.bodies["body"], [*before, *slices], targets)
        for y, element, axis, is_back in zip(results, after[count:], out, back, strict=True):
            at = _axis(node, axis, len(y.shape))
            move_slice(emit, iteration, element, y, at, is_back=is_back, writes=True)
        return after[:count]

    with contained(emit, node):
        repeat(emit, trips, states, results, iterate)


register("Scan", Operator(bodies=_scan_bodies, infer=_infer_scan, lower=_lower_scan, moves=True))
