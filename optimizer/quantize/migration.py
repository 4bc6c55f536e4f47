"""Migration of channels' sizes from an activation into weights, for a finer grid of the former.

An activation is divided by a factor for each channel, in what makes it; what multiplies it is
multiplied by the factor. M. Nagel et al., "Data-Free Quantization Through Weight Equalization and
Bias Correction", 2019 (arXiv 1906.04721), derive factors from both weights; G. Xiao et al.,
"SmoothQuant", 2022 (arXiv 2211.10438), from the activation and the weights that multiply it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from ..edits import new_constant
from ..values import attribute, constant, rank, used_once
from .calibration import Run
from .histogram import Histogram
from .layers import Layer, layer_of
from .ranges import choose
from .weights import by_channel

_HOMOGENEOUS = {"Relu", "LeakyRelu", "Identity"}
"""What commutes with positive factors."""
_POOLS = {"MaxPool", "AveragePool", "GlobalAveragePool"}
"""What commutes with positive factors of channels, which lie on axis 1."""
_ROWS, _ROWS_OF_RUN = 512, 64
_STRENGTHS = (0.25, 0.5, 0.75, 1.0)
"""How much of an activation's unevenness moves into weights: SmoothQuant's alpha."""
_GAIN = 0.95
"""Share of the error that has to be left for a migration to be worth it."""


@dataclass(frozen=True)
class Scaled:
    """A constant operand that scales channels, which lie along one of its axes."""

    node: ir.Node
    index: int
    axis: int

    @property
    def array(self) -> np.ndarray:
        """Its contents."""
        array = constant(self.node.inputs[self.index])
        assert array is not None
        return array

    def divide(self, factors: np.ndarray) -> None:
        """Divide its channels, in place."""
        shape = [1] * self.array.ndim
        shape[self.axis] = -1
        _replace(self.node, self.index, self.array / factors.reshape(shape))


@dataclass
class Site:
    """An activation whose channels can be scaled.

    Attributes
    ----------
    value : ir.Value
    scaled : list of Scaled
        Scale it together; the weights of a convolution or product, if there are any, first.
    readers : list of Layer
        All that read the activation.
    rows : list of ndarray
        Some of those that each reader multiplies, shape (groups, n, summed).
    largest : ndarray of float32, shape (channels,)
        Largest magnitude of each channel in all data.
    """

    value: ir.Value
    scaled: list[Scaled]
    readers: list[Layer]
    rows: list[np.ndarray] = field(default_factory=list)
    largest: np.ndarray = field(default_factory=lambda: np.zeros(1, np.float32))

    @property
    def channels(self) -> int:
        """Number of channels."""
        return self.readers[0].groups * self.readers[0].inputs

    def spread(self, layer: Layer, factors: np.ndarray) -> np.ndarray:
        """Factors of channels for what a layer multiplies, shape (groups, 1, summed)."""
        repeated = np.repeat(factors, layer.summed // layer.inputs)
        return repeated.reshape(layer.groups, 1, layer.summed)


def sites(graph: ir.Graph) -> Iterator[Site]:
    """Yield the activations of a graph that alone layers with constant weights read."""
    for node in graph:
        for value in node.outputs:
            found = _site(value)
            if found is not None:
                yield found


def _site(value: ir.Value) -> Site | None:
    if value.is_graph_output() or not value.uses():
        return None
    readers = []
    for reader, index in value.uses():
        layer = layer_of(reader)
        is_odd = layer is None or index or reader.graph is not value.graph
        if is_odd or layer is None or attribute(reader, "transA", 0):
            return None
        readers.append(layer)
    kinds = {(each.groups * each.inputs, each.node.op_type == "Conv") for each in readers}
    sizes = rank(value)
    if len(kinds) != 1 or sizes is None:
        return None
    ((channels, on_images),) = kinds
    scaled = _scaled(value, 1 if on_images else sizes - 1)
    fits = scaled and all(e.array.shape[e.axis] == channels for e in scaled)
    return Site(value, scaled, readers) if scaled and fits else None


def _scaled(value: ir.Value, axis: int) -> list[Scaled] | None:
    """Return constants that scale the channels of a value along an axis; None if nothing can."""
    node, sizes = value.producer(), rank(value)
    if node is None or node.domain or node.graph is not value.graph or sizes is None:
        return None
    if value is not node.outputs[0]:
        return None
    x = node.inputs[0] if node.inputs else None
    if node.op_type in ("Add", "Mul"):
        return _scaled_elementwise(node, axis, sizes)
    if node.op_type == "Transpose" and "perm" in node.attributes:
        return _before(x, list(node.attributes["perm"].as_ints())[axis])
    if node.op_type in _HOMOGENEOUS or (node.op_type in _POOLS and axis == 1):
        return _before(x, axis) if len(node.outputs) == 1 else None
    axes = _own_axes(node, axis, sizes)
    given = [i for i, operand in enumerate(node.inputs) if i and operand is not None]
    are_floats = all(_is_constant(node.inputs[index]) for index in given)
    return [Scaled(node, i, axes[min(i, 2) - 1]) for i in given] if axes and are_floats else None


def _before(x: ir.Value | None, axis: int) -> list[Scaled] | None:
    return _scaled(x, axis) if x is not None and used_once(x) else None


def _is_constant(value: ir.Value | None) -> bool:
    array = constant(value)
    return array is not None and array.dtype == np.float32 and array.ndim > 0


def _scaled_elementwise(node: ir.Node, axis: int, sizes: int) -> list[Scaled] | None:
    """A factor for each channel scales the result; a summand, together with what it is added to."""
    for index in (0, 1):
        if _is_constant(node.inputs[index]):
            array = constant(node.inputs[index])
            assert array is not None
            own = axis - (sizes - array.ndim)
            if own < 0 or array.size != array.shape[own]:
                return None
            operand = [Scaled(node, index, own)]
            if node.op_type == "Mul":
                return operand
            before = _before(node.inputs[1 - index], axis)
            return None if before is None else before + operand
    return None


def _own_axes(node: ir.Node, axis: int, sizes: int) -> tuple[int, int] | None:
    """Axes of channels of a node's weights and bias; None if it has no such."""
    is_last = axis == sizes - 1
    if node.op_type == "Conv":
        return (0, 0) if axis == 1 else None
    if node.op_type in ("LayerNormalization", "RMSNormalization"):
        return (0, 0) if is_last and attribute(node, "axis", -1) == -1 else None
    if node.op_type == "Gemm":
        return (0 if attribute(node, "transB", 0) else 1, 0) if is_last else None
    return (1, 0) if node.op_type == "MatMul" and is_last else None


def migrate(graph: ir.Graph, feeds: Iterable[Mapping[str, Any]], run: Run) -> list[str]:
    """Scale the channels of activations where products of them are then more exact, in place.

    Parameters
    ----------
    graph : ir.Graph
        Float; of the model that ``run`` runs, or of a copy.
    feeds : iterable of mapping
    run : callable
        Gives the values of `sites`.

    Returns
    -------
    list of str
        Names of the activations.
    """
    found = list(sites(graph))
    names = [str(site.value.name) for site in found]
    rng = np.random.default_rng(0)
    for feed in feeds:
        for site, array in zip(found, run(names, feed), strict=True):
            _sample(site, array, rng)
    changed = []
    for site in found:
        factors = _best(site) if site.rows else None
        if factors is not None:
            _apply(site, factors)
            changed.append(str(site.value.name))
        site.rows.clear()
    return changed


def _sample(site: Site, array: np.ndarray, rng: np.random.Generator) -> None:
    axis = 1 if site.readers[0].node.op_type == "Conv" else array.ndim - 1
    others = tuple(i for i in range(array.ndim) if i != axis)
    site.largest = np.maximum(site.largest, np.abs(array).max(others))
    if site.rows and site.rows[0].shape[1] >= _ROWS:
        return
    rows = [layer.rows(array, _ROWS_OF_RUN, rng) for layer in site.readers]
    before = site.rows or [each[:, :0] for each in rows]
    site.rows = [np.concatenate(both, 1) for both in zip(before, rows, strict=True)]


def _best(site: Site) -> np.ndarray | None:
    """Factors with the least error of all products together; None where there should be none."""
    inputs, weights = site.largest, _largest_weights(site)
    is_used = (inputs > 0) & (weights > 0)
    tried = [inputs**share / weights ** (1 - share) for share in _STRENGTHS if is_used.any()]
    weighty = site.scaled[0]
    if weighty.node.op_type in ("Conv", "Gemm", "MatMul"):
        before = np.abs(weighty.array)
        made = before.max(tuple(i for i in range(before.ndim) if i != weighty.axis))
        tried.append(np.sqrt(made / np.maximum(weights, 1e-30)))
    chosen, least = None, _GAIN * _error(site, np.ones(site.channels, np.float32))
    for factors in tried:
        usable = is_used & np.isfinite(factors) & (factors > 0)
        if not usable.any():
            continue
        middle = np.exp(np.log(factors[usable]).mean())
        even = np.where(usable, factors / middle, 1).clip(1e-3, 1e3).astype(np.float32)
        error = _error(site, even)
        if error < least:
            chosen, least = even, error
    return chosen


def _largest_weights(site: Site) -> np.ndarray:
    """Largest magnitude of what multiplies each channel."""
    matrices = [layer.matrices(layer.weights) for layer in site.readers]
    by_reader = [np.abs(each).max(1).reshape(site.channels, -1).max(1) for each in matrices]
    found: np.ndarray = np.max(by_reader, 0)
    return found


def _error(site: Site, factors: np.ndarray) -> float:
    """Squared error of the readers' products, quantized, when channels are divided by factors."""
    total = 0.0
    for layer, rows in zip(site.readers, site.rows, strict=True):
        spread = site.spread(layer, factors)
        weights = layer.matrices(layer.weights)
        exact = rows @ np.swapaxes(weights, 1, 2)
        narrow = _quantized(rows / spread) @ np.swapaxes(_quantized_weights(weights * spread), 1, 2)
        total += float(np.square(exact - narrow).sum())
    return total


def _quantized(rows: np.ndarray) -> np.ndarray:
    histogram = Histogram()
    histogram.add(rows)
    chosen = choose(histogram, "mse", 100)
    steps = np.clip(np.rint(rows / chosen.scale) + np.float32(chosen.zero), 0, 255)
    found: np.ndarray = (steps - np.float32(chosen.zero)) * chosen.scale
    return found


def _quantized_weights(weights: np.ndarray) -> np.ndarray:
    flat = weights.reshape(-1, weights.shape[-1])
    integers, scales = by_channel(flat, 0)
    found: np.ndarray = (integers * scales[:, np.newaxis]).reshape(weights.shape)
    return found


def _apply(site: Site, factors: np.ndarray) -> None:
    for each in site.scaled:
        each.divide(factors)
    for layer in site.readers:
        scaled = layer.matrices(layer.weights) * site.spread(layer, factors)
        _replace(layer.node, 1, layer.placed(scaled))


def _replace(node: ir.Node, index: int, array: np.ndarray) -> None:
    graph, old = node.graph, node.inputs[index]
    assert isinstance(graph, ir.Graph) and old is not None
    node.replace_input_with(
        index, new_constant(graph, array.astype(np.float32), f"{old.name}.even")
    )
