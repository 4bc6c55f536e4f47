"""Benchmarks: sardonyx beside onnxruntime, and OpenVINO where it is installed.

All engines run in one process, in turn, so that whatever slows the machine slows them alike.
Before its turn an engine waits until threads of the one before have stopped spinning, then does
a run that is not timed.
"""

from __future__ import annotations

import datetime
import json
import math
import os
import platform
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from . import text, zoo
from .engines import ENGINES, Feeds, Run, installed, open_engine
from .footprint import Footprint, footprint

if TYPE_CHECKING:
    from rich.table import Table

SUITE = (*zoo.LIGHT, "ocr_det", "ocr_rec", "ocr_cls")
"""What ``make bench`` runs: the light models and the three of PP-OCR."""

# onnxruntime's threads spin for some ten milliseconds after a run with several threads.
_SETTLE_SECONDS = 0.03
_TURN_SECONDS = 0.05


@dataclass(frozen=True)
class Result:
    """Times of one engine on one model.

    Attributes
    ----------
    median_ms, p95_ms : float
        Of the timed runs.
    ratio : float or None
        Median of onnxruntime divided by this engine's: above 1 is faster than onnxruntime.
    footprint : Footprint or None
    error : str
        Why the engine could not run the model; its times are NaN then.
    """

    model: str
    threads: int
    engine: str
    runs: int = 0
    median_ms: float = math.nan
    p95_ms: float = math.nan
    ratio: float | None = None
    footprint: Footprint | None = None
    error: str = ""


def bench(
    name: str,
    path: str,
    feeds: Feeds,
    *,
    threads: int = 1,
    seconds: float = 2.0,
    engines: Sequence[str] = (),
    with_footprint: bool = True,
) -> list[Result]:
    """Measure a model in several engines.

    Parameters
    ----------
    name : str
        Of the model, for the report.
    path : str
        An ONNX file.
    feeds : mapping of str to ndarray
    threads : int
    seconds : float
        Time for the timed runs of each engine; there are at least nine.
    engines : sequence of str
        Names from `engines.ENGINES`; all that are installed when empty.
    with_footprint : bool
        Also measure session creation and memory, each engine in processes of its own.

    Returns
    -------
    list of Result
        One for each engine.
    """
    chosen = list(engines) or installed()
    opened: dict[str, Run] = {}
    errors: dict[str, str] = {}
    for engine in chosen:
        try:
            opened[engine] = open_engine(engine, path, feeds, threads)
            opened[engine]()
        except Exception as error:  # every engine has exceptions of its own
            opened.pop(engine, None)
            errors[engine] = str(error).strip().splitlines()[0][:200]
    times = interleave(opened, seconds)
    base = float(np.median(times["onnxruntime"])) if "onnxruntime" in times else None
    results = []
    for engine in chosen:
        if engine in errors:
            results.append(Result(name, threads, engine, error=errors[engine]))
            continue
        median = float(np.median(times[engine]))
        results.append(
            Result(
                name,
                threads,
                engine,
                len(times[engine]),
                median / 1e6,
                float(np.percentile(times[engine], 95)) / 1e6,
                base / median if base else None,
                footprint(engine, path, feeds, threads) if with_footprint else None,
            )
        )
    return results


def interleave(runs: Mapping[str, Run], seconds: float) -> dict[str, np.ndarray]:
    """Time several functions in turn.

    Parameters
    ----------
    runs : mapping of str to callable
    seconds : float
        Time for the timed calls of each.

    Returns
    -------
    dict of str to ndarray of int64
        Nanoseconds of each call.
    """
    times: dict[str, list[int]] = {name: [] for name in runs}
    order = list(runs)
    turns = 0
    while runs and (turns < 3 or min(map(sum, times.values())) < 1e9 * seconds):
        for name in order:
            times[name] += _turn(runs[name])
        order.reverse()
        turns += 1
    return {name: np.array(found) for name, found in times.items()}


def _turn(run: Run) -> list[int]:
    time.sleep(_SETTLE_SECONDS)
    run()
    times: list[int] = []
    while len(times) < 3 or sum(times) < 1e9 * _TURN_SECONDS:
        start = time.perf_counter_ns()
        run()
        times.append(time.perf_counter_ns() - start)
    return times


def geometric_mean(ratios: Iterable[float]) -> float:
    """Geometric mean; NaN for none."""
    logs = [math.log(ratio) for ratio in ratios]
    return math.exp(sum(logs) / len(logs)) if logs else math.nan


def mean_ratios(results: Iterable[Result]) -> dict[tuple[str, int], tuple[float, float]]:
    """Geometric mean and least ratio to onnxruntime, by engine and number of threads."""
    groups: dict[tuple[str, int], list[float]] = {}
    for result in results:
        if result.ratio is not None and result.engine != "onnxruntime":
            groups.setdefault((result.engine, result.threads), []).append(result.ratio)
    return {key: (geometric_mean(found), min(found)) for key, found in groups.items()}


def run_suite(
    names: Iterable[str],
    threads: Sequence[int],
    progress: Callable[[str], None],
    **options: Any,
) -> list[Result]:
    """Run `bench` on models of the zoo, with every number of threads.

    A model that cannot be had here is left out, with a word to ``progress``.
    """
    results: list[Result] = []
    for name in names:
        try:
            path = str(zoo.model(name))
            feeds = zoo.inputs(name, np.random.default_rng(0))
        except zoo.Unavailable as reason:
            progress(f"{name} left out: {reason}")
            continue
        for count in threads:
            progress(f"{name}, {count} thread(s)")
            results += bench(name, path, feeds, threads=count, **options)
    return results


_COLUMNS = (
    "model", "threads", "engine", "median ms", "p95 ms", "ratio", "cold s", "warm s", "peak memory",
)  # fmt: skip


def _cells(result: Result) -> tuple[str, ...]:
    start = (result.model, str(result.threads), result.engine)
    if result.error:
        return (*start, "fails", "–", "–", "–", "–", "–")
    own = result.footprint
    return (
        *start,
        f"{result.median_ms:.3f}",
        f"{result.p95_ms:.3f}",
        "–" if result.ratio is None else f"{result.ratio:.2f}",
        f"{own.cold_s:.2f}" if own else "–",
        f"{own.warm_s:.2f}" if own else "–",
        text.size(own.peak_bytes) if own else "–",
    )


def table(results: Sequence[Result]) -> Table:
    """Lay results out as a table for the terminal."""
    left = ("model", "engine")
    # Units below: nine columns fit into eighty characters.
    heads = [name.replace(" ", "\n") for name in _COLUMNS]
    made = text.table("", *(name if name in left else f"{name}:" for name in heads))
    made.columns[2].min_width = max(map(len, ENGINES))
    for result in results:
        made.add_row(*_cells(result))
    means = [
        f"{engine}, {count} thread(s): geometric mean {mean:.3f}, least {least:.3f}"
        for (engine, count), (mean, least) in mean_ratios(results).items()
    ]
    failures = [f"{r.engine} fails on {r.model}: {r.error}" for r in results if r.error]
    made.caption = "\n".join(["ratio: onnxruntime / engine", *means, *dict.fromkeys(failures)])
    return made


def write(results: Sequence[Result], path: Path) -> None:
    """Write results as Markdown, and beside it as JSON with the same name.

    Parameters
    ----------
    results : sequence of Result
    path : Path
        Ends in ``.md``.
    """
    where = environment()
    lines = [
        "# Benchmarks",
        "",
        "Written by `make bench`: do not edit. Times of one run in milliseconds, float32, the "
        "engines taking turns in one process. Ratio: the median of onnxruntime divided by that of "
        "the engine, so above 1 is faster than onnxruntime. Cold and warm: seconds to open a "
        "session in a fresh process, imports included, with empty and with filled caches. Peak "
        "memory: of that warm process after two runs.",
        "",
        *(f"- {key}: {value}" for key, value in where.items()),
        "",
        "| engine | threads | geometric mean of ratios | least |",
        "|---|---|---|---|",
        *(
            f"| {engine} | {count} | {mean:.3f} | {least:.3f} |"
            for (engine, count), (mean, least) in mean_ratios(results).items()
        ),
        "",
        f"| {' | '.join(_COLUMNS)} |",
        f"|{'---|' * len(_COLUMNS)}",
        *(f"| {' | '.join(_cells(result))} |" for result in results),
        "",
    ]
    failures = [f"- {r.engine} fails on {r.model}: {r.error}" for r in results if r.error]
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join([*lines, *dict.fromkeys(failures)]).rstrip() + "\n")
    data = {"environment": where, "results": [_plain(result) for result in results]}
    path.with_suffix(".json").write_text(json.dumps(data, indent=1) + "\n")


def _plain(result: Result) -> dict[str, Any]:
    found = asdict(result)
    # JSON has no NaN.
    return {k: None if isinstance(v, float) and math.isnan(v) else v for k, v in found.items()}


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
