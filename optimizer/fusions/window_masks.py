"""Masks of windows: batch and windows of an image, one axis of the scores, come apart for them.

As in Swin: what is added to the scores of all windows of an image is the same for each image.
"""

from __future__ import annotations

import numpy as np
import onnx_ir as ir

from ..operators import lookup
from ..rewrite import Match, fixed, op, rewrite
from ..values import dims


@rewrite(lambda x, mask, apart, back: op.Reshape(
    op.Reshape(x, apart).named("windows") + fixed(mask), back))  # fmt: skip
def window_masks(m: Match) -> ir.Value:
    """Add the mask to the scores as they are, repeated for each image."""
    before, windows, after = (m.sizes(v) for v in (m.x, m.windows, m.root.outputs[0]))
    m.require(None not in before and before == after, "scores do not get their shape back")
    m.require(None not in windows and windows[2:] == before[1:], "more than one axis comes apart")
    count, mask = windows[1], m.constant("mask")
    m.require(isinstance(count, int) and count > 0, "the number of windows is not known")
    sizes = [*[1] * (len(windows) - mask.ndim), *mask.shape]
    m.require(sizes[:2] == [1, count], "the mask is not one for each window")
    uses = m.root.outputs[0].uses()
    m.require(all(use.node.op_type == "Softmax" for use in uses), "it is no mask of scores")
    images = m.op.Div(m.op.Shape(_queries(m.x), end=1), np.array([count]))
    whole = m.op.Concat(images, np.array(sizes[1:]), axis=0)
    for value in (*images.producer().inputs, images, whole):
        value.type = ir.TensorType(ir.DataType.INT64)
    repeated = m.op.Expand(mask.reshape(sizes), whole)
    flat = m.op.Reshape(repeated, np.array([-1, *sizes[2:]]))
    flat.shape = ir.Shape([before[0], *sizes[2:]])
    result: ir.Value = m.op.Add(m.x, flat)
    return result


def _queries(scores: ir.Value) -> ir.Value:
    """What the scores are computed from, of as many matrices: they themselves need not stay."""
    matrices = (dims(scores) or [None])[0]
    while (node := scores.producer()) is not None and (
        lookup(node).elementwise or node.op_type == "MatMul"
    ):
        alike = [x for x in node.inputs if x is not None and (dims(x) or [None])[0] == matrices]
        if not alike or matrices is None:
            break
        scores = alike[0]
        if node.op_type == "MatMul":
            break
    return scores
