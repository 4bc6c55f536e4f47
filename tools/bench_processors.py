"""Benchmarks of several processors side by side, each as it was last measured."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from . import text
from .bench import SUITE, Result, Setting
from .bench_report import (
    TEXT,
    Cells,
    against,
    blocks,
    by_model,
    environment,
    geometric_mean,
    keep,
    read,
    result_of,
)

WANTED = {
    "AMD Zen 3 (AVX2)": ("znver3",),
    "AMD Zen 4 (AVX-512)": ("znver4",),
    "Intel with AMX": ("sapphirerapids", "emeraldrapids", "graniterapids"),
}
"""Processors whose figures belong into the report, and LLVM's names for them."""
_SETTINGS = Setting(), Setting(threads=2)


class Figures(NamedTuple):
    """What was measured on a processor, and on which day."""

    processor: str
    date: str
    results: list[Result]


def path_of(path: Path, processor: str) -> Path:
    """Return where the figures of a processor lie beside a report.

    ``processor`` begins with LLVM's name of it, as `bench_report.environment` states it.
    """
    return path.with_name(f"{path.stem}-{processor.split(',')[0]}.json")


def all_figures(path: Path) -> list[Figures]:
    """Read the figures of all processors beside a report; what cannot be read is left out."""
    found = []
    for file in sorted(path.parent.glob(f"{path.stem}-*.json")):
        try:
            data: dict[str, Any] = json.loads(file.read_text())
            where = data["environment"]
            results = [result_of(entry) for entry in data["results"]]
            found.append(Figures(where["processor"].split(",")[0], where["date"], results))
        except (OSError, KeyError, TypeError, ValueError):
            continue
    return found


def missing(figures: Iterable[Figures]) -> list[str]:
    """Name the processors that were not measured."""
    known = {each.processor for each in figures}
    return [name for name, names in WANTED.items() if known.isdisjoint(names)]


def side_by_side(figures: Sequence[Figures]) -> list[str]:
    """Return blocks of Markdown: the ratios of all models on all processors, and what lacks."""
    heads = ("model", "threads", *(_head(each, peer) for each in figures for peer in _PEERS))
    tables = [_ratios(each.results) for each in figures]
    rows: list[Cells] = []
    for setting in _SETTINGS:
        for model in _models(tables, setting):
            cells = [table.get((model, setting, peer)) for table in tables for peer in _PEERS]
            shown = ("–" if ratio is None else f"{ratio:.2f}" for ratio in cells)
            rows.append((model, str(setting.threads), *shown))
        groups = (_of(table, setting, peer) for table in tables for peer in _PEERS)
        means = (f"**{geometric_mean(group):.2f}**" if group else "–" for group in groups)
        rows.append(("**geometric mean**", str(setting.threads), *means))
    lacking = [f"- not measured: {name}\n" for name in missing(figures)]
    dates = [f"- {each.processor}: measured {each.date}\n" for each in figures]
    return [
        "## By processor\n",
        _TEXT,
        "".join(dates + lacking),
        text.markdown(heads, rows, left=1),
    ]


_PEERS = "onnxruntime", "openvino"
_TEXT = """\
Single images. Times of the other engine divided by sardonyx's, with the versions of each day.
"""


def _head(figures: Figures, peer: str) -> str:
    return f"{figures.processor} × {peer}"


_Ratios = Mapping[tuple[str, Setting, str], float]


def _ratios(results: Iterable[Result]) -> _Ratios:
    found = {}
    for (model, setting), engines in by_model(results).items():
        for peer in _PEERS:
            ratio = against(engines, peer)
            if ratio is not None:
                found[model, setting, peer] = ratio
    return found


def _models(tables: Iterable[_Ratios], setting: Setting) -> list[str]:
    """Models with a ratio on any processor, in the order of the suite."""
    models = {key[0] for table in tables for key in table if key[1] == setting}
    known = [name for name in SUITE if name in models]
    return [*known, *sorted(models.difference(known))]


def _of(table: _Ratios, setting: Setting, peer: str) -> list[float]:
    return [ratio for key, ratio in table.items() if key[1:] == (setting, peer)]


# --- files ------------------------------------------------------------------------------------


def earlier(path: Path) -> list[Result]:
    """Read what is known of this processor, in this environment, beside a report."""
    return read(path_of(path, environment()["processor"]))


def write(results: Sequence[Result], path: Path, plots: Iterable[str] = ()) -> list[str]:
    """Write a report as Markdown, and the results of this processor as JSON beside it.

    Parameters
    ----------
    results : sequence of Result
        Of this processor.
    path : Path
        Ends in ``.md``.
    plots : iterable of str
        Names of pictures beside it.

    Returns
    -------
    list of str
        Processors that were not measured.
    """
    keep(results, path_of(path, environment()["processor"]))
    figures = all_figures(path)
    parts = ["# Benchmarks\n", TEXT, *side_by_side(figures), "## This processor\n"]
    path.write_text("\n".join(part for part in [*parts, *blocks(results, plots)] if part))
    return missing(figures)


def publish(results: Sequence[Result], path: Path) -> tuple[bool, list[str]]:
    """Write results and, where matplotlib is installed, pictures; tell whether it is.

    Returns
    -------
    tuple
        Whether there are pictures, and processors that were not measured.
    """
    from . import bench_plots

    drawn = bench_plots.is_available()
    return drawn, write(results, path, bench_plots.draw(results, path) if drawn else ())
