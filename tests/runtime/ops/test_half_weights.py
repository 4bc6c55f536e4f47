"""Weights of products kept as bfloat16, by choice."""

from __future__ import annotations

import numpy as np
import pytest
import sardonyx
from onnx.helper import make_node

from .conftest import build


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(list(shape)).standard_normal(shape, np.float32)


def kernels(session: sardonyx.Session) -> str:
    return " ".join(str(kernel) for kernel in session.engine.program.kernels)


@pytest.mark.parametrize("rows", [1, 3, 8])
def test_close_to_float32(rows: int) -> None:
    x, w, c = normal(rows, 300), normal(70, 300), normal(70)
    nodes = [
        make_node("Gemm", ["x", "w", "c"], ["h"], transB=1),
        make_node("Relu", ["h"], ["r"]),
        make_node("MatMul", ["r", "v"], ["y"]),
    ]
    v = normal(70, 10)
    model = build(nodes, [{"x": x}], {"w": w, "c": c, "v": v})
    session = sardonyx.Session(model, precision="bf16_weights")
    assert "half_product" in kernels(session)
    (y,) = session.run(None, {"x": x})
    wanted = np.maximum(x @ w.T + c, 0) @ v
    # Each rounding is at most 2 ** -8 of a weight; the sums of many come much closer.
    assert np.abs(y - wanted).max() < 2**-8 * np.abs(wanted).max()
    assert np.abs(y - wanted).max() > 0


def test_never_the_default() -> None:
    x = normal(1, 64)
    model = build([make_node("MatMul", ["x", "w"], ["y"])], [{"x": x}], {"w": normal(64, 32)})
    for precision in ("fp32", "strict"):
        assert "half_product" not in kernels(sardonyx.Session(model, precision=precision))


def test_many_rows_keep_float32() -> None:
    x, w = normal(9, 64), normal(64, 32)
    model = build([make_node("MatMul", ["x", "w"], ["y"])], [{"x": x}], {"w": w})
    session = sardonyx.Session(model, precision="bf16_weights")
    assert "half_product" not in kernels(session)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], x @ w, rtol=1e-4, atol=1e-5)


def test_transposed_and_leading_axes() -> None:
    x, w = normal(2, 48, 3), normal(48, 20)
    nodes = [
        make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        make_node("MatMul", ["t", "w"], ["y"]),
    ]
    session = sardonyx.Session(build(nodes, [{"x": x}], {"w": w}), precision="bf16_weights")
    assert "half_product" in kernels(session)
    wanted = x.transpose(0, 2, 1) @ w
    assert np.abs(session.run(None, {"x": x})[0] - wanted).max() < 2**-8 * np.abs(wanted).max()
