"""Products of many rows with small weights, widened to terms for AMX a part at a time."""

from __future__ import annotations

import ml_dtypes
import numpy as np
import pytest
import sardonyx
from onnx.helper import make_node
from sardonyx.kernels.amx_permission import has_amx
from sardonyx.runtime.ops import widened_terms

from .conftest import build

pytestmark = pytest.mark.skipif(not has_amx(), reason="no AMX, and none emulated")

DEPTH, COLUMNS = 320, 150


def normal(*shape: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng([seed, *shape]).standard_normal(shape, np.float32)


def blocked(dtype: str, block: int = 32) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Initializers of a DequantizeLinear, and what they stand for."""
    rng = np.random.default_rng(3)
    low, high = {"uint4": (0, 16), "int8": (-128, 128)}[dtype]
    kind = getattr(ml_dtypes, dtype, None) or np.dtype(dtype).type
    numbers = rng.integers(low, high, (DEPTH, COLUMNS))
    count = DEPTH // block
    scales = rng.uniform(0.01, 0.1, (count, COLUMNS)).astype(np.float32)
    zeros = rng.integers(low, high, (count, COLUMNS))
    weights = (numbers - zeros.repeat(block, 0)) * scales.repeat(block, 0)
    return {"q": numbers.astype(kind), "s": scales, "z": zeros.astype(kind)}, weights


def nodes(*after: str, block: int = 32) -> list:
    return [
        make_node("DequantizeLinear", ["q", "s", "z"], ["w"], axis=0, block_size=block),
        make_node("MatMul", ["x", "w"], ["p"]),
        make_node("Add", ["p", "b"], ["t"]),
        make_node(after[0], ["t", *after[1:]], ["y"]),
    ]


def worst(y: np.ndarray, wanted: np.ndarray) -> float:
    return float(np.abs(y - wanted).max() / np.abs(wanted).max())


def steps(session: sardonyx.Session) -> list[str]:
    return [step.op_type for step in session.engine.program.steps]


@pytest.mark.parametrize("dtype", ["uint4", "int8"])
@pytest.mark.parametrize("dims", [{}, {"x": ["rows", DEPTH]}])
@pytest.mark.parametrize("room", [1 << 21, 1 << 16])
def test_many_rows_and_few(
    monkeypatch: pytest.MonkeyPatch, lowered_anew: None, dtype: str, dims: dict, room: int
) -> None:
    monkeypatch.setattr(widened_terms, "ROOM_BYTES", room)
    weights, wide = blocked(dtype)
    weights["b"] = normal(COLUMNS)
    for rows in (3, 60, 300):
        x, r = normal(rows, DEPTH), normal(rows, COLUMNS, seed=1)
        feeds, names = {"x": x, "r": r}, {**dims, "r": ["rows", COLUMNS]} if dims else {}
        model = build(nodes("Add", "r"), [feeds], weights, ["y"], names, opset=21)
        for threads in (1, 3):
            session = sardonyx.Session(model, threads=threads)
            (y,) = session.run(None, feeds)
            assert worst(y, x.astype(float) @ wide + weights["b"] + r) < 3e-5
            assert ("Widen" in steps(session)) == bool(dims)


def test_what_follows_runs_over_whole_rows(
    monkeypatch: pytest.MonkeyPatch, lowered_anew: None
) -> None:
    weights, wide = blocked("uint4")
    weights["b"] = normal(COLUMNS)
    x = normal(300, DEPTH)
    model = build(nodes("Softplus"), [{"x": x}], weights, ["y"], {"x": ["rows", DEPTH]}, opset=21)
    wanted = np.logaddexp(0, x.astype(float) @ wide + weights["b"])
    for room in (1 << 21, 1 << 16):
        monkeypatch.setattr(widened_terms, "ROOM_BYTES", room)
        assert worst(sardonyx.Session(model, threads=2).run(None, {"x": x})[0], wanted) < 3e-5


@pytest.mark.parametrize("precision", ["strict", "int8_activations"])
def test_neither_strict_nor_rounded_rows_take_them(precision: str, lowered_anew: None) -> None:
    weights, _ = blocked("uint4")
    weights["b"] = normal(COLUMNS)
    feeds = {"x": normal(300, DEPTH)}
    model = build(nodes("Relu"), [feeds], weights, ["y"], {"x": ["rows", DEPTH]}, opset=21)
    assert "Widen" not in steps(sardonyx.Session(model, precision=precision))


def test_a_form_that_a_run_passed_by_is_made_again(lowered_anew: None) -> None:
    """Two products with one computed matrix, of which one has few rows."""
    given = [make_node("MatMul", ["a", "m"], ["y"]), make_node("MatMul", ["b", "m"], ["z"])]
    m = normal(512, 512)
    dims = {"a": ["one", 512], "b": ["other", 512]}
    for few, many in ((3, 500), (500, 3)):
        feeds = {"a": normal(few, 512), "b": normal(many, 512), "m": m}
        model = build(given, [feeds], None, ["y", "z"], dims)
        y, z = sardonyx.Session(model, precision="bf16x3").run(None, feeds)
        assert worst(y, feeds["a"] @ m) < 1e-4
        assert worst(z, feeds["b"] @ m) < 1e-4
