"""Movements between tensors of one grid take integers, for sessions only."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper
from onnx.helper import make_node
from onnx.reference import ReferenceEvaluator

F32 = np.float32
WINDOW = dict(kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])
MOVEMENTS = [
    [("MaxPool", (), WINDOW)],
    [("Transpose", (), dict(perm=[0, 2, 3, 1])), ("Reshape", ("shape",), {})],
    [("Slice", ("from", "to"), {}), ("MaxPool", (), WINDOW), ("Flatten", (), {})],
]


def model(
    movements: list[Any], dtype: Any, scale: float, zero: int, also: tuple[str, ...] = ()
) -> onnx.ModelProto:
    """x, quantized and dequantized, moved, quantized in another grid and dequantized again."""
    arrays = {
        "s": F32(0.02), "z": np.array(7, dtype), "s2": F32(scale), "z2": np.array(zero, dtype),
        "shape": np.array([-1, 20]), "from": np.array([1, 0, 2, 0]), "to": np.array([2, 3, 9, 8]),
    }  # fmt: skip
    nodes = [
        make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        make_node("DequantizeLinear", ["q", "s", "z"], ["y0"]),
    ]
    for i, (op, inputs, attributes) in enumerate(movements):
        nodes.append(make_node(op, [f"y{i}", *inputs], [f"y{i + 1}"], **attributes))
    nodes.append(make_node("QuantizeLinear", [f"y{len(movements)}", "s2", "z2"], ["p"]))
    nodes.append(make_node("DequantizeLinear", ["p", "s2", "z2"], ["y"]))
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes, "moved", [helper.make_tensor_value_info("x", 1, [2, 4, 9, 10])],
        [onnx.ValueInfoProto(name=name) for name in ("y", *also)],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items() if k in used],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def count_quantized(drawn: onnx.ModelProto) -> tuple[int, int]:
    """Compare with the reference; returns how often numbers are quantized and dequantized."""
    session = sardonyx.Session(drawn, threads=1)
    x = np.random.default_rng(0).standard_normal((2, 4, 9, 10)).astype(F32) * 3
    wanted = ReferenceEvaluator(drawn).run(None, {"x": x})
    for found, expected in zip(session.run(None, {"x": x}), wanted, strict=True):
        np.testing.assert_array_equal(found, expected)
    steps = [part for step in session.engine.program.steps for part in step.op_type.split("+")]
    return steps.count("QuantizeLinear"), steps.count("DequantizeLinear")


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("movements", MOVEMENTS, ids=lambda m: "-".join(op for op, *_ in m))
def test_movements_within_a_grid_take_integers(movements: list[Any], dtype: Any) -> None:
    assert count_quantized(model(movements, dtype, 0.02, 7)) == (1, 1)


@pytest.mark.parametrize(("scale", "zero"), [(0.03, 7), (0.02, 8)])
def test_others_take_floats(scale: float, zero: int) -> None:
    assert count_quantized(model(MOVEMENTS[0], np.uint8, scale, zero)) == (2, 2)


def test_a_movement_that_others_read_stays() -> None:
    assert count_quantized(model(MOVEMENTS[0], np.uint8, 0.02, 7, also=("y1",))) == (2, 2)
