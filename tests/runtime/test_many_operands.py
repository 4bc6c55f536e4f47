"""A convolution of integers and what follows it, with as many operands as a group may have."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import sardonyx
from onnx import helper, numpy_helper


def test_an_epilogue_takes_all_operands_of_a_group(rng):
    """Scales and zero points, what weights exceed bytes by, and the sums behind."""
    arrays = {
        "w": rng.integers(-128, 128, (32, 32, 3, 3)).astype(np.int8),
        "ws": rng.uniform(1e-4, 2e-4, 32).astype(np.float32), "wz": np.full(32, 5, np.int8),
        "c": rng.uniform(0.5, 1, (1, 32, 1, 1)).astype(np.float32),
        "d": rng.standard_normal((1, 32, 1, 1)).astype(np.float32),
    }  # fmt: skip
    for i in range(5):
        arrays |= {f"s{i}": np.float32(0.02 + 0.01 * i), f"z{i}": np.int8(2 * i - 3)}
    make = helper.make_node
    nodes = [
        make("QuantizeLinear", ["x", "s0", "z0"], ["q"]),
        make("QLinearConv", ["q", "s0", "z0", "w", "ws", "wz", "s1", "z1"], ["a"], pads=[1] * 4),
        make("DequantizeLinear", ["a", "s1", "z1"], ["f"]),
        make("Mul", ["f", "c"], ["g"]),
        make("Add", ["g", "d"], ["h"]),
        make("QuantizeLinear", ["h", "s2", "z2"], ["i"]),
        make("QLinearAdd", ["q", "s0", "z0", "i", "s2", "z2", "s3", "z3"], ["j"],
             domain="com.microsoft"),
        make("DequantizeLinear", ["j", "s3", "z3"], ["y"]),
    ]  # fmt: skip
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, ["n", 32, 9, 9])],
        [onnx.ValueInfoProto(name="y")],
        [numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()],
    )  # fmt: skip
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=8)
    x = rng.standard_normal((2, 32, 9, 9)).astype(np.float32)
    (wanted,) = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})
    (found,) = sardonyx.Session(model, threads=1).run(None, {"x": x})
    assert np.abs(found - wanted).max() <= 0.05 * 1.01  # one step of the last grid
    assert (found == wanted).mean() > 0.999
