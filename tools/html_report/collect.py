"""Contents of a report, as plain data: measured, counted and explained once."""

from __future__ import annotations

import datetime
import importlib.metadata
import os
import tempfile
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ...errors import SardonyxError
from ..findings import findings
from ..inspection import summarize
from ..profile import Profile, StepRow, profile
from .original_nodes import OriginalNode, original_nodes

if TYPE_CHECKING:
    import onnx_ir as ir

    from ...optimizer.report import Report
    from ...runtime.session import Session

FORMAT = 1
"""Of the data: reports of others are not compared."""
STEP_COLUMNS = (
    *("index", "name", "op_type", "nodes", "kernel", "layout", "precision", "median_ns", "p95_ns"),
    *("share", "flops", "bytes", "roof", "bound", "reference_ns", "max_abs", "max_rel"),
)
_DIGITS = 5
"""Of numbers in the file."""
_ENGINE_SECONDS = 0.5


def collect(
    model: ir.Model,
    session: Session,
    feeds: Mapping[str, np.ndarray],
    *,
    name: str,
    path: str | None = None,
    runs: int = 20,
    with_reference: bool = True,
    tell: Callable[[str], None] = lambda what: None,
) -> dict[str, Any]:
    """Measure a session and collect all that a report shows.

    Parameters
    ----------
    model : onnx_ir.Model
        What the session was opened on.
    session : Session
    feeds : mapping of str to ndarray
    name : str
        Of the model.
    path : str, optional
        The model as an ONNX file, for other engines.
    runs : int
    with_reference : bool
        Measure onnxruntime and OpenVINO, too, where they are installed.
    tell : callable
        Called with what is being done.

    Returns
    -------
    dict
        Of what JSON has: numbers, texts, lists and dicts.
    """
    from ...optimizer.pipeline import optimize_with_report

    tell("optimizing")
    _, report = optimize_with_report(model, explain=True)
    optimized = session.optimized_model()
    tell("measuring steps")
    measured = profile(
        session,
        feeds,
        model=name,
        runs=runs,
        with_reference=with_reference,
        source=model,
        path=path,
    )
    tell("measuring engines")
    return {
        "format": FORMAT,
        "version": _version(),
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "processor": _processor(),
        "model": _model(model, name, path, feeds),
        "threads": measured.threads,
        "runs": measured.runs,
        "device": session.device,
        "engines": _engines(model, feeds, measured, path, with_reference),
        "roof": {"gflops": _short(measured.roofline.gflops)},
        "columns": list(STEP_COLUMNS),
        "steps": [_step(step) for step in measured.steps],
        "outside_ns": _short(measured.outside_ns),
        "operators": [_plain(asdict(group)) for group in measured.by_operator()],
        "findings": [[each.text, _short(each.ns)] for each in findings(measured)],
        "notes": measured.notes,
        "memory": _memory(session, feeds, measured),
        "optimizer": _optimizer(model, optimized, report),
        "nodes": [_node(each) for each in original_nodes(model, optimized, measured.steps)],
        "integers": [_plain(asdict(row)) for row in measured.integers],
    }


def _version() -> str:
    """Return the version that is installed; none of sources that are only found."""
    try:
        return importlib.metadata.version("sardonyx")
    except importlib.metadata.PackageNotFoundError:
        return ""


def _processor() -> str:
    from ...kernels.target import target

    found = target()
    return f"{found.cpu}, {os.cpu_count()} processors, vectors of {32 * found.lanes} bits"


def _model(
    model: ir.Model, name: str, path: str | None, feeds: Mapping[str, np.ndarray]
) -> dict[str, Any]:
    summary = summarize(model)
    return {
        "name": name,
        "producer": summary.producer,
        "opsets": summary.opsets,
        "nodes": summary.nodes,
        "parameters": summary.parameters,
        "weight_bytes": summary.weight_bytes,
        "file_bytes": Path(path).stat().st_size if path else None,
        "inputs": {name: [value.dtype.name, *value.shape] for name, value in feeds.items()},
    }


def _engines(
    model: ir.Model,
    feeds: Mapping[str, np.ndarray],
    measured: Profile,
    path: str | None,
    with_reference: bool,
) -> list[dict[str, Any]]:
    """Times of whole runs, in turns; of sardonyx alone from the profile."""
    own = {"engine": "sardonyx", "median_ns": _short(measured.total_ns), "error": ""}
    if not with_reference:
        return [own]
    from ...importers import save
    from ..bench import Setting, bench

    with tempfile.TemporaryDirectory() as folder:
        file = path or os.path.join(folder, "model.onnx")
        try:
            if path is None:
                save(model, file)
            setting = Setting(threads=measured.threads)
            results = bench(
                measured.model, file, feeds, setting, seconds=_ENGINE_SECONDS, with_footprint=False
            )
        except SardonyxError as error:
            return [own, {"engine": "others", "median_ns": None, "error": str(error)}]
    return [
        {
            "engine": each.engine,
            "median_ns": None if each.error else _short(1e6 * each.median_ms),
            "error": each.error,
        }
        for each in results
    ]


def _step(step: StepRow) -> list[Any]:
    return [_plain(getattr(step, column)) for column in STEP_COLUMNS]


def _memory(session: Session, feeds: Mapping[str, np.ndarray], measured: Profile) -> dict[str, Any]:
    """Return the plan of working memory: name, offset, bytes, first and last step."""
    plan = session.profile(feeds, runs=1, warmup=0).buffers
    rows = [[each.name, each.offset, each.size, each.first, each.last] for each in plan]
    return {**measured.memory, "buffers": rows}


def _optimizer(model: ir.Model, optimized: ir.Model, report: Report) -> dict[str, Any]:
    return {
        "before": _counts(model),
        "after": _counts(optimized),
        "passes": [
            [each.name, each.changes, _short(1e3 * each.seconds)]
            for each in report.passes
            if each.changes
        ],
        "explanations": report.explanations,
    }


def _counts(model: ir.Model) -> dict[str, int]:
    nodes = (node for node in model.graph.all_nodes() if node.op_type != "Constant")
    return dict(Counter(node.op_type for node in nodes).most_common())


def _node(node: OriginalNode) -> list[Any]:
    return [node.name, node.op_type, node.step, node.fate]


def _plain(value: Any) -> Any:
    """Return a value as JSON has it, with few digits."""
    if isinstance(value, float):
        return _short(value)
    if isinstance(value, Mapping):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [_plain(each) for each in value]
    return value


def _short(value: float) -> float | None:
    return float(f"{value:.{_DIGITS}g}") if np.isfinite(value) else None
