"""Transposes between reshapes: they leave axes of size 1 to these.

An Einsum that was written as products (tf2onnx) lays all its letters out as axes, and those that an
operand lacks have size 1.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..blocks import reshape_target
from ..rewrite import Match, apply_rules, op, rewrite


@rewrite(
    lambda x, parted, joined: op.Reshape(
        op.Transpose(op.Reshape(x, parted).named("apart")).named("turned"), joined
    )
)
def _without_unit_axes(m: Match) -> ir.Value:
    before, after = m.sizes(m.apart), m.sizes(m.root.outputs[0])
    kept = [axis for axis, size in enumerate(before) if size != 1]
    m.require(1 < len(kept) < len(before), "there are no axes of size 1, or no others")
    transpose = m.turned.producer()
    m.require(transpose is not None and "perm" in transpose.attributes, "its order is not given")
    order = [axis for axis in transpose.attributes["perm"].as_ints() if axis in kept]  # type: ignore[union-attr]
    sizes = [before[axis] for axis in kept]
    turned = [before[axis] for axis in order]
    first, last = reshape_target(before, sizes), reshape_target(turned, after)
    m.require(None not in (first, last), "the sizes follow from no one target")
    fewer = m.op.Reshape(m.apart, np.array(first, np.int64))
    fewer.shape = ir.Shape(sizes)
    moved = m.op.Transpose(fewer, perm=[kept.index(axis) for axis in order])
    moved.shape = ir.Shape(turned)
    result: ir.Value = m.op.Reshape(moved, np.array(last, np.int64))
    return result


drop_unit_axes_of_transposes = apply_rules([_without_unit_axes])
