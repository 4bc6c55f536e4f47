"""Profile of a model: each step with its time, its roofline, onnxruntime's time, and its error.

Also a script: ``python tools/profile.py model.onnx`` is ``sardonyx profile model.onnx``.
"""

from __future__ import annotations

if not __package__:  # run as a script
    import runpy
    import sys

    del sys.path[0]  # this folder, in which cProfile would find this file as ``profile``
    sys.argv.insert(1, "profile")
    runpy.run_module("sardonyx.tools.cli", run_name="__main__")
    raise SystemExit

import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from ..difference import difference
from ..errors import UnsupportedModel
from . import reference
from .integer_report import IntegerRow, integer_rows
from .roofline import Roofline, remeasure, roofline

if TYPE_CHECKING:
    import onnx_ir as ir

    from ..runtime.profile import StepProfile
    from ..runtime.session import Session

# No step is faster than the machine; what seems so was judged by ceilings of a busy moment.
_TOO_GOOD = 1.05


@dataclass
class StepRow:
    """One step of the program.

    Attributes
    ----------
    median_ns, p95_ns : float
        Time of this step over the runs.
    share : float
        Of the time of all steps.
    gflops, gbps : float
        Operations and least memory traffic by time, in 1e9/s.
    roof : float or None
        Least time by this machine's roofline, divided by the median; None for work that neither
        computes nor moves anything.
    bound : str
        Limit of the step by the roofline: ``"compute"`` or ``"memory"``.
    reference_ns : float or None
        Median time of the same nodes in onnxruntime; each node is counted for one step only.
    max_abs, max_rel : float or None
        Largest error of the step's outputs against onnxruntime; see `difference.Difference`.
    """

    index: int
    name: str
    op_type: str
    nodes: tuple[str, ...]
    kernel: str
    layout: str
    precision: str
    median_ns: float
    p95_ns: float
    share: float
    flops: int
    bytes: int
    gflops: float
    gbps: float
    roof: float | None
    bound: str
    reference_ns: float | None = None
    max_abs: float | None = None
    max_rel: float | None = None


@dataclass
class GroupRow:
    """All steps of one operator (or fusion of operators)."""

    op_type: str
    count: int
    median_ns: float
    share: float
    reference_ns: float | None


@dataclass
class Profile:
    """Profile of a model on one number of threads.

    Attributes
    ----------
    steps : list of StepRow
        In order of execution.
    total_ns, total_p95_ns : float
        Median and 95th percentile of whole runs, from Python.
    outside_ns : float
        Median time of a run that no step accounts for.
    reference_total_ns : float or None
        Median of whole runs in onnxruntime with all its optimizations.
    reference_layout_ns : float or None
        Time of onnxruntime's changes of layout, which belong to no step.
    memory : dict of str to int
        Bytes of the arena, the weights and the outputs.
    integers : list of IntegerRow
        What nodes on quantized tensors compute with.
    device : str
        What steps ran on, but those that the CPU ran between.
    """

    model: str
    threads: int
    runs: int
    steps: list[StepRow]
    total_ns: float
    total_p95_ns: float
    outside_ns: float
    memory: dict[str, int]
    roofline: Roofline
    reference_total_ns: float | None = None
    reference_layout_ns: float | None = None
    notes: list[str] = field(default_factory=list)
    integers: list[IntegerRow] = field(default_factory=list)
    device: str = "cpu"

    def by_operator(self) -> list[GroupRow]:
        """Group the steps by operator, the most expensive first."""
        groups: dict[str, list[StepRow]] = {}
        for step in self.steps:
            groups.setdefault(step.op_type, []).append(step)
        rows = [
            GroupRow(
                op_type,
                len(steps),
                sum(step.median_ns for step in steps),
                sum(step.share for step in steps),
                _total(step.reference_ns for step in steps),
            )
            for op_type, steps in groups.items()
        ]
        return sorted(rows, key=lambda row: -row.median_ns)


def profile(
    session: Session,
    feeds: Mapping[str, np.ndarray],
    *,
    model: str = "model",
    runs: int = 20,
    warmup: int = 3,
    with_reference: bool = True,
    source: ir.Model | None = None,
    path: str | None = None,
) -> Profile:
    """Profile a session, and the same nodes in onnxruntime.

    Parameters
    ----------
    session : Session
    feeds : mapping of str to ndarray
        Inputs by name.
    model : str
        Name for the report.
    runs, warmup : int
        Timed runs, and those before them that are not.
    with_reference : bool
        Measure and compare with onnxruntime, where it is installed.
    source : onnx_ir.Model, optional
        What the session was opened on: to tell which nodes compute with integers.
    path : str, optional
        The same as an ONNX file, whose whole runs are measured in onnxruntime.

    Returns
    -------
    Profile
    """
    measured = session.profile(feeds, runs=runs, warmup=warmup)
    roof = roofline(measured.threads)
    medians = [float(np.median(step.times_ns)) for step in measured.steps]
    whole = sum(medians) or 1.0

    def judge(roof: Roofline) -> list[StepRow]:
        pairs = zip(measured.steps, medians, strict=True)
        found = [_row(step, median, median / whole, roof) for step, median in pairs]
        if measured.device != "cpu":  # whose ceilings are not those of this processor
            for row in found:
                row.roof = None
        return found

    rows = judge(roof)
    if any(row.roof is not None and row.roof > _TOO_GOOD for row in rows):
        roof = remeasure(roof)
        rows = judge(roof)
    spent = np.sum([step.times_ns for step in measured.steps], axis=0)
    result = Profile(
        model,
        measured.threads,
        runs,
        rows,
        total_ns=float(np.median(measured.total_ns)),
        total_p95_ns=float(np.percentile(measured.total_ns, 95)),
        outside_ns=float(np.median(measured.total_ns - spent)),
        memory=dict(measured.memory),
        roofline=roof,
        device=measured.device,
    )
    if source is not None:
        result.integers = integer_rows(source, session.optimized_model(), path)
    if not with_reference:
        return result
    if not reference.is_available():
        result.notes.append("onnxruntime is not installed: no times and errors to compare with")
        return result
    lowered = reference.with_wide_indices(session.optimized_model())
    try:
        _add_times(result, lowered, feeds, runs, warmup)
        _add_errors(result, measured.steps, lowered, session.trace(feeds), feeds)
    except UnsupportedModel as reason:
        result.notes.append(f"no times and errors of steps in onnxruntime: {reason}")
        if path is None:
            return result
    # Its own optimizer does with the file what ours has done with the model.
    whole_model = lowered if path is None else path
    result.reference_total_ns = _reference_total(whole_model, result.threads, feeds, runs, warmup)
    return result


def _row(step: StepProfile, median: float, share: float, roof: Roofline) -> StepRow:
    least = roof.least_ns(step.flops, step.bytes)
    return StepRow(
        step.index,
        step.name,
        step.op_type,
        tuple(step.nodes),
        step.kernel,
        step.layout,
        step.precision,
        median,
        float(np.percentile(step.times_ns, 95)),
        share,
        step.flops,
        step.bytes,
        gflops=step.flops / median if median else 0.0,
        gbps=step.bytes / median if median else 0.0,
        roof=least / median if median and least else None,
        bound=roof.bound(step.flops, step.bytes),
    )


def _total(times: Iterable[float | None]) -> float | None:
    known = [time for time in times if time is not None]
    return sum(known) if known else None


def _add_times(
    result: Profile, lowered: Any, feeds: Mapping[str, np.ndarray], runs: int, warmup: int
) -> None:
    times = reference.node_times(lowered, feeds, runs=runs, warmup=warmup, threads=result.threads)
    # A node of several steps, such as a convolution and the change of layout before it, counts
    # once: for the step that does the work.
    main = {
        name: row
        for row in sorted(result.steps, key=lambda row: (row.flops, row.median_ns))
        for name in row.nodes
    }
    for row in result.steps:
        counted = [times[name] for name in row.nodes if name in times and main[name] is row]
        # A node that onnxruntime removed or merged costs it nothing there.
        row.reference_ns = float(np.median(np.sum(counted, axis=0))) if counted else None
    if reference.LAYOUT_CHANGES in times:
        result.reference_layout_ns = float(np.median(times[reference.LAYOUT_CHANGES]))


def _reference_total(
    model: reference.Source, threads: int, feeds: Mapping[str, np.ndarray], runs: int, warmup: int
) -> float:
    """Return the median time of whole runs in onnxruntime, in nanoseconds."""
    session = reference.open_session(model, threads=threads)
    spans = []
    for _ in range(warmup + runs):
        start = time.perf_counter_ns()
        reference.run(session, None, feeds)
        spans.append(time.perf_counter_ns() - start)
    return float(np.median(spans[warmup:]))


def _add_errors(
    result: Profile,
    steps: list[StepProfile],
    lowered: Any,
    traced: Mapping[str, Any],
    feeds: Mapping[str, np.ndarray],
) -> None:
    known = {str(value.name) for node in lowered.graph for value in node.outputs}
    names = [name for step in steps for name in step.outputs if name in known and name in traced]
    expected = reference.values(lowered, feeds, names)
    for row, step in zip(result.steps, steps, strict=True):
        compared = [
            difference(name, traced[name], expected[name])
            for name in step.outputs
            if name in expected
        ]
        if compared:
            row.max_abs = max(each.max_abs for each in compared)
            row.max_rel = max(each.max_rel for each in compared)
