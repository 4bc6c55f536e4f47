"""Results do not depend on the number of threads, which only take the parts of a step."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import pytest
import sardonyx
from onnx import helper as oh
from sardonyx.kernels.abi import STEP_PARTS
from sardonyx.tools import zoo

RNG = np.random.default_rng(0)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape, np.float32)


def model(nodes: list[onnx.NodeProto], x: np.ndarray, **weights: np.ndarray) -> bytes:
    kind = oh.np_dtype_to_tensor_dtype(x.dtype)
    graph = oh.make_graph(
        nodes,
        "parts",
        [oh.make_tensor_value_info("x", kind, x.shape)],
        [onnx.ValueInfoProto(name=name) for name in nodes[-1].output],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [oh.make_opsetid("", 22)]
    return oh.make_model(graph, opset_imports=opsets, ir_version=10).SerializeToString()


def conv(**attributes: Any) -> onnx.NodeProto:
    return oh.make_node("Conv", ["x", "w"], ["y"], **attributes)


def node(op_type: str, *more: str, outputs: tuple[str, ...] = ("y",), **attributes: Any) -> Any:
    return oh.make_node(op_type, ["x", *more], outputs, **attributes)


IMAGES = normal(1, 48, 30, 29)
COLUMNS = normal(1, 1100, 6, 7)
ROWS = normal(3, 70, 130)
VOLUMES = normal(1, 24, 9, 12, 13)
BYTES = RNG.integers(0, 256, (3, 70, 130)).astype(np.uint8)
SAME = {"pads": [1, 1, 1, 1]}
AXES = {"axes": np.array([1])}
CASES = {
    "1 x 1": (conv(), IMAGES, {"w": normal(100, 48, 1, 1)}),
    "1 x 1 of few pixels": (conv(), COLUMNS, {"w": normal(515, 1100, 1, 1)}),
    "3 x 3 in Winograd's form": (conv(**SAME), IMAGES, {"w": normal(80, 48, 3, 3)}),
    "3 x 3 of few pixels": (conv(**SAME), COLUMNS, {"w": normal(70, 1100, 3, 3)}),
    "3 x 3 of stride 2": (conv(strides=[2, 2], **SAME), IMAGES, {"w": normal(64, 48, 3, 3)}),
    "dilated": (conv(dilations=[2, 2]), IMAGES, {"w": normal(50, 48, 3, 3)}),
    "grouped": (conv(group=4, **SAME), IMAGES, {"w": normal(40, 12, 3, 3)}),
    "depthwise": (conv(group=48, **SAME), IMAGES, {"w": normal(48, 1, 3, 3)}),
    "transposed": (
        node("ConvTranspose", "w", strides=[2, 2]), IMAGES, {"w": normal(48, 20, 3, 3)},
    ),
    "volumes": (conv(pads=[1] * 6), VOLUMES, {"w": normal(40, 24, 3, 3, 3)}),
    "volumes, dilated": (conv(dilations=[2, 2, 2]), VOLUMES, {"w": normal(40, 24, 3, 3, 3)}),
    "maximum over windows of volumes": (node("MaxPool", kernel_shape=[2, 3, 3]), VOLUMES, {}),
    "maxima and their places": (
        node("MaxPool", outputs=("y", "z"), kernel_shape=[3, 3]), IMAGES, {},
    ),
    "product": (node("MatMul", "w"), ROWS, {"w": normal(130, 140)}),
    "product of one row": (node("MatMul", "w"), normal(1, 900), {"w": normal(900, 1000)}),
    "product with itself": (oh.make_node("MatMul", ["x", "x"], ["y"]), normal(150, 150), {}),
    "product of float64": (
        node("MatMul", "w"), ROWS.astype(np.float64), {"w": normal(130, 140).astype(np.float64)},
    ),
    "product of bytes": (node("MatMulInteger", "w"), BYTES, {"w": BYTES[0].T.copy()}),
    "product of computed bytes": (
        oh.make_node("MatMulInteger", ["x", "x"], ["y"]), BYTES[0, :, :70].copy(), {},
    ),
    "convolution of bytes": (
        node("ConvInteger", "w", **SAME), BYTES[None],
        {"w": BYTES[:2, :3, :63].reshape(14, 3, 3, 3)},
    ),
    "quantization": (
        node("QuantizeLinear", "s"), normal(301, 211), {"s": np.array(0.1, np.float32)},
    ),
    "quantization by its own scale": (
        node("DynamicQuantizeLinear", outputs=("y", "s", "z")), normal(301, 211), {},
    ),
    "maximum over windows of bytes": (
        node("MaxPool", kernel_shape=[3, 3], **SAME), BYTES[None], {},
    ),
    "sum of float64": (
        node("ReduceSum", "axes"), normal(150, 1300).astype(np.float64), {"axes": np.array([0])},
    ),
    "maximum over windows": (node("MaxPool", kernel_shape=[3, 3], **SAME), IMAGES, {}),
    "mean over windows": (node("AveragePool", kernel_shape=[3, 3], **SAME), IMAGES, {}),
    "mean over images": (node("GlobalAveragePool"), COLUMNS, {}),
    "local response": (node("LRN", size=5), IMAGES, {}),
    "layer normalization": (node("LayerNormalization", "w"), ROWS, {"w": normal(130)}),
    "instance normalization": (
        node("InstanceNormalization", "w", "b"), IMAGES, {"w": normal(48), "b": normal(48)},
    ),
    "softmax of rows": (node("Softmax"), ROWS, {}),
    "softmax of columns": (node("Softmax", axis=1), ROWS, {}),
    "sum along the last axis": (node("ReduceSum", "axes"), normal(1500, 130), AXES),
    "sum along the first axis": (
        node("ReduceSum", "axes"), normal(130, 1500), {"axes": np.array([0])},
    ),
    "logarithm of a sum": (node("ReduceLogSumExp", "axes"), normal(90, 500), AXES),
    "product of elements": (node("ReduceProd", "axes"), normal(40, 1100), AXES),
    "elementwise, few rows": (node("Erf"), normal(3, 30_001), {}),
    "elementwise, many rows": (node("Mul", "w"), normal(301, 211), {"w": normal(301, 1)}),
    "transposition": (node("Transpose", perm=[2, 0, 1]), ROWS, {}),
    "concatenation of many rows": (node("Concat", "w", "x", axis=2), ROWS, {"w": normal(3, 70, 9)}),
    "concatenation of few rows": (node("Concat", "w", axis=0), ROWS, {"w": normal(2, 70, 130)}),
    "gathering": (node("Gather", "i"), normal(60, 900), {"i": np.arange(59, -1, -1)}),
    "cumulative sum": (node("CumSum", "a"), normal(200, 300), {"a": np.array(1)}),
    "largest": (
        node("TopK", "k", outputs=("y", "z")), normal(300, 200), {"k": np.array([7])},
    ),
    "resized": (
        node("Resize", "", "s", mode="linear"), IMAGES, {"s": np.array([1, 1, 1.7, 2], np.float32)},
    ),
    "resized along axes": (
        node("Resize", "", "s", mode="cubic"), VOLUMES,
        {"s": np.array([1, 1, 1.7, 2, 0.6], np.float32)},
    ),
    "sampled at positions": (node("GridSample", "g"), IMAGES, {"g": normal(1, 40, 50, 2)}),
    "places that are not zero": (node("NonZero"), np.maximum(normal(300, 210), 0), {}),
    "rows chosen": (
        node("Compress", "c", axis=0), normal(2000, 90), {"c": RNG.random(2000) < 0.5},
    ),
    "aligned regions": (
        node("RoiAlign", "r", "b", output_height=5, output_width=5), IMAGES,
        {"r": np.abs(normal(40, 4)) * 9 + np.float32([0, 0, 9, 9]), "b": np.zeros(40, np.int64)},
    ),
    "deformed convolution": (
        node("DeformConv", "w", "o", pads=[1] * 4), IMAGES,
        {"w": normal(20, 48, 3, 3), "o": normal(1, 18, 30, 29)},
    ),
    "spectra of frames": (
        node("STFT", "s", "w"), normal(2, 9000, 1),
        {"s": np.array(50), "w": np.hanning(240).astype(np.float32)},
    ),
    "uniform numbers": (node("RandomUniformLike", seed=3.0), ROWS, {}),
    "reversed sequences": (
        node("ReverseSequence", "n"), normal(90, 40, 30), {"n": RNG.integers(0, 91, 40)},
    ),
    "cumulative sum of columns": (
        node("CumSum", "a"), normal(200, 300), {"a": np.array(0)},
    ),
    "padded": (node("Pad", "p", mode="reflect"), ROWS, {"p": np.array([0, 3, 5, 0, 1, 2])}),
}  # fmt: skip


@pytest.mark.parametrize("case", CASES)
def test_one_to_four_threads_give_the_same_bits(case):
    kind, x, weights = CASES[case]
    data = model([kind], x, **weights)
    sessions = [sardonyx.Session(data, threads=threads) for threads in (1, 2, 3, 4)]
    results = [session.run(None, {"x": x}) for session in sessions]
    with sessions[1].engine.context((x.shape,)) as context:
        assert context.binding.steps[:, STEP_PARTS].max() > 1
    for others in results[1:]:
        for expected, result in zip(results[0], others, strict=True):
            bits = [np.atleast_1d(array).view(np.uint8) for array in (result, expected)]
            np.testing.assert_array_equal(*bits)


@pytest.mark.parametrize("name", ["squeezenet", "mobilenet_v2", "ocr_det"])
def test_networks_give_the_same_bits_on_any_number_of_threads(zoo_model, name):
    path = zoo_model(name)
    feeds = zoo.inputs(name, np.random.default_rng(3))
    expected, *others = (
        sardonyx.Session(path, threads=threads).run(None, feeds) for threads in (1, 2, 3, 4)
    )
    for results in others:
        for wanted, result in zip(expected, results, strict=True):
            np.testing.assert_array_equal(result, wanted)


def test_far_more_threads_than_parts_do_no_harm():
    x = normal(40, 900)
    data = model([node("Erf")], x)
    expected = sardonyx.Session(data, threads=1).run(None, {"x": x})
    session = sardonyx.Session(data, threads=50)
    for _ in range(20):
        np.testing.assert_array_equal(session.run(None, {"x": x}), expected)
