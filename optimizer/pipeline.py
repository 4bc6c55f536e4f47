"""The pipeline: passes by level, run until nothing changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx_ir as ir

from .. import InvalidArgument, SardonyxError
from .branches import inline_branches
from .fold import fold_constants
from .fusions.activations import fuse_activations
from .fusions.affine import fold_affine
from .fusions.arithmetic import fold_arithmetic
from .fusions.batchnorm import fold_batch_normalization
from .fusions.gemm import fuse_gemm
from .fusions.normalization import fuse_normalization
from .fusions.padding import fold_pads
from .fusions.softmax import simplify_softmax
from .hygiene import clean, eliminate_no_ops, infer_shapes, resolve_cast_like
from .movement import merge_movements
from .shapes import fold_shapes

Pass = Callable[[ir.Model, "Report"], int]
_BASIC: dict[str, Pass] = {
    "infer_shapes": infer_shapes,
    "clean": clean,
    "resolve_cast_like": resolve_cast_like,
    "fold_constants": fold_constants,
    "fold_shapes": fold_shapes,
    "inline_branches": inline_branches,
    "eliminate_no_ops": eliminate_no_ops,
    "merge_movements": merge_movements,
}
_ALL: dict[str, Pass] = {
    **_BASIC,
    "fold_pads": fold_pads,
    "simplify_softmax": simplify_softmax,
    "fuse_normalization": fuse_normalization,
    "fuse_activations": fuse_activations,
    "fuse_gemm": fuse_gemm,
    "fold_batch_normalization": fold_batch_normalization,
    "fold_arithmetic": fold_arithmetic,
    "fold_affine": fold_affine,
}
LEVELS: dict[str, dict[str, Pass]] = {"none": {}, "basic": _BASIC, "all": _ALL}
MAX_ROUNDS = 10


@dataclass
class PassReport:
    """What one pass did over all rounds: number of rewrites and seconds."""

    name: str
    changes: int = 0
    seconds: float = 0.0


@dataclass
class Report:
    """What the optimizer did, pass by pass, and in words."""

    passes: list[PassReport] = field(default_factory=list)
    explanations: list[str] = field(default_factory=list)
    rounds: int = 0

    def explain(self, text: str) -> None:
        """Note what was fused, or why a near-miss was not; once."""
        if text not in self.explanations:
            self.explanations.append(text)


def optimize_with_report(
    model: ir.Model,
    level: str = "all",
    *,
    verify: bool | Mapping[str, np.ndarray] = False,
    explain: bool = False,
) -> tuple[ir.Model, Report]:
    """Optimize a copy of a model.

    Parameters
    ----------
    model : onnx_ir.Model
        Not changed; weights are shared with the result.
    level : {"none", "basic", "all"}
    verify : bool or mapping
        Run the model before and after each pass, on random inputs or on those given. It runs in
        onnx's reference implementation, which is slow on large images.
    explain : bool
        Keep the explanations in the report.

    Returns
    -------
    (onnx_ir.Model, Report)

    Raises
    ------
    InvalidArgument
        The level is not known; or the model cannot be run on random inputs.
    SardonyxError
        With ``verify``: a pass changed the results; names it.
    """
    if level not in LEVELS:
        raise InvalidArgument(f"level must be one of {sorted(LEVELS)}, not {level!r}")
    model = model.clone()
    report = Report()
    stages = {name: PassReport(name) for name in LEVELS[level]}
    report.passes = list(stages.values())
    feeds = verify if isinstance(verify, Mapping) else _random_feeds(model) if verify else {}
    expected = _first_run(model, feeds) if verify else []
    changed = bool(stages)
    while changed and report.rounds < MAX_ROUNDS:
        changed = False
        report.rounds += 1
        for name, function in LEVELS[level].items():
            start = time.perf_counter()
            count = function(model, report)
            stages[name].seconds += time.perf_counter() - start
            stages[name].changes += count
            changed |= count > 0
            if verify and count:
                _compare(name, expected, _run(model, feeds))
    if not explain:
        report.explanations.clear()
    return model, report


def optimize(model: ir.Model, level: str = "all") -> ir.Model:
    """Optimize a copy of a model; see `optimize_with_report`."""
    return optimize_with_report(model, level)[0]


# --- verification -----------------------------------------------------------------------------


def _random_feeds(model: ir.Model) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    feeds = {}
    for value in model.graph.inputs:
        if value.shape is None or value.dtype is None:
            raise InvalidArgument(f"cannot verify: the shape of input {value.name!r} is unknown")
        shape = [dim if isinstance(dim, int) else 2 for dim in value.shape]
        dtype = value.dtype.numpy()
        if np.issubdtype(dtype, np.floating):
            feeds[str(value.name)] = rng.standard_normal(shape).astype(dtype)
        else:
            feeds[str(value.name)] = rng.integers(0, 2, shape).astype(dtype)
    return feeds


def _first_run(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> list[Any]:
    try:
        return _run(model, feeds)
    except Exception as error:
        shapes = {name: array.shape for name, array in feeds.items()}
        raise InvalidArgument(
            f"cannot verify: the model does not run on inputs of shapes {shapes}: {error}; "
            "give inputs of your own"
        ) from error


def _run(model: ir.Model, feeds: Mapping[str, np.ndarray]) -> list[Any]:
    from onnx.reference import ReferenceEvaluator

    results: Any = ReferenceEvaluator(ir.to_proto(model)).run(None, feeds)
    return list(results)


def _compare(name: str, expected: list[Any], found: list[Any]) -> None:
    for index, (a, b) in enumerate(zip(expected, found, strict=True)):
        if not isinstance(a, np.ndarray) or a.dtype.kind != "f":
            same = np.array_equal(a, b)
        else:
            scale = max(float(np.max(np.abs(a), initial=0.0)), 1e-6)
            same = a.shape == b.shape and np.allclose(a, b, rtol=1e-4, atol=1e-5 * scale)
        if not same:
            raise SardonyxError(f"optimizer pass {name!r} changed output {index} of the model")
