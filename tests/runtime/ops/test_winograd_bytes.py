"""Convolutions of bytes by Winograd's form: exact at all sizes, and taken where it pays."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import onnx
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator
from sardonyx import InvalidArgument, Session
from sardonyx.kernels.amx_permission import has_amx
from sardonyx.kernels.cost_tables import FAMILIES
from sardonyx.kernels.machine_costs import costs_given
from sardonyx.reference import OPERATORS
from sardonyx.runtime.ops import quads, winograd_costs
from sardonyx.runtime.ops.winograd_costs import choose, gain

from .test_residuals import grids, model

pytestmark = [
    pytest.mark.usefixtures("lowered_anew"),
    pytest.mark.skipif(has_amx(), reason="AMX multiplies bytes sooner"),
]
_TYPES = {"uint8": TensorProto.UINT8, "int8": TensorProto.INT8, "int32": TensorProto.INT32}
_NAMES = ["x", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero", "bias"]


@pytest.fixture(autouse=True, params=[True, False], ids=["quads", "pairs"])
def words(request: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[bool]:
    """Let the direct form multiply words of four bytes, or pairs of int16.

    Costs are those of one processor, whatever was measured on this one.
    """
    monkeypatch.setattr(quads, "words_pay", lambda: request.param)
    monkeypatch.setattr(winograd_costs, "vector_integer_speed", lambda: 4.0)
    monkeypatch.setattr(winograd_costs, "pair_speed", lambda: 2.0)
    with costs_given(FAMILIES[0].costs):
        yield request.param


def drawn(shape: Any, filters: int, groups: int, dtype: str, weights: str) -> dict[str, Any]:
    rng, low = np.random.default_rng(3), 0 if dtype == "uint8" else -128
    limits = np.iinfo(weights)
    size = (filters, shape[1] // groups, 3, 3)
    return {
        "x": rng.integers(low, low + 256, shape).astype(dtype),
        "x_scale": np.float32(0.02),
        "x_zero": np.array(37 if dtype == "uint8" else -5, dtype),
        "w": rng.integers(limits.min, limits.max + 1, size).astype(weights),
        "w_scale": rng.uniform(0.001, 0.01, filters).astype(np.float32),
        "w_zero": np.full(filters, 128 if weights == "uint8" else 0, weights),
        "y_scale": np.float32(1.31),
        "y_zero": np.array(11, dtype),
        "bias": rng.integers(-500, 500, filters).astype(np.int32),
    }


def sums_of(values: dict[str, Any], pads: Any, groups: int) -> np.ndarray:
    x = values["x"].astype(np.int64) - int(values["x_zero"])
    x = np.pad(x, [(0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])])
    windows, w = sliding_window_view(x, (3, 3), axis=(2, 3)), values["w"].astype(np.int64)
    w = w - values["w_zero"].astype(np.int64).reshape(-1, 1, 1, 1)
    made = [
        np.einsum("nchwij,mcij->nmhw", image, filters)
        for image, filters in zip(np.split(windows, groups, 1), np.split(w, groups, 0), strict=True)
    ]
    return np.concatenate(made, 1)


def proto_of(operator: str, values: dict[str, Any], dims: Any, y: str, **attributes: Any) -> Any:
    names = ["x", "w", "x_zero", "w_zero"] if operator == "ConvInteger" else _NAMES
    graph = helper.make_graph(
        [helper.make_node(operator, names, ["y"], name="conv", **attributes)],
        "convolution",
        [helper.make_tensor_value_info("x", _TYPES[values["x"].dtype.name], dims)],
        [helper.make_tensor_value_info("y", _TYPES[y], None)],
        [numpy_helper.from_array(values[name], name) for name in names if name != "x"],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def taken(session: Session, feeds: Any) -> set[str]:
    """Kernels of the steps that a run does not pass by."""
    steps = session.profile(feeds, runs=1).steps
    return {step.kernel.split(".")[-1] for step in steps if step.times_ns.any()}


@pytest.mark.parametrize("dtype", ["uint8", "int8"])
@pytest.mark.parametrize(
    ("shape", "filters", "groups", "pads"),
    [
        ((1, 64, 24, 24), 64, 1, [1, 1, 1, 1]),
        ((2, 66, 25, 18), 70, 1, [1, 0, 2, 1]),
        ((1, 128, 13, 30), 128, 2, [1, 1, 1, 1]),
    ],
)
def test_sums_and_bytes_are_exact(
    shape: Any, filters: int, groups: int, pads: Any, dtype: str
) -> None:
    values = drawn(shape, filters, groups, dtype, "int8")
    sums, column = sums_of(values, pads, groups), (1, -1, 1, 1)
    scale = values["x_scale"] * values["w_scale"] / values["y_scale"]
    whole = (sums + values["bias"].reshape(column)).astype(np.float32)
    bounds = np.iinfo(dtype)
    rounded = np.rint(whole * scale.reshape(column)) + int(values["y_zero"])
    expected = np.clip(rounded, bounds.min, bounds.max)
    feeds, attributes = {"x": values["x"]}, {"pads": pads, "group": groups}
    for dims in (list(shape), ["n", shape[1], "h", "w"]):
        for operator, y, want in (
            ("ConvInteger", "int32", sums),
            ("QLinearConv", dtype, expected),
        ):
            proto = proto_of(operator, values, dims, y, **attributes)
            for precision in ("fp32", "strict"):
                session = Session(proto, threads=2, precision=precision)
                assert "winograd" in taken(session, feeds)
                np.testing.assert_array_equal(session.run(None, feeds)[0], want)


def test_a_run_takes_the_direct_form_where_that_costs_less() -> None:
    values = drawn((1, 64, 24, 24), 64, 1, "uint8", "int8")
    session = Session(
        proto_of("ConvInteger", values, ["n", 64, "h", "w"], "int32", pads=[1] * 4), threads=1
    )
    for size, kernel in ((24, "winograd"), (1, "convolve")):
        feeds = {"x": np.ascontiguousarray(values["x"][..., :size, :size])}
        assert kernel in taken(session, feeds)
        expected = sums_of({**values, **feeds}, [1] * 4, 1)
        np.testing.assert_array_equal(session.run(None, feeds)[0], expected)


def test_weights_of_nine_bits_and_sums_of_too_many_are_direct(words: bool) -> None:
    wide = drawn((1, 32, 16, 16), 64, 1, "uint8", "uint8")
    wide["w_zero"][:] = 3
    large = drawn((1, 232, 8, 8), 32, 1, "uint8", "int8")
    large["w"][5] = 127  # 232 * 9 * 127 * 255 >= 2^25 * 2
    large["x"][:] = 255
    for values in (wide, large):
        proto = proto_of("ConvInteger", values, list(values["x"].shape), "int32", pads=[1] * 4)
        feeds, sums = {"x": values["x"]}, sums_of(values, [1] * 4, 1)
        session = Session(proto, threads=1)
        np.testing.assert_array_equal(session.run(None, feeds)[0], sums)
        if values is large:
            with pytest.raises(InvalidArgument, match="no form"):
                Session(proto, threads=1, choices={"conv": "winograd 4x4"})


@pytest.mark.parametrize("form", ["2x2", "2x4", "4x2", "4x4"])
@pytest.mark.parametrize("relu", [False, True])
def test_residuals_of_bytes_are_added_as_by_the_direct_form(
    form: str, relu: bool, words: bool
) -> None:
    if not words:
        pytest.skip("pairs are chosen before forms are")
    rng = np.random.default_rng(4)
    values = drawn((2, 32, 9, 11), 40, 1, "uint8", "int8")
    arrays = {name: values[name] for name in _NAMES[1:6]} | grids(rng, np.uint8, np.int8, np.uint8)
    arrays["hs"] = np.float32(1.2)
    inputs = [*_NAMES[:6], "hs", "hz"]
    head = helper.make_node("QLinearConv", inputs, ["h"], name="conv", pads=[1] * 4)
    feeds = {"x": values["x"], "o": rng.integers(-128, 128, (2, 40, 9, 11)).astype(np.int8)}
    proto: onnx.ModelProto = model(head, feeds, arrays, relu, True)
    (wanted,) = ReferenceEvaluator(proto, new_ops=OPERATORS).run(None, feeds)
    session = Session(proto, threads=2, choices={"conv": f"winograd {form}"})
    assert "winograd" in taken(session, feeds)
    found = session.run(None, feeds)[0]
    off = np.abs(found.astype(int) - wanted)
    assert off.max() <= 1 and (off != 0).mean() < 0.005


def test_costs() -> None:
    """Many products for each transform, and enough tiles for each weight."""
    assert choose((3, 3), (1, 56, 56), 16, 64, 1, kind="u8") == (4, 4)
    assert choose((3, 3), (1, 3, 3), 128, 512, 1, kind="u8") is None
    assert choose((3, 3), (1, 56, 56), 1, 8, 1, kind="u8") is None
    assert choose((3, 3), (1, 56, 56), 16, 64, 1, (2, 2), kind="u8") is None
    assert choose((5, 5), (1, 56, 56), 16, 64, 1, kind="u8") is None
    assert gain((3, 3), (1, 56, 56), 32, 128, 1, (1, 1), "u8") > 1.3
