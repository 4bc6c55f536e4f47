"""Products with constant weights that stay small in memory: integers with scales, or halves."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import onnx
import pytest
import sardonyx
from onnx.helper import make_node
from sardonyx.kernels.machine_costs import costs_given, machine_costs
from sardonyx.kernels.target import LANES
from sardonyx.runtime.ops.packed_weights import WIDENED_ROWS, few_rows

from .conftest import build


def normal(*shape: int) -> np.ndarray:
    return np.random.default_rng(list(shape)).standard_normal(shape, np.float32)


def kernels(session: sardonyx.Session) -> str:
    return " ".join(str(kernel) for kernel in session.engine.program.kernels)


@pytest.mark.parametrize("rows", [1, 3, few_rows()])
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
    assert "packed_product" in kernels(session)
    (y,) = session.run(None, {"x": x})
    wanted = np.maximum(x @ w.T + c, 0) @ v
    # Each rounding is at most 2 ** -8 of a weight; the sums of many come much closer.
    assert np.abs(y - wanted).max() < 2**-8 * np.abs(wanted).max()
    assert np.abs(y - wanted).max() > 0


def test_never_the_default() -> None:
    x = normal(1, 64)
    model = build([make_node("MatMul", ["x", "w"], ["y"])], [{"x": x}], {"w": normal(64, 32)})
    for precision in ("fp32", "strict"):
        assert "packed_product" not in kernels(sardonyx.Session(model, precision=precision))


def test_many_rows_keep_float32() -> None:
    x, w = normal(9, 64), normal(64, 32)
    model = build([make_node("MatMul", ["x", "w"], ["y"])], [{"x": x}], {"w": w})
    session = sardonyx.Session(model, precision="bf16_weights")
    assert "packed_product" not in kernels(session)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], x @ w, rtol=1e-4, atol=1e-5)


def test_transposed_and_leading_axes() -> None:
    x, w = normal(2, 48, 3), normal(48, 20)
    nodes = [
        make_node("Transpose", ["x"], ["t"], perm=[0, 2, 1]),
        make_node("MatMul", ["t", "w"], ["y"]),
    ]
    session = sardonyx.Session(build(nodes, [{"x": x}], {"w": w}), precision="bf16_weights")
    assert "packed_product" in kernels(session)
    wanted = x.transpose(0, 2, 1) @ w
    assert np.abs(session.run(None, {"x": x})[0] - wanted).max() < 2**-8 * np.abs(wanted).max()


# --- weights of few bits ------------------------------------------------------------------------

DEPTH, COLUMNS = 320, 150


def numbers(dtype: str) -> np.ndarray:
    limits = {"int4": (-8, 8), "uint4": (0, 16), "int8": (-128, 128), "uint8": (0, 256)}[dtype]
    drawn = np.random.default_rng(3).integers(*limits, (DEPTH, COLUMNS))
    return drawn.astype(getattr(ml_dtypes, dtype) if dtype.endswith("4") else dtype)


def ways_to_widen() -> dict[str, tuple[list[onnx.NodeProto], dict[str, np.ndarray], np.ndarray]]:
    """Nodes that give "w" (DEPTH, COLUMNS), their constants, and what they give."""
    rng = np.random.default_rng(5)
    ways = {}
    for dtype in ("int8", "uint8", "int4", "uint4"):
        n = numbers(dtype)
        wide = n.astype(np.float64)
        for name, shape, attributes in (
            ("tensor", (), {}), ("column", (COLUMNS,), {"axis": 1}),
            ("block", (DEPTH // 32, COLUMNS), {"axis": 0, "block_size": 32}),
        ):  # fmt: skip
            scale = rng.uniform(0.01, 0.1, shape).astype(np.float32)
            zero = rng.integers(0, 7, shape).astype(n.dtype)
            spread = (lambda a: np.repeat(a, 32, 0)) if name == "block" else (lambda a: a)
            node = make_node("DequantizeLinear", ["n", "s", "z"], ["w"], **attributes)
            value = (wide - spread(zero).astype(float)) * spread(scale)
            ways[f"{dtype} by {name}"] = [node], {"n": n, "s": scale, "z": zero}, value
    n, scale = numbers("int8"), rng.uniform(0.01, 0.1, COLUMNS).astype(np.float32)
    cast, mul = make_node("Cast", ["n"], ["c"], to=1), make_node("Mul", ["c", "s"], ["w"])
    ways["Cast and Mul"] = [cast, mul], {"n": n, "s": scale}, n * scale.astype(float)
    nodes = [
        cast, make_node("Sub", ["c", "z"], ["d"]), make_node("Mul", ["s", "d"], ["t"]),
        make_node("Transpose", ["t"], ["w"], perm=[1, 0]),
    ]  # fmt: skip
    zero, column = np.full((1,), 3, np.float32), scale[:, np.newaxis]
    turned = {"n": n.T.copy(), "s": column, "z": zero}
    ways["Cast, Sub, Mul and Transpose"] = nodes, turned, (n - 3.0) * scale.astype(float)
    nodes = [
        make_node("DequantizeLinear", ["n", "s"], ["t"], axis=0),
        make_node("Transpose", ["t"], ["w"], perm=[1, 0]),
    ]
    ways["turned"] = nodes, {"n": n.T.copy(), "s": scale}, n * scale.astype(float)
    half = rng.standard_normal((DEPTH, COLUMNS)).astype(np.float16)
    ways["float16"] = [make_node("Cast", ["n"], ["w"], to=1)], {"n": half}, half.astype(float)
    return ways


WAYS = ways_to_widen()


@pytest.mark.usefixtures("by_vectors", "lowered_anew")
@pytest.mark.parametrize("way", WAYS)
def test_weights_stay_small(way: str) -> None:
    nodes, weights, wanted = WAYS[way]
    nodes = [*nodes, make_node("MatMul", ["x", "w"], ["m"]), make_node("Relu", ["m"], ["y"])]
    for rows in (1, 7, 24):
        x = normal(1, rows, DEPTH)
        session = sardonyx.Session(build(nodes, [{"x": x}], weights, opset=21))
        assert not session.engine.program.host_steps
        is_small = way != "float16" or rows <= few_rows()
        name = "packed_product" if rows < WIDENED_ROWS or way == "float16" else "widened_product"
        assert (name in kernels(session)) == is_small
        size = sum(a.nbytes for a in weights.values())
        if is_small:
            assert session.engine.program.weights.nbytes < max(2.2 * size, DEPTH * COLUMNS * 2.2)
        (y,) = session.run(None, {"x": x})
        right = np.maximum(x.astype(np.float64) @ wanted, 0)
        np.testing.assert_allclose(y, right, rtol=1e-4, atol=1e-5 * np.abs(right).max())


@pytest.mark.parametrize("way", WAYS)
def test_weights_of_a_gemm_stay_small(way: str) -> None:
    if way == "float16":
        pytest.skip("halves are not scaled")
    nodes, weights, wanted = WAYS[way]
    bias = normal(COLUMNS)
    gemm = make_node("Gemm", ["x", "w", "b"], ["y"], alpha=0.5, beta=2.0)
    feeds = [{"x": normal(rows, DEPTH)} for rows in (1, 40, 3, 130)]
    model = build([*nodes, gemm], feeds, {**weights, "b": bias}, opset=21)
    session = sardonyx.Session(model, threads=2)
    assert all(f"{name}_product" in kernels(session) for name in ("packed", "widened"))
    for feed in feeds:
        (y,) = session.run(None, feed)
        right = 0.5 * feed["x"].astype(np.float64) @ wanted + 2.0 * bias
        np.testing.assert_allclose(y, right, rtol=1e-4, atol=1e-5 * np.abs(right).max())


def test_many_rows_use_float32() -> None:
    nodes, weights, wanted = WAYS["int8 by column"]
    x = normal(65, DEPTH)
    model = build([*nodes, make_node("MatMul", ["x", "w"], ["y"])], [{"x": x}], weights, opset=21)
    session = sardonyx.Session(model)
    assert "packed_product" not in kernels(session)
    right = x.astype(np.float64) @ wanted
    np.testing.assert_allclose(session.run(None, {"x": x})[0], right, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("turned", [0, 1])
@pytest.mark.parametrize("operand", ["s", "z"])
def test_scales_of_fewer_columns_than_the_weights_are_refused(turned: int, operand: str) -> None:
    columns, depth = 300, 200
    shape = (columns, depth) if turned else (depth, columns)
    weights = {
        "w": np.ones(shape, np.int8), "s": np.ones(columns, np.float32),
        "z": np.zeros(columns, np.int8),
    }  # fmt: skip
    weights[operand] = weights[operand][:100]
    nodes = [
        make_node("DequantizeLinear", ["w", "s", "z"], ["d"], axis=1 - turned, name="widened"),
        make_node("Gemm", ["x", "d"], ["y"], transB=turned),
    ]
    model = build(nodes, [{"x": normal(1, depth)}], weights, opset=21)
    with pytest.raises(sardonyx.InvalidModel, match="'widened'"):
        sardonyx.Session(model)


def test_weights_stay_small_for_rows_that_wait_for_larger_ones() -> None:
    """Up to so many rows as memory is slow, fewer where it takes long to widen a vector."""
    costs = machine_costs()
    found = []
    for memory, widened in ((0.5, 1.0), (1.0, 1.0), (1.0, 20.0), (0.0, 1.0)):
        streams = costs.streams._replace(memory=memory / (4 * LANES) * 8)
        vectors = costs.vectors._replace(widened=widened)
        with costs_given(costs._replace(streams=streams, vectors=vectors)):
            found.append(few_rows())
    assert found[3] == found[2] == 1 < found[0] < found[1] < 8
