"""Products of flattened tensors: a MatMul takes any number of axes without reshapes around it."""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..blocks import reshape_target
from ..rewrite import Match, NearMiss, apply_rules, fixed, op, rewrite
from ..size_products import quotient_of_sizes
from ..sizes import contents
from ..values import Size, dims, rank


@rewrite(
    lambda x, rows, w, shape: op.Reshape(
        op.MatMul(op.Reshape(x, rows).named("flat"), fixed(w)).named("product"), shape
    )
)
def _unflattened(m: Match) -> ir.Value:
    before, after = m.sizes(m.x), _sizes(m.root, m.shape)
    matrices = m.constant("w").ndim == 2 and rank(m.flat) == 2
    m.require(
        len(before) > 2 and matrices,
        "it is no product of a matrix and a tensor of three or more axes",
    )
    depth, columns = m.constant("w").shape
    m.require(before[-1] == depth, "the last axis is not what is summed over")
    m.require(
        len(after) == len(before) and after[-1] == columns,
        "the result has other axes than rows and columns",
    )
    # There are as many rows as before: if all sizes but one are the same, that one is, too.
    others = sum(a is None or a != b for a, b in zip(before[:-1], after[:-1], strict=True))
    m.require(
        others <= 1 and 0 not in before, "the result is not known to have the axes of the input"
    )
    product: ir.Value = m.op.MatMul(m.x, m.w)
    product.shape = ir.Shape([*before[:-1], columns])
    return product


@rewrite(
    lambda x, y, joined, matrices, shape: op.Reshape(
        op.MatMul(op.Reshape(x, joined).named("a"), op.Reshape(y, matrices).named("b")), shape
    )
)
def _unflattened_batch(m: Match) -> ir.Value:
    a, b, after = m.sizes(m.a), m.sizes(m.b), _sizes(m.root, m.shape)
    m.require(len(a) == len(b) == 3 < len(after), "its matrices are not in one batch that is split")
    batch = after[:-2]
    m.require(
        None not in after and after[-2:] == [a[1], b[2]],
        "the result has other axes than rows and columns",
    )
    m.require(
        0 not in batch and a[0] == b[0] == quotient_of_sizes(batch, []),
        "the axes of the result are not known to be those of the batch",
    )
    operands = []
    for flat, sizes in ((m.a, [*batch, *a[1:]]), (m.b, [*batch, *b[1:]])):
        target = reshape_target(m.sizes(flat), sizes)
        m.require(target is not None, "the sizes of the batch follow from no one target")
        operands.append(m.op.Reshape(flat, np.array(target, np.int64)))
        operands[-1].shape = ir.Shape(sizes)
    product: ir.Value = m.op.MatMul(*operands)
    product.shape = ir.Shape(after)
    return product


def _sizes(node: ir.Node, target: ir.Value) -> list[Size]:
    """Sizes of a Reshape's result, by its shape or its target."""
    shape, elements = dims(node.outputs[0]), contents(target)
    if elements is None:
        if shape is None:
            raise NearMiss("the rank of the result is not known")
        return shape
    items = [None if item in (0, -1) else item for item in elements]
    if shape is None or len(shape) != len(items):
        return items if shape is None else shape
    return [size if item is None else item for size, item in zip(shape, items, strict=True)]


unflatten_products = apply_rules([_unflattened, _unflattened_batch])
