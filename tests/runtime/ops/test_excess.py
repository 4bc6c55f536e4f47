"""Weights that fit int8 less a number for each result are multiplied as bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper
from onnx.helper import make_node
from sardonyx.kernels.machine_costs import costs_given, machine_costs
from sardonyx.kernels.unit_rates import words_pay
from sardonyx.runtime.ops import quads
from sardonyx.runtime.ops.excess import excess, without

F32 = np.float32


def model(node: onnx.NodeProto, dims: list[Any], arrays: dict[str, Any]) -> onnx.ModelProto:
    """A node whose only input that is no constant is ``x``."""
    types = {np.dtype(np.uint8): 2, np.dtype(np.int8): 3}
    kind = types[np.asarray(arrays["xz"]).dtype]
    graph = helper.make_graph(
        [node],
        "excess",
        [helper.make_tensor_value_info("x", kind, dims)],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def agree(proto: onnx.ModelProto, shape: tuple[int, ...], kind: Any, most: int = 0) -> None:
    """Compare with onnxruntime: whole numbers, of which some may be off by so many."""
    limits, rng = np.iinfo(kind), np.random.default_rng(1)
    feeds = {"x": rng.integers(limits.min, limits.max + 1, shape).astype(kind)}
    (wanted,) = onnxruntime.InferenceSession(proto.SerializeToString()).run(None, feeds)
    for threads in (1, 3):
        session = sardonyx.Session(proto, threads=threads)
        (found,) = session.run(None, feeds)
        off = np.abs(found.astype(np.int64) - wanted)
        assert off.max() <= most and (off > 0).mean() < 0.01
        kinds = {step.op_type for step in session.engine.program.steps}
        assert not quads.words_pay() or "Pairs" not in kinds


def zeros(several: bool, count: int, rng: np.random.Generator) -> np.ndarray:
    return rng.integers(0, 256, count if several else ()).astype(np.uint8)


@pytest.mark.skipif(not words_pay(), reason="this processor multiplies pairs, not words")
def test_excess_is_what_is_beyond_int8():
    weights = np.array([[-3, 251], [-255, 0], [-128, 127], [5, 6]] * 8, np.int16).repeat(30, 1)
    numbers = excess(weights)
    assert numbers is not None
    np.testing.assert_array_equal(numbers[:4], [124, -127, 0, 0])
    small = without(weights, numbers)
    assert small.min() >= -128 and small.max() <= 127
    np.testing.assert_array_equal(small + numbers[:, None], weights)
    assert excess(without(weights, numbers)) is None


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
@pytest.mark.parametrize("several", [False, True])
def test_products(kind, several):
    rng = np.random.default_rng(several)
    for shape in ((7, 96), (2, 5, 98), (1, 300)):
        columns = 40
        arrays: dict[str, Any] = {
            "w": rng.integers(0, 256, (shape[-1], columns)).astype(np.uint8),
            "xz": np.array(9, kind), "wz": zeros(several, columns, rng),
        }  # fmt: skip
        node = make_node("MatMulInteger", ["x", "w", "xz", "wz"], ["y"])
        agree(model(node, ["n", *shape[1:]], arrays), shape, kind)
        if several or kind is np.int8:
            continue  # which onnxruntime lacks
        arrays |= {"xs": F32(0.1), "ws": F32(0.01), "ys": F32(4), "yz": np.array(100, kind)}
        inputs = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"]
        agree(model(make_node("QLinearMatMul", inputs, ["y"]), [*shape], arrays), shape, kind, 1)


@pytest.mark.parametrize("attributes", [
    {}, {"pads": [1, 1, 1, 1]}, {"strides": [2, 2], "pads": [0, 1, 2, 1]}, {"dilations": [2, 1]},
], ids=str)  # fmt: skip
@pytest.mark.parametrize("channels", [8, 17])
def test_convolutions(attributes, channels):
    rng, filters = np.random.default_rng(channels), 33
    shape = (2, channels, 9, 7)
    arrays: dict[str, Any] = {
        "w": rng.integers(0, 256, (filters, channels, 3, 3)).astype(np.uint8),
        "xz": np.uint8(201), "wz": np.uint8(121), "xs": F32(0.1), "ws": F32(0.01), "ys": F32(6),
        "yz": np.uint8(90), "b": rng.integers(-9999, 9999, filters).astype(np.int32),
    }  # fmt: skip
    node = make_node("ConvInteger", ["x", "w", "xz", "wz"], ["y"], **attributes)
    some = {name: arrays[name] for name in ("w", "xz", "wz")}
    agree(model(node, ["n", channels, "h", "v"], some), shape, np.uint8)
    node = make_node(
        "QLinearConv", ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["y"], **attributes
    )
    agree(model(node, [*shape], arrays), shape, np.uint8, 1)


@pytest.mark.parametrize("shape", [(1, 32, 40, 1), (2, 32, 1, 9), (1, 64, 3, 3)])
def test_narrow_images(shape):
    rng = np.random.default_rng(0)
    arrays: dict[str, Any] = {
        "w": rng.integers(0, 256, (20, shape[1], 3, 1)).astype(np.uint8),
        "xz": np.uint8(1), "wz": np.uint8(100),
    }  # fmt: skip
    pads = [1, 0, 1, 0]
    node = make_node("ConvInteger", ["x", "w", "xz", "wz"], ["y"], pads=pads)
    agree(model(node, [*shape], arrays), shape, np.uint8)


@pytest.mark.parametrize("attributes", [
    {}, {"pads": [1, 1, 0, 1, 0, 1]}, {"strides": [1, 2, 2]}, {"dilations": [1, 2, 1]},
], ids=str)  # fmt: skip
def test_volumes(attributes):
    rng, filters, shape = np.random.default_rng(3), 35, (2, 6, 5, 7, 6)
    arrays: dict[str, Any] = {
        "w": rng.integers(0, 256, (filters, 6, 3, 3, 2)).astype(np.uint8),
        "xz": np.uint8(201), "wz": np.uint8(121), "xs": F32(0.1), "ws": F32(0.01), "ys": F32(6),
        "yz": np.uint8(90), "b": rng.integers(-9999, 9999, filters).astype(np.int32),
    }  # fmt: skip
    node = make_node("ConvInteger", ["x", "w", "xz", "wz"], ["y"], **attributes)
    some = {name: arrays[name] for name in ("w", "xz", "wz")}
    agree(model(node, [*shape], some), shape, np.uint8)
    node = make_node(
        "QLinearConv", ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"], ["y"], **attributes
    )
    agree(model(node, [*shape], arrays), shape, np.uint8, 1)


@pytest.mark.skipif(not quads.words_pay(), reason="no products of bytes that are faster")
def test_a_pass_over_sums_has_to_cost_less_than_pairs():
    weights = np.array([[-3, 251], [5, 6]] * 16, np.int16).repeat(500, 1)
    costs = machine_costs()
    for near, pays in ((0.0, True), (100.0, False)):
        given = costs._replace(streams=costs.streams._replace(near=near), tile_stores=0.0)
        with costs_given(given):
            assert (excess(weights) is not None) is pays
