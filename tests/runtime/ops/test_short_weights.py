"""Products of few rows with weights of 24 bits against float64, and where they are not taken."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper
from sardonyx import Session
from sardonyx.runtime.ops.short_weights import MOST_ROWS

_ROWS = (1, 2, 5, 6, 7, MOST_ROWS, MOST_ROWS + 1, 40)


def _weights(rng: np.random.Generator) -> dict[str, np.ndarray]:
    shapes = {"first": (96, 250), "second": (250, 301), "third": (270, 301), "bias": (270,)}
    return {k: rng.standard_normal(v).astype(np.float32) for k, v in shapes.items()}


def _model(weights: dict[str, np.ndarray], rows: int | str) -> Any:
    nodes = [
        helper.make_node("MatMul", ["x", "first"], ["a"]),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("MatMul", ["b", "second"], ["c"]),
        helper.make_node("Relu", ["c"], ["d"]),
        helper.make_node("Gemm", ["d", "third", "bias"], ["e"], transB=1),
        helper.make_node("Tanh", ["e"], ["t"]),
        helper.make_node("Add", ["e", "t"], ["y"]),
    ]
    infos = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, [rows, size])
        for name, size in (("x", 96), ("y", 270))
    ]
    constants = [numpy_helper.from_array(v, k) for k, v in weights.items()]
    graph = helper.make_graph(nodes, "g", infos[:1], infos[1:], constants)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=9)


def _wanted(x: np.ndarray, weights: dict[str, np.ndarray]) -> np.ndarray:
    w = {k: v.astype(float) for k, v in weights.items()}
    hidden = np.maximum(np.maximum(x @ w["first"], 0) @ w["second"], 0)
    e: np.ndarray = hidden @ w["third"].T + w["bias"]
    return e + np.tanh(e)


def _kernels(session: Session) -> str:
    return " ".join(str(kernel) for kernel in session.engine.program.all_kernels)


@pytest.mark.parametrize("is_open", [False, True])
def test_multiplies_any_number_of_rows(rng: np.random.Generator, is_open: bool) -> None:
    weights = _weights(rng)
    opened = Session(_model(weights, "rows"))
    assert "f24" in _kernels(opened)
    for rows in _ROWS:
        session = opened if is_open else Session(_model(weights, rows))
        assert is_open or ("f24" in _kernels(session)) == (rows <= MOST_ROWS)
        x = rng.standard_normal((rows, 96)).astype(np.float32)
        wanted = _wanted(x.astype(float), weights)
        found = session.run(None, {"x": x})[0]
        assert np.abs(found - wanted).max() < 3e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("precision", ["strict", "bf16x3"])
def test_stays_float32_for_other_precisions(rng: np.random.Generator, precision: str) -> None:
    session = Session(_model(_weights(rng), 4), precision=precision)
    assert "f24" not in _kernels(session)


@pytest.mark.parametrize("value", [np.inf, np.nan, 3e38])
def test_keeps_weights_that_rounding_might_change(rng: np.random.Generator, value: float) -> None:
    weights = _weights(rng)
    weights["second"][3, 4] = value
    weights["third"][5, 6] = value
    session = Session(_model(weights, 4))
    assert "f24" not in _kernels(session)


def test_first_products_keep_their_weights(rng: np.random.Generator) -> None:
    weights = _weights(rng)
    weights["first"] = rng.standard_normal((96, 800)).astype(np.float32)
    weights["second"] = rng.standard_normal((800, 301)).astype(np.float32)
    session = Session(_model(weights, 4))
    profile = session.profile({"x": np.zeros((4, 96), np.float32)}, runs=1)
    assert len([step for step in profile.steps if "f24" in step.kernel]) == 2


def test_whole_numbers_are_multiplied_exactly(rng: np.random.Generator) -> None:
    weights = {k: rng.integers(0, 2, v.shape) for k, v in _weights(rng).items()}
    weights["third"] = 257 * (rng.uniform(size=(270, 301)) < 0.02)  # nine digits: no bfloat16
    floats = {k: v.astype(np.float32) for k, v in weights.items()}
    x = rng.integers(0, 2, (4, 96)).astype(np.float32)
    found = Session(_model(floats, 4)).run(None, {"x": x})[0]
    np.testing.assert_array_equal(found, _wanted(x, floats).astype(np.float32))
