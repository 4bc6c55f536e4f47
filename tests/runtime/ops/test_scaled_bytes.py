"""Activations of bytes times a gate, quantized again: by tables, as exact as by floats."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper
from onnx.helper import make_node
from sardonyx.runtime.ops import scaled_bytes

from .byte_cases import numbers

F32 = np.float32
KINDS = (np.uint8, np.int8)


def model(rng: Any, channels: int, function: str, x: Any, y: Any, dims: Any) -> onnx.ModelProto:
    """Images of bytes, channels last as a pooling leaves them, by a function, times a gate."""
    own = {
        "Swish": [make_node("Sigmoid", ["a"], ["f0"]), make_node("Mul", ["a", "f0"], ["f"])],
        "HardSwish": [make_node("HardSwish", ["a"], ["f"])],
        "Gelu": [make_node("Gelu", ["a"], ["f"])],
        "Clip": [make_node("Clip", ["a", "low", "high"], ["f"])],
    }[function]
    arrays = {
        "w": numbers(rng, (channels, 4, 1, 1), np.int8), "ws": F32(0.01), "wz": np.int8(0),
        "xs": F32(0.02), "xz": np.array(9, x), "as": F32(0.05), "az": np.array(60, x),
        "ys": F32(0.03), "yz": np.array(40, y), "low": F32(-0.7), "high": F32(2),
    }  # fmt: skip
    nodes = [
        make_node("QLinearConv", ["x", "xs", "xz", "w", "ws", "wz", "as", "az"], ["q"]),
        make_node("DequantizeLinear", ["q", "as", "az"], ["a"]),
        *own,
        make_node("Mul", ["g", "f"], ["m"]),
        make_node("QuantizeLinear", ["m", "ys", "yz"], ["y"]),
    ]
    used = {name for node in nodes for name in node.input}
    kind = helper.np_dtype_to_tensor_dtype
    graph = helper.make_graph(
        nodes,
        "gated",
        [
            helper.make_tensor_value_info("x", kind(np.dtype(x)), [dims[0], 4, *dims[1:]]),
            helper.make_tensor_value_info("g", 1, [dims[0], channels, 1, 1]),
        ],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items() if k in used],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 22)], ir_version=10)


@pytest.mark.parametrize("function", ["Swish", "HardSwish", "Gelu", "Clip"])
@pytest.mark.parametrize("kinds", [(a, b) for a in KINDS for b in KINDS])
@pytest.mark.parametrize("channels", [8, 24, 64, 144])
def test_bytes_are_those_of_floats(function, kinds, channels, monkeypatch):
    rng = np.random.default_rng(channels)
    x, y = kinds
    for dims, shapes in (
        ((2, 31, 33), [(2, 31, 33)]),
        (("n", "h", "w"), [(1, 9, 70), (3, 17, 5), (1, 1, 1)]),
    ):
        drawn = model(rng, channels, function, x, y, dims)
        drawn.doc_string = "by tables"
        sessions = [sardonyx.Session(drawn, threads=threads) for threads in (1, 3)]
        with monkeypatch.context() as patch:
            patch.setattr(scaled_bytes, "HAS_SCALED_BYTES", False)
            drawn.doc_string = "by floats"
            floats = sardonyx.Session(drawn, threads=1)
        if scaled_bytes.HAS_SCALED_BYTES:
            assert "scaled_bytes" in str([step.kernel for step in _steps(sessions[0], channels)])
        for n, h, w in shapes:
            gate = rng.standard_normal((n, channels, 1, 1)).astype(F32) * 2
            gate.reshape(-1)[:4] = [3e38, -3e38, 0, 1e-40]  # of which products overflow
            feeds = {"x": numbers(rng, (n, 4, h, w), x), "g": gate}
            (wanted,) = floats.run(None, feeds)
            for session in sessions:
                np.testing.assert_array_equal(session.run(None, feeds)[0], wanted)


def _steps(session: sardonyx.Session, channels: int) -> Any:
    dtype = {"tensor(uint8)": np.uint8, "tensor(int8)": np.int8}[session.get_inputs()[0].type]
    feeds = {"x": np.zeros((2, 4, 31, 33), dtype), "g": np.ones((2, channels, 1, 1), F32)}
    return session.profile(feeds, runs=1).steps
