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
from ..values import attribute, constant, used_once
from .calibration import Run
from .histogram import Histogram
from .layers import Layer, layer_of
from .ranges import choose
from .weights import by_channel

_HOMOGENEOUS = {"Relu", "LeakyRelu", "Identity", "MaxPool", "AveragePool", "GlobalAveragePool"}
"""What commutes with positive factors of channels, where these lie on axis 1."""
_ROWS, _ROWS_OF_RUN = 256, 64
_STRENGTHS = (0.25, 0.5, 0.75)
"""How much of an activation's unevenness moves into weights: SmoothQuant's alpha."""
_GAIN = 0.95
"""Share of the error that has to be left for a migration to be worth it."""


@dataclass
class Site:
    """An activation whose channels can be scaled.

    Attributes
    ----------
    value : ir.Value
    producer : ir.Node
        Scales them: by its operands of `scaled`.
    scaled : dict of int to int
        Constant operands of the producer, with their axis of channels.
    readers : list of Layer
        All that read the activation.
    rows : list of ndarray
        Of each reader, shape (groups, n, summed).
    """

    value: ir.Value
    producer: ir.Node
    scaled: dict[int, int]
    readers: list[Layer]
    rows: list[np.ndarray] = field(default_factory=list)

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
        if layer is None or index or reader.graph is not value.graph or _is_odd(reader):
            return None
        readers.append(layer)
    if len({each.groups * each.inputs for each in readers}) != 1:
        return None
    on_images = readers[0].node.op_type == "Conv"
    made = value
    node = made.producer()
    while node is not None and node.op_type in _HOMOGENEOUS and not node.domain:
        before = node.inputs[0]
        elementwise = node.op_type in ("Relu", "LeakyRelu", "Identity")
        if before is None or not used_once(before) or not (elementwise or on_images):
            return None
        made, node = before, before.producer()
    if node is None or node.graph is not value.graph:
        return None
    scaled = _scaled(node, on_images)
    site = Site(value, node, scaled, readers)
    arrays = [constant(node.inputs[index]) for index in scaled]
    axes = list(scaled.values())
    fits = all(
        array is not None and array.dtype == np.float32 and array.ndim and array.shape[axis] == n
        for array, axis, n in zip(arrays, axes, [site.channels] * len(axes), strict=True)
    )
    return site if scaled and fits else None


def _is_odd(node: ir.Node) -> bool:
    return bool(attribute(node, "transA", 0))


def _scaled(node: ir.Node, on_images: bool) -> dict[int, int]:
    """Operands of a node that scale the channels of its result, with their axes, if it has such."""
    given = range(1, sum(value is not None for value in node.inputs))
    if node.domain or (on_images and node.op_type != "Conv"):
        return {}
    if node.op_type == "Conv":
        return dict.fromkeys(given, 0) if on_images else {}
    if node.op_type in ("LayerNormalization", "RMSNormalization"):
        last = attribute(node, "axis", -1) == -1 and len(node.outputs) == 1
        return dict.fromkeys(given, 0) if last else {}
    if node.op_type == "Gemm":
        return {1: 0 if attribute(node, "transB", 0) else 1} | dict.fromkeys(given[1:], 0)
    return {1: 1} if node.op_type == "MatMul" else {}


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
    if site.rows and site.rows[0].shape[1] >= _ROWS:
        return
    rows = [layer.rows(array, _ROWS_OF_RUN, rng) for layer in site.readers]
    before = site.rows or [each[:, :0] for each in rows]
    site.rows = [np.concatenate(both, 1) for both in zip(before, rows, strict=True)]


def _best(site: Site) -> np.ndarray | None:
    """Factors with the least error of all products together; None where there should be none."""
    inputs = _largest(site, site.rows)
    weights = _largest(site, [layer.matrices(layer.weights) for layer in site.readers])
    is_used = (inputs > 0) & (weights > 0)
    tried = [inputs**share / weights ** (1 - share) for share in _STRENGTHS if is_used.any()]
    if site.producer.op_type not in ("LayerNormalization", "RMSNormalization"):
        before = constant(site.producer.inputs[1])
        assert before is not None
        axis = site.scaled[1]
        made = np.abs(before).max(tuple(i for i in range(before.ndim) if i != axis))
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


def _largest(site: Site, arrays: list[np.ndarray]) -> np.ndarray:
    """Largest magnitude of each channel in arrays (groups, n, summed) of the readers."""
    by_reader = [np.abs(array).max(1).reshape(site.channels, -1).max(1) for array in arrays]
    found: np.ndarray = np.max(by_reader, 0).astype(np.float64)
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
    for index, axis in site.scaled.items():
        array = constant(site.producer.inputs[index])
        assert array is not None
        shape = [1] * array.ndim
        shape[axis] = -1
        _replace(site.producer, index, array / factors.reshape(shape))
    for layer in site.readers:
        scaled = layer.matrices(layer.weights) * site.spread(layer, factors)
        _replace(layer.node, 1, layer.placed(scaled))


def _replace(node: ir.Node, index: int, array: np.ndarray) -> None:
    graph, old = node.graph, node.inputs[index]
    assert isinstance(graph, ir.Graph) and old is not None
    node.replace_input_with(
        index, new_constant(graph, array.astype(np.float32), f"{old.name}.even")
    )
