"""Quantization of a model: calibration runs here, and what they led to."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidArgument
from . import histogram_plots
from .budget import Searcher
from .calibrated import Calibrated, calibrate
from .calibration_data import calibration_feeds
from .calibration_images import ImageOptions, with_images
from .drops import Feed, Held, Metric
from .few_bits import write_halves, write_weights
from .layer_report import LayerRow, layer_rows
from .quantize_options import check_options
from .refinements import Refinements, equalized, kept
from .verification import Measured, Verification, measure, with_first

if TYPE_CHECKING:
    import onnx_ir as ir

    from ..optimizer.quantize.ranges import Range

_TAKEN = {
    "static": "convolution or product in the main graph",
    "dynamic": "product",
    "weights": "convolution, product or lookup",
    "fp16": "operator",
    "bf16": "operator",
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
    equalized : list of str
        Activations whose channels were scaled.
    seconds : float
        All that was done.
    layers : list of LayerRow
        With ``max_drop`` or ``report``.
    drop : float, optional
        What results lose on data that calibration has not seen, in points of ``metric``.
    metric : str
    verified : int
        Samples of that data.
    ns, float_ns : float, optional
        Of a run of one sample, and of the float model's.
    refusals : list of str
        Why the file was not written, or would not have been without ``force``.
    written : bool
    """

    model: ir.Model
    mode: str
    count: int = 0
    tensors: list[QuantizedTensor] = field(default_factory=list)
    runs: int = 0
    equalized: list[str] = field(default_factory=list)
    seconds: float = 0.0
    layers: list[LayerRow] = field(default_factory=list)
    drop: float | None = None
    metric: str = ""
    verified: int = 0
    ns: float | None = None
    float_ns: float | None = None
    refusals: list[str] = field(default_factory=list)
    written: bool = False


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
    offsets: bool = False,
    equalize: bool = False,
    correct: bool = False,
    ports: bool = False,
    images: ImageOptions | None = None,
    keep: Sequence[str] = (),
    max_drop: float | None = None,
    metric: str | Metric | None = None,
    labels: Any = None,
    validation: Any = None,
    report: bool = False,
    plots: str | os.PathLike[str] | None = None,
    force: bool = False,
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
        ``.npy`` files, or of a folder of images. It is read once.
    path : path, optional
        The ONNX file to write, if all went well.
    mode : {"static", "dynamic", "weights", "fp16", "bf16"}
        ``"static"``: activations uint8, weights int8, for convolutions, products and what lies
        between, with QuantizeLinear and DequantizeLinear. ``"dynamic"``: products quantize their
        left side in each run; no data is needed. ``"weights"``: only constants are of few bits.
        ``"fp16"``, ``"bf16"``: weights, and what is computed, are halves.
    method : {"auto", "minmax", "average", "percentile", "entropy", "mse"}
        What chooses the range of a tensor: the numbers seen, the average of each run's least and
        largest, all but a few, the least Kullback-Leibler divergence, the least squared error, or
        whichever of these has the least squared error.
    percentile : float
        Part of the numbers, of 100, that ``"percentile"`` keeps.
    products : bool
        Also quantize products of two activations, such as those of attention.
    bits : {8, 4}
        Of weights, for ``"weights"``. Products with a table that is looked up, too, have 8; what
        had 4 before, in blocks, is not rounded again.
    block : int
        Weights that have a scale together, for 4 bits; the largest power of two below that divides
        them, where it does not.
    rounding : {"nearest", "mse", "hqq", "gptq", "adaround"}
        Of weights. ``"mse"``, for 4 bits: the range of a block has the least squared error.
        ``"hqq"``, for 4 bits: scales and zero points are then sought (Badri 2023).
        ``"gptq"`` and ``"adaround"``, for ``"static"`` and ``"weights"``: a layer's outputs on the
        data have the least squared error (Frantar 2022, Nagel 2020).
    offsets : bool
        Of ``"hqq"``: zero points may lie between whole numbers, which ONNX writes as further rows
        of weights. They multiply sums of the other operand.
    equalize : bool
        Let sizes of channels migrate from activations into weights where this makes products on the
        data more exact, for ``"static"`` (Nagel 2019, Xiao 2022).
    correct : bool
        Let biases take up the mean errors that rounded weights make on the data, for ``"static"``
        and ``"weights"`` (Nagel 2019).
    images : ImageOptions, optional
        How images of a folder are prepared, where the model does not say.
    ports : bool
        Whether inputs and outputs of the model become ``"fp16"`` or ``"bf16"``, too.
    keep : sequence of str
        What stays float32. For ``"static"``, names of convolutions and products; for ``"weights"``,
        names of products that keep 8 bits where others have 4; for ``"fp16"`` and
        ``"bf16"``, names of nodes, or operators, beside those that do anyway (`write_halves`).
    max_drop : float, optional
        Points that results may lose, in hundredths of the metric. ``"static"`` then takes the mix
        of precisions that is fastest on this machine and loses no more on data that calibration
        has not seen; other modes are verified as a whole.
    metric : str or callable, optional
        ``"accuracy"`` (the default with labels), ``"cosine"`` (without), ``"top1"``, ``"kl"``, or
        a function of outputs and labels that gives 1 for the best results; see `drops.drop`.
    labels : sequence, optional
        Of the samples of ``validation``, or of ``data`` where that is not given.
    validation
        Data to verify on, as ``data``. Where it is not given, every second run of the data is held
        back for that.
    report : bool
        Measure error and time of each layer, also without ``max_drop``.
    plots : path, optional
        Folder for pictures of the tensors that lose most, with matplotlib; of ``"static"``.
    force : bool
        Write the file although it loses more than ``max_drop`` or is slower than the float model.
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
        Weights are NaN or infinite, no block divides them, or a tensor is zero in all runs: names
        them. The file is not written: says why.
    """
    from ..importers import load, save
    from ..optimizer.cleanup import remove_dead
    from ..optimizer.names import make_names_unique
    from ..optimizer.quantize.preparation import prepared, weights_of_no_numbers
    from ..optimizer.report import Report

    start = time.perf_counter()
    given = {
        "method": method, "percentile": percentile, "products": products, "bits": bits,
        "block": block, "rounding": rounding, "offsets": offsets, "equalize": equalize,
        "correct": correct, "ports": ports, "keep": keep, "plots": plots, "report": report,
        "force": force, "images": images, "threads": threads, "target_opset": target_opset,
    }  # fmt: skip
    check_options(mode, path, given)
    refinements = Refinements(rounding, equalize, correct)
    loaded = load(source)
    _check_opset(loaded, target_opset)
    data, validation = (with_images(loaded, each, images) for each in (data, validation))
    wanted = Verification(max_drop, metric, labels, validation)
    floats = prepared(loaded)
    if wrong := weights_of_no_numbers(floats):
        warnings.warn(f"weights are NaN or infinite: {'; '.join(wrong)}", stacklevel=2)
    done = Quantization(floats.clone(), mode)
    if data is None and (mode == "static" or (mode == "weights" and refinements.reads_data)):
        raise InvalidArgument(
            f"{_told(mode, refinements)} needs calibration data: give some inputs"
        )
    if plots is not None:
        histogram_plots.require_available()
    searches = max_drop is not None or report
    if mode == "static":
        ranging = {"method": method, "percentile": percentile, "products": products, "keep": keep}
        held_to = wanted if searches else None
        calibrated = _quantize_static(done, data, ranging, refinements, held_to, threads)
        if plots is not None:
            histogram_plots.draw(calibrated.grids(), Path(plots))
    elif mode == "dynamic":
        from ..optimizer.quantize.dynamic import write_dynamic

        done.count = write_dynamic(done.model)
    elif mode in ("fp16", "bf16"):
        done.count = write_halves(done.model, mode, keep, ports)
    else:
        done.count = write_weights(
            done.model,
            data,
            refinements,
            threads,
            bits=bits,
            block=block,
            offsets=offsets,
            wide=keep,
        )
    if not (done.count or done.layers):
        raise InvalidArgument(
            f"nothing to quantize ({mode}): no {_TAKEN[mode]} of float32 with constant weights"
        )
    cleaning = Report()
    remove_dead(done.model, cleaning)
    make_names_unique(done.model, cleaning)
    if mode != "static" and searches:
        seen = data if validation is None else validation
        if seen is None:
            raise InvalidArgument("max_drop needs data to verify on: give some inputs")
        held = wanted.held(floats, seen)
        _note(done, measure(floats, done.model, held.feeds[0], threads, held, metric), held, wanted)
    if path is not None and (force or not done.refusals):
        save(done.model, path, target_opset=target_opset)
        done.written = True
    elif done.refusals:
        warnings.warn(f"nothing is written: {'; '.join(done.refusals)}", stacklevel=2)
    done.seconds = time.perf_counter() - start
    return done


def _told(mode: str, refinements: Refinements) -> str:
    if mode == "static":
        return "static quantization"
    return "correct=True" if refinements.correct else f"rounding by {refinements.rounding}"


def _check_opset(model: ir.Model, wanted: int | None) -> None:
    """Refuse an opset that nothing could be written in, before the time that all takes."""
    opset = model.graph.opset_imports.get("")
    if wanted is not None and opset is not None and wanted > opset:
        raise InvalidArgument(f"target_opset must be at most the model's, {opset}, not {wanted}")


def _quantize_static(
    done: Quantization,
    data: Any,
    ranging: Mapping[str, Any],
    refinements: Refinements,
    wanted: Verification | None,
    threads: int | None,
) -> Calibrated:
    """Calibrate and quantize the model; search for a mix of precisions where one is wanted."""
    held = None
    given: Iterable[Feed] = calibration_feeds(done.model, data) if wanted is None else ()
    if wanted is not None:
        given, held = wanted.split(done.model, data)
    looked_at: list[Feed] = []
    if refinements.reads_data:
        given = looked_at = kept(given)
    first, feeds = with_first(given)
    calibrated = calibrate(done.model, feeds, threads=threads, **ranging)
    if refinements.equalize:
        calibrated, done.equalized = equalized(calibrated, looked_at, ranging, threads)
    done.count, done.runs = len(calibrated.layers()), calibrated.runs
    if not done.count:
        return calibrated
    assert first is not None
    if refinements.refines_weights:
        refinements.of_static(calibrated, looked_at, threads)
    ranges: Mapping[ir.Value, Range]
    if wanted is None or held is None:
        done.model, ranges = calibrated.quantized()
        _note(done, measure(calibrated.model, done.model, first, threads))
    else:
        ranges = _search(done, calibrated, first, held, wanted, threads)
    for grid, each in ranges.items():
        if each.is_empty:
            warnings.warn(
                f"tensor {grid.name!r} is zero in all runs: it is quantized to zero",
                stacklevel=3,
            )
    done.tensors = [_row(str(grid.name), each) for grid, each in ranges.items()]
    return calibrated


def _search(
    done: Quantization,
    calibrated: Calibrated,
    first: Mapping[str, np.ndarray],
    held: Held,
    wanted: Verification,
    threads: int | None,
) -> Mapping[ir.Value, Range]:
    """Take the fastest mix of precisions within a budget; returns its ranges."""
    searcher = Searcher(calibrated, first, held, wanted.metric, threads)
    found = searcher.search(wanted.max_drop)
    best = found.best
    done.model = best.model
    done.count = list(best.precisions.values()).count("int8")
    _note(done, Measured(best.ns, best.float_ns, best.drop), held, wanted)
    done.layers = layer_rows(searcher, found)
    searcher.close()
    return best.ranges


def _note(
    done: Quantization,
    measured: Measured,
    held: Held | None = None,
    wanted: Verification | None = None,
) -> None:
    done.ns, done.float_ns, done.drop = measured.ns, measured.float_ns, measured.drop
    done.refusals = list(measured.refusals(None if wanted is None else wanted.max_drop))
    if held is not None and wanted is not None:
        done.metric, done.verified = wanted.name, held.samples


def _row(name: str, chosen: Range) -> QuantizedTensor:
    return QuantizedTensor(
        name, chosen.method, chosen.low, chosen.high, float(chosen.scale), int(chosen.zero),
        chosen.noise,
    )  # fmt: skip
