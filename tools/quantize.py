"""Quantization of a model: calibration runs here, and what they led to."""

from __future__ import annotations

import os
import sys
import time
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidArgument
from . import text
from .calibration_data import calibration_feeds

if TYPE_CHECKING:
    import onnx_ir as ir
    from rich.console import Console

    from ..optimizer.quantize.ranges import Range

MODES = ("static", "dynamic", "weights")
_TAKEN = {
    "static": "convolution or product in the main graph",
    "dynamic": "product",
    "weights": "convolution, product or lookup",
}


@dataclass(frozen=True)
class QuantizedTensor:
    """A tensor of a statically quantized model, with all that share its grid.

    Attributes
    ----------
    name : str
    method : str
        What chose its range.
    low, high : float
        Range of the numbers that it can hold.
    scale : float
    zero : int
    noise : float
        Mean squared error of quantizing it, as a part of its mean square, in calibration.
    """

    name: str
    method: str
    low: float
    high: float
    scale: float
    zero: int
    noise: float


@dataclass
class Quantization:
    """A quantized model, and what was found on the way.

    Attributes
    ----------
    model : onnx_ir.Model
        Standard ONNX.
    mode : str
    count : int
        Convolutions and products, or weights, that are quantized.
    tensors : list of QuantizedTensor
        Of ``"static"``.
    runs : int
        Of calibration.
    seconds : float
        All that was done.
    """

    model: ir.Model
    mode: str
    count: int = 0
    tensors: list[QuantizedTensor] = field(default_factory=list)
    runs: int = 0
    seconds: float = 0.0


def quantize(
    source: Any,
    data: Any = None,
    path: str | os.PathLike[str] | None = None,
    *,
    mode: str = "static",
    method: str = "auto",
    percentile: float = 99.99,
    products: bool = False,
    bits: int = 8,
    block: int = 32,
    rounding: str = "nearest",
    threads: int | None = None,
    target_opset: int | None = None,
) -> Quantization:
    """Quantize a float model: standard ONNX comes out, for any runtime.

    Parameters
    ----------
    source
        Anything `sardonyx.load` takes.
    data
        Inputs to calibrate on, for ``"static"``: a mapping of arrays by input (samples along the
        first axis), an array for an only input, an iterable of feeds, or a path of ``.npz`` or
        ``.npy`` files. It is read once.
    path : path, optional
        The ONNX file to write, if all went well.
    mode : {"static", "dynamic", "weights"}
        ``"static"``: activations uint8, weights int8, for convolutions, products and what lies
        between, with QuantizeLinear and DequantizeLinear. ``"dynamic"``: products quantize their
        left side in each run; no data is needed. ``"weights"``: only constants are of few bits.
    method : {"auto", "minmax", "average", "percentile", "entropy", "mse"}
        What chooses the range of a tensor: the numbers seen, the average of each run's least and
        largest, all but a few, the least Kullback-Leibler divergence, the least squared error, or
        whichever of these has the least squared error.
    percentile : float
        Part of the numbers, of 100, that ``"percentile"`` keeps.
    products : bool
        Also quantize products of two activations, such as those of attention.
    bits : {8, 4}
        Of weights, for ``"weights"``.
    block : int
        Weights that have a scale together, for 4 bits.
    rounding : {"nearest", "mse"}
        Of 4 bits: the range of a block is that of its weights, or has the least squared error.
    threads : int, optional
        Of the runs.
    target_opset : int, optional
        As `sardonyx.save` takes it.

    Returns
    -------
    Quantization

    Raises
    ------
    InvalidArgument
        Data is missing, empty, NaN, or does not fit the model; an option is not known; the model
        is quantized already, or holds nothing to quantize. Nothing is written.
    SardonyxError
        As `sardonyx.load`, `sardonyx.Session` and `sardonyx.save` raise them.

    Warns
    -----
    UserWarning
        A tensor is zero in all runs: names it.
    """
    from ..importers import load, save
    from ..optimizer.cleanup import remove_dead
    from ..optimizer.names import make_names_unique
    from ..optimizer.quantize.preparation import prepared
    from ..optimizer.report import Report

    start = time.perf_counter()
    _check(mode, method, percentile, bits, block, rounding)
    done = Quantization(prepared(load(source)), mode)
    if mode == "static" and data is None:
        raise InvalidArgument("static quantization needs calibration data: give some inputs")
    if mode == "static":
        _quantize_static(done, data, method, percentile, products, threads)
    elif mode == "dynamic":
        from ..optimizer.quantize.dynamic import write_dynamic

        done.count = write_dynamic(done.model)
    else:
        from ..optimizer.quantize.weight_only import write_weights

        done.count = write_weights(done.model, bits, block, rounding)
    if not done.count:
        raise InvalidArgument(
            f"nothing to quantize ({mode}): no {_TAKEN[mode]} of float32 with constant weights"
        )
    report = Report()
    remove_dead(done.model, report)
    make_names_unique(done.model, report)
    if path is not None:
        save(done.model, path, target_opset=target_opset)
    done.seconds = time.perf_counter() - start
    return done


def _check(mode: str, method: str, percentile: float, bits: int, block: int, rounding: str) -> None:
    from ..optimizer.quantize.ranges import METHODS

    for name, value, known in (
        ("mode", mode, MODES),
        ("method", method, ("auto", *METHODS)),
        ("bits", bits, (8, 4)),
        ("rounding", rounding, ("nearest", "mse")),
    ):
        if value not in known:
            options = ", ".join(map(str, known))
            raise InvalidArgument(f"{name} must be one of {options}, not {value!r}")
    if not 50 < percentile <= 100:
        raise InvalidArgument(f"percentile must lie above 50 and up to 100, not {percentile}")
    if block < 16 or block & (block - 1):
        raise InvalidArgument(f"block must be a power of two from 16, not {block}")


def _quantize_static(
    done: Quantization,
    data: Any,
    method: str,
    percentile: float,
    products: bool,
    threads: int | None,
) -> None:
    """Calibrate and quantize the model, in place."""
    from ..optimizer.quantize.calibration import calibrate, choose_ranges, observed_model
    from ..optimizer.quantize.regions import find_regions
    from ..optimizer.quantize.static import write_static
    from ..runtime.session import Session

    model = done.model
    regions = find_regions(model.graph, products=products)
    done.count = len(regions.heads)
    if not done.count:
        return
    observed, names = observed_model(model, regions)
    with Session(observed, threads=threads) as session:

        def feeds() -> Iterator[Mapping[str, np.ndarray]]:
            for feed in _shown(calibration_feeds(model, data)):
                done.runs += 1
                yield feed

        histograms = calibrate(regions, names, feeds(), session.run)
    ranges = choose_ranges(histograms, method, percentile)
    for grid, each in ranges.items():
        if each.is_empty:
            warnings.warn(
                f"tensor {grid.name!r} is zero in all runs: it is quantized to zero",
                stacklevel=3,
            )
    done.tensors = [_row(str(grid.name), each) for grid, each in ranges.items()]
    write_static(model.graph, regions, ranges)


def _row(name: str, chosen: Range) -> QuantizedTensor:
    return QuantizedTensor(
        name, chosen.method, chosen.low, chosen.high, float(chosen.scale), int(chosen.zero),
        chosen.noise,
    )  # fmt: skip


def _shown(feeds: Iterable[Any]) -> Iterable[Any]:
    """Show progress on a terminal."""
    if not sys.stderr.isatty():
        return feeds
    from rich.progress import track

    return track(feeds, "calibrating", console=text.console(stderr=True), transient=True)


_WORST = 3


def print_quantization(
    done: Quantization, console: Console, before: int, after: int, worst: int = _WORST
) -> None:
    """Print what was quantized, the tensors that lose most, and the size in bytes."""
    rows: Sequence[QuantizedTensor] = sorted(done.tensors, key=lambda each: -each.noise)[:worst]
    if rows:
        table = text.table("", "tensors that lose most", "range by", "least:", "largest:", "SQNR:")
        for each in rows:
            decibels = -10 * np.log10(each.noise) if each.noise else np.inf
            table.add_row(
                each.name, each.method, f"{each.low:.4g}", f"{each.high:.4g}", f"{decibels:.1f} dB"
            )
        text.show(console, table)
    runs = f", {done.runs} runs of calibration" if done.runs else ""
    what = "weights" if done.mode == "weights" else "convolutions and products"
    console.print(
        f"{done.count} {what} quantized ({done.mode}){runs}, {text.duration(1e9 * done.seconds)}; "
        f"{text.size(before)} became {text.size(after)}",
        highlight=False,
        soft_wrap=True,
    )
