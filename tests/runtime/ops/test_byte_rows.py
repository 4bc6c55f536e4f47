"""Rows that are rounded to bytes where they meet weights of at most 8 bits."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx.helper import make_node
from sardonyx.runtime.ops import byte_rows

from .conftest import build

SHAPES = [(4, 300, 131, 32), (8, 520, 77, 16), (4, 130, 260, 128), (2, 256, 99, 64)]
"""Bits, depth, columns and block: depths that blocks divide, and such that they do not."""


def product(
    bits: int, depth: int, columns: int, block: int, level: int | None, has_zeros: bool = False
) -> tuple[onnx.ModelProto, np.ndarray]:
    """MatMulNBits of random weights for any number of rows, and these weights as float64."""
    rng = np.random.default_rng([bits, depth, columns, block])
    blocks = -(-depth // block)
    packed = rng.integers(0, 256, (columns, blocks, block * bits // 8)).astype(np.uint8)
    weights = {"b": packed, "s": rng.uniform(0.01, 0.1, (columns, blocks)).astype(np.float32)}
    zeros = np.full((columns, blocks), 1 << (bits - 1))
    if has_zeros:
        weights["z"] = rng.integers(0, 256, (columns, -(-blocks * bits // 8))).astype(np.uint8)
        zeros = unpacked(weights["z"], bits)[:, :blocks]
    numbers = unpacked(packed.reshape(columns, -1), bits).reshape(columns, blocks, block)
    wide = (numbers - zeros[..., None]) * weights["s"].astype(float)[..., None]
    attributes: dict[str, Any] = {} if level is None else {"accuracy_level": level}
    node = make_node(
        "MatMulNBits", ["x", *weights], ["y"], domain="com.microsoft", K=depth, N=columns,
        bits=bits, block_size=block, **attributes,
    )  # fmt: skip
    feeds = [{"x": np.zeros((rows, depth), np.float32)} for rows in (1, 2)]
    return build([node], feeds, weights, opset=21), wide.reshape(columns, -1)[:, :depth].T


def unpacked(packed: np.ndarray, bits: int) -> np.ndarray:
    shifts = np.arange(0, 8, bits, dtype=np.uint8)
    numbers = packed[..., None] >> shifts & np.uint8((1 << bits) - 1)
    return numbers.reshape(len(packed), -1).astype(int)


def kernels(session: sardonyx.Session) -> str:
    return " ".join(str(kernel) for kernel in session.engine.program.kernels)


def error(found: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.sqrt(np.mean((found - wanted) ** 2) / np.mean(wanted**2)))


@pytest.mark.parametrize("has_zeros", [False, True])
@pytest.mark.parametrize("shape", SHAPES)
def test_errors_are_no_larger_than_those_of_onnxruntime(
    rng: np.random.Generator, shape: tuple[int, int, int, int], has_zeros: bool
) -> None:
    model, weights = product(*shape, 4, has_zeros)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    peer = onnxruntime.InferenceSession(model.SerializeToString(), options)
    session = sardonyx.Session(model, threads=2)
    assert "byte_product" in kernels(session)
    for rows in (1, 2, 3, 4, 5, 70):
        x = rng.standard_normal((rows, shape[1])).astype(np.float32)
        wanted = x.astype(float) @ weights
        (found,), (other,) = session.run(None, {"x": x}), peer.run(None, {"x": x})
        assert error(found, wanted) < 0.01
        # Where onnxruntime has no such kernel it computes in float32.
        assert error(found, wanted) < 1.05 * error(other, wanted) or error(other, wanted) < 1e-5


def test_weights_stay_small_for_any_number_of_rows() -> None:
    model, _ = product(4, 512, 256, 32, 4)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 200
    session = sardonyx.Session(model)
    assert "byte_product" in kernels(session)
    assert session.engine.program.weights.nbytes < 512 * 256 * 0.7


@pytest.mark.parametrize("level", [None, 0, 1, 2, 3])
def test_only_where_a_model_allows_it(rng: np.random.Generator, level: int | None) -> None:
    model, weights = product(4, 300, 131, 32, level)
    x = rng.standard_normal((3, 300)).astype(np.float32)
    session = sardonyx.Session(model)
    assert "byte_product" not in kernels(session)
    assert error(session.run(None, {"x": x})[0], x.astype(float) @ weights) < 1e-5


def test_never_with_strict_precision(rng: np.random.Generator) -> None:
    model, weights = product(4, 300, 131, 32, 4)
    x = rng.standard_normal((3, 300)).astype(np.float32)
    session = sardonyx.Session(model, precision="strict")
    assert "byte_product" not in kernels(session)
    assert error(session.run(None, {"x": x})[0], x.astype(float) @ weights) < 1e-5


def test_products_of_one_tensor_share_its_bytes(rng: np.random.Generator) -> None:
    first, weights = product(4, 300, 131, 32, 4)
    node = first.graph.node[0]
    for at, level in enumerate((4, 0)):
        other = onnx.NodeProto()
        other.CopyFrom(node)
        other.name, other.output[0] = f"other{at}", f"y{at}"
        next(a for a in other.attribute if a.name == "accuracy_level").i = level
        first.graph.node.append(other)
        first.graph.output.append(onnx.ValueInfoProto(name=f"y{at}"))
    session = sardonyx.Session(first)
    steps = [step.op_type for step in session.engine.program.steps]
    assert steps.count("QuantizeBlocks") == 1
    x = rng.standard_normal((3, 300)).astype(np.float32)
    y, same, exact = session.run(None, {"x": x})
    wanted = x.astype(float) @ weights
    np.testing.assert_array_equal(y, same)
    assert error(exact, wanted) < 1e-5 < error(y, wanted)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_session_may_allow_it_for_all_weights(rng: np.random.Generator, axis: int) -> None:
    depth, columns, block = 352, 100, 32
    shape = (depth // block, columns) if axis == 0 else (columns,)
    weights = {
        "n": rng.integers(-128, 128, (depth, columns)).astype(np.int8),
        "s": rng.uniform(0.01, 0.1, shape).astype(np.float32),
        "bias": rng.standard_normal(columns).astype(np.float32),
    }
    scales = np.repeat(weights["s"], block, 0) if axis == 0 else weights["s"]
    nodes = [
        make_node("DequantizeLinear", ["n", "s"], ["w"], axis=axis,
                  block_size=block if axis == 0 else 0),
        make_node("Gemm", ["x", "w", "bias"], ["g"]),
        make_node("Relu", ["g"], ["y"]),
    ]  # fmt: skip
    x = rng.standard_normal((6, depth)).astype(np.float32)
    model = build(nodes, [{"x": x}], weights, opset=21)
    wanted = np.maximum(
        x.astype(float) @ (weights["n"] * scales.astype(float)) + weights["bias"], 0
    )
    assert "byte_product" not in kernels(sardonyx.Session(model))
    session = sardonyx.Session(model, precision="int8_activations")
    assert "byte_product" in kernels(session)
    assert 1e-5 < error(session.run(None, {"x": x})[0], wanted) < 0.01


def test_numbers_that_are_not_finite_stay_so(rng: np.random.Generator) -> None:
    model, weights = product(4, 300, 131, 32, 4)
    x = rng.standard_normal((3, 300)).astype(np.float32)
    x[1, 40] = np.inf
    (y,) = sardonyx.Session(model).run(None, {"x": x})
    assert not np.isfinite(y[1]).any()
    assert error(y[[0, 2]], x[[0, 2]].astype(float) @ weights) < 0.01


def test_what_follows_products_is_one_step(rng: np.random.Generator) -> None:
    """Such products have no epilogue: the gate and the residual are steps beside no product."""
    first, weights = product(4, 320, 256, 32, 4)
    other = onnx.NodeProto()
    other.CopyFrom(first.graph.node[0])
    other.name, other.output[0] = "other", "up"
    first.graph.node[0].output[0] = "gate"
    first.graph.node.extend([
        other,
        make_node("Sigmoid", ["gate"], ["open"], name="sigmoid"),
        make_node("Mul", ["gate", "open"], ["swish"], name="swish"),
        make_node("Mul", ["swish", "up"], ["y"], name="mul"),
    ])  # fmt: skip
    session = sardonyx.Session(first)
    kinds = [step.op_type for step in session.engine.program.steps]
    assert kinds.count("QuantizeBlocks") == 1
    assert [kind for kind in kinds if "Mul" in kind.split("+")] == ["Swish+Mul"]
    for rows in (1, 3):
        x = rng.standard_normal((rows, 320)).astype(np.float32)
        (found,) = session.run(None, {"x": x})
        wide = x.astype(float) @ weights
        assert error(found, wide / (1 + np.exp(-wide)) * wide) < 0.02


def behind(first: int, bits: int) -> tuple[onnx.ModelProto, np.ndarray]:
    """Return weights of few bits behind a product of float32, and both as one matrix of float64."""
    model, weights = product(bits, 320, 256, 32, None, True)
    rng = np.random.default_rng(first)
    before = rng.standard_normal((first, 320)).astype(np.float32)
    model.graph.initializer.append(onnx.numpy_helper.from_array(before, "before"))
    model.graph.node.insert(0, make_node("MatMul", ["x", "before"], ["rows"], name="first"))
    model.graph.node[1].input[0] = "rows"
    model.graph.input[0].type.tensor_type.shape.dim[1].dim_value = first
    return model, before.astype(float) @ weights


@pytest.mark.parametrize("bits", [2, 4])
def test_two_bytes_stand_for_rows_behind_products(
    rng: np.random.Generator, monkeypatch: pytest.MonkeyPatch, bits: int
) -> None:
    monkeypatch.setattr(byte_rows, "integer_speed", lambda: 4.0)
    monkeypatch.setattr(byte_rows, "may_widen", lambda _: False)
    model, weights = behind(48, bits)
    session = sardonyx.Session(model, threads=2)
    assert "byte_product" in kernels(session)
    for rows in (1, 2, 3, 5, 16, 70):
        x = rng.standard_normal((rows, 48)).astype(np.float32)
        (found,) = session.run(None, {"x": x})
        assert error(found, x.astype(float) @ weights) < 3e-5
    exact = sardonyx.Session(model, precision="strict")
    assert "byte_product" not in kernels(exact)
    assert error(exact.run(None, {"x": x})[0], x.astype(float) @ weights) < 1e-6


@pytest.mark.parametrize(
    ("bits", "speed", "widens"), [(4, 2.0, False), (8, 4.0, False), (4, 4.0, True)]
)
def test_rows_stay_float32_where_two_bytes_do_not_pay(
    monkeypatch: pytest.MonkeyPatch, bits: int, speed: float, widens: bool
) -> None:
    monkeypatch.setattr(byte_rows, "integer_speed", lambda: speed)
    monkeypatch.setattr(byte_rows, "may_widen", lambda _: widens)
    assert "byte_product" not in kernels(sardonyx.Session(behind(48, bits)[0]))
