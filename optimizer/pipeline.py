"""Pipeline: passes by level, run until nothing changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import onnx_ir as ir

from ..declarations import forget, restore
from ..errors import InvalidArgument, InvalidModel, SardonyxError
from .branches import inline_branches
from .cleanup import eliminate_no_ops, infer_shapes, remove_dead, resolve_cast_like
from .cse import merge_initializers, merge_nodes
from .fold import checked_limit, fold_constants
from .fusions.activations import fuse_activations
from .fusions.affine import fold_affine
from .fusions.arithmetic import fold_arithmetic
from .fusions.attention import fuse_attention, fuse_expanded_attention
from .fusions.batchnorm import fold_batch_normalization
from .fusions.einsum import fuse_einsum
from .fusions.gemm import fuse_gemm
from .fusions.initial_states import drop_zero_states
from .fusions.normalization import fuse_normalization
from .fusions.padding import fold_pads
from .fusions.products import unflatten_products
from .fusions.recurrent import fuse_recurrent
from .fusions.resizes import fuse_resizes
from .fusions.rotary import fuse_rotary
from .fusions.sequence_elements import read_elements
from .fusions.sequences import simplify_sequences
from .fusions.softmax import simplify_softmax
from .fusions.unit_transposes import drop_unit_axes_of_transposes
from .gathered import gather_in_scans
from .hoist import hoist_activations
from .loops import lift_loop_invariants
from .movement import merge_movements, reshape_transposes
from .names import make_names_unique
from .report import PassReport, Report
from .shapes import fold_shapes
from .sink import sink_into_branches
from .transposes import cancel_transposes
from .unit_axes import drop_unit_axes
from .unroll import unroll_loops
from .verify import Runner, Verifier, run_reference

Pass = Callable[[ir.Model, Report], int]
_BASIC: dict[str, Pass] = {
    "make_names_unique": make_names_unique,
    "infer_shapes": infer_shapes,
    "remove_dead": remove_dead,
    "merge_initializers": merge_initializers,
    "merge_nodes": merge_nodes,
    "resolve_cast_like": resolve_cast_like,
    "lift_loop_invariants": lift_loop_invariants,
    "fold_constants": fold_constants,
    "fold_shapes": fold_shapes,
    "inline_branches": inline_branches,
    "eliminate_no_ops": eliminate_no_ops,
    "merge_movements": merge_movements,
}
_ALL: dict[str, Pass] = {
    **_BASIC,
    "read_elements": read_elements,
    "gather_in_scans": gather_in_scans,
    "fuse_recurrent": fuse_recurrent,
    "drop_zero_states": drop_zero_states,
    "simplify_sequences": simplify_sequences,
    "fold_pads": fold_pads,
    "fuse_einsum": fuse_einsum,
    "simplify_softmax": simplify_softmax,
    "fuse_attention": fuse_attention,
    "fuse_expanded_attention": fuse_expanded_attention,
    "fuse_rotary": fuse_rotary,
    "unflatten_products": unflatten_products,
    "cancel_transposes": cancel_transposes,
    "drop_unit_axes": drop_unit_axes,
    "drop_unit_axes_of_transposes": drop_unit_axes_of_transposes,
    "fuse_resizes": fuse_resizes,
    "fuse_normalization": fuse_normalization,
    "fuse_activations": fuse_activations,
    "hoist_activations": hoist_activations,
    "fuse_gemm": fuse_gemm,
    "fold_batch_normalization": fold_batch_normalization,
    "fold_arithmetic": fold_arithmetic,
    "fold_affine": fold_affine,
}
_LAST: dict[str, Pass] = {
    "reshape_transposes": reshape_transposes,
    "unroll_loops": unroll_loops,
    "sink_into_branches": sink_into_branches,
}
_PATIENT = {"fuse_expanded_attention", "cancel_transposes", *_LAST}
"""Passes after which others find less: they run when those before them change nothing any more."""

LEVELS: dict[str, dict[str, Pass]] = {"none": {}, "basic": _BASIC, "all": {**_ALL, **_LAST}}
MAX_ROUNDS = 10


def optimize_with_report(
    model: ir.Model,
    level: str = "all",
    *,
    verify: bool | Mapping[str, Any] = False,
    explain: bool = False,
    fold_limit: int | None = None,
    runner: Runner = run_reference,
) -> tuple[ir.Model, Report]:
    """Optimize a copy of a model.

    Parameters
    ----------
    model : onnx_ir.Model
        Not changed; weights are shared with the result.
    level : {"none", "basic", "all"}
    verify : bool or mapping
        Run the model before and after each pass that changes it, on random inputs or on those
        given.
    explain : bool
        Keep the explanations in the report.
    fold_limit : int, optional
        Bytes that a constant computed ahead may have, unless it is no larger than what it is
        computed from; `fold.FOLD_LIMIT` by default.
    runner : callable
        Runs the model for ``verify``; onnx's reference implementation by default, which is slow
        on large images.

    Returns
    -------
    (onnx_ir.Model, Report)

    Raises
    ------
    InvalidArgument
        The level is not known, it is no model, the limit is no size; or it cannot be run on
        random inputs.
    SardonyxError
        With ``verify``: a pass changed the results; names it.
    """
    if not isinstance(model, ir.Model):
        kind = type(model).__name__
        raise InvalidArgument(f"optimize takes a model that sardonyx.load has read, not a {kind}")
    _check_level(level)
    model = model.clone()
    report = _optimize(model, level, verify, fold_limit, runner)
    if not explain:
        report.forget()
    return model, report


def optimize_in_place(
    model: ir.Model, level: str = "all", *, fold_limit: int | None = None
) -> ir.Model:
    """Optimize a model that nobody else has, without a copy; returns the model.

    See `optimize_with_report`; where it raises, the model is of no use any more.
    """
    _check_level(level)
    _optimize(model, level, False, fold_limit, run_reference)
    return model


def _check_level(level: str) -> None:
    if level not in LEVELS:
        raise InvalidArgument(f"level must be one of {', '.join(LEVELS)}, not {level!r}")


def _optimize(
    model: ir.Model,
    level: str,
    verify: bool | Mapping[str, Any],
    fold_limit: int | None,
    runner: Runner,
) -> Report:
    """Run the passes of a level over a model; see `optimize_with_report`."""
    passes = dict(LEVELS[level])
    if "fold_constants" in passes and fold_limit is not None:
        passes["fold_constants"] = partial(fold_constants, limit=checked_limit(fold_limit))
    forget(model)
    report = Report()
    stages = {name: PassReport(name) for name in passes}
    report.passes = list(stages.values())
    verifier = None
    if verify or isinstance(verify, Mapping):
        verifier = Verifier(model, verify if isinstance(verify, Mapping) else None, runner)
    defaults = _take_defaults(model)
    changed = bool(stages)
    while changed and report.rounds < MAX_ROUNDS:
        changed = False
        report.rounds += 1
        for name, function in passes.items():
            if changed and name in _PATIENT:
                continue
            start = time.perf_counter()
            count = _apply(name, function, model, report)
            stages[name].seconds += time.perf_counter() - start
            stages[name].changes += count
            changed |= count > 0
            if verifier is not None:
                verifier.check(name, model)
    if stages:
        make_names_unique(model, report)
    for value, tensor in defaults.items():
        value.const_value = tensor
        model.graph.register_initializer(value)
    restore(model)
    return report


def _take_defaults(model: ir.Model) -> dict[ir.Value, ir.TensorProtocol]:
    """Take away the values of inputs that have one, and what may have been inferred from them.

    A run may give others, so no pass may read them.
    """
    defaults = {}
    for value in model.graph.inputs:
        if value.const_value is not None:
            defaults[value] = value.const_value
            value.const_value = None
            model.graph.initializers.pop(str(value.name))
    if defaults:
        for node in model.graph.all_nodes():
            for result in node.outputs:
                result.shape = None
    return defaults


def _apply(name: str, function: Pass, model: ir.Model, report: Report) -> int:
    try:
        return function(model, report)
    except SardonyxError:
        raise
    except Exception as error:
        raise InvalidModel(f"optimizer pass {name!r} cannot read the model: {error!r}") from error


def optimize(
    model: ir.Model,
    level: str = "all",
    *,
    verify: bool | Mapping[str, Any] = False,
    explain: bool = False,
    fold_limit: int | None = None,
) -> ir.Model:
    """Optimize a copy of a model; see `optimize_with_report`, whose report ``explain`` prints."""
    optimized, report = optimize_with_report(
        model, level, verify=verify, explain=explain, fold_limit=fold_limit
    )
    for text in report.explanations:
        print(text)
    return optimized
