"""Clip behind convolutions and products of bytes: limits of what their tile rounds to."""

from __future__ import annotations

import numpy as np
import pytest
from onnx.helper import make_node

from .byte_cases import numbers
from .byte_cases import words as words

F32 = np.float32
CONV = ["x", "xs", "xz", "w", "ws", "wz", "hs", "hz", "bias"]


def arrays(rng, filters, dtype, ends):
    return {
        "xs": F32(0.02), "xz": np.array(13, dtype), "w": numbers(rng, filters, np.int8),
        "ws": rng.uniform(0.001, 0.01, filters[0]).astype(F32),
        "wz": np.zeros(filters[0], np.int8), "hs": F32(0.1), "hz": numbers(rng, (), dtype),
        "bias": rng.integers(-999, 999, filters[0]).astype(np.int32),
        "low": np.array(ends[0], dtype), "high": np.array(ends[1], dtype),
    }  # fmt: skip


@pytest.mark.parametrize("limits", [("low", "high"), ("low", ""), ("", "high")])
@pytest.mark.parametrize(("dtype", "ends"), [(np.uint8, (90, 201)), (np.int8, (-20, 61))])
@pytest.mark.parametrize("groups", [1, 3, 24])
def test_behind_convolutions(check, words, rng, dtype, ends, groups, limits):
    given = arrays(rng, (24, 24 // groups, 3, 3), dtype, ends)
    given = {name: each for name, each in given.items() if name in (*CONV, *limits)}
    nodes = [
        make_node("QLinearConv", CONV, ["h"], pads=[1] * 4, group=groups),
        make_node("Clip", ["h", *limits], ["c"]),
        make_node("MaxPool", ["c"], ["y"], kernel_shape=[2, 2]),
    ]
    session = check(nodes, {"x": numbers(rng, (2, 24, 7, 9), dtype)}, given, threads=[1, 3])
    steps = [step.op_type for step in session.engine.program.steps]
    if words == "quads":
        assert not any(step == "Clip" for step in steps)


def test_limits_in_the_wrong_order_and_what_follows(check, rng):
    given = arrays(rng, (24, 8, 3, 3), np.uint8, (200, 100))
    nodes = [
        make_node("QLinearConv", CONV, ["h"]),
        make_node("Clip", ["h", "low", "high"], ["c"]),
        make_node("DequantizeLinear", ["c", "hs", "hz"], ["y"]),
    ]
    check(nodes, {"x": numbers(rng, (1, 8, 5, 6), np.uint8)}, given)


def test_behind_products(check, rng):
    given = arrays(rng, (16, 24), np.uint8, (90, 201))
    given["ws"], given["wz"] = F32(0.004), np.int8(0)
    del given["bias"]
    nodes = [
        make_node("QLinearMatMul", CONV[:-1], ["h"]),
        make_node("Clip", ["h", "low", "high"], ["y"]),
    ]
    check(nodes, {"x": numbers(rng, (1, 9, 16), np.uint8)}, given)


def test_results_that_others_read_keep_their_bytes(check, rng):
    given = arrays(rng, (24, 8, 1, 1), np.uint8, (90, 201))
    nodes = [
        make_node("QLinearConv", CONV, ["h"]),
        make_node("Clip", ["h", "low", "high"], ["y"]),
    ]
    feeds = {"x": numbers(rng, (1, 8, 5, 6), np.uint8)}
    check(nodes, feeds, given, outputs=["y", "h"])
