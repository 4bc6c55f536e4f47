"""Depthwise form of a convolution: each channel has one filter of its own."""

from __future__ import annotations

import numpy as np

from ...kernels.cpu.depthwise import depthwise
from ..emission import Emission
from ..tensors import Tensor, short_name
from .convolution import Convolution
from .windows import (
    depth_fields,
    height_width,
    size_fields,
    stride_fields,
    window_fields,
    window_forms,
    window_parameters,
)


def emit_depthwise(emit: Emission, conv: Convolution) -> None:
    """Emit a convolution that ``is_depthwise`` and has no residual.

    Its images are both float32, or both bfloat16.
    """
    conv = conv.with_kernel_over_rows(emit)
    out_width = height_width(conv.y.shape)[1]
    kind = short_name(conv.x.dtype) if conv.has_halves else "f32"
    forms = window_forms(conv.window, conv.x, conv.y)
    emit.step(
        depthwise(*window_parameters(conv.window, out_width), kind, forms),
        outputs=conv.outputs,
        flops=conv.flops,
        x=conv.x, y=conv.y, bias=conv.bias, w=filters_of_channels(emit, conv),
        channels=conv.x.shape[1],
        **size_fields(conv.x, conv.y), **stride_fields("x", conv.x), **stride_fields("y", conv.y),
        **window_fields(conv.window), **depth_fields(conv.window, conv.x, conv.y),
        **conv.epilogue.fields(),
    )  # fmt: skip


def filters_of_channels(emit: Emission, conv: Convolution) -> Tensor:
    """Weights as (kd, kh, kw, channels)."""
    weights = conv.weights
    if isinstance(weights, Tensor):
        axes = (3, 4, 5, 0)
        taps_first = weights.view(
            [weights.shape[a] for a in axes], [weights.strides[a] for a in axes]
        )
        return emit.ordered(taps_first)
    filters = np.ascontiguousarray(weights[:, 0].transpose(1, 2, 3, 0))
    return emit.constant(filters, f"{conv.name}.weights")
