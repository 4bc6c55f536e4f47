"""Masks written as arithmetic on scores, in front of a softmax: they become what is added to these.

Only where a softmax reads them: there, what lies far below all true scores counts for nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx_ir as ir

from ..rewrite import Match, fixed, op, rewrite
from ..values import scalar
from .attention_masks import FAR_BELOW, RAISED, with_sizes


@rewrite(
    lambda s, k, c: op.Softmax(op.Where(c, s, s + fixed(k))),
    lambda s, k, c: op.Softmax(op.Where(c, s, s - fixed(k)).named("less")),
    lambda s, k, other: op.Softmax(op.Where(other, s + fixed(k), s)),
    lambda s, k, other: op.Softmax(op.Where(other, s - fixed(k), s).named("less")),
)
def shifted_scores(m: Match) -> ir.Value:
    """Scores that a number is added to in some places: everywhere, but 0 in others."""
    shift = m.constant("k")
    m.require(shift.dtype == np.float32, "it is not float32")
    shift = -shift if "less" in m else shift
    unchanged = np.zeros((), np.float32)
    if "c" in m:
        return _softmax_of_sum(m, m.c, unchanged, shift)
    return _softmax_of_sum(m, m.other, shift, unchanged)


@rewrite(
    lambda s, f, k: op.Softmax((s * f - fixed(k) * (1.0 - f)).named("less")),
    lambda s, f, k: op.Softmax(s * f + fixed(k) * (1.0 - f)),
    lambda s, c, k: op.Softmax(s * op.Cast(c).named("f") + fixed(k) * op.Cast(op.Not(c))),
)
def selected_scores(m: Match) -> ir.Value:
    """Scores that are multiplied by a bool, where that is false a number far below them."""
    cast = m.f.producer()
    is_bool = cast is not None and cast.op_type == "Cast" and not cast.domain
    condition = cast.inputs[0] if is_bool and cast is not None else None
    m.require(condition is not None and condition.dtype == ir.DataType.BOOL, "it is not a bool")
    m.require(m.s.dtype == ir.DataType.FLOAT, "it is not float32")
    assert condition is not None
    number = scalar(m.k)
    low = None if number is None else (-number if "less" in m else number)
    m.require(low is not None and low <= FAR_BELOW, "masked scores are not far below others")
    return _softmax_of_sum(m, condition, np.float32(0), RAISED)


def _softmax_of_sum(m: Match, condition: ir.Value, true: Any, false: Any) -> Any:
    """Softmax of scores and what a condition chooses."""
    added = with_sizes(m.op.Where(condition, true, false), condition, m.k)
    total = with_sizes(m.op.Add(m.s, added), m.s, added)
    return m.op.Softmax(total, **dict(m.root.attributes))
