"""Refinements of quantization that look at calibration data more than once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from ..runtime.session import Session
from .calibrated import Calibrated, calibrate
from .progress import shown

if TYPE_CHECKING:
    import onnx_ir as ir

    from ..optimizer.quantize.few_bits import FewBits
    from ..optimizer.quantize.grid import Grid
    from ..optimizer.quantize.layers import Layer
    from ..optimizer.quantize.refinement import Refined

Feeds = list[Mapping[str, np.ndarray]]
_MOST = 1 << 28


@dataclass(frozen=True)
class Refinements:
    """What is done beyond choosing ranges.

    Attributes
    ----------
    rounding : str
        Of weights: ``"nearest"``, or a method of `rounding.METHODS`.
    equalize : bool
        Whether sizes of channels migrate from activations into weights, where that measures better.
    correct : bool
        Whether biases take up the mean errors of weights.
    """

    rounding: str = "nearest"
    equalize: bool = False
    correct: bool = False

    @property
    def refines_weights(self) -> bool:
        """Whether weights are not just rounded to the nearest."""
        from ..optimizer.quantize.rounding import METHODS

        return self.rounding in METHODS or self.correct

    @property
    def reads_data(self) -> bool:
        """Whether data is read for them."""
        return self.refines_weights or self.equalize

    def of_static(self, calibrated: Calibrated, feeds: Feeds, threads: int | None) -> None:
        """Refine the weights that `Calibrated` hands to quantized models."""
        from ..optimizer.quantize.refinement import by_channel_grid
        from ..optimizer.quantize.static import quantized_weights

        _, regions, ranges = calibrated.copy()
        steps = {
            str(node.name): float(ranges[regions.grid_of(x)].scale)
            for node in regions.heads
            if (x := node.inputs[0]) is not None
        }

        def grid(layer: Layer, _: np.ndarray | None) -> Grid:
            scales = quantized_weights(layer.node, steps[str(layer.node.name)])[1]
            return by_channel_grid(layer, scales)

        calibrated.refined = self._refined(calibrated.model, list(steps), grid, feeds, threads)

    def of_weights(
        self, model: ir.Model, feeds: Feeds, threads: int | None, few: FewBits
    ) -> dict[str, Refined]:
        """Refine the weights of a model that keeps only weights in few bits.

        Those that had 4 bits before stay as they are.
        """
        from ..optimizer.quantize.few_bits import LEAST
        from ..optimizer.quantize.layers import layers_of
        from ..optimizer.quantize.weight_only import weight_grid

        taken = [layer for layer in layers_of(model.graph) if layer.weights.size >= LEAST]
        names = [str(layer.node.name) for layer in taken]
        if few.method == "nearest" and self.rounding != "nearest":
            few = replace(few, method="mse")

        def grid(layer: Layer, squares: np.ndarray | None) -> Grid:
            return weight_grid(layer, few, squares)

        rounded = [name for name in names if name not in few.spaced]
        return self._refined(model, rounded, grid, feeds, threads)

    def _refined(
        self,
        model: ir.Model,
        names: Iterable[str],
        grid: Callable[[Layer, np.ndarray | None], Grid],
        feeds: Feeds,
        threads: int | None,
    ) -> dict[str, Refined]:
        from ..optimizer.quantize.layers import layers_of
        from ..optimizer.quantize.refinement import by_input, refine
        from ..optimizer.quantize.walk import Walk

        wanted = set(names)
        copy = model.clone()
        layers = [layer for layer in layers_of(copy.graph) if layer.node.name in wanted]
        walk = Walk(copy, feeds, lambda part: _Opened(part, threads))
        groups = shown(by_input(layers), "rounding weights")
        return refine(groups, grid, walk, self.rounding, biases=self.correct)


def equalized(
    calibrated: Calibrated, feeds: Feeds, ranging: Mapping[str, Any], threads: int | None
) -> tuple[Calibrated, list[str]]:
    """Let sizes of channels migrate from activations into weights, if results are then better.

    Each activation is judged by the products of it, then the quantized models by their outputs, on
    a few of the feeds.

    Returns
    -------
    calibrated : Calibrated
        The given one, or that of the changed model.
    names : list of str
        The activations.
    """
    from ..optimizer.quantize.calibration import with_outputs
    from ..optimizer.quantize.migration import migrate, sites

    changed = calibrated.model.clone()
    names = [str(site.value.name) for site in sites(changed.graph)]
    if not names:
        return calibrated, []
    with _Opened(with_outputs(changed, names), threads) as run:
        names = migrate(changed.graph, shown(feeds, "equalizing"), run)
    if not names:
        return calibrated, []
    other = calibrate(changed, feeds, threads=threads, **ranging)
    few = feeds[:_JUDGES]
    with Session(calibrated.model, threads=threads) as session:
        wanted = [session.run(None, feed) for feed in few]
    before, after = (_error(each, few, wanted, threads) for each in (calibrated, other))
    return (other, names) if after < before else (calibrated, [])


_JUDGES = 8


def _error(
    calibrated: Calibrated, feeds: Feeds, wanted: list[list[Any]], threads: int | None
) -> float:
    """Squared error of a quantized model's outputs, each as a part of its square."""
    model, _ = calibrated.quantized()
    errors: dict[int, float] = {}
    sizes: dict[int, float] = {}
    with Session(model, threads=threads) as session:
        for feed, outputs in zip(feeds, wanted, strict=True):
            for index, (own, exact) in enumerate(
                zip(session.run(None, feed), outputs, strict=True)
            ):
                if np.asarray(exact).dtype.kind == "f":
                    difference = np.square(own - exact, dtype=np.float64).sum()
                    errors[index] = errors.get(index, 0.0) + float(difference)
                    sizes[index] = sizes.get(index, 0.0) + float(np.square(exact).sum())
    return sum(error / max(sizes[index], 1e-30) for index, error in errors.items())


class _Opened:
    """A session of a part of a model, or of one that gives further tensors, too."""

    def __init__(self, model: ir.Model, threads: int | None) -> None:
        self._session = Session(model, threads=threads)

    def __enter__(self) -> Callable[..., Any]:
        return self._session.run

    def __exit__(self, *_: object) -> None:
        self._session.close()


def kept(feeds: Iterable[Mapping[str, np.ndarray]]) -> Feeds:
    """Return the feeds that refinements look at: the first 256 MB."""
    found: Feeds = []
    total = 0
    for feed in feeds:
        found.append(feed)
        total += sum(np.asarray(array).nbytes for array in feed.values())
        if total > _MOST:
            break
    return found
