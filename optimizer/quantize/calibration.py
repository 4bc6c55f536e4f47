"""Calibration: what numbers tensors hold in runs, as histograms; runs themselves are forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np
import onnx_ir as ir

from ...errors import InvalidArgument
from .histogram import Histogram, added
from .ranges import Range, choose
from .regions import Regions

Run = Callable[[Sequence[str], Mapping[str, Any]], Sequence[np.ndarray]]
"""Runs the model on a feed, and returns the values of these names."""


def observed_model(model: ir.Model, regions: Regions) -> tuple[ir.Model, list[str]]:
    """Return a copy of a model that also gives the tensors to observe, and their names.

    Inputs of the model are not among them.
    """
    names = [
        str(value.name)
        for members in regions.grids().values()
        for value in members
        if not value.is_graph_input()
    ]
    return with_outputs(model, names), names


def with_outputs(model: ir.Model, names: Iterable[str]) -> ir.Model:
    """Return a copy of a model that also gives tensors that its nodes make."""
    copy = model.clone()
    graph = copy.graph
    known = {str(value.name) for value in graph.outputs}
    made = {str(value.name): value for node in graph for value in node.outputs}
    graph.outputs.extend(made[name] for name in names if name not in known)
    return copy


def calibrate(
    regions: Regions, names: Sequence[str], feeds: Iterable[Mapping[str, Any]], run: Run
) -> dict[str, Histogram]:
    """Run a model on feeds, and count the numbers of the tensors that are quantized.

    Parameters
    ----------
    regions : Regions
    names : sequence of str
        Tensors to observe, as `observed_model` gives them.
    feeds : iterable of mapping
    run : callable
        Runs what `observed_model` returned.

    Returns
    -------
    dict of str to Histogram
        By the name of the tensor.

    Raises
    ------
    InvalidArgument
        There are no feeds, or a tensor is not finite: names it.
    """
    inputs = {
        str(value.name)
        for members in regions.grids().values()
        for value in members
        if value.is_graph_input()
    }
    histograms = {name: Histogram() for name in (*names, *inputs)}
    count = 0
    for count, feed in enumerate(feeds, 1):
        found = dict(zip(names, run(names, feed), strict=True))
        found.update({name: np.asarray(feed[name]) for name in inputs})
        for name, array in found.items():
            if not histograms[name].add(array):
                raise InvalidArgument(
                    f"tensor {name!r} is NaN or infinite in run {count} of the calibration data"
                )
    if not count:
        raise InvalidArgument("the calibration data is empty: give some inputs")
    for name, histogram in histograms.items():
        if not histogram.arrays:
            raise InvalidArgument(f"tensor {name!r} has no elements in all calibration runs")
    return histograms


def by_grid(regions: Regions, histograms: Mapping[str, Histogram]) -> dict[ir.Value, Histogram]:
    """Add the histograms of tensors that share a grid.

    Parameters
    ----------
    regions : Regions
        Of the model that was calibrated, of a copy of it, or of some of its layers.
    histograms : mapping of str to Histogram
        By the name of the tensor.

    Returns
    -------
    dict of ir.Value to Histogram
        By the tensor that stands for those of a grid.
    """
    return {
        grid: added([histograms[str(value.name)] for value in members])
        for grid, members in regions.grids().items()
    }


def choose_ranges(
    histograms: Mapping[ir.Value, Histogram], method: str, percentile: float
) -> dict[ir.Value, Range]:
    """Choose a range for each grid; see `ranges.choose`."""
    return {grid: choose(each, method, percentile) for grid, each in histograms.items()}
