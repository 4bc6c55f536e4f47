"""Transformers as benchmarks want them: BERT-base and ViT-B, built of nodes with random weights."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

_OPSET = 23
_WORDS, _PLACES, _PIXELS = 30522, 512, 224


@dataclass(frozen=True)
class Sizes:
    """Layers, width, heads and length of a transformer."""

    layers: int = 12
    width: int = 768
    heads: int = 12
    length: int = 128


class _Builder:
    """Nodes and weights, layer by layer."""

    def __init__(self, sizes: Sizes) -> None:
        self.sizes, self.rng = sizes, np.random.default_rng(0)
        self.nodes: list[onnx.NodeProto] = []
        self.weights: list[onnx.TensorProto] = []

    def op(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node."""
        name = f"{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, inputs, [name], name, **attributes))
        return name

    def constant(self, value: np.ndarray) -> str:
        """Add a weight."""
        name = f"w{len(self.weights)}"
        self.weights.append(numpy_helper.from_array(value, name))
        return name

    def drawn(self, *shape: int) -> str:
        """Add a weight of random numbers that keep the scale of what they multiply."""
        scale = 1 / np.sqrt(shape[0]) if len(shape) > 1 else 0.02
        return self.constant(self.rng.standard_normal(shape, np.float32) * np.float32(scale))

    def linear(self, x: str, depth: int, width: int) -> str:
        """Add a product and a bias."""
        return self.op("Add", self.op("MatMul", x, self.drawn(depth, width)), self.drawn(width))

    def norm(self, x: str) -> str:
        """Normalize a layer."""
        ones = self.constant(np.ones(self.sizes.width, np.float32))
        return self.op("LayerNormalization", x, ones, self.drawn(self.sizes.width), axis=-1)

    def layer(self, x: str) -> str:
        """Add attention and two products, each behind a norm."""
        width, heads = self.sizes.width, self.sizes.heads
        h = self.norm(x)
        q, k, v = (self.linear(h, width, width) for _ in range(3))
        a = self.op("Attention", q, k, v, q_num_heads=heads, kv_num_heads=heads)
        x = self.op("Add", x, self.linear(a, width, width))
        h = self.op("Gelu", self.linear(self.norm(x), width, 4 * width))
        return self.op("Add", x, self.linear(h, 4 * width, width))

    def finish(self, x: str, port: onnx.ValueInfoProto) -> onnx.ModelProto:
        """Make the model, which takes batches of any size."""
        shape = ["N", None, self.sizes.width]
        output = helper.make_tensor_value_info(x, TensorProto.FLOAT, shape)
        graph = helper.make_graph(self.nodes, "encoder", [port], [output], self.weights)
        return helper.make_model(
            graph, opset_imports=[helper.make_opsetid("", _OPSET)], ir_version=10
        )


def bert(sizes: Sizes) -> tuple[onnx.ModelProto, Any]:
    """Return an encoder of text, and a function that gives its inputs for a batch."""
    build = _Builder(sizes)
    words = build.op("Gather", build.drawn(_WORDS, sizes.width), "tokens")
    x = build.op("Add", words, build.drawn(sizes.length, sizes.width))
    for _ in range(sizes.layers):
        x = build.layer(x)
    port = helper.make_tensor_value_info("tokens", TensorProto.INT64, ["N", sizes.length])
    rng = np.random.default_rng(1)
    return build.finish(build.norm(x), port), lambda batch: {
        "tokens": rng.integers(0, _WORDS, (batch, sizes.length))
    }


def vit(sizes: Sizes, pixels: int = _PIXELS, patch: int = 16) -> tuple[onnx.ModelProto, Any]:
    """Return an encoder of images, and a function that gives its inputs for a batch."""
    build = _Builder(sizes)
    count = (pixels // patch) ** 2
    weights = build.rng.standard_normal((sizes.width, 3, patch, patch), np.float32)
    weights /= np.float32(np.sqrt(3 * patch * patch))
    x = build.op("Conv", "images", build.constant(weights), strides=[patch, patch])
    x = build.op("Reshape", x, build.constant(np.array([0, sizes.width, count])))
    x = build.op("Add", build.op("Transpose", x, perm=[0, 2, 1]), build.drawn(count, sizes.width))
    for _ in range(sizes.layers):
        x = build.layer(x)
    port = helper.make_tensor_value_info("images", TensorProto.FLOAT, ["N", 3, pixels, pixels])
    rng = np.random.default_rng(1)
    return build.finish(build.norm(x), port), lambda batch: {
        "images": rng.standard_normal((batch, 3, pixels, pixels), np.float32)
    }
