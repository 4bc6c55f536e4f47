"""Refinements lose less than rounding to the nearest, on data that they have not seen."""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper, numpy_helper
from sardonyx import InvalidArgument
from sardonyx.importers import load
from sardonyx.optimizer.names import make_names_unique
from sardonyx.optimizer.quantize.calibration import with_outputs
from sardonyx.optimizer.quantize.few_bits import FewBits
from sardonyx.optimizer.quantize.grid import Grid
from sardonyx.optimizer.quantize.layers import Layer, layers_of
from sardonyx.optimizer.quantize.migration import migrate, sites
from sardonyx.optimizer.quantize.preparation import prepared
from sardonyx.optimizer.quantize.refinement import Refined, by_input, refine
from sardonyx.optimizer.quantize.walk import Walk
from sardonyx.optimizer.quantize.weight_only import weight_grid
from sardonyx.optimizer.report import Report
from sardonyx.tools.demo import DATA, held_out_images

F32 = np.float32
DIGITS = str(DATA / "digits.onnx")


def decibels(exact: np.ndarray, found: np.ndarray) -> float:
    noise = max(float(np.square(found - exact).sum()), 1e-30)
    return float(10 * np.log10(np.square(exact).sum() / noise))


def quality(source: Any, known: Any, unseen: dict[str, np.ndarray], **options: Any) -> float:
    """Signal to noise of a quantized model's results, which onnxruntime has, too."""
    done = sardonyx.quantize(source, known, force=True, **options)
    (exact,) = sardonyx.Session(source).run(None, unseen)
    (found,) = sardonyx.Session(done.model).run(None, unseen)
    data = sardonyx.importers.to_bytes(done.model)
    (theirs,) = onnxruntime.InferenceSession(data).run(None, unseen)
    assert decibels(theirs, found) > decibels(exact, found) - 3
    return decibels(exact, found)


@pytest.mark.parametrize("rounding", ["gptq", "adaround"])
@pytest.mark.parametrize("options", [{}, {"mode": "weights", "bits": 4}])
def test_digits_gain_by_rounding(rounding, options):
    pixels = held_out_images().pixels
    known, unseen = pixels[:200], {"pixels": pixels[200:]}
    before = quality(DIGITS, known, unseen, **options)
    after = quality(DIGITS, known, unseen, rounding=rounding, **options)
    assert after > before + (5 if options else 1)


def test_digits_gain_by_corrected_biases():
    pixels = held_out_images().pixels
    known, unseen = pixels[:200], {"pixels": pixels[200:]}
    before = quality(DIGITS, known, unseen)
    assert quality(DIGITS, known, unseen, correct=True) > before + 1


def block(rng: np.random.Generator) -> onnx.ModelProto:
    """Normalization, two products that read it, activation, product and residual."""
    width = 32
    scale = np.ones(width, F32)
    scale[::8] = 60
    arrays = {
        "scale": scale,
        "shift": rng.standard_normal(width).astype(F32),
        "a": rng.standard_normal((width, 48)).astype(F32) / F32(6),
        "b": rng.standard_normal((width, 48)).astype(F32) / F32(6),
        "c": rng.standard_normal((48, width)).astype(F32) / F32(7),
    }
    arrays["a"][::8] /= 40
    arrays["b"][::8] /= 40
    node = helper.make_node
    nodes = [
        node("LayerNormalization", ["x", "scale", "shift"], ["n"]),
        node("MatMul", ["n", "a"], ["p"]),
        node("MatMul", ["n", "b"], ["q"]),
        node("Sigmoid", ["p"], ["s"]),
        node("Mul", ["s", "q"], ["m"]),
        node("MatMul", ["m", "c"], ["r"]),
        node("Add", ["x", "r"], ["y"]),
    ]
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    inputs = [helper.make_tensor_value_info("x", 1, ("n", 8, width))]
    outputs = [helper.make_tensor_value_info("y", 1, ("n", 8, width))]
    graph = helper.make_graph(nodes, "block", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_channels_with_large_numbers_gain_by_migration():
    """What SmoothQuant is for: a few channels of a normalized activation are much larger."""
    rng = np.random.default_rng(0)
    model = block(rng)
    known = {"x": rng.standard_normal((32, 8, 32)).astype(F32)}
    unseen = {"x": rng.standard_normal((32, 8, 32)).astype(F32)}
    done = sardonyx.quantize(model, known, equalize=True, force=True)
    assert len(done.equalized) == 1
    before = quality(model, known, unseen)
    assert quality(model, known, unseen, equalize=True) > before + 3


def uneven_convolutions() -> onnx.ModelProto:
    """Convolutions, one depthwise, whose channels differ in size by a factor of 100."""
    rng = np.random.default_rng(0)
    sizes = np.geomspace(0.1, 10, 8).astype(F32).reshape(-1, 1, 1, 1)
    arrays = {
        "a": rng.standard_normal((8, 3, 3, 3)).astype(F32) * sizes,
        "p": rng.standard_normal(8).astype(F32) * sizes.reshape(-1),
        "b": rng.standard_normal((8, 1, 3, 3)).astype(F32),
        "c": rng.standard_normal((4, 8, 1, 1)).astype(F32) / sizes.reshape(1, 8, 1, 1),
    }
    node = helper.make_node
    nodes = [
        node("Conv", ["x", "a", "p"], ["u"]),
        node("Relu", ["u"], ["v"]),
        node("Conv", ["v", "b"], ["w"], group=8),
        node("MaxPool", ["w"], ["z"], kernel_shape=[2, 2]),
        node("Conv", ["z", "c"], ["y"]),
    ]
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    inputs = [helper.make_tensor_value_info("x", 1, ("n", 3, 12, 12))]
    outputs = [onnx.ValueInfoProto(name="y")]
    graph = helper.make_graph(nodes, "net", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def test_migration_leaves_results_and_evens_out_convolutions():
    rng = np.random.default_rng(1)
    model = load(uneven_convolutions())
    names = [str(site.value.name) for site in sites(model.graph)]
    feeds = [{"x": rng.standard_normal((4, 3, 12, 12)).astype(F32)} for _ in range(4)]
    (exact,) = sardonyx.Session(model).run(None, feeds[0])
    with sardonyx.Session(with_outputs(model, names)) as session:
        changed = migrate(model.graph, feeds, session.run)
    assert changed
    (found,) = sardonyx.Session(model).run(None, feeds[0])
    np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-3)
    unseen = {"x": rng.standard_normal((8, 3, 12, 12)).astype(F32)}
    source = uneven_convolutions()
    before = quality(source, feeds, unseen)
    assert quality(source, feeds, unseen, equalize=True) > before + 2


@pytest.mark.parametrize("options", [{"rounding": "gptq"}, {"correct": True}])
def test_weights_alone_need_data_for_some(options):
    with pytest.raises(InvalidArgument, match="needs calibration data"):
        sardonyx.quantize(DIGITS, mode="weights", **options)


def test_products_can_keep_8_bits():
    source = block(np.random.default_rng(0))
    done = sardonyx.quantize(source, mode="weights", bits=4)
    names = [n.name for n in done.model.graph if n.op_type in ("MatMul", "Gemm")]
    wide = sardonyx.quantize(source, mode="weights", bits=4, keep=names)

    def kinds(model: Any) -> set[str]:
        return {n.inputs[0].dtype.name for n in model.graph if n.op_type == "DequantizeLinear"}

    assert kinds(done.model) == {"UINT4"} and kinds(wide.model) == {"INT8"}
    with pytest.raises(InvalidArgument, match="no node 'nobody'"):
        sardonyx.quantize(source, mode="weights", bits=4, keep=["nobody"])


def test_activations_that_overflow_are_named():
    """Finite inputs, whose products are not: nothing is rounded by such moments."""
    rng = np.random.default_rng(0)
    source = block(rng)
    for array in source.graph.initializer:
        if array.name == "b":
            array.CopyFrom(numpy_helper.from_array(np.full((32, 48), 3e38, F32), "b"))
    known = {"x": rng.standard_normal((4, 8, 32)).astype(F32)}
    with pytest.raises(InvalidArgument, match="'m' is NaN or infinite"):
        sardonyx.quantize(source, known, mode="weights", rounding="gptq")


def stack(rng: np.random.Generator, depth: int = 5) -> onnx.ModelProto:
    """Normalized products with a nonlinearity between, each added to what goes on."""
    width, inner = 64, 96
    arrays: dict[str, np.ndarray] = {}
    nodes = []
    x = "x"
    for i in range(depth):
        arrays |= {
            f"scale{i}": np.exp(rng.standard_normal(width) / 2).astype(F32),
            f"a{i}": rng.standard_normal((width, inner)).astype(F32) / F32(8),
            f"b{i}": rng.standard_normal((inner, width)).astype(F32) / F32(6),
        }
        nodes += [
            helper.make_node("RMSNormalization", [x, f"scale{i}"], [f"n{i}"]),
            helper.make_node("MatMul", [f"n{i}", f"a{i}"], [f"p{i}"]),
            helper.make_node("Gelu", [f"p{i}"], [f"g{i}"]),
            helper.make_node("MatMul", [f"g{i}", f"b{i}"], [f"q{i}"]),
            helper.make_node("Add", [x, f"q{i}"], [f"x{i}"]),
        ]
        x = f"x{i}"
    nodes[-1].output[0] = "y"
    constants = [numpy_helper.from_array(array, name) for name, array in arrays.items()]
    inputs = [helper.make_tensor_value_info("x", 1, ("n", width))]
    outputs = [helper.make_tensor_value_info("y", 1, ("n", width))]
    graph = helper.make_graph(nodes, "stack", inputs, outputs, constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 23)], ir_version=10)


def mixed_rows(rng: np.random.Generator, count: int) -> np.ndarray:
    """Rows of few independent numbers, as activations are."""
    mixing = np.random.default_rng(7).standard_normal((24, 64))
    rows = rng.standard_normal((count, 24)) @ mixing + rng.standard_normal((count, 64)) / 4
    return rows.astype(F32)


@pytest.mark.parametrize("block", [16, 32])
def test_few_bits_of_a_stack_gain_by_gptq(block):
    rng = np.random.default_rng(0)
    source = stack(rng)
    known, unseen = {"x": mixed_rows(rng, 1024)}, {"x": mixed_rows(rng, 256)}
    few: dict[str, Any] = {"mode": "weights", "bits": 4, "block": block}
    plain = quality(source, known, unseen, **few)
    assert quality(source, known, unseen, rounding="gptq", **few) > plain + 4


def test_layers_see_what_rounded_ones_before_them_give():
    """The bias of the second product takes up its mean error behind the rounded first one."""
    rng = np.random.default_rng(0)
    floats = prepared(load(stack(rng, 1)))
    make_names_unique(floats, Report())
    x = mixed_rows(rng, 256)
    first, second = layers_of(floats.graph)
    weights = [layer.weights for layer in (first, second)]
    (inner,) = sardonyx.Session(with_outputs(floats, [str(first.source.name)])).run(
        [str(first.source.name)], {"x": x}
    )
    walk = Walk(floats, [{"x": x[:100]}, {"x": x[100:]}], opened)
    refined = refine(by_input([first, second]), few_bits_grid, walk, "nearest", biases=True)
    narrow = [widened(refined[str(layer.node.name)]) for layer in (first, second)]

    def expected(a: np.ndarray) -> np.ndarray:
        made = inner @ a
        half = 1 + np.vectorize(math.erf)(made / math.sqrt(2))
        return (made * half / 2).mean(0) @ (weights[1] - narrow[1])

    found = refined[str(second.node.name)].shifts
    np.testing.assert_allclose(found, expected(narrow[0]), atol=1e-4)
    assert np.abs(found - expected(weights[0])).max() > 1e-3


def widened(refined: Refined) -> np.ndarray:
    assert refined.blocks is not None
    parts = (refined.blocks.scales, refined.blocks.zeros.astype(F32))
    integers = refined.blocks.integers.astype(F32)
    scales, zeros = (np.repeat(part, 32, 0)[: len(integers)] for part in parts)
    return (integers - zeros) * scales


def few_bits_grid(layer: Layer, squares: np.ndarray | None) -> Grid:
    return weight_grid(layer, FewBits(4, 32, "mse"), squares)


@contextmanager
def opened(part: Any) -> Iterator[Any]:
    with sardonyx.Session(part) as session:
        yield session.run


def test_corrected_biases_are_of_the_weights_that_are_written():
    rng = np.random.default_rng(0)
    source = stack(rng, 1)
    known, unseen = {"x": mixed_rows(rng, 512)}, {"x": mixed_rows(rng, 256)}
    few: dict[str, Any] = {"mode": "weights", "bits": 4, "rounding": "mse"}
    plain = quality(source, known, unseen, **few)
    assert quality(source, known, unseen, correct=True, **few) > plain - 0.1


def logarithms() -> onnx.ModelProto:
    """A product of logarithms."""
    weights = np.random.default_rng(0).standard_normal((64, 32)).astype(np.float32)
    nodes = [
        onnx.helper.make_node("Log", ["x"], ["l"]),
        onnx.helper.make_node("MatMul", ["l", "w"], ["y"], name="product"),
    ]
    graph = onnx.helper.make_graph(
        nodes,
        "logarithms",
        [onnx.helper.make_tensor_value_info("x", 1, ["n", 64])],
        [onnx.helper.make_tensor_value_info("y", 1, ["n", 32])],
        [onnx.numpy_helper.from_array(weights, "w")],
    )
    opsets = [onnx.helper.make_opsetid("", 21)]
    return onnx.helper.make_model(graph, opset_imports=opsets, ir_version=10)


def test_rows_of_zeros_are_named() -> None:
    data = {"x": np.ones((4, 64), np.float32)}
    with pytest.warns(UserWarning, match="'l' is zero in all runs"):
        sardonyx.quantize(logarithms(), data, mode="weights", rounding="gptq")
