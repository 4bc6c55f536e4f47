"""Pictures of the tensors that lose most in quantizing: histogram, range, and grid."""

from __future__ import annotations

import importlib.util
import re
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ..errors import InvalidArgument

if TYPE_CHECKING:
    from ..optimizer.quantize.histogram import Histogram
    from ..optimizer.quantize.ranges import Range

_MOST = 3
_BARS = 200
_SIZE_INCHES = (7.0, 3.2)
_INSIDE, _OUTSIDE = "#3b75af", "#b5452c"


def require_available() -> None:
    """Raise `InvalidArgument` where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        raise InvalidArgument("pictures need matplotlib: pip install matplotlib")


def draw(found: Mapping[str, tuple[Histogram, Range]], folder: Path) -> list[Path]:
    """Draw the tensors with the most noise.

    Parameters
    ----------
    found : mapping of str to (Histogram, Range)
        By tensor.
    folder : Path
        Is made where there is none.

    Returns
    -------
    list of Path
        SVG pictures, of the worst tensor first; their names begin with its rank.
    """
    folder.mkdir(parents=True, exist_ok=True)
    worst = sorted(found, key=lambda name: -found[name][1].noise)[:_MOST]
    pictures = []
    for rank, name in enumerate(worst, 1):
        histogram, chosen = found[name]
        if histogram.exponent is None:
            continue
        picture = folder / f"{rank}-{re.sub(r'[^A-Za-z0-9_.-]+', '_', name)}.svg"
        _draw(name, histogram, chosen, picture)
        pictures.append(picture)
    return pictures


def _draw(name: str, histogram: Histogram, chosen: Range, picture: Path) -> None:
    import matplotlib
    from matplotlib.figure import Figure

    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "sardonyx"}
    with matplotlib.rc_context(settings):
        figure = Figure(figsize=_SIZE_INCHES, layout="constrained")
        axes = figure.subplots()
        middles, counts = histogram.occupied()
        edges = np.linspace(histogram.least, histogram.largest, _BARS + 1)
        heights, _ = np.histogram(middles, edges, weights=counts)
        centers = (edges[1:] + edges[:-1]) / 2
        inside = (centers >= chosen.low) & (centers <= chosen.high)
        colors = np.where(inside, _INSIDE, _OUTSIDE)
        axes.bar(centers, np.maximum(heights, 0), np.diff(edges), color=colors)
        for end in (chosen.low, chosen.high):
            axes.axvline(end, color="black", linewidth=0.8)
        axes.set_yscale("log")
        decibels = -10 * np.log10(chosen.noise) if chosen.noise else np.inf
        clipped = 100 * histogram.share_outside(chosen.low, chosen.high)
        axes.set_title(
            f"{name}: {decibels:.1f} dB, {clipped:.3g} % clipped, step {float(chosen.scale):.3g} "
            f"({chosen.method})",
            fontsize=9,
        )
        axes.set_ylabel("numbers")
        figure.savefig(picture)
