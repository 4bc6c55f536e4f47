"""Contention: two threads where a processor is shared, beside one thread in the same place.

``python -m sardonyx.tools.contention [MODELS...]`` measures four situations. In each, two kinds of
runs take turns in one process, in blocks; the figure is the ratio of the medians, so that a machine
whose speed drifts does not change it.
"""

from __future__ import annotations

import contextlib
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeAlias

import numpy as np
import typer

from ..errors import InvalidArgument
from . import engines, reference, text, zoo
from .bench_report import environment
from .feeds import make_feeds

if TYPE_CHECKING:
    from rich.table import Table

MODELS = ("resnet50", "squeezenet", "mnist")
"""Measured when no model is named: runs of tens of milliseconds, of a few, and of microseconds."""

THREADS = 2
"""Of the sessions that are measured, and of the onnxruntime session beside them."""

ALONE = f"alone, {THREADS} threads : 1"
PINNED = f"pinned to one core, {THREADS} threads : 1"
BUSY = f"beside a busy process, {THREADS} threads : 1"
ALTERNATING = f"alternating with onnxruntime : alone, {THREADS} threads"

BOUNDS: dict[str, float | None] = {ALONE: None, PINNED: 1.1, BUSY: 1.15, ALTERNATING: 1.15}
"""Situations, and the largest ratio that is accepted in each."""

# A block follows a pause in which the threads of the block before have gone to sleep.
_PAUSE_SECONDS = 0.06
_BLOCK_SECONDS = 0.1
_LEAST_BLOCKS = 3
_LEAST_RUNS = 3

# It ends with the process that started it, and tells when it has moved to its core.
_SPIN = """
import os, sys
os.sched_setaffinity(0, {int(sys.argv[1])})
print(flush=True)
while os.getppid() == int(sys.argv[2]):
    for _ in range(100_000):
        pass
"""

Block: TypeAlias = Callable[[], list[int]]
"""Does some runs, and returns the nanoseconds of each."""


@dataclass(frozen=True)
class Contention:
    """Times of a model in one situation.

    Attributes
    ----------
    model : str
    situation : str
        One of `BOUNDS`.
    contended_ns : float
        Median time of the runs that are judged.
    base_ns : float
        Median time of the runs that they are compared with.
    """

    model: str
    situation: str
    contended_ns: float
    base_ns: float

    @property
    def ratio(self) -> float:
        """Time of the judged runs divided by that of the others."""
        return self.contended_ns / self.base_ns

    @property
    def bound(self) -> float | None:
        """Largest ratio that is accepted; None where there is no bound."""
        return BOUNDS[self.situation]


def contention(name: str, path: str, feeds: engines.Feeds, seconds: float) -> list[Contention]:
    """Measure a model in all situations.

    Parameters
    ----------
    name : str
        Of the model, for the report.
    path : str
        An ONNX file.
    feeds : mapping of str to ndarray
    seconds : float
        Time for the runs of each kind; there are at least three blocks of three runs.

    Returns
    -------
    list of Contention
        One for each situation; that of onnxruntime only where it is installed.

    Raises
    ------
    InvalidArgument
        The process may use one processor only, or the system cannot pin threads.
    """
    cores = available_cores()
    runs = {count: engines.open_engine("sardonyx", path, feeds, count) for count in (1, THREADS)}
    one, both = (_repeat(runs[count], pause=count > 1) for count in (1, THREADS))
    measured = [_measure(name, ALONE, both, one, seconds)]
    runs[THREADS]()  # the threads exist now
    with pinned(cores[0]):
        measured.append(_measure(name, PINNED, both, one, seconds))
    with busy_process(cores[-1]):
        measured.append(_measure(name, BUSY, both, one, seconds))
    if reference.is_available():
        other = engines.open_engine("onnxruntime", path, feeds, THREADS)
        alternating = _repeat(runs[THREADS], pause=False, other=other)
        measured.append(_measure(name, ALTERNATING, alternating, both, seconds))
    return measured


def available_cores() -> list[int]:
    """Processors that this process may use, at least two.

    Raises
    ------
    InvalidArgument
        There is one only, or the system does not tell.
    """
    if not hasattr(os, "sched_getaffinity"):
        raise InvalidArgument("contention is measured on Linux only: threads have to be pinned")
    cores = sorted(os.sched_getaffinity(0))
    if len(cores) < 2:
        raise InvalidArgument(f"contention needs two processors, this process may use {cores}")
    return cores


@contextmanager
def pinned(core: int) -> Iterator[None]:
    """Pin all threads of this process, workers included, to a core; undone at the end."""
    masks = {thread: os.sched_getaffinity(thread) for thread in _threads()}
    _set_affinity({thread: {core} for thread in masks})
    try:
        yield
    finally:
        # Threads that were started meanwhile have inherited the core.
        everywhere = set().union(*masks.values())
        _set_affinity({thread: masks.get(thread, everywhere) for thread in _threads()})


def _threads() -> list[int]:
    return [int(entry.name) for entry in Path("/proc/self/task").iterdir()]


def _set_affinity(masks: dict[int, set[int]]) -> None:
    for thread, mask in masks.items():
        with contextlib.suppress(ProcessLookupError):  # it has ended
            os.sched_setaffinity(thread, mask)


@contextmanager
def busy_process(core: int) -> Iterator[subprocess.Popen[bytes]]:
    """Keep a core busy with another process, which is started and ended here."""
    command = [sys.executable, "-c", _SPIN, str(core), str(os.getpid())]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        try:
            assert process.stdout is not None
            process.stdout.readline()
            yield process
        finally:
            process.kill()


def _repeat(run: engines.Run, pause: bool, other: engines.Run | None = None) -> Block:
    """Make a block of runs, each followed by a run of ``other`` that is not timed."""

    def block() -> list[int]:
        if pause:
            time.sleep(_PAUSE_SECONDS)
        times: list[int] = []
        end = time.perf_counter() + _BLOCK_SECONDS
        # The first run finds the caches as the block before has left them.
        while len(times) <= _LEAST_RUNS or time.perf_counter() < end:
            start = time.perf_counter_ns()
            run()
            times.append(time.perf_counter_ns() - start)
            if other is not None:
                other()
        return times[1:]

    return block


def _measure(
    name: str, situation: str, contended: Block, base: Block, seconds: float
) -> Contention:
    """Have two blocks take turns."""
    times: tuple[list[int], list[int]] = ([], [])
    blocks = 0
    while blocks < _LEAST_BLOCKS or min(sum(times[0]), sum(times[1])) < 1e9 * seconds:
        for spans, block in zip(times, (contended, base), strict=True):
            spans += block()
        blocks += 1
    return Contention(name, situation, statistics.median(times[0]), statistics.median(times[1]))


_HEADS = ("model", "situation", "ratio", "bound", "ms", "compared with ms")


def _rows(measured: Iterable[Contention]) -> list[tuple[str, ...]]:
    return [
        (
            each.model,
            each.situation,
            f"{each.ratio:.2f}",
            "" if each.bound is None else f"{each.bound:.2f}",
            text.milliseconds(each.contended_ns),
            text.milliseconds(each.base_ns),
        )
        for each in measured
    ]


def table(measured: Iterable[Contention]) -> Table:
    """Lay the ratios out for a terminal, those above their bound in red."""
    shown = text.table(environment()["processor"], *_HEADS[:2], *(f"{h}:" for h in _HEADS[2:]))
    for each, row in zip(measured := list(measured), _rows(measured), strict=True):
        exceeds = each.bound is not None and each.ratio > each.bound
        shown.add_row(*row, style="red" if exceeds else None)
    return shown


def markdown(measured: Iterable[Contention]) -> str:
    """Write the ratios as a table of Markdown, under the name of the processor."""
    return f"{environment()['processor']}\n\n{text.markdown(_HEADS, _rows(measured), left=2)}"


def main(
    models: Annotated[
        list[str] | None, typer.Argument(help="ONNX files, or names of the zoo.")
    ] = None,
    seconds: Annotated[float, typer.Option(help="Time for the runs of each kind.")] = 2.0,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
) -> None:
    """Measure runs on two threads where other work competes for the processors."""
    measured: list[Contention] = []
    for name in models or MODELS:
        path = zoo.resolve(name)
        if path == name:
            from ..importers import load

            feeds = make_feeds(load(path), {})
        else:
            feeds = zoo.inputs(name, np.random.default_rng(0))
        measured += contention(Path(name).stem, path, feeds, seconds)
    if as_markdown:
        print(markdown(measured), end="")
    else:
        text.show(text.console(), table(measured))


if __name__ == "__main__":
    typer.run(main)
