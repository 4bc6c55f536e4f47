"""Quantized models run alike in sardonyx, onnxruntime and OpenVINO, and lose little."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import numpy_helper
from sardonyx.tools.demo import held_out_images

from .quantize_cases import (
    DIGITS,
    F32,
    KINDS,
    Net,
    check,
    decibels,
    grid,
    image_net,
    in_onnxruntime,
    samples,
    transformer,
)


@pytest.mark.parametrize("kind", KINDS)
def test_regions_of_convolutions(kind, rng, tmp_path):
    """All convolutions compute with integers, and what moves elements keeps their grid."""
    path = tmp_path / "q.onnx"
    graph = check(image_net(kind), samples(rng), path, 28.0)
    convolutions = [node for node in graph.node if node.op_type == "Conv"]
    steps = sardonyx.Session(str(path), threads=1).engine.program.steps
    integers = sum("QLinearConv" in step.op_type for step in steps)
    assert integers >= len(convolutions)
    moving = ("Concat", "Reshape", "Transpose", "Split", "MaxPool", "Resize", "Pad")
    for node in graph.node:
        if node.op_type in moving:
            given = len(node.input) if node.op_type == "Concat" else 1
            grids = {grid(graph, name) for name in node.input[:given]}
            results = {grid(graph, name) for name in node.output} - {None}
            assert len(grids) == 1 and None not in grids and results <= grids


def test_classifiers_end_in_floats(rng, tmp_path):
    graph = check(image_net("add", classes=True), samples(rng), tmp_path / "q.onnx", 28.0)
    assert graph.node[-1].op_type == "Gemm"
    assert all(grid(graph, name) for name in graph.node[-1].input[:1])


@pytest.mark.parametrize("axes", [1, 3])
def test_convolutions_of_other_ranks(axes, rng, tmp_path):
    net = Net()
    weights = [(net.rng.standard_normal((4, 4, *[3] * axes)) / 6).astype(F32) for _ in range(2)]
    inner = net.op("Relu", net.op("Conv", "x", weights[0], pads=[1] * axes * 2))
    y = net.op("Conv", inner, weights[1], np.ones(4, F32))
    shape = (4, *[6] * axes)
    model = net.model(y, shape=("n", *shape))
    check(model, samples(rng, 9, shape), tmp_path / "q.onnx", 30.0)


def test_sums_of_products_stay_floats_for_what_adds_them(rng, tmp_path):
    net = Net()
    dense = [(net.rng.standard_normal((16, 16)) / 4).astype(F32) for _ in range(2)]
    first = net.op("MatMul", "x", dense[0])
    model = net.model(net.op("Add", first, net.op("MatMul", first, dense[1])), shape=("n", 16))
    graph = check(model, samples(rng, 9, (16,)), tmp_path / "q.onnx", 30.0)
    assert graph.node[-1].input[0] == first


@pytest.mark.parametrize("products", [False, True])
def test_transformers(products, rng, tmp_path):
    """Attention is quantized only where that is asked for; normalization and Softmax never are."""
    path, feeds = tmp_path / "q.onnx", samples(rng, 9, (6, 16))
    graph = check(transformer(), feeds, path, 30.0, products=products, floats=2 - 2 * products)
    inner = [node for node in graph.node if node.op_type in ("Softmax", "LayerNormalization")]
    assert not any(grid(graph, node.input[0]) for node in inner)


@pytest.mark.parametrize("method", ["auto", "minmax", "average", "percentile", "entropy", "mse"])
def test_accuracy_on_handwritten_digits(method, tmp_path):
    """Calibrated on 50 images, at most half a point of accuracy is lost on the others."""
    images = held_out_images()
    calibration, feeds = images.pixels[::9], {"pixels": images.pixels}
    path = tmp_path / "q.onnx"
    done = sardonyx.quantize(DIGITS, calibration, path, method=method, threads=1)
    assert done.runs == -(-len(calibration) // 8)

    def accuracy(model: str) -> float:
        found = sardonyx.Session(model, threads=1).run(None, feeds)[0]
        return float((found.argmax(1) == images.labels).mean())

    assert accuracy(str(path)) >= accuracy(DIGITS) - 0.005
    assert path.stat().st_size < Path(DIGITS).stat().st_size


@pytest.mark.parametrize(("mode", "options"), [
    ("dynamic", {}), ("weights", {}), ("weights", {"bits": 4}),
    ("weights", {"bits": 4, "block": 16, "rounding": "mse"}),
])  # fmt: skip
def test_modes_without_data(mode, options, rng, tmp_path):
    net = Net()
    first = (net.rng.standard_normal((40, 64)) / 6).astype(F32)
    second = (net.rng.standard_normal((30, 64)) / 8).astype(F32)
    y = net.op("Relu", net.op("MatMul", "x", first))
    bias = net.rng.standard_normal(30).astype(F32)
    y = net.op("Gemm", y, second, bias, transB=1, alpha=0.5, beta=2.0)
    model, path = net.model(y, shape=("n", 40)), tmp_path / "q.onnx"
    feeds = samples(rng, 20, (40,))
    done = sardonyx.quantize(model, None, path, mode=mode, threads=1, **options)
    assert done.count == 2
    onnx.checker.check_model(onnx.load(path), full_check=True)
    least = 18 if options and mode == "weights" else 35
    expected, found = in_onnxruntime(model, feeds), in_onnxruntime(str(path), feeds)
    ours = sardonyx.Session(str(path), threads=1).run(None, feeds)[0]
    assert decibels(expected, found) > least and decibels(expected, ours) > least
    assert decibels(found, ours) > 35


def test_weights_that_several_nodes_read_are_written_once(rng, tmp_path):
    net = Net()
    weights = net.constant((net.rng.standard_normal((40, 40)) / 6).astype(F32))
    y = net.op("MatMul", net.op("Relu", net.op("MatMul", "x", weights)), weights)
    model = net.model(y, shape=("n", 40))
    for mode in ("static", "weights"):
        done = sardonyx.quantize(model, samples(rng, 4, (40,)), mode=mode)
        large = [v for v in done.model.graph.initializers.values() if v.const_value.size == 1600]
        assert len(large) == 1


def test_weights_and_biases_of_layers_with_other_scales_have_names_of_their_own(rng, tmp_path):
    net = Net()
    weights = (rng.standard_normal((8, 4, 3, 3)) / 6).astype(F32)
    weights, bias = net.constant(weights), net.constant(rng.standard_normal(8).astype(F32))
    both = [net.op("Conv", x, weights, bias) for x in ("x", net.op("Mul", "x", F32(9)))]
    y = net.op("Sub", *both)
    quantized = check(net.model(y), samples(rng), tmp_path / "q.onnx", 25)
    made = [name for node in quantized.node for name in node.output]
    assert len(made) == len(set(made))
    arrays = map(numpy_helper.to_array, quantized.initializer)
    assert sum(array.dtype == np.int32 and bool(array.any()) for array in arrays) == 2


def test_a_model_stays_as_it_is_beside_its_halves():
    """Types are not shared with the copy that becomes float16, nor with what a session makes."""
    model = sardonyx.load(DIGITS)
    kinds = [value.dtype for node in model.graph for value in node.outputs]
    halves = sardonyx.quantize(model, mode="fp16").model
    narrow = [value.dtype for node in halves.graph for value in node.outputs]
    sardonyx.Session(halves)
    assert kinds == [value.dtype for node in model.graph for value in node.outputs] != narrow
    assert narrow == [value.dtype for node in halves.graph for value in node.outputs]


def test_the_command(call, tmp_path):
    pixels, path = held_out_images().pixels, tmp_path / "q.onnx"
    np.savez(tmp_path / "a.npz", pixels=pixels[:20])
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(3):
        np.save(folder / f"{i}.npy", pixels[i : i + 1])
    for data in (tmp_path / "a.npz", folder):
        found = call("quantize", DIGITS, "-o", path, "--data", data)
        assert found.exit_code == 0, found.stderr
        assert "5 convolutions and products quantized (static), 3 runs" in found.stdout
        path.unlink()
    assert call("quantize", DIGITS, "-o", path, "--mode", "weights", "--bits", 4).exit_code == 0
