"""Products of flattened tensors: a MatMul takes any number of axes, the reshapes around it go."""

from __future__ import annotations

import onnx_ir as ir

from ..rewrite import Match, apply_rules, fixed, op, rewrite
from ..sizes import contents
from ..values import dims, rank


@rewrite(
    lambda x, rows, w, shape: op.Reshape(
        op.MatMul(op.Reshape(x, rows).named("flat"), fixed(w)).named("product"), shape
    )
)
def _unflattened(m: Match) -> ir.Value:
    before, after = dims(m.x), _sizes(m.root, m.shape)
    matrices = m.constant("w").ndim == 2 and rank(m.flat) == 2
    m.require(before is not None and len(before) > 2 and matrices, "it is no product of rows")
    depth, columns = m.constant("w").shape
    before = before or []
    m.require(before[-1] == depth, "the last axis is not what is summed over")
    m.require(len(after) == len(before) and after[-1] == columns, "the rows are cut otherwise")
    # As many rows as before: where all sizes but one are the same, that one is, too.
    others = sum(a is None or a != b for a, b in zip(before[:-1], after[:-1], strict=True))
    m.require(others <= 1 and 0 not in before, "the rows are not known to be cut as before")
    product: ir.Value = m.op.MatMul(m.x, m.w)
    product.shape = ir.Shape([*before[:-1], columns])
    return product


def _sizes(node: ir.Node, target: ir.Value) -> list[int | str | None]:
    """Sizes of a Reshape's result, by its shape or its target."""
    known = dims(node.outputs[0])
    items = [None if item in (0, -1) else item for item in contents(target) or []]
    if known is None or len(known) != len(items):
        return items if known is None else known
    return [size if item is None else item for size, item in zip(known, items, strict=True)]


unflatten_products = apply_rules([_unflattened])
