"""Clients of onnxruntime under onnxruntime and under sardonyx: table of ``docs/clients.md``.

``python -m sardonyx.tools.clients_bench --output docs/clients.md`` runs each client of
``tests/clients`` under both engines, each in a process of its own, in turns. Clients come with the
repository, not with the package.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import math
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from .bench import _SETTLE_SECONDS as SETTLE_SECONDS
from .bench_report import environment

ENGINES = ("onnxruntime", "sardonyx")
_TURNS = 5
_CLIENTS = "sardonyx.tests.clients"
_TEXT = """# Clients of onnxruntime

Written by `make bench`: do not edit. Packages that run the models they ship through onnxruntime's
interface, through their own entry points, on photographs, a scanned page, rendered text and
synthesised speech and music (`tests/clients`). Each runs once under onnxruntime and once under
sardonyx (`sardonyx.compat.install()`; nothing falls back), in a process of its own; the processes
take turns, and times are medians of whole calls of the client, with what it does before and after
its models. Ratio: onnxruntime's time divided by sardonyx's, so above 1 sardonyx is faster. Equal:
the same texts, labels and whole numbers, and numbers within the tolerance that each client states.
Threads: as chosen through the client's own options; "own" where it offers none."""


@dataclass(frozen=True)
class Row:
    """Figures of a client.

    Attributes
    ----------
    name, package, version, what : str
    threads : int or None
        None where the client chooses.
    milliseconds : dict of str to float
        Median time of a run, by engine.
    difference : str
        Where results differ; empty where they are equal.
    failure : str
        Why there are no figures.
    """

    name: str
    package: str
    version: str
    what: str
    threads: int | None
    milliseconds: dict[str, float]
    difference: str = ""
    failure: str = ""

    @property
    def ratio(self) -> float:
        """How many times as long onnxruntime takes."""
        own, other = (self.milliseconds.get(name, math.nan) for name in reversed(ENGINES))
        return other / own

    def __str__(self) -> str:
        threads = "own" if self.threads is None else self.threads
        head = f"| {self.package} | {self.version} | {self.what} | {threads}"
        if self.failure:
            return f"{head} | {self.failure} | | | |"
        times = " | ".join(f"{self.milliseconds[name]:.1f}" for name in ENGINES)
        return f"{head} | {times} | {self.ratio:.2f} | {self.difference or 'yes'} |"


def rows(names: Sequence[str], seconds: float) -> Iterator[Row]:
    """Measure clients.

    Parameters
    ----------
    names : sequence of str
        Of modules below ``tests/clients``; all of them where it is empty.
    seconds : float
        For the timed runs of each engine.
    """
    clients = importlib.import_module(f"{_CLIENTS}.client")
    for name in names or clients.names():
        client = clients.client(name)
        if why := client.missing():
            yield Row(name, client.package, "–", client.what, None, {}, failure=why)
            continue
        for threads in (1, 2) if client.has_threads else (None,):
            yield _row(name, client, threads, seconds)


def _row(name: str, client: Any, threads: int | None, seconds: float) -> Row:
    process = importlib.import_module(f"{_CLIENTS}.engine_process").EngineProcess
    differences = importlib.import_module(f"{_CLIENTS}.results").differences
    about = (name, client.package, client.version(), client.what, threads)
    opened: dict[str, Any] = {}
    times: dict[str, list[float]] = {engine: [] for engine in ENGINES}
    try:
        for engine in ENGINES:
            opened[engine] = process(name, engine, threads)
        # A process that waits takes no time from the other: threads spin for milliseconds only.
        for turn in range(_TURNS):
            for engine in ENGINES if turn % 2 else reversed(ENGINES):
                times[engine] += opened[engine].block(max(SETTLE_SECONDS, seconds / _TURNS))
        results = (opened[engine].result for engine in reversed(ENGINES))
        found = next(differences(*results, client.tolerance), "")
    except RuntimeError as error:
        last = str(error).splitlines()[-1:] or ["failed"]
        return Row(*about, {}, failure=last[0].replace("|", "/"))
    finally:
        for each in opened.values():
            each.close()
    medians = {engine: 1e3 * float(np.median(spans)) for engine, spans in times.items()}
    return Row(*about, medians, difference=found)


def report(found: Sequence[Row]) -> str:
    """Return the page."""
    where = environment()
    machine = ", ".join(f"{key} {value}" for key, value in where.items() if key != "openvino")
    ratios = [row.ratio for row in found if not row.failure]
    lines = [
        _TEXT,
        "",
        machine,
        "",
        "| client | version | what runs | threads | onnxruntime (ms) | sardonyx (ms) "
        "| ratio | equal |",
        "|---|---|---|---:|---:|---:|---:|---|",
        *map(str, found),
        "",
    ]
    if ratios:
        mean = math.exp(sum(map(math.log, ratios)) / len(ratios))
        lines.append(
            f"Geometric mean of {len(ratios)} ratios: {mean:.2f}; least {min(ratios):.2f}."
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure, and write the page."""
    parser = argparse.ArgumentParser(
        prog="python -m sardonyx.tools.clients_bench", description=__doc__
    )
    parser.add_argument("clients", nargs="*", help="names of clients; all where none is given")
    parser.add_argument("--output", type=Path, help="file to write; else it is printed")
    parser.add_argument("--seconds", type=float, default=1.0, help="for each engine and setting")
    arguments = parser.parse_args()
    if importlib.util.find_spec(_CLIENTS) is None:
        sys.exit("clients come with the repository of sardonyx, not with the package")
    found = []
    for row in rows(arguments.clients, arguments.seconds):
        print(row, file=sys.stderr, flush=True)
        found.append(row)
    page = report(found)
    if arguments.output is None:
        print(page, end="")
    else:
        arguments.output.write_text(page)


if __name__ == "__main__":
    main()
