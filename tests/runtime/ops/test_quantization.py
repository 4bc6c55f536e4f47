"""QuantizeLinear, DequantizeLinear and DynamicQuantizeLinear."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper
from onnx.helper import make_node

from .conftest import build

INTEGERS = [np.uint8, np.int8, np.uint16, np.int16]
SHAPES = [(), (1,), (7,), (3, 5), (2, 3, 4, 5), (2, 130, 3), (4, 1000)]


def floats(shape: tuple[int, ...]) -> np.ndarray:
    x = np.random.default_rng(list(shape)).standard_normal(shape) * 100
    x = np.asarray(x, np.float32)
    if x.size > 3:
        x.reshape(-1)[:2] = [np.inf, -np.inf]
    return x


def integers(shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    info = np.iinfo(dtype)
    return np.random.default_rng(3).integers(info.min, info.max + 1, shape).astype(dtype)


def operands(shape: tuple[int, ...], dtype: Any, by: str) -> dict[str, np.ndarray] | None:
    """Scale and zero point: one, without the latter, or one along an axis."""
    if by == "axis":
        if len(shape) < 2:
            return None
        scales = np.linspace(0.1, 1.1, shape[1], dtype=np.float32)
        return {"s": scales, "z": integers(scales.shape, dtype)}
    scale = np.array(0.37, np.float32)
    return {"s": scale} if by == "scale" else {"s": scale, "z": integers((), dtype)}


@pytest.mark.parametrize("by", ["scale", "both", "axis"])
@pytest.mark.parametrize("dtype", INTEGERS)
def test_to_integers_and_back(check: Any, dtype: Any, by: str) -> None:
    # Kernels differ by how scales lie, and those of 16 bits from those of 8 by loads and stores.
    for shape in SHAPES if np.dtype(dtype).itemsize == 1 else [(7,), (3, 5), (2, 130, 3)]:
        given = operands(shape, dtype, by)
        if given is None:
            continue
        attributes: dict[str, Any] = {}
        if by == "scale":
            attributes["output_dtype"] = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
        to = make_node("QuantizeLinear", ["x", *given], ["q"], **attributes)
        back = make_node("DequantizeLinear", ["q", *given], ["y"])
        feeds = {"x": floats(shape)}
        check([to], feeds, given, threads=[1, 3])
        check([to], feeds | given)
        check([to, back], feeds, given, tolerance=1e-6)
        check([back], {"q": integers(shape, dtype)}, given, tolerance=1e-6)


def test_along_any_axis(check: Any) -> None:
    x = floats((2, 3, 4, 5))
    for axis in range(-4, 4):
        given = {"s": np.linspace(0.1, 1.1, x.shape[axis], dtype=np.float32)}
        check([make_node("QuantizeLinear", ["x", "s"], ["y"], axis=axis)], {"x": x}, given)
        feeds = {"x": integers(x.shape, np.uint8)}
        check([make_node("DequantizeLinear", ["x", "s"], ["y"], axis=axis)], feeds, given)


def test_halves_go_to_the_even_neighbour(check: Any) -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 254.5, 1e30, -1e30, 3.49999], np.float32)
    weights = {"s": np.array(1, np.float32), "z": np.array(3, np.uint8)}
    check([make_node("QuantizeLinear", ["x", "s", "z"], ["y"])], {"x": x}, weights)


@pytest.mark.parametrize("dtype", INTEGERS)
def test_nan_becomes_zero_in_vectors_behind_them_and_as_a_constant(check: Any, dtype: Any) -> None:
    node = make_node("QuantizeLinear", ["x", "s", "z"], ["y"])
    weights = {"s": np.array(1, np.float32), "z": np.array(3, dtype)}
    for size in (1, 69):
        nan, zero = {"x": np.full(size, np.nan, np.float32)}, np.zeros(size, dtype)
        check([node], nan, weights, wanted=[[zero]])
        (folded,) = sardonyx.Session(build([node], [{}], nan | weights)).run(None, {})
        np.testing.assert_array_equal(folded, zero)


@pytest.mark.parametrize("precision", ["fp32", "strict"])
@pytest.mark.parametrize("kind", [np.float16, ml_dtypes.bfloat16])
def test_quotients_have_the_type_of_the_scale_since_opset_23(kind: Any, precision: str) -> None:
    """Of quotients near a half this says which integer they are; before, they were float32."""
    x = (np.random.default_rng(0).standard_normal(3000) * 40).astype(kind)
    scale = np.array(0.377, kind)
    wide = x.astype(np.float32) / scale.astype(np.float32)
    narrow = wide.astype(kind).astype(np.float32)
    named = {"precision": onnx.TensorProto.FLOAT}
    wanted = [(22, {}, wide), (23, {}, narrow), (24, named, wide)]
    assert (np.rint(wide) != np.rint(narrow)).any()
    for opset, attributes, quotients in wanted:
        feeds, weights = {"x": x}, {"s": scale, "z": np.array(0, np.int8)}
        node = make_node("QuantizeLinear", ["x", "s", "z"], ["y"], **attributes)
        expected = np.clip(np.rint(quotients), -128, 127).astype(np.int8)
        for given, constants in ((feeds, weights), (feeds | weights, {}), ({}, feeds | weights)):
            model = build([node], [given], constants, opset=opset)
            (y,) = sardonyx.Session(model, precision=precision).run(None, given)
            np.testing.assert_array_equal(y, expected)


def test_numbers_of_32_bits(check: Any) -> None:
    x = np.random.default_rng(0).integers(-(2**31), 2**31, (3, 50)).astype(np.int32)
    scale = {"s": np.array(0.1, np.float32)}
    check([make_node("DequantizeLinear", ["x", "s"], ["y"])], {"x": x}, scale, tolerance=1e-6)


def test_what_is_fused_with_elementwise_operators(check: Any) -> None:
    given = {"s": np.array(0.05, np.float32), "z": np.array(7, np.uint8)}
    nodes = [
        make_node("DequantizeLinear", ["x", "s", "z"], ["a"]),
        make_node("Sigmoid", ["a"], ["b"]),
        make_node("Mul", ["a", "b"], ["c"]),
        make_node("QuantizeLinear", ["c", "s", "z"], ["y"]),
    ]
    for size in (5, 16, 333):
        session = check(nodes, {"x": integers((2, size), np.uint8)}, given)
        assert len(session.engine.program.steps) == 1


@pytest.mark.parametrize("sign", [1, -1, 0])
def test_scale_of_its_own(check: Any, sign: int) -> None:
    node = make_node("DynamicQuantizeLinear", ["x"], ["y", "s", "z"])
    for shape in ((1,), (7,), (3, 5), (2, 3, 4, 5), (4, 1000)):
        x = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
        x = x if sign == 1 else np.abs(x) * np.float32(sign)
        check([node], {"x": x}, threads=[1, 3], tolerance=1e-6)
    session = sardonyx.Session(build([node], [{"x": np.zeros((0, 3), np.float32)}]))
    y, scale, zero = session.run(None, {"x": np.zeros((0, 3), np.float32)})
    assert y.shape == (0, 3) and scale == 1 and zero == 0


@pytest.mark.parametrize("dtype", [np.int8, ml_dtypes.int4, ml_dtypes.float8_e4m3fn])
def test_constants_are_floats_once(dtype: Any) -> None:
    rng = np.random.default_rng(0)
    weights = rng.integers(-8, 8, (64, 32)).astype(dtype)
    scales = np.linspace(0.1, 0.4, 32, dtype=np.float32)
    nodes = [
        make_node("DequantizeLinear", ["w", "s"], ["f"], axis=1),
        make_node("MatMul", ["x", "f"], ["y"]),
    ]
    x = rng.standard_normal((3, 64)).astype(np.float32)
    model = build(nodes, [{"x": x}], {"s": scales}, opset=21)
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(dtype))
    model.graph.initializer.append(
        helper.make_tensor("w", kind, weights.shape, weights.astype(np.float32).reshape(-1))
    )
    session = sardonyx.Session(model, optimize="none")
    assert not session.engine.program.host_steps
    assert [step.op_type for step in session.engine.program.steps] == ["MatMul"]
    wanted = x @ (weights.astype(np.float32) * scales)
    np.testing.assert_allclose(session.run(None, {"x": x})[0], wanted, rtol=1e-5, atol=1e-5)


def test_constants_that_are_results() -> None:
    given = {"x": integers((3, 4), np.int8), "s": np.array(0.5, np.float32)}
    graph = helper.make_graph(
        [make_node("DequantizeLinear", ["x", "s"], ["y"])],
        "constant",
        [],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(array, name) for name, array in given.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    (y,) = sardonyx.Session(model, optimize="none").run(None, {})
    np.testing.assert_array_equal(y, given["x"].astype(np.float32) / 2)


WRONG = [  # of 32 x 64 numbers: shape of the scale, or of the zero point, axis, size of blocks
    ((31,), 0, 0), ((32,), 1, 0), ((128,), 1, 0), ((64,), 2, 0), ((64,), -3, 0),
    ((7, 64), 0, 4), ((9, 64), 0, 4), ((8, 63), 0, 4), ((8, 1), 0, 4), ((1, 64), 0, 4),
    ((32, 15), 1, 4), ((32,), 0, 4), ((8, 64), 2, 4), ((8, 64), 0, -4), ((), 2, 0), ((1,), -3, 0),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "axis", "block"), WRONG, ids=str)
@pytest.mark.parametrize("op_type", ["QuantizeLinear", "DequantizeLinear"])
def test_scales_that_do_not_fit_are_refused(
    refused: Any, op_type: str, shape: tuple[int, ...], axis: int, block: int
) -> None:
    attributes = {"axis": axis} | ({"block_size": block} if block else {})
    node = make_node(op_type, ["x", "s", "z"], ["y"], name="scaled", **attributes)
    x = np.ones((32, 64), np.float32 if op_type[0] == "Q" else np.int8)
    s, z = np.ones(shape, np.float32), np.zeros(shape, np.int8)
    blocks = {0: (8, 64), 1: (32, 16)}.get(axis, (8, 64))
    right = blocks if block else ((32, 64)[axis % 2],)
    for operands in ({"s": s, "z": z}, {"s": np.ones(right, np.float32), "z": z}):
        for weights in ({}, operands):
            feeds = {"x": x} | {n: a for n, a in operands.items() if n not in weights}
            assert op_type in refused([node], feeds, weights, opset=21)


@pytest.mark.parametrize(("scales", "zeros"), [((64,), ()), ((64,), (1,)), ((), (64,))], ids=str)
@pytest.mark.parametrize("op_type", ["QuantizeLinear", "DequantizeLinear"])
def test_zero_points_are_as_many_as_scales(
    refused: Any, op_type: str, scales: tuple[int, ...], zeros: tuple[int, ...]
) -> None:
    node = make_node(op_type, ["x", "s", "z"], ["y"], name="scaled", axis=1)
    x = np.ones((32, 64), np.float32 if op_type[0] == "Q" else np.int8)
    operands = {"s": np.ones(scales, np.float32), "z": np.zeros(zeros, np.int8)}
    for weights in ({}, operands):
        feeds = {"x": x} | {n: a for n, a in operands.items() if n not in weights}
        assert op_type in refused([node], feeds, weights, opset=21)


def test_blocks_of_open_sizes_that_do_not_fit_are_refused() -> None:
    node = make_node("DequantizeLinear", ["x", "s"], ["y"], axis=0, block_size=4)
    x, s = np.ones((30, 6), np.int8), np.ones((8, 6), np.float32)
    model = build([node], [{"x": x}], {"s": s}, dims={"x": ["N", 6]}, opset=21)
    session = sardonyx.Session(model)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], np.ones((30, 6), np.float32))
    for rows in (28, 33, 400):
        with pytest.raises(sardonyx.InvalidArgument, match=r"DequantizeLinear.*blocks of 4"):
            session.run(None, {"x": np.ones((rows, 6), np.int8)})


def test_blocks_may_be_longer_than_the_axis() -> None:
    """Constants of which a block holds more numbers than memory does."""
    w, scale = np.arange(12, dtype=np.int8).reshape(4, 3), np.array([[0.5, 1, 2]], np.float32)
    nodes = [
        make_node("DequantizeLinear", ["w", "s"], ["b"], axis=0, block_size=1 << 40),
        make_node("MatMul", ["x", "b"], ["y"]),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "blocks",
        [onnx.helper.make_tensor_value_info("x", 1, [2, 4])],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(w, "w"), onnx.numpy_helper.from_array(scale, "s")],
    )
    opsets = [onnx.helper.make_opsetid("", 21)]
    made = onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)
    x = np.arange(8, dtype=np.float32).reshape(2, 4)
    np.testing.assert_array_equal(sardonyx.Session(made).run(None, {"x": x})[0], x @ (w * scale))
