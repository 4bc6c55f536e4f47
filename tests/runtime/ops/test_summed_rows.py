"""Rows with the sums of their blocks: one step rounds both where only bytes are read."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np
import onnx
import pytest
import sardonyx
from onnx.helper import make_node
from sardonyx.runtime.ops import byte_rows

from .conftest import build

DEPTH, BLOCK, COLUMNS = 576, 32, 70
BLOCKS = DEPTH // BLOCK


@pytest.fixture(autouse=True)
def fast_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(byte_rows, "integer_speed", lambda: 4.0)


def network(rng: np.random.Generator, products: int = 2, **attributes: Any) -> Any:
    """Products of rows and the sums of their blocks with weights of 4 bits; and these weights."""
    arrays: dict[str, np.ndarray] = {
        "cut": np.array([0, 0, BLOCKS, BLOCK]), "last": np.array([-1])
    }  # fmt: skip
    nodes = [
        make_node("Mul", ["x", "x"], ["rows"]),
        make_node("Reshape", ["rows", "cut"], ["blocks"]),
        make_node("ReduceSum", ["blocks", "last"], ["sums"], **{"keepdims": 0, **attributes}),
        make_node("Concat", ["rows", "sums"], ["joined"], axis=-1),
    ]
    wide = []
    for i in range(products):
        rows, blocks = DEPTH + BLOCKS, -(-(DEPTH + BLOCKS) // BLOCK)
        numbers = rng.integers(0, 16, (rows, COLUMNS)).astype(ml_dtypes.uint4)
        scales = rng.uniform(0.01, 0.1, (blocks, COLUMNS)).astype(np.float32)
        zeros = rng.integers(0, 16, (blocks, COLUMNS)).astype(ml_dtypes.uint4)
        arrays |= {f"w{i}": numbers, f"s{i}": scales, f"z{i}": zeros}
        nodes += [
            make_node("DequantizeLinear", [f"w{i}", f"s{i}", f"z{i}"], [f"d{i}"], axis=0,
                      block_size=BLOCK),
            make_node("MatMul", ["joined", f"d{i}"], [f"y{i}"]),
        ]  # fmt: skip
        spread = [np.repeat(each.astype(float), BLOCK, 0)[:rows] for each in (scales, zeros)]
        wide.append((numbers.astype(float) - spread[1]) * spread[0])
    feeds = [{"x": np.zeros((b, n, DEPTH), np.float32)} for b, n in ((1, 1), (2, 3))]
    names = [f"y{i}" for i in range(products)]
    return build(nodes, feeds, arrays, names, opset=21), wide


def operators(session: sardonyx.Session) -> set[str]:
    return {part for step in session.engine.program.steps for part in step.op_type.split("+")}


def wanted(x: np.ndarray, weights: np.ndarray) -> np.ndarray:
    rows = (x * x).astype(float)
    sums = rows.reshape(*rows.shape[:-1], BLOCKS, BLOCK).sum(-1)
    result: np.ndarray = np.concatenate([rows, sums], -1) @ weights
    return result


@pytest.mark.parametrize("threads", [1, 2])
def test_one_step_sums_and_rounds(rng: np.random.Generator, threads: int) -> None:
    model, weights = network(rng)
    session = sardonyx.Session(model, precision="int8_activations", threads=threads)
    assert not operators(session) & {"ReduceSum", "Concat"}
    kinds = [step.op_type for step in session.engine.program.steps]
    assert kinds.count("QuantizeBlocks") == 1
    for shape in ((1, 1), (2, 3), (1, 17)):
        x = rng.standard_normal((*shape, DEPTH)).astype(np.float32)
        x[0, -1, 5 * BLOCK : 9 * BLOCK] = 0
        for found, own in zip(session.run(None, {"x": x}), weights, strict=True):
            right = wanted(x, own)
            assert np.sqrt(np.mean((found - right) ** 2) / np.mean(right**2)) < 1e-2


def test_a_row_that_is_not_finite_spoils_itself_only(rng: np.random.Generator) -> None:
    model, weights = network(rng, 1)
    x = rng.standard_normal((1, 3, DEPTH)).astype(np.float32)
    x[0, 1, 40] = np.inf
    session = sardonyx.Session(model, precision="int8_activations")
    (found,) = session.run(None, {"x": x})
    assert not np.isfinite(found[0, 1]).any()
    right = wanted(x[:, ::2], weights[0])
    assert np.abs(found[:, ::2] - right).max() < 2e-2 * np.abs(right).max()


def _as_output(model: onnx.ModelProto, name: str) -> None:
    model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))


@pytest.mark.parametrize("shown", ["joined", "sums"])
def test_what_others_read_is_made(rng: np.random.Generator, shown: str) -> None:
    model, weights = network(rng, 1)
    _as_output(model, shown)
    session = sardonyx.Session(model, precision="int8_activations")
    x = rng.standard_normal((2, 3, DEPTH)).astype(np.float32)
    found, more = session.run(None, {"x": x})
    right = wanted(x, weights[0])
    assert np.abs(found - right).max() < 2e-2 * np.abs(right).max()
    sums = (x * x).reshape(2, 3, BLOCKS, BLOCK).sum(-1)
    np.testing.assert_allclose(more[..., -BLOCKS:], sums, rtol=1e-5)


def test_floats_are_multiplied_as_floats(rng: np.random.Generator) -> None:
    model, weights = network(rng, 1)
    x = rng.standard_normal((2, 3, DEPTH)).astype(np.float32)
    (found,) = sardonyx.Session(model).run(None, {"x": x})
    right = wanted(x, weights[0])
    assert np.abs(found - right).max() < 1e-4 * np.abs(right).max()
