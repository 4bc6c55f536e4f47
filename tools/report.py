"""Reports of a profile: tables on the terminal, Chrome trace, JSON, CSV."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.measure import Measurement
from rich.table import Table

from ..errors import InvalidArgument
from . import text
from .findings import Finding, findings
from .integer_report import print_integers
from .profile import Profile, StepRow


def print_profile(profile: Profile, console: Console, top: int = 0) -> None:
    """Print the steps (the ``top`` most expensive, or all in order), the operators, the totals."""
    chosen = profile.steps
    if top and top < len(chosen):
        chosen = sorted(chosen, key=lambda step: -step.median_ns)[:top]
    text.show(
        console,
        _steps_table(profile, chosen, console),
        _operators_table(profile),
        _totals_table(profile),
    )
    if profile.integers:
        print_integers(profile.integers, console)
    found = findings(profile)
    if found:
        text.show(console, _findings_table(found))
    for note in profile.notes:
        console.print(f"[yellow]{note}[/yellow]")


# Column, how dispensable it is, and how a step fills it.
_COLUMNS: tuple[tuple[str, int, Callable[[StepRow], str]], ...] = (
    ("#:", 0, lambda step: str(step.index)),
    ("nodes", 0, lambda step: _nodes(step)),
    ("operators", 0, lambda step: step.op_type),
    ("kernel", 1, lambda step: _kernel(step.kernel)),
    ("layout", 2, lambda step: step.layout),
    ("prec.", 2, lambda step: step.precision),
    ("ms:", 0, lambda step: text.milliseconds(step.median_ns)),
    ("p95:", 2, lambda step: text.milliseconds(step.p95_ns)),
    ("share:", 0, lambda step: text.percent(step.share)),
    ("GFLOP/s:", 1, lambda step: f"{step.gflops:.1f}"),
    ("GB/s:", 2, lambda step: f"{step.gbps:.1f}"),
    ("of roof:", 0, lambda step: _roof(step)),
    ("ORT ms:", 0, lambda step: text.milliseconds(step.reference_ns)),
    ("ratio:", 0, lambda step: _ratio(step.reference_ns, step.median_ns)),
    ("abs err:", 2, lambda step: text.error(step.max_abs)),
    ("rel err:", 1, lambda step: text.error(step.max_rel)),
)
_NAME_WIDTH = 32
_MOST_FINDINGS = 8


def _steps_table(profile: Profile, steps: list[StepRow], console: Console) -> Table:
    """All columns that fit into the console's width; where not even few do, those few."""
    for most in (2, 1, 0):
        table = _steps_columns(profile, steps, most)
        needed = Measurement.get(console, console.options.update(max_width=1000), table).maximum
        if needed <= console.width:
            break
    notes = ["of roof: c is bound by compute, m by memory; ratio: onnxruntime / sardonyx"]
    if profile.reference_total_ns is not None:
        notes.append("ORT ms: by onnxruntime's profiler, in whole µs; – where it fused the nodes")
    if len(steps) < len(profile.steps):
        notes.append(f"the {len(steps)} most expensive of {len(profile.steps)} steps")
    if most < 2:
        notes.append("more columns on a wider terminal, and in an export")
    table.caption = "\n".join(notes)
    return table


def _steps_columns(profile: Profile, steps: list[StepRow], most: int) -> Table:
    columns = [column for column in _COLUMNS if column[1] <= most]
    where = "" if profile.device == "cpu" else f", on {profile.device}"
    table = text.table(
        f"{profile.model}: {len(profile.steps)} steps, {profile.threads} thread(s), "
        f"{profile.runs} runs{where}",
        *(name for name, _, _ in columns),
    )
    for column in table.columns:
        column.no_wrap = True  # one line a step
    for step in steps:
        table.add_row(*(write(step) for _, _, write in columns))
    return table


def _kernel(name: str) -> str:
    """Name of a kernel without most of its parameters; an export has all of them."""
    return name if len(name) <= _NAME_WIDTH else f"{name[: _NAME_WIDTH - 1]}…"


def _roof(step: StepRow) -> str:
    return "–" if step.roof is None else f"{text.percent(step.roof)} {step.bound[0]}"


def _nodes(step: StepRow) -> str:
    names = list(step.nodes) or [step.name]
    first = text.tail(names[0], _NAME_WIDTH)
    return first if len(names) == 1 else f"{first}+{len(names) - 1}"


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


def _findings_table(found: list[Finding]) -> Table:
    table = text.table("Findings", "")
    for finding in found[:_MOST_FINDINGS]:
        table.add_row(finding.text)
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
        yield "onnxruntime", text.duration(profile.reference_total_ns)
        yield "ratio", _ratio(profile.reference_total_ns, profile.total_ns)
    if profile.reference_layout_ns is not None:
        yield "onnxruntime, changes of layout", text.duration(profile.reference_layout_ns)
    flops = sum(step.flops for step in profile.steps)
    yield "operations", text.number(flops, "FLOP")
    rate, peak = flops / profile.total_ns, profile.roofline.gflops
    of_peak = f" ({text.percent(rate / peak)} of {peak:.0f})" if profile.device == "cpu" else ""
    yield "rate", f"{rate:.1f} GFLOP/s{of_peak}"
    for key, count in profile.memory.items():
        yield _MEMORY.get(key, key.removesuffix("_bytes")), text.size(count)


_MEMORY = {"arena_bytes": "arena of activations", "weight_bytes": "packed weights"}


def export(profile: Profile, path: Path) -> None:
    """Write a profile in the format that the file's name asks for.

    Parameters
    ----------
    profile : Profile
    path : Path
        ``*.trace.json``: Chrome trace (chrome://tracing, Perfetto); ``*.json``: everything;
        ``*.csv``: one line for each step.
    """
    require_known_format(path)
    if path.name.endswith(".trace.json"):
        path.write_text(json.dumps(chrome_trace(profile)))
    elif path.suffix == ".json":
        path.write_text(json.dumps(to_dict(profile), indent=1))
    else:
        _write_csv(profile, path)


def require_known_format(path: Path) -> None:
    """Refuse what `export` cannot write, before anything is measured."""
    if path.suffix not in (".json", ".csv"):
        raise InvalidArgument(f"{path}: a profile is written as .trace.json, .json or .csv")


def to_dict(profile: Profile) -> dict[str, Any]:
    """Everything in a profile as plain data, the groups by operator included."""
    groups = [asdict(group) for group in profile.by_operator()]
    found = [finding.text for finding in findings(profile)]
    return {**asdict(profile), "operators": groups, "findings": found}


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
