"""Products and convolutions by AMX, or its emulation: exact in integers, of all signs."""

from __future__ import annotations

import os
import threading

import numpy as np
import onnx
import pytest
import sardonyx
from onnx.helper import make_node
from sardonyx.kernels.amx_permission import has_amx

from ...children import forked
from .conftest import build

pytestmark = pytest.mark.skipif(not has_amx(), reason="no AMX, and none emulated")

TYPES = [(a, b) for a in ("int8", "uint8") for b in ("int8", "uint8")]


def drawn(dtype: str, *shape: int) -> np.ndarray:
    limits = np.iinfo(dtype)
    numbers = np.random.default_rng(list(shape)).integers(limits.min, limits.max + 1, shape)
    return numbers.astype(dtype)


def session_of(model: onnx.ModelProto, **options: object) -> sardonyx.Session:
    session = sardonyx.Session(model, **options)
    kernels = " ".join(map(str, session.engine.program.kernels))
    assert "amx_tile" in kernels or "term_convolve" in kernels
    return session


@pytest.mark.parametrize("types", TYPES)
@pytest.mark.parametrize("zero", [None, 5])
def test_matrices(types: tuple[str, str], zero: int | None) -> None:
    x, w = drawn(types[0], 37, 70), drawn(types[1], 70, 45)
    inputs = ["x", "w", *([] if zero is None else ["z"])]
    weights = {"w": w} | ({} if zero is None else {"z": np.array(zero, types[0])})
    model = build([make_node("MatMulInteger", inputs, ["y"])], [{"x": x}], weights)
    wanted = (x.astype(np.int64) - (zero or 0)) @ w.astype(np.int64)
    session = session_of(model, threads=2)
    np.testing.assert_array_equal(session.run(None, {"x": x})[0], wanted)


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
def test_a_padded_convolution_with_a_zero_point(dtype: str) -> None:
    x, w = drawn(dtype, 1, 12, 9, 8), drawn("int8", 20, 12, 3, 3)
    zero = np.array(-7 if dtype == "int8" else 9, dtype)
    node = make_node("ConvInteger", ["x", "w", "z"], ["y"], pads=[1, 1, 1, 1])
    model = build([node], [{"x": x}], {"w": w, "z": zero})
    padded = np.pad(x.astype(np.int64) - int(zero), ((0, 0), (0, 0), (1, 1), (1, 1)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))
    wanted = np.einsum("nchwij,mcij->nmhw", windows, w.astype(np.int64))
    np.testing.assert_array_equal(session_of(model).run(None, {"x": x})[0], wanted)


def bfloat_model() -> tuple[onnx.ModelProto, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(1)
    x, w = (rng.standard_normal(shape, np.float32) for shape in ((40, 100), (100, 50)))
    nodes = [make_node("MatMul", ["x", "w"], ["m"]), make_node("Relu", ["m"], ["y"])]
    return build(nodes, [{"x": x}], {"w": w}), x, np.maximum(x.astype(np.float64) @ w, 0)


def is_close(y: np.ndarray, wanted: np.ndarray) -> bool:
    return bool(np.abs(y - wanted).max() < 2**-6 * wanted.max())


def test_bfloat16_on_many_threads_and_in_a_fork() -> None:
    model, x, wanted = bfloat_model()
    session = session_of(model, precision="bf16", threads=2)
    results: list[np.ndarray] = []
    work = [
        threading.Thread(target=lambda: results.extend(session.run(None, {"x": x})))
        for _ in range(4)
    ]
    for thread in work:
        thread.start()
    for thread in work:
        thread.join()
    assert len(results) == 4
    assert all(is_close(y, wanted) for y in results)

    def in_a_child() -> None:
        (y,) = session.run(None, {"x": x})
        os._exit(0 if is_close(y, wanted) else 3)

    assert forked(in_a_child, 60) == 0
