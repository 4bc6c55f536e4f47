"""Shape computations: what Shape, Gather, Concat and the like make of known sizes.

Numbers become constants, and what is the same sizes again the value that was there first.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import numpy as np
import onnx_ir as ir

from .cleanup import infer
from .report import Report
from .symbols import WITH_TARGET, Size, learn
from .values import attribute, constant, dims, insert, integers, new_constant, replace

_LIMIT = 64

_Known = dict[ir.Value, np.ndarray]
"""Contents of small integer tensors, as arrays of `Size`."""


def _array(items: list[Size], shape: tuple[int, ...] | None = None) -> np.ndarray:
    made = np.empty(len(items), object)
    made[:] = items
    return made if shape is None else made.reshape(shape)


def _of(value: ir.Value | None, known: _Known) -> np.ndarray | None:
    if value is None:
        return None
    if value in known:
        return known[value]
    array = constant(value) if value.shape is not None and len(value.shape) <= 1 else None
    if array is None or array.dtype.kind not in "iub" or array.size > _LIMIT:
        return None
    return _array([int(item) for item in array.reshape(-1)], array.shape)


def _shape(node: ir.Node, known: _Known) -> np.ndarray | None:
    x = node.inputs[0]
    sizes = None if x is None else dims(x)
    if sizes is None:
        return None
    end = attribute(node, "end", len(sizes))
    return _array(list(sizes[attribute(node, "start", 0) : end]))


def _gather(node: ir.Node, known: _Known) -> np.ndarray | None:
    data, indices = _of(node.inputs[0], known), constant(node.inputs[1])
    if data is None or indices is None or data.ndim != 1 or indices.ndim > 1:
        return None
    if (np.abs(indices + 0.5) > data.size).any():
        return None
    return np.array(data[indices], object)


def _slice(node: ir.Node, known: _Known) -> np.ndarray | None:
    data = _of(node.inputs[0], known)
    limits = [integers(value) for value in node.inputs[1:]]
    if data is None or data.ndim != 1 or any(item is None or len(item) != 1 for item in limits):
        return None
    step = limits[3][0] if len(limits) > 3 else 1  # type: ignore[index]
    return data[slice(limits[0][0], limits[1][0], step)] if step > 0 else None  # type: ignore[index]


def _concat(node: ir.Node, known: _Known) -> np.ndarray | None:
    parts = [_of(value, known) for value in node.inputs]
    if any(part is None or part.ndim != 1 for part in parts):
        return None
    return np.concatenate(parts)  # type: ignore[arg-type]


def _unsqueeze(node: ir.Node, known: _Known) -> np.ndarray | None:
    data = _of(node.inputs[0], known)
    return data.reshape(1) if data is not None and data.ndim == 0 else None


def _squeeze(node: ir.Node, known: _Known) -> np.ndarray | None:
    data = _of(node.inputs[0], known)
    return data.reshape(()) if data is not None and data.shape == (1,) else None


def _cast(node: ir.Node, known: _Known) -> np.ndarray | None:
    if attribute(node, "to", 0) not in (int(ir.DataType.INT64), int(ir.DataType.INT32)):
        return None
    return _of(node.inputs[0], known)


def _is_same(a: Size, b: Size) -> bool | None:
    """Compare two sizes, of which none that has a name is negative."""
    if a is None or b is None:
        return None
    negative = any(isinstance(size, int) and size < 0 for size in (a, b))
    return a == b if a == b or negative or type(a) is type(b) is int else None


def _equal(node: ir.Node, known: _Known) -> np.ndarray | None:
    a, b = (_of(value, known) for value in node.inputs)
    if a is None or b is None:
        return None
    table = np.broadcast(a, b)
    return _array([_is_same(x, y) for x, y in table], table.shape)


def _where(node: ir.Node, known: _Known) -> np.ndarray | None:
    condition, *options = (_of(value, known) for value in node.inputs)
    if condition is None or any(option is None for option in options):
        return None
    table = np.broadcast(condition, *options)  # type: ignore[arg-type]
    items = [None if c is None else (a if c else b) for c, a, b in table]
    return _array(items, table.shape)


_FOLLOW: dict[str, Callable[[ir.Node, _Known], np.ndarray | None]] = {
    "Shape": _shape,
    "Gather": _gather,
    "Slice": _slice,
    "Concat": _concat,
    "Unsqueeze": _unsqueeze,
    "Squeeze": _squeeze,
    "Cast": _cast,
    "Equal": _equal,
    "Where": _where,
}
_ARITHMETIC: dict[str, Callable[[int, int], int]] = {
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": lambda a, b: (abs(a) // abs(b)) * (1 if (a < 0) == (b < 0) else -1),
}


def _arithmetic(node: ir.Node, known: _Known) -> np.ndarray | None:
    """Integer arithmetic; only what is a number on both sides stays known."""
    a, b = (_of(value, known) for value in node.inputs)
    if a is None or b is None or (node.op_type == "Div" and (b == 0).any()):
        return None
    operate = _ARITHMETIC[node.op_type]
    pairs = [(x, y) for x, y in np.broadcast(a, b)]
    items: list[Size] = [
        operate(x, y) if isinstance(x, int) and isinstance(y, int) else None for x, y in pairs
    ]
    return _array(items, np.broadcast(a, b).shape)


def fold_shapes(model: ir.Model, report: Report) -> int:
    """Replace computations on known sizes by constants, in the graph and its subgraphs."""
    counts, learnt = zip(*(_fold_graph(model, graph) for graph in model.graphs()), strict=True)
    if any(learnt):
        infer(model)
    return sum(counts)


def _fold_graph(model: ir.Model, graph: ir.Graph) -> tuple[int, bool]:
    """Fold a graph; returns the number of nodes, and whether a size was learnt."""
    known: _Known = {}
    first: dict[Hashable, ir.Value] = {}
    count, learnt = 0, False
    for node in list(graph):
        if node.domain or len(node.outputs) != 1:
            continue
        if node.op_type in WITH_TARGET and len(node.inputs) > 1:
            count += _fold_target(graph, node, known)
            learnt |= learn(model, node, _of(node.inputs[1], known))
            continue
        learnt |= learn(model, node, None)
        if node.op_type == "Shape" and _measure_inputs(model, graph, node):
            count += 1
            continue
        follow = _FOLLOW.get(node.op_type)
        if node.op_type in _ARITHMETIC and len(node.inputs) == 2:
            follow = _arithmetic
        found = follow(node, known) if follow is not None and node.inputs else None
        if found is None or found.size > _LIMIT:
            continue
        output = node.outputs[0]
        known[output] = found
        if output.dtype is None or output.is_graph_output():
            continue
        items = tuple(found.reshape(-1))
        if all(isinstance(item, int) for item in items):
            array = found.astype(np.int64).astype(output.dtype.numpy())
            count += replace(node, new_constant(graph, array, f"{output.name}.folded"))
        elif None not in items:  # computed once
            same = first.setdefault((output.dtype, found.shape, items), output)
            count += same is not output and replace(node, same)
    return count, learnt


def _measure_inputs(model: ir.Model, graph: ir.Graph, node: ir.Node) -> bool:
    """Read sizes off the model's inputs, so that nothing else keeps a value that is computed."""
    x, sizes = node.inputs[0], _shape(node, {})
    if x is None or x.producer() is None or len(x.uses()) < 2 or sizes is None:
        return False
    if graph is not model.graph or model.opset_imports.get("", 1) < 15:
        return False  # Shape gives a part of the sizes since opset 15
    places = {
        size: (value, axis)
        for value in model.graph.inputs
        for axis, size in enumerate(dims(value) or [])
        if isinstance(size, str)
    }
    if node.outputs[0].is_graph_output() or not sizes.size:
        return False
    if not all(isinstance(size, int) or size in places for size in sizes):
        return False
    parts: list[ir.Value] = []
    nodes: list[ir.Node] = []
    for size in sizes:
        if isinstance(size, int):
            parts.append(new_constant(graph, np.array([size], np.int64), f"{x.name}.size"))
            continue
        value, axis = places[size]
        read = ir.node("Shape", [value], {"start": axis, "end": axis + 1}, name=f"{node.name}.size")
        parts.append(read.outputs[0])
        nodes.append(read)
    nodes.append(ir.node("Concat", parts, {"axis": 0}, name=node.name))
    for made in nodes:
        made.outputs[0].type = node.outputs[0].type
        made.outputs[0].shape = ir.Shape([1])
    nodes[-1].outputs[0].shape = node.outputs[0].shape
    insert(node, nodes)
    return replace(node, nodes[-1].outputs[0])


def _fold_target(graph: ir.Graph, node: ir.Node, known: _Known) -> bool:
    """Make the target of a Reshape constant, with 0 and -1 for what is only known by name."""
    x, target = node.inputs[:2]
    found = None if target is None else known.get(target)
    if x is None or found is None or node.op_type != "Reshape" or attribute(node, "allowzero", 0):
        return False
    sizes = dims(x) or []
    items: list[int | None] = []
    for axis, item in enumerate(found):
        same = isinstance(item, str) and axis < len(sizes) and sizes[axis] == item
        number = item if isinstance(item, int) and item != 0 else None
        items.append(0 if same else number)
    if items.count(None) > 1 or (None in items and -1 in items):
        return False
    array = np.array([-1 if item is None else item for item in items], np.int64)
    node.replace_input_with(1, new_constant(graph, array, f"{node.outputs[0].name}.shape"))
    return True
