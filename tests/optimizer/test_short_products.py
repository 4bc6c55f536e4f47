"""Products of 16 bits and bytes are two products of bytes, as exact as those of floats."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper
from onnx.helper import make_node
from sardonyx.kernels.unit_rates import words_pay
from sardonyx.runtime.integer_rates import two_bytes_pay

RNG = np.random.default_rng(0)
F32 = np.float32
DEPTH, WIDTH = 256, 72
SCALE = F32(2e-4)


def model(left: Any, right: Any, op_type: str, zero: int, rows: Any) -> tuple[Any, np.ndarray]:
    """x, quantized and dequantized, times constants and added to a bias; and the constants."""
    info = ml_dtypes.iinfo(right)
    shape = (WIDTH, DEPTH) if op_type == "Gemm" else (DEPTH, WIDTH)
    weights = RNG.integers(int(info.min), int(info.max) + 1, shape).astype(right)
    scales, zeros = np.linspace(0.01, 0.02, WIDTH).astype(F32), np.full(WIDTH, 2).astype(right)
    arrays = {
        "s": SCALE, "z": np.array(zero, left), "w": weights, "ws": scales, "wz": zeros,
        "c": RNG.standard_normal(WIDTH).astype(F32),
    }  # fmt: skip
    axis = 0 if op_type == "Gemm" else 1
    nodes = [
        make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        make_node("DequantizeLinear", ["q", "s", "z"], ["a"]),
        make_node("DequantizeLinear", ["w", "ws", "wz"], ["b"], axis=axis),
    ]
    if op_type == "Gemm":
        nodes.append(make_node("Gemm", ["a", "b", "c"], ["y"], transB=1))
    else:
        nodes += [make_node("MatMul", ["a", "b"], ["p"]), make_node("Add", ["p", "c"], ["y"])]
    graph = helper.make_graph(
        nodes,
        "quantized",
        [helper.make_tensor_value_info("x", 1, [rows, DEPTH])],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items()],
    )
    wide = weights.T if op_type == "Gemm" else weights
    matrix = (wide.astype(np.float64) - 2) * scales
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return (made, arrays["c"]), matrix


def products(session: sardonyx.Session) -> list[str]:
    parts = [part for step in session.engine.program.steps for part in step.op_type.split("+")]
    return [part for part in parts if part == "MatMulInteger"]


@pytest.mark.parametrize("op_type", ["MatMul", "Gemm"])
@pytest.mark.parametrize("right", [np.int8, np.uint8, ml_dtypes.int4, ml_dtypes.uint4])
@pytest.mark.parametrize(("left", "zero"), [
    (np.uint16, 32769), (np.uint16, 0), (np.int16, 0), (np.int16, -32768), (np.int16, 300),
])  # fmt: skip
def test_sums_are_exact(left: Any, zero: int, right: Any, op_type: str) -> None:
    (made, bias), matrix = model(left, right, op_type, zero, 16)
    x = RNG.uniform(-8, 8, (16, DEPTH)).astype(F32)
    info = np.iinfo(left)
    q = np.clip(np.rint(x / SCALE) + zero, info.min, info.max)
    expected = (q - zero) * float(SCALE) @ matrix + bias
    session = sardonyx.Session(made)
    (found,) = session.run(None, {"x": x})
    assert np.abs(found - expected).max() < 1e-6 * np.abs(expected).max()
    assert bool(products(session)) == two_bytes_pay()


@pytest.mark.parametrize("rows", [1, 4, "n"])
def test_products_of_few_or_unknown_rows_read_weights_once(rows: Any) -> None:
    (made, _), _ = model(np.uint16, np.int8, "MatMul", 32768, rows)
    assert not products(sardonyx.Session(made))


def test_it_pays_only_where_bytes_are_multiplied_fast() -> None:
    assert words_pay() or not two_bytes_pay()
