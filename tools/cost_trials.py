"""Trials of kernels whose times the cost model of this machine is fitted to (``kernels.costs``).

Trials of a kind take turns with multiply-adds of vectors at their peak, which are the unit of their
times: whatever slows down the machine meets both.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from ..kernels.amx_permission import has_amx
from ..kernels.compiler import native_function
from ..kernels.costs import Costs
from ..kernels.cpu import amx_tile, packing
from ..kernels.cpu.operands import most_rows, operand_form, tile_run
from ..kernels.cpu.tile import FEW_ROWS, OPERANDS, tile
from ..kernels.cpu.units import busy
from ..kernels.machine_costs import costs_given
from ..kernels.precompile import compile_all
from ..kernels.target import L1_BYTES, L2_BYTES, LANES
from ..kernels.trials import least_times
from ..runtime.choices import Form
from ..runtime.engine import Engine
from ..runtime.ops.winograd_costs import Layer, count_matrices, count_tiles, counts
from ..runtime.options import checked_options, sorted_choices
from ..runtime.program_cache import open_program
from .pass_trials import product_runs
from .vector_trials import ROUNDS, VECTORS, vector_runs

_DEPTHS = 16, 64
"""Lengths of sums, of which weights of four vectors stay in the first-level cache."""
_ROWS = 1, 4, 14
_BLOCKS, _APART = (2, 3, 4), 24
"""Vectors of tiles whose weights come from either cache, and steps that their sums lack."""
_BURSTS, _TURNS = 3, 20
_UNIT_ROUNDS, _UNIT_CHAINS = 50_000, 12
"""Multiply-adds that are the unit of times: about 150 us of them."""
_MULTIPLY_ADDS = 100_000
"""Of a trial of tiles, beside which a call costs little."""
_RUNS = 6
"""Of layers, in each of the bursts."""


@dataclasses.dataclass(frozen=True)
class TrialLayer:
    """A convolution of an image that is as large after as before.

    Attributes
    ----------
    kernel
        Rows and columns of its window, which is square.
    channels, filters, size
        Before and after, and rows (and columns) of pixels.
    kind
        ``"f32"``, or ``"u8"``.
    has_residual
        Whether images are added to the results.
    """

    kernel: int
    channels: int
    filters: int
    size: int
    kind: str = "f32"
    has_residual: bool = False

    @property
    def words(self) -> int:
        """Channels, of bytes in words of four."""
        return self.channels // 4 if self.kind == "u8" else self.channels

    @property
    def width(self) -> int:
        """Pixels of a row, which is the whole image where the window is one pixel."""
        return self.size**2 if self.kernel == 1 else self.size

    @property
    def rows(self) -> int:
        """Rows of so many pixels."""
        return self.size**2 // self.width

    @property
    def layer(self) -> Layer:
        """What Winograd's forms know of it."""
        kernel = self.kernel, self.kernel
        return Layer(kernel, (1, 1), self.words, self.filters, kind=self.kind)

    def forms(self) -> list[Form]:
        """List the forms that are tried."""
        if self.kind == "u8" and has_amx():
            vectors = min(amx_tile.MOST_VECTORS, -(-self.filters // LANES))
            return [Form("direct", (amx_tile.MOST_ROWS, vectors))]
        depth, stride = self.kernel**2 * self.words, 4 * self.words
        tiles = packing.rank_tiles(
            self.width, self.filters, depth, stride, self.kind, rows=self.rows
        )
        count = 1 if self.kind == "u8" else len(tiles)
        winograd = _WINOGRAD if self.kernel == 3 and self.size in _SIZES else ()
        return [*(Form("direct", tile) for tile in tiles[:count]), *winograd]

    def tile_terms(self, form: Form, chain: float) -> tuple[float, ...]:
        """Return what the coefficients of `TileCosts` are multiplied by in a direct form."""
        depth, stride, (limit, nv) = self.kernel**2 * self.words, 4 * self.words, form.sizes
        terms = packing.pixel_terms(
            self.width, self.filters, depth, stride, nv, chain, limit, self.rows
        )
        return tuple(self.size**2 * term for term in terms)

    def winograd_terms(self, form: Form) -> tuple[float, ...]:
        """Return what the coefficients of `WinogradCosts` are multiplied by."""
        if form.algorithm == "direct":
            return (
                self.size**2 * self.layer.pixel_terms(self.width, self.rows),
                0.0,
                0.0,
                0.0,
                0.0,
                0.0,
            )
        tiles = count_tiles((1, self.size, self.size), form.sizes)
        points, _ = counts(form.sizes, self.layer.kernel, self.layer.strides)
        terms = (tiles * term for term in self.layer.tile_terms(form.sizes, tiles))
        return 0.0, *terms, tiles, points


class LayerTrial(NamedTuple):
    """A layer in a form, and what it takes in multiply-adds of vectors, by burst."""

    layer: TrialLayer
    form: Form
    costs: tuple[float, ...]


def tile_costs(form: str) -> dict[str, float]:
    """Run tiles of a form of operands (``cpu.tile.OPERANDS``) on numbers in the first cache.

    Returns
    -------
    dict of str to float
        Multiply-adds of vectors that a core does meanwhile at its peak for each of the tile's, by
        ``"rows x vectors x depth"``.
    """
    sizes = [
        (rows, vectors)
        for vectors in range(1, 5)
        for rows in dict.fromkeys(min(n, most_rows(vectors, form)) for n in _ROWS)
        if form == OPERANDS[0] or rows > FEW_ROWS  # tiles of few rows have one form
    ]
    compile_all(tile(*size, "f32", form).ref for size in sizes)
    shapes = [(*size, depth) for size in sizes for depth in _DEPTHS]
    counts = [_MULTIPLY_ADDS // math.prod(shape) for shape in shapes]
    runs = [
        tile_run(rows, vectors, form, depth, count)
        for (rows, vectors, depth), count in zip(shapes, counts, strict=True)
    ]
    work = [math.prod(shape) * count for shape, count in zip(shapes, counts, strict=True)]
    return {
        " x ".join(map(str, shape)): round(cost / own, 3)
        for shape, own, cost in zip(shapes, work, _in_units(runs), strict=True)
    }


def reload_cost() -> float:
    """Run tiles on weights of half of either cache; what a vector costs more from the second."""
    form = operand_form()
    sizes = [(most_rows(vectors, form), vectors) for vectors in _BLOCKS]
    runs, loads = list[Callable[[], Any]](), list[int]()
    for count in (L1_BYTES // 2, L2_BYTES // 2):
        for rows, vectors in sizes:
            # A little less, so that rows of the image do not meet in the sets of a cache.
            depth = count // (4 * LANES * vectors) - _APART
            tiles = max(_MULTIPLY_ADDS // (depth * rows * vectors), 2)
            runs.append(tile_run(rows, vectors, form, depth, tiles))
            loads.append(depth * vectors * tiles)
    costs = [cost / count for cost, count in zip(_in_units(runs), loads, strict=True)]
    first, second = costs[: len(sizes)], costs[len(sizes) :]
    more = [far - near for near, far in zip(first, second, strict=True)]
    return round(max(float(np.median(more)), 0.0), 3)


def vector_costs() -> dict[str, float]:
    """Run accesses of vectors to memory; their cost in multiply-adds of vectors, by name."""
    runs = vector_runs()
    costs = _in_units(list(runs.values()))
    return {
        name: round(cost / (VECTORS * ROUNDS), 3) for name, cost in zip(runs, costs, strict=True)
    }


def widened_cost() -> float:
    """Run products of few rows; what a vector of float16 costs more than one of float32."""
    floats, halves = _in_units(list(product_runs().values()))
    return round(max(halves - floats, 0.0) / (VECTORS * ROUNDS), 3)


def _unit_run() -> Callable[[], Any]:
    """Return what does `_UNIT_ROUNDS` times `_UNIT_CHAINS` multiply-adds."""
    kernel = busy("float32")
    x, y = np.zeros(32, np.float32), np.zeros(16 * _UNIT_CHAINS, np.float32)
    record = kernel.record(x=x, y=y, rounds=_UNIT_ROUNDS)
    call = native_function(kernel.address)

    def run(kept: Any = (x, y)) -> None:
        call(record.ctypes.data)

    return run


def unit_rate() -> float:
    """Return the multiply-adds of vectors that a core does in a nanosecond."""
    (ns,) = least_times([_unit_run()], _BURSTS * _TURNS)
    return _UNIT_ROUNDS * _UNIT_CHAINS / ns


def _in_units(runs: Sequence[Callable[[], Any]]) -> list[float]:
    """Return the times of runs in multiply-adds."""
    unit, *times = least_times([_unit_run(), *runs], _BURSTS * _TURNS)
    return [ns * _UNIT_ROUNDS * _UNIT_CHAINS / unit for ns in times]


# --- layers -----------------------------------------------------------------------------------


_SIZES = (7, 8, 10, 14, 20, 28, 56, 112)
"""Of images whose convolutions are tried in Winograd's forms, too."""
_SMALL = 14
"""Size up to which an image is small beside the weights."""
_WINOGRAD = Form("winograd", (4, 4)), Form("winograd", (2, 2))
_LAYERS = [TrialLayer(3, *sizes) for sizes in (
    (64, 64, 56), (32, 128, 28), (128, 32, 28), (128, 128, 28), (16, 64, 56), (64, 16, 56),
    (256, 64, 14), (64, 256, 14), (32, 64, 40), (48, 96, 20), (96, 48, 10), (96, 96, 7),
    (8, 16, 8), (16, 16, 8), (32, 32, 8), (16, 32, 14), (128, 128, 8), (3, 32, 112), (8, 16, 56),
)] + [TrialLayer(1, *sizes) for sizes in (
    (64, 256, 28), (256, 64, 28), (128, 128, 20), (24, 144, 28), (144, 24, 28), (16, 96, 40),
    (576, 96, 14), (512, 512, 7), (256, 64, 56), (256, 128, 56), (64, 256, 56), (1024, 256, 14),
    (256, 1024, 14), (2048, 512, 7), (32, 32, 56), (64, 32, 40),
)] + [TrialLayer(1, *sizes, has_residual=True) for sizes in (
    (64, 256, 56), (128, 512, 28), (256, 1024, 14),
)] + [TrialLayer(1, *sizes) for sizes in (
    (512, 512, 2), (256, 512, 3), (512, 512, 3), (256, 256, 4), (512, 512, 5),
)]  # fmt: skip
"""Layers whose weights fit a cache; the last ones have as few pixels as points of small images."""
_STREAMED = TrialLayer(3, 512, 512, 7), TrialLayer(3, 512, 480, 7)
"""Layers whose weights for `_STREAMED_FORM`, 70 MiB, meet four pixels each, and few caches hold."""
_STREAMED_FORM = _WINOGRAD[0]
_BYTE_LAYERS = [TrialLayer(3, *sizes, "u8") for sizes in (
    (64, 64, 56), (64, 128, 28), (128, 64, 28), (128, 128, 28),
)]  # fmt: skip


def layer_trials() -> list[LayerTrial]:
    """Run convolutions in their direct forms, and in some of Winograd's."""
    return tried([*_LAYERS, *([] if has_amx() else _BYTE_LAYERS)])


def streamed_weight_cost(costs: Costs) -> float:
    """Run layers whose weights meet a single tile; what a byte of these takes beside products.

    ``costs`` say what all else takes.
    """
    free = costs._replace(streams=costs.streams._replace(weights=0.0))
    beside, count = 0.0, 0
    with costs_given(free):
        for layer, form, times in tried(_STREAMED, lambda _: [_STREAMED_FORM]):
            sizes, own = form.sizes, layer.layer
            tiles = count_tiles((1, layer.size, layer.size), sizes)
            beside += min(times) - own.by_tiles(sizes, tiles).at(tiles)
            matrices = count_matrices(sizes, own.kernel, own.strides)
            count += 4 * matrices * layer.channels * layer.filters
    return round(max(beside / count, 0.0), 4)


def tried(
    layers: Sequence[TrialLayer], forms: Callable[[TrialLayer], list[Form]] = TrialLayer.forms
) -> list[LayerTrial]:
    """Run layers in some forms, those that are tried."""
    cases = {
        f"{number} {form}": (layer, form)
        for number, layer in enumerate(layers)
        for form in forms(layer)
    }
    _, options = checked_options(1, "fp32", "none")
    chosen = sorted_choices({
        each: str(form) for name, (layer, form) in cases.items()
        for each in _nodes(name, layer, form)
    })  # fmt: skip
    program = open_program(_model(cases), {**options, "choices": chosen})
    engine = Engine(program, 1)
    rng = np.random.default_rng(0)
    feeds = {}
    for port in program.inputs:
        shape = [dim for dim in port.dims or () if isinstance(dim, int)]
        feeds[port.name] = rng.integers(0, 255, shape).astype(port.dtype)
    bursts = [_layer_times(engine, feeds, list(cases)) for _ in range(_BURSTS)]
    return [
        LayerTrial(layer, form, tuple(burst[name] for burst in bursts))
        for name, (layer, form) in cases.items()
    ]


def _layer_times(engine: Engine, feeds: dict[str, Any], names: Sequence[str]) -> dict[str, float]:
    """Return what layers take, in multiply-adds."""
    unit = _unit_run()
    (ns,) = least_times([unit], _TURNS)
    steps = engine.profile(feeds, runs=_RUNS, warmup=1).steps
    (later,) = least_times([unit], _TURNS)
    unit_ns = min(ns, later) / (_UNIT_ROUNDS * _UNIT_CHAINS)
    times = dict.fromkeys(names, 0.0)
    for step in steps:
        for name in step.nodes:
            if name in times:
                times[name] += float(np.quantile(step.times_ns, 0.1)) / unit_ns
    return times


def _nodes(name: str, layer: TrialLayer, form: Form) -> list[str]:
    """Return the names of a trial's nodes, of which the last one is measured."""
    is_cold = layer not in _STREAMED and (form == layer.forms()[0] or layer.size <= _SMALL)
    return [f"{name} before", name] if is_cold else [name]


def _model(cases: dict[str, tuple[TrialLayer, Form]]) -> bytes:
    """Return a model of convolutions, those of a layer one after the other.

    Before them the first form runs once more, which brings image and weights into the caches as
    in a network, where another layer has just made the image; so do others of small images, that
    pack the weights in another way. Results are read and forgotten.
    """
    rng = np.random.default_rng(0)
    scale, zero = np.array(0.01, np.float32), np.array(128, np.uint8)
    named: dict[str, np.ndarray] = {"scale": scale, "zero": zero}
    named["none"] = np.array(0, np.int8)
    nodes, inputs, outputs = [], {}, []
    for name, (layer, form) in cases.items():
        is_float, x = layer.kind == "f32", f"{layer} x"
        element = TensorProto.FLOAT if is_float else TensorProto.UINT8
        if x not in inputs:
            sizes = [1, layer.channels, layer.size, layer.size]
            inputs[x] = helper.make_tensor_value_info(x, element, sizes)
            weights = rng.integers(-3, 4, (layer.filters, layer.channels, *[layer.kernel] * 2))
            if layer.has_residual:
                r, sizes[1] = f"{layer} r", layer.filters
                inputs[r] = helper.make_tensor_value_info(r, element, sizes)
            named[f"{layer} w"] = weights.astype("f4" if is_float else "i1")
        for each in _nodes(name, layer, form):
            y, pads = f"{each} y", [layer.kernel // 2] * 4
            operands = [x, f"{layer} w"]
            if not is_float:
                operands = [x, "scale", "zero", f"{layer} w", "scale", "none", "scale", "zero"]
            kind = "Conv" if is_float else "QLinearConv"
            nodes.append(helper.make_node(kind, operands, [y], each, pads=pads))
            if layer.has_residual:
                nodes.append(helper.make_node("Add", [y, f"{layer} r"], [f"{each} sum"]))
                y = f"{each} sum"
            nodes.append(helper.make_node("ReduceMax", [y], [f"{each} most"], keepdims=0))
            outputs.append(helper.make_tensor_value_info(f"{each} most", element, []))
    constants = [numpy_helper.from_array(array, key) for key, array in named.items()]
    graph = helper.make_graph(nodes, "layers", list(inputs.values()), outputs, constants)
    opset = helper.make_opsetid("", 21)
    return helper.make_model(graph, opset_imports=[opset], ir_version=10).SerializeToString()
