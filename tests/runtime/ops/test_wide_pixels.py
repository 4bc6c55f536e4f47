"""Convolutions of few channels as those of wide pixels; sums of integers are exact."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper
from sardonyx import Session
from sardonyx.kernels.machine_costs import costs_given, machine_costs
from sardonyx.kernels.target import LANES
from sardonyx.kernels.unit_rates import words_pay
from sardonyx.runtime.ops.wide_pixels import SINGLE, WidePixels
from sardonyx.runtime.ops.windows import Window

from .conftest import build

_CASES = [  # image, filters, kernel, stride along rows, pads
    ((1, 8, 6, 22), 8, (3, 39), 1, [1, 19, 1, 19]),
    ((2, 1, 5, 31), 1, (3, 5), 1, [1, 2, 1, 2]),
    ((1, 1, 1, 341), 1, (1, 64), 2, [0, 0, 0, 0]),
    ((1, 1, 28, 28), 8, (5, 5), 1, [2, 2, 2, 2]),
    ((2, 1, 137), 3, (11,), 1, [5, 5]),
    ((1, 3, 4, 33), 2, (3, 7), 2, [1, 3, 1, 3]),
    ((1, 32, 6, 16), 1, (5, 5), 1, [2, 2, 2, 2]),
    ((1, 2, 6, 19), 4, (3, 6), 4, [1, 3, 1, 3]),
    ((1, 6, 3, 17), 2, (2, 9), 3, [0, 1, 1, 4]),
]
_TYPES = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8, "int32": TensorProto.INT32}


def _drawn(case: Any, dtype: str) -> dict[str, np.ndarray]:
    shape, filters, kernel, _, _ = case
    rng, low = np.random.default_rng(3), 0 if dtype == "uint8" else -128
    return {
        "x": rng.integers(low, low + 256, shape).astype(dtype),
        "x_scale": np.float32(0.02),
        "x_zero": np.array(37 if dtype == "uint8" else -5, dtype),
        "w": rng.integers(-127, 128, (filters, shape[1], *kernel)).astype(np.int8),
        "w_scale": rng.uniform(0.001, 0.01, filters).astype(np.float32),
        "w_zero": np.zeros(filters, np.int8),
        "y_scale": np.float32(0.31),
        "y_zero": np.array(11, dtype),
        "bias": rng.integers(-500, 500, filters).astype(np.int32),
    }


def _sums(case: Any, x: np.ndarray, w: np.ndarray) -> np.ndarray:
    _, _, kernel, stride, pads = case
    rank = len(kernel)
    x = np.pad(x, [(0, 0), (0, 0), *((pads[i], pads[i + rank]) for i in range(rank))])
    windows = sliding_window_view(x, kernel, axis=tuple(range(2, 2 + rank)))[
        ..., ::stride, *[slice(None)] * rank
    ]
    taps = "hw"[-rank:]
    spatial = taps.upper()
    return np.einsum(f"nc{spatial}{taps},mc{taps}->nm{spatial}", windows, w)


def _model(node: onnx.NodeProto, x: np.ndarray, dims: list[Any], drawn: Any, y: str) -> bytes:
    graph = helper.make_graph(
        [node],
        "convolution",
        [helper.make_tensor_value_info("x", _TYPES[x.dtype.name], dims)],
        [helper.make_tensor_value_info("y", _TYPES[y], None)],
        [numpy_helper.from_array(drawn[name], name) for name in node.input if name != "x"],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    return model.SerializeToString()


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize("case", _CASES, ids=str)
def test_sums_and_bytes_of_few_channels_are_exact_at_given_and_at_open_sizes(
    case: Any, dtype: str
) -> None:
    shape, _, kernel, stride, pads = case
    drawn = _drawn(case, dtype)
    image = drawn["x"].astype(np.int64) - int(drawn["x_zero"])
    sums, column = _sums(case, image, drawn["w"]), (1, -1, *[1] * len(kernel))
    scale = drawn["x_scale"] * drawn["w_scale"] / drawn["y_scale"]
    whole = (sums + drawn["bias"].reshape(column)).astype(np.float32)
    bounds = np.iinfo(dtype)
    rounded = np.rint(whole * scale.reshape(column)) + int(drawn["y_zero"])
    attributes = {"strides": [1, stride][-len(kernel) :], "pads": pads}
    integer = helper.make_node("ConvInteger", ["x", "w", "x_zero", "w_zero"], ["y"], **attributes)
    names = ["x", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero", "bias"]
    linear = helper.make_node("QLinearConv", names, ["y"], **attributes)
    open_dims = ["n", shape[1], *(f"d{i}" for i in range(len(kernel)))]
    for dims in (list(shape), open_dims):
        for node, dtype_y, want in (
            (integer, "int32", sums),
            (linear, dtype, np.clip(rounded, bounds.min, bounds.max)),
        ):
            session = Session(_model(node, drawn["x"], dims, drawn, dtype_y), threads=1)
            (y,) = session.run(None, {"x": drawn["x"]})
            np.testing.assert_array_equal(y, want)


_FOLLOWING: dict[str, Any] = {
    "nothing": lambda y, r: y,
    "Relu": lambda y, r: np.maximum(y, 0),
    "Erf": lambda y, r: y - y + np.vectorize(math.erf)(y),
    "Add": lambda y, r: y + r,
}


@pytest.mark.parametrize("following", list(_FOLLOWING))
@pytest.mark.parametrize("case", _CASES, ids=str)
def test_floats_agree_with_float64_at_given_and_at_open_sizes(case: Any, following: str) -> None:
    shape, filters, kernel, stride, pads = case
    rng, rank = np.random.default_rng(5), len(kernel)
    x = rng.standard_normal(shape).astype(np.float32)
    weights = {
        "w": rng.standard_normal((filters, shape[1], *kernel)).astype(np.float32),
        "b": rng.standard_normal(filters).astype(np.float32),
    }
    sums = _sums(case, x.astype(np.float64), weights["w"])
    sums += weights["b"].reshape(-1, *[1] * rank)
    feeds = {"x": x}
    more = [] if following == "nothing" else [helper.make_node(following, ["c"], ["y"])]
    if following == "Add":
        feeds["r"] = rng.standard_normal(sums.shape).astype(np.float32)
        more = [helper.make_node("Add", ["c", "r"], ["y"])]
    conv = helper.make_node("Conv", ["x", "w", "b"], ["c" if more else "y"], pads=pads,
                            strides=[1, stride][-rank:])  # fmt: skip
    want = _FOLLOWING[following](sums, feeds.get("r"))
    open_dims: dict[str, tuple[int | str, ...]] = {
        name: ("n", array.shape[1], *(f"{name}{i}" for i in range(rank)))
        for name, array in feeds.items()
    }
    for dims in (None, open_dims):
        session = Session(build([conv, *more], [feeds], weights, dims=dims), threads=1)
        (y,) = session.run(None, feeds)
        np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-4 * np.abs(want).max())


def test_winograds_form_is_of_plain_pixels() -> None:
    conv = helper.make_node("Conv", ["x", "w"], ["y"], name="few", pads=[1] * 4)
    rng = np.random.default_rng(7)
    x = rng.standard_normal((1, 8, 8, 8)).astype(np.float32)
    weights = {"w": rng.standard_normal((2, 8, 3, 3)).astype(np.float32)}
    model = build([conv], [{"x": x}], weights)
    results = [
        Session(model, threads=1, choices=choices).run(None, {"x": x})[0]
        for choices in ({}, {"few": "winograd 2x2"})
    ]
    np.testing.assert_allclose(*results, rtol=1e-3, atol=1e-3)


def test_strict_sums_have_no_products_with_zeros() -> None:
    """A number that is none stays within its window."""
    conv = helper.make_node("Conv", ["x", "w"], ["y"], pads=[0, 4, 0, 4])
    x = np.ones((1, 2, 3, 64), np.float32)
    x[..., 30] = np.nan
    weights = {"w": np.ones((1, 2, 3, 9), np.float32)}
    session = Session(build([conv], [{"x": x}], weights), threads=1, precision="strict")
    (y,) = session.run(None, {"x": x})
    assert np.isnan(y).sum() == 9


def test_passes_over_results_are_asked_of_the_cost_model() -> None:
    """A width that joined pixels do not divide takes a copy, and what follows a step of its own."""
    window, filters = Window.over([7, 7], [1, 1], [1, 1], [3] * 4), LANES // 2

    def joins(near: float, width: int, passes: int = 0) -> bool:
        costs = machine_costs()
        with costs_given(costs._replace(streams=costs.streams._replace(near=near))):
            found = WidePixels.best(filters, 16, window, width, SINGLE, passes=passes)
        return found is not None

    assert joins(0.0, 225)
    assert joins(1e3, 240)
    assert not joins(1e3, 227)
    assert not joins(1e3, 240, passes=1)


def test_pixels_are_joined_only_where_fewer_products_are_left() -> None:
    def best(filters: int, channels: int, taps: int, stride: int = 1) -> WidePixels | None:
        window = Window.over([3, taps], [1, stride], [1, 1], [1, taps // 2, 1, taps // 2])
        return WidePixels.best(filters, channels, window, 1024)

    assert best(64, 64, 3) is None
    assert best(LANES, 32, 1) is None
    assert best(16, 3, 3, 2) is None
    few = best(1, 32, 7)
    assert few is not None
    assert few.joined > 4
    window = Window.over([9, 9], [1, 1], [1, 1], [4] * 4)
    colours = WidePixels.best(3, 32, window, 1024, word=1)
    assert colours is not None
    assert colours.joined * 3 > LANES // 2
    assert WidePixels.best(3, 32, window, 1024, word=1, gain=10.0) is None
    single = best(1, 1, 64, 2)
    assert single is not None
    assert single.read == 4


@pytest.mark.skipif(not words_pay(), reason="this processor multiplies pairs, not words")
def test_a_layer_of_one_channel_takes_a_convolution_of_more() -> None:
    case = _CASES[2]
    drawn = _drawn(case, "uint8")
    node = helper.make_node("ConvInteger", ["x", "w", "x_zero", "w_zero"], ["y"], strides=[1, 2])
    session = Session(_model(node, drawn["x"], list(case[0]), drawn, "int32"), threads=1)
    shapes = [step.shapes[0] for step in session.profile({"x": drawn["x"]}, runs=1).steps]
    assert any(shape[1] >= 8 for shape in shapes)


def test_a_run_does_not_repeat_a_bias_for_joined_pixels() -> None:
    rng = np.random.default_rng(4)
    x = rng.standard_normal((1, 32, 8, 24)).astype(np.float32)
    weights = {
        "w": rng.standard_normal((3, 32, 9, 9)).astype(np.float32),
        "b": rng.standard_normal(3).astype(np.float32),
    }
    conv = helper.make_node("Conv", ["x", "w", "b"], ["y"], pads=[4] * 4)
    session = Session(build([conv], [{"x": x}], weights), threads=1)
    steps = session.profile({"x": x}, runs=1).steps
    assert [step.op_type for step in steps if len(step.shapes[0]) < 4] == []
    sums = sliding_window_view(np.pad(x[0], [(0, 0), (4, 4), (4, 4)]), (9, 9), axis=(1, 2))
    expected = np.einsum("chwij,mcij->mhw", sums, weights["w"]) + weights["b"].reshape(3, 1, 1)
    np.testing.assert_allclose(session.run(None, {"x": x})[0][0], expected, rtol=1e-4, atol=1e-3)
