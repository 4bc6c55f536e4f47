"""Networks that are drawn part by part: convolutions, and what lies between them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx.helper import make_node

from .ops.conftest import build


def normal(*shape: int) -> np.ndarray:
    """Draw numbers, the same for a shape."""
    return np.random.default_rng(list(shape)).standard_normal(shape, np.float32)


def filters(*shape: int) -> np.ndarray:
    """Weights that keep the size of what they multiply."""
    return normal(*shape) / np.float32(np.sqrt(np.prod(shape[1:])))


def transformer_layer(residual: str) -> tuple[list[onnx.NodeProto], dict[str, np.ndarray]]:
    """Nodes and weights from ``x``, rows of 72, to ``y``: what follows attention in a transformer.

    ``residual`` is added behind its two products: ``x``, or ``n``, which is normalized.
    """
    nodes = [
        make_node("LayerNormalization", ["x", "s", "b"], ["n"]),
        make_node("MatMul", ["n", "v"], ["h"]), make_node("Gelu", ["h"], ["g"]),
        make_node("MatMul", ["g", "w"], ["m"]), make_node("Add", ["m", residual], ["r"]),
        make_node("LayerNormalization", ["r", "s", "b"], ["o"]),
        make_node("MatMul", ["o", "v"], ["y"]),
    ]  # fmt: skip
    weights = {"s": normal(72), "b": normal(72), "v": filters(72, 144), "w": filters(144, 72)}
    return nodes, weights


class Network:
    """A network that grows by one of some parts at a time; sizes of maps are 12 or 6 pixels."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: dict[str, np.ndarray] = {}
        self.maps: list[tuple[str, int, int]] = []  # name, channels, size

    def node(
        self, operator: str, inputs: list[str], channels: int, size: int, **more: object
    ) -> None:
        name = f"t{len(self.nodes)}"
        self.nodes.append(make_node(operator, inputs, [name], **more))
        self.maps.append((name, channels, size))

    def any_map(self) -> tuple[str, int, int]:
        recent = self.maps[-5:]
        return recent[self.rng.integers(len(recent))]

    def convolution(self) -> None:
        x, channels, size = self.any_map()
        out, taps = int(self.rng.integers(3, 70)), int(self.rng.choice([1, 3]))
        stride = 2 if size == 12 and self.rng.random() < 0.2 else 1
        w, b = f"w{len(self.nodes)}", f"b{len(self.nodes)}"
        self.weights |= {w: filters(out, channels, taps, taps), b: normal(out)}
        self.node("Conv", [x, w, b], out, size // stride, strides=[stride] * 2,
                  pads=[taps // 2] * 4)  # fmt: skip

    def depthwise(self) -> None:
        x, channels, size = self.any_map()
        w = f"w{len(self.nodes)}"
        self.weights[w] = filters(channels, 1, 3, 3)
        self.node("Conv", [x, w], channels, size, pads=[1] * 4, group=channels)

    def activation(self) -> None:
        x, channels, size = self.any_map()
        kind = self.rng.choice(["Relu", "HardSwish", "LeakyRelu", "Gelu", "Tanh", "Softplus"])
        self.node(str(kind), [x], channels, size)

    def residual(self) -> None:
        x, channels, size = self.any_map()
        alike = [name for name, c, s in self.maps if (c, s) == (channels, size)]
        self.node("Add", [x, str(self.rng.choice(alike))], channels, size)

    def concatenation(self) -> None:
        x, channels, size = self.any_map()
        others = [(n, c) for n, c, s in self.maps if s == size and c + channels < 200]
        if others:
            name, more = others[self.rng.integers(len(others))]
            self.node("Concat", [x, name], channels + more, size, axis=1)

    def pooling(self) -> None:
        x, channels, size = self.any_map()
        kind = str(self.rng.choice(["MaxPool", "AveragePool"]))
        self.node(kind, [x], channels, size, kernel_shape=[3, 3], pads=[1] * 4)

    def movement(self) -> None:
        x, channels, size = self.any_map()
        self.node("Transpose", [x], channels, size, perm=[0, 1, 3, 2])

    def gate(self) -> None:
        x, channels, size = self.any_map()
        self.node("GlobalAveragePool", [x], channels, 1)
        mean = self.maps.pop()[0]
        self.node("Mul", [x, mean], channels, size)


def draw(seed: int, is_open: bool) -> tuple[onnx.ModelProto, list[dict[str, np.ndarray]]]:
    """Draw a network of 14 parts, of which several are results, and feeds of one or two sizes."""
    network = Network(seed)
    network.maps.append(("x", 17, 12))
    parts: list[Callable[[], None]] = [
        network.convolution, network.convolution, network.convolution, network.depthwise,
        network.activation, network.residual, network.concatenation, network.pooling,
        network.movement, network.gate,
    ]  # fmt: skip
    for _ in range(14):
        parts[network.rng.integers(len(parts))]()
    used = {name for node in network.nodes for name in node.input}
    wanted = [name for name, _, _ in network.maps if name not in used and name != "x"]
    wanted.append(network.nodes[len(network.nodes) // 2].output[0])
    feeds = [{"x": normal(n, 17, 12, 12)} for n in ((1, 2) if is_open else (1,))]
    dims = {"x": ("n" if is_open else 1, 17, 12, 12)}
    model = build(network.nodes, feeds, network.weights, list(dict.fromkeys(wanted)), dims)
    return model, feeds
