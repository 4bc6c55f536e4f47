"""Random graphs of a few nodes, made of what programs are built around.

Views and shared results, concatenations in place, chains, residuals, gates, convolutions with
poolings, strips of depthwise convolutions, host steps in between, several outputs in any order,
open and fixed sizes. A graph is its number: `random_graph` makes the same of it everywhere.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np
import onnx
from onnx import TensorProto, helper

from .graph import Graph
from .motifs import MOTIFS, chosen

Feeds: TypeAlias = dict[str, np.ndarray]
LARGEST = 1 << 15
"""Elements of a value that others are made of."""


def random_graph(
    number: int, motifs: Sequence[Callable[[Graph], str]] = MOTIFS
) -> tuple[onnx.ModelProto, list[Feeds]]:
    """Make a model and inputs for it: of the sizes it was made with, and often of others."""
    graph = Graph(number)
    for _ in range(int(graph.rng.integers(1, 3))):
        graph.input(int(graph.pick((4, 4, 4, 3, 2))))
    for _ in range(int(graph.rng.integers(1, 7))):
        graph.pick(motifs)(graph)
        if max(int(np.prod(shape)) for shape in graph.shapes.values()) > LARGEST:
            break
    names = [name for name in graph.shapes if name not in graph.inputs or graph.chance(0.1)]
    count = min(int(graph.rng.integers(1, 5)), len(names))
    outputs = graph.rng.permutation(names)[:count].tolist() if names else graph.inputs[:1]
    if names and graph.chance(0.7) and names[-1] not in outputs:
        outputs.append(names[-1])
    opened = _opened(graph)
    return _model(graph, outputs, opened), _feeds(graph, opened)


def _opened(graph: Graph) -> dict[tuple[str, int], str]:
    """Draw the axes of inputs that are open: batch, spatial sizes, or all; and their names."""
    kind = int(graph.rng.integers(4))
    opened = {}
    for name in graph.inputs:
        for axis, size in enumerate(graph.shapes[name]):
            if kind == 3 or (kind == 1 and axis == 0) or (kind == 2 and axis != 1):
                opened[name, axis] = f"d{axis}_{size}"
    return opened


def _model(
    graph: Graph, outputs: Sequence[str], opened: dict[tuple[str, int], str]
) -> onnx.ModelProto:
    inputs = [
        helper.make_tensor_value_info(
            name,
            TensorProto.FLOAT,
            [opened.get((name, axis), size) for axis, size in enumerate(graph.shapes[name])],
        )
        for name in graph.inputs
    ]
    inputs += [
        helper.make_tensor_value_info(name, TensorProto.BOOL, [f"{name}_count"] if count else [])
        for name, count in graph.conditions.items()
    ]
    results = [onnx.ValueInfoProto(name=name) for name in outputs]
    made = helper.make_graph(graph.nodes, "fuzz", inputs, results, graph.weights)
    imports = [helper.make_opsetid("", graph.opset)]
    return helper.make_model(made, opset_imports=imports, ir_version=8)


def _feeds(graph: Graph, opened: dict[tuple[str, int], str]) -> list[Feeds]:
    """Draw inputs of the sizes that were drawn, then with other ones where they are open."""
    feeds = []
    # Larger ones only: where a window is larger than an image, onnxruntime rounds up, not down.
    for change in (0, 1, 3):
        if change and not opened:
            continue
        feed: Feeds = {}
        for name in graph.inputs:
            shape = [
                size + change * ((name, axis) in opened)
                for axis, size in enumerate(graph.shapes[name])
            ]
            feed[name] = graph.rng.standard_normal(shape).astype(np.float32)
        for name, count in graph.conditions.items():
            feed[name] = chosen(count) if count else np.array(graph.chance(0.5))
        feeds.append(feed)
    return feeds
