"""Values that lie as bfloat16 between products by vectors: results of any graph."""

from __future__ import annotations

from contextlib import AbstractContextManager

import numpy as np
import onnx
import pytest
import sardonyx
from onnx.helper import make_node
from sardonyx.kernels import unit_rates
from sardonyx.kernels.amx_permission import has_amx
from sardonyx.kernels.machine_costs import costs_given, machine_costs
from sardonyx.runtime.ops import forms

from .drawn_networks import draw, filters, normal, transformer_layer
from .ops.conftest import build

pytestmark = pytest.mark.skipif(has_amx(), reason="AMX multiplies bfloat16")

Feeds = list[dict[str, np.ndarray]]


@pytest.fixture(autouse=True)
def fast_unit(monkeypatch: pytest.MonkeyPatch, lowered_anew: None) -> None:
    """Let any processor multiply bfloat16 fast enough: without an instruction it widens them."""
    monkeypatch.setattr(unit_rates, "rates", lambda: {"float32": 1.0, "bfloat16": 2.0})


def assert_near(model: onnx.ModelProto, feeds: Feeds, limit: float = 0.02) -> sardonyx.Session:
    """Compare with float32, by the errors of rounded values."""
    exact = sardonyx.Session(model, precision="strict")
    for threads in (1, 2):
        session = sardonyx.Session(model, precision="bf16", threads=threads)
        for feed in feeds:
            for y, wanted in zip(session.run(None, feed), exact.run(None, feed), strict=True):
                assert y.dtype == wanted.dtype
                assert y.shape == wanted.shape
                assert np.abs(y - wanted).max() <= limit * np.abs(wanted).max()
    return session


def count(session: sardonyx.Session, op_type: str) -> int:
    return sum(step.op_type == op_type for step in session.engine.program.steps)


def chain(channels: int, taps: int, operator: str = "Relu") -> onnx.ModelProto:
    """Two convolutions, a residual sum, and a last convolution."""
    pads = [taps // 2] * 4
    nodes = [
        make_node("Conv", ["x", "v", "b"], ["h"]), make_node("Relu", ["h"], ["r"]),
        make_node("Conv", ["r", "w"], ["s"], pads=pads), make_node("Add", ["s", "r"], ["t"]),
        make_node(operator, ["t"], ["u"]), make_node("Conv", ["u", "q"], ["y"]),
    ]  # fmt: skip
    weights = {"v": filters(channels, 32, 1, 1), "b": normal(channels),
               "w": filters(channels, channels, taps, taps),
               "q": filters(24, channels, 1, 1)}  # fmt: skip
    return build(nodes, FEEDS, weights)


FEEDS = [{"x": normal(2, 32, 9, 11)}]


ROUNDING = pytest.mark.parametrize(("rounding", "pays"), [(0.0, True), (1e6, False)])
"""Cost of a vector that is rounded, and whether products gain more."""


def rounding_costs(rounding: float) -> AbstractContextManager[None]:
    costs = machine_costs()
    streams = costs.streams._replace(near=0.0, far=0.0, memory=0.0)
    vectors = costs.vectors._replace(rounded=rounding)
    return costs_given(costs._replace(streams=streams, vectors=vectors))


@ROUNDING
@pytest.mark.parametrize("operator", ["Relu", "HardSwish", "Gelu"])
@pytest.mark.parametrize("channels", [16, 40, 70, 144])
def test_nothing_is_rounded_in_steps_of_its_own(
    channels: int, operator: str, rounding: float, pays: bool
) -> None:
    with rounding_costs(rounding):
        session = assert_near(chain(channels, 1, operator), FEEDS)
    assert count(session, "Bfloats") == pays  # the input
    assert count(session, "Convert") == 0


@pytest.mark.parametrize("form", [(2, 2), (4, 4), (2, 4)])
@pytest.mark.parametrize("channels", [16, 40, 70])
def test_winograd_reads_and_writes_them(
    form: tuple[int, int], channels: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All convolutions of 3 x 3 take its form: between others, with a residual."""
    monkeypatch.setattr(forms, "form_of", lambda emit, conv, speed=1.0: chosen(emit, conv, form))
    session = assert_near(chain(channels, 3), FEEDS)
    assert any("winograd" in str(kernel) for kernel in session.engine.program.kernels)
    assert count(session, "Convert") == 0


def chosen(emit: object, conv: object, form: tuple[int, int]) -> tuple[int, int] | None:
    return form if form in forms.legal_forms(emit, conv) else None  # type: ignore[arg-type]


@pytest.mark.parametrize("channels", [15, 33])
def test_odd_channels(channels: int) -> None:
    assert_near(chain(channels, 1), FEEDS)
    assert_near(chain(channels, 3), FEEDS)


def test_a_pooling_in_winograds_form(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forms, "form_of", lambda emit, conv, speed=1.0: chosen(emit, conv, (4, 4)))
    nodes = [
        make_node("Conv", ["x", "v"], ["h"]), make_node("Conv", ["h", "w"], ["s"], pads=[1] * 4),
        make_node("Relu", ["s"], ["r"]),
        make_node("MaxPool", ["r"], ["p"], kernel_shape=[2, 2], strides=[2, 2]),
        make_node("Conv", ["p", "q"], ["y"]),
    ]  # fmt: skip
    weights = {"v": filters(40, 32, 1, 1), "w": filters(48, 40, 3, 3), "q": filters(24, 48, 1, 1)}
    session = assert_near(build(nodes, FEEDS, weights), FEEDS)
    assert count(session, "MaxPool") == 0


def test_sums_of_many_products_are_whole() -> None:
    """More weights than a block of a reduction has: sums of a part have no memory."""
    nodes = [
        make_node("Conv", ["x", "v"], ["h"]), make_node("Conv", ["h", "w"], ["r"], pads=[1] * 4),
        make_node("Conv", ["r", "q"], ["y"]),
    ]  # fmt: skip
    for channels in (600, 720):
        weights = {"v": filters(channels, 32, 1, 1), "w": filters(72, channels, 3, 3),
                   "q": filters(24, 72, 1, 1)}  # fmt: skip
        assert_near(build(nodes, FEEDS, weights), FEEDS)


def test_matrices_of_open_rows() -> None:
    nodes, weights = transformer_layer("x")
    feeds = [{"x": normal(1, rows, 72)} for rows in (40, 3, 129)]
    session = assert_near(build(nodes, feeds, weights, dims={"x": (1, "n", 72)}), feeds)
    assert count(session, "Bfloats") == 0


def test_chains_with_depthwise_convolutions() -> None:
    nodes = [
        make_node("Conv", ["x", "v", "b"], ["h"]), make_node("Relu", ["h"], ["r"]),
        make_node("Conv", ["r", "d"], ["s"], pads=[1] * 4, group=40, strides=[2, 2]),
        make_node("Relu", ["s"], ["t"]), make_node("Conv", ["t", "w"], ["y"]),
    ]  # fmt: skip
    weights = {"v": filters(40, 32, 1, 1), "b": normal(40), "d": filters(40, 1, 3, 3),
               "w": filters(20, 40, 1, 1)}  # fmt: skip
    for shape in ((2, 32, 15, 14), (1, 32, 120, 130)):
        feeds = [{"x": normal(*shape)}]
        assert_near(build(nodes, feeds, weights), feeds)


@pytest.mark.parametrize("seed", range(12))
def test_graphs_at_random(seed: int) -> None:
    assert_near(*draw(seed, is_open=seed % 2 == 1), 0.04)


@pytest.mark.parametrize("attributes", [
    {"strides": [2, 2], "pads": [3] * 4}, {"pads": [1, 2, 0, 3]}, {"dilations": [2, 1]}, {},
])  # fmt: skip
@pytest.mark.parametrize("channels", [1, 2, 3, 4])
@ROUNDING
def test_images_of_few_planes(
    channels: int, attributes: dict[str, list[int]], rounding: float, pays: bool
) -> None:
    nodes = [
        make_node("Conv", ["x", "v", "b"], ["h"], **attributes), make_node("Relu", ["h"], ["r"]),
        make_node("Conv", ["r", "w"], ["y"]),
    ]  # fmt: skip
    weights = {"v": filters(48, channels, 7, 7), "b": normal(48), "w": filters(50, 48, 1, 1)}
    feeds = [{"x": normal(n, channels, 19, 21)} for n in (2, 1)]
    model = build(nodes, feeds, weights, dims={"x": ("n", channels, "h", 21)})
    with rounding_costs(rounding):
        session = assert_near(model, feeds)
    assert count(session, "Bfloats") == (pays or channels > 2)  # these are pixels of four


def test_a_number_that_is_none_stays_in_its_window() -> None:
    """Weights of zero never meet it."""
    nodes = [make_node("Conv", ["x", "v"], ["y"])]
    feeds = [{"x": normal(1, 3, 12, 13)}]
    feeds[0]["x"][0, 0, 5, 6] = np.inf
    session = sardonyx.Session(build(nodes, feeds, {"v": filters(48, 3, 5, 5)}), precision="bf16")
    (y,) = session.run(None, feeds[0])
    is_near = np.zeros((8, 9), bool)
    is_near[1:6, 2:7] = True
    assert np.isfinite(y[0, :, ~is_near]).all()
    assert not np.isfinite(y[0, :, is_near]).any()
