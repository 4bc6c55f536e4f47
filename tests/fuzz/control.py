"""Motifs with bodies: If, Loop and Scan around other motifs, which may have bodies themselves."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper

from .graph import Graph, Shape
from .motifs import MOTIFS

_DEEPEST = 3


def conditional(graph: Graph) -> str:
    """Take one of two branches, by an input or by a computed condition."""
    results = [graph.shapes[graph.value()] for _ in range(int(graph.rng.integers(1, 4)))]
    branches = []
    for _ in range(2):
        body = _Body(graph)
        branches.append(body.finished([body.of_shape(shape) for shape in results]))
    return graph.several(
        "If", [_condition(graph)], results, then_branch=branches[0], else_branch=branches[1]
    )[-1]


def repeated(graph: Graph) -> str:
    """Repeat a body that changes states, and perhaps gathers what it computes."""
    initial = [graph.value() for _ in range(int(graph.rng.integers(1, 4)))]
    shapes = [graph.shapes[name] for name in initial]
    gathers, trips = graph.chance(0.5), int(graph.rng.integers(1, 4))
    body = _Body(graph)
    number = body.number
    inputs = [(f"i{number}", TensorProto.INT64, ()), (f"d{number}", TensorProto.BOOL, ())]
    states = body.states(shapes)
    body.grow()
    results = [body.of_shape(shape) for shape in shapes]
    if graph.chance(0.3):
        results[0] = states[0]
    if len(states) > 1 and shapes[0] == shapes[-1] and graph.chance(0.3):
        results[0], results[-1] = states[-1], states[0]  # they change places
    element = graph.value() if gathers else ""
    gathered = [graph.shapes[element]] if gathers else []
    outputs = [body.same(name) for name in [*results, *([element] if gathers else [])]]
    goes_on = body.goes_on(f"d{number}", outputs[0], may_end=not gathers)
    loop = body.finished(outputs, inputs, states, shapes, first=goes_on)
    count = graph.constant(np.array(trips))
    names = graph.several(
        "Loop", [count, "", *initial], [*shapes, *((trips, *shape) for shape in gathered)],
        body=loop,
    )  # fmt: skip
    return names[0] if gathers and graph.chance(0.3) else names[-1]


def scanned(graph: Graph) -> str:
    """Scan a value along an axis, with a state of the shape of a slice."""
    x = graph.value()
    shape = graph.shapes[x]
    axis = int(graph.rng.integers(len(shape)))
    part = (*shape[:axis], *shape[axis + 1 :])
    if not part:
        return x
    start = graph.weight(part)
    back, out = int(graph.chance(0.4)), int(graph.rng.integers(len(shape)))
    body = _Body(graph)
    state, piece = names = body.states([part, part])
    sum_ = graph.node("Add", [state, piece], part)
    half = graph.node("Mul", [sum_, graph.constant(np.float32(0.5))], part)
    body.grow()
    outputs = [body.same(half), body.same(body.of_shape(part))]
    scan = body.finished(outputs, [], names, [part, part])
    whole = (*part[:out], shape[axis], *part[out:])
    return graph.several(
        "Scan", [start, x], [part, whole], body=scan, num_scan_inputs=1, scan_input_axes=[axis],
        scan_input_directions=[back], scan_output_axes=[out],
    )[1]  # fmt: skip


def _scalar(graph: Graph, op_type: str, inputs: list[str], **given: int) -> str:
    """Add a node whose result motifs do not know: a scalar, perhaps a bool."""
    name = graph.node(op_type, inputs, (), **given)
    del graph.shapes[name]
    return name


def _is_low(graph: Graph, x: str, limit: float) -> str:
    low = _scalar(graph, "ReduceMin", [x], keepdims=0)
    return _scalar(graph, "Less", [low, graph.constant(np.float32(limit))])


def _condition(graph: Graph) -> str:
    if graph.depth or graph.chance(0.5):
        return _is_low(graph, graph.value(), -1.0)
    name = f"c{graph.number()}"
    graph.conditions[name] = 0
    return name


class _Body:
    """A body that grows in the place of the graph, whose values it sees."""

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self.number = graph.number()
        self._outer = graph.nodes, dict(graph.shapes)
        graph.nodes = []
        graph.depth += 1

    def states(self, shapes: list[Shape]) -> list[str]:
        """Add inputs that are float32."""
        names = [f"s{self.number}_{i}" for i in range(len(shapes))]
        self._graph.shapes |= dict(zip(names, shapes, strict=True))
        return names

    def grow(self) -> None:
        graph = self._graph
        motifs = MOTIFS if graph.depth >= _DEEPEST else (*MOTIFS, *CONTROL)
        for _ in range(int(graph.rng.integers(1, 3))):
            before = set(graph.inputs)
            graph.pick(motifs)(graph)
            for name in set(graph.inputs) - before:  # inputs of the model are there outside, too
                self._outer[1][name] = graph.shapes[name]

    def of_shape(self, shape: Shape) -> str:
        """Return a value of a shape, made of what the body computes."""
        graph = self._graph
        if graph.chance(0.5):
            self.grow()
        own = [n for n in graph.shapes if n not in self._outer[1] and graph.shapes[n] == shape]
        like = [n for n, other in graph.shapes.items() if other == shape]
        x = graph.pick(own or like)
        if own and graph.chance(0.5):
            return self.same(x)
        mean = _scalar(graph, "ReduceMean", [graph.value()], keepdims=0)
        return graph.node("Mul", [x, _scalar(graph, "Sigmoid", [mean])], shape)

    def same(self, name: str) -> str:
        """Return a value that is made in the body: outputs of bodies must be."""
        return self._graph.node("Identity", [name], self._graph.shapes[name])

    def goes_on(self, before: str, value: str, may_end: bool) -> str:
        """Return the condition under which a loop goes on."""
        graph = self._graph
        if may_end and graph.chance(0.4):
            return _is_low(graph, value, 0.5)
        return _scalar(graph, "Identity", [before])

    def finished(
        self, outputs: list[str], inputs: list[tuple[str, int, Shape]] | None = None,
        states: list[str] | None = None, shapes: list[Shape] | None = None, first: str = "",
    ) -> onnx.GraphProto:  # fmt: skip
        """Return the body, and let the graph grow again."""
        graph, nodes = self._graph, self._graph.nodes
        given = [helper.make_tensor_value_info(*each) for each in inputs or ()]
        for name, shape in zip(states or (), shapes or (), strict=True):
            given.append(
                helper.make_tensor_value_info(name, TensorProto.FLOAT, [None] * len(shape))
            )
        results = [onnx.ValueInfoProto(name=name) for name in ([first] if first else []) + outputs]
        graph.nodes, graph.shapes = self._outer
        graph.depth -= 1
        return helper.make_graph(nodes, f"body{self.number}", given, results)


CONTROL: tuple[Callable[[Graph], str], ...] = (conditional,) * 4 + (repeated,) * 4 + (scanned,) * 2
