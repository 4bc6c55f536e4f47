"""Quantized products of float8: floats on the way, bytes nowhere, and never whole numbers."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper

RNG = np.random.default_rng(0)
F32 = np.float32
KINDS = (
    ml_dtypes.float8_e4m3fn, ml_dtypes.float8_e4m3fnuz, ml_dtypes.float8_e5m2,
    ml_dtypes.float8_e5m2fnuz,
)  # fmt: skip


def model(op_type: str, arrays: dict[str, np.ndarray], x: np.ndarray) -> onnx.ModelProto:
    kind = helper.np_dtype_to_tensor_dtype(x.dtype)
    graph = helper.make_graph(
        [helper.make_node(op_type, ["x", *arrays], ["y"], name="product")],
        "product",
        [helper.make_tensor_value_info("x", kind, ["n", x.shape[-1]])],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("kind", KINDS)
def test_results_are_the_nearest_of_float8(kind: Any) -> None:
    x, w = (RNG.uniform(-4, 4, shape).astype(kind) for shape in ((5, 24), (24, 12)))
    zero, scales = np.zeros((), kind), [F32(0.5), np.linspace(0.1, 0.2, 12).astype(F32), F32(0.3)]
    arrays: dict[str, Any] = {
        "xs": scales[0], "xz": zero, "w": w, "ws": scales[1], "wz": np.zeros(12, kind),
        "ys": scales[2], "yz": zero,
    }  # fmt: skip
    product = (x.astype(float) @ w.astype(float)) * float(scales[0]) * scales[1] / scales[2]
    largest = float(ml_dtypes.finfo(kind).max)
    expected = np.clip(product, -largest, largest).astype(kind)
    session = sardonyx.Session(model("QLinearMatMul", arrays, x))
    (found,) = session.run(None, {"x": x})
    assert found.dtype == kind
    np.testing.assert_array_equal(found.astype(F32), expected.astype(F32))
    assert not session.engine.program.host_steps


@pytest.mark.parametrize("op_type", ["MatMulInteger"])
def test_operators_on_integers_take_no_floats(op_type: str) -> None:
    x, w = np.ones((5, 24), KINDS[0]), np.ones((24, 12), KINDS[0])
    with pytest.raises(sardonyx.InvalidModel, match=r"product.*float8"):
        sardonyx.Session(model(op_type, {"w": w}, x))
