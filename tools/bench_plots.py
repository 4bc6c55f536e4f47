"""Pictures of a benchmark: ratios to onnxruntime for each setting, and memory."""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from .bench import Result, Setting
from .engines import ENGINES

_COLORS = {"sardonyx": "#b5452c", "onnxruntime": "#8c8c8c", "openvino": "#3b75af"}
_ROW_INCHES = 0.34
_MIB = 2**20


def is_available() -> bool:
    """Tell whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(results: Sequence[Result], path: Path) -> list[str]:
    """Draw SVG pictures beside a report.

    Parameters
    ----------
    results : sequence of Result
    path : Path
        Of the report; the pictures' names begin with its stem.

    Returns
    -------
    list of str
        Names of the pictures.
    """
    import matplotlib

    # Text stays text, and the same results give the same file.
    settings: dict[Any, Any] = {"svg.fonttype": "none", "svg.hashsalt": "sardonyx", "font.size": 9}
    pictures: list[str] = []
    with matplotlib.rc_context(settings):
        for name, panels in _figures(results).items():
            picture = path.with_name(f"{path.stem}-{name}.svg")
            _figure(panels, picture)
            pictures.append(picture.name)
    return pictures


def _figures(results: Sequence[Result]) -> dict[str, list[_Panel]]:
    settings = list(dict.fromkeys(result.setting for result in results))
    groups: dict[str, list[Setting]] = {}
    for setting in settings:
        name = f"batch-{setting.batch}" if setting.requests == 1 else "requests"
        groups.setdefault(name, []).append(setting)
    figures = {
        name: [_Panel(results, setting) for setting in chosen] for name, chosen in groups.items()
    }
    if any(result.footprint for result in results):
        figures["memory"] = [_Panel(results, None)]
    return figures


class _Panel:
    """Bars for each model and engine; of ratios in a setting, or of peak memory."""

    def __init__(self, results: Sequence[Result], setting: Setting | None) -> None:
        self.title = "Peak memory of a process, MiB" if setting is None else str(setting)
        self.label = "" if setting is None else "onnxruntime's time / engine's time"
        self.line = None if setting is None else 1.0
        self.bars: dict[str, dict[str, float]] = {}
        for result in results:
            value: float | None = None
            if setting is None:
                value = result.footprint.peak_bytes / _MIB if result.footprint else None
            elif result.setting == setting and result.engine != "onnxruntime":
                value = result.ratio
            if value is not None:
                self.bars.setdefault(result.model, {})[result.engine] = value

    @property
    def engines(self) -> list[str]:
        return [name for name in ENGINES if any(name in bars for bars in self.bars.values())]

    def draw(self, axes: Any) -> None:
        engines = self.engines
        height = 0.8 / max(len(engines), 1)
        for index, engine in enumerate(engines):
            drawn = [(row, bars[engine]) for row, bars in enumerate(self.bars.values())
                     if engine in bars]  # fmt: skip
            rows = [row - 0.4 + height * (index + 0.5) for row, _ in drawn]
            values = [value for _, value in drawn]
            drawn = axes.barh(rows, values, height, color=_COLORS[engine], label=engine)
            style = "%.2f" if self.line else "%.0f"
            axes.bar_label(drawn, fmt=style, padding=2, fontsize=7, color="#404040")
        if self.line:
            axes.axvline(self.line, color="#404040", linewidth=1, label="onnxruntime = 1")
        axes.set_yticks(range(len(self.bars)), list(self.bars))
        axes.set_ylim(len(self.bars) - 0.4, -0.6)
        axes.margins(x=0.12)
        axes.set_title(self.title, fontsize=10)
        axes.set_xlabel(self.label)
        axes.spines[["top", "right"]].set_visible(False)
        axes.tick_params(axis="y", length=0)


def _figure(panels: Sequence[_Panel], picture: Path) -> None:
    from matplotlib.figure import Figure

    rows = max(len(panel.bars) for panel in panels)
    figure = Figure((4.2 * len(panels) + 1.2, _ROW_INCHES * rows + 1.4), layout="constrained")
    axes = figure.subplots(1, len(panels), squeeze=False)[0]
    for panel, each in zip(panels, axes, strict=True):
        panel.draw(each)
    handles, labels = axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False)
    figure.savefig(picture, metadata={"Date": None, "Creator": None})
