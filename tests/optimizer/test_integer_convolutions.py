"""Convolutions of dequantized operands become convolutions of integers, for sessions only."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
import sardonyx
from onnx import helper
from onnx.helper import make_node
from sardonyx.optimizer.integer_convolutions import convolve_integers

F32 = np.float32
SCALE = F32(0.04)


def model(
    rng: np.random.Generator, *, x: Any = np.uint8, w: Any = np.int8, y: Any = np.uint8,
    group: int = 1, by_filter: bool = True, bias: str = "integer", between: Any = (),
    y_zero: int = 100, more: Any = (), filters: int = 12, **attributes: Any,
) -> onnx.ModelProto:  # fmt: skip
    """x, quantized and dequantized, convolved with constant weights, quantized again."""
    points = np.zeros(filters if by_filter else (), w)
    scales = rng.uniform(0.002, 0.01, points.shape).astype(F32)
    limits = np.iinfo(w)
    weights = rng.integers(limits.min, limits.max + 1, (filters, 8 // group, 3, 3)).astype(w)
    arrays = {
        "xs": F32(0.02), "xz": np.array(7, x), "w": weights, "ws": scales,
        "wz": points + w(0 if w is np.int8 else 121), "ys": SCALE, "yz": np.array(y_zero, y),
        "b": rng.integers(-9999, 9999, filters, np.int32), "bs": (scales * F32(0.02)).astype(F32),
        "bf": rng.standard_normal(filters).astype(F32), "low": F32(0), "high": F32(6),
    }  # fmt: skip
    nodes = [
        make_node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
        make_node("DequantizeLinear", ["q", "xs", "xz"], ["a"]),
        make_node("DequantizeLinear", ["w", "ws", "wz"], ["f"], axis=0),
        make_node("DequantizeLinear", ["b", "bs"], ["c"], axis=0),
    ]
    named = {"integer": ["c"], "float": ["bf"], "none": []}[bias]
    nodes.append(make_node("Conv", ["a", "f", *named], ["y0"], group=group, **attributes))
    for i, (op, *inputs) in enumerate(between):
        nodes.append(make_node(op, [f"y{i}", *inputs], [f"y{i + 1}"]))
    nodes.append(make_node("QuantizeLinear", [f"y{len(between)}", "ys", "yz"], ["p"]))
    nodes.append(make_node("DequantizeLinear", ["p", "ys", "yz"], ["z"]))
    nodes += more
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        [node for node in nodes if node.output[0] != "c" or bias == "integer"],
        "quantized",
        [helper.make_tensor_value_info("x", 1, ["N", 8, 11, 9])],
        [onnx.ValueInfoProto(name=nodes[-1].output[0])],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items() if k in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def steps(session: sardonyx.Session) -> list[str]:
    """Operators that steps compute."""
    return [part for step in session.engine.program.steps for part in step.op_type.split("+")]


def agree(session: sardonyx.Session, wanted: onnx.ModelProto, rng: np.random.Generator) -> None:
    """Compare with floats; where one lies between two numbers of the grid, either may come."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    reference = onnxruntime.InferenceSession(wanted.SerializeToString(), options)
    feeds = {"x": (rng.standard_normal((2, 8, 11, 9)) * 2).astype(F32)}
    (expected,), (found,) = reference.run(None, feeds), session.run(None, feeds)
    off = np.abs(found - expected)
    assert off.max() <= SCALE * 1.01
    assert (off > SCALE / 2).mean() < 0.01


@pytest.mark.parametrize("seed", range(12))
def test_convolutions_take_integers(seed):
    """Types, groups, windows, biases and limits, drawn."""
    rng = np.random.default_rng(seed)
    kinds = [np.int8, np.uint8]
    between = [(), (("Relu",),), (("Clip", "low", "high"),)][seed % 3]
    attributes = {"pads": [1, 0, 1, 1]} if seed % 2 else {"strides": [2, 1], "dilations": [1, 2]}
    drawn = model(
        rng, x=kinds[rng.integers(2)], w=kinds[rng.integers(2)], y=kinds[rng.integers(2)],
        group=[1, 4, 2][rng.integers(3)], by_filter=bool(rng.integers(2)),
        bias=["integer", "float", "none"][rng.integers(3)], between=between,
        y_zero=int(rng.integers(0, 128)), **attributes,
    )  # fmt: skip
    session = sardonyx.Session(drawn, threads=1 + seed % 2)
    assert "Conv" not in steps(session) and "QLinearConv" in steps(session)
    agree(session, drawn, rng)


def test_a_limit_is_one_of_integers_only_where_their_type_does_not_hold_it():
    rng = np.random.default_rng(0)
    for zero, clips in ((0, False), (100, True)):
        drawn = model(rng, between=(("Relu",),), y_zero=zero)
        session = sardonyx.Session(drawn, threads=1)
        assert ("Clip" in steps(session)) is clips
        agree(session, drawn, rng)


@pytest.mark.parametrize(
    "changed",
    [
        {"between": (("Tanh",),)},
        {"more": [make_node("Add", ["y0", "z"], ["s"])]},
    ],
)
def test_results_that_are_no_bytes_are_floats_of_integer_sums(changed):
    """Other functions, and sums that something else reads."""
    rng = np.random.default_rng(1)
    for bias in ("integer", "float", "none"):
        drawn = model(rng, bias=bias, **changed)
        session = sardonyx.Session(drawn, threads=1)
        assert "Conv" not in steps(session) and "ConvInteger" in steps(session)
        agree(session, drawn, rng)


def test_depthwise_convolutions_of_floats_stay():
    rng = np.random.default_rng(1)
    drawn = model(rng, between=(("Tanh",),), group=8, filters=16)
    assert "Conv" in steps(sardonyx.Session(drawn, threads=1))


def test_strict_sessions_compute_floats():
    rng = np.random.default_rng(2)
    drawn = model(rng)
    session = sardonyx.Session(drawn, threads=1, precision="strict")
    assert "Conv" in steps(session)
    agree(session, drawn, rng)


def test_a_bias_beyond_the_sums_stays_a_float():
    rng = np.random.default_rng(3)
    drawn = model(rng, bias="float")
    for tensor in drawn.graph.initializer:
        if tensor.name == "bf":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.full(12, 1e9, F32), "bf"))
    assert "Conv" in steps(sardonyx.Session(drawn, threads=1))


def test_a_bias_at_the_limit_of_those_who_quantize_is_one_of_sums():
    rng = np.random.default_rng(3)
    drawn = model(rng)
    for tensor in drawn.graph.initializer:
        if tensor.name == "b":
            tensor.CopyFrom(onnx.numpy_helper.from_array(np.full(12, 2**30, np.int32), "b"))
    session = sardonyx.Session(drawn, threads=1)
    assert "Conv" not in steps(session)
    agree(session, drawn, rng)


def test_what_does_not_pay_stays_as_it_is():
    drawn = onnx.shape_inference.infer_shapes(model(np.random.default_rng(0), strides=[2, 1]))
    imported = ir.from_proto(drawn)
    asked: list[Any] = []
    convolve_integers(imported, lambda *sizes: bool(asked.append(sizes)))
    ((filters, result, *others),) = asked
    assert filters == (12, 8, 3, 3)
    assert len(result) == 4
    assert others == [1, [2, 1], [1, 1]]
    assert "Conv" in [node.op_type for node in imported.graph]
