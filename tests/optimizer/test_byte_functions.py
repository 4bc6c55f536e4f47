"""Functions of quantized tensors alone become tables, for sessions only."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper
from onnx.helper import make_node
from sardonyx.runtime import sources

F32 = np.float32
ARRAYS = {
    "s": F32(0.05), "t": F32(0.03), "half": np.full((1, 1, 1), 0.5, F32), "three": F32(3),
    "row": np.linspace(-1, 1, 9).astype(F32), "one": np.array([200], np.uint8), "p": F32(0.005),
    "low": F32(-1), "high": F32(2), "flag": F32(0.25), "o": np.uint8(0),
}  # fmt: skip


def gelu() -> list[onnx.NodeProto]:
    """Quantized after each step, as by a calibration of all tensors; the number 1 is, too."""
    steps = [
        ("Pow", "x", "three"), ("Mul", "@", "half"), ("Add", "x", "@"), ("Tanh", "@"),
        ("Add", "@", "dq_one"), ("Mul", "x", "@"), ("Mul", "half", "@"),
    ]  # fmt: skip
    nodes = [make_node("DequantizeLinear", ["one", "p", "o"], ["dq_one"])]
    last = "x"
    for i, (op, *inputs) in enumerate(steps):
        nodes.append(make_node(op, [last if x == "@" else x for x in inputs], [f"g{i}"]))
        last = f"g{i}"
        if i < len(steps) - 1:
            nodes.append(make_node("QuantizeLinear", [last, "t", "zero"], [f"h{i}"]))
            nodes.append(make_node("DequantizeLinear", [f"h{i}", "t", "zero"], [f"k{i}"]))
            last = f"k{i}"
    return nodes


FUNCTIONS = {
    "sigmoid": [make_node("Sigmoid", ["x"], ["y"])],
    "clip": [make_node("Clip", ["x", "low", "high"], ["y"])],
    "leaky": [make_node("LeakyRelu", ["x"], ["y"], alpha=0.3)],
    "silu": [make_node("Sigmoid", ["x"], ["a"]), make_node("Mul", ["x", "a"], ["y"])],
    "where": [
        make_node("Greater", ["x", "flag"], ["a"]), make_node("Exp", ["x"], ["b"]),
        make_node("Where", ["a", "b", "x"], ["y"]),
    ],
    "gelu": gelu(),
}  # fmt: skip


def model(
    nodes: list[onnx.NodeProto], kind: Any, shape: Any, more: Any = (), output: str = "out"
) -> onnx.ModelProto:
    """Bytes q, dequantized to x; the last node's result is quantized."""
    zero = np.array(100 if kind == np.uint8 else -7, kind)
    result = nodes[-1].output[0]
    nodes = [
        make_node("DequantizeLinear", ["q", "s", "zero"], ["x"]), *nodes,
        make_node("QuantizeLinear", [result, "t", "zero"], ["out"]), *more,
    ]  # fmt: skip
    used = {name for node in nodes for name in node.input}
    arrays = {**ARRAYS, "zero": zero}
    element = helper.np_dtype_to_tensor_dtype(np.dtype(kind))
    graph = helper.make_graph(
        nodes,
        "functions",
        [helper.make_tensor_value_info("q", element, shape)],
        [onnx.ValueInfoProto(name=output)],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items() if k in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def agree(proto: onnx.ModelProto, shape: Any, kind: Any) -> list[str]:
    """Compare with onnxruntime: on bytes within one; returns operators of steps."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    reference = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    q = np.random.default_rng(0).integers(0, 256, shape).astype(np.uint8).view(kind)
    session = sardonyx.Session(proto, threads=1)
    for _ in range(2):
        (expected,), (found,) = reference.run(None, {"q": q}), session.run(None, {"q": q})
        off = np.abs(found.astype(np.float64) - expected)
        assert found.dtype == expected.dtype and off.max() <= 1 and (off > 1e-5).mean() < 0.02
    return [part for step in session.engine.program.steps for part in step.op_type.split("+")]


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize("name", FUNCTIONS)
def test_functions_are_looked_up(name, kind, monkeypatch):
    """All bytes, and sizes that are no multiples of those of vectors, with names or without."""
    monkeypatch.setattr(sources, "least_function", lambda: 1)
    for shape in ([3, 5, 9], [2, 8, 64]):
        assert "Gather" in agree(model(FUNCTIONS[name], kind, ["n", *shape[1:]]), shape, kind)


def test_short_functions_are_computed_where_that_is_faster(monkeypatch):
    monkeypatch.setattr(sources, "least_function", lambda: 2)
    proto = model(FUNCTIONS["sigmoid"], np.uint8, [3, 5, 9])
    assert "Gather" not in agree(proto, [3, 5, 9], np.uint8)


def test_channels_last_bytes_are_looked_up_as_they_lie():
    rng = np.random.default_rng(1)
    arrays = {"w": rng.integers(-9, 9, (6, 4, 3, 3)).astype(np.int8), "ws": F32(0.02)}
    conv = [
        make_node("DequantizeLinear", ["w", "ws"], ["f"]),
        make_node("Conv", ["x", "f"], ["c"]),
        make_node("QuantizeLinear", ["c", "s", "zero"], ["cq"]),
        make_node("DequantizeLinear", ["cq", "s", "zero"], ["cf"]),
        make_node("HardSwish", ["cf"], ["y"]),
    ]
    proto = model(conv, np.uint8, [1, 4, 9, 7])
    tensors = [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items()]
    proto.graph.initializer.extend(tensors)
    steps = agree(proto, [1, 4, 9, 7], np.uint8)
    assert steps.index("QLinearConv") < steps.index("Gather") and "HardSwish" in steps


@pytest.mark.parametrize(
    ("nodes", "more", "output"),
    [
        ([make_node("Add", ["x", "row"], ["y"])], (), "out"),
        ([make_node("Softmax", ["x"], ["y"])], (), "out"),
        ([make_node("Identity", ["x"], ["y"])], [make_node("Sigmoid", ["x"], ["z"])], "z"),
    ],
)
def test_others_are_computed(nodes, more, output):
    """Operands of several numbers, functions of rows, and results that are floats."""
    steps = agree(model(nodes, np.uint8, [3, 5, 9], more, output), [3, 5, 9], np.uint8)
    assert "Gather" not in steps
