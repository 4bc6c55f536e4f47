"""Calibrated models: what tensors of a float model held in runs, and mixes of layers made of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from ..errors import InvalidArgument
from .progress import shown

if TYPE_CHECKING:
    import numpy as np
    import onnx_ir as ir

    from ..optimizer.quantize.histogram import Histogram
    from ..optimizer.quantize.ranges import Range
    from ..optimizer.quantize.refinement import Refined
    from ..optimizer.quantize.regions import Regions


@dataclass
class Calibrated:
    """A float model with histograms of the tensors that may be quantized.

    Attributes
    ----------
    model : onnx_ir.Model
        As `preparation.prepared` makes it; nodes have names.
    histograms : dict of str to Histogram
        By tensor.
    method : str
        What chooses ranges.
    percentile : float
    products : bool
        Whether products of two activations are layers, too.
    keep : collection of str
        Names of layers that stay float.
    runs : int
        Of calibration.
    refined : dict of str to Refined
        Weights by the name of their layer, where not those nearest to the float ones.
    """

    model: ir.Model
    histograms: dict[str, Histogram]
    method: str
    percentile: float
    products: bool
    keep: Collection[str] = ()
    runs: int = 0
    refined: dict[str, Refined] = field(default_factory=dict)

    def layers(self) -> dict[str, ir.Node]:
        """Return the convolutions and products that can be quantized, by name, in order."""
        from ..optimizer.quantize.regions import find_regions

        found = find_regions(self.model.graph, products=self.products).heads
        return {str(node.name): node for node in found if node.name not in self.keep}

    def copy(
        self, only: Collection[str] | None = None
    ) -> tuple[ir.Model, Regions, dict[ir.Value, Range]]:
        """Return a copy of the float model, with regions of some layers and their ranges."""
        from ..optimizer.quantize.calibration import by_grid, choose_ranges
        from ..optimizer.quantize.regions import find_regions

        model, names = self.model.clone(), self.layers() if only is None else only
        regions = find_regions(model.graph, products=self.products, only=names)
        grids = by_grid(regions, self.histograms)
        return model, regions, choose_ranges(grids, self.method, self.percentile)

    def grids(self) -> dict[str, tuple[Histogram, Range]]:
        """Return histogram and range of each grid of the whole model, by a tensor of it."""
        from ..optimizer.quantize.calibration import by_grid

        _, regions, ranges = self.copy()
        found = by_grid(regions, self.histograms)
        return {str(grid.name): (found[grid], chosen) for grid, chosen in ranges.items()}

    def quantized(
        self, only: Collection[str] | None = None
    ) -> tuple[ir.Model, dict[ir.Value, Range]]:
        """Return the model with some layers quantized, or all, and the ranges of its tensors."""
        from ..optimizer.cleanup import remove_dead
        from ..optimizer.names import make_names_unique
        from ..optimizer.quantize.static import write_static
        from ..optimizer.report import Report

        model, regions, ranges = self.copy(only)
        write_static(model.graph, regions, ranges, self.refined)
        remove_dead(model, Report())
        # A bias that layers with other scales share becomes several tensors, each named after it.
        make_names_unique(model, Report())
        return model, ranges


def calibrate(
    model: ir.Model,
    feeds: Iterable[Mapping[str, np.ndarray]],
    *,
    method: str,
    percentile: float,
    products: bool,
    keep: Collection[str] = (),
    threads: int | None = None,
) -> Calibrated:
    """Run a float model, and count the numbers of the tensors that may be quantized.

    Parameters
    ----------
    model : onnx_ir.Model
        As `preparation.prepared` makes it; its nodes get names.
    feeds : iterable of mapping of str to ndarray
        Read once.
    method, percentile, products, keep, threads
        As `quantize` takes them.

    Raises
    ------
    InvalidArgument
        There are no feeds, a tensor is not finite, or there is no layer of a name: names it.
    """
    from ..optimizer.names import make_names_unique
    from ..optimizer.quantize.calibration import calibrate, observed_model
    from ..optimizer.quantize.regions import find_regions
    from ..optimizer.report import Report
    from ..runtime.session import Session

    make_names_unique(model, Report())
    regions = find_regions(model.graph, products=products)
    names = [str(node.name) for node in regions.heads]
    for name in keep:
        if name not in names:
            raise InvalidArgument(f"no layer {name!r} to keep; there are {', '.join(names)}")
    done = Calibrated(model, {}, method, percentile, products, keep)
    if not done.layers():
        return done
    observed, observations = observed_model(model, regions)

    def counted() -> Iterator[Mapping[str, np.ndarray]]:
        for feed in shown(feeds, "calibrating"):
            done.runs += 1
            yield feed

    with Session(observed, threads=threads) as session:
        done.histograms = calibrate(regions, observations, counted(), session.run)
    return done
