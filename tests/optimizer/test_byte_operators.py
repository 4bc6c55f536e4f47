"""Averages, Softmax and LRN between bytes read and write bytes, for sessions only."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper
from onnx.helper import make_node
from onnx.reference import ReferenceEvaluator

F32 = np.float32
KINDS = (np.uint8, np.int8)


def model(
    node: onnx.NodeProto, dims: Any, x: np.dtype, y: np.dtype, scales: tuple[float, float],
    zeros: tuple[int, int], given: dict[str, np.ndarray] | None = None,
) -> onnx.ModelProto:  # fmt: skip
    """A node from ``a`` to ``b``, between DequantizeLinear of ``x`` and QuantizeLinear."""
    arrays = {
        "xs": F32(scales[0]), "xz": np.array(zeros[0], x), "ys": F32(scales[1]),
        "yz": np.array(zeros[1], y), **(given or {}),
    }  # fmt: skip
    nodes = [
        make_node("DequantizeLinear", ["x", "xs", "xz"], ["a"]),
        node,
        make_node("QuantizeLinear", ["b", "ys", "yz"], ["y"]),
    ]
    kind = helper.np_dtype_to_tensor_dtype(np.dtype(x))
    graph = helper.make_graph(
        nodes, "bytes", [helper.make_tensor_value_info("x", kind, dims)],
        [onnx.ValueInfoProto(name="y")],
        [onnx.numpy_helper.from_array(np.asarray(v), k) for k, v in arrays.items()],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def steps(session: sardonyx.Session) -> list[str]:
    return [step.op_type for step in session.engine.program.steps]


def onnxruntime_of(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> np.ndarray:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options)
    return np.asarray(session.run(None, feeds)[0])


def exact(proto: onnx.ModelProto, feeds: dict[str, np.ndarray]) -> np.ndarray:
    """Result of the node before it is rounded, float64, in units of the result's scale."""
    arrays = {t.name: onnx.numpy_helper.to_array(t) for t in proto.graph.initializer}
    wide = onnx.ModelProto()
    wide.CopyFrom(proto)
    del wide.graph.node[2], wide.graph.node[0]
    wide.graph.input[0].name = "a"
    wide.graph.input[0].type.tensor_type.elem_type = onnx.TensorProto.DOUBLE
    wide.graph.output[0].CopyFrom(helper.make_tensor_value_info("b", onnx.TensorProto.DOUBLE, None))
    whole = feeds["x"].astype(np.float64) - float(arrays["xz"])
    result = ReferenceEvaluator(wide).run(None, {"a": whole * float(arrays["xs"])})
    return np.asarray(result[0]) / float(arrays["ys"])


def agree(proto: onnx.ModelProto, feeds: dict[str, np.ndarray], op_type: str, near: float) -> None:
    """Compare with onnxruntime: what lies nearly in the middle of two bytes may be either."""
    wanted, real = onnxruntime_of(proto, feeds), exact(proto, feeds)
    in_the_middle = np.abs(real - np.floor(real) - 0.5) < near
    for threads in (1, 3):
        session = sardonyx.Session(proto, threads=threads)
        assert op_type in steps(session), steps(session)
        assert "QuantizeLinear" not in steps(session)
        found = session.run(None, feeds)[0]
        assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
        off = np.abs(found.astype(int) - wanted.astype(int))
        assert (off <= np.where(in_the_middle, 1, 0)).all()


def numbers(rng: np.random.Generator, shape: Any, dtype: Any) -> np.ndarray:
    limits = np.iinfo(dtype)
    return rng.integers(limits.min, limits.max + 1, shape).astype(dtype)


def grids(rng: np.random.Generator, x: Any, y: Any, rounds: bool) -> tuple[Any, Any]:
    """Scales, alike or not, and zero points."""
    scale = float(rng.uniform(0.005, 0.1))
    other = scale if rounds else float(scale * rng.uniform(0.3, 1.5))
    return (scale, other), (int(numbers(rng, (), x)), int(numbers(rng, (), y)))


@pytest.mark.parametrize("y", KINDS)
@pytest.mark.parametrize("x", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_pools_of_windows(seed, x, y):
    rng = np.random.default_rng([seed, x is np.int8, y is np.int8])
    axes = int(rng.integers(1, 4))
    kernel = [int(n) for n in rng.integers(2, 5, axes)]
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": [int(n) for n in rng.integers(1, 4, axes)],
        "count_include_pad": int(rng.integers(2)),
        "ceil_mode": int(rng.integers(2)),
    }
    if rng.integers(2):
        attributes["pads"] = [int(rng.integers(0, k)) for k in kernel] * 2
    if rng.integers(3) == 0 and attributes["ceil_mode"] == 0:
        attributes["dilations"] = [int(n) for n in rng.integers(1, 3, axes)]
    channels = int(rng.choice([1, 3, 8, 16, 20, 40, 67]))
    shape = (2, channels, *(int(n) for n in rng.integers(9, 14, axes)))
    node = make_node("AveragePool", ["a"], ["b"], **attributes)
    proto = model(node, shape, x, y, *grids(rng, x, y, bool(rng.integers(2))))
    agree(proto, {"x": numbers(rng, shape, x)}, "QLinearAveragePool", 1e-4)


@pytest.mark.parametrize("y", KINDS)
@pytest.mark.parametrize("x", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_means_of_images(seed, x, y):
    rng = np.random.default_rng([seed, x is np.int8, y is np.int8])
    sizes = (int(n) for n in rng.integers(1, 12, 1 + seed % 3))
    shape = (2, int(rng.choice([1, 5, 16, 70])), *sizes)
    node, given = make_node("GlobalAveragePool", ["a"], ["b"]), {}
    if seed % 2:
        node = make_node("ReduceMean", ["a", "axes"], ["b"], keepdims=1)
        given = {"axes": np.arange(2, len(shape))[::-1].copy()}
    proto = model(node, shape, x, y, *grids(rng, x, y, bool(rng.integers(2))), given)
    agree(proto, {"x": numbers(rng, shape, x)}, "QLinearGlobalAveragePool", 1e-4)


def test_halves_are_rounded_to_even():
    """On one grid, whose scale no float holds exactly, sums of four have exact halves."""
    rng = np.random.default_rng(0)
    node = make_node("AveragePool", ["a"], ["b"], kernel_shape=[2, 2], strides=[2, 2])
    proto = model(node, (1, 24, 16, 16), np.uint8, np.uint8, (0.017, 0.017), (3, 3))
    x = numbers(rng, (1, 24, 16, 16), np.uint8)
    (found,) = sardonyx.Session(proto, threads=1).run(None, {"x": x})
    sums = x.reshape(1, 24, 8, 2, 8, 2).astype(int).sum((3, 5)) - 12
    np.testing.assert_array_equal(found, np.rint(sums / 4) + 3)


@pytest.mark.parametrize("channels", [24, 40])
def test_open_sizes_and_images_that_convolutions_lay(channels):
    rng = np.random.default_rng(1)
    node = make_node("GlobalAveragePool", ["a"], ["b"])
    proto = model(node, ("N", channels, "H", "W"), np.uint8, np.uint8, (0.02, 0.01), (100, 128))
    for shape in ((1, channels, 7, 5), (3, channels, 1, 1), (2, channels, 16, 19)):
        agree(proto, {"x": numbers(rng, shape, np.uint8)}, "QLinearGlobalAveragePool", 1e-4)


@pytest.mark.parametrize("y", KINDS)
@pytest.mark.parametrize("x", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_softmax(seed, x, y):
    rng = np.random.default_rng([seed, x is np.int8, y is np.int8])
    shape = tuple(int(n) for n in rng.integers(1, 9, rng.integers(0, 3)))
    shape = (*shape, int(rng.choice([1, 7, 16, 33, 197, 300])))
    axis = -1 if seed % 3 else int(rng.integers(0, len(shape)))
    node = make_node("Softmax", ["a"], ["b"], axis=axis)
    scales = (float(rng.uniform(0.002, 0.3)), [1 / 256, 0.0031][seed % 2])
    zeros = (int(numbers(rng, (), x)), np.iinfo(y).min)
    proto = model(node, shape, x, y, scales, zeros)
    agree(proto, {"x": numbers(rng, shape, x)}, "QLinearSoftmax", 1e-3)


def test_softmax_of_bytes_that_are_all_alike():
    for n in (1, 5, 512):
        node = make_node("Softmax", ["a"], ["b"])
        proto = model(node, (3, n), np.uint8, np.uint8, (0.1, 1 / 256), (0, 0))
        agree(proto, {"x": np.full((3, n), 255, np.uint8)}, "QLinearSoftmax", 1e-3)


@pytest.mark.parametrize("y", KINDS)
@pytest.mark.parametrize("x", KINDS)
@pytest.mark.parametrize("seed", range(6))
def test_responses(seed, x, y):
    """Powers by polynomials (of exponents that any have) and, of a wide range, by themselves."""
    rng = np.random.default_rng([seed, x is np.int8, y is np.int8])
    channels = int(rng.choice([1, 5, 16, 24, 70, 2100]))
    shape = (2, channels, *(int(n) for n in rng.integers(1, 6, 2)))
    attributes: dict[str, Any] = {
        "size": int(rng.choice([1, 3, 5, 63])), "alpha": float(10.0 ** rng.uniform(-5, 0.5)),
        "beta": [0.75, 0.5, 1.0, 0.61][seed % 4], "bias": float(rng.uniform(0.5, 2.0)),
    }  # fmt: skip
    node = make_node("LRN", ["a"], ["b"], **attributes)
    own = grids(rng, x, y, bool(rng.integers(2)))
    proto, feeds = model(node, shape, x, y, *own), {"x": numbers(rng, shape, x)}
    numbers_of_x = (feeds["x"].astype(float) - own[1][0]) * own[0][0]
    real, limits = responses(numbers_of_x, attributes) / own[0][1], np.iinfo(y)
    wanted = np.clip(np.rint(real) + own[1][1], limits.min, limits.max)
    in_the_middle = np.abs(real - np.floor(real) - 0.5) < 1e-4
    for threads in (1, 3):
        session = sardonyx.Session(proto, threads=threads)
        assert "QLinearLRN" in steps(session)
        found = session.run(None, feeds)[0]
        assert found.dtype == y
        assert (np.abs(found - wanted) <= in_the_middle).all()
    # Its sums along channels come and go, so its errors grow.
    assert np.abs(found.astype(int) - onnxruntime_of(proto, feeds)).max() <= 1


def responses(x: np.ndarray, own: dict[str, Any]) -> np.ndarray:
    """LRN by its definition, for an odd size (onnx.reference sums as many channels as images)."""
    reach, total = own["size"] // 2, np.zeros_like(x)
    for channel in range(x.shape[1]):
        near = x[:, max(0, channel - reach) : channel + reach + 1]
        total[:, channel] = (near**2).sum(1)
    return np.asarray(x / (own["bias"] + own["alpha"] / own["size"] * total) ** own["beta"])


def test_responses_of_more_channels_than_a_kernel_sums_stay():
    node = make_node("LRN", ["a"], ["b"], size=129)
    proto = model(node, (1, 200, 3, 3), np.uint8, np.uint8, (0.02, 0.01), (0, 0))
    assert "LRN" in steps(sardonyx.Session(proto, threads=1))


@pytest.mark.parametrize("name", ["QLinearAveragePool", "QLinearGlobalAveragePool"])
def test_operators_of_onnxruntime(name):
    rng = np.random.default_rng(2)
    attributes: dict[str, Any] = {}
    if "Global" not in name:
        attributes = {"kernel_shape": [3, 2], "pads": [1, 0, 1, 1]}
    for last in (0, 1):
        inputs = ["x", "xs", "xz", "ys", "yz"]
        attributes["channels_last"] = last
        node = make_node(name, inputs, ["y"], domain="com.microsoft", **attributes)
        shape = (2, 9, 8, 20) if last else (2, 20, 9, 8)
        proto = model(node, shape, np.uint8, np.uint8, (0.02, 0.013), (7, 90))
        del proto.graph.node[2], proto.graph.node[0]
        proto.opset_import.append(helper.make_opsetid("com.microsoft", 1))
        feeds = {"x": numbers(rng, shape, np.uint8)}
        session = sardonyx.Session(proto, threads=1)
        assert name in steps(session)
        off = session.run(None, feeds)[0].astype(int) - onnxruntime_of(proto, feeds)
        assert np.abs(off).max() <= 1
        assert (off != 0).mean() < 0.01


@pytest.mark.parametrize("op_type", ["GlobalAveragePool", "Softmax"])
def test_floats_that_something_else_reads_stay(op_type):
    node = make_node(op_type, ["a"], ["b"])
    proto = model(node, (1, 4, 5, 5), np.uint8, np.uint8, (0.02, 0.01), (0, 0))
    proto.graph.output.append(onnx.ValueInfoProto(name="b"))
    session = sardonyx.Session(proto, threads=1)
    assert not any("QLinear" in step for step in steps(session))
