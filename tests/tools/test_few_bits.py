"""Weights that had 4 bits before keep them without an error, in this and in another runtime."""

from __future__ import annotations

import importlib.util
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper, numpy_helper
from sardonyx.optimizer.quantize.spaced import spaced

F32 = np.float32
DEPTH, WIDTH = 96, 64


def widened(rng: np.random.Generator, block: int, *, moved: bool, depth: int = DEPTH) -> np.ndarray:
    """Weights (outputs, depth) as GGUF has them: Q4_1 with an offset that is ``moved``, or Q4_0."""
    shape = (WIDTH, depth // block, 1)
    numbers = rng.integers(0, 16, (WIDTH, depth // block, block))
    scales = rng.uniform(0.01, 0.02, shape).astype(np.float16).astype(F32)
    lows = -scales * 8
    if moved:
        lows = (lows * rng.uniform(0.8, 1.2, shape)).astype(np.float16).astype(F32)
    return (numbers * scales + lows).astype(F32).reshape(WIDTH, depth)


def product(weights: np.ndarray, kind: str) -> onnx.ModelProto:
    """``x @ weights.T``, with two products of one activation for ``"MatMul"``."""
    depth = weights.shape[1]
    arrays = {"w": weights if kind == "Gemm" else np.ascontiguousarray(weights.T)}
    arrays["v"] = arrays["w"] * F32(0.5)
    sizes = ("n", depth) if kind == "Gemm" else ("a", "n", depth)
    options = {"transB": 1} if kind == "Gemm" else {}
    nodes = [
        helper.make_node("Relu", ["x"], ["r"]),
        helper.make_node(kind, ["r", "w"], ["p"], **options),
        helper.make_node(kind, ["r", "v"], ["q"], **options),
        helper.make_node("Mul", ["p", "q"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("x", 1, sizes)],
        [helper.make_tensor_value_info("y", 1, (*sizes[:-1], len(weights)))],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def few_bits(source: Any, **options: Any) -> Any:
    return sardonyx.quantize(source, mode="weights", bits=4, **options).model


def kinds(model: Any) -> list[str]:
    return [n.inputs[0].dtype.name for n in model.graph if n.op_type == "DequantizeLinear"]


@pytest.mark.parametrize("kind", ["MatMul", "Gemm"])
@pytest.mark.parametrize("moved", [True, False])
@pytest.mark.parametrize("block", [16, 32])
def test_weights_of_4_bits_stay_what_they_were(kind, moved, block):
    rng = np.random.default_rng(0)
    source = product(widened(rng, block, moved=moved), kind)
    model = few_bits(source, block=block)
    shape = (5, DEPTH) if kind == "Gemm" else (2, 5, DEPTH)
    feed = {"x": rng.standard_normal(shape).astype(F32)}
    (exact,) = onnxruntime.InferenceSession(source.SerializeToString()).run(None, feed)
    (found,) = sardonyx.Session(model).run(None, feed)
    data = sardonyx.importers.to_bytes(model)
    (theirs,) = onnxruntime.InferenceSession(data).run(None, feed)
    assert set(kinds(model)) == {"UINT4"}
    assert [n.op_type for n in model.graph].count("ReduceSum") == int(moved)  # of both products
    largest = np.abs(exact).max()
    assert np.abs(found - exact).max() < (0.02 if moved else 1e-6) * largest
    assert np.abs(theirs - exact).max() < 0.03 * largest  # rounds rows to bytes, too


def test_data_does_not_change_weights_of_4_bits():
    rng = np.random.default_rng(0)
    source = product(widened(rng, 32, moved=True), "MatMul")
    data = {"x": rng.standard_normal((4, 9, DEPTH)).astype(F32)}
    plain, refined = (
        sardonyx.Session(few_bits(source, **options)).run(None, data)
        for options in ({}, {"data": data, "rounding": "gptq", "correct": True})
    )
    np.testing.assert_array_equal(plain, refined)


@pytest.mark.parametrize("change", ["one weight", "random", "odd depth", "float16"])
def test_other_weights_are_no_blocks_of_evenly_spaced_numbers(change):
    rng = np.random.default_rng(0)
    weights = widened(rng, 32, moved=True, depth=DEPTH)
    if change == "one weight":
        weights[-1, -5] += 0.004
    elif change == "random":
        weights = rng.standard_normal(weights.shape).astype(F32)
    elif change == "odd depth":
        weights = weights[:, :-1]
    else:
        weights = weights.astype(np.float16).astype(F32)  # these still are
    found = spaced(weights, 32)
    assert (found is not None) == (change == "float16")


@pytest.mark.parametrize("fill", ["zero", "constant", "positive", "two numbers"])
def test_blocks_of_few_numbers(fill):
    rng = np.random.default_rng(0)
    weights = widened(rng, 32, moved=False)
    weights[3, 32:64] = {
        "zero": np.zeros(32),
        "constant": np.full(32, 0.3),
        "positive": rng.choice([0.02, 0.04, 0.05, 0.07], 32),
        "two numbers": rng.integers(0, 2, 32) * 0.71 - 0.3,
    }[fill]
    found = spaced(weights, 32)
    assert found is not None
    parts = (np.repeat(e.astype(F32), 32, 1) for e in (found.zeros, found.scales, found.offsets))
    zeros, scales, offsets = parts
    np.testing.assert_allclose((found.integers - zeros) * scales + offsets, weights, atol=1e-6)
    assert found.has_offsets == (fill == "two numbers")


def test_scores_of_words_keep_the_8_bits_of_their_table():
    rng = np.random.default_rng(0)
    table = rng.standard_normal((80, 64)).astype(F32)
    arrays = {"table": table, "turned": np.ascontiguousarray(table.T), "w": table[:64]}
    nodes = [
        helper.make_node("Gather", ["table", "i"], ["x"]),
        helper.make_node("MatMul", ["x", "w"], ["h"]),
        helper.make_node("Relu", ["h"], ["r"]),
        helper.make_node("MatMul", ["r", "turned"], ["y"]),
    ]
    graph = helper.make_graph(
        nodes, "g", [helper.make_tensor_value_info("i", 7, ("n",))],
        [helper.make_tensor_value_info("y", 1, ("n", 80))],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )  # fmt: skip
    source = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)
    model = few_bits(source)
    maker = {n.outputs[0].name: n for n in model.graph if n.op_type == "DequantizeLinear"}
    products = [n for n in model.graph if n.op_type in ("MatMul", "Gemm")]
    assert [maker[n.inputs[1].name].inputs[0].dtype.name for n in products] == ["UINT4", "INT8"]


def blocks_of(model: Any) -> list[int]:
    nodes = [node for node in model.graph if node.op_type == "DequantizeLinear"]
    return [node.attributes["block_size"].as_int() for node in nodes]


@pytest.mark.parametrize("rounding", ["nearest", "gptq"])
@pytest.mark.parametrize(("depth", "block"), [(64, 64), (96, 32), (80, 16), (256, 128)])
def test_blocks_divide_what_they_are_cut_from(rounding: str, depth: int, block: int) -> None:
    rng = np.random.default_rng(0)
    source = product(rng.standard_normal((40, depth)).astype(F32), "MatMul")
    feed = {"x": rng.standard_normal((4, 9, depth)).astype(F32)}
    data = feed if rounding == "gptq" else None
    model = few_bits(source, block=128, rounding=rounding, data=data)
    assert set(blocks_of(model)) == {block}
    (exact,) = onnxruntime.InferenceSession(source.SerializeToString()).run(None, feed)
    (found,) = sardonyx.Session(model).run(None, feed)
    assert np.abs(found - exact).max() < 0.2 * np.abs(exact).max()
    if importlib.util.find_spec("openvino"):
        import openvino

        openvino.Core().compile_model(
            openvino.Core().read_model(sardonyx.importers.to_bytes(model)), "CPU"
        )


def test_weights_that_no_block_divides_are_named() -> None:
    rng = np.random.default_rng(0)
    source = product(rng.standard_normal((40, 50)).astype(F32), "MatMul")
    with pytest.warns(UserWarning, match="no block from 16 divides 50 of "):
        few_bits(source)
