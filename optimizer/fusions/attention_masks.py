"""Masks of attention: all that is added to the scores, and what replaces them.

A row whose mask is -inf throughout gives zeros in ONNX's Attention, and NaN in a softmax alone:
unless there was a guard against these NaN, they are put back. In onnxruntime a row that is nowhere
above the lowest number makes zeros as well, where the softmax makes equal shares. Such masks are
raised by one step, which changes nothing else: either number swallows every score that it is added
to. There a mask has all its queries and keys, too; only batch and heads are broadcast.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx_ir as ir

from ..intervals import LOWEST
from ..operators.broadcasting import broadcast_sizes
from ..ranges import value_range
from ..rewrite import Match
from ..values import Size, constant, dims, scalar

RAISED = np.nextafter(LOWEST, np.float32(0))
# Scores replaced by this or less are masked: true ones are taken to be above it.
FAR_BELOW = -1e9


def addend(m: Match, terms: Mapping[str, ir.Value], factor: float) -> ir.Value | None:
    """All that is added to the scores; no row of it is the lowest number throughout.

    ``terms`` are added before the mask, ``inside`` before the scores are multiplied by ``factor``;
    ``further`` of the match after scores were replaced.
    """
    total = terms.get("inside")
    if total is not None and factor != 1:
        total = with_sizes(m.op.Mul(total, np.float32(factor)), total)
    lowered = m.op.Neg(m.lowered) if "lowered" in m else None
    if lowered is not None:
        lowered.shape = m.lowered.shape
    for term in (terms.get("bias"), m.mask if "mask" in m else None, lowered):
        if term is not None:
            total = term if total is None else with_sizes(m.op.Add(total, term), total, term)
    m.require("zeroed" not in m or ("fill" in m and "further" not in m), "shares are made zero")
    if "fill" in m:
        total = _replaced(m, total)
    if "further" in m:
        # A sum of both swallows all that is added to it, as the lowest number does.
        m.require(bool((scalar(m.fill) or 0) <= LOWEST), "masked scores are not the lowest number")
        total = with_sizes(m.op.Add(total, m.further), total, m.further)  # type: ignore[arg-type]
    return None if total is None else _above_lowest(m, total)


def with_sizes(value: ir.Value, *operands: ir.Value) -> ir.Value:
    """Give a value the sizes that operands broadcast to."""
    sizes = broadcast_sizes([dims(x) for x in operands])
    value.shape = None if sizes is None else ir.Shape(sizes)
    return value


def _replaced(m: Match, total: ir.Value | None) -> ir.Value:
    """Mask that lets nothing through where scores are replaced, and else adds what there is."""
    fill = scalar(m.fill)
    m.require(fill is not None and fill <= FAR_BELOW, "masked scores are not far below others")
    nowhere = fill == -np.inf or "zeroed" in m
    m.require("kept" not in m or "dropped" not in m, "shares are zero elsewhere")
    masked = np.float32(-np.inf if nowhere else RAISED)
    added = np.float32(0) if total is None else total
    condition = m.kept if "kept" in m else m.dropped
    choices = (added, masked) if "kept" in m else (masked, added)
    operands = [condition] if total is None else [condition, total]
    return with_sizes(m.op.Where(condition, *choices), *operands)


def _above_lowest(m: Match, mask: ir.Value) -> ir.Value:
    """Raise the lowest number, and not -inf."""
    interval = value_range(mask)
    if interval is not None and interval.least > LOWEST:
        return mask
    if interval is not None and not interval.infinite:
        return with_sizes(m.op.Max(mask, RAISED), mask)
    lowest = with_sizes(m.op.Equal(mask, LOWEST), mask)
    lowest.type = ir.TensorType(ir.DataType.BOOL)
    return with_sizes(m.op.Where(lowest, RAISED, mask), mask)


def may_mask_all(mask: ir.Value) -> bool:
    """Tell whether some row of a mask may be -inf throughout."""
    array, interval = constant(mask), value_range(mask)
    if array is not None:
        return bool(np.isneginf(np.atleast_1d(array)).all(-1).any())
    return interval is None or interval.infinite


def fitted(m: Match, mask: ir.Value, sizes: list[Size], q: ir.Value, k: ir.Value) -> ir.Value:
    """Mask expanded to all queries and keys."""
    if None not in sizes[-2:] and m.sizes(mask)[-2:] == sizes[-2:]:
        return mask
    expanded: ir.Value = m.op.Expand(mask, _target(m, sizes, q, k))
    return expanded


def _target(m: Match, sizes: list[Size], q: ir.Value, k: ir.Value) -> Any:
    """Numbers of queries and keys."""
    if all(isinstance(size, int) for size in sizes[-2:]):
        return np.array(sizes[-2:], np.int64)
    counts = [m.op.Shape(x, start=-2, end=-1) for x in (q, k)]
    target = m.op.Concat(*counts, axis=0)
    for value in (*counts, target):
        value.type = ir.TensorType(ir.DataType.INT64)
    return target


def with_nan(m: Match, mask: ir.Value, attention: ir.Value) -> ir.Value:
    """Put NaN in rows of the result that are masked throughout."""
    most = m.op.ReduceMax(mask, np.array([-1]), keepdims=1)
    masked = m.op.Equal(most, np.float32(-np.inf))
    masked.type = ir.TensorType(ir.DataType.BOOL)
    result: ir.Value = m.op.Where(masked, np.float32(np.nan), attention)
    return result
