"""Refined weights make the outputs of layers more exact, and never less."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import sardonyx
from onnx import helper, numpy_helper
from sardonyx.importers import load
from sardonyx.optimizer.quantize.descent import descended
from sardonyx.optimizer.quantize.grid import Grid
from sardonyx.optimizer.quantize.layers import layers_of
from sardonyx.optimizer.quantize.moments import moments
from sardonyx.optimizer.quantize.refinement import by_input
from sardonyx.optimizer.quantize.rounding import METHODS, output_errors, rounded
from sardonyx.optimizer.quantize.walk import Walk
from sardonyx.optimizer.quantize.weights import in_blocks

F32 = np.float32


def grid_of(weights: np.ndarray, most: int) -> Grid:
    scales = (np.abs(weights).max(1, keepdims=True) / most).astype(F32)
    return Grid(scales, np.zeros_like(scales), -most, most)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("most", [7, 127])
def test_outputs_on_correlated_inputs_gain_two_decibels(method, most):
    rng = np.random.default_rng(0)
    rows = np.maximum(rng.standard_normal((2000, 64)) @ rng.standard_normal((64, 64)), 0) / 8
    products = (rows.T @ rows).astype(F32)
    weights = rng.standard_normal((32, 64)).astype(F32)
    grid = grid_of(weights, most)
    integers, same = rounded(weights, grid, products, method)
    assert (same.scales == grid.scales).all()
    assert (integers == np.rint(integers)).all() and np.abs(integers).max() <= most
    before, after = (
        output_errors(weights, grid.numbers(each), products)
        for each in (grid.nearest(weights), integers)
    )
    assert (after <= before).all() and after.sum() < before.sum() / 10**0.2
    exact = np.square(rows @ (grid.numbers(integers) - weights).T).sum(0)
    np.testing.assert_allclose(after, exact, rtol=1e-3)


@pytest.mark.parametrize("method", METHODS)
def test_inputs_that_are_always_zero_keep_nearest_numbers(method):
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((4, 8)).astype(F32)
    grid = grid_of(weights, 7)
    products = np.zeros((8, 8), F32)
    assert (rounded(weights, grid, products, method)[0] == grid.nearest(weights)).all()
    products[:4, :4] = np.eye(4)
    assert np.isfinite(rounded(weights, grid, products, method)[0]).all()


def correlated(rng: np.random.Generator, count: int, width: int) -> np.ndarray:
    """Rows whose numbers depend on each other, some of which are much larger."""
    mixed = rng.standard_normal((count, width)) @ rng.standard_normal((width, width))
    sizes = np.exp(rng.standard_normal(width))
    return (np.maximum(mixed, 0) * sizes / 8).astype(F32)


def block_grid(weights: np.ndarray, block: int, squares: np.ndarray | None = None) -> Grid:
    blocks = in_blocks(weights, 1, block, "nearest" if squares is None else "mse", squares)
    parts = (blocks.scales, blocks.zeros.astype(F32))
    scales, zeros = (np.repeat(part, block, 1)[:, : weights.shape[1]] for part in parts)
    return Grid(scales, zeros, 0, 15, block)


@pytest.mark.parametrize("block", [0, 16, 64])
@pytest.mark.parametrize("width", [64, 100])
def test_descent_only_makes_errors_smaller(block, width):
    rng = np.random.default_rng(block + width)
    rows = correlated(rng, 1000, width)
    products = rows.T @ rows + F32(0.1) * np.eye(width, dtype=F32)
    weights = rng.standard_normal((24, width)).astype(F32)
    grid = block_grid(weights, block) if block else grid_of(weights, 7)
    integers = grid.nearest(weights)
    errors = [output_errors(weights, grid.numbers(integers), products)]
    for _ in range(3):
        integers, grid = descended(weights, integers, grid, products, 1)
        errors.append(output_errors(weights, grid.numbers(integers), products))
        assert (errors[-1] <= errors[-2] * (1 + 1e-4)).all()
    assert (integers == np.rint(integers)).all()
    assert integers.min() >= grid.low and integers.max() <= grid.high
    assert (grid.scales > 0).all()
    scales = np.broadcast_to(grid.scales, weights.shape)
    for start in range(0, width, block or width):  # a scale for each block still
        assert (np.ptp(scales[:, start : start + (block or width)], 1) == 0).all()
    assert errors[-1].sum() < 0.7 * errors[0].sum()


def test_scales_of_blocks_gain_by_what_they_multiply():
    rng = np.random.default_rng(3)
    rows, unseen = (correlated(np.random.default_rng(s), 2000, 96) for s in (1, 2))
    mixing = rng.standard_normal((96, 96)).astype(F32)
    rows, unseen = rows @ mixing, unseen @ mixing
    weights = rng.standard_normal((32, 96)).astype(F32)
    products, other = rows.T @ rows, unseen.T @ unseen

    def error(grid: Grid) -> float:
        integers, found = rounded(weights, grid, products, "gptq")
        return float(output_errors(weights, found.numbers(integers), other).sum())

    plain = block_grid(weights, 32)
    fixed = Grid(plain.scales, plain.zeros, 0, 15)
    assert error(block_grid(weights, 32, np.diag(products))) < 0.96 * error(fixed)


CONVOLUTIONS: list[dict[str, Any]] = [
    {},
    {"pads": [1, 2, 0, 1], "strides": [2, 1]},
    {"dilations": [2, 1]},
    {"group": 2},
    {"group": 4},
    {"auto_pad": "SAME_UPPER", "strides": [2, 2]},
    {"auto_pad": "SAME_LOWER", "strides": [2, 3]},
    {"auto_pad": "VALID"},
]


def model_of(node: onnx.NodeProto, arrays: dict[str, Any], shape: Any) -> onnx.ModelProto:
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    inputs = [helper.make_tensor_value_info("x", 1, shape)]
    graph = helper.make_graph([node], "net", inputs, [onnx.ValueInfoProto(name="y")], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


@pytest.mark.parametrize("attributes", CONVOLUTIONS)
def test_rows_times_weights_are_a_convolution(attributes):
    rng = np.random.default_rng(0)
    weights = rng.standard_normal((8, 4 // attributes.get("group", 1), 3, 2)).astype(F32)
    node = helper.make_node("Conv", ["x", "w"], ["y"], **attributes)
    model = model_of(node, {"w": weights}, ("n", 4, "h", "w"))
    (layer,) = layers_of(load(model).graph)
    x = rng.standard_normal((2, 4, 9, 8)).astype(F32)
    (y,) = sardonyx.Session(model).run(None, {"x": x})
    rows = layer.rows(x, 1 << 20, rng)
    found = rows @ np.swapaxes(layer.matrices(layer.weights), 1, 2)
    expected = np.moveaxis(y, 1, -1).reshape(-1, 8)
    np.testing.assert_allclose(np.concatenate(list(found), 1), expected, rtol=1e-4, atol=1e-4)
    assert (layer.placed(layer.matrices(layer.weights)) == layer.weights).all()
    assert layer.rows(x, 5, rng).shape[1] == 5


@pytest.mark.parametrize("attributes", [{}, {"transB": 1}, {"transA": 1}])
def test_moments_are_those_of_all_rows(attributes):
    rng = np.random.default_rng(0)
    shape = (6, 3) if "transB" in attributes else (3, 6)
    node = helper.make_node("Gemm", ["x", "w"], ["y"], **attributes)
    model = load(model_of(node, {"w": rng.standard_normal(shape).astype(F32)}, ("n", "k")))
    ((layer,),) = by_input(layers_of(model.graph))
    arrays = [rng.standard_normal((3, 3)).astype(F32) for _ in range(4)]
    seen = moments(layer, arrays, products=True)
    rows = np.concatenate([x.T if "transA" in attributes else x for x in arrays])
    assert seen.count == 12
    np.testing.assert_allclose(seen.mean[0], rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(seen.products[0], rows.T @ rows, rtol=1e-4, atol=1e-5)


BRANCHES = """
    <ir_version: 10, opset_import: ["" : 21]>
    branches (float[n, 4] x, bool flag) => (float[n, 4] y)
    <float[4, 4] a, float[4, 4] b, float[4, 4] c> {
        s = Sigmoid(x)
        p = MatMul(x, a)
        q = MatMul(p, b)
        r = If (flag) <
            then_branch = yes () => (float[n, 4] u) { u = Add(s, q) },
            else_branch = no () => (float[n, 4] v) { v = Sub(p, q) }
        >
        y = MatMul(r, c)
    }
"""


@pytest.mark.parametrize("sizes", [(2, 2), (2, 5)])
def test_a_walk_has_what_the_whole_model_gives_with_the_weights_changed_behind_it(sizes):
    rng = np.random.default_rng(0)
    source = onnx.parser.parse_model(BRANCHES)
    arrays = {name: rng.standard_normal((4, 4)).astype(F32) for name in "abc"}
    for array in arrays:
        source.graph.initializer.append(numpy_helper.from_array(arrays[array], array))
    model = load(source)
    layers = list(layers_of(model.graph))
    feeds = [
        {"x": rng.standard_normal((n, 4)).astype(F32), "flag": np.array(bool(i))}
        for i, n in enumerate(sizes)
    ]
    opened: list[list[str]] = []

    @contextmanager
    def opener(part: Any) -> Iterator[Any]:
        opened.append([node.op_type for node in part.graph])
        with sardonyx.Session(part) as session:
            yield session.run

    walk = Walk(model, feeds, opener)
    for layer in layers:
        walk.advance(layer.node)
        changed = rng.standard_normal((4, 4)).astype(F32)
        arrays[str(layer.node.inputs[1].name)] = changed
        layer.node.inputs[1].const_value = ir.tensor(changed)
    for feed, run in zip(feeds, walk.runs, strict=True):
        x = feed["x"]
        p = x @ arrays["a"]
        q = p @ arrays["b"]
        r = 1 / (1 + np.exp(-x)) + q if feed["flag"] else p - q
        assert list(run) == [str(layers[-1].source.name)]
        np.testing.assert_allclose(run[str(layers[-1].source.name)], r, rtol=1e-4, atol=1e-5)
    every = [op_type for part in opened for op_type in part]
    assert sorted(every) == ["If", "MatMul", "MatMul", "Sigmoid"]  # once
