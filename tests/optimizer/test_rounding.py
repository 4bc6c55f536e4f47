"""Refined weights make the outputs of layers more exact, and never less."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper, numpy_helper
from sardonyx.importers import load
from sardonyx.optimizer.quantize.layers import layers_of
from sardonyx.optimizer.quantize.moments import moments, observed_names
from sardonyx.optimizer.quantize.rounding import METHODS, Grid, output_errors, rounded

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
    integers = rounded(weights, grid, products, method)
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
    assert (rounded(weights, grid, products, method) == grid.nearest(weights)).all()
    products[:4, :4] = np.eye(4)
    assert np.isfinite(rounded(weights, grid, products, method)).all()


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
    layers = list(layers_of(model.graph))
    feeds = [{"x": rng.standard_normal((3, 3)).astype(F32)} for _ in range(4)]
    assert observed_names(layers) == []
    ((same, seen),) = moments(layers, lambda: feeds, lambda names, feed: [], products=True)
    rows = np.concatenate([f["x"].T if "transA" in attributes else f["x"] for f in feeds])
    assert same == layers and seen.count == 12
    np.testing.assert_allclose(seen.mean[0], rows.mean(0), rtol=1e-5)
    np.testing.assert_allclose(seen.products[0], rows.T @ rows, rtol=1e-4, atol=1e-5)
