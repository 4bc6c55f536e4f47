"""Report of a quantized model: precision, error, range and time of each layer, and what to do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from . import text
from .budget import Search, Searcher
from .mixes import FLOAT
from .sensitivity import Error, error

if TYPE_CHECKING:
    import onnx_ir as ir
    from rich.console import Console

_WORST = 3
_CLIPPING = 0.5
"""Share of a tensor's noise from which clipping is said to be the cause of it."""
_CORE = 8.0
"""Times that a range is wider than where nearly all numbers lie, from which that is the cause."""
_NEARLY_ALL = 99.9


@dataclass(frozen=True)
class LayerRow:
    """A convolution or product of the float model, and what became of it.

    Attributes
    ----------
    layer, op_type : str
    precision : str
        In the quantized model.
    why : str
        Why it is not in 8 bits; empty where it is.
    alone : Error
        Of its result when it alone is in 8 bits.
    accumulated : Error
        Of its result in the quantized model.
    share : float
        Of the noise of the model's results, when each layer is in 8 bits alone.
    low, high : float
        Range of its input.
    clipped : float
        Share of the input's numbers outside.
    ns_before, ns_after : float
        Time in the float model and in the quantized one.
    advice : str
        Of those that lose most.
    """

    layer: str
    op_type: str
    precision: str
    why: str
    alone: Error
    accumulated: Error
    share: float
    low: float
    high: float
    clipped: float
    ns_before: float
    ns_after: float
    advice: str = ""


def layer_rows(searcher: Searcher, found: Search) -> list[LayerRow]:
    """Collect what is known of each layer."""
    from ..optimizer.quantize.regions import behind_limits

    calibrated, layers, best = searcher.calibrated, searcher.layers, found.best
    names = {layer: str(behind_limits(node.outputs[0]).name) for layer, node in layers.items()}
    added = layer_errors(calibrated.model, best.model, names, searcher.few, searcher.threads)
    noises = {layer: row["int8"].noise for layer, row in found.sensitivity.items()}
    total = sum(noises.values()) or 1.0
    _, regions, ranges = calibrated.copy()
    grids = {str(value.name): ranges[regions.grid_of(value)] for value in regions.values}
    worst = sorted(noises, key=lambda layer: -noises[layer])[:_WORST]
    rows = []
    for layer, node in layers.items():
        x = str(node.inputs[0].name) if node.inputs[0] is not None else ""
        grid, histogram = grids[x], _histogram(calibrated.histograms, regions, x)
        advice = _advice(layer, x, grid, histogram) if layer in worst else ""
        rows.append(
            LayerRow(
                layer, node.op_type, best.precisions.get(layer, FLOAT),
                found.reasons.get(layer, ""), found.sensitivity[layer]["int8"].own, added[layer],
                noises[layer] / total, grid.low, grid.high,
                histogram.share_outside(grid.low, grid.high), found.float_ns[layer],
                best.layer_ns[layer], advice,
            )
        )  # fmt: skip
    return rows


def layer_errors(
    floats: ir.Model, quantized: ir.Model, names: Mapping[str, str], feed: Mapping[str, Any],
    threads: int | None = None,
) -> dict[str, Error]:  # fmt: skip
    """Compare tensors of two models.

    Parameters
    ----------
    floats, quantized : onnx_ir.Model
    names : mapping of str to str
        Tensors of both, by what they stand for.
    feed : mapping of str to ndarray

    Returns
    -------
    dict of str to Error
    """
    results = [tensors(model, list(names.values()), feed, threads) for model in (floats, quantized)]
    return {key: error(*(each[name] for each in results)) for key, name in names.items()}


def tensors(
    model: ir.Model, names: Sequence[str], feed: Mapping[str, Any], threads: int | None = None
) -> dict[str, Any]:
    """Run a model, and return tensors of its main graph by name."""
    from ..runtime.session import Session

    copy = model.clone()
    known = {str(value.name) for value in copy.graph.outputs}
    made = {str(value.name): value for node in copy.graph for value in node.outputs}
    copy.graph.outputs.extend(made[name] for name in dict.fromkeys(names) if name not in known)
    with Session(copy, threads=threads) as session:
        return dict(zip(names, session.run(list(names), feed), strict=True))


def print_layers(rows: Sequence[LayerRow], console: Console) -> None:
    """Print a line for each layer, then why some are float, and what to do about the worst."""
    table = text.table(
        f"{len(rows)} convolutions and products", "layer", "operator", "now", "alone:", "cosine:",
        "in all:", "cosine:", "share:", "least:", "largest:", "clipped:", "µs before:", "after:",
    )  # fmt: skip
    for row in rows:
        table.add_row(
            row.layer, row.op_type, row.precision, decibels(row.alone), cosine(row.alone),
            decibels(row.accumulated), cosine(row.accumulated), text.percent(row.share),
            f"{row.low:.4g}", f"{row.high:.4g}", text.percent(row.clipped),
            f"{row.ns_before / 1e3:.1f}", f"{row.ns_after / 1e3:.1f}",
        )  # fmt: skip
    table.caption = (
        "alone, in all: signal to noise of the layer's result when it alone is in 8 bits, and as "
        "written;\nshare: of the noise of the model's results; range of the layer's input"
    )
    text.show(console, table)
    for row in rows:
        if row.why:
            _say(console, f"{row.layer} stays {row.precision}: {row.why}")
    for row in sorted((each for each in rows if each.advice), key=lambda row: -row.share):
        _say(console, f"{row.layer} loses {text.percent(row.share)} of all: {row.advice}")


def decibels(error: Error) -> str:
    """Write signal to noise."""
    return f"{error.decibels:.1f} dB"


def cosine(error: Error) -> str:
    """Write a cosine so that its distance from 1 shows."""
    return f"{error.cosine:.6f}"


def _say(console: Console, line: str) -> None:
    console.print(line, highlight=False, markup=False, soft_wrap=True)


def _histogram(histograms: Mapping[str, Any], regions: Any, name: str) -> Any:
    """Histogram of a tensor, or of those that share its grid where it was not observed itself."""
    if name in histograms:
        return histograms[name]
    from ..optimizer.quantize.calibration import by_grid

    (value,) = (value for value in regions.values if value.name == name)
    return by_grid(regions, histograms)[regions.grid_of(value)]


def _advice(layer: str, tensor: str, grid: Any, histogram: Any) -> str:
    clipping = histogram.noise_outside(grid.low, grid.high)
    if grid.noise and clipping > _CLIPPING * grid.noise:
        return (
            f"most of the noise of {tensor!r} is what its range cuts off; try "
            'method="minmax", or more data to calibrate on'
        )
    low, high = histogram.core(_NEARLY_ALL)
    core = max(high, 0.0) - min(low, 0.0)
    if core and (grid.high - grid.low) / core > _CORE:
        return (
            f"a few numbers of {tensor!r} are {(grid.high - grid.low) / core:.0f} times as large "
            f'as the others; try method="percentile", or keep=["{layer}"]'
        )
    return f'no single cause in the range of {tensor!r}; keep=["{layer}"] leaves it float'
