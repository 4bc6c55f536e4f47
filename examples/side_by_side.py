"""Times of one model in its framework, in onnxruntime and in sardonyx."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

import numpy as np
import sardonyx
from sardonyx.tools import bench, reference, text


@dataclass(frozen=True)
class Times:
    """Medians of single runs, in nanoseconds; `framework` is None where it was not asked."""

    framework: float | None
    onnxruntime: float
    sardonyx: float

    COLUMNS = ("framework ms:", "onnxruntime ms:", "sardonyx ms:")
    """Headings of `cells`."""

    def cells(self) -> tuple[str, str, str]:
        """Write them for a table."""
        return (
            text.milliseconds(self.framework),
            text.milliseconds(self.onnxruntime),
            text.milliseconds(self.sardonyx),
        )


def times(
    model: reference.Source,
    session: sardonyx.Session,
    feeds: Mapping[str, np.ndarray],
    framework: bench.Run | None = None,
    seconds: float = 0.3,
) -> Times:
    """Let all take turns on the same inputs, with as many threads as the session has.

    Parameters
    ----------
    model : path or onnx_ir.Model
        ONNX model for onnxruntime.
    session : Session
    feeds : mapping of str to ndarray
        Inputs of a run.
    framework : callable, optional
        Does the same in the framework.
    seconds : float
        For each, at least.
    """
    other = reference.open_session(model, threads=session.threads)
    runs: dict[str, bench.Run] = {
        "onnxruntime": partial(other.run, None, feeds),
        "sardonyx": partial(session.run, None, feeds),
    }
    if framework is not None:
        runs["framework"] = framework
    medians = {name: float(np.median(ns)) for name, ns in bench.interleave(runs, seconds).items()}
    return Times(medians.get("framework"), medians["onnxruntime"], medians["sardonyx"])
