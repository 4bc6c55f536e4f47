"""Benchmarks: sardonyx beside onnxruntime, and OpenVINO where it is installed.

All engines run in one process, in turn, so that whatever slows the machine slows them alike.
Before its turn an engine waits until the threads of the one before have stopped spinning, then
does a run that is not timed.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from ..difference import largest_error
from ..errors import SardonyxError, reason
from ..runtime.processors import available_processors
from . import zoo
from .engines import PASSES, Feeds, Run, installed, open_engine
from .footprint import Footprint, footprint

SUITE = (
    *zoo.LIGHT, *zoo.BUILT, "ocr_det", "ocr_rec", "ocr_cls", "tumor", "basic_pitch", "mnist",
)  # fmt: skip
"""Models of ``make bench``: the convolutional networks of the zoo."""

# onnxruntime's threads spin for some ten milliseconds after a run with several threads.
_SETTLE_SECONDS = 0.06
_TURN_SECONDS = 0.05
_TURNS = 3
# A run so long is not disturbed by what the engine before it left in the caches.
_LONG_RUN_SECONDS = 0.2


@dataclass(frozen=True)
class Setting:
    """Setting of a measurement.

    Attributes
    ----------
    batch : int
        Images of one run.
    threads : int
        Threads of one run.
    requests : int
        Runs at once.
    """

    batch: int = 1
    threads: int = 1
    requests: int = 1

    def __str__(self) -> str:
        parts = [f"batch {self.batch}"] if self.requests == 1 else [f"{self.requests} requests"]
        return ", ".join([*parts, f"{self.threads} thread{'s'[: self.threads > 1]}"])


@dataclass(frozen=True)
class Result:
    """Times of one engine on one model.

    Attributes
    ----------
    runs : int
        Number of timed runs; with several requests, each is of `engines.PASSES` for each request.
    median_ms, p95_ms : float
        Of the timed runs; with several requests, divided by their number.
    ratio : float or None
        Median of onnxruntime divided by this engine's: above 1 is faster than onnxruntime.
    difference : float or None
        Largest difference from onnxruntime's outputs, relative to the largest value of each.
    footprint : Footprint or None
    error : str
        Why the engine could not run the model; its times are NaN then.
    """

    model: str
    setting: Setting
    engine: str
    runs: int = 0
    median_ms: float = math.nan
    p95_ms: float = math.nan
    ratio: float | None = None
    difference: float | None = None
    footprint: Footprint | None = None
    error: str = ""

    @property
    def images_per_s(self) -> float:
        """Images in a second."""
        return 1000 * self.setting.batch / self.median_ms


def bench(
    name: str,
    path: str,
    feeds: Feeds,
    setting: Setting,
    *,
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
    setting : Setting
    seconds : float
        Time for the timed runs of each engine; there are at least three.
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
    outputs: dict[str, list[Any]] = {}
    errors: dict[str, str] = {}
    for engine in chosen:
        try:
            run = open_engine(engine, path, feeds, setting.threads, setting.requests)
            outputs[engine] = _copied(run())
            opened[engine] = run
        except Exception as error:  # every engine has exceptions of its own
            errors[engine] = reason(error)
    times = interleave(opened, seconds)
    share = 1e6 * (1 if setting.requests == 1 else PASSES * setting.requests)
    base = float(np.median(times["onnxruntime"])) if "onnxruntime" in times else None
    results = []
    for engine in chosen:
        if engine in errors:
            results.append(Result(name, setting, engine, error=errors[engine]))
            continue
        median = float(np.median(times[engine]))
        results.append(
            Result(
                name,
                setting,
                engine,
                len(times[engine]),
                median / share,
                float(np.percentile(times[engine], 95)) / share,
                base / median if base else None,
                _error(outputs[engine], outputs.get("onnxruntime")),
                footprint(engine, path, feeds, setting.threads) if with_footprint else None,
            )
        )
    return results


def _copied(outputs: Any) -> list[Any]:
    """Copy what a run returned: an engine may use the memory again."""
    if outputs is None:
        return []
    arrays = outputs.values() if isinstance(outputs, Mapping) else outputs
    return [np.array(value) for value in arrays]


def _error(outputs: list[Any], expected: list[Any] | None) -> float | None:
    # Of several requests the outputs are not known.
    known = expected and len(outputs) == len(expected)
    return largest_error(outputs, expected or []) if known else None


@dataclass(frozen=True)
class Race:
    """Times of engines that took turns with one model.

    Printed: sardonyx's median, and for each other engine how many times as long it took, by
    medians and, in parentheses, by `LOW` quantiles. On a machine that is shared with others these
    are of the runs that nobody disturbed.

    Attributes
    ----------
    times : mapping of str to ndarray of float
        Milliseconds of the runs of each engine.
    error : float, optional
        Of sardonyx's first output beside onnxruntime's, relative to the largest value; infinite
        where shapes differ, none where it holds no floats.
    failures : mapping of str to str
        Engines that fail, and why.
    """

    LOW: ClassVar[float] = 0.1

    times: Mapping[str, np.ndarray]
    error: float | None
    failures: Mapping[str, str]

    def ratios(self, quantile: float) -> dict[str, float]:
        """Return how many times as long as sardonyx each other engine takes."""
        spans = {name: float(np.quantile(span, quantile)) for name, span in self.times.items()}
        own = spans.pop("sardonyx")
        return {name: span / own for name, span in spans.items()}

    def __str__(self) -> str:
        medians, low = self.ratios(0.5), self.ratios(self.LOW)
        parts = [f"{name} {medians[name]:.2f} ({low[name]:.2f})" for name in medians]
        parts += [f"{name} fails: {reason}" for name, reason in self.failures.items()]
        own = float(np.median(self.times["sardonyx"]))
        error = "no floats" if self.error is None else f"error {self.error:.1e}"
        return "  ".join([f"{own:9.3f} ms", *parts, error])


def race(
    files: Mapping[str, Path],
    feeds: Feeds,
    threads: int,
    seconds: float,
    engines: Mapping[str, str] | None = None,
) -> Race:
    """Let engines take turns, each with its file of a model.

    Parameters
    ----------
    files : mapping of str to Path
        By the name of the engine; sardonyx and onnxruntime are among them.
    feeds : mapping of str to ndarray
    threads : int
    seconds : float
        Time for the timed runs of each engine.
    engines : mapping of str to str
        Engines of names that are none.

    Raises
    ------
    SardonyxError
        sardonyx or onnxruntime fails: there is nothing to compare.
    """
    runs: dict[str, Run] = {}
    failures: dict[str, str] = {}
    for name, file in files.items():
        try:
            run = open_engine((engines or {}).get(name, name), str(file), feeds, threads)
            run()
            runs[name] = run
        except Exception as error:  # every engine has exceptions of its own
            failures[name] = reason(error)
    for name in ("sardonyx", "onnxruntime"):
        if name in failures:
            raise SardonyxError(f"{name} fails with {files[name]}: {failures[name]}")
    first, expected = (_copied(runs[name]())[:1] for name in ("sardonyx", "onnxruntime"))
    times = {name: spans / 1e6 for name, spans in interleave(runs, seconds).items()}
    return Race(times, largest_error(first, expected), failures)


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
    while runs and (turns < _TURNS or min(map(sum, times.values())) < 1e9 * seconds):
        for name in order:
            times[name] += _turn(runs[name])
        order.reverse()
        turns += 1
    return {name: np.array(spans) for name, spans in times.items()}


def _turn(run: Run) -> list[int]:
    time.sleep(_SETTLE_SECONDS)
    times = [_timed(run)]
    if times[0] > 1e9 * _LONG_RUN_SECONDS:
        return times
    times.clear()
    while len(times) < 3 or sum(times) < 1e9 * _TURN_SECONDS:
        times.append(_timed(run))
    return times


def _timed(run: Run) -> int:
    start = time.perf_counter_ns()
    run()
    return time.perf_counter_ns() - start


def settings(
    batches: Sequence[int], threads: Sequence[int], throughput: bool = True
) -> list[Setting]:
    """Combine sizes of batches and numbers of threads.

    With ``throughput`` also single images on one thread each, as many at once as there are
    processors.
    """
    combined = [Setting(batch, count) for batch in batches for count in threads]
    processors = available_processors()
    return [*combined, Setting(requests=processors)] if throughput and processors > 1 else combined


def run_suite(
    names: Iterable[str],
    chosen: Sequence[Setting],
    progress: Callable[[str], None],
    *,
    done: Collection[tuple[str, Setting]] = (),
    with_footprint: bool = True,
    **options: Any,
) -> Iterator[list[Result]]:
    """Run `bench` on models of the zoo in several settings.

    A model that is not available here, or not in batches, is left out, with a line to ``progress``.

    Parameters
    ----------
    names : iterable of str
    chosen : sequence of Setting
    progress : callable
        Gets a line before each measurement.
    done : collection of (str, Setting)
        Measurements to leave out.
    with_footprint : bool
        Also measure session creation and memory, in the first setting only.
    options
        Of `bench`.

    Yields
    ------
    list of Result
        Those of one model and setting.
    """
    for name in names:
        for setting in chosen:
            if (name, setting) in done:
                continue
            try:
                path = zoo.model(name) if setting.batch == 1 else zoo.with_free_batch(name)
                feeds = zoo.inputs(name, np.random.default_rng(0), setting.batch)
            except zoo.Unavailable as reason:
                progress(f"{name} left out: {reason}")
                continue
            progress(f"{name}, {setting}")
            first = with_footprint and setting == chosen[0]
            yield bench(name, str(path), feeds, setting, with_footprint=first, **options)
