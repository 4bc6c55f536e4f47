"""Layers with constant weights as products of matrices: rows of an activation times weights.

Rounding, correction and migration of weights see convolutions and products alike: a layer has one
matrix (outputs, summed) for each group, and an input gives rows (n, summed) for each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx_ir as ir

from ..values import attribute, constant

Key = tuple[str, str]


@dataclass(frozen=True)
class Layer:
    """A Conv, MatMul or Gemm with constant weights.

    Attributes
    ----------
    node : ir.Node
    groups, outputs, summed : int
        Number of matrices, and sizes of each: output channels, and products that a sum has.
    inputs : int
        Channels of the activation in a group.
    """

    node: ir.Node
    groups: int
    outputs: int
    summed: int
    inputs: int

    @property
    def source(self) -> ir.Value:
        """The activation."""
        value = self.node.inputs[0]
        assert value is not None
        return value

    @property
    def weights(self) -> np.ndarray:
        """Weights as they lie."""
        weights = constant(self.node.inputs[1])
        assert weights is not None
        return weights

    @property
    def key(self) -> Key:
        """What layers have in common that multiply the same rows."""
        return str(self.source.name), "" if self.node.op_type != "Conv" else self._window()

    def _window(self) -> str:
        names = ("group", "dilations", "strides", "pads", "auto_pad")
        given = {name: self.node.attributes.get(name) for name in names}
        return f"{self.weights.shape[2:]} {[str(v and v.value) for v in given.values()]}"

    def matrices(self, weights: np.ndarray) -> np.ndarray:
        """Weights, or numbers in their places, as (groups, outputs, summed)."""
        if self.node.op_type == "Conv":
            return weights.reshape(self.groups, self.outputs, self.summed)
        return (weights if self._is_transposed else weights.T)[np.newaxis]

    def placed(self, matrices: np.ndarray) -> np.ndarray:
        """Numbers of `matrices` in the places of weights."""
        if self.node.op_type == "Conv":
            return matrices.reshape(self.weights.shape)
        return matrices[0] if self._is_transposed else matrices[0].T

    @property
    def _is_transposed(self) -> bool:
        return bool(attribute(self.node, "transB", 0))

    def rows(self, x: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
        """Rows that a run multiplies, at most so many, as (groups, n, summed).

        Parameters
        ----------
        x : ndarray of float32
            Of the activation.
        most : int
            More are drawn without repetition.
        rng : Generator
        """
        if self.node.op_type != "Conv":
            rows = x.T if attribute(self.node, "transA", 0) else x.reshape(-1, self.summed)
            return _some(rows, most, rng)[np.newaxis]
        windows = _windows(x, self.node, self.weights.shape[2:])
        shape = (windows.shape[0], *windows.shape[2 : x.ndim])
        places = _some(np.arange(int(np.prod(shape))), most, rng)
        image, *pixels = np.unravel_index(places, shape)
        index: Any = (image, slice(None), *pixels)
        found = windows[index]  # (n, channels, *kernel)
        return np.moveaxis(found.reshape(len(places), self.groups, self.summed), 1, 0)


def _some(rows: np.ndarray, most: int, rng: np.random.Generator) -> np.ndarray:
    return rows if len(rows) <= most else rows[rng.choice(len(rows), most, replace=False)]


def _windows(x: np.ndarray, node: ir.Node, kernel: tuple[int, ...]) -> np.ndarray:
    """View of what a kernel sees at each place: (images, channels, *places, *kernel)."""
    axes = len(kernel)

    def numbers(name: str, default: int) -> list[int]:
        given = node.attributes[name].as_ints() if name in node.attributes else [default] * axes
        return list(given)

    strides, dilations = numbers("strides", 1), numbers("dilations", 1)
    spans = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    auto = node.attributes["auto_pad"].as_string() if "auto_pad" in node.attributes else "NOTSET"
    if auto.startswith("SAME"):
        ends = []
        for size, stride, span in zip(x.shape[2:], strides, spans, strict=True):
            total = max((-(-size // stride) - 1) * stride + span - size, 0)
            less = total // 2
            ends.append((less, total - less) if auto == "SAME_UPPER" else (total - less, less))
    else:
        pads = list(node.attributes["pads"].as_ints()) if "pads" in node.attributes else []
        pads = pads if auto == "NOTSET" and pads else [0] * 2 * axes
        ends = list(zip(pads[:axes], pads[axes:], strict=True))
    padded = np.pad(x, [(0, 0), (0, 0), *ends])
    seen = np.lib.stride_tricks.sliding_window_view(padded, spans, tuple(range(2, 2 + axes)))
    taken = [slice(None), slice(None), *(slice(None, None, s) for s in strides)]
    taken += [slice(None, None, d) for d in dilations]
    windows: np.ndarray = seen[tuple(taken)]
    return windows


def layer_of(node: ir.Node) -> Layer | None:
    """Return the layer that a node is, if it has finite constant weights of float32."""
    if node.domain or node.op_type not in ("Conv", "MatMul", "Gemm"):
        return None
    weights = constant(node.inputs[1])
    if weights is None or weights.dtype != np.float32 or not weights.size:
        return None
    if constant(node.inputs[0]) is not None or not np.isfinite(weights).all():
        return None
    if node.op_type == "Conv":
        groups = attribute(node, "group", 1)
        summed = int(np.prod(weights.shape[1:]))
        return Layer(node, groups, weights.shape[0] // groups, summed, weights.shape[1])
    if weights.ndim != 2:
        return None
    outputs, summed = weights.shape if attribute(node, "transB", 0) else weights.shape[::-1]
    return Layer(node, 1, outputs, summed, summed)


def layers_of(graph: ir.Graph) -> Iterator[Layer]:
    """Yield the layers of a graph, not of bodies in it."""
    for node in graph:
        if (layer := layer_of(node)) is not None:
            yield layer
