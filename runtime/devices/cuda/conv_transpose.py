"""ConvTranspose on a GPU: a convolution for each offset of output pixels within the stride."""

from __future__ import annotations

import numpy as np

from ...emission import Emission
from ...graph import Node
from ...groups import Group
from ...ops.conv_transpose import convolutions_of
from ...ops.convolution import Convolution
from ...ops.epilogue import Epilogue
from ...tensors import Tensor
from .convolution import Filters, emit_convolution


def lower_conv_transpose(emit: Emission, node: Node, group: Group) -> None:
    """Emit convolutions, each of which writes some pixels of the result."""
    for conv in convolutions_of(emit, node, group, Epilogue()):
        if 0 not in conv.y.shape:
            filters = Filters(
                _tap_by_tap(emit, conv), conv.bias, conv.groups, conv.channels, conv.out_channels
            )
            emit_convolution(emit, conv.window, filters, conv.x, conv.y, conv.output)


def _tap_by_tap(emit: Emission, conv: Convolution) -> Tensor:
    """Weights as (kd, kh, kw, channels, all filters)."""
    weights = conv.weights
    if isinstance(weights, Tensor):
        axes = (3, 4, 5, 2, 0, 1)
        shape, strides = ([own[axis] for axis in axes] for own in (weights.shape, weights.strides))
        return emit.ordered(weights.view(shape, strides))
    return emit.constant(np.ascontiguousarray(weights.transpose(2, 3, 4, 1, 0)),
                         f"{conv.name}.weights")  # fmt: skip
