"""Scales that stand for no grid, and those of wrong shapes, are named."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper
from onnx.helper import make_node

F32 = np.float32


def model(node: onnx.NodeProto, kind: int, dims: list[int], **arrays: Any) -> onnx.ModelProto:
    graph = helper.make_graph(
        [node],
        "scales",
        [helper.make_tensor_value_info("x", kind, dims)],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items()],
    )
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def convolution(**arrays: Any) -> onnx.ModelProto:
    own = dict(
        xs=F32(0.1), xz=np.uint8(3), w=np.ones((4, 3, 3, 3), np.int8), ws=np.full(4, 0.1, F32),
        wz=np.zeros(4, np.int8), ys=F32(0.1), yz=np.uint8(3),
    ) | arrays  # fmt: skip
    node = make_node("QLinearConv", ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"], ["y"])
    return model(node, 2, [1, 3, 8, 8], **own)


def product(**arrays: Any) -> onnx.ModelProto:
    own = dict(
        xs=F32(0.1), xz=np.uint8(3), w=np.ones((6, 5), np.int8), ws=np.full(5, 0.1, F32),
        wz=np.zeros(5, np.int8), ys=F32(0.1), yz=np.uint8(3),
    ) | arrays  # fmt: skip
    node = make_node("QLinearMatMul", ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"], ["y"])
    return model(node, 2, [4, 6], **own)


@pytest.mark.parametrize("scale", [0.0, -1.0, np.inf, np.nan])
@pytest.mark.parametrize(
    "kind", ["QuantizeLinear", "DequantizeLinear", "QLinearConv", "MatMulNBits"]
)
def test_scales_that_are_no_steps_of_a_grid_are_warned_of(kind, scale):
    number = F32(scale)
    proto = {
        "QuantizeLinear": lambda: model(make_node(kind, ["x", "s"], ["y"]), 1, [3], s=number),
        "DequantizeLinear": lambda: model(make_node(kind, ["x", "s"], ["y"]), 3, [3], s=number),
        "QLinearConv": lambda: convolution(ws=np.array([1, 1, number, 1], F32)),
        "MatMulNBits": lambda: model(
            make_node(kind, ["x", "w", "s"], ["y"], domain="com.microsoft", K=32, N=2, bits=4,
                      block_size=32),
            1, [3, 32], s=np.array([1, number], F32), w=np.zeros((2, 1, 16), np.uint8),
        ),
    }[kind]()  # fmt: skip
    name = "'ws'" if kind == "QLinearConv" else "'s'"
    with pytest.warns(UserWarning, match=rf"{name} of node .*{kind}\): {float(number)}"):
        sardonyx.load(proto)


def test_usual_scales_are_not():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sardonyx.load(convolution())


@pytest.mark.parametrize("scale", [0.0, np.inf])
def test_such_a_scale_is_one_warning_and_no_error_of_arithmetic(scale):
    node = make_node("DequantizeLinear", ["w", "s"], ["f"])
    proto = model(node, 1, [4, 5], w=np.ones((5, 3), np.int8), s=F32(scale))
    proto.graph.node.append(make_node("MatMul", ["x", "f"], ["y"]))
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("always")
        sardonyx.Session(proto)
        sardonyx.Session(convolution(ys=F32(scale)))
    assert len(found) == 2 and all("positive and finite" in str(each.message) for each in found)


@pytest.mark.parametrize(("proto", "named"), [
    (convolution(ws=np.ones(3, F32)), "scales of 'ws' and filters"),
    (product(ws=np.ones(3, F32)), "scales of 'ws' and columns"),
    (convolution(xs=np.ones(2, F32)), "number of scales in 'xs' is 2, expected 1"),
    (convolution(ys=np.ones(4, F32)), "number of scales in 'ys' is 4, expected 1"),
    (convolution(xz=np.int8(3)), "'x', 'xs', 'xz'"),
    (product(wz=np.zeros(5, np.uint8)), "'ws', 'wz'"),
])  # fmt: skip
def test_scales_and_zero_points_that_do_not_fit_are_named(proto, named):
    with pytest.raises(sardonyx.InvalidModel, match=named):
        sardonyx.Session(proto)


def test_operators_of_one_scale_refuse_several():
    inputs = ["x", "xs", "xz", "b", "bs", "bz", "ys", "yz"]
    node = make_node("QLinearAdd", inputs, ["y"], domain="com.microsoft")
    proto = model(
        node, 2, [2, 12], xs=F32(1), xz=np.uint8(1), b=np.ones(12, np.uint8), bs=np.ones(12, F32),
        bz=np.ones(12, np.uint8), ys=F32(1), yz=np.uint8(0),
    )  # fmt: skip
    with pytest.raises(sardonyx.InvalidModel, match=r"scale 'bs' has the shape \[12\]"):
        sardonyx.Session(proto)
