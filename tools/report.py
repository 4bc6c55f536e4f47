"""A profile as tables on the terminal, as a Chrome trace, as JSON and as CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from .. import InvalidArgument
from . import text
from .profile import Profile, StepRow


def print_profile(profile: Profile, console: Console, top: int = 0) -> None:
    """Print the steps (the ``top`` most expensive, or all in order), the operators, the totals."""
    chosen = profile.steps
    if top and top < len(chosen):
        chosen = sorted(chosen, key=lambda step: -step.median_ns)[:top]
    console.print(_steps_table(profile, chosen, console.width))
    console.print(_operators_table(profile))
    console.print(_totals_table(profile))
    for note in profile.notes:
        console.print(f"[yellow]{note}[/yellow]")


# Column: how a step fills it. Those marked are left out where the terminal is narrow.
_COLUMNS: tuple[tuple[str, bool, Callable[[StepRow], str]], ...] = (
    ("#:", True, lambda step: str(step.index)),
    ("nodes", True, lambda step: _nodes(step)),
    ("operators", True, lambda step: step.op_type),
    ("kernel", True, lambda step: step.kernel),
    ("layout", False, lambda step: step.layout),
    ("prec.", False, lambda step: step.precision),
    ("ms:", True, lambda step: text.milliseconds(step.median_ns)),
    ("p95:", False, lambda step: text.milliseconds(step.p95_ns)),
    ("share:", True, lambda step: text.percent(step.share)),
    ("GFLOP/s:", True, lambda step: f"{step.gflops:.1f}"),
    ("GB/s:", False, lambda step: f"{step.gbps:.1f}"),
    ("of roof:", True, lambda step: _roof(step)),
    ("ORT ms:", True, lambda step: text.milliseconds(step.reference_ns)),
    ("ratio:", True, lambda step: _ratio(step.reference_ns, step.median_ns)),
    ("abs err:", False, lambda step: text.error(step.max_abs)),
    ("rel err:", True, lambda step: text.error(step.max_rel)),
)
_WIDE = 150


def _steps_table(profile: Profile, steps: list[StepRow], width: int) -> Table:
    columns = [column for column in _COLUMNS if column[1] or width >= _WIDE]
    table = text.table(
        f"{profile.model}: {len(profile.steps)} steps, {profile.threads} thread(s), "
        f"{profile.runs} runs",
        *(name for name, _, _ in columns),
    )
    for step in steps:
        table.add_row(*(write(step) for _, _, write in columns))
    notes = ["of roof: c is bound by compute, m by memory; ratio: onnxruntime / sardonyx"]
    if len(steps) < len(profile.steps):
        notes.append(f"the {len(steps)} most expensive of {len(profile.steps)} steps")
    if len(columns) < len(_COLUMNS):
        notes.append(f"more columns on a terminal of {_WIDE} characters, and in an export")
    table.caption = "\n".join(notes)
    return table


def _roof(step: StepRow) -> str:
    return "–" if step.roof is None else f"{text.percent(step.roof)} {step.bound[0]}"


def _nodes(step: StepRow) -> str:
    names = list(step.nodes) or [step.name]
    return names[0] if len(names) == 1 else f"{names[0]}+{len(names) - 1}"


def _ratio(reference_ns: float | None, own_ns: float) -> str:
    return "–" if reference_ns is None or not own_ns else f"{reference_ns / own_ns:.2f}"


def _operators_table(profile: Profile) -> Table:
    table = text.table("By operator", "operators", "steps:", "ms:", "share:", "ORT ms:", "ratio:")
    for group in profile.by_operator():
        table.add_row(
            group.op_type,
            str(group.count),
            text.milliseconds(group.median_ns),
            text.percent(group.share),
            text.milliseconds(group.reference_ns),
            _ratio(group.reference_ns, group.median_ns),
        )
    return table


def _totals_table(profile: Profile) -> Table:
    table = text.table("Totals", "", ":")
    for label, value in _totals(profile):
        table.add_row(label, value)
    return table


def _totals(profile: Profile) -> Iterator[tuple[str, str]]:
    yield "whole run, median", text.duration(profile.total_ns)
    yield "whole run, 95th percentile", text.duration(profile.total_p95_ns)
    yield "outside steps", text.duration(profile.outside_ns)
    if profile.reference_total_ns is not None:
        yield "onnxruntime, all optimizations", text.duration(profile.reference_total_ns)
        yield "ratio", _ratio(profile.reference_total_ns, profile.total_ns)
    flops = sum(step.flops for step in profile.steps)
    yield "operations", f"{text.number(flops)}FLOP"
    rate, peak = flops / profile.total_ns, profile.roofline.gflops
    yield "rate", f"{rate:.1f} GFLOP/s ({text.percent(rate / peak)} of {peak:.0f})"
    for label, count in profile.memory.items():
        yield label.removesuffix("_bytes"), text.size(count)


def export(profile: Profile, path: Path) -> None:
    """Write a profile in the format that the file's name asks for.

    Parameters
    ----------
    profile : Profile
    path : Path
        ``*.trace.json``: Chrome trace (chrome://tracing, Perfetto); ``*.json``: everything;
        ``*.csv``: one line for each step.
    """
    if path.name.endswith(".trace.json"):
        path.write_text(json.dumps(chrome_trace(profile)))
    elif path.suffix == ".json":
        path.write_text(json.dumps(to_dict(profile), indent=1))
    elif path.suffix == ".csv":
        _write_csv(profile, path)
    else:
        raise InvalidArgument(f"{path}: a profile is written as .trace.json, .json or .csv")


def to_dict(profile: Profile) -> dict[str, Any]:
    """Everything in a profile as plain data, the groups by operator included."""
    groups = [asdict(group) for group in profile.by_operator()]
    return {**asdict(profile), "operators": groups}


def _write_csv(profile: Profile, path: Path) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        names = [field.name for field in fields(StepRow)]
        writer.writerow(names)
        for step in profile.steps:
            values = {**vars(step), "nodes": " ".join(step.nodes)}
            writer.writerow([values[name] for name in names])


def chrome_trace(profile: Profile) -> dict[str, Any]:
    """Return the median run in the Trace Event Format, onnxruntime's nodes in a second row.

    The times of different steps are medians of their own, laid end to end.
    """
    events: list[dict[str, Any]] = [
        {"ph": "M", "name": "process_name", "pid": 1, "args": {"name": profile.model}},
        *(
            {"ph": "M", "name": "thread_name", "pid": 1, "tid": row, "args": {"name": name}}
            for row, name in enumerate(("sardonyx", "onnxruntime"), 1)
        ),
    ]
    clock = [0.0, 0.0]
    for step in profile.steps:
        details = {key: value for key, value in vars(step).items() if value is not None}
        for row, spent in enumerate((step.median_ns, step.reference_ns)):
            if spent is None:
                continue
            events.append(
                {
                    "ph": "X",
                    "pid": 1,
                    "tid": row + 1,
                    "name": f"{step.op_type} {step.name}",
                    "cat": step.op_type,
                    "ts": clock[row] / 1e3,
                    "dur": spent / 1e3,
                    "args": details,
                }
            )
            clock[row] += spent
    return {"traceEvents": events, "displayTimeUnit": "ms"}
