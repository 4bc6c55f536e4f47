"""Networks that are quantized, and their results in sardonyx, onnxruntime and OpenVINO."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import sardonyx
from onnx import helper, numpy_helper
from sardonyx.tools.demo import DATA

F32 = np.float32
DIGITS = str(DATA / "digits.onnx")


class Net:
    """Builds a network on an image x: convolutions a of x and b of a, whatever follows, and y."""

    def __init__(self, seed: int = 0) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.arrays: dict[str, np.ndarray] = {}

    def constant(self, array: Any) -> str:
        name = f"c{len(self.arrays)}"
        self.arrays[name] = np.asarray(array)
        return name

    def op(self, op_type: str, *inputs: Any, outputs: int = 1, **attributes: Any) -> Any:
        names = [x if isinstance(x, str) else self.constant(x) for x in inputs]
        made = [f"v{len(self.nodes)}_{i}" for i in range(outputs)]
        self.nodes.append(helper.make_node(op_type, names, made, **attributes))
        return made[0] if outputs == 1 else made

    def conv(self, x: str, before: int, after: int, size: int = 3, **attributes: Any) -> str:
        group = attributes.get("group", 1)
        weights = self.rng.standard_normal((after, before // group, size, size))
        weights *= self.rng.uniform(0.2, 1, (after, 1, 1, 1)) / np.sqrt(weights[0].size)
        bias = self.rng.standard_normal(after) * 0.1
        pads = [size // 2] * 4
        return self.op("Conv", x, weights.astype(F32), bias.astype(F32), pads=pads, **attributes)

    def model(self, *outputs: str, shape: Any = ("n", 4, 8, 8), opset: int = 21) -> Any:
        graph = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", 1, shape)],
            [onnx.ValueInfoProto(name=name) for name in outputs],
            [numpy_helper.from_array(array, name) for name, array in self.arrays.items()],
        )
        opsets = [helper.make_opsetid("", opset)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=10)


def head(net: Net, kind: str) -> str:
    """What lies between two convolutions and the last; returns what the last reads, 8 channels."""
    a = net.conv("x", 4, 8)
    relu = net.op("Relu", a)
    b = net.conv(relu, 8, 8)
    scale = net.rng.uniform(0.5, 1.5, (1, 8, 1, 1)).astype(F32)
    halves = np.array([4, 4])
    match kind:
        case "relu6":
            return net.op("Clip", b, F32(0), F32(0.5))
        case "swish":
            return net.op("Mul", b, net.op("Sigmoid", b))
        case "add":
            return net.op("Relu", net.op("Add", relu, b))
        case "sum":
            return net.op("Mul", net.op("Sum", relu, b), scale)
        case "concat":
            return net.conv(net.op("Concat", relu, b, axis=1), 16, 8)
        case "concat, relu":
            return net.conv(net.op("Relu", net.op("Concat", a, b, axis=1)), 16, 8)
        case "concat, scaled":
            return net.op("Mul", net.conv(net.op("Concat", a, b, axis=1), 16, 8), scale)
        case "dense":
            two = net.op("Concat", relu, b, axis=1)
            c = net.conv(net.op("Relu", two), 16, 8)
            return net.conv(net.op("Relu", net.op("Concat", two, c, axis=1)), 24, 8)
        case "shuffle":
            x = net.op("Reshape", b, np.array([0, 2, 4, 8, 8]))
            x = net.op("Transpose", x, perm=[0, 2, 1, 3, 4])
            return net.op("Reshape", x, np.array([0, 8, 8, 8]))
        case "split":
            first, second = net.op("Split", b, halves, outputs=2, axis=1)
            return net.op("Concat", net.conv(first, 4, 4), second, axis=1)
        case "max pool":
            return net.op("Relu", net.op("MaxPool", b, kernel_shape=[2, 2], strides=[2, 2]))
        case "average":
            return net.op("AveragePool", b, kernel_shape=[2, 2], strides=[2, 2])
        case "resize":
            return net.op("Resize", b, "", np.array([1, 1, 2, 2], F32), mode="nearest")
        case "pad":
            return net.op("Pad", b, np.array([0, 0, 1, 1, 0, 0, 1, 1]))
        case "gate":
            pooled = net.op("GlobalAveragePool", b)
            return net.op("Mul", b, net.op("Sigmoid", net.conv(pooled, 8, 8, 1)))
        case "transposed" | "transposed groups":
            group = 2 if kind == "transposed groups" else 1
            weights = net.rng.standard_normal((8, 8 // group, 2, 2)).astype(F32) / F32(6)
            bias = net.rng.standard_normal(8).astype(F32)
            x = net.op("ConvTranspose", b, weights, bias, strides=[2, 2], group=group)
            return net.op("Relu", x)
        case "depthwise":
            return net.conv(b, 8, 8, group=8)
        case "normalized":
            positive = [net.rng.uniform(0.5, 2, 8).astype(F32) for _ in range(4)]
            return net.op("BatchNormalization", b, *positive)
        case "no bias":
            return net.op("Conv", b, net.rng.standard_normal((8, 8, 1, 1)).astype(F32) / F32(3))
    raise AssertionError(kind)


KINDS = (
    "relu6", "swish", "add", "sum", "concat", "concat, relu", "concat, scaled", "dense", "shuffle",
    "split", "max pool", "average", "resize", "pad", "gate", "depthwise", "normalized", "no bias",
    "transposed", "transposed groups",
)  # fmt: skip


def image_net(kind: str, classes: bool = False) -> Any:
    net = Net()
    y = net.conv(head(net, kind), 8, 8)
    if classes:
        y = net.op("Flatten", net.op("GlobalAveragePool", net.op("Relu", y)))
        weights = net.rng.standard_normal((8, 5)).astype(F32)
        y = net.op("Gemm", y, weights, net.rng.standard_normal(5).astype(F32))
    return net.model(y)


def transformer() -> Any:
    """An attention block and two products with GELU, with residuals and normalization."""
    net, width = Net(), 16
    dense = [(net.rng.standard_normal((width, width)) / 4).astype(F32) for _ in range(5)]
    ones, zeros = np.ones(width, F32), np.zeros(width, F32)

    def heads(x: str, perm: list[int]) -> str:
        return net.op("Transpose", net.op("Reshape", x, np.array([0, 0, 2, 8])), perm=perm)

    q, k, v = (net.op("Add", net.op("MatMul", "x", w), zeros + F32(0.1)) for w in dense[:3])
    scores = net.op("MatMul", heads(q, [0, 2, 1, 3]), heads(k, [0, 2, 3, 1]))
    weights = net.op("Softmax", net.op("Div", scores, F32(8**0.5)), axis=-1)
    mixed = net.op("MatMul", weights, heads(v, [0, 2, 1, 3]))
    mixed = net.op("Reshape", net.op("Transpose", mixed, perm=[0, 2, 1, 3]), np.array([0, 0, 16]))
    x = net.op("LayerNormalization", net.op("Add", "x", mixed), ones, zeros)
    inner = net.op("Gelu", net.op("MatMul", x, dense[3]))
    y = net.op("LayerNormalization", net.op("Add", x, net.op("MatMul", inner, dense[4])), ones)
    return net.model(y, shape=("n", 6, width))


def samples(rng: np.random.Generator, count: int = 24, shape: Any = (4, 8, 8)) -> dict[str, Any]:
    return {"x": rng.standard_normal((count, *shape)).astype(F32)}


def decibels(expected: np.ndarray, found: np.ndarray) -> float:
    """Signal to noise."""
    expected = expected.astype(np.float64)
    error = np.square(found - expected).mean()
    return float(10 * np.log10(np.square(expected).mean() / max(error, 1e-30)))


def in_onnxruntime(model: Any, feeds: dict[str, Any]) -> np.ndarray:
    data = model if isinstance(model, str) else sardonyx.importers.to_bytes(model)
    result: np.ndarray = onnxruntime.InferenceSession(data).run(None, feeds)[0]
    return result


def in_openvino(path: Path, feeds: dict[str, Any]) -> np.ndarray:
    openvino = pytest.importorskip("openvino")
    settings = {"INFERENCE_PRECISION_HINT": "f32"}
    compiled = openvino.Core().compile_model(str(path), "CPU", settings)
    return np.asarray(compiled(feeds)[0])


def check(
    model: Any, feeds: dict[str, Any], path: Path, least: float, floats: int = 0, **options: Any
) -> Any:
    """Quantize, and compare with floats and between runtimes; returns the quantized graph.

    So many products stay as they are.
    """
    done = sardonyx.quantize(model, feeds, path, threads=1, **options)
    quantized = onnx.load(path)
    onnx.checker.check_model(quantized, full_check=True)
    expected = in_onnxruntime(model, feeds)
    found = sardonyx.Session(str(path), threads=1).run(None, feeds)[0]
    others = [in_onnxruntime(str(path), feeds)]
    if importlib.util.find_spec("openvino") is not None:
        others.append(in_openvino(path, feeds))
    for each in (found, *others):
        assert decibels(expected, each) > least
    for each in others:  # what rounds the other way is one step of the grid
        assert decibels(each, found) > least + 3
    kinds = ("Conv", "ConvTranspose", "Gemm", "MatMul")
    heads = [node for node in quantized.graph.node if node.op_type in kinds]
    assert done.count == len(heads) - floats
    return quantized.graph


def grid(graph: Any, name: str) -> str | None:
    """Scale of what quantizes a tensor, or has dequantized it."""
    for node in graph.node:
        quantizes = node.op_type == "QuantizeLinear" and node.input[0] == name
        if quantizes or (node.op_type == "DequantizeLinear" and node.output[0] == name):
            return str(node.input[1])
    return None
