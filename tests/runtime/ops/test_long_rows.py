"""Operands that are the same for all pixels, in steps of rows that are joined."""

from __future__ import annotations

import numpy as np
import pytest
from onnx.helper import make_node

F32 = np.float32


@pytest.mark.parametrize("channels", [5, 8, 24, 130])
@pytest.mark.parametrize("images", [1, 2])
def test_gates_of_few_channels_at_given_and_open_sizes(check, rng, channels, images):
    """A factor for each image and channel, channels last, and one for each channel."""
    weights = {
        "w": rng.standard_normal((channels, 3, 1, 1)).astype(F32),
        "f": rng.standard_normal((channels, 1, 1)).astype(F32),
    }
    nodes = [
        make_node("Conv", ["x", "w"], ["c"]),
        make_node("GlobalAveragePool", ["c"], ["p"]),
        make_node("Sigmoid", ["p"], ["g"]),
        make_node("MaxPool", ["c"], ["m"], kernel_shape=[1, 1]),
        make_node("Mul", ["m", "g"], ["s"]),
        make_node("Add", ["s", "f"], ["a"]),
        make_node("Tanh", ["a"], ["y"]),
    ]

    def feed(height: int, width: int) -> dict[str, np.ndarray]:
        return {"x": rng.standard_normal((images, 3, height, width)).astype(F32)}

    check(nodes, feed(32, 40), weights, threads=[1, 3])
    check(nodes, [feed(32, 40), feed(1, 1), feed(13, 37), feed(3, 5)], weights, threads=[1, 3])


def test_rows_of_matrices(check, rng):
    feeds = [{"x": rng.standard_normal((n, 12)).astype(F32)} for n in (1, 41, 42, 43, 1000)]
    nodes = [make_node("Mul", ["x", "g"], ["s"]), make_node("Sub", ["s", "g"], ["y"])]
    check(nodes, feeds, {"g": rng.standard_normal(12).astype(F32)}, threads=[1, 3])
