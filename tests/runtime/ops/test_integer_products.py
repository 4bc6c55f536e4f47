"""MatMulInteger, ConvInteger, QLinearMatMul and QLinearConv for all types and zero points."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import sardonyx
from onnx.helper import make_node
from onnx.reference import ReferenceEvaluator
from sardonyx.reference import OPERATORS

from .byte_cases import words as words
from .conftest import assert_same, build

BYTES = [np.uint8, np.int8]
PAIRS = list(itertools.product(BYTES, BYTES))
FORMS = [
    ((4, 5), (5, 6)),
    ((1, 7), (7, 33)),
    ((3, 4, 5), (5, 6)),
    ((3, 4, 5), (3, 5, 6)),
    ((2, 3, 4, 9), (3, 9, 17)),
    ((2, 1, 4, 6), (1, 3, 6, 5)),
    ((5,), (5, 4)),
    ((4, 5), (5,)),
    ((40, 300), (300, 100)),
]
IMAGES: list[tuple[tuple[int, ...], tuple[int, ...], dict[str, Any]]] = [
    ((1, 3, 8, 9), (4, 3, 3, 3), {}),
    ((2, 4, 7, 7), (6, 4, 1, 1), {}),
    ((1, 5, 9, 9), (8, 5, 3, 3), dict(pads=[1, 1, 1, 1])),
    ((2, 6, 9, 9), (9, 2, 3, 3), dict(group=3, pads=[1, 0, 2, 1], strides=[2, 1])),
    ((1, 8, 12, 11), (8, 1, 3, 3), dict(group=8, pads=[1, 1, 1, 1])),
    ((2, 12, 13), (12, 1, 3), dict(group=12, pads=[1, 1])),
    ((1, 6, 20), (7, 6, 5), dict(pads=[2, 2])),
    ((1, 4, 10, 10), (5, 4, 3, 3), dict(dilations=[2, 2], pads=[2, 2, 2, 2])),
    ((1, 3, 9, 9), (4, 3, 2, 2), dict(auto_pad="SAME_UPPER", strides=[2, 2])),
    ((1, 7, 15, 1), (20, 7, 3, 1), dict(pads=[1, 0, 1, 0])),
    ((1, 3, 17, 17), (40, 3, 7, 7), dict(strides=[2, 2], pads=[3, 3, 3, 3])),
    ((2, 20, 9, 11), (20, 1, 5, 5), dict(group=20, pads=[2, 2, 2, 2])),
    ((1, 35, 10, 9), (35, 1, 3, 3), dict(group=35, strides=[2, 2], pads=[0, 1, 1, 0])),
    ((1, 8, 11, 11), (8, 1, 3, 3), dict(group=8, dilations=[2, 3], pads=[2, 3, 2, 3])),
    ((1, 6, 5, 5, 5), (6, 1, 1, 3, 3), dict(group=6, pads=[0, 1, 1, 0, 1, 1])),
    ((2, 20, 4, 5, 9), (20, 1, 3, 3, 3), dict(group=20, pads=[1, 1, 1, 1, 1, 1])),
    ((1, 5, 7, 6, 8), (5, 1, 3, 2, 3), dict(group=5, strides=[2, 1, 2], dilations=[2, 1, 1])),
    ((2, 1, 9, 9), (5, 1, 3, 3), {}),
    ((2, 4, 9, 7), (33, 4, 1, 1), {}),
    ((1, 4, 4, 5, 6), (6, 2, 2, 3, 2), dict(group=2, pads=[1, 0, 1, 2, 1, 0], strides=[2, 1, 1])),
]


def numbers(shape: tuple[int, ...], dtype: Any, seed: int = 0) -> np.ndarray:
    """Numbers of the whole range, both ends among them."""
    info = np.iinfo(dtype)
    rng = np.random.default_rng([seed, *shape])
    array = rng.integers(info.min, info.max + 1, shape).astype(dtype)
    array.reshape(-1)[:2] = [info.min, info.max][: array.size]
    return array


def compare(node: Any, feeds: dict[str, Any], weights: dict[str, Any] | None = None) -> None:
    """Compare with the operators of `sardonyx.reference`, which tests there hold to onnxruntime."""
    feeds = {name: np.asarray(array) for name, array in feeds.items()}
    weights = {name: np.asarray(array) for name, array in (weights or {}).items()}
    model = build([node], [feeds], weights, opset=21)
    (wanted,) = ReferenceEvaluator(model, new_ops=OPERATORS).run(None, feeds)
    if node.op_type == "ConvInteger":
        wanted = wanted.astype(np.int32)
    for threads in (1, 3):
        session = sardonyx.Session(model, threads=threads, optimize="none")
        assert not session.engine.program.host_steps
        assert_same(session.run(None, feeds)[0], np.asarray(wanted), 0, node.op_type)


def split(constant: bool, first: str, operands: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Feeds and constants: all but the first operand are constant or fed."""
    yield {name: x for name, x in operands.items() if not constant or name == first}
    yield {name: x for name, x in operands.items() if constant and name != first}


@pytest.mark.parametrize(("a", "b"), PAIRS)
@pytest.mark.parametrize("constant", [True, False])
def test_products(a: Any, b: Any, constant: bool) -> None:
    for left, right in FORMS:
        own: dict[str, Any] = {"a": numbers(left, a), "b": numbers(right, b, 1)}
        points = {"az": numbers((), a, 2), "bz": numbers((), b, 3)}
        several = dict(points)
        if len(left) == len(right) == 2:
            several = {"az": numbers(left[:1], a, 2), "bz": numbers(right[1:], b, 3)}
        for zeros in ({}, {"az": points["az"]}, points, several):
            operands = own | zeros
            node = make_node("MatMulInteger", list(operands), ["y"])
            compare(node, *split(constant, "a", operands))


def test_zero_points_of_rows_and_columns_of_a_batch() -> None:
    operands = {
        "a": numbers((2, 3, 5), np.uint8), "b": numbers((2, 5, 4), np.int8, 1),
        "az": numbers((2, 3, 1), np.uint8, 2), "bz": numbers((2, 1, 4), np.int8, 3),
    }  # fmt: skip
    for constant in (True, False):
        node = make_node("MatMulInteger", list(operands), ["y"])
        compare(node, *split(constant, "a", operands))


def test_sums_wrap_around() -> None:
    depth = 1 << 16
    a, b = np.full((1, depth), 255, np.uint8), np.full((depth, 1), 255, np.uint8)
    compare(make_node("MatMulInteger", ["a", "b"], ["y"]), {"a": a}, {"b": b})


@pytest.mark.parametrize("dims", [{"a": ["M", "K"]}, {"a": ["M", "K"], "b": ["K", "N"]}])
def test_products_of_named_sizes(check: Any, dims: dict[str, Any]) -> None:
    feeds = [
        {"a": numbers((m, k), np.uint8), "b": numbers((k, n), np.uint8, 1)}
        for m, k, n in ((3, 5, 7), (17, 130, 33), (1, 2, 1))
    ]
    node = make_node("MatMulInteger", ["a", "b"], ["y"])
    if len(dims) == 2:
        check([node], feeds, dims=dims)
    else:
        weights = {"b": feeds[0].pop("b")}
        check([node], feeds[0], weights, dims=dims)


@pytest.mark.parametrize(("a", "b"), PAIRS)
@pytest.mark.parametrize("constant", [True, False])
def test_quantized_products(a: Any, b: Any, constant: bool) -> None:
    for left, right in FORMS:
        operands = {
            "a": numbers(left, a), "as": np.float32(0.02), "az": numbers((), a, 2),
            "b": numbers(right, b, 1), "bs": np.float32(0.013), "bz": numbers((), b, 3),
            "ys": np.float32(0.4), "yz": numbers((), a, 4),
        }  # fmt: skip
        if len(right) == 2:
            operands["bs"] = np.linspace(0.001, 0.03, right[1], dtype=np.float32)
            operands["bz"] = numbers(right[1:], b, 3)
        node = make_node("QLinearMatMul", list(operands), ["y"])
        compare(node, *split(constant, "a", operands))


@pytest.mark.parametrize(("x", "w"), PAIRS)
@pytest.mark.parametrize(("image", "filters", "attributes"), IMAGES, ids=str)
def test_convolutions(x: Any, w: Any, image: Any, filters: Any, attributes: Any) -> None:
    points = {"xz": numbers((), x, 2), "wz": numbers(filters[:1], w, 3)}
    own = {"x": numbers(image, x), "w": numbers(filters, w, 1)}
    for zeros in ({}, {"xz": points["xz"]}, points):
        operands = own | zeros
        node = make_node("ConvInteger", list(operands), ["y"], **attributes)
        compare(node, *split(True, "x", operands))
    compare(node, *split(False, "x", operands))


@pytest.mark.parametrize(("x", "w"), PAIRS)
@pytest.mark.parametrize(("image", "filters", "attributes"), IMAGES, ids=str)
def test_quantized_convolutions(x: Any, w: Any, image: Any, filters: Any, attributes: Any) -> None:
    channels = filters[0]
    operands = {
        "x": numbers(image, x), "xs": np.float32(0.02), "xz": numbers((), x, 2),
        "w": numbers(filters, w, 1), "ws": np.linspace(0.001, 0.02, channels, dtype=np.float32),
        "wz": np.zeros(channels, w), "ys": np.float32(1.7), "yz": numbers((), x, 4),
        "b": np.random.default_rng(5).integers(-9999, 9999, channels).astype(np.int32),
    }  # fmt: skip
    for names in (list(operands), list(operands)[:-1]):
        given = {name: operands[name] for name in names}
        node = make_node("QLinearConv", names, ["y"], **attributes)
        compare(node, *split(True, "x", given))
    operands["ws"], operands["wz"] = np.float32(0.011), numbers((), w, 3)
    node = make_node("QLinearConv", list(operands), ["y"], **attributes)
    compare(node, *split(True, "x", operands))
    compare(node, *split(False, "x", operands))


def near_zero(shape: tuple[int, ...], dtype: Any) -> dict[str, np.ndarray]:
    """Weights that fit int8 once their zero point is taken off, and this zero point."""
    low, point = (20, 128) if dtype is np.uint8 else (-100, 7)
    w = np.random.default_rng([1, *shape]).integers(low, low + 216, shape).astype(dtype)
    return {"w": w, "wz": np.array(point, dtype)}


@pytest.mark.parametrize(("x", "w"), PAIRS)
def test_zero_points_that_a_step_computes(x: Any, w: Any) -> None:
    for left, right in FORMS:
        feeds = {"x": numbers(left, x), "xz": numbers((), x, 2)}
        node = make_node("MatMulInteger", ["x", "w", "xz", "wz"], ["y"])
        compare(node, feeds, near_zero(right, w))
    for image, filters, attributes in IMAGES:
        feeds = {"x": numbers(image, x), "xz": numbers((), x, 2)}
        feeds["b"] = np.random.default_rng(5).integers(-9999, 9999, filters[0]).astype(np.int32)
        weights = near_zero(filters, w)
        node = make_node("ConvInteger", ["x", "w", "xz", "wz"], ["y"], **attributes)
        compare(node, {name: feeds[name] for name in ("x", "xz")}, weights)
        weights |= {"yz": numbers((), x, 4)}
        weights |= {name: np.array(0.02, np.float32) for name in ("xs", "ws", "ys")}
        names = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz", "b"]
        compare(make_node("QLinearConv", names, ["y"], **attributes), feeds, weights)


def test_operands_that_do_not_fit_are_refused(refused: Any) -> None:
    a, b = numbers((3, 4), np.uint8), numbers((5, 2), np.uint8)
    refused([make_node("MatMulInteger", ["a", "b"], ["y"], name="product")], {"a": a, "b": b})
    node = make_node("ConvInteger", ["x", "w"], ["y"], name="convolution")
    image, filters = numbers((1, 3, 5, 5), np.uint8), numbers((2, 4, 3, 3), np.int8)
    refused([node], {"x": image}, {"w": filters})
    points = make_node("ConvInteger", ["x", "w", "", "z"], ["y"], name="convolution")
    weights = {"w": numbers((2, 3, 3, 3), np.int8), "z": numbers((3,), np.int8)}
    refused([points], {"x": image}, weights)


def test_products_with_one_operand_share_its_words(check: Any, words: str) -> None:
    nodes = [make_node("MatMulInteger", ["a", b, "az"], [f"y{b}"]) for b in ("b", "c")]
    operands = {"b": numbers((70, 9), np.int8, 1), "c": numbers((70, 5), np.int8, 2)}
    weights = operands | {"az": numbers((), np.uint8)}
    session = check(nodes, {"a": numbers((8, 70), np.uint8)}, weights, outputs=["yb", "yc"])
    types = [step.op_type for step in session.engine.program.steps]
    assert types == [words.title(), "MatMulInteger", "MatMulInteger"]
