"""Products of dequantized operands become products of integers, for sessions only."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper
from onnx.helper import make_node

RNG = np.random.default_rng(0)


def model(kinds: tuple[Any, Any], more: Any = (), **changed: Any) -> onnx.ModelProto:
    """x, quantized and dequantized, times a constant matrix, dequantized."""
    a, b = kinds
    weights: dict[str, Any] = {
        "sa": np.array(0.05, np.float32),
        "za": np.array(3, a),
        "w": RNG.integers(np.iinfo(b).min, np.iinfo(b).max + 1, (64, 33)).astype(b),
        "sb": np.linspace(0.01, 0.02, 33, dtype=np.float32),
        "zb": RNG.integers(0, 9, 33).astype(b),
    }
    weights |= changed
    nodes = [
        make_node("QuantizeLinear", ["x", "sa", "za"], ["q"]),
        make_node("DequantizeLinear", ["q", "sa", "za"], ["a"]),
        make_node("DequantizeLinear", ["w", "sb", "zb"], ["b"], axis=1),
        make_node("MatMul", ["a", "b"], ["c"]),
        *more,
    ]
    graph = helper.make_graph(
        nodes,
        "quantized",
        [helper.make_tensor_value_info("x", 1, ["N", 7, 64])],
        [onnx.ValueInfoProto(name=nodes[-1].output[0])],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def products(session: sardonyx.Session) -> list[str]:
    """Names of the operators that steps compute, products only."""
    parts = [part for step in session.engine.program.steps for part in step.op_type.split("+")]
    return [part for part in parts if part.startswith("MatMul")]


def agree(
    session: sardonyx.Session, wanted: onnx.ModelProto, shape: tuple[int, ...] = (3, 7, 64)
) -> None:
    x = RNG.standard_normal(shape).astype(np.float32)
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    reference = onnxruntime.InferenceSession(wanted.SerializeToString(), options)
    (expected,), (found,) = reference.run(None, {"x": x}), session.run(None, {"x": x})
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("a", [np.uint8, np.int8])
@pytest.mark.parametrize("b", [np.uint8, np.int8])
def test_products_of_integers(a: Any, b: Any) -> None:
    for sb, zb in ((0.01, 0), (np.linspace(0.01, 0.02, 33), np.arange(33))):
        quantized = model((a, b), sb=np.asarray(sb, np.float32), zb=np.asarray(zb, b))
        session = sardonyx.Session(quantized)
        assert set(products(session)) == {"MatMulInteger"}
        agree(session, quantized)


def test_what_follows_is_one_step() -> None:
    more = [
        make_node("Add", ["c", "bias"], ["d"]),
        make_node("Relu", ["d"], ["e"]),
    ]
    bias = RNG.standard_normal(33).astype(np.float32)
    quantized = model((np.uint8, np.int8), more, bias=bias)
    session = sardonyx.Session(quantized)
    types = [step.op_type for step in session.engine.program.steps]
    assert types[0] == "QuantizeLinear" and types[-1] == "MatMulInteger+Cast+Mul+Add+Relu"
    assert set(types[1:-1]) <= {"Pairs", types[-1]}
    agree(session, quantized)


def test_dequantized_values_that_others_read() -> None:
    more = [make_node("ReduceSum", ["a"], ["s"]), make_node("Add", ["c", "s"], ["y"])]
    quantized = model((np.uint8, np.int8), more)
    session = sardonyx.Session(quantized)
    assert set(products(session)) == {"MatMulInteger"}
    agree(session, quantized)


def test_strict_sessions_and_saved_models_keep_floats(tmp_path: Any) -> None:
    quantized = model((np.uint8, np.int8))
    for options in ({"precision": "strict"}, {"optimize": "none"}):
        session = sardonyx.Session(quantized, **options)
        assert products(session) == ["MatMul"]
        agree(session, quantized)
    optimized = sardonyx.optimize(sardonyx.load(quantized))
    sardonyx.save(optimized, tmp_path / "saved.onnx")
    nodes = onnx.load(tmp_path / "saved.onnx").graph.node
    assert "MatMul" in {node.op_type for node in nodes}


def test_scales_that_are_not_known_stay_floats() -> None:
    quantized = model((np.uint8, np.int8))
    (scale,) = (x for x in quantized.graph.initializer if x.name == "sa")
    quantized.graph.initializer.remove(scale)
    quantized.graph.input.append(helper.make_tensor_value_info("sa", 1, []))
    assert products(sardonyx.Session(quantized)) == ["MatMul"]


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("by", ["matrix", "column"])
def test_gemm(turned: int, by: str) -> None:
    w = RNG.integers(-128, 128, (64, 33)).astype(np.int8)
    weights = {
        "sa": np.array(0.05, np.float32), "za": np.array(3, np.uint8),
        "w": w.T.copy() if turned else w, "bias": RNG.standard_normal(33).astype(np.float32),
        "sb": np.linspace(0.01, 0.02, 33, dtype=np.float32),
    }  # fmt: skip
    if by == "matrix":
        weights["sb"] = np.array(0.01, np.float32)
    nodes = [
        make_node("QuantizeLinear", ["x", "sa", "za"], ["q"]),
        make_node("DequantizeLinear", ["q", "sa", "za"], ["a"]),
        make_node("DequantizeLinear", ["w", "sb"], ["b"], axis=1 - turned),
        make_node("Gemm", ["a", "b", "bias"], ["y"], transB=turned),
    ]
    graph = helper.make_graph(
        nodes,
        "quantized",
        [helper.make_tensor_value_info("x", 1, ["N", 64])],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [helper.make_opsetid("", 21)]
    quantized = helper.make_model(graph, opset_imports=opsets, ir_version=10)
    session = sardonyx.Session(quantized)
    assert set(products(session)) == {"MatMulInteger"}
    agree(session, quantized, (5, 64))
