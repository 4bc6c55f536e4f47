"""Products and convolutions by AMX, or its emulation: exact in integers, of all signs."""

from __future__ import annotations

import os
import threading

import numpy as np
import onnx
import onnx.reference
import pytest
import sardonyx
from onnx.helper import make_node
from sardonyx.kernels.amx_permission import EMULATED, has_amx
from sardonyx.runtime.ops import tiles

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


def quantized_product(rows: int, depth: int, columns: int) -> onnx.ModelProto:
    """A QLinearMatMul with a scale for each column, and a zero point on both sides."""
    names = ["x", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero"]
    rng = np.random.default_rng(depth)
    weights = {
        "x_scale": np.float32(0.02), "x_zero": np.uint8(7), "w": drawn("int8", depth, columns),
        "w_scale": rng.uniform(0.001, 0.02, columns).astype(np.float32),
        "w_zero": np.zeros(columns, np.int8),
        "y_scale": np.float32(0.01 * depth**0.5), "y_zero": np.uint8(131),
    }  # fmt: skip
    node = make_node("QLinearMatMul", names, ["y"])
    return build([node], [{"x": drawn("uint8", rows, depth)}], weights)


@pytest.mark.parametrize("sizes", [(37, 70, 45), (1, 16, 16), (64, 68, 33), (50, 6, 40)])
def test_quantized_matrices(sizes: tuple[int, int, int]) -> None:
    model, x = quantized_product(*sizes), drawn("uint8", *sizes[:2])
    (wanted,) = onnx.reference.ReferenceEvaluator(model).run(None, {"x": x})
    (found,) = sardonyx.Session(model, threads=2).run(None, {"x": x})
    assert np.abs(found.astype(int) - wanted.astype(int)).max() <= 1  # sums of float32 there


@pytest.mark.parametrize("dtype", ["int8", "uint8"])
@pytest.mark.parametrize(
    ("channels", "size", "kernel", "options"),
    [
        (20, 9, 3, {"pads": [1, 1, 1, 1]}),  # rows of 9, and 60 bytes of each
        (20, 40, 3, {"strides": [2, 2]}),  # several tiles in a row, of two heights
        (72, 11, 5, {"dilations": [2, 2], "pads": [4, 4, 4, 4]}),  # 25 segments with a rest
        (160, 8, 1, {"group": 2}),
        (3, 21, 7, {"strides": [2, 2], "pads": [3, 3, 3, 3]}),
    ],
)
def test_convolutions_to_bytes(
    dtype: str, channels: int, size: int, kernel: int, options: dict[str, object]
) -> None:
    """Bytes equal those of exact sums that are scaled in float32 and rounded half to even."""
    x = drawn(dtype, 2, channels, size, size)
    groups = int(str(options.get("group", 1)))
    w = drawn("int8", 36, channels // groups, kernel, kernel)
    bias = np.arange(-18, 18, dtype=np.int32) * 50
    x_zero, y_zero = np.array(3, dtype), np.array(-5 if dtype == "int8" else 100, dtype)
    w_scale = np.linspace(0.01, 0.02, 36).astype(np.float32)
    y_scale = np.float32(2 * w[0].size ** 0.5)
    weights = {
        "x_scale": np.float32(1.5), "x_zero": x_zero, "w": w, "w_scale": w_scale,
        "w_zero": np.zeros(36, np.int8), "y_scale": y_scale, "y_zero": y_zero, "b": bias,
    }  # fmt: skip
    node = make_node("QLinearConv", ["x", *list(weights)], ["y"], **options)
    found = session_of(build([node], [{"x": x}], weights), threads=2).run(None, {"x": x})[0]
    exact = make_node("ConvInteger", ["x", "w", "x_zero"], ["y"], **options)
    kept = {name: weights[name] for name in ("w", "x_zero")}
    (sums,) = onnx.reference.ReferenceEvaluator(build([exact], [{"x": x}], kept)).run(
        None, {"x": x}
    )
    scale = np.float32(1.5) * w_scale / y_scale
    numbers = (sums + bias[:, None, None]).astype(np.float32) * scale[:, None, None]
    limits = np.iinfo(dtype)
    wanted = np.clip(np.rint(numbers) + int(y_zero), limits.min, limits.max).astype(dtype)
    np.testing.assert_array_equal(found, wanted)


def test_shallow_sums_are_those_of_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    """The measured rates say from how many words on a tile pays for its sums' way by memory."""
    monkeypatch.setattr(tiles, "EMULATED", False)
    monkeypatch.setattr(tiles, "_have_vectors", lambda kind: True)
    x = drawn("uint8", 1, 48, 20, 20)
    for rate, channels, wanted in ((6.7, 16, False), (6.7, 48, True), (1.5, 48, False)):
        monkeypatch.setattr(tiles, "tile_integer_speed", lambda rate=rate: rate)
        w = drawn("int8", 32, channels, 1, 1)
        node = make_node("ConvInteger", ["x", "w"], ["y"], name=f"of {channels} at {rate}")
        model = build([node], [{"x": x[:, :channels]}], {"w": w})
        kernels = str(sardonyx.Session(model).engine.program.kernels)
        assert ("amx_tile" in kernels) == wanted


@pytest.mark.skipif(EMULATED, reason="others use the unit itself")
def test_others_products_between_our_own() -> None:
    """Libraries that load a configuration, in the same thread, find it again, and we ours."""
    onnxruntime = pytest.importorskip("onnxruntime")
    torch = pytest.importorskip("torch")
    model, x = quantized_product(128, 256, 128), drawn("uint8", 128, 256)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    other = onnxruntime.InferenceSession(model.SerializeToString(), options)
    matrix = torch.ones((96, 160), dtype=torch.bfloat16)
    session = sardonyx.Session(model, threads=1)
    first = session.run(None, {"x": x})[0], other.run(None, {"x": x})[0]
    for _ in range(3):
        np.testing.assert_array_equal(other.run(None, {"x": x})[0], first[1])
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], first[0])
        assert ((matrix @ matrix.T) == 160).all()
        np.testing.assert_array_equal(session.run(None, {"x": x})[0], first[0])
    assert np.abs(first[0].astype(int) - first[1].astype(int)).max() <= 1


def test_integers_in_a_fork() -> None:
    model, x = quantized_product(64, 70, 45), drawn("uint8", 64, 70)
    session = sardonyx.Session(model, threads=2)
    (wanted,) = session.run(None, {"x": x})

    def in_a_child() -> None:
        (y,) = session.run(None, {"x": x})
        os._exit(0 if np.array_equal(y, wanted) else 3)

    assert forked(in_a_child, 60) == 0


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
