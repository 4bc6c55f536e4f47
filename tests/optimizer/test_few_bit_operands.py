"""Constants of few bits that meet bytes: products and convolutions are those of integers."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper
from onnx.helper import make_node

RNG = np.random.default_rng(0)
F32 = np.float32
KINDS = (ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.int2, ml_dtypes.uint2)


def model(node: onnx.NodeProto, weights: Any, scale: Any, zero: Any, axis: int, shape: Any) -> Any:
    """x, quantized and dequantized, and constants w in ``node``."""
    arrays = {"s": F32(0.05), "z": np.uint8(3), "w": weights, "ws": scale, "wz": zero}
    nodes = [
        make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        make_node("DequantizeLinear", ["q", "s", "z"], ["a"]),
        make_node("DequantizeLinear", ["w", "ws", "wz"], ["b"], axis=axis),
        node,
    ]
    graph = helper.make_graph(
        nodes,
        "quantized",
        [helper.make_tensor_value_info("x", 1, shape)],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 25)], ir_version=13)


def drawn(kind: Any, shape: tuple[int, ...]) -> np.ndarray:
    info = ml_dtypes.iinfo(kind)
    return RNG.integers(int(info.min), int(info.max) + 1, shape).astype(kind)


def expected(a: np.ndarray) -> np.ndarray:
    """What x is once it is quantized, in float64."""
    return (np.clip(np.rint(a / F32(0.05)) + 3, 0, 255) - 3) * np.float64(F32(0.05))


def operators(session: sardonyx.Session) -> set[str]:
    return {part for step in session.engine.program.steps for part in step.op_type.split("+")}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("by_column", [False, True])
def test_products(kind: Any, by_column: bool) -> None:
    weights = drawn(kind, (64, 33))
    scale = np.linspace(0.01, 0.02, 33).astype(F32) if by_column else F32(0.01)
    zero = drawn(kind, np.shape(scale))
    made = model(make_node("MatMul", ["a", "b"], ["y"]), weights, scale, zero, 1, ["n", 64])
    session, x = sardonyx.Session(made), RNG.standard_normal((7, 64)).astype(F32)
    wanted = expected(x) @ ((weights.astype(float) - zero.astype(float)) * scale)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], wanted, rtol=1e-5, atol=1e-5)
    assert "MatMulInteger" in operators(session)


def test_products_of_few_rows_read_them_as_they_lie() -> None:
    weights = drawn(ml_dtypes.int4, (256, 128))
    made = model(
        make_node("MatMul", ["a", "b"], ["y"]), weights, F32(0.01), drawn(ml_dtypes.int4, ()), 1,
        [1, 256],
    )  # fmt: skip
    session = sardonyx.Session(made)
    assert "MatMulInteger" not in operators(session)
    assert session.engine.program.weight_bytes < weights.size


@pytest.mark.parametrize("kind", KINDS[:2])
def test_convolutions(kind: Any) -> None:
    weights, scale = drawn(kind, (12, 8, 3, 3)), np.linspace(0.01, 0.02, 12).astype(F32)
    node = make_node("Conv", ["a", "b"], ["y"], pads=[1] * 4)
    made = model(node, weights, scale, np.zeros(12, kind), 0, ["n", 8, 9, 9])
    session, x = sardonyx.Session(made), RNG.standard_normal((1, 8, 9, 9)).astype(F32)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    made.opset_import[0].version, made.ir_version = 21, 10
    reference = onnxruntime.InferenceSession(made.SerializeToString(), options)
    (wanted,), (found,) = reference.run(None, {"x": x}), session.run(None, {"x": x})
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-4)
    assert "ConvInteger" in operators(session)
