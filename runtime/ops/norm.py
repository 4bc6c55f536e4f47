"""Normalizations."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ..graph import Info, Node, OnHost
from .registry import register

if TYPE_CHECKING:
    from ..lowering import Lowering


def _infer_batch(node: Node) -> list[Info]:
    x = node.required(0)
    if x.dtype != "float32" or not all(node.required(i).is_constant for i in range(1, 5)):
        raise OnHost("only float32 with constant statistics")
    if node.attribute("training_mode", 0) or x.rank < 2 or any(v.name for v in node.outputs[1:]):
        raise OnHost("training mode")
    return [node.result(x.dims, index=i) for i in range(len(node.outputs))]


def _lower_batch(low: Lowering, node: Node) -> None:
    """Scale and shift by constants worked out in float64."""
    from ..fusion import emit_expression, preferred_order

    scale, shift, mean, variance = (
        node.required(i).array().astype(np.float64) for i in range(1, 5)
    )
    factor = scale / np.sqrt(variance + node.attribute("epsilon", 1e-5))
    shape = (-1, *[1] * (node.required(0).rank - 2))
    constants = [
        low.constant(values.astype(np.float32).reshape(shape), f"{node.name}.{name}")
        for values, name in ((factor, "scale"), (shift - mean * factor, "shift"))
    ]
    x = low.tensor(node.values[0])
    order = preferred_order(x.shape, [x])
    x = low.ordered(x) if order is None else low.channels_last(x)
    y = low.output(node, order=order)
    emit_expression(low, "fma(x0,x1,x2)", y, [x, *constants], order)


register("BatchNormalization", _infer_batch, _lower_batch)
