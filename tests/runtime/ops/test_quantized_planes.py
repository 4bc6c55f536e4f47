"""QuantizeLinear of few planes before a convolution: words of pixels are made in its own pass."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import sardonyx
from onnx.helper import make_node

from .byte_cases import numbers
from .byte_cases import words as words
from .conftest import build

F32 = np.float32
LINEAR = ["q", "s", "z", "w", "ws", "wz", "ys", "yz"]


def floats(rng: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
    """Numbers of which some are halves of a step, beyond the range, or infinite."""
    x = (rng.standard_normal(shape) * 40).astype(F32)
    flat = x.reshape(-1)
    flat[:5] = [0.25, 0.75, -0.25, 1e9, -np.inf]
    return x


def weights(rng: np.random.Generator, dtype: Any, filters: tuple[int, ...]) -> dict[str, Any]:
    return {
        "s": F32(0.5), "z": numbers(rng, (), dtype), "w": numbers(rng, filters, np.int8),
        "ws": np.linspace(1e-3, 1e-2, filters[0], dtype=F32), "wz": np.zeros(filters[0], np.int8),
        "ys": F32(1.3), "yz": np.array(7, dtype),
    }  # fmt: skip


@pytest.mark.parametrize("dtype", [np.uint8, np.int8])
@pytest.mark.parametrize("channels", [1, 2, 3, 4, 5])
def test_images(check, words, rng, dtype, channels):
    given = weights(rng, dtype, (9, channels, 3, 3))
    nodes = [
        make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        make_node("QLinearConv", LINEAR, ["y"], pads=[1, 1, 1, 1], strides=[2, 2]),
    ]
    feeds = [{"x": floats(rng, (n, channels, h, w))} for n, h, w in ((1, 9, 35), (2, 5, 7))]
    session = check(nodes, feeds, given, threads=[1, 3])
    steps = [step.op_type for step in session.engine.program.steps]
    if words == "quads" and 2 < channels < 5 and dtype is np.uint8:
        assert steps[:2] == ["QuantizeLinear", "QLinearConv"]


@pytest.mark.parametrize("shape", [(2, 3, 40), (1, 2, 4, 5, 6)])
def test_signals_volumes_and_sums_of_integers(check, rng, shape):
    filters = (6, shape[1], *[3] * (len(shape) - 2))
    given = weights(rng, np.uint8, filters)
    del given["z"]
    nodes = [
        make_node("QuantizeLinear", ["x", "s"], ["q"]),
        make_node("ConvInteger", ["q", "w"], ["y"], pads=[1] * (2 * len(shape) - 4)),
    ]
    check(nodes, {"x": floats(rng, shape)}, given, threads=[1, 3])


def test_what_others_read_stays_plain(check, rng):
    given = weights(rng, np.uint8, (4, 3, 1, 1))
    nodes = [
        make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        make_node("QLinearConv", LINEAR, ["y"]),
        make_node("DequantizeLinear", ["q", "s", "z"], ["same"]),
    ]
    check(nodes, {"x": floats(rng, (1, 3, 6, 7))}, given, outputs=["y", "q", "same"])


def test_several_convolutions_and_groups(check, rng):
    given = weights(rng, np.uint8, (6, 3, 3, 3)) | {"g": numbers(rng, (6, 1, 3, 3), np.int8)}
    grouped = [*LINEAR[:3], "g", *LINEAR[4:]]
    first = [
        make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        make_node("QLinearConv", LINEAR, ["a"]),
    ]
    feeds = {"x": floats(rng, (1, 3, 8, 9))}
    for second in (
        make_node("QLinearConv", LINEAR, ["y"], pads=[1] * 4),
        make_node("QLinearConv", grouped, ["y"], group=3),
    ):
        check([*first, second], feeds, given, outputs=["a", "y"])


def test_nan_is_what_it_is_elsewhere(rng):
    """A result that others read, too, is quantized as any tensor."""
    given = weights(rng, np.uint8, (4, 3, 3, 3))
    feeds = {"x": floats(rng, (1, 3, 8, 9))}
    feeds["x"][0, 1, 3, 3:6] = np.nan
    nodes = [
        make_node("QuantizeLinear", ["x", "s", "z"], ["q"]),
        make_node("QLinearConv", LINEAR, ["y"]),
    ]
    results = [
        sardonyx.Session(build(nodes, [feeds], given, outputs), threads=1).run(["y"], feeds)[0]
        for outputs in (["y"], ["y", "q"])
    ]
    np.testing.assert_array_equal(*results)
