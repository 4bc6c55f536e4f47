"""Recurrent layers as tf2onnx writes them: Loops over the steps of a sequence."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
from onnx import helper as oh
from sardonyx.importers import load

INPUTS, HIDDEN = 4, 5
MOST = 2**31 - 1
Nodes = list[tuple[Any, ...]]


def weights(gates: int, *biases: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Draw a kernel, a recurrent kernel and a bias, gates side by side."""
    rng = np.random.default_rng(seed)
    columns = gates * HIDDEN
    shapes = {"W": (INPUTS, columns), "R": (HIDDEN, columns), "B": (*biases, columns)}
    return {k: rng.uniform(-1, 1, shape).astype(np.float32) for k, shape in shapes.items()}


def cut(source: str, index: int) -> tuple[Any, ...]:
    """Cut a gate out by Slice."""
    stop = MOST if index == 2 else (index + 1) * HIDDEN
    names = [f"{source}.{end}{index}" for end in ("start", "stop")]
    limits = {names[0]: np.array([0, index * HIDDEN]), names[1]: np.array([MOST, stop])}
    return ("Slice", f"{source} {names[0]} {names[1]} axes", f"{source}_{index}", limits)


GRU_AFTER: Nodes = [
    ("Split", "B", "b0 b1", {"axis": 0, "num_outputs": 2}),
    ("Squeeze", "b0 zeroth", "bx"),
    ("Squeeze", "b1 zeroth", "bh"),
    ("MatMul", "x W", "p"),
    ("Add", "p bx", "xs"),
    ("Split", "xs", "xz xr xh", {"axis": -1, "num_outputs": 3}),
    ("MatMul", "h R", "q"),
    ("Add", "q bh", "hs"),
    *[cut("hs", k) for k in range(3)],
    ("Add", "xz hs_0", "z0"),
    ("Sigmoid", "z0", "z"),
    ("Add", "xr hs_1", "r0"),
    ("Sigmoid", "r0", "r"),
    ("Mul", "r hs_2", "rh"),
    ("Add", "xh rh", "c0"),
    ("Tanh", "c0", "c"),
    ("Mul", "z h", "old"),
    ("Sub", "one z", "keep"),
    ("Mul", "keep c", "new"),
    ("Add", "old new", "h_new"),
]
GRU_BEFORE: Nodes = [
    ("MatMul", "x W", "p"),
    ("Add", "p B", "xs"),
    ("Split", "xs", "xz xr xh", {"axis": -1, "num_outputs": 3}),
    *[cut("R", k) for k in range(3)],
    ("MatMul", "h R_0", "hz"),
    ("Add", "xz hz", "z0"),
    ("Sigmoid", "z0", "z"),
    ("MatMul", "h R_1", "hr"),
    ("Add", "xr hr", "r0"),
    ("Sigmoid", "r0", "r"),
    ("Mul", "r h", "rh"),
    ("MatMul", "rh R_2", "hh"),
    ("Add", "xh hh", "c0"),
    ("Tanh", "c0", "c"),
    ("Mul", "z h", "old"),
    ("Sub", "one z", "keep"),
    ("Mul", "keep c", "new"),
    ("Add", "old new", "h_new"),
]
RNN: Nodes = [
    ("MatMul", "x W", "p"),
    ("Add", "p B", "xs"),
    ("MatMul", "h R", "q"),
    ("Add", "xs q", "s"),
    ("Tanh", "s", "h_new"),
]
LSTM: Nodes = [
    ("MatMul", "x W", "p"),
    ("MatMul", "h R", "q"),
    ("Add", "p q", "s"),
    ("Add", "s B", "g"),
    ("Split", "g", "gi gf gc go", {"axis": 1, "num_outputs": 4}),
    ("Sigmoid", "gi", "i"),
    ("Sigmoid", "gf", "f"),
    ("Tanh", "gc", "c"),
    ("Sigmoid", "go", "o"),
    ("Mul", "f d", "kept"),
    ("Mul", "i c", "put"),
    ("Add", "kept put", "d_new"),
    ("Tanh", "d_new", "shown"),
    ("Mul", "o shown", "h_new"),
]
CELLS: dict[str, tuple[Nodes, tuple[int, ...]]] = {
    "GRU_AFTER": (GRU_AFTER, (3, 2)),
    "GRU_BEFORE": (GRU_BEFORE, (3,)),
    "RNN": (RNN, (1,)),
    "LSTM": (LSTM, (4,)),
}


def changed(nodes: Nodes, output: str, *node: Any) -> Nodes:
    """Replace the node that makes an output."""
    assert any(each[2] == output for each in nodes)
    return [node if each[2] == output else each for each in nodes]


def _nodes(nodes: Iterable[tuple[Any, ...]], arrays: dict[str, np.ndarray]) -> list[onnx.NodeProto]:
    created = []
    for op_type, inputs, outputs, *more in nodes:
        attributes = dict(more[0]) if more else {}
        weights = {k: v for k, v in attributes.items() if isinstance(v, np.ndarray)}
        arrays.update(weights)
        options = {k: v for k, v in attributes.items() if k not in weights}
        created.append(oh.make_node(op_type, inputs.split(), outputs.split(), **options))
    return created


def _scalar(name: str, kind: int) -> onnx.ValueInfoProto:
    return oh.make_tensor_value_info(name, kind, [])


def _body(cell: Nodes, arrays: dict[str, np.ndarray], two: bool) -> onnx.GraphProto:
    count = [
        ("Add", "time next", "later"),
        ("Cast", "later", "later_f", {"to": 1}),
        ("Less", "later_f steps", "more"),
        ("Cast", "trip", "trip_f", {"to": 1}),
        ("Less", "trip_f steps", "under"),
        ("And", "under more", "on"),
        ("Gather", "sequence time", "x", {"axis": 0}),
    ]
    states = ["h", "d"][: 1 + two]
    results = ["h_new_out", "d_new"][: 1 + two]
    handed = [oh.make_node("Identity", [name], [f"{name}_out"]) for name in (*"WRB", "h_new")]
    shapes = {name: arrays[f"{name}.0"].shape for name in "WRB"}

    def values(names: Iterable[str], shape: Iterable[Any] = ("n", HIDDEN)) -> list[Any]:
        return [oh.make_tensor_value_info(name, 1, list(shape)) for name in names]

    weights_in = [value for name, shape in shapes.items() for value in values([name], shape)]
    weights_out = [v for name, shape in shapes.items() for v in values([f"{name}_out"], shape)]
    return oh.make_graph(
        [*_nodes(count, arrays), *_nodes(cell, arrays), *handed],
        "body",
        [_scalar("trip", 7), _scalar("cond", 9), _scalar("time", 6), *values(states), *weights_in],
        [_scalar("on", 9), _scalar("later", 6), *values(results), *weights_out, *values(["h_new"])],
    )


OUTPUTS: dict[str, tuple[int, list[Any]]] = {
    "ys": (1, ["time", "n", HIDDEN]),
    "last": (1, ["n", HIDDEN]),
    "last_cell": (1, ["n", HIDDEN]),
    "time_end": (6, []),
}
SIZES: Nodes = [
    ("Shape", "sequence", "shape"),
    ("Cast", "shape", "shape32", {"to": 6}),
    ("Slice", "shape32 zeroth first zeroth", "length1"),
    ("Squeeze", "length1 zeroth", "length"),
    ("Cast", "length", "trips", {"to": 7}),
    ("Cast", "length", "steps", {"to": 1}),
    ("Slice", "shape32 first second zeroth", "batch1"),
    ("Concat", "batch1 width", "zeros_shape32", {"axis": 0}),
    ("Cast", "zeros_shape32", "zeros_shape", {"to": 7}),
    ("Expand", "none zeros_shape", "zeros"),
    ("Less", "none steps", "some"),
    ("And", "some some", "begin"),
]


def layer(
    cell: str | Nodes,
    outputs: str = "ys last",
    before: Nodes | None = None,
    after: Nodes | None = None,
    sizes: Callable[[Nodes], Nodes] = lambda nodes: nodes,
    kind: str = "",
    more_inputs: dict[str, list[Any]] | None = None,
    initial: str = "zeros zeros",
    **arrays: np.ndarray,
) -> ir.Model:
    """Make a model of one layer over ``v`` of shape (length, batch, inputs).

    ``before`` makes ``sequence`` of it, the Loop gives ``ys`` and ``last`` (and ``last_cell``),
    ``after`` makes the outputs of these.
    """
    kind = kind or (cell if isinstance(cell, str) else "")
    nodes, biases = CELLS[kind]
    nodes = nodes if isinstance(cell, str) else cell
    two = kind == "LSTM"
    constants: dict[str, np.ndarray] = {
        **{f"{name}.0": array for name, array in weights(*biases).items()},
        "axes": np.array([0, 1]),
        "zeroth": np.array([0]),
        "first": np.array([1]),
        "second": np.array([2]),
        "width": np.array([HIDDEN], np.int32),
        "none": np.float32(0),
        "one": np.float32(1),
        "start": np.int32(0),
        "next": np.int32(1),
        **arrays,
    }
    around = sizes(SIZES)
    states = initial.split()[: 1 + two]
    body = _body(nodes, constants, two)
    loop = oh.make_node(
        "Loop",
        ["trips", "begin", "start", *states, "W.0", "R.0", "B.0"],
        ["time_end", "last", *(["last_cell"] if two else []), "w_end", "r_end", "b_end", "ys"],
        "layer",
        body=body,
    )
    loop_nodes = [
        *_nodes(before or [("Identity", "v", "sequence")], constants),
        *_nodes(around, constants),
        loop,
        *_nodes(after or [], constants),
    ]
    inputs = {"v": ["time", "n", INPUTS], **(more_inputs or {})}
    graph = oh.make_graph(
        loop_nodes,
        "layer",
        [oh.make_tensor_value_info(name, 1, shape) for name, shape in inputs.items()],
        [oh.make_tensor_value_info(name, *OUTPUTS[name]) for name in outputs.split()],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in constants.items()],
    )
    proto = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 24)], ir_version=10)
    return load(onnx.shape_inference.infer_shapes(proto))
