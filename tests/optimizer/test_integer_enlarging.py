"""ConvTranspose of quantized tensors whose windows do not overlap: a product of bytes."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper
from onnx.helper import make_node

F32 = np.float32
SCALE = F32(0.1)


def model(
    rng: np.random.Generator, *, dtype: Any = np.uint8, channels: int = 16, filters: int = 8,
    block: int = 2, by_filter: bool = True, has_bias: bool = True, limit: str = "",
    sizes: Any = ("n", "h", "w"), **attributes: Any,
) -> onnx.ModelProto:  # fmt: skip
    """x, quantized and dequantized, enlarged by constant weights, perhaps limited, quantized."""
    scales = rng.uniform(0.001, 0.01, filters if by_filter else ()).astype(F32)
    arrays = {
        "xs": F32(0.02), "xz": np.array(13, dtype), "ys": SCALE, "yz": np.array(50, dtype),
        "w": rng.integers(-127, 128, (channels, filters, block, block)).astype(np.int8),
        "ws": scales, "wz": np.zeros(scales.shape, np.int8), "high": F32(3), "low": F32(-1),
        "b": rng.integers(-999, 999, filters).astype(np.int32),
        "bs": np.broadcast_to(scales * F32(0.02), (filters,)).astype(F32),
    }  # fmt: skip
    nodes = [
        make_node("QuantizeLinear", ["x", "xs", "xz"], ["q"]),
        make_node("DequantizeLinear", ["q", "xs", "xz"], ["a"]),
        make_node("DequantizeLinear", ["w", "ws", "wz"], ["f"], axis=1),
        *([make_node("DequantizeLinear", ["b", "bs"], ["c"], axis=0)] if has_bias else []),
        make_node("ConvTranspose", ["a", "f", *["c"] * has_bias], ["t"], **attributes),
        *([make_node(limit, ["t", *["low", "high"] * (limit == "Clip")], ["l"])] if limit else []),
        make_node("QuantizeLinear", ["l" if limit else "t", "ys", "yz"], ["p"]),
        make_node("DequantizeLinear", ["p", "ys", "yz"], ["y"]),
    ]
    used = {name for node in nodes for name in node.input}
    graph = helper.make_graph(
        nodes,
        "enlarged",
        [helper.make_tensor_value_info("x", 1, [sizes[0], channels, *sizes[1:]])],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items() if k in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def steps(session: sardonyx.Session) -> list[str]:
    return [part for step in session.engine.program.steps for part in step.op_type.split("+")]


def agree(drawn: onnx.ModelProto, rng: np.random.Generator) -> sardonyx.Session:
    """Compare with floats; where one lies between two numbers of the grid, either may come."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    reference = onnxruntime.InferenceSession(drawn.SerializeToString(), options)
    channels = drawn.graph.input[0].type.tensor_type.shape.dim[1].dim_value
    feeds = {"x": (rng.standard_normal((2, channels, 7, 9)) * 2).astype(F32)}
    session = sardonyx.Session(drawn, threads=1)
    (expected,), (found,) = reference.run(None, feeds), session.run(None, feeds)
    off = np.abs(found - expected)
    assert off.max() <= SCALE * 1.01
    assert (off > SCALE / 2).mean() < 0.01
    return session


@pytest.mark.parametrize("sizes", [("n", "h", "w"), (2, 7, 9)])
@pytest.mark.parametrize(
    "changed",
    [
        {}, {"block": 3, "filters": 5}, {"by_filter": False, "has_bias": False}, {"limit": "Relu"},
        {"limit": "Clip", "dtype": np.int8}, {"channels": 6, "dtype": np.int8},
    ],
    ids=str,
)  # fmt: skip
def test_blocks_are_those_of_floats(changed, sizes):
    rng = np.random.default_rng(5)
    block = changed.get("block", 2)
    drawn = model(rng, sizes=sizes, strides=[block] * 2, **changed)
    found = steps(agree(drawn, rng))
    assert ("ConvTranspose" in found) == ("DepthToSpace" not in found)


@pytest.mark.parametrize(
    "attributes",
    [
        {"strides": [1, 1]}, {"strides": [2, 2], "pads": [1, 0, 0, 0]}, {"strides": [2, 3]},
        {"strides": [2, 2], "output_padding": [1, 1]}, {},
        {"strides": [2, 2], "auto_pad": "SAME_UPPER"},
        {"strides": [2, 2], "output_shape": [14, 18]},
    ],
    ids=str,
)  # fmt: skip
def test_windows_that_overlap_or_leave_room_stay(attributes):
    rng = np.random.default_rng(6)
    sizes = (2, 7, 9)
    assert "ConvTranspose" in steps(agree(model(rng, sizes=sizes, **attributes), rng))


def test_strict_sessions_compute_floats():
    drawn = model(np.random.default_rng(7), strides=[2, 2])
    assert "ConvTranspose" in steps(sardonyx.Session(drawn, threads=1, precision="strict"))
