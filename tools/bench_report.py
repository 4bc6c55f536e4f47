"""Reports of a benchmark: tables, and files that later measurements are merged into."""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from . import text
from .bench import SUITE, Result, Setting
from .engines import ENGINES, installed
from .footprint import Footprint

if TYPE_CHECKING:
    from rich.table import Table

Cells: TypeAlias = tuple[str, ...]
_PEERS = tuple(name for name in ENGINES if name != "sardonyx")


def geometric_mean(ratios: Iterable[float]) -> float:
    """Geometric mean; NaN for none."""
    logs = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def by_model(results: Iterable[Result]) -> dict[tuple[str, Setting], dict[str, Result]]:
    """Results by model and setting, then by engine."""
    grouped: dict[tuple[str, Setting], dict[str, Result]] = {}
    for result in results:
        grouped.setdefault((result.model, result.setting), {})[result.engine] = result
    return grouped


def against(engines: dict[str, Result], peer: str) -> float | None:
    """Median of a peer divided by that of sardonyx: above 1 sardonyx is faster."""
    if peer not in engines or "sardonyx" not in engines:
        return None
    ratio = engines[peer].median_ms / engines["sardonyx"].median_ms
    return None if math.isnan(ratio) else ratio


def summary(results: Iterable[Result]) -> list[Cells]:
    """Rows of setting, peer, geometric mean and least ratio of sardonyx to it, and its model."""
    groups: dict[tuple[Setting, str], dict[str, float]] = {}
    for (model, setting), engines in by_model(results).items():
        for peer in _PEERS:
            if (ratio := against(engines, peer)) is not None:
                groups.setdefault((setting, peer), {})[model] = ratio
    return [
        (
            str(setting),
            peer,
            f"{geometric_mean(ratios.values()):.2f}",
            f"{min(ratios.values()):.2f}",
            min(ratios, key=lambda model: ratios[model]),
        )
        for (setting, peer), ratios in groups.items()
    ]


_TIMES = ("model", "setting", *(f"{name} ms" for name in ENGINES), *(f"× {p}" for p in _PEERS))
_TIMES += ("images/s", "difference")
_SHORT = {
    "setting": "batch,\nthreads", "× onnxruntime": "× ORT", "× openvino": "× OV",
    "onnxruntime ms": "onnx- runtime ms", "difference": "differ- ence",
}  # fmt: skip
_STARTS = ("model", "engine", "import s", "cold s", "warm s", "peak memory")


def times(results: Iterable[Result]) -> list[Cells]:
    """Rows of `_TIMES`."""
    rows = []
    for (model, setting), engines in by_model(results).items():
        ratios = [against(engines, peer) for peer in _PEERS]
        own = engines.get("sardonyx")
        measured = own is not None and not own.error
        rows.append(
            (
                model,
                str(setting),
                *(_milliseconds(engines.get(name)) for name in ENGINES),
                *("–" if ratio is None else f"{ratio:.2f}" for ratio in ratios),
                f"{own.images_per_s:.4g}" if own and measured else "–",
                text.error(own.difference if own else None),
            )
        )
    return rows


def _milliseconds(result: Result | None) -> str:
    if result is None:
        return "–"
    if result.error:
        return "fails"
    decimals = sum(result.median_ms < limit for limit in (1000, 100, 10))
    return f"{result.median_ms:.{decimals}f}"


def starts(results: Iterable[Result]) -> list[Cells]:
    """Rows of `_STARTS`."""
    return [
        (
            result.model,
            result.engine,
            f"{result.footprint.import_s:.2f}",
            f"{result.footprint.cold_s:.2f}",
            f"{result.footprint.warm_s:.3f}",
            text.size(result.footprint.peak_bytes),
        )
        for result in results
        if result.footprint
    ]


def failures(results: Iterable[Result]) -> list[str]:
    """Sentences about engines that could not run a model."""
    sentences = [f"{r.engine} fails on {r.model}: {r.error}" for r in results if r.error]
    return list(dict.fromkeys(sentences))


def tables(results: Sequence[Result]) -> list[Table]:
    """Lay results out for a terminal of eighty characters."""
    shown = _TIMES[:-2] + _TIMES[-1:]  # all but images/s
    table = text.table("", *(_head(_SHORT.get(name, name), i > 1) for i, name in enumerate(shown)))
    for (model, setting), row in zip(by_model(results), times(results), strict=True):
        at_once = "" if setting.requests == 1 else f"{setting.requests}×"
        table.add_row(model, f"{setting.batch}, {at_once}{setting.threads}", *row[2:-2], row[-1])
    means = [f"{s}: {mean} × {peer}, least {least}" for s, peer, mean, least, _ in summary(results)]
    legend = "×: time of the other divided by sardonyx's; difference: from onnxruntime, relative"
    table.caption = "\n".join([legend, *means, *failures(results)])
    rows = starts(results)
    if not rows:
        return [table]
    start = text.table("", *(_head(name, i > 1) for i, name in enumerate(_STARTS)))
    for row in rows:
        start.add_row(*row)
    return [table, start]


def _head(name: str, right: bool) -> str:
    return f"{name}:".replace(" ", "\n") if right else name


# --- files ------------------------------------------------------------------------------------


def environment() -> dict[str, str]:
    """Return what the figures depend on: date, processor, versions."""
    from ..kernels.target import target

    versions = {name: metadata.version(name) for name in installed() if name != "sardonyx"}
    return {
        "date": datetime.date.today().isoformat(),
        "processor": f"{target().cpu}, {os.cpu_count()} cores",
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "numba": metadata.version("numba"),
        **versions,
    }


def read(path: Path) -> list[Result]:
    """Read what was written as JSON; nothing if it was measured elsewhere.

    Elsewhere is another processor, system or version of what the figures depend on.
    """
    try:
        data = json.loads(path.read_text())
        current, stored = environment(), data["environment"]
        if any(current[key] != stored[key] for key in current if key != "date"):
            return []
        return [result_of(entry) for entry in data["results"]]
    except (OSError, KeyError, TypeError, ValueError):
        return []


def result_of(stored: dict[str, Any]) -> Result:
    """Return a result as it was before it became JSON."""
    own = stored["footprint"]
    filled = {key: math.nan for key in ("median_ms", "p95_ms") if stored[key] is None}
    settled = {"setting": Setting(**stored["setting"]), "footprint": own and Footprint(**own)}
    return Result(**{**stored, **filled, **settled})


def merged(old: Iterable[Result], new: Iterable[Result]) -> list[Result]:
    """Put newer results in the place of older ones, in the order of the suite."""
    latest = {(r.model, r.setting, r.engine): r for r in (*old, *new)}

    def place(result: Result) -> tuple[int, int, int, int, int]:
        known = result.model in SUITE
        setting = result.setting
        return (
            SUITE.index(result.model) if known else len(SUITE),
            setting.requests,
            setting.batch,
            setting.threads,
            list(ENGINES).index(result.engine),
        )

    return sorted(latest.values(), key=place)


TEXT = """\
Written by `make bench`: do not edit. Median times of one run in milliseconds, float32, the
engines taking turns in one process. × onnxruntime, × openvino: their median divided by that of
sardonyx, so above 1 sardonyx is faster. Requests: single images on one thread each, as many at
once as there are processors, and the time is that of all divided by their number. Images/s: of
sardonyx. Difference: of sardonyx's outputs from onnxruntime's, the largest, relative to the
largest value of the output. Models without a free batch were rewritten to have one for batches.
"""
START_TEXT = """\
Import: seconds to import the engine in a fresh process that has numpy. Cold and warm: seconds to
open a session after that, with empty and with filled caches. Peak memory: of that warm process
after two runs.
"""


def blocks(results: Sequence[Result], plots: Iterable[str] = ()) -> list[str]:
    """Return blocks of Markdown about what was measured here.

    Parameters
    ----------
    results : sequence of Result
    plots : iterable of str
        Names of pictures beside the report.
    """
    heads = ("setting", "against", "geometric mean", "least", "on")
    parts = [
        "".join(f"- {key}: {value}\n" for key, value in environment().items()),
        text.markdown(heads, summary(results), left=2),
        *(f"![{name}]({name})\n" for name in plots),
        "## Times\n",
        text.markdown(_TIMES, times(results), left=2),
        "".join(f"- {line}\n" for line in failures(results)),
    ]
    if rows := starts(results):
        parts += ["## Start and memory\n", START_TEXT, text.markdown(_STARTS, rows, left=2)]
    return parts


def keep(results: Sequence[Result], path: Path) -> None:
    """Write results as JSON."""
    path.parent.mkdir(parents=True, exist_ok=True)
    data = {"environment": environment(), "results": [_plain(asdict(each)) for each in results]}
    path.write_text(json.dumps(data, indent=1) + "\n")


def _plain(fields: dict[str, Any]) -> dict[str, Any]:
    # JSON has no NaN.
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in fields.items()}
