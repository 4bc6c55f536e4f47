"""Quantized tensors that fit nothing are refused by node and tensor, or warned of."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import TensorProto, helper, numpy_helper

F32, I8, U8 = np.float32, np.int8, np.uint8


def model(node: onnx.NodeProto, *more: onnx.TensorProto, **arrays: np.ndarray) -> onnx.ModelProto:
    """A model of one node, or of what widens weights ``f`` and their product with x (n, 8)."""
    product = helper.make_node("MatMul", ["x", "f"], ["y"], "product")
    nodes = [node] if node.output[0] == "y" else [node, product]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, ["n", 8])],
        [onnx.ValueInfoProto(name="y")],
        [*more, *(numpy_helper.from_array(a, n) for n, a in arrays.items())],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 21), helper.make_opsetid("com.microsoft", 1)]
    return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def widening(*inputs: str, **attributes: Any) -> onnx.NodeProto:
    return helper.make_node("DequantizeLinear", [*inputs], ["f"], "widen", **attributes)


def few_bits(*inputs: str) -> onnx.NodeProto:
    return helper.make_node("MatMulNBits", [*inputs], ["y"], "widen", domain="com.microsoft",
                            K=8, N=6, bits=4, block_size=16)  # fmt: skip


W = np.ones((8, 6), I8)
BLOCKS = {"axis": 0, "block_size": 4}
B = np.zeros((6, 1, 8), U8)
S = np.ones((6, 1), F32)


@pytest.mark.parametrize(("proto", "named"), [
    # zero points of the wrong type
    (model(widening("w", "s", "z", axis=1), w=W, s=S[:, 0], z=np.ones(6, U8)), "'z'"),
    (model(widening("w", "s", "z", axis=1), w=W, s=S[:, 0], z=np.ones(6, F32)), "'z'"),
    (model(helper.make_node("QuantizeLinear", ["x", "s", "z"], ["y"], "widen"), s=F32(1),
           z=F32(1)), "'z'"),
    (model(few_bits("x", "b", "s", "z"), b=B, s=S, z=np.ones((6, 1), I8)),
     "'z' is int8, expected uint8 or float32"),
    # scales and zero points of the wrong shape
    (model(widening("w", "s", axis=1), w=W, s=S[:5, 0]), r"'s' is \[5\], expected \[6\]"),
    (model(widening("w", "s", "z", axis=1), w=W, s=S[:, 0], z=np.ones(5, I8)), r"'z' is \[5\]"),
    (model(few_bits("x", "b", "s"), b=B, s=S[:5]), r"'s' is \[5, 1\], expected \[6, 1\]"),
    (model(few_bits("x", "b", "s"), b=B[:, :, :7], s=S), r"'b' is \[6, 1, 7\], expected \[6, 1, 8"),
    (model(few_bits("x", "b", "s", "z"), b=B, s=S, z=S[:5]), r"'z' is \[5, 1\], expected \[6, 1"),
    (model(few_bits("x", "b", "s", "z"), b=B, s=S, z=B[:5, 0, 0]), r"'z' is \[5\], expected \[6"),
    # blocks that do not divide, or do not fit
    (model(widening("w", "s", **BLOCKS), w=W, s=np.ones((3, 6), F32)), r"'s' is \[3, 6\]"),
    (model(widening("w", "s", **BLOCKS), w=W, s=np.ones((2, 5), F32)), r"'s' is \[2, 5\]"),
    (model(widening("w", "s", axis=0, block_size=-1), w=W, s=np.ones((2, 6), F32)), "block_size"),
])  # fmt: skip
def test_what_does_not_fit_is_refused_by_node_and_tensor(proto, named):
    with pytest.raises(sardonyx.InvalidModel, match=rf"widen.*{named}"):
        sardonyx.Session(proto)


def test_a_block_that_ends_early_is_one(rng):
    scales = rng.uniform(1, 2, (3, 6)).astype(F32)
    proto = model(widening("w", "s", axis=0, block_size=3), w=W, s=scales)
    x = rng.standard_normal((2, 8)).astype(F32)
    wanted = x @ np.repeat(scales, 3, 0)[:8]
    np.testing.assert_allclose(sardonyx.Session(proto).run(None, {"x": x})[0], wanted, rtol=1e-5)


def nibbles(count: int, *, raw: bool) -> onnx.TensorProto:
    """An int4 tensor of 7 numbers, in so many bytes."""
    tensor = TensorProto(name="w", data_type=TensorProto.INT4, dims=[7])
    data = bytes([0xE1, 0xC3, 0xA5, 0x07, 0, 0][:count])
    if raw:
        tensor.raw_data = data
    else:
        tensor.int32_data.extend(data)
    return tensor


@pytest.mark.parametrize("raw", [True, False])
def test_int4_of_odd_length(raw):
    """The last byte has one number; a byte too few or too many is an error that names them."""
    node = widening("w", "s")
    node.output[0] = "y"
    feed = {"x": np.ones((1, 8), F32)}
    (found,) = sardonyx.Session(model(node, nibbles(4, raw=raw), s=F32(1))).run(None, feed)
    np.testing.assert_array_equal(found, [1, -2, 3, -4, 5, -6, 7])
    for count in (3, 6):
        with pytest.raises(
            sardonyx.InvalidModel, match=rf"'w' is declared INT4\[7\].*holds {count}"
        ):
            sardonyx.Session(model(node, nibbles(count, raw=raw), s=F32(1)))
