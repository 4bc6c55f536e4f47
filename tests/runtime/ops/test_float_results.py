"""Sums of bytes that become floats in the tile: scaled, shifted, activated."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx.helper import make_node

from .byte_cases import numbers
from .byte_cases import words as words

F32 = np.float32
TYPES = [(a, b) for a in (np.uint8, np.int8) for b in (np.uint8, np.int8)]
ENDS: dict[str, list[tuple[str, list[str]]]] = {
    "scaled": [],
    "shifted": [("Add", ["@", "b"])],
    "activated": [("Add", ["b", "@"]), ("Relu", ["@"])],
    "limited": [("Clip", ["@", "low", "high"])],
    "added": [("Add", ["@", "b"]), ("Add", ["@", "r"]), ("Relu", ["@"])],
    "others": [("Add", ["@", "b"]), ("LeakyRelu", ["@"]), ("Mul", ["@", "r"]), ("Tanh", ["@"])],
}


def chain(head: Any, ends: list[tuple[str, list[str]]]) -> list[Any]:
    """Nodes behind sums ``s``: floats in a scale ``f``, and what follows them."""
    nodes = [head, make_node("Cast", ["s"], ["t"], to=1), make_node("Mul", ["t", "f"], ["v0"])]
    for i, (op_type, inputs) in enumerate(ends):
        operands = [f"v{i}" if each == "@" else each for each in inputs]
        nodes.append(make_node(op_type, operands, [f"v{i + 1}"]))
    return nodes


@pytest.mark.parametrize("ends", ENDS)
@pytest.mark.parametrize(("x", "w"), TYPES)
def test_convolutions(check, x, w, ends):
    rng = np.random.default_rng([list(ENDS).index(ends), x is np.int8, w is np.int8])
    channels, filters, group = [(3, 5, 1), (16, 40, 1), (32, 68, 2)][rng.integers(3)]
    shape = (2, filters, 9, 8)
    feeds = {"x": numbers(rng, (2, channels, 9, 8), x), "r": rng.standard_normal(shape).astype(F32)}
    weights = {
        "w": numbers(rng, (filters, channels // group, 3, 3), w), "xz": numbers(rng, (), x),
        "wz": np.zeros((), w), "b": rng.standard_normal((filters, 1, 1)).astype(F32),
        "f": rng.uniform(1e-5, 1e-4, (filters, 1, 1) if rng.integers(2) else ()).astype(F32),
        "low": F32(-0.5), "high": F32(0.7),
    }  # fmt: skip
    names = ["x", "w", "xz", "wz"]
    head = make_node("ConvInteger", names, ["s"], pads=[1, 1, 1, 1], group=group)
    compare(check, chain(head, ENDS[ends]), feeds, weights, "ConvInteger")


@pytest.mark.parametrize("is_given", [False, True])
@pytest.mark.parametrize("ends", ENDS)
def test_products(check, ends, is_given):
    """With scales that a run gives, too."""
    rng = np.random.default_rng([list(ENDS).index(ends), is_given])
    for rows, depth, columns in ((1, 8, 5), (19, 64, 40), (33, 70, 67)):
        r = rng.standard_normal((2, rows, columns)).astype(F32)
        feeds = {"x": numbers(rng, (2, rows, depth), np.uint8), "r": r}
        weights = {
            "w": numbers(rng, (depth, columns), np.int8), "xz": numbers(rng, (), np.uint8),
            "b": rng.standard_normal(columns).astype(F32), "low": F32(-0.5), "high": F32(0.7),
        }  # fmt: skip
        scales = rng.uniform(1e-5, 1e-4, (columns,) if rows > 1 else ()).astype(F32)
        (feeds if is_given else weights)["f"] = scales
        head = make_node("MatMulInteger", ["x", "w", "xz"], ["s"])
        compare(check, chain(head, ENDS[ends]), feeds, weights, "MatMulInteger")


def compare(check: Any, nodes: list[Any], feeds: Any, weights: Any, op_type: str) -> None:
    used = {name for node in nodes for name in node.input}
    given = [{k: v for k, v in arrays.items() if k in used} for arrays in (feeds, weights)]
    session = check(nodes, *given, tolerance=2e-6, threads=(1, 3))
    steps = [step for step in session.engine.program.steps if op_type in step.op_type]
    assert steps
    assert all("Mul" in step.op_type for step in steps)


@pytest.mark.parametrize("ends", ["shifted", "activated", "others"])
def test_volumes(check, ends):
    rng = np.random.default_rng(4)
    feeds = {
        "x": numbers(rng, (2, 6, 5, 7, 6), np.uint8),
        "r": rng.standard_normal((2, 20, 5, 7, 6)).astype(F32),
    }
    weights = {
        "w": numbers(rng, (20, 6, 3, 3, 3), np.int8), "xz": np.uint8(9), "wz": np.int8(0),
        "b": rng.standard_normal((20, 1, 1, 1)).astype(F32),
        "f": rng.uniform(1e-5, 1e-4, (20, 1, 1, 1)).astype(F32),
    }  # fmt: skip
    head = make_node("ConvInteger", ["x", "w", "xz", "wz"], ["s"], pads=[1] * 6)
    compare(check, chain(head, ENDS[ends]), feeds, weights, "ConvInteger")
